//! Whether an application runs: who has files open below its folders, or works in them, and locks that were taken just now.
//!
//! A process in a container sees the same files by other names, so files are compared by their numbers, too. What the system does not
//! show of other users' processes is counted, not guessed.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::preset::Preset;
use crate::source::{ExcludeError, Excludes};

/// A lock that was touched so recently belongs to somebody who runs. Seconds.
const FRESH: i64 = 30;

/// What speaks for it that an application runs.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Signs {
    /// Each sign, a sentence.
    pub signs: Vec<String>,
    /// Processes of others into which this user may not look.
    pub unknown: u64,
}

/// Looks for signs that somebody uses what is in `folders`, but for what is in `home`, our own.
///
/// # Errors
/// [`ExcludeError`] if the preset's patterns are none.
pub fn signs(folders: &[PathBuf], home: &Path, preset: &Preset, now: Timestamp) -> Result<Signs, ExcludeError> {
    let patterns: Vec<String> = preset.leave_out.iter().map(|out| out.pattern.clone()).collect();
    let excludes = Excludes::new(&patterns)?;
    let mut seen = Signs::default();
    let mut inside = Inside { numbers: HashSet::new(), folders: Vec::new(), home: home.canonicalize().ok() };
    for folder in folders {
        let Ok(real) = folder.canonicalize() else { continue };
        inside.look(&real, &real, &mut |path| {
            let below = path.strip_prefix(&real).unwrap_or(path);
            let is_lock = path.extension().is_some_and(|end| end == "lock");
            if is_lock && excludes.leaves_out(std::os::unix::ffi::OsStrExt::as_bytes(below.as_os_str()), false) {
                seen.signs.extend(fresh(path, now));
            }
        });
        inside.folders.push(real);
    }
    let own = ancestors();
    let Ok(processes) = fs::read_dir("/proc") else { return Ok(seen) };
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if pid == std::process::id() {
            continue;
        }
        match uses(&process.path(), &inside, own.contains(&pid)) {
            Use::Not => {}
            Use::Hidden => seen.unknown += 1,
            Use::Of(what) => seen.signs.push(format!("process {pid} ({}) {what}", name(&process.path()))),
        }
    }
    Ok(seen)
}

/// What is below the folders.
struct Inside {
    numbers: HashSet<(u64, u64)>,
    folders: Vec<PathBuf>,
    home: Option<PathBuf>,
}

impl Inside {
    fn look(&mut self, path: &Path, top: &Path, each: &mut dyn FnMut(&Path)) {
        let mut left = vec![path.to_owned()];
        while let Some(path) = left.pop() {
            let Ok(found) = fs::symlink_metadata(&path) else { continue };
            if found.is_symlink() || self.home.as_ref() == Some(&path) {
                continue;
            }
            self.numbers.insert((found.dev(), found.ino()));
            if found.is_dir() {
                left.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
            } else if path != top {
                each(&path);
            }
        }
    }

    fn has(&self, link: &Path) -> bool {
        let named = fs::read_link(link).is_ok_and(|to| {
            self.folders.iter().any(|folder| to.starts_with(folder))
                && !self.home.as_ref().is_some_and(|home| to.starts_with(home))
        });
        named || fs::metadata(link).is_ok_and(|found| self.numbers.contains(&(found.dev(), found.ino())))
    }
}

enum Use {
    Not,
    Hidden,
    Of(String),
}

fn uses(process: &Path, inside: &Inside, is_ours: bool) -> Use {
    // Whoever typed the command may stand in the folder.
    if !is_ours && inside.has(&process.join("cwd")) {
        return Use::Of("works in the folder".to_owned());
    }
    match fs::read_dir(process.join("fd")) {
        Ok(open) => {
            let found = open.flatten().find(|file| inside.has(&file.path()));
            found.map_or(Use::Not, |file| {
                let path = fs::read_link(file.path()).unwrap_or_default();
                Use::Of(format!("has {} open", path.display()))
            })
        }
        // Threads of the kernel have no command line, and no files.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            match fs::read(process.join("cmdline")).is_ok_and(|line| !line.is_empty()) {
                true => Use::Hidden,
                false => Use::Not,
            }
        }
        Err(_) => Use::Not,
    }
}

fn fresh(lock: &Path, now: Timestamp) -> Option<String> {
    let age = now.as_second() - fs::symlink_metadata(lock).ok()?.mtime();
    (-FRESH..FRESH).contains(&age).then(|| format!("{} was locked {} s ago", lock.display(), age.max(0)))
}

fn name(process: &Path) -> String {
    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
    crate::domain::text::shown(name.trim())
}

/// The processes above this one: the shell in which it was typed.
fn ancestors() -> HashSet<u32> {
    let mut above = HashSet::new();
    let mut at = std::process::id();
    while let Ok(stat) = fs::read_to_string(format!("/proc/{at}/stat")) {
        // The name stands in brackets, and may hold anything.
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        match parent {
            Some(parent) if parent != 0 && above.insert(parent) => at = parent,
            _ => break,
        }
    }
    above
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preset() -> Preset {
        Preset::parse("x", "name = \"x\"\nversion = 1\nleave_out = [{ pattern = \"*.lock\", why = \"a lock\" }]")
            .unwrap()
    }

    fn look(folder: &Path, now: i64) -> Vec<String> {
        let now = Timestamp::from_second(now).unwrap();
        signs(&[folder.to_owned()], Path::new("/nonexistent"), &preset(), now).unwrap().signs
    }

    #[test]
    fn who_has_a_file_open_or_works_there_is_named_and_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        fs::write(dir.path().join("data/file"), "x").unwrap();
        assert_eq!(look(dir.path(), 0), Vec::<String>::new());
        let mut reader = std::process::Command::new("sleep")
            .arg("600")
            .stdin(fs::File::open(dir.path().join("data/file")).unwrap())
            .spawn()
            .unwrap();
        let seen = look(dir.path(), 0);
        assert!(
            seen[0].contains(&format!("process {} (", reader.id())) && seen[0].contains("data/file open"),
            "{seen:?}"
        );
        reader.kill().unwrap();
        reader.wait().unwrap();
        let mut worker = std::process::Command::new("sleep").arg("600").current_dir(dir.path()).spawn().unwrap();
        let seen = look(dir.path(), 0);
        assert!(seen[0].contains("works in the folder"), "{seen:?}");
        worker.kill().unwrap();
        worker.wait().unwrap();
        assert_eq!(look(dir.path(), 0), Vec::<String>::new());
    }

    #[test]
    fn a_lock_is_a_sign_while_it_is_fresh() {
        let dir = tempfile::tempdir().unwrap();
        let lock = dir.path().join("a.json.lock");
        fs::write(&lock, "").unwrap();
        let taken = fs::metadata(&lock).unwrap().mtime();
        assert!(look(dir.path(), taken + 29)[0].contains("29 s ago"));
        assert!(look(dir.path(), taken + 30).is_empty());
    }
}

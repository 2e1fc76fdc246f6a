//! Compares two folders: names, kinds, modes, times, link targets and every byte.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What is compared of an entry.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    mode: u32,
    modified: (i64, i64),
    content: Vec<u8>,
}

/// How many entries two folders have in common, or the first one that differs.
pub fn compare(one: &Path, other: &Path) -> io::Result<Result<usize, PathBuf>> {
    let (one, other) = (entries(one)?, entries(other)?);
    let differs = one.iter().find(|(path, shown)| other.get(*path) != Some(*shown)).map(|(path, _)| path);
    let added = other.keys().find(|path| !one.contains_key(*path));
    Ok(match differs.or(added) {
        Some(path) => Err(path.clone()),
        None => Ok(one.len()),
    })
}

fn entries(root: &Path) -> io::Result<BTreeMap<PathBuf, Shown>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            let metadata = fs::symlink_metadata(&path)?;
            let content = if metadata.is_dir() {
                dirs.push(path.clone());
                Vec::new()
            } else if metadata.is_symlink() {
                fs::read_link(&path)?.into_os_string().into_encoded_bytes()
            } else {
                fs::read(&path)?
            };
            let shown = Shown { mode: metadata.mode(), modified: (metadata.mtime(), metadata.mtime_nsec()), content };
            found.insert(path.strip_prefix(root).expect("it was found below").to_owned(), shown);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_a_changed_mode_and_an_added_file_are_found() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        for root in [&one, &other] {
            fs::create_dir(root).unwrap();
            fs::write(root.join("a"), "same").unwrap();
            let when = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
            fs::File::options().write(true).open(root.join("a")).unwrap().set_modified(when).unwrap();
        }
        assert_eq!(compare(&one, &other).unwrap(), Ok(1));
        fs::set_permissions(other.join("a"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(one.join("a"), fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(compare(&one, &other).unwrap(), Err("a".into()));
        fs::set_permissions(one.join("a"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(other.join("b"), "").unwrap();
        assert_eq!(compare(&one, &other).unwrap(), Err("b".into()));
    }
}

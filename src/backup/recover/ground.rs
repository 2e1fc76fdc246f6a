//! Where a recovery makes things and keeps what was there before: on the same file system, and never where it is backed up.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::Access;

use super::RecoverError;
use crate::store::index::Root;
use crate::store::place;

/// Names that a recovery uses inside folders that are backed up: left out of every backup, like patterns of a `.gitignore`.
pub const OWN: [&str; 2] = [".bulbil-recover*", ".bulbil-damaged-*"];

/// Where things of one root are made and kept.
#[derive(Debug, Clone)]
pub struct Ground {
    /// Its name in snapshots.
    pub name: String,
    /// Where it is, links followed.
    pub live: PathBuf,
    /// Where the snapshot is made.
    pub stage: PathBuf,
    /// Where what was there before is kept.
    pub kept: PathBuf,
    /// Both are beside it, not inside: it can be renamed as a whole.
    pub is_beside: bool,
}

/// Finds the ground of a root. `all` are the folders of all collections.
///
/// # Errors
/// [`RecoverError::NotAPlace`], [`RecoverError::Io`].
pub fn ground(root: &Root, all: &[PathBuf], mounts: &Mounts, stamp: &str) -> Result<Ground, RecoverError> {
    let live = real(&root.path)?;
    let (Some(parent), Some(name)) = (live.parent(), live.file_name()) else {
        return Err(RecoverError::NotAPlace(live));
    };
    let is_backed_up = all.iter().any(|folder| parent.starts_with(folder));
    let is_beside = !is_backed_up && !mounts.is_one(&live) && may_write(parent);
    let named = |before: &str, after: &str| {
        let mut out = std::ffi::OsString::from(before);
        out.push(name);
        out.push(after);
        parent.join(out)
    };
    let (stage, kept) = match is_beside {
        true => (named(".bulbil-recover-", ""), named("", &format!(".damaged-{stamp}"))),
        false => inside(&live, stamp),
    };
    Ok(Ground { name: root.name.clone(), live, stage, kept, is_beside })
}

/// The same inside a folder.
pub fn inside(folder: &Path, stamp: &str) -> (PathBuf, PathBuf) {
    (folder.join(".bulbil-recover"), folder.join(format!(".bulbil-damaged-{stamp}")))
}

/// Whether a name is one of a recovery's or a restore's own.
pub fn is_own(name: &std::ffi::OsStr) -> bool {
    [".bulbil-recover", ".bulbil-damaged-", ".bulbil-restore-"]
        .iter()
        .any(|own| name.as_bytes().starts_with(own.as_bytes()))
}

/// `20261126T170000Z`; with a number at the end if `is_taken` says that another recovery has that name.
pub fn stamp(at: Timestamp, is_taken: impl Fn(&str) -> bool) -> String {
    let second = at.strftime("%Y%m%dT%H%M%SZ").to_string();
    let numbered = (2..).map(|n: u32| format!("{second}-{n}"));
    std::iter::once(second.clone()).chain(numbered).find(|stamp| !is_taken(stamp)).unwrap_or(second)
}

/// Whether names in a folder may be changed.
pub fn may_write(folder: &Path) -> bool {
    rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

/// The path with its links followed, as far as it exists.
fn real(path: &Path) -> Result<PathBuf, RecoverError> {
    place::real(path).map_err(|cause| RecoverError::io("find", path, cause))
}

/// Where other file systems begin.
#[derive(Debug, Clone, Default)]
pub struct Mounts(Vec<PathBuf>);

impl Mounts {
    /// As the system says; none where it does not say it.
    pub fn read() -> Self {
        Self::parse(&std::fs::read("/proc/self/mountinfo").unwrap_or_default())
    }

    fn parse(text: &[u8]) -> Self {
        let place = |line: &[u8]| {
            let field = line.split(|byte| *byte == b' ').nth(4)?.to_owned();
            Some(PathBuf::from(std::ffi::OsString::from_vec(unescaped(&field))))
        };
        let places = text.split(|byte| *byte == b'\n').filter_map(place);
        Self(places.collect())
    }

    /// Whether something is mounted at `path` itself.
    pub fn is_one(&self, path: &Path) -> bool {
        self.0.iter().any(|mount| mount == path)
    }

    /// Whether something is mounted below `path`.
    pub fn is_above_one(&self, path: &Path) -> bool {
        self.0.iter().any(|mount| mount != path && mount.starts_with(path))
    }

    /// In which of them `path` is.
    pub fn of(&self, path: &Path) -> PathBuf {
        let above = self.0.iter().filter(|mount| path.starts_with(mount));
        above.max_by_key(|mount| mount.components().count()).cloned().unwrap_or_else(|| PathBuf::from("/"))
    }
}

/// Blanks and the like stand there as three octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut at = 0;
    while at < field.len() {
        let digits = field.get(at + 1..at + 4).filter(|_| field[at] == b'\\');
        let byte = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        out.push(byte.unwrap_or(field[at]));
        at += if byte.is_some() { 4 } else { 1 };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_with_the_odd_names_that_they_have() {
        let text = b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n40 22 8:2 /x /srv/a\\040b rw - ext4 /dev/sdb rw\n\n";
        let mounts = Mounts::parse(text);
        assert!(mounts.is_one(Path::new("/srv/a b")) && !mounts.is_one(Path::new("/srv")));
        assert!(mounts.is_above_one(Path::new("/srv")) && !mounts.is_above_one(Path::new("/srv/a")));
        assert_eq!(mounts.of(Path::new("/srv/a b/c")), Path::new("/srv/a b"));
        assert_eq!(mounts.of(Path::new("/srv/x")), Path::new("/"));
    }

    #[test]
    fn what_is_made_and_kept_lies_where_nothing_is_backed_up() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().canonicalize().unwrap().join("app");
        std::fs::create_dir(&folder).unwrap();
        let root = Root { name: "app".to_owned(), path: folder.clone() };
        let at = stamp(Timestamp::from_second(1_795_712_400).unwrap(), |_| false);
        let find = |all: &[PathBuf], mounts: &Mounts| ground(&root, all, mounts, &at).unwrap();
        let beside = find(std::slice::from_ref(&folder), &Mounts::default());
        assert_eq!(beside.stage, folder.with_file_name(".bulbil-recover-app"));
        assert_eq!(beside.kept, folder.with_file_name("app.damaged-20261126T170000Z"));
        let above = folder.parent().unwrap().to_owned();
        for within in [find(&[above], &Mounts::default()), find(&[], &Mounts(vec![folder.clone()]))] {
            assert!(!within.is_beside && within.stage == folder.join(".bulbil-recover"));
            assert!(is_own(within.stage.file_name().unwrap()) && is_own(within.kept.file_name().unwrap()));
        }
        assert!(matches!(
            ground(&Root { name: "x".into(), path: "/".into() }, &[], &Mounts::default(), &at),
            Err(RecoverError::NotAPlace(_))
        ));
    }
}

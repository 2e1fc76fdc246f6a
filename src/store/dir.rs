//! Folders that others made, and those that are made for them: held by handle, entered a name at a time, never through a link.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, FileType, FlockOperation, Gid, Mode, OFlags, RenameFlags, Uid, chownat, fstat, fsync, mkdirat, open,
    openat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

use crate::domain::text::shown;

/// Folders with more entries are none of ours.
const MAX_NAMES: usize = 1 << 20;
const OPEN_DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// A pipe is opened without waiting for its other end, and refused then.
const OPEN_FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);
const CREATE: OFlags = OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW);

/// Why something in a folder cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// Not there.
    #[error("{} is not there", show(.0))]
    Missing(PathBuf),
    /// There already.
    #[error("{} is there already", show(.0))]
    Exists(PathBuf),
    /// A link leads elsewhere.
    #[error("{} is a symbolic link, and those are not followed", show(.0))]
    Link(PathBuf),
    /// Something else than what belongs there.
    #[error("{} is no {}", show(path), wanted)]
    Kind {
        /// What.
        path: PathBuf,
        /// What it should be.
        wanted: &'static str,
    },
    /// A name that could lead out.
    #[error("{0:?} cannot be the name of a file or folder")]
    Name(String),
    /// Larger than anything of its kind.
    #[error("{} is longer than {limit_bytes} bytes, which nothing of its kind is", show(path))]
    TooLong {
        /// What.
        path: PathBuf,
        /// What it may be.
        limit_bytes: usize,
    },
    /// More entries than any folder of its kind.
    #[error("{} has over a million entries, which no folder of its kind has", show(.0))]
    TooMany(PathBuf),
    /// The system said no.
    #[error("cannot {what} {}", show(path))]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        #[source]
        cause: std::io::Error,
    },
}

/// Who may read what is made, before the umask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// As the umask says.
    Usual,
    /// The owner alone.
    Owner,
}

impl Access {
    fn modes(self) -> (Mode, Mode) {
        match self {
            Self::Usual => (Mode::from_raw_mode(0o777), Mode::from_raw_mode(0o666)),
            Self::Owner => (Mode::from_raw_mode(0o700), Mode::from_raw_mode(0o600)),
        }
    }
}

/// What is known of a file without opening it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Its length, in bytes.
    pub size_bytes: u64,
    /// When its content or its owner, rights or name changed last, in seconds since 1970.
    pub changed_at_s: i64,
}

/// A folder by its handle. Names in it are single names; its path is for messages.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

impl Dir {
    /// Opens a folder where somebody here said that it is: links on the way are theirs, and followed.
    ///
    /// # Errors
    /// [`DirError`].
    pub fn open(path: &Path) -> Result<Self, DirError> {
        let fd = open(path, OPEN_DIR, Mode::empty()).map_err(|errno| match errno {
            Errno::NOENT => DirError::Missing(path.to_owned()),
            Errno::NOTDIR => DirError::Kind { path: path.to_owned(), wanted: "folder" },
            errno => io("open", path.to_owned(), errno),
        })?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of all entries, sorted. Those that are no text are given with U+FFFD in them, and lead nowhere.
    ///
    /// # Errors
    /// [`DirError`].
    pub fn names(&self) -> Result<Vec<String>, DirError> {
        let mut names = Vec::new();
        let entries = rustix::fs::Dir::read_from(&self.fd).map_err(|errno| io("read", self.path.clone(), errno))?;
        for entry in entries {
            let entry = entry.map_err(|errno| io("read", self.path.clone(), errno))?;
            let name = entry.file_name().to_string_lossy();
            if name != "." && name != ".." {
                names.push(name.into_owned());
            }
            if names.len() > MAX_NAMES {
                return Err(DirError::TooMany(self.path.clone()));
            }
        }
        names.sort();
        Ok(names)
    }

    /// Whether the entry of this name is a folder; a link to one is not.
    ///
    /// # Errors
    /// [`DirError`].
    pub fn is_folder(&self, name: &str) -> Result<bool, DirError> {
        self.kind(name).map(|kind| kind == Some(FileType::Directory))
    }

    /// Whether the entry of this name is a link.
    ///
    /// # Errors
    /// [`DirError`].
    pub fn is_link(&self, name: &str) -> Result<bool, DirError> {
        self.kind(name).map(|kind| kind == Some(FileType::Symlink))
    }

    /// Whether there is an entry of this name, whatever it is.
    ///
    /// # Errors
    /// [`DirError`].
    pub fn has(&self, name: &str) -> Result<bool, DirError> {
        self.kind(name).map(|kind| kind.is_some())
    }

    /// Opens a folder in it.
    ///
    /// # Errors
    /// [`DirError`].
    pub fn enter(&self, name: &str) -> Result<Self, DirError> {
        let path = self.at(name)?;
        match openat(&self.fd, name, OPEN_DIR.union(OFlags::NOFOLLOW), Mode::empty()) {
            Ok(fd) => Ok(Self { fd, path }),
            Err(errno) => Err(self.not_opened(name, path, "folder", errno)),
        }
    }

    /// Reads a file in it, of at most `limit_bytes`.
    ///
    /// # Errors
    /// [`DirError`].
    pub fn read(&self, name: &str, limit_bytes: usize) -> Result<Vec<u8>, DirError> {
        let path = self.at(name)?;
        let fd = openat(&self.fd, name, OPEN_FILE, Mode::empty())
            .map_err(|errno| self.not_opened(name, path.clone(), "file", errno))?;
        let stat = fstat(&fd).map_err(|errno| io("look at", path.clone(), errno))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(DirError::Kind { path, wanted: "file" });
        }
        let size = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
        if size > limit_bytes {
            return Err(DirError::TooLong { path, limit_bytes });
        }
        let mut bytes = Vec::with_capacity(size + 1);
        let read = std::fs::File::from(fd).take(limit_bytes as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|cause| DirError::Io { what: "read", path: path.clone(), cause })?;
        // It may have grown meanwhile.
        if bytes.len() > limit_bytes { Err(DirError::TooLong { path, limit_bytes }) } else { Ok(bytes) }
    }

    /// Looks at a file in it, without opening it.
    ///
    /// # Errors
    /// [`DirError`].
    #[allow(clippy::unnecessary_cast, reason = "the types of these fields differ between machines")]
    pub fn stat(&self, name: &str) -> Result<Stat, DirError> {
        let path = self.at(name)?;
        let stat = match statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Err(DirError::Missing(path)),
            Err(errno) => return Err(io("look at", path, errno)),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(Stat {
                size_bytes: stat.st_size as u64,
                changed_at_s: (stat.st_mtime as i64).max(stat.st_ctime as i64),
            }),
            FileType::Symlink => Err(DirError::Link(path)),
            _ => Err(DirError::Kind { path, wanted: "file" }),
        }
    }

    /// Makes a folder in it, and opens it.
    ///
    /// # Errors
    /// [`DirError`].
    pub fn make(&self, name: &str, access: Access) -> Result<Self, DirError> {
        let path = self.at(name)?;
        mkdirat(&self.fd, name, access.modes().0).map_err(|errno| match errno {
            Errno::EXIST => DirError::Exists(path.clone()),
            errno => io("make", path.clone(), errno),
        })?;
        self.enter(name)
    }

    /// Opens a folder in it, which is made if it is not there.
    ///
    /// # Errors
    /// [`DirError`].
    pub fn make_or_enter(&self, name: &str, access: Access) -> Result<Self, DirError> {
        match self.make(name, access) {
            Err(DirError::Exists(_)) => self.enter(name),
            made => made,
        }
    }

    /// Writes a new file in it. Durable after [`Self::sync_all`].
    ///
    /// # Errors
    /// [`DirError`]; [`DirError::Exists`] if the name is taken.
    pub fn write(&self, name: &str, bytes: &[u8], access: Access) -> Result<(), DirError> {
        let mut file = self.create(name, access)?;
        file.write_all(bytes).map_err(|cause| DirError::Io { what: "write", path: self.path.join(name), cause })
    }

    /// Where root made an entry in somebody's folders, gives it to whom `like` belongs to.
    ///
    /// # Errors
    /// [`DirError`].
    pub fn give(&self, name: &str, like: &Self) -> Result<(), DirError> {
        let failed = |errno| io("give away", self.path.join(name), errno);
        let owner = fstat(&like.fd).map_err(failed)?;
        let made = statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        if rustix::process::geteuid().is_root() && made.st_uid == 0 && owner.st_uid != 0 {
            let (uid, gid) = (Uid::from_raw(owner.st_uid), Gid::from_raw(owner.st_gid));
            chownat(&self.fd, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        }
        Ok(())
    }

    /// Makes everything on its file system durable.
    ///
    /// # Errors
    /// [`DirError`].
    pub fn sync_all(&self) -> Result<(), DirError> {
        rustix::fs::syncfs(&self.fd).map_err(|errno| io("make durable", self.path.clone(), errno))
    }

    /// Gives an entry another name, which must be free; durable on return.
    ///
    /// # Errors
    /// [`DirError`]; [`DirError::Exists`] if it is not.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), DirError> {
        let (path, _) = (self.at(to)?, self.at(from)?);
        let renamed = match renameat_with(&self.fd, from, &self.fd, to, RenameFlags::NOREPLACE) {
            // A file system that cannot promise it. Two at once in one folder are kept apart by its lock.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => match self.has(to)? {
                true => Err(Errno::EXIST),
                false => rustix::fs::renameat(&self.fd, from, &self.fd, to),
            },
            renamed => renamed,
        };
        renamed.map_err(|errno| match errno {
            Errno::EXIST | Errno::NOTEMPTY => DirError::Exists(path.clone()),
            errno => io("rename to", path.clone(), errno),
        })?;
        fsync(&self.fd).map_err(|errno| io("make durable", path, errno))
    }

    /// Puts an entry in the place of another one, or of none. Durable after [`Self::sync_all`].
    ///
    /// # Errors
    /// [`DirError`].
    pub fn replace(&self, from: &str, to: &str) -> Result<(), DirError> {
        let (path, _) = (self.at(to)?, self.at(from)?);
        rustix::fs::renameat(&self.fd, from, &self.fd, to).map_err(|errno| io("rename to", path, errno))
    }

    /// Writes a file in the place of an earlier one, or of none: a kill leaves the one or the other. Durable on return.
    ///
    /// # Errors
    /// [`DirError`].
    pub fn save(&self, name: &str, bytes: &[u8], access: Access) -> Result<(), DirError> {
        let part = part_of(name);
        let failed = |what, path: PathBuf| move |cause| DirError::Io { what, path, cause };
        self.remove(&part)?;
        let mut file = self.create(&part, access)?;
        file.write_all(bytes).map_err(failed("write", self.path.join(name)))?;
        file.sync_all().map_err(failed("make durable", self.path.join(name)))?;
        self.replace(&part, name)?;
        fsync(&self.fd).map_err(|errno| io("make durable", self.path.join(name), errno))
    }

    /// The length of a file in it, `None` if there is none of this name.
    ///
    /// # Errors
    /// [`DirError::Link`], [`DirError::Kind`] if something else has the name.
    pub fn size(&self, name: &str) -> Result<Option<u64>, DirError> {
        let path = self.at(name)?;
        let stat = match statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(io("look at", path, errno)),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(Some(u64::try_from(stat.st_size).unwrap_or(0))),
            FileType::Symlink => Err(DirError::Link(path)),
            _ => Err(DirError::Kind { path, wanted: "file" }),
        }
    }

    /// Holds the folder as ours until it is closed; answers whether it was free.
    ///
    /// # Errors
    /// [`DirError`].
    pub fn hold(&self) -> Result<bool, DirError> {
        match rustix::fs::flock(&self.fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(errno) if errno == Errno::WOULDBLOCK => Ok(false),
            Err(errno) => Err(io("lock", self.path.clone(), errno)),
        }
    }

    /// Removes an entry with all that is in it. What is not there is gone.
    ///
    /// # Errors
    /// [`DirError`].
    pub fn remove(&self, name: &str) -> Result<(), DirError> {
        let path = self.at(name)?;
        let gone = |result: rustix::io::Result<()>| match result {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(io("remove", path.clone(), errno)),
        };
        if !self.is_folder(name)? {
            return gone(unlinkat(&self.fd, name, AtFlags::empty()));
        }
        let inside = self.enter(name)?;
        for entry in inside.names()? {
            inside.remove(&entry)?;
        }
        gone(unlinkat(&self.fd, name, AtFlags::REMOVEDIR))
    }

    /// Removes a folder in it, if it is there and empty.
    ///
    /// # Errors
    /// [`DirError::Exists`] if something else is there.
    pub fn remove_if_empty(&self, name: &str) -> Result<(), DirError> {
        let path = self.at(name)?;
        match unlinkat(&self.fd, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => Err(DirError::Exists(path)),
            Err(errno) => Err(io("remove", path, errno)),
        }
    }

    /// Makes a new file in it, to be written piece by piece.
    ///
    /// # Errors
    /// [`DirError`]; [`DirError::Exists`] if the name is taken.
    pub fn create(&self, name: &str, access: Access) -> Result<std::fs::File, DirError> {
        let path = self.at(name)?;
        let made = openat(&self.fd, name, CREATE.union(OFlags::CLOEXEC), access.modes().1);
        made.map(std::fs::File::from).map_err(|errno| match errno {
            Errno::EXIST => DirError::Exists(path),
            errno => io("make", path, errno),
        })
    }

    fn kind(&self, name: &str) -> Result<Option<FileType>, DirError> {
        let path = self.at(name)?;
        match statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(io("look at", path, errno)),
        }
    }

    /// The path of an entry, if the name is one.
    fn at(&self, name: &str) -> Result<PathBuf, DirError> {
        let bad = matches!(name, "" | "." | "..") || name.contains(['/', '\0']);
        if bad { Err(DirError::Name(name.to_owned())) } else { Ok(self.path.join(name)) }
    }

    fn not_opened(&self, name: &str, path: PathBuf, wanted: &'static str, errno: Errno) -> DirError {
        match (errno, self.kind(name)) {
            (Errno::NOENT, _) => DirError::Missing(path),
            (_, Ok(Some(FileType::Symlink))) => DirError::Link(path),
            (Errno::NOTDIR | Errno::ISDIR | Errno::NXIO, _) => DirError::Kind { path, wanted },
            (errno, _) => io("open", path, errno),
        }
    }
}

impl DirError {
    /// Whether it says only that something is not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing(_))
    }
}

/// What a file is called while [`Dir::save`] writes it: a kill leaves it.
pub fn part_of(name: &str) -> String {
    format!("{name}.part")
}

/// A path with what would move a terminal's cursor replaced: others chose its names.
fn show(path: &Path) -> String {
    shown(&path.to_string_lossy())
}

fn io(what: &'static str, path: PathBuf, errno: Errno) -> DirError {
    DirError::Io { what, path, cause: errno.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_and_no_link_leads_out() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join("in")).unwrap();
        std::fs::write(temp.path().join("secret"), "x").unwrap();
        std::os::unix::fs::symlink(temp.path().join("secret"), temp.path().join("in/file")).unwrap();
        std::os::unix::fs::symlink(temp.path(), temp.path().join("in/folder")).unwrap();
        let dir = Dir::open(&temp.path().join("in")).unwrap();
        for name in ["..", ".", "", "../secret", "/etc/passwd", "a\0"] {
            assert!(matches!(dir.read(name, 10), Err(DirError::Name(_))), "{name:?}");
            assert!(matches!(dir.enter(name), Err(DirError::Name(_))), "{name:?}");
            assert!(dir.write(name, b"", Access::Usual).is_err() && dir.make(name, Access::Usual).is_err());
        }
        assert!(matches!(dir.read("file", 10), Err(DirError::Link(_))));
        assert!(matches!(dir.enter("folder"), Err(DirError::Link(_))));
        assert!(matches!(dir.write("file", b"y", Access::Usual), Err(DirError::Exists(_))));
        assert_eq!(std::fs::read(temp.path().join("secret")).unwrap(), b"x");
        dir.remove("folder").unwrap();
        assert!(temp.path().join("secret").exists(), "a link was removed, not what it leads to");
    }

    #[test]
    fn what_is_too_long_or_no_file_is_not_read() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        dir.write("a", b"12345", Access::Owner).unwrap();
        assert_eq!(dir.read("a", 5).unwrap(), b"12345");
        assert!(matches!(dir.read("a", 4), Err(DirError::TooLong { .. })));
        rustix::fs::mkfifoat(&dir.fd, "pipe", Mode::from_raw_mode(0o600)).unwrap();
        assert!(matches!(dir.read("pipe", 4), Err(DirError::Kind { .. })));
        dir.make("f", Access::Owner).unwrap();
        assert!(matches!(dir.read("f", 4), Err(DirError::Kind { .. })));
        assert!(matches!(dir.rename("a", "f"), Err(DirError::Exists(_))));
        dir.rename("a", "b").unwrap();
        assert_eq!(dir.names().unwrap(), ["b", "f", "pipe"]);
    }
}

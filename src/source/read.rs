//! One file, its content and its extended attributes.
//!
//! Opening never blocks (a pipe may have taken the file's place) and never follows a link. Holes are asked for only if the
//! file takes fewer blocks than its length needs. Whether it changed meanwhile is the system's word: size, times, inode.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{Advice, AtFlags, OFlags, SeekFrom};
use rustix::io::Errno;

use crate::domain::metadata::entry::Xattr;

use super::dir::{DirHandle, open_quietly};
use super::stat::{FoundKind, Stat, from_system};

/// From which length on the system is told that a file is read from one end to the other.
const LARGE: u64 = 1 << 20;

/// Why something could not be read. The text does not name it: who asked knows its path.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is gone. That is normal in a tree that is in use.
    #[error("it is gone: it was deleted while the backup ran")]
    Vanished,
    /// Something else stands under its name now.
    #[error("it was replaced while the backup ran: the next backup takes the new one")]
    Replaced,
    /// The system does not let us.
    #[error("reading it is not permitted: run Bulbil as a user who may, or exclude it")]
    Denied,
    /// The backup was stopped in the middle of it.
    #[error("the backup was stopped while it was read: the next one takes it")]
    Stopped,
    /// Anything else that the system said.
    #[error("it cannot be read ({cause}): check the disk and the permissions, or exclude it")]
    Io {
        /// What the system said.
        #[source]
        cause: io::Error,
    },
}

impl From<io::Error> for ReadError {
    fn from(cause: io::Error) -> Self {
        match Errno::from_io_error(&cause) {
            Some(Errno::NOENT) => ReadError::Vanished,
            // A link or something that is no directory took its place, or a device without a driver did.
            Some(Errno::LOOP | Errno::NOTDIR | Errno::STALE | Errno::NXIO | Errno::NODEV) => ReadError::Replaced,
            Some(Errno::ACCESS | Errno::PERM) => ReadError::Denied,
            _ => ReadError::Io { cause },
        }
    }
}

impl From<Errno> for ReadError {
    fn from(errno: Errno) -> Self {
        io::Error::from(errno).into()
    }
}

/// A piece of a file: something to read, or zeros that take no space. Pieces follow each other without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stretch {
    /// Bytes to read.
    Data {
        /// Where it begins.
        offset: u64,
        /// How many bytes, more than 0.
        len: u64,
    },
    /// Zeros.
    Hole {
        /// Where it begins.
        offset: u64,
        /// How many bytes, more than 0.
        len: u64,
    },
}

/// A regular file that is being read.
#[derive(Debug)]
pub struct OpenFile {
    fd: OwnedFd,
    stat: Stat,
    sparse: bool,
    /// Where the next byte is read.
    position: u64,
    /// Where the stretch ends.
    stretch_end: u64,
}

impl OpenFile {
    /// Opens the regular file `name` in `dir`, if it is still the inode that the walk found.
    ///
    /// # Errors
    /// [`ReadError::Vanished`], [`ReadError::Replaced`] (use [`look`] to see by what), [`ReadError::Denied`], [`ReadError::Io`].
    pub fn open(dir: &Arc<DirHandle>, name: &[u8], expected: &Stat) -> Result<Self, ReadError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = open_quietly(&*dir.fd()?, name, flags)?;
        let (kind, stat) = from_system(&rustix::fs::fstat(&fd)?);
        if kind != FoundKind::File || !stat.is_same_inode(expected) {
            return Err(ReadError::Replaced);
        }
        if stat.size >= LARGE {
            // Only advice: a file system that does not take it reads as well.
            let _ = rustix::fs::fadvise(&fd, 0, None, Advice::Sequential);
        }
        let sparse = stat.blocks.saturating_mul(512) < stat.size;
        Ok(Self { fd, stat, sparse, position: 0, stretch_end: 0 })
    }

    /// What the file said about itself when it was opened: newer than what the walk found.
    pub fn stat(&self) -> &Stat {
        &self.stat
    }

    /// The extended attributes, sorted by name. All that the system shows, `security.selinux` among them; empty where the
    /// file system has none.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn xattrs(&self) -> Result<Vec<Xattr>, ReadError> {
        let list = |buf: &mut [u8]| rustix::fs::flistxattr(&self.fd, buf);
        let get = |name: &[u8], buf: &mut [u8]| rustix::fs::fgetxattr(&self.fd, name, buf);
        gather_xattrs(list, get)
    }

    /// Goes to the next stretch, past what is left of this one; `None` at the end. They cover exactly the length that the
    /// file had when it was opened.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn next_stretch(&mut self) -> Result<Option<Stretch>, ReadError> {
        let offset = self.stretch_end;
        let size = self.stat.size;
        self.position = offset;
        if offset >= size {
            return Ok(None);
        }
        let seek = |to: SeekFrom| match rustix::fs::seek(&self.fd, to) {
            Ok(at) => Ok(Some(at.clamp(offset, size))),
            Err(Errno::NXIO) => Ok(None),
            Err(errno) => Err(ReadError::from(io::Error::from(errno))),
        };
        let mut hole = false;
        let mut end = size;
        if self.sparse {
            match seek(SeekFrom::Data(offset)) {
                Ok(Some(data)) if data == offset => end = seek(SeekFrom::Hole(offset))?.unwrap_or(size),
                Ok(data) => (hole, end) = (true, data.unwrap_or(size)),
                // A file system that knows no holes (EINVAL): all of it is data.
                Err(_) => self.sparse = false,
            }
            if end == offset {
                // It changed under us; nothing is lost by reading the rest as data.
                (hole, end) = (false, size);
            }
        }
        self.stretch_end = end;
        if hole {
            self.position = end;
            return Ok(Some(Stretch::Hole { offset, len: end - offset }));
        }
        Ok(Some(Stretch::Data { offset, len: end - offset }))
    }

    /// Reads on in this stretch, as much as the system gives at once. 0: the stretch ends here, or the file became shorter
    /// (then [`changed_since_open`](Self::changed_since_open) says so).
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize, ReadError> {
        let want = usize::try_from(self.stretch_end - self.position).unwrap_or(usize::MAX).min(buf.len());
        if want == 0 {
            return Ok(0);
        }
        loop {
            match rustix::io::pread(&self.fd, &mut buf[..want], self.position) {
                Ok(n) => {
                    self.position += n as u64;
                    return Ok(n);
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Reads the file again from its beginning, with a fresh look at it.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn rewind(&mut self) -> Result<(), ReadError> {
        let (_, stat) = from_system(&rustix::fs::fstat(&self.fd)?);
        self.sparse = stat.blocks.saturating_mul(512) < stat.size;
        (self.stat, self.position, self.stretch_end) = (stat, 0, 0);
        Ok(())
    }

    /// Whether the file's size, times or inode changed since it was opened (or rewound).
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn changed_since_open(&self) -> Result<bool, ReadError> {
        let (_, now) = from_system(&rustix::fs::fstat(&self.fd)?);
        Ok(!now.is_unchanged(&self.stat))
    }
}

/// What stands under `name` in `dir` now; a link is not followed.
///
/// # Errors
/// [`ReadError`].
pub fn look(dir: &Arc<DirHandle>, name: &[u8]) -> Result<(FoundKind, Stat), ReadError> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    Ok(from_system(&rustix::fs::statat(&*dir.fd()?, name, flags)?))
}

/// Where the link `name` in `dir` points, as it is written.
///
/// # Errors
/// [`ReadError`]; [`ReadError::Replaced`] if it is no link any more.
pub fn read_link(dir: &Arc<DirHandle>, name: &[u8]) -> Result<Vec<u8>, ReadError> {
    match rustix::fs::readlinkat(&*dir.fd()?, name, Vec::new()) {
        Ok(target) => Ok(target.into_bytes()),
        Err(Errno::INVAL) => Err(ReadError::Replaced),
        Err(errno) => Err(errno.into()),
    }
}

/// The extended attributes of whatever stands under `name` in `dir`, sorted by name; a link's are its own.
///
/// It needs no right to read the thing itself. Directories and files work without `/proc` too.
/// # Errors
/// [`ReadError`].
pub fn xattrs_of(dir: &Arc<DirHandle>, name: &[u8]) -> Result<Vec<Xattr>, ReadError> {
    let parent = dir.fd()?;
    let path = proc_path(&*parent, name);
    let list = |buf: &mut [u8]| rustix::fs::llistxattr(path.as_slice(), buf);
    let get = |xattr: &[u8], buf: &mut [u8]| rustix::fs::lgetxattr(path.as_slice(), xattr, buf);
    match gather_xattrs(list, get) {
        // Gone, or no /proc to ask by.
        Err(ReadError::Vanished) => match look(dir, name)?.0 {
            FoundKind::File | FoundKind::Directory => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
                let fd = open_quietly(&*parent, name, flags)?;
                let list = |buf: &mut [u8]| rustix::fs::flistxattr(&fd, buf);
                gather_xattrs(list, |xattr, buf| rustix::fs::fgetxattr(&fd, xattr, buf))
            }
            // Links, pipes and sockets cannot have any that a user may set.
            _ => Ok(Vec::new()),
        },
        done => done,
    }
}

/// The extended attributes of the file at a path that somebody named; a link's are its own.
///
/// # Errors
/// [`ReadError`].
pub fn xattrs_at(path: &Path) -> Result<Vec<Xattr>, ReadError> {
    let list = |buf: &mut [u8]| rustix::fs::llistxattr(path, buf);
    gather_xattrs(list, |xattr, buf| rustix::fs::lgetxattr(path, xattr, buf))
}

/// A path to `name` in an open directory, for the calls that know no directory descriptors. The last name is not followed by
/// the `l…xattr` calls; the rest is the kernel's own link.
pub(crate) fn proc_path(dir: impl AsFd, name: &[u8]) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", dir.as_fd().as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    path
}

/// Names, then values; both may grow between two calls.
fn gather_xattrs(
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&[u8], &mut [u8]) -> Result<usize, Errno>,
) -> Result<Vec<Xattr>, ReadError> {
    let Some(names) = grown(list)? else { return Ok(Vec::new()) };
    let mut xattrs = Vec::new();
    for name in names.split(|b| *b == 0).filter(|name| !name.is_empty()) {
        if let Some(value) = grown(|buf| get(name, buf))? {
            xattrs.push((name.to_vec(), value));
        }
    }
    xattrs.sort_unstable();
    Ok(xattrs)
}

/// Calls with a small buffer, then with one of the largest size that the kernel knows. `None`: there is none.
fn grown(call: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Option<Vec<u8>>, ReadError> {
    let mut small = [0; 512];
    match call(&mut small) {
        Ok(len) => return Ok(Some(small[..len].to_vec())),
        Err(Errno::RANGE) => {}
        Err(Errno::NODATA | Errno::NOTSUP) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    }
    let mut large = vec![0; 1 << 16];
    match call(&mut large) {
        Ok(len) => {
            large.truncate(len);
            Ok(Some(large))
        }
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{Mode, mkfifoat};
    use std::fs;
    use std::os::unix::fs::{FileExt, symlink};

    fn folder() -> (tempfile::TempDir, Arc<DirHandle>) {
        let temp = tempfile::tempdir().unwrap();
        let fd = rustix::fs::open(temp.path(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        (temp, DirHandle::first(fd).unwrap())
    }

    fn open(dir: &Arc<DirHandle>, name: &[u8]) -> Result<OpenFile, ReadError> {
        let (_, stat) = look(dir, name)?;
        OpenFile::open(dir, name, &stat)
    }

    fn read_all(file: &mut OpenFile) -> (Vec<Stretch>, Vec<u8>) {
        let (mut stretches, mut content) = (Vec::new(), Vec::new());
        while let Some(stretch) = file.next_stretch().unwrap() {
            stretches.push(stretch);
            if let Stretch::Hole { len, .. } = stretch {
                content.resize(content.len() + usize::try_from(len).unwrap(), 0);
            }
            let mut buf = [0; 1000];
            loop {
                match file.read(&mut buf).unwrap() {
                    0 => break,
                    n => content.extend_from_slice(&buf[..n]),
                }
            }
        }
        (stretches, content)
    }

    #[test]
    fn holes_are_found_and_the_rest_is_read() {
        let (temp, dir) = folder();
        const MIB: u64 = 1 << 20;
        let file = fs::File::create(temp.path().join("sparse")).unwrap();
        file.write_all_at(&[7; 4096], MIB).unwrap();
        file.write_all_at(&[8; 10], 3 * MIB).unwrap();
        file.set_len(5 * MIB + 3).unwrap();
        let mut open = open(&dir, b"sparse").unwrap();
        let (stretches, content) = read_all(&mut open);
        assert!(content == fs::read(temp.path().join("sparse")).unwrap());
        let is_hole = |s: &&Stretch| matches!(s, Stretch::Hole { .. });
        let zeros: u64 =
            stretches.iter().filter(is_hole).map(|s| if let Stretch::Hole { len, .. } = s { *len } else { 0 }).sum();
        assert!(zeros > 4 * MIB || !open.sparse, "{stretches:?}");
        let mut at = 0;
        for stretch in stretches {
            let (Stretch::Data { offset, len } | Stretch::Hole { offset, len }) = stretch;
            assert!(offset == at && len > 0);
            at += len;
        }
        assert_eq!(at, 5 * MIB + 3);
    }

    #[test]
    fn dense_and_empty_files() {
        let (temp, dir) = folder();
        fs::write(temp.path().join("dense"), vec![1; 5000]).unwrap();
        fs::write(temp.path().join("empty"), b"").unwrap();
        let (stretches, content) = read_all(&mut open(&dir, b"dense").unwrap());
        assert_eq!(stretches, [Stretch::Data { offset: 0, len: 5000 }]);
        assert_eq!(content, vec![1; 5000]);
        assert_eq!(read_all(&mut open(&dir, b"empty").unwrap()), (vec![], vec![]));
    }

    #[test]
    fn changes_are_noticed() {
        let (temp, dir) = folder();
        fs::write(temp.path().join("f"), b"before").unwrap();
        let mut file = open(&dir, b"f").unwrap();
        assert!(!file.changed_since_open().unwrap());
        fs::write(temp.path().join("f"), b"longer than before").unwrap();
        assert!(file.changed_since_open().unwrap());
        file.rewind().unwrap();
        assert!(!file.changed_since_open().unwrap());
        assert_eq!(read_all(&mut file).1, b"longer than before");
        fs::write(temp.path().join("f"), b"").unwrap();
        file.stretch_end = 0;
        file.next_stretch().unwrap();
        assert_eq!(file.read(&mut [0; 9]).unwrap(), 0);
    }

    #[test]
    fn whatever_takes_the_place_of_a_file_is_refused_without_waiting() {
        let (temp, dir) = folder();
        fs::write(temp.path().join("f"), b"x").unwrap();
        let (_, expected) = look(&dir, b"f").unwrap();
        let replace = |make: &dyn Fn(&std::path::Path)| {
            fs::remove_file(temp.path().join("f")).unwrap();
            fs::write(temp.path().join("keeps the inode number from being used again"), b"").unwrap();
            make(&temp.path().join("f"));
            OpenFile::open(&dir, b"f", &expected)
        };
        let fifo = replace(&|path| mkfifoat(rustix::fs::CWD, path, Mode::RWXU).unwrap());
        assert!(matches!(fifo, Err(ReadError::Replaced)), "{fifo:?}");
        let link = replace(&|path| symlink("/etc/passwd", path).unwrap());
        assert!(matches!(link, Err(ReadError::Replaced)), "{link:?}");
        fs::remove_file(temp.path().join("f")).unwrap();
        assert!(matches!(OpenFile::open(&dir, b"f", &expected), Err(ReadError::Vanished)));
        fs::create_dir(temp.path().join("f")).unwrap();
        assert!(matches!(OpenFile::open(&dir, b"f", &expected), Err(ReadError::Replaced)));
    }

    #[test]
    fn links_and_attributes() {
        let (temp, dir) = folder();
        let target = std::ffi::OsString::from("any\u{1}thing/../x");
        symlink(&target, temp.path().join("l")).unwrap();
        assert_eq!(read_link(&dir, b"l").unwrap(), target.as_encoded_bytes());
        assert_eq!(xattrs_of(&dir, b"l").unwrap(), []);
        fs::write(temp.path().join("f"), b"").unwrap();
        assert!(matches!(read_link(&dir, b"f"), Err(ReadError::Replaced)));
        assert!(matches!(xattrs_of(&dir, b"none"), Err(ReadError::Vanished)));
        fs::create_dir(temp.path().join("d")).unwrap();
        let large = vec![5; 3000];
        for name in ["f", "d"] {
            let path = temp.path().join(name);
            let set =
                |xattr: &str, value: &[u8]| rustix::fs::setxattr(&path, xattr, value, rustix::fs::XattrFlags::empty());
            match set("user.b", b"\0 1") {
                Err(Errno::NOTSUP) => return, // no such thing on this file system
                done => done.unwrap(),
            }
            set("user.a", &large).unwrap();
            let expected = vec![(b"user.a".to_vec(), large.clone()), (b"user.b".to_vec(), b"\0 1".to_vec())];
            assert_eq!(xattrs_of(&dir, name.as_bytes()).unwrap(), expected);
        }
        assert_eq!(open(&dir, b"f").unwrap().xattrs().unwrap(), xattrs_of(&dir, b"f").unwrap());
    }
}

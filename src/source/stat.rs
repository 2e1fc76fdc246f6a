//! What an inode says about itself.

use rustix::fs::FileType;

use crate::domain::metadata::entry::{Attributes, FileTime, Xattr};

/// What an entry in a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A character device.
    CharDevice {
        /// Device number.
        rdev: u64,
    },
    /// A block device.
    BlockDevice {
        /// Device number.
        rdev: u64,
    },
}

impl FoundKind {
    /// For people: "a link", "a folder" …
    pub fn noun(&self) -> &'static str {
        match self {
            FoundKind::File => "a file",
            FoundKind::Directory => "a folder",
            FoundKind::Symlink => "a link",
            FoundKind::Fifo => "a named pipe",
            FoundKind::Socket => "a socket",
            FoundKind::CharDevice { .. } | FoundKind::BlockDevice { .. } => "a device",
        }
    }
}

/// What an inode says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stat {
    /// Permission bits with set-uid, set-gid and sticky: 12 bits.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Length in bytes.
    pub size: u64,
    /// How many blocks of 512 bytes it takes.
    pub blocks: u64,
    /// When the content changed last.
    pub mtime: FileTime,
    /// When the inode changed last.
    pub ctime: FileTime,
    /// Inode number.
    pub inode: u64,
    /// The file system it is on.
    pub dev: u64,
    /// How many names it has.
    pub nlink: u64,
}

impl Stat {
    /// As a snapshot remembers it.
    pub fn attributes(&self, xattrs: Vec<Xattr>) -> Attributes {
        let Self { mode, uid, gid, mtime, ctime, inode, .. } = *self;
        Attributes { mode, uid, gid, mtime, ctime, inode, xattrs }
    }

    /// Whether it is the same inode, changed or not.
    pub fn is_same_inode(&self, other: &Stat) -> bool {
        (self.dev, self.inode) == (other.dev, other.inode)
    }

    /// Whether it is the same inode, and nothing says that its content changed.
    pub fn is_unchanged(&self, other: &Stat) -> bool {
        self.is_same_inode(other) && (self.size, self.mtime, self.ctime) == (other.size, other.mtime, other.ctime)
    }
}

/// The system's answer in our words. Types of the fields differ from machine to machine, hence the conversions.
#[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
pub(crate) fn from_system(stat: &rustix::fs::Stat) -> (FoundKind, Stat) {
    let rdev = stat.st_rdev as u64;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => FoundKind::Directory,
        FileType::Symlink => FoundKind::Symlink,
        FileType::Fifo => FoundKind::Fifo,
        FileType::Socket => FoundKind::Socket,
        FileType::CharacterDevice => FoundKind::CharDevice { rdev },
        FileType::BlockDevice => FoundKind::BlockDevice { rdev },
        FileType::RegularFile | FileType::Unknown => FoundKind::File,
    };
    let time = |secs: i64, nanos: u64| FileTime { secs, nanos: nanos.min(999_999_999) as u32 };
    let stat = Stat {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: stat.st_size.max(0) as u64,
        blocks: stat.st_blocks as u64,
        mtime: time(stat.st_mtime as i64, stat.st_mtime_nsec as u64),
        ctime: time(stat.st_ctime as i64, stat.st_ctime_nsec as u64),
        inode: stat.st_ino as u64,
        dev: stat.st_dev as u64,
        nlink: stat.st_nlink as u64,
    };
    (kind, stat)
}

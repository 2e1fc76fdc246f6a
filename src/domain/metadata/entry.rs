//! One file, directory, link or special file, as a snapshot remembers it.

use std::sync::Arc;

use crate::domain::chunk::ChunkRef;
use crate::domain::crypto::hash::FileHash;

use super::path::TreePath;

/// A moment as file systems keep it: seconds since 1970 (UTC, may be negative) and nanoseconds below 10⁹.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct FileTime {
    /// Whole seconds since 1970-01-01T00:00:00Z.
    pub secs: i64,
    /// Nanoseconds within the second, below 1,000,000,000.
    pub nanos: u32,
}

/// An extended attribute: name and value. POSIX ACLs are among them (`system.posix_acl_access`).
pub type Xattr = (Vec<u8>, Vec<u8>);

/// What every kind of entry has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Permission bits with set-uid, set-gid and sticky: 12 bits.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// When the content changed last.
    pub mtime: FileTime,
    /// When the inode changed last; only to notice changes, cannot be restored.
    pub ctime: FileTime,
    /// Inode number; only to notice changes.
    pub inode: u64,
    /// Extended attributes, sorted by name.
    pub xattrs: Vec<Xattr>,
}

/// A file, directory, link or special file.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where it is.
    pub path: TreePath,
    /// What every kind has.
    pub attributes: Attributes,
    /// What it is.
    pub kind: EntryKind,
}

/// What an entry is.
#[derive(Debug, Clone)]
pub enum EntryKind {
    /// A regular file.
    File(FileEntry),
    /// A directory.
    Directory,
    /// A symbolic link and where it points, as it is written.
    Symlink {
        /// The target, at most 64 KiB, any bytes but NUL.
        target: Vec<u8>,
    },
    /// Another name of a file that stands earlier in the tree.
    HardLink {
        /// That file.
        to: TreePath,
    },
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A character device.
    CharDevice {
        /// Device number, as in `st_rdev`.
        rdev: u64,
    },
    /// A block device.
    BlockDevice {
        /// Device number, as in `st_rdev`.
        rdev: u64,
    },
}

/// A regular file's content.
#[derive(Debug, Clone)]
pub struct FileEntry {
    /// Length in bytes, holes included.
    pub size: u64,
    /// BLAKE3 of the whole content, holes as zeros.
    pub hash: FileHash,
    /// Where the content is.
    pub content: FileContent,
    /// The file changed each time it was read; this is the last reading, which may never have been on disk as it is here.
    pub changed_while_read: bool,
}

/// Where a file's content is.
#[derive(Debug, Clone)]
pub enum FileContent {
    /// Extents in order. They cover the file exactly.
    Extents(Vec<Extent>),
    /// Nodes that list the extents, for files of very many.
    Pages(Vec<NodeRef>),
}

/// A piece of a file: bytes in a chunk, or a hole.
#[derive(Debug, Clone)]
pub enum Extent {
    /// Bytes of one or more fragments that follow each other in a chunk.
    Data {
        /// The chunk.
        chunk: Arc<ChunkRef>,
        /// Where in its content, in bytes.
        offset: u32,
        /// How many bytes, more than 0.
        len: u32,
    },
    /// Zeros that take no space.
    Hole {
        /// How many bytes, more than 0.
        len: u64,
    },
}

impl Extent {
    /// How many bytes of the file it stands for.
    pub fn len(&self) -> u64 {
        match self {
            Extent::Data { len, .. } => u64::from(*len),
            Extent::Hole { len } => *len,
        }
    }

    /// Whether it stands for nothing; never true in a sound snapshot.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where a node of the tree is.
#[derive(Debug, Clone)]
pub struct NodeRef {
    /// The metadata chunk.
    pub chunk: Arc<ChunkRef>,
    /// Where in its content, in bytes.
    pub offset: u32,
    /// How many bytes.
    pub len: u32,
}

impl Entry {
    /// One letter, as `ls -l` shows it.
    pub fn letter(&self) -> char {
        match self.kind {
            EntryKind::File(_) | EntryKind::HardLink { .. } => '-',
            EntryKind::Directory => 'd',
            EntryKind::Symlink { .. } => 'l',
            EntryKind::Fifo => 'p',
            EntryKind::Socket => 's',
            EntryKind::CharDevice { .. } => 'c',
            EntryKind::BlockDevice { .. } => 'b',
        }
    }

    /// Length of a regular file, 0 for everything else.
    pub fn size(&self) -> u64 {
        if let EntryKind::File(file) = &self.kind { file.size } else { 0 }
    }
}

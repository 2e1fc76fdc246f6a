//! What flows between the stages of a backup: batches of steps to the readers, blocks of pieces from them.

use std::sync::Arc;

use crossbeam_channel::Sender;

use crate::domain::crypto::hash::{FileHash, FragmentHash};
use crate::domain::metadata::entry::{Attributes, EntryKind};
use crate::domain::metadata::path::TreePath;
use crate::source::archive::{self, Archive};
use crate::source::{DirHandle, Document, Found, Stat};

use super::CommandSource;

/// Consecutive entries for one reader.
pub struct Batch {
    /// What to do, in tree order.
    pub steps: Vec<Step>,
    /// Where the results go, in the same order. Bounded: a reader that is ahead waits.
    pub out: Sender<Block>,
}

/// One entry on its way to a reader.
pub enum Step {
    /// Nothing to read: it is as it was, or only another name.
    Ready(Draft),
    /// A regular file to read, or anything else to describe (attributes, link target).
    Visit {
        /// What the walk saw.
        found: Found,
        /// The folder it is in.
        dir: Arc<DirHandle>,
        /// It stands in for a file with these attributes.
        like: Option<Stat>,
    },
    /// A file whose content is here already.
    Made(Document),
    /// A file of an archive.
    Archived {
        /// Where it is in the tree.
        path: TreePath,
        /// Its attributes.
        attributes: Attributes,
        /// Where its content is in the archive's file.
        content: Arc<Vec<archive::Piece>>,
        /// Its length in bytes.
        size: u64,
        /// The archive.
        archive: Arc<Archive>,
    },
    /// A file that a command writes.
    Output(CommandSource),
}

/// An entry whose content's place is not known yet.
pub struct Draft {
    /// Where it is in the tree.
    pub path: TreePath,
    /// Its attributes.
    pub attributes: Attributes,
    /// What it is.
    pub kind: DraftKind,
}

/// What a draft is.
pub enum DraftKind {
    /// Everything is known.
    Known(EntryKind),
    /// A file that was read: its fragments and holes came just before.
    Read {
        /// Length in bytes.
        size: u64,
        /// Hash of the content.
        hash: FileHash,
        /// It never stood still.
        changed_while_read: bool,
    },
}

/// Results of a reader: bytes, and what they are.
#[derive(Default)]
pub struct Block {
    /// The fragments' bytes, one after another.
    pub data: Vec<u8>,
    /// In order.
    pub pieces: Vec<Piece>,
}

/// A result.
pub enum Piece {
    /// The next `len` bytes of the block belong to the file whose draft is still to come.
    Fragment {
        /// Its lookup name.
        name: FragmentHash,
        /// Its length.
        len: u32,
        /// Whether it is worth compressing.
        compressible: bool,
    },
    /// A hole in that file.
    Hole {
        /// Its length.
        len: u64,
    },
    /// The file changed while it was read: forget its fragments and holes so far, it is read again.
    Again,
    /// The entry is complete.
    Entry(Draft),
    /// The file could not be read or is gone: forget its fragments and holes.
    Nothing,
}

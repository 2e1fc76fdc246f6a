//! Documents: files that are made rather than found. What a program knows is backed up in this form.

use jiff::Timestamp;

use crate::domain::metadata::entry::{Attributes, FileTime};
use crate::domain::metadata::path::TreePath;

/// A file of a snapshot that lies nowhere on a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Where it is in the snapshot's tree. Its folders are made, too.
    pub path: TreePath,
    /// Its content.
    pub bytes: Vec<u8>,
    /// When it changed last.
    pub changed_at: Timestamp,
}

impl Document {
    /// Attributes of its file: for the owner alone (mode 600).
    pub fn attributes(&self) -> Attributes {
        attributes(0o600, self.changed_at)
    }
}

/// Attributes of a folder of documents: for the owner alone (mode 700).
pub fn folder_attributes(changed_at: Timestamp) -> Attributes {
    attributes(0o700, changed_at)
}

fn attributes(mode: u32, changed_at: Timestamp) -> Attributes {
    let nanos = changed_at.as_nanosecond();
    let mtime =
        FileTime { secs: nanos.div_euclid(1_000_000_000) as i64, nanos: nanos.rem_euclid(1_000_000_000) as u32 };
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Attributes { mode, uid, gid, mtime, ..Attributes::default() }
}

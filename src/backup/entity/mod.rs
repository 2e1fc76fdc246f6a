//! Something of an application that is restored alone: a chat with its line in the list and its attachments, as the preset says.
//!
//! Non-goal: taking anything away. What is there and does not belong to it stays as it is.

mod find; // what belongs to it, in a snapshot
mod put; // into a folder

use std::path::PathBuf;

use crate::domain::entity::EntityId;
use crate::domain::metadata::entry::Attributes;
use crate::domain::metadata::entry::FileEntry;
use crate::domain::metadata::path::TreePath;
use crate::domain::preset::FieldPath;
use crate::store::TreeError;

use super::content::ContentError;
use super::target::TargetError;

pub use find::{find, list};
pub use put::{Place, PutStats, put};

/// A list is not longer, in bytes.
const MAX_LIST_BYTES: u64 = 256 << 20;

/// Why nothing, or not everything, was restored.
#[derive(Debug, thiserror::Error)]
pub enum EntityError {
    /// The preset knows no such thing.
    #[error("the preset {preset:?} knows no {kind:?}{}", known(.there))]
    NoKind {
        /// Which preset.
        preset: String,
        /// What was asked for.
        kind: String,
        /// What it knows.
        there: Vec<String>,
    },
    /// There is none of this name.
    #[error("there is no {id} in this snapshot{}", meant(.similar, &id.kind))]
    None {
        /// What was asked for.
        id: EntityId,
        /// What may have been meant: ids, with a title where there is one.
        similar: Vec<String>,
    },
    /// The preset says something that means nothing.
    #[error("the preset says something wrong of {kind:?}: {why}")]
    Preset {
        /// Of what.
        kind: String,
        /// What.
        why: String,
    },
    /// The snapshot's tree is not whole.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A file of it is damaged.
    #[error(
        "{path} is damaged in this snapshot: nothing was restored. Take another snapshot, or 'bulbil scrub --now' looks for what is lost"
    )]
    Damaged {
        /// Which one.
        path: String,
        /// What is wrong, if it cannot be read.
        #[source]
        cause: Option<ContentError>,
    },
    /// A list is too long to be read.
    #[error("{0} is longer than 256 MiB: restore it as a whole")]
    TooLong(String),
    /// The target cannot be written.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Something in the target is no file.
    #[error("{} is no file: move it away, or choose another target", .0.display())]
    NotAFile(PathBuf),
    /// A file of the target cannot be read, or not be kept.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// The application writes a list all the time.
    #[error("{} changed each time it was read: stop the application, then run this again", .0.display())]
    Moving(PathBuf),
    /// It was cancelled.
    #[error("cancelled: no file was left half written; run it again to go on")]
    Cancelled,
}

fn known(there: &[String]) -> String {
    match there {
        [] => "; it knows nothing that can be restored alone: use --path".to_owned(),
        there => format!("; it knows: {}", there.join(", ")),
    }
}

fn meant(similar: &[String], kind: &str) -> String {
    match similar {
        [] => format!("; '{kind}:?' lists those that there are"),
        similar => format!("; did you mean: {}? '{kind}:?' lists all", similar.join(", ")),
    }
}

/// What belongs to something, in one snapshot.
#[derive(Debug)]
pub struct Parts {
    /// Of what.
    pub id: EntityId,
    /// Files: attachments first.
    pub files: Vec<PartFile>,
    /// Lines in lists: those of attachments first.
    pub lines: Vec<PartLine>,
    /// What should belong to it and is not in the snapshot, one sentence each.
    pub missing: Vec<String>,
}

/// A file that belongs to it.
#[derive(Debug)]
pub struct PartFile {
    /// Where it is in the snapshot.
    pub path: TreePath,
    /// Its attributes.
    pub attributes: Attributes,
    /// Its content.
    pub file: FileEntry,
}

/// A line that belongs to it.
#[derive(Debug)]
pub struct PartLine {
    /// The list, in the snapshot.
    pub path: TreePath,
    /// The list's attributes.
    pub attributes: Attributes,
    /// Which field says what a line is about.
    pub field: FieldPath,
    /// What this one is about.
    pub id: String,
    /// The line, without its end.
    pub line: Vec<u8>,
}

//! Checking the content of a collection by its preset's rules: as it is in its folders now, or as a snapshot has it.

mod databases; // SQLite
mod live; // the folders
mod private; // who may read secrets
mod stored; // a snapshot, streamed out of the store

use crate::domain::metadata::path::TreePath;
use crate::domain::preset::PresetError;
use crate::source::{ExcludeError, WalkError};
use crate::store::TreeError;

pub use databases::Databases;
pub use live::live;
pub use private::{Private, private};
pub use stored::{Depth, stored};

/// Why nothing could be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The preset's rules cannot be used.
    #[error(transparent)]
    Preset(#[from] PresetError),
    /// A folder is not there.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// A pattern of what to leave out is none.
    #[error(transparent)]
    Exclude(#[from] ExcludeError),
    /// There is no place to lay a database out.
    #[error("cannot make the folder {} to look at databases in", path.display())]
    Scratch {
        /// Where.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// The snapshot's tree is not whole.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A root's name is none.
    #[error("the root {0:?} has a name that cannot stand in a snapshot: add the collection again")]
    BadRoot(String),
    /// It was cancelled.
    #[error("cancelled: not everything was looked at")]
    Cancelled,
}

/// A path as the rules know it: without the root's name. None for the root itself. Bytes that are no text become U+FFFD.
pub(in crate::backup) fn within_root(path: &TreePath) -> Option<String> {
    let bytes = path.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b'/')?;
    Some(String::from_utf8_lossy(&bytes[at + 1..]).into_owned())
}

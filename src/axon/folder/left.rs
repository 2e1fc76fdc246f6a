//! Items of a backup that cannot be used as they came.

use std::fmt;

use super::amiss::Amiss;
use crate::domain::id::ContentHash;

/// An item that cannot be used as it came: a download may bring its chunks, a BBS its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Of which applet.
    pub applet: String,
    /// Which item.
    pub content_hash: ContentHash,
    /// What it is to the applet.
    pub part: Part,
    /// What it lacks.
    pub lack: Lack,
}

/// What an item is to its applet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Its code.
    Code,
    /// The data of the user with this name.
    Data(String),
}

/// What an item lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// Chunks, for this reason.
    Chunks(Amiss),
    /// Chunks in the folder; what is here does not need them.
    InFolder(Amiss),
    /// A key that opens it. All its chunks are kept, and can be given back to who has one.
    Key {
        /// Somebody gave one, which does not.
        given: bool,
    },
}

impl Lack {
    /// The folder is damaged, whatever is here and may still come.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Chunks(amiss) | Self::InFolder(amiss) if amiss.damaged)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code => f.write_str("its code"),
            Self::Data(user) => write!(f, "the data of {user:?}"),
        }
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chunks(amiss) => amiss.fmt(f),
            Self::InFolder(amiss) => write!(f, "in this backup {amiss}; what is here is not touched by that"),
            Self::Key { given: false } => f.write_str(
                "kept, but nobody here can open it: the private key of the instance that made the backup does, with --key",
            ),
            Self::Key { given: true } => f.write_str(
                "kept, but nobody here can open it: the key that was given with --key does not, because it is not that of the instance that made it",
            ),
        }
    }
}

//! What an admin is told of, unasked.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What kind of thing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlertKind {
    /// The newest verified snapshot of a collection is older than what may be lost.
    Late,
    /// The last run of something failed, or something was wrong with it.
    Failed,
    /// The last drill failed: a snapshot does not come back as it was.
    DrillFailed,
    /// A snapshot lacks much that the one before it has.
    Shrunk,
    /// Something else is known against the newest snapshot: it does not fit together, lacks what could not be read, or did not come back.
    Suspect,
    /// Chunks or manifests are lost or damaged.
    Corrupt,
    /// The disk of chunks or manifests is not there.
    Away,
    /// A peer was not heard of for long.
    SilentPeer,
    /// A target has no copy of what it should have, or a wrong one.
    TargetFailed,
    /// The disk is nearly full.
    DiskFull,
}

impl AlertKind {
    /// All kinds.
    pub const ALL: [Self; 10] = [
        Self::Late,
        Self::Failed,
        Self::DrillFailed,
        Self::Shrunk,
        Self::Suspect,
        Self::Corrupt,
        Self::Away,
        Self::SilentPeer,
        Self::TargetFailed,
        Self::DiskFull,
    ];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Failed => "failed",
            Self::DrillFailed => "drill-failed",
            Self::Shrunk => "shrunk",
            Self::Suspect => "suspect",
            Self::Corrupt => "corrupt",
            Self::Away => "away",
            Self::SilentPeer => "silent-peer",
            Self::TargetFailed => "target-failed",
            Self::DiskFull => "disk-full",
        }
    }
}

impl fmt::Display for AlertKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A word that is no kind of alert.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no kind of alert")]
pub struct NoAlertKind(String);

impl FromStr for AlertKind {
    type Err = NoAlertKind;

    fn from_str(text: &str) -> Result<Self, NoAlertKind> {
        Self::ALL.into_iter().find(|kind| kind.word() == text).ok_or_else(|| NoAlertKind(text.to_owned()))
    }
}

/// Something that is wrong. The same kind and subject are the same alert, whatever the message says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alert {
    /// What kind of thing.
    pub kind: AlertKind,
    /// With what: a collection and what was done for it, a peer, the home.
    pub subject: String,
    /// A sentence: what is wrong, and what to do.
    pub message: String,
}

//! What is put on record as a run: work that takes a while and of which something comes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::schedule::Work;

/// What was done. As text: one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RunKind {
    /// Something that can be scheduled, too.
    Work(Work),
    /// A snapshot was restored into a folder.
    Restore,
    /// The live folders of a collection were brought back.
    Recover,
    /// The newest snapshot of another's collection was laid out in the folder of its standby.
    LayOut,
    /// Snapshots were written into a portable backup.
    Export,
    /// Snapshots were taken from a portable backup.
    Import,
    /// What takes the space was counted.
    Usage,
    /// Peers were asked what is new.
    Sync,
    /// Missing chunks were fetched from peers.
    Fetch,
    /// Peers were asked for keys that are missing here.
    Rekey,
    /// What is stored was read again, and what was lost brought back.
    Scrub,
    /// Everything that an instance lets us have, which was just joined, was fetched and looked at.
    Clone,
    /// What is in a target was looked at.
    VerifyTarget,
    /// What was removed here was removed from a target.
    PruneTarget,
}

impl RunKind {
    /// Those that are never scheduled.
    const OTHERS: [Self; 13] = [
        Self::Restore,
        Self::Recover,
        Self::LayOut,
        Self::Export,
        Self::Import,
        Self::Usage,
        Self::Sync,
        Self::Fetch,
        Self::Rekey,
        Self::Scrub,
        Self::Clone,
        Self::VerifyTarget,
        Self::PruneTarget,
    ];

    /// All kinds.
    pub fn all() -> impl Iterator<Item = Self> {
        Work::ALL.into_iter().map(Self::Work).chain(Self::OTHERS)
    }

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Work(work) => work.word(),
            Self::Restore => "restore",
            Self::Recover => "recover",
            Self::LayOut => "lay-out",
            Self::Export => "export",
            Self::Import => "import",
            Self::Usage => "usage",
            Self::Sync => "sync",
            Self::Fetch => "fetch",
            Self::Rekey => "rekey",
            Self::Scrub => "scrub",
            Self::Clone => "clone",
            Self::VerifyTarget => "verify-target",
            Self::PruneTarget => "prune-target",
        }
    }
}

impl From<Work> for RunKind {
    fn from(work: Work) -> Self {
        Self::Work(work)
    }
}

impl fmt::Display for RunKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for RunKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words = || Self::all().map(Self::word).collect::<Vec<_>>().join(", ");
        let found = Self::all().find(|kind| kind.word() == text);
        found.ok_or_else(|| format!("{text:?} is nothing that is on record; there are: {}", words()))
    }
}

impl TryFrom<String> for RunKind {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<RunKind> for String {
    fn from(kind: RunKind) -> Self {
        kind.word().to_owned()
    }
}

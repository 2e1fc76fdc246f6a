//! What came of a backup: the report of its run, and what the command says.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backup::create::Created;
use crate::backup::escrow::{MissingSecret, Noted};
use crate::domain::id::ManifestId;
use crate::domain::manifest::{Capture, Statistics};
use crate::source::LeftOut;

/// So many things that were left out are told one by one.
pub const LISTED: usize = 1000;

/// What came of a backup that made a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackupReport {
    /// The name of its collection.
    pub collection: String,
    /// The snapshot.
    pub id: ManifestId,
    /// Its number in the collection.
    pub sequence: u64,
    /// Interrupted: not everything is in it.
    pub partial: bool,
    /// Another instance took the collection over while it was made: it is kept, beside the line.
    pub beside: bool,
    /// Counts and sizes.
    pub statistics: Statistics,
    /// How it was taken, and what is wrong with it.
    pub capture: Capture,
    /// What was done about the application's secrets.
    pub secrets: Noted,
    /// What patterns left out, the first of it.
    pub left_out: Vec<LeftOutReport>,
    /// The sum of what they left out beside that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out_more: Option<LeftOutMore>,
    /// How long it took.
    pub seconds: f64,
}

/// Something that a pattern left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOutReport {
    /// Where, for people.
    pub path: String,
    /// By which pattern.
    pub pattern: String,
    /// How many files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// More of the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOutMore {
    /// How many things.
    pub things: u64,
    /// How many files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl From<&LeftOut> for LeftOutReport {
    fn from(left_out: &LeftOut) -> Self {
        let LeftOut { path, pattern, files, bytes } = left_out;
        Self { path: path.to_string(), pattern: pattern.clone(), files: *files, bytes: *bytes }
    }
}

impl BackupReport {
    /// Of a snapshot of this collection. At most `listed` things that were left out are named.
    pub fn of(collection: &str, created: &Created, listed: usize) -> Self {
        let (named, rest) = created.left_out.split_at(listed.min(created.left_out.len()));
        let add = |sum: LeftOutMore, one: &LeftOut| LeftOutMore {
            things: sum.things + 1,
            files: sum.files + one.files,
            bytes: sum.bytes + one.bytes,
        };
        Self {
            collection: collection.to_owned(),
            id: created.id,
            sequence: created.sequence,
            partial: created.partial,
            beside: created.beside,
            statistics: created.statistics,
            capture: created.capture.clone(),
            secrets: created.secrets.clone(),
            left_out: named.iter().map(LeftOutReport::from).collect(),
            left_out_more: (!rest.is_empty()).then(|| rest.iter().fold(LeftOutMore::default(), add)),
            seconds: created.took.as_secs_f64(),
        }
    }

    /// How long it took.
    pub fn took(&self) -> Duration {
        Duration::try_from_secs_f64(self.seconds).unwrap_or_default()
    }

    /// Secrets that are needed and not there, one sentence each.
    pub fn missing_secrets(&self) -> impl Iterator<Item = String> {
        let named = |missing: &MissingSecret| MissingSecret { collection: self.collection.clone(), ..missing.clone() };
        self.secrets.missing.iter().map(move |missing| named(missing).in_words())
    }
}

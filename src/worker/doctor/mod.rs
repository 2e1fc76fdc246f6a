//! Looks at everything that is worth a look, and says of each thing how it stands and what to do next.
//!
//! Nothing is changed. What only the running server knows is told by whoever asks it ([`ServerState`]), so that a command and a page
//! show the same findings.

mod closed; // a home that does not open
mod clock; // is it right?
mod collections; // schedules, snapshots, drills, verifications
mod copies; // peers, targets
mod keys; // permissions, the recovery key, secrets of applications
mod room; // disks
mod server; // does it run, does it start by itself?
#[cfg(test)]
mod tests;
mod watched; // what is known to be wrong, and who is told

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::alarm::AlertConfig;
use crate::domain::words::age;
use crate::store::{Store, StoreError};

pub use closed::Closed;
pub use server::ServerState;

/// A large index is looked at only as far as it goes in this time.
const INDEX_PATIENCE: Duration = Duration::from_secs(30);

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing is lost if it stays so.
    Note,
    /// It will be missed one day.
    Warning,
    /// Data is at risk now, or backups do not work.
    Error,
}

impl Severity {
    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about: a collection, a peer, `clock`, `disk`.
    pub about: String,
    /// How bad it is.
    pub severity: Severity,
    /// How it stands, in one sentence.
    pub what: String,
    /// What to do next: a sentence or a command. Nothing where all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn ok(about: impl Into<String>, what: impl Into<String>) -> Self {
        Self { about: about.into(), severity: Severity::Ok, what: what.into(), next: None }
    }

    /// Worth knowing.
    pub fn note(about: impl Into<String>, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { severity: Severity::Note, next: Some(next.into()), ..Self::ok(about, what) }
    }

    /// Will be missed.
    pub fn warning(about: impl Into<String>, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::note(about, what, next) }
    }

    /// Has to be mended.
    pub fn error(about: impl Into<String>, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { severity: Severity::Error, ..Self::note(about, what, next) }
    }
}

/// The worst of all findings.
pub fn worst(findings: &[Finding]) -> Severity {
    findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Ok)
}

/// What is looked at, and what is known of it already.
#[derive(Debug)]
pub struct Examination<'a> {
    /// The repository.
    pub store: &'a Store,
    /// What time it is.
    pub now: Timestamp,
    /// Who is told of alerts, and what counts as wrong.
    pub alerts: &'a AlertConfig,
    /// Whether the server reads again what is stored.
    pub scrubs: bool,
    /// What the server says.
    pub server: ServerState,
    /// Folders in which units of a service manager stand; none: this machine has no such manager.
    pub units: Vec<PathBuf>,
}

impl Examination<'_> {
    /// Looks only whether the server runs, and peers can come in.
    pub fn of_server(&self) -> Vec<Finding> {
        server::look(&self.server)
    }

    /// Looks at everything. What cannot be looked at is a finding, too, and the rest is looked at all the same.
    pub async fn of_everything(&self) -> Vec<Finding> {
        let mut findings = self.of_server();
        findings.extend(server::starts_by_itself(&self.units));
        let index = self.store.index.check();
        if let Ok(Err(error)) = tokio::time::timeout(INDEX_PATIENCE, index).await {
            findings.push(closed::index(&error));
        }
        let looks: [Result<Vec<Finding>, StoreError>; 6] = [
            clock::look(self).await.map_err(StoreError::from),
            room::look(self).await.map_err(StoreError::from),
            keys::look(self).await,
            collections::look(self).await.map_err(StoreError::from),
            copies::look(self).await,
            watched::look(self).await,
        ];
        for looked in looks {
            findings.extend(looked.unwrap_or_else(|error| vec![closed::why(&error)]));
        }
        // One fault shows wherever it is met.
        let mut seen = HashSet::new();
        findings.retain(|finding| {
            let is_index = finding.about == closed::INDEX && finding.severity == Severity::Error;
            !is_index || seen.insert(finding.next.clone())
        });
        findings
    }

    /// How long ago a moment was, in words.
    fn ago(&self, at: Timestamp) -> String {
        age(self.now.duration_since(at).as_secs())
    }
}

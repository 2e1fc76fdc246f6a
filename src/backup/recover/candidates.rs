//! Snapshots that a recovery could take, with what is known of each, and which one it takes.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use crate::backup::open::OpenSnapshot;
use crate::domain::id::{CollectionId, ManifestId};
use crate::domain::retention::Tag;
use crate::store::{IndexError, Store};

/// A snapshot, and what is known of it.
#[derive(Debug, Clone, Serialize)]
pub struct Candidate {
    /// Which one.
    pub id: ManifestId,
    /// Its number.
    pub sequence: u64,
    /// When it was begun.
    pub created_at: Timestamp,
    /// Files in it, if it can be opened.
    pub files: Option<u64>,
    /// Their bytes.
    pub bytes: Option<u64>,
    /// It stays, whatever the policy says.
    pub pinned: bool,
    /// What it is called.
    pub tags: BTreeSet<Tag>,
    /// When its structure was last found whole.
    pub whole_at: Option<Timestamp>,
    /// When every byte of it was last found to be as it was.
    pub verified_at: Option<Timestamp>,
    /// Why it is suspected to lack something.
    pub flagged: Option<String>,
    /// What kept the data still while it was taken; nothing is known of those of before, and of others'.
    pub capture: Option<&'static str>,
    /// What did not hold when it was taken.
    pub findings: Vec<String>,
    /// Why it is not taken by itself; nothing: it may be.
    pub passed_over: Option<String>,
}

/// All snapshots of a collection, the newest first.
///
/// # Errors
/// [`IndexError`].
pub async fn candidates(store: &Store, collection: &CollectionId) -> Result<Vec<Candidate>, IndexError> {
    let marks = store.index.marks().await?;
    let captures = store.index.captures(collection).await?;
    let mut snapshots = store.index.snapshots(Some(collection)).await?;
    snapshots.sort_by_key(|snapshot| (snapshot.beside, std::cmp::Reverse(snapshot.sequence)));
    let one = |snapshot: crate::store::index::Snapshot| {
        let statistics = OpenSnapshot::open(store, &snapshot.id).ok().map(|open| open.private.statistics);
        let mark = marks.get(&snapshot.id).cloned().unwrap_or_default();
        let capture = captures.iter().find(|(id, _)| *id == snapshot.id).map(|(_, capture)| capture);
        let findings: Vec<String> = capture
            .into_iter()
            .flat_map(|capture| capture.inconsistent.iter().chain(&capture.shrunk).chain(&capture.unread))
            .cloned()
            .collect();
        let passed_over = if snapshot.beside {
            Some("a former leader of the collection made it, beside the line".to_owned())
        } else if snapshot.partial {
            Some("its backup was interrupted: not everything is in it".to_owned())
        } else if !snapshot.has_key {
            Some("its key is not here".to_owned())
        } else if !snapshot.complete {
            Some("chunks of it are missing here ('bulbil fetch' gets them)".to_owned())
        } else if statistics.is_none() {
            Some("it cannot be opened".to_owned())
        } else if let Some(why) = &mark.flagged {
            Some(format!("it is flagged: {why}"))
        } else {
            findings.first().map(|first| format!("it did not fit together when it was taken: {first}"))
        };
        Candidate {
            id: snapshot.id,
            sequence: snapshot.sequence,
            created_at: snapshot.created_at,
            files: statistics.map(|statistics| statistics.files),
            bytes: statistics.map(|statistics| statistics.bytes),
            pinned: mark.pinned,
            tags: mark.tags,
            whole_at: mark.whole_at,
            verified_at: mark.verified_at,
            flagged: mark.flagged,
            capture: capture.map(|capture| capture.mode.word()),
            findings,
            passed_over,
        }
    };
    Ok(snapshots.into_iter().map(one).collect())
}

//! A snapshot, as a resource.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::id::{CollectionId, ManifestId};
use crate::domain::manifest::Capture;
use crate::store::index::Snapshot;
use crate::store::{IndexError, Store};

/// A snapshot and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SnapshotView {
    /// Its manifest's id.
    pub id: String,
    /// Its number in the collection.
    pub sequence: u64,
    /// When it was begun.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// The backup was interrupted: what was reached is in it.
    pub partial: bool,
    /// All its chunks are here.
    pub complete: bool,
    /// Its key is here: it can be opened.
    pub has_key: bool,
    /// A former leader made it, not knowing that another one led already.
    pub beside: bool,
    /// Chunks that it leans on.
    pub chunks: u64,
    /// Their bytes, as they are stored; other snapshots lean on most of them, too.
    pub stored_bytes: u64,
    /// It stays, whatever the policy says.
    pub pinned: bool,
    /// What it is called.
    pub tags: Vec<String>,
    /// What is held against it.
    pub flagged: Option<String>,
    /// When it was last found whole.
    #[schema(value_type = Option<String>)]
    pub whole_at: Option<Timestamp>,
    /// When every byte of it was last found right.
    #[schema(value_type = Option<String>)]
    pub verified_at: Option<Timestamp>,
    /// What is wrong with how it was taken: a sentence each.
    pub findings: Vec<String>,
}

impl SnapshotView {
    /// When it was last looked at and found good, by either way.
    pub fn found_good_at(&self) -> Option<Timestamp> {
        self.whole_at.max(self.verified_at)
    }
}

/// All snapshots of a collection, the newest first.
///
/// # Errors
/// [`IndexError`].
pub async fn snapshots(store: &Store, collection: &CollectionId) -> Result<Vec<SnapshotView>, IndexError> {
    let marks = store.index.marks().await?;
    let captures: HashMap<ManifestId, Capture> = store.index.captures(collection).await?.into_iter().collect();
    let view = |snapshot: Snapshot| {
        let mark = marks.get(&snapshot.id).cloned().unwrap_or_default();
        let capture = captures.get(&snapshot.id);
        let findings = capture.map(|capture| [&capture.inconsistent, &capture.shrunk, &capture.unread]);
        SnapshotView {
            id: snapshot.id.to_string(),
            sequence: snapshot.sequence,
            created_at: snapshot.created_at,
            partial: snapshot.partial,
            complete: snapshot.complete,
            has_key: snapshot.has_key,
            beside: snapshot.beside,
            chunks: snapshot.chunks,
            stored_bytes: snapshot.chunk_bytes,
            pinned: mark.pinned,
            tags: mark.tags.iter().map(ToString::to_string).collect(),
            flagged: mark.flagged,
            whole_at: mark.whole_at,
            verified_at: mark.verified_at,
            findings: findings.into_iter().flatten().flatten().cloned().collect(),
        }
    };
    let mut views: Vec<SnapshotView> = store.index.snapshots(Some(collection)).await?.into_iter().map(view).collect();
    // Two may have one number: after a takeover that was not known.
    views.sort_by(|one, other| (other.sequence, &other.id).cmp(&(one.sequence, &one.id)));
    Ok(views)
}

//! A target as a resource: where copies go to, and what is known of each. Never what lets us in.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::id::{CollectionId, ManifestId};
use crate::domain::target::{Location, Target};
use crate::store::index::{Collection, Snapshot, TargetCopy};
use crate::store::{Store, StoreError};

/// What kind of place it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TargetKind {
    /// A folder: a disk, a mounted share.
    Folder,
    /// Objects in a bucket of an S3-compatible store.
    Bucket,
}

/// A place that copies go to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TargetView {
    /// What it is called here.
    pub name: String,
    /// What kind of place it is.
    pub kind: TargetKind,
    /// The folder, or `s3://bucket/prefix`.
    pub location: String,
    /// Where the object store answers, if that was said.
    pub endpoint: Option<String>,
    /// The region of the bucket, if that was said.
    pub region: Option<String>,
    /// The names of the collections that are copied there; all, if there are none.
    pub collections: Vec<String>,
    /// How it stands with the copy of each collection that is copied there.
    pub copies: Vec<TargetStateView>,
}

/// How it stands with the copy of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TargetStateView {
    /// The name of the collection.
    pub collection: String,
    /// Its id.
    pub collection_id: String,
    /// When it was copied last, and which snapshot was the newest then; nothing if it never was.
    pub copied: Option<CopiedView>,
    /// When the copy was found right last, and which snapshot was the newest then.
    pub verified: Option<CopiedView>,
    /// Since when something is wrong with it, and what.
    pub failed: Option<CopyFailedView>,
    /// So many whole snapshots are here that were not copied yet.
    pub behind: u64,
    /// Bytes that a copy of all that is here takes there. In a list of targets nothing: it takes a while to count.
    pub full_bytes: Option<u64>,
}

/// A copy at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CopiedView {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The newest snapshot in it.
    pub snapshot: String,
    /// Its number; nothing if it is not known here any more.
    pub sequence: Option<u64>,
}

/// What is wrong with a copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CopyFailedView {
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// What.
    pub message: String,
}

/// What is here, to compare with.
struct Known {
    collections: Vec<Collection>,
    snapshots: HashMap<CollectionId, Vec<Snapshot>>,
    copies: Vec<TargetCopy>,
}

/// All targets, by name.
///
/// # Errors
/// [`StoreError`] if the home cannot be looked at.
pub async fn targets(store: &Store) -> Result<Vec<TargetView>, StoreError> {
    let mut known = Known {
        collections: store.index.collections().await?,
        snapshots: HashMap::new(),
        copies: store.index.target_copies().await?,
    };
    for snapshot in store.index.snapshots(None).await? {
        known.snapshots.entry(snapshot.collection).or_default().push(snapshot);
    }
    Ok(store.targets()?.iter().map(|target| known.view(target)).collect())
}

/// One target, with how much its copies take.
///
/// # Errors
/// [`StoreError`] if the home cannot be looked at.
pub async fn target(store: &Store, name: &str) -> Result<Option<TargetView>, StoreError> {
    let Some(mut view) = targets(store).await?.into_iter().find(|target| target.name == name) else { return Ok(None) };
    for collection in store.index.collections().await? {
        let Some(copy) = view.copies.iter_mut().find(|copy| copy.collection == collection.name) else { continue };
        copy.full_bytes = Some(store.index.named_by(&collection.id).await?.bytes);
    }
    Ok(Some(view))
}

impl Known {
    fn view(&self, target: &Target) -> TargetView {
        let name = |id: &CollectionId| {
            let found = self.collections.iter().find(|collection| collection.id == *id);
            found.map_or_else(|| id.to_string(), |collection| collection.name.clone())
        };
        let (kind, endpoint, region) = match &target.location {
            Location::Folder(_) => (TargetKind::Folder, None, None),
            Location::Bucket(bucket) => (TargetKind::Bucket, bucket.endpoint.clone(), bucket.region.clone()),
        };
        TargetView {
            name: target.name.clone(),
            kind,
            location: target.location.to_string(),
            endpoint,
            region,
            collections: target.collections.iter().map(name).collect(),
            copies: self
                .collections
                .iter()
                .filter(|collection| target.takes(&collection.id))
                .map(|collection| self.state(target, collection))
                .collect(),
        }
    }

    fn state(&self, target: &Target, collection: &Collection) -> TargetStateView {
        let here = self.snapshots.get(&collection.id).map(Vec::as_slice).unwrap_or_default();
        let copied = |(at, id): (Timestamp, ManifestId)| CopiedView {
            at,
            snapshot: id.to_string(),
            sequence: here.iter().find(|snapshot| snapshot.id == id).map(|snapshot| snapshot.sequence),
        };
        let copy = self.copies.iter().find(|copy| copy.target == target.name && copy.collection == collection.id);
        let view = TargetStateView {
            collection: collection.name.clone(),
            collection_id: collection.id.to_string(),
            copied: copy.and_then(|copy| copy.copied).map(copied),
            verified: copy.and_then(|copy| copy.verified).map(copied),
            failed: copy.and_then(|copy| copy.failed.clone()).map(|(since, message)| CopyFailedView { since, message }),
            behind: 0,
            full_bytes: None,
        };
        let is_newer = |snapshot: &&Snapshot| match &view.copied {
            None => true,
            Some(CopiedView { sequence: Some(sequence), .. }) => snapshot.sequence > *sequence,
            // It was removed here meanwhile.
            Some(CopiedView { at, .. }) => snapshot.created_at > *at,
        };
        let behind = here.iter().filter(|snapshot| snapshot.complete).filter(is_newer).count() as u64;
        TargetStateView { behind, ..view }
    }
}

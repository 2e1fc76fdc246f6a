//! Removing from a place the snapshots that were removed here, and then the chunks that no snapshot there leans on.
//!
//! Two phases: a chunk that nobody leans on is noted with the time (`unnamed.json`), and goes when that was long enough ago, so that whoever
//! reads the place meanwhile is not left without. What deletes goes the other way than what writes: documents, manifests, sidecars,
//! chunks. Killed anywhere, the next one goes on. A snapshot that was not removed here stays, and so does the newest one of each
//! collection and the one that was verified last, whatever was removed here.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{CopyError, away, marked};
use crate::domain::chunk::MAX_STORED;
use crate::domain::id::{ChunkId, CollectionId, ManifestId};
use crate::domain::segment::Segment;
use crate::monitor::Tally;
use crate::portable::document::{
    CHUNKS, COLLECTIONS, CollectionDocument, MANIFESTS, METADATA, manifest_file, sidecar_file,
};
use crate::portable::export::pretty;
use crate::portable::folder::{Folder, read_json};
use crate::portable::inventory;
use crate::portable::place::{At, Place};
use crate::store::{Store, blocking};

/// Which chunks nobody leans on, and since when.
const UNNAMED: &str = "unnamed.json";

/// What goes, or would.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetPruned {
    /// Snapshots.
    pub snapshots: Vec<ManifestId>,
    /// Chunks and lists of chunks.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Chunks that nobody leans on, and that go later.
    pub later: u64,
}

/// How it is done.
#[derive(Debug, Clone)]
pub struct TargetPrune {
    /// These stay, whatever was removed here.
    pub keep: HashSet<ManifestId>,
    /// So long nobody has leaned on a chunk that goes.
    pub grace: SignedDuration,
    /// Only say what would go.
    pub dry_run: bool,
}

/// A collection's folder, and all snapshots in it, whether its document names them or not.
#[derive(Debug)]
struct There {
    folder: String,
    snapshots: Vec<ManifestId>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Unnamed {
    #[serde(default)]
    since: BTreeMap<ChunkId, Timestamp>,
}

/// Removes from a place what was removed here.
///
/// # Errors
/// [`CopyError`]; [`CopyError::Unsure`] if a manifest or list there cannot be read: then nobody knows what it leans on, and no chunk is removed.
pub async fn prune(
    store: &Store,
    at: &At,
    how: TargetPrune,
    now: Timestamp,
    cancel: &CancellationToken,
) -> Result<TargetPruned, CopyError> {
    let (opened, of) = (at.clone(), store.clone());
    let there = blocking(move || {
        let place = opened.open().map_err(away(&opened))?;
        marked(&of, &place)?;
        let tally = Tally::default();
        let collections = Folder::of(place)?.collections(&tally)?;
        if let Some(problem) = tally.problems().first() {
            return Err(CopyError::Unsure(format!("{} ({})", problem.subject, problem.message)));
        }
        let with_document = collections.into_iter().map(|collection| {
            let unsure = || CopyError::Unsure(format!("{}/{METADATA}", collection.shown));
            let document = collection.document.clone().ok_or_else(unsure)?;
            Ok((There { folder: collection.shown, snapshots: collection.snapshots }, document))
        });
        with_document.collect::<Result<Vec<_>, CopyError>>()
    })
    .await?;
    let mut gone: HashMap<CollectionId, HashSet<ManifestId>> = HashMap::new();
    let mut keep = how.keep.clone();
    for (inside, document) in &there {
        keep.extend(document.snapshots.iter().max_by_key(|entry| entry.sequence).map(|entry| entry.id));
        for id in &inside.snapshots {
            if !keep.contains(id) && store.index.was_deleted(id).await? {
                gone.entry(document.collection).or_default().insert(*id);
            }
        }
    }
    let (store, at, cancel) = (store.clone(), at.clone(), cancel.clone());
    blocking(move || apply(&store, &at, there, &gone, &how, now, &cancel)).await
}

fn apply(
    store: &Store,
    at: &At,
    there: Vec<(There, CollectionDocument)>,
    gone: &HashMap<CollectionId, HashSet<ManifestId>>,
    how: &TargetPrune,
    now: Timestamp,
    cancel: &CancellationToken,
) -> Result<TargetPruned, CopyError> {
    let mut pruned = TargetPruned { snapshots: gone.values().flatten().copied().collect(), ..TargetPruned::default() };
    pruned.snapshots.sort_unstable();
    let place = at.open().map_err(away(at))?;
    if !place.hold()? {
        return Err(CopyError::Busy(at.to_string()));
    }
    // What stays leans on something; that has to be known before anything is removed.
    let named = named(at, gone)?;
    if !how.dry_run {
        forget(store, &place, there, gone)?;
    }
    let chunks = match place.enter(CHUNKS) {
        Err(error) if error.is_missing() => return Ok(pruned),
        chunks => chunks?,
    };
    let lengths = inventory::of(&chunks)?;
    let noted = read_json::<Unnamed>(&place, UNNAMED, "unnamed").unwrap_or_default();
    let mut left = Unnamed::default();
    let mut due = Vec::new();
    for (id, bytes) in lengths.iter().filter(|(id, _)| !named.contains(*id)) {
        let since = noted.since.get(id).copied().unwrap_or(now);
        if now.duration_since(since) >= how.grace {
            pruned.chunks += 1;
            pruned.bytes += bytes;
            due.push(*id);
        } else {
            pruned.later += 1;
            left.since.insert(*id, since);
        }
    }
    if how.dry_run {
        return Ok(pruned);
    }
    for id in due {
        if cancel.is_cancelled() {
            return Err(CopyError::Cancelled);
        }
        let name = id.to_string();
        chunks.enter(&name[..2])?.remove(&name)?;
    }
    place.save(UNNAMED, &pretty(&left))?;
    Ok(pruned)
}

/// All that the snapshots that stay lean on.
fn named(at: &At, gone: &HashMap<CollectionId, HashSet<ManifestId>>) -> Result<HashSet<ChunkId>, CopyError> {
    let folder = Folder::of(at.open()?)?;
    let (mut named, mut lists) = (HashSet::new(), HashSet::new());
    let problems = Tally::default();
    for collection in folder.collections(&problems)? {
        let is_gone = |id: &ManifestId| gone.values().any(|gone| gone.contains(id));
        for id in collection.snapshots.iter().filter(|id| !is_gone(id)) {
            let unsure = || CopyError::Unsure(format!("snapshot {}", id.short()));
            let read = collection.manifest(id).ok().and_then(|incoming| incoming.verify().ok());
            let (signed, _) = read.ok_or_else(unsure)?;
            for summary in signed.manifest.segments {
                if !lists.insert(summary.id) {
                    continue;
                }
                let bytes = folder.chunk(&summary.id, MAX_STORED)?.filter(|bytes| ChunkId::of(bytes) == summary.id);
                let list = bytes.and_then(|bytes| Segment::parse(&bytes).ok()).ok_or_else(unsure)?;
                named.insert(summary.id);
                named.extend(list.entries.iter().map(|entry| entry.id));
            }
        }
    }
    if let Some(problem) = problems.problems().first() {
        return Err(CopyError::Unsure(format!("{} ({})", problem.subject, problem.message)));
    }
    Ok(named)
}

/// Takes snapshots out of the documents, then removes their manifests, then the sidecars.
fn forget(
    store: &Store,
    place: &Place,
    there: Vec<(There, CollectionDocument)>,
    gone: &HashMap<CollectionId, HashSet<ManifestId>>,
) -> Result<(), CopyError> {
    let mut first = marked(store, place)?;
    for (There { folder, .. }, mut document) in there {
        let Some(gone) = gone.get(&document.collection) else { continue };
        let dir = place.enter(COLLECTIONS)?.enter(&folder)?;
        document.snapshots.retain(|entry| !gone.contains(&entry.id));
        for entry in first.collections.iter_mut().filter(|entry| entry.folder == folder) {
            entry.snapshots = document.snapshots.len() as u64;
        }
        dir.save(METADATA, &pretty(&document))?;
        let manifests = dir.enter(MANIFESTS)?;
        for id in gone {
            manifests.remove(&manifest_file(id))?;
        }
        manifests.sync_all()?;
        for id in gone {
            manifests.remove(&sidecar_file(id))?;
        }
    }
    place.save(super::BACKUP_MANIFEST, &pretty(&first))?;
    Ok(())
}

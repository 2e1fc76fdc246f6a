//! Removing snapshots that are not to be kept, and what nobody names without them.
//!
//! A plan says of each snapshot whether it goes, or why it stays; [`apply`] does it in the reverse of R8's order: the index forgets the
//! snapshots and tells of it, then their manifest files go, then chunks are marked, and those that were marked long enough ago are removed.
//! Killed anywhere, the next run goes on: it removes manifest files that are left of deleted snapshots before anything else.
//!
//! Beside it a backup may run, or a sync, or a restore: snapshots that a backup needs are not removed (the newest whole one, and what was
//! begun after it), and no file is removed while a backup stores something, or while somebody has a snapshot open.

pub mod delete; // one that is named
pub mod usage; // what takes the space

use std::collections::HashMap;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::domain::id::{CollectionId, ManifestId};
use crate::domain::retention::{Candidate, Extent, Policy, Reason, Verdict, decide};
use crate::monitor::{Counter, Monitor};
use crate::store::index::{Amount, Collection, Mark, Retention, Snapshot};
use crate::store::{ChunkStoreError, IndexError, ManifestFileError, Store, StoreError, SweepError, Swept, blocking};

/// How long what nobody names stays, unless something else is said.
pub const GRACE: SignedDuration = SignedDuration::from_hours(24);

/// Why it was not done, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// No such time zone.
    #[error("there is no time zone {0:?}: use a name like 'Europe/Berlin', or 'UTC'")]
    NoZone(String),
    /// The index cannot be used.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The repository cannot be used, or somebody else is pruning it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A manifest file cannot be removed.
    #[error(transparent)]
    Manifest(#[from] ManifestFileError),
    /// Chunks cannot be listed.
    #[error(transparent)]
    Chunks(#[from] ChunkStoreError),
    /// A file cannot be removed.
    #[error(transparent)]
    Sweep(#[from] SweepError),
}

/// What becomes of a collection's snapshots.
#[derive(Debug, Clone, Serialize)]
pub struct CollectionPlan {
    /// Which collection.
    pub id: CollectionId,
    /// Its name.
    pub name: String,
    /// What is kept; everything if there is none.
    pub policy: Option<Policy>,
    /// Where days begin.
    pub zone: String,
    /// Its snapshots, oldest first.
    pub snapshots: Vec<Planned>,
}

/// What becomes of a snapshot.
#[derive(Debug, Clone, Serialize)]
pub struct Planned {
    /// Which one.
    pub id: ManifestId,
    /// Its number.
    pub sequence: u64,
    /// When it was begun.
    pub created_at: Timestamp,
    /// Its backup was interrupted.
    pub partial: bool,
    /// Its tags.
    pub tags: Vec<String>,
    /// Why it stays; none if it goes.
    pub stays: Vec<Reason>,
}

impl Planned {
    /// Whether it goes.
    pub fn goes(&self) -> bool {
        self.stays.is_empty()
    }
}

/// What is to be removed.
#[derive(Debug, Clone, Serialize)]
pub struct PrunePlan {
    /// By collection.
    pub collections: Vec<CollectionPlan>,
    /// What nobody names once that is done: what is freed, after the grace period.
    pub freed: Amount,
}

impl PrunePlan {
    /// The snapshots that go.
    pub fn removed(&self) -> impl Iterator<Item = &Planned> {
        self.collections.iter().flat_map(|collection| &collection.snapshots).filter(|snapshot| snapshot.goes())
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Pruned {
    /// Snapshots that were removed.
    pub snapshots: u64,
    /// Chunks and lists of chunks that were removed, and whether some were left because somebody was storing something.
    pub swept: Swept,
    /// What nobody names, and stays until the grace period is over.
    pub waiting: Amount,
}

/// Plans what is removed of these collections. `otherwise` stands in for what was said of each of them.
///
/// # Errors
/// [`PruneError`].
pub async fn plan(
    store: &Store,
    collections: &[Collection],
    otherwise: Option<&Policy>,
    now: Timestamp,
) -> Result<PrunePlan, PruneError> {
    let marks = store.index.marks().await?;
    let mut plans = Vec::with_capacity(collections.len());
    for collection in collections {
        let mut retention = collection.kept(&store.keys.instance());
        if let Some(policy) = otherwise {
            retention.policy = Some(policy.clone());
        }
        let snapshots = store.index.snapshots(Some(&collection.id)).await?;
        plans.push(plan_collection(collection, &retention, &snapshots, &marks, now)?);
    }
    let plan = PrunePlan { collections: plans, freed: Amount::default() };
    let gone: Vec<ManifestId> = plan.removed().map(|snapshot| snapshot.id).collect();
    let freed = if gone.is_empty() { Amount::default() } else { store.index.only_in(&gone).await? };
    Ok(PrunePlan { freed, ..plan })
}

fn plan_collection(
    collection: &Collection,
    retention: &Retention,
    snapshots: &[Snapshot],
    marks: &HashMap<ManifestId, Mark>,
    now: Timestamp,
) -> Result<CollectionPlan, PruneError> {
    let zone = zone(&retention.zone)?;
    // A blind mirror can read none. Where some can be read, one whose key has not come yet does not stand in for them.
    let some_readable = snapshots.iter().any(|snapshot| snapshot.has_key);
    let mut candidates: Vec<Candidate> =
        snapshots.iter().map(|snapshot| candidate(snapshot, some_readable, marks.get(&snapshot.id))).collect();
    candidates.sort_by_key(|candidate| (candidate.sequence, candidate.id));
    let verdicts = decide(&candidates, retention.policy.as_ref(), &zone, now);
    let planned = candidates.into_iter().zip(verdicts).map(|(candidate, verdict)| Planned {
        id: candidate.id,
        sequence: candidate.sequence,
        created_at: candidate.made_at,
        partial: candidate.extent == Extent::Partial,
        tags: candidate.tags.into_iter().map(String::from).collect(),
        stays: match verdict {
            Verdict::Keep(reasons) => reasons,
            Verdict::Remove => Vec::new(),
        },
    });
    Ok(CollectionPlan {
        id: collection.id,
        name: collection.name.clone(),
        policy: retention.policy.clone(),
        zone: retention.zone.clone(),
        snapshots: planned.collect(),
    })
}

/// The time zone with this name.
///
/// # Errors
/// [`PruneError::NoZone`].
pub fn zone(name: &str) -> Result<TimeZone, PruneError> {
    if name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    TimeZone::get(name).map_err(|_| PruneError::NoZone(name.to_owned()))
}

fn candidate(snapshot: &Snapshot, some_readable: bool, mark: Option<&Mark>) -> Candidate {
    let whole = snapshot.complete && (snapshot.has_key || !some_readable);
    let extent = match (snapshot.partial, whole) {
        (true, _) => Extent::Partial,
        (false, true) => Extent::Whole,
        (false, false) => Extent::Incomplete,
    };
    let mark = mark.cloned().unwrap_or_default();
    Candidate {
        id: snapshot.id,
        sequence: snapshot.sequence,
        made_at: snapshot.created_at,
        extent,
        verified_at: mark.verified_at,
        pinned: mark.pinned,
        flagged: mark.flagged.is_some(),
        beside: snapshot.beside,
        tags: mark.tags,
    }
}

/// Removes what the plan says, and what nobody has named for `grace`. What came since the plan was made is not in it and stays.
///
/// # Errors
/// [`PruneError`]; what was done until then stays done, and the next run goes on from there. [`StoreError::Busy`]: somebody else is pruning.
pub async fn apply(
    store: &Store,
    plan: &PrunePlan,
    grace: SignedDuration,
    now: Timestamp,
    monitor: &dyn Monitor,
    cancel: &CancellationToken,
) -> Result<Pruned, PruneError> {
    let _lock = store.lock_prune()?;
    monitor.task("removing snapshots", Counter::Entries, None);
    let leaving = still_leaving(store, plan, now).await?;
    let removed = store.index.remove_snapshots(&leaving).await?;
    monitor.add(Counter::Entries, removed.len() as u64);
    remove_manifests(store).await?;

    monitor.task("looking for what nobody names", Counter::Chunks, None);
    store.index.note_unnamed(now).await?;
    note_unknown(store, now).await?;
    let until = now.saturating_sub(grace).unwrap_or(Timestamp::MIN);
    let swept = store.sweep(until, || cancel.is_cancelled()).await?;
    monitor.add(Counter::Chunks, swept.removed.chunks);
    let waiting = store.index.unnamed().await?;
    Ok(Pruned { snapshots: removed.len() as u64, swept, waiting })
}

/// Those that go by the plan, and still would: somebody may have pinned one meanwhile, or the newest one may have turned out bad.
async fn still_leaving(store: &Store, plan: &PrunePlan, now: Timestamp) -> Result<Vec<ManifestId>, PruneError> {
    let marks = store.index.marks().await?;
    let mut leaving = Vec::new();
    for planned in &plan.collections {
        let Some(collection) = store.index.collection(&planned.id).await? else { continue };
        let retention = Retention { policy: planned.policy.clone(), zone: planned.zone.clone() };
        let snapshots = store.index.snapshots(Some(&planned.id)).await?;
        let again = plan_collection(&collection, &retention, &snapshots, &marks, now)?;
        let goes = |id: &ManifestId| again.snapshots.iter().any(|snapshot| snapshot.id == *id && snapshot.goes());
        leaving.extend(planned.snapshots.iter().filter(|s| s.goes() && goes(&s.id)).map(|s| s.id));
    }
    Ok(leaving)
}

/// Removes the files of all manifests whose snapshots were deleted, in this run or in one that was killed.
async fn remove_manifests(store: &Store) -> Result<(), PruneError> {
    let files = store.manifests.clone();
    let there = blocking(move || files.list()).await?;
    let deleted = store.index.deleted_among(&there).await?;
    let files = store.manifests.clone();
    Ok(blocking(move || deleted.iter().try_for_each(|id| files.remove(id))).await?)
}

/// Marks the files that the index does not know: of killed backups, of lists of chunks that went with their snapshots.
async fn note_unknown(store: &Store, now: Timestamp) -> Result<(), PruneError> {
    let chunks = store.chunks.clone();
    let files = blocking(move || {
        let mut files = Vec::new();
        chunks.list(&mut |id, size| files.push((id, size)))?;
        Ok::<_, ChunkStoreError>(files)
    })
    .await?;
    store.index.note_unknown(&files, now).await?;
    Ok(())
}

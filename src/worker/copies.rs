//! Copies to targets: all are tried, whatever becomes of one, and of each is kept what came of it.

use std::sync::Arc;

use jiff::SignedDuration;
use rand_core::Rng;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::domain::id::ManifestId;
use crate::domain::target::Target;
use crate::monitor::{Monitor, Problem, Relay, with_causes};
use crate::portable::At;
use crate::portable::export::Exported;
use crate::portable::target::{self, Checked, CopyError, Depth, TargetPrune, TargetPruned};
use crate::store::index::Collection;
use crate::store::{IndexError, Store, StoreError, entropy};

/// Of a hundred chunks in a target so many are read after each copy.
pub const SAMPLE: u8 = 2;

/// So long nobody has leaned on a chunk that is removed from a target.
pub const GRACE: SignedDuration = SignedDuration::from_hours(24);

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub enum CopiesError {
    /// There is no target for it.
    #[error("there is no target for collection {0:?}: 'bulbil target add' names one")]
    NoTarget(String),
    /// The targets that are named take none of it.
    #[error("target {target} takes no copies of {collection}: 'bulbil target list' shows what it takes")]
    NotTaken {
        /// The target's name.
        target: String,
        /// The collection's name.
        collection: String,
    },
    /// None has it.
    #[error("{}", .0.join("; "))]
    AllFailed(Vec<String>),
    /// The home cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The index cannot be used.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// What came of one target and collection: the report of a run has a list of them, and so has the command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// The target's name.
    pub target: String,
    /// The name of the collection.
    pub collection: String,
    /// What is there, or why not.
    #[serde(rename = "result")]
    pub came: Came,
}

/// What is there, or why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Came {
    /// A copy.
    There(Box<There>),
    /// No copy, or not all of it.
    Failed {
        /// Why.
        failed: String,
    },
    /// There is no whole snapshot yet.
    Nothing {},
}

/// What is in a target now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct There {
    /// What was written.
    pub exported: Exported,
    /// The newest snapshot.
    pub newest: ManifestId,
    /// Chunks that were read there.
    pub read: u64,
    /// Chunks that were written anew: they were damaged there.
    pub repaired: u64,
}

impl Made {
    fn there(&self) -> Option<&There> {
        match &self.came {
            Came::There(there) => Some(there),
            Came::Failed { .. } | Came::Nothing {} => None,
        }
    }

    /// The newest snapshot there.
    pub fn newest(&self) -> Option<ManifestId> {
        self.there().map(|there| there.newest)
    }

    /// Chunks that were written.
    pub fn new_chunks(&self) -> u64 {
        self.there().map_or(0, |there| there.exported.new_chunks)
    }

    /// Their bytes.
    pub fn new_bytes(&self) -> u64 {
        self.there().map_or(0, |there| there.exported.new_bytes)
    }

    /// Why there is no copy, with the name of the target.
    fn why_not(&self) -> Option<String> {
        match &self.came {
            Came::Failed { failed } => Some(format!("target {}: {failed}", self.target)),
            Came::There(_) | Came::Nothing {} => None,
        }
    }
}

/// Whether at least one target has what it should.
///
/// # Errors
/// [`CopiesError::AllFailed`], if something was tried and all of it failed.
pub fn any_came(made: &[Made]) -> Result<(), CopiesError> {
    let failed: Vec<String> = made.iter().filter_map(Made::why_not).collect();
    if !failed.is_empty() && failed.len() == made.len() { Err(CopiesError::AllFailed(failed)) } else { Ok(()) }
}

/// What is copied where: of these collections to those of the targets that take them; to all targets, if none is named.
///
/// # Errors
/// [`CopiesError::NoTarget`], [`CopiesError::NotTaken`], if that is nothing.
pub fn pairs(
    store: &Store,
    targets: &[Target],
    collections: &[Collection],
) -> Result<Vec<(Target, Collection)>, CopiesError> {
    let all = if targets.is_empty() { store.targets()? } else { targets.to_vec() };
    let pairs: Vec<_> = all
        .iter()
        .flat_map(|target| collections.iter().map(move |collection| (target, collection)))
        .filter(|(target, collection)| target.takes(&collection.id))
        .map(|(target, collection)| (target.clone(), collection.clone()))
        .collect();
    match (pairs.is_empty(), targets.first(), collections.first()) {
        (true, Some(target), Some(collection)) => {
            Err(CopiesError::NotTaken { target: target.name.clone(), collection: collection.name.clone() })
        }
        (true, None, Some(collection)) => Err(CopiesError::NoTarget(collection.name.clone())),
        _ => Ok(pairs),
    }
}

/// What was found in a target: the report of a run, and what the command says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetChecked {
    /// The target's name.
    pub target: String,
    /// What was looked at.
    pub checked: Checked,
    /// Chunks that were written anew.
    pub repaired: u64,
}

/// What was removed from a target, or would be: the report of a run, and what the command says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetPruneReport {
    /// The target's name.
    pub target: String,
    /// It was only looked.
    pub dry_run: bool,
    /// What went, or would go.
    pub pruned: TargetPruned,
}

/// Copies.
#[derive(Debug, Clone, Copy)]
pub struct Copies<'a> {
    /// From where.
    pub store: &'a Store,
    /// When.
    pub clock: &'a dyn Clock,
    /// Stops it.
    pub cancel: &'a CancellationToken,
}

impl Copies<'_> {
    /// Copies each collection to its target. All are tried, whatever becomes of one; stopped, what was made so far is answered.
    ///
    /// # Errors
    /// [`CopiesError`], if what came of it cannot be kept. Of one that failed, a problem on `monitor` says so.
    pub async fn copy(
        &self,
        pairs: &[(Target, Collection)],
        depth: Depth,
        monitor: Arc<dyn Monitor>,
    ) -> Result<Vec<Made>, CopiesError> {
        let mut all = Vec::new();
        for (target, collection) in pairs {
            let made = self.one(target, collection, depth, Arc::clone(&monitor)).await?;
            if self.cancel.is_cancelled() {
                // What ended in time counts, what was broken off says nothing.
                all.extend(Some(made).filter(|made| made.there().is_some()));
                break;
            }
            if let Came::Failed { failed } = &made.came {
                let subject = format!("target {}: {}", target.name, collection.name);
                monitor.problem(Problem { subject, message: failed.clone() });
            }
            all.push(made);
        }
        Ok(all)
    }

    /// Copies a collection to one target, looks at what is there then, and keeps what came of it.
    ///
    /// # Errors
    /// [`CopiesError`], if it cannot be kept. That nothing was copied is no error.
    pub async fn one(
        &self,
        target: &Target,
        collection: &Collection,
        depth: Depth,
        monitor: Arc<dyn Monitor>,
    ) -> Result<Made, CopiesError> {
        let told = Arc::new(Relay::new(Arc::clone(&monitor)));
        let known = self.store.index.target_copies().await?;
        let is_bad = known
            .iter()
            .any(|copy| copy.target == target.name && copy.collection == collection.id && copy.failed.is_some());
        // What is known to be wrong there is not over because a sample does not meet it.
        let came = self.copied(target, collection, if is_bad { Depth::Data } else { depth }, told).await;
        let now = self.clock.now();
        let index = &self.store.index;
        let came = match came {
            Ok(Some(there)) => {
                index.note_copied(&target.name, &collection.id, &there.newest, now).await?;
                index.note_copy_verified(&target.name, &collection.id, &there.newest, now, true).await?;
                Came::There(Box::new(there))
            }
            Ok(None) => Came::Nothing {},
            Err(fault) => {
                let failed = with_causes(&fault);
                if !fault.says_nothing() {
                    index.note_copy_failed(&target.name, &collection.id, &failed, now).await?;
                }
                Came::Failed { failed }
            }
        };
        Ok(Made { target: target.name.clone(), collection: collection.name.clone(), came })
    }

    async fn copied(
        &self,
        target: &Target,
        collection: &Collection,
        depth: Depth,
        monitor: Arc<Relay>,
    ) -> Result<Option<There>, CopyFault> {
        let _only = self.store.lock_target(&target.name)?;
        let at = At::of(target).map_err(CopyError::from)?;
        let (store, only, now) = (self.store, [collection.id], self.clock.now());
        let copied = target::copy(store, &at, &collection.id, now, monitor.clone(), self.cancel).await?;
        let Some(copied) = copied else { return Ok(None) };
        let mut checked = target::check(store, &at, &only, depth, monitor.clone(), self.cancel).await?;
        let (bad, mut repaired, read) = (checked.bad.clone(), 0, checked.read);
        if !bad.is_empty() {
            repaired = target::repair(store, &at, &bad).await?;
            checked = target::check(store, &at, &only, Depth::Structure, monitor.clone(), self.cancel).await?;
            if repaired < bad.len() as u64 {
                return Err(CopyFault::Wrong(first(&monitor)));
            }
        }
        if !checked.sound.contains(&copied.newest) {
            return Err(CopyFault::Wrong(first(&monitor)));
        }
        Ok(Some(There { exported: copied.exported, newest: copied.newest, read, repaired }))
    }

    /// Looks at what is in a target, and keeps what was found.
    ///
    /// # Errors
    /// [`CopyFault`] if it cannot be looked at; that is kept, too.
    pub async fn verify(
        &self,
        target: &Target,
        depth: Depth,
        repair: bool,
        monitor: Arc<dyn Monitor>,
    ) -> Result<TargetChecked, CopyFault> {
        let told = Arc::new(Relay::new(monitor));
        let looked = self.looked(target, depth, repair, Arc::clone(&told)).await;
        let (now, index) = (self.clock.now(), &self.store.index);
        let taken: Vec<Collection> =
            index.collections().await?.into_iter().filter(|collection| target.takes(&collection.id)).collect();
        match &looked {
            Err(fault) if fault.says_nothing() => {}
            Err(fault) => {
                for collection in &taken {
                    index.note_copy_failed(&target.name, &collection.id, &with_causes(fault), now).await?;
                }
            }
            Ok((checked, repaired)) => {
                let mended = *repaired == checked.bad.len() as u64;
                for (id, snapshots) in &checked.snapshots {
                    let mut newest = None;
                    for snapshot in snapshots {
                        let known = index.snapshot(snapshot).await?;
                        newest = newest.max(known.map(|known| (known.sequence, *snapshot)));
                    }
                    let sound = mended || snapshots.iter().all(|snapshot| checked.sound.contains(snapshot));
                    let here = index.latest(id, false).await?.map(|newest| newest.id);
                    match newest.filter(|_| sound) {
                        Some((_, newest)) => {
                            let is_newest = here.is_none_or(|here| here == newest);
                            index.note_copy_verified(&target.name, id, &newest, now, is_newest).await?;
                        }
                        None => index.note_copy_failed(&target.name, id, &first(&told), now).await?,
                    }
                }
                // Something is not there, or not to be read, of which nobody can say whose it is.
                if told.heard().problems > checked.bad.len() as u64 {
                    for collection in &taken {
                        index.note_copy_failed(&target.name, &collection.id, &first(&told), now).await?;
                    }
                }
            }
        }
        let (checked, repaired) = looked?;
        Ok(TargetChecked { target: target.name.clone(), checked, repaired })
    }

    /// Removes from a target what was removed here, but for the newest snapshot of each collection and the one that was verified last.
    /// Chunks go when nobody has leaned on them for `grace`.
    ///
    /// # Errors
    /// [`CopyFault`].
    pub async fn prune(
        &self,
        target: &Target,
        grace: SignedDuration,
        dry_run: bool,
    ) -> Result<TargetPruneReport, CopyFault> {
        let _only = self.store.lock_target(&target.name)?;
        let at = At::of(target).map_err(CopyError::from)?;
        let known = self.store.index.target_copies().await?;
        let of_it = known.into_iter().filter(|copy| copy.target == target.name);
        let keep = of_it.filter_map(|copy| copy.verified).map(|(_, id)| id).collect();
        let how = TargetPrune { keep, grace, dry_run };
        let pruned = target::prune(self.store, &at, how, self.clock.now(), self.cancel).await?;
        Ok(TargetPruneReport { target: target.name.clone(), dry_run, pruned })
    }

    async fn looked(
        &self,
        target: &Target,
        depth: Depth,
        repair: bool,
        monitor: Arc<Relay>,
    ) -> Result<(Checked, u64), CopyFault> {
        let at = At::of(target).map_err(CopyError::from)?;
        let _only = if repair { Some(self.store.lock_target(&target.name)?) } else { None };
        let checked = target::check(self.store, &at, &[], depth, monitor, self.cancel).await?;
        let repaired = if repair { target::repair(self.store, &at, &checked.bad).await? } else { 0 };
        Ok((checked, repaired))
    }
}

/// What was wrong with one target.
#[derive(Debug, thiserror::Error)]
pub enum CopyFault {
    /// It could not be copied, or not be looked at.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// Somebody else is at it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The index cannot be used.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// What is there is not what it should be.
    #[error("what is there is not right: {0}")]
    Wrong(String),
}

impl CopyFault {
    /// Whether it says nothing of the target: it was stopped, or somebody else is at it now.
    fn says_nothing(&self) -> bool {
        matches!(self, Self::Copy(CopyError::Cancelled) | Self::Store(StoreError::Busy { .. }))
    }
}

/// So many of a hundred chunks, others each time.
pub fn sample(percent: u8) -> Depth {
    Depth::Sample { percent, seed: entropy().next_u64() }
}

/// What was wrong first.
fn first(monitor: &Relay) -> String {
    monitor.heard().told.into_iter().next().unwrap_or_else(|| "'bulbil target verify' shows what".to_owned())
}

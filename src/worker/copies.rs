//! Copies to targets: all are tried, whatever becomes of one, and of each is kept what came of it.

use std::sync::Arc;

use jiff::SignedDuration;
use rand_core::Rng;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::domain::id::{CollectionId, ManifestId};
use crate::domain::target::Target;
use crate::monitor::{Monitor, Problem, Relay, with_causes};
use crate::portable::At;
use crate::portable::export::Exported;
use crate::portable::target::{self, Checked, CopyError, Depth, TargetPrune, TargetPruned};
use crate::store::index::Collection;
use crate::store::{IndexError, Store, StoreError, entropy};

/// Of a hundred chunks in a target so many are read after each copy.
pub const SAMPLE: u8 = 2;

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub enum CopiesError {
    /// There is no target for it.
    #[error("there is no target for collection {0:?}: 'bulbil target add' names one")]
    NoTarget(String),
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

/// What came of one target and collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The target's name.
    pub target: String,
    /// Of which collection.
    pub collection: CollectionId,
    /// What is there, or why not.
    pub came: Result<Option<There>, String>,
}

/// What is in a target now.
#[derive(Debug, Clone, PartialEq, Eq)]
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
        self.came.as_ref().ok()?.as_ref()
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
    /// Copies a collection to every target that takes it.
    ///
    /// # Errors
    /// [`CopiesError`], if no target has it now. Of one that failed, a problem on `monitor` says so.
    pub async fn copy(&self, collection: &Collection, monitor: Arc<dyn Monitor>) -> Result<Vec<Made>, CopiesError> {
        let targets: Vec<Target> =
            self.store.targets()?.into_iter().filter(|target| target.takes(&collection.id)).collect();
        if targets.is_empty() {
            return Err(CopiesError::NoTarget(collection.name.clone()));
        }
        let depth = Depth::Sample { percent: SAMPLE, seed: seed() };
        let (mut made, mut failed) = (Vec::new(), Vec::new());
        for target in &targets {
            let one = self.one(target, collection, depth, Arc::clone(&monitor)).await?;
            if let Err(why) = &one.came {
                failed.push(format!("target {}: {why}", target.name));
            }
            made.push(one);
        }
        if failed.len() == made.len() {
            return Err(CopiesError::AllFailed(failed));
        }
        for one in &made {
            if let Err(why) = &one.came {
                let subject = format!("target {}: {}", one.target, collection.name);
                monitor.problem(Problem { subject, message: why.clone() });
            }
        }
        Ok(made)
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
            Ok(there) => Ok(there),
            // What is stopped says nothing of the target.
            Err(CopyFault::Copy(CopyError::Cancelled)) => Err(CopyError::Cancelled.to_string()),
            Err(fault) => {
                let why = with_causes(&fault);
                index.note_copy_failed(&target.name, &collection.id, &why, now).await?;
                Err(why)
            }
        };
        if let Ok(Some(there)) = &came {
            index.note_copied(&target.name, &collection.id, &there.newest, now).await?;
            index.note_copy_verified(&target.name, &collection.id, &there.newest, now, true).await?;
        }
        Ok(Made { target: target.name.clone(), collection: collection.id, came })
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
    ) -> Result<(Checked, u64), CopyFault> {
        let told = Arc::new(Relay::new(monitor));
        let looked = self.looked(target, depth, repair, Arc::clone(&told)).await;
        let (now, index) = (self.clock.now(), &self.store.index);
        let taken: Vec<Collection> =
            index.collections().await?.into_iter().filter(|collection| target.takes(&collection.id)).collect();
        match &looked {
            Err(CopyFault::Copy(CopyError::Cancelled)) => {}
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
        looked
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
    ) -> Result<TargetPruned, CopyFault> {
        let _only = self.store.lock_target(&target.name)?;
        let at = At::of(target).map_err(CopyError::from)?;
        let known = self.store.index.target_copies().await?;
        let of_it = known.into_iter().filter(|copy| copy.target == target.name);
        let keep = of_it.filter_map(|copy| copy.verified).map(|(_, id)| id).collect();
        let how = TargetPrune { keep, grace, dry_run };
        Ok(target::prune(self.store, &at, how, self.clock.now(), self.cancel).await?)
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

/// Draws what is looked at.
pub fn seed() -> u64 {
    entropy().next_u64()
}

/// What was wrong first.
fn first(monitor: &Relay) -> String {
    monitor.heard().told.into_iter().next().unwrap_or_else(|| "'bulbil target verify' shows what".to_owned())
}

//! Standbys: the newest whole snapshot of another's collection, laid out in a folder.
//!
//! Each step looks at the index and at the marker beside the folder, and at nothing that is only in memory: after a restart
//! nothing is done if the newest snapshot is laid out. While one is being laid out, newer ones may come; the next step takes
//! the newest and passes over those in between. Never an older one: what is laid out is replaced only by a higher number.
//! After a failure the pause doubles from a minute to an hour, unless there is another snapshot to try.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::hook::{self, HookError};
use crate::backup::layout::{LaidOut, Layout, LayoutError};
use crate::backup::open::{OpenSnapshot, OpenSnapshotError};
use crate::backup::restore::{RestoreError, refuse_homes, refuse_portable};
use crate::clock::Clock;
use crate::domain::id::{CollectionId, ManifestId};
use crate::monitor::Monitor;
use crate::store::index::{Collection, Snapshot, StandbyRecord, StandbySettings};
use crate::store::{IndexError, Store, StoreError, blocking};

/// How often the index is looked at.
const STEP: Duration = Duration::from_secs(2);
/// The pause after a first failure.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// The longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// How long a hook may take.
const HOOK_LIMIT: Duration = Duration::from_secs(600);

/// Why a standby cannot be, or was not brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum StandbyError {
    /// A collection that is backed up here.
    #[error("collection {0:?} is backed up here: a standby is for a collection of another instance")]
    Own(String),
    /// A blind mirror.
    #[error(
        "no snapshot of collection {0:?} can be read here: this is a blind mirror of it. Its source must let this instance read ('bulbil peer trust … --role reader' there), then 'bulbil rekey' here gets the keys"
    )]
    Blind(String),
    /// Another standby or a source is there.
    #[error("{} and {} overlap: name a folder of its own", into.display(), other.display())]
    Overlaps {
        /// The folder.
        into: PathBuf,
        /// The other one.
        other: PathBuf,
    },
    /// It is none.
    #[error("{0} is no standby")]
    NotOne(String),
    /// It is laid out elsewhere already.
    #[error("{name} is kept laid out in {} already: end that first", into.display())]
    Elsewhere {
        /// The collection.
        name: String,
        /// Where it is laid out.
        into: PathBuf,
    },
    /// A path that cannot be followed.
    #[error("{} cannot be looked up", .0.display())]
    NoPath(PathBuf),
    /// A path with steps upwards.
    #[error("{} has '..' in it: name the folder by its whole path", .0.display())]
    Upwards(PathBuf),
    /// A home.
    #[error(transparent)]
    Home(#[from] RestoreError),
    /// The folder.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The snapshot.
    #[error(transparent)]
    Open(#[from] OpenSnapshotError),
    /// The home.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// What a step came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// There is no snapshot that could be laid out.
    NothingYet,
    /// The newest one is laid out already.
    Current(LaidOut),
    /// It was laid out now; and what was wrong with the hook.
    Done(LaidOut, Option<String>),
}

/// How it stands with a standby.
#[derive(Debug, Clone)]
pub struct StandbyStatus {
    /// What the collection is called here.
    pub name: String,
    /// Which one.
    pub collection: CollectionId,
    /// Where to, and the hook.
    pub settings: StandbySettings,
    /// What is laid out, and is still in its place.
    pub laid_out: Option<LaidOut>,
    /// The newest snapshot that could be.
    pub newest: Option<Snapshot>,
    /// Why the newest one is not laid out.
    pub error: Option<String>,
    /// What was wrong with the hook the last time.
    pub hook_error: Option<String>,
}

/// How it stands with each standby, by name.
///
/// # Errors
/// [`IndexError`].
pub async fn status(store: &Store) -> Result<Vec<StandbyStatus>, IndexError> {
    let mut all = Vec::new();
    for collection in store.index.collections().await? {
        let Some(settings) = collection.standby.clone() else { continue };
        let newest = store.index.newest_readable(&collection.id).await?;
        let record = store.index.standby_record(&collection.id).await?;
        let here = Layout::new(&settings.into, collection.id).and_then(|layout| layout.current());
        let (laid_out, unreadable) = match here {
            Ok(laid_out) => (laid_out, None),
            Err(error) => (None, Some(error.to_string())),
        };
        let error = unreadable.or(record.as_ref().and_then(|record| record.error.clone()));
        let hook_error = record.and_then(|record| record.hook_error);
        let (name, collection) = (collection.name, collection.id);
        all.push(StandbyStatus { name, collection, settings, laid_out, newest, error, hook_error });
    }
    Ok(all)
}

/// Makes sure that a collection can be laid out in a folder, whose path is absolute and without links.
///
/// # Errors
/// [`StandbyError`].
pub async fn check(store: &Store, collection: &Collection, into: &Path) -> Result<(), StandbyError> {
    if store.keys.is_ours(&collection.origin) {
        return Err(StandbyError::Own(collection.name.clone()));
    }
    let snapshots = store.index.snapshots(Some(&collection.id)).await?;
    if !snapshots.is_empty() && !snapshots.iter().any(|snapshot| snapshot.has_key) {
        return Err(StandbyError::Blind(collection.name.clone()));
    }
    refuse_homes(into, store.home.root())?;
    refuse_portable(into)?;
    for other in store.index.collections().await?.into_iter().filter(|other| other.id != collection.id) {
        let roots = other.settings.into_iter().flat_map(|settings| settings.roots).map(|root| root.path);
        let taken = roots.chain(other.standby.map(|standby| standby.into));
        for other in taken {
            if into.starts_with(&other) || other.starts_with(into) {
                return Err(StandbyError::Overlaps { into: into.to_owned(), other });
            }
        }
    }
    Ok(Layout::new(into, collection.id)?.check()?)
}

/// Keeps a collection laid out in a folder from now on; where that is.
///
/// # Errors
/// [`StandbyError`].
pub async fn add(
    store: &Store,
    collection: &Collection,
    into: &Path,
    hook: Option<String>,
) -> Result<StandbySettings, StandbyError> {
    let into = without_links(into)?;
    check(store, collection, &into).await?;
    let settings = StandbySettings { into, hook };
    store.index.set_standby(&collection.id, Some(&settings)).await?;
    Ok(settings)
}

/// Does so no longer; the folder stays as it is. Where it was.
///
/// # Errors
/// [`StandbyError`].
pub async fn remove(store: &Store, collection: &Collection) -> Result<StandbySettings, StandbyError> {
    let settings = collection.standby.clone().ok_or_else(|| StandbyError::NotOne(collection.name.clone()))?;
    store.index.set_standby(&collection.id, None).await?;
    Ok(settings)
}

/// An absolute path whose folders above are not links; they may be missing.
fn without_links(path: &Path) -> Result<PathBuf, StandbyError> {
    let no_path = || StandbyError::NoPath(path.to_owned());
    let absolute = std::path::absolute(path).map_err(|_| no_path())?;
    let existing = absolute.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
    let (above, real) = existing.ok_or_else(no_path)?;
    let rest = absolute.strip_prefix(above).expect("it is one of its ancestors");
    if !rest.components().all(|part| matches!(part, std::path::Component::Normal(_))) {
        return Err(StandbyError::Upwards(path.to_owned()));
    }
    Ok(if rest.as_os_str().is_empty() { real } else { real.join(rest) })
}

/// Brings standbys up to date. Cheap to clone.
#[derive(Clone)]
pub struct Standbys {
    store: Store,
    clock: Arc<dyn Clock>,
    monitor: Arc<dyn Monitor>,
}

impl std::fmt::Debug for Standbys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Standbys")
    }
}

/// When an attempt that failed is made again.
struct Trouble {
    snapshot: Option<ManifestId>,
    failures: u32,
    again_at: Instant,
}

impl Standbys {
    /// Lays out what is in `store`.
    pub fn new(store: Store, clock: Arc<dyn Clock>, monitor: Arc<dyn Monitor>) -> Self {
        Self { store, clock, monitor }
    }

    /// Runs until cancelled; what is being laid out then is broken off, and the folder stays as it was.
    pub async fn run(self, cancel: CancellationToken) {
        let mut steps = tokio::time::interval(STEP);
        steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut troubles: HashMap<CollectionId, Trouble> = HashMap::new();
        while cancel.run_until_cancelled(steps.tick()).await.is_some() {
            let collections = match self.store.index.collections().await {
                Ok(collections) => collections,
                Err(error) => {
                    tracing::error!(%error, "standbys cannot be looked up; it is tried again");
                    continue;
                }
            };
            for collection in collections.iter().filter(|collection| collection.standby.is_some()) {
                self.tend(collection, &mut troubles, &cancel).await;
            }
        }
    }

    /// A step, unless one has just failed.
    async fn tend(
        &self,
        collection: &Collection,
        troubles: &mut HashMap<CollectionId, Trouble>,
        cancel: &CancellationToken,
    ) {
        let newest = self.store.index.newest_readable(&collection.id).await;
        let newest = newest.ok().flatten().map(|snapshot| snapshot.id);
        let known = troubles.get(&collection.id).filter(|trouble| trouble.snapshot == newest);
        if known.is_some_and(|trouble| Instant::now() < trouble.again_at) {
            return;
        }
        let failures = known.map_or(0, |trouble| trouble.failures);
        match self.step(collection, cancel).await {
            Ok(_) => {
                troubles.remove(&collection.id);
            }
            // Somebody runs 'bulbil standby run'.
            Err(StandbyError::Store(StoreError::Busy { .. })) => {}
            Err(error) => {
                if !cancel.is_cancelled() {
                    tracing::warn!(collection = collection.name, %error, "a standby was not brought up to date");
                }
                let pause = FIRST_PAUSE.saturating_mul(1 << failures.min(16)).min(LONGEST_PAUSE);
                let again_at = Instant::now() + pause;
                troubles.insert(collection.id, Trouble { snapshot: newest, failures: failures + 1, again_at });
            }
        }
    }

    /// Lays out the newest whole snapshot of a collection that can be read, if it is not laid out yet, and runs the hook.
    /// What came of it is remembered.
    ///
    /// # Errors
    /// [`StandbyError`]; the folder stays as it was.
    pub async fn step(&self, collection: &Collection, cancel: &CancellationToken) -> Result<Step, StandbyError> {
        let Some(settings) = collection.standby.clone() else { return Ok(Step::NothingYet) };
        if self.store.keys.is_ours(&collection.origin) {
            return Err(StandbyError::Own(collection.name.clone()));
        }
        let index = &self.store.index;
        let newest = index.newest_readable(&collection.id).await?;
        let layout = Layout::new(&settings.into, collection.id)?;
        let is_newer = |laid_out: &Option<LaidOut>| {
            newest
                .as_ref()
                .filter(|newest| laid_out.as_ref().is_none_or(|here| newest.sequence > here.sequence))
                .cloned()
        };
        let laid_out = layout.current();
        if let Ok(laid_out) = &laid_out
            && is_newer(laid_out).is_none()
        {
            match laid_out {
                None => return Ok(Step::NothingYet),
                Some(here) if !here.hook_is_due => return Ok(Step::Current(here.clone())),
                Some(_) => {}
            }
        }
        let next = laid_out.as_ref().map_or_else(|_| newest.clone(), is_newer);
        let about = next.as_ref().or(newest.as_ref()).map(|snapshot| (snapshot.id, snapshot.sequence));
        let work = Work { standbys: self.clone(), name: collection.name.clone(), settings, layout, next };
        let cancel = cancel.clone();
        let done = blocking(move || work.run(&cancel)).await;
        let at = self.clock.now();
        match (&done, about) {
            (Ok((here, hook_error)), _) => {
                let (snapshot, sequence, hook_error) = (here.snapshot, here.sequence, hook_error.clone());
                let record = StandbyRecord { snapshot, sequence, at, error: None, hook_error };
                index.note_standby(&collection.id, &record).await?;
            }
            (Err(StandbyError::Layout(LayoutError::Cancelled) | StandbyError::Store(_)), _) | (Err(_), None) => {}
            (Err(error), Some((snapshot, sequence))) => {
                let error = Some(error.to_string());
                let record = StandbyRecord { snapshot, sequence, at, error, hook_error: None };
                index.note_standby(&collection.id, &record).await?;
            }
        }
        done.map(|(here, hook_error)| Step::Done(here, hook_error))
    }
}

/// One step's work that blocks.
struct Work {
    standbys: Standbys,
    name: String,
    settings: StandbySettings,
    layout: Layout,
    next: Option<Snapshot>,
}

impl Work {
    /// Answers what is laid out, and what was wrong with the hook.
    fn run(self, cancel: &CancellationToken) -> Result<(LaidOut, Option<String>), StandbyError> {
        let Standbys { store, clock, monitor } = &self.standbys;
        let _lock = store.lock_standby()?;
        let here = match (&self.next, self.layout.settle()?) {
            (Some(next), here) if here.as_ref().is_none_or(|here| here.sequence < next.sequence) => {
                let open = OpenSnapshot::open(store, &next.id)?;
                let laid_out = self.layout.lay_out(&store.chunks, &open, clock.now(), &**monitor, cancel)?;
                tracing::info!(collection = self.name, sequence = laid_out.sequence, "a snapshot was laid out");
                laid_out
            }
            (_, Some(here)) => here,
            (_, None) => return Err(LayoutError::NotOurs { path: self.settings.into.clone() }.into()),
        };
        if !here.hook_is_due {
            return Ok((here, None));
        }
        let hook_error = match self.hook(&here, cancel) {
            // It runs again when the server is back.
            Err(HookError::Cancelled) => return Err(LayoutError::Cancelled.into()),
            ended => ended.err().map(|error| error.to_string()),
        };
        if let Some(error) = &hook_error {
            tracing::warn!(collection = self.name, error, "a standby's hook failed; what is laid out stays");
        }
        self.layout.hook_has_run()?;
        Ok((LaidOut { hook_is_due: false, ..here }, hook_error))
    }

    fn hook(&self, here: &LaidOut, cancel: &CancellationToken) -> Result<(), HookError> {
        let Some(command) = &self.settings.hook else { return Ok(()) };
        let environment = [
            ("BULBIL_COLLECTION", self.name.clone().into()),
            ("BULBIL_SNAPSHOT", here.snapshot.to_string().into()),
            ("BULBIL_SEQUENCE", here.sequence.to_string().into()),
            ("BULBIL_TARGET", self.settings.into.clone().into()),
        ];
        hook::run(command, &environment, HOOK_LIMIT, cancel)
    }
}

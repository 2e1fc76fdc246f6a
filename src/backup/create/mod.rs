//! Making a snapshot.
//!
//! ```text
//! planner ──batches──► readers (all cores) ──blocks──► packer ──full bins──► sealers (all cores)
//!    walk, compare        open, read, cut, hash          look up, gather, tree     zstd, AES-GCM, SHA-256, check, write
//! ```
//!
//! Every channel is bounded: memory is a few blocks and bins, whatever is backed up. The packer is one thread and takes
//! everything in tree order, so that chunks hold what lies together and the tree is built as it goes.
//!
//! R8: chunks are durable before the manifest is written, the manifest before the index knows it. R14: each chunk was
//! opened and compared before it was written. When it is cancelled, what was reached becomes a partial snapshot; while it runs
//! long, one is committed now and then, so that even a kill loses minutes only. The next run goes on from it.

mod bins;
mod commit;
mod counting; // problems are counted, and held back while it may be gone through again
pub mod cut;
mod dedup;
mod flow;
mod hooks; // commands before and after
mod pack;
mod plan;
mod read;
mod review; // whether what was read fits together, and is not much less than before
mod tree;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{bounded, unbounded};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::domain::chunk::ChunkRef;
use crate::domain::crypto::hash::FragmentKey;
use crate::domain::crypto::keywrap::KeyError;
use crate::domain::crypto::recovery::RecoveryError;
use crate::domain::id::{ChunkId, InstanceId, ManifestId};
use crate::domain::manifest::{Capture, CaptureMode, ManifestError, Statistics};
use crate::domain::metadata::entry::{Entry, FileEntry};
use crate::domain::metadata::path::TreePath;
use crate::domain::preset::Preset;
use crate::monitor::{Counter, Monitor, Problem};
use crate::source::command::CommandError;
use crate::source::{Document, ExcludeError, Excludes, LeftOut, Root, WalkError, WalkOptions, walk};
use crate::store::index::{Collection, CollectionKind, CollectionSettings, Snapshot};
use crate::store::{
    ChunkStoreError, IndexError, ManifestFileError, PresetsError, Store, StoreError, TreeError, TreeReader,
    open_chunk_secret,
};

use super::check::CheckError;
use super::open::{OpenSnapshot, OpenSnapshotError};
use bins::{Bins, SealError, SealerContext};
pub use commit::SharedChunks;
use commit::{Committer, Gathered};
use counting::{CountingMonitor, Holding};
use cut::Gear;
use dedup::Fragments;
use hooks::Hooking;
use pack::{Packed, Packer};
use plan::{Earlier, Planner};
use read::ReaderContext;
use review::{Review, Reviewer};

/// How often the folders are gone through at most, until what was read fits together.
const PASSES: u32 = 5;
/// How long to wait before the second pass; longer before each one after it.
const PAUSE: Duration = Duration::from_millis(100);
/// Batches that the planner may be ahead of the readers.
const BATCHES_AHEAD: usize = 24;

/// Why no snapshot was made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The collection is somebody else's.
    #[error("collection {0:?} belongs to another instance: it can be mirrored and restored here, but not backed up")]
    NotOurs(String),
    /// It has no folders, and nothing was given to be put into the snapshot.
    #[error("collection {0:?} is of an Axon BBS and has no folders; nothing is known of it that could be backed up")]
    Nothing(String),
    /// Another instance has taken it over.
    #[error(
        "collection {name:?} is led by instance {} now, which has taken it over: no snapshots of it are made here any more. What this one has stays, and can be restored; let the other one appoint this one ('bulbil peer appoint') to take it back with 'bulbil promote'", leader.short()
    )]
    LedBy {
        /// Which collection.
        name: String,
        /// Who leads it.
        leader: InstanceId,
    },
    /// A root cannot be walked.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// A pattern of what to leave out is none.
    #[error(transparent)]
    Exclude(#[from] ExcludeError),
    /// A chunk cannot be made or stored.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The repository cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The index cannot be used.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Chunks cannot be made durable or read.
    #[error(transparent)]
    Chunks(#[from] ChunkStoreError),
    /// The manifest cannot be written.
    #[error(transparent)]
    Manifest(#[from] ManifestFileError),
    /// Nobody would take the manifest.
    #[error(
        "the snapshot would be of no use to anybody, so it was not made; its folders can be added as a new collection"
    )]
    Unfit(#[source] ManifestError),
    /// An earlier snapshot cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenSnapshotError),
    /// The tree of an earlier snapshot cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Our own key is unusable.
    #[error("the snapshot's key cannot be wrapped for this instance's own key")]
    OwnKey(#[from] KeyError),
    /// The recovery key is unusable.
    #[error("the snapshot's key cannot be wrapped for the recovery key")]
    RecoveryKey(#[from] RecoveryError),
    /// A root's name is none.
    #[error("the root {0:?} has a name that cannot stand in a snapshot: add the collection again")]
    BadRoot(String),
    /// The preset of the collection cannot be used.
    #[error(transparent)]
    Preset(#[from] PresetsError),
    /// What was read cannot be checked.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// A hook did not do what it should.
    #[error("no snapshot was made, because the command before it failed ({command}): {cause}")]
    Hook {
        /// What was run.
        command: String,
        /// What happened.
        cause: CommandError,
    },
    /// The folder for a hook's files cannot be made.
    #[error("cannot make the folder {} for what the hook writes", path.display())]
    HookFolder {
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// It was cancelled before anything was reached.
    #[error("cancelled before anything was backed up")]
    Cancelled,
    /// A thread died.
    #[error("a part of the backup died unexpectedly; nothing was changed. This is a bug in bulbil")]
    Died,
}

/// A snapshot that was made.
#[derive(Debug)]
pub struct Created {
    /// Its manifest.
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
    /// What the preset's patterns and the collection's left out; only where there is a preset.
    pub left_out: Vec<LeftOut>,
    /// How long it took.
    pub took: Duration,
}

/// What is in a snapshot beside the folders of its collection.
#[derive(Debug, Default)]
pub struct Extras {
    /// Files that are made rather than found, in tree order.
    pub documents: Vec<Document>,
    /// Chunks that were sealed elsewhere and may be in other collections, too, with their sizes. They are here; the documents say
    /// what they are.
    pub shared: SharedChunks,
    /// What keeps the data still, if somebody says so.
    pub capture: Option<CaptureMode>,
    /// That there is less than before is as it should be.
    pub accept_shrink: bool,
}

/// Makes a snapshot of `collection`.
///
/// Problems with single files go to `monitor` and do not stop it. When `cancel` is cancelled, what was reached becomes a partial
/// snapshot. Dropping the future leaves the work running to its end on a thread of its own.
///
/// # Errors
/// [`CreateError`]; the repository is then as it was, but for chunks that nobody names.
pub async fn create(
    store: &Store,
    collection: &Collection,
    clock: &dyn Clock,
    monitor: Arc<dyn Monitor>,
    cancel: &CancellationToken,
) -> Result<Created, CreateError> {
    create_with(store, collection, Extras::default(), clock, monitor, cancel).await
}

/// Like [`create`], with more than the collection's folders in it.
///
/// # Errors
/// See [`create`].
pub async fn create_with(
    store: &Store,
    collection: &Collection,
    extras: Extras,
    clock: &dyn Clock,
    monitor: Arc<dyn Monitor>,
    cancel: &CancellationToken,
) -> Result<Created, CreateError> {
    let started = Instant::now();
    let mut settings = collection.settings.clone().ok_or_else(|| CreateError::NotOurs(collection.name.clone()))?;
    if collection.origin != store.keys.instance() {
        return Err(CreateError::LedBy { name: collection.name.clone(), leader: collection.origin });
    }
    // An empty snapshot would be the newest one, and hide what the others hold.
    if settings.kind == CollectionKind::Axon && extras.documents.is_empty() {
        return Err(CreateError::Nothing(collection.name.clone()));
    }
    let preset = settings.application.as_ref().map(|application| store.preset(&application.preset)).transpose()?;
    if let Some(preset) = &preset {
        let own = std::mem::replace(&mut settings.excludes, preset.patterns());
        settings.excludes.extend(own);
    }
    let _lock = store.lock_backup()?;
    let hooks = Hooking::new(store, collection, &settings, preset.as_ref(), cancel)?;
    hooks.before().await?;
    let created = passes(store, collection, settings, preset, &hooks, extras, clock, &monitor, cancel, started).await;
    hooks.after(&*monitor).await;
    created
}

/// Goes through the folders until what was read fits together, and commits.
#[expect(clippy::too_many_arguments, reason = "it is the rest of one function")]
async fn passes(
    store: &Store,
    collection: &Collection,
    settings: CollectionSettings,
    preset: Option<Preset>,
    hooks: &Hooking,
    extras: Extras,
    clock: &dyn Clock,
    monitor: &Arc<dyn Monitor>,
    cancel: &CancellationToken,
    started: Instant,
) -> Result<Created, CreateError> {
    let created_at = clock.now();
    let snapshots = store.index.snapshots(Some(&collection.id)).await?;
    let line: Vec<Snapshot> = snapshots.iter().filter(|snapshot| !snapshot.beside).cloned().collect();
    let mut earlier = Arc::new(earlier_snapshots(store, &line));
    let reviewer = match preset {
        Some(preset) => Some(Arc::new(Reviewer::new(store, collection, preset, &line, extras.accept_shrink).await?)),
        None => None,
    };

    // What others made beside the line does not say how ours are numbered; nor what somebody makes with a key that was replaced.
    let counts = |snapshot: &&Snapshot| !snapshot.beside || snapshot.instance == store.keys.instance();
    let last = snapshots.iter().filter(counts).map(|snapshot| snapshot.sequence).max().unwrap_or(0);
    // Since it leads (again), ours stand in the line from this number on.
    let first = collection.line.last().and_then(|reign| reign.first).unwrap_or(1);
    let last_sequence = last.max(first.saturating_sub(1));
    let mut committer = Committer::new(
        store.clone(),
        collection.clone(),
        settings.clone(),
        created_at,
        earlier.first().map(|open| &open.signed),
        last_sequence,
        superseded(&line, &store.keys.instance()),
    )
    .with_shared(extras.shared);
    let mut documents = extras.documents;
    documents.sort_by(|a, b| a.path.cmp(&b.path));

    let mut before = Packed::default();
    let mut stored_before = (0, 0);
    let mut last_pass: Option<Vec<u8>> = None;
    let mut number = 1;
    loop {
        let secrets = store.index.chunk_secrets(&collection.id).await?;
        let sparse = store.index.sparse_chunks(&collection.id).await?;
        let lost = lost_chunks(store, collection, &secrets).await?;
        let held = Arc::new(Holding::new(monitor.clone(), reviewer.is_some()));
        let run = Run {
            store: store.clone(),
            collection: collection.clone(),
            settings: settings.clone(),
            monitor: held.clone(),
            cancel: cancel.clone(),
            runtime: tokio::runtime::Handle::current(),
            avoid: sparse.iter().copied().chain(lost).collect(),
            preset: reviewer.as_ref().map(|reviewer| reviewer.preset.clone()),
            hook_folder: hooks.folder().map(std::path::Path::to_owned),
            left_out: Mutex::default(),
        };
        let (opened, again, of_run) = (earlier.clone(), reviewer.clone(), documents.clone());
        let pass = tokio::task::spawn_blocking(move || {
            let gathered = run.gather(&opened, secrets, of_run, &mut committer)?;
            let review = match &again {
                Some(reviewer) if !run.cancel.is_cancelled() => reviewer.review(&gathered, &run.cancel)?,
                _ => Review::default(),
            };
            let left_out = run.left_out.into_inner().expect("no holder of this lock can panic");
            Ok::<_, CreateError>((committer, gathered, review, left_out))
        });
        let (returned, mut gathered, review, left_out) = pass.await.map_err(|_| CreateError::Died)??;
        committer = returned;
        let cancelled = cancel.is_cancelled();
        if cancelled && gathered.packed.files + gathered.packed.directories == 0 {
            return Err(CreateError::Cancelled);
        }
        // What is wrong and stays as it is will not get better.
        let stands = last_pass.as_ref() == Some(&gathered.root);
        if review.is_unsettled(gathered.problems) && !cancelled && !stands && number < PASSES {
            before.add_work_of(&gathered.packed);
            let (_, statistics) = committer.commit(&gathered, true).await?;
            stored_before.0 += statistics.new_chunks;
            stored_before.1 += statistics.new_bytes;
            let newest = store.index.latest(&collection.id, true).await?;
            let newest =
                newest.filter(|snapshot| snapshot.partial).map(|snapshot| OpenSnapshot::open(store, &snapshot.id));
            earlier = Arc::new(newest.and_then(Result::ok).into_iter().chain(earlier_whole(store, &line)).collect());
            last_pass = Some(gathered.root);
            tokio::time::sleep(PAUSE * number).await;
            number += 1;
            continue;
        }
        held.release();
        gathered.packed.add_work_of(&before);
        let moving = gathered.problems > 0 || (!review.inconsistent.is_empty() && !stands);
        let mode = extras.capture.unwrap_or(if moving { CaptureMode::BestEffort } else { CaptureMode::StableRead });
        let capture = Capture {
            mode,
            preset: reviewer.as_ref().map(|reviewer| reviewer.preset.label()),
            passes: number,
            inconsistent: review.inconsistent,
            shrunk: review.shrunk,
        };
        committer.capture = Some(capture.clone());
        let (signed, mut statistics) = committer.commit(&gathered, cancelled).await?;
        if gathered.sparse != sparse {
            store.index.set_sparse_chunks(&collection.id, &gathered.sparse).await?;
        }
        statistics.new_chunks += stored_before.0;
        statistics.new_bytes += stored_before.1;
        let (sequence, beside) = (signed.manifest.sequence, committer.beside());
        let (id, took) = (signed.id, started.elapsed());
        return Ok(Created { id, sequence, partial: cancelled, beside, statistics, capture, left_out, took });
    }
}

/// Chunks that the index or the disk says are gone: nothing new may lean on them.
async fn lost_chunks(
    store: &Store,
    collection: &Collection,
    secrets: &[(ChunkId, Vec<u8>)],
) -> Result<Vec<ChunkId>, CreateError> {
    let missing = store.index.missing_chunks(Some(&collection.id), usize::MAX).await?;
    let mut lost: Vec<ChunkId> = missing.into_iter().map(|(id, _)| id).collect();
    let (chunks, ids) = (store.chunks.clone(), secrets.iter().map(|(id, _)| *id).collect::<Vec<_>>());
    let gone = tokio::task::spawn_blocking(move || {
        let gone = ids.into_iter().filter_map(|id| match chunks.size(&id) {
            Ok(Some(_)) => None,
            Ok(None) => Some(Ok(id)),
            Err(error) => Some(Err(error)),
        });
        gone.collect::<Result<Vec<ChunkId>, ChunkStoreError>>()
    })
    .await
    .map_err(|_| CreateError::Died)??;
    let new: Vec<ChunkId> = gone.into_iter().filter(|id| !lost.contains(id)).collect();
    if !new.is_empty() {
        store.index.mark_missing(&new).await?;
        lost.extend(new);
    }
    Ok(lost)
}

/// The newest complete snapshot, opened.
fn earlier_whole(store: &Store, snapshots: &[Snapshot]) -> Option<OpenSnapshot> {
    let whole = snapshots.iter().filter(|snapshot| !snapshot.partial).max_by_key(|snapshot| snapshot.sequence);
    whole.and_then(|snapshot| OpenSnapshot::open(store, &snapshot.id).ok())
}

/// The newest complete snapshot, and a partial one that came after it: the first that is returned is the parent.
fn earlier_snapshots(store: &Store, snapshots: &[Snapshot]) -> Vec<OpenSnapshot> {
    let newest = |partial: bool| snapshots.iter().filter(|s| s.partial == partial).max_by_key(|s| s.sequence);
    let whole = newest(false);
    let partial = superseded(snapshots, &store.keys.instance());
    let ids = partial.into_iter().chain(whole.map(|snapshot| snapshot.id));
    // One that cannot be opened costs time, not data: everything is read again.
    ids.filter_map(|id| OpenSnapshot::open(store, &id).ok()).collect()
}

/// A partial snapshot of our own that is newer than every complete one: the next snapshot takes its place.
fn superseded(snapshots: &[Snapshot], here: &InstanceId) -> Option<ManifestId> {
    let newest = snapshots.iter().max_by_key(|snapshot| snapshot.sequence);
    newest.filter(|newest| newest.partial && newest.instance == *here).map(|newest| newest.id)
}

/// One run, on its own threads.
struct Run {
    store: Store,
    collection: Collection,
    settings: CollectionSettings,
    monitor: Arc<dyn Monitor>,
    cancel: CancellationToken,
    /// For committing a checkpoint from the packer's thread.
    runtime: tokio::runtime::Handle,
    /// Chunks to lean on no more: those that were lost, and those of which little is alive. What is in them is stored anew, so
    /// that the latter die with the last old snapshot.
    avoid: HashSet<ChunkId>,
    /// What is known of the application.
    preset: Option<Preset>,
    /// Where a hook has put copies.
    hook_folder: Option<PathBuf>,
    /// What the patterns left out.
    left_out: Mutex<Vec<LeftOut>>,
}

impl Run {
    fn gather(
        &self,
        earlier: &[OpenSnapshot],
        secrets: Vec<(ChunkId, Vec<u8>)>,
        documents: Vec<Document>,
        committer: &mut Committer,
    ) -> Result<Gathered, CreateError> {
        let master = &self.store.keys.master;
        let derive = |purpose: &str| master.derive(purpose, self.collection.id.as_bytes());
        let names = FragmentKey::new(derive("fragments"));
        let node_names = FragmentKey::new(derive("nodes"));
        let gear = Gear::new(u64::from_le_bytes(derive("cut").expose()[..8].try_into().expect("eight of 32 bytes")));
        let counting = CountingMonitor::new(&*self.monitor);
        self.monitor.task(&format!("backing up {}", self.collection.name), Counter::BytesDone, None);

        let cores = thread::available_parallelism().map_or(2, usize::from);
        let (batch_in, batch_out) = bounded(BATCHES_AHEAD);
        let (order_in, order_out) = bounded(BATCHES_AHEAD);
        let (job_in, job_out) = bounded(cores);
        let (done_in, done_out) = unbounded();
        let reading = ReaderContext { names: &names, gear: &gear, monitor: &counting };
        let sealing = SealerContext {
            collection: self.collection.id,
            level: self.settings.level,
            padding: self.settings.padding,
            master,
            chunks: &*self.store.chunks,
            monitor: &counting,
        };

        thread::scope(|scope| {
            for _ in 0..cores {
                let (batches, jobs, done) = (batch_out.clone(), job_out.clone(), done_in.clone());
                let (reading, sealing) = (&reading, &sealing);
                scope.spawn(move || read::run(reading, &batches));
                scope.spawn(move || bins::run_sealer(sealing, &jobs, &done));
            }
            drop((batch_out, job_out, done_in));
            let planner = scope.spawn(|| self.plan(earlier, documents, &counting, batch_in, order_in));
            let packer = scope.spawn(|| {
                let fragments = self.fragments(secrets)?;
                let mut pages: HashMap<ManifestId, TreeReader<'_>> = HashMap::new();
                let resolve = Box::new(|file: &FileEntry| self.resolve_pages(earlier, &mut pages, file));
                let mut packer = Packer::new(Bins::new(job_in, done_out), &node_names, fragments, resolve, &counting);
                let mut checkpoint = |packer: &mut Packer<'_>| {
                    let gathered = packer.gathered(counting.problems())?;
                    self.runtime.block_on(committer.commit(&gathered, true)).map(|_| ())
                };
                packer.run(&order_out, &mut checkpoint)?;
                packer.gathered(counting.problems())
            });
            // An error in the packer is the cause; the planner then only finds that nobody listens.
            let packed = packer.join().map_err(|_| CreateError::Died)?;
            let planned = planner.join().map_err(|_| CreateError::Died)?;
            let gathered = packed?;
            planned?;
            Ok(gathered)
        })
    }

    fn plan(
        &self,
        earlier: &[OpenSnapshot],
        documents: Vec<Document>,
        monitor: &dyn Monitor,
        batches: crossbeam_channel::Sender<flow::Batch>,
        order: crossbeam_channel::Sender<crossbeam_channel::Receiver<flow::Block>>,
    ) -> Result<(), CreateError> {
        let options = WalkOptions {
            excludes: Excludes::new(&self.settings.excludes)?,
            never: vec![self.store.home.identity()?],
            skip_caches: self.preset.as_ref().is_some_and(|preset| preset.skip_caches),
            tell_left_out: self.preset.is_some(),
            ..WalkOptions::default()
        };
        let earlier = earlier
            .iter()
            .map(|open| {
                let entries = open.tree(&*self.store.chunks).map(|entry| entry.map_err(CreateError::from));
                let entries: Box<dyn Iterator<Item = Result<Entry, CreateError>> + Send> = Box::new(entries);
                Earlier::new(entries, open.signed.manifest.created_at)
            })
            .collect();
        let mut planner = Planner::new(earlier, &self.avoid, monitor, batches, order);
        let mut roots = Vec::with_capacity(self.settings.roots.len());
        for root in &self.settings.roots {
            let tree =
                TreePath::new(root.name.clone().into_bytes()).map_err(|_| CreateError::BadRoot(root.name.clone()))?;
            roots.push(Root { name: root.name.clone(), tree, path: root.path.clone() });
        }
        roots.sort_by(|a, b| a.tree.cmp(&b.tree));
        let mut unreachable = None;
        let mut reached = 0;
        for root in &roots {
            let walk = match walk(root, &options, &self.cancel) {
                Ok(walk) => walk,
                // One root that is gone does not keep the others from being backed up.
                Err(error) => {
                    monitor.problem(Problem { subject: root.name.clone(), message: error.to_string() });
                    unreachable.get_or_insert(error);
                    continue;
                }
            };
            reached += 1;
            if !planner.run(walk) || self.cancel.is_cancelled() {
                break;
            }
        }
        if let (0, Some(error)) = (reached, unreachable) {
            return Err(error.into());
        }
        planner.documents(documents);
        *self.left_out.lock().expect("no holder of this lock can panic") = planner.take_left_out();
        planner.finish();
        Ok(())
    }

    /// What is stored already. Chunks of earlier runs whose secrets do not open are as if they were not there.
    fn fragments(&self, secrets: Vec<(ChunkId, Vec<u8>)>) -> Result<Fragments, CreateError> {
        let mut fragments = Fragments::default();
        for (id, sealed) in secrets.into_iter().filter(|(id, _)| !self.avoid.contains(id)) {
            let Ok(secret) = open_chunk_secret(&self.store.keys.master, &id, &sealed) else { continue };
            fragments.add_known(Arc::new(ChunkRef { id, key: secret.key }), secret.fragments.into_iter());
        }
        Ok(fragments)
    }

    fn resolve_pages<'a>(
        &'a self,
        earlier: &[OpenSnapshot],
        readers: &mut HashMap<ManifestId, TreeReader<'a>>,
        file: &FileEntry,
    ) -> Result<Vec<crate::domain::metadata::entry::Extent>, CreateError> {
        let open = earlier.first().expect("pages come from an earlier snapshot");
        let reader = readers.entry(open.signed.id).or_insert_with(|| open.tree(&*self.store.chunks));
        Ok(reader.extents(file)?)
    }
}

/// When a snapshot was begun, for messages.
pub fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

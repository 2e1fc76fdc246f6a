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
pub mod cut;
mod dedup;
mod error;
mod flow;
mod hooks; // commands before and after
mod pack;
mod plan;
mod read;
mod run; // one pass over the folders
mod review; // whether what was read fits together, and is not much less than before
mod stand_in; // copies that stand in for files that are never still
mod tree;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::domain::id::{ChunkId, InstanceId, ManifestId};
use crate::domain::manifest::{ArchiveOrigin, Capture, CaptureMode, Statistics};
use crate::domain::metadata::node::Node;
use crate::domain::metadata::path::TreePath;
use crate::domain::preset::Preset;
use crate::monitor::{Monitor, Problem, Relay, with_causes};
use crate::source::archive::Archive;
use crate::source::parts::parts;
use crate::source::{Document, LeftOut};
use crate::store::index::{Collection, CollectionKind, CollectionSettings, Snapshot};
use crate::store::{ChunkStoreError, Store, blocking};

use super::escrow::{self, Noted};
use super::open::OpenSnapshot;
use super::recover::refuse_unfinished;
use bins::SealError;
use commit::Committer;
pub use commit::SharedChunks;
pub use error::CreateError;
use hooks::Hooking;
use pack::Packed;
use review::{Review, Reviewer};
use run::{EarlierTree, Run};

/// How often the folders are gone through at most, until what was read fits together.
const PASSES: u32 = 5;
/// How long to wait before the second pass; longer before each one after it.
const PAUSE: Duration = Duration::from_millis(250);
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
    /// What was done about the application's secrets.
    pub secrets: Noted,
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
    /// Commands whose output is backed up beside the folders.
    pub commands: Vec<CommandSource>,
    /// An old archive that is taken instead of the folders.
    pub archive: Option<ArchiveSource>,
}

/// An old archive that becomes a snapshot.
#[derive(Debug, Clone)]
pub struct ArchiveSource {
    /// What is in it.
    pub archive: Arc<Archive>,
    /// The name of the root in the snapshot's tree.
    pub root: String,
    /// When it was made: the snapshot's time.
    pub made_at: Timestamp,
    /// What it is.
    pub origin: ArchiveOrigin,
}

/// A command whose output is backed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandSource {
    /// Where its output is in the snapshot's tree: one name, which no root has.
    pub path: TreePath,
    /// What runs, with `sh -c`.
    pub command: String,
    /// When: the file's time.
    pub changed_at: Timestamp,
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
    if settings.roots.is_empty() && settings.kind == CollectionKind::Directory && extras.archive.is_none() {
        return Err(CreateError::NoFolders(collection.name.clone()));
    }
    let _lock = store.lock_backup()?;
    refuse_unfinished(store, &collection.id, &collection.name)?;
    // An archive has nothing to do with the application as it is now.
    let hooking = preset.as_ref().filter(|_| extras.archive.is_none());
    if let Some(application) = settings.application.as_mut().filter(|_| extras.archive.is_some()) {
        application.hooks = None;
    }
    let hooks = Hooking::new(store, collection, &settings, hooking, cancel)?;
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
    let created_at = extras.archive.as_ref().map_or_else(|| clock.now(), |archive| archive.made_at);
    let snapshots = store.index.snapshots(Some(&collection.id)).await?;
    let line: Vec<Snapshot> = snapshots.iter().filter(|snapshot| !snapshot.beside).cloned().collect();
    let opened = earlier_snapshots(store, &line);
    let noted = match extras.archive {
        // Which secrets belonged to an old archive is not known.
        Some(_) => Noted::default(),
        None => note_secrets(store, collection, preset.clone(), created_at, &**monitor).await,
    };
    let reviewer = match settings.kind {
        CollectionKind::Directory => {
            Some(Arc::new(Reviewer::new(store, collection, preset, &line, extras.accept_shrink).await?))
        }
        CollectionKind::Axon => None,
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
        opened.first().map(|open| &open.signed),
        last_sequence,
        superseded(&line, &store.keys.instance()),
    )
    .with_shared(extras.shared);
    committer.outputs = extras.commands.iter().map(|command| command.path.to_string()).collect();
    committer.archive = extras.archive.as_ref().map(|archive| (archive.root.clone(), archive.origin.name.clone()));
    if let (Some(archive), Some(newest)) = (&extras.archive, line.iter().max_by_key(|snapshot| snapshot.sequence))
        && newest.created_at > archive.made_at
    {
        return Err(CreateError::Older { newest: newest.created_at, sequence: newest.sequence });
    }
    let mut documents = extras.documents;
    documents.sort_by(|a, b| a.path.cmp(&b.path));

    let mut before = Packed::default();
    let mut earlier: Arc<Vec<EarlierTree>> = Arc::new(opened.iter().map(tree_of).collect());
    let mut last_pass: Option<Vec<u8>> = None;
    let mut number = 1;
    loop {
        let begun_at = clock.now();
        let mut secrets = store.index.chunk_secrets(&collection.id).await?;
        secrets.extend(committer.kept().map(|chunk| (chunk.id, chunk.sealed.clone())));
        let sparse = store.index.sparse_chunks(&collection.id).await?;
        let lost = lost_chunks(store, collection, &secrets).await?;
        let held = Arc::new(match reviewer {
            Some(_) => Relay::holding_back(monitor.clone()),
            None => Relay::new(monitor.clone()),
        });
        if extras.archive.is_none() {
            tell_links(reviewer.as_ref().and_then(|reviewer| reviewer.preset.as_ref()), &settings, &*held);
        }
        let run = Run {
            store: store.clone(),
            collection: collection.clone(),
            settings: settings.clone(),
            monitor: Arc::clone(&held),
            cancel: cancel.clone(),
            runtime: tokio::runtime::Handle::current(),
            avoid: sparse.iter().copied().chain(lost).collect(),
            preset: reviewer.as_ref().and_then(|reviewer| reviewer.preset.clone()),
            hook_folder: hooks.folder().map(|folder| (folder.to_owned(), hooks.has_before())),
            commands: extras.commands.clone(),
            archive: extras.archive.as_ref().map(|archive| archive.archive.clone()),
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
        // A part of an archive is nothing to go on from.
        if cancelled && extras.archive.is_some() {
            return Err(CreateError::Cancelled);
        }
        if cancelled && gathered.packed.files + gathered.packed.directories == 0 {
            return Err(CreateError::Cancelled);
        }
        // What is wrong and stays as it is will not get better.
        let stands = last_pass.as_ref() == Some(&gathered.root);
        let may_move = extras.archive.is_none();
        if may_move && review.is_unsettled(gathered.problems) && !cancelled && !stands && number < PASSES {
            before.add_work_of(&gathered.packed);
            committer.keep(&mut gathered);
            let root = Node::parse(&gathered.root).expect("it was just made");
            let whole = earlier_snapshots(store, &line).into_iter().map(|open| tree_of(&open));
            earlier = Arc::new(std::iter::once(EarlierTree { root, created_at: begun_at }).chain(whole).collect());
            last_pass = Some(gathered.root);
            tokio::time::sleep(PAUSE * number).await;
            number += 1;
            continue;
        }
        held.release();
        gathered.packed.add_work_of(&before);
        let moving = gathered.problems > 0 || (!review.inconsistent.is_empty() && !stands);
        let found = if moving { CaptureMode::BestEffort } else { CaptureMode::StableRead };
        let of_archive = extras.archive.as_ref().map(|_| CaptureMode::Archive);
        let mode = extras.capture.or(of_archive).unwrap_or(found);
        let capture = Capture {
            mode,
            preset: reviewer.as_ref().and_then(|reviewer| reviewer.preset.as_ref()).map(Preset::label),
            passes: number,
            inconsistent: review.inconsistent,
            shrunk: review.shrunk,
            unread: held.heard().told,
            secrets: noted.marks.clone(),
            archive: extras.archive.as_ref().map(|archive| archive.origin.clone()),
        };
        committer.capture = Some(capture.clone());
        let (signed, statistics) = committer.commit(&gathered, cancelled).await?;
        // Those that were avoided stay so as long as they are there: with the next snapshot that found something in one, it would live on.
        let avoided: BTreeSet<ChunkId> = sparse.iter().chain(&gathered.sparse).copied().collect();
        if avoided.len() != sparse.len() {
            let avoided: Vec<ChunkId> = avoided.into_iter().collect();
            store.index.set_sparse_chunks(&collection.id, &avoided).await?;
        }
        let (sequence, beside) = (signed.manifest.sequence, committer.beside());
        let (id, took) = (signed.id, started.elapsed());
        return Ok(Created {
            id,
            sequence,
            partial: cancelled,
            beside,
            statistics,
            capture,
            secrets: noted,
            left_out,
            took,
        });
    }
}

/// Keeps the application's secrets apart from its data. That it cannot be done is a problem, and no reason to make no snapshot.
async fn note_secrets(
    store: &Store,
    collection: &Collection,
    preset: Option<Preset>,
    now: Timestamp,
    monitor: &dyn Monitor,
) -> Noted {
    let (in_store, of) = (store.clone(), collection.clone());
    let noted = blocking(move || escrow::note(&in_store, &of, preset.as_ref(), now)).await;
    noted.unwrap_or_else(|error| {
        let message = format!("the application's secrets were not stored: {}", with_causes(&error));
        monitor.problem(Problem { subject: collection.name.clone(), message });
        Noted::default()
    })
}

/// Parts of the application that are links, or behind one: the snapshot has the link, and not the data.
fn tell_links(preset: Option<&Preset>, settings: &CollectionSettings, monitor: &dyn Monitor) {
    let Some(preset) = preset else { return };
    for root in &settings.roots {
        for link in parts(preset, &root.path).links {
            let message = "it is a link, or behind one: what it leads to is not in the snapshot. Mount the folder there instead of linking it (mount --bind)".to_owned();
            monitor.problem(Problem { subject: format!("{}/{link}", root.name), message });
        }
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

fn tree_of(open: &OpenSnapshot) -> EarlierTree {
    EarlierTree { root: open.root.clone(), created_at: open.signed.manifest.created_at }
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

/// When a snapshot was begun, for messages.
pub fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

//! Makes the index anew from `keys/`, `manifests/` and `chunks/` (R7).
//!
//! The new index is built beside the old one and takes its place when it is whole. It has a new feed: positions of the old
//! one mean nothing any more, so that peers read from the beginning and reconcile (R11).

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::chunks::{ChunkFiles, ChunkStore};
use super::index::{Collection, Contents, Index, founder};
use super::ledger::LedgerFile;
use super::marker::Marker;
use super::objects::{BucketStore, ChunkObjects, fetch_manifests};
use super::secrets::seal_chunk_secret;
use super::tree::TreeReader;
use super::{ChunkStoreError, Home, Keys, ManifestFiles, StoreError, blocking, files};
use crate::domain::chunk::{ChunkContent, ChunkKind, ChunkRef, Workbench};
use crate::domain::envelope::{Envelope, SnapshotKey, VAULT};
use crate::domain::id::{ChunkId, CollectionId};
use crate::domain::manifest::SignedManifest;
use crate::domain::segment::Segment;
use crate::domain::succession::SignedStatement;

/// Chunks that are opened before their secrets are written.
const BATCH: usize = 512;

/// What a rebuild found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RebuildReport {
    /// Collections, own and foreign.
    pub collections: u64,
    /// Snapshots that are in the new index.
    pub snapshots: u64,
    /// Chunks and segments that are here.
    pub chunks: u64,
    /// What could not be taken over, one sentence each.
    pub problems: Vec<String>,
}

/// A snapshot of our own whose tree tells the keys of its chunks.
struct Own {
    signed: SignedManifest,
    key: SnapshotKey,
}

/// Builds a new index and puts it in place. Nobody else is at work in the home.
pub(super) async fn rebuild(home: &Home, keys: &Arc<Keys>) -> Result<RebuildReport, StoreError> {
    let chunks: Arc<dyn ChunkStore> = match BucketStore::load(home, keys)? {
        Some(store) => from_bucket(home, keys, &store).await?,
        None => {
            let files = ChunkFiles::open(Marker::of_chunks(home, keys), home.quarantine())?;
            check_folders(home, keys, &files)?;
            Arc::new(files)
        }
    };
    let new = home.root().join("index.db.new");
    remove_index(&new)?;
    let mut report = RebuildReport::default();
    let index = Index::create(&new, None).await?;
    let filled = fill(&index, home, keys, &chunks, &mut report).await;
    index.close().await;
    filled?;
    replace(&home.index(), &new)?;
    Ok(report)
}

/// Chunks in a bucket, which is this home's; the manifests that are lost here come from there.
async fn from_bucket(home: &Home, keys: &Arc<Keys>, store: &BucketStore) -> Result<Arc<dyn ChunkStore>, StoreError> {
    let bucket = store.open().map_err(ChunkStoreError::from)?;
    let chunks = ChunkObjects::open(bucket.clone(), home.quarantine(), keys.own_ids().collect());
    let (marker, into) = (Marker::of_manifests(home, keys), home.manifests());
    blocking(move || {
        chunks.check()?;
        if let Err(away) = marker.check() {
            if !away.may_be_marked() {
                return Err(away.into());
            }
            marker.write().map_err(|cause| StoreError::io("mark", marker.dir(), cause))?;
        }
        fetch_manifests(&bucket, &into)?;
        Ok(Arc::new(chunks) as Arc<dyn ChunkStore>)
    })
    .await
}

/// Refuses to take an empty folder for all that there is: without a mark something has to be in it. Where nothing was stored yet
/// both are empty.
fn check_folders(home: &Home, keys: &Keys, chunks: &dyn ChunkStore) -> Result<(), StoreError> {
    let (of_chunks, of_manifests) = (Marker::of_chunks(home, keys), Marker::of_manifests(home, keys));
    let (no_chunks, no_manifests) = (of_chunks.check().err(), of_manifests.check().err());
    let any_manifest = no_manifests.is_none() || !ManifestFiles::new(home.manifests()).list()?.is_empty();
    let mut any_chunk = no_chunks.is_none();
    if !any_chunk {
        chunks.list(&mut |_, _| any_chunk = true)?;
    }
    for (away, marker, empty) in [(no_chunks, of_chunks, !any_chunk), (no_manifests, of_manifests, !any_manifest)] {
        let Some(away) = away else { continue };
        if !away.may_be_marked() || (empty && (any_chunk || any_manifest)) {
            return Err(away.into());
        }
        marker.write().map_err(|cause| StoreError::io("mark", marker.dir(), cause))?;
    }
    Ok(())
}

async fn fill(
    index: &Index,
    home: &Home,
    keys: &Arc<Keys>,
    chunks: &Arc<dyn ChunkStore>,
    report: &mut RebuildReport,
) -> Result<(), StoreError> {
    let mut contents = index.fill().await?;
    contents.add_statements(&keys.renewals).await?;
    let mut removed = HashSet::new();
    if let Some(ledger) = LedgerFile::new(home, keys.clone()).load()? {
        for collection in ledger.collections {
            let origin = founder(&collection);
            contents.add_collection(Collection { origin, ..collection }).await?;
            report.collections += 1;
        }
        let statements = ledger.statements.iter().map(SignedStatement::verify).collect::<Result<Vec<_>, _>>();
        match statements {
            Ok(statements) => contents.add_statements(&statements).await?,
            Err(error) => report.problems.push(format!("who leads which collection is not known any more: {error}")),
        }
        for peer in &ledger.peers {
            contents.add_peer(peer).await?;
        }
        for peer in &ledger.axon_peers {
            contents.add_axon_peer(peer).await?;
        }
        for marked in &ledger.marks {
            contents.add_mark(marked).await?;
        }
        for gone in &ledger.removed {
            contents.add_removed(gone).await?;
            removed.insert(gone.snapshot);
        }
    } else {
        report
            .problems
            .push("keys/ledger is missing: settings of collections and all peers have to be entered anew".to_owned());
    }

    let mut present = HashMap::new();
    chunks.list(&mut |id, size| {
        present.insert(id, size);
    })?;
    report.chunks = present.len() as u64;

    let mut loaded = load_manifests(&ManifestFiles::new(home.manifests()), report)?;
    // A kill left their files: the next prune removes them.
    loaded.retain(|(signed, _)| !removed.contains(&signed.id));
    loaded.sort_by_key(|(signed, _)| (signed.manifest.collection, signed.manifest.sequence, signed.id));
    let mut own = Vec::new();
    for (signed, envelopes) in loaded {
        let key = vault_key(keys, &signed, &envelopes);
        let ours = keys.is_ours(&signed.manifest.instance);
        if let Err(error) =
            add_snapshot(&mut contents, &signed, key.as_ref(), ours, chunks.as_ref(), &present, report).await
        {
            report.problems.push(format!("manifest {} was left out: {error}", signed.id));
            continue;
        }
        report.snapshots += 1;
        if keys.is_ours(&signed.manifest.instance)
            && let Some(key) = key
        {
            own.push(Own { signed, key });
        }
    }
    add_secrets(&mut contents, keys, chunks, own, &present, report).await?;
    contents.finish().await?;
    Ok(())
}

fn load_manifests(
    files: &ManifestFiles,
    report: &mut RebuildReport,
) -> Result<Vec<(SignedManifest, Vec<Envelope>)>, StoreError> {
    let mut loaded = Vec::new();
    for id in files.list()? {
        match files.load(&id) {
            Ok(manifest) => loaded.push(manifest),
            Err(error) => report.problems.push(error.to_string()),
        }
    }
    Ok(loaded)
}

fn vault_key(keys: &Keys, signed: &SignedManifest, envelopes: &[Envelope]) -> Option<SnapshotKey> {
    let vault = envelopes.iter().filter(|envelope| envelope.algorithm == VAULT);
    let mut opened =
        vault.map(|envelope| envelope.open_with_vault(&signed.id, &signed.manifest.commitment, &keys.master));
    opened.find_map(Result::ok)
}

async fn add_snapshot(
    contents: &mut Contents,
    signed: &SignedManifest,
    key: Option<&SnapshotKey>,
    ours: bool,
    chunks: &dyn ChunkStore,
    present: &HashMap<ChunkId, u64>,
    report: &mut RebuildReport,
) -> Result<(), StoreError> {
    let private = key.and_then(|key| signed.manifest.open_private(key).ok());
    let name = || private.as_ref().map(|private| private.name.clone());
    let capture = private.as_ref().filter(|_| ours).and_then(|private| private.capture.as_ref());
    if contents.add_snapshot(signed, key.is_some(), name, capture).await? {
        report.collections += 1;
    }
    for summary in &signed.manifest.segments {
        if !present.contains_key(&summary.id) || contents.is_filled(&summary.id) {
            continue;
        }
        let bytes = match chunks.read(&summary.id) {
            Ok(bytes) => bytes,
            // A list that the disk does not give now is no reason to forget the snapshot.
            Err(error) => {
                report.problems.push(format!("segment {} cannot be read, and counts as missing: {error}", summary.id));
                continue;
            }
        };
        let segment = Segment::parse(&bytes).ok().filter(|segment| segment.id == summary.id);
        match segment {
            Some(segment) => contents.fill_segment(&segment, present).await?,
            None => report.problems.push(format!("segment {} is damaged: it counts as missing", summary.id)),
        }
    }
    Ok(())
}

/// Walks the trees of our own snapshots for the keys of their chunks, and opens each chunk for its fragment table.
async fn add_secrets(
    contents: &mut Contents,
    keys: &Arc<Keys>,
    chunks: &Arc<dyn ChunkStore>,
    own: Vec<Own>,
    present: &HashMap<ChunkId, u64>,
    report: &mut RebuildReport,
) -> Result<(), StoreError> {
    let mut seen_nodes: HashMap<CollectionId, HashSet<(ChunkId, u32)>> = HashMap::new();
    let mut seen: HashSet<ChunkId> = HashSet::new();
    for Own { signed, key } in own {
        let collection = signed.manifest.collection;
        let root = signed.manifest.open_private(&key).and_then(|private| private.root());
        let mut wanted: Vec<(ChunkKind, Arc<ChunkRef>)> = Vec::new();
        let walked = root.map_err(|error| error.to_string()).and_then(|root| {
            TreeReader::new(chunks.as_ref(), collection, root)
                .chunk_refs(seen_nodes.entry(collection).or_default(), |kind, chunk| {
                    if present.contains_key(&chunk.id) && seen.insert(chunk.id) {
                        wanted.push((kind, chunk.clone()));
                    }
                })
                .map_err(|error| error.to_string())
        });
        if let Err(error) = walked {
            report.problems.push(format!("the tree of snapshot {} cannot be walked to its end: {error}", signed.id));
        }
        for batch in wanted.chunks(BATCH) {
            let (batch, keys, chunks) = (batch.to_vec(), keys.clone(), chunks.clone());
            let opened = tokio::task::spawn_blocking(move || open_all(&batch, collection, &keys, chunks.as_ref()))
                .await
                .expect("opening chunks does not panic");
            for (id, sealed) in opened {
                match sealed {
                    Ok(sealed) => contents.set_secret(&id, &sealed).await?,
                    Err(problem) => report.problems.push(format!("chunk {id} gives no fragments: {problem}")),
                }
            }
        }
    }
    Ok(())
}

type Opened = (ChunkId, Result<Vec<u8>, String>);

/// Opens chunks on all processors.
fn open_all(
    wanted: &[(ChunkKind, Arc<ChunkRef>)],
    collection: CollectionId,
    keys: &Keys,
    chunks: &dyn ChunkStore,
) -> Vec<Opened> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = wanted.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let workers: Vec<_> = wanted
            .chunks(share)
            .map(|share| {
                scope.spawn(move || {
                    let mut bench = Workbench::new(1);
                    let each = |(kind, chunk): &(ChunkKind, Arc<ChunkRef>)| {
                        (chunk.id, open(*kind, chunk, collection, keys, chunks, &mut bench))
                    };
                    share.iter().map(each).collect::<Vec<Opened>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("opening a chunk does not panic")).collect()
    })
}

fn open(
    kind: ChunkKind,
    chunk: &ChunkRef,
    collection: CollectionId,
    keys: &Keys,
    chunks: &dyn ChunkStore,
    bench: &mut Workbench,
) -> Result<Vec<u8>, String> {
    let stored = chunks.read(&chunk.id).map_err(|error| error.to_string())?;
    let content =
        ChunkContent::open(&stored, &chunk.key, kind, &collection, bench).map_err(|error| error.to_string())?;
    Ok(seal_chunk_secret(&keys.master, &chunk.id, &chunk.key, content.table()))
}

fn beside(index: &Path, suffix: &str) -> PathBuf {
    let mut name = index.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn remove_index(index: &Path) -> Result<(), StoreError> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let path = beside(index, suffix);
        files::remove(&path).map_err(|cause| StoreError::io("remove", &path, cause))?;
    }
    Ok(())
}

/// Puts the new index in the old one's place. A kill in between leaves no index, which says to run the rebuild again; never
/// a new index with an old log, or an old one without its log.
fn replace(index: &Path, new: &Path) -> Result<(), StoreError> {
    remove_index(index)?;
    std::fs::rename(new, index).map_err(|cause| StoreError::io("put in place", index, cause))?;
    let dir = index.parent().expect("an index lies in a home");
    files::sync_dir(dir).map_err(|cause| StoreError::io("make durable", dir, cause))
}

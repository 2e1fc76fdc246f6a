//! Chunks from a folder: for snapshots that are known here and not whole.
//!
//! What the chunk store has already, from a run that was killed, is adopted. Everything is compared with its name and length before it is
//! stored (R13), and durable before the index knows it (R8).

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;

use super::folder::Folder;
use super::import::ImportError;
use super::place::{At, PlaceError};
use crate::domain::chunk::MAX_STORED;
use crate::domain::id::{ChunkId, ManifestId};
use crate::domain::manifest::SegmentSummary;
use crate::domain::segment::Segment;
use crate::monitor::{Counter, Monitor, Problem};
use crate::store::incoming::{Wrong, check_object};
use crate::store::{IndexError, Store, blocking};

/// So many chunks are made durable and noted together.
const BATCH: usize = 256;
/// So many damaged chunks are named; the rest is counted.
const MAX_NAMED: u64 = 50;

/// What came from a folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Filled {
    /// Chunks that came.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Lists of chunks that came.
    pub lists: u64,
}

/// Takes chunks from a portable backup, or from all in `dir`, for every snapshot that is known here and not whole. What is damaged there is
/// a problem for `monitor`; what is not there stays missing.
///
/// # Errors
/// [`ImportError`]; what came until then stays.
pub async fn fill_from(
    store: &Store,
    dir: &Path,
    monitor: Arc<dyn Monitor>,
    cancel: &CancellationToken,
) -> Result<Filled, ImportError> {
    let wanted: Vec<ManifestId> =
        store.index.snapshots(None).await?.iter().filter(|s| !s.complete).map(|s| s.id).collect();
    fill_snapshots(store, &At::Folder(dir.to_owned()), &wanted, monitor, cancel).await
}

/// Takes what is missing of these snapshots from a portable backup, wherever it is: nothing else is read there, and what came stays if
/// it is stopped.
///
/// # Errors
/// [`ImportError`]; what came until then stays.
pub async fn fill_snapshots(
    store: &Store,
    at: &At,
    wanted: &[ManifestId],
    monitor: Arc<dyn Monitor>,
    cancel: &CancellationToken,
) -> Result<Filled, ImportError> {
    store.check_folders()?;
    let (at, told) = (at.clone(), Arc::clone(&monitor));
    let mut filled = Filled::default();
    for folder in blocking(move || Folder::open_all(&at, &*told)).await? {
        let filling = Filling::new(store, Arc::new(folder), &monitor, cancel);
        filling.fill(wanted).await?;
        let one = filling.finish();
        filled = Filled {
            chunks: filled.chunks + one.chunks,
            bytes: filled.bytes + one.bytes,
            lists: filled.lists + one.lists,
        };
    }
    Ok(filled)
}

/// Something that is wanted.
#[derive(Debug, Clone)]
struct Wanted {
    id: ChunkId,
    size_bytes: u32,
    /// For a list: what the manifest says of it.
    list: Option<SegmentSummary>,
}

/// Something that is in the chunk store now.
struct Here {
    id: ChunkId,
    size_bytes: u32,
    segment: Option<Segment>,
}

pub(super) struct Filling<'a> {
    store: &'a Store,
    folder: Arc<Folder>,
    monitor: &'a Arc<dyn Monitor>,
    cancel: &'a CancellationToken,
    chunks: AtomicU64,
    bytes: AtomicU64,
    lists: AtomicU64,
    damaged: Arc<AtomicU64>,
}

impl<'a> Filling<'a> {
    pub(super) fn new(
        store: &'a Store,
        folder: Arc<Folder>,
        monitor: &'a Arc<dyn Monitor>,
        cancel: &'a CancellationToken,
    ) -> Self {
        let zero = AtomicU64::default;
        Self { store, folder, monitor, cancel, chunks: zero(), bytes: zero(), lists: zero(), damaged: Arc::default() }
    }

    pub(super) async fn fill(&self, snapshots: &[ManifestId]) -> Result<(), ImportError> {
        let mut done: HashSet<ChunkId> = HashSet::new();
        for id in snapshots {
            if self.store.index.snapshot(id).await?.is_none_or(|snapshot| snapshot.complete) {
                continue;
            }
            let (files, id) = (self.store.manifests.clone(), *id);
            // One that is damaged here is 'bulbil verify's concern.
            let Ok((signed, _)) = blocking(move || files.load(&id)).await else { continue };
            for summary in signed.manifest.segments {
                if !done.contains(&summary.id) {
                    let list = summary.id;
                    self.segment(summary).await?;
                    done.insert(list);
                }
            }
        }
        Ok(())
    }

    /// What came, all in all; says how much was damaged.
    pub(super) fn finish(self) -> Filled {
        let damaged = self.damaged.load(Ordering::Relaxed);
        if damaged > MAX_NAMED {
            let message = format!("{} more files there are damaged, and were left out", damaged - MAX_NAMED);
            self.monitor.problem(Problem { subject: self.folder.shown().to_string(), message });
        }
        let get = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Filled { chunks: get(&self.chunks), bytes: get(&self.bytes), lists: get(&self.lists) }
    }

    async fn segment(&self, summary: SegmentSummary) -> Result<(), ImportError> {
        let index = &self.store.index;
        if !index.missing_among(&[summary.id]).await?.is_empty() {
            let size_bytes = u32::try_from(Segment::stored_size(summary.chunks, summary.shared)).unwrap_or(u32::MAX);
            self.take(vec![Wanted { id: summary.id, size_bytes, list: Some(summary.clone()) }]).await?;
        }
        if !index.missing_among(&[summary.id]).await?.is_empty() {
            return Ok(());
        }
        let (chunks, id) = (Arc::clone(&self.store.chunks), summary.id);
        let read = blocking(move || chunks.read(&id)).await;
        // What was lost here is the scrub's concern.
        let Some(segment) = read.ok().and_then(|bytes| Segment::parse(&bytes).ok()) else { return Ok(()) };
        let ids: Vec<ChunkId> = segment.entries.iter().map(|entry| entry.id).collect();
        let missing = index.missing_among(&ids).await?;
        for batch in missing.chunks(BATCH) {
            let wanted = batch.iter().map(|(id, size)| Wanted { id: *id, size_bytes: *size, list: None }).collect();
            self.take(wanted).await?;
        }
        Ok(())
    }

    async fn take(&self, wanted: Vec<Wanted>) -> Result<(), ImportError> {
        if self.cancel.is_cancelled() {
            return Err(ImportError::Cancelled);
        }
        let (store, folder, monitor) = (self.store.clone(), Arc::clone(&self.folder), Arc::clone(self.monitor));
        let (cancel, damaged) = (self.cancel.clone(), Arc::clone(&self.damaged));
        let taken = blocking(move || {
            let (next, wanted_after_all) = (AtomicUsize::new(0), wanted.len());
            // Each takes the next one until there is none, or something stops it.
            let work = || {
                let mut here = Vec::new();
                while !cancel.is_cancelled() {
                    let Some(wanted) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                    match take(&store, &folder, wanted, &*monitor, &damaged) {
                        Ok(taken) => here.extend(taken),
                        Err(error) => {
                            next.store(wanted_after_all, Ordering::Relaxed);
                            return (here, Err(error));
                        }
                    }
                }
                (here, Ok(()))
            };
            let done: Vec<(Vec<Here>, Result<(), ImportError>)> = std::thread::scope(|scope| {
                let others: Vec<_> = (1..folder.readers()).map(|_| scope.spawn(work)).collect();
                let mine = work();
                let join = |other: std::thread::ScopedJoinHandle<'_, _>| {
                    other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                };
                std::iter::once(mine).chain(others.into_iter().map(join)).collect()
            });
            let (here, ended): (Vec<_>, Vec<_>) = done.into_iter().unzip();
            let here: Vec<Here> = here.into_iter().flatten().collect();
            if !here.is_empty() {
                store.chunks.sync()?;
            }
            Ok::<_, ImportError>((here, ended.into_iter().find_map(Result::err)))
        });
        let (taken, failed) = taken.await?;
        let mut arrived = Vec::new();
        for Here { id, size_bytes, segment } in taken {
            let Some(segment) = segment else {
                arrived.push((id, size_bytes));
                continue;
            };
            match self.store.index.note_segment(&segment).await {
                Ok(()) => self.lists.fetch_add(1, Ordering::Relaxed),
                // Nobody names it any more.
                Err(IndexError::NoSuchSegment { .. }) => continue,
                Err(error @ (IndexError::ChunkElsewhere { .. } | IndexError::Contradiction { .. })) => {
                    let subject = format!("list of chunks {}", id.short());
                    self.monitor.problem(Problem { subject, message: error.to_string() });
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
        }
        if !arrived.is_empty() {
            self.store.index.chunks_arrived(&arrived).await?;
            let bytes = arrived.iter().map(|(_, size)| u64::from(*size)).sum();
            self.chunks.fetch_add(arrived.len() as u64, Ordering::Relaxed);
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        // What came before is noted all the same.
        failed.map_or(Ok(()), Err)
    }
}

/// Brings one chunk or list into the chunk store, if it is there and right.
fn take(
    store: &Store,
    folder: &Folder,
    wanted: &Wanted,
    monitor: &dyn Monitor,
    damaged: &AtomicU64,
) -> Result<Option<Here>, ImportError> {
    let Wanted { id, size_bytes, list } = wanted;
    let check = |bytes: &[u8]| check_object(id, *size_bytes, list.as_ref().map(std::slice::from_ref), bytes);
    let here = |segment| Some(Here { id: *id, size_bytes: *size_bytes, segment });
    if store.chunks.size(id)?.is_some() {
        let kept = store.chunks.read(id).ok().map(|bytes| check(&bytes));
        match kept {
            Some(Ok(segment)) => return Ok(here(segment)),
            Some(Err(Wrong::Bytes)) | None => store.chunks.quarantine(id)?,
            Some(Err(_)) => return Ok(None),
        }
    }
    let limit = if list.is_some() { MAX_STORED } else { *size_bytes as usize };
    let wrong = match folder.chunk(id, limit) {
        Ok(None) => return Ok(None),
        Ok(Some(bytes)) => match check(&bytes) {
            Ok(segment) => {
                store.chunks.write(id, &bytes)?;
                monitor.add(Counter::Chunks, 1);
                monitor.add(Counter::ChunkBytes, bytes.len() as u64);
                return Ok(here(segment));
            }
            Err(wrong) => wrong.to_string(),
        },
        // A place that does not answer says nothing of what is in it.
        Err(PlaceError::Bucket(error)) if error.is_away() => return Err(PlaceError::from(error).into()),
        Err(error) => crate::monitor::with_causes(&error),
    };
    if damaged.fetch_add(1, Ordering::Relaxed) < MAX_NAMED {
        let what = if list.is_some() { "list of chunks" } else { "chunk" };
        let message = format!("left out: {wrong}");
        monitor.problem(Problem { subject: format!("{what} {} in the folder", id.short()), message });
    }
    Ok(None)
}

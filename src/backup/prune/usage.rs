//! What takes the space: by snapshot, what only it names; by folder, over all snapshots.
//!
//! Several folders may lean on one chunk, which holds what was new at one time. Its stored bytes are shared out by what each folder uses of
//! it, once for all snapshots; so the folders add up to what the collection takes, apart from metadata.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::backup::open::OpenSnapshot;
use crate::domain::id::{ChunkId, ManifestId};
use crate::domain::metadata::entry::{EntryKind, Extent};
use crate::domain::metadata::path::TreePath;
use crate::monitor::{Counter, Monitor, Problem};
use crate::store::index::{Amount, Collection, Snapshot};
use crate::store::{ChunkStoreError, IndexError, Store, TreeError, blocking};

/// Why it cannot be said.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// The index cannot be used.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Chunks cannot be looked at.
    #[error(transparent)]
    Chunks(#[from] ChunkStoreError),
    /// It was cancelled.
    #[error("cancelled: not everything was counted")]
    Cancelled,
}

/// What a collection takes.
#[derive(Debug, Clone, Serialize)]
pub struct Usage {
    /// Its name.
    pub name: String,
    /// Everything that its snapshots name and that is here, each chunk once.
    pub stored: Amount,
    /// Its snapshots, oldest first.
    pub snapshots: Vec<SnapshotUsage>,
    /// Its folders, largest first.
    pub folders: Vec<FolderUsage>,
    /// Stored bytes of metadata and of what no folder uses.
    pub other_bytes: u64,
}

/// What a snapshot takes.
#[derive(Debug, Clone, Serialize)]
pub struct SnapshotUsage {
    /// Which one.
    pub id: ManifestId,
    /// Its number.
    pub sequence: u64,
    /// When it was begun.
    pub created_at: Timestamp,
    /// Stored bytes of all its chunks.
    pub chunk_bytes: u64,
    /// What only it names: what there would be to free without it alone.
    pub alone: Amount,
}

/// What a folder takes, with everything below it.
#[derive(Debug, Clone, Serialize)]
pub struct FolderUsage {
    /// The root's name, and the folder in it if it is not the root's own files.
    pub path: String,
    /// Files in the newest snapshot that can be read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Its share of the stored bytes, over all snapshots.
    pub stored_bytes: u64,
}

/// Counts what a collection takes. Snapshots that cannot be read here are in the counts by snapshot alone.
///
/// # Errors
/// [`UsageError`]; a tree that cannot be read is a problem on `monitor`.
pub async fn usage(
    store: &Store,
    collection: &Collection,
    monitor: Arc<dyn Monitor>,
    cancel: &CancellationToken,
) -> Result<Usage, UsageError> {
    let snapshots = store.index.snapshots(Some(&collection.id)).await?;
    let alone = store.index.alone().await?;
    let stored = store.index.named_by(&collection.id).await?;
    let readable: Vec<Snapshot> = snapshots.iter().filter(|s| s.has_key && s.complete).cloned().collect();
    let (from, cancelled) = (store.clone(), cancel.clone());
    let folders = blocking(move || {
        let mut count = Count::default();
        monitor.task("looking into snapshots", Counter::Entries, None);
        // Newest first: that is the one whose files are counted.
        for snapshot in readable.iter().rev() {
            if let Err(error) = count.snapshot(&from, snapshot, &*monitor, &cancelled) {
                let subject = format!("snapshot {}", snapshot.id.short());
                monitor.problem(Problem { subject, message: error });
            }
            if cancelled.is_cancelled() {
                return Err(UsageError::Cancelled);
            }
        }
        Ok(count.folders(&from)?)
    })
    .await?;
    let in_folders: u64 = folders.iter().map(|folder| folder.stored_bytes).sum();
    let of = |snapshot: Snapshot| SnapshotUsage {
        alone: alone.get(&snapshot.id).copied().unwrap_or_default(),
        id: snapshot.id,
        sequence: snapshot.sequence,
        created_at: snapshot.created_at,
        chunk_bytes: snapshot.chunk_bytes,
    };
    Ok(Usage {
        name: collection.name.clone(),
        stored,
        snapshots: snapshots.into_iter().map(of).collect(),
        other_bytes: stored.bytes.saturating_sub(in_folders),
        folders,
    })
}

/// Counts while trees are walked.
#[derive(Default)]
struct Count {
    numbers: HashMap<Vec<u8>, u32>,
    folders: Vec<Folder>,
    /// Pieces of chunks that were counted.
    seen: HashSet<(u32, ChunkId, u32, u32)>,
    /// For each chunk, the bytes that each folder uses of it.
    uses: HashMap<ChunkId, HashMap<u32, u64>>,
    newest_was_read: bool,
}

struct Folder {
    path: Vec<u8>,
    files: u64,
    bytes: u64,
}

impl Count {
    fn snapshot(
        &mut self,
        store: &Store,
        snapshot: &Snapshot,
        monitor: &dyn Monitor,
        cancel: &CancellationToken,
    ) -> Result<(), String> {
        let open = OpenSnapshot::open(store, &snapshot.id).map_err(|error| error.to_string())?;
        let mut pages = open.tree(&*store.chunks);
        let in_words = |error: TreeError| error.to_string();
        for entry in open.tree(&*store.chunks) {
            if cancel.is_cancelled() {
                return Ok(());
            }
            let entry = entry.map_err(in_words)?;
            monitor.add(Counter::Entries, 1);
            let EntryKind::File(file) = &entry.kind else { continue };
            let at = self.folder(&entry.path);
            if !self.newest_was_read {
                self.folders[at as usize].files += 1;
                self.folders[at as usize].bytes += file.size;
            }
            for extent in pages.extents(file).map_err(in_words)? {
                if let Extent::Data { chunk, offset, len } = extent
                    && self.seen.insert((at, chunk.id, offset, len))
                {
                    *self.uses.entry(chunk.id).or_default().entry(at).or_default() += u64::from(len);
                }
            }
        }
        self.newest_was_read = true;
        Ok(())
    }

    /// The root's own files are in the root, everything else in the folder below it.
    fn folder(&mut self, path: &TreePath) -> u32 {
        let names: Vec<&[u8]> = path.names().collect();
        let depth = if names.len() > 2 { 2 } else { 1 };
        let key = names[..depth].join(&b'/');
        if let Some(at) = self.numbers.get(&key) {
            return *at;
        }
        let at = u32::try_from(self.folders.len()).expect("four thousand million folders do not fit into memory");
        self.folders.push(Folder { path: key.clone(), files: 0, bytes: 0 });
        self.numbers.insert(key, at);
        at
    }

    fn folders(self, store: &Store) -> Result<Vec<FolderUsage>, ChunkStoreError> {
        let mut stored = vec![0u64; self.folders.len()];
        for (id, uses) in &self.uses {
            let size = u128::from(store.chunks.size(id)?.unwrap_or(0));
            let total = u128::from(uses.values().sum::<u64>()).max(1);
            for (at, bytes) in uses {
                stored[*at as usize] += (size * u128::from(*bytes) / total) as u64;
            }
        }
        let of = |(folder, stored_bytes): (Folder, u64)| FolderUsage {
            path: String::from_utf8_lossy(&folder.path).into_owned(),
            files: folder.files,
            bytes: folder.bytes,
            stored_bytes,
        };
        let mut folders: Vec<FolderUsage> = self.folders.into_iter().zip(stored).map(of).collect();
        folders.sort_by(|a, b| b.stored_bytes.cmp(&a.stored_bytes).then_with(|| a.path.cmp(&b.path)));
        Ok(folders)
    }
}

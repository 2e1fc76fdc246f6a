//! Collections of Axon BBSes between index and snapshots: what came is put into a snapshot, and what a snapshot holds is taken
//! from it where the index does not know it, after a rebuild or on a mirror.

pub mod follow; // asks Axon instances what is new, and fetches it
pub mod shelves; // all collections of Axon BBSes, also those of others

use std::collections::HashSet;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::axon::record::{self, RecordError};
use crate::backup::create::{CreateError, Created, Extras, create_with};
use crate::backup::documents::{DocumentsError, documents};
use crate::backup::open::{OpenSnapshot, OpenSnapshotError};
use crate::clock::Clock;
use crate::domain::id::{ChunkId, ManifestId};
use crate::monitor::{Monitor, Problem};
use crate::store::index::{Collection, Snapshot};
use crate::store::{ChunkStoreError, IndexError, Store};

/// Why a collection of an Axon BBS cannot be put into a snapshot, or taken from one.
#[derive(Debug, thiserror::Error)]
pub enum AxonError {
    /// The index cannot be used.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Chunks cannot be looked at.
    #[error(transparent)]
    Chunks(#[from] ChunkStoreError),
    /// No snapshot was made.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// The snapshot does not open.
    #[error(transparent)]
    Open(#[from] OpenSnapshotError),
    /// Its documents cannot be read.
    #[error(transparent)]
    Documents(#[from] DocumentsError),
    /// They are something else.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A thread died.
    #[error("a part of the work died unexpectedly. This is a bug in bulbil")]
    Died,
}

/// Takes what the newest snapshot holds, if the index has it from an earlier one or not at all, and nothing came since that is in no
/// snapshot. Answers whether anything was taken.
///
/// # Errors
/// [`AxonError`].
pub async fn refresh(store: &Store, collection: &Collection) -> Result<bool, AxonError> {
    let shelf = store.axon(collection.id);
    let state = shelf.state().await?;
    if state.generation > state.stored {
        return Ok(false);
    }
    let Some(id) = newest(store, collection).await? else { return Ok(false) };
    if state.snapshot == Some(id) {
        return Ok(false);
    }
    let from = store.clone();
    let read = move || {
        let open = OpenSnapshot::open(&from, &id)?;
        Ok::<_, AxonError>(record::from_documents(documents(&open, &from.chunks)?)?)
    };
    let (items, records) = tokio::task::spawn_blocking(read).await.map_err(|_| AxonError::Died)??;
    Ok(shelf.take_over(&id, state.generation, &items, &records).await?)
}

/// The newest snapshot that is whole and can be read.
async fn newest(store: &Store, collection: &Collection) -> Result<Option<ManifestId>, IndexError> {
    let snapshots = store.index.snapshots(Some(&collection.id)).await?;
    let readable = |snapshot: &Snapshot| snapshot.complete && snapshot.has_key && !snapshot.beside;
    Ok(snapshots.into_iter().filter(readable).max_by_key(|snapshot| snapshot.sequence).map(|newest| newest.id))
}

/// Makes a snapshot of what is known, if it is not in the newest one already.
///
/// Chunks that are lost are not named by it; the items stay, and get them again with the next download.
///
/// # Errors
/// [`AxonError`].
pub async fn snapshot(
    store: &Store,
    collection: &Collection,
    clock: &dyn Clock,
    monitor: Arc<dyn Monitor>,
    cancel: &CancellationToken,
) -> Result<Option<Created>, AxonError> {
    refresh(store, collection).await?;
    let shelf = store.axon(collection.id);
    let state = shelf.state().await?;
    if state.generation == state.stored {
        return Ok(None);
    }
    let (items, records) = (shelf.items().await?, shelf.records("").await?);
    let from = store.clone();
    let gather = move || {
        let mut shared: Vec<(ChunkId, u32)> = Vec::new();
        for (id, size) in items.iter().filter(|item| item.complete).flat_map(|item| &item.chunks) {
            if from.chunks.size(id)? == Some(u64::from(*size)) {
                shared.push((*id, *size));
            }
        }
        // A chunk that two items have is listed once, where it stood first: lists stay as they are when something is added.
        let mut seen = HashSet::new();
        shared.retain(|(id, _)| seen.insert(*id));
        Ok::<_, AxonError>(Extras { documents: record::to_documents(&items, records), shared, ..Extras::default() })
    };
    let mut extras = tokio::task::spawn_blocking(gather).await.map_err(|_| AxonError::Died)??;
    let ids: Vec<ChunkId> = extras.shared.iter().map(|(id, _)| *id).collect();
    let foreign: HashSet<ChunkId> = store.index.not_shareable(&ids).await?.into_iter().collect();
    // Nobody seals the same bytes by chance: whoever announced it knows a chunk of ours.
    for id in &foreign {
        let message = "an Axon BBS announced it as its own, and it is not: it stands in no list of this snapshot";
        monitor.problem(Problem { subject: format!("chunk {}", id.short()), message: message.to_owned() });
    }
    extras.shared.retain(|(id, _)| !foreign.contains(id));
    let created = create_with(store, collection, extras, clock, monitor, cancel).await?;
    if !created.partial {
        shelf.stored(&created.id, state.generation).await?;
    }
    Ok(Some(created))
}

//! Opened chunks, shared by threads: each is read and opened once while it is in use, and a bounded number is kept.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, OnceLock};

use lru::LruCache;

use crate::domain::chunk::{ChunkContent, ChunkError, ChunkKind, ChunkRef, Workbench};
use crate::domain::id::{ChunkId, CollectionId};
use crate::monitor::with_causes;
use crate::store::ChunkStore;

/// Why a chunk's content cannot be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadChunkError {
    /// It is missing or cannot be read.
    #[error("chunk {} cannot be read: {message}", id.short())]
    Read {
        /// Which one.
        id: ChunkId,
        /// What the store said.
        message: String,
    },
    /// It is damaged.
    #[error("chunk {} is damaged ({cause}): 'bulbil verify --data' puts it aside, 'bulbil fetch' gets it again from a peer", id.short())]
    Damaged {
        /// Which one.
        id: ChunkId,
        /// How.
        #[source]
        cause: ChunkError,
    },
}

type Slot = Arc<OnceLock<Result<Arc<ChunkContent>, ReadChunkError>>>;

/// The opened chunks of one collection.
#[derive(Debug)]
pub struct ChunkCache {
    chunks: Arc<dyn ChunkStore>,
    collection: CollectionId,
    slots: Mutex<LruCache<ChunkId, Slot>>,
}

impl ChunkCache {
    /// Keeps up to `capacity` opened chunks, about 2.5 MiB each.
    pub fn new(chunks: Arc<dyn ChunkStore>, collection: CollectionId, capacity: NonZeroUsize) -> Self {
        Self { chunks, collection, slots: Mutex::new(LruCache::new(capacity)) }
    }

    /// The content of a data chunk. Who comes while another thread opens it, waits for that one.
    ///
    /// # Errors
    /// [`ReadChunkError`].
    pub fn get(&self, chunk: &ChunkRef, bench: &mut Workbench) -> Result<Arc<ChunkContent>, ReadChunkError> {
        let slot = {
            let mut slots = self.slots.lock().expect("no holder of this lock can panic");
            slots.get_or_insert(chunk.id, Slot::default).clone()
        };
        slot.get_or_init(|| self.open(chunk, bench).map(Arc::new)).clone()
    }

    fn open(&self, chunk: &ChunkRef, bench: &mut Workbench) -> Result<ChunkContent, ReadChunkError> {
        let id = chunk.id;
        let stored =
            self.chunks.read(&id).map_err(|error| ReadChunkError::Read { id, message: with_causes(&error) })?;
        ChunkContent::open(&stored, &chunk.key, ChunkKind::Data, &self.collection, bench)
            .map_err(|cause| ReadChunkError::Damaged { id, cause })
    }
}

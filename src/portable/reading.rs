//! Chunks as a restore reads them: those that are here, and those that are not from a place. What is read there is compared with its
//! name, and kept here, so that it is not read there again: a restore that is stopped goes on where it was.

use std::sync::{Arc, Mutex};

use super::folder::Folder;
use super::import::ImportError;
use super::place::At;
use crate::domain::chunk::MAX_STORED;
use crate::domain::id::ChunkId;
use crate::monitor::{Counter, Monitor};
use crate::store::{ChunkHold, ChunkStore, ChunkStoreError, Store, blocking};

/// Chunks that are here or in a place.
#[derive(Debug)]
pub struct Reading {
    here: Arc<dyn ChunkStore>,
    folders: Vec<Folder>,
    came: Mutex<Vec<(ChunkId, u32)>>,
    _hold: ChunkHold,
}

impl Reading {
    /// Reads from a place what is not here.
    ///
    /// # Errors
    /// [`ImportError`] if there is nothing to read from.
    pub async fn from(store: &Store, at: &At, monitor: Arc<dyn Monitor>) -> Result<Arc<Self>, ImportError> {
        let (at, hold) = (at.clone(), store.hold_chunks()?);
        let folders = blocking(move || Folder::open_all(&at, &*monitor)).await?;
        Ok(Arc::new(Self { here: Arc::clone(&store.chunks), folders, came: Mutex::default(), _hold: hold }))
    }

    /// Makes durable what came, and tells the index.
    ///
    /// # Errors
    /// [`ImportError`].
    pub async fn finish(&self, store: &Store, monitor: &dyn Monitor) -> Result<u64, ImportError> {
        let came = std::mem::take(&mut *self.came.lock().expect("no holder of this lock can panic"));
        if came.is_empty() {
            return Ok(0);
        }
        let here = Arc::clone(&self.here);
        blocking(move || here.sync()).await?;
        let ids: Vec<ChunkId> = came.iter().map(|(id, _)| *id).collect();
        let missing: Vec<ChunkId> = store.index.missing_among(&ids).await?.into_iter().map(|(id, _)| id).collect();
        // What no list of a snapshot names yet is found again when one does.
        let arrived: Vec<(ChunkId, u32)> = came.into_iter().filter(|(id, _)| missing.contains(id)).collect();
        store.index.chunks_arrived(&arrived).await?;
        monitor.add(Counter::Chunks, ids.len() as u64);
        Ok(ids.len() as u64)
    }
}

impl ChunkStore for Reading {
    fn read(&self, id: &ChunkId) -> Result<Vec<u8>, ChunkStoreError> {
        let here = self.here.read(id);
        if here.as_ref().is_ok_and(|bytes| ChunkId::of(bytes) == *id) {
            return here;
        }
        for folder in &self.folders {
            let read = folder.chunk(id, MAX_STORED).map_err(|error| ChunkStoreError::Elsewhere {
                id: *id,
                message: crate::monitor::with_causes(&error),
            })?;
            let Some(bytes) = read else { continue };
            if ChunkId::of(&bytes) != *id {
                let message = format!("its bytes in {} are not those that its name promises", folder.shown());
                return Err(ChunkStoreError::Elsewhere { id: *id, message });
            }
            self.here.write(id, &bytes)?;
            let size_bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            self.came.lock().expect("no holder of this lock can panic").push((*id, size_bytes));
            return Ok(bytes);
        }
        here.and(Err(ChunkStoreError::Missing { id: *id }))
    }

    fn size(&self, id: &ChunkId) -> Result<Option<u64>, ChunkStoreError> {
        self.here.size(id)
    }

    fn write(&self, id: &ChunkId, bytes: &[u8]) -> Result<(), ChunkStoreError> {
        self.here.write(id, bytes)
    }

    fn sync(&self) -> Result<(), ChunkStoreError> {
        self.here.sync()
    }

    fn check(&self) -> Result<(), ChunkStoreError> {
        self.here.check()
    }

    fn quarantine(&self, id: &ChunkId) -> Result<(), ChunkStoreError> {
        self.here.quarantine(id)
    }

    fn remove(&self, id: &ChunkId) -> Result<(), ChunkStoreError> {
        self.here.remove(id)
    }

    fn list(&self, each: &mut dyn FnMut(ChunkId, u64)) -> Result<(), ChunkStoreError> {
        self.here.list(each)
    }
}

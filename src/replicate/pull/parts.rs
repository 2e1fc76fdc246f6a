//! What came of chunks whose streams broke: kept in memory, so that only the rest has to be fetched. Nothing of it has been
//! checked. The whole is compared with its name, and if that does not fit nobody is blamed: the parts may be of two peers.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use crate::domain::id::ChunkId;

/// A shorter part is not worth a request of its own.
const SHORTEST: usize = 64 << 10;
/// All parts together.
const MAX_BYTES: usize = 64 << 20;

#[derive(Debug, Default)]
pub(super) struct Parts {
    parts: Mutex<HashMap<ChunkId, Vec<u8>>>,
}

impl Parts {
    /// Keeps a part that is worth it; answers whether it was.
    pub(super) fn keep(&self, id: ChunkId, bytes: Vec<u8>) -> bool {
        let mut parts = self.lock();
        let held: usize = parts.values().map(Vec::len).sum();
        let worth = bytes.len() >= SHORTEST && held + bytes.len() <= MAX_BYTES;
        if worth {
            parts.insert(id, bytes);
        }
        worth
    }

    pub(super) fn take(&self, id: &ChunkId) -> Option<Vec<u8>> {
        self.lock().remove(id)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ChunkId, Vec<u8>>> {
        self.parts.lock().expect("no holder of this lock can panic")
    }
}

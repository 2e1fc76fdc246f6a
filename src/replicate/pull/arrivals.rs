//! What has come of chunks, to the byte, for people who wait for it.
//!
//! Each byte of a chunk counts once, however many streams bring it, and no byte counts of which nothing came: what was wrong, or
//! got lost with its stream, is taken back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::receive::Wanted;
use crate::domain::id::ChunkId;
use crate::monitor::{Counter, Monitor};

pub(super) struct Arrivals {
    monitor: Arc<dyn Monitor>,
    /// What was counted of chunks that are not whole.
    parts: Mutex<HashMap<ChunkId, u64>>,
}

impl Arrivals {
    pub(super) fn new(monitor: &Arc<dyn Monitor>) -> Self {
        Self { monitor: Arc::clone(monitor), parts: Mutex::default() }
    }

    /// So many bytes of a chunk are here.
    pub(super) fn part(&self, wanted: &Wanted, bytes: usize) {
        let bytes = (bytes as u64).min(wanted.size_bytes.into());
        let mut parts = self.lock();
        let counted = parts.entry(wanted.id).or_default();
        self.monitor.add(Counter::ChunkBytes, bytes.saturating_sub(*counted));
        *counted = bytes.max(*counted);
    }

    /// A chunk is stored.
    pub(super) fn whole(&self, wanted: &Wanted) {
        let counted = self.lock().remove(&wanted.id).unwrap_or_default();
        self.monitor.add(Counter::Chunks, 1);
        self.monitor.add(Counter::ChunkBytes, u64::from(wanted.size_bytes).saturating_sub(counted));
    }

    /// What came of a chunk is of no use.
    pub(super) fn in_vain(&self, id: &ChunkId) {
        if let Some(counted) = self.lock().remove(id) {
            self.monitor.take_back(Counter::ChunkBytes, counted);
        }
    }

    /// Nothing more comes: parts are lost.
    pub(super) fn end(&self) {
        let counted = self.lock().drain().map(|(_, counted)| counted).sum();
        self.monitor.take_back(Counter::ChunkBytes, counted);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ChunkId, u64>> {
        self.parts.lock().expect("no holder of this lock can panic")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::Tally;

    #[test]
    fn each_byte_counts_once_and_none_in_vain() {
        let tally = Arc::new(Tally::default());
        let monitor: Arc<dyn Monitor> = tally.clone();
        let arrivals = Arrivals::new(&monitor);
        let wanted = Wanted { id: ChunkId::of(b"a chunk"), size_bytes: 100, segment: None };
        let counted = || tally.get(Counter::ChunkBytes);
        arrivals.part(&wanted, 60);
        arrivals.part(&wanted, 40);
        assert_eq!(counted(), 60, "a second stream is behind");
        arrivals.part(&wanted, 1000);
        assert_eq!(counted(), 100, "a peer sends too much");
        arrivals.in_vain(&wanted.id);
        assert_eq!(counted(), 0);
        arrivals.part(&wanted, 10);
        arrivals.whole(&wanted);
        arrivals.end();
        assert_eq!((counted(), tally.get(Counter::Chunks)), (100, 1));
        arrivals.part(&wanted, 10);
        arrivals.end();
        assert_eq!(counted(), 100, "parts are lost with their run");
    }
}

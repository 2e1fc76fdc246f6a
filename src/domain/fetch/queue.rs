//! What nobody is fetching yet, rarest first: objects that the same peers hold stand in one row.

use std::collections::{BTreeMap, VecDeque};

use super::PeerNo;
use crate::domain::id::ChunkId;

/// Rows by the number of holders, then by the holders.
#[derive(Debug, Default)]
pub(super) struct Queue {
    rows: BTreeMap<(usize, Vec<PeerNo>), Row>,
    len: usize,
    bytes: u64,
}

type Row = VecDeque<(ChunkId, u32)>;

/// How much to take at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub(super) ids: usize,
    /// One object is taken even if it is longer.
    pub(super) bytes: u64,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn push_back(&mut self, holders: &[PeerNo], id: ChunkId, size_bytes: u32) {
        self.row(holders, size_bytes).push_back((id, size_bytes));
    }

    /// Before the others of its row: it was taken before.
    pub(super) fn push_front(&mut self, holders: &[PeerNo], id: ChunkId, size_bytes: u32) {
        self.row(holders, size_bytes).push_front((id, size_bytes));
    }

    fn row(&mut self, holders: &[PeerNo], size_bytes: u32) -> &mut Row {
        self.len += 1;
        self.bytes += u64::from(size_bytes);
        self.rows.entry((holders.len(), holders.to_vec())).or_default()
    }

    /// Takes what a peer holds, the rarest first.
    pub(super) fn take(&mut self, peer: PeerNo, limit: Limit) -> Vec<(ChunkId, u32)> {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        for ((_, holders), row) in &mut self.rows {
            if !holders.contains(&peer) {
                continue;
            }
            while let Some((_, size)) = row.front() {
                let size = u64::from(*size);
                if taken.len() == limit.ids.max(1) || (!taken.is_empty() && bytes + size > limit.bytes) {
                    self.taken(taken.len(), bytes);
                    return taken;
                }
                bytes += size;
                taken.extend(row.pop_front());
            }
        }
        self.taken(taken.len(), bytes);
        taken
    }

    fn taken(&mut self, number: usize, bytes: u64) {
        self.len -= number;
        self.bytes -= bytes;
        self.rows.retain(|_, row| !row.is_empty());
    }

    /// Takes out one object, wherever it stands.
    pub(super) fn remove(&mut self, holders: &[PeerNo], id: &ChunkId) {
        let key = (holders.len(), holders.to_vec());
        let Some(row) = self.rows.get_mut(&key) else { return };
        let Some(at) = row.iter().position(|(other, _)| other == id) else { return };
        if let Some((_, size)) = row.remove(at) {
            self.taken(1, u64::from(size));
        }
    }

    /// Takes out all that a peer holds.
    pub(super) fn remove_held_by(&mut self, peer: PeerNo) -> Vec<ChunkId> {
        let mut removed = Vec::new();
        for ((_, holders), row) in &mut self.rows {
            if holders.contains(&peer) {
                removed.extend(row.drain(..));
            }
        }
        self.taken(removed.len(), removed.iter().map(|(_, size)| u64::from(*size)).sum());
        removed.into_iter().map(|(id, _)| id).collect()
    }
}

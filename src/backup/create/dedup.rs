//! Which fragments are stored already, and where.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::chunk::ChunkRef;
use crate::domain::crypto::hash::FragmentHash;
use crate::domain::id::ChunkId;
use crate::domain::metadata::entry::Extent;

/// A chunk of this run or of an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(u32);

/// Where a fragment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// In which chunk.
    pub slot: Slot,
    /// Where in its content.
    pub offset: u32,
    /// How long it is.
    pub len: u32,
}

/// The fragments of one collection. About 40 bytes of memory a fragment.
#[derive(Debug, Default)]
pub struct Fragments {
    places: HashMap<FragmentHash, Place>,
    slots: Vec<Option<Arc<ChunkRef>>>,
    /// Bytes of fragments in each chunk.
    lengths: Vec<u64>,
}

impl Fragments {
    /// Adds a chunk of an earlier run with its table of fragments.
    pub fn add_known(&mut self, chunk: Arc<ChunkRef>, table: impl Iterator<Item = (FragmentHash, u32)>) {
        let slot = self.reserve();
        self.resolve(slot, chunk);
        let mut offset = 0;
        for (name, len) in table {
            self.places.entry(name).or_insert(Place { slot, offset, len });
            offset += len;
        }
        self.lengths[slot.0 as usize] = u64::from(offset);
    }

    /// A slot for a chunk that is still being filled.
    pub fn reserve(&mut self) -> Slot {
        self.slots.push(None);
        self.lengths.push(0);
        Slot(u32::try_from(self.slots.len() - 1).expect("four thousand million chunks do not fit into memory"))
    }

    /// The chunk of a slot is sealed.
    pub fn resolve(&mut self, slot: Slot, chunk: Arc<ChunkRef>) {
        self.slots[slot.0 as usize] = Some(chunk);
    }

    /// The chunk of a slot, once it is sealed.
    pub fn chunk(&self, slot: Slot) -> Option<&Arc<ChunkRef>> {
        self.slots[slot.0 as usize].as_ref()
    }

    /// Where a fragment is, if it is stored. The length is part of the question: nothing short stands for something long.
    pub fn find(&self, name: &FragmentHash, len: u32) -> Option<Place> {
        self.places.get(name).filter(|place| place.len == len).copied()
    }

    /// Remembers a fragment.
    pub fn insert(&mut self, name: FragmentHash, place: Place) {
        self.lengths[place.slot.0 as usize] += u64::from(place.len);
        self.places.insert(name, place);
    }

    /// Chunks of which a snapshot that uses so many bytes of each leaves three quarters unused. Sorted.
    pub fn sparse(&self, used: &HashMap<ChunkId, u64>) -> Vec<ChunkId> {
        let chunks = self.slots.iter().zip(&self.lengths).filter_map(|(chunk, len)| Some((chunk.as_ref()?.id, *len)));
        let is_sparse = |(id, len): &(ChunkId, u64)| used.get(id).is_some_and(|used| used.saturating_mul(4) < *len);
        let mut sparse: Vec<ChunkId> = chunks.filter(is_sparse).map(|(id, _)| id).collect();
        sparse.sort();
        sparse
    }

    /// The extent for a place whose chunk is sealed.
    pub fn extent(&self, place: &Place) -> Option<Extent> {
        let chunk = self.chunk(place.slot)?.clone();
        Some(Extent::Data { chunk, offset: place.offset, len: place.len })
    }
}

//! Segments: plain, content-addressed lists of the chunks of a snapshot.
//!
//! Stored and sent exactly as chunks are: `"BLBS" 0x01` ‖ for each chunk: id (32 bytes) ‖ stored size (u32 BE). The list
//! of a snapshot is cut where a chunk's id says so, so that two snapshots that share most chunks share most segments.
//!
//! A chunk belongs to one collection, unless every list that names it says that it is shared: `"BLBS" 0x02` ‖ collection id (16
//! bytes) ‖ the rows as above. Such chunks were sealed by another system, which gave the same bytes to many (an Axon BBS). The
//! collection's id stands in the list, so that two collections have no list in common.

use super::chunk::MAX_STORED;
use super::id::{ChunkId, CollectionId};

/// First bytes of a stored segment; the last one is the version.
pub const MAGIC: &[u8; 5] = b"BLBS\x01";
/// First bytes of a stored list of shared chunks; the collection's id follows.
pub const MAGIC_SHARED: &[u8; 5] = b"BLBS\x02";
/// No segment lists more chunks.
pub const MAX_ENTRIES: usize = 8192;

const ROW: usize = ChunkId::LEN + 4;
/// One id in this many ends a segment.
const CUT_MASK: u32 = 1024 - 1;

/// A chunk and its stored size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentEntry {
    /// The chunk.
    pub id: ChunkId,
    /// Its stored size in bytes, at most [`MAX_STORED`].
    pub size_bytes: u32,
}

/// A list of chunks with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// SHA-256 of the stored form.
    pub id: ChunkId,
    /// The collection whose list this is, if its chunks may be in other collections, too.
    pub shared_in: Option<CollectionId>,
    /// The chunks, in order.
    pub entries: Vec<SegmentEntry>,
}

/// Bytes that are no segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are not a list of chunks of a version this program knows")]
pub struct SegmentError;

impl Segment {
    /// Names a list. At most [`MAX_ENTRIES`].
    pub fn new(entries: Vec<SegmentEntry>) -> Self {
        Self::named(None, entries)
    }

    /// Names a list of shared chunks. At most [`MAX_ENTRIES`].
    pub fn shared(collection: CollectionId, entries: Vec<SegmentEntry>) -> Self {
        Self::named(Some(collection), entries)
    }

    fn named(shared_in: Option<CollectionId>, entries: Vec<SegmentEntry>) -> Self {
        assert!(entries.len() <= MAX_ENTRIES, "cut() bounds segments");
        Self { id: ChunkId::of(&encode(shared_in.as_ref(), &entries)), shared_in, entries }
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        encode(self.shared_in.as_ref(), &self.entries)
    }

    /// Length of the stored form of a list of so many chunks, in bytes.
    pub fn stored_size(chunks: u32, shared: bool) -> u64 {
        let head = if shared { MAGIC_SHARED.len() + CollectionId::LEN } else { MAGIC.len() };
        head as u64 + ROW as u64 * u64::from(chunks)
    }

    /// Reads a stored form.
    ///
    /// # Errors
    /// [`SegmentError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, SegmentError> {
        let (shared_in, rows) = match (bytes.strip_prefix(MAGIC), bytes.strip_prefix(MAGIC_SHARED)) {
            (Some(rows), _) => (None, rows),
            (None, Some(rest)) => {
                let (collection, rows) = rest.split_at_checked(CollectionId::LEN).ok_or(SegmentError)?;
                (Some(CollectionId::from_slice(collection).map_err(|_| SegmentError)?), rows)
            }
            (None, None) => return Err(SegmentError),
        };
        if rows.len() % ROW != 0 || rows.len() / ROW > MAX_ENTRIES {
            return Err(SegmentError);
        }
        let entries = rows
            .chunks_exact(ROW)
            .map(|row| {
                let size_bytes = u32::from_be_bytes(row[ChunkId::LEN..].try_into().expect("four bytes are left"));
                let id = ChunkId::from_slice(&row[..ChunkId::LEN]).expect("the row begins with an id");
                if size_bytes as usize > MAX_STORED { Err(SegmentError) } else { Ok(SegmentEntry { id, size_bytes }) }
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { id: ChunkId::of(bytes), shared_in, entries })
    }

    /// Sum of the chunks' sizes.
    pub fn chunk_bytes(&self) -> u64 {
        self.entries.iter().map(|entry| u64::from(entry.size_bytes)).sum()
    }
}

/// Cuts the list of a snapshot's chunks into segments.
pub fn cut(entries: impl IntoIterator<Item = SegmentEntry>) -> Vec<Segment> {
    cut_named(None, entries)
}

/// Cuts the list of a snapshot's shared chunks into segments.
pub fn cut_shared(collection: CollectionId, entries: impl IntoIterator<Item = SegmentEntry>) -> Vec<Segment> {
    cut_named(Some(collection), entries)
}

fn cut_named(shared_in: Option<CollectionId>, entries: impl IntoIterator<Item = SegmentEntry>) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut open = Vec::new();
    for entry in entries {
        let tail = u32::from_be_bytes(entry.id.as_bytes()[28..].try_into().expect("an id has 32 bytes"));
        open.push(entry);
        if tail & CUT_MASK == 0 || open.len() == MAX_ENTRIES {
            segments.push(Segment::named(shared_in, std::mem::take(&mut open)));
        }
    }
    if !open.is_empty() {
        segments.push(Segment::named(shared_in, open));
    }
    segments
}

fn encode(shared_in: Option<&CollectionId>, entries: &[SegmentEntry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(MAGIC.len() + CollectionId::LEN + entries.len() * ROW);
    match shared_in {
        None => bytes.extend_from_slice(MAGIC),
        Some(collection) => {
            bytes.extend_from_slice(MAGIC_SHARED);
            bytes.extend_from_slice(collection.as_bytes());
        }
    }
    for entry in entries {
        bytes.extend_from_slice(entry.id.as_bytes());
        bytes.extend_from_slice(&entry.size_bytes.to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u32) -> SegmentEntry {
        SegmentEntry { id: ChunkId::of(&n.to_be_bytes()), size_bytes: n }
    }

    #[test]
    fn a_new_chunk_at_the_end_changes_only_the_last_segment() {
        let before = cut((0..10_000).map(entry));
        let after = cut((0..10_001).map(entry));
        assert!(before.len() > 4);
        assert_eq!(before[..before.len() - 1], after[..before.len() - 1]);
        for segment in &before {
            assert_eq!(Segment::parse(&segment.encode()).as_ref(), Ok(segment));
        }
    }

    #[test]
    fn two_collections_have_no_list_in_common_though_they_share_all_chunks() {
        let collections = [[1; CollectionId::LEN], [2; CollectionId::LEN]];
        let lists = collections.map(|id| {
            let collection = CollectionId::from_slice(&id).expect("it has the length");
            cut_shared(collection, (0..3000).map(entry))
        });
        assert!(lists[0].len() > 1 && lists[0].len() == lists[1].len());
        for (a, b) in lists[0].iter().zip(&lists[1]) {
            assert!(a.id != b.id && a.entries == b.entries && a.id != Segment::new(a.entries.clone()).id);
            assert_eq!(Segment::parse(&a.encode()).as_ref(), Ok(a));
            assert_eq!(a.encode().len() as u64, Segment::stored_size(a.entries.len() as u32, true));
        }
    }

    #[test]
    fn garbage_is_refused() {
        let good = Segment::new(vec![entry(1), entry(2)]).encode();
        assert!(Segment::parse(&good[..good.len() - 1]).is_err());
        assert!(Segment::parse(b"").is_err());
        assert!(Segment::parse(b"BLBS\x02").is_err());
        assert!(Segment::parse(b"BLBS\x03").is_err());
        let huge = Segment { id: ChunkId::of(b""), shared_in: None, entries: vec![entry(u32::MAX)] };
        assert!(Segment::parse(&huge.encode()).is_err());
    }
}

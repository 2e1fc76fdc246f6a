//! Segments: plain, content-addressed lists of the chunks of a snapshot.
//!
//! Stored and sent exactly as chunks are: `"BLBS" 0x01` ‖ for each chunk: id (32 bytes) ‖ stored size (u32 BE). The list
//! of a snapshot is cut where a chunk's id says so, so that two snapshots that share most chunks share most segments.

use super::chunk::MAX_STORED;
use super::id::ChunkId;

/// First bytes of a stored segment; the last one is the version.
pub const MAGIC: &[u8; 5] = b"BLBS\x01";
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
        assert!(entries.len() <= MAX_ENTRIES, "cut() bounds segments");
        Self { id: ChunkId::of(&encode(&entries)), entries }
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        encode(&self.entries)
    }

    /// Reads a stored form.
    ///
    /// # Errors
    /// [`SegmentError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, SegmentError> {
        let rows = bytes.strip_prefix(MAGIC).ok_or(SegmentError)?;
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
        Ok(Self { id: ChunkId::of(bytes), entries })
    }

    /// Sum of the chunks' sizes.
    pub fn chunk_bytes(&self) -> u64 {
        self.entries.iter().map(|entry| u64::from(entry.size_bytes)).sum()
    }
}

/// Cuts the list of a snapshot's chunks into segments.
pub fn cut(entries: impl IntoIterator<Item = SegmentEntry>) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut open = Vec::new();
    for entry in entries {
        let tail = u32::from_be_bytes(entry.id.as_bytes()[28..].try_into().expect("an id has 32 bytes"));
        open.push(entry);
        if tail & CUT_MASK == 0 || open.len() == MAX_ENTRIES {
            segments.push(Segment::new(std::mem::take(&mut open)));
        }
    }
    if !open.is_empty() {
        segments.push(Segment::new(open));
    }
    segments
}

fn encode(entries: &[SegmentEntry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(MAGIC.len() + entries.len() * ROW);
    bytes.extend_from_slice(MAGIC);
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
    fn garbage_is_refused() {
        let good = Segment::new(vec![entry(1), entry(2)]).encode();
        assert!(Segment::parse(&good[..good.len() - 1]).is_err());
        assert!(Segment::parse(b"").is_err());
        assert!(Segment::parse(b"BLBS\x02").is_err());
        let huge = Segment { id: ChunkId::of(b""), entries: vec![entry(u32::MAX)] };
        assert!(Segment::parse(&huge.encode()).is_err());
    }
}

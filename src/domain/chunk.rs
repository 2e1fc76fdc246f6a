//! Chunks: sealed bytes that hold many fragments; the unit of storage and transfer.
//!
//! ```text
//! stored  = "BLBC" 0x01 ‖ AES-256-GCM(key used once, nonce 0, AAD = header ‖ kind ‖ collection id, body)
//! body    = codec (1 byte: 0 as it is, 1 zstd) ‖ content length (u32 BE) ‖ payload length (u32 BE) ‖ payload ‖ zeros
//! content = fragments, one after another ‖ table ‖ number of fragments (u32 BE)
//! table   = for each fragment: its lookup name (16 bytes) ‖ its length (u32 BE)
//! ```
//!
//! Invariants: a chunk never changes (R2); its key seals nothing else (R1); it was opened and compared with its source
//! from the very bytes that are stored before anybody may name it (R14); it belongs to one collection, and opens as nothing else.

use std::sync::Arc;

use super::crypto::aead::{OpenKey, SealKey, TAG_LEN};
use super::crypto::hash::FragmentHash;
use super::crypto::secret::Secret;
use super::id::{ChunkId, CollectionId};

/// First bytes of a stored chunk; the last one is the version.
pub const MAGIC: &[u8; 5] = b"BLBC\x01";
/// When this much content is gathered, a chunk is sealed.
pub const TARGET_CONTENT: usize = 2 << 20;
/// No fragment is longer.
pub const MAX_FRAGMENT: usize = 4 << 20;
/// No chunk's content is longer.
pub const MAX_CONTENT: usize = 8 << 20;
/// No stored chunk is longer, padding included.
pub const MAX_STORED: usize = MAX_CONTENT + (1 << 20) + 64;

const BODY_HEAD: usize = 9;
const TABLE_ROW: usize = FragmentHash::LEN + 4;

/// What a chunk holds. It is part of what is authenticated, and not visible from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChunkKind {
    /// Content of files.
    Data,
    /// Nodes of the metadata tree.
    Meta,
}

impl ChunkKind {
    fn code(self) -> u8 {
        match self {
            ChunkKind::Data => 1,
            ChunkKind::Meta => 2,
        }
    }
}

/// Where a chunk is and what opens it: as it stands in sealed metadata.
#[derive(Debug)]
pub struct ChunkRef {
    /// The chunk.
    pub id: ChunkId,
    /// Its key.
    pub key: OpenKey,
}

impl ChunkRef {
    /// Puts the two together.
    pub fn new(id: ChunkId, key: Secret<32>) -> Arc<Self> {
        Arc::new(Self { id, key: OpenKey::new(key) })
    }
}

/// What is wrong with the bytes of a chunk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// Not a chunk, or one of a version to come.
    #[error("these bytes are not a chunk of a version this program knows")]
    NotAChunk,
    /// Changed, or sealed for another place.
    #[error("the chunk does not open: it was changed, or it belongs to another collection")]
    DoesNotOpen,
    /// It opens, but what is inside contradicts itself.
    #[error("the chunk opens, but its inside contradicts itself")]
    Malformed,
    /// What was just sealed does not open to what it was made of (R14).
    #[error(
        "a chunk that was just sealed does not open to its source: memory or processor are faulty; nothing was stored"
    )]
    NotReproducible,
}

/// How much sealed chunks hide their length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Padding {
    /// Not at all.
    #[default]
    None,
    /// Padmé (Nikitin et al., PoPETs 2019): at most 12 % longer, and O(log log n) bits of length leak.
    Padme,
}

impl Padding {
    fn padded(self, len: usize) -> usize {
        match self {
            Padding::None => len,
            Padding::Padme if len < 2 => len,
            Padding::Padme => {
                let exponent = len.ilog2();
                let bits = exponent.ilog2() + 1;
                let mask = (1usize << (exponent - bits.min(exponent))) - 1;
                (len + mask) & !mask
            }
        }
    }
}

/// Compressor, decompressor and buffers of one thread; make it once, use it for many chunks.
pub struct Workbench {
    compressor: zstd::bulk::Compressor<'static>,
    decompressor: zstd::bulk::Decompressor<'static>,
    opened: Vec<u8>,
    plain: Vec<u8>,
}

impl Workbench {
    /// A workbench that compresses at `level` (zstd, 1 to 19).
    pub fn new(level: i32) -> Self {
        Self {
            compressor: zstd::bulk::Compressor::new(level).expect("zstd only fails to allocate"),
            decompressor: zstd::bulk::Decompressor::new().expect("zstd only fails to allocate"),
            opened: Vec::new(),
            plain: Vec::new(),
        }
    }
}

impl std::fmt::Debug for Workbench {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Workbench")
    }
}

/// Gathers fragments until there are enough for a chunk.
#[derive(Debug)]
pub struct ChunkBuilder {
    kind: ChunkKind,
    compress: bool,
    data: Vec<u8>,
    fragments: Vec<(FragmentHash, u32)>,
}

impl ChunkBuilder {
    /// An empty builder. `compress` is false for content that is known not to compress.
    pub fn new(kind: ChunkKind, compress: bool) -> Self {
        Self { kind, compress, data: Vec::new(), fragments: Vec::new() }
    }

    /// Whether nothing was added yet.
    pub fn is_empty(&self) -> bool {
        self.fragments.is_empty()
    }

    /// Bytes of fragments so far.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether a fragment of `len` bytes would still fit well.
    pub fn has_room_for(&self, len: usize) -> bool {
        self.is_empty() || self.data.len() + len <= TARGET_CONTENT + TARGET_CONTENT / 4
    }

    /// Whether it is time to seal.
    pub fn is_full(&self) -> bool {
        self.data.len() >= TARGET_CONTENT || self.fragments.len() >= 1 << 16
    }

    /// Adds a fragment of at most [`MAX_FRAGMENT`] bytes; answers its offset.
    pub fn push(&mut self, name: FragmentHash, bytes: &[u8]) -> u32 {
        assert!(bytes.len() <= MAX_FRAGMENT, "the cutter bounds fragments");
        if self.data.capacity() == 0 {
            self.data.reserve_exact(TARGET_CONTENT + TARGET_CONTENT / 2);
        }
        let offset = self.data.len() as u32;
        self.data.extend_from_slice(bytes);
        self.fragments.push((name, bytes.len() as u32));
        offset
    }

    /// Compresses, seals, hashes, and opens again to compare (R14).
    ///
    /// # Errors
    /// [`ChunkError::NotReproducible`].
    pub fn seal(
        self,
        collection: &CollectionId,
        key: SealKey,
        padding: Padding,
        bench: &mut Workbench,
    ) -> Result<SealedChunk, ChunkError> {
        let Self { kind, compress, data: mut content, fragments } = self;
        for (name, len) in &fragments {
            content.extend_from_slice(name.as_bytes());
            content.extend_from_slice(&len.to_be_bytes());
        }
        content.extend_from_slice(&(fragments.len() as u32).to_be_bytes());

        let head = MAGIC.len();
        let mut stored =
            Vec::with_capacity(head + BODY_HEAD + zstd::zstd_safe::compress_bound(content.len()) + TAG_LEN);
        stored.extend_from_slice(MAGIC);
        stored.extend_from_slice(&[0; BODY_HEAD]);
        let mut codec = 0;
        if compress {
            let at = stored.len();
            stored.resize(at + zstd::zstd_safe::compress_bound(content.len()), 0);
            let len = bench
                .compressor
                .compress_to_buffer(&content, &mut stored[at..])
                .map_err(|_| ChunkError::NotReproducible)?;
            stored.truncate(at + len);
            codec = 1;
            if len > content.len() - content.len() / 32 {
                stored.truncate(at);
                codec = 0;
            }
        }
        if codec == 0 {
            stored.extend_from_slice(&content);
        }
        let payload = stored.len() - head - BODY_HEAD;
        stored[head] = codec;
        stored[head + 1..head + 5].copy_from_slice(&(content.len() as u32).to_be_bytes());
        stored[head + 5..head + 9].copy_from_slice(&(payload as u32).to_be_bytes());
        stored.resize(padding.padded(stored.len() + TAG_LEN) - TAG_LEN, 0);

        let aad = aad(kind, collection);
        let key = key.seal_in_place(&aad, &mut stored, head);
        let id = ChunkId::of(&stored);

        open_body(&stored, &key, &aad, bench).map_err(|_| ChunkError::NotReproducible)?;
        if bench.plain != content {
            return Err(ChunkError::NotReproducible);
        }
        Ok(SealedChunk { id, key, stored, fragments, content_bytes: content.len() as u64 })
    }
}

/// A chunk as it goes into the store.
#[derive(Debug)]
pub struct SealedChunk {
    /// Its name.
    pub id: ChunkId,
    /// What opens it.
    pub key: OpenKey,
    /// The bytes to store.
    pub stored: Vec<u8>,
    /// Names and lengths of the fragments, in order.
    pub fragments: Vec<(FragmentHash, u32)>,
    /// Length of the content before compression.
    pub content_bytes: u64,
}

/// The opened inside of a chunk.
#[derive(Debug)]
pub struct ChunkContent {
    content: Vec<u8>,
    data_len: usize,
}

impl ChunkContent {
    /// Opens stored bytes. The caller has bounded their length by [`MAX_STORED`].
    ///
    /// # Errors
    /// [`ChunkError`].
    pub fn open(
        stored: &[u8],
        key: &OpenKey,
        kind: ChunkKind,
        collection: &CollectionId,
        bench: &mut Workbench,
    ) -> Result<Self, ChunkError> {
        open_body(stored, key, &aad(kind, collection), bench)?;
        let content = std::mem::take(&mut bench.plain);
        let rows_end = content.len().checked_sub(4).ok_or(ChunkError::Malformed)?;
        let count = u32::from_be_bytes(content[rows_end..].try_into().expect("four bytes are left")) as usize;
        let data_len =
            count.checked_mul(TABLE_ROW).and_then(|rows| rows_end.checked_sub(rows)).ok_or(ChunkError::Malformed)?;
        let opened = Self { content, data_len };
        let sum: u64 = opened.table().map(|(_, len)| u64::from(len)).sum();
        if sum != data_len as u64 {
            return Err(ChunkError::Malformed);
        }
        Ok(opened)
    }

    /// The bytes of a fragment, or of several that follow each other.
    ///
    /// # Errors
    /// [`ChunkError::Malformed`] if they are not all inside.
    pub fn slice(&self, offset: u32, len: usize) -> Result<&[u8], ChunkError> {
        let start = offset as usize;
        let end = start.checked_add(len).filter(|end| *end <= self.data_len).ok_or(ChunkError::Malformed)?;
        Ok(&self.content[start..end])
    }

    /// Names and lengths of the fragments, in order.
    pub fn table(&self) -> impl Iterator<Item = (FragmentHash, u32)> + '_ {
        self.content[self.data_len..self.content.len() - 4].chunks_exact(TABLE_ROW).map(|row| {
            let name = FragmentHash::from_slice(&row[..FragmentHash::LEN]).expect("the row has this length");
            (name, u32::from_be_bytes(row[FragmentHash::LEN..].try_into().expect("the row has this length")))
        })
    }

    /// Bytes held in memory.
    pub fn size_bytes(&self) -> usize {
        self.content.capacity()
    }
}

fn aad(kind: ChunkKind, collection: &CollectionId) -> Vec<u8> {
    let mut aad = MAGIC.to_vec();
    aad.push(kind.code());
    aad.extend_from_slice(collection.as_bytes());
    aad
}

/// Opens `stored` into `bench.plain`.
fn open_body(stored: &[u8], key: &OpenKey, aad: &[u8], bench: &mut Workbench) -> Result<(), ChunkError> {
    let sealed = stored.strip_prefix(MAGIC).ok_or(ChunkError::NotAChunk)?;
    bench.opened.clear();
    bench.opened.extend_from_slice(sealed);
    key.open_in_place(aad, &mut bench.opened).map_err(|_| ChunkError::DoesNotOpen)?;
    let (head, rest) = bench.opened.split_at_checked(BODY_HEAD).ok_or(ChunkError::Malformed)?;
    let content_len = u32::from_be_bytes(head[1..5].try_into().expect("four bytes")) as usize;
    let payload_len = u32::from_be_bytes(head[5..9].try_into().expect("four bytes")) as usize;
    if content_len > MAX_CONTENT {
        return Err(ChunkError::Malformed);
    }
    let payload = rest.get(..payload_len).ok_or(ChunkError::Malformed)?;
    if rest[payload_len..].iter().any(|byte| *byte != 0) {
        return Err(ChunkError::Malformed);
    }
    bench.plain.clear();
    match head[0] {
        0 if content_len == payload_len => bench.plain.extend_from_slice(payload),
        1 => {
            bench.plain.reserve(content_len);
            bench
                .decompressor
                .decompress_to_buffer(payload, &mut bench.plain)
                .ok()
                .filter(|len| *len == content_len)
                .ok_or(ChunkError::Malformed)?;
        }
        _ => return Err(ChunkError::Malformed),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::crypto::hash::FragmentKey;

    fn collection() -> CollectionId {
        CollectionId::from_slice(&[9; 16]).unwrap()
    }

    fn sealed(padding: Padding) -> SealedChunk {
        let names = FragmentKey::new(Secret::from_bytes([1; 32]));
        let mut builder = ChunkBuilder::new(ChunkKind::Data, true);
        for text in ["hello", "", "hello hello hello hello hello"] {
            builder.push(names.name_of(text.as_bytes()), text.as_bytes());
        }
        let key = SealKey::derived_for_one_use(Secret::from_bytes([2; 32]));
        builder.seal(&collection(), key, padding, &mut Workbench::new(3)).unwrap()
    }

    #[test]
    fn what_went_in_comes_out() {
        for padding in [Padding::None, Padding::Padme] {
            let chunk = sealed(padding);
            assert_eq!(chunk.id, ChunkId::of(&chunk.stored));
            let mut bench = Workbench::new(1);
            let content =
                ChunkContent::open(&chunk.stored, &chunk.key, ChunkKind::Data, &collection(), &mut bench).unwrap();
            assert_eq!(content.slice(0, 5).unwrap(), b"hello");
            assert_eq!(content.slice(5, 29).unwrap(), b"hello hello hello hello hello");
            assert_eq!(content.slice(5, 30), Err(ChunkError::Malformed));
            assert_eq!(content.slice(u32::MAX, 1), Err(ChunkError::Malformed));
            assert_eq!(content.table().collect::<Vec<_>>(), chunk.fragments);
        }
    }

    #[test]
    fn r14_a_chunk_opens_only_in_its_place_and_unchanged() {
        let chunk = sealed(Padding::None);
        let open = |bytes: &[u8], kind, collection: &CollectionId| {
            ChunkContent::open(bytes, &chunk.key, kind, collection, &mut Workbench::new(1)).map(|_| ())
        };
        let other = CollectionId::from_slice(&[8; 16]).unwrap();
        assert_eq!(open(&chunk.stored, ChunkKind::Meta, &collection()), Err(ChunkError::DoesNotOpen));
        assert_eq!(open(&chunk.stored, ChunkKind::Data, &other), Err(ChunkError::DoesNotOpen));
        for at in 0..chunk.stored.len() {
            let mut bad = chunk.stored.clone();
            bad[at] ^= 1;
            assert!(open(&bad, ChunkKind::Data, &collection()).is_err());
            assert!(open(&chunk.stored[..at], ChunkKind::Data, &collection()).is_err());
        }
    }

    #[test]
    fn padme_adds_at_most_twelve_percent() {
        for len in (2..100_000).step_by(7) {
            let padded = Padding::Padme.padded(len);
            assert!(padded >= len && padded <= len + len / 8 + 1, "{len} -> {padded}");
        }
    }
}

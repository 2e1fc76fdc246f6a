//! BLAKE3: a plain hash for each file, a keyed hash to look fragments up.

use std::fmt;

use super::secret::Secret;

/// BLAKE3 of a file's whole content. Checked by restore and drill, independent of the chunk tree (R14).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileHash(pub(crate) [u8; 32]);

impl FileHash {
    /// The hash of `content`.
    pub fn of(content: &[u8]) -> Self {
        Self(*blake3::hash(content).as_bytes())
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileHash({})", data_encoding::HEXLOWER.encode(&self.0[..4]))
    }
}

/// Computes a [`FileHash`] piece by piece.
#[derive(Debug, Default)]
pub struct FileHasher(blake3::Hasher);

impl FileHasher {
    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Adds `len` zero bytes: a hole in a sparse file.
    pub fn update_zeros(&mut self, mut len: u64) {
        static ZEROS: [u8; 65536] = [0; 65536];
        while len > 0 {
            let n = len.min(ZEROS.len() as u64);
            self.0.update(&ZEROS[..n as usize]);
            len -= n;
        }
    }

    /// The hash of everything added.
    pub fn finish(&self) -> FileHash {
        FileHash(*self.0.finalize().as_bytes())
    }
}

/// The name under which a fragment is looked up: the first 16 bytes of keyed BLAKE3 over the fragment's BLAKE3.
///
/// The key belongs to one collection, so that the name tells nobody without the key what the fragment holds. For a
/// file of one fragment the inner hash is its [`FileHash`], so that small files are hashed once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FragmentHash([u8; 16]);

impl FragmentHash {
    /// Length in bytes.
    pub const LEN: usize = 16;

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads a hash from a chunk's fragment table or a database column. `None` if it is not 16 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Debug for FragmentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FragmentHash({})", data_encoding::HEXLOWER.encode(&self.0[..4]))
    }
}

/// The key of a collection's fragment hashes.
#[derive(Debug)]
pub struct FragmentKey(Secret<32>);

impl FragmentKey {
    /// Takes over key bytes.
    pub fn new(key: Secret<32>) -> Self {
        Self(key)
    }

    /// The lookup name of a fragment whose plain BLAKE3 is `inner`.
    pub fn name(&self, inner: &FileHash) -> FragmentHash {
        let full = blake3::keyed_hash(self.0.expose(), &inner.0);
        FragmentHash::from_slice(&full.as_bytes()[..16]).expect("sixteen bytes are cut out")
    }

    /// The lookup name of a fragment.
    pub fn name_of(&self, content: &[u8]) -> FragmentHash {
        self.name(&FileHash::of(content))
    }
}

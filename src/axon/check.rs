//! Whether an item is what its name says.

use crate::domain::axon::cipher::{CipherError, Decryptor};
use crate::domain::axon::manifest::{ContentType, Manifest};
use crate::domain::axon::payload::{self, TYPE_AT_MOST};
use crate::domain::crypto::secret::Secret;
use crate::domain::id::ChunkId;
use crate::store::axon::Item;
use crate::store::{ChunkStoreError, Store};

/// What came of reading an item through the decryptor.
pub(in crate::axon) enum Fault {
    Store(ChunkStoreError),
    /// These are missing, or not what they should be; they were put aside.
    Holes(Vec<usize>),
    Cipher(CipherError),
    Died,
}

/// A chunk, if it is here and what its name says. One that is not is put aside.
///
/// # Errors
/// [`ChunkStoreError`] if it cannot be read or put aside.
pub(in crate::axon) fn chunk(store: &Store, id: &ChunkId) -> Result<Option<Vec<u8>>, ChunkStoreError> {
    match store.chunks.read(id) {
        Ok(bytes) if ChunkId::of(&bytes) == *id => Ok(Some(bytes)),
        Ok(_) | Err(ChunkStoreError::TooLong { .. }) => store.chunks.quarantine(id).map(|()| None),
        Err(ChunkStoreError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// An item that is what its name says.
pub(in crate::axon) struct Whole {
    /// The sizes of its chunks.
    pub sizes: Vec<u32>,
    /// What its content says that it is, if it says so where Axon writes it.
    pub says: Option<ContentType>,
}

/// Reads all chunks through the decryptor. Those that are not what they should be are put aside.
pub(in crate::axon) fn read_through(store: &Store, manifest: &Manifest, key: &Secret<32>) -> Result<Whole, Fault> {
    let mut end = Vec::new();
    let sizes = read_into(store, manifest, key, &mut |piece| {
        end.extend_from_slice(&piece[piece.len().saturating_sub(TYPE_AT_MOST)..]);
        end.drain(..end.len().saturating_sub(TYPE_AT_MOST));
    })?;
    Ok(Whole { sizes, says: payload::type_at_end(&end) })
}

/// The same, and gives the plaintext out in pieces: it counts only once all of it was given.
pub(in crate::axon) fn read_into(
    store: &Store,
    manifest: &Manifest,
    key: &Secret<32>,
    out: &mut dyn FnMut(&[u8]),
) -> Result<Vec<u32>, Fault> {
    let mut holes = Vec::new();
    let mut sizes = Vec::new();
    let mut decryptor = Decryptor::new(key, manifest);
    let mut plain = zeroize::Zeroizing::new(Vec::new());
    let mut fault = None;
    for (index, id) in manifest.chunk_hashes().iter().enumerate() {
        let Some(bytes) = chunk(store, id).map_err(Fault::Store)? else {
            holes.push(index);
            continue;
        };
        sizes.push(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        if holes.is_empty() && fault.is_none() {
            plain.clear();
            fault = decryptor.push(&bytes, &mut plain).err();
            out(&plain);
        }
    }
    if !holes.is_empty() {
        return Err(Fault::Holes(holes));
    }
    if let Some(cause) = fault {
        return Err(Fault::Cipher(cause));
    }
    plain.clear();
    decryptor.finish(&mut plain).map_err(Fault::Cipher)?;
    out(&plain);
    Ok(sizes)
}

/// How it stands with one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Chunks that the manifest names.
    pub chunks: usize,
    /// Chunks that are here.
    pub here: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Why the plaintext does not verify; nothing if it does.
    pub fault: Option<String>,
}

/// Reads an item, and says whether its plaintext is what its name says. Blocks; changes nothing but that chunks which are not what
/// they should be are put aside.
///
/// # Errors
/// [`ChunkStoreError`] if chunks cannot be read at all.
pub fn check(store: &Store, item: &Item) -> Result<Checked, ChunkStoreError> {
    let chunks = item.chunks.len();
    let here = |item: &Item| {
        let (mut here, mut bytes) = (0, 0);
        for (id, _) in &item.chunks {
            if let Some(size) = store.chunks.size(id)? {
                here += 1;
                bytes += size;
            }
        }
        Ok::<_, ChunkStoreError>((here, bytes))
    };
    let fault = match (&item.key, Manifest::parse(item.manifest.as_bytes())) {
        (_, Err(cause)) => Some(cause.to_string()),
        (None, _) => Some("nobody gave this instance a key for it".to_owned()),
        (Some(key), Ok(manifest)) => match read_through(store, &manifest, key) {
            Ok(_) => None,
            Err(Fault::Store(error)) => return Err(error),
            Err(Fault::Holes(holes)) => Some(format!("{} of its chunks are missing or damaged", holes.len())),
            Err(Fault::Cipher(cause)) => Some(cause.to_string()),
            Err(Fault::Died) => Some("a part of the work died unexpectedly".to_owned()),
        },
    };
    let (here, bytes) = here(item)?;
    Ok(Checked { chunks, here, bytes, fault })
}

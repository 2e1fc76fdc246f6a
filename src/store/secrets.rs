//! A chunk's key and fragment table, sealed under the master key: what the index keeps of our own chunks.
//!
//! Plain form: key (32 bytes) ‖ for each fragment: its lookup name (16 bytes) ‖ its length (u32 BE).

use zeroize::Zeroizing;

use super::entropy;
use crate::domain::crypto::aead::{OpenError, OpenKey};
use crate::domain::crypto::hash::FragmentHash;
use crate::domain::crypto::secret::Secret;
use crate::domain::crypto::vault::MasterKey;
use crate::domain::id::ChunkId;

const ROW: usize = FragmentHash::LEN + 4;

/// What opens a chunk, and the names and lengths of its fragments in order.
#[derive(Debug)]
pub struct ChunkSecret {
    /// What opens it.
    pub key: OpenKey,
    /// Names and lengths of the fragments, in order.
    pub fragments: Vec<(FragmentHash, u32)>,
}

/// Seals a chunk's key and fragment table for the index.
pub fn seal_chunk_secret(
    master: &MasterKey,
    id: &ChunkId,
    key: &OpenKey,
    fragments: impl IntoIterator<Item = (FragmentHash, u32)>,
) -> Vec<u8> {
    let mut plain = Zeroizing::new(key.secret().expose().to_vec());
    for (name, len) in fragments {
        plain.extend_from_slice(name.as_bytes());
        plain.extend_from_slice(&len.to_be_bytes());
    }
    master.seal(&mut entropy(), &place(id), &plain)
}

/// Opens what [`seal_chunk_secret`] sealed for this chunk.
///
/// # Errors
/// [`OpenError`] if it is another chunk's or was changed: then the index is damaged.
pub fn open_chunk_secret(master: &MasterKey, id: &ChunkId, sealed: &[u8]) -> Result<ChunkSecret, OpenError> {
    let plain = Zeroizing::new(master.open(&place(id), sealed)?);
    let (key, table) = plain.split_at_checked(32).ok_or(OpenError)?;
    if table.len() % ROW != 0 {
        return Err(OpenError);
    }
    let fragments = table
        .chunks_exact(ROW)
        .map(|row| {
            let name = FragmentHash::from_slice(&row[..FragmentHash::LEN]).expect("the row has this length");
            (name, u32::from_be_bytes(row[FragmentHash::LEN..].try_into().expect("the row has this length")))
        })
        .collect();
    let key = OpenKey::new(Secret::from_slice(key).expect("it was cut to 32 bytes"));
    Ok(ChunkSecret { key, fragments })
}

fn place(id: &ChunkId) -> Vec<u8> {
    [b"chunk/".as_slice(), id.as_bytes()].concat()
}

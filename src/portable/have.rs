//! The have-file: what an instance holds, so that an export for it can leave that out.
//!
//! `"BLBH" 0x01 ‖ instance id (32) ‖ number of snapshots (u32 BE) ‖ their manifest ids (32 each), rising ‖ number of chunks (u64 BE) ‖ the
//! first 16 bytes of their ids, rising ‖ SHA-256 of all that`. A chunk takes 16 bytes: 500,000 chunks, a terabyte, make 8 MB.

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::domain::id::{ChunkId, InstanceId, ManifestId};
use crate::store::dir::{Access, Dir, DirError};
use crate::store::{IndexError, Store};

/// First bytes; the last one is the version.
const MAGIC: &[u8; 5] = b"BLBH\x01";
/// Of a chunk's id so many bytes.
const SHORT: usize = 16;
/// No file is longer, in bytes: 32 million chunks.
const MAX_BYTES: usize = 512 << 20;

/// Why a have-file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HaveError {
    /// It cannot be read or written.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// It is none.
    #[error(
        "this is no whole have-file of a version that this program knows: make it again with 'bulbil have --output FILE' where the backup is to go"
    )]
    NotOne,
    /// Something else is there.
    #[error("{} is there, and is no have-file: name another one", .0.display())]
    Others(std::path::PathBuf),
    /// The path leads to no file.
    #[error("{0:?} is no path of a file")]
    NoFile(std::path::PathBuf),
    /// The index cannot be used.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// What an instance holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Have {
    /// Which instance.
    pub instance: InstanceId,
    /// Snapshots that are there with all their chunks, sorted.
    snapshots: Vec<ManifestId>,
    /// Beginnings of the ids of chunks, sorted.
    chunks: Vec<[u8; SHORT]>,
}

impl Have {
    /// What this instance holds.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn of(store: &Store) -> Result<Self, IndexError> {
        let mut snapshots: Vec<ManifestId> =
            store.index.snapshots(None).await?.iter().filter(|s| s.complete).map(|s| s.id).collect();
        snapshots.sort_unstable();
        let mut chunks: Vec<[u8; SHORT]> = store.index.present_chunks().await?.iter().map(short).collect();
        chunks.sort_unstable();
        chunks.dedup();
        Ok(Self { instance: store.keys.instance(), snapshots, chunks })
    }

    /// How many snapshots.
    pub fn snapshots(&self) -> u64 {
        self.snapshots.len() as u64
    }

    /// How many chunks and lists of chunks.
    pub fn chunks(&self) -> u64 {
        self.chunks.len() as u64
    }

    /// Whether a snapshot is there with all its chunks.
    pub fn has_snapshot(&self, id: &ManifestId) -> bool {
        self.snapshots.binary_search(id).is_ok()
    }

    /// Whether a chunk is there.
    pub fn has_chunk(&self, id: &ChunkId) -> bool {
        self.chunks.binary_search(&short(id)).is_ok()
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(96 + self.snapshots.len() * 32 + self.chunks.len() * SHORT);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(self.instance.as_bytes());
        bytes.extend_from_slice(&(self.snapshots.len() as u32).to_be_bytes());
        self.snapshots.iter().for_each(|id| bytes.extend_from_slice(id.as_bytes()));
        bytes.extend_from_slice(&(self.chunks.len() as u64).to_be_bytes());
        self.chunks.iter().for_each(|short| bytes.extend_from_slice(short));
        let sum = Sha256::digest(&bytes);
        bytes.extend_from_slice(&sum);
        bytes
    }

    /// Reads a stored form.
    ///
    /// # Errors
    /// [`HaveError::NotOne`].
    pub fn parse(bytes: &[u8]) -> Result<Self, HaveError> {
        let read = || {
            let (body, sum) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
            let rest = body.strip_prefix(MAGIC)?;
            if Sha256::digest(body).as_slice() != sum {
                return None;
            }
            let (instance, rest) = rest.split_at_checked(InstanceId::LEN)?;
            let (number, rest) = rest.split_first_chunk::<4>()?;
            let length = (u32::from_be_bytes(*number) as usize).checked_mul(ManifestId::LEN)?;
            let (snapshots, rest) = rest.split_at_checked(length)?;
            let (number, rest) = rest.split_first_chunk::<8>()?;
            let length = usize::try_from(u64::from_be_bytes(*number)).ok()?.checked_mul(SHORT)?;
            if rest.len() != length {
                return None;
            }
            let (shorts, _) = rest.as_chunks::<SHORT>();
            let snapshots =
                snapshots.chunks_exact(ManifestId::LEN).map(ManifestId::from_slice).collect::<Result<Vec<_>, _>>();
            let have = Self {
                instance: InstanceId::from_slice(instance).ok()?,
                snapshots: snapshots.ok()?,
                chunks: shorts.to_vec(),
            };
            (have.snapshots.is_sorted() && have.chunks.is_sorted()).then_some(have)
        };
        read().ok_or(HaveError::NotOne)
    }

    /// Writes it to a file, in the place of an earlier one.
    ///
    /// # Errors
    /// [`HaveError::Dir`].
    pub fn save(&self, file: &Path) -> Result<(), HaveError> {
        let (dir, name) = place(file)?;
        // An older have-file is written over; anything else is somebody's.
        match dir.read(&name, MAX_BYTES) {
            Ok(there) if !there.starts_with(b"BLBH") => return Err(HaveError::Others(file.to_owned())),
            Err(error) if !error.is_missing() => return Err(error.into()),
            _ => {}
        }
        Ok(dir.save(&name, &self.encode(), Access::Usual)?)
    }

    /// Reads it from a file.
    ///
    /// # Errors
    /// [`HaveError`].
    pub fn load(file: &Path) -> Result<Self, HaveError> {
        let (dir, name) = place(file)?;
        Self::parse(&dir.read(&name, MAX_BYTES)?)
    }
}

fn place(file: &Path) -> Result<(Dir, String), HaveError> {
    let name = file.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| HaveError::NoFile(file.to_owned()))?.to_owned();
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((Dir::open(dir)?, name))
}

fn short(id: &ChunkId) -> [u8; SHORT] {
    *id.as_bytes().first_chunk().expect("an id is longer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_any_change_is_refused() {
        let chunks: Vec<ChunkId> = (0..100u8).map(|n| ChunkId::of(&[n])).collect();
        let mut shorts: Vec<_> = chunks.iter().map(short).collect();
        shorts.sort_unstable();
        let have = Have {
            instance: InstanceId::of_public_key(&[1; 32]),
            snapshots: vec![ManifestId::of(b"a")],
            chunks: shorts,
        };
        let bytes = have.encode();
        assert_eq!(Have::parse(&bytes).unwrap(), have);
        assert!(chunks.iter().all(|id| have.has_chunk(id)) && !have.has_chunk(&ChunkId::of(b"other")));
        assert!(have.has_snapshot(&ManifestId::of(b"a")) && !have.has_snapshot(&ManifestId::of(b"b")));
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(Have::parse(&bad).is_err());
            assert!(Have::parse(&bytes[..at]).is_err());
        }
        // A count that promises more than there is makes no room for it.
        let mut huge = MAGIC.to_vec();
        huge.extend_from_slice(&[0; 32]);
        huge.extend_from_slice(&[0xff; 12]);
        let sum = Sha256::digest(&huge);
        huge.extend_from_slice(&sum);
        assert!(Have::parse(&huge).is_err());
    }
}

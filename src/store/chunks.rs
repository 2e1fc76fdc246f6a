//! Chunk bytes: immutable objects named by their SHA-256. Segments are kept here too.
//!
//! The trait is small, so that an object store can stand in for files.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::marker::{Away, Marker};
use crate::domain::chunk::MAX_STORED;
use crate::domain::id::ChunkId;
use crate::transport::bucket::BucketError;

/// What went wrong with a chunk's bytes.
#[derive(Debug, thiserror::Error)]
pub enum ChunkStoreError {
    /// It is not there.
    #[error("chunk {id} is missing")]
    Missing {
        /// Which one.
        id: ChunkId,
    },
    /// It is there, but longer than any chunk.
    #[error("chunk {id} is {size_bytes} bytes long, longer than any chunk can be: it was changed")]
    TooLong {
        /// Which one.
        id: ChunkId,
        /// How long it is.
        size_bytes: u64,
    },
    /// It is in another place than a folder, and cannot be read or written there.
    #[error("chunk {id}: {message}")]
    Elsewhere {
        /// Which one.
        id: ChunkId,
        /// What is wrong there.
        message: String,
    },
    /// The store of objects said no, or nothing.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// The disk is full.
    #[error(
        "no space is left for chunk {id}: free some space where the repository is, then run the command again; nothing that was stored is lost"
    )]
    NoSpace {
        /// Which one.
        id: ChunkId,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// The folder is not the one that chunks are kept in: nothing can be said of any chunk.
    #[error(transparent)]
    Away(#[from] Away),
    /// The system said no.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
}

impl ChunkStoreError {
    /// Whether the system says that the disk is at fault (EIO, EBADMSG, EUCLEAN): it does not give the bytes any more.
    pub fn is_of_the_disk(&self) -> bool {
        matches!(self, ChunkStoreError::Io { cause, .. } if matches!(cause.raw_os_error(), Some(5 | 74 | 117)))
    }
}

/// Where chunk bytes are kept.
pub trait ChunkStore: Send + Sync + std::fmt::Debug {
    /// Stores bytes under their name. They are durable after the next [`sync`](Self::sync), not before.
    ///
    /// # Errors
    /// [`ChunkStoreError::NoSpace`], [`ChunkStoreError::Io`]; nothing half written stays under the name.
    fn write(&self, id: &ChunkId, bytes: &[u8]) -> Result<(), ChunkStoreError>;

    /// Makes everything written so far durable, once for all of it.
    ///
    /// # Errors
    /// [`ChunkStoreError::Io`]: then nothing written since the last sync may be named by anybody.
    fn sync(&self) -> Result<(), ChunkStoreError>;

    /// Whether what chunks are kept in is there. If it is not, no chunk counts as missing.
    ///
    /// # Errors
    /// [`ChunkStoreError::Away`].
    fn check(&self) -> Result<(), ChunkStoreError> {
        Ok(())
    }

    /// Reads bytes. They are not checked against their name: who needs to know checks.
    ///
    /// # Errors
    /// [`ChunkStoreError::Missing`], [`ChunkStoreError::TooLong`], [`ChunkStoreError::Io`].
    fn read(&self, id: &ChunkId) -> Result<Vec<u8>, ChunkStoreError>;

    /// The stored size, or `None` if it is not there.
    ///
    /// # Errors
    /// [`ChunkStoreError::Io`].
    fn size(&self, id: &ChunkId) -> Result<Option<u64>, ChunkStoreError>;

    /// Puts bytes that failed their hash aside, for a look; afterwards the chunk is missing.
    ///
    /// # Errors
    /// [`ChunkStoreError::Io`].
    fn quarantine(&self, id: &ChunkId) -> Result<(), ChunkStoreError>;

    /// Removes bytes. Removing what is not there is no error.
    ///
    /// # Errors
    /// [`ChunkStoreError::Io`].
    fn remove(&self, id: &ChunkId) -> Result<(), ChunkStoreError>;

    /// Calls `each` with every chunk and its size, in no order. Files that are not named as chunks are passed over.
    ///
    /// # Errors
    /// [`ChunkStoreError::Io`].
    fn list(&self, each: &mut dyn FnMut(ChunkId, u64)) -> Result<(), ChunkStoreError>;
}

/// Chunks as files: `chunks/ab/cd/<sha256>`.
#[derive(Debug)]
pub struct ChunkFiles {
    root: PathBuf,
    quarantine: PathBuf,
    marker: Option<Marker>,
    next_temporary: AtomicU64,
}

impl ChunkFiles {
    /// Keeps chunks in the folder that is marked, and puts bad ones into `quarantine`, which it makes if it is missing. While the
    /// folder has no mark, nothing is written into it, and nothing counts as missing.
    ///
    /// # Errors
    /// [`ChunkStoreError::Io`].
    pub(super) fn open(marker: Marker, quarantine: PathBuf) -> Result<Self, ChunkStoreError> {
        fs::create_dir_all(&quarantine).map_err(|cause| io("create", &quarantine, cause))?;
        let root = marker.dir().to_owned();
        Ok(Self { root, quarantine, marker: Some(marker), next_temporary: AtomicU64::new(0) })
    }

    /// Reads chunks below `root`, which may be on a disk that must not be written.
    pub fn read_only(root: PathBuf) -> Self {
        let quarantine = root.join("quarantine");
        Self { root, quarantine, marker: None, next_temporary: AtomicU64::new(0) }
    }

    /// Where the bytes of a chunk are.
    pub fn path(&self, id: &ChunkId) -> PathBuf {
        let name = id.to_string();
        let mut path = self.root.join(&name[..2]);
        path.push(&name[2..4]);
        path.push(name);
        path
    }

    fn write_temporary(&self, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
        let mut file = File::create(path).or_else(|error| match (error.kind(), path.parent()) {
            (ErrorKind::NotFound, Some(dir)) => fs::create_dir_all(dir).and_then(|()| File::create(path)),
            _ => Err(error),
        })?;
        file.write_all(bytes)
    }
}

impl ChunkStore for ChunkFiles {
    fn write(&self, id: &ChunkId, bytes: &[u8]) -> Result<(), ChunkStoreError> {
        self.check()?;
        let n = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = self.root.join("tmp").join(format!("{}-{n}", std::process::id()));
        let target = self.path(id);
        let written = self.write_temporary(&temporary, bytes).and_then(|()| {
            fs::rename(&temporary, &target).or_else(|error| {
                if error.kind() != ErrorKind::NotFound {
                    return Err(error);
                }
                fs::create_dir_all(target.parent().expect("a chunk's path has a folder"))?;
                fs::rename(&temporary, &target)
            })
        });
        written.map_err(|cause| {
            let _ = fs::remove_file(&temporary);
            if matches!(cause.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
                ChunkStoreError::NoSpace { id: *id, cause }
            } else {
                io("write", &target, cause)
            }
        })
    }

    fn sync(&self) -> Result<(), ChunkStoreError> {
        let dir = File::open(&self.root).map_err(|cause| io("open", &self.root, cause))?;
        rustix::fs::syncfs(&dir).map_err(|cause| io("make durable", &self.root, cause.into()))
    }

    fn check(&self) -> Result<(), ChunkStoreError> {
        Ok(self.marker.as_ref().map_or(Ok(()), Marker::check)?)
    }

    fn read(&self, id: &ChunkId) -> Result<Vec<u8>, ChunkStoreError> {
        let path = self.path(id);
        let file = File::open(&path).map_err(|cause| match cause.kind() {
            ErrorKind::NotFound => self.check().err().unwrap_or(ChunkStoreError::Missing { id: *id }),
            _ => io("open", &path, cause),
        })?;
        let size_bytes = file.metadata().map_err(|cause| io("look at", &path, cause))?.len();
        if size_bytes > MAX_STORED as u64 {
            return Err(ChunkStoreError::TooLong { id: *id, size_bytes });
        }
        let mut bytes = Vec::with_capacity(size_bytes as usize + 1);
        file.take(MAX_STORED as u64).read_to_end(&mut bytes).map_err(|cause| io("read", &path, cause))?;
        Ok(bytes)
    }

    fn size(&self, id: &ChunkId) -> Result<Option<u64>, ChunkStoreError> {
        let path = self.path(id);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => self.check().map(|()| None),
            Err(cause) => Err(io("look at", &path, cause)),
        }
    }

    fn quarantine(&self, id: &ChunkId) -> Result<(), ChunkStoreError> {
        let path = self.path(id);
        // The quarantine may be on another disk than the chunks.
        let moved = super::files::move_file(&path, &self.quarantine.join(id.to_string()));
        moved.map_err(|cause| io("put aside", &path, cause))
    }

    fn remove(&self, id: &ChunkId) -> Result<(), ChunkStoreError> {
        let path = self.path(id);
        match fs::remove_file(&path) {
            Err(cause) if cause.kind() != ErrorKind::NotFound => Err(io("remove", &path, cause)),
            _ => Ok(()),
        }
    }

    fn list(&self, each: &mut dyn FnMut(ChunkId, u64)) -> Result<(), ChunkStoreError> {
        let read = |dir: &Path| fs::read_dir(dir).map_err(|cause| io("read", dir, cause));
        // What a disk does not give is said: passed over, it would look as if it were missing.
        let in_dir = |dir: &Path| {
            read(dir)?.map(|entry| entry.map_err(|cause| io("read", dir, cause))).collect::<Result<Vec<_>, _>>()
        };
        let short = |entry: &fs::DirEntry| entry.file_name().len() == 2;
        for first in in_dir(&self.root)?.into_iter().filter(short) {
            for second in in_dir(&first.path())?.into_iter().filter(short) {
                for file in in_dir(&second.path())? {
                    let Some(id) = file.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
                    match file.metadata() {
                        Ok(metadata) => each(id, metadata.len()),
                        Err(error) if error.kind() == ErrorKind::NotFound => {}
                        Err(cause) => return Err(io("look at", &file.path(), cause)),
                    }
                }
            }
        }
        Ok(())
    }
}

fn io(what: &'static str, path: &Path, cause: std::io::Error) -> ChunkStoreError {
    ChunkStoreError::Io { what, path: path.to_owned(), cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_read_listed_quarantined() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("quarantine")).unwrap();
        let store = ChunkFiles {
            quarantine: dir.path().join("quarantine"),
            ..ChunkFiles::read_only(dir.path().join("chunks"))
        };
        let id = ChunkId::of(b"bytes");
        assert!(matches!(store.read(&id), Err(ChunkStoreError::Missing { .. })));
        store.write(&id, b"bytes").unwrap();
        store.sync().unwrap();
        assert_eq!(store.read(&id).unwrap(), b"bytes");
        let mut listed = Vec::new();
        store.list(&mut |id, size| listed.push((id, size))).unwrap();
        assert_eq!(listed, [(id, 5)]);
        store.quarantine(&id).unwrap();
        assert_eq!(store.size(&id).unwrap(), None);
        assert_eq!(fs::read(dir.path().join("quarantine").join(id.to_string())).unwrap(), b"bytes");
    }
}

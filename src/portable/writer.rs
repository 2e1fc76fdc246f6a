//! Chunks into a folder: `chunks/ab/<sha256>`. They have other names until they are durable, so that a name is a promise also after a
//! power cut; what a kill leaves is written over.

use std::collections::{HashMap, HashSet};

use crate::domain::id::ChunkId;
use crate::store::dir::{Access, Dir, DirError};

/// So many chunks are made durable together, at most.
const BATCH: usize = 512;
/// And so many of their bytes.
const BATCH_BYTES: u64 = 256 << 20;

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) chunks: u64,
    pub(super) bytes: u64,
}

/// The chunks of a folder, while they are added to.
#[derive(Debug)]
pub(super) struct Writer {
    root: Dir,
    folders: HashMap<u8, Dir>,
    pending: HashSet<ChunkId>,
    pending_bytes: u64,
    pub(super) written: Written,
}

impl Writer {
    /// Adds to `root`, the folder `chunks`.
    pub(super) fn new(root: Dir) -> Self {
        let (folders, pending) = (HashMap::new(), HashSet::new());
        Self { root, folders, pending, pending_bytes: 0, written: Written::default() }
    }

    /// Whether a chunk is there with this length, or is about to be.
    pub(super) fn has(&mut self, id: &ChunkId, size_bytes: u64) -> Result<bool, DirError> {
        if self.pending.contains(id) {
            return Ok(true);
        }
        Ok(self.folder(id)?.size(&id.to_string())? == Some(size_bytes))
    }

    /// Adds a chunk whose bytes were compared with its name.
    pub(super) fn put(&mut self, id: &ChunkId, bytes: &[u8]) -> Result<(), DirError> {
        let (folder, part) = (self.folder(id)?, part(id));
        folder.remove(&part)?;
        folder.write(&part, bytes, Access::Usual)?;
        self.pending.insert(*id);
        self.pending_bytes += bytes.len() as u64;
        self.written.chunks += 1;
        self.written.bytes += bytes.len() as u64;
        if self.pending.len() >= BATCH || self.pending_bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    /// Gives what was added its names. Those are durable after the next [`Dir::sync_all`] anywhere on the disk.
    pub(super) fn flush(&mut self) -> Result<(), DirError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.root.sync_all()?;
        for id in std::mem::take(&mut self.pending) {
            self.folder(&id)?.replace(&part(&id), &id.to_string())?;
        }
        self.pending_bytes = 0;
        Ok(())
    }

    /// Counts what is there.
    pub(super) fn count(&self) -> Result<Written, DirError> {
        let mut there = Written::default();
        for short in self.root.names()? {
            if short.len() != 2 || !self.root.is_folder(&short)? {
                continue;
            }
            let folder = self.root.enter(&short)?;
            for name in folder.names()? {
                let is_chunk = name.starts_with(&short) && name.parse::<ChunkId>().is_ok();
                if let Some(size) = is_chunk.then(|| folder.size(&name)).transpose()?.flatten() {
                    there.chunks += 1;
                    there.bytes += size;
                }
            }
        }
        Ok(there)
    }

    fn folder(&mut self, id: &ChunkId) -> Result<&Dir, DirError> {
        use std::collections::hash_map::Entry;
        match self.folders.entry(id.as_bytes()[0]) {
            Entry::Occupied(open) => Ok(open.into_mut()),
            Entry::Vacant(free) => {
                let dir = self.root.make_or_enter(&id.to_string()[..2], Access::Usual)?;
                Ok(free.insert(dir))
            }
        }
    }
}

fn part(id: &ChunkId) -> String {
    format!("{id}.part")
}

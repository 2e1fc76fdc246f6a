//! Chunks into a place: `chunks/ab/<sha256>`. In a folder they have other names until they are durable, so that a name is a promise also
//! after a power cut; what a kill leaves is written over. In a bucket an object has its name when it is durable, and many are written at
//! a time.

use std::collections::{HashMap, HashSet};

use super::place::{Objects, Place, PlaceError};
use crate::domain::chunk::MAX_STORED;
use crate::domain::id::ChunkId;
use crate::store::dir::{Access, Dir, DirError};
use crate::transport::bucket::Uploads;

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

/// The chunks of a place, while they are added to.
#[derive(Debug)]
pub(super) struct Writer {
    to: To,
    /// What is there in a folder is read before it counts as there.
    pub(super) is_looked_at: bool,
    pub(super) written: Written,
}

#[derive(Debug)]
enum To {
    Folder(Folder),
    Bucket(InBucket),
}

impl Writer {
    /// Adds to `root`, the folder `chunks`.
    pub(super) fn new(root: Place) -> Result<Self, PlaceError> {
        let to = match root {
            Place::Folder(root) => {
                let (folders, pending) = (HashMap::new(), HashSet::new());
                To::Folder(Folder { root, folders, pending, pending_bytes: 0 })
            }
            Place::Bucket(objects) => To::Bucket(InBucket::new(objects)?),
        };
        Ok(Self { to, is_looked_at: false, written: Written::default() })
    }

    /// Whether a chunk is there with this length, or is about to be.
    pub(super) fn has(&mut self, id: &ChunkId, size_bytes: u64) -> Result<bool, PlaceError> {
        match &mut self.to {
            To::Folder(folder) if self.is_looked_at => Ok(folder.has(id, size_bytes)? && folder.is_whole(id)?),
            To::Folder(folder) => Ok(folder.has(id, size_bytes)?),
            To::Bucket(bucket) => Ok(bucket.there.get(id) == Some(&size_bytes)),
        }
    }

    /// Adds a chunk whose bytes were compared with its name.
    pub(super) fn put(&mut self, id: &ChunkId, bytes: &[u8]) -> Result<(), PlaceError> {
        match &mut self.to {
            To::Folder(folder) => folder.put(id, bytes)?,
            To::Bucket(bucket) => bucket.put(id, bytes)?,
        }
        self.written.chunks += 1;
        self.written.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Gives what was added its names. Those are durable after the next [`Place::sync_all`] anywhere on the disk.
    pub(super) fn flush(&mut self) -> Result<(), PlaceError> {
        match &mut self.to {
            To::Folder(folder) => Ok(folder.flush()?),
            To::Bucket(bucket) => Ok(bucket.uploads.finish()?),
        }
    }

    /// Counts what is there.
    pub(super) fn count(&self) -> Result<Written, PlaceError> {
        match &self.to {
            To::Folder(folder) => Ok(folder.count()?),
            To::Bucket(bucket) => Ok(Written { chunks: bucket.there.len() as u64, bytes: bucket.there.values().sum() }),
        }
    }
}

/// Chunks in a bucket. What is there is asked once.
#[derive(Debug)]
struct InBucket {
    objects: Objects,
    uploads: Uploads,
    there: HashMap<ChunkId, u64>,
}

impl InBucket {
    fn new(objects: Objects) -> Result<Self, PlaceError> {
        let there = super::inventory::of_bucket(&objects)?;
        Ok(Self { uploads: objects.bucket.uploads(), objects, there })
    }

    fn put(&mut self, id: &ChunkId, bytes: &[u8]) -> Result<(), PlaceError> {
        let text = id.to_string();
        self.uploads.put(format!("{}/{}/{text}", self.objects.within(), &text[..2]), bytes.to_vec())?;
        self.there.insert(*id, bytes.len() as u64);
        Ok(())
    }
}

#[derive(Debug)]
struct Folder {
    root: Dir,
    folders: HashMap<u8, Dir>,
    pending: HashSet<ChunkId>,
    pending_bytes: u64,
}

impl Folder {
    fn has(&mut self, id: &ChunkId, size_bytes: u64) -> Result<bool, DirError> {
        if self.pending.contains(id) {
            return Ok(true);
        }
        Ok(self.folder(id)?.size(&id.to_string())? == Some(size_bytes))
    }

    /// Whether the bytes are those of the name; one that cannot be read is as good as damaged.
    fn is_whole(&mut self, id: &ChunkId) -> Result<bool, DirError> {
        if self.pending.contains(id) {
            return Ok(true);
        }
        Ok(self.folder(id)?.read(&id.to_string(), MAX_STORED).is_ok_and(|bytes| ChunkId::of(&bytes) == *id))
    }

    fn put(&mut self, id: &ChunkId, bytes: &[u8]) -> Result<(), DirError> {
        let (folder, part) = (self.folder(id)?, part(id));
        folder.remove(&part)?;
        folder.write(&part, bytes, Access::Usual)?;
        self.pending.insert(*id);
        self.pending_bytes += bytes.len() as u64;
        if self.pending.len() >= BATCH || self.pending_bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), DirError> {
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

    fn count(&self) -> Result<Written, DirError> {
        let mut there = Written::default();
        super::inventory::of_folder(&self.root, &mut |_, size| {
            there.chunks += 1;
            there.bytes += size;
        })?;
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

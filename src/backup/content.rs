//! One file of a snapshot, piece by piece: a few opened chunks are held, however long it is.

use std::num::NonZeroUsize;
use std::sync::Arc;

use super::cache::{ChunkCache, ReadChunkError};
use crate::domain::chunk::Workbench;
use crate::domain::id::CollectionId;
use crate::domain::metadata::entry::{Extent, FileEntry};
use crate::domain::metadata::node::Node;
use crate::store::{ChunkStore, TreeError, TreeReader};

/// Opened chunks that are kept.
const KEPT: NonZeroUsize = NonZeroUsize::new(16).expect("it is not zero");
/// Zeros are given in pieces of so many bytes.
const ZEROS: [u8; 4096] = [0; 4096];

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// The tree is not whole.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A chunk is not whole.
    #[error(transparent)]
    Chunk(#[from] ReadChunkError),
    /// The tree speaks of bytes that are not in the chunk.
    #[error("it leans on bytes that its chunk does not hold")]
    Outside,
}

/// Reads files of one snapshot.
#[derive(Debug)]
pub struct ContentReader<'a> {
    cache: ChunkCache,
    bench: Workbench,
    pages: TreeReader<'a>,
}

impl<'a> ContentReader<'a> {
    /// Of the tree below `root`.
    pub fn new(chunks: &'a Arc<dyn ChunkStore>, collection: CollectionId, root: &Node) -> Self {
        Self {
            cache: ChunkCache::new(Arc::clone(chunks), collection, KEPT),
            bench: Workbench::new(1),
            pages: TreeReader::new(chunks.as_ref(), collection, root.clone()),
        }
    }

    /// Calls `each` with the content of a file, in order; holes are zeros. It is not compared with the file's hash: each chunk is what its
    /// key opens.
    ///
    /// # Errors
    /// [`ContentError`].
    pub fn read(&mut self, file: &FileEntry, each: &mut dyn FnMut(&[u8])) -> Result<(), ContentError> {
        let mut on = |bytes: &[u8]| {
            each(bytes);
            true
        };
        self.read_while(file, &mut on).map(drop)
    }

    /// The same, as long as `each` says that it goes on; whether it did to the end.
    ///
    /// # Errors
    /// [`ContentError`].
    pub fn read_while(&mut self, file: &FileEntry, each: &mut dyn FnMut(&[u8]) -> bool) -> Result<bool, ContentError> {
        for extent in self.pages.extents(file)? {
            match extent {
                Extent::Hole { mut len } => {
                    while len > 0 {
                        let part = len.min(ZEROS.len() as u64);
                        if !each(&ZEROS[..part as usize]) {
                            return Ok(false);
                        }
                        len -= part;
                    }
                }
                Extent::Data { chunk, offset, len } => {
                    let content = self.cache.get(&chunk, &mut self.bench)?;
                    if !each(content.slice(offset, len as usize).map_err(|_| ContentError::Outside)?) {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }
}

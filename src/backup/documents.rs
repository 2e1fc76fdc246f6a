//! The documents of a snapshot, read into memory: the way back of [`super::create::Extras`].

use std::num::NonZeroUsize;
use std::sync::Arc;

use jiff::Timestamp;

use super::cache::{ChunkCache, ReadChunkError};
use super::open::OpenSnapshot;
use crate::domain::chunk::Workbench;
use crate::domain::crypto::hash::FileHasher;
use crate::domain::metadata::entry::{EntryKind, Extent};
use crate::domain::metadata::path::TreePath;
use crate::source::Document;
use crate::store::{ChunkStore, TreeError};

/// A longer document is none, in bytes.
const MAX_BYTES: u64 = 64 << 20;
/// Opened chunks that are kept meanwhile.
const KEPT: NonZeroUsize = NonZeroUsize::new(8).expect("it is not zero");

/// Why the documents cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DocumentsError {
    /// The tree is not whole.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A chunk is not whole.
    #[error(transparent)]
    Chunk(#[from] ReadChunkError),
    /// A file is not what the tree says of it.
    #[error("the document {0} is not what its snapshot says of it: fetch the snapshot again, or use an earlier one")]
    Damaged(TreePath),
    /// A file is too long for a document.
    #[error("the document {0} is longer than 64 MiB")]
    TooLong(TreePath),
}

/// Reads all files of a snapshot, in tree order; each is compared with its own hash. Blocks.
///
/// # Errors
/// [`DocumentsError`].
pub fn documents(open: &OpenSnapshot, chunks: &Arc<dyn ChunkStore>) -> Result<Vec<Document>, DocumentsError> {
    let cache = ChunkCache::new(Arc::clone(chunks), open.collection(), KEPT);
    let mut bench = Workbench::new(1);
    let mut pages = open.tree(chunks.as_ref());
    let mut documents = Vec::new();
    for entry in open.tree(chunks.as_ref()) {
        let entry = entry?;
        let EntryKind::File(file) = &entry.kind else { continue };
        if file.size > MAX_BYTES {
            return Err(DocumentsError::TooLong(entry.path));
        }
        let mut bytes = Vec::with_capacity(file.size as usize);
        for extent in pages.extents(file)? {
            match extent {
                Extent::Hole { len } => bytes.resize(bytes.len() + len as usize, 0),
                Extent::Data { chunk, offset, len } => {
                    let content = cache.get(&chunk, &mut bench)?;
                    let part = content.slice(offset, len as usize);
                    bytes.extend_from_slice(part.map_err(|_| DocumentsError::Damaged(entry.path.clone()))?);
                }
            }
        }
        let mut hasher = FileHasher::default();
        hasher.update(&bytes);
        if bytes.len() as u64 != file.size || hasher.finish() != file.hash {
            return Err(DocumentsError::Damaged(entry.path));
        }
        let mtime = entry.attributes.mtime;
        let changed_at = Timestamp::new(mtime.secs, mtime.nanos as i32).unwrap_or(Timestamp::UNIX_EPOCH);
        documents.push(Document { path: entry.path, bytes, changed_at });
    }
    Ok(documents)
}

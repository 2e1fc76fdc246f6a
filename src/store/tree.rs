//! Walks the metadata tree of a snapshot, in path order, reading only what is wanted.
//!
//! The tree may come from another instance, so nothing in it is believed: levels go down by one, paths only go up, and
//! pages cover their file. Metadata chunks are opened through a small cache.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;

use super::chunks::{ChunkStore, ChunkStoreError};
use crate::domain::chunk::{ChunkContent, ChunkError, ChunkKind, ChunkRef, Workbench};
use crate::domain::id::{ChunkId, CollectionId};
use crate::domain::metadata::codec::CodecError;
use crate::domain::metadata::entry::{Entry, EntryKind, Extent, FileContent, FileEntry, NodeRef};
use crate::domain::metadata::node::{Child, Node, parse_page};
use crate::domain::metadata::path::TreePath;

const CACHED_CHUNKS: NonZeroUsize = NonZeroUsize::new(8).expect("eight is not zero");

/// Why a tree cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A metadata chunk is not here.
    #[error("metadata chunk {id} is missing: get it back with 'bulbil fetch', or from another copy of the repository")]
    Missing {
        /// Which one.
        id: ChunkId,
    },
    /// A metadata chunk does not open.
    #[error("metadata chunk {id} is damaged: run 'bulbil verify' to put it aside, then 'bulbil fetch' to get it back")]
    Damaged {
        /// Which one.
        id: ChunkId,
        /// What is wrong.
        #[source]
        cause: ChunkError,
    },
    /// A metadata chunk opens, but holds no tree.
    #[error("metadata in chunk {id} is malformed: the snapshot was made by a faulty or hostile program")]
    Malformed {
        /// Which one.
        id: ChunkId,
        /// What is wrong.
        #[source]
        cause: CodecError,
    },
    /// The tree is out of order.
    #[error("the snapshot's tree contradicts itself ({0}): it was made by a faulty or hostile program")]
    Contradiction(&'static str),
    /// A metadata chunk cannot be read.
    #[error("cannot read metadata")]
    Read(#[source] ChunkStoreError),
}

/// A place in the tree where reading goes on.
#[derive(Debug)]
enum Frame {
    Leaf(std::vec::IntoIter<Entry>),
    Inner { level: u8, children: std::iter::Peekable<std::vec::IntoIter<Child>> },
}

/// Reads the tree of one snapshot.
///
/// As an iterator it gives the entries in path order: all of them, or after [`seek`](Self::seek) those at and below a path.
/// After an error it gives no more. Between two entries [`extents`](Self::extents) may be called.
#[derive(Debug)]
pub struct TreeReader<'a> {
    chunks: &'a dyn ChunkStore,
    collection: CollectionId,
    root: Node,
    cache: LruCache<ChunkId, Arc<ChunkContent>>,
    bench: Workbench,
    stack: Vec<Frame>,
    within: Option<TreePath>,
    last: Option<TreePath>,
}

impl<'a> TreeReader<'a> {
    /// Reads the tree below `root`, whose chunks belong to `collection`.
    pub fn new(chunks: &'a dyn ChunkStore, collection: CollectionId, root: Node) -> Self {
        let mut reader = Self {
            chunks,
            collection,
            root,
            cache: LruCache::new(CACHED_CHUNKS),
            bench: Workbench::new(1),
            stack: Vec::new(),
            within: None,
            last: None,
        };
        reader.seek(None);
        reader
    }

    /// Starts again: with the first entry, or with `within` and what lies below it.
    pub fn seek(&mut self, within: Option<&TreePath>) {
        self.within = within.cloned();
        self.last = None;
        self.stack = vec![frame(self.root.clone())];
    }

    /// Calls `each` with every entry, or with those at and below `within`, in path order.
    ///
    /// # Errors
    /// [`TreeError`], and what `each` says.
    pub fn walk<E: From<TreeError>>(
        &mut self,
        within: Option<&TreePath>,
        mut each: impl FnMut(Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        self.seek(within);
        for entry in self.by_ref() {
            each(entry?)?;
        }
        Ok(())
    }

    /// The entry at a path.
    ///
    /// # Errors
    /// [`TreeError`].
    pub fn find(&mut self, path: &TreePath) -> Result<Option<Entry>, TreeError> {
        self.seek(Some(path));
        Ok(self.next().transpose()?.filter(|entry| entry.path == *path))
    }

    /// Where a file's content is; pages are resolved.
    ///
    /// # Errors
    /// [`TreeError`].
    pub fn extents(&mut self, file: &FileEntry) -> Result<Vec<Extent>, TreeError> {
        let pages = match &file.content {
            FileContent::Extents(extents) => return Ok(extents.clone()),
            FileContent::Pages(pages) => pages,
        };
        let mut extents = Vec::new();
        for page in pages {
            extents.extend(self.page(page)?);
        }
        let covered = extents.iter().try_fold(0u64, |sum, extent| sum.checked_add(extent.len()));
        if covered != Some(file.size) {
            return Err(TreeError::Contradiction("a file's pages do not cover it"));
        }
        Ok(extents)
    }

    /// Calls `each` with every chunk that the tree names, data and metadata, most of them several times. Nodes that
    /// are in `seen` are passed over with all that is below, and added to it: share it between snapshots.
    ///
    /// # Errors
    /// [`TreeError`].
    pub fn chunk_refs(
        &mut self,
        seen: &mut HashSet<(ChunkId, u32)>,
        mut each: impl FnMut(ChunkKind, &Arc<ChunkRef>),
    ) -> Result<(), TreeError> {
        let mut nodes = vec![self.root.clone()];
        while let Some(node) = nodes.pop() {
            match node {
                Node::Leaf(entries) => {
                    for entry in entries {
                        if let EntryKind::File(file) = entry.kind {
                            self.file_refs(&file, seen, &mut each)?;
                        }
                    }
                }
                Node::Inner { level, children } => {
                    for child in children {
                        each(ChunkKind::Meta, &child.node.chunk);
                        if seen.insert((child.node.chunk.id, child.node.offset)) {
                            nodes.push(self.child(level, &child)?);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn file_refs(
        &mut self,
        file: &FileEntry,
        seen: &mut HashSet<(ChunkId, u32)>,
        each: &mut impl FnMut(ChunkKind, &Arc<ChunkRef>),
    ) -> Result<(), TreeError> {
        let data = |extents: &[Extent], each: &mut dyn FnMut(ChunkKind, &Arc<ChunkRef>)| {
            for extent in extents {
                if let Extent::Data { chunk, .. } = extent {
                    each(ChunkKind::Data, chunk);
                }
            }
        };
        match &file.content {
            FileContent::Extents(extents) => data(extents, each),
            FileContent::Pages(pages) => {
                for page in pages {
                    each(ChunkKind::Meta, &page.chunk);
                    if seen.insert((page.chunk.id, page.offset)) {
                        data(&self.page(page)?, each);
                    }
                }
            }
        }
        Ok(())
    }

    fn page(&mut self, page: &NodeRef) -> Result<Vec<Extent>, TreeError> {
        let content = self.content(&page.chunk)?;
        let bytes = slice(&content, page)?;
        parse_page(bytes).map_err(|cause| TreeError::Malformed { id: page.chunk.id, cause })
    }

    /// Reads a node that stands below one of `level`.
    fn child(&mut self, level: u8, child: &Child) -> Result<Node, TreeError> {
        let content = self.content(&child.node.chunk)?;
        let node = Node::parse(slice(&content, &child.node)?)
            .map_err(|cause| TreeError::Malformed { id: child.node.chunk.id, cause })?;
        let below = match &node {
            Node::Leaf(_) => 0,
            Node::Inner { level, .. } => *level,
        };
        if below + 1 != level {
            return Err(TreeError::Contradiction("a node stands on the wrong level"));
        }
        if node.first() != Some(&child.first) {
            return Err(TreeError::Contradiction("a node does not begin where it should"));
        }
        Ok(node)
    }

    fn content(&mut self, chunk: &Arc<ChunkRef>) -> Result<Arc<ChunkContent>, TreeError> {
        if let Some(content) = self.cache.get(&chunk.id) {
            return Ok(content.clone());
        }
        let stored = self.chunks.read(&chunk.id).map_err(|error| match error {
            ChunkStoreError::Missing { id } => TreeError::Missing { id },
            other => TreeError::Read(other),
        })?;
        let content = ChunkContent::open(&stored, &chunk.key, ChunkKind::Meta, &self.collection, &mut self.bench)
            .map_err(|cause| TreeError::Damaged { id: chunk.id, cause })?;
        let content = Arc::new(content);
        self.cache.put(chunk.id, content.clone());
        Ok(content)
    }

    /// The next entry that is wanted.
    fn step(&mut self) -> Result<Option<Entry>, TreeError> {
        while let Some(frame) = self.stack.last_mut() {
            let (level, child) = match frame {
                Frame::Leaf(entries) => {
                    let Some(entry) = entries.next() else {
                        self.stack.pop();
                        continue;
                    };
                    if self.last.as_ref().is_some_and(|last| *last >= entry.path) {
                        return Err(TreeError::Contradiction("paths are out of order"));
                    }
                    self.last = Some(entry.path.clone());
                    match &self.within {
                        Some(within) if entry.path < *within => continue,
                        Some(within) if !entry.path.is_within(within) => {
                            self.stack.clear();
                            return Ok(None);
                        }
                        _ => return Ok(Some(entry)),
                    }
                }
                Frame::Inner { level, children } => {
                    let Some(child) = children.next() else {
                        self.stack.pop();
                        continue;
                    };
                    if let Some(within) = &self.within {
                        if children.peek().is_some_and(|next| next.first <= *within) {
                            continue;
                        }
                        if child.first > *within && !child.first.is_within(within) {
                            self.stack.clear();
                            return Ok(None);
                        }
                    }
                    (*level, child)
                }
            };
            let node = self.child(level, &child)?;
            self.stack.push(self::frame(node));
        }
        Ok(None)
    }
}

impl Iterator for TreeReader<'_> {
    type Item = Result<Entry, TreeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.stack.clear();
        }
        step.transpose()
    }
}

fn frame(node: Node) -> Frame {
    match node {
        Node::Leaf(entries) => Frame::Leaf(entries.into_iter()),
        Node::Inner { level, children } => Frame::Inner { level, children: children.into_iter().peekable() },
    }
}

fn slice<'c>(content: &'c ChunkContent, place: &NodeRef) -> Result<&'c [u8], TreeError> {
    content.slice(place.offset, place.len as usize).map_err(|cause| TreeError::Damaged { id: place.chunk.id, cause })
}

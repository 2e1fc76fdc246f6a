//! Builds the metadata tree while entries arrive in order.

use std::collections::HashMap;

use crate::domain::crypto::hash::FragmentKey;
use crate::domain::id::ChunkId;
use crate::domain::metadata::entry::{Entry, EntryKind, Extent, FileContent, NodeRef};
use crate::domain::metadata::node::{Child, Node, encode_page, ends_inner, ends_leaf};
use crate::domain::metadata::path::TreePath;

use super::bins::{BinKind, Bins, SealError};
use super::dedup::{Fragments, Place};

/// A file with more extents than this gets pages.
const MAX_EXTENTS: usize = 256;
/// A guess of an entry's encoded length, to end leaves in time.
const ENTRY_BYTES: usize = 64;
/// A guess of a child's encoded length.
const CHILD_BYTES: usize = 16;
/// An inner node is ended when it may be longer than this, in bytes.
const MAX_INNER_BYTES: usize = 1 << 20;

/// A finished node whose chunk may still be open.
#[derive(Clone)]
struct Built {
    first: TreePath,
    place: Place,
    entries: u64,
}

/// The tree so far.
#[derive(Clone)]
pub struct TreeBuilder<'a> {
    names: &'a FragmentKey,
    leaf: Vec<Entry>,
    leaf_bytes: usize,
    leaves: Vec<Built>,
    used: HashMap<ChunkId, u64>,
}

impl<'a> TreeBuilder<'a> {
    /// An empty tree. `names` names metadata nodes.
    pub fn new(names: &'a FragmentKey) -> Self {
        Self { names, leaf: Vec::new(), leaf_bytes: 0, leaves: Vec::new(), used: HashMap::new() }
    }

    /// Notes that the snapshot leans on the chunks of these extents.
    pub fn uses_extents(&mut self, extents: &[Extent]) {
        for extent in extents {
            if let Extent::Data { chunk, len, .. } = extent {
                self.uses(&chunk.id, *len);
            }
        }
    }

    fn uses(&mut self, chunk: &ChunkId, len: u32) {
        *self.used.entry(*chunk).or_default() += u64::from(len);
    }

    /// Adds the next entry. All its extents are in sealed chunks, and [`uses_extents`](Self::uses_extents) has seen them.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn push(&mut self, entry: Entry, bins: &mut Bins, fragments: &mut Fragments) -> Result<(), SealError> {
        if let EntryKind::File(file) = &entry.kind {
            if let FileContent::Pages(pages) = &file.content {
                pages.iter().for_each(|page| self.uses(&page.chunk.id, page.len));
            }
            self.leaf_bytes += match &file.content {
                FileContent::Extents(extents) => extents.len() * 8,
                FileContent::Pages(pages) => pages.len() * 8,
            };
        }
        self.leaf_bytes += ENTRY_BYTES
            + entry.path.as_bytes().len()
            + entry.attributes.xattrs.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>();
        let ends = ends_leaf(&entry.path, self.leaf.len() + 1, self.leaf_bytes);
        self.leaf.push(entry);
        if ends {
            self.end_leaf(bins, fragments)?;
        }
        Ok(())
    }

    fn end_leaf(&mut self, bins: &mut Bins, fragments: &mut Fragments) -> Result<(), SealError> {
        self.leaf_bytes = 0;
        let node = Node::Leaf(std::mem::take(&mut self.leaf));
        if let Some(built) = store(&node, self.names, bins, fragments)? {
            self.leaves.push(built);
        }
        Ok(())
    }

    /// Writes the upper levels and answers the root node, which goes into the manifest.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn finish(&mut self, bins: &mut Bins, fragments: &mut Fragments) -> Result<Node, SealError> {
        if self.leaves.is_empty() {
            return Ok(Node::Leaf(std::mem::take(&mut self.leaf)));
        }
        self.end_leaf(bins, fragments)?;
        let mut built = std::mem::take(&mut self.leaves);
        for level in 1.. {
            bins.flush(BinKind::Meta)?;
            bins.settle(fragments)?;
            let mut nodes = Vec::new();
            let mut children = Vec::new();
            let mut bytes = 0;
            for below in built {
                let node = node_ref(&below.place, fragments);
                self.uses(&node.chunk.id, node.len);
                bytes += CHILD_BYTES + below.first.as_bytes().len();
                let ends = bytes >= MAX_INNER_BYTES || ends_inner(&below.first, level, children.len() + 1);
                children.push(Child { first: below.first, node, entries: below.entries });
                if ends {
                    bytes = 0;
                    nodes.push(Node::Inner { level, children: std::mem::take(&mut children) });
                }
            }
            if !children.is_empty() {
                nodes.push(Node::Inner { level, children });
            }
            if nodes.len() == 1 {
                return Ok(nodes.remove(0));
            }
            built = Vec::with_capacity(nodes.len());
            for node in &nodes {
                built.extend(store(node, self.names, bins, fragments)?);
            }
        }
        unreachable!("each level has fewer nodes than the one below")
    }

    /// The chunks on which the snapshot leans, and how many bytes of each it needs; the builder is done with them.
    pub fn take_used(&mut self) -> HashMap<ChunkId, u64> {
        std::mem::take(&mut self.used)
    }
}

/// Puts a large file's extents into pages. Where a page ends is decided by the extent, so that pages are found again.
///
/// # Errors
/// [`SealError`].
pub fn paged(
    extents: Vec<Extent>,
    names: &FragmentKey,
    bins: &mut Bins,
    fragments: &mut Fragments,
) -> Result<FileContent, SealError> {
    if extents.len() <= MAX_EXTENTS {
        return Ok(FileContent::Extents(extents));
    }
    let mut places = Vec::new();
    let mut page = Vec::new();
    for extent in extents {
        let ends = page.len() + 1 >= 1024 || (page.len() >= 16 && ends_page(&extent));
        page.push(extent);
        if ends {
            places.push(put(&encode_page(&page), names, bins, fragments)?);
            page.clear();
        }
    }
    if !page.is_empty() {
        places.push(put(&encode_page(&page), names, bins, fragments)?);
    }
    bins.flush(BinKind::Meta)?;
    bins.settle(fragments)?;
    Ok(FileContent::Pages(places.iter().map(|place| node_ref(place, fragments)).collect()))
}

fn ends_page(extent: &Extent) -> bool {
    match extent {
        Extent::Hole { .. } => false,
        Extent::Data { chunk, offset, .. } => {
            let id = u32::from_le_bytes(chunk.id.as_bytes()[..4].try_into().expect("an id has 32 bytes"));
            (id ^ offset.wrapping_mul(0x9e37_79b9)) >> 16 & 127 == 0
        }
    }
}

fn store(
    node: &Node,
    names: &FragmentKey,
    bins: &mut Bins,
    fragments: &mut Fragments,
) -> Result<Option<Built>, SealError> {
    let Some(first) = node.first() else { return Ok(None) };
    let place = put(&node.encode(), names, bins, fragments)?;
    Ok(Some(Built { first: first.clone(), place, entries: node.entries() }))
}

fn put(bytes: &[u8], names: &FragmentKey, bins: &mut Bins, fragments: &mut Fragments) -> Result<Place, SealError> {
    let name = names.name_of(bytes);
    match fragments.find(&name, bytes.len() as u32) {
        Some(place) => Ok(place),
        None => bins.put(fragments, BinKind::Meta, name, bytes),
    }
}

fn node_ref(place: &Place, fragments: &Fragments) -> NodeRef {
    let chunk = fragments.chunk(place.slot).expect("the bins were settled").clone();
    NodeRef { chunk, offset: place.offset, len: place.len }
}

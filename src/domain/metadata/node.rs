//! Nodes of the metadata tree and their encoding.
//!
//! ```text
//! node    = 0x01 ‖ kind (0 leaf, 1 inner, 2 page) ‖ count ‖ count × (chunk id 32 ‖ chunk key 32) ‖ body
//! leaf    = count ‖ entries                      entries sorted by path, each path front-coded against the one before
//! inner   = level ‖ count ‖ count × (first path, front-coded ‖ place ‖ entries below)
//! page    = count ‖ extents
//! place   = chunk (index into the table above) ‖ offset ‖ length
//! extent  = 0 ‖ length  (a hole)   |   chunk index + 1 ‖ offset ‖ length
//! ```
//!
//! Numbers are varints. Everything a node needs to be read stands in it: no node depends on its neighbours, so that equal
//! stretches of two snapshots are equal bytes. See `docs/format.md` for the entry's fields.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::chunk::{ChunkRef, MAX_CONTENT};
use crate::domain::crypto::hash::FileHash;
use crate::domain::crypto::secret::Secret;
use crate::domain::id::ChunkId;

use super::codec::{CodecError, Reader, put_bytes, put_i64, put_u64};
use super::entry::{Attributes, Entry, EntryKind, Extent, FileContent, FileEntry, FileTime, NodeRef};
use super::path::{MAX_PATH, TreePath};

const VERSION: u8 = 1;
/// Most levels of inner nodes; 2¹⁶ entries a node make this far more than any tree has.
pub const MAX_LEVEL: u8 = 12;
/// One leaf holds at most this many entries.
const MAX_LEAF_ENTRIES: usize = 512;
/// A leaf is ended when it is longer than this, in bytes.
const MAX_LEAF_BYTES: usize = 64 << 10;
const MAX_XATTRS: u64 = 4096;

const FLAG_XATTRS: u8 = 0x10;
const FLAG_CHANGED: u8 = 0x20;
const FLAG_PAGES: u8 = 0x40;
const FLAG_CTIME_IS_MTIME: u8 = 0x80;

/// A node of the tree.
#[derive(Debug, Clone)]
pub enum Node {
    /// Entries, sorted by path.
    Leaf(Vec<Entry>),
    /// References to nodes one level below, sorted by path.
    Inner {
        /// 1 above leaves, and so on.
        level: u8,
        /// The nodes below.
        children: Vec<Child>,
    },
}

/// A reference to a node, with what a search needs.
#[derive(Debug, Clone)]
pub struct Child {
    /// Path of the first entry below.
    pub first: TreePath,
    /// Where the node is.
    pub node: NodeRef,
    /// How many entries are below.
    pub entries: u64,
}

impl Node {
    /// The first entry's path; `None` for an empty tree.
    pub fn first(&self) -> Option<&TreePath> {
        match self {
            Node::Leaf(entries) => entries.first().map(|entry| &entry.path),
            Node::Inner { children, .. } => children.first().map(|child| &child.first),
        }
    }

    /// How many entries are in or below it.
    pub fn entries(&self) -> u64 {
        match self {
            Node::Leaf(entries) => entries.len() as u64,
            Node::Inner { children, .. } => children.iter().map(|child| child.entries).sum(),
        }
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Node::Leaf(entries) => encode_leaf(entries),
            Node::Inner { level, children } => encode_inner(*level, children),
        }
    }

    /// Reads a stored form.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        let kind = head(&mut reader)?;
        let chunks = read_table(&mut reader)?;
        let node = match kind {
            0 => Node::Leaf(read_leaf(&mut reader, &chunks)?),
            1 => {
                let level = reader.byte()?;
                if level == 0 || level > MAX_LEVEL {
                    return Err(CodecError("a level is out of bounds"));
                }
                Node::Inner { level, children: read_children(&mut reader, &chunks)? }
            }
            _ => return Err(CodecError("this kind of node does not belong here")),
        };
        reader.end()?;
        Ok(node)
    }
}

/// The stored form of a page: a stretch of a large file's extents.
pub fn encode_page(extents: &[Extent]) -> Vec<u8> {
    let mut table = Table::default();
    let mut body = Vec::with_capacity(extents.len() * 8);
    put_extents(&mut body, extents, &mut table);
    table.frame(2, &body)
}

/// Reads a page.
///
/// # Errors
/// [`CodecError`].
pub fn parse_page(bytes: &[u8]) -> Result<Vec<Extent>, CodecError> {
    let mut reader = Reader::new(bytes);
    if head(&mut reader)? != 2 {
        return Err(CodecError("this kind of node does not belong here"));
    }
    let chunks = read_table(&mut reader)?;
    let extents = read_extents(&mut reader, &chunks)?;
    reader.end()?;
    Ok(extents)
}

/// Whether a leaf ends behind an entry with this path: one in 32 does, by a hash of the path.
pub fn ends_leaf(path: &TreePath, entries: usize, bytes: usize) -> bool {
    entries >= MAX_LEAF_ENTRIES || bytes >= MAX_LEAF_BYTES || (entries >= 4 && path_hash(path, 0).is_multiple_of(32))
}

/// Whether an inner node of `level` ends behind a child with this first path: one in 64 does.
pub fn ends_inner(first: &TreePath, level: u8, children: usize) -> bool {
    children >= 1024 || (children >= 4 && path_hash(first, level).is_multiple_of(64))
}

fn path_hash(path: &TreePath, level: u8) -> u32 {
    let hash = blake3::hash(path.as_bytes());
    let at = usize::from(level % 8) * 4;
    u32::from_le_bytes(hash.as_bytes()[at..at + 4].try_into().expect("eight times four bytes are a hash"))
}

/// The chunks that a node names, each once.
#[derive(Default)]
struct Table<'a> {
    index: HashMap<ChunkId, u64>,
    chunks: Vec<&'a ChunkRef>,
}

impl<'a> Table<'a> {
    fn index_of(&mut self, chunk: &'a Arc<ChunkRef>) -> u64 {
        if let Some(last) = self.chunks.last().filter(|last| last.id == chunk.id) {
            return self.index[&last.id];
        }
        *self.index.entry(chunk.id).or_insert_with(|| {
            self.chunks.push(chunk);
            self.chunks.len() as u64 - 1
        })
    }

    fn frame(&self, kind: u8, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(12 + self.chunks.len() * 64 + body.len());
        out.extend_from_slice(&[VERSION, kind]);
        put_u64(&mut out, self.chunks.len() as u64);
        for chunk in &self.chunks {
            out.extend_from_slice(chunk.id.as_bytes());
            out.extend_from_slice(chunk.key.secret().expose());
        }
        out.extend_from_slice(body);
        out
    }
}

fn head(reader: &mut Reader<'_>) -> Result<u8, CodecError> {
    if reader.byte()? != VERSION {
        return Err(CodecError("it is of a version this program does not know"));
    }
    reader.byte()
}

fn read_table(reader: &mut Reader<'_>) -> Result<Vec<Arc<ChunkRef>>, CodecError> {
    let count = reader.count(64)?;
    (0..count)
        .map(|_| {
            let id = ChunkId::from_slice(reader.take(ChunkId::LEN)?).expect("it was cut to an id's length");
            let key = Secret::from_slice(reader.take(32)?).expect("it was cut to a key's length");
            Ok(ChunkRef::new(id, key))
        })
        .collect()
}

/// Appends `path` as the number of bytes shared with `before`, and the rest.
fn put_path(out: &mut Vec<u8>, before: &[u8], path: &TreePath) {
    let shared = before.iter().zip(path.as_bytes()).take_while(|(a, b)| a == b).count();
    put_u64(out, shared as u64);
    put_bytes(out, &path.as_bytes()[shared..]);
}

fn read_path(reader: &mut Reader<'_>, before: &[u8]) -> Result<TreePath, CodecError> {
    let shared = reader.u64_up_to(before.len() as u64)? as usize;
    let rest = reader.bytes()?;
    if shared + rest.len() > MAX_PATH {
        return Err(CodecError("a path is too long"));
    }
    TreePath::new([&before[..shared], rest].concat()).map_err(|_| CodecError("a path climbs or is empty"))
}

fn encode_leaf(entries: &[Entry]) -> Vec<u8> {
    let mut table = Table::default();
    let mut body = Vec::with_capacity(entries.len() * 64);
    put_u64(&mut body, entries.len() as u64);
    let mut path: &[u8] = b"";
    let (mut mtime, mut inode) = (0i64, 0u64);
    for entry in entries {
        put_path(&mut body, path, &entry.path);
        let at = &entry.attributes;
        let code = match &entry.kind {
            EntryKind::File(_) => 0,
            EntryKind::Directory => 1,
            EntryKind::Symlink { .. } => 2,
            EntryKind::HardLink { .. } => 3,
            EntryKind::Fifo => 4,
            EntryKind::Socket => 5,
            EntryKind::CharDevice { .. } => 6,
            EntryKind::BlockDevice { .. } => 7,
        };
        let mut flags = code;
        if !at.xattrs.is_empty() {
            flags |= FLAG_XATTRS;
        }
        if at.ctime == at.mtime {
            flags |= FLAG_CTIME_IS_MTIME;
        }
        if let EntryKind::File(file) = &entry.kind {
            if file.changed_while_read {
                flags |= FLAG_CHANGED;
            }
            if matches!(file.content, FileContent::Pages(_)) {
                flags |= FLAG_PAGES;
            }
        }
        body.push(flags);
        put_u64(&mut body, u64::from(at.mode));
        put_u64(&mut body, u64::from(at.uid));
        put_u64(&mut body, u64::from(at.gid));
        put_i64(&mut body, at.mtime.secs.wrapping_sub(mtime));
        put_u64(&mut body, u64::from(at.mtime.nanos));
        if at.ctime != at.mtime {
            put_i64(&mut body, at.ctime.secs.wrapping_sub(at.mtime.secs));
            put_u64(&mut body, u64::from(at.ctime.nanos));
        }
        put_i64(&mut body, at.inode.wrapping_sub(inode) as i64);
        if !at.xattrs.is_empty() {
            put_u64(&mut body, at.xattrs.len() as u64);
            for (name, value) in &at.xattrs {
                put_bytes(&mut body, name);
                put_bytes(&mut body, value);
            }
        }
        match &entry.kind {
            EntryKind::File(file) => put_file(&mut body, file, &mut table),
            EntryKind::Symlink { target } => put_bytes(&mut body, target),
            EntryKind::HardLink { to } => put_bytes(&mut body, to.as_bytes()),
            EntryKind::CharDevice { rdev } | EntryKind::BlockDevice { rdev } => put_u64(&mut body, *rdev),
            EntryKind::Directory | EntryKind::Fifo | EntryKind::Socket => {}
        }
        path = entry.path.as_bytes();
        mtime = at.mtime.secs;
        inode = at.inode;
    }
    table.frame(0, &body)
}

fn read_leaf(reader: &mut Reader<'_>, chunks: &[Arc<ChunkRef>]) -> Result<Vec<Entry>, CodecError> {
    let count = reader.count(8)?;
    let mut entries: Vec<Entry> = Vec::with_capacity(count);
    let (mut mtime, mut inode) = (0i64, 0u64);
    for _ in 0..count {
        let before = entries.last().map_or(b"".as_slice(), |entry| entry.path.as_bytes());
        let path = read_path(reader, before)?;
        if entries.last().is_some_and(|last| last.path >= path) {
            return Err(CodecError("entries are out of order"));
        }
        let flags = reader.byte()?;
        let mode = reader.u32()?;
        if mode > 0o7777 {
            return Err(CodecError("a mode has bits that it cannot have"));
        }
        let (uid, gid) = (reader.u32()?, reader.u32()?);
        let modified = FileTime { secs: mtime.wrapping_add(reader.i64()?), nanos: read_nanos(reader)? };
        let ctime = if flags & FLAG_CTIME_IS_MTIME != 0 {
            modified
        } else {
            FileTime { secs: modified.secs.wrapping_add(reader.i64()?), nanos: read_nanos(reader)? }
        };
        inode = inode.wrapping_add(reader.i64()? as u64);
        mtime = modified.secs;
        let mut xattrs = Vec::new();
        if flags & FLAG_XATTRS != 0 {
            for _ in 0..reader.u64_up_to(MAX_XATTRS)? {
                let name = reader.bytes()?;
                if name.is_empty() || name.contains(&0) {
                    return Err(CodecError("an attribute's name is empty or holds a NUL byte"));
                }
                xattrs.push((name.to_vec(), reader.bytes()?.to_vec()));
            }
        }
        let kind = match flags & 0x0f {
            0 => EntryKind::File(read_file(reader, chunks, flags)?),
            1 => EntryKind::Directory,
            2 => {
                let target = reader.bytes()?;
                if target.is_empty() || target.contains(&0) || target.len() > MAX_PATH {
                    return Err(CodecError("a link's target is empty, too long, or holds a NUL byte"));
                }
                EntryKind::Symlink { target: target.to_vec() }
            }
            3 => EntryKind::HardLink {
                to: TreePath::new(reader.bytes()?.to_vec()).map_err(|_| CodecError("a path climbs or is empty"))?,
            },
            4 => EntryKind::Fifo,
            5 => EntryKind::Socket,
            6 => EntryKind::CharDevice { rdev: reader.u64()? },
            7 => EntryKind::BlockDevice { rdev: reader.u64()? },
            _ => return Err(CodecError("an entry is of a kind this program does not know")),
        };
        entries.push(Entry {
            path,
            attributes: Attributes { mode, uid, gid, mtime: modified, ctime, inode, xattrs },
            kind,
        });
    }
    Ok(entries)
}

fn read_nanos(reader: &mut Reader<'_>) -> Result<u32, CodecError> {
    reader.u64_up_to(999_999_999).map(|nanos| nanos as u32)
}

fn put_file<'a>(out: &mut Vec<u8>, file: &'a FileEntry, table: &mut Table<'a>) {
    put_u64(out, file.size);
    if file.size == 0 {
        return;
    }
    out.extend_from_slice(file.hash.as_bytes());
    match &file.content {
        FileContent::Extents(extents) => put_extents(out, extents, table),
        FileContent::Pages(pages) => {
            put_u64(out, pages.len() as u64);
            for page in pages {
                put_place(out, page, table);
            }
        }
    }
}

fn read_file(reader: &mut Reader<'_>, chunks: &[Arc<ChunkRef>], flags: u8) -> Result<FileEntry, CodecError> {
    let size = reader.u64()?;
    let changed_while_read = flags & FLAG_CHANGED != 0;
    if size == 0 {
        return Ok(FileEntry {
            size,
            hash: FileHash::of(b""),
            content: FileContent::Extents(Vec::new()),
            changed_while_read,
        });
    }
    let hash = FileHash(reader.take(32)?.try_into().expect("it was cut to a hash's length"));
    let content = if flags & FLAG_PAGES != 0 {
        let count = reader.count(3)?;
        FileContent::Pages((0..count).map(|_| read_place(reader, chunks)).collect::<Result<_, _>>()?)
    } else {
        let extents = read_extents(reader, chunks)?;
        let covered = extents.iter().try_fold(0u64, |sum, extent| sum.checked_add(extent.len()));
        if covered != Some(size) {
            return Err(CodecError("a file's extents do not cover it"));
        }
        FileContent::Extents(extents)
    };
    Ok(FileEntry { size, hash, content, changed_while_read })
}

fn put_extents<'a>(out: &mut Vec<u8>, extents: &'a [Extent], table: &mut Table<'a>) {
    put_u64(out, extents.len() as u64);
    for extent in extents {
        match extent {
            Extent::Hole { len } => {
                put_u64(out, 0);
                put_u64(out, *len);
            }
            Extent::Data { chunk, offset, len } => {
                put_u64(out, table.index_of(chunk) + 1);
                put_u64(out, u64::from(*offset));
                put_u64(out, u64::from(*len));
            }
        }
    }
}

fn read_extents(reader: &mut Reader<'_>, chunks: &[Arc<ChunkRef>]) -> Result<Vec<Extent>, CodecError> {
    let count = reader.count(2)?;
    (0..count)
        .map(|_| {
            let extent = match reader.u64_up_to(chunks.len() as u64)? {
                0 => Extent::Hole { len: reader.u64()? },
                index => {
                    let (offset, len) = read_stretch(reader)?;
                    Extent::Data { chunk: chunks[index as usize - 1].clone(), offset, len }
                }
            };
            if extent.is_empty() { Err(CodecError("an extent is empty")) } else { Ok(extent) }
        })
        .collect()
}

fn read_stretch(reader: &mut Reader<'_>) -> Result<(u32, u32), CodecError> {
    let offset = reader.u64_up_to(MAX_CONTENT as u64)? as u32;
    let len = reader.u64_up_to(MAX_CONTENT as u64 - u64::from(offset))? as u32;
    Ok((offset, len))
}

fn put_place<'a>(out: &mut Vec<u8>, node: &'a NodeRef, table: &mut Table<'a>) {
    put_u64(out, table.index_of(&node.chunk));
    put_u64(out, u64::from(node.offset));
    put_u64(out, u64::from(node.len));
}

fn read_place(reader: &mut Reader<'_>, chunks: &[Arc<ChunkRef>]) -> Result<NodeRef, CodecError> {
    let chunk = chunks.get(reader.u64()? as usize).ok_or(CodecError("a chunk is not in the node's table"))?.clone();
    let (offset, len) = read_stretch(reader)?;
    Ok(NodeRef { chunk, offset, len })
}

fn encode_inner(level: u8, children: &[Child]) -> Vec<u8> {
    let mut table = Table::default();
    let mut body = vec![level];
    put_u64(&mut body, children.len() as u64);
    let mut path: &[u8] = b"";
    for child in children {
        put_path(&mut body, path, &child.first);
        put_place(&mut body, &child.node, &mut table);
        put_u64(&mut body, child.entries);
        path = child.first.as_bytes();
    }
    table.frame(1, &body)
}

fn read_children(reader: &mut Reader<'_>, chunks: &[Arc<ChunkRef>]) -> Result<Vec<Child>, CodecError> {
    let count = reader.count(6)?;
    let mut children: Vec<Child> = Vec::with_capacity(count);
    for _ in 0..count {
        let before = children.last().map_or(b"".as_slice(), |child| child.first.as_bytes());
        let first = read_path(reader, before)?;
        if children.last().is_some_and(|last| last.first >= first) {
            return Err(CodecError("nodes are out of order"));
        }
        children.push(Child { first, node: read_place(reader, chunks)?, entries: reader.u64_up_to(1 << 48)? });
    }
    Ok(children)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chunk(n: u8) -> Arc<ChunkRef> {
        ChunkRef::new(ChunkId::of(&[n]), Secret::from_bytes([n; 32]))
    }

    fn kind() -> impl Strategy<Value = EntryKind> {
        let extent = prop_oneof![
            (1u64..1 << 40).prop_map(|len| Extent::Hole { len }),
            (0u8..5, 0u32..1 << 20, 1u32..1 << 20).prop_map(|(n, offset, len)| Extent::Data {
                chunk: chunk(n),
                offset,
                len
            }),
        ];
        prop_oneof![
            (prop::collection::vec(extent, 0..6), any::<bool>()).prop_map(|(extents, changed_while_read)| {
                let size = extents.iter().map(Extent::len).sum::<u64>();
                let hash = if size == 0 { FileHash::of(b"") } else { FileHash::of(&size.to_be_bytes()) };
                EntryKind::File(FileEntry { size, hash, content: FileContent::Extents(extents), changed_while_read })
            }),
            Just(EntryKind::Directory),
            Just(EntryKind::Fifo),
            Just(EntryKind::Socket),
            any::<u64>().prop_map(|rdev| EntryKind::CharDevice { rdev }),
            any::<u64>().prop_map(|rdev| EntryKind::BlockDevice { rdev }),
            prop::collection::vec(1u8..255, 1..20).prop_map(|target| EntryKind::Symlink { target }),
            Just(EntryKind::HardLink { to: TreePath::new(b"a/b".to_vec()).unwrap() }),
            (0u8..5, 0u32..99, 0u32..99).prop_map(|(n, offset, len)| EntryKind::File(FileEntry {
                size: 1 << 50,
                hash: FileHash::of(b"x"),
                content: FileContent::Pages(vec![NodeRef { chunk: chunk(n), offset, len }]),
                changed_while_read: false,
            })),
        ]
    }

    prop_compose! {
        fn attributes()(mode in 0u32..0o10000, uid: u32, gid: u32, secs: i64, nanos in 0u32..1_000_000_000, same: bool,
                        inode: u64, xattr in prop::option::of((1u8..255, any::<Vec<u8>>()))) -> Attributes {
            let mtime = FileTime { secs, nanos };
            let ctime = if same { mtime } else { FileTime { secs: secs.wrapping_add(7), nanos: nanos / 2 } };
            let xattrs = xattr.into_iter().map(|(name, value)| (vec![name], value)).collect();
            Attributes { mode, uid, gid, mtime, ctime, inode, xattrs }
        }
    }

    proptest! {
        #[test]
        fn leaves_round_trip(things in prop::collection::btree_map("[a-c]{1,3}(/[a-d]{1,2}){0,3}", (attributes(), kind()), 0..40)) {
            let mut entries: Vec<Entry> = things
                .into_iter()
                .map(|(path, (attributes, kind))| Entry { path: TreePath::new(path.into_bytes()).unwrap(), attributes, kind })
                .collect();
            entries.sort_by(|a, b| a.path.cmp(&b.path));
            let bytes = Node::Leaf(entries.clone()).encode();
            let Node::Leaf(parsed) = Node::parse(&bytes).unwrap() else { panic!("a leaf was written") };
            prop_assert_eq!(format!("{parsed:?}"), format!("{entries:?}"));
            prop_assert_eq!(Node::Leaf(parsed).encode(), bytes);
        }

        #[test]
        fn no_bytes_make_a_parser_panic(mut bytes: Vec<u8>, kind in 0u8..4) {
            if bytes.len() > 2 {
                bytes[0] = 1;
                bytes[1] = kind;
                bytes[2] %= 2;
            }
            let _ = Node::parse(&bytes);
            let _ = parse_page(&bytes);
        }

        #[test]
        fn inner_nodes_round_trip(count in 0u8..60) {
            let children: Vec<Child> = (0..count)
                .map(|n| Child {
                    first: TreePath::new(format!("r/{n:03}").into_bytes()).unwrap(),
                    node: NodeRef { chunk: chunk(n % 3), offset: u32::from(n), len: 9 },
                    entries: u64::from(n),
                })
                .collect();
            let bytes = Node::Inner { level: 2, children }.encode();
            prop_assert_eq!(Node::parse(&bytes).unwrap().encode(), bytes);
        }
    }

    #[test]
    fn entries_out_of_order_are_refused() {
        let entry = |path: &str| Entry {
            path: TreePath::new(path.as_bytes().to_vec()).unwrap(),
            attributes: Attributes::default(),
            kind: EntryKind::Directory,
        };
        assert!(Node::parse(&Node::Leaf(vec![entry("a"), entry("b")]).encode()).is_ok());
        assert!(Node::parse(&Node::Leaf(vec![entry("b"), entry("a")]).encode()).is_err());
        assert!(Node::parse(&Node::Leaf(vec![entry("a"), entry("a")]).encode()).is_err());
    }
}

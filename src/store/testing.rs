//! Small repositories for tests.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use super::index::{Collection, CollectionKind, CollectionSettings, NewChunk, NewCollection, NewSnapshot, Peer, Root};
use super::{CreateOptions, Keys, Store, entropy, fresh_envelope_key, seal_chunk_secret};
use crate::domain::chunk::{ChunkBuilder, ChunkKind, ChunkRef, Padding, Workbench};
use crate::domain::crypto::aead::SealKey;
use crate::domain::crypto::hash::{FileHash, FragmentHash};
use crate::domain::crypto::keywrap::EnvelopeKey;
use crate::domain::crypto::recovery::RecoveryKey;
use crate::domain::crypto::sign::IdentityKey;
use crate::domain::envelope::SnapshotKey;
use crate::domain::feed::Cursor;
use crate::domain::id::{CollectionId, FeedId, InstanceId, ManifestId};
use crate::domain::identity::SignedIdentity;
use crate::domain::manifest::{FORMAT, Manifest, PrivatePart, SUITE, SegmentSummary, SignedManifest, Statistics};
use crate::domain::metadata::entry::{Attributes, Entry, EntryKind, Extent, FileContent, FileEntry, NodeRef};
use crate::domain::metadata::node::{Child, Node};
use crate::domain::metadata::path::TreePath;
use crate::domain::peer::{Rights, Role, Scope, Trust};
use crate::domain::segment::{Segment, SegmentEntry};

/// The envelope key of all tests: making one takes a second.
pub(crate) fn envelope_key() -> EnvelopeKey {
    static DER: LazyLock<Vec<u8>> = LazyLock::new(|| fresh_envelope_key().pkcs8_der().to_vec());
    EnvelopeKey::from_pkcs8_der(&DER).unwrap()
}

/// A home in a directory of its own.
pub(crate) struct TestStore {
    pub(crate) store: Store,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) recovery: RecoveryKey,
}

impl TestStore {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = CreateOptions { name: "test".into(), passphrase: None };
        let (store, recovery) =
            Store::create_with(&dir.path().join("home"), options, Some(envelope_key())).await.unwrap();
        Self { store, dir, recovery }
    }

    pub(crate) fn home(&self) -> std::path::PathBuf {
        self.dir.path().join("home")
    }

    pub(crate) async fn collection(&self, name: &str) -> Collection {
        let new = NewCollection {
            id: CollectionId::random(&mut entropy()),
            name: name.into(),
            origin: self.store.keys.instance(),
            settings: Some(CollectionSettings {
                application: None,
                roots: vec![Root { name: "data".into(), path: Path::new("/srv/100%/d").into() }],
                excludes: vec!["*.tmp".into()],
                level: 3,
                padding: Padding::None,
                kind: CollectionKind::Directory,
            }),
        };
        self.store.index.add_collection(&new).await.unwrap()
    }

    /// Makes, saves and commits a snapshot of some files; chunks that `base` has are used again.
    pub(crate) async fn snapshot(&self, make: MakeSnapshot<'_>) -> Made {
        let made = make.make(&self.store.keys.identity, Some(&self.store.keys), self.store.keys.instance());
        made.write(&self.store);
        self.store.manifests.save(&made.signed, &made.envelopes).unwrap();
        let new = NewSnapshot {
            capture: None,
            signed: &made.signed,
            segments: &made.segments,
            new_chunks: &made.new_chunks,
            shared: &[],
            supersedes: make.supersedes,
        };
        self.store.index.commit_snapshot(new).await.unwrap();
        made
    }

    /// A peer that is let in with these rights.
    pub(crate) async fn peer(&self, name: &str) -> Peer {
        let peer = peer(name);
        self.store.index.save_peer(&peer).await.unwrap();
        peer
    }
}

/// What a snapshot is made of.
#[derive(Clone, Copy)]
pub(crate) struct MakeSnapshot<'a> {
    pub(crate) collection: CollectionId,
    pub(crate) sequence: u64,
    pub(crate) created_at: &'a str,
    /// Paths and contents; each file is a chunk of its own.
    pub(crate) files: &'a [(&'a str, &'a [u8])],
    pub(crate) base: Option<&'a Made>,
    pub(crate) partial: bool,
    pub(crate) supersedes: Option<ManifestId>,
}

impl<'a> MakeSnapshot<'a> {
    pub(crate) fn new(collection: CollectionId, sequence: u64, files: &'a [(&'a str, &'a [u8])]) -> Self {
        let created_at = "2026-11-22T00:00:00Z";
        Self { collection, sequence, created_at, files, base: None, partial: false, supersedes: None }
    }

    pub(crate) fn make(&self, identity: &IdentityKey, keys: Option<&Keys>, instance: InstanceId) -> Made {
        let rng = &mut entropy();
        let bench = &mut Workbench::new(1);
        let mut made = Made {
            signed: placeholder(identity),
            segments: vec![],
            new_chunks: vec![],
            envelopes: vec![],
            key: SnapshotKey::random(rng),
            root: Node::Leaf(vec![]),
            data: vec![],
            stored: vec![],
        };
        let mut entries = Vec::new();
        let mut listed = Vec::new();
        let mut seal = |made: &mut Made, kind, content: &[u8]| {
            let mut builder = ChunkBuilder::new(kind, true);
            let name = FragmentHash::from_slice(&FileHash::of(content).as_bytes()[..16]).unwrap();
            builder.push(name, content);
            let sealed = builder.seal(&self.collection, SealKey::random(rng), Padding::None, bench).unwrap();
            if let Some(keys) = keys {
                made.new_chunks.push(NewChunk {
                    id: sealed.id,
                    size_bytes: sealed.stored.len() as u32,
                    sealed: seal_chunk_secret(&keys.master, &sealed.id, &sealed.key, sealed.fragments),
                });
            }
            let entry = SegmentEntry { id: sealed.id, size_bytes: sealed.stored.len() as u32 };
            made.stored.push((sealed.id, sealed.stored));
            (Arc::new(ChunkRef { id: sealed.id, key: sealed.key }), entry)
        };
        for (path, content) in self.files {
            let old = self.base.and_then(|base| base.data.iter().find(|(old, ..)| old == content));
            let (chunk, entry) = match old {
                Some((_, chunk, entry)) => (chunk.clone(), *entry),
                None => seal(&mut made, ChunkKind::Data, content),
            };
            listed.push(entry);
            made.data.push((content.to_vec(), chunk.clone(), entry));
            let extent = Extent::Data { chunk, offset: 0, len: content.len() as u32 };
            entries.push(Entry {
                path: TreePath::new(path.as_bytes().to_vec()).unwrap(),
                attributes: Attributes::default(),
                kind: EntryKind::File(FileEntry {
                    size: content.len() as u64,
                    hash: FileHash::of(content),
                    content: FileContent::Extents(vec![extent]),
                    changed_while_read: false,
                }),
            });
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        let mut children = Vec::new();
        for leaf in entries.chunks(2) {
            let bytes = Node::Leaf(leaf.to_vec()).encode();
            let (chunk, entry) = seal(&mut made, ChunkKind::Meta, &bytes);
            listed.push(entry);
            let node = NodeRef { chunk, offset: 0, len: bytes.len() as u32 };
            children.push(Child { first: leaf[0].path.clone(), node, entries: leaf.len() as u64 });
        }
        made.root = if children.is_empty() { Node::Leaf(vec![]) } else { Node::Inner { level: 1, children } };
        made.segments = listed.chunks(3).map(|entries| Segment::new(entries.to_vec())).collect();
        let private = PrivatePart {
            capture: None,
            name: "secret-name".into(),
            host: "alpha".into(),
            roots: vec![],
            excludes: vec![],
            statistics: Statistics::default(),
            padding: Padding::None,
            tree: data_encoding::BASE64.encode(&made.root.encode()),
        };
        let mut manifest = Manifest {
            instance,
            collection: self.collection,
            sequence: self.sequence,
            created_at: self.created_at.parse().unwrap(),
            parent: self.base.map(|base| base.signed.id),
            partial: self.partial,
            segments: made.segments.iter().map(SegmentSummary::from).collect(),
            chunks: listed.len() as u64,
            chunk_bytes: made.segments.iter().map(Segment::chunk_bytes).sum(),
            ..made.signed.manifest.clone()
        };
        manifest.seal_private(&private, &made.key);
        made.signed = manifest.sign(identity);
        if let Some(keys) = keys {
            made.envelopes.push(made.key.wrap_for_vault(&mut entropy(), &made.signed.id, &keys.master));
        }
        made
    }
}

fn placeholder(identity: &IdentityKey) -> SignedManifest {
    let manifest = Manifest {
        format: FORMAT.into(),
        suite: SUITE.into(),
        instance: identity.public().instance(),
        collection: CollectionId::from_slice(&[0; 16]).unwrap(),
        sequence: 1,
        parent: None,
        created_at: "2026-11-22T00:00:00Z".parse().unwrap(),
        partial: false,
        commitment: String::new(),
        segments: vec![],
        chunks: 0,
        chunk_bytes: 0,
        private: String::new(),
    };
    manifest.sign(identity)
}

/// A snapshot that was made by hand.
pub(crate) struct Made {
    pub(crate) signed: SignedManifest,
    pub(crate) segments: Vec<Segment>,
    pub(crate) new_chunks: Vec<NewChunk>,
    pub(crate) envelopes: Vec<crate::domain::envelope::Envelope>,
    pub(crate) key: SnapshotKey,
    pub(crate) root: Node,
    /// Content, its chunk, and its row in a segment.
    pub(crate) data: Vec<(Vec<u8>, Arc<ChunkRef>, SegmentEntry)>,
    /// Chunks that were sealed for it.
    pub(crate) stored: Vec<(crate::domain::id::ChunkId, Vec<u8>)>,
}

impl Made {
    /// Writes its chunks and segments, durably.
    pub(crate) fn write(&self, store: &Store) {
        for (id, bytes) in &self.stored {
            store.chunks.write(id, bytes).unwrap();
        }
        for segment in &self.segments {
            store.chunks.write(&segment.id, &segment.encode()).unwrap();
        }
        store.chunks.sync().unwrap();
    }

    /// All its chunks and their sizes.
    pub(crate) fn chunks(&self) -> Vec<(crate::domain::id::ChunkId, u32)> {
        let entries = self.segments.iter().flat_map(|segment| &segment.entries);
        entries.map(|entry| (entry.id, entry.size_bytes)).collect()
    }
}

/// A peer whose identity is not looked at.
pub(crate) fn peer(name: &str) -> Peer {
    let key = IdentityKey::random(&mut entropy());
    Peer {
        id: key.public().instance(),
        name: name.into(),
        address: Some("http://127.0.0.1:7001".parse().unwrap()),
        trust: Trust::Trusted(everything()),
        identity: SignedIdentity { document: "{}".into(), signature: key.sign("test", b"{}") },
        follow: true,
        mirror: Scope::All,
        granted: None,
        cursor: None,
        added_at: "2026-11-22T00:00:00Z".parse().unwrap(),
        last_contact_at: None,
        last_error: None,
        discovery: None,
    }
}

pub(crate) fn everything() -> Rights {
    Rights { scope: Scope::All, role: Role::Reader, onward: false, from: None, limits: Default::default() }
}

pub(crate) fn cursor(position: u64) -> Cursor {
    Cursor { feed: FeedId::from_slice(&[7; 16]).unwrap(), position }
}

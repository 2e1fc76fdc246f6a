//! From what was gathered to a snapshot that everybody knows: lists of chunks, manifest, envelopes, index (R8).

use std::collections::HashMap;

use jiff::Timestamp;

use crate::domain::envelope::SnapshotKey;
use crate::domain::id::{ChunkId, ManifestId};
use crate::domain::manifest::{
    self, Capture, Manifest, PrivatePart, RootRecord, SegmentSummary, SignedManifest, Statistics,
};
use crate::domain::segment::{self, Segment, SegmentEntry};
use crate::store::index::{Collection, CollectionSettings, NewChunk, NewSnapshot};
use crate::store::{ChunkStore, ChunkStoreError, IndexError, Store, entropy};

use super::CreateError;
use super::pack::Packed;

/// What a run has brought so far.
pub struct Gathered {
    /// The encoded root node.
    pub root: Vec<u8>,
    /// The chunks on which the snapshot leans, and how many bytes of each it needs.
    pub used: HashMap<ChunkId, u64>,
    /// The chunks that were made in this run.
    pub new_chunks: Vec<NewChunk>,
    /// How many of those the index knows already, from a checkpoint.
    pub committed: usize,
    /// Chunks of which little is alive.
    pub sparse: Vec<ChunkId>,
    /// Counts.
    pub packed: Packed,
    /// What could not be read, or not in peace.
    pub problems: u64,
}

/// Chunks of a collection that it shares with others, and their sizes: they are here, and the snapshot names them.
pub type SharedChunks = Vec<(ChunkId, u32)>;

/// Where the output of a command was: nowhere. The command itself may hold secrets.
const OUTPUT: &str = "(output of a command)";

/// Commits the snapshots of one run: checkpoints, then the whole.
pub struct Committer {
    store: Store,
    collection: Collection,
    settings: CollectionSettings,
    created_at: Timestamp,
    parent: Option<ManifestId>,
    parent_lists: Vec<SegmentSummary>,
    sequence: u64,
    supersedes: Option<ManifestId>,
    shared: SharedChunks,
    beside: bool,
    /// How the next snapshot that is committed was taken.
    pub capture: Option<Capture>,
    /// Names of files that commands wrote: they stand beside the roots.
    pub outputs: Vec<String>,
    /// The root and the name of an archive that is taken instead of the folders.
    pub archive: Option<(String, String)>,
    /// Chunks that earlier passes made, and of which the index knows nothing yet.
    kept: Vec<NewChunk>,
}

impl Committer {
    /// For a run that was begun at `created_at`, on top of `parent`. `last_sequence` is the highest so far; `supersedes` is a
    /// partial snapshot that the first commit replaces.
    pub fn new(
        store: Store,
        collection: Collection,
        settings: CollectionSettings,
        created_at: Timestamp,
        parent: Option<&SignedManifest>,
        last_sequence: u64,
        supersedes: Option<ManifestId>,
    ) -> Self {
        Self {
            store,
            collection,
            settings,
            created_at,
            parent: parent.map(|parent| parent.id),
            parent_lists: parent.map(|parent| parent.manifest.segments.clone()).unwrap_or_default(),
            sequence: last_sequence,
            supersedes,
            shared: SharedChunks::new(),
            beside: false,
            capture: None,
            outputs: Vec::new(),
            archive: None,
            kept: Vec::new(),
        }
    }

    /// Names these chunks in each snapshot, too.
    pub fn with_shared(self, shared: SharedChunks) -> Self {
        Self { shared, ..self }
    }

    /// Keeps the chunks of a pass that is not committed: the next one leans on them.
    pub fn keep(&mut self, gathered: &mut Gathered) {
        self.kept.extend(gathered.new_chunks.drain(gathered.committed..));
    }

    /// The chunks of passes that were not committed.
    pub fn kept(&self) -> impl Iterator<Item = &NewChunk> {
        self.kept.iter()
    }

    /// Whether somebody had taken over when the last snapshot was committed: it stands beside the line.
    pub fn beside(&self) -> bool {
        self.beside
    }

    /// Makes what was gathered a snapshot. It takes the place of a partial one committed before.
    ///
    /// # Errors
    /// [`CreateError`]; the index then knows nothing of it.
    pub async fn commit(
        &mut self,
        gathered: &Gathered,
        partial: bool,
    ) -> Result<(SignedManifest, Statistics), CreateError> {
        let store = self.store.clone();
        let mut segments = list_segments(&*store.chunks, &self.parent_lists, gathered)?;
        let shared = self.shared.iter().map(|(id, size_bytes)| SegmentEntry { id: *id, size_bytes: *size_bytes });
        segments.extend(segment::cut_shared(self.collection.id, shared));
        for segment in &segments {
            if store.chunks.size(&segment.id)?.is_none() {
                store.chunks.write(&segment.id, &segment.encode())?;
            }
        }
        store.chunks.sync()?;

        let statistics = statistics(gathered, &self.kept);
        let key = SnapshotKey::random(&mut entropy());
        let mut manifest = Manifest {
            format: manifest::FORMAT.to_owned(),
            suite: manifest::SUITE.to_owned(),
            instance: store.keys.instance(),
            collection: self.collection.id,
            sequence: self.sequence.saturating_add(1),
            parent: self.parent,
            created_at: self.created_at,
            partial,
            commitment: String::new(),
            segments: segments.iter().map(SegmentSummary::from).collect(),
            chunks: segments.iter().map(|segment| segment.entries.len() as u64).sum(),
            chunk_bytes: segments.iter().map(Segment::chunk_bytes).sum(),
            private: String::new(),
        };
        manifest.seal_private(&self.private_part(gathered, statistics), &key);
        // As everybody does who gets it: what others refuse is not committed here.
        manifest.check().map_err(CreateError::Unfit)?;
        let signed = manifest.sign(&store.keys.identity);

        let own = store.keys.envelope.recipient();
        let envelopes = [
            key.wrap_for_vault(&mut entropy(), &signed.id, &store.keys.master),
            key.wrap_for(&signed.id, &own.id(), &own.wrapper()?)?,
            key.wrap_for_recovery(&mut entropy(), &signed.id, &store.keys.recovery)?,
        ];
        store.manifests.save(&signed, &envelopes)?;
        let mut new_chunks = gathered.new_chunks[gathered.committed..].to_vec();
        new_chunks.extend(self.kept.iter().cloned());
        let new = NewSnapshot {
            signed: &signed,
            segments: &segments,
            new_chunks: &new_chunks,
            shared: &self.shared,
            supersedes: self.supersedes,
            capture: self.capture.as_ref(),
        };
        let committed = store.index.commit_snapshot(new).await;
        if matches!(committed, Err(IndexError::Foreign { .. })) {
            // Nobody names it.
            store.manifests.remove(&signed.id)?;
        }
        self.beside = committed?;
        self.kept.clear();
        if let Some(old) = self.supersedes.take() {
            store.manifests.remove(&old)?;
        }
        self.sequence += 1;
        self.supersedes = partial.then_some(signed.id);
        Ok((signed, statistics))
    }

    fn private_part(&self, gathered: &Gathered, statistics: Statistics) -> PrivatePart {
        let root = |root: &crate::store::index::Root| RootRecord {
            name: root.name.clone(),
            path: root.path.to_string_lossy().into_owned(),
        };
        let output = |name: &String| RootRecord { name: name.clone(), path: OUTPUT.to_owned() };
        let mut roots: Vec<RootRecord> = self.settings.roots.iter().map(root).collect();
        if let Some((root, name)) = &self.archive {
            roots = vec![RootRecord { name: root.clone(), path: format!("(archive {name})") }];
        }
        roots.extend(self.outputs.iter().map(output));
        PrivatePart {
            name: self.collection.name.clone(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            roots,
            excludes: self.settings.excludes.clone(),
            statistics,
            padding: self.settings.padding,
            capture: self.capture.clone(),
            tree: data_encoding::BASE64.encode(&gathered.root),
        }
    }
}

/// The list of the snapshot's chunks, cut into segments: the parent's order first, so that most segments stay as they are.
fn list_segments(
    chunks: &dyn ChunkStore,
    parent: &[SegmentSummary],
    gathered: &Gathered,
) -> Result<Vec<Segment>, CreateError> {
    let mut left: HashMap<ChunkId, ()> = gathered.used.keys().map(|id| (*id, ())).collect();
    let mut list = Vec::with_capacity(left.len());
    for summary in parent {
        // A list that cannot be read any more only costs the order.
        let Some(segment) = chunks.read(&summary.id).ok().and_then(|bytes| Segment::parse(&bytes).ok()) else {
            continue;
        };
        list.extend(segment.entries.into_iter().filter(|entry| left.remove(&entry.id).is_some()));
    }
    for new in &gathered.new_chunks {
        if left.remove(&new.id).is_some() {
            list.push(SegmentEntry { id: new.id, size_bytes: new.size_bytes });
        }
    }
    let mut others: Vec<ChunkId> = left.into_keys().collect();
    others.sort();
    for id in others {
        let size = chunks.size(&id)?.ok_or(ChunkStoreError::Missing { id })?;
        list.push(SegmentEntry { id, size_bytes: u32::try_from(size).unwrap_or(u32::MAX) });
    }
    Ok(segment::cut(list))
}

fn statistics(gathered: &Gathered, kept: &[NewChunk]) -> Statistics {
    let new = || gathered.new_chunks.iter().chain(kept);
    let packed = &gathered.packed;
    Statistics {
        files: packed.files,
        directories: packed.directories,
        others: packed.others,
        bytes: packed.bytes,
        files_read: packed.files_read,
        bytes_read: packed.bytes_read,
        new_chunks: new().count() as u64,
        new_bytes: new().map(|chunk| u64::from(chunk.size_bytes)).sum(),
        problems: gathered.problems,
    }
}

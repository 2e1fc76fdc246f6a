//! What is written: chunks first, then manifests, then the documents that name them.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::target::Target;
use super::{ExportError, ExportOptions, Exported, Part, readers_key};
use crate::domain::crypto::keywrap::Wrapper;
use crate::domain::envelope::{Envelope, RSA_OAEP_256, SnapshotKey, VAULT};
use crate::domain::id::{ChunkId, ManifestId};
use crate::domain::manifest::{MAX_BYTES, MAX_SIDECAR_BYTES, SegmentSummary, Sidecar, SignedManifest};
use crate::monitor::{Counter, Monitor, Problem, with_causes};
use crate::portable::document::{
    CHUNKS, COLLECTION_FORMAT, COLLECTIONS, CollectionDocument, CollectionEntry, ESCROW_PREFIX, MANIFESTS, METADATA,
    SnapshotEntry, collection_folder, manifest_file, sidecar_file,
};
use crate::portable::folder::read_json;
use crate::portable::place::{Place, PlaceError};
use crate::portable::writer::Writer;
use crate::store::incoming::{Wrong, check_object};
use crate::store::{ChunkStoreError, Store};

pub(super) struct Work<'a> {
    pub(super) store: &'a Store,
    pub(super) options: &'a ExportOptions,
    pub(super) monitor: &'a dyn Monitor,
    pub(super) cancel: &'a CancellationToken,
}

/// Why a snapshot is left out, or the whole is stopped.
enum Trouble {
    Snapshot(String),
    Fatal(ExportError),
}

impl<E: Into<ExportError>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Trouble::Fatal(error.into())
    }
}

impl Work<'_> {
    pub(super) fn run(&self, mut target: Target, parts: Vec<Part>, now: Timestamp) -> Result<Exported, ExportError> {
        let mut writer = Writer::new(target.place.make_or_enter(CHUNKS)?)?;
        writer.is_looked_at = self.options.verify;
        let parts = self.chunks(&mut writer, parts)?;
        writer.flush()?;
        // Also the names of the chunks are durable before something names them.
        target.place.sync_all()?;
        let root = target.place.make_or_enter(COLLECTIONS)?;
        let mut new_snapshots = 0;
        for part in &parts {
            if self.cancel.is_cancelled() {
                return Err(ExportError::Cancelled);
            }
            let known = target.document.collections.iter().position(|entry| entry.id == part.collection.id);
            let folder = match known {
                Some(at) => target.document.collections[at].folder.clone(),
                None => collection_folder(&part.collection.id, part.name.as_deref()),
            };
            let dir = root.make_or_enter(&folder)?;
            new_snapshots += self.manifests(&dir, part)?;
            let snapshots = self.document(&dir, part)?;
            self.escrows(&dir, part)?;
            let entry = CollectionEntry { id: part.collection.id, name: part.name.clone(), folder, snapshots };
            match known {
                Some(at) => target.document.collections[at] = entry,
                None => target.document.collections.push(entry),
            }
        }
        let there = writer.count()?;
        target.document.updated_at = now;
        (target.document.chunks, target.document.chunk_bytes) = (there.chunks, there.bytes);
        target.place.sync_all()?;
        target.save()?;
        Ok(Exported {
            folder: target.place.shown(),
            continued: target.continued,
            new_snapshots,
            snapshots: target.document.collections.iter().map(|entry| entry.snapshots).sum(),
            new_chunks: writer.written.chunks,
            new_bytes: writer.written.bytes,
            chunks: there.chunks,
            chunk_bytes: there.bytes,
        })
    }

    /// Writes the chunks of all snapshots; answers the parts with those snapshots of which everything is there.
    fn chunks(&self, writer: &mut Writer, mut parts: Vec<Part>) -> Result<Vec<Part>, ExportError> {
        // Neighbours have most lists in common.
        let mut done: HashSet<ChunkId> = HashSet::new();
        for part in &mut parts {
            self.monitor.task(&format!("exporting {}", part.collection.name), Counter::ChunkBytes, None);
            let mut kept = Vec::with_capacity(part.snapshots.len());
            for snapshot in std::mem::take(&mut part.snapshots) {
                match self.snapshot(writer, &snapshot.id, &mut done) {
                    Ok(()) => kept.push(snapshot),
                    Err(Trouble::Fatal(error)) => return Err(error),
                    Err(Trouble::Snapshot(message)) => {
                        let subject = format!("{}@{}", part.collection.name, snapshot.sequence);
                        self.monitor.problem(Problem { subject, message });
                    }
                }
            }
            part.snapshots = kept;
        }
        Ok(parts)
    }

    fn snapshot(&self, writer: &mut Writer, id: &ManifestId, done: &mut HashSet<ChunkId>) -> Result<(), Trouble> {
        let loaded = self.store.manifests.load(id);
        let (signed, _) = loaded.map_err(|error| Trouble::Snapshot(format!("left out: {}", with_causes(&error))))?;
        for summary in &signed.manifest.segments {
            if done.contains(&summary.id) {
                continue;
            }
            let bytes = self.read(&summary.id)?;
            let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let segment =
                check_object(&summary.id, size, Some(std::slice::from_ref::<SegmentSummary>(summary)), &bytes);
            let segment = segment.map_err(|wrong| damaged(&summary.id, wrong))?;
            for entry in segment.iter().flat_map(|segment| &segment.entries) {
                if self.cancel.is_cancelled() {
                    return Err(ExportError::Cancelled.into());
                }
                if self.left_out(&entry.id) || writer.has(&entry.id, u64::from(entry.size_bytes))? {
                    continue;
                }
                let bytes = self.read(&entry.id)?;
                check_object(&entry.id, entry.size_bytes, None, &bytes).map_err(|wrong| damaged(&entry.id, wrong))?;
                self.put(writer, &entry.id, &bytes)?;
            }
            if !self.left_out(&summary.id) && !writer.has(&summary.id, bytes.len() as u64)? {
                self.put(writer, &summary.id, &bytes)?;
            }
            done.insert(summary.id);
        }
        Ok(())
    }

    /// Whether the receiver has it.
    fn left_out(&self, id: &ChunkId) -> bool {
        self.options.have.as_ref().is_some_and(|have| have.has_chunk(id))
    }

    fn put(&self, writer: &mut Writer, id: &ChunkId, bytes: &[u8]) -> Result<(), PlaceError> {
        writer.put(id, bytes)?;
        self.monitor.add(Counter::Chunks, 1);
        self.monitor.add(Counter::ChunkBytes, bytes.len() as u64);
        Ok(())
    }

    fn read(&self, id: &ChunkId) -> Result<Vec<u8>, Trouble> {
        self.store.chunks.read(id).map_err(|error| match error {
            ChunkStoreError::Missing { .. } | ChunkStoreError::TooLong { .. } => lost(id, &error),
            error if error.is_of_the_disk() => lost(id, &error),
            error => error.into(),
        })
    }

    /// Writes manifests with their sidecars, sidecars first; answers how many were not there.
    fn manifests(&self, dir: &Place, part: &Part) -> Result<u64, ExportError> {
        let dir = dir.make_or_enter(MANIFESTS)?;
        let ours = self.store.keys.envelope.recipient();
        let theirs = readers_key(self.options).filter(|key| key.id() != ours.id());
        let mut wrappers: Vec<(String, Wrapper)> = Vec::new();
        for key in [Some(ours), theirs].into_iter().flatten() {
            wrappers.push((key.id(), key.wrapper()?));
        }
        let (mut sidecars, mut manifests) = (Vec::new(), Vec::new());
        for snapshot in &part.snapshots {
            let (signed, envelopes) = self.store.manifests.load(&snapshot.id)?;
            let (file, before) = (sidecar_file(&signed.id), self.sidecar_there(&dir, &signed));
            let sidecar = self.sidecar(&signed, envelopes, before.as_ref(), &wrappers)?;
            if before.as_ref() != Some(&sidecar) {
                let bytes = serde_json::to_vec(&sidecar).expect("a sidecar has no maps with odd keys");
                sidecars.push((file, bytes));
            }
            let file = manifest_file(&signed.id);
            if dir.read(&file, MAX_BYTES).ok().as_ref() != Some(&signed.bytes) {
                manifests.push((file, signed.bytes.clone()));
            }
        }
        dir.save_all(&sidecars, &manifests)?;
        Ok(manifests.len() as u64)
    }

    fn sidecar_there(&self, dir: &Place, signed: &SignedManifest) -> Option<Sidecar> {
        let bytes = dir.read(&sidecar_file(&signed.id), MAX_SIDECAR_BYTES).ok()?;
        let sidecar: Sidecar = serde_json::from_slice(&bytes).ok()?;
        (sidecar.signature == signed.signature && sidecar.is_whole()).then_some(sidecar)
    }

    /// The envelopes that go with it: those for recovery keys, for our own key, and for whom it was ever exported into this folder. What
    /// is wrapped already stays as it is.
    fn sidecar(
        &self,
        signed: &SignedManifest,
        here: Vec<Envelope>,
        before: Option<&Sidecar>,
        wrappers: &[(String, Wrapper)],
    ) -> Result<Sidecar, ExportError> {
        let (vault, here): (Vec<_>, Vec<_>) = here.into_iter().partition(|envelope| envelope.algorithm == VAULT);
        let mut all: BTreeMap<(String, String), Envelope> = BTreeMap::new();
        let before = before.iter().flat_map(|sidecar| sidecar.envelopes.clone());
        for envelope in here.into_iter().chain(before).filter(|envelope| envelope.algorithm != VAULT) {
            all.insert((envelope.algorithm.clone(), envelope.recipient.clone()), envelope);
        }
        let open = |envelope: &Envelope| {
            envelope.open_with_vault(&signed.id, &signed.manifest.commitment, &self.store.keys.master).ok()
        };
        let key: Option<SnapshotKey> = vault.iter().find_map(open);
        for (recipient, wrapper) in wrappers {
            let place = (RSA_OAEP_256.to_owned(), recipient.clone());
            if let (Some(key), false) = (&key, all.contains_key(&place)) {
                all.insert(place, key.wrap_for(&signed.id, recipient, wrapper)?);
            }
        }
        Ok(Sidecar::new(signed.signature, all.into_values().collect()))
    }

    /// Writes the application's secrets, sealed under the recovery key: for nobody but who has that.
    fn escrows(&self, dir: &Place, part: &Part) -> Result<(), PlaceError> {
        if part.name.is_none() || self.options.recipient.is_some() {
            return Ok(());
        }
        let escrows = self.store.escrows(&part.collection.id).unwrap_or_else(|error| {
            let message = format!("its secrets are left out: {}", with_causes(&error));
            self.monitor.problem(Problem { subject: part.collection.name.clone(), message });
            Vec::new()
        });
        for document in escrows.iter().map(|escrow| escrow.document.for_recovery_alone()) {
            let file = format!("{ESCROW_PREFIX}{}.json", document.fingerprint_key_id);
            dir.save_for_owner(&file, &pretty(&document))?;
        }
        Ok(())
    }

    /// Writes the collection's document; answers how many snapshots it names.
    fn document(&self, dir: &Place, part: &Part) -> Result<u64, ExportError> {
        let before = read_json::<CollectionDocument>(dir, METADATA, COLLECTION_FORMAT).ok();
        let mut snapshots: BTreeMap<ManifestId, SnapshotEntry> = BTreeMap::new();
        let before = before.filter(|before| before.collection == part.collection.id);
        for entry in before.into_iter().flat_map(|before| before.snapshots) {
            snapshots.insert(entry.id, entry);
        }
        for snapshot in &part.snapshots {
            let entry = SnapshotEntry {
                id: snapshot.id,
                sequence: snapshot.sequence,
                created_at: snapshot.created_at,
                instance: snapshot.instance,
                partial: snapshot.partial,
                chunks: snapshot.chunks,
                chunk_bytes: snapshot.chunk_bytes,
            };
            snapshots.insert(entry.id, entry);
        }
        let mut snapshots: Vec<SnapshotEntry> = snapshots.into_values().collect();
        snapshots.sort_by_key(|entry| (entry.sequence, entry.id));
        let number = snapshots.len() as u64;
        let document = CollectionDocument {
            format: COLLECTION_FORMAT.to_owned(),
            collection: part.collection.id,
            name: part.name.clone(),
            leader: part.collection.origin,
            succession: part.succession.clone(),
            snapshots,
        };
        dir.save(METADATA, &pretty(&document))?;
        Ok(number)
    }
}

fn lost(id: &ChunkId, error: &ChunkStoreError) -> Trouble {
    Trouble::Snapshot(format!(
        "left out: chunk {} cannot be read ({}); 'bulbil scrub --now' looks for it among peers",
        id.short(),
        with_causes(error)
    ))
}

fn damaged(id: &ChunkId, wrong: Wrong) -> Trouble {
    Trouble::Snapshot(format!(
        "left out: chunk {} is damaged ({wrong}); 'bulbil scrub --now' looks for a whole one among peers",
        id.short()
    ))
}

/// JSON for people.
pub(in crate::portable) fn pretty(document: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(document).expect("documents have no maps with odd keys");
    bytes.push(b'\n');
    bytes
}

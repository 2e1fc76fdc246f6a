//! Who can open a snapshot, and which of its chunks are here.

use std::collections::HashSet;

use jiff::Timestamp;
use serde::Serialize;

use super::open::OpenSnapshot;
use crate::domain::envelope::{Envelope, HPKE_X25519, RSA_OAEP_256, VAULT};
use crate::domain::id::{ChunkId, CollectionId, InstanceId, ManifestId};
use crate::domain::manifest::SecretMark;
use crate::domain::segment::Segment;
use crate::monitor::with_causes;
use crate::store::index::Snapshot;
use crate::store::{ChunkStoreError, IndexError, ManifestFileError, Store, blocking};

/// Why it cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestFileError),
    /// Chunks cannot be looked at.
    #[error(transparent)]
    Chunks(#[from] ChunkStoreError),
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// What is known of a snapshot. Its signature was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Which one.
    pub id: ManifestId,
    /// The name of its collection.
    pub collection: String,
    /// Its collection.
    pub collection_id: CollectionId,
    /// Its number.
    pub sequence: u64,
    /// Who made it.
    pub instance: InstanceId,
    /// When it was begun.
    pub created_at: Timestamp,
    /// Whether its backup was interrupted.
    pub partial: bool,
    /// Whether it opens here.
    pub opens: bool,
    /// Why it does not.
    #[serde(skip)]
    pub closed: Option<String>,
    /// What it calls itself, and how many files are in it, if it opens.
    #[serde(skip)]
    pub inside: Option<(String, u64)>,
    /// Chunks of it.
    pub chunks: u64,
    /// Those of them that are here, with the right size.
    pub chunks_here: u64,
    /// The bytes of all of them.
    pub chunk_bytes: u64,
    /// Whether all lists of chunks are here; otherwise nobody knows of all chunks.
    pub lists_here: bool,
    /// The secrets of its application that belonged to it.
    pub secrets: Vec<SecretMark>,
    /// For whom its key was wrapped.
    pub envelopes: Vec<Addressee>,
}

/// For whom an envelope is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Addressee {
    /// How the key is wrapped.
    pub algorithm: String,
    /// The name of the recipient's key.
    pub recipient: String,
    /// Whose that is, in words.
    pub whose: String,
}

/// Looks at a snapshot, and asks the disk for each of its chunks.
///
/// # Errors
/// [`InspectError`].
pub async fn inspect(store: &Store, found: &Snapshot) -> Result<Inspection, InspectError> {
    let (in_store, id) = (store.clone(), found.id);
    let looked = blocking(move || {
        let (signed, envelopes) = in_store.manifests.load(&id)?;
        let listed = listed_chunks(&in_store, &id)?;
        let mut here = 0;
        for (id, size) in &listed.chunks {
            here += u64::from(in_store.chunks.size(id)? == Some(u64::from(*size)));
        }
        let opened = OpenSnapshot::open(&in_store, &id);
        Ok::<_, InspectError>((signed.manifest, envelopes, listed.whole, here, opened))
    });
    let (manifest, sealed, lists_here, chunks_here, opened) = looked.await?;
    let collection = store.index.collection(&found.collection).await?;
    let mut envelopes = Vec::with_capacity(sealed.len());
    for envelope in sealed {
        let whose = whose(store, &envelope).await?;
        envelopes.push(Addressee { algorithm: envelope.algorithm, recipient: envelope.recipient, whose });
    }
    let private = opened.as_ref().ok().map(|open| &open.private);
    Ok(Inspection {
        id: found.id,
        collection: collection.map_or_else(|| found.collection.short(), |collection| collection.name),
        collection_id: found.collection,
        sequence: found.sequence,
        instance: manifest.instance,
        created_at: manifest.created_at,
        partial: manifest.partial,
        opens: opened.is_ok(),
        closed: opened.as_ref().err().map(|error| with_causes(error)),
        inside: private.map(|private| (private.name.clone(), private.statistics.files)),
        chunks: manifest.chunks,
        chunks_here,
        chunk_bytes: manifest.chunk_bytes,
        lists_here,
        secrets: private
            .and_then(|private| private.capture.as_ref())
            .map_or_else(Vec::new, |capture| capture.secrets.clone()),
        envelopes,
    })
}

/// For whom an envelope is, in words.
async fn whose(store: &Store, envelope: &Envelope) -> Result<String, IndexError> {
    Ok(match envelope.algorithm.as_str() {
        VAULT => "this instance's master key".to_owned(),
        HPKE_X25519 if envelope.recipient == store.keys.recovery.id() => "this instance's recovery key".to_owned(),
        HPKE_X25519 => "the recovery key of who made it".to_owned(),
        RSA_OAEP_256 if envelope.recipient == store.keys.envelope.recipient().id() => "this instance".to_owned(),
        RSA_OAEP_256 => {
            let mut name = "somebody else, or an earlier key".to_owned();
            for peer in store.index.peers().await? {
                let key = peer.identity.verify(Some(&peer.id)).ok().map(|identity| identity.envelope_key.id());
                if key.as_deref() == Some(envelope.recipient.as_str()) {
                    name = format!("peer {}", peer.name);
                }
            }
            name
        }
        _ => "somebody; this version does not know the algorithm".to_owned(),
    })
}

/// The chunks that a snapshot's lists name.
pub struct Listed {
    /// Them, with their sizes in bytes.
    pub chunks: HashSet<(ChunkId, u32)>,
    /// Whether all lists are here.
    pub whole: bool,
}

/// Reads the lists of a snapshot.
///
/// # Errors
/// [`ManifestFileError`]. A list that is not here is none.
pub fn listed_chunks(store: &Store, id: &ManifestId) -> Result<Listed, ManifestFileError> {
    let (signed, _) = store.manifests.load(id)?;
    let mut listed = Listed { chunks: HashSet::new(), whole: true };
    for summary in &signed.manifest.segments {
        let segment = store.chunks.read(&summary.id).ok().and_then(|bytes| Segment::parse(&bytes).ok());
        match segment {
            Some(segment) => listed.chunks.extend(segment.entries.iter().map(|entry| (entry.id, entry.size_bytes))),
            None => listed.whole = false,
        }
    }
    Ok(listed)
}

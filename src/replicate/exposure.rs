//! What a peer already has, because that cannot be taken back (R6): recorded while it is served, told when somebody asks.
//!
//! A chunk counts as given once its first bytes are handed over: a peer that breaks off before the end has read what it got. So the
//! report may say more than the peer has. What was given in the last second before a kill may be missing from it.

use std::collections::HashMap;
use std::sync::Mutex;

use jiff::Timestamp;
use serde::Serialize;

use super::scope::effective;
use super::serve::{Serve, ServeError};
use crate::domain::id::{ChunkId, CollectionId, InstanceId, ManifestId};
use crate::domain::peer::{Role, Trust};
use crate::domain::wire::messages::{EnvelopeAnswer, EnvelopeStatus};
use crate::store::index::{GivenChunk, Peer};
use crate::store::{IndexError, Store};

/// What was given and is not recorded yet.
#[derive(Debug, Default)]
pub(super) struct Pending(Mutex<HashMap<InstanceId, Vec<GivenChunk>>>);

impl Serve {
    /// Notes that a peer is being sent a chunk; [`save_given`](Self::save_given) records it.
    pub fn note_given(&self, peer: &InstanceId, id: ChunkId, size_bytes: u32, at: Timestamp) {
        let mut pending = self.given.0.lock().expect("no holder of this lock can panic");
        pending.entry(*peer).or_default().push(GivenChunk { id, size_bytes, at });
    }

    /// Records what was noted, one transaction for each peer. What cannot be recorded now stays noted.
    ///
    /// # Errors
    /// [`ServeError::Index`]. When the future is dropped, what was being recorded may be forgotten.
    pub async fn save_given(&self) -> Result<(), ServeError> {
        let pending = std::mem::take(&mut *self.given.0.lock().expect("no holder of this lock can panic"));
        let mut result = self.save_sent().await;
        for (peer, chunks) in pending {
            if let Err(error) = self.store().index.note_given_chunks(&peer, &chunks).await {
                self.given.0.lock().expect("no holder of this lock can panic").entry(peer).or_default().extend(chunks);
                result = Err(error.into());
            }
        }
        result
    }

    /// Records keys before they are given.
    ///
    /// # Errors
    /// [`ServeError::Index`]; then they must not be given.
    pub async fn record_keys(
        &self,
        peer: &InstanceId,
        answers: &[EnvelopeAnswer],
        at: Timestamp,
    ) -> Result<(), ServeError> {
        let given = answers.iter().filter(|answer| answer.status == EnvelopeStatus::Ok);
        let ids: Vec<ManifestId> = given.map(|answer| answer.id).collect();
        if ids.is_empty() {
            return Ok(());
        }
        Ok(self.store().index.note_given_keys(peer, &ids, at).await?)
    }
}

/// What a peer has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exposure {
    /// Since when it is recorded.
    pub recorded_since: Timestamp,
    /// The peer was known before that: then everything that its rights let it see counts as known to it.
    pub may_know_more: bool,
    /// By collection.
    pub collections: Vec<ExposedCollection>,
    /// Chunks that were given, also of snapshots that are not here any more.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What would be read and stored anew if the snapshots above were made again with other keys.
    pub remake_bytes: u64,
    /// What of it the peer has not been given: only this would be out of its reach.
    pub out_of_reach_bytes: u64,
}

/// What it has of one collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExposedCollection {
    /// Which one.
    pub id: CollectionId,
    /// What it is called here.
    pub name: String,
    /// Snapshots of which it has something, oldest first.
    pub snapshots: Vec<ExposedSnapshot>,
}

/// What it has of one snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExposedSnapshot {
    /// Which one.
    pub id: ManifestId,
    /// Its number in the collection.
    pub sequence: u64,
    /// When it was begun.
    pub created_at: Timestamp,
    /// It was deleted here: its chunks cannot be told from others any more.
    pub deleted: bool,
    /// When its key was given first; none is recorded if this is empty.
    pub key_given_at: Option<Timestamp>,
    /// Its key counts as given, because it may have been before that was recorded.
    pub key_may_be_known: bool,
    /// Its chunks.
    pub chunks: u64,
    /// Their bytes.
    pub chunk_bytes: u64,
    /// Those that were given.
    pub given_chunks: u64,
    /// Their bytes.
    pub given_bytes: u64,
    /// When the first of them was given.
    pub first_given_at: Option<Timestamp>,
    /// When the last of them was given for the first time.
    pub last_given_at: Option<Timestamp>,
}

/// What a peer has, with the rights that it has now.
///
/// # Errors
/// [`IndexError`].
pub async fn exposure(store: &Store, peer: &Peer) -> Result<Exposure, IndexError> {
    let index = &store.index;
    let recorded_since = index.given_since().await?;
    let may_know_more = recorded_since > peer.added_at;
    let rights = match &peer.trust {
        Trust::Trusted(granted) => {
            let (collections, peers) = (index.collections().await?, index.peers().await?);
            Some(effective(granted, &peer.id, &store.keys.instance(), &collections, &peers))
        }
        Trust::Pending | Trust::Revoked => None,
    };
    let mut collections: Vec<ExposedCollection> = Vec::new();
    let mut named = Vec::new();
    for given in index.given_snapshots(&peer.id).await? {
        // What was made after the record began was given on record, or not at all.
        let old = may_know_more && !given.deleted && given.created_at < recorded_since;
        let visible = rights.as_ref().filter(|rights| old && rights.may_see(&given.collection, given.created_at));
        if given.key_at.is_none() && given.given_chunks == 0 && visible.is_none() {
            continue;
        }
        if collections.last().is_none_or(|last| last.id != given.collection) {
            let (id, name) = (given.collection, given.collection_name.clone());
            collections.push(ExposedCollection { id, name, snapshots: Vec::new() });
        }
        let snapshot = ExposedSnapshot {
            id: given.id,
            sequence: given.sequence,
            created_at: given.created_at,
            deleted: given.deleted,
            key_given_at: given.key_at,
            key_may_be_known: given.key_at.is_none() && visible.is_some_and(|rights| rights.role == Role::Reader),
            chunks: given.chunks,
            chunk_bytes: given.chunk_bytes,
            given_chunks: given.given_chunks,
            given_bytes: given.given_bytes,
            first_given_at: given.given_at.map(|(first, _)| first),
            last_given_at: given.given_at.map(|(_, last)| last),
        };
        if let Some(last) = collections.last_mut() {
            last.snapshots.push(snapshot);
        }
        named.push(given.id);
    }
    let (chunks, bytes) = index.given_in_all(&peer.id).await?;
    let (_, remake_bytes) = index.chunks_together(&named).await?;
    let out_of_reach_bytes = if may_know_more { 0 } else { remake_bytes.saturating_sub(bytes) };
    Ok(Exposure { recorded_since, may_know_more, collections, chunks, bytes, remake_bytes, out_of_reach_bytes })
}

//! What a peer has got from here (R6), as a resource.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::replicate::exposure::Exposure;

/// What a peer has got, and keeps whatever becomes of its rights.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ExposureView {
    /// The peer.
    pub peer: String,
    /// Since when that is recorded.
    #[schema(value_type = String, format = DateTime)]
    pub recorded_since: Timestamp,
    /// Whether what its rights let it see before that counts as known to it.
    pub may_know_more: bool,
    /// By collection.
    pub collections: Vec<ExposedCollectionView>,
    /// Chunks that were sent to it.
    pub chunks: u64,
    /// Their bytes.
    pub chunk_bytes: u64,
}

/// What it has of a collection.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ExposedCollectionView {
    /// The collection.
    pub name: String,
    /// Its snapshots.
    pub snapshots: Vec<ExposedSnapshotView>,
}

/// What it has of a snapshot.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ExposedSnapshotView {
    /// Which one.
    pub id: String,
    /// Its number.
    pub sequence: u64,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When its key was given.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub key_given_at: Option<Timestamp>,
    /// Whether its key counts as known, though that is not recorded.
    pub key_may_be_known: bool,
    /// Chunks of it that were sent.
    pub given_chunks: u64,
    /// Of how many.
    pub chunks: u64,
    /// Bytes that were sent.
    pub given_bytes: u64,
}

impl ExposureView {
    /// Of a peer.
    pub fn of(peer: &str, exposure: Exposure) -> Self {
        let collections = exposure.collections.into_iter().map(|collection| ExposedCollectionView {
            name: collection.name,
            snapshots: collection
                .snapshots
                .into_iter()
                .map(|snapshot| ExposedSnapshotView {
                    id: snapshot.id.to_string(),
                    sequence: snapshot.sequence,
                    created_at: snapshot.created_at,
                    key_given_at: snapshot.key_given_at,
                    key_may_be_known: snapshot.key_may_be_known,
                    given_chunks: snapshot.given_chunks,
                    chunks: snapshot.chunks,
                    given_bytes: snapshot.given_bytes,
                })
                .collect(),
        });
        Self {
            peer: peer.to_owned(),
            recorded_since: exposure.recorded_since,
            may_know_more: exposure.may_know_more,
            collections: collections.collect(),
            chunks: exposure.chunks,
            chunk_bytes: exposure.bytes,
        }
    }
}

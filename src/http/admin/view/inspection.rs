//! Who can open a snapshot, as a resource.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::backup::inspect::Inspection;

/// Who can open a snapshot, and how much of it is here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InspectionView {
    /// Which one.
    pub id: String,
    /// Its collection.
    pub collection: String,
    /// Its number.
    pub sequence: u64,
    /// Who made and signed it.
    pub instance: String,
    /// When it was begun.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Whether its backup was interrupted.
    pub partial: bool,
    /// Whether it opens here.
    pub opens: bool,
    /// Why it does not.
    pub closed: Option<String>,
    /// Chunks of it.
    pub chunks: u64,
    /// Those of them that are here, with the right size.
    pub chunks_here: u64,
    /// The bytes of all of them.
    pub chunk_bytes: u64,
    /// Whether all lists of chunks are here; otherwise not all chunks are known.
    pub lists_here: bool,
    /// For whom its key was wrapped.
    pub envelopes: Vec<AddresseeView>,
}

/// For whom an envelope is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AddresseeView {
    /// How the key is wrapped.
    pub algorithm: String,
    /// The name of the recipient's key.
    pub recipient: String,
    /// Whose that is, in words.
    pub whose: String,
}

impl From<Inspection> for InspectionView {
    fn from(seen: Inspection) -> Self {
        let envelopes = seen.envelopes.into_iter();
        Self {
            id: seen.id.to_string(),
            collection: seen.collection,
            sequence: seen.sequence,
            instance: seen.instance.to_string(),
            created_at: seen.created_at,
            partial: seen.partial,
            opens: seen.opens,
            closed: seen.closed,
            chunks: seen.chunks,
            chunks_here: seen.chunks_here,
            chunk_bytes: seen.chunk_bytes,
            lists_here: seen.lists_here,
            envelopes: envelopes
                .map(|one| AddresseeView { algorithm: one.algorithm, recipient: one.recipient, whose: one.whose })
                .collect(),
        }
    }
}

//! The JSON files of a portable backup. They are for people and for a reader's convenience: what counts are the signed manifests.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::id::{CollectionId, InstanceId, ManifestId};
use crate::domain::succession::SignedStatement;

/// The format of the folder, and of its first document.
pub const FORMAT: &str = "bulbil-portable/1";
/// The format of a collection's document.
pub const COLLECTION_FORMAT: &str = "bulbil-portable-collection/1";
/// What folders are called, before the moment in UTC.
pub const PREFIX: &str = "backup_";
/// The first document.
pub const BACKUP_MANIFEST: &str = "backup_manifest.json";
/// The folder of folders of collections.
pub const COLLECTIONS: &str = "collections";
/// A collection's document.
pub const METADATA: &str = "metadata.json";
/// The folder of a collection's manifests.
pub const MANIFESTS: &str = "manifests";
/// The folder of chunks and lists of chunks.
pub const CHUNKS: &str = "chunks";
/// What the documents of a collection's escrowed secrets are called, before the name of their fingerprints' key.
pub const ESCROW_PREFIX: &str = "escrow-";
/// No document is longer, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 64 << 20;

/// `backup_manifest.json`: what is in the folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupManifest {
    /// [`FORMAT`].
    pub format: String,
    /// Who exported it.
    pub instance: InstanceId,
    /// When the folder was begun.
    pub created_at: Timestamp,
    /// When something was last added.
    pub updated_at: Timestamp,
    /// Chunks that the receiver has were left out.
    #[serde(default)]
    pub delta: bool,
    /// The collections.
    pub collections: Vec<CollectionEntry>,
    /// Chunks and lists of chunks in the folder.
    pub chunks: u64,
    /// Their bytes.
    pub chunk_bytes: u64,
}

/// A collection, as the first document names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectionEntry {
    /// Which one.
    pub id: CollectionId,
    /// Its name, if the exporting instance leads it or did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its folder in `collections/`.
    pub folder: String,
    /// How many snapshots of it there are.
    pub snapshots: u64,
}

/// `metadata.json`: the snapshots of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectionDocument {
    /// [`COLLECTION_FORMAT`].
    pub format: String,
    /// Which one.
    pub collection: CollectionId,
    /// Its name, if the exporting instance leads it or did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who leads it, as far as the exporting instance knows.
    pub leader: InstanceId,
    /// The signed statements about who leads it.
    #[serde(default)]
    pub succession: Vec<SignedStatement>,
    /// The snapshots, by number.
    pub snapshots: Vec<SnapshotEntry>,
}

/// A snapshot, as its collection's document names it. Everything stands in its manifest, too, where it is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotEntry {
    /// Which one.
    pub id: ManifestId,
    /// Its number in the collection.
    pub sequence: u64,
    /// When it was begun.
    pub created_at: Timestamp,
    /// Who made it.
    pub instance: InstanceId,
    /// An interrupted backup.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// How many chunks it leans on.
    pub chunks: u64,
    /// Their stored bytes.
    pub chunk_bytes: u64,
}

/// The file of a manifest.
pub fn manifest_file(id: &ManifestId) -> String {
    format!("{id}.json")
}

/// The file of a manifest's signature and envelopes.
pub fn sidecar_file(id: &ManifestId) -> String {
    format!("{id}.sidecar.json")
}

/// The folder of a collection: its name, where it may be shown, and the beginning of its id, so that no two have one on any file system.
pub fn collection_folder(id: &CollectionId, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("{name}-{}", id.short()),
        None => id.to_string(),
    }
}

//! A snapshot, opened with the key that this instance has for it.

use crate::domain::envelope::{self, EnvelopeError, SnapshotKey};
use crate::domain::id::{CollectionId, ManifestId};
use crate::domain::manifest::{ManifestError, PrivatePart, SignedManifest};
use crate::domain::metadata::entry::EntryKind;
use crate::domain::metadata::node::Node;
use crate::domain::metadata::path::TreePath;
use crate::store::{ChunkHold, ChunkStore, ChunkStoreError, ManifestFileError, Store, TreeError, TreeReader};

/// Why a snapshot cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenSnapshotError {
    /// Its manifest cannot be read.
    #[error(transparent)]
    File(#[from] ManifestFileError),
    /// Its chunks cannot be kept from being removed meanwhile.
    #[error("the snapshot cannot be kept from being removed while it is read")]
    Hold(#[source] ChunkStoreError),
    /// We are not among its readers.
    #[error("this instance has no key for snapshot {}: it is kept here for others (a blind mirror), or its envelope was not fetched yet; try 'bulbil rekey'", .0.short())]
    NoKey(ManifestId),
    /// The envelope is bad.
    #[error("the envelope of snapshot {} does not open", id.short())]
    Envelope {
        /// Which snapshot.
        id: ManifestId,
        /// Why.
        #[source]
        cause: EnvelopeError,
    },
    /// The manifest is bad.
    #[error("snapshot {} cannot be opened", id.short())]
    Manifest {
        /// Which snapshot.
        id: ManifestId,
        /// Why.
        #[source]
        cause: ManifestError,
    },
}

/// An opened snapshot. As long as it is open, no prune removes what it leans on, however short its grace period: it may remove the
/// snapshot, and leaves the chunks to the next one.
#[derive(Debug)]
pub struct OpenSnapshot {
    /// The manifest.
    pub signed: SignedManifest,
    /// The snapshot's key.
    pub key: SnapshotKey,
    /// The opened private part.
    pub private: PrivatePart,
    /// Root of the tree.
    pub root: Node,
    /// Held for chunks of this home; of those from elsewhere whoever reads them takes care.
    _hold: Option<ChunkHold>,
}

impl OpenSnapshot {
    /// Opens a snapshot with the key that is kept under our master key.
    ///
    /// # Errors
    /// [`OpenSnapshotError`].
    pub fn open(store: &Store, id: &ManifestId) -> Result<Self, OpenSnapshotError> {
        // First: a prune removes the manifest before any chunk. What is there now stays.
        let hold = match store.hold_chunks() {
            Ok(hold) => Some(hold),
            // There is nothing that could be removed.
            Err(ChunkStoreError::Io { cause, .. }) if cause.kind() == std::io::ErrorKind::ReadOnlyFilesystem => None,
            Err(error) => return Err(OpenSnapshotError::Hold(error)),
        };
        let (signed, envelopes) = store.manifests.load(id)?;
        let envelope = envelopes
            .iter()
            .find(|envelope| envelope.algorithm == envelope::VAULT)
            .ok_or(OpenSnapshotError::NoKey(*id))?;
        let key = envelope
            .open_with_vault(id, &signed.manifest.commitment, &store.keys.master)
            .map_err(|cause| OpenSnapshotError::Envelope { id: *id, cause })?;
        Ok(Self { _hold: hold, ..Self::with_key(signed, key)? })
    }

    /// Opens a snapshot with a key from elsewhere.
    ///
    /// # Errors
    /// [`OpenSnapshotError::Manifest`].
    pub fn with_key(signed: SignedManifest, key: SnapshotKey) -> Result<Self, OpenSnapshotError> {
        let fail = |cause| OpenSnapshotError::Manifest { id: signed.id, cause };
        let private = signed.manifest.open_private(&key).map_err(fail)?;
        let root = private.root().map_err(fail)?;
        Ok(Self { signed, key, private, root, _hold: None })
    }

    /// Which collection it is of.
    pub fn collection(&self) -> CollectionId {
        self.signed.manifest.collection
    }

    /// Reads its tree, whose chunks are in `chunks`.
    pub fn tree<'a>(&self, chunks: &'a dyn ChunkStore) -> TreeReader<'a> {
        TreeReader::new(chunks, self.collection(), self.root.clone())
    }

    /// Whether it has one root, and that is a folder: then its content comes directly into a target. `tree` is its own.
    ///
    /// # Errors
    /// [`TreeError`].
    pub fn has_one_folder(&self, tree: &mut TreeReader<'_>) -> Result<bool, TreeError> {
        let [root] = self.private.roots.as_slice() else { return Ok(false) };
        let Ok(path) = TreePath::new(root.name.clone().into_bytes()) else { return Ok(false) };
        Ok(tree.find(&path)?.is_some_and(|entry| matches!(entry.kind, EntryKind::Directory)))
    }
}

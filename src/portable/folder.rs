//! A folder that is read. What is in it is believed as far as it proves itself.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::de::DeserializeOwned;

use crate::domain::chunk::MAX_STORED;
use crate::domain::escrow::{EscrowDocument, EscrowError, MAX_DOCUMENT_BYTES as MAX_ESCROW_BYTES};
use crate::domain::id::{ChunkId, CollectionId, ManifestId};
use crate::domain::manifest::{MAX_BYTES, MAX_SIDECAR_BYTES, ManifestError, SIDECAR_FORMAT, Sidecar};
use crate::domain::text::shown;
use crate::monitor::{Monitor, Problem};
use crate::store::dir::DirError;
use crate::store::incoming::Incoming;

use super::document::{
    BACKUP_MANIFEST, BackupManifest, CHUNKS, COLLECTION_FORMAT, COLLECTIONS, CollectionDocument, ESCROW_PREFIX, FORMAT,
    MANIFESTS, MAX_DOCUMENT_BYTES, METADATA, PREFIX, manifest_file, sidecar_file,
};
use super::place::{At, Place, PlaceError};

/// So many chunks are read from a bucket at a time.
const AT_ONCE: usize = 8;

/// Why a folder cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It is none.
    #[error("{} is no portable backup, and has none in it: name a folder that 'bulbil export' wrote", .0.display())]
    NotOne(PathBuf),
    /// It is of a later version.
    #[error(
        "{} is of the form {found:?}, and this program knows {FORMAT}: use a newer bulbil", path.display()
    )]
    Newer {
        /// Which folder.
        path: PathBuf,
        /// What it says of itself.
        found: String,
    },
    /// The system said no.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// It cannot be read.
    #[error(transparent)]
    Place(#[from] PlaceError),
}

/// What is wrong with one file.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error(transparent)]
    Dir(#[from] DirError),
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error("it is no document of the form {0}")]
    Document(&'static str),
    #[error("its signature file is none of the form {SIDECAR_FORMAT}")]
    Sidecar,
    #[error(transparent)]
    Escrow(#[from] EscrowError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("it is of another collection than the folder says")]
    Elsewhere,
}

/// A portable backup.
#[derive(Debug)]
pub(super) struct Folder {
    dir: Place,
    chunks: Option<Place>,
}

/// A collection in it.
#[derive(Debug)]
pub(super) struct CollectionFolder {
    /// What its folder is called, to be shown.
    pub(super) shown: String,
    pub(super) document: Option<CollectionDocument>,
    manifests: Option<Place>,
    /// Secrets of the application, sealed.
    pub(super) escrows: Vec<EscrowDocument>,
    /// The manifests that are there or should be.
    pub(super) snapshots: Vec<ManifestId>,
}

impl Folder {
    /// Opens the folder, or all that are in it, oldest first. Of several, one that cannot be opened is a problem for `monitor`.
    pub(super) fn open_all(at: &At, monitor: &dyn Monitor) -> Result<Vec<Self>, FolderError> {
        let dir = at.open()?;
        if dir.has(BACKUP_MANIFEST)? {
            return Ok(vec![Self::open(dir)?]);
        }
        let (mut found, mut bad) = (Vec::new(), Vec::new());
        for name in dir.names()?.into_iter().filter(|name| name.starts_with(PREFIX)) {
            if dir.is_folder(&name)? {
                let inner = dir.enter(&name)?;
                if inner.has(BACKUP_MANIFEST)? {
                    match Self::open(inner) {
                        Ok(folder) => found.push(folder),
                        Err(error) => bad.push((name, error)),
                    }
                }
            }
        }
        if found.is_empty() {
            return Err(bad.pop().map_or_else(|| FolderError::NotOne(dir.shown()), |(_, error)| error));
        }
        for (name, error) in bad {
            let message = format!("left out: {}", crate::monitor::with_causes(&error));
            monitor.problem(Problem { subject: shown(&name), message });
        }
        Ok(found)
    }

    pub(super) fn open(dir: Place) -> Result<Self, FolderError> {
        #[derive(serde::Deserialize)]
        struct Head {
            format: String,
        }
        // One that is damaged keeps nobody from reading the rest; one of a later version does.
        if let Ok(head) = read_json::<Head>(&dir, BACKUP_MANIFEST, FORMAT)
            && head.format != FORMAT
        {
            return Err(FolderError::Newer { path: dir.shown(), found: shown(&head.format) });
        }
        let chunks = match dir.enter(CHUNKS) {
            Err(error) if error.is_missing() => None,
            entered => Some(entered?),
        };
        Ok(Self { dir, chunks })
    }

    /// What it is called in messages.
    pub(super) fn shown(&self) -> String {
        self.dir.shown().display().to_string()
    }

    /// How many may read in it at a time: who asks over a network waits for answers, not for a disk.
    pub(super) fn readers(&self) -> usize {
        match self.dir {
            Place::Folder(_) => 1,
            Place::Bucket(_) => AT_ONCE,
        }
    }

    /// Its collections. What is wrong is a problem for `monitor`.
    pub(super) fn collections(&self, monitor: &dyn Monitor) -> Result<Vec<CollectionFolder>, PlaceError> {
        let named: Vec<String> = match read_json::<BackupManifest>(&self.dir, BACKUP_MANIFEST, FORMAT) {
            Ok(document) => document.collections.into_iter().map(|entry| entry.folder).collect(),
            Err(error) => {
                self.problem(monitor, BACKUP_MANIFEST, &error);
                Vec::new()
            }
        };
        let root = match self.dir.enter(COLLECTIONS) {
            Err(error) if error.is_missing() && named.is_empty() => return Ok(Vec::new()),
            entered => entered?,
        };
        let names: BTreeSet<String> = root.names()?.into_iter().chain(named).collect();
        let mut collections = Vec::new();
        for name in names {
            let place = format!("{COLLECTIONS}/{}", shown(&name));
            match root.enter(&name).map_err(FileError::from).and_then(|dir| self.collection(&dir, &place, monitor)) {
                Ok(collection) => collections.push(collection),
                Err(error) => self.problem(monitor, &place, &error),
            }
        }
        Ok(collections)
    }

    fn collection(&self, dir: &Place, place: &str, monitor: &dyn Monitor) -> Result<CollectionFolder, FileError> {
        let document = match read_json::<CollectionDocument>(dir, METADATA, COLLECTION_FORMAT) {
            Ok(document) if document.format == COLLECTION_FORMAT => Some(document),
            Ok(_) => {
                self.problem(monitor, &format!("{place}/{METADATA}"), &FileError::Document(COLLECTION_FORMAT));
                None
            }
            Err(error) => {
                self.problem(monitor, &format!("{place}/{METADATA}"), &error);
                None
            }
        };
        let manifests = match dir.enter(MANIFESTS) {
            Err(error) if error.is_missing() => None,
            entered => Some(entered?),
        };
        let mut snapshots: BTreeSet<ManifestId> = BTreeSet::new();
        if let Some(manifests) = &manifests {
            let names = manifests.names()?;
            snapshots.extend(names.iter().filter_map(|name| name.strip_suffix(".json")?.parse::<ManifestId>().ok()));
        }
        snapshots.extend(document.iter().flat_map(|document| &document.snapshots).map(|snapshot| snapshot.id));
        let mut escrows = Vec::new();
        for name in dir.names()?.into_iter().filter(|name| name.starts_with(ESCROW_PREFIX) && name.ends_with(".json")) {
            let read = dir.read(&name, MAX_ESCROW_BYTES).map_err(FileError::from);
            match read.and_then(|bytes| Ok(EscrowDocument::parse(&bytes)?)) {
                Ok(escrow) => escrows.push(escrow),
                Err(error) => self.problem(monitor, &format!("{place}/{}", shown(&name)), &error),
            }
        }
        let shown = place.rsplit('/').next().unwrap_or(place).to_owned();
        Ok(CollectionFolder { shown, document, manifests, escrows, snapshots: snapshots.into_iter().collect() })
    }

    /// Reads a chunk of at most `limit_bytes`; `None` if it is not there. Its bytes were not compared with its name.
    pub(super) fn chunk(&self, id: &ChunkId, limit_bytes: usize) -> Result<Option<Vec<u8>>, PlaceError> {
        let Some(chunks) = &self.chunks else { return Ok(None) };
        let name = id.to_string();
        let read = chunks.enter(&name[..2]).and_then(|dir| dir.read(&name, limit_bytes.min(MAX_STORED)));
        match read {
            Err(error) if error.is_missing() => Ok(None),
            read => read.map(Some),
        }
    }

    pub(super) fn problem(&self, monitor: &dyn Monitor, subject: &str, error: &FileError) {
        let message = format!("left out: {}", crate::monitor::with_causes(error));
        monitor.problem(Problem { subject: subject.to_owned(), message });
    }
}

impl CollectionFolder {
    /// Which collection the folder says that it is.
    pub(super) fn id(&self) -> Option<CollectionId> {
        self.document.as_ref().map(|document| document.collection)
    }

    /// Reads a manifest with what came beside it. Nothing of it was checked but its lengths.
    pub(super) fn manifest(&self, id: &ManifestId) -> Result<Incoming, FileError> {
        let missing = |name: String| DirError::Missing(PathBuf::from(MANIFESTS).join(name));
        let dir = self.manifests.as_ref().ok_or_else(|| missing(manifest_file(id)))?;
        let bytes = dir.read(&manifest_file(id), MAX_BYTES)?;
        let sidecar = dir.read(&sidecar_file(id), MAX_SIDECAR_BYTES)?;
        let sidecar: Sidecar = serde_json::from_slice(&sidecar).map_err(|_| FileError::Sidecar)?;
        if sidecar.format != SIDECAR_FORMAT {
            return Err(FileError::Sidecar);
        }
        Ok(Incoming { id: *id, bytes, signature: sidecar.signature, envelopes: sidecar.envelopes })
    }
}

pub(super) fn read_json<T: DeserializeOwned>(dir: &Place, name: &str, form: &'static str) -> Result<T, FileError> {
    let bytes = dir.read(name, MAX_DOCUMENT_BYTES)?;
    serde_json::from_slice(&bytes).map_err(|_| FileError::Document(form))
}

//! What a recovery is about to do, written down before it does it: a kill at any point is finished by whoever comes next.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::RecoverError;
use crate::domain::id::{CollectionId, ManifestId};
use crate::store::index::root_path;
use crate::store::{Store, write_private};

const FORMAT: &str = "bulbil-recovery-journal/1";
/// The folder in the home in which journals are.
const FOLDER: &str = "recover";

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Something is made beside the live tree, which is untouched.
    Staging,
    /// What is staged is whole, durable and verified, and takes its place.
    Swapping,
}

/// A recovery on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    format: String,
    /// Of which collection.
    pub collection: CollectionId,
    /// From which snapshot; none if only what is emptied takes a place.
    pub snapshot: Option<ManifestId>,
    /// Its number.
    pub sequence: Option<u64>,
    /// When it began.
    pub started_at: Timestamp,
    /// How far it is.
    pub phase: Phase,
    /// Folders in which something is staged: they go at the end.
    #[serde(with = "paths")]
    pub stages: Vec<PathBuf>,
    /// Where what was there before is kept.
    #[serde(with = "paths")]
    pub damaged: Vec<PathBuf>,
    /// What changes places.
    pub moves: Vec<Move>,
    /// What comes over from what was there before, afterwards.
    pub carried: Vec<Carry>,
    /// Folders that stay, and get the mode and the owner that they had.
    pub folders: Vec<FolderMode>,
}

/// Which file or folder it is, as long as it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Number {
    dev: u64,
    inode: u64,
}

impl Number {
    /// From what the system says.
    pub fn new(dev: u64, inode: u64) -> Self {
        Self { dev, inode }
    }

    /// Of what is at `path`; a link is not followed.
    pub fn of(path: &Path) -> Result<Option<Self>, RecoverError> {
        match fs::symlink_metadata(path) {
            Ok(found) => Ok(Some(Self { dev: found.dev(), inode: found.ino() })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(RecoverError::io("look at", path, cause)),
        }
    }
}

/// Something that takes its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Where the application has it.
    #[serde(with = "root_path")]
    pub live: PathBuf,
    /// Where it is staged, and which one it is; none: the snapshot does not have it.
    pub staged: Option<Staged>,
    /// Where what was there before is kept; none: there was nothing.
    #[serde(with = "maybe_path")]
    pub kept: Option<PathBuf>,
}

/// Something that is staged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    /// Where.
    #[serde(with = "root_path")]
    pub path: PathBuf,
    /// Which one it is.
    pub number: Number,
}

/// Something that comes over from the old tree into the new one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carry {
    /// Where it is in what is kept.
    #[serde(with = "root_path")]
    pub from: PathBuf,
    /// Where it belongs.
    #[serde(with = "root_path")]
    pub to: PathBuf,
}

/// A folder that is not replaced, and its mode and owner in the snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderMode {
    /// Where.
    #[serde(with = "root_path")]
    pub path: PathBuf,
    /// Its mode.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

impl Journal {
    /// One that has staged nothing yet.
    pub fn new(collection: CollectionId, started_at: Timestamp) -> Self {
        Self {
            format: FORMAT.to_owned(),
            collection,
            snapshot: None,
            sequence: None,
            started_at,
            phase: Phase::Staging,
            stages: Vec::new(),
            damaged: Vec::new(),
            moves: Vec::new(),
            carried: Vec::new(),
            folders: Vec::new(),
        }
    }

    /// The journal of a recovery of this collection that did not come to its end.
    ///
    /// # Errors
    /// [`RecoverError::Io`], [`RecoverError::Journal`].
    pub fn load(store: &Store, collection: &CollectionId) -> Result<Option<Self>, RecoverError> {
        let path = place(store, collection);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(RecoverError::io("read", &path, cause)),
        };
        let journal: Self = serde_json::from_slice(&bytes).map_err(|_| RecoverError::Journal(path.clone()))?;
        if journal.format != FORMAT || journal.collection != *collection {
            return Err(RecoverError::Journal(path));
        }
        Ok(Some(journal))
    }

    /// Writes it; durable on return.
    ///
    /// # Errors
    /// [`RecoverError::Io`].
    pub fn save(&self, store: &Store) -> Result<(), RecoverError> {
        let path = place(store, &self.collection);
        let bytes = serde_json::to_vec_pretty(self).expect("a journal has no maps");
        write_private(&path, &bytes).map_err(|cause| RecoverError::io("write", &path, cause))
    }

    /// Removes it: the recovery has come to its end.
    ///
    /// # Errors
    /// [`RecoverError::Io`].
    pub fn remove(&self, store: &Store) -> Result<(), RecoverError> {
        let path = place(store, &self.collection);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed
                .and_then(|()| fs::File::open(path.parent().unwrap_or(&path))?.sync_all())
                .map_err(|cause| RecoverError::io("remove", &path, cause)),
        }
    }
}

fn place(store: &Store, collection: &CollectionId) -> PathBuf {
    store.home.root().join(FOLDER).join(format!("{collection}.json"))
}

/// A path that need not be there.
mod maybe_path {
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Text;

    pub fn serialize<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
        path.clone().map(Text).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
        Ok(Option::<Text>::deserialize(deserializer)?.map(|Text(path)| path))
    }
}

/// Several of them.
mod paths {
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Text;

    pub fn serialize<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
        paths.iter().cloned().map(Text).collect::<Vec<_>>().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
        Ok(Vec::<Text>::deserialize(deserializer)?.into_iter().map(|Text(path)| path).collect())
    }
}

/// A path as the index writes it: whatever bytes it has, it comes back.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Text(#[serde(with = "root_path")] PathBuf);

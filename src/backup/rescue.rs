//! Rescue: restoring from what is left of a dead instance, or from a blind mirror, with the recovery key alone.
//!
//! Needs a folder with `chunks/` and `manifests/`; no home, no index, no keys. Nothing is written there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::domain::crypto::recovery::RecoveryKey;
use crate::domain::envelope::{EnvelopeError, HPKE_X25519};
use crate::domain::id::ManifestId;
use crate::monitor::{Monitor, Problem};
use crate::store::chunks::ChunkFiles;
use crate::store::objects::{ChunkObjects, fetch_manifests};
use crate::store::{ChunkStore, ManifestFileError, ManifestFiles, StoreError};
use crate::transport::bucket::Bucket;

use super::open::{OpenSnapshot, OpenSnapshotError};

/// Why nothing can be rescued.
#[derive(Debug, thiserror::Error)]
pub enum RescueError {
    /// The folder is not what it should be.
    #[error("{} has no folders 'chunks' and 'manifests': name the home of the dead instance, or of a mirror", .0.display())]
    NotARepository(PathBuf),
    /// The manifests cannot be listed.
    #[error(transparent)]
    Manifests(#[from] ManifestFileError),
    /// The bucket cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no place for manifests.
    #[error("cannot make the folder {}", path.display())]
    Meanwhile {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// No snapshot opens.
    #[error("the recovery key opens none of the {0} snapshots here: it belongs to another instance")]
    NothingOpens(usize),
    /// There are none.
    #[error("there are no snapshots in {}", .0.display())]
    Nothing(PathBuf),
}

/// What is rescued from a bucket: manifests lie in a folder meanwhile.
#[derive(Debug)]
struct Meanwhile(PathBuf);

impl Drop for Meanwhile {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A folder to rescue from.
#[derive(Debug)]
pub struct Rescue {
    /// Its chunks.
    pub chunks: Arc<dyn ChunkStore>,
    /// What the key opens, by collection and number.
    pub snapshots: Vec<OpenSnapshot>,
}

impl Rescue {
    /// Opens every snapshot in `dir` that `key` opens. What does not open is reported to `monitor`.
    ///
    /// # Errors
    /// [`RescueError`].
    pub fn open(dir: &Path, key: &RecoveryKey, monitor: &dyn Monitor) -> Result<Self, RescueError> {
        let (chunks, manifests) = (dir.join("chunks"), dir.join("manifests"));
        if !chunks.is_dir() || !manifests.is_dir() {
            return Err(RescueError::NotARepository(dir.to_owned()));
        }
        Self::of(ManifestFiles::new(manifests), Arc::new(ChunkFiles::read_only(chunks)), dir, key, monitor)
    }

    /// The same from a bucket that a home kept its chunks in. Manifests are read into the folder `meanwhile`, which is made, and removed
    /// again.
    ///
    /// # Errors
    /// [`RescueError`].
    pub fn from_bucket(
        bucket: &Bucket,
        meanwhile: &Path,
        key: &RecoveryKey,
        monitor: &dyn Monitor,
    ) -> Result<Self, RescueError> {
        std::fs::create_dir(meanwhile).map_err(|cause| RescueError::Meanwhile { path: meanwhile.to_owned(), cause })?;
        let folder = Meanwhile(meanwhile.to_owned());
        fetch_manifests(bucket, &folder.0)?;
        let chunks = Arc::new(ChunkObjects::read_only(bucket.clone()));
        let shown = PathBuf::from(bucket.address().to_string());
        Self::of(ManifestFiles::new(folder.0.clone()), chunks, &shown, key, monitor)
    }

    fn of(
        manifests: ManifestFiles,
        chunks: Arc<dyn ChunkStore>,
        dir: &Path,
        key: &RecoveryKey,
        monitor: &dyn Monitor,
    ) -> Result<Self, RescueError> {
        let ids = manifests.list()?;
        if ids.is_empty() {
            return Err(RescueError::Nothing(dir.to_owned()));
        }
        let mut snapshots = Vec::new();
        for id in &ids {
            match open(&manifests, id, key) {
                Ok(Some(snapshot)) => snapshots.push(snapshot),
                Ok(None) => {}
                Err(message) => monitor.problem(Problem { subject: format!("snapshot {}", id.short()), message }),
            }
        }
        if snapshots.is_empty() {
            return Err(RescueError::NothingOpens(ids.len()));
        }
        snapshots.sort_by(|a, b| {
            let place = |s: &OpenSnapshot| (s.private.name.clone(), s.collection(), s.signed.manifest.sequence);
            place(a).cmp(&place(b))
        });
        Ok(Self { chunks, snapshots })
    }

    /// The newest whole snapshot of a collection, or the one with this number: `NAME` or `NAME@NUMBER`.
    pub fn find(&self, text: &str) -> Option<&OpenSnapshot> {
        let (name, number) = text.split_once('@').unwrap_or((text, "latest"));
        let of_name = self.snapshots.iter().filter(|snapshot| snapshot.private.name == name);
        match number.parse::<u64>() {
            Ok(number) => of_name.into_iter().find(|snapshot| snapshot.signed.manifest.sequence == number),
            Err(_) if number == "latest" => {
                of_name.max_by_key(|s| (!s.signed.manifest.partial, s.signed.manifest.sequence))
            }
            Err(_) => None,
        }
    }
}

/// Opens one snapshot; `None` if it has no envelope for this key.
fn open(manifests: &ManifestFiles, id: &ManifestId, key: &RecoveryKey) -> Result<Option<OpenSnapshot>, String> {
    let (signed, envelopes) = manifests.load(id).map_err(|error| error.to_string())?;
    let recipient = key.recipient().id();
    let ours = envelopes.iter().find(|e| e.algorithm == HPKE_X25519 && e.recipient == recipient);
    let Some(envelope) = ours else { return Ok(None) };
    let opened = envelope
        .open_with_recovery(id, &signed.manifest.commitment, key)
        .map_err(|error: EnvelopeError| error.to_string())?;
    OpenSnapshot::with_key(signed, opened).map(Some).map_err(|error: OpenSnapshotError| error.to_string())
}

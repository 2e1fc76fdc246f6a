//! Manifest files: `manifests/<id>`, the bytes exactly as hashed and signed, and `manifests/<id>.sidecar` beside them.
//!
//! The sidecar (signature and envelopes) is written first; the manifest's presence is what counts. A sidecar alone is
//! left over from a kill and means nothing. Both are durable when `save` returns (R8).

mod look; // whether the files are what they were

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::files;
use super::marker::{Away, Marker};
use serde::Deserialize;
use serde::de::DeserializeOwned;

pub use look::{Fault, Looked, Part};

use crate::domain::envelope::Envelope;
use crate::domain::id::ManifestId;
use crate::domain::manifest::{MAX_BYTES, MAX_SIDECAR_BYTES, ManifestError, SIDECAR_FORMAT, Sidecar, SignedManifest};
use crate::transport::bucket::{Bucket, BucketError, Put};

/// What went wrong with a manifest's files.
#[derive(Debug, thiserror::Error)]
pub enum ManifestFileError {
    /// There is no such manifest.
    #[error("manifest {id} is missing")]
    Missing {
        /// Which one.
        id: ManifestId,
    },
    /// Its bytes or signature do not hold.
    #[error("manifest {id} is damaged: run 'bulbil rebuild', then 'bulbil sync' gets it back from a peer that has it")]
    Damaged {
        /// Which one.
        id: ManifestId,
        /// What is wrong.
        #[source]
        cause: ManifestError,
    },
    /// Its sidecar is missing or no sidecar.
    #[error(
        "the sidecar of manifest {id} (its signature and keys) is missing or damaged: run 'bulbil rebuild', then 'bulbil sync' gets it back from a peer that has it"
    )]
    BadSidecar {
        /// Whose.
        id: ManifestId,
    },
    /// More envelopes than a sidecar may hold.
    #[error("manifest {id} has more envelopes than its sidecar may hold")]
    TooManyEnvelopes {
        /// Whose.
        id: ManifestId,
    },
    /// The folder is not the one that manifests are kept in: nothing can be said of any manifest.
    #[error(transparent)]
    Away(#[from] Away),
    /// The bucket that keeps a copy of each said no.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// The system said no.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
}

/// The folder `manifests/`.
#[derive(Debug, Clone)]
pub struct ManifestFiles {
    root: PathBuf,
    marker: Option<Marker>,
    /// What is written here is written there, too, and before.
    bucket: Option<Bucket>,
}

impl ManifestFiles {
    /// Reads manifests in `root`, which is there.
    pub fn new(root: PathBuf) -> Self {
        Self { root, marker: None, bucket: None }
    }

    /// Keeps manifests in the folder that is marked. While it has no mark, nothing is written into it, and nothing counts as
    /// missing.
    pub(super) fn open(marker: Marker, bucket: Option<Bucket>) -> Self {
        Self { root: marker.dir().to_owned(), marker: Some(marker), bucket }
    }

    /// Whether the folder is there.
    ///
    /// # Errors
    /// [`ManifestFileError::Away`].
    pub fn check(&self) -> Result<(), ManifestFileError> {
        Ok(self.marker.as_ref().map_or(Ok(()), Marker::check)?)
    }

    /// Where a manifest is.
    pub fn path(&self, id: &ManifestId) -> PathBuf {
        self.root.join(id.to_string())
    }

    fn sidecar_path(&self, id: &ManifestId) -> PathBuf {
        self.root.join(format!("{id}.sidecar"))
    }

    /// Stores a manifest with its envelopes: the sidecar first, both durable on return.
    ///
    /// # Errors
    /// [`ManifestFileError::TooManyEnvelopes`], [`ManifestFileError::Io`].
    pub fn save(&self, signed: &SignedManifest, envelopes: &[Envelope]) -> Result<(), ManifestFileError> {
        self.save_sidecar(&signed.id, Sidecar::new(signed.signature, envelopes.to_vec()))?;
        let path = self.path(&signed.id);
        self.write_to_bucket(&path, &signed.bytes)?;
        files::write_atomically(&path, &signed.bytes, 0o600).map_err(|cause| io("write", &path, cause))
    }

    /// Stores many manifests with their envelopes: all sidecars first, all of it durable on return. What is waited for the disk
    /// does not grow with their number.
    ///
    /// # Errors
    /// [`ManifestFileError::TooManyEnvelopes`], [`ManifestFileError::Io`]; some of them may be there then.
    pub fn save_all<'a>(
        &self,
        manifests: impl IntoIterator<Item = &'a (SignedManifest, Vec<Envelope>)>,
    ) -> Result<(), ManifestFileError> {
        let (mut sidecars, mut files) = (Vec::new(), Vec::new());
        for (signed, envelopes) in manifests {
            sidecars.push(self.sidecar_file(&signed.id, Sidecar::new(signed.signature, envelopes.clone()))?);
            files.push((self.path(&signed.id), signed.bytes.clone()));
        }
        self.write_together(&sidecars)?;
        self.write_together(&files)
    }

    /// Reads a manifest and its envelopes, and checks name and signature.
    ///
    /// # Errors
    /// [`ManifestFileError`].
    pub fn load(&self, id: &ManifestId) -> Result<(SignedManifest, Vec<Envelope>), ManifestFileError> {
        let path = self.path(id);
        let bytes = files::read_bounded(&path, MAX_BYTES)
            .map_err(|cause| match cause.kind() {
                ErrorKind::NotFound => self.check().err().unwrap_or(ManifestFileError::Missing { id: *id }),
                _ => io("read", &path, cause),
            })?
            .ok_or(ManifestFileError::Damaged { id: *id, cause: ManifestError::TooLong })?;
        let sidecar = self.load_sidecar(id)?;
        let signed = SignedManifest::verify(*id, bytes, sidecar.signature)
            .map_err(|cause| ManifestFileError::Damaged { id: *id, cause })?;
        Ok((signed, sidecar.envelopes))
    }

    /// Reads the envelopes of a manifest alone.
    ///
    /// # Errors
    /// [`ManifestFileError`].
    pub fn load_envelopes(&self, id: &ManifestId) -> Result<Vec<Envelope>, ManifestFileError> {
        // Without the signature: reading its key costs about as much as wrapping for another one.
        let part: SidecarEnvelopes = self.read_sidecar(id)?;
        if part.format == SIDECAR_FORMAT { Ok(part.envelopes) } else { Err(ManifestFileError::BadSidecar { id: *id }) }
    }

    /// Replaces the envelopes of a manifest that is stored already.
    ///
    /// # Errors
    /// [`ManifestFileError`]; the old envelopes then still stand.
    pub fn save_envelopes(&self, id: &ManifestId, envelopes: &[Envelope]) -> Result<(), ManifestFileError> {
        let signature = self.load_sidecar(id)?.signature;
        self.save_sidecar(id, Sidecar::new(signature, envelopes.to_vec()))
    }

    /// Replaces the envelopes of many manifests that are stored already.
    ///
    /// # Errors
    /// [`ManifestFileError`]; for some of them the old envelopes may still stand then.
    pub fn save_all_envelopes(&self, all: Vec<(ManifestId, Vec<Envelope>)>) -> Result<(), ManifestFileError> {
        let mut sidecars = Vec::with_capacity(all.len());
        for (id, envelopes) in all {
            sidecars.push(self.sidecar_file(&id, Sidecar::new(self.load_sidecar(&id)?.signature, envelopes))?);
        }
        self.write_together(&sidecars)
    }

    /// Whether the envelopes of a manifest are what they were when they were written. Those that we cannot open
    /// ourselves would rot unnoticed otherwise.
    ///
    /// # Errors
    /// [`ManifestFileError`].
    pub fn has_whole_envelopes(&self, id: &ManifestId) -> Result<bool, ManifestFileError> {
        Ok(self.load_sidecar(id)?.is_whole())
    }

    /// All manifests, sorted by id.
    ///
    /// # Errors
    /// [`ManifestFileError::Io`].
    pub fn list(&self) -> Result<Vec<ManifestId>, ManifestFileError> {
        let mut ids = Vec::new();
        for entry in std::fs::read_dir(&self.root).map_err(|cause| io("read", &self.root, cause))? {
            let entry = entry.map_err(|cause| io("read", &self.root, cause))?;
            ids.extend(entry.file_name().to_str().and_then(|name| name.parse::<ManifestId>().ok()));
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// Manifests of which both files are there, whatever is in them.
    ///
    /// # Errors
    /// [`ManifestFileError::Io`].
    pub fn whole(&self) -> Result<HashSet<ManifestId>, ManifestFileError> {
        let mut names = HashSet::new();
        for entry in std::fs::read_dir(&self.root).map_err(|cause| io("read", &self.root, cause))? {
            names.extend(entry.map_err(|cause| io("read", &self.root, cause))?.file_name().into_string());
        }
        let sidecars = names.iter().filter_map(|name| name.strip_suffix(".sidecar"));
        Ok(sidecars.filter(|name| names.contains(*name)).filter_map(|name| name.parse().ok()).collect())
    }

    /// Removes a manifest, then its sidecar. Removing what is not there is no error.
    ///
    /// # Errors
    /// [`ManifestFileError::Io`].
    pub fn remove(&self, id: &ManifestId) -> Result<(), ManifestFileError> {
        if let Some(bucket) = &self.bucket {
            bucket.remove(&format!("manifests/{id}"))?;
            bucket.remove(&format!("manifests/{id}.sidecar"))?;
        }
        for path in [self.path(id), self.sidecar_path(id)] {
            files::remove(&path).map_err(|cause| io("remove", &path, cause))?;
        }
        files::sync_dir(&self.root).map_err(|cause| io("make durable", &self.root, cause))
    }

    fn save_sidecar(&self, id: &ManifestId, sidecar: Sidecar) -> Result<(), ManifestFileError> {
        self.check()?;
        let (path, bytes) = self.sidecar_file(id, sidecar)?;
        self.write_to_bucket(&path, &bytes)?;
        files::write_atomically(&path, &bytes, 0o600).map_err(|cause| io("write", &path, cause))
    }

    fn sidecar_file(&self, id: &ManifestId, sidecar: Sidecar) -> Result<(PathBuf, Vec<u8>), ManifestFileError> {
        let bytes = serde_json::to_vec(&sidecar).expect("a sidecar has no maps with odd keys");
        if bytes.len() > MAX_SIDECAR_BYTES {
            return Err(ManifestFileError::TooManyEnvelopes { id: *id });
        }
        Ok((self.sidecar_path(id), bytes))
    }

    fn write_together(&self, all: &[(PathBuf, Vec<u8>)]) -> Result<(), ManifestFileError> {
        if all.is_empty() {
            return Ok(());
        }
        self.check()?;
        if let Some(bucket) = &self.bucket {
            let uploads = bucket.uploads();
            for (path, bytes) in all {
                uploads.put(object(path), bytes.clone())?;
            }
            uploads.finish()?;
        }
        files::write_together(&self.root, all, 0o600).map_err(|cause| io("write into", &self.root, cause))
    }

    fn write_to_bucket(&self, path: &Path, bytes: &[u8]) -> Result<(), ManifestFileError> {
        let Some(bucket) = &self.bucket else { return Ok(()) };
        Ok(bucket.put(&object(path), bytes.to_vec(), Put::Replace)?)
    }

    fn load_sidecar(&self, id: &ManifestId) -> Result<Sidecar, ManifestFileError> {
        let sidecar: Sidecar = self.read_sidecar(id)?;
        if sidecar.format == SIDECAR_FORMAT { Ok(sidecar) } else { Err(ManifestFileError::BadSidecar { id: *id }) }
    }

    fn read_sidecar<T: DeserializeOwned>(&self, id: &ManifestId) -> Result<T, ManifestFileError> {
        let path = self.sidecar_path(id);
        let bytes = match files::read_bounded(&path, MAX_SIDECAR_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => self.check().map(|()| None)?,
            Err(cause) => return Err(io("read", &path, cause)),
        };
        let sidecar = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        sidecar.ok_or(ManifestFileError::BadSidecar { id: *id })
    }
}

/// A sidecar, as far as envelopes are concerned.
#[derive(Deserialize)]
struct SidecarEnvelopes {
    format: String,
    envelopes: Vec<Envelope>,
}

/// What a file is called in a bucket.
fn object(path: &Path) -> String {
    format!("manifests/{}", path.file_name().unwrap_or_default().to_string_lossy())
}

fn io(what: &'static str, path: &Path, cause: std::io::Error) -> ManifestFileError {
    ManifestFileError::Io { what, path: path.to_owned(), cause }
}

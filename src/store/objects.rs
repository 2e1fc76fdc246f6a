//! Chunks as objects in a bucket: `chunks/ab/<sha256>`, with manifests beside them (`manifests/<id>`, `manifests/<id>.sidecar`), so that
//! bucket and keys are all that is needed.
//!
//! A write waits until the store has the object, whole and durable, so that a sync has nothing to do; whoever has many to write uses
//! several threads. What a store refuses, or does not answer, is never taken for a missing chunk.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::marker::{Away, NAME, VERSION, parse};
use super::{ChunkStore, ChunkStoreError, Home, Keys, StoreError, files};
use crate::domain::chunk::MAX_STORED;
use crate::domain::id::{ChunkId, InstanceId};
use crate::domain::target::{BucketAddress, BucketKey};
use crate::transport::bucket::{Bucket, BucketError, Put};

const FILE: &str = "store";
const FORMAT: &str = "bulbil-store/1";
/// What was found of the mark counts for so long.
const LOOKED: Duration = Duration::from_secs(20);

/// Where the chunks of a home are, if not in its folder, and what lets us in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BucketStore {
    /// Where.
    pub address: BucketAddress,
    /// What lets us in.
    pub key: BucketKey,
}

#[derive(Serialize, Deserialize)]
struct Document {
    format: String,
    #[serde(flatten)]
    store: BucketStore,
}

impl BucketStore {
    /// What a home says; `None` if its chunks are files.
    pub(super) fn load(home: &Home, keys: &Keys) -> Result<Option<Self>, StoreError> {
        let Some(plain) = keys.load_sealed(home, FILE)? else { return Ok(None) };
        let path = || home.keys().join(FILE);
        let document: Document =
            serde_json::from_slice(&plain).map_err(|_| StoreError::KeysDamaged { path: path() })?;
        if document.format != FORMAT {
            return Err(StoreError::NewerHome { path: path(), found: document.format });
        }
        Ok(Some(document.store))
    }

    /// Says it to a home.
    pub(super) fn save(&self, home: &Home, keys: &Keys) -> Result<(), StoreError> {
        let document = Document { format: FORMAT.to_owned(), store: self.clone() };
        let plain = Zeroizing::new(serde_json::to_vec(&document).expect("it has no maps with odd keys"));
        keys.save_sealed(home, FILE, &plain)
    }

    /// Gets ready; nothing is dialled yet.
    pub(super) fn open(&self) -> Result<Bucket, BucketError> {
        Bucket::open(&self.address, &self.key)
    }
}

/// Chunks in a bucket.
#[derive(Debug)]
pub struct ChunkObjects {
    bucket: Bucket,
    quarantine: PathBuf,
    owners: Vec<InstanceId>,
    looked: Mutex<Option<(Instant, Result<(), Away>)>>,
}

impl ChunkObjects {
    /// Keeps chunks in a bucket that one of `owners` has marked, and puts bad ones into the folder `quarantine`.
    pub(super) fn open(bucket: Bucket, quarantine: PathBuf, owners: Vec<InstanceId>) -> Self {
        Self { bucket, quarantine, owners, looked: Mutex::default() }
    }

    /// Reads chunks of whoever has marked it.
    pub fn read_only(bucket: Bucket) -> Self {
        Self { bucket, quarantine: PathBuf::new(), owners: Vec::new(), looked: Mutex::default() }
    }

    /// Marks the bucket as a home's.
    pub(super) fn mark(bucket: &Bucket, owner: &InstanceId) -> Result<(), BucketError> {
        bucket.put(NAME, format!("{VERSION} {owner}\n").into_bytes(), Put::Replace)
    }

    /// Whose it is; nothing if it is marked by nobody.
    pub(super) fn owner(bucket: &Bucket) -> Result<Option<Result<InstanceId, ()>>, BucketError> {
        Ok(bucket.get(NAME, 256)?.map(|text| parse(&text).ok_or(())))
    }

    fn look(&self) -> Result<(), Away> {
        if self.owners.is_empty() {
            return Ok(());
        }
        let away = |why| Away::of_bucket(self.bucket.address().to_string(), why);
        match Self::owner(&self.bucket) {
            Ok(Some(Ok(owner))) if self.owners.contains(&owner) => Ok(()),
            Ok(Some(Ok(_))) => Err(away("it is marked as another home's".to_owned())),
            Ok(Some(Err(()))) => Err(away("its mark (.bulbil-home) is damaged".to_owned())),
            Ok(None) => Err(away("its mark (.bulbil-home) is missing".to_owned())),
            Err(error) => Err(away(error.to_string())),
        }
    }

    /// Something is not there, unless the bucket is not the one.
    fn missing<T>(&self, value: T) -> Result<T, ChunkStoreError> {
        self.check().map(|()| value)
    }
}

fn name(id: &ChunkId) -> String {
    let id = id.to_string();
    format!("chunks/{}/{id}", &id[..2])
}

impl ChunkStore for ChunkObjects {
    fn write(&self, id: &ChunkId, bytes: &[u8]) -> Result<(), ChunkStoreError> {
        // What has a chunk's name has its bytes: another one who writes it meanwhile does no harm.
        Ok(self.bucket.put(&name(id), bytes.to_vec(), Put::New)?)
    }

    fn sync(&self) -> Result<(), ChunkStoreError> {
        Ok(())
    }

    fn check(&self) -> Result<(), ChunkStoreError> {
        let mut looked = self.looked.lock().expect("no holder of this lock can panic");
        let known = looked.as_ref().filter(|(at, _)| at.elapsed() < LOOKED).map(|(_, known)| known.clone());
        let known = known.unwrap_or_else(|| {
            let found = self.look();
            *looked = Some((Instant::now(), found.clone()));
            found
        });
        Ok(known?)
    }

    fn read(&self, id: &ChunkId) -> Result<Vec<u8>, ChunkStoreError> {
        match self.bucket.get(&name(id), MAX_STORED) {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => self.missing(()).and(Err(ChunkStoreError::Missing { id: *id })),
            Err(BucketError::TooLong { .. }) => {
                Err(ChunkStoreError::TooLong { id: *id, size_bytes: self.size(id)?.unwrap_or(0) })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn size(&self, id: &ChunkId) -> Result<Option<u64>, ChunkStoreError> {
        match self.bucket.size(&name(id))? {
            None => self.missing(None),
            size => Ok(size),
        }
    }

    fn quarantine(&self, id: &ChunkId) -> Result<(), ChunkStoreError> {
        // It may be too long to be kept; then it is gone, like one that somebody else removed.
        if let Ok(Some(bytes)) = self.bucket.get(&name(id), MAX_STORED) {
            let path = self.quarantine.join(id.to_string());
            files::write_atomically(&path, &bytes, 0o600).map_err(|cause| ChunkStoreError::Io {
                what: "put aside",
                path,
                cause,
            })?;
        }
        Ok(self.bucket.remove(&name(id))?)
    }

    fn remove(&self, id: &ChunkId) -> Result<(), ChunkStoreError> {
        Ok(self.bucket.remove(&name(id))?)
    }

    fn list(&self, each: &mut dyn FnMut(ChunkId, u64)) -> Result<(), ChunkStoreError> {
        Ok(self.bucket.list("chunks", &mut |name, size| {
            if let Some((short, id)) = name.split_once('/')
                && id.starts_with(short)
                && let Ok(id) = id.parse::<ChunkId>()
            {
                each(id, size);
            }
        })?)
    }
}

/// Manifests and sidecars that are in a bucket, as files into a folder: those that are not there yet. Answers how many came.
///
/// # Errors
/// [`StoreError`]. What a manifest says is checked by who reads it then.
pub fn fetch_manifests(bucket: &Bucket, into: &Path) -> Result<u64, StoreError> {
    use crate::domain::manifest::{MAX_BYTES, MAX_SIDECAR_BYTES};
    let mut names = Vec::new();
    bucket.list("manifests", &mut |name, _| names.push(name.to_owned())).map_err(ChunkStoreError::from)?;
    // Sidecars first: what has a manifest's name has its sidecar.
    names.sort_by_key(|name| !name.ends_with(".sidecar"));
    let mut came = 0;
    for name in names {
        let (id, limit) = match name.strip_suffix(".sidecar") {
            Some(id) => (id, MAX_SIDECAR_BYTES),
            None => (name.as_str(), MAX_BYTES),
        };
        let path = into.join(&name);
        if id.parse::<crate::domain::id::ManifestId>().is_err() || path.exists() {
            continue;
        }
        match bucket.get(&format!("manifests/{name}"), limit) {
            Ok(Some(bytes)) => {
                files::write_atomically(&path, &bytes, 0o600).map_err(|cause| StoreError::io("write", &path, cause))?;
                came += 1;
            }
            Ok(None) | Err(BucketError::TooLong { .. }) => {}
            Err(error) => return Err(ChunkStoreError::from(error).into()),
        }
    }
    Ok(came)
}

//! Where a portable backup is: in a folder, or in objects of a bucket whose names are the paths in such a folder.
//!
//! A folder is held by handle, and nothing in it has its name before it is durable. An object has its name when it is whole and durable,
//! so that the same order of writes makes the same promise.

use std::path::{Path, PathBuf};

use crate::domain::target::{Location, Target};
use crate::store::dir::{Access, Dir, DirError, part_of};
use crate::transport::bucket::{Bucket, BucketError, Put};

/// What cannot be read or written in a place.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// In a folder.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// In a bucket.
    #[error(transparent)]
    Bucket(#[from] BucketError),
}

impl PlaceError {
    /// Whether it says only that something is not there.
    pub(super) fn is_missing(&self) -> bool {
        match self {
            Self::Dir(error) => error.is_missing(),
            Self::Bucket(error) => matches!(error, BucketError::Missing),
        }
    }
}

/// Where a portable backup is, or is to be.
#[derive(Debug, Clone)]
pub enum At {
    /// In a folder.
    Folder(PathBuf),
    /// In a bucket.
    Bucket(Bucket),
}

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::Bucket(bucket) => write!(f, "{}", bucket.address()),
        }
    }
}

impl At {
    /// Where a target is. Nothing is dialled yet.
    ///
    /// # Errors
    /// [`BucketError::NoKey`], [`BucketError::Address`].
    pub fn of(target: &Target) -> Result<Self, BucketError> {
        match &target.location {
            Location::Folder(path) => Ok(Self::Folder(path.clone())),
            Location::Bucket(address) => {
                let key = target.key.as_ref().ok_or_else(|| BucketError::NoKey(address.to_string()))?;
                Ok(Self::Bucket(Bucket::open(address, key)?))
            }
        }
    }

    pub(super) fn open(&self) -> Result<Place, PlaceError> {
        Ok(match self {
            Self::Folder(path) => Place::Folder(Dir::open(path)?),
            Self::Bucket(bucket) => Place::Bucket(Objects { bucket: bucket.clone(), within: String::new() }),
        })
    }
}

/// A folder, or what stands for one in a bucket.
#[derive(Debug)]
pub(super) enum Place {
    Folder(Dir),
    Bucket(Objects),
}

/// Objects whose names begin in the same way.
#[derive(Debug)]
pub(super) struct Objects {
    pub(super) bucket: Bucket,
    /// Empty, or without a `/` at its end.
    within: String,
}

impl Objects {
    /// The whole name of an object in it.
    pub(super) fn name(&self, name: &str) -> Result<String, PlaceError> {
        if matches!(name, "" | "." | "..") || name.contains(['/', '\0']) {
            return Err(BucketError::Name(name.to_owned()).into());
        }
        Ok(if self.within.is_empty() { name.to_owned() } else { format!("{}/{name}", self.within) })
    }

    pub(super) fn within(&self) -> &str {
        &self.within
    }
}

impl Place {
    /// What it is called in messages.
    pub(super) fn shown(&self) -> PathBuf {
        match self {
            Self::Folder(dir) => dir.path().to_owned(),
            Self::Bucket(objects) if objects.within.is_empty() => objects.bucket.address().to_string().into(),
            Self::Bucket(objects) => Path::new(&objects.bucket.address().to_string()).join(&objects.within),
        }
    }

    pub(super) fn enter(&self, name: &str) -> Result<Self, PlaceError> {
        match self {
            Self::Folder(dir) => Ok(Self::Folder(dir.enter(name)?)),
            Self::Bucket(objects) => {
                Ok(Self::Bucket(Objects { within: objects.name(name)?, bucket: objects.bucket.clone() }))
            }
        }
    }

    pub(super) fn make_or_enter(&self, name: &str) -> Result<Self, PlaceError> {
        match self {
            Self::Folder(dir) => Ok(Self::Folder(dir.make_or_enter(name, Access::Usual)?)),
            Self::Bucket(_) => self.enter(name),
        }
    }

    /// All names in it, sorted.
    pub(super) fn names(&self) -> Result<Vec<String>, PlaceError> {
        match self {
            Self::Folder(dir) => Ok(dir.names()?),
            Self::Bucket(objects) => {
                let listed = objects.bucket.names(&objects.within)?;
                let mut names = [listed.objects, listed.folders].concat();
                names.sort();
                Ok(names)
            }
        }
    }

    pub(super) fn is_folder(&self, name: &str) -> Result<bool, PlaceError> {
        match self {
            Self::Folder(dir) => Ok(dir.is_folder(name)?),
            Self::Bucket(objects) => {
                let listed = objects.bucket.names(&objects.name(name)?)?;
                Ok(!listed.objects.is_empty() || !listed.folders.is_empty())
            }
        }
    }

    pub(super) fn has(&self, name: &str) -> Result<bool, PlaceError> {
        match self {
            Self::Folder(dir) => Ok(dir.has(name)?),
            Self::Bucket(objects) => Ok(objects.bucket.size(&objects.name(name)?)?.is_some()),
        }
    }

    pub(super) fn read(&self, name: &str, limit_bytes: usize) -> Result<Vec<u8>, PlaceError> {
        match self {
            Self::Folder(dir) => Ok(dir.read(name, limit_bytes)?),
            Self::Bucket(objects) => {
                let got = objects.bucket.get(&objects.name(name)?, limit_bytes)?;
                let shown = || self.shown().join(crate::domain::text::shown(name));
                got.ok_or_else(|| DirError::Missing(shown()).into())
            }
        }
    }

    /// Writes a file in the place of an earlier one, or of none. Durable on return.
    pub(super) fn save(&self, name: &str, bytes: &[u8]) -> Result<(), PlaceError> {
        self.save_for(name, bytes, Access::Usual)
    }

    /// The same for a file that, in a folder, its owner alone may read.
    pub(super) fn save_for_owner(&self, name: &str, bytes: &[u8]) -> Result<(), PlaceError> {
        self.save_for(name, bytes, Access::Owner)
    }

    fn save_for(&self, name: &str, bytes: &[u8], access: Access) -> Result<(), PlaceError> {
        match self {
            Self::Folder(dir) => Ok(dir.save(name, bytes, access)?),
            Self::Bucket(objects) => Ok(objects.bucket.put(&objects.name(name)?, bytes.to_vec(), Put::Replace)?),
        }
    }

    /// Writes files in the place of earlier ones, or of none, all of `first` before any of `then`. Durable on return.
    pub(super) fn save_all(&self, first: &[(String, Vec<u8>)], then: &[(String, Vec<u8>)]) -> Result<(), PlaceError> {
        if first.is_empty() && then.is_empty() {
            return Ok(());
        }
        match self {
            Self::Folder(dir) => {
                for (name, bytes) in first.iter().chain(then) {
                    dir.remove(&part_of(name))?;
                    dir.write(&part_of(name), bytes, Access::Usual)?;
                }
                dir.sync_all()?;
                for (name, _) in first.iter().chain(then) {
                    dir.replace(&part_of(name), name)?;
                }
                dir.sync_all()?;
            }
            Self::Bucket(objects) => {
                for together in [first, then] {
                    let uploads = objects.bucket.uploads();
                    for (name, bytes) in together {
                        uploads.put(objects.name(name)?, bytes.clone())?;
                    }
                    uploads.finish()?;
                }
            }
        }
        Ok(())
    }

    /// Removes a file. What is not there is gone.
    pub(super) fn remove(&self, name: &str) -> Result<(), PlaceError> {
        match self {
            Self::Folder(dir) => Ok(dir.remove(name)?),
            Self::Bucket(objects) => Ok(objects.bucket.remove(&objects.name(name)?)?),
        }
    }

    /// Makes everything durable that was written.
    pub(super) fn sync_all(&self) -> Result<(), PlaceError> {
        match self {
            Self::Folder(dir) => Ok(dir.sync_all()?),
            Self::Bucket(_) => Ok(()),
        }
    }

    /// Holds it as ours, as far as it can be; answers whether it was free.
    pub(super) fn hold(&self) -> Result<bool, PlaceError> {
        match self {
            Self::Folder(dir) => Ok(dir.hold()?),
            Self::Bucket(_) => Ok(true),
        }
    }
}

//! Places that copies go to: named, looked up and forgotten, as the owner of this instance says. What goes there: [`copies`](super::copies).

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::backup::restore::{RestoreError, refuse_homes};
use crate::backup::select::{self, SelectError};
use crate::domain::peer::is_plain_name;
use crate::domain::target::{BucketKey, Location, Target, TargetError};
use crate::portable::At;
use crate::portable::target::{CopyError, begin};
use crate::store::{IndexError, Store, StoreError};

/// Why a target is not named, or not found.
#[derive(Debug, thiserror::Error)]
pub enum TargetsError {
    /// There is none at all.
    #[error("there is no target yet: 'bulbil target add' names one")]
    NoneYet,
    /// There is none of this name.
    #[error("there is no target {name:?}; there are: {}", .known.join(", "))]
    NoSuch {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// No name.
    #[error("{0:?} cannot be a target's name: use letters, digits and -_., 64 at most")]
    Name(String),
    /// Another place has this name.
    #[error("there is a target {0:?} already, elsewhere: 'bulbil target remove' forgets it first")]
    NameTaken(String),
    /// A collection has this name.
    #[error("there is a collection {0:?}: give the target another name, so that 'bulbil copy' knows which is meant")]
    NameOfCollection(String),
    /// The place has a name already.
    #[error("that is target {0:?} already: two names for one place are one copy")]
    PlaceTaken(String),
    /// No address.
    #[error(transparent)]
    Address(#[from] TargetError),
    /// A path that cannot be kept.
    #[error("the path of a target has to be valid UTF-8")]
    NotUtf8,
    /// The folder is not there.
    #[error("{} is not there: mount its disk, or make the folder; a copy is never put where the disk should be", .0.display())]
    NotThere(PathBuf),
    /// A home, or around one.
    #[error("a target cannot be there")]
    Home(#[source] RestoreError),
    /// The folder is backed up itself.
    #[error("{} is backed up itself, with collection {collection:?}: each copy would be in the next backup; name a folder elsewhere", path.display())]
    BackedUp {
        /// The folder.
        path: PathBuf,
        /// By which collection.
        collection: String,
    },
    /// It would be removed with a folder that is laid out anew.
    #[error("{} lies in the folder that collection {collection:?} is laid out in, and would be removed with what was there before: name a folder elsewhere", path.display())]
    LaidOut {
        /// The folder.
        path: PathBuf,
        /// The collection.
        collection: String,
    },
    /// What lets us into the bucket is none.
    #[error("an access key and a session token are letters, digits and signs, without blanks")]
    OddKey,
    /// Nothing lets us into the bucket.
    #[error("there are no credentials for the bucket")]
    NoKey,
    /// Credentials, and no bucket.
    #[error("a folder is reached without credentials, endpoint and region: they are for a bucket")]
    KeyForFolder,
    /// A collection that is not there.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// The place cannot be begun.
    #[error(transparent)]
    Begin(#[from] CopyError),
    /// The home cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The index cannot be used.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// What is to be named.
#[derive(Debug, Clone)]
pub struct NewTarget {
    /// What it is called here.
    pub name: String,
    /// Where it is.
    pub location: Location,
    /// The names of the collections that are copied there; all, if there are none.
    pub collections: Vec<String>,
    /// What lets us into a bucket.
    pub key: Option<BucketKey>,
}

/// The target of this name.
///
/// # Errors
/// [`TargetsError::NoneYet`], [`TargetsError::NoSuch`].
pub fn find(store: &Store, name: &str) -> Result<Target, TargetsError> {
    let targets = store.targets()?;
    let known: Vec<String> = targets.iter().map(|target| target.name.clone()).collect();
    match targets.into_iter().find(|target| target.name == name) {
        Some(target) => Ok(target),
        None if known.is_empty() => Err(TargetsError::NoneYet),
        None => Err(TargetsError::NoSuch { name: name.to_owned(), known }),
    }
}

/// Names a place that copies go to, and begins it; and whether it was not known before. A known one with the same name and place gets
/// these credentials and collections.
///
/// # Errors
/// [`TargetsError`]. Nothing is kept then.
pub async fn add(store: &Store, new: NewTarget, now: Timestamp) -> Result<(Target, bool), TargetsError> {
    let NewTarget { name, location, collections, key } = new;
    if !is_plain_name(&name) {
        return Err(TargetsError::Name(name));
    }
    let location = real(location)?;
    let known = store.targets()?;
    let before = known.iter().find(|known| known.name == name);
    if before.is_some_and(|before| before.location != location) {
        return Err(TargetsError::NameTaken(name));
    }
    if let Some(other) = known.iter().find(|known| known.name != name && known.location == location) {
        return Err(TargetsError::PlaceTaken(other.name.clone()));
    }
    let mut wanted = Vec::new();
    for collection in &collections {
        wanted.push(select::collection(store, collection).await?.id);
    }
    if store.index.collection_named(&name).await?.is_some() {
        return Err(TargetsError::NameOfCollection(name));
    }
    match (&location, &key) {
        (Location::Folder(_), Some(_)) => return Err(TargetsError::KeyForFolder),
        (Location::Folder(path), None) => {
            if !path.is_dir() {
                return Err(TargetsError::NotThere(path.clone()));
            }
            refuse_homes(path, store.home.root()).map_err(TargetsError::Home)?;
            refuse_backed_up(store, path).await?;
        }
        (Location::Bucket(_), None) => return Err(TargetsError::NoKey),
        (Location::Bucket(_), Some(key)) => {
            let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
            if !is_plain(&key.id) || !key.token.as_deref().is_none_or(is_plain) {
                return Err(TargetsError::OddKey);
            }
        }
    }
    let is_new = before.is_none();
    let target = Target { name, location, collections: wanted, key };
    begin(store, &At::of(&target).map_err(CopyError::from)?, now).await?;
    store.put_target(target.clone())?;
    Ok((target, is_new))
}

/// Forgets a target; what is there stays.
///
/// # Errors
/// [`TargetsError`].
pub async fn remove(store: &Store, name: &str) -> Result<Target, TargetsError> {
    let target = find(store, name)?;
    store.drop_target(&target.name)?;
    store.index.forget_target(&target.name).await?;
    Ok(target)
}

/// One place has one name: links are followed, if it is there.
fn real(location: Location) -> Result<Location, TargetsError> {
    let Location::Folder(path) = location else { return Ok(location) };
    let path = path.canonicalize().unwrap_or(path);
    if path.to_str().is_none() { Err(TargetsError::NotUtf8) } else { Ok(Location::Folder(path)) }
}

/// What is copied there would be in the next backup, and in the next copy, and so on.
async fn refuse_backed_up(store: &Store, path: &Path) -> Result<(), TargetsError> {
    for collection in store.index.collections().await? {
        let roots = collection.settings.iter().flat_map(|settings| &settings.roots);
        if roots.into_iter().any(|root| root.path.canonicalize().is_ok_and(|root| path.starts_with(root))) {
            return Err(TargetsError::BackedUp { path: path.to_owned(), collection: collection.name });
        }
        // What lies in a folder that is laid out goes with it.
        if let Some(standby) = &collection.standby {
            let (into, name) =
                (&standby.into, standby.into.file_name().unwrap_or_default().to_string_lossy().into_owned());
            let beside = into.with_file_name(format!("{name}.previous"));
            if path.starts_with(into) || path.starts_with(beside) {
                return Err(TargetsError::LaidOut { path: path.to_owned(), collection: collection.name });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::TestStore;

    fn new(name: &str, location: Location) -> NewTarget {
        NewTarget { name: name.to_owned(), location, collections: Vec::new(), key: None }
    }

    #[tokio::test]
    async fn a_place_has_one_name_and_is_neither_a_home_nor_what_is_backed_up() {
        let home = TestStore::new().await;
        let (store, now) = (&home.store, "2026-11-27T02:00:00Z".parse().unwrap());
        home.collection("notes").await;
        let dir = tempfile::tempdir().unwrap();
        let disk = dir.path().canonicalize().unwrap().join("disk");
        let add = async |name: &str, path: &Path| add(store, new(name, Location::Folder(path.to_owned())), now).await;
        assert!(matches!(add("nas", &disk).await, Err(TargetsError::NotThere(_))));
        std::fs::create_dir(&disk).unwrap();
        assert!(matches!(add("a b", &disk).await, Err(TargetsError::Name(_))));
        assert!(matches!(add("notes", &disk).await, Err(TargetsError::NameOfCollection(_))));
        assert!(matches!(add("nas", &home.home()).await, Err(TargetsError::Home(_))));
        let (target, is_new) = add("nas", &disk).await.unwrap();
        assert!(is_new && target.location == Location::Folder(disk.clone()));
        // By whatever name.
        std::os::unix::fs::symlink(&disk, dir.path().join("link")).unwrap();
        assert!(
            matches!(add("usb", &dir.path().join("link")).await, Err(TargetsError::PlaceTaken(name)) if name == "nas")
        );
        assert!(!add("nas", &disk).await.unwrap().1, "the same again is the same");
        std::fs::create_dir(dir.path().join("other")).unwrap();
        assert!(matches!(add("nas", &dir.path().join("other")).await, Err(TargetsError::NameTaken(_))));
        assert!(matches!(find(store, "usb"), Err(TargetsError::NoSuch { .. })));
        remove(store, "nas").await.unwrap();
        assert!(matches!(find(store, "nas"), Err(TargetsError::NoneYet)));
        assert!(disk.join("backup_manifest.json").is_file(), "what is there stays");
    }
}

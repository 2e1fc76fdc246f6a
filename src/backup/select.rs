//! Which snapshot: `notes`, `notes@latest`, `notes@3`, `notes@before-upgrade`, `notes@1f2e3d4c`, or an id alone.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::domain::id::ManifestId;
use crate::domain::manifest::PrivatePart;
use crate::domain::metadata::path::TreePath;
use crate::domain::retention::Tag;
use crate::store::index::{Collection, Snapshot};
use crate::store::{IndexError, Store};

/// Why there is no such snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// No such collection.
    #[error("there is no collection {name:?} here{}", list(.known))]
    NoCollection {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A collection without snapshots.
    #[error(
        "collection {0:?} has no complete snapshot yet: run 'bulbil backup' where it is kept, or 'bulbil fetch' here"
    )]
    NoSnapshots(String),
    /// No such snapshot.
    #[error("there is no snapshot {0:?}: 'bulbil snapshots' lists those that there are")]
    NoSnapshot(String),
    /// More than one fits.
    #[error("{0:?} fits several snapshots: give more digits of the id")]
    Ambiguous(String),
    /// Another collection's.
    #[error("snapshot {which} is of another collection than {name:?}: 'bulbil snapshots {name}' lists those that fit")]
    OtherCollection {
        /// What was asked for.
        which: String,
        /// The collection that it should be of.
        name: String,
    },
    /// Not a path.
    #[error("{} is no path in a snapshot: paths are relative, as 'bulbil ls' shows them", .0.display())]
    NoPath(PathBuf),
    /// The index cannot be used.
    #[error(transparent)]
    Index(#[from] IndexError),
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "; there are none yet".to_owned() } else { format!("; there are: {}", names.join(", ")) }
}

/// Finds a collection by its name.
///
/// # Errors
/// [`SelectError::NoCollection`].
pub async fn collection(store: &Store, name: &str) -> Result<Collection, SelectError> {
    if let Some(found) = store.index.collection_named(name).await? {
        return Ok(found);
    }
    let known = store.index.collections().await?.into_iter().map(|collection| collection.name).collect();
    Err(SelectError::NoCollection { name: name.to_owned(), known })
}

/// Finds a snapshot: `NAME`, `NAME@latest`, `NAME@NUMBER`, `NAME@TAG` (the newest one that has it), `NAME@ID`, or at least six digits of
/// an id. `tag:` before a tag says that it is one.
///
/// # Errors
/// [`SelectError`].
pub async fn snapshot(store: &Store, text: &str) -> Result<Snapshot, SelectError> {
    let (name, which) = text.split_once('@').unwrap_or((text, "latest"));
    if !text.contains('@') && store.index.collection_named(name).await?.is_none() && is_id(text) {
        return only(store.index.snapshots(None).await?, text, text);
    }
    let collection = collection(store, name).await?;
    let snapshots = store.index.snapshots(Some(&collection.id)).await?;
    if which == "latest" {
        let best = |s: &&Snapshot| (!s.beside, s.complete && s.has_key && !s.partial, s.complete, s.sequence);
        return snapshots.iter().max_by_key(best).cloned().ok_or_else(|| SelectError::NoSnapshots(name.to_owned()));
    }
    if let Ok(sequence) = which.parse::<u64>()
        && let Some(found) =
            snapshots.iter().filter(|snapshot| snapshot.sequence == sequence).min_by_key(|snapshot| snapshot.beside)
    {
        return Ok(found.clone());
    }
    if let Ok(tag) = which.strip_prefix("tag:").unwrap_or(which).parse::<Tag>() {
        let marks = store.index.marks().await?;
        let has = |snapshot: &&Snapshot| marks.get(&snapshot.id).is_some_and(|mark| mark.tags.contains(&tag));
        let order = |snapshot: &&Snapshot| (!snapshot.beside, snapshot.sequence);
        if let Some(found) = snapshots.iter().filter(has).max_by_key(order) {
            return Ok(found.clone());
        }
    }
    if is_id(which) {
        return only(snapshots, which, text);
    }
    Err(SelectError::NoSnapshot(text.to_owned()))
}

/// A snapshot of this collection: as [`snapshot`] takes it, or only what would stand behind the `@`.
///
/// # Errors
/// [`SelectError`].
pub async fn snapshot_of(store: &Store, collection: &Collection, which: &str) -> Result<Snapshot, SelectError> {
    let text = if which.contains('@') { which.to_owned() } else { format!("{}@{which}", collection.name) };
    let found = snapshot(store, &text).await?;
    match found.collection == collection.id {
        true => Ok(found),
        false => Err(SelectError::OtherCollection { which: which.to_owned(), name: collection.name.clone() }),
    }
}

/// The single root, which need not be typed.
pub fn only_root(private: &PrivatePart) -> Option<TreePath> {
    match private.roots.as_slice() {
        [root] => TreePath::new(root.name.clone().into_bytes()).ok(),
        _ => None,
    }
}

/// A path as a user types it: with the root's name in front, or without it if there is only one root.
///
/// # Errors
/// [`SelectError::NoPath`].
pub fn path(path: &Path, private: &PrivatePart) -> Result<TreePath, SelectError> {
    let typed = path.as_os_str().as_bytes();
    let typed = typed.strip_prefix(b"./").unwrap_or(typed);
    let trimmed = typed.strip_suffix(b"/").unwrap_or(typed);
    let relative = match only_root(private) {
        Some(root) if trimmed == b"." || trimmed.is_empty() => root.as_bytes().to_vec(),
        Some(root) if !TreePath::new(trimmed.to_vec()).is_ok_and(|path| path.is_within(&root)) => {
            [root.as_bytes(), b"/", trimmed].concat()
        }
        _ => trimmed.to_vec(),
    };
    TreePath::new(relative).map_err(|_| SelectError::NoPath(path.to_owned()))
}

fn is_id(text: &str) -> bool {
    (6..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn only(snapshots: Vec<Snapshot>, prefix: &str, text: &str) -> Result<Snapshot, SelectError> {
    let fits = |id: &ManifestId| id.to_string().starts_with(prefix);
    let mut found = snapshots.into_iter().filter(|snapshot| fits(&snapshot.id));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => Err(SelectError::Ambiguous(text.to_owned())),
        _ => Err(SelectError::NoSnapshot(text.to_owned())),
    }
}

//! A place that is kept up to date: a portable backup that copies go into again and again, and what is in it looked at.
//!
//! It is begun once, by its admin's word. From then on its first document is its mark: where that is not to be found, the disk is not
//! mounted or the bucket is another one, and nothing is written there.

mod check; // whether what is there is what it should be
mod prune; // what was removed here is removed there

use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::document::{BACKUP_MANIFEST, CHUNKS, FORMAT};
use super::export::{ExportError, ExportOptions, Exported, place as exporting};
use super::folder::read_json;
use super::place::{At, Place, PlaceError};
use super::writer::Writer;
use crate::domain::id::{ChunkId, CollectionId, ManifestId};
use crate::monitor::Monitor;
use crate::store::dir::part_of;
use crate::store::{IndexError, Store, blocking};
use crate::transport::bucket::BucketError;

pub use check::{Checked, Depth, check};
pub use prune::{TargetPrune, TargetPruned, prune};

/// Why nothing, or not all, was copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The mark is missing.
    #[error(
        "{0} is not the place that copies go to: its {BACKUP_MANIFEST} is not there. Is its disk mounted, or is it another bucket? Nothing was written"
    )]
    Away(String),
    /// It is of another instance.
    #[error("{0} holds the copies of another instance: name another place")]
    Others(String),
    /// The mark cannot be read as one.
    #[error(
        "{BACKUP_MANIFEST} in {0} is damaged: 'bulbil target add' with the same place begins it again, if that file is removed"
    )]
    Damaged(String),
    /// Something else is there.
    #[error("{0} is not empty, and holds no copies: name an empty folder, which 'mkdir' makes")]
    NotEmpty(String),
    /// What is there is not known for sure.
    #[error(
        "{0} there cannot be read, so that nobody knows what it leans on, and nothing was removed: 'bulbil target verify --repair' looks at it"
    )]
    Unsure(String),
    /// Somebody is at work in it.
    #[error("another process writes into {0}: wait until it is done")]
    Busy(String),
    /// It cannot be read or written.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// It could not be copied.
    #[error(transparent)]
    Export(ExportError),
    /// The index cannot be used.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// It was stopped.
    #[error("stopped: what was copied stays; run it again to go on")]
    Cancelled,
}

impl From<BucketError> for CopyError {
    fn from(error: BucketError) -> Self {
        PlaceError::from(error).into()
    }
}

impl From<ExportError> for CopyError {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Cancelled => Self::Cancelled,
            ExportError::Place(error) => Self::Place(error),
            ExportError::Dir(error) => Self::Place(error.into()),
            ExportError::Index(error) => Self::Index(error),
            error => Self::Export(error),
        }
    }
}

/// What was copied of one collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// What was written.
    pub exported: Exported,
    /// The newest snapshot there.
    pub newest: ManifestId,
}

/// Begins a place, or finds that it was begun by this instance.
///
/// # Errors
/// [`CopyError`]. A folder is not made: where a disk is not mounted, there would be one.
pub async fn begin(store: &Store, at: &At, now: Timestamp) -> Result<(), CopyError> {
    let (store, at) = (store.clone(), at.clone());
    blocking(move || {
        let place = at.open()?;
        match marked(&store, &place) {
            Err(CopyError::Away(_)) => {}
            known => return known.map(drop),
        }
        if place.names()?.iter().any(|name| name != "lost+found" && *name != part_of(BACKUP_MANIFEST)) {
            return Err(CopyError::NotEmpty(at.to_string()));
        }
        exporting::begin(place, &store, now)?;
        Ok(())
    })
    .await
}

/// Whether the place is there, and ours.
///
/// # Errors
/// [`CopyError`].
pub async fn look(store: &Store, at: &At) -> Result<(), CopyError> {
    let (store, at) = (store.clone(), at.clone());
    blocking(move || at.open().map_err(away(&at)).and_then(|place| marked(&store, &place)).map(drop)).await
}

/// Copies what is new of a collection. What is missing or damaged here is a problem for `monitor`. Killed at any point, the same call goes
/// on; nothing is named there that is not there.
///
/// # Errors
/// [`CopyError`].
pub async fn copy(
    store: &Store,
    at: &At,
    collection: &CollectionId,
    now: Timestamp,
    monitor: Arc<dyn Monitor>,
    cancel: &CancellationToken,
) -> Result<Option<Copied>, CopyError> {
    let options = ExportOptions { collections: vec![*collection], ..ExportOptions::default() };
    look(store, at).await?;
    let parts = super::export::plan(store, &options, &*monitor).await?;
    let newest = parts.iter().flat_map(|part| &part.snapshots).max_by_key(|snapshot| snapshot.sequence);
    let Some(newest) = newest.map(|snapshot| snapshot.id) else { return Ok(None) };
    let (store, at, cancel) = (store.clone(), at.clone(), cancel.clone());
    let exported = blocking(move || {
        let place = at.open().map_err(away(&at))?;
        let document = marked(&store, &place)?;
        Ok::<_, CopyError>(exporting::go_on(place, document, &store, &options, parts, now, &*monitor, &cancel)?)
    });
    Ok(Some(Copied { exported: exported.await?, newest }))
}

/// A folder that is not there at all is a disk that is not mounted.
fn away(at: &At) -> impl Fn(PlaceError) -> CopyError + '_ {
    |error| if error.is_missing() { CopyError::Away(at.to_string()) } else { error.into() }
}

fn marked(store: &Store, place: &Place) -> Result<super::document::BackupManifest, CopyError> {
    let shown = || place.shown().display().to_string();
    if !place.has(BACKUP_MANIFEST)? {
        // Whether an object is there is asked without an answer in words; whether a bucket is, is not.
        place.names()?;
        return Err(CopyError::Away(shown()));
    }
    let document = match read_json::<super::document::BackupManifest>(place, BACKUP_MANIFEST, FORMAT) {
        Ok(document) if document.format == FORMAT => document,
        Err(super::folder::FileError::Place(error)) => return Err(error.into()),
        _ => return Err(CopyError::Damaged(shown())),
    };
    if store.keys.is_ours(&document.instance) { Ok(document) } else { Err(CopyError::Others(shown())) }
}

/// Writes chunks anew that are damaged or missing in a place, as far as they are whole here; answers how many.
///
/// # Errors
/// [`CopyError`].
pub async fn repair(store: &Store, at: &At, bad: &[ChunkId]) -> Result<u64, CopyError> {
    let (store, at, bad) = (store.clone(), at.clone(), bad.to_vec());
    blocking(move || {
        let place = at.open().map_err(away(&at))?;
        marked(&store, &place)?;
        let mut writer = Writer::new(place.make_or_enter(CHUNKS)?)?;
        for id in &bad {
            let whole = store.chunks.read(id).ok().filter(|bytes| ChunkId::of(bytes) == *id);
            if let Some(bytes) = whole {
                writer.put(id, &bytes)?;
            }
        }
        writer.flush()?;
        place.sync_all()?;
        Ok(writer.written.chunks)
    })
    .await
}

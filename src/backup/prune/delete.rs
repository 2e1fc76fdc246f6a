//! One snapshot that somebody names is deleted, whatever the policy says; never a pinned one, and never the last good one.

use jiff::Timestamp;

use super::{PruneError, remove_manifests};
use crate::store::index::{Amount, Snapshot};
use crate::store::{IndexError, Store, StoreError};

/// Why it stays.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// Somebody wants to keep it.
    #[error("it is pinned: unpin it first")]
    Pinned,
    /// Nothing better is there.
    #[error("it is the last good one of its collection: back up first")]
    LastGood,
    /// Nothing else is there.
    #[error("it is the only one of its collection: back up first")]
    Only,
    /// It is not as it was a moment ago.
    #[error("somebody pinned it, or deleted it, at this moment: look again")]
    Meanwhile,
    /// It cannot be done.
    #[error(transparent)]
    Prune(#[from] PruneError),
}

impl From<IndexError> for DeleteError {
    fn from(error: IndexError) -> Self {
        Self::Prune(error.into())
    }
}

impl From<StoreError> for DeleteError {
    fn from(error: StoreError) -> Self {
        Self::Prune(error.into())
    }
}

/// Whether it may go, and what only it leans on: that is freed by prunes, after the grace period.
///
/// # Errors
/// [`DeleteError`] says why it stays.
pub async fn look(store: &Store, snapshot: &Snapshot, now: Timestamp) -> Result<Amount, DeleteError> {
    if store.index.marks().await?.get(&snapshot.id).is_some_and(|mark| mark.pinned) {
        return Err(DeleteError::Pinned);
    }
    let last_good = store.index.last_good(&snapshot.collection, now).await?;
    if last_good.is_some_and(|(id, _)| id == snapshot.id) {
        return Err(DeleteError::LastGood);
    }
    if store.index.snapshots(Some(&snapshot.collection)).await?.len() == 1 {
        return Err(DeleteError::Only);
    }
    Ok(store.index.only_in(&[snapshot.id]).await?)
}

/// Deletes it. Peers and targets that have it keep it as long as they want.
///
/// # Errors
/// [`DeleteError`], and then it is still there. [`StoreError::Busy`]: somebody is pruning.
pub async fn delete(store: &Store, snapshot: &Snapshot, now: Timestamp) -> Result<(), DeleteError> {
    // Of the last two good ones, two at once do not delete both, in whatever process they are.
    let _lock = store.lock_prune()?;
    look(store, snapshot, now).await?;
    let removed = store.index.remove_snapshots(&[snapshot.id]).await?;
    remove_manifests(store).await?;
    if removed.is_empty() { Err(DeleteError::Meanwhile) } else { Ok(()) }
}

//! Other keys for this instance, and what the new one says of heirs: as an owner asks for it.

use std::time::Duration;

use crate::clock::Clock;
use crate::store::{Rotate, Store, StoreError};

use super::succession::{SuccessionError, renew_appointments};

/// Why the keys were not replaced, or not all that belongs to it was done.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// The keys.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the new key says. Whatever is run next says it.
    #[error(transparent)]
    Succession(#[from] SuccessionError),
}

/// The home under its new keys.
#[derive(Debug)]
pub struct Rotated {
    /// With the new keys.
    pub store: Store,
    /// For how many collections heirs were appointed anew.
    pub renewed: u64,
}

/// Replaces keys. Nobody else may be at work in the home; `store` is out of date afterwards.
///
/// # Errors
/// [`RotateError`].
pub async fn rotate(store: &Store, which: Rotate, clock: &dyn Clock) -> Result<Rotated, RotateError> {
    // Clocks differ: a renewal is not earlier than what it goes on from.
    let collections = store.index.collections().await.map_err(StoreError::from)?;
    let since = collections.into_iter().flat_map(|collection| collection.line).filter_map(|reign| reign.since).max();
    let now = since.map_or(clock.now(), |since| clock.now().max(since + Duration::from_nanos(1)));
    let store = store.rotate(which, now).await?;
    let renewed = if which.identity { renew_appointments(&store, clock.now()).await? } else { 0 };
    Ok(Rotated { store, renewed })
}

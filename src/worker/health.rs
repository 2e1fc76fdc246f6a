//! Whether all is well: one judgement for `bulbil status`, `/statusz` and `/metrics`.

use jiff::Timestamp;

use super::watch::{Bounds, look};
use crate::domain::alert::Alert;
use crate::store::{Store, StoreError};

/// What is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// What an admin is told of.
    pub alerts: Vec<Alert>,
    /// Collections whose newest snapshot does not hold, and why.
    pub unsound: Vec<(String, String)>,
}

impl Health {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.alerts.is_empty() && self.unsound.is_empty()
    }
}

/// Looks at everything.
///
/// # Errors
/// [`StoreError`] if the home cannot be looked at.
pub async fn health(store: &Store, bounds: Bounds, now: Timestamp) -> Result<Health, StoreError> {
    let alerts = look(store, bounds, now).await?;
    let mut unsound = Vec::new();
    for collection in store.index.collections().await? {
        let snapshots = store.index.snapshots(Some(&collection.id)).await?;
        let newest = snapshots.iter().filter(|s| s.complete && !s.partial).max_by_key(|s| s.created_at);
        let Some(newest) = newest else { continue };
        let captures = store.index.captures(&collection.id).await?;
        let capture = captures.iter().find(|(id, _)| *id == newest.id);
        if let Some(why) = capture.and_then(|(_, capture)| capture.suspicion()) {
            unsound.push((collection.name, why));
        }
    }
    Ok(Health { alerts, unsound })
}

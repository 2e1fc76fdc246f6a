//! What is wrong, as a resource.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::alert::{Alert, AlertKind};
use crate::store::{Store, StoreError};
use crate::worker::watch::{Bounds, look};

/// Something that is wrong now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AlertView {
    /// What kind of thing, e.g. `late`.
    #[schema(value_type = String)]
    pub kind: AlertKind,
    /// With what: a collection and what was done for it, a peer, the home.
    pub subject: String,
    /// A sentence: what is wrong, and what to do.
    pub message: String,
    /// Since when that is known; nothing if it was found just now.
    #[schema(value_type = Option<String>)]
    pub since_at: Option<Timestamp>,
    /// When somebody was told of it last.
    #[schema(value_type = Option<String>)]
    pub told_at: Option<Timestamp>,
}

/// All that is wrong now, in the order in which it was found.
///
/// # Errors
/// [`StoreError`] if the home cannot be looked at.
pub async fn alerts(store: &Store, bounds: Bounds, now: Timestamp) -> Result<Vec<AlertView>, StoreError> {
    let known = store.index.alerts().await?;
    let view = |alert: Alert| {
        let same = known.iter().find(|known| {
            known.over_at.is_none() && known.alert.kind == alert.kind && known.alert.subject == alert.subject
        });
        AlertView {
            since_at: same.map(|known| known.since),
            told_at: same.and_then(|known| known.told_at),
            kind: alert.kind,
            subject: alert.subject,
            message: alert.message,
        }
    };
    Ok(look(store, bounds, now).await?.into_iter().map(view).collect())
}

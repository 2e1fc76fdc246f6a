//! What is done by itself for a collection, as a resource.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::schedule::Work;
use crate::store::index::Collection;
use crate::store::{IndexError, Store};
use crate::worker::schedule::next;

/// Something that is done by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ScheduleView {
    /// What is done, e.g. `backup`.
    #[schema(value_type = String)]
    pub kind: Work,
    /// When: five fields as for cron, or `@daily` and the like.
    pub cron: String,
    /// In which time zone (IANA); that of the machine if none is said.
    pub time_zone: Option<String>,
    /// It begins up to so many seconds after its time.
    pub jitter_seconds: u32,
    /// When it is done next; in the past if it is due.
    #[schema(value_type = Option<String>)]
    pub next_at: Option<Timestamp>,
}

/// All that is done by itself for a collection.
///
/// # Errors
/// [`IndexError`].
pub async fn schedules(
    store: &Store,
    collection: &Collection,
    now: Timestamp,
) -> Result<Vec<ScheduleView>, IndexError> {
    let mut views = Vec::new();
    for one in &collection.upkeep.scheduled {
        views.push(ScheduleView {
            kind: one.work,
            cron: one.pattern.to_string(),
            time_zone: one.zone.clone(),
            jitter_seconds: one.jitter_s,
            next_at: next(store, collection, one, now).await?,
        });
    }
    Ok(views)
}

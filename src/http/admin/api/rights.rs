//! What a peer or a guest may have, as it is sent.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::backup::select;
use crate::domain::limits::{Hours, Limits};
use crate::domain::peer::{Rights, Role, Scope};
use crate::http::problem::Problem;
use crate::store::Store;

/// What a peer may have.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RightsBody {
    /// The names of collections; `all` for all, and those added later; none for nothing.
    pub collections: Vec<String>,
    /// `reader`, or `mirror`: it keeps without reading.
    #[serde(default = "reader")]
    #[schema(value_type = String)]
    pub role: Role,
    /// Whether it may serve them to its own peers.
    #[serde(default)]
    pub onward: bool,
    /// Only snapshots from this moment on.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub from_at: Option<Timestamp>,
    /// Bytes a second at most, all its streams together.
    #[schema(minimum = 1)]
    pub rate_bytes: Option<u64>,
    /// Bytes a month at most.
    #[schema(minimum = 1)]
    pub quota_bytes: Option<u64>,
    /// When chunks are sent, UTC, e.g. `22:00-06:00`.
    pub hours: Option<String>,
}

fn reader() -> Role {
    Role::Reader
}

impl RightsBody {
    /// With names resolved.
    ///
    /// # Errors
    /// A problem: there is no such collection, or hours are none.
    pub async fn resolve(&self, store: &Store) -> Result<Rights, Problem> {
        let scope = if self.collections.iter().any(|name| name == "all") {
            Scope::All
        } else {
            let mut ids = BTreeSet::new();
            for name in &self.collections {
                ids.insert(select::collection(store, name).await?.id);
            }
            Scope::Only(ids)
        };
        let hours = self.hours.as_deref().map(str::parse::<Hours>).transpose();
        let hours = hours.map_err(|error| Problem::invalid(error.to_string()))?;
        if self.rate_bytes == Some(0) || self.quota_bytes == Some(0) {
            return Err(Problem::invalid("a limit is at least 1 byte: leave it out for none, or revoke the peer"));
        }
        let limits = Limits { rate: self.rate_bytes, quota: self.quota_bytes, hours };
        Ok(Rights { scope, role: self.role, onward: self.onward, from: self.from_at, limits })
    }
}

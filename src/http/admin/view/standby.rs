//! A collection of another instance that is kept laid out in a folder, as a resource.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::text::path_text;
use crate::store::{IndexError, Store};
use crate::worker::standby::{StandbyStatus, status};

/// How it stands with a standby.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StandbyView {
    /// The name of its collection.
    pub collection: String,
    /// In which folder it is laid out.
    pub into: String,
    /// The command that runs after each change; it is set on the machine itself.
    pub hook: Option<String>,
    /// What is laid out now.
    pub laid_out: Option<LaidOutView>,
    /// Number of the newest snapshot that could be.
    pub newest: Option<u64>,
    /// How many snapshots it is behind; unknown if nothing is laid out.
    pub behind: Option<u64>,
    /// Why the newest one is not laid out.
    pub error: Option<String>,
    /// What was wrong with the command the last time.
    pub hook_error: Option<String>,
}

/// A snapshot that is laid out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LaidOutView {
    /// Which one.
    pub snapshot: String,
    /// Its number.
    pub sequence: u64,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was laid out.
    #[schema(value_type = String, format = DateTime)]
    pub laid_out_at: Timestamp,
}

impl From<StandbyStatus> for StandbyView {
    fn from(of: StandbyStatus) -> Self {
        let newest = of.newest.as_ref().map(|newest| newest.sequence);
        let here = of.laid_out.as_ref().map(|here| here.sequence);
        Self {
            collection: of.name,
            into: path_text(&of.settings.into),
            hook: of.settings.hook,
            laid_out: of.laid_out.map(|here| LaidOutView {
                snapshot: here.snapshot.to_string(),
                sequence: here.sequence,
                created_at: here.created_at,
                laid_out_at: here.laid_out_at,
            }),
            newest,
            behind: newest.zip(here).map(|(newest, here)| newest.saturating_sub(here)),
            error: of.error,
            hook_error: of.hook_error,
        }
    }
}

/// All of them, by name.
///
/// # Errors
/// [`IndexError`].
pub async fn standbys(store: &Store) -> Result<Vec<StandbyView>, IndexError> {
    Ok(status(store).await?.into_iter().map(StandbyView::from).collect())
}

//! A collection that was taken over, as a resource, and as `bulbil promote --json` says it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::text::path_text;
use crate::replicate::succession::Promotion;
use crate::worker::promote::TakeOver;

/// What a takeover means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PromotionView {
    /// The name of the collection that is led from here now.
    pub collection: String,
    /// Which one.
    pub id: String,
    /// Which instance led it until now.
    pub from: String,
    /// Number of the last snapshot of that one that is known here.
    pub after: u64,
    /// Since when it is led from here.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The newest snapshot of which everything is here.
    pub newest: NewestView,
    /// How many newer ones could not be fetched whole before: what was changed in them is not in the folder.
    pub not_fetched: u64,
    /// What is backed up from now on.
    pub roots: Vec<RootView>,
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NewestView {
    /// Which one.
    pub id: String,
    /// Its number.
    pub sequence: u64,
}

/// A folder or a file, and what it is called in snapshots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RootView {
    /// What it is called there.
    pub name: String,
    /// Where it is.
    pub path: String,
}

impl PromotionView {
    /// Of what was planned and carried out.
    pub fn of(planned: &TakeOver, promotion: &Promotion) -> Self {
        let root = |root: &crate::store::index::Root| RootView { name: root.name.clone(), path: path_text(&root.path) };
        Self {
            collection: planned.collection.name.clone(),
            id: planned.collection.id.to_string(),
            from: promotion.from.to_string(),
            after: promotion.after,
            at: promotion.at,
            newest: NewestView { id: planned.newest.id.to_string(), sequence: planned.newest.sequence },
            not_fetched: planned.not_fetched,
            roots: planned.settings.roots.iter().map(root).collect(),
        }
    }
}

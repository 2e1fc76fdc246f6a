//! What must not be lost, as a resource: whose keys these are. Never a key itself.

use serde::{Deserialize, Serialize};

use crate::domain::peer::fingerprint_words;
use crate::domain::text::path_text;
use crate::store::Store;

/// What must not be lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct KeysView {
    /// Which instance.
    pub instance: String,
    /// What it is called.
    pub name: String,
    /// Eight words that stand for the instance, to compare over the telephone.
    pub fingerprint: Vec<String>,
    /// How often the key was renewed for which others seal, from 1.
    pub key_version: u64,
    /// The beginning of the name of the recovery key, as it stands on the recovery sheet.
    pub recovery_key_id: String,
    /// Where the keys are.
    pub folder: String,
}

/// Gathers it.
pub fn keys(store: &Store) -> KeysView {
    let instance = store.keys.instance();
    KeysView {
        instance: instance.to_string(),
        name: store.keys.name.clone(),
        fingerprint: fingerprint_words(&instance).map(str::to_owned).to_vec(),
        key_version: store.keys.key_version,
        recovery_key_id: store.keys.recovery.id().chars().take(8).collect(),
        folder: path_text(store.home.keys()),
    }
}

//! What must not be lost, as a resource: whose keys these are, and which secrets are kept. Never a key or a secret itself.

use serde::{Deserialize, Serialize};

use crate::backup::{escrow, secrets};
use crate::domain::peer::fingerprint_words;
use crate::domain::text::path_text;
use crate::store::index::Collection;
use crate::store::{EscrowFileError, IndexError, Store};

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
    /// The name of that key.
    pub envelope_key_id: String,
    /// The beginning of the name of the recovery key, as it stands on the recovery sheet.
    pub recovery_key_id: String,
    /// Where the keys are.
    pub folder: String,
    /// The secrets of applications.
    pub secrets: Vec<CollectionSecrets>,
}

/// The secrets of a collection's application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CollectionSecrets {
    /// The collection.
    pub collection: String,
    /// Those that are kept here under the recovery key, by name.
    pub kept: Vec<String>,
    /// Those that somebody said are kept elsewhere.
    pub elsewhere: Vec<String>,
    /// Those without which the data is of little use, and that are kept nowhere: a sentence each, with what to do.
    pub missing: Vec<String>,
}

/// Why it cannot be told what is kept.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The files of the secrets.
    #[error(transparent)]
    Escrow(#[from] EscrowFileError),
}

impl KeysView {
    /// Of this instance, with these secrets.
    pub fn of(store: &Store, secrets: Vec<CollectionSecrets>) -> Self {
        let instance = store.keys.instance();
        Self {
            instance: instance.to_string(),
            name: store.keys.name.clone(),
            fingerprint: fingerprint_words(&instance).map(str::to_owned).to_vec(),
            key_version: store.keys.key_version,
            envelope_key_id: store.keys.envelope.recipient().id().to_string(),
            recovery_key_id: store.keys.recovery.id().chars().take(8).collect(),
            folder: path_text(store.home.keys()),
            secrets,
        }
    }
}

/// Gathers it. Reads files, on a thread of its own.
///
/// # Errors
/// [`KeysError`].
pub async fn keys(store: &Store) -> Result<KeysView, KeysError> {
    let collections = store.index.collections().await?;
    let in_store = store.clone();
    let secrets = crate::store::blocking(move || {
        let own = collections.iter().filter(|collection| collection.settings.is_some());
        own.map(|collection| of_collection(&in_store, collection)).collect::<Result<Vec<_>, EscrowFileError>>()
    });
    let mut secrets = secrets.await?;
    secrets.retain(|of| !(of.kept.is_empty() && of.elsewhere.is_empty() && of.missing.is_empty()));
    Ok(KeysView::of(store, secrets))
}

fn of_collection(store: &Store, collection: &Collection) -> Result<CollectionSecrets, EscrowFileError> {
    let (mut kept, mut elsewhere) = (Vec::new(), Vec::new());
    for escrow in store.escrows(&collection.id)? {
        kept.extend(escrow.document.names().into_iter().map(str::to_owned));
        elsewhere.extend(escrow.document.elsewhere);
    }
    for names in [&mut kept, &mut elsewhere] {
        names.sort();
        names.dedup();
    }
    let missing = secrets::missing(store, collection)?.iter().map(escrow::MissingSecret::in_words).collect();
    Ok(CollectionSecrets { collection: collection.name.clone(), kept, elsewhere, missing })
}

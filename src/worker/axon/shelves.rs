//! All collections of Axon BBSes: what their newest snapshots hold is read while Axon instances are served, also where nobody is
//! followed from here, after a rebuild or on the mirror of another instance.

use std::collections::HashMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{AxonError, newest, refresh};
use crate::axon::record::FORMAT_PATH;
use crate::backup::open::OpenSnapshot;
use crate::domain::id::{CollectionId, ManifestId};
use crate::store::Store;
use crate::store::index::{Collection, CollectionKind};

/// How often is looked whether there is a newer snapshot.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The document that is looked for stands among the first entries of a tree: behind the folders above it.
const FIRST_ENTRIES: usize = 4;

/// Snapshots that hold no Axon BBS, by their collections: they need not be opened again.
pub type Others = HashMap<CollectionId, ManifestId>;

/// Reads what is new until cancelled. May be dropped at any point.
pub async fn keep(store: &Store, cancel: &CancellationToken) {
    let mut others = Others::new();
    while !cancel.is_cancelled() {
        if let Err(error) = refresh_all(store, &mut others).await {
            tracing::warn!(%error, "a collection of an Axon BBS cannot be read; it is tried again");
        }
        let _ = cancel.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await;
    }
}

/// Takes what the newest snapshots of all collections of Axon BBSes hold. One that cannot be read holds up no other.
///
/// # Errors
/// The first [`AxonError`].
pub async fn refresh_all(store: &Store, others: &mut Others) -> Result<(), AxonError> {
    let mut result = Ok(());
    for collection in store.index.collections().await? {
        if let Err(error) = refresh_one(store, &collection, others).await
            && result.is_ok()
        {
            result = Err(error);
        }
    }
    result
}

async fn refresh_one(store: &Store, collection: &Collection, others: &mut Others) -> Result<(), AxonError> {
    match &collection.settings {
        Some(settings) if settings.kind != CollectionKind::Axon => return Ok(()),
        Some(_) => {}
        // It is another's: its snapshots say what they hold.
        None => {
            let Some(id) = newest(store, collection).await? else { return Ok(()) };
            if others.get(&collection.id) == Some(&id) {
                return Ok(());
            }
            let known = store.axon(collection.id).state().await?.snapshot.is_some();
            if !known && !holds_axon(store, &id).await? {
                others.insert(collection.id, id);
                return Ok(());
            }
        }
    }
    refresh(store, collection).await?;
    Ok(())
}

async fn holds_axon(store: &Store, id: &ManifestId) -> Result<bool, AxonError> {
    let (store, id) = (store.clone(), *id);
    let look = move || {
        let open = OpenSnapshot::open(&store, &id)?;
        for entry in open.tree(store.chunks.as_ref()).take(FIRST_ENTRIES) {
            let entry = entry.map_err(crate::backup::documents::DocumentsError::from)?;
            if entry.path.as_bytes() == FORMAT_PATH.as_bytes() {
                return Ok(true);
            }
        }
        Ok(false)
    };
    tokio::task::spawn_blocking(look).await.map_err(|_| AxonError::Died)?
}

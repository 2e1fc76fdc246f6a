//! Which collection what comes from Axon instances belongs to.

use crate::domain::id::CollectionId;
use crate::store::index::{Collection, CollectionKind, CollectionSettings, NewCollection};
use crate::store::{IndexError, Store, entropy};

/// What the collection is called that is made when the first one is needed.
pub const DEFAULT_NAME: &str = "axon";

/// The collections of Axon BBSes that are led from here, by name.
///
/// # Errors
/// [`IndexError`].
pub async fn own_collections(store: &Store) -> Result<Vec<Collection>, IndexError> {
    let mut all = store.index.collections().await?;
    let is_axon =
        |collection: &Collection| collection.settings.as_ref().is_some_and(|s| s.kind == CollectionKind::Axon);
    all.retain(|collection| is_axon(collection) && store.keys.is_ours(&collection.origin));
    Ok(all)
}

/// The default collection: the one called `axon`, or the first one; made if there is none.
///
/// # Errors
/// [`IndexError`].
pub async fn default_collection(store: &Store) -> Result<Collection, IndexError> {
    let mut own = own_collections(store).await?;
    if let Some(at) = own.iter().position(|collection| collection.name == DEFAULT_NAME) {
        return Ok(own.swap_remove(at));
    }
    if !own.is_empty() {
        return Ok(own.swap_remove(0));
    }
    let taken = store.index.collection_named(DEFAULT_NAME).await?.is_some();
    let id = CollectionId::random(&mut entropy());
    let name = if taken { format!("{DEFAULT_NAME}-{}", id.short()) } else { DEFAULT_NAME.to_owned() };
    make(store, id, name).await
}

/// The collection of an Axon BBS with this name, led from here; made if nothing has the name. `None` if something else has it.
///
/// # Errors
/// [`IndexError`].
pub async fn named_collection(store: &Store, name: &str) -> Result<Option<Collection>, IndexError> {
    let mut own = own_collections(store).await?;
    if let Some(at) = own.iter().position(|collection| collection.name == name) {
        return Ok(Some(own.swap_remove(at)));
    }
    if store.index.collection_named(name).await?.is_some() {
        return Ok(None);
    }
    make(store, CollectionId::random(&mut entropy()), name.to_owned()).await.map(Some)
}

async fn make(store: &Store, id: CollectionId, name: String) -> Result<Collection, IndexError> {
    let settings = CollectionSettings {
        application: None,
        roots: Vec::new(),
        excludes: Vec::new(),
        level: 3,
        padding: crate::domain::chunk::Padding::default(),
        kind: CollectionKind::Axon,
    };
    let new = NewCollection { id, name, origin: store.keys.instance(), settings: Some(settings) };
    store.index.add_collection(&new).await
}

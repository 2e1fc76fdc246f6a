//! What is on a shelf, in short: kept in memory until something changes on it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use super::attached::Attached;
use super::{AxonServeError, UNPOISONED, warn_of};
use crate::axon::library::APPLETS;
use crate::domain::axon::backup::{METADATA, Metadata};
use crate::domain::axon::kept::Kept;
use crate::domain::axon::manifest::ContentType;
use crate::domain::id::{CollectionId, ContentHash};
use crate::store::Store;
use crate::store::index::Collection;
use crate::store::index::axon::ItemLine;

/// A complete item in short.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// What it is announced as; not empty.
    pub(super) kinds: BTreeSet<ContentType>,
    /// When it came to the instance that leads the collection.
    pub(super) came_at: Timestamp,
    /// When it came here, or became an applet's code, or the last file came that it attaches.
    pub(super) changed_at: Timestamp,
    /// How many chunks it has.
    pub(super) chunks: u32,
    /// How long its manifest is.
    pub(super) manifest_bytes: u64,
    /// Its key is known here.
    pub(super) opens: bool,
}

/// The complete items of a collection that anybody may see.
#[derive(Debug)]
pub(super) struct Catalogue {
    pub(super) collection: CollectionId,
    generation: u64,
    /// It holds something of which it is not said yet when it came: then that changes.
    passing: bool,
    pub(super) lines: HashMap<ContentHash, Line>,
}

/// The catalogues of all collections.
#[derive(Debug, Default)]
pub(super) struct Catalogues {
    kept: Mutex<HashMap<CollectionId, Arc<Catalogue>>>,
    attached: Attached,
}

impl Catalogues {
    /// The catalogue of a collection as of this generation, or a later one. `arrivals`: one that is passing does not do.
    pub(super) async fn get(
        &self,
        store: &Store,
        collection: &Collection,
        generation: u64,
        arrivals: bool,
    ) -> Result<Arc<Catalogue>, AxonServeError> {
        let kept = self.kept.lock().expect(UNPOISONED).get(&collection.id).cloned();
        if let Some(kept) = kept.filter(|kept| kept.generation == generation && !(arrivals && kept.passing)) {
            return Ok(kept);
        }
        let mut fresh = read(store, &collection.id, generation).await?;
        self.attached.follow(store, &collection.id, &mut fresh.lines).await?;
        let fresh = Arc::new(fresh);
        self.kept.lock().expect(UNPOISONED).insert(collection.id, Arc::clone(&fresh));
        Ok(fresh)
    }
}

async fn read(store: &Store, collection: &CollectionId, generation: u64) -> Result<Catalogue, AxonServeError> {
    let arrivals = store.index.axon_arrivals(collection).await?;
    let items = store.index.axon_lines(collection).await?;
    let (mut shared, mut local, mut passing) = (HashMap::new(), BTreeSet::new(), false);
    for record in store.axon(*collection).records(APPLETS).await? {
        if !record.path.ends_with(&format!("/{METADATA}")) {
            continue;
        }
        // What one leader's document is holds up nothing of another.
        let metadata: Kept<Metadata> = match Kept::parse(&record.bytes) {
            Ok(metadata) => metadata,
            Err(cause) => {
                warn_of(&record.path, &cause);
                continue;
            }
        };
        let Some(code) = metadata.code_manifest.as_ref().map(|manifest| manifest.content_hash()) else { continue };
        if metadata.is_local {
            local.insert(code);
        } else {
            let came_at = arrivals.get(&record.path).copied();
            passing |= came_at.is_none();
            shared.insert(code, came_at.unwrap_or(record.changed_at));
        }
    }
    passing |= items.iter().any(|item| item.arrived_at.is_none());
    let line = |item: ItemLine| {
        let ItemLine { content_hash, mut kinds, changed_at: came_at, chunks, arrived_at, opens, manifest_bytes } = item;
        let arrived_at = arrived_at.unwrap_or(came_at);
        if kinds.contains(&ContentType::AppletData) {
            return None;
        }
        let applet = shared.get(&content_hash).filter(|_| !kinds.contains(&ContentType::Pm));
        if applet.is_some() {
            kinds.insert(ContentType::Applet);
        } else if local.contains(&content_hash) {
            kinds.remove(&ContentType::Applet);
        }
        let changed_at = applet.map_or(arrived_at, |at| arrived_at.max(*at));
        let line = Line { kinds, came_at, changed_at, chunks, manifest_bytes, opens };
        (!line.kinds.is_empty()).then_some((content_hash, line))
    };
    let lines = items.into_iter().filter_map(line).collect();
    Ok(Catalogue { collection: *collection, generation, passing, lines })
}

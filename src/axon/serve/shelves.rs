//! The shelves that a guest may look at, and of which one it is shown what stands on several.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::OnceCell;

use super::UNPOISONED;
use super::catalogue::{Catalogue, Line};
use crate::domain::axon::manifest::ContentType;
use crate::domain::id::{CollectionId, ContentHash};
use crate::store::index::axon::AxonRights;
use crate::store::{IndexError, Store};

/// A complete item that a guest may see.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) collection: CollectionId,
    pub(super) line: Line,
    /// It stands on several shelves, and it is not said yet of which one it is shown for good.
    pub(super) contested: bool,
}

/// Some shelves, those that were made first in front.
#[derive(Debug)]
pub(super) struct Shelves {
    pub(super) all: Vec<Arc<Catalogue>>,
    pub(super) shown: Arc<Shown>,
}

/// Of which collection is shown what several hold.
pub(super) type Shown = HashMap<ContentHash, CollectionId>;

impl Shelves {
    /// The item with this hash, if it may be seen. The same content may stand on several shelves, sealed differently: then it is always
    /// shown of the same one, because an instance that is shown another one deletes its own; the first time, of the one to
    /// which it came first.
    pub(super) fn choose(&self, rights: &AxonRights, content_hash: &ContentHash) -> Option<Seen> {
        let seen = |shelf: &Arc<Catalogue>| {
            let line = visible(rights, shelf.lines.get(content_hash)?)?;
            Some((shelf.collection, line))
        };
        let mut all: Vec<(CollectionId, Line)> = self.all.iter().filter_map(seen).collect();
        let told = self.shown.get(content_hash);
        let told = told.and_then(|told| all.iter().position(|(collection, _)| collection == told));
        let first = || all.iter().enumerate().min_by_key(|(_, (_, line))| line.came_at).map(|(at, _)| at);
        let at = told.or_else(first)?;
        let contested = told.is_none() && all.len() > 1;
        let (collection, mut line) = all.swap_remove(at);
        for (_, other) in all {
            line.kinds.extend(other.kinds);
            line.changed_at = line.changed_at.max(other.changed_at);
        }
        Some(Seen { collection, line, contested })
    }
}

/// What of an item may be seen: all or nothing.
fn visible(rights: &AxonRights, line: &Line) -> Option<Line> {
    let early = rights.from.is_some_and(|from| line.came_at < from);
    let hidden = rights.without_pms && line.kinds.contains(&ContentType::Pm);
    (!early && !hidden).then(|| line.clone())
}

/// What was chosen, in memory and in the index.
#[derive(Debug, Default)]
pub(super) struct Choices(OnceCell<Mutex<Arc<Shown>>>);

impl Choices {
    /// All choices.
    ///
    /// # Errors
    /// [`IndexError`].
    pub(super) async fn all(&self, store: &Store) -> Result<Arc<Shown>, IndexError> {
        Ok(Arc::clone(&self.loaded(store).await?.lock().expect(UNPOISONED)))
    }

    /// Keeps choices that are made now, before anybody is told of them.
    ///
    /// # Errors
    /// [`IndexError`].
    pub(super) async fn keep(&self, store: &Store, fresh: &[(ContentHash, CollectionId)]) -> Result<(), IndexError> {
        if fresh.is_empty() {
            return Ok(());
        }
        store.index.keep_axon_shown(fresh).await?;
        let mut all = self.loaded(store).await?.lock().expect(UNPOISONED);
        Arc::make_mut(&mut all).extend(fresh.iter().copied());
        Ok(())
    }

    async fn loaded(&self, store: &Store) -> Result<&Mutex<Arc<Shown>>, IndexError> {
        self.0.get_or_try_init(async || Ok(Mutex::new(Arc::new(store.index.axon_shown().await?)))).await
    }
}

//! Fingerprints of sets of snapshots, kept until something changes: an idle peer asks for one every minute, and adding up a hundred
//! thousand ids each time would be most of what it costs.

use std::collections::BTreeSet;
use std::sync::Mutex;

use super::{Index, IndexError};
use crate::domain::feed::Fingerprint;
use crate::domain::id::{CollectionId, FeedId};
use crate::domain::peer::Rights;

/// So many of each kind are kept: one for each way in which peers see this instance.
const KEPT: usize = 32;

/// What was added up before.
#[derive(Debug, Default)]
pub(super) struct Fingerprints {
    /// What rights let see changes only with the feed.
    seen: Mutex<Kept<(Rights, FeedId, u64)>>,
    /// What is known of collections changes only with a new snapshot: deleted ones stay known.
    known: Mutex<Kept<(BTreeSet<CollectionId>, i64)>>,
}

#[derive(Debug)]
struct Kept<K>(Vec<(K, Fingerprint)>);

impl<K> Default for Kept<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: PartialEq> Kept<K> {
    fn get(&self, key: &K) -> Option<Fingerprint> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, fingerprint)| *fingerprint)
    }

    fn keep(&mut self, key: K, fingerprint: Fingerprint) {
        self.0.truncate(KEPT - 1);
        self.0.insert(0, (key, fingerprint));
    }
}

const PLAIN: &str = "no holder of this lock can panic";

impl Index {
    /// Fingerprint of all announced snapshots that the rights let see.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn fingerprint(&self, rights: &Rights) -> Result<Fingerprint, IndexError> {
        // In this order: what is announced meanwhile makes another key.
        let key = (rights.clone(), self.feed_id().await?, self.feed_head().await?);
        if let Some(known) = self.fingerprints.seen.lock().expect(PLAIN).get(&key) {
            return Ok(known);
        }
        let fingerprint = self.visible_ids(rights).await?.iter().collect();
        if self.feed_head().await? == key.2 {
            self.fingerprints.seen.lock().expect(PLAIN).keep(key, fingerprint);
        }
        Ok(fingerprint)
    }

    /// Fingerprint of all snapshots of these collections that were ever known here, deleted ones included.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn known_fingerprint(&self, collections: &BTreeSet<CollectionId>) -> Result<Fingerprint, IndexError> {
        let key = (collections.clone(), self.newest_number().await?);
        if let Some(known) = self.fingerprints.known.lock().expect(PLAIN).get(&key) {
            return Ok(known);
        }
        let fingerprint = self.known_ids(collections).await?.iter().collect();
        if self.newest_number().await? == key.1 {
            self.fingerprints.known.lock().expect(PLAIN).keep(key, fingerprint);
        }
        Ok(fingerprint)
    }

    /// The row of the newest snapshot: rows are never removed.
    async fn newest_number(&self) -> Result<i64, IndexError> {
        Ok(sqlx::query_scalar("SELECT coalesce(max(no), 0) FROM snapshot").fetch_one(&self.pool).await?)
    }
}

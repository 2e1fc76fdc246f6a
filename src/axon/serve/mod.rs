//! What an Axon instance may see: the only place that decides (R12).
//!
//! A guest sees *complete* items of the collections that it has a right to and that may leave this instance, never data of
//! applets' users, never what belongs to local applets alone. Everything else looks like what does not exist. Serving needs no
//! private operation (R4): the keys of items are on the shelf, and wrapping one for a guest is a public operation.

mod announce; // the answer to "what is new"
mod attached; // which files messages attach
mod catalogue; // what is on a shelf, in short
mod config; // the configuration that may be cloned
mod course; // how far a guest is
mod rows; // its rows, with numbers that do no harm
mod shelves; // of which shelf something is shown

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use self::catalogue::Catalogues;
use self::course::Courses;
use self::shelves::{Choices, Seen, Shelves};
use crate::domain::axon::kept::DocumentError;
use crate::domain::axon::key::{KeyError, PublicKey};
use crate::domain::axon::signature::Claim;
use crate::domain::id::{ChunkId, ContentHash};
use crate::store::index::axon::{AxonPeer, AxonRights, AxonTrust};
use crate::store::{ChunkStoreError, IndexError, Store, blocking};

/// A signature is remembered for so long: longer than it is good for, with both clocks wrong.
const REMEMBER_SIGNATURE: SignedDuration = SignedDuration::from_mins(15);
const UNPOISONED: &str = "no holder of this lock can panic";

/// Why something cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum AxonServeError {
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The disk.
    #[error(transparent)]
    Chunks(#[from] ChunkStoreError),
    /// The guest's key cannot wrap.
    #[error("keys cannot be wrapped for this instance")]
    Key(#[from] KeyError),
}

/// An Axon instance that is trusted at this moment.
#[derive(Debug, Clone)]
pub struct AxonGuest {
    /// Its name here.
    pub name: String,
    key: PublicKey,
    rights: AxonRights,
}

impl AxonGuest {
    /// The key that it signs with.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }
}

/// Chunks that were given and are not recorded yet, by the guest's key.
type Given = HashMap<String, HashSet<(ContentHash, u32)>>;

/// Serves Axon instances from one repository. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AxonServe {
    store: Store,
    key: PublicKey,
    catalogues: Arc<Catalogues>,
    courses: Arc<Courses>,
    choices: Arc<Choices>,
    given: Arc<Mutex<Given>>,
}

impl AxonServe {
    /// Serves what is in this repository, as the instance with this key.
    pub fn new(store: Store, key: PublicKey) -> Self {
        Self {
            store,
            key,
            catalogues: Arc::default(),
            courses: Arc::default(),
            choices: Arc::default(),
            given: Arc::default(),
        }
    }

    /// The key with which this instance is known to Axon instances.
    pub fn public_key(&self) -> &PublicKey {
        &self.key
    }

    /// Lets an instance in if it is trusted now.
    ///
    /// # Errors
    /// [`AxonServeError`].
    pub async fn admit(&self, key: &PublicKey) -> Result<Option<AxonGuest>, AxonServeError> {
        let peers = self.store.index.axon_peers().await?;
        let Some(peer) = peers.into_iter().find(|peer| peer.public_key == *key) else { return Ok(None) };
        let AxonPeer { name, public_key: key, trust: AxonTrust::Trusted(rights), .. } = peer else { return Ok(None) };
        Ok(Some(AxonGuest { name, key, rights }))
    }

    /// Whether a guest still has the rights that it came in with (R6).
    ///
    /// # Errors
    /// [`AxonServeError`].
    pub async fn still_welcome(&self, guest: &AxonGuest) -> Result<bool, AxonServeError> {
        let now = self.admit(&guest.key).await?;
        Ok(now.is_some_and(|now| now.rights == guest.rights))
    }

    /// Takes note of headers that are good, by their [digest](Claim::digest); false if they were used before: they are good
    /// for any path of any instance, so they count once here.
    ///
    /// # Errors
    /// [`AxonServeError`].
    pub async fn take_signature(&self, claim: &Claim, now: Timestamp) -> Result<bool, AxonServeError> {
        let expires_at = now.saturating_add(REMEMBER_SIGNATURE).unwrap_or(Timestamp::MAX);
        Ok(self.store.index.take_axon_signature(&claim.digest(), expires_at, now).await?)
    }

    /// Whether every chunk of an item can be served: it is known, and its file is there.
    ///
    /// # Errors
    /// [`AxonServeError`].
    pub async fn has(&self, guest: &AxonGuest, content_hash: &ContentHash) -> Result<bool, AxonServeError> {
        let Some(seen) = self.find(guest, content_hash).await? else { return Ok(false) };
        self.courses.asked(guest.key.as_str());
        let listed = self.store.index.axon_chunks(&seen.collection, content_hash, None).await?;
        if listed.is_empty() || listed.len() != seen.line.chunks as usize {
            return Ok(false);
        }
        let chunks = Arc::clone(&self.store.chunks);
        let all = move || {
            for (id, size) in listed {
                if chunks.size(&id)? != Some(u64::from(size)) {
                    return Ok(false);
                }
            }
            Ok::<_, ChunkStoreError>(true)
        };
        Ok(blocking(all).await?)
    }

    /// One chunk of an item, compared with its hash.
    ///
    /// # Errors
    /// [`AxonServeError`].
    pub async fn chunk(
        &self,
        guest: &AxonGuest,
        content_hash: &ContentHash,
        index: u32,
    ) -> Result<Option<Bytes>, AxonServeError> {
        let Some(seen) = self.find(guest, content_hash).await? else { return Ok(None) };
        self.courses.asked(guest.key.as_str());
        let listed = self.store.index.axon_chunks(&seen.collection, content_hash, Some(index)).await?;
        let Some((id, _)) = listed.into_iter().next() else { return Ok(None) };
        let chunks = Arc::clone(&self.store.chunks);
        let read = move || match chunks.read(&id) {
            Ok(bytes) if ChunkId::of(&bytes) == id => Ok(Some(bytes)),
            Ok(_) | Err(ChunkStoreError::Missing { .. } | ChunkStoreError::TooLong { .. }) => Ok(None),
            Err(error) => Err(error),
        };
        let bytes = blocking(read).await?;
        if bytes.is_none() {
            tracing::warn!(chunk.id = %id, "a chunk that the index knows cannot be served: run 'bulbil scrub --now'");
        }
        Ok(bytes.map(Bytes::from))
    }

    /// Notes that a guest was sent the whole of a chunk; [`save_fetched`](Self::save_fetched) records it.
    pub fn note_fetched(&self, guest: &AxonGuest, content_hash: ContentHash, index: u32) {
        self.given().entry(guest.key.as_str().to_owned()).or_default().insert((content_hash, index));
    }

    /// Records what was noted of a guest. What cannot be recorded now stays noted.
    ///
    /// # Errors
    /// [`AxonServeError`]. When the future is dropped, it stays noted, too.
    pub async fn save_fetched(&self, guest: &AxonGuest) -> Result<(), AxonServeError> {
        let noted = || self.given().get(guest.key.as_str()).cloned().unwrap_or_default();
        let list: Vec<(ContentHash, u32)> = noted().into_iter().collect();
        if list.is_empty() {
            return Ok(());
        }
        self.store.index.note_axon_fetched(&guest.key, &list).await?;
        let mut given = self.given();
        if let Some(chunks) = given.get_mut(guest.key.as_str()) {
            list.iter().for_each(|chunk| {
                chunks.remove(chunk);
            });
            if chunks.is_empty() {
                given.remove(guest.key.as_str());
            }
        }
        Ok(())
    }

    fn given(&self) -> MutexGuard<'_, Given> {
        self.given.lock().expect(UNPOISONED)
    }

    /// The shelves that a guest may look at, those that were made first in front. `arrivals`: it matters when things came.
    async fn shelves(&self, guest: &AxonGuest, arrivals: bool) -> Result<Shelves, AxonServeError> {
        let index = &self.store.index;
        let generations = index.axon_generations().await?;
        let mut collections = index.collections().await?;
        collections.retain(|collection| {
            let granted = guest.rights.collections.as_ref().is_none_or(|granted| granted.contains(&collection.id));
            granted && generations.contains_key(&collection.id)
        });
        collections.sort_by_key(|collection| collection.no);
        let here = self.store.keys.instance();
        if collections.iter().any(|collection| !collection.is_ours(&here)) {
            let peers = index.peers().await?;
            collections.retain(|collection| collection.may_leave(&here, &peers));
        }
        let mut all = Vec::with_capacity(collections.len());
        for collection in collections {
            all.push(self.catalogues.get(&self.store, &collection, generations[&collection.id], arrivals).await?);
        }
        Ok(Shelves { all, shown: self.choices.all(&self.store).await? })
    }

    /// One item, if the guest may see it.
    async fn find(&self, guest: &AxonGuest, content_hash: &ContentHash) -> Result<Option<Seen>, AxonServeError> {
        let shelves = self.shelves(guest, false).await?;
        Ok(shelves.choose(&guest.rights, content_hash))
    }
}

/// Says that a document is passed over.
fn warn_of(path: &str, cause: &DocumentError) {
    tracing::warn!(path, %cause, "a document of a BBS is passed over: it is not what its path says");
}

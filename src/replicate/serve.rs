//! What a peer may see here. The only place that decides.
//!
//! A peer's rights are narrowed to what may really leave ([`effective`]): of collections that came from elsewhere only those
//! whose origin allows it. Everything that is asked for goes through the narrowed rights, and what they do not show looks
//! exactly like what does not exist (R12). Trust is read from the index each time, never cached: whoever is revoked, by this
//! process or another, is out with its next request, and an open stream asks again before each chunk and every second (R6).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, watch};

use super::allowance::Allowances;
use super::exposure::Pending;
use super::prove::Challenges;
use super::scope::{effective, visible_config};
use super::succession;
use crate::domain::envelope::HPKE_X25519;
use crate::domain::feed::{Change, Cursor, MAX_CHANGES, MAX_PAGE_BYTES, Page};
use crate::domain::id::{ChunkId, InstanceId, ManifestId};
use crate::domain::identity::{Identity, SignedIdentity};
use crate::domain::peer::{Rights, Trust};
use crate::domain::reconcile::{MAX_MESSAGE_BYTES, Salt, SaltedId, SaltedSet, unhide};
use crate::domain::succession::SignedStatement;
use crate::domain::wire::messages::{
    CollectionConfig, CollectionName, ConfigAnswer, ReconcileAnswer, ReconcileRequest, RightsSummary,
};
use crate::store::index::{FeedChange, Peer};
use crate::store::{ChunkStoreError, IndexError, ManifestFileError, Store, blocking};

/// How often a waiting reader looks whether another process has added to the feed.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Why something cannot be served although it may be. Nothing of this is shown to the peer.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestFileError),
    /// A chunk.
    #[error(transparent)]
    Chunk(#[from] ChunkStoreError),
    /// What is kept of a peer does not hold.
    #[error("what is kept of peer {peer} is damaged: remove it and let it join anew")]
    PeerDamaged {
        /// Which peer.
        peer: InstanceId,
    },
}

/// Why a message of a reconciliation is not answered.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileFault {
    /// It makes no sense.
    #[error("{0}")]
    Malformed(String),
    /// Our own fault.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

impl From<IndexError> for ReconcileFault {
    fn from(error: IndexError) -> Self {
        ReconcileFault::Serve(error.into())
    }
}

/// Serves a repository to peers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Serve {
    store: Store,
    changed: Arc<watch::Sender<u64>>,
    /// Work that keeps a core busy; as many at once as there are cores.
    pub(super) cores: Arc<Semaphore>,
    /// What was given and is not recorded yet (R6).
    pub(super) given: Arc<Pending>,
    pub(super) allowances: Arc<Allowances>,
    pub(super) challenges: Arc<Challenges>,
}

/// A peer that is let in, as it is now.
#[derive(Debug, Clone)]
pub struct Guest {
    /// Which instance.
    pub id: InstanceId,
    /// Its document: the envelope key that it has now.
    pub identity: Identity,
    /// What it may see, narrowed to what may leave.
    pub rights: Rights,
    granted: Rights,
}

impl Serve {
    /// Serves this repository.
    pub fn new(store: Store) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let (changed, cores) = (Arc::new(watch::Sender::new(0)), Arc::new(Semaphore::new(cores)));
        let (given, allowances, challenges) = (Arc::default(), Arc::default(), Arc::default());
        Self { store, changed, cores, given, allowances, challenges }
    }

    /// The repository.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// How this instance shows itself.
    pub fn identity(&self) -> SignedIdentity {
        self.store.keys.identity_document()
    }

    /// What is kept of an instance, let in or not: to look up its key.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn known(&self, id: &InstanceId) -> Result<Option<(Peer, Identity)>, ServeError> {
        let Some(peer) = self.store.index.peer(id).await? else { return Ok(None) };
        let identity = peer.identity.verify(Some(id)).map_err(|_| ServeError::PeerDamaged { peer: *id })?;
        Ok(Some((peer, identity)))
    }

    /// Lets a peer in if it is trusted now.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn admit(&self, peer: &Peer, identity: Identity) -> Result<Option<Guest>, ServeError> {
        let Trust::Trusted(granted) = &peer.trust else { return Ok(None) };
        let rights = self.effective_now(granted, &peer.id).await?;
        Ok(Some(Guest { id: peer.id, identity, rights, granted: granted.clone() }))
    }

    /// What may leave of what was granted, as the collections are at this moment.
    async fn effective_now(&self, granted: &Rights, guest: &InstanceId) -> Result<Rights, ServeError> {
        let (collections, peers) = (self.store.index.collections().await?, self.store.index.peers().await?);
        Ok(effective(granted, guest, &self.store.keys.instance(), &collections, &peers))
    }

    /// Whether a guest still has the rights that it came in with (R6).
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn still_welcome(&self, guest: &Guest) -> Result<bool, ServeError> {
        let peer = self.store.index.peer(&guest.id).await?;
        Ok(peer.is_some_and(|peer| matches!(&peer.trust, Trust::Trusted(rights) if *rights == guest.granted)))
    }

    /// Tells waiting readers that there is something new.
    pub fn feed_changed(&self) {
        self.changed.send_modify(|n| *n += 1);
    }

    /// Waits until the feed is longer than `seen`, at most `wait`. What this process adds is noticed at once if
    /// [`feed_changed`](Self::feed_changed) is called, what others add within seconds. May be dropped at any time.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn wait_for_change(&self, seen: u64, wait: Duration) -> Result<(), ServeError> {
        let mut changed = self.changed.subscribe();
        let until = tokio::time::Instant::now() + wait;
        while self.store.index.feed_head().await? <= seen {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            if left.is_zero() {
                break;
            }
            let _ = tokio::time::timeout(left.min(LOOK_EVERY), changed.changed()).await;
        }
        Ok(())
    }

    /// A page of the feed (R11). A cursor of another feed, or one that is ahead of this feed, begins at the beginning.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn changes(&self, guest: &Guest, cursor: Option<Cursor>, limit: usize) -> Result<Page, ServeError> {
        let (index, limit) = (&self.store.index, limit.clamp(1, MAX_CHANGES));
        // In this order: what is added meanwhile is told the next time. A collection that was added since the guest came in, or
        // while it waited, counts: the cursor goes past its snapshots.
        let (feed, head) = (index.feed_id().await?, index.feed_head().await?);
        let rights = &self.effective_now(&guest.granted, &guest.id).await?;
        let told = succession::visible(&self.store, rights, &guest.id).await?;
        let succession = succession::digest(told.iter().map(|statement| statement.id));
        let after = cursor.filter(|cursor| cursor.feed == feed && cursor.position <= head).map_or(0, |c| c.position);
        let mut rows = index.changes(rights, after, limit + 1).await?;
        let fingerprint = index.fingerprint(rights).await?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let manifests = self.store.manifests.clone();
        let load = move || {
            let (mut changes, mut bytes, mut reached) = (Vec::with_capacity(rows.len()), 0, after);
            for row in &rows {
                if bytes >= MAX_PAGE_BYTES {
                    return Ok((changes, reached, true));
                }
                match row.change {
                    FeedChange::Tombstone(id) => changes.push(Change::Tombstone { id }),
                    FeedChange::Manifest(id) => match load_change(&manifests, id) {
                        Ok((change, len)) => {
                            bytes += len;
                            changes.push(change);
                        }
                        // Deleted since the rows were read: a tombstone follows.
                        Err(ManifestFileError::Missing { .. }) => {}
                        Err(error) => return Err(error),
                    },
                }
                reached = row.position;
            }
            Ok((changes, reached, more))
        };
        let (changes, reached, more) = blocking(load).await?;
        let position = if more { reached } else { reached.max(head) };
        Ok(Page { changes, next: Cursor { feed, position }, more, fingerprint, succession })
    }

    /// One message of a set reconciliation over all that may be seen.
    ///
    /// # Errors
    /// [`ReconcileFault`].
    pub async fn reconcile(
        &self,
        rights: &Rights,
        request: ReconcileRequest,
    ) -> Result<ReconcileAnswer, ReconcileFault> {
        let ReconcileRequest { salt, message } = request;
        if message.len() > MAX_MESSAGE_BYTES {
            return Err(ReconcileFault::Malformed("the message is too long".to_owned()));
        }
        let index = &self.store.index;
        // In this order: what is added meanwhile is told in the feed.
        let (feed, position) = (index.feed_id().await?, index.feed_head().await?);
        let ids = index.visible_ids(rights).await?;
        let _core = self.cores.acquire().await.expect("the semaphore is never closed");
        let answer = blocking(move || SaltedSet::new(salt, &ids).answer(&message)).await;
        let answer = answer.map_err(|error| ReconcileFault::Malformed(error.to_string()))?;
        Ok(ReconcileAnswer { cursor: Cursor { feed, position }, message: answer })
    }

    /// The manifests behind salted ids, as far as they may be seen and fit into one answer.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn manifests(
        &self,
        rights: &Rights,
        salt: Salt,
        wanted: Vec<SaltedId>,
    ) -> Result<Vec<Change>, ServeError> {
        let ids = self.store.index.visible_ids(rights).await?;
        let files = self.store.manifests.clone();
        let _core = self.cores.acquire().await.expect("the semaphore is never closed");
        let load = move || {
            let (mut changes, mut bytes) = (Vec::new(), 0);
            for id in unhide(&salt, &wanted, &ids) {
                if bytes >= MAX_PAGE_BYTES {
                    break;
                }
                match load_change(&files, id) {
                    Ok((change, len)) => {
                        bytes += len;
                        changes.push(change);
                    }
                    // What rotted here is no reason to withhold the rest.
                    Err(
                        ManifestFileError::Missing { .. }
                        | ManifestFileError::Damaged { .. }
                        | ManifestFileError::BadSidecar { .. },
                    ) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(changes)
        };
        Ok(blocking(load).await?)
    }

    /// Hears what a guest knows of succession, and tells it what is known here.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn exchange_statements(
        &self,
        guest: &Guest,
        told: &[SignedStatement],
    ) -> Result<Vec<SignedStatement>, ServeError> {
        let about = succession::may_tell(&self.store, &guest.rights, &guest.id).await?;
        succession::hear(&self.store, told, |collection| about.contains(collection), &guest.id).await?;
        let known = succession::visible(&self.store, &guest.rights, &guest.id).await?;
        Ok(known.into_iter().map(|statement| statement.signed).collect())
    }

    /// For each chunk or segment its size, if it is here and may be seen.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn sizes(&self, rights: &Rights, ids: &[ChunkId]) -> Result<Vec<Option<u32>>, ServeError> {
        Ok(self.store.index.visible_chunks(rights, ids).await?)
    }

    /// Reads a chunk of which [`sizes`](Self::sizes) told the size. `None` if its file is gone or has another length meanwhile.
    /// The bytes are not compared with their name: the receiver does that (R13).
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn read_chunk(&self, id: ChunkId, size_bytes: u32) -> Result<Option<Bytes>, ServeError> {
        let chunks = Arc::clone(&self.store.chunks);
        let read = blocking(move || match chunks.read(&id) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(ChunkStoreError::Missing { .. } | ChunkStoreError::TooLong { .. }) => Ok(None),
            Err(error) => Err(error),
        });
        let bytes = read.await?.filter(|bytes| bytes.len() == size_bytes as usize);
        if bytes.is_none() {
            tracing::warn!(chunk.id = %id, "a chunk that the index knows cannot be served: run 'bulbil verify'");
        }
        Ok(bytes.map(Bytes::from))
    }

    /// What of the configuration a peer may see.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn config(&self, rights: &Rights) -> Result<ConfigAnswer, ServeError> {
        let collections = self.store.index.collections().await?;
        Ok(visible_config(rights, &collections))
    }

    /// What a peer was granted, in words that it may see.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn summary(&self, guest: &InstanceId, granted: &Rights) -> Result<RightsSummary, ServeError> {
        let (collections, peers) = (self.store.index.collections().await?, self.store.index.peers().await?);
        let rights = effective(granted, guest, &self.store.keys.instance(), &collections, &peers);
        let config = visible_config(&rights, &collections);
        let name = |collection: CollectionConfig| CollectionName { id: collection.id, name: collection.name };
        Ok(RightsSummary {
            role: rights.role,
            onward: rights.onward,
            from: rights.from,
            collections: config.collections.into_iter().map(name).collect(),
        })
    }
}

fn load_change(manifests: &crate::store::ManifestFiles, id: ManifestId) -> Result<(Change, usize), ManifestFileError> {
    let (signed, mut envelopes) = manifests.load(&id)?;
    envelopes.retain(|envelope| envelope.algorithm == HPKE_X25519);
    let manifest = String::from_utf8(signed.bytes).expect("bytes that were read as JSON are UTF-8");
    let len = manifest.len();
    Ok((Change::Manifest { id, manifest, signature: signed.signature, envelopes }, len))
}

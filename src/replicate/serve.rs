//! What a peer may see here. The only place that decides.
//!
//! A peer's rights are narrowed to what may really leave ([`effective`]): of collections that came from elsewhere only those
//! whose origin allows it. Everything that is asked for goes through the narrowed rights, and what they do not show looks
//! exactly like what does not exist (R12). Trust is read from the index each time, never cached: whoever is revoked, by this
//! process or another, is out with its next request, and an open stream asks again before each chunk and every second (R6).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, watch};

use super::allowance::Allowances;
use super::exposure::Pending;
use super::prove::Challenges;
use super::succession;
use crate::domain::envelope::HPKE_X25519;
use crate::domain::feed::{Change, Cursor, MAX_CHANGES, MAX_PAGE_BYTES, Page};
use crate::domain::id::{ChunkId, CollectionId, InstanceId, ManifestId};
use crate::domain::identity::{Identity, SignedIdentity};
use crate::domain::peer::{Rights, Role, Scope, Trust};
use crate::domain::reconcile::{MAX_MESSAGE_BYTES, Salt, SaltedId, SaltedSet, unhide};
use crate::domain::succession::SignedStatement;
use crate::domain::wire::messages::{
    CollectionConfig, CollectionName, CollectionPolicy, ConfigAnswer, ReconcileAnswer, ReconcileRequest, RightsSummary,
};
use crate::store::index::{Collection, FeedChange, Peer};
use crate::store::{ChunkStoreError, IndexError, ManifestFileError, Store};

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

/// Narrows what was granted to what may leave: collections that are or were led from here; and those of others whose origin said
/// that we may serve them onward. What the guest itself leads it always sees, and all of it: a source whose disk is gone
/// heals from whoever keeps its copy. The scope is spelled out.
pub fn effective(
    granted: &Rights,
    guest: &InstanceId,
    here: &InstanceId,
    collections: &[Collection],
    peers: &[Peer],
) -> Rights {
    let origin_allows = |origin: &InstanceId| {
        let of_origin = peers.iter().find(|peer| peer.id == *origin);
        of_origin.and_then(|peer| peer.granted.as_ref()).is_some_and(|granted| granted.onward)
    };
    let led = |c: &Collection, instance: &InstanceId| c.line.iter().any(|reign| reign.instance == *instance);
    // Who has settings for it led it once, maybe under another key, or took it over in vain.
    let ours = |c: &Collection| led(c, here) || c.settings.is_some();
    let may_leave = |c: &&Collection| c.origin != *guest && (ours(c) || origin_allows(&c.origin));
    let ids = collections.iter().filter(may_leave).map(|c| c.id).filter(|id| granted.scope.includes(id)).collect();
    let own: BTreeSet<CollectionId> = collections.iter().filter(|c| c.origin == *guest).map(|c| c.id).collect();
    let scope = if own.is_empty() { Scope::Only(ids) } else { Scope::Guest { granted: ids, own } };
    Rights { scope, ..granted.clone() }
}

/// The collections as a peer with these rights may see them. To a mirror names and excludes are sealed.
fn visible_config(rights: &Rights, collections: &[Collection]) -> ConfigAnswer {
    let readable = rights.role == Role::Reader;
    let policy = |collection: &Collection| {
        collection.settings.as_ref().filter(|_| readable).map(|settings| CollectionPolicy {
            excludes: settings.excludes.clone(),
            level: settings.level,
            padding: settings.padding,
        })
    };
    let mut visible: Vec<CollectionConfig> = collections
        .iter()
        .filter(|collection| rights.scope.includes(&collection.id))
        .map(|collection| CollectionConfig {
            id: collection.id,
            name: readable.then(|| collection.name.clone()),
            own: collection.settings.is_some(),
            settings: policy(collection),
        })
        .collect();
    visible.sort_by_key(|collection: &CollectionConfig| -> CollectionId { collection.id });
    ConfigAnswer { collections: visible, role: rights.role, onward: rights.onward }
}

fn load_change(manifests: &crate::store::ManifestFiles, id: ManifestId) -> Result<(Change, usize), ManifestFileError> {
    let (signed, mut envelopes) = manifests.load(&id)?;
    envelopes.retain(|envelope| envelope.algorithm == HPKE_X25519);
    let manifest = String::from_utf8(signed.bytes).expect("bytes that were read as JSON are UTF-8");
    let len = manifest.len();
    Ok((Change::Manifest { id, manifest, signature: signed.signature, envelopes }, len))
}

/// Runs what waits for a disk where waiting does no harm.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::chunk::Padding;
    use crate::domain::crypto::secret::Secret;
    use crate::domain::crypto::sign::IdentityKey;
    use crate::domain::succession::Reign;
    use crate::store::index::{CollectionKind, CollectionSettings, Granted, Root};

    fn instance(n: u8) -> InstanceId {
        InstanceId::from_slice(&[n; 32]).unwrap()
    }

    fn collection(n: u8, origin: InstanceId, own: bool) -> Collection {
        let settings = own.then(|| CollectionSettings {
            roots: vec![Root { name: "secret-root".to_owned(), path: "/secret/path".into() }],
            excludes: vec!["*.tmp".to_owned()],
            level: 3,
            padding: Padding::None,
            kind: CollectionKind::Directory,
        });
        let id = CollectionId::from_slice(&[n; 16]).unwrap();
        Collection {
            no: i64::from(n),
            id,
            name: format!("c{n}"),
            origin,
            line: vec![Reign::founder(origin)],
            settings,
            standby: None,
        }
    }

    fn source(id: InstanceId, onward: bool) -> Peer {
        let signature = IdentityKey::from_seed(&Secret::from_bytes([1; 32])).sign_raw(b"");
        Peer {
            id,
            name: "source".to_owned(),
            address: None,
            trust: Trust::Trusted(Rights::none()),
            identity: SignedIdentity { document: String::new(), signature },
            follow: true,
            mirror: Scope::All,
            granted: Some(Granted { role: Role::Mirror, onward, collections: None }),
            cursor: None,
            added_at: jiff::Timestamp::UNIX_EPOCH,
            last_contact_at: None,
            last_error: None,
            discovery: None,
        }
    }

    fn all(role: Role) -> Rights {
        Rights { scope: Scope::All, role, onward: false, from: None, limits: Default::default() }
    }

    #[test]
    fn what_came_from_elsewhere_leaves_only_if_its_origin_allows() {
        let (here, origin, guest) = (instance(1), instance(2), instance(3));
        let collections = [
            collection(1, here, true),
            collection(2, origin, false),
            collection(3, instance(9), false),
            collection(4, guest, false),
        ];
        let scope =
            |onward| effective(&all(Role::Reader), &guest, &here, &collections, &[source(origin, onward)]).scope;
        let only = |some: &[usize]| Scope::Only(some.iter().map(|n| collections[*n].id).collect());
        let ids = |some: &[usize]| some.iter().map(|n| collections[*n].id).collect();
        let with_own = |granted: &[usize]| Scope::Guest { granted: ids(granted), own: ids(&[3]) };
        assert_eq!(scope(false), with_own(&[0]));
        assert_eq!(scope(true), with_own(&[0, 1]));
        let narrow = Rights { scope: only(&[1]), ..all(Role::Reader) };
        assert_eq!(effective(&narrow, &guest, &here, &collections, &[source(origin, false)]).scope, with_own(&[]));
        let stranger = effective(&all(Role::Reader), &instance(5), &here, &collections, &[source(origin, false)]);
        assert_eq!(stranger.scope, only(&[0]));

        // Whoever made a collection sees all of it, also where nothing was granted; of the rest only what is new.
        let from = Some("2026-11-22T10:00:00Z".parse().unwrap());
        let narrow = Rights { from, ..all(Role::Reader) };
        let rights = effective(&narrow, &guest, &here, &collections, &[]);
        let old = "2026-01-01T00:00:00Z".parse().unwrap();
        assert!(rights.may_see(&collections[3].id, old) && !rights.may_see(&collections[0].id, old));
        let rights = effective(&Rights::none(), &guest, &here, &collections, &[]);
        assert!(rights.may_see(&collections[3].id, old) && !rights.may_see(&collections[0].id, old));
    }

    #[test]
    fn r12_configuration_never_has_paths_and_for_a_mirror_no_names() {
        let collections = [collection(1, instance(1), true), collection(2, instance(1), true)];
        let rights = |role| Rights { scope: Scope::Only([collections[0].id].into()), ..all(role) };
        let reader = visible_config(&rights(Role::Reader), &collections);
        assert_eq!(reader.collections.len(), 1);
        assert_eq!(reader.collections[0].name.as_deref(), Some("c1"));
        let text = serde_json::to_string(&reader).unwrap();
        assert!(text.contains("*.tmp") && !text.contains("secret"));
        let mirror = serde_json::to_string(&visible_config(&rights(Role::Mirror), &collections)).unwrap();
        assert!(!mirror.contains("c1") && !mirror.contains("*.tmp"));
    }
}

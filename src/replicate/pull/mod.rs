//! Pulling from peers: their feed, keys for what we may read, and chunks.
//!
//! Nothing is believed. Manifests are compared with their names and signatures before a file is written; keys with the
//! manifest's commitment before anything else is done with them (R5); chunks with their names and lengths before they are
//! stored (R13). Files come first, then the index, and the cursor moves in the same transaction as what its page says (R8, R11).
//! So every step can be cut anywhere and done again: what is here is not fetched again, and half a page is none.
//!
//! A tombstone deletes nothing here. What a peer says it does not have is not asked for again for a while, so that a
//! sync with nothing new is one request.

mod arrivals; // what has come, to the byte
mod error;
mod feed; // pages of the feed
mod fetch; // one fetch from some peers
mod fill; // what is missing, and who has it
mod holes; // what the feed does not tell any more
mod keys; // envelopes
mod mend; // manifests whose files were damaged
mod line; // one peer, while work with it goes on
mod pace; // how fast all streams together may be
mod parts; // what came of chunks whose streams broke
mod receive; // one stream of chunks
mod succession; // who leads a collection
mod renew; // keys that have changed
mod shared; // what concurrent pulls know of each other

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

pub use error::{Kind, Lie, PullError, Retry, Wrong};

use super::call::{CallError, PeerCaller};
use crate::domain::id::{ChunkId, CollectionId, InstanceId, ManifestId};
use crate::domain::peer::{PeerAddress, Role};
use crate::domain::wire::messages::ConfigAnswer;
use crate::monitor::Monitor;
use crate::store::Store;
use crate::store::index::Peer;
use fetch::Run;
use line::Line;
use pace::Pace;
pub use shared::Alone;
use shared::Shared;

/// Pulls from peers into a repository. Cheap to clone; clones share what they know of each other's work.
#[derive(Clone)]
pub struct Puller {
    store: Store,
    caller: PeerCaller,
    monitor: Arc<dyn Monitor>,
    shared: Arc<Shared>,
    max_circuits: Option<usize>,
    pace: Arc<Pace>,
}

/// As the scheduler has it: so many connections make a circuit, also where there are no circuits.
const STREAMS_PER_CIRCUIT: usize = 2;

impl std::fmt::Debug for Puller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Puller")
    }
}

/// What a sync brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SyncReport {
    /// Snapshots that were not known here.
    pub new_snapshots: Vec<ManifestId>,
    /// Snapshots that can be read from now on.
    pub keys: u64,
    /// Lists of chunks that were fetched.
    pub segments: u64,
    /// Requests that it took.
    pub requests: u64,
    /// Whether the end of the feed was reached.
    pub caught_up: bool,
    /// The peer gives neither chunks nor lists of chunks for a while: its quota is used up, or these are not its hours.
    pub closed: Option<Closed>,
}

/// What becomes of lists of chunks that are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lists {
    Fetch,
    Leave,
}

/// A peer gives no chunks for a while; its feed and its keys it gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// When to ask again.
    pub pause: Duration,
    /// What it said.
    pub reason: String,
}

impl Closed {
    /// If that is what the error says.
    pub fn from_error(error: &PullError) -> Option<Self> {
        match error.retry() {
            Retry::After(pause) => Some(Self { pause, reason: error.to_string() }),
            _ => None,
        }
    }
}

/// What a fetch brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FetchReport {
    /// Chunks that were fetched.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Chunks and lists of chunks that are still not here.
    pub still_missing: u64,
    /// Requests that it took.
    pub requests: u64,
    /// Manifests that were damaged or lost, and are whole again.
    pub manifests: u64,
    /// Manifests that are still damaged or lost.
    pub manifests_lost: u64,
    /// Wrong chunks, and who sent them. They were thrown away.
    pub bad: Vec<(InstanceId, ChunkId)>,
}

/// What asking for envelopes brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RekeyReport {
    /// Snapshots that were asked about.
    pub asked: u64,
    /// Snapshots that can be read now.
    pub keys: u64,
    /// Snapshots for which the peer gives no usable key.
    pub without: Vec<ManifestId>,
    /// Requests that it took.
    pub requests: u64,
}

/// What is still to be fetched, as far as is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// Snapshots that are not complete.
    pub snapshots: u64,
    /// Chunks that are missing.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Lists of chunks that are missing, too: what they name is not counted yet.
    pub lists: u64,
}

impl Puller {
    /// Pulls into `store` with the calls of `caller`.
    pub fn new(store: Store, caller: PeerCaller, monitor: Arc<dyn Monitor>) -> Self {
        Self { store, caller, monitor, shared: Arc::default(), max_circuits: None, pace: Arc::default() }
    }

    /// The same, heard by another monitor: what it knows, and how fast it may be, it shares.
    #[must_use]
    pub fn heard_by(&self, monitor: Arc<dyn Monitor>) -> Self {
        Self { monitor, ..self.clone() }
    }

    /// As long as this is kept, no clone fetches from the peer over and over: what somebody waits for is in one report.
    pub fn alone_with(&self, peer: &InstanceId) -> Alone {
        Alone::new(Arc::clone(&self.shared), *peer)
    }

    /// Asks the peer again for what it did not have a short time ago: somebody wants to know now.
    pub fn ask_again(&self, peer: &InstanceId) {
        self.shared.forget_absent(peer);
    }

    /// Uses at most so many circuits to a peer, of two streams each. By default as many as the client was made for.
    pub fn with_max_circuits(mut self, circuits: usize) -> Self {
        self.max_circuits = Some(circuits);
        self
    }

    /// Takes chunks at no more than `rate` bytes a second, all peers and streams together. Senders feel it: what is not taken
    /// they cannot send.
    pub fn with_rate(mut self, rate: u64) -> Self {
        self.pace = Arc::new(Pace::new(rate));
        self
    }

    /// How many circuits to an address a fetch uses at most.
    pub fn circuits_to(&self, address: &PeerAddress) -> usize {
        let usual = || self.caller.client().bulk_streams(address).div_ceil(STREAMS_PER_CIRCUIT);
        self.max_circuits.unwrap_or_else(usual)
    }

    /// The repository.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Who calls.
    pub fn caller(&self) -> &PeerCaller {
        &self.caller
    }

    /// Reads the peer's feed to its end, gets keys for what we cannot read yet, and the lists of chunks; no chunks.
    ///
    /// `wait`: how long the peer may wait for something new, if there is nothing. What came of it is remembered with the peer.
    ///
    /// # Errors
    /// [`PullError`]; what was brought here until then stays. Dropped at any point, it can be done again.
    pub async fn sync(&self, peer: &Peer, wait: Duration, cancel: &CancellationToken) -> Result<SyncReport, PullError> {
        self.sync_part(peer, wait, Lists::Fetch, cancel).await
    }

    /// Like [`sync`](Self::sync), without the lists of chunks: for a peer that gives none for a while.
    ///
    /// # Errors
    /// [`PullError`].
    pub async fn read_feed(
        &self,
        peer: &Peer,
        wait: Duration,
        cancel: &CancellationToken,
    ) -> Result<SyncReport, PullError> {
        self.sync_part(peer, wait, Lists::Leave, cancel).await
    }

    async fn sync_part(
        &self,
        peer: &Peer,
        wait: Duration,
        lists: Lists,
        cancel: &CancellationToken,
    ) -> Result<SyncReport, PullError> {
        let mut result = self.sync_unnoted(peer, wait, lists, cancel).await;
        let mut id = peer.id;
        if let Err(PullError::Call { cause: CallError::NotThePeer(_), .. }) = &result
            && let Some(renewed) = renew::follow(self, peer).await?
        {
            id = renewed.id;
            result = self.sync_unnoted(&renewed, wait, lists, cancel).await;
        }
        if let Err(PullError::Call { cause: CallError::Refused { .. }, .. }) = &result {
            // It may have been set up anew, and know nothing of what it was told.
            self.store.index.forget_told(&id).await?;
        }
        self.note(&id, result.as_ref().err()).await?;
        result
    }

    async fn sync_unnoted(
        &self,
        peer: &Peer,
        wait: Duration,
        lists: Lists,
        cancel: &CancellationToken,
    ) -> Result<SyncReport, PullError> {
        self.store.check_folders()?;
        let line = Line::open(self, peer, cancel)?;
        renew::show(self, &line).await?;
        let news = feed::pull(self, &line, wait).await?;
        if !news.new.is_empty() {
            self.shared.forget_absent(&peer.id);
        }
        // A mirror is never given keys.
        let readable = peer.granted.as_ref().is_none_or(|granted| granted.role == Role::Reader);
        let keys = if readable { keys::pull_missing(self, &line).await? } else { 0 };
        let run = Run::new(self, vec![line], true);
        if lists == Lists::Fetch {
            run.segments().await?;
        }
        let failure = run.first_lie().or_else(|| run.first_failure());
        let closed = failure.as_ref().and_then(Closed::from_error);
        if let (Some(error), None) = (failure, &closed) {
            return Err(error);
        }
        let totals = run.totals();
        Ok(SyncReport {
            new_snapshots: news.new,
            keys,
            segments: totals.segments,
            requests: totals.requests,
            caught_up: news.caught_up,
            closed,
        })
    }

    /// What the peer shows of its configuration.
    ///
    /// # Errors
    /// [`PullError`].
    pub async fn config(&self, peer: &Peer, cancel: &CancellationToken) -> Result<ConfigAnswer, PullError> {
        let line = Line::open(self, peer, cancel)?;
        line.ask(self.caller.config(&line.callee)).await
    }

    /// Fetches what is missing, of one collection or of all, from these peers.
    ///
    /// Each chunk is compared with its name before it is stored, and durable before the index knows it. One that is here
    /// already, from a run that was killed, is adopted. A wrong one is thrown away, remembered against its sender and taken
    /// from another peer.
    ///
    /// # Errors
    /// [`PullError`] if something is still missing because a peer failed; what was fetched until then stays. Dropped at any
    /// point, it can be done again.
    pub async fn fetch(
        &self,
        collection: Option<&CollectionId>,
        peers: &[Peer],
        cancel: &CancellationToken,
    ) -> Result<FetchReport, PullError> {
        self.fetch_with(collection, peers, cancel, false).await
    }

    /// Like [`fetch`](Self::fetch) from one peer, but does not ask again for what the peer did not have a short time ago: for
    /// who does it over and over.
    ///
    /// # Errors
    /// See [`fetch`](Self::fetch).
    pub async fn fetch_again(
        &self,
        collection: Option<&CollectionId>,
        peer: &Peer,
        cancel: &CancellationToken,
    ) -> Result<FetchReport, PullError> {
        if self.shared.is_taken(&peer.id) {
            let still_missing = self.store.index.count_missing(collection).await?.0;
            return Ok(FetchReport { still_missing, ..FetchReport::default() });
        }
        self.fetch_with(collection, std::slice::from_ref(peer), cancel, true).await
    }

    /// Brings back what was here and is lost, and what our own collections lack: from every trusted peer that has an address,
    /// blind mirrors too, whether it is followed or not. Nothing is asked for if nothing is lost.
    ///
    /// # Errors
    /// [`PullError::NoPeers`] if there is nobody to ask; otherwise as [`fetch`](Self::fetch).
    pub async fn heal(&self, cancel: &CancellationToken) -> Result<FetchReport, PullError> {
        self.store.check_folders()?;
        let index = &self.store.index;
        let damaged = mend::wanted(self).await?;
        let lost = index.count_lost().await?;
        if lost == 0 && damaged.is_empty() {
            return Ok(FetchReport::default());
        }
        let mut lines = Vec::new();
        for peer in index.peers().await? {
            // One that is damaged or not trusted here is no help; the others are.
            lines.extend(Line::open(self, &peer, cancel).ok());
        }
        let mended = mend::mend(self, damaged, &lines).await?;
        let with_manifests = |report| FetchReport { manifests: mended.healed, manifests_lost: mended.left, ..report };
        if lost == 0 && (mended.left == 0 || !lines.is_empty()) {
            return Ok(with_manifests(FetchReport::default()));
        }
        if lines.is_empty() {
            return Err(PullError::NoPeers);
        }
        let run = Run::new(self, lines, false);
        let done = match run.segments().await {
            Ok(()) => run.lost().await,
            error => error,
        };
        run.note_contacts().await?;
        done?;
        let still_missing = index.count_lost().await?;
        match run.first_failure().filter(|_| still_missing > 0) {
            Some(error) => Err(error),
            None => Ok(with_manifests(run.report(still_missing))),
        }
    }

    /// Remembers that a look found the files of a manifest damaged, so that [`heal`](Self::heal) mends them; answers whether
    /// that is new.
    pub fn note_damaged(&self, id: &ManifestId) -> bool {
        self.shared.note_damaged(id, true)
    }

    async fn fetch_with(
        &self,
        collection: Option<&CollectionId>,
        peers: &[Peer],
        cancel: &CancellationToken,
        quiet: bool,
    ) -> Result<FetchReport, PullError> {
        self.store.check_folders()?;
        let mut lines = Vec::new();
        let mut trouble = None;
        for peer in peers {
            match Line::open(self, peer, cancel) {
                Ok(line) => lines.push(line),
                Err(error) => trouble = trouble.or(Some(error)),
            }
        }
        if lines.is_empty() {
            return Err(trouble.unwrap_or(PullError::NoPeers));
        }
        let run = Run::new(self, lines, quiet);
        let done = match run.segments().await {
            Ok(()) => run.chunks(collection).await,
            error => error,
        };
        run.note_contacts().await?;
        done?;
        let (chunks_missing, _) = self.store.index.count_missing(collection).await?;
        let segments_missing = self.store.index.missing_segments(usize::MAX).await?.len() as u64;
        let still_missing = chunks_missing + segments_missing;
        match run.first_failure().filter(|_| still_missing > 0) {
            Some(error) => Err(error),
            None => Ok(run.report(still_missing)),
        }
    }

    /// Asks for envelopes again: for snapshots of which we have no key, or with `all` for every one that the peer may have,
    /// of one collection or of all.
    ///
    /// # Errors
    /// [`PullError`]; keys that came until then stay.
    pub async fn rekey(
        &self,
        peer: &Peer,
        collection: Option<&CollectionId>,
        all: bool,
    ) -> Result<RekeyReport, PullError> {
        let line = Line::open(self, peer, &CancellationToken::new())?;
        let mut wanted = self.store.index.snapshots(collection).await?;
        wanted.retain(|snapshot| !snapshot.has_key || (all && !self.store.keys.is_ours(&snapshot.instance)));
        let ids: Vec<ManifestId> = wanted.iter().map(|snapshot| snapshot.id).collect();
        let result = keys::pull(self, &line, &ids).await;
        self.note(&peer.id, result.as_ref().err()).await?;
        let got = result?;
        Ok(RekeyReport { asked: ids.len() as u64, keys: got.keys, without: got.without, requests: line.requests() })
    }

    /// What is still to be fetched, of one collection or of all.
    ///
    /// # Errors
    /// [`PullError::Index`].
    pub async fn quote(&self, collection: Option<&CollectionId>) -> Result<Quote, PullError> {
        let snapshots = self.store.index.snapshots(collection).await?;
        let (chunks, bytes) = self.store.index.count_missing(collection).await?;
        let snapshots = snapshots.iter().filter(|snapshot| !snapshot.complete).count() as u64;
        let lists = self.store.index.missing_segments(usize::MAX).await?.len() as u64;
        Ok(Quote { snapshots, chunks, bytes, lists })
    }

    /// Remembers what came of the last contact.
    async fn note(&self, peer: &InstanceId, error: Option<&PullError>) -> Result<(), PullError> {
        let text = match error {
            Some(PullError::Cancelled) => return Ok(()),
            Some(error) => {
                tracing::warn!(peer.id = %peer, %error, "pulling failed");
                Some(error.to_string())
            }
            None => None,
        };
        Ok(self.store.index.note_contact(peer, self.caller.now(), text.as_deref()).await?)
    }
}

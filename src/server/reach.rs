//! Whether peers can come in: watches Tor and the onion service, and tries it from outside, through Tor, as a stranger would.
//!
//! A descriptor that was uploaded says little: the service counts as reachable once a test has fetched the descriptor, built
//! a circuit, and been answered by this very instance. Tests are rare while all is well, since each costs circuits. When it can
//! be reached again after a trouble, peers that could not be visited meanwhile are visited at once.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::domain::crypto::discovery::{DiscoveryKey, DiscoveryRecipient};
use crate::domain::peer::PeerAddress;
use crate::http::Following;
use crate::http::admin::network::{Addresses, NetworkStatus, NetworkView, OnionStatus, TorStatus};
use crate::replicate::call::PeerCaller;
use crate::store::Store;
use crate::transport::client::{ClientLimits, HttpClient};
use crate::transport::onions::{Bootstrap, DialOnion, OnionService, OnionState, Published};
use crate::transport::tor::Tor;
use crate::transport::{BoxedStream, Dial, DialError};

use super::network::clients;

/// How often the states are looked at.
const STEP: Duration = Duration::from_millis(500);
/// How often keys of restricted discovery are looked at.
const KEYS_EVERY: Duration = Duration::from_secs(1);
/// A service that is not published for so long is tried all the same: what then goes wrong says why.
const UNPUBLISHED: Duration = Duration::from_secs(20);
/// Between tests that went well.
const TEST_EVERY: Duration = Duration::from_secs(300);
/// First and longest pause after a test that failed.
const PAUSES: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(60));
/// How long a test may take.
const TEST_PATIENCE: Duration = Duration::from_secs(90);

/// What is watched.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    /// Where peers come in.
    pub(super) shown: PeerAddress,
    /// In full, for an admin who asks.
    pub(super) addresses: Addresses,
    /// Whether plain addresses are listened on.
    pub(super) direct: bool,
    /// Tor in this process, and its service.
    pub(super) tor: Option<(Tor, OnionService)>,
    /// With restricted discovery: the key with which this instance tests itself.
    pub(super) own_key: Option<DiscoveryKey>,
    /// What a test dials with; nothing is tested without.
    pub(super) dial: Option<Arc<dyn Dial>>,
}

/// How it stands with the ways in. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reach {
    watched: Arc<Watched>,
    state: Arc<Mutex<State>>,
    changes: Arc<watch::Sender<NetworkStatus>>,
}

#[derive(Debug, Default)]
struct State {
    published: Published,
    published_at: Option<Timestamp>,
    reachable: bool,
    reached_at: Option<Timestamp>,
    took_ms: Option<u64>,
    failed: Option<String>,
}

/// Dials an onion service as a stranger would.
#[derive(Debug)]
pub(super) struct Fresh(pub(super) Tor);

impl Dial for Fresh {
    fn dial<'a>(&'a self, address: &'a PeerAddress) -> BoxFuture<'a, Result<BoxedStream, DialError>> {
        Box::pin(async move {
            match address {
                PeerAddress::Onion(onion) => self.0.dial_fresh(onion).await.map_err(DialError::Onion),
                PeerAddress::Direct(_) => Err(DialError::DirectNotAllowed { address: address.clone() }),
            }
        })
    }
}

impl Reach {
    pub(super) fn new(watched: Watched) -> Self {
        let (changes, _) = watch::channel(NetworkStatus::default());
        let reach = Self { watched: Arc::new(watched), state: Arc::default(), changes: Arc::new(changes) };
        reach.changes.send_replace(reach.network());
        reach
    }

    /// Changes, as they come.
    pub fn changes(&self) -> watch::Receiver<NetworkStatus> {
        self.changes.subscribe()
    }

    /// Watches and tests until `stop`.
    pub(super) async fn run(self, following: Following, stop: CancellationToken) {
        let watching = self.watch(following);
        tokio::select! {
            () = async { tokio::join!(watching, self.follow_keys()); } => {}
            () = stop.cancelled() => {}
        }
    }

    async fn watch(&self, following: Following) {
        let mut steps = tokio::time::interval(STEP);
        steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut due, mut pause, mut published_at) = (Instant::now(), PAUSES.0, Instant::now());
        loop {
            steps.tick().await;
            let published = self.look();
            if published {
                published_at = Instant::now();
            }
            self.tell();
            if Instant::now() >= due && (published || published_at.elapsed() > UNPUBLISHED) {
                let was_reachable = self.lock().reachable;
                let tested = self.test().await;
                (due, pause) = match tested {
                    true => (Instant::now() + TEST_EVERY, PAUSES.0),
                    false => (Instant::now() + pause, (pause * 2).min(PAUSES.1)),
                };
                if tested && !was_reachable {
                    following.wake();
                }
            } else if !published && published_at.elapsed() <= UNPUBLISHED {
                // As soon as it is published again, it is tested.
                (due, pause) = (Instant::now(), PAUSES.0);
            }
            self.tell();
        }
    }

    fn tell(&self) {
        let status = self.network();
        self.changes.send_if_modified(|last| {
            let changed = *last != status;
            *last = status;
            changed
        });
    }

    /// With restricted discovery: who may find the service follows the invites and peers that there are.
    async fn follow_keys(&self) {
        let mut steps = tokio::time::interval(KEYS_EVERY);
        steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut admitted: Option<Vec<DiscoveryRecipient>> = None;
        loop {
            steps.tick().await;
            self.admit(&mut admitted).await;
        }
    }

    /// Takes over what the host knows. Answers whether a test makes sense.
    fn look(&self) -> bool {
        let Some((tor, service)) = &self.watched.tor else { return self.watched.dial.is_some() };
        let published = service.published();
        let mut state = self.lock();
        let is = published.state == OnionState::Published;
        if is && state.published.state != OnionState::Published {
            state.published_at = Some(self.watched.clock.now());
        }
        if !is {
            (state.published_at, state.reachable) = (None, false);
        } else if state.published.state != OnionState::Published {
            state.failed = None;
        }
        state.published = published;
        is && tor.bootstrap().ready
    }

    /// Tries the service from outside. Answers whether this very instance was reached.
    async fn test(&self) -> bool {
        let watched = &self.watched;
        let Some(dial) = watched.dial.clone() else { return true };
        // A client of its own: no connection is kept from the last test.
        let client = HttpClient::new(dial, ClientLimits::default());
        let caller = PeerCaller::new(client, Arc::clone(&watched.store.keys), Arc::clone(&watched.clock));
        let address = match &watched.shown {
            PeerAddress::Onion(onion) => PeerAddress::Onion(onion.found_with(watched.own_key)),
            direct => direct.clone(),
        };
        let (started, own) = (Instant::now(), watched.store.keys.instance());
        let tested = tokio::time::timeout(TEST_PATIENCE, caller.identity(&address, Some(&own))).await;
        let failed = match tested {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("nothing came back within {} seconds", TEST_PATIENCE.as_secs())),
        };
        let mut state = self.lock();
        // A circuit of before may still lead here although nobody else finds it any more.
        state.reachable = failed.is_none() && (watched.tor.is_none() || state.published.state == OnionState::Published);
        if let Some(failed) = &failed {
            tracing::info!(why = failed, "a test through Tor did not reach this instance");
        } else {
            state.reached_at = Some(watched.clock.now());
            state.took_ms = Some(started.elapsed().as_millis() as u64);
        }
        state.failed = failed;
        state.reachable
    }

    async fn admit(&self, admitted: &mut Option<Vec<DiscoveryRecipient>>) {
        let (Some((_, service)), Some(own)) = (&self.watched.tor, &self.watched.own_key) else { return };
        let wanted = match clients(&self.watched.store, own, &*self.watched.clock).await {
            Ok(wanted) => wanted,
            Err(error) => {
                tracing::warn!(%error, "who may find the onion service is not known");
                return;
            }
        };
        if admitted.as_ref() != Some(&wanted) {
            match service.admit(&wanted) {
                Ok(()) => *admitted = Some(wanted),
                Err(error) => tracing::warn!(error, "the list of who may find the onion service was not changed"),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock can panic")
    }
}

impl NetworkView for Reach {
    fn network(&self) -> NetworkStatus {
        let watched = &self.watched;
        let tor = watched.tor.as_ref().map(|(tor, _)| shown(tor.bootstrap()));
        let state = self.lock();
        let is_onion = matches!(watched.shown, PeerAddress::Onion(_));
        let onion = is_onion.then(|| OnionStatus {
            state: if watched.tor.is_some() { word(state.published.state) } else { "foreign" }.to_owned(),
            problem: state.published.problem.clone(),
            published_at: state.published_at,
            reachable: state.reachable,
            reached_at: state.reached_at,
            took_ms: state.took_ms,
            failed: state.failed.clone(),
            restricted: watched.own_key.is_some(),
        });
        let mut status = NetworkStatus { open: true, why_not: None, direct: watched.direct, tor, onion };
        let no_tor = status.tor.as_ref().is_some_and(|tor| !tor.ready);
        if no_tor || status.onion.as_ref().is_some_and(|onion| !onion.reachable) {
            (status.open, status.why_not) = (false, Some(status.in_words()));
        }
        status
    }

    fn addresses(&self) -> Addresses {
        self.watched.addresses.clone()
    }
}

fn shown(bootstrap: Bootstrap) -> TorStatus {
    let Bootstrap { percent, ready, doing, blocked, clock } = bootstrap;
    TorStatus { percent, ready, doing, blocked, clock }
}

fn word(state: OnionState) -> &'static str {
    match state {
        OnionState::Starting => "starting",
        OnionState::Published => "published",
        OnionState::Recovering => "recovering",
        OnionState::Broken => "broken",
        OnionState::Stopped => "stopped",
    }
}

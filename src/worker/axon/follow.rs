//! Following Axon instances: each is asked what is new after the interval, what is missing is fetched, and what came is put into a
//! snapshot.
//!
//! Peers are asked side by side, so that one's trouble delays no other; chunks are fetched from all of them at once. After a failure
//! the pause doubles, up to a quarter of an hour. The index is read at each step, so that what the command line adds or revokes
//! takes effect within seconds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{AxonError, snapshot};
use crate::axon::caller::AxonCaller;
use crate::axon::collection::default_collection;
use crate::axon::instance::{AxonInstance, InstanceError};
use crate::axon::pull::{AxonPuller, ConfigReport, PullError, Rows, SyncReport, Wanted};
use crate::clock::Clock;
use crate::monitor::Monitor;
use crate::store::index::Collection;
use crate::store::index::axon::{AxonPeer, AxonTrust};
use crate::store::{IndexError, Store, entropy};
use crate::transport::client::HttpClient;

/// How often the index is looked at.
const STEP: Duration = Duration::from_secs(1);
/// The pause after a first failure, and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(900));
/// So often the configuration is fetched without an occasion.
const CONFIG_EVERY: Duration = Duration::from_secs(86_400);

/// Those from whom is pulled: trusted, and their address is known.
///
/// # Errors
/// [`IndexError`].
pub async fn sources(store: &Store) -> Result<Vec<AxonPeer>, IndexError> {
    let mut peers = store.index.axon_peers().await?;
    peers.retain(|peer| peer.address.is_some() && matches!(peer.trust, AxonTrust::Trusted(_)));
    Ok(peers)
}

/// What one visit brought.
#[derive(Debug)]
pub struct Visited {
    /// What was new.
    pub synced: SyncReport,
    /// The configuration, if it was fetched.
    pub config: Option<ConfigReport>,
}

/// Asks a peer what is new, and for its configuration if there is an occasion: a new applet, the first time, or `config`.
///
/// # Errors
/// [`PullError`].
pub async fn visit(
    puller: &AxonPuller,
    collection: &Collection,
    peer: &AxonPeer,
    config: bool,
    cancel: &CancellationToken,
) -> Result<Visited, PullError> {
    let first = peer.cursor.is_none();
    let synced = puller.sync(collection, peer, cancel).await?;
    let config = match config || first || synced.new_applets {
        true => Some(puller.config(collection, peer, Rows::Follow, true, cancel).await?),
        false => None,
    };
    Ok(Visited { synced, config })
}

/// Follows Axon instances.
#[derive(Clone)]
pub struct AxonFollower {
    store: Store,
    client: HttpClient,
    clock: Arc<dyn Clock>,
    monitor: Arc<dyn Monitor>,
    interval: Duration,
}

impl std::fmt::Debug for AxonFollower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AxonFollower")
    }
}

/// When a peer is asked next.
#[derive(Debug, Clone, Copy)]
struct Turn {
    due: Instant,
    failures: u32,
    config_due: Instant,
    busy: bool,
    /// Something came while it was under way.
    again: bool,
}

enum Ended {
    Visit { peer: String, with_config: bool, result: Result<Visited, PullError> },
    Fetch(Result<u64, Trouble>),
}

/// Why what is missing was not fetched, or what came not put into a snapshot.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Pull(#[from] PullError),
    #[error(transparent)]
    Snapshot(#[from] AxonError),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Instance(#[from] InstanceError),
}

impl AxonFollower {
    /// Asks each followed peer every `interval`, give or take a tenth.
    pub fn new(
        store: Store,
        client: HttpClient,
        clock: Arc<dyn Clock>,
        monitor: Arc<dyn Monitor>,
        interval: Duration,
    ) -> Self {
        Self { store, client, clock, monitor, interval }
    }

    /// Runs until cancelled, then returns when what is under way has ended. May be dropped at any point: what was pulled stays.
    pub async fn run(self, cancel: CancellationToken) {
        let turns: Mutex<HashMap<String, Turn>> = Mutex::default();
        let mut running: FuturesUnordered<BoxFuture<'_, Ended>> = FuturesUnordered::new();
        let mut puller: Option<(AxonPuller, Collection)> = None;
        let mut fetch =
            Turn { due: Instant::now(), failures: 0, config_due: Instant::now(), busy: false, again: false };
        while !cancel.is_cancelled() {
            match self.due(&turns).await {
                Ok(due) if !due.is_empty() && puller.is_none() => {
                    // Their turn comes again in the next step.
                    turns.lock().expect("no holder of this lock can panic").clear();
                    match self.begin().await {
                        Ok(begun) => {
                            puller = Some(begun);
                            continue;
                        }
                        Err(error) => {
                            tracing::error!(%error, "Axon instances cannot be followed; it is tried again");
                            let _ = cancel.run_until_cancelled(tokio::time::sleep(PAUSES.0)).await;
                        }
                    }
                }
                Ok(due) => {
                    if let Some((puller, collection)) = &puller {
                        for (peer, with_config) in due {
                            let (puller, collection, cancel) = (puller.clone(), collection.clone(), cancel.clone());
                            running.push(Box::pin(async move {
                                let result = visit(&puller, &collection, &peer, with_config, &cancel).await;
                                Ended::Visit { peer: peer.name, with_config, result }
                            }));
                        }
                        if !fetch.busy && fetch.due <= Instant::now() {
                            fetch.busy = true;
                            let (puller, collection, cancel) = (puller.clone(), collection.clone(), cancel.clone());
                            let this = self.clone();
                            running.push(Box::pin(async move {
                                Ended::Fetch(this.fetch(&puller, &collection, &cancel).await)
                            }));
                        }
                    }
                }
                Err(error) => tracing::error!(%error, "the list of Axon instances cannot be read; it is tried again"),
            }
            tokio::select! {
                () = cancel.cancelled() => break,
                Some(ended) = running.next(), if !running.is_empty() => self.ended(ended, &turns, &mut fetch),
                () = tokio::time::sleep(STEP) => {}
            }
        }
        while running.next().await.is_some() {}
    }

    /// Whose turn it is, and whether their configuration is due.
    async fn due(&self, turns: &Mutex<HashMap<String, Turn>>) -> Result<Vec<(AxonPeer, bool)>, IndexError> {
        let mut peers = sources(&self.store).await?;
        peers.retain(|peer| peer.follow);
        let mut turns = turns.lock().expect("no holder of this lock can panic");
        turns.retain(|name, turn| turn.busy || peers.iter().any(|peer| peer.name == *name));
        let now = Instant::now();
        let mut due = Vec::new();
        for peer in peers {
            let first = || Turn { due: now, failures: 0, config_due: now, busy: false, again: false };
            let turn = turns.entry(peer.name.clone()).or_insert_with(first);
            if !turn.busy && turn.due <= now {
                turn.busy = true;
                due.push((peer, turn.config_due <= now));
            }
        }
        Ok(due)
    }

    async fn begin(&self) -> Result<(AxonPuller, Collection), Trouble> {
        let store = self.store.clone();
        let load = tokio::task::spawn_blocking(move || AxonInstance::load_or_make(&store)).await;
        let instance = Arc::new(load.map_err(|_| PullError::Died)??);
        let caller = AxonCaller::new(self.client.clone(), instance, Arc::clone(&self.clock));
        let puller = AxonPuller::new(self.store.clone(), caller, Arc::clone(&self.monitor));
        let collection = default_collection(&self.store).await?;
        super::refresh(&self.store, &collection).await?;
        Ok((puller, collection))
    }

    /// Fetches what is missing, and makes a snapshot if something came; how many items are not complete.
    async fn fetch(
        &self,
        puller: &AxonPuller,
        collection: &Collection,
        cancel: &CancellationToken,
    ) -> Result<u64, Trouble> {
        let peers = sources(&self.store).await?;
        let fetched = puller.download(collection, &peers, &Wanted::All, cancel).await?;
        if fetched.items > 0 {
            tracing::info!(
                items = fetched.items,
                chunks = fetched.chunks,
                bytes = fetched.bytes,
                "pulled from Axon instances"
            );
        }
        snapshot(&self.store, collection, &*self.clock, Arc::clone(&self.monitor), cancel).await?;
        Ok(fetched.faults.len() as u64)
    }

    fn ended(&self, ended: Ended, turns: &Mutex<HashMap<String, Turn>>, fetch: &mut Turn) {
        let now = Instant::now();
        match ended {
            Ended::Visit { peer, with_config, result } => {
                let mut turns = turns.lock().expect("no holder of this lock can panic");
                let Some(turn) = turns.get_mut(&peer) else { return };
                turn.busy = false;
                match result {
                    Ok(visited) => {
                        turn.failures = 0;
                        turn.due = now + spread(self.interval);
                        if with_config || visited.config.is_some() {
                            turn.config_due = now + spread(CONFIG_EVERY);
                        }
                        if visited.synced.is_news() || visited.config.is_some_and(|config| config.changed) {
                            (fetch.due, fetch.again) = (now, fetch.busy);
                        }
                    }
                    Err(PullError::Cancelled) => {}
                    Err(error) => {
                        turn.failures = turn.failures.saturating_add(1);
                        turn.due = now + spread(pause(turn.failures));
                        tracing::info!(peer, %error, "an Axon instance was asked in vain; it is tried again");
                    }
                }
            }
            Ended::Fetch(result) => {
                fetch.busy = false;
                match result {
                    Ok(0) => {
                        fetch.failures = 0;
                        fetch.due = now + spread(self.interval);
                    }
                    Ok(left) => {
                        fetch.failures = fetch.failures.saturating_add(1);
                        fetch.due = now + spread(pause(fetch.failures));
                        tracing::info!(left, "some items are not complete; they are tried again");
                    }
                    Err(Trouble::Pull(PullError::Cancelled)) => {}
                    Err(error) => {
                        fetch.failures = fetch.failures.saturating_add(1);
                        fetch.due = now + spread(pause(fetch.failures));
                        tracing::warn!(%error, "fetching from Axon instances stopped; it is tried again");
                    }
                }
                if std::mem::take(&mut fetch.again) {
                    fetch.due = now;
                }
            }
        }
    }
}

fn pause(failures: u32) -> Duration {
    (PAUSES.0 * (1 << failures.saturating_sub(1).min(10))).min(PAUSES.1)
}

/// Give or take a tenth.
fn spread(duration: Duration) -> Duration {
    let drawn = f64::from(rand_core::Rng::next_u32(&mut entropy())) / f64::from(u32::MAX);
    duration.mul_f64(0.9 + 0.2 * drawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_quarter_of_an_hour() {
        let pauses: Vec<u64> = [1, 2, 3, 7, 8, u32::MAX].map(|n| pause(n).as_secs()).into();
        assert_eq!(pauses, [15, 30, 60, 900, 900, 900]);
    }
}

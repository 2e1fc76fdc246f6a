//! Following peers.
//!
//! Each trusted peer that is followed and has an address is visited in turn: its feed, keys, lists, then missing chunks. A visit
//! that went well is repeated after the interval, give or take a tenth; after a failure the pause doubles up to a quarter of an
//! hour. Visits run side by side, a bounded number of them, so that one peer's trouble never delays another's.
//!
//! A peer that closes its chunks for a while (its quota is used up, or these are not its hours) has not failed: its feed is read as
//! before, and its chunks are asked for again when it said.
//!
//! In between a peer is listened to (see `push`): one request stays open at it, which it answers when it has news,
//! and then it is visited at once. While that goes well and nothing is missing here, the interval brings no visits.
//!
//! There is no list of peers in here: the index is read at each step, so that what the command line adds, revokes or forgets takes
//! effect within seconds, and a visit to a peer that is no longer followed is broken off. What another process adds to our own
//! feed is noticed in the same step, and waiting readers are told.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::push::{Ear, Heard, WAITS, listen};
use super::visit::{Chunks, Visited, visit};
use crate::domain::id::InstanceId;
use crate::domain::peer::{PeerAddress, Scope, Trust};
use crate::replicate::pull::{PullError, Puller, Retry, SyncReport};
use crate::replicate::serve::Serve;
use crate::store::index::Peer;
use crate::store::{IndexError, entropy};
use crate::transport::quality::Quality;

/// How often the index is looked at.
const STEP: Duration = Duration::from_secs(1);
/// Visits at once.
const VISITS: usize = 8;
/// The pause after a first failure.
const FIRST_PAUSE: Duration = Duration::from_secs(15);
/// The longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(900);

/// Gives a number from 0 to 1, both included, to spread visits.
pub type Jitter = Arc<dyn Fn() -> f64 + Send + Sync>;

/// Follows peers. Cheap to clone: all clones are one worker, and one of them runs.
#[derive(Clone)]
pub struct Worker {
    puller: Puller,
    serve: Serve,
    interval: Duration,
    push: bool,
    jitter: Jitter,
    visits: Arc<Mutex<HashMap<InstanceId, Visits>>>,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Worker")
    }
}

/// How it stands with a followed peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Which peer.
    pub id: InstanceId,
    /// Its name here.
    pub name: String,
    /// Whether it is visited now.
    pub busy: bool,
    /// Whether a request is open at it that it answers when it has news.
    pub listening: bool,
    /// Failures in a row.
    pub failures: u32,
    /// How the last visit ended.
    pub last: Option<Visit>,
    /// When the next one is due; `None` while one is under way.
    pub next_at: Option<Timestamp>,
}

/// A visit that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// When it ended.
    pub ended_at: Timestamp,
    /// Snapshots that were new.
    pub new_snapshots: u64,
    /// Chunks that it brought.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What went wrong.
    pub error: Option<String>,
}

impl Visit {
    fn failed(ended_at: Timestamp, error: &PullError) -> Self {
        Self { ended_at, new_snapshots: 0, chunks: 0, bytes: 0, error: Some(error.to_string()) }
    }
}

/// What the worker remembers of a peer.
#[derive(Debug)]
struct Visits {
    name: String,
    failures: u32,
    last: Option<Visit>,
    due: Instant,
    under_way: Option<UnderWay>,
    /// Asked for while a visit was under way.
    again: bool,
    /// Somebody waits for the next visit.
    asked: bool,
    /// What a peer that was listened to has told already; the next visit need not ask.
    told: Option<SyncReport>,
    /// Until when the peer gives no chunks.
    closed_until: Option<Instant>,
    ear: Ear,
}

/// A visit that is under way.
#[derive(Debug)]
struct UnderWay {
    /// Breaks it off.
    cancel: CancellationToken,
    /// The feed has been read; from now on chunks are fetched.
    synced: Arc<AtomicBool>,
}

/// What has ended.
enum Ended {
    Visit(InstanceId, Result<Visited, PullError>),
    Wait(InstanceId, Heard),
}

/// What goes on side by side, at most one of each for a peer.
#[derive(Default)]
struct Work {
    visits: FuturesUnordered<BoxFuture<'static, Ended>>,
    waits: FuturesUnordered<BoxFuture<'static, Ended>>,
}

impl Work {
    /// What ends next; pending if there is nothing.
    async fn next(&mut self) -> Ended {
        tokio::select! {
            Some(ended) = self.visits.next(), if !self.visits.is_empty() => ended,
            Some(ended) = self.waits.next(), if !self.waits.is_empty() => ended,
            else => std::future::pending().await,
        }
    }

    fn is_empty(&self) -> bool {
        self.visits.is_empty() && self.waits.is_empty()
    }
}

impl Worker {
    /// A worker that visits each peer every `interval`, give or take a tenth.
    pub fn new(puller: Puller, serve: Serve, interval: Duration) -> Self {
        let random = || {
            let bits = rand_core::Rng::next_u32(&mut entropy());
            f64::from(bits) / f64::from(u32::MAX)
        };
        Self { puller, serve, interval, push: true, jitter: Arc::new(random), visits: Arc::default() }
    }

    /// Whether peers are listened to between visits; they are by default.
    #[must_use]
    pub fn with_push(self, push: bool) -> Self {
        Self { push, ..self }
    }

    /// Tells waiting peers that something was added to our own feed. What nobody tells of is noticed a moment later.
    pub fn feed_changed(&self) {
        self.serve.feed_changed();
    }

    /// What the line to a peer has been like.
    pub fn quality(&self, address: &PeerAddress) -> Quality {
        self.puller.caller().client().quality(address)
    }

    /// The same with another source of jitter; for tests.
    #[must_use]
    pub fn with_jitter(self, jitter: Jitter) -> Self {
        Self { jitter, ..self }
    }

    /// How it stands with each followed peer, by name.
    pub fn status(&self) -> Vec<PeerStatus> {
        let (now, here) = (Instant::now(), self.puller.caller().now());
        let visits = self.visits();
        let status = |(id, visits): (&InstanceId, &Visits)| PeerStatus {
            id: *id,
            name: visits.name.clone(),
            busy: visits.under_way.is_some(),
            listening: visits.ear.is_open(),
            failures: visits.failures,
            last: visits.last.clone(),
            next_at: visits.under_way.is_none().then(|| {
                let left = visits.due.saturating_duration_since(now);
                here.saturating_add(SignedDuration::try_from(left).unwrap_or(SignedDuration::MAX)).unwrap_or(here)
            }),
        };
        let mut all: Vec<PeerStatus> = visits.iter().map(status).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Runs until cancelled, then breaks off what is under way and returns when that has ended. Each change of `wake` brings
    /// all visits forward to now.
    ///
    /// May be dropped at any point: what was pulled until then stays.
    pub async fn run(self, mut wake: watch::Receiver<u64>, cancel: CancellationToken) {
        let mut work = Work::default();
        let mut steps = tokio::time::interval(STEP);
        steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut feed_head, mut wakeable) = (None, true);
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                ended = work.next() => self.ended(ended),
                woken = wake.changed(), if wakeable => match woken {
                    Ok(()) => self.bring_forward(),
                    Err(_) => wakeable = false,
                },
                _ = steps.tick() => {}
            }
            if let Err(error) = self.step(&mut feed_head, &mut work, &cancel).await {
                tracing::error!(%error, "the worker cannot read the index; it tries again");
            }
        }
        // The visits and waits hear of it too.
        while !work.is_empty() {
            let ended = work.next().await;
            self.ended(ended);
        }
    }

    /// Looks at the index: tells readers of what is new, and begins and breaks off visits and waits.
    async fn step(
        &self,
        feed_head: &mut Option<u64>,
        work: &mut Work,
        cancel: &CancellationToken,
    ) -> Result<(), IndexError> {
        let index = &self.puller.store().index;
        let head = Some(index.feed_head().await?);
        if *feed_head != head {
            *feed_head = head;
            self.serve.feed_changed();
        }
        let mut followed = index.peers().await?;
        followed.retain(|peer| peer.follow && peer.address.is_some() && matches!(peer.trust, Trust::Trusted(_)));
        let silent = self.silent(&followed).await?;
        let now = Instant::now();
        let mut all = self.visits();
        all.retain(|id, visits| {
            let stays = followed.iter().any(|peer| peer.id == *id);
            if !stays {
                visits.under_way.iter().for_each(|visit| visit.cancel.cancel());
                visits.ear.close();
            }
            stays || visits.under_way.is_some() || visits.ear.is_open()
        });
        for peer in followed {
            let visits = all.entry(peer.id).or_insert_with(|| Visits::new(now));
            visits.name.clone_from(&peer.name);
            let chunks = visits.chunks(now);
            if visits.under_way.is_none() && visits.due <= now {
                if silent.contains(&peer.id) {
                    visits.due = visits.opens_before(now + self.spread(self.interval), now);
                } else if work.visits.len() < VISITS {
                    let (cancel, synced) = (cancel.child_token(), Arc::new(AtomicBool::new(false)));
                    visits.under_way = Some(UnderWay { cancel: cancel.clone(), synced: Arc::clone(&synced) });
                    visits.asked = false;
                    let told = visits.told.take();
                    let (puller, peer) = (self.puller.clone(), peer.clone());
                    work.visits.push(Box::pin(async move {
                        Ended::Visit(peer.id, visit(&puller, &peer, told, chunks, &synced, &cancel).await)
                    }));
                }
            }
            if self.push && visits.may_listen(now) && work.waits.len() < WAITS {
                let cancel = visits.ear.open(now, cancel);
                let (puller, id) = (self.puller.clone(), peer.id);
                work.waits
                    .push(Box::pin(async move { Ended::Wait(id, listen(&puller, &peer, chunks, &cancel).await) }));
            }
        }
        Ok(())
    }

    /// Peers whose visit is due and brings nothing: they are listened to and would tell of news, and nothing is missing here.
    async fn silent(&self, followed: &[Peer]) -> Result<HashSet<InstanceId>, IndexError> {
        let now = Instant::now();
        let is_due = |visits: &Visits| visits.ear.is_open() && visits.due <= now && !visits.asked;
        let is_closed = |visits: &Visits| visits.chunks(now) == Chunks::Closed;
        let due: Vec<(&Peer, bool)> = {
            let all = self.visits();
            let due = |peer: &Peer| all.get(&peer.id).filter(|visits| is_due(visits)).map(is_closed);
            followed.iter().filter_map(|peer| Some((peer, due(peer)?))).collect()
        };
        let mut silent = HashSet::new();
        for (peer, closed) in due {
            if closed || !self.lacks(&peer.mirror).await? {
                silent.insert(peer.id);
            }
        }
        Ok(silent)
    }

    /// Whether something of these collections is missing here.
    async fn lacks(&self, mirrored: &Scope) -> Result<bool, IndexError> {
        let index = &self.puller.store().index;
        let chunks = match mirrored {
            Scope::All => !index.missing_chunks(None, 1).await?.is_empty(),
            Scope::Only(collections) | Scope::Guest { granted: collections, .. } => {
                let mut any = false;
                for collection in collections {
                    any |= !index.missing_chunks(Some(collection), 1).await?.is_empty();
                }
                any
            }
        };
        Ok(chunks || !index.missing_segments(1).await?.is_empty())
    }

    fn ended(&self, ended: Ended) {
        match ended {
            Ended::Visit(id, result) => self.visited(id, result),
            Ended::Wait(id, heard) => self.heard(id, heard),
        }
    }

    /// Remembers what a peer that was listened to has told: with news it is visited now, after a failure later.
    fn heard(&self, id: InstanceId, heard: Heard) {
        let ended_at = self.puller.caller().now();
        let mut all = self.visits();
        let Some(visits) = all.get_mut(&id) else { return };
        let now = Instant::now();
        visits.ear.heard(&heard, now, |pause| self.spread(pause));
        match heard {
            Ok(report) if report.new_snapshots.is_empty() => {}
            Ok(report) if visits.under_way.is_some() => {
                tracing::debug!(peer.id = %id, snapshots = report.new_snapshots.len(), "told of news during a visit");
                visits.again = true;
            }
            Ok(report) => {
                (visits.due, visits.asked, visits.told) = (now, true, Some(report));
            }
            Err(PullError::Cancelled) => {}
            // A visit that is under way finds out by itself.
            Err(_) if visits.under_way.is_some() => {}
            Err(error) => {
                visits.failures = visits.failures.saturating_add(1);
                visits.due = now + self.spread(pause(visits.failures, error.retry()));
                visits.last = Some(Visit::failed(ended_at, &error));
            }
        }
    }

    /// Remembers how a visit ended, and when the next one is due.
    fn visited(&self, id: InstanceId, result: Result<Visited, PullError>) {
        let (ended_at, now) = (self.puller.caller().now(), Instant::now());
        let mut all = self.visits();
        let Some(visits) = all.get_mut(&id) else { return };
        visits.under_way = None;
        let (due, last) = match result {
            Ok(visited) => {
                visits.failures = 0;
                if let Some(closed) = &visited.closed {
                    visits.closed_until = Some(now + closed.pause.max(FIRST_PAUSE));
                }
                let wrong = visited.fetched.bad.len();
                let error = match visited.closed {
                    Some(closed) => Some(closed.reason),
                    // What it said when it closed its chunks still holds.
                    None if visited.chunks == Chunks::Closed => visits.last.take().and_then(|last| last.error),
                    None => (wrong > 0).then(|| format!("it sent {wrong} wrong chunks")),
                };
                let visit = Visit {
                    ended_at,
                    new_snapshots: visited.synced.new_snapshots.len() as u64,
                    chunks: visited.fetched.chunks,
                    bytes: visited.fetched.bytes,
                    error,
                };
                (visits.opens_before(now + self.spread(self.interval), now), visit)
            }
            Err(error) => {
                visits.failures = visits.failures.saturating_add(1);
                (now + self.spread(pause(visits.failures, error.retry())), Visit::failed(ended_at, &error))
            }
        };
        visits.asked |= visits.again;
        visits.due = if std::mem::take(&mut visits.again) { now } else { due };
        visits.last = Some(last);
    }

    fn bring_forward(&self) {
        for visits in self.visits().values_mut() {
            visits.due = Instant::now();
            visits.asked = true;
            // Somebody may have talked to the peer's admin.
            visits.closed_until = None;
            visits.again = visits.under_way.is_some();
        }
    }

    /// Give or take a tenth.
    fn spread(&self, pause: Duration) -> Duration {
        pause.mul_f64(0.9 + 0.2 * (self.jitter)().clamp(0.0, 1.0))
    }

    fn visits(&self) -> MutexGuard<'_, HashMap<InstanceId, Visits>> {
        self.visits.lock().expect("no holder of this lock can panic")
    }
}

impl Visits {
    fn new(due: Instant) -> Self {
        Self {
            name: String::new(),
            failures: 0,
            last: None,
            due,
            under_way: None,
            again: false,
            asked: false,
            told: None,
            closed_until: None,
            ear: Ear::default(),
        }
    }

    /// Whether the peer gives chunks now.
    fn chunks(&self, now: Instant) -> Chunks {
        if self.closed_until.is_some_and(|until| until > now) { Chunks::Closed } else { Chunks::Open }
    }

    /// This moment, or the one at which the peer gives chunks again, if that comes first.
    fn opens_before(&self, due: Instant, now: Instant) -> Instant {
        self.closed_until.filter(|until| *until > now).map_or(due, |until| until.min(due))
    }

    /// Whether the peer is worth listening to: the feed was read to its end, and nobody is reading it now.
    fn may_listen(&self, now: Instant) -> bool {
        let was_reached = self.last.is_some() && self.failures == 0 && self.told.is_none();
        let is_read = self.under_way.as_ref().is_none_or(|visit| visit.synced.load(Ordering::Relaxed));
        was_reached && is_read && self.ear.may_open(now)
    }
}

/// How long to wait after so many failures in a row.
fn pause(failures: u32, retry: Retry) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
    match retry {
        Retry::Now if failures <= 1 => Duration::ZERO,
        Retry::Now | Retry::Backoff => doubled,
        Retry::After(at_least) => at_least.max(doubled),
        // Somebody has to change something; until it is noticed, looking now and then costs nothing.
        Retry::Never => LONGEST_PAUSE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_quarter_of_an_hour() {
        let pauses: Vec<u64> = (1..=10).map(|n| pause(n, Retry::Backoff).as_secs()).collect();
        assert_eq!(pauses, [15, 30, 60, 120, 240, 480, 900, 900, 900, 900]);
        assert_eq!(pause(u32::MAX, Retry::Backoff), LONGEST_PAUSE);
        assert_eq!(pause(1, Retry::Never), LONGEST_PAUSE);
        assert_eq!(pause(1, Retry::After(Duration::from_secs(60))).as_secs(), 60);
        assert_eq!(pause(1, Retry::Now), Duration::ZERO);
        assert_eq!(pause(2, Retry::Now).as_secs(), 30);
    }
}

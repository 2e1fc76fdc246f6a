//! One fetch from some peers: does what the [`Scheduler`] says, and tells it what came of it.
//!
//! Which object is asked of whom, in what batches, over how many streams, and when a stream is too slow, is decided there.
//! Here are the streams themselves; what other runs are fetching at this moment, which is left to them; and who is to blame.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, OnceCell};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::arrivals::Arrivals;
use super::error::Retry;
use super::fill::{Summaries, What};
use super::line::Line;
use super::parts::Parts;
use super::receive::{Batch, End, Wanted, Watch, adopt};
use super::shared::Claims;
use super::{FetchReport, Lie, PullError, Puller, Wrong};
use crate::domain::fetch::{Action, Ending, PeerNo, Policy, Scheduler, StreamNo};
use crate::domain::id::{ChunkId, CollectionId, InstanceId};
use crate::domain::wire::messages::MAX_IDS;
use crate::monitor::Counter;

/// The queue is filled again when there is less in it.
const FEW: usize = 2048;

/// One fetch from some peers.
pub(super) struct Run {
    pub(super) puller: Puller,
    /// By [`PeerNo`].
    pub(super) sources: Vec<Source>,
    /// Leave out what a peer did not have a short time ago.
    pub(super) quiet: bool,
    pub(super) said: OnceCell<Summaries>,
    scheduler: Mutex<Scheduler>,
    /// What the scheduler knows by name only.
    wanted: Mutex<HashMap<ChunkId, Wanted>>,
    parts: Parts,
    arrivals: Arrivals,
    started_at: Instant,
    /// Something has happened that may give the scheduler ideas.
    changed: Notify,
    bad: Mutex<Vec<(usize, ChunkId, Wrong)>>,
    chunks: AtomicU64,
    bytes: AtomicU64,
    segments: AtomicU64,
}

/// What a run has brought.
pub(super) struct Totals {
    pub(super) chunks: u64,
    pub(super) bytes: u64,
    pub(super) segments: u64,
    pub(super) requests: u64,
}

pub(super) struct Source {
    pub(super) line: Line,
    error: Mutex<Option<PullError>>,
}

/// What goes on side by side.
enum Done {
    Filled { all: bool },
    Ended,
}

type Work<'a> = FuturesUnordered<BoxFuture<'a, Result<Done, PullError>>>;

impl Run {
    pub(super) fn new(puller: &Puller, lines: Vec<Line>, quiet: bool) -> Self {
        let mut scheduler = Scheduler::new(Policy { batch_ids: MAX_IDS, ..Policy::default() });
        for (at, line) in lines.iter().enumerate() {
            let circuits = puller.circuits_to(&line.callee.address);
            scheduler.add_peer(PeerNo(at), circuits, puller.shared.circuits(&line.id));
        }
        Self {
            puller: puller.clone(),
            sources: lines.into_iter().map(|line| Source { line, error: Mutex::default() }).collect(),
            quiet,
            said: OnceCell::new(),
            scheduler: Mutex::new(scheduler),
            wanted: Mutex::default(),
            parts: Parts::default(),
            arrivals: Arrivals::new(&puller.monitor),
            started_at: Instant::now(),
            changed: Notify::new(),
            bad: Mutex::default(),
            chunks: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            segments: AtomicU64::new(0),
        }
    }

    /// Fetches all segments that are missing.
    pub(super) async fn segments(&self) -> Result<(), PullError> {
        self.work(What::Segments).await
    }

    /// Fetches all chunks that are missing, of one collection or of all.
    pub(super) async fn chunks(&self, collection: Option<&CollectionId>) -> Result<(), PullError> {
        let index = &self.puller.store.index;
        let (number, bytes) = index.count_missing(collection).await?;
        if number > 0 {
            // What an earlier run brought of the same snapshots is not to be waited for again.
            let here = index.bytes_of_incomplete(collection).await?;
            self.puller.monitor.resume("fetching", Counter::ChunkBytes, here, here + bytes);
        }
        self.work(What::Chunks(collection)).await
    }

    /// Fetches all chunks that were here and are lost.
    pub(super) async fn lost(&self) -> Result<(), PullError> {
        self.work(What::Lost).await
    }

    /// Works until everything is here, or lost to this run.
    async fn work(&self, what: What<'_>) -> Result<(), PullError> {
        let mut work = Work::new();
        let mut cuts: HashMap<StreamNo, CancellationToken> = HashMap::new();
        let (mut all, mut filling, mut fatal) = (false, false, None);
        loop {
            while fatal.is_none()
                && let Some(action) = self.next_action()
            {
                match action {
                    Action::Ask { stream, peer, ids, again, .. } => {
                        let cut = CancellationToken::new();
                        cuts.insert(stream, cut.clone());
                        work.push(Box::pin(self.ask(stream, peer.0, ids, again, cut)));
                    }
                    Action::Cut { stream } => cuts.get(&stream).into_iter().for_each(CancellationToken::cancel),
                }
            }
            if !all && !filling && fatal.is_none() && self.scheduler().queued() < FEW {
                filling = true;
                work.push(Box::pin(async move { Ok(Done::Filled { all: self.fill(what).await? }) }));
            }
            if work.is_empty() {
                break;
            }
            let wake_at = self.scheduler().wake_at(self.now()).filter(|_| fatal.is_none());
            let wait = tokio::time::sleep_until(self.started_at + wake_at.unwrap_or_default());
            let done = tokio::select! {
                done = work.next() => done,
                () = self.changed.notified() => continue,
                () = wait, if wake_at.is_some() => continue,
            };
            match done {
                Some(Ok(Done::Filled { all: that_was_all })) => (all, filling) = (that_was_all, false),
                Some(Ok(Done::Ended)) | None => {}
                // Streams are cut, not dropped: what they have brought is noted.
                Some(Err(error)) => {
                    cuts.values().for_each(CancellationToken::cancel);
                    fatal.get_or_insert(error);
                }
            }
        }
        self.note_circuits();
        lock(&self.wanted).clear();
        self.arrivals.end();
        fatal.map_or(Ok(()), Err)
    }

    fn next_action(&self) -> Option<Action> {
        self.scheduler().next(self.now())
    }

    fn now(&self) -> Duration {
        self.started_at.elapsed()
    }

    pub(super) fn scheduler(&self) -> MutexGuard<'_, Scheduler> {
        lock(&self.scheduler)
    }

    pub(super) fn want(&self, wanted: Wanted, holders: &[PeerNo]) {
        self.scheduler().want(wanted.id, wanted.size_bytes, holders.iter().copied());
        if !holders.is_empty() {
            lock(&self.wanted).insert(wanted.id, wanted);
        }
    }

    /// One batch, from beginning to end.
    async fn ask(
        &self,
        stream: StreamNo,
        at: usize,
        ids: Vec<ChunkId>,
        again: bool,
        cut: CancellationToken,
    ) -> Result<Done, PullError> {
        let result = self.batch(stream, at, ids, again, &cut).await;
        let ending = match &result {
            Ok(true) => Ending::Whole,
            Ok(false) | Err(_) => Ending::Broken,
        };
        self.scheduler().ended(stream, ending, self.now());
        result.map(|_| Done::Ended)
    }

    /// Answers whether the stream was whole. What is not the peer's trouble is an error.
    async fn batch(
        &self,
        stream: StreamNo,
        at: usize,
        mut ids: Vec<ChunkId>,
        again: bool,
        cut: &CancellationToken,
    ) -> Result<bool, PullError> {
        let (line, shared) = (&self.sources[at].line, &self.puller.shared);
        // What was given to a second stream is claimed by the first one.
        if !again {
            ids.retain(|id| {
                let ours = shared.claim(id);
                if !ours {
                    self.scheduler().give_up(id);
                }
                ours
            });
        }
        let claimed = if again { Vec::new() } else { ids.clone() };
        let claims = Claims::new(Arc::clone(shared), claimed);
        let wanted: Vec<Wanted> = {
            let all = lock(&self.wanted);
            ids.iter().filter_map(|id| all.get(id).cloned()).collect()
        };
        // Another run may have stored some of it since the queue was filled.
        let adopted = adopt(&self.puller, wanted).await?;
        adopted.here.iter().for_each(|id| self.here(stream, id));
        adopted.wrong.iter().for_each(|(wanted, _)| self.scheduler().give_up(&wanted.id));
        if adopted.absent.is_empty() {
            return Ok(true);
        }
        let watch = StreamWatch { run: self, stream, claims: &claims };
        let batch = Batch { puller: &self.puller, line, cut, parts: &self.parts, watch: &watch };
        let end = batch.receive(adopted.absent).await;
        self.settle(stream, at, end)
    }

    fn here(&self, stream: StreamNo, id: &ChunkId) {
        self.scheduler().stored(stream, id);
        let mut wanted = lock(&self.wanted);
        if let Some(wanted) = wanted.remove(id).filter(|wanted| wanted.segment.is_none()) {
            self.arrivals.whole(&wanted);
        }
        drop(wanted);
        self.changed.notify_one();
    }

    /// Tells what did not come, and counts what did. Answers whether the stream was whole.
    fn settle(&self, stream: StreamNo, at: usize, end: End) -> Result<bool, PullError> {
        let line = &self.sources[at].line;
        self.chunks.fetch_add(end.stored.chunks.len() as u64, Ordering::Relaxed);
        self.bytes.fetch_add(end.stored.bytes(), Ordering::Relaxed);
        self.segments.fetch_add(end.stored.segments.len() as u64, Ordering::Relaxed);
        self.puller.shared.note_absent_objects(&line.id, end.missing.iter().map(|wanted| wanted.id));
        for wanted in &end.missing {
            self.scheduler().missing(stream, &wanted.id);
        }
        for (wanted, wrong) in &end.bad {
            line.problem(Lie::Object { id: wanted.id, wrong: *wrong }.to_string());
            lock(&self.bad).push((at, wanted.id, *wrong));
            self.scheduler().bad(stream, &wanted.id);
        }
        match end.error {
            Some(error) => self.failed(at, error, false)?,
            None if end.whole && !self.scheduler().is_retired(PeerNo(at)) => *lock(&self.sources[at].error) = None,
            None => {}
        }
        Ok(end.whole)
    }

    /// Remembers that a peer failed, and leaves it alone if there is no hope. What is not the peer's trouble ends the run.
    pub(super) fn failed(&self, at: usize, error: PullError, hopeless: bool) -> Result<(), PullError> {
        if !matches!(error, PullError::Call { .. } | PullError::Lied { .. }) {
            return Err(error);
        }
        let hopeless = hopeless
            || matches!(error.retry(), Retry::Never | Retry::After(_))
            || matches!(error, PullError::Lied { .. });
        tracing::info!(peer.id = %self.sources[at].line.id, %error, hopeless, "a stream failed");
        *lock(&self.sources[at].error) = Some(error);
        if hopeless {
            self.scheduler().retire(PeerNo(at));
        }
        Ok(())
    }

    pub(super) fn anybody_left(&self) -> bool {
        let scheduler = self.scheduler();
        (0..self.sources.len()).any(|at| !scheduler.is_retired(PeerNo(at)))
    }

    fn note_circuits(&self) {
        let scheduler = self.scheduler();
        for (at, source) in self.sources.iter().enumerate() {
            if !scheduler.is_retired(PeerNo(at)) {
                self.puller.shared.note_circuits(&source.line.id, scheduler.circuits(PeerNo(at)));
            }
        }
    }

    /// Who sent what was wrong.
    pub(super) fn bad(&self) -> Vec<(InstanceId, ChunkId)> {
        lock(&self.bad).iter().map(|(at, id, _)| (self.sources[*at].line.id, *id)).collect()
    }

    /// The first wrong object, as an error.
    pub(super) fn first_lie(&self) -> Option<PullError> {
        let bad = lock(&self.bad);
        bad.first().map(|(at, id, wrong)| self.sources[*at].line.lied(Lie::Object { id: *id, wrong: *wrong }))
    }

    /// The error of the first peer that failed for good; it is given away.
    pub(super) fn first_failure(&self) -> Option<PullError> {
        self.sources.iter().find_map(|source| lock(&source.error).take())
    }

    /// Remembers with each peer what came of the contact.
    pub(super) async fn note_contacts(&self) -> Result<(), PullError> {
        let bad: HashMap<usize, (ChunkId, Wrong)> =
            lock(&self.bad).iter().map(|(at, id, wrong)| (*at, (*id, *wrong))).collect();
        for (at, source) in self.sources.iter().enumerate() {
            let text = match bad.get(&at) {
                Some((id, wrong)) => Some(source.line.lied(Lie::Object { id: *id, wrong: *wrong }).to_string()),
                None => lock(&source.error).as_ref().map(ToString::to_string),
            };
            if text.is_some() || source.line.requests() > 0 {
                let now = self.puller.caller.now();
                self.puller.store.index.note_contact(&source.line.id, now, text.as_deref()).await?;
            }
        }
        Ok(())
    }

    /// What the run brought, for who asked for it.
    pub(super) fn report(&self, still_missing: u64) -> FetchReport {
        let Totals { chunks, bytes, requests, .. } = self.totals();
        FetchReport { chunks, bytes, still_missing, requests, bad: self.bad(), ..FetchReport::default() }
    }

    pub(super) fn totals(&self) -> Totals {
        Totals {
            chunks: self.chunks.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            segments: self.segments.load(Ordering::Relaxed),
            requests: self.sources.iter().map(|source| source.line.requests()).sum(),
        }
    }
}

/// Tells the scheduler what comes in one stream.
struct StreamWatch<'a> {
    run: &'a Run,
    stream: StreamNo,
    claims: &'a Claims,
}

impl Watch for StreamWatch<'_> {
    fn received(&self, bytes: usize) {
        self.claims.renew();
        self.run.scheduler().progress(self.stream, bytes as u64, self.run.now());
    }

    fn arrived(&self, id: &ChunkId, bytes: usize) {
        let wanted = lock(&self.run.wanted);
        if let Some(wanted) = wanted.get(id).filter(|wanted| wanted.segment.is_none()) {
            self.run.arrivals.part(wanted, bytes);
        }
    }

    fn in_vain(&self, id: &ChunkId) {
        self.run.arrivals.in_vain(id);
    }

    fn is_wanted(&self, id: &ChunkId) -> bool {
        self.run.scheduler().is_wanted(id)
    }

    fn stored(&self, id: &ChunkId) {
        self.run.here(self.stream, id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock can panic")
}

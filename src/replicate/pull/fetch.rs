//! What to ask whom next: a queue of missing objects, served by all peers that have them, over a few streams each.
//!
//! The queue is filled window by window from the index, so that memory does not grow with what is missing. A batch is
//! requeued when its stream breaks, and given to another peer too when it takes too long. A peer that fails twice without
//! having sent anything is left alone for the rest of the run.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::error::Retry;
use super::line::Line;
use super::receive::{End, Wanted, adopt, receive};
use super::shared::{CLAIM, Claims};
use super::{Lie, PullError, Puller, Wrong};
use crate::domain::id::{ChunkId, CollectionId, InstanceId};
use crate::domain::manifest::SegmentSummary;
use crate::domain::wire::messages::MAX_IDS;
use crate::monitor::Counter;
use crate::replicate::serve::blocking;

/// Objects that are looked at at once.
const WINDOW: usize = 4096;
/// Bytes in one batch, unless a single chunk is longer.
const BATCH_BYTES: u64 = 16 << 20;
/// Failures in a row, without anything sent, after which a peer is left alone.
const FAILURES: u32 = 2;

/// One fetch from some peers.
pub(super) struct Run {
    puller: Puller,
    sources: Vec<Source>,
    /// Leave out what a peer did not have a short time ago.
    quiet: bool,
    bad: Mutex<Vec<(usize, ChunkId, Wrong)>>,
    /// What cannot be had from these peers in this run.
    lost: Mutex<HashSet<ChunkId>>,
    fatal: Mutex<Option<PullError>>,
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

struct Source {
    line: Line,
    state: Mutex<SourceState>,
}

#[derive(Default)]
struct SourceState {
    failures: u32,
    retired: bool,
    error: Option<PullError>,
}

/// The objects of a window.
#[derive(Default)]
struct Board {
    pending: VecDeque<Item>,
    busy: HashMap<ChunkId, Busy>,
}

/// Something wanted, and the peers that may have it.
#[derive(Clone)]
struct Item {
    wanted: Wanted,
    sources: Vec<usize>,
}

struct Busy {
    item: Item,
    holder: usize,
    since: Instant,
}

enum Take {
    Batch(Vec<Wanted>, Claims),
    /// Others are at it: look again when they are done, or when they have taken too long.
    Later,
    Nothing,
}

impl Run {
    pub(super) fn new(puller: &Puller, lines: Vec<Line>, quiet: bool) -> Self {
        let source = |line| Source { line, state: Mutex::default() };
        Self {
            puller: puller.clone(),
            sources: lines.into_iter().map(source).collect(),
            quiet,
            bad: Mutex::default(),
            lost: Mutex::default(),
            fatal: Mutex::default(),
            chunks: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            segments: AtomicU64::new(0),
        }
    }

    /// Fetches all segments that are missing.
    pub(super) async fn segments(&self) -> Result<(), PullError> {
        let mut said = None;
        loop {
            let skipped = lock(&self.lost).len();
            let mut missing = self.puller.store.index.missing_segments(WINDOW + skipped).await?;
            missing.retain(|(id, _)| !lock(&self.lost).contains(id));
            if missing.is_empty() || !self.anybody_left() {
                return Ok(());
            }
            let said = match &said {
                Some(said) => said,
                None => said.insert(self.summaries().await?),
            };
            let wanted = missing.into_iter().map(|(id, size_bytes)| {
                let segment = Some(said.get(&id).cloned().unwrap_or_default());
                Wanted { id, size_bytes, segment }
            });
            self.window(wanted.collect()).await?;
        }
    }

    /// Fetches all chunks that are missing, of one collection or of all.
    pub(super) async fn chunks(&self, collection: Option<&CollectionId>) -> Result<(), PullError> {
        let (number, bytes) = self.puller.store.index.count_missing(collection).await?;
        if number > 0 {
            self.puller.monitor.task("fetching", Counter::ChunkBytes, Some(bytes));
        }
        loop {
            let skipped = lock(&self.lost).len();
            let mut missing = self.puller.store.index.missing_chunks(collection, WINDOW + skipped).await?;
            missing.retain(|(id, _)| !lock(&self.lost).contains(id));
            if missing.is_empty() || !self.anybody_left() {
                return Ok(());
            }
            let wanted = missing.into_iter().map(|(id, size_bytes)| Wanted { id, size_bytes, segment: None });
            self.window(wanted.collect()).await?;
        }
    }

    /// What manifests of incomplete snapshots say of their segments.
    async fn summaries(&self) -> Result<HashMap<ChunkId, Vec<SegmentSummary>>, PullError> {
        let mut snapshots = self.puller.store.index.snapshots(None).await?;
        snapshots.retain(|snapshot| !snapshot.complete);
        let files = self.puller.store.manifests.clone();
        let read = move || {
            let mut said: HashMap<ChunkId, Vec<SegmentSummary>> = HashMap::new();
            for snapshot in snapshots {
                // One that is damaged here is 'bulbil verify's concern.
                let Ok((signed, _)) = files.load(&snapshot.id) else { continue };
                for summary in signed.manifest.segments {
                    let known = said.entry(summary.id).or_default();
                    if !known.contains(&summary) {
                        known.push(summary);
                    }
                }
            }
            said
        };
        Ok(blocking(read).await)
    }

    /// Gets the objects of one window. Afterwards each of them is here, or lost to this run.
    async fn window(&self, wanted: Vec<Wanted>) -> Result<(), PullError> {
        let absent = self.adopt(wanted).await?;
        let board = self.ask_who_has(absent).await?;
        let window =
            Window { run: self, board: Mutex::new(board), changed: Notify::new(), done: CancellationToken::new() };
        window.finish_if_done();
        let client = self.puller.caller.client();
        let count = |at: usize| client.bulk_streams(&self.sources[at].line.callee.address);
        let streams = (0..self.sources.len()).flat_map(|at| std::iter::repeat_n(at, count(at)));
        let streams = streams.map(|at| window.serve(at));
        futures_util::future::join_all(streams).await;
        if let Some(error) = lock(&self.fatal).take() {
            return Err(error);
        }
        let board = window.board.into_inner().expect("no holder of this lock can panic");
        let mut lost = lock(&self.lost);
        lost.extend(board.pending.into_iter().map(|item| item.wanted.id));
        lost.extend(board.busy.into_keys());
        Ok(())
    }

    /// Takes over what is here already. What is here and cannot be right is nobody's to send.
    async fn adopt(&self, wanted: Vec<Wanted>) -> Result<Vec<Wanted>, PullError> {
        let (absent, wrong) = adopt(&self.puller, wanted).await?;
        for (wanted, wrong) in wrong {
            let text =
                format!("chunk {} is of no use: {wrong}. Its snapshot cannot become complete", wanted.id.short());
            if let [source] = &self.sources[..] {
                source.line.problem(text);
            } else {
                self.puller.monitor.problem(crate::monitor::Problem { subject: wanted.id.to_string(), message: text });
            }
            lock(&self.lost).insert(wanted.id);
        }
        Ok(absent)
    }

    /// Asks each of several peers which objects it has; a single one is asked for the objects themselves.
    async fn ask_who_has(&self, wanted: Vec<Wanted>) -> Result<Board, PullError> {
        let answers = (0..self.sources.len()).map(|at| self.has(at, &wanted));
        let answers = futures_util::future::join_all(answers).await;
        let mut sources: HashMap<ChunkId, Vec<usize>> = HashMap::new();
        for (at, ids) in answers.into_iter().enumerate() {
            for id in ids? {
                sources.entry(id).or_default().push(at);
            }
        }
        let mut board = Board::default();
        for wanted in wanted {
            match sources.remove(&wanted.id) {
                Some(sources) => board.pending.push_back(Item { wanted, sources }),
                None => drop(lock(&self.lost).insert(wanted.id)),
            }
        }
        Ok(board)
    }

    /// What a peer may have of this.
    async fn has(&self, at: usize, wanted: &[Wanted]) -> Result<Vec<ChunkId>, PullError> {
        let (line, shared) = (&self.sources[at].line, &self.puller.shared);
        let mut ids: Vec<ChunkId> = wanted.iter().map(|wanted| wanted.id).collect();
        if self.quiet {
            shared.retain_present_objects(&line.id, &mut ids);
        }
        if self.sources.len() == 1 {
            return Ok(ids);
        }
        let mut found = Vec::new();
        for batch in ids.chunks(MAX_IDS) {
            if self.source(at).retired {
                break;
            }
            match line.ask(self.puller.caller.have(&line.callee, batch)).await {
                Ok(bits) => found.extend(batch.iter().zip(bits).filter(|(_, has)| *has).map(|(id, _)| *id)),
                Err(error) => self.failed(at, error, false)?,
            }
        }
        Ok(found)
    }

    /// Remembers that a peer failed. What is not the peer's trouble ends the run.
    fn failed(&self, at: usize, error: PullError, progress: bool) -> Result<(), PullError> {
        if !matches!(error, PullError::Call { .. } | PullError::Lied { .. }) {
            return Err(error);
        }
        let mut state = self.source(at);
        state.failures = if progress { 1 } else { state.failures + 1 };
        let hopeless =
            matches!(error.retry(), Retry::Never | Retry::After(_)) || matches!(error, PullError::Lied { .. });
        state.retired |= hopeless || state.failures >= FAILURES;
        tracing::info!(peer.id = %self.sources[at].line.id, %error, retired = state.retired, "a stream failed");
        state.error = Some(error);
        Ok(())
    }

    fn source(&self, at: usize) -> MutexGuard<'_, SourceState> {
        lock(&self.sources[at].state)
    }

    fn anybody_left(&self) -> bool {
        (0..self.sources.len()).any(|at| !self.source(at).retired)
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
        (0..self.sources.len()).find_map(|at| self.source(at).error.take())
    }

    /// Remembers with each peer what came of the contact.
    pub(super) async fn note_contacts(&self) -> Result<(), PullError> {
        let bad: HashMap<usize, (ChunkId, Wrong)> =
            lock(&self.bad).iter().map(|(at, id, wrong)| (*at, (*id, *wrong))).collect();
        for (at, source) in self.sources.iter().enumerate() {
            let text = match bad.get(&at) {
                Some((id, wrong)) => Some(source.line.lied(Lie::Object { id: *id, wrong: *wrong }).to_string()),
                None => self.source(at).error.as_ref().map(ToString::to_string),
            };
            if text.is_some() || source.line.requests() > 0 {
                let now = self.puller.caller.now();
                self.puller.store.index.note_contact(&source.line.id, now, text.as_deref()).await?;
            }
        }
        Ok(())
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

/// A window while it is worked on.
struct Window<'a> {
    run: &'a Run,
    board: Mutex<Board>,
    changed: Notify,
    /// Everything is settled: who is still at something is late.
    done: CancellationToken,
}

impl Window<'_> {
    /// One stream: takes batches for a peer until there is nothing for it.
    async fn serve(&self, at: usize) {
        while !self.done.is_cancelled() {
            let changed = self.changed.notified();
            match self.take(at) {
                Take::Nothing => return,
                // Wakes up for a change, or when a claim is old.
                Take::Later => drop(tokio::time::timeout(CLAIM, changed).await),
                Take::Batch(batch, claims) => {
                    let ids = claims.ids.clone();
                    let work = self.done.run_until_cancelled(self.batch(at, batch));
                    let Some(end) = work.await else { return };
                    match end {
                        Ok(end) => self.settle(at, &ids, end),
                        Err(error) => self.stop(error),
                    }
                    drop(claims);
                    self.finish_if_done();
                    self.changed.notify_waiters();
                }
            }
        }
    }

    async fn batch(&self, at: usize, batch: Vec<Wanted>) -> Result<End, PullError> {
        // Another run may have stored some of it since the window was filled.
        let absent = self.run.adopt(batch).await?;
        if absent.is_empty() {
            return Ok(End::default());
        }
        Ok(receive(&self.run.puller, &self.run.sources[at].line, absent).await)
    }

    fn take(&self, at: usize) -> Take {
        if self.run.source(at).retired {
            return Take::Nothing;
        }
        let shared = &self.run.puller.shared;
        let mut board = lock(&self.board);
        let (mut batch, mut bytes, mut rest) = (Vec::new(), 0, VecDeque::new());
        let mut elsewhere = Vec::new();
        while let Some(item) = board.pending.pop_front() {
            let size = u64::from(item.wanted.size_bytes);
            let full = batch.len() == MAX_IDS || (!batch.is_empty() && bytes + size > BATCH_BYTES);
            if full {
                board.pending.push_front(item);
                break;
            }
            if !item.sources.contains(&at) {
                rest.push_back(item);
            } else if shared.claim(&item.wanted.id) {
                bytes += size;
                batch.push(item);
            } else {
                elsewhere.push(item.wanted.id);
            }
        }
        rest.append(&mut board.pending);
        board.pending = rest;
        lock(&self.run.lost).extend(elsewhere);
        let late = |busy: &Busy| busy.holder != at && busy.item.sources.contains(&at);
        if batch.is_empty() {
            let old = board.busy.values().filter(|busy| late(busy) && busy.since.elapsed() >= CLAIM);
            for item in old.map(|busy| busy.item.clone()) {
                let size = u64::from(item.wanted.size_bytes);
                if batch.len() == MAX_IDS || (!batch.is_empty() && bytes + size > BATCH_BYTES) {
                    break;
                }
                shared.claim(&item.wanted.id);
                bytes += size;
                batch.push(item);
            }
        }
        if batch.is_empty() {
            return if board.busy.values().any(late) { Take::Later } else { Take::Nothing };
        }
        let wanted: Vec<Wanted> = batch.iter().map(|item| item.wanted.clone()).collect();
        let ids = wanted.iter().map(|wanted| wanted.id).collect();
        for item in batch {
            board.busy.insert(item.wanted.id, Busy { item, holder: at, since: Instant::now() });
        }
        Take::Batch(wanted, Claims { shared: Arc::clone(shared), ids })
    }

    /// Puts back what did not come, and crosses off what did.
    fn settle(&self, at: usize, ids: &[ChunkId], end: End) {
        let (run, line) = (self.run, &self.run.sources[at].line);
        let progress = end.stored.len() > 0;
        run.chunks.fetch_add(end.stored.chunks.len() as u64, Ordering::Relaxed);
        run.bytes.fetch_add(end.stored.bytes(), Ordering::Relaxed);
        run.segments.fetch_add(end.stored.segments.len() as u64, Ordering::Relaxed);
        run.puller.shared.note_absent_objects(&line.id, end.missing.iter().map(|wanted| wanted.id));
        for (wanted, wrong) in &end.bad {
            line.problem(Lie::Object { id: wanted.id, wrong: *wrong }.to_string());
            lock(&run.bad).push((at, wanted.id, *wrong));
        }
        let mut board = lock(&self.board);
        let left: HashSet<ChunkId> = end.left.iter().map(|wanted| wanted.id).collect();
        let not_from_here: HashSet<ChunkId> =
            end.missing.iter().chain(end.bad.iter().map(|(wanted, _)| wanted)).map(|wanted| wanted.id).collect();
        for id in ids {
            if !left.contains(id) && !not_from_here.contains(id) {
                board.busy.remove(id);
                continue;
            }
            // Somebody else may have it in hand, or have brought it, meanwhile.
            if board.busy.get(id).is_none_or(|busy| busy.holder != at) {
                continue;
            }
            let Some(Busy { mut item, .. }) = board.busy.remove(id) else { continue };
            if not_from_here.contains(id) {
                item.sources.retain(|source| *source != at);
            }
            if item.sources.is_empty() {
                lock(&run.lost).insert(*id);
            } else {
                board.pending.push_front(item);
            }
        }
        drop(board);
        match end.error {
            Some(error) => {
                if let Err(error) = run.failed(at, error, progress) {
                    self.stop(error);
                }
            }
            None => *run.source(at) = SourceState::default(),
        }
    }

    fn stop(&self, error: PullError) {
        lock(&self.run.fatal).get_or_insert(error);
        self.done.cancel();
    }

    fn finish_if_done(&self) {
        let board = lock(&self.board);
        if board.pending.is_empty() && board.busy.is_empty() {
            self.done.cancel();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock can panic")
}

//! Batches in flight: how long the next one may be, which stream is too slow, and the end-game.

use std::collections::VecDeque;
use std::time::Duration;

use super::rate::Meter;
use super::{Action, PeerNo, REVIEW, Scheduler};
use crate::domain::id::ChunkId;

/// A rate is compared with others when it was measured for so long.
const SETTLED: Duration = Duration::from_secs(5);

/// The last batch is given to a second stream when that would bring an object in such a part of the time that is left.
const WORTH: f64 = 0.7;

/// A place for a stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) peer: PeerNo,
    pub(super) circuit: usize,
    pub(super) ask: Option<Ask>,
    /// `None` before anything came.
    meter: Option<Meter>,
    /// From a request to the first byte.
    latency: Option<Duration>,
}

/// A batch in flight.
#[derive(Debug)]
pub(super) struct Ask {
    /// Not answered yet, in the order in which it was asked for.
    pub(super) open: VecDeque<ChunkId>,
    pub(super) open_bytes: u64,
    pub(super) started_at: Duration,
    pub(super) cutting: Cutting,
    first_at: Option<Duration>,
    /// When the last bytes came, or it was asked.
    heard_at: Duration,
    slow_since: Option<Duration>,
    /// Bytes since an object was answered: of the next one.
    of_next: u64,
    again: bool,
    /// Another stream was given the same.
    doubled: bool,
    /// Another stream has brought some of it.
    overtaken: bool,
}

/// Whether a stream is to be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cutting {
    No,
    Due,
    Asked,
}

impl Stream {
    pub(super) fn new(peer: PeerNo, circuit: usize) -> Self {
        Self { peer, circuit, ask: None, meter: None, latency: None }
    }

    pub(super) fn heard(&mut self, bytes: u64, now: Duration) {
        let meter = self.meter.get_or_insert_with(|| Meter::new(now));
        if let Some(ask) = &mut self.ask {
            ask.of_next += bytes;
            ask.heard_at = now;
            if ask.first_at.is_none() {
                ask.first_at = Some(now);
                self.latency = Some(now.saturating_sub(ask.started_at));
                meter.resume(now);
            }
        }
        meter.add(bytes, now);
    }

    /// Its batch is over. Another connection takes the place of one that is gone, and may be quite different.
    pub(super) fn paused(&mut self, whole: bool) {
        if !whole {
            self.meter = None;
        }
    }

    fn rate(&self, now: Duration) -> Option<f64> {
        let meter = self.meter.as_ref()?;
        let sending = self.ask.as_ref().is_some_and(|ask| ask.first_at.is_some());
        Some(if sending { meter.rate(now) } else { meter.last_rate() })
    }
}

impl Ask {
    pub(super) fn new(taken: Vec<(ChunkId, u32)>, again: bool, now: Duration) -> Self {
        Self {
            open_bytes: taken.iter().map(|(_, size)| u64::from(*size)).sum(),
            open: taken.into_iter().map(|(id, _)| id).collect(),
            started_at: now,
            cutting: Cutting::No,
            first_at: None,
            heard_at: now,
            slow_since: None,
            of_next: 0,
            again,
            doubled: false,
            overtaken: false,
        }
    }

    pub(super) fn cut(&mut self) {
        if self.cutting == Cutting::No {
            self.cutting = Cutting::Due;
        }
    }

    /// Crosses off an object that this stream or another one has answered; whether it was open. What is left of a batch of which
    /// others have answered the rest is not worth waiting for.
    pub(super) fn crossed_off(&mut self, id: &ChunkId, size_bytes: u32, by_another: bool) -> bool {
        let open = self.answered(id, size_bytes);
        self.overtaken |= open && by_another;
        if open && self.overtaken && self.open.is_empty() {
            self.cut();
        }
        open
    }

    /// Crosses off an object; whether it was open.
    pub(super) fn answered(&mut self, id: &ChunkId, size_bytes: u32) -> bool {
        // Answers come in the order of the request, so it is the first one most of the time.
        let Some(at) = self.open.iter().position(|other| other == id) else { return false };
        self.open.remove(at);
        self.open_bytes -= u64::from(size_bytes);
        if at == 0 {
            self.of_next = self.of_next.saturating_sub(u64::from(size_bytes));
        }
        true
    }
}

impl Scheduler {
    /// How many bytes to ask of a stream: what it moves in the time of a batch, or until all would be done. Of a stream that
    /// nothing is known of, its part.
    pub(super) fn batch_bytes(&self, at: usize, now: Duration) -> u64 {
        let live = self.streams.iter().filter(|stream| !self.is_retired(stream.peer));
        let Some(rate) = self.expected_rate(&self.streams[at], now) else {
            let all = self.queue.bytes() + self.in_flight_bytes();
            return all.div_ceil(live.count().max(1) as u64).min(self.policy.first_batch_bytes);
        };
        let total: f64 = live.map(|stream| self.expected_rate(stream, now).unwrap_or(rate)).sum();
        let until_done = (self.queue.bytes() + self.in_flight_bytes()) as f64 / total.max(1.0);
        let seconds = until_done.min(self.policy.batch_time.as_secs_f64());
        // A batch that takes less time than its request is wasteful.
        let seconds = seconds.max(self.streams[at].latency.unwrap_or_default().as_secs_f64());
        ((rate * seconds) as u64).min(self.policy.batch_bytes)
    }

    /// The rate of a stream, or the mean of its peer's.
    fn expected_rate(&self, stream: &Stream, now: Duration) -> Option<f64> {
        stream.rate(now).or_else(|| {
            let of_peer = self.streams.iter().filter(|other| other.peer == stream.peer);
            let rates: Vec<f64> = of_peer.filter_map(|other| other.rate(now)).collect();
            (!rates.is_empty()).then(|| rates.iter().sum::<f64>() / rates.len() as f64)
        })
    }

    /// Looks, once in a while, which streams are too slow, and whether one more circuit would help.
    pub(super) fn review(&mut self, now: Duration) {
        if self.reviewed_at.is_some_and(|at| now < at + REVIEW) {
            return;
        }
        self.reviewed_at = Some(now);
        let peers: Vec<PeerNo> = self.peers.keys().copied().filter(|peer| !self.is_retired(*peer)).collect();
        for peer in &peers {
            self.find_slow(*peer, now);
        }
        let mut live = self.streams.iter().filter(|stream| !self.is_retired(stream.peer));
        if self.queue.len() == 0 || live.any(|stream| stream.meter.is_none()) {
            self.ramp.interrupt();
        } else if self.ramp.measure(self.received, now, self.policy.measure, self.policy.rise) {
            let fits = |peer: &&PeerNo| self.peers[*peer].circuits < self.peers[*peer].max_circuits;
            if let Some(peer) = peers.iter().filter(fits).min_by_key(|peer| self.peers[*peer].circuits) {
                self.add_circuit(*peer);
            }
        }
    }

    fn find_slow(&mut self, peer: PeerNo, now: Duration) {
        let of_peer = self.streams.iter().filter(|stream| stream.peer == peer);
        let mut rates: Vec<f64> = of_peer.filter_map(|stream| stream.rate(now)).collect();
        if rates.len() < 2 {
            return;
        }
        rates.sort_by(f64::total_cmp);
        // Of an even number the upper one: of two streams the slow one is compared with the other.
        let least = rates[rates.len() / 2] * self.policy.slow_part;
        for stream in self.streams.iter_mut().filter(|stream| stream.peer == peer) {
            let rate = stream.rate(now);
            let Some(ask) = &mut stream.ask else { continue };
            // Before the first byte whoever waits for it knows best when to stop.
            let settled = ask.first_at.is_some_and(|at| now >= at + SETTLED);
            if !settled || rate.is_none_or(|rate| rate >= least) {
                ask.slow_since = None;
            } else if now >= *ask.slow_since.get_or_insert(now) + self.policy.slow_time {
                ask.cut();
            }
        }
    }

    /// What is in hand and does not come, for an idle stream too, from its end: the last batch, if it is late, and any from whose
    /// stream nothing is heard (its peer may be gone, and dialling an onion takes minutes to fail).
    pub(super) fn ask_again(&mut self, now: Duration) -> Option<Action> {
        let open: Vec<usize> = (0..self.streams.len()).filter(|at| self.streams[*at].ask.is_some()).collect();
        let the_last = open.len() == 1 && self.queue.len() == 0;
        let mut late: Vec<(Duration, usize, bool)> = open
            .into_iter()
            .filter_map(|at| {
                let ask = self.streams[at].ask.as_ref().filter(|ask| ask.cutting == Cutting::No)?;
                let silent = now >= ask.heard_at + self.policy.late;
                let late = the_last && now >= ask.started_at + self.policy.late && !ask.again && !ask.doubled;
                (silent || late).then_some((ask.heard_at, at, silent))
            })
            .collect();
        late.sort_unstable();
        let (last, at, taken) = late.into_iter().find_map(|(_, last, silent)| {
            let (at, taken) = self.somebody_for(last, silent, now)?;
            Some((last, at, taken))
        })?;
        if let Some(ask) = &mut self.streams[last].ask {
            ask.doubled = true;
        }
        Some(self.begin(at, taken, true, now))
    }

    /// An idle stream that would bring some of a batch sooner, and what of it.
    fn somebody_for(&self, last: usize, silent: bool, now: Duration) -> Option<(usize, Vec<(ChunkId, u32)>)> {
        let stream = &self.streams[last];
        let ask = stream.ask.as_ref()?;
        let elsewhere = |at: &usize| {
            let other = &self.streams[*at];
            (other.peer == stream.peer, other.circuit == stream.circuit)
        };
        let idle = |at: &usize| self.streams[*at].ask.is_none() && !self.is_retired(self.streams[*at].peer);
        let held = |at: usize| {
            let peer = self.streams[at].peer;
            let open = ask.open.iter().rev().filter_map(|id| Some((*id, self.items.get(id)?)));
            let has = open.filter(|(_, item)| item.in_hand == 1 && item.holders.contains(&peer));
            has.map(|(id, item)| (id, item.size_bytes)).collect::<Vec<_>>()
        };
        let mut places: Vec<usize> = (0..self.streams.len()).filter(idle).collect();
        places.sort_by_key(elsewhere);
        // Without a rate it has stalled, or never began.
        let rate = stream.rate(now).filter(|rate| !silent && ask.first_at.is_some() && *rate >= 1.0);
        let left = rate.map_or(f64::INFINITY, |rate| ask.open_bytes.saturating_sub(ask.of_next) as f64 / rate);
        let sooner = |at: usize, taken: &[(ChunkId, u32)]| {
            let Some((_, size)) = taken.first() else { return false };
            let other = &self.streams[at];
            let takes = self.expected_rate(other, now).or(rate).map_or(0.0, |rate| f64::from(*size) / rate.max(1.0));
            other.latency.unwrap_or_default().as_secs_f64() + takes < left * WORTH
        };
        places.into_iter().map(|at| (at, held(at))).find(|(at, taken)| sooner(*at, taken))
    }
}

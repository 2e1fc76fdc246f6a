//! Simulated peers, and a run among them: a clock that ticks, streams that move bytes, and whatever goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::{Action, Ending, PeerNo, Policy, Scheduler, StreamNo};
use crate::domain::id::ChunkId;

pub(super) const TICK: Duration = Duration::from_millis(250);
/// Whoever waits for a stream gives up after this time without a byte.
const TIMEOUT: Duration = Duration::from_secs(60);
/// As the policy has it.
const LATE: Duration = Duration::from_secs(10);
const MANY_TICKS: usize = 40_000;

pub(super) fn id(n: usize) -> ChunkId {
    ChunkId::of(&n.to_be_bytes())
}

/// What a simulated peer is like.
#[derive(Debug, Clone)]
pub(super) struct Nature {
    pub(super) stream_rate: u64,
    pub(super) latency: Duration,
    pub(super) max_circuits: usize,
    /// At this time all streams break, and no more begin.
    pub(super) dies_at: Option<Duration>,
    /// From then to then all streams break; afterwards it is as before.
    pub(super) away: Option<(Duration, Duration)>,
    /// While it is gone nothing is heard of it, not even that.
    pub(super) silently: bool,
    /// In this interval all streams break.
    pub(super) breaks_every: Option<Duration>,
    /// From this time on this place for a stream sends nothing.
    pub(super) stalls: Option<(usize, Duration)>,
    /// Of so many objects it says that it has one, and has not; or sends something else.
    pub(super) lies: Option<(usize, bool)>,
}

impl Nature {
    pub(super) fn good(stream_rate: u64) -> Self {
        let latency = Duration::from_secs(1);
        Self {
            stream_rate,
            latency,
            max_circuits: 4,
            dies_at: None,
            away: None,
            silently: false,
            breaks_every: None,
            stalls: None,
            lies: None,
        }
    }

    pub(super) fn lies_about(&self, object: usize) -> bool {
        self.lies.is_some_and(|(every, _)| object.is_multiple_of(every))
    }

    fn is_gone(&self, now: Duration) -> bool {
        self.dies_at.is_some_and(|at| now >= at) || self.away.is_some_and(|(from, to)| now >= from && now < to)
    }

    /// Whether everything that it has can be had from it, from when on it is there.
    pub(super) fn is_reliable(&self) -> bool {
        self.dies_at.is_none() && self.breaks_every.is_none() && self.stalls.is_none()
    }
}

#[derive(Debug)]
struct Open {
    peer: usize,
    place: usize,
    left: Vec<usize>,
    wait_until: Duration,
    heard_at: Duration,
    credit: u64,
    cut: bool,
}

#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) took: Duration,
    pub(super) duplicates: usize,
    pub(super) duplicate_bytes: u64,
    pub(super) sent_bytes: u64,
    /// Runs that began.
    pub(super) runs: usize,
    pub(super) asks: usize,
    pub(super) again: usize,
    pub(super) cuts: usize,
}

pub(super) struct Cluster {
    natures: Vec<Nature>,
    sizes: Vec<u32>,
    /// What each peer says it has.
    said: Vec<BTreeSet<usize>>,
    /// When each object is heard of.
    heard_of: Vec<Duration>,
    names: BTreeMap<ChunkId, usize>,
    scheduler: Scheduler,
    /// What this run was told to fetch, and how much was here when it began.
    wanted: BTreeSet<usize>,
    here_before: usize,
    began: Duration,
    open: BTreeMap<StreamNo, Open>,
    places: BTreeMap<StreamNo, usize>,
    denied: BTreeSet<(usize, usize)>,
    stored: BTreeSet<usize>,
    doubled: BTreeSet<usize>,
    parts: BTreeMap<usize, u64>,
    now: Duration,
    outcome: Outcome,
}

impl Cluster {
    pub(super) fn new(natures: Vec<Nature>, sizes: Vec<u32>, said: Vec<BTreeSet<usize>>) -> Self {
        Self {
            heard_of: vec![Duration::ZERO; sizes.len()],
            names: (0..sizes.len()).map(|n| (id(n), n)).collect(),
            natures,
            sizes,
            said,
            scheduler: Scheduler::new(Policy::default()),
            wanted: BTreeSet::new(),
            here_before: 0,
            began: Duration::ZERO,
            open: BTreeMap::new(),
            places: BTreeMap::new(),
            denied: BTreeSet::new(),
            stored: BTreeSet::new(),
            doubled: BTreeSet::new(),
            parts: BTreeMap::new(),
            now: Duration::ZERO,
            outcome: Outcome::default(),
        }
    }

    /// Objects are heard of at these times; before, nobody wants them.
    pub(super) fn hearing(mut self, heard_of: Vec<Duration>) -> Self {
        self.heard_of = heard_of;
        self
    }

    /// One run, to its end.
    pub(super) fn run(mut self) -> (Outcome, BTreeSet<usize>) {
        assert!(self.one_run(None), "nobody ended it");
        self.outcome.took = self.now;
        (self.outcome, self.stored)
    }

    /// Runs that are killed at these times, and one after the other then: another one begins when all who were away are back.
    pub(super) fn run_to_the_end(mut self, kills: &[Duration]) -> (Outcome, BTreeSet<usize>) {
        for at in kills {
            self.one_run(Some(*at));
        }
        let back = self.natures.iter().filter_map(|nature| nature.away).map(|(_, to)| to).max().unwrap_or_default();
        let early = self.now < back;
        self.one_run(None);
        if early {
            self.now = self.now.max(back);
            self.one_run(None);
        }
        self.outcome.took = self.now;
        (self.outcome, self.stored)
    }

    /// A run knows what is stored, and nothing else of those before it. Answers whether it came to its end.
    fn one_run(&mut self, killed_at: Option<Duration>) -> bool {
        self.scheduler = Scheduler::new(Policy::default());
        for (n, nature) in self.natures.iter().enumerate() {
            self.scheduler.add_peer(PeerNo(n), nature.max_circuits, None);
        }
        self.wanted.clear();
        self.open.clear();
        self.places.clear();
        self.denied.clear();
        self.doubled.clear();
        self.parts.clear();
        (self.here_before, self.began) = (self.stored.len(), self.now);
        self.outcome.runs += 1;
        for _ in 0..MANY_TICKS {
            if killed_at.is_some_and(|at| self.now >= at) {
                return false;
            }
            self.hear();
            while let Some(action) = self.scheduler.next(self.now - self.began) {
                self.act(action);
            }
            self.check_nobody_idles();
            if self.scheduler.is_idle() {
                assert!(self.open.is_empty());
                let (stored, lost) = self.scheduler.settled();
                assert_eq!(stored as usize, self.stored.len() - self.here_before);
                assert_eq!(stored as usize + lost.len(), self.wanted.len());
                if self.heard_of.iter().all(|at| *at <= self.now) {
                    return true;
                }
            } else {
                assert!(self.scheduler.wake_at(self.now - self.began).is_some(), "it has work and would never wake up");
            }
            self.now += TICK;
            let streams: Vec<StreamNo> = self.open.keys().copied().collect();
            for stream in streams {
                self.step(stream);
            }
        }
        panic!("it does not end: {:?}", self.scheduler.streams);
    }

    fn hear(&mut self) {
        for (n, at) in self.heard_of.iter().enumerate() {
            if *at > self.now || self.stored.contains(&n) || !self.wanted.insert(n) {
                continue;
            }
            let said = self.said.iter().enumerate();
            let holders = said.filter(|(_, said)| said.contains(&n)).map(|(peer, _)| PeerNo(peer));
            self.scheduler.want(id(n), self.sizes[n], holders);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Cut { stream } => {
                self.outcome.cuts += 1;
                let open = self.open.get_mut(&stream).expect("only an open stream is cut");
                assert!(!open.cut, "cut twice");
                open.cut = true;
            }
            Action::Ask { stream, peer: PeerNo(peer), circuit, ids, again } => {
                assert!(!ids.is_empty() && ids.len() <= 1000);
                assert!(circuit < self.natures[peer].max_circuits);
                let asked: Vec<usize> = ids.iter().map(|id| self.names[id]).collect();
                let bytes: u64 = asked.iter().map(|n| u64::from(self.sizes[*n])).sum();
                assert!(asked.len() == 1 || bytes <= 16 << 20, "too much at once");
                for n in &asked {
                    assert!(!self.stored.contains(n), "{n} is here");
                    assert!(self.said[peer].contains(n) && !self.denied.contains(&(peer, *n)), "{peer} has no {n}");
                    assert_eq!(self.is_in_hand(*n), again, "{n} in hand, or not");
                }
                self.doubled.extend(asked.iter().filter(|_| again));
                if again && !self.open.is_empty() {
                    let of = |open: &&Open| {
                        open.left.iter().any(|n| asked.contains(n) && !self.denied.contains(&(open.peer, *n)))
                    };
                    let with: Vec<&Open> = self.open.values().filter(of).collect();
                    let silent = with.iter().all(|open| self.now >= open.heard_at + LATE);
                    assert!(silent || self.open.len() == 1, "only the last batch is doubled, and what is silent");
                    let in_hand = |n: &usize| with.iter().filter(|open| open.left.contains(n)).count();
                    assert!(asked.iter().all(|n| in_hand(n) == 1), "it is doubled once");
                }
                self.outcome.asks += 1;
                self.outcome.again += usize::from(again);
                let place = self.places.len();
                let place = *self.places.entry(stream).or_insert(place);
                let wait_until = self.now + self.natures[peer].latency;
                // What a broken stream had of an object is not sent again.
                let (heard_at, credit) = (self.now, self.parts.remove(&asked[0]).unwrap_or_default());
                let open = Open { peer, place, left: asked, wait_until, heard_at, credit, cut: false };
                assert!(self.open.insert(stream, open).is_none(), "one batch at a time");
            }
        }
        let busy: u64 = self.open.values().flat_map(|open| &open.left).map(|n| u64::from(self.sizes[*n])).sum();
        assert!(self.scheduler.in_flight_bytes() <= busy);
    }

    /// Whether a stream may still bring it.
    fn is_in_hand(&self, n: usize) -> bool {
        self.open.values().any(|open| open.left.contains(&n) && !self.denied.contains(&(open.peer, n)))
    }

    fn check_nobody_idles(&self) {
        for (at, stream) in self.scheduler.streams.iter().enumerate() {
            let peer = stream.peer.0;
            if self.open.contains_key(&StreamNo(at)) || self.scheduler.is_retired(stream.peer) {
                continue;
            }
            let work = self.said[peer]
                .iter()
                .filter(|n| self.wanted.contains(n))
                .find(|n| !self.stored.contains(n) && !self.is_in_hand(**n) && !self.denied.contains(&(peer, **n)));
            assert_eq!(work, None, "stream {at} idles");
        }
    }

    fn step(&mut self, stream: StreamNo) {
        let open = self.open.get_mut(&stream).expect("it is open");
        let nature = &self.natures[open.peer];
        let now = self.now - self.began;
        let breaks = nature.breaks_every.is_some_and(|every| {
            self.now.as_nanos() / every.as_nanos() != (self.now - TICK).as_nanos() / every.as_nanos()
        });
        let timed_out = self.now >= open.heard_at + TIMEOUT;
        let gone = nature.is_gone(self.now);
        if open.cut || (gone && !nature.silently) || breaks || timed_out {
            self.parts.insert(open.left[0], open.credit);
            self.open.remove(&stream);
            self.scheduler.ended(stream, Ending::Broken, now);
            return;
        }
        let stalled = nature.stalls.is_some_and(|(place, from)| open.place == place && self.now >= from);
        if stalled || gone || self.now < open.wait_until {
            return;
        }
        let bytes = nature.stream_rate * TICK.as_millis() as u64 / 1000;
        open.credit += bytes;
        open.heard_at = self.now;
        self.outcome.sent_bytes += bytes;
        self.scheduler.progress(stream, bytes, now);
        while let Some(n) = self.open[&stream].left.first().copied() {
            let open = self.open.get_mut(&stream).expect("it is open");
            let lies = nature.lies_about(n);
            let wrong = nature.lies.is_some_and(|(_, wrong)| wrong);
            let cost = if lies && !wrong { 1 } else { u64::from(self.sizes[n]) };
            if open.credit < cost {
                return;
            }
            open.credit -= cost;
            open.left.remove(0);
            match lies {
                true if wrong => self.scheduler.bad(stream, &id(n)),
                true => self.scheduler.missing(stream, &id(n)),
                false => {
                    let first = self.scheduler.stored(stream, &id(n));
                    assert_eq!(first, self.stored.insert(n));
                    if !first {
                        assert!(self.doubled.contains(&n), "{n} was sent twice, and not in the end-game");
                        self.outcome.duplicates += 1;
                        self.outcome.duplicate_bytes += u64::from(self.sizes[n]);
                    }
                }
            }
            if lies {
                self.denied.insert((self.open[&stream].peer, n));
            }
        }
        self.open.remove(&stream);
        self.scheduler.ended(stream, Ending::Whole, now);
    }
}

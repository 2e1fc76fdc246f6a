//! The scheduler among simulated peers: thousands of random clusters in which streams break, stall and lie.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const TICK: Duration = Duration::from_millis(250);
/// Whoever waits for a stream gives up after this time without a byte.
const TIMEOUT: Duration = Duration::from_secs(60);
const MANY_TICKS: usize = 40_000;

fn id(n: usize) -> ChunkId {
    ChunkId::of(&n.to_be_bytes())
}

/// What a simulated peer is like.
#[derive(Debug, Clone)]
struct Nature {
    stream_rate: u64,
    latency: Duration,
    max_circuits: usize,
    /// At this time all streams break, and no more begin.
    dies_at: Option<Duration>,
    /// In this interval all streams break.
    breaks_every: Option<Duration>,
    /// From this time on this place for a stream sends nothing.
    stalls: Option<(usize, Duration)>,
    /// Of so many objects it says that it has one, and has not; or sends something else.
    lies: Option<(usize, bool)>,
}

impl Nature {
    fn good(stream_rate: u64) -> Self {
        let latency = Duration::from_secs(1);
        Self { stream_rate, latency, max_circuits: 4, dies_at: None, breaks_every: None, stalls: None, lies: None }
    }

    fn lies_about(&self, object: usize) -> bool {
        self.lies.is_some_and(|(every, _)| object.is_multiple_of(every))
    }

    /// Whether everything that it has can be had from it.
    fn is_reliable(&self) -> bool {
        self.dies_at.is_none() && self.breaks_every.is_none() && self.stalls.is_none()
    }
}

#[derive(Debug)]
struct Open {
    peer: usize,
    place: usize,
    left: Vec<usize>,
    again: bool,
    wait_until: Duration,
    heard_at: Duration,
    credit: u64,
    cut: bool,
}

#[derive(Debug, Default)]
struct Outcome {
    took: Duration,
    duplicates: usize,
    duplicate_bytes: u64,
    sent_bytes: u64,
    asks: usize,
    again: usize,
    cuts: usize,
}

struct Cluster {
    natures: Vec<Nature>,
    sizes: Vec<u32>,
    /// What each peer says it has.
    said: Vec<BTreeSet<usize>>,
    names: BTreeMap<ChunkId, usize>,
    scheduler: Scheduler,
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
    fn new(natures: Vec<Nature>, sizes: Vec<u32>, said: Vec<BTreeSet<usize>>) -> Self {
        let mut scheduler = Scheduler::new(Policy::default());
        for (n, nature) in natures.iter().enumerate() {
            scheduler.add_peer(PeerNo(n), nature.max_circuits, None);
        }
        let mut names = BTreeMap::new();
        for (n, size) in sizes.iter().enumerate() {
            names.insert(id(n), n);
            let holders = said.iter().enumerate().filter(|(_, said)| said.contains(&n)).map(|(peer, _)| PeerNo(peer));
            scheduler.want(id(n), *size, holders);
        }
        Self {
            natures,
            sizes,
            said,
            names,
            scheduler,
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

    fn run(mut self) -> (Outcome, BTreeSet<usize>) {
        for _ in 0..MANY_TICKS {
            while let Some(action) = self.scheduler.next(self.now) {
                self.act(action);
            }
            self.check_nobody_idles();
            if self.scheduler.is_idle() {
                assert!(self.open.is_empty());
                let (stored, lost) = self.scheduler.settled();
                assert_eq!(stored as usize, self.stored.len());
                assert_eq!(stored as usize + lost.len(), self.sizes.len());
                self.outcome.took = self.now;
                return (self.outcome, self.stored);
            }
            assert!(self.scheduler.wake_at(self.now).is_some(), "it has work and would never wake up");
            self.now += TICK;
            let streams: Vec<StreamNo> = self.open.keys().copied().collect();
            for stream in streams {
                self.step(stream);
            }
        }
        panic!("it does not end: {:?}", self.scheduler.streams);
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
                assert!(!again || self.open.len() == 1, "only the last batch is doubled");
                self.outcome.asks += 1;
                self.outcome.again += usize::from(again);
                let place = self.places.len();
                let place = *self.places.entry(stream).or_insert(place);
                let wait_until = self.now + self.natures[peer].latency;
                // What a broken stream had of an object is not sent again.
                let (heard_at, credit) = (self.now, self.parts.remove(&asked[0]).unwrap_or_default());
                let open = Open { peer, place, left: asked, again, wait_until, heard_at, credit, cut: false };
                assert!(self.open.insert(stream, open).is_none(), "one batch at a time");
            }
        }
        assert!(self.open.values().filter(|open| open.again).count() <= 1);
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
                .find(|n| !self.stored.contains(n) && !self.is_in_hand(**n) && !self.denied.contains(&(peer, **n)));
            assert_eq!(work, None, "stream {at} idles");
        }
    }

    fn step(&mut self, stream: StreamNo) {
        let open = self.open.get_mut(&stream).expect("it is open");
        let nature = &self.natures[open.peer];
        let dead = nature.dies_at.is_some_and(|at| self.now >= at);
        let breaks = nature.breaks_every.is_some_and(|every| {
            self.now.as_nanos() / every.as_nanos() != (self.now - TICK).as_nanos() / every.as_nanos()
        });
        let timed_out = self.now >= open.heard_at + TIMEOUT;
        if open.cut || dead || breaks || timed_out {
            self.parts.insert(open.left[0], open.credit);
            self.open.remove(&stream);
            self.scheduler.ended(stream, Ending::Broken, self.now);
            return;
        }
        let stalled = nature.stalls.is_some_and(|(place, from)| open.place == place && self.now >= from);
        if stalled || self.now < open.wait_until {
            return;
        }
        let bytes = nature.stream_rate * TICK.as_millis() as u64 / 1000;
        open.credit += bytes;
        open.heard_at = self.now;
        self.outcome.sent_bytes += bytes;
        self.scheduler.progress(stream, bytes, self.now);
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
        self.scheduler.ended(stream, Ending::Whole, self.now);
    }
}

fn nature() -> impl Strategy<Value = Nature> {
    let seconds = |from: u64, to: u64| (from * 4..to * 4).prop_map(|n| TICK * n as u32);
    let rare = |strategy| prop::option::weighted(0.3, strategy);
    (
        20_000u64..400_000,
        seconds(0, 4),
        1usize..5,
        rare(seconds(1, 100).boxed()),
        rare(seconds(8, 60).boxed()),
        prop::option::weighted(0.3, (0usize..20, seconds(0, 60))),
        prop::option::weighted(0.3, (1usize..5, any::<bool>())),
    )
        .prop_map(|(stream_rate, latency, max_circuits, dies_at, breaks_every, stalls, lies)| Nature {
            stream_rate,
            latency,
            max_circuits,
            dies_at,
            breaks_every,
            stalls,
            lies,
        })
}

fn cluster() -> impl Strategy<Value = (Vec<Nature>, Vec<u32>, Vec<BTreeSet<usize>>)> {
    let size = prop_oneof![1u32..5_000, 100_000u32..400_000, Just(2 << 20)];
    (prop::collection::vec(nature(), 1..4), prop::collection::vec(size, 0..40)).prop_flat_map(|(natures, sizes)| {
        let number = sizes.len();
        let said = prop::collection::vec(prop::collection::btree_set(0..number.max(1), 0..=number), natures.len());
        let said = said.prop_map(move |mut said| {
            said.iter_mut().for_each(|said| said.retain(|n| *n < number));
            said
        });
        (Just(natures), Just(sizes), said)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn what_a_good_peer_has_is_stored_once_whatever_the_others_do((natures, sizes, said) in cluster()) {
        let expected: BTreeSet<usize> = (0..sizes.len())
            .filter(|n| {
                let has = |(nature, said): (&Nature, &BTreeSet<usize>)| {
                    nature.is_reliable() && said.contains(n) && !nature.lies_about(*n)
                };
                natures.iter().zip(&said).any(has)
            })
            .collect();
        let longest = u64::from(sizes.iter().copied().max().unwrap_or_default());
        let fastest = natures.iter().map(|nature| nature.stream_rate).max().unwrap_or_default();
        let overlap = longest + 3 * fastest * TICK.as_millis() as u64 / 1000;
        let (outcome, stored) = Cluster::new(natures, sizes, said).run();
        prop_assert!(expected.is_subset(&stored), "{:?} are not here", expected.difference(&stored));
        // Twice comes what both streams had begun, and what they move until the loser hears of it.
        prop_assert!(outcome.duplicate_bytes <= outcome.again as u64 * overlap, "{outcome:?}");
    }
}

fn everything(number: usize) -> BTreeSet<usize> {
    (0..number).collect()
}

#[test]
fn a_good_peer_is_used_to_the_full() {
    let number = 128;
    let cluster = Cluster::new(vec![Nature::good(145_000)], vec![2 << 20; number], vec![everything(number)]);
    let (outcome, stored) = cluster.run();
    assert_eq!(stored.len(), number);
    let ideal = (number << 21) as f64 / (8.0 * 145_000.0);
    assert!(outcome.took.as_secs_f64() < ideal * 1.15, "{outcome:?}, ideally {ideal} s");
    assert_eq!((outcome.cuts, outcome.duplicates), (0, 0));
}

#[test]
fn small_things_are_spread_over_all_streams_at_once() {
    let cluster = Cluster::new(vec![Nature::good(250_000)], vec![4096; 1000], vec![everything(1000)]);
    let (outcome, _) = cluster.run();
    assert_eq!(outcome.asks, 4);
    assert!(outcome.took <= Duration::from_secs(6), "{outcome:?}");
}

#[test]
fn a_stream_that_stalls_is_cut_and_its_rest_comes_over_another() {
    let mut nature = Nature::good(145_000);
    nature.stalls = Some((1, Duration::from_secs(10)));
    let number = 128;
    let (outcome, stored) = Cluster::new(vec![nature], vec![2 << 20; number], vec![everything(number)]).run();
    assert_eq!(stored.len(), number);
    assert!(outcome.cuts >= 1, "{outcome:?}");
}

#[test]
fn the_rarest_goes_first() {
    let mut scheduler = Scheduler::new(Policy { first_batch_bytes: 1, ..Policy::default() });
    (0..2).for_each(|peer| scheduler.add_peer(PeerNo(peer), 1, None));
    scheduler.want(id(0), 10, [PeerNo(0), PeerNo(1)]);
    scheduler.want(id(1), 10, [PeerNo(1)]);
    scheduler.want(id(2), 10, [PeerNo(0)]);
    let mut asked = Vec::new();
    while let Some(Action::Ask { peer, ids, .. }) = scheduler.next(Duration::ZERO) {
        asked.push((peer.0, ids));
    }
    assert_eq!(asked, [(0, vec![id(2)]), (0, vec![id(0)]), (1, vec![id(1)])]);
}

#[test]
fn the_last_batch_is_given_to_another_peer_when_it_is_late_and_the_loser_is_cut() {
    let mut scheduler = Scheduler::new(Policy::default());
    scheduler.add_peer(PeerNo(0), 1, None);
    scheduler.add_peer(PeerNo(1), 1, None);
    scheduler.want(id(0), 10, [PeerNo(0), PeerNo(1)]);
    let first = scheduler.next(Duration::ZERO);
    assert!(matches!(first, Some(Action::Ask { peer: PeerNo(0), again: false, .. })));
    assert_eq!(scheduler.next(Duration::from_secs(9)), None);
    let Some(Action::Ask { stream, peer: PeerNo(1), again: true, .. }) = scheduler.next(Duration::from_secs(10)) else {
        panic!("it is late")
    };
    assert_eq!(scheduler.next(Duration::from_secs(30)), None);
    assert!(scheduler.stored(stream, &id(0)));
    scheduler.ended(stream, Ending::Whole, Duration::from_secs(31));
    assert_eq!(scheduler.next(Duration::from_secs(31)), Some(Action::Cut { stream: StreamNo(0) }));
    assert!(!scheduler.stored(StreamNo(0), &id(0)));
    scheduler.ended(StreamNo(0), Ending::Broken, Duration::from_secs(32));
    assert!(scheduler.is_idle() && !scheduler.is_retired(PeerNo(0)));
}

#[test]
fn a_peer_that_fails_twice_without_a_byte_is_left_alone() {
    let mut scheduler = Scheduler::new(Policy::default());
    scheduler.add_peer(PeerNo(0), 1, None);
    scheduler.want(id(0), 10, [PeerNo(0)]);
    for n in 0..2 {
        let now = Duration::from_secs(n);
        let Some(Action::Ask { stream, .. }) = scheduler.next(now) else { panic!("there is work") };
        scheduler.ended(stream, Ending::Broken, now);
    }
    assert!(scheduler.is_retired(PeerNo(0)) && scheduler.next(Duration::from_secs(3)).is_none());
    let (stored, lost) = scheduler.settled();
    assert!(stored == 0 && lost.contains(&id(0)) && scheduler.is_idle());
}

#[test]
fn a_peer_that_always_breaks_off_keeps_nobody_busy_for_ever() {
    let mut scheduler = Scheduler::new(Policy::default());
    scheduler.add_peer(PeerNo(0), 1, None);
    scheduler.want(id(0), 10, [PeerNo(0)]);
    for n in 0..1000 {
        let now = Duration::from_secs(n);
        let Some(Action::Ask { stream, .. }) = scheduler.next(now) else { break };
        scheduler.progress(stream, 1, now);
        scheduler.ended(stream, Ending::Broken, now);
    }
    assert!(scheduler.is_retired(PeerNo(0)) && scheduler.is_idle());
}

//! The scheduler among simulated peers: thousands of random clusters in which peers die, go away and come back, streams break,
//! stall and lie, objects are heard of late, and the run itself is killed.

mod cluster; // the peers, and a run among them

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use cluster::{Cluster, Nature, TICK, id};

fn nature() -> impl Strategy<Value = Nature> {
    let seconds = |from: u64, to: u64| (from * 4..to * 4).prop_map(|n| TICK * n as u32);
    let rare = |strategy| prop::option::weighted(0.3, strategy);
    (
        20_000u64..400_000,
        seconds(0, 4),
        1usize..5,
        rare(seconds(1, 100).boxed()),
        prop::option::weighted(0.3, (seconds(0, 60), seconds(1, 200)).prop_map(|(from, time)| (from, from + time))),
        any::<bool>(),
        rare(seconds(8, 60).boxed()),
        prop::option::weighted(0.3, (0usize..20, seconds(0, 60))),
        prop::option::weighted(0.3, (1usize..5, any::<bool>())),
    )
        .prop_map(|(stream_rate, latency, max_circuits, dies_at, away, silently, breaks_every, stalls, lies)| {
            Nature { stream_rate, latency, max_circuits, dies_at, away, silently, breaks_every, stalls, lies }
        })
}

/// What happens to a few peers and to who fetches from them.
#[derive(Debug, Clone)]
struct Schedule {
    natures: Vec<Nature>,
    sizes: Vec<u32>,
    said: Vec<BTreeSet<usize>>,
    heard_of: Vec<Duration>,
    kills: Vec<Duration>,
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let size = prop_oneof![1u32..5_000, 100_000u32..400_000, Just(2 << 20)];
    let soon = |most: u32| (0..most * 4).prop_map(|n| TICK * n);
    let object = (size, prop_oneof![3 => Just(Duration::ZERO), 1 => soon(60)]);
    let kills = prop::collection::vec(soon(120), 0..4);
    let peers = prop::collection::vec(nature(), 1..6);
    (peers, prop::collection::vec(object, 0..40), kills).prop_flat_map(|(natures, objects, mut kills)| {
        let (sizes, heard_of): (Vec<u32>, Vec<Duration>) = objects.into_iter().unzip();
        let number = sizes.len();
        kills.sort();
        let said = prop::collection::vec(prop::collection::btree_set(0..number.max(1), 0..=number), natures.len());
        said.prop_map(move |mut said| {
            said.iter_mut().for_each(|said| said.retain(|n| *n < number));
            let (natures, sizes) = (natures.clone(), sizes.clone());
            Schedule { natures, sizes, said, heard_of: heard_of.clone(), kills: kills.clone() }
        })
    })
}

impl Schedule {
    /// What somebody has on whom one can rely.
    fn can_be_had(&self, reliable: impl Fn(&Nature) -> bool) -> BTreeSet<usize> {
        let has = |n: usize| {
            let mut peers = self.natures.iter().zip(&self.said);
            peers.any(|(nature, said)| reliable(nature) && said.contains(&n) && !nature.lies_about(n))
        };
        (0..self.sizes.len()).filter(|n| has(*n)).collect()
    }

    /// Bytes that two streams may both send of an object: what both had begun, and what they move until the loser hears of it.
    fn overlap(&self) -> u64 {
        let longest = u64::from(self.sizes.iter().copied().max().unwrap_or_default());
        let fastest = self.natures.iter().map(|nature| nature.stream_rate).max().unwrap_or_default();
        longest + 3 * fastest * TICK.as_millis() as u64 / 1000
    }

    fn cluster(&self) -> Cluster {
        let (natures, sizes) = (self.natures.clone(), self.sizes.clone());
        Cluster::new(natures, sizes, self.said.clone()).hearing(self.heard_of.clone())
    }
}

// What goes wrong is made smaller until only what matters is left: proptest shrinks every part of a schedule.
proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn what_a_good_peer_has_is_stored_once_whatever_the_others_do(schedule in schedule()) {
        let (outcome, stored) = schedule.cluster().run();
        let expected = schedule.can_be_had(|nature| nature.is_reliable() && nature.away.is_none());
        prop_assert!(expected.is_subset(&stored), "{:?} are not here", expected.difference(&stored));
        prop_assert!(outcome.duplicate_bytes <= outcome.again as u64 * schedule.overlap(), "{outcome:?}");
    }

    #[test]
    fn runs_that_are_killed_store_it_once_together_and_find_who_is_back(schedule in schedule()) {
        let (outcome, stored) = schedule.cluster().run_to_the_end(&schedule.kills);
        let expected = schedule.can_be_had(Nature::is_reliable);
        prop_assert!(expected.is_subset(&stored), "{:?} are not here", expected.difference(&stored));
        prop_assert!(outcome.duplicate_bytes <= outcome.again as u64 * schedule.overlap(), "{outcome:?}");
        prop_assert!(outcome.runs <= schedule.kills.len() + 2);
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

/// Of two peers that have the same, one goes silent half-way: dialling it takes its time to fail.
#[test]
fn a_peer_that_is_silently_gone_holds_up_nobody() {
    let (rate, number) = (145_000, 24);
    let total = (number << 21) as f64;
    let at_first = 2.0 * 4.0 * rate as f64;
    let dies_at = (total / 2.0 / at_first) as u32;
    let mut dead = Nature::good(rate);
    (dead.dies_at, dead.silently) = (Some(TICK * 4 * dies_at), true);
    dead.max_circuits = 2;
    let other = Nature { max_circuits: 2, ..Nature::good(rate) };
    let said = vec![everything(number); 2];
    let (outcome, stored) = Cluster::new(vec![dead, other], vec![2 << 20; number], said).run();
    assert_eq!(stored.len(), number);
    let ideal = f64::from(dies_at) + total / 2.0 / (at_first / 2.0);
    assert!(outcome.took.as_secs_f64() < ideal * 1.05 + 10.0, "{outcome:?}, ideally {ideal} s");
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

//! What may be taken of the line: a limit over all streams together, on the emulated link.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bulbil::domain::id::CollectionId;
use bulbil::monitor::{Counter, Monitor, Problem, Tally};
use bulbil::replicate::pull::{PullError, Puller};
use bulbil::store::entropy;
use bulbil::transport::link::LinkShape;
use bulbil::transport::memory::MemoryNet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::link::{Mirror, fill, instance, still};
use crate::replicate::never;

const MIB: u64 = 1 << 20;

#[test]
fn a_limit_holds_over_all_streams_and_none_is_cut_for_it() {
    const RATE: u64 = 256 * 1024;
    still(async |still| {
        let net = MemoryNet::new();
        let a = instance(&still, &net, "alpha", 1, false).await;
        fill(&a, &CollectionId::random(&mut entropy()), 1, &[MIB as u32; 8]).await;
        let mut b = Mirror::new(&still, &net, LinkShape::default(), &[&a]).await;
        b.puller = b.puller.with_rate(RATE);
        let before = b.puller.caller().client().counts().body_bytes;
        let started = Instant::now();
        let report = b.puller.fetch(None, &b.peers, &never()).await.unwrap();
        let took = started.elapsed();
        assert_eq!((report.bytes, report.still_missing), (8 * MIB, 0));
        b.instance.nothing_twice();
        // A stream that is cut, and a chunk that comes twice, are bytes in vain.
        let received = b.puller.caller().client().counts().body_bytes - before;
        assert!(received < 8 * MIB + 10_000, "{received} bytes came");
        let ideal = Duration::from_secs(32);
        assert!(took >= ideal.mul_f64(0.9) && took <= ideal.mul_f64(1.1), "it took {took:?}");
    });
}

#[test]
fn streams_that_crawl_for_minutes_are_taken_neither_for_stalled_nor_for_slow() {
    const RATE: u64 = 4096;
    still(async |still| {
        let net = MemoryNet::new();
        let a = instance(&still, &net, "alpha", 1, false).await;
        fill(&a, &CollectionId::random(&mut entropy()), 1, &[MIB as u32; 2]).await;
        let mut b = Mirror::new(&still, &net, LinkShape::default(), &[&a]).await;
        b.puller = b.puller.with_rate(RATE);
        let started = Instant::now();
        let report = b.puller.fetch(None, &b.peers, &never()).await.unwrap();
        assert_eq!((report.bytes, report.still_missing), (2 * MIB, 0));
        b.instance.nothing_twice();
        assert_eq!(report.requests, 2, "a stream was begun anew");
        let ideal = Duration::from_secs(2 * MIB / RATE);
        let took = started.elapsed();
        assert!(took >= ideal.mul_f64(0.9) && took <= ideal.mul_f64(1.1), "it took {took:?}");
    });
}

#[test]
fn what_comes_slowly_is_not_fetched_a_second_time_by_somebody_else() {
    const RATE: u64 = 4096;
    still(async |still| {
        let net = MemoryNet::new();
        let a = instance(&still, &net, "alpha", 1, false).await;
        fill(&a, &CollectionId::random(&mut entropy()), 1, &[MIB as u32; 2]).await;
        let mut b = Mirror::new(&still, &net, LinkShape::default(), &[&a]).await;
        b.puller = b.puller.with_rate(RATE);
        let (first, also) = (never(), never());
        let second = async {
            tokio::time::sleep(Duration::from_secs(200)).await;
            b.puller.fetch(None, &b.peers, &also).await.unwrap()
        };
        let (first, second) = tokio::join!(b.puller.fetch(None, &b.peers, &first), second);
        assert_eq!((first.unwrap().chunks, second.chunks), (2, 0));
        b.instance.nothing_twice();
        let received = b.puller.caller().client().counts().body_bytes;
        assert!(received < 2 * MIB + 100_000, "{received} bytes came");
    });
}

/// Watches what is shown, and stops the work at a given place.
#[derive(Default)]
struct Shown {
    tally: Tally,
    /// What was done before, and the total.
    task: Mutex<(u64, u64)>,
    stop_at: Option<(u64, CancellationToken)>,
}

impl Shown {
    fn now(&self) -> u64 {
        self.task.lock().unwrap().0 + self.tally.get(Counter::ChunkBytes)
    }
}

impl Monitor for Shown {
    fn task(&self, _: &str, _: Counter, _: Option<u64>) {}
    fn resume(&self, _: &str, _: Counter, done: u64, total: u64) {
        *self.task.lock().unwrap() = (done, total);
    }
    fn add(&self, counter: Counter, n: u64) {
        self.tally.add(counter, n);
        if counter == Counter::ChunkBytes {
            let (now, total) = (self.now(), self.task.lock().unwrap().1);
            assert!(now <= total, "{now} of {total}");
            assert!(n < MIB / 2, "it shows whole chunks: {n} bytes at once");
            if let Some((at, stop)) = &self.stop_at
                && now >= *at
            {
                stop.cancel();
            }
        }
    }
    fn take_back(&self, counter: Counter, n: u64) {
        self.tally.take_back(counter, n);
    }
    fn notice(&self, _: &str) {}
    fn problem(&self, _: Problem) {}
}

#[test]
fn progress_is_true_to_the_byte_and_knows_what_an_earlier_run_brought() {
    const TOTAL: u64 = 8 * MIB;
    still(async |still| {
        let net = MemoryNet::new();
        let a = instance(&still, &net, "alpha", 1, false).await;
        fill(&a, &CollectionId::random(&mut entropy()), 1, &[MIB as u32; 8]).await;
        // Parts of chunks are lost and come again.
        let shape = LinkShape { breaks_every: Some(Duration::from_secs(12)), ..LinkShape::default() };
        let b = Mirror::new(&still, &net, shape, &[&a]).await;
        let pull = async |shown: Arc<Shown>, cancel: &CancellationToken| {
            let puller = Puller::new(b.instance.store.clone(), b.puller.caller().clone(), shown);
            puller.fetch(None, &b.peers, cancel).await
        };
        let stop = CancellationToken::new();
        let first = Arc::new(Shown { stop_at: Some((5 * MIB, stop.clone())), ..Shown::default() });
        let result = pull(first.clone(), &stop).await;
        assert!(matches!(result, Err(PullError::Cancelled)), "{result:?}");
        let (_, missing) = b.instance.store.index.count_missing(None).await.unwrap();
        assert_eq!(first.now(), TOTAL - missing, "what is shown at the end is what is here");
        assert!(missing > 0 && missing < TOTAL);
        let second = Arc::new(Shown::default());
        pull(second.clone(), &never()).await.unwrap();
        assert_eq!(*second.task.lock().unwrap(), (TOTAL - missing, TOTAL));
        assert_eq!(second.now(), TOTAL);
    });
}

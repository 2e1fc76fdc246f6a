//! What may be taken of the line: a limit over all streams together, on the emulated link.

use std::time::Duration;

use bulbil::domain::id::CollectionId;
use bulbil::store::entropy;
use bulbil::transport::link::LinkShape;
use bulbil::transport::memory::MemoryNet;
use tokio::time::Instant;

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

//! Followed peers tell of news by themselves: over the emulated link, whose round trip is a second.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bulbil::domain::id::CollectionId;
use bulbil::domain::peer::Trust;
use bulbil::store::entropy;
use bulbil::transport::link::LinkShape;
use bulbil::transport::memory::MemoryNet;
use bulbil::worker::follow::Worker;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::link::{Mirror, fill, instance, still};
use crate::replicate::Instance;

const ROUND_TRIP: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// A source with a snapshot, and somebody who follows it over the link and is up to date.
struct Following {
    source: Instance,
    collection: CollectionId,
    mirror: Mirror,
    worker: Worker,
    cancel: CancellationToken,
    tasks: TaskTracker,
    _wake: watch::Sender<u64>,
}

impl Following {
    async fn snapshots(&self) -> usize {
        self.mirror.instance.store.index.snapshots(None).await.unwrap().len()
    }

    fn requests(&self) -> u64 {
        self.mirror.puller.caller().client().counts().requests
    }

    fn is_listening(&self) -> bool {
        self.worker.status().first().is_some_and(|status| status.listening && !status.busy)
    }

    async fn stops(self) {
        let asked = Instant::now();
        self.cancel.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        assert!(asked.elapsed() < Duration::from_millis(100), "it took {:?} to stop", asked.elapsed());
    }
}

fn following<F: Future>(push: bool, work: impl FnOnce(Following) -> F) -> F::Output {
    still(async |still| {
        let net = MemoryNet::new();
        let source = instance(&still, &net, "alpha", 1, false).await;
        let collection = CollectionId::random(&mut entropy());
        fill(&source, &collection, 1, &[4096, 4096]).await;
        let mirror = Mirror::new(&still, &net, LinkShape::default(), &[&source]).await;
        let serve = mirror.instance.serve.clone();
        let worker = Worker::new(mirror.puller.clone(), serve, Duration::from_secs(300)).with_push(push);
        let worker = worker.with_jitter(Arc::new(|| 0.5));
        let (wake, woken) = watch::channel(0);
        let (cancel, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(worker.clone().run(woken, cancel.clone()));
        let it = Following { source, collection, mirror, worker, cancel, tasks, _wake: wake };
        until(async || it.worker.status().first().is_some_and(|status| status.last.is_some())).await;
        work(it).await
    })
}

/// Waits for a condition, and answers how long that took on the link.
async fn until(mut condition: impl AsyncFnMut() -> bool) -> Duration {
    let (started, mut looks) = (Instant::now(), tokio::time::interval(Duration::from_millis(5)));
    while !condition().await {
        looks.tick().await;
        assert!(started.elapsed() < HOUR, "the condition does not come true");
    }
    started.elapsed()
}

#[test]
fn a_new_manifest_is_here_within_two_round_trips() {
    following(true, async |it| {
        for sequence in 2..=4 {
            until(async || it.is_listening()).await;
            fill(&it.source, &it.collection, sequence, &[4096, 4096]).await;
            it.source.serve.feed_changed();
            let took = until(async || it.snapshots().await == sequence as usize).await;
            assert!(took <= 2 * ROUND_TRIP, "snapshot {sequence} was here after {took:?}");
        }
        // Another process than the server has made it, and nobody tells the server.
        until(async || it.is_listening()).await;
        fill(&it.source, &it.collection, 5, &[4096, 4096]).await;
        let took = until(async || it.snapshots().await == 5).await;
        assert!(took <= 2 * ROUND_TRIP + Duration::from_secs(2), "{took:?}");
        it.stops().await;
    });
}

#[test]
fn news_brings_the_chunks_too_without_another_question() {
    following(true, async |it| {
        until(async || it.is_listening()).await;
        let before = it.requests();
        let other = CollectionId::random(&mut entropy());
        fill(&it.source, &other, 1, &[5000]).await;
        it.source.serve.feed_changed();
        let index = &it.mirror.instance.store.index;
        let took = until(async || index.latest(&other, false).await.unwrap().is_some()).await;
        assert!(took <= 2 * ROUND_TRIP, "a snapshot of a new collection was here after {took:?}");
        until(async || index.latest(&other, false).await.unwrap().is_some_and(|snapshot| snapshot.complete)).await;
        // A list of chunks and a chunk; and the next wait.
        let asked = it.requests() - before;
        assert!(asked <= 3, "{asked} requests");
        it.stops().await;
    });
}

#[test]
fn an_idle_hour_costs_at_most_a_request_a_minute() {
    following(true, async |it| {
        until(async || it.is_listening()).await;
        let before = it.requests();
        tokio::time::sleep(HOUR).await;
        let asked = it.requests() - before;
        assert!((50..=60).contains(&asked), "{asked} requests");
        assert!(it.is_listening());
        it.stops().await;
    });
}

#[test]
fn without_push_a_peer_is_asked_at_the_interval_alone() {
    following(false, async |it| {
        let before = it.requests();
        tokio::time::sleep(HOUR).await;
        let asked = it.requests() - before;
        assert!((11..=13).contains(&asked), "{asked} requests");
        it.stops().await;
    });
}

#[test]
fn a_peer_that_is_gone_is_asked_less_and_less_often() {
    following(true, async |it| {
        until(async || it.is_listening()).await;
        let address = it.source.address.clone();
        let before = it.mirror.link.counts().streams;
        it.mirror.link.cut_off(&address);
        until(async || it.worker.status()[0].failures > 0).await;
        tokio::time::sleep(HOUR).await;
        let tried = it.mirror.link.counts().streams - before;
        assert!(tried <= 20, "{tried} streams");
        assert!(!it.worker.status()[0].listening);
        it.stops().await;
    });
}

#[test]
fn who_is_not_followed_any_more_is_not_listened_to() {
    following(true, async |it| {
        until(async || it.is_listening()).await;
        let index = &it.mirror.instance.store.index;
        let mut peer = index.peers().await.unwrap().remove(0);
        peer.follow = false;
        index.save_peer(&peer).await.unwrap();
        let took = until(async || it.worker.status().is_empty()).await;
        assert!(took <= Duration::from_secs(2), "{took:?}");
        let before = it.requests();
        tokio::time::sleep(HOUR).await;
        assert_eq!(it.requests(), before);
        it.stops().await;
    });
}

#[test]
fn who_gives_no_chunks_for_a_while_still_tells_of_news_and_is_asked_again_when_it_does() {
    following(true, async |it| {
        until(async || it.is_listening()).await;
        let source = &it.source.store.index;
        let limit = async |hours: Option<&str>| {
            let mut peer = source.peers().await.unwrap().remove(0);
            let Trust::Trusted(rights) = &mut peer.trust else { panic!("it is trusted") };
            rights.limits.hours = hours.map(|hours| hours.parse().unwrap());
            source.save_peer(&peer).await.unwrap();
        };
        limit(Some("22:00-06:00")).await;
        let news = async |snapshots: usize| {
            fill(&it.source, &CollectionId::random(&mut entropy()), 1, &[5000 + snapshots as u32]).await;
            it.source.serve.feed_changed();
            until(async || it.snapshots().await == snapshots).await
        };
        news(2).await;
        until(async || it.worker.status()[0].last.as_ref().is_some_and(|last| last.error.is_some())).await;
        let status = it.worker.status().remove(0);
        let error = status.last.unwrap().error.unwrap();
        assert!(status.failures == 0 && error.contains("another time of the day"), "{error}");
        // A wait a minute, and little else.
        until(async || it.is_listening()).await;
        let before = it.requests();
        tokio::time::sleep(HOUR / 2).await;
        let asked = it.requests() - before;
        assert!((25..=35).contains(&asked), "{asked} requests");
        until(async || it.is_listening()).await;
        let took = news(3).await;
        assert!(took <= 2 * ROUND_TRIP, "it took {took:?}");
        let complete = async || {
            it.mirror.instance.store.index.snapshots(None).await.unwrap().iter().all(|snapshot| snapshot.complete)
        };
        assert!(!complete().await);
        limit(None).await;
        let opened = Instant::now();
        while !complete().await {
            tokio::time::sleep(Duration::from_secs(10)).await;
            assert!(opened.elapsed() <= HOUR, "nothing is asked for again");
        }
        it.stops().await;
    });
}

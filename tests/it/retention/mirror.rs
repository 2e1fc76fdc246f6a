//! What a mirror keeps of what others made.

use bulbil::backup::prune::{apply, plan};
use bulbil::clock::Clock;
use bulbil::domain::peer::Role;
use bulbil::domain::retention::Policy;
use bulbil::monitor::Tally;
use bulbil::store::Store;
use bulbil::store::index::{FeedChange, Retention};
use bulbil::transport::memory::MemoryNet;
use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use super::{GRACE, last, verified};
use crate::replicate::{Instance, never};

async fn prune(at: &Instance, otherwise: Option<&Policy>) -> u64 {
    prune_after(at, otherwise, SignedDuration::ZERO).await
}

async fn prune_after(at: &Instance, otherwise: Option<&Policy>, grace: SignedDuration) -> u64 {
    let collections = at.store.index.collections().await.unwrap();
    let plan = plan(&at.store, &collections, otherwise, at.clock.now()).await.unwrap();
    let (tally, cancel) = (Tally::default(), CancellationToken::new());
    let pruned = apply(&at.store, &plan, grace, at.clock.now(), &tally, &cancel).await.unwrap();
    assert!(!pruned.swept.postponed);
    pruned.snapshots
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_keeps_what_its_source_removed_until_it_is_told_otherwise() {
    let net = MemoryNet::new();
    let (a, b) = (Instance::new(&net, "alpha", 1).await, Instance::new(&net, "beta", 2).await);
    let notes = a.collection("notes").await;
    let mut made = Vec::new();
    for n in 0..4 {
        a.put("notes/file", n, 700_000);
        a.clock.set(a.clock.now() + SignedDuration::from_secs(60));
        made.push(a.backup(&notes).await);
    }
    let peer = a.let_in(&b, Role::Reader, false).await;
    b.clock.set(a.clock.now());
    b.sync(&peer).await.unwrap();
    b.puller.fetch(None, std::slice::from_ref(&peer), &never()).await.unwrap();

    let head = a.store.index.feed_head().await.unwrap();
    assert_eq!(prune(&a, Some(&last(1))).await, 3);
    let everything = bulbil::domain::peer::Rights {
        scope: bulbil::domain::peer::Scope::All,
        role: Role::Reader,
        onward: false,
        from: None,
        limits: Default::default(),
    };
    let told = a.store.index.changes(&everything, head, 10).await.unwrap();
    let told: Vec<FeedChange> = told.into_iter().map(|row| row.change).collect();
    assert_eq!(told, made[..3].iter().map(|id| FeedChange::Tombstone(*id)).collect::<Vec<_>>());

    b.sync(&peer).await.unwrap();
    // No policy was set here: what others made is kept.
    assert_eq!(prune(&b, None).await, 0);
    assert_eq!(b.store.index.snapshots(None).await.unwrap().len(), 4);
    verified(&b.store).await;

    // Without its key the newest one is of no use yet: the newest that can be read stays, too.
    b.store.index.keys_lost(&made[3..]).await.unwrap();
    let collections = b.store.index.collections().await.unwrap();
    let would = plan(&b.store, &collections, Some(&last(1)), b.clock.now()).await.unwrap();
    assert_eq!(would.removed().map(|snapshot| snapshot.id).collect::<Vec<_>>(), made[..2]);
    b.store.index.keys_arrived(&made[3..]).await.unwrap();

    let retention = Retention { policy: Some(last(2)), zone: "UTC".into() };
    b.store.index.set_retention(&notes.id, Some(&retention)).await.unwrap();
    assert_eq!(prune(&b, None).await, 2);
    b.restores(&made[3], &a.dir.path().join("notes")).await;
    verified(&b.store).await;
    // They do not come back with the next sync, and nothing of them is missing.
    b.sync(&peer).await.unwrap();
    let fetched = b.puller.fetch(None, std::slice::from_ref(&peer), &never()).await.unwrap();
    assert_eq!((fetched.chunks, fetched.still_missing), (0, 0));
    assert_eq!(b.store.index.snapshots(None).await.unwrap().len(), 2);

    // The source's own snapshots do not come back from its mirror either.
    let back = b.let_in(&a, Role::Reader, true).await;
    a.sync(&back).await.unwrap();
    a.puller.fetch(None, std::slice::from_ref(&back), &never()).await.unwrap();
    assert_eq!(a.store.index.snapshots(None).await.unwrap().len(), 1);
    verified(&a.store).await;

    // Nor when an index was made anew, which reads the source's feed from the beginning.
    let live = b.store.index.dump().await.unwrap();
    let (dir, net) = b.ended().await;
    let (rebuilt, report) = Store::rebuild(&dir.path().join("home"), None).await.unwrap();
    assert_eq!((report.problems, rebuilt.index.dump().await.unwrap()), (vec![], live));
    let b = Instance::around(&net, dir, rebuilt, 3);
    b.clock.set(a.clock.now());
    b.sync(&b.store.index.peer(&peer.id).await.unwrap().unwrap()).await.unwrap();
    assert_eq!(b.store.index.snapshots(None).await.unwrap().len(), 2);
    assert_eq!(b.store.index.count_missing(None).await.unwrap(), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_removed_while_it_is_being_fetched_leaves_nothing_to_fetch() {
    let net = MemoryNet::new();
    let (a, b) = (Instance::new(&net, "alpha", 1).await, Instance::new(&net, "beta", 2).await);
    let notes = a.collection("notes").await;
    for n in 0..3 {
        a.put("notes/file", n, 700_000);
        a.clock.set(a.clock.now() + SignedDuration::from_secs(60));
        a.backup(&notes).await;
    }
    let peer = a.let_in(&b, Role::Reader, false).await;
    b.clock.set(a.clock.now());
    b.sync(&peer).await.unwrap();
    // Lists are here, chunks are not.
    let (all, _) = b.store.index.count_missing(None).await.unwrap();
    assert_eq!(prune_after(&b, Some(&last(1)), GRACE).await, 2);
    let (left, _) = b.store.index.count_missing(None).await.unwrap();
    assert!(left > 0 && left < all, "{left} of {all}");
    let fetched = b.puller.fetch(None, std::slice::from_ref(&peer), &never()).await.unwrap();
    assert_eq!((fetched.chunks, fetched.still_missing), (left, 0));
    verified(&b.store).await;
}

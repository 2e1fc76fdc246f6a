//! Manifests that say what is not so, beside others that are right.

use std::sync::Arc;

use bulbil::backup::create::{CreateError, create};
use bulbil::backup::select;
use bulbil::domain::feed::Cursor;
use bulbil::domain::id::{FeedId, ManifestId};
use bulbil::domain::manifest::{Manifest, SignedManifest};
use bulbil::domain::peer::Role;
use bulbil::monitor::Tally;
use bulbil::replicate::succession::renew_appointments;
use bulbil::store::index::NewSnapshot;
use bulbil::store::{Rotate, Store, entropy};
use bulbil::transport::memory::MemoryNet;

use crate::replicate::{Instance, never};

/// Another manifest of the same maker, signed.
fn changed(of: &Instance, id: &ManifestId, change: impl FnOnce(&mut Manifest)) -> SignedManifest {
    let mut manifest = of.store.manifests.load(id).unwrap().0.manifest;
    change(&mut manifest);
    manifest.sign(&of.store.keys.identity)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_one_manifest_is_wrong_about_is_fetched_for_the_one_that_is_right() {
    let net = MemoryNet::new();
    let (a, b) = (Instance::new(&net, "alpha", 1).await, Instance::new(&net, "beta", 2).await);
    let notes = a.collection("notes").await;
    a.put("notes/one", 1, 200_000);
    let right = a.backup(&notes).await;
    let peer = a.let_in(&b, Role::Reader, false).await;
    // It came first, so that the index knows the length that it says.
    let wrong = changed(&a, &right, |manifest| {
        manifest.sequence = 9;
        (manifest.segments[0].chunks, manifest.segments[0].bytes) = (5000, 1);
        (manifest.chunks, manifest.chunk_bytes) = (5000, 1);
    });
    b.store.manifests.save(&wrong, &[]).unwrap();
    let cursor = Cursor { feed: FeedId::random(&mut entropy()), position: 1 };
    b.store.index.note_page(&peer.id, &[wrong], cursor).await.unwrap();

    b.sync(&peer).await.unwrap();
    b.puller.fetch(None, std::slice::from_ref(&peer), &never()).await.unwrap();
    assert!(b.store.index.snapshot(&right).await.unwrap().unwrap().complete);
    b.restores(&right, &a.dir.path().join("notes")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_nobody_would_take_is_not_made() {
    let net = MemoryNet::new();
    let a = Instance::new(&net, "alpha", 1).await;
    let notes = a.collection("notes").await;
    let first = a.backup(&notes).await;
    let last = changed(&a, &first, |manifest| manifest.sequence = i64::MAX as u64);
    a.store.manifests.save(&last, &[]).unwrap();
    let new =
        NewSnapshot { signed: &last, segments: &[], new_chunks: &[], shared: &[], supersedes: None, capture: None };
    a.store.index.commit_snapshot(new).await.unwrap();
    let files = a.store.manifests.list().unwrap();
    a.put("notes/one", 1, 200_000);
    let refused = create(&a.store, &notes, &*a.clock, Arc::new(Tally::default()), &never()).await;
    assert!(matches!(refused, Err(CreateError::Unfit(_))), "{refused:?}");
    assert_eq!(a.store.manifests.list().unwrap(), files);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_somebody_uses_up_with_a_replaced_key_costs_nothing() {
    let net = MemoryNet::new();
    let a = Instance::new(&net, "alpha", 1).await;
    let first = a.backup(&a.collection("notes").await).await;
    // Stolen before it was replaced.
    let last = changed(&a, &first, |manifest| manifest.sequence = i64::MAX as u64);
    let (now, (dir, net)) = (a.clock_now(), a.ended().await);
    let which = Rotate { envelope: false, identity: true };
    let store = Store::rotate_keys(&dir.path().join("home"), None, which, now).await.unwrap();
    let a = Instance::around(&net, dir, store, 1);
    renew_appointments(&a.store, now).await.unwrap();
    // It comes back from somebody who keeps it.
    let b = Instance::new(&net, "beta", 2).await;
    let peer = b.let_in(&a, Role::Reader, false).await;
    a.store.manifests.save(&last, &[]).unwrap();
    let cursor = Cursor { feed: FeedId::random(&mut entropy()), position: 1 };
    assert_eq!(a.store.index.note_page(&peer.id, std::slice::from_ref(&last), cursor).await.unwrap(), [last.id]);
    assert!(a.store.index.snapshot(&last.id).await.unwrap().unwrap().beside);
    a.put("notes/one", 1, 200_000);
    let second = a.backup(&select::collection(&a.store, "notes").await.unwrap()).await;
    assert_eq!(a.store.index.snapshot(&second).await.unwrap().unwrap().sequence, 2);
}

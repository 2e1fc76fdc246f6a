//! Manifests that say what is not so, beside others that are right.

use std::sync::Arc;

use bulbil::backup::create::{CreateError, create};
use bulbil::domain::feed::Cursor;
use bulbil::domain::id::{FeedId, ManifestId};
use bulbil::domain::manifest::{Manifest, SignedManifest};
use bulbil::domain::peer::Role;
use bulbil::monitor::Tally;
use bulbil::store::entropy;
use bulbil::store::index::NewSnapshot;
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
    let new = NewSnapshot { signed: &last, segments: &[], new_chunks: &[], supersedes: None };
    a.store.index.commit_snapshot(new).await.unwrap();
    let files = a.store.manifests.list().unwrap();
    a.put("notes/one", 1, 200_000);
    let refused = create(&a.store, &notes, &*a.clock, Arc::new(Tally::default()), &never()).await;
    assert!(matches!(refused, Err(CreateError::Unfit(_))), "{refused:?}");
    assert_eq!(a.store.manifests.list().unwrap(), files);
}

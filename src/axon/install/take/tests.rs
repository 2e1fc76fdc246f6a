//! Taking items of an installation, one by one.

use super::*;
use crate::axon::testing::{Counting, NOW, keys, sealed, write_chunks};
use crate::domain::axon::cipher::Sealed;
use crate::store::testing::TestStore;

fn named(manifests: &[&Manifest]) -> Named {
    let manifests = manifests.iter().map(|manifest| (*manifest).clone()).collect();
    Named { manifests, kinds: [crate::domain::axon::manifest::ContentType::File].into() }
}

/// On the shelf, complete, and nobody has a key.
fn without_key(store: &Store, sealed: &Sealed, manifest: &Manifest) -> Item {
    for (id, bytes) in sealed.chunk_hashes.iter().zip(&sealed.chunks) {
        store.chunks.write(id, bytes).unwrap();
    }
    let sizes = sealed.chunks.iter().map(|chunk| chunk.len() as u32);
    Item {
        content_hash: manifest.content_hash(),
        kinds: [crate::domain::axon::manifest::ContentType::File].into(),
        manifest: manifest.to_value().to_line(),
        key: None,
        complete: true,
        changed_at: NOW.parse().unwrap(),
        chunks: manifest.chunk_hashes().iter().copied().zip(sizes).collect(),
    }
}

#[tokio::test]
async fn what_the_shelf_has_whole_stays_when_another_manifest_has_holes() {
    let host = TestStore::new().await;
    let plain = b"the same content";
    let ((one, first), (_, second)) = (sealed(plain, false), sealed(plain, true));
    let root = Arc::new(Dir::open(host.dir.path()).unwrap());
    let batch = vec![(named(&[&first, &second]), Some(without_key(&host.store, &one, &first)))];
    let done = take_batch(&host.store, &keys(), &root, batch, &Look::at_everything(), NOW.parse().unwrap()).unwrap();
    assert!(done.items.iter().all(|item| item.complete), "{:?}", done.items);
    assert_eq!(done.incomplete.len(), 1, "nobody can open it, and that is said");
}

#[tokio::test]
async fn of_two_manifests_with_holes_the_one_that_opens_is_kept() {
    let host = TestStore::new().await;
    let plain = b"the same content";
    let ((_, first), (_, second)) = (sealed(plain, true), sealed(plain, false));
    let root = Arc::new(Dir::open(host.dir.path()).unwrap());
    let batch = vec![(named(&[&first, &second]), None)];
    let done = take_batch(&host.store, &keys(), &root, batch, &Look::at_everything(), NOW.parse().unwrap()).unwrap();
    assert_eq!(done.items.len(), 1, "nothing was heard of it");
    assert!(done.items[0].key.is_some());
}

#[tokio::test]
async fn r8_chunks_that_a_killed_run_copied_are_durable_before_they_are_named() {
    let mut host = TestStore::new().await;
    let (one, manifest) = sealed(b"content", true);
    without_key(&host.store, &one, &manifest);
    let counting = Counting::new(host.store.chunks.clone());
    host.store.chunks = counting.clone();
    write_chunks(&host.dir.path().join(manifest.content_hash().to_string()), &one.chunks);
    let root = Arc::new(Dir::open(host.dir.path()).unwrap());
    let batch = vec![(named(&[&manifest]), None)];
    let done = take_batch(&host.store, &keys(), &root, batch, &Look::at_everything(), NOW.parse().unwrap()).unwrap();
    assert!(done.items[0].complete && done.chunks == 0);
    assert_eq!(counting.syncs(), 1);
}

//! Chunks that another system sealed and gave to many (an Axon BBS): the same ones in collections of several instances, and
//! snapshots that hold documents.

use std::sync::Arc;

use bulbil::axon::record::to_documents;
use bulbil::backup::create::{Extras, create_with};
use bulbil::backup::open::OpenSnapshot;
use bulbil::backup::verify::{VerifyOptions, verify};
use bulbil::clock::FixedClock;
use bulbil::domain::axon::manifest::ContentType;
use bulbil::domain::crypto::secret::Secret;
use bulbil::domain::id::{ChunkId, CollectionId, ContentHash, ManifestId};
use bulbil::domain::metadata::entry::EntryKind;
use bulbil::domain::metadata::path::TreePath;
use bulbil::domain::peer::Role;
use bulbil::monitor::Tally;
use bulbil::source::Document;
use bulbil::store::axon::{Change, Item, Record};
use bulbil::store::index::{Collection, CollectionKind, CollectionSettings, NewCollection};
use bulbil::store::{IndexError, Store, entropy};
use bulbil::transport::memory::MemoryNet;

use crate::replicate::{Instance, never, noise};

/// A collection without folders.
async fn axon(instance: &Instance) -> Collection {
    let kind = CollectionKind::Axon;
    let settings = CollectionSettings {
        application: None,
        roots: vec![],
        excludes: vec![],
        level: 3,
        padding: Default::default(),
        kind,
    };
    let (id, origin) = (CollectionId::random(&mut entropy()), instance.store.keys.instance());
    let new = NewCollection { id, name: "axon".to_owned(), origin, settings: Some(settings) };
    instance.store.index.add_collection(&new).await.unwrap()
}

fn document(path: &str, text: &str) -> Document {
    let path = TreePath::new(path.as_bytes().to_vec()).unwrap();
    Document { path, bytes: text.as_bytes().to_vec(), changed_at: "2026-11-20T00:00:00Z".parse().unwrap() }
}

/// The same 40 chunks at everybody's.
async fn snapshot(instance: &Instance, collection: &Collection, documents: Vec<Document>) -> ManifestId {
    let mut shared = Vec::new();
    for n in 0..40 {
        let bytes = noise(n, 200_000);
        instance.store.chunks.write(&ChunkId::of(&bytes), &bytes).unwrap();
        shared.push((ChunkId::of(&bytes), 200_000));
    }
    let extras = Extras { documents, shared, ..Extras::default() };
    let tally = Arc::new(Tally::default());
    create_with(&instance.store, collection, extras, &*instance.clock, tally, &never()).await.unwrap().id
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_have_the_same_chunks_and_a_mirror_of_both_fetches_them_once() {
    let net = MemoryNet::new();
    let (a, b) = (Instance::new(&net, "alpha", 1).await, Instance::new(&net, "beta", 2).await);
    let (of_a, of_b) = (axon(&a).await, axon(&b).await);
    let documents = || vec![document("axon/z.json", "{}"), document("axon/items/1.json", "one")];
    let first = snapshot(&a, &of_a, documents()).await;
    let second = snapshot(&b, &of_b, documents()).await;

    let mirror = Instance::new(&net, "mirror", 3).await;
    let peers = [a.let_in(&mirror, Role::Reader, true).await, b.let_in(&mirror, Role::Reader, true).await];
    for peer in &peers {
        mirror.sync(peer).await.unwrap();
    }
    mirror.puller.fetch(None, &peers, &never()).await.unwrap();
    mirror.nothing_twice();
    for id in [first, second] {
        assert!(mirror.store.index.snapshot(&id).await.unwrap().unwrap().complete);
        let open = OpenSnapshot::open(&mirror.store, &id).unwrap();
        let entries: Vec<_> = open.tree(&*mirror.store.chunks).map(Result::unwrap).collect();
        let paths: Vec<String> = entries.iter().map(|entry| entry.path.to_string()).collect();
        assert_eq!(paths, ["axon", "axon/items", "axon/items/1.json", "axon/z.json"]);
        assert!(matches!(&entries[2].kind, EntryKind::File(file) if file.size == 3));
        assert_eq!(entries[2].attributes.mode, 0o600);
    }
    // Each of the two mirrors the other one, too: nothing of what they share travels.
    let peer = a.let_in(&b, Role::Reader, true).await;
    b.sync(&peer).await.unwrap();
    let fetched = b.puller.fetch(None, std::slice::from_ref(&peer), &never()).await.unwrap();
    assert!(fetched.bytes < 10_000 && fetched.still_missing == 0, "{fetched:?}");

    // One is damaged: it heals, and verify sees all of it, also after the index was made anew.
    let lost = ChunkId::of(&noise(7, 200_000));
    mirror.store.chunks.quarantine(&lost).unwrap();
    let options = VerifyOptions { data: true, ..VerifyOptions::default() };
    let tally = Arc::new(Tally::default());
    let report = verify(&mirror.store, &options, tally.clone(), &never()).await.unwrap();
    assert_eq!((report.missing, report.affected.len()), (vec![lost], 2));
    mirror.puller.fetch(Some(&of_b.id), &peers, &never()).await.unwrap();
    let report = verify(&mirror.store, &options, tally, &never()).await.unwrap();
    assert_eq!((report.missing, report.damaged, report.affected), (vec![], vec![], vec![]));
    mirror.rebuilds_alike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_snapshot_stores_only_the_documents_that_changed() {
    let net = MemoryNet::new();
    let a = Instance::new(&net, "alpha", 1).await;
    let collection = axon(&a).await;
    let documents = |last: &str| {
        let mut all: Vec<Document> = (0..300)
            .map(|n| document(&format!("axon/items/{n:03}.json"), &format!("{n}{}", "x".repeat(900))))
            .collect();
        all.push(document("axon/last.json", last));
        all
    };
    snapshot(&a, &collection, documents("one")).await;
    a.clock.set("2026-11-22T10:05:00Z".parse().unwrap());
    let tally = Arc::new(Tally::default());
    let extras = Extras { documents: documents("two"), ..Extras::default() };
    let made = create_with(&a.store, &collection, extras, &*a.clock, tally, &never()).await.unwrap();
    assert_eq!(made.statistics.files, 301);
    assert!(made.statistics.new_bytes < 3_000, "{:?}", made.statistics);
}

#[tokio::test(flavor = "multi_thread")]
async fn r7_what_is_known_of_an_axon_bbs_is_in_its_snapshots_and_comes_back_from_them() {
    let net = MemoryNet::new();
    let (a, b) = (Instance::new(&net, "alpha", 1).await, Instance::new(&net, "beta", 2).await);
    let collection = axon(&a).await;
    let shelf = a.store.axon(collection.id);
    let snapshot = async |instance: &Instance| {
        let tally = Arc::new(Tally::default());
        bulbil::worker::axon::snapshot(&instance.store, &collection, &*instance.clock, tally, &never()).await.unwrap()
    };
    assert!(snapshot(&a).await.is_none(), "nothing is known yet");
    let item = |n: u8, complete: bool| Item {
        content_hash: ContentHash::from_slice(&[n; 32]).unwrap(),
        kinds: [ContentType::File].into(),
        manifest: "{}".to_owned(),
        key: Some(Secret::from_slice(&[n; 32]).unwrap()),
        complete,
        changed_at: "2026-11-21T00:00:00Z".parse().unwrap(),
        chunks: vec![(ChunkId::of(&noise(u64::from(n), 5000)), if complete { 5000 } else { 0 })],
    };
    let record = Record {
        path: "actions/1.json".to_owned(),
        bytes: b"{}".to_vec(),
        changed_at: "2026-11-21T00:00:00Z".parse().unwrap(),
    };
    a.store.chunks.write(&ChunkId::of(&noise(1, 5000)), &noise(1, 5000)).unwrap();
    let change = Change { items: vec![item(1, true), item(2, false)], records: vec![record], ..Change::default() };
    shelf.put(&change).await.unwrap();
    let made = snapshot(&a).await.expect("something came");
    assert!(snapshot(&a).await.is_none(), "nothing came since");
    let known = async |store: &Store| {
        let shelf = store.axon(collection.id);
        format!("{:?} {:?}", shelf.items().await.unwrap(), shelf.records("").await.unwrap())
    };
    let before = known(&a.store).await;

    let peer = a.let_in(&b, Role::Reader, false).await;
    b.sync(&peer).await.unwrap();
    b.puller.fetch(None, std::slice::from_ref(&peer), &never()).await.unwrap();
    let mirrored = b.store.index.collection(&collection.id).await.unwrap().unwrap();
    assert!(bulbil::worker::axon::refresh(&b.store, &mirrored).await.unwrap());
    assert!(!bulbil::worker::axon::refresh(&b.store, &mirrored).await.unwrap());
    assert_eq!(known(&b.store).await, before);
    assert!(b.store.chunks.size(&ChunkId::of(&noise(1, 5000))).unwrap().is_some());
    assert!(b.store.index.snapshot(&made.id).await.unwrap().unwrap().complete);

    let (dir, _) = a.ended().await;
    let (rebuilt, report) = Store::rebuild(&dir.path().join("home"), None).await.unwrap();
    assert_eq!(report.problems, [""; 0]);
    let again = rebuilt.index.collection(&collection.id).await.unwrap().unwrap();
    assert!(bulbil::worker::axon::refresh(&rebuilt, &again).await.unwrap());
    assert_eq!(known(&rebuilt).await, before);
    rebuilt.index.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r7_nothing_is_added_before_the_snapshots_were_read_and_nothing_that_came_is_replaced_by_them() {
    let net = MemoryNet::new();
    let a = Instance::new(&net, "alpha", 1).await;
    let collection = axon(&a).await;
    let now = a.clock_now();
    let records = |path: &str| Change {
        records: vec![Record { path: path.to_owned(), bytes: b"{}".to_vec(), changed_at: now }],
        ..Change::default()
    };
    a.store.axon(collection.id).put(&records("actions/1.json")).await.unwrap();
    let tally = Arc::new(Tally::default());
    let made =
        bulbil::worker::axon::snapshot(&a.store, &collection, &*a.clock, tally, &never()).await.unwrap().unwrap();
    let later = records("actions/2.json");
    let (dir, _) = a.ended().await;
    let (rebuilt, _) = Store::rebuild(&dir.path().join("home"), None).await.unwrap();
    let shelf = rebuilt.axon(collection.id);
    assert!(matches!(shelf.put(&later).await, Err(IndexError::NotLoaded { .. })));
    let again = rebuilt.index.collection(&collection.id).await.unwrap().unwrap();
    assert!(bulbil::worker::axon::refresh(&rebuilt, &again).await.unwrap());
    let read_at = shelf.state().await.unwrap().generation;
    shelf.put(&later).await.unwrap();
    // Who read the snapshot before that comes too late.
    assert!(!shelf.take_over(&made.id, read_at, &[], &[]).await.unwrap());
    assert_eq!(shelf.records("").await.unwrap().len(), 2);
    // What came stays until it is in a snapshot; afterwards whatever is newer counts, whoever made it.
    assert!(!bulbil::worker::axon::refresh(&rebuilt, &again).await.unwrap());
    let (clock, tally) = (FixedClock::new("2026-11-22T11:00:00Z".parse().unwrap()), Arc::new(Tally::default()));
    bulbil::worker::axon::snapshot(&rebuilt, &again, &clock, tally.clone(), &never()).await.unwrap().unwrap();
    assert!(!bulbil::worker::axon::refresh(&rebuilt, &again).await.unwrap());
    let extras = Extras { documents: to_documents(&[], records("actions/3.json").records), ..Extras::default() };
    create_with(&rebuilt, &again, extras, &clock, tally, &never()).await.unwrap();
    assert!(bulbil::worker::axon::refresh(&rebuilt, &again).await.unwrap());
    assert_eq!(shelf.records("").await.unwrap().len(), 1);
    rebuilt.index.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bbs_that_names_a_chunk_of_ours_as_its_own_spoils_no_snapshot() {
    let net = MemoryNet::new();
    let a = Instance::new(&net, "alpha", 1).await;
    let notes = a.collection("notes").await;
    a.put("notes/one", 1, 50_000);
    let id = a.backup(&notes).await;
    let mut ours = Vec::new();
    a.store.chunks.list(&mut |id, size| ours.push((id, size as u32))).unwrap();
    let collection = axon(&a).await;
    let item = Item {
        content_hash: ContentHash::from_slice(&[1; 32]).unwrap(),
        kinds: [ContentType::File].into(),
        manifest: "{}".to_owned(),
        key: Some(Secret::from_slice(&[1; 32]).unwrap()),
        complete: true,
        changed_at: a.clock_now(),
        chunks: ours,
    };
    a.store.axon(collection.id).put(&Change { items: vec![item], ..Change::default() }).await.unwrap();
    let tally = Arc::new(Tally::default());
    let made = bulbil::worker::axon::snapshot(&a.store, &collection, &*a.clock, tally.clone(), &never()).await;
    made.unwrap().expect("something came");
    assert!(!tally.problems().is_empty(), "and it is said");
    a.restores(&id, &a.dir.path().join("notes")).await;
}

//! Every statement, on a real file.

mod succession; // who leads, and whose snapshots are kept

use std::collections::BTreeSet;

use super::*;
use crate::domain::crypto::discovery::DiscoveryRecipient;
use crate::domain::crypto::sign::IdentityKey;
use crate::domain::id::{ChunkId, InviteId};
use crate::domain::peer::{Scope, Trust};
use crate::domain::segment::{Segment, SegmentEntry};
use crate::store::testing::{MakeSnapshot, TestStore, cursor, everything, peer};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn only(collections: &[CollectionId]) -> Rights {
    Rights { scope: Scope::Only(collections.iter().copied().collect::<BTreeSet<_>>()), ..everything() }
}

/// The schema as SQLite tells it.
async fn told(index: &Index) -> (i64, Vec<String>) {
    let text = "SELECT type || ' ' || name || ': ' || coalesce(sql, '') FROM sqlite_schema ORDER BY 1";
    let version = sqlx::query_scalar("PRAGMA user_version").fetch_one(&index.pool).await.unwrap();
    (version, sqlx::query_scalar(text).fetch_all(&index.pool).await.unwrap())
}

#[tokio::test]
async fn an_index_of_any_earlier_version_becomes_a_fresh_one() {
    let dir = tempfile::tempdir().unwrap();
    let fresh = told(&Index::create(&dir.path().join("fresh"), None).await.unwrap()).await;
    for last in 1..schema() {
        let path = dir.path().join(format!("{last}"));
        let earlier = MIGRATIONS.iter().filter(|migration| migration.version <= last).cloned().collect();
        let old = Index::connect(options(&path).create_if_missing(true), None);
        sqlx::migrate::Migrator::with_migrations(earlier).run(&old.pool).await.unwrap();
        old.close().await;
        assert_eq!(told(&Index::open(&path, None).await.unwrap()).await, fresh, "version {last}");
    }
}

#[tokio::test]
async fn collections_are_added_found_changed_and_renamed() {
    let test = TestStore::new().await;
    let index = &test.store.index;
    let notes = test.collection("notes").await;
    assert_eq!(index.collection_named("notes").await.unwrap(), Some(notes.clone()));
    assert_eq!(index.collection(&notes.id).await.unwrap(), Some(notes.clone()));
    let again = NewCollection { id: notes.id, name: "notes".into(), origin: notes.origin, settings: None };
    assert!(matches!(index.add_collection(&again).await, Err(IndexError::NameTaken { .. })));
    let bad = NewCollection { name: "../x".into(), ..again };
    assert!(matches!(index.add_collection(&bad).await, Err(IndexError::BadName { .. })));
    let mut settings = notes.settings.clone().unwrap();
    settings.excludes.clear();
    index.update_settings(&notes.id, &settings).await.unwrap();
    index.rename(&notes.id, "memos").await.unwrap();
    let all = index.collections().await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].name.as_str(), &all[0].settings), ("memos", &Some(settings.clone())));
    let nobody = CollectionId::random(&mut entropy());
    assert!(matches!(index.update_settings(&nobody, &settings).await, Err(IndexError::NoSuchCollection { .. })));
    assert!(matches!(index.rename(&nobody, "x").await, Err(IndexError::NoSuchCollection { .. })));
    test.collection("notes").await;
    assert!(matches!(index.rename(&notes.id, "notes").await, Err(IndexError::NameTaken { .. })));
}

#[tokio::test]
async fn own_snapshots_are_committed_listed_and_superseded() {
    let test = TestStore::new().await;
    let index = &test.store.index;
    let notes = test.collection("notes").await;
    assert_eq!(index.next_sequence(&notes.id).await.unwrap(), 1);
    let make = MakeSnapshot::new(notes.id, 1, &[("r/a", b"one"), ("r/b", b"two")]);
    let first = test.snapshot(MakeSnapshot { partial: true, ..make }).await;
    assert_eq!(index.latest(&notes.id, false).await.unwrap(), None);
    let listed = index.latest(&notes.id, true).await.unwrap().unwrap();
    assert!(listed.partial && listed.complete && listed.has_key);
    assert_eq!((listed.id, listed.sequence, listed.instance), (first.signed.id, 1, test.store.keys.instance()));
    assert_eq!(index.chunk_secrets(&notes.id).await.unwrap().len(), 3);
    let (id, sealed) = index.chunk_secrets(&notes.id).await.unwrap().remove(0);
    let secret = crate::store::open_chunk_secret(&test.store.keys.master, &id, &sealed).unwrap();
    assert_eq!(secret.fragments.len(), 1);

    let make = MakeSnapshot::new(notes.id, 2, &[("r/a", b"one"), ("r/c", b"three")]);
    let second = test.snapshot(MakeSnapshot { base: Some(&first), supersedes: Some(first.signed.id), ..make }).await;
    assert_eq!(index.snapshot(&first.signed.id).await.unwrap(), None);
    let all = index.snapshots(Some(&notes.id)).await.unwrap();
    assert_eq!(all, index.snapshots(None).await.unwrap());
    assert_eq!(all.iter().map(|s| s.id).collect::<Vec<_>>(), [second.signed.id]);
    assert_eq!(all[0].parent, Some(first.signed.id));
    assert_eq!(index.find_snapshots(&second.signed.id.short()).await.unwrap(), all);
    assert_eq!(index.next_sequence(&notes.id).await.unwrap(), 3);

    let head = index.feed_head().await.unwrap();
    let changes = index.changes(&everything(), 0, 10).await.unwrap();
    let seen: Vec<_> = changes.iter().map(|row| row.change).collect();
    assert_eq!(seen, [FeedChange::Manifest(second.signed.id), FeedChange::Tombstone(first.signed.id)]);
    assert_eq!(changes[1].position, head);
    assert_eq!(index.changes(&everything(), head, 10).await.unwrap(), []);
    assert_eq!(index.changes(&everything(), 0, 1).await.unwrap().len(), 1);
    assert_eq!(index.fingerprint(&everything()).await.unwrap(), [second.signed.id].iter().collect());
}

#[tokio::test]
async fn a_snapshot_that_names_what_is_not_here_is_not_recorded() {
    let test = TestStore::new().await;
    let notes = test.collection("notes").await;
    let keys = &test.store.keys;
    let made = MakeSnapshot::new(notes.id, 1, &[("r/a", b"one")]).make(&keys.identity, Some(keys), keys.instance());
    let new = NewSnapshot {
        signed: &made.signed,
        segments: &made.segments,
        new_chunks: &[],
        shared: &[],
        supersedes: None,
        capture: None,
    };
    let refused = test.store.index.commit_snapshot(new).await;
    assert!(matches!(refused, Err(IndexError::ChunkNotHere { .. })), "{refused:?}");
    assert_eq!(test.store.index.snapshots(None).await.unwrap(), []);
    assert_eq!(test.store.index.feed_head().await.unwrap(), 0);
    let new = NewSnapshot { segments: &[], ..new };
    assert!(matches!(test.store.index.commit_snapshot(new).await, Err(IndexError::Contradiction { .. })));
    let new = NewSnapshot { segments: &made.segments, new_chunks: &made.new_chunks, ..new };
    test.store.index.commit_snapshot(new).await.unwrap();
    test.store.index.commit_snapshot(new).await.unwrap();
    let fork = MakeSnapshot::new(notes.id, 1, &[]).make(&keys.identity, Some(keys), keys.instance());
    let new = NewSnapshot {
        signed: &fork.signed,
        segments: &[],
        new_chunks: &[],
        shared: &[],
        supersedes: None,
        capture: None,
    };
    assert!(matches!(test.store.index.commit_snapshot(new).await, Err(IndexError::Fork { .. })));
}

#[tokio::test]
async fn r11_a_page_is_pulled_step_by_step_until_it_is_complete() {
    let test = TestStore::new().await;
    let index = &test.store.index;
    let source = test.peer("source").await;
    let identity = IdentityKey::random(&mut entropy());
    let origin = identity.public().instance();
    let theirs = CollectionId::random(&mut entropy());
    let first = MakeSnapshot::new(theirs, 1, &[("r/a", b"one"), ("r/b", b"two"), ("r/c", b"three")])
        .make(&identity, None, origin);
    let empty = MakeSnapshot::new(theirs, 2, &[]).make(&identity, None, origin);
    let page = [first.signed.clone(), empty.signed.clone()];
    let stranger = peer("stranger");
    assert!(matches!(index.note_page(&stranger.id, &page, cursor(2)).await, Err(IndexError::NoSuchPeer { .. })));
    assert_eq!(index.note_page(&source.id, &page, cursor(2)).await.unwrap(), [first.signed.id, empty.signed.id]);
    assert_eq!(index.note_page(&source.id, &page, cursor(3)).await.unwrap(), []);
    assert_eq!(index.peer(&source.id).await.unwrap().unwrap().cursor, Some(cursor(3)));
    assert_eq!(index.collections().await.unwrap()[0].name, theirs.short());
    assert!(index.snapshot(&empty.signed.id).await.unwrap().unwrap().complete);
    assert!(!index.snapshot(&first.signed.id).await.unwrap().unwrap().complete);
    assert_eq!(index.without_key().await.unwrap(), [empty.signed.id, first.signed.id]);
    let unknown = ManifestId::of(b"");
    index.keys_arrived(&[empty.signed.id, unknown]).await.unwrap();
    assert_eq!(index.without_key().await.unwrap(), [first.signed.id]);

    let expected: Vec<_> = first.segments.iter().map(|s| (s.id, s.encode().len() as u32)).collect();
    assert_eq!(index.missing_segments(10).await.unwrap(), expected);
    assert_eq!(index.missing_segments(1).await.unwrap().len(), 1);
    assert_eq!(index.missing_chunks(None, 10).await.unwrap(), []);
    for segment in &first.segments {
        index.note_segment(segment).await.unwrap();
        index.note_segment(segment).await.unwrap();
    }
    assert_eq!(index.missing_segments(10).await.unwrap(), []);
    let chunks = first.chunks();
    assert_eq!(index.missing_chunks(Some(&theirs), 10).await.unwrap(), chunks);
    let sum = chunks.iter().map(|(_, size)| u64::from(*size)).sum();
    assert_eq!(index.count_missing(None).await.unwrap(), (chunks.len() as u64, sum));
    let head = index.feed_head().await.unwrap();
    index.chunks_arrived(&chunks[1..]).await.unwrap();
    assert_eq!(index.missing_chunks(None, 10).await.unwrap(), chunks[..1]);
    assert!(!index.snapshot(&first.signed.id).await.unwrap().unwrap().complete);
    assert_eq!(index.feed_head().await.unwrap(), head);
    index.chunks_arrived(&chunks[..1]).await.unwrap();
    assert!(index.snapshot(&first.signed.id).await.unwrap().unwrap().complete);
    assert_eq!(index.feed_head().await.unwrap(), head + 1);

    index.mark_missing(&[chunks[2].0]).await.unwrap();
    assert!(!index.snapshot(&first.signed.id).await.unwrap().unwrap().complete);
    assert_eq!(index.missing_chunks(None, 10).await.unwrap(), [chunks[2]]);
    index.chunks_arrived(&[chunks[2]]).await.unwrap();
    assert!(index.snapshot(&first.signed.id).await.unwrap().unwrap().complete);
    index.mark_missing(&[first.segments[0].id]).await.unwrap();
    assert_eq!(index.missing_segments(10).await.unwrap(), expected[..1]);
    assert!(!index.snapshot(&first.signed.id).await.unwrap().unwrap().complete);
    index.note_segment(&first.segments[0]).await.unwrap();
    assert!(index.snapshot(&first.signed.id).await.unwrap().unwrap().complete);
    assert_eq!(index.feed_head().await.unwrap(), head + 1, "it is announced once");

    test.collection("wanted").await;
    assert_eq!(index.learn_name(&theirs, "wanted").await.unwrap(), "wanted-2");
    assert_eq!(index.learn_name(&theirs, "other").await.unwrap(), "wanted-2");
}

#[tokio::test]
async fn a_lying_page_changes_nothing() {
    let test = TestStore::new().await;
    let index = &test.store.index;
    let notes = test.collection("notes").await;
    let ours = test.snapshot(MakeSnapshot::new(notes.id, 1, &[("r/a", b"one")])).await;
    let source = test.peer("source").await;
    let identity = IdentityKey::random(&mut entropy());
    let origin = identity.public().instance();
    let before = index.dump().await.unwrap();

    let theirs = CollectionId::random(&mut entropy());
    let one = MakeSnapshot::new(theirs, 1, &[("r/x", b"x")]).make(&identity, None, origin);
    let other = MakeSnapshot::new(theirs, 1, &[]).make(&identity, None, origin);
    let refused = index.note_page(&source.id, &[one.signed, other.signed], cursor(1)).await;
    assert!(matches!(refused, Err(IndexError::Fork { .. })));

    let mut thief = MakeSnapshot::new(theirs, 1, &[]).make(&identity, None, origin).signed.manifest;
    thief.segments = ours.signed.manifest.segments.clone();
    (thief.chunks, thief.chunk_bytes) = (ours.signed.manifest.chunks, ours.signed.manifest.chunk_bytes);
    let refused = index.note_page(&source.id, &[thief.sign(&identity)], cursor(1)).await;
    assert!(matches!(refused, Err(IndexError::ChunkElsewhere { .. })));
    assert_eq!(index.dump().await.unwrap(), before);
    assert_eq!(index.peer(&source.id).await.unwrap().unwrap().cursor, None);

    // A segment of their own that lists a chunk of ours.
    let own_chunk = ours.segments[0].entries[0];
    let segment = Segment::new(vec![own_chunk]);
    let mut thief = MakeSnapshot::new(theirs, 1, &[]).make(&identity, None, origin).signed.manifest;
    thief.segments = vec![(&segment).into()];
    (thief.chunks, thief.chunk_bytes) = (1, segment.chunk_bytes());
    index.note_page(&source.id, &[thief.sign(&identity)], cursor(1)).await.unwrap();
    assert!(matches!(index.note_segment(&segment).await, Err(IndexError::ChunkElsewhere { .. })));
    let visible = index.visible_chunks(&only(&[theirs]), &[own_chunk.id]).await.unwrap();
    assert_eq!(visible, [None]);
    let nobody = Segment::new(vec![]);
    assert!(matches!(index.note_segment(&nobody).await, Err(IndexError::NoSuchSegment { .. })));
}

#[tokio::test]
async fn r12_a_shared_chunk_is_seen_through_any_collection_that_lists_it_as_such_and_through_no_other() {
    let test = TestStore::new().await;
    let index = &test.store.index;
    let source = test.peer("source").await;
    let identity = IdentityKey::random(&mut entropy());
    let origin = identity.public().instance();
    let entry = SegmentEntry { id: ChunkId::of(b"sealed elsewhere"), size_bytes: 7 };
    let collections = [(); 3].map(|()| CollectionId::random(&mut entropy()));
    let mut cursors = 1..;
    let mut note = async |collection: CollectionId, segment: &Segment| {
        let mut manifest = MakeSnapshot::new(collection, 1, &[]).make(&identity, None, origin).signed.manifest;
        manifest.segments = vec![segment.into()];
        (manifest.chunks, manifest.chunk_bytes) = (1, segment.chunk_bytes());
        index.note_page(&source.id, &[manifest.sign(&identity)], cursor(cursors.next().unwrap())).await.unwrap();
        index.note_segment(segment).await
    };
    note(collections[0], &Segment::shared(collections[0], vec![entry])).await.unwrap();
    // Missing for both, asked for once, and here for both as soon as it is here.
    note(collections[1], &Segment::shared(collections[1], vec![entry])).await.unwrap();
    assert_eq!(index.missing_chunks(Some(&collections[1]), 9).await.unwrap(), [(entry.id, 7)]);
    assert_eq!(index.missing_chunks(None, 9).await.unwrap(), [(entry.id, 7)]);
    index.chunks_arrived(&[(entry.id, 7)]).await.unwrap();
    for collection in &collections[..2] {
        assert!(index.snapshots(Some(collection)).await.unwrap()[0].complete);
        assert_eq!(index.visible_chunks(&only(&[*collection]), &[entry.id]).await.unwrap(), [Some(7)]);
    }
    // A list that does not say so, and one that is another collection's, are lies: nobody sees the chunk through them.
    let refused = note(collections[2], &Segment::new(vec![entry])).await;
    assert!(matches!(refused, Err(IndexError::ChunkElsewhere { .. })));
    assert_eq!(index.visible_chunks(&only(&[collections[2]]), &[entry.id]).await.unwrap(), [None]);
    let fourth = CollectionId::random(&mut entropy());
    let refused = note(fourth, &Segment::shared(collections[0], vec![SegmentEntry { size_bytes: 8, ..entry }])).await;
    assert!(matches!(refused, Err(IndexError::Contradiction { .. })));
    // Nor can a list that says so name what is another collection's alone.
    let own = SegmentEntry { id: ChunkId::of(b"sealed here"), size_bytes: 7 };
    note(CollectionId::random(&mut entropy()), &Segment::new(vec![own])).await.unwrap();
    index.chunks_arrived(&[(own.id, 7)]).await.unwrap();
    let thief = CollectionId::random(&mut entropy());
    let refused = note(thief, &Segment::shared(thief, vec![own])).await;
    assert!(matches!(refused, Err(IndexError::ChunkElsewhere { .. })));
    assert_eq!(index.visible_chunks(&only(&[thief]), &[own.id]).await.unwrap(), [None]);
}

#[tokio::test]
async fn r12_who_sees_what() {
    let test = TestStore::new().await;
    let index = &test.store.index;
    let (a, b) = (test.collection("a").await.id, test.collection("b").await.id);
    let old = test
        .snapshot(MakeSnapshot { created_at: "2026-01-01T00:00:00Z", ..MakeSnapshot::new(a, 1, &[("r/x", b"old")]) })
        .await;
    let new =
        MakeSnapshot { created_at: "2026-06-01T00:00:00.000000001Z", ..MakeSnapshot::new(a, 2, &[("r/x", b"new")]) };
    let new = test.snapshot(new).await;
    let other = test.snapshot(MakeSnapshot::new(b, 1, &[("r/y", b"other")])).await;
    let all = [&old, &new, &other];
    let since = |text: &str| Rights { from: Some(at(text)), ..everything() };
    let nothing = Rights::none();
    let table: [(Rights, [bool; 3]); 7] = [
        (everything(), [true, true, true]),
        (only(&[a]), [true, true, false]),
        (only(&[b]), [false, false, true]),
        (nothing, [false, false, false]),
        (since("2026-06-01T00:00:00.000000001Z"), [false, true, true]),
        (since("2026-06-01T00:00:00.000000002Z"), [false, false, true]),
        (Rights { from: Some(at("2026-02-01T00:00:00Z")), ..only(&[a]) }, [false, true, false]),
    ];
    for (rights, expected) in &table {
        let ids: Vec<_> = all.iter().map(|made| made.signed.id).collect();
        assert_eq!(index.visible_manifests(rights, &ids).await.unwrap(), expected, "{rights:?}");
        let seen: Vec<_> = ids.iter().zip(expected).filter(|(_, seen)| **seen).map(|(id, _)| *id).collect();
        assert_eq!(index.fingerprint(rights).await.unwrap(), seen.iter().collect(), "{rights:?}");
        let changes = index.changes(rights, 0, 100).await.unwrap();
        let told: Vec<_> = changes.iter().map(|row| row.change).collect();
        let wanted: Vec<_> = seen.into_iter().map(FeedChange::Manifest).collect();
        assert_eq!(told, wanted, "{rights:?}");
        for (made, seen) in all.iter().zip(expected) {
            let mut ids: Vec<_> = made.chunks().iter().map(|(id, _)| *id).collect();
            ids.extend(made.segments.iter().map(|segment| segment.id));
            let sizes = made.chunks().into_iter().map(|(_, size)| size);
            let sizes = sizes.chain(made.segments.iter().map(|segment| segment.encode().len() as u32));
            let wanted: Vec<_> = sizes.map(|size| seen.then_some(size)).collect();
            assert_eq!(index.visible_chunks(rights, &ids).await.unwrap(), wanted, "{rights:?}");
        }
    }
    let unknown = [ChunkId::of(b"?"), old.chunks()[0].0, ChunkId::of(b"!")];
    index.mark_missing(&unknown[1..2]).await.unwrap();
    assert_eq!(index.visible_chunks(&everything(), &unknown).await.unwrap(), [None; 3]);
    assert_eq!(index.chunk_secrets(&a).await.unwrap().len(), 3, "fragments of a lost chunk are not used");
}

#[tokio::test]
async fn peers_are_saved_found_and_forgotten() {
    let test = TestStore::new().await;
    let index = &test.store.index;
    let mut beta = test.peer("beta").await;
    test.peer("alpha").await;
    let names = |peers: Vec<Peer>| peers.into_iter().map(|peer| peer.name).collect::<Vec<_>>();
    assert_eq!(names(index.peers().await.unwrap()), ["alpha", "beta"]);
    assert_eq!(index.peer_named("beta").await.unwrap(), Some(beta.clone()));
    assert_eq!(index.peer_named(&beta.id.to_string()[..8]).await.unwrap(), Some(beta.clone()));
    assert_eq!(index.peer_named("gamma").await.unwrap(), None);
    let taken = Peer { name: "beta".into(), ..peer("x") };
    assert!(matches!(index.save_peer(&taken).await, Err(IndexError::NameTaken { .. })));
    assert!(matches!(index.save_peer(&peer("-x")).await, Err(IndexError::BadName { .. })));

    let now = at("2026-11-22T01:02:03.000000004Z");
    index.note_contact(&beta.id, now, None).await.unwrap();
    index.note_contact(&beta.id, at("2026-11-23T00:00:00Z"), Some("no answer")).await.unwrap();
    index.note_page(&beta.id, &[], cursor(9)).await.unwrap();
    beta.trust = crate::domain::peer::Trust::Revoked;
    beta.granted = Some(Granted { role: crate::domain::peer::Role::Mirror, onward: true, collections: None });
    index.save_peer(&beta).await.unwrap();
    let loaded = index.peer(&beta.id).await.unwrap().unwrap();
    assert_eq!((loaded.last_contact_at, loaded.last_error.as_deref()), (Some(now), Some("no answer")));
    assert_eq!((loaded.cursor, &loaded.trust, &loaded.granted), (Some(cursor(9)), &beta.trust, &beta.granted));
    index.reset_cursor(&beta.id).await.unwrap();
    assert_eq!(index.peer(&beta.id).await.unwrap().unwrap().cursor, None);
    assert!(index.remove_peer(&beta.id).await.unwrap());
    assert!(!index.remove_peer(&beta.id).await.unwrap());
}

#[tokio::test]
async fn an_invite_is_used_once() {
    let test = TestStore::new().await;
    let index = &test.store.index;
    let id = InviteId::random(&mut entropy());
    let expires_at = at("2026-11-23T00:00:00Z");
    let new = NewInvite { id, sealed_secret: vec![1, 2, 3], rights: everything(), expires_at, discovery: None };
    index.add_invite(&new).await.unwrap();
    assert_eq!(index.invite(&InviteId::random(&mut entropy())).await.unwrap(), None);
    assert!(!index.use_invite(&id, expires_at).await.unwrap());
    let now = at("2026-11-22T00:00:00Z");
    let uses = futures_util::future::join_all((0..8).map(|_| index.use_invite(&id, now))).await;
    assert_eq!(uses.into_iter().filter(|used| *used.as_ref().unwrap()).count(), 1);
    let row = index.invite(&id).await.unwrap().unwrap();
    assert_eq!((row.used_at, row.sealed_secret, row.expires_at), (Some(now), vec![1, 2, 3], expires_at));
}

#[tokio::test]
async fn a_hidden_service_is_found_by_peers_that_are_let_in_and_by_open_invites() {
    let test = TestStore::new().await;
    let index = &test.store.index;
    let key = |n: u8| DiscoveryRecipient::from_slice(&[n; 32]);
    let (now, later) = (at("2026-11-22T00:00:00Z"), at("2026-11-23T00:00:00Z"));
    for (n, expires_at) in [(1, later), (2, later), (3, now)] {
        let id = InviteId::random(&mut entropy());
        let new = NewInvite { id, sealed_secret: vec![], rights: everything(), expires_at, discovery: key(n) };
        index.add_invite(&new).await.unwrap();
        if n == 2 {
            assert!(index.use_invite(&id, now).await.unwrap());
        }
    }
    let trusted = Peer { discovery: key(9), trust: Trust::Trusted(everything()), ..peer("a") };
    let revoked = Peer { discovery: key(8), trust: Trust::Revoked, ..peer("b") };
    for peer in [&trusted, &revoked, &peer("c")] {
        index.save_peer(peer).await.unwrap();
    }
    assert_eq!(index.peer(&trusted.id).await.unwrap().unwrap().discovery, key(9));
    let keys = index.discovery_keys(now).await.unwrap();
    assert_eq!(keys.into_iter().map(Some).collect::<Vec<_>>(), [key(9), key(1)]);
}

#[tokio::test]
async fn r10_a_nonce_is_worth_one_request() {
    let test = TestStore::new().await;
    let index = &test.store.index;
    let (a, b) = (peer("a").id, peer("b").id);
    let (now, later) = (at("2026-11-22T00:00:00Z"), at("2026-11-22T00:05:00Z"));
    assert!(index.remember_nonce(&a, b"nonce", later, now).await.unwrap());
    assert!(!index.remember_nonce(&a, b"nonce", later, now).await.unwrap());
    assert!(index.remember_nonce(&b, b"nonce", later, now).await.unwrap());
    for n in 0u32..260 {
        assert!(index.remember_nonce(&a, &n.to_be_bytes(), later, at("2026-11-23T00:00:00Z")).await.unwrap());
    }
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM nonce").fetch_one(&index.pool).await.unwrap();
    assert!(left < 20, "{left} are left");
}

#[tokio::test]
async fn a_thousand_ids_are_looked_up_at_once() {
    let test = TestStore::new().await;
    let ids: Vec<_> = (0u32..2500).map(|n| ChunkId::of(&n.to_be_bytes())).collect();
    test.collection("notes").await;
    assert_eq!(test.store.index.visible_chunks(&everything(), &ids).await.unwrap(), vec![None; 2500]);
}

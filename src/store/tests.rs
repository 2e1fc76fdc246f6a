//! Homes: made, opened, damaged, locked, and their index made anew.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use proptest::prelude::*;

use super::index::{IndexError, Mark, Peer, Retention, StandbySettings};
use super::testing::{Made, MakeSnapshot, TestStore, cursor, envelope_key, everything, peer};
use super::*;
use crate::domain::crypto::sign::IdentityKey;
use crate::domain::feed::Fingerprint;
use crate::domain::id::{ChunkId, CollectionId};
use crate::domain::metadata::path::TreePath;
use crate::domain::peer::Scope;
use crate::domain::schedule::Upkeep;

fn options(passphrase: Option<&str>) -> CreateOptions {
    let passphrase = passphrase.map(|text| Passphrase::new(text.as_bytes().to_vec()));
    CreateOptions { name: "alpha".into(), passphrase }
}

async fn create(home: &Path) -> Result<Store, StoreError> {
    Store::create_with(home, options(None), Some(envelope_key())).await.map(|(store, _)| store)
}

#[tokio::test]
async fn a_home_is_made_once_and_opens_again() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("deep/home");
    assert!(matches!(Store::open(&home, None).await, Err(StoreError::NotAHome { .. })));
    let store = create(&home).await.unwrap();
    let again = Store::open(&home, None).await.unwrap();
    assert_eq!(again.keys.instance(), store.keys.instance());
    assert_eq!(again.keys.name, "alpha");
    assert_eq!(again.keys.recovery, store.keys.recovery);
    assert_eq!(again.index.feed_id().await.unwrap(), store.index.feed_id().await.unwrap());
    let identity = again.keys.identity_document().verify(Some(&store.keys.instance())).unwrap();
    assert_eq!((identity.key_version, identity.envelope_key), (1, store.keys.envelope.recipient().clone()));
    assert!(!Store::needs_passphrase(&home).unwrap());
    for (path, mode) in [("", 0o700), ("keys", 0o700), ("keys/master", 0o600), ("keys/ledger", 0o600)] {
        assert_eq!(fs::metadata(home.join(path)).unwrap().permissions().mode() & 0o777, mode, "{path}");
    }
    assert!(matches!(create(&home).await, Err(StoreError::AlreadyAHome { .. })));
    let full = dir.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("photo.jpg"), "x").unwrap();
    assert!(matches!(create(&full).await, Err(StoreError::NotEmpty { .. })));
    let bad = CreateOptions { name: "a b".into(), passphrase: None };
    assert!(matches!(Store::create(&dir.path().join("x"), bad).await, Err(StoreError::BadName { .. })));
}

#[tokio::test]
async fn r8_a_home_that_was_cut_off_while_it_was_made_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let first = create(&home).await.unwrap();
    first.index.close().await;
    fs::write(home.join("bulbil.toml"), "# mine").unwrap();
    fs::remove_file(home.join("version")).unwrap();
    fs::write(home.join(".creating"), "").unwrap();
    assert!(matches!(Store::open(&home, None).await, Err(StoreError::NotAHome { .. })));
    let second = create(&home).await.unwrap();
    assert_ne!(second.keys.instance(), first.keys.instance());
    assert_eq!(fs::read_to_string(home.join("bulbil.toml")).unwrap(), "# mine");
    Store::open(&home, None).await.unwrap();
}

#[tokio::test]
async fn a_passphrase_opens_the_keys_and_no_other_does() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let empty = Store::create_with(&home, options(Some("")), Some(envelope_key())).await;
    assert!(matches!(empty, Err(StoreError::EmptyPassphrase)));
    let (store, _) = Store::create_with(&home, options(Some("correct")), Some(envelope_key())).await.unwrap();
    assert!(Store::needs_passphrase(&home).unwrap());
    assert!(matches!(Store::open(&home, None).await, Err(StoreError::PassphraseNeeded)));
    let passphrase = |text: &str| Some(Passphrase::new(text.as_bytes().to_vec()));
    assert_eq!(format!("{:?}", passphrase("correct")), "Some(…)");
    assert!(matches!(Store::open(&home, passphrase("wrong")).await, Err(StoreError::WrongPassphrase)));
    let again = Store::open(&home, passphrase("correct")).await.unwrap();
    assert_eq!(again.keys.instance(), store.keys.instance());
}

#[tokio::test]
async fn keys_that_others_can_read_are_refused_and_damaged_ones_too() {
    let test = TestStore::new().await;
    let home = test.home();
    let mode = |path: &str, mode| fs::set_permissions(home.join(path), fs::Permissions::from_mode(mode)).unwrap();
    for (path, bad, good) in [("keys/identity", 0o640, 0o600), ("keys", 0o755, 0o700)] {
        mode(path, bad);
        let error = Store::open(&home, None).await.unwrap_err();
        assert!(error.to_string().contains(&format!("chmod {good:o} {}", home.join(path).display())), "{error}");
        mode(path, good);
    }
    Store::open(&home, None).await.unwrap();
    let kept = fs::read(home.join("keys/identity")).unwrap();
    fs::write(home.join("keys/identity"), &kept[1..]).unwrap();
    assert!(matches!(Store::open(&home, None).await, Err(StoreError::KeysDamaged { .. })));
    fs::write(home.join("keys/identity"), &kept).unwrap();
    fs::remove_file(home.join("keys/envelope")).unwrap();
    assert!(matches!(Store::open(&home, None).await, Err(StoreError::KeysMissing { .. })));
    fs::write(home.join("version"), "bulbil-home/2\n").unwrap();
    assert!(matches!(Store::open(&home, None).await, Err(StoreError::NewerHome { .. })));
    fs::write(home.join("version"), "something").unwrap();
    assert!(matches!(Store::open(&home, None).await, Err(StoreError::NotAHome { .. })));
}

#[tokio::test]
async fn r7_whatever_becomes_of_the_index_it_is_said_and_made_anew() {
    let test = TestStore::new().await;
    let home = test.home();
    let notes = test.collection("notes").await;
    test.snapshot(MakeSnapshot::new(notes.id, 1, &[("r/a", b"one")])).await;
    let live = test.store.index.dump().await.unwrap();
    test.store.index.close().await;
    let index = home.join("index.db");
    let sound = fs::read(&index).unwrap();
    let damages: [Option<Vec<u8>>; 6] = [
        None,
        Some(vec![]),
        Some(b"garbage ".repeat(2000)),
        Some(sound[..100].to_vec()),
        Some(sound[..sound.len() / 2].to_vec()),
        Some([&sound[..4096], &[0xa5; 4096].repeat(sound.len() / 4096 - 1)[..]].concat()),
    ];
    for (at, damage) in damages.into_iter().enumerate() {
        match damage {
            None => fs::remove_file(&index).unwrap(),
            Some(bytes) => fs::write(&index, bytes).unwrap(),
        }
        let error = match Store::open(&home, None).await {
            Err(error) => error,
            Ok(store) => {
                let error = store.index.dump().await.expect_err("the damage is noticed when it is read").into();
                store.index.close().await;
                error
            }
        };
        let StoreError::Index(IndexError::Missing | IndexError::Damaged(_)) = error else { panic!("{at}: {error:?}") };
        assert!(error.to_string().contains("bulbil rebuild"), "{error}");
        let (store, report) = Store::rebuild(&home, None).await.unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
        assert_eq!(store.index.dump().await.unwrap(), live);
        store.index.close().await;
    }
}

#[tokio::test]
async fn one_at_a_time_and_a_server_that_is_gone_is_not_shown() {
    let test = TestStore::new().await;
    let store = &test.store;
    let lock = store.lock_backup().unwrap();
    let busy = store.lock_backup().unwrap_err();
    assert!(busy.to_string().contains(&std::process::id().to_string()), "{busy}");
    assert!(matches!(Store::rebuild(&test.home(), None).await, Err(StoreError::Busy { .. })));
    drop(lock);
    store.lock_backup().unwrap();
    assert_eq!(store.running_server(), None);
    let info =
        ServerInfo { pid: std::process::id(), admin_address: Some("a".into()), admin_socket: None, peer_address: None };
    let lock = store.lock_server(&info).unwrap();
    assert_eq!(store.running_server(), Some(info.clone()));
    assert!(matches!(store.lock_server(&info), Err(StoreError::Busy { .. })));
    drop(lock);
    assert_eq!(store.running_server(), None);
}

#[tokio::test]
async fn manifests_are_saved_checked_and_removed() {
    let test = TestStore::new().await;
    let files = &test.store.manifests;
    let notes = test.collection("notes").await;
    let made = test.snapshot(MakeSnapshot::new(notes.id, 1, &[])).await;
    let id = made.signed.id;
    assert_eq!(files.load(&id).unwrap(), (made.signed.clone(), made.envelopes.clone()));
    files.save_envelopes(&id, &[]).unwrap();
    assert_eq!(files.load_envelopes(&id).unwrap(), []);
    assert_eq!(files.list().unwrap(), [id]);
    fs::write(files.path(&id), b"{}").unwrap();
    assert!(matches!(files.load(&id), Err(ManifestFileError::Damaged { .. })));
    files.remove(&id).unwrap();
    files.remove(&id).unwrap();
    assert!(matches!(files.load(&id), Err(ManifestFileError::Missing { .. })));
    assert_eq!(files.list().unwrap(), []);
}

#[tokio::test]
async fn a_tree_is_walked_in_order_and_only_where_it_is_wanted() {
    let test = TestStore::new().await;
    let notes = test.collection("notes").await;
    let files: [(&str, &[u8]); 6] =
        [("r/a", b"1"), ("r/b/x", b"2"), ("r/b/y", b"3"), ("r/b-c", b"4"), ("r/d", b"5"), ("r/e", b"6")];
    let made = test.snapshot(MakeSnapshot::new(notes.id, 1, &files)).await;
    let path = |text: &str| TreePath::new(text.as_bytes().to_vec()).unwrap();
    let chunks = test.store.chunks.as_ref();
    let mut reader = TreeReader::new(chunks, notes.id, made.root.clone());
    let mut walk = |within: Option<&str>| {
        let mut seen = Vec::new();
        let within = within.map(path);
        reader
            .walk::<TreeError>(within.as_ref(), |entry| {
                seen.push(entry.path.to_string());
                Ok(())
            })
            .unwrap();
        seen
    };
    assert_eq!(walk(None), ["r/a", "r/b/x", "r/b/y", "r/b-c", "r/d", "r/e"]);
    assert_eq!(walk(Some("r")).len(), 6);
    assert_eq!(walk(Some("r/b")), ["r/b/x", "r/b/y"]);
    assert_eq!(walk(Some("r/b/y")), ["r/b/y"]);
    assert_eq!(walk(Some("r/c")), Vec::<String>::new());
    assert_eq!(walk(Some("q")), Vec::<String>::new());
    assert!(reader.find(&path("r/b-c")).unwrap().is_some());
    assert!(reader.find(&path("r/b")).unwrap().is_none());
    let mut refs = std::collections::BTreeSet::new();
    reader.chunk_refs(&mut Default::default(), |_, chunk| refs.extend([chunk.id])).unwrap();
    assert_eq!(refs, made.chunks().into_iter().map(|(id, _)| id).collect());

    // A lost metadata chunk is named, and only those paths suffer that it holds.
    let lost = made.new_chunks.last().unwrap().id;
    test.store.chunks.remove(&lost).unwrap();
    let mut reader = TreeReader::new(chunks, notes.id, made.root.clone());
    assert!(reader.find(&path("r/a")).unwrap().is_some());
    reader.seek(None);
    let results: Vec<_> = reader.by_ref().collect();
    assert_eq!(results.len(), 5);
    assert!(matches!(results.last(), Some(Err(TreeError::Missing { id })) if *id == lost));
}

/// One step of a random history.
#[derive(Debug, Clone)]
enum Step {
    Snapshot { collection: usize, files: Vec<(u8, u8)>, partial: bool },
    Pull { collection: usize, files: Vec<(u8, u8)>, arrived: usize },
    Peer,
    Rename,
    Standby,
    Mark { collection: usize, pinned: bool },
    Retention,
    Remove { collection: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let files = || prop::collection::btree_map(0u8..8, 0u8..6, 0..5).prop_map(|files| files.into_iter().collect());
    prop_oneof![
        4 => (0usize..2, files(), any::<bool>())
            .prop_map(|(collection, files, partial)| Step::Snapshot { collection, files, partial }),
        2 => (0usize..2, files(), 0usize..12)
            .prop_map(|(collection, files, arrived)| Step::Pull { collection, files, arrived }),
        1 => Just(Step::Peer),
        1 => Just(Step::Rename),
        1 => Just(Step::Standby),
        1 => (0usize..2, any::<bool>()).prop_map(|(collection, pinned)| Step::Mark { collection, pinned }),
        1 => Just(Step::Retention),
        2 => (0usize..2).prop_map(|collection| Step::Remove { collection }),
    ]
}

async fn replay(test: &TestStore, steps: &[Step]) {
    let store = &test.store;
    let own = [test.collection("one").await.id, test.collection("two").await.id];
    let identity = IdentityKey::random(&mut entropy());
    let theirs = [CollectionId::random(&mut entropy()), CollectionId::random(&mut entropy())];
    let source = test.peer("source").await;
    let mut last: [Option<Made>; 2] = [None, None];
    let mut pulled = [0u64; 2];
    for (at, step) in steps.iter().enumerate() {
        let named = |files: &[(u8, u8)]| -> Vec<(String, Vec<u8>)> {
            files.iter().map(|(name, content)| (format!("r/{name}"), vec![*content + 1; 100])).collect()
        };
        match step {
            Step::Snapshot { collection, files, partial } => {
                let files = named(files);
                let files: Vec<_> = files.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
                let sequence = store.index.next_sequence(&own[*collection]).await.unwrap();
                let base = last[*collection].as_ref();
                let old = base.filter(|base| base.signed.manifest.partial).map(|base| base.signed.id);
                let make = MakeSnapshot::new(own[*collection], sequence, &files);
                let made = test.snapshot(MakeSnapshot { base, partial: *partial, supersedes: old, ..make }).await;
                if let Some(old) = old {
                    store.manifests.remove(&old).unwrap();
                }
                last[*collection] = Some(made);
            }
            Step::Pull { collection, files, arrived } => {
                let files = named(files);
                let files: Vec<_> = files.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
                pulled[*collection] += 1;
                let make = MakeSnapshot::new(theirs[*collection], pulled[*collection], &files);
                let made = make.make(&identity, None, identity.public().instance());
                store.manifests.save(&made.signed, &[]).unwrap();
                store.index.note_page(&source.id, std::slice::from_ref(&made.signed), cursor(at as u64)).await.unwrap();
                for segment in made.segments.iter().take(*arrived) {
                    store.chunks.write(&segment.id, &segment.encode()).unwrap();
                    store.index.note_segment(segment).await.unwrap();
                }
                for (id, bytes) in made.stored.iter().take(*arrived) {
                    store.chunks.write(id, bytes).unwrap();
                    store.index.chunks_arrived(&[(*id, bytes.len() as u32)]).await.unwrap();
                }
            }
            Step::Peer => {
                let mirror = Scope::Only(BTreeSet::from([theirs[at % 2]]));
                store.index.save_peer(&Peer { follow: false, mirror, ..peer(&format!("peer{at}")) }).await.unwrap();
            }
            Step::Rename => store.index.rename(&own[0], &format!("name{at}")).await.unwrap(),
            Step::Standby => {
                let settings = StandbySettings { into: format!("/srv/{at}%\u{e4}").into(), hook: None };
                store.index.set_standby(&own[at % 2], Some(&settings)).await.unwrap();
            }
            Step::Mark { collection, pinned } => {
                let Some(made) = &last[*collection] else { continue };
                let tag = format!("t{at}").parse().unwrap();
                let change = |mark: &mut Mark| {
                    mark.pinned = *pinned;
                    mark.tags.insert(tag);
                };
                store.index.mark(&made.signed.id, change).await.unwrap();
                store.index.note_verified(&[made.signed.id], made.signed.manifest.created_at).await.unwrap();
            }
            Step::Retention => {
                let retention = Retention { zone: format!("Zone/{at}"), ..Retention::default() };
                store.index.set_retention(&own[at % 2], Some(&retention)).await.unwrap();
                let upkeep = Upkeep { rpo_hours: Some(at as u32 + 1), ..Upkeep::default() };
                store.index.set_upkeep(&own[(at + 1) % 2], &upkeep).await.unwrap();
            }
            Step::Remove { collection } => {
                // All but the newest one, of our own and of theirs; some may be pinned.
                for id in [own[*collection], theirs[*collection]] {
                    let mut snapshots = store.index.snapshots(Some(&id)).await.unwrap();
                    snapshots.pop();
                    let ids: Vec<_> = snapshots.iter().map(|snapshot| snapshot.id).collect();
                    for id in store.index.remove_snapshots(&ids).await.unwrap() {
                        store.manifests.remove(&id).unwrap();
                    }
                }
                let now = "2026-11-23T00:00:00Z".parse().unwrap();
                store.index.note_unnamed(now).await.unwrap();
                let mut files = Vec::new();
                store.chunks.list(&mut |id, size| files.push((id, size))).unwrap();
                store.index.note_unknown(&files, now).await.unwrap();
                assert!(!store.sweep(now, || false).await.unwrap().postponed);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn r7_a_rebuilt_index_equals_the_live_one(steps in prop::collection::vec(step(), 0..10)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let test = TestStore::new().await;
            replay(&test, &steps).await;
            let live = test.store.index.dump().await.unwrap();
            let seen: Fingerprint = test.store.index.fingerprint(&everything()).await.unwrap();
            let feed = test.store.index.feed_id().await.unwrap();
            test.store.index.close().await;
            let (store, report) = Store::rebuild(&test.home(), None).await.unwrap();
            assert_eq!(report.problems, Vec::<String>::new());
            assert_eq!(store.index.dump().await.unwrap(), live);
            assert_eq!(store.index.fingerprint(&everything()).await.unwrap(), seen);
            assert_ne!(store.index.feed_id().await.unwrap(), feed, "positions of the old feed mean nothing any more");
        });
    }
}

#[tokio::test]
async fn a_rebuild_reports_what_it_could_not_take_over() {
    let test = TestStore::new().await;
    let notes = test.collection("notes").await;
    let first = test.snapshot(MakeSnapshot::new(notes.id, 1, &[("r/a", b"one")])).await;
    let second = test.snapshot(MakeSnapshot::new(notes.id, 2, &[("r/a", b"two")])).await;
    fs::write(test.store.manifests.path(&first.signed.id), b"{}").unwrap();
    let lost: ChunkId = second.chunks()[0].0;
    test.store.chunks.remove(&lost).unwrap();
    test.store.index.close().await;
    let (store, report) = Store::rebuild(&test.home(), None).await.unwrap();
    assert_eq!((report.collections, report.snapshots, report.problems.len()), (1, 1, 1), "{report:?}");
    assert!(!store.index.snapshot(&second.signed.id).await.unwrap().unwrap().complete);
    assert_eq!(store.index.missing_chunks(None, 10).await.unwrap(), [second.chunks()[0]]);
    assert_eq!(store.keys.instance(), test.store.keys.instance());
}

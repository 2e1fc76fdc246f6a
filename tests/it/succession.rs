//! Somebody takes over: heirs, followers, the former leader that comes back, and those who join later.

use std::collections::BTreeSet;
use std::sync::Arc;

use bulbil::backup::create::{CreateError, create};
use bulbil::backup::select;
use bulbil::domain::crypto::secret::Secret;
use bulbil::domain::crypto::sign::IdentityKey;
use bulbil::domain::id::ManifestId;
use bulbil::domain::peer::{Role, Trust};
use bulbil::domain::succession::renewal;
use bulbil::monitor::Tally;
use bulbil::replicate::pull::{PullError, Retry};
use bulbil::replicate::succession::{SuccessionError, appoint, hear, promote, renew_appointments, withdraw};
use bulbil::store::index::{Collection, CollectionSettings, Peer, Root, Topic};
use bulbil::store::{Rotate, Store, entropy};
use bulbil::transport::memory::{Fault, MemoryNet};

use crate::replicate::{Instance, never};

/// alpha leads, beta is its heir, gamma follows both.
struct Three {
    net: MemoryNet,
    a: Instance,
    b: Instance,
    c: Instance,
    /// alpha, as beta and gamma know it.
    a_of_b: Peer,
    a_of_c: Peer,
    /// beta, as gamma knows it.
    b_of_c: Peer,
    first: ManifestId,
}

impl Three {
    async fn new() -> Self {
        let net = MemoryNet::new();
        let (a, b) = (Instance::new(&net, "alpha", 1).await, Instance::new(&net, "beta", 2).await);
        let c = Instance::new(&net, "gamma", 3).await;
        let notes = a.collection("notes").await;
        a.put("notes/one", 1, 200_000);
        let first = a.backup(&notes).await;
        let a_of_b = a.let_in(&b, Role::Reader, true).await;
        let a_of_c = a.let_in(&c, Role::Reader, false).await;
        let b_of_c = b.let_in(&c, Role::Reader, false).await;
        let heirs = BTreeSet::from([b.store.keys.instance()]);
        appoint(&a.store, &notes, heirs, a.clock_now()).await.unwrap();
        pull(&b, &a_of_b).await;
        pull(&c, &a_of_c).await;
        Self { net, a, b, c, a_of_b, a_of_c, b_of_c, first }
    }
}

/// Syncs and fetches.
async fn pull(instance: &Instance, peer: &Peer) {
    tries_to_pull(instance, peer).await.unwrap();
}

async fn tries_to_pull(instance: &Instance, peer: &Peer) -> Result<(), PullError> {
    instance.sync(peer).await?;
    instance.puller.fetch(None, std::slice::from_ref(peer), &never()).await.map(drop)
}

async fn notes(store: &Store) -> Collection {
    select::collection(store, "notes").await.unwrap()
}

/// A folder with something new in it, to be backed up by whoever takes over.
fn folder(instance: &Instance, seed: u64) -> CollectionSettings {
    let path = instance.dir.path().join("laid-out");
    std::fs::create_dir_all(&path).unwrap();
    instance.put("laid-out/two", seed, 100_000);
    CollectionSettings {
        application: None,
        roots: vec![Root { name: "notes".into(), path }],
        excludes: vec![],
        level: 3,
        padding: Default::default(),
        kind: Default::default(),
    }
}

async fn take_over(instance: &Instance, seed: u64) -> ManifestId {
    let settings = folder(instance, seed);
    promote(&instance.store, &notes(&instance.store).await, &settings, instance.clock_now()).await.unwrap();
    instance.backup(&notes(&instance.store).await).await
}

/// Number and id of all snapshots, whether they stand beside the line, and whether they are whole.
async fn told(instance: &Instance) -> Vec<(u64, ManifestId, bool, bool)> {
    let snapshots = instance.store.index.snapshots(None).await.unwrap();
    let mut told: Vec<_> = snapshots.iter().map(|s| (s.sequence, s.id, s.beside, s.complete)).collect();
    told.sort();
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn an_heir_takes_over_peers_follow_and_the_former_leader_goes_read_only_without_losing_anything() {
    let Three { net, a, b, c, a_of_b, a_of_c, b_of_c, first } = Three::new().await;
    // alpha dies.
    let alpha = a.store.keys.instance();
    let (dir, _) = a.ended().await;
    assert!(b.sync(&a_of_b).await.is_err());
    let feed_before = b.store.index.feed_id().await.unwrap();
    let second = take_over(&b, 2).await;
    assert_ne!(b.store.index.feed_id().await.unwrap(), feed_before);
    pull(&c, &b_of_c).await;
    assert_eq!(notes(&c.store).await.origin, b.store.keys.instance());
    assert_eq!(told(&c).await, [(1, first, false, true), (2, second, false, true)]);
    c.restores(&second, &b.dir.path().join("laid-out")).await;

    // alpha wakes up, knows nothing, and goes on. gamma takes what it made, too.
    let store = Store::open(&dir.path().join("home"), None).await.unwrap();
    let a = Instance::around(&net, dir, store, 1);
    a.put("notes/three", 3, 50_000);
    let astray = a.backup(&notes(&a.store).await).await;
    pull(&c, &a_of_c).await;
    let mut all = vec![(1, first, false, true), (2, second, false, true), (2, astray, true, true)];
    all.sort();
    assert_eq!(told(&c).await, all);
    c.restores(&astray, &a.dir.path().join("notes")).await;
    // gamma has told it already.
    assert_eq!(notes(&a.store).await.origin, b.store.keys.instance());
    let refused = create(&a.store, &notes(&a.store).await, &*a.clock, Arc::new(Tally::default()), &never()).await;
    assert!(matches!(refused, Err(CreateError::LedBy { .. })), "{refused:?}");
    // Its heir has what it made meanwhile, and what is newest is the heir's.
    pull(&b, &a_of_b).await;
    assert_eq!(told(&b).await, all);
    assert_eq!(select::snapshot(&c.store, "notes").await.unwrap().id, second);
    assert_eq!(select::snapshot(&c.store, "notes@2").await.unwrap().id, second);

    // The way back: beta appoints alpha, which follows it and takes over again.
    let granted = a.store.index.peer(&b.store.keys.instance()).await.unwrap().unwrap().trust;
    let b_of_a = Peer { trust: granted, ..b.let_in(&a, Role::Reader, false).await };
    a.store.index.save_peer(&b_of_a).await.unwrap();
    appoint(&b.store, &notes(&b.store).await, BTreeSet::from([alpha]), b.clock_now()).await.unwrap();
    pull(&a, &b_of_a).await;
    let fourth = take_over(&a, 4).await;
    pull(&b, &a_of_b).await;
    pull(&c, &a_of_c).await;
    for instance in [&a, &b, &c] {
        assert_eq!(notes(&instance.store).await.origin, alpha);
        assert_eq!(select::snapshot(&instance.store, "notes").await.unwrap().id, fourth);
        assert_eq!(told(instance).await.len(), 4);
    }
    // R7: a rebuilt index says the same.
    c.rebuilds_alike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_joins_after_a_takeover_gets_everything_and_an_idle_sync_stays_one_request() {
    let Three { net, b, c, b_of_c, first, .. } = Three::new().await;
    let second = take_over(&b, 2).await;
    let d = Instance::new(&net, "delta", 4).await;
    let b_of_d = b.let_in(&d, Role::Reader, false).await;
    pull(&d, &b_of_d).await;
    assert_eq!(told(&d).await, [(1, first, false, true), (2, second, false, true)]);
    pull(&c, &b_of_c).await;
    // Now that delta knows the collection, it tells beta once what it has heard of it.
    d.sync(&b_of_d).await.unwrap();
    for (instance, peer) in [(&d, &b_of_d), (&c, &b_of_c)] {
        assert_eq!(instance.sync(peer).await.unwrap().requests, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_over_who_was_not_appointed_or_is_no_more() {
    let Three { a, b, c, a_of_b, .. } = Three::new().await;
    let settings = folder(&c, 2);
    let refused = promote(&c.store, &notes(&c.store).await, &settings, c.clock_now()).await;
    assert!(matches!(refused, Err(SuccessionError::NotAppointed(_))), "{refused:?}");
    let own = promote(&a.store, &notes(&a.store).await, &settings, a.clock_now()).await;
    assert!(matches!(own, Err(SuccessionError::LeadsAlready(_))), "{own:?}");
    assert_eq!(withdraw(&a.store, &b.store.keys.instance(), a.clock_now()).await.unwrap(), 1);
    b.sync(&a_of_b).await.unwrap();
    let refused = promote(&b.store, &notes(&b.store).await, &settings, b.clock_now()).await;
    assert!(matches!(refused, Err(SuccessionError::NotAppointed(_))), "{refused:?}");
    assert_eq!(notes(&b.store).await.origin, a.store.keys.instance());
}

/// The heir dies at any byte of its telling: in the end both know, and neither has lost a snapshot.
#[tokio::test(flavor = "multi_thread")]
async fn cut_anywhere_while_the_news_spread_both_sides_know_in_the_end() {
    for at in [1u64, 300, 700, 1500, 2500, 4000, 9000, 20_000, 60_000] {
        let Three { net, a, b, c, a_of_b, b_of_c, first, .. } = Three::new().await;
        a.put("notes/three", 3, 50_000);
        let astray = a.backup(&notes(&a.store).await).await;
        let second = take_over(&b, 2).await;
        net.reset();
        net.strike(Fault::Cut, at);
        while tries_to_pull(&b, &a_of_b).await.is_err() {}
        while tries_to_pull(&c, &b_of_c).await.is_err() {}
        assert!(!net.has_faults_left());
        let mut all = vec![(1, first, false, true), (2, second, false, true), (2, astray, true, true)];
        all.sort();
        assert_eq!(told(&b).await, all, "cut at {at}");
        assert_eq!(told(&c).await.len(), 3, "cut at {at}");
        assert_eq!(notes(&a.store).await.origin, b.store.keys.instance(), "cut at {at}");
    }
}

/// The same home under other keys, in another process.
async fn rotated(instance: Instance, port: u16, which: Rotate) -> Instance {
    let now = instance.clock_now();
    let (dir, net) = instance.ended().await;
    let store = Store::rotate_keys(&dir.path().join("home"), None, which, now).await.unwrap();
    Instance::around(&net, dir, store, port)
}

const IDENTITY: Rotate = Rotate { envelope: false, identity: true };
const BOTH: Rotate = Rotate { envelope: true, identity: true };

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_goes_on_under_another_key_is_followed_by_its_peers() {
    let Three { a, b, a_of_b, first, .. } = Three::new().await;
    let former = a.store.keys.instance();
    let a = rotated(a, 1, IDENTITY).await;
    assert_ne!(a.store.keys.instance(), former);
    let collection = notes(&a.store).await;
    assert_eq!(collection.origin, a.store.keys.instance());
    a.put("notes/two", 2, 50_000);
    let second = a.backup(&collection).await;
    // beta knows it under its former id.
    let report = b.sync(&a_of_b).await.unwrap();
    assert_eq!((report.new_snapshots, report.keys), (vec![second], 1));
    assert!(b.store.index.peer(&former).await.unwrap().is_none());
    let peer = b.store.index.peer(&a.store.keys.instance()).await.unwrap().unwrap();
    assert_eq!((peer.name.as_str(), &peer.address), ("alpha", &a_of_b.address));
    b.puller.fetch(None, std::slice::from_ref(&peer), &never()).await.unwrap();
    assert_eq!(told(&b).await, [(1, first, false, true), (2, second, false, true)]);
    b.restores(&second, &a.dir.path().join("notes")).await;
    assert_eq!(b.sync(&peer).await.unwrap().requests, 1);
    // Killed before it said anew who its heirs are: what the former key said holds until then. Once is enough.
    assert_eq!(renew_appointments(&a.store, a.clock_now()).await.unwrap(), 1);
    assert_eq!(renew_appointments(&a.store, a.clock_now()).await.unwrap(), 0);
    b.sync(&peer).await.unwrap();
    assert_eq!(withdraw(&a.store, &b.store.keys.instance(), a.clock_now()).await.unwrap(), 1);
    b.sync(&peer).await.unwrap();
    let refused = promote(&b.store, &notes(&b.store).await, &folder(&b, 9), b.clock_now()).await;
    assert!(matches!(refused, Err(SuccessionError::NotAppointed(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_heir_takes_over_from_a_leader_that_died_in_the_middle_of_changing_its_key() {
    let Three { a, b, c, a_of_b, b_of_c, first, .. } = Three::new().await;
    let a = rotated(a, 1, IDENTITY).await;
    b.sync(&a_of_b).await.unwrap();
    assert_eq!(notes(&b.store).await.origin, a.store.keys.instance());
    let second = take_over(&b, 9).await;
    pull(&c, &b_of_c).await;
    assert_eq!(told(&c).await, [(1, first, false, true), (2, second, false, true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_heir_that_changed_its_key_since_it_was_appointed_takes_over() {
    let Three { a, b, c, a_of_b, b_of_c, first, .. } = Three::new().await;
    let b = rotated(b, 2, IDENTITY).await;
    b.sync(&a_of_b).await.unwrap();
    drop(a);
    let second = take_over(&b, 2).await;
    pull(&c, &b_of_c).await;
    assert_eq!(notes(&c.store).await.origin, b.store.keys.instance());
    assert_eq!(told(&c).await, [(1, first, false, true), (2, second, false, true)]);
}

/// It changes its key before it hears that its heir leads: what it makes is kept, and its feed is not refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_former_leader_with_another_key_is_still_pulled_from() {
    let Three { a, b, c, a_of_c, b_of_c, first, .. } = Three::new().await;
    let second = take_over(&b, 2).await;
    pull(&c, &b_of_c).await;
    a.clock.set("2026-11-22T12:00:00Z".parse().unwrap());
    let a = rotated(a, 1, IDENTITY).await;
    a.put("notes/three", 3, 50_000);
    let astray = a.backup(&notes(&a.store).await).await;
    let other = a.collection("other").await;
    a.put("other/one", 4, 1000);
    let other = a.backup(&other).await;
    let new = c.sync(&a_of_c).await.unwrap().new_snapshots;
    assert_eq!(BTreeSet::from_iter(new), BTreeSet::from([astray, other]));
    let a_of_c = c.store.index.peer(&a.store.keys.instance()).await.unwrap().unwrap();
    pull(&c, &a_of_c).await;
    let all = told(&c).await;
    for expected in [(1, first, false, true), (2, second, false, true), (2, astray, true, true)] {
        assert!(all.contains(&expected), "{all:?}");
    }
    // It has heard, under its new key.
    assert_eq!(notes(&a.store).await.origin, b.store.keys.instance());
    // R7: a rebuilt index says the same.
    c.rebuilds_alike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_stole_the_key_cannot_tell_the_instance_itself_where_it_goes_on() {
    let Three { a, b, .. } = Three::new().await;
    let thief = IdentityKey::random(&mut entropy());
    let stolen = renewal(&a.store.keys.identity, &thief, a.clock_now());
    let from = b.store.keys.instance();
    hear(&a.store, std::slice::from_ref(&stolen), |_| true, &from).await.unwrap();
    assert_eq!(notes(&a.store).await.origin, a.store.keys.instance());
    // Those who hear it from the thief first believe it; they do not get it from here.
    hear(&b.store, &[stolen], |_| true, &from).await.unwrap();
    assert_eq!(notes(&b.store).await.origin, thief.public().instance());

    // One that was believed before is thrown out as soon as the key is replaced.
    let forged = renewal(&a.store.keys.identity, &thief, a.clock_now()).verify().unwrap();
    a.store.index.add_statements(&[forged]).await.unwrap();
    let a = rotated(a, 1, IDENTITY).await;
    assert_eq!(notes(&a.store).await.origin, a.store.keys.instance());
}

/// Both made snapshots under the same numbers; what the former leader made astray does not become the newest when it leads again.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_astray_stays_beside_the_line_when_its_maker_leads_again() {
    let Three { a, b, c, a_of_c, b_of_c, first, .. } = Three::new().await;
    let second = take_over(&b, 2).await;
    let mut astray = Vec::new();
    for seed in 3..6 {
        a.put("notes/three", seed, 50_000);
        astray.push(a.backup(&notes(&a.store).await).await);
    }
    let granted = a.store.index.peer(&b.store.keys.instance()).await.unwrap().unwrap().trust;
    let b_of_a = Peer { trust: granted, ..b.let_in(&a, Role::Reader, false).await };
    a.store.index.save_peer(&b_of_a).await.unwrap();
    appoint(&b.store, &notes(&b.store).await, BTreeSet::from([a.store.keys.instance()]), b.clock_now()).await.unwrap();
    pull(&a, &b_of_a).await;
    assert_eq!(notes(&a.store).await.origin, b.store.keys.instance());
    let fifth = take_over(&a, 7).await;
    pull(&c, &b_of_c).await;
    pull(&c, &a_of_c).await;
    let mut all = vec![(1, first, false, true), (2, second, false, true), (5, fifth, false, true)];
    all.extend(astray.iter().zip(2..).map(|(id, n)| (n, *id, true, true)));
    all.sort();
    assert_eq!(told(&a).await, all);
    assert_eq!(told(&c).await, all);
    assert_eq!(select::snapshot(&c.store, "notes@2").await.unwrap().id, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_was_under_way_when_the_takeover_came_is_kept_beside_the_line() {
    let Three { a, b, c, a_of_b, a_of_c, .. } = Three::new().await;
    let under_way = notes(&a.store).await;
    take_over(&b, 2).await;
    pull(&b, &a_of_b).await;
    assert_eq!(notes(&a.store).await.origin, b.store.keys.instance());
    a.put("notes/three", 3, 50_000);
    let created = create(&a.store, &under_way, &*a.clock, Arc::new(Tally::default()), &never()).await.unwrap();
    assert!(created.beside);
    pull(&c, &a_of_c).await;
    assert!(told(&c).await.contains(&(2, created.id, true, true)));
    c.restores(&created.id, &a.dir.path().join("notes")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn naming_heirs_without_end_says_so() {
    let net = MemoryNet::new();
    let a = Instance::new(&net, "alpha", 1).await;
    let collection = a.collection("notes").await;
    let heir = |n: u8| BTreeSet::from([IdentityKey::from_seed(&Secret::from_bytes([n; 32])).public().instance()]);
    for n in 1..=64 {
        appoint(&a.store, &collection, heir(n), a.clock_now()).await.unwrap();
    }
    let refused = appoint(&a.store, &collection, heir(65), a.clock_now()).await;
    assert!(
        matches!(&refused, Err(error @ SuccessionError::NotKept(_)) if error.to_string().contains("rotate-key")),
        "{refused:?}"
    );
    // As it says.
    let a = rotated(a, 1, IDENTITY).await;
    renew_appointments(&a.store, a.clock_now()).await.unwrap();
    appoint(&a.store, &notes(&a.store).await, heir(65), a.clock_now()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn r3_a_reader_with_other_keys_shows_them_by_itself_and_goes_on_reading() {
    let Three { a, b, a_of_b, .. } = Three::new().await;
    let former = b.store.keys.instance();
    let b = rotated(b, 2, BOTH).await;
    a.put("notes/two", 2, 50_000);
    let second = a.backup(&notes(&a.store).await).await;
    let report = b.sync(&a_of_b).await.unwrap();
    assert_eq!((report.new_snapshots, report.keys), (vec![second], 1));
    let known = a.store.index.peer(&b.store.keys.instance()).await.unwrap().unwrap();
    assert_eq!(known.identity.verify(None).unwrap().key_version, 2);
    assert!(a.store.index.peer(&former).await.unwrap().is_none());
    assert_eq!(b.sync(&a_of_b).await.unwrap().requests, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn r6_whoever_was_revoked_stays_out_under_another_key() {
    let Three { a, b, a_of_b, .. } = Three::new().await;
    let known = a.store.index.peer(&b.store.keys.instance()).await.unwrap().unwrap();
    a.store.index.save_peer(&Peer { trust: Trust::Revoked, ..known }).await.unwrap();
    let b = rotated(b, 2, IDENTITY).await;
    let refused = b.sync(&a_of_b).await;
    assert!(matches!(&refused, Err(error) if error.retry() == Retry::Never), "{refused:?}");
    assert!(a.store.index.peer(&b.store.keys.instance()).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_to_a_peer_is_told_again_after_it_did_not_know_us() {
    let Three { a, b, a_of_b, .. } = Three::new().await;
    let known = a.store.index.peer(&b.store.keys.instance()).await.unwrap().unwrap();
    assert!(b.store.index.told(&a_of_b.id, Topic::Succession).await.unwrap().is_some());
    a.store.index.save_peer(&Peer { trust: Trust::Revoked, ..known }).await.unwrap();
    assert!(b.sync(&a_of_b).await.is_err());
    assert_eq!(b.store.index.told(&a_of_b.id, Topic::Succession).await.unwrap(), None);
}

//! A disk that rots: what is lost is found, put aside, and comes back from whoever keeps a copy.

use std::sync::{Arc, Mutex};

use bulbil::backup::verify::{VerifyOptions, verify};
use bulbil::clock::Clock;
use bulbil::domain::id::ChunkId;
use bulbil::domain::peer::{Rights, Role, Trust};
use bulbil::domain::scrub::Policy;
use bulbil::monitor::Tally;
use bulbil::replicate::call::Callee;
use bulbil::replicate::pull::PullError;
use bulbil::store::index::Peer;
use bulbil::store::{ChunkStore, ChunkStoreError, Store};
use bulbil::transport::memory::{Fault, MemoryNet};
use bulbil::worker::scrub::{Scrubbed, Scrubber};

use crate::replicate::{Instance, never, noise, small_source, wait_for};

/// A mirror that keeps everything and whose address its source knows; as a peer of the source.
async fn mirror(net: &MemoryNet, source: &Instance, name: &str, port: u16) -> (Instance, Peer) {
    let mirror = Instance::new(net, name, port).await;
    let peer = source.let_in(&mirror, Role::Mirror, false).await;
    mirror.sync(&peer).await.unwrap();
    mirror.puller.fetch(None, &[peer], &never()).await.unwrap();
    let id = mirror.store.keys.instance();
    let known = source.store.index.peer(&id).await.unwrap().unwrap();
    let known = Peer { address: Some(mirror.address.clone()), ..known };
    source.store.index.save_peer(&known).await.unwrap();
    (mirror, known)
}

fn file(instance: &Instance, id: &ChunkId) -> std::path::PathBuf {
    let name = id.to_string();
    instance.dir.path().join("home/chunks").join(&name[..2]).join(&name[2..4]).join(name)
}

fn flip(instance: &Instance, id: &ChunkId) -> Vec<u8> {
    let mut bytes = std::fs::read(file(instance, id)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file(instance, id), &bytes).unwrap();
    bytes
}

fn scrubber(instance: &Instance) -> Scrubber {
    Scrubber::new(instance.puller.clone(), Policy::default())
}

async fn pass(instance: &Instance) -> Scrubbed {
    scrubber(instance).pass(&[], &Tally::default(), &never()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_whose_disk_rots_heals_from_its_blind_mirrors_though_one_lies() {
    let net = MemoryNet::new();
    let (a, id) = small_source(&net).await;
    let (b, liar) = mirror(&net, &a, "beta", 2).await;
    let (c, _) = mirror(&net, &a, "gamma", 3).await;
    let objects = a.store.index.present_chunks().await.unwrap();
    assert!(objects.len() > 4);

    // Every kind of damage: a flipped byte, another length, a file that is gone; and one mirror's disk is as bad.
    let mut bad = Vec::new();
    for (n, object) in objects.iter().enumerate() {
        match n % 3 {
            0 => bad.push((*object, flip(&a, object))),
            1 => {
                std::fs::write(file(&a, object), noise(7, 5_000_000)).unwrap();
                bad.push((*object, noise(7, 5_000_000)));
            }
            _ => std::fs::remove_file(file(&a, object)).unwrap(),
        }
        flip(&b, object);
    }
    let found = pass(&a).await;
    assert_eq!((found.objects, found.findings.len()), (objects.len() as u64, objects.len()));
    assert!(!a.store.index.snapshot(&id).await.unwrap().unwrap().complete);
    for (object, bytes) in &bad {
        let kept = a.dir.path().join("home/quarantine").join(object.to_string());
        assert_eq!(std::fs::read(kept).unwrap(), *bytes, "quarantine keeps the bad bytes for a look");
    }

    let healed = a.puller.heal(&never()).await.unwrap();
    assert_eq!(healed.still_missing, 0);
    assert!(a.store.index.snapshot(&id).await.unwrap().unwrap().complete);
    a.restores(&id, &a.dir.path().join("notes")).await;
    assert_eq!(pass(&a).await.findings, []);
    let (lies, error) = (healed.bad, a.last_error(&liar).await);
    assert!(lies.iter().all(|(peer, _)| *peer == liar.id), "{lies:?}");
    assert_eq!(lies.is_empty(), error.is_none(), "a bad chunk is remembered against the peer that sent it");
    drop(c);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_chunk_that_a_mirror_sends_is_remembered_against_it() {
    let net = MemoryNet::new();
    let (a, _) = small_source(&net).await;
    let (b, liar) = mirror(&net, &a, "beta", 2).await;
    let missing = a.store.index.missing_chunks(None, 10).await.unwrap();
    assert_eq!(missing, []);
    let object = largest(&a).await;
    flip(&a, &object);
    let lie = flip(&b, &object);
    pass(&a).await;
    let healed = a.puller.heal(&never()).await.unwrap();
    assert_eq!((healed.still_missing, &healed.bad[..]), (1, &[(liar.id, object)][..]));
    assert!(a.last_error(&liar).await.unwrap().contains("wrong chunk"));
    assert_ne!(std::fs::read(file(&a, &object)).ok(), Some(lie), "a wrong byte is never stored");

    // The mirror finds it, too, and gets it from nobody: it is lost to both, and said so.
    assert_eq!(pass(&b).await.findings.len(), 1);
    assert_eq!(b.store.index.scrub_state(b.clock.now(), 5).await.unwrap().lost, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_dies_at_any_moment_of_healing_loses_nothing() {
    let net = MemoryNet::new();
    let (a, id) = small_source(&net).await;
    let (_b, _) = mirror(&net, &a, "beta", 2).await;
    let (_c, _) = mirror(&net, &a, "gamma", 3).await;
    for k in 0..6 {
        for object in a.store.index.present_chunks().await.unwrap() {
            std::fs::remove_file(file(&a, &object)).unwrap();
        }
        pass(&a).await;
        net.reset();
        net.strike(Fault::Cut, 500 + k * 1_200_000);
        let healing = async || a.puller.heal(&never()).await.is_ok_and(|report| report.still_missing == 0);
        wait_for(healing).await;
        a.restores(&id, &a.dir.path().join("notes")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r12_a_mirror_gives_its_source_what_is_the_sources_and_nothing_else() {
    let net = MemoryNet::new();
    let (a, _) = small_source(&net).await;
    let (b, _) = mirror(&net, &a, "beta", 2).await;
    let own = b.collection("own").await;
    b.put("own/secret", 9, 100_000);
    b.backup(&own).await;
    let granted = b.store.index.peer(&a.store.keys.instance()).await.unwrap().unwrap().trust;
    assert_eq!(granted, Trust::Trusted(Rights::none()));

    let callee = Callee { address: b.address.clone(), key: b.store.keys.identity.public() };
    let has = async |ids: &[ChunkId]| a.puller.caller().have(&callee, ids).await.unwrap();
    let theirs = a.store.index.present_chunks().await.unwrap();
    assert!(has(&theirs).await.iter().all(|has| *has));
    let mut foreign = b.store.index.present_chunks().await.unwrap();
    foreign.retain(|id| !theirs.contains(id));
    assert!(!foreign.is_empty() && !has(&foreign).await.iter().any(|has| *has));
    // Revoked, it is shut out of everything.
    let mut known = b.store.index.peer(&a.store.keys.instance()).await.unwrap().unwrap();
    known.trust = Trust::Revoked;
    b.store.index.save_peer(&known).await.unwrap();
    assert!(a.puller.caller().have(&callee, &theirs).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scrubber_finds_and_heals_by_itself_and_goes_on_after_a_restart() {
    let net = MemoryNet::new();
    let (a, id) = small_source(&net).await;
    let (_b, _) = mirror(&net, &a, "beta", 2).await;
    let object = largest(&a).await;
    let count = a.store.index.present_chunks().await.unwrap().len() as u64;
    flip(&a, &object);
    // Nothing is due before its moment, and a pass draws moments for all.
    scrubber(&a).step().await.unwrap();
    a.clock.set("2026-12-24T10:00:00Z".parse().unwrap());
    _b.clock.set("2026-12-24T10:00:00Z".parse().unwrap());
    let (cancel, tasks) = (never(), tokio_util::task::TaskTracker::new());
    let running = tasks.spawn(scrubber(&a).run(cancel.clone()));
    wait_for(async || {
        let whole = a.store.index.snapshot(&id).await.unwrap().unwrap().complete;
        let state = a.store.index.scrub_state(a.clock.now(), 5).await.unwrap();
        whole && state.findings.len() == 1 && state.read >= count - 1
    })
    .await;
    cancel.cancel();
    running.await.unwrap();
    a.restores(&id, &a.dir.path().join("notes")).await;
    // What was read is not due again.
    assert_eq!(scrubber(&a).step().await.unwrap().0.findings, []);
    assert!(scrubber(&a).step().await.unwrap().0.objects <= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_peer_it_is_said_that_nobody_can_help_and_nothing_that_was_never_fetched_is_lost() {
    let net = MemoryNet::new();
    let (a, id) = small_source(&net).await;
    let object = largest(&a).await;
    std::fs::remove_file(file(&a, &object)).unwrap();
    pass(&a).await;
    assert!(matches!(a.puller.heal(&never()).await, Err(PullError::NoPeers)));
    assert_eq!(a.store.index.scrub_state(a.clock.now(), 5).await.unwrap().lost, 1);
    // A list of chunks counts as well.
    let list = a.store.manifests.load(&id).unwrap().0.manifest.segments[0].id;
    std::fs::remove_file(file(&a, &list)).unwrap();
    pass(&a).await;
    assert_eq!(a.store.index.scrub_state(a.clock.now(), 5).await.unwrap().lost, 2);
    // A mirror that has not fetched anything yet has lost nothing, and heals nothing.
    let b = Instance::new(&net, "beta", 2).await;
    let peer = a.let_in(&b, Role::Mirror, false).await;
    b.sync(&peer).await.unwrap();
    assert_eq!(b.puller.heal(&never()).await.unwrap(), Default::default());
}

async fn largest(instance: &Instance) -> ChunkId {
    let mut objects = instance.store.index.objects(&[]).await.unwrap();
    objects.sort_by_key(|object| object.size_bytes);
    objects.last().unwrap().id
}

fn manifest_file(instance: &Instance, name: &str) -> std::path::PathBuf {
    instance.dir.path().join("home/manifests").join(name)
}

fn flip_manifest(instance: &Instance, name: &str) -> Vec<u8> {
    let path = manifest_file(instance, name);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_manifest_is_put_aside_and_comes_back_from_a_blind_mirror_with_the_key_that_is_here() {
    let net = MemoryNet::new();
    let (a, id) = small_source(&net).await;
    let (_b, _) = mirror(&net, &a, "beta", 2).await;
    let bad = flip_manifest(&a, &id.to_string());
    let found = pass(&a).await;
    assert_eq!(found.findings.len(), 1, "{:?}", found.findings);
    let kept = a.dir.path().join("home/quarantine").join(format!("{id}.manifest"));
    assert_eq!(std::fs::read(kept).unwrap(), bad);
    assert_eq!(a.store.lost_manifests().await.unwrap(), [id]);
    let healed = a.puller.heal(&never()).await.unwrap();
    assert_eq!((healed.manifests, healed.manifests_lost), (1, 0));
    a.restores(&id, &a.dir.path().join("notes")).await;
    assert_eq!(pass(&a).await.findings, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_is_mended_with_what_still_opens_and_with_what_peers_have() {
    let net = MemoryNet::new();
    let (a, id) = small_source(&net).await;
    // A byte of an envelope for the recovery key: everything that is needed to mend it is here, and no peer is asked.
    let path = manifest_file(&a, &format!("{id}.sidecar"));
    let text = std::fs::read_to_string(&path).unwrap();
    let mut sidecar: serde_json::Value = serde_json::from_str(&text).unwrap();
    let envelopes = sidecar["envelopes"].as_array_mut().unwrap();
    let recovery = envelopes.iter_mut().find(|envelope| envelope["algorithm"].as_str().unwrap().contains("HPKE"));
    let wrapped = &mut recovery.expect("a snapshot has an envelope for the recovery key")["wrapped"];
    let turned: String = wrapped.as_str().unwrap().chars().rev().collect();
    *wrapped = turned.into();
    std::fs::write(&path, sidecar.to_string()).unwrap();
    assert_eq!(pass(&a).await.findings.len(), 1);
    assert!(path.exists(), "what can still be used stays where it is");
    assert_eq!(a.puller.heal(&never()).await.unwrap().manifests, 1);
    assert_eq!(pass(&a).await.findings, []);
    a.restores(&id, &a.dir.path().join("notes")).await;

    // A reader lost the whole sidecar: signature and key come from the source.
    let c = Instance::new(&net, "gamma", 3).await;
    let peer = a.let_in(&c, Role::Reader, false).await;
    c.sync(&peer).await.unwrap();
    c.puller.fetch(None, &[peer], &never()).await.unwrap();
    std::fs::write(manifest_file(&c, &format!("{id}.sidecar")), b"rubbish").unwrap();
    assert_eq!(pass(&c).await.findings.len(), 1);
    assert_eq!(c.puller.heal(&never()).await.unwrap().manifests_lost, 0);
    c.restores(&id, &a.dir.path().join("notes")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_the_disk_does_not_give_now_stays_where_it_is() {
    let net = MemoryNet::new();
    let (a, id) = small_source(&net).await;
    // A folder in its place: opening works, reading does not (EISDIR), as with a disk that fails.
    let path = manifest_file(&a, &id.to_string());
    let away = a.dir.path().join("away");
    std::fs::rename(&path, &away).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert_eq!(pass(&a).await.findings.len(), 1);
    assert!(path.is_dir(), "what could not be read is not put aside");
    std::fs::remove_dir(&path).unwrap();
    std::fs::rename(&away, &path).unwrap();
    assert_eq!(pass(&a).await.findings, []);
    a.restores(&id, &a.dir.path().join("notes")).await;
}

/// What a mount that failed leaves: an empty folder.
fn unmount(instance: &Instance, folder: &str) {
    let path = instance.dir.path().join("home").join(folder);
    std::fs::rename(&path, instance.dir.path().join(folder)).unwrap();
    std::fs::create_dir(&path).unwrap();
}

fn mount(instance: &Instance, folder: &str) {
    let path = instance.dir.path().join("home").join(folder);
    std::fs::remove_dir(&path).expect("nothing was written into what was not the right folder");
    std::fs::rename(instance.dir.path().join(folder), &path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_not_mounted_loses_nothing_and_is_not_filled_from_peers() {
    let net = MemoryNet::new();
    let (a, id) = small_source(&net).await;
    let (b, _) = mirror(&net, &a, "beta", 2).await;
    let peer = b.store.index.peers().await.unwrap().remove(0);
    for folder in ["chunks", "manifests"] {
        for instance in [&a, &b] {
            unmount(instance, folder);
            assert_eq!(pass(instance).await.findings, []);
            assert_eq!(scrubber(instance).step().await.unwrap().0, Scrubbed::default());
            let error = instance.puller.heal(&never()).await.unwrap_err().to_string();
            assert!(error.contains(folder) && error.contains("Is its disk mounted?"), "{error}");
            assert_eq!(instance.store.index.scrub_state(instance.clock.now(), 5).await.unwrap().lost, 0);
            assert!(instance.store.lock_backup().is_err());
        }
        assert!(
            b.sync(&peer).await.is_err() && b.puller.fetch(None, std::slice::from_ref(&peer), &never()).await.is_err()
        );
        // Opened anew it is the same: the server runs, and knows.
        let again = Store::open(&a.dir.path().join("home"), None).await.unwrap();
        assert!(again.check_folders().is_err());
        assert!(Store::rebuild(&a.dir.path().join("home"), None).await.is_err());
        mount(&a, folder);
        mount(&b, folder);
        assert!(again.check_folders().is_ok());
    }
    assert_eq!(pass(&a).await.findings, []);
    a.restores(&id, &a.dir.path().join("notes")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_gone_for_good_is_said_to_be_and_peers_bring_back_what_was_on_it() {
    let net = MemoryNet::new();
    let (a, id) = small_source(&net).await;
    let (_b, _) = mirror(&net, &a, "beta", 2).await;
    unmount(&a, "chunks");
    let home = a.dir.path().join("home");
    assert!(Store::accept_loss(&home, None).await.unwrap());
    assert!(!pass(&a).await.findings.is_empty());
    assert_eq!(a.puller.heal(&never()).await.unwrap().still_missing, 0);
    a.restores(&id, &a.dir.path().join("notes")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r7_a_home_of_an_earlier_version_is_marked_when_something_known_is_there_and_rebuilds() {
    let net = MemoryNet::new();
    let (a, id) = small_source(&net).await;
    let home = a.dir.path().join("home");
    for folder in ["chunks", "manifests"] {
        std::fs::remove_file(home.join(folder).join(".bulbil-home")).unwrap();
    }
    assert!(a.store.check_folders().is_err());
    Store::open(&home, None).await.unwrap();
    assert!(a.store.check_folders().is_ok());
    for folder in ["chunks", "manifests"] {
        std::fs::remove_file(home.join(folder).join(".bulbil-home")).unwrap();
    }
    let (rebuilt, report) = Store::rebuild(&home, None).await.unwrap();
    assert_eq!((report.snapshots, &report.problems[..]), (1, &[][..]));
    assert!(rebuilt.check_folders().is_ok() && rebuilt.index.snapshot(&id).await.unwrap().unwrap().complete);
}

/// A disk that does not give one chunk any more, until it is written anew.
#[derive(Debug)]
struct Worn {
    inner: Arc<dyn ChunkStore>,
    bad: Mutex<Option<ChunkId>>,
}

impl ChunkStore for Worn {
    fn write(&self, id: &ChunkId, bytes: &[u8]) -> Result<(), ChunkStoreError> {
        let mut bad = self.bad.lock().unwrap();
        *bad = bad.filter(|bad| bad != id);
        self.inner.write(id, bytes)
    }
    fn sync(&self) -> Result<(), ChunkStoreError> {
        self.inner.sync()
    }
    fn read(&self, id: &ChunkId) -> Result<Vec<u8>, ChunkStoreError> {
        if *self.bad.lock().unwrap() == Some(*id) {
            let cause = std::io::Error::from_raw_os_error(5);
            return Err(ChunkStoreError::Io { what: "read", path: id.to_string().into(), cause });
        }
        self.inner.read(id)
    }
    fn size(&self, id: &ChunkId) -> Result<Option<u64>, ChunkStoreError> {
        self.inner.size(id)
    }
    fn quarantine(&self, id: &ChunkId) -> Result<(), ChunkStoreError> {
        let cause = std::io::Error::from_raw_os_error(5);
        Err(ChunkStoreError::Io { what: "put aside", path: id.to_string().into(), cause })
    }
    fn remove(&self, id: &ChunkId) -> Result<(), ChunkStoreError> {
        self.inner.remove(id)
    }
    fn list(&self, each: &mut dyn FnMut(ChunkId, u64)) -> Result<(), ChunkStoreError> {
        self.inner.list(each)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_the_disk_does_not_give_any_more_is_fetched_although_its_file_is_still_there() {
    let net = MemoryNet::new();
    let (a, id) = small_source(&net).await;
    let (_b, _) = mirror(&net, &a, "beta", 2).await;
    let (dir, _) = a.ended().await;
    let mut store = Store::open(&dir.path().join("home"), None).await.unwrap();
    let bad = store.index.present_chunks().await.unwrap()[0];
    store.chunks = Arc::new(Worn { inner: store.chunks.clone(), bad: Mutex::new(Some(bad)) });
    let a = Instance::around(&net, dir, store, 4);
    assert_eq!(pass(&a).await.findings.len(), 1);
    assert_eq!(a.puller.heal(&never()).await.unwrap().still_missing, 0);
    assert_eq!(pass(&a).await.findings, []);
    a.restores(&id, &a.dir.path().join("notes")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_now_is_said_to_be_that_and_stays_where_it_is() {
    let net = MemoryNet::new();
    let (a, id) = small_source(&net).await;
    let list = a.store.manifests.load(&id).unwrap().0.manifest.segments[0].id;
    let (path, aside) = (file(&a, &list), a.dir.path().join("aside"));
    // A folder in its place: opening works, reading does not.
    std::fs::rename(&path, &aside).unwrap();
    std::fs::create_dir(&path).unwrap();
    let (monitor, options) = (Arc::new(Tally::default()), VerifyOptions { data: true, ..VerifyOptions::default() });
    let report = verify(&a.store, &options, monitor.clone(), &never()).await.unwrap();
    assert_eq!((report.missing, report.damaged, report.affected), (vec![], vec![], vec![id]));
    assert!(monitor.problems().iter().any(|problem| problem.message.contains("cannot read")), "it is said");
    assert!(path.is_dir() && a.store.index.present_chunks().await.unwrap().contains(&list));
    // A rebuild keeps the snapshot.
    let (rebuilt, report) = Store::rebuild(&a.dir.path().join("home"), None).await.unwrap();
    assert_eq!(report.snapshots, 1, "{:?}", report.problems);
    assert!(rebuilt.index.snapshot(&id).await.unwrap().is_some());
    std::fs::remove_dir(&path).unwrap();
    std::fs::rename(&aside, &path).unwrap();
    let (rebuilt, report) = Store::rebuild(&a.dir.path().join("home"), None).await.unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    assert!(rebuilt.index.snapshot(&id).await.unwrap().unwrap().complete);
}

//! Instances in one process: back up, pair, sync, fetch, restore; with a net that cuts, flips, stalls and refuses.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use bulbil::backup::create::create;
use bulbil::backup::open::OpenSnapshot;
use bulbil::backup::restore::{Overwrite, RestoreOptions, restore};
use bulbil::clock::{Clock, FixedClock};
use bulbil::domain::chunk::Padding;
use bulbil::domain::crypto::keywrap::EnvelopeKey;
use bulbil::domain::crypto::sign::IdentityKey;
use bulbil::domain::id::{ChunkId, CollectionId, ManifestId};
use bulbil::domain::peer::{PeerAddress, Rights, Role, Scope, Trust};
use bulbil::http::listener::{ServeLimits, serve};
use bulbil::http::peer::{PeerLimits, PeerPlane, peer_router};
use bulbil::monitor::Tally;
use bulbil::replicate::call::{CallError, PeerCaller};
use bulbil::replicate::pair::{invite, join};
use bulbil::replicate::pull::{Kind, Lie, PullError, Puller, Retry, SyncReport, Wrong};
use bulbil::replicate::serve::Serve;
use bulbil::store::index::{Collection, CollectionSettings, NewCollection, Peer, Root};
use bulbil::store::{ChunkStore, ChunkStoreError, CreateOptions, IndexError, Keys, Store, entropy};
use bulbil::transport::client::{ClientLimits, HttpClient};
use bulbil::transport::memory::{Fault, MemoryNet};
use bulbil::worker::Worker;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Making a key takes a second: two are enough for all tests.
fn envelope_key(n: usize) -> EnvelopeKey {
    static KEYS: LazyLock<[Vec<u8>; 2]> =
        LazyLock::new(|| std::array::from_fn(|_| EnvelopeKey::generate(&mut entropy()).pkcs8_der().to_vec()));
    EnvelopeKey::from_pkcs8_der(&KEYS[n]).unwrap()
}

/// A chunk store that counts what is written.
#[derive(Debug)]
struct Counting {
    inner: Arc<dyn ChunkStore>,
    writes: Mutex<HashMap<ChunkId, u32>>,
}

impl ChunkStore for Counting {
    fn write(&self, id: &ChunkId, bytes: &[u8]) -> Result<(), ChunkStoreError> {
        assert_eq!(ChunkId::of(bytes), *id, "a wrong byte was about to be stored");
        *self.writes.lock().unwrap().entry(*id).or_default() += 1;
        self.inner.write(id, bytes)
    }
    fn sync(&self) -> Result<(), ChunkStoreError> {
        self.inner.sync()
    }
    fn read(&self, id: &ChunkId) -> Result<Vec<u8>, ChunkStoreError> {
        self.inner.read(id)
    }
    fn size(&self, id: &ChunkId) -> Result<Option<u64>, ChunkStoreError> {
        self.inner.size(id)
    }
    fn quarantine(&self, id: &ChunkId) -> Result<(), ChunkStoreError> {
        self.inner.quarantine(id)
    }
    fn remove(&self, id: &ChunkId) -> Result<(), ChunkStoreError> {
        self.inner.remove(id)
    }
    fn list(&self, each: &mut dyn FnMut(ChunkId, u64)) -> Result<(), ChunkStoreError> {
        self.inner.list(each)
    }
}

/// An instance that serves on a net and pulls from it.
struct Instance {
    dir: TempDir,
    store: Store,
    puller: Puller,
    serve: Serve,
    address: PeerAddress,
    written: Arc<Counting>,
    net: MemoryNet,
    clock: Arc<FixedClock>,
}

impl Instance {
    async fn new(net: &MemoryNet, name: &str, port: u16) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = CreateOptions { name: name.into(), passphrase: None };
        let made = Store::create_with(&dir.path().join("home"), options, Some(envelope_key(0))).await;
        Self::around(net, dir, made.unwrap().0, port)
    }

    fn around(net: &MemoryNet, dir: TempDir, mut store: Store, port: u16) -> Self {
        let written = Arc::new(Counting { inner: store.chunks.clone(), writes: Mutex::default() });
        store.chunks = written.clone();
        let clock = Arc::new(FixedClock::new("2026-11-22T10:00:00Z".parse().unwrap()));
        let address: PeerAddress = format!("http://127.0.0.1:{port}").parse().unwrap();
        let serving = Serve::new(store.clone());
        let plane = PeerPlane::new(serving.clone(), clock.clone(), PeerLimits::default());
        let shutdown = CancellationToken::new();
        let listening = serve(net.listen(&address), peer_router(plane), ServeLimits::default(), shutdown);
        TaskTracker::new().spawn(listening);
        let limits = ClientLimits {
            first_byte: Duration::from_secs(2),
            progress: Duration::from_millis(300),
            ..ClientLimits::default()
        };
        let client = HttpClient::new(Arc::new(net.clone()), limits);
        let caller = PeerCaller::new(client, store.keys.clone(), clock.clone());
        let puller = Puller::new(store.clone(), caller, Arc::new(Tally::default()));
        Self { dir, store, puller, serve: serving, address, written, net: net.clone(), clock }
    }

    /// The same home after the process has ended.
    async fn restarted(self, port: u16) -> Self {
        let Self { dir, store, net, .. } = self;
        store.index.close().await;
        drop(store);
        let store = Store::open(&dir.path().join("home"), None).await.unwrap();
        Self::around(&net, dir, store, port)
    }

    /// A collection of one folder.
    async fn collection(&self, name: &str) -> Collection {
        let path = self.dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        let settings = CollectionSettings {
            roots: vec![Root { name: name.into(), path }],
            excludes: vec![],
            level: 3,
            padding: Padding::None,
        };
        let (id, origin) = (CollectionId::random(&mut entropy()), self.store.keys.instance());
        let new = NewCollection { id, name: name.into(), origin, settings: Some(settings) };
        self.store.index.add_collection(&new).await.unwrap()
    }

    fn put(&self, path: &str, seed: u64, len: usize) {
        std::fs::write(self.dir.path().join(path), noise(seed, len)).unwrap();
    }

    async fn backup(&self, collection: &Collection) -> ManifestId {
        let tally = Arc::new(Tally::default());
        let cancel = CancellationToken::new();
        create(&self.store, collection, &*self.clock, tally, &cancel).await.unwrap().id
    }

    /// Lets another instance in, which then knows this one as a peer.
    async fn let_in(&self, other: &Instance, role: Role, onward: bool) -> Peer {
        let rights = Rights { scope: Scope::All, role, onward, from: None };
        let expires_at = "2026-11-23T00:00:00Z".parse().unwrap();
        let invite = invite(&self.store, self.address.clone(), rights, expires_at).await.unwrap();
        let peer = join(other.puller.caller(), &invite).await.unwrap();
        other.store.index.save_peer(&peer).await.unwrap();
        peer
    }

    async fn sync(&self, peer: &Peer) -> Result<SyncReport, PullError> {
        self.puller.sync(peer, Duration::ZERO, &CancellationToken::new()).await
    }

    fn requests(&self) -> u64 {
        self.puller.caller().client().counts().requests
    }

    /// Restores a snapshot and compares it with a folder.
    async fn restores(&self, id: &ManifestId, like: &Path) {
        let into = tempfile::tempdir().unwrap();
        let open = OpenSnapshot::open(&self.store, id).unwrap();
        let options = RestoreOptions { paths: vec![], overwrite: Overwrite::Always, delete: false, dry_run: false };
        let (chunks, target, tally) = (self.store.chunks.clone(), into.path().join("out"), Arc::new(Tally::default()));
        let monitor = tally.clone();
        let work = move || restore(&chunks, &open, &target, &options, &*monitor, &CancellationToken::new());
        tokio::task::spawn_blocking(work).await.unwrap().unwrap();
        assert_eq!(tally.problems(), []);
        assert_eq!(contents(&into.path().join("out")), contents(like));
    }

    /// No chunk was written more than once.
    fn nothing_twice(&self) {
        for (id, times) in self.written.writes.lock().unwrap().iter() {
            assert_eq!(*times, 1, "{id} was fetched {times} times");
        }
    }

    async fn last_error(&self, peer: &Peer) -> Option<String> {
        self.store.index.peer(&peer.id).await.unwrap().unwrap().last_error
    }
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
        })
        .collect();
    all.sort();
    all
}

fn never() -> CancellationToken {
    CancellationToken::new()
}

#[tokio::test(flavor = "multi_thread")]
async fn cloning_a_thousand_small_files_takes_at_most_eight_requests_and_a_sync_without_news_one() {
    let net = MemoryNet::new();
    let (a, b) = (Instance::new(&net, "alpha", 1).await, Instance::new(&net, "beta", 2).await);
    let notes = a.collection("notes").await;
    for n in 0..1000 {
        a.put(&format!("notes/{n}"), n, 4096);
    }
    let id = a.backup(&notes).await;

    let peer = a.let_in(&b, Role::Reader, false).await;
    let report = b.sync(&peer).await.unwrap();
    assert_eq!((report.new_snapshots, report.keys, report.caught_up), (vec![id], 1, true));
    let quote = b.puller.quote(None).await.unwrap();
    assert!(quote.snapshots == 1 && quote.chunks > 0 && quote.bytes > 4_000_000, "{quote:?}");
    let fetched = b.puller.fetch(Some(&notes.id), std::slice::from_ref(&peer), &never()).await.unwrap();
    assert_eq!((fetched.chunks, fetched.bytes), (quote.chunks, quote.bytes));
    assert_eq!((fetched.still_missing, &fetched.bad[..]), (0, &[][..]));
    assert!(b.requests() <= 7, "{} requests, without /config", b.requests());
    assert_eq!(b.store.index.collections().await.unwrap()[0].name, "notes");
    b.restores(&id, &a.dir.path().join("notes")).await;
    b.nothing_twice();

    net.reset();
    let before = b.requests();
    let report = b.sync(&peer).await.unwrap();
    assert_eq!(report, SyncReport { requests: 1, caught_up: true, ..SyncReport::default() });
    assert_eq!(b.requests() - before, 1);
    let counts = net.counts();
    assert!(counts.request_bytes + counts.answer_bytes < 2000, "{counts:?}");

    // Day 2: only what is new travels.
    a.put("notes/new", 5000, 4096);
    a.clock.set("2026-11-22T10:01:00Z".parse().unwrap());
    b.clock.set(a.clock.now());
    let second = a.backup(&notes).await;
    assert_eq!(b.sync(&peer).await.unwrap().new_snapshots, [second]);
    let fetched = b.puller.fetch(None, std::slice::from_ref(&peer), &never()).await.unwrap();
    assert!(fetched.bytes < 300_000 && fetched.still_missing == 0, "{fetched:?}");
    b.restores(&second, &a.dir.path().join("notes")).await;
}

/// What a clone of the small source costs without faults: bytes of answers.
async fn small_source(net: &MemoryNet) -> (Instance, ManifestId) {
    let a = Instance::new(net, "alpha", 1).await;
    let notes = a.collection("notes").await;
    for n in 0..3 {
        a.put(&format!("notes/{n}"), n, 1_400_000);
    }
    let id = a.backup(&notes).await;
    (a, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_flipped_stalled_or_refused_anywhere_it_is_done_in_the_end_and_nothing_is_fetched_twice() {
    let net = MemoryNet::new();
    let (a, id) = small_source(&net).await;
    let total = {
        let b = Instance::new(&net, "beta", 2).await;
        let peer = a.let_in(&b, Role::Reader, false).await;
        net.reset();
        b.sync(&peer).await.unwrap();
        b.puller.fetch(None, &[peer], &never()).await.unwrap();
        net.counts().answer_bytes
    };
    let places = |n: u64| (0..n).map(move |k| k * total / n + k % 7);
    let cuts = places(24).map(|at| (Fault::Cut, at));
    let flips = places(24).map(|at| (Fault::Flip, at));
    let stalls = places(4).map(|at| (Fault::Stall, at));
    for (fault, at) in cuts.chain(flips).chain(stalls) {
        let b = Instance::new(&net, "beta", 2).await;
        let peer = a.let_in(&b, Role::Reader, false).await;
        net.reset();
        net.strike(fault, at);
        until_done(&b, &peer, &id).await;
        b.nothing_twice();
        b.restores(&id, &a.dir.path().join("notes")).await;
    }
    for n in 1..4 {
        let b = Instance::new(&net, "beta", 2).await;
        let peer = a.let_in(&b, Role::Reader, false).await;
        net.reset();
        net.refuse_dial(n);
        until_done(&b, &peer, &id).await;
        b.nothing_twice();
    }
}

async fn until_done(b: &Instance, peer: &Peer, id: &ManifestId) {
    for _ in 0..6 {
        let synced = b.sync(peer).await;
        let fetched = b.puller.fetch(None, std::slice::from_ref(peer), &never()).await;
        for error in [synced.err(), fetched.err()].into_iter().flatten() {
            assert_eq!(error.kind(), Kind::Peer, "{error}");
        }
        let snapshot = b.store.index.snapshot(id).await.unwrap();
        if snapshot.is_some_and(|snapshot| snapshot.complete && snapshot.has_key) {
            return;
        }
    }
    panic!("it does not get done");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_run_has_stored_is_adopted_and_what_it_has_spoilt_is_fetched_again() {
    let net = MemoryNet::new();
    let (a, id) = small_source(&net).await;
    let b = Instance::new(&net, "beta", 2).await;
    let peer = a.let_in(&b, Role::Reader, false).await;
    b.sync(&peer).await.unwrap();
    let missing = b.store.index.missing_chunks(None, 100).await.unwrap();
    assert!(missing.len() >= 3);
    for (n, (chunk, _)) in missing.iter().enumerate() {
        let mut bytes = a.store.chunks.read(chunk).unwrap();
        if n == 0 {
            bytes.truncate(1000);
        }
        b.written.inner.write(chunk, &bytes).unwrap();
    }
    let b = b.restarted(2).await;
    let fetched = b.puller.fetch(None, std::slice::from_ref(&peer), &never()).await.unwrap();
    assert_eq!((fetched.chunks, fetched.still_missing, fetched.requests), (1, 0, 1));
    b.restores(&id, &a.dir.path().join("notes")).await;
    let aside: Vec<_> = std::fs::read_dir(b.store.home.quarantine()).unwrap().collect();
    assert_eq!(aside.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blind_mirror_serves_onward_and_a_reader_reads_from_it() {
    let net = MemoryNet::new();
    let (a, id) = small_source(&net).await;
    let (mirror, c) = (Instance::new(&net, "mirror", 2).await, Instance::new(&net, "gamma", 3).await);
    let of_mirror = a.let_in(&mirror, Role::Mirror, true).await;
    let report = mirror.sync(&of_mirror).await.unwrap();
    assert_eq!((report.keys, report.requests), (0, 2));
    mirror.puller.fetch(None, std::slice::from_ref(&of_mirror), &never()).await.unwrap();
    let kept = mirror.store.index.snapshot(&id).await.unwrap().unwrap();
    assert!(kept.complete && !kept.has_key);
    assert!(OpenSnapshot::open(&mirror.store, &id).is_err());

    // The reader has keys from the source and everything else from the mirror.
    let source = a.let_in(&c, Role::Reader, false).await;
    let via = mirror.let_in(&c, Role::Reader, false).await;
    assert_eq!(c.sync(&via).await.unwrap().new_snapshots, [id]);
    c.puller.fetch(None, std::slice::from_ref(&via), &never()).await.unwrap();
    let before = c.requests();
    assert_eq!(c.sync(&via).await.unwrap().requests, 1, "what it did not give is not asked for at once");
    assert_eq!(c.requests() - before, 1);
    let report = c.sync(&source).await.unwrap();
    assert_eq!((report.new_snapshots.len(), report.keys, report.segments), (0, 1, 0));
    c.restores(&id, &a.dir.path().join("notes")).await;
    c.nothing_twice();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_chunk_goes_to_nothing_is_remembered_and_comes_from_another_peer() {
    let net = MemoryNet::new();
    let (a, id) = small_source(&net).await;
    let (mirror, c) = (Instance::new(&net, "mirror", 2).await, Instance::new(&net, "gamma", 3).await);
    let of_mirror = a.let_in(&mirror, Role::Mirror, true).await;
    mirror.sync(&of_mirror).await.unwrap();
    mirror.puller.fetch(None, &[of_mirror], &never()).await.unwrap();
    let (source, via) = (a.let_in(&c, Role::Reader, false).await, mirror.let_in(&c, Role::Reader, false).await);
    c.sync(&source).await.unwrap();
    let mut spoilt = Vec::new();
    for (chunk, _) in c.store.index.missing_chunks(None, 100).await.unwrap() {
        let mut bytes = a.store.chunks.read(&chunk).unwrap();
        bytes[100] ^= 1;
        mirror.written.inner.write(&chunk, &bytes).unwrap();
        spoilt.push(chunk);
    }
    let alone = c.puller.fetch(None, std::slice::from_ref(&via), &never()).await.unwrap();
    assert_eq!((alone.chunks, alone.still_missing), (0, spoilt.len() as u64));
    assert!(alone.bad.iter().all(|(peer, chunk)| *peer == via.id && spoilt.contains(chunk)));
    let remembered = c.last_error(&via).await.unwrap();
    assert!(remembered.contains("wrong chunk"), "{remembered}");

    let both = c.puller.fetch(None, &[via.clone(), source.clone()], &never()).await.unwrap();
    assert_eq!((both.chunks, both.still_missing), (spoilt.len() as u64, 0));
    assert_eq!(c.last_error(&source).await, None);
    c.restores(&id, &a.dir.path().join("notes")).await;
    c.nothing_twice();
}

#[tokio::test(flavor = "multi_thread")]
async fn r6_a_revoked_peer_is_refused_and_told_so_plainly() {
    let net = MemoryNet::new();
    let (a, _) = small_source(&net).await;
    let b = Instance::new(&net, "beta", 2).await;
    let peer = a.let_in(&b, Role::Reader, false).await;
    b.sync(&peer).await.unwrap();
    let mut known = a.store.index.peer(&b.store.keys.instance()).await.unwrap().unwrap();
    known.trust = Trust::Revoked;
    a.store.index.save_peer(&known).await.unwrap();
    let synced = b.sync(&peer).await.unwrap_err();
    let fetched = b.puller.fetch(None, std::slice::from_ref(&peer), &never()).await.unwrap_err();
    for error in [synced, fetched] {
        assert!(matches!(&error, PullError::Call { cause: CallError::Refused { .. }, .. }), "{error}");
        assert_eq!((error.kind(), error.retry()), (Kind::Peer, Retry::Never));
    }
    assert!(b.last_error(&peer).await.unwrap().contains("refuses"));
    let untrusted = Peer { trust: Trust::Pending, ..peer };
    assert!(matches!(b.sync(&untrusted).await, Err(PullError::NotTrusted { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn r3_a_reader_whose_key_has_changed_gets_new_envelopes() {
    let net = MemoryNet::new();
    let (a, id) = small_source(&net).await;
    let b = Instance::new(&net, "beta", 2).await;
    let peer = a.let_in(&b, Role::Reader, false).await;
    b.sync(&peer).await.unwrap();
    let old = &b.store.keys;
    let keys = Arc::new(Keys {
        name: old.name.clone(),
        identity: IdentityKey::from_seed(&old.identity.seed()),
        envelope: envelope_key(1),
        key_version: 2,
        recovery: old.recovery.clone(),
        master: bulbil::domain::crypto::vault::MasterKey::new(
            bulbil::domain::crypto::secret::Secret::from_slice(old.master.secret().expose()).unwrap(),
        ),
    });
    let store = Store { keys: keys.clone(), ..b.store.clone() };
    let client = HttpClient::new(Arc::new(net.clone()), ClientLimits::default());
    let caller = PeerCaller::new(client, keys.clone(), b.clock.clone());
    let puller = Puller::new(store, caller, Arc::new(Tally::default()));

    // The source does not know the new key yet: nothing that is there is lost.
    let report = puller.rekey(&peer, None, true).await.unwrap();
    assert_eq!((report.asked, report.keys, &report.without[..]), (1, 0, &[id][..]));
    assert!(OpenSnapshot::open(&b.store, &id).is_ok());

    let mut known = a.store.index.peer(&keys.instance()).await.unwrap().unwrap();
    known.identity = keys.identity_document();
    a.store.index.save_peer(&known).await.unwrap();
    let report = puller.rekey(&peer, None, true).await.unwrap();
    assert_eq!((report.asked, report.keys, report.requests), (1, 1, 1));
    let ours = keys.envelope.recipient().id();
    assert!(b.store.manifests.load_envelopes(&id).unwrap().iter().any(|envelope| envelope.recipient == ours));
    assert_eq!(puller.rekey(&peer, None, false).await.unwrap().requests, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn r11_a_source_with_a_new_feed_is_read_from_the_beginning_and_what_is_known_is_passed_over() {
    let net = MemoryNet::new();
    let (a, id) = small_source(&net).await;
    let b = Instance::new(&net, "beta", 2).await;
    let peer = a.let_in(&b, Role::Reader, false).await;
    b.sync(&peer).await.unwrap();
    b.puller.fetch(None, std::slice::from_ref(&peer), &never()).await.unwrap();
    let before = b.store.index.peer(&peer.id).await.unwrap().unwrap().cursor.unwrap();
    let sidecar = b.store.manifests.load_envelopes(&id).unwrap();

    let Instance { dir, store, .. } = a;
    store.index.close().await;
    drop(store);
    let (store, _) = Store::rebuild(&dir.path().join("home"), None).await.unwrap();
    let a = Instance::around(&net, dir, store, 1);
    let report = b.sync(&peer).await.unwrap();
    assert_eq!(report, SyncReport { requests: 1, caught_up: true, ..SyncReport::default() });
    let after = b.store.index.peer(&peer.id).await.unwrap().unwrap().cursor.unwrap();
    assert_ne!(before.feed, after.feed);
    assert_eq!(b.store.manifests.load_envelopes(&id).unwrap(), sidecar);
    assert_eq!(a.store.index.feed_id().await.unwrap(), after.feed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_is_refused_recorded_and_leaves_nothing_behind() {
    let net = MemoryNet::new();
    let (a, _) = small_source(&net).await;
    let b = Instance::new(&net, "beta", 2).await;
    let peer = a.let_in(&b, Role::Reader, false).await;
    // The home is copied, and both go on.
    a.store.index.close().await;
    let twin = tempfile::tempdir().unwrap();
    let copied = std::process::Command::new("cp").arg("-a").arg(a.dir.path().join("home")).arg(twin.path()).status();
    assert!(copied.unwrap().success());
    let a = a.restarted(1).await;
    let notes = a.store.index.collection_named("notes").await.unwrap().unwrap();
    a.put("notes/more", 77, 1000);
    a.backup(&notes).await;
    b.sync(&peer).await.unwrap();
    let known = b.store.manifests.list().unwrap();

    let store = Store::open(&twin.path().join("home"), None).await.unwrap();
    let twin = Instance::around(&net, twin, store, 1);
    twin.clock.set("2026-11-22T10:05:00Z".parse().unwrap());
    b.clock.set(twin.clock.now());
    let tally = Arc::new(Tally::default());
    a.put("notes/other", 78, 1000);
    create(&twin.store, &notes, &*twin.clock, tally.clone(), &never()).await.unwrap();
    b.store.index.reset_cursor(&peer.id).await.unwrap();
    let error = b.sync(&peer).await.unwrap_err();
    let fork = matches!(&error, PullError::Lied { lie: Lie::Page(IndexError::Fork { .. }), .. });
    assert!(fork, "{error}");
    assert_eq!(b.store.manifests.list().unwrap(), known);
    assert!(b.last_error(&peer).await.unwrap().contains("contradicts"));
    assert_eq!(b.store.index.peer(&peer.id).await.unwrap().unwrap().cursor, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tombstone_deletes_nothing_here() {
    let net = MemoryNet::new();
    let a = Instance::new(&net, "alpha", 1).await;
    let b = Instance::new(&net, "beta", 2).await;
    let notes = a.collection("notes").await;
    a.put("notes/a", 1, 10_000);
    let peer = a.let_in(&b, Role::Reader, false).await;
    let first = a.backup(&notes).await;
    until_done(&b, &peer, &first).await;
    a.store.index.mark_missing(&[]).await.unwrap();
    a.store.manifests.remove(&first).unwrap();
    a.put("notes/b", 2, 10_000);
    let second = a.backup(&notes).await;
    until_done(&b, &peer, &second).await;
    assert!(b.store.index.snapshot(&first).await.unwrap().unwrap().complete);
    b.restores(&second, &a.dir.path().join("notes")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worker_follows_by_itself_is_woken_and_sees_what_the_command_line_does() {
    let net = MemoryNet::new();
    let (a, id) = small_source(&net).await;
    let b = Instance::new(&net, "beta", 2).await;
    let worker = Worker::new(b.puller.clone(), b.serve.clone(), Duration::from_secs(3600));
    let (wake, woken) = tokio::sync::watch::channel(0);
    let cancel = never();
    let tasks = TaskTracker::new();
    let running = tasks.spawn(worker.clone().run(woken, cancel.clone()));
    // The peer appears while it runs.
    let peer = a.let_in(&b, Role::Reader, false).await;
    wait_for(async || is_whole(&b, &id).await).await;
    wait_for(async || worker.status().first().is_some_and(|status| !status.busy)).await;
    let status = worker.status();
    assert_eq!((status[0].name.as_str(), status[0].failures), ("alpha", 0));
    assert!(status[0].last.as_ref().is_some_and(|visit| visit.chunks > 0 && visit.error.is_none()));

    let notes = a.store.index.collection_named("notes").await.unwrap().unwrap();
    a.put("notes/more", 77, 1000);
    let second = a.backup(&notes).await;
    wake.send_modify(|n| *n += 1);
    wait_for(async || is_whole(&b, &second).await).await;

    // Revoked here by another process: it is not visited any more.
    let mut known = b.store.index.peer(&peer.id).await.unwrap().unwrap();
    known.trust = Trust::Revoked;
    b.store.index.save_peer(&known).await.unwrap();
    wait_for(async || worker.status().is_empty()).await;
    cancel.cancel();
    running.await.unwrap();
}

async fn is_whole(b: &Instance, id: &ManifestId) -> bool {
    b.store.index.snapshot(id).await.unwrap().is_some_and(|snapshot| snapshot.complete && snapshot.has_key)
}

async fn wait_for(mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        let mut looks = tokio::time::interval(Duration::from_millis(10));
        while !condition().await {
            looks.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("the condition comes true");
}

#[test]
fn wrong_objects_say_what_is_wrong() {
    let text = Wrong::Length { expected: 5, got: 7 }.to_string();
    assert_eq!(text, "it is 7 bytes long, and its snapshot says 5");
}

//! Instances in one process: back up, pair, sync, fetch, restore; with a net that cuts, flips, stalls and refuses.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

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
use bulbil::domain::manifest::{self, Manifest, ManifestError, SegmentSummary};
use bulbil::domain::peer::{PeerAddress, Rights, Role, Scope, Trust};
use bulbil::domain::segment::{Segment, SegmentEntry};
use bulbil::domain::wire::signature::{ANSWERED_NONCE, sign_answer};
use bulbil::http::listener::{ServeLimits, serve};
use bulbil::http::peer::{PeerLimits, PeerPlane, peer_router};
use bulbil::monitor::{Counter, Monitor, Problem, Tally};
use bulbil::replicate::call::{CallError, PeerCaller};
use bulbil::replicate::join::join;
use bulbil::replicate::pair::invite;
use bulbil::replicate::pull::{Kind, Lie, PullError, Puller, Retry, SyncReport, Wrong};
use bulbil::replicate::serve::Serve;
use bulbil::store::index::{
    Collection, CollectionKind, CollectionSettings, NewChunk, NewCollection, NewSnapshot, Peer, Root,
};
use bulbil::store::{ChunkStore, ChunkStoreError, CreateOptions, IndexError, Keys, Store, entropy, fresh_envelope_key};
use bulbil::transport::client::{ClientLimits, HttpClient};
use bulbil::transport::memory::{Fault, MemoryNet};
use bulbil::worker::follow::Worker;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Making a key takes a second: two are enough for all tests.
pub fn envelope_key(n: usize) -> EnvelopeKey {
    static KEYS: LazyLock<[Vec<u8>; 2]> =
        LazyLock::new(|| std::array::from_fn(|_| fresh_envelope_key().pkcs8_der().to_vec()));
    EnvelopeKey::from_pkcs8_der(&KEYS[n]).unwrap()
}

/// A chunk store that counts what is written.
#[derive(Debug)]
pub struct Counting {
    pub inner: Arc<dyn ChunkStore>,
    pub writes: Mutex<HashMap<ChunkId, u32>>,
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
    fn check(&self) -> Result<(), ChunkStoreError> {
        self.inner.check()
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
pub struct Instance {
    pub dir: TempDir,
    pub store: Store,
    pub puller: Puller,
    pub serve: Serve,
    pub address: PeerAddress,
    pub written: Arc<Counting>,
    net: MemoryNet,
    pub clock: Arc<FixedClock>,
    shutdown: CancellationToken,
    listening: TaskTracker,
}

/// Changes a page of the feed, or a challenge, before it is signed.
pub type Edit = Arc<dyn Fn(&mut serde_json::Value) + Send + Sync>;

impl Instance {
    pub async fn new(net: &MemoryNet, name: &str, port: u16) -> Self {
        Self::with_key(net, name, port, 0).await
    }

    /// With the first or the second envelope key.
    pub async fn with_key(net: &MemoryNet, name: &str, port: u16, key: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = CreateOptions { name: name.into(), passphrase: None };
        let made = Store::create_with(&dir.path().join("home"), options, Some(envelope_key(key))).await;
        Self::around(net, dir, made.unwrap().0, port)
    }

    pub fn around(net: &MemoryNet, dir: TempDir, store: Store, port: u16) -> Self {
        Self::lying(net, dir, store, port, None)
    }

    pub fn lying(net: &MemoryNet, dir: TempDir, mut store: Store, port: u16, edit: Option<Edit>) -> Self {
        let written = Arc::new(Counting { inner: store.chunks.clone(), writes: Mutex::default() });
        store.chunks = written.clone();
        let clock = Arc::new(FixedClock::new("2026-11-22T10:00:00Z".parse().unwrap()));
        let address: PeerAddress = format!("http://127.0.0.1:{port}").parse().unwrap();
        let serving = Serve::new(store.clone());
        let plane = PeerPlane::new(serving.clone(), clock.clone(), PeerLimits::default());
        let router = match edit {
            None => peer_router(plane),
            Some(edit) => edited(peer_router(plane), store.keys.clone(), clock.clone(), edit),
        };
        let (shutdown, listening) = (CancellationToken::new(), TaskTracker::new());
        listening.spawn(serve(net.listen(&address), router, ServeLimits::default(), shutdown.clone()));
        listening.close();
        let (first_byte, progress) = (Duration::from_secs(10), Duration::from_secs(3));
        let limits = ClientLimits { first_byte, progress, ..ClientLimits::default() };
        let client = HttpClient::new(Arc::new(net.clone()), limits);
        let caller = PeerCaller::new(client, store.keys.clone(), clock.clone());
        let puller = Puller::new(store.clone(), caller, Arc::new(Tally::default()));
        let net = net.clone();
        Self { dir, store, puller, serve: serving, address, written, net, clock, shutdown, listening }
    }

    /// Ends the process; the home stays.
    pub async fn ended(self) -> (TempDir, MemoryNet) {
        let Self { dir, store, net, shutdown, listening, .. } = self;
        shutdown.cancel();
        listening.wait().await;
        store.index.close().await;
        (dir, net)
    }

    /// Ends the process, and makes its index anew: it says what the live one said (R7).
    pub async fn rebuilds_alike(self) {
        let live = self.store.index.dump().await.unwrap();
        let (dir, _) = self.ended().await;
        let (rebuilt, report) = Store::rebuild(&dir.path().join("home"), None).await.unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
        assert_eq!(rebuilt.index.dump().await.unwrap(), live);
        rebuilt.index.close().await;
    }

    /// The same home in another process.
    async fn restarted(self, port: u16) -> Self {
        let (dir, net) = self.ended().await;
        let store = Store::open(&dir.path().join("home"), None).await.unwrap();
        Self::around(&net, dir, store, port)
    }

    /// What its clock shows.
    pub fn clock_now(&self) -> jiff::Timestamp {
        self.clock.now()
    }

    /// A collection of one folder.
    pub async fn collection(&self, name: &str) -> Collection {
        let path = self.dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        let settings = CollectionSettings {
            application: None,
            roots: vec![Root { name: name.into(), path }],
            excludes: vec![],
            level: 3,
            padding: Padding::None,
            kind: CollectionKind::Directory,
        };
        let (id, origin) = (CollectionId::random(&mut entropy()), self.store.keys.instance());
        let new = NewCollection { id, name: name.into(), origin, settings: Some(settings) };
        self.store.index.add_collection(&new).await.unwrap()
    }

    pub fn put(&self, path: &str, seed: u64, len: usize) {
        std::fs::write(self.dir.path().join(path), noise(seed, len)).unwrap();
    }

    pub async fn backup(&self, collection: &Collection) -> ManifestId {
        let tally = Arc::new(Tally::default());
        let cancel = CancellationToken::new();
        create(&self.store, collection, &*self.clock, tally, &cancel).await.unwrap().id
    }

    /// Lets another instance in, which then knows this one as a peer.
    pub async fn let_in(&self, other: &Instance, role: Role, onward: bool) -> Peer {
        let rights = Rights { scope: Scope::All, role, onward, from: None, limits: Default::default() };
        let expires_at = "2026-11-23T00:00:00Z".parse().unwrap();
        let invite = invite(&self.store, self.address.clone(), rights, expires_at).await.unwrap();
        let peer = join(other.puller.caller(), &invite).await.unwrap();
        other.store.index.save_peer(&peer).await.unwrap();
        peer
    }

    pub async fn sync(&self, peer: &Peer) -> Result<SyncReport, PullError> {
        self.puller.sync(peer, Duration::ZERO, &CancellationToken::new()).await
    }

    fn requests(&self) -> u64 {
        self.puller.caller().client().counts().requests
    }

    /// Restores a snapshot and compares it with a folder.
    pub async fn restores(&self, id: &ManifestId, like: &Path) {
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
    pub fn nothing_twice(&self) {
        for (id, times) in self.written.writes.lock().unwrap().iter() {
            assert_eq!(*times, 1, "{id} was fetched {times} times");
        }
    }

    pub async fn last_error(&self, peer: &Peer) -> Option<String> {
        self.store.index.peer(&peer.id).await.unwrap().unwrap().last_error
    }
}

pub fn noise(seed: u64, len: usize) -> Vec<u8> {
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

pub fn never() -> CancellationToken {
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
pub async fn small_source(net: &MemoryNet) -> (Instance, ManifestId) {
    let a = Instance::new(net, "alpha", 1).await;
    let notes = a.collection("notes").await;
    for n in 0..5 {
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
    let cuts = places(20).map(|at| (Fault::Cut, at));
    let flips = places(20).map(|at| (Fault::Flip, at));
    let stalls = places(3).map(|at| (Fault::Stall, at));
    for (fault, at) in cuts.chain(flips).chain(stalls) {
        let b = Instance::new(&net, "beta", 2).await;
        let peer = a.let_in(&b, Role::Reader, false).await;
        net.reset();
        net.strike(fault, at);
        until_done(&b, &peer, &id).await;
        b.nothing_twice();
        b.restores(&id, &a.dir.path().join("notes")).await;
    }
    // Whoever was cut off has to dial again, and is refused.
    for n in 1..3 {
        let b = Instance::new(&net, "beta", 2).await;
        let peer = a.let_in(&b, Role::Reader, false).await;
        net.reset();
        net.strike(Fault::Cut, total / 2);
        net.strike(Fault::Cut, total / 2 + 100_000);
        net.refuse_dial(n);
        until_done(&b, &peer, &id).await;
        assert!(!net.has_faults_left());
        b.nothing_twice();
    }
}

pub async fn until_done(b: &Instance, peer: &Peer, id: &ManifestId) {
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
        renewals: vec![],
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

    let (dir, net) = a.ended().await;
    let (store, _) = Store::rebuild(&dir.path().join("home"), None).await.unwrap();
    let a = Instance::around(&net, dir, store, 1);
    let report = b.sync(&peer).await.unwrap();
    assert_eq!(report, SyncReport { requests: 1, caught_up: true, ..SyncReport::default() });
    let after = b.store.index.peer(&peer.id).await.unwrap().unwrap().cursor.unwrap();
    assert_ne!(before.feed, after.feed);
    assert_eq!(b.store.manifests.load_envelopes(&id).unwrap(), sidecar);
    assert_eq!(a.store.index.feed_id().await.unwrap(), after.feed);
}

/// A source with three snapshots whose pages are changed on their way out, and a reader that is let in.
async fn forgetful(
    edit: impl Fn(&mut serde_json::Value) + Send + Sync + 'static,
) -> (Instance, Instance, Peer, Vec<ManifestId>) {
    let net = MemoryNet::new();
    let (a, first) = small_source(&net).await;
    let notes = a.store.index.collections().await.unwrap().remove(0);
    let mut ids = vec![first];
    for n in 0..2 {
        a.put("notes/more", 100 + n, 5000);
        ids.push(a.backup(&notes).await);
    }
    let (dir, net) = a.ended().await;
    let store = Store::open(&dir.path().join("home"), None).await.unwrap();
    let a = Instance::lying(&net, dir, store, 1, Some(Arc::new(edit)));
    let b = Instance::new(&net, "beta", 2).await;
    let peer = a.let_in(&b, Role::Reader, false).await;
    (a, b, peer, ids)
}

/// A page of the feed says nothing of the second snapshot.
fn forget_the_second(page: &mut serde_json::Value) {
    if page["next"].is_null() {
        return;
    }
    let second = |change: &serde_json::Value| change["manifest"].as_str().unwrap().contains("\"sequence\":2");
    page["changes"].as_array_mut().unwrap().retain(|change| !second(change));
}

#[tokio::test(flavor = "multi_thread")]
async fn r13_a_peer_that_answers_with_something_else_is_not_asked_for_ever() {
    let other = Mutex::new(serde_json::Value::Null);
    let edit = move |page: &mut serde_json::Value| {
        if page["next"].is_null() {
            page["changes"] = serde_json::json!([other.lock().unwrap().clone()]);
        } else {
            forget_the_second(page);
            if let Some(first) = page["changes"].get(0) {
                *other.lock().unwrap() = first.clone();
            }
        }
    };
    let (_a, b, peer, ids) = forgetful(edit).await;
    let report = b.sync(&peer).await.unwrap();
    assert_eq!(report.new_snapshots.len(), 2);
    assert!(report.requests < 12, "{}", report.requests);
    assert!(b.store.index.snapshot(&ids[1]).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_feed_forgot_to_tell_is_found_and_found_once() {
    let (_a, b, peer, ids) = forgetful(forget_the_second).await;
    let report = b.sync(&peer).await.unwrap();
    assert_eq!(report.new_snapshots.len(), 3);
    assert!(report.new_snapshots.contains(&ids[1]));
    // Both sides are the same now: nothing is compared again.
    assert_eq!(b.sync(&peer).await.unwrap().requests, 1);
    b.puller.fetch(None, std::slice::from_ref(&peer), &never()).await.unwrap();
    for id in &ids {
        assert!(is_whole(&b, id).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn having_more_than_a_peer_costs_one_comparison() {
    let net = MemoryNet::new();
    let (a, _) = small_source(&net).await;
    let (mirror, b) = (Instance::new(&net, "mirror", 2).await, Instance::new(&net, "beta", 3).await);
    let of_mirror = a.let_in(&mirror, Role::Mirror, true).await;
    mirror.sync(&of_mirror).await.unwrap();
    mirror.puller.fetch(None, std::slice::from_ref(&of_mirror), &never()).await.unwrap();
    let notes = a.store.index.collections().await.unwrap().remove(0);
    a.put("notes/more", 100, 5000);
    let newer = a.backup(&notes).await;
    let (source, via) = (a.let_in(&b, Role::Reader, false).await, mirror.let_in(&b, Role::Mirror, false).await);
    b.sync(&source).await.unwrap();
    assert!(b.store.index.snapshot(&newer).await.unwrap().is_some());
    // The mirror lags behind. That is seen once, and then known.
    assert!(b.sync(&via).await.unwrap().requests > 1);
    assert_eq!(b.sync(&via).await.unwrap().requests, 1);
    assert_eq!(b.restarted(3).await.sync(&via).await.unwrap().requests, 1, "after a restart, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_new_feed_is_not_read_again() {
    let first_of_new_feed = std::sync::atomic::AtomicBool::new(false);
    let armed = Arc::new(first_of_new_feed);
    let arm = armed.clone();
    // A page of a long feed says that there is more, and is cut short.
    let edit = move |page: &mut serde_json::Value| {
        if arm.swap(false, std::sync::atomic::Ordering::SeqCst) {
            page["more"] = true.into();
            page["changes"].as_array_mut().unwrap().truncate(1);
        }
    };
    let (a, b, peer, ids) = forgetful(edit.clone()).await;
    b.sync(&peer).await.unwrap();
    let (dir, net) = a.ended().await;
    let (store, _) = Store::rebuild(&dir.path().join("home"), None).await.unwrap();
    let a = Instance::lying(&net, dir, store, 1, Some(Arc::new(edit)));
    let notes = a.store.index.collections().await.unwrap().remove(0);
    a.put("notes/more", 200, 5000);
    let newest = a.backup(&notes).await;
    armed.store(true, std::sync::atomic::Ordering::SeqCst);
    let report = b.sync(&peer).await.unwrap();
    assert_eq!(report.new_snapshots, [newest]);
    let cursor = b.store.index.peer(&peer.id).await.unwrap().unwrap().cursor.unwrap();
    assert_eq!(cursor.feed, a.store.index.feed_id().await.unwrap());
    assert_eq!(cursor.position, a.store.index.feed_head().await.unwrap());
    assert_eq!(ids.len(), 3);
    assert_eq!(b.sync(&peer).await.unwrap().requests, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_is_refused_recorded_and_leaves_nothing_behind() {
    let net = MemoryNet::new();
    let (a, _) = small_source(&net).await;
    let b = Instance::new(&net, "beta", 2).await;
    let peer = a.let_in(&b, Role::Reader, false).await;
    // The home is copied, and both go on.
    let (dir, net) = a.ended().await;
    let twin = tempfile::tempdir().unwrap();
    let copied = std::process::Command::new("cp").arg("-a").arg(dir.path().join("home")).arg(twin.path()).status();
    assert!(copied.unwrap().success());
    let store = Store::open(&dir.path().join("home"), None).await.unwrap();
    let a = Instance::around(&net, dir, store, 1);
    let notes = a.store.index.collection_named("notes").await.unwrap().unwrap();
    a.put("notes/more", 77, 1000);
    a.backup(&notes).await;
    b.sync(&peer).await.unwrap();
    let known = b.store.manifests.list().unwrap();
    let (dir, net) = a.ended().await;

    let store = Store::open(&twin.path().join("home"), None).await.unwrap();
    let twin = Instance::around(&net, twin, store, 1);
    twin.clock.set("2026-11-22T10:05:00Z".parse().unwrap());
    b.clock.set(twin.clock.now());
    let tally = Arc::new(Tally::default());
    std::fs::write(dir.path().join("notes/other"), b"another history").unwrap();
    create(&twin.store, &notes, &*twin.clock, tally.clone(), &never()).await.unwrap();
    b.store.index.reset_cursor(&peer.id).await.unwrap();
    let error = b.sync(&peer).await.unwrap_err();
    let fork = matches!(&error, PullError::Lied { lie: Lie::Page(IndexError::Fork { .. }), .. });
    assert!(fork, "{error}");
    assert_eq!(b.store.manifests.list().unwrap(), known);
    assert!(b.last_error(&peer).await.unwrap().contains("contradicts"));
    assert_eq!(b.store.index.peer(&peer.id).await.unwrap().unwrap().cursor, None);
}

/// Cancels when so many entries were backed up.
struct CancelAt(u64, Tally, CancellationToken);

impl Monitor for CancelAt {
    fn task(&self, _: &str, _: Counter, _: Option<u64>) {}
    fn add(&self, counter: Counter, n: u64) {
        self.1.add(counter, n);
        if self.1.get(Counter::Entries) >= self.0 {
            self.2.cancel();
        }
    }
    fn take_back(&self, counter: Counter, n: u64) {
        self.1.take_back(counter, n);
    }
    fn notice(&self, _: &str) {}
    fn problem(&self, _: Problem) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tombstone_deletes_nothing_here() {
    let net = MemoryNet::new();
    let (a, b) = (Instance::new(&net, "alpha", 1).await, Instance::new(&net, "beta", 2).await);
    let notes = a.collection("notes").await;
    for n in 0..300 {
        a.put(&format!("notes/{n}"), n, 2000);
    }
    let peer = a.let_in(&b, Role::Reader, false).await;
    let cancel = never();
    let monitor = Arc::new(CancelAt(100, Tally::default(), cancel.clone()));
    let partial = create(&a.store, &notes, &*a.clock, monitor, &cancel).await.unwrap();
    assert!(partial.partial);
    until_done(&b, &peer, &partial.id).await;
    let whole = a.backup(&notes).await;
    assert_eq!(a.store.index.snapshot(&partial.id).await.unwrap(), None, "the source has deleted it");
    until_done(&b, &peer, &whole).await;
    assert!(b.store.index.snapshot(&partial.id).await.unwrap().unwrap().complete);
    b.restores(&whole, &a.dir.path().join("notes")).await;
}

/// Has the router's pages of the feed, and its answers with manifests (which have no `next`), changed and signed again.
fn edited(router: axum::Router, keys: Arc<Keys>, clock: Arc<FixedClock>, edit: Edit) -> axum::Router {
    use axum::extract::Request;
    use axum::middleware::Next;
    router.layer(axum::middleware::from_fn(move |request: Request, next: Next| {
        let (keys, clock, edit) = (keys.clone(), clock.clone(), edit.clone());
        async move {
            let path = request.uri().path();
            let edits = ["/changes", "/manifests", "/challenge"].iter().any(|end| path.ends_with(end));
            let answer = next.run(request).await;
            if !edits {
                return answer;
            }
            let (mut head, body) = answer.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            let mut page = serde_json::from_slice(&body).unwrap();
            edit(&mut page);
            let body = serde_json::to_vec(&page).unwrap();
            let nonce = data_encoding::BASE64.decode(head.headers[ANSWERED_NONCE].as_bytes()).unwrap();
            let signed = sign_answer(200, &body, &keys.identity, clock.now(), &nonce.try_into().unwrap());
            for (name, value) in signed.iter() {
                head.headers.insert(name, value.parse().unwrap());
            }
            head.headers.insert("content-length", body.len().into());
            axum::response::Response::from_parts(head, body.into())
        }
    }))
}

/// What comes of a sync with a source that changes its pages.
async fn sync_with_liar(edit: impl Fn(&mut serde_json::Value) + Send + Sync + 'static) -> (Instance, PullError) {
    let net = MemoryNet::new();
    let (a, _) = small_source(&net).await;
    let (dir, net) = a.ended().await;
    let store = Store::open(&dir.path().join("home"), None).await.unwrap();
    let a = Instance::lying(&net, dir, store, 1, Some(Arc::new(edit)));
    let b = Instance::new(&net, "beta", 2).await;
    let peer = a.let_in(&b, Role::Reader, false).await;
    let error = b.sync(&peer).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (Kind::Peer, Retry::Backoff), "{error}");
    assert!(b.last_error(&peer).await.unwrap().contains("cannot be right"));
    (b, error)
}

#[tokio::test(flavor = "multi_thread")]
async fn r13_a_lying_page_is_refused_and_nothing_of_it_is_kept() {
    type Lies = (fn(&mut serde_json::Value), fn(&Lie) -> bool);
    let lies: [Lies; 3] = [
        (
            |page| {
                let longer = format!("{} ", page["changes"][0]["manifest"].as_str().unwrap());
                page["changes"][0]["manifest"] = longer.into();
            },
            |lie| matches!(lie, Lie::Manifest { cause: ManifestError::WrongId { .. }, .. }),
        ),
        (
            |page| page["changes"][0]["manifest"] = " ".repeat(5 << 20).into(),
            |lie| matches!(lie, Lie::Manifest { cause: ManifestError::TooLong, .. }),
        ),
        (
            |page| {
                let key = IdentityKey::random(&mut entropy());
                page["changes"][0]["signature"]["public_key"] = serde_json::to_value(key.public()).unwrap();
            },
            |lie| matches!(lie, Lie::Manifest { cause: ManifestError::Signature(_), .. }),
        ),
    ];
    for (edit, expected) in lies {
        let (b, error) = sync_with_liar(edit).await;
        assert!(matches!(&error, PullError::Lied { lie, .. } if expected(lie)), "{error}");
        assert_eq!(b.store.manifests.list().unwrap(), []);
        assert_eq!(b.store.index.collections().await.unwrap(), []);
        assert_eq!(b.store.index.peers().await.unwrap()[0].cursor, None);
    }
    let (_, error) = sync_with_liar(|page| page["more"] = true.into()).await;
    assert!(matches!(&error, PullError::Lied { lie: Lie::Circles, .. }), "{error}");
}

/// Commits a snapshot whose only chunk has 1,000 bytes, and `listed` in the list; the manifest says `more` in all.
async fn crafted(a: &Instance, collection: CollectionId, listed: u32, more: u64) -> ManifestId {
    let bytes = noise(9, 1000);
    let chunk = ChunkId::of(&bytes);
    let segment = Segment::new(vec![SegmentEntry { id: chunk, size_bytes: listed }]);
    let summary = SegmentSummary { bytes: segment.chunk_bytes() + more, ..SegmentSummary::from(&segment) };
    a.store.chunks.write(&chunk, &bytes).unwrap();
    a.store.chunks.write(&segment.id, &segment.encode()).unwrap();
    let origin = a.store.keys.instance();
    let new = NewCollection { id: collection, name: "crafted".into(), origin, settings: None };
    a.store.index.add_collection(&new).await.unwrap();
    let manifest = Manifest {
        format: manifest::FORMAT.into(),
        suite: manifest::SUITE.into(),
        instance: origin,
        collection,
        sequence: 1,
        parent: None,
        created_at: a.clock.now(),
        partial: false,
        commitment: "00".repeat(32),
        chunks: 1,
        chunk_bytes: summary.bytes,
        segments: vec![summary],
        private: String::new(),
    };
    let signed = manifest.sign(&a.store.keys.identity);
    a.store.manifests.save(&signed, &[]).unwrap();
    let new_chunks = [NewChunk { id: chunk, size_bytes: 1000, sealed: vec![] }];
    let new = NewSnapshot {
        signed: &signed,
        segments: &[segment],
        new_chunks: &new_chunks,
        shared: &[],
        supersedes: None,
        capture: None,
    };
    a.store.index.commit_snapshot(new).await.unwrap();
    signed.id
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_contradict_their_manifest_or_their_chunks_are_the_peers_error() {
    let net = MemoryNet::new();
    let collection = CollectionId::random(&mut entropy());
    let (a, b) = (Instance::new(&net, "alpha", 1).await, Instance::new(&net, "beta", 2).await);
    crafted(&a, collection, 1000, 1).await;
    let peer = a.let_in(&b, Role::Mirror, false).await;
    let error = b.sync(&peer).await.unwrap_err();
    let contradiction = Lie::Object { id: ChunkId::of(b""), wrong: Wrong::Contradiction }.to_string();
    assert!(error.to_string().contains(contradiction.rsplit(": ").next().unwrap()), "{error}");
    assert_eq!(b.store.index.count_missing(None).await.unwrap(), (0, 0));

    let net = MemoryNet::new();
    let (a, b) = (Instance::new(&net, "alpha", 1).await, Instance::new(&net, "beta", 2).await);
    let id = crafted(&a, collection, 900, 0).await;
    let peer = a.let_in(&b, Role::Mirror, false).await;
    b.sync(&peer).await.unwrap();
    let report = b.puller.fetch(None, std::slice::from_ref(&peer), &never()).await.unwrap();
    assert_eq!((report.chunks, report.still_missing, report.bad.len()), (0, 1, 1));
    assert!(!b.store.index.snapshot(&id).await.unwrap().unwrap().complete);
    assert!(b.last_error(&peer).await.unwrap().contains("1000 bytes long"));
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_in_a_collection_of_another_instance_are_passed_over_and_all_others_taken() {
    let net = MemoryNet::new();
    let (a, b) = (Instance::new(&net, "alpha", 1).await, Instance::new(&net, "beta", 2).await);
    let ours = b.collection("ours").await;
    crafted(&a, ours.id, 1000, 0).await;
    let notes = a.collection("notes").await;
    let good = a.backup(&notes).await;
    let peer = a.let_in(&b, Role::Mirror, false).await;
    let report = b.sync(&peer).await.unwrap();
    assert_eq!((report.new_snapshots, report.caught_up), (vec![good], true));
    assert_eq!(b.store.manifests.list().unwrap(), [good]);
    // It is known that the sets differ, and not asked about over and over.
    assert_eq!(b.sync(&peer).await.unwrap().requests, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_it_stops_and_goes_on_later() {
    let net = MemoryNet::new();
    let (a, id) = small_source(&net).await;
    let b = Instance::new(&net, "beta", 2).await;
    let peer = a.let_in(&b, Role::Reader, false).await;
    let cancelled = never();
    cancelled.cancel();
    assert!(matches!(b.puller.sync(&peer, Duration::ZERO, &cancelled).await, Err(PullError::Cancelled)));
    b.sync(&peer).await.unwrap();
    let fetched = b.puller.fetch(None, std::slice::from_ref(&peer), &cancelled).await;
    assert!(matches!(fetched, Err(PullError::Cancelled)));
    until_done(&b, &peer, &id).await;
    assert_eq!(b.last_error(&peer).await, None);
    b.nothing_twice();
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

pub async fn wait_for(mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        let mut looks = tokio::time::interval(Duration::from_millis(10));
        while !condition().await {
            looks.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("the condition comes true");
}

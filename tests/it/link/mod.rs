//! Instances over the emulated link: what a fetch takes there, beside a model of how the original system does it.
//!
//! The clock is paused and moves only when everybody waits for it, so that an hour on the link takes seconds.
//! `script/link-figures` prints the table ([`figures`]); the same cases, smaller, are tests.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod away; // the row about a year away
mod axon; // rows about an Axon BBS
mod costs; // rows about what is sent and what it costs
mod killed; // the row about kills
mod sets; // rows about many snapshots

pub use away::begin_anew;
pub use sets::{more, record_at_source};

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bulbil::domain::id::{ChunkId, CollectionId};
use bulbil::domain::manifest::{self, Manifest, SegmentSummary};
use bulbil::domain::peer::{PeerAddress, Role};
use bulbil::domain::segment::{Segment, SegmentEntry};
use bulbil::monitor::Tally;
use bulbil::replicate::call::PeerCaller;
use bulbil::replicate::pull::{FetchReport, Puller};
use bulbil::store::index::{Index, NewChunk, NewCollection, NewSnapshot, Peer};
use bulbil::store::{ChunkStore, ChunkStoreError, CreateOptions, Store, entropy};
use bulbil::transport::client::{ClientLimits, HttpClient};
use bulbil::transport::link::{Link, LinkShape};
use bulbil::transport::memory::MemoryNet;
use bulbil::transport::{Dial, Listen};
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::replicate::{Instance, envelope_key, never, noise};

const MIB: u64 = 1 << 20;

/// Runs on a paused clock, which stands still while an index that was opened with [`Still::open`] works.
pub fn still<F: Future>(work: impl FnOnce(Still) -> F) -> F::Output {
    let (still, nudge) = (Still::default(), Arc::new(Notify::new()));
    let (seen, nudged) = (still.clone(), Arc::clone(&nudge));
    let before_parking = move || {
        if seen.is_busy() {
            std::thread::sleep(Duration::from_micros(50));
            nudged.notify_one();
        }
    };
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).on_thread_park(before_parking).build().unwrap();
    let tasks = TaskTracker::new();
    runtime.block_on(async {
        tasks.spawn(async move {
            loop {
                nudge.notified().await;
            }
        });
        work(still).await
    })
}

#[derive(Clone, Default)]
pub struct Still {
    indexes: Arc<Mutex<Vec<Index>>>,
    opening: Arc<AtomicUsize>,
}

impl Still {
    /// Opens a store; the clock stands still meanwhile.
    async fn open(&self, opening: impl Future<Output = Store>) -> Store {
        self.opening.fetch_add(1, Ordering::Relaxed);
        let store = opening.await;
        self.indexes.lock().unwrap().push(store.index.clone());
        self.opening.fetch_sub(1, Ordering::Relaxed);
        store
    }

    fn is_busy(&self) -> bool {
        self.opening.load(Ordering::Relaxed) > 0 || self.indexes.lock().unwrap().iter().any(Index::in_use)
    }
}

/// Chunks in memory; a thrifty one remembers only how long they are.
#[derive(Debug, Default)]
struct Memory {
    chunks: Mutex<HashMap<ChunkId, (u64, Vec<u8>)>>,
    thrifty: bool,
}

impl ChunkStore for Memory {
    fn write(&self, id: &ChunkId, bytes: &[u8]) -> Result<(), ChunkStoreError> {
        let kept = if self.thrifty { Vec::new() } else { bytes.to_vec() };
        self.chunks.lock().unwrap().insert(*id, (bytes.len() as u64, kept));
        Ok(())
    }
    fn sync(&self) -> Result<(), ChunkStoreError> {
        Ok(())
    }
    fn read(&self, id: &ChunkId) -> Result<Vec<u8>, ChunkStoreError> {
        Ok(self.chunks.lock().unwrap()[id].1.clone())
    }
    fn size(&self, id: &ChunkId) -> Result<Option<u64>, ChunkStoreError> {
        Ok(self.chunks.lock().unwrap().get(id).map(|(len, _)| *len))
    }
    fn quarantine(&self, id: &ChunkId) -> Result<(), ChunkStoreError> {
        self.remove(id)
    }
    fn remove(&self, id: &ChunkId) -> Result<(), ChunkStoreError> {
        self.chunks.lock().unwrap().remove(id);
        Ok(())
    }
    fn list(&self, each: &mut dyn FnMut(ChunkId, u64)) -> Result<(), ChunkStoreError> {
        self.chunks.lock().unwrap().iter().for_each(|(id, (len, _))| each(*id, *len));
        Ok(())
    }
}

/// An instance with its chunks in memory.
pub async fn instance(still: &Still, net: &MemoryNet, name: &str, port: u16, thrifty: bool) -> Instance {
    let dir = tempfile::tempdir().unwrap();
    let options = CreateOptions { name: name.into(), passphrase: None };
    let home = dir.path().join("home");
    let create = async { Store::create_with(&home, options, Some(envelope_key(0))).await.unwrap().0 };
    let mut store = still.open(create).await;
    store.chunks = Arc::new(Memory { thrifty, ..Memory::default() });
    Instance::around(net, dir, store, port)
}

/// Gives an instance snapshots of these chunks.
pub async fn fill(a: &Instance, collection: &CollectionId, snapshots: u64, sizes: &[u32]) {
    let origin = a.store.keys.instance();
    if a.store.index.collection(collection).await.unwrap().is_none() {
        let new = NewCollection { id: *collection, name: collection.short(), origin, settings: None };
        a.store.index.add_collection(&new).await.unwrap();
    }
    let mut new_chunks = Vec::new();
    for (n, size) in sizes.iter().enumerate() {
        let bytes = noise(n as u64 + 1, *size as usize);
        let id = ChunkId::of(&bytes);
        a.store.chunks.write(&id, &bytes).unwrap();
        new_chunks.push(NewChunk { id, size_bytes: *size, sealed: vec![] });
    }
    let entries = new_chunks.iter().map(|chunk| SegmentEntry { id: chunk.id, size_bytes: chunk.size_bytes });
    let segment = Segment::new(entries.collect());
    a.store.chunks.write(&segment.id, &segment.encode()).unwrap();
    let summary = SegmentSummary::from(&segment);
    for sequence in 1..=snapshots {
        let manifest = Manifest {
            format: manifest::FORMAT.into(),
            suite: manifest::SUITE.into(),
            instance: origin,
            collection: *collection,
            sequence,
            parent: None,
            created_at: "2026-11-22T09:00:00Z".parse().unwrap(),
            partial: false,
            commitment: "00".repeat(32),
            chunks: new_chunks.len() as u64,
            chunk_bytes: summary.bytes,
            segments: vec![summary.clone()],
            private: String::new(),
        };
        let signed = manifest.sign(&a.store.keys.identity);
        a.store.manifests.save(&signed, &[]).unwrap();
        let chunks = if sequence == 1 { &new_chunks[..] } else { &[] };
        let segments = [segment.clone()];
        let new = NewSnapshot {
            signed: &signed,
            segments: &segments,
            new_chunks: chunks,
            shared: &[],
            supersedes: None,
            capture: None,
        };
        a.store.index.commit_snapshot(new).await.unwrap();
    }
}

/// Somebody who mirrors sources over a link.
pub struct Mirror {
    pub instance: Instance,
    pub link: Link,
    pub puller: Puller,
    pub peers: Vec<Peer>,
}

/// What a fetch took.
struct Took {
    time: Duration,
    report: FetchReport,
    /// Bytes of bodies that came, and that were sent.
    received: u64,
    sent: u64,
}

impl Mirror {
    /// Pairs with the sources and syncs with them; no chunk is here yet.
    pub async fn new(still: &Still, net: &MemoryNet, shape: LinkShape, sources: &[&Instance]) -> Self {
        let instance = instance(still, net, "mirror", 99, true).await;
        let circuits = shape.circuits;
        let link = Link::new(net.clone(), shape);
        let client = HttpClient::new(Arc::new(link.clone()), ClientLimits::patient(4));
        let caller = PeerCaller::new(client, instance.store.keys.clone(), instance.clock.clone());
        let puller = Puller::new(instance.store.clone(), caller, Arc::new(Tally::default()));
        let puller = puller.with_max_circuits(circuits);
        let mut peers = Vec::new();
        for source in sources {
            let peer = source.let_in(&instance, Role::Mirror, true).await;
            puller.sync(&peer, Duration::ZERO, &never()).await.unwrap();
            peers.push(peer);
        }
        Self { instance, link, puller, peers }
    }

    /// Fetches everything; `meanwhile` goes on beside it.
    async fn fetch(&self, net: &MemoryNet, meanwhile: impl Future<Output = ()>) -> Took {
        net.reset();
        let before = self.puller.caller().client().counts().body_bytes;
        let started = Instant::now();
        let cancel = never();
        let fetching = self.puller.fetch(None, &self.peers, &cancel);
        tokio::pin!(fetching, meanwhile);
        let report = tokio::select! {
            report = &mut fetching => report,
            () = &mut meanwhile => fetching.await,
        };
        let time = started.elapsed();
        let received = self.puller.caller().client().counts().body_bytes - before;
        self.instance.nothing_twice();
        Took { time, report: report.unwrap(), received, sent: net.counts().answer_bytes }
    }
}

async fn nothing() {
    std::future::pending().await
}

/// The original system on such a link: a new stream for each request.
struct Original {
    link: Link,
    address: PeerAddress,
}

impl Original {
    const REQUEST: usize = 400;
    const HEAD: usize = 200;
    /// Objects of a content at once.
    const CHUNKS: usize = 4;
    /// Contents at once.
    const CONTENTS: usize = 3;

    fn on(shape: LinkShape) -> Self {
        let net = MemoryNet::new();
        let address: PeerAddress = "http://127.0.0.1:7".parse().unwrap();
        let mut listener = net.listen(&address);
        let tasks = TaskTracker::new();
        tasks.spawn(async move {
            while let Ok(mut stream) = listener.accept().await {
                TaskTracker::new().spawn(async move {
                    let mut request = [0; Self::REQUEST];
                    if stream.read_exact(&mut request).await.is_err() {
                        return;
                    }
                    let len = u32::from_be_bytes(request[..4].try_into().unwrap()) as usize;
                    let _ = stream.write_all(&vec![0; Self::HEAD + len]).await;
                });
            }
        });
        let link = Link::new(net, shape);
        link.warm(&address);
        Self { link, address }
    }

    /// One request; what breaks is done again.
    async fn ask(&self, len: u32) {
        loop {
            let Ok(mut stream) = self.link.dial(&self.address).await else { continue };
            let mut request = [0; Self::REQUEST];
            request[..4].copy_from_slice(&len.to_be_bytes());
            let mut answer = Vec::new();
            if stream.write_all(&request).await.is_ok() && stream.read_to_end(&mut answer).await.is_ok() {
                assert_eq!(answer.len(), Self::HEAD + len as usize);
                return;
            }
        }
    }

    /// Several contents at once, several objects of each. Whether an object is there is asked before it.
    async fn fetch(&self, contents: Vec<Vec<u32>>) {
        let object = async |len: u32| {
            self.ask(0).await;
            self.ask(len).await;
        };
        let object = &object;
        let content = async |objects: Vec<u32>| Self::together(objects, Self::CHUNKS, object).await;
        Self::together(contents, Self::CONTENTS, &content).await;
    }

    /// Works on so many at once.
    async fn together<T>(all: Vec<T>, at_once: usize, work: &impl AsyncFn(T)) {
        let all = all.into_iter().map(|one| async move { work(one).await });
        futures_util::stream::iter(all).buffer_unordered(at_once).for_each(async |()| ()).await;
    }
}

/// How long the original system takes on such a link.
async fn original(shape: LinkShape, contents: Vec<Vec<u32>>) -> Duration {
    let original = Original::on(shape);
    let started = Instant::now();
    original.fetch(contents).await;
    started.elapsed()
}

/// One row of the table.
struct Row {
    case: &'static str,
    ours: String,
    original: String,
    limit: &'static str,
    holds: bool,
}

/// What this process has worked until now.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn small_objects(warm: bool) -> Row {
    let sizes = vec![4096; 1000];
    let (took, bytes) = still(async |still| {
        let net = MemoryNet::new();
        let a = instance(&still, &net, "alpha", 1, false).await;
        fill(&a, &CollectionId::random(&mut entropy()), 1, &sizes).await;
        let b = Mirror::new(&still, &net, LinkShape::default(), &[&a]).await;
        if warm {
            b.link.warm(&a.address);
        }
        let took = b.fetch(&net, nothing()).await;
        (took, 4096 * 1000)
    });
    assert_eq!((took.report.bytes, took.report.still_missing), (bytes, 0));
    let theirs = still(async |_| original(LinkShape::default(), vec![vec![4096]; 1000]).await);
    let times = theirs.as_secs_f64() / took.time.as_secs_f64();
    let fast = took.time <= Duration::from_secs(10) && times >= 100.0;
    Row {
        case: if warm { "1,000 x 4 KiB, circuits built" } else { "1,000 x 4 KiB, circuits to be built" },
        ours: format!("{} ({times:.0}x), {} requests", seconds(took.time), took.report.requests),
        original: seconds(theirs),
        limit: if warm { "<= 10 s, >= 100x" } else { "none" },
        holds: fast || !warm,
    }
}

/// Fetches `mib` MiB in chunks of 2 MiB.
fn bulk(mib: u64, shape: LinkShape) -> (Took, u64) {
    still(async |still| {
        let net = MemoryNet::new();
        let a = instance(&still, &net, "alpha", 1, false).await;
        fill(&a, &CollectionId::random(&mut entropy()), 1, &vec![2 << 20; mib as usize / 2]).await;
        let b = Mirror::new(&still, &net, shape, &[&a]).await;
        let took = b.fetch(&net, nothing()).await;
        assert_eq!((took.report.bytes, took.report.still_missing), (mib * MIB, 0));
        (took, b.link.counts().breaks)
    })
}

fn original_bulk(mib: u64, shape: LinkShape) -> Duration {
    // Contents of 16 MiB.
    let contents = vec![vec![2 << 20; 8]; mib as usize / 16];
    still(async |_| original(shape, contents).await)
}

fn much(mib: u64) -> Row {
    let shape = LinkShape::default();
    let (took, _) = bulk(mib, shape.clone());
    let full = (shape.circuit_rate * shape.circuits as u64) as f64;
    let part = (mib * MIB) as f64 / took.time.as_secs_f64() / full;
    Row {
        case: "256 MiB",
        ours: format!("{}, {:.1} % of 4 x 290 kB/s", seconds(took.time), part * 100.0),
        original: seconds(original_bulk(mib, shape)),
        limit: ">= 90 %",
        holds: part >= 0.9,
    }
}

fn breaks(mib: u64) -> Row {
    let shape = LinkShape { breaks_every: Some(Duration::from_secs(20)), ..LinkShape::default() };
    let (took, breaks) = bulk(mib, shape.clone());
    let useful = (mib * MIB) as f64;
    let (twice, sent) = (took.received as f64 / useful - 1.0, took.sent as f64 / useful - 1.0);
    Row {
        case: "256 MiB, a circuit breaks every 20 s",
        ours: format!(
            "{}, {breaks} breaks, {:.1} % received in vain, {:.1} % with what was lost on its way",
            seconds(took.time),
            twice * 100.0,
            sent * 100.0
        ),
        original: seconds(original_bulk(mib, shape)),
        limit: "done, <= 3 %",
        holds: twice <= 0.03 && sent <= 0.03,
    }
}

fn one_of_two_dies(mib: u64) -> Row {
    let shape = LinkShape { circuits: 1, ..LinkShape::default() };
    let rate = shape.circuit_rate as f64;
    let total = (mib * MIB) as f64;
    // A quarter of all by each, and then the rest by one.
    let dies_at = Duration::from_secs_f64(total / 4.0 / rate);
    let ideal = dies_at.as_secs_f64() + total / 2.0 / rate;
    let took = still(async |still| {
        let net = MemoryNet::new();
        let (a, c) = (instance(&still, &net, "alpha", 1, false).await, instance(&still, &net, "gamma", 2, false).await);
        fill(&a, &CollectionId::random(&mut entropy()), 1, &vec![2 << 20; mib as usize / 2]).await;
        // The other one is a mirror of the first.
        let of_a = a.let_in(&c, Role::Mirror, true).await;
        c.puller.sync(&of_a, Duration::ZERO, &never()).await.unwrap();
        c.puller.fetch(None, &[of_a], &never()).await.unwrap();
        let b = Mirror::new(&still, &net, shape, &[&a, &c]).await;
        let death = async {
            tokio::time::sleep(dies_at).await;
            b.link.cut_off(&a.address);
        };
        b.fetch(&net, death).await
    });
    assert_eq!((took.report.bytes, took.report.still_missing), (mib * MIB, 0));
    let part = ideal / took.time.as_secs_f64();
    let twice = took.received as f64 / total - 1.0;
    Row {
        case: "two peers, one dies half-way",
        ours: format!("{}, {:.1} % of what is there, {:.2} % twice", seconds(took.time), part * 100.0, twice * 100.0),
        original: "-".into(),
        limit: ">= 90 %, nothing twice",
        holds: part >= 0.9 && twice < 0.01,
    }
}

fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    for Row { case, ours, original, limit, holds } in rows {
        let verdict = if *holds { "ok    " } else { "FAILED" };
        text += &format!(
            "{verdict} {case}\n       here      {ours}\n       original  {original}\n       limit     {limit}\n"
        );
    }
    text
}

/// What `script/link-figures` prints.
#[test]
#[ignore = "takes a minute or two: script/link-figures"]
fn figures() {
    let cases: [fn() -> Vec<Row>; 12] = [
        || vec![small_objects(true)],
        || vec![small_objects(false)],
        || vec![much(256)],
        || sets::many(100_000).into(),
        || vec![breaks(256)],
        || vec![costs::day_two(400)],
        || vec![costs::envelopes(1000)],
        || vec![one_of_two_dies(64)],
        || vec![killed::again_and_again(50)],
        || vec![away::a_year(10_000)],
        || vec![axon::over_onions()],
        || vec![axon::over_loopback()],
    ];
    // Each has a clock of its own, so that they do not see each other.
    let (next, measured) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let no = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(no) else { break };
                    let started = std::time::Instant::now();
                    let rows = case();
                    println!("{}: measured in {:.0?}", rows[rows.len() - 1].case, started.elapsed());
                    measured.lock().unwrap().insert(no, rows);
                }
            });
        }
    });
    let rows: Vec<Row> = measured.into_inner().unwrap().into_values().flatten().collect();
    println!("\nRound trip 1 s, 290 kB/s a circuit, 4 circuits, windows of 500 and 1,000 cells\n{}", table(&rows));
    assert!(rows.iter().all(|row| row.holds));
}

#[test]
fn a_thousand_small_objects_come_in_ten_seconds() {
    let row = small_objects(true);
    assert!(row.holds, "{}", row.ours);
}

#[test]
fn a_bbs_is_taken_over_five_times_as_fast_as_it_does_it_itself() {
    let row = axon::over_onions();
    assert!(row.holds, "{}; the original: {}", row.ours, row.original);
}

#[test]
fn a_line_that_breaks_again_and_again_wastes_little() {
    let row = breaks(32);
    assert!(row.holds, "{}", row.ours);
}

#[test]
fn when_one_of_two_peers_dies_the_other_one_brings_the_rest() {
    let row = one_of_two_dies(32);
    assert!(row.holds, "{}", row.ours);
}

#[test]
fn when_nothing_is_new_it_is_one_small_request_and_holes_are_found_with_a_few() {
    let [idle, holes] = sets::many(300);
    assert!(idle.holds, "{}", idle.ours);
    assert!(holes.holds, "{}", holes.ours);
}

#[test]
fn r11_who_was_away_hears_of_everything_although_the_feed_has_begun_anew() {
    let row = away::a_year(1200);
    assert!(row.holds, "{}", row.ours);
}

#[test]
fn r13_what_a_killed_clone_has_verified_is_not_asked_for_again() {
    let row = killed::again_and_again(5);
    assert!(row.holds, "{}", row.ours);
}

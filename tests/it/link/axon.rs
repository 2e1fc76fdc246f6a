//! Rows about the first full sync with an Axon BBS: 20 items in 69 chunks, 14 MB, as the real system was measured with.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bulbil::axon::caller::AxonCaller;
use bulbil::axon::collection::default_collection;
use bulbil::axon::instance::AxonInstance;
use bulbil::axon::pull::{AxonPuller, Wanted};
use bulbil::domain::axon::cipher::seal;
use bulbil::domain::axon::json::Value;
use bulbil::domain::axon::kept::Kept;
use bulbil::domain::axon::key::PublicKey;
use bulbil::domain::axon::manifest::{ContentType, Manifest};
use bulbil::domain::axon::payload::{File, Payload};
use bulbil::domain::axon::private::PrivateKey;
use bulbil::domain::onion::OnionAddress;
use bulbil::http::listener::{ServeLimits, serve};
use bulbil::monitor::Tally;
use bulbil::store::fresh_axon_key;
use bulbil::store::index::axon::{AxonPeer, AxonRights, AxonTrust};
use bulbil::transport::direct::{DirectDial, DirectListener};
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::*;

/// Pieces of 262,144 bytes and one that is half as long: with twelve small items 69 chunks.
const LARGE: [usize; 8] = [7, 7, 7, 7, 7, 7, 7, 8];
const SMALL: usize = 12;
const CHUNKS: u64 = 69;
const ITEMS: u64 = 20;
const PIECE: usize = 262_144;

/// What a BBS has, announced with an envelope for whoever has `key`.
struct Board {
    sync: Bytes,
    chunks: HashMap<String, Bytes>,
    /// For the model: the sizes of each item's chunks.
    sizes: Vec<Vec<u32>>,
    asked: AtomicU64,
}

impl Board {
    fn new(key: &PublicKey) -> Self {
        let wrapper = key.wrapper().unwrap();
        let large = LARGE.iter().map(|pieces| (pieces * PIECE - PIECE / 2) * 3 / 4);
        let (mut manifests, mut chunks, mut sizes) = (Vec::new(), HashMap::new(), Vec::new());
        for (n, len) in std::iter::repeat_n(700, SMALL).chain(large).enumerate() {
            let file = File::new("noise", "application/octet-stream", noise(n as u64, len));
            let sealed = seal(&Payload::File(Kept::new(file)).to_plaintext(), &mut entropy());
            let mut manifest = Manifest::of(&sealed);
            manifest.add_envelope(&wrapper, &sealed.key).unwrap();
            manifest.set_content_type(ContentType::File);
            manifests.push(manifest.to_value());
            sizes.push(sealed.chunks.iter().map(|chunk| chunk.len() as u32).collect());
            for (at, chunk) in sealed.chunks.into_iter().enumerate() {
                chunks.insert(format!("/api/bitsync/chunk/{}/{at}/", sealed.content_hash), Bytes::from(chunk));
            }
        }
        let manifests = Value::List(manifests).to_line();
        let sync = format!(
            "{{\"manifests\": {manifests}, \"federated_actions\": [], \"server_timestamp\": \"2026-11-22T10:00:00+00:00\"}}"
        );
        assert_eq!(chunks.len() as u64, CHUNKS);
        Self { sync: sync.into(), chunks, sizes, asked: AtomicU64::new(0) }
    }

    fn router(self: &Arc<Self>) -> axum::Router {
        async fn answer(State(board): State<Arc<Board>>, request: Request) -> Response {
            board.asked.fetch_add(1, Ordering::Relaxed);
            let (body, kind) = match request.uri().path() {
                "/api/sync/" => (board.sync.clone(), "application/json"),
                path => (board.chunks[path].clone(), "application/octet-stream"),
            };
            ([(CONTENT_TYPE, kind)], body).into_response()
        }
        axum::Router::new().fallback(answer).with_state(Arc::clone(self))
    }
}

/// The keys of both sides and the content, which take time to make.
static WORLD: LazyLock<(Arc<AxonInstance>, PublicKey, Arc<Board>)> = LazyLock::new(|| {
    let private = PrivateKey::from_pkcs8_der(&fresh_axon_key()).unwrap();
    let public = private.public().clone();
    let theirs = PrivateKey::from_pkcs8_der(&fresh_axon_key()).unwrap().public().clone();
    let board = Arc::new(Board::new(&public));
    (Arc::new(AxonInstance { name: public.name(), public, private }), theirs, board)
});

/// The first full sync of an instance without anything, and how many requests it took.
async fn first_sync(
    of: &Instance,
    client: HttpClient,
    address: &PeerAddress,
    elapsed: impl Fn() -> Duration,
) -> (Duration, u64) {
    let (instance, theirs, board) = &*WORLD;
    let caller = AxonCaller::new(client, Arc::clone(instance), of.clock.clone());
    let puller = AxonPuller::new(of.store.clone(), caller, Arc::new(Tally::default()));
    let peer = AxonPeer {
        name: "bbs".into(),
        address: Some(address.reveal().parse().unwrap()),
        public_key: theirs.clone(),
        trust: AxonTrust::Trusted(AxonRights::none()),
        follow: true,
        added_at: of.clock_now(),
        cursor: None,
        last_contact_at: None,
        last_error: None,
    };
    of.store.index.put_axon_peer(&peer).await.unwrap();
    let collection = default_collection(&of.store).await.unwrap();
    board.asked.store(0, Ordering::Relaxed);
    let before = elapsed();
    let synced = puller.sync(&collection, &peer, &never()).await.unwrap();
    assert_eq!(synced.new_items, ITEMS);
    let report = puller.download(&collection, &[peer], &Wanted::All, &never()).await.unwrap();
    let took = elapsed() - before;
    assert_eq!((report.items, report.chunks, report.faults.len()), (ITEMS, CHUNKS, 0));
    (took, board.asked.load(Ordering::Relaxed))
}

/// Over an onion link. The real client sends everything through one SOCKS port without a name of its own, so all its streams
/// share one circuit; a connection for each request; 3 items at a time, of each first whether it is there and then 4 chunks at a time.
pub(super) fn over_onions() -> Row {
    let board = &WORLD.2;
    let shape = LinkShape { circuits: 6, ..LinkShape::default() };
    let (time, asked) = still(async |still| {
        let net = MemoryNet::new();
        let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]).verifying_key().to_bytes();
        let address = PeerAddress::Onion(OnionAddress::new(key, 80).unwrap());
        let stop = CancellationToken::new();
        TaskTracker::new().spawn(serve(net.listen(&address), board.router(), ServeLimits::default(), stop));
        let here = instance(&still, &net, "alpha", 1, false).await;
        let link = Link::new(net.clone(), shape.clone());
        link.warm(&address);
        let client = HttpClient::new(Arc::new(link), ClientLimits::patient(shape.circuits));
        let started = Instant::now();
        first_sync(&here, client, &address, || started.elapsed()).await
    });
    let model = |shape: LinkShape| {
        still(async |_| {
            let original = Original::on(shape);
            let started = Instant::now();
            original.ask(board.sync.len() as u32).await;
            let item = async |chunks: Vec<u32>| {
                original.ask(0).await;
                Original::together(chunks, Original::CHUNKS, &async |len| original.ask(len).await).await;
            };
            Original::together(board.sizes.clone(), Original::CONTENTS, &item).await;
            started.elapsed()
        })
    };
    let theirs = model(LinkShape { circuits: 1, ..shape.clone() });
    let spread = model(shape);
    let times = theirs.as_secs_f64() / time.as_secs_f64();
    Row {
        case: "Axon BBS, first full sync over onions: 20 items, 69 chunks, 14 MB",
        ours: format!("{} ({times:.1}x), {asked} requests", seconds(time)),
        original: format!(
            "{} as its streams share a circuit; {} if Tor gave it as many as we take",
            seconds(theirs),
            seconds(spread)
        ),
        limit: ">= 5x",
        holds: times >= 5.0,
    }
}

/// Over loopback, with a disk.
pub(super) fn over_loopback() -> Row {
    let board = &WORLD.2;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (time, asked) = runtime.block_on(async {
        let listener = DirectListener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.address();
        let stop = CancellationToken::new();
        TaskTracker::new().spawn(serve(listener, board.router(), ServeLimits::default(), stop.clone()));
        let here = Instance::new(&MemoryNet::new(), "alpha", 1).await;
        let client = HttpClient::new(Arc::new(DirectDial::new(true)), ClientLimits::default());
        let started = std::time::Instant::now();
        let took = first_sync(&here, client, &address, || started.elapsed()).await;
        stop.cancel();
        took
    });
    Row {
        case: "Axon BBS, the same over loopback, envelopes ready",
        ours: format!("{:.2} s, {asked} requests", time.as_secs_f64()),
        original: "2.5 s, 90 requests (measured with the real system)".into(),
        limit: "<= 0.5 s",
        holds: time <= Duration::from_millis(500),
    }
}

//! The peer plane through its router, and through connections in memory.

mod pairing; // how instances come in
mod sending; // how long, how fast and how much chunks are sent

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, Request, StatusCode};
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::*;
use crate::clock::FixedClock;
use crate::domain::crypto::sign::IdentityKey;
use crate::domain::feed::Change;
use crate::domain::id::{ChunkId, ManifestId};
use crate::domain::limits::Limits;
use crate::domain::peer::{PeerAddress, Rights, Role, Scope, Trust};
use crate::domain::wire::frame::{Event, FrameDecoder, FrameError};
use crate::domain::wire::messages::{ChunksRequest, EnvelopeStatus, MAX_IDS, MAX_REQUEST_BYTES, ProblemDocument};
use crate::domain::wire::signature::{RequestParts, sign_request};
use crate::http::{ServeLimits, serve};
use crate::replicate::call::{CallError, Callee, PeerCaller};
use crate::store::index::Peer;
use crate::store::testing::{Made, MakeSnapshot, TestStore};
use crate::store::{Keys, entropy};
use crate::transport::client::{ClientLimits, HttpClient};
use crate::transport::memory::{Fault, MemoryNet};

const NOW: &str = "2026-11-22T06:00:00Z";

/// A host with a collection that the guest may see and one that it may not.
struct World {
    host: TestStore,
    guest: TestStore,
    seen: Made,
    hidden: Made,
    clock: Arc<FixedClock>,
    plane: PeerPlane,
    router: Router,
}

impl World {
    async fn new(role: Role) -> Self {
        Self::with(role, PeerLimits::default()).await
    }

    async fn with(role: Role, limits: PeerLimits) -> Self {
        let (host, guest) = tokio::join!(TestStore::new(), TestStore::new());
        let (a, b) = (host.collection("seen").await, host.collection("hidden").await);
        let texts: Vec<String> = (0..8).map(|n| format!("file {n}")).collect();
        let files: Vec<(&str, &[u8])> = texts.iter().map(|text| (text.as_str(), text.as_bytes())).collect();
        let seen = host.snapshot(MakeSnapshot::new(a.id, 1, &files)).await;
        let hidden = host.snapshot(MakeSnapshot::new(b.id, 1, &[("secret", b"hidden bytes")])).await;
        let clock = Arc::new(FixedClock::new(NOW.parse().unwrap()));
        let plane = PeerPlane::new(Serve::new(host.store.clone()), clock.clone(), limits);
        let router = peer_router(plane.clone());
        let world = Self { host, guest, seen, hidden, clock, plane, router };
        world
            .trust(Trust::Trusted(Rights {
                scope: Scope::Only([a.id].into()),
                role,
                onward: false,
                from: None,
                limits: Default::default(),
            }))
            .await;
        world
    }

    /// Lets the guest in, with limits.
    async fn admit(&self, limits: Limits) {
        let scope = Scope::Only([self.seen.signed.manifest.collection].into());
        self.trust(Trust::Trusted(Rights { scope, role: Role::Reader, onward: false, from: None, limits })).await;
    }

    async fn trust(&self, trust: Trust) {
        let mut peer = crate::store::testing::peer("guest");
        peer.id = self.keys().instance();
        peer.identity = self.keys().identity_document();
        self.host.store.index.save_peer(&Peer { trust, ..peer }).await.unwrap();
    }

    fn keys(&self) -> &Keys {
        &self.guest.store.keys
    }

    /// A request that the guest signs for the host.
    fn signed(&self, method: &str, path: &str, body: &[u8]) -> Request<Body> {
        self.signed_by(&self.keys().identity, &self.host.store.keys.instance(), method, path, body)
    }

    fn signed_by(&self, key: &IdentityKey, to: &InstanceId, method: &str, path: &str, body: &[u8]) -> Request<Body> {
        let mut nonce = [0; 16];
        rand_core::Rng::fill_bytes(&mut entropy(), &mut nonce);
        let uri = format!("/peer/v1{path}");
        let (path, query) = uri.split_once('?').map_or((&*uri, None), |(path, query)| (path, Some(query)));
        let parts = RequestParts { method, authority: "127.0.0.1:7001", path, query, addressee: to };
        let now = crate::clock::Clock::now(&*self.clock);
        let headers = sign_request(&parts, body, key, now, &nonce);
        let mut request = Request::builder().method(method).uri(&uri).header("host", "127.0.0.1:7001");
        for (name, value) in headers.iter() {
            request = request.header(name, value);
        }
        request.body(Body::from(body.to_vec())).unwrap()
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        Answer { status: head.status, headers: head.headers, body: to_bytes(body, usize::MAX).await.unwrap() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(self.signed("GET", path, b"")).await
    }

    async fn post(&self, path: &str, body: &impl serde::Serialize) -> Answer {
        self.send(self.signed("POST", path, &serde_json::to_vec(body).unwrap())).await
    }

    /// A chunk of the snapshot that may be seen, and its bytes.
    fn chunk(&self) -> (ChunkId, Bytes) {
        let (id, bytes) = &self.seen.stored[0];
        (*id, Bytes::from(bytes.clone()))
    }

    /// Serves in memory; the guest's way to call.
    fn online(&self) -> (MemoryNet, PeerCaller, Callee) {
        let net = MemoryNet::new();
        let address: PeerAddress = "http://127.0.0.1:7001".parse().unwrap();
        let listener = net.listen(&address);
        let stop = CancellationToken::new();
        TaskTracker::new().spawn(serve(listener, self.router.clone(), ServeLimits::default(), stop));
        let caller = self.caller(&net, &self.guest);
        (net, caller, Callee { address, key: self.host.store.keys.identity.public() })
    }

    fn caller(&self, net: &MemoryNet, who: &TestStore) -> PeerCaller {
        let client = HttpClient::new(Arc::new(net.clone()), ClientLimits::default());
        PeerCaller::new(client, who.store.keys.clone(), self.clock.clone())
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn problem(&self) -> String {
        serde_json::from_slice::<ProblemDocument>(&self.body).unwrap().code
    }

    /// Without what differs from one request to the next.
    fn plain(mut self) -> Self {
        for name in ["signature", "signature-input", "bulbil-nonce", "content-digest"] {
            self.headers.remove(name);
        }
        self
    }
}

fn nowhere() -> ChunkId {
    ChunkId::of(b"nobody has this")
}

fn chunks(ids: &[ChunkId]) -> ChunksRequest {
    ChunksRequest { ids: ids.to_vec() }
}

fn decode(asked: usize, body: &[u8]) -> Result<Vec<Event>, FrameError> {
    let mut decoder = FrameDecoder::new(asked);
    let (mut rest, mut events) = (body, Vec::new());
    while let Some(event) = decoder.next(&mut rest)? {
        events.push(event);
    }
    decoder.finish().map(|()| events)
}

#[tokio::test]
async fn it_is_known_when_a_guest_was_heard_of_last() {
    let world = World::new(Role::Reader).await;
    let heard = async || world.host.store.index.peer(&world.keys().instance()).await.unwrap().unwrap().last_contact_at;
    assert_eq!(heard().await, None);
    let stranger = IdentityKey::random(&mut entropy());
    let unknown = world.signed_by(&stranger, &world.host.store.keys.instance(), "GET", "/changes?after=0", b"");
    assert_eq!(world.send(unknown).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(heard().await, None);
    for (later, known) in [(0, 0), (30, 0), (40, 70)] {
        let now = crate::clock::Clock::now(&*world.clock);
        world.clock.set(now + SignedDuration::from_secs(later));
        world.get("/changes?after=0").await;
        assert_eq!(heard().await, Some(NOW.parse::<Timestamp>().unwrap() + SignedDuration::from_secs(known)));
    }
}

#[tokio::test]
async fn r10_r12_whatever_is_wrong_with_the_caller_is_one_and_the_same_401() {
    let world = World::new(Role::Reader).await;
    let (host, guest) = (world.host.store.keys.instance(), &world.keys().identity);
    let stranger = IdentityKey::random(&mut entropy());
    let reference = world.send(world.signed_by(&stranger, &host, "GET", "/config", b"")).await;
    assert_eq!((reference.status, reference.problem()), (StatusCode::UNAUTHORIZED, "unauthorized".to_owned()));

    // A stranger's signature under the guest's name.
    let mut forged = world.signed("GET", "/config", b"");
    let other = world.signed_by(&stranger, &host, "GET", "/config", b"");
    forged.headers_mut().insert("signature", other.headers()["signature"].clone());
    // A body that was not signed.
    let mut changed = world.signed("POST", "/have", b"{\"ids\":[]}");
    *changed.body_mut() = Body::from("{\"ids\":[ ]}");
    let mut other_path = world.signed("GET", "/config", b"");
    *other_path.uri_mut() = "/peer/v1/changes".parse().unwrap();
    let mut other_method = world.signed("GET", "/chunks", b"");
    *other_method.method_mut() = http::Method::POST;
    let mut doubled = world.signed("GET", "/config", b"");
    let again = doubled.headers()["signature"].clone();
    doubled.headers_mut().append("signature", again);
    let elsewhere = stranger.public().instance();
    let unsigned = Request::get("/peer/v1/config").header("host", "127.0.0.1:7001").body(Body::empty()).unwrap();
    for (what, request) in [
        ("forged", forged),
        ("changed body", changed),
        ("other path", other_path),
        ("other method", other_method),
        ("doubled header", doubled),
        ("other addressee", world.signed_by(guest, &elsewhere, "GET", "/config", b"")),
        ("unsigned", unsigned),
        ("unknown path", world.signed_by(&stranger, &host, "GET", "/nothing", b"")),
    ] {
        let answer = world.send(request).await;
        assert_eq!((answer.status, answer.body), (reference.status, reference.body.clone()), "{what}");
    }

    assert_eq!(world.get("/config").await.status, StatusCode::OK);
    for trust in [Trust::Pending, Trust::Revoked] {
        world.trust(trust.clone()).await;
        let answer = world.get("/config").await;
        assert_eq!(answer.plain(), reference.clone().plain(), "{trust:?}");
    }
}

#[tokio::test]
async fn r10_a_replayed_request_is_refused() {
    let world = World::new(Role::Reader).await;
    let first = world.signed("GET", "/config", b"");
    let mut again = Request::get("/peer/v1/config").body(Body::empty()).unwrap();
    *again.headers_mut() = first.headers().clone();
    assert_eq!(world.send(first).await.status, StatusCode::OK);
    let answer = world.send(again).await;
    assert_eq!((answer.status, answer.problem()), (StatusCode::UNAUTHORIZED, "unauthorized".to_owned()));
}

#[tokio::test]
async fn a_wrong_clock_is_told_to_trusted_peers_only() {
    let world = World::new(Role::Reader).await;
    let late = world.signed("GET", "/config", b"");
    let later = world.signed("GET", "/config", b"");
    let now: Timestamp = NOW.parse().unwrap();
    world.clock.set(now + SignedDuration::from_mins(10));
    let answer = world.send(late).await;
    assert_eq!((answer.status, answer.problem()), (StatusCode::UNAUTHORIZED, "clock-skew".to_owned()));
    world.trust(Trust::Revoked).await;
    assert_eq!(world.send(later).await.problem(), "unauthorized");
}

#[tokio::test]
async fn r12_what_may_not_be_seen_looks_like_what_does_not_exist() {
    let world = World::new(Role::Reader).await;
    let (forbidden, manifest) = (world.hidden.stored[0].0, world.hidden.signed.id);
    for method in ["GET", "HEAD"] {
        let ask = async |id: ChunkId| world.send(world.signed(method, &format!("/chunks/{id}"), b"")).await.plain();
        let answer = ask(forbidden).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert_eq!(answer, ask(nowhere()).await);
        assert_eq!(answer, ask(world.hidden.segments[0].id).await);
        let malformed = world.send(world.signed(method, "/chunks/..%2f..%2fkeys", b"")).await.plain();
        assert_eq!(answer, malformed);
    }
    let streamed = world.post("/chunks", &chunks(&[forbidden, nowhere()])).await;
    let missing = [Event::Missing { id: forbidden }, Event::Missing { id: nowhere() }, Event::End];
    assert_eq!(decode(2, &streamed.body).unwrap(), missing);

    let (_net, caller, host) = world.online();
    assert_eq!(caller.have(&host, &[forbidden, nowhere(), world.chunk().0]).await.unwrap(), [false, false, true]);
    let envelopes = caller.envelopes(&host, &[manifest, ManifestId::of(b"")]).await.unwrap();
    assert!(envelopes.iter().all(|e| e.status == EnvelopeStatus::Absent && e.envelope.is_none()));
    let page = caller.changes(&host, None, 10, Duration::ZERO).await.unwrap();
    assert_eq!((page.changes.len(), page.fingerprint.count(), page.more), (1, 1, false));
    let config = serde_json::to_string(&caller.config(&host).await.unwrap()).unwrap();
    assert!(config.contains("seen") && !config.contains("hidden") && !config.contains("/srv"));
}

#[tokio::test]
async fn a_reader_gets_manifests_envelopes_and_chunks() {
    let world = World::new(Role::Reader).await;
    let (_net, caller, host) = world.online();
    let (_, identity) = caller.identity(&host.address, Some(&host.instance())).await.unwrap();
    assert_eq!(identity.identity_key, host.key);

    let page = caller.changes(&host, None, 10, Duration::ZERO).await.unwrap();
    let Change::Manifest { id, manifest, signature, envelopes } = &page.changes[0] else { panic!("a manifest") };
    assert_eq!(*id, world.seen.signed.id);
    assert!(envelopes.is_empty(), "the vault's envelope stays at home");
    let signed = crate::domain::manifest::SignedManifest::verify(*id, manifest.clone().into(), *signature).unwrap();

    let answers = caller.envelopes(&host, &[*id]).await.unwrap();
    let envelope = answers[0].envelope.as_ref().unwrap();
    let key = envelope.open_with(id, &signed.manifest.commitment, &world.keys().envelope).unwrap();
    assert_eq!(signed.manifest.open_private(&key).unwrap().name, "secret-name");

    let mut ids: Vec<ChunkId> = world.seen.segments.iter().map(|segment| segment.id).collect();
    ids.extend(world.seen.chunks().iter().map(|(id, _)| *id));
    ids.push(nowhere());
    let mut stream = caller.chunks(&host, &ids).await.unwrap();
    let mut got = Vec::new();
    while let Some(event) = stream.next().await.unwrap() {
        match event {
            Event::Chunk { id, bytes } => {
                assert_eq!(ChunkId::of(&bytes), id);
                got.push(id);
            }
            Event::Missing { id } => assert_eq!(id, nowhere()),
            Event::End => panic!("the end is not handed out"),
        }
    }
    assert_eq!(got, ids[..ids.len() - 1]);
    // The connection is kept for the next call.
    caller.config(&host).await.unwrap();
    assert_eq!(caller.client().counts().connections, 1);
}

#[tokio::test]
async fn a_mirror_gets_chunks_but_neither_envelopes_nor_names() {
    let world = World::new(Role::Mirror).await;
    let (_net, caller, host) = world.online();
    let answers = caller.envelopes(&host, &[world.seen.signed.id]).await.unwrap();
    assert_eq!(answers[0].status, EnvelopeStatus::Absent);
    assert_eq!(caller.have(&host, &[world.chunk().0]).await.unwrap(), [true]);
    let config = caller.config(&host).await.unwrap();
    assert_eq!(config.collections.len(), 1);
    assert!(config.collections[0].name.is_none() && config.collections[0].settings.is_none());
}

#[tokio::test]
async fn one_chunk_with_range_and_etag() {
    let world = World::new(Role::Reader).await;
    let (id, bytes) = world.chunk();
    let path = format!("/chunks/{id}");
    let whole = world.get(&path).await;
    assert_eq!((whole.status, &whole.body), (StatusCode::OK, &bytes));
    assert_eq!(whole.headers["etag"], format!("\"{id}\""));
    assert_eq!(whole.headers["cache-control"], "private, max-age=31536000, immutable");
    let head = world.send(world.signed("HEAD", &path, b"")).await;
    assert_eq!(head.headers["content-length"], bytes.len().to_string());
    assert!(head.body.is_empty());

    let with = async |headers: &[(&'static str, String)]| {
        let mut request = world.signed("GET", &path, b"");
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        world.send(request).await
    };
    let part = with(&[("range", "bytes=2-5".into())]).await;
    assert_eq!((part.status, &part.body), (StatusCode::PARTIAL_CONTENT, &bytes.slice(2..6)));
    assert_eq!(part.headers["content-range"], format!("bytes 2-5/{}", bytes.len()));
    let outside = with(&[("range", "bytes=99999-".into())]).await;
    assert_eq!(outside.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(outside.headers["content-range"], format!("bytes */{}", bytes.len()));
    let known = with(&[("if-none-match", format!("\"{id}\""))]).await;
    assert_eq!((known.status, known.body.len()), (StatusCode::NOT_MODIFIED, 0));
    let other = with(&[("range", "bytes=2-5".into()), ("if-range", "\"other\"".into())]).await;
    assert_eq!((other.status, &other.body), (StatusCode::OK, &bytes));
}

#[tokio::test]
async fn r13_bounds_hold() {
    let world = World::new(Role::Reader).await;
    let many = vec![nowhere(); MAX_IDS + 1];
    for path in ["/chunks", "/have"] {
        let answer = world.post(path, &chunks(&many)).await;
        assert_eq!((answer.status, answer.problem()), (StatusCode::BAD_REQUEST, "too-many-ids".into()), "{path}");
        assert_eq!(world.post(path, &chunks(&many[1..])).await.status, StatusCode::OK);
    }
    let long = vec![b' '; MAX_REQUEST_BYTES + 1];
    let answer = world.send(world.signed("POST", "/have", &long)).await;
    assert_eq!((answer.status, answer.problem()), (StatusCode::PAYLOAD_TOO_LARGE, "too-large".into()));
    let answer = world.send(world.signed("POST", "/have", b"[")).await;
    assert_eq!((answer.status, answer.problem()), (StatusCode::BAD_REQUEST, "malformed".into()));
    let answer = world.get("/changes?cursor=yesterday").await;
    assert_eq!((answer.status, answer.problem()), (StatusCode::BAD_REQUEST, "malformed".into()));
    assert_eq!(world.get("/nothing").await.problem(), "not-found");
}

#[tokio::test]
async fn one_peer_has_only_so_many_requests_at_once() {
    let limits = PeerLimits { requests_per_peer: 1, ..PeerLimits::default() };
    let world = World::with(Role::Reader, limits).await;
    let body = serde_json::to_vec(&chunks(&[world.chunk().0])).unwrap();
    let stream = world.router.clone().oneshot(world.signed("POST", "/chunks", &body)).await.unwrap();
    let answer = world.get("/config").await;
    assert_eq!((answer.status, answer.problem()), (StatusCode::TOO_MANY_REQUESTS, "too-many-requests".into()));
    drop(stream);
    assert_eq!(world.get("/config").await.status, StatusCode::OK);
    assert!(world.plane.places.are_free());
}

#[tokio::test]
async fn a_chunk_whose_file_is_gone_or_shorter_is_missing() {
    let world = World::new(Role::Reader).await;
    let ids: Vec<ChunkId> = world.seen.stored[..3].iter().map(|(id, _)| *id).collect();
    world.host.store.chunks.remove(&ids[0]).unwrap();
    world.host.store.chunks.write(&ids[1], b"short").unwrap();
    let events = decode(3, &world.post("/chunks", &chunks(&ids)).await.body).unwrap();
    assert_eq!(events[..2], [Event::Missing { id: ids[0] }, Event::Missing { id: ids[1] }]);
    assert!(matches!(&events[2..], [Event::Chunk { .. }, Event::End]));
    assert_eq!(world.get(&format!("/chunks/{}", ids[0])).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn r6_revoking_cuts_an_open_stream() {
    let world = World::new(Role::Reader).await;
    let ids: Vec<ChunkId> = world.seen.stored.iter().map(|(id, _)| *id).collect();
    let body = serde_json::to_vec(&chunks(&ids)).unwrap();
    let response = world.router.clone().oneshot(world.signed("POST", "/chunks", &body)).await.unwrap();
    let mut pieces = response.into_body().into_data_stream();
    let mut got = Vec::new();
    for _ in 0..3 {
        got.extend_from_slice(&pieces.next().await.unwrap().unwrap());
    }
    world.trust(Trust::Revoked).await;
    let mut cut = false;
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(piece) => got.extend_from_slice(&piece),
            Err(_) => cut = true,
        }
    }
    assert!(cut);
    assert_eq!(decode(ids.len(), &got), Err(FrameError::Truncated));
}

#[tokio::test]
async fn r13_a_stream_that_is_cut_or_changed_on_its_way_is_noticed() {
    let world = World::new(Role::Reader).await;
    let (net, caller, host) = world.online();
    let ids: Vec<ChunkId> = world.seen.stored.iter().map(|(id, _)| *id).collect();
    let fetch = async || {
        let mut stream = caller.chunks(&host, &ids).await?;
        while let Some(event) = stream.next().await? {
            let Event::Chunk { id, bytes } = event else { panic!("all chunks are there") };
            if ChunkId::of(&bytes) != id {
                return Err(CallError::Malformed(None));
            }
        }
        Ok(())
    };
    fetch().await.unwrap();
    let total = net.counts().answer_bytes;
    for at in (0..total).step_by(61) {
        net.reset();
        net.strike(Fault::Cut, at);
        assert!(fetch().await.is_err(), "cut at {at}");
    }
    fetch().await.unwrap();
}

#[tokio::test]
async fn an_answer_that_was_changed_on_its_way_is_refused() {
    let world = World::new(Role::Reader).await;
    let (net, caller, host) = world.online();
    caller.config(&host).await.unwrap();
    let total = net.counts().answer_bytes;
    for back in 1..40 {
        net.reset();
        net.strike(Fault::Flip, total - back);
        let answer = caller.config(&host).await;
        assert!(answer.is_err(), "{back} from the end");
    }
}

#[tokio::test]
async fn whoever_waits_is_told_when_something_happens() {
    let world = World::new(Role::Reader).await;
    let (_net, caller, host) = world.online();
    let page = caller.changes(&host, None, 10, Duration::ZERO).await.unwrap();
    let collection = world.seen.signed.manifest.collection;
    let add = async {
        let made = world.host.snapshot(MakeSnapshot::new(collection, 2, &[("new", b"new")])).await;
        world.plane.serve.feed_changed();
        made
    };
    let wait = caller.changes(&host, Some(page.next), 10, Duration::from_secs(30));
    let (made, page) = tokio::join!(add, wait);
    let page = page.unwrap();
    assert!(matches!(&page.changes[..], [Change::Manifest { id, .. }] if *id == made.signed.id));
    assert!(page.next.position > 0);
}

#[tokio::test]
async fn r11_pages_go_on_where_the_last_one_ended() {
    let world = World::new(Role::Reader).await;
    let (_net, caller, host) = world.online();
    let collection = world.seen.signed.manifest.collection;
    for sequence in 2..5 {
        let name = sequence.to_string();
        world.host.snapshot(MakeSnapshot::new(collection, sequence, &[(&name, name.as_bytes())])).await;
    }
    let (mut cursor, mut seen) = (None, 0);
    loop {
        let page = caller.changes(&host, cursor, 1, Duration::ZERO).await.unwrap();
        assert!(page.changes.len() <= 1);
        seen += page.changes.len();
        cursor = Some(page.next);
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, 4);
    assert!(caller.changes(&host, cursor, 10, Duration::ZERO).await.unwrap().changes.is_empty());
    // A cursor of another feed, and one from the future, begin anew.
    let ahead = cursor.map(|cursor| crate::domain::feed::Cursor { position: cursor.position + 100, ..cursor });
    assert_eq!(caller.changes(&host, ahead, 10, Duration::ZERO).await.unwrap().changes.len(), 4);
    let other = Some(crate::store::testing::cursor(1000));
    assert_eq!(caller.changes(&host, other, 10, Duration::ZERO).await.unwrap().changes.len(), 4);
}

#[test]
fn the_description_has_every_route() {
    let document = serde_json::to_value(openapi_peer()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut paths: Vec<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    paths.sort_unstable();
    let axon = [
        "bitsync/chunk/{content_hash}/{index}",
        "bitsync/has_content/{content_hash}",
        "federation/export_config",
        "identity/public_key",
        "sync",
    ];
    let all = [
        "challenge",
        "changes",
        "chunks",
        "chunks/{id}",
        "config",
        "envelopes",
        "have",
        "identity",
        "manifests",
        "pair",
        "proof",
        "reconcile",
        "succession",
    ];
    let axon = axon.map(|path| format!("/api/{path}/"));
    assert_eq!(paths, [axon.as_slice(), &all.map(|path| format!("/peer/v1/{path}"))].concat());
}

#[tokio::test]
async fn shutdown_ends_serving() {
    let world = World::new(Role::Reader).await;
    let net = MemoryNet::new();
    let address: PeerAddress = "http://127.0.0.1:7001".parse().unwrap();
    let listener = net.listen(&address);
    let stop = CancellationToken::new();
    let served = TaskTracker::new().spawn(serve(listener, world.router.clone(), ServeLimits::default(), stop.clone()));
    let caller = world.caller(&net, &world.guest);
    let host = Callee { address, key: world.host.store.keys.identity.public() };
    caller.config(&host).await.unwrap();
    stop.cancel();
    served.await.unwrap().unwrap();
    assert!(matches!(caller.config(&host).await, Err(CallError::Transport(_))));
}

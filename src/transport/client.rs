//! HTTP/1.1 over any transport: a few kept-alive connections for each peer, every wait and every body bounded (R13).
//!
//! It knows nothing of signatures or of what an answer means. It follows no redirect, asks no proxy and decompresses nothing.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::quality::{Meter, Quality};
use super::{Dial, DialError};
use crate::domain::peer::PeerAddress;

/// How long a kept connection may take to say that it is done with its last answer.
const READY: Duration = Duration::from_secs(1);
/// Streams at once of a bulk transfer from a plain address.
const DIRECT_STREAMS: usize = 2;
/// The same on each circuit to an onion service: while one waits, the other keeps it busy.
const STREAMS_PER_CIRCUIT: usize = 2;
/// Streams at once of a transfer in pieces from a plain address.
const DIRECT_PIECES: usize = 4;
/// The same on each circuit to an onion service: each stream waits a round trip for its next piece.
const PIECES_PER_CIRCUIT: usize = 4;
/// Connections that a bulk transfer leaves to others.
const SPARE: usize = 2;
const MAX_HEADERS: usize = 64;
const MAX_HEADER_BYTES: usize = 32 << 10;

/// How long to wait and how much to take.
#[derive(Debug, Clone, Copy)]
pub struct ClientLimits {
    /// From the end of a request to the head of its answer.
    pub first_byte: Duration,
    /// From one piece of a body to the next.
    pub progress: Duration,
    /// Connections to one peer at once; further requests wait.
    pub connections_per_peer: usize,
    /// Streams at once of a bulk transfer from an onion service; fewer than connections.
    pub onion_streams: usize,
    /// Streams at once of a transfer from an onion service that brings a small piece for each request; fewer than connections.
    pub onion_pieces: usize,
    /// An unused connection that is older is not used again.
    pub keep_alive: Duration,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(60),
            progress: Duration::from_secs(30),
            connections_per_peer: DIRECT_PIECES + SPARE,
            onion_streams: 2,
            onion_pieces: 4,
            keep_alive: Duration::from_secs(20),
        }
    }
}

impl ClientLimits {
    /// For peers: over Tor everything takes longer, and a warm connection is worth keeping. So many `circuits` lead to each.
    pub fn patient(circuits: usize) -> Self {
        let onion_pieces = circuits * PIECES_PER_CIRCUIT;
        Self {
            first_byte: Duration::from_secs(90),
            progress: Duration::from_secs(60),
            connections_per_peer: onion_pieces.max(DIRECT_PIECES) + SPARE,
            onion_streams: circuits * STREAMS_PER_CIRCUIT,
            onion_pieces,
            keep_alive: Duration::from_secs(25),
        }
    }
}

/// Why there is no answer, or no whole one. Asking again, with a fresh signature, does no harm.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection broke, or what came is not HTTP.
    #[error("the connection to {peer} broke")]
    Broken {
        /// To whom.
        peer: PeerAddress,
        /// What happened.
        #[source]
        cause: hyper::Error,
    },
    /// Nothing comes.
    #[error("{peer} sent nothing for {} seconds", waited.as_secs())]
    Stalled {
        /// From whom.
        peer: PeerAddress,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The answer is longer than it may be.
    #[error("{peer} sends an answer of more than {max_bytes} bytes, which no honest peer does")]
    TooLong {
        /// From whom.
        peer: PeerAddress,
        /// The bound.
        max_bytes: usize,
    },
}

/// What a client has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientCounts {
    /// Connections opened.
    pub connections: u64,
    /// Requests sent.
    pub requests: u64,
    /// Bytes of bodies received.
    pub body_bytes: u64,
}

/// Sends requests to peers. Cheap to clone: all clones share their connections.
#[derive(Debug, Clone)]
pub struct HttpClient {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dial: Arc<dyn Dial>,
    limits: ClientLimits,
    pools: Mutex<HashMap<PeerAddress, Arc<Pool>>>,
    tasks: TaskTracker,
    connections: AtomicU64,
    requests: AtomicU64,
    body_bytes: AtomicU64,
}

#[derive(Debug)]
struct Pool {
    slots: Arc<Semaphore>,
    idle: Mutex<Vec<(Sender, Instant)>>,
    meter: Mutex<Meter>,
}

type Sender = SendRequest<Full<Bytes>>;

/// A connection in use: its place among the peer's connections is free again when this is dropped.
struct Lease {
    sender: Sender,
    pool: Arc<Pool>,
    _slot: OwnedSemaphorePermit,
}

impl HttpClient {
    /// A client that dials with `dial`.
    pub fn new(dial: Arc<dyn Dial>, limits: ClientLimits) -> Self {
        Self {
            inner: Arc::new(Inner {
                dial,
                limits,
                pools: Mutex::default(),
                tasks: TaskTracker::new(),
                connections: AtomicU64::new(0),
                requests: AtomicU64::new(0),
                body_bytes: AtomicU64::new(0),
            }),
        }
    }

    /// The counters.
    pub fn counts(&self) -> ClientCounts {
        ClientCounts {
            connections: self.inner.connections.load(Ordering::Relaxed),
            requests: self.inner.requests.load(Ordering::Relaxed),
            body_bytes: self.inner.body_bytes.load(Ordering::Relaxed),
        }
    }

    /// What the line to a peer has been like; nothing is known of one that was never called.
    pub fn quality(&self, peer: &PeerAddress) -> Quality {
        let pools = self.inner.pools.lock().expect("no holder of this lock can panic");
        pools.get(peer).map(|pool| pool.meter().quality()).unwrap_or_default()
    }

    /// How many streams at once a bulk transfer from there shall have.
    pub fn bulk_streams(&self, peer: &PeerAddress) -> usize {
        match peer {
            PeerAddress::Onion(_) => self.inner.limits.onion_streams,
            PeerAddress::Direct(_) => DIRECT_STREAMS,
        }
    }

    /// How many streams at once a transfer from there shall have that brings a small piece for each request.
    pub fn piece_streams(&self, peer: &PeerAddress) -> usize {
        match peer {
            PeerAddress::Onion(_) => self.inner.limits.onion_pieces,
            PeerAddress::Direct(_) => DIRECT_PIECES,
        }
    }

    /// Opens connections ahead of a transfer in pieces, in the background. Those that fail are told by the requests to come.
    pub fn prepare_pieces(&self, peer: &PeerAddress) {
        let pool = self.pool(peer);
        for _ in pool.idle()..self.piece_streams(peer) {
            let (client, pool, peer) = (self.clone(), Arc::clone(&pool), peer.clone());
            self.inner.tasks.spawn(async move {
                let Ok(_slot) = pool.slots.try_acquire() else { return };
                if let Ok(sender) = client.connect(&peer).await {
                    pool.put(sender);
                }
            });
        }
    }

    /// Sends a request and reads the whole answer, of at most `max_bytes`. `patience` is added to the wait for the first byte:
    /// for a request that asks the peer to wait. `Host` is set here; the request's URI is a path.
    ///
    /// # Errors
    /// [`ClientError`]. When the future is dropped the connection is closed.
    pub async fn send(
        &self,
        peer: &PeerAddress,
        request: Request<Bytes>,
        max_bytes: usize,
        patience: Duration,
    ) -> Result<Response<Bytes>, ClientError> {
        let (head, mut body) = self.stream(peer, request, patience).await?.into_parts();
        let too_long = || ClientError::TooLong { peer: peer.clone(), max_bytes };
        if body.announced_bytes().is_some_and(|len| len > max_bytes as u64) {
            return Err(too_long());
        }
        let mut whole = BytesMut::new();
        while let Some(piece) = body.next().await? {
            if whole.len() + piece.len() > max_bytes {
                return Err(too_long());
            }
            whole.extend_from_slice(&piece);
        }
        Ok(Response::from_parts(head, whole.freeze()))
    }

    /// Sends a request and gives the answer's body piece by piece.
    ///
    /// # Errors
    /// [`ClientError`]. When the future or the body is dropped the connection is closed.
    pub async fn stream(
        &self,
        peer: &PeerAddress,
        mut request: Request<Bytes>,
        patience: Duration,
    ) -> Result<Response<AnswerBody>, ClientError> {
        let authority = HeaderValue::try_from(peer.authority()).expect("an address and a port are plain characters");
        request.headers_mut().insert(http::header::HOST, authority);
        let mut request = request.map(Full::new);
        let broken = |cause| ClientError::Broken { peer: peer.clone(), cause };
        let pool = self.pool(peer);
        let slot = Arc::clone(&pool.slots).acquire_owned().await.expect("the semaphore is never closed");
        let waited = self.inner.limits.first_byte + patience;
        let mut kept = self.take_idle(&pool).await;
        let (answer, sender) = loop {
            let reused = kept.is_some();
            let mut sender = match kept.take() {
                Some(sender) => sender,
                None => {
                    let started = Instant::now();
                    let sender = self.connect(peer).await?;
                    pool.meter().connected(started.elapsed());
                    sender
                }
            };
            let asked = Instant::now();
            self.inner.requests.fetch_add(1, Ordering::Relaxed);
            match within(waited, peer, sender.try_send_request(request)).await? {
                Ok(answer) => {
                    // One that asks the peer to wait says nothing of the line.
                    if patience.is_zero() {
                        pool.meter().answered(asked.elapsed());
                    }
                    break (answer, sender);
                }
                Err(mut error) => match error.take_message() {
                    // The peer has closed a kept connection meanwhile, and has not seen the request.
                    Some(unsent) if reused => {
                        request = unsent;
                        kept = self.take_idle(&pool).await;
                    }
                    _ => return Err(broken(error.into_error())),
                },
            }
        };
        let (head, body) = answer.into_parts();
        pool.meter().begin(Instant::now());
        let reading = Reading { pool: Arc::clone(&pool) };
        let lease = Lease { sender, pool, _slot: slot };
        let body =
            AnswerBody { body, lease: Some(lease), reading, peer: peer.clone(), client: Arc::clone(&self.inner) };
        Ok(Response::from_parts(head, body))
    }

    async fn connect(&self, peer: &PeerAddress) -> Result<Sender, ClientError> {
        let stream = self.inner.dial.dial(peer).await?;
        self.inner.connections.fetch_add(1, Ordering::Relaxed);
        let (sender, connection) = http1::Builder::new()
            .max_headers(MAX_HEADERS)
            .max_header_size(MAX_HEADER_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|cause| ClientError::Broken { peer: peer.clone(), cause })?;
        // It ends when its sender is dropped or the peer goes away; who waits for an answer is told what happened.
        self.inner.tasks.spawn(async move {
            let _ = connection.await;
        });
        Ok(sender)
    }

    fn pool(&self, peer: &PeerAddress) -> Arc<Pool> {
        let mut pools = self.inner.pools.lock().expect("no holder of this lock can panic");
        let slots = self.inner.limits.connections_per_peer;
        Arc::clone(pools.entry(peer.clone()).or_insert_with(|| Arc::new(Pool::new(slots))))
    }

    /// A kept connection that is still good. The most recently used one comes first, so that the others may grow old.
    async fn take_idle(&self, pool: &Pool) -> Option<Sender> {
        loop {
            let mut sender = pool.take(self.inner.limits.keep_alive)?;
            if matches!(tokio::time::timeout(READY, sender.ready()).await, Ok(Ok(()))) {
                return Some(sender);
            }
        }
    }
}

impl Pool {
    fn new(slots: usize) -> Self {
        Self { slots: Arc::new(Semaphore::new(slots)), idle: Mutex::default(), meter: Mutex::default() }
    }

    fn meter(&self) -> MutexGuard<'_, Meter> {
        self.meter.lock().expect("no holder of this lock can panic")
    }

    fn take(&self, keep_alive: Duration) -> Option<Sender> {
        let mut idle = self.idle.lock().expect("no holder of this lock can panic");
        idle.retain(|(sender, since)| !sender.is_closed() && since.elapsed() < keep_alive);
        idle.pop().map(|(sender, _)| sender)
    }

    fn idle(&self) -> usize {
        self.idle.lock().expect("no holder of this lock can panic").len()
    }

    fn put(&self, sender: Sender) {
        self.idle.lock().expect("no holder of this lock can panic").push((sender, Instant::now()));
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.tasks.close();
    }
}

/// That a body is being read, until this is dropped.
struct Reading {
    pool: Arc<Pool>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.pool.meter().end(Instant::now());
    }
}

/// The body of an answer. Read to its end, its connection is kept for the next request.
pub struct AnswerBody {
    body: Incoming,
    lease: Option<Lease>,
    reading: Reading,
    peer: PeerAddress,
    client: Arc<Inner>,
}

impl std::fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AnswerBody")
    }
}

impl AnswerBody {
    /// How long the peer says that the body is.
    pub fn announced_bytes(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// The next piece; `None` at the end. May be dropped and called again.
    ///
    /// # Errors
    /// [`ClientError::Broken`], [`ClientError::Stalled`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let frame = within(self.client.limits.progress, &self.peer, self.body.frame()).await?;
            match frame {
                None => {
                    self.keep_connection();
                    return Ok(None);
                }
                Some(Err(cause)) => return Err(ClientError::Broken { peer: self.peer.clone(), cause }),
                Some(Ok(frame)) => {
                    let Ok(piece) = frame.into_data() else { continue };
                    self.client.body_bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
                    self.reading.pool.meter().read(piece.len(), Instant::now());
                    return Ok(Some(piece));
                }
            }
        }
    }

    fn keep_connection(&mut self) {
        if let Some(Lease { sender, pool, _slot }) = self.lease.take() {
            pool.put(sender);
        }
    }
}

async fn within<T>(wait: Duration, peer: &PeerAddress, future: impl Future<Output = T>) -> Result<T, ClientError> {
    tokio::time::timeout(wait, future).await.map_err(|_| ClientError::Stalled { peer: peer.clone(), waited: wait })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::memory::{Fault, MemoryNet};
    use crate::transport::{BoxedStream, Listen};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Answers each request with the same bytes.
    async fn echo(mut stream: BoxedStream, answer: Vec<u8>) {
        let mut request = Vec::new();
        while stream.read_buf(&mut request).await.is_ok_and(|n| n > 0) {
            while let Some(end) = request.windows(4).position(|w| w == b"\r\n\r\n") {
                request.drain(..end + 4);
                if stream.write_all(&answer).await.is_err() {
                    return;
                }
            }
        }
    }

    fn serve(answer: &[u8]) -> (MemoryNet, PeerAddress, HttpClient) {
        let net = MemoryNet::new();
        let address: PeerAddress = "http://127.0.0.1:1".parse().unwrap();
        let (mut listener, answer) = (net.listen(&address), answer.to_vec());
        TaskTracker::new().spawn(async move {
            while let Ok(stream) = listener.accept().await {
                TaskTracker::new().spawn(echo(stream, answer.clone()));
            }
        });
        let limits = ClientLimits {
            first_byte: Duration::from_millis(200),
            progress: Duration::from_millis(200),
            connections_per_peer: 4,
            ..ClientLimits::default()
        };
        let client = HttpClient::new(Arc::new(net.clone()), limits);
        (net, address, client)
    }

    fn request() -> Request<Bytes> {
        Request::get("/").body(Bytes::new()).unwrap()
    }

    const SMALL: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

    #[tokio::test]
    async fn a_connection_is_used_again() {
        let (_net, address, client) = serve(SMALL);
        for _ in 0..3 {
            let answer = client.send(&address, request(), 10, Duration::ZERO).await.unwrap();
            assert_eq!(&answer.body()[..], b"hello");
        }
        assert_eq!(client.counts(), ClientCounts { connections: 1, requests: 3, body_bytes: 15 });
    }

    #[tokio::test]
    async fn r13_an_answer_over_the_bound_is_refused_announced_or_not() {
        let (_net, address, client) = serve(SMALL);
        let result = client.send(&address, request(), 4, Duration::ZERO).await;
        assert!(matches!(result, Err(ClientError::TooLong { max_bytes: 4, .. })));
        let mut endless = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        endless.extend_from_slice(&b"3\r\nabc\r\n".repeat(100));
        let (_net, address, client) = serve(&endless);
        let result = client.send(&address, request(), 100, Duration::ZERO).await;
        assert!(matches!(result, Err(ClientError::TooLong { max_bytes: 100, .. })));
    }

    #[tokio::test]
    async fn redirects_are_answers_like_others() {
        let (net, address, client) =
            serve(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:2/\r\ncontent-length: 0\r\n\r\n");
        let answer = client.send(&address, request(), 10, Duration::ZERO).await.unwrap();
        assert_eq!(answer.status().as_u16(), 302);
        assert_eq!(net.counts().dials, 1);
    }

    #[tokio::test]
    async fn a_cut_or_stalled_answer_is_an_error_at_every_byte() {
        for at in 0..SMALL.len() as u64 {
            for fault in [Fault::Cut, Fault::Stall] {
                // Stalls take their time: try some places only.
                if fault == Fault::Stall && at % 20 != 0 {
                    continue;
                }
                let (net, address, client) = serve(SMALL);
                net.strike(fault, at);
                let result = client.send(&address, request(), 10, Duration::ZERO).await;
                assert!(result.is_err(), "{fault:?} at {at}");
                let again = client.send(&address, request(), 10, Duration::ZERO).await;
                assert_eq!(&again.unwrap().body()[..], b"hello");
            }
        }
    }

    #[tokio::test]
    async fn at_most_so_many_connections_at_once() {
        let (_net, address, client) = serve(SMALL);
        let bodies: Vec<_> =
            futures_util::future::try_join_all((0..4).map(|_| client.stream(&address, request(), Duration::ZERO)))
                .await
                .unwrap();
        let fifth = client.stream(&address, request(), Duration::ZERO);
        assert!(tokio::time::timeout(Duration::from_millis(50), fifth).await.is_err());
        drop(bodies);
        assert!(client.stream(&address, request(), Duration::ZERO).await.is_ok());
    }
}

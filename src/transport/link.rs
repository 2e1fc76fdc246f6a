//! An emulated link, for tests and benchmarks: what a [`MemoryNet`] connects becomes as slow as it would be over Tor.
//!
//! Connections to one address are spread over a few circuits. The streams of a circuit share its rate, each way, and its
//! window; each has a window of its own, too. So many bytes may be on their way, and who has received them says so after
//! half a round trip. Opening a stream costs a round trip, a new circuit several more. At intervals a circuit breaks, with all
//! its streams. Bytes that are already on their way when a stream is closed still take their time on the circuit.
//!
//! All waiting is by the clock of tokio: when it is paused, the same shape and seed give the same times, and none of it takes
//! real time. Corruption and stalls are faults of the net below, see [`MemoryNet::strike`].

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::memory::MemoryNet;
use super::{BoxedStream, Dial, DialError};
use crate::domain::peer::PeerAddress;

/// What a relay cell carries.
pub const CELL: usize = 498;
/// Cells that travel together here, so that there are fewer events.
const CELLS_TOGETHER: usize = 16;
/// What the ends of a stream hold back.
const BUFFER: usize = 16 << 10;

/// What a link is like.
#[derive(Debug, Clone)]
pub struct LinkShape {
    /// From one end to the other and back.
    pub round_trip: Duration,
    /// Bytes in a second, of one circuit, each way.
    pub circuit_rate: u64,
    /// Circuits to one address.
    pub circuits: usize,
    /// Round trips that a new circuit takes.
    pub building_round_trips: u32,
    /// Cells of a stream that may be on their way.
    pub stream_window: usize,
    /// Cells of a circuit that may be on their way.
    pub circuit_window: usize,
    /// Each piece may take up to so much longer.
    pub jitter: Duration,
    /// In this interval the circuit with the most streams breaks.
    pub breaks_every: Option<Duration>,
    /// For the jitter.
    pub seed: u64,
}

impl Default for LinkShape {
    /// An onion service as it is on a good day.
    fn default() -> Self {
        Self {
            round_trip: Duration::from_secs(1),
            circuit_rate: 290_000,
            circuits: 4,
            building_round_trips: 3,
            stream_window: 500,
            circuit_window: 1000,
            jitter: Duration::ZERO,
            breaks_every: None,
            seed: 1,
        }
    }
}

/// What has happened on a link so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkCounts {
    /// Circuits that were built.
    pub circuits: u64,
    /// Streams that were opened.
    pub streams: u64,
    /// Bytes that came to the other side.
    pub up_bytes: u64,
    /// Bytes that came from the other side.
    pub down_bytes: u64,
    /// Circuits that broke with streams on them.
    pub breaks: u64,
}

/// Dials through a net, slowly. Cheap to clone: all clones are one link.
#[derive(Debug, Clone)]
pub struct Link {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    net: MemoryNet,
    shape: LinkShape,
    state: Mutex<State>,
    tasks: TaskTracker,
}

#[derive(Debug, Default)]
struct State {
    places: HashMap<PeerAddress, Vec<Place>>,
    cut_off: Vec<PeerAddress>,
    counts: LinkCounts,
    random: u64,
}

/// Where a circuit to an address stands, and how many streams are on it.
#[derive(Debug)]
struct Place {
    streams: usize,
    circuit: Option<Arc<Circuit>>,
}

#[derive(Debug)]
struct Circuit {
    ready_at: Instant,
    broken: CancellationToken,
    up: Lane,
    down: Lane,
}

/// One direction of a circuit.
#[derive(Debug)]
struct Lane {
    window: Semaphore,
    /// When everything that was sent until now has gone out.
    free_at: Mutex<Instant>,
}

impl Link {
    /// A link of this shape to everybody on `net`. Wants a runtime if circuits are to break.
    pub fn new(net: MemoryNet, shape: LinkShape) -> Self {
        let state = State { random: shape.seed, ..State::default() };
        let inner = Arc::new(Inner { net, shape, state: Mutex::new(state), tasks: TaskTracker::new() });
        if let Some(every) = inner.shape.breaks_every {
            inner.tasks.spawn(break_circuits(Arc::downgrade(&inner), every));
        }
        Self { inner }
    }

    /// The counters.
    pub fn counts(&self) -> LinkCounts {
        self.inner.state().counts
    }

    /// Builds all circuits to an address, without waiting for it: they are ready when they are needed.
    pub fn warm(&self, address: &PeerAddress) {
        let now = Instant::now();
        let mut state = self.inner.state();
        for at in 0..self.inner.shape.circuits.max(1) {
            let circuit = Arc::new(Circuit::new(&self.inner.shape, now));
            self.inner.places(&mut state, address)[at].circuit.get_or_insert(circuit);
        }
    }

    /// From now on nobody is reached at an address, and what is open to it breaks.
    pub fn cut_off(&self, address: &PeerAddress) {
        let mut state = self.inner.state();
        state.cut_off.push(address.clone());
        for place in self.inner.places(&mut state, address) {
            place.break_circuit();
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock can panic")
    }

    fn places<'a>(&self, state: &'a mut State, address: &PeerAddress) -> &'a mut Vec<Place> {
        let fresh = || (0..self.shape.circuits.max(1)).map(|_| Place { streams: 0, circuit: None }).collect();
        state.places.entry(address.clone()).or_insert_with(fresh)
    }

    /// The place with the fewest streams, the lowest first, as connections over Tor choose theirs.
    fn take_place(self: &Arc<Self>, address: &PeerAddress) -> (Arc<Circuit>, Seat) {
        let mut state = self.state();
        let places = self.places(&mut state, address);
        let at = (0..places.len()).min_by_key(|at| places[*at].streams).expect("there are places");
        places[at].streams += 1;
        let building = self.shape.round_trip * self.shape.building_round_trips;
        let build = || Arc::new(Circuit::new(&self.shape, Instant::now() + building));
        let is_new = places[at].circuit.is_none();
        let circuit = Arc::clone(places[at].circuit.get_or_insert_with(build));
        state.counts.circuits += u64::from(is_new);
        (circuit, Seat { link: Arc::clone(self), address: address.clone(), at })
    }

    fn jitter(&self) -> Duration {
        if self.shape.jitter.is_zero() {
            return Duration::ZERO;
        }
        // splitmix64
        let mut state = self.state();
        state.random = state.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = state.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.shape.jitter.mul_f64((bits >> 40) as f64 / f64::from(1 << 24))
    }
}

impl Circuit {
    fn new(shape: &LinkShape, ready_at: Instant) -> Self {
        let lane = || Lane { window: Semaphore::new(shape.circuit_window), free_at: Mutex::new(ready_at) };
        Self { ready_at, broken: CancellationToken::new(), up: lane(), down: lane() }
    }
}

impl Lane {
    /// When the last of these bytes has gone out.
    fn send(&self, bytes: usize, rate: u64) -> Instant {
        let mut free_at = self.free_at.lock().expect("no holder of this lock can panic");
        let takes = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        *free_at = (*free_at).max(Instant::now()) + takes;
        *free_at
    }
}

impl Place {
    /// Whether there was a circuit with streams.
    fn break_circuit(&mut self) -> bool {
        let circuit = self.circuit.take();
        if let Some(circuit) = &circuit {
            circuit.broken.cancel();
        }
        circuit.is_some() && self.streams > 0
    }
}

async fn break_circuits(link: Weak<Inner>, every: Duration) {
    let mut times = tokio::time::interval(every);
    times.tick().await;
    loop {
        times.tick().await;
        let Some(link) = link.upgrade() else { return };
        let mut state = link.state();
        // The order of a map is random: of several with as many streams the first address in order breaks.
        let mut places: Vec<(&PeerAddress, &mut Place)> =
            state.places.iter_mut().flat_map(|(at, places)| places.iter_mut().map(move |place| (at, place))).collect();
        places.sort_by_key(|(address, _)| address.authority());
        let busiest = places.into_iter().map(|(_, place)| place).filter(|place| place.circuit.is_some());
        // Of equals the one that stands first.
        let broken = busiest.rev().max_by_key(|place| place.streams).is_some_and(Place::break_circuit);
        state.counts.breaks += u64::from(broken);
    }
}

impl Dial for Link {
    fn dial<'a>(&'a self, address: &'a PeerAddress) -> BoxFuture<'a, Result<BoxedStream, DialError>> {
        Box::pin(async move {
            let (link, unreachable) = (&self.inner, || DialError::Unreachable {
                address: address.clone(),
                cause: ErrorKind::ConnectionReset.into(),
            });
            let (circuit, seat) = link.take_place(address);
            let opening = async {
                sleep_until(circuit.ready_at).await;
                sleep(link.shape.round_trip).await;
            };
            circuit.broken.run_until_cancelled(opening).await.ok_or_else(unreachable)?;
            if link.state().cut_off.contains(address) {
                return Err(unreachable());
            }
            let far = link.net.dial(address).await?;
            link.state().counts.streams += 1;
            let (near, end) = tokio::io::duplex(BUFFER);
            let broken = circuit.broken.clone();
            link.tasks.spawn(carry(Arc::clone(link), circuit, end, far, seat));
            Ok(Box::new(LinkStream { inner: near, broken }) as BoxedStream)
        })
    }
}

/// A stream's place on a circuit, given free when it is dropped.
struct Seat {
    link: Arc<Inner>,
    address: PeerAddress,
    at: usize,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.link.state();
        self.link.places(&mut state, &self.address)[self.at].streams -= 1;
    }
}

/// Carries the bytes of one stream both ways until both sides are done, or the circuit breaks.
async fn carry(link: Arc<Inner>, circuit: Arc<Circuit>, near: DuplexStream, far: BoxedStream, seat: Seat) {
    let (near_out, near_in) = tokio::io::split(near);
    let (far_out, far_in) = tokio::io::split(far);
    // Who hangs up is heard of at the other end, whatever still comes from there.
    let gone = CancellationToken::new();
    let up = one_way(&link, &circuit.up, near_out, far_in, &gone, |counts, bytes| counts.up_bytes += bytes);
    let down = one_way(&link, &circuit.down, far_out, near_in, &gone, |counts, bytes| counts.down_bytes += bytes);
    let both = async { tokio::join!(up, down) };
    circuit.broken.run_until_cancelled(both).await;
    drop(seat);
}

async fn one_way(
    link: &Inner,
    lane: &Lane,
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    gone: &CancellationToken,
    count: impl Fn(&mut LinkCounts, u64),
) {
    let (shape, window) = (&link.shape, Semaphore::new(link.shape.stream_window));
    let (sent, mut arriving) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let (taken, mut acknowledged) = mpsc::unbounded_channel::<(Instant, usize)>();
    let send = async {
        let mut piece = vec![0; CELL * CELLS_TOGETHER];
        let mut last = Instant::now();
        while let Some(Ok(len @ 1..)) = gone.run_until_cancelled(from.read(&mut piece)).await {
            let cells = len.div_ceil(CELL);
            let permits = cells as u32;
            let (Ok(own), Ok(shared)) = (window.acquire_many(permits).await, lane.window.acquire_many(permits).await)
            else {
                return;
            };
            own.forget();
            shared.forget();
            last = last.max(lane.send(cells * CELL, shape.circuit_rate) + shape.round_trip / 2 + link.jitter());
            if sent.send((last, piece[..len].to_vec())).is_err() {
                return;
            }
        }
        drop(sent);
    };
    let receive = async {
        let mut open = true;
        while let Some((at, piece)) = arriving.recv().await {
            sleep_until(at).await;
            count(&mut link.state().counts, piece.len() as u64);
            open = open && to.write_all(&piece).await.is_ok();
            if !open {
                gone.cancel();
            }
            let _ = taken.send((Instant::now() + shape.round_trip / 2, piece.len().div_ceil(CELL)));
        }
        let _ = to.shutdown().await;
        drop(taken);
    };
    let acknowledge = async {
        while let Some((at, cells)) = acknowledged.recv().await {
            sleep_until(at).await;
            window.add_permits(cells);
            lane.window.add_permits(cells);
        }
    };
    tokio::join!(send, receive, acknowledge);
}

/// The dialling side of a stream.
struct LinkStream {
    inner: DuplexStream,
    broken: CancellationToken,
}

impl AsyncRead for LinkStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        let ended = buffer.filled().len() == before && buffer.remaining() > 0;
        if ended && self.broken.is_cancelled() {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for LinkStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Listen;

    /// Answers every connection: reads one byte, sends so many.
    fn serve(net: &MemoryNet, len: usize) -> PeerAddress {
        let address: PeerAddress = "http://127.0.0.1:1".parse().unwrap();
        let mut listener = net.listen(&address);
        TaskTracker::new().spawn(async move {
            while let Ok(mut stream) = listener.accept().await {
                TaskTracker::new().spawn(async move {
                    stream.read_u8().await.unwrap();
                    let _ = stream.write_all(&vec![7; len]).await;
                });
            }
        });
        address
    }

    async fn fetch(link: &Link, address: &PeerAddress) -> io::Result<usize> {
        let mut stream = link.dial(address).await.map_err(io::Error::other)?;
        stream.write_u8(1).await?;
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await?;
        Ok(all.len())
    }

    async fn seconds(work: impl Future<Output = io::Result<usize>>) -> f64 {
        let started = Instant::now();
        work.await.unwrap();
        started.elapsed().as_secs_f64()
    }

    fn near(measured: f64, expected: f64) {
        assert!((measured - expected).abs() < 0.05 * expected, "{measured} s instead of {expected} s");
    }

    #[tokio::test(start_paused = true)]
    async fn circuits_streams_and_requests_cost_round_trips() {
        let net = MemoryNet::new();
        let address = serve(&net, 1);
        let link = Link::new(net, LinkShape { circuits: 1, ..LinkShape::default() });
        near(seconds(fetch(&link, &address)).await, 5.0);
        near(seconds(fetch(&link, &address)).await, 2.0);
        assert_eq!(link.counts(), LinkCounts { circuits: 1, streams: 2, up_bytes: 2, down_bytes: 2, breaks: 0 });
    }

    #[tokio::test(start_paused = true)]
    async fn one_stream_is_held_by_its_window_and_two_fill_a_circuit() {
        const LEN: usize = 10_000_000;
        let net = MemoryNet::new();
        let address = serve(&net, LEN);
        let one = Link::new(net.clone(), LinkShape { circuits: 1, ..LinkShape::default() });
        one.warm(&address);
        near(seconds(fetch(&one, &address)).await, 2.0 + LEN as f64 / 249_000.0);
        let both = async { tokio::try_join!(fetch(&one, &address), fetch(&one, &address)).map(|(a, b)| a + b) };
        near(seconds(both).await, 2.0 + 2.0 * LEN as f64 / 290_000.0);
        // On circuits of their own they do not share.
        let two = Link::new(net, LinkShape { circuits: 2, ..LinkShape::default() });
        two.warm(&address);
        let both = async { tokio::try_join!(fetch(&two, &address), fetch(&two, &address)).map(|(a, b)| a + b) };
        near(seconds(both).await, 2.0 + LEN as f64 / 249_000.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_circuit_breaks_with_all_its_streams_and_another_is_built() {
        let net = MemoryNet::new();
        let address = serve(&net, 1_000_000);
        let breaks_every = Some(Duration::from_secs(7));
        let link = Link::new(net, LinkShape { circuits: 1, breaks_every, ..LinkShape::default() });
        let (first, second) = tokio::join!(fetch(&link, &address), fetch(&link, &address));
        assert_eq!(first.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(second.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(link.counts().breaks, 1);
        link.warm(&address);
        assert_eq!(fetch(&link, &address).await.unwrap(), 1_000_000);
        link.cut_off(&address);
        assert!(fetch(&link, &address).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_seed_gives_the_same_times() {
        let mut times = Vec::new();
        for seed in [1, 1, 2] {
            let net = MemoryNet::new();
            let address = serve(&net, 500_000);
            let jitter = Duration::from_millis(300);
            let link = Link::new(net, LinkShape { jitter, seed, ..LinkShape::default() });
            times.push(seconds(fetch(&link, &address)).await);
        }
        assert!(times[0] == times[1] && times[1] != times[2], "{times:?}");
    }
}

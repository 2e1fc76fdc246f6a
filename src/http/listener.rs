//! Drives the connections of a listener: HTTP/1.1, bounded in number, in the size of a head and in the time for it.
//!
//! When all places are taken, the connection that has been open longest without anybody having been let in on it gives way:
//! strangers can crowd out each other, not those who belong here.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::util::{MapRequest, MapResponse};

use super::traffic::OpenConnections;
use crate::transport::{BoxedStream, Listen};

/// Put into an answer's extensions when whoever asked was let in.
#[derive(Debug, Clone, Copy)]
pub struct Welcome;

/// Put into each request: who is told to leave has the connection closed, however slowly it reads.
#[derive(Debug, Clone)]
pub struct Leave(pub CancellationToken);

/// What connections may cost.
#[derive(Debug, Clone, Copy)]
pub struct ServeLimits {
    /// Connections at once. When they are all in use, strangers give way; without strangers further ones wait.
    pub connections: usize,
    /// Time for the head of a request, and time that an unused connection is kept.
    pub head: Duration,
    /// Most headers of a request.
    pub headers: usize,
    /// Longest head of a request, and the size of a connection's buffers.
    pub buffer_bytes: usize,
    /// After shutdown is asked for, open answers may go on for so long.
    pub farewell: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections: 256,
            head: Duration::from_secs(30),
            headers: 64,
            buffer_bytes: 64 << 10,
            farewell: Duration::from_secs(10),
        }
    }
}

/// Serves until `shutdown`, then lets open answers end, and returns when the last connection is closed.
///
/// # Errors
/// If the listener is lost; open connections are cut then.
pub async fn serve(
    listener: impl Listen,
    router: axum::Router,
    limits: ServeLimits,
    shutdown: CancellationToken,
) -> io::Result<()> {
    serve_counted(listener, router, limits, OpenConnections::default(), shutdown).await
}

/// As [`serve`], with its open connections counted.
///
/// # Errors
/// As [`serve`].
pub async fn serve_counted(
    mut listener: impl Listen,
    router: axum::Router,
    limits: ServeLimits,
    open: OpenConnections,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let mut guests = Guests::default();
    let connections = TaskTracker::new();
    let lost = shutdown.child_token();
    let result = loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break Ok(()),
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => break Err(error),
        };
        let slot = tokio::select! {
            slot = guests.place(&slots) => slot,
            () = shutdown.cancelled() => break Ok(()),
        };
        let (router, stop, leave) = (router.clone(), lost.clone(), CancellationToken::new());
        let welcome = Arc::new(AtomicBool::new(false));
        guests.all.push_back(Guest { welcome: Arc::clone(&welcome), leave: leave.clone() });
        let open = open.one();
        connections.spawn(async move {
            tokio::select! {
                () = drive(stream, router, limits, stop, welcome, Leave(leave.clone())) => {}
                // Nobody waits for a stranger to finish, or for a guest who is not welcome any more.
                () = leave.cancelled() => {}
            }
            drop((slot, open));
        });
    };
    lost.cancel();
    connections.close();
    connections.wait().await;
    result
}

/// Who is here, in the order in which they came.
#[derive(Default)]
struct Guests {
    all: VecDeque<Guest>,
}

struct Guest {
    /// Somebody was let in on this connection.
    welcome: Arc<AtomicBool>,
    leave: CancellationToken,
}

impl Guests {
    /// A place for one more.
    async fn place(&mut self, slots: &Arc<Semaphore>) -> OwnedSemaphorePermit {
        const OPEN: &str = "the semaphore is never closed";
        if let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
            // Those who have gone are forgotten now and then.
            if self.all.len() > 2 * slots.available_permits() + 64 {
                self.all.retain(|guest| Arc::strong_count(&guest.welcome) > 1);
            }
            return slot;
        }
        self.all.retain(|guest| Arc::strong_count(&guest.welcome) > 1);
        if let Some(at) = self.all.iter().position(|guest| !guest.welcome.load(Ordering::Relaxed))
            && let Some(stranger) = self.all.remove(at)
        {
            stranger.leave.cancel();
        }
        Arc::clone(slots).acquire_owned().await.expect(OPEN)
    }
}

async fn drive(
    stream: BoxedStream,
    router: axum::Router,
    limits: ServeLimits,
    stop: CancellationToken,
    welcome: Arc<AtomicBool>,
    leave: Leave,
) {
    let router = MapRequest::new(router, move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(leave.clone());
        request
    });
    let router = MapResponse::new(router, move |answer: axum::response::Response| {
        if answer.extensions().get::<Welcome>().is_some() {
            welcome.store(true, Ordering::Relaxed);
        }
        answer
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_headers(limits.headers)
        .max_buf_size(limits.buffer_bytes)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    // A connection that ends badly is the caller's trouble; whoever sent an answer into it sees that it broke.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(limits.farewell, connection).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Dial;
    use crate::transport::memory::MemoryNet;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    /// Answers a request; whether there was an answer.
    async fn answered(stream: &mut BoxedStream) -> bool {
        let mut buffer = [0; 256];
        stream.write_all(REQUEST).await.is_ok() && stream.read(&mut buffer).await.is_ok_and(|n| n > 0)
    }

    #[tokio::test]
    async fn strangers_give_way_and_those_who_were_let_in_stay() {
        let net = MemoryNet::new();
        let address = "http://127.0.0.1:1".parse().unwrap();
        let router = axum::Router::new().route("/", get(async || (axum::Extension(Welcome), "hello")));
        let limits = ServeLimits { connections: 3, ..ServeLimits::default() };
        let stop = CancellationToken::new();
        let serving = TaskTracker::new().spawn(serve(net.listen(&address), router, limits, stop.clone()));
        let mut friend = net.dial(&address).await.unwrap();
        assert!(answered(&mut friend).await);
        let mut strangers = Vec::new();
        for _ in 0..10 {
            let mut stranger = net.dial(&address).await.unwrap();
            stranger.write_all(b"GET / HT").await.unwrap();
            strangers.push(stranger);
        }
        let mut late = net.dial(&address).await.unwrap();
        assert!(answered(&mut late).await, "there is room for one more");
        assert!(answered(&mut friend).await, "and for who was there before");
        let mut buffer = [0; 256];
        assert_eq!(strangers[0].read(&mut buffer).await.unwrap_or(0), 0, "the first stranger was shown out");
        stop.cancel();
        serving.await.unwrap().unwrap();
    }
}

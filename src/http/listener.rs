//! Drives the connections of a listener: HTTP/1.1, bounded in number, in the size of a head and in the time for it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::transport::{BoxedStream, Listen};

/// What connections may cost.
#[derive(Debug, Clone, Copy)]
pub struct ServeLimits {
    /// Connections at once; further ones wait in the system's queue.
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
    mut listener: impl Listen,
    router: axum::Router,
    limits: ServeLimits,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let connections = TaskTracker::new();
    let lost = shutdown.child_token();
    let result = loop {
        let accepted = async {
            let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
            (slot, listener.accept().await)
        };
        let (slot, stream) = tokio::select! {
            accepted = accepted => accepted,
            () = shutdown.cancelled() => break Ok(()),
        };
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => break Err(error),
        };
        let (router, stop) = (router.clone(), lost.clone());
        connections.spawn(async move {
            drive(stream, router, limits, stop).await;
            drop(slot);
        });
    };
    lost.cancel();
    connections.close();
    connections.wait().await;
    result
}

async fn drive(stream: BoxedStream, router: axum::Router, limits: ServeLimits, stop: CancellationToken) {
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

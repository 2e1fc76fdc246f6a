//! The server: builds both planes and the worker over one repository, runs until it is told to stop, and stops in order.
//!
//! Every task runs on one tracker. Stopping: nothing new is taken in, open answers and the round at hand may end, and what
//! is not done at the deadline is cut; a repository survives that at any instruction (R8).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config::Config;
use crate::domain::peer::PeerAddress;
use crate::http::admin::token::{AdminToken, TokenError};
use crate::http::{AdminPlane, Following, PeerLimits, PeerPlane, ServeLimits, admin_router, peer_router, serve};
use crate::monitor::Monitor;
use crate::replicate::call::PeerCaller;
use crate::replicate::pull::Puller;
use crate::replicate::serve::Serve;
use crate::store::{ServerInfo, ServerLock, Store, StoreError};
use crate::transport::Listen;
use crate::transport::client::{ClientLimits, HttpClient};
use crate::transport::direct::{DirectDial, DirectListener};
use crate::worker::Worker;

/// Open answers may go on for so long after the server is told to stop.
const FAREWELL: Duration = Duration::from_secs(4);
/// What is not done by then is cut.
const DEADLINE: Duration = Duration::from_secs(10);

/// Why the server does not run, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// No transport is switched on.
    #[error(
        "this version reaches peers directly only, without Tor, and that must be asked for: 'bulbil serve --direct 127.0.0.1:7001', or in bulbil.toml [peer] dangerously_direct = true and listen = \"127.0.0.1:7001\""
    )]
    NoTransport,
    /// The admin plane would be seen by others.
    #[error("the admin plane listens on loopback only, and {0} is not: use an address like 127.0.0.1:7002")]
    AdminNotLoopback(SocketAddr),
    /// An address cannot be taken.
    #[error("cannot listen on {address} for {who}: is another program using it?")]
    Listen {
        /// For whom.
        who: &'static str,
        /// Where.
        address: SocketAddr,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The repository.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The admin token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A plane stopped by itself.
    #[error("the {what} stopped unexpectedly")]
    Lost {
        /// Which part.
        what: &'static str,
        /// What the system said.
        #[source]
        cause: Option<io::Error>,
    },
}

/// What is chosen on the command line; it comes before `bulbil.toml`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ServerOptions {
    /// Listen here for peers, without Tor.
    pub direct: Option<SocketAddr>,
    /// Listen here for the admin.
    pub admin: Option<SocketAddr>,
}

/// A running server. Dropped, it stops without waiting for anything.
#[derive(Debug)]
pub struct Server {
    info: ServerInfo,
    peer_address: PeerAddress,
    admin_address: SocketAddr,
    following: Following,
    tasks: TaskTracker,
    aborts: Vec<AbortHandle>,
    stop: CancellationToken,
    lost: mpsc::UnboundedReceiver<ServerError>,
    _lock: ServerLock,
}

impl Server {
    /// Takes the addresses and the lock, and starts everything.
    ///
    /// # Errors
    /// [`ServerError`]; nothing runs then.
    pub async fn start(
        store: Store,
        config: &Config,
        options: ServerOptions,
        clock: Arc<dyn Clock>,
        monitor: Arc<dyn Monitor>,
    ) -> Result<Self, ServerError> {
        let listen = config.peer.listen.filter(|_| config.peer.dangerously_direct);
        let direct = options.direct.or(listen).ok_or(ServerError::NoTransport)?;
        let admin = options.admin.unwrap_or(config.admin.listen);
        if !admin.ip().is_loopback() {
            return Err(ServerError::AdminNotLoopback(admin));
        }
        let fail = |who, address| move |cause| ServerError::Listen { who, address, cause };
        let peers = DirectListener::bind(direct).await.map_err(fail("peers", direct))?;
        let admins = DirectListener::bind(admin).await.map_err(fail("the admin", admin))?;
        let (peer_address, admin_address) = (peers.address(), admins.socket_address());
        let shown = config.peer.address.clone().unwrap_or_else(|| peer_address.clone());
        let info = ServerInfo {
            pid: std::process::id(),
            admin_address: Some(admin_address.to_string()),
            peer_address: Some(shown.to_string()),
        };
        let lock = store.lock_server(&info)?;
        let token = AdminToken::load_or_create(&store.home)?;

        // A peer's plain address was accepted when it was noted; see `cli::remote::consent`.
        let client = HttpClient::new(Arc::new(DirectDial::new(true)), ClientLimits::default());
        let caller = PeerCaller::new(client, Arc::clone(&store.keys), Arc::clone(&clock));
        let puller = Puller::new(store.clone(), caller, monitor);
        let serving = Serve::new(store.clone());
        let worker = Worker::new(puller, serving.clone(), config.sync.interval());
        let (following, wake) = Following::new(worker.clone());
        let plane = PeerPlane::new(serving, Arc::clone(&clock), PeerLimits::default());
        let admin_plane = AdminPlane::new(store, clock, token, following.clone(), shown);

        let stop = CancellationToken::new();
        let (tell, lost) = mpsc::unbounded_channel();
        let mut server = Self {
            info,
            peer_address,
            admin_address,
            following,
            tasks: TaskTracker::new(),
            aborts: Vec::new(),
            stop,
            lost,
            _lock: lock,
        };
        let limits = ServeLimits { farewell: FAREWELL, ..ServeLimits::default() };
        let (peer_plane, admin_plane) = (peer_router(plane), admin_router(admin_plane));
        server.run_task("peer plane", serve(peers, peer_plane, limits, server.stop.clone()), &tell);
        server.run_task("admin plane", serve(admins, admin_plane, limits, server.stop.clone()), &tell);
        let stopped = server.stop.clone();
        let work = async move {
            worker.run(wake, stopped).await;
            Ok(())
        };
        server.run_task("sync worker", work, &tell);
        server.tasks.close();
        Ok(server)
    }

    /// Runs a part; when it ends before it was told to, the server is told.
    fn run_task(
        &mut self,
        what: &'static str,
        part: impl Future<Output = io::Result<()>> + Send + 'static,
        tell: &mpsc::UnboundedSender<ServerError>,
    ) {
        let (tell, stop) = (tell.clone(), self.stop.clone());
        let task = self.tasks.spawn(async move {
            let cause = part.await.err();
            if !stop.is_cancelled() {
                let _ = tell.send(ServerError::Lost { what, cause });
            }
        });
        self.aborts.push(task.abort_handle());
    }

    /// What the command line is told.
    pub fn info(&self) -> &ServerInfo {
        &self.info
    }

    /// Where peers come in.
    pub fn peer_address(&self) -> &PeerAddress {
        &self.peer_address
    }

    /// Where the admin comes in.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// The sync worker.
    pub fn following(&self) -> &Following {
        &self.following
    }

    /// Runs until `cancel`, then stops in order.
    ///
    /// # Errors
    /// [`ServerError::Lost`]; the rest is stopped in order, too.
    pub async fn run(mut self, cancel: CancellationToken) -> Result<(), ServerError> {
        let result = tokio::select! {
            () = cancel.cancelled() => Ok(()),
            Some(lost) = self.lost.recv() => Err(lost),
        };
        self.stop.cancel();
        if tokio::time::timeout(DEADLINE, self.tasks.wait()).await.is_err() {
            tracing::warn!("some answers were cut off: they took too long to end");
            self.aborts.iter().for_each(AbortHandle::abort);
            self.tasks.wait().await;
        }
        result
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

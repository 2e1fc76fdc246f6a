//! The server: builds both planes and the worker over one repository, runs until it is told to stop, and stops in order.
//!
//! Every task runs on one tracker. Stopping: nothing new is taken in, open answers and the round at hand may end, and what
//! is not done at the deadline is cut; a repository survives that at any instruction (R8).

pub mod change; // what is changed between two starts
mod network; // what is listened on and dialled with
mod reach; // whether peers can come in

use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use crate::axon::instance::{AxonInstance, InstanceError};
use crate::axon::serve::AxonServe;
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::axon::key::PublicKey;
use crate::domain::peer::PeerAddress;
use crate::http::admin::access::Gate;
use crate::http::admin::change::{AskedChange, Restarts};
use crate::http::admin::network::NetworkView;
use crate::http::admin::token::{AdminToken, TokenError};
use crate::http::{
    AdminPlane, AxonPlane, Following, PeerLimits, PeerPlane, Plane, ServeLimits, admin_router, axon_router,
    peer_router, serve_counted, traced,
};
use crate::monitor::Monitor;
use crate::replicate::call::PeerCaller;
use crate::replicate::pull::Puller;
use crate::replicate::serve::Serve;
use crate::store::{ServerInfo, ServerLock, Store, StoreError, TorLock};
use crate::transport::Listen;
use crate::transport::client::{ClientLimits, HttpClient};
use crate::transport::direct::DirectListener;
use crate::transport::door::Door;
use crate::transport::onions::TorError;
use crate::transport::unix::SocketListener;
use crate::worker::alarm::{Alarm, AlarmError};
use crate::worker::axon::follow::AxonFollower;
use crate::worker::axon::shelves;
use crate::worker::follow::Worker;
use crate::worker::jobs::Jobs;
use crate::worker::prove::Prover;
use crate::worker::schedule::{Lane, Scheduler};
use crate::worker::scrub::Scrubber;
use crate::worker::standby::Standbys;

pub use network::{socks_dial, tor_options, wait_for_tor_lock};
pub use reach::Reach;
use reach::Watched;

/// Open answers may go on for so long after the server is told to stop.
const FAREWELL: Duration = Duration::from_secs(4);
/// What is not done by then is cut.
const DEADLINE: Duration = Duration::from_secs(10);

/// Why the server does not run, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// No transport is switched on.
    #[error(
        "Tor is switched off in bulbil.toml, and nothing else is switched on: set [tor] enabled = true, or use 'bulbil serve --direct 127.0.0.1:7001'"
    )]
    NoTransport,
    /// Behind a tor that runs already, and nowhere to come in.
    #[error(
        "with [tor] socks another tor hosts the onion service, and passes its connections on to this one: say where in bulbil.toml, [peer] listen = \"127.0.0.1:7001\", and which address it is, [peer] address = \"http://….onion\" (docs/tor.md)"
    )]
    NoListener,
    /// Behind a tor that runs already, and open to everybody.
    #[error(
        "{0} can be reached by others than the tor on this machine: listen on loopback, or set dangerously_direct = true if that is wanted"
    )]
    BehindTorNotLoopback(SocketAddr),
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
    /// The admin's socket cannot be made.
    #[error(
        "cannot listen at {} for the admin: does another server use it? [admin] socket in bulbil.toml says where", path.display()
    )]
    Socket {
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The socket for commands cannot be made.
    #[error("cannot listen at {} for this home's commands", path.display())]
    Door {
        /// Where.
        path: PathBuf,
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
    /// What alerts are told to.
    #[error(transparent)]
    Alerts(#[from] AlarmError),
    /// Tor.
    #[error(transparent)]
    Tor(#[from] TorError),
    /// The key for Axon instances.
    #[error(transparent)]
    Axon(#[from] InstanceError),
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
    /// Serve Axon instances.
    pub axon: bool,
    /// Whoever runs the server starts it again when it ends for a change.
    pub starts_again: bool,
}

impl ServerOptions {
    /// What is in force then.
    fn over(&self, config: &Config) -> Config {
        let mut config = config.clone();
        if let Some(admin) = self.admin {
            config.admin.listen = admin;
            config.given("admin.listen");
        }
        if let Some(direct) = self.direct {
            (config.peer.dangerously_direct, config.peer.listen, config.tor.enabled) = (true, Some(direct), false);
            for name in ["peer.dangerously_direct", "peer.listen", "tor.enabled"] {
                config.given(name);
            }
        }
        if self.axon {
            config.axon.serve = true;
            config.given("axon.serve");
        }
        config
    }
}

/// A running server. Dropped, it stops without waiting for anything.
#[derive(Debug)]
pub struct Server {
    info: ServerInfo,
    peer_address: PeerAddress,
    admin_address: SocketAddr,
    following: Following,
    gate: Gate,
    reach: Reach,
    tasks: TaskTracker,
    aborts: Vec<AbortHandle>,
    stop: CancellationToken,
    plane: PeerPlane,
    axon: Option<AxonPlane>,
    lost: mpsc::UnboundedReceiver<ServerError>,
    asked: mpsc::Receiver<AskedChange>,
    _locks: (ServerLock, Option<TorLock>),
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
        let admin = options.admin.unwrap_or(config.admin.listen);
        if !admin.ip().is_loopback() {
            return Err(ServerError::AdminNotLoopback(admin));
        }
        let fail = |cause| ServerError::Listen { who: "the admin", address: admin, cause };
        let admins = DirectListener::bind(admin).await.map_err(fail)?;
        let admin_address = admins.socket_address();
        let early = ServerInfo { pid: std::process::id(), admin_address: None, admin_socket: None, peer_address: None };
        // Whoever is second hears it at once, not when Tor's state turns out to be in use.
        let lock = store.lock_server(&early)?;
        // What a server that was killed left behind would keep commands from dialling.
        Door::remove(&store.home.door());
        let socket = config.admin.socket.as_deref().map(socket_at).transpose()?;
        let token = AdminToken::load_or_create(&store.home)?;
        let axon_key = match options.axon || config.axon.serve {
            true => Some(axon_key(&store).await?),
            false => None,
        };
        let network = network::build(&store, config, &options, &*clock).await?;
        let info = ServerInfo {
            admin_address: Some(admin_address.to_string()),
            admin_socket: config.admin.socket.clone(),
            peer_address: Some(network.shown.reveal()),
            ..early
        };
        lock.tell(&store.home, &info)?;

        let client = HttpClient::new(Arc::clone(&network.dial), ClientLimits::patient(config.tor.circuits()));
        let axon = AxonFollower::new(
            store.clone(),
            client.clone(),
            Arc::clone(&clock),
            Arc::clone(&monitor),
            config.sync.interval(),
        );
        let caller = PeerCaller::new(client, Arc::clone(&store.keys), Arc::clone(&clock));
        // Whoever pulls in this server does it with a clone of this: nothing is fetched twice, and all together are no faster than they may be.
        let mut puller = Puller::new(store.clone(), caller, Arc::clone(&monitor));
        if let Some(rate) = config.sync.limit_rate() {
            puller = puller.with_rate(rate);
        }
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let at_work = (tasks.clone(), stop.clone());
        let jobs = Jobs::new(puller.clone(), Arc::clone(&clock), Arc::clone(&monitor), at_work)
            .with_scrubs(config.scrub.policy());
        let scheduler = Scheduler::new(store.clone(), Arc::clone(&clock), Arc::clone(&monitor)).shown(jobs.live());
        scheduler.tidy().await.map_err(StoreError::from)?;
        let alarm = Alarm::new(store.clone(), Arc::clone(&clock), config.alerts.clone())?;
        let standbys = Standbys::new(store.clone(), Arc::clone(&clock), monitor);
        let serving = Serve::new(store.clone());
        let scrubber = config.scrub.enabled.then(|| Scrubber::new(puller.clone(), config.scrub.policy()));
        let prover = Prover::new(puller.clone());
        let worker = Worker::new(puller, serving.clone(), config.sync.interval()).with_push(config.sync.push);
        let (following, wake) = Following::new(worker.clone());
        let plane = PeerPlane::new(serving, Arc::clone(&clock), PeerLimits::default());
        let axon_plane = axon_key
            .map(|key| AxonPlane::new(AxonServe::new(store.clone(), key), Arc::clone(&clock), PeerLimits::default()));
        let reach = Reach::new(Watched {
            store: store.clone(),
            clock: Arc::clone(&clock),
            shown: network.shown.clone(),
            addresses: network.addresses(),
            direct: network.direct,
            tor: network.hosted.as_ref().map(|hosted| (hosted.tor.clone(), hosted.service.clone())),
            own_key: network.hosted.as_ref().and_then(|hosted| hosted.own_key),
            dial: network.test_dial(),
        });
        let view: Arc<dyn NetworkView> = Arc::new(reach.clone());
        let (restarts, asked) = Restarts::new();
        let admin_plane = AdminPlane::new(store.clone(), clock, token, following.clone(), view, jobs)
            .with_alerting(alarm.alerting())
            .with_direct(config.peer.dangerously_direct)
            .with_restarts(options.starts_again.then_some(restarts))
            .with_configuration(options.over(config).facts());
        let gate = admin_plane.gate().clone();
        let traffic = admin_plane.traffic().clone();
        let admin_over_tor = network.admin.as_ref().map(|listener| admin_plane.clone().over_tor(&listener.address()));

        let (tell, lost) = mpsc::unbounded_channel();
        let mut server = Self {
            info,
            peer_address: network.shown,
            admin_address,
            following: following.clone(),
            gate,
            reach: reach.clone(),
            tasks,
            aborts: Vec::new(),
            stop,
            plane: plane.clone(),
            axon: axon_plane.clone(),
            lost,
            asked,
            _locks: (lock, network.lock),
        };
        let limits = ServeLimits { farewell: FAREWELL, ..ServeLimits::default() };
        let (mut peer_plane, admin_plane) = (peer_router(plane), admin_router(admin_plane));
        if let Some(plane) = axon_plane {
            peer_plane = peer_plane.merge(axon_router(plane));
        }
        let peer_plane = traced(peer_plane, Plane::Peer, traffic.clone());
        let open = |plane: Plane| traffic.open(plane).clone();
        for listener in network.listeners {
            let serving = serve_counted(listener, peer_plane.clone(), limits, open(Plane::Peer), server.stop.clone());
            server.run_task("peer plane", serving, &tell);
        }
        if let Some(socket) = socket {
            let serving = serve_counted(socket, admin_plane.clone(), limits, open(Plane::Admin), server.stop.clone());
            server.run_task("admin plane on its socket", serving, &tell);
        }
        let serving = serve_counted(admins, admin_plane, limits, open(Plane::Admin), server.stop.clone());
        server.run_task("admin plane", serving, &tell);
        if let Some(listener) = network.admin {
            let plane = admin_over_tor.expect("it was made for this listener");
            let serving = serve_counted(listener, admin_router(plane), limits, open(Plane::Admin), server.stop.clone());
            server.run_task("admin plane over Tor", serving, &tell);
        }
        if network.onions {
            let door = store.home.door();
            let fail = |cause| ServerError::Door { path: door.clone(), cause };
            let serving = Door::open(&door).map_err(fail)?.serve(network.dial, server.stop.clone());
            server.run_task("door for commands", serving, &tell);
        }
        let stopped = server.stop.clone();
        let work = async move {
            worker.run(wake, stopped).await;
            Ok(())
        };
        server.run_task("sync worker", work, &tell);
        for (what, lane) in
            [("scheduled backups", Lane::Backups), ("scheduled care", Lane::Care), ("scheduled copies", Lane::Copies)]
        {
            let (scheduler, stopped) = (scheduler.clone(), server.stop.clone());
            let working = async move {
                scheduler.run(lane, stopped).await;
                Ok(())
            };
            server.run_task(what, working, &tell);
        }
        let stopped = server.stop.clone();
        let telling = async move {
            alarm.run(stopped).await;
            Ok(())
        };
        server.run_task("alerts", telling, &tell);
        let stopped = server.stop.clone();
        let laying_out = async move {
            standbys.run(stopped).await;
            Ok(())
        };
        server.run_task("standbys", laying_out, &tell);
        let stopped = server.stop.clone();
        if let Some(scrubber) = scrubber {
            let scrubbing = async move {
                scrubber.run(stopped).await;
                Ok(())
            };
            server.run_task("scrub", scrubbing, &tell);
        }
        let stopped = server.stop.clone();
        let proving = async move {
            prover.run(stopped).await;
            Ok(())
        };
        server.run_task("proofs", proving, &tell);
        let stopped = server.stop.clone();
        let following_axon = async move {
            axon.run(stopped).await;
            Ok(())
        };
        server.run_task("following of Axon instances", following_axon, &tell);
        if server.serves_axon() {
            let (store, stopped) = (store.clone(), server.stop.clone());
            let loading = async move {
                shelves::keep(&store, &stopped).await;
                Ok(())
            };
            server.run_task("reading of Axon collections", loading, &tell);
        }
        let stopped = server.stop.clone();
        let watching = async move {
            reach.run(following, stopped).await;
            Ok(())
        };
        server.run_task("watch over the ways in", watching, &tell);
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
            let ended = AssertUnwindSafe(part).catch_unwind().await;
            let cause = ended.unwrap_or_else(|_| Err(io::Error::other("it ended in a fault of Bulbil"))).err();
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

    /// Where the owner of this machine sets the first password, with a code that is good for that alone. Nothing if there is one, or if
    /// that cannot be said.
    pub fn setup_link(&self) -> Option<Zeroizing<String>> {
        let code = self.gate.setup_code().ok().flatten()?;
        Some(Zeroizing::new(format!("http://{}/setup?code={}", self.admin_address, *code)))
    }

    /// Whether Axon instances are served.
    pub fn serves_axon(&self) -> bool {
        self.axon.is_some()
    }

    /// How it stands with the ways in.
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// The sync worker.
    pub fn following(&self) -> &Following {
        &self.following
    }

    /// Runs until `cancel`, or until somebody asks for a change for which it has to rest; then stops in order.
    ///
    /// # Errors
    /// [`ServerError::Lost`]; the rest is stopped in order, too.
    pub async fn run(mut self, cancel: CancellationToken) -> Result<Option<AskedChange>, ServerError> {
        let result = tokio::select! {
            () = cancel.cancelled() => Ok(None),
            Some(lost) = self.lost.recv() => Err(lost),
            Some(asked) = self.asked.recv() => Ok(Some(asked)),
        };
        self.stop.cancel();
        if tokio::time::timeout(DEADLINE, self.tasks.wait()).await.is_err() {
            tracing::warn!("some answers were cut off: they took too long to end");
            self.aborts.iter().for_each(AbortHandle::abort);
            self.tasks.wait().await;
        }
        self.plane.settled().await;
        if let Some(axon) = &self.axon {
            axon.settled().await;
        }
        result
    }
}

fn socket_at(path: &Path) -> Result<SocketListener, ServerError> {
    SocketListener::bind(path).map_err(|cause| ServerError::Socket { path: path.to_owned(), cause })
}

/// The key with which this instance is known to Axon instances; made now if it has none.
async fn axon_key(store: &Store) -> Result<PublicKey, ServerError> {
    let store = store.clone();
    let loading = tokio::task::spawn_blocking(move || AxonInstance::load_or_make(&store)).await;
    let instance = loading.map_err(|cause| ServerError::Lost { what: "reading of keys", cause: Some(cause.into()) })?;
    Ok(instance?.public)
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

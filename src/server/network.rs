//! What the server listens on and dials with, from the configuration: Tor in this process, a tor that runs already, or
//! plain addresses. None of them stands in for another (R9).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::Config;
use crate::domain::crypto::discovery::{DiscoveryKey, DiscoveryRecipient, MAX_RECIPIENTS};
use crate::domain::onion::DEFAULT_PORT;
use crate::domain::peer::PeerAddress;
use crate::http::admin::network::Addresses;
use crate::store::{OnionName, Store, StoreError, TorLock, entropy};
use crate::transport::direct::{DirectDial, DirectListener};
use crate::transport::onions::{OnionOptions, OnionService, TorOptions};
use crate::transport::routes::Routes;
use crate::transport::socks::SocksDial;
use crate::transport::tor::{OnionListener, Tor};
use crate::transport::{Dial, Listen};

use super::reach::Fresh;
use super::{ServerError, ServerOptions};

/// How often the lock on Tor's state is tried again while a command holds it.
const LOOK: Duration = Duration::from_millis(500);

/// The ways in and out.
#[derive(Debug)]
pub(super) struct Network {
    /// Where peers come in; one at least.
    pub(super) listeners: Vec<Box<dyn Listen>>,
    /// What invites say.
    pub(super) shown: PeerAddress,
    /// How peers are reached.
    pub(super) dial: Arc<dyn Dial>,
    /// Whether onions can be dialled.
    pub(super) onions: bool,
    /// Tor in this process.
    pub(super) hosted: Option<Hosted>,
    /// Where the admin comes in over Tor.
    pub(super) admin: Option<OnionListener>,
    /// Whether plain addresses are listened on for others than a tor that runs already.
    pub(super) direct: bool,
    /// Held as long as Tor runs in this process.
    pub(super) lock: Option<TorLock>,
}

/// Tor in this process, and what it hosts for peers.
#[derive(Debug)]
pub(super) struct Hosted {
    pub(super) tor: Tor,
    pub(super) service: OnionService,
    /// With restricted discovery: the key with which this instance tests itself.
    pub(super) own_key: Option<DiscoveryKey>,
}

impl Network {
    /// The addresses in full.
    pub(super) fn addresses(&self) -> Addresses {
        let mut peer = vec![self.shown.reveal_plain()];
        peer.extend(self.listeners.iter().map(|listener| listener.address().reveal_plain()));
        peer.dedup();
        Addresses { peer, admin_onion: self.admin.as_ref().map(|listener| listener.address().reveal_plain()) }
    }

    /// What a test of the own onion service dials with: as a stranger would.
    pub(super) fn test_dial(&self) -> Option<Arc<dyn Dial>> {
        match (&self.hosted, &self.shown) {
            (Some(hosted), _) => Some(Arc::new(Fresh(hosted.tor.clone()))),
            (None, PeerAddress::Onion(_)) if self.onions => Some(Arc::clone(&self.dial)),
            _ => None,
        }
    }
}

/// Builds what the configuration and the command line ask for.
pub(super) async fn build(
    store: &Store,
    config: &Config,
    options: &ServerOptions,
    clock: &dyn Clock,
) -> Result<Network, ServerError> {
    let mut listeners: Vec<Box<dyn Listen>> = Vec::new();
    let plain = config.peer.dangerously_direct || options.direct.is_some();
    let tor_wanted = config.tor.enabled && options.direct.is_none();
    let socks = config.tor.socks.filter(|_| tor_wanted);
    // Behind somebody else's onion service the plain listener is on loopback, and nothing about it is dangerous.
    let behind = config.peer.listen.filter(|_| socks.is_some());
    let listen = options.direct.or(config.peer.listen.filter(|_| config.peer.dangerously_direct)).or(behind);
    if let Some(address) = listen {
        if !plain && !address.ip().is_loopback() {
            return Err(ServerError::BehindTorNotLoopback(address));
        }
        let fail = |cause| ServerError::Listen { who: "peers", address, cause };
        listeners.push(Box::new(DirectListener::bind(address).await.map_err(fail)?));
    }
    let (mut hosted, mut admin, mut lock) = (None, None, None);
    if tor_wanted && socks.is_none() {
        let say = |pid: Option<u32>| {
            let pid = pid.unwrap_or_default();
            tracing::warn!(pid, "another bulbil command uses this home's Tor: waiting until it is done");
        };
        lock = Some(wait_for_tor_lock(store, say).await?);
        let tor = Tor::start(&TorOptions { hosts: true, ..tor_options(store, config) }).await?;
        let (listener, peers) = host(&tor, store, config, clock).await?;
        // The first listener's address is what is shown.
        listeners.insert(0, Box::new(listener));
        hosted = Some(peers);
        if config.tor.admin_onion {
            let key = store.onion_key(OnionName::Admin)?;
            admin = Some(tor.host(OnionOptions { nickname: "admin", key, port: DEFAULT_PORT, clients: None })?.0);
        }
    }
    let Some(first) = listeners.first() else {
        return Err(if socks.is_some() { ServerError::NoListener } else { ServerError::NoTransport });
    };
    let shown = config.peer.address.clone().unwrap_or_else(|| first.address());
    if socks.is_some() && !plain && !matches!(shown, PeerAddress::Onion(_)) {
        return Err(ServerError::NoListener);
    }
    let onion: Option<Arc<dyn Dial>> = match (&hosted, socks) {
        (Some(hosted), _) => Some(Arc::new(hosted.tor.clone())),
        (None, Some(proxy)) => Some(Arc::new(socks_dial(proxy, config))),
        (None, None) => None,
    };
    let onions = onion.is_some();
    let dial = Arc::new(Routes::new(onion, DirectDial::new(plain)));
    Ok(Network { listeners, shown, dial, onions, hosted, admin, direct: plain, lock })
}

/// A dialler through a tor that runs already.
pub fn socks_dial(proxy: SocketAddr, config: &Config) -> SocksDial {
    let mut secret = [0; 16];
    rand_core::Rng::fill_bytes(&mut entropy(), &mut secret);
    SocksDial::new(proxy, secret, config.tor.circuits())
}

/// Where Tor's state is, and what is laid over its configuration.
pub fn tor_options(store: &Store, config: &Config) -> TorOptions {
    let (dir, overlay) = (store.home.tor(), config.tor.config.clone());
    TorOptions { dir, overlay, hosts: false, circuits: config.tor.circuits() }
}

/// Hosts the onion service for peers.
async fn host(
    tor: &Tor,
    store: &Store,
    config: &Config,
    clock: &dyn Clock,
) -> Result<(OnionListener, Hosted), ServerError> {
    let own_key = config.tor.restricted_discovery.then(|| DiscoveryKey::random(&mut entropy()));
    let clients = match &own_key {
        Some(own) => Some(clients(store, own, clock).await?),
        None => None,
    };
    let key = store.onion_key(OnionName::Peer)?;
    let options = OnionOptions { nickname: "peer", key, port: config.tor.port.get(), clients };
    let (listener, service) = tor.host(options)?;
    Ok((listener, Hosted { tor: tor.clone(), service, own_key }))
}

/// Who may find the hidden service: this instance itself, peers, and invited ones, as many as there is room for.
pub(super) async fn clients(
    store: &Store,
    own: &DiscoveryKey,
    clock: &dyn Clock,
) -> Result<Vec<DiscoveryRecipient>, ServerError> {
    let keys = store.index.discovery_keys(clock.now()).await.map_err(StoreError::from)?;
    Ok(std::iter::once(own.recipient()).chain(keys).take(MAX_RECIPIENTS).collect())
}

/// Takes the lock on Tor's state. Whoever dials through Tor by itself holds it until it is done; `say` is called once if somebody
/// has to be waited for, with their process id.
///
/// # Errors
/// [`StoreError`], but not that it is busy.
pub async fn wait_for_tor_lock(store: &Store, say: impl FnOnce(Option<u32>)) -> Result<TorLock, StoreError> {
    let mut say = Some(say);
    loop {
        match store.lock_tor() {
            Err(StoreError::Busy { pid, .. }) => {
                if let Some(say) = say.take() {
                    say(pid);
                }
                tokio::time::sleep(LOOK).await;
            }
            taken => return taken,
        }
    }
}

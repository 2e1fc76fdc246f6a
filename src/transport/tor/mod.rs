//! Tor, in this process (arti): one client that hosts onion services and dials them.
//!
//! - One client for a process and for a home's state; each peer has circuits of its own, so that no relay can tell that two
//!   peers are called by the same instance (`circuits`).
//! - It begins to bootstrap when it starts and never gives up; who dials meanwhile waits, and is told what for.
//! - Vanguards are full: this is a service that runs for months, and guards are what keeps it hidden.
//! - Keys are not arti's concern: it keeps them in memory, and gets them from the home's sealed ones at each start. All of
//!   `HOME/tor` may be lost without harm, at the cost of a slower start and other guards.

mod circuits; // which circuit a connection to a peer takes
mod config; // arti's configuration, ours and the admin's
mod dial; // connecting to onion services, with patience
mod onion; // hosting one
mod state; // how far it is, for people

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arti_client::{KeystoreSelector, TorClient};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tor_hscrypto::pk::{HsClientDescEncKey, HsClientDescEncSecretKey, HsId};
use tor_llcrypto::pk::curve25519::{PublicKey, StaticSecret};
use tor_rtcompat::PreferredRuntime;

use super::onions::{OnionOptions, OnionService, TorError, TorOptions};
use crate::domain::onion::OnionAddress;
use crate::monitor::with_causes;
use circuits::Circuits;

pub use onion::OnionListener;

/// First and longest pause between attempts to bootstrap.
const PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

type Client = Arc<TorClient<PreferredRuntime>>;

/// A running Tor client. When the last clone is dropped, it stops.
#[derive(Debug, Clone)]
pub struct Tor {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    circuits: Circuits,
    /// It has come up once. Whether connections can be made is found out by making one: arti keeps none open for nothing.
    came_up: Arc<AtomicBool>,
    discovery: Mutex<()>,
    /// Since when it is known not to be ready.
    unready_since: Mutex<Option<Instant>>,
    _stop: DropGuard,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tor")
    }
}

impl Tor {
    /// Starts a client. It returns before there is any connection; [`bootstrap`](Self::bootstrap) says how far it is.
    ///
    /// # Errors
    /// [`TorError`]: the configuration is not good, or its folder cannot be used.
    pub async fn start(options: &TorOptions) -> Result<Self, TorError> {
        // Several may start in one process (a test): the first wins, and they are all the same.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let config = config::arti(options)?;
        if options.hosts {
            // What is left of the services of before names keys that were in memory only.
            match std::fs::remove_dir_all(options.dir.join("state/hss")) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(TorError::Start(format!("cannot clear {}: {error}", options.dir.display())));
                }
                _ => {}
            }
        }
        let client = TorClient::builder().config(config).create_unbootstrapped_async().await;
        let client = client.map_err(|error| TorError::Start(explained(with_causes(&error))))?;
        let stop = CancellationToken::new();
        let came_up = Arc::new(AtomicBool::new(false));
        TaskTracker::new().spawn(bootstrap(Arc::downgrade(&client), Arc::clone(&came_up), stop.clone()));
        let inner = Inner {
            client,
            circuits: Circuits::new(options.circuits),
            came_up,
            discovery: Mutex::default(),
            unready_since: Mutex::default(),
            _stop: stop.drop_guard(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Hosts an onion service, from now until the listener is dropped.
    ///
    /// # Errors
    /// [`TorError::Host`].
    pub fn host(&self, options: OnionOptions) -> Result<(OnionListener, OnionService), TorError> {
        onion::host(&self.inner.client, Arc::clone(&self.inner.came_up), options)
    }

    /// Hands over the key that a hidden service (restricted discovery) wants to be found with, if its address carries one.
    /// Answers whether it is another one than before: then what was learnt with that is of no use.
    fn show_discovery_key(&self, address: &OnionAddress) -> Result<bool, String> {
        let Some(key) = address.discovery() else { return Ok(false) };
        let id = HsId::from(*address.key());
        let client = &self.inner.client;
        let failed = |error: arti_client::Error| with_causes(&error);
        // In memory only. Several may dial at once: one of them changes it.
        let _turn = self.inner.discovery.lock().expect("no holder of this lock can panic");
        let known = client.get_service_discovery_key(id).map_err(failed)?;
        let wanted = PublicKey::from(*key.recipient().as_bytes());
        match known {
            Some(known) if known == HsClientDescEncKey::from(wanted) => return Ok(false),
            Some(_) => drop(client.remove_service_discovery_key(KeystoreSelector::Primary, id).map_err(failed)?),
            None => {}
        }
        let secret = HsClientDescEncSecretKey::from(StaticSecret::from(*key.secret()));
        client.insert_service_discovery_key(KeystoreSelector::Primary, id, secret).map_err(failed)?;
        Ok(true)
    }
}

/// Bootstraps until it has worked once; arti keeps the directory fresh from then on.
async fn bootstrap(
    client: std::sync::Weak<TorClient<PreferredRuntime>>,
    came_up: Arc<AtomicBool>,
    stop: CancellationToken,
) {
    let mut pause = PAUSES.0;
    loop {
        let Some(client) = client.upgrade() else { return };
        let attempt = tokio::select! {
            attempt = client.bootstrap() => attempt,
            () = stop.cancelled() => return,
        };
        drop(client);
        let Err(error) = attempt else {
            came_up.store(true, Ordering::Relaxed);
            return;
        };
        tracing::info!(error = with_causes(&error), "Tor did not come up; trying again");
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSES.1),
            () = stop.cancelled() => return,
        }
    }
}

/// arti refuses folders that others may write to, and says it in its own words.
fn explained(error: String) -> String {
    if error.contains("g-w") || error.contains("o-w") {
        return format!("{error}. Others may write to the home, or to a folder above it: chmod go-w takes that away");
    }
    error
}

//! Hosting an onion service: streams of any client become connections of one listener.
//!
//! There is no client address on Tor; a circuit is all that can be told apart, and it has a bounded number of streams.
//!
//! A service is launched when Tor has come up, and a moment later: arti tells its parts one after the other that there is a
//! directory. An introduction point that is tried before the vanguards know it fails, and is tried again after minutes only.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tor_cell::relaycell::msg::Connected;
use tor_hscrypto::pk::{HsClientDescEncKey, HsIdKeypair};
use tor_hsservice::config::restricted_discovery::HsClientNickname;
use tor_hsservice::config::{OnionServiceConfig, OnionServiceConfigBuilder, TokenBucketConfig};
use tor_hsservice::{RendRequest, RunningOnionService};
use tor_llcrypto::pk::ed25519::ExpandedKeypair;
use tor_proto::stream::IncomingStreamRequest;

use super::{Client, TorError};
use crate::domain::crypto::discovery::DiscoveryRecipient;
use crate::domain::peer::PeerAddress;
use crate::monitor::with_causes;
use crate::transport::onions::{OnionControl, OnionOptions, OnionService, OnionState, Published};
use crate::transport::{BoxedStream, Listen};

/// Connections that wait to be taken in.
const WAITING: usize = 64;
/// Streams of one circuit at once; one more, and arti closes it with all the others. An Axon BBS asks for twelve chunks at once,
/// and C tor puts all that one program asks for on one circuit.
const STREAMS_PER_CIRCUIT: u32 = 32;
/// How often clients may knock, in a second and at once; further ones are turned away before they cost a circuit here.
const KNOCKS: (u32, u32) = (20, 200);
/// A client that has not sent anything but its wish to meet is waited for so long.
const RENDEZVOUS: Duration = Duration::from_secs(60);
/// How often it is looked whether Tor has come up.
const LOOK: Duration = Duration::from_millis(100);
/// From then on until the service is launched.
const SETTLE: Duration = Duration::from_millis(500);

/// Connections to an onion service.
pub struct OnionListener {
    address: PeerAddress,
    streams: mpsc::Receiver<BoxedStream>,
    _service: OnionService,
    _stop: DropGuard,
}

impl std::fmt::Debug for OnionListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnionListener")
    }
}

impl Listen for OnionListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxedStream>> {
        Box::pin(async move {
            let ended = || io::Error::other("Tor has ended the onion service");
            self.streams.recv().await.ok_or_else(ended)
        })
    }

    fn address(&self) -> PeerAddress {
        self.address.clone()
    }
}

/// Launches a service, as soon as that makes sense. What is wrong with it later is in its state.
pub(super) fn host(
    client: &Client,
    came_up: Arc<AtomicBool>,
    options: OnionOptions,
) -> Result<(OnionListener, OnionService), TorError> {
    let failed = |error: &(dyn std::error::Error + 'static)| TorError::Host(with_causes(error));
    let address = options.key.address(options.port).map_err(|error| failed(&error))?;
    let config = config(options.nickname, options.clients.as_deref())?;
    let keypair = ExpandedKeypair::from_secret_key_bytes(*options.key.secret().expose());
    let keypair = HsIdKeypair::from(keypair.ok_or_else(|| TorError::Host("its key is damaged".to_owned()))?);
    let stop = CancellationToken::new();
    let (sender, streams) = mpsc::channel(WAITING);
    let launch = Mutex::new(Launch::Waiting(Box::new(config)));
    let control = Arc::new(Control { launch, nickname: options.nickname, published: Mutex::default() });
    let (port, tasks) = (options.port, TaskTracker::new());
    let (client, weak, stopped, tracker) = (Arc::clone(client), Arc::downgrade(&control), stop.clone(), tasks.clone());
    tasks.spawn(async move {
        let launched = tokio::select! {
            launched = launch_when_ready(client, came_up, &weak, keypair) => launched,
            () = stopped.cancelled() => return,
        };
        let Some((service, rendezvous)) = launched else { return };
        tracker.spawn(note_state(service, weak, stopped.clone()));
        take_in(rendezvous, port, sender, tracker, stopped).await;
    });
    let service = OnionService::new(address, control);
    let address = PeerAddress::Onion(address);
    Ok((OnionListener { address, streams, _service: service.clone(), _stop: stop.drop_guard() }, service))
}

fn config(nickname: &str, clients: Option<&[DiscoveryRecipient]>) -> Result<OnionServiceConfig, TorError> {
    let unfit = |what: String| TorError::Host(what);
    let mut config = OnionServiceConfigBuilder::default();
    config.nickname(nickname.parse().expect("our names are good"));
    config.max_concurrent_streams_per_circuit(STREAMS_PER_CIRCUIT);
    config.rate_limit_at_intro(Some(TokenBucketConfig::new(KNOCKS.0, KNOCKS.1)));
    if let Some(clients) = clients {
        config.restricted_discovery().enabled(true);
        for (n, key) in clients.iter().enumerate() {
            let name: HsClientNickname = format!("c{n}").parse().expect("our names are good");
            let key = HsClientDescEncKey::from(tor_llcrypto::pk::curve25519::PublicKey::from(*key.as_bytes()));
            config.restricted_discovery().static_keys().access().push((name, key));
        }
    }
    config.build().map_err(|error| unfit(with_causes(&error)))
}

type Launched = (Arc<RunningOnionService>, BoxStream<'static, RendRequest>);

/// Waits for Tor, and launches. Nothing if that failed, or nobody wants the service any more.
async fn launch_when_ready(
    client: Client,
    came_up: Arc<AtomicBool>,
    control: &Weak<Control>,
    keypair: HsIdKeypair,
) -> Option<Launched> {
    // Not whether there is a connection now: with a directory from the cache arti makes none before somebody wants one.
    while !came_up.load(Ordering::Relaxed) {
        tokio::time::sleep(LOOK).await;
    }
    tokio::time::sleep(SETTLE).await;
    let control = control.upgrade()?;
    let mut launch = control.launch.lock().expect("no holder of this lock can panic");
    let Launch::Waiting(config) = &*launch else { return None };
    let wrong = match client.launch_onion_service_with_hsid((**config).clone(), keypair) {
        Ok(Some((service, rendezvous))) => {
            *launch = Launch::Running(Arc::clone(&service));
            return Some((service, rendezvous.boxed()));
        }
        Ok(None) => "the configuration disables it".to_owned(),
        Err(error) => with_causes(&error),
    };
    tracing::error!(error = wrong, "the onion service cannot be started");
    control.published.lock().expect("no holder of this lock can panic").note(OnionState::Broken, Some(wrong));
    None
}

/// Meets clients; each becomes a task that takes its streams in.
async fn take_in(
    mut rendezvous: BoxStream<'static, RendRequest>,
    port: u16,
    sender: mpsc::Sender<BoxedStream>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let meet = async {
        while let Some(request) = rendezvous.next().await {
            let (sender, stop) = (sender.clone(), stop.clone());
            tasks.spawn(async move {
                tokio::select! {
                    () = meet(request, port, sender) => {}
                    () = stop.cancelled() => {}
                }
            });
        }
    };
    tokio::select! {
        () = meet => {}
        () = stop.cancelled() => {}
    }
}

async fn meet(request: RendRequest, port: u16, sender: mpsc::Sender<BoxedStream>) {
    let mut streams = match tokio::time::timeout(RENDEZVOUS, request.accept()).await {
        Ok(Ok(streams)) => streams,
        Ok(Err(error)) => {
            tracing::debug!(error = with_causes(&error), "a client was not met");
            return;
        }
        Err(_) => return,
    };
    while let Some(stream) = streams.next().await {
        match stream.request() {
            IncomingStreamRequest::Begin(begin) if begin.port() == port => {
                match stream.accept(Connected::new_empty()).await {
                    Ok(stream) => {
                        if sender.send(Box::new(stream)).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => tracing::debug!(error = with_causes(&error), "a stream was not taken in"),
                }
            }
            // Nobody who was told the address asks for something else.
            _ => {
                let _ = stream.shutdown_circuit();
                return;
            }
        }
    }
}

/// A service before and after it is launched.
enum Launch {
    Waiting(Box<OnionServiceConfig>),
    Running(Arc<RunningOnionService>),
}

struct Control {
    launch: Mutex<Launch>,
    nickname: &'static str,
    published: Mutex<Published>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Control")
    }
}

impl OnionControl for Control {
    fn published(&self) -> Published {
        self.published.lock().expect("no holder of this lock can panic").clone()
    }

    fn admit(&self, clients: &[DiscoveryRecipient]) -> Result<(), String> {
        let config = config(self.nickname, Some(clients)).map_err(|error| error.to_string())?;
        let how = arti_client::config::Reconfigure::AllOrNothing;
        match &mut *self.launch.lock().expect("no holder of this lock can panic") {
            Launch::Waiting(waiting) => **waiting = config,
            Launch::Running(service) => service.reconfigure(config, how).map_err(|error| with_causes(&error))?,
        }
        Ok(())
    }
}

/// Keeps what arti says of the service.
async fn note_state(service: Arc<RunningOnionService>, control: Weak<Control>, stop: CancellationToken) {
    let mut events = service.status_events();
    // It ends with the last one who holds it.
    drop(service);
    loop {
        let status = tokio::select! {
            status = events.next() => status,
            () = stop.cancelled() => return,
        };
        let (Some(status), Some(control)) = (status, control.upgrade()) else { return };
        let state = state(status.state());
        let problem = status.current_problem().and_then(problem);
        let mut published = control.published.lock().expect("no holder of this lock can panic");
        published.note(state, problem);
    }
}

fn state(state: tor_hsservice::status::State) -> OnionState {
    use tor_hsservice::status::State;
    match state {
        State::Shutdown => OnionState::Stopped,
        State::Bootstrapping => OnionState::Starting,
        State::Running | State::DegradedReachable => OnionState::Published,
        State::DegradedUnreachable | State::Recovering => OnionState::Recovering,
        _ => OnionState::Broken,
    }
}

/// What arti says is wrong, without its details: they name relays, and an onion's place among them.
fn problem(problem: &tor_hsservice::status::Problem) -> Option<String> {
    use tor_hsservice::status::Problem;
    Some(match problem {
        Problem::DescriptorUpload(errors) if errors.is_empty() => return None,
        Problem::Ipt(errors) if errors.is_empty() => return None,
        Problem::DescriptorUpload(errors) => {
            format!("the descriptor could not be left with {} of the directories that should have it", errors.len())
        }
        Problem::Ipt(errors) => format!("{} introduction points could not be set up", errors.len()),
        _ => "arti reports a fault of its own".to_owned(),
    })
}

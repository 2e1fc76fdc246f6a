//! How a command reaches peers: through the server that runs in its home, through a tor that runs already, or by a Tor client
//! of its own, which is started when the first onion is dialled and says how far it is.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use indicatif::ProgressBar;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::config::Config;
use crate::domain::peer::PeerAddress;
use crate::server::{socks_dial, tor_options, wait_for_tor_lock};
use crate::store::{Store, TorLock};
use crate::transport::direct::DirectDial;
use crate::transport::door::DoorDial;
use crate::transport::onions::{OnionFault, TorError};
use crate::transport::routes::Routes;
use crate::transport::tor::Tor;
use crate::transport::{BoxedStream, Dial, DialError};

use super::output::Output;

/// How often it is looked how far Tor is.
const LOOK: Duration = Duration::from_millis(200);
/// How often it is said that connecting goes on.
const SAY_EVERY: Duration = Duration::from_secs(15);
/// Without a terminal: at least so long between two lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// What a command dials with. Plain addresses that it is given were accepted when they were noted.
pub fn dial(store: &Store, config: &Config, output: Output) -> Arc<dyn Dial> {
    let onions: Option<Arc<dyn Dial>> = config.tor.enabled.then(|| {
        let onions = Onions { store: store.clone(), config: config.clone(), output, chosen: OnceCell::new() };
        Arc::new(onions) as _
    });
    Arc::new(Routes::new(onions, DirectDial::new(true)))
}

/// Chooses the way to onions when the first one is dialled.
#[derive(Debug)]
struct Onions {
    store: Store,
    config: Config,
    output: Output,
    chosen: OnceCell<Chosen>,
}

#[derive(Debug)]
struct Chosen {
    dial: Arc<dyn Dial>,
    /// Kept as long as Tor runs in this process.
    _lock: Option<TorLock>,
}

impl Dial for Onions {
    fn dial<'a>(&'a self, address: &'a PeerAddress) -> BoxFuture<'a, Result<BoxedStream, DialError>> {
        Box::pin(async move {
            let failed = |error: TorError| DialError::Onion(OnionFault::Failed { what: error.to_string() });
            let chosen = self.chosen.get_or_try_init(|| self.choose()).await.map_err(failed)?;
            let started = Instant::now();
            let mut dialling = std::pin::pin!(chosen.dial.dial(address));
            loop {
                match tokio::time::timeout(SAY_EVERY, &mut dialling).await {
                    Ok(dialled) => return dialled,
                    Err(_) if !self.output.quiet => self.output.remark(format!(
                        "Still connecting over Tor ({} s): it may take two minutes if the other side has just started or is busy.",
                        started.elapsed().as_secs()
                    )),
                    Err(_) => {}
                }
            }
        })
    }
}

impl Onions {
    async fn choose(&self) -> Result<Chosen, TorError> {
        if self.store.running_server().is_some()
            && let Some(door) = DoorDial::through(&self.store.home.door())
        {
            return Ok(Chosen { dial: Arc::new(door), _lock: None });
        }
        if let Some(proxy) = self.config.tor.socks {
            return Ok(Chosen { dial: Arc::new(socks_dial(proxy, &self.config)), _lock: None });
        }
        // Two clients on one state would not be safe: the second waits.
        let output = self.output;
        let say = move |pid: Option<u32>| {
            let who = pid.map(|pid| format!(" (process {pid})")).unwrap_or_default();
            output.remark(format!(
                "Another bulbil command{who} uses this home's Tor: waiting until it is done. While 'bulbil serve' runs, commands share its Tor."
            ));
        };
        let lock = wait_for_tor_lock(&self.store, say).await.map_err(|error| TorError::Start(error.to_string()))?;
        let tor = Tor::start(&tor_options(&self.store, &self.config)).await?;
        if !self.output.quiet {
            show_bootstrap(&tor, self.output).await;
        }
        Ok(Chosen { dial: Arc::new(tor), _lock: Some(lock) })
    }
}

/// Shows how far Tor is until it is ready, or stands still for so long that who dials is told.
pub async fn show_bootstrap(tor: &Tor, output: Output) {
    let started = Instant::now();
    let bar = (!output.json && std::io::stderr().is_terminal()).then(ProgressBar::new_spinner);
    let (mut shown, mut shown_at) = (String::new(), None::<Instant>);
    loop {
        let state = tor.bootstrap();
        let words = format!("Tor: {}", state.in_words());
        match &bar {
            Some(bar) => {
                bar.set_message(words);
                bar.tick();
            }
            None if words != shown && shown_at.is_none_or(|at| at.elapsed() >= LINE_EVERY) && !state.ready => {
                output.remark(&words);
                (shown, shown_at) = (words, Some(Instant::now()));
            }
            None => {}
        }
        if state.ready || tor.is_overdue() {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    if tor.bootstrap().ready {
        output.remark(format!("Tor is ready ({:.1} s).", started.elapsed().as_secs_f64()));
    }
}

//! Connecting to onion services. It takes seconds, sometimes a minute; what may pass is tried again, within bounds.

use std::time::Duration;

use arti_client::{ErrorKind, HasKind, StreamPrefs};
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout_at};

use super::Tor;
use super::circuits::{Place, Placed};
use crate::domain::onion::OnionAddress;
use crate::domain::peer::PeerAddress;
use crate::monitor::with_causes;
use crate::transport::onions::{DialOnion, OnionFault};
use crate::transport::{BoxedStream, Dial, DialError};

/// How long a connection may take altogether.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long Tor itself may take to come up, before who waits is told why it does not.
const BOOTSTRAP: Duration = Duration::from_secs(90);
/// The same once it says what blocks it.
const BLOCKED: Duration = Duration::from_secs(30);
/// One attempt. arti tries several introduction points and rendezvous circuits inside.
const ATTEMPT: Duration = Duration::from_secs(60);
/// Between attempts.
const PAUSE: Duration = Duration::from_secs(3);
/// How often it is looked whether Tor has come up.
const LOOK: Duration = Duration::from_millis(100);

impl Dial for Tor {
    fn dial<'a>(&'a self, address: &'a PeerAddress) -> BoxFuture<'a, Result<BoxedStream, DialError>> {
        Box::pin(async move {
            match address {
                PeerAddress::Onion(onion) => self.dial_onion(onion, true).await.map_err(DialError::Onion),
                PeerAddress::Direct(_) => Err(DialError::DirectNotAllowed { address: address.clone() }),
            }
        })
    }
}

impl DialOnion for Tor {
    fn dial_fresh<'a>(&'a self, onion: &'a OnionAddress) -> BoxFuture<'a, Result<BoxedStream, OnionFault>> {
        Box::pin(self.dial_onion(onion, false))
    }
}

impl Tor {
    /// `patient`: what may pass is tried again. Otherwise once, on a circuit of its own, with a descriptor that was fetched for it.
    async fn dial_onion(&self, onion: &OnionAddress, patient: bool) -> Result<BoxedStream, OnionFault> {
        let started = Instant::now();
        let deadline = started + PATIENCE;
        self.wait_for_bootstrap().await?;
        let another_key = self.show_discovery_key(onion).map_err(|what| OnionFault::Failed { what })?;
        let place = self.inner.circuits.take(onion);
        if another_key {
            place.give_up_circuit();
        }
        loop {
            if !patient {
                place.give_up_circuit();
            }
            let until = deadline.min(Instant::now() + ATTEMPT);
            let fault = match timeout_at(until, self.connect(onion, &place)).await {
                Ok(Ok(stream)) => return Ok(Box::new(Placed::new(stream, place))),
                Ok(Err(error)) => {
                    let fault = fault(&error);
                    tracing::debug!(error = with_causes(&error), "no connection to an onion service");
                    fault
                }
                Err(_) => OnionFault::TooSlow { waited_s: started.elapsed().as_secs() },
            };
            // A key that we have may have become valid just now; without one there is nothing to wait for.
            let hopeless = matches!(fault, OnionFault::KeyNeeded) && onion.discovery().is_none();
            if !patient || hopeless || !fault.may_pass() || Instant::now() + PAUSE >= deadline {
                return Err(fault);
            }
            // A circuit that has died, or leads to a relay that does not work, is not asked again.
            place.give_up_circuit();
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn connect(&self, onion: &OnionAddress, place: &Place) -> arti_client::Result<arti_client::DataStream> {
        let mut prefs = StreamPrefs::new();
        prefs.set_isolation(place.token());
        prefs.connect_to_onion_services(arti_client::config::BoolOrAuto::Explicit(true));
        self.inner.client.connect_with_prefs((onion.reveal(), onion.port()), &prefs).await
    }

    async fn wait_for_bootstrap(&self) -> Result<(), OnionFault> {
        while !self.bootstrap().ready {
            if self.is_overdue() {
                return Err(OnionFault::NotReady { why: self.bootstrap().in_words() });
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Whether Tor has not been ready for so long that nobody should be kept waiting. It counts for all who wait together: a
    /// command with ten requests does not wait ten times.
    pub fn is_overdue(&self) -> bool {
        let state = self.bootstrap();
        let mut since = self.inner.unready_since.lock().expect("no holder of this lock can panic");
        if state.ready {
            *since = None;
            return false;
        }
        let patience = if state.blocked.is_some() { BLOCKED } else { BOOTSTRAP };
        since.get_or_insert_with(Instant::now).elapsed() >= patience
    }
}

fn fault(error: &arti_client::Error) -> OnionFault {
    match error.kind() {
        ErrorKind::OnionServiceNotFound => OnionFault::NotFound,
        ErrorKind::OnionServiceMissingClientAuth | ErrorKind::OnionServiceWrongClientAuth => OnionFault::KeyNeeded,
        ErrorKind::OnionServiceAddressInvalid | ErrorKind::InvalidStreamTarget => {
            OnionFault::Failed { what: "the address names no usable key".to_owned() }
        }
        ErrorKind::RemoteConnectionRefused | ErrorKind::RemoteStreamReset | ErrorKind::RemoteStreamError => {
            OnionFault::Refused
        }
        _ => OnionFault::Unreachable { what: with_causes(error) },
    }
}

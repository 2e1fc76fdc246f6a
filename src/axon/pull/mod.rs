//! Pulling from Axon instances: what is new, the configuration, missing chunks.
//!
//! Goals: nothing is believed, nothing good is fetched twice, nothing is lost because something failed. The moment from which a
//! peer is asked next moves forward only with an answer that was read to its end, and stays ten minutes behind what the peer
//! itself says; a peer that says no moment, or one in the future, is asked from the same moment again. Where it fails because of
//! one item, what changed after that item is taken, and it is said that the rest could not be had.
//!
//! Non-goals: obeying. Actions of other instances are kept and change nothing here; an item that was sealed anew elsewhere
//! replaces nothing that was verified here.
//!
//! Order (R8): chunks are compared with their hashes and written, read again through the decryptor, made durable; then the index
//! hears that the item is complete.

mod config; // the exported configuration and the applets in it
mod download; // missing chunks
mod error;
mod keep; // rows that are no longer listed
mod merge; // what a list of manifests changes here
mod narrow; // round an item at which the peer fails
mod rekey; // envelopes for those who are trusted now
mod sync; // what is new
mod wanted; // which items

use std::sync::Arc;

use tokio::sync::Mutex;

pub use config::{ConfigReport, Rows, filter};
pub(in crate::axon) use config::{finer, metadata, same_but_envelopes};
pub use download::{DownloadReport, ItemFault};
pub use error::PullError;
pub use merge::CANDIDATES;
pub(in crate::axon) use merge::fresh;
pub use rekey::{RekeyReport, recipients, rekey};
pub use sync::SyncReport;
pub use wanted::{Wanted, of_applet};

use super::caller::{AxonCaller, CallError};
use crate::domain::axon::address::AxonAddress;
use crate::monitor::{Counter, Monitor, Problem};
use crate::store::Store;
use crate::store::index::axon::{AxonPeer, AxonTrust};

/// Pulls from Axon instances. Cheap to clone.
#[derive(Clone)]
pub struct AxonPuller {
    store: Store,
    caller: AxonCaller,
    monitor: Arc<dyn Monitor>,
    /// Held from reading what is known to writing what changes: visits to several peers go on side by side.
    changing: Arc<Mutex<()>>,
}

impl std::fmt::Debug for AxonPuller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AxonPuller")
    }
}

impl AxonPuller {
    /// Pulls into `store`.
    pub fn new(store: Store, caller: AxonCaller, monitor: Arc<dyn Monitor>) -> Self {
        Self { store, caller, monitor, changing: Arc::default() }
    }

    /// The repository.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Who calls.
    pub fn caller(&self) -> &AxonCaller {
        &self.caller
    }

    /// Where progress goes.
    pub fn monitor(&self) -> &Arc<dyn Monitor> {
        &self.monitor
    }

    /// Counts a request.
    fn asked(&self) {
        self.monitor.add(Counter::Requests, 1);
    }

    fn problem(&self, subject: impl Into<String>, message: impl Into<String>) {
        let (subject, message) = (subject.into(), message.into());
        tracing::warn!(subject, message, "trouble with an Axon instance");
        self.monitor.problem(Problem { subject, message });
    }
}

/// Where a trusted peer is.
fn address(peer: &AxonPeer) -> Result<AxonAddress, PullError> {
    let name = || peer.name.clone();
    match &peer.trust {
        AxonTrust::Trusted(_) => {}
        AxonTrust::Pending => return Err(PullError::NotTrusted { peer: name(), state: "pending" }),
        AxonTrust::Revoked { .. } => return Err(PullError::NotTrusted { peer: name(), state: "revoked" }),
    }
    peer.address.clone().ok_or_else(|| PullError::NoAddress { peer: name() })
}

fn called(peer: &AxonPeer) -> impl FnOnce(CallError) -> PullError {
    let peer = peer.name.clone();
    move |cause| PullError::Call { peer, cause }
}

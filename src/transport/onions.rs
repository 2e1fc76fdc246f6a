//! What is known of onion services, whoever hosts or dials them: states, faults, and the words for both.

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::BoxedStream;
use crate::domain::crypto::discovery::DiscoveryRecipient;
use crate::domain::crypto::onion::OnionKey;
use crate::domain::onion::OnionAddress;

/// Where a Tor client keeps its state, and what an admin wants otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TorOptions {
    /// `HOME/tor`: state (guards, and what was learnt of the network) and cache (the directory), each in a folder.
    pub dir: PathBuf,
    /// An arti configuration (TOML) that is laid over ours.
    pub overlay: Option<PathBuf>,
    /// Whether onion services are going to be hosted: one process at a time may.
    pub hosts: bool,
    /// Circuits to one peer at once.
    pub circuits: usize,
}

/// Which onion service to host.
#[derive(Debug)]
pub struct OnionOptions {
    /// What its state is called: one running service for each name.
    pub nickname: &'static str,
    /// Its key.
    pub key: OnionKey,
    /// The port that it answers on.
    pub port: u16,
    /// With restricted discovery, the public keys of those who may find it; `None`: everybody who knows the name.
    pub clients: Option<Vec<DiscoveryRecipient>>,
}

/// Why there is no Tor client, or no onion service.
#[derive(Debug, thiserror::Error)]
pub enum TorError {
    /// This program was built without.
    #[error(
        "this bulbil was built without Tor: use one that has it (the default), a tor that runs already ([tor] socks), or --direct"
    )]
    NotBuiltIn,
    /// The configuration file cannot be read.
    #[error("cannot read the Tor configuration {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// The file is no arti configuration.
    #[error("{} is no Tor configuration (arti's TOML): {what}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Ours and theirs do not fit.
    #[error("the Tor configuration cannot be used: {0}")]
    Unfit(String),
    /// arti says no.
    #[error("Tor cannot be started: {0}")]
    Start(String),
    /// The service is not launched.
    #[error("the onion service cannot be started: {0}")]
    Host(String),
}

/// Why an onion service was not reached. The texts name no address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum OnionFault {
    /// Tor itself has not come up.
    #[error("Tor is not ready: {why}")]
    NotReady {
        /// How far it is.
        why: String,
    },
    /// The network has no descriptor of it.
    #[error(
        "the Tor network knows no such onion service now: bulbil does not run there, has been gone for hours, or started less than a minute ago"
    )]
    NotFound,
    /// It hides, and we have no key, or no longer one.
    #[error(
        "the onion service shows itself only to those who have a key, and there is none here, not yet, or no longer: a new invite takes up to two minutes to be known; try again then, or ask for another"
    )]
    KeyNeeded,
    /// The circuit stands, and nobody takes the connection.
    #[error("the onion service is there and takes no connections: does its server run, and on this port?")]
    Refused,
    /// Known, and not reached.
    #[error("the onion service is not reached: it went away a short time ago, or a circuit broke ({what})")]
    Unreachable {
        /// What Tor says.
        what: String,
    },
    /// It takes too long.
    #[error("the onion service is not reached within {waited_s} seconds")]
    TooSlow {
        /// How long it was tried.
        waited_s: u64,
    },
    /// Trying again will not help.
    #[error("the onion service cannot be reached: {what}")]
    Failed {
        /// What is wrong.
        what: String,
    },
}

impl OnionFault {
    /// Whether trying again soon may help.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::NotFound | Self::KeyNeeded | Self::Unreachable { .. } | Self::TooSlow { .. } => true,
            Self::NotReady { .. } | Self::Refused | Self::Failed { .. } => false,
        }
    }
}

/// How far a Tor client is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// 0 to 100.
    pub percent: u8,
    /// Whether connections can be made.
    pub ready: bool,
    /// What it is at.
    pub doing: String,
    /// Why it does not go on.
    pub blocked: Option<String>,
    /// How wrong this machine's clock is, if it is: "fast by around 7m".
    pub clock: Option<String>,
}

impl Bootstrap {
    /// One sentence.
    pub fn in_words(&self) -> String {
        let mut text = match &self.blocked {
            _ if self.ready => "ready".to_owned(),
            Some(blocked) => format!("stuck at {} %: {blocked}", self.percent),
            None => format!("{} %, {}", self.percent, self.doing),
        };
        if let Some(clock) = &self.clock {
            text = format!("{text}; this machine's clock is {clock}");
        }
        text
    }
}

/// How far an onion service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnionState {
    /// Introduction points are chosen, the descriptor is on its way.
    #[default]
    Starting,
    /// The descriptor is where clients look for it.
    Published,
    /// It was published; something went wrong, and is being mended.
    Recovering,
    /// It does not work, and will not without help.
    Broken,
    /// It was stopped.
    Stopped,
}

/// What its host knows of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Published {
    /// How far it is.
    pub state: OnionState,
    /// What is wrong.
    pub problem: Option<String>,
}

impl Published {
    /// Notes a new state.
    pub fn note(&mut self, state: OnionState, problem: Option<String>) {
        *self = Self { state, problem };
    }
}

/// What a host lets do with a service that it runs.
pub trait OnionControl: Send + Sync + Debug {
    /// What is known now.
    fn published(&self) -> Published;

    /// With restricted discovery: from now on these keys find it, and no others.
    ///
    /// # Errors
    /// A sentence.
    fn admit(&self, clients: &[DiscoveryRecipient]) -> Result<(), String>;
}

/// An onion service that runs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct OnionService {
    address: OnionAddress,
    control: Arc<dyn OnionControl>,
}

impl OnionService {
    /// A service at this address.
    pub fn new(address: OnionAddress, control: Arc<dyn OnionControl>) -> Self {
        Self { address, control }
    }

    /// Where it is.
    pub fn address(&self) -> &OnionAddress {
        &self.address
    }

    /// What its host knows.
    pub fn published(&self) -> Published {
        self.control.published()
    }

    /// Says who may find it.
    ///
    /// # Errors
    /// A sentence.
    pub fn admit(&self, clients: &[DiscoveryRecipient]) -> Result<(), String> {
        self.control.admit(clients)
    }
}

/// Reaches an onion service as a stranger would: nothing that is known or open already is used.
pub trait DialOnion: Send + Sync + Debug {
    /// One attempt, over a circuit of its own, with a descriptor that was fetched for it.
    fn dial_fresh<'a>(&'a self, onion: &'a OnionAddress) -> BoxFuture<'a, Result<BoxedStream, OnionFault>>;
}

//! How peers come in, and whether they can: what the server knows of its listeners and of Tor.

use std::fmt::Debug;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What knows how it stands.
pub trait NetworkView: Send + Sync + Debug {
    /// How it stands now.
    fn network(&self) -> NetworkStatus;

    /// The addresses in full, for an admin who asks for them.
    fn addresses(&self) -> Addresses;
}

/// How peers come in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NetworkStatus {
    /// Whether peers can come in now.
    pub open: bool,
    /// Why they cannot.
    pub why_not: Option<String>,
    /// Whether plain addresses are listened on, too, or only.
    pub direct: bool,
    /// The Tor client, if one runs in this process.
    pub tor: Option<TorStatus>,
    /// The onion service for peers, if there is one.
    pub onion: Option<OnionStatus>,
}

/// A Tor client.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TorStatus {
    /// How much of the way to the network is done, 0 to 100.
    pub percent: u8,
    /// Whether connections can be made.
    pub ready: bool,
    /// What it is at.
    pub doing: String,
    /// Why it does not go on.
    pub blocked: Option<String>,
    /// How wrong this machine's clock is, if it is.
    pub clock: Option<String>,
}

/// An onion service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OnionStatus {
    /// `starting`, `published`, `recovering`, `broken`, `stopped`; `foreign` if another program hosts it.
    pub state: String,
    /// What is wrong with it.
    pub problem: Option<String>,
    /// Since when its descriptor is where clients look for it.
    #[schema(value_type = Option<String>)]
    pub published_at: Option<Timestamp>,
    /// Whether a test through Tor has reached it, and nothing has gone wrong since.
    pub reachable: bool,
    /// When such a test, with a descriptor fetched for it, last reached it.
    #[schema(value_type = Option<String>)]
    pub reached_at: Option<Timestamp>,
    /// How long that took: descriptor, circuit and request.
    pub took_ms: Option<u64>,
    /// Why the last test failed, if it did.
    pub failed: Option<String>,
    /// Whether it is found only with a key.
    pub restricted: bool,
}

/// Addresses in full.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Addresses {
    /// Where peers come in.
    pub peer: Vec<String>,
    /// Where the admin comes in over Tor.
    pub admin_onion: Option<String>,
}

impl NetworkStatus {
    /// For people: what the server is at, in one line.
    pub fn in_words(&self) -> String {
        if let Some(tor) = self.tor.as_ref().filter(|tor| !tor.ready) {
            let clock = tor.clock.as_ref().map(|clock| format!("; this machine's clock is {clock}"));
            let what = match &tor.blocked {
                Some(blocked) => format!("stuck at {} %: {blocked}", tor.percent),
                None => format!("{} %, {}", tor.percent, tor.doing),
            };
            return format!("connecting to Tor: {what}{}", clock.unwrap_or_default());
        }
        match &self.onion {
            Some(onion) if onion.reachable => {
                let took = onion.took_ms.map(|ms| format!(", in {:.1} s", ms as f64 / 1000.0));
                format!("reachable: a test through Tor came through{}", took.unwrap_or_default())
            }
            Some(onion) => {
                let problem = onion.failed.as_ref().or(onion.problem.as_ref());
                let problem = problem.map(|problem| format!("; {problem}")).unwrap_or_default();
                match onion.state.as_str() {
                    "starting" => format!("publishing the onion service{problem}"),
                    "published" => format!("onion service published, not reached by a test yet{problem}"),
                    "foreign" => {
                        format!("another tor hosts the onion service, and a test has not come through{problem}")
                    }
                    state => format!("onion service {state}{problem}"),
                }
            }
            None if self.direct => "reachable directly, without Tor".to_owned(),
            None => "not reachable".to_owned(),
        }
    }
}

/// For an instance that is not reached over Tor.
#[derive(Debug, Clone)]
pub struct DirectOnly {
    /// Where peers come in.
    pub address: String,
}

impl NetworkView for DirectOnly {
    fn network(&self) -> NetworkStatus {
        NetworkStatus { open: true, direct: true, ..NetworkStatus::default() }
    }

    fn addresses(&self) -> Addresses {
        Addresses { peer: vec![self.address.clone()], admin_onion: None }
    }
}

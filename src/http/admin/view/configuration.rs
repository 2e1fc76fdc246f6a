//! What is in force of the configuration, as a resource: without secrets and addresses.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FactSource {
    /// Nobody said: it is so by itself.
    Default,
    /// It stands in `bulbil.toml`.
    File,
    /// It was given when the server was started: an option, or its environment variable.
    CommandLine,
    /// It was said on the admin plane: in the browser, or by REST.
    AdminPlane,
}

impl FactSource {
    /// For people.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Default => "by itself",
            Self::File => "bulbil.toml",
            Self::CommandLine => "an option or the environment",
            Self::AdminPlane => "you, here",
        }
    }
}

/// A value that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FactView {
    /// What, as it stands in `bulbil.toml`: `tor.port`.
    pub name: String,
    /// The value. Of what may hold a secret, or is an address, only `set` or `not set`.
    pub value: String,
    /// Where it comes from.
    pub source: FactSource,
}

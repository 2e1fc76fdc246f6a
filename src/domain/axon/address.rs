//! Where an Axon instance is: a peer's address, and a path below which it answers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::domain::peer::{AddressError, PeerAddress};

/// The base address of an Axon instance, e.g. `http://NAME.onion`, `http://NAME.onion/s`, `http://127.0.0.1:8000`.
///
/// `Display` hides an onion name; [`reveal`](Self::reveal) and serde show it.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AxonAddress {
    /// Where.
    pub peer: PeerAddress,
    /// Below which path: empty, or begins with a slash and does not end with one.
    base: String,
}

/// A text that is no such address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AxonAddressError {
    /// The part before the path is no peer's address.
    #[error(transparent)]
    Peer(#[from] AddressError),
    /// The path is none.
    #[error(
        "the path of an Axon instance's address has letters, digits, '-', '_', '.' and '/' only, and no '..': {0:?}"
    )]
    Path(String),
}

impl AxonAddress {
    /// The whole address, for where peers are noted; not for logs.
    pub fn reveal(&self) -> String {
        format!("{}{}", self.peer.reveal_plain(), self.base)
    }

    /// The path of a request: `path` begins with `/api/`.
    pub fn path(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

impl FromStr for AxonAddress {
    type Err = AxonAddressError;

    fn from_str(text: &str) -> Result<Self, AxonAddressError> {
        let text = text.trim();
        let after_scheme = text.find("://").map_or(0, |at| at + 3);
        let cut = text[after_scheme..].find('/').map_or(text.len(), |at| after_scheme + at);
        let (peer, base) = text.split_at(cut);
        let base = base.trim_matches('/');
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        if !base.chars().all(plain) || base.split('/').any(|name| name == ".." || name == ".") || base.len() > 200 {
            return Err(AxonAddressError::Path(base.to_owned()));
        }
        let base = if base.is_empty() { String::new() } else { format!("/{base}") };
        Ok(Self { peer: peer.parse()?, base })
    }
}

impl TryFrom<String> for AxonAddress {
    type Error = AxonAddressError;

    fn try_from(text: String) -> Result<Self, AxonAddressError> {
        text.parse()
    }
}

impl From<AxonAddress> for String {
    fn from(address: AxonAddress) -> String {
        address.reveal()
    }
}

impl fmt::Display for AxonAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.peer, self.base)
    }
}

impl fmt::Debug for AxonAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AxonAddress(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_path_is_kept_and_nothing_climbs() {
        let address: AxonAddress = "http://127.0.0.1:8000/s/".parse().unwrap();
        assert_eq!(address.path("/api/sync/"), "/s/api/sync/");
        assert_eq!(address.reveal(), "http://127.0.0.1:8000/s");
        let plain: AxonAddress = "http://127.0.0.1:8000/".parse().unwrap();
        assert_eq!(plain.path("/api/sync/"), "/api/sync/");
        for bad in ["http://127.0.0.1:8000/../x", "http://127.0.0.1:8000/a?b", "https://127.0.0.1:1/", "example.org/x"]
        {
            assert!(bad.parse::<AxonAddress>().is_err(), "{bad}");
        }
    }
}

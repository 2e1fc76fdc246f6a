//! Peers: where they are, whether they are trusted, and what they may see here.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::id::{CollectionId, InstanceId};

/// Where a peer is, and by which transport alone it is reached (R9). Text form: `http://127.0.0.1:7001`.
///
/// A direct address is an IP address and a port; names are not accepted, because looking one up would tell the network
/// whom we talk to. `localhost` is read as 127.0.0.1 without asking anybody.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum PeerAddress {
    /// Plain HTTP to an IP address; only for a LAN or a test, and only when the instance says so.
    Direct(SocketAddr),
}

/// Text that is no peer address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// An onion address: this build cannot reach it.
    #[error(
        "onion addresses need the Tor transport, which this version does not have yet; use an address like http://127.0.0.1:7001 with --direct"
    )]
    OnionNotSupported,
    /// Not `http://IP:PORT`.
    #[error(
        "a peer's address looks like http://192.0.2.7:7001 (an IP address and a port, no path, no names: looking up a name would leak whom you talk to)"
    )]
    Malformed,
}

impl PeerAddress {
    /// The value for the `Host` header and the signature's `@authority`.
    pub fn authority(&self) -> String {
        match self {
            PeerAddress::Direct(address) => address.to_string(),
        }
    }
}

impl FromStr for PeerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let rest = text.trim().strip_prefix("http://").ok_or(AddressError::Malformed)?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(".onion") {
            return Err(AddressError::OnionNotSupported);
        }
        if let Ok(address) = authority.parse::<SocketAddr>() {
            return Ok(PeerAddress::Direct(address));
        }
        let port = authority.strip_prefix("localhost:").and_then(|port| port.parse().ok());
        let port: u16 = port.ok_or(AddressError::Malformed)?;
        Ok(PeerAddress::Direct(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)))
    }
}

impl TryFrom<String> for PeerAddress {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<PeerAddress> for String {
    fn from(address: PeerAddress) -> String {
        format!("http://{}", address.authority())
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from(self.clone()))
    }
}

impl fmt::Debug for PeerAddress {
    /// Addresses do not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerAddress(…)")
    }
}

/// What a peer may do with what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Manifests, chunks and envelopes: it can read.
    Reader,
    /// Manifests and chunks only: it stores, verifies, repairs and serves what it cannot read.
    Mirror,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Reader => "reader",
            Role::Mirror => "mirror",
        })
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "reader" => Ok(Role::Reader),
            "mirror" => Ok(Role::Mirror),
            _ => Err(format!("{text:?} is no role: use reader (can read) or mirror (stores without reading)")),
        }
    }
}

/// Which collections a right is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// All, and those added later.
    All,
    /// These.
    Only(BTreeSet<CollectionId>),
}

impl Scope {
    /// Whether a collection is among them.
    pub fn includes(&self, collection: &CollectionId) -> bool {
        match self {
            Scope::All => true,
            Scope::Only(some) => some.contains(collection),
        }
    }
}

/// What a peer may have here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    /// Which collections.
    pub scope: Scope,
    /// To read or only to keep.
    pub role: Role,
    /// Whether it may serve them to its own peers.
    #[serde(default)]
    pub onward: bool,
    /// Only snapshots from this moment on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
}

impl Rights {
    /// No right to anything: for a peer from which we only pull.
    pub fn none() -> Self {
        Self { scope: Scope::Only(BTreeSet::new()), role: Role::Reader, onward: false, from: None }
    }

    /// Whether a snapshot of this collection and moment may be seen.
    pub fn may_see(&self, collection: &CollectionId, created_at: Timestamp) -> bool {
        self.scope.includes(collection) && self.from.is_none_or(|from| created_at >= from)
    }
}

/// Whether a peer is let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Trust {
    /// Known, not let in until an admin has compared the fingerprint words.
    Pending,
    /// Let in.
    Trusted(Rights),
    /// Shut out for good; takes effect on its next request (R6).
    Revoked,
}

impl Trust {
    /// One word for people.
    pub fn word(&self) -> &'static str {
        match self {
            Trust::Pending => "pending",
            Trust::Trusted(_) => "trusted",
            Trust::Revoked => "revoked",
        }
    }
}

/// Eight words that stand for an instance id: its first 88 bits, eleven bits a word (BIP-39's English list).
///
/// Short enough to compare over the telephone; finding another key with the same words takes 2⁸⁸ attempts.
pub fn fingerprint_words(id: &InstanceId) -> [&'static str; 8] {
    let words = bip39::Language::English.word_list();
    let bits = id.as_bytes()[..11].iter().fold(0u128, |bits, byte| bits << 8 | u128::from(*byte));
    std::array::from_fn(|at| words[(bits >> (77 - 11 * at)) as usize & 0x7ff])
}

/// A name that is shown to people and used on command lines: 1 to 64 letters, digits, `-`, `_` and `.`.
pub fn is_plain_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        && !name.starts_with(['-', '.'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ip_addresses_and_ports_are_addresses() {
        for good in ["http://127.0.0.1:7001", "http://[::1]:80/", "http://localhost:7001"] {
            assert!(good.parse::<PeerAddress>().is_ok(), "{good}");
        }
        for bad in [
            "127.0.0.1:7001",
            "https://127.0.0.1:7001",
            "http://example.org:80",
            "http://127.0.0.1",
            "http://user@127.0.0.1:1",
            "http://127.0.0.1:7001/path",
            "http://127.1:80",
            "http://0x7f.1:80",
            "file:///etc/passwd",
            "",
        ] {
            assert_eq!(bad.parse::<PeerAddress>(), Err(AddressError::Malformed), "{bad}");
        }
        assert_eq!("http://abc.onion".parse::<PeerAddress>(), Err(AddressError::OnionNotSupported));
    }

    #[test]
    fn words_follow_the_id() {
        let words = fingerprint_words(&InstanceId::from_slice(&[0; 32]).unwrap());
        assert_eq!(words, ["abandon"; 8]);
        let words = fingerprint_words(&InstanceId::from_slice(&[0xff; 32]).unwrap());
        assert_eq!(words, ["zoo"; 8]);
    }
}

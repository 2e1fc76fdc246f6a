//! Peers: where they are, whether they are trusted, and what they may see here.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::id::{CollectionId, InstanceId};
use super::limits::Limits;
use super::onion::{OnionAddress, OnionError};

/// Where a peer is, and by which transport alone it is reached (R9). Text form: `http://NAME.onion`, `http://127.0.0.1:7001`.
///
/// A direct address is an IP address and a port; names are not accepted, because looking one up would tell the network
/// whom we talk to. `localhost` is read as 127.0.0.1 without asking anybody.
///
/// `Display` hides an onion name, which is a capability; [`reveal`](Self::reveal) and serde show it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum PeerAddress {
    /// An onion service, over Tor.
    Onion(OnionAddress),
    /// Plain HTTP to an IP address; only for a LAN or a test, and only when the instance says so.
    Direct(SocketAddr),
}

/// Text that is no peer address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Something that ends in `.onion` and is no onion address.
    #[error(transparent)]
    Onion(#[from] OnionError),
    /// `https://`, or another scheme.
    #[error(
        "a peer's address begins with http:// (Tor encrypts and proves who answers; there is no https between peers)"
    )]
    Scheme,
    /// An IP address that belongs to no peer.
    #[error("no peer has such an address: it is link-local, multicast, or a cloud's metadata service")]
    NeverAPeer,
    /// Neither.
    #[error(
        "a peer's address looks like http://NAME.onion, or http://192.0.2.7:7001 (an IP address and a port, no path, no names: looking up a name would leak whom you talk to)"
    )]
    Malformed,
}

impl PeerAddress {
    /// The value for the `Host` header and the signature's `@authority`.
    pub fn authority(&self) -> String {
        match self {
            PeerAddress::Onion(address) => address.reveal_authority(),
            PeerAddress::Direct(address) => address.to_string(),
        }
    }

    /// Whether it leads off this machine without Tor: then both ends, and whoever is between, see each other's address.
    pub fn is_clearnet(&self) -> bool {
        matches!(self, PeerAddress::Direct(address) if !address.ip().is_loopback())
    }

    /// The address as people write it, without a key to find it: shown to its owner on request.
    pub fn reveal_plain(&self) -> String {
        format!("http://{}", self.authority())
    }

    /// The whole address, with the key to find it if it has one: for an invite, and where peers are noted; not for logs,
    /// metrics or messages that nobody asked for.
    pub fn reveal(&self) -> String {
        match self {
            PeerAddress::Onion(address) => format!("http://{}", address.reveal_all()),
            PeerAddress::Direct(address) => format!("http://{address}"),
        }
    }
}

impl FromStr for PeerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let rest = match text.split_once("://") {
            Some(("http", rest)) => rest,
            Some(_) => return Err(AddressError::Scheme),
            // People copy onion names without a scheme.
            None if text.to_ascii_lowercase().contains(".onion") => text,
            None => return Err(AddressError::Malformed),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let plain = authority.split_once("#x25519:").map_or(authority, |(plain, _)| plain);
        if plain.contains(['/', '?', '#', '@', '\\', '%']) {
            return Err(AddressError::Malformed);
        }
        let name = plain.split(':').next().unwrap_or_default();
        if name.to_ascii_lowercase().ends_with(".onion") {
            return Ok(PeerAddress::Onion(authority.parse()?));
        }
        if let Ok(address) = authority.parse::<SocketAddr>() {
            return match address.port() {
                0 => Err(AddressError::Malformed),
                _ if is_never_a_peer(address.ip()) => Err(AddressError::NeverAPeer),
                _ => Ok(PeerAddress::Direct(address)),
            };
        }
        let port = authority.strip_prefix("localhost:").filter(|port| port.bytes().all(|b| b.is_ascii_digit()));
        let port: u16 =
            port.and_then(|port| port.parse().ok()).filter(|port| *port != 0).ok_or(AddressError::Malformed)?;
        Ok(PeerAddress::Direct(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)))
    }
}

/// Addresses that an attacker would like us to call, and behind which no instance runs.
fn is_never_a_peer(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            ip.is_link_local() || ip.is_multicast() || ip.is_broadcast() || ip == Ipv4Addr::new(100, 100, 100, 200)
        }
        IpAddr::V6(ip) => {
            ip.is_unicast_link_local() || ip.is_multicast() || ip == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)
        }
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
        address.reveal()
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerAddress::Onion(address) => write!(f, "http://{address}"),
            PeerAddress::Direct(address) => write!(f, "http://{address}"),
        }
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
    /// Spelled out for one guest, never stored: what it was granted, and the collections of its own that are kept here for it.
    #[serde(skip)]
    Guest {
        /// What it was granted.
        granted: BTreeSet<CollectionId>,
        /// What it made itself: it sees all of it, whatever was granted and from whenever on.
        own: BTreeSet<CollectionId>,
    },
}

impl Scope {
    /// Whether a collection is among them.
    pub fn includes(&self, collection: &CollectionId) -> bool {
        match self {
            Scope::All => true,
            Scope::Only(some) => some.contains(collection),
            Scope::Guest { granted, own } => granted.contains(collection) || own.contains(collection),
        }
    }

    /// Whether a collection is the guest's own.
    pub fn is_own(&self, collection: &CollectionId) -> bool {
        matches!(self, Scope::Guest { own, .. } if own.contains(collection))
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
    /// How much, how fast and when.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
}

impl Rights {
    /// No right to anything: for a peer from which we only pull.
    pub fn none() -> Self {
        Self {
            scope: Scope::Only(BTreeSet::new()),
            role: Role::Reader,
            onward: false,
            from: None,
            limits: Limits::default(),
        }
    }

    /// Whether a snapshot of this collection and moment may be seen.
    pub fn may_see(&self, collection: &CollectionId, created_at: Timestamp) -> bool {
        let since = self.scope.is_own(collection) || self.from.is_none_or(|from| created_at >= from);
        self.scope.includes(collection) && since
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
    words_of(id.as_bytes())
}

/// The same of any digest.
pub fn words_of(digest: &[u8; 32]) -> [&'static str; 8] {
    let words = bip39::Language::English.word_list();
    let bits = digest[..11].iter().fold(0u128, |bits, byte| bits << 8 | u128::from(*byte));
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

    const ONION: &str = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion";

    #[test]
    fn onion_names_and_ip_addresses_with_ports_are_addresses() {
        for good in ["http://127.0.0.1:7001", "http://[::1]:80/", "http://localhost:7001"] {
            assert!(matches!(good.parse(), Ok(PeerAddress::Direct(_))), "{good}");
        }
        for good in
            [ONION.to_owned(), format!("http://{ONION}/"), format!(" http://{ONION}:8080\n"), ONION.to_uppercase()]
        {
            assert!(matches!(good.parse(), Ok(PeerAddress::Onion(_))), "{good}");
        }
    }

    /// What an attacker may put into an invite, a configuration or a form. None of it becomes an address that could be dialled.
    #[test]
    fn r9_hostile_addresses_are_refused_before_anything_is_dialled() {
        let fits = |name: &str| name.replace("ONION", ONION);
        let table = [
            // Without a port, or with one that is none: loopback, link-local, metadata services, private networks.
            "http://127.0.0.1",
            "http://169.254.169.254/latest/meta-data/",
            "http://[fe80::1]",
            "http://10.0.0.1/",
            "http://metadata.google.internal/computeMetadata/v1/",
            "http://100.100.100.200/latest",
            "http://[fd00:ec2::254]/",
            "http://169.254.169.254:80",
            "http://[fe80::1]:80",
            "http://100.100.100.200:80",
            "http://[fd00:ec2::254]:80",
            "http://[::ffff:169.254.169.254]:80",
            "http://255.255.255.255:80",
            "http://224.0.0.1:80",
            "http://127.0.0.1:0",
            "http://127.0.0.1:65536",
            "http://127.0.0.1:+80",
            // Other ways to write an IP address.
            "http://127.1:80",
            "http://0x7f.1:80",
            "http://2130706433:80",
            "http://0177.0.0.1:80",
            "http://localhost.:80",
            // Names: looking them up would leak, and may be answered by anybody.
            "http://example.org:80",
            "http://localhost.example.org:80",
            "http://xn--bcher-kva.example:80",
            // Almost onions.
            "http://ONION.example.org",
            "http://ONION.:80",
            "http://www.ONION",
            "http://onion",
            "http://.onion",
            "http://expyuzz4wqqyqhjn.onion",
            "http://abc.onion",
            "http://pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscrye.onion",
            "http://pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscry1.onion",
            "http://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.onion",
            "http://рg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion",
            "http://ONION。",
            "http://ONION%2eexample.org",
            // Something before or behind it.
            "http://user@ONION",
            "http://user:secret@127.0.0.1:80",
            "http://ONION@127.0.0.1:80",
            "http://ONION/path",
            "http://ONION?q",
            "http://ONION#f",
            "http://ONION:0",
            "http://ONION:65536",
            "http://ONION:80:80",
            "http://ONION:080",
            "http://ONION\\@127.0.0.1:80",
            "http://ONION\r\nHost: 127.0.0.1",
            "http://ONION 127.0.0.1:80",
            "http://127.0.0.1:80#.onion",
            "http://127.0.0.1:80/.onion",
            // Other schemes.
            "https://ONION",
            "file:///etc/passwd",
            "gopher://127.0.0.1:70/",
            "socks5://127.0.0.1:9050",
            "unix:///run/docker.sock",
            "ftp://ONION",
            "//ONION",
            "javascript:alert(1)",
            "http:/ONION",
            "http:ONION",
            "",
            "http://",
        ];
        for hostile in table.map(fits) {
            assert!(hostile.parse::<PeerAddress>().is_err(), "{hostile}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_onion_name_is_said() {
        let wrong = |text: &str| text.parse::<PeerAddress>().unwrap_err();
        assert_eq!(wrong("http://expyuzz4wqqyqhjn.onion"), OnionError::Version2.into());
        assert_eq!(wrong(&ONION.replace("pg6", "pg7")), OnionError::Checksum.into());
        assert_eq!(wrong(&format!("www.{ONION}")), OnionError::Subdomain.into());
        assert_eq!(wrong(&format!("https://{ONION}")), AddressError::Scheme);
    }

    #[test]
    fn r9_an_onion_name_is_hidden_unless_asked_for() {
        let address: PeerAddress = ONION.parse().unwrap();
        assert!(!format!("{address} {address:?}").contains("pg6m"));
        assert_eq!(address.reveal(), format!("http://{ONION}"));
        assert_eq!(serde_json::to_value(&address).unwrap(), address.reveal());
    }

    #[test]
    fn words_follow_the_id() {
        let words = fingerprint_words(&InstanceId::from_slice(&[0; 32]).unwrap());
        assert_eq!(words, ["abandon"; 8]);
        let words = fingerprint_words(&InstanceId::from_slice(&[0xff; 32]).unwrap());
        assert_eq!(words, ["zoo"; 8]);
    }
}

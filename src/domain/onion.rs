//! Onion addresses, version 3 (Tor specification, rend-spec §"Encoding onion addresses"): a public key that is its own name.
//!
//! Text form: 56 characters of base32 (32 bytes of key ‖ 2 of checksum ‖ version 3), then `.onion`. Nobody is asked what
//! such a name means, and a typing error is noticed by its checksum before anybody is called.
//!
//! A hidden service (restricted discovery) is found only with a key; it travels behind the name: `NAME.onion#x25519:KEY`.
//!
//! An onion address is a capability: who knows it can knock. It is shown only where somebody asks for it
//! ([`OnionAddress::reveal`]); `Display` and `Debug` hide it (R9).

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use ed25519_dalek::VerifyingKey;
use sha3::{Digest, Sha3_256};

use super::crypto::discovery::DiscoveryKey;

/// The port that is meant when none is named.
pub const DEFAULT_PORT: u16 = 80;
const VERSION: u8 = 3;
const KEY_LEN: usize = 32;
const DIGITS: usize = 56;
const SUFFIX: &str = ".onion";
const DISCOVERY: &str = "#x25519:";

/// An onion service of version 3, and a port on it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OnionAddress {
    key: [u8; KEY_LEN],
    port: u16,
    discovery: Option<DiscoveryKey>,
}

/// Text that is no onion address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OnionError {
    /// 16 characters: version 2, which the Tor network no longer knows.
    #[error("this is an onion address of version 2, which Tor gave up in 2021: ask for one of 56 characters")]
    Version2,
    /// Something stands before the 56 characters.
    #[error("an onion address has nothing before its 56 characters: leave out what stands before the dot")]
    Subdomain,
    /// Not 56 characters of base32.
    #[error("an onion address has 56 characters, a to z and 2 to 7, before .onion: a part is missing or mistyped")]
    Malformed,
    /// The checksum is of another name.
    #[error("the onion address is mistyped: its checksum does not fit. Copy it again, whole")]
    Checksum,
    /// A version to come.
    #[error("the onion address is of a version that is not known: use a newer bulbil")]
    Version,
    /// The key is no point on the curve, or one that many keys share.
    #[error("the onion address names no usable key: nobody can be behind it")]
    Key,
    /// Port 0, or no number.
    #[error("the port of an onion address is a number from 1 to 65535")]
    Port,
    /// What stands behind `#x25519:` is no key.
    #[error("the key behind the onion address is mistyped: it has 52 characters, a to z and 2 to 7")]
    Discovery,
}

impl OnionAddress {
    /// The service with this public key.
    ///
    /// # Errors
    /// [`OnionError::Key`] if it is no key, [`OnionError::Port`] for port 0.
    pub fn new(key: [u8; KEY_LEN], port: u16) -> Result<Self, OnionError> {
        let point = VerifyingKey::from_bytes(&key).map_err(|_| OnionError::Key)?;
        if point.is_weak() {
            return Err(OnionError::Key);
        }
        if port == 0 {
            return Err(OnionError::Port);
        }
        Ok(Self { key, port, discovery: None })
    }

    /// The public key of the service (Ed25519).
    pub fn key(&self) -> &[u8; KEY_LEN] {
        &self.key
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The key with which it can be found, if it hides.
    pub fn discovery(&self) -> Option<&DiscoveryKey> {
        self.discovery.as_ref()
    }

    /// The same address, found with this key.
    pub fn found_with(self, key: Option<DiscoveryKey>) -> Self {
        Self { discovery: key, ..self }
    }

    /// The name, 62 characters: not for logs, metrics or messages that nobody asked for.
    pub fn reveal(&self) -> String {
        let checksum = checksum(&self.key);
        let bytes = [&self.key[..], &checksum, &[VERSION]].concat();
        BASE32_NOPAD.encode(&bytes).to_lowercase() + SUFFIX
    }

    /// The name, and the port if it is not 80: as it stands in a `Host` header.
    pub fn reveal_authority(&self) -> String {
        match self.port {
            DEFAULT_PORT => self.reveal(),
            port => format!("{}:{port}", self.reveal()),
        }
    }

    /// All that it takes to reach it: as it stands in an invite, and where peers are noted.
    pub fn reveal_all(&self) -> String {
        let key = self.discovery.map(|key| format!("{DISCOVERY}{}", key.to_text()));
        self.reveal_authority() + key.as_deref().unwrap_or_default()
    }
}

fn checksum(key: &[u8; KEY_LEN]) -> [u8; 2] {
    let digest = Sha3_256::new().chain_update(b".onion checksum").chain_update(key).chain_update([VERSION]).finalize();
    [digest[0], digest[1]]
}

impl FromStr for OnionAddress {
    type Err = OnionError;

    /// Reads `NAME.onion`, `NAME.onion:PORT`, and either with `#x25519:KEY`; upper case does no harm.
    fn from_str(text: &str) -> Result<Self, OnionError> {
        let (text, discovery) = match text.split_once(DISCOVERY) {
            Some((text, key)) => (text, Some(DiscoveryKey::parse(key).ok_or(OnionError::Discovery)?)),
            None => (text, None),
        };
        let (name, port) = match text.split_once(':') {
            // A sign or a leading zero is no way to write a port.
            Some((_, port)) if !port.bytes().all(|b| b.is_ascii_digit()) || port.starts_with('0') => {
                return Err(OnionError::Port);
            }
            Some((name, port)) => (name, port.parse().map_err(|_| OnionError::Port)?),
            None => (text, DEFAULT_PORT),
        };
        if !name.is_ascii() {
            return Err(OnionError::Malformed);
        }
        let name = name.to_ascii_lowercase();
        let digits = name.strip_suffix(SUFFIX).ok_or(OnionError::Malformed)?;
        match digits.len() {
            _ if digits.contains('.') => return Err(OnionError::Subdomain),
            16 => return Err(OnionError::Version2),
            DIGITS => {}
            _ => return Err(OnionError::Malformed),
        }
        let bytes = BASE32_NOPAD.decode(digits.to_ascii_uppercase().as_bytes()).map_err(|_| OnionError::Malformed)?;
        let (key, rest) = bytes.split_first_chunk::<KEY_LEN>().ok_or(OnionError::Malformed)?;
        if rest[2] != VERSION {
            return Err(OnionError::Version);
        }
        if rest[..2] != checksum(key) {
            return Err(OnionError::Checksum);
        }
        Ok(Self::new(*key, port)?.found_with(discovery))
    }
}

impl fmt::Display for OnionAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden].onion")
    }
}

impl fmt::Debug for OnionAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnionAddress(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Tor specification.
    const EXAMPLE: &str = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion";

    #[test]
    fn the_specifications_example_is_read_and_written() {
        let address: OnionAddress = EXAMPLE.parse().unwrap();
        assert_eq!((address.reveal().as_str(), address.port()), (EXAMPLE, 80));
        assert_eq!(EXAMPLE.to_uppercase().parse(), Ok(address));
        let other: OnionAddress = format!("{EXAMPLE}:8080").parse().unwrap();
        assert_eq!(other.reveal_authority(), format!("{EXAMPLE}:8080"));
        assert_eq!(address.reveal_authority(), EXAMPLE);
    }

    #[test]
    fn the_key_to_find_it_travels_behind_the_name() {
        let key = "a".repeat(52);
        let address: OnionAddress = format!("{EXAMPLE}#x25519:{key}").parse().unwrap();
        assert_eq!(address.discovery().unwrap().to_text(), key);
        assert_eq!(
            (address.reveal_authority(), address.reveal_all()),
            (EXAMPLE.to_owned(), format!("{EXAMPLE}#x25519:{key}"))
        );
        assert_eq!(address.found_with(None), EXAMPLE.parse().unwrap());
        assert_eq!(format!("{EXAMPLE}#x25519:short").parse::<OnionAddress>(), Err(OnionError::Discovery));
    }

    #[test]
    fn every_single_typing_error_is_noticed() {
        for at in 0..DIGITS {
            for other in *b"abcdefghijklmnopqrstuvwxyz234567" {
                let mut text = EXAMPLE.as_bytes().to_vec();
                if std::mem::replace(&mut text[at], other) != other {
                    assert!(String::from_utf8(text).unwrap().parse::<OnionAddress>().is_err());
                }
            }
        }
    }

    #[test]
    fn keys_that_many_share_are_refused() {
        assert_eq!(OnionAddress::new([0; 32], 80), Err(OnionError::Key));
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(OnionAddress::new(identity, 80), Err(OnionError::Key));
    }

    #[test]
    fn r9_nothing_prints_it_by_accident() {
        let address: OnionAddress = EXAMPLE.parse().unwrap();
        assert!(!format!("{address} {address:?}").contains("pg6m"));
    }
}

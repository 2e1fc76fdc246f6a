//! The key with which a hidden onion service can be found at all (Tor's restricted discovery, or client authorisation).
//!
//! A service in that mode encrypts the list of its introduction points for those whose public keys it knows (X25519). It
//! keeps strangers from knocking; it says nothing of rights, which signatures decide. The private half is a part of the
//! address that is given out.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};
use x25519_dalek::{PublicKey, StaticSecret};

/// So many may find one service (the limit of a descriptor, as arti has it).
pub const MAX_RECIPIENTS: usize = 160;
/// Length of the text form.
pub const TEXT_LEN: usize = 52;

/// The public key of who may find a service: what the service keeps. Text form: 52 characters of base32, lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DiscoveryRecipient([u8; 32]);

impl DiscoveryRecipient {
    /// Takes over a key that was kept.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes, for Tor.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<DiscoveryRecipient> for String {
    fn from(key: DiscoveryRecipient) -> String {
        BASE32_NOPAD.encode(&key.0).to_lowercase()
    }
}

impl TryFrom<String> for DiscoveryRecipient {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        DiscoveryKey::parse(&text).map(|key| Self(key.0)).ok_or("a discovery key has 52 characters of base32")
    }
}

/// The private key of who may find a service.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DiscoveryKey([u8; 32]);

impl DiscoveryKey {
    /// Draws a fresh key.
    pub fn random(rng: &mut dyn rand_core::CryptoRng) -> Self {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// The bytes, for Tor.
    pub fn secret(&self) -> &[u8; 32] {
        &self.0
    }

    /// The public key, for the service.
    pub fn recipient(&self) -> DiscoveryRecipient {
        DiscoveryRecipient(PublicKey::from(&StaticSecret::from(self.0)).to_bytes())
    }

    /// 52 characters of base32, lower case.
    pub fn to_text(self) -> String {
        BASE32_NOPAD.encode(&self.0).to_lowercase()
    }

    /// Reads the text form; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = (text.len() == TEXT_LEN && text.is_ascii()).then(|| text.to_ascii_uppercase())?;
        BASE32_NOPAD.decode(digits.as_bytes()).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Debug for DiscoveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_goes_round() {
        let key = DiscoveryKey([7; 32]);
        assert_eq!(DiscoveryKey::parse(&key.to_text()), Some(key));
        assert_eq!(DiscoveryKey::parse(&key.to_text()[1..]), None);
        assert_eq!(DiscoveryKey::parse(""), None);
    }

    #[test]
    fn the_public_key_is_that_of_rfc_7748() {
        let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
        let private = hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
        let public = hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
        assert_eq!(DiscoveryKey(private.try_into().unwrap()).recipient().as_bytes(), &public[..]);
    }
}

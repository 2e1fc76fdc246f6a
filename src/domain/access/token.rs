//! Tokens: 32 random bytes, of which only a hash is kept.
//!
//! Text form: `bulbil_`, then 58 characters of lower-case base32 (RFC 4648, no padding): the 32 bytes, and the first 4 bytes of their
//! SHA-256 under a label. The prefix and the check value are for programs that look for secrets in places where none should be: they
//! know one when they see one, without asking anybody.

use std::fmt;

use data_encoding::{Encoding, Specification};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::domain::crypto::secret::Secret;

/// How the text form begins.
const PREFIX: &str = "bulbil_";
const BYTES: usize = 32;
const CHECK_BYTES: usize = 4;

static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut spec = Specification::new();
    spec.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
    spec.encoding().expect("these are 32 different symbols")
});

/// A token. Wiped when dropped, shown only when it is made.
#[derive(Debug)]
pub struct Token(Secret<BYTES>);

/// SHA-256 of a token under a label: what is kept of it. 32 random bytes need no slow hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenDigest([u8; 32]);

impl Token {
    /// Draws one. `rng` must be cryptographic.
    pub fn random(rng: &mut dyn rand_core::CryptoRng) -> Self {
        Self(Secret::random(rng))
    }

    /// The text form.
    pub fn reveal(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(self.0.expose().to_vec());
        bytes.extend_from_slice(&check(self.0.expose()));
        Zeroizing::new(format!("{PREFIX}{}", *Zeroizing::new(BASE32.encode(&bytes))))
    }

    /// Reads the text form; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(BASE32.decode(text.strip_prefix(PREFIX)?.as_bytes()).ok()?);
        let (token, shown) = bytes.split_at_checked(BYTES)?;
        let token = Secret::<BYTES>::from_slice(token)?;
        (check(token.expose())[..] == *shown).then_some(Self(token))
    }

    /// What is kept of it.
    pub fn digest(&self) -> TokenDigest {
        TokenDigest(hash(b"bulbil/token/1\0", self.0.expose()))
    }
}

fn hash(label: &[u8], bytes: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(label).chain_update(bytes).finalize().into()
}

fn check(token: &[u8]) -> [u8; CHECK_BYTES] {
    let hash = hash(b"bulbil/token/check/1\0", token);
    hash[..CHECK_BYTES].try_into().expect("a hash is longer")
}

impl TokenDigest {
    /// Compares without telling by the time it takes where the difference is.
    pub fn equals(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(…)")
    }
}

impl From<TokenDigest> for String {
    fn from(digest: TokenDigest) -> Self {
        data_encoding::HEXLOWER.encode(&digest.0)
    }
}

impl TryFrom<String> for TokenDigest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or("64 hex digits are expected")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(byte: u8) -> Token {
        Token(Secret::from_bytes([byte; 32]))
    }

    #[test]
    fn what_is_shown_is_read_again_and_no_other_text_is() {
        let text = token(7).reveal();
        assert_eq!((text.len(), &text[..7]), (65, "bulbil_"));
        assert!(Token::parse(&text).unwrap().digest().equals(&token(7).digest()));
        assert!(!token(8).digest().equals(&token(7).digest()));
        for at in 0..text.len() {
            let mut changed = text.to_string().into_bytes();
            changed[at] = if changed[at] == b'a' { b'b' } else { b'a' };
            assert!(Token::parse(std::str::from_utf8(&changed).unwrap()).is_none(), "character {at}");
        }
        for bad in ["", "bulbil_", &text[..64], &format!("{}a", *text), &text.to_uppercase()] {
            assert!(Token::parse(bad).is_none(), "{bad:?}");
        }
        assert!(!format!("{:?}{:?}", token(7), token(7).digest()).contains('7'));
    }
}

//! Fernet (github.com/fernet/spec): how an Axon instance keeps its private key, under the first bytes of its SECRET_KEY.
//!
//! For reading an instance's key when its operator moves to Bulbil, and for writing one back; Bulbil's own secrets are
//! sealed otherwise.

use aws_lc_rs::cipher::AES_128;
use aws_lc_rs::hmac;
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::cipher::{Iv, decrypt, encrypt};
use crate::domain::crypto::secret::Secret;

const VERSION: u8 = 0x80;
/// Version, time, IV.
const HEAD: usize = 1 + 8 + 16;
const TAG: usize = 32;
/// Longest token that is looked at, in bytes: a private key's has under 6,000.
const MAX_TOKEN: usize = 1 << 20;

/// What is wrong with a SECRET_KEY or a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FernetError {
    /// SECRET_KEY is too short; Axon does not start with it either.
    #[error(
        "the SECRET_KEY has under 32 bytes, with which no Axon instance starts: take it from the instance's settings"
    )]
    ShortKey,
    /// Not a token, changed, or sealed under another key.
    #[error("the token does not open: it belongs to another SECRET_KEY, or it was changed")]
    DoesNotOpen,
}

/// A Fernet key: 16 bytes to sign with, 16 to seal with.
#[derive(Debug)]
pub struct FernetKey(Secret<32>);

impl FernetKey {
    /// Takes the key as Axon does: the first 32 bytes of SECRET_KEY in UTF-8.
    ///
    /// # Errors
    /// [`FernetError::ShortKey`].
    pub fn from_secret_key(secret_key: &str) -> Result<Self, FernetError> {
        let bytes = secret_key.as_bytes().get(..32).ok_or(FernetError::ShortKey)?;
        Ok(Self(Secret::from_slice(bytes).expect("32 were taken")))
    }

    /// Opens a token, whenever it was made.
    ///
    /// # Errors
    /// [`FernetError::DoesNotOpen`].
    pub fn open(&self, token: &str) -> Result<Zeroizing<Vec<u8>>, FernetError> {
        self.open_checked(token.trim()).ok_or(FernetError::DoesNotOpen)
    }

    fn open_checked(&self, token: &str) -> Option<Zeroizing<Vec<u8>>> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let bytes = data_encoding::BASE64URL.decode(token.as_bytes()).ok()?;
        let (signed, tag) = bytes.split_at_checked(bytes.len().checked_sub(TAG)?)?;
        hmac::verify(&self.signing(), signed, tag).ok()?;
        let (head, ciphertext) = signed.split_at_checked(HEAD)?;
        if head[0] != VERSION {
            return None;
        }
        let iv = Iv::try_from(&head[9..]).expect("a head has 16 bytes behind version and time");
        decrypt(&AES_128, &self.0.expose()[16..], iv, ciphertext)
    }

    /// Seals bytes into a token made at `now`.
    pub fn seal(&self, plaintext: &[u8], now: Timestamp, rng: &mut dyn rand_core::CryptoRng) -> String {
        let mut iv = [0; 16];
        rng.fill_bytes(&mut iv);
        let mut token = vec![VERSION];
        token.extend_from_slice(&now.as_second().to_be_bytes());
        token.extend_from_slice(&iv);
        token.extend_from_slice(&encrypt(&AES_128, &self.0.expose()[16..], iv, plaintext));
        let tag = hmac::sign(&self.signing(), &token);
        token.extend_from_slice(tag.as_ref());
        data_encoding::BASE64URL.encode(&token)
    }

    fn signing(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0.expose()[..16])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The specification's own vector, `generate.json`.
    const TOKEN: &str =
        "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";

    fn key() -> FernetKey {
        let bytes = data_encoding::BASE64URL.decode(b"cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=").unwrap();
        FernetKey(Secret::from_slice(&bytes).unwrap())
    }

    #[test]
    fn the_specification_s_token_opens() {
        assert_eq!(key().open(TOKEN).unwrap().as_slice(), b"hello");
    }

    #[test]
    fn a_changed_token_is_refused_wherever_it_changed() {
        let bytes = data_encoding::BASE64URL.decode(TOKEN.as_bytes()).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let token = data_encoding::BASE64URL.encode(&changed);
            assert_eq!(key().open(&token), Err(FernetError::DoesNotOpen), "byte {at}");
        }
        for token in ["", "gAAA", "é", &TOKEN[4..]] {
            assert_eq!(key().open(token), Err(FernetError::DoesNotOpen));
        }
        assert_eq!(FernetKey::from_secret_key("too short").unwrap_err(), FernetError::ShortKey);
    }
}

//! Private things at rest: sealed under the master key, each under a key of its own.
//!
//! Sealed form: `0x01` ‖ salt (24 random bytes) ‖ AES-256-GCM. The key is HKDF-SHA256 of the master key with that salt
//! and the place as info, so that no key seals twice (R1) and nothing opens in another place (R14).

use super::aead::{OpenError, OpenKey, SealKey};
use super::kdf;
use super::secret::Secret;

const VERSION: u8 = 1;
const SALT_LEN: usize = 24;
const PURPOSE: &[u8] = b"bulbil/vault/1\0";

/// The key under which an instance keeps its private keys and content keys.
#[derive(Debug)]
pub struct MasterKey(Secret<32>);

impl MasterKey {
    /// Takes over a key that was drawn at random, or stretched from a passphrase.
    pub fn new(key: Secret<32>) -> Self {
        Self(key)
    }

    /// The key itself, to be kept in its file.
    pub fn secret(&self) -> &Secret<32> {
        &self.0
    }

    /// A key for another purpose than the vault, the same each time.
    pub fn derive(&self, purpose: &str, place: &[u8]) -> Secret<32> {
        kdf::derive(&self.0, b"", &[b"bulbil/master/1\0", purpose.as_bytes(), b"\0", place])
    }

    /// Seals `bytes` for one place, e.g. `"key/identity"`; 41 bytes longer than the input.
    pub fn seal(&self, rng: &mut dyn rand_core::CryptoRng, place: &[u8], bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(1 + SALT_LEN + bytes.len() + 16);
        out.push(VERSION);
        let mut salt = [0; SALT_LEN];
        rng.fill_bytes(&mut salt);
        out.extend_from_slice(&salt);
        out.extend_from_slice(bytes);
        SealKey::derived_for_one_use(kdf::derive(&self.0, &salt, &[PURPOSE, place])).seal_in_place(
            PURPOSE,
            &mut out,
            1 + SALT_LEN,
        );
        out
    }

    /// Opens what [`seal`](Self::seal) made for the same place.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let (head, body) = sealed.split_at_checked(1 + SALT_LEN).ok_or(OpenError)?;
        if head[0] != VERSION {
            return Err(OpenError);
        }
        OpenKey::new(kdf::derive(&self.0, &head[1..], &[PURPOSE, place])).open(PURPOSE, body)
    }
}

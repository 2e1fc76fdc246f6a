//! AES-256-GCM (NIST SP 800-38D) with keys that seal exactly one thing.
//!
//! R1: a key/nonce pair never seals two inputs. A [`SealKey`] is random or freshly derived, and sealing consumes it; what
//! is left is an [`OpenKey`], which can only open. With one use a key, the nonce is always zero.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::secret::Secret;

/// Bytes that sealing adds: the GCM tag.
pub const TAG_LEN: usize = 16;

/// What could not be opened: wrong key, wrong place, or changed bytes; GCM cannot say which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sealed bytes do not open: another key, another place, or they were changed")]
pub struct OpenError;

/// A key that seals once.
#[derive(Debug)]
pub struct SealKey(Secret<32>);

/// A key that opens what its [`SealKey`] sealed.
#[derive(Debug)]
pub struct OpenKey(Secret<32>);

impl SealKey {
    /// Draws a fresh key. `rng` must be cryptographic.
    pub fn random(rng: &mut dyn rand_core::CryptoRng) -> Self {
        Self(Secret::random(rng))
    }

    /// Takes over a key that was derived for this one use, with a salt or a secret that is never used again.
    pub fn derived_for_one_use(key: Secret<32>) -> Self {
        Self(key)
    }

    /// Seals `buffer[from..]` in place and appends the tag; what stands before `from` is left as it is.
    pub fn seal_in_place(self, aad: &[u8], buffer: &mut Vec<u8>, from: usize) -> OpenKey {
        let tag = cipher(&self.0)
            .seal_in_place_separate_tag(zero_nonce(), Aad::from(aad), &mut buffer[from..])
            .expect("the input is shorter than GCM's limit of 64 GiB");
        buffer.extend_from_slice(tag.as_ref());
        OpenKey(self.0)
    }

    /// Seals a copy of `bytes`.
    pub fn seal(self, aad: &[u8], bytes: &[u8]) -> (OpenKey, Vec<u8>) {
        let mut buffer = Vec::with_capacity(bytes.len() + TAG_LEN);
        buffer.extend_from_slice(bytes);
        let key = self.seal_in_place(aad, &mut buffer, 0);
        (key, buffer)
    }
}

impl OpenKey {
    /// Takes over a key that stood in a sealed place.
    pub fn new(key: Secret<32>) -> Self {
        Self(key)
    }

    /// The key bytes, to be written into a sealed place.
    pub fn secret(&self) -> &Secret<32> {
        &self.0
    }

    /// Opens `buffer` in place; on success its length is cut to the plaintext's.
    ///
    /// # Errors
    /// [`OpenError`]; the buffer's content is then worthless.
    pub fn open_in_place(&self, aad: &[u8], buffer: &mut Vec<u8>) -> Result<(), OpenError> {
        let len = cipher(&self.0).open_in_place(zero_nonce(), Aad::from(aad), buffer).map_err(|_| OpenError)?.len();
        buffer.truncate(len);
        Ok(())
    }

    /// Opens a copy of `sealed`.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let mut buffer = sealed.to_vec();
        self.open_in_place(aad, &mut buffer)?;
        Ok(buffer)
    }
}

fn cipher(key: &Secret<32>) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.expose()).expect("the key has AES-256's length"))
}

fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r1_sealing_consumes_the_key_and_one_flipped_bit_is_refused() {
        let key = SealKey::derived_for_one_use(Secret::from_bytes([7; 32]));
        let (open, sealed) = key.seal(b"place", b"hello");
        assert_eq!(open.open(b"place", &sealed).unwrap(), b"hello");
        assert_eq!(open.open(b"other place", &sealed), Err(OpenError));
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open.open(b"place", &bad), Err(OpenError));
        }
        assert_eq!(open.open(b"place", b""), Err(OpenError));
    }
}

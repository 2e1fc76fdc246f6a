//! Randomness of the operating system, and the one key that draws its own.

use std::convert::Infallible;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use rand_core::{TryCryptoRng, TryRng};
use zeroize::Zeroizing;

use crate::domain::crypto::keywrap::EnvelopeKey;

/// Why drawing cannot fail: without randomness no key is safe, and there is nothing sensible left to do.
const WORKS: &str = "the operating system gives random bytes";

/// The operating system's generator.
#[derive(Debug, Clone, Copy)]
struct OsRng;

/// The operating system's generator.
///
/// # Panics
/// Drawing from it does, if the operating system has no randomness to give.
pub fn entropy() -> impl rand_core::CryptoRng + Send + Sync + 'static {
    OsRng
}

/// Makes a fresh RSA key of 3,072 bits. AWS-LC draws it: in constant time, and many times faster than pure Rust does.
///
/// # Panics
/// If the operating system has no randomness to give.
pub fn fresh_envelope_key() -> EnvelopeKey {
    let pair = KeyPair::generate(KeySize::Rsa3072).expect(WORKS);
    let der: Pkcs8V1Der<'_> = pair.as_der().expect("a fresh key can be encoded");
    let der = Zeroizing::new(der.as_ref().to_vec());
    EnvelopeKey::from_pkcs8_der(&der).expect("a fresh key can be read")
}

/// Makes a fresh RSA key of 2,048 bits, as Axon instances have them: PKCS#8, DER.
///
/// # Panics
/// If the operating system has no randomness to give.
pub fn fresh_axon_key() -> Zeroizing<Vec<u8>> {
    let pair = KeyPair::generate(KeySize::Rsa2048).expect(WORKS);
    let der: Pkcs8V1Der<'_> = pair.as_der().expect("a fresh key can be encoded");
    Zeroizing::new(der.as_ref().to_vec())
}

impl TryRng for OsRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(getrandom::u32().expect(WORKS))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(getrandom::u64().expect(WORKS))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        getrandom::fill(bytes).expect(WORKS);
        Ok(())
    }
}

impl TryCryptoRng for OsRng {}

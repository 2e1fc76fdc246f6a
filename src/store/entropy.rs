//! Randomness of the operating system.

use std::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};

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

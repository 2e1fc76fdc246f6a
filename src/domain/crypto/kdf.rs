//! Key derivation: HKDF-SHA256 (RFC 5869) between keys, Argon2id (RFC 9106) from passphrases.

use argon2::{Algorithm, Argon2, Params, Version};
use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::secret::Secret;

/// Derives 32 bytes from a secret for one purpose.
///
/// `info` names the purpose and its place; two purposes never share one. HKDF-SHA256, RFC 5869.
pub fn derive(secret: &Secret<32>, salt: &[u8], info: &[&[u8]]) -> Secret<32> {
    let mut out = [0; 32];
    Hkdf::<Sha256>::new(Some(salt), secret.expose())
        .expand_multi_info(info, &mut out)
        .expect("32 bytes are less than HKDF's limit of 255 hashes");
    Secret::from_bytes(out)
}

/// How a passphrase is stretched: Argon2id, version 0x13.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct PassphraseParams {
    /// Memory in KiB. At least 8,192 and at most 4,194,304 are accepted when read.
    pub memory_kib: u32,
    /// Passes over the memory, 1 to 64.
    pub passes: u32,
    /// Lanes, 1 to 16.
    pub lanes: u32,
    /// 16 random bytes, hex.
    pub salt: String,
}

/// Passphrase parameters that are not accepted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the passphrase parameters in the key file are out of bounds: the file is damaged or not ours")]
pub struct BadPassphraseParams;

impl PassphraseParams {
    /// RFC 9106's second recommended set: 64 MiB, 3 passes, 4 lanes; about 0.1 s.
    pub fn recommended(rng: &mut dyn rand_core::CryptoRng) -> Self {
        let mut salt = [0; 16];
        rng.fill_bytes(&mut salt);
        Self { memory_kib: 65_536, passes: 3, lanes: 4, salt: data_encoding::HEXLOWER.encode(&salt) }
    }

    /// Stretches `passphrase` into a key.
    ///
    /// # Errors
    /// If the parameters are out of bounds (they are read from a file).
    pub fn stretch(&self, passphrase: &[u8]) -> Result<Secret<32>, BadPassphraseParams> {
        let bounded = (8192..=4_194_304).contains(&self.memory_kib)
            && (1..=64).contains(&self.passes)
            && (1..=16).contains(&self.lanes);
        let salt = data_encoding::HEXLOWER.decode(self.salt.as_bytes()).map_err(|_| BadPassphraseParams)?;
        if !bounded || salt.len() != 16 {
            return Err(BadPassphraseParams);
        }
        let params =
            Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).map_err(|_| BadPassphraseParams)?;
        let mut out = [0; 32];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase, &salt, &mut out)
            .map_err(|_| BadPassphraseParams)?;
        Ok(Secret::from_bytes(out))
    }
}

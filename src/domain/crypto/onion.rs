//! The private key of an onion service: its address for ever.
//!
//! It is kept as Tor keeps it, *expanded*: the scalar and the hash prefix that an Ed25519 seed becomes (RFC 8032 §5.1.5),
//! 64 bytes, because a key that comes from C tor exists in that form only.
//!
//! C tor's folder (`HiddenServiceDir`): `hs_ed25519_secret_key` is a 32-byte heading and these 64 bytes,
//! `hs_ed25519_public_key` a heading and the public key, `hostname` the name in text.

use ed25519_dalek::VerifyingKey;
use ed25519_dalek::hazmat::ExpandedSecretKey;
use sha2::{Digest, Sha512};

use super::secret::Secret;
use crate::domain::onion::{DEFAULT_PORT, OnionAddress, OnionError};

/// Length of the expanded key, in bytes.
pub const LEN: usize = 64;
/// The file of C tor's folder that has the private key.
pub const SECRET_FILE: &str = "hs_ed25519_secret_key";
const PUBLIC_FILE: &str = "hs_ed25519_public_key";
const HOST_FILE: &str = "hostname";
const SECRET_HEADING: &[u8; 32] = b"== ed25519v1-secret: type0 ==\0\0\0";
const PUBLIC_HEADING: &[u8; 32] = b"== ed25519v1-public: type0 ==\0\0\0";

/// C tor's folder of a service: names of files, and what is in them.
pub type CtorFolder = [(&'static str, zeroize::Zeroizing<Vec<u8>>); 3];

/// The private key of an onion service.
#[derive(Debug)]
pub struct OnionKey(Secret<LEN>);

/// Bytes that are no key of an onion service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OnionKeyError {
    /// Not what C tor writes.
    #[error(
        "this is no hs_ed25519_secret_key: such a file has 96 bytes and begins with \"== ed25519v1-secret: type0 ==\""
    )]
    Malformed,
    /// The scalar is not as Ed25519 wants it.
    #[error("the key is damaged: its first 32 bytes are no Ed25519 scalar")]
    Damaged,
}

impl OnionKey {
    /// Draws a fresh key.
    pub fn random(rng: &mut dyn rand_core::CryptoRng) -> Self {
        Self::from_seed(&Secret::random(rng))
    }

    /// Expands a seed (RFC 8032 §5.1.5).
    fn from_seed(seed: &Secret<32>) -> Self {
        let mut bytes = <[u8; LEN]>::from(Sha512::digest(seed.expose()));
        bytes[0] &= 0xf8;
        bytes[31] = bytes[31] & 0x3f | 0x40;
        Self(Secret::from_bytes(bytes))
    }

    /// Takes over the 64 bytes: scalar ‖ hash prefix.
    ///
    /// # Errors
    /// [`OnionKeyError`].
    pub fn from_slice(bytes: &[u8]) -> Result<Self, OnionKeyError> {
        let key = Secret::<LEN>::from_slice(bytes).ok_or(OnionKeyError::Malformed)?;
        let scalar = &key.expose()[..32];
        // RFC 8032 §5.1.5: the lowest three bits and the highest are clear, the second highest is set.
        if scalar[0] & 7 != 0 || scalar[31] & 0xc0 != 0x40 {
            return Err(OnionKeyError::Damaged);
        }
        Ok(Self(key))
    }

    /// The 64 bytes, to be kept in a sealed place.
    pub fn secret(&self) -> &Secret<LEN> {
        &self.0
    }

    /// The public key.
    pub fn public(&self) -> [u8; 32] {
        let expanded = ExpandedSecretKey::from_bytes(self.0.expose());
        VerifyingKey::from(&expanded).to_bytes()
    }

    /// The address of the service on this port.
    ///
    /// # Errors
    /// [`OnionError::Port`] for port 0.
    pub fn address(&self, port: u16) -> Result<OnionAddress, OnionError> {
        OnionAddress::new(self.public(), port)
    }

    /// What C tor keeps in `hs_ed25519_secret_key`: 96 bytes.
    pub fn to_ctor_secret(&self) -> zeroize::Zeroizing<Vec<u8>> {
        zeroize::Zeroizing::new([&SECRET_HEADING[..], self.0.expose()].concat())
    }

    /// What C tor keeps in `hs_ed25519_public_key`: 64 bytes.
    pub fn to_ctor_public(&self) -> Vec<u8> {
        [&PUBLIC_HEADING[..], &self.public()].concat()
    }

    /// C tor's folder of the service: names of files, and what is in them.
    ///
    /// # Errors
    /// [`OnionError`], if nobody can be at this address.
    pub fn to_ctor_folder(&self) -> Result<CtorFolder, OnionError> {
        let host = format!("{}\n", self.address(DEFAULT_PORT)?.reveal());
        Ok([
            (SECRET_FILE, self.to_ctor_secret()),
            (PUBLIC_FILE, self.to_ctor_public().into()),
            (HOST_FILE, host.into_bytes().into()),
        ])
    }

    /// Reads C tor's `hs_ed25519_secret_key`.
    ///
    /// # Errors
    /// [`OnionKeyError`].
    pub fn from_ctor_secret(file: &[u8]) -> Result<Self, OnionKeyError> {
        let key = file.strip_prefix(&SECRET_HEADING[..]).ok_or(OnionKeyError::Malformed)?;
        Self::from_slice(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> OnionKey {
        OnionKey::from_seed(&Secret::from_bytes([7; 32]))
    }

    #[test]
    fn a_key_has_an_address() {
        assert_eq!(key().address(80).unwrap().key(), &key().public());
        assert!(OnionKey::from_slice(key().secret().expose()).is_ok());
    }

    #[test]
    fn the_public_key_is_that_of_rfc_8032() {
        let seed = data_encoding::HEXLOWER.decode(b"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
        let key = OnionKey::from_seed(&Secret::from_slice(&seed.unwrap()).unwrap());
        let wanted = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(data_encoding::HEXLOWER.encode(&key.public()), wanted);
    }

    #[test]
    fn ctors_files_go_round() {
        let key = key();
        let file = key.to_ctor_secret();
        assert_eq!(file.len(), 96);
        let again = OnionKey::from_ctor_secret(&file).unwrap();
        assert_eq!(again.public(), key.public());
        assert_eq!(&key.to_ctor_public()[32..], key.public());
    }

    #[test]
    fn garbage_is_no_key() {
        assert_eq!(OnionKey::from_ctor_secret(b"").err(), Some(OnionKeyError::Malformed));
        assert_eq!(OnionKey::from_ctor_secret(&[0; 96]).err(), Some(OnionKeyError::Malformed));
        let short = [&SECRET_HEADING[..], &[0; 63]].concat();
        assert_eq!(OnionKey::from_ctor_secret(&short).err(), Some(OnionKeyError::Malformed));
        let zero = [&SECRET_HEADING[..], &[0; 64]].concat();
        assert_eq!(OnionKey::from_ctor_secret(&zero).err(), Some(OnionKeyError::Damaged));
    }
}

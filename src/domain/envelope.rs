//! The key of a snapshot, and envelopes: that key wrapped for one recipient.
//!
//! Envelopes are kept and sent beside the manifest, never inside it, so that granting, rekeying and rotating touch nothing
//! else (R2). The wrapping is bound to the manifest's id (R5).

use serde::{Deserialize, Serialize};

use super::crypto::aead::SealKey;
use super::crypto::kdf;
use super::crypto::keywrap::{EnvelopeKey, KeyError, Wrapper};
use super::crypto::recovery::{RecoveryError, RecoveryKey, RecoveryRecipient};
use super::crypto::secret::Secret;
use super::crypto::vault::MasterKey;
use super::id::ManifestId;

/// RSA-OAEP with SHA-256 and MGF1-SHA-256 (RFC 8017 §7.1).
pub const RSA_OAEP_256: &str = "RSA-OAEP-256";
/// HPKE base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM (RFC 9180): the recovery key's.
pub const HPKE_X25519: &str = "HPKE-X25519-HKDF-SHA256-A256GCM";
/// Sealed under the instance's own master key; never leaves the instance.
pub const VAULT: &str = "BULBIL-VAULT-1";

/// The key of one snapshot: seals the private part of its manifest. This is what an envelope wraps.
#[derive(Debug)]
pub struct SnapshotKey(Secret<32>);

/// A snapshot key, wrapped for one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// How it is wrapped. An algorithm that a reader does not know is no error: that envelope is not for it.
    pub algorithm: String,
    /// Names the recipient's public key: SHA-256 of its encoding, hex.
    pub recipient: String,
    /// The wrapped key, standard base64.
    pub wrapped: String,
}

/// Why an envelope did not give a usable key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EnvelopeError {
    /// The envelope's text is damaged.
    #[error("the envelope is not base64: it was damaged on its way")]
    NotBase64,
    /// It does not open with our RSA key.
    #[error(transparent)]
    Rsa(#[from] KeyError),
    /// It does not open with the recovery key.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// It does not open with the master key.
    #[error(
        "the snapshot's key does not open with this instance's master key: the sidecar was changed, or keys/ is another instance's"
    )]
    Vault,
    /// It opens, but the key is not the one to which the manifest commits (R5).
    #[error("the envelope holds a key that does not belong to this snapshot")]
    WrongKey,
}

impl SnapshotKey {
    /// Draws a fresh key.
    pub fn random(rng: &mut dyn rand_core::CryptoRng) -> Self {
        Self(Secret::random(rng))
    }

    /// The commitment that stands in the manifest: it shows that a key is the right one, and nothing else (R5).
    pub fn commitment(&self) -> String {
        data_encoding::HEXLOWER.encode(kdf::derive(&self.0, b"", &[b"bulbil/snapshot/1/commitment"]).expose())
    }

    /// The key for the private part. Used once, when the snapshot is made; to open, any number of times.
    pub(super) fn private_part(&self) -> Secret<32> {
        kdf::derive(&self.0, b"", &[b"bulbil/snapshot/1/private"])
    }

    /// The same as a key to seal with.
    pub(super) fn private_part_once(&self) -> SealKey {
        SealKey::derived_for_one_use(self.private_part())
    }

    /// Wraps the key for a peer's RSA key.
    ///
    /// # Errors
    /// [`KeyError`] if the recipient's key is unusable.
    pub fn wrap_for(&self, manifest: &ManifestId, recipient: &str, wrapper: &Wrapper) -> Result<Envelope, KeyError> {
        let wrapped = wrapper.wrap(&self.0, &label(manifest))?;
        Ok(Envelope::new(RSA_OAEP_256, recipient.to_owned(), &wrapped))
    }

    /// Wraps the key for the recovery key.
    ///
    /// # Errors
    /// [`RecoveryError`] if the public recovery key is unusable.
    pub fn wrap_for_recovery(
        &self,
        rng: &mut dyn rand_core::CryptoRng,
        manifest: &ManifestId,
        recipient: &RecoveryRecipient,
    ) -> Result<Envelope, RecoveryError> {
        let wrapped = recipient.wrap(rng, &self.0, &label(manifest))?;
        Ok(Envelope::new(HPKE_X25519, recipient.id(), &wrapped))
    }

    /// Seals the key under the instance's own master key.
    pub fn wrap_for_vault(
        &self,
        rng: &mut dyn rand_core::CryptoRng,
        manifest: &ManifestId,
        master: &MasterKey,
    ) -> Envelope {
        let sealed = master.seal(rng, &vault_place(manifest), self.0.expose());
        Envelope::new(VAULT, "self".to_owned(), &sealed)
    }
}

impl Envelope {
    pub(super) fn new(algorithm: &str, recipient: String, wrapped: &[u8]) -> Self {
        Self { algorithm: algorithm.to_owned(), recipient, wrapped: data_encoding::BASE64.encode(wrapped) }
    }

    /// Opens an envelope for an RSA key. About a millisecond; never in a request handler (R4).
    ///
    /// # Errors
    /// [`EnvelopeError`].
    pub fn open_with(
        &self,
        manifest: &ManifestId,
        commitment: &str,
        key: &EnvelopeKey,
    ) -> Result<SnapshotKey, EnvelopeError> {
        checked(key.unwrap(&self.bytes()?, &label(manifest))?, commitment)
    }

    /// Opens an envelope for the recovery key.
    ///
    /// # Errors
    /// [`EnvelopeError`].
    pub fn open_with_recovery(
        &self,
        manifest: &ManifestId,
        commitment: &str,
        key: &RecoveryKey,
    ) -> Result<SnapshotKey, EnvelopeError> {
        checked(key.unwrap(&self.bytes()?, &label(manifest))?, commitment)
    }

    /// Opens an envelope for the master key.
    ///
    /// # Errors
    /// [`EnvelopeError`].
    pub fn open_with_vault(
        &self,
        manifest: &ManifestId,
        commitment: &str,
        master: &MasterKey,
    ) -> Result<SnapshotKey, EnvelopeError> {
        let plain = master.open(&vault_place(manifest), &self.bytes()?).map_err(|_| EnvelopeError::Vault)?;
        checked(Secret::from_slice(&plain).ok_or(EnvelopeError::Vault)?, commitment)
    }

    pub(super) fn bytes(&self) -> Result<Vec<u8>, EnvelopeError> {
        data_encoding::BASE64.decode(self.wrapped.as_bytes()).map_err(|_| EnvelopeError::NotBase64)
    }
}

/// Checks the commitment before anybody uses the key (R5).
fn checked(key: Secret<32>, commitment: &str) -> Result<SnapshotKey, EnvelopeError> {
    let key = SnapshotKey(key);
    if key.commitment() == commitment { Ok(key) } else { Err(EnvelopeError::WrongKey) }
}

fn label(manifest: &ManifestId) -> Vec<u8> {
    [b"bulbil/envelope/1\0".as_slice(), manifest.as_bytes()].concat()
}

fn vault_place(manifest: &ManifestId) -> Vec<u8> {
    [b"snapshot/".as_slice(), manifest.as_bytes()].concat()
}

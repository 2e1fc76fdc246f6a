//! Envelopes' RSA half: wrapping a 32-byte key with RSA-OAEP, SHA-256, MGF1-SHA-256 (RFC 8017 §7.1).
//!
//! The `rsa` crate parses and checks keys; AWS-LC makes them and does every operation on them, because its private operation
//! is constant-time and the `rsa` crate's is not (R4, RUSTSEC-2023-0071).

use aws_lc_rs::rsa::{
    OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
    PublicEncryptingKey,
};
use rsa::pkcs8::{DecodePublicKey, EncodePublicKey};
use rsa::traits::PublicKeyParts;
use rsa::{RsaPrivateKey, RsaPublicKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::secret::Secret;

/// Smallest modulus of a native peer's envelope key, in bits.
pub const MIN_BITS: usize = 3072;
/// Largest modulus accepted from anybody, in bits: larger ones cost time and bring nothing.
pub const MAX_BITS: usize = 8192;

/// What is wrong with a key or with what it wrapped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a public key in SPKI form.
    #[error("this is not an RSA public key in SPKI form (RFC 5280)")]
    NotAKey,
    /// The modulus is under [`MIN_BITS`].
    #[error("the RSA key has {bits} bits; at least {MIN_BITS} are needed")]
    TooShort {
        /// The modulus' length.
        bits: usize,
    },
    /// The modulus is over [`MAX_BITS`].
    #[error("the RSA key has {bits} bits; at most {MAX_BITS} are accepted")]
    TooLong {
        /// The modulus' length.
        bits: usize,
    },
    /// The envelope is for another key or another manifest, or it was changed.
    #[error("the envelope does not open: it is for another key or another manifest, or it was changed")]
    DoesNotOpen,
}

/// Names a recipient's public key: SHA-256 of its SPKI DER, hex.
pub fn recipient_id(spki_der: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(spki_der))
}

/// The public half of an envelope key. Text form: standard base64 of the SPKI DER.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EnvelopeRecipient {
    spki_der: Vec<u8>,
}

impl EnvelopeRecipient {
    /// Reads a public key in SPKI DER form and checks its size.
    ///
    /// # Errors
    /// [`KeyError::NotAKey`], [`KeyError::TooShort`], [`KeyError::TooLong`].
    pub fn from_spki_der(der: &[u8]) -> Result<Self, KeyError> {
        if der.len() > 2 * MAX_BITS / 8 {
            return Err(KeyError::NotAKey);
        }
        let key = RsaPublicKey::from_public_key_der(der).map_err(|_| KeyError::NotAKey)?;
        let bits = key.size() * 8;
        if bits < MIN_BITS {
            return Err(KeyError::TooShort { bits });
        }
        if bits > MAX_BITS {
            return Err(KeyError::TooLong { bits });
        }
        let canonical = key.to_public_key_der().map_err(|_| KeyError::NotAKey)?;
        Ok(Self { spki_der: canonical.into_vec() })
    }

    /// The SPKI DER.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    /// Names this key in envelopes.
    pub fn id(&self) -> String {
        recipient_id(&self.spki_der)
    }

    /// Prepares the key for wrapping; do it once for many keys.
    ///
    /// # Errors
    /// [`KeyError::NotAKey`] if AWS-LC does not like the key.
    pub fn wrapper(&self) -> Result<Wrapper, KeyError> {
        let key = PublicEncryptingKey::from_der(&self.spki_der).map_err(|_| KeyError::NotAKey)?;
        Ok(Wrapper { key: OaepPublicEncryptingKey::new(key).map_err(|_| KeyError::NotAKey)? })
    }
}

impl std::fmt::Debug for EnvelopeRecipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EnvelopeRecipient({})", &self.id()[..8])
    }
}

impl TryFrom<String> for EnvelopeRecipient {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        let der = data_encoding::BASE64.decode(text.as_bytes()).map_err(|_| KeyError::NotAKey)?;
        Self::from_spki_der(&der)
    }
}

impl From<EnvelopeRecipient> for String {
    fn from(key: EnvelopeRecipient) -> String {
        data_encoding::BASE64.encode(&key.spki_der)
    }
}

/// A recipient's key, ready to wrap.
#[derive(Debug)]
pub struct Wrapper {
    key: OaepPublicEncryptingKey,
}

impl Wrapper {
    /// Wraps `key`, bound to `label`. As long as the modulus (384 bytes for RSA-3072), different at every call:
    /// AWS-LC draws the seed itself.
    ///
    /// # Errors
    /// [`KeyError::NotAKey`] if the key turns out to be unusable.
    pub fn wrap(&self, key: &Secret<32>, label: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut out = vec![0; self.key.ciphertext_size()];
        let len = self
            .key
            .encrypt(&OAEP_SHA256_MGF1SHA256, key.expose(), &mut out, Some(label))
            .map_err(|_| KeyError::NotAKey)?
            .len();
        out.truncate(len);
        Ok(out)
    }
}

/// The private half of an envelope key.
pub struct EnvelopeKey {
    pkcs8_der: Zeroizing<Vec<u8>>,
    private: OaepPrivateDecryptingKey,
    recipient: EnvelopeRecipient,
}

impl EnvelopeKey {
    /// Reads a private key that was kept in a sealed place.
    ///
    /// # Errors
    /// [`KeyError::NotAKey`], [`KeyError::TooShort`], [`KeyError::TooLong`].
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        use rsa::pkcs8::DecodePrivateKey;
        let key = RsaPrivateKey::from_pkcs8_der(der).map_err(|_| KeyError::NotAKey)?;
        let public = RsaPublicKey::from(&key).to_public_key_der().map_err(|_| KeyError::NotAKey)?;
        let recipient = EnvelopeRecipient::from_spki_der(public.as_bytes())?;
        let private = PrivateDecryptingKey::from_pkcs8(der).map_err(|_| KeyError::NotAKey)?;
        Ok(Self {
            pkcs8_der: Zeroizing::new(der.to_vec()),
            private: OaepPrivateDecryptingKey::new(private).map_err(|_| KeyError::NotAKey)?,
            recipient,
        })
    }

    /// The PKCS#8 DER, to be kept in a sealed place.
    pub fn pkcs8_der(&self) -> &[u8] {
        &self.pkcs8_der
    }

    /// The public half.
    pub fn recipient(&self) -> &EnvelopeRecipient {
        &self.recipient
    }

    /// Unwraps a key that was wrapped for this one with the same label.
    ///
    /// Takes about a millisecond; never call it in a request handler (R4).
    ///
    /// # Errors
    /// [`KeyError::DoesNotOpen`].
    pub fn unwrap(&self, wrapped: &[u8], label: &[u8]) -> Result<Secret<32>, KeyError> {
        let mut out = Zeroizing::new(vec![0; self.private.min_output_size()]);
        let plain = self
            .private
            .decrypt(&OAEP_SHA256_MGF1SHA256, wrapped, &mut out, Some(label))
            .map_err(|_| KeyError::DoesNotOpen)?;
        Secret::from_slice(plain).ok_or(KeyError::DoesNotOpen)
    }
}

impl std::fmt::Debug for EnvelopeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EnvelopeKey({})", &self.recipient.id()[..8])
    }
}

//! Private keys: of this instance towards Axon instances, of a backup's maker, of a user.
//!
//! Kept sealed by the caller; every operation is AWS-LC's, whose private operation is constant-time (R4).

use aws_lc_rs::rsa::{KeyPair, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use aws_lc_rs::signature::{RSA_PSS_SHA256, RsaPssSaltLength, RsaSignatureEncoding};
use rsa::pkcs1::DecodeRsaPrivateKey;
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use rsa::{RsaPrivateKey, RsaPublicKey};
use zeroize::Zeroizing;

use super::key::{KeyError, PublicKey, pem_block};
use crate::domain::crypto::secret::Secret;

/// PSS with the longest salt: some versions of Axon's cryptography library accept no other.
static PSS_MAX_SALT: RsaSignatureEncoding = RSA_PSS_SHA256.with_pss_salt_length(RsaPssSaltLength::Max);

/// An RSA private key of 2,048 to 4,096 bits.
pub struct PrivateKey {
    pkcs8_der: Zeroizing<Vec<u8>>,
    oaep: OaepPrivateDecryptingKey,
    signing: KeyPair,
    public: PublicKey,
}

impl PrivateKey {
    /// Reads PKCS#8 or PKCS#1 PEM without passphrase.
    ///
    /// # Errors
    /// [`KeyError::NotAPrivateKey`], [`KeyError::Size`].
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        if let Some(der) = pem_block(text, "PRIVATE KEY") {
            return Self::from_pkcs8_der(&der);
        }
        let der = pem_block(text, "RSA PRIVATE KEY").ok_or(KeyError::NotAPrivateKey)?;
        let key = RsaPrivateKey::from_pkcs1_der(&der).map_err(|_| KeyError::NotAPrivateKey)?;
        let pkcs8 = key.to_pkcs8_der().map_err(|_| KeyError::NotAPrivateKey)?;
        Self::from_pkcs8_der(pkcs8.as_bytes())
    }

    /// Reads a key that was kept in a sealed place.
    ///
    /// # Errors
    /// [`KeyError::NotAPrivateKey`], [`KeyError::Size`].
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        let key = RsaPrivateKey::from_pkcs8_der(der).map_err(|_| KeyError::NotAPrivateKey)?;
        let public = PublicKey::from_rsa(RsaPublicKey::from(&key))?;
        let private = PrivateDecryptingKey::from_pkcs8(der).map_err(|_| KeyError::NotAPrivateKey)?;
        Ok(Self {
            pkcs8_der: Zeroizing::new(der.to_vec()),
            oaep: OaepPrivateDecryptingKey::new(private).map_err(|_| KeyError::NotAPrivateKey)?,
            signing: KeyPair::from_pkcs8(der).map_err(|_| KeyError::NotAPrivateKey)?,
            public,
        })
    }

    /// The PKCS#8 DER, to be kept in a sealed place.
    pub fn pkcs8_der(&self) -> &[u8] {
        &self.pkcs8_der
    }

    /// PKCS#8 PEM with a final newline: what Axon seals with Fernet.
    pub fn to_pkcs8_pem(&self) -> Zeroizing<String> {
        let base64 = Zeroizing::new(data_encoding::BASE64.encode(&self.pkcs8_der));
        let mut pem = Zeroizing::new(String::with_capacity(base64.len() * 66 / 64 + 80));
        pem.push_str("-----BEGIN PRIVATE KEY-----\n");
        for line in base64.as_bytes().chunks(64) {
            pem.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
            pem.push('\n');
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        pem
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Unwraps a payload's key. About a millisecond; never in a request handler (R4).
    ///
    /// # Errors
    /// [`KeyError::DoesNotOpen`].
    pub fn unwrap(&self, wrapped: &[u8]) -> Result<Secret<32>, KeyError> {
        let mut out = Zeroizing::new(vec![0; self.oaep.min_output_size()]);
        let plain =
            self.oaep.decrypt(&OAEP_SHA256_MGF1SHA256, wrapped, &mut out, None).map_err(|_| KeyError::DoesNotOpen)?;
        Secret::from_slice(plain).ok_or(KeyError::DoesNotOpen)
    }

    /// Signs a message: RSASSA-PSS, SHA-256, MGF1-SHA-256, salt as long as possible (RFC 8017 §8.1). As long as the modulus,
    /// different at every call. About a millisecond; never in a request handler (R4).
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut out = vec![0; self.signing.public_modulus_len()];
        let rng = aws_lc_rs::rand::SystemRandom::new();
        self.signing.sign(&PSS_MAX_SALT, &rng, message, &mut out).expect("a key that was checked signs any message");
        out
    }
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}

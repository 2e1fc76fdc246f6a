//! Public keys: RSA, in the one text form in which Axon stores and compares them, and their names.

use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use md5::Md5;
use rsa::RsaPublicKey;
use rsa::pkcs1::DecodeRsaPublicKey;
use rsa::pkcs8::{DecodePublicKey, EncodePublicKey, LineEnding};
use rsa::traits::PublicKeyParts;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::domain::crypto::secret::Secret;
use crate::domain::peer::words_of;

/// Smallest modulus, in bits: what Axon itself makes.
pub const MIN_BITS: usize = 2048;
/// Largest modulus, in bits.
pub const MAX_BITS: usize = 4096;
/// Longest text that is looked at, in bytes: a key of [`MAX_BITS`] has about 800.
const MAX_TEXT: usize = 16 << 10;

/// What is wrong with a key or with what it wrapped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not an RSA public key in PEM form.
    #[error("this is not an RSA public key in PEM form: give the text from BEGIN PUBLIC KEY to END PUBLIC KEY")]
    NotAPublicKey,
    /// Not an RSA private key in PEM form.
    #[error(
        "this is not an RSA private key in PEM form without passphrase: give the text from BEGIN PRIVATE KEY to END PRIVATE KEY"
    )]
    NotAPrivateKey,
    /// The modulus is under [`MIN_BITS`] or over [`MAX_BITS`].
    #[error("the RSA key has {bits} bits; {MIN_BITS} to {MAX_BITS} are accepted")]
    Size {
        /// The modulus' length.
        bits: usize,
    },
    /// The envelope is for another key, or it was changed.
    #[error("the envelope does not open: it is for another key, or it was changed")]
    DoesNotOpen,
}

/// Names a public key in manifests: MD5 of its stored form, 32 lower-case hex digits; `None` for an empty text.
///
/// A name, not a proof: two texts with one MD5 can be made.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyName(String);

impl KeyName {
    /// Names any text as Axon does: an RSA public key by its stored form, however it is written; any other text by its
    /// bytes without surrounding white space; the empty text `None`.
    pub fn of(text: &str) -> Self {
        if text.is_empty() {
            return Self("None".to_owned());
        }
        match parse_pem(text).and_then(|key| stored_form(&key)) {
            Some(stored) => Self::of_normalised(&stored),
            None => Self::of_normalised(strip(text)),
        }
    }

    fn of_normalised(text: &str) -> Self {
        Self(data_encoding::HEXLOWER.encode(&Md5::digest(text.as_bytes())))
    }

    /// The name as it stands in manifests.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for KeyName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The first `digits` (at most 64) hex digits of SHA-256 of the text as it is given, not normalised: part of the names that
/// Axon gives to users whom it makes.
pub fn short_id(text: &str, digits: usize) -> String {
    let mut hex = data_encoding::HEXLOWER.encode(&Sha256::digest(text.as_bytes()));
    hex.truncate(digits);
    hex
}

/// An RSA public key of [`MIN_BITS`] to [`MAX_BITS`]. Text form, compared byte for byte: SPKI PEM (RFC 7468), LF, 64
/// characters a line, no newline at the end.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey {
    stored: String,
    key: RsaPublicKey,
}

impl PublicKey {
    /// Reads SPKI or PKCS#1 PEM; CRLF, base64 on one line, text before the key and white space around it do no harm.
    ///
    /// # Errors
    /// [`KeyError::NotAPublicKey`], [`KeyError::Size`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        Self::from_rsa(parse_pem(text).ok_or(KeyError::NotAPublicKey)?)
    }

    pub(super) fn from_rsa(key: RsaPublicKey) -> Result<Self, KeyError> {
        let bits = key.n().bits();
        if !(MIN_BITS..=MAX_BITS).contains(&bits) {
            return Err(KeyError::Size { bits });
        }
        Ok(Self { stored: stored_form(&key).ok_or(KeyError::NotAPublicKey)?, key })
    }

    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.stored
    }

    /// Its name in manifests.
    pub fn name(&self) -> KeyName {
        KeyName::of_normalised(&self.stored)
    }

    /// What people compare: SHA-256 of the text form.
    pub fn fingerprint(&self) -> KeyFingerprint {
        KeyFingerprint(Sha256::digest(self.stored.as_bytes()).into())
    }

    /// Length of the modulus, of signatures and of envelopes, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.key.size()
    }

    pub(super) fn rsa(&self) -> &RsaPublicKey {
        &self.key
    }

    /// Prepares the key for wrapping; do it once for many payload keys.
    ///
    /// # Errors
    /// [`KeyError::NotAPublicKey`] if AWS-LC does not like the key.
    pub fn wrapper(&self) -> Result<Wrapper, KeyError> {
        let der = self.key.to_public_key_der().map_err(|_| KeyError::NotAPublicKey)?;
        let key = PublicEncryptingKey::from_der(der.as_bytes()).map_err(|_| KeyError::NotAPublicKey)?;
        let key = OaepPublicEncryptingKey::new(key).map_err(|_| KeyError::NotAPublicKey)?;
        Ok(Wrapper { key, name: self.name() })
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.stored == other.stored
    }
}

impl Eq for PublicKey {}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({})", &self.name().0[..8])
    }
}

impl TryFrom<String> for PublicKey {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        Self::parse(&text)
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> String {
        key.stored
    }
}

/// What people compare of a key: `printf %s "$PEM" | sha256sum` shows the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyFingerprint([u8; 32]);

impl KeyFingerprint {
    /// 64 lower-case hex digits.
    pub fn hex(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.0)
    }

    /// Eight words that stand for its first 88 bits.
    pub fn words(&self) -> String {
        words_of(&self.0).join(" ")
    }
}

/// A public key, ready to wrap payload keys.
#[derive(Debug)]
pub struct Wrapper {
    key: OaepPublicEncryptingKey,
    name: KeyName,
}

impl Wrapper {
    /// The name of the key.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// Wraps a payload's key: RSA-OAEP, SHA-256, MGF1-SHA-256, empty label (RFC 8017 §7.1). As long as the modulus,
    /// different at every call: AWS-LC draws the seed itself.
    ///
    /// # Errors
    /// [`KeyError::NotAPublicKey`] if the key turns out to be unusable.
    pub fn wrap(&self, key: &Secret<32>) -> Result<Vec<u8>, KeyError> {
        let mut out = vec![0; self.key.ciphertext_size()];
        let len = self
            .key
            .encrypt(&OAEP_SHA256_MGF1SHA256, key.expose(), &mut out, None)
            .map_err(|_| KeyError::NotAPublicKey)?
            .len();
        out.truncate(len);
        Ok(out)
    }
}

fn stored_form(key: &RsaPublicKey) -> Option<String> {
    Some(key.to_public_key_pem(LineEnding::LF).ok()?.trim_end().to_owned())
}

fn parse_pem(text: &str) -> Option<RsaPublicKey> {
    if let Some(der) = pem_block(text, "PUBLIC KEY") {
        return RsaPublicKey::from_public_key_der(&der).ok();
    }
    RsaPublicKey::from_pkcs1_der(&pem_block(text, "RSA PUBLIC KEY")?).ok()
}

/// The bytes of the first PEM block of this kind, whatever stands around it and however its lines are cut.
pub(super) fn pem_block(text: &str, label: &str) -> Option<zeroize::Zeroizing<Vec<u8>>> {
    if text.len() > MAX_TEXT {
        return None;
    }
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let base64: zeroize::Zeroizing<Vec<u8>> =
        body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect::<Vec<_>>().into();
    data_encoding::BASE64.decode(&base64).ok().map(Into::into)
}

/// What Python's `str.strip` takes away.
fn strip(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_out_of_bounds_is_refused_and_says_its_size() {
        // RSA-1024, RFC 7517-like sample made for this test: modulus 2^1023 + 1 is odd, which is all that parsing asks.
        let n = (rsa::BigUint::from(1_u8) << 1023) + rsa::BigUint::from(1_u8);
        let key = RsaPublicKey::new(n, rsa::BigUint::from(65537_u32)).unwrap();
        assert_eq!(PublicKey::parse(&stored_form(&key).unwrap()), Err(KeyError::Size { bits: 1024 }));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,200}", der in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
            let _ = PublicKey::parse(&text);
            let pem = format!("-----BEGIN PUBLIC KEY-----{}-----END PUBLIC KEY-----", data_encoding::BASE64.encode(&der));
            proptest::prop_assert!(PublicKey::parse(&pem).is_err());
        }
    }
}

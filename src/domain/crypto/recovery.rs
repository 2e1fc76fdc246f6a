//! The recovery key: answers "the disk and the key are gone".
//!
//! Every snapshot key is also wrapped for this recipient. Its private half is printed once and kept on paper.
//! HPKE base mode (RFC 9180): DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.

use data_encoding::{Encoding, Specification};
use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::secret::Secret;

const PREFIX: &str = "BULBIL-RECOVERY-1";
const INFO: &[u8] = b"bulbil/recovery/1";
const CHECK_LEN: usize = 4;
const GROUP: usize = 6;

/// What is wrong with a recovery key or with what was wrapped for one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    /// The text does not start as a recovery key does.
    #[error("a recovery key begins with {PREFIX}; this text does not")]
    NotARecoveryKey,
    /// A character is wrong, missing or doubled.
    #[error("the recovery key has a typing error: compare it with your printout, group by group")]
    Mistyped,
    /// A public recovery key that is none.
    #[error("this is not a public recovery key")]
    NotAPublicKey,
    /// The envelope is for another recovery key or another manifest, or was changed.
    #[error(
        "the recovery key does not open this snapshot: it belongs to another instance, or the envelope was changed"
    )]
    DoesNotOpen,
}

/// The public half: stays with the instance.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RecoveryRecipient([u8; 32]);

/// The private half: printed once, then forgotten.
#[derive(Debug)]
pub struct RecoveryKey(Secret<32>);

impl RecoveryKey {
    /// Draws a fresh key.
    pub fn generate(rng: &mut dyn rand_core::CryptoRng) -> Self {
        Self(Secret::random(rng))
    }

    /// The public half.
    pub fn recipient(&self) -> RecoveryRecipient {
        let public = X25519HkdfSha256::sk_to_pk(&self.private());
        RecoveryRecipient(public.to_bytes().into())
    }

    /// The text to print: `BULBIL-RECOVERY-1` and groups of six Crockford base32 digits; the last digits are a check.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(self.0.expose().to_vec());
        let check = check(&bytes);
        bytes.extend_from_slice(&check);
        let digits = Zeroizing::new(crockford().encode(&bytes));
        let mut text = Zeroizing::new(String::with_capacity(100));
        text.push_str(PREFIX);
        for (at, digit) in digits.chars().enumerate() {
            if at % GROUP == 0 {
                text.push('-');
            }
            text.push(digit);
        }
        text
    }

    /// Reads a key as a person types it: upper or lower case, O for 0, I or L for 1, spaces and dashes anywhere.
    ///
    /// # Errors
    /// [`RecoveryError::NotARecoveryKey`], [`RecoveryError::Mistyped`].
    pub fn parse(text: &str) -> Result<Self, RecoveryError> {
        let plain = |text: &str| {
            Zeroizing::new(text.chars().filter(|c| !c.is_whitespace() && *c != '-').collect::<String>().to_uppercase())
        };
        let typed = plain(text);
        let digits = typed.strip_prefix(plain(PREFIX).as_str()).ok_or(RecoveryError::NotARecoveryKey)?;
        let bytes = Zeroizing::new(crockford().decode(digits.as_bytes()).map_err(|_| RecoveryError::Mistyped)?);
        let (key, sum) = bytes.split_at_checked(32).ok_or(RecoveryError::Mistyped)?;
        if sum != check(key) {
            return Err(RecoveryError::Mistyped);
        }
        Ok(Self(Secret::from_slice(key).expect("it was cut to 32 bytes")))
    }

    /// Unwraps a key that was wrapped for this one with the same label.
    ///
    /// # Errors
    /// [`RecoveryError::DoesNotOpen`].
    pub fn unwrap(&self, wrapped: &[u8], label: &[u8]) -> Result<Secret<32>, RecoveryError> {
        let (encapped, sealed) = wrapped.split_at_checked(32).ok_or(RecoveryError::DoesNotOpen)?;
        let encapped =
            <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(encapped).map_err(|_| RecoveryError::DoesNotOpen)?;
        let plain = hpke::single_shot_open::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &self.private(),
            &encapped,
            INFO,
            sealed,
            label,
        )
        .map_err(|_| RecoveryError::DoesNotOpen)?;
        Secret::from_slice(&Zeroizing::new(plain)).ok_or(RecoveryError::DoesNotOpen)
    }

    fn private(&self) -> <X25519HkdfSha256 as Kem>::PrivateKey {
        <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(self.0.expose()).expect("any 32 bytes are an X25519 key")
    }
}

impl RecoveryRecipient {
    /// Names this key in envelopes: SHA-256 of the 32 bytes, hex.
    pub fn id(&self) -> String {
        data_encoding::HEXLOWER.encode(&Sha256::digest(self.0))
    }

    /// Wraps `key`, bound to `label`: encapsulated key (32 bytes) ‖ ciphertext and tag (48 bytes).
    ///
    /// # Errors
    /// [`RecoveryError::NotAPublicKey`].
    pub fn wrap(
        &self,
        rng: &mut dyn rand_core::CryptoRng,
        key: &Secret<32>,
        label: &[u8],
    ) -> Result<Vec<u8>, RecoveryError> {
        let public =
            <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&self.0).map_err(|_| RecoveryError::NotAPublicKey)?;
        let (encapped, sealed) = hpke::single_shot_seal_with_rng::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &public,
            INFO,
            key.expose(),
            label,
            &mut { rng },
        )
        .map_err(|_| RecoveryError::NotAPublicKey)?;
        let mut out = encapped.to_bytes().to_vec();
        out.extend_from_slice(&sealed);
        Ok(out)
    }
}

impl std::fmt::Debug for RecoveryRecipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RecoveryRecipient({})", &self.id()[..8])
    }
}

impl TryFrom<String> for RecoveryRecipient {
    type Error = RecoveryError;

    fn try_from(text: String) -> Result<Self, RecoveryError> {
        let bytes = data_encoding::BASE64.decode(text.as_bytes()).map_err(|_| RecoveryError::NotAPublicKey)?;
        bytes.try_into().map(Self).map_err(|_| RecoveryError::NotAPublicKey)
    }
}

impl From<RecoveryRecipient> for String {
    fn from(key: RecoveryRecipient) -> String {
        data_encoding::BASE64.encode(&key.0)
    }
}

fn check(key: &[u8]) -> [u8; CHECK_LEN] {
    let digest = Sha256::new().chain_update(INFO).chain_update(key).finalize();
    digest[..CHECK_LEN].try_into().expect("a digest is longer than its check")
}

pub(in crate::domain) fn crockford() -> Encoding {
    let mut spec = Specification::new();
    spec.symbols.push_str("0123456789ABCDEFGHJKMNPQRSTVWXYZ");
    spec.translate.from.push_str("OIL");
    spec.translate.to.push_str("011");
    spec.encoding().expect("Crockford's alphabet is a base32 alphabet")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_by_a_person_it_still_reads_and_a_wrong_digit_is_noticed() {
        let key = RecoveryKey(Secret::from_bytes([0x5a; 32]));
        let text = key.to_text();
        let sloppy = text.to_lowercase().replace('-', " ").replace('0', "o");
        assert!(RecoveryKey::parse(&sloppy).unwrap().0.equals(key.0.expose()));
        let last = text.chars().last().unwrap();
        let mut wrong = text[..text.len() - 1].to_owned();
        wrong.push(if last == '7' { '8' } else { '7' });
        assert!(matches!(RecoveryKey::parse(&wrong), Err(RecoveryError::Mistyped)));
        assert!(matches!(RecoveryKey::parse("hello"), Err(RecoveryError::NotARecoveryKey)));
    }
}

//! Ed25519 signatures (RFC 8032), verified strictly.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::secret::Secret;
use crate::domain::id::InstanceId;

/// A signature that does not hold, or a key that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not hold")]
pub struct SignatureError;

/// An instance's signing key: the private half of its identity.
#[derive(Debug)]
pub struct IdentityKey {
    key: SigningKey,
}

impl IdentityKey {
    /// Draws a fresh key.
    pub fn random(rng: &mut dyn rand_core::CryptoRng) -> Self {
        Self::from_seed(&Secret::random(rng))
    }

    /// The key with this seed (RFC 8032 §5.1.5).
    pub fn from_seed(seed: &Secret<32>) -> Self {
        Self { key: SigningKey::from_bytes(seed.expose()) }
    }

    /// The seed, to be kept in a sealed place.
    pub fn seed(&self) -> Secret<32> {
        Secret::from_bytes(self.key.to_bytes())
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.key.verifying_key())
    }

    /// Signs `purpose` ‖ 0x00 ‖ `message`. `purpose` separates the kinds of things that are signed.
    pub fn sign(&self, purpose: &str, message: &[u8]) -> SignatureBytes {
        SignatureBytes(self.key.sign(&signed_bytes(purpose, message)).to_bytes())
    }

    /// Signs the message as it is, for a format that separates its purposes itself (RFC 9421).
    pub fn sign_raw(&self, message: &[u8]) -> SignatureBytes {
        SignatureBytes(self.key.sign(message).to_bytes())
    }
}

/// The public half of an identity. Text form: standard base64 of 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads a key.
    ///
    /// # Errors
    /// If the bytes are no point on the curve, or a weak one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SignatureError> {
        let bytes: &[u8; 32] = bytes.try_into().map_err(|_| SignatureError)?;
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| SignatureError)?;
        if key.is_weak() { Err(SignatureError) } else { Ok(Self(key)) }
    }

    /// The raw 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The id of the instance that owns this key.
    pub fn instance(&self) -> InstanceId {
        InstanceId::of_public_key(self.as_bytes())
    }

    /// Checks what [`IdentityKey::sign`] made.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify(&self, purpose: &str, message: &[u8], signature: &SignatureBytes) -> Result<(), SignatureError> {
        self.verify_raw(&signed_bytes(purpose, message), signature)
    }

    /// Checks what [`IdentityKey::sign_raw`] made.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify_raw(&self, message: &[u8], signature: &SignatureBytes) -> Result<(), SignatureError> {
        self.0.verify_strict(message, &Signature::from_bytes(&signature.0)).map_err(|_| SignatureError)
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({})", self.instance().short())
    }
}

/// 64 bytes of signature. Text form: standard base64.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SignatureBytes([u8; 64]);

impl SignatureBytes {
    /// Reads a signature.
    ///
    /// # Errors
    /// If it is not 64 bytes long.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SignatureError> {
        bytes.try_into().map(Self).map_err(|_| SignatureError)
    }

    /// The raw 64 bytes.
    pub fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl std::fmt::Debug for SignatureBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SignatureBytes({}…)", data_encoding::HEXLOWER.encode(&self.0[..4]))
    }
}

macro_rules! base64_text {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = SignatureError;

            fn try_from(text: String) -> Result<Self, SignatureError> {
                let bytes = data_encoding::BASE64.decode(text.as_bytes()).map_err(|_| SignatureError)?;
                Self::from_bytes(&bytes)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                data_encoding::BASE64.encode(value.as_bytes())
            }
        }
    };
}

base64_text!(PublicKey);
base64_text!(SignatureBytes);

fn signed_bytes(purpose: &str, message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(purpose.len() + 1 + message.len());
    bytes.extend_from_slice(purpose.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(message);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032 §7.1, test 1.
    #[test]
    fn rfc8032_test_1() {
        let hex = |t: &str| data_encoding::HEXLOWER.decode(t.as_bytes()).unwrap();
        let seed = hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
        let key = IdentityKey::from_seed(&Secret::from_slice(&seed).unwrap());
        assert_eq!(
            key.public().as_bytes().to_vec(),
            hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
        );
        let signature = key.sign_raw(b"");
        assert!(key.public().verify_raw(b"", &signature).is_ok());
        assert_eq!(
            signature.as_bytes()[..8],
            hex("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b")
                [..8]
        );
    }

    #[test]
    fn purposes_are_apart() {
        let key = IdentityKey::from_seed(&Secret::from_bytes([1; 32]));
        let signature = key.sign("a", b"message");
        assert!(key.public().verify("a", b"message", &signature).is_ok());
        assert!(key.public().verify("b", b"message", &signature).is_err());
        assert!(key.public().verify("a", b"messagf", &signature).is_err());
    }
}

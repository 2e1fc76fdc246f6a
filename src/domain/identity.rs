//! The identity document: how an instance shows itself. Signed by the key that it shows, so it needs no other witness.

use serde::{Deserialize, Serialize};

use super::crypto::keywrap::EnvelopeRecipient;
use super::crypto::sign::{IdentityKey, PublicKey, SignatureBytes, SignatureError};
use super::id::InstanceId;
use super::peer::is_plain_name;
use super::succession::{SignedStatement, Verified, renewed};

/// The format's name and version.
pub const FORMAT: &str = "bulbil-identity/1";
/// No document is longer, in bytes.
pub const MAX_BYTES: usize = 16 << 10;

const PURPOSE: &str = "bulbil/identity/1";

/// What an instance says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// [`FORMAT`].
    pub format: String,
    /// Hash of `identity_key`.
    pub instance: InstanceId,
    /// What its admin calls it.
    pub name: String,
    /// Ed25519 key that signs manifests, requests and this document.
    pub identity_key: PublicKey,
    /// RSA key for which envelopes are wrapped.
    pub envelope_key: EnvelopeRecipient,
    /// Counts the changes of `envelope_key`: the higher number wins.
    pub key_version: u64,
    /// How it went on under other keys: signed renewals, oldest first; absent if it never did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub renewals: Vec<SignedStatement>,
    /// What it can do beyond the first version of the protocol.
    #[serde(default)]
    pub features: Vec<String>,
}

/// The document as it is sent: the text that was signed, and the signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedIdentity {
    /// JSON text of an [`Identity`], verbatim.
    pub document: String,
    /// Ed25519 over `"bulbil/identity/1" 0x00` ‖ the text.
    pub signature: SignatureBytes,
}

/// What is wrong with an identity document.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Longer than [`MAX_BYTES`].
    #[error("the identity document is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Not JSON of this shape.
    #[error("this is not an identity document of the form {FORMAT}")]
    NotAnIdentity(#[source] serde_json::Error),
    /// Of a version to come.
    #[error("the identity document is of form {0}, which this program does not know: use a newer bulbil")]
    Unknown(String),
    /// Its name is not one that can be shown.
    #[error("the identity document's name is not made of letters, digits, '-', '_' and '.'")]
    BadName,
    /// Signed by another key than the one it shows, or changed.
    #[error("the identity document's signature does not hold")]
    Signature(#[from] SignatureError),
    /// Another instance than the expected one.
    #[error("this is not the instance that was expected: somebody else answers at this address")]
    SomebodyElse,
}

impl Identity {
    /// Encodes and signs.
    pub fn sign(&self, key: &IdentityKey) -> SignedIdentity {
        let document = serde_json::to_string(self).expect("an identity has no maps with odd keys");
        let signature = key.sign(PURPOSE, document.as_bytes());
        SignedIdentity { document, signature }
    }
}

impl Identity {
    /// Whether this is the instance `known`, under another key: its renewals lead from that one here.
    pub fn continues(&self, known: &InstanceId) -> bool {
        *known != self.instance && renewed(*known, &self.verified_renewals()) == self.instance
    }

    /// Its renewals, as far as they hold.
    pub fn verified_renewals(&self) -> Vec<Verified> {
        self.renewals.iter().filter_map(|signed| signed.verify().ok()).collect()
    }
}

impl SignedIdentity {
    /// Checks the signature and reads the document. Pass the instance that is expected, if one is.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn verify(&self, expected: Option<&InstanceId>) -> Result<Identity, IdentityError> {
        if self.document.len() > MAX_BYTES {
            return Err(IdentityError::TooLong);
        }
        let identity: Identity = serde_json::from_str(&self.document).map_err(IdentityError::NotAnIdentity)?;
        if identity.format != FORMAT {
            return Err(IdentityError::Unknown(identity.format));
        }
        identity.identity_key.verify(PURPOSE, self.document.as_bytes(), &self.signature)?;
        if identity.identity_key.instance() != identity.instance {
            return Err(SignatureError.into());
        }
        if !is_plain_name(&identity.name) {
            return Err(IdentityError::BadName);
        }
        match expected {
            Some(expected) if *expected != identity.instance => Err(IdentityError::SomebodyElse),
            _ => Ok(identity),
        }
    }
}

//! The three headers by which an Axon instance shows who asks: `X-Timestamp`, `X-Pubkey`, `X-Signature`.
//!
//! Signed is the time alone, hashed twice: neither path nor host nor body. Whoever sees the headers can use them for five
//! minutes on any path of any instance that trusts the key, so a receiver must take them as a name, not as an order.

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use super::key::PublicKey;
use super::private::PrivateKey;
use super::{moment, pss};

/// Header: when it was signed, ISO 8601.
pub const TIMESTAMP: &str = "x-timestamp";
/// Header: the sender's public key, standard base64 of its PEM text.
pub const PUBKEY: &str = "x-pubkey";
/// Header: the signature, standard base64.
pub const SIGNATURE: &str = "x-signature";
/// How far the two clocks may be apart, both ways.
pub const MAX_SKEW: SignedDuration = SignedDuration::from_mins(5);
/// Longest header value that is looked at, in bytes.
const MAX_HEADER: usize = 8 << 10;

/// What is wrong with a request's headers. Axon answers all of these alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// The key's header is not the base64 of a usable RSA public key.
    #[error("x-pubkey is not the base64 of an RSA public key of 2048 to 4096 bits")]
    Pubkey,
    /// The time's header cannot be read.
    #[error("x-timestamp is not a date and time in ISO 8601 form")]
    Timestamp,
    /// The signature's header is not base64.
    #[error("x-signature is not standard base64")]
    Signature,
    /// Signed over [`MAX_SKEW`] ago, or as far ahead.
    #[error("the request was signed over five minutes ago or ahead: compare the clocks of both machines")]
    OutOfTime,
    /// The signature is not the key's over this time.
    #[error("the signature is not by the key that the request shows")]
    DoesNotVerify,
}

/// The headers to send with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headers {
    /// `X-Timestamp`.
    pub timestamp: String,
    /// `X-Pubkey`.
    pub pubkey: String,
    /// `X-Signature`.
    pub signature: String,
}

impl Headers {
    /// Signs for `now`. A private operation: never in a request handler (R4).
    pub fn sign(key: &PrivateKey, now: Timestamp) -> Self {
        let timestamp = moment::format(now);
        let signature = key.sign(&Sha256::digest(timestamp.as_bytes()));
        Self {
            timestamp,
            pubkey: data_encoding::BASE64.encode(key.public().as_str().as_bytes()),
            signature: data_encoding::BASE64.encode(&signature),
        }
    }
}

/// What a request's headers claim; nothing of it is believed before [`Claim::verify`].
#[derive(Debug, Clone)]
pub struct Claim {
    timestamp: String,
    signed_at: Timestamp,
    key: PublicKey,
    signature: Vec<u8>,
}

impl Claim {
    /// Reads the three header values.
    ///
    /// # Errors
    /// [`HeaderFault::Pubkey`], [`HeaderFault::Timestamp`], [`HeaderFault::Signature`].
    pub fn parse(timestamp: &str, pubkey: &str, signature: &str) -> Result<Self, HeaderFault> {
        if pubkey.len() > MAX_HEADER {
            return Err(HeaderFault::Pubkey);
        }
        let text = data_encoding::BASE64.decode(pubkey.trim().as_bytes()).map_err(|_| HeaderFault::Pubkey)?;
        let text = std::str::from_utf8(&text).map_err(|_| HeaderFault::Pubkey)?;
        let key = PublicKey::parse(text).map_err(|_| HeaderFault::Pubkey)?;
        let signed_at = moment::parse(timestamp).ok_or(HeaderFault::Timestamp)?;
        if signature.len() > MAX_HEADER {
            return Err(HeaderFault::Signature);
        }
        let signature =
            data_encoding::BASE64.decode(signature.trim().as_bytes()).map_err(|_| HeaderFault::Signature)?;
        Ok(Self { timestamp: timestamp.to_owned(), signed_at, key, signature })
    }

    /// The key that the request shows: look it up among the trusted ones first, which is cheaper than verifying.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Names these headers: whoever sends the same ones again has the same name, however the base64 is written.
    pub fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for part in [self.key.as_str().as_bytes(), self.timestamp.as_bytes(), &self.signature] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }

    /// Checks time and signature: then the key that it shows has signed.
    ///
    /// # Errors
    /// [`HeaderFault::OutOfTime`], [`HeaderFault::DoesNotVerify`].
    pub fn verify(&self, now: Timestamp) -> Result<(), HeaderFault> {
        if now.duration_since(self.signed_at).abs() > MAX_SKEW {
            return Err(HeaderFault::OutOfTime);
        }
        let digest = Sha256::digest(self.timestamp.as_bytes());
        if pss::verifies(&self.key, &digest, &self.signature) { Ok(()) } else { Err(HeaderFault::DoesNotVerify) }
    }
}

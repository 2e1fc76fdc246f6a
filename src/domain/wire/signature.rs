//! Signed requests and signed answers: HTTP message signatures (RFC 9421) in one fixed profile.
//!
//! A request covers, in this order, `"@method" "@authority" "@path" "@query" "content-digest" "bulbil-instance"`. The
//! header `bulbil-instance` names the *addressee*, so that a request cannot be turned to another peer; the content digest
//! (RFC 9530, SHA-256) is there for an empty body too. Parameters: created, expires (at most [`MAX_LIFETIME_SECONDS`] later),
//! nonce (16 random bytes), keyid (the caller's instance id), alg, tag. An answer covers `"@status" "content-digest"
//! "bulbil-nonce"`; the last repeats the request's nonce, so that an old answer cannot stand in for a new one.
//!
//! There is one label (`sig1`), one order, one spelling. A receiver goes through three steps: [`RequestClaim::parse`] reads
//! what is claimed, [`RequestClaim::verify`] checks it with the key that was looked up by the caller's id, and
//! [`VerifiedHead::check_body`] compares the body, which need not be read for a caller whose signature does not hold.
//! Remembering nonces is the receiver's: see [`VerifiedRequest::remember_nonce_until`] (R10).

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::structured::{Walk, byte_sequence, fixed_base64, is_printable, write_byte_sequence};
use crate::domain::crypto::sign::{IdentityKey, PublicKey, SignatureBytes};
use crate::domain::id::InstanceId;

/// Header: SHA-256 of the body (RFC 9530).
pub const CONTENT_DIGEST: &str = "content-digest";
/// Header: what is signed and how (RFC 9421 §4.1).
pub const SIGNATURE_INPUT: &str = "signature-input";
/// Header: the signature (RFC 9421 §4.2).
pub const SIGNATURE: &str = "signature";
/// Request header: the instance id of the addressee, 64 hex digits.
pub const ADDRESSEE: &str = "bulbil-instance";
/// Answer header: the request's nonce, standard base64.
pub const ANSWERED_NONCE: &str = "bulbil-nonce";

/// Longest time between `created` and `expires`.
pub const MAX_LIFETIME_SECONDS: i64 = 300;
/// How far the clocks of two peers may be apart, both ways.
pub const MAX_SKEW_SECONDS: i64 = 300;
/// How long a request is good for if nothing else is said.
pub const LIFETIME_SECONDS: i64 = 120;

const REQUEST_COVERS: &str = r#"("@method" "@authority" "@path" "@query" "content-digest" "bulbil-instance")"#;
const REQUEST_TAG: &str = "bulbil-peer-1";
const ANSWER_COVERS: &str = r#"("@status" "content-digest" "bulbil-nonce")"#;
const ANSWER_TAG: &str = "bulbil-peer-1-response";
const LABEL: &str = "sig1";
/// Longest authority, path or query.
const MAX_COMPONENT: usize = 4096;
/// Stands in for the key of a caller whom nobody knows (RFC 8032 §7.1, test 1).
const NOBODY: [u8; 32] = [
    0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1, 0x72,
    0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
];

/// 16 random bytes that make a request different from all others.
pub type Nonce = [u8; 16];

/// What is wrong with a signed request or answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    /// A header is missing, doubled, too long or not in the one spelling.
    #[error("it is not signed in the form {REQUEST_TAG}")]
    Malformed,
    /// It is meant for somebody else.
    #[error("it is addressed to another instance")]
    OtherAddressee,
    /// The signature does not hold, or nobody knows the signer: the two look the same.
    #[error("its signature does not hold")]
    BadSignature,
    /// The body is not the one that was signed.
    #[error("its body is not the one that was signed")]
    BadBody,
    /// Signed by the right key, but for another time.
    #[error("it was signed at {their_clock}, too far from now: one of the two clocks is wrong, or it is very late")]
    ClockSkew {
        /// What the signer's clock showed.
        their_clock: Timestamp,
    },
    /// It answers another request.
    #[error("it answers another request")]
    OtherRequest,
}

/// What a request's signature covers, body and headers aside.
#[derive(Debug, Clone, Copy)]
pub struct RequestParts<'a> {
    /// `GET`, `POST` …
    pub method: &'a str,
    /// The `Host` header: address and port as the caller sees them.
    pub authority: &'a str,
    /// The path, as it is sent.
    pub path: &'a str,
    /// The query, as it is sent, without its question mark.
    pub query: Option<&'a str>,
    /// Who it is for.
    pub addressee: &'a InstanceId,
}

/// The headers that make a request a signed one.
#[derive(Debug, Clone, Copy)]
pub struct RequestHeaders<'a> {
    /// [`CONTENT_DIGEST`].
    pub content_digest: &'a str,
    /// [`ADDRESSEE`].
    pub addressee: &'a str,
    /// [`SIGNATURE_INPUT`].
    pub signature_input: &'a str,
    /// [`SIGNATURE`].
    pub signature: &'a str,
}

/// Headers to add to a request or an answer: names and values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHeaders {
    values: [(&'static str, String); 4],
}

impl SignedHeaders {
    /// Names (lower case) and values.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.values.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

/// SHA-256 of a body in the form of the `content-digest` header.
pub fn content_digest(body: &[u8]) -> String {
    write_byte_sequence("sha-256", &Sha256::digest(body))
}

/// Signs a request: good from `now` for [`LIFETIME_SECONDS`]. `nonce` must be fresh and random.
pub fn sign_request(
    parts: &RequestParts<'_>,
    body: &[u8],
    key: &IdentityKey,
    now: Timestamp,
    nonce: &Nonce,
) -> SignedHeaders {
    let params = format!(
        "{REQUEST_COVERS};created={};expires={};nonce=\"{}\";keyid=\"{}\";alg=\"ed25519\";tag=\"{REQUEST_TAG}\"",
        now.as_second(),
        now.as_second() + LIFETIME_SECONDS,
        data_encoding::BASE64.encode(nonce),
        key.public().instance(),
    );
    let digest = content_digest(body);
    let signature = key.sign_raw(request_base(parts, &digest, &params).as_bytes());
    SignedHeaders {
        values: [
            (CONTENT_DIGEST, digest),
            (ADDRESSEE, parts.addressee.to_string()),
            (SIGNATURE_INPUT, format!("{LABEL}={params}")),
            (SIGNATURE, write_byte_sequence(LABEL, signature.as_bytes())),
        ],
    }
}

/// What a request claims. Nothing of it is true yet.
#[derive(Debug, Clone)]
pub struct RequestClaim {
    caller: InstanceId,
    nonce: Nonce,
    created: Timestamp,
    expires: Timestamp,
    digest: [u8; 32],
    base: String,
    signature: SignatureBytes,
}

impl RequestClaim {
    /// Reads the claim of a request that arrived at the instance `parts.addressee`.
    ///
    /// # Errors
    /// [`SignatureFault::Malformed`], [`SignatureFault::OtherAddressee`].
    pub fn parse(headers: &RequestHeaders<'_>, parts: &RequestParts<'_>) -> Result<Self, SignatureFault> {
        let components = [parts.method, parts.authority, parts.path, parts.query.unwrap_or_default()];
        if components.iter().any(|text| text.len() > MAX_COMPONENT || !is_printable(text)) {
            return Err(SignatureFault::Malformed);
        }
        let addressee: InstanceId = headers.addressee.parse().map_err(|_| SignatureFault::Malformed)?;
        let claim = Self::read(headers, parts).ok_or(SignatureFault::Malformed)?;
        if addressee == *parts.addressee { Ok(claim) } else { Err(SignatureFault::OtherAddressee) }
    }

    fn read(headers: &RequestHeaders<'_>, parts: &RequestParts<'_>) -> Option<Self> {
        let mut walk = Walk::along(headers.signature_input)?;
        walk.over(LABEL)?;
        walk.over("=")?;
        let params = walk.rest();
        walk.over(REQUEST_COVERS)?;
        walk.over(";created=")?;
        let created = walk.integer()?;
        walk.over(";expires=")?;
        let expires = walk.integer()?;
        walk.over(";nonce=\"")?;
        let nonce = fixed_base64(walk.until('"')?)?;
        walk.over(";keyid=\"")?;
        let caller = walk.until('"')?.parse().ok()?;
        walk.over(";alg=\"ed25519\";tag=\"")?;
        walk.over(REQUEST_TAG)?;
        walk.over("\"")?;
        walk.end()?;
        if !(1..=MAX_LIFETIME_SECONDS).contains(&(expires - created)) {
            return None;
        }
        Some(Self {
            caller,
            nonce,
            created: Timestamp::from_second(created).ok()?,
            expires: Timestamp::from_second(expires).ok()?,
            digest: byte_sequence("sha-256", headers.content_digest)?,
            base: request_base(parts, headers.content_digest, params),
            signature: read_signature(headers.signature)?,
        })
    }

    /// Who it claims to be from: whose key to look up.
    pub fn caller(&self) -> &InstanceId {
        &self.caller
    }

    /// The nonce, which an answer repeats, whatever it says.
    pub fn nonce(&self) -> &Nonce {
        &self.nonce
    }

    /// Checks the signature with the caller's key, `None` if nobody knows the caller: that takes as long, and looks the same.
    ///
    /// # Errors
    /// [`SignatureFault::BadSignature`]; [`SignatureFault::ClockSkew`] only if the signature holds.
    pub fn verify(self, key: Option<&PublicKey>, now: Timestamp) -> Result<VerifiedHead, SignatureFault> {
        let nobody = PublicKey::from_bytes(&NOBODY).expect("the key of RFC 8032's first test is a key");
        let holds = key.unwrap_or(&nobody).verify_raw(self.base.as_bytes(), &self.signature).is_ok();
        if !holds || key.is_none_or(|key| key.instance() != self.caller) {
            return Err(SignatureFault::BadSignature);
        }
        let skew = SignedDuration::from_secs(MAX_SKEW_SECONDS);
        if self.created.duration_since(now) > skew || now.duration_since(self.expires) > skew {
            return Err(SignatureFault::ClockSkew { their_clock: self.created });
        }
        Ok(VerifiedHead { caller: self.caller, nonce: self.nonce, expires: self.expires, digest: self.digest })
    }
}

/// A request of which everything but the body is checked.
#[derive(Debug, Clone)]
pub struct VerifiedHead {
    caller: InstanceId,
    nonce: Nonce,
    expires: Timestamp,
    digest: [u8; 32],
}

impl VerifiedHead {
    /// Who signed it.
    pub fn caller(&self) -> &InstanceId {
        &self.caller
    }

    /// Compares the body with the digest that was signed.
    ///
    /// # Errors
    /// [`SignatureFault::BadBody`].
    pub fn check_body(self, body: &[u8]) -> Result<VerifiedRequest, SignatureFault> {
        if !bool::from(self.digest.ct_eq(Sha256::digest(body).as_slice())) {
            return Err(SignatureFault::BadBody);
        }
        let remember = self.expires.checked_add(SignedDuration::from_secs(MAX_SKEW_SECONDS + 1));
        let remember_nonce_until = remember.unwrap_or(Timestamp::MAX);
        Ok(VerifiedRequest { caller: self.caller, nonce: self.nonce, expires: self.expires, remember_nonce_until })
    }
}

/// A request whose every covered part is as the caller signed it. It may still be a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedRequest {
    /// Who signed it.
    pub caller: InstanceId,
    /// The nonce: seen before means replayed.
    pub nonce: Nonce,
    /// After this moment the caller does not stand by it.
    pub expires: Timestamp,
    /// As long as this the nonce must be remembered: afterwards the request is refused for its age.
    pub remember_nonce_until: Timestamp,
}

fn request_base(parts: &RequestParts<'_>, digest: &str, params: &str) -> String {
    let authority = parts.authority.to_ascii_lowercase();
    let authority = authority.strip_suffix(":80").unwrap_or(&authority);
    format!(
        "\"@method\": {}\n\"@authority\": {authority}\n\"@path\": {}\n\"@query\": ?{}\n\"{CONTENT_DIGEST}\": {digest}\n\
         \"{ADDRESSEE}\": {}\n\"@signature-params\": {params}",
        parts.method,
        parts.path,
        parts.query.unwrap_or_default(),
        parts.addressee,
    )
}

fn read_signature(text: &str) -> Option<SignatureBytes> {
    SignatureBytes::from_bytes(&byte_sequence::<64>(LABEL, text)?).ok()
}

/// The headers that make an answer a signed one.
#[derive(Debug, Clone, Copy)]
pub struct AnswerHeaders<'a> {
    /// [`CONTENT_DIGEST`].
    pub content_digest: &'a str,
    /// [`ANSWERED_NONCE`].
    pub nonce: &'a str,
    /// [`SIGNATURE_INPUT`].
    pub signature_input: &'a str,
    /// [`SIGNATURE`].
    pub signature: &'a str,
}

/// Signs the answer to the request with this nonce.
pub fn sign_answer(status: u16, body: &[u8], key: &IdentityKey, now: Timestamp, nonce: &Nonce) -> SignedHeaders {
    let params = format!(
        "{ANSWER_COVERS};created={};keyid=\"{}\";alg=\"ed25519\";tag=\"{ANSWER_TAG}\"",
        now.as_second(),
        key.public().instance(),
    );
    let (digest, nonce) = (content_digest(body), data_encoding::BASE64.encode(nonce));
    let signature = key.sign_raw(answer_base(status, &digest, &nonce, &params).as_bytes());
    SignedHeaders {
        values: [
            (CONTENT_DIGEST, digest),
            (ANSWERED_NONCE, nonce),
            (SIGNATURE_INPUT, format!("{LABEL}={params}")),
            (SIGNATURE, write_byte_sequence(LABEL, signature.as_bytes())),
        ],
    }
}

/// Checks an answer: that `server` signed it, for the request with this nonce, with this status and this body.
/// Returns what the server's clock showed.
///
/// # Errors
/// [`SignatureFault`]; never [`SignatureFault::ClockSkew`], because the nonce already says that it is fresh.
pub fn verify_answer(
    headers: &AnswerHeaders<'_>,
    status: u16,
    body: &[u8],
    server: &PublicKey,
    nonce: &Nonce,
) -> Result<Timestamp, SignatureFault> {
    let claim = AnswerClaim::read(headers, status).ok_or(SignatureFault::Malformed)?;
    if claim.nonce != *nonce {
        return Err(SignatureFault::OtherRequest);
    }
    if claim.signer != server.instance() || server.verify_raw(claim.base.as_bytes(), &claim.signature).is_err() {
        return Err(SignatureFault::BadSignature);
    }
    if !bool::from(claim.digest.ct_eq(Sha256::digest(body).as_slice())) {
        return Err(SignatureFault::BadBody);
    }
    Ok(claim.created)
}

struct AnswerClaim {
    signer: InstanceId,
    nonce: Nonce,
    created: Timestamp,
    digest: [u8; 32],
    base: String,
    signature: SignatureBytes,
}

impl AnswerClaim {
    fn read(headers: &AnswerHeaders<'_>, status: u16) -> Option<Self> {
        let mut walk = Walk::along(headers.signature_input)?;
        walk.over(LABEL)?;
        walk.over("=")?;
        let params = walk.rest();
        walk.over(ANSWER_COVERS)?;
        walk.over(";created=")?;
        let created = Timestamp::from_second(walk.integer()?).ok()?;
        walk.over(";keyid=\"")?;
        let signer = walk.until('"')?.parse().ok()?;
        walk.over(";alg=\"ed25519\";tag=\"")?;
        walk.over(ANSWER_TAG)?;
        walk.over("\"")?;
        walk.end()?;
        Some(Self {
            signer,
            nonce: fixed_base64(headers.nonce)?,
            created,
            digest: byte_sequence("sha-256", headers.content_digest)?,
            base: answer_base(status, headers.content_digest, headers.nonce, params),
            signature: read_signature(headers.signature)?,
        })
    }
}

fn answer_base(status: u16, digest: &str, nonce: &str, params: &str) -> String {
    format!(
        "\"@status\": {status}\n\"{CONTENT_DIGEST}\": {digest}\n\"{ANSWERED_NONCE}\": {nonce}\n\
         \"@signature-params\": {params}"
    )
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;

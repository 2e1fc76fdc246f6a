//! JSON bodies of `/peer/v1` and the limits of each call.
//!
//! Readers ignore fields they do not know. A page of the feed is [`Page`](crate::domain::feed::Page), an identity document is
//! [`SignedIdentity`].

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::structured::fixed_base64;
use crate::domain::chunk::Padding;
use crate::domain::envelope::Envelope;
use crate::domain::feed::{Change, Cursor};
use crate::domain::id::{ChunkId, CollectionId, FeedId, InviteId, ManifestId};
use crate::domain::identity::SignedIdentity;
use crate::domain::peer::Role;
use crate::domain::proof::{ChallengeId, Digest, Sample};
use crate::domain::reconcile::{Salt, SaltedId};
use crate::domain::succession::SignedStatement;

/// Every path begins with this.
pub const BASE_PATH: &str = "/peer/v1";
/// Most ids in one call.
pub const MAX_IDS: usize = 1000;
/// Longest request body, in bytes.
pub const MAX_REQUEST_BYTES: usize = 128 << 10;
/// Longest answer that is no stream, in bytes. A page of the feed is the longest.
pub const MAX_ANSWER_BYTES: usize = 24 << 20;
/// Longest time a call of `/changes` waits for something to happen.
pub const MAX_WAIT_SECONDS: u64 = 60;
/// Most collections in one answer.
pub const MAX_COLLECTIONS: usize = 10_000;

/// Body and answer of `POST /identity`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct IdentityMessage {
    /// The sender's identity document.
    #[schema(value_type = Object)]
    pub identity: SignedIdentity,
}

/// Body and answer of `POST /succession`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StatementsMessage {
    /// What is known, at most [`MAX_STATEMENTS`](crate::domain::succession::MAX_STATEMENTS).
    #[schema(max_items = 256)]
    pub statements: Vec<SignedStatement>,
}

/// Body of `POST /envelopes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EnvelopesRequest {
    /// Whose envelopes are wanted, at most [`MAX_IDS`].
    #[schema(value_type = Vec<String>, max_items = 1000)]
    pub manifests: Vec<ManifestId>,
}

/// Answer of `POST /envelopes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EnvelopesAnswer {
    /// One for each manifest that was asked for, in the same order.
    pub envelopes: Vec<EnvelopeAnswer>,
}

/// What became of one manifest's envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EnvelopeAnswer {
    /// The manifest.
    #[schema(value_type = String)]
    pub id: ManifestId,
    /// Whether there is an envelope.
    pub status: EnvelopeStatus,
    /// The envelope, if there is one, for the caller's current key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub envelope: Option<Envelope>,
}

/// Whether there is an envelope. What may not be seen, does not exist or has no key here is `absent`: they look the same (R12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EnvelopeStatus {
    /// There it is.
    Ok,
    /// None for this caller.
    #[serde(other)]
    Absent,
}

/// Body of `POST /reconcile`, in binary: the salt (16 bytes), then the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReconcileRequest {
    /// Drawn for this reconciliation.
    pub salt: Salt,
    /// The message, at most 48 KiB.
    pub message: Vec<u8>,
}

impl ReconcileRequest {
    /// Encodes.
    pub fn encode(&self) -> Vec<u8> {
        [self.salt.as_bytes().as_slice(), &self.message].concat()
    }

    /// Parses; `None` if it is too short.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (salt, message) = bytes.split_first_chunk::<16>()?;
        Some(Self { salt: Salt::from_bytes(*salt), message: message.to_vec() })
    }
}

/// Answer of `POST /reconcile`, in binary: the cursor (feed id, 16 bytes; number, 8 bytes, big-endian), then the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReconcileAnswer {
    /// Where the feed stood before the set was read: who has taken all in may go on from here.
    pub cursor: Cursor,
    /// The answering message.
    pub message: Vec<u8>,
}

impl ReconcileAnswer {
    /// Encodes.
    pub fn encode(&self) -> Vec<u8> {
        let Cursor { feed, position } = self.cursor;
        [feed.as_bytes().as_slice(), &position.to_be_bytes(), &self.message].concat()
    }

    /// Parses; `None` if it is too short, or the number is none.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (feed, rest) = bytes.split_first_chunk::<16>()?;
        let (position, message) = rest.split_first_chunk::<8>()?;
        let position = Some(u64::from_be_bytes(*position)).filter(|position| *position <= i64::MAX as u64)?;
        let feed = FeedId::from_slice(feed).ok()?;
        Some(Self { cursor: Cursor { feed, position }, message: message.to_vec() })
    }
}

/// Body of `POST /manifests`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ManifestsRequest {
    /// The salt of the reconciliation that told of them.
    #[schema(value_type = String)]
    pub salt: Salt,
    /// Which manifests, at most [`MAX_IDS`].
    #[schema(value_type = Vec<String>, max_items = 1000)]
    pub ids: Vec<SaltedId>,
}

/// Answer of `POST /manifests`: those that there are, as far as they fit. The rest may be asked for again.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ManifestsAnswer {
    /// Manifests with their signatures, as in a page of the feed.
    #[schema(value_type = Vec<Object>)]
    pub changes: Vec<Change>,
}

/// Body of `POST /chunks` and of `POST /have`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ChunksRequest {
    /// Which chunks or segments, at most [`MAX_IDS`].
    #[schema(value_type = Vec<String>, max_items = 1000)]
    pub ids: Vec<ChunkId>,
}

/// Answer of `POST /have`: one bit for each id that was asked for, the first one in the highest bit of the first byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HaveAnswer {
    /// Standard base64 of the bits; unused ones are 0.
    pub have: String,
}

impl HaveAnswer {
    /// Packs the bits.
    pub fn pack(bits: &[bool]) -> Self {
        let mut bytes = vec![0u8; bits.len().div_ceil(8)];
        for (n, _) in bits.iter().enumerate().filter(|(_, bit)| **bit) {
            bytes[n / 8] |= 0x80 >> (n % 8);
        }
        Self { have: data_encoding::BASE64.encode(&bytes) }
    }

    /// Unpacks the answer to a request for `asked` ids; `None` if it has another length.
    pub fn unpack(&self, asked: usize) -> Option<Vec<bool>> {
        let bytes = data_encoding::BASE64.decode(self.have.as_bytes()).ok()?;
        (bytes.len() == asked.div_ceil(8)).then(|| (0..asked).map(|n| bytes[n / 8] & (0x80 >> (n % 8)) != 0).collect())
    }
}

/// Body of `POST /challenge`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ChallengeRequest {
    /// Snapshots that the caller has with all their chunks, at most [`MAX_CLAIMS`](crate::domain::proof::MAX_CLAIMS).
    #[schema(value_type = Vec<String>, max_items = 50)]
    pub claims: Vec<ManifestId>,
}

/// Answer of `POST /challenge`: what is to be proved. Good for ten minutes, and once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ChallengeAnswer {
    /// Which challenge.
    #[schema(value_type = String)]
    pub challenge: ChallengeId,
    /// One for each claim that is taken up, in the order of the claims.
    pub claims: Vec<Sample>,
}

/// Body of `POST /proof`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProofRequest {
    /// Which challenge.
    #[schema(value_type = String)]
    pub challenge: ChallengeId,
    /// For each claim of the challenge the digests of its chunks, in order; nothing where the caller cannot make one.
    #[schema(value_type = Vec<Vec<Option<String>>>, max_items = 50)]
    pub digests: Vec<Vec<Option<Digest>>>,
}

/// Answer of `POST /proof`: heard. What came of it stays with who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProofAnswer {}

/// Answer of `GET /config`: what of a configuration may be cloned. Never secrets, never paths of the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ConfigAnswer {
    /// The collections that the caller may see, by id.
    pub collections: Vec<CollectionConfig>,
    /// What the caller may do with them.
    #[schema(value_type = String)]
    pub role: Role,
    /// Whether the caller may serve them to its own peers.
    pub onward: bool,
}

/// A collection as a caller may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CollectionConfig {
    /// The collection.
    #[schema(value_type = String)]
    pub id: CollectionId,
    /// Its name; not for a mirror, to whom names are sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether the answering instance makes its snapshots, or only keeps them.
    pub own: bool,
    /// How its source is backed up; only from who makes its snapshots, and not for a mirror.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<CollectionPolicy>,
}

/// How a collection is backed up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CollectionPolicy {
    /// Patterns of what is left out.
    pub excludes: Vec<String>,
    /// Compression level (zstd).
    pub level: i32,
    /// Padding of chunks.
    #[schema(value_type = String)]
    pub padding: Padding,
}

/// Body of `POST /pair`. The request is signed with the key that `identity` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PairRequest {
    /// The invite and the proof that its secret is known; without it an admin decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invite: Option<PairInvite>,
    /// Who wants to join.
    #[schema(value_type = Object)]
    pub identity: SignedIdentity,
}

/// An invite as it is redeemed: its secret stays where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PairInvite {
    /// Which invite.
    #[schema(value_type = String)]
    pub id: InviteId,
    /// Bound to both instances.
    #[schema(value_type = String)]
    pub proof: Proof,
}

/// Answer of `POST /pair`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PairAnswer {
    /// Who answers.
    #[schema(value_type = Object)]
    pub identity: SignedIdentity,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: PairOutcome,
}

/// What came of pairing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum PairOutcome {
    /// An admin will compare the fingerprint words and decide.
    Pending,
    /// The invite was good, or an admin has said yes.
    Trusted {
        /// That the answering instance knows the secret, too; if an invite was shown.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        proof: Option<Proof>,
        /// What was granted.
        rights: RightsSummary,
    },
}

/// What a peer was granted, for it to show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RightsSummary {
    /// To read or only to keep.
    #[schema(value_type = String)]
    pub role: Role,
    /// Whether it may serve what it gets to its own peers.
    pub onward: bool,
    /// Only snapshots from this moment on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub from: Option<Timestamp>,
    /// The collections that exist now.
    pub collections: Vec<CollectionName>,
}

/// A collection, and what it is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CollectionName {
    /// The collection.
    #[schema(value_type = String)]
    pub id: CollectionId,
    /// Its name; not for a mirror.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// 32 bytes that show that an invite's secret is known. Text form: standard base64. Compared in constant time.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Proof([u8; 32]);

impl Proof {
    /// Takes over what an invite's secret computed.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl PartialEq for Proof {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Proof {}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Proof(…)")
    }
}

impl TryFrom<String> for Proof {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        fixed_base64(&text).map(Self).ok_or("a proof is the base64 of 32 bytes")
    }
}

impl From<Proof> for String {
    fn from(proof: Proof) -> String {
        data_encoding::BASE64.encode(&proof.0)
    }
}

/// A problem document (RFC 9457), as far as a caller acts on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProblemDocument {
    /// `urn:bulbil:problem:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// A sentence for people.
    pub title: String,
    /// The status code.
    pub status: u16,
    /// What is wrong, for programs; never changes its meaning.
    pub code: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What the answering clock shows, when clocks are the problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub now: Option<Timestamp>,
    /// After how many seconds to ask again, if later is better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_round_trip() {
        for len in [0usize, 1, 7, 8, 9, 1000] {
            let bits: Vec<bool> = (0..len).map(|n| n % 3 == 0).collect();
            assert_eq!(HaveAnswer::pack(&bits).unpack(len), Some(bits));
        }
        assert_eq!(HaveAnswer::pack(&[true]).have, "gA==");
        assert_eq!(HaveAnswer::pack(&[true; 8]).unpack(9), None);
        assert_eq!(HaveAnswer { have: "?".to_owned() }.unpack(1), None);
    }

    #[test]
    fn a_full_request_fits_its_limit() {
        let ids = vec![ChunkId::of(b""); MAX_IDS];
        assert!(serde_json::to_vec(&ChunksRequest { ids }).unwrap().len() < MAX_REQUEST_BYTES);
    }

    #[test]
    fn messages_of_a_reconciliation_are_read_as_they_were_written_or_not_at_all() {
        let salt = Salt::from_bytes([7; 16]);
        let request = ReconcileRequest { salt, message: vec![1, 2, 3] };
        assert_eq!(ReconcileRequest::parse(&request.encode()), Some(request));
        let cursor = Cursor { feed: FeedId::from_slice(&[9; 16]).unwrap(), position: 77 };
        let answer = ReconcileAnswer { cursor, message: vec![] };
        assert_eq!(ReconcileAnswer::parse(&answer.encode()), Some(answer));
        assert_eq!((ReconcileRequest::parse(&[0; 15]), ReconcileAnswer::parse(&[0; 23])), (None, None));
        assert_eq!(ReconcileAnswer::parse(&[0xff; 30]), None);
    }

    #[test]
    fn an_unknown_status_of_a_later_version_is_no_envelope() {
        let status: EnvelopeStatus = serde_json::from_str("\"later\"").unwrap();
        assert_eq!(status, EnvelopeStatus::Absent);
    }
}

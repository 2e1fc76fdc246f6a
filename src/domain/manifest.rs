//! The manifest: the JSON document that describes a snapshot; immutable, signed, named by its hash.
//!
//! Its bytes are kept and sent verbatim; readers ignore fields they do not know. The public part is what a blind mirror
//! needs to verify, repair and serve; everything else is in the private part, sealed under the snapshot's key.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::chunk::Padding;
use super::crypto::aead::OpenKey;
use super::crypto::sign::{IdentityKey, PublicKey, SignatureBytes, SignatureError};
use super::envelope::{Envelope, SnapshotKey};
use super::escrow::Fingerprint;
use super::id::{ChunkId, CollectionId, InstanceId, ManifestId};
use super::metadata::codec::CodecError;
use super::metadata::node::Node;
use super::segment::Segment;

/// The format's name and version.
pub const FORMAT: &str = "bulbil-manifest/1";
/// The algorithms of this version, spelled out so that a later one can be told apart.
pub const SUITE: &str = "SHA256+A256GCM+HKDF-SHA256+BLAKE3+ZSTD";
/// The sidecar's format.
pub const SIDECAR_FORMAT: &str = "bulbil-sidecar/1";
/// No manifest is longer, in bytes.
pub const MAX_BYTES: usize = 4 << 20;
/// No sidecar is longer, in bytes.
pub const MAX_SIDECAR_BYTES: usize = 1 << 20;

const PURPOSE: &str = "bulbil/manifest/1";

/// What everybody may see of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// [`SUITE`].
    pub suite: String,
    /// Who made it, and signed it.
    pub instance: InstanceId,
    /// Which collection.
    pub collection: CollectionId,
    /// Counts the snapshots of the collection, from 1.
    pub sequence: u64,
    /// The snapshot on which this one was built.
    pub parent: Option<ManifestId>,
    /// When it was begun.
    pub created_at: Timestamp,
    /// An interrupted backup: what was reached is in it, the rest is not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// Commitment to the snapshot's key (R5), 64 hex digits.
    pub commitment: String,
    /// The lists of chunks, in order.
    pub segments: Vec<SegmentSummary>,
    /// Number of chunks in all segments.
    pub chunks: u64,
    /// Their stored bytes.
    pub chunk_bytes: u64,
    /// The sealed private part, standard base64.
    pub private: String,
}

/// A segment as a manifest names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentSummary {
    /// The segment.
    pub id: ChunkId,
    /// How many chunks it lists.
    pub chunks: u32,
    /// Their stored bytes.
    pub bytes: u64,
    /// Its chunks may be in other collections, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
}

impl From<&Segment> for SegmentSummary {
    fn from(segment: &Segment) -> Self {
        let (chunks, bytes) = (segment.entries.len() as u32, segment.chunk_bytes());
        Self { id: segment.id, chunks, bytes, shared: segment.shared_in.is_some() }
    }
}

/// What only a reader sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivatePart {
    /// The collection's name.
    pub name: String,
    /// The machine on which it was made.
    pub host: String,
    /// The roots, in the order of their names in the tree.
    pub roots: Vec<RootRecord>,
    /// What was left out, as it was configured.
    pub excludes: Vec<String>,
    /// Counts and sizes.
    pub statistics: Statistics,
    /// Padding of its chunks.
    #[serde(default)]
    pub padding: Padding,
    /// How it was taken. Snapshots of before do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<Capture>,
    /// The encoded root node of the metadata tree, standard base64.
    pub tree: String,
}

/// How a snapshot was taken, and what was found wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    /// What kept the data still.
    pub mode: CaptureMode,
    /// The preset by whose rules: `quilltap/1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// How often the folders were gone through until what was read fitted together.
    #[serde(default)]
    pub passes: u32,
    /// What does not hold of the content, one sentence each, the first few. Empty: it fits together, as far as the rules say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inconsistent: Vec<String>,
    /// What is much less than in the snapshot that it was compared with, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shrunk: Vec<String>,
    /// What could not be read, or not as it stood at one moment, one sentence each, the first few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
    /// The application's secrets that were in use, which are not in the data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretMark>,
    /// The old archive that it was made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<ArchiveOrigin>,
}

/// An old archive that became a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveOrigin {
    /// The name of its file.
    pub name: String,
    /// BLAKE3 of that file, 64 hex digits: the same archive is taken once.
    pub blake3: String,
    /// When it was taken.
    pub imported_at: Timestamp,
}

/// Which secret belonged to a snapshot's data. It tells nothing of the secret to whoever lacks the key of the fingerprints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretMark {
    /// What it is called.
    pub name: String,
    /// Which one it was.
    pub fingerprint: Fingerprint,
}

/// How a suspicion begins that much is missing which the snapshot before has.
pub const SHRANK: &str = "it shrank: ";

impl Capture {
    /// Whether nothing is wrong with it.
    pub fn is_sound(&self) -> bool {
        self.suspicion().is_none()
    }

    /// Why the snapshot may lack something that the one before has: what it is flagged with.
    pub fn suspicion(&self) -> Option<String> {
        let shrunk = self.shrunk.first().map(|what| format!("{SHRANK}{what}"));
        let inconsistent = || self.inconsistent.first().map(|what| format!("it is inconsistent: {what}"));
        let unread = || self.unread.first().map(|what| format!("not everything of it could be read: {what}"));
        shrunk.or_else(inconsistent).or_else(unread)
    }
}

/// What kept the data still while it was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaptureMode {
    /// The application did not run; somebody said so.
    Stopped,
    /// It ran and wrote nothing; somebody said so.
    Paused,
    /// A snapshot of the file system was read; somebody said so.
    FilesystemSnapshot,
    /// Each file was read while it did not change, and all of them fit together as far as the rules say.
    StableRead,
    /// Some file changed each time it was read, or what was read did not fit together.
    #[default]
    BestEffort,
    /// It is out of an old archive; what kept the data still then, nobody knows.
    Archive,
    /// Something that this program does not know.
    #[serde(other)]
    Unknown,
}

impl CaptureMode {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            CaptureMode::Stopped => "stopped",
            CaptureMode::Paused => "paused",
            CaptureMode::FilesystemSnapshot => "filesystem-snapshot",
            CaptureMode::StableRead => "stable-read",
            CaptureMode::BestEffort => "best-effort",
            CaptureMode::Archive => "archive",
            CaptureMode::Unknown => "unknown",
        }
    }
}

/// A root as it was when the snapshot was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootRecord {
    /// Its name in the tree: the first component of its paths. If the name on disk is not UTF-8, `%XX` stands for such bytes.
    pub name: String,
    /// Where it was on that machine, for people to read.
    pub path: String,
}

/// Counts and sizes of a snapshot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// Regular files, hard links included.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Everything else.
    pub others: u64,
    /// Bytes of all files' content.
    pub bytes: u64,
    /// Files whose content was read for this snapshot.
    pub files_read: u64,
    /// Bytes that were read.
    pub bytes_read: u64,
    /// Chunks made for this snapshot.
    pub new_chunks: u64,
    /// Their stored bytes.
    pub new_bytes: u64,
    /// Files that could not be read, or changed while they were.
    pub problems: u64,
}

/// A manifest's bytes with their name and signature: what is stored and sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedManifest {
    /// SHA-256 of `bytes`.
    pub id: ManifestId,
    /// The JSON, verbatim.
    pub bytes: Vec<u8>,
    /// What `bytes` say.
    pub manifest: Manifest,
    /// Who signed.
    pub signature: ManifestSignature,
}

/// A detached signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestSignature {
    /// The signer's Ed25519 key; its hash is the manifest's `instance`.
    pub public_key: PublicKey,
    /// Over `"bulbil/manifest/1" 0x00` ‖ the manifest's bytes.
    pub signature: SignatureBytes,
}

/// The file beside a manifest: its signature and its envelopes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sidecar {
    /// [`SIDECAR_FORMAT`].
    pub format: String,
    /// The manifest's signature.
    pub signature: ManifestSignature,
    /// The snapshot key, wrapped for recipients.
    pub envelopes: Vec<Envelope>,
    /// SHA-256 of the envelopes as compact JSON, hex: shows rot in an envelope that this instance cannot open itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
}

/// What is wrong with a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Longer than [`MAX_BYTES`].
    #[error("the manifest is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Not the bytes that the id names.
    #[error("the manifest's bytes are not those that its name {expected} promises")]
    WrongId {
        /// The id that was asked for.
        expected: ManifestId,
    },
    /// Not JSON of this shape.
    #[error("the manifest is not JSON of the form {FORMAT}")]
    NotAManifest(#[source] serde_json::Error),
    /// Of a format or suite to come.
    #[error(
        "the manifest is of form {format} with suite {suite}, which this program does not know: use a newer bulbil"
    )]
    Unknown {
        /// What it says of itself.
        format: String,
        /// Its algorithms.
        suite: String,
    },
    /// Signed by nobody, or by somebody else.
    #[error("the manifest's signature does not hold")]
    Signature(#[from] SignatureError),
    /// Its counts contradict each other.
    #[error("the manifest contradicts itself: {0}")]
    Contradiction(&'static str),
    /// The private part does not open.
    #[error("the manifest's private part does not open with this key")]
    DoesNotOpen,
    /// The private part opens, but is none.
    #[error("the manifest's private part is malformed")]
    Private(#[source] serde_json::Error),
    /// The root of the tree is malformed.
    #[error("the root of the snapshot's tree is malformed")]
    Tree(#[from] CodecError),
}

impl Manifest {
    /// Seals the private part into the manifest. The snapshot key must be fresh: it is used up by this.
    pub fn seal_private(&mut self, private: &PrivatePart, key: &SnapshotKey) {
        let plain = serde_json::to_vec(private).expect("a private part has no maps with odd keys");
        let (_, sealed) = key.private_part_once().seal(&self.place(), &plain);
        self.private = data_encoding::BASE64.encode(&sealed);
        self.commitment = key.commitment();
    }

    /// Opens the private part.
    ///
    /// # Errors
    /// [`ManifestError::DoesNotOpen`], [`ManifestError::Private`].
    pub fn open_private(&self, key: &SnapshotKey) -> Result<PrivatePart, ManifestError> {
        let sealed = data_encoding::BASE64.decode(self.private.as_bytes()).map_err(|_| ManifestError::DoesNotOpen)?;
        let plain =
            OpenKey::new(key.private_part()).open(&self.place(), &sealed).map_err(|_| ManifestError::DoesNotOpen)?;
        serde_json::from_slice(&plain).map_err(ManifestError::Private)
    }

    /// What the private part is bound to: the snapshot's place in the world.
    fn place(&self) -> Vec<u8> {
        let mut place = b"bulbil/manifest-private/1\0".to_vec();
        place.extend_from_slice(self.instance.as_bytes());
        place.extend_from_slice(self.collection.as_bytes());
        place.extend_from_slice(&self.sequence.to_be_bytes());
        place
    }

    /// Encodes and signs.
    pub fn sign(self, key: &IdentityKey) -> SignedManifest {
        let bytes = serde_json::to_vec(&self).expect("a manifest has no maps with odd keys");
        let signature = ManifestSignature { public_key: key.public(), signature: key.sign(PURPOSE, &bytes) };
        SignedManifest { id: ManifestId::of(&bytes), bytes, manifest: self, signature }
    }

    /// What everybody checks who gets it: that its numbers add up, and are within bounds.
    ///
    /// # Errors
    /// [`ManifestError::Unknown`], [`ManifestError::Contradiction`].
    pub fn check(&self) -> Result<(), ManifestError> {
        if self.format != FORMAT || self.suite != SUITE {
            return Err(ManifestError::Unknown { format: self.format.clone(), suite: self.suite.clone() });
        }
        let chunks = self.segments.iter().map(|segment| u64::from(segment.chunks)).sum::<u64>();
        let bytes = self.segments.iter().try_fold(0u64, |sum, segment| sum.checked_add(segment.bytes));
        if chunks != self.chunks || bytes != Some(self.chunk_bytes) {
            return Err(ManifestError::Contradiction("its segments do not add up"));
        }
        if self.sequence == 0 || self.sequence > i64::MAX as u64 || self.chunk_bytes > i64::MAX as u64 {
            return Err(ManifestError::Contradiction("a number is out of bounds"));
        }
        Ok(())
    }
}

impl SignedManifest {
    /// Signs bytes of our own again whose signature was lost: it is the same one as before (RFC 8032 is deterministic).
    ///
    /// # Errors
    /// [`ManifestError`]; also if `key` is not the one that signed them.
    pub fn sign_again(expected: ManifestId, bytes: Vec<u8>, key: &IdentityKey) -> Result<Self, ManifestError> {
        let signature = ManifestSignature { public_key: key.public(), signature: key.sign(PURPOSE, &bytes) };
        Self::verify(expected, bytes, signature)
    }

    /// Reads and checks bytes from a file or a peer: their name, their signature, and that the numbers add up.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn verify(expected: ManifestId, bytes: Vec<u8>, signature: ManifestSignature) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_BYTES {
            return Err(ManifestError::TooLong);
        }
        if ManifestId::of(&bytes) != expected {
            return Err(ManifestError::WrongId { expected });
        }
        signature.public_key.verify(PURPOSE, &bytes, &signature.signature)?;
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(ManifestError::NotAManifest)?;
        manifest.check()?;
        if signature.public_key.instance() != manifest.instance {
            return Err(ManifestError::Signature(SignatureError));
        }
        Ok(Self { id: expected, bytes, manifest, signature })
    }
}

impl PrivatePart {
    /// The root node of the metadata tree.
    ///
    /// # Errors
    /// [`ManifestError::Tree`].
    pub fn root(&self) -> Result<Node, ManifestError> {
        let bytes = data_encoding::BASE64
            .decode(self.tree.as_bytes())
            .map_err(|_| ManifestError::Tree(CodecError("it is not base64")))?;
        Ok(Node::parse(&bytes)?)
    }
}

impl Sidecar {
    /// Puts the parts together.
    pub fn new(signature: ManifestSignature, envelopes: Vec<Envelope>) -> Self {
        let check = Some(Self::sum(&envelopes));
        Self { format: SIDECAR_FORMAT.to_owned(), signature, envelopes, check }
    }

    /// Whether the envelopes are what they were when they were written. A sidecar without a sum passes.
    pub fn is_whole(&self) -> bool {
        self.check.as_ref().is_none_or(|check| *check == Self::sum(&self.envelopes))
    }

    fn sum(envelopes: &[Envelope]) -> String {
        let bytes = serde_json::to_vec(envelopes).expect("envelopes have no maps with odd keys");
        data_encoding::HEXLOWER.encode(&<sha2::Sha256 as sha2::Digest>::digest(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct TestRng(u8);
    impl rand_core::TryRng for TestRng {
        type Error = std::convert::Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            self.0 = self.0.wrapping_add(1);
            Ok(u32::from(self.0))
        }
        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            self.try_next_u32().map(u64::from)
        }
        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
            for byte in bytes {
                self.0 = self.0.wrapping_mul(31).wrapping_add(7);
                *byte = self.0;
            }
            Ok(())
        }
    }
    impl rand_core::TryCryptoRng for TestRng {}

    fn sample() -> (SignedManifest, SnapshotKey, PrivatePart) {
        let mut rng = TestRng(1);
        let identity = IdentityKey::random(&mut rng);
        let key = SnapshotKey::random(&mut rng);
        let private = PrivatePart {
            capture: None,
            name: "notes".into(),
            host: "alpha".into(),
            roots: vec![],
            excludes: vec![],
            statistics: Statistics::default(),
            padding: Padding::None,
            tree: data_encoding::BASE64.encode(&Node::Leaf(vec![]).encode()),
        };
        let mut manifest = Manifest {
            format: FORMAT.into(),
            suite: SUITE.into(),
            instance: identity.public().instance(),
            collection: CollectionId::random(&mut rng),
            sequence: 1,
            parent: None,
            created_at: "2026-11-22T00:00:00Z".parse().unwrap(),
            partial: false,
            commitment: String::new(),
            segments: vec![],
            chunks: 0,
            chunk_bytes: 0,
            private: String::new(),
        };
        manifest.seal_private(&private, &key);
        (manifest.sign(&identity), key, private)
    }

    #[test]
    fn signed_bytes_verify_and_any_change_is_refused() {
        let (signed, key, private) = sample();
        let again = SignedManifest::verify(signed.id, signed.bytes.clone(), signed.signature).unwrap();
        assert_eq!(again, signed);
        assert_eq!(again.manifest.open_private(&key).unwrap(), private);
        for at in 0..signed.bytes.len() {
            let mut bad = signed.bytes.clone();
            bad[at] ^= 1;
            assert!(SignedManifest::verify(signed.id, bad.clone(), signed.signature).is_err());
            assert!(SignedManifest::verify(ManifestId::of(&bad), bad, signed.signature).is_err());
        }
    }

    #[test]
    fn r5_a_key_that_is_not_the_snapshots_is_refused_before_use() {
        let (signed, key, _) = sample();
        let mut rng = TestRng(9);
        let master = MasterKeyFixture::master();
        let envelope = key.wrap_for_vault(&mut rng, &signed.id, &master);
        assert!(envelope.open_with_vault(&signed.id, &signed.manifest.commitment, &master).is_ok());
        let other = SnapshotKey::random(&mut rng).wrap_for_vault(&mut rng, &signed.id, &master);
        assert_eq!(
            other.open_with_vault(&signed.id, &signed.manifest.commitment, &master).err(),
            Some(super::super::envelope::EnvelopeError::WrongKey)
        );
        let elsewhere = ManifestId::of(b"another manifest");
        assert!(envelope.open_with_vault(&elsewhere, &signed.manifest.commitment, &master).is_err());
    }

    struct MasterKeyFixture;
    impl MasterKeyFixture {
        fn master() -> crate::domain::crypto::vault::MasterKey {
            crate::domain::crypto::vault::MasterKey::new(crate::domain::crypto::secret::Secret::from_bytes([3; 32]))
        }
    }
}

//! What comes from elsewhere, from a peer or in a folder, and is believed by nobody: manifests are compared with their names and
//! signatures before a file is written, keys with the manifest's commitment (R5), chunks and lists of chunks with their names and
//! lengths before they are stored (R13).

use crate::domain::crypto::recovery::RecoveryError;
use crate::domain::envelope::{Envelope, HPKE_X25519, SnapshotKey};
use crate::domain::id::{ChunkId, ManifestId};
use crate::domain::manifest::{ManifestError, ManifestSignature, SegmentSummary, SignedManifest};
use crate::domain::segment::Segment;

use super::{Keys, ManifestFileError, ManifestFiles, entropy};

/// So many envelopes for recovery keys are taken with a manifest.
const MAX_RECOVERY: usize = 8;
/// Longest text of such an envelope.
const MAX_ENVELOPE_TEXT: usize = 4096;

/// A manifest as it came.
#[derive(Debug)]
pub struct Incoming {
    /// What it is said to be.
    pub id: ManifestId,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Who is said to have signed it.
    pub signature: ManifestSignature,
    /// Envelopes that came with it.
    pub envelopes: Vec<Envelope>,
}

impl Incoming {
    /// Checks name, signature and sums; of the envelopes those for recovery keys are left.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn verify(self) -> Result<(SignedManifest, Vec<Envelope>), ManifestError> {
        let signed = SignedManifest::verify(self.id, self.bytes, self.signature)?;
        Ok((signed, recovery_only(self.envelopes)))
    }
}

/// Of what came with a manifest, the envelopes for recovery keys; a few, and short ones.
pub fn recovery_only(mut envelopes: Vec<Envelope>) -> Vec<Envelope> {
    let fits = |e: &Envelope| e.wrapped.len() + e.recipient.len() <= MAX_ENVELOPE_TEXT;
    envelopes.retain(|envelope| envelope.algorithm == HPKE_X25519 && fits(envelope));
    envelopes.truncate(MAX_RECOVERY);
    envelopes
}

/// Saves those manifests that are not here; answers which. A file that is there already stays as it is, with its keys.
///
/// # Errors
/// [`ManifestFileError`].
pub fn save_new(
    files: &ManifestFiles,
    verified: &[(SignedManifest, Vec<Envelope>)],
) -> Result<Vec<ManifestId>, ManifestFileError> {
    let new: Vec<&(SignedManifest, Vec<Envelope>)> =
        verified.iter().filter(|(signed, _)| files.load(&signed.id).is_err()).collect();
    files.save_all(new.iter().copied())?;
    Ok(new.into_iter().map(|(signed, _)| signed.id).collect())
}

/// What is kept of a snapshot whose key was opened and checked: it under the master key, `came` (the envelope for our own key, as it
/// came), and it for our recovery key and those of others, as far as they are in `kept`.
///
/// # Errors
/// [`RecoveryError`] if our own recovery key is unusable.
pub fn readers_envelopes(
    keys: &Keys,
    id: &ManifestId,
    key: &SnapshotKey,
    came: Option<Envelope>,
    mut kept: Vec<Envelope>,
) -> Result<Vec<Envelope>, RecoveryError> {
    let recovery = key.wrap_for_recovery(&mut entropy(), id, &keys.recovery)?;
    kept.retain(|other| other.algorithm == HPKE_X25519 && other.recipient != recovery.recipient);
    let mut envelopes = vec![key.wrap_for_vault(&mut entropy(), id, &keys.master)];
    envelopes.extend(came);
    envelopes.push(recovery);
    envelopes.append(&mut kept);
    Ok(envelopes)
}

/// What is wrong with a chunk or segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// Other bytes than its name promises.
    #[error("its bytes are not those that its name promises")]
    Bytes,
    /// Another length than the snapshot's list says.
    #[error("it is {got} bytes long, and its snapshot says {expected}")]
    Length {
        /// What the list says.
        expected: u32,
        /// What came.
        got: usize,
    },
    /// The bytes are no list of chunks.
    #[error("it should be a list of chunks, and is none")]
    NotASegment,
    /// The list does not fit the manifest that names it.
    #[error("its list of chunks contradicts the manifest that names it")]
    Contradiction,
}

/// Whether bytes are the chunk, or the segment, that is wanted. `segment`: `None` for a chunk; for a segment what manifests say of it.
/// Answers what a segment says.
///
/// # Errors
/// [`Wrong`].
pub fn check_object(
    id: &ChunkId,
    size_bytes: u32,
    segment: Option<&[SegmentSummary]>,
    bytes: &[u8],
) -> Result<Option<Segment>, Wrong> {
    if ChunkId::of(bytes) != *id {
        return Err(Wrong::Bytes);
    }
    let length = || Wrong::Length { expected: size_bytes, got: bytes.len() };
    let Some(summaries) = segment else {
        return if bytes.len() == size_bytes as usize { Ok(None) } else { Err(length()) };
    };
    let segment = Segment::parse(bytes).map_err(|_| Wrong::NotASegment)?;
    // The name says what the list is. A manifest that says something else of it is wrong, and another one may be right.
    if summaries.contains(&SegmentSummary::from(&segment)) {
        return Ok(Some(segment));
    }
    match summaries.is_empty() {
        true if bytes.len() == size_bytes as usize => Ok(Some(segment)),
        true => Err(length()),
        false => Err(Wrong::Contradiction),
    }
}

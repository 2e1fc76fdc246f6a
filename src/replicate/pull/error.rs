//! Why pulling came to nothing, whose trouble it is, and when to try again.

use std::time::Duration;

use crate::domain::crypto::recovery::RecoveryError;
use crate::domain::id::{ChunkId, ManifestId};
use crate::domain::identity::IdentityError;
use crate::domain::manifest::ManifestError;
use crate::replicate::call::CallError;
pub use crate::store::incoming::Wrong;
use crate::store::{Away, ChunkStoreError, IndexError, ManifestFileError, StoreError};

/// A peer that is busy is asked again after this time.
const AGAIN: Duration = Duration::from_secs(30);
/// And after this one at last, whatever it says.
const AGAIN_AT_LAST: Duration = Duration::from_secs(3600);

/// Whose trouble it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What was asked for makes no sense, or the work was cancelled.
    Caller,
    /// This machine: its disk, its index.
    Host,
    /// The peer, or the way to it.
    Peer,
    /// Something that is kept here does not hold.
    Corrupt,
}

/// When to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// At once: it went wrong on its way.
    Now,
    /// Later, and later each time.
    Backoff,
    /// After this time.
    After(Duration),
    /// Not before somebody has changed something.
    Never,
}

/// What a peer did that no honest one does.
#[derive(Debug, thiserror::Error)]
pub enum Lie {
    /// A manifest that does not hold.
    #[error("it sent manifest {}, which does not hold", id.short())]
    Manifest {
        /// Which one it was said to be.
        id: ManifestId,
        /// What is wrong.
        #[source]
        cause: ManifestError,
    },
    /// A page that contradicts what is known.
    #[error("its feed contradicts what is known here")]
    Page(#[source] IndexError),
    /// A feed that never gets anywhere.
    #[error("its feed goes in circles")]
    Circles,
    /// A wrong chunk or segment.
    #[error("it sent a wrong chunk {}: {wrong}", id.short())]
    Object {
        /// Which one it was said to be.
        id: ChunkId,
        /// What is wrong.
        wrong: Wrong,
    },
    /// A chunk that nobody wanted.
    #[error("it sent chunk {}, which was not asked for", .0.short())]
    NotAskedFor(ChunkId),
}

/// Why pulling came to nothing. What was brought here until then stays, and is not fetched again.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// We do not know where it is.
    #[error("peer {peer} has no address here: add one with 'bulbil peer add'")]
    NoAddress {
        /// Its name here.
        peer: String,
    },
    /// It is not let in here, so nothing is taken from it either.
    #[error(
        "peer {peer} is {state} here, so nothing is pulled from it: compare the fingerprint words and run 'bulbil peer trust {peer}' if it is the right one"
    )]
    NotTrusted {
        /// Its name here.
        peer: String,
        /// What it is.
        state: &'static str,
    },
    /// What is kept of it does not hold.
    #[error("what is kept of peer {peer} is damaged: remove it and add it again")]
    PeerDamaged {
        /// Its name here.
        peer: String,
        /// What is wrong.
        #[source]
        cause: IdentityError,
    },
    /// A call came to nothing.
    #[error("peer {peer}: {cause}")]
    Call {
        /// Its name here.
        peer: String,
        /// Why.
        cause: CallError,
    },
    /// It does what no honest peer does. Nothing of it was kept.
    #[error("peer {peer} cannot be right: {lie}. Nothing of it was kept; ask its admin to run 'bulbil verify --data'")]
    Lied {
        /// Its name here.
        peer: String,
        /// What it did.
        lie: Lie,
    },
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Chunk files.
    #[error(transparent)]
    Chunks(#[from] ChunkStoreError),
    /// Manifest files.
    #[error(transparent)]
    Manifest(#[from] ManifestFileError),
    /// A folder of the home is not there: nothing is fetched into what shows in its place.
    #[error(transparent)]
    Away(#[from] Away),
    /// The repository as a whole.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Our own recovery key is unusable.
    #[error("a snapshot's key cannot be wrapped for this instance's recovery key")]
    RecoveryKey(#[from] RecoveryError),
    /// No peer was given.
    #[error("there is no peer to fetch from: join one with 'bulbil clone', or add one with 'bulbil peer add'")]
    NoPeers,
    /// It was cancelled.
    #[error("cancelled: what was brought here stays; run it again to go on")]
    Cancelled,
}

impl PullError {
    /// Whose trouble it is.
    pub fn kind(&self) -> Kind {
        match self {
            PullError::NoAddress { .. } | PullError::NotTrusted { .. } => Kind::Caller,
            PullError::NoPeers | PullError::Cancelled => Kind::Caller,
            PullError::Call { .. } | PullError::Lied { .. } => Kind::Peer,
            PullError::PeerDamaged { .. } | PullError::RecoveryKey(_) => Kind::Corrupt,
            PullError::Index(IndexError::Damaged(_) | IndexError::Missing) => Kind::Corrupt,
            PullError::Manifest(ManifestFileError::Damaged { .. } | ManifestFileError::BadSidecar { .. }) => {
                Kind::Corrupt
            }
            PullError::Index(_)
            | PullError::Chunks(_)
            | PullError::Manifest(_)
            | PullError::Store(_)
            | PullError::Away(_) => Kind::Host,
        }
    }

    /// When to try again.
    pub fn retry(&self) -> Retry {
        match self {
            PullError::Call { cause, .. } => retry_call(cause),
            PullError::Index(IndexError::Locked(_)) => Retry::Now,
            // A full disk is emptied by somebody, a lying peer is repaired by somebody: look again, less and less often.
            PullError::Lied { .. }
            | PullError::Index(_)
            | PullError::Chunks(_)
            | PullError::Manifest(_)
            | PullError::Store(_)
            | PullError::Away(_) => Retry::Backoff,
            _ => Retry::Never,
        }
    }
}

fn retry_call(error: &CallError) -> Retry {
    match error {
        // Its list is open meanwhile, so it is not left alone for as long as a quota may last.
        CallError::Busy { retry_after, .. } => Retry::After(retry_after.unwrap_or(AGAIN).clamp(AGAIN, AGAIN_AT_LAST)),
        CallError::Refused { .. } | CallError::Identity(_) => Retry::Never,
        _ => Retry::Backoff,
    }
}

/// Why one envelope gave no key; the others are not touched by it.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyTrouble {
    /// Made for another key.
    #[error(
        "the key of snapshot {} was wrapped for an earlier key of this instance: let the peer's admin run 'bulbil peer refresh-key', then run 'bulbil rekey' here", .0.short()
    )]
    OtherKey(ManifestId),
    /// It does not open, or not to the right key (R5).
    #[error("the envelope of snapshot {} is of no use: {cause}", id.short())]
    Envelope {
        /// Whose.
        id: ManifestId,
        /// Why.
        cause: crate::domain::envelope::EnvelopeError,
    },
    /// The key is right, and the manifest is no good.
    #[error("snapshot {} cannot be read: {cause}", id.short())]
    Manifest {
        /// Which one.
        id: ManifestId,
        /// Why.
        cause: ManifestError,
    },
    /// The repository; this one stops the work.
    #[error(transparent)]
    Fatal(#[from] Box<PullError>),
}

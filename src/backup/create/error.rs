//! Why no snapshot was made.

use std::path::PathBuf;

use super::SealError;
use crate::backup::check::CheckError;
use crate::backup::open::OpenSnapshotError;
use crate::backup::recover::RecoverError;
use crate::domain::crypto::keywrap::KeyError;
use crate::domain::crypto::recovery::RecoveryError;
use crate::domain::id::InstanceId;
use crate::domain::manifest::ManifestError;
use crate::domain::metadata::path::TreePath;
use crate::source::command::CommandError;
use crate::source::{ExcludeError, WalkError};
use crate::store::{ChunkStoreError, IndexError, ManifestFileError, PresetsError, StoreError, TreeError};

/// Why no snapshot was made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The collection is somebody else's.
    #[error("collection {0:?} belongs to another instance: it can be mirrored and restored here, but not backed up")]
    NotOurs(String),
    /// It has no folders, and nothing was given to be put into the snapshot.
    #[error("collection {0:?} is of an Axon BBS and has no folders; nothing is known of it that could be backed up")]
    Nothing(String),
    /// It has no folders here.
    #[error("collection {0:?} has no folders here: 'bulbil collection set {0} --folder DIR' says what is backed up")]
    NoFolders(String),
    /// A snapshot must not come before one that is there already.
    #[error(
        "it is older than what is there: snapshot {sequence} is of {}, and snapshots stand in the order of their time. Import it into a collection of its own (--collection)", super::moment(*newest)
    )]
    Older {
        /// When the newest one was made.
        newest: jiff::Timestamp,
        /// Its number.
        sequence: u64,
    },
    /// What an archive holds cannot be read any more.
    #[error("what the archive holds cannot be read any more; no snapshot was made of it")]
    Spool(#[source] std::io::Error),
    /// Another instance has taken it over.
    #[error(
        "collection {name:?} is led by instance {} now, which has taken it over: no snapshots of it are made here any more. What this one has stays, and can be restored; let the other one appoint this one ('bulbil peer appoint') to take it back with 'bulbil promote'", leader.short()
    )]
    LedBy {
        /// Which collection.
        name: String,
        /// Who leads it.
        leader: InstanceId,
    },
    /// What would be read stands between two snapshots.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// A root cannot be walked.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// A pattern of what to leave out is none.
    #[error(transparent)]
    Exclude(#[from] ExcludeError),
    /// A chunk cannot be made or stored.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The repository cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The index cannot be used.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Chunks cannot be made durable or read.
    #[error(transparent)]
    Chunks(#[from] ChunkStoreError),
    /// The manifest cannot be written.
    #[error(transparent)]
    Manifest(#[from] ManifestFileError),
    /// Nobody would take the manifest.
    #[error(
        "the snapshot would be of no use to anybody, so it was not made; its folders can be added as a new collection"
    )]
    Unfit(#[source] ManifestError),
    /// An earlier snapshot cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenSnapshotError),
    /// The tree of an earlier snapshot cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Our own key is unusable.
    #[error("the snapshot's key cannot be wrapped for this instance's own key")]
    OwnKey(#[from] KeyError),
    /// The recovery key is unusable.
    #[error("the snapshot's key cannot be wrapped for the recovery key")]
    RecoveryKey(#[from] RecoveryError),
    /// A root's name is none.
    #[error("the root {0:?} has a name that cannot stand in a snapshot: add the collection again")]
    BadRoot(String),
    /// The preset of the collection cannot be used.
    #[error(transparent)]
    Preset(#[from] PresetsError),
    /// What was read cannot be checked.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// A hook did not do what it should.
    #[error("no snapshot was made, because the command before it failed ({command}): {cause}")]
    Hook {
        /// What was run.
        command: String,
        /// What happened.
        cause: CommandError,
    },
    /// A command whose output is backed up did not end well.
    #[error("no snapshot was made, because the command whose output is {path} failed ({command}): {cause}")]
    Command {
        /// The output's path in the snapshot.
        path: TreePath,
        /// What was run.
        command: String,
        /// What happened.
        cause: CommandError,
    },
    /// The folder for a hook's files cannot be made.
    #[error("cannot make the folder {} for what the hook writes", path.display())]
    HookFolder {
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// It was cancelled before anything was reached.
    #[error("cancelled before anything was backed up")]
    Cancelled,
    /// A thread died.
    #[error("a part of the backup died unexpectedly; nothing was changed. This is a bug in bulbil")]
    Died,
}

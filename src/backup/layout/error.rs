//! What can go wrong with laying out. Every text names the place and says what to do.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::super::restore::RestoreError;
use super::super::target::TargetError;

/// Why a snapshot was not laid out.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A folder that nothing can stand beside.
    #[error("{} cannot be replaced as a whole: name a folder inside another, with its whole path, as in /srv/notes", path.display())]
    NotAPlace {
        /// Which.
        path: PathBuf,
    },
    /// Somebody else's.
    #[error("{} is not empty and was not laid out by bulbil: nothing in it is touched. Move it away, or name another folder", path.display())]
    NotOurs {
        /// Which.
        path: PathBuf,
    },
    /// Something that is not ours has a name that is needed.
    #[error("{} was not made by bulbil, and a standby needs this name: move it away, or name another folder for the standby", path.display())]
    InTheWay {
        /// Which.
        path: PathBuf,
    },
    /// The marker speaks of another collection.
    #[error("{} holds another collection, says {}: name another folder, or move both away", path.display(), marker.display())]
    OtherCollection {
        /// The folder.
        path: PathBuf,
        /// The marker.
        marker: PathBuf,
    },
    /// The marker cannot be understood.
    #[error("{} is damaged or of a later version of bulbil: move it and the folder beside it away, and the snapshot is laid out anew", path.display())]
    Marker {
        /// The marker.
        path: PathBuf,
    },
    /// Where something is mounted.
    #[error("{} is a mount point and cannot be replaced as a whole: name a folder inside it", path.display())]
    MountPoint {
        /// Which.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("no space is left beside {}: a standby needs room for two snapshots and the one that is being made. What was laid out before stays; free some space, and it is tried again", path.display())]
    NoSpace {
        /// The folder.
        path: PathBuf,
    },
    /// Something of the snapshot could not be restored.
    #[error("{failed} entries of the snapshot could not be restored, the log says which: {} stays as it was. 'bulbil verify --data' looks for damage", path.display())]
    Incomplete {
        /// The folder.
        path: PathBuf,
        /// How many.
        failed: u64,
    },
    /// It was cancelled.
    #[error("cancelled: the folder stays as it was")]
    Cancelled,
    /// Restoring failed.
    #[error(transparent)]
    Restore(RestoreError),
    /// The system said no.
    #[error("cannot {what} {}: may this user write there? ({cause})", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
}

impl LayoutError {
    pub(super) fn io(what: &'static str, path: &Path, cause: io::Error) -> Self {
        let path = path.to_owned();
        match cause.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => LayoutError::NoSpace { path },
            _ => LayoutError::Io { what, path, cause },
        }
    }

    /// What the system said to a change of names.
    pub(super) fn place(path: &Path, cause: io::Error) -> Self {
        match cause.kind() {
            ErrorKind::ResourceBusy | ErrorKind::CrossesDevices => LayoutError::MountPoint { path: path.to_owned() },
            ErrorKind::DirectoryNotEmpty => LayoutError::NotOurs { path: path.to_owned() },
            _ => Self::io("rename to", path, cause),
        }
    }

    pub(super) fn restore(into: &Path, cause: RestoreError) -> Self {
        match cause {
            RestoreError::Cancelled => LayoutError::Cancelled,
            RestoreError::Target(TargetError::NoSpace { .. }) => LayoutError::NoSpace { path: into.to_owned() },
            cause => LayoutError::Restore(cause),
        }
    }
}

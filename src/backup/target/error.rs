//! What can go wrong with a target. Every text names the place and says what to do.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::domain::metadata::path::TreePath;
use crate::monitor::Problem;

/// What went wrong in a target.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The target folder cannot be opened or created.
    #[error("cannot open the folder {} to restore into: check that it exists, is a folder, and may be written", path.display())]
    Open {
        /// The target.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// Something else stands where an entry belongs.
    #[error("{path} is {noun} in the target, where the snapshot has something else: remove it or restore elsewhere")]
    InTheWay {
        /// Where in the target.
        path: TreePath,
        /// "a link", "a folder" …
        noun: &'static str,
    },
    /// The folder that an entry belongs into is not there.
    #[error("the folder {path} is not in the target: restore it too, or restore elsewhere")]
    NoFolder {
        /// The folder.
        path: TreePath,
    },
    /// Only root may make devices.
    #[error("{path} is a device, which only root can make: restore as root if you need it")]
    NeedsRoot {
        /// The device.
        path: TreePath,
    },
    /// The disk or the user's share of it is full. Nothing more can be restored.
    #[error("no space is left for {path} in the target: free some space and restore again")]
    NoSpace {
        /// What was being written.
        path: String,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// Anything else that the system said.
    #[error("cannot {what} {path} in the target ({cause}): check its permissions and the disk, then restore again")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: String,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
}

impl TargetError {
    /// What the system said to `what` on `path`; `None` is the target itself.
    pub(super) fn io(what: &'static str, path: Option<&TreePath>, errno: Errno) -> Self {
        let cause = io::Error::from(errno);
        let path = path.map_or_else(|| "the folder".to_owned(), TreePath::to_string);
        match errno {
            Errno::NOSPC | Errno::DQUOT => TargetError::NoSpace { path, cause },
            _ => TargetError::Io { what, path, cause },
        }
    }

    /// Whether it would happen to every other entry as well, so that going on makes no sense.
    pub fn stops_all(&self) -> bool {
        match self {
            TargetError::Open { .. } | TargetError::NoSpace { .. } => true,
            TargetError::Io { cause, .. } => {
                matches!(Errno::from_io_error(cause), Some(Errno::ROFS | Errno::IO | Errno::MFILE | Errno::NFILE))
            }
            _ => false,
        }
    }

    /// As a problem that does not stop the restore.
    pub fn into_problem(self, path: &TreePath) -> Problem {
        Problem { subject: path.to_string(), message: self.to_string() }
    }
}

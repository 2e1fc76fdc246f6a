//! Bringing an application's folders back from a snapshot, with nothing destroyed.
//!
//! A snapshot is made beside the live tree, every byte compared, its content checked; then it takes its place by renaming, and what was
//! there before is kept under a dated name. A journal says what changes places, so that a kill at any point leaves the old or the new
//! tree, and the next recovery finishes it. Nothing of what is not captured is touched: an application's code and settings stay.
//!
//! Non-goal: to put a damaged tree right. It is replaced, and kept for whoever wants to look.

mod after; // when everything is in place
mod candidates; // which snapshots there are, and which is taken
mod ground; // where things are made and kept
mod journal; // what is about to be done
mod making; // what is to take its place
mod places; // what changes places
mod report; // what was done
mod run; // one step after another
mod running; // does the application run
pub mod sessions; // sessions that are not to come back
mod stage; // a snapshot made beside the live tree
mod swap; // the changing of places
#[cfg(test)]
mod swap_tests;

use std::io;
use std::path::{Path, PathBuf};

pub use candidates::{Candidate, candidates};
pub use ground::OWN;
pub use report::{Ending, Report};
pub use run::{RecoverOptions, SecretSource, can_begin, recover};

use super::check::CheckError;
use super::open::OpenSnapshotError;
use super::restore::RestoreError;
use crate::domain::id::CollectionId;
use crate::source::command::CommandError;
use crate::source::{ExcludeError, WalkError};
use crate::store::EscrowFileError;
use crate::store::{IndexError, PresetsError, Store, StoreError, TreeError};
use crate::transport::health::HealthError;
use journal::{Journal, Phase};

/// Why nothing was brought back, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// What is stored of the application's secrets cannot be read.
    #[error(transparent)]
    Escrow(#[from] EscrowFileError),
    /// It is not backed up here.
    #[error("collection {0:?} has no folders on this machine: 'bulbil restore {0} --target DIR' restores it anywhere")]
    NotHere(String),
    /// Nothing can be taken.
    #[error(
        "none of the {} snapshots of {name:?} can be taken: {last}. 'bulbil recover {name} --dry-run' shows all; --snapshot takes one all the same",
        tried
    )]
    NoCandidate {
        /// Of which collection.
        name: String,
        /// How many there are.
        tried: usize,
        /// Why not the newest.
        last: String,
    },
    /// The one that was asked for should not be taken.
    #[error("snapshot {sequence} should not be taken: {why}. Nothing was changed; --force takes it all the same")]
    NotSound {
        /// Its number.
        sequence: u64,
        /// Why.
        why: String,
    },
    /// The application runs.
    #[error("the application seems to run: {}. What it still holds in memory would be written over what is restored. Stop it (--stop COMMAND does), or say --force", .0.join("; "))]
    Running(Vec<String>),
    /// What is known of secrets speaks against it.
    #[error("{}. Nothing was changed; --force goes on all the same", .0.join("; "))]
    Secrets(Vec<String>),
    /// A command failed.
    #[error("the command that {what} the application failed ({command})")]
    Command {
        /// `stops` or `starts`.
        what: &'static str,
        /// Which one.
        command: String,
        /// How.
        #[source]
        cause: CommandError,
    },
    /// A folder that nothing can stand beside.
    #[error("{} cannot be replaced: it is no folder inside another one", .0.display())]
    NotAPlace(PathBuf),
    /// Something has a name that is needed.
    #[error("{} is in the way: move it away, and run it again", .0.display())]
    InTheWay(PathBuf),
    /// No path of the collection.
    #[error("{} is no path below a folder of the collection: give one as 'bulbil ls' shows it", .0.display())]
    BadPath(PathBuf),
    /// There is not enough room.
    #[error("the recovery needs {needed} bytes in {}, and {free} are free there: free some space. Nothing was changed", at.display())]
    NoRoom {
        /// What it takes.
        needed: u64,
        /// What there is.
        free: u64,
        /// Where.
        at: PathBuf,
    },
    /// The preset names no sessions.
    #[error("the preset {0:?} does not say where sessions are: name them in its 'sessions' list")]
    NoSessions(String),
    /// The journal cannot be understood.
    #[error("{} is damaged or of a later version of bulbil: it says what an interrupted recovery was about to do. Look into it, put right by hand what it names, and remove it", .0.display())]
    Journal(PathBuf),
    /// One did not come to its end.
    #[error(
        "a recovery of {name:?} was interrupted while it put things in place: run 'bulbil recover {name}', which finishes it"
    )]
    Unfinished {
        /// Of which collection.
        name: String,
    },
    /// It was put back.
    #[error("what was restored could not be put in place, and everything is as it was before")]
    TakenBack(#[source] Box<RecoverError>),
    /// It could be neither finished nor put back.
    #[error(
        "what was restored could not be put in place ({cause}), nor all of it taken back ({then}): remove what hinders it and run the same command again, which finishes it; nothing is lost"
    )]
    Stuck {
        /// What hindered it.
        cause: Box<RecoverError>,
        /// What hindered taking it back.
        then: Box<RecoverError>,
    },
    /// It was cancelled.
    #[error("cancelled: the live data is as it was")]
    Cancelled,
    /// The application cannot be asked.
    #[error(transparent)]
    Health(#[from] HealthError),
    /// A snapshot does not open.
    #[error(transparent)]
    Open(#[from] OpenSnapshotError),
    /// A snapshot cannot be restored.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// Its tree cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Its content cannot be checked.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// A pattern is none.
    #[error(transparent)]
    Exclude(#[from] ExcludeError),
    /// The live tree cannot be walked.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// The preset cannot be used.
    #[error(transparent)]
    Preset(#[from] PresetsError),
    /// The index cannot be used.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The repository cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system said no.
    #[error("cannot {what} {}: may this user write there?", path.display())]
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

impl RecoverError {
    pub(super) fn io(what: &'static str, path: &Path, cause: io::Error) -> Self {
        RecoverError::Io { what, path: path.to_owned(), cause }
    }
}

/// Says no while a recovery of this collection stands between the old and the new tree.
///
/// # Errors
/// [`RecoverError::Unfinished`], [`RecoverError::Journal`], [`RecoverError::Io`].
pub fn refuse_unfinished(store: &Store, collection: &CollectionId, name: &str) -> Result<(), RecoverError> {
    match Journal::load(store, collection)? {
        Some(journal) if journal.phase == Phase::Swapping => Err(RecoverError::Unfinished { name: name.to_owned() }),
        _ => Ok(()),
    }
}

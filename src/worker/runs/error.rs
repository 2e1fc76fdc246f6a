//! Why nothing came of a run.

use super::clone::RoomError;
use crate::backup::check::CheckError;
use crate::backup::create::CreateError;
use crate::backup::drill::DrillError;
use crate::backup::open::OpenSnapshotError;
use crate::backup::prune::PruneError;
use crate::backup::prune::usage::UsageError;
use crate::backup::recover::RecoverError;
use crate::backup::restore::RestoreError;
use crate::backup::verify::VerifyError;
use crate::portable::export::ExportError;
use crate::portable::import::ImportError;
use crate::replicate::pull::PullError;
use crate::store::{IndexError, PresetsError, StoreError};
use crate::worker::axon::AxonError;
use crate::worker::copies::{CopiesError, CopyFault};
use crate::worker::standby::StandbyError;

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Another one is under way.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No snapshot was made.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// No snapshot of an Axon BBS was made.
    #[error(transparent)]
    Axon(#[from] AxonError),
    /// It could not be verified.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The content could not be checked.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// A restore could not be tried.
    #[error(transparent)]
    Drill(#[from] DrillError),
    /// The rules of an application cannot be used.
    #[error(transparent)]
    Preset(#[from] PresetsError),
    /// Nothing was removed, or not all that was to be.
    #[error(transparent)]
    Prune(#[from] PruneError),
    /// It could not be copied to any target.
    #[error(transparent)]
    Copies(#[from] CopiesError),
    /// A target could not be looked at, or not be pruned.
    #[error(transparent)]
    Target(#[from] CopyFault),
    /// The snapshot does not open.
    #[error(transparent)]
    Open(#[from] OpenSnapshotError),
    /// It was not restored, or not all of it.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The live folders were not brought back, or not all of it.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// It was not laid out.
    #[error(transparent)]
    Standby(#[from] StandbyError),
    /// It was not exported.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// It was not imported, or not all of it.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// It was not counted.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// Nothing came from peers.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// The disk cannot hold what is to come.
    #[error(transparent)]
    Room(#[from] RoomError),
    /// It could not be put on record.
    #[error(transparent)]
    Index(#[from] IndexError),
}

impl RunError {
    /// Whether another one has to end first.
    pub fn is_busy(&self) -> bool {
        matches!(
            self,
            Self::Store(StoreError::Busy { .. })
                | Self::Create(CreateError::Store(StoreError::Busy { .. }))
                | Self::Recover(RecoverError::Store(StoreError::Busy { .. }))
                | Self::Standby(StandbyError::Store(StoreError::Busy { .. }))
                | Self::Drill(DrillError::Busy(_))
                | Self::Prune(PruneError::Store(StoreError::Busy { .. }))
                | Self::Target(CopyFault::Store(StoreError::Busy { .. }))
                | Self::Axon(AxonError::Create(CreateError::Store(StoreError::Busy { .. })))
        )
    }
}

//! Removing the files of what nobody names, in small steps: each holds the gate for a moment only, so that a backup that begins waits for
//! no longer than that.

use jiff::Timestamp;

use super::index::Amount;
use super::{ChunkStoreError, IndexError, Store, StoreError, blocking, lock};

/// Files that are removed in one step.
const STEP: usize = 100;

/// Why the files were not removed, or not all.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The index cannot be used.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A file cannot be removed.
    #[error(transparent)]
    Chunks(#[from] ChunkStoreError),
    /// The gate cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Swept {
    /// What was removed.
    pub removed: Amount,
    /// Somebody was storing something, or reading a snapshot: what is left is removed by a later run.
    pub postponed: bool,
}

impl Store {
    /// Removes what has been marked since `until` or longer and that nobody names. `cancelled` is asked between the steps.
    ///
    /// Killed or dropped anywhere, it leaves files that the next run removes.
    ///
    /// # Errors
    /// [`SweepError`]; what was removed before stays so.
    pub async fn sweep(&self, until: Timestamp, cancelled: impl Fn() -> bool) -> Result<Swept, SweepError> {
        self.chunks.check()?;
        let mut swept = Swept::default();
        while !cancelled() {
            let Some(gate) = lock::sweep_gate(&self.home)? else {
                swept.postponed = true;
                break;
            };
            let forgotten = self.index.forget_chunks(until, STEP).await?;
            let sweep = self.index.begin_sweep(until, STEP).await?;
            let (chunks, files) = (self.chunks.clone(), sweep.files.clone());
            let found = files.len();
            let bytes: u64 = files.iter().map(|(_, size)| size).sum();
            blocking(move || files.iter().try_for_each(|(id, _)| chunks.remove(id))).await?;
            sweep.finish().await?;
            drop(gate);
            swept.removed += Amount { chunks: found as u64, bytes };
            if forgotten + found == 0 {
                break;
            }
        }
        Ok(swept)
    }
}

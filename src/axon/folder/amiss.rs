//! What is wrong with the chunks of an item where they lie, whatever is here of it.

use std::fmt;

use super::read::{ChunkFault, FolderItem};
use crate::domain::axon::backup::chunk_file;
use crate::store::dir::Stat;

/// Chunks that are missing, or are not what their hashes say; in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amiss {
    /// Some are damaged; if not, they are missing.
    pub damaged: bool,
    words: String,
}

/// What a look at a chunk's file, without reading it, says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Glance {
    /// It is as it was.
    Good,
    /// It cannot be right.
    Wrong,
    /// It is to be read and compared.
    Read,
}

impl Amiss {
    /// `None` if there are no faults; `total`: how many chunks there should be.
    pub(super) fn of(faults: &[ChunkFault], total: usize) -> Option<Self> {
        let (missing, worse): (Vec<_>, Vec<_>) =
            faults.iter().partition(|fault| matches!(fault, ChunkFault::Missing(_)));
        if worse.is_empty() {
            let words = format!("{} of {total} chunks are missing", missing.len());
            return (!missing.is_empty()).then_some(Self { damaged: false, words });
        }
        let named: Vec<String> = worse.iter().take(3).map(ToString::to_string).collect();
        let more = if worse.len() > 3 { ", …" } else { "" };
        let counted = format!("{} of {total} chunks cannot be used ({} missing)", faults.len(), missing.len());
        Some(Self { damaged: true, words: format!("{counted}: {}{more}", named.join(", ")) })
    }

    /// Of chunks that were written here, and are other ones when they are read.
    pub(super) fn here() -> Self {
        Self { damaged: true, words: "its chunks do not stay on the disk as they were written".to_owned() }
    }
}

impl fmt::Display for Amiss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl FolderItem {
    /// What is wrong with its chunks where they lie; each is looked at, and read if `glance` says so. Blocks.
    pub(in crate::axon) fn amiss(&self, glance: &dyn Fn(usize, &Stat) -> Glance) -> Option<Amiss> {
        let total = self.manifest.chunk_hashes().len();
        let fault = |index: usize| {
            let stat = match self.folder().and_then(|folder| folder.stat(&chunk_file(index))) {
                Ok(stat) => stat,
                Err(error) if error.is_missing() => return Some(ChunkFault::Missing(index)),
                Err(error) => return Some(ChunkFault::Dir(error)),
            };
            match glance(index, &stat) {
                Glance::Good => None,
                Glance::Wrong => Some(ChunkFault::Wrong(index)),
                Glance::Read => self.chunk(index).err(),
            }
        };
        Amiss::of(&(0..total).filter_map(fault).collect::<Vec<_>>(), total)
    }

    /// The same, and all chunks are read.
    pub(in crate::axon) fn amiss_when_read(&self) -> Option<Amiss> {
        self.amiss(&|_, _| Glance::Read)
    }
}

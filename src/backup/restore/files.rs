//! Writers: files, from their chunks, each compared with its hash before it gets its name.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender};
use tokio_util::sync::CancellationToken;

use crate::domain::chunk::{ChunkRef, Workbench};
use crate::domain::crypto::hash::{FileHash, FileHasher};
use crate::domain::metadata::entry::{Attributes, Extent};
use crate::domain::metadata::path::TreePath;
use crate::monitor::{Counter, Monitor, Problem};

use super::super::cache::{ChunkCache, ReadChunkError};
use super::super::target::{Target, TargetError};

/// Chunks of one file that are opened ahead of the one being written.
const AHEAD: usize = 4;

/// A file to write.
pub struct FileJob {
    /// Where to, in the target.
    pub path: TreePath,
    /// What it is called in the snapshot, for messages.
    pub source: TreePath,
    /// Its attributes.
    pub attributes: Attributes,
    /// Length in bytes.
    pub size: u64,
    /// Hash of the content.
    pub hash: FileHash,
    /// Where the content is.
    pub extents: Vec<Extent>,
}

/// Why one file was not written.
enum FileError {
    Chunk(ReadChunkError),
    Target(TargetError),
    Outside,
    Hash,
}

impl From<ReadChunkError> for FileError {
    fn from(error: ReadChunkError) -> Self {
        FileError::Chunk(error)
    }
}

impl From<TargetError> for FileError {
    fn from(error: TargetError) -> Self {
        FileError::Target(error)
    }
}

/// What all writers share.
pub struct Writers<'a> {
    /// Opened chunks.
    pub cache: &'a ChunkCache,
    /// Where to.
    pub target: &'a Target,
    /// Hears of problems.
    pub monitor: &'a dyn Monitor,
    /// Ends it early, between two files.
    pub cancel: &'a CancellationToken,
    /// Files that were not written, and their bytes.
    pub failed: &'a (AtomicU64, AtomicU64),
}

impl Writers<'_> {
    /// Writes batches of files until there are no more.
    ///
    /// # Errors
    /// [`TargetError`] if it makes no sense to go on: the disk is full.
    pub fn run(&self, batches: &Receiver<Vec<FileJob>>, ahead: &Sender<Arc<ChunkRef>>) -> Result<(), TargetError> {
        let mut bench = Workbench::new(1);
        for batch in batches {
            for job in batch {
                if self.cancel.is_cancelled() {
                    return Ok(());
                }
                let message = match self.write(&job, &mut bench, ahead) {
                    Ok(()) => continue,
                    Err(FileError::Target(error)) if error.stops_all() => return Err(error),
                    Err(FileError::Target(error)) => error.to_string(),
                    Err(FileError::Chunk(error)) => format!("not restored: {error}"),
                    Err(FileError::Outside) => {
                        "not restored: the snapshot names bytes that its chunks do not have".to_owned()
                    }
                    Err(FileError::Hash) => {
                        "not restored: its content is not what its hash says; try another snapshot".to_owned()
                    }
                };
                self.failed.0.fetch_add(1, Ordering::Relaxed);
                self.failed.1.fetch_add(job.size, Ordering::Relaxed);
                self.monitor.problem(Problem { subject: job.source.to_string(), message });
            }
        }
        Ok(())
    }

    /// Opens chunks before writers ask for them.
    pub fn open_ahead(&self, chunks: &Receiver<Arc<ChunkRef>>) {
        let mut bench = Workbench::new(1);
        for chunk in chunks {
            if self.cancel.is_cancelled() {
                return;
            }
            // Who needs it sees the error.
            let _ = self.cache.get(&chunk, &mut bench);
        }
    }

    fn write(&self, job: &FileJob, bench: &mut Workbench, ahead: &Sender<Arc<ChunkRef>>) -> Result<(), FileError> {
        let file = self.target.create_file(&job.path)?;
        let mut hasher = FileHasher::default();
        let mut at = 0;
        for (index, extent) in job.extents.iter().enumerate() {
            match extent {
                Extent::Hole { len } => hasher.update_zeros(*len),
                Extent::Data { chunk, offset, len } => {
                    if job.extents.len() > AHEAD
                        && let Some(Extent::Data { chunk: next, .. }) = job.extents.get(index + AHEAD)
                        && next.id != chunk.id
                    {
                        // A full queue means that enough is being opened.
                        let _ = ahead.try_send(next.clone());
                    }
                    let content = self.cache.get(chunk, bench)?;
                    let bytes = content.slice(*offset, *len as usize).map_err(|_| FileError::Outside)?;
                    hasher.update(bytes);
                    file.write_at(bytes, at)?;
                }
            }
            at += extent.len();
            self.monitor.add(Counter::BytesDone, extent.len());
        }
        if at != job.size || hasher.finish() != job.hash {
            return Err(FileError::Hash);
        }
        if matches!(job.extents.last(), Some(Extent::Hole { .. })) {
            file.set_len(job.size)?;
        }
        let problems = file.finish(&job.attributes)?;
        problems.into_iter().for_each(|problem| self.monitor.problem(problem));
        self.monitor.add(Counter::Entries, 1);
        Ok(())
    }
}

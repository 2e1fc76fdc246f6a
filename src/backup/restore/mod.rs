//! Restoring: a snapshot, or a part of it, back into a folder.
//!
//! One thread walks the tree and makes folders and links; several read chunks, write files and compare each with its own hash
//! (R14). Nothing is written outside the target, and nothing has its final name before it is whole: see [`super::target`].

mod files;
mod needed;
mod plan;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crossbeam_channel::bounded;
use tokio_util::sync::CancellationToken;

use crate::domain::metadata::path::TreePath;
use crate::monitor::{Counter, Monitor};
use crate::store::place::{self, Precious};
use crate::store::{ChunkStore, TreeError};

use super::cache::{ChunkCache, ReadChunkError};
use super::open::OpenSnapshot;
use super::target::{Target, TargetError};
use files::Writers;
use plan::Plan;

/// Opened chunks that are kept: about 2.5 MiB each.
const CACHED_CHUNKS: NonZeroUsize = NonZeroUsize::new(24).expect("24 is not zero");
/// Batches of files that may wait for a writer.
const BATCHES_AHEAD: usize = 8;

/// What to do with files that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// Leave them.
    Never,
    /// Replace those whose size or time of modification differs.
    IfChanged,
    /// Replace them.
    Always,
}

/// How to restore.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// Only what is at or below these paths of the snapshot; everything if there are none.
    pub paths: Vec<TreePath>,
    /// What to do with files that are there already.
    pub overwrite: Overwrite,
    /// Remove from restored folders what is not in the snapshot.
    pub delete: bool,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// What was restored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RestoreStats {
    /// Files written, or that would be.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Folders.
    pub directories: u64,
    /// Links, pipes, sockets and devices.
    pub others: u64,
    /// What was there already and is left as it is.
    pub skipped: u64,
    /// What was removed, or would be.
    pub deleted: u64,
    /// What could not be restored at all; each is a problem.
    pub failed: u64,
}

/// Why nothing, or not everything, was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A path that is not in the snapshot.
    #[error("{0} is not in the snapshot: 'bulbil ls' shows what is")]
    NotInSnapshot(TreePath),
    /// The tree cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The target cannot be written.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// It would have left a mixture.
    #[error(
        "nothing was changed, because not all of the snapshot can be restored: {chunks} of the chunks it needs are missing or damaged ({cause}); among the files in them: {files}. Restore another snapshot; or into an empty folder, which takes what is whole; or with '--overwrite never', which adds what is not there and replaces nothing"
    )]
    NotWhole {
        /// How many chunks.
        chunks: usize,
        /// The first few files that lean on them.
        files: String,
        /// What is wrong with the first one.
        #[source]
        cause: ReadChunkError,
    },
    /// The target is a file, or something is in the way.
    #[error("{} is not a folder: choose another target", .0.display())]
    NotAFolder(PathBuf),
    /// It would mix with a portable backup, or remove it.
    #[error("{} is, or lies in, a portable backup or a target of copies: name another folder", .0.display())]
    Portable(PathBuf),
    /// The target is a home of Bulbil, is inside one, or holds one.
    #[error("{} is, lies in, or holds a bulbil home: restoring there could destroy keys and chunks. Choose another target", .0.display())]
    Home(PathBuf),
    /// What is too much there would be removed, and this with it.
    #[error(
        "nothing was changed: {} holds a bulbil home or a portable backup, and would be removed as what the snapshot does not have. Move it out of the target, or restore without '--delete'", .0.display()
    )]
    WouldRemove(PathBuf),
    /// What would be removed cannot be looked into.
    #[error("nothing was changed: {}, which would be removed, cannot be looked into", path.display())]
    Unseen {
        /// Which folder.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: std::io::Error,
    },
    /// It was cancelled.
    #[error("cancelled: no file was left half written; run it again to go on")]
    Cancelled,
    /// A thread died.
    #[error("a part of the restore died unexpectedly. This is a bug in bulbil")]
    Died,
}

impl RestoreOptions {
    /// What was asked for, to be put on record: the same for the same.
    pub fn document(&self) -> serde_json::Value {
        let overwrite = match self.overwrite {
            Overwrite::Never => "never",
            Overwrite::IfChanged => "if-changed",
            Overwrite::Always => "always",
        };
        let paths: Vec<String> = self.paths.iter().map(ToString::to_string).collect();
        serde_json::json!({ "paths": paths, "overwrite": overwrite, "delete": self.delete })
    }
}

/// Refuses a target that is a home of Bulbil, lies in one, or holds `home`.
///
/// # Errors
/// [`RestoreError::Home`].
pub fn refuse_homes(into: &Path, home: &Path) -> Result<(), RestoreError> {
    let target = place::real(into).unwrap_or_else(|_| into.to_owned());
    let holds_home = home.canonicalize().is_ok_and(|home| home.starts_with(&target));
    if holds_home || Precious::Home.holds(&target) {
        return Err(RestoreError::Home(into.to_owned()));
    }
    Ok(())
}

/// Refuses a folder that is, or lies in, a portable backup: what is restored would mix with it, or remove it.
///
/// # Errors
/// [`RestoreError::Portable`].
pub fn refuse_portable(into: &Path) -> Result<(), RestoreError> {
    if Precious::Portable.holds(into) { Err(RestoreError::Portable(into.to_owned())) } else { Ok(()) }
}

/// Restores `snapshot` into the folder `into`, which is made if it is missing. Blocks; for a thread of its own.
///
/// The content of a snapshot with one root comes directly into the folder, several roots get a folder each. What cannot be
/// restored is reported to `monitor` and does not stop the rest; but nothing that is there already is replaced before everything that
/// is needed was read and opened.
///
/// # Errors
/// [`RestoreError`].
pub fn restore(
    chunks: &Arc<dyn ChunkStore>,
    snapshot: &OpenSnapshot,
    into: &Path,
    options: &RestoreOptions,
    monitor: &dyn Monitor,
    cancel: &CancellationToken,
) -> Result<RestoreStats, RestoreError> {
    if into.exists() && !into.is_dir() {
        return Err(RestoreError::NotAFolder(into.to_owned()));
    }
    let total = options.paths.is_empty().then_some(snapshot.private.statistics.bytes);
    monitor.task(&format!("restoring {}", snapshot.private.name), Counter::BytesDone, total);
    if options.dry_run {
        let target = if into.exists() { Some(Target::open(into, false)?) } else { None };
        return Plan::new(snapshot, &**chunks, options, target.as_ref(), monitor).count(cancel);
    }
    let target = Target::open(into, true)?;
    if target.is_empty()? {
        let staged = target.staged()?;
        let stats = fill(chunks, snapshot, &staged, options, monitor, cancel)?;
        staged.sync()?;
        staged.commit()?.into_iter().for_each(|problem| monitor.problem(problem));
        Ok(stats)
    } else {
        if options.overwrite != Overwrite::Never || options.delete {
            needed::check(chunks, snapshot, &target, options, monitor, cancel)?;
            monitor.task(&format!("restoring {}", snapshot.private.name), Counter::BytesDone, total);
        }
        let stats = fill(chunks, snapshot, &target, options, monitor, cancel)?;
        target.sync()?;
        Ok(stats)
    }
}

/// Writes everything into `target`.
fn fill(
    chunks: &Arc<dyn ChunkStore>,
    snapshot: &OpenSnapshot,
    target: &Target,
    options: &RestoreOptions,
    monitor: &dyn Monitor,
    cancel: &CancellationToken,
) -> Result<RestoreStats, RestoreError> {
    let cache = ChunkCache::new(chunks.clone(), snapshot.collection(), CACHED_CHUNKS);
    let cores = thread::available_parallelism().map_or(2, usize::from);
    let (batch_in, batch_out) = bounded(BATCHES_AHEAD);
    let (ahead_in, ahead_out) = bounded(CACHED_CHUNKS.get() / 3);
    let failed = (AtomicU64::new(0), AtomicU64::new(0));
    let writers = Writers { cache: &cache, target, monitor, cancel, failed: &failed };
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for _ in 0..cores {
            let (batches, ahead_in, ahead_out, writers) =
                (batch_out.clone(), ahead_in.clone(), ahead_out.clone(), &writers);
            threads.push(scope.spawn(move || writers.run(&batches, &ahead_in)));
            scope.spawn(move || writers.open_ahead(&ahead_out));
        }
        drop((batch_out, ahead_out));
        let mut plan = Plan::new(snapshot, &**chunks, options, Some(target), monitor);
        let walked = plan.run(batch_in, ahead_in, cancel);
        for thread in threads {
            thread.join().map_err(|_| RestoreError::Died)??;
        }
        walked?;
        if cancel.is_cancelled() {
            return Err(RestoreError::Cancelled);
        }
        let mut stats = plan.finish()?;
        stats.failed += failed.0.load(Ordering::Relaxed);
        stats.files -= failed.0.load(Ordering::Relaxed);
        stats.bytes -= failed.1.load(Ordering::Relaxed);
        Ok(stats)
    })
}

//! Before anything in a folder is replaced: whether all that is needed is here, and what it was.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use tokio_util::sync::CancellationToken;

use super::super::cache::{ChunkCache, ReadChunkError};
use super::super::open::OpenSnapshot;
use super::super::target::Target;
use super::plan::Plan;
use super::{CACHED_CHUNKS, RestoreError, RestoreOptions};
use crate::domain::chunk::{ChunkRef, Workbench};
use crate::domain::id::ChunkId;
use crate::domain::metadata::path::TreePath;
use crate::monitor::{Counter, Monitor, Tally};
use crate::store::ChunkStore;

/// So many files are named.
const NAMED: usize = 5;

/// Chunks that files need, each with one of these files.
pub type Needed = HashMap<ChunkId, (Arc<ChunkRef>, TreePath)>;

/// Reads and opens every chunk that this restore needs.
///
/// # Errors
/// [`RestoreError::NotWhole`] if one is missing or damaged; what reading the tree says.
pub fn check(
    chunks: &Arc<dyn ChunkStore>,
    snapshot: &OpenSnapshot,
    target: &Target,
    options: &RestoreOptions,
    monitor: &dyn Monitor,
    cancel: &CancellationToken,
) -> Result<(), RestoreError> {
    let (dry, silent) = (RestoreOptions { dry_run: true, ..options.clone() }, Tally::default());
    let needed = Plan::new(snapshot, &**chunks, &dry, Some(target), &silent).needed(cancel)?;
    monitor.task("reading what is needed", Counter::Chunks, Some(needed.len() as u64));
    let needed: Vec<(Arc<ChunkRef>, TreePath)> = needed.into_values().collect();
    let cache = ChunkCache::new(chunks.clone(), snapshot.collection(), CACHED_CHUNKS);
    let (next, bad) = (AtomicUsize::new(0), Mutex::new(Vec::<(TreePath, ReadChunkError)>::new()));
    let cores = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let mut bench = Workbench::new(1);
                while let Some((chunk, path)) = needed.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if cancel.is_cancelled() {
                        return;
                    }
                    if let Err(error) = cache.get(chunk, &mut bench) {
                        bad.lock().expect("no holder of this lock can panic").push((path.clone(), error));
                    }
                    monitor.add(Counter::Chunks, 1);
                }
            });
        }
    });
    if cancel.is_cancelled() {
        return Err(RestoreError::Cancelled);
    }
    let mut bad = bad.into_inner().expect("no holder of this lock can panic");
    bad.sort_by(|a, b| a.0.cmp(&b.0));
    let Some((_, cause)) = bad.first().cloned() else { return Ok(()) };
    let (chunks, more) = (bad.len(), if bad.len() > NAMED { " and others" } else { "" });
    let paths: Vec<String> = bad.into_iter().take(NAMED).map(|(path, _)| path.to_string()).collect();
    Err(RestoreError::NotWhole { chunks, files: format!("{}{more}", paths.join(", ")), cause })
}

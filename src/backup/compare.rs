//! What was restored, read again from the disk and compared with the snapshot: every file must have the hash that stands there.

use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::open::OpenSnapshot;
use super::restore::RestoreError;
use crate::domain::crypto::hash::FileHasher;
use crate::domain::metadata::entry::EntryKind;
use crate::domain::metadata::path::TreePath;
use crate::monitor::{Counter, Monitor, Problem};
use crate::store::Store;

/// How much is read at once.
const PIECE: usize = 1 << 20;

/// What was compared.
#[derive(Debug, Clone, Copy, Default)]
pub struct Compared {
    /// Files that are what they should be.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that are not; each is a problem.
    pub wrong: u64,
}

/// Reads every file again, or those `within` a path of the snapshot. They are `at` a folder; `stripped`: without the name of the root.
///
/// # Errors
/// [`RestoreError::Tree`], [`RestoreError::Cancelled`].
pub fn compare(
    store: &Store,
    open: &OpenSnapshot,
    (at, stripped): (&Path, bool),
    within: Option<&TreePath>,
    monitor: &dyn Monitor,
    cancel: &CancellationToken,
) -> Result<Compared, RestoreError> {
    let mut compared = Compared::default();
    let mut buffer = vec![0; PIECE];
    let total = within.is_none().then_some(open.private.statistics.bytes);
    monitor.task("reading again what was restored", Counter::BytesDone, total);
    open.tree(&*store.chunks).walk(within, |entry| {
        let EntryKind::File(file) = &entry.kind else { return Ok(()) };
        if cancel.is_cancelled() {
            return Err(RestoreError::Cancelled);
        }
        let bytes = entry.path.as_bytes();
        let below = match stripped {
            true => bytes.iter().position(|byte| *byte == b'/').map_or(bytes, |slash| &bytes[slash + 1..]),
            false => bytes,
        };
        let path = at.join(std::ffi::OsStr::from_bytes(below));
        let wrong = match hash(&path, &mut buffer, monitor) {
            Ok((found, len)) if found.finish() == file.hash && len == file.size => None,
            Ok(_) => Some("what is on the disk is not what is in the snapshot".to_owned()),
            Err(error) => Some(format!("what was restored cannot be read: {error}")),
        };
        match wrong {
            None => (compared.files, compared.bytes) = (compared.files + 1, compared.bytes + file.size),
            Some(message) => {
                compared.wrong += 1;
                monitor.problem(Problem { subject: entry.path.to_string(), message });
            }
        }
        Ok(())
    })?;
    Ok(compared)
}

fn hash(path: &Path, buffer: &mut [u8], monitor: &dyn Monitor) -> std::io::Result<(FileHasher, u64)> {
    let mut file = std::fs::File::open(path)?;
    let (mut hasher, mut len) = (FileHasher::default(), 0);
    loop {
        let n = file.read(buffer)?;
        if n == 0 {
            return Ok((hasher, len));
        }
        hasher.update(&buffer[..n]);
        len += n as u64;
        monitor.add(Counter::BytesDone, n as u64);
    }
}

//! A snapshot, streamed out of the store: a few opened chunks are held at a time, whatever is in it.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::databases::Databases;
use super::{CheckError, within_root};
use crate::backup::content::ContentReader;
use crate::domain::content::{Checker, Level, Report, Secrets};
use crate::domain::id::CollectionId;
use crate::domain::metadata::entry::{Entry, EntryKind, FileEntry};
use crate::domain::metadata::node::Node;
use crate::domain::metadata::path::TreePath;
use crate::domain::preset::Preset;
use crate::monitor::{Counter, Monitor};
use crate::store::{ChunkStore, TreeError, TreeReader};

/// How much is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Everything that the rules speak of.
    Everything,
    /// Documents only: files of which only length and hash are known are there, and not read.
    Documents,
}

/// Checks what the tree below `root` holds. Blocks.
///
/// # Errors
/// [`CheckError`]. A chunk that is damaged is a finding.
pub fn stored(
    chunks: &Arc<dyn ChunkStore>,
    (collection, root): (CollectionId, &Node),
    preset: &Preset,
    secrets: Secrets,
    (depth, databases): (Depth, Option<&Databases>),
    monitor: &dyn Monitor,
    cancel: &CancellationToken,
) -> Result<Report, CheckError> {
    let mut checker = Checker::new(preset, secrets)?;
    let tree = || TreeReader::new(chunks.as_ref(), collection, root.clone());
    let mut reader = ContentReader::new(chunks, collection, root);
    for entry in tree() {
        if cancel.is_cancelled() {
            return Err(CheckError::Cancelled);
        }
        let entry = entry?;
        let Some(path) = within_root(&entry.path) else { continue };
        monitor.add(Counter::Entries, 1);
        match &entry.kind {
            EntryKind::Directory => checker.folder(&path),
            EntryKind::File(file) => {
                look(&mut checker, &mut reader, &path, file, depth, monitor);
                if let Some(databases) = databases.filter(|databases| databases.wants(&path)) {
                    databases.stored(&mut checker, &mut reader, &path, file)?;
                }
            }
            EntryKind::HardLink { to } => match linked(tree(), to)? {
                Some(file) => look(&mut checker, &mut reader, &path, &file, depth, monitor),
                None => checker.unreadable(&path, "the file of which it is another name is not in the snapshot"),
            },
            EntryKind::Symlink { .. } => checker.other(&path, "a link"),
            EntryKind::Fifo => checker.other(&path, "a named pipe"),
            EntryKind::Socket => checker.other(&path, "a socket"),
            EntryKind::CharDevice { .. } | EntryKind::BlockDevice { .. } => checker.other(&path, "a device"),
        }
    }
    Ok(checker.finish())
}

/// The file at `path`.
fn linked(mut tree: TreeReader<'_>, path: &TreePath) -> Result<Option<FileEntry>, TreeError> {
    let mut found = None;
    tree.walk(Some(path), |entry: Entry| {
        if let EntryKind::File(file) = entry.kind {
            found = Some(file);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Reads a file for the rules.
fn look(
    checker: &mut Checker,
    reader: &mut ContentReader<'_>,
    path: &str,
    file: &FileEntry,
    depth: Depth,
    monitor: &dyn Monitor,
) {
    let wanted = match depth {
        Depth::Everything => checker.wants(path),
        Depth::Documents => checker.wants_documents(path),
    };
    if !wanted {
        return checker.passed_over(path, file.size);
    }
    let mut check = checker.begin(path, file.size);
    let read = reader.read(file, &mut |bytes| {
        monitor.add(Counter::BytesDone, bytes.len() as u64);
        checker.push(&mut check, bytes);
    });
    if let Err(error) = read {
        return checker.unreadable(path, &error.to_string());
    }
    checker.end(check);
    if file.changed_while_read {
        let message = "it changed each time it was read: it may never have been as it is here".to_owned();
        checker.found(Level::Warning, "changed", path, message);
    }
}

//! The folders of a collection, as they are now.
//!
//! A file that changes while it is read is read again, as a backup does: up to 32 MiB it is read as a whole before the rules see it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::databases::Databases;
use super::{CheckError, within_root};
use crate::backup::recover::OWN;
use crate::domain::content::{Checker, Level, Report, Secrets};
use crate::domain::metadata::path::TreePath;
use crate::domain::preset::Preset;
use crate::monitor::{Counter, Monitor};
use crate::source::{
    DirHandle, Excludes, Found, FoundKind, OpenFile, ReadError, Root, Stretch, WalkEvent, WalkOptions, read, walk,
};
use crate::store::Store;
use crate::store::index::CollectionSettings;

/// Up to so many bytes a file is held in memory while it is read.
const HELD: u64 = 32 << 20;
/// How often a file is read that changes meanwhile.
const ATTEMPTS: usize = 5;
/// How long to wait before the next time.
const PAUSE: Duration = Duration::from_millis(30);

/// Checks what is in the folders. Blocks.
///
/// # Errors
/// [`CheckError`].
pub fn live(
    store: &Store,
    settings: &CollectionSettings,
    preset: &Preset,
    secrets: Secrets,
    monitor: &dyn Monitor,
    cancel: &CancellationToken,
) -> Result<Report, CheckError> {
    let mut checker = Checker::new(preset, secrets)?;
    let mut patterns = preset.patterns();
    patterns.extend(settings.excludes.iter().cloned());
    patterns.extend(OWN.map(str::to_owned));
    let databases = Databases::new(store, preset)?;
    let options = WalkOptions {
        excludes: Excludes::new(&patterns)?,
        never: store.home.identity().into_iter().collect(),
        skip_caches: preset.skip_caches,
        ..WalkOptions::default()
    };
    for root in &settings.roots {
        let tree = TreePath::new(root.name.clone().into_bytes()).map_err(|_| CheckError::BadRoot(root.name.clone()))?;
        let root = Root { name: root.name.clone(), tree, path: root.path.clone() };
        for event in walk(&root, &options, cancel)? {
            match event {
                WalkEvent::Found(found, dir) => {
                    look(&mut checker, &found, &dir, monitor);
                    if let Some(path) =
                        within_root(&found.path).filter(|path| found.kind == FoundKind::File && databases.wants(path))
                    {
                        // As bytes: what is no text has a name all the same.
                        let below = found.path.as_bytes().iter().position(|byte| *byte == b'/').map_or(0, |at| at + 1);
                        let below = OsStr::from_bytes(&found.path.as_bytes()[below..]);
                        databases.live(&mut checker, &path, &root.path.join(below))?;
                    }
                }
                WalkEvent::Problem(problem) => {
                    let path = problem.subject.split_once('/').map_or("", |(_, path)| path).to_owned();
                    checker.unreadable(&path, &problem.message);
                }
                WalkEvent::Skipped(_) | WalkEvent::LeftOut(_) => {}
            }
        }
    }
    if cancel.is_cancelled() { Err(CheckError::Cancelled) } else { Ok(checker.finish()) }
}

fn look(checker: &mut Checker, found: &Found, dir: &Arc<DirHandle>, monitor: &dyn Monitor) {
    let Some(path) = within_root(&found.path) else { return };
    monitor.add(Counter::Entries, 1);
    match found.kind {
        FoundKind::Directory => checker.folder(&path),
        FoundKind::File if checker.wants(&path) => match read_into(checker, &path, found, dir, monitor) {
            Err(ReadError::Vanished) => {}
            Err(error) => checker.unreadable(&path, &error.to_string()),
            Ok(()) => {}
        },
        FoundKind::File => {
            let file = checker.begin(&path, found.stat.size);
            checker.end(file);
        }
        kind => checker.other(&path, kind.noun()),
    }
}

fn read_into(
    checker: &mut Checker,
    path: &str,
    found: &Found,
    dir: &Arc<DirHandle>,
    monitor: &dyn Monitor,
) -> Result<(), ReadError> {
    let mut expected = found.stat;
    let mut attempt = 1;
    loop {
        if attempt > 1 {
            std::thread::sleep(PAUSE);
        }
        let last = attempt == ATTEMPTS;
        attempt += 1;
        let mut file = match OpenFile::open(dir, found.name(), &expected) {
            Err(ReadError::Replaced | ReadError::Vanished) if !last => {
                if let Ok((FoundKind::File, stat)) = read::look(dir, found.name()) {
                    expected = stat;
                }
                continue;
            }
            opened => opened?,
        };
        let size = file.stat().size;
        if size > HELD {
            let mut check = checker.begin(path, size);
            pieces(&mut file, &mut |bytes| {
                monitor.add(Counter::BytesDone, bytes.len() as u64);
                checker.push(&mut check, bytes);
            })?;
            checker.end(check);
            if file.changed_since_open()? {
                checker.found(Level::Warning, "changed", path, "it changed while it was read".to_owned());
            }
            return Ok(());
        }
        let mut content = Vec::with_capacity(size as usize);
        pieces(&mut file, &mut |bytes| content.extend_from_slice(bytes))?;
        let torn = path.ends_with(".jsonl") && content.last().is_some_and(|byte| *byte != b'\n');
        let changed = file.changed_since_open()? || content.len() as u64 != size;
        // A line that is just being written ends soon; one that was cut off does not.
        if (changed || torn) && !last {
            expected = *file.stat();
            continue;
        }
        monitor.add(Counter::BytesDone, content.len() as u64);
        let mut check = checker.begin(path, content.len() as u64);
        checker.push(&mut check, &content);
        checker.end(check);
        if changed {
            checker.found(Level::Warning, "changed", path, "it changed each time it was read".to_owned());
        }
        return Ok(());
    }
}

/// Calls `each` with the content, holes as zeros.
fn pieces(file: &mut OpenFile, each: &mut dyn FnMut(&[u8])) -> Result<(), ReadError> {
    let mut buffer = vec![0; 1 << 18];
    while let Some(stretch) = file.next_stretch()? {
        match stretch {
            Stretch::Hole { mut len, .. } => {
                buffer.fill(0);
                while len > 0 {
                    let part = len.min(buffer.len() as u64);
                    each(&buffer[..part as usize]);
                    len -= part;
                }
            }
            Stretch::Data { .. } => loop {
                match file.read(&mut buffer)? {
                    0 => break,
                    n => each(&buffer[..n]),
                }
            },
        }
    }
    Ok(())
}

//! Files that nobody but the application should read, and whoever may.

use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::{CheckError, within_root};
use crate::domain::metadata::path::TreePath;
use crate::domain::preset::{Preset, PresetError, globs};
use crate::monitor::Problem;
use crate::source::mode::{OF_OTHERS, tighten};
use crate::source::{Excludes, FoundKind, Root, WalkEvent, WalkOptions, walk};

/// What others may read.
#[derive(Debug, Default)]
pub struct Private {
    /// Files, relative to the folder, with their permission bits as they were.
    pub loose: Vec<(String, u32)>,
    /// How many files and folders only their owner may read now.
    pub tightened: u64,
    /// What could not be changed.
    pub problems: Vec<Problem>,
}

/// Looks which of the preset's private files in `folder` somebody else than their owner may read; with `change` nobody else may any
/// more. A preset that names none has no private files; with `change` everything counts as private then. Blocks.
///
/// # Errors
/// [`CheckError`].
pub fn private(
    folder: &Path,
    preset: &Preset,
    change: bool,
    cancel: &CancellationToken,
) -> Result<Private, CheckError> {
    let mut private = Private::default();
    let all = ["**".to_owned()];
    let patterns = match preset.private.as_slice() {
        [] if change => &all[..],
        [] => return Ok(private),
        some => some,
    };
    let wrong = |why| PresetError::Wrong { name: preset.name.clone(), why };
    let private_paths = globs(patterns).map_err(wrong)?;
    let left_out = preset.leave_out.iter().map(|out| out.pattern.clone()).collect::<Vec<_>>();
    let options = WalkOptions { excludes: Excludes::new(&left_out)?, ..WalkOptions::default() };
    let tree = TreePath::new(b"folder".to_vec()).expect("it is a name");
    let root = Root { name: "folder".to_owned(), tree, path: folder.to_owned() };
    for event in walk(&root, &options, cancel)? {
        let WalkEvent::Found(found, dir) = event else { continue };
        let Some(path) = within_root(&found.path).filter(|path| private_paths.is_match(path)) else { continue };
        let is_thing = matches!(found.kind, FoundKind::File | FoundKind::Directory);
        if !is_thing || found.stat.mode & OF_OTHERS == 0 {
            continue;
        }
        if found.kind == FoundKind::File {
            private.loose.push((path.clone(), found.stat.mode & 0o7777));
        }
        if change {
            match tighten(&found, &dir) {
                Ok(()) => private.tightened += 1,
                Err(error) => {
                    let message = format!("others may still read it: {error}. Its owner, or root, can change that");
                    private.problems.push(Problem { subject: path, message });
                }
            }
        }
    }
    if cancel.is_cancelled() { Err(CheckError::Cancelled) } else { Ok(private) }
}

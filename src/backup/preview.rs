//! What a backup would take, and what it would leave out: a look, and nothing else.

use tokio_util::sync::CancellationToken;

use super::create::CreateError;
use crate::domain::metadata::path::TreePath;
use crate::domain::preset::Preset;
use crate::monitor::{Counter, Monitor};
use crate::source::{Excludes, FoundKind, LeftOut, Root, WalkEvent, WalkOptions, walk};
use crate::store::Store;
use crate::store::index::CollectionSettings;

/// What there is.
#[derive(Debug, Default)]
pub struct Preview {
    /// Files that would be taken.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Folders.
    pub directories: u64,
    /// Everything else.
    pub others: u64,
    /// What would be left out.
    pub left_out: Vec<LeftOut>,
}

/// Walks the folders of a collection as a backup does. Blocks.
///
/// # Errors
/// [`CreateError::Walk`], [`CreateError::Exclude`], [`CreateError::BadRoot`].
pub fn preview(
    store: &Store,
    settings: &CollectionSettings,
    preset: Option<&Preset>,
    monitor: &dyn Monitor,
    cancel: &CancellationToken,
) -> Result<Preview, CreateError> {
    let mut patterns = preset.map(Preset::patterns).unwrap_or_default();
    patterns.extend(settings.excludes.iter().cloned());
    let options = WalkOptions {
        excludes: Excludes::new(&patterns)?,
        never: vec![store.home.identity()?],
        skip_caches: preset.is_some_and(|preset| preset.skip_caches),
        tell_left_out: true,
        ..WalkOptions::default()
    };
    let mut preview = Preview::default();
    for root in &settings.roots {
        let tree =
            TreePath::new(root.name.clone().into_bytes()).map_err(|_| CreateError::BadRoot(root.name.clone()))?;
        let root = Root { name: root.name.clone(), tree, path: root.path.clone() };
        for event in walk(&root, &options, cancel)? {
            match event {
                WalkEvent::Found(found, _) => {
                    monitor.add(Counter::Entries, 1);
                    match found.kind {
                        FoundKind::File => {
                            preview.files += 1;
                            preview.bytes += found.stat.size;
                        }
                        FoundKind::Directory => preview.directories += 1,
                        _ => preview.others += 1,
                    }
                }
                WalkEvent::LeftOut(left_out) => preview.left_out.push(left_out),
                WalkEvent::Problem(problem) => monitor.problem(problem),
                WalkEvent::Skipped(skipped) => monitor.notice(&format!("{}: {}", skipped.path, skipped.reason)),
            }
        }
    }
    if cancel.is_cancelled() { Err(CreateError::Cancelled) } else { Ok(preview) }
}

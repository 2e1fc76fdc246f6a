//! Laying out: a snapshot as a folder that an application can use, always replaced as a whole.
//!
//! Beside the folder `DIR` stand, by name: `DIR.bulbil.json` (the marker), `DIR.bulbil-new` (where the next snapshot is made)
//! and `DIR.previous` (what was laid out before). Nothing of ours is inside the data. What is whole and durable takes the place
//! of the folder by one exchange of names, so that at each instant, and after a kill at any, `DIR` is one whole snapshot. Where
//! the file system cannot exchange, two renames do it, and the next run puts in place what a kill has left between them.
//!
//! The marker names folders by their numbers: what is not named there was not made by us and is never touched. A folder that
//! was laid out and changed by somebody is still that folder; it becomes `DIR.previous` as a whole. Files are written anew: a
//! link into a folder that an application may write to would let it change both.

mod error;
mod marker;
mod swap;
#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

pub use error::LayoutError;
pub use marker::{FolderId, LaidOut};

use super::open::OpenSnapshot;
use super::restore::{Overwrite, RestoreOptions, restore};
use crate::domain::id::{CollectionId, ManifestId};
use crate::monitor::Monitor;
use crate::store::ChunkStore;
use marker::{Found, Marker};

/// The folder in which a collection's snapshots are laid out.
#[derive(Debug, Clone)]
pub struct Layout {
    into: PathBuf,
    collection: CollectionId,
    marker: PathBuf,
    temporary: PathBuf,
    scratch: PathBuf,
    previous: PathBuf,
}

/// A snapshot to lay out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Next {
    snapshot: ManifestId,
    sequence: u64,
    created_at: Timestamp,
    now: Timestamp,
}

/// Told of each step; an error there is like a kill.
type Steps<'a> = &'a mut dyn FnMut(&'static str) -> Result<(), LayoutError>;

impl Layout {
    /// Looks at nothing yet.
    ///
    /// # Errors
    /// [`LayoutError::NotAPlace`].
    pub fn new(into: &Path, collection: CollectionId) -> Result<Self, LayoutError> {
        let fail = || LayoutError::NotAPlace { path: into.to_owned() };
        let name = into.file_name().filter(|_| into.is_absolute() && into.parent().is_some()).ok_or_else(fail)?;
        let beside = |suffix: &str| {
            let mut beside = name.to_owned();
            beside.push(suffix);
            into.with_file_name(beside)
        };
        Ok(Self {
            into: into.to_owned(),
            collection,
            marker: beside(".bulbil.json"),
            temporary: beside(".bulbil.json.new"),
            scratch: beside(".bulbil-new"),
            previous: beside(".previous"),
        })
    }

    /// The snapshot that is laid out, if it is still in its place.
    ///
    /// # Errors
    /// [`LayoutError::Marker`], [`LayoutError::OtherCollection`], [`LayoutError::Io`].
    pub fn current(&self) -> Result<Option<LaidOut>, LayoutError> {
        let marker = self.load()?;
        let here = Found::at(&self.into)?;
        // Killed just after the exchange, it is the next one.
        let known = [marker.current, marker.next];
        Ok(known.into_iter().flatten().find(|known| here.is(Some(known.folder))))
    }

    /// Finishes what a kill interrupted, then says what is laid out.
    ///
    /// # Errors
    /// [`LayoutError`].
    pub fn settle(&self) -> Result<Option<LaidOut>, LayoutError> {
        let mut marker = self.load()?;
        self.recover(&mut marker, &mut |_| Ok(()))?;
        self.current()
    }

    /// Makes sure that the folder, and what will stand beside it, is ours to use: changes nothing.
    ///
    /// # Errors
    /// [`LayoutError::NotOurs`], [`LayoutError::InTheWay`] …
    pub fn check(&self) -> Result<(), LayoutError> {
        let marker = self.load()?;
        let known = [marker.current.as_ref(), marker.next.as_ref()].map(|known| known.map(|known| known.folder));
        let is_ours = |found: Found| known.iter().chain([&marker.previous]).any(|folder| found.is(*folder));
        let here = Found::at(&self.into)?;
        if here == Found::Other || here != Found::Nothing && !is_ours(here) && !is_empty(&self.into)? {
            return Err(LayoutError::NotOurs { path: self.into.clone() });
        }
        for path in [&self.scratch, &self.previous] {
            let found = Found::at(path)?;
            // An empty scratch folder may be what a kill left before the marker named it.
            let is_empty = path == &self.scratch && found != Found::Other && found != Found::Nothing && is_empty(path)?;
            if found != Found::Nothing && !is_ours(found) && !is_empty {
                return Err(LayoutError::InTheWay { path: path.clone() });
            }
        }
        Ok(())
    }

    /// Lays out a snapshot: restores it beside the folder, every file compared with its own hash, makes it durable, and puts it
    /// in the folder's place. Finishes first what a kill interrupted. Blocks; for a thread of its own.
    ///
    /// # Errors
    /// [`LayoutError`]; the folder is as it was before then, and what was begun is removed.
    pub fn lay_out(
        &self,
        chunks: &Arc<dyn ChunkStore>,
        snapshot: &OpenSnapshot,
        now: Timestamp,
        monitor: &dyn Monitor,
        cancel: &CancellationToken,
    ) -> Result<LaidOut, LayoutError> {
        let manifest = &snapshot.signed.manifest;
        let (sequence, created_at) = (manifest.sequence, manifest.created_at);
        let next = Next { snapshot: snapshot.signed.id, sequence, created_at, now };
        let options = RestoreOptions { paths: vec![], overwrite: Overwrite::Always, delete: false, dry_run: false };
        let fill = |scratch: &Path| {
            let stats = restore(chunks, snapshot, scratch, &options, monitor, cancel)
                .map_err(|cause| LayoutError::restore(&self.into, cause))?;
            match stats.failed {
                0 => Ok(()),
                failed => Err(LayoutError::Incomplete { path: self.into.clone(), failed }),
            }
        };
        let done = self.lay_out_by(next, fill, &mut |_| Ok(()));
        if done.is_err() {
            self.clear();
        }
        done
    }

    /// Remembers that the hook has heard of what is laid out.
    ///
    /// # Errors
    /// [`LayoutError::Io`].
    pub fn hook_has_run(&self) -> Result<(), LayoutError> {
        let mut marker = self.load()?;
        if let Some(current) = &mut marker.current {
            current.hook_is_due = false;
        }
        self.save(&marker)
    }

    /// Finishes what a kill interrupted, then makes the next one and puts it in place.
    fn lay_out_by(
        &self,
        next: Next,
        fill: impl FnOnce(&Path) -> Result<(), LayoutError>,
        steps: Steps<'_>,
    ) -> Result<LaidOut, LayoutError> {
        let mut marker = self.load()?;
        self.recover(&mut marker, steps)?;
        self.check()?;
        let is_made = marker.next_is_whole
            && marker.next.as_ref().is_some_and(|made| made.snapshot == next.snapshot)
            && Found::at(&self.scratch)?.is(marker.next.as_ref().map(|made| made.folder));
        if !is_made {
            self.make(&mut marker, next, fill, steps)?;
        }
        self.swap(&marker, steps)?;
        self.finish(&mut marker, steps)?;
        marker.current.ok_or_else(|| LayoutError::NotOurs { path: self.into.clone() })
    }

    /// Makes the next one in the scratch folder, whole and durable.
    fn make(
        &self,
        marker: &mut Marker,
        next: Next,
        fill: impl FnOnce(&Path) -> Result<(), LayoutError>,
        steps: Steps<'_>,
    ) -> Result<(), LayoutError> {
        self.remove(&self.scratch)?;
        let fail = |what, path: &Path, cause| LayoutError::io(what, path, cause);
        if let Some(parent) = self.into.parent() {
            fs::create_dir_all(parent).map_err(|cause| fail("create", parent, cause))?;
        }
        let made = DirBuilder::new().mode(0o700).create(&self.scratch);
        made.map_err(|cause| fail("create", &self.scratch, cause))?;
        steps("scratch folder made")?;
        let Found::Folder(folder) = Found::at(&self.scratch)? else {
            return Err(LayoutError::InTheWay { path: self.scratch.clone() });
        };
        let Next { snapshot, sequence, created_at, now } = next;
        let next = LaidOut { snapshot, sequence, created_at, laid_out_at: now, folder, hook_is_due: true };
        (marker.next, marker.next_is_whole) = (Some(next), false);
        self.save(marker)?;
        steps("scratch folder named")?;
        fill(&self.scratch)?;
        steps("filled")?;
        let synced = File::open(&self.scratch).and_then(|scratch| Ok(rustix::fs::syncfs(scratch)?));
        synced.map_err(|cause| fail("write to disk", &self.scratch, cause))?;
        marker.next_is_whole = true;
        self.save(marker)?;
        steps("whole")
    }

    /// Removes what was begun, if it is ours; a later run tries again.
    fn clear(&self) {
        let clear = || {
            let mut marker = self.load()?;
            let begun = marker.next.as_ref().map(|next| next.folder);
            if begun.is_some() && !Found::at(&self.into)?.is(begun) && Found::at(&self.scratch)?.is(begun) {
                self.remove(&self.scratch)?;
                (marker.next, marker.next_is_whole) = (None, false);
                self.save(&marker)?;
            }
            Ok::<_, LayoutError>(())
        };
        if let Err(error) = clear() {
            tracing::warn!(%error, "what was begun for a standby could not be removed");
        }
    }

    fn load(&self) -> Result<Marker, LayoutError> {
        let marker = Marker::load(&self.marker)?.unwrap_or_else(|| Marker::new(self.collection));
        if marker.collection == self.collection {
            Ok(marker)
        } else {
            Err(LayoutError::OtherCollection { path: self.into.clone(), marker: self.marker.clone() })
        }
    }

    fn save(&self, marker: &Marker) -> Result<(), LayoutError> {
        marker.save(&self.marker, &self.temporary)
    }
}

fn is_empty(dir: &Path) -> Result<bool, LayoutError> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(cause) => Err(LayoutError::io("read", dir, cause)),
    }
}

//! Putting the next folder in the place of the current one, and what a kill between two steps leaves.

use std::fs;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::super::target::remove_all;
use super::marker::{Found, Marker, sync_parent};
use super::{Layout, LayoutError, Steps};

impl Layout {
    /// Finishes what a kill interrupted: afterwards the folder is a whole snapshot or not there, and the marker says so.
    pub(super) fn recover(&self, marker: &mut Marker, steps: Steps<'_>) -> Result<(), LayoutError> {
        let Some(next) = marker.next.as_ref().map(|next| next.folder) else { return Ok(()) };
        let here = Found::at(&self.into)?;
        if here == Found::Nothing && marker.next_is_whole && Found::at(&self.scratch)?.is(Some(next)) {
            // Between two renames.
            rename(&self.scratch, &self.into)?;
            steps("put in place after all")?;
        }
        if Found::at(&self.into)?.is(Some(next)) { self.finish(marker, steps) } else { Ok(()) }
    }

    /// Puts the scratch folder, whole and named in the marker, in the folder's place.
    pub(super) fn swap(&self, marker: &Marker, steps: Steps<'_>) -> Result<(), LayoutError> {
        let current = marker.current.as_ref().map(|current| current.folder);
        match Found::at(&self.into)? {
            Found::Nothing => rename(&self.scratch, &self.into)?,
            here if here.is(current) => self.exchange(steps)?,
            // It was empty a moment ago; if it is not any more, this fails.
            Found::Folder(_) => {
                fs::remove_dir(&self.into).map_err(|cause| LayoutError::place(&self.into, cause))?;
                rename(&self.scratch, &self.into)?;
            }
            Found::Other => return Err(LayoutError::NotOurs { path: self.into.clone() }),
        }
        sync_parent(&self.into).map_err(|cause| LayoutError::io("write to disk", &self.into, cause))?;
        steps("put in place")
    }

    fn exchange(&self, steps: Steps<'_>) -> Result<(), LayoutError> {
        match renameat_with(CWD, &self.scratch, CWD, &self.into, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(()),
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                tracing::warn!(
                    folder = %self.into.display(),
                    "this file system cannot exchange two folders: for a moment there is none"
                );
                self.rename_twice(steps)
            }
            Err(errno) => Err(LayoutError::place(&self.into, errno.into())),
        }
    }

    /// Where folders cannot be exchanged. What is at the place of the previous one was checked to be ours.
    pub(super) fn rename_twice(&self, steps: Steps<'_>) -> Result<(), LayoutError> {
        self.remove(&self.previous)?;
        rename(&self.into, &self.previous)?;
        steps("nothing in place")?;
        rename(&self.scratch, &self.into)
    }

    /// After the swap: the old folder becomes the previous one, the one before goes away, and the marker says so.
    pub(super) fn finish(&self, marker: &mut Marker, steps: Steps<'_>) -> Result<(), LayoutError> {
        let old = marker.current.as_ref().map(|current| current.folder);
        if Found::at(&self.scratch)?.is(old) {
            match Found::at(&self.previous)? {
                Found::Nothing => rename(&self.scratch, &self.previous)?,
                found if found.is(marker.previous) => {
                    // The previous one stays whole, too.
                    match renameat_with(CWD, &self.scratch, CWD, &self.previous, RenameFlags::EXCHANGE) {
                        Ok(()) => {}
                        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                            self.remove(&self.previous)?;
                            rename(&self.scratch, &self.previous)?;
                        }
                        Err(errno) => return Err(LayoutError::place(&self.previous, errno.into())),
                    }
                }
                _ => return Err(LayoutError::InTheWay { path: self.previous.clone() }),
            }
            steps("old one kept")?;
        }
        if Found::at(&self.scratch)?.is(marker.previous) {
            self.remove(&self.scratch)?;
            steps("older one removed")?;
        }
        if Found::at(&self.previous)?.is(old) {
            marker.previous = old;
        }
        marker.current = marker.next.take();
        marker.next_is_whole = false;
        self.save(marker)?;
        steps("done")
    }

    /// Removes a folder of ours.
    pub(super) fn remove(&self, path: &Path) -> Result<(), LayoutError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        let fail = |cause| LayoutError::io("remove", path, cause);
        if !parent.exists() {
            return Ok(());
        }
        let parent = fs::File::open(parent).map_err(fail)?;
        let name = std::os::unix::ffi::OsStrExt::as_bytes(name);
        remove_all(rustix::fd::AsFd::as_fd(&parent), name).map_err(|errno| fail(errno.into()))
    }
}

/// Renames; the new name is free.
fn rename(from: &Path, to: &Path) -> Result<(), LayoutError> {
    fs::rename(from, to).map_err(|cause| LayoutError::place(to, cause))?;
    sync_parent(to).map_err(|cause| LayoutError::io("write to disk", to, cause))
}

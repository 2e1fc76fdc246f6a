//! A file that is being restored.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fd::AsFd;
use rustix::fs::{AtFlags, renameat, unlinkat};
use rustix::io::Errno;

use crate::domain::metadata::entry::Attributes;
use crate::domain::metadata::path::TreePath;
use crate::monitor::Problem;

use super::attributes::Setter;
use super::dirs::{Dir, in_the_way};
use super::error::TargetError;
use super::scratch::Scratch;

/// Where a new thing is until it is finished.
#[derive(Debug)]
pub(super) struct Making {
    pub path: TreePath,
    /// Where it belongs.
    pub dir: Arc<Dir>,
    /// Where it is; `None` if it is in its place from the beginning.
    pub temporary: Option<Temporary>,
    /// Whether it stays.
    pub is_done: bool,
}

/// A name until the thing is finished.
#[derive(Debug)]
pub(super) struct Temporary {
    pub name: Vec<u8>,
    /// The scratch folder; `None` if it is on another file system, and the thing is made beside its place.
    pub scratch: Option<Arc<Scratch>>,
}

impl Making {
    /// The folder and the name where the thing is now.
    pub(super) fn place(&self) -> (&Dir, &[u8]) {
        match &self.temporary {
            None => (&self.dir, self.path.name()),
            Some(Temporary { name, scratch: Some(scratch) }) => (&scratch.dir, name),
            Some(Temporary { name, scratch: None }) => (&self.dir, name),
        }
    }

    /// Gives the thing its name. A file or link that had it is replaced.
    pub(super) fn finish(mut self) -> Result<(), TargetError> {
        if self.temporary.is_some() {
            let (from, name) = self.place();
            match renameat(&from.fd, name, &self.dir.fd, self.path.name()) {
                Ok(()) => {}
                Err(errno @ (Errno::ISDIR | Errno::EXIST | Errno::NOTEMPTY)) => {
                    return Err(in_the_way(&self.dir, self.path.name(), &self.path, errno));
                }
                Err(errno) => return Err(TargetError::io("put in place", Some(&self.path), errno)),
            }
            // If both names were the same inode's, renaming did nothing and the temporary one is still there.
            let (from, name) = self.place();
            let _ = unlinkat(&from.fd, name, AtFlags::empty());
        }
        self.is_done = true;
        Ok(())
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if !self.is_done {
            let (dir, name) = self.place();
            // If it is not there, so much the better.
            let _ = unlinkat(&dir.fd, name, AtFlags::empty());
        }
    }
}

/// A regular file that is being restored. Dropping it unfinished removes it.
#[derive(Debug)]
pub struct StagedFile {
    pub(super) file: std::fs::File,
    pub(super) making: Making,
    pub(super) is_root: bool,
}

impl StagedFile {
    /// Where it will be.
    pub fn path(&self) -> &TreePath {
        &self.making.path
    }

    /// Writes all of `bytes` at `offset`. What is never written before the end is a hole.
    ///
    /// # Errors
    /// [`TargetError::NoSpace`], [`TargetError::Io`].
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), TargetError> {
        self.file.write_all_at(bytes, offset).map_err(|cause| self.error("write", &cause))
    }

    /// Makes it `len` bytes long; new bytes are a hole.
    ///
    /// # Errors
    /// [`TargetError::NoSpace`], [`TargetError::Io`].
    pub fn set_len(&self, len: u64) -> Result<(), TargetError> {
        self.file.set_len(len).map_err(|cause| self.error("set the length of", &cause))
    }

    /// Sets its attributes and gives it its name. Attributes that could not be set are problems; the file is there.
    ///
    /// # Errors
    /// [`TargetError::InTheWay`] if a folder has its name, [`TargetError::Io`]; then the file is not there.
    pub fn finish(self, attributes: &Attributes) -> Result<Vec<Problem>, TargetError> {
        // Beside its place it may have inherited an ACL; in the scratch folder nothing is inherited.
        let is_used = matches!(self.making.temporary, Some(Temporary { scratch: None, .. }));
        let setter = Setter { path: Some(&self.making.path), is_root: self.is_root, is_used };
        let problems = setter.set(self.file.as_fd(), attributes);
        self.making.finish()?;
        Ok(problems)
    }

    fn error(&self, what: &'static str, cause: &std::io::Error) -> TargetError {
        TargetError::io(what, Some(&self.making.path), Errno::from_io_error(cause).unwrap_or(Errno::IO))
    }
}

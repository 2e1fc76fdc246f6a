//! What is staged takes its place by renaming, what was there before is kept, and a kill between any two steps is finished later.
//!
//! A name that has something always has something: two things exchange their names, where the file system can do it. Which of them is at
//! a name is known by its number. Each step can be done again.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fd::AsFd;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::RecoverError;
use super::journal::{Journal, Move, Number};
use crate::backup::target::remove_all;

/// Told of each step; an error there is like a kill.
pub type Steps<'a> = &'a mut dyn FnMut(&'static str) -> Result<(), RecoverError>;

/// Does what the journal says, or what is left of it.
///
/// # Errors
/// [`RecoverError::Io`]; what was done until then can be finished, or taken back by [`take_back`].
pub fn go(journal: &Journal, steps: Steps<'_>) -> Result<(), RecoverError> {
    for one in &journal.moves {
        put(one, steps)?;
    }
    for carry in &journal.carried {
        if there(&carry.from)? && !there(&carry.to)? {
            above(&carry.from, &carry.to)?;
            rename(&carry.from, &carry.to)?;
            steps("carried over")?;
        }
    }
    for folder in &journal.folders {
        let fail = |cause| RecoverError::io("set the mode of", &folder.path, cause);
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&folder.path, Some(folder.uid), Some(folder.gid)).map_err(fail)?;
        }
        // Nobody's program becomes runnable by it: it is a folder.
        fs::set_permissions(&folder.path, fs::Permissions::from_mode(folder.mode & 0o7777)).map_err(fail)?;
    }
    steps("all in place")
}

/// Removes what was staged; what is not ours is not in there.
///
/// # Errors
/// [`RecoverError::Io`].
pub fn clear(journal: &Journal) -> Result<(), RecoverError> {
    for stage in &journal.stages {
        let (Some(parent), Some(name)) = (stage.parent(), stage.file_name()) else { continue };
        let parent = match fs::File::open(parent) {
            Ok(parent) => parent,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(cause) => return Err(RecoverError::io("remove", stage, cause)),
        };
        remove_all(parent.as_fd(), name.as_bytes()).map_err(|errno| RecoverError::io("remove", stage, errno.into()))?;
    }
    Ok(())
}

/// One thing takes its place.
fn put(one: &Move, steps: Steps<'_>) -> Result<(), RecoverError> {
    let Some(staged) = &one.staged else {
        if let Some(kept) = &one.kept
            && there(&one.live)?
            && !there(kept)?
        {
            private_parents(kept)?;
            rename(&one.live, kept)?;
            steps("taken away")?;
        }
        return Ok(());
    };
    // What is not staged any more was put in place before: who uses it may have replaced it since.
    if Number::of(&one.live)? != Some(staged.number) && there(&staged.path)? {
        match &one.kept {
            Some(kept) if there(&one.live)? => exchange(&staged.path, &one.live, kept, steps)?,
            _ => {
                above(&staged.path, &one.live)?;
                rename(&staged.path, &one.live)?;
            }
        }
        steps("put in place")?;
    }
    if let Some(kept) = &one.kept
        && there(&staged.path)?
    {
        private_parents(kept)?;
        rename(&staged.path, kept)?;
        steps("old one kept")?;
    }
    Ok(())
}

/// Puts everything back as it was: for when a step cannot be done.
///
/// # Errors
/// [`RecoverError::Io`].
pub fn take_back(journal: &Journal) -> Result<(), RecoverError> {
    for carry in journal.carried.iter().rev() {
        // Before that is kept, what is there is the old one itself.
        let is_kept = carry.from.parent().is_some_and(Path::exists);
        if is_kept && !there(&carry.from)? && there(&carry.to)? {
            rename(&carry.to, &carry.from)?;
        }
    }
    for one in journal.moves.iter().rev() {
        let kept = match &one.kept {
            Some(kept) if there(kept)? => Some(kept),
            _ => None,
        };
        match (&one.staged, kept) {
            (None, Some(kept)) if !there(&one.live)? => rename(kept, &one.live)?,
            (None, _) => {}
            (Some(staged), kept) if Number::of(&one.live)? == Some(staged.number) => {
                if let Some(kept) = kept {
                    // As it was before the last step.
                    rename(kept, &staged.path)?;
                }
                match there(&staged.path)? {
                    true => swap_names(&staged.path, &one.live)?,
                    false => rename(&one.live, &staged.path)?,
                }
            }
            (Some(_), Some(kept)) if !there(&one.live)? => rename(kept, &one.live)?,
            (Some(_), _) => {}
        }
    }
    Ok(())
}

fn exchange(staged: &Path, live: &Path, kept: &Path, steps: Steps<'_>) -> Result<(), RecoverError> {
    match renameat_with(CWD, staged, CWD, live, RenameFlags::EXCHANGE) {
        Ok(()) => sync_both(staged, live),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => by_two_renames(staged, live, kept, steps),
        Err(errno) => Err(RecoverError::io("replace", live, errno.into())),
    }
}

/// Where names cannot be exchanged: for a moment there is nothing.
pub(super) fn by_two_renames(staged: &Path, live: &Path, kept: &Path, steps: Steps<'_>) -> Result<(), RecoverError> {
    private_parents(kept)?;
    rename(live, kept)?;
    steps("nothing in place")?;
    rename(staged, live)
}

fn swap_names(one: &Path, other: &Path) -> Result<(), RecoverError> {
    match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
        Ok(()) => sync_both(one, other),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            let mut aside = one.as_os_str().to_owned();
            aside.push(".aside");
            let aside = Path::new(&aside);
            rename(other, aside)?;
            rename(one, other)?;
            rename(aside, one)
        }
        Err(errno) => Err(RecoverError::io("replace", other, errno.into())),
    }
}

/// Renames to a name that is free; durable on return.
fn rename(from: &Path, to: &Path) -> Result<(), RecoverError> {
    let done = match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => match there(to)? {
            true => Err(io::Error::from(ErrorKind::AlreadyExists)),
            false => fs::rename(from, to),
        },
        done => done.map_err(io::Error::from),
    };
    done.map_err(|cause| RecoverError::io("rename to", to, cause))?;
    sync_both(from, to)
}

fn sync_both(one: &Path, other: &Path) -> Result<(), RecoverError> {
    for path in [one, other] {
        let parent = path.parent().unwrap_or(Path::new("/"));
        fs::File::open(parent)
            .and_then(|parent| parent.sync_all())
            .map_err(|cause| RecoverError::io("write to disk", parent, cause))?;
    }
    Ok(())
}

fn there(path: &Path) -> Result<bool, RecoverError> {
    Ok(Number::of(path)?.is_some())
}

/// Makes the folders above what is kept, which nobody else may look into.
fn private_parents(path: &Path) -> Result<(), RecoverError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(parent)
        .map_err(|cause| RecoverError::io("create", parent, cause))
}

/// Makes the folders above `to` that are missing, like those above `from`.
fn above(from: &Path, to: &Path) -> Result<(), RecoverError> {
    let (Some(model), Some(parent)) = (from.parent(), to.parent()) else { return Ok(()) };
    if there(parent)? {
        return Ok(());
    }
    above(model, parent)?;
    let fail = |cause| RecoverError::io("create", parent, cause);
    let like = fs::symlink_metadata(model).map_err(fail)?;
    fs::DirBuilder::new().mode(0o700).create(parent).map_err(fail)?;
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(parent, Some(like.uid()), Some(like.gid())).map_err(fail)?;
    }
    fs::set_permissions(parent, fs::Permissions::from_mode(like.mode() & 0o7777)).map_err(fail)
}

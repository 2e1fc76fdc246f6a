//! The scratch folder inside a target, where things are made before they get their names.
//!
//! It is called `.bulbil-restore-` and 16 random hex digits, and locked while its restore runs. A folder of that name that
//! nobody has locked was left by a restore that was killed; the next one removes it.

use data_encoding::HEXLOWER;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FlockOperation, Mode, flock, fremovexattr, mkdirat, openat};
use rustix::io::Errno;

use super::dirs::{Dir, OPEN_DIR};
use super::remove::{names, remove_all};

/// What the name begins with.
pub(super) const PREFIX: &[u8] = b".bulbil-restore-";

/// How many hex digits follow.
const DIGITS: usize = 16;

/// A scratch folder. Dropping it removes it, with everything that is still in it.
#[derive(Debug)]
pub(super) struct Scratch {
    parent: OwnedFd,
    pub name: Vec<u8>,
    pub dir: Dir,
}

impl Scratch {
    /// Makes one in `parent`.
    pub(super) fn new(parent: &OwnedFd) -> Result<Self, Errno> {
        let mut random = [0; DIGITS / 2];
        getrandom::fill(&mut random).map_err(|_| Errno::IO)?;
        let name = [PREFIX, HEXLOWER.encode(&random).as_bytes()].concat();
        mkdirat(parent, name.as_slice(), Mode::RWXU)?;
        let fd = openat(parent, name.as_slice(), OPEN_DIR, Mode::empty())?;
        flock(&fd, FlockOperation::NonBlockingLockExclusive)?;
        // An ACL that new things would inherit; mostly there is none.
        let _ = fremovexattr(&fd, "system.posix_acl_default");
        Ok(Self { parent: rustix::io::fcntl_dupfd_cloexec(parent, 0)?, name, dir: Dir::new(fd)? })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(errno) = remove_all(self.parent.as_fd(), &self.name) {
            tracing::warn!(name = %self.name.escape_ascii(), %errno, "cannot remove the scratch folder of a restore");
        }
    }
}

/// Whether a name is that of a scratch folder.
pub(super) fn is_scratch(name: &[u8]) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|rest| rest.len() == DIGITS && rest.iter().all(u8::is_ascii_hexdigit))
}

/// Removes the scratch folders of restores that were killed.
pub(super) fn remove_leftovers(target: &OwnedFd) -> Result<(), Errno> {
    for (name, _) in names(target)?.iter().filter(|(name, _)| is_scratch(name)) {
        let Ok(fd) = openat(target, name.as_slice(), OPEN_DIR, Mode::empty()) else { continue };
        if flock(&fd, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue; // another restore is at work
        }
        if let Err(errno) = remove_all(target.as_fd(), name) {
            tracing::warn!(name = %name.escape_ascii(), %errno, "cannot remove what a killed restore left");
        }
    }
    Ok(())
}

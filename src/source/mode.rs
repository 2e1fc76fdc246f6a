//! Who may read a file: taking that away from everybody but its owner.

use std::io;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, fchmod};

use super::dir::{DirHandle, open_quietly};
use super::stat::{FoundKind, from_system};
use super::walk::Found;

/// Bits of everybody but the owner.
pub const OF_OTHERS: u32 = 0o077;

/// Takes all rights of others away from a file or directory; the owner's stay as they are, and nothing is added.
///
/// # Errors
/// If it may not be changed, or is another one by now.
pub fn tighten(found: &Found, dir: &Arc<DirHandle>) -> io::Result<()> {
    if !matches!(found.kind, FoundKind::File | FoundKind::Directory) || found.stat.mode & OF_OTHERS == 0 {
        return Ok(());
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = open_quietly(&*dir.fd()?, found.name(), flags)?;
    let (kind, now) = from_system(&rustix::fs::fstat(&file)?);
    if kind != found.kind || (now.dev, now.inode) != (found.stat.dev, found.stat.inode) {
        return Err(io::Error::other("it was replaced meanwhile"));
    }
    Ok(fchmod(&file, Mode::from_raw_mode(now.mode & 0o7777 & !OF_OTHERS))?)
}

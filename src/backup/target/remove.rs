//! Removing a whole tree, of any depth, without following a link.

use std::mem::MaybeUninit;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, RawDir, fchmod, fstat, openat, statat, unlinkat};
use rustix::io::Errno;

use crate::source::stat::from_system;

use super::attributes::chmod_at;
use super::dirs::OPEN_DIR;

/// A folder that is being emptied: which one it is, its name in the one above, and the folders still in it.
struct Emptying {
    dev: u64,
    inode: u64,
    name: Vec<u8>,
    folders: Vec<Vec<u8>>,
}

/// Removes `name` in `dir` and everything below; it is fine if nothing is there.
///
/// Only one folder is open at a time; the way up is `..`, taken only if it leads where we came from.
pub(in crate::backup) fn remove_all(dir: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    match unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // What the systems say about folders.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    let (mut fd, top) = enter(dir, name)?;
    let mut stack = vec![top];
    while let Some(top) = stack.last_mut() {
        if let Some(folder) = top.folders.pop() {
            let (next, emptying) = enter(fd.as_fd(), &folder)?;
            fd = next;
            stack.push(emptying);
            continue;
        }
        let done = stack.pop().expect("there is a last one");
        match stack.last() {
            None => remove_folder(dir, &done.name)?,
            Some(above) => {
                fd = openat(&fd, "..", OPEN_DIR, Mode::empty())?;
                let (_, stat) = from_system(&fstat(&fd)?);
                if (stat.dev, stat.inode) != (above.dev, above.inode) {
                    return Err(Errno::STALE);
                }
                remove_folder(fd.as_fd(), &done.name)?;
            }
        }
    }
    Ok(())
}

/// Opens a folder and removes everything in it but folders.
fn enter(dir: BorrowedFd<'_>, name: &[u8]) -> Result<(OwnedFd, Emptying), Errno> {
    let open = || openat(dir, name, OPEN_DIR, Mode::empty());
    let fd = match open() {
        Err(Errno::ACCESS) => {
            chmod_at(dir, name, Mode::RWXU)?;
            open()?
        }
        done => done?,
    };
    let (_, stat) = from_system(&fstat(&fd)?);
    if stat.mode & 0o700 != 0o700 {
        // If this fails, so does what follows, and says so.
        let _ = fchmod(&fd, Mode::RWXU);
    }
    let mut folders = Vec::new();
    for (name, file_type) in names(&fd)? {
        let is_folder = match file_type {
            FileType::Unknown => statat(&fd, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir()),
            known => known.is_dir(),
        };
        if is_folder {
            folders.push(name);
            continue;
        }
        match unlinkat(&fd, name.as_slice(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok((fd, Emptying { dev: stat.dev, inode: stat.inode, name: name.to_vec(), folders }))
}

fn remove_folder(dir: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    match unlinkat(dir, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// The names in an open folder, sorted.
pub(super) fn names(dir: &OwnedFd) -> Result<Vec<(Vec<u8>, FileType)>, Errno> {
    let mut buffer = vec![MaybeUninit::uninit(); 64 * 1024];
    let mut entries = RawDir::new(dir, &mut buffer);
    let mut found = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Err(Errno::INTR) => continue,
            entry => entry?,
        };
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            found.push((name.to_vec(), entry.file_type()));
        }
    }
    found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

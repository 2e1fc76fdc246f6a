//! Owner, extended attributes, mode, time: in this order.
//!
//! A new owner takes set-uid bits and capabilities away, so it comes first. Extended attributes need the right to write, which
//! the mode may take away, so they come before it. The time comes last, since everything else changes it.

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::Errno;

use crate::domain::metadata::entry::{Attributes, FileTime};
use crate::domain::metadata::path::TreePath;
use crate::monitor::Problem;
use crate::source::read::proc_path;
use crate::source::stat::from_system;

/// Owner and group bits by which a program runs as somebody else.
const SET_ID: u32 = 0o6000;

/// Who sets attributes, on what.
pub(super) struct Setter<'a> {
    /// What problems are said to be about; `None` is the target itself.
    pub path: Option<&'a TreePath>,
    /// Whether owners are set.
    pub is_root: bool,
    /// Whether attributes that the snapshot does not have may be there and have to go.
    pub is_used: bool,
}

impl Setter<'_> {
    /// Sets them on an open file or directory.
    pub(super) fn set(&self, fd: BorrowedFd<'_>, wanted: &Attributes) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.is_root {
            let done = owner(wanted).and_then(|(uid, gid)| rustix::fs::fchown(fd, uid, gid));
            self.note(&mut problems, "its owner", done);
        }
        if self.is_used {
            self.note(&mut problems, "its extended attributes", remove_others(fd, wanted));
        }
        for (name, value) in &wanted.xattrs {
            let done = rustix::fs::fsetxattr(fd, name.as_slice(), value, XattrFlags::empty());
            self.note_xattr(&mut problems, name, done);
        }
        let stat = rustix::fs::fstat(fd);
        let mode = self.mode(&mut problems, stat, wanted);
        self.note(&mut problems, "its mode", rustix::fs::fchmod(fd, mode));
        self.note(&mut problems, "its time", rustix::fs::futimens(fd, &times(wanted.mtime)));
        problems
    }

    /// Sets them on what cannot be opened: a link (which has no mode), a pipe, a socket, a device.
    pub(super) fn set_at(&self, dir: BorrowedFd<'_>, name: &[u8], wanted: &Attributes) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.is_root {
            let done = owner(wanted)
                .and_then(|(uid, gid)| rustix::fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW));
            self.note(&mut problems, "its owner", done);
        }
        for (xattr, value) in &wanted.xattrs {
            let path = proc_path(dir, name);
            let done = rustix::fs::lsetxattr(path.as_slice(), xattr.as_slice(), value, XattrFlags::empty());
            self.note_xattr(&mut problems, xattr, done);
        }
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
        let is_link = stat.as_ref().is_ok_and(|s| rustix::fs::FileType::from_raw_mode(s.st_mode).is_symlink());
        if !is_link {
            let mode = self.mode(&mut problems, stat, wanted);
            self.note(&mut problems, "its mode", chmod_at(dir, name, mode));
        }
        let done = rustix::fs::utimensat(dir, name, &times(wanted.mtime), AtFlags::SYMLINK_NOFOLLOW);
        self.note(&mut problems, "its time", done);
        problems
    }

    /// The mode to set. Nobody's program is made to run as the one who restores it.
    fn mode(
        &self,
        problems: &mut Vec<Problem>,
        stat: rustix::io::Result<rustix::fs::Stat>,
        wanted: &Attributes,
    ) -> Mode {
        let mut mode = wanted.mode & 0o7777;
        if mode & SET_ID != 0 {
            let is_owners = stat.is_ok_and(|stat| {
                let (_, now) = from_system(&stat);
                (mode & 0o4000 == 0 || now.uid == wanted.uid) && (mode & 0o2000 == 0 || now.gid == wanted.gid)
            });
            if !is_owners {
                mode &= !SET_ID;
                let message = "its set-uid and set-gid bits were left off, since its owner could not be restored: restore as root";
                problems.push(Problem { subject: self.subject(), message: message.to_owned() });
            }
        }
        Mode::from_raw_mode(mode)
    }

    fn subject(&self) -> String {
        self.path.map_or_else(|| "the target".to_owned(), TreePath::to_string)
    }

    fn note(&self, problems: &mut Vec<Problem>, what: &str, done: Result<(), Errno>) {
        if let Err(errno) = done {
            let message = format!("{what} could not be restored ({errno}): set it by hand, or restore as root");
            problems.push(Problem { subject: self.subject(), message });
        }
    }

    fn note_xattr(&self, problems: &mut Vec<Problem>, name: &[u8], done: Result<(), Errno>) {
        let advice = match done {
            Ok(()) => return,
            Err(Errno::NOTSUP) => "the target's file system does not keep it: restore to one that does".to_owned(),
            Err(Errno::PERM | Errno::ACCESS) => "it is not permitted: restore as root".to_owned(),
            Err(errno) => format!("{errno}: set it by hand"),
        };
        let message = format!("its extended attribute {} could not be restored; {advice}", name.escape_ascii());
        problems.push(Problem { subject: self.subject(), message });
    }
}

/// Sets a mode without following a link, which `chmod` cannot by itself: through a descriptor that is only a place.
pub(super) fn chmod_at(dir: BorrowedFd<'_>, name: &[u8], mode: Mode) -> Result<(), Errno> {
    let fd = rustix::fs::openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    if rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode).is_symlink() {
        return Err(Errno::LOOP);
    }
    rustix::fs::chmod(format!("/proc/self/fd/{}", fd.as_raw_fd()), mode)
}

/// Takes away what the snapshot does not have, e.g. an ACL inherited from a folder. What belongs to the system stays.
fn remove_others(fd: BorrowedFd<'_>, wanted: &Attributes) -> Result<(), Errno> {
    let mut names = vec![0; 1 << 16];
    let len = match rustix::fs::flistxattr(fd, names.as_mut_slice()) {
        Ok(len) => len,
        Err(Errno::NOTSUP) => 0,
        Err(errno) => return Err(errno),
    };
    for name in names[..len].split(|b| *b == 0).filter(|name| !name.is_empty()) {
        let is_ours = name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_");
        if is_ours && wanted.xattrs.iter().all(|(kept, _)| kept != name) {
            match rustix::fs::fremovexattr(fd, name) {
                Ok(()) | Err(Errno::NODATA) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
    Ok(())
}

/// Numbers that mean "leave it" to the system are nobody's.
fn owner(wanted: &Attributes) -> Result<(Option<Uid>, Option<Gid>), Errno> {
    if wanted.uid == u32::MAX || wanted.gid == u32::MAX {
        return Err(Errno::INVAL);
    }
    Ok((Some(Uid::from_raw(wanted.uid)), Some(Gid::from_raw(wanted.gid))))
}

fn times(mtime: FileTime) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT as _ },
        last_modification: Timespec { tv_sec: mtime.secs, tv_nsec: mtime.nanos.min(999_999_999).into() },
    }
}

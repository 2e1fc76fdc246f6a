//! Directories of a tree that is being read: opened when needed, closed when too many are open.
//!
//! A [`DirHandle`] knows its parent and its name in it, not its path. It holds a descriptor while it can; when the tree has
//! more than a hundred others open, the oldest is closed and opens itself again when somebody needs it, relative to its
//! parent and only if it is still the same directory. So neither wide nor deep trees run out of descriptors.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, Weak};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use super::stat::{Stat, from_system};

/// How many directories of one tree are kept open.
const MAX_OPEN: usize = 100;

/// How a directory is opened: never through a link.
const OPEN_DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A directory of the tree that is being read.
#[derive(Debug)]
pub struct DirHandle {
    /// Its parent and its name there; `None` for the first one, which is never closed.
    place: Option<(Arc<DirHandle>, Box<[u8]>)>,
    fd: Mutex<Option<Arc<OwnedFd>>>,
    stat: Stat,
    open: Arc<Open>,
}

/// The handles that are open, oldest first.
#[derive(Debug, Default)]
struct Open(Mutex<VecDeque<Weak<DirHandle>>>);

impl DirHandle {
    /// A handle of a directory that is open already. It begins a tree.
    pub(crate) fn first(fd: OwnedFd) -> io::Result<Arc<Self>> {
        let (_, stat) = from_system(&fstat(&fd)?);
        let fd = Mutex::new(Some(Arc::new(fd)));
        Ok(Arc::new(Self { place: None, fd, stat, open: Arc::default() }))
    }

    /// Opens the directory `name` in this one.
    pub(crate) fn open_child(self: &Arc<Self>, name: &[u8]) -> io::Result<(Arc<Self>, Arc<OwnedFd>)> {
        let fd = Arc::new(open_quietly(&*self.fd()?, name, OPEN_DIR)?);
        let (_, stat) = from_system(&fstat(&fd)?);
        let child = Arc::new(Self {
            place: Some((self.clone(), name.into())),
            fd: Mutex::new(Some(fd.clone())),
            stat,
            open: self.open.clone(),
        });
        child.note_open();
        Ok((child, fd))
    }

    /// The descriptor: the one that is open, or a new one.
    ///
    /// # Errors
    /// What the system says; `ESTALE` if there is another directory under the name now.
    pub(crate) fn fd(self: &Arc<Self>) -> io::Result<Arc<OwnedFd>> {
        if let Some(fd) = self.current() {
            return Ok(fd);
        }
        // Upwards to the next one that is open, then down again. A loop: trees may be deeper than a stack.
        let mut closed = vec![self.clone()];
        let mut fd = loop {
            let last = closed.last().expect("it begins with one");
            let (parent, _) = last.place.as_ref().expect("the first directory is never closed");
            match parent.current() {
                Some(fd) => break fd,
                None => closed.push(parent.clone()),
            }
        };
        while let Some(dir) = closed.pop() {
            let (_, name) = dir.place.as_ref().expect("the first directory is never closed");
            let next = open_quietly(&*fd, name, OPEN_DIR)?;
            if !from_system(&fstat(&next)?).1.is_same_inode(&dir.stat) {
                return Err(Errno::STALE.into());
            }
            fd = Arc::new(next);
        }
        *self.fd.lock().expect("no holder of this lock can panic") = Some(fd.clone());
        self.note_open();
        Ok(fd)
    }

    /// What the directory said about itself when it was opened.
    pub fn stat(&self) -> &Stat {
        &self.stat
    }

    fn current(&self) -> Option<Arc<OwnedFd>> {
        self.fd.lock().expect("no holder of this lock can panic").clone()
    }

    /// Remembers that this one is open, and closes the oldest if there are too many.
    fn note_open(self: &Arc<Self>) {
        let oldest = {
            let mut open = self.open.0.lock().expect("no holder of this lock can panic");
            open.push_back(Arc::downgrade(self));
            if open.len() > MAX_OPEN { open.pop_front() } else { None }
        };
        if let Some(oldest) = oldest.and_then(|weak| weak.upgrade()) {
            oldest.fd.lock().expect("no holder of this lock can panic").take();
        }
    }
}

impl Drop for DirHandle {
    /// Drops the parents in a loop: a tree may be deeper than a stack.
    fn drop(&mut self) {
        let mut next = self.place.take();
        while let Some((parent, _)) = next {
            next = Arc::into_inner(parent).and_then(|mut parent| parent.place.take());
        }
    }
}

/// Opens for reading without touching the access time, where the system lets us.
pub(crate) fn open_quietly(dir: impl AsFd, name: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    loop {
        match openat(&dir, name, flags | OFlags::NOATIME, Mode::empty()) {
            // Only the owner may do that.
            Err(Errno::PERM) => {}
            Err(Errno::INTR) => continue,
            done => return Ok(done?),
        }
        match openat(&dir, name, flags, Mode::empty()) {
            Err(Errno::INTR) => {}
            done => return Ok(done?),
        }
    }
}

//! The folders of a target: opened one name at a time, never through a link, the last used ones kept open.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use lru::LruCache;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags, fstat, openat, statat};
use rustix::io::Errno;

use crate::domain::metadata::path::TreePath;
use crate::source::stat::from_system;

use super::error::TargetError;

/// How many folders are kept open.
const MAX_OPEN: NonZeroUsize = NonZeroUsize::new(100).expect("100 is not 0");

/// Only a place to go on from: needs no right to read the folder.
const OPEN_PLACE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// To read its entries or set its attributes.
pub(super) const OPEN_DIR: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// An open folder.
#[derive(Debug)]
pub(super) struct Dir {
    pub fd: OwnedFd,
    /// The file system it is on: a file is renamed only within one.
    pub dev: u64,
}

impl Dir {
    pub(super) fn new(fd: OwnedFd) -> Result<Self, Errno> {
        let dev = from_system(&fstat(&fd)?).1.dev;
        Ok(Self { fd, dev })
    }
}

/// The folders of a target.
#[derive(Debug)]
pub(super) struct Dirs {
    root: Arc<Dir>,
    open: Mutex<LruCache<Vec<u8>, Arc<Dir>>>,
}

impl Dirs {
    pub(super) fn new(root: Dir) -> Self {
        Self { root: Arc::new(root), open: Mutex::new(LruCache::new(MAX_OPEN)) }
    }

    pub(super) fn root(&self) -> &Arc<Dir> {
        &self.root
    }

    /// The folder at `path`; `None` is the target itself.
    pub(super) fn get(&self, path: Option<&TreePath>) -> Result<Arc<Dir>, TargetError> {
        let Some(path) = path else { return Ok(self.root.clone()) };
        let bytes = path.as_bytes();
        // Upwards to the next one that is open, then down again, a name at a time.
        let mut end = bytes.len();
        let mut dir = loop {
            if let Some(dir) = self.lock().get(&bytes[..end]) {
                break dir.clone();
            }
            match bytes[..end].iter().rposition(|b| *b == b'/') {
                Some(slash) => end = slash,
                None => {
                    end = 0;
                    break self.root.clone();
                }
            }
        };
        while end < bytes.len() {
            let start = if end == 0 { 0 } else { end + 1 };
            let len = bytes[start..].iter().position(|b| *b == b'/').unwrap_or(bytes.len() - start);
            let name = &bytes[start..start + len];
            end = start + len;
            let so_far = || TreePath::new(bytes[..end].to_vec()).expect("the beginning of a path is a path");
            let fd = match openat(&dir.fd, name, OPEN_PLACE, Mode::empty()) {
                Ok(fd) => fd,
                Err(Errno::NOENT) => return Err(TargetError::NoFolder { path: so_far() }),
                Err(errno @ (Errno::NOTDIR | Errno::LOOP)) => return Err(in_the_way(&dir, name, &so_far(), errno)),
                Err(errno) => return Err(TargetError::io("open", Some(&so_far()), errno)),
            };
            dir = Arc::new(Dir::new(fd).map_err(|errno| TargetError::io("open", Some(&so_far()), errno))?);
            self.lock().put(bytes[..end].to_vec(), dir.clone());
        }
        Ok(dir)
    }

    /// The folder that `path` is in.
    pub(super) fn parent(&self, path: &TreePath) -> Result<Arc<Dir>, TargetError> {
        self.get(path.parent().as_ref())
    }

    /// Forgets what is at `path` and below: it was removed.
    pub(super) fn forget(&self, path: &TreePath) {
        let mut open = self.lock();
        let below = |key: &Vec<u8>| {
            key.strip_prefix(path.as_bytes()).is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/'))
        };
        let gone: Vec<Vec<u8>> = open.iter().map(|(key, _)| key).filter(|key| below(key)).cloned().collect();
        for key in gone {
            open.pop(&key);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<Vec<u8>, Arc<Dir>>> {
        self.open.lock().expect("no holder of this lock can panic")
    }
}

/// Says what stands at `path` instead of what belongs there.
pub(super) fn in_the_way(dir: &Dir, name: &[u8], path: &TreePath, errno: Errno) -> TargetError {
    match statat(&dir.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => TargetError::InTheWay { path: path.clone(), noun: from_system(&stat).0.noun() },
        Err(_) => TargetError::io("open", Some(path), errno),
    }
}

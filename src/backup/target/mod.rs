//! Writing into a folder so that nothing lands outside it, whatever a snapshot says.
//!
//! Paths are [`TreePath`]s: relative, without `..`. Every folder is opened by one name at a time, relative to the one above it
//! and never through a link; a link or file where a folder belongs is an error for that entry. Nothing gets its name before it
//! is whole: in a folder that has content already ([`Target::open`]), each thing is made in a scratch folder and renamed; in
//! an empty one ([`Target::staged`]), the whole tree is made in the scratch folder, and its children are renamed at the end.
//!
//! All of it may be called by several threads at once.

mod attributes;
mod dirs;
mod error;
mod file;
mod remove;
mod scratch;

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rustix::fd::AsFd;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, openat, statat};
use rustix::io::Errno;

use crate::domain::metadata::entry::Attributes;
use crate::domain::metadata::path::TreePath;
use crate::monitor::Problem;
use crate::source::stat::{FoundKind, Stat, from_system};

use self::attributes::Setter;
use self::dirs::{Dir, Dirs, OPEN_DIR, in_the_way};
use self::file::{Making, Temporary};
use self::scratch::Scratch;

pub use self::error::TargetError;
pub use self::file::StagedFile;
pub(super) use self::remove::remove_all;

/// A folder that is restored into. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Target(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    dirs: Dirs,
    /// Made when it is needed first.
    scratch: Mutex<Option<Arc<Scratch>>>,
    /// Set if this is the scratch folder of another target, to become its content.
    staged: Option<Staged>,
    /// For temporary names.
    next: AtomicU64,
    is_root: bool,
}

#[derive(Debug)]
struct Staged {
    onto: Target,
    scratch: Arc<Scratch>,
    /// Attributes of the target itself and of the folders in it: a folder that may not be written cannot be renamed.
    late: Mutex<Vec<(Option<TreePath>, Attributes)>>,
}

/// What is in a target already.
#[derive(Debug, Clone)]
pub struct Existing {
    /// Its name.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: FoundKind,
    /// What it says about itself.
    pub stat: Stat,
}

/// The path without its first name, which is the root's; `None` for the root itself.
pub fn without_root(path: &TreePath) -> Option<TreePath> {
    let slash = path.as_bytes().iter().position(|b| *b == b'/')?;
    Some(TreePath::new(path.as_bytes()[slash + 1..].to_vec()).expect("the end of a path is a path"))
}

impl Target {
    /// Opens a folder to restore into, and removes what a killed restore left in it. `create`: makes it, mode 0700, and the
    /// folders above it if they are missing.
    ///
    /// # Errors
    /// [`TargetError::Open`].
    pub fn open(path: &Path, create: bool) -> Result<Self, TargetError> {
        let refuse = |cause| TargetError::Open { path: path.to_owned(), cause };
        if create {
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                fs::create_dir_all(parent).map_err(refuse)?;
            }
            match DirBuilder::new().mode(0o700).create(path) {
                Err(cause) if cause.kind() != std::io::ErrorKind::AlreadyExists => return Err(refuse(cause)),
                _ => {}
            }
        }
        // The target itself may be a link: the user named it, not a snapshot.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = || {
            let fd = rustix::fs::open(path, flags, Mode::empty())?;
            scratch::remove_leftovers(&fd)?;
            Dir::new(fd)
        };
        let dir = open().map_err(|errno| refuse(errno.into()))?;
        Ok(Self::new(path.to_owned(), dir, None))
    }

    fn new(path: PathBuf, root: Dir, staged: Option<Staged>) -> Self {
        let is_root = rustix::process::geteuid().is_root();
        let (dirs, scratch, next) = (Dirs::new(root), Mutex::new(None), AtomicU64::new(0));
        Self(Arc::new(Inner { path, dirs, scratch, staged, next, is_root }))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Whether nothing is in it, scratch folders aside.
    ///
    /// # Errors
    /// [`TargetError::Io`].
    pub fn is_empty(&self) -> Result<bool, TargetError> {
        Ok(self.list(None)?.iter().all(|existing| scratch::is_scratch(&existing.name)))
    }

    /// A target that becomes the content of this one by [`commit`](Self::commit): nothing of it is seen before, and dropping it
    /// leaves nothing. For a target that is empty, or has none of the names that will be at the top.
    ///
    /// # Errors
    /// [`TargetError::NoSpace`], [`TargetError::Io`].
    pub fn staged(&self) -> Result<Target, TargetError> {
        let make = || {
            let scratch = Scratch::new(&self.0.dirs.root().fd)?;
            let root = Dir::new(rustix::io::fcntl_dupfd_cloexec(&scratch.dir.fd, 0)?)?;
            Ok((Arc::new(scratch), root))
        };
        let (scratch, root) = make().map_err(|errno| TargetError::io("write into", None, errno))?;
        let staged = Staged { onto: self.clone(), scratch, late: Mutex::default() };
        Ok(Self::new(self.0.path.clone(), root, Some(staged)))
    }

    /// Moves everything made in a [`staged`](Self::staged) target into its place, and sets what attributes had to wait. Does
    /// nothing for another target. Call [`sync`](Self::sync) before.
    ///
    /// # Errors
    /// [`TargetError::InTheWay`] if something has one of the names meanwhile; [`TargetError::Io`].
    pub fn commit(self) -> Result<Vec<Problem>, TargetError> {
        let Some(Staged { onto, scratch, late }) = &self.0.staged else { return Ok(Vec::new()) };
        let to = onto.0.dirs.root();
        for child in self.list(None)? {
            let name = child.name.as_slice();
            let path = || TreePath::new(name.to_vec()).expect("a name in a folder is a path");
            match rename_new(&scratch.dir, name, to) {
                Ok(()) => {}
                Err(errno @ (Errno::EXIST | Errno::NOTEMPTY | Errno::ISDIR | Errno::NOTDIR)) => {
                    return Err(in_the_way(to, name, &path(), errno));
                }
                Err(errno) => return Err(TargetError::io("put in place", Some(&path()), errno)),
            }
        }
        let mut problems = Vec::new();
        let mut late = std::mem::take(&mut *late.lock().expect("no holder of this lock can panic"));
        // The target itself comes last, and after the scratch folder is gone: both change its time.
        late.sort_by_key(|(path, _)| path.is_none());
        let removed = remove::remove_all(to.fd.as_fd(), &scratch.name);
        removed.map_err(|errno| TargetError::io("remove the scratch folder in", None, errno))?;
        for (path, attributes) in late {
            problems.extend(onto.set_directory_attributes(path.as_ref(), &attributes)?);
        }
        Ok(problems)
    }

    /// Makes everything written so far durable, once for all of it.
    ///
    /// # Errors
    /// [`TargetError::NoSpace`], [`TargetError::Io`].
    pub fn sync(&self) -> Result<(), TargetError> {
        let done = openat(&self.0.dirs.root().fd, ".", OPEN_DIR, Mode::empty()).and_then(rustix::fs::syncfs);
        done.map_err(|errno| TargetError::io("write to disk", None, errno))
    }

    /// Makes a folder, mode 0700 until [`set_directory_attributes`](Self::set_directory_attributes). `false`: it was there.
    ///
    /// # Errors
    /// [`TargetError::InTheWay`] if something else has its name, [`TargetError::NoFolder`] if the folder above is missing …
    pub fn create_dir(&self, path: &TreePath) -> Result<bool, TargetError> {
        let parent = self.0.dirs.parent(path)?;
        match rustix::fs::mkdirat(&parent.fd, path.name(), Mode::RWXU) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => self.0.dirs.get(Some(path)).map(|_| false),
            Err(errno) => Err(TargetError::io("create the folder", Some(path), errno)),
        }
    }

    /// Makes a folder and those above it that are missing. `false`: it was there.
    ///
    /// # Errors
    /// As [`create_dir`](Self::create_dir).
    pub fn create_dir_all(&self, path: &TreePath) -> Result<bool, TargetError> {
        let mut missing = vec![path.clone()];
        while let Some(top) = missing.last() {
            match self.create_dir(top) {
                Ok(_) if missing.len() > 1 => {
                    missing.pop();
                }
                Err(TargetError::NoFolder { .. }) => match top.parent() {
                    Some(parent) => missing.push(parent),
                    None => return self.create_dir(path),
                },
                done => return done,
            }
        }
        Ok(false)
    }

    /// Begins a regular file; what has its name stays until [`StagedFile::finish`] replaces it.
    ///
    /// # Errors
    /// [`TargetError::InTheWay`], [`TargetError::NoFolder`], [`TargetError::NoSpace`], [`TargetError::Io`].
    pub fn create_file(&self, path: &TreePath) -> Result<StagedFile, TargetError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut fd = None;
        let making = self.make(path, |dir, name| {
            fd = Some(openat(&dir.fd, name, flags, Mode::RUSR | Mode::WUSR)?);
            Ok(())
        })?;
        let file = fd.expect("it was opened, or there was an error").into();
        Ok(StagedFile { file, making, is_root: self.0.is_root })
    }

    /// Makes a symbolic link. Where it points is nobody's business: it is never followed here.
    ///
    /// # Errors
    /// As [`create_file`](Self::create_file).
    pub fn symlink(&self, path: &TreePath, to: &[u8], attributes: &Attributes) -> Result<Vec<Problem>, TargetError> {
        self.make_special(path, attributes, |dir, name| rustix::fs::symlinkat(to, &dir.fd, name))
    }

    /// Gives the file `to`, which is in the target already, one more name.
    ///
    /// # Errors
    /// As [`create_file`](Self::create_file); [`TargetError::Io`] if `to` is not there.
    pub fn hard_link(&self, path: &TreePath, to: &TreePath) -> Result<(), TargetError> {
        let from = self.0.dirs.parent(to)?;
        let making =
            self.make(path, |dir, name| rustix::fs::linkat(&from.fd, to.name(), &dir.fd, name, AtFlags::empty()))?;
        making.finish()
    }

    /// Makes a named pipe.
    ///
    /// # Errors
    /// As [`create_file`](Self::create_file).
    pub fn fifo(&self, path: &TreePath, attributes: &Attributes) -> Result<Vec<Problem>, TargetError> {
        self.node(path, FileType::Fifo, 0, attributes)
    }

    /// Makes a socket, which nobody listens on.
    ///
    /// # Errors
    /// As [`create_file`](Self::create_file).
    pub fn socket(&self, path: &TreePath, attributes: &Attributes) -> Result<Vec<Problem>, TargetError> {
        self.node(path, FileType::Socket, 0, attributes)
    }

    /// Makes a character device.
    ///
    /// # Errors
    /// [`TargetError::NeedsRoot`]; else as [`create_file`](Self::create_file).
    pub fn char_device(
        &self,
        path: &TreePath,
        rdev: u64,
        attributes: &Attributes,
    ) -> Result<Vec<Problem>, TargetError> {
        self.device(path, FileType::CharacterDevice, rdev, attributes)
    }

    /// Makes a block device.
    ///
    /// # Errors
    /// [`TargetError::NeedsRoot`]; else as [`create_file`](Self::create_file).
    pub fn block_device(
        &self,
        path: &TreePath,
        rdev: u64,
        attributes: &Attributes,
    ) -> Result<Vec<Problem>, TargetError> {
        self.device(path, FileType::BlockDevice, rdev, attributes)
    }

    /// Sets the attributes of a folder; `None` is the target itself. To be called when nothing is made in it any more, the
    /// deepest first.
    ///
    /// # Errors
    /// [`TargetError::NoFolder`], [`TargetError::InTheWay`], [`TargetError::Io`]; single attributes that could not be set are
    /// problems.
    pub fn set_directory_attributes(
        &self,
        path: Option<&TreePath>,
        attributes: &Attributes,
    ) -> Result<Vec<Problem>, TargetError> {
        if let Some(staged) = &self.0.staged
            && path.is_none_or(|path| path.parent().is_none())
        {
            let mut late = staged.late.lock().expect("no holder of this lock can panic");
            late.push((path.cloned(), attributes.clone()));
            return Ok(Vec::new());
        }
        let dir = self.0.dirs.get(path)?;
        let fd = openat(&dir.fd, ".", OPEN_DIR, Mode::empty());
        let fd = fd.map_err(|errno| TargetError::io("set the attributes of", path, errno))?;
        if path.is_none() {
            // The scratch folder goes before the time is set, which it would change.
            self.0.scratch.lock().expect("no holder of this lock can panic").take();
        }
        Ok(Setter { path, is_root: self.0.is_root, is_used: true }.set(fd.as_fd(), attributes))
    }

    /// What is at `path` now; a link is not followed.
    ///
    /// # Errors
    /// [`TargetError::InTheWay`] if one of the folders above is none, [`TargetError::Io`].
    pub fn existing(&self, path: &TreePath) -> Result<Option<Existing>, TargetError> {
        let parent = match self.0.dirs.parent(path) {
            Err(TargetError::NoFolder { .. }) => return Ok(None),
            parent => parent?,
        };
        match statat(&parent.fd, path.name(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => {
                let (kind, stat) = from_system(&stat);
                Ok(Some(Existing { name: path.name().to_vec(), kind, stat }))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(TargetError::io("look at", Some(path), errno)),
        }
    }

    /// What is in a folder, sorted by name; `None` is the target itself.
    ///
    /// # Errors
    /// [`TargetError::NoFolder`], [`TargetError::InTheWay`], [`TargetError::Io`].
    pub fn list(&self, path: Option<&TreePath>) -> Result<Vec<Existing>, TargetError> {
        let dir = self.0.dirs.get(path)?;
        let read = || {
            let mut found = Vec::new();
            for (name, _) in remove::names(&openat(&dir.fd, ".", OPEN_DIR, Mode::empty())?)? {
                match statat(&dir.fd, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW) {
                    Err(Errno::NOENT) => {}
                    stat => {
                        let (kind, stat) = from_system(&stat?);
                        found.push(Existing { name, kind, stat });
                    }
                }
            }
            Ok(found)
        };
        read().map_err(|errno| TargetError::io("list", path, errno))
    }

    /// Whether `path` is a scratch folder of this or another restore, and nobody's content.
    pub fn is_own(&self, path: &TreePath) -> bool {
        path.parent().is_none() && scratch::is_scratch(path.name())
    }

    /// Removes what is at `path`, with everything below, without following a link; it is fine if nothing is there.
    ///
    /// # Errors
    /// [`TargetError::InTheWay`] if one of the folders above is none, [`TargetError::Io`].
    pub fn remove(&self, path: &TreePath) -> Result<(), TargetError> {
        let parent = match self.0.dirs.parent(path) {
            Err(TargetError::NoFolder { .. }) => return Ok(()),
            parent => parent?,
        };
        self.0.dirs.forget(path);
        let removed = remove::remove_all(parent.fd.as_fd(), path.name());
        removed.map_err(|errno| TargetError::io("remove", Some(path), errno))
    }

    fn device(
        &self,
        path: &TreePath,
        file_type: FileType,
        rdev: u64,
        attributes: &Attributes,
    ) -> Result<Vec<Problem>, TargetError> {
        if !self.0.is_root {
            return Err(TargetError::NeedsRoot { path: path.clone() });
        }
        self.node(path, file_type, rdev, attributes)
    }

    fn node(
        &self,
        path: &TreePath,
        file_type: FileType,
        rdev: u64,
        attributes: &Attributes,
    ) -> Result<Vec<Problem>, TargetError> {
        let mode = Mode::RUSR | Mode::WUSR;
        self.make_special(path, attributes, |dir, name| rustix::fs::mknodat(&dir.fd, name, file_type, mode, rdev))
    }

    fn make_special(
        &self,
        path: &TreePath,
        attributes: &Attributes,
        create: impl FnOnce(&Dir, &[u8]) -> Result<(), Errno>,
    ) -> Result<Vec<Problem>, TargetError> {
        let making = self.make(path, create)?;
        let (dir, name) = making.place();
        let setter = Setter { path: Some(path), is_root: self.0.is_root, is_used: false };
        let problems = setter.set_at(dir.fd.as_fd(), name, attributes);
        making.finish()?;
        Ok(problems)
    }

    /// Creates something where it is made: in its place if nobody sees that yet, else under a temporary name.
    fn make(
        &self,
        path: &TreePath,
        create: impl FnOnce(&Dir, &[u8]) -> Result<(), Errno>,
    ) -> Result<Making, TargetError> {
        let dir = self.0.dirs.parent(path)?;
        let temporary = if self.0.staged.is_some() { None } else { Some(self.temporary(&dir)?) };
        // Nothing is removed unless it was created.
        let mut making = Making { path: path.clone(), dir, temporary, is_done: true };
        let (at, name) = making.place();
        match create(at, name) {
            Ok(()) => {
                making.is_done = false;
                Ok(making)
            }
            Err(errno @ Errno::EXIST) => Err(in_the_way(at, name, path, errno)),
            Err(errno) => Err(TargetError::io("create", Some(path), errno)),
        }
    }

    fn temporary(&self, dir: &Dir) -> Result<Temporary, TargetError> {
        let scratch = {
            let mut slot = self.0.scratch.lock().expect("no holder of this lock can panic");
            match &*slot {
                Some(scratch) => scratch.clone(),
                None => {
                    let made = Scratch::new(&self.0.dirs.root().fd);
                    let made = Arc::new(made.map_err(|errno| TargetError::io("write into", None, errno))?);
                    slot.insert(made).clone()
                }
            }
        };
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        if scratch.dir.dev == dir.dev {
            return Ok(Temporary { name: number.to_string().into_bytes(), scratch: Some(scratch) });
        }
        let name = [&scratch.name, format!("-{number}").as_bytes()].concat();
        Ok(Temporary { name, scratch: None })
    }
}

/// Renames unless something has the name.
fn rename_new(from: &Dir, name: &[u8], to: &Dir) -> Result<(), Errno> {
    match rustix::fs::renameat_with(&from.fd, name, &to.fd, name, RenameFlags::NOREPLACE) {
        // An old kernel, or a file system that cannot do it.
        Err(Errno::INVAL | Errno::NOSYS) => match statat(&to.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Err(Errno::EXIST),
            Err(_) => rustix::fs::renameat(&from.fd, name, &to.fd, name),
        },
        done => done,
    }
}

#[cfg(test)]
mod tests;

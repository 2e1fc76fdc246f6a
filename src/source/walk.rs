//! Everything below a root, in the order of tree paths: a directory, what is in it, its next sibling.
//!
//! The consumer walks depth first. A few threads list directories ahead of it, always the one that it needs soonest, as long
//! as not too many entries wait; a directory that nobody has begun when its turn comes, the consumer lists itself. So it
//! never waits for anything but a listing that is under way, and without threads the same code is a plain walk.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

use rustix::fs::{AtFlags, Mode, OFlags, statat};
use tokio_util::sync::CancellationToken;

use crate::domain::metadata::path::TreePath;
use crate::monitor::Problem;

use super::dir::DirHandle;
use super::excludes::Excludes;
use super::listing::{Listing, Tagged, list};
use super::read::ReadError;
use super::stat::{FoundKind, Stat, from_system};

/// How many entries may wait for the consumer before nobody lists further ahead.
const MAX_AHEAD: usize = 64 * 1024;

/// How many subdirectories of one directory are offered to the threads at a time.
const MAX_OFFERED: usize = 64;

/// Where a walk begins: a directory, or a single file.
#[derive(Debug, Clone)]
pub struct Root {
    /// Its name in the tree, escaped with %XX where it is not UTF-8.
    pub name: String,
    /// Its path in the tree: one name.
    pub tree: TreePath,
    /// Where it is. If this is a link, it is followed; links below it never are.
    pub path: PathBuf,
}

/// What to leave out, and how many threads help.
#[derive(Debug, Clone, Default)]
pub struct WalkOptions {
    /// Patterns.
    pub excludes: Excludes,
    /// Whether directories on other file systems than the root's are recorded empty.
    pub one_file_system: bool,
    /// Whether directories with a valid `CACHEDIR.TAG` are recorded empty.
    pub skip_caches: bool,
    /// Directories (device and inode) that are left out altogether: the repository's own, for one.
    pub never: Vec<(u64, u64)>,
    /// How many threads list directories ahead. 0: none; the walk then happens in the consumer's thread, which is the
    /// fastest for a warm cache and few cores. Threads pay where the disk or the network makes one wait.
    pub threads: usize,
    /// Whether what the patterns leave out is told, with what is in it. That costs a look at everything in it.
    pub tell_left_out: bool,
}

/// Something below a root, or the root itself.
#[derive(Debug, Clone)]
pub struct Found {
    /// Where it is in the tree.
    pub path: TreePath,
    /// What it is.
    pub kind: FoundKind,
    /// What it says about itself.
    pub stat: Stat,
    /// Its name on disk, if that is not the last name of `path`: the root's.
    root_name: Option<Box<[u8]>>,
}

impl Found {
    /// Another file in its place, `name` in another directory.
    pub fn standing_in(self, name: &[u8], stat: Stat) -> Self {
        Self { kind: FoundKind::File, stat, root_name: Some(name.into()), ..self }
    }

    /// Its name in the directory that comes with it: what to open.
    pub fn name(&self) -> &[u8] {
        self.root_name.as_deref().unwrap_or_else(|| self.path.name())
    }
}

/// What a walk meets.
#[derive(Debug)]
pub enum WalkEvent {
    /// An entry, and the directory in which [`Found::name`] is.
    Found(Found, Arc<DirHandle>),
    /// Something that could not be looked at.
    Problem(Problem),
    /// A directory that was left out on purpose, worth a notice.
    Skipped(Skipped),
    /// Something that a pattern leaves out; only if it was asked for.
    LeftOut(LeftOut),
}

/// Something that a pattern leaves out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Where.
    pub path: TreePath,
    /// By which pattern.
    pub pattern: String,
    /// How many files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A directory whose content was left out on purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Where.
    pub path: TreePath,
    /// Why.
    pub reason: SkipReason,
}

/// Why a directory's content was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipReason {
    /// Another file system begins here. The directory itself is recorded, empty.
    MountPoint,
    /// It says of itself that it is a cache. The directory itself is recorded, empty.
    Cache,
    /// It is a home of Bulbil, with keys in it: they must not get into a backup. Nothing is recorded.
    Home,
    /// It is one of [`WalkOptions::never`]. Nothing is recorded.
    Never,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SkipReason::MountPoint => "another file system begins here; its content is left out",
            SkipReason::Cache => "it is marked as a cache (CACHEDIR.TAG); its content is left out",
            SkipReason::Home => "it is a home of Bulbil, with keys in it, and is left out",
            SkipReason::Never => "it belongs to Bulbil itself and is left out",
        })
    }
}

/// Why a walk cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// There is nothing at the root's path.
    #[error("{} does not exist: check the path, or mount the disk it is on", path.display())]
    RootMissing {
        /// The root's path.
        path: PathBuf,
    },
    /// The root may not be read.
    #[error("{} may not be read: run Bulbil as a user who may, or give that user the right to", path.display())]
    RootDenied {
        /// The root's path.
        path: PathBuf,
    },
    /// The root is neither a directory nor a regular file.
    #[error("{} is {noun}: a root is a folder or a file", path.display())]
    RootUnfit {
        /// The root's path.
        path: PathBuf,
        /// What it is.
        noun: &'static str,
    },
    /// Anything else that the system said about the root.
    #[error("{} cannot be read: check the disk it is on", path.display())]
    Root {
        /// The root's path.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
}

impl WalkError {
    fn new(path: &Path, cause: io::Error) -> Self {
        let path = path.to_owned();
        match cause.kind() {
            io::ErrorKind::NotFound => WalkError::RootMissing { path },
            io::ErrorKind::PermissionDenied => WalkError::RootDenied { path },
            _ => WalkError::Root { path, cause },
        }
    }
}

/// Begins a walk. It ends early, without a word, when `cancel` is cancelled: ask the token.
///
/// # Errors
/// [`WalkError`] if the root itself cannot be read; everything below it is at most a [`Problem`].
pub fn walk(root: &Root, options: &WalkOptions, cancel: &CancellationToken) -> Result<Walk, WalkError> {
    let refuse = |cause: io::Error| WalkError::new(&root.path, cause);
    let real = fs::canonicalize(&root.path).map_err(refuse)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |path: &Path| Ok(rustix::fs::open(path, flags, Mode::empty())?);
    // A directory is named "." in itself; a file has its name in its directory.
    let is_directory = fs::symlink_metadata(&real).map_err(refuse)?.is_dir();
    let (home, name) = match (is_directory, real.parent(), real.file_name()) {
        (false, Some(parent), Some(name)) => (parent, name.as_bytes()),
        _ => (real.as_path(), b".".as_slice()),
    };
    let home = open(home).and_then(DirHandle::first).map_err(refuse)?;
    let fd = home.fd().map_err(refuse)?;
    let (kind, stat) = from_system(&statat(&*fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| refuse(e.into()))?);
    if !matches!(kind, FoundKind::File | FoundKind::Directory) {
        return Err(WalkError::RootUnfit { path: root.path.clone(), noun: kind.noun() });
    }
    let found = Found { path: root.tree.clone(), kind, stat, root_name: Some(name.into()) };
    let shared = Arc::new(Shared {
        root: root.tree.clone(),
        options: options.clone(),
        dev: stat.dev,
        ahead: Mutex::default(),
        offered: Condvar::new(),
        listed: Condvar::new(),
    });
    let mut walk = Walk { shared, stack: Vec::new(), next: Vec::new(), cancel: cancel.clone(), helpers: Vec::new() };
    walk.begin(found, home, name);
    Ok(walk)
}

/// A walk under way.
#[derive(Debug)]
pub struct Walk {
    shared: Arc<Shared>,
    /// The directories from the root to where the walk is, and the next item of each.
    stack: Vec<(TreePath, Listing, usize)>,
    /// What to say before going on, last first.
    next: Vec<WalkEvent>,
    cancel: CancellationToken,
    helpers: Vec<JoinHandle<()>>,
}

/// What the threads and the consumer share.
#[derive(Debug)]
struct Shared {
    root: TreePath,
    options: WalkOptions,
    dev: u64,
    ahead: Mutex<Ahead>,
    /// Something may be listed ahead, or all is over.
    offered: Condvar,
    /// A listing that was under way is there.
    listed: Condvar,
}

/// What is listed ahead of the consumer.
#[derive(Debug, Default)]
struct Ahead {
    /// What may be listed, in the order in which the consumer will need it; the directory is the parent.
    offered: BTreeMap<TreePath, Arc<DirHandle>>,
    /// What is being listed (`None`) or is there.
    begun: HashMap<TreePath, Option<io::Result<Listing>>>,
    /// How many entries wait.
    waiting: usize,
    is_over: bool,
}

impl Walk {
    fn begin(&mut self, found: Found, home: Arc<DirHandle>, name: &[u8]) {
        if self.shared.options.never.contains(&(found.stat.dev, found.stat.inode)) {
            self.next.push(WalkEvent::Skipped(Skipped { path: found.path, reason: SkipReason::Never }));
            return;
        }
        if found.kind == FoundKind::Directory {
            let listing = self.shared.list(&home, name, &found.path);
            if !self.enter(found.path.clone(), listing) {
                return;
            }
            for _ in 0..self.shared.options.threads {
                let shared = self.shared.clone();
                // Without helpers the walk is slower, not wrong.
                let thread = std::thread::Builder::new().name("bulbil-walk".to_owned());
                self.helpers.extend(thread.spawn(move || shared.help()));
            }
        }
        self.next.push(WalkEvent::Found(found, home));
    }

    /// Goes into a directory, or says why not; whether it is to be recorded at all.
    fn enter(&mut self, path: TreePath, listing: io::Result<Listing>) -> bool {
        match listing {
            Ok(Listing { tagged: Some(Tagged::Home), .. }) => {
                self.next.push(WalkEvent::Skipped(Skipped { path, reason: SkipReason::Home }));
                return false;
            }
            Ok(Listing { tagged: Some(Tagged::Cache), .. }) => {
                self.next.push(WalkEvent::Skipped(Skipped { path, reason: SkipReason::Cache }));
            }
            Ok(mut listing) => {
                self.shared.offer(&path, &mut listing, MAX_OFFERED);
                if self.shared.options.tell_left_out {
                    let told = listing
                        .left_out
                        .iter()
                        .filter_map(|(name, is_directory)| self.shared.left_out(&path, &listing, name, *is_directory));
                    self.next.extend(told.map(WalkEvent::LeftOut));
                }
                self.stack.push((path, listing, 0));
            }
            Err(error) => match ReadError::from(error) {
                ReadError::Vanished => {}
                error => self.next.push(WalkEvent::Problem(problem(&path, &error))),
            },
        }
        true
    }

    /// The next item of the directory where the walk is; `None` if it has no more, and the walk went up.
    fn step(&mut self) -> Option<WalkEvent> {
        let (parent, listing, at) = self.stack.last_mut()?;
        let item = *at;
        if item == listing.items.len() {
            self.stack.pop();
            return None;
        }
        *at += 1;
        let name = listing.name(item);
        let Ok(path) = parent.child(name) else {
            let message =
                format!("{:?} in it has too long a path for a snapshot: shorten it", name.escape_ascii().to_string());
            return Some(WalkEvent::Problem(Problem { subject: parent.to_string(), message }));
        };
        let (kind, stat) = match listing.items[item].what {
            Ok(what) => what,
            Err(errno) => return Some(WalkEvent::Problem(problem(&path, &errno.into()))),
        };
        let dir = listing.dir.clone();
        let found = Found { path, kind, stat, root_name: None };
        if kind == FoundKind::Directory {
            let place = found.path.clone();
            match self.shared.skips(&stat) {
                Some(SkipReason::Never) => {
                    return Some(WalkEvent::Skipped(Skipped { path: place, reason: SkipReason::Never }));
                }
                Some(reason) => self.next.push(WalkEvent::Skipped(Skipped { path: place, reason })),
                None => {
                    let parent = parent.clone();
                    self.shared.offer(&parent, listing, 1);
                    let listing = self.shared.take(&dir, &place);
                    if !self.enter(place, listing) {
                        return self.next.pop();
                    }
                }
            }
        }
        Some(WalkEvent::Found(found, dir))
    }
}

impl Iterator for Walk {
    type Item = WalkEvent;

    fn next(&mut self) -> Option<WalkEvent> {
        if self.cancel.is_cancelled() {
            return None;
        }
        if let Some(event) = self.next.pop() {
            return Some(event);
        }
        while !self.stack.is_empty() {
            if let Some(event) = self.step() {
                return Some(event);
            }
        }
        None
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.offered.notify_all();
        for helper in self.helpers.drain(..) {
            // A helper that panicked has nothing to tell any more.
            let _ = helper.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Ahead> {
        self.ahead.lock().expect("no holder of this lock can panic")
    }

    /// Why a directory is not entered.
    fn skips(&self, stat: &Stat) -> Option<SkipReason> {
        if self.options.never.contains(&(stat.dev, stat.inode)) {
            return Some(SkipReason::Never);
        }
        (self.options.one_file_system && stat.dev != self.dev).then_some(SkipReason::MountPoint)
    }

    fn list(&self, parent: &Arc<DirHandle>, name: &[u8], path: &TreePath) -> io::Result<Listing> {
        list(parent, name, path, &self.root, &self.options.excludes, self.options.skip_caches)
    }

    /// What is in something that a pattern leaves out.
    fn left_out(&self, parent: &TreePath, listing: &Listing, name: &[u8], is_directory: bool) -> Option<LeftOut> {
        let path = parent.child(name).ok()?;
        let below = path.as_bytes()[self.root.as_bytes().len()..].strip_prefix(b"/")?;
        let pattern = self.options.excludes.left_out_by(below, is_directory)?.to_owned();
        let mut left_out = LeftOut { path, pattern, files: 0, bytes: 0 };
        let mut folders = vec![(listing.dir.clone(), name.to_vec())];
        if !is_directory {
            let fd = listing.dir.fd().ok()?;
            let (kind, stat) = from_system(&statat(&*fd, name, AtFlags::SYMLINK_NOFOLLOW).ok()?);
            (left_out.files, left_out.bytes) = (1, if kind == FoundKind::File { stat.size } else { 0 });
            folders.clear();
        }
        while let Some((dir, name)) = folders.pop() {
            // What cannot be looked at counts as nothing: it is left out anyway.
            let Ok(listing) = list(&dir, &name, &self.root, &self.root, &Excludes::default(), false) else { continue };
            for (at, item) in listing.items.iter().enumerate() {
                match item.what {
                    Ok((FoundKind::Directory, _)) => folders.push((listing.dir.clone(), listing.name(at).to_vec())),
                    Ok((kind, stat)) => {
                        left_out.files += 1;
                        left_out.bytes += if kind == FoundKind::File { stat.size } else { 0 };
                    }
                    Err(_) => {}
                }
            }
        }
        Some(left_out)
    }

    /// Offers the next subdirectories of a directory to the threads.
    fn offer(&self, path: &TreePath, listing: &mut Listing, how_many: usize) {
        if self.options.threads == 0 {
            return;
        }
        let mut offers = Vec::new();
        while offers.len() < how_many && listing.queued < listing.items.len() {
            let item = listing.queued;
            listing.queued += 1;
            let enters = |(kind, stat)| kind == FoundKind::Directory && self.skips(&stat).is_none();
            if listing.items[item].what.is_ok_and(enters)
                && let Ok(path) = path.child(listing.name(item))
            {
                offers.push(path);
            }
        }
        if !offers.is_empty() {
            self.lock().offered.extend(offers.into_iter().map(|path| (path, listing.dir.clone())));
            self.offered.notify_all();
        }
    }

    /// The listing of a directory whose turn has come.
    fn take(&self, parent: &Arc<DirHandle>, path: &TreePath) -> io::Result<Listing> {
        let mut ahead = self.lock();
        ahead.offered.remove(path);
        while let Some(begun) = ahead.begun.get_mut(path) {
            if let Some(listing) = begun.take() {
                ahead.begun.remove(path);
                let before = ahead.waiting;
                ahead.waiting -= weight(&listing);
                if before >= MAX_AHEAD {
                    self.offered.notify_all();
                }
                return listing;
            }
            ahead = self.listed.wait(ahead).expect("no holder of this lock can panic");
        }
        drop(ahead);
        self.list(parent, path.name(), path)
    }

    /// What a thread does: lists what the consumer needs soonest.
    fn help(&self) {
        let mut ahead = self.lock();
        while !ahead.is_over {
            let first = if ahead.waiting < MAX_AHEAD { ahead.offered.pop_first() } else { None };
            let Some((path, parent)) = first else {
                ahead = self.offered.wait(ahead).expect("no holder of this lock can panic");
                continue;
            };
            ahead.begun.insert(path.clone(), None);
            drop(ahead);
            let mut listing = self.list(&parent, path.name(), &path);
            if let Ok(listing) = &mut listing {
                self.offer(&path, listing, MAX_OFFERED);
            }
            ahead = self.lock();
            ahead.waiting += weight(&listing);
            ahead.begun.insert(path, Some(listing));
            self.listed.notify_all();
        }
    }
}

/// How much a listing counts while it waits: an empty directory takes memory too.
fn weight(listing: &io::Result<Listing>) -> usize {
    listing.as_ref().map_or(1, |listing| listing.items.len() + 1)
}

fn problem(path: &TreePath, error: &ReadError) -> Problem {
    Problem { subject: path.to_string(), message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::read::{OpenFile, xattrs_of};
    use rustix::fs::{mkdirat, mkfifoat, openat};
    use std::ffi::OsStr;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn root(path: &Path) -> Root {
        Root { name: "r".to_owned(), tree: TreePath::new(b"r".to_vec()).unwrap(), path: path.to_owned() }
    }

    /// Paths that were found, and a line for everything else.
    fn run(path: &Path, options: &WalkOptions) -> (Vec<TreePath>, Vec<String>) {
        let (mut found, mut rest) = (Vec::new(), Vec::new());
        for event in walk(&root(path), options, &CancellationToken::new()).unwrap() {
            match event {
                WalkEvent::Found(entry, _) => found.push(entry.path),
                WalkEvent::Problem(problem) => rest.push(format!("{}: {}", problem.subject, problem.message)),
                WalkEvent::Skipped(skipped) => rest.push(format!("{}: {}", skipped.path, skipped.reason)),
                WalkEvent::LeftOut(out) => {
                    rest.push(format!("{}: by {}, {} of {} B", out.path, out.pattern, out.files, out.bytes))
                }
            }
        }
        (found, rest)
    }

    fn texts(paths: &[TreePath]) -> Vec<String> {
        paths.iter().map(ToString::to_string).collect()
    }

    fn with_threads(threads: usize) -> WalkOptions {
        WalkOptions { threads, ..WalkOptions::default() }
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(24))]

        /// Whatever the names are: everything is found once, in the order of tree paths, by any number of threads.
        #[test]
        fn order_is_that_of_tree_paths(
            names in proptest::collection::vec(
                proptest::collection::vec(proptest::sample::select(vec![&b"a"[..], b"b", b"a-b", b"a.b", b"a b", b"\xff", b"\x01", b"ab"]), 1..6),
                0..40,
            ),
        ) {
            let temp = tempfile::tempdir().unwrap();
            let mut expected = vec![TreePath::new(b"r".to_vec()).unwrap()];
            for path in &names {
                let mut disk = temp.path().to_owned();
                let mut tree = expected[0].clone();
                for name in path {
                    disk.push(OsStr::from_bytes(name));
                    tree = tree.child(name).unwrap();
                    if fs::create_dir(&disk).is_ok() {
                        expected.push(tree.clone());
                    }
                }
                disk.push("z");
                if fs::write(&disk, b"").is_ok() && !expected.contains(&tree.child(b"z").unwrap()) {
                    expected.push(tree.child(b"z").unwrap());
                }
            }
            expected.sort();
            for threads in [0, 1, 3] {
                let (found, rest) = run(temp.path(), &with_threads(threads));
                proptest::prop_assert_eq!(&found, &expected);
                proptest::prop_assert!(rest.is_empty());
            }
        }
    }

    #[test]
    fn trees_deeper_than_any_path_are_walked_and_read() {
        let temp = tempfile::tempdir().unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut fd = rustix::fs::open(temp.path(), flags, Mode::empty()).unwrap();
        const DEEP: usize = 900;
        for _ in 0..DEEP {
            mkdirat(&fd, "deeper", Mode::RWXU).unwrap();
            fd = openat(&fd, "deeper", flags, Mode::empty()).unwrap();
        }
        let file = openat(&fd, "end", OFlags::CREATE | OFlags::WRONLY, Mode::RWXU).unwrap();
        rustix::io::write(&file, b"it").unwrap();
        for threads in [0, 2] {
            let mut events: Vec<_> =
                walk(&root(temp.path()), &with_threads(threads), &CancellationToken::new()).unwrap().collect();
            assert_eq!(events.len(), DEEP + 2);
            // The first directories were closed meanwhile; they open themselves again.
            for at in [1, 450, DEEP] {
                let WalkEvent::Found(found, dir) = &events[at] else { panic!("{:?}", events[at]) };
                assert_eq!(xattrs_of(dir, found.name()).unwrap(), []);
            }
            let Some(WalkEvent::Found(found, dir)) = events.pop() else { panic!() };
            assert!(found.path.as_bytes().len() > 4096);
            let mut open = OpenFile::open(&dir, found.name(), &found.stat).unwrap();
            open.next_stretch().unwrap();
            assert_eq!(open.read(&mut [0; 9]).unwrap(), 2);
        }
    }

    #[test]
    fn many_directories_need_few_descriptors() {
        let temp = tempfile::tempdir().unwrap();
        for i in 0..600 {
            fs::create_dir(temp.path().join(format!("{i}"))).unwrap();
            fs::write(temp.path().join(format!("{i}/file")), b"").unwrap();
        }
        let mut kept = Vec::new();
        for event in walk(&root(temp.path()), &with_threads(2), &CancellationToken::new()).unwrap() {
            let WalkEvent::Found(found, dir) = event else { panic!("{event:?}") };
            kept.push((found, dir));
        }
        let here = temp.path().canonicalize().unwrap();
        let open = fs::read_dir("/proc/self/fd").unwrap();
        let open =
            open.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok()).filter(|to| to.starts_with(&here)).count();
        assert!(open <= 102, "{open} descriptors");
        for (found, dir) in kept.iter().filter(|(found, _)| found.kind == FoundKind::File) {
            OpenFile::open(dir, found.name(), &found.stat).unwrap();
        }
    }

    #[test]
    fn links_are_not_followed_and_special_files_are_told_apart() {
        let temp = tempfile::tempdir().unwrap();
        symlink(".", temp.path().join("loop")).unwrap();
        symlink("/etc", temp.path().join("out")).unwrap();
        let fd = rustix::fs::open(temp.path(), OFlags::RDONLY, Mode::empty()).unwrap();
        mkfifoat(&fd, "pipe", Mode::RWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(temp.path().join("socket")).unwrap();
        let kinds: Vec<_> = walk(&root(temp.path()), &with_threads(1), &CancellationToken::new())
            .unwrap()
            .map(|event| match event {
                WalkEvent::Found(found, _) => (found.path.to_string(), found.kind),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected = [
            ("r", FoundKind::Directory),
            ("r/loop", FoundKind::Symlink),
            ("r/out", FoundKind::Symlink),
            ("r/pipe", FoundKind::Fifo),
            ("r/socket", FoundKind::Socket),
        ];
        assert_eq!(kinds, expected.map(|(path, kind)| (path.to_owned(), kind)));
    }

    #[test]
    fn what_is_to_be_left_out_is_left_out() {
        let temp = tempfile::tempdir().unwrap();
        for dir in ["home", "cache", "sub/cache", "tagged", "fake", "sub/other", "sub/other/keys"] {
            fs::create_dir_all(temp.path().join(dir)).unwrap();
            fs::write(temp.path().join(dir).join("x"), b"").unwrap();
        }
        fs::write(temp.path().join("tagged/CACHEDIR.TAG"), b"Signature: 8a477f597d28d172789f06886806bc55\n# x")
            .unwrap();
        fs::write(temp.path().join("fake/CACHEDIR.TAG"), b"no").unwrap();
        fs::write(temp.path().join("sub/other/version"), b"bulbil-home/1\n").unwrap();
        fs::write(temp.path().join("fake/version"), b"bulbil-home/1\n").unwrap();
        let home = fs::metadata(temp.path().join("home")).unwrap();
        for threads in [0, 2] {
            let options = WalkOptions {
                excludes: Excludes::new(&["/cache", "sub/**/x"]).unwrap(),
                never: vec![(home.dev(), home.ino())],
                skip_caches: true,
                one_file_system: true,
                threads,
                tell_left_out: false,
            };
            let (found, rest) = run(temp.path(), &options);
            let expected = [
                "r",
                "r/fake",
                "r/fake/CACHEDIR.TAG",
                "r/fake/version",
                "r/fake/x",
                "r/sub",
                "r/sub/cache",
                "r/tagged",
            ];
            assert_eq!(texts(&found), expected);
            assert_eq!(rest.len(), 3, "{rest:?}");
            assert!(rest[0].starts_with("r/home: it belongs to Bulbil"), "{rest:?}");
            assert!(rest[1].starts_with("r/sub/other: it is a home of Bulbil"), "{rest:?}");
            assert!(rest[2].starts_with("r/tagged: it is marked as a cache"), "{rest:?}");
        }
    }

    #[test]
    fn a_root_is_a_folder_or_a_file_and_its_absence_an_error() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("one"), b"1").unwrap();
        symlink("one", temp.path().join("link")).unwrap();
        for name in ["one", "link"] {
            let mut events = walk(&root(&temp.path().join(name)), &with_threads(2), &CancellationToken::new()).unwrap();
            let Some(WalkEvent::Found(found, dir)) = events.next() else { panic!() };
            assert_eq!((found.path.to_string().as_str(), found.name()), ("r", &b"one"[..]));
            OpenFile::open(&dir, found.name(), &found.stat).unwrap();
            assert!(events.next().is_none());
        }
        let begin = |path: &Path| walk(&root(path), &with_threads(0), &CancellationToken::new());
        let error = begin(&temp.path().join("none")).unwrap_err();
        assert!(matches!(error, WalkError::RootMissing { .. }) && error.to_string().contains("mount the disk"));
        assert!(matches!(begin(Path::new("/dev/null")), Err(WalkError::RootUnfit { .. })));
    }

    #[test]
    fn what_vanishes_is_not_a_problem() {
        let temp = tempfile::tempdir().unwrap();
        for dir in ["a", "b", "c"] {
            fs::create_dir(temp.path().join(dir)).unwrap();
        }
        let mut events = walk(&root(temp.path()), &with_threads(0), &CancellationToken::new()).unwrap();
        events.next().unwrap();
        fs::remove_dir(temp.path().join("b")).unwrap();
        let rest: Vec<_> = events.collect();
        assert_eq!(rest.len(), 3);
        assert!(rest.iter().all(|event| matches!(event, WalkEvent::Found(..))), "{rest:?}");
    }

    #[test]
    fn what_may_not_be_read_is_a_problem_and_the_walk_goes_on() {
        if rustix::process::geteuid().is_root() {
            return; // root may read everything
        }
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("closed")).unwrap();
        fs::write(temp.path().join("open"), b"").unwrap();
        fs::set_permissions(temp.path().join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
        let (found, rest) = run(temp.path(), &with_threads(1));
        fs::set_permissions(temp.path().join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(texts(&found), ["r", "r/closed", "r/open"]);
        assert_eq!(rest.len(), 1);
        assert!(rest[0].starts_with("r/closed: reading it is not permitted"), "{rest:?}");
    }

    #[test]
    fn a_cancelled_walk_ends() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("a"), b"").unwrap();
        let cancel = CancellationToken::new();
        let mut events = walk(&root(temp.path()), &with_threads(2), &cancel).unwrap();
        assert!(events.next().is_some());
        cancel.cancel();
        assert!(events.next().is_none());
    }
}

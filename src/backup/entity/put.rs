//! Into a folder: what belongs to something takes its place file by file, each of them whole; then its lines are put into the lists.
//!
//! Everything is read and compared with its hash before anything is put in place. Files come before the lines that name them, so that a kill
//! leaves nothing that names what is not there. Where the folder is the application's own, what is replaced is copied first.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{EntityError, MAX_LIST_BYTES, PartFile, PartLine, Parts};
use crate::backup::content::ContentReader;
use crate::backup::open::OpenSnapshot;
use crate::backup::target::{StagedFile, Target, without_root};
use crate::domain::crypto::hash::{FileHash, FileHasher};
use crate::domain::entity::merge_line;
use crate::domain::metadata::entry::{Attributes, FileTime};
use crate::domain::metadata::path::TreePath;
use crate::domain::text::paths;
use crate::monitor::{Counter, Monitor, Problem};
use crate::source::stat::Stat;
use crate::source::{FoundKind, read};
use crate::store::{ChunkStore, TreeReader};

/// How much is read at once, in bytes.
const PIECE: usize = 1 << 18;
/// How often a list is read that changes meanwhile.
const ATTEMPTS: usize = 5;

/// Where to.
#[derive(Debug, Clone)]
pub struct Place {
    /// The folder that is the snapshot's: its content comes directly into it.
    pub folder: PathBuf,
    /// Copies of what is replaced come here; nothing is kept without it.
    pub keep: Option<PathBuf>,
    /// Only say what would be done.
    pub dry_run: bool,
    /// What time it is: lists that are written anew have it.
    pub now: Timestamp,
}

/// What was done, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PutStats {
    /// Files that were written.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were there as they are in the snapshot.
    pub unchanged: u64,
    /// Lines that were put into lists.
    pub lines: u64,
    /// Where what was replaced is kept; nothing if nothing was.
    #[serde(serialize_with = "paths::maybe")]
    pub kept: Option<PathBuf>,
    /// Attributes that could not be set.
    #[serde(skip)]
    pub problems: Vec<Problem>,
}

/// Puts it into the folder, which is made if it is missing. Blocks.
///
/// # Errors
/// [`EntityError`]. What was put in place until then is whole.
pub fn put(
    open: &OpenSnapshot,
    chunks: &Arc<dyn ChunkStore>,
    parts: &Parts,
    place: &Place,
    monitor: &dyn Monitor,
    cancel: &CancellationToken,
) -> Result<PutStats, EntityError> {
    let strip = open.has_one_folder(&mut open.tree(chunks.as_ref()))?;
    let mut putting = Putting {
        reader: ContentReader::new(chunks, open.collection(), &open.root),
        tree: open.tree(chunks.as_ref()),
        strip,
        place,
        monitor,
        stats: PutStats::default(),
        made: Vec::new(),
    };
    monitor.task(&format!("restoring {}", parts.id), Counter::BytesDone, None);
    let wanted = putting.look(parts, cancel)?;
    if place.dry_run {
        for file in &wanted {
            putting.stats.files += 1;
            putting.stats.bytes += file.file.size;
        }
        for line in &parts.lines {
            putting.stats.lines += u64::from(putting.changes(line)?);
        }
        return Ok(putting.stats);
    }
    putting.keep(&wanted, parts)?;
    let target = Target::open(&place.folder, true)?;
    for file in wanted {
        if cancel.is_cancelled() {
            return Err(EntityError::Cancelled);
        }
        putting.file(&target, file)?;
    }
    target.sync()?;
    for line in &parts.lines {
        putting.line(&target, line)?;
    }
    putting.finish(&target)?;
    target.sync()?;
    Ok(putting.stats)
}

struct Putting<'a> {
    reader: ContentReader<'a>,
    tree: TreeReader<'a>,
    strip: bool,
    place: &'a Place,
    monitor: &'a dyn Monitor,
    stats: PutStats,
    /// Folders that were made, the outer ones first.
    made: Vec<(TreePath, TreePath)>,
}

impl Putting<'_> {
    /// Where something of the snapshot is in the folder.
    fn mapped(&self, path: &TreePath) -> Option<TreePath> {
        if self.strip { without_root(path) } else { Some(path.clone()) }
    }

    fn on_disk(&self, path: &TreePath) -> PathBuf {
        let mapped = self.mapped(path).unwrap_or_else(|| path.clone());
        self.place.folder.join(std::ffi::OsStr::from_bytes(mapped.as_bytes()))
    }

    /// Reads everything once; answers the files that are not there yet as they should be.
    fn look<'p>(&mut self, parts: &'p Parts, cancel: &CancellationToken) -> Result<Vec<&'p PartFile>, EntityError> {
        let mut wanted = Vec::new();
        for file in &parts.files {
            if cancel.is_cancelled() {
                return Err(EntityError::Cancelled);
            }
            self.read(file, &mut |_| Ok(()))?;
            match is_there(&self.on_disk(&file.path), &file.file.hash, file.file.size)? {
                true => self.stats.unchanged += 1,
                false => wanted.push(file),
            }
        }
        // Nothing is put in place before it is known that the lists can be, too.
        for line in &parts.lines {
            let list = self.on_disk(&line.path);
            if std::fs::symlink_metadata(&list).is_ok_and(|found| !found.is_file()) {
                return Err(EntityError::NotAFile(list));
            }
        }
        Ok(wanted)
    }

    /// Whether a line is not in its list yet as it should be.
    fn changes(&self, line: &PartLine) -> Result<bool, EntityError> {
        let list = read_file(&self.on_disk(&line.path), MAX_LIST_BYTES)?.map(|(bytes, _)| bytes).unwrap_or_default();
        Ok(merge_line(&list, (&line.field, &line.id), &line.line).is_some())
    }

    /// Copies what will be replaced.
    fn keep(&mut self, wanted: &[&PartFile], parts: &Parts) -> Result<(), EntityError> {
        let Some(keep) = &self.place.keep else { return Ok(()) };
        let mut paths: BTreeSet<&TreePath> = wanted.iter().map(|file| &file.path).collect();
        for line in &parts.lines {
            if self.changes(line)? {
                paths.insert(&line.path);
            }
        }
        for path in paths {
            let from = self.on_disk(path);
            if !from.exists() {
                continue;
            }
            let to = keep.join(from.strip_prefix(&self.place.folder).unwrap_or(&from));
            let fail = |cause| EntityError::Io { what: "keep what is replaced in", path: to.clone(), cause };
            let parent = to.parent().unwrap_or(keep);
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(fail)?;
            std::fs::copy(&from, &to).and_then(|_| std::fs::File::open(&to)?.sync_all()).map_err(fail)?;
            self.stats.kept = Some(keep.clone());
        }
        if self.stats.kept.is_some() {
            let synced = std::fs::File::open(keep).and_then(|folder| Ok(rustix::fs::syncfs(folder)?));
            synced.map_err(|cause| EntityError::Io { what: "make durable", path: keep.clone(), cause })?;
        }
        Ok(())
    }

    fn file(&mut self, target: &Target, file: &PartFile) -> Result<(), EntityError> {
        let Some(path) = self.mapped(&file.path) else { return Ok(()) };
        self.folders(target, &path, &file.path)?;
        let staged = target.create_file(&path)?;
        let mut at = 0;
        self.read(file, &mut |bytes| {
            staged.write_at(bytes, at)?;
            at += bytes.len() as u64;
            Ok(())
        })?;
        self.stats.problems.extend(staged.finish(&file.attributes)?);
        self.stats.files += 1;
        self.stats.bytes += file.file.size;
        self.monitor.add(Counter::Entries, 1);
        Ok(())
    }

    /// Reads a file of the snapshot, and compares it with its hash.
    fn read(
        &mut self,
        file: &PartFile,
        each: &mut dyn FnMut(&[u8]) -> Result<(), EntityError>,
    ) -> Result<(), EntityError> {
        let damaged = |cause| EntityError::Damaged { path: file.path.to_string(), cause };
        let (mut hasher, mut len, mut failed) = (FileHasher::default(), 0, None);
        let read = self.reader.read(&file.file, &mut |bytes| {
            hasher.update(bytes);
            len += bytes.len() as u64;
            if failed.is_none() {
                failed = each(bytes).err();
            }
        });
        read.map_err(|cause| damaged(Some(cause)))?;
        if let Some(failed) = failed {
            return Err(failed);
        }
        self.monitor.add(Counter::BytesDone, len);
        if hasher.finish() == file.file.hash && len == file.file.size { Ok(()) } else { Err(damaged(None)) }
    }

    /// Makes the folders that something is in.
    fn folders(&mut self, target: &Target, path: &TreePath, source: &TreePath) -> Result<(), EntityError> {
        let above = |path: &TreePath| std::iter::successors(path.parent(), TreePath::parent).collect::<Vec<_>>();
        for (path, source) in above(path).into_iter().zip(above(source)).collect::<Vec<_>>().into_iter().rev() {
            if target.create_dir(&path)? {
                self.made.push((path, source));
            }
        }
        Ok(())
    }

    /// Puts a line into its list. One that the application writes meanwhile is read again.
    fn line(&mut self, target: &Target, line: &PartLine) -> Result<(), EntityError> {
        let Some(path) = self.mapped(&line.path) else { return Ok(()) };
        self.folders(target, &path, &line.path)?;
        let on_disk = self.on_disk(&line.path);
        for _ in 0..ATTEMPTS {
            let before = target.existing(&path)?;
            if before.as_ref().is_some_and(|existing| existing.kind != FoundKind::File) {
                return Err(EntityError::NotAFile(on_disk));
            }
            let bytes = match &before {
                Some(_) => match read_file(&on_disk, MAX_LIST_BYTES)? {
                    Some((bytes, true)) => bytes,
                    Some((_, false)) => return Err(EntityError::TooLong(on_disk.display().to_string())),
                    None => continue,
                },
                None => Vec::new(),
            };
            let Some(merged) = merge_line(&bytes, (&line.field, &line.id), &line.line) else { return Ok(()) };
            let staged: StagedFile = target.create_file(&path)?;
            staged.write_at(&merged, 0)?;
            let attributes = match &before {
                Some(existing) => attributes_of(&existing.stat, &on_disk, self.place.now),
                None => line.attributes.clone(),
            };
            let is_same =
                |a: &Stat, b: &Stat| (a.inode, a.size, a.mtime, a.ctime) == (b.inode, b.size, b.mtime, b.ctime);
            let now = target.existing(&path)?;
            let stands = match (&before, &now) {
                (None, None) => true,
                (Some(before), Some(now)) => is_same(&before.stat, &now.stat) && before.stat.size == bytes.len() as u64,
                _ => false,
            };
            if stands {
                self.stats.problems.extend(staged.finish(&attributes)?);
                self.stats.lines += 1;
                return Ok(());
            }
        }
        Err(EntityError::Moving(on_disk))
    }

    /// Gives the folders that were made the attributes that they have in the snapshot, the deepest first.
    fn finish(&mut self, target: &Target) -> Result<(), EntityError> {
        for (path, source) in std::mem::take(&mut self.made).into_iter().rev() {
            if let Some(entry) = self.tree.find(&source)? {
                self.stats.problems.extend(target.set_directory_attributes(Some(&path), &entry.attributes)?);
            }
        }
        Ok(())
    }
}

/// A list that is written anew keeps mode, owner and extended attributes.
fn attributes_of(stat: &Stat, path: &Path, now: Timestamp) -> Attributes {
    let mtime = FileTime { secs: now.as_second(), nanos: u32::try_from(now.subsec_nanosecond()).unwrap_or(0) };
    Attributes { mtime, ..stat.attributes(read::xattrs_at(path).unwrap_or_default()) }
}

/// Whether a file has this content. It may be long: it is never in memory as a whole.
fn is_there(path: &Path, hash: &FileHash, size: u64) -> Result<bool, EntityError> {
    let Some(file) = open_file(path)? else { return Ok(false) };
    let fail = |cause| EntityError::Io { what: "read", path: path.to_owned(), cause };
    if file.metadata().map_err(fail)?.len() != size {
        return Ok(false);
    }
    let (mut hasher, mut buffer, mut file) = (FileHasher::default(), vec![0; PIECE], file.take(size + 1));
    loop {
        match file.read(&mut buffer).map_err(fail)? {
            0 => return Ok(hasher.finish() == *hash),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// A file of at most so many bytes; whether that is all of it.
fn read_file(path: &Path, limit: u64) -> Result<Option<(Vec<u8>, bool)>, EntityError> {
    let fail = |cause| EntityError::Io { what: "read", path: path.to_owned(), cause };
    let Some(file) = open_file(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(fail)?;
    let whole = bytes.len() as u64 <= limit;
    Ok(Some((bytes, whole)))
}

/// A file, if one is there. A link is not followed, and a pipe not waited for.
fn open_file(path: &Path) -> Result<Option<std::fs::File>, EntityError> {
    let fail = |cause| EntityError::Io { what: "read", path: path.to_owned(), cause };
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW;
    let flags = i32::try_from(flags.bits()).expect("they are small bits");
    let file = match std::fs::File::options().read(true).custom_flags(flags).open(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => return Ok(None),
        file => file.map_err(fail)?,
    };
    if !file.metadata().map_err(fail)?.is_file() {
        return Err(EntityError::NotAFile(path.to_owned()));
    }
    Ok(Some(file))
}

//! The plan of a restore: walks the tree, makes folders and links, hands files to the writers, and tidies up behind them.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use crossbeam_channel::Sender;
use tokio_util::sync::CancellationToken;

use crate::domain::chunk::ChunkRef;
use crate::domain::metadata::entry::{Attributes, Entry, EntryKind, Extent, FileEntry};
use crate::domain::metadata::path::TreePath;
use crate::monitor::{Counter, Monitor, Problem};
use crate::source::FoundKind;
use crate::source::stat::Stat;
use crate::store::place::{self, Precious};
use crate::store::{ChunkStore, TreeReader};

use super::super::open::OpenSnapshot;
use super::super::target::{Target, TargetError, without_root};
use super::files::FileJob;
use super::needed::Needed;
use super::{Overwrite, RestoreError, RestoreOptions, RestoreStats};

/// A batch is sent off at this many files …
const BATCH_FILES: usize = 128;
/// … or this many bytes.
const BATCH_BYTES: u64 = 2 << 20;

/// Where the writers listen.
struct Outlets {
    batches: Sender<Vec<FileJob>>,
    ahead: Sender<Arc<ChunkRef>>,
}

/// A restore on its way.
pub struct Plan<'a> {
    snapshot: &'a OpenSnapshot,
    tree: TreeReader<'a>,
    /// For extents and single entries, while `tree` walks.
    aside: TreeReader<'a>,
    options: &'a RestoreOptions,
    target: Option<&'a Target>,
    monitor: &'a dyn Monitor,
    strip: bool,
    stats: RestoreStats,
    folders: Vec<(Option<TreePath>, Attributes)>,
    links: Vec<(TreePath, TreePath)>,
    /// Files that are in the target under another path than their own: the first link to a file outside the selection.
    aliases: HashMap<TreePath, TreePath>,
    children: HashMap<Option<TreePath>, HashSet<Vec<u8>>>,
    batch: Vec<FileJob>,
    batch_bytes: u64,
    needed: Option<Needed>,
}

impl<'a> Plan<'a> {
    /// A plan for `target`; none if that is only to be looked at and does not exist.
    pub fn new(
        snapshot: &'a OpenSnapshot,
        chunks: &'a dyn ChunkStore,
        options: &'a RestoreOptions,
        target: Option<&'a Target>,
        monitor: &'a dyn Monitor,
    ) -> Self {
        Self {
            snapshot,
            tree: snapshot.tree(chunks),
            aside: snapshot.tree(chunks),
            options,
            target,
            monitor,
            strip: false,
            stats: RestoreStats::default(),
            folders: Vec::new(),
            links: Vec::new(),
            aliases: HashMap::new(),
            children: HashMap::new(),
            batch: Vec::new(),
            batch_bytes: 0,
            needed: None,
        }
    }

    /// Walks and counts only.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn count(mut self, cancel: &CancellationToken) -> Result<RestoreStats, RestoreError> {
        self.walk(None, cancel)?;
        self.refuse_precious()?;
        self.delete_others(true)?;
        Ok(self.stats)
    }

    /// Walks, and gathers the chunks of all files that are not there yet; looks at what will be removed. For a dry run.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn needed(mut self, cancel: &CancellationToken) -> Result<Needed, RestoreError> {
        self.needed = Some(Needed::new());
        self.walk(None, cancel)?;
        self.refuse_precious()?;
        Ok(self.needed.unwrap_or_default())
    }

    /// Walks, makes folders and links, and hands files to the writers.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn run(
        &mut self,
        batches: Sender<Vec<FileJob>>,
        ahead: Sender<Arc<ChunkRef>>,
        cancel: &CancellationToken,
    ) -> Result<(), RestoreError> {
        let outlets = Outlets { batches, ahead };
        self.walk(Some(&outlets), cancel)?;
        self.flush(&outlets);
        Ok(())
    }

    /// What is left when all files are written: hard links, what is too much, attributes of folders.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn finish(mut self) -> Result<RestoreStats, RestoreError> {
        let Some(target) = self.target else { return Ok(self.stats) };
        for (path, to) in std::mem::take(&mut self.links) {
            let to = self.aliases.get(&to).cloned().or_else(|| self.mapped(&to)).unwrap_or(to);
            self.handle(&path, target.hard_link(&path, &to).map(|()| Vec::new()))?;
        }
        if self.options.delete {
            self.delete_others(false)?;
        }
        // Folders stand in tree order: from the end, the deepest come first.
        for (path, attributes) in std::mem::take(&mut self.folders).into_iter().rev() {
            let done = target.set_directory_attributes(path.as_ref(), &attributes);
            let subject = path.unwrap_or_else(|| TreePath::new(b"target".to_vec()).expect("this is a path"));
            self.handle(&subject, done)?;
        }
        Ok(self.stats)
    }

    fn walk(&mut self, outlets: Option<&Outlets>, cancel: &CancellationToken) -> Result<(), RestoreError> {
        self.strip = self.snapshot.has_one_folder(&mut self.aside)?;
        let selections: Vec<Option<TreePath>> = match self.options.paths.as_slice() {
            [] => vec![None],
            // One that is named twice, or lies in another one, comes once.
            paths => {
                let mut paths = paths.to_vec();
                paths.sort();
                paths.dedup_by(|path, above| path.is_within(above));
                paths.into_iter().map(Some).collect()
            }
        };
        for selection in selections {
            match &selection {
                Some(path) => self.folders_above(path)?,
                None if self.options.delete => drop(self.children.entry(None).or_default()),
                None => {}
            }
            self.tree.seek(selection.as_ref());
            let mut any = false;
            while let Some(entry) = self.tree.next().transpose()? {
                if cancel.is_cancelled() {
                    return Ok(());
                }
                any = true;
                self.entry(entry, outlets)?;
            }
            if let (false, Some(path)) = (any, selection) {
                return Err(RestoreError::NotInSnapshot(path));
            }
        }
        Ok(())
    }

    /// A selection deep in the tree brings the folders that it is in.
    fn folders_above(&mut self, path: &TreePath) -> Result<(), RestoreError> {
        let mut above: Vec<TreePath> = std::iter::successors(path.parent(), TreePath::parent).collect();
        above.reverse();
        for path in above {
            let Some(entry) = self.aside.find(&path)? else { continue };
            let Some(mapped) = self.mapped(&path) else { continue };
            if let Some(target) = self.target
                && !self.options.dry_run
                && target.create_dir_all(&mapped)?
            {
                self.folders.push((Some(mapped), entry.attributes));
            }
        }
        Ok(())
    }

    /// Where a path of the snapshot is in the target; `None` is the target itself.
    fn mapped(&self, path: &TreePath) -> Option<TreePath> {
        if self.strip { without_root(path) } else { Some(path.clone()) }
    }

    fn entry(&mut self, entry: Entry, outlets: Option<&Outlets>) -> Result<(), RestoreError> {
        let mapped = self.mapped(&entry.path);
        // What is beside a selected file was not asked for, and is not too much: only folders that are restored themselves count.
        if let Some(path) = &mapped
            && let Some(names) = self.children.get_mut(&path.parent())
        {
            names.insert(path.name().to_vec());
        }
        let Some(path) = mapped else { return self.folder(None, entry.attributes) };
        if matches!(entry.kind, EntryKind::Directory) {
            return self.folder(Some(path), entry.attributes);
        }
        if self.is_there(&path, &entry)? {
            self.stats.skipped += 1;
            self.monitor.add(Counter::BytesDone, entry.size());
            return Ok(());
        }
        match entry.kind {
            EntryKind::File(file) => self.file(path, entry.path, entry.attributes, &file, outlets),
            EntryKind::HardLink { to } => self.hard_link(path, entry.path, to, outlets),
            kind => {
                self.stats.others += 1;
                let Some(target) = self.target.filter(|_| !self.options.dry_run) else { return Ok(()) };
                let done = match kind {
                    EntryKind::Symlink { target: to } => target.symlink(&path, &to, &entry.attributes),
                    EntryKind::Fifo => target.fifo(&path, &entry.attributes),
                    EntryKind::Socket => target.socket(&path, &entry.attributes),
                    EntryKind::CharDevice { rdev } => target.char_device(&path, rdev, &entry.attributes),
                    EntryKind::BlockDevice { rdev } => target.block_device(&path, rdev, &entry.attributes),
                    EntryKind::File(_) | EntryKind::Directory | EntryKind::HardLink { .. } => {
                        unreachable!("these were handled before")
                    }
                };
                self.monitor.add(Counter::Entries, 1);
                self.handle(&entry.path, done)
            }
        }
    }

    /// Whether what is in the target already stays.
    fn is_there(&self, path: &TreePath, entry: &Entry) -> Result<bool, RestoreError> {
        let Some(target) = self.target.filter(|_| self.options.overwrite != Overwrite::Always) else {
            return Ok(false);
        };
        let existing = match target.existing(path) {
            Ok(existing) => existing,
            // Making it will say what is wrong.
            Err(_) => return Ok(false),
        };
        Ok(match (existing, self.options.overwrite) {
            (None, _) => false,
            (Some(_), Overwrite::Never) => true,
            (Some(found), _) => found.kind == FoundKind::File && is_same_file(&found.stat, entry),
        })
    }

    fn folder(&mut self, path: Option<TreePath>, attributes: Attributes) -> Result<(), RestoreError> {
        self.stats.directories += 1;
        self.monitor.add(Counter::Entries, 1);
        if let (Some(path), Some(target)) = (&path, self.target) {
            let place = target.path().join(OsStr::from_bytes(path.as_bytes()));
            if Precious::of(&place) == Some(Precious::Home) {
                return Err(RestoreError::Home(place));
            }
        }
        if let Some(path) = &path
            && let Some(target) = self.target.filter(|_| !self.options.dry_run)
            && let Err(error) = target.create_dir(path)
        {
            return self.handle(path, Err(error));
        }
        if self.options.delete {
            self.children.entry(path.clone()).or_default();
        }
        self.folders.push((path, attributes));
        Ok(())
    }

    fn file(
        &mut self,
        path: TreePath,
        source: TreePath,
        attributes: Attributes,
        file: &FileEntry,
        outlets: Option<&Outlets>,
    ) -> Result<(), RestoreError> {
        self.stats.files += 1;
        self.stats.bytes += file.size;
        if let Some(needed) = &mut self.needed {
            for chunk in self.aside.extents(file)?.iter().filter_map(chunk_of) {
                needed.entry(chunk.id).or_insert_with(|| (chunk.clone(), source.clone()));
            }
        }
        let Some(outlets) = outlets else { return Ok(()) };
        let extents = self.aside.extents(file)?;
        let mut last = self.batch.last().and_then(|job| job.extents.last()).and_then(chunk_of).map(|chunk| chunk.id);
        for chunk in extents.iter().take(2).filter_map(chunk_of) {
            if last != Some(chunk.id) {
                // A full queue means that enough is being opened.
                let _ = outlets.ahead.try_send(chunk.clone());
                last = Some(chunk.id);
            }
        }
        self.batch_bytes += file.size;
        self.batch.push(FileJob { path, source, attributes, size: file.size, hash: file.hash, extents });
        if self.batch.len() >= BATCH_FILES || self.batch_bytes >= BATCH_BYTES {
            self.flush(outlets);
        }
        Ok(())
    }

    fn hard_link(
        &mut self,
        path: TreePath,
        source: TreePath,
        to: TreePath,
        outlets: Option<&Outlets>,
    ) -> Result<(), RestoreError> {
        let is_selected = self.options.paths.is_empty() || self.options.paths.iter().any(|s| to.is_within(s));
        if !is_selected && !self.aliases.contains_key(&to) {
            // The file itself is not restored: its first link becomes it.
            let found = self.aside.find(&to)?;
            if let Some(Entry { attributes, kind: EntryKind::File(file), .. }) = found {
                self.aliases.insert(to, path.clone());
                return self.file(path, source, attributes, &file, outlets);
            }
        }
        self.stats.others += 1;
        self.links.push((path, to));
        Ok(())
    }

    /// What is in restored folders and not in the snapshot.
    fn others(&self) -> Result<Vec<TreePath>, RestoreError> {
        let Some(target) = self.target.filter(|_| self.options.delete) else { return Ok(Vec::new()) };
        let mut others = Vec::new();
        for (folder, names) in &self.children {
            let existing = match target.list(folder.as_ref()) {
                Ok(existing) => existing,
                Err(TargetError::NoFolder { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            for found in existing.iter().filter(|found| !names.contains(&found.name)) {
                let path = match folder {
                    Some(folder) => folder.child(&found.name),
                    None => TreePath::new(found.name.clone()),
                };
                others.extend(path.ok().filter(|path| !target.is_own(path)));
            }
        }
        Ok(others)
    }

    /// Homes and portable backups are never what is too much.
    fn refuse_precious(&self) -> Result<(), RestoreError> {
        let Some(target) = self.target.filter(|_| self.options.delete) else { return Ok(()) };
        for (folder, names) in &self.children {
            let Some(folder) = folder else { continue };
            let path = target.path().join(OsStr::from_bytes(folder.as_bytes()));
            // What the snapshot has there itself is what it is.
            if Precious::of(&path) == Some(Precious::Portable) && !names.contains(place::PORTABLE.as_bytes()) {
                return Err(RestoreError::WouldRemove(path));
            }
        }
        for path in self.others()? {
            let path = target.path().join(OsStr::from_bytes(path.as_bytes()));
            match Precious::below(&path) {
                Ok(None) => {}
                Ok(Some((found, _))) => return Err(RestoreError::WouldRemove(found)),
                Err(cause) => return Err(RestoreError::Unseen { path, cause }),
            }
        }
        Ok(())
    }

    /// Removes from restored folders what the snapshot does not have there.
    fn delete_others(&mut self, only_count: bool) -> Result<(), RestoreError> {
        let Some(target) = self.target else { return Ok(()) };
        for path in self.others()? {
            self.stats.deleted += 1;
            if !only_count {
                self.handle(&path, target.remove(&path).map(|()| Vec::new()))?;
            }
        }
        Ok(())
    }

    fn flush(&mut self, outlets: &Outlets) {
        self.batch_bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        if !batch.is_empty() {
            // If all writers are gone, one of them has the error.
            let _ = outlets.batches.send(batch);
        }
    }

    /// Reports problems; only what makes going on pointless is an error.
    fn handle(&mut self, path: &TreePath, done: Result<Vec<Problem>, TargetError>) -> Result<(), RestoreError> {
        match done {
            Ok(problems) => problems.into_iter().for_each(|problem| self.monitor.problem(problem)),
            Err(error) if error.stops_all() => return Err(error.into()),
            Err(error) => {
                self.stats.failed += 1;
                self.monitor.problem(error.into_problem(path));
            }
        }
        Ok(())
    }
}

fn chunk_of(extent: &Extent) -> Option<&Arc<ChunkRef>> {
    match extent {
        Extent::Data { chunk, .. } => Some(chunk),
        Extent::Hole { .. } => None,
    }
}

/// Whether a file in the target passes for the one in the snapshot: same length, same time of modification.
fn is_same_file(stat: &Stat, entry: &Entry) -> bool {
    match &entry.kind {
        EntryKind::File(file) => stat.size == file.size && stat.mtime == entry.attributes.mtime,
        _ => false,
    }
}

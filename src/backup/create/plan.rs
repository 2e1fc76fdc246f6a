//! The planner: walks the roots, compares with earlier snapshots, and decides what has to be read.

use std::collections::{HashMap, HashSet};
use std::iter::Peekable;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use jiff::Timestamp;

use crate::domain::id::ChunkId;
use crate::domain::metadata::entry::{Attributes, Entry, EntryKind, Extent, FileContent, FileTime};
use crate::domain::metadata::path::TreePath;
use crate::monitor::Monitor;
use crate::source::archive::{Archive, ArchiveKind};
use crate::source::{DirHandle, Document, Found, FoundKind, LeftOut, WalkEvent, document};

use super::flow::{Batch, Block, Draft, DraftKind, Step};
use super::stand_in::{StandIn, StandIns};
use super::{CommandSource, CreateError};

/// A batch is sent off at this many entries …
const BATCH_ENTRIES: usize = 128;
/// … or this many bytes to read.
const BATCH_BYTES: u64 = 1 << 20;
/// Blocks that a reader may be ahead of the packer, for each batch.
const BLOCKS_AHEAD: usize = 3;
/// File systems keep times no finer than a tick of the kernel's coarse clock: 10 ms at most.
const COARSE_CLOCK_NANOS: i64 = 20_000_000;

/// An earlier snapshot, entry by entry.
pub struct Earlier<'a> {
    entries: Peekable<Box<dyn Iterator<Item = Result<Entry, CreateError>> + Send + 'a>>,
    /// Only files that changed before this moment are trusted to be as they were: a file that changed in the very tick in
    /// which that backup began may have changed again in the same tick.
    trusted_before: FileTime,
}

impl<'a> Earlier<'a> {
    /// The entries of a snapshot that was begun at `created_at`, in tree order.
    pub fn new(
        entries: Box<dyn Iterator<Item = Result<Entry, CreateError>> + Send + 'a>,
        created_at: Timestamp,
    ) -> Self {
        let nanos = created_at.as_nanosecond() - i128::from(COARSE_CLOCK_NANOS);
        let secs = nanos.div_euclid(1_000_000_000) as i64;
        let trusted_before = FileTime { secs, nanos: nanos.rem_euclid(1_000_000_000) as u32 };
        Self { entries: entries.peekable(), trusted_before }
    }

    /// The entry at `path`; everything before it is passed over.
    fn find(&mut self, path: &TreePath) -> Option<Entry> {
        loop {
            match self.entries.peek()? {
                Ok(entry) if entry.path < *path => self.entries.next(),
                Ok(entry) if entry.path == *path => return self.entries.next()?.ok(),
                Ok(_) => return None,
                // An earlier snapshot that cannot be read costs time, not data: everything is read again.
                Err(_) => return None,
            };
        }
    }

    fn trusts(&self, entry: &Entry, now: &Attributes) -> bool {
        let then = &entry.attributes;
        let coarse = then.ctime.nanos == 0 && then.ctime.secs + 2 >= self.trusted_before.secs;
        then.ctime < self.trusted_before
            && !coarse
            && then.ctime == now.ctime
            && then.mtime == now.mtime
            && then.inode == now.inode
    }
}

/// Cuts the walk into batches.
pub struct Planner<'a> {
    earlier: Vec<Earlier<'a>>,
    avoid: &'a HashSet<ChunkId>,
    stand_ins: Option<StandIns>,
    links: HashMap<(u64, u64), TreePath>,
    monitor: &'a dyn Monitor,
    batches: Sender<Batch>,
    order: Sender<Receiver<Block>>,
    steps: Vec<Step>,
    bytes: u64,
    left_out: Vec<LeftOut>,
}

impl<'a> Planner<'a> {
    /// A planner that compares with `earlier` snapshots, the best first. What leans on chunks to `avoid` is read again.
    pub fn new(
        earlier: Vec<Earlier<'a>>,
        avoid: &'a HashSet<ChunkId>,
        stand_ins: Option<StandIns>,
        monitor: &'a dyn Monitor,
        batches: Sender<Batch>,
        order: Sender<Receiver<Block>>,
    ) -> Self {
        Self {
            earlier,
            avoid,
            stand_ins,
            links: HashMap::new(),
            monitor,
            batches,
            order,
            steps: Vec::new(),
            bytes: 0,
            left_out: Vec::new(),
        }
    }

    /// Plans one root's walk; false if the packer does not listen any more.
    pub fn run(&mut self, walk: impl Iterator<Item = WalkEvent>) -> bool {
        for event in walk {
            match event {
                WalkEvent::Found(found, dir) => {
                    let Some(step) = self.step(found, dir) else { continue };
                    self.steps.push(step);
                    if (self.steps.len() >= BATCH_ENTRIES || self.bytes >= BATCH_BYTES) && !self.flush() {
                        return false;
                    }
                }
                WalkEvent::Problem(problem) => self.monitor.problem(problem),
                WalkEvent::LeftOut(left_out) => self.left_out.push(left_out),
                WalkEvent::Skipped(skipped) => {
                    self.monitor.notice(&format!("{}: {}", skipped.path, skipped.reason));
                }
            }
        }
        true
    }

    /// Plans documents, which are in tree order, and their folders; false if the packer does not listen any more.
    pub fn documents(&mut self, documents: Vec<Document>) -> bool {
        let mut folders: HashSet<TreePath> = HashSet::new();
        for document in documents {
            let above: Vec<TreePath> = std::iter::successors(document.path.parent(), TreePath::parent).collect();
            for folder in above.into_iter().rev() {
                if folders.insert(folder.clone()) {
                    // The same at each time, whatever was written last.
                    let attributes = document::folder_attributes(Timestamp::UNIX_EPOCH);
                    self.steps.push(Step::Ready(Draft {
                        path: folder,
                        attributes,
                        kind: DraftKind::Known(EntryKind::Directory),
                    }));
                }
            }
            self.bytes += document.bytes.len() as u64;
            self.steps.push(Step::Made(document));
            if (self.steps.len() >= BATCH_ENTRIES || self.bytes >= BATCH_BYTES) && !self.flush() {
                return false;
            }
        }
        true
    }

    /// What the patterns left out so far.
    pub fn take_left_out(&mut self) -> Vec<LeftOut> {
        std::mem::take(&mut self.left_out)
    }

    /// Sends off the last batch.
    pub fn finish(mut self) -> bool {
        self.flush()
    }

    fn flush(&mut self) -> bool {
        self.bytes = 0;
        if self.steps.is_empty() {
            return true;
        }
        let (out, blocks) = bounded(BLOCKS_AHEAD);
        let batch = Batch { steps: std::mem::take(&mut self.steps), out };
        self.order.send(blocks).is_ok() && self.batches.send(batch).is_ok()
    }

    /// Plans all of an archive; false if the packer does not listen any more.
    pub fn archive(&mut self, archive: &Arc<Archive>) -> bool {
        for entry in &archive.entries {
            let (path, attributes) = (entry.path.clone(), entry.attributes.clone());
            self.steps.push(match &entry.kind {
                ArchiveKind::Known(kind) => {
                    Step::Ready(Draft { path, attributes, kind: DraftKind::Known(kind.clone()) })
                }
                ArchiveKind::File { content, size } => {
                    self.bytes += size;
                    let (content, archive) = (content.clone(), archive.clone());
                    Step::Archived { path, attributes, content, size: *size, archive }
                }
            });
            if (self.steps.len() >= BATCH_ENTRIES || self.bytes >= BATCH_BYTES) && !self.flush() {
                return false;
            }
        }
        self.left_out.extend(archive.left_out.iter().cloned());
        true
    }

    /// Plans a command's output.
    pub fn command(&mut self, command: CommandSource) {
        self.steps.push(Step::Output(command));
    }

    /// What to do with what was found; nothing if a copy of another file holds it.
    fn step(&mut self, found: Found, dir: Arc<DirHandle>) -> Option<Step> {
        if found.kind == FoundKind::File
            && let Some(stand_ins) = &mut self.stand_ins
        {
            match stand_ins.for_file(&found, self.monitor) {
                StandIn::None => {}
                StandIn::HeldBy(left_out) => {
                    self.left_out.push(left_out);
                    return None;
                }
                StandIn::Copy { name, stat, dir } => {
                    self.bytes += stat.size;
                    let like = Some(found.stat);
                    return Some(Step::Visit { found: found.standing_in(&name, stat), dir, like });
                }
            }
        }
        Some(self.plain_step(found, dir))
    }

    fn plain_step(&mut self, found: Found, dir: Arc<DirHandle>) -> Step {
        if found.kind == FoundKind::File && found.stat.nlink > 1 {
            let key = (found.stat.dev, found.stat.inode);
            if let Some(to) = self.links.get(&key) {
                let kind = DraftKind::Known(EntryKind::HardLink { to: to.clone() });
                return Step::Ready(Draft { path: found.path, attributes: found.stat.attributes(Vec::new()), kind });
            }
            self.links.insert(key, found.path.clone());
        }
        let now = found.stat.attributes(Vec::new());
        for earlier in &mut self.earlier {
            let Some(entry) = earlier.find(&found.path) else { continue };
            if earlier.trusts(&entry, &now) && is_same_kind(&entry.kind, &found) && !leans_on(&entry, self.avoid) {
                let attributes = Attributes { xattrs: entry.attributes.xattrs, ..now };
                return Step::Ready(Draft { path: found.path, attributes, kind: DraftKind::Known(entry.kind) });
            }
        }
        if found.kind == FoundKind::File {
            self.bytes += found.stat.size;
        }
        Step::Visit { found, dir, like: None }
    }
}

/// Whether an entry's content is, even partly, in one of these chunks.
fn leans_on(entry: &Entry, avoid: &HashSet<ChunkId>) -> bool {
    let EntryKind::File(file) = &entry.kind else { return false };
    !avoid.is_empty()
        && match &file.content {
            FileContent::Pages(pages) => pages.iter().any(|page| avoid.contains(&page.chunk.id)),
            FileContent::Extents(extents) => extents.iter().any(|extent| match extent {
                Extent::Data { chunk, .. } => avoid.contains(&chunk.id),
                Extent::Hole { .. } => false,
            }),
        }
}

/// Whether the entry can be taken over as it is.
fn is_same_kind(kind: &EntryKind, found: &Found) -> bool {
    match (kind, &found.kind) {
        (EntryKind::File(file), FoundKind::File) => file.size == found.stat.size && !file.changed_while_read,
        (EntryKind::Directory, FoundKind::Directory)
        | (EntryKind::Symlink { .. }, FoundKind::Symlink)
        | (EntryKind::Fifo, FoundKind::Fifo)
        | (EntryKind::Socket, FoundKind::Socket) => true,
        (EntryKind::CharDevice { rdev: then }, FoundKind::CharDevice { rdev: now })
        | (EntryKind::BlockDevice { rdev: then }, FoundKind::BlockDevice { rdev: now }) => then == now,
        _ => false,
    }
}

//! The packer: the one thread through which everything passes in order. It looks fragments up, fills bins with the new
//! ones, and hands entries to the tree as soon as the chunks they lean on are sealed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use crate::domain::crypto::hash::{FileHash, FragmentKey};
use crate::domain::metadata::entry::{Attributes, Entry, EntryKind, Extent, FileContent, FileEntry};
use crate::domain::metadata::path::TreePath;
use crate::monitor::{Counter, Monitor};

use super::CreateError;
use super::bins::{BinKind, Bins};
use super::commit::Gathered;
use super::dedup::{Fragments, Place};
use super::flow::{Block, Draft, DraftKind, Piece};
use super::tree::{TreeBuilder, paged};

/// While a backup runs, what was reached is committed as a partial snapshot this often.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(300);
/// So many entries wait for an open bin; then it is sealed though it is not full.
const MAX_WAITING: usize = 16 << 10;

/// Finds the extents of a file of an earlier snapshot.
pub type ResolvePages<'a> = Box<dyn FnMut(&FileEntry) -> Result<Vec<Extent>, CreateError> + Send + 'a>;

/// What came in between: counted for the snapshot.
#[derive(Debug, Default, Clone, Copy)]
pub struct Packed {
    /// Regular files, hard links included.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Everything else.
    pub others: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Files that were read.
    pub files_read: u64,
    /// Bytes that were read.
    pub bytes_read: u64,
}

impl Packed {
    /// Adds what was read in another pass.
    pub fn add_work_of(&mut self, other: &Packed) {
        self.files_read += other.files_read;
        self.bytes_read += other.bytes_read;
    }
}

/// The packer's state.
pub struct Packer<'a> {
    /// The bins.
    pub bins: Bins,
    /// What is stored.
    pub fragments: Fragments,
    /// The tree.
    pub tree: TreeBuilder<'a>,
    /// Counts.
    pub packed: Packed,
    node_names: &'a FragmentKey,
    resolve_pages: ResolvePages<'a>,
    monitor: &'a dyn Monitor,
    current: Vec<Part>,
    waiting: VecDeque<Waiting>,
    /// How many of the new chunks a checkpoint has told the index of.
    committed: usize,
}

/// A piece of the file that is being gathered.
enum Part {
    Place(Place),
    Hole(u64),
}

/// An entry that waits for its chunks.
enum Waiting {
    Ready(Entry),
    File {
        path: TreePath,
        attributes: Attributes,
        size: u64,
        hash: FileHash,
        changed_while_read: bool,
        parts: Vec<Part>,
    },
}

impl<'a> Packer<'a> {
    /// An empty packer that knows what is stored already.
    pub fn new(
        bins: Bins,
        node_names: &'a FragmentKey,
        fragments: Fragments,
        resolve_pages: ResolvePages<'a>,
        monitor: &'a dyn Monitor,
    ) -> Self {
        Self {
            bins,
            fragments,
            tree: TreeBuilder::new(node_names),
            packed: Packed::default(),
            node_names,
            resolve_pages,
            monitor,
            current: Vec::new(),
            waiting: VecDeque::new(),
            committed: 0,
        }
    }

    /// Takes in everything that the batches of `order` bring, in their order; calls `checkpoint` now and then.
    ///
    /// # Errors
    /// [`CreateError`].
    pub fn run(
        &mut self,
        order: &Receiver<Receiver<Block>>,
        checkpoint: &mut dyn FnMut(&mut Self) -> Result<(), CreateError>,
    ) -> Result<(), CreateError> {
        let mut last_checkpoint = Instant::now();
        for batch in order {
            if last_checkpoint.elapsed() >= CHECKPOINT_INTERVAL && self.bins.new_chunks.len() > self.committed {
                checkpoint(self)?;
                self.committed = self.bins.new_chunks.len();
                last_checkpoint = Instant::now();
            }
            for block in batch {
                self.block(&block.data, block.pieces)?;
            }
            if self.bins.collect(&mut self.fragments)? || matches!(self.waiting.front(), Some(Waiting::Ready(_))) {
                self.drain()?;
            }
            if self.waiting.len() > MAX_WAITING {
                self.flush_data()?;
                self.drain()?;
            }
        }
        Ok(())
    }

    /// Seals what is still in the bins, hands every entry to the tree, and answers what there is so far. It can go on.
    ///
    /// # Errors
    /// [`CreateError`].
    pub fn gathered(&mut self, problems: u64) -> Result<Gathered, CreateError> {
        self.flush_data()?;
        self.drain()?;
        let mut tree = self.tree.clone();
        let root = tree.finish(&mut self.bins, &mut self.fragments)?;
        self.bins.flush(BinKind::Meta)?;
        self.bins.settle(&mut self.fragments)?;
        let used = tree.take_used();
        Ok(Gathered {
            root: root.encode(),
            sparse: self.fragments.sparse(&used),
            used,
            new_chunks: self.bins.new_chunks.clone(),
            committed: self.committed,
            packed: self.packed,
            problems,
        })
    }

    fn flush_data(&mut self) -> Result<(), CreateError> {
        self.bins.flush(BinKind::Plain)?;
        self.bins.flush(BinKind::Dense)?;
        Ok(self.bins.settle(&mut self.fragments)?)
    }

    fn block(&mut self, data: &[u8], pieces: Vec<Piece>) -> Result<(), CreateError> {
        let mut at = 0;
        for piece in pieces {
            match piece {
                Piece::Fragment { name, len, compressible } => {
                    let bytes = &data[at..at + len as usize];
                    at += len as usize;
                    let place = match self.fragments.find(&name, len) {
                        Some(place) => place,
                        None => {
                            let bin = if compressible { BinKind::Plain } else { BinKind::Dense };
                            self.bins.put(&mut self.fragments, bin, name, bytes)?
                        }
                    };
                    self.packed.bytes_read += u64::from(len);
                    self.gather(place);
                }
                Piece::Hole { len } => self.current.push(Part::Hole(len)),
                Piece::Again | Piece::Nothing => self.current.clear(),
                Piece::Entry(draft) => self.entry(draft)?,
            }
        }
        Ok(())
    }

    /// Adds a fragment to the current file; fragments that follow each other in a chunk become one extent.
    fn gather(&mut self, place: Place) {
        if let Some(Part::Place(last)) = self.current.last_mut()
            && last.slot == place.slot
            && last.offset + last.len == place.offset
        {
            last.len += place.len;
            return;
        }
        self.current.push(Part::Place(place));
    }

    fn entry(&mut self, draft: Draft) -> Result<(), CreateError> {
        let Draft { path, attributes, kind } = draft;
        self.monitor.add(Counter::Entries, 1);
        let waiting = match kind {
            DraftKind::Known(kind) => {
                match &kind {
                    EntryKind::File(file) => {
                        self.packed.files += 1;
                        self.packed.bytes += file.size;
                        match &file.content {
                            FileContent::Extents(extents) => self.tree.uses_extents(extents),
                            FileContent::Pages(_) => self.tree.uses_extents(&(self.resolve_pages)(file)?),
                        }
                    }
                    EntryKind::HardLink { .. } => self.packed.files += 1,
                    EntryKind::Directory => self.packed.directories += 1,
                    _ => self.packed.others += 1,
                }
                Waiting::Ready(Entry { path, attributes, kind })
            }
            DraftKind::Read { size, hash, changed_while_read } => {
                self.packed.files += 1;
                self.packed.files_read += 1;
                self.packed.bytes += size;
                let parts = std::mem::take(&mut self.current);
                Waiting::File { path, attributes, size, hash, changed_while_read, parts }
            }
        };
        self.waiting.push_back(waiting);
        Ok(())
    }

    /// Hands entries to the tree until one leans on a chunk that is not sealed yet.
    fn drain(&mut self) -> Result<(), CreateError> {
        while let Some(front) = self.waiting.front() {
            if let Waiting::File { parts, .. } = front
                && !parts.iter().all(|part| self.is_sealed(part))
            {
                return Ok(());
            }
            let entry = match self.waiting.pop_front().expect("there is a front") {
                Waiting::Ready(entry) => entry,
                Waiting::File { path, attributes, size, hash, changed_while_read, parts } => {
                    let extents: Vec<Extent> = parts.iter().map(|part| self.extent(part)).collect();
                    self.tree.uses_extents(&extents);
                    let content = paged(extents, self.node_names, &mut self.bins, &mut self.fragments)?;
                    let kind = EntryKind::File(FileEntry { size, hash, content, changed_while_read });
                    Entry { path, attributes, kind }
                }
            };
            self.tree.push(entry, &mut self.bins, &mut self.fragments)?;
        }
        Ok(())
    }

    fn is_sealed(&self, part: &Part) -> bool {
        match part {
            Part::Place(place) => self.fragments.chunk(place.slot).is_some(),
            Part::Hole(_) => true,
        }
    }

    fn extent(&self, part: &Part) -> Extent {
        match part {
            Part::Place(place) => self.fragments.extent(place).expect("the chunk is sealed"),
            Part::Hole(len) => Extent::Hole { len: *len },
        }
    }
}

//! Readers: open, read, cut, hash. Several run at once; each works off batches and answers in order.

use std::sync::{Arc, Mutex};

use crossbeam_channel::{Receiver, Sender};
use tokio_util::sync::CancellationToken;

use crate::domain::crypto::hash::{FileHash, FileHasher, FragmentKey};
use crate::domain::metadata::entry::{Attributes, EntryKind, Xattr};
use crate::domain::metadata::path::TreePath;
use crate::monitor::{Counter, Monitor, Problem};
use crate::source::archive::{self, Archive};
use crate::source::command::{CommandError, Output};
use crate::source::read::{self, OpenFile, ReadError, Stretch};
use crate::source::{DirHandle, Document, Found, FoundKind, Stat};

use super::cut::{Cutter, Gear, is_compressible};
use super::flow::{Batch, Block, Draft, DraftKind, Piece, Step};
use super::{CommandSource, CreateError};

/// A block is sent on when it holds this many bytes.
const BLOCK_BYTES: usize = 1 << 20;
/// Extended attributes of one entry, names and values, are kept up to this many bytes.
const MAX_XATTR_BYTES: usize = 1 << 20;
/// A file that changes while it is read is read this many times.
const ATTEMPTS: usize = 3;

/// What all readers share.
pub struct ReaderContext<'a> {
    /// Names fragments.
    pub names: &'a FragmentKey,
    /// Cuts them.
    pub gear: &'a Gear,
    /// Hears of problems.
    pub monitor: &'a dyn Monitor,
    /// Stops commands.
    pub cancel: &'a CancellationToken,
    /// Why nothing may be committed.
    pub failed: &'a Mutex<Option<CreateError>>,
}

/// Works off batches until there are no more, or nobody wants the results.
pub fn run(context: &ReaderContext<'_>, batches: &Receiver<Batch>) {
    let mut buffer = Vec::new();
    for batch in batches {
        let Batch { steps, out } = batch;
        let mut reader = Reader { context, out, block: Block::default(), buffer: std::mem::take(&mut buffer) };
        if steps.into_iter().all(|step| reader.step(step)) {
            reader.flush();
        }
        buffer = reader.buffer;
    }
}

struct Reader<'a, 'b> {
    context: &'a ReaderContext<'b>,
    out: Sender<Block>,
    block: Block,
    buffer: Vec<u8>,
}

impl Reader<'_, '_> {
    /// Sends what is gathered; false if nobody listens any more.
    fn flush(&mut self) -> bool {
        let block = std::mem::take(&mut self.block);
        block.pieces.is_empty() || self.out.send(block).is_ok()
    }

    fn piece(&mut self, piece: Piece) {
        self.block.pieces.push(piece);
    }

    fn problem(&self, found: &Found, message: String) {
        self.context.monitor.problem(Problem { subject: found.path.to_string(), message });
    }

    /// Does one step; false if nobody wants the results any more.
    fn step(&mut self, step: Step) -> bool {
        let (found, dir, like) = match step {
            Step::Ready(draft) => {
                self.piece(Piece::Entry(draft));
                return true;
            }
            Step::Visit { found, dir, like } => (found, dir, like),
            Step::Made(document) => return self.made(document),
            Step::Output(command) => return self.output(command),
            Step::Archived { path, attributes, content, size, archive } => {
                return self.archived(path, attributes, &content, size, &archive);
            }
        };
        let done = match found.kind {
            FoundKind::File => self.file(&found, &dir, like.as_ref()),
            _ => self.describe(&found, &dir),
        };
        done.unwrap_or_else(|error| {
            if !matches!(error, ReadError::Vanished | ReadError::Stopped) {
                self.problem(&found, error.to_string());
            }
            self.piece(Piece::Nothing);
            true
        })
    }

    /// Cuts a document; false if nobody wants the results any more.
    fn made(&mut self, document: Document) -> bool {
        let mut content = Content::new(document.bytes.len() as u64, true);
        let cutter = Cutter::new(self.context.gear, content.expected);
        let mut rest = document.bytes.as_slice();
        while !rest.is_empty() {
            let (fragment, after) = rest.split_at(cutter.next(rest));
            self.fragment(fragment, &mut content);
            rest = after;
            if self.block.data.len() >= BLOCK_BYTES && !self.flush() {
                return false;
            }
        }
        let kind = DraftKind::Read { size: content.size, hash: content.hash(), changed_while_read: false };
        self.piece(Piece::Entry(Draft { attributes: document.attributes(), path: document.path, kind }));
        true
    }

    /// Cuts what a command writes; false if nobody wants the results any more. If it fails, nothing is committed.
    fn output(&mut self, source: CommandSource) -> bool {
        match self.cut_output(&source) {
            Ok(wanted) => wanted,
            Err(cause) => {
                let CommandSource { path, command, .. } = source;
                let mut failed = self.context.failed.lock().expect("no holder of this lock can panic");
                failed.get_or_insert(CreateError::Command { path, command, cause });
                drop(failed);
                self.piece(Piece::Nothing);
                true
            }
        }
    }

    fn cut_output(&mut self, source: &CommandSource) -> Result<bool, CommandError> {
        let mut output = Output::start(&source.command, &[], self.context.cancel)?;
        let mut content = Content::new(0, false);
        let cutter = Cutter::new(self.context.gear, 0);
        let (mut buffer, mut at, mut ended) = (Vec::new(), 0, false);
        loop {
            if !ended && buffer.len() - at < cutter.longest() {
                buffer.drain(..at);
                at = 0;
                let (before, want) = (buffer.len(), 2 * cutter.longest());
                buffer.resize(before + want, 0);
                let filled = output.fill(&mut buffer[before..])?;
                buffer.truncate(before + filled);
                ended = filled < want;
            }
            if at == buffer.len() {
                break;
            }
            let cut = cutter.next(&buffer[at..]);
            self.fragment(&buffer[at..at + cut], &mut content);
            at += cut;
            if self.block.data.len() >= BLOCK_BYTES && !self.flush() {
                return Ok(false);
            }
        }
        output.finish()?;
        let file = Document { path: source.path.clone(), bytes: Vec::new(), changed_at: source.changed_at };
        let kind = DraftKind::Read { size: content.size, hash: content.hash(), changed_while_read: false };
        self.piece(Piece::Entry(Draft { attributes: file.attributes(), path: file.path, kind }));
        Ok(true)
    }

    /// Cuts a file of an archive; false if nobody wants the results any more. If it cannot be read, nothing is committed.
    fn archived(
        &mut self,
        path: TreePath,
        attributes: Attributes,
        pieces: &[archive::Piece],
        size: u64,
        archive: &Archive,
    ) -> bool {
        let mut content = Content::new(size, true);
        let cutter = Cutter::new(self.context.gear, size);
        for piece in pieces {
            let (mut at, len) = match *piece {
                archive::Piece::Hole { len } => {
                    content.hole(len);
                    self.piece(Piece::Hole { len });
                    continue;
                }
                archive::Piece::Data { at, len } => (at, len),
            };
            let mut read = |buffer: &mut [u8]| {
                archive.read_at(buffer, at)?;
                at += buffer.len() as u64;
                Ok::<_, std::io::Error>(buffer.len())
            };
            match self.stretch(&mut read, len, &cutter, &mut content) {
                Ok(true) => {}
                Ok(false) => return false,
                Err(cause) => {
                    let mut failed = self.context.failed.lock().expect("no holder of this lock can panic");
                    failed.get_or_insert(CreateError::Spool(cause));
                    drop(failed);
                    self.piece(Piece::Nothing);
                    return true;
                }
            }
        }
        let kind = DraftKind::Read { size: content.size, hash: content.hash(), changed_while_read: false };
        self.piece(Piece::Entry(Draft { path, attributes, kind }));
        true
    }

    /// Extended attributes, unless they are beyond all measure: a node must hold them.
    fn bounded(&self, found: &Found, xattrs: Vec<Xattr>) -> Vec<Xattr> {
        if xattrs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() <= MAX_XATTR_BYTES {
            return xattrs;
        }
        self.problem(found, "it has more than 1 MiB of extended attributes; they are left out".to_owned());
        Vec::new()
    }

    fn describe(&mut self, found: &Found, dir: &Arc<DirHandle>) -> Result<bool, ReadError> {
        let kind = match found.kind {
            FoundKind::File => unreachable!("files are read, not described"),
            FoundKind::Directory => EntryKind::Directory,
            FoundKind::Symlink => EntryKind::Symlink { target: read::read_link(dir, found.name())? },
            FoundKind::Fifo => EntryKind::Fifo,
            FoundKind::Socket => EntryKind::Socket,
            FoundKind::CharDevice { rdev } => EntryKind::CharDevice { rdev },
            FoundKind::BlockDevice { rdev } => EntryKind::BlockDevice { rdev },
        };
        let attributes = found.stat.attributes(self.bounded(found, read::xattrs_of(dir, found.name())?));
        self.piece(Piece::Entry(Draft { path: found.path.clone(), attributes, kind: DraftKind::Known(kind) }));
        Ok(true)
    }

    fn file(&mut self, found: &Found, dir: &Arc<DirHandle>, like: Option<&Stat>) -> Result<bool, ReadError> {
        let mut expected = found.stat;
        for attempt in 1..=ATTEMPTS {
            let mut file = match OpenFile::open(dir, found.name(), &expected) {
                // A new file was renamed over it, as editors save: that one is read.
                Err(ReadError::Replaced) if attempt < ATTEMPTS => {
                    let (kind, stat) = read::look(dir, found.name())?;
                    if kind != FoundKind::File {
                        return Err(ReadError::Replaced);
                    }
                    expected = stat;
                    continue;
                }
                opened => opened?,
            };
            let stat = *file.stat();
            let mut content = Content::new(stat.size, attempt < ATTEMPTS);
            if !self.content(&mut file, &mut content)? {
                return Ok(false);
            }
            let changed = content.is_longer || content.size != stat.size || file.changed_since_open()?;
            if changed && attempt < ATTEMPTS {
                self.piece(Piece::Again);
                continue;
            }
            if changed {
                self.problem(
                    found,
                    "it changed each time it was read; what was read last is kept and marked".to_owned(),
                );
            }
            let attributes = like.unwrap_or(&stat).attributes(self.bounded(found, file.xattrs()?));
            let kind = DraftKind::Read { size: content.size, hash: content.hash(), changed_while_read: changed };
            self.piece(Piece::Entry(Draft { path: found.path.clone(), attributes, kind }));
            return Ok(true);
        }
        Err(ReadError::Replaced)
    }

    /// Reads the whole content; false if nobody wants it any more.
    fn content(&mut self, file: &mut OpenFile, content: &mut Content) -> Result<bool, ReadError> {
        let cutter = Cutter::new(self.context.gear, content.expected);
        while let Some(stretch) = file.next_stretch()? {
            match stretch {
                Stretch::Hole { len, .. } => {
                    content.hole(len);
                    self.piece(Piece::Hole { len });
                }
                Stretch::Data { len, .. } => {
                    // A large file is not read to its end when nobody wants the backup any more. What is left makes a partial snapshot.
                    let cancel = self.context.cancel;
                    let mut read = |buffer: &mut [u8]| match cancel.is_cancelled() {
                        true => Err(ReadError::Stopped),
                        false => file.read(buffer),
                    };
                    if !self.stretch(&mut read, len, &cutter, content)? {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    /// Reads and cuts one stretch of data; false if nobody wants it any more.
    fn stretch<E>(
        &mut self,
        read: &mut dyn FnMut(&mut [u8]) -> Result<usize, E>,
        len: u64,
        cutter: &Cutter<'_>,
        content: &mut Content,
    ) -> Result<bool, E> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let (mut left, mut at, mut ended) = (len, 0, false);
        let wanted = loop {
            if !ended && buffer.len() - at < cutter.longest() {
                buffer.drain(..at);
                at = 0;
                let want = (left.min((2 * cutter.longest()) as u64) as usize).max(1);
                let before = buffer.len();
                buffer.resize(before + want, 0);
                let mut filled = before;
                while filled < buffer.len() {
                    match read(&mut buffer[filled..])? {
                        0 => break,
                        n => filled += n,
                    }
                }
                ended = filled < buffer.len() || (filled - before) as u64 == left;
                buffer.truncate(filled);
                left -= (filled - before) as u64;
            }
            if at == buffer.len() {
                break true;
            }
            let cut = cutter.next(&buffer[at..]);
            self.fragment(&buffer[at..at + cut], content);
            at += cut;
            if self.block.data.len() >= BLOCK_BYTES && !self.flush() {
                break false;
            }
        };
        self.buffer = buffer;
        Ok(wanted)
    }

    fn fragment(&mut self, bytes: &[u8], content: &mut Content) {
        let hash = FileHash::of(bytes);
        content.fragment(bytes, hash);
        self.context.monitor.add(Counter::BytesDone, bytes.len() as u64);
        self.block.data.extend_from_slice(bytes);
        self.piece(Piece::Fragment {
            name: self.context.names.name(&hash),
            len: bytes.len() as u32,
            compressible: is_compressible(bytes),
        });
    }
}

/// What is known of a file while it is read. A file of one fragment is hashed once: that hash is the file's, too.
struct Content {
    expected: u64,
    may_skip: bool,
    hasher: FileHasher,
    size: u64,
    whole: Option<FileHash>,
    is_longer: bool,
}

impl Content {
    fn new(expected: u64, may_skip: bool) -> Self {
        Self { expected, may_skip, hasher: FileHasher::default(), size: 0, whole: None, is_longer: false }
    }

    fn hole(&mut self, len: u64) {
        self.is_longer |= self.whole.is_some();
        self.hasher.update_zeros(len);
        self.size += len;
    }

    fn fragment(&mut self, bytes: &[u8], hash: FileHash) {
        self.is_longer |= self.whole.is_some();
        if self.may_skip && self.size == 0 && bytes.len() as u64 == self.expected {
            self.whole = Some(hash);
        } else {
            self.hasher.update(bytes);
        }
        self.size += bytes.len() as u64;
    }

    fn hash(&self) -> FileHash {
        self.whole.unwrap_or_else(|| self.hasher.finish())
    }
}

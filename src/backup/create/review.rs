//! Before a snapshot is committed: whether what was read fits together by the preset's rules, if there is one, and is not much less than
//! before.

use std::collections::HashMap;
use std::sync::Arc;

use globset::GlobSet;
use tokio_util::sync::CancellationToken;

use super::CreateError;
use super::commit::Gathered;
use crate::backup::check::{self, Depth};
use crate::backup::content::ContentReader;
use crate::backup::open::OpenSnapshot;
use crate::domain::content::Secrets;
use crate::domain::id::{CollectionId, ManifestId};
use crate::domain::manifest::Capture;
use crate::domain::metadata::entry::{Entry, EntryKind, FileEntry};
use crate::domain::metadata::node::Node;
use crate::domain::preset::{Preset, Shrink, globs};
use crate::monitor::Tally;
use crate::store::index::{Collection, Snapshot};
use crate::store::{ChunkStore, Store, TreeReader};

/// So many reasons stand in a snapshot.
const REASONS: usize = 20;
/// A collection with fewer files, or bytes, is too small for its shrinking to say anything; unless nothing at all is left.
const FROM_FILES: u64 = 10;
const FROM_BYTES: u64 = 64 << 10;

/// What was found.
#[derive(Debug, Default)]
pub struct Review {
    /// What does not hold.
    pub inconsistent: Vec<String>,
    /// What is much less than before.
    pub shrunk: Vec<String>,
    /// A file with lines is gone that was there before: it may be about to come back.
    pub vanished: bool,
    /// A file looks unfinished that may be of another form than its name says.
    pub odd: bool,
}

impl Review {
    /// Whether another look may find it better. `problems`: how many files could not be read in peace.
    pub fn is_unsettled(&self, problems: u64) -> bool {
        problems > 0 || self.vanished || self.odd || !self.inconsistent.is_empty() || !self.shrunk.is_empty()
    }
}

/// Reviews the passes of one backup.
pub struct Reviewer {
    /// By whose rules.
    pub preset: Option<Preset>,
    shrink: Shrink,
    chunks: Arc<dyn ChunkStore>,
    collection: CollectionId,
    shrinking: GlobSet,
    lines: GlobSet,
    base: Option<OpenSnapshot>,
}

impl Reviewer {
    /// Compares with the newest whole snapshot of `line` that did not shrink, unless it is accepted that there is less.
    ///
    /// # Errors
    /// [`CreateError`].
    pub async fn new(
        store: &Store,
        collection: &Collection,
        preset: Option<Preset>,
        line: &[Snapshot],
        accept_shrink: bool,
    ) -> Result<Self, CreateError> {
        let captures: HashMap<ManifestId, Capture> = store.index.captures(&collection.id).await?.into_iter().collect();
        let shrunk = |id: &ManifestId| captures.get(id).is_some_and(|capture| !capture.shrunk.is_empty());
        let whole = line.iter().filter(|snapshot| !snapshot.partial && snapshot.complete && !shrunk(&snapshot.id));
        let base = whole.max_by_key(|snapshot| snapshot.sequence).filter(|_| !accept_shrink);
        // One that cannot be opened is none to compare with.
        let base = base.and_then(|snapshot| OpenSnapshot::open(store, &snapshot.id).ok());
        let shrink = preset.as_ref().map(|preset| preset.shrink.clone()).unwrap_or_default();
        let shrinking = globs(&shrink.files).expect("a preset's patterns were checked");
        let jsonl = preset.as_ref().map_or(&[][..], |preset| &preset.checks.jsonl);
        let lines = globs(jsonl).expect("a preset's patterns were checked");
        Ok(Self { preset, shrink, chunks: store.chunks.clone(), collection: collection.id, shrinking, lines, base })
    }

    /// Looks at what was gathered. Blocks.
    ///
    /// # Errors
    /// [`CreateError`].
    pub fn review(&self, gathered: &Gathered, cancel: &CancellationToken) -> Result<Review, CreateError> {
        let root = Node::parse(&gathered.root).expect("it was just made");
        let (mut inconsistent, mut odd) = (Vec::new(), false);
        if let Some(preset) = &self.preset {
            let (tree, secrets, tally) = ((self.collection, &root), Secrets::new(), Tally::default());
            let depth = (Depth::Documents, None);
            let report = match check::stored(&self.chunks, tree, preset, secrets, depth, &tally, cancel) {
                // It is cancelled: the snapshot will be a partial one.
                Err(check::CheckError::Cancelled) => return Ok(Review::default()),
                report => report?,
            };
            inconsistent = report.reasons(REASONS);
            odd = report.findings.iter().any(|finding| matches!(&*finding.code, "json" | "torn" | "empty"));
        }
        let (shrunk, vanished) = self.shrunk(gathered, &root)?;
        Ok(Review { inconsistent, shrunk, vanished, odd })
    }

    /// What is much less than before, and whether a file with lines is gone.
    fn shrunk(&self, gathered: &Gathered, root: &Node) -> Result<(Vec<String>, bool), CreateError> {
        let Some(base) = &self.base else { return Ok((Vec::new(), false)) };
        let percent = u64::from(self.shrink.percent);
        let fell = |now: u64, then: u64| now.saturating_mul(100) < then.saturating_mul(percent);
        let is_empty = gathered.packed.files == 0 && percent > 0;
        let sequence = base.signed.manifest.sequence;
        let then = &base.private.statistics;
        let mut shrunk = Vec::new();
        if (then.files >= FROM_FILES || is_empty) && fell(gathered.packed.files, then.files) {
            shrunk.push(format!("{} files, and {} in snapshot {sequence}", gathered.packed.files, then.files));
        }
        if then.bytes >= FROM_BYTES && fell(gathered.packed.bytes, then.bytes) {
            shrunk.push(format!("{} bytes, and {} in snapshot {sequence}", gathered.packed.bytes, then.bytes));
        }
        if self.shrinking.is_empty() && self.lines.is_empty() {
            return Ok((shrunk, false));
        }
        let (mut vanished, mut last) = (false, None);
        let gone = |old: &Entry| check::within_root(&old.path).is_some_and(|path| self.lines.is_match(path));
        let mut before = base.tree(self.chunks.as_ref()).peekable();
        for entry in TreeReader::new(self.chunks.as_ref(), self.collection, root.clone()) {
            let entry = entry?;
            while let Some(Ok(old)) = before.next_if(|old| old.as_ref().is_ok_and(|old| old.path < entry.path)) {
                vanished |= last.as_ref() != Some(&old.path) && gone(&old);
            }
            last = Some(entry.path.clone());
            let EntryKind::File(now) = &entry.kind else { continue };
            let Some(Ok(old)) = before.peek().filter(|old| old.as_ref().is_ok_and(|old| old.path == entry.path)) else {
                continue;
            };
            let EntryKind::File(then) = &old.kind else { continue };
            let Some(path) = check::within_root(&entry.path).filter(|path| self.shrinking.is_match(path)) else {
                continue;
            };
            if then.size < self.shrink.from_bytes || !fell(now.size, then.size) {
                continue;
            }
            let lines = (self.count(root, now), self.count(&base.root, then));
            shrunk.push(match lines {
                (Some(now), Some(then)) => format!("{path}: {now} lines, and {then} in snapshot {sequence}"),
                _ => format!("{path}: {} bytes, and {} in snapshot {sequence}", now.size, then.size),
            });
        }
        shrunk.truncate(REASONS);
        Ok((shrunk, vanished))
    }

    /// How many lines a file has; none if it cannot be read.
    fn count(&self, root: &Node, file: &FileEntry) -> Option<u64> {
        let mut lines = 0;
        let mut reader = ContentReader::new(&self.chunks, self.collection, root);
        let read = reader.read(file, &mut |bytes| lines += bytes.iter().filter(|byte| **byte == b'\n').count() as u64);
        read.ok().map(|()| lines)
    }
}

//! The audit log as it is kept: `audit.jsonl` in the home, and a copy in the index.
//!
//! The file comes first. Whoever writes holds it, so that two at once make one chain; what a kill left of a line is taken away, since
//! nobody was told that it was recorded. It can be written without keys: that a passphrase was wrong is recorded, too.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{Home, Index, Store, StoreError, blocking};
use crate::domain::audit::{Broken, Chain, Entry, Event, Head, MAX_LINE_BYTES};

/// So many lines are compared with the index at a time.
const BATCH: usize = 1000;

/// What became of looking a log through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// Entries that hold.
    pub entries: u64,
    /// The hash of the newest of them.
    pub hash: String,
    /// The first thing that is wrong.
    pub broken: Option<Broken>,
}

/// Records something in the log of a home, whose keys need not open. The index has it too, if it can be used.
///
/// # Errors
/// [`StoreError::NotAHome`], [`StoreError::Io`].
pub async fn record(home: &Path, event: &Event, at: Timestamp) -> Result<(), StoreError> {
    let home = Home::open(home)?;
    match Index::open(&home.index(), None).await {
        Ok(index) => {
            let recorded = record_with(&home, Some(&index), event, at).await;
            index.close().await;
            recorded
        }
        Err(error) => {
            tracing::warn!(%error, "the audit log in the index is behind");
            record_with(&home, None, event, at).await
        }
    }
}

impl Store {
    /// Records something in the audit log.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Index`].
    pub async fn record(&self, event: &Event, at: Timestamp) -> Result<(), StoreError> {
        record_with(&self.home, Some(&self.index), event, at).await
    }

    /// The newest `limit` entries, oldest first, as they stand in the file. Lines that are no entries are passed over.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub async fn audit(&self, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let path = self.home.audit();
        blocking(move || {
            let Some(lines) = Lines::open(&path)? else { return Ok(Vec::new()) };
            let mut newest = std::collections::VecDeque::new();
            for line in lines {
                if let Ok(entry) = serde_json::from_slice::<Entry>(&line?) {
                    newest.push_back(entry);
                    if newest.len() > limit {
                        newest.pop_front();
                    }
                }
            }
            Ok(newest.into())
        })
        .await
    }

    /// Looks the log through, from its first line, and compares it with the copy in the index.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Index`].
    pub async fn verify_audit(&self) -> Result<Looked, StoreError> {
        let mut chain = Chain::default();
        let (mut kept, mut from) = (Vec::new().into_iter().peekable(), 0);
        let broken = 'look: {
            let lines = match Lines::open(&self.home.audit())? {
                Some(lines) => lines,
                None => break 'look None,
            };
            for line in lines {
                if kept.peek().is_none() {
                    kept = self.index.audit_after(from, BATCH).await?.into_iter().peekable();
                }
                let of_index = kept.next_if(|(n, _): &(u64, Vec<u8>)| *n == chain.head().n + 1);
                let pushed = chain.push(&line?, of_index.as_ref().map(|(_, line)| line.as_slice()));
                from = chain.head().n;
                if let Err(broken) = pushed {
                    break 'look Some(broken);
                }
            }
            None
        };
        let last = self.index.newest_audit().await?.and_then(|line| Head::of(&line)).map_or(0, |head| head.n);
        let broken = broken.or_else(|| chain.end(last).err());
        Ok(Looked { entries: chain.head().n, hash: chain.head().hash.clone(), broken })
    }
}

async fn record_with(home: &Home, index: Option<&Index>, event: &Event, at: Timestamp) -> Result<(), StoreError> {
    let known = match index {
        Some(index) => index.newest_audit().await?.and_then(|line| Head::of(&line)).unwrap_or_default(),
        None => Head::default(),
    };
    let (path, event, after) = (home.audit(), event.clone(), known.clone());
    let written = blocking(move || append(&path, &event, at, after)).await?;
    match index {
        Some(index) => Ok(index.note_audit(&written).await.map_err(StoreError::from)?),
        None => Ok(()),
    }
}

/// Appends a line; durable on return. Answers the lines that the index lacks, with their numbers. If the index knows later entries than
/// the file has, the chain goes on from those: what was cut off stays missing, and is not forgotten.
fn append(path: &Path, event: &Event, at: Timestamp, known: Head) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
    let io = |what| move |cause| StoreError::io(what, path, cause);
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600).custom_flags(libc_nofollow());
    let mut file = options.open(path).map_err(io("open"))?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).map_err(|errno| io("lock")(errno.into()))?;
    let last = last_line(&mut file).map_err(io("read"))?;
    let there = last.as_deref().and_then(Head::of).unwrap_or_default();
    let head = if known.n > there.n { known.clone() } else { there.clone() };
    let (mut line, _) = head.next(event, at);
    let n = head.n + 1;
    line.push(b'\n');
    file.write_all(&line).and_then(|()| file.sync_all()).map_err(io("write"))?;
    line.pop();
    if known.n >= there.n {
        return Ok(vec![(n, line)]);
    }
    // The index is behind: a kill came in between, or it was made anew.
    let mut lacking = Vec::new();
    for line in Lines::open(path)?.into_iter().flatten() {
        let line = line?;
        if let Some(head) = Head::of(&line).filter(|head| head.n > known.n) {
            lacking.push((head.n, line));
        }
    }
    Ok(lacking)
}

fn libc_nofollow() -> i32 {
    rustix::fs::OFlags::NOFOLLOW.bits() as i32
}

/// The last line, without its end. What a kill left behind it is cut off.
fn last_line(file: &mut File) -> std::io::Result<Option<Vec<u8>>> {
    let length = file.seek(SeekFrom::End(0))?;
    let from = length.saturating_sub(2 * MAX_LINE_BYTES as u64);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.take(2 * MAX_LINE_BYTES as u64).read_to_end(&mut tail)?;
    let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    if whole < tail.len() {
        file.set_len(from + whole as u64)?;
    }
    let lines = tail[..whole].strip_suffix(b"\n").unwrap_or_default();
    let begin = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    Ok((whole > 0).then(|| lines[begin..].to_vec()))
}

/// The lines of the file, without their ends. One that is too long comes cut, and is no entry then.
struct Lines {
    file: BufReader<File>,
    path: PathBuf,
}

impl Lines {
    fn open(path: &Path) -> Result<Option<Self>, StoreError> {
        match File::open(path) {
            Ok(file) => Ok(Some(Self { file: BufReader::new(file), path: path.to_owned() })),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(StoreError::io("read", path, cause)),
        }
    }
}

impl Iterator for Lines {
    type Item = Result<Vec<u8>, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        match self.file.by_ref().take(MAX_LINE_BYTES as u64).read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => {
                line.pop_if(|byte| *byte == b'\n');
                Some(Ok(line))
            }
            Err(cause) => Some(Err(StoreError::io("read", &self.path, cause))),
        }
    }
}

//! Whether what is in a place is what it should be: every manifest, the list of every chunk that one leans on, and whether those are
//! there with their lengths; and of the chunks' bytes as many as are wanted, compared with their names.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;

use super::{CopyError, away, marked};
use crate::domain::chunk::MAX_STORED;
use crate::domain::id::{ChunkId, CollectionId, ManifestId};
use crate::monitor::{Counter, Monitor, Problem, with_causes};
use crate::portable::document::CHUNKS;
use crate::portable::folder::Folder;
use crate::portable::inventory;
use crate::portable::place::{At, Place, PlaceError};
use crate::store::incoming::check_object;
use crate::store::{Store, blocking};

/// So many damaged chunks are named; the rest is counted.
const MAX_NAMED: usize = 50;

/// How much is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Names and lengths.
    Structure,
    /// So many of a hundred chunks, drawn by `seed`: another one draws others.
    Sample {
        /// 1 to 100.
        percent: u8,
        /// Which.
        seed: u64,
    },
    /// Every byte.
    Data,
}

impl Depth {
    fn takes(self, id: &ChunkId) -> bool {
        match self {
            Self::Structure => false,
            Self::Data => true,
            Self::Sample { percent, seed } => {
                let bytes = id.as_bytes();
                let drawn = u64::from_be_bytes(bytes[..8].try_into().expect("eight of 32 bytes")) ^ seed;
                drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 < u64::from(percent) * (1 << 32) / 100
            }
        }
    }
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Checked {
    /// Snapshots that are there, by collection.
    pub snapshots: BTreeMap<CollectionId, Vec<ManifestId>>,
    /// Those of which everything was found to be right.
    pub sound: Vec<ManifestId>,
    /// Chunks and lists of chunks that some of them lean on.
    pub chunks: u64,
    /// Chunks whose bytes were read.
    pub read: u64,
    /// Those bytes.
    pub read_bytes: u64,
    /// Chunks that are damaged or missing there.
    pub bad: Vec<ChunkId>,
}

/// Looks at what is in a place of these collections, of all if there are none. What is wrong is a problem for `monitor`, with its name.
///
/// # Errors
/// [`CopyError`] if the place cannot be looked at.
pub async fn check(
    store: &Store,
    at: &At,
    only: &[CollectionId],
    depth: Depth,
    monitor: Arc<dyn Monitor>,
    cancel: &CancellationToken,
) -> Result<Checked, CopyError> {
    let (store, at, only, cancel) = (store.clone(), at.clone(), only.to_vec(), cancel.clone());
    blocking(move || look(&store, &at, &only, depth, &*monitor, &cancel)).await
}

fn look(
    store: &Store,
    at: &At,
    only: &[CollectionId],
    depth: Depth,
    monitor: &dyn Monitor,
    cancel: &CancellationToken,
) -> Result<Checked, CopyError> {
    let place = at.open().map_err(away(at))?;
    marked(store, &place)?;
    let there = match place.enter(CHUNKS) {
        Err(error) if error.is_missing() => HashMap::new(),
        chunks => inventory::of(&chunks?)?,
    };
    let folder = Folder::of(place)?;
    let mut checked = Checked::default();
    let mut leaning: Vec<(ManifestId, Vec<ChunkId>)> = Vec::new();
    let mut wanted: BTreeMap<ChunkId, u32> = BTreeMap::new();
    let mut lists: HashMap<ChunkId, Option<Vec<(ChunkId, u32)>>> = HashMap::new();
    let mut bad: HashSet<ChunkId> = HashSet::new();
    let wanted_of = |id: Option<CollectionId>| only.is_empty() || id.is_none_or(|id| only.contains(&id));
    for collection in folder.collections(monitor)?.into_iter().filter(|collection| wanted_of(collection.id())) {
        for id in &collection.snapshots {
            if cancel.is_cancelled() {
                return Err(CopyError::Cancelled);
            }
            let read = collection.manifest(id).and_then(|incoming| Ok(incoming.verify()?));
            let signed = match read {
                Ok((signed, _)) => signed,
                Err(crate::portable::folder::FileError::Place(PlaceError::Bucket(error))) if error.is_away() => {
                    return Err(error.into());
                }
                Err(error) => {
                    let subject = format!("snapshot {} in {}", id.short(), collection.shown);
                    monitor.problem(Problem { subject, message: with_causes(&error) });
                    continue;
                }
            };
            checked.snapshots.entry(signed.manifest.collection).or_default().push(*id);
            let mut leans = Vec::new();
            for summary in &signed.manifest.segments {
                leans.push(summary.id);
                if let Entry::Vacant(free) = lists.entry(summary.id) {
                    let found = folder.chunk(&summary.id, MAX_STORED)?.and_then(|bytes| {
                        let size = u32::try_from(bytes.len()).ok()?;
                        check_object(&summary.id, size, Some(std::slice::from_ref(summary)), &bytes).ok().flatten()
                    });
                    let entries =
                        found.map(|list| list.entries.iter().map(|entry| (entry.id, entry.size_bytes)).collect());
                    free.insert(entries);
                }
                match lists.get(&summary.id).and_then(Option::as_ref) {
                    Some(entries) => {
                        wanted.extend(entries.iter().copied());
                        leans.extend(entries.iter().map(|(id, _)| *id));
                    }
                    None => {
                        if bad.insert(summary.id) {
                            let subject = format!("list of chunks {}", summary.id.short());
                            monitor.problem(Problem { subject, message: "it is missing or damaged there".to_owned() });
                        }
                    }
                }
            }
            leaning.push((*id, leans));
        }
    }
    checked.chunks = (wanted.len() + lists.len()) as u64;
    let mut to_read = Vec::new();
    let mut named = 0;
    let mut say = |id: &ChunkId, message: String| {
        named += 1;
        if named <= MAX_NAMED {
            monitor.problem(Problem { subject: format!("chunk {}", id.short()), message });
        }
    };
    for (id, size) in &wanted {
        match there.get(id) {
            None => say(id, "it is not there, and a snapshot leans on it".to_owned()),
            Some(length) if *length != u64::from(*size) => {
                say(id, format!("it is {length} bytes long there, and should be {size}"));
            }
            Some(_) => {
                if depth.takes(id) {
                    to_read.push((*id, *size));
                }
                continue;
            }
        }
        bad.insert(*id);
    }
    // Of a few chunks a sample may be none: one is always read.
    if let (Depth::Sample { seed, .. }, true) = (depth, to_read.is_empty()) {
        let good: Vec<(ChunkId, u32)> =
            wanted.iter().filter(|(id, _)| !bad.contains(*id)).map(|(id, size)| (*id, *size)).collect();
        to_read.extend(good.get((seed % good.len().max(1) as u64) as usize).copied());
    }
    monitor.task("reading what is there", Counter::Chunks, Some(to_read.len() as u64));
    for (id, why) in read_all(&folder, &to_read, monitor, cancel)? {
        say(&id, why);
        bad.insert(id);
    }
    if named > MAX_NAMED {
        let message = format!("{} more chunks are damaged or missing there", named - MAX_NAMED);
        monitor.problem(Problem { subject: at.to_string(), message });
    }
    checked.read = to_read.len() as u64;
    checked.read_bytes = to_read.iter().map(|(_, size)| u64::from(*size)).sum();
    let sound = leaning.into_iter().filter(|(_, leans)| leans.iter().all(|id| !bad.contains(id)));
    checked.sound = sound.map(|(id, _)| id).collect();
    checked.bad = bad.into_iter().collect();
    checked.bad.sort_unstable();
    Ok(checked)
}

/// Reads chunks, several at a time where that helps; answers those whose bytes are wrong.
fn read_all(
    folder: &Folder,
    to_read: &[(ChunkId, u32)],
    monitor: &dyn Monitor,
    cancel: &CancellationToken,
) -> Result<Vec<(ChunkId, String)>, CopyError> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut wrong = Vec::new();
        while let Some((id, size)) = to_read.get(next.fetch_add(1, Ordering::Relaxed)) {
            if cancel.is_cancelled() {
                return Err(CopyError::Cancelled);
            }
            match folder.chunk(id, *size as usize) {
                Ok(Some(bytes)) => {
                    if let Err(error) = check_object(id, *size, None, &bytes) {
                        wrong.push((*id, format!("it is damaged there: {error}")));
                    }
                }
                Ok(None) => wrong.push((*id, "it is not there, and a snapshot leans on it".to_owned())),
                Err(PlaceError::Bucket(error)) if error.is_away() => return Err(error.into()),
                Err(error) => wrong.push((*id, with_causes(&error))),
            }
            monitor.add(Counter::Chunks, 1);
        }
        Ok(wrong)
    };
    let done: Vec<Result<Vec<_>, CopyError>> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..folder.readers()).map(|_| scope.spawn(work)).collect();
        let mine = work();
        let join = |other: std::thread::ScopedJoinHandle<'_, _>| {
            other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        std::iter::once(mine).chain(others.into_iter().map(join)).collect()
    });
    let mut wrong = done.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    wrong.sort_unstable();
    Ok(wrong)
}

/// A place as a folder that is read.
impl Folder {
    pub(super) fn of(place: Place) -> Result<Self, CopyError> {
        Self::open(place).map_err(|error| match error {
            crate::portable::folder::FolderError::Place(error) => error.into(),
            error => CopyError::Damaged(error.to_string()),
        })
    }
}

//! Is everything there, and is it what it was?
//!
//! Structure: every manifest is signed and has its name, its lists of chunks are there and add up, every chunk is there with its
//! size, and the tree of every snapshot that we can read hangs together. Data: every chunk's bytes have the chunk's name, and
//! those we have keys for open. A sample reads some of
//! them, and others the next time. A chunk that is not what it was is put into quarantine and marked as missing, so that the next
//! fetch gets it from a peer.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use jiff::Timestamp;
use rand_core::Rng;
use tokio_util::sync::CancellationToken;

use crate::domain::chunk::{ChunkContent, ChunkKind, ChunkRef, Workbench};
use crate::domain::id::{ChunkId, CollectionId, ManifestId};
use crate::domain::manifest::SignedManifest;
use crate::domain::scrub::Sample;
use crate::domain::segment::{Segment, SegmentEntry};
use crate::monitor::{Counter, Monitor, Problem, with_causes};
use crate::store::index::Snapshot;
use crate::store::{ChunkStoreError, IndexError, Store, StoreError, TreeError, blocking, entropy};

use super::escrow;
use super::open::{OpenSnapshot, OpenSnapshotError};

/// What to verify.
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions {
    /// Which collections; all if there are none.
    pub collections: Vec<CollectionId>,
    /// This snapshot alone.
    pub snapshot: Option<ManifestId>,
    /// Every chunk's bytes, too.
    pub data: bool,
    /// The bytes of some chunks: those that were not read for the longest time.
    pub sample: Option<Sample>,
    /// When it is: with this moment it is remembered which chunks were read. Without, it is not.
    pub at: Option<Timestamp>,
}

impl VerifyOptions {
    /// The structure of all snapshots of one collection.
    pub fn of(collection: CollectionId) -> Self {
        Self { collections: vec![collection], ..Self::default() }
    }
}

/// What was found.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct VerifyReport {
    /// Snapshots looked at.
    pub snapshots: u64,
    /// Of those, snapshots whose tree was read.
    pub read: u64,
    /// Entries in those trees.
    pub entries: u64,
    /// Chunks looked at.
    pub chunks: u64,
    /// Their bytes.
    pub chunk_bytes: u64,
    /// Of those, chunks whose bytes were read.
    pub chunks_read: u64,
    /// How many bytes that were.
    pub bytes_read: u64,
    /// Chunks that were never read since they were stored, as far as is known.
    pub never_read: u64,
    /// Chunks that are not here.
    pub missing: Vec<ChunkId>,
    /// Chunks that were not what they should be; they are in quarantine now.
    pub damaged: Vec<ChunkId>,
    /// Snapshots that cannot be restored whole because of that.
    pub affected: Vec<ManifestId>,
    /// Snapshots of which every byte was read, and is what it was. None if only the structure was looked at.
    pub verified: Vec<ManifestId>,
}

/// Why it could not be found out.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The index cannot be used.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A file of the home cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A folder of the home is not there.
    #[error(transparent)]
    Away(#[from] crate::store::Away),
    /// It was cancelled.
    #[error("cancelled: not everything was verified")]
    Cancelled,
    /// A thread died.
    #[error("a part of the verification died unexpectedly. This is a bug in bulbil")]
    Died,
}

/// Verifies.
///
/// # Errors
/// [`VerifyError`]; what is wrong with the data is in the report, and each finding is a problem on `monitor`.
pub async fn verify(
    store: &Store,
    options: &VerifyOptions,
    monitor: Arc<dyn Monitor>,
    cancel: &CancellationToken,
) -> Result<VerifyReport, VerifyError> {
    let mut snapshots = store.index.snapshots(None).await?;
    store.check_folders()?;
    if !options.collections.is_empty() {
        snapshots.retain(|snapshot| options.collections.contains(&snapshot.collection));
    }
    if let Some(only) = options.snapshot {
        snapshots.retain(|snapshot| snapshot.id == only);
    }
    if options.snapshot.is_none() && options.collections.is_empty() {
        beside_chunks(store, &*monitor).await?;
    }
    let known = store.index.present_chunks().await?.into_iter().collect();
    let depth = match (options.data, options.sample) {
        (true, _) => Depth::Data,
        (false, Some(sample)) if sample.is_everything() => Depth::Data,
        (false, Some(sample)) => Depth::Sample(sample),
        (false, None) => Depth::Structure,
    };
    let read_at = match depth {
        Depth::Structure => HashMap::new(),
        _ => store.index.read_times().await?.into_iter().collect(),
    };
    let run =
        Run { store: store.clone(), monitor, cancel: cancel.clone(), depth, read_at, known, closed: Mutex::default() };
    let Looked { report, bad, good } =
        tokio::task::spawn_blocking(move || run.all(&snapshots)).await.map_err(|_| VerifyError::Died)??;
    if !bad.is_empty() {
        store.index.mark_missing(&bad).await?;
    }
    if let Some(at) = options.at.filter(|_| !good.is_empty()) {
        store.index.note_read(&good, at).await?;
    }
    Ok(report)
}

/// What a home has beside manifests and chunks, and nowhere else: the ledger and the audit log.
async fn beside_chunks(store: &Store, monitor: &dyn Monitor) -> Result<(), VerifyError> {
    if let Err(error) = store.check_ledger() {
        let message = format!("{error}. Or change a collection or a peer here: that writes it anew from the index");
        monitor.problem(Problem { subject: "keys/ledger".to_owned(), message });
    }
    for collection in store.index.collections().await? {
        let (in_store, id) = (store.clone(), collection.id);
        if let Err(error) = blocking(move || escrow::verify(&in_store, &id)).await {
            let subject = format!("escrow of {}", collection.name);
            monitor.problem(Problem { subject, message: with_causes(&error) });
        }
    }
    if let Some(broken) = store.verify_audit().await?.broken {
        monitor.problem(Problem { subject: "audit log".to_owned(), message: broken.to_string() });
    }
    Ok(())
}

/// How far it is looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    Structure,
    Sample(Sample),
    Data,
}

/// What all snapshots came to.
struct Looked {
    report: VerifyReport,
    /// Chunks that the index believes to be here, and that are not, or not as they were.
    bad: Vec<ChunkId>,
    /// Chunks that were read, and are what they were.
    good: Vec<ChunkId>,
}

struct Run {
    store: Store,
    monitor: Arc<dyn Monitor>,
    cancel: CancellationToken,
    depth: Depth,
    /// When chunks were read last.
    read_at: HashMap<ChunkId, Timestamp>,
    /// What the index believes to be here.
    known: HashSet<ChunkId>,
    /// Chunks whose bytes are right and that do not open.
    closed: Mutex<Vec<ChunkId>>,
}

/// What has to be looked at: a chunk or a segment.
struct Item {
    id: ChunkId,
    size_bytes: Option<u32>,
    /// Of a snapshot that was made here: nobody else has to have it, so that missing it is always a fault.
    own: bool,
    /// Its bytes are read.
    read: bool,
    /// How to open it, if we can.
    opens: Option<(Arc<ChunkRef>, ChunkKind, CollectionId)>,
}

impl Run {
    fn all(&self, snapshots: &[Snapshot]) -> Result<Looked, VerifyError> {
        let mut report = VerifyReport::default();
        let mut items: BTreeMap<ChunkId, Item> = BTreeMap::new();
        let mut users: HashMap<ChunkId, Vec<ManifestId>> = HashMap::new();
        let mut seen = HashSet::new();
        self.monitor.task("checking snapshots", Counter::Entries, None);
        for snapshot in snapshots {
            if self.cancel.is_cancelled() {
                return Err(VerifyError::Cancelled);
            }
            report.snapshots += 1;
            self.snapshot(snapshot, &mut seen, &mut report, &mut items, &mut users);
        }
        let mut items: Vec<Item> = items.into_values().collect();
        self.choose(&mut items);
        let size = |item: &Item| u64::from(item.size_bytes.unwrap_or(0));
        let bytes = items.iter().map(size).sum();
        report.chunks_read = items.iter().filter(|item| item.read).count() as u64;
        report.bytes_read = items.iter().filter(|item| item.read).map(size).sum();
        let (what, of) = match self.depth {
            Depth::Structure => ("looking for chunks", bytes),
            Depth::Sample(_) | Depth::Data => ("reading chunks", report.bytes_read),
        };
        self.monitor.task(what, Counter::ChunkBytes, Some(of));
        let [missing, damaged, unreadable] = self.items(&items)?;
        report.chunks = items.len() as u64;
        report.chunk_bytes = bytes;
        let mut affected: Vec<ManifestId> = missing
            .iter()
            .chain(&damaged)
            .chain(&unreadable)
            .filter_map(|id| users.get(id))
            .flatten()
            .copied()
            .collect();
        affected.sort();
        affected.dedup();
        let bad: Vec<ChunkId> = missing.iter().chain(&damaged).filter(|id| self.known.contains(id)).copied().collect();
        (report.missing, report.damaged) = (missing, damaged);
        report.affected.extend(affected);
        report.affected.sort();
        report.affected.dedup();
        let closed = self.closed.lock().expect("no holder of this lock can panic");
        let at_fault: HashSet<ManifestId> = closed.iter().filter_map(|id| users.get(id)).flatten().copied().collect();
        let affected = &report.affected;
        report.verified.retain(|id| affected.binary_search(id).is_err() && !at_fault.contains(id));
        let faulty: HashSet<ChunkId> =
            report.missing.iter().chain(&report.damaged).chain(&unreadable).copied().collect();
        let is_good = |item: &&Item| item.read && !faulty.contains(&item.id);
        let good: Vec<ChunkId> = items.iter().filter(is_good).map(|item| item.id).collect();
        let was_read = |item: &&Item| is_good(item) || self.read_at.contains_key(&item.id);
        report.never_read = match self.depth {
            Depth::Structure => 0,
            _ => (items.len() - items.iter().filter(was_read).count()) as u64,
        };
        Ok(Looked { report, bad, good })
    }

    /// Says which ones are read: all, none, or those that were not read for the longest time; which of equals is left to chance.
    fn choose(&self, items: &mut [Item]) {
        let sample = match self.depth {
            Depth::Structure => return,
            Depth::Data => return items.iter_mut().for_each(|item| item.read = true),
            Depth::Sample(sample) => sample,
        };
        let mut rng = entropy();
        let mut order: Vec<(Option<Timestamp>, u32, usize)> = (items.iter().enumerate())
            .filter(|(_, item)| item.own || self.known.contains(&item.id))
            .map(|(at, item)| (self.read_at.get(&item.id).copied(), Rng::next_u32(&mut rng), at))
            .collect();
        order.sort_unstable();
        let sizes: Vec<u64> = order.iter().map(|(.., at)| u64::from(items[*at].size_bytes.unwrap_or(0))).collect();
        for (.., at) in &order[..sample.of(&sizes)] {
            items[*at].read = true;
        }
    }

    fn problem(&self, subject: String, message: String) {
        self.monitor.problem(Problem { subject, message });
    }

    /// Checks a manifest, its lists and its tree, and collects its chunks.
    fn snapshot(
        &self,
        snapshot: &Snapshot,
        seen: &mut HashSet<(ChunkId, u32)>,
        report: &mut VerifyReport,
        items: &mut BTreeMap<ChunkId, Item>,
        users: &mut HashMap<ChunkId, Vec<ManifestId>>,
    ) {
        let name = format!("snapshot {}", snapshot.id.short());
        let signed = match self.store.manifests.load(&snapshot.id) {
            Ok((signed, _)) => signed,
            Err(error) => {
                self.problem(name, error.to_string());
                report.affected.push(snapshot.id);
                return;
            }
        };
        if !self.store.manifests.has_whole_envelopes(&snapshot.id).unwrap_or(true) {
            let text = "its envelopes are not what they were: the recovery key may not open it; make a new backup";
            self.problem(name.clone(), text.to_owned());
        }
        let lists_hold = self.lists(&signed, items, users);
        if !lists_hold {
            report.affected.push(snapshot.id);
        }
        match OpenSnapshot::open(&self.store, &snapshot.id) {
            Ok(open) => match self.tree(&open, seen, items, report) {
                Ok(()) => {
                    report.read += 1;
                    if self.depth == Depth::Data && snapshot.complete {
                        report.verified.push(snapshot.id);
                    }
                }
                // A snapshot that is still being fetched has no whole tree yet, and that is no fault.
                Err(_) if !snapshot.complete => {}
                Err(error) => {
                    self.problem(name, error.to_string());
                    report.affected.push(snapshot.id);
                }
            },
            Err(OpenSnapshotError::NoKey(_)) => {}
            Err(error) => self.problem(name, error.to_string()),
        }
    }

    fn lists(
        &self,
        signed: &SignedManifest,
        items: &mut BTreeMap<ChunkId, Item>,
        users: &mut HashMap<ChunkId, Vec<ManifestId>>,
    ) -> bool {
        let mut hold = true;
        let own = self.store.keys.is_ours(&signed.manifest.instance);
        for summary in &signed.manifest.segments {
            users.entry(summary.id).or_default().push(signed.id);
            items.entry(summary.id).or_insert(Item { id: summary.id, size_bytes: None, own, read: false, opens: None });
            if !own && !self.known.contains(&summary.id) {
                continue;
            }
            let segment = self.store.chunks.read(&summary.id).ok().and_then(|bytes| Segment::parse(&bytes).ok());
            let Some(segment) = segment.filter(|segment| segment.id == summary.id) else {
                self.problem(format!("list of chunks {}", summary.id.short()), "it is missing or damaged".to_owned());
                hold = false;
                continue;
            };
            if segment.entries.len() as u64 != u64::from(summary.chunks) || segment.chunk_bytes() != summary.bytes {
                self.problem(
                    format!("snapshot {}", signed.id.short()),
                    "its numbers are not those of its lists of chunks: who signed it made a mistake".to_owned(),
                );
                hold = false;
            }
            for SegmentEntry { id, size_bytes } in segment.entries {
                users.entry(id).or_default().push(signed.id);
                let item = items.entry(id).or_insert(Item { id, size_bytes: None, own, read: false, opens: None });
                item.size_bytes = Some(size_bytes);
            }
        }
        hold
    }

    fn tree(
        &self,
        open: &OpenSnapshot,
        seen: &mut HashSet<(ChunkId, u32)>,
        items: &mut BTreeMap<ChunkId, Item>,
        report: &mut VerifyReport,
    ) -> Result<(), TreeError> {
        let collection = open.collection();
        let mut tree = open.tree(&*self.store.chunks);
        let mut unlisted = false;
        tree.chunk_refs(seen, |kind, chunk| match items.get_mut(&chunk.id) {
            Some(item) if item.opens.is_some() => {}
            Some(item) => item.opens = Some((chunk.clone(), kind, collection)),
            None => unlisted = true,
        })?;
        let entries = open.root.entries();
        report.entries += entries;
        self.monitor.add(Counter::Entries, entries);
        if unlisted {
            self.problem(
                format!("snapshot {}", open.signed.id.short()),
                "its tree leans on chunks that its lists do not name: mirrors cannot have it whole".to_owned(),
            );
        }
        Ok(())
    }

    /// Looks at all items on all cores: the missing, the damaged and the unreadable ones.
    fn items(&self, items: &[Item]) -> Result<[Vec<ChunkId>; 3], VerifyError> {
        let next = AtomicUsize::new(0);
        let (missing, damaged, unreadable) = (Mutex::default(), Mutex::default(), Mutex::default());
        let cores = thread::available_parallelism().map_or(2, usize::from);
        thread::scope(|scope| {
            for _ in 0..cores {
                scope.spawn(|| {
                    let mut bench = Workbench::new(1);
                    while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if self.cancel.is_cancelled() {
                            return;
                        }
                        let list: &Mutex<Vec<ChunkId>> = match self.item(item, &mut bench) {
                            Finding::Good => continue,
                            Finding::Missing => &missing,
                            Finding::Damaged => &damaged,
                            Finding::Unreadable(_) => &unreadable,
                        };
                        list.lock().expect("no holder of this lock can panic").push(item.id);
                    }
                });
            }
        });
        if self.cancel.is_cancelled() {
            return Err(VerifyError::Cancelled);
        }
        let sorted = |list: Mutex<Vec<ChunkId>>| {
            let mut list = list.into_inner().expect("no holder of this lock can panic");
            list.sort();
            list
        };
        Ok([sorted(missing), sorted(damaged), sorted(unreadable)])
    }

    fn item(&self, item: &Item, bench: &mut Workbench) -> Finding {
        let finding = self.look(item, bench);
        self.monitor.add(Counter::Chunks, 1);
        if item.read || self.depth == Depth::Structure {
            self.monitor.add(Counter::ChunkBytes, u64::from(item.size_bytes.unwrap_or(0)));
        }
        let name = format!("chunk {}", item.id.short());
        match &finding {
            // What was never fetched is no fault.
            Finding::Missing if item.own || self.known.contains(&item.id) => {
                let text = "it is missing; 'bulbil fetch' gets it if a peer has it, the next backup stores anew what is still there";
                self.problem(name, text.to_owned());
            }
            Finding::Unreadable(error) => {
                let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
                self.problem(name, format!("{error}{cause}; it stays where it is. See whether the disk is well"));
            }
            Finding::Damaged => {
                let kept = match self.store.chunks.quarantine(&item.id) {
                    Ok(()) => "it is in quarantine now".to_owned(),
                    Err(error) => format!("it could not be put aside: {error}"),
                };
                self.problem(
                    name,
                    format!("its bytes are not what they were; {kept}. 'bulbil fetch' gets it from a peer"),
                );
            }
            _ => {}
        }
        finding
    }

    fn look(&self, item: &Item, bench: &mut Workbench) -> Finding {
        let chunks = &self.store.chunks;
        if !item.read {
            return match chunks.size(&item.id) {
                Ok(None) => Finding::Missing,
                Err(error) => Finding::Unreadable(error),
                Ok(Some(size)) if item.size_bytes.is_some_and(|wanted| u64::from(wanted) != size) => Finding::Damaged,
                _ => Finding::Good,
            };
        }
        let bytes = match chunks.read(&item.id) {
            Ok(bytes) => bytes,
            Err(ChunkStoreError::Missing { .. }) => return Finding::Missing,
            Err(ChunkStoreError::TooLong { .. }) => return Finding::Damaged,
            Err(error) => return Finding::Unreadable(error),
        };
        if ChunkId::of(&bytes) != item.id {
            return Finding::Damaged;
        }
        if let Some((chunk, kind, collection)) = &item.opens {
            let opened = ChunkContent::open(&bytes, &chunk.key, *kind, collection, bench);
            if let Err(error) = opened {
                // The bytes are right, so this copy is as good as any: the snapshot is at fault.
                self.problem(format!("chunk {}", item.id.short()), error.to_string());
                self.closed.lock().expect("no holder of this lock can panic").push(item.id);
            }
        }
        Finding::Good
    }
}

#[derive(Debug)]
enum Finding {
    Good,
    Missing,
    Damaged,
    /// It was not read, which says nothing of its bytes.
    Unreadable(ChunkStoreError),
}

//! Missing chunks: from all peers that have them, several at a time, each compared before it is stored.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use super::merge::CANDIDATES;
use super::wanted::Wanted;
use super::{AxonPuller, PullError, address};
use crate::axon::caller::CallError;
use crate::axon::check::{Fault, Whole, read_through};
use crate::axon::instance::AxonInstance;
use crate::domain::axon::address::AxonAddress;
use crate::domain::axon::manifest::{ContentType, Manifest, kinds_of};
use crate::domain::crypto::secret::Secret;
use crate::domain::id::{ChunkId, ContentHash};
use crate::monitor::Counter;
use crate::monitor::with_causes;
use crate::store::axon::{AxonShelf, Change, Item, Record};
use crate::store::index::Collection;
use crate::store::index::axon::AxonPeer;
use crate::store::{ChunkStoreError, Store};

/// Items that become known as complete at once: making chunks durable takes time.
const BATCH_ITEMS: usize = 64;
/// And their bytes.
const BATCH_BYTES: u64 = 256 << 20;
/// After so many failures in a row a peer is asked no more this time.
const MAX_FAILURES: u32 = 4;
/// So often one chunk is asked for again at one peer after the connection broke.
const MAX_BROKEN: u32 = 2;

/// Something that is not complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemFault {
    /// Which item.
    pub content_hash: ContentHash,
    /// What it is.
    pub kinds: BTreeSet<ContentType>,
    /// What is wrong.
    pub message: String,
}

/// What a download brought.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct DownloadReport {
    /// Items that became complete.
    pub items: u64,
    /// Chunks that were fetched and are what they should be.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Requests sent.
    pub requests: u64,
    /// Chunks that were not what they should be.
    pub bad_chunks: u64,
    /// Items that are not complete; they are tried again next time.
    pub faults: Vec<ItemFault>,
    /// Peers that failed, and why.
    pub failed_peers: Vec<(String, String)>,
}

/// An item on its way.
struct Going {
    item: Item,
    manifest: Manifest,
    /// Other manifests of it, with their keys.
    others: Vec<(Manifest, Secret<32>)>,
    /// Chunks that are not here.
    missing: usize,
    /// Chunks of its bytes that turned out to be wrong on the disk were fetched again.
    mended: bool,
    /// Why it is not complete.
    fault: Option<String>,
    /// What its content says that it is.
    says: Option<ContentType>,
    without: HashSet<usize>,
}

/// One chunk to be fetched.
#[derive(Debug, Clone)]
struct Job {
    item: usize,
    index: usize,
    id: ChunkId,
    /// Peers that do not give it.
    tried: Vec<usize>,
    broken: u32,
}

/// A peer that is fetched from.
struct Source {
    name: String,
    address: AxonAddress,
    streams: usize,
    open: usize,
    failures: u32,
    gone: Option<String>,
}

enum Done {
    Chunk { source: usize, job: Job, result: Result<Got, CallError> },
    Checked { item: usize, result: Result<Whole, Fault> },
}

enum Got {
    Stored(usize),
    NotThere,
    Wrong,
    NotStored(ChunkStoreError),
}

impl AxonPuller {
    /// Fetches what is missing of a collection from `peers`. What fails is reported for each item, and tried again next time.
    ///
    /// # Errors
    /// [`PullError`]; what was fetched stays, and is not fetched again.
    pub async fn download(
        &self,
        collection: &Collection,
        peers: &[AxonPeer],
        wanted: &Wanted,
        cancel: &CancellationToken,
    ) -> Result<DownloadReport, PullError> {
        // What is found here, left by somebody else, may be a part of an item before any item names it.
        let _hold = self.store.hold_chunks()?;
        let shelf = self.store.axon(collection.id);
        let (items, candidates) = (shelf.items().await?, shelf.records(CANDIDATES).await?);
        let (store, wanted, instance) = (self.store.clone(), wanted.clone(), Arc::clone(self.caller.instance()));
        let look = move || look(&store, &instance, items, candidates, &wanted);
        let (going, keyless) = tokio::task::spawn_blocking(look).await.map_err(|_| PullError::Died)??;
        let mut sources = Vec::new();
        for peer in peers {
            let address = address(peer)?;
            let streams = self.caller.client().piece_streams(&address.peer);
            let name = peer.name.clone();
            sources.push(Source { name, address, streams, open: 0, failures: 0, gone: None });
        }
        let work = Work {
            puller: self,
            shelf,
            queue: VecDeque::new(),
            going,
            sources,
            running: FuturesUnordered::new(),
            whole: Vec::new(),
            whole_bytes: 0,
            report: DownloadReport { faults: keyless, ..DownloadReport::default() },
        };
        work.run(cancel).await
    }
}

/// What is there of each wanted item that is not known to be whole.
fn look(
    store: &Store,
    instance: &AxonInstance,
    items: Vec<Item>,
    candidates: Vec<Record>,
    wanted: &Wanted,
) -> Result<(Vec<Going>, Vec<ItemFault>), ChunkStoreError> {
    store.chunks.check()?;
    let mut others: HashMap<String, Vec<Record>> = HashMap::new();
    for record in candidates {
        let hash = record.path[CANDIDATES.len()..].split('/').next().unwrap_or_default().to_owned();
        others.entry(hash).or_default().push(record);
    }
    let (mut going, mut keyless) = (Vec::new(), Vec::new());
    for item in items.into_iter().filter(|item| wanted.includes(item)) {
        let mut whole = item.complete;
        for (id, size) in item.chunks.iter().filter(|_| item.complete) {
            whole &= store.chunks.size(id)? == Some(u64::from(*size));
        }
        if whole {
            continue;
        }
        let manifest = Manifest::parse(item.manifest.as_bytes());
        let (true, Ok(manifest)) = (item.key.is_some(), manifest) else {
            let message = "nobody gave this instance a key for it".to_owned();
            keyless.push(ItemFault { content_hash: item.content_hash, kinds: item.kinds, message });
            continue;
        };
        let others = others.remove(&item.content_hash.to_string()).unwrap_or_default();
        let open = |record: Record| {
            let manifest = Manifest::parse(&record.bytes).ok()?;
            let key = manifest.unwrap_key(&instance.private).ok()?;
            (manifest.content_hash() == item.content_hash).then_some((manifest, key))
        };
        let others = others.into_iter().filter_map(open).collect();
        let (missing, mended, fault, says, without) = (0, false, None, None, HashSet::new());
        going.push(Going { item, manifest, others, missing, mended, fault, says, without });
    }
    Ok((going, keyless))
}

struct Work<'a> {
    puller: &'a AxonPuller,
    shelf: AxonShelf,
    queue: VecDeque<Job>,
    going: Vec<Going>,
    sources: Vec<Source>,
    running: FuturesUnordered<BoxFuture<'static, Done>>,
    /// Items that were verified, and of which the index does not know yet.
    whole: Vec<usize>,
    whole_bytes: u64,
    report: DownloadReport,
}

impl Work<'_> {
    async fn run(mut self, cancel: &CancellationToken) -> Result<DownloadReport, PullError> {
        for at in 0..self.going.len() {
            self.begin(at)?;
        }
        let monitor = &self.puller.monitor;
        monitor.task("fetching chunks", Counter::Chunks, Some(self.queue.len() as u64));
        loop {
            self.ask()?;
            let Some(done) = cancel.run_until_cancelled(self.running.next()).await else {
                self.settle().await?;
                return Err(PullError::Cancelled);
            };
            match done {
                None => break,
                Some(Done::Chunk { source, job, result }) => self.arrived(source, job, result)?,
                Some(Done::Checked { item, result }) => self.checked(item, result)?,
            }
            if self.whole.len() >= BATCH_ITEMS || self.whole_bytes >= BATCH_BYTES {
                self.settle().await?;
            }
        }
        self.settle().await?;
        self.tell();
        Ok(self.report)
    }

    /// Looks which chunks of an item are here, and asks for the others.
    fn begin(&mut self, at: usize) -> Result<(), ChunkStoreError> {
        let going = &mut self.going[at];
        let mut seen = HashSet::new();
        going.missing = 0;
        for (index, id) in going.manifest.chunk_hashes().iter().enumerate() {
            let here = self.puller.store.chunks.size(id)?.is_some_and(|size| size > 0);
            if !here && seen.insert(*id) {
                going.missing += 1;
                self.queue.push_back(Job { item: at, index, id: *id, tried: Vec::new(), broken: 0 });
            }
        }
        if going.missing == 0 {
            self.check(at);
        }
        Ok(())
    }

    /// Gives work to peers. What nobody can give is tried by another manifest, as long as there is one.
    fn ask(&mut self) -> Result<(), ChunkStoreError> {
        self.hand_out();
        while self.running.is_empty() && !self.queue.is_empty() {
            let left: BTreeSet<usize> = std::mem::take(&mut self.queue).into_iter().map(|job| job.item).collect();
            for at in left {
                self.give_up(at, "no peer has all of it now")?;
            }
            self.hand_out();
        }
        Ok(())
    }

    /// Gives each peer as much to do as it has streams.
    fn hand_out(&mut self) {
        for at in 0..self.sources.len() {
            while self.sources[at].gone.is_none() && self.sources[at].open < self.sources[at].streams {
                let may = |job: &Job| !job.tried.contains(&at) && !self.going[job.item].without.contains(&at);
                let Some(place) = self.queue.iter().position(may) else { break };
                let job = self.queue.remove(place).expect("it was found there");
                self.fetch(at, job);
            }
        }
    }

    fn fetch(&mut self, at: usize, job: Job) {
        let source = &mut self.sources[at];
        source.open += 1;
        self.report.requests += 1;
        self.puller.asked();
        let (caller, address) = (self.puller.caller.clone(), source.address.clone());
        let content_hash = self.going[job.item].item.content_hash;
        let store = self.puller.store.clone();
        self.running.push(Box::pin(async move {
            let result = match caller.chunk(&address, &content_hash, job.index).await {
                Ok(Some(bytes)) => {
                    let id = job.id;
                    let stored = tokio::task::spawn_blocking(move || compare_and_store(&store, &id, &bytes)).await;
                    stored.map_err(|_| CallError::Died)
                }
                Ok(None) => Ok(Got::NotThere),
                Err(error) => Err(error),
            };
            Done::Chunk { source: at, job, result }
        }));
    }

    fn arrived(&mut self, at: usize, mut job: Job, result: Result<Got, CallError>) -> Result<(), PullError> {
        let source = &mut self.sources[at];
        source.open -= 1;
        match result {
            Ok(Got::Stored(len)) => {
                source.failures = 0;
                self.report.chunks += 1;
                self.report.bytes += len as u64;
                self.puller.monitor.add(Counter::Chunks, 1);
                self.puller.monitor.add(Counter::ChunkBytes, len as u64);
                let going = &mut self.going[job.item];
                going.missing -= 1;
                if going.missing == 0 {
                    self.check(job.item);
                }
                return Ok(());
            }
            Ok(Got::NotStored(error)) => return Err(error.into()),
            Ok(Got::NotThere) => {
                source.failures = 0;
                let name = source.name.clone();
                let going = &mut self.going[job.item];
                going.fault = Some(format!("{name} has no chunk {} of it", job.index));
                // Of an item that it has not, it has no other chunk either; of one that it has lost a chunk of, it may.
                if job.index == 0 {
                    going.without.insert(at);
                }
                job.tried.push(at);
            }
            Ok(Got::Wrong) => {
                source.failures = 0;
                self.report.bad_chunks += 1;
                let name = source.name.clone();
                let fault = format!("{name} sent a chunk {} that is not what its hash says", job.index);
                self.going[job.item].fault = Some(fault);
                job.tried.push(at);
            }
            Err(error) => {
                source.failures += 1;
                let is_broken = matches!(error, CallError::Client(_));
                job.broken += 1;
                if !is_broken || job.broken > MAX_BROKEN {
                    job.tried.push(at);
                    job.broken = 0;
                }
                let text = with_causes(&error);
                self.going[job.item].fault = Some(format!("{}: {text}", source.name));
                let lost = matches!(
                    error,
                    CallError::NotLetIn | CallError::NotLetInOrClock | CallError::Clock { .. } | CallError::Host
                );
                if source.failures >= MAX_FAILURES || lost {
                    source.gone.get_or_insert(text);
                }
            }
        }
        self.queue.push_front(job);
        Ok(())
    }

    /// Reads an item through the decryptor.
    fn check(&mut self, at: usize) {
        let going = &self.going[at];
        let key = going.item.key.as_ref().expect("items without a key are not fetched");
        let key = Secret::from_slice(key.expose()).expect("a key of this length");
        let (store, manifest) = (self.puller.store.clone(), going.manifest.clone());
        self.running.push(Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || read_through(&store, &manifest, &key)).await;
            Done::Checked { item: at, result: read.unwrap_or(Err(Fault::Died)) }
        }));
    }

    fn checked(&mut self, at: usize, result: Result<Whole, Fault>) -> Result<(), PullError> {
        match result {
            Ok(Whole { sizes, says }) => {
                let going = &mut self.going[at];
                going.fault = None;
                going.says = says;
                going.item.chunks = going.manifest.chunk_hashes().iter().copied().zip(sizes).collect();
                self.whole_bytes += going.item.chunks.iter().map(|(_, size)| u64::from(*size)).sum::<u64>();
                self.whole.push(at);
            }
            // What a kill left half written, or the disk has changed; once.
            Err(Fault::Holes(_)) if !self.going[at].mended => {
                self.going[at].mended = true;
                self.begin(at)?;
            }
            Err(Fault::Holes(holes)) => {
                let fault = format!("{} of its chunks do not stay on the disk as they were written", holes.len());
                self.give_up(at, &fault)?;
            }
            Err(Fault::Cipher(cause)) => {
                self.going[at].fault = Some(cause.to_string());
                self.try_another(at)?;
            }
            Err(Fault::Store(error)) => return Err(error.into()),
            Err(Fault::Died) => return Err(PullError::Died),
        }
        Ok(())
    }

    /// Goes on with another manifest of the item, if somebody announced one.
    fn try_another(&mut self, at: usize) -> Result<(), ChunkStoreError> {
        let going = &mut self.going[at];
        let Some((manifest, key)) = going.others.pop() else { return Ok(()) };
        going.item.manifest = manifest.to_value().to_line();
        going.item.key = Some(key);
        going.manifest = manifest;
        going.mended = false;
        going.without.clear();
        self.begin(at)
    }

    fn give_up(&mut self, at: usize, why: &str) -> Result<(), ChunkStoreError> {
        self.going[at].fault.get_or_insert_with(|| why.to_owned());
        self.try_another(at)
    }

    /// Makes what was verified durable, then tells the index (R8).
    async fn settle(&mut self) -> Result<(), PullError> {
        if self.whole.is_empty() {
            return Ok(());
        }
        let store = self.puller.store.clone();
        let synced = tokio::task::spawn_blocking(move || store.chunks.sync()).await.map_err(|_| PullError::Died)?;
        synced?;
        let _changing = self.puller.changing.lock().await;
        let now = self.puller.caller.now();
        let mut change = Change::default();
        for at in std::mem::take(&mut self.whole) {
            let going = &mut self.going[at];
            // Meanwhile somebody may have told that it is something else, too.
            let known = self.shelf.item(&going.item.content_hash).await?;
            let announced = known.map_or_else(|| going.item.kinds.clone(), |known| known.kinds);
            let kinds = kinds_of(announced, going.says.as_ref());
            let prefix = format!("{CANDIDATES}{}/", going.item.content_hash);
            let beside = self.shelf.records(&prefix).await?.into_iter().map(|record| record.path);
            change.removed.extend(beside);
            change.items.push(Item {
                content_hash: going.item.content_hash,
                kinds,
                manifest: going.item.manifest.clone(),
                key: going.item.key.take(),
                complete: true,
                changed_at: now,
                chunks: std::mem::take(&mut going.item.chunks),
            });
        }
        self.report.items += change.items.len() as u64;
        self.whole_bytes = 0;
        self.shelf.put(&change).await?;
        Ok(())
    }

    /// Says what could not be had.
    fn tell(&mut self) {
        for source in &mut self.sources {
            if let Some(why) = source.gone.take() {
                self.puller.problem(format!("peer {}", source.name), why.clone());
                self.report.failed_peers.push((source.name.clone(), why));
            }
        }
        for going in &self.going {
            if let Some(message) = &going.fault {
                let (content_hash, kinds) = (going.item.content_hash, going.item.kinds.clone());
                self.report.faults.push(ItemFault { content_hash, kinds, message: message.clone() });
            }
        }
        for fault in &self.report.faults {
            let kinds: Vec<&str> = fault.kinds.iter().map(ContentType::as_str).collect();
            let subject = format!("{} {}", kinds.join("/"), fault.content_hash.short());
            self.puller.problem(subject, format!("{}; it is tried again next time", fault.message));
        }
    }
}

fn compare_and_store(store: &Store, id: &ChunkId, bytes: &Bytes) -> Got {
    // Nobody needs a chunk without bytes, and no list could name it.
    if bytes.is_empty() || ChunkId::of(bytes) != *id {
        return Got::Wrong;
    }
    match store.chunks.write(id, bytes) {
        Ok(()) => Got::Stored(bytes.len()),
        Err(error) => Got::NotStored(error),
    }
}

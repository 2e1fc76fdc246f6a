//! What concurrent pulls know of each other: who is fetching what, and what peers did not have a short time ago.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::id::{ChunkId, InstanceId, ManifestId};

/// So long after the last byte came, a chunk may be fetched by somebody else too: whoever began is stuck.
const CLAIM: Duration = Duration::from_secs(60);
/// While bytes come, claims are renewed after this time.
const RENEW: Duration = Duration::from_secs(10);
/// What a peer did not have is asked for again after this time.
const ABSENT: Duration = Duration::from_secs(3600);

#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Pages are applied one at a time: saving files and noting them belong together.
    pub(super) pages: tokio::sync::Mutex<()>,
    claims: Mutex<HashMap<ChunkId, Instant>>,
    absent: Mutex<HashMap<InstanceId, Absent>>,
    /// Manifests whose files a look found damaged.
    damaged: Mutex<BTreeSet<ManifestId>>,
    /// Peers from which somebody fetches who wants to be alone with it, and how many those are.
    taken: Mutex<HashMap<InstanceId, usize>>,
    /// Circuits that were worth while the last time.
    circuits: Mutex<HashMap<InstanceId, usize>>,
}

/// What a peer did not have.
#[derive(Debug)]
struct Absent {
    since: Instant,
    objects: HashSet<ChunkId>,
    keys: HashSet<ManifestId>,
}

impl Shared {
    pub(super) fn forget_absent(&self, peer: &InstanceId) {
        self.lock_absent().remove(peer);
    }

    pub(super) fn note_absent_objects(&self, peer: &InstanceId, ids: impl IntoIterator<Item = ChunkId>) {
        absent(&mut self.lock_absent(), peer).objects.extend(ids);
    }

    pub(super) fn note_absent_keys(&self, peer: &InstanceId, ids: impl IntoIterator<Item = ManifestId>) {
        absent(&mut self.lock_absent(), peer).keys.extend(ids);
    }

    pub(super) fn retain_present_objects(&self, peer: &InstanceId, ids: &mut Vec<ChunkId>) {
        let mut all = self.lock_absent();
        let known = absent(&mut all, peer);
        ids.retain(|id| !known.objects.contains(id));
    }

    pub(super) fn retain_present_keys(&self, peer: &InstanceId, ids: &mut Vec<ManifestId>) {
        let mut all = self.lock_absent();
        let known = absent(&mut all, peer);
        ids.retain(|id| !known.keys.contains(id));
    }

    /// Manifests that a look found damaged and that were not mended since.
    pub(super) fn damaged(&self) -> BTreeSet<ManifestId> {
        self.damaged.lock().expect("no holder of this lock can panic").clone()
    }

    /// Remembers whether a manifest is damaged; answers whether that is new.
    pub(super) fn note_damaged(&self, id: &ManifestId, is: bool) -> bool {
        let mut damaged = self.damaged.lock().expect("no holder of this lock can panic");
        if is { damaged.insert(*id) } else { damaged.remove(id) }
    }

    /// Whether somebody wants to be alone with a peer.
    pub(super) fn is_taken(&self, peer: &InstanceId) -> bool {
        self.lock_taken().contains_key(peer)
    }

    fn lock_taken(&self) -> MutexGuard<'_, HashMap<InstanceId, usize>> {
        self.taken.lock().expect("no holder of this lock can panic")
    }

    pub(super) fn circuits(&self, peer: &InstanceId) -> Option<usize> {
        self.circuits.lock().expect("no holder of this lock can panic").get(peer).copied()
    }

    pub(super) fn note_circuits(&self, peer: &InstanceId, circuits: usize) {
        self.circuits.lock().expect("no holder of this lock can panic").insert(*peer, circuits);
    }

    /// Claims a chunk for a fetch, unless somebody else is at it.
    pub(super) fn claim(&self, id: &ChunkId) -> bool {
        let mut claims = self.claims.lock().expect("no holder of this lock can panic");
        let free = claims.get(id).is_none_or(|since| since.elapsed() >= CLAIM);
        if free {
            claims.insert(*id, Instant::now());
        }
        free
    }

    fn renew(&self, ids: &[ChunkId], now: Instant) {
        let mut claims = self.claims.lock().expect("no holder of this lock can panic");
        for id in ids {
            if let Some(since) = claims.get_mut(id) {
                *since = now;
            }
        }
    }

    fn release(&self, ids: &[ChunkId]) {
        let mut claims = self.claims.lock().expect("no holder of this lock can panic");
        for id in ids {
            claims.remove(id);
        }
    }

    fn lock_absent(&self) -> MutexGuard<'_, HashMap<InstanceId, Absent>> {
        self.absent.lock().expect("no holder of this lock can panic")
    }
}

fn absent<'a>(all: &'a mut HashMap<InstanceId, Absent>, peer: &InstanceId) -> &'a mut Absent {
    let now = Instant::now();
    all.retain(|_, absent| now.duration_since(absent.since) < ABSENT);
    all.entry(*peer).or_insert_with(|| Absent { since: now, objects: HashSet::new(), keys: HashSet::new() })
}

/// Somebody is alone with a peer until this is dropped.
#[derive(Debug)]
pub struct Alone {
    shared: Arc<Shared>,
    peer: InstanceId,
}

impl Alone {
    pub(super) fn new(shared: Arc<Shared>, peer: InstanceId) -> Self {
        *shared.lock_taken().entry(peer).or_default() += 1;
        Self { shared, peer }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let mut taken = self.shared.lock_taken();
        if let Some(held) = taken.get_mut(&self.peer) {
            *held -= 1;
            if *held == 0 {
                taken.remove(&self.peer);
            }
        }
    }
}

/// Chunks that are being fetched; given free when it is dropped.
#[derive(Debug)]
pub(super) struct Claims {
    shared: Arc<Shared>,
    ids: Vec<ChunkId>,
    renewed_at: Mutex<Instant>,
}

impl Claims {
    /// Holds chunks that were just claimed.
    pub(super) fn new(shared: Arc<Shared>, ids: Vec<ChunkId>) -> Self {
        Self { shared, ids, renewed_at: Mutex::new(Instant::now()) }
    }

    /// Bytes came: whoever fetches these is not stuck.
    pub(super) fn renew(&self) {
        let now = Instant::now();
        let mut renewed_at = self.renewed_at.lock().expect("no holder of this lock can panic");
        if now.duration_since(*renewed_at) >= RENEW {
            *renewed_at = now;
            self.shared.renew(&self.ids, now);
        }
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        self.shared.release(&self.ids);
    }
}

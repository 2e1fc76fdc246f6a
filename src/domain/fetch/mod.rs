//! What to ask whom next: a queue of missing objects, served by all peers that have them, over a few streams each.
//!
//! A state machine. Its owner tells what happens and when (`now` is the time since the run began), asks for the
//! [`next`](Scheduler::next) thing to do until there is none, and looks again at [`wake_at`](Scheduler::wake_at).
//!
//! - The rarest objects go first. A batch is what its stream moves in about half a minute, or less when the end is near, so
//!   that all streams are done at the same time.
//! - A peer begins with two circuits of two streams. Circuits are added while the total rises.
//! - A stream that is much slower than its neighbours for a while is cut, and its rest goes back into the queue. So does what
//!   was left when a stream broke.
//! - When the queue is empty and one last batch takes long, an idle stream that would be faster gets it too, from its end: the
//!   two meet, so that about one object is sent twice. A batch of which nothing comes for a while is given to idle streams before
//!   that: a peer that is gone holds up nobody.
//! - A peer that fails twice in a row without having sent anything is left alone.
//!
//! Invariants: what is here is not asked for again; nobody is asked for what it is not said to have, or said it has not; no
//! stream idles while there is something in the queue for it; as long as streams end, everything gets stored or lost. What a
//! peer has that stays, and does not lie about it, gets stored whatever the others do. Nothing is stored twice but by the end-game,
//! and that costs an object and what comes until the loser hears of it. A run remembers nothing of one that was killed, and needs
//! nothing: of what is stored it is not told.

mod queue; // what nobody is fetching yet
mod rate; // how fast it goes
mod streams; // batches in flight
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use crate::domain::id::ChunkId;
use queue::{Limit, Queue};
use rate::Ramp;
use streams::{Ask, Cutting, Stream};

/// How often streams are looked at.
const REVIEW: Duration = Duration::from_secs(1);

/// One of the peers of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerNo(pub usize);

/// One place for a stream. Streams that follow each other in the same place have the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamNo(pub usize);

/// The numbers.
#[derive(Debug, Clone)]
pub struct Policy {
    /// A batch is what its stream moves in this time.
    pub batch_time: Duration,
    /// Bytes in one batch, unless a single object is longer.
    pub batch_bytes: u64,
    /// Objects in one batch.
    pub batch_ids: usize,
    /// Bytes in a batch for a stream of which nothing is known.
    pub first_batch_bytes: u64,
    /// Streams that share a circuit.
    pub streams_per_circuit: usize,
    /// Circuits to a peer at the beginning.
    pub first_circuits: usize,
    /// A circuit is added when the last one has raised the total by this factor.
    pub rise: f64,
    /// How long the total is measured.
    pub measure: Duration,
    /// A stream is slow when it has less than this part of the median rate of its peer's streams.
    pub slow_part: f64,
    /// A stream that was slow for so long is cut.
    pub slow_time: Duration,
    /// The last batch is given to a second stream when it has taken so long; any other when nothing came of it for so long and
    /// a stream idles.
    pub late: Duration,
    /// Failures in a row, without anything sent, after which a peer is left alone.
    pub failures: u32,
    /// Failures in a row, without a single object brought, after which a peer is left alone.
    pub fruitless: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            batch_time: Duration::from_secs(37),
            batch_bytes: 16 << 20,
            batch_ids: 1000,
            first_batch_bytes: 2 << 20,
            streams_per_circuit: 2,
            first_circuits: 2,
            rise: 1.15,
            measure: Duration::from_secs(4),
            slow_part: 0.5,
            slow_time: Duration::from_secs(20),
            late: Duration::from_secs(10),
            failures: 2,
            fruitless: 100,
        }
    }
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask for a batch, in this order.
    Ask {
        /// In which place.
        stream: StreamNo,
        /// Whom.
        peer: PeerNo,
        /// Over which of the peer's circuits.
        circuit: usize,
        /// What for.
        ids: Vec<ChunkId>,
        /// Another stream has the same in hand: who comes first wins.
        again: bool,
    },
    /// End a stream; what it still brings counts. Tell when it has [`ended`](Scheduler::ended).
    Cut {
        /// Which one.
        stream: StreamNo,
    },
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It is known to be whole: what it did not bring its peer does not have.
    Whole,
    /// It broke, was cut, or never began.
    Broken,
}

/// The state machine.
#[derive(Debug)]
pub struct Scheduler {
    policy: Policy,
    peers: BTreeMap<PeerNo, Peer>,
    streams: Vec<Stream>,
    /// What is in the queue or in hand.
    items: HashMap<ChunkId, Item>,
    queue: Queue,
    stored: u64,
    lost: HashSet<ChunkId>,
    ramp: Ramp,
    received: u64,
    reviewed_at: Option<Duration>,
}

#[derive(Debug)]
struct Peer {
    max_circuits: usize,
    circuits: usize,
    failures: u32,
    fruitless: u32,
    heard_at: Option<Duration>,
    retired: bool,
}

/// Something wanted.
#[derive(Debug)]
struct Item {
    size_bytes: u32,
    /// Who may have it; sorted.
    holders: Vec<PeerNo>,
    /// Streams that were asked for it. None: it is in the queue.
    in_hand: u32,
}

impl Scheduler {
    /// One with nothing to do and nobody to ask.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            peers: BTreeMap::new(),
            streams: Vec::new(),
            items: HashMap::new(),
            queue: Queue::default(),
            stored: 0,
            lost: HashSet::new(),
            ramp: Ramp::default(),
            received: 0,
            reviewed_at: None,
        }
    }

    /// A peer that may be asked, over at most so many circuits, and at least one. `known`: how many were worth while the
    /// last time.
    pub fn add_peer(&mut self, peer: PeerNo, max_circuits: usize, known: Option<usize>) {
        let max_circuits = max_circuits.max(1);
        let circuits = known.unwrap_or(self.policy.first_circuits).clamp(1, max_circuits);
        let fresh = Peer { max_circuits, circuits: 0, failures: 0, fruitless: 0, heard_at: None, retired: false };
        if self.peers.insert(peer, fresh).is_none() {
            (0..circuits).for_each(|_| self.add_circuit(peer));
            self.ramp.restart();
        }
    }

    fn add_circuit(&mut self, number: PeerNo) {
        let Some(peer) = self.peers.get_mut(&number) else { return };
        let circuit = peer.circuits;
        peer.circuits += 1;
        self.streams.extend((0..self.policy.streams_per_circuit.max(1)).map(|_| Stream::new(number, circuit)));
    }

    /// Leaves a peer alone: its streams are cut, and what nobody else has is lost.
    pub fn retire(&mut self, number: PeerNo) {
        match self.peers.get_mut(&number) {
            Some(peer) if !peer.retired => peer.retired = true,
            _ => return,
        }
        self.ramp.restart();
        for ask in self.streams.iter_mut().filter(|stream| stream.peer == number).flat_map(|stream| &mut stream.ask) {
            ask.cut();
        }
        let queued = self.queue.remove_held_by(number);
        for item in self.items.values_mut() {
            item.holders.retain(|holder| *holder != number);
        }
        for id in queued {
            self.put_back(id, false);
        }
    }

    /// Whether a peer was left alone.
    pub fn is_retired(&self, peer: PeerNo) -> bool {
        self.peers.get(&peer).is_none_or(|peer| peer.retired)
    }

    /// Circuits in use to a peer.
    pub fn circuits(&self, peer: PeerNo) -> usize {
        self.peers.get(&peer).map_or(0, |peer| peer.circuits)
    }

    /// Something to fetch, and the peers that may have it. What is wanted already stays as it is.
    pub fn want(&mut self, id: ChunkId, size_bytes: u32, holders: impl IntoIterator<Item = PeerNo>) {
        if self.items.contains_key(&id) {
            return;
        }
        let mut holders: Vec<PeerNo> = holders.into_iter().filter(|peer| !self.is_retired(*peer)).collect();
        holders.sort_unstable();
        holders.dedup();
        self.lost.remove(&id);
        self.items.insert(id, Item { size_bytes, holders, in_hand: 0 });
        self.put_back(id, false);
    }

    /// What to do now; call it until there is nothing.
    pub fn next(&mut self, now: Duration) -> Option<Action> {
        self.review(now);
        self.cut().or_else(|| self.ask(now)).or_else(|| self.ask_again(now))
    }

    /// When to call [`next`](Self::next) again if nothing happens; `None` if only events matter.
    pub fn wake_at(&self, now: Duration) -> Option<Duration> {
        let busy = self.streams.iter().any(|stream| stream.ask.is_some());
        busy.then(|| self.reviewed_at.map_or(now, |at| (at + REVIEW).max(now)))
    }

    /// So many bytes came.
    pub fn progress(&mut self, number: StreamNo, bytes: u64, now: Duration) {
        let Some(stream) = self.streams.get_mut(number.0) else { return };
        stream.heard(bytes, now);
        self.received += bytes;
        if let Some(peer) = self.peers.get_mut(&stream.peer) {
            peer.failures = 0;
            peer.heard_at = Some(now);
        }
    }

    /// Whether an object is still wanted: not while it was brought by another stream.
    pub fn is_wanted(&self, id: &ChunkId) -> bool {
        self.items.contains_key(id)
    }

    /// An object is here. Answers whether it was still wanted.
    pub fn stored(&mut self, number: StreamNo, id: &ChunkId) -> bool {
        let Some(item) = self.items.remove(id) else { return false };
        let size = item.size_bytes;
        self.stored += 1;
        if item.in_hand == 0 {
            self.queue.remove(&item.holders, id);
        }
        let peer = self.streams.get(number.0).and_then(|stream| self.peers.get_mut(&stream.peer));
        if let Some(peer) = peer {
            peer.fruitless = 0;
        }
        for (at, stream) in self.streams.iter_mut().enumerate() {
            if let Some(ask) = stream.ask.as_mut() {
                ask.crossed_off(id, size, at != number.0);
            }
        }
        true
    }

    /// The peer does not have it.
    pub fn missing(&mut self, number: StreamNo, id: &ChunkId) {
        let Some(peer) = self.streams.get(number.0).map(|stream| stream.peer) else { return };
        let Some(item) = self.items.get_mut(id) else { return };
        let before = item.in_hand;
        // Another stream of the same peer will say no better.
        for (at, stream) in self.streams.iter_mut().enumerate().filter(|(_, stream)| stream.peer == peer) {
            if let Some(ask) = stream.ask.as_mut()
                && ask.crossed_off(id, item.size_bytes, at != number.0)
            {
                item.in_hand -= 1;
            }
        }
        // It may have been said before, by the other stream: then it is in the queue already.
        if item.in_hand < before {
            item.holders.retain(|holder| *holder != peer);
            self.put_back(*id, true);
        }
    }

    /// The peer sent something else: it is not asked for this again.
    pub fn bad(&mut self, number: StreamNo, id: &ChunkId) {
        self.missing(number, id);
    }

    /// Somebody else sees to it, or nobody can: it is not wanted here any more, and counts as lost.
    pub fn give_up(&mut self, id: &ChunkId) {
        let Some(item) = self.items.remove(id) else { return };
        if item.in_hand == 0 {
            self.queue.remove(&item.holders, id);
        }
        for ask in self.streams.iter_mut().flat_map(|stream| &mut stream.ask) {
            ask.answered(id, item.size_bytes);
        }
        self.lost.insert(*id);
    }

    /// A stream is over.
    pub fn ended(&mut self, number: StreamNo, ending: Ending, now: Duration) {
        let Some(stream) = self.streams.get_mut(number.0) else { return };
        let Some(ask) = stream.ask.take() else { return };
        let (peer, whole) = (stream.peer, ending == Ending::Whole && ask.cutting == Cutting::No);
        stream.paused(whole);
        for id in ask.open.iter().rev() {
            let Some(item) = self.items.get_mut(id) else { continue };
            item.in_hand -= 1;
            if whole {
                item.holders.retain(|holder| *holder != peer);
            }
            self.put_back(*id, true);
        }
        let Some(state) = self.peers.get_mut(&peer) else { return };
        if whole {
            (state.failures, state.fruitless, state.heard_at) = (0, 0, Some(now));
        } else if ask.cutting == Cutting::No {
            let silent = state.heard_at.is_none_or(|heard_at| heard_at < ask.started_at);
            state.failures += u32::from(silent);
            state.fruitless += 1;
            if state.failures >= self.policy.failures || state.fruitless >= self.policy.fruitless {
                self.retire(peer);
            }
        }
    }

    /// How many objects are here, and which ones cannot be had.
    pub fn settled(&self) -> (u64, &HashSet<ChunkId>) {
        (self.stored, &self.lost)
    }

    /// Objects in the queue.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Objects that are wanted, in the queue or in hand.
    pub fn wanted(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing is wanted and no stream is open.
    pub fn is_idle(&self) -> bool {
        self.items.is_empty() && self.streams.iter().all(|stream| stream.ask.is_none())
    }

    /// Bytes that were asked for and have not come yet.
    pub fn in_flight_bytes(&self) -> u64 {
        self.streams.iter().flat_map(|stream| &stream.ask).map(|ask| ask.open_bytes).sum()
    }

    /// Back into the queue, unless another stream has it in hand; lost when nobody has it.
    fn put_back(&mut self, id: ChunkId, first: bool) {
        let Some(item) = self.items.get(&id).filter(|item| item.in_hand == 0) else { return };
        if item.holders.is_empty() {
            self.items.remove(&id);
            self.lost.insert(id);
        } else if first {
            self.queue.push_front(&item.holders, id, item.size_bytes);
        } else {
            self.queue.push_back(&item.holders, id, item.size_bytes);
        }
    }

    fn cut(&mut self) -> Option<Action> {
        let due = |stream: &Stream| stream.ask.as_ref().is_some_and(|ask| ask.cutting == Cutting::Due);
        let at = self.streams.iter().position(due)?;
        if let Some(ask) = &mut self.streams[at].ask {
            ask.cutting = Cutting::Asked;
        }
        Some(Action::Cut { stream: StreamNo(at) })
    }

    fn ask(&mut self, now: Duration) -> Option<Action> {
        if self.queue.len() == 0 {
            return None;
        }
        for at in 0..self.streams.len() {
            let stream = &self.streams[at];
            if stream.ask.is_some() || self.is_retired(stream.peer) {
                continue;
            }
            let limit = Limit { ids: self.policy.batch_ids, bytes: self.batch_bytes(at, now) };
            let taken = self.queue.take(self.streams[at].peer, limit);
            if !taken.is_empty() {
                return Some(self.begin(at, taken, false, now));
            }
        }
        None
    }

    fn begin(&mut self, at: usize, taken: Vec<(ChunkId, u32)>, again: bool, now: Duration) -> Action {
        let ids: Vec<ChunkId> = taken.iter().map(|(id, _)| *id).collect();
        for id in &ids {
            if let Some(item) = self.items.get_mut(id) {
                item.in_hand += 1;
            }
        }
        let stream = &mut self.streams[at];
        stream.ask = Some(Ask::new(taken, again, now));
        Action::Ask { stream: StreamNo(at), peer: stream.peer, circuit: stream.circuit, ids, again }
    }
}

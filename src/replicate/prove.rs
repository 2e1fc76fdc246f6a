//! Proofs that what is kept elsewhere is there. Whoever keeps a copy asks its source for a challenge, since the source often
//! has no address of it ([`crate::domain::proof`]).
//!
//! The source keeps open challenges in memory: one for each peer, good for ten minutes and once. It compares what it hears with
//! its own copies, and those with their names before: what it cannot read itself counts against nobody. The keeper reads no
//! more for a source than chunks of snapshots that it has from there, a bounded number of them: a challenge tells the source
//! nothing of what else is kept. It claims only collections that the source leads.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::call::{CallError, Callee};
use super::pull::{PullError, Puller};
use super::serve::{Guest, Serve, ServeError};
use crate::domain::id::{ChunkId, CollectionId, InstanceId, ManifestId};
use crate::domain::peer::Trust;
use crate::domain::proof::{ChallengeId, Digest, MAX_CLAIMS, MAX_SAMPLE, Sample};
use crate::domain::wire::messages::{ChallengeAnswer, ProofRequest};
use crate::store::blocking;
use crate::store::index::{Peer, Proof, ProofOf};
use crate::store::{ChunkStore, IndexError, Store, entropy};

/// A challenge is good for so long: enough to read what is asked for from a slow disk.
const GOOD_FOR: SignedDuration = SignedDuration::from_mins(10);
/// A peer is challenged again after this time.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_mins(1);
/// Challenges that are open at once.
const MAX_OPEN: usize = 256;
/// The source reads what it asked for, too, before it answers.
const PATIENCE: Duration = Duration::from_secs(300);
/// A proof counts for so long.
const COUNTS_FOR: SignedDuration = SignedDuration::from_hours(72);

/// Why there is no challenge, or a proof is not heard.
#[derive(Debug, thiserror::Error)]
pub enum ProofFault {
    /// The peer was challenged a moment ago, or there are too many open challenges: after this time.
    #[error("a challenge was given a moment ago")]
    TooEarly(Duration),
    /// There is no such challenge for this peer, or it is used up or too old.
    #[error("there is no such challenge")]
    NoSuchChallenge,
    /// The digests are not as many as were asked for.
    #[error("the proof does not fit the challenge")]
    DoesNotFit,
    /// Our own fault.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

impl From<IndexError> for ProofFault {
    fn from(error: IndexError) -> Self {
        ProofFault::Serve(error.into())
    }
}

/// The newest challenge of each peer.
#[derive(Debug, Default)]
pub(super) struct Challenges(Mutex<HashMap<InstanceId, Given>>);

#[derive(Debug)]
struct Given {
    at: Timestamp,
    /// `None` once it is used, and while it is made.
    open: Option<(ChallengeId, Vec<(CollectionId, Sample)>)>,
}

impl Given {
    /// How long ago, unless that lies in the future.
    fn age(&self, now: Timestamp) -> Option<SignedDuration> {
        Some(now.duration_since(self.at)).filter(|age| !age.is_negative())
    }
}

impl Challenges {
    /// Takes the place of a peer's next challenge, or says after what time there is one.
    fn reserve(&self, peer: InstanceId, now: Timestamp) -> Result<(), ProofFault> {
        let mut given = self.0.lock().expect("no holder of this lock can panic");
        given.retain(|_, given| given.age(now).is_some_and(|age| age < GOOD_FOR));
        let wait =
            given.get(&peer).and_then(|given| given.age(now)).map_or(SignedDuration::ZERO, |age| AGAIN_AFTER - age);
        if wait.is_positive() {
            return Err(ProofFault::TooEarly(wait.unsigned_abs()));
        }
        if given.len() >= MAX_OPEN && !given.contains_key(&peer) {
            return Err(ProofFault::TooEarly(AGAIN_AFTER.unsigned_abs()));
        }
        given.insert(peer, Given { at: now, open: None });
        Ok(())
    }

    fn open(&self, peer: &InstanceId, id: ChallengeId, samples: Vec<(CollectionId, Sample)>) {
        if let Some(given) = self.0.lock().expect("no holder of this lock can panic").get_mut(peer) {
            given.open = Some((id, samples));
        }
    }

    /// Uses a challenge up.
    fn take(&self, peer: &InstanceId, id: ChallengeId, now: Timestamp) -> Option<Vec<(CollectionId, Sample)>> {
        let mut given = self.0.lock().expect("no holder of this lock can panic");
        let given = given.get_mut(peer).filter(|given| given.age(now).is_some_and(|age| age < GOOD_FOR))?;
        given.open.take_if(|(open, _)| *open == id).map(|(_, samples)| samples)
    }
}

impl Serve {
    /// Challenges a guest to prove that it has these snapshots. Those that it may not see are left out (R12), and so are
    /// further ones of the same collection.
    ///
    /// # Errors
    /// [`ProofFault::TooEarly`], [`ProofFault::Serve`].
    pub async fn challenge(
        &self,
        guest: &Guest,
        claims: &[ManifestId],
        now: Timestamp,
    ) -> Result<ChallengeAnswer, ProofFault> {
        self.challenges.reserve(guest.id, now)?;
        let index = &self.store().index;
        let visible = index.visible_manifests(&guest.rights, claims).await?;
        let (mut collections, mut samples) = (BTreeSet::new(), Vec::new());
        for (manifest, _) in claims.iter().zip(visible).filter(|(_, visible)| *visible) {
            let Some(snapshot) = index.snapshot(manifest).await? else { continue };
            if collections.insert(snapshot.collection) {
                let objects = index.objects_of(manifest).await?;
                samples.push((snapshot.collection, Sample::draw(*manifest, objects, &mut entropy())));
            }
        }
        let challenge = ChallengeId::random(&mut entropy());
        let claims = samples.iter().map(|(_, sample)| sample.clone()).collect();
        self.challenges.open(&guest.id, challenge, samples);
        Ok(ChallengeAnswer { challenge, claims })
    }

    /// Hears the proof of a challenge, which is used up by it, compares it with our own copies, and records what came of it.
    ///
    /// # Errors
    /// [`ProofFault`]. Dropped, it records what was compared until then.
    pub async fn hear_proof(&self, guest: &Guest, proof: ProofRequest, now: Timestamp) -> Result<(), ProofFault> {
        let taken = self.challenges.take(&guest.id, proof.challenge, now);
        let samples = taken.ok_or(ProofFault::NoSuchChallenge)?;
        let asked = samples.iter().map(|(_, sample)| sample.ids.len());
        if !proof.digests.iter().map(Vec::len).eq(asked) {
            return Err(ProofFault::DoesNotFit);
        }
        for ((collection, sample), digests) in samples.into_iter().zip(proof.digests) {
            let snapshot = sample.manifest;
            let (chunks, prover) = (Arc::clone(&self.store().chunks), guest.id);
            let core = self.cores.acquire().await.expect("the semaphore is never closed");
            let (sampled, right) = blocking(move || compare(&*chunks, &sample, &prover, &digests)).await;
            drop(core);
            if sampled == 0 {
                continue;
            }
            if right < sampled {
                tracing::warn!(peer.id = %guest.id, manifest.id = %snapshot, sampled, right, "a peer does not have what it says");
            }
            let proof = Proof { peer: guest.id, collection, snapshot, proved_at: now, sampled, right };
            self.store().index.note_proof(&proof).await?;
        }
        Ok(())
    }
}

/// How many digests could be compared, and how many of those are right.
fn compare(chunks: &dyn ChunkStore, sample: &Sample, prover: &InstanceId, digests: &[Option<Digest>]) -> (u32, u32) {
    let (mut sampled, mut right) = (0, 0);
    for (id, digest) in sample.ids.iter().zip(digests) {
        let Some(bytes) = read(chunks, id) else { continue };
        sampled += 1;
        right += u32::from(*digest == Some(sample.digest(prover, id, &bytes)));
    }
    (sampled, right)
}

/// Reads a chunk; `None` if it is not what its name says.
fn read(chunks: &dyn ChunkStore, id: &ChunkId) -> Option<Vec<u8>> {
    let bytes = chunks.read(id).ok().filter(|bytes| ChunkId::of(bytes) == *id);
    if bytes.is_none() {
        tracing::warn!(chunk.id = %id, "a chunk that the index knows is not what it was: run 'bulbil scrub --now'");
    }
    bytes
}

/// What came of proving to a source that we keep its snapshots.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Proving {
    /// Snapshots that we said to have.
    pub claimed: u64,
    /// Of those, snapshots that the source wanted a proof of.
    pub challenged: u64,
    /// Chunks and segments that it drew.
    pub sampled: u64,
    /// Of those, what could not be proved, because it is not here or not what it was.
    pub lacking: u64,
    /// The source is of a version that asks for no proofs.
    pub not_asked: bool,
}

/// Proves to a source that the newest whole snapshot is here of each collection that it leads.
///
/// # Errors
/// [`PullError`]. May be dropped at any point.
pub async fn prove(puller: &Puller, source: &Peer, cancel: &CancellationToken) -> Result<Proving, PullError> {
    // What cannot be read now is not claimed: it may well be there.
    puller.store().check_folders()?;
    let (name, index) = (source.name.clone(), &puller.store().index);
    if !matches!(source.trust, Trust::Trusted(_)) {
        return Err(PullError::NotTrusted { peer: name, state: source.trust.word() });
    }
    let Some(address) = source.address.clone() else { return Err(PullError::NoAddress { peer: name }) };
    let identity = source.identity.verify(Some(&source.id));
    let identity = identity.map_err(|cause| PullError::PeerDamaged { peer: name.clone(), cause })?;
    let callee = Callee { address, key: identity.identity_key };
    let claims = index.newest_kept(&source.id).await?;
    let mut proving = Proving { claimed: claims.len() as u64, ..Proving::default() };
    for (n, claims) in claims.chunks(MAX_CLAIMS).enumerate() {
        let pause = AGAIN_AFTER.unsigned_abs() * u32::from(n > 0);
        let part = async {
            tokio::time::sleep(pause).await;
            prove_some(puller, &callee, &name, claims, &mut proving).await
        };
        cancel.run_until_cancelled(part).await.unwrap_or(Err(PullError::Cancelled))?;
        if proving.not_asked {
            break;
        }
    }
    Ok(proving)
}

async fn prove_some(
    puller: &Puller,
    callee: &Callee,
    name: &str,
    claims: &[ManifestId],
    proving: &mut Proving,
) -> Result<(), PullError> {
    let failed = |cause| PullError::Call { peer: name.to_owned(), cause };
    let challenge = match puller.caller().challenge(callee, claims).await {
        Err(CallError::NotFound) => {
            proving.not_asked = true;
            return Ok(());
        }
        challenge => challenge.map_err(failed)?,
    };
    let mut left: BTreeSet<ManifestId> = claims.iter().copied().collect();
    let fits = |sample: &Sample| left.remove(&sample.manifest) && sample.ids.len() <= MAX_SAMPLE;
    if !challenge.claims.iter().all(fits) {
        return Err(failed(CallError::Malformed(None)));
    }
    let mut digests = Vec::with_capacity(challenge.claims.len());
    for sample in challenge.claims {
        let objects: BTreeSet<ChunkId> = puller.store().index.objects_of(&sample.manifest).await?.into_iter().collect();
        let (chunks, prover) = (Arc::clone(&puller.store().chunks), puller.caller().instance());
        let make = move || -> Vec<Option<Digest>> {
            let digest = |id: &ChunkId| {
                let bytes = objects.contains(id).then(|| read(&*chunks, id)).flatten()?;
                Some(sample.digest(&prover, id, &bytes))
            };
            sample.ids.iter().map(digest).collect()
        };
        let made = blocking(make).await;
        proving.challenged += 1;
        proving.sampled += made.len() as u64;
        proving.lacking += made.iter().filter(|digest| digest.is_none()).count() as u64;
        digests.push(made);
    }
    let proof = ProofRequest { challenge: challenge.challenge, digests };
    puller.caller().prove(callee, &proof, PATIENCE).await.map_err(failed)
}

/// A copy of a collection at a trusted peer, as its last proof shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptCopy {
    /// What the peer is called here.
    pub name: String,
    /// Its last proof.
    pub last: ProofOf,
}

impl KeptCopy {
    /// Whether everything that was drawn was right.
    pub fn is_right(&self) -> bool {
        self.last.proof.right == self.last.proof.sampled
    }

    /// Whether it counts as a copy now: proved, and not long ago.
    pub fn is_proved(&self, now: Timestamp) -> bool {
        self.is_right() && now.duration_since(self.last.proof.proved_at) < COUNTS_FOR
    }
}

/// The copies at trusted peers of a collection that is led from here, newest proof first.
///
/// # Errors
/// [`IndexError`].
pub async fn copies(store: &Store, collection: &CollectionId) -> Result<Vec<KeptCopy>, IndexError> {
    let peers = store.index.peers().await?;
    let trusted = |peer: &&Peer| matches!(peer.trust, Trust::Trusted(_));
    let copy = |last: ProofOf| {
        let peer = peers.iter().filter(trusted).find(|peer| peer.id == last.proof.peer)?;
        Some(KeptCopy { name: peer.name.clone(), last })
    };
    Ok(store.index.proofs(collection).await?.into_iter().filter_map(copy).collect())
}

//! Finding out which snapshots the other side has and this one lacks, without sending lists: range-based set reconciliation
//! (Meyer, arXiv 2212.13567; the negentropy protocol, version 1).
//!
//! Both sides hash every id with a salt that the asking side draws for the occasion: nobody can make ids beforehand that
//! collide in a fingerprint. A round trip descends two levels of a tree with 16 branches; holes of any number are found in
//! about log₁₆(n)/2 round trips, at a cost that grows with their number, not with that of the snapshots.

use std::collections::HashMap;

use negentropy::{Id, Negentropy, NegentropyStorageVector};
use serde::{Deserialize, Serialize};

use super::id::ManifestId;

/// Longest message, in bytes; what does not fit comes in a later one.
pub const MAX_MESSAGE_BYTES: usize = 48 << 10;
/// More round trips than are needed to learn of some 300,000 snapshots.
pub const MAX_ROUNDS: usize = 256;
const PURPOSE: &str = "bulbil/reconcile/1";

/// Drawn for one reconciliation. Text form: 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Salt([u8; 16]);

/// A snapshot's id under a salt. Text form: 64 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SaltedId([u8; 32]);

/// The other side does not speak this protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a message of the reconciliation makes no sense: {0}")]
pub struct ReconcileError(String);

impl From<negentropy::Error> for ReconcileError {
    fn from(error: negentropy::Error) -> Self {
        Self(error.to_string())
    }
}

impl Salt {
    /// Draws one.
    pub fn random(rng: &mut dyn rand_core::CryptoRng) -> Self {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// Reads one from a message.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// An id under this salt: keyed BLAKE3.
    pub fn hide(&self, id: &ManifestId) -> SaltedId {
        SaltedId(*blake3::keyed_hash(&self.key(), id.as_bytes()).as_bytes())
    }

    fn key(&self) -> [u8; 32] {
        blake3::derive_key(PURPOSE, &self.0)
    }
}

impl From<Salt> for String {
    fn from(salt: Salt) -> String {
        data_encoding::HEXLOWER.encode(&salt.0)
    }
}

impl TryFrom<String> for Salt {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or("a salt has 32 hex digits")
    }
}

impl From<SaltedId> for String {
    fn from(id: SaltedId) -> String {
        data_encoding::HEXLOWER.encode(&id.0)
    }
}

impl TryFrom<String> for SaltedId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or("a salted id has 64 hex digits")
    }
}

/// What one side has.
#[derive(Debug)]
pub struct SaltedSet {
    salt: Salt,
    storage: NegentropyStorageVector,
}

impl SaltedSet {
    /// These snapshots under this salt. 10⁵ of them take some 50 ms.
    pub fn new<'a>(salt: Salt, ids: impl IntoIterator<Item = &'a ManifestId>) -> Self {
        let key = salt.key();
        let mut storage = NegentropyStorageVector::new();
        for id in ids {
            let hidden = *blake3::keyed_hash(&key, id.as_bytes()).as_bytes();
            storage.insert(0, Id::from_byte_array(hidden)).expect("it is not sealed yet");
        }
        storage.seal().expect("it is not sealed yet");
        Self { salt, storage }
    }

    /// The salt.
    pub fn salt(&self) -> Salt {
        self.salt
    }

    /// The answering side: one message for one message, nothing is remembered in between.
    ///
    /// # Errors
    /// [`ReconcileError`].
    pub fn answer(&self, message: &[u8]) -> Result<Vec<u8>, ReconcileError> {
        let mut protocol = Negentropy::borrowed(&self.storage, MAX_MESSAGE_BYTES as u64)?;
        Ok(protocol.reconcile(message)?)
    }

    /// The asking side's first message.
    ///
    /// # Errors
    /// [`ReconcileError`].
    pub fn ask(&self) -> Result<(Asking<'_>, Vec<u8>), ReconcileError> {
        let mut protocol = Negentropy::borrowed(&self.storage, MAX_MESSAGE_BYTES as u64)?;
        let message = protocol.initiate()?;
        Ok((Asking { protocol }, message))
    }
}

/// The asking side, while it goes on.
pub struct Asking<'a> {
    protocol: Negentropy<'a, NegentropyStorageVector>,
}

impl Asking<'_> {
    /// Takes an answer in: what the other side has and this one lacks, as far as it is known now, and the next message, unless
    /// that was all.
    ///
    /// # Errors
    /// [`ReconcileError`].
    pub fn take(&mut self, answer: &[u8]) -> Result<(Vec<SaltedId>, Option<Vec<u8>>), ReconcileError> {
        let (mut have, mut need) = (Vec::new(), Vec::new());
        let next = self.protocol.reconcile_with_ids(answer, &mut have, &mut need)?;
        Ok((need.into_iter().map(|id| SaltedId(*id)).collect(), next))
    }
}

/// Finds snapshots by their salted ids.
pub fn unhide(salt: &Salt, wanted: &[SaltedId], ids: &[ManifestId]) -> Vec<ManifestId> {
    let key = salt.key();
    let known: HashMap<SaltedId, ManifestId> =
        ids.iter().map(|id| (SaltedId(*blake3::keyed_hash(&key, id.as_bytes()).as_bytes()), *id)).collect();
    wanted.iter().filter_map(|id| known.get(id).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn ids(from: u32, to: u32) -> Vec<ManifestId> {
        (from..to).map(|n| ManifestId::of(&n.to_be_bytes())).collect()
    }

    const SALT: Salt = Salt([7; 16]);

    /// What is found, in how many round trips, with how many bytes both ways.
    fn run(ours: &[ManifestId], theirs: &[ManifestId]) -> (BTreeSet<ManifestId>, usize, usize) {
        let (near, far) = (SaltedSet::new(SALT, ours), SaltedSet::new(SALT, theirs));
        let (mut asking, first) = near.ask().unwrap();
        let (mut found, mut next, mut rounds, mut bytes) = (Vec::new(), Some(first), 0, 0);
        while let Some(message) = next.take() {
            let answer = far.answer(&message).unwrap();
            rounds += 1;
            bytes += message.len() + answer.len();
            assert!(answer.len() <= MAX_MESSAGE_BYTES && rounds < MAX_ROUNDS);
            let (need, more) = asking.take(&answer).unwrap();
            found.extend(need);
            next = more;
        }
        (unhide(&SALT, &found, theirs).into_iter().collect(), rounds, bytes)
    }

    #[test]
    fn ten_holes_among_a_hundred_thousand_are_found_in_three_round_trips() {
        let all = ids(0, 100_000);
        let holes: BTreeSet<ManifestId> = all.iter().step_by(9_973).take(10).copied().collect();
        let ours: Vec<ManifestId> = all.iter().filter(|id| !holes.contains(id)).copied().collect();
        let (found, rounds, bytes) = run(&ours, &all);
        assert_eq!(found, holes);
        assert!(rounds <= 3 && bytes <= 15_000, "{rounds} round trips, {bytes} bytes");
    }

    #[test]
    fn the_same_sets_empty_sets_and_strangers() {
        let all = ids(0, 1000);
        assert_eq!(run(&all, &all).0, BTreeSet::new());
        assert_eq!(run(&[], &all).0, all.iter().copied().collect());
        assert_eq!(run(&all, &[]).0, BTreeSet::new());
        let others = ids(5000, 9000);
        assert_eq!(run(&all, &others).0, others.into_iter().collect());
    }

    #[test]
    fn garbage_is_refused_or_answered_shortly() {
        let set = SaltedSet::new(SALT, &ids(0, 10));
        for garbage in [&b""[..], b"\x00", b"\x61\xff\xff\xff\xff", &[0x61, 0, 0, 9]] {
            assert!(set.answer(garbage).map_or(0, |answer| answer.len()) < 2000, "{garbage:?}");
            let (mut asking, _) = set.ask().unwrap();
            assert!(asking.take(garbage).map_or(0, |(need, _)| need.len()) == 0, "{garbage:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_message_makes_it_panic(message: Vec<u8>) {
            let set = SaltedSet::new(SALT, &ids(0, 50));
            let _ = set.answer(&message);
            let (mut asking, _) = set.ask().unwrap();
            let _ = asking.take(&message);
        }
    }
}

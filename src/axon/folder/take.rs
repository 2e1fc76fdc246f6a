//! One item of a backup folder on its way to the shelf: its chunks into the store, its key, whether it is what its name says.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::amiss::Amiss;
use super::read::{ChunkFault, FolderItem};
use crate::axon::check::{Fault, Whole, chunk, read_into, read_through};
use crate::axon::pull::fresh;
use crate::domain::axon::cipher::CipherError;
use crate::domain::axon::key::Wrapper;
use crate::domain::axon::manifest::{ContentType, EnvelopeError, Manifest, kinds_of, may_become};
use crate::domain::axon::private::PrivateKey;
use crate::domain::crypto::secret::Secret;
use crate::store::axon::Item;
use crate::store::{ChunkStoreError, Store};

/// Longest plaintext that is looked into, in bytes.
pub(in crate::axon) const MAX_LOOKED_INTO: usize = 64 << 20;

/// Who opens what is in a backup.
#[derive(Debug)]
pub struct Keys {
    /// This instance's key first, then that of the backup's maker, if it was given.
    pub private: Vec<PrivateKey>,
    /// Wraps for this instance.
    pub own: Wrapper,
}

/// What became of one item.
#[derive(Debug)]
pub(in crate::axon) struct Taken {
    /// The manifest that the applet has from now on.
    pub manifest: Manifest,
    /// To be put on the shelf; `None` if nothing changes there.
    pub item: Option<Item>,
    /// What opens it; `None` if nobody here can.
    pub key: Option<Secret<32>>,
    /// All its chunks are here.
    pub whole: bool,
    /// Chunks that were copied, and their bytes.
    pub copied: (u64, u64),
    /// What is wrong with its chunks.
    pub faults: Vec<Amiss>,
    /// What is wrong with them where it came from, although they are here.
    pub amiss: Option<Amiss>,
    /// Why envelopes for those who open did not open; none if one did.
    pub envelopes: Vec<String>,
}

/// What looking into an item gave.
pub(super) enum Look {
    /// Its plaintext.
    Plain(zeroize::Zeroizing<Vec<u8>>),
    /// Nobody looks into anything as long as this.
    TooLong,
    /// It is not whole, or nobody here can open it.
    Not,
}

/// Why an item is not taken.
pub(in crate::axon) enum Refused {
    /// The store.
    Store(ChunkStoreError),
    /// A thread died, or a key of ours cannot be used.
    Died,
    /// The item is not what it says.
    Content(CipherError),
}

/// What is of the chunks of a manifest.
enum State {
    /// All here.
    Whole(Whole),
    /// Some are not.
    Holes,
}

pub(in crate::axon) struct Taking<'a> {
    pub store: &'a Store,
    pub keys: &'a Keys,
    pub skip_chunks: bool,
    pub now: Timestamp,
}

impl Taking<'_> {
    /// Takes one item. `known`: what the shelf has of it.
    pub(in crate::axon) fn take(
        &self,
        from: &FolderItem,
        kind: ContentType,
        known: Option<&Item>,
    ) -> Result<Taken, Refused> {
        let mut manifest = from.manifest.clone();
        let ours = known.and_then(|item| Manifest::parse(item.manifest.as_bytes()).ok());
        let same = ours.as_ref().is_some_and(|ours| ours.seals_the_same(&manifest));
        let mut faults = Vec::new();
        if let (Some(known), Some(ours)) = (known, &ours)
            && !same
            && known.complete
            && known.key.is_some()
        {
            // The plaintext is the same by its hash, and it was verified: what is here stays.
            let (manifest, key) = (ours.clone(), known.key.as_ref().map(copy));
            let item = with_kind(known, kind, self.now);
            let amiss = if self.skip_chunks { None } else { from.amiss_when_read() };
            return Ok(Taken {
                manifest,
                item,
                key,
                whole: true,
                copied: (0, 0),
                faults,
                amiss,
                envelopes: Vec::new(),
            });
        }
        let mut envelopes = Vec::new();
        let (key, by_own) = match self.unwrap(&manifest, &mut envelopes) {
            Some((key, by_own)) => (Some(key), by_own),
            None => (known.filter(|_| same).and_then(|item| item.key.as_ref()).map(copy), false),
        };
        let (mut copied, mut amiss) = ((0, 0), None);
        let mut state = self.chunks(from, &mut copied, &mut faults, &mut amiss)?;
        for again in [true, false] {
            if matches!(state, State::Holes) {
                break;
            }
            match self.read(&manifest, key.as_ref())? {
                State::Whole(whole) => {
                    state = State::Whole(whole);
                    break;
                }
                // What is in the store was damaged, and is put aside now; the folder has it.
                State::Holes if again => state = self.chunks(from, &mut copied, &mut faults, &mut amiss)?,
                State::Holes => {
                    faults.push(Amiss::here());
                    state = State::Holes;
                }
            }
        }
        envelopes.retain(|_| key.is_none());
        let whole = matches!(state, State::Whole(_));
        if let (Some(known), Some(ours)) = (known, ours)
            && !same
            && !whole
            && (known.complete || known.key.is_some() || key.is_none())
        {
            let (key, whole) = (known.key.as_ref().map(copy), known.complete);
            envelopes.retain(|_| key.is_none());
            let item = with_kind(known, kind, self.now);
            return Ok(Taken { manifest: ours, item, key, whole, copied, faults, amiss, envelopes });
        }
        if let Some(key) = &key
            && !by_own
        {
            manifest.add_envelope(&self.keys.own, key).map_err(|_| Refused::Died)?;
        }
        let mut kinds: BTreeSet<ContentType> = known.map(|item| item.kinds.clone()).unwrap_or_default();
        if kinds.is_empty() || may_become(&kinds, &kind) {
            kinds.insert(kind.clone());
        }
        if let State::Whole(whole) = &state {
            kinds = kinds_of(kinds, whole.says.as_ref());
        }
        let mut item = fresh(&manifest, kinds, key.as_ref().map(copy), self.now);
        if let State::Whole(whole) = state {
            item.chunks = manifest.chunk_hashes().iter().copied().zip(whole.sizes).collect();
            item.complete = true;
        }
        let item = match known {
            // It has the envelopes that somebody wanted it to have.
            Some(known) if same && !is_better(&item, known) => with_kind(known, kind, self.now),
            _ => Some(item),
        };
        Ok(Taken { manifest, item, key, whole, copied, faults, amiss, envelopes })
    }

    /// The key, from an envelope for one of those who open, and whether it was this instance's own. `closed`: why others did not open.
    fn unwrap(&self, manifest: &Manifest, closed: &mut Vec<String>) -> Option<(Secret<32>, bool)> {
        for private in &self.keys.private {
            match manifest.unwrap_key(private) {
                Ok(key) => return Some((key, private.public().name() == *self.keys.own.name())),
                Err(EnvelopeError::Missing) => {}
                Err(EnvelopeError::Key(cause)) => closed.push(format!("its envelope does not open: {cause}")),
            }
        }
        None
    }

    /// Brings what is not here into the store, each chunk compared before; what is here is compared there, too, and stays. What is whole
    /// is still to be read.
    fn chunks(
        &self,
        from: &FolderItem,
        copied: &mut (u64, u64),
        faults: &mut Vec<Amiss>,
        amiss: &mut Option<Amiss>,
    ) -> Result<State, Refused> {
        let (mut wrong, mut there, mut left) = (Vec::new(), Vec::new(), 0);
        for (index, id) in from.manifest.chunk_hashes().iter().enumerate() {
            let is_here = self.store.chunks.size(id).map_err(Refused::Store)?.is_some_and(|size| size > 0);
            if self.skip_chunks {
                left += usize::from(!is_here);
                continue;
            }
            match from.chunk(index) {
                Err(fault) if is_here => there.push(fault),
                Err(fault) => wrong.push(fault),
                Ok(_) if is_here => {}
                Ok(bytes) if bytes.is_empty() => wrong.push(ChunkFault::Wrong(index)),
                Ok(bytes) => {
                    self.store.chunks.write(id, &bytes).map_err(Refused::Store)?;
                    *copied = (copied.0 + 1, copied.1 + bytes.len() as u64);
                }
            }
        }
        let total = from.manifest.chunk_hashes().len();
        *amiss = Amiss::of(&there, total);
        if wrong.is_empty() && left == 0 {
            return Ok(State::Whole(Whole { sizes: Vec::new(), says: None }));
        }
        // What is said of some is said of all.
        if !wrong.is_empty() {
            wrong.extend(there);
            *amiss = None;
        }
        faults.extend(Amiss::of(&wrong, total));
        Ok(State::Holes)
    }

    /// Reads everything from the store again: through the decryptor with a key, else each chunk against its hash.
    fn read(&self, manifest: &Manifest, key: Option<&Secret<32>>) -> Result<State, Refused> {
        if let Some(key) = key {
            return match read_through(self.store, manifest, key) {
                Ok(whole) => Ok(State::Whole(whole)),
                Err(Fault::Holes(_)) => Ok(State::Holes),
                Err(Fault::Cipher(cause)) => Err(Refused::Content(cause)),
                Err(Fault::Store(cause)) => Err(Refused::Store(cause)),
                Err(Fault::Died) => Err(Refused::Died),
            };
        }
        let mut sizes = Vec::new();
        for id in manifest.chunk_hashes() {
            let Some(bytes) = chunk(self.store, id).map_err(Refused::Store)? else { return Ok(State::Holes) };
            sizes.push(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        }
        Ok(State::Whole(Whole { sizes, says: None }))
    }

    /// Looks into an item that was taken, whether it is new on the shelf or not.
    pub(super) fn look(&self, taken: &Taken) -> Result<Look, Refused> {
        let Some(key) = taken.key.as_ref().filter(|_| taken.whole) else { return Ok(Look::Not) };
        let mut total = 0;
        for id in taken.manifest.chunk_hashes() {
            total += self.store.chunks.size(id).map_err(Refused::Store)?.unwrap_or(0);
        }
        if total > MAX_LOOKED_INTO as u64 {
            return Ok(Look::TooLong);
        }
        let mut plain = zeroize::Zeroizing::new(Vec::with_capacity(total as usize));
        match read_into(self.store, &taken.manifest, key, &mut |bytes| plain.extend_from_slice(bytes)) {
            Ok(_) => Ok(Look::Plain(plain)),
            // It was whole when it was put on the shelf.
            Err(Fault::Holes(_)) => Ok(Look::Not),
            Err(Fault::Cipher(cause)) => Err(Refused::Content(cause)),
            Err(Fault::Store(cause)) => Err(Refused::Store(cause)),
            Err(Fault::Died) => Err(Refused::Died),
        }
    }
}

fn is_better(item: &Item, known: &Item) -> bool {
    item.complete && !known.complete || item.key.is_some() && known.key.is_none()
}

/// The item with one kind more; nothing if it has it already, or may not become that.
fn with_kind(item: &Item, kind: ContentType, now: Timestamp) -> Option<Item> {
    may_become(&item.kinds, &kind).then(|| Item {
        content_hash: item.content_hash,
        kinds: item.kinds.iter().cloned().chain([kind]).collect(),
        manifest: item.manifest.clone(),
        key: item.key.as_ref().map(copy),
        complete: item.complete,
        changed_at: now,
        chunks: item.chunks.clone(),
    })
}

fn copy(key: &Secret<32>) -> Secret<32> {
    Secret::from_slice(key.expose()).expect("a key of this length")
}

//! Bins: fragments are gathered here until they fill a chunk, which is then sealed by another thread.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};

use crate::domain::chunk::{ChunkBuilder, ChunkError, ChunkKind, ChunkRef, Padding, SealedChunk, Workbench};
use crate::domain::crypto::aead::SealKey;
use crate::domain::crypto::hash::FragmentHash;
use crate::domain::crypto::vault::MasterKey;
use crate::domain::id::CollectionId;
use crate::monitor::{Counter, Monitor};
use crate::store::index::NewChunk;
use crate::store::{ChunkStore, ChunkStoreError, entropy, seal_chunk_secret};

use super::dedup::{Fragments, Place, Slot};

/// A full bin on its way to a sealer.
pub struct SealJob {
    slot: Slot,
    builder: ChunkBuilder,
}

/// A chunk that is stored, though not durable yet.
pub struct Stored {
    slot: Slot,
    chunk: Arc<ChunkRef>,
    new: NewChunk,
}

/// Why a chunk could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// R14.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// It could not be written.
    #[error(transparent)]
    Store(#[from] ChunkStoreError),
}

/// What all sealers share.
pub struct SealerContext<'a> {
    /// Whose chunks they are.
    pub collection: CollectionId,
    /// zstd level.
    pub level: i32,
    /// Padding of chunks.
    pub padding: Padding,
    /// Seals their keys for the index.
    pub master: &'a MasterKey,
    /// Where they go.
    pub chunks: &'a dyn ChunkStore,
    /// Hears of them.
    pub monitor: &'a dyn Monitor,
}

/// Seals and stores chunks until there are no more jobs.
pub fn run_sealer(context: &SealerContext<'_>, jobs: &Receiver<SealJob>, done: &Sender<Result<Stored, SealError>>) {
    let mut bench = Workbench::new(context.level);
    for SealJob { slot, builder } in jobs {
        let result = seal(context, builder, &mut bench).map(|(chunk, new)| Stored { slot, chunk, new });
        if done.send(result).is_err() {
            return;
        }
    }
}

fn seal(
    context: &SealerContext<'_>,
    builder: ChunkBuilder,
    bench: &mut Workbench,
) -> Result<(Arc<ChunkRef>, NewChunk), SealError> {
    let key = SealKey::random(&mut entropy());
    let SealedChunk { id, key, stored, fragments, .. } =
        builder.seal(&context.collection, key, context.padding, bench)?;
    context.chunks.write(&id, &stored)?;
    context.monitor.add(Counter::Chunks, 1);
    context.monitor.add(Counter::ChunkBytes, stored.len() as u64);
    let sealed = seal_chunk_secret(context.master, &id, &key, fragments);
    let new = NewChunk { id, size_bytes: stored.len() as u32, sealed };
    Ok((Arc::new(ChunkRef { id, key }), new))
}

/// The bins of one run, and what became of them.
pub struct Bins {
    open: [Bin; 3],
    jobs: Sender<SealJob>,
    done: Receiver<Result<Stored, SealError>>,
    under_way: usize,
    /// Chunks stored in this run.
    pub new_chunks: Vec<NewChunk>,
}

struct Bin {
    kind: ChunkKind,
    compress: bool,
    open: Option<(Slot, ChunkBuilder)>,
}

/// Which bin.
#[derive(Debug, Clone, Copy)]
pub enum BinKind {
    /// File content that compresses.
    Plain = 0,
    /// File content that does not.
    Dense = 1,
    /// Metadata nodes.
    Meta = 2,
}

/// The sealers are gone: one of them failed, and its error was already taken.
const GONE: SealError = SealError::Chunk(ChunkError::NotReproducible);

impl Bins {
    /// Empty bins. `jobs` leads to the sealers, `done` comes from them.
    pub fn new(jobs: Sender<SealJob>, done: Receiver<Result<Stored, SealError>>) -> Self {
        let bin = |kind, compress| Bin { kind, compress, open: None };
        Self {
            open: [bin(ChunkKind::Data, true), bin(ChunkKind::Data, false), bin(ChunkKind::Meta, true)],
            jobs,
            done,
            under_way: 0,
            new_chunks: Vec::new(),
        }
    }

    /// Puts a fragment into a bin and remembers it.
    ///
    /// # Errors
    /// [`SealError`] of any chunk sealed meanwhile.
    pub fn put(
        &mut self,
        fragments: &mut Fragments,
        kind: BinKind,
        name: FragmentHash,
        bytes: &[u8],
    ) -> Result<Place, SealError> {
        if self.open[kind as usize].open.as_ref().is_some_and(|(_, builder)| !builder.has_room_for(bytes.len())) {
            self.flush(kind)?;
        }
        let bin = &mut self.open[kind as usize];
        let (slot, builder) =
            bin.open.get_or_insert_with(|| (fragments.reserve(), ChunkBuilder::new(bin.kind, bin.compress)));
        let place = Place { slot: *slot, offset: builder.push(name, bytes), len: bytes.len() as u32 };
        let full = builder.is_full();
        fragments.insert(name, place);
        if full {
            self.flush(kind)?;
        }
        Ok(place)
    }

    /// Sends what is in a bin to a sealer.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn flush(&mut self, kind: BinKind) -> Result<(), SealError> {
        if let Some((slot, builder)) = self.open[kind as usize].open.take() {
            self.jobs.send(SealJob { slot, builder }).map_err(|_| GONE)?;
            self.under_way += 1;
        }
        Ok(())
    }

    /// Takes note of sealed chunks without waiting; true if there were any.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn collect(&mut self, fragments: &mut Fragments) -> Result<bool, SealError> {
        let mut any = false;
        while let Ok(result) = self.done.try_recv() {
            self.note(fragments, result?);
            any = true;
        }
        Ok(any)
    }

    /// Waits until everything that was sent to a sealer is stored.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn settle(&mut self, fragments: &mut Fragments) -> Result<(), SealError> {
        while self.under_way > 0 {
            let result = self.done.recv().map_err(|_| GONE)?;
            self.note(fragments, result?);
        }
        Ok(())
    }

    fn note(&mut self, fragments: &mut Fragments, stored: Stored) {
        fragments.resolve(stored.slot, stored.chunk);
        self.new_chunks.push(stored.new);
        self.under_way -= 1;
    }
}

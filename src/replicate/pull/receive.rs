//! One stream of chunks: each is compared with its name before it is stored (R13), all are durable before the index knows
//! them (R8), and of a stream that breaks off what came before is kept.
//!
//! In memory there is one chunk at a time, however long the stream is; when it breaks within a chunk, what came of that is
//! kept, and the next time only the rest is fetched.

use std::collections::HashMap;
use std::future::Future;

use tokio_util::sync::CancellationToken;

use super::line::Line;
use super::pace::Turns;
use super::parts::Parts;
use super::{Lie, PullError, Puller, Wrong};
use crate::domain::id::ChunkId;
use crate::domain::manifest::SegmentSummary;
use crate::domain::segment::Segment;
use crate::domain::wire::frame::Event;
use crate::replicate::call::{ChunkStream, Read};
use crate::store::blocking;
use crate::store::incoming::check_object;
use crate::store::{ChunkStore, ChunkStoreError, IndexError, Store};

/// A chunk or segment that is to be brought here.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) id: ChunkId,
    pub(super) size_bytes: u32,
    /// For a segment: what manifests say of it.
    pub(super) segment: Option<Vec<SegmentSummary>>,
}

/// Who wants to know what comes, while it comes.
pub(super) trait Watch: Sync {
    /// So many bytes came.
    fn received(&self, bytes: usize);
    /// So many bytes of an object are here, which is not whole yet.
    fn arrived(&self, id: &ChunkId, bytes: usize);
    /// What came of an object is of no use.
    fn in_vain(&self, id: &ChunkId);
    /// Whether an object is still wanted: another stream may have brought it.
    fn is_wanted(&self, id: &ChunkId) -> bool;
    /// An object is in the chunk store.
    fn stored(&self, id: &ChunkId);
}

/// What became of a batch. Of what is named nowhere nothing came.
#[derive(Default)]
pub(super) struct End {
    /// The stream is whole: what did not come the peer does not have.
    pub(super) whole: bool,
    /// The peer does not have it.
    pub(super) missing: Vec<Wanted>,
    /// The peer sent something else.
    pub(super) bad: Vec<(Wanted, Wrong)>,
    /// What is here now.
    pub(super) stored: Stored,
    /// Why it ended early, unless it was cut.
    pub(super) error: Option<PullError>,
}

/// Objects that are in the chunk store, verified, and about to be noted.
#[derive(Default)]
pub(super) struct Stored {
    pub(super) chunks: Vec<(ChunkId, u32)>,
    pub(super) segments: Vec<(Wanted, Segment)>,
}

impl Stored {
    fn push(&mut self, wanted: Wanted, segment: Option<Segment>) {
        match segment {
            Some(segment) => self.segments.push((wanted, segment)),
            None => self.chunks.push((wanted.id, wanted.size_bytes)),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.chunks.len() + self.segments.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.chunks.iter().map(|(_, size)| u64::from(*size)).sum()
    }
}

/// One batch, while it is fetched.
pub(super) struct Batch<'a> {
    pub(super) puller: &'a Puller,
    pub(super) line: &'a Line,
    /// Ends the stream; what came until then is kept.
    pub(super) cut: &'a CancellationToken,
    pub(super) parts: &'a Parts,
    pub(super) watch: &'a dyn Watch,
}

/// Not answered yet, and what was.
struct Open {
    wanted: HashMap<ChunkId, Wanted>,
    end: End,
}

/// Why a stream ended early.
enum Early {
    Cut,
    Failed(PullError),
}

impl Early {
    fn error(self) -> Option<PullError> {
        match self {
            Early::Cut => None,
            Early::Failed(error) => Some(error),
        }
    }
}

impl<E: Into<PullError>> From<E> for Early {
    fn from(error: E) -> Self {
        Early::Failed(error.into())
    }
}

impl Batch<'_> {
    /// Fetches a batch. Dropped before its end, what came is adopted the next time.
    pub(super) async fn receive(&self, batch: Vec<Wanted>) -> End {
        let mut ids: Vec<ChunkId> = batch.iter().map(|wanted| wanted.id).collect();
        let wanted = batch.into_iter().map(|wanted| (wanted.id, wanted)).collect();
        let mut open = Open { wanted, end: End::default() };
        match self.streams(&mut ids, &mut open).await {
            Ok(()) => {
                open.end.whole = true;
                // The stream is whole and says nothing of these.
                open.end.missing.extend(open.wanted.into_values());
            }
            Err(early) => open.end.error = early.error(),
        }
        let mut end = open.end;
        match note(self.puller, &end.stored).await {
            Ok(contradictions) => {
                let (bad, good): (Vec<_>, Vec<_>) =
                    end.stored.segments.drain(..).partition(|(wanted, _)| contradictions.contains(&wanted.id));
                good.iter().for_each(|(wanted, _)| self.watch.stored(&wanted.id));
                end.stored.segments = good;
                end.bad.extend(bad.into_iter().map(|(wanted, _)| (wanted, Wrong::Contradiction)));
            }
            Err(error) => {
                end.stored = Stored::default();
                end.error = Some(error);
            }
        }
        end
    }

    /// First the rests of chunks that had begun to come, then everything else in one stream.
    async fn streams(&self, ids: &mut Vec<ChunkId>, open: &mut Open) -> Result<(), Early> {
        for id in ids.iter() {
            if let Some(part) = self.parts.take(id) {
                self.rest(id, part, open).await?;
            }
        }
        ids.retain(|id| open.wanted.contains_key(id));
        if ids.is_empty() {
            return Ok(());
        }
        let call = self.puller.caller.chunks(&self.line.callee, ids);
        let mut stream = self.unless_cut(self.line.ask(call)).await??;
        let result = self.stream(&mut stream, open).await;
        if result.is_err()
            && let Some((id, part)) = stream.into_part()
            && open.wanted.contains_key(&id)
        {
            self.keep_part(id, part);
        }
        result
    }

    fn keep_part(&self, id: ChunkId, part: Vec<u8>) {
        if !self.parts.keep(id, part) {
            self.watch.in_vain(&id);
        }
    }

    async fn stream(&self, stream: &mut ChunkStream, open: &mut Open) -> Result<(), Early> {
        let mut turns = self.puller.pace.turns();
        loop {
            let read = self.line.cancel.run_until_cancelled(stream.read());
            let read = self.unless_cut(read).await?.ok_or(PullError::Cancelled)?;
            let (id, bytes) = match read.map_err(|cause| self.line.failed(cause))? {
                Read::End => return Ok(()),
                Read::Bytes(bytes) => {
                    self.count(bytes, &mut turns).await?;
                    continue;
                }
                Read::Part(id, bytes) => {
                    if open.wanted.contains_key(&id) {
                        self.watch.arrived(&id, bytes);
                    }
                    continue;
                }
                Read::Event(Event::Chunk { id, bytes }) => (id, Some(bytes)),
                Read::Event(Event::Missing { id }) => (id, None),
                Read::Event(Event::End) => continue,
            };
            let wanted = open.wanted.remove(&id).ok_or_else(|| self.line.lied(Lie::NotAskedFor(id)))?;
            match bytes {
                None => open.end.missing.push(wanted),
                Some(bytes) => {
                    if let Err((wanted, wrong)) = self.keep(wanted, bytes, open).await? {
                        open.end.bad.push((wanted, wrong));
                    }
                }
            }
        }
    }

    /// Fetches what is lacking of a chunk. What does not become right that way stays open.
    async fn rest(&self, id: &ChunkId, mut part: Vec<u8>, open: &mut Open) -> Result<(), Early> {
        let Some(wanted) = open.wanted.get(id) else { return Ok(()) };
        let len = wanted.size_bytes as usize;
        if part.len() >= len {
            return Ok(());
        }
        let call = self.puller.caller.rest_of_chunk(&self.line.callee, id, part.len());
        let mut body = match self.unless_cut(self.line.ask(call)).await {
            Ok(Ok(Some(body))) => body,
            Ok(Ok(None)) => return Ok(()),
            failed => {
                self.keep_part(*id, part);
                return failed?.map(|_| ()).map_err(Early::from);
            }
        };
        let mut turns = self.puller.pace.turns();
        let result = loop {
            let piece = match self.unless_cut(self.line.cancel.run_until_cancelled(body.next())).await {
                Err(cut) => break Err(cut),
                Ok(None) => break Err(PullError::Cancelled.into()),
                Ok(Some(Err(cause))) => break Err(self.line.failed(cause.into()).into()),
                Ok(Some(Ok(None))) => break Ok(()),
                Ok(Some(Ok(Some(piece)))) => piece,
            };
            let counted = self.count(piece.len(), &mut turns).await;
            if part.len() + piece.len() > len {
                return Ok(());
            }
            part.extend_from_slice(&piece);
            self.watch.arrived(id, part.len());
            if counted.is_err() {
                break counted;
            }
        };
        if result.is_err() {
            self.keep_part(*id, part);
            return result;
        }
        let Some(wanted) = open.wanted.remove(id) else { return Ok(()) };
        if let Err((wanted, _)) = self.keep(wanted, part, open).await? {
            open.wanted.insert(*id, wanted);
        }
        Ok(())
    }

    /// Stores what is right, and gives back what is not.
    async fn keep(
        &self,
        wanted: Wanted,
        bytes: Vec<u8>,
        open: &mut Open,
    ) -> Result<Result<(), (Wanted, Wrong)>, PullError> {
        if !self.watch.is_wanted(&wanted.id) {
            return Ok(Ok(()));
        }
        let store = self.puller.store.clone();
        let (wanted, kept) = blocking(move || {
            let kept = keep(&store, &wanted, &bytes);
            (wanted, kept)
        })
        .await;
        match kept? {
            Err(wrong) => {
                self.watch.in_vain(&wanted.id);
                return Ok(Err((wanted, wrong)));
            }
            Ok(segment) => {
                if segment.is_none() {
                    self.watch.stored(&wanted.id);
                }
                open.end.stored.push(wanted, segment);
            }
        }
        Ok(Ok(()))
    }

    /// Counts what came when its turn has come; until then nothing more is read, so that the sender waits, too.
    async fn count(&self, mut bytes: usize, turns: &mut Turns<'_>) -> Result<(), Early> {
        while bytes > 0 {
            let taken = self.line.cancel.run_until_cancelled(turns.take(bytes));
            let taken = self.unless_cut(taken).await?.ok_or(PullError::Cancelled)?;
            self.watch.received(taken);
            bytes -= taken;
        }
        Ok(())
    }

    async fn unless_cut<T>(&self, work: impl Future<Output = T>) -> Result<T, Early> {
        self.cut.run_until_cancelled(work).await.ok_or(Early::Cut)
    }
}

/// Stores bytes that are right.
fn keep(store: &Store, wanted: &Wanted, bytes: &[u8]) -> Result<Result<Option<Segment>, Wrong>, ChunkStoreError> {
    let checked = check(wanted, bytes);
    if checked.is_ok() {
        store.chunks.write(&wanted.id, bytes)?;
    }
    Ok(checked)
}

/// Whether bytes are what is wanted; of a segment, what it says.
fn check(wanted: &Wanted, bytes: &[u8]) -> Result<Option<Segment>, Wrong> {
    check_object(&wanted.id, wanted.size_bytes, wanted.segment.as_deref(), bytes)
}

/// What became of objects that may be here already.
pub(super) struct Adopted {
    /// Still to be fetched.
    pub(super) absent: Vec<Wanted>,
    /// Here now.
    pub(super) here: Vec<ChunkId>,
    /// Here, and cannot be right.
    pub(super) wrong: Vec<(Wanted, Wrong)>,
}

/// What is here already, from a run that was killed: verified, and noted. What does not hold is put aside.
pub(super) async fn adopt(puller: &Puller, wanted: Vec<Wanted>) -> Result<Adopted, PullError> {
    let chunks = puller.store.chunks.clone();
    let (absent, stored, mut wrong) = blocking(move || look(&*chunks, wanted)).await?;
    let contradictions = note(puller, &stored).await?;
    let mut here: Vec<ChunkId> = stored.chunks.iter().map(|(id, _)| *id).collect();
    for (wanted, _) in stored.segments {
        if contradictions.contains(&wanted.id) {
            wrong.push((wanted, Wrong::Contradiction));
        } else {
            here.push(wanted.id);
        }
    }
    Ok(Adopted { absent, here, wrong })
}

type Looked = (Vec<Wanted>, Stored, Vec<(Wanted, Wrong)>);

fn look(chunks: &dyn ChunkStore, wanted: Vec<Wanted>) -> Result<Looked, ChunkStoreError> {
    let (mut absent, mut stored, mut wrong) = (Vec::new(), Stored::default(), Vec::new());
    for wanted in wanted {
        if chunks.size(&wanted.id)?.is_none() {
            absent.push(wanted);
            continue;
        }
        let checked = match chunks.read(&wanted.id) {
            Ok(bytes) => check(&wanted, &bytes),
            Err(ChunkStoreError::TooLong { .. }) => Err(Wrong::Bytes),
            // Its place is taken by what a peer sends, which has the same bytes; the old file is kept if it can be.
            Err(error) if error.is_of_the_disk() => {
                if let Err(error) = chunks.quarantine(&wanted.id) {
                    tracing::warn!(chunk.id = %wanted.id, %error, "what the disk does not give stays where it is");
                }
                absent.push(wanted);
                continue;
            }
            Err(error) => return Err(error),
        };
        match checked {
            Ok(segment) => stored.push(wanted, segment),
            Err(Wrong::Bytes) => {
                chunks.quarantine(&wanted.id)?;
                absent.push(wanted);
            }
            Err(other) => wrong.push((wanted, other)),
        }
    }
    Ok((absent, stored, wrong))
}

/// Makes what was stored durable, then tells the index. Answers segments that contradict what is known.
async fn note(puller: &Puller, stored: &Stored) -> Result<Vec<ChunkId>, PullError> {
    if stored.len() == 0 {
        return Ok(Vec::new());
    }
    let chunks = puller.store.chunks.clone();
    blocking(move || chunks.sync()).await?;
    let index = &puller.store.index;
    if !stored.chunks.is_empty() {
        index.chunks_arrived(&stored.chunks).await?;
    }
    let mut contradictions = Vec::new();
    for (wanted, segment) in &stored.segments {
        match index.note_segment(segment).await {
            // Nobody names it any more.
            Ok(()) | Err(IndexError::NoSuchSegment { .. }) => {}
            Err(IndexError::ChunkElsewhere { .. } | IndexError::Contradiction { .. }) => contradictions.push(wanted.id),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(contradictions)
}

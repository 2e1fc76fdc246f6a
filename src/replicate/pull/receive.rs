//! One stream of chunks: each is compared with its name before it is stored (R13), all are durable before the index knows
//! them (R8), and of a stream that breaks off what came before is kept.
//!
//! In memory there is one chunk at a time, however long the stream is.

use std::collections::HashMap;

use super::line::Line;
use super::{Lie, PullError, Puller, Wrong};
use crate::domain::id::ChunkId;
use crate::domain::manifest::SegmentSummary;
use crate::domain::segment::Segment;
use crate::domain::wire::frame::Event;
use crate::monitor::Counter;
use crate::replicate::serve::blocking;
use crate::store::{ChunkStore, ChunkStoreError, IndexError, Store};

/// A chunk or segment that is to be brought here.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) id: ChunkId,
    pub(super) size_bytes: u32,
    /// For a segment: what manifests say of it.
    pub(super) segment: Option<Vec<SegmentSummary>>,
}

/// What became of a batch.
#[derive(Default)]
pub(super) struct End {
    /// Not answered: to be asked for again.
    pub(super) left: Vec<Wanted>,
    /// The peer does not have it.
    pub(super) missing: Vec<Wanted>,
    /// The peer sent something else.
    pub(super) bad: Vec<(Wanted, Wrong)>,
    /// What is here now.
    pub(super) stored: Stored,
    /// Why it ended early.
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

/// Fetches a batch from a peer. Dropped before its end, what came is adopted the next time.
pub(super) async fn receive(puller: &Puller, line: &Line, batch: Vec<Wanted>) -> End {
    let ids: Vec<ChunkId> = batch.iter().map(|wanted| wanted.id).collect();
    let mut open: HashMap<ChunkId, Wanted> = batch.into_iter().map(|wanted| (wanted.id, wanted)).collect();
    let mut end = End::default();
    if let Err(error) = stream(puller, line, &ids, &mut open, &mut end).await {
        end.error = Some(error);
        end.left = open.into_values().collect();
    } else {
        // The stream is whole and says nothing of these.
        end.missing.extend(open.into_values());
    }
    match note(puller, &end.stored).await {
        Ok(contradictions) => {
            let (bad, good) =
                end.stored.segments.drain(..).partition(|(wanted, _)| contradictions.contains(&wanted.id));
            end.stored.segments = good;
            let bad: Vec<(Wanted, Segment)> = bad;
            end.bad.extend(bad.into_iter().map(|(wanted, _)| (wanted, Wrong::Contradiction)));
        }
        Err(error) => {
            end.stored = Stored::default();
            end.error = Some(error);
        }
    }
    end
}

async fn stream(
    puller: &Puller,
    line: &Line,
    ids: &[ChunkId],
    open: &mut HashMap<ChunkId, Wanted>,
    end: &mut End,
) -> Result<(), PullError> {
    let mut stream = line.ask(puller.caller.chunks(&line.callee, ids)).await?;
    loop {
        let event = line.cancel.run_until_cancelled(stream.next()).await.ok_or(PullError::Cancelled)?;
        let (id, bytes) = match event.map_err(|cause| line.failed(cause))? {
            None => return Ok(()),
            Some(Event::Chunk { id, bytes }) => (id, Some(bytes)),
            Some(Event::Missing { id }) => (id, None),
            Some(Event::End) => continue,
        };
        let wanted = open.remove(&id).ok_or_else(|| line.lied(Lie::NotAskedFor(id)))?;
        let Some(bytes) = bytes else {
            end.missing.push(wanted);
            continue;
        };
        let store = puller.store.clone();
        let (wanted, kept) = blocking(move || {
            let kept = keep(&store, &wanted, &bytes);
            (wanted, kept)
        })
        .await;
        match kept {
            Ok(Ok(segment)) => {
                if segment.is_none() {
                    puller.monitor.add(Counter::Chunks, 1);
                    puller.monitor.add(Counter::ChunkBytes, u64::from(wanted.size_bytes));
                }
                end.stored.push(wanted, segment);
            }
            Ok(Err(wrong)) => end.bad.push((wanted, wrong)),
            Err(error) => {
                end.left.push(wanted);
                return Err(error.into());
            }
        }
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
    if ChunkId::of(bytes) != wanted.id {
        return Err(Wrong::Bytes);
    }
    if bytes.len() != wanted.size_bytes as usize {
        return Err(Wrong::Length { expected: wanted.size_bytes, got: bytes.len() });
    }
    let Some(summaries) = &wanted.segment else { return Ok(None) };
    let segment = Segment::parse(bytes).map_err(|_| Wrong::NotASegment)?;
    let summary = SegmentSummary::from(&segment);
    if summaries.iter().any(|said| *said != summary) {
        return Err(Wrong::Contradiction);
    }
    Ok(Some(segment))
}

/// What is here already, from a run that was killed: verified, and noted. What does not hold is put aside. Answers what is
/// still to be fetched, and what is here and cannot be right.
pub(super) async fn adopt(
    puller: &Puller,
    wanted: Vec<Wanted>,
) -> Result<(Vec<Wanted>, Vec<(Wanted, Wrong)>), PullError> {
    let chunks = puller.store.chunks.clone();
    let (absent, stored, mut wrong) = blocking(move || look(&*chunks, wanted)).await?;
    let contradictions = note(puller, &stored).await?;
    let contradicting = stored.segments.into_iter().filter(|(wanted, _)| contradictions.contains(&wanted.id));
    wrong.extend(contradicting.map(|(wanted, _)| (wanted, Wrong::Contradiction)));
    Ok((absent, wrong))
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

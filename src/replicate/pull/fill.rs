//! What is missing, and who has it: filled from the index piece by piece, so that memory does not grow with what is missing.

use std::collections::HashMap;

use super::PullError;
use super::fetch::Run;
use super::receive::{Wanted, adopt};
use crate::domain::fetch::PeerNo;
use crate::domain::id::{ChunkId, CollectionId};
use crate::domain::manifest::SegmentSummary;
use crate::domain::wire::messages::MAX_IDS;
use crate::monitor::Problem;
use crate::store::blocking;

/// Objects that are added at once.
const WINDOW: usize = 4096;
/// So often a peer is asked what it has before it is left alone.
const ATTEMPTS: usize = 2;

/// What is to be fetched.
#[derive(Clone, Copy)]
pub(super) enum What<'a> {
    Segments,
    /// Of one collection or of all.
    Chunks(Option<&'a CollectionId>),
    /// Chunks that were here and are lost.
    Lost,
}

/// What manifests of incomplete snapshots say of their segments.
pub(super) type Summaries = HashMap<ChunkId, Vec<SegmentSummary>>;

impl Run {
    /// Adds what is missing and not wanted yet. Answers whether that was all.
    pub(super) async fn fill(&self, what: What<'_>) -> Result<bool, PullError> {
        let known = {
            let scheduler = self.scheduler();
            scheduler.wanted() + scheduler.settled().1.len()
        };
        let limit = WINDOW + known;
        let index = &self.puller.store.index;
        let mut missing = match what {
            What::Segments => index.missing_segments(limit).await?,
            What::Chunks(collection) => index.missing_chunks(collection, limit).await?,
            What::Lost => index.lost_chunks(limit).await?,
        };
        let all = missing.len() < limit;
        {
            let scheduler = self.scheduler();
            let lost = scheduler.settled().1;
            missing.retain(|(id, _)| !scheduler.is_wanted(id) && !lost.contains(id));
        }
        if missing.is_empty() || !self.anybody_left() {
            return Ok(true);
        }
        let said = match what {
            What::Segments => Some(self.summaries().await?),
            What::Chunks(_) | What::Lost => None,
        };
        let wanted = missing.into_iter().map(|(id, size_bytes)| {
            let segment = said.map(|said| said.get(&id).cloned().unwrap_or_default());
            Wanted { id, size_bytes, segment }
        });
        let adopted = adopt(&self.puller, wanted.collect()).await?;
        for (wanted, wrong) in adopted.wrong {
            // What is here and cannot be right is nobody's to send.
            let text =
                format!("chunk {} is of no use: {wrong}. Its snapshot cannot become complete", wanted.id.short());
            if let [source] = &self.sources[..] {
                source.line.problem(text);
            } else {
                self.puller.monitor.problem(Problem { subject: wanted.id.to_string(), message: text });
            }
            self.want(wanted, &[]);
        }
        self.ask_who_has(adopted.absent).await?;
        Ok(all)
    }

    async fn summaries(&self) -> Result<&Summaries, PullError> {
        let read = async {
            let mut snapshots = self.puller.store.index.snapshots(None).await?;
            snapshots.retain(|snapshot| !snapshot.complete);
            let files = self.puller.store.manifests.clone();
            let read = move || {
                let mut said = Summaries::new();
                for snapshot in snapshots {
                    // One that is damaged here is 'bulbil verify's concern.
                    let Ok((signed, _)) = files.load(&snapshot.id) else { continue };
                    for summary in signed.manifest.segments {
                        let known = said.entry(summary.id).or_default();
                        if !known.contains(&summary) {
                            known.push(summary);
                        }
                    }
                }
                said
            };
            Ok(blocking(read).await)
        };
        self.said.get_or_try_init(|| read).await
    }

    /// Asks each of several peers which objects it has; a single one is asked for the objects themselves.
    async fn ask_who_has(&self, wanted: Vec<Wanted>) -> Result<(), PullError> {
        let answers = (0..self.sources.len()).map(|at| self.has(at, &wanted));
        let answers = futures_util::future::join_all(answers).await;
        let mut holders: HashMap<ChunkId, Vec<PeerNo>> = HashMap::new();
        for (at, ids) in answers.into_iter().enumerate() {
            for id in ids? {
                holders.entry(id).or_default().push(PeerNo(at));
            }
        }
        for wanted in wanted {
            let holders = holders.remove(&wanted.id).unwrap_or_default();
            self.want(wanted, &holders);
        }
        Ok(())
    }

    /// What a peer may have of this.
    async fn has(&self, at: usize, wanted: &[Wanted]) -> Result<Vec<ChunkId>, PullError> {
        let (line, shared) = (&self.sources[at].line, &self.puller.shared);
        let mut ids: Vec<ChunkId> = wanted.iter().map(|wanted| wanted.id).collect();
        if self.quiet {
            shared.retain_present_objects(&line.id, &mut ids);
        }
        if self.sources.len() == 1 {
            return Ok(ids);
        }
        let mut found = Vec::new();
        for batch in ids.chunks(MAX_IDS) {
            for attempt in 1..=ATTEMPTS {
                if self.scheduler().is_retired(PeerNo(at)) {
                    return Ok(found);
                }
                match line.ask(self.puller.caller.have(&line.callee, batch)).await {
                    Ok(bits) => {
                        found.extend(batch.iter().zip(bits).filter(|(_, has)| *has).map(|(id, _)| *id));
                        break;
                    }
                    Err(error) => self.failed(at, error, attempt == ATTEMPTS)?,
                }
            }
        }
        Ok(found)
    }
}

//! Figures of each collection: snapshots, runs, drills, copies.

use std::collections::HashMap;

use jiff::Timestamp;

use super::catalog::*;
use super::seconds;
use super::text::{Labels, Page};
use crate::domain::id::ManifestId;
use crate::domain::run::RunKind;
use crate::domain::schedule::Work;
use crate::replicate::prove;
use crate::store::index::{Collection, Mark, RunResult, Snapshot};
use crate::store::{IndexError, Store};

/// So many drills are looked at to find one that was good.
const DRILLS_LOOKED_AT: u32 = 50;

pub(super) async fn gather(page: &mut Page, store: &Store, now: Timestamp) -> Result<(), IndexError> {
    let (marks, targets) = (store.index.marks().await?, store.index.target_copies().await?);
    let mut open = HashMap::new();
    for run in store.index.open_runs().await? {
        *open.entry(run.kind.word()).or_insert(0) += 1;
    }
    for kind in RunKind::all() {
        page.add(RUNNING, &[("work", kind.word())], open.get(kind.word()).copied().unwrap_or(0));
    }
    let counted = store.index.count_runs().await?;
    for (_, kind, result, number) in counted.iter().filter(|counted| counted.0.is_none()) {
        page.add(RUNS, &[("work", kind.word()), ("result", result.word())], number);
    }
    for collection in store.index.collections().await? {
        let name = collection.name.as_str();
        snapshots(page, store, &collection, &marks, now).await?;
        runs(page, store, &collection).await?;
        for (_, kind, result, number) in counted.iter().filter(|counted| counted.0 == Some(collection.id)) {
            page.add(RUNS, &[("collection", name), ("work", kind.word()), ("result", result.word())], number);
        }
        if store.keys.is_ours(&collection.origin) {
            let copies = prove::copies(store, &collection.id).await?;
            let proved = copies.iter().filter(|copy| copy.is_proved(now)).count();
            page.add(PROVED, &[("collection", name)], proved);
            for copy in copies {
                let labels = [("collection", name), ("peer", copy.name.as_str())];
                page.add(COPY_PROVED, &labels, u8::from(copy.is_proved(now)));
                page.add(COPY_AT, &labels, seconds(copy.last.proof.proved_at));
                page.add(COPY_BEHIND, &labels, copy.last.behind);
            }
        }
        for copy in targets.iter().filter(|copy| copy.collection == collection.id) {
            let labels = [("collection", name), ("target", copy.target.as_str())];
            if let Some((at, _)) = copy.copied {
                page.add(TARGET_COPIED, &labels, seconds(at));
            }
            if let Some((at, _)) = copy.verified {
                page.add(TARGET_VERIFIED, &labels, seconds(at));
            }
            page.add(TARGET_FAILED, &labels, u8::from(copy.failed.is_some()));
        }
    }
    Ok(())
}

async fn snapshots(
    page: &mut Page,
    store: &Store,
    collection: &Collection,
    marks: &HashMap<ManifestId, Mark>,
    now: Timestamp,
) -> Result<(), IndexError> {
    let labels: Labels<'_> = &[("collection", collection.name.as_str())];
    if let Some((_, at)) = store.index.last_good(&collection.id, now).await? {
        page.add(VERIFIED, labels, seconds(at));
    }
    if let Some(hours) = collection.upkeep.rpo_hours {
        page.add(RPO, labels, u64::from(hours) * 3600);
    }
    let snapshots = store.index.snapshots(Some(&collection.id)).await?;
    for state in STATES {
        let number = snapshots.iter().filter(|snapshot| state_of(snapshot, marks.get(&snapshot.id)) == state).count();
        page.add(SNAPSHOTS, &[("collection", collection.name.as_str()), ("state", state)], number);
    }
    if let Some(newest) = snapshots.iter().filter(|s| s.complete && !s.partial).max_by_key(|s| s.created_at) {
        page.add(NEWEST, labels, seconds(newest.created_at));
        page.add(NEWEST_BYTES, labels, newest.chunk_bytes);
    }
    page.add(STORED, labels, store.index.named_by(&collection.id).await?.bytes);
    let (chunks, bytes) = store.index.count_missing(Some(&collection.id)).await?;
    page.add(MISSING_CHUNKS, labels, chunks);
    page.add(MISSING_BYTES, labels, bytes);
    Ok(())
}

const STATES: [&str; 6] = ["verified", "unverified", "suspect", "incomplete", "partial", "beside"];

/// Each snapshot is in one state: the first that says why it is not simply a good one.
fn state_of(snapshot: &Snapshot, mark: Option<&Mark>) -> &'static str {
    match mark {
        _ if snapshot.beside => "beside",
        _ if snapshot.partial => "partial",
        _ if !snapshot.complete => "incomplete",
        Some(mark) if mark.flagged.is_some() => "suspect",
        Some(mark) if mark.whole_at.or(mark.verified_at).is_some() => "verified",
        _ => "unverified",
    }
}

async fn runs(page: &mut Page, store: &Store, collection: &Collection) -> Result<(), IndexError> {
    for work in Work::ALL {
        let runs = store.index.runs(Some(&collection.id), Some(work.into()), 2).await?;
        let Some((run, end)) = runs.iter().find_map(|run| Some((run, run.ended.as_ref()?))) else { continue };
        let labels = [("collection", collection.name.as_str()), ("work", work.word())];
        page.add(RUN_ENDED, &labels, seconds(end.at));
        page.add(RUN_TOOK, &labels, end.at.duration_since(run.started_at).as_secs_f64());
        page.add(RUN_DONE, &labels, u8::from(end.result == RunResult::Done));
        page.add(RUN_STORED, &labels, end.counts.new_bytes);
    }
    let labels = [("collection", collection.name.as_str())];
    let drills = store.index.runs(Some(&collection.id), Some(Work::Drill.into()), DRILLS_LOOKED_AT).await?;
    let mut ended = drills.iter().filter_map(|run| Some((run, run.ended.as_ref()?)));
    // One that was broken off shows nothing.
    let mut shown = ended.by_ref().filter(|(_, end)| end.result != RunResult::Interrupted).peekable();
    if let Some((_, end)) = shown.peek() {
        page.add(DRILLED, &labels, seconds(end.at));
        page.add(DRILL_GOOD, &labels, u8::from(end.result == RunResult::Done));
    }
    if let Some((run, end)) = shown.find(|(_, end)| end.result == RunResult::Done) {
        page.add(DRILLED_WELL, &labels, seconds(end.at));
        page.add(DRILL_TOOK, &labels, end.at.duration_since(run.started_at).as_secs_f64());
    }
    Ok(())
}

//! Of each collection: is it backed up by itself, often enough, and does what was backed up come back?

use jiff::SignedDuration;

use super::{Examination, Finding};
use crate::domain::schedule::Work;
use crate::domain::words::bytes;
use crate::store::IndexError;
use crate::store::index::{Collection, RunResult};

/// Without a word on how much may be lost, a snapshot that is older is late.
const LATE: SignedDuration = SignedDuration::from_hours(24);
/// A restore that was tried longer ago says little.
const OLD_DRILL: SignedDuration = SignedDuration::from_hours(24 * 35);
/// So many runs are looked at to find one that was good.
const RUNS_LOOKED_AT: u32 = 50;

pub(super) async fn look(of: &Examination<'_>) -> Result<Vec<Finding>, IndexError> {
    let mut findings = Vec::new();
    let collections = of.store.index.collections().await?;
    if collections.is_empty() {
        let next = "'bulbil protect FOLDER' has a folder backed up from now on; 'bulbil clone' brings what another instance has";
        findings.push(Finding::note("collections", "nothing is backed up here", next));
    }
    for collection in &collections {
        let led_here = collection.settings.is_some() && of.store.keys.is_ours(&collection.origin);
        findings.push(snapshots(of, collection, led_here).await?);
        if led_here {
            findings.extend(schedule(of, collection));
        }
        findings.extend(drills(of, collection, led_here).await?);
    }
    Ok(findings)
}

async fn snapshots(of: &Examination<'_>, collection: &Collection, led_here: bool) -> Result<Finding, IndexError> {
    let (index, name) = (&of.store.index, &collection.name);
    let known = index.snapshots(Some(&collection.id)).await?;
    let newest = known.iter().filter(|s| s.complete && !s.partial).map(|s| s.created_at).max();
    let (chunks, missing) = index.count_missing(Some(&collection.id)).await?;
    if chunks > 0 {
        let what = format!("{} in {chunks} chunks are not here", bytes(missing));
        return Ok(Finding::warning(name, what, "'bulbil fetch' gets them, if a peer has them"));
    }
    let Some(newest) = newest else {
        let next = if led_here { format!("bulbil backup {name}") } else { "'bulbil sync' asks for it".to_owned() };
        return Ok(Finding::warning(name, "there is no whole snapshot of it yet", next));
    };
    let age = format!("newest snapshot {}", of.ago(newest));
    // One that may be lost for longer, or is late, is told by an alert.
    let is_late = collection.upkeep.rpo_hours.is_none() && of.now.duration_since(newest) > LATE;
    let verified = index.last_good(&collection.id, of.now).await?;
    Ok(match verified {
        _ if is_late && led_here => Finding::warning(name, age, format!("bulbil backup {name}")),
        _ if is_late => Finding::warning(name, age, "its instance makes none, or is not reached: 'bulbil sync'"),
        // What was not made here counts as verified when every byte of it was read.
        None if !led_here => {
            Finding::warning(name, format!("{age}, and none was verified"), format!("bulbil verify {name} --data"))
        }
        None => Finding::warning(name, format!("{age}, and none was verified"), format!("bulbil verify {name}")),
        Some((_, at)) => Finding::ok(name, format!("{age}, newest verified one {}", of.ago(at))),
    })
}

/// Whether it is backed up by itself, and often enough.
fn schedule(of: &Examination<'_>, collection: &Collection) -> Option<Finding> {
    let (upkeep, name) = (&collection.upkeep, &collection.name);
    if let Some(why) = upkeep.contradiction(of.now) {
        let next = format!("bulbil schedule {name} --backup '0 */6 * * *', or another --rpo");
        return Some(Finding::warning(name, format!("its schedule cannot keep to what may be lost: {why}"), next));
    }
    let next = format!("bulbil schedule {name} --backup '30 2 * * *' --rpo 24h --drill @weekly");
    if !upkeep.scheduled.iter().any(|one| one.work == Work::Backup) {
        return Some(Finding::warning(name, "nothing backs it up by itself", next));
    }
    upkeep.rpo_hours.is_none().then(|| {
        let what = "nobody said how much of it may be lost, so nobody is told when a backup is late";
        Finding::note(name, what, format!("bulbil schedule {name} --rpo 24h"))
    })
}

/// Whether a restore was tried, and what came of it.
async fn drills(of: &Examination<'_>, collection: &Collection, led_here: bool) -> Result<Option<Finding>, IndexError> {
    let name = &collection.name;
    // What cannot be read here is restored elsewhere.
    if of.store.index.newest_readable(&collection.id).await?.is_none() {
        return Ok(None);
    }
    let runs = of.store.index.runs(Some(&collection.id), Some(Work::Drill.into()), RUNS_LOOKED_AT).await?;
    let good = runs.iter().filter_map(|run| run.ended.as_ref()).find(|ended| ended.result == RunResult::Done);
    let next = format!("bulbil drill {name}; bulbil schedule {name} --drill @weekly has it done by itself");
    Ok(Some(match good {
        None if led_here => Finding::warning(name, "it was never restored, not even for a try", next),
        None => Finding::note(name, "it was never restored here, not even for a try", next),
        Some(ended) if of.now.duration_since(ended.at) > OLD_DRILL => {
            Finding::warning(name, format!("the last good drill was {}", of.ago(ended.at)), next)
        }
        Some(ended) => Finding::ok(name, format!("came back as it was in a drill {}", of.ago(ended.at))),
    }))
}

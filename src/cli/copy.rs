//! `bulbil copy`

use serde_json::{Value, json};

use crate::backup::select;
use crate::domain::target::Target;
use crate::monitor::{Monitor, Problem};
use crate::portable::target::Depth;
use crate::store::index::Collection;
use crate::worker::copies::{Copies, SAMPLE, seed};

use super::args::{CopyArgs, ReadBack};
use super::context::Context;
use super::output::{Outcome, bytes, count};
use super::target::find;

/// Copies what is new to targets: all are tried.
pub async fn run(args: CopyArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let all = store.targets()?;
    let (mut targets, mut collections): (Vec<Target>, Vec<Collection>) = (Vec::new(), Vec::new());
    for name in &args.names {
        match all.iter().find(|target| target.name == *name) {
            Some(target) => targets.push(target.clone()),
            None if all.is_empty() => drop(find(&store, name)?),
            None => collections.push(select::collection(&store, name).await?),
        }
    }
    if targets.is_empty() {
        targets = all;
    }
    anyhow::ensure!(!targets.is_empty(), "there is no target yet: 'bulbil target add' names one");
    if collections.is_empty() {
        collections = store.index.collections().await?;
    }
    let depth = match args.verify {
        ReadBack::None => Depth::Structure,
        ReadBack::Sample => Depth::Sample { percent: SAMPLE, seed: seed() },
        ReadBack::All => Depth::Data,
    };
    let (progress, cancel, out) = (context.progress(), context.cancellation(), &context.output);
    let copies = Copies { store: &store, clock: &*context.clock, cancel: &cancel };
    let mut documents: Vec<Value> = Vec::new();
    let (mut tried, mut failed) = (0, 0);
    for target in &targets {
        for collection in collections.iter().filter(|collection| target.takes(&collection.id)) {
            if cancel.is_cancelled() {
                anyhow::bail!("stopped: what was copied stays; run it again to go on");
            }
            let made = copies.one(target, collection, depth, progress.clone()).await?;
            tried += 1;
            let document = match &made.came {
                Ok(Some(there)) => {
                    out.line(format!(
                        "{} to {}: added {}, {} ({}); {} read back",
                        collection.name,
                        target.name,
                        count(there.exported.new_snapshots, "snapshot"),
                        count(there.exported.new_chunks, "chunk"),
                        bytes(there.exported.new_bytes),
                        count(there.read, "chunk"),
                    ));
                    if there.repaired > 0 {
                        out.line(format!("  {} written anew: damaged there", count(there.repaired, "chunk")));
                    }
                    json!({ "exported": there.exported, "newest": there.newest, "read": there.read, "repaired": there.repaired })
                }
                Ok(None) => {
                    out.line(format!("{} to {}: there is no whole snapshot yet", collection.name, target.name));
                    json!({})
                }
                Err(why) => {
                    failed += 1;
                    out.line(format!("{} to {}: FAILED", collection.name, target.name));
                    let subject = format!("target {}: {}", target.name, collection.name);
                    progress.problem(Problem { subject, message: why.clone() });
                    json!({ "failed": why })
                }
            };
            documents.push(json!({ "target": target.name, "collection": collection.name, "result": document }));
        }
    }
    progress.finish();
    let problems = progress.problems();
    out.document("copy", documents, &problems);
    if tried > 0 && tried == failed {
        let _ = out.outcome(&problems);
        anyhow::bail!("nothing was copied: {} failed", count(failed, "target"));
    }
    Ok(out.outcome(&problems))
}

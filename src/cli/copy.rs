//! `bulbil copy`

use std::sync::Arc;

use serde_json::{Value, json};

use crate::backup::select;
use crate::domain::target::Target;
use crate::portable::target::Depth;
use crate::store::Store;
use crate::store::index::{Cause, Collection};
use crate::worker::copies::{Came, Made, SAMPLE, any_came, pairs, sample};
use crate::worker::runs::Recorder;
use crate::worker::targets::find;

use super::args::{CopyArgs, ReadBack};
use super::by_server::Server;
use super::context::Context;
use super::output::{Outcome, bytes, count};
use super::progress::Progress;

/// What was named; of what was not, everything is meant.
struct Named {
    targets: Vec<Target>,
    collections: Vec<Collection>,
}

/// Copies what is new to targets: all are tried.
pub async fn run(args: CopyArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let named = named(&store, &args.names).await?;
    let progress = context.progress();
    let made = match Server::running(&store, None, context).await? {
        Some(server) => by_server(&server, &store, &named, args.verify, &progress).await?,
        None => here(&store, &named, args.verify, &progress, context).await?,
    };
    progress.finish();
    made.iter().for_each(|made| say(made, context));
    let problems = progress.problems();
    context.output.document("copy", &made, &problems);
    if any_came(&made).is_err() {
        let _ = context.output.outcome(&problems);
        anyhow::bail!("nothing was copied: {} failed", count(made.len() as u64, "target"));
    }
    Ok(context.output.outcome(&problems))
}

/// What the names are of: a target, otherwise a collection.
async fn named(store: &Store, names: &[String]) -> anyhow::Result<Named> {
    let all = store.targets()?;
    let mut named = Named { targets: Vec::new(), collections: Vec::new() };
    if all.is_empty() {
        find(store, names.first().map_or("", String::as_str))?;
    }
    for name in names {
        match all.iter().find(|target| target.name == *name) {
            Some(target) => named.targets.push(target.clone()),
            None => named.collections.push(select::collection(store, name).await?),
        }
    }
    Ok(named)
}

async fn here(
    store: &Store,
    named: &Named,
    verify: ReadBack,
    progress: &Arc<Progress>,
    context: &Context,
) -> anyhow::Result<Vec<Made>> {
    let collections = all_or(store, &named.collections).await?;
    if collections.is_empty() {
        return Ok(Vec::new());
    }
    let depth = match verify {
        ReadBack::None => Depth::Structure,
        ReadBack::Sample => sample(SAMPLE),
        ReadBack::All => Depth::Data,
    };
    let cancel = context.cancellation();
    let recorder = Recorder::new(store, Cause::Command, context.clock.clone(), &cancel);
    let made = recorder.copy(&named.targets, &collections, depth, progress.clone()).await?;
    if cancel.is_cancelled() {
        anyhow::bail!(STOPPED);
    }
    Ok(made)
}

/// What is said of a copy that was stopped.
const STOPPED: &str = "stopped: what was copied stays; run it again to go on";

/// A run for all of it; if several are named, one for each of those.
async fn by_server(
    server: &Server<'_>,
    store: &Store,
    named: &Named,
    verify: ReadBack,
    progress: &Progress,
) -> anyhow::Result<Vec<Made>> {
    let verify = match verify {
        ReadBack::None => "none",
        ReadBack::Sample => "sample",
        ReadBack::All => "all",
    };
    let order = |target: Option<&str>, collection: Option<&str>| json!({ "kind": "copy", "target": target, "collection": collection, "verify": verify });
    let collections = all_or(store, &named.collections).await?;
    if collections.is_empty() {
        return Ok(Vec::new());
    }
    let orders: Vec<Value> = match (named.targets.as_slice(), named.collections.as_slice()) {
        (targets @ ([] | [_]), of @ ([] | [_])) => {
            vec![order(targets.first().map(|one| one.name.as_str()), of.first().map(|one| one.name.as_str()))]
        }
        (targets, _) => {
            let pairs = pairs(store, targets, &collections)?;
            pairs.iter().map(|(target, collection)| order(Some(&target.name), Some(&collection.name))).collect()
        }
    };
    let mut all = Vec::new();
    for order in &orders {
        let made: Option<Vec<Made>> = server.run(order, progress).await?;
        all.extend(made.unwrap_or_default());
        if server.stop().is_cancelled() {
            anyhow::bail!(STOPPED);
        }
    }
    Ok(all)
}

async fn all_or(store: &Store, named: &[Collection]) -> anyhow::Result<Vec<Collection>> {
    Ok(if named.is_empty() { store.index.collections().await? } else { named.to_vec() })
}

fn say(made: &Made, context: &Context) {
    let (out, Made { target, collection, came }) = (&context.output, made);
    match came {
        Came::There(there) => {
            out.line(format!(
                "{collection} to {target}: added {}, {} ({}); {} read back",
                count(there.exported.new_snapshots, "snapshot"),
                count(there.exported.new_chunks, "chunk"),
                bytes(there.exported.new_bytes),
                count(there.read, "chunk"),
            ));
            if there.repaired > 0 {
                out.line(format!("  {} written anew: damaged there", count(there.repaired, "chunk")));
            }
        }
        Came::Nothing {} => out.line(format!("{collection} to {target}: there is no whole snapshot yet")),
        Came::Failed { .. } => out.line(format!("{collection} to {target}: FAILED")),
    }
}

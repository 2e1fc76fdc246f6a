//! `bulbil runs`: what was done, when, and what came of it.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::backup::select;
use crate::domain::id::CollectionId;
use crate::store::index::{Cause, Run};

use super::args::RunsArgs;
use super::context::Context;
use super::output::{Outcome, bytes, took};

/// Lists runs, the newest first.
pub async fn run(args: RunsArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let collection = match &args.collection {
        Some(name) => Some(select::collection(&store, name).await?.id),
        None => None,
    };
    let names: HashMap<CollectionId, String> =
        store.index.collections().await?.into_iter().map(|collection| (collection.id, collection.name)).collect();
    let runs = store.index.runs(collection.as_ref(), args.work, args.limit).await?;
    let out = &context.output;
    if runs.is_empty() {
        out.remark("nothing is on record yet");
    }
    let mut documents = Vec::new();
    for run in &runs {
        let name = match &run.collection {
            None => run.target.as_ref().map_or_else(|| "-".to_owned(), |name| format!("target {name}")),
            Some(id) => names.get(id).cloned().unwrap_or_else(|| id.short()),
        };
        out.line(line(run, &name));
        if let Some(message) = run.ended.as_ref().and_then(|ended| ended.message.as_ref()) {
            out.line(format!("  {message}"));
        }
        documents.push(document(run, &name));
    }
    out.document("runs", documents, &[]);
    Ok(Outcome::Done)
}

fn line(run: &Run, name: &str) -> String {
    let cause = match run.cause {
        Cause::Command => "by command".to_owned(),
        Cause::Request => format!("asked for by {}", run.by.as_deref().unwrap_or("somebody")),
        Cause::Schedule { missed: 0, .. } => "scheduled".to_owned(),
        Cause::Schedule { missed, .. } => format!("scheduled, for {} that were missed, too", missed),
    };
    let came = match &run.ended {
        None => "goes on".to_owned(),
        Some(ended) => {
            let duration = ended.at.duration_since(run.started_at).unsigned_abs();
            let stored = match ended.counts.new_bytes {
                0 => String::new(),
                stored => format!(", stored {}", bytes(stored)),
            };
            format!("{} after {}{stored}", ended.result.word(), took(duration))
        }
    };
    format!("{:.0}  {name}  {}: {came} ({cause})", run.started_at, run.kind)
}

fn document(run: &Run, name: &str) -> Value {
    let (cause, slot, missed) = match run.cause {
        Cause::Command => ("command", None, 0),
        Cause::Request => ("request", None, 0),
        Cause::Schedule { slot, missed } => ("schedule", Some(slot), missed),
    };
    let ended = run.ended.as_ref();
    json!({
        "collection": name, "id": run.collection, "target": run.target, "work": run.kind, "no": run.no, "by": run.by, "cause": cause, "slot": slot, "missed": missed,
        "started_at": run.started_at, "ended_at": ended.map(|ended| ended.at), "result": ended.map(|ended| ended.result.word()),
        "message": ended.and_then(|ended| ended.message.as_ref()), "snapshot": ended.and_then(|ended| ended.snapshot),
        "counts": ended.map(|ended| ended.counts), "report": ended.and_then(|ended| ended.report.as_ref()),
    })
}

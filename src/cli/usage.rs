//! `bulbil usage`: what takes the space.

use crate::backup::prune::usage::{Usage, usage};

use super::args::UsageArgs;
use super::context::Context;
use super::output::{Outcome, bytes, count, number};
use super::prune::collections;

/// Shows what each snapshot and each folder takes.
pub async fn run(args: UsageArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let (progress, cancel) = (context.progress(), context.cancellation());
    let mut all = Vec::new();
    for collection in collections(&store, &args.collections).await? {
        all.push(usage(&store, &collection, progress.clone(), &cancel).await?);
    }
    progress.finish();
    for usage in &all {
        show(usage, context);
    }
    let waiting = store.index.unnamed().await?;
    if waiting.chunks > 0 {
        let (size, chunks) = (bytes(waiting.bytes), count(waiting.chunks, "chunk"));
        context.output.line(format!("needed by nobody: {size} ({chunks}); 'bulbil prune' removes them"));
    }
    let problems = progress.problems();
    context.output.document("usage", serde_json::json!({ "collections": all, "waiting": waiting }), &problems);
    Ok(context.output.outcome(&problems))
}

fn show(usage: &Usage, context: &Context) {
    let out = &context.output;
    out.line(format!("{}: {} in {}", usage.name, bytes(usage.stored.bytes), count(usage.stored.chunks, "chunk")));
    let rows: Vec<[String; 3]> = usage
        .snapshots
        .iter()
        .map(|snapshot| {
            let name = format!("{}@{}", usage.name, snapshot.sequence);
            [name, bytes(snapshot.alone.bytes), bytes(snapshot.chunk_bytes)]
        })
        .collect();
    out.table(&["snapshot", "alone", "stored"].map(str::to_owned), &rows);
    let mut rows: Vec<[String; 4]> = usage
        .folders
        .iter()
        .map(|folder| [bytes(folder.stored_bytes), bytes(folder.bytes), number(folder.files), folder.path.clone()])
        .collect();
    if !rows.is_empty() {
        rows.push([bytes(usage.other_bytes), String::new(), String::new(), "(everything else)".to_owned()]);
        out.table(&["stored", "size", "files", "folder"].map(str::to_owned), &rows);
    }
}

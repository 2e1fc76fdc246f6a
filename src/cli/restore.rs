//! `bulbil restore`

use std::sync::Arc;

use serde_json::json;

use crate::backup::open::OpenSnapshot;
use crate::backup::restore::{Overwrite, RestoreOptions, refuse_homes, restore};
use crate::backup::select;
use crate::monitor::{Counter, Monitor};
use crate::portable::{Reading, fill_snapshots};
use crate::store::ChunkStore;

use super::args::{OverwriteArg, RestoreArgs};
use super::context::Context;
use super::ls::tree_path;
use super::output::{Outcome, bytes, count, took};
use super::target::target_or_place;

/// Restores a snapshot, or a part of it.
pub async fn run(args: RestoreArgs, context: &Context) -> anyhow::Result<Outcome> {
    let started = std::time::Instant::now();
    refuse_homes(&args.target, &context.home)?;
    let store = context.store().await?;
    let snapshot = select::snapshot(&store, &args.snapshot).await?;
    let open = OpenSnapshot::open(&store, &snapshot.id)?;
    let (progress, cancel) = (context.progress(), context.cancellation());
    let elsewhere = match &args.from {
        Some(from) => {
            let at = target_or_place(&store, from, &args.bucket)?;
            if args.path.is_empty() && !args.dry_run {
                // Everything is needed: many at a time, and what came stays if it is cut.
                progress.task("getting chunks", Counter::ChunkBytes, None);
                fill_snapshots(&store, &at, &[snapshot.id], progress.clone(), &cancel).await?;
            }
            Some(Reading::from(&store, &at).await?)
        }
        None => None,
    };
    if !snapshot.complete && elsewhere.is_none() {
        context.output.warning(format!(
            "warning: chunks of {}@{} are still missing here: what they hold cannot be restored ('bulbil fetch' gets them)",
            open.private.name, snapshot.sequence
        ));
    }
    if snapshot.partial {
        context.output.warning("warning: this snapshot is partial: its backup was interrupted");
    }
    let paths = args.path.iter().map(|path| tree_path(path, &open.private)).collect::<anyhow::Result<_>>()?;
    let overwrite = match args.overwrite {
        OverwriteArg::Never => Overwrite::Never,
        OverwriteArg::IfChanged => Overwrite::IfChanged,
        OverwriteArg::Always => Overwrite::Always,
    };
    let options = RestoreOptions { paths, overwrite, delete: args.delete, dry_run: args.dry_run };
    let chunks: Arc<dyn ChunkStore> = match &elsewhere {
        Some(reading) => reading.clone(),
        None => store.chunks.clone(),
    };
    let (target, monitor) = (args.target.clone(), progress.clone());
    let name = format!("{}@{}", open.private.name, snapshot.sequence);
    context.note(format!("{name} {}", snapshot.id.short()));
    let restored =
        tokio::task::spawn_blocking(move || restore(&chunks, &open, &target, &options, &*monitor, &cancel)).await?;
    if let Some(reading) = elsewhere {
        reading.finish(&store, &*progress).await?;
    }
    let stats = restored?;
    progress.finish();
    let problems = progress.problems();
    let verb = if args.dry_run { "would restore" } else { "restored" };
    let mut parts = vec![count(stats.files, "file"), count(stats.directories, "directory"), bytes(stats.bytes)];
    for (n, what) in [(stats.others, "other"), (stats.skipped, "unchanged"), (stats.deleted, "deleted")] {
        if n > 0 {
            parts.push(format!("{n} {what}"));
        }
    }
    context.output.line(format!("{verb} {name} into {}", args.target.display()));
    context.output.line(format!("  {}; {}", parts.join(", "), took(started.elapsed())));
    let document = json!({
        "snapshot": name, "id": snapshot.id, "target": args.target, "dry_run": args.dry_run, "statistics": stats,
        "seconds": started.elapsed().as_secs_f64(),
    });
    context.output.document("restore", document, &problems);
    Ok(context.output.outcome(&problems))
}

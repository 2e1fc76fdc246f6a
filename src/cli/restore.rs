//! `bulbil restore`

use std::path::Path;

use serde_json::json;

use crate::backup::check::{Private, private};
use crate::backup::open::OpenSnapshot;
use crate::backup::restore::{Overwrite, RestoreOptions, refuse_homes, restore};
use crate::backup::select;
use crate::domain::id::CollectionId;
use crate::monitor::Monitor;
use crate::store::{Store, blocking};

use super::args::{OverwriteArg, RestoreArgs};
use super::context::Context;
use super::ls::tree_path;
use super::output::{Outcome, bytes, count, took};

/// Restores a snapshot, or a part of it.
pub async fn run(args: RestoreArgs, context: &Context) -> anyhow::Result<Outcome> {
    let started = std::time::Instant::now();
    refuse_homes(&args.target, &context.home)?;
    let store = context.store().await?;
    let snapshot = select::snapshot(&store, &args.snapshot).await?;
    let open = OpenSnapshot::open(&store, &snapshot.id)?;
    if !snapshot.complete {
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
    let (progress, cancel) = (context.progress(), context.cancellation());
    let preset = open.private.capture.as_ref().and_then(|capture| capture.preset.clone());
    let (chunks, target, monitor) = (store.chunks.clone(), args.target.clone(), progress.clone());
    let name = format!("{}@{}", open.private.name, snapshot.sequence);
    context.note(format!("{name} {}", snapshot.id.short()));
    let stats =
        tokio::task::spawn_blocking(move || restore(&chunks, &open, &target, &options, &*monitor, &cancel)).await??;
    let mut tightened = None;
    if args.tighten {
        let private = tighten(&store, &snapshot.collection, preset, &args.target, context).await?;
        private.problems.iter().for_each(|problem| progress.problem(problem.clone()));
        tightened = Some(private.tightened);
    }
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
    if let Some(n) = tightened {
        context.output.line(format!("  {} only their owner may read", count(n, "private file or folder")));
    }
    let document = json!({
        "snapshot": name, "id": snapshot.id, "target": args.target, "dry_run": args.dry_run, "statistics": stats, "tightened": tightened,
        "seconds": started.elapsed().as_secs_f64(),
    });
    context.output.document("restore", document, &problems);
    Ok(context.output.outcome(&problems))
}

/// Takes the rights of others away from what was restored and is private, by the preset of the collection, or of the snapshot.
async fn tighten(
    store: &Store,
    collection: &CollectionId,
    of_snapshot: Option<String>,
    target: &Path,
    context: &Context,
) -> anyhow::Result<Private> {
    let collections = store.index.collections().await?;
    let settings = collections.into_iter().find(|one| one.id == *collection).and_then(|one| one.settings);
    let of_collection = settings.and_then(|settings| settings.application).map(|application| application.preset);
    let of_snapshot = of_snapshot.and_then(|label| Some(label.split_once('/')?.0.to_owned()));
    let preset = store.preset(of_collection.or(of_snapshot).as_deref().unwrap_or("generic"))?;
    let (target, cancel) = (target.to_owned(), context.cancellation());
    Ok(blocking(move || private(&target, &preset, true, &cancel)).await?)
}

//! `bulbil restore`

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::backup::open::OpenSnapshot;
use crate::backup::recover::{RecoverError, sessions};
use crate::backup::restore::{Overwrite, RestoreOptions, refuse_homes, restore};
use crate::backup::select;
use crate::domain::preset::Preset;
use crate::store::Store;

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
    let (chunks, target, monitor) = (store.chunks.clone(), args.target.clone(), progress.clone());
    let name = format!("{}@{}", open.private.name, snapshot.sequence);
    context.note(format!("{name} {}", snapshot.id.short()));
    let emptying = match args.drop_sessions {
        true => Some(Emptying::new(&store, &open).await?),
        false => None,
    };
    let stats =
        tokio::task::spawn_blocking(move || restore(&chunks, &open, &target, &options, &*monitor, &cancel)).await??;
    progress.finish();
    let emptied = match emptying.filter(|_| !args.dry_run) {
        Some(emptying) => emptying.run(&args.target)?,
        None => Vec::new(),
    };
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
    emptied.iter().for_each(|path| context.output.line(format!("  emptied: {}", path.display())));
    let document = json!({
        "emptied": emptied, "snapshot": name, "id": snapshot.id, "target": args.target, "dry_run": args.dry_run, "statistics": stats,
        "seconds": started.elapsed().as_secs_f64(),
    });
    context.output.document("restore", document, &problems);
    Ok(context.output.outcome(&problems))
}

/// Sessions that are not to come back.
struct Emptying {
    preset: Preset,
    /// Below the target, where each root is.
    roots: Vec<PathBuf>,
}

impl Emptying {
    /// By the preset of the collection; before anything is restored.
    async fn new(store: &Store, open: &OpenSnapshot) -> anyhow::Result<Self> {
        let collection = store.index.collection(&open.collection()).await?;
        let application = collection.and_then(|collection| collection.settings?.application);
        let preset = store.preset(application.as_ref().map_or("generic", |application| &application.preset))?;
        anyhow::ensure!(!preset.sessions.is_empty(), RecoverError::NoSessions(preset.name));
        let roots = match open.has_one_folder(&mut open.tree(&*store.chunks))? {
            true => vec![PathBuf::new()],
            false => open.private.roots.iter().map(|root| PathBuf::from(&root.name)).collect(),
        };
        Ok(Self { preset, roots })
    }

    fn run(&self, target: &Path) -> anyhow::Result<Vec<PathBuf>> {
        let mut emptied = Vec::new();
        for root in &self.roots {
            emptied.extend(sessions::empty(&self.preset, &target.join(root))?.into_iter().map(|path| root.join(path)));
        }
        Ok(emptied)
    }
}

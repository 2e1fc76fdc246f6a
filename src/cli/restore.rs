//! `bulbil restore`
//!
//! Done by the command itself, with a server running, too: files and folders belong to whoever typed it, who may write where the server
//! does not, and owners are set only as far as that user may set them. It only reads the repository; as long as the snapshot is open no
//! prune takes away what it leans on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::json;

use crate::backup::check::{Private, private};
use crate::backup::escrow::{Differs, compare, given_beside, given_in_file};
use crate::backup::open::OpenSnapshot;
use crate::backup::recover::{RecoverError, sessions};
use crate::backup::restore::{Overwrite, RestoreOptions, refuse_homes, refuse_portable, restore};
use crate::backup::select;
use crate::domain::id::CollectionId;
use crate::domain::preset::Preset;
use crate::domain::text::path_text;
use crate::monitor::{Counter, Monitor, Problem};
use crate::portable::{Reading, fill_snapshots};
use crate::store::{ChunkStore, Store, blocking};

use super::args::{OverwriteArg, RestoreArgs};
use super::context::Context;
use super::output::{Outcome, bytes, count, took};
use super::target::target_or_place;

/// Restores a snapshot, or a part of it.
pub async fn run(args: RestoreArgs, context: &Context) -> anyhow::Result<Outcome> {
    let started = std::time::Instant::now();
    let target = match (&args.entity, &args.target) {
        (Some(entity), _) => return super::entity::run(&args, entity, context).await,
        (None, target) => target.clone().context("say where to: --target DIR")?,
    };
    refuse_homes(&target, &context.home)?;
    refuse_portable(&target)?;
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
            Some(Reading::from(&store, &at, progress.clone()).await?)
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
    let differing = differing(&target, args.secrets.as_deref(), &store, &open).await?;
    for differs in &differing {
        context.output.warning(format!("warning: {}", differs.in_words(&open.private.name)));
    }
    let paths = args.path.iter().map(|path| select::path(path, &open.private)).collect::<Result<_, _>>()?;
    let overwrite = match args.overwrite {
        OverwriteArg::Never => Overwrite::Never,
        OverwriteArg::IfChanged => Overwrite::IfChanged,
        OverwriteArg::Always => Overwrite::Always,
    };
    let options = RestoreOptions { paths, overwrite, delete: args.delete, dry_run: args.dry_run };
    let preset = open.private.capture.as_ref().and_then(|capture| capture.preset.clone());
    let chunks: Arc<dyn ChunkStore> = match &elsewhere {
        Some(reading) => reading.clone(),
        None => store.chunks.clone(),
    };
    let (into, monitor, stop) = (target.clone(), progress.clone(), cancel.clone());
    let name = format!("{}@{}", open.private.name, snapshot.sequence);
    context.note(format!("{name} {}", snapshot.id.short()));
    let emptying = match args.drop_sessions {
        true => Some(Emptying::new(&store, &open).await?),
        false => None,
    };
    let restored =
        tokio::task::spawn_blocking(move || restore(&chunks, &open, &into, &options, &*monitor, &stop)).await?;
    if let Some(reading) = elsewhere {
        reading.finish(&store, &*progress).await?;
    }
    let stats = restored?;
    let mut tightened = None;
    if args.tighten {
        let private = tighten(&store, &snapshot.collection, preset, &target, context).await?;
        private.problems.iter().for_each(|problem| progress.problem(problem.clone()));
        tightened = Some(private.tightened);
    }
    progress.finish();
    let emptied = match emptying.filter(|_| !args.dry_run) {
        Some(emptying) => emptying.run(&target)?,
        None => Vec::new(),
    };
    let mut problems = progress.problems();
    problems.extend(differing.iter().map(|differs| Problem {
        subject: differs.name.clone(),
        message: format!("what is in {} is not what belongs to the snapshot", differs.place),
    }));
    let verb = if args.dry_run { "would restore" } else { "restored" };
    let mut parts = vec![count(stats.files, "file"), count(stats.directories, "directory"), bytes(stats.bytes)];
    for (n, what) in [(stats.others, "other"), (stats.skipped, "unchanged"), (stats.deleted, "deleted")] {
        if n > 0 {
            parts.push(format!("{n} {what}"));
        }
    }
    context.output.line(format!("{verb} {name} into {}", target.display()));
    context.output.line(format!("  {}; {}", parts.join(", "), took(started.elapsed())));
    emptied.iter().for_each(|path| context.output.line(format!("  emptied: {}", path.display())));
    if let Some(n) = tightened {
        context.output.line(format!("  {} only their owner may read", count(n, "private file or folder")));
    }
    let document = json!({
        "emptied": emptied.iter().map(path_text).collect::<Vec<_>>(), "snapshot": name, "id": snapshot.id, "target": path_text(&target), "dry_run": args.dry_run, "statistics": stats, "tightened": tightened,
        "seconds": started.elapsed().as_secs_f64(), "secrets_differ": differing,
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
        let preset = store.preset_of(collection.as_ref().and_then(|collection| collection.settings.as_ref()))?;
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

/// Secrets that are not those which belong to the snapshot: in the file that was named, in the target, and beside the live data.
pub(super) async fn differing(
    target: &Path,
    secrets: Option<&Path>,
    store: &Store,
    open: &OpenSnapshot,
) -> anyhow::Result<Vec<Differs>> {
    let collection = store.index.collection(&open.collection()).await?;
    let settings = collection.and_then(|collection| collection.settings);
    let preset = preset_of(store, open);
    let mut given = match secrets {
        Some(file) => given_in_file(file).with_context(|| format!("cannot read the secrets in {}", file.display()))?,
        None => Vec::new(),
    };
    if let Some(preset) = &preset {
        let mut folders = vec![target.to_owned()];
        folders.extend(settings.iter().flat_map(|settings| &settings.roots).map(|root| root.path.clone()));
        let mut seen: Vec<PathBuf> = Vec::new();
        for folder in folders {
            let real = folder.canonicalize().unwrap_or(folder);
            if !seen.contains(&real) {
                given.extend(given_beside(preset, std::slice::from_ref(&real)));
                seen.push(real);
            }
        }
    }
    Ok(compare(store, open, &given)?)
}

/// The preset by which a snapshot was made.
pub(super) fn preset_of(store: &Store, open: &OpenSnapshot) -> Option<Preset> {
    let capture = open.private.capture.as_ref();
    let name = capture.and_then(|capture| capture.preset.as_deref()).and_then(|label| label.split('/').next());
    name.and_then(|name| store.preset(name).ok())
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

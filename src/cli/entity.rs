//! `bulbil restore NAME --entity KIND:ID`: something of an application alone.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use serde_json::json;

use crate::backup::entity::{self, Place};
use crate::backup::open::OpenSnapshot;
use crate::backup::restore::{refuse_homes, refuse_portable};
use crate::backup::select;
use crate::clock::Clock;
use crate::domain::entity::EntityId;
use crate::domain::preset::Preset;
use crate::domain::text::{path_text, shown};
use crate::monitor::Problem;
use crate::store::Store;
use crate::store::index::Collection;
use crate::store::place;

use super::args::RestoreArgs;
use super::context::Context;
use super::output::{Outcome, bytes, count};
use super::restore::{differing, preset_of};

/// Restores it, or lists what there is.
pub async fn run(args: &RestoreArgs, id: &EntityId, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let snapshot = select::snapshot(&store, &args.snapshot).await?;
    let open = OpenSnapshot::open(&store, &snapshot.id)?;
    let collection = store.index.collection(&open.collection()).await?;
    let name = format!("{}@{}", open.private.name, snapshot.sequence);
    let application = collection.as_ref().and_then(|collection| collection.settings.as_ref()?.application.as_ref());
    let preset = application.and_then(|application| store.preset(&application.preset).ok());
    let preset = preset.or_else(|| preset_of(&store, &open));
    let preset = preset.with_context(|| {
        format!("{name} was made without a preset, so that nobody knows what belongs to {id}: use --path, or say 'bulbil collection set … --preset NAME'")
    })?;
    if id.id == "?" {
        return list(&open, &store, &preset, id, context).await;
    }
    let folder = folder(args, collection.as_ref(), &open)?;
    refuse_homes(&folder, &context.home)?;
    refuse_portable(&folder)?;
    let now = context.clock.now();
    let keep = args.in_place.then(|| beside(&folder, &now.strftime("%Y%m%dT%H%M%SZ").to_string())).transpose()?;
    let differing = differing(&folder, args.secrets.as_deref(), &store, &open).await?;
    for differs in &differing {
        context.output.warning(format!("warning: {}", differs.in_words(&open.private.name)));
    }
    let (progress, cancel) = (context.progress(), context.cancellation());
    let place = Place { folder: folder.clone(), keep, dry_run: args.dry_run, now };
    let (chunks, monitor, wanted) = (store.chunks.clone(), progress.clone(), id.clone());
    context.note(format!("{name} {}", snapshot.id.short()));
    let work = move || {
        let parts = entity::find(&open, &chunks, &preset, &wanted)?;
        let stats = entity::put(&open, &chunks, &parts, &place, &*monitor, &cancel)?;
        anyhow::Ok((parts.missing, stats))
    };
    let (missing, stats) = tokio::task::spawn_blocking(work).await??;
    progress.finish();
    let mut problems = progress.problems();
    problems.extend(stats.problems.iter().cloned());
    problems.extend(missing.into_iter().map(|message| Problem { subject: id.to_string(), message }));
    problems.extend(differing.iter().map(|differs| Problem {
        subject: differs.name.clone(),
        message: format!("what is in {} is not what belongs to the snapshot", differs.place),
    }));
    let out = &context.output;
    let verb = if args.dry_run { "would restore" } else { "restored" };
    out.line(format!("{verb} {id} of {name} into {}", folder.display()));
    let mut parts = vec![count(stats.files, "file"), bytes(stats.bytes), count(stats.lines, "line")];
    if stats.unchanged > 0 {
        parts.push(format!("{} unchanged", stats.unchanged));
    }
    out.line(format!("  {}", parts.join(", ")));
    if let Some(kept) = &stats.kept {
        out.line(format!("  what was replaced is in {}", kept.display()));
    }
    if args.in_place && !args.dry_run {
        out.remark("If the application runs, restart it: what it has in memory it may write back over this.");
    }
    let document = json!({
        "snapshot": name, "id": snapshot.id, "entity": id.to_string(), "target": path_text(&folder), "in_place": args.in_place,
        "dry_run": args.dry_run, "statistics": stats, "secrets_differ": differing,
    });
    out.document("restore", document, &problems);
    Ok(out.outcome(&problems))
}

async fn list(
    open: &OpenSnapshot,
    store: &Store,
    preset: &Preset,
    id: &EntityId,
    context: &Context,
) -> anyhow::Result<Outcome> {
    let all = tokio::task::block_in_place(|| entity::list(open, &store.chunks, preset, &id.kind))?;
    let row = |(name, title): &(String, Option<String>)| {
        [format!("{}:{}", id.kind, shown(name)), shown(title.as_deref().unwrap_or(""))]
    };
    let rows: Vec<[String; 2]> = all.iter().map(row).collect();
    context.output.table(&["entity", "title"].map(str::to_owned), &rows);
    let document: Vec<_> =
        all.iter().map(|(name, title)| json!({ "kind": id.kind, "id": name, "title": title })).collect();
    context.output.document("restore", document, &[]);
    Ok(Outcome::Done)
}

/// The folder that is restored into: the application's own only if that was asked for.
fn folder(args: &RestoreArgs, collection: Option<&Collection>, open: &OpenSnapshot) -> anyhow::Result<PathBuf> {
    let roots: Vec<PathBuf> = collection
        .and_then(|collection| collection.settings.as_ref())
        .into_iter()
        .flat_map(|settings| &settings.roots)
        .map(|root| root.path.clone())
        .collect();
    if args.in_place {
        return match roots.as_slice() {
            [root] => {
                ensure!(
                    root.is_dir(),
                    "{} is not there: restore the whole snapshot, or say --target DIR",
                    root.display()
                );
                Ok(root.clone())
            }
            [] => bail!("{} has no folder here: say --target DIR", open.private.name),
            _ => bail!(
                "{} has several folders: say --target DIR, and put the files in their places by hand",
                open.private.name
            ),
        };
    }
    let target =
        args.target.clone().context("say where to: --target DIR, or --in-place for the application's own folder")?;
    let real = real(&target);
    for root in roots.iter().map(|root| self::real(root)) {
        ensure!(
            !real.starts_with(&root) && !root.starts_with(&real),
            "{} is, lies in, or holds the application's own folder: say --in-place to restore into that, or name another folder",
            target.display()
        );
    }
    Ok(target)
}

/// A path without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    place::real(path).unwrap_or_else(|_| path.to_owned())
}

/// Where what is replaced is kept: beside the folder, under a dated name that nothing has yet.
fn beside(folder: &Path, moment: &str) -> anyhow::Result<PathBuf> {
    let folder = real(folder);
    let name = folder.file_name().context("the application's folder has no name")?.to_string_lossy().into_owned();
    let free = (1..1000).map(|n| match n {
        1 => folder.with_file_name(format!("{name}.replaced-{moment}")),
        n => folder.with_file_name(format!("{name}.replaced-{moment}-{n}")),
    });
    free.into_iter().find(|path| !path.exists()).context("there are too many folders with replaced files")
}

//! `bulbil protect`: from a folder to backups that run, prove themselves and complain, in one command. Run again it changes nothing that
//! is there: it adds what is missing, makes a snapshot, and tries a restore.

mod alerts; // who is told
mod service; // systemd keeps the server running

pub use service::user_folder;

use std::path::Path;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::backup::collections;
use crate::backup::create::Extras;
use crate::backup::drill::{DrillOptions, Drilled};
use crate::clock::Clock;
use crate::domain::content::Secrets;
use crate::domain::peer::is_plain_name;
use crate::domain::schedule::{Pattern, Scheduled, Work};
use crate::domain::text::path_text;
use crate::monitor::Problem;
use crate::source::parts::exists;
use crate::store::index::{Cause, Collection};
use crate::store::{CreateOptions, Store, StoreError};
use crate::worker::runs::{BackupReport, LISTED, Recorder};
use crate::worker::schedule::zone;

use super::args::{CollectionAddArgs, ProtectArgs, Rpo};
use super::context::{Context, host_name};
use super::output::Outcome;
use super::{backup, collection, drill, init, schedule};

/// A backup begins up to so many seconds after its time, so that not all machines begin at once; it fits into what an alert leaves.
const JITTER_S: u32 = 15 * 60;
/// What is done beside backups: snapshots that are not to be kept go, a restore is tried each week, every byte is read each month.
const CARE: [(Work, &str); 3] =
    [(Work::Prune, "0 4 * * *"), (Work::Drill, "0 5 * * sun"), (Work::VerifyData, "0 6 1 * *")];

/// Has a folder backed up from now on.
pub async fn run(args: ProtectArgs, context: &Context) -> anyhow::Result<Outcome> {
    let out = &context.output;
    let folder = args.folder.canonicalize();
    let folder =
        folder.with_context(|| format!("{} cannot be backed up: is the path right?", args.folder.display()))?;
    ensure!(folder.is_dir(), "{} is no folder: name the application's folder", args.folder.display());
    zone(args.time_zone.as_deref())?;
    let wanted = alerts::Wanted::of(&args, context)?;

    let (store, made) = home(context).await?;
    let (collection, added) = collection_of(&store, &folder, &args, context).await?;
    let scheduled = schedule_all(&store, &collection, &args, context).await?;
    let collection = store.index.collection(&collection.id).await?.context("the collection was removed meanwhile")?;
    let mut problems: Vec<Problem> = wanted.write(context)?.into_iter().collect();

    let (progress, cancel) = (context.progress(), context.cancellation());
    let recorder = Recorder::new(&store, Cause::Command, context.clock.clone(), &cancel);
    let created = recorder.back_up(&collection, Extras::default(), progress.clone()).await?;
    let created = created.context("there is nothing to back up yet")?;
    super::admin::AdminClient::feed_changed(&store).await;
    let rules = store.preset_of(collection.settings.as_ref())?;
    let report = BackupReport::of(&collection.name, &created, LISTED);
    progress.suspend(|| backup::say(&report, Some(&rules), context));
    let options =
        DrillOptions { scratch: None, preset: rules, secrets: Secrets::new(), settings: collection.settings.clone() };
    let drilled = match created.partial {
        true => None,
        false => Some(recorder.drill(&collection, &created.id, options, progress.clone()).await?),
    };
    progress.finish();
    if let Some(drilled) = &drilled {
        drill::say(&collection.name, drilled, context);
    }
    context.note(format!("{}@{} {}", collection.name, created.sequence, created.id.short()));

    schedule::show(&store, &collection, context).await?;
    problems.extend(progress.problems());
    let service = match args.service {
        true => service::install(&store, context).map_err(|error| problems.push(problem("service", &error))).ok(),
        false => None,
    };
    next_steps(&store, &args, wanted.is_any(&store, context), service.is_some(), context);
    let document = json!({
        "home": made.as_ref().unwrap_or(&json!({ "home": path_text(store.home.root()) })), "collection": collection.name, "added": added,
        "scheduled": scheduled, "snapshot": created.id, "sequence": created.sequence, "capture": created.capture,
        "drill": drilled, "service": service.map(path_text),
    });
    out.document("protect", document, &problems);
    let outcome = out.outcome(&problems);
    let sound = !created.partial
        && created.capture.is_sound()
        && drilled.as_ref().is_some_and(|drilled: &Drilled| drilled.good);
    Ok(if sound { outcome } else { Outcome::NotEverything })
}

/// The home: the one that is there, or a new one, whose recovery key is shown.
async fn home(context: &Context) -> anyhow::Result<(Store, Option<Value>)> {
    match context.store().await {
        Ok(store) => return Ok((store, None)),
        Err(error) if matches!(error.downcast_ref(), Some(StoreError::NotAHome { .. })) => {}
        Err(error) => return Err(error),
    }
    let options = CreateOptions { name: host_name("home"), passphrase: context.passphrase_from_file()? };
    let protected = options.passphrase.is_some();
    let (store, recovery) = Store::create(&context.home, options).await?;
    init::show(&store, &recovery, protected, context);
    context.output.line("");
    let shown = init::document(&store, &recovery, protected);
    Ok((store, Some(shown)))
}

/// The collection of this folder, and whether it was added.
async fn collection_of(
    store: &Store,
    folder: &Path,
    args: &ProtectArgs,
    context: &Context,
) -> anyhow::Result<(Collection, bool)> {
    let of_folder = |collection: &Collection| {
        let roots = collection.settings.as_ref().map(|settings| settings.roots.as_slice());
        matches!(roots, Some([root]) if root.path == folder)
    };
    if let Some(known) = store.index.collections().await?.into_iter().find(of_folder) {
        ensure!(
            args.name.as_ref().is_none_or(|name| *name == known.name),
            "{} is backed up already, as collection {:?}: leave --name out",
            folder.display(),
            known.name
        );
        context.output.remark(format!("{} is collection {} already", folder.display(), known.name));
        if args.preset.is_some() || !args.exclude.is_empty() {
            context.output.warning(format!(
                "warning: --preset and --exclude change nothing of what is there: 'bulbil collection set {}' does",
                known.name
            ));
        }
        return Ok((known, false));
    }
    let name = match &args.name {
        Some(name) => name.clone(),
        None => folder
            .file_name()
            .and_then(|name| name.to_str())
            .filter(|name| is_plain_name(name))
            .map(str::to_owned)
            .with_context(|| format!("{} has a name that no collection can have: say --name", folder.display()))?,
    };
    let preset = match &args.preset {
        Some(name) => name.clone(),
        None => fitting(store, folder)?,
    };
    let add = CollectionAddArgs {
        name,
        roots: vec![folder.to_owned()],
        volume: Vec::new(),
        preset: Some(preset),
        exclude: args.exclude.clone(),
        compression: 3,
        padding: false,
    };
    Ok((collection::add(add, store, context).await?, true))
}

/// The preset whose parts, and whose files that must be there, are all in this folder; `generic` if there is none.
fn fitting(store: &Store, folder: &Path) -> anyhow::Result<String> {
    let mut fitting = Vec::new();
    for (name, _) in store.preset_names()? {
        // One that is wrong fits nothing.
        let Ok(rules) = store.preset(&name) else { continue };
        if rules.parts.is_empty() || rules.checks.required.is_empty() {
            continue;
        }
        let missing = |at: &Path| {
            let must = rules.checks.required.iter().map(|path| path.trim_end_matches('/'));
            must.filter(|path| !exists(at, path)).map(str::to_owned).collect::<Vec<_>>()
        };
        let is_any = |at: &Path| missing(at).len() < rules.checks.required.len();
        if let Some(above) = collections::parent_with(&rules, folder).filter(|above| is_any(above)) {
            anyhow::bail!(
                "{} is a part of the folder of {name}: name {}, so that the rest is backed up, too; or say --preset generic to take it as it is",
                folder.display(),
                above.display()
            );
        }
        if !is_any(folder) {
            continue;
        }
        let missing = missing(folder);
        anyhow::ensure!(
            missing.is_empty(),
            "{} looks like the folder of {name}, and {} is not there: say --preset {name} if it is that, or --preset generic to take it as it is",
            folder.display(),
            missing.join(", ")
        );
        if collections::choose(store, &name, &[folder.to_owned()]).is_ok() {
            fitting.push(name);
        }
    }
    match fitting.as_slice() {
        [] => Ok("generic".to_owned()),
        [one] => Ok(one.clone()),
        several => {
            anyhow::bail!("the presets {} fit {}: say which with --preset", several.join(" and "), folder.display())
        }
    }
}

/// Schedules what is not scheduled yet; what is stays as it is. Answers what was added.
async fn schedule_all(
    store: &Store,
    collection: &Collection,
    args: &ProtectArgs,
    context: &Context,
) -> anyhow::Result<Vec<Work>> {
    let mut upkeep = collection.upkeep.clone();
    let mut wanted = vec![(Work::Backup, args.backup.clone())];
    for (work, pattern) in CARE {
        wanted.push((work, pattern.parse::<Pattern>().expect("a test parses it")));
    }
    let mut added = Vec::new();
    for (work, pattern) in wanted {
        if upkeep.scheduled.iter().any(|one| one.work == work) {
            continue;
        }
        let (zone, since) = (args.time_zone.clone(), context.clock.now());
        upkeep.scheduled.push(Scheduled { work, pattern, zone, jitter_s: JITTER_S, since });
        added.push(work);
    }
    upkeep.scheduled.sort_by_key(|one| one.work);
    if let (None, Rpo::Hours(hours)) = (upkeep.rpo_hours, args.rpo) {
        upkeep.rpo_hours = Some(hours);
    }
    if upkeep != collection.upkeep {
        store.index.set_upkeep(&collection.id, &upkeep).await?;
    }
    Ok(added)
}

/// What is left to do, for people.
fn next_steps(store: &Store, args: &ProtectArgs, told: bool, service: bool, context: &Context) {
    let out = &context.output;
    if !told {
        out.remark("Nobody is told when something is wrong: say --webhook, --alert-command or --ping, or see [alerts] in docs/configuration.md.");
    }
    if store.running_server().is_some() {
        out.remark("The server that runs here does the rest; it reads who is told when it starts.");
    } else if !service && !args.service {
        out.remark("Nothing is done by itself before a server runs: 'bulbil serve', or this command with --service.");
    }
}

fn problem(subject: &str, error: &anyhow::Error) -> Problem {
    Problem { subject: subject.to_owned(), message: super::output::one_line(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_scheduled_beside_backups_can_be_read() {
        for (work, pattern) in CARE {
            assert!(pattern.parse::<Pattern>().is_ok(), "{work}: {pattern}");
        }
    }
}

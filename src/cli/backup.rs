//! `bulbil backup`

use std::sync::Arc;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::backup::create::{CommandSource, Extras};
use crate::backup::preview::preview;
use crate::backup::select;
use crate::clock::Clock;
use crate::domain::id::ManifestId;
use crate::domain::manifest::CaptureMode;
use crate::domain::metadata::path::TreePath;
use crate::domain::preset::Preset;
use crate::monitor::{Counter, Monitor, Problem};
use crate::portable::export::ExportOptions;
use crate::store::index::{Cause, Collection, CollectionKind, CollectionSettings, Mark};
use crate::store::{Store, blocking};
use crate::worker::runs::{BackupReport, LISTED, LeftOutMore, LeftOutReport, Recorder};

use super::admin::AdminClient;
use super::args::{BackupArgs, CaptureArg};
use super::by_server::Server;
use super::context::Context;
use super::output::{Outcome, bytes, count, took};
use super::progress::Progress;

/// So many things that were left out are told one by one to people.
const TOLD: usize = 20;

/// What was asked for beside the collections.
struct Options {
    capture: Option<CaptureMode>,
    accept_shrink: bool,
    commands: Vec<CommandSource>,
}

fn options(args: &BackupArgs, collections: &[Collection], now: Timestamp) -> anyhow::Result<Options> {
    let capture = args.capture.map(|capture| match capture {
        CaptureArg::Stopped => CaptureMode::Stopped,
        CaptureArg::Paused => CaptureMode::Paused,
        CaptureArg::FilesystemSnapshot => CaptureMode::FilesystemSnapshot,
    });
    let mut commands = Vec::new();
    if let (Some(command), Some(name)) = (&args.from_command, &args.name) {
        let [collection] = collections else { bail!("name one collection to put the command's output into") };
        let plain = !name.chars().any(char::is_control);
        let path = TreePath::new(name.clone().into_bytes()).ok().filter(|path| plain && path.parent().is_none());
        let path = path.with_context(|| {
            format!("{name:?} is no name for a file: it has to be one name, without '/' and control characters")
        })?;
        let mut roots = collection.settings.iter().flat_map(|settings| &settings.roots);
        if roots.any(|root| root.name == *name) {
            bail!("the collection has a folder {name:?} already: call the command's output something else");
        }
        commands.push(CommandSource { path, command: command.clone(), changed_at: now });
    }
    Ok(Options { capture, accept_shrink: args.accept_shrink, commands })
}

/// Makes a snapshot of every collection, or of those named.
pub async fn run(args: BackupArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let collections = wanted(&store, &args.collections).await?;
    if args.dry_run {
        return look(&store, &collections, &args, context).await;
    }
    let server = Server::running(&store, only_here(&args), context).await?;
    let cancel = server.as_ref().map_or_else(|| context.cancellation(), |server| server.stop().clone());
    let progress = context.progress();
    let mut documents = Vec::new();
    let (mut partial, mut unsound) = (false, false);
    let options = options(&args, &collections, context.clock.now())?;
    let mut failed = 0;
    for collection in &collections {
        if cancel.is_cancelled() {
            break;
        }
        let before = progress.notices().len();
        let came = match &server {
            Some(server) => server.run(&order(collection, &args), &progress).await,
            None => make(&store, collection, &options, progress.clone(), &cancel, context).await,
        };
        let created: BackupReport = match came {
            Ok(Some(created)) => created,
            Ok(None) => {
                // It is that one which is to be found again.
                if let Some(newest) = store.index.latest(&collection.id, false).await? {
                    mark(&store, &newest.id, &args).await?;
                }
                progress.suspend(|| {
                    context.output.line(format!("{}: nothing new since the last snapshot", collection.name))
                });
                continue;
            }
            // One collection that fails does not keep the others from being backed up.
            Err(error) if collections.len() > 1 && !cancel.is_cancelled() => {
                failed += 1;
                if failed == collections.len() {
                    return Err(error);
                }
                context.note(format!("{}: failed: {error}", collection.name));
                let message = format!("no snapshot was made: {error}");
                progress.problem(Problem { subject: collection.name.clone(), message });
                continue;
            }
            Err(error) => {
                context.note(collection.name.clone());
                return Err(error);
            }
        };
        mark(&store, &created.id, &args).await?;
        let partial_word = if created.partial { " (partial)" } else { "" };
        context.note(format!("{}@{} {}{partial_word}", collection.name, created.sequence, created.id.short()));
        AdminClient::feed_changed(&store).await;
        let application = collection.settings.as_ref().and_then(|settings| settings.application.as_ref());
        let preset = application.and_then(|application| store.preset(&application.preset).ok());
        progress.suspend(|| {
            for notice in &progress.notices()[before..] {
                context.output.remark(format!("note: {notice}"));
            }
            say(&created, preset.as_ref(), context);
        });
        partial |= created.partial;
        unsound |= !created.capture.is_sound();
        let mut document = json!(created);
        document["pinned"] = json!(args.pin);
        document["tags"] = json!(args.tag);
        documents.push(document);
    }
    if let Some(output) = args.output.as_deref().filter(|_| !cancel.is_cancelled()) {
        let ids = collections.iter().map(|collection| collection.id).collect();
        let options = ExportOptions { collections: ids, ..ExportOptions::default() };
        let exported = super::export::into(&store, output, &options, &progress, &cancel, context).await?;
        progress.suspend(|| super::export::say(&exported, context));
    }
    progress.finish();
    let problems = progress.problems();
    context.output.document("backup", documents, &problems);
    if partial || unsound {
        context.output.outcome(&problems);
        return Ok(Outcome::NotEverything);
    }
    Ok(context.output.outcome(&problems))
}

/// Says what would be taken and left out.
async fn look(
    store: &Store,
    collections: &[Collection],
    args: &BackupArgs,
    context: &Context,
) -> anyhow::Result<Outcome> {
    let progress = context.progress();
    let mut documents = Vec::new();
    for collection in collections {
        let settings = collection.settings.clone();
        let Some(mut settings) = settings.filter(|settings| settings.kind == CollectionKind::Directory) else {
            progress.suspend(|| context.output.line(format!("{}: there are no folders to look at", collection.name)));
            continue;
        };
        settings.excludes.extend(args.exclude.iter().cloned());
        let application = settings.application.as_ref();
        let preset = application.map(|application| store.preset(&application.preset)).transpose()?;
        let (at, of_walk, monitor, cancel) = (store.clone(), preset.clone(), progress.clone(), context.cancellation());
        progress.task(&format!("looking at {}", collection.name), Counter::Entries, None);
        let found = blocking(move || preview(&at, &settings, of_walk.as_ref(), &*monitor, &cancel)).await?;
        progress.suspend(|| {
            context.output.line(format!(
                "{}: would take {}, {}, {}",
                collection.name,
                count(found.files, "file"),
                count(found.directories, "directory"),
                bytes(found.bytes)
            ));
            let left_out: Vec<LeftOutReport> = found.left_out.iter().map(LeftOutReport::from).collect();
            say_left_out(&left_out, LeftOutMore::default(), preset.as_ref(), context);
        });
        documents.push(json!({
            "collection": collection.name, "files": found.files, "directories": found.directories, "others": found.others,
            "bytes": found.bytes, "left_out": found.left_out.iter().take(LISTED).map(LeftOutReport::from).collect::<Vec<_>>(),
        }));
    }
    progress.finish();
    let problems = progress.problems();
    context.output.document("backup --dry-run", documents, &problems);
    Ok(context.output.outcome(&problems))
}

/// Pins and tags a snapshot, if that was asked for.
async fn mark(store: &Store, snapshot: &ManifestId, args: &BackupArgs) -> anyhow::Result<()> {
    if args.pin || !args.tag.is_empty() {
        let change = |mark: &mut Mark| {
            mark.pinned |= args.pin;
            mark.tags.extend(args.tag.iter().cloned());
        };
        store.index.mark(snapshot, change).await?;
    }
    Ok(())
}

/// Backs up folders, or what is known of an Axon BBS; nothing if that is in a snapshot already.
async fn make(
    store: &Store,
    collection: &Collection,
    options: &Options,
    progress: Arc<Progress>,
    cancel: &CancellationToken,
    context: &Context,
) -> anyhow::Result<Option<BackupReport>> {
    let Options { capture, accept_shrink, commands } = options;
    let extras =
        Extras { capture: *capture, accept_shrink: *accept_shrink, commands: commands.clone(), ..Extras::default() };
    let recorder = Recorder::new(store, Cause::Command, context.clock.clone(), cancel);
    let created = recorder.back_up(collection, extras, progress).await?;
    Ok(created.map(|created| BackupReport::of(&collection.name, &created, LISTED)))
}

/// An option for which the server does not make the backup.
fn only_here(args: &BackupArgs) -> Option<&'static str> {
    let BackupArgs { from_command, output, capture, .. } = args;
    from_command
        .as_ref()
        .map(|_| "--from-command")
        .or_else(|| output.as_ref().map(|_| "--output"))
        .or_else(|| capture.map(|_| "--capture"))
}

/// What the server is asked for.
fn order(collection: &Collection, args: &BackupArgs) -> Value {
    json!({ "kind": "backup", "collection": collection.name, "accept_shrink": args.accept_shrink })
}

/// Whether there is anything to back up: a collection of old archives has no folders.
fn has_something(settings: &CollectionSettings) -> bool {
    settings.kind == CollectionKind::Axon || !settings.roots.is_empty()
}

async fn wanted(store: &Store, names: &[String]) -> anyhow::Result<Vec<Collection>> {
    if names.is_empty() {
        let all = store.index.collections().await?;
        let own: Vec<Collection> =
            all.into_iter().filter(|collection| collection.settings.as_ref().is_some_and(has_something)).collect();
        if own.is_empty() {
            bail!("there is nothing to back up yet: 'bulbil collection add NAME FOLDER' says what");
        }
        return Ok(own);
    }
    let mut collections = Vec::new();
    for name in names {
        collections.push(select::collection(store, name).await?);
    }
    Ok(collections)
}

/// Says what became of a backup.
pub(super) fn say(created: &BackupReport, preset: Option<&Preset>, context: &Context) {
    let s = &created.statistics;
    let what = if created.partial { "interrupted, partial snapshot" } else { "snapshot" };
    context.output.line(format!("{}@{}  {what} {}", created.collection, created.sequence, created.id.short()));
    context.output.line(format!(
        "  {}, {}, {}; read {} ({}), stored {} in {}; {}",
        count(s.files, "file"),
        count(s.directories, "directory"),
        bytes(s.bytes),
        count(s.files_read, "file"),
        bytes(s.bytes_read),
        bytes(s.new_bytes),
        count(s.new_chunks, "chunk"),
        took(created.took()),
    ));
    let capture = &created.capture;
    let passes = if capture.passes > 1 { format!(", gone through {} times", capture.passes) } else { String::new() };
    if let Some(preset) = &capture.preset {
        context.output.line(format!("  by {preset}, {}{passes}", capture.mode.word()));
    }
    for name in &created.secrets.stored {
        context.output.line(format!("  stored {name} under the recovery key, apart from the data"));
    }
    say_left_out(&created.left_out, created.left_out_more.unwrap_or_default(), preset, context);
    for name in &created.secrets.changed {
        context.output.warning(format!(
            "warning: {name} is another one than before. If nobody changed it on purpose, put the old one back: 'bulbil secret list {0}' and 'bulbil secret show {0} {name} --fingerprint …'",
            created.collection
        ));
    }
    for lost in &created.secrets.lost {
        context.output.warning(format!(
            "warning: {lost}. A value is stored from before: 'bulbil secret list {}'",
            created.collection
        ));
    }
    for missing in created.missing_secrets() {
        context.output.warning(format!("warning: {missing}"));
    }
    for reason in &capture.inconsistent {
        context.output.warning(format!("inconsistent: {reason}"));
    }
    for what in &capture.shrunk {
        context.output.warning(format!("shrunk: {what}"));
    }
    if !capture.inconsistent.is_empty() {
        context.output.warning(
            "The snapshot is kept and marked inconsistent; earlier ones are what they were. 'bulbil check' shows all of it.",
        );
    }
    if !capture.shrunk.is_empty() {
        context.output.warning(
            "The snapshot is kept and marked as shrunk. Look whether data was lost; if all is well, say 'bulbil backup --accept-shrink'.",
        );
    }
    if created.beside {
        context.output.remark("  another instance took the collection over meanwhile: it is kept, beside the line");
    }
    if created.partial {
        context.output.remark("  the next backup goes on from here");
    }
}

fn say_left_out(left_out: &[LeftOutReport], more: LeftOutMore, preset: Option<&Preset>, context: &Context) {
    let patterns = preset.map(Preset::patterns).unwrap_or_default();
    let why = |pattern: &str| match preset.and_then(|preset| preset.why(pattern)) {
        Some(why) => why.to_owned(),
        None if patterns.iter().any(|other| other == pattern) => "no part of the application's data".to_owned(),
        None => format!("by {pattern}"),
    };
    for one in left_out.iter().take(TOLD) {
        let what = format!("{} in {}", bytes(one.bytes), count(one.files, "file"));
        let why = why(&one.pattern);
        context.output.line(format!("  left out: {} ({what}): {why}", one.path));
    }
    let add = |sum: LeftOutMore, one: &LeftOutReport| LeftOutMore {
        things: sum.things + 1,
        files: sum.files + one.files,
        bytes: sum.bytes + one.bytes,
    };
    let rest = left_out.iter().skip(TOLD).fold(more, add);
    if rest.things > 0 {
        let what = format!("{} in {}", bytes(rest.bytes), count(rest.files, "file"));
        context.output.line(format!("  left out: {} more ({what}); --json names them", count(rest.things, "thing")));
    }
}

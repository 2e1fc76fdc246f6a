//! `bulbil backup`

use std::sync::Arc;

use anyhow::bail;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::backup::create::{Created, create};
use crate::backup::select;
use crate::monitor::{Monitor, Problem};
use crate::portable::export::ExportOptions;
use crate::store::Store;
use crate::store::index::{Collection, CollectionKind};
use crate::worker::axon;

use super::admin::AdminClient;
use super::args::BackupArgs;
use super::context::Context;
use super::output::{Outcome, bytes, count, took};
use super::progress::Progress;

/// Makes a snapshot of every collection, or of those named.
pub async fn run(args: BackupArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let collections = wanted(&store, &args.collections).await?;
    let cancel = context.cancellation();
    let progress = context.progress();
    let mut documents = Vec::new();
    let mut partial = false;
    let mut failed = 0;
    for collection in &collections {
        if cancel.is_cancelled() {
            break;
        }
        let before = progress.notices().len();
        let created = match make(&store, collection, progress.clone(), &cancel, context).await {
            Ok(Some(created)) => created,
            Ok(None) => {
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
        let partial_word = if created.partial { " (partial)" } else { "" };
        context.note(format!("{}@{} {}{partial_word}", collection.name, created.sequence, created.id.short()));
        AdminClient::feed_changed(&store).await;
        progress.suspend(|| {
            for notice in &progress.notices()[before..] {
                context.output.remark(format!("note: {notice}"));
            }
            say(collection, &created, context);
        });
        partial |= created.partial;
        documents.push(json!({
            "collection": collection.name, "id": created.id, "sequence": created.sequence,
            "partial": created.partial, "beside": created.beside, "statistics": created.statistics, "seconds": created.took.as_secs_f64(),
        }));
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
    if partial {
        context.output.outcome(&problems);
        return Ok(Outcome::NotEverything);
    }
    Ok(context.output.outcome(&problems))
}

/// Backs up folders, or what is known of an Axon BBS; nothing if that is in a snapshot already.
async fn make(
    store: &Store,
    collection: &Collection,
    progress: Arc<Progress>,
    cancel: &CancellationToken,
    context: &Context,
) -> anyhow::Result<Option<Created>> {
    let is_axon = collection.settings.as_ref().is_some_and(|settings| settings.kind == CollectionKind::Axon);
    if is_axon {
        return Ok(axon::snapshot(store, collection, &*context.clock, progress, cancel).await?);
    }
    Ok(Some(create(store, collection, &*context.clock, progress, cancel).await?))
}

async fn wanted(store: &Store, names: &[String]) -> anyhow::Result<Vec<Collection>> {
    if names.is_empty() {
        let all = store.index.collections().await?;
        let own: Vec<Collection> = all.into_iter().filter(|collection| collection.settings.is_some()).collect();
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

fn say(collection: &Collection, created: &Created, context: &Context) {
    let s = &created.statistics;
    let what = if created.partial { "interrupted, partial snapshot" } else { "snapshot" };
    context.output.line(format!("{}@{}  {what} {}", collection.name, created.sequence, created.id.short()));
    context.output.line(format!(
        "  {}, {}, {}; read {} ({}), stored {} in {}; {}",
        count(s.files, "file"),
        count(s.directories, "directory"),
        bytes(s.bytes),
        count(s.files_read, "file"),
        bytes(s.bytes_read),
        bytes(s.new_bytes),
        count(s.new_chunks, "chunk"),
        took(created.took),
    ));
    if created.beside {
        context.output.remark("  another instance took the collection over meanwhile: it is kept, beside the line");
    }
    if created.partial {
        context.output.remark("  the next backup goes on from here");
    }
}

//! `bulbil snapshot pin|unpin|tag|untag|unflag|delete`

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::backup::create::moment;
use crate::backup::{prune, select};
use crate::clock::Clock;
use crate::store::Store;
use crate::store::index::{Mark, Snapshot};

use super::admin::AdminClient;
use super::args::{SnapshotCommand, SnapshotDeleteArgs};
use super::by_server::Server;
use super::context::Context;
use super::output::{Outcome, bytes, count};

/// What is done to a mark.
type Change = Box<dyn FnOnce(&mut Mark) + Send>;

/// Changes what is known of a snapshot beside its content.
pub async fn run(command: SnapshotCommand, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let (text, change): (String, Change) = match command {
        SnapshotCommand::Delete(args) => return delete(args, &store, context).await,
        SnapshotCommand::Pin(args) => (args.snapshot, Box::new(|mark| mark.pinned = true)),
        SnapshotCommand::Unpin(args) => (args.snapshot, Box::new(|mark| mark.pinned = false)),
        SnapshotCommand::Tag(args) => (args.snapshot, Box::new(move |mark| mark.tags.extend(args.tags))),
        SnapshotCommand::Untag(args) => {
            (args.snapshot, Box::new(move |mark| mark.tags.retain(|tag| !args.tags.contains(tag))))
        }
        SnapshotCommand::Unflag(args) => (args.snapshot, Box::new(|mark| mark.flagged = None)),
    };
    let snapshot = select::snapshot(&store, &text).await?;
    let mark = store.index.mark(&snapshot.id, change).await?;
    let name = name(&store, &snapshot).await?;
    context.note(format!("{name} {}", snapshot.id.short()));
    let words = in_words(&mark);
    if !words.is_empty() {
        context.note(words.clone());
    }
    context.output.line(format!("{name}: {}", if words.is_empty() { "no pin, no tags" } else { &words }));
    let mut document = document(&mark);
    document["snapshot"] = json!(name);
    document["id"] = json!(snapshot.id);
    context.output.document("snapshot", document, &[]);
    Ok(Outcome::Done)
}

/// Says what would go, and with `--yes` deletes it.
async fn delete(args: SnapshotDeleteArgs, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let snapshot = select::snapshot(store, &args.snapshot).await?;
    let name = name(store, &snapshot).await?;
    let (out, now) = (&context.output, context.clock.now());
    let stays = || format!("{name} stays");
    let frees = prune::delete::look(store, &snapshot, now).await.with_context(stays)?;
    context.note(format!("{name} {}", snapshot.id.short()));
    if args.yes {
        match Server::running(store, None, context).await? {
            Some(server) => {
                let gone = server.delete::<()>(&format!("/admin/v1/snapshots/{}", snapshot.id)).await;
                gone.with_context(stays)?;
            }
            None => {
                prune::delete::delete(store, &snapshot, now).await.with_context(stays)?;
                AdminClient::feed_changed(store).await;
            }
        }
    }
    let made = moment(snapshot.created_at);
    let leans = format!("{} in {}", bytes(frees.bytes), count(frees.chunks, "chunk"));
    match args.yes {
        true => out.line(format!("{name}, made {made}, is deleted; {leans} that only it needed are freed by prunes, a day from now")),
        false => {
            out.line(format!("{name}, made {made}, would be deleted; only it needs {leans}"));
            out.remark("Peers and targets that have it keep it. Nothing was changed: --yes deletes it.");
        }
    }
    let document = json!({
        "snapshot": name, "id": snapshot.id, "created_at": snapshot.created_at, "frees": frees, "deleted": args.yes,
    });
    out.document("snapshot delete", document, &[]);
    Ok(Outcome::Done)
}

async fn name(store: &Store, snapshot: &Snapshot) -> anyhow::Result<String> {
    let collection = store.index.collection(&snapshot.collection).await?;
    let name = collection.map_or_else(|| snapshot.collection.short(), |collection| collection.name);
    Ok(format!("{name}@{}", snapshot.sequence))
}

/// What is known of a snapshot, in words.
pub(super) fn in_words(mark: &Mark) -> String {
    let mut words = Vec::new();
    if mark.pinned {
        words.push("pinned".to_owned());
    }
    if let Some(why) = &mark.flagged {
        words.push(format!("flagged: {why}"));
    }
    if !mark.tags.is_empty() {
        let tags: Vec<String> = mark.tags.iter().map(ToString::to_string).collect();
        words.push(format!("tagged {}", tags.join(", ")));
    }
    words.join(", ")
}

/// The same as JSON.
pub(super) fn document(mark: &Mark) -> Value {
    json!({ "pinned": mark.pinned, "tags": mark.tags, "flagged": mark.flagged, "verified_at": mark.verified_at })
}

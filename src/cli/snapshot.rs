//! `bulbil snapshot pin|unpin|tag|untag|unflag`

use serde_json::{Value, json};

use crate::backup::select;
use crate::store::Store;
use crate::store::index::{Mark, Snapshot};

use super::args::SnapshotCommand;
use super::context::Context;
use super::output::Outcome;

/// What is done to a mark.
type Change = Box<dyn FnOnce(&mut Mark) + Send>;

/// Changes what is known of a snapshot beside its content.
pub async fn run(command: SnapshotCommand, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let (text, change): (String, Change) = match command {
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

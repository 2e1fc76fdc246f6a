//! `bulbil snapshots`

use serde_json::json;

use crate::backup::create::moment;
use crate::backup::open::OpenSnapshot;
use crate::backup::select;

use super::args::SnapshotsArgs;
use super::context::Context;
use super::output::{Outcome, bytes, number};
use super::snapshot::in_words;

/// Lists snapshots.
pub async fn run(args: SnapshotsArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let mut wanted = Vec::new();
    for name in &args.collections {
        wanted.push(select::collection(&store, name).await?);
    }
    if wanted.is_empty() {
        wanted = store.index.collections().await?;
    }
    let marks = store.index.marks().await?;
    let mut documents = Vec::new();
    let mut rows = Vec::new();
    for collection in &wanted {
        let captures = store.index.captures(&collection.id).await?;
        for snapshot in store.index.snapshots(Some(&collection.id)).await? {
            let statistics = OpenSnapshot::open(&store, &snapshot.id).ok().map(|open| open.private.statistics);
            let mark = marks.get(&snapshot.id).cloned().unwrap_or_default();
            let words = in_words(&mark);
            let mut remarks = Vec::new();
            if !words.is_empty() {
                remarks.push(words.as_str());
            }
            if snapshot.partial {
                remarks.push("partial");
            }
            if snapshot.beside {
                remarks.push("beside the line");
            }
            if !snapshot.complete {
                remarks.push("chunks missing");
            }
            if !snapshot.has_key {
                remarks.push("no key");
            }
            let capture = captures.iter().find(|(id, _)| *id == snapshot.id).map(|(_, capture)| capture);
            if capture.is_some_and(|capture| !capture.inconsistent.is_empty()) {
                remarks.push("inconsistent");
            }
            if capture.is_some_and(|capture| !capture.shrunk.is_empty()) {
                remarks.push("shrunk");
            }
            let (files, size) = match &statistics {
                Some(s) => (number(s.files), bytes(s.bytes)),
                None => ("?".to_owned(), "?".to_owned()),
            };
            rows.push([
                format!("{}@{}", collection.name, snapshot.sequence),
                snapshot.id.short(),
                moment(snapshot.created_at),
                files,
                size,
                bytes(snapshot.chunk_bytes),
                remarks.join(", "),
            ]);
            documents.push(json!({
                "collection": collection.name, "sequence": snapshot.sequence, "id": snapshot.id,
                "instance": snapshot.instance, "beside": snapshot.beside, "created_at": snapshot.created_at, "partial": snapshot.partial,
                "complete": snapshot.complete, "has_key": snapshot.has_key, "chunks": snapshot.chunks,
                "chunk_bytes": snapshot.chunk_bytes, "statistics": statistics, "capture": capture,
                "pinned": mark.pinned, "tags": mark.tags, "flagged": mark.flagged, "verified_at": mark.verified_at,
            }));
        }
    }
    if rows.is_empty() {
        context.output.remark("There are no snapshots yet: 'bulbil backup' makes one.");
    } else {
        let head = ["snapshot", "id", "made", "files", "size", "stored", ""].map(str::to_owned);
        context.output.table(&head, &rows);
    }
    context.output.document("snapshots", documents, &[]);
    Ok(Outcome::Done)
}

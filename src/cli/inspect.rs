//! `bulbil inspect`: who can open a snapshot and which of its chunks are here; or which snapshots lean on a chunk.

use anyhow::bail;
use serde_json::{Value, json};

use crate::backup::inspect::{Addressee, inspect, listed_chunks};
use crate::backup::select::{self, SelectError};
use crate::domain::id::{ChunkId, ManifestId};
use crate::store::Store;
use crate::store::index::Snapshot;

use super::args::InspectArgs;
use super::context::Context;
use super::output::{Outcome, bytes, count};

/// Shows what is known of a snapshot or a chunk.
pub async fn run(args: InspectArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    match select::snapshot(&store, &args.hash).await {
        Ok(found) => snapshot(&store, &found, context).await,
        Err(SelectError::NoSnapshot(_) | SelectError::NoCollection { .. }) if is_hex(&args.hash) => {
            chunk(&store, &args.hash, context).await
        }
        Err(error) => Err(error.into()),
    }
}

fn is_hex(text: &str) -> bool {
    (6..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

async fn snapshot(store: &Store, found: &Snapshot, context: &Context) -> anyhow::Result<Outcome> {
    let seen = inspect(store, found).await?;
    let out = &context.output;
    out.line(format!("{}@{}  {}", seen.collection, seen.sequence, seen.id));
    out.line(format!("  made by     {}", who(store, &seen.instance).await?));
    out.line(format!("  made        {:.0}{}", seen.created_at, if seen.partial { ", partial" } else { "" }));
    out.line("  signature   holds");
    let opened = match (&seen.inside, &seen.closed) {
        (Some((name, files)), _) => format!("yes: {name}, {}", count(*files, "file")),
        (None, why) => format!("no: {}", why.as_deref().unwrap_or_default()),
    };
    out.line(format!("  opens here  {opened}"));
    let of = match seen.lists_here {
        true => count(seen.chunks, "chunk"),
        false => format!("{} (lists are missing)", seen.chunks),
    };
    out.line(format!("  chunks      {} of {of} here, {} in all", seen.chunks_here, bytes(seen.chunk_bytes)));
    for mark in &seen.secrets {
        out.line(format!("  secret      {} {}", mark.name, mark.fingerprint));
    }
    out.line("  envelopes");
    for Addressee { algorithm, recipient, whose } in &seen.envelopes {
        let short: String = recipient.chars().take(16).collect();
        out.line(format!("    {algorithm:<32} {short:<16} {whose}"));
    }
    let mut document = json!(seen);
    document["kind"] = "snapshot".into();
    out.document("inspect", document, &[]);
    Ok(Outcome::Done)
}

/// An instance in words.
async fn who(store: &Store, instance: &crate::domain::id::InstanceId) -> anyhow::Result<String> {
    if *instance == store.keys.instance() {
        return Ok(format!("{} (this instance)", instance.short()));
    }
    let peer = store.index.peer(instance).await?;
    Ok(peer.map_or_else(
        || format!("{} (not a peer)", instance.short()),
        |peer| format!("{} ({})", instance.short(), peer.name),
    ))
}

async fn chunk(store: &Store, prefix: &str, context: &Context) -> anyhow::Result<Outcome> {
    let mut found: Option<(ChunkId, &'static str, Option<u32>)> = None;
    let mut users: Vec<(String, ManifestId)> = Vec::new();
    for snapshot in store.index.snapshots(None).await? {
        let (signed, _) = store.manifests.load(&snapshot.id)?;
        let segments = signed.manifest.segments.iter().map(|summary| (summary.id, "list of chunks", None));
        let chunks = listed_chunks(store, &snapshot.id)?.chunks;
        let chunks = chunks.into_iter().map(|(id, size)| (id, "chunk", Some(size)));
        let mut leans = false;
        for item in segments.chain(chunks).filter(|(id, _, _)| id.to_string().starts_with(prefix)) {
            if found.as_ref().is_some_and(|(id, _, _)| *id != item.0) {
                bail!("{prefix:?} fits several chunks: give more digits of the id");
            }
            found = Some(item);
            leans = true;
        }
        if leans {
            let collection = store.index.collection(&snapshot.collection).await?;
            let name = collection.map_or_else(|| snapshot.collection.short(), |collection| collection.name);
            users.push((format!("{name}@{}", snapshot.sequence), snapshot.id));
        }
    }
    let Some((id, kind, size)) = found else {
        bail!("there is no snapshot and no chunk whose id begins with {prefix:?}: 'bulbil snapshots' lists snapshots")
    };
    let stored = store.chunks.size(&id)?;
    let out = &context.output;
    out.line(format!("{kind} {id}"));
    let size_bytes = stored.or(size.map(u64::from));
    out.line(format!("  size     {}", size_bytes.map_or_else(|| "not known".to_owned(), bytes)));
    out.line(format!("  here     {}", if stored.is_some() { "yes" } else { "no: 'bulbil fetch' gets it from a peer" }));
    out.line("  used by");
    for (name, manifest) in &users {
        out.line(format!("    {name}  {}", manifest.short()));
    }
    let users: Vec<Value> = users.iter().map(|(name, id)| json!({ "snapshot": name, "id": id })).collect();
    let document = json!({
        "kind": kind, "id": id, "size_bytes": size_bytes, "here": stored.is_some(), "used_by": users,
    });
    out.document("inspect", document, &[]);
    Ok(Outcome::Done)
}

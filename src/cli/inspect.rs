//! `bulbil inspect`: who can open a snapshot and which of its chunks are here; or which snapshots lean on a chunk.

use std::collections::HashSet;

use anyhow::bail;
use serde_json::{Value, json};

use crate::backup::open::OpenSnapshot;
use crate::backup::select::{self, SelectError};
use crate::domain::envelope::{Envelope, HPKE_X25519, RSA_OAEP_256, VAULT};
use crate::domain::id::{ChunkId, ManifestId};
use crate::domain::segment::Segment;
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
    let (signed, envelopes) = store.manifests.load(&found.id)?;
    let manifest = &signed.manifest;
    let collection = store.index.collection(&found.collection).await?;
    let name = collection.map_or_else(|| found.collection.short(), |collection| collection.name);
    let opens = OpenSnapshot::open(store, &found.id);
    let listed = listed_chunks(store, &found.id)?;
    let mut here = 0u64;
    for (id, size) in &listed.chunks {
        here += u64::from(store.chunks.size(id)? == Some(u64::from(*size)));
    }
    let out = &context.output;
    out.line(format!("{name}@{}  {}", found.sequence, found.id));
    out.line(format!("  made by     {}", who(store, &manifest.instance).await?));
    out.line(format!("  made        {:.0}{}", manifest.created_at, if manifest.partial { ", partial" } else { "" }));
    out.line("  signature   holds");
    let opened = match &opens {
        Ok(open) => format!("yes: {}, {}", open.private.name, count(open.private.statistics.files, "file")),
        Err(error) => format!("no: {error}"),
    };
    out.line(format!("  opens here  {opened}"));
    let of =
        if listed.whole { count(manifest.chunks, "chunk") } else { format!("{} (lists are missing)", manifest.chunks) };
    out.line(format!("  chunks      {here} of {of} here, {} in all", bytes(manifest.chunk_bytes)));
    let secrets =
        opens.as_ref().ok().and_then(|open| open.private.capture.as_ref()).map(|capture| capture.secrets.as_slice());
    let secrets = secrets.unwrap_or_default();
    for mark in secrets {
        out.line(format!("  secret      {} {}", mark.name, mark.fingerprint));
    }
    out.line("  envelopes");
    let mut recipients = Vec::new();
    for envelope in &envelopes {
        let (whose, short) = recipient(store, envelope).await?;
        out.line(format!("    {:<32} {short:<16} {whose}", envelope.algorithm));
        recipients.push(json!({ "algorithm": envelope.algorithm, "recipient": envelope.recipient, "whose": whose }));
    }
    let document = json!({
        "kind": "snapshot", "id": found.id, "collection": name, "collection_id": found.collection,
        "sequence": found.sequence, "instance": manifest.instance, "created_at": manifest.created_at,
        "partial": manifest.partial, "opens": opens.is_ok(), "chunks": manifest.chunks, "chunks_here": here,
        "chunk_bytes": manifest.chunk_bytes, "lists_here": listed.whole, "envelopes": recipients,
        "secrets": secrets,
    });
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

/// For whom an envelope is, and the short form of the recipient's name.
async fn recipient(store: &Store, envelope: &Envelope) -> anyhow::Result<(String, String)> {
    let short: String = envelope.recipient.chars().take(16).collect();
    let whose = match envelope.algorithm.as_str() {
        VAULT => "this instance's master key".to_owned(),
        HPKE_X25519 if envelope.recipient == store.keys.recovery.id() => "this instance's recovery key".to_owned(),
        HPKE_X25519 => "the recovery key of who made it".to_owned(),
        RSA_OAEP_256 if envelope.recipient == store.keys.envelope.recipient().id() => "this instance".to_owned(),
        RSA_OAEP_256 => {
            let mut name = "somebody else, or an earlier key".to_owned();
            for peer in store.index.peers().await? {
                let key = peer.identity.verify(Some(&peer.id)).ok().map(|identity| identity.envelope_key.id());
                if key.as_deref() == Some(envelope.recipient.as_str()) {
                    name = format!("peer {}", peer.name);
                }
            }
            name
        }
        _ => "somebody; this version does not know the algorithm".to_owned(),
    };
    Ok((whose, short))
}

/// The chunks that a snapshot's lists name.
struct Listed {
    chunks: HashSet<(ChunkId, u32)>,
    /// Whether all lists are here.
    whole: bool,
}

fn listed_chunks(store: &Store, id: &ManifestId) -> anyhow::Result<Listed> {
    let (signed, _) = store.manifests.load(id)?;
    let mut listed = Listed { chunks: HashSet::new(), whole: true };
    for summary in &signed.manifest.segments {
        let segment = store.chunks.read(&summary.id).ok().and_then(|bytes| Segment::parse(&bytes).ok());
        match segment {
            Some(segment) => listed.chunks.extend(segment.entries.iter().map(|entry| (entry.id, entry.size_bytes))),
            None => listed.whole = false,
        }
    }
    Ok(listed)
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

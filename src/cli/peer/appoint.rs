//! `bulbil peer appoint`: naming an heir.

use anyhow::ensure;
use serde_json::json;

use crate::backup::select;
use crate::clock::Clock;
use crate::replicate::succession::{SuccessionError, set_heir};
use crate::store::Store;
use crate::store::index::Collection;

use super::super::args::PeerAppointArgs;
use super::super::context::Context;
use super::super::output::Outcome;
use super::super::remote::peer;

/// Names a peer an heir, or one no more.
pub async fn appoint(args: PeerAppointArgs, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let peer = peer(store, &args.peer).await?;
    let collections = wanted(&args.collections, store).await?;
    if let Some(other) = collections.iter().find(|collection| collection.origin != store.keys.instance()) {
        return Err(SuccessionError::NotOurs(other.name.clone()).into());
    }
    let mut names = Vec::new();
    for collection in &collections {
        set_heir(store, collection, &peer, !args.withdraw, context.clock.now()).await?;
        names.push(collection.name.clone());
    }
    let out = &context.output;
    let what = if args.withdraw { "may not take over any more" } else { "may take over" };
    out.line(format!("peer {} {what}: {}", peer.name, names.join(", ")));
    out.remark("Peers hear of it with their next sync.");
    let document = json!({ "name": peer.name, "instance": peer.id, "heir": !args.withdraw, "collections": names });
    out.document("peer appoint", document, &[]);
    Ok(Outcome::Done)
}

/// Those that are named, or all that are led from here.
async fn wanted(names: &[String], store: &Store) -> anyhow::Result<Vec<Collection>> {
    let mut wanted = Vec::new();
    for name in names.iter().filter(|name| *name != "all") {
        wanted.push(select::collection(store, name).await?);
    }
    if wanted.is_empty() {
        wanted = store.index.collections().await?;
        wanted.retain(|collection| collection.origin == store.keys.instance());
        ensure!(!wanted.is_empty(), "no collection is led from here: there is nothing to inherit");
    }
    Ok(wanted)
}

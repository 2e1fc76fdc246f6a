//! `bulbil peer add` and `bulbil peer refresh-key`: asking an instance who it is.

use serde_json::json;

use crate::clock::Clock;
use crate::domain::peer::{PeerAddress, Trust};
use crate::replicate::trust::{self, Refreshed, note};
use crate::store::Store;
use crate::store::index::Peer;

use super::super::args::PeerAddArgs;
use super::super::context::Context;
use super::super::output::Outcome;
use super::super::remote::{caller, consent, document, granted_in_words, words};

/// Notes an instance as pending, and makes itself known there.
pub async fn add(args: PeerAddArgs, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let config = context.config()?;
    let url: PeerAddress = args.url.parse()?;
    consent(context, &config, &url, args.yes)?;
    let caller = caller(store, &config, context);
    let here = store.keys.instance();
    let peer = note(store, &caller, url, args.name, context.clock.now()).await?;
    let out = &context.output;
    context.note(format!("{} {}", peer.name, peer.id.short()));
    out.line(format!("peer {}  {}  {}", peer.name, peer.id.short(), peer.trust.word()));
    out.line("");
    out.line(format!("  its fingerprint   {}", words(&peer.id)));
    out.line(format!("  ours              {}", words(&here)));
    out.line("");
    match &peer.granted {
        Some(granted) => out.line(format!("It lets us have: {}.", granted_in_words(granted))),
        None => out.line("It has put this instance on its list of pending ones."),
    }
    if peer.trust == Trust::Pending {
        out.remark(format!(
            "Compare the words with the other admin, by telephone for instance; on each side:\n  bulbil peer trust {} --words \"…\"",
            peer.name
        ));
    }
    let mut shown = document(&peer);
    shown["own_fingerprint"] = json!(words(&here));
    out.document("peer add", shown, &[]);
    Ok(Outcome::Done)
}

/// Asks a peer for its identity document, and keeps it if its envelope key is newer.
pub async fn refresh_key(peer: Peer, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let refreshed = trust::refresh_key(store, &caller(store, &context.config()?, context), &peer).await?;
    let (out, Refreshed { before, after }) = (&context.output, &refreshed);
    out.line(format!("  old envelope key  version {}  {}", before.1, before.0));
    out.line(format!("  new envelope key  version {}  {}", after.1, after.0));
    out.line(format!("  identity          {}  (the same)", words(&peer.id)));
    let changed = refreshed.is_new();
    if changed {
        out.line(format!("peer {} has a new key; envelopes that it asks for are made for this one", peer.name));
    } else {
        out.line(format!("peer {} still has the key that is known here", peer.name));
    }
    let document = json!({
        "name": peer.name, "instance": peer.id, "changed": changed,
        "before": { "id": before.0, "version": before.1 }, "after": { "id": after.0, "version": after.1 },
    });
    out.document("peer refresh-key", document, &[]);
    Ok(Outcome::Done)
}

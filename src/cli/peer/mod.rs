//! `bulbil peer …`: the step-by-step way to know, trust and shut out other instances.

mod add; // note one by its address, ask it for its key again
mod appoint; // name an heir
mod exposure; // what one has got from here
mod revoke; // shut one out, and say what it has
mod trust; // let one in

use serde_json::json;

use crate::clock::Clock;
use crate::domain::peer::Trust;
use crate::replicate::trust::mirrored_in_words;
use crate::store::Store;
use crate::store::index::Peer;

use super::args::{PeerCommand, PeerKind};
use super::axon::peer as axon;
use super::context::Context;
use super::output::{Outcome, age};
use super::remote::{document, granted_in_words, peer, rights_in_words, words};

/// Adds, trusts, revokes and shows peers.
pub async fn run(command: PeerCommand, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    if let PeerCommand::Show(args)
    | PeerCommand::Revoke(args)
    | PeerCommand::Remove(args)
    | PeerCommand::ResetSync(args) = &command
        && let Some(peer) = axon::known(&store, &args.peer).await?
    {
        return match command {
            PeerCommand::Revoke(_) => axon::revoke(peer, &store, context).await,
            PeerCommand::Remove(_) => axon::remove(&peer, &store, context).await,
            PeerCommand::ResetSync(_) => axon::reset_sync(Some(&peer.name), &store, context).await,
            _ => axon::show(&peer, &store, context).await,
        };
    }
    match command {
        PeerCommand::Add(args) if args.kind == PeerKind::Axon => axon::add(args, &store, context).await,
        PeerCommand::Add(args) => add::add(args, &store, context).await,
        PeerCommand::List => list(&store, context).await,
        PeerCommand::Show(args) => show(&peer(&store, &args.peer).await?, &store, context).await,
        PeerCommand::Trust(args) => trust::run(args, &store, context).await,
        PeerCommand::Rights(args) => super::axon::rights::give(args, &store, context).await,
        PeerCommand::Appoint(args) => appoint::appoint(args, &store, context).await,
        PeerCommand::Revoke(args) => revoke::revoke(peer(&store, &args.peer).await?, &store, context).await,
        PeerCommand::Exposure(args) => exposure::show(peer(&store, &args.peer).await?, &store, context).await,
        PeerCommand::Remove(args) => remove(&peer(&store, &args.peer).await?, &store, context).await,
        PeerCommand::RefreshKey(args) => add::refresh_key(peer(&store, &args.peer).await?, &store, context).await,
        PeerCommand::ResetSync(args) => reset_sync(&peer(&store, &args.peer).await?, &store, context).await,
    }
}

async fn list(store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let peers = store.index.peers().await?;
    let now = context.clock.now();
    let mut rows = Vec::new();
    for peer in &peers {
        let contact = peer.last_contact_at.map(|at| age(now.duration_since(at).as_secs()));
        rows.push([
            peer.name.clone(),
            peer.id.short(),
            peer.trust.word().to_owned(),
            peer.address.as_ref().map_or_else(|| "calls us".to_owned(), ToString::to_string),
            mirrored_in_words(store, peer).await?,
            contact.unwrap_or_else(|| "never".to_owned()),
            peer.last_error.clone().unwrap_or_default(),
        ]);
    }
    let axon_peers = store.index.axon_peers().await?;
    for peer in &axon_peers {
        rows.push(axon::row(peer, store, now).await?);
    }
    if rows.is_empty() {
        context.output.remark(
            "There are no peers yet: 'bulbil invite' lets one in, 'bulbil clone INVITE' joins one, 'bulbil peer add URL' notes one.",
        );
    } else {
        context
            .output
            .table(&["peer", "id", "state", "address", "mirrored", "last pull", ""].map(str::to_owned), &rows);
    }
    let shown = peers.iter().map(document).chain(axon_peers.iter().map(axon::document));
    context.output.document("peer list", shown.collect::<Vec<_>>(), &[]);
    Ok(Outcome::Done)
}

async fn show(peer: &Peer, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let out = &context.output;
    let identity = peer.identity.verify(Some(&peer.id))?;
    out.line(format!("{}  {}", peer.name, peer.id));
    out.line(format!("  fingerprint    {}", words(&peer.id)));
    out.line(format!("  state          {}", peer.trust.word()));
    let address = peer.address.as_ref().map_or_else(|| "not known; it calls us".to_owned(), ToString::to_string);
    out.line(format!("  address        {address}"));
    if let Trust::Trusted(rights) = &peer.trust {
        out.line(format!("  may have here  {}", rights_in_words(store, rights).await?));
    }
    let granted = peer.granted.as_ref().map_or_else(|| "not known".to_owned(), granted_in_words);
    out.line(format!("  lets us have   {granted}"));
    out.line(format!("  pulled from    {}", if peer.follow { "yes" } else { "no" }));
    out.line(format!("  envelope key   version {}, {}", identity.key_version, identity.envelope_key.id()));
    out.line(format!("  known since    {:.0}", peer.added_at));
    let contact = peer.last_contact_at.map_or_else(|| "never".to_owned(), |at| format!("{at:.0}"));
    out.line(format!("  last pull      {contact}"));
    if let Some(error) = &peer.last_error {
        out.line(format!("  last error     {error}"));
    }
    let mut shown = document(peer);
    shown["envelope_key"] = json!({ "id": identity.envelope_key.id(), "version": identity.key_version });
    out.document("peer show", shown, &[]);
    Ok(Outcome::Done)
}

async fn remove(peer: &Peer, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    store.index.remove_peer(&peer.id).await?;
    let out = &context.output;
    out.line(format!("removed peer {}; what was pulled from it stays here", peer.name));
    if peer.trust == Trust::Revoked {
        out.remark("It was revoked. Now that it is forgotten, an invite or 'peer trust' could let it in again.");
    }
    out.document("peer remove", json!({ "name": peer.name, "instance": peer.id }), &[]);
    Ok(Outcome::Done)
}

async fn reset_sync(peer: &Peer, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    store.index.reset_cursor(&peer.id).await?;
    let out = &context.output;
    out.line(format!(
        "the next sync reads the list of {} from its beginning; chunks that are here stay here",
        peer.name
    ));
    out.document("peer reset-sync", json!({ "name": peer.name, "instance": peer.id }), &[]);
    Ok(Outcome::Done)
}

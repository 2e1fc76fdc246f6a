//! `bulbil fetch` and `bulbil rekey`: chunks and keys that are missing here.

use anyhow::Context as _;
use serde_json::json;

use crate::backup::select;
use crate::replicate::pull::Puller;
use crate::store::index::{Cause, Peer};
use crate::worker::runs::{FetchedReport, Recorder, RekeyedReport};

use super::args::{FetchArgs, RekeyArgs};
use super::by_server::Server;
use super::context::Context;
use super::output::{Outcome, bytes, count, took};
use super::quote::Offer;
use super::remote::{caller, puller, sources};

/// Fetches missing chunks from all peers that have them.
pub async fn fetch(args: FetchArgs, context: &Context) -> anyhow::Result<Outcome> {
    let started = std::time::Instant::now();
    let store = context.store().await?;
    let collection = match &args.collection {
        Some(name) => Some(select::collection(&store, name).await?),
        None => None,
    };
    let of = collection.as_ref().map(|collection| &collection.id);
    let peers = sources(&store, args.peer.as_deref()).await?;
    let (progress, cancel) = (context.progress(), context.cancellation());
    let puller = puller(&store, &context.config()?, &args.line, progress.clone(), context);
    let quote = puller.quote(of).await?;
    let offer = Offer::new(quote, &puller, &peers, &args.line);
    if quote.chunks > 0 || quote.lists > 0 {
        progress.suspend(|| context.output.line(offer.in_words()));
    }
    let only_here = args.line.is_given().then_some("a limit of the line");
    let report: FetchedReport = match Server::running(&store, only_here, context).await? {
        Some(server) => {
            let order =
                json!({ "kind": "fetch", "collection": args.collection, "peer": peer_named(&args.peer, &peers) });
            let report = server.run(&order, &progress).await?;
            report.context("the server that runs in this home says nothing of what it fetched")?
        }
        None => {
            let recorder = Recorder::new(&store, Cause::Command, context.clock.clone(), &cancel);
            recorder.fetch(&puller, of, &peers, progress.clone()).await?
        }
    };
    progress.finish();
    let out = &context.output;
    if report.chunks == 0 && report.still_missing == 0 {
        out.line("everything is here already");
    } else {
        out.line(format!(
            "fetched {} in {}; {}",
            bytes(report.bytes),
            count(report.chunks, "chunk"),
            took(started.elapsed())
        ));
    }
    let problems = progress.problems();
    let document = json!({
        "chunks": report.chunks, "bytes": report.bytes, "still_missing": report.still_missing,
        "requests": report.requests, "bad": report.bad, "quote": offer.document(), "seconds": started.elapsed().as_secs_f64(),
    });
    out.document("fetch", document, &problems);
    Ok(out.outcome(&problems))
}

/// The full name of the one peer that was typed, as the server knows it.
pub(super) fn peer_named(typed: &Option<String>, peers: &[Peer]) -> Option<String> {
    typed.as_ref().and(peers.first()).map(|peer| peer.name.clone())
}

/// Asks for the keys of snapshots.
pub async fn rekey(args: RekeyArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let collection = match &args.collection {
        Some(name) => Some(select::collection(&store, name).await?),
        None => None,
    };
    let peers = sources(&store, args.peer.as_deref()).await?;
    let (progress, cancel) = (context.progress(), context.cancellation());
    let RekeyedReport { keys, without_key: closed } = match Server::running(&store, None, context).await? {
        Some(server) => {
            let peer = peer_named(&args.peer, &peers);
            let order = json!({ "kind": "rekey", "collection": args.collection, "peer": peer, "all": args.all });
            let report = server.run(&order, &progress).await?;
            report.context("the server that runs in this home says nothing of the keys that it got")?
        }
        None => {
            let recorder = Recorder::new(&store, Cause::Command, context.clock.clone(), &cancel);
            let caller = caller(&store, &context.config()?, context);
            let puller = Puller::new(store.clone(), caller, progress.clone());
            recorder.rekey(&puller, collection.as_ref(), &peers, args.all, progress.clone()).await?
        }
    };
    progress.finish();
    let out = &context.output;
    out.line(format!("got {}", count(keys, "key")));
    if closed > 0 {
        out.line(format!("{} cannot be opened here: no peer gives a key for them", count(closed, "snapshot")));
    }
    let problems = progress.problems();
    out.document("rekey", json!({ "keys": keys, "without_key": closed }), &problems);
    Ok(out.outcome(&problems))
}

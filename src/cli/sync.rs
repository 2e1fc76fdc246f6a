//! `bulbil sync`: manifests, envelopes and lists of chunks.

use std::collections::BTreeSet;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::domain::peer::Scope;
use crate::replicate::pull::SyncReport;
use crate::store::index::{Cause, Peer};
use crate::worker::runs::{Recorder, SyncedPeer, SyncedReport};

use super::args::SyncArgs;
use super::by_server::Server;
use super::context::Context;
use super::fetch::peer_named;
use super::output::{Outcome, bytes, count};
use super::progress::Progress;
use super::remote::{puller, sources};

/// Asks peers what is new. A running server does it.
pub async fn run(args: SyncArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let peers = sources(&store, args.peer.as_deref()).await?;
    let progress = context.progress();
    let only_here = args.line.is_given().then_some("a limit of the line");
    let server = Server::running(&store, only_here, context).await?;
    let by_server = server.is_some();
    let report = match server {
        Some(server) => there(&server, &args, &peers, &progress, context).await?,
        None => {
            let cancel = context.cancellation();
            let puller = puller(&store, &context.config()?, &args.line, progress.clone(), context);
            let recorder = Recorder::new(&store, Cause::Command, context.clock.clone(), &cancel);
            recorder.sync(&puller, &peers, progress.clone()).await?
        }
    };
    progress.finish();
    for peer in &report.peers {
        context.output.line(format!("{}: {}", peer.peer, in_words(peer)));
    }
    let (chunks, missing) = store.index.count_missing(None).await?;
    say_missing(chunks, missing, context);
    let problems = progress.problems();
    let document = json!({
        "by_server": by_server, "peers": report.peers, "missing": { "chunks": chunks, "bytes": missing },
    });
    context.output.document("sync", document, &problems);
    Ok(context.output.outcome(&problems))
}

/// What the server found. Afterwards it fetches what it mirrors, and that is waited for.
async fn there(
    server: &Server<'_>,
    args: &SyncArgs,
    peers: &[Peer],
    progress: &Progress,
    context: &Context,
) -> anyhow::Result<SyncedReport> {
    context.output.remark("A server runs in this home: it does the work.");
    let order = json!({ "kind": "sync", "peer": peer_named(&args.peer, peers) });
    let report: Option<SyncedReport> = server.run(&order, progress).await?;
    let report = report.context("the server that runs in this home says nothing of what it found")?;
    let mirrors = |peer: &Peer| peer.mirror != Scope::Only(BTreeSet::new());
    if args.peer.is_none() && peers.iter().any(mirrors) && !server.stop().is_cancelled() {
        server.round().await?;
    }
    Ok(report)
}

fn say_missing(chunks: u64, missing: u64, context: &Context) {
    if chunks > 0 {
        context.output.line(format!(
            "still to fetch: {} in {}; 'bulbil fetch' gets them",
            bytes(missing),
            count(chunks, "chunk")
        ));
    }
}

fn in_words(synced: &SyncedPeer) -> String {
    if synced.new_snapshots.is_empty() && synced.keys == 0 && synced.segments == 0 {
        return "nothing new".to_owned();
    }
    format!(
        "{}, {}, {}",
        count(synced.new_snapshots.len() as u64, "new snapshot"),
        count(synced.keys, "key"),
        count(synced.segments, "chunk list")
    )
}

/// A report as JSON.
pub(super) fn document(report: &SyncReport) -> Value {
    json!({
        "new_snapshots": report.new_snapshots, "keys": report.keys, "segments": report.segments,
        "requests": report.requests, "caught_up": report.caught_up,
    })
}

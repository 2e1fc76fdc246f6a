//! `bulbil sync`: manifests, envelopes and lists of chunks.

use std::time::Duration;

use serde_json::{Value, json};

use crate::monitor::{Monitor, Problem};
use crate::replicate::call::PeerCaller;
use crate::replicate::pair::knock;
use crate::replicate::pull::SyncReport;
use crate::store::Store;
use crate::store::index::Peer;

use super::admin::AdminClient;
use super::args::SyncArgs;
use super::context::Context;
use super::output::{Outcome, bytes, count, one_line};
use super::remote::{callee, puller, sources};

/// Asks peers what is new. A running server is asked to do it.
pub async fn run(args: SyncArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let peers = sources(&store, args.peer.as_deref()).await?;
    if args.peer.is_none()
        && !args.line.is_given()
        && let Some(server) = AdminClient::of_running(&store)?
    {
        return by_server(&server, &store, context).await;
    }
    let (progress, cancel) = (context.progress(), context.cancellation());
    let puller = puller(&store, &context.config()?, &args.line, progress.clone(), context);
    let caller = puller.caller();
    let (mut documents, mut failures) = (Vec::new(), Vec::new());
    for peer in peers {
        let peer = with_rights(&store, caller, peer).await;
        match puller.sync(&peer, Duration::ZERO, &cancel).await {
            Ok(report) => {
                progress.suspend(|| context.output.line(format!("{}: {}", peer.name, in_words(&report))));
                let mut shown = document(&report);
                shown["peer"] = json!(peer.name);
                documents.push(shown);
                if let Some(closed) = report.closed {
                    progress.problem(Problem { subject: format!("peer {}", peer.name), message: closed.reason });
                }
            }
            Err(error) => failures.push((peer.name, anyhow::Error::new(error))),
        }
    }
    if documents.is_empty()
        && let Some((name, error)) = failures.pop()
    {
        progress.finish();
        tracing::debug!(peer = name, "the sync failed");
        return Err(error);
    }
    for (name, error) in failures {
        progress.problem(Problem { subject: format!("peer {name}"), message: one_line(&error) });
    }
    progress.finish();
    let (chunks, missing) = store.index.count_missing(None).await?;
    say_missing(chunks, missing, context);
    let problems = progress.problems();
    let document = json!({ "by_server": false, "peers": documents, "missing": { "chunks": chunks, "bytes": missing } });
    context.output.document("sync", document, &problems);
    Ok(context.output.outcome(&problems))
}

/// A peer that was added before it let us in: what it lets us have now is asked for.
async fn with_rights(store: &Store, caller: &PeerCaller, peer: Peer) -> Peer {
    if peer.granted.is_some() {
        return peer;
    }
    let Ok(callee) = callee(&peer) else { return peer };
    match knock(caller, &callee).await {
        Ok(Some(granted)) => {
            let granted = Peer { granted: Some(granted), ..peer };
            if let Err(error) = store.index.save_peer(&granted).await {
                tracing::warn!(%error, "what the peer lets us have was not saved");
            }
            granted
        }
        // Whatever is wrong, the sync says it.
        Ok(None) | Err(_) => peer,
    }
}

async fn by_server(server: &AdminClient, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    context.output.remark("A server runs in this home: it does the work.");
    let answer = server.sync().await?;
    let (chunks, missing) = store.index.count_missing(None).await?;
    let mut problems = Vec::new();
    for peer in store.index.peers().await?.into_iter().filter(|peer| peer.follow) {
        match peer.last_error {
            Some(message) => problems.push(Problem { subject: format!("peer {}", peer.name), message }),
            None => context.output.line(format!("{}: asked", peer.name)),
        }
    }
    say_missing(chunks, missing, context);
    let document = json!({ "by_server": true, "server": answer, "missing": { "chunks": chunks, "bytes": missing } });
    context.output.document("sync", document, &problems);
    Ok(context.output.outcome(&problems))
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

fn in_words(report: &SyncReport) -> String {
    if report.new_snapshots.is_empty() && report.keys == 0 && report.segments == 0 {
        return "nothing new".to_owned();
    }
    format!(
        "{}, {}, {}",
        count(report.new_snapshots.len() as u64, "new snapshot"),
        count(report.keys, "key"),
        count(report.segments, "chunk list")
    )
}

/// A report as JSON.
pub(super) fn document(report: &SyncReport) -> Value {
    json!({
        "new_snapshots": report.new_snapshots, "keys": report.keys, "segments": report.segments,
        "requests": report.requests, "caught_up": report.caught_up,
    })
}

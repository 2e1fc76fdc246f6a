//! `bulbil verify`

use std::sync::Arc;

use anyhow::Context as _;
use serde_json::json;

use crate::backup::verify::{VerifyOptions, VerifyReport};
use crate::store::Store;
use crate::store::index::{Cause, Collection};
use crate::worker::runs::Recorder;

use super::args::VerifyArgs;
use super::by_server::Server;
use super::context::Context;
use super::output::{Outcome, bytes, count, took};
use super::progress::Progress;
use super::prune::collections;

/// Checks that everything is there and is what it was.
pub async fn run(args: VerifyArgs, context: &Context) -> anyhow::Result<Outcome> {
    let started = std::time::Instant::now();
    let store = context.store().await?;
    let collections = collections(&store, &args.collections).await?;
    let progress = context.progress();
    let report = match Server::running(&store, only_here(&args, &collections), context).await? {
        Some(server) => {
            let kind = if args.data { "verify-data" } else { "verify" };
            let report =
                server.run(&json!({ "kind": kind, "collection": args.collections.first() }), &progress).await?;
            report.context("the server that runs in this home says nothing of what it found")?
        }
        None => here(&store, &collections, &args, &progress, context).await?,
    };
    progress.finish();
    let problems = progress.problems();
    let out = &context.output;
    out.line(format!(
        "{}, {} of them readable here with {}; {}, {}{}; {}",
        count(report.snapshots, "snapshot"),
        report.read,
        count(report.entries, "entry"),
        count(report.chunks, "chunk"),
        bytes(report.chunk_bytes),
        match (args.data, args.sample) {
            (true, _) => ", every byte read".to_owned(),
            (false, Some(_)) => format!(
                ", {} ({}) read; {} never read so far",
                count(report.chunks_read, "chunk"),
                bytes(report.bytes_read),
                report.never_read
            ),
            (false, None) => "; 'verify --data' reads every byte, too".to_owned(),
        },
        took(started.elapsed()),
    ));
    match (problems.is_empty(), report.missing.len() as u64) {
        (true, 0) => out.line("everything is as it was"),
        (true, missing) => out.line(format!(
            "everything that is here is as it was; {} still to be fetched from a peer ('bulbil fetch')",
            count(missing, "chunk")
        )),
        _ => {}
    }
    for id in &report.affected {
        out.line(format!("cannot be restored whole as things are: snapshot {}", id.short()));
    }
    context.output.document("verify", &report, &problems);
    Ok(out.outcome(&problems))
}

/// What the server does not verify: a sample, some collections of several, and nothing at all.
fn only_here(args: &VerifyArgs, collections: &[Collection]) -> Option<&'static str> {
    match (args.sample, args.collections.len()) {
        (Some(_), _) => Some("--sample"),
        (None, 2..) => Some("naming several collections"),
        (None, _) if collections.is_empty() => Some("a home without collections"),
        (None, _) => None,
    }
}

async fn here(
    store: &Store,
    collections: &[Collection],
    args: &VerifyArgs,
    progress: &Arc<Progress>,
    context: &Context,
) -> anyhow::Result<VerifyReport> {
    let mut options = VerifyOptions { data: args.data, sample: args.sample, ..VerifyOptions::default() };
    if !args.collections.is_empty() {
        options.collections = collections.iter().map(|collection| collection.id).collect();
    }
    let cancel = context.cancellation();
    let recorder = Recorder::new(store, Cause::Command, context.clock.clone(), &cancel);
    Ok(recorder.verify(collections, options, progress.clone()).await?)
}

//! `bulbil verify`

use crate::backup::select;
use crate::backup::verify::{VerifyOptions, verify};
use crate::clock::Clock;

use super::args::VerifyArgs;
use super::context::Context;
use super::output::{Outcome, bytes, count, took};

/// Checks that everything is there and is what it was.
pub async fn run(args: VerifyArgs, context: &Context) -> anyhow::Result<Outcome> {
    let started = std::time::Instant::now();
    let store = context.store().await?;
    let at = Some(context.clock.now());
    let mut options = VerifyOptions { data: args.data, sample: args.sample, at, ..VerifyOptions::default() };
    for name in &args.collections {
        options.collections.push(select::collection(&store, name).await?.id);
    }
    let progress = context.progress();
    let report = verify(&store, &options, progress.clone(), &context.cancellation()).await?;
    store.index.note_damaged(&report.affected).await?;
    store.index.note_verified(&report.verified, context.clock.now()).await?;
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

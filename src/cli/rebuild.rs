//! `bulbil rebuild`

use crate::store::Store;

use super::args::RebuildArgs;
use super::context::Context;
use super::output::{Outcome, count, took};

/// Makes the index again from keys, manifests and chunks.
pub async fn run(_args: RebuildArgs, context: &Context) -> anyhow::Result<Outcome> {
    let started = std::time::Instant::now();
    let (_, report) = Store::rebuild(&context.home, context.passphrase()?).await?;
    context.output.line(format!(
        "rebuilt the index: {}, {}; {}",
        count(report.snapshots, "snapshot"),
        count(report.chunks, "chunk"),
        took(started.elapsed())
    ));
    context.output.document("rebuild", &report, &report.problems);
    Ok(context.output.outcome(&report.problems))
}

//! `bulbil rebuild`

use serde_json::json;

use crate::monitor::Problem;
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
    let problem = |message: &String| Problem { subject: "rebuild".to_owned(), message: message.clone() };
    let problems: Vec<Problem> = report.problems.iter().map(problem).collect();
    let document = json!({ "collections": report.collections, "snapshots": report.snapshots, "chunks": report.chunks });
    context.output.document("rebuild", document, &problems);
    Ok(context.output.outcome(&problems))
}

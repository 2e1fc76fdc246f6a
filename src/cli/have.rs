//! `bulbil have`

use serde_json::json;

use crate::domain::text::path_text;
use crate::portable::have::Have;

use super::args::HaveArgs;
use super::context::Context;
use super::output::{Outcome, count};

/// Writes down what this instance holds, so that an export elsewhere can leave it out.
pub async fn run(args: HaveArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let have = Have::of(&store).await?;
    tokio::task::block_in_place(|| have.save(&args.output))?;
    let (snapshots, chunks) = (have.snapshots(), have.chunks());
    context.output.line(format!(
        "{}: {}, {}",
        args.output.display(),
        count(snapshots, "snapshot"),
        count(chunks, "chunk")
    ));
    context.output.remark("Take it to where the data is: bulbil export --output DIR --since-have FILE");
    context.output.document(
        "have",
        json!({ "file": path_text(&args.output), "snapshots": snapshots, "chunks": chunks }),
        &[],
    );
    Ok(Outcome::Done)
}

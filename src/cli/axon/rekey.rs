//! `bulbil axon rekey`

use serde_json::json;

use super::super::context::Context;
use super::super::output::{Outcome, count};
use super::common::{instance, snapshot};
use crate::axon::collection::own_collections;
use crate::axon::pull::rekey;
use crate::clock::Clock;
use crate::monitor::{Monitor, Problem};
use crate::store::Store;
use crate::worker::axon::refresh;

/// Makes envelopes anew; never touches keys, IVs and chunks.
pub async fn run(store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let instance = instance(store).await?;
    let (progress, cancel) = (context.progress(), context.cancellation());
    let out = &context.output;
    let mut documents = Vec::new();
    for collection in own_collections(store).await? {
        refresh(store, &collection).await?;
        let report = rekey(store, &collection, &instance, context.clock.now()).await?;
        snapshot(store, &collection, progress.clone(), &cancel, context).await?;
        out.line(format!(
            "{}: {} of {} have new envelopes, for {}",
            collection.name,
            report.rekeyed,
            count(report.items, "item"),
            count(report.recipients, "recipient")
        ));
        if report.without_key > 0 {
            let message =
                format!("{} cannot be opened here, so nobody gets an envelope", count(report.without_key, "item"));
            progress.problem(Problem { subject: collection.name.clone(), message });
        }
        documents.push(json!({
            "collection": collection.name, "items": report.items, "rekeyed": report.rekeyed, "without_key": report.without_key,
            "recipients": report.recipients,
        }));
    }
    progress.finish();
    if documents.is_empty() {
        out.line("there is no collection of an Axon BBS here yet");
    }
    let problems = progress.problems();
    out.document("axon rekey", documents, &problems);
    Ok(out.outcome(&problems))
}

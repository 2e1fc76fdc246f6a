//! `bulbil axon sync`

use clap::Args;
use serde_json::json;

use super::super::context::Context;
use super::super::output::{Outcome, one_line};
use super::common::{config_document, config_in_words, puller, snapshot, sources, synced_document, synced_in_words};
use crate::axon::collection::default_collection;
use crate::monitor::{Monitor, Problem};
use crate::store::Store;
use crate::worker::axon::{follow::visit, refresh};

/// `bulbil axon sync`, `bulbil axon reset-sync`
#[derive(Debug, Args)]
pub struct SyncArgs {
    /// This one only: its name or its address [default: all]
    #[arg(long)]
    pub peer: Option<String>,
}

/// Asks what is new.
pub async fn run(args: SyncArgs, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let peers = sources(store, args.peer.as_deref()).await?;
    let (progress, cancel) = (context.progress(), context.cancellation());
    let puller = puller(store, progress.clone(), context).await?;
    let collection = default_collection(store).await?;
    refresh(store, &collection).await?;
    let out = &context.output;
    let (mut documents, mut failures) = (Vec::new(), Vec::new());
    for peer in peers {
        match visit(&puller, &collection, &peer, false, &cancel).await {
            Ok(visited) => {
                progress.suspend(|| {
                    out.line(format!("{}: {}", peer.name, synced_in_words(&visited.synced)));
                    visited
                        .config
                        .iter()
                        .for_each(|config| out.line(format!("{}: {}", peer.name, config_in_words(config))));
                });
                let mut document = synced_document(&peer.name, &visited.synced);
                document["config"] = json!(visited.config.as_ref().map(config_document));
                documents.push(document);
            }
            Err(error) => failures.push((peer.name, anyhow::Error::new(error))),
        }
    }
    if documents.is_empty()
        && let Some((_, error)) = failures.pop()
    {
        progress.finish();
        return Err(error);
    }
    for (name, error) in failures {
        progress.problem(Problem { subject: format!("peer {name}"), message: one_line(&error) });
    }
    let made = snapshot(store, &collection, progress.clone(), &cancel, context).await?;
    progress.finish();
    let items = store.axon(collection.id).items().await?;
    let incomplete = items.iter().filter(|item| !item.complete).count();
    if incomplete > 0 {
        out.line(format!(
            "{incomplete} of {} items are not complete; 'bulbil axon download' fetches them",
            items.len()
        ));
    }
    let problems = progress.problems();
    let document = json!({
        "peers": documents, "collection": collection.name, "items": items.len(), "incomplete": incomplete, "snapshot": made,
    });
    out.document("axon sync", document, &problems);
    Ok(out.outcome(&problems))
}

//! `bulbil prove`

use serde_json::json;

use crate::monitor::{Monitor, Problem};
use crate::replicate::prove::{Proving, prove};
use crate::replicate::pull::Puller;

use super::args::ProveArgs;
use super::context::Context;
use super::output::{Outcome, count, one_line};
use super::remote::{caller, sources};

/// Proves to peers, now, that their snapshots are kept here.
pub async fn run(args: ProveArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let peers = sources(&store, args.peer.as_deref()).await?;
    let (progress, cancel) = (context.progress(), context.cancellation());
    let puller = Puller::new(store.clone(), caller(&store, &context.config()?, context), progress.clone());
    let (mut documents, mut failures) = (Vec::new(), Vec::new());
    for peer in peers {
        let proving = match prove(&puller, &peer, &cancel).await {
            Ok(proving) => proving,
            Err(error) if cancel.is_cancelled() => return Err(error.into()),
            Err(error) => {
                failures.push((peer.name, anyhow::Error::new(error)));
                continue;
            }
        };
        let problem = |message| progress.problem(Problem { subject: format!("peer {}", peer.name), message });
        progress.suspend(|| context.output.line(format!("{}: {}", peer.name, in_words(&proving))));
        if proving.not_asked {
            problem("it asks for no proofs: it runs an earlier version of bulbil".to_owned());
        }
        if proving.lacking > 0 {
            let (lacking, sampled) = (proving.lacking, proving.sampled);
            problem(format!("{lacking} of {sampled} chunks are lost here: run 'bulbil scrub --now'"));
        }
        let Proving { claimed, challenged, sampled, lacking, not_asked } = proving;
        documents.push(json!({
            "peer": peer.name, "claimed": claimed, "challenged": challenged, "sampled": sampled, "lacking": lacking,
            "not_asked": not_asked,
        }));
    }
    if documents.is_empty()
        && let Some((name, error)) = failures.pop()
    {
        progress.finish();
        tracing::debug!(peer = name, "the proof failed");
        return Err(error);
    }
    for (name, error) in failures {
        progress.problem(Problem { subject: format!("peer {name}"), message: one_line(&error) });
    }
    progress.finish();
    let problems = progress.problems();
    context.output.document("prove", json!(documents), &problems);
    Ok(context.output.outcome(&problems))
}

fn in_words(proving: &Proving) -> String {
    let chunks = count(proving.sampled, "chunk");
    match proving {
        Proving { claimed: 0, .. } => "nothing that it leads is whole here yet".to_owned(),
        Proving { not_asked: true, .. } => "nothing was proved".to_owned(),
        Proving { challenged: 0, .. } => "it wants no proof of what is here".to_owned(),
        Proving { challenged, lacking: 0, .. } => {
            format!("proof of {} was given, with {chunks}", count(*challenged, "snapshot"))
        }
        Proving { challenged, lacking, .. } => {
            format!("proof of {} failed: {lacking} of {chunks} lost", count(*challenged, "snapshot"))
        }
    }
}

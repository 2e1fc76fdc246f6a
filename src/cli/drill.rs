//! `bulbil drill`: a restore that is tried.

use std::sync::Arc;

use anyhow::Context as _;
use serde_json::json;

use crate::backup::drill::{DrillOptions, Drilled};
use crate::backup::select;
use crate::monitor::{Monitor, Problem};
use crate::store::index::Cause;
use crate::worker::runs::Recorder;

use super::args::DrillArgs;
use super::by_server::Server;
use super::context::Context;
use super::output::{Outcome, bytes, count, took};
use super::rules;

/// Tries a restore.
pub async fn run(args: DrillArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let collection = select::collection(&store, &args.collection).await?;
    let which = args.snapshot.as_deref().unwrap_or("latest");
    let text = if which.contains('@') { which.to_owned() } else { format!("{}@{which}", collection.name) };
    let snapshot = select::snapshot(&store, &text).await?;
    let (preset, secrets) = rules::of(&args.rules, &store, &collection)?;
    let options = DrillOptions {
        scratch: args.scratch.clone(),
        preset,
        secrets: secrets.unwrap_or_default(),
        settings: collection.settings.clone(),
    };
    let progress = context.progress();
    let name = format!("{}@{}", collection.name, snapshot.sequence);
    context.note(format!("{name} {}", snapshot.id.short()));
    let drilled = match Server::running(&store, only_here(&args), context).await? {
        Some(server) => {
            let of = format!("{}@{}", collection.name, snapshot.id);
            let order = json!({ "kind": "drill", "collection": collection.name, "snapshot": of });
            server.run(&order, &progress).await?.with_context(|| format!("the server says nothing of {name}"))?
        }
        None => {
            let cancel = context.cancellation();
            let recorder = Recorder::new(&store, Cause::Command, context.clock.clone(), &cancel);
            let monitor: Arc<dyn Monitor> = progress.clone();
            recorder.drill(&collection, &snapshot.id, options, monitor).await?
        }
    };
    progress.finish();
    say(&collection.name, &drilled, context);
    let mut problems = progress.problems();
    if let Some(rto) = args.rto
        && drilled.total() > rto
    {
        let message = format!("it took {}, and may take {}", took(drilled.total()), took(rto));
        context.output.warning(message.clone());
        problems.push(Problem { subject: collection.name.clone(), message });
    }
    context.output.document("drill", &drilled, &problems);
    Ok(context.output.outcome(&problems))
}

/// An option for which the server does not try it.
fn only_here(args: &DrillArgs) -> Option<&'static str> {
    let scratch = args.scratch.as_ref().map(|_| "--scratch");
    scratch.or_else(|| rules::only_here(&args.rules))
}

/// Says what became of a drill.
pub(super) fn say(name: &str, drilled: &Drilled, context: &Context) {
    let out = &context.output;
    let seconds = |seconds: f64| took(std::time::Duration::from_secs_f64(seconds));
    out.line(format!(
        "{name}@{} {}",
        drilled.sequence,
        if drilled.good { "comes back as it was" } else { "does NOT come back as it was" }
    ));
    out.line(format!(
        "  restored   {}, {} in {}",
        count(drilled.restored.files, "file"),
        bytes(drilled.restored.bytes),
        seconds(drilled.restore_seconds)
    ));
    out.line(format!(
        "  read again {}, {} in {}",
        count(drilled.compared, "file"),
        bytes(drilled.compared_bytes),
        seconds(drilled.compare_seconds)
    ));
    let sealed = match (drilled.content.sealed, drilled.content.secret_given) {
        (0, _) => String::new(),
        (sealed, true) => format!("; {} of {sealed} sealed fields open", drilled.content.opened),
        (sealed, false) => format!(
            "; {sealed} sealed fields were not opened: 'bulbil secret add' stores what opens them, --secrets FILE gives it"
        ),
    };
    out.line(format!(
        "  checked    by {}: {}, {} in {}{sealed}",
        drilled.content.preset,
        count(drilled.content.errors, "error"),
        count(drilled.content.warnings, "warning"),
        seconds(drilled.check_seconds),
    ));
}

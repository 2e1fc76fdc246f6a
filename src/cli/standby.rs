//! `bulbil standby add|list|remove|run`

use anyhow::ensure;
use serde_json::{Value, json};

use crate::backup::select;
use crate::clock::Clock;
use crate::domain::text::path_text;
use crate::monitor::{Monitor, Problem};
use crate::store::Store;
use crate::store::index::Collection;
use crate::worker::standby::{self, StandbyStatus, Standbys, Step};

use super::args::{StandbyAddArgs, StandbyArg, StandbyCommand, StandbyRunArgs};
use super::context::Context;
use super::output::{Outcome, age, one_line};

/// Adds, lists, removes standbys and brings them up to date.
pub async fn run(command: StandbyCommand, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    match command {
        StandbyCommand::Add(args) => add(args, &store, context).await,
        StandbyCommand::List => list(&store, context).await,
        StandbyCommand::Remove(args) => remove(args, &store, context).await,
        StandbyCommand::Run(args) => run_now(args, &store, context).await,
    }
}

async fn add(args: StandbyAddArgs, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let collection = select::collection(store, &args.collection).await?;
    let settings = standby::add(store, &collection, &args.into, args.hook).await?;
    let out = &context.output;
    out.line(format!("{} is kept laid out in {}", collection.name, settings.into.display()));
    out.remark(match store.running_server() {
        Some(_) => "The server lays out the newest snapshot now.",
        None => "No server runs: 'bulbil serve' keeps it up to date, 'bulbil standby run' lays it out now.",
    });
    let document = json!({ "collection": collection.name, "into": path_text(&settings.into), "hook": settings.hook });
    out.document("standby add", document, &[]);
    Ok(Outcome::Done)
}

async fn list(store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let standbys = standby::status(store).await?;
    if standbys.is_empty() {
        context.output.remark("There are no standbys: 'bulbil standby add COLLECTION --into DIR' makes one.");
    }
    for standby in &standbys {
        context.output.line(in_words(standby, context));
    }
    context.output.document("standby list", standbys.iter().map(document).collect::<Vec<_>>(), &[]);
    Ok(Outcome::Done)
}

async fn remove(args: StandbyArg, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let collection = select::collection(store, &args.collection).await?;
    let settings = standby::remove(store, &collection).await?;
    let out = &context.output;
    out.line(format!("{} is not laid out any more; {} stays as it is", collection.name, settings.into.display()));
    out.document("standby remove", json!({ "collection": collection.name, "into": path_text(&settings.into) }), &[]);
    Ok(Outcome::Done)
}

async fn run_now(args: StandbyRunArgs, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let wanted: Vec<Collection> = match &args.collection {
        Some(name) => vec![select::collection(store, name).await?],
        None => store.index.collections().await?.into_iter().filter(|c| c.standby.is_some()).collect(),
    };
    ensure!(
        !wanted.is_empty() && wanted.iter().all(|collection| collection.standby.is_some()),
        "there is no such standby: 'bulbil standby add COLLECTION --into DIR' makes one"
    );
    let (progress, cancel) = (context.progress(), context.cancellation());
    let standbys = Standbys::new(store.clone(), context.clock.clone(), progress.clone());
    let mut documents = Vec::new();
    for collection in &wanted {
        let problem = |message: String| progress.problem(Problem { subject: collection.name.clone(), message });
        let (line, step) = match standbys.step(collection, &cancel).await {
            Ok(Step::NothingYet) => ("there is no whole snapshot here that can be read yet".to_owned(), None),
            Ok(Step::Current(here)) => (format!("snapshot {} is laid out already", here.sequence), Some(here)),
            Ok(Step::Done(here, hook_error)) => {
                hook_error.into_iter().for_each(&problem);
                (format!("snapshot {} is laid out now", here.sequence), Some(here))
            }
            Err(error) if wanted.len() == 1 => return Err(error.into()),
            Err(error) => {
                problem(one_line(&error.into()));
                continue;
            }
        };
        progress.suspend(|| context.output.line(format!("{}: {line}", collection.name)));
        documents.push(json!({ "collection": collection.name, "laid_out": step }));
    }
    progress.finish();
    let problems = progress.problems();
    context.output.document("standby run", documents, &problems);
    Ok(context.output.outcome(&problems))
}

/// A standby in a line.
pub(super) fn in_words(standby: &StandbyStatus, context: &Context) -> String {
    let now = context.clock.now();
    let state = match &standby.laid_out {
        Some(here) => {
            let since = age(now.duration_since(here.laid_out_at).as_secs());
            format!("snapshot {}, laid out {since}", here.sequence)
        }
        None => "nothing laid out yet".to_owned(),
    };
    let newest = standby.newest.as_ref().map(|newest| newest.sequence);
    let behind = match (newest, &standby.laid_out) {
        (Some(newest), Some(here)) if newest > here.sequence => format!(", newest is {newest}"),
        _ => String::new(),
    };
    let trouble = [&standby.error, &standby.hook_error].into_iter().flatten();
    let trouble: String = trouble.map(|error| format!("; last error: {error}")).collect();
    format!("standby {}: {}, {state}{behind}{trouble}", standby.name, standby.settings.into.display())
}

/// A standby as JSON.
pub(super) fn document(standby: &StandbyStatus) -> Value {
    json!({
        "collection": standby.name, "id": standby.collection, "into": path_text(&standby.settings.into), "hook": standby.settings.hook,
        "laid_out": standby.laid_out, "newest": standby.newest.as_ref().map(|newest| newest.sequence),
        "error": standby.error, "hook_error": standby.hook_error,
    })
}

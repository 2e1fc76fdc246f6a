//! `bulbil standby add|list|remove|run`

use anyhow::ensure;
use serde_json::{Value, json};

use crate::backup::select;
use crate::clock::Clock;
use crate::domain::text::path_text;
use crate::http::admin::view::standby::StandbyView;
use crate::monitor::{Monitor, Problem};
use crate::store::Store;
use crate::store::index::{Cause, Collection};
use crate::worker::runs::{LaidOutReport, Recorder};
use crate::worker::standby::{self, StandbyStatus};

use super::args::{StandbyAddArgs, StandbyArg, StandbyCommand, StandbyRunArgs};
use super::by_server::Server;
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
    let into = std::path::absolute(&args.into)?;
    // A command is set on the machine itself, and a name that is no text does not travel.
    let only_here = match (&args.hook, into.to_str()) {
        (Some(_), _) => Some("--hook"),
        (None, None) => Some("--into"),
        (None, Some(_)) => None,
    };
    let (into, hook) = match Server::running(store, only_here, context).await? {
        Some(server) => {
            let order = json!({ "collection": collection.name, "into": path_text(&into) });
            let standby: StandbyView = server.post("/admin/v1/standbys", &order).await?;
            (standby.into, standby.hook)
        }
        None => {
            let settings = standby::add(store, &collection, &into, args.hook).await?;
            (path_text(&settings.into), settings.hook)
        }
    };
    let out = &context.output;
    out.line(format!("{} is kept laid out in {into}", collection.name));
    out.remark(match store.running_server() {
        Some(_) => "The server lays out the newest snapshot now.",
        None => "No server runs: 'bulbil serve' keeps it up to date, 'bulbil standby run' lays it out now.",
    });
    let document = json!({ "collection": collection.name, "into": into, "hook": hook });
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
    let settings = match (&collection.standby, Server::running(store, None, context).await?) {
        (Some(settings), Some(server)) => {
            server.delete::<()>(&format!("/admin/v1/standbys/{}", collection.name)).await?;
            settings.clone()
        }
        _ => standby::remove(store, &collection).await?,
    };
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
    let server = Server::running(store, None, context).await?;
    let mut documents = Vec::new();
    for collection in &wanted {
        let came = match &server {
            Some(server) => {
                let path = format!("/admin/v1/standbys/{}/run", collection.name);
                server.run_of(&path, &json!({}), &progress).await.map(Option::unwrap_or_default)
            }
            None => {
                let recorder = Recorder::new(store, Cause::Command, context.clock.clone(), &cancel);
                let step = recorder.lay_out(collection, progress.clone()).await;
                step.map(|step| LaidOutReport::of(collection, &step)).map_err(anyhow::Error::new)
            }
        };
        let report: LaidOutReport = match came {
            Ok(report) => report,
            Err(error) if wanted.len() == 1 => return Err(error),
            Err(error) => {
                progress.problem(Problem { subject: collection.name.clone(), message: one_line(&error) });
                continue;
            }
        };
        let line = match &report.laid_out {
            None => "there is no whole snapshot here that can be read yet".to_owned(),
            Some(here) if report.new => format!("snapshot {} is laid out now", here.sequence),
            Some(here) => format!("snapshot {} is laid out already", here.sequence),
        };
        progress.suspend(|| context.output.line(format!("{}: {line}", collection.name)));
        documents.push(json!({ "collection": collection.name, "laid_out": report.laid_out }));
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

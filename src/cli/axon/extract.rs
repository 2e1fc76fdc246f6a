//! `bulbil axon extract`

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::super::context::Context;
use super::super::output::{Outcome, count};
use super::common::existing_collection;
use crate::axon::extract::{ExtractOptions, extract};
use crate::axon::library::Library;
use crate::clock::Clock;
use crate::domain::text::path_text;
use crate::store::Store;

/// `bulbil axon extract`
#[derive(Debug, Args)]
pub struct ExtractArgs {
    /// The folder that is made; one that is there must be empty
    #[arg(short, long, value_name = "DIR")]
    pub target: PathBuf,
    /// This applet only, and nothing else
    #[arg(long, value_name = "NAME")]
    pub applet: Option<String>,
    /// The collection to take it from
    #[arg(long, value_name = "NAME")]
    pub collection: Option<String>,
}

/// Lays everything out as plain files.
pub async fn run(args: ExtractArgs, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let collection = existing_collection(store, args.collection.as_deref()).await?;
    let library = Library::load(&store.axon(collection.id)).await?;
    let (progress, cancel) = (context.progress(), context.cancellation());
    let (from, monitor, target, now) = (store.clone(), Arc::clone(&progress), args.target.clone(), context.clock.now());
    let work = move || {
        let options = ExtractOptions { target: &args.target, applet: args.applet.as_deref(), now };
        extract(&from, &library, &options, &*monitor, &cancel)
    };
    let done = tokio::task::spawn_blocking(work).await?;
    progress.finish();
    let done = done?;
    let out = &context.output;
    out.line(format!(
        "{}: {}, {} of users, {}, {}, {}",
        target.display(),
        count(done.applets, "applet"),
        count(done.data, "data set"),
        count(done.files, "file"),
        count(done.messages, "message"),
        count(done.rows, "configuration row"),
    ));
    if done.private_messages > 0 {
        out.line(format!(
            "{} stay sealed: only the sender's and the recipient's own keys open them",
            count(done.private_messages, "private message")
        ));
    }
    let not_opened: Vec<Value> =
        done.not_opened.iter().map(|(what, why)| json!({ "what": what, "why": why })).collect();
    let problems = progress.problems();
    let document = json!({
        "target": path_text(target), "collection": collection.name, "applets": done.applets, "code": done.code, "data": done.data,
        "files": done.files, "messages": done.messages, "private_messages_sealed": done.private_messages,
        "config_rows": done.rows, "actions": done.actions, "other": done.other, "not_opened": not_opened,
    });
    out.document("axon extract", document, &problems);
    Ok(out.outcome(&problems))
}

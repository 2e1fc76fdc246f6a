//! `bulbil axon download`

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::super::context::Context;
use super::super::output::Outcome;
use super::common::{downloaded_document, downloaded_in_words, puller, snapshot};
use crate::axon::collection::default_collection;
use crate::axon::library::Library;
use crate::axon::pull::{Wanted, of_applet};
use crate::store::Store;
use crate::worker::axon::follow::sources;
use crate::worker::axon::refresh;

/// `bulbil axon download`
#[derive(Debug, Args)]
pub struct DownloadArgs {
    /// The code and the data of this applet only
    #[arg(long, value_name = "NAME")]
    pub applet: Option<String>,
}

/// Fetches what is missing.
pub async fn run(args: DownloadArgs, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let collection = default_collection(store).await?;
    refresh(store, &collection).await?;
    let wanted = match &args.applet {
        None => Wanted::All,
        Some(name) => {
            let library = Library::load(&store.axon(collection.id)).await?;
            let names: Vec<String> =
                library.applets.values().map(|applet| applet.metadata.name.to_string_lossy().into_owned()).collect();
            let items = of_applet(&library, name)
                .with_context(|| format!("there is no applet {name:?} here; there are: {}", names.join(", ")))?;
            Wanted::Only(items)
        }
    };
    let (progress, cancel) = (context.progress(), context.cancellation());
    let puller = puller(store, progress.clone(), context).await?;
    let fetched = puller.download(&collection, &sources(store).await?, &wanted, &cancel).await;
    // What came is kept in a snapshot, also if it was stopped.
    let made = snapshot(store, &collection, progress.clone(), &cancel, context).await;
    progress.finish();
    let (fetched, made) = (fetched?, made?);
    let out = &context.output;
    out.line(downloaded_in_words(&fetched));
    let problems = progress.problems();
    let mut document = downloaded_document(&fetched);
    document["snapshot"] = json!(made);
    out.document("axon download", document, &problems);
    Ok(out.outcome(&problems))
}

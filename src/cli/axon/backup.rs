//! `bulbil axon backup`

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::ensure;
use clap::Args;
use serde_json::json;

use super::super::context::Context;
use super::super::output::{Outcome, count};
use super::common::{existing_collection, instance, peer};
use crate::axon::folder::write::{BackupOptions, local, write};
use crate::axon::library::Library;
use crate::axon::pull::recipients;
use crate::clock::Clock;
use crate::store::Store;
use crate::store::index::axon::AxonTrust;

/// `bulbil axon backup`
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// In this folder the backup's own folder is made, called backup_<date>_<time>
    #[arg(short, long, value_name = "DIR", default_value = "applet_backups")]
    pub output: PathBuf,
    /// This applet only
    #[arg(long, value_name = "NAME")]
    pub applet: Option<String>,
    /// A trusted Axon BBS that is to open users' data, too, because it takes over from the one that made it
    #[arg(long = "for", value_name = "PEER")]
    pub heir: Option<String>,
    /// The collection to take them from
    #[arg(long, value_name = "NAME")]
    pub collection: Option<String>,
}

/// Writes a backup folder.
pub async fn run(args: BackupArgs, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let collection = existing_collection(store, args.collection.as_deref()).await?;
    let library = Library::load(&store.axon(collection.id)).await?;
    let instance = instance(store).await?;
    let of_code = recipients(store, &instance).await?;
    let mut of_data = vec![instance.wrapper()?];
    if let Some(heir) = &args.heir {
        let heir = peer(store, heir).await?;
        ensure!(
            matches!(heir.trust, AxonTrust::Trusted(_)),
            "{} is {}, and is given nothing: 'bulbil peer add --kind axon URL' trusts it",
            heir.name,
            heir.trust.word()
        );
        of_data.push(heir.public_key.wrapper()?);
    }
    let (progress, cancel) = (context.progress(), context.cancellation());
    let (from, monitor, at) = (store.clone(), Arc::clone(&progress), local(context.clock.now()));
    let work = move || {
        let (applet, of_code, of_data) = (args.applet.as_deref(), of_code.as_slice(), of_data.as_slice());
        let options = BackupOptions { output: &args.output, applet, at, of_code, of_data };
        write(&from, &library, &options, &*monitor, &cancel)
    };
    let written = tokio::task::spawn_blocking(work).await?;
    progress.finish();
    let written = written?;
    let out = &context.output;
    out.line(format!(
        "{}: {}, {} of code, {} of users, {}, {}",
        written.folder.display(),
        count(written.applets.len() as u64, "applet"),
        count(written.chunks, "chunk"),
        count(written.data, "data set"),
        count(written.scores, "score"),
        count(written.states, "shared state")
    ));
    let problems = progress.problems();
    let document = json!({
        "folder": written.folder, "collection": collection.name, "applets": written.applets, "chunks": written.chunks,
        "data_chunks": written.data_chunks, "data": written.data, "scores": written.scores, "shared_states": written.states,
    });
    out.document("axon backup", document, &problems);
    Ok(out.outcome(&problems))
}

//! `bulbil axon backup`

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::ensure;
use clap::Args;
use serde_json::{Value, json};

use super::super::context::Context;
use super::super::output::{Outcome, count};
use super::super::progress::Progress;
use super::common::{collection_to_fill, existing_collection, instance, peer};
use super::install::{self, How, InstallArgs};
use crate::axon::folder::write::{BackupOptions, local, write};
use crate::axon::library::Library;
use crate::axon::pull::recipients;
use crate::clock::Clock;
use crate::domain::text::path_text;
use crate::store::Store;
use crate::store::index::axon::AxonTrust;

/// `bulbil axon backup`
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// In this folder the backup's own folder is made, called backup_<date>_<time>; applet_backups if nothing is said
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Take the Axon BBS in this folder over first, with everything that it has: its database, its chunks. It may run meanwhile
    #[arg(long, value_name = "DIR")]
    pub install: Option<PathBuf>,
    /// Where it has its things
    #[command(flatten)]
    pub place: InstallArgs,
    /// The collection is this Axon BBS's from now on, whose ever its rows were: it has a new key, or takes the place of another one
    #[arg(long, requires = "install")]
    pub take_over: bool,
    /// Read all chunks of the Axon BBS and compare them with their hashes, not only those whose files changed since the last time
    #[arg(long, requires = "install")]
    pub verify: bool,
    /// This applet only
    #[arg(long, value_name = "NAME")]
    pub applet: Option<String>,
    /// A trusted Axon BBS that is to open users' data, too, because it takes over from the one that made it
    #[arg(long = "for", value_name = "PEER")]
    pub heir: Option<String>,
    /// The collection to take them from, or, with --install, to take the Axon BBS into: each Axon BBS has one of its own
    #[arg(long, value_name = "NAME")]
    pub collection: Option<String>,
}

/// Takes an installation over, writes a backup folder, or both.
pub async fn run(args: BackupArgs, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    args.place.ensure_used(args.install.is_some(), "--install")?;
    let writes = args.install.is_none() || args.output.is_some();
    for (name, given) in [("--applet", args.applet.is_some()), ("--for", args.heir.is_some())] {
        ensure!(
            writes || !given,
            "{name} does nothing without --output: an Axon BBS is taken over whole, and only a backup folder is of some applets or for somebody"
        );
    }
    let (progress, cancel) = (context.progress(), context.cancellation());
    let mut document = json!({});
    let mut lines = Vec::new();
    if let Some(dir) = &args.install {
        let collection = collection_to_fill(store, args.collection.as_deref()).await?;
        let how = How { take_place: args.take_over, verify: args.verify };
        let taken = install::take_over(dir, &args.place, how, &collection, store, &progress, &cancel, context).await;
        if taken.is_err() {
            progress.finish();
        }
        let (report, made) = taken?;
        lines = install::in_words(&report, made, &collection.name);
        document = install::document(&report, made);
        document["collection"] = json!(collection.name);
    }
    let written = match writes {
        true => Some(write_folder(args, store, &progress, context).await),
        false => None,
    };
    progress.finish();
    if let Some((line, folder)) = written.transpose()? {
        lines.push(line);
        let fields = folder.as_object().expect("it was made as one").clone();
        document.as_object_mut().expect("it was made as one").extend(fields);
    }
    let out = &context.output;
    lines.iter().for_each(|line| out.line(line));
    let problems = progress.problems();
    out.document("axon backup", document, &problems);
    Ok(out.outcome(&problems))
}

/// Writes a backup folder; what is to be said of it, in words and as JSON.
async fn write_folder(
    args: BackupArgs,
    store: &Store,
    progress: &Arc<Progress>,
    context: &Context,
) -> anyhow::Result<(String, Value)> {
    let collection = existing_collection(store, args.collection.as_deref()).await?;
    let output = args.output.unwrap_or_else(|| PathBuf::from("applet_backups"));
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
    let cancel = context.cancellation();
    let (from, monitor, at) = (store.clone(), Arc::clone(progress), local(context.clock.now()));
    let work = move || {
        let (applet, of_code, of_data) = (args.applet.as_deref(), of_code.as_slice(), of_data.as_slice());
        let options = BackupOptions { output: &output, applet, at, of_code, of_data };
        write(&from, &library, &options, &*monitor, &cancel)
    };
    let written = tokio::task::spawn_blocking(work).await??;
    let line = format!(
        "{}: {}, {} of code, {} of users, {}, {}",
        written.folder.display(),
        count(written.applets.len() as u64, "applet"),
        count(written.chunks, "chunk"),
        count(written.data, "data set"),
        count(written.scores, "score"),
        count(written.states, "shared state")
    );
    let document = json!({
        "folder": path_text(&written.folder), "collection": collection.name, "applets": written.applets, "chunks": written.chunks,
        "data_chunks": written.data_chunks, "data": written.data, "scores": written.scores, "shared_states": written.states,
    });
    Ok((line, document))
}

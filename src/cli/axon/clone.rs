//! `bulbil axon clone`

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::Args;
use serde_json::json;

use super::super::context::Context;
use super::super::output::{Outcome, one_line};
use super::common::{
    config_document, config_in_words, downloaded_document, downloaded_in_words, find, puller, snapshot,
    synced_document, synced_in_words,
};
use super::peer::{WHERE_TO_ENTER, add_at};
use super::restore::{Whose, from_folder, restored_document, restored_in_words, tell_left};
use crate::axon::caller::CallError;
use crate::axon::collection::default_collection;
use crate::axon::folder::restore::{Lack, Left, RestoreOptions};
use crate::axon::library::Library;
use crate::axon::pull::{PullError, Rows, Wanted, rekey};
use crate::clock::Clock;
use crate::domain::axon::address::AxonAddress;
use crate::monitor::{Monitor, Problem};
use crate::store::Store;
use crate::worker::axon::follow::sources;
use crate::worker::axon::refresh;

/// `bulbil axon clone`
#[derive(Debug, Args)]
pub struct CloneArgs {
    /// Its address, or its name among the peers
    pub url: String,
    /// Do not take over its configuration: users, boards, categories; later visits do not, either
    #[arg(long)]
    pub skip_config: bool,
    /// Leave applets out
    #[arg(long)]
    pub skip_applets: bool,
    /// A backup folder: its applets and chunks are taken from there, and only what it lacks is fetched
    #[arg(long, value_name = "DIR")]
    pub backup_dir: Option<PathBuf>,
    /// The private key (PEM) of the instance that made the backup, to open users' data, which was made for it alone
    #[arg(long, value_name = "FILE", requires = "backup_dir")]
    pub key: Option<PathBuf>,
    /// The fingerprint of its key was compared
    #[arg(short, long)]
    pub yes: bool,
}

/// Takes over everything that an instance gives. Cut anywhere, the same command goes on.
pub async fn run(args: CloneArgs, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let out = &context.output;
    let mut peer = match find(store, &args.url).await? {
        Some(peer) => peer,
        None => {
            let address: AxonAddress = args.url.parse()?;
            add_at(&address, None, args.yes, store, context).await?
        }
    };
    let (progress, cancel) = (context.progress(), context.cancellation());
    let puller = puller(store, progress.clone(), context).await?;
    let collection = default_collection(store).await?;
    refresh(store, &collection).await?;
    let mut restored = None;
    if let Some(dir) = args.backup_dir.as_deref().filter(|_| !args.skip_applets) {
        let instance = puller.caller().instance();
        let whose = Whose { store, collection: &collection, instance, key: args.key.as_deref() };
        let report = from_folder(&whose, dir, &RestoreOptions::default(), &progress, &cancel, context).await;
        // The BBS may be away: what the folder has is kept all the same.
        snapshot(store, &collection, progress.clone(), &cancel, context).await?;
        let report = report?;
        restored_in_words(&report).iter().for_each(|line| out.line(line));
        restored = Some(report);
    }
    let address: AxonAddress = peer.address.clone().context("its address is not known")?;
    let key = puller.caller().public_key(&address).await?;
    ensure!(
        key == peer.public_key,
        "{} shows another key than the one that is known: 'bulbil axon update-peer-key {}' shows both. Nothing was cloned",
        peer.name,
        peer.name
    );
    let synced = puller.sync(&collection, &peer, &cancel).await;
    if let Err(PullError::Call { cause: CallError::NotLetIn | CallError::NotLetInOrClock, .. }) = &synced {
        out.remark(format!("{WHERE_TO_ENTER}\n\n{}\n", puller.caller().instance().public.as_str()));
    }
    let synced = synced?;
    out.line(format!("{}: {}", peer.name, synced_in_words(&synced)));
    peer.cursor = None;

    let mut config = None;
    if !(args.skip_config && args.skip_applets) {
        let kept = if args.skip_config { Rows::LeaveOut } else { Rows::Claim };
        match puller.config(&collection, &peer, kept, !args.skip_applets, &cancel).await {
            Ok(report) => {
                out.line(config_in_words(&report));
                config = Some(report);
            }
            Err(error) => {
                let message = one_line(&anyhow::Error::new(error));
                progress.problem(Problem { subject: "configuration".to_owned(), message });
            }
        }
    }
    let wanted = if args.skip_applets { Wanted::NoApplets } else { Wanted::All };
    let fetched = puller.download(&collection, &sources(store).await?, &wanted, &cancel).await;
    let rekeyed = rekey(store, &collection, puller.caller().instance(), context.clock.now()).await;
    let made = snapshot(store, &collection, progress.clone(), &cancel, context).await;
    let (fetched, rekeyed, made) = (fetched?, rekeyed?, made?);
    if let Some(restored) = &restored {
        // What the folder lacked may have come since.
        let library = Library::load(&store.axon(collection.id)).await?;
        let usable =
            |left: &Left| library.items.get(&left.content_hash).is_some_and(|item| item.complete && item.key.is_some());
        // A folder that lacks something is usual here; one that is damaged is not.
        let is_told = |left: &&Left| match &left.lack {
            Lack::InFolder(_) => left.lack.is_damage(),
            _ => !usable(left) || left.lack.is_damage(),
        };
        let left: Vec<Left> = restored.left.iter().filter(is_told).cloned().collect();
        tell_left(&progress, out, &left);
    }
    progress.finish();
    out.line(downloaded_in_words(&fetched));
    if let Some(sequence) = made {
        out.line(format!("snapshot {}@{sequence}", collection.name));
    }
    let problems = progress.problems();
    let document = json!({
        "peer": peer.name, "collection": collection.name, "synced": synced_document(&peer.name, &synced),
        "config": config.as_ref().map(config_document), "fetched": downloaded_document(&fetched),
        "rekeyed": rekeyed.rekeyed, "snapshot": made, "restored": restored.as_ref().map(restored_document),
    });
    out.document("axon clone", document, &problems);
    Ok(out.outcome(&problems))
}

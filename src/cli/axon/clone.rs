//! `bulbil axon clone`

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
use crate::axon::caller::CallError;
use crate::axon::collection::default_collection;
use crate::axon::pull::{PullError, Wanted, rekey};
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
    /// Do not take over its configuration: users, boards, categories
    #[arg(long)]
    pub skip_config: bool,
    /// Leave applets out
    #[arg(long)]
    pub skip_applets: bool,
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
    let address: AxonAddress = peer.address.clone().context("its address is not known")?;
    let key = puller.caller().public_key(&address).await?;
    ensure!(
        key == peer.public_key,
        "{} shows another key than the one that is known: 'bulbil axon update-peer-key {}' shows both. Nothing was cloned",
        peer.name,
        peer.name
    );
    let collection = default_collection(store).await?;
    refresh(store, &collection).await?;

    let synced = puller.sync(&collection, &peer, &cancel).await;
    if let Err(PullError::Call { cause: CallError::NotLetIn | CallError::NotLetInOrClock, .. }) = &synced {
        out.remark(format!("{WHERE_TO_ENTER}\n\n{}\n", puller.caller().instance().public.as_str()));
    }
    let synced = synced?;
    out.line(format!("{}: {}", peer.name, synced_in_words(&synced)));
    peer.cursor = None;

    let mut config = None;
    if !(args.skip_config && args.skip_applets) {
        match puller.config(&collection, &peer, !args.skip_config, !args.skip_applets, &cancel).await {
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
    progress.finish();
    let (fetched, rekeyed, made) = (fetched?, rekeyed?, made?);
    out.line(downloaded_in_words(&fetched));
    if let Some(sequence) = made {
        out.line(format!("snapshot {}@{sequence}", collection.name));
    }
    let problems = progress.problems();
    let document = json!({
        "peer": peer.name, "collection": collection.name, "synced": synced_document(&peer.name, &synced),
        "config": config.as_ref().map(config_document), "fetched": downloaded_document(&fetched),
        "rekeyed": rekeyed.rekeyed, "snapshot": made,
    });
    out.document("axon clone", document, &problems);
    Ok(out.outcome(&problems))
}

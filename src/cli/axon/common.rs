//! What several commands need: who calls, whom, and what is done with what came.

use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::super::context::Context;
use super::super::dialling::dial;
use super::super::output::{bytes, count};
use crate::axon::caller::AxonCaller;
use crate::axon::collection::{default_collection, named_collection, own_collections};
use crate::axon::instance::AxonInstance;
use crate::axon::library::INSTALLATION;
use crate::axon::pull::{AxonPuller, ConfigReport, DownloadReport, SyncReport};
use crate::domain::axon::address::AxonAddress;
use crate::domain::peer::is_plain_name;
use crate::monitor::Monitor;
use crate::store::Store;
use crate::store::index::Collection;
use crate::store::index::axon::AxonPeer;
use crate::transport::client::{ClientLimits, HttpClient};
use crate::worker;

/// This instance as Axon instances know it; its key is made now if it has none.
///
/// # Errors
/// If the home cannot be read or written.
pub async fn instance(store: &Store) -> anyhow::Result<Arc<AxonInstance>> {
    let store = store.clone();
    Ok(Arc::new(tokio::task::spawn_blocking(move || AxonInstance::load_or_make(&store)).await??))
}

/// Calls Axon instances. Plain addresses that it is given were accepted when they were noted.
///
/// # Errors
/// As [`instance`]; if the configuration cannot be used.
pub async fn caller(store: &Store, context: &Context) -> anyhow::Result<AxonCaller> {
    let config = context.config()?;
    let client = HttpClient::new(dial(store, &config, context.output), ClientLimits::patient(config.tor.circuits()));
    Ok(AxonCaller::new(client, instance(store).await?, context.clock.clone()))
}

/// Pulls from Axon instances.
///
/// # Errors
/// As [`caller`].
pub async fn puller(store: &Store, monitor: Arc<dyn Monitor>, context: &Context) -> anyhow::Result<AxonPuller> {
    Ok(AxonPuller::new(store.clone(), caller(store, context).await?, monitor))
}

/// The Axon instance with this name or at this address, if there is one.
///
/// # Errors
/// If the index cannot be read.
pub async fn find(store: &Store, text: &str) -> anyhow::Result<Option<AxonPeer>> {
    let mut peers = store.index.axon_peers().await?;
    let address = text.parse::<AxonAddress>().ok();
    let is_it = |peer: &AxonPeer| peer.name == text || (address.is_some() && peer.address == address);
    Ok(peers.iter().position(is_it).map(|at| peers.swap_remove(at)))
}

/// The same, and it must be there.
///
/// # Errors
/// If there is none.
pub async fn peer(store: &Store, text: &str) -> anyhow::Result<AxonPeer> {
    if let Some(peer) = find(store, text).await? {
        return Ok(peer);
    }
    let names: Vec<String> = store.index.axon_peers().await?.into_iter().map(|peer| peer.name).collect();
    match names.is_empty() {
        true => bail!("there is no Axon BBS among the peers: 'bulbil peer add --kind axon URL' adds one"),
        false => bail!("there is no Axon BBS {text:?} among the peers; there are: {}", names.join(", ")),
    }
}

/// Those to pull from: the one that is named, or all that are trusted and followed.
///
/// # Errors
/// If there are none.
pub async fn sources(store: &Store, named: Option<&str>) -> anyhow::Result<Vec<AxonPeer>> {
    if let Some(name) = named {
        return Ok(vec![peer(store, name).await?]);
    }
    let mut peers = worker::axon::follow::sources(store).await?;
    peers.retain(|peer| peer.follow);
    ensure!(
        !peers.is_empty(),
        "there is no Axon BBS to pull from: 'bulbil peer add --kind axon URL' adds one, 'bulbil peer list' shows those that are known"
    );
    Ok(peers)
}

/// The collection of this name, or the one that what comes from Axon BBSes belongs to, as its newest snapshot has it. Nothing is
/// made here.
///
/// # Errors
/// If there is none, or it holds no Axon BBS.
pub async fn existing_collection(store: &Store, named: Option<&str>) -> anyhow::Result<Collection> {
    let collection = match named {
        Some(name) => {
            let found = store.index.collection_named(name).await?;
            found.with_context(|| format!("there is no collection {name:?}: 'bulbil collection list' shows them"))?
        }
        None => {
            let own = own_collections(store).await?;
            ensure!(
                !own.is_empty(),
                "there is no collection of an Axon BBS here yet: 'bulbil axon clone' or 'bulbil axon restore' makes one; of one that is mirrored from another instance, give the name with --collection"
            );
            default_collection(store).await?
        }
    };
    worker::axon::refresh(store, &collection).await?;
    Ok(collection)
}

/// The collection that something is taken into: the one of this name, made if there is none, or the default one; as its newest snapshot
/// has it.
///
/// # Errors
/// If something else has the name.
pub async fn collection_to_fill(store: &Store, named: Option<&str>) -> anyhow::Result<Collection> {
    let collection = match named {
        Some(name) => {
            ensure!(is_plain_name(name), "{name:?} cannot be the name of a collection");
            named_collection(store, name).await?.with_context(|| {
                format!(
                    "the collection {name:?} is no collection of an Axon BBS that is led from here: give another name"
                )
            })?
        }
        None => default_collection(store).await?,
    };
    worker::axon::refresh(store, &collection).await?;
    Ok(collection)
}

/// Puts what came into a snapshot; its number.
///
/// # Errors
/// If it cannot be made.
pub async fn snapshot(
    store: &Store,
    collection: &Collection,
    monitor: Arc<dyn Monitor>,
    cancel: &CancellationToken,
    context: &Context,
) -> anyhow::Result<Option<u64>> {
    let made = worker::axon::snapshot(store, collection, &*context.clock, monitor, cancel).await?;
    Ok(made.map(|made| made.sequence))
}

/// A sync in words.
pub fn synced_in_words(report: &SyncReport) -> String {
    if !report.is_news() {
        return "nothing new".to_owned();
    }
    let mut parts = Vec::new();
    for (n, noun) in
        [(report.new_items, "new item"), (report.changed_items, "changed item"), (report.new_actions, "action")]
    {
        if n > 0 {
            parts.push(count(n, noun));
        }
    }
    parts.join(", ")
}

/// A sync as JSON.
pub fn synced_document(peer: &str, report: &SyncReport) -> Value {
    json!({
        "peer": peer, "announced": report.announced, "new_items": report.new_items, "changed_items": report.changed_items,
        "new_actions": report.new_actions, "refused": report.refused, "resealed": report.resealed,
        "without_key": report.without_key, "not_before": report.not_before, "requests": report.requests,
    })
}

/// A configuration as JSON.
pub fn config_document(report: &ConfigReport) -> Value {
    json!({
        "rows": report.rows, "superusers_left_out": report.superusers, "other_models_left_out": report.other_models,
        "applets": report.applets, "changed": report.changed, "kept_of_another_peer": report.of_another_peer,
        "left_out": report.left_out,
    })
}

/// A configuration in words.
pub fn config_in_words(report: &ConfigReport) -> String {
    let rows: u64 = report.rows.values().sum();
    let kept = match &report.of_another_peer {
        Some(other) if other == INSTALLATION => {
            "not kept: that of the Axon BBS on this machine is (another home can keep this one)".to_owned()
        }
        Some(other) => format!("not kept: that of {other} is (clone takes this one instead)"),
        None if report.left_out => "left out, as --skip-config says (clone without it takes it)".to_owned(),
        None => format!("{} kept, {} left out", count(rows, "row"), count(report.superusers, "superuser")),
    };
    format!("configuration: {kept}; {} new or changed", count(report.applets, "applet"))
}

/// A download in words.
pub fn downloaded_in_words(report: &DownloadReport) -> String {
    format!(
        "fetched {} in {}; {} complete, {} not",
        bytes(report.bytes),
        count(report.chunks, "chunk"),
        count(report.items, "item"),
        report.faults.len()
    )
}

/// A download as JSON.
pub fn downloaded_document(report: &DownloadReport) -> Value {
    let faults: Vec<Value> = report
        .faults
        .iter()
        .map(|fault| json!({ "content_hash": fault.content_hash, "kinds": fault.kinds, "message": fault.message }))
        .collect();
    json!({
        "items": report.items, "chunks": report.chunks, "bytes": report.bytes, "requests": report.requests,
        "bad_chunks": report.bad_chunks, "incomplete": faults,
    })
}

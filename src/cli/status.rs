//! `bulbil status`

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::backup::escrow::MissingSecret;
use crate::backup::secrets;
use crate::clock::Clock;
use crate::domain::peer::fingerprint_words;

use crate::domain::onion::DEFAULT_PORT;
use crate::http::admin::StatusAnswer;
use crate::http::admin::network::{Addresses, NetworkStatus};
use crate::replicate::prove::{self, KeptCopy};
use crate::store::index::{Collection, CollectionKind, Proof};
use crate::store::{OnionName, Store};
use crate::worker::health::health;

use super::admin::AdminClient;
use super::args::StatusArgs;
use super::context::Context;
use super::output::{Outcome, Output, age, bytes, count};
use super::remote::leader;
use super::scrub;

/// Shows what is here, and how old it is.
pub async fn run(args: StatusArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let now = context.clock.now();
    let instance = store.keys.instance();
    let out = &context.output;
    out.line(format!("{}  {}", store.keys.name, instance.short()));
    out.line(format!("  fingerprint  {}", fingerprint_words(&instance).join(" ")));
    let server = live(&store).await;
    match &server {
        Some(Ok(server)) => {
            let since = age(now.duration_since(server.started_at).as_secs());
            out.line(format!("  server       running, started {since}"));
            out.line(format!("  peers        {}", server.network.in_words()));
            show_network(&server.network, &|at| age(now.duration_since(at).as_secs()), out);
        }
        Some(Err(error)) => out.line(format!("  server       running, and it does not answer: {error}")),
        None if store.running_server().is_some() => {
            out.line("  server       starting: it may wait for another command's Tor")
        }
        None => out.line("  server       not running"),
    }
    let addresses = if args.show_address { Some(addresses(&store, context).await?) } else { None };
    if let Some(addresses) = &addresses {
        for address in &addresses.peer {
            out.line(format!("  address      {address}"));
        }
        if let Some(address) = &addresses.admin_onion {
            out.line(format!("  admin        {address}"));
        }
    }
    let away = store.check_folders().err().map(|away| away.to_string());
    if let Some(away) = &away {
        out.line(format!("  storage      {away}"));
    }
    let days = context.config()?.scrub.days;
    let scrubbed = scrub::state(&store, now, days).await?;
    out.line(format!("  scrub        {}", scrub::in_words(&scrubbed, now, days)));
    let lost_manifests = if away.is_none() { store.lost_manifests().await? } else { Vec::new() };
    scrub::lost_manifests(&lost_manifests).into_iter().for_each(|line| out.line(format!("  manifests    {line}")));
    let targets = store.index.target_copies().await?;
    let mut collections = Vec::new();
    for collection in store.index.collections().await? {
        let snapshots = store.index.snapshots(Some(&collection.id)).await?;
        let newest = snapshots.iter().filter(|s| s.complete && !s.partial).max_by_key(|s| s.created_at);
        let (_, missing) = store.index.count_missing(Some(&collection.id)).await?;
        let whose = match (&collection.settings, store.keys.is_ours(&collection.origin)) {
            (_, true) => String::new(),
            (Some(_), false) => format!(", led by {} now", leader(&store, &collection.origin).await?),
            (None, false) => format!(", of {}", collection.origin.short()),
        };
        let state = match newest {
            Some(s) => format!("newest {}", age(now.duration_since(s.created_at).as_secs())),
            None => "no complete snapshot yet".to_owned(),
        };
        let lacking = if missing > 0 { format!(", {} still to fetch", bytes(missing)) } else { String::new() };
        out.line(format!(
            "{}{whose}: {}, {state}{lacking}",
            collection.name,
            count(snapshots.len() as u64, "snapshot")
        ));
        if let Some(line) = super::schedule::in_words(&store, &collection, now).await? {
            out.line(format!("  {line}"));
        }
        let captures = store.index.captures(&collection.id).await?;
        let capture =
            newest.and_then(|newest| captures.iter().find(|(id, _)| *id == newest.id)).map(|(_, capture)| capture);
        if let Some(capture) = capture {
            capture.shrunk.iter().for_each(|what| out.line(format!("  shrunk: {what}")));
            capture.inconsistent.iter().take(3).for_each(|what| out.line(format!("  inconsistent: {what}")));
        }
        let missing_secrets = missing_secrets(&store, &collection);
        missing_secrets.iter().for_each(|missing| out.line(format!("  {}", missing.in_words())));
        let axon = match collection.settings.as_ref().map(|settings| settings.kind) {
            Some(CollectionKind::Axon) => Some(store.index.axon_counts(&collection.id).await?),
            _ => None,
        };
        if let Some((items, incomplete)) = axon {
            let lacking = match incomplete {
                0 => "all of them whole".to_owned(),
                _ => format!("{incomplete} of them not whole ('bulbil axon download' says why)"),
            };
            out.line(format!("  {} of a BBS, {lacking}", count(items, "item")));
        }
        let led_here = store.keys.is_ours(&collection.origin);
        let copies = if led_here { prove::copies(&store, &collection.id).await? } else { Vec::new() };
        if led_here && newest.is_some() {
            let since = store.index.proofs_since().await?;
            copies_in_words(&copies, now, since).into_iter().for_each(|line| out.line(format!("  {line}")));
        }
        for copy in targets.iter().filter(|copy| copy.collection == collection.id) {
            if let Some((at, snapshot)) = copy.verified {
                let sequence = snapshots.iter().find(|known| known.id == snapshot).map_or(0, |known| known.sequence);
                let ago = age(now.duration_since(at).as_secs());
                out.line(format!("  target {}: @{sequence} is there, found right {ago}", copy.target));
            }
        }
        collections.push(json!({
            "name": collection.name, "id": collection.id, "origin": collection.origin, "snapshots": snapshots.len(),
            "newest": newest.map(|s| json!({ "id": s.id, "sequence": s.sequence, "created_at": s.created_at })),
            "missing_bytes": missing, "capture": capture, "missing_secrets": missing_secrets,
            "axon": axon.map(|(items, incomplete)| json!({ "items": items, "incomplete": incomplete })),
            "proved_copies": led_here.then(|| copies.iter().filter(|copy| copy.is_proved(now)).count()),
            "copies": copies.iter().map(|copy| copy_document(copy, now)).collect::<Vec<_>>(),
        }));
    }
    let mut peers = Vec::new();
    for peer in store.index.peers().await? {
        let contact = peer.last_contact_at.map(|at| age(now.duration_since(at).as_secs()));
        let error = peer.last_error.as_ref().map(|error| format!("; last error: {error}")).unwrap_or_default();
        out.line(format!(
            "peer {}: {}, mirrors {}, last contact {}{}{error}",
            peer.name,
            peer.trust.word(),
            crate::replicate::trust::mirrored_in_words(&store, &peer).await?,
            contact.as_deref().unwrap_or("never"),
            line_to(&peer.id.to_string(), &server),
        ));
        peers.push(json!({
            "name": peer.name, "instance": peer.id, "state": peer.trust.word(), "last_contact_at": peer.last_contact_at,
            "last_error": peer.last_error, "follow": peer.follow, "mirror": peer.mirror,
        }));
    }
    let axon_peers = store.index.axon_peers().await?;
    for peer in &axon_peers {
        out.line(super::axon::peer::in_words(peer, &store, now).await?);
    }
    let axon_peers: Vec<_> = axon_peers.iter().map(super::axon::peer::document).collect();
    let standbys = crate::worker::standby::status(&store).await?;
    for standby in &standbys {
        out.line(super::standby::in_words(standby, context));
    }
    let standbys: Vec<_> = standbys.iter().map(super::standby::document).collect();
    // What cannot be read is told by the doctor.
    let bounds = context.config()?.alerts.bounds(&store.alert_settings().unwrap_or_default());
    let health = health(&store, bounds, now).await?;
    let alerts = &health.alerts;
    for alert in alerts {
        out.warning(format!("{} ({}): {}", alert.subject, alert.kind, alert.message));
    }
    let document = json!({
        "name": store.keys.name, "instance": instance, "fingerprint": fingerprint_words(&instance).join(" "),
        "addresses": addresses, "server": server.is_some(), "live": server.and_then(Result::ok), "collections": collections, "peers": peers, "axon_peers": axon_peers,
        "standbys": standbys, "storage_problem": away, "alerts": alerts,
        "scrub": scrub::document(&scrubbed, &lost_manifests),
    });
    out.document("status", document, &[]);
    Ok(if health.is_good() { Outcome::Done } else { Outcome::NotEverything })
}

/// How many copies there are, in one line, and what is wrong with others.
fn copies_in_words(copies: &[KeptCopy], now: Timestamp, since: Timestamp) -> Vec<String> {
    let ago = |copy: &KeptCopy| age(now.duration_since(copy.last.proof.proved_at).as_secs());
    let proved: Vec<String> = copies
        .iter()
        .filter(|copy| copy.is_proved(now))
        .map(|copy| match copy.last.behind {
            0 => format!("{} {}, the newest snapshot", copy.name, ago(copy)),
            behind => format!("{} {}, {} behind", copy.name, ago(copy), count(behind, "snapshot")),
        })
        .collect();
    let first = match proved.len() as u64 {
        0 => format!("here, and no proved copy elsewhere (proofs are recorded since {})", since.strftime("%F")),
        1 => format!("here, and 1 proved copy elsewhere: {}", proved[0]),
        copies => format!("here, and {copies} proved copies elsewhere: {}", proved.join("; ")),
    };
    let others = copies.iter().filter(|copy| !copy.is_proved(now)).map(|copy| {
        let Proof { sampled, right, .. } = copy.last.proof;
        match copy.is_right() {
            true => format!("{} proved its copy {}, and not since", copy.name, ago(copy)),
            false => format!("{}'s proof failed {}: {} of {sampled} wrong", copy.name, ago(copy), sampled - right),
        }
    });
    std::iter::once(first).chain(others).collect()
}

fn copy_document(copy: &KeptCopy, now: Timestamp) -> Value {
    let Proof { peer, snapshot, proved_at, sampled, right, .. } = copy.last.proof;
    json!({
        "peer": copy.name, "instance": peer, "proved": copy.is_proved(now), "proved_at": proved_at, "snapshot": snapshot,
        "sequence": copy.last.sequence, "behind": copy.last.behind, "sampled": sampled, "right": right,
    })
}

/// What the server knows of the line to a peer.
fn line_to(peer: &str, server: &Option<anyhow::Result<StatusAnswer>>) -> String {
    let Some(Ok(server)) = server else { return String::new() };
    let Some(line) = server.peers.iter().find(|line| line.instance == peer) else { return String::new() };
    let latency = line.latency_ms.map(|ms| format!(", answers in {:.1} s", ms as f64 / 1000.0)).unwrap_or_default();
    let rate = line.bytes_per_second.map(|rate| format!(", {}/s", bytes(rate))).unwrap_or_default();
    latency + &rate
}

/// What is worth knowing of the way in.
fn show_network(network: &NetworkStatus, age: &dyn Fn(Timestamp) -> String, out: &Output) {
    if let Some(clock) = network.tor.as_ref().and_then(|tor| tor.clock.as_ref()) {
        out.line(format!("  clock        {clock}: set it right, or Tor will not work for long"));
    }
    let Some(onion) = &network.onion else { return };
    let moment = |at: Option<Timestamp>, never: &str| at.map_or_else(|| never.to_owned(), age);
    out.line(format!(
        "  onion        {}, published {}, last reached by a test {}",
        onion.state,
        moment(onion.published_at, "not yet"),
        moment(onion.reached_at, "never"),
    ));
}

/// The addresses in full: from the server, or from the keys.
async fn addresses(store: &Store, context: &Context) -> anyhow::Result<Addresses> {
    if let Some(server) = AdminClient::of_running(store)? {
        return server.addresses().await;
    }
    let config = context.config()?;
    let mut known = Addresses::default();
    if let Some(key) = store.known_onion_key(OnionName::Peer)? {
        known.peer.push(format!("http://{}", key.address(config.tor.port.get())?.reveal_authority()));
    }
    if let Some(key) = store.known_onion_key(OnionName::Admin)?.filter(|_| config.tor.admin_onion) {
        known.admin_onion = Some(format!("http://{}", key.address(DEFAULT_PORT)?.reveal_authority()));
    }
    Ok(known)
}

/// What the running server says, if one runs.
async fn live(store: &Store) -> Option<anyhow::Result<StatusAnswer>> {
    match AdminClient::of_running(store) {
        Ok(Some(server)) => Some(server.status().await),
        Ok(None) => None,
        Err(error) => Some(Err(error)),
    }
}

/// Secrets without which the data is of little use, and that are stored nowhere here. What cannot be read says so with the next backup.
fn missing_secrets(store: &Store, collection: &Collection) -> Vec<MissingSecret> {
    secrets::missing(store, collection).unwrap_or_default()
}

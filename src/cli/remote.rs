//! What the commands that talk to peers have in common: who calls, whom, and whether that is wanted.

use std::io::{BufRead, IsTerminal, Write};
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{bail, ensure};
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::config::Config;
use crate::domain::id::InstanceId;
use crate::domain::limits::Limits;
use crate::domain::peer::{PeerAddress, Rights, Scope, Trust};
use crate::monitor::Monitor;
use crate::replicate::call::{Callee, PeerCaller};
use crate::replicate::pull::Puller;

pub use crate::replicate::trust::{granted_in_words, rights_in_words, words};
use crate::store::Store;
use crate::store::index::Peer;
use crate::transport::client::{ClientLimits, HttpClient};
use crate::transport::direct::DirectDial;

use super::args::{LineArgs, RightsArgs};
use super::context::Context;
use super::dialling::dial;

/// What plain addresses give up. Said whenever one is listened on or noted.
pub const DIRECT_GIVES_UP: &str = "\
No Tor here: whoever watches the network in between sees which addresses talk to each other, when, and how much.
Contents stay sealed and signed. Use it on this machine, or on a local network that you trust.";

/// A caller that signs as this instance. Plain addresses that it is given were accepted when they were noted: see [`consent`].
pub fn caller(store: &Store, config: &Config, context: &Context) -> PeerCaller {
    let client = HttpClient::new(dial(store, config, context.output), ClientLimits::patient(config.tor.circuits()));
    PeerCaller::new(client, Arc::clone(&store.keys), context.clock.clone())
}

/// Pulls with what the command line leaves of the line.
pub fn puller(store: &Store, config: &Config, line: &LineArgs, monitor: Arc<dyn Monitor>, context: &Context) -> Puller {
    let puller = Puller::new(store.clone(), caller(store, &narrowed(config, line), context), monitor);
    match line.limit_rate {
        Some(rate) => puller.with_rate(rate),
        None => puller,
    }
}

/// The configuration with the number of circuits that the command line asks for.
pub fn narrowed(config: &Config, line: &LineArgs) -> Config {
    let mut config = config.clone();
    config.tor.circuits = line.max_circuits.map_or(config.tor.circuits, usize::from);
    config
}

/// The same for plain addresses alone.
pub fn direct_caller(store: &Store, clock: Arc<dyn Clock>) -> PeerCaller {
    let client = HttpClient::new(Arc::new(DirectDial::new(true)), ClientLimits::default());
    PeerCaller::new(client, Arc::clone(&store.keys), clock)
}

/// Makes sure that calling a plain address is wanted (R9): it is, if it does not leave this machine, if `bulbil.toml` says
/// so, or if somebody says yes now. Says what it gives up in any case.
///
/// # Errors
/// If it is not.
pub fn consent(context: &Context, config: &Config, address: &PeerAddress, yes: bool) -> anyhow::Result<()> {
    // Tor is what onions are reached by, and there is nothing to agree to.
    let PeerAddress::Direct(_) = address else { return Ok(()) };
    if !address.is_clearnet() {
        context.output.remark(format!("{address} is on this machine; reached without Tor."));
        return Ok(());
    }
    context.output.warning(format!("{address} is reached directly. {DIRECT_GIVES_UP}"));
    if yes || config.peer.dangerously_direct || confirm("Call it all the same?", false) {
        return Ok(());
    }
    bail!("{address} was not called: --yes says that it is wanted, or 'dangerously_direct = true' in bulbil.toml")
}

/// Asks a question on the terminal. Without a terminal the answer is no.
pub fn confirm(question: &str, default: bool) -> bool {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return false;
    }
    let choices = if default { "[Y/n]" } else { "[y/N]" };
    let mut stderr = std::io::stderr().lock();
    let asked = write!(stderr, "{question} {choices} ").and_then(|()| stderr.flush());
    let mut line = String::new();
    if asked.is_err() || stdin.lock().read_line(&mut line).is_err() {
        return false;
    }
    match line.trim().to_lowercase().as_str() {
        "" => default && !line.is_empty(),
        answer => answer == "y" || answer == "yes",
    }
}

/// The peer with this name, or whose id begins so.
///
/// # Errors
/// If there is none.
pub async fn peer(store: &Store, text: &str) -> anyhow::Result<Peer> {
    if let Some(peer) = store.index.peer_named(text).await? {
        return Ok(peer);
    }
    let names: Vec<String> = store.index.peers().await?.into_iter().map(|peer| peer.name).collect();
    let known = if names.is_empty() {
        "there are none yet; 'bulbil clone INVITE' or 'bulbil peer add URL' adds one".to_owned()
    } else {
        format!("there are: {}", names.join(", "))
    };
    bail!("there is no peer {text:?} here; {known}")
}

/// The peers to pull from: the one that is named, or all that are trusted and followed.
///
/// # Errors
/// If there are none, or the one that is named cannot be called.
pub async fn sources(store: &Store, named: Option<&str>) -> anyhow::Result<Vec<Peer>> {
    if let Some(name) = named {
        let peer = peer(store, name).await?;
        match &peer.trust {
            Trust::Trusted(_) => {}
            Trust::Pending => bail!(
                "peer {} is pending: compare the fingerprint words, then run 'bulbil peer trust {}'",
                peer.name,
                peer.name
            ),
            Trust::Revoked => bail!("peer {} was revoked here: nothing is pulled from it", peer.name),
        }
        ensure!(
            peer.address.is_some(),
            "the address of peer {} is not known: 'bulbil peer add URL' notes it",
            peer.name
        );
        return Ok(vec![peer]);
    }
    let mut peers = store.index.peers().await?;
    peers.retain(|peer| matches!(peer.trust, Trust::Trusted(_)) && peer.follow && peer.address.is_some());
    ensure!(
        !peers.is_empty(),
        "there is no peer to pull from: 'bulbil clone INVITE' joins one, 'bulbil peer list' shows those that are known"
    );
    Ok(peers)
}

/// Whom to call for a peer.
///
/// # Errors
/// If its address is not known.
pub fn callee(peer: &Peer) -> anyhow::Result<Callee> {
    let Some(address) = peer.address.clone() else {
        bail!("the address of peer {} is not known: 'bulbil peer add URL' notes it", peer.name)
    };
    let identity = peer.identity.verify(Some(&peer.id))?;
    Ok(Callee { address, key: identity.identity_key })
}

/// Rights, from what was typed.
///
/// # Errors
/// If a collection does not exist.
pub async fn rights(store: &Store, args: &RightsArgs) -> anyhow::Result<Rights> {
    let limits = Limits { rate: args.rate, quota: args.quota, hours: args.hours };
    let all = args.collections.iter().any(|name| name == "all");
    let scope = if all {
        Scope::All
    } else {
        let mut ids = std::collections::BTreeSet::new();
        for name in &args.collections {
            ids.insert(crate::backup::select::collection(store, name).await?.id);
        }
        Scope::Only(ids)
    };
    Ok(Rights { scope, role: args.role, onward: args.onward, from: args.from, limits })
}

/// Who leads a collection, for people: the name of a peer, or fingerprint words.
///
/// # Errors
/// If the index cannot be read.
pub async fn leader(store: &Store, instance: &InstanceId) -> anyhow::Result<String> {
    let peer = store.index.peer(instance).await?;
    Ok(peer.map_or_else(|| words(instance), |peer| peer.name))
}

/// A peer as JSON.
pub fn document(peer: &Peer) -> Value {
    let rights = match &peer.trust {
        Trust::Trusted(rights) => Some(rights),
        _ => None,
    };
    json!({
        "name": peer.name, "instance": peer.id, "fingerprint": words(&peer.id), "address": peer.address.as_ref().map(ToString::to_string),
        "state": peer.trust.word(), "rights": rights, "granted": peer.granted, "follow": peer.follow, "mirror": peer.mirror,
        "added_at": peer.added_at, "last_contact_at": peer.last_contact_at, "last_error": peer.last_error,
    })
}

/// Whether an address can be called from elsewhere: `0.0.0.0` and `::` mean "any of mine" and nothing to others.
pub fn is_callable(address: &PeerAddress) -> bool {
    let PeerAddress::Direct(socket) = address else { return true };
    match socket.ip() {
        IpAddr::V4(ip) => !ip.is_unspecified(),
        IpAddr::V6(ip) => !ip.is_unspecified(),
    }
}

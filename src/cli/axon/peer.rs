//! Axon instances among the peers: `bulbil peer add --kind axon`, and what the other commands for peers do with them.

use anyhow::{bail, ensure};
use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::args::PeerAddArgs;
use super::super::context::Context;
use super::super::output::{Outcome, age, count};
use super::super::remote::{confirm, consent};
use super::common::{caller, find, instance, peer};
use super::rights;
use crate::clock::Clock;
use crate::domain::axon::address::AxonAddress;
use crate::domain::axon::key::PublicKey;
use crate::domain::peer::{PeerAddress, is_plain_name};
use crate::store::Store;
use crate::store::index::axon::{AxonPeer, AxonRights, AxonTrust};

/// What an admin over there does with our key.
pub const WHERE_TO_ENTER: &str = "\
Give the admin of that BBS this key. In its admin pages: Trusted Instances, Add; paste it as public key, and tick
'is trusted peer' (a row without the tick keeps the BBS from starting again).";

/// `bulbil axon update-peer-key`
#[derive(Debug, Args)]
pub struct UpdateKeyArgs {
    /// Its name or its address
    pub peer: String,
    /// The fingerprint was compared
    #[arg(short, long)]
    pub yes: bool,
}

/// The Axon instance with this name, if there is one; that of another kind comes first.
pub async fn known(store: &Store, name: &str) -> anyhow::Result<Option<AxonPeer>> {
    Ok(if store.index.peer_named(name).await?.is_some() { None } else { find(store, name).await? })
}

/// Asks an Axon instance for its key, and trusts it if somebody says so.
pub async fn add(args: PeerAddArgs, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let address: AxonAddress = args.url.parse()?;
    let added = add_at(&address, args.name, args.yes, store, context).await?;
    let own = instance(store).await?;
    context.output.line("");
    context.output.line(WHERE_TO_ENTER);
    context.output.line("");
    context.output.line(own.public.as_str());
    let mut shown = document(&added);
    shown["own_public_key"] = json!(own.public.as_str());
    shown["own_checksum"] = json!(own.name.as_str());
    context.output.document("peer add", shown, &[]);
    Ok(Outcome::Done)
}

/// The same without showing our own key.
pub async fn add_at(
    address: &AxonAddress,
    name: Option<String>,
    yes: bool,
    store: &Store,
    context: &Context,
) -> anyhow::Result<AxonPeer> {
    consent(context, &context.config()?, &address.peer, yes)?;
    if let Some(name) = &name {
        ensure!(is_plain_name(name), "{name:?} is no name for a peer: letters, digits, '-', '_' and '.'");
    }
    let caller = caller(store, context).await?;
    let key = caller.public_key(address).await?;
    ensure!(key != caller.instance().public, "{address} shows the key of this very instance");
    let peers = store.index.axon_peers().await?;
    let by_key = peers.iter().find(|peer| peer.public_key == key);
    let is_here = |peer: &&AxonPeer| peer.address.as_ref() == Some(address) && peer.public_key != key;
    if let Some(other) = peers.iter().find(is_here) {
        bail!(
            "{} is at this address, and shows another key now: 'bulbil axon update-peer-key {}' shows both. Nothing was changed",
            other.name,
            other.name
        );
    }
    say_fingerprint(&key, "it shows this key", context);
    ensure!(
        yes || confirm("Trust it? What it announces is pulled from now on", false),
        "nothing was changed: compare the fingerprint with the BBS's admin, then say --yes"
    );
    let taken = |name: &str| peers.iter().any(|peer| peer.name == name && peer.public_key != key);
    if let Some(name) = &name {
        ensure!(!taken(name), "there is an Axon BBS {name:?} among the peers already: choose another name");
        ensure!(store.index.peer_named(name).await?.is_none(), "there is a peer {name:?} already: choose another name");
    }
    let fallback = || free_name(address, &taken);
    let added = match by_key {
        Some(known) => {
            if let Some(name) = name.filter(|name| *name != known.name) {
                bail!("this BBS is known already, as {}; it is not called {name:?} from now on", known.name);
            }
            let trust = match &known.trust {
                AxonTrust::Trusted(rights) => AxonTrust::Trusted(rights.clone()),
                _ => AxonTrust::Trusted(AxonRights::none()),
            };
            AxonPeer { address: Some(address.clone()), trust, follow: true, ..known.clone() }
        }
        None => AxonPeer {
            name: name.unwrap_or_else(fallback),
            address: Some(address.clone()),
            public_key: key.clone(),
            trust: AxonTrust::Trusted(AxonRights::none()),
            follow: true,
            added_at: context.clock.now(),
            cursor: None,
            last_contact_at: None,
            last_error: None,
        },
    };
    store.index.put_axon_peer(&added).await?;
    context.output.line(format!("peer {}  Axon BBS  trusted", added.name));
    Ok(added)
}

fn free_name(address: &AxonAddress, taken: &dyn Fn(&str) -> bool) -> String {
    let base = match &address.peer {
        PeerAddress::Onion(_) => "axon-bbs".to_owned(),
        PeerAddress::Direct(socket) => format!("axon-{}", socket.port()),
    };
    let numbered = (2..).map(|n| format!("{base}-{n}"));
    std::iter::once(base.clone()).chain(numbered).find(|name| !taken(name)).expect("there is no end of numbers")
}

fn say_fingerprint(key: &PublicKey, what: &str, context: &Context) {
    let out = &context.output;
    out.remark(format!(
        "{what}, and nothing but the fingerprint proves whose it is:\n  {}\n  SHA-256   {}\n  checksum  {}   (as Axon names it in manifests)",
        key.fingerprint().words(),
        key.fingerprint().hex(),
        key.name()
    ));
}

/// Takes over the key that an instance has now.
pub async fn update_key(args: UpdateKeyArgs, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let peer = peer(store, &args.peer).await?;
    let Some(address) = &peer.address else { bail!("the address of {} is not known", peer.name) };
    let key = caller(store, context).await?.public_key(address).await?;
    let before = peer.public_key.clone();
    let out = &context.output;
    let shown = |key: &PublicKey| json!({ "sha256": key.fingerprint().hex(), "words": key.fingerprint().words(), "checksum": key.name().as_str() });
    let changed = key != before;
    if changed {
        for (what, key) in [("known until now", &before), ("it shows now   ", &key)] {
            out.line(format!("  {what}   {}   {}", key.fingerprint().words(), key.fingerprint().hex()));
        }
        ensure!(
            args.yes || confirm("Anybody between here and there could show a key of theirs. Take it over?", false),
            "the key of {} has changed, and nothing was taken over: compare the new fingerprint with its admin, then say --yes",
            peer.name
        );
        store.index.put_axon_peer(&AxonPeer { public_key: key.clone(), ..peer.clone() }).await?;
        out.line(format!("{}: its new key is taken over; 'bulbil axon rekey' makes envelopes for it", peer.name));
    } else {
        out.line(format!("{} has the key that is known: {}", peer.name, key.fingerprint().words()));
    }
    let document = json!({ "name": peer.name, "changed": changed, "before": shown(&before), "after": shown(&key) });
    out.document("axon update-peer-key", document, &[]);
    Ok(Outcome::Done)
}

/// Prints our key.
pub async fn key(store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let own = instance(store).await?;
    let out = &context.output;
    out.line(own.public.as_str());
    out.remark(WHERE_TO_ENTER);
    let fingerprint = own.public.fingerprint();
    let document = json!({
        "public_key": own.public.as_str(), "checksum": own.name.as_str(), "sha256": fingerprint.hex(), "words": fingerprint.words(),
    });
    out.document("axon key", document, &[]);
    Ok(Outcome::Done)
}

/// Shuts an Axon instance out.
pub async fn revoke(peer: AxonPeer, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let trust = AxonTrust::Revoked { at: context.clock.now() };
    store.index.put_axon_peer(&AxonPeer { trust, follow: false, ..peer.clone() }).await?;
    let out = &context.output;
    out.line(format!("{} is revoked: it is neither served nor pulled from", peer.name));
    let fetched = store.index.axon_given(&peer.public_key).await?;
    let fetched_in_words = count(fetched, "item");
    out.line(format!("It has fetched {fetched_in_words} from here, and can open what it has; 'bulbil axon rekey' drops its envelopes here."));
    out.document("peer revoke", json!({ "name": peer.name, "kind": "axon", "fetched_items": fetched }), &[]);
    Ok(Outcome::Done)
}

/// Forgets an Axon instance.
pub async fn remove(peer: &AxonPeer, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    store.index.remove_axon_peer(&peer.name).await?;
    context.output.line(format!("removed {}; what was pulled from it stays here", peer.name));
    context.output.document("peer remove", json!({ "name": peer.name, "kind": "axon" }), &[]);
    Ok(Outcome::Done)
}

/// Shows an Axon instance.
pub async fn show(peer: &AxonPeer, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let key = &peer.public_key;
    let out = &context.output;
    out.line(format!("{}  Axon BBS", peer.name));
    out.line(format!("  fingerprint    {}", key.fingerprint().words()));
    out.line(format!("  SHA-256        {}", key.fingerprint().hex()));
    out.line(format!("  checksum       {}", key.name()));
    out.line(format!("  state          {}", peer.trust.word()));
    out.line(format!("  address        {}", shown_address(peer)));
    if let AxonTrust::Trusted(rights) = &peer.trust {
        out.line(format!("  may have here  {}", rights::in_words(store, rights).await?));
    }
    let fetched = store.index.axon_given(&peer.public_key).await?;
    out.line(format!("  has from here  {}", count(fetched, "item")));
    out.line(format!("  pulled from    {}", if peer.follow { "yes" } else { "no" }));
    let contact = peer.last_contact_at.map_or_else(|| "never".to_owned(), |at| format!("{at:.0}"));
    out.line(format!("  last answer    {contact}"));
    if let Some(error) = &peer.last_error {
        out.line(format!("  last error     {error}"));
    }
    out.document("peer show", document(peer), &[]);
    Ok(Outcome::Done)
}

/// Asks from the beginning next time: the one that is named, or all.
pub async fn reset_sync(named: Option<&str>, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let peers = match named {
        Some(name) => vec![peer(store, name).await?],
        None => store.index.axon_peers().await?,
    };
    ensure!(!peers.is_empty(), "there is no Axon BBS among the peers: 'bulbil peer add --kind axon URL' adds one");
    for peer in &peers {
        store.index.set_axon_cursor(&peer.name, None).await?;
        context
            .output
            .line(format!("{} is asked from the beginning next time; what is here is not fetched again", peer.name));
    }
    let names: Vec<&str> = peers.iter().map(|peer| peer.name.as_str()).collect();
    context.output.document("axon reset-sync", json!({ "peers": names }), &[]);
    Ok(Outcome::Done)
}

/// A line of the list of peers.
///
/// # Errors
/// If the index cannot be read.
pub async fn row(peer: &AxonPeer, store: &Store, now: Timestamp) -> anyhow::Result<[String; 7]> {
    let mut what = if peer.follow { "Axon BBS, followed" } else { "Axon BBS" }.to_owned();
    if let AxonTrust::Trusted(rights) = &peer.trust {
        what.push_str(&format!("; has {}", rights::in_words(store, rights).await?));
    }
    let key = peer.public_key.fingerprint().hex()[..8].to_owned();
    let contact = peer.last_contact_at.map(|at| age(now.duration_since(at).as_secs()));
    Ok([
        peer.name.clone(),
        key,
        peer.trust.word().to_owned(),
        shown_address(peer),
        what,
        contact.unwrap_or_else(|| "never".to_owned()),
        peer.last_error.clone().unwrap_or_default(),
    ])
}

/// An Axon instance in a line.
///
/// # Errors
/// If the index cannot be read.
pub async fn in_words(peer: &AxonPeer, store: &Store, now: Timestamp) -> anyhow::Result<String> {
    let [name, _, state, _, role, contact, error] = row(peer, store, now).await?;
    let error = if error.is_empty() { error } else { format!("; last error: {error}") };
    Ok(format!("peer {name}: {role}, {state}, last contact {contact}{error}"))
}

fn shown_address(peer: &AxonPeer) -> String {
    peer.address.as_ref().map_or_else(|| "calls us".to_owned(), ToString::to_string)
}

/// An Axon instance as JSON.
pub fn document(peer: &AxonPeer) -> Value {
    let key = &peer.public_key;
    let rights = match &peer.trust {
        AxonTrust::Trusted(rights) => Some(rights),
        _ => None,
    };
    json!({
        "rights": rights, "kind": "axon", "name": peer.name, "address": peer.address.is_some().then(|| shown_address(peer)), "state": peer.trust.word(),
        "fingerprint": key.fingerprint().words(), "sha256": key.fingerprint().hex(),
        "checksum": key.name().as_str(), "follow": peer.follow, "added_at": peer.added_at,
        "last_contact_at": peer.last_contact_at, "last_error": peer.last_error,
    })
}

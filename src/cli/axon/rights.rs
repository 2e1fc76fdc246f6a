//! `bulbil peer rights`: what an Axon instance may have here.

use std::collections::{BTreeSet, HashMap};

use anyhow::{bail, ensure};
use clap::Args;
use jiff::Timestamp;

use super::super::args::parse_moment;
use super::super::context::Context;
use super::super::output::Outcome;
use super::common::peer;
use super::peer::document;
use crate::axon::collection::own_collections;
use crate::domain::id::CollectionId;
use crate::store::Store;
use crate::store::index::axon::{AxonPeer, AxonRights, AxonTrust};
use crate::worker::axon::shelves::refresh_all;

/// `bulbil peer rights`
#[derive(Debug, Args)]
pub struct RightsArgs {
    /// Its name or its address
    pub peer: String,
    /// Which collections, with commas in between
    #[arg(long, value_name = "NAMES", value_delimiter = ',', required_unless_present_any = ["all", "none"])]
    pub collections: Vec<String>,
    /// All collections of Axon BBSes, also those that are added later
    #[arg(long, conflicts_with_all = ["collections", "none"])]
    pub all: bool,
    /// Nothing; it stays trusted
    #[arg(long, conflicts_with = "collections")]
    pub none: bool,
    /// No private messages: who writes to whom stands in them in the clear
    #[arg(long)]
    pub without_pms: bool,
    /// No users, boards, categories and applets to clone
    #[arg(long)]
    pub without_config: bool,
    /// No actions of moderators (bans, deletions), which it would obey
    #[arg(long)]
    pub without_actions: bool,
    /// Only content that came from this day or moment on, to the instance that leads the collection: 2026-11-22 or 2026-11-22T10:00:00Z.
    /// Users, boards and categories come whole, whenever they were made, unless --without-config is given
    #[arg(long, value_name = "DATE", value_parser = parse_moment)]
    pub from: Option<Timestamp>,
}

/// Says what an Axon instance may have, in place of what it might before.
pub async fn give(args: RightsArgs, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    if let Some(native) = store.index.peer_named(&args.peer).await? {
        bail!(
            "{} is no Axon BBS: 'bulbil peer trust {} --collections …' says what it may have",
            native.name,
            native.name
        );
    }
    let known = peer(store, &args.peer).await?;
    ensure!(
        matches!(known.trust, AxonTrust::Trusted(_)),
        "{} is not trusted: 'bulbil peer add --kind axon URL' compares its key anew",
        known.name
    );
    let rights = if args.none { AxonRights::none() } else { wanted(&args, store).await? };
    let changed = AxonPeer { trust: AxonTrust::Trusted(rights.clone()), ..known };
    store.index.put_axon_peer(&changed).await?;
    let out = &context.output;
    out.line(format!("{}  may have here  {}", changed.name, in_words(store, &rights).await?));
    if !args.none {
        out.remark(
            "It is served while 'bulbil serve --axon' runs, or 'bulbil serve' with [axon] serve = true in bulbil.toml.",
        );
    }
    out.document("peer rights", document(&changed), &[]);
    Ok(Outcome::Done)
}

async fn wanted(args: &RightsArgs, store: &Store) -> anyhow::Result<AxonRights> {
    let collections = if args.all {
        None
    } else {
        // Of one that came from elsewhere, or after a rebuild, nothing may have been read yet.
        refresh_all(store, &mut HashMap::new()).await?;
        let mut ids: BTreeSet<CollectionId> = BTreeSet::new();
        for name in &args.collections {
            let collection = crate::backup::select::collection(store, name).await?;
            let state = store.axon(collection.id).state().await?;
            let is_axon =
                state.generation > 0 || own_collections(store).await?.iter().any(|own| own.id == collection.id);
            ensure!(is_axon, "{} holds no Axon BBS: an Axon BBS can have nothing of it", collection.name);
            ids.insert(collection.id);
        }
        Some(ids)
    };
    Ok(AxonRights {
        collections,
        from: args.from,
        without_pms: args.without_pms,
        without_config: args.without_config,
        without_actions: args.without_actions,
    })
}

/// Rights in words.
///
/// # Errors
/// If the index cannot be read.
pub async fn in_words(store: &Store, rights: &AxonRights) -> anyhow::Result<String> {
    let mut words = match &rights.collections {
        None => "all of Axon BBSes".to_owned(),
        Some(ids) if ids.is_empty() => return Ok("nothing".to_owned()),
        Some(ids) => {
            let known = store.index.collections().await?;
            let name =
                |id: &CollectionId| known.iter().find(|c| c.id == *id).map_or_else(|| id.short(), |c| c.name.clone());
            ids.iter().map(name).collect::<Vec<_>>().join(", ")
        }
    };
    let left_out = [
        (rights.without_pms, "private messages"),
        (rights.without_config, "configuration"),
        (rights.without_actions, "actions"),
    ];
    let left_out: Vec<&str> = left_out.iter().filter(|(out, _)| *out).map(|(_, what)| *what).collect();
    if !left_out.is_empty() {
        words.push_str(&format!(", without {}", left_out.join(" and ")));
    }
    if let Some(from) = rights.from {
        words.push_str(&format!(", from {from} on"));
        if !rights.without_config {
            words.push_str("; users, boards and categories whole");
        }
    }
    Ok(words)
}

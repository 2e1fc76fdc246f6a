//! `bulbil axon forget`

use std::collections::BTreeMap;

use anyhow::ensure;
use clap::Args;
use serde_json::{Value, json};

use super::super::context::Context;
use super::super::output::{Outcome, count};
use super::common::{existing_collection, snapshot};
use crate::axon::library::Library;
use crate::axon::pull::CANDIDATES;
use crate::domain::axon::manifest::ContentType;
use crate::domain::id::ContentHash;
use crate::store::Store;
use crate::store::axon::Change;

/// `bulbil axon forget`
#[derive(Debug, Args)]
pub struct ForgetArgs {
    /// The beginning of a content hash: only what is called so
    pub hash_prefix: Option<String>,
    /// Of which collection; that of Axon BBSes if it is not given
    #[arg(long, value_name = "NAME")]
    pub collection: Option<String>,
    /// Show what would be forgotten
    #[arg(long)]
    pub dry_run: bool,
}

/// So many are shown one by one.
const SHOWN: usize = 20;

/// Takes items off the shelf that nobody brought.
pub async fn run(args: ForgetArgs, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let prefix = args.hash_prefix.as_deref().unwrap_or_default().trim().to_lowercase();
    let is_prefix = prefix.len() <= 64 && prefix.bytes().all(|byte| byte.is_ascii_hexdigit());
    ensure!(is_prefix, "a content hash is of 64 hex digits: give some of its first ones");
    let collection = existing_collection(store, args.collection.as_deref()).await?;
    ensure!(
        collection.is_ours(&store.keys.instance()),
        "{} is led by another instance: it is forgotten there, and its next snapshot says so here",
        collection.name
    );
    let shelf = store.axon(collection.id);
    let library = Library::load(&shelf).await?;
    let going: BTreeMap<ContentHash, Vec<&str>> = library
        .never_brought()
        .into_iter()
        .filter(|item| item.content_hash.to_string().starts_with(&prefix))
        .map(|item| (item.content_hash, item.kinds.iter().map(ContentType::as_str).collect()))
        .collect();
    ensure!(
        prefix.is_empty() || !going.is_empty(),
        "nothing here that was never brought has a content hash that begins with {prefix}; what is complete, and what an applet names, is not forgotten"
    );
    let out = &context.output;
    for (hash, kinds) in going.iter().take(SHOWN) {
        out.line(format!("{hash}  {}", kinds.join(", ")));
    }
    if going.len() > SHOWN {
        out.line(format!("and {} more", going.len() - SHOWN));
    }
    let mut made = None;
    let in_words = count(going.len() as u64, "item");
    if args.dry_run {
        out.line(format!("{}: {in_words} would be forgotten", collection.name));
    } else {
        let of_them = |path: &String| {
            let hash = path.strip_prefix(CANDIDATES).and_then(|rest| rest.split('/').next());
            hash.and_then(|hash| hash.parse().ok()).is_some_and(|hash: ContentHash| going.contains_key(&hash))
        };
        let candidates = shelf.records(CANDIDATES).await?.into_iter().map(|record| record.path);
        let removed = candidates.filter(of_them).collect();
        let forgotten: Vec<ContentHash> = going.keys().copied().collect();
        if !forgotten.is_empty() {
            shelf.put(&Change { forgotten, removed, ..Change::default() }).await?;
            let (progress, cancel) = (context.progress(), context.cancellation());
            made = snapshot(store, &collection, progress.clone(), &cancel, context).await?;
            progress.finish();
        }
        out.line(format!("{}: {in_words} forgotten", collection.name));
        if !going.is_empty() {
            out.remark("'bulbil axon reset-sync' asks for everything anew: what is announced still comes again then");
        }
    }
    let items: Vec<Value> = going.iter().map(|(hash, kinds)| json!({ "content_hash": hash, "kinds": kinds })).collect();
    let document = json!({ "collection": collection.name, "dry_run": args.dry_run, "items": items, "snapshot": made });
    out.document("axon forget", document, &[]);
    Ok(Outcome::Done)
}

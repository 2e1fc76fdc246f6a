//! `bulbil axon check`

use anyhow::ensure;
use clap::Args;
use serde_json::{Value, json};

use super::super::context::Context;
use super::super::output::{Outcome, bytes};
use super::common::instance;
use crate::axon::check::check;
use crate::axon::library::Library;
use crate::domain::axon::manifest::{ContentType, Manifest};
use crate::monitor::Problem;
use crate::store::Store;
use crate::worker::axon::refresh;

/// `bulbil axon check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The beginning of a content hash
    pub hash_prefix: String,
}

/// Shows how it stands with items.
pub async fn run(args: CheckArgs, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let prefix = args.hash_prefix.trim().to_lowercase();
    let is_hex = prefix.bytes().all(|byte| byte.is_ascii_hexdigit());
    ensure!(
        (4..=64).contains(&prefix.len()) && is_hex,
        "a content hash begins with hex digits: give 4 of them at least"
    );
    let own = instance(store).await?;
    let mut names = vec![(own.name.as_str().to_owned(), "this instance".to_owned())];
    for peer in store.index.axon_peers().await? {
        let name = peer.public_key.name().as_str().to_owned();
        names.push((name, format!("{} ({})", peer.name, peer.trust.word())));
    }
    let out = &context.output;
    let (mut documents, mut problems) = (Vec::<Value>::new(), Vec::new());
    for collection in store.index.collections().await? {
        refresh_if_axon(store, &collection).await?;
        let library = Library::load(&store.axon(collection.id)).await?;
        for (hash, item) in library.items.into_iter().filter(|(hash, _)| hash.to_string().starts_with(&prefix)) {
            let applets: Vec<String> = library
                .applets
                .values()
                .filter(|applet| applet.metadata.code_manifest.as_ref().is_some_and(|code| code.content_hash() == hash))
                .map(|applet| applet.metadata.name.to_string_lossy().into_owned())
                .collect();
            let from = store.clone();
            let (item, checked) = tokio::task::spawn_blocking(move || {
                let checked = check(&from, &item);
                (item, checked)
            })
            .await?;
            let checked = checked?;
            let kinds: Vec<&str> = item.kinds.iter().map(ContentType::as_str).collect();
            out.line(format!("{hash}  {}", kinds.join(", ")));
            applets.iter().for_each(|name| out.line(format!("  applet     {name}")));
            out.line(format!("  collection {}", collection.name));
            out.line(format!("  chunks     {} of {} here, {}", checked.here, checked.chunks, bytes(checked.bytes)));
            let mut envelopes = Vec::new();
            if let Ok(manifest) = Manifest::parse(item.manifest.as_bytes()) {
                for name in manifest.envelope_names() {
                    let whose = names.iter().find(|(known, _)| known == name).map(|(_, whose)| whose.as_str());
                    out.line(format!("  envelope   {name}  {}", whose.unwrap_or("nobody who is known here")));
                    envelopes.push(json!({ "checksum": name, "whose": whose }));
                }
            }
            match &checked.fault {
                None => out.line("  content    is what its hash says"),
                Some(fault) => {
                    out.line(format!("  content    not verified: {fault}"));
                    problems.push(Problem { subject: format!("item {}", hash.short()), message: fault.clone() });
                }
            }
            documents.push(json!({
                "content_hash": hash, "kinds": kinds, "applets": applets, "collection": collection.name, "chunks": checked.chunks,
                "chunks_here": checked.here, "bytes": checked.bytes, "envelopes": envelopes, "opens": item.key.is_some(),
                "verified": checked.fault.is_none(), "fault": checked.fault,
            }));
        }
    }
    ensure!(
        !documents.is_empty(),
        "nothing here has a content hash that begins with {prefix}: 'bulbil axon sync' asks what there is"
    );
    out.document("axon check", documents, &problems);
    Ok(out.outcome(&problems))
}

/// What of a mirror's snapshots was not read yet is read now; collections of folders have nothing of the kind.
async fn refresh_if_axon(store: &Store, collection: &crate::store::index::Collection) -> anyhow::Result<()> {
    if collection.settings.as_ref().is_some_and(|settings| settings.kind == crate::store::index::CollectionKind::Axon) {
        refresh(store, collection).await?;
    }
    Ok(())
}

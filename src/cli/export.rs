//! `bulbil export`
//!
//! Done by the command itself, with a server running, too: what it writes belongs to whoever typed it, who may reach disks that the server
//! does not. It only reads the repository, and no prune takes away meanwhile what it reads.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use tokio_util::sync::CancellationToken;

use crate::backup::select;
use crate::clock::Clock;
use crate::domain::peer::Trust;
use crate::portable::export::{ExportError, ExportOptions, Exported, Recipient, export};
use crate::portable::have::Have;
use crate::replicate::scope::effective;
use crate::store::Store;

use super::args::ExportArgs;
use super::context::Context;
use super::output::{Outcome, bytes, count};
use super::progress::Progress;

/// Writes snapshots into a portable backup.
pub async fn run(args: ExportArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let mut options = ExportOptions { new_folder: args.new, verify: args.verify, ..ExportOptions::default() };
    for name in &args.collections {
        options.collections.push(select::collection(&store, name).await?.id);
    }
    for name in &args.snapshot {
        let snapshot = select::snapshot(&store, name).await?;
        options.snapshots.push(snapshot.id);
        options.collections.push(snapshot.collection);
    }
    if let Some(file) = &args.since_have {
        let have = tokio::task::block_in_place(|| Have::load(file));
        options.have = Some(Arc::new(have.with_context(|| format!("cannot use {}", file.display()))?));
    }
    if let Some(name) = &args.recipient {
        options.recipient = Some(recipient(&store, name).await?);
    }
    let progress = context.progress();
    let exported = match into(&store, &args.output, &options, &progress, &context.cancellation(), context).await {
        // A day on which nothing happened is none on which something failed.
        Err(error) if matches!(error.downcast_ref(), Some(ExportError::NothingNew)) => {
            progress.finish();
            context.output.line(error.to_string());
            context.output.document("export", serde_json::Value::Null, &[]);
            return Ok(Outcome::Done);
        }
        exported => exported?,
    };
    progress.finish();
    say(&exported, context);
    let problems = progress.problems();
    context.output.document("export", &exported, &problems);
    Ok(context.output.outcome(&problems))
}

/// Exports with this command's clock.
pub(super) async fn into(
    store: &Store,
    output: &Path,
    options: &ExportOptions,
    progress: &Arc<Progress>,
    cancel: &CancellationToken,
    context: &Context,
) -> anyhow::Result<Exported> {
    let now = context.clock.now();
    Ok(export(store, output, options, now, progress.clone(), cancel).await?)
}

/// What was exported, for people.
pub(super) fn say(exported: &Exported, context: &Context) {
    let out = &context.output;
    out.line(format!("exported into {}", exported.folder.display()));
    out.line(format!(
        "  added {}, {} ({}); now there: {}, {}",
        count(exported.new_snapshots, "snapshot"),
        count(exported.new_chunks, "chunk"),
        bytes(exported.new_bytes),
        count(exported.snapshots, "snapshot"),
        bytes(exported.chunk_bytes),
    ));
}

/// A trusted peer, with the key that it has now and what of this instance's may leave to it.
async fn recipient(store: &Store, name: &str) -> anyhow::Result<Recipient> {
    let peers = store.index.peers().await?;
    let Some(peer) = peers.iter().find(|peer| peer.name == name) else {
        bail!("there is no peer {name:?} here: 'bulbil peer list' shows those that there are");
    };
    let Trust::Trusted(granted) = &peer.trust else {
        bail!(
            "peer {name} is {} here: 'bulbil peer trust {name}' lets it in, and says what it may have",
            peer.trust.word()
        );
    };
    let identity = peer.identity.verify(Some(&peer.id)).with_context(|| format!("what is kept of peer {name}"))?;
    let collections = store.index.collections().await?;
    let rights = effective(granted, &peer.id, &store.keys.instance(), &collections, &peers);
    Ok(Recipient { name: name.to_owned(), key: identity.envelope_key, rights })
}

//! `bulbil promote`: this instance takes a collection over.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde_json::json;

use crate::backup::open::OpenSnapshot;
use crate::backup::select;
use crate::clock::Clock;
use crate::domain::manifest::PrivatePart;
use crate::domain::metadata::entry::EntryKind;
use crate::domain::text::path_text;
use crate::replicate::succession::promote;
use crate::store::index::{Application, CollectionKind, CollectionSettings, Root, Snapshot};
use crate::store::{ChunkStore, Store};

use super::args::PromoteArgs;
use super::context::Context;
use super::output::{Outcome, count};
use super::remote::{confirm, leader};

/// zstd level of a collection that was taken over; 'bulbil collection set' changes it.
const LEVEL: i32 = 3;

/// Takes over.
pub async fn run(args: PromoteArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let collection = select::collection(&store, &args.collection).await?;
    let snapshots = store.index.snapshots(Some(&collection.id)).await?;
    let newest =
        snapshots.iter().filter(|s| s.complete && s.has_key && !s.partial && !s.beside).max_by_key(|s| s.sequence);
    let newest = newest.with_context(|| {
        format!(
            "collection {:?} cannot be taken over: this instance has no complete snapshot of it that it can read",
            collection.name
        )
    })?;
    let open = OpenSnapshot::open(&store, &newest.id)?;
    // Whoever lays it out at this moment finishes first; afterwards nobody does.
    let _standby = store.lock_standby()?;
    let settings = if open.private.roots.is_empty() {
        // What an Axon BBS told: there is no folder, the snapshots are all of it.
        axon_settings(&open)
    } else {
        let laid_out = collection.standby.as_ref().map(|standby| standby.into.clone());
        let data = args.data.or(laid_out).with_context(|| {
            format!(
                "in which folder is the data of collection {} now? Give it with --data; 'bulbil restore' lays it out",
                collection.name
            )
        })?;
        settings(&store, &open, &data)?
    };
    let out = &context.output;
    let leader = leader(&store, &collection.origin).await?;
    if !args.yes {
        out.warning(format!("Collection {} is led by {leader}.", collection.name));
        out.warning("If it is still at work, what it backs up from now on stands beside the line, and it stops when it hears of this.");
        ensure!(confirm("Take over?", false), "nothing was changed: answer yes, or give --yes");
    }
    let promotion = promote(&store, &collection, &settings, context.clock.now()).await?;
    let later: Vec<&Snapshot> = snapshots.iter().filter(|s| !s.beside && s.sequence > newest.sequence).collect();
    out.line(format!(
        "this instance leads collection {} now; {leader} led it until snapshot {}",
        collection.name, promotion.after
    ));
    for root in &settings.roots {
        out.line(format!("  {}", root.path.display()));
    }
    if !later.is_empty() {
        out.warning(format!(
            "{} behind {}@{} could not be fetched whole before: what was changed there is not in the folder",
            count(later.len() as u64, "snapshot"),
            collection.name,
            newest.sequence
        ));
    }
    out.line(format!(
        "'bulbil backup {}' makes the next snapshot; it stores everything once anew, under keys of this instance",
        collection.name
    ));
    out.line(
        "Peers that pull from this instance follow by themselves; others have to know its address: 'bulbil invite'",
    );
    let document = json!({
        "collection": collection.name, "id": collection.id, "from": promotion.from, "after": promotion.after, "at": promotion.at,
        "newest": { "id": newest.id, "sequence": newest.sequence }, "not_fetched": later.len(),
        "roots": settings.roots.iter().map(|root| json!({ "name": root.name, "path": path_text(&root.path) })).collect::<Vec<_>>(),
    });
    out.document("promote", document, &[]);
    Ok(Outcome::Done)
}

/// Backs up what 'bulbil restore' lays out: one folder comes directly into the target, several roots get a folder each.
fn settings(store: &Store, open: &OpenSnapshot, data: &Path) -> anyhow::Result<CollectionSettings> {
    let data = std::fs::canonicalize(data)
        .with_context(|| format!("{} is not there: restore the collection into it first, or name the folder where the application has its data now", data.display()))?;
    ensure!(data.is_dir(), "{} is no folder", data.display());
    let home = store.home.root().canonicalize()?;
    ensure!(
        !data.starts_with(&home),
        "{} belongs to this bulbil home: its keys must not get into a backup",
        data.display()
    );
    let PrivatePart { roots, excludes, padding, .. } = &open.private;
    let single = roots.len() == 1 && !is_file(open, &*store.chunks);
    let path = |name: &str| -> anyhow::Result<PathBuf> {
        let path = if single { data.clone() } else { data.join(name) };
        ensure!(
            path.exists(),
            "{} is missing: the collection has {}",
            path.display(),
            count(roots.len() as u64, "root")
        );
        Ok(path)
    };
    let roots = roots.iter().map(|root| Ok(Root { name: root.name.clone(), path: path(&root.name)? }));
    let roots = roots.collect::<anyhow::Result<Vec<_>>>()?;
    let (application, excludes) = application(store, open, excludes);
    Ok(CollectionSettings {
        application,
        roots,
        excludes,
        level: LEVEL,
        padding: *padding,
        kind: CollectionKind::Directory,
    })
}

/// The preset by which its snapshots were made, if it is known here, and what was left out beside that.
fn application(store: &Store, open: &OpenSnapshot, excludes: &[String]) -> (Option<Application>, Vec<String>) {
    let label = open.private.capture.as_ref().and_then(|capture| capture.preset.as_deref());
    let name = label.map(|label| label.split_once('/').map_or(label, |(name, _)| name));
    let Some(preset) = name.and_then(|name| store.preset(name).ok()) else { return (None, excludes.to_vec()) };
    let own = excludes.strip_prefix(preset.patterns().as_slice()).unwrap_or(excludes).to_vec();
    (Some(Application { preset: preset.name, hooks: None }), own)
}

/// Goes on with what the snapshots hold.
fn axon_settings(open: &OpenSnapshot) -> CollectionSettings {
    CollectionSettings {
        application: None,
        roots: Vec::new(),
        excludes: Vec::new(),
        level: LEVEL,
        padding: open.private.padding,
        kind: CollectionKind::Axon,
    }
}

/// Whether the only root is a single file.
fn is_file(open: &OpenSnapshot, chunks: &dyn ChunkStore) -> bool {
    let first = open.tree(chunks).next().and_then(Result::ok);
    first.is_some_and(|entry| !matches!(entry.kind, EntryKind::Directory))
}

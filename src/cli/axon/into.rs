//! `bulbil axon restore --into`: applets back into a stopped Axon BBS on this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use serde_json::json;

use super::super::context::Context;
use super::super::output::{Outcome, count};
use super::common::{existing_collection, instance};
use super::restore::{RestoreArgs, read_key};
use crate::axon::collection::{DEFAULT_NAME, own_collections};
use crate::axon::install::{Belongs, Installation, Place, PutBack, TABLES, Unread, returning, rooms};
use crate::axon::library::Library;
use crate::clock::Clock;
use crate::domain::axon::private::PrivateKey;
use crate::monitor::{Monitor as _, Problem};
use crate::store::Store;
use crate::store::index::Collection;

/// Puts applets of a backup folder, or of the collection, into an installation.
pub async fn run(args: RestoreArgs, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let into = args.into.as_deref().context("the folder of the installation must be given")?;
    let installation = Installation::open(store, Place::find(into, &args.place.options())?).await?;
    let progress = context.progress();
    // What is known here may have keys of a backup's items, and the rooms of shared states.
    let mut known = Library::default();
    let (mut rooms_by_applet, mut its_applets) = (BTreeMap::new(), BTreeSet::new());
    let own = own_collections(store).await?;
    if args.collection.is_none() {
        ensure_unmistaken(&own)?;
    }
    if args.dir.is_none() || args.collection.is_some() || !own.is_empty() {
        let collection = existing_collection(store, args.collection.as_deref()).await?;
        let shelf = store.axon(collection.id);
        known = Library::load(&shelf).await?;
        let belongs = Belongs::find(store, &shelf, installation.key().public()).await?;
        if let (Belongs::AnothersWhich(whose), None, None) = (&belongs, &args.dir, &args.collection) {
            bail!(
                "the collection {} has the rows of {whose}: name the one that belongs to this BBS with --collection, or, if the applets of that one are to go into this BBS, '--collection {}'. Nothing was changed",
                collection.name,
                collection.name
            );
        }
        its_applets = belongs.own_applets(&known);
        let mut unread = Vec::new();
        rooms_by_applet = rooms(&shelf.records(TABLES).await?, &mut unread);
        for Unread { subject, message } in unread {
            progress.problem(Problem { subject, message });
        }
    }
    let ours = instance(store).await?;
    let mut keys = vec![
        PrivateKey::from_pkcs8_der(ours.private.pkcs8_der())?,
        PrivateKey::from_pkcs8_der(installation.key().pkcs8_der())?,
    ];
    if let Some(file) = &args.key {
        keys.push(read_key(file)?);
    }
    let (mut applets, refused) = match &args.dir {
        Some(dir) => {
            let (dir, only, monitor) = (dir.clone(), args.applet.clone(), Arc::clone(&progress));
            tokio::task::spawn_blocking(move || returning::of_folder(&dir, only.as_deref(), &known, &keys, &*monitor))
                .await??
        }
        None => (returning::of_collection(&known, args.applet.as_deref(), &keys)?, Vec::new()),
    };
    for it in &mut applets {
        let known = rooms_by_applet.remove(it.applet.metadata.id.as_str()).unwrap_or_default();
        it.states = returning::states_of(it, known, args.dir.is_some(), &*progress);
    }
    let work = PutBack {
        store,
        now: context.clock.now(),
        monitor: &*progress,
        force: args.force,
        key_given: args.key.is_some(),
        own: its_applets,
    };
    let put = work.run(installation, applets).await;
    progress.finish();
    let mut put = put?;
    put.refused.extend(refused);
    let out = &context.output;
    if !put.restored.is_empty() {
        out.line(format!("restored: {}", put.restored.join(", ")));
    }
    if !put.skipped.is_empty() {
        out.line(format!("there already, and left as they are: {}", put.skipped.join(", ")));
    }
    out.line(format!(
        "{} restored, {} skipped, {} refused; {} of users, {}, {}; {} written",
        count(put.restored.len() as u64, "applet"),
        put.skipped.len(),
        put.refused.len(),
        count(put.data, "data set"),
        count(put.scores, "score"),
        count(put.states, "shared state"),
        count(put.chunks, "chunk")
    ));
    match &put.copy {
        Some(copy) => out.line(format!("the database as it was before: {}", copy.display())),
        None => out.line("nothing was changed"),
    }
    let problems = progress.problems();
    let document = json!({
        "restored": put.restored, "skipped": put.skipped, "refused": put.refused, "data": put.data, "scores": put.scores,
        "shared_states": put.states, "chunks": put.chunks, "copy": put.copy,
    });
    out.document("axon restore", document, &problems);
    Ok(out.outcome(&problems))
}

/// What one BBS had is not for another: which of several is meant is not guessed.
fn ensure_unmistaken(own: &[Collection]) -> anyhow::Result<()> {
    let names: Vec<&str> = own.iter().map(|collection| collection.name.as_str()).collect();
    ensure!(
        names.len() < 2 || names.contains(&DEFAULT_NAME),
        "there are several collections of Axon BBSes here, and none is called {DEFAULT_NAME}: name the one that belongs to this BBS with --collection; there are: {}",
        names.join(", ")
    );
    Ok(())
}

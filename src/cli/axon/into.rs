//! `bulbil axon restore --into`: applets back into a stopped Axon BBS on this machine.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::json;

use super::super::context::Context;
use super::super::output::{Outcome, count};
use super::common::{existing_collection, instance};
use super::restore::{RestoreArgs, read_key};
use crate::axon::collection::own_collections;
use crate::axon::folder::read::{BackupFolder, FolderApplet};
use crate::axon::install::{Installation, Piece, Place, PutBack, Returning, TABLES, rooms};
use crate::axon::library::Library;
use crate::clock::Clock;
use crate::domain::axon::backup::SharedState;
use crate::domain::axon::manifest::Manifest;
use crate::domain::axon::private::PrivateKey;
use crate::domain::crypto::secret::Secret;
use crate::monitor::{Monitor, Problem};
use crate::store::Store;

/// Puts applets of a backup folder, or of the collection, into an installation.
pub async fn run(args: RestoreArgs, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let into = args.into.as_deref().context("the folder of the installation must be given")?;
    let installation = Installation::open(store, Place::find(into, &args.place.options())?).await?;
    let progress = context.progress();
    // What is known here may have keys of a backup's items, and the rooms of shared states.
    let mut known = Library::default();
    let mut rooms_by_applet = BTreeMap::new();
    if args.dir.is_none() || !own_collections(store).await?.is_empty() {
        let shelf = store.axon(existing_collection(store, None).await?.id);
        known = Library::load(&shelf).await?;
        rooms_by_applet = rooms(&shelf.records(TABLES).await?);
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
            tokio::task::spawn_blocking(move || of_folder(&dir, only.as_deref(), &known, &keys, &*monitor)).await??
        }
        None => (of_collection(&known, args.applet.as_deref(), &keys)?, Vec::new()),
    };
    for it in &mut applets {
        let known = rooms_by_applet.remove(it.applet.metadata.id.as_str()).unwrap_or_default();
        it.states = states_of(it, known, args.dir.is_some(), &*progress);
    }
    let work = PutBack { store, now: context.clock.now(), monitor: &*progress, force: args.force };
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

/// The shared states of an applet, each with its own room. A backup folder has one without its room: it goes into the room that had it,
/// or into the only one.
fn states_of(
    it: &Returning,
    known: Vec<(String, SharedState)>,
    of_folder: bool,
    monitor: &dyn Monitor,
) -> Vec<(Option<String>, SharedState)> {
    let own = it.applet.state.as_deref().cloned();
    if !of_folder && !known.is_empty() {
        return known.into_iter().map(|(room, state)| (Some(room), state)).collect();
    }
    let Some(own) = own else { return Vec::new() };
    let is_it = |state: &SharedState| state.version == own.version && state.state_data == own.state_data;
    let at = known.iter().position(|(_, state)| is_it(state)).or((known.len() == 1).then_some(0));
    let left: Vec<&str> =
        known.iter().enumerate().filter(|(n, _)| Some(*n) != at).map(|(_, (room, _))| room.as_str()).collect();
    if !left.is_empty() {
        let what = if at.is_some() { "" } else { "the shared state of the backup, whose room is not known, and " };
        let message = format!(
            "{what}the shared states of the rooms {left:?} were left out: the backup folder has one state only; without the folder all known ones are restored"
        );
        let name = it.applet.metadata.name.to_string_lossy();
        monitor.problem(Problem { subject: format!("applet {name}"), message });
    }
    match at {
        Some(at) => vec![(Some(known[at].0.clone()), own)],
        None if known.is_empty() => vec![(None, own)],
        None => Vec::new(),
    }
}

/// The applets of a backup folder, and the names of those that are refused.
fn of_folder(
    dir: &Path,
    only: Option<&str>,
    known: &Library,
    keys: &[PrivateKey],
    monitor: &dyn Monitor,
) -> anyhow::Result<(Vec<Returning>, Vec<String>)> {
    let (mut applets, mut refused) = (Vec::new(), Vec::new());
    let folder = BackupFolder::open(dir)?;
    let entries = folder.applets(only)?;
    for (subject, message) in folder.lost(&entries, only) {
        monitor.problem(Problem { subject, message });
    }
    for entry in entries {
        let name = entry.name();
        let subject = format!("applet {name}");
        let FolderApplet { applet, code, data, faults } = match entry.applet {
            Ok(it) => it,
            Err(fault) => {
                monitor.problem(Problem { subject, message: format!("not restored: {fault}") });
                refused.push(name);
                continue;
            }
        };
        for fault in faults {
            monitor.problem(Problem { subject: subject.clone(), message: fault.to_string() });
        }
        let piece = |item: crate::axon::folder::read::FolderItem| Piece {
            manifest: item.manifest.clone(),
            key: key_of(&item.manifest, known, keys),
            folder: Some(item),
        };
        applets.push(Returning {
            applet,
            code: code.map(piece),
            data: data.into_iter().map(piece).collect(),
            states: Vec::new(),
        });
    }
    Ok((applets, refused))
}

fn of_collection(known: &Library, only: Option<&str>, keys: &[PrivateKey]) -> anyhow::Result<Vec<Returning>> {
    let mut applets = Vec::new();
    for applet in known.chosen(only)? {
        let piece = |manifest: &Manifest| Piece {
            manifest: manifest.clone(),
            key: key_of(manifest, known, keys),
            folder: None,
        };
        let code = applet.metadata.code_manifest.as_ref().map(piece);
        let data = applet.data.iter().map(|row| piece(&row.data_manifest)).collect();
        applets.push(Returning { applet: applet.clone(), code, data, states: Vec::new() });
    }
    Ok(applets)
}

/// The key of an item: as it is known here, or from an envelope.
fn key_of(manifest: &Manifest, known: &Library, keys: &[PrivateKey]) -> Option<Secret<32>> {
    let here = known.key_of(manifest).and_then(|key| Secret::from_slice(key.expose()));
    here.or_else(|| keys.iter().find_map(|key| manifest.unwrap_key(key).ok()))
}

//! What goes back into a BBS: of a backup folder or of the collection, which key opens each item, which room each state belongs to.

use std::collections::BTreeSet;
use std::path::Path;

use crate::axon::folder::read::{AppletFault, BackupFolder, FolderApplet, FolderError, FolderItem};
use crate::axon::library::{Applet, Library, NoApplet};
use crate::domain::axon::backup::SharedState;
use crate::domain::axon::manifest::Manifest;
use crate::domain::axon::private::PrivateKey;
use crate::domain::crypto::secret::Secret;
use crate::monitor::{Monitor, Problem};

/// An item that goes back.
#[derive(Debug)]
pub struct Piece {
    /// Which one.
    pub manifest: Manifest,
    /// Its key, if somebody here has it.
    pub key: Option<Secret<32>>,
    /// The folder with its chunks; `None` if the store has them.
    pub folder: Option<FolderItem>,
}

/// An applet that goes back.
#[derive(Debug)]
pub struct Returning {
    /// What is said of it.
    pub applet: Applet,
    /// Its code.
    pub code: Option<Piece>,
    /// Its users' data, in the order of `applet.data`.
    pub data: Vec<Piece>,
    /// Its shared states, each with its room if that is known.
    pub states: Vec<(Option<String>, SharedState)>,
}

/// The shared states of an applet, each with its own room. A backup folder has one without its room: it goes into the room that had it,
/// or into the only one.
pub fn states_of(
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
        monitor.problem(Problem { subject: format!("applet {}", it.applet.shown()), message });
    }
    match at {
        Some(at) => vec![(Some(known[at].0.clone()), own)],
        None if known.is_empty() => vec![(None, own)],
        None => Vec::new(),
    }
}

/// The applets of a backup folder, and the names of those that are refused.
///
/// # Errors
/// If the folder cannot be read, or has no applet of that name.
pub fn of_folder(
    dir: &Path,
    only: Option<&str>,
    known: &Library,
    keys: &[PrivateKey],
    monitor: &dyn Monitor,
) -> Result<(Vec<Returning>, Vec<String>), FolderError> {
    let (mut applets, mut refused) = (Vec::new(), Vec::new());
    let folder = BackupFolder::open(dir)?;
    let entries = folder.applets(only)?;
    // Of these folders' applets there is a second one of the same name.
    let doubled: BTreeSet<String> = entries
        .iter()
        .filter_map(|entry| match &entry.applet {
            Err(AppletFault::Twice { what: "name", other }) => Some(other.clone()),
            _ => None,
        })
        .collect();
    for (subject, message) in folder.lost(&entries, only) {
        monitor.problem(Problem { subject, message });
    }
    for entry in entries {
        let name = entry.name();
        let subject = format!("applet {name}");
        let FolderApplet { applet, code, data, faults } = match entry.applet {
            Ok(it) if doubled.contains(&entry.folder) => {
                let id = &it.applet.metadata.id;
                let message = format!(
                    "not restored: there are several applets of this name in the backup; --applet {id} takes this one"
                );
                monitor.problem(Problem { subject, message });
                refused.push(name);
                continue;
            }
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
        let piece = |item: FolderItem| Piece {
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

/// The applets that the collection has.
///
/// # Errors
/// If none is called so.
pub fn of_collection(known: &Library, only: Option<&str>, keys: &[PrivateKey]) -> Result<Vec<Returning>, NoApplet> {
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

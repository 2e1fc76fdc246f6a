//! `bulbil preset list|show`, and how a preset is chosen for a folder.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use serde_json::json;

use crate::backup::escrow::{self, Found};
use crate::domain::preset::Preset;
use crate::source::Excludes;
use crate::source::parts::{exists, parts};
use crate::store::Store;
use crate::store::index::Collection;

use super::args::PresetCommand;
use super::context::Context;
use super::output::Outcome;

/// Lists presets, or shows one.
pub async fn run(command: PresetCommand, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    match command {
        PresetCommand::List => list(&store, context),
        PresetCommand::Show(args) => {
            let text = store.preset_text(&args.name)?;
            let preset = store.preset(&args.name)?;
            context.output.line(text.trim_end());
            context.output.document("preset show", preset, &[]);
            Ok(Outcome::Done)
        }
    }
}

fn list(store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let (mut rows, mut documents) = (Vec::new(), Vec::new());
    for (name, own) in store.preset_names()? {
        // One that is wrong does not hide the others.
        let about = store.preset(&name).map_or_else(|error| error.to_string(), |preset| preset.about);
        let whose = if own { "own" } else { "built in" };
        rows.push([name.clone(), whose.to_owned(), about.clone()]);
        documents.push(json!({ "name": name, "own": own, "about": about }));
    }
    let head = ["name", "", "what"].map(str::to_owned);
    context.output.table(&head, &rows);
    context.output.document("preset list", documents, &[]);
    Ok(Outcome::Done)
}

/// The preset for these folders: the one that is named, or the one that it names for what is there.
///
/// # Errors
/// If there is none, or the folder is not the application's.
pub fn choose(store: &Store, name: &str, folders: &[PathBuf]) -> anyhow::Result<Preset> {
    let mut preset = store.preset(name)?;
    let other = preset.instead.iter().find(|other| folders.iter().any(|folder| exists(folder, &other.when)));
    if let Some(other) = other {
        preset = store.preset(&other.preset)?;
    }
    Excludes::new(&preset.patterns()).with_context(|| format!("the preset {:?} has a wrong value", preset.name))?;
    if preset.parts.is_empty() {
        return Ok(preset);
    }
    let [folder] = folders else {
        bail!("the preset {} is for one folder, the application's: its parts are found in there", preset.name)
    };
    ensure!(folder.is_dir(), "{} is no folder: name the application's folder", folder.display());
    let missing = parts(&preset, folder).missing;
    if let Some(part) = missing.first() {
        if let Some(parent) = parent_with(&preset, folder) {
            let others: Vec<&str> = preset.parts.iter().skip(1).map(|part| part.path.as_str()).collect();
            bail!(
                "{} is only a part of the application's folder: name {}, so that what is in {} is backed up, too",
                folder.display(),
                parent.display(),
                others.join(", ")
            );
        }
        bail!(
            "{} is not the folder of such an application: it has no {:?} ({})",
            folder.display(),
            part.path,
            part.what
        );
    }
    Ok(preset)
}

/// The folder above, if `folder` is one of its parts.
pub fn parent_with(preset: &Preset, folder: &Path) -> Option<PathBuf> {
    let folder = folder.canonicalize().ok()?;
    folder
        .ancestors()
        .skip(1)
        .find(|above| {
            let below = folder.strip_prefix(above).ok().and_then(Path::to_str);
            below.is_some_and(|below| preset.parts.iter().any(|part| part.path == below))
        })
        .map(Path::to_owned)
}

/// Says which parts were found, and which not.
pub fn say_parts(preset: &Preset, collection: &Collection, context: &Context) {
    context.output.line(format!("  by the preset {} ({})", preset.name, preset.about));
    let Some(settings) = &collection.settings else { return };
    for root in &settings.roots {
        let parts = parts(preset, &root.path);
        for part in &parts.found {
            let layout = part.layout.as_ref().map(|layout| format!(", layout {layout}")).unwrap_or_default();
            context.output.line(format!("    {}: {}{layout}", part.path, part.what));
        }
        for link in &parts.links {
            context.output.warning(format!(
                "warning: {link} in {} is a link, or behind one: the backup holds the link, and not what is behind it. Mount the folder there \
                 instead of linking it (mount --bind)",
                root.path.display()
            ));
        }
        for (what, places) in &parts.no_one_of {
            context.output.warning(format!("warning: {}", no_one_of(&root.path, what, places)));
        }
    }
    let folders: Vec<PathBuf> = settings.roots.iter().map(|root| root.path.clone()).collect();
    for (secret, found) in escrow::look(preset, &folders) {
        let name = format!("{} ({})", secret.name, secret.what);
        match found {
            Found::Value(given) => context.output.line(format!(
                "    not in the data: {name}, found in {}: the first backup stores it under the recovery key, apart from the data",
                given.place
            )),
            Found::Empty(path) => context.output.warning(format!("warning: {name} is empty in {}: it is not stored", path.display())),
            Found::Unreadable(path, why) => {
                context.output.warning(format!("warning: {name} may be in {}, which cannot be read: {why}", path.display()));
            }
            Found::Nowhere if secret.required => context.output.warning(format!(
                "warning: not in the data: {name}, and in none of {}. 'bulbil secret add {} {}' stores it under the recovery key",
                secret.files.join(", "),
                collection.name,
                secret.name
            )),
            Found::Nowhere => {}
        }
    }
}

/// What it means that no part of a group is there.
pub fn no_one_of(folder: &Path, what: &str, places: &[String]) -> String {
    format!(
        "{} has none of {}: {what} are not in the backup. If the application keeps them elsewhere, name the folder that holds both",
        folder.display(),
        places.join(", ")
    )
}

//! `bulbil preset list|show`, and what is said of an application's parts.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::backup::escrow::{self, Found};
use crate::domain::preset::Preset;
use crate::source::parts::parts;
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

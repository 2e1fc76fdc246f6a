//! `bulbil volumes`: what of a container is on a volume, and what would be gone with it.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::domain::text::path_text;
use crate::source::volumes::{Container, Engine, Mount};
use crate::store::blocking;
use crate::store::index::Collection;

use super::args::VolumesArgs;
use super::context::Context;
use super::output::{Outcome, count};

/// So much that changed beside volumes is told one by one.
const TOLD: usize = 10;

/// Lists what is mounted into a container, and what of its data is not.
pub async fn run(args: VolumesArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let preset = args.preset.as_deref().map(|name| store.preset(name)).transpose()?;
    let name = args.container.clone();
    let container = blocking(move || Engine::find()?.container(&name)).await?;
    let collections = store.index.collections().await?;
    let folder = args.folder.clone().unwrap_or_else(|| container.folder.clone());
    let out = &context.output;
    let mut rows = Vec::new();
    let mut mounted = Vec::new();
    for mount in &container.mounts {
        let within = if mount.is_kept() { collection_of(&collections, &mount.source) } else { None };
        let what = if mount.name.is_empty() { mount.kind.clone() } else { format!("{} {}", mount.kind, mount.name) };
        let backed_up = within.map_or("in no collection".to_owned(), |name| format!("in the collection {name}"));
        rows.push([show(&mount.destination), what, show(&mount.source), backed_up]);
        mounted.push(json!({
            "in_container": mount.destination, "kind": mount.kind, "volume": mount.name, "path": path_text(&mount.source),
            "collection": within,
        }));
    }
    out.table(&["in the container", "what", "here", ""].map(str::to_owned), &rows);
    let mut lost: Vec<(String, String)> = Vec::new();
    for part in preset.iter().flat_map(|preset| &preset.parts) {
        let plain: Vec<&str> = part.path.split('/').take_while(|name| !name.contains(['*', '?', '[', '{'])).collect();
        let path = folder.join(plain.join("/"));
        let has_changed = container.changed.iter().any(|changed| changed.starts_with(&path));
        if !is_kept(&container, &path) && (part.required || has_changed) {
            lost.push((show(&path), part.what.clone()));
        }
    }
    let named = |path: &&PathBuf| !lost.iter().any(|(part, _)| path.starts_with(part));
    let beside: Vec<&PathBuf> = container.changed.iter().filter(named).collect();
    for (path, what) in &lost {
        out.line(format!("{path} is not on a volume: {what} would be gone with the container"));
    }
    for path in beside.iter().take(TOLD) {
        out.line(format!("{} is not on a volume: it was written there since the container was made", show(path)));
    }
    if beside.len() > TOLD {
        out.line(format!("and {} more", count((beside.len() - TOLD) as u64, "path")));
    }
    let is_good = lost.is_empty() && beside.is_empty();
    if is_good {
        out.line("everything that was written in it is on a volume");
    }
    let lost: Vec<_> = lost.iter().map(|(path, what)| json!({ "path": path, "what": what })).collect();
    out.document(
        "volumes",
        json!({ "mounts": mounted, "parts_not_on_a_volume": lost, "not_on_a_volume": beside }),
        &[],
    );
    Ok(if is_good { Outcome::Done } else { Outcome::NotEverything })
}

fn is_kept(container: &Container, path: &Path) -> bool {
    container.mount_of(path).is_some_and(Mount::is_kept)
}

/// Which collection has a path of this machine.
fn collection_of<'a>(collections: &'a [Collection], path: &Path) -> Option<&'a str> {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let has = |collection: &&Collection| {
        collection.settings.iter().flat_map(|settings| &settings.roots).any(|root| real.starts_with(&root.path))
    };
    collections.iter().find(has).map(|collection| collection.name.as_str())
}

fn show(path: &Path) -> String {
    crate::domain::text::shown(&path.display().to_string())
}

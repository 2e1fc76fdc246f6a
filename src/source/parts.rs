//! Which parts of an application's folder are there.

use std::path::{Path, PathBuf};

use crate::domain::preset::{Part, Preset, globs};

/// What was found of a preset's parts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parts {
    /// Those that are there.
    pub found: Vec<Part>,
    /// Those that have to be there, and are not.
    pub missing: Vec<Part>,
    /// Those that are links, or behind one: a backup holds the link, and not what is behind it.
    pub links: Vec<String>,
    /// Groups of which no part is there: what is in them, and where each part would be.
    pub no_one_of: Vec<(String, Vec<String>)>,
}

/// Looks which parts of `preset` are in `folder`.
pub fn parts(preset: &Preset, folder: &Path) -> Parts {
    let mut parts = Parts::default();
    for part in &preset.parts {
        if exists(folder, &part.path) {
            parts.found.push(part.clone());
            if is_behind_link(folder, &part.path) {
                parts.links.push(part.path.clone());
            }
        } else if part.required {
            parts.missing.push(part.clone());
        }
        if let Some(group) = &part.one_of
            && !parts.no_one_of.iter().any(|(known, _)| known == group)
        {
            let places = preset.parts.iter().filter(|part| part.one_of.as_ref() == Some(group));
            parts.no_one_of.push((group.clone(), places.map(|part| part.path.clone()).collect()));
        }
    }
    parts.no_one_of.retain(|(group, _)| !parts.found.iter().any(|part| part.one_of.as_ref() == Some(group)));
    parts
}

/// Whether one of the names below `folder` is a link.
fn is_behind_link(folder: &Path, path: &str) -> bool {
    let mut at = folder.to_owned();
    path.split('/').any(|name| {
        at.push(name);
        at.is_symlink()
    })
}

/// Whether something is at `pattern`, relative to `folder`; `*` in a name stands for anything.
pub fn exists(folder: &Path, pattern: &str) -> bool {
    let (name, rest) = pattern.split_once('/').map_or((pattern, None), |(name, rest)| (name, Some(rest)));
    let below = |path: PathBuf| match rest {
        Some(rest) => exists(&path, rest),
        None => path.exists(),
    };
    if !name.contains(['*', '?', '[', '{']) {
        return below(folder.join(name));
    }
    let Ok(glob) = globs(&[name.to_owned()]) else { return false };
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| glob.is_match(Path::new(&entry.file_name())) && below(entry.path()))
}

//! Where in an archive the application's folder is: what people packed was `data/`, `./…`, `quilltap/data/…` or an absolute path.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::unpack::Member;
use crate::domain::metadata::path::TreePath;
use crate::domain::preset::Preset;

/// Where it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The folder in the archive that is taken; everything if there is none.
    pub within: Option<TreePath>,
    /// Where it belongs below the application's folder: the archive holds a part of that only.
    pub below: Option<TreePath>,
}

impl Place {
    /// Where a member belongs below the application's folder; nothing if it is not in the folder that is taken. An empty path is
    /// that folder itself.
    pub fn of(&self, path: &TreePath) -> Option<Vec<u8>> {
        let rest = match &self.within {
            Some(within) if path.is_within(within) => &path.as_bytes()[within.as_bytes().len()..],
            Some(_) => return None,
            None => path.as_bytes(),
        };
        let rest = rest.strip_prefix(b"/").unwrap_or(rest);
        Some(match &self.below {
            Some(below) if rest.is_empty() => below.as_bytes().to_vec(),
            Some(below) => [below.as_bytes(), b"/", rest].concat(),
            None => rest.to_vec(),
        })
    }
}

fn tree_path(text: &str) -> Option<TreePath> {
    TreePath::new(text.trim_matches('/').as_bytes().to_vec()).ok()
}

/// Finds it: by what has to be there as the preset says; else by the folder's own path or name.
pub fn find(members: &BTreeMap<TreePath, Member>, preset: Option<&Preset>, folder: Option<&Path>, root: &str) -> Place {
    if let Some(place) = preset.and_then(|preset| by_preset(members, preset)) {
        return place;
    }
    if let Some(path) = folder.and_then(Path::to_str).and_then(tree_path)
        && members.keys().any(|member| member.is_within(&path))
    {
        return Place { within: Some(path), below: None };
    }
    match tree_path(root) {
        Some(top) if !members.is_empty() && members.keys().all(|path| path.is_within(&top)) => {
            Place { within: Some(top), below: None }
        }
        _ => Place::default(),
    }
}

fn by_preset(members: &BTreeMap<TreePath, Member>, preset: &Preset) -> Option<Place> {
    let has_glob = |path: &str| path.contains(['*', '?', '[', '{']);
    let parts = preset.parts.iter().map(|part| part.path.as_str()).filter(|path| !has_glob(path));
    let wanted: Vec<&str> = preset.checks.required.iter().map(|path| path.trim_end_matches('/')).collect();
    // How many of the things that have to be there are, for each place that one of them speaks for.
    let mut found: HashMap<(Option<TreePath>, Option<TreePath>), usize> = HashMap::new();
    for below in std::iter::once(None).chain(parts.map(Some)) {
        let inside = |path: &&str| match below {
            Some(below) => path.strip_prefix(below).and_then(|rest| rest.strip_prefix('/')).map(str::to_owned),
            None => Some((*path).to_owned()),
        };
        let ends: Vec<String> = wanted.iter().filter_map(inside).collect();
        for path in members.keys() {
            for end in &ends {
                let Some(before) = path.as_bytes().strip_suffix(end.as_bytes()) else { continue };
                let within = match before {
                    [] => None,
                    [before @ .., b'/'] => TreePath::new(before.to_vec()).ok(),
                    _ => continue,
                };
                *found.entry((within, below.and_then(tree_path))).or_default() += 1;
            }
        }
    }
    let depth = |path: &Option<TreePath>| path.as_ref().map_or(0, |path| path.names().count());
    let best = found.into_iter().max_by_key(|((within, below), n)| {
        (*n, below.is_none(), std::cmp::Reverse(depth(within)), std::cmp::Reverse(within.clone()))
    });
    best.map(|((within, below), _)| Place { within, below })
}

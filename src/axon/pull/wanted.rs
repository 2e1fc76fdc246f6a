//! Which items are wanted.

use std::collections::BTreeSet;

use crate::axon::library::Library;
use crate::domain::axon::manifest::{ContentType, Manifest};
use crate::domain::id::ContentHash;
use crate::store::axon::Item;

/// Which items are wanted.
#[derive(Debug, Clone, Default)]
pub enum Wanted {
    /// All.
    #[default]
    All,
    /// All but those that are nothing but applets.
    NoApplets,
    /// These.
    Only(BTreeSet<ContentHash>),
}

impl Wanted {
    pub(super) fn includes(&self, item: &Item) -> bool {
        match self {
            Self::All => true,
            Self::NoApplets => item.kinds.iter().any(|kind| *kind != ContentType::Applet),
            Self::Only(hashes) => hashes.contains(&item.content_hash),
        }
    }
}

/// The items that belong to an applet: its code, and the data of its users.
pub fn of_applet(library: &Library, name: &str) -> Option<BTreeSet<ContentHash>> {
    let applet = library.applets.values().find(|applet| applet.is_called(name))?;
    let code = applet.metadata.code_manifest.iter().map(Manifest::content_hash);
    let data = applet.data.iter().map(|row| row.data_manifest.content_hash());
    Some(code.chain(data).collect())
}

//! Whether the BBS's own chunks are still as they should be, once what they hold is here: rot over there shows at the next run, not
//! when somebody asks the BBS for it.
//!
//! Each file is looked at, and compared in size; it is read if it changed since the last look, or if its item was not whole then. A disk
//! that loses bytes without a write changes no moment: that shows when everything is read.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::records::Named;
use crate::axon::folder::amiss::{Amiss, Glance};
use crate::axon::folder::dir::Dir;
use crate::axon::folder::read::FolderItem;
use crate::domain::axon::manifest::Manifest;
use crate::domain::id::ContentHash;
use crate::store::axon::Item;
use crate::store::index::axon::Looked;

/// Moments of files lag behind the clock, by two seconds at most where it is known.
const LAG: SignedDuration = SignedDuration::from_secs(60);

/// One look.
#[derive(Debug, Clone)]
pub(super) struct Look {
    /// Files that changed since are read; all, if nothing is said.
    since: Option<Timestamp>,
    /// Items that are read in any case.
    amiss_before: BTreeSet<ContentHash>,
}

impl Look {
    /// Reads everything.
    pub(super) fn at_everything() -> Self {
        Self { since: None, amiss_before: BTreeSet::new() }
    }

    /// Goes on from the last look, if it was at this folder and is not in the future.
    pub(super) fn since(last: Option<Looked>, folder: &str, now: Timestamp) -> Self {
        match last.filter(|last| last.folder == folder && last.at <= now) {
            Some(last) => Self { since: last.at.checked_sub(LAG).ok(), amiss_before: last.amiss },
            None => Self::at_everything(),
        }
    }

    /// What is wrong with the chunks of an item that is whole here; nothing if one of its manifests has all of them. Blocks.
    pub(super) fn at(&self, root: &Arc<Dir>, named: &Named, known: &Item) -> Option<Amiss> {
        let ours = Manifest::parse(known.manifest.as_bytes()).ok();
        let mut amiss = None;
        for manifest in &named.manifests {
            let hash = manifest.content_hash();
            let sizes = ours.as_ref().filter(|ours| ours.seals_the_same(manifest)).map(|_| &known.chunks);
            let reads = self.amiss_before.contains(&hash);
            let from = FolderItem::new(manifest, Arc::clone(root), vec![hash.to_string()]);
            let found = from.amiss(&|index, stat| {
                let size = sizes.and_then(|sizes| sizes.get(index)).map(|(_, size)| u64::from(*size));
                if size.is_some_and(|size| size != stat.size_bytes) {
                    Glance::Wrong
                } else if reads || self.since.is_none_or(|since| stat.changed_at_s >= since.as_second()) {
                    Glance::Read
                } else {
                    Glance::Good
                }
            });
            match found {
                None => return None,
                found => amiss = amiss.or(found),
            }
        }
        amiss
    }
}

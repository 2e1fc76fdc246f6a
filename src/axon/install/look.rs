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
use crate::axon::folder::read::FolderItem;
use crate::domain::axon::manifest::Manifest;
use crate::domain::id::ContentHash;
use crate::store::axon::Item;
use crate::store::dir::Dir;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::axon::testing::{sealed, write_chunks};
    use crate::domain::axon::manifest::ContentType;

    #[test]
    fn a_file_that_did_not_change_is_read_again_only_where_that_is_said_and_its_size_counts_always() {
        let temp = tempfile::tempdir().unwrap();
        let (content, manifest) = sealed(b"content", true);
        let hash = manifest.content_hash();
        let folder = temp.path().join(hash.to_string());
        write_chunks(&folder, &content.chunks);
        let root = Arc::new(Dir::open(temp.path()).unwrap());
        let sizes = content.chunks.iter().map(|chunk| chunk.len() as u32);
        let item = Item {
            content_hash: hash,
            kinds: [ContentType::File].into(),
            manifest: manifest.to_value().to_line(),
            key: None,
            complete: true,
            changed_at: Timestamp::UNIX_EPOCH,
            chunks: manifest.chunk_hashes().iter().copied().zip(sizes).collect(),
        };
        let named = Named { manifests: vec![manifest], kinds: [ContentType::File].into() };
        let looked = |amiss: &[ContentHash]| {
            let at: Timestamp = "2100-01-01T00:00:00Z".parse().unwrap();
            let amiss = amiss.iter().copied().collect();
            (Some(Looked { folder: "here".to_owned(), at, amiss }), at)
        };
        let look = |amiss: &[ContentHash], folder: &str| {
            let (last, at) = looked(amiss);
            Look::since(last, folder, at).at(&root, &named, &item)
        };
        assert_eq!(Look::at_everything().at(&root, &named, &item), None);
        let file = folder.join("0.chunk");
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[0] ^= 1;
        std::fs::write(&file, &bytes).unwrap();
        // As if nothing had been written since.
        assert_eq!(look(&[], "here"), None);
        assert!(Look::at_everything().at(&root, &named, &item).unwrap().damaged);
        assert!(look(&[hash], "here").is_some() && look(&[], "elsewhere").is_some());
        let (last, at) = looked(&[]);
        assert!(Look::since(last, "here", at.checked_sub(LAG).unwrap()).at(&root, &named, &item).is_some());
        std::fs::write(&file, &bytes[1..]).unwrap();
        assert!(look(&[], "here").is_some(), "its size is another one");
        std::fs::remove_file(&file).unwrap();
        assert!(look(&[], "here").is_some_and(|amiss| !amiss.damaged));
    }
}

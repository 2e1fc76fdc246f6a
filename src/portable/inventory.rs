//! Which chunks are in a place, and how long they are there.

use std::collections::HashMap;

use super::place::{Objects, Place, PlaceError};
use crate::domain::id::ChunkId;
use crate::store::dir::{Dir, DirError};

/// All chunks in `chunks/`, and their lengths.
pub(super) fn of(chunks: &Place) -> Result<HashMap<ChunkId, u64>, PlaceError> {
    match chunks {
        Place::Folder(dir) => {
            let mut there = HashMap::new();
            of_folder(dir, &mut |id, size| {
                there.insert(id, size);
            })?;
            Ok(there)
        }
        Place::Bucket(objects) => of_bucket(objects),
    }
}

pub(super) fn of_bucket(objects: &Objects) -> Result<HashMap<ChunkId, u64>, PlaceError> {
    let mut there = HashMap::new();
    objects.bucket.list(objects.within(), &mut |name, size| {
        if let Some((short, id)) = name.split_once('/')
            && id.starts_with(short)
            && let Ok(id) = id.parse::<ChunkId>()
        {
            there.insert(id, size);
        }
    })?;
    Ok(there)
}

pub(super) fn of_folder(root: &Dir, each: &mut dyn FnMut(ChunkId, u64)) -> Result<(), DirError> {
    for short in root.names()? {
        if short.len() != 2 || !root.is_folder(&short)? {
            continue;
        }
        let folder = root.enter(&short)?;
        for name in folder.names()? {
            let Some(id) = name.parse::<ChunkId>().ok().filter(|_| name.starts_with(&short)) else { continue };
            if let Some(size) = folder.size(&name)? {
                each(id, size);
            }
        }
    }
    Ok(())
}

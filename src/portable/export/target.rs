//! The folder that is written: found, made, gone on with.

use std::path::Path;

use jiff::{Span, Timestamp};

use super::ExportError;
use crate::portable::document::{BACKUP_MANIFEST, BackupManifest, FORMAT, PREFIX};
use crate::portable::folder::read_json;
use crate::portable::place::{Place, PlaceError};
use crate::store::Store;
use crate::store::dir::{Access, Dir, DirError, part_of};

/// So many folders are begun in one place in as many seconds, at most.
const MAX_TRIES: i64 = 60;

/// The folder, held until it is dropped.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) place: Place,
    pub(super) document: BackupManifest,
    pub(super) continued: bool,
}

impl Target {
    /// Finds the folder to go on with, or begins one. A new one has its first document at once, which names nothing yet: so a killed
    /// export is found again. One that was killed before that left a folder with nothing in it: it is begun again.
    pub(super) fn open(
        output: &Path,
        store: &Store,
        delta: bool,
        new_folder: bool,
        now: Timestamp,
    ) -> Result<Self, ExportError> {
        let made = std::fs::create_dir_all(output);
        made.map_err(|cause| DirError::Io { what: "make", path: output.to_owned(), cause })?;
        let output_dir = Dir::open(output)?;
        if output_dir.has(BACKUP_MANIFEST)? {
            let output_dir = Place::Folder(output_dir);
            let document = read(&output_dir)?;
            if !store.keys.is_ours(&document.instance) {
                return Err(ExportError::Others(output.to_owned()));
            }
            if document.delta != delta {
                return Err(ExportError::OtherKind { path: output.to_owned(), delta: document.delta });
            }
            return Self::hold(output_dir, document, true);
        }
        let called = output.canonicalize().ok().and_then(|path| path.file_name()?.to_str().map(str::to_owned));
        if called.is_some_and(|name| name.starts_with(PREFIX)) && output_dir.names()?.iter().all(unbegun) {
            return Self::begin(Place::Folder(output_dir), store, delta, now);
        }
        if !new_folder {
            match newest(&output_dir, store, delta)? {
                Some((dir, Some(document))) => return Self::hold(dir, document, true),
                Some((dir, None)) => return Self::begin(dir, store, delta, now),
                None => {}
            }
        }
        for second in 0..MAX_TRIES {
            let at = now.saturating_add(Span::new().seconds(second)).unwrap_or(now);
            let name = format!("{PREFIX}{}", at.strftime("%Y%m%dT%H%M%SZ"));
            match output_dir.make(&name, Access::Usual) {
                Err(DirError::Exists(_)) => {}
                made => return Self::begin(Place::Folder(made?), store, delta, now),
            }
        }
        Err(DirError::Exists(output.to_owned()).into())
    }

    pub(super) fn begin(place: Place, store: &Store, delta: bool, now: Timestamp) -> Result<Self, ExportError> {
        let document = BackupManifest {
            format: FORMAT.to_owned(),
            instance: store.keys.instance(),
            created_at: now,
            updated_at: now,
            delta,
            collections: Vec::new(),
            chunks: 0,
            chunk_bytes: 0,
        };
        let target = Self::hold(place, document, false)?;
        target.save()?;
        Ok(target)
    }

    pub(super) fn hold(place: Place, document: BackupManifest, continued: bool) -> Result<Self, ExportError> {
        if place.hold()? { Ok(Self { place, document, continued }) } else { Err(ExportError::Busy(place.shown())) }
    }

    /// Writes the first document.
    pub(super) fn save(&self) -> Result<(), PlaceError> {
        self.place.save(BACKUP_MANIFEST, &super::write::pretty(&self.document))
    }
}

pub(super) fn read(dir: &Place) -> Result<BackupManifest, ExportError> {
    let document = read_json::<BackupManifest>(dir, BACKUP_MANIFEST, FORMAT);
    let document = document.ok().filter(|document| document.format == FORMAT);
    document.ok_or_else(|| ExportError::Damaged(dir.shown()))
}

/// The newest folder of this instance and of this kind, with its document; if there is none, one that was made and never begun. Others,
/// and damaged ones, are left alone.
fn newest(output: &Dir, store: &Store, delta: bool) -> Result<Option<(Place, Option<BackupManifest>)>, PlaceError> {
    let mut unused = None;
    for name in output.names()?.into_iter().rev().filter(|name| name.starts_with(PREFIX)) {
        let Ok(dir) = output.enter(&name).map(Place::Folder) else { continue };
        let ours = read(&dir).ok().filter(|found| found.delta == delta && store.keys.is_ours(&found.instance));
        if let Some(document) = ours {
            return Ok(Some((dir, Some(document))));
        }
        if unused.is_none() && never_begun(&dir)? {
            unused = Some((dir, None));
        }
    }
    Ok(unused)
}

/// Whether a folder holds nothing at all, or nothing but the beginning of its first document.
fn never_begun(dir: &Place) -> Result<bool, PlaceError> {
    Ok(dir.names()?.iter().all(unbegun))
}

fn unbegun(name: &String) -> bool {
    *name == part_of(BACKUP_MANIFEST)
}

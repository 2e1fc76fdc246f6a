//! Reading a backup folder: its applets, each typed, with what is wrong with it; chunks compared one by one.
//!
//! ```text
//! BackupFolder::open(dir)?.applets(None)? → for each folder: Ok(FolderApplet { applet, code, data, faults }) or why it is refused
//! FolderItem::chunk(i)  → bytes whose SHA-256 is what the manifest says
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::document::{RowFaults, document, optional, rows_of};
use crate::axon::library::{Applet, NoApplet};
use crate::domain::axon::backup::{
    self, APPLET_DATA, BACKUP_MANIFEST, BackupManifest, CHUNKS, DATA_CHUNKS, DataRow, HIGH_SCORES, HighScore, METADATA,
    Metadata, SHARED_STATE, SharedState,
};
use crate::domain::axon::kept::{DocumentError, Kept};
use crate::domain::axon::manifest::Manifest;
use crate::domain::chunk::MAX_STORED;
use crate::domain::id::ChunkId;
use crate::domain::text::shown;
use crate::store::dir::{Dir, DirError};

/// Longest manifest, in bytes: that of an item of some 15 GB.
const MAX_MANIFEST: usize = 4 << 20;

/// Why a folder is not read at all.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It is no backup.
    #[error("{path} is no backup of an Axon BBS: it has neither {BACKUP_MANIFEST} nor a folder with {METADATA}{hint}")]
    NotABackup {
        /// Which folder.
        path: String,
        /// What may be meant.
        hint: String,
    },
    /// It has no applet of that name.
    #[error(transparent)]
    NoApplet(#[from] NoApplet),
    /// It cannot be read.
    #[error(transparent)]
    Dir(#[from] DirError),
}

/// Why one applet, or a part of it, is refused.
#[derive(Debug, thiserror::Error)]
pub enum AppletFault {
    /// A file cannot be read.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// A file is not what it should be.
    #[error("{file} cannot be read: {cause}")]
    Document {
        /// Which file.
        file: &'static str,
        /// What is wrong.
        #[source]
        cause: DocumentError,
    },
    /// A row of a file is not what it should be.
    #[error("row {row} of {file} was refused: {why}")]
    Row {
        /// Which file.
        file: &'static str,
        /// Which row, from 1.
        row: usize,
        /// What is wrong.
        why: String,
    },
    /// More rows than are told one by one.
    #[error("{rows} more rows of {file} were refused")]
    MoreRows {
        /// Which file.
        file: &'static str,
        /// How many.
        rows: usize,
    },
    /// A file of more rows than any.
    #[error("{file} has over a million rows, which none of its kind has: nothing of it was read")]
    TooManyRows {
        /// Which file.
        file: &'static str,
    },
    /// A file that is short as it is, and too long when it is written.
    #[error("{file} would be longer than 32 MiB when it is written as an Axon BBS writes it")]
    Grows {
        /// Which file.
        file: &'static str,
    },
    /// A manifest is longer than any.
    #[error("its manifest is longer than 4 MiB")]
    LongManifest,
    /// Another folder of this backup says the same of itself.
    #[error(
        "it has the {what} of the applet in the folder {other}: one of them was copied or made up, and only that one is taken"
    )]
    Twice {
        /// Name or id.
        what: &'static str,
        /// Which folder.
        other: String,
    },
    /// Two applets were written into one folder.
    #[error(
        "there are more chunks of its code than its manifest names: another applet with a name like this was written into the same folder, and that one is lost from this backup"
    )]
    TwoInOne,
}

/// What is wrong with a chunk.
#[derive(Debug, thiserror::Error)]
pub enum ChunkFault {
    /// It is not there.
    #[error("chunk {0} is missing")]
    Missing(usize),
    /// Its bytes are not those that the manifest names.
    #[error("chunk {0} is not what its hash says: it was damaged or replaced")]
    Wrong(usize),
    /// It cannot be read.
    #[error(transparent)]
    Dir(#[from] DirError),
}

/// A backup folder, open.
#[derive(Debug)]
pub struct BackupFolder {
    dir: Arc<Dir>,
    /// What its `backup_manifest.json` says, or why it cannot be read: an unfinished backup has none.
    pub manifest: Result<Kept<BackupManifest>, AppletFault>,
}

/// One folder with a `metadata.json`.
#[derive(Debug)]
pub struct Entry {
    /// Its name.
    pub folder: String,
    /// What is in it.
    pub applet: Result<FolderApplet, AppletFault>,
}

/// An applet of a backup.
#[derive(Debug)]
pub struct FolderApplet {
    /// What the JSON files say; rows that cannot be read are not in it.
    pub applet: Applet,
    /// Its code; `None` if it has none.
    pub code: Option<FolderItem>,
    /// Its users' data, in the order of `applet.data`.
    pub data: Vec<FolderItem>,
    /// What was refused, and what else is wrong.
    pub faults: Vec<AppletFault>,
}

/// A sealed item of a backup: a manifest, and the folder with its chunks.
#[derive(Debug)]
pub struct FolderItem {
    /// Which item, in which chunks.
    pub manifest: Manifest,
    /// The backup's folder. Those in it are opened when they are needed: there may be one for each of many users.
    root: Arc<Dir>,
    /// The names that lead from there to the chunks.
    place: Vec<String>,
}

impl BackupFolder {
    /// Opens a backup folder.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let dir = Arc::new(Dir::open(path)?);
        let folder = Self { manifest: document(&dir, BACKUP_MANIFEST), dir };
        if folder.manifest.is_err() && folder.folders()?.is_empty() {
            let is_backup = |name: &String| {
                dir_has(&folder.dir, name, BACKUP_MANIFEST) || name.starts_with("backup_") && name.len() == 22
            };
            let within: Vec<String> = folder.dir.names()?.into_iter().filter(is_backup).take(20).collect();
            let hint = match within.is_empty() {
                true => String::new(),
                false => format!(". Backups are in it; give one of them: {}", within.join(", ")),
            };
            return Err(FolderError::NotABackup { path: path.display().to_string(), hint });
        }
        Ok(folder)
    }

    /// Reads all applets, or those that `only` names: by folder, by folder with `_` read as space, or by the applet's own name or id.
    /// Of two of these with one name or id the first is taken.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn applets(&self, only: Option<&str>) -> Result<Vec<Entry>, FolderError> {
        let read = |folder: String| Entry { applet: self.applet(&folder), folder };
        let mut entries: Vec<Entry> = self.folders()?.into_iter().map(read).collect();
        if let Some(name) = only {
            let there: Vec<String> = entries.iter().map(Entry::name).collect();
            entries.retain(|entry| entry.is_called(name));
            if entries.is_empty() {
                return Err(NoApplet { name: name.to_owned(), there: there.join(", ") }.into());
            }
        }
        let (mut names, mut ids) = (BTreeMap::new(), BTreeMap::new());
        for Entry { folder, applet } in &mut entries {
            if let Ok(it) = applet {
                let (name, id) = (it.applet.metadata.name.clone(), it.applet.metadata.id.clone());
                let other = |what, other: &String| Err(AppletFault::Twice { what, other: other.clone() });
                if let Some(first) = ids.get(id.as_str()) {
                    *applet = other("id", first);
                } else if let Some(first) = names.get(&name) {
                    *applet = other("name", first);
                } else {
                    ids.insert(id.as_str().to_owned(), folder.clone());
                    names.insert(name, folder.clone());
                }
            }
        }
        Ok(entries)
    }

    /// What `backup_manifest.json` says was written, and these, which are all applets unless `only` was given, do not show;
    /// or that it says nothing. Subjects and sentences.
    pub fn lost(&self, entries: &[Entry], only: Option<&str>) -> Vec<(String, String)> {
        let manifest = match &self.manifest {
            Ok(manifest) if only.is_none() => manifest,
            Ok(_) => return Vec::new(),
            Err(fault) => {
                let message = format!("{fault}: it was perhaps not finished. What is there is restored");
                return vec![("backup".to_owned(), message)];
            }
        };
        let applets = || entries.iter().filter_map(|entry| entry.applet.as_ref().ok());
        let mut lost = Vec::new();
        for name in &manifest.applets {
            let folder = backup::applet_folder(&name.to_string_lossy()).ok();
            let is_it = |entry: &Entry| match &entry.applet {
                Ok(it) => it.applet.metadata.name == *name,
                // Why it cannot be read is said of it.
                Err(_) => folder.as_ref() == Some(&entry.folder),
            };
            if !entries.iter().any(is_it) {
                let message = format!("{BACKUP_MANIFEST} names it, and it is not in the backup");
                lost.push((format!("applet {}", shown(&name.to_string_lossy())), message));
            }
        }
        let data: usize = applets().map(|it| it.applet.data.len()).sum();
        let scores: usize = applets().map(|it| it.applet.scores.len()).sum();
        for (what, said, there) in
            [("users' data", manifest.total_data_instances, data), ("scores", manifest.total_high_scores, scores)]
        {
            if i64::try_from(there).is_ok_and(|there| there < said) {
                let message = format!("{BACKUP_MANIFEST} says that {what} are {said}, and {there} can be read");
                lost.push(("backup".to_owned(), message));
            }
        }
        lost
    }

    /// Folders with a `metadata.json`, whatever it is; in what was a backup once, also those of which chunks alone are left.
    fn folders(&self) -> Result<Vec<String>, DirError> {
        let signs = if self.manifest.is_ok() { &[METADATA, CHUNKS, DATA_CHUNKS][..] } else { &[METADATA] };
        let is_applet = |name: &String| signs.iter().any(|it| dir_has(&self.dir, name, it));
        Ok(self.dir.names()?.into_iter().filter(is_applet).collect())
    }

    fn applet(&self, folder: &str) -> Result<FolderApplet, AppletFault> {
        let dir = self.dir.enter(folder).map_err(|error| match error {
            DirError::Missing(_) => DirError::Name(folder.to_owned()),
            error => error,
        })?;
        let mut faults = Vec::new();
        let metadata: Kept<Metadata> = document(&dir, METADATA)?;
        let item = |manifest: &Manifest, place: &[&str]| FolderItem {
            manifest: manifest.clone(),
            root: self.dir.clone(),
            place: [folder].iter().chain(place).map(|name| (*name).to_owned()).collect(),
        };
        let code = metadata.code_manifest.as_ref().map(|manifest| item(manifest, &[CHUNKS]));
        if let Some(code) = &code {
            if !code.fits() {
                return Err(AppletFault::LongManifest);
            }
            if code.has_more() {
                faults.push(AppletFault::TwoInOne);
            }
        }
        let (rows, data) = data(&dir, &item, &mut faults);
        let mut refused = RowFaults::of(HIGH_SCORES);
        let scores = rows_of::<HighScore>(&dir, &mut refused);
        faults.extend(refused.finish());
        let state = match optional(document::<SharedState>(&dir, SHARED_STATE)) {
            Ok(state) => state,
            Err(fault) => {
                faults.push(fault);
                None
            }
        };
        let applet = Applet { metadata, data: rows, scores, state };
        Ok(FolderApplet { applet, code, data, faults })
    }
}

/// The rows of users' data, each with its chunks.
fn data(
    dir: &Dir,
    item: &dyn Fn(&Manifest, &[&str]) -> FolderItem,
    faults: &mut Vec<AppletFault>,
) -> (Vec<Kept<DataRow>>, Vec<FolderItem>) {
    let (mut kept, mut items, mut owners) = (Vec::new(), Vec::new(), BTreeSet::new());
    let mut told = RowFaults::of(APPLET_DATA);
    for (at, row) in rows_of::<DataRow>(dir, &mut told).into_iter().enumerate() {
        let name = row.owner_username.to_string_lossy();
        let refused = match backup::owner_folder(&name) {
            Err(cause) => Some(format!("its user's name {name:?}: {cause}")),
            Ok(owner) if !owners.insert(owner.clone()) => Some(format!("another row is of the user {name:?}, too")),
            Ok(_) => None,
        };
        let item = item(&row.data_manifest, &[DATA_CHUNKS, &name]);
        match refused {
            None if item.fits() => {
                items.push(item);
                kept.push(row);
            }
            None => told.add(AppletFault::LongManifest),
            Some(why) => told.add(AppletFault::Row { file: APPLET_DATA, row: at + 1, why }),
        }
    }
    faults.extend(told.finish());
    (kept, items)
}

impl Entry {
    /// The applet's name, or that of the folder if it cannot be read; to be shown.
    pub fn name(&self) -> String {
        match &self.applet {
            Ok(it) => it.applet.shown(),
            Err(_) => shown(&self.folder),
        }
    }

    fn is_called(&self, name: &str) -> bool {
        let named = || match &self.applet {
            Ok(it) => it.applet.metadata.name.as_str() == Some(name) || it.applet.metadata.id.as_str() == name,
            Err(_) => false,
        };
        self.folder == name || self.folder.replace('_', " ") == name || named()
    }
}

impl FolderItem {
    /// An item whose chunks are in the folder to which these names lead.
    pub(in crate::axon) fn new(manifest: &Manifest, root: Arc<Dir>, place: Vec<String>) -> Self {
        Self { manifest: manifest.clone(), root, place }
    }

    /// Reads a chunk, and compares it with the manifest.
    ///
    /// # Errors
    /// [`ChunkFault`].
    pub fn chunk(&self, index: usize) -> Result<Vec<u8>, ChunkFault> {
        let id = self.manifest.chunk_hashes().get(index).ok_or(ChunkFault::Missing(index))?;
        let read = self.folder().and_then(|folder| folder.read(&backup::chunk_file(index), MAX_STORED));
        let bytes = read.map_err(|error| match error {
            DirError::Missing(_) => ChunkFault::Missing(index),
            DirError::TooLong { .. } => ChunkFault::Wrong(index),
            error => ChunkFault::Dir(error),
        })?;
        if ChunkId::of(&bytes) == *id { Ok(bytes) } else { Err(ChunkFault::Wrong(index)) }
    }

    /// The folder with its chunks.
    pub(super) fn folder(&self) -> Result<Dir, DirError> {
        let (first, rest) = self.place.split_first().expect("chunks are in an applet's folder");
        rest.iter().try_fold(self.root.enter(first)?, |dir, name| dir.enter(name))
    }

    fn fits(&self) -> bool {
        self.manifest.to_value().to_line().len() <= MAX_MANIFEST
    }

    /// Whether there is a chunk behind the last one.
    fn has_more(&self) -> bool {
        let next = backup::chunk_file(self.manifest.chunk_hashes().len());
        self.folder().and_then(|folder| folder.has(&next)).unwrap_or(false)
    }
}

fn dir_has(dir: &Dir, folder: &str, file: &str) -> bool {
    // What cannot be looked into, a link or a name that is no text, is not passed over: it becomes an applet that is refused.
    match dir.is_folder(folder) {
        Ok(true) => dir.enter(folder).and_then(|inside| inside.has(file)).unwrap_or(true),
        Ok(false) => dir.is_link(folder).unwrap_or(false) || !dir.has(folder).unwrap_or(true),
        Err(_) => false,
    }
}

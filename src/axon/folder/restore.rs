//! A backup folder onto the shelf: applets that are not here yet, with their code, users' data, scores and shared state.
//!
//! Order (R8): chunks are compared and written, read again, made durable; then the shelf hears of one applet with all that belongs to
//! it, at once. Killed anywhere, an applet is on the shelf whole or not at all, and the same command goes on.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

pub use super::left::{Lack, Left, Part};
use super::read::{AppletFault, BackupFolder, Entry, FolderApplet, FolderError};
use super::take::{Keys, Look, Refused, Taken, Taking};
use crate::axon::library::{APPLETS, Applet, Library, LibraryError, applet_records, with_code, with_data};
use crate::domain::axon::backup::DataRow;
use crate::domain::axon::kept::Kept;
use crate::domain::axon::manifest::ContentType;
use crate::domain::axon::payload::Payload;
use crate::domain::id::ContentHash;
use crate::monitor::{Counter, Monitor, Problem};
use crate::store::axon::{AxonShelf, Change, Item};
use crate::store::index::Collection;
use crate::store::{ChunkStoreError, IndexError, Store};

/// What is restored.
#[derive(Debug, Clone, Default)]
pub struct RestoreOptions {
    /// One applet only, by the name of its folder or its own.
    pub applet: Option<String>,
    /// No chunks: a download gets them later.
    pub skip_chunks: bool,
    /// What becomes of applets that are here already.
    pub existing: Existing,
}

/// What becomes of an applet that is here already, by its id or its name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Existing {
    /// It stays as it is, but for chunks and keys that its items lack.
    #[default]
    Stays,
    /// The backup's takes its place, with its users' data, scores and state. Earlier snapshots keep what was.
    Replaced,
}

/// What was restored.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct RestoreReport {
    /// Names of applets that are here now.
    pub restored: Vec<String>,
    /// Those of them that took the place of one that was here.
    pub replaced: Vec<String>,
    /// Names of applets that were here already, and stayed as they are.
    pub skipped: Vec<String>,
    /// Names of applets, or folders, that were refused.
    pub refused: Vec<String>,
    /// Items that cannot be used as they came.
    pub left: Vec<Left>,
    /// Of applets that were here: what the backup has that they have not, in words.
    pub not_taken: Vec<(String, String)>,
    /// Items of applets that were here, and that can be opened from now on.
    pub opened: u64,
    /// Users' data that came.
    pub data: u64,
    /// Scores that came.
    pub scores: u64,
    /// Shared states that came.
    pub states: u64,
    /// Chunks that were copied.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Why a restore came to an end. Applets that were restored before stay.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The folder is none.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// What is known cannot be read.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// Chunks cannot be stored.
    #[error(transparent)]
    Chunks(#[from] ChunkStoreError),
    /// It was stopped.
    #[error("stopped; what was restored until then is kept, and the same command goes on from there")]
    Cancelled,
    /// A thread died.
    #[error("a part of the work died unexpectedly. This is a bug in bulbil")]
    Died,
}

/// Where a backup folder is restored to, and with whose keys.
#[derive(Clone)]
pub struct Restore<'a> {
    /// The repository.
    pub store: &'a Store,
    /// The collection of the BBS.
    pub collection: &'a Collection,
    /// Who opens what is in it.
    pub keys: Arc<Keys>,
    /// When it is.
    pub now: Timestamp,
    /// Where progress goes, and what is wrong with an applet.
    pub monitor: &'a dyn Monitor,
}

impl Restore<'_> {
    /// Restores applets that are not here. What is wrong with one is a problem for the monitor, and the others go on.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub async fn run(
        &self,
        folder: BackupFolder,
        options: &RestoreOptions,
        cancel: &CancellationToken,
    ) -> Result<RestoreReport, RestoreError> {
        // Chunks are stored before an item names them.
        let _hold = self.store.hold_chunks()?;
        let only = options.applet.clone();
        let read = move || {
            let entries = folder.applets(only.as_deref())?;
            let lost = folder.lost(&entries, only.as_deref());
            Ok::<_, FolderError>((entries, lost))
        };
        let (entries, lost) = spawn_blocking(read).await.map_err(|_| RestoreError::Died)??;
        lost.into_iter().for_each(|(subject, message)| self.monitor.problem(Problem { subject, message }));
        let shelf = self.store.axon(self.collection.id);
        let library = Library::load(&shelf).await?;
        self.monitor.task("restoring applets", Counter::Entries, Some(entries.len() as u64));
        let (keys, skip_chunks, existing) = (self.keys.clone(), options.skip_chunks, options.existing);
        let (store, now, monitor) = (self.store, self.now, self.monitor);
        let mut work = Work { store, shelf, library, keys, skip_chunks, existing, now, monitor };
        let mut report = RestoreReport::default();
        for entry in entries {
            if cancel.is_cancelled() {
                return Err(RestoreError::Cancelled);
            }
            work.entry(entry, &mut report).await?;
            self.monitor.add(Counter::Entries, 1);
        }
        Ok(report)
    }
}

struct Work<'a> {
    store: &'a Store,
    shelf: AxonShelf,
    library: Library,
    keys: Arc<Keys>,
    skip_chunks: bool,
    existing: Existing,
    now: Timestamp,
    monitor: &'a dyn Monitor,
}

/// An applet whose items were taken.
struct Whole {
    applet: Applet,
    items: Vec<Item>,
    faults: Vec<String>,
    left: Vec<Left>,
    opened: u64,
    copied: (u64, u64),
    /// A key was given beside this instance's own.
    key_given: bool,
}

impl Work<'_> {
    async fn entry(&mut self, entry: Entry, report: &mut RestoreReport) -> Result<(), RestoreError> {
        let name = entry.name();
        let it = match entry.applet {
            Ok(it) => it,
            Err(fault) => {
                self.problem(&name, format!("not restored: {}", in_words(&fault)));
                report.refused.push(name);
                return Ok(());
            }
        };
        let id = it.applet.metadata.id.clone();
        let others: Vec<String> = self.others(&it.applet);
        let is_here = !others.is_empty() && self.existing == Existing::Stays;
        let known = self.known(&it).await?;
        let more = if is_here { self.more(&it.applet, &others) } else { None };
        let (store, keys, skip_chunks, now) = (self.store.clone(), self.keys.clone(), self.skip_chunks, self.now);
        let work = move || {
            let taking = Taking { store: &store, keys: &keys, skip_chunks, now };
            if is_here { missing_parts(&taking, it, known) } else { everything(&taking, it, known) }
        };
        let whole = match spawn_blocking(work).await.map_err(|_| RestoreError::Died)? {
            Ok(whole) => whole,
            Err(Refused::Store(cause)) => return Err(cause.into()),
            Err(Refused::Died) => return Err(RestoreError::Died),
            Err(Refused::Content(cause)) => {
                self.problem(&name, format!("not restored: its code is not what its name says: {cause}"));
                report.refused.push(name);
                return Ok(());
            }
        };
        report.chunks += whole.copied.0;
        report.bytes += whole.copied.1;
        self.monitor.add(Counter::Chunks, whole.copied.0);
        self.monitor.add(Counter::ChunkBytes, whole.copied.1);
        let code_lacks = |left: &Left| left.part == Part::Code && matches!(left.lack, Lack::Chunks(_));
        if !is_here && !others.is_empty() && !self.skip_chunks && whole.left.iter().any(code_lacks) {
            self.problem(&name, "the one that is here stays: the backup's lacks chunks of its code".to_owned());
            report.refused.push(name);
            return Ok(());
        }
        let mut change = Change { items: whole.items, ..Change::default() };
        if !is_here {
            change.records = applet_records(&id, &whole.applet, now);
            for other in &others {
                let old =
                    self.shelf.records(&format!("{APPLETS}{other}/")).await?.into_iter().map(|record| record.path);
                change.removed.extend(old.filter(|path| change.records.iter().all(|record| record.path != *path)));
            }
        }
        // Chunks of what is whole may be those that a killed restore copied and did not make durable.
        if whole.copied.0 > 0 || change.items.iter().any(|item| item.complete) {
            let store = self.store.clone();
            spawn_blocking(move || store.chunks.sync()).await.map_err(|_| RestoreError::Died)??;
        }
        if !change.items.is_empty() || !change.records.is_empty() {
            self.shelf.put(&change).await?;
        }
        for fault in whole.faults {
            self.problem(&name, fault);
        }
        report.opened += whole.opened;
        report.left.extend(whole.left.into_iter().map(|left| Left { applet: name.clone(), ..left }));
        if is_here {
            report.not_taken.extend(more.map(|more| (name.clone(), more)));
            report.skipped.push(name);
            return Ok(());
        }
        report.data += whole.applet.data.len() as u64;
        report.scores += whole.applet.scores.len() as u64;
        report.states += u64::from(whole.applet.state.is_some());
        for other in &others {
            self.library.applets.remove(other);
        }
        if !others.is_empty() {
            report.replaced.push(name.clone());
        }
        self.library.applets.insert(id.as_str().to_owned(), whole.applet);
        report.restored.push(name);
        Ok(())
    }

    /// Ids of applets that are here with the id or the name of this one.
    fn others(&self, applet: &Applet) -> Vec<String> {
        let is_it = |(id, known): &(&String, &Applet)| {
            id.as_str() == applet.metadata.id.as_str() || known.metadata.name == applet.metadata.name
        };
        self.library.applets.iter().filter(is_it).map(|(id, _)| id.clone()).collect()
    }

    /// What an applet of the backup has that those that are here have not.
    fn more(&self, applet: &Applet, others: &[String]) -> Option<String> {
        let here = || others.iter().filter_map(|id| self.library.applets.get(id));
        let data = applet.data.iter().filter(|row| !here().any(|it| it.data.iter().any(|known| known.id == row.id)));
        let is_known = |score: &&_| !here().any(|it| it.scores.contains(score));
        let (data, scores) = (data.count(), applet.scores.iter().filter(is_known).count());
        let state = applet.state.is_some() && here().all(|it| it.state.is_none());
        let parts = [(data, "data of users"), (scores, "scores"), (usize::from(state), "a shared state")];
        let parts: Vec<String> = parts
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{what} ({count})"))
            .collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// What the shelf has of the items of an applet: of its code, then of its data.
    async fn known(&self, it: &FolderApplet) -> Result<Vec<Option<Item>>, IndexError> {
        let mut known = Vec::new();
        for item in it.code.iter().chain(&it.data) {
            known.push(self.shelf.item(&item.manifest.content_hash()).await?);
        }
        Ok(known)
    }

    fn problem(&self, applet: &str, message: String) {
        self.monitor.problem(Problem { subject: format!("applet {applet}"), message });
    }
}

/// Takes an applet that is not here.
fn everything(taking: &Taking<'_>, it: FolderApplet, known: Vec<Option<Item>>) -> Result<Whole, Refused> {
    let FolderApplet { mut applet, code, data, faults } = it;
    let mut known = known.into_iter();
    let faults = faults.iter().map(in_words).collect();
    let mut whole = Whole::of(applet.clone(), faults, taking);
    if let Some(code) = &code {
        let taken = taking.take(code, ContentType::Applet, known.next().flatten().as_ref())?;
        applet.metadata = with_code(&applet.metadata, &taken.manifest);
        whole.add(taken, &Part::Code);
    }
    let rows = std::mem::take(&mut applet.data);
    for (row, item) in rows.into_iter().zip(&data) {
        let whose = Part::Data(row.owner_username.to_string_lossy().into_owned());
        let known = known.next().flatten();
        let taken = taking.take(item, ContentType::AppletData, known.as_ref());
        match taken.and_then(|taken| Ok((is_foreign(taking, &taken, &applet)?, taken))) {
            Ok((Some(why), taken)) => {
                whole.faults.push(format!("{whose} was left out: {why}"));
                whole.copied = (whole.copied.0 + taken.copied.0, whole.copied.1 + taken.copied.1);
                let hash = taken.manifest.content_hash();
                whole.left.extend(taken.amiss.map(|amiss| left(hash, &whose, Lack::InFolder(amiss))));
            }
            Ok((None, taken)) => {
                applet.data.push(with_data(&row, &taken.manifest));
                whole.add(taken, &whose);
            }
            Err(Refused::Content(cause)) => whole.faults.push(format!("{whose} was left out: {cause}")),
            Err(refused) => return Err(refused),
        }
    }
    whole.applet = applet;
    Ok(whole)
}

/// Of an applet that is here: chunks and keys that its items lack.
fn missing_parts(taking: &Taking<'_>, it: FolderApplet, known: Vec<Option<Item>>) -> Result<Whole, Refused> {
    let faults = it.faults.iter().map(in_words).collect();
    let mut whole = Whole::of(it.applet, faults, taking);
    let code = it.code.into_iter().map(|item| (Part::Code, item));
    let whose = |row: &Kept<DataRow>| Part::Data(row.owner_username.to_string_lossy().into_owned());
    let data: Vec<Part> = whole.applet.data.iter().map(whose).collect();
    let items: Vec<_> = code.chain(data.into_iter().zip(it.data)).zip(known).collect();
    for ((part, item), known) in items {
        let Some(known) = known.filter(|known| !known.complete || known.key.is_none()) else {
            let amiss = if taking.skip_chunks { None } else { item.amiss_when_read() };
            whole.left.extend(amiss.map(|amiss| left(item.manifest.content_hash(), &part, Lack::InFolder(amiss))));
            continue;
        };
        let (kind, had_key) = (known.kinds.first().cloned().unwrap_or(ContentType::Applet), known.key.is_some());
        match taking.take(&item, kind, Some(&known)) {
            Ok(mut taken) => {
                taken.item = taken.item.filter(|item| item.complete || item.key.is_some());
                whole.opened += u64::from(!had_key && taken.item.as_ref().is_some_and(|item| item.key.is_some()));
                whole.add(taken, &part);
            }
            Err(Refused::Content(cause)) => {
                let short = item.manifest.content_hash().short();
                whole.faults.push(format!("its item {short} is not what its name says: {cause}"));
            }
            Err(refused) => return Err(refused),
        }
    }
    Ok(whole)
}

impl Whole {
    fn of(applet: Applet, faults: Vec<String>, taking: &Taking<'_>) -> Self {
        let key_given = taking.keys.private.len() > 1;
        Self { applet, items: Vec::new(), faults, left: Vec::new(), opened: 0, copied: (0, 0), key_given }
    }

    fn add(&mut self, taken: Taken, part: &Part) {
        self.copied = (self.copied.0 + taken.copied.0, self.copied.1 + taken.copied.1);
        let content_hash = taken.manifest.content_hash();
        let mut lacks = Vec::new();
        if taken.key.is_none() {
            lacks.push(Lack::Key { given: self.key_given });
        }
        lacks.extend(taken.faults.into_iter().map(Lack::Chunks));
        lacks.extend(taken.amiss.map(Lack::InFolder));
        self.left.extend(lacks.into_iter().map(|lack| left(content_hash, part, lack)));
        self.faults.extend(taken.envelopes.into_iter().map(|why| format!("{part}: {why}")));
        self.items.extend(taken.item);
    }
}

/// Of an applet whose name is said later.
fn left(content_hash: ContentHash, part: &Part, lack: Lack) -> Left {
    Left { applet: String::new(), content_hash, part: part.clone(), lack }
}

/// Why a user's data is not that of this applet, or nobody knows whose it is; nothing if it is, or cannot be opened yet.
fn is_foreign(taking: &Taking<'_>, taken: &Taken, applet: &Applet) -> Result<Option<&'static str>, Refused> {
    let plain = match taking.look(taken)? {
        Look::Plain(plain) => plain,
        Look::Not => return Ok(None),
        Look::TooLong => return Ok(Some("it is longer than 64 MiB, and so nobody looked whether it is this applet's")),
    };
    Ok(match Payload::parse(&plain) {
        Ok(Payload::AppletData(data)) if data.applet_id == applet.metadata.id => None,
        Ok(Payload::AppletData(_)) => {
            Some("it belongs to another applet, which was written into the same folder by the backup's maker")
        }
        _ => Some("it is no applet's data"),
    })
}

fn in_words(fault: &AppletFault) -> String {
    fault.to_string()
}

#[cfg(test)]
mod tests;

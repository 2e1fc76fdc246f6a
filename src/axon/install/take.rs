//! From an installation onto the shelf: what is new there.
//!
//! Order (R8): chunks are compared with their hashes and written, read again through the decryptor, made durable; then the shelf hears
//! of the items. What cannot be read or opened is told, and the rest is taken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::look::Look;
use super::records::{self, Named, TABLES, Unread};
use super::{Belongs, InstallError, Installation};
use crate::axon::folder::amiss::Amiss;
use crate::axon::folder::read::FolderItem;
use crate::axon::folder::{Keys, Refused, Taking};
use crate::axon::instance::AxonInstance;
use crate::axon::library::{
    APPLETS, Applet, Library, action_record, applet_records, config_record, installation_record, with_code, with_data,
};
use crate::axon::pull::{filter, finer, same_but_envelopes};
use crate::domain::axon::kept::Kept;
use crate::domain::axon::manifest::Manifest;
use crate::domain::axon::private::PrivateKey;
use crate::domain::id::ContentHash;
use crate::monitor::{Counter, Monitor, Problem};
use crate::store::axon::{AxonShelf, Change, Item, Record};
use crate::store::dir::Dir;
use crate::store::index::Collection;
use crate::store::index::axon::Looked;
use crate::store::{ChunkStoreError, Store};

/// Items that are made durable at once.
const BATCH: usize = 64;
/// Items that are named one by one when they are not whole.
const NAMED: usize = 50;

/// Where an installation is taken over to.
pub struct TakeOver<'a> {
    /// The repository.
    pub store: &'a Store,
    /// The collection.
    pub collection: &'a Collection,
    /// This instance: gets an envelope of everything that opens.
    pub instance: &'a AxonInstance,
    /// The collection becomes this one's, whose ever its rows were.
    pub take_place: bool,
    /// All chunks of the BBS are read, not only those that changed.
    pub verify: bool,
    /// When it is.
    pub now: Timestamp,
    /// Where progress goes, and what could not be taken.
    pub monitor: &'a dyn Monitor,
}

/// What was taken over.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct TakeReport {
    /// Which database was read.
    pub database: std::path::PathBuf,
    /// What this version of the BBS has no table of.
    pub no_table_of: Vec<String>,
    /// Applets that are known here, and that it has no longer; they are kept.
    pub not_there: Vec<String>,
    /// Items that its rows name, by kind.
    pub items: BTreeMap<String, u64>,
    /// Of those, new here or whole only now.
    pub new_items: u64,
    /// Items that are not whole, or that nobody here can open.
    pub incomplete: Vec<ContentHash>,
    /// Items that are whole here, and of which the BBS's own files are not.
    pub amiss: Vec<ContentHash>,
    /// Chunks that were copied.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Rows, by table.
    pub tables: BTreeMap<String, u64>,
    /// Applets, users' data, scores, shared states.
    pub applets: u64,
    /// Users' data.
    pub data: u64,
    /// Scores.
    pub scores: u64,
    /// Shared states.
    pub states: u64,
    /// Records that were new or have changed.
    pub changed: u64,
}

/// What came of a batch.
#[derive(Default)]
struct Batch {
    items: Vec<Item>,
    chunks: u64,
    bytes: u64,
    incomplete: Vec<(ContentHash, String)>,
    amiss: Vec<(ContentHash, String)>,
}

impl TakeOver<'_> {
    /// Takes everything over.
    ///
    /// # Errors
    /// [`InstallError`]; [`InstallError::OfAnother`] before anything is changed.
    pub async fn run(&self, from: &Installation, cancel: &CancellationToken) -> Result<TakeReport, InstallError> {
        // Chunks are stored before an item names them.
        let _hold = self.store.hold_chunks()?;
        let shelf = self.store.axon(self.collection.id);
        if !self.take_place
            && let Belongs::AnothersWhich(whose) = Belongs::find(self.store, &shelf, from.key.public()).await?
        {
            return Err(InstallError::OfAnother { collection: self.collection.name.clone(), whose });
        }
        let (mut report, mut unread) = (TakeReport::default(), Vec::new());
        let named = records::items(&from.schema, &mut unread);
        for kind in named.values().flat_map(|named| &named.kinds) {
            *report.items.entry(kind.as_str().to_owned()).or_default() += 1;
        }
        self.items(&shelf, from, named, &mut report, cancel).await?;
        self.records(&shelf, from, &mut report, &mut unread).await?;
        for Unread { subject, message } in unread {
            self.monitor.problem(Problem { subject, message });
        }
        Ok(report)
    }

    async fn items(
        &self,
        shelf: &AxonShelf,
        from: &Installation,
        named: BTreeMap<ContentHash, Named>,
        report: &mut TakeReport,
        cancel: &CancellationToken,
    ) -> Result<(), InstallError> {
        let own = PrivateKey::from_pkcs8_der(self.instance.private.pkcs8_der())?;
        let theirs = PrivateKey::from_pkcs8_der(from.key.pkcs8_der())?;
        let keys = Arc::new(Keys { private: vec![theirs, own], own: self.instance.wrapper()? });
        // Without that folder all chunks are missing.
        let chunks = match Dir::open(&from.place.chunks) {
            Err(error) if error.is_missing() => Dir::open(&from.place.root),
            opened => opened,
        };
        let root = Arc::new(chunks?);
        let folder = std::fs::canonicalize(root.path()).unwrap_or_else(|_| root.path().to_owned());
        let folder = folder.to_string_lossy().into_owned();
        let look = match self.verify {
            true => Look::at_everything(),
            false => Look::since(self.store.index.axon_looked(&self.collection.id).await?, &folder, self.now),
        };
        self.monitor.task("taking over content", Counter::Entries, Some(named.len() as u64));
        let mut named = named.into_iter().peekable();
        let mut told = 0;
        while named.peek().is_some() {
            if cancel.is_cancelled() {
                return Err(InstallError::Cancelled);
            }
            let mut batch = Vec::new();
            for (hash, named) in named.by_ref().take(BATCH) {
                batch.push((named, shelf.item(&hash).await?));
            }
            let count = batch.len() as u64;
            let (store, keys, root, now) = (self.store.clone(), keys.clone(), root.clone(), self.now);
            let look = look.clone();
            let work = move || take_batch(&store, &keys, &root, batch, &look, now);
            let done = spawn_blocking(work).await.map_err(|_| InstallError::Died)??;
            report.chunks += done.chunks;
            report.bytes += done.bytes;
            report.new_items += done.items.len() as u64;
            if !done.items.is_empty() {
                shelf.put(&Change { items: done.items, ..Change::default() }).await?;
            }
            report.incomplete.extend(done.incomplete.iter().map(|(hash, _)| *hash));
            report.amiss.extend(done.amiss.iter().map(|(hash, _)| *hash));
            for (hash, message) in done.incomplete.into_iter().chain(done.amiss) {
                told += 1;
                if told <= NAMED {
                    self.monitor.problem(Problem { subject: format!("item {}", hash.short()), message });
                }
            }
            self.monitor.add(Counter::Entries, count);
        }
        if told > NAMED {
            let message = format!("{} more items are not whole, or do not open", told - NAMED);
            self.monitor.problem(Problem { subject: "items".to_owned(), message });
        }
        let looked = Looked { folder, at: self.now, amiss: report.amiss.iter().copied().collect() };
        Ok(self.store.index.axon_put_looked(&self.collection.id, &looked).await?)
    }

    async fn records(
        &self,
        shelf: &AxonShelf,
        from: &Installation,
        report: &mut TakeReport,
        unread: &mut Vec<Unread>,
    ) -> Result<(), InstallError> {
        let library = Library::load(shelf).await?;
        let known: BTreeMap<String, Vec<u8>> =
            shelf.records("").await?.into_iter().map(|record| (record.path, record.bytes)).collect();
        let rows = records::config(&from.schema);
        let mut wanted: Vec<Record> = Vec::new();
        let mut gone: BTreeSet<String> = known.keys().filter(|path| path.starts_with(TABLES)).cloned().collect();
        let tables: BTreeSet<&str> = gone.iter().filter_map(|path| path[TABLES.len()..].split('/').next()).collect();
        for table in tables.into_iter().filter(|name| !from.schema.tables.iter().any(|table| table.name == *name)) {
            let message = "it was in the database before, and is not any more; earlier snapshots have its rows";
            self.monitor.problem(Problem { subject: format!("table {table}"), message: message.to_owned() });
        }
        let mut not_there = library.applets.clone();
        for (id, applet) in records::applets(&from.schema, &rows, unread) {
            not_there.remove(id.as_str());
            report.applets += 1;
            report.data += applet.data.len() as u64;
            report.scores += applet.scores.len() as u64;
            report.states += u64::from(applet.state.is_some());
            let applet = with_kept_manifests(applet, library.applets.get(id.as_str()), &library);
            let prefix = format!("{APPLETS}{}/", id.as_str());
            gone.extend(known.keys().filter(|path| path.starts_with(&prefix)).cloned());
            wanted.extend(applet_records(&id, &applet, self.now));
        }
        report.not_there = not_there.values().map(Applet::shown).collect();
        wanted.extend(records::actions(&from.schema, unread).iter().map(|action| action_record(action, self.now)));
        let (kept, _) = filter(rows);
        let mut by_model: BTreeMap<String, Vec<_>> = BTreeMap::new();
        kept.into_iter().for_each(|row| by_model.entry(row.model.clone()).or_default().push(row));
        wanted.extend(by_model.iter().filter_map(|(model, rows)| config_record(model, rows, self.now)));
        wanted.push(installation_record(from.key.public(), self.now));
        for table in &from.schema.tables {
            report.tables.insert(table.name.clone(), table.rows.len() as u64);
        }
        wanted.extend(records::tables(&from.schema, unread, self.now));
        wanted.iter().for_each(|record| {
            gone.remove(&record.path);
        });
        wanted.retain(|record| known.get(&record.path) != Some(&record.bytes));
        report.changed = (wanted.len() + gone.len()) as u64;
        if report.changed > 0 {
            let change = Change { records: wanted, removed: gone.into_iter().collect(), ..Change::default() };
            shelf.put(&change).await?;
        }
        Ok(())
    }
}

/// The applet with the manifests that its items have here, and as it is known if nothing but envelopes differs.
fn with_kept_manifests(mut applet: Applet, known: Option<&Applet>, library: &Library) -> Applet {
    let kept = |manifest: &Manifest| {
        let item = library.items.get(&manifest.content_hash())?;
        Manifest::parse(item.manifest.as_bytes()).ok().filter(|ours| item.complete || ours.seals_the_same(manifest))
    };
    if let Some(code) = applet.metadata.code_manifest.as_ref().and_then(kept) {
        applet.metadata = with_code(&applet.metadata, &code);
    }
    for row in &mut applet.data {
        if let Some(data) = kept(&row.data_manifest) {
            *row = with_data(row, &data);
        }
    }
    if let Some(known) = known {
        let mut metadata = applet.metadata.clone().into_fields();
        finer(&mut metadata, &known.metadata);
        if same_but_envelopes(&metadata, &known.metadata) {
            applet.metadata = known.metadata.clone();
        } else {
            applet.metadata = Kept::new(metadata);
        }
    }
    applet
}

/// Takes some items, and makes their chunks durable.
fn take_batch(
    store: &Store,
    keys: &Keys,
    root: &Arc<Dir>,
    batch: Vec<(Named, Option<Item>)>,
    look: &Look,
    now: Timestamp,
) -> Result<Batch, InstallError> {
    let taking = Taking { store, keys, skip_chunks: false, now };
    let mut done = Batch::default();
    for (named, known) in batch {
        if let Some(known) = &known
            && known.complete
            && known.key.is_some()
            && named.kinds.is_subset(&known.kinds)
            && is_here(store, known)?
        {
            if let Some(amiss) = look.at(root, &named, known) {
                done.amiss.push((known.content_hash, told(&named, &[there(&amiss)])));
            }
            continue;
        }
        take_one(&taking, root, named, known, &mut done)?;
    }
    // Chunks of what is whole may be those that a killed run copied and did not make durable.
    if done.chunks > 0 || done.items.iter().any(|item| item.complete) {
        store.chunks.sync()?;
    }
    Ok(done)
}

/// Whether all chunks are there as long as they should be; what is in them is looked at by the scrub.
fn is_here(store: &Store, item: &Item) -> Result<bool, ChunkStoreError> {
    for (id, size) in &item.chunks {
        if store.chunks.size(id)? != Some(u64::from(*size)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Takes one item, by the first of its manifests that gives all of it.
fn take_one(
    taking: &Taking<'_>,
    root: &Arc<Dir>,
    named: Named,
    known: Option<Item>,
    done: &mut Batch,
) -> Result<(), InstallError> {
    let mut why = Vec::new();
    // What is to be put on the shelf: never less than what it has, or than what an earlier manifest gave.
    let mut best: Option<Item> = None;
    let kind = named.kinds.first().cloned().expect("an item is named as something");
    let (mut whole, mut amiss) = (false, Vec::new());
    for manifest in &named.manifests {
        let hash = manifest.content_hash();
        let from = FolderItem::new(manifest, Arc::clone(root), vec![hash.to_string()]);
        let taken = match taking.take(&from, kind.clone(), best.as_ref().or(known.as_ref())) {
            Ok(taken) => taken,
            Err(Refused::Store(cause)) => return Err(cause.into()),
            Err(Refused::Died) => return Err(InstallError::Died),
            Err(Refused::Content(cause)) => {
                why.push(format!("not taken: {cause}"));
                continue;
            }
        };
        done.chunks += taken.copied.0;
        done.bytes += taken.copied.1;
        best = taken.item.or(best);
        whole = taken.faults.is_empty() && taken.key.is_some();
        why.extend(taken.faults.iter().map(ToString::to_string).chain(taken.envelopes));
        if taken.key.is_none() {
            why.push("kept, but the BBS's own key does not open it: it has no envelope of it".to_owned());
        }
        amiss.push(taken.amiss);
        if whole {
            break;
        }
        // Another one may be what lies there.
    }
    if let (true, Some(Some(amiss))) = (whole, amiss.pop()) {
        let hash = named.manifests.first().expect("an item is named by a manifest").content_hash();
        done.amiss.push((hash, told(&named, &[there(&amiss)])));
    }
    if !whole {
        let hash = named.manifests.first().expect("an item is named by a manifest").content_hash();
        done.incomplete.push((hash, told(&named, &why)));
    }
    if let Some(mut item) = best {
        item.kinds.extend(named.kinds);
        done.items.push(item);
    }
    Ok(())
}

fn there(amiss: &Amiss) -> String {
    format!("in the BBS's own folder {amiss}; here it is whole")
}

fn told(named: &Named, why: &[String]) -> String {
    let kinds: Vec<&str> = named.kinds.iter().map(crate::domain::axon::manifest::ContentType::as_str).collect();
    format!("{}: {}", kinds.join("/"), why.join("; "))
}

#[cfg(test)]
mod tests;

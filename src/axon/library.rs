//! What is known of an Axon BBS, in memory: items by their hash, applets with their data, configuration, actions.
//!
//! ```text
//! applets/<uuid>/metadata.json, applet_data.json, high_scores.json, shared_state.json   as in a backup folder
//! pulled/config.json                        whose rows those below config/ are: {"peer": name}, of an installation its "key", too
//! config/<model>.json                       rows of the exported configuration, raw UTF-8, one array on one line
//! actions/<id>.json                         federated actions, as they came; kept, never obeyed
//! ```

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::domain::axon::action::Action;
use crate::domain::axon::backup::{self, DataRow, HighScore, Metadata, SharedState};
use crate::domain::axon::export::{self, Row};
use crate::domain::axon::json::{Object, ShapeError, Value};
use crate::domain::axon::kept::{DocumentError, Fields, Kept};
use crate::domain::axon::key::PublicKey;
use crate::domain::axon::manifest::Manifest;
use crate::domain::axon::uuid::Uuid;
use crate::domain::crypto::secret::Secret;
use crate::domain::id::ContentHash;
use crate::domain::text::shown;
use crate::store::IndexError;
use crate::store::axon::{AxonShelf, Item, Record};

/// Records of applets.
pub const APPLETS: &str = "applets/";
/// Records of the configuration.
pub const CONFIG: &str = "config/";
/// Records of actions.
pub const ACTIONS: &str = "actions/";

/// Names whose configuration is kept: a peer's, or with its key that of an installation on the same machine.
pub const SOURCE: &str = "pulled/config.json";
/// What an installation is called there.
pub const INSTALLATION: &str = "(installation on this machine)";

/// Why what is known cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A record is not what its path says.
    #[error(
        "the record {path} is not what it should be: run 'bulbil rebuild', which takes it from the newest snapshot"
    )]
    Malformed {
        /// Which one.
        path: String,
        /// Why.
        #[source]
        cause: Option<DocumentError>,
    },
}

/// An applet with everything that is known of it. Its code, and the data of its users, are items.
#[derive(Debug, Clone, PartialEq)]
pub struct Applet {
    /// The applet itself.
    pub metadata: Kept<Metadata>,
    /// Its users' data.
    pub data: Vec<Kept<DataRow>>,
    /// Its scores.
    pub scores: Vec<Kept<HighScore>>,
    /// What its users share.
    pub state: Option<Kept<SharedState>>,
}

/// There is no applet that is meant.
#[derive(Debug, thiserror::Error)]
#[error("there is no applet {name:?} here; there are: {there}")]
pub struct NoApplet {
    /// Which name was given.
    pub name: String,
    /// What there is.
    pub there: String,
}

impl Applet {
    /// Its name, to be shown.
    pub fn shown(&self) -> String {
        shown(&self.metadata.name.to_string_lossy())
    }

    /// Whether an admin means this applet: by its name, by that of its folder in a backup, where `_` may be read as space, or by its id.
    pub fn is_called(&self, name: &str) -> bool {
        let own = self.metadata.name.to_string_lossy();
        let is_folder = |folder: String| folder == name || folder.replace('_', " ") == name;
        own == name || self.metadata.id.as_str() == name || backup::applet_folder(&own).is_ok_and(is_folder)
    }
}

/// Everything.
#[derive(Debug, Default)]
pub struct Library {
    /// Items, by their hash.
    pub items: BTreeMap<ContentHash, Item>,
    /// Applets, by their id.
    pub applets: BTreeMap<String, Applet>,
    /// Rows of the configuration, by model.
    pub config: BTreeMap<String, Vec<Kept<Row>>>,
    /// Actions of other instances, by id.
    pub actions: BTreeMap<String, Kept<Action>>,
}

impl Library {
    /// Reads everything.
    ///
    /// # Errors
    /// [`LibraryError`].
    pub async fn load(shelf: &AxonShelf) -> Result<Self, LibraryError> {
        let items = shelf.items().await?.into_iter().map(|item| (item.content_hash, item)).collect();
        let mut library = Self { items, ..Self::default() };
        let mut parts: BTreeMap<String, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
        for Record { path, bytes, .. } in shelf.records("").await? {
            let malformed = |cause| LibraryError::Malformed { path: path.clone(), cause };
            if let Some(rest) = path.strip_prefix(APPLETS) {
                let (id, file) = rest.split_once('/').ok_or_else(|| malformed(None))?;
                parts.entry(id.to_owned()).or_default().insert(file.to_owned(), bytes);
            } else if let Some(model) = path.strip_prefix(CONFIG).and_then(|rest| rest.strip_suffix(".json")) {
                let rows = export::parse(&bytes).map_err(|cause| malformed(Some(cause)))?;
                library.config.insert(model.to_owned(), rows);
            } else if let Some(id) = path.strip_prefix(ACTIONS).and_then(|rest| rest.strip_suffix(".json")) {
                let action = Kept::parse(&bytes).map_err(|cause| malformed(Some(cause)))?;
                library.actions.insert(id.to_owned(), action);
            }
        }
        for (id, files) in parts {
            let fail = |cause| LibraryError::Malformed { path: format!("{APPLETS}{id}"), cause };
            let Some(metadata) = files.get(backup::METADATA) else { return Err(fail(None)) };
            let applet = Applet {
                metadata: Kept::parse(metadata).map_err(|cause| fail(Some(cause)))?,
                data: rows(files.get(backup::APPLET_DATA)).map_err(|cause| fail(Some(cause)))?,
                scores: rows(files.get(backup::HIGH_SCORES)).map_err(|cause| fail(Some(cause)))?,
                state: files
                    .get(backup::SHARED_STATE)
                    .map(|bytes| Kept::parse(bytes))
                    .transpose()
                    .map_err(|cause| fail(Some(cause)))?,
            };
            library.applets.insert(id, applet);
        }
        Ok(library)
    }

    /// The manifest of the sealed bytes that are here: another one than this if the item was sealed anew elsewhere.
    pub fn held(&self, manifest: &Manifest) -> Manifest {
        let item = self.items.get(&manifest.content_hash()).filter(|item| item.complete);
        let ours = item.and_then(|item| Manifest::parse(item.manifest.as_bytes()).ok());
        ours.filter(|ours| !ours.seals_the_same(manifest)).unwrap_or_else(|| manifest.clone())
    }

    /// The key of an item, if this manifest is of the sealed bytes that are known.
    pub fn key_of(&self, manifest: &Manifest) -> Option<&Secret<32>> {
        let item = self.items.get(&manifest.content_hash())?;
        let ours = Manifest::parse(item.manifest.as_bytes()).ok()?;
        item.key.as_ref().filter(|_| ours.seals_the_same(manifest))
    }

    /// Items that are not complete and that no applet names: somebody announced them, and nobody has brought them.
    pub fn never_brought(&self) -> Vec<&Item> {
        let code = self.applets.values().filter_map(|applet| applet.metadata.code_manifest.as_ref());
        let data = self.applets.values().flat_map(|applet| applet.data.iter().map(|row| &row.data_manifest));
        let named: BTreeSet<ContentHash> = code.chain(data).map(Manifest::content_hash).collect();
        self.items.values().filter(|item| !item.complete && !named.contains(&item.content_hash)).collect()
    }

    /// All applets, the oldest first, or those that `only` means.
    ///
    /// # Errors
    /// [`NoApplet`] if it means none.
    pub fn chosen(&self, only: Option<&str>) -> Result<Vec<&Applet>, NoApplet> {
        let mut applets: Vec<&Applet> = self.applets.values().collect();
        applets.sort_by_key(|applet| applet.metadata.created_at);
        let Some(name) = only else { return Ok(applets) };
        let there: Vec<String> = applets.iter().map(|applet| applet.shown()).collect();
        applets.retain(|applet| applet.is_called(name));
        match applets.is_empty() {
            true => Err(NoApplet { name: name.to_owned(), there: there.join(", ") }),
            false => Ok(applets),
        }
    }
}

/// The records of an applet, to be put on the shelf.
pub fn applet_records(id: &Uuid, applet: &Applet, changed_at: Timestamp) -> Vec<Record> {
    let record = |file: &str, text: String| Record {
        path: format!("{APPLETS}{}/{file}", id.as_str()),
        bytes: text.into_bytes(),
        changed_at,
    };
    let mut records = vec![record(backup::METADATA, backup::write_one(&applet.metadata))];
    if !applet.data.is_empty() {
        records.push(record(backup::APPLET_DATA, backup::write_rows(&applet.data)));
    }
    if !applet.scores.is_empty() {
        records.push(record(backup::HIGH_SCORES, backup::write_rows(&applet.scores)));
    }
    if let Some(state) = &applet.state {
        records.push(record(backup::SHARED_STATE, backup::write_one(state)));
    }
    records
}

/// The applet with this manifest of its code; fields that we do not know stay.
pub fn with_code(metadata: &Kept<Metadata>, code: &Manifest) -> Kept<Metadata> {
    let mut object = metadata.object().clone();
    object.set("code_manifest", code.to_value());
    Kept::from_value(object.into()).expect("it was read before, and the manifest was, too")
}

/// The row with this manifest of its data; fields that we do not know stay.
pub fn with_data(row: &Kept<DataRow>, data: &Manifest) -> Kept<DataRow> {
    let mut object = row.object().clone();
    object.set("data_manifest", data.to_value());
    Kept::from_value(object.into()).expect("it was read before, and the manifest was, too")
}

/// The record of one model's rows. `None` if the model's name can be no path.
pub fn config_record(model: &str, rows: &[Kept<Row>], changed_at: Timestamp) -> Option<Record> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
    let sound = !model.is_empty() && model.len() < 100 && model.chars().all(plain) && !model.starts_with('.');
    sound.then(|| Record { path: format!("{CONFIG}{model}.json"), bytes: export::write(rows).into_bytes(), changed_at })
}

/// The record of an action.
pub fn action_record(action: &Kept<Action>, changed_at: Timestamp) -> Record {
    let path = format!("{ACTIONS}{}.json", action.id.as_str());
    Record { path, bytes: action.to_value().to_line().into_bytes(), changed_at }
}

/// The record of [`SOURCE`]: the rows of this peer are kept; of nobody, if `None`.
pub(in crate::axon) fn source_record(peer: Option<&str>, now: Timestamp) -> Record {
    let value = Value::Object(Object::new().with("peer", peer.map_or(Value::Null, Value::from)));
    Record { path: SOURCE.to_owned(), bytes: value.to_line().into_bytes(), changed_at: now }
}

/// The record of [`SOURCE`]: the rows of the installation with this key are kept.
pub(in crate::axon) fn installation_record(key: &PublicKey, now: Timestamp) -> Record {
    let value = Value::Object(Object::new().with("peer", INSTALLATION).with("key", key.as_str()));
    Record { path: SOURCE.to_owned(), bytes: value.to_line().into_bytes(), changed_at: now }
}

/// The key of the installation whose rows are kept; `None` if they are a peer's, or were taken over before keys were noted.
pub(in crate::axon) fn installation_key(record: &Record) -> Option<PublicKey> {
    let object = Value::parse(&record.bytes).ok()?.into_object().ok()?;
    if object.need_str("peer").ok()? != INSTALLATION {
        return None;
    }
    PublicKey::parse(object.need_str("key").ok()?).ok()
}

/// The peer whose rows a record of [`SOURCE`] says are kept; `None` if nobody's are to be.
pub fn source_of(record: &Record) -> Option<String> {
    let object = Value::parse(&record.bytes).ok()?.into_object().ok()?;
    object.need_str("peer").ok().map(str::to_owned)
}

fn rows<T: Fields>(bytes: Option<&Vec<u8>>) -> Result<Vec<Kept<T>>, DocumentError> {
    let Some(bytes) = bytes else { return Ok(Vec::new()) };
    Ok(backup::parse_rows(bytes)?.into_iter().collect::<Result<Vec<_>, ShapeError>>()?)
}

//! The configuration that a guest may clone: rows of users, file types, categories, boards and applets, made safe.
//!
//! A real instance loads what it gets by primary key over its own rows, all or nothing. So numbers follow from names, and are far from its
//! own small ones; those of rows that came from it are its own. Users are always told under numbers above a million, also to the
//! instance that they came from, so that a clone writes over no account. Names that are unique stand once, every reference leads
//! to a row that is there, and a row that cannot be loaded is left out.
//! Superusers are left out, passwords are unusable, and only fields that are known pass: what a later version of Axon keeps in a row
//! is not told. An applet is told if all of its code is here: one without an envelope for its holder makes a real instance's
//! own answers fail.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use jiff::tz::Offset;

use super::announce::manifest_for;
use super::rows::{
    BOARD, CATEGORY, FILE_TYPE, MAX_NAME, Model, Numbering, Reference, Told, USER, is_false, number, row, text,
};
use super::{AxonGuest, AxonServe, AxonServeError, warn_of};
use crate::axon::library::{APPLETS, CONFIG, SOURCE, source_of};
use crate::domain::axon::backup::{METADATA, Metadata};
use crate::domain::axon::export::{self, APPLET, Row};
use crate::domain::axon::json::{Object, Value};
use crate::domain::axon::kept::Kept;
use crate::domain::axon::key::Wrapper;
use crate::domain::axon::manifest::ContentType;
use crate::domain::axon::moment;
use crate::domain::axon::uuid::Uuid;
use crate::domain::id::{CollectionId, ContentHash};
use crate::store::axon::Item;
use crate::store::blocking;

/// Columns of an applet that lead to other rows.
const REFERENCES: [(&str, &str); 3] = [("owner", USER.name), ("category", CATEGORY.name), ("event_board", BOARD.name)];

/// An applet as it may be told.
struct AppletRow {
    id: String,
    fields: Object,
    code: Option<ContentHash>,
    /// In the order of [`REFERENCES`].
    references: [Option<Reference>; 3],
}

/// What one shelf has.
struct Source {
    /// Of all but users: nobody's account is written over, because its password would be lost.
    numbering: Numbering,
    rows: Vec<Kept<Row>>,
    applets: Vec<Kept<Metadata>>,
    /// Applets' code that the guest may see.
    code: HashMap<ContentHash, Item>,
}

impl AxonServe {
    /// The configuration for a guest, in the form of a real instance; an empty list if it may have none.
    ///
    /// # Errors
    /// [`AxonServeError`].
    pub async fn config(&self, guest: &AxonGuest) -> Result<String, AxonServeError> {
        if guest.rights.without_config {
            return Ok(export::write(&[]));
        }
        let wrapper = guest.key.wrapper()?;
        let shelves = self.shelves(guest, false).await?;
        let mut sources = Vec::with_capacity(shelves.all.len());
        for shelf in &shelves.all {
            let records = self.store.axon(shelf.collection);
            let from = records.records(SOURCE).await?.pop().and_then(|record| source_of(&record));
            let numbering = match from.as_ref() == Some(&guest.name) {
                true => Numbering::AsThere,
                false => Numbering::ByName,
            };
            let mut source = Source { numbering, rows: Vec::new(), applets: Vec::new(), code: HashMap::new() };
            for record in records.records(CONFIG).await? {
                match export::parse(&record.bytes) {
                    Ok(rows) => source.rows.extend(rows),
                    Err(cause) => warn_of(&record.path, &cause),
                }
            }
            for record in records.records(APPLETS).await? {
                if record.path.ends_with(&format!("/{METADATA}")) {
                    match Kept::parse(&record.bytes) {
                        Ok(applet) => source.applets.push(applet),
                        Err(cause) => warn_of(&record.path, &cause),
                    }
                }
            }
            // Rows name code that no applet of the library has, too: whatever is an applet's code may be told.
            let mut wanted: HashMap<CollectionId, Vec<ContentHash>> = HashMap::new();
            for content_hash in shelf.lines.keys() {
                let seen = shelves.choose(&guest.rights, content_hash);
                if let Some(seen) = seen.filter(|seen| seen.line.kinds.contains(&ContentType::Applet)) {
                    wanted.entry(seen.collection).or_default().push(*content_hash);
                }
            }
            for (collection, hashes) in wanted {
                let items = self.store.axon(collection).some_items(&hashes).await?;
                source.code.extend(items.into_iter().map(|item| (item.content_hash, item)));
            }
            sources.push(source);
        }
        blocking(move || write(&sources, &wrapper)).await
    }
}

fn write(sources: &[Source], guest: &Wrapper) -> Result<String, AxonServeError> {
    let mut told = Told::default();
    let mut applets = BTreeMap::new();
    for source in sources {
        let mut numbers = HashMap::new();
        for model in [&USER, &FILE_TYPE, &CATEGORY, &BOARD] {
            let numbering = if model.name == USER.name { Numbering::ByName } else { source.numbering };
            for row in source.rows.iter().filter(|row| row.model.eq_ignore_ascii_case(model.name)) {
                let Some(pk) = number(&row.pk) else { continue };
                if let Some(number) = told.add(model, pk, numbering, &row.fields) {
                    numbers.insert((model.name, pk), number);
                }
            }
        }
        for AppletRow { id, mut fields, code, references } in applet_rows(source, &mut told) {
            let Some(item) = code.and_then(|code| source.code.get(&code)) else { continue };
            let Some(manifest) = manifest_for(item, guest, ContentType::Applet)? else { continue };
            fields.set("code_manifest", manifest.object().clone());
            for ((field, model), reference) in REFERENCES.into_iter().zip(references) {
                let there = reference.and_then(|reference| match reference {
                    Reference::Told(pk) => Some(pk),
                    Reference::There(pk) => numbers.get(&(model, pk)).copied(),
                });
                let there = there.filter(|pk| told.rows.contains_key(&(model, *pk)));
                fields.set(field, there.map_or(Value::Null, Value::from));
            }
            if fields.get("created_at").and_then(text).and_then(|at| moment::parse(&at)).is_none() {
                fields.set("created_at", django(item.changed_at));
            }
            let name = fields.get("name").and_then(text).unwrap_or_default();
            if !name.is_empty() && name.chars().count() <= MAX_NAME && told.applets.insert(name) {
                applets.entry(id).or_insert(fields);
            }
        }
    }
    let mut rows = told.rows(&[&USER, &FILE_TYPE]);
    rows.extend(applets.into_iter().map(|(id, fields)| row(APPLET, Value::from(id), fields)));
    rows.extend(told.rows(&[&CATEGORY, &BOARD]));
    Ok(export::write(&rows))
}

/// The applets of a shelf: those of the exported rows, and those that are known from elsewhere, with references in words.
fn applet_rows(source: &Source, told: &mut Told) -> Vec<AppletRow> {
    let mut all = Vec::new();
    let mut listed = HashSet::new();
    for row in source.rows.iter().filter(|row| row.model.eq_ignore_ascii_case(APPLET)) {
        let Some(id) = text(&row.pk).and_then(|pk| pk.parse::<Uuid>().ok()) else { continue };
        listed.insert(id.as_str().to_owned());
        if row.fields.get("is_local").is_none_or(is_false) {
            let code = row.fields.get("code_manifest").and_then(|manifest| match manifest {
                Value::Object(manifest) => manifest.get("content_hash").and_then(text)?.parse().ok(),
                _ => None,
            });
            let name = |field: &str| row.fields.get(field).cloned().unwrap_or(Value::Null);
            let references = REFERENCES.map(|(field, _)| row.fields.get(field).and_then(number).map(Reference::There));
            all.push(AppletRow { id: id.as_str().to_owned(), fields: applet_fields(name), code, references });
        }
    }
    for metadata in &source.applets {
        if metadata.is_local || listed.contains(metadata.id.as_str()) {
            continue;
        }
        let mut found = |model: &Model, name: Option<Value>| {
            let name = name.as_ref().and_then(text)?;
            told.named(model, &name)
        };
        let category = found(&CATEGORY, metadata.category.clone().map(Value::from));
        let board = found(&BOARD, metadata.event_board.clone().map(Value::from));
        let owner = told.user_with_key(&metadata.author_pubkey.to_string_lossy());
        let references = [owner, category, board].map(|pk| pk.map(Reference::Told));
        let fields = applet_fields(|field| match field {
            "created_at" => Value::from(django(metadata.created_at)),
            other => metadata.object().get(other).cloned().unwrap_or(Value::Null),
        });
        let code = metadata.code_manifest.as_ref().map(|manifest| manifest.content_hash());
        all.push(AppletRow { id: metadata.id.as_str().to_owned(), fields, code, references });
    }
    all
}

fn applet_fields(value: impl Fn(&str) -> Value) -> Object {
    let or_empty = |name: &str| text(&value(name)).map_or_else(|| Value::from(""), Value::from);
    let mut fields = Object::new();
    for name in ["name", "description", "owner", "author_pubkey", "code_manifest", "parameters", "is_local"] {
        let value = match name {
            "is_local" => Value::Bool(false),
            "parameters" => match value(name) {
                Value::Object(parameters) => parameters.into(),
                _ => Object::new().into(),
            },
            "name" | "description" | "author_pubkey" => or_empty(name),
            _ => value(name),
        };
        fields.set(name, value);
    }
    for name in ["created_at", "category", "is_debug_mode", "event_board", "handles_mime_types"] {
        let value = match name {
            "is_debug_mode" => Value::Bool(value(name) == Value::Bool(true)),
            "handles_mime_types" => or_empty(name),
            _ => value(name),
        };
        fields.set(name, value);
    }
    fields
}

/// A moment as it stands in an exported row: milliseconds, no fraction if there is none.
fn django(at: Timestamp) -> String {
    let civil = Offset::UTC.to_datetime(at);
    let whole = civil.strftime("%Y-%m-%dT%H:%M:%S");
    let nanoseconds = civil.subsec_nanosecond();
    if nanoseconds < 1000 { format!("{whole}Z") } else { format!("{whole}.{:03}Z", nanoseconds / 1_000_000) }
}

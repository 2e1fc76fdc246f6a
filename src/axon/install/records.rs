//! The rows of an installation as records: the five models of an exported configuration, applets, actions, and every table as it
//! stands.
//!
//! ```text
//! tables/<table>/<n>.json    {"table": …, "columns": [{"name", "type"} …], "rows": [[…] …]}, all columns, in pages
//! ```
//!
//! Tables are never given to Axon instances: what those get comes from `config/`, which has no superusers. In the tables there are all
//! users with their password hashes. Private keys are in neither: that of the instance is used and forgotten.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use jiff::Timestamp;
use jiff::tz::Offset;

use super::schema::{RowOf, Schema, uuid};
use crate::axon::library::Applet;
use crate::axon::pull::metadata;
use crate::domain::axon::action::Action;
use crate::domain::axon::backup::{DataRow, HighScore, SharedState};
use crate::domain::axon::export::{APPLET, BOARD, CATEGORY, FILE_TYPE, Row, USER};
use crate::domain::axon::json::{Object, Value};
use crate::domain::axon::kept::{Fields, Kept};
use crate::domain::axon::manifest::{ContentType, Manifest};
use crate::domain::axon::moment;
use crate::domain::axon::uuid::Uuid;
use crate::domain::id::ContentHash;
use crate::domain::text::shown;
use crate::store::axon::Record;
use crate::store::foreign::{Cell, Column, Table};

/// Records of tables.
pub const TABLES: &str = "tables/";
/// Columns with a manifest, by the names that they have had.
const MANIFEST: &[&str] = &["metadata_manifest", "manifest", "bitsync_manifest"];
/// Tables of the web server and of logins: nothing that a BBS would miss.
const NOT_KEPT: [&str; 3] = ["django_session", "authtoken_", "token_blacklist_"];
/// At this length a page of a table ends, in bytes. A document of a snapshot may have 64 MiB.
const PAGE_BYTES: usize = 8 << 20;
/// A longer row is left out, and said to be.
const MAX_ROW_BYTES: usize = 32 << 20;
/// The models that an instance exports, in their order, and the columns of each that name another row.
const EXPORTED: [(&str, &str, &[&str]); 5] = [
    (USER, "user", &[]),
    (FILE_TYPE, "validfiletype", &[]),
    (APPLET, "applet", &["owner_id", "category_id", "event_board_id"]),
    (CATEGORY, "appletcategory", &[]),
    (BOARD, "messageboard", &[]),
];
/// Columns of those that hold JSON.
const JSON: [&str; 4] = ["agent_parameters", "code_manifest", "parameters", "trusted_peers"];

/// Whether a table is read at all.
pub fn is_kept(table: &str) -> bool {
    !NOT_KEPT.iter().any(|name| table.starts_with(name))
}

/// Something that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// What.
    pub subject: String,
    /// Why.
    pub message: String,
}

/// An item that rows name: its manifest, or several if it was sealed more than once.
#[derive(Debug)]
pub struct Named {
    /// The manifests, each for other sealed bytes.
    pub manifests: Vec<Manifest>,
    /// What it is.
    pub kinds: std::collections::BTreeSet<ContentType>,
}

/// The items that rows name.
pub fn items(schema: &Schema, unread: &mut Vec<Unread>) -> BTreeMap<ContentHash, Named> {
    let mut all: BTreeMap<ContentHash, Named> = BTreeMap::new();
    for (model, columns, kind) in [
        ("fileattachment", MANIFEST, ContentType::File),
        ("message", MANIFEST, ContentType::Message),
        ("privatemessage", MANIFEST, ContentType::Pm),
        ("applet", &["code_manifest"], ContentType::Applet),
        ("appletdata", &["data_manifest"], ContentType::AppletData),
    ] {
        for row in schema.rows(model) {
            let manifest = match row.manifest(columns) {
                Ok(Some(manifest)) => manifest,
                Ok(None) => continue,
                Err(why) => {
                    let message = format!("its manifest cannot be read, so its content was not taken: {why}");
                    unread.push(Unread { subject: format!("{model} {}", id_of(&row)), message });
                    continue;
                }
            };
            let named = all.entry(manifest.content_hash());
            let named = named.or_insert_with(|| Named { manifests: Vec::new(), kinds: [].into() });
            named.kinds.insert(kind.clone());
            if !named.manifests.iter().any(|known| known.seals_the_same(&manifest)) {
                named.manifests.push(manifest);
            }
        }
    }
    all
}

fn id_of(row: &RowOf<'_>) -> String {
    row.uuid(&["id"]).map(|id| id.to_string()).or_else(|| row.text(&["id"])).unwrap_or_default()
}

/// The configuration as an instance exports it, superusers and all: to be filtered.
pub fn config(schema: &Schema) -> Vec<Kept<Row>> {
    let mut rows = Vec::new();
    for (model, name, links) in EXPORTED {
        let Some(table) = schema.table(name) else { continue };
        for cells in &table.rows {
            let mut fields = Object::new();
            let mut pk = Value::Null;
            for (column, cell) in table.columns.iter().zip(cells) {
                if column.name.contains("private_key") {
                    continue;
                }
                if column.primary {
                    pk = match uuid(cell) {
                        Some(id) => Value::from(id.as_str()),
                        None => plain(cell),
                    };
                } else if links.contains(&column.name.as_str()) {
                    fields.set(column.name.trim_end_matches("_id"), plain(cell));
                } else {
                    fields.set(column.name.as_str(), exported(column, cell));
                }
            }
            if model == "core.user" {
                fields.set("groups", Vec::new());
                fields.set("user_permissions", Vec::new());
            }
            rows.push(Kept::new(Row { model: model.to_owned(), pk, fields }));
        }
    }
    rows
}

/// A value as an export has it.
fn exported(column: &Column, cell: &Cell) -> Value {
    match cell {
        Cell::Integer(number) if column.kind.starts_with("bool") => Value::Bool(*number != 0),
        Cell::Text(text) if column.kind.starts_with("datetime") => match moment::parse(text) {
            Some(at) => Value::from(milliseconds(at)),
            None => Value::from(text.as_str()),
        },
        Cell::Text(text) if JSON.contains(&column.name.as_str()) => {
            Value::parse(text.as_bytes()).unwrap_or_else(|_| Value::from(text.as_str()))
        }
        cell => plain(cell),
    }
}

/// Milliseconds and `Z`.
fn milliseconds(at: Timestamp) -> String {
    let civil = Offset::UTC.to_datetime(at);
    let whole = civil.strftime("%Y-%m-%dT%H:%M:%S");
    match civil.subsec_nanosecond() / 1000 {
        0 => format!("{whole}Z"),
        micros => format!("{whole}.{:03}Z", micros / 1000),
    }
}

fn plain(cell: &Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Integer(number) => Value::from(*number),
        Cell::Real(number) => Value::Float(*number),
        Cell::Text(text) => Value::from(text.as_str()),
        Cell::Blob(bytes) => Value::Object(Object::new().with("base64", BASE64.encode(bytes))),
    }
}

/// Applets with everything that belongs to them, as backups have them.
pub fn applets(schema: &Schema, config: &[Kept<Row>], unread: &mut Vec<Unread>) -> Vec<(Uuid, Applet)> {
    let users: BTreeMap<String, RowOf<'_>> =
        schema.rows("user").filter_map(|row| Some((row.text(&["id"])?, row))).collect();
    let created: BTreeMap<String, Timestamp> =
        schema.rows("applet").filter_map(|row| Some((id_of(&row), row.moment(&["created_at"])?))).collect();
    let mut applets = Vec::new();
    for row in config.iter().filter(|row| row.model == "applets.applet") {
        let subject = format!("applet {}", row.fields.get("name").map(Value::to_raw_line).unwrap_or_default());
        let mut metadata = match metadata(row, config) {
            Ok(metadata) => metadata,
            Err(cause) => {
                unread
                    .push(Unread { subject, message: format!("its row cannot be read, so it was not taken: {cause}") });
                continue;
            }
        };
        if let Some(at) = created.get(metadata.id.as_str()) {
            metadata.created_at = *at;
        }
        let id = metadata.id.clone();
        let of_it = |model: &'static str| {
            let id = id.clone();
            schema.rows(model).filter(move |row| row.uuid(&["applet_id"]).as_ref() == Some(&id))
        };
        let mut bad = |what: &str| {
            let message = format!("{what} cannot be read, and stands in its table only");
            unread.push(Unread { subject: subject.clone(), message });
        };
        let data = of_it("appletdata").filter_map(|row| {
            let read = data_row(&row, &users);
            if read.is_none() {
                bad("a user's data");
            }
            read
        });
        let data: Vec<_> = data.collect();
        let mut scores: Vec<HighScore> = Vec::new();
        for row in of_it("highscore") {
            match score(&row) {
                Some(score) => scores.push(score),
                None => bad("a score"),
            }
        }
        scores.sort_by_key(|score| std::cmp::Reverse(score.score));
        let mut states: Vec<SharedState> = Vec::new();
        for row in of_it("appletsharedstate") {
            match state(&row) {
                Some(state) => states.push(state),
                None => bad("its shared state"),
            }
        }
        let state = states.into_iter().max_by_key(|state| state.version);
        applets.push((
            id,
            Applet {
                metadata: Kept::new(metadata),
                data,
                scores: scores.into_iter().map(Kept::new).collect(),
                state: state.map(Kept::new),
            },
        ));
    }
    applets
}

fn data_row(row: &RowOf<'_>, users: &BTreeMap<String, RowOf<'_>>) -> Option<Kept<DataRow>> {
    let user = users.get(&row.text(&["owner_id"])?)?;
    Some(Kept::new(DataRow {
        id: row.uuid(&["id"])?,
        owner_username: user.text(&["username"])?.into(),
        owner_pubkey: user.text(&["pubkey"]).unwrap_or_default().into(),
        data_manifest: row.manifest(&["data_manifest"]).ok()??,
        last_updated: row.moment(&["last_updated"])?,
    }))
}

fn score(row: &RowOf<'_>) -> Option<HighScore> {
    Some(HighScore {
        owner_pubkey: row.text(&["owner_pubkey"])?.into(),
        owner_nickname: row.text(&["owner_nickname"]).unwrap_or_default().into(),
        score: row.int(&["score"])?,
        wins: row.int(&["wins"]),
        losses: row.int(&["losses"]),
        kills: row.int(&["kills"]),
        deaths: row.int(&["deaths"]),
        assists: row.int(&["assists"]),
        last_updated: row.moment(&["last_updated"])?,
    })
}

fn state(row: &RowOf<'_>) -> Option<SharedState> {
    Some(SharedState {
        state_data: row.object(&["state_data"])?,
        version: row.int(&["version"]).unwrap_or(0),
        last_updated: row.moment(&["last_updated"])?,
    })
}

/// Actions that an instance tells others: those that are approved.
pub fn actions(schema: &Schema, unread: &mut Vec<Unread>) -> Vec<Kept<Action>> {
    let mut actions = Vec::new();
    for row in schema.rows("federatedaction") {
        if row.text(&["status"]).is_some_and(|status| status != "approved") {
            continue;
        }
        let text = |name: &str| row.text(&[name]).map_or(Value::Null, Value::from);
        let object = Object::new()
            .with("id", id_of(&row))
            .with("action_type", text("action_type"))
            .with("pubkey_target", text("pubkey_target"))
            .with("content_hash_target", text("content_hash_target"))
            .with("action_details", row.object(&["action_details"]).unwrap_or_default())
            .with("created_at", row.moment(&["created_at"]).map_or(Value::Null, |at| moment::format(at).into()));
        match Action::read(&object) {
            Ok(action) => actions.push(Kept::new(action)),
            Err(cause) => unread.push(Unread {
                subject: format!("action {}", id_of(&row)),
                message: format!("it cannot be read, and stands in its table only: {cause}"),
            }),
        }
    }
    actions
}

/// Every table as it stands, without private keys.
pub fn tables(schema: &Schema, unread: &mut Vec<Unread>, now: Timestamp) -> Vec<Record> {
    let sound = |name: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        !name.is_empty() && name.len() < 100 && name.chars().all(plain)
    };
    let mut records = Vec::new();
    for table in &schema.tables {
        if !sound(&table.name) {
            let message = "its name can be that of no document, so it was left out".to_owned();
            unread.push(Unread { subject: format!("table {:?}", table.name), message });
            continue;
        }
        let (mut page, mut bytes, mut number) = (Vec::new(), 0, 0);
        let mut turn = |page: &mut Vec<String>| {
            let path = format!("{TABLES}{}/{number}.json", table.name);
            let text = format!("{}[{}]}}", before_rows(table), page.join(",\n"));
            records.push(Record { path, bytes: text.into_bytes(), changed_at: now });
            page.clear();
            number += 1;
        };
        for (at, cells) in table.rows.iter().enumerate() {
            let values = table.columns.iter().zip(cells).map(|(column, cell)| kept_value(&column.name, cell));
            let line = Value::List(values.collect()).to_raw_line();
            if line.len() > MAX_ROW_BYTES {
                let message = format!("row {} is longer than 32 MiB, and was left out", at + 1);
                unread.push(Unread { subject: format!("table {}", table.name), message });
                continue;
            }
            if bytes + line.len() > PAGE_BYTES && !page.is_empty() {
                turn(&mut page);
                bytes = 0;
            }
            bytes += line.len();
            page.push(line);
        }
        turn(&mut page);
    }
    records
}

fn before_rows(table: &Table) -> String {
    let column = |column: &Column| {
        Value::Object(Object::new().with("name", column.name.as_str()).with("type", column.kind.as_str()))
    };
    let columns = Value::List(table.columns.iter().map(column).collect());
    let name = Value::from(table.name.as_str());
    format!("{{\"table\": {}, \"columns\": {},\n\"rows\": ", name.to_raw_line(), columns.to_raw_line())
}

/// Private keys are kept nowhere; when a peer was asked last changes every two minutes, and nobody restores it.
fn kept_value(column: &str, cell: &Cell) -> Value {
    if column.contains("private_key") || column == "last_synced_at" { Value::Null } else { plain(cell) }
}

/// The rooms of each applet with their shared states: read from the pages of a table. What cannot be read is told.
pub fn rooms(records: &[Record], unread: &mut Vec<Unread>) -> BTreeMap<String, Vec<(String, SharedState)>> {
    let mut rooms: BTreeMap<String, Vec<(String, SharedState)>> = BTreeMap::new();
    for record in records.iter().filter(|record| record.path.contains("_appletsharedstate/")) {
        let mut bad = |what: &str| {
            let message = format!("{what} cannot be read, so it is not known which rooms shared states are of");
            unread.push(Unread { subject: format!("record {}", shown(&record.path)), message });
        };
        let Some(states) = states(record) else {
            bad("it");
            continue;
        };
        for (at, state) in states.into_iter().enumerate() {
            match state {
                Some((applet, room, state)) => rooms.entry(applet.to_string()).or_default().push((room, state)),
                None => bad(&format!("its row {}", at + 1)),
            }
        }
    }
    rooms
}

/// The applet, the room and the state of each row of a page; nothing for a row that cannot be read.
fn states(record: &Record) -> Option<Vec<Option<(Uuid, String, SharedState)>>> {
    let Value::Object(page) = Value::parse(&record.bytes).ok()? else { return None };
    let (Value::List(columns), Value::List(rows)) = (page.get("columns")?, page.get("rows")?) else { return None };
    let named = |name: &str| {
        columns.iter().position(|column| match column {
            Value::Object(column) => column.get("name") == Some(&Value::from(name)),
            _ => false,
        })
    };
    let (applet, room) = (named("applet_id")?, named("room_id")?);
    let (data, changed, version) = (named("state_data")?, named("last_updated")?, named("version"));
    let state = |row: &Value| {
        let Value::List(row) = row else { return None };
        let text = |at: usize| match row.get(at) {
            Some(Value::Text(text)) => Some(text.to_string_lossy().into_owned()),
            _ => None,
        };
        let Ok(Value::Object(state_data)) = Value::parse(text(data)?.as_bytes()) else { return None };
        let version = version.and_then(|at| row.get(at)).and_then(|it| it.to_raw_line().parse().ok()).unwrap_or(0);
        let state = SharedState { state_data, version, last_updated: moment::parse(&text(changed)?)? };
        Some((uuid(&Cell::Text(text(applet)?))?, text(room)?, state))
    };
    Some(rows.iter().map(state).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_whose_rooms_cannot_be_read_are_told() {
        let page = |path: &str, text: &str| Record {
            path: path.to_owned(),
            bytes: text.as_bytes().to_vec(),
            changed_at: Timestamp::UNIX_EPOCH,
        };
        let columns =
            ["applet_id", "room_id", "state_data", "last_updated"].map(|name| format!(r#"{{"name": "{name}"}}"#));
        let row =
            |state: &str| format!(r#"["11111111222243338444555555555555", "arena", "{state}", "2026-01-01 00:00:00"]"#);
        let text = format!(r#"{{"columns": [{}], "rows": [{}, {}]}}"#, columns.join(", "), row("{}"), row("{cut"));
        let pages = [
            page("tables/applets_appletsharedstate/0.json", &text),
            page("tables/applets_appletsharedstate/1.json", r#"{"columns": [], "rows": []}"#),
            page("tables/core_user/0.json", "no page of it"),
        ];
        let mut unread = Vec::new();
        let rooms = rooms(&pages, &mut unread);
        assert_eq!(rooms["11111111-2222-4333-8444-555555555555"].len(), 1);
        let told: Vec<String> = unread.iter().map(|it| format!("{}: {}", it.subject, it.message)).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].contains("sharedstate/0.json: its row 2 cannot")
                && told[1].contains("sharedstate/1.json: it cannot")
        );
    }
}

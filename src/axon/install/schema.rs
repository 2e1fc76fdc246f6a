//! The tables of an installation by the names of their Django models, whatever app they belong to, and their values.
//!
//! Columns that a version has or has not are asked for by all names that are known; those that nobody asks for stay in the rows.

use jiff::Timestamp;

use crate::domain::axon::json::{Object, Value};
use crate::domain::axon::manifest::Manifest;
use crate::domain::axon::moment;
use crate::domain::axon::uuid::Uuid;
use crate::store::foreign::{Cell, Table};

/// Models and the apps that have had them, the newest first.
const MODELS: [(&str, &[&str]); 13] = [
    ("user", &["core", "accounts", "auth"]),
    ("trustedinstance", &["core", "federation"]),
    ("validfiletype", &["core"]),
    ("fileattachment", &["core", "messaging"]),
    ("messageboard", &["messaging", "core"]),
    ("message", &["messaging", "core"]),
    ("privatemessage", &["messaging", "core"]),
    ("appletcategory", &["applets", "core"]),
    ("applet", &["applets", "core"]),
    ("appletdata", &["applets", "core"]),
    ("appletsharedstate", &["applets", "core"]),
    ("highscore", &["applets", "core"]),
    ("federatedaction", &["federation", "core"]),
];

/// Everything that was read.
#[derive(Debug)]
pub struct Schema {
    /// All tables.
    pub tables: Vec<Table>,
}

/// A row of one table.
#[derive(Debug, Clone, Copy)]
pub struct RowOf<'a> {
    table: &'a Table,
    cells: &'a [Cell],
}

impl Schema {
    /// The table of a model.
    pub fn table(&self, model: &str) -> Option<&Table> {
        let apps = MODELS.iter().find(|(name, _)| *name == model).map_or(&[][..], |(_, apps)| *apps);
        let of = |name: &str| name.rsplit_once('_').filter(|(_, last)| *last == model).map(|(app, _)| app.to_owned());
        let rank = |app: &str| apps.iter().position(|known| *known == app).unwrap_or(usize::MAX);
        let candidates = self.tables.iter().filter_map(|table| of(&table.name).map(|app| (rank(&app), table)));
        // A table that a renaming left behind is empty.
        candidates.min_by_key(|(rank, table)| (table.rows.is_empty(), *rank)).map(|(_, table)| table)
    }

    /// The rows of a model; none if there is no such table.
    pub fn rows(&self, model: &str) -> impl Iterator<Item = RowOf<'_>> {
        let table = self.table(model);
        table.into_iter().flat_map(|table| table.rows.iter().map(move |cells| RowOf { table, cells }))
    }

    /// Models that have no table here.
    pub fn missing(&self) -> Vec<&'static str> {
        MODELS.iter().map(|(model, _)| *model).filter(|model| self.table(model).is_none()).collect()
    }
}

impl<'a> RowOf<'a> {
    /// The first of these columns that there is and that has a value.
    pub fn get(&self, names: &[&str]) -> Option<&'a Cell> {
        let at = |name: &&str| self.table.columns.iter().position(|column| column.name == **name);
        names.iter().filter_map(at).map(|at| &self.cells[at]).find(|cell| **cell != Cell::Null)
    }

    /// A text; numbers are written out.
    pub fn text(&self, names: &[&str]) -> Option<String> {
        text(self.get(names)?)
    }

    /// A whole number.
    pub fn int(&self, names: &[&str]) -> Option<i64> {
        match self.get(names)? {
            Cell::Integer(number) => Some(*number),
            Cell::Real(number) if number.fract() == 0.0 => Some(*number as i64),
            Cell::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// A flag; not there is no.
    pub fn flag(&self, names: &[&str]) -> bool {
        match self.get(names) {
            Some(Cell::Text(text)) => matches!(text.as_str(), "1" | "true" | "True" | "t"),
            _ => self.int(names).is_some_and(|number| number != 0),
        }
    }

    /// A moment.
    pub fn moment(&self, names: &[&str]) -> Option<Timestamp> {
        moment::parse(&self.text(names)?)
    }

    /// A UUID, as 32 hex digits or with dashes.
    pub fn uuid(&self, names: &[&str]) -> Option<Uuid> {
        uuid(self.get(names)?)
    }

    /// JSON.
    pub fn json(&self, names: &[&str]) -> Option<Value> {
        Value::parse(self.text(names)?.as_bytes()).ok()
    }

    /// A JSON object.
    pub fn object(&self, names: &[&str]) -> Option<Object> {
        match self.json(names)? {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    /// A manifest; nothing where there is none, or an empty one.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn manifest(&self, names: &[&str]) -> Result<Option<Manifest>, String> {
        let Some(text) = self.text(names).filter(|text| !text.trim().is_empty()) else { return Ok(None) };
        match Value::parse(text.as_bytes()) {
            Ok(Value::Null) => Ok(None),
            Ok(Value::Object(object)) if object.is_empty() => Ok(None),
            Ok(Value::Object(object)) => Manifest::from_object(object).map(Some).map_err(|cause| cause.to_string()),
            Ok(_) => Err("it is no JSON object".to_owned()),
            Err(cause) => Err(cause.to_string()),
        }
    }
}

/// A cell as text.
pub fn text(cell: &Cell) -> Option<String> {
    match cell {
        Cell::Null | Cell::Blob(_) => None,
        Cell::Integer(number) => Some(number.to_string()),
        Cell::Real(number) => Some(number.to_string()),
        Cell::Text(text) => Some(text.clone()),
    }
}

/// A cell as UUID.
pub fn uuid(cell: &Cell) -> Option<Uuid> {
    let text = text(cell)?;
    if text.len() == 32 && text.is_ascii() {
        let groups = [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]];
        return groups.join("-").parse().ok();
    }
    text.parse().ok()
}

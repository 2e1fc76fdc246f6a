//! Rows of applets as a stopped Axon BBS gets them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::Offset;

use super::InstallError;
use super::placing::Ready;
use super::put::PutReport;
use super::schema::{RowOf, Schema};
use crate::domain::axon::backup::{HighScore, SharedState};
use crate::domain::axon::json::Value;
use crate::domain::axon::uuid::Uuid;
use crate::store::entropy;
use crate::store::foreign::{Cell, Column, ForeignChange, Table};

/// Rows that are inserted.
pub(super) struct Rows<'a> {
    pub schema: Schema,
    pub now: Timestamp,
    pub change: &'a mut ForeignChange,
    /// Applets, and what was left out of them.
    pub told: Vec<(String, String)>,
}

/// How much there was before an applet.
pub(super) struct Mark {
    rows: Vec<usize>,
    told: usize,
}

impl Rows<'_> {
    /// Begins an applet.
    pub(super) async fn mark(&mut self) -> Result<Mark, InstallError> {
        self.change.mark().await?;
        Ok(Mark { rows: self.schema.tables.iter().map(|table| table.rows.len()).collect(), told: self.told.len() })
    }

    /// Takes everything of an applet back.
    pub(super) async fn back(&mut self, mark: Mark) -> Result<(), InstallError> {
        for (table, rows) in self.schema.tables.iter_mut().zip(mark.rows) {
            table.rows.truncate(rows);
        }
        self.told.truncate(mark.told);
        Ok(self.change.back().await?)
    }

    pub(super) async fn applet(&mut self, ready: Ready, report: &mut PutReport) -> Result<(), InstallError> {
        let Ready { applet, code, data, states } = ready;
        let metadata = &applet.metadata;
        // As it is reported, and only there: in its row it stays as it is.
        let name = applet.shown();
        let category = match &metadata.category {
            Some(category) if self.has("appletcategory", &name, "its category") => {
                Some(self.named("appletcategory", &category.to_string_lossy()).await?)
            }
            _ => None,
        };
        let board = match &metadata.event_board {
            Some(board) if self.has("messageboard", &name, "its board of events") => {
                Some(self.named("messageboard", &board.to_string_lossy()).await?)
            }
            _ => None,
        };
        let author = metadata.author_pubkey.to_string_lossy().into_owned();
        let owner = if author.is_empty() { None } else { self.user(&author) };
        let id = metadata.id.as_str();
        let code = code.map_or_else(|| "{}".to_owned(), |manifest| manifest.to_value().to_line());
        let values = [
            ("id", Cell::Text(id.to_owned())),
            ("name", Cell::Text(metadata.name.to_string_lossy().into_owned())),
            ("description", Cell::Text(metadata.description.to_string_lossy().into_owned())),
            ("owner_id", owner.unwrap_or(Cell::Null)),
            ("author_pubkey", Cell::Text(author)),
            ("code_manifest", Cell::Text(code)),
            ("parameters", Cell::Text(Value::Object(metadata.parameters.clone()).to_line())),
            ("is_local", Cell::Integer(metadata.is_local.into())),
            ("created_at", moment(metadata.created_at)),
            ("category_id", category.unwrap_or(Cell::Null)),
            ("is_debug_mode", Cell::Integer(metadata.is_debug_mode.into())),
            ("event_board_id", board.unwrap_or(Cell::Null)),
            ("handles_mime_types", Cell::Text(metadata.handles_mime_types.to_string_lossy().into_owned())),
        ];
        self.insert("applet", &values).await?;
        let data = if data.is_empty() || self.has("appletdata", &name, "users' data") { data } else { Vec::new() };
        let mut owners: Vec<Cell> = Vec::new();
        for (at, manifest) in data {
            let row = &applet.data[at];
            let whose = row.owner_username.to_string_lossy().into_owned();
            let Some(owner) = self.user(&row.owner_pubkey.to_string_lossy()) else {
                let message = format!("the data of {whose:?} was left out: the BBS has no user with that key");
                self.told.push((name.clone(), message));
                continue;
            };
            if self.is_taken("appletdata", row.id.as_str()) {
                let message = format!("the data of {whose:?} was left out: other data has its id there");
                self.told.push((name.clone(), message));
                continue;
            }
            if owners.contains(&owner) {
                let message =
                    format!("the data of {whose:?} was left out: other data of this applet has the same user's key");
                self.told.push((name.clone(), message));
                continue;
            }
            owners.push(owner.clone());
            let values = [
                ("id", Cell::Text(row.id.as_str().to_owned())),
                ("applet_id", Cell::Text(id.to_owned())),
                ("owner_id", owner),
                ("data_manifest", Cell::Text(manifest.to_value().to_line())),
                ("last_updated", moment(row.last_updated)),
            ];
            self.insert("appletdata", &values).await?;
            report.data += 1;
        }
        // One for each user.
        let mut scores: Vec<&HighScore> = applet.scores.iter().map(|score| &**score).collect();
        scores.sort_by_key(|score| std::cmp::Reverse(score.score));
        let scores = if scores.is_empty() || self.has("highscore", &name, "scores") { scores } else { Vec::new() };
        let mut owners = BTreeSet::new();
        for score in scores {
            if owners.insert(score.owner_pubkey.to_string_lossy().into_owned()) {
                self.score(id, score).await?;
                report.scores += 1;
            } else {
                let whose = score.owner_nickname.to_string_lossy();
                let message =
                    format!("the score {} of {whose:?} was left out: the same user has a higher one", score.score);
                self.told.push((name.clone(), message));
            }
        }
        for (room, state) in &states {
            if self.state(&name, id, state, room.clone()).await? {
                report.states += 1;
            }
        }
        report.restored.push(name);
        Ok(())
    }

    async fn score(&mut self, applet: &str, score: &HighScore) -> Result<(), InstallError> {
        let number = |number: Option<i64>| number.map_or(Cell::Null, Cell::Integer);
        let values = [
            ("applet_id", Cell::Text(applet.to_owned())),
            ("owner_pubkey", Cell::Text(score.owner_pubkey.to_string_lossy().into_owned())),
            ("owner_nickname", Cell::Text(score.owner_nickname.to_string_lossy().into_owned())),
            ("score", Cell::Integer(score.score)),
            ("wins", number(score.wins)),
            ("losses", number(score.losses)),
            ("kills", number(score.kills)),
            ("deaths", number(score.deaths)),
            ("assists", number(score.assists)),
            ("last_updated", moment(score.last_updated)),
        ];
        self.insert("highscore", &values).await
    }

    /// Answers whether it was put back.
    async fn state(
        &mut self,
        name: &str,
        applet: &str,
        state: &SharedState,
        room: Option<String>,
    ) -> Result<bool, InstallError> {
        if !self.has("appletsharedstate", name, "its shared state") {
            return Ok(false);
        }
        let room = room.filter(|room| !room.is_empty()).unwrap_or_else(|| applet.to_owned());
        if self.schema.rows("appletsharedstate").any(|row| row.text(&["room_id"]).as_ref() == Some(&room)) {
            let message = format!("its shared state was left out: the BBS has one of the room {room:?}, which stays");
            self.told.push((name.to_owned(), message));
            return Ok(false);
        }
        let values = [
            ("id", Cell::Text(Uuid::random(&mut entropy()).as_str().to_owned())),
            ("applet_id", Cell::Text(applet.to_owned())),
            ("room_id", Cell::Text(room)),
            ("state_data", Cell::Text(Value::Object(state.state_data.clone()).to_line())),
            ("version", Cell::Integer(state.version)),
            ("last_updated", moment(state.last_updated)),
        ];
        self.insert("appletsharedstate", &values).await?;
        Ok(true)
    }

    /// Whether this version of the BBS has a table of these; what is left out if it has none is told.
    fn has(&mut self, model: &str, applet: &str, what: &str) -> bool {
        let has = self.schema.table(model).is_some();
        if !has {
            let message = format!("left out: {what}; this version of the BBS has no table of that");
            self.told.push((applet.to_owned(), message));
        }
        has
    }

    /// The primary key of the user with exactly this key.
    fn user(&self, pubkey: &str) -> Option<Cell> {
        let mut users = self.schema.rows("user").filter(|row| row.text(&["pubkey"]).as_deref() == Some(pubkey));
        users.next().and_then(|row| row.get(&["id"])).cloned()
    }

    fn is_taken(&self, model: &str, id: &str) -> bool {
        self.schema.rows(model).any(|row| row.uuid(&["id"]).is_some_and(|known| known.as_str() == id))
    }

    /// The primary key of the row with this name; made if there is none.
    async fn named(&mut self, model: &'static str, name: &str) -> Result<Cell, InstallError> {
        let is_it = |row: &RowOf<'_>| row.text(&["name"]).as_deref() == Some(name);
        if let Some(row) = self.schema.rows(model).find(is_it) {
            return Ok(row.get(&["id"]).cloned().unwrap_or(Cell::Null));
        }
        self.insert(model, &[("name", Cell::Text(name.to_owned()))]).await?;
        let made = self.schema.rows(model).find(is_it).and_then(|row| row.get(&["id"]).cloned());
        Ok(made.unwrap_or(Cell::Null))
    }

    /// Inserts a row: what is said, and for what must be there and is not said, what Axon has at the beginning.
    async fn insert(&mut self, model: &'static str, values: &[(&str, Cell)]) -> Result<(), InstallError> {
        let Some(table) = self.schema.table(model) else {
            return Err(InstallError::NoTable { model });
        };
        let name = table.name.clone();
        let mut row = Vec::new();
        let mut cells = Vec::new();
        for column in &table.columns {
            let said = values.iter().find(|(name, _)| *name == column.name).map(|(_, cell)| cell.clone());
            let cell = match said {
                Some(cell) => Some(as_column(column, cell)),
                None if column.primary => None,
                None if column.required => Some(at_the_beginning(column, self.now)),
                None => None,
            };
            cells.push(cell.clone().unwrap_or(Cell::Null));
            row.extend(cell.map(|cell| (column.name.clone(), cell)));
        }
        let key = self.change.insert(&name, &row).await?;
        let table: &mut Table =
            self.schema.tables.iter_mut().find(|table| table.name == name).expect("it was there a moment ago");
        let numbered = table.columns.iter().position(|column| column.primary && column.kind.contains("int"));
        if let Some(at) = numbered.filter(|at| cells[*at] == Cell::Null) {
            cells[at] = Cell::Integer(key);
        }
        table.rows.push(cells);
        Ok(())
    }
}

/// UUIDs as the column has them.
fn as_column(column: &Column, cell: Cell) -> Cell {
    let is_id = column.name == "id" || column.name.ends_with("_id");
    match &cell {
        Cell::Text(id) if is_id && column.kind == "char(32)" && id.parse::<Uuid>().is_ok() => {
            Cell::Text(id.replace('-', ""))
        }
        // What a version requires and a backup has not.
        Cell::Null if column.required => Cell::Text(String::new()),
        _ => cell,
    }
}

/// What a row of Axon has there if nobody says anything.
fn at_the_beginning(column: &Column, now: Timestamp) -> Cell {
    let number = |number| Cell::Integer(number);
    match column.name.as_str() {
        "required_access_level" | "access_level" => number(10),
        "message_retention_days" => number(30),
        "local_poll_interval" | "federation_poll_interval" => number(5),
        "trusted_peers" => Cell::Text("[]".to_owned()),
        "parameters" | "agent_parameters" | "state_data" => Cell::Text("{}".to_owned()),
        _ if column.kind.contains("date") || column.kind.contains("time") => moment(now),
        _ if ["bool", "int", "real", "decimal"].iter().any(|kind| column.kind.contains(kind)) => number(0),
        _ => Cell::Text(String::new()),
    }
}

/// A moment as Django writes it into SQLite.
fn moment(at: Timestamp) -> Cell {
    let civil = Offset::UTC.to_datetime(at);
    let whole = civil.strftime("%Y-%m-%d %H:%M:%S").to_string();
    Cell::Text(match civil.subsec_nanosecond() / 1000 {
        0 => whole,
        micros => format!("{whole}.{micros:06}"),
    })
}

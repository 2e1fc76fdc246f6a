//! The JSON files of a backup directory: `backup_manifest.json`, and for each applet `metadata.json`, `applet_data.json`,
//! `high_scores.json`, `shared_state.json`.
//!
//! All of them are written as [`Value::to_indented`], fields in Axon's order, no newline at the end. Names in them are not
//! paths: [`applet_folder`] and [`owner_folder`] say which folder belongs to one, if any can.

use jiff::Timestamp;

use super::json::{Object, ShapeError, Text, Value};
use super::kept::{DocumentError, Fields, Kept};
use super::manifest::Manifest;
use super::moment;
use super::payload::need_uuid;
use super::uuid::Uuid;

/// The file that makes a directory a backup.
pub const BACKUP_MANIFEST: &str = "backup_manifest.json";
/// In an applet's folder: the applet itself.
pub const METADATA: &str = "metadata.json";
/// In an applet's folder: its users' data, if there is any.
pub const APPLET_DATA: &str = "applet_data.json";
/// In an applet's folder: its scores, if there are any.
pub const HIGH_SCORES: &str = "high_scores.json";
/// In an applet's folder: what its users share, if there is anything.
pub const SHARED_STATE: &str = "shared_state.json";
/// In an applet's folder: the chunks of its code, `<i>.chunk`.
pub const CHUNKS: &str = "chunks";
/// In an applet's folder: for each user a folder of chunks.
pub const DATA_CHUNKS: &str = "data_chunks";
/// Longest name of a folder, in bytes.
const MAX_FOLDER_NAME: usize = 255;

/// A name that can belong to no folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this name cannot be that of a folder: it is empty, a dot or two, over 255 bytes, or has a slash, a backslash or a zero byte in it"
)]
pub struct NotAFolder;

/// The folder of an applet: its name with `_` for each slash and space. Two applets can have one folder.
///
/// # Errors
/// [`NotAFolder`].
pub fn applet_folder(name: &str) -> Result<String, NotAFolder> {
    owner_folder(&name.replace(['/', ' '], "_"))
}

/// The folder of a user's data: the name as it is.
///
/// # Errors
/// [`NotAFolder`].
pub fn owner_folder(username: &str) -> Result<String, NotAFolder> {
    let bad = matches!(username, "" | "." | "..") || username.contains(['/', '\\', '\0']);
    if bad || username.len() > MAX_FOLDER_NAME { Err(NotAFolder) } else { Ok(username.to_owned()) }
}

/// The name of the chunk file with this place.
pub fn chunk_file(index: usize) -> String {
    format!("{index}.chunk")
}

/// Reads a file that holds one object.
///
/// # Errors
/// [`DocumentError`].
pub fn parse_one<T: Fields>(bytes: &[u8]) -> Result<Kept<T>, DocumentError> {
    Kept::parse(bytes)
}

/// Reads a file that holds an array, each row by itself: one that cannot be read does not hold up the others.
///
/// # Errors
/// If it is not a JSON array.
pub fn parse_rows<T: Fields>(bytes: &[u8]) -> Result<Vec<Result<Kept<T>, ShapeError>>, DocumentError> {
    Ok(Value::parse(bytes)?.into_list()?.into_iter().map(Kept::from_value).collect())
}

/// Writes a file that holds one object.
pub fn write_one<T: Fields>(it: &Kept<T>) -> String {
    it.to_value().to_indented()
}

/// Writes a file that holds an array.
pub fn write_rows<T: Fields>(rows: &[Kept<T>]) -> String {
    Value::List(rows.iter().map(Kept::to_value).collect()).to_indented()
}

/// `backup_manifest.json`. A restore needs its date alone; names and totals may be wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct BackupManifest {
    /// Local time of its maker, `YYYYMMDD_HHMMSS`, no zone; part of the directory's name.
    pub backup_date: Text,
    /// How many applets.
    pub total_applets: i64,
    /// How many chunks of code.
    pub total_chunks: i64,
    /// How many users' data.
    pub total_data_instances: i64,
    /// How many scores.
    pub total_high_scores: i64,
    /// The applets' names.
    pub applets: Vec<Text>,
}

impl Fields for BackupManifest {
    fn read(object: &Object) -> Result<Self, ShapeError> {
        let applets = match object.get("applets") {
            None => Vec::new(),
            Some(_) => texts(object.need_list("applets")?, "applets")?,
        };
        Ok(Self {
            backup_date: object.need_text("backup_date")?.clone(),
            total_applets: object.optional_int("total_applets")?.unwrap_or(0),
            total_chunks: object.optional_int("total_chunks")?.unwrap_or(0),
            total_data_instances: object.optional_int("total_data_instances")?.unwrap_or(0),
            total_high_scores: object.optional_int("total_high_scores")?.unwrap_or(0),
            applets,
        })
    }

    fn write(&self) -> Object {
        Object::new()
            .with("backup_date", self.backup_date.clone())
            .with("total_applets", self.total_applets)
            .with("total_chunks", self.total_chunks)
            .with("total_data_instances", self.total_data_instances)
            .with("total_high_scores", self.total_high_scores)
            .with("applets", self.applets.iter().cloned().map(Value::from).collect::<Vec<_>>())
    }
}

fn texts(values: &[Value], field: &'static str) -> Result<Vec<Text>, ShapeError> {
    let texts = values.iter().map(|value| match value {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    });
    texts.collect::<Option<_>>().ok_or(ShapeError::Unexpected { field, expected: "an array of strings" })
}

/// `metadata.json`: an applet.
#[derive(Debug, Clone, PartialEq)]
pub struct Metadata {
    /// Its id, kept by a restore.
    pub id: Uuid,
    /// Its name, one of its kind on an instance.
    pub name: Text,
    /// What it is.
    pub description: Text,
    /// Its author's key as free text: may be empty, or PEM with CRLF.
    pub author_pubkey: Text,
    /// Its code; none if the applet has no code.
    pub code_manifest: Option<Manifest>,
    /// Its settings.
    pub parameters: Object,
    /// Whether it is never announced.
    pub is_local: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its category's name.
    pub category: Option<Text>,
    /// Whether it shows what it does.
    pub is_debug_mode: bool,
    /// The name of the board for its events.
    pub event_board: Option<Text>,
    /// MIME types that it opens, with commas between them.
    pub handles_mime_types: Text,
}

impl Fields for Metadata {
    fn read(object: &Object) -> Result<Self, ShapeError> {
        let code = object.need_object("code_manifest")?;
        let code_manifest = if code.is_empty() { None } else { Some(Manifest::from_object(code.clone())?) };
        Ok(Self {
            id: need_uuid(object, "id")?,
            name: object.need_text("name")?.clone(),
            description: object.need_text("description")?.clone(),
            author_pubkey: object.need_text("author_pubkey")?.clone(),
            code_manifest,
            parameters: object.need_object("parameters")?.clone(),
            is_local: object.need_bool("is_local")?,
            created_at: object.need_moment("created_at")?,
            category: object.optional_text("category")?.cloned(),
            is_debug_mode: object.need_bool("is_debug_mode")?,
            event_board: object.optional_text("event_board")?.cloned(),
            handles_mime_types: object.optional_text("handles_mime_types")?.cloned().unwrap_or_default(),
        })
    }

    fn write(&self) -> Object {
        let code = self.code_manifest.as_ref().map_or_else(Object::new, |manifest| manifest.object().clone());
        Object::new()
            .with("id", self.id.as_str())
            .with("name", self.name.clone())
            .with("description", self.description.clone())
            .with("author_pubkey", self.author_pubkey.clone())
            .with("code_manifest", code)
            .with("parameters", self.parameters.clone())
            .with("is_local", self.is_local)
            .with("created_at", moment::format(self.created_at))
            .with("category", self.category.clone())
            .with("is_debug_mode", self.is_debug_mode)
            .with("event_board", self.event_board.clone())
            .with("handles_mime_types", self.handles_mime_types.clone())
    }
}

/// A row of `applet_data.json`: one user's data.
#[derive(Debug, Clone, PartialEq)]
pub struct DataRow {
    /// Its id.
    pub id: Uuid,
    /// The user's name: also the name of the folder of chunks.
    pub owner_username: Text,
    /// The user's key.
    pub owner_pubkey: Text,
    /// The data.
    pub data_manifest: Manifest,
    /// When it was saved last.
    pub last_updated: Timestamp,
}

impl Fields for DataRow {
    fn read(object: &Object) -> Result<Self, ShapeError> {
        Ok(Self {
            id: need_uuid(object, "id")?,
            owner_username: object.need_text("owner_username")?.clone(),
            owner_pubkey: object.need_text("owner_pubkey")?.clone(),
            data_manifest: Manifest::from_object(object.need_object("data_manifest")?.clone())?,
            last_updated: object.need_moment("last_updated")?,
        })
    }

    fn write(&self) -> Object {
        Object::new()
            .with("id", self.id.as_str())
            .with("owner_username", self.owner_username.clone())
            .with("owner_pubkey", self.owner_pubkey.clone())
            .with("data_manifest", self.data_manifest.object().clone())
            .with("last_updated", moment::format(self.last_updated))
    }
}

/// A row of `high_scores.json`; the highest score stands first.
#[derive(Debug, Clone, PartialEq)]
pub struct HighScore {
    /// The user's key.
    pub owner_pubkey: Text,
    /// The user's shown name.
    pub owner_nickname: Text,
    /// The score.
    pub score: i64,
    /// Games won.
    pub wins: Option<i64>,
    /// Games lost.
    pub losses: Option<i64>,
    /// As the game counts them.
    pub kills: Option<i64>,
    /// As the game counts them.
    pub deaths: Option<i64>,
    /// As the game counts them.
    pub assists: Option<i64>,
    /// When it was reached.
    pub last_updated: Timestamp,
}

impl Fields for HighScore {
    fn read(object: &Object) -> Result<Self, ShapeError> {
        Ok(Self {
            owner_pubkey: object.need_text("owner_pubkey")?.clone(),
            owner_nickname: object.need_text("owner_nickname")?.clone(),
            score: object.need_int("score")?,
            wins: object.optional_int("wins")?,
            losses: object.optional_int("losses")?,
            kills: object.optional_int("kills")?,
            deaths: object.optional_int("deaths")?,
            assists: object.optional_int("assists")?,
            last_updated: object.need_moment("last_updated")?,
        })
    }

    fn write(&self) -> Object {
        Object::new()
            .with("owner_pubkey", self.owner_pubkey.clone())
            .with("owner_nickname", self.owner_nickname.clone())
            .with("score", self.score)
            .with("wins", self.wins)
            .with("losses", self.losses)
            .with("kills", self.kills)
            .with("deaths", self.deaths)
            .with("assists", self.assists)
            .with("last_updated", moment::format(self.last_updated))
    }
}

/// `shared_state.json`: what an applet's users share.
#[derive(Debug, Clone, PartialEq)]
pub struct SharedState {
    /// Whatever the applet keeps.
    pub state_data: Object,
    /// Counts its changes.
    pub version: i64,
    /// When it changed last.
    pub last_updated: Timestamp,
}

impl Fields for SharedState {
    fn read(object: &Object) -> Result<Self, ShapeError> {
        Ok(Self {
            state_data: object.need_object("state_data")?.clone(),
            version: object.need_int("version")?,
            last_updated: object.need_moment("last_updated")?,
        })
    }

    fn write(&self) -> Object {
        Object::new()
            .with("state_data", self.state_data.clone())
            .with("version", self.version)
            .with("last_updated", moment::format(self.last_updated))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_its_folder() {
        assert_eq!(applet_folder("A/B C").unwrap(), "A_B_C");
        assert_eq!(applet_folder("../..").unwrap(), ".._..");
        assert_eq!(owner_folder("zoë@x.+-").unwrap(), "zoë@x.+-");
        for bad in ["", ".", "..", "a\0", "a\\b"] {
            assert!(applet_folder(bad).is_err(), "{bad:?}");
        }
        for bad in ["../x", "/etc", "a/b", &"x".repeat(256)] {
            assert!(owner_folder(bad).is_err(), "{bad:?}");
        }
    }
}

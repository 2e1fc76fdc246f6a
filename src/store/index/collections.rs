//! Collections: named sets of content, our own and those of others.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::retention::Retention;
use super::standbys::StandbySettings;
use super::succession::read_line;
use super::{Index, IndexError, Peer, id, json, to_json};
use crate::domain::chunk::Padding;
use crate::domain::id::{CollectionId, InstanceId};
use crate::domain::peer::is_plain_name;
use crate::domain::preset::Hooks;
use crate::domain::schedule::Upkeep;
use crate::domain::succession::Reign;

/// A collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collection {
    /// Its row in this index; never leaves it.
    #[serde(skip)]
    pub no: i64,
    /// Which one.
    pub id: CollectionId,
    /// Its name here. That of another's collection is the beginning of its id until a key tells the real one.
    pub name: String,
    /// The instance that makes its snapshots now.
    pub origin: InstanceId,
    /// Who made them, one after the other; the last one is the origin. In a ledger of before there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub line: Vec<Reign>,
    /// How it is backed up; only for our own. It stays when somebody else takes over.
    pub settings: Option<CollectionSettings>,
    /// Where its newest snapshot is kept laid out; only for those of others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standby: Option<StandbySettings>,
    /// What is done by itself for it, and how much of it may be lost.
    #[serde(default, skip_serializing_if = "Upkeep::is_none")]
    pub upkeep: Upkeep,
    /// What is kept of it; if nothing was said, see [`Collection::kept`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
}

impl Collection {
    /// Whether this instance leads it, or did once, maybe under another key; or took it over in vain: then it has settings.
    pub fn is_ours(&self, here: &InstanceId) -> bool {
        self.settings.is_some() || self.line.iter().any(|reign| reign.instance == *here)
    }

    /// Whether it may leave this instance: if it is or was led from here, or if its origin, one of `peers`, said that we may serve
    /// it onward.
    pub fn may_leave(&self, here: &InstanceId, peers: &[Peer]) -> bool {
        let of_origin = peers.iter().find(|peer| peer.id == self.origin);
        let onward = of_origin.and_then(|peer| peer.granted.as_ref()).is_some_and(|granted| granted.onward);
        self.is_ours(here) || onward
    }
}

/// A collection to be.
#[derive(Debug, Clone)]
pub struct NewCollection {
    /// Freshly drawn for one of our own.
    pub id: CollectionId,
    /// Its name here.
    pub name: String,
    /// The instance that makes its snapshots.
    pub origin: InstanceId,
    /// How it is backed up.
    pub settings: Option<CollectionSettings>,
}

/// How a collection is backed up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectionSettings {
    /// What is backed up.
    pub roots: Vec<Root>,
    /// What is left out: patterns.
    pub excludes: Vec<String>,
    /// How hard chunks are compressed: zstd, 1 to 19.
    pub level: i32,
    /// How much chunks hide their length.
    #[serde(default)]
    pub padding: Padding,
    /// What kind of content it is.
    #[serde(default, skip_serializing_if = "CollectionKind::is_directory")]
    pub kind: CollectionKind,
    /// Which application's data it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<Application>,
}

/// What is known of the application whose data a collection holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    /// The name of its preset.
    pub preset: String,
    /// Commands before and after a backup, instead of the preset's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Hooks>,
}

/// What a collection holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CollectionKind {
    /// Folders.
    #[default]
    Directory,
    /// An Axon BBS: what its instances told, and its chunks as they were sealed there. It has no roots.
    Axon,
}

impl CollectionKind {
    fn is_directory(&self) -> bool {
        *self == CollectionKind::Directory
    }
}

/// A directory (or file) that is backed up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Its name in the tree; `%XX` stands for bytes that are not UTF-8.
    pub name: String,
    /// Where it is. In text, `%XX` stands for bytes that are not UTF-8, and `%25` for `%`.
    #[serde(serialize_with = "write_path", deserialize_with = "read_path")]
    pub path: PathBuf,
}

impl Index {
    /// Adds a collection; the ledger knows it too.
    ///
    /// # Errors
    /// [`IndexError::BadName`], [`IndexError::NameTaken`].
    pub async fn add_collection(&self, new: &NewCollection) -> Result<Collection, IndexError> {
        check_name(&new.name)?;
        let mut tx = self.begin().await?;
        if by_name(&mut tx, &new.name).await?.is_some() {
            return Err(IndexError::NameTaken { name: new.name.clone() });
        }
        let collection = insert(&mut tx, new).await?;
        self.commit_with_ledger(tx).await?;
        Ok(collection)
    }

    /// All collections, by name.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn collections(&self) -> Result<Vec<Collection>, IndexError> {
        all(&mut *self.pool.acquire().await?).await
    }

    /// The collection with this name.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn collection_named(&self, name: &str) -> Result<Option<Collection>, IndexError> {
        by_name(&mut *self.pool.acquire().await?, name).await
    }

    /// The collection with this id.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn collection(&self, id: &CollectionId) -> Result<Option<Collection>, IndexError> {
        by_id(&mut *self.pool.acquire().await?, id).await
    }

    /// Changes how a collection of our own is backed up.
    ///
    /// # Errors
    /// [`IndexError::NoSuchCollection`].
    pub async fn update_settings(&self, id: &CollectionId, settings: &CollectionSettings) -> Result<(), IndexError> {
        let mut tx = self.begin().await?;
        let done = sqlx::query("UPDATE collection SET settings = ?2 WHERE id = ?1")
            .bind(id.as_bytes().to_vec())
            .bind(to_json(settings))
            .execute(&mut *tx)
            .await?;
        if done.rows_affected() == 0 {
            return Err(IndexError::NoSuchCollection { id: *id });
        }
        self.commit_with_ledger(tx).await
    }

    /// Renames a collection here.
    ///
    /// # Errors
    /// [`IndexError::NoSuchCollection`], [`IndexError::BadName`], [`IndexError::NameTaken`].
    pub async fn rename(&self, id: &CollectionId, name: &str) -> Result<(), IndexError> {
        check_name(name)?;
        let mut tx = self.begin().await?;
        if by_name(&mut tx, name).await?.is_some_and(|other| other.id != *id) {
            return Err(IndexError::NameTaken { name: name.to_owned() });
        }
        set_name(&mut tx, id, name).await?;
        self.commit_with_ledger(tx).await
    }

    /// Gives another's collection its real name once a key has told it, with `-2`, `-3` … if the name is taken here.
    /// One that has been renamed already is left alone. Answers the name that it has now.
    ///
    /// # Errors
    /// [`IndexError::NoSuchCollection`], [`IndexError::BadName`].
    pub async fn learn_name(&self, id: &CollectionId, name: &str) -> Result<String, IndexError> {
        check_name(name)?;
        let mut tx = self.begin().await?;
        let known = by_id(&mut tx, id).await?.ok_or(IndexError::NoSuchCollection { id: *id })?;
        if !is_placeholder(&known) {
            return Ok(known.name);
        }
        let name = free_name(&mut tx, name).await?;
        set_name(&mut tx, id, &name).await?;
        self.commit_with_ledger(tx).await?;
        Ok(name)
    }
}

/// Whether the name is only the beginning of the id.
pub(in crate::store) fn is_placeholder(collection: &Collection) -> bool {
    let short = collection.id.short();
    collection.name.strip_prefix(&short).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// The name, or the first of `name-2`, `name-3` … that is not taken.
pub(in crate::store) async fn free_name(connection: &mut SqliteConnection, name: &str) -> Result<String, IndexError> {
    let mut free = name.to_owned();
    for n in 2u32.. {
        if by_name(connection, &free).await?.is_none() {
            break;
        }
        let suffix = format!("-{n}");
        let kept = name.len().min(64 - suffix.len());
        free = format!("{}{suffix}", &name[..kept]);
    }
    Ok(free)
}

/// All columns of a collection.
macro_rules! select {
    () => {
        "SELECT no, id, name, origin, reigns, settings, standby, upkeep, retention FROM collection LEFT JOIN collection_line ON collection_no = no"
    };
}

pub(super) async fn all(connection: &mut SqliteConnection) -> Result<Vec<Collection>, IndexError> {
    let rows = sqlx::query(concat!(select!(), " ORDER BY name")).fetch_all(connection).await?;
    rows.iter().map(read).collect()
}

pub(in crate::store) async fn by_id(
    connection: &mut SqliteConnection,
    id: &CollectionId,
) -> Result<Option<Collection>, IndexError> {
    let row = sqlx::query(concat!(select!(), " WHERE id = ?1"))
        .bind(id.as_bytes().to_vec())
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(read).transpose()
}

async fn by_name(connection: &mut SqliteConnection, name: &str) -> Result<Option<Collection>, IndexError> {
    let row =
        sqlx::query(concat!(select!(), " WHERE name = ?1")).bind(name.to_owned()).fetch_optional(connection).await?;
    row.as_ref().map(read).transpose()
}

pub(in crate::store) async fn insert(
    connection: &mut SqliteConnection,
    new: &NewCollection,
) -> Result<Collection, IndexError> {
    let done = sqlx::query("INSERT INTO collection (id, name, origin, settings) VALUES (?1, ?2, ?3, ?4)")
        .bind(new.id.as_bytes().to_vec())
        .bind(new.name.clone())
        .bind(new.origin.as_bytes().to_vec())
        .bind(new.settings.as_ref().map(to_json))
        .execute(connection)
        .await?;
    Ok(Collection {
        no: done.last_insert_rowid(),
        id: new.id,
        name: new.name.clone(),
        origin: new.origin,
        line: vec![Reign::founder(new.origin)],
        settings: new.settings.clone(),
        standby: None,
        upkeep: Upkeep::default(),
        retention: None,
    })
}

async fn set_name(connection: &mut SqliteConnection, id: &CollectionId, name: &str) -> Result<(), IndexError> {
    let done = sqlx::query("UPDATE collection SET name = ?2 WHERE id = ?1")
        .bind(id.as_bytes().to_vec())
        .bind(name.to_owned())
        .execute(connection)
        .await?;
    if done.rows_affected() == 0 { Err(IndexError::NoSuchCollection { id: *id }) } else { Ok(()) }
}

fn check_name(name: &str) -> Result<(), IndexError> {
    if is_plain_name(name) { Ok(()) } else { Err(IndexError::BadName { name: name.to_owned() }) }
}

fn read(row: &SqliteRow) -> Result<Collection, IndexError> {
    let settings: Option<String> = row.try_get("settings")?;
    let reigns: Option<String> = row.try_get("reigns")?;
    let origin = id(row, "origin", InstanceId::from_slice)?;
    let standby: Option<String> = row.try_get("standby")?;
    let upkeep: Option<String> = row.try_get("upkeep")?;
    let retention: Option<String> = row.try_get("retention")?;
    Ok(Collection {
        no: row.try_get("no")?,
        id: id(row, "id", CollectionId::from_slice)?,
        name: row.try_get("name")?,
        origin,
        line: read_line(reigns.as_deref(), origin)?,
        settings: settings.as_deref().map(json).transpose()?,
        standby: standby.as_deref().map(json).transpose()?,
        upkeep: upkeep.as_deref().map(json).transpose()?.unwrap_or_default(),
        retention: retention.as_deref().map(json).transpose()?,
    })
}

/// A path in a document: whatever bytes it has, it comes back. For `#[serde(with = "…")]`.
pub mod root_path {
    pub use super::{read_path as deserialize, write_path as serialize};
}

/// Writes it.
///
/// # Errors
/// Those of the serializer.
pub fn write_path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    let mut text = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        text.push_str(&chunk.valid().replace('%', "%25"));
        for byte in chunk.invalid() {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    serializer.serialize_str(&text)
}

/// Reads it.
///
/// # Errors
/// A text that is no such path.
pub fn read_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let text = String::deserialize(deserializer)?;
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let digits = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(digits.ok_or_else(|| serde::de::Error::custom("a path has a '%' without two hex digits"))?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    Ok(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
}

//! Standbys: collections of others whose newest snapshot is kept laid out in a folder.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;

use super::collections::{read_path, write_path};
use super::{Index, IndexError, json, snapshots, to_json};
use crate::domain::id::{CollectionId, ManifestId};
use crate::store::index::Snapshot;

/// Where a collection's newest snapshot is kept laid out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandbySettings {
    /// The folder: absolute, not a link.
    #[serde(serialize_with = "write_path", deserialize_with = "read_path")]
    pub into: PathBuf,
    /// A command line for `sh` that runs after each change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
}

/// What came of the last attempt to lay out a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandbyRecord {
    /// Which snapshot it was about.
    pub snapshot: ManifestId,
    /// Its number.
    pub sequence: u64,
    /// When the attempt ended.
    pub at: Timestamp,
    /// Why it was not laid out.
    pub error: Option<String>,
    /// What was wrong with the hook.
    pub hook_error: Option<String>,
}

impl Index {
    /// Keeps a collection's newest snapshot laid out from now on, or no longer; the ledger knows it too.
    ///
    /// # Errors
    /// [`IndexError::NoSuchCollection`].
    pub async fn set_standby(
        &self,
        collection: &CollectionId,
        settings: Option<&StandbySettings>,
    ) -> Result<(), IndexError> {
        let mut tx = self.begin().await?;
        set(&mut tx, collection, settings).await?;
        self.commit_with_ledger(tx).await
    }

    /// What came of the last attempt, as far as this index knows: a rebuilt one does not.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn standby_record(&self, collection: &CollectionId) -> Result<Option<StandbyRecord>, IndexError> {
        let row: Option<Option<String>> = sqlx::query_scalar("SELECT standby_record FROM collection WHERE id = ?1")
            .bind(collection.as_bytes().to_vec())
            .fetch_optional(&self.pool)
            .await?;
        row.flatten().as_deref().map(json).transpose()
    }

    /// Remembers what came of an attempt.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn note_standby(&self, collection: &CollectionId, record: &StandbyRecord) -> Result<(), IndexError> {
        sqlx::query("UPDATE collection SET standby_record = ?2 WHERE id = ?1")
            .bind(collection.as_bytes().to_vec())
            .bind(to_json(record))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The newest snapshot of a collection that is whole, here, and can be read.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn newest_readable(&self, collection: &CollectionId) -> Result<Option<Snapshot>, IndexError> {
        let row = sqlx::query(
            "SELECT s.*, c.id AS collection FROM snapshot s JOIN collection c ON c.no = s.collection_no
             WHERE c.id = ?1 AND s.deleted = 0 AND s.beside = 0 AND s.partial = 0 AND s.complete = 1 AND s.has_key = 1
             ORDER BY s.sequence DESC LIMIT 1",
        )
        .bind(collection.as_bytes().to_vec())
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(snapshots::read).transpose()
    }
}

pub(super) async fn set(
    connection: &mut SqliteConnection,
    collection: &CollectionId,
    settings: Option<&StandbySettings>,
) -> Result<(), IndexError> {
    // What was remembered is of no use for another folder.
    let done = sqlx::query("UPDATE collection SET standby = ?2, standby_record = NULL WHERE id = ?1")
        .bind(collection.as_bytes().to_vec())
        .bind(settings.map(to_json))
        .execute(connection)
        .await?;
    if done.rows_affected() == 0 { Err(IndexError::NoSuchCollection { id: *collection }) } else { Ok(()) }
}

//! What is known of a snapshot beside its manifest: pins, tags, suspicion, verification.
//!
//! The ledger knows it too (R7), verification included: it says which snapshot is never removed.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::{Row, SqliteConnection};

use super::{Index, IndexError, id, json, nanos, optional_moment, to_json};
use crate::domain::id::{CollectionId, ManifestId};
use crate::domain::manifest::SHRANK;
use crate::domain::retention::Tag;

/// What is known of a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// It stays, whatever the policy says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
    /// What it is called.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<Tag>,
    /// Why it is suspected to lack something that the one before has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flagged: Option<String>,
    /// When it was last found whole: its manifest, lists and tree, and that every chunk is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole_at: Option<Timestamp>,
    /// When all of it was last found to be as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<Timestamp>,
}

/// A mark and whose it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::store) struct Marked {
    pub(in crate::store) snapshot: ManifestId,
    #[serde(flatten)]
    pub(in crate::store) mark: Mark,
}

impl Index {
    /// What is known of all snapshots of which something is.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn marks(&self) -> Result<HashMap<ManifestId, Mark>, IndexError> {
        let marked = all(&mut *self.pool.acquire().await?).await?;
        Ok(marked.into_iter().map(|Marked { snapshot, mark }| (snapshot, mark)).collect())
    }

    /// Changes what is known of a snapshot; the ledger knows it too. Answers what is known now.
    ///
    /// # Errors
    /// [`IndexError::NoSuchSnapshot`].
    pub async fn mark(&self, snapshot: &ManifestId, change: impl FnOnce(&mut Mark)) -> Result<Mark, IndexError> {
        let mut tx = self.begin().await?;
        let there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM snapshot WHERE id = ?1 AND deleted = 0)")
            .bind(snapshot.as_bytes().to_vec())
            .fetch_one(&mut *tx)
            .await?;
        if !there {
            return Err(IndexError::NoSuchSnapshot { id: *snapshot });
        }
        let mut mark = of(&mut tx, snapshot).await?.unwrap_or_default();
        change(&mut mark);
        put(&mut tx, snapshot, &mark).await?;
        self.commit_with_ledger(tx).await?;
        Ok(mark)
    }

    /// Remembers that these snapshots were found to be as they were: every byte was read. Those that are gone are passed over.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn note_verified(&self, snapshots: &[ManifestId], at: Timestamp) -> Result<(), IndexError> {
        if snapshots.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO snapshot_mark (snapshot, verified_at)
             SELECT snapshot.id, ?2 FROM json_each(?1) verified JOIN snapshot ON snapshot.id = unhex(verified.value)
             WHERE snapshot.deleted = 0 ON CONFLICT (snapshot) DO UPDATE SET verified_at = ?2",
        )
        .bind(to_json(&snapshots))
        .bind(nanos(at))
        .execute(&mut *tx)
        .await?;
        self.commit_with_ledger(tx).await
    }

    /// Somebody accepts that there is less of a collection: what was flagged for that is so no longer.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn unflag_shrunk(&self, collection: &CollectionId) -> Result<(), IndexError> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "UPDATE snapshot_mark SET flagged = NULL WHERE substr(flagged, 1, ?2) = ?3 AND snapshot IN (
               SELECT s.id FROM snapshot s JOIN collection c ON c.no = s.collection_no WHERE c.id = ?1)",
        )
        .bind(collection.as_bytes().to_vec())
        .bind(SHRANK.len() as i64)
        .bind(SHRANK)
        .execute(&mut *tx)
        .await?;
        self.commit_with_ledger(tx).await
    }

    /// Remembers that something of these snapshots is missing or not what it was: they count as verified no longer.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn note_damaged(&self, snapshots: &[ManifestId]) -> Result<(), IndexError> {
        if snapshots.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        sqlx::query(
            "UPDATE snapshot_mark SET verified_at = NULL, whole_at = NULL WHERE snapshot IN (SELECT unhex(value) FROM json_each(?1))",
        )
        .bind(to_json(&snapshots))
        .execute(&mut *tx)
        .await?;
        self.commit_with_ledger(tx).await
    }
}

pub(super) async fn all(connection: &mut SqliteConnection) -> Result<Vec<Marked>, IndexError> {
    let rows = sqlx::query("SELECT * FROM snapshot_mark ORDER BY snapshot").fetch_all(connection).await?;
    rows.iter().map(read).collect()
}

async fn of(connection: &mut SqliteConnection, snapshot: &ManifestId) -> Result<Option<Mark>, IndexError> {
    let row = sqlx::query("SELECT * FROM snapshot_mark WHERE snapshot = ?1")
        .bind(snapshot.as_bytes().to_vec())
        .fetch_optional(connection)
        .await?;
    Ok(row.as_ref().map(read).transpose()?.map(|marked| marked.mark))
}

/// Keeps a mark; one that says nothing is not kept.
pub(super) async fn put(
    connection: &mut SqliteConnection,
    snapshot: &ManifestId,
    mark: &Mark,
) -> Result<(), IndexError> {
    if *mark == Mark::default() {
        return forget(connection, snapshot).await;
    }
    sqlx::query(
        "INSERT INTO snapshot_mark (snapshot, pinned, tags, flagged, verified_at, whole_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (snapshot) DO UPDATE SET pinned = ?2, tags = ?3, flagged = ?4, verified_at = ?5, whole_at = ?6",
    )
    .bind(snapshot.as_bytes().to_vec())
    .bind(mark.pinned)
    .bind(to_json(&mark.tags))
    .bind(mark.flagged.clone())
    .bind(mark.verified_at.map(nanos))
    .bind(mark.whole_at.map(nanos))
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets what is known of a snapshot that goes.
pub(super) async fn forget(connection: &mut SqliteConnection, snapshot: &ManifestId) -> Result<(), IndexError> {
    sqlx::query("DELETE FROM snapshot_mark WHERE snapshot = ?1")
        .bind(snapshot.as_bytes().to_vec())
        .execute(connection)
        .await?;
    Ok(())
}

fn read(row: &sqlx::sqlite::SqliteRow) -> Result<Marked, IndexError> {
    let tags: String = row.try_get("tags")?;
    let mark = Mark {
        pinned: row.try_get("pinned")?,
        tags: json(&tags)?,
        flagged: row.try_get("flagged")?,
        whole_at: optional_moment(row, "whole_at")?,
        verified_at: optional_moment(row, "verified_at")?,
    };
    Ok(Marked { snapshot: id(row, "snapshot", ManifestId::from_slice)?, mark })
}

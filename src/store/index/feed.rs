//! The change feed: what this instance has to tell its peers, in order (R11), each seeing only its own part (R12).

use std::collections::BTreeSet;

use sqlx::{Row, SqliteConnection};

use super::{Index, IndexError, id};
use crate::domain::id::{CollectionId, FeedId, ManifestId};
use crate::domain::peer::{Rights, Scope};

/// A change and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedRow {
    /// Its number in the feed.
    pub position: u64,
    /// What happened.
    pub change: FeedChange,
}

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedChange {
    /// A snapshot is here, whole.
    Manifest(ManifestId),
    /// A snapshot was deleted here.
    Tombstone(ManifestId),
}

const MANIFEST: i64 = 0;
const TOMBSTONE: i64 = 1;

impl Index {
    /// The name of the feed. A rebuilt index has a new one.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn feed_id(&self) -> Result<FeedId, IndexError> {
        feed_id(&mut *self.pool.acquire().await?).await
    }

    /// The number of the newest change, 0 if there is none. Ask for it before [`changes`](Self::changes): then what is
    /// recorded in between is told next time.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn feed_head(&self) -> Result<u64, IndexError> {
        let head: i64 = sqlx::query_scalar("SELECT coalesce(max(position), 0) FROM feed").fetch_one(&self.pool).await?;
        Ok(head as u64)
    }

    /// Changes behind `after` that the rights let see, oldest first. A snapshot that was deleted since is shown by its
    /// tombstone alone.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn changes(&self, rights: &Rights, after: u64, limit: usize) -> Result<Vec<FeedRow>, IndexError> {
        let visible = self.visible(rights).await?;
        let rows = sqlx::query(
            "SELECT f.position, f.kind, s.id FROM feed f JOIN snapshot s ON s.no = f.snapshot_no
             WHERE f.position > ?1 AND (f.kind = ?2 OR s.deleted = 0)
               AND s.collection_no IN (SELECT value FROM json_each(?3))
               AND (s.created_at >= ?4 OR s.collection_no IN (SELECT value FROM json_each(?6)))
             ORDER BY f.position LIMIT ?5",
        )
        .bind(i64::try_from(after).unwrap_or(i64::MAX))
        .bind(TOMBSTONE)
        .bind(visible.collections)
        .bind(visible.from)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .bind(visible.own)
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                let manifest = id(row, "id", ManifestId::from_slice)?;
                let change = match row.try_get::<i64, _>("kind")? {
                    MANIFEST => FeedChange::Manifest(manifest),
                    _ => FeedChange::Tombstone(manifest),
                };
                Ok(FeedRow { position: row.try_get::<i64, _>("position")? as u64, change })
            })
            .collect()
    }

    /// All announced snapshots that the rights let see.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn visible_ids(&self, rights: &Rights) -> Result<Vec<ManifestId>, IndexError> {
        let visible = self.visible(rights).await?;
        let rows = sqlx::query(
            "SELECT id FROM snapshot WHERE announced = 1 AND deleted = 0
               AND collection_no IN (SELECT value FROM json_each(?1))
               AND (created_at >= ?2 OR collection_no IN (SELECT value FROM json_each(?3)))",
        )
        .bind(visible.collections)
        .bind(visible.from)
        .bind(visible.own)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| id(row, "id", ManifestId::from_slice)).collect()
    }

    /// All snapshots of these collections that were ever known here, deleted ones included.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn known_ids(&self, collections: &BTreeSet<CollectionId>) -> Result<Vec<ManifestId>, IndexError> {
        let scope = Scope::Only(collections.clone());
        let visible = self.visible(&Rights { scope, ..Rights::none() }).await?;
        let rows = sqlx::query("SELECT id FROM snapshot WHERE collection_no IN (SELECT value FROM json_each(?1))")
            .bind(visible.collections)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| id(row, "id", ManifestId::from_slice)).collect()
    }

    /// For each manifest, whether it is announced and the rights let see it.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn visible_manifests(&self, rights: &Rights, ids: &[ManifestId]) -> Result<Vec<bool>, IndexError> {
        let visible = self.visible(rights).await?;
        let rows = sqlx::query(
            "SELECT s.id FROM json_each(?1) wanted JOIN snapshot s ON s.id = unhex(wanted.value)
             WHERE s.announced = 1 AND s.deleted = 0
               AND s.collection_no IN (SELECT value FROM json_each(?2))
               AND (s.created_at >= ?3 OR s.collection_no IN (SELECT value FROM json_each(?4)))",
        )
        .bind(super::to_json(&ids))
        .bind(visible.collections)
        .bind(visible.from)
        .bind(visible.own)
        .fetch_all(&self.pool)
        .await?;
        let seen = rows
            .iter()
            .map(|row| id(row, "id", ManifestId::from_slice))
            .collect::<Result<std::collections::HashSet<_>, _>>()?;
        Ok(ids.iter().map(|id| seen.contains(id)).collect())
    }
}

pub(super) async fn feed_id(connection: &mut SqliteConnection) -> Result<FeedId, IndexError> {
    let row = sqlx::query("SELECT id FROM feed_name").fetch_one(connection).await?;
    id(&row, "id", FeedId::from_slice)
}

/// Tells of a snapshot, unless that was done before.
pub(super) async fn announce(connection: &mut SqliteConnection, snapshot_no: i64) -> Result<(), IndexError> {
    let done = sqlx::query("UPDATE snapshot SET announced = 1 WHERE no = ?1 AND announced = 0")
        .bind(snapshot_no)
        .execute(&mut *connection)
        .await?;
    if done.rows_affected() == 1 {
        append(connection, MANIFEST, snapshot_no).await?;
    }
    Ok(())
}

/// Tells that a snapshot was deleted.
pub(super) async fn append_tombstone(connection: &mut SqliteConnection, snapshot_no: i64) -> Result<(), IndexError> {
    append(connection, TOMBSTONE, snapshot_no).await
}

async fn append(connection: &mut SqliteConnection, kind: i64, snapshot_no: i64) -> Result<(), IndexError> {
    sqlx::query("INSERT INTO feed (kind, snapshot_no) VALUES (?1, ?2)")
        .bind(kind)
        .bind(snapshot_no)
        .execute(connection)
        .await?;
    Ok(())
}

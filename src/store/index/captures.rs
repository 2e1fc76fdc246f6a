//! How snapshots of our own were taken, and what was found wrong with them.

use sqlx::{Row, SqliteConnection};

use super::{Index, IndexError, id, json, to_json};
use crate::domain::id::{CollectionId, ManifestId};
use crate::domain::manifest::Capture;

impl Index {
    /// The captures of a collection's snapshots, by their numbers. Snapshots of before, and those of others, have none.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn captures(&self, collection: &CollectionId) -> Result<Vec<(ManifestId, Capture)>, IndexError> {
        let rows = sqlx::query(
            "SELECT s.id, k.capture FROM snapshot_capture k JOIN snapshot s ON s.no = k.snapshot_no
             JOIN collection c ON c.no = s.collection_no WHERE c.id = ?1 AND s.deleted = 0 ORDER BY s.sequence",
        )
        .bind(collection.as_bytes().to_vec())
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| Ok((id(row, "id", ManifestId::from_slice)?, json(row.try_get::<&str, _>("capture")?)?)))
            .collect()
    }
}

pub(super) async fn insert(
    connection: &mut SqliteConnection,
    snapshot_no: i64,
    capture: &Capture,
) -> Result<(), IndexError> {
    sqlx::query("INSERT OR REPLACE INTO snapshot_capture (snapshot_no, capture) VALUES (?1, ?2)")
        .bind(snapshot_no)
        .bind(to_json(capture))
        .execute(connection)
        .await?;
    Ok(())
}

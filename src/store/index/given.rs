//! What was given to which peer (R6). Never deleted: what a peer has does not go away because it is forgotten here.

use jiff::Timestamp;
use sqlx::{Row, Sqlite, SqliteConnection, Transaction};

use super::{Index, IndexError, id, moment, nanos, optional_moment};
use crate::domain::id::{ChunkId, CollectionId, InstanceId, ManifestId};

/// A chunk or segment of which a peer was sent a part or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GivenChunk {
    /// Which one.
    pub id: ChunkId,
    /// Its whole size.
    pub size_bytes: u32,
    /// When.
    pub at: Timestamp,
}

/// What a peer was given of one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenSnapshot {
    /// Which one.
    pub id: ManifestId,
    /// Of which collection.
    pub collection: CollectionId,
    /// What the collection is called here.
    pub collection_name: String,
    /// Its number in the collection.
    pub sequence: u64,
    /// When it was begun.
    pub created_at: Timestamp,
    /// It was deleted here, so that its chunks cannot be counted any more.
    pub deleted: bool,
    /// Number of its chunks.
    pub chunks: u64,
    /// Their bytes.
    pub chunk_bytes: u64,
    /// When its key was given first.
    pub key_at: Option<Timestamp>,
    /// How many of its chunks were given, for this snapshot or another.
    pub given_chunks: u64,
    /// Their bytes.
    pub given_bytes: u64,
    /// When the first and the last of them were.
    pub given_at: Option<(Timestamp, Timestamp)>,
}

impl Index {
    /// Since when is recorded what is given: since this index was made, or brought to this version.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn given_since(&self) -> Result<Timestamp, IndexError> {
        let row = sqlx::query("SELECT at FROM given_since").fetch_one(&self.pool).await?;
        moment(&row, "at")
    }

    /// Records that a peer was given keys. What is recorded already keeps its date.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn note_given_keys(
        &self,
        peer: &InstanceId,
        snapshots: &[ManifestId],
        at: Timestamp,
    ) -> Result<(), IndexError> {
        let mut tx = self.begin().await?;
        let peer_no = number(&mut tx, peer).await?;
        for snapshot in snapshots {
            sqlx::query(
                "INSERT INTO given_key (peer_no, snapshot, first_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            )
            .bind(peer_no)
            .bind(snapshot.as_bytes().to_vec())
            .bind(nanos(at))
            .execute(&mut *tx)
            .await?;
        }
        Ok(tx.commit().await?)
    }

    /// Records that a peer was given chunks or segments. What is recorded already keeps its date.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn note_given_chunks(&self, peer: &InstanceId, chunks: &[GivenChunk]) -> Result<(), IndexError> {
        let mut tx = self.begin().await?;
        let peer_no = number(&mut tx, peer).await?;
        for chunk in chunks {
            sqlx::query(
                "INSERT INTO given_chunk (peer_no, chunk, size, first_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
            )
            .bind(peer_no)
            .bind(chunk.id.as_bytes().to_vec())
            .bind(chunk.size_bytes)
            .bind(nanos(chunk.at))
            .execute(&mut *tx)
            .await?;
        }
        Ok(tx.commit().await?)
    }

    /// Bytes of chunks that a peer was sent in a month.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn sent_in_month(&self, peer: &InstanceId, month: i64) -> Result<u64, IndexError> {
        let bytes: Option<i64> = sqlx::query_scalar(
            "SELECT bytes FROM sent_month JOIN given_peer ON no = peer_no WHERE id = ?1 AND month = ?2",
        )
        .bind(peer.as_bytes().to_vec())
        .bind(month)
        .fetch_optional(&self.pool)
        .await?;
        Ok(bytes.unwrap_or(0).unsigned_abs())
    }

    /// Adds to what peers were sent, each in a month.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn note_sent(&self, sent: &[(InstanceId, i64, u64)]) -> Result<(), IndexError> {
        let mut tx = self.begin().await?;
        for (peer, month, bytes) in sent {
            let peer_no = number(&mut tx, peer).await?;
            sqlx::query(
                "INSERT INTO sent_month (peer_no, month, bytes) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET bytes = bytes + ?3",
            )
            .bind(peer_no)
            .bind(month)
            .bind(i64::try_from(*bytes).unwrap_or(i64::MAX))
            .execute(&mut *tx)
            .await?;
        }
        Ok(tx.commit().await?)
    }

    /// What a peer was given of each snapshot that is or was here, by collection and number; of most it is nothing.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn given_snapshots(&self, peer: &InstanceId) -> Result<Vec<GivenSnapshot>, IndexError> {
        let rows = sqlx::query(
            "SELECT s.id, c.id AS collection, c.name, s.sequence, s.created_at, s.deleted, s.chunks, s.chunk_bytes,
               (SELECT k.first_at FROM given_key k JOIN given_peer p ON p.no = k.peer_no
                 WHERE p.id = ?1 AND k.snapshot = s.id) AS key_at,
               count(g.chunk) AS given_chunks, coalesce(sum(g.size), 0) AS given_bytes,
               min(g.first_at) AS first_at, max(g.first_at) AS last_at
             FROM snapshot s JOIN collection c ON c.no = s.collection_no
             LEFT JOIN (SELECT DISTINCT l.snapshot_no, o.no, o.id FROM snapshot_segment l
                          JOIN segment_chunk m ON m.segment_no = l.segment_no JOIN chunk o ON o.no = m.chunk_no) o
               ON o.snapshot_no = s.no
             LEFT JOIN given_chunk g ON g.chunk = o.id AND g.peer_no = (SELECT no FROM given_peer WHERE id = ?1)
             GROUP BY s.no ORDER BY c.name, s.sequence",
        )
        .bind(peer.as_bytes().to_vec())
        .fetch_all(&self.pool)
        .await?;
        let read = |row| {
            let row: &sqlx::sqlite::SqliteRow = row;
            let count = |column: &str| -> Result<u64, IndexError> { Ok(row.try_get::<i64, _>(column)?.unsigned_abs()) };
            Ok(GivenSnapshot {
                id: id(row, "id", ManifestId::from_slice)?,
                collection: id(row, "collection", CollectionId::from_slice)?,
                collection_name: row.try_get("name")?,
                sequence: count("sequence")?,
                created_at: moment(row, "created_at")?,
                deleted: row.try_get("deleted")?,
                chunks: count("chunks")?,
                chunk_bytes: count("chunk_bytes")?,
                key_at: optional_moment(row, "key_at")?,
                given_chunks: count("given_chunks")?,
                given_bytes: count("given_bytes")?,
                given_at: optional_moment(row, "first_at")?.zip(optional_moment(row, "last_at")?),
            })
        };
        rows.iter().map(read).collect()
    }

    /// All chunks that a peer was given, of snapshots that are here or not any more, and their bytes.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn given_in_all(&self, peer: &InstanceId) -> Result<(u64, u64), IndexError> {
        let row = sqlx::query(
            "SELECT count(*) AS chunks, coalesce(sum(g.size), 0) AS bytes
             FROM given_chunk g JOIN given_peer p ON p.no = g.peer_no
             WHERE p.id = ?1 AND NOT EXISTS (SELECT 1 FROM chunk o WHERE o.id = g.chunk AND o.kind = 1)",
        )
        .bind(peer.as_bytes().to_vec())
        .fetch_one(&self.pool)
        .await?;
        Ok((row.try_get::<i64, _>("chunks")?.unsigned_abs(), row.try_get::<i64, _>("bytes")?.unsigned_abs()))
    }

    /// The chunks of these snapshots together, each counted once, and their bytes.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn chunks_together(&self, snapshots: &[ManifestId]) -> Result<(u64, u64), IndexError> {
        let ids: Vec<String> = snapshots.iter().map(|id| id.to_string().to_uppercase()).collect();
        let row = sqlx::query(
            "SELECT count(*) AS chunks, coalesce(sum(size), 0) AS bytes FROM chunk
             WHERE no IN (SELECT m.chunk_no FROM snapshot s JOIN snapshot_segment l ON l.snapshot_no = s.no
                            JOIN segment_chunk m ON m.segment_no = l.segment_no
                          WHERE hex(s.id) IN (SELECT value FROM json_each(?1)))",
        )
        .bind(super::to_json(&ids))
        .fetch_one(&self.pool)
        .await?;
        Ok((row.try_get::<i64, _>("chunks")?.unsigned_abs(), row.try_get::<i64, _>("bytes")?.unsigned_abs()))
    }
}

/// The number under which a peer stands in the records.
async fn number(tx: &mut Transaction<'static, Sqlite>, peer: &InstanceId) -> Result<i64, IndexError> {
    let connection: &mut SqliteConnection = tx;
    sqlx::query("INSERT INTO given_peer (id) VALUES (?1) ON CONFLICT DO NOTHING")
        .bind(peer.as_bytes().to_vec())
        .execute(&mut *connection)
        .await?;
    let no = sqlx::query_scalar("SELECT no FROM given_peer WHERE id = ?1")
        .bind(peer.as_bytes().to_vec())
        .fetch_one(connection)
        .await?;
    Ok(no)
}

//! What is here: chunks and segments that are present, missing or lost, and who may see them (R12). Questions only.

use std::collections::HashMap;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::chunks::{CHUNK, SEGMENT};
use super::{Index, IndexError, id, to_json};
use crate::domain::id::{ChunkId, CollectionId};
use crate::domain::peer::Rights;

impl Index {
    /// Sealed keys and fragment tables of our own chunks of a collection that are here.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn chunk_secrets(&self, collection: &CollectionId) -> Result<Vec<(ChunkId, Vec<u8>)>, IndexError> {
        let rows = sqlx::query(
            "SELECT chunk.id, secret.sealed FROM chunk_secret secret JOIN chunk ON chunk.no = secret.chunk_no
             WHERE chunk.collection_no = (SELECT no FROM collection WHERE id = ?1) AND chunk.state = 1 ORDER BY chunk.no",
        )
        .bind(collection.as_bytes().to_vec())
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| Ok((id(row, "id", ChunkId::from_slice)?, row.try_get("sealed")?))).collect()
    }

    /// Segments that snapshots name and that are not here, with their sizes.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn missing_segments(&self, limit: usize) -> Result<Vec<(ChunkId, u32)>, IndexError> {
        self.missing(SEGMENT, None, limit).await
    }

    /// Chunks of a collection of which its newest snapshot, or one before, used little. Sorted.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn sparse_chunks(&self, collection: &CollectionId) -> Result<Vec<ChunkId>, IndexError> {
        let rows = sqlx::query(
            "SELECT chunk.id AS id FROM sparse_chunk sparse JOIN chunk ON chunk.no = sparse.chunk_no
             JOIN collection ON collection.no = chunk.collection_no WHERE collection.id = ?1 ORDER BY chunk.id",
        )
        .bind(collection.as_bytes().to_vec())
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| id(row, "id", ChunkId::from_slice)).collect()
    }

    /// Chunks and segments that are here, as far as the index knows.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn present_chunks(&self) -> Result<Vec<ChunkId>, IndexError> {
        let rows = sqlx::query("SELECT id FROM chunk WHERE state > 0").fetch_all(&self.pool).await?;
        rows.iter().map(|row| id(row, "id", ChunkId::from_slice)).collect()
    }

    /// Some chunks and segments that are here, at most `limit`.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn some_present(&self, limit: usize) -> Result<Vec<ChunkId>, IndexError> {
        let rows = sqlx::query("SELECT id FROM chunk WHERE state > 0 LIMIT ?1")
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| id(row, "id", ChunkId::from_slice)).collect()
    }

    /// Those of these chunks and segments that are known and not here, with their sizes.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn missing_among(&self, ids: &[ChunkId]) -> Result<Vec<(ChunkId, u32)>, IndexError> {
        let mut missing = Vec::new();
        for batch in ids.chunks(1000) {
            let rows = sqlx::query(
                "SELECT chunk.id, chunk.size FROM json_each(?1) wanted JOIN chunk ON chunk.id = unhex(wanted.value)
                 WHERE chunk.state = 0",
            )
            .bind(to_json(&batch))
            .fetch_all(&self.pool)
            .await?;
            for row in &rows {
                missing.push(read_sized(row)?);
            }
        }
        Ok(missing)
    }

    /// Chunks that segments list and that are not here, with their sizes.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn missing_chunks(
        &self,
        collection: Option<&CollectionId>,
        limit: usize,
    ) -> Result<Vec<(ChunkId, u32)>, IndexError> {
        self.missing(CHUNK, collection, limit).await
    }

    async fn missing(
        &self,
        kind: i64,
        collection: Option<&CollectionId>,
        limit: usize,
    ) -> Result<Vec<(ChunkId, u32)>, IndexError> {
        let rows = sqlx::query(
            "SELECT id, size FROM chunk WHERE state = 0 AND kind = ?1
               AND (collection_no IN (SELECT no FROM collection WHERE ?2 IS NULL OR id = ?2) OR (shared AND EXISTS (
                 SELECT 1 FROM segment_chunk listed JOIN chunk segment ON segment.no = listed.segment_no
                 JOIN collection ON collection.no = segment.collection_no
                 WHERE listed.chunk_no = chunk.no AND collection.id = ?2)))
             ORDER BY collection_no, no LIMIT ?3",
        )
        .bind(kind)
        .bind(collection.map(|id| id.as_bytes().to_vec()))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read_sized).collect()
    }

    /// Chunks that are not here and should be, with their sizes: those that were here once, and those of our own collections.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn lost_chunks(&self, limit: usize) -> Result<Vec<(ChunkId, u32)>, IndexError> {
        self.lost(CHUNK, limit).await
    }

    /// How many chunks and segments are not here and should be.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn count_lost(&self) -> Result<u64, IndexError> {
        let (chunks, segments) = (self.lost(CHUNK, usize::MAX).await?, self.lost(SEGMENT, usize::MAX).await?);
        Ok((chunks.len() + segments.len()) as u64)
    }

    async fn lost(&self, kind: i64, limit: usize) -> Result<Vec<(ChunkId, u32)>, IndexError> {
        let rows = sqlx::query(
            "SELECT id, size FROM chunk WHERE state = 0 AND kind = ?1 AND (
                 no IN (SELECT chunk_no FROM lost_chunk)
                 OR collection_no IN (SELECT no FROM collection WHERE settings IS NOT NULL)
                 OR (shared AND EXISTS (
                   SELECT 1 FROM segment_chunk listed JOIN chunk segment ON segment.no = listed.segment_no
                   JOIN collection ON collection.no = segment.collection_no
                   WHERE listed.chunk_no = chunk.no AND collection.settings IS NOT NULL)))
               AND (EXISTS (SELECT 1 FROM segment_chunk WHERE chunk_no = chunk.no)
                 OR EXISTS (SELECT 1 FROM snapshot_segment WHERE segment_no = chunk.no))
             ORDER BY collection_no, no LIMIT ?2",
        )
        .bind(kind)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read_sized).collect()
    }

    /// How many lists of chunks are missing that snapshots of a collection name.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn count_missing_lists(&self, collection: &CollectionId) -> Result<u64, IndexError> {
        let number: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM chunk JOIN collection ON collection.no = chunk.collection_no WHERE state = 0 AND kind = 1
               AND collection.id = ?1 AND EXISTS (SELECT 1 FROM snapshot_segment JOIN snapshot ON snapshot.no = snapshot_no
                 WHERE segment_no = chunk.no AND snapshot.deleted = 0)",
        )
        .bind(collection.as_bytes().to_vec())
        .fetch_one(&self.pool)
        .await?;
        Ok(number.unsigned_abs())
    }

    /// How many chunks are missing, and their bytes: of one collection or of all.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn count_missing(&self, collection: Option<&CollectionId>) -> Result<(u64, u64), IndexError> {
        let row = sqlx::query(
            "SELECT count(*) AS number, coalesce(sum(size), 0) AS bytes FROM chunk WHERE state = 0 AND kind = 0
               AND (collection_no IN (SELECT no FROM collection WHERE ?1 IS NULL OR id = ?1) OR (shared AND EXISTS (
                 SELECT 1 FROM segment_chunk listed JOIN chunk segment ON segment.no = listed.segment_no
                 JOIN collection ON collection.no = segment.collection_no
                 WHERE listed.chunk_no = chunk.no AND collection.id = ?1)))",
        )
        .bind(collection.map(|id| id.as_bytes().to_vec()))
        .fetch_one(&self.pool)
        .await?;
        Ok((row.try_get::<i64, _>("number")? as u64, row.try_get::<i64, _>("bytes")? as u64))
    }

    /// Bytes of chunks that are here and that only incomplete snapshots name, as far as their lists are known: of one collection
    /// or of all.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn bytes_of_incomplete(&self, collection: Option<&CollectionId>) -> Result<u64, IndexError> {
        let bytes: i64 = sqlx::query_scalar(
            "WITH named AS (
                 SELECT link.segment_no AS no, max(snapshot.complete) AS complete FROM snapshot_segment link
                 JOIN snapshot ON snapshot.no = link.snapshot_no
                 WHERE snapshot.collection_no IN (SELECT no FROM collection WHERE ?1 IS NULL OR id = ?1)
                 GROUP BY link.segment_no)
             SELECT coalesce(sum(size), 0) FROM chunk WHERE state > 0 AND kind = 0
               AND no IN (SELECT chunk_no FROM segment_chunk WHERE segment_no IN (SELECT no FROM named WHERE NOT complete))
               AND NOT EXISTS (SELECT 1 FROM segment_chunk link JOIN named ON named.no = link.segment_no
                               WHERE link.chunk_no = chunk.no AND named.complete)",
        )
        .bind(collection.map(|id| id.as_bytes().to_vec()))
        .fetch_one(&self.pool)
        .await?;
        Ok(bytes as u64)
    }

    /// Those of these ids that cannot be shared chunks of a collection: something else has the id, in this collection or another.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn not_shareable(&self, ids: &[ChunkId]) -> Result<Vec<ChunkId>, IndexError> {
        let mut found = Vec::new();
        for batch in ids.chunks(1000) {
            let rows = sqlx::query(
                "SELECT chunk.id FROM json_each(?1) wanted JOIN chunk ON chunk.id = unhex(wanted.value)
                 WHERE chunk.kind <> 0 OR NOT chunk.shared",
            )
            .bind(to_json(&batch))
            .fetch_all(&self.pool)
            .await?;
            for row in &rows {
                found.push(id(row, "id", ChunkId::from_slice)?);
            }
        }
        Ok(found)
    }

    /// For each chunk or segment, its size if it is here and a snapshot that the rights let see names it (R12). In the
    /// order of `ids`.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn visible_chunks(&self, rights: &Rights, ids: &[ChunkId]) -> Result<Vec<Option<u32>>, IndexError> {
        let visible = self.visible(rights).await?;
        let mut sizes: HashMap<ChunkId, u32> = HashMap::with_capacity(ids.len());
        for batch in ids.chunks(1000) {
            let rows = sqlx::query(
                "WITH seen AS (SELECT value AS no FROM json_each(?2)), own AS (SELECT value AS no FROM json_each(?4))
                 SELECT chunk.id, chunk.size FROM json_each(?1) wanted JOIN chunk ON chunk.id = unhex(wanted.value)
                 WHERE chunk.state > 0 AND (chunk.shared OR chunk.collection_no IN seen) AND (
                   (chunk.kind = 0 AND EXISTS (
                     SELECT 1 FROM segment_chunk listed
                     JOIN snapshot_segment link ON link.segment_no = listed.segment_no
                     JOIN snapshot ON snapshot.no = link.snapshot_no
                     WHERE listed.chunk_no = chunk.no AND snapshot.deleted = 0
                       AND (snapshot.created_at >= ?3 OR snapshot.collection_no IN own)
                       AND (snapshot.collection_no = chunk.collection_no OR chunk.shared) AND snapshot.collection_no IN seen))
                   OR (chunk.kind = 1 AND EXISTS (
                     SELECT 1 FROM snapshot_segment link JOIN snapshot ON snapshot.no = link.snapshot_no
                     WHERE link.segment_no = chunk.no AND snapshot.deleted = 0
                       AND (snapshot.created_at >= ?3 OR snapshot.collection_no IN own)
                       AND snapshot.collection_no = chunk.collection_no AND snapshot.collection_no IN seen)))",
            )
            .bind(to_json(&batch))
            .bind(visible.collections.clone())
            .bind(visible.from)
            .bind(visible.own.clone())
            .fetch_all(&self.pool)
            .await?;
            for row in &rows {
                let (id, size) = read_sized(row)?;
                sizes.insert(id, size);
            }
        }
        Ok(ids.iter().map(|id| sizes.get(id).copied()).collect())
    }
}

fn read_sized(row: &SqliteRow) -> Result<(ChunkId, u32), IndexError> {
    let size: i64 = row.try_get("size")?;
    Ok((id(row, "id", ChunkId::from_slice)?, u32::try_from(size).map_err(|_| IndexError::Damaged(None))?))
}

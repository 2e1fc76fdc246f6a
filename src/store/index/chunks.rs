//! Chunks and segments: what snapshots name, and what arrived or was lost. What is asked of them stands in [`super::holdings`].

use std::collections::BTreeSet;

use sqlx::{Row, SqliteConnection};

use super::{BATCH, Index, IndexError, NewChunk, id, prune, snapshots, to_json};
use crate::domain::id::{ChunkId, CollectionId};
use crate::domain::manifest::SegmentSummary;
use crate::domain::segment::{MAX_ENTRIES, Segment};

pub(super) const CHUNK: i64 = 0;
pub(super) const SEGMENT: i64 = 1;

impl Index {
    /// Records that a segment is here; its bytes are durable. The chunks that it lists are known from now on, and missing unless
    /// they are here already. Snapshots that are complete with it are told of.
    ///
    /// # Errors
    /// [`IndexError::NoSuchSegment`] if no snapshot names it; if the peer lied, [`IndexError::ChunkElsewhere`].
    pub async fn note_segment(&self, segment: &Segment) -> Result<(), IndexError> {
        let mut tx = self.begin().await?;
        fill_segment(&mut tx, segment).await?;
        settle_named_by(&mut tx, &[segment.id]).await?;
        Ok(tx.commit().await?)
    }

    /// Records that chunks are here, with their sizes; their bytes are durable. Snapshots that are complete with them are told
    /// of. Ids that are not known are passed over.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn chunks_arrived(&self, arrived: &[(ChunkId, u32)]) -> Result<(), IndexError> {
        let mut tx = self.begin().await?;
        arrive(&mut tx, arrived).await?;
        Ok(tx.commit().await?)
    }

    /// Replaces what [`sparse_chunks`](Self::sparse_chunks) answers.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn set_sparse_chunks(&self, collection: &CollectionId, sparse: &[ChunkId]) -> Result<(), IndexError> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "DELETE FROM sparse_chunk WHERE chunk_no IN (SELECT chunk.no FROM chunk
             JOIN collection ON collection.no = chunk.collection_no WHERE collection.id = ?1)",
        )
        .bind(collection.as_bytes().to_vec())
        .execute(&mut *tx)
        .await?;
        for batch in sparse.chunks(BATCH) {
            sqlx::query(
                "INSERT INTO sparse_chunk (chunk_no)
                 SELECT chunk.no FROM json_each(?1) sparse JOIN chunk ON chunk.id = unhex(sparse.value)",
            )
            .bind(to_json(&batch))
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Records that chunks or segments were lost or put aside: the snapshots that need them are not complete any more.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn mark_missing(&self, lost: &[ChunkId]) -> Result<(), IndexError> {
        let mut tx = self.begin().await?;
        for batch in lost.chunks(BATCH) {
            let lost = to_json(&batch);
            let segments: Vec<i64> = sqlx::query_scalar(
                "SELECT chunk.no FROM json_each(?1) lost JOIN chunk ON chunk.id = unhex(lost.value) WHERE chunk.kind = 1
                 UNION SELECT link.segment_no FROM json_each(?1) lost JOIN chunk ON chunk.id = unhex(lost.value)
                 JOIN segment_chunk link ON link.chunk_no = chunk.no",
            )
            .bind(lost.clone())
            .fetch_all(&mut *tx)
            .await?;
            let segments = to_json(&segments);
            sqlx::query("UPDATE chunk SET state = 1 WHERE state = 2 AND no IN (SELECT value FROM json_each(?1))")
                .bind(segments.clone())
                .execute(&mut *tx)
                .await?;
            sqlx::query(
                "INSERT INTO lost_chunk (chunk_no) SELECT chunk.no FROM json_each(?1) lost
                 JOIN chunk ON chunk.id = unhex(lost.value) WHERE chunk.state > 0 ON CONFLICT DO NOTHING",
            )
            .bind(lost.clone())
            .execute(&mut *tx)
            .await?;
            sqlx::query("UPDATE chunk SET state = 0 WHERE id IN (SELECT unhex(value) FROM json_each(?1))")
                .bind(lost)
                .execute(&mut *tx)
                .await?;
            sqlx::query(
                "UPDATE snapshot SET complete = 0 WHERE complete = 1 AND no IN (
                     SELECT snapshot_no FROM snapshot_segment WHERE segment_no IN (SELECT value FROM json_each(?1)))",
            )
            .bind(segments)
            .execute(&mut *tx)
            .await?;
        }
        Ok(tx.commit().await?)
    }
}

/// Adds chunks of our own that are here, with their secrets.
pub(in crate::store) async fn insert_own(
    connection: &mut SqliteConnection,
    collection_no: i64,
    new: &[NewChunk],
) -> Result<(), IndexError> {
    for batch in new.chunks(BATCH) {
        let rows: Vec<(ChunkId, u32)> = batch.iter().map(|chunk| (chunk.id, chunk.size_bytes)).collect();
        insert_chunks(connection, collection_no, &rows, false).await?;
        sqlx::query("UPDATE chunk SET state = 1 WHERE id IN (SELECT unhex(value ->> 0) FROM json_each(?1))")
            .bind(to_json(&rows))
            .execute(&mut *connection)
            .await?;
        for chunk in batch {
            set_secret(connection, &chunk.id, &chunk.sealed).await?;
        }
    }
    Ok(())
}

/// Adds shared chunks that are here.
pub(super) async fn insert_shared(
    connection: &mut SqliteConnection,
    collection_no: i64,
    here: &[(ChunkId, u32)],
) -> Result<(), IndexError> {
    insert_chunks(connection, collection_no, here, true).await?;
    arrive(connection, here).await
}

/// Keeps a chunk's sealed key and fragment table.
pub(in crate::store) async fn set_secret(
    connection: &mut SqliteConnection,
    id: &ChunkId,
    sealed: &[u8],
) -> Result<(), IndexError> {
    sqlx::query(
        "INSERT INTO chunk_secret (chunk_no, sealed) SELECT no, ?2 FROM chunk WHERE id = ?1
         ON CONFLICT (chunk_no) DO UPDATE SET sealed = ?2",
    )
    .bind(id.as_bytes().to_vec())
    .bind(sealed.to_vec())
    .execute(connection)
    .await?;
    Ok(())
}

/// Marks chunks present, the segments whole and the snapshots complete that are so with them.
pub(super) async fn arrive(connection: &mut SqliteConnection, arrived: &[(ChunkId, u32)]) -> Result<(), IndexError> {
    for batch in arrived.chunks(BATCH) {
        let segments: Vec<i64> = sqlx::query_scalar(
            "SELECT DISTINCT link.segment_no FROM json_each(?1) new JOIN chunk ON chunk.id = unhex(new.value ->> 0)
             JOIN segment_chunk link ON link.chunk_no = chunk.no",
        )
        .bind(to_json(&batch))
        .fetch_all(&mut *connection)
        .await?;
        sqlx::query(
            "UPDATE chunk SET state = 1, size = new.value ->> 1 FROM json_each(?1) new
             WHERE chunk.id = unhex(new.value ->> 0) AND chunk.kind = 0",
        )
        .bind(to_json(&batch))
        .execute(&mut *connection)
        .await?;
        let whole = settle_segments(connection, &segments).await?;
        settle_with_segments(connection, &whole).await?;
    }
    Ok(())
}

/// Adds chunks that are not known, as missing; checks that the others belong here: a chunk is one collection's, unless every list
/// that names it says that it is shared.
async fn insert_chunks(
    connection: &mut SqliteConnection,
    collection_no: i64,
    rows: &[(ChunkId, u32)],
    shared: bool,
) -> Result<(), IndexError> {
    for batch in rows.chunks(BATCH) {
        sqlx::query(
            "INSERT INTO chunk (id, size, kind, state, collection_no, shared)
             SELECT unhex(value ->> 0), value ->> 1, 0, 0, ?2, ?3 FROM json_each(?1) WHERE true ON CONFLICT (id) DO NOTHING",
        )
        .bind(to_json(&batch))
        .bind(collection_no)
        .bind(shared)
        .execute(&mut *connection)
        .await?;
        let elsewhere = sqlx::query(
            "SELECT chunk.id FROM json_each(?1) new JOIN chunk ON chunk.id = unhex(new.value ->> 0)
             WHERE chunk.kind <> 0 OR (chunk.collection_no <> ?2 AND NOT (chunk.shared AND ?3)) LIMIT 1",
        )
        .bind(to_json(&batch))
        .bind(collection_no)
        .bind(shared)
        .fetch_optional(&mut *connection)
        .await?;
        if let Some(row) = elsewhere {
            return Err(IndexError::ChunkElsewhere { id: id(&row, "id", ChunkId::from_slice)? });
        }
    }
    Ok(())
}

/// The row of a segment, added as missing if it is not known.
pub(super) async fn segment_row(
    connection: &mut SqliteConnection,
    collection_no: i64,
    summary: &SegmentSummary,
) -> Result<i64, IndexError> {
    if summary.chunks as usize > MAX_ENTRIES {
        return Err(IndexError::Contradiction { id: summary.id });
    }
    let known = sqlx::query("SELECT no, kind, collection_no FROM chunk WHERE id = ?1")
        .bind(summary.id.as_bytes().to_vec())
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(row) = known {
        let ours =
            row.try_get::<i64, _>("kind")? == SEGMENT && row.try_get::<i64, _>("collection_no")? == collection_no;
        return if ours { Ok(row.try_get("no")?) } else { Err(IndexError::ChunkElsewhere { id: summary.id }) };
    }
    let done = sqlx::query("INSERT INTO chunk (id, size, kind, state, collection_no) VALUES (?1, ?2, 1, 0, ?3)")
        .bind(summary.id.as_bytes().to_vec())
        .bind(Segment::stored_size(summary.chunks, summary.shared) as i64)
        .bind(collection_no)
        .execute(connection)
        .await?;
    Ok(done.last_insert_rowid())
}

/// Marks a segment present, adds and links the chunks that it lists; whole, if all of them are here.
pub(in crate::store) async fn fill_segment(
    connection: &mut SqliteConnection,
    segment: &Segment,
) -> Result<(), IndexError> {
    let row = sqlx::query(
        "SELECT chunk.no, state, size, collection_no, collection.id AS collection FROM chunk
         JOIN collection ON collection.no = collection_no WHERE chunk.id = ?1 AND kind = 1",
    )
    .bind(segment.id.as_bytes().to_vec())
    .fetch_optional(&mut *connection)
    .await?
    .ok_or(IndexError::NoSuchSegment { id: segment.id })?;
    let (no, state): (i64, i64) = (row.try_get("no")?, row.try_get("state")?);
    if state == 2 {
        return Ok(());
    }
    if let Some(collection) = segment.shared_in
        && collection != id(&row, "collection", CollectionId::from_slice)?
    {
        return Err(IndexError::Contradiction { id: segment.id });
    }
    let size = Segment::stored_size(segment.entries.len() as u32, segment.shared_in.is_some()) as i64;
    if row.try_get::<i64, _>("size")? != size {
        // The manifest that named it first said something else of it.
        sqlx::query("UPDATE chunk SET size = ?2 WHERE no = ?1").bind(no).bind(size).execute(&mut *connection).await?;
    }
    let rows: Vec<(ChunkId, u32)> = segment.entries.iter().map(|entry| (entry.id, entry.size_bytes)).collect();
    insert_chunks(connection, row.try_get("collection_no")?, &rows, segment.shared_in.is_some()).await?;
    for batch in rows.chunks(BATCH) {
        sqlx::query(
            "INSERT INTO segment_chunk (chunk_no, segment_no)
             SELECT chunk.no, ?2 FROM json_each(?1) new JOIN chunk ON chunk.id = unhex(new.value ->> 0)
             WHERE true ON CONFLICT DO NOTHING",
        )
        .bind(to_json(&batch))
        .bind(no)
        .execute(&mut *connection)
        .await?;
    }
    prune::named_again(connection, no).await?;
    sqlx::query("UPDATE chunk SET state = 1 WHERE no = ?1").bind(no).execute(&mut *connection).await?;
    settle_segments(connection, &[no]).await?;
    Ok(())
}

/// Marks those of these segments whole that are present with all their chunks; answers them.
async fn settle_segments(connection: &mut SqliteConnection, numbers: &[i64]) -> Result<Vec<i64>, IndexError> {
    Ok(sqlx::query_scalar(
        "UPDATE chunk SET state = 2
         WHERE kind = 1 AND state = 1 AND no IN (SELECT value FROM json_each(?1)) AND NOT EXISTS (
             SELECT 1 FROM segment_chunk listed JOIN chunk below ON below.no = listed.chunk_no
             WHERE listed.segment_no = chunk.no AND below.state = 0)
         RETURNING no",
    )
    .bind(to_json(&numbers))
    .fetch_all(connection)
    .await?)
}

async fn settle_named_by(connection: &mut SqliteConnection, segments: &[ChunkId]) -> Result<(), IndexError> {
    let numbers: Vec<i64> =
        sqlx::query_scalar("SELECT no FROM chunk WHERE state = 2 AND id IN (SELECT unhex(value) FROM json_each(?1))")
            .bind(to_json(&segments))
            .fetch_all(&mut *connection)
            .await?;
    settle_with_segments(connection, &numbers).await
}

/// Marks snapshots complete that became so with these segments.
async fn settle_with_segments(connection: &mut SqliteConnection, segments: &[i64]) -> Result<(), IndexError> {
    if segments.is_empty() {
        return Ok(());
    }
    let snapshots: Vec<i64> = sqlx::query_scalar(
        "SELECT DISTINCT snapshot_no FROM snapshot_segment WHERE segment_no IN (SELECT value FROM json_each(?1))",
    )
    .bind(to_json(&segments))
    .fetch_all(&mut *connection)
    .await?;
    snapshots::settle(connection, &snapshots).await
}

/// A chunk or segment that keeps a snapshot from being complete.
pub(super) async fn first_missing(connection: &mut SqliteConnection, snapshot_no: i64) -> Result<ChunkId, IndexError> {
    let row = sqlx::query(
        "SELECT chunk.id FROM snapshot_segment link JOIN segment_chunk listed ON listed.segment_no = link.segment_no
         JOIN chunk ON chunk.no = listed.chunk_no WHERE link.snapshot_no = ?1 AND chunk.state = 0
         UNION ALL SELECT chunk.id FROM snapshot_segment link JOIN chunk ON chunk.no = link.segment_no
         WHERE link.snapshot_no = ?1 AND chunk.state = 0 LIMIT 1",
    )
    .bind(snapshot_no)
    .fetch_one(connection)
    .await?;
    id(&row, "id", ChunkId::from_slice)
}

/// Unlinks a deleted snapshot, and forgets segments that nobody names any more.
pub(super) async fn unlink_snapshot(connection: &mut SqliteConnection, snapshot_no: i64) -> Result<(), IndexError> {
    let segments: BTreeSet<i64> = sqlx::query_scalar("SELECT segment_no FROM snapshot_segment WHERE snapshot_no = ?1")
        .bind(snapshot_no)
        .fetch_all(&mut *connection)
        .await?
        .into_iter()
        .collect();
    sqlx::query("DELETE FROM snapshot_segment WHERE snapshot_no = ?1")
        .bind(snapshot_no)
        .execute(&mut *connection)
        .await?;
    for segment in segments {
        let named: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM snapshot_segment WHERE segment_no = ?1)")
            .bind(segment)
            .fetch_one(&mut *connection)
            .await?;
        if !named {
            sqlx::query("DELETE FROM segment_chunk WHERE segment_no = ?1")
                .bind(segment)
                .execute(&mut *connection)
                .await?;
            sqlx::query("DELETE FROM chunk WHERE no = ?1").bind(segment).execute(&mut *connection).await?;
        }
    }
    Ok(())
}

//! Removing: snapshots from the index, then what nobody names any more.
//!
//! ```text
//! remove_snapshots ─► (manifest files) ─► note_unnamed: chunks are marked with the time
//!                                             │  later, while nobody stores anything (`SweepGate`)
//!                                     forget_chunks: the index knows them no more, they are files
//!                                             │
//!                                     begin_sweep: still unknown? removed
//! ```
//!
//! What names a chunk: a list of chunks that a snapshot names, and an item of an Axon BBS. A chunk that is named again is taken off the
//! mark in the transaction that names it. Each step can be cut anywhere and done again.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::{Row, Sqlite, SqliteConnection, Transaction};

use super::{BATCH, Index, IndexError, chunks, feed, id, marks, moment, nanos, to_json};
use crate::domain::id::{ChunkId, CollectionId, InstanceId, ManifestId};

/// A snapshot that was removed here: it is not fetched again from those who still have it, whatever becomes of the index.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::store) struct Removed {
    pub(in crate::store) snapshot: ManifestId,
    collection: CollectionId,
    maker: InstanceId,
    sequence: u64,
    created_at: Timestamp,
}

/// That nobody names a row of `chunk`.
macro_rules! nobody_names {
    ($chunk:literal) => {
        concat!(
            "NOT EXISTS (SELECT 1 FROM segment_chunk WHERE chunk_no = ",
            $chunk,
            ".no) AND NOT EXISTS (SELECT 1 FROM axon_item_chunk WHERE chunk = ",
            $chunk,
            ".id)"
        )
    };
}

/// Chunks or files and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// How many.
    pub chunks: u64,
    /// Their stored bytes.
    pub bytes: u64,
}

impl std::ops::AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.chunks += other.chunks;
        self.bytes += other.bytes;
    }
}

impl Index {
    /// Marks snapshots deleted and tells of it, in one transaction. Their lists of chunks are forgotten if no other snapshot names
    /// them; chunks stay. Afterwards the caller removes the manifest files. Answers those that were there; what is pinned stays.
    ///
    /// # Errors
    /// [`IndexError`]; then nothing was removed.
    pub async fn remove_snapshots(&self, ids: &[ManifestId]) -> Result<Vec<ManifestId>, IndexError> {
        let mut tx = self.begin().await?;
        let mut removed = Vec::new();
        for snapshot in ids {
            let row = sqlx::query(
                "UPDATE snapshot SET deleted = 1, complete = 0 WHERE id = ?1 AND deleted = 0
                   AND NOT EXISTS (SELECT 1 FROM snapshot_mark WHERE snapshot = ?1 AND pinned) RETURNING no, announced",
            )
            .bind(snapshot.as_bytes().to_vec())
            .fetch_optional(&mut *tx)
            .await?;
            let Some(row) = row else { continue };
            let no: i64 = row.try_get("no")?;
            if row.try_get("announced")? {
                feed::append_tombstone(&mut tx, no).await?;
            }
            chunks::unlink_snapshot(&mut tx, no).await?;
            marks::forget(&mut tx, snapshot).await?;
            removed.push(*snapshot);
        }
        forget_missing(&mut tx).await?;
        self.commit_with_ledger(tx).await?;
        Ok(removed)
    }

    /// Those of these manifests whose snapshots were deleted: their files were left by a kill.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn deleted_among(&self, ids: &[ManifestId]) -> Result<Vec<ManifestId>, IndexError> {
        let rows = sqlx::query(
            "SELECT snapshot.id FROM json_each(?1) there JOIN snapshot ON snapshot.id = unhex(there.value) WHERE deleted = 1",
        )
        .bind(to_json(&ids))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| id(row, "id", ManifestId::from_slice)).collect()
    }

    /// Marks chunks that nobody names and that were not marked before, and takes those that are named again off the mark.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn note_unnamed(&self, now: Timestamp) -> Result<(), IndexError> {
        let mut tx = self.begin().await?;
        forget_missing(&mut tx).await?;
        sqlx::query(
            "DELETE FROM unnamed_chunk WHERE EXISTS (SELECT 1 FROM segment_chunk named WHERE named.chunk_no = unnamed_chunk.chunk_no)
               OR EXISTS (SELECT 1 FROM chunk JOIN axon_item_chunk item ON item.chunk = chunk.id WHERE chunk.no = unnamed_chunk.chunk_no)",
        )
        .execute(&mut *tx)
        .await?;
        for of_a_clock_ahead in [
            "UPDATE unnamed_chunk SET since = ?1 WHERE since > ?1",
            "UPDATE unknown_file SET since = ?1 WHERE since > ?1",
        ] {
            sqlx::query(of_a_clock_ahead).bind(nanos(now)).execute(&mut *tx).await?;
        }
        sqlx::query(concat!(
            "INSERT INTO unnamed_chunk (chunk_no, since) SELECT no, ?1 FROM chunk WHERE kind = 0 AND ",
            nobody_names!("chunk"),
            " ON CONFLICT DO NOTHING"
        ))
        .bind(nanos(now))
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// Marks files that the index does not know and that were not marked before; those that it knows, or that are not there any more,
    /// are taken off the mark. `files`: everything that is there, with its size.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn note_unknown(&self, files: &[(ChunkId, u64)], now: Timestamp) -> Result<(), IndexError> {
        let mut unknown = Vec::new();
        for batch in files.chunks(BATCH) {
            let rows = sqlx::query(
                "SELECT value ->> 0 AS id, value ->> 1 AS size FROM json_each(?1) WHERE unhex(value ->> 0) NOT IN (SELECT id FROM chunk)
                   AND unhex(value ->> 0) NOT IN (SELECT chunk FROM axon_item_chunk)",
            )
            .bind(to_json(&batch))
            .fetch_all(&self.pool)
            .await?;
            for row in &rows {
                unknown.push((row.try_get::<String, _>("id")?, row.try_get::<i64, _>("size")?));
            }
        }
        let mut tx = self.begin().await?;
        sqlx::query("CREATE TEMP TABLE IF NOT EXISTS found_file (id BLOB PRIMARY KEY) WITHOUT ROWID")
            .execute(&mut *tx)
            .await?;
        sqlx::query("DELETE FROM found_file").execute(&mut *tx).await?;
        for batch in unknown.chunks(BATCH) {
            let batch = to_json(&batch);
            sqlx::query("INSERT OR IGNORE INTO found_file (id) SELECT unhex(value ->> 0) FROM json_each(?1)")
                .bind(batch.clone())
                .execute(&mut *tx)
                .await?;
            sqlx::query(
                "INSERT INTO unknown_file (id, size, since) SELECT unhex(value ->> 0), value ->> 1, ?2 FROM json_each(?1)
                 WHERE true ON CONFLICT DO NOTHING",
            )
            .bind(batch)
            .bind(nanos(now))
            .execute(&mut *tx)
            .await?;
        }
        sqlx::query("DELETE FROM unknown_file WHERE id NOT IN (SELECT id FROM found_file)").execute(&mut *tx).await?;
        sqlx::query("DELETE FROM found_file").execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    /// Forgets some of the chunks that have been marked since `until` or longer and that nobody names: they are files that the index does
    /// not know from now on. Answers how many; 0 if there are none left.
    ///
    /// Only while nobody stores anything ([`crate::store::SweepGate`]): a backup may lean on a chunk that nobody names.
    ///
    /// # Errors
    /// [`IndexError`].
    pub(in crate::store) async fn forget_chunks(&self, until: Timestamp, limit: usize) -> Result<usize, IndexError> {
        let mut tx = self.begin().await?;
        let numbers: Vec<i64> = sqlx::query_scalar(concat!(
            "SELECT no FROM unnamed_chunk JOIN chunk ON no = chunk_no WHERE since <= ?1 AND ",
            nobody_names!("chunk"),
            " LIMIT ?2"
        ))
        .bind(nanos(until))
        .bind(limit as i64)
        .fetch_all(&mut *tx)
        .await?;
        let batch = to_json(&numbers);
        sqlx::query(
            "INSERT INTO unknown_file (id, size, since) SELECT id, size, since FROM chunk JOIN unnamed_chunk ON no = chunk_no
             WHERE no IN (SELECT value FROM json_each(?1)) ON CONFLICT (id) DO UPDATE SET since = excluded.since",
        )
        .bind(batch.clone())
        .execute(&mut *tx)
        .await?;
        delete_chunks(&mut tx, &batch).await?;
        tx.commit().await?;
        Ok(numbers.len())
    }

    /// Begins to remove some of the files that have been marked since `until` or longer and that the index does not know. Nobody can name one
    /// of them before it is finished or dropped.
    ///
    /// Only while nobody stores anything, see [`forget_chunks`](Self::forget_chunks).
    ///
    /// # Errors
    /// [`IndexError`].
    pub(in crate::store) async fn begin_sweep(&self, until: Timestamp, limit: usize) -> Result<Sweep, IndexError> {
        let mut tx = self.begin().await?;
        let rows = sqlx::query(
            "SELECT id, size FROM unknown_file file WHERE since <= ?1 AND NOT EXISTS (SELECT 1 FROM chunk WHERE chunk.id = file.id)
               AND NOT EXISTS (SELECT 1 FROM axon_item_chunk WHERE chunk = file.id) LIMIT ?2",
        )
        .bind(nanos(until))
        .bind(limit as i64)
        .fetch_all(&mut *tx)
        .await?;
        let read =
            |row| Ok((id(row, "id", ChunkId::from_slice)?, row.try_get::<i64, _>("size").map(i64::unsigned_abs)?));
        let files = rows.iter().map(read).collect::<Result<_, IndexError>>()?;
        Ok(Sweep { tx, files })
    }

    /// What only these snapshots name, together: what there would be to free without them, lists of chunks included.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn only_in(&self, ids: &[ManifestId]) -> Result<Amount, IndexError> {
        let row = sqlx::query(
            "WITH gone AS (SELECT no FROM json_each(?1) wanted JOIN snapshot ON snapshot.id = unhex(wanted.value)),
               list AS (SELECT segment_no AS no, max(snapshot_no NOT IN gone) AS stays FROM snapshot_segment GROUP BY segment_no),
               freed AS (
                 SELECT no FROM list WHERE NOT stays
                 UNION SELECT chunk_no FROM list JOIN segment_chunk ON segment_no = list.no
                   WHERE NOT stays AND NOT EXISTS (
                     SELECT 1 FROM segment_chunk other JOIN list kept ON kept.no = other.segment_no
                     WHERE other.chunk_no = segment_chunk.chunk_no AND kept.stays))
             SELECT count(*) AS number, coalesce(sum(size), 0) AS bytes FROM chunk WHERE state > 0 AND no IN freed
               AND NOT EXISTS (SELECT 1 FROM axon_item_chunk WHERE chunk = chunk.id)",
        )
        .bind(to_json(&ids))
        .fetch_one(&self.pool)
        .await?;
        amount(&row)
    }

    /// What a collection's snapshots name and is here, lists of chunks included.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn named_by(&self, collection: &CollectionId) -> Result<Amount, IndexError> {
        let row = sqlx::query(
            "WITH list AS (SELECT DISTINCT segment_no AS no FROM snapshot_segment JOIN snapshot ON snapshot.no = snapshot_no
               JOIN collection ON collection.no = collection_no WHERE collection.id = ?1)
             SELECT count(*) AS number, coalesce(sum(size), 0) AS bytes FROM chunk
             WHERE state > 0 AND (no IN list OR no IN (SELECT chunk_no FROM segment_chunk WHERE segment_no IN list))",
        )
        .bind(collection.as_bytes().to_vec())
        .fetch_one(&self.pool)
        .await?;
        amount(&row)
    }

    /// What is marked: chunks that nobody names, and files that the index does not know.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn unnamed(&self) -> Result<Amount, IndexError> {
        let row = sqlx::query(
            "SELECT count(*) AS number, coalesce(sum(size), 0) AS bytes FROM (
               SELECT size FROM unnamed_chunk JOIN chunk ON no = chunk_no UNION ALL SELECT size FROM unknown_file)",
        )
        .fetch_one(&self.pool)
        .await?;
        amount(&row)
    }

    /// For each snapshot, what nobody else names: what there would be to free without it alone. Those that take nothing alone are left out.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn alone(&self) -> Result<HashMap<ManifestId, Amount>, IndexError> {
        let rows = sqlx::query(
            "WITH list AS (SELECT segment_no AS no, min(snapshot_no) AS first, max(snapshot_no) AS last FROM snapshot_segment GROUP BY segment_no),
               named AS (
                 SELECT no, first, last FROM list
                 UNION ALL SELECT chunk_no, min(first), max(last) FROM list JOIN segment_chunk ON segment_no = list.no GROUP BY chunk_no)
             SELECT snapshot.id, count(*) AS number, coalesce(sum(chunk.size), 0) AS bytes FROM named
             JOIN chunk ON chunk.no = named.no JOIN snapshot ON snapshot.no = named.first
             WHERE first = last AND chunk.state > 0 AND NOT EXISTS (SELECT 1 FROM axon_item_chunk WHERE chunk = chunk.id)
             GROUP BY snapshot.id",
        )
        .fetch_all(&self.pool)
        .await?;
        let read = |row| Ok((id(row, "id", ManifestId::from_slice)?, amount(row)?));
        rows.iter().map(read).collect()
    }
}

/// Files that are being removed. As long as it is not finished, nobody else writes to the index.
pub(in crate::store) struct Sweep {
    tx: Transaction<'static, Sqlite>,
    /// Which ones, and their sizes.
    pub(in crate::store) files: Vec<(ChunkId, u64)>,
}

impl Sweep {
    /// They are not there any more.
    pub(in crate::store) async fn finish(mut self) -> Result<(), IndexError> {
        let ids: Vec<ChunkId> = self.files.iter().map(|(id, _)| *id).collect();
        sqlx::query("DELETE FROM unknown_file WHERE id IN (SELECT unhex(value) FROM json_each(?1))")
            .bind(to_json(&ids))
            .execute(&mut *self.tx)
            .await?;
        Ok(self.tx.commit().await?)
    }
}

/// All snapshots that were removed; not partial ones, whose place another one took.
pub(super) async fn all_removed(connection: &mut SqliteConnection) -> Result<Vec<Removed>, IndexError> {
    let rows = sqlx::query(
        "SELECT snapshot.id, collection.id AS collection, maker, sequence, created_at FROM snapshot
         JOIN collection ON collection.no = collection_no WHERE deleted = 1 AND partial = 0 ORDER BY snapshot.no",
    )
    .fetch_all(connection)
    .await?;
    let read = |row| {
        Ok(Removed {
            snapshot: id(row, "id", ManifestId::from_slice)?,
            collection: id(row, "collection", CollectionId::from_slice)?,
            maker: id(row, "maker", InstanceId::from_slice)?,
            sequence: row.try_get::<i64, _>("sequence")?.unsigned_abs(),
            created_at: moment(row, "created_at")?,
        })
    };
    rows.iter().map(read).collect()
}

/// Adds a row for a snapshot that was removed before the index was made anew.
pub(super) async fn insert_removed(connection: &mut SqliteConnection, removed: &Removed) -> Result<(), IndexError> {
    sqlx::query(
        "INSERT INTO snapshot (id, collection_no, maker, sequence, created_at, partial, chunks, chunk_bytes, has_key, complete, deleted)
         SELECT ?1, no, ?3, ?4, ?5, 0, 0, 0, 0, 0, 1 FROM collection WHERE id = ?2 ON CONFLICT DO NOTHING",
    )
    .bind(removed.snapshot.as_bytes().to_vec())
    .bind(removed.collection.as_bytes().to_vec())
    .bind(removed.maker.as_bytes().to_vec())
    .bind(removed.sequence as i64)
    .bind(nanos(removed.created_at))
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes chunks of these rows off the mark: they are named now.
pub(super) async fn named_again(connection: &mut SqliteConnection, segment_no: i64) -> Result<(), IndexError> {
    sqlx::query(
        "DELETE FROM unnamed_chunk WHERE chunk_no IN (SELECT chunk_no FROM segment_chunk WHERE segment_no = ?1)",
    )
    .bind(segment_no)
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets chunks that nobody names and that are not here: nobody is to fetch them.
async fn forget_missing(connection: &mut SqliteConnection) -> Result<(), IndexError> {
    let numbers: Vec<i64> =
        sqlx::query_scalar(concat!("SELECT no FROM chunk WHERE kind = 0 AND state = 0 AND ", nobody_names!("chunk")))
            .fetch_all(&mut *connection)
            .await?;
    for batch in numbers.chunks(BATCH) {
        delete_chunks(connection, &to_json(&batch)).await?;
    }
    Ok(())
}

async fn delete_chunks(connection: &mut SqliteConnection, numbers: &str) -> Result<(), IndexError> {
    sqlx::query("DELETE FROM chunk_secret WHERE chunk_no IN (SELECT value FROM json_each(?1))")
        .bind(numbers.to_owned())
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM chunk WHERE no IN (SELECT value FROM json_each(?1))")
        .bind(numbers.to_owned())
        .execute(connection)
        .await?;
    Ok(())
}

fn amount(row: &sqlx::sqlite::SqliteRow) -> Result<Amount, IndexError> {
    let number = |column| Ok::<_, IndexError>(row.try_get::<i64, _>(column)?.unsigned_abs());
    Ok(Amount { chunks: number("number")?, bytes: number("bytes")? })
}

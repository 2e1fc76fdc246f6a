//! What is read again and when, and what came of it.

use jiff::Timestamp;
use sqlx::Row;

use super::{Index, IndexError, id, moment, nanos, optional_moment, to_json};
use crate::domain::id::{ChunkId, CollectionId};
use crate::domain::scrub::Policy;
use crate::store::entropy;

/// Objects that are noted in one statement.
const BATCH: usize = 2000;
/// So many findings are kept.
const FINDINGS: i64 = 200;

/// A chunk or segment that is here and is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Which one.
    pub id: ChunkId,
    /// Its stored size.
    pub size_bytes: u32,
}

/// Something that was not what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// When it was found.
    pub found_at: Timestamp,
    /// What: a chunk, a manifest.
    pub subject: String,
    /// What is wrong with it, and what was done.
    pub what: String,
}

/// How it stands with the pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubState {
    /// Chunks and segments that are here.
    pub objects: u64,
    /// Of those, objects that were read at all.
    pub read: u64,
    /// Of those, objects that were read since a moment that was asked for.
    pub read_since: u64,
    /// Everything was read since then; `None` while something was never read.
    pub all_read_since: Option<Timestamp>,
    /// What is lost and was not brought back yet.
    pub lost: u64,
    /// The newest findings, newest first.
    pub findings: Vec<Finding>,
}

impl Index {
    /// Objects that are here and of which it is not known when they are to be read, at most `limit`; and whether there is
    /// any of which it is known.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn not_enrolled(&self, limit: usize) -> Result<(Vec<ChunkId>, bool), IndexError> {
        let rows = sqlx::query(
            "SELECT id FROM chunk WHERE state > 0 AND NOT EXISTS (SELECT 1 FROM scrub WHERE chunk_no = chunk.no) LIMIT ?1",
        )
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await?;
        let begun = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM scrub)").fetch_one(&self.pool).await?;
        let ids: Result<_, IndexError> = rows.iter().map(|row| id(row, "id", ChunkId::from_slice)).collect();
        Ok((ids?, begun))
    }

    /// Remembers when objects are to be read next; with `read_at` that they were read and found right.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn enrol(&self, due: &[(ChunkId, Timestamp)], read_at: Option<Timestamp>) -> Result<(), IndexError> {
        let rows: Vec<(ChunkId, i64)> = due.iter().map(|(id, at)| (*id, nanos(*at))).collect();
        sqlx::query(
            "INSERT INTO scrub (chunk_no, due_at, scrubbed_at)
             SELECT chunk.no, due.value ->> 1, ?2 FROM json_each(?1) due JOIN chunk ON chunk.id = unhex(due.value ->> 0)
             WHERE true ON CONFLICT (chunk_no) DO UPDATE SET due_at = excluded.due_at,
               scrubbed_at = coalesce(excluded.scrubbed_at, scrubbed_at)",
        )
        .bind(to_json(&rows))
        .bind(read_at.map(nanos))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// When objects that are here were read last, of those of which it is known.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn read_times(&self) -> Result<Vec<(ChunkId, Timestamp)>, IndexError> {
        let rows = sqlx::query(
            "SELECT chunk.id, scrub.scrubbed_at FROM scrub JOIN chunk ON chunk.no = scrub.chunk_no
             WHERE chunk.state > 0 AND scrub.scrubbed_at IS NOT NULL",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| Ok((id(row, "id", ChunkId::from_slice)?, moment(row, "scrubbed_at")?))).collect()
    }

    /// Remembers that objects were read and found right. When they are read next by themselves stays as it was drawn.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn note_read(&self, ids: &[ChunkId], at: Timestamp) -> Result<(), IndexError> {
        let mut rng = entropy();
        for some in ids.chunks(BATCH) {
            let rows: Vec<(ChunkId, i64)> = some
                .iter()
                .map(|id| (*id, nanos(Policy::default().first(at, rand_core::Rng::next_u32(&mut rng)))))
                .collect();
            sqlx::query(
                "INSERT INTO scrub (chunk_no, due_at, scrubbed_at)
                 SELECT chunk.no, due.value ->> 1, ?2 FROM json_each(?1) due JOIN chunk ON chunk.id = unhex(due.value ->> 0)
                 WHERE true ON CONFLICT (chunk_no) DO UPDATE SET scrubbed_at = excluded.scrubbed_at",
            )
            .bind(to_json(&rows))
            .bind(nanos(at))
            .execute(&self.pool)
            .await?;
        }
        Ok(())
    }

    /// Objects that are here and due, the longest due first.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Due>, IndexError> {
        let rows = sqlx::query(
            "SELECT chunk.id, chunk.size FROM scrub JOIN chunk ON chunk.no = scrub.chunk_no
             WHERE scrub.due_at <= ?1 AND chunk.state > 0 ORDER BY scrub.due_at LIMIT ?2",
        )
        .bind(nanos(now))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read_due).collect()
    }

    /// All objects that are here, of some collections; of all if there are none.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn objects(&self, collections: &[CollectionId]) -> Result<Vec<Due>, IndexError> {
        let rows = sqlx::query(
            "SELECT chunk.id, chunk.size FROM chunk JOIN collection ON collection.no = chunk.collection_no
             WHERE chunk.state > 0 AND (?2 OR hex(collection.id) IN (SELECT upper(value) FROM json_each(?1)) OR (chunk.shared AND EXISTS (
               SELECT 1 FROM segment_chunk listed JOIN chunk segment ON segment.no = listed.segment_no
               JOIN collection owner ON owner.no = segment.collection_no
               WHERE listed.chunk_no = chunk.no AND hex(owner.id) IN (SELECT upper(value) FROM json_each(?1))))) ORDER BY chunk.no",
        )
        .bind(to_json(&collections))
        .bind(collections.is_empty())
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read_due).collect()
    }

    /// Bytes of everything that is here.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn stored_bytes(&self) -> Result<u64, IndexError> {
        let bytes: i64 = sqlx::query_scalar("SELECT coalesce(sum(size), 0) FROM chunk WHERE state > 0")
            .fetch_one(&self.pool)
            .await?;
        Ok(bytes as u64)
    }

    /// Remembers what was found. The oldest findings are forgotten.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn note_finding(&self, finding: &Finding) -> Result<(), IndexError> {
        let mut tx = self.begin().await?;
        sqlx::query("INSERT INTO scrub_finding (found_at, subject, what) VALUES (?1, ?2, ?3)")
            .bind(nanos(finding.found_at))
            .bind(finding.subject.clone())
            .bind(finding.what.clone())
            .execute(&mut *tx)
            .await?;
        sqlx::query("DELETE FROM scrub_finding WHERE no <= (SELECT max(no) FROM scrub_finding) - ?1")
            .bind(FINDINGS)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// How it stands with the pass that began at `since`, with the newest findings.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn scrub_state(&self, since: Timestamp, findings: usize) -> Result<ScrubState, IndexError> {
        let row = sqlx::query(
            "SELECT count(*) AS objects, count(scrub.scrubbed_at) AS read, min(scrub.scrubbed_at) AS oldest,
               count(*) FILTER (WHERE scrub.scrubbed_at >= ?1) AS read_since
             FROM chunk LEFT JOIN scrub ON scrub.chunk_no = chunk.no WHERE chunk.state > 0",
        )
        .bind(nanos(since))
        .fetch_one(&self.pool)
        .await?;
        let found = sqlx::query("SELECT found_at, subject, what FROM scrub_finding ORDER BY no DESC LIMIT ?1")
            .bind(i64::try_from(findings).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await?;
        let read = |row| -> Result<Finding, IndexError> {
            let row: &sqlx::sqlite::SqliteRow = row;
            let found_at = moment(row, "found_at")?;
            Ok(Finding { found_at, subject: row.try_get("subject")?, what: row.try_get("what")? })
        };
        let (objects, all): (i64, i64) = (row.try_get("objects")?, row.try_get("read")?);
        Ok(ScrubState {
            objects: objects as u64,
            read: all as u64,
            read_since: row.try_get::<i64, _>("read_since")? as u64,
            all_read_since: optional_moment(&row, "oldest")?.filter(|_| all == objects),
            lost: self.count_lost().await?,
            findings: found.iter().map(read).collect::<Result<_, _>>()?,
        })
    }
}

fn read_due(row: &sqlx::sqlite::SqliteRow) -> Result<Due, IndexError> {
    let size: i64 = row.try_get("size")?;
    let size_bytes = u32::try_from(size).map_err(|_| IndexError::Damaged(None))?;
    Ok(Due { id: id(row, "id", ChunkId::from_slice)?, size_bytes })
}

//! Numbers of rows, for whoever watches from outside.

use sqlx::Row;

use super::runs::RunResult;
use super::{Index, IndexError, id};
use crate::domain::id::CollectionId;
use crate::domain::schedule::Work;

impl Index {
    /// How many runs that have ended are on record, by collection, work and result.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn count_runs(&self) -> Result<Vec<(CollectionId, Work, RunResult, u64)>, IndexError> {
        let rows = sqlx::query(
            "SELECT collection, work, result, count(*) AS number FROM run WHERE result NOT NULL
             GROUP BY collection, work, result ORDER BY collection, work, result",
        )
        .fetch_all(&self.pool)
        .await?;
        let read = |row: &sqlx::sqlite::SqliteRow| {
            let damaged = || IndexError::Damaged(None);
            let (work, result): (&str, &str) = (row.try_get("work")?, row.try_get("result")?);
            let result = RunResult::ALL.into_iter().find(|known| known.word() == result).ok_or_else(damaged)?;
            let number: i64 = row.try_get("number")?;
            let collection = id(row, "collection", CollectionId::from_slice)?;
            Ok((collection, work.parse().map_err(|_| damaged())?, result, number as u64))
        };
        rows.iter().map(read).collect()
    }
}

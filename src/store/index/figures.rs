//! Numbers of rows, for whoever watches from outside.

use sqlx::Row;

use super::runs::RunResult;
use super::{Index, IndexError};
use crate::domain::id::CollectionId;
use crate::domain::run::RunKind;

impl Index {
    /// How many runs that have ended are on record, by collection, if they were for one, kind and result.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn count_runs(&self) -> Result<Vec<(Option<CollectionId>, RunKind, RunResult, u64)>, IndexError> {
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
            let collection: Option<Vec<u8>> = row.try_get("collection")?;
            let collection =
                collection.map(|bytes| CollectionId::from_slice(&bytes)).transpose().map_err(|_| damaged())?;
            Ok((collection, work.parse().map_err(|_| damaged())?, result, number as u64))
        };
        rows.iter().map(read).collect()
    }
}

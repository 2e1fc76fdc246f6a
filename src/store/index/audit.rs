//! The copy of the audit log.

use sqlx::Row;

use super::{Index, IndexError};

impl Index {
    /// The newest line, without its end.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn newest_audit(&self) -> Result<Option<Vec<u8>>, IndexError> {
        let row = sqlx::query_scalar("SELECT line FROM audit ORDER BY n DESC LIMIT 1");
        Ok(row.fetch_optional(&self.pool).await?)
    }

    /// Lines with a higher number than `after`, with their numbers.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn audit_after(&self, after: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, IndexError> {
        let rows = sqlx::query("SELECT n, line FROM audit WHERE n > ?1 ORDER BY n LIMIT ?2")
            .bind(i64::try_from(after).unwrap_or(i64::MAX))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| Ok((row.try_get::<i64, _>("n")? as u64, row.try_get("line")?))).collect()
    }

    /// Keeps lines. Those whose numbers are there stay as they are.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn note_audit(&self, lines: &[(u64, Vec<u8>)]) -> Result<(), IndexError> {
        let mut tx = self.begin().await?;
        for (n, line) in lines {
            sqlx::query("INSERT INTO audit (n, line) VALUES (?1, ?2) ON CONFLICT DO NOTHING")
                .bind(i64::try_from(*n).unwrap_or(i64::MAX))
                .bind(line.clone())
                .execute(&mut *tx)
                .await?;
        }
        Ok(tx.commit().await?)
    }
}

//! What a run said: notices and problems.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::Row;

use super::{Index, IndexError, moment, nanos};

/// Of so many runs, the newest, the lines are kept.
const RUNS_KEPT: i64 = 1000;

/// Something that a run said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunLine {
    /// When.
    pub at: Timestamp,
    /// Whether it is a problem, or only worth knowing.
    pub is_problem: bool,
    /// With what there is a problem: a path, a peer, an id; empty if with nothing in particular.
    pub subject: String,
    /// One sentence.
    pub text: String,
}

impl Index {
    /// Keeps what a run said.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn save_run_lines(&self, run: i64, lines: &[RunLine]) -> Result<(), IndexError> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        for (no, line) in (0i64..).zip(lines) {
            sqlx::query("INSERT OR REPLACE INTO run_line (run, no, at, kind, subject, text) SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE EXISTS (SELECT 1 FROM run WHERE no = ?1)")
                .bind(run)
                .bind(no)
                .bind(nanos(line.at))
                .bind(if line.is_problem { "problem" } else { "notice" })
                .bind(line.subject.clone())
                .bind(line.text.clone())
                .execute(&mut *tx)
                .await?;
        }
        sqlx::query("DELETE FROM run_line WHERE run <= (SELECT max(no) FROM run) - ?1")
            .bind(RUNS_KEPT)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// What a run said, in order.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn run_lines(&self, run: i64) -> Result<Vec<RunLine>, IndexError> {
        let rows = sqlx::query("SELECT at, kind, subject, text FROM run_line WHERE run = ?1 ORDER BY no")
            .bind(run)
            .fetch_all(&self.pool)
            .await?;
        let read = |row: &sqlx::sqlite::SqliteRow| {
            Ok(RunLine {
                at: moment(row, "at")?,
                is_problem: row.try_get::<String, _>("kind")? == "problem",
                subject: row.try_get("subject")?,
                text: row.try_get("text")?,
            })
        };
        rows.iter().map(read).collect()
    }
}

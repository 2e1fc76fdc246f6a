//! What is wrong, and which ways its admin was told of it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Index, IndexError, json, moment, nanos, optional_moment, to_json};
use crate::domain::alert::Alert;

/// An alert, and who was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownAlert {
    /// What is wrong.
    pub alert: Alert,
    /// Since when that is known.
    pub since: Timestamp,
    /// It is well again since then.
    pub over_at: Option<Timestamp>,
    /// When somebody was told last.
    pub told_at: Option<Timestamp>,
    /// The ways that took the last message.
    pub told: BTreeSet<String>,
}

impl Index {
    /// All that is wrong, or was, as long as not everybody was told that it is over.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn alerts(&self) -> Result<Vec<KnownAlert>, IndexError> {
        let rows = sqlx::query("SELECT * FROM alert ORDER BY since, kind, subject").fetch_all(&self.pool).await?;
        rows.iter().map(read).collect()
    }

    /// Keeps an alert, in place of what was known of it.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn put_alert(&self, known: &KnownAlert) -> Result<(), IndexError> {
        sqlx::query(
            "INSERT INTO alert (kind, subject, message, since, over_at, told_at, told) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (kind, subject) DO UPDATE SET message = ?3, since = ?4, over_at = ?5, told_at = ?6, told = ?7",
        )
        .bind(known.alert.kind.word())
        .bind(known.alert.subject.clone())
        .bind(known.alert.message.clone())
        .bind(nanos(known.since))
        .bind(known.over_at.map(nanos))
        .bind(known.told_at.map(nanos))
        .bind(to_json(&known.told))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Forgets an alert.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn drop_alert(&self, alert: &Alert) -> Result<(), IndexError> {
        sqlx::query("DELETE FROM alert WHERE kind = ?1 AND subject = ?2")
            .bind(alert.kind.word())
            .bind(alert.subject.clone())
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

fn read(row: &SqliteRow) -> Result<KnownAlert, IndexError> {
    let kind: String = row.try_get("kind")?;
    let told: String = row.try_get("told")?;
    Ok(KnownAlert {
        alert: Alert {
            kind: kind.parse().map_err(|_| IndexError::Damaged(None))?,
            subject: row.try_get("subject")?,
            message: row.try_get("message")?,
        },
        since: moment(row, "since")?,
        over_at: optional_moment(row, "over_at")?,
        told_at: optional_moment(row, "told_at")?,
        told: json(&told)?,
    })
}

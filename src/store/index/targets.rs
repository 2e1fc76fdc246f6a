//! What was copied to targets, and what came of it.

use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Index, IndexError, id, moment, nanos, optional_moment};
use crate::domain::id::{CollectionId, ManifestId};

/// What is known of a collection's copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetCopy {
    /// The target's name.
    pub target: String,
    /// Of what.
    pub collection: CollectionId,
    /// When it was copied last, and which snapshot was the newest then.
    pub copied: Option<(Timestamp, ManifestId)>,
    /// When it was found right last, and which snapshot was the newest then.
    pub verified: Option<(Timestamp, ManifestId)>,
    /// Since when nothing comes of it, and why.
    pub failed: Option<(Timestamp, String)>,
}

impl Index {
    /// Of each target and collection what is known.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn target_copies(&self) -> Result<Vec<TargetCopy>, IndexError> {
        let rows = sqlx::query("SELECT * FROM target_copy ORDER BY target, collection").fetch_all(&self.pool).await?;
        rows.iter().map(read).collect()
    }

    /// A collection was copied to a target. What was wrong before is over.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn note_copied(
        &self,
        target: &str,
        collection: &CollectionId,
        snapshot: &ManifestId,
        at: Timestamp,
    ) -> Result<(), IndexError> {
        sqlx::query(
            "INSERT INTO target_copy (target, collection, copied_at, copied) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (target, collection) DO UPDATE SET copied_at = ?3, copied = ?4, failed_at = NULL, failure = NULL",
        )
        .bind(target)
        .bind(collection.as_bytes().to_vec())
        .bind(nanos(at))
        .bind(snapshot.as_bytes().to_vec())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// A collection's copy was looked at, and is right. What was wrong before is over if `is_newest`: if the newest snapshot is there.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn note_copy_verified(
        &self,
        target: &str,
        collection: &CollectionId,
        snapshot: &ManifestId,
        at: Timestamp,
        is_newest: bool,
    ) -> Result<(), IndexError> {
        sqlx::query(
            "INSERT INTO target_copy (target, collection, verified_at, verified) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (target, collection) DO UPDATE SET verified_at = ?3, verified = ?4,
               failed_at = CASE WHEN ?5 THEN NULL ELSE failed_at END, failure = CASE WHEN ?5 THEN NULL ELSE failure END",
        )
        .bind(target)
        .bind(collection.as_bytes().to_vec())
        .bind(nanos(at))
        .bind(snapshot.as_bytes().to_vec())
        .bind(is_newest)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Nothing, or not all, came of it. Since when stays as long as that lasts.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn note_copy_failed(
        &self,
        target: &str,
        collection: &CollectionId,
        why: &str,
        at: Timestamp,
    ) -> Result<(), IndexError> {
        sqlx::query(
            "INSERT INTO target_copy (target, collection, failed_at, failure) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (target, collection) DO UPDATE SET failed_at = coalesce(failed_at, ?3), failure = ?4",
        )
        .bind(target)
        .bind(collection.as_bytes().to_vec())
        .bind(nanos(at))
        .bind(why)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Forgets what is known of a target.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn forget_target(&self, target: &str) -> Result<(), IndexError> {
        sqlx::query("DELETE FROM target_copy WHERE target = ?1").bind(target).execute(&self.pool).await?;
        Ok(())
    }
}

fn read(row: &SqliteRow) -> Result<TargetCopy, IndexError> {
    let when_and_what = |at: &str, what: &str| {
        let when = optional_moment(row, at)?;
        when.map(|when| Ok::<_, IndexError>((when, id(row, what, ManifestId::from_slice)?))).transpose()
    };
    let failure: Option<String> = row.try_get("failure")?;
    Ok(TargetCopy {
        target: row.try_get("target")?,
        collection: id(row, "collection", CollectionId::from_slice)?,
        copied: when_and_what("copied_at", "copied")?,
        verified: when_and_what("verified_at", "verified")?,
        failed: failure.map(|why| Ok::<_, IndexError>((moment(row, "failed_at")?, why))).transpose()?,
    })
}

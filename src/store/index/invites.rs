//! Invites that were given out.

use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Index, IndexError, id, json, moment, nanos, optional_moment, to_json};
use crate::domain::id::InviteId;
use crate::domain::peer::Rights;

/// An invite to be.
#[derive(Debug, Clone)]
pub struct NewInvite {
    /// Which one.
    pub id: InviteId,
    /// Its secret, sealed under the master key.
    pub sealed_secret: Vec<u8>,
    /// What it grants.
    pub rights: Rights,
    /// After this moment it is worth nothing.
    pub expires_at: Timestamp,
}

/// An invite as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InviteRow {
    /// Which one.
    pub id: InviteId,
    /// Its secret, sealed under the master key.
    pub sealed_secret: Vec<u8>,
    /// What it grants.
    pub rights: Rights,
    /// After this moment it is worth nothing.
    pub expires_at: Timestamp,
    /// When it was used.
    pub used_at: Option<Timestamp>,
}

impl Index {
    /// Keeps an invite.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn add_invite(&self, new: &NewInvite) -> Result<(), IndexError> {
        sqlx::query("INSERT INTO invite (id, sealed_secret, rights, expires_at) VALUES (?1, ?2, ?3, ?4)")
            .bind(new.id.as_bytes().to_vec())
            .bind(new.sealed_secret.clone())
            .bind(to_json(&new.rights))
            .bind(nanos(new.expires_at))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// An invite, used or expired or not.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn invite(&self, id: &InviteId) -> Result<Option<InviteRow>, IndexError> {
        let row = sqlx::query("SELECT id, sealed_secret, rights, expires_at, used_at FROM invite WHERE id = ?1")
            .bind(id.as_bytes().to_vec())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// Uses an invite up. True exactly once, and never from `expires_at` on, however many try at the same time.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn use_invite(&self, id: &InviteId, now: Timestamp) -> Result<bool, IndexError> {
        let done = sqlx::query("UPDATE invite SET used_at = ?2 WHERE id = ?1 AND used_at IS NULL AND expires_at > ?2")
            .bind(id.as_bytes().to_vec())
            .bind(nanos(now))
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }
}

fn read(row: &SqliteRow) -> Result<InviteRow, IndexError> {
    Ok(InviteRow {
        id: id(row, "id", InviteId::from_slice)?,
        sealed_secret: row.try_get("sealed_secret")?,
        rights: json(row.try_get("rights")?)?,
        expires_at: moment(row, "expires_at")?,
        used_at: optional_moment(row, "used_at")?,
    })
}

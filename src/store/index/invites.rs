//! Invites that were given out.

use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::peers::discovery;
use super::{Index, IndexError, id, json, moment, nanos, optional_moment, to_json};
use crate::domain::crypto::discovery::DiscoveryRecipient;
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
    /// With which key whoever uses it finds our onion service, if that hides.
    pub discovery: Option<DiscoveryRecipient>,
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
    /// With which key whoever uses it finds our onion service, if that hides.
    pub discovery: Option<DiscoveryRecipient>,
}

impl Index {
    /// Keeps an invite.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn add_invite(&self, new: &NewInvite) -> Result<(), IndexError> {
        sqlx::query(
            "INSERT INTO invite (id, sealed_secret, rights, expires_at, discovery) VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .bind(new.id.as_bytes().to_vec())
        .bind(new.sealed_secret.clone())
        .bind(to_json(&new.rights))
        .bind(nanos(new.expires_at))
        .bind(new.discovery.map(|key| key.as_bytes().to_vec()))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// An invite, used or expired or not.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn invite(&self, id: &InviteId) -> Result<Option<InviteRow>, IndexError> {
        let row = sqlx::query("SELECT * FROM invite WHERE id = ?1")
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

    /// With which keys this instance's hidden onion service may be found now: those of invites that are still good, and those
    /// of peers that are let in. Peers come first, in a fixed order.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn discovery_keys(&self, now: Timestamp) -> Result<Vec<DiscoveryRecipient>, IndexError> {
        let rows = sqlx::query(
            "SELECT discovery, 1 AS turn FROM invite WHERE discovery IS NOT NULL AND used_at IS NULL AND expires_at > ?1
             UNION SELECT discovery, 0 AS turn FROM peer
               WHERE discovery IS NOT NULL AND json_extract(trust, '$.state') = 'trusted'
             ORDER BY turn, discovery",
        )
        .bind(nanos(now))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().filter_map(|row| discovery(row).transpose()).collect()
    }
}

fn read(row: &SqliteRow) -> Result<InviteRow, IndexError> {
    Ok(InviteRow {
        id: id(row, "id", InviteId::from_slice)?,
        sealed_secret: row.try_get("sealed_secret")?,
        rights: json(row.try_get("rights")?)?,
        expires_at: moment(row, "expires_at")?,
        used_at: optional_moment(row, "used_at")?,
        discovery: discovery(row)?,
    })
}

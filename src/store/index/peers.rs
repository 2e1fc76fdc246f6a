//! Peers: whom we know, what they may have here, what they let us have.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{Index, IndexError, id, json, moment, nanos, optional_moment, to_json};
use crate::domain::crypto::discovery::DiscoveryRecipient;
use crate::domain::feed::{Cursor, Fingerprint};
use crate::domain::id::{CollectionId, InstanceId};
use crate::domain::identity::SignedIdentity;
use crate::domain::peer::{PeerAddress, Role, Scope, Trust, is_plain_name};

/// Another instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// Which one.
    pub id: InstanceId,
    /// What it is called here.
    pub name: String,
    /// Where it is, if we may call on it.
    pub address: Option<PeerAddress>,
    /// What it may have here.
    pub trust: Trust,
    /// How it showed itself.
    pub identity: SignedIdentity,
    /// Whether we keep pulling from it.
    pub follow: bool,
    /// Of which collections we then fetch the chunks.
    #[serde(default = "all_of_them", skip_serializing_if = "is_all_of_them")]
    pub mirror: Scope,
    /// What it let us have.
    pub granted: Option<Granted>,
    /// With which key it finds our onion service, if that hides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovery: Option<DiscoveryRecipient>,
    /// Up to where we have read its feed. Moved by [`Index::note_page`] and [`Index::reset_cursor`] only.
    #[serde(skip)]
    pub cursor: Option<Cursor>,
    /// Since when we know it.
    pub added_at: Timestamp,
    /// When it was last reached, or reached us. Set by [`Index::note_contact`] and [`Index::note_heard`] only.
    #[serde(skip)]
    pub last_contact_at: Option<Timestamp>,
    /// What went wrong the last time. Set by [`Index::note_contact`] only.
    #[serde(skip)]
    pub last_error: Option<String>,
}

fn all_of_them() -> Scope {
    Scope::All
}

fn is_all_of_them(scope: &Scope) -> bool {
    *scope == Scope::All
}

/// What a peer let us have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// To read, or only to keep.
    pub role: Role,
    /// Whether we may serve it to our own peers.
    pub onward: bool,
    /// Which collections, by the names that they have there; `None` for all.
    pub collections: Option<Vec<String>>,
}

/// What came of comparing a peer's set of snapshots with ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// Which collections the peer shows us.
    pub scope: BTreeSet<CollectionId>,
    /// Its fingerprint.
    pub theirs: Fingerprint,
    /// Ours, after what we lacked was brought here.
    pub ours: Fingerprint,
    /// When that was.
    pub at: Timestamp,
}

impl Index {
    /// Adds a peer or replaces what is known of it; the ledger knows it too. Of one that is there already, the cursor and
    /// the last contact stay as they are: others move them meanwhile.
    ///
    /// # Errors
    /// [`IndexError::BadName`], [`IndexError::NameTaken`].
    pub async fn save_peer(&self, peer: &Peer) -> Result<(), IndexError> {
        if !is_plain_name(&peer.name) {
            return Err(IndexError::BadName { name: peer.name.clone() });
        }
        let mut tx = self.begin().await?;
        upsert(&mut tx, peer).await?;
        self.commit_with_ledger(tx).await
    }

    /// All peers, by name.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn peers(&self) -> Result<Vec<Peer>, IndexError> {
        all(&mut *self.pool.acquire().await?).await
    }

    /// The peer with this id.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn peer(&self, id: &InstanceId) -> Result<Option<Peer>, IndexError> {
        let row = sqlx::query("SELECT * FROM peer WHERE id = ?1")
            .bind(id.as_bytes().to_vec())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// The peer with this name, or whose id begins with these hex digits (at least four).
    ///
    /// # Errors
    /// [`IndexError::Ambiguous`].
    pub async fn peer_named(&self, text: &str) -> Result<Option<Peer>, IndexError> {
        let mut peers = self.peers().await?;
        if let Some(at) = peers.iter().position(|peer| peer.name == text) {
            return Ok(Some(peers.swap_remove(at)));
        }
        peers.retain(|peer| text.len() >= 4 && peer.id.to_string().starts_with(text));
        if peers.len() > 1 {
            return Err(IndexError::Ambiguous { text: text.to_owned() });
        }
        Ok(peers.pop())
    }

    /// Forgets a peer. What was pulled from it stays. Answers whether it was there.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn remove_peer(&self, id: &InstanceId) -> Result<bool, IndexError> {
        let mut tx = self.begin().await?;
        let done = sqlx::query("DELETE FROM peer WHERE id = ?1").bind(id.as_bytes().to_vec()).execute(&mut *tx).await?;
        self.commit_with_ledger(tx).await?;
        Ok(done.rows_affected() == 1)
    }

    /// A peer goes on under another id: it keeps its name, rights and cursor. The ledger knows it too.
    ///
    /// # Errors
    /// [`IndexError::NoSuchPeer`].
    pub async fn renew_peer(
        &self,
        known: &InstanceId,
        id: &InstanceId,
        identity: &SignedIdentity,
    ) -> Result<(), IndexError> {
        let mut tx = self.begin().await?;
        let done = sqlx::query("UPDATE peer SET id = ?2, identity = ?3 WHERE id = ?1")
            .bind(known.as_bytes().to_vec())
            .bind(id.as_bytes().to_vec())
            .bind(to_json(identity))
            .execute(&mut *tx)
            .await?;
        if done.rows_affected() == 0 {
            return Err(IndexError::NoSuchPeer { id: *known });
        }
        // What it was given, it was given under both names.
        sqlx::query("UPDATE OR IGNORE given_peer SET id = ?2 WHERE id = ?1")
            .bind(known.as_bytes().to_vec())
            .bind(id.as_bytes().to_vec())
            .execute(&mut *tx)
            .await?;
        sqlx::query("UPDATE OR REPLACE proof SET peer = ?2 WHERE peer = ?1")
            .bind(known.as_bytes().to_vec())
            .bind(id.as_bytes().to_vec())
            .execute(&mut *tx)
            .await?;
        self.commit_with_ledger(tx).await
    }

    /// Remembers that a peer was reached at `at`; or, with an error, that an attempt failed: then the last contact stays.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn note_contact(&self, id: &InstanceId, at: Timestamp, error: Option<&str>) -> Result<(), IndexError> {
        sqlx::query(
            "UPDATE peer SET last_error = ?3, last_contact_at = CASE WHEN ?3 IS NULL THEN ?2 ELSE last_contact_at END
             WHERE id = ?1",
        )
        .bind(id.as_bytes().to_vec())
        .bind(nanos(at))
        .bind(error.map(str::to_owned))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// It reached us, and showed who it is. What went wrong when it was called stays.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn note_heard(&self, id: &InstanceId, at: Timestamp) -> Result<(), IndexError> {
        sqlx::query(
            "UPDATE peer SET last_contact_at = ?2 WHERE id = ?1 AND (last_contact_at IS NULL OR last_contact_at < ?2)",
        )
        .bind(id.as_bytes().to_vec())
        .bind(nanos(at))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// What came of comparing the peer's snapshots with ours.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn compared(&self, id: &InstanceId) -> Result<Option<Compared>, IndexError> {
        let row: Option<Option<String>> = sqlx::query_scalar("SELECT compared FROM peer WHERE id = ?1")
            .bind(id.as_bytes().to_vec())
            .fetch_optional(&self.pool)
            .await?;
        // What an earlier version wrote, and this one does not understand, is compared again.
        Ok(row.flatten().and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Remembers what came of it.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn note_compared(&self, id: &InstanceId, compared: &Compared) -> Result<(), IndexError> {
        sqlx::query("UPDATE peer SET compared = ?2 WHERE id = ?1")
            .bind(id.as_bytes().to_vec())
            .bind(to_json(compared))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Forgets how far a peer's feed has been read, and what was compared: the next pull begins at its beginning.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn reset_cursor(&self, id: &InstanceId) -> Result<(), IndexError> {
        sqlx::query("UPDATE peer SET cursor = NULL, compared = NULL WHERE id = ?1")
            .bind(id.as_bytes().to_vec())
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

pub(in crate::store) async fn upsert(connection: &mut SqliteConnection, peer: &Peer) -> Result<(), IndexError> {
    let done = sqlx::query(
        "INSERT INTO peer (id, name, address, trust, identity, follow, granted, cursor, added_at, last_contact_at, last_error,
         discovery, mirror)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
         ON CONFLICT (id) DO UPDATE SET name = ?2, address = ?3, trust = ?4, identity = ?5, follow = ?6, granted = ?7,
         discovery = ?12, mirror = ?13",
    )
    .bind(peer.id.as_bytes().to_vec())
    .bind(peer.name.clone())
    .bind(peer.address.clone().map(String::from))
    .bind(to_json(&peer.trust))
    .bind(to_json(&peer.identity))
    .bind(peer.follow)
    .bind(peer.granted.as_ref().map(to_json))
    .bind(peer.cursor.map(String::from))
    .bind(nanos(peer.added_at))
    .bind(peer.last_contact_at.map(nanos))
    .bind(peer.last_error.clone())
    .bind(peer.discovery.map(|key| key.as_bytes().to_vec()))
    .bind((peer.mirror != Scope::All).then(|| to_json(&peer.mirror)))
    .execute(connection)
    .await;
    match done {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            Err(IndexError::NameTaken { name: peer.name.clone() })
        }
        done => Ok(done.map(drop)?),
    }
}

/// Moves the cursor of a peer.
pub(super) async fn set_cursor(
    connection: &mut SqliteConnection,
    peer: &InstanceId,
    cursor: Cursor,
) -> Result<(), IndexError> {
    let done = sqlx::query("UPDATE peer SET cursor = ?2 WHERE id = ?1")
        .bind(peer.as_bytes().to_vec())
        .bind(cursor.to_string())
        .execute(connection)
        .await?;
    if done.rows_affected() == 0 { Err(IndexError::NoSuchPeer { id: *peer }) } else { Ok(()) }
}

pub(super) async fn all(connection: &mut SqliteConnection) -> Result<Vec<Peer>, IndexError> {
    let rows = sqlx::query("SELECT * FROM peer ORDER BY name").fetch_all(connection).await?;
    rows.iter().map(read).collect()
}

/// The column of that name, of a peer or an invite.
pub(super) fn discovery(row: &SqliteRow) -> Result<Option<DiscoveryRecipient>, IndexError> {
    let key: Option<Vec<u8>> = row.try_get("discovery")?;
    key.map(|key| DiscoveryRecipient::from_slice(&key).ok_or(IndexError::Damaged(None))).transpose()
}

fn read(row: &SqliteRow) -> Result<Peer, IndexError> {
    let address: Option<String> = row.try_get("address")?;
    let granted: Option<String> = row.try_get("granted")?;
    let cursor: Option<String> = row.try_get("cursor")?;
    let mirror: Option<String> = row.try_get("mirror")?;
    Ok(Peer {
        id: id(row, "id", InstanceId::from_slice)?,
        name: row.try_get("name")?,
        address: address.map(|text| text.parse()).transpose().map_err(|_| IndexError::Damaged(None))?,
        trust: json(row.try_get("trust")?)?,
        identity: json(row.try_get("identity")?)?,
        follow: row.try_get("follow")?,
        mirror: mirror.as_deref().map(json).transpose()?.unwrap_or(Scope::All),
        granted: granted.as_deref().map(json).transpose()?,
        cursor: cursor.map(|text| text.parse()).transpose().map_err(|_| IndexError::Damaged(None))?,
        added_at: moment(row, "added_at")?,
        last_contact_at: optional_moment(row, "last_contact_at")?,
        last_error: row.try_get("last_error")?,
        discovery: discovery(row)?,
    })
}

//! Instances that speak the protocol of an Axon BBS.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::super::{Index, IndexError, json, moment, nanos, to_json};
use crate::domain::axon::address::AxonAddress;
use crate::domain::axon::key::PublicKey;
use crate::domain::id::CollectionId;

/// What an Axon instance may do here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum AxonTrust {
    /// Its key has not been compared yet.
    Pending,
    /// It is served.
    Trusted(AxonRights),
    /// It was trusted once.
    Revoked {
        /// Since when it is not.
        at: Timestamp,
    },
}

impl AxonTrust {
    /// One word for people.
    pub fn word(&self) -> &'static str {
        match self {
            AxonTrust::Pending => "pending",
            AxonTrust::Trusted(_) => "trusted",
            AxonTrust::Revoked { .. } => "revoked",
        }
    }
}

/// What a trusted Axon instance sees.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AxonRights {
    /// Which collections; all if there is none named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collections: Option<BTreeSet<CollectionId>>,
    /// Only items that came at this moment or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// No private messages: who writes to whom stands in them in the clear for every instance that is served.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_pms: bool,
    /// No configuration: users, boards and categories.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_config: bool,
    /// No actions of other instances' moderators: whoever is told of one obeys it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_actions: bool,
}

impl AxonRights {
    /// Nothing is seen.
    pub fn none() -> Self {
        Self { collections: Some(BTreeSet::new()), ..Self::default() }
    }
}

/// An Axon instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AxonPeer {
    /// Its name here.
    pub name: String,
    /// Its base address; `None` if it is served only.
    pub address: Option<AxonAddress>,
    /// Its public key.
    pub public_key: PublicKey,
    /// What it may do.
    pub trust: AxonTrust,
    /// The server pulls from it.
    pub follow: bool,
    /// When it was added.
    pub added_at: Timestamp,
    /// The moment from which on it is asked next, as it wrote it; after a rebuild it is asked from the beginning.
    #[serde(skip)]
    pub cursor: Option<String>,
    /// When it answered last.
    #[serde(skip)]
    pub last_contact_at: Option<Timestamp>,
    /// What went wrong since.
    #[serde(skip)]
    pub last_error: Option<String>,
}

impl Index {
    /// All Axon instances, by name.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn axon_peers(&self) -> Result<Vec<AxonPeer>, IndexError> {
        all(&mut *self.pool.acquire().await?).await
    }

    /// Adds an Axon instance, or changes the one of this name; its cursor and contacts stay. The ledger knows it, too. With other
    /// rights it is told of everything anew.
    ///
    /// # Errors
    /// [`IndexError::NameTaken`] if another one has its key.
    pub async fn put_axon_peer(&self, peer: &AxonPeer) -> Result<(), IndexError> {
        let mut tx = self.begin().await?;
        // What it has fetched it has, whatever it may have from now on.
        sqlx::query(
            "DELETE FROM axon_settled WHERE public_key IN (SELECT public_key FROM axon_peer WHERE name = ?1 AND trust <> ?2)",
        )
        .bind(peer.name.clone())
        .bind(to_json(&peer.trust))
        .execute(&mut *tx)
        .await?;
        // With a new key it is told of everything, and has what it has.
        for sql in [
            "INSERT INTO axon_given (public_key, content_hash) SELECT ?2, content_hash FROM axon_given
             WHERE public_key IN (SELECT public_key FROM axon_peer WHERE name = ?1 AND public_key <> ?2) ON CONFLICT DO NOTHING",
            "DELETE FROM axon_given WHERE public_key IN (SELECT public_key FROM axon_peer WHERE name = ?1 AND public_key <> ?2)",
            "DELETE FROM axon_fetched WHERE public_key IN (SELECT public_key FROM axon_peer WHERE name = ?1 AND public_key <> ?2)",
            "DELETE FROM axon_settled WHERE public_key IN (SELECT public_key FROM axon_peer WHERE name = ?1 AND public_key <> ?2)",
        ] {
            let query = sqlx::query(sql).bind(peer.name.clone()).bind(peer.public_key.as_str().to_owned());
            query.execute(&mut *tx).await?;
        }
        put(&mut tx, peer).await?;
        self.commit_with_ledger(tx).await
    }

    /// Forgets an Axon instance; false if there is none of this name. The ledger forgets it, too.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn remove_axon_peer(&self, name: &str) -> Result<bool, IndexError> {
        let mut tx = self.begin().await?;
        for sql in [
            "DELETE FROM axon_fetched WHERE public_key = (SELECT public_key FROM axon_peer WHERE name = ?1)",
            "DELETE FROM axon_settled WHERE public_key = (SELECT public_key FROM axon_peer WHERE name = ?1)",
            "DELETE FROM axon_given WHERE public_key = (SELECT public_key FROM axon_peer WHERE name = ?1)",
        ] {
            sqlx::query(sql).bind(name.to_owned()).execute(&mut *tx).await?;
        }
        let done = sqlx::query("DELETE FROM axon_peer WHERE name = ?1").bind(name.to_owned()).execute(&mut *tx).await?;
        self.commit_with_ledger(tx).await?;
        Ok(done.rows_affected() > 0)
    }

    /// Asks an Axon instance from this moment on next time, or from the beginning.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn set_axon_cursor(&self, name: &str, cursor: Option<&str>) -> Result<(), IndexError> {
        sqlx::query("UPDATE axon_peer SET cursor = ?2 WHERE name = ?1")
            .bind(name.to_owned())
            .bind(cursor.map(str::to_owned))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Remembers how a contact went.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn note_axon_contact(&self, name: &str, at: Timestamp, error: Option<&str>) -> Result<(), IndexError> {
        sqlx::query(
            "UPDATE axon_peer SET last_error = ?3, last_contact_at = CASE WHEN ?3 IS NULL THEN ?2 ELSE last_contact_at END
             WHERE name = ?1",
        )
        .bind(name.to_owned())
        .bind(nanos(at))
        .bind(error.map(str::to_owned))
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

pub(in crate::store) async fn all(connection: &mut SqliteConnection) -> Result<Vec<AxonPeer>, IndexError> {
    let rows = sqlx::query("SELECT * FROM axon_peer ORDER BY name").fetch_all(connection).await?;
    rows.iter().map(read).collect()
}

pub(in crate::store) async fn put(connection: &mut SqliteConnection, peer: &AxonPeer) -> Result<(), IndexError> {
    let done = sqlx::query(
        "INSERT INTO axon_peer (name, address, public_key, trust, follow, added_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (name) DO UPDATE SET address = ?2, public_key = ?3, trust = ?4, follow = ?5, added_at = ?6",
    )
    .bind(peer.name.clone())
    .bind(peer.address.as_ref().map(AxonAddress::reveal))
    .bind(peer.public_key.as_str().to_owned())
    .bind(to_json(&peer.trust))
    .bind(peer.follow)
    .bind(nanos(peer.added_at))
    .execute(connection)
    .await;
    match done {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            Err(IndexError::NameTaken { name: peer.name.clone() })
        }
        Err(error) => Err(error.into()),
        Ok(_) => Ok(()),
    }
}

fn read(row: &SqliteRow) -> Result<AxonPeer, IndexError> {
    let last_contact_at = match row.try_get::<Option<i64>, _>("last_contact_at")? {
        Some(_) => Some(moment(row, "last_contact_at")?),
        None => None,
    };
    let address: Option<String> = row.try_get("address")?;
    Ok(AxonPeer {
        name: row.try_get("name")?,
        address: address.map(|text| text.parse()).transpose().map_err(|_| IndexError::Damaged(None))?,
        public_key: PublicKey::parse(row.try_get("public_key")?).map_err(|_| IndexError::Damaged(None))?,
        trust: json(row.try_get("trust")?)?,
        follow: row.try_get("follow")?,
        added_at: moment(row, "added_at")?,
        cursor: row.try_get("cursor")?,
        last_contact_at,
        last_error: row.try_get("last_error")?,
    })
}

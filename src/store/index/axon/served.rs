//! What Axon instances have fetched here, how far they are, and the signatures that they have used.

use std::collections::HashMap;

use jiff::Timestamp;
use sqlx::Row;

use super::super::{Index, IndexError, id, moment, nanos, to_json};
use crate::domain::axon::key::PublicKey;
use crate::domain::id::{CollectionId, ContentHash};

impl Index {
    /// Records that an Axon instance was sent chunks of items, by their places.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn note_axon_fetched(&self, key: &PublicKey, chunks: &[(ContentHash, u32)]) -> Result<(), IndexError> {
        let mut tx = self.begin().await?;
        for sql in [
            "INSERT INTO axon_fetched (public_key, content_hash, position)
             SELECT ?1, unhex(value ->> 0), value ->> 1 FROM json_each(?2) WHERE true ON CONFLICT DO NOTHING",
            "INSERT INTO axon_given (public_key, content_hash)
             SELECT ?1, unhex(value ->> 0) FROM json_each(?2) WHERE true ON CONFLICT DO NOTHING",
        ] {
            sqlx::query(sql).bind(key.as_str().to_owned()).bind(to_json(&chunks)).execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Of how many items an Axon instance was ever sent something, under any of its keys (R6).
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn axon_given(&self, key: &PublicKey) -> Result<u64, IndexError> {
        let row = sqlx::query("SELECT count(*) AS items FROM axon_given WHERE public_key = ?1")
            .bind(key.as_str().to_owned())
            .fetch_one(&self.pool)
            .await?;
        u64::try_from(row.try_get::<i64, _>("items")?).map_err(|_| IndexError::Damaged(None))
    }

    /// How many chunks of each item an Axon instance was sent, those of which it has none left out.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn axon_fetched(&self, key: &PublicKey) -> Result<HashMap<ContentHash, u32>, IndexError> {
        let rows = sqlx::query(
            "SELECT content_hash, count(*) AS chunks FROM axon_fetched WHERE public_key = ?1 GROUP BY content_hash",
        )
        .bind(key.as_str().to_owned())
        .fetch_all(&self.pool)
        .await?;
        let read = |row| {
            let row: &sqlx::sqlite::SqliteRow = row;
            let chunks = u32::try_from(row.try_get::<i64, _>("chunks")?).map_err(|_| IndexError::Damaged(None))?;
            Ok((id(row, "content_hash", ContentHash::from_slice)?, chunks))
        };
        rows.iter().map(read).collect()
    }

    /// Of which collection Axon instances are shown what several hold.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn axon_shown(&self) -> Result<HashMap<ContentHash, CollectionId>, IndexError> {
        let rows = sqlx::query("SELECT content_hash, collection FROM axon_shown").fetch_all(&self.pool).await?;
        let read = |row| {
            Ok((id(row, "content_hash", ContentHash::from_slice)?, id(row, "collection", CollectionId::from_slice)?))
        };
        rows.iter().map(read).collect()
    }

    /// Keeps of which collection something is shown from now on.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn keep_axon_shown(&self, shown: &[(ContentHash, CollectionId)]) -> Result<(), IndexError> {
        sqlx::query(
            "INSERT INTO axon_shown (content_hash, collection)
             SELECT unhex(value ->> 0), unhex(value ->> 1) FROM json_each(?1) WHERE true
             ON CONFLICT (content_hash) DO UPDATE SET collection = excluded.collection",
        )
        .bind(to_json(&shown))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Until when everything that came is settled with an Axon instance that can see this; what was settled when it could see
    /// something else does not count.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn axon_settled(&self, key: &PublicKey, sight: &str) -> Result<Option<Timestamp>, IndexError> {
        let row = sqlx::query("SELECT until FROM axon_settled WHERE public_key = ?1 AND sight = ?2")
            .bind(key.as_str().to_owned())
            .bind(sight.to_owned())
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| moment(&row, "until")).transpose()
    }

    /// Records that everything that came until then is settled with an Axon instance that can see this.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn settle_axon(&self, key: &PublicKey, sight: &str, until: Timestamp) -> Result<(), IndexError> {
        sqlx::query(
            "INSERT INTO axon_settled (public_key, until, sight) VALUES (?1, ?2, ?3)
             ON CONFLICT (public_key) DO UPDATE SET until = CASE WHEN sight = ?3 THEN max(until, ?2) ELSE ?2 END, sight = ?3",
        )
        .bind(key.as_str().to_owned())
        .bind(nanos(until))
        .bind(sight.to_owned())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Forgets what an Axon instance was sent, and what was settled: it is told of everything anew. What it was
    /// ever [given](Self::axon_given) stays on record.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn forget_axon_fetched(&self, key: &PublicKey) -> Result<(), IndexError> {
        let mut tx = self.begin().await?;
        for sql in ["DELETE FROM axon_fetched WHERE public_key = ?1", "DELETE FROM axon_settled WHERE public_key = ?1"]
        {
            sqlx::query(sql).bind(key.as_str().to_owned()).execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Takes note of a signature, by a digest of it; false if it was used before. Those that have expired are forgotten.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn take_axon_signature(
        &self,
        digest: &[u8; 32],
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, IndexError> {
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM axon_signature WHERE expires_at < ?1").bind(nanos(now)).execute(&mut *tx).await?;
        let done =
            sqlx::query("INSERT INTO axon_signature (digest, expires_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING")
                .bind(digest.to_vec())
                .bind(nanos(expires_at))
                .execute(&mut *tx)
                .await?;
        tx.commit().await?;
        Ok(done.rows_affected() > 0)
    }
}

//! Nonces of signed requests: each is worth one request (R10).

use std::sync::atomic::Ordering;

use jiff::Timestamp;

use super::{Index, IndexError, nanos};
use crate::domain::id::InstanceId;

/// One request in this many clears away what has expired.
const PURGE_EVERY: u32 = 256;

impl Index {
    /// Remembers a nonce until `expires_at`. False if it was there already: a replay.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn remember_nonce(
        &self,
        instance: &InstanceId,
        nonce: &[u8],
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, IndexError> {
        if self.nonces_since_purge.fetch_add(1, Ordering::Relaxed).is_multiple_of(PURGE_EVERY) {
            sqlx::query("DELETE FROM nonce WHERE expires_at < ?1").bind(nanos(now)).execute(&self.pool).await?;
        }
        let done =
            sqlx::query("INSERT INTO nonce (instance, nonce, expires_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")
                .bind(instance.as_bytes().to_vec())
                .bind(nonce.to_vec())
                .bind(nanos(expires_at))
                .execute(&self.pool)
                .await?;
        Ok(done.rows_affected() == 1)
    }
}

//! Items in short: what is looked at each time somebody asks, without manifests, keys and lists of chunks.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use sqlx::Row;

use super::super::{BATCH, Index, IndexError, id, json, moment, nanos, optional_moment, to_json};
use super::content::{SealedItem, read_items};
use crate::domain::axon::manifest::ContentType;
use crate::domain::id::{ChunkId, CollectionId, ContentHash};

/// A complete item in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemLine {
    /// SHA-256 of its plaintext.
    pub content_hash: ContentHash,
    /// What it is.
    pub kinds: BTreeSet<ContentType>,
    /// When it came, or changed.
    pub changed_at: Timestamp,
    /// When it came to this instance as it is, if something was announced since.
    pub arrived_at: Option<Timestamp>,
    /// How long its manifest is, in bytes.
    pub manifest_bytes: u64,
    /// How many chunks it has.
    pub chunks: u32,
    /// Its key is known here.
    pub opens: bool,
}

impl Index {
    /// The collections of which something of an Axon BBS is known, with their generations.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn axon_generations(&self) -> Result<HashMap<CollectionId, u64>, IndexError> {
        let rows = sqlx::query("SELECT id, generation FROM axon_state JOIN collection ON no = collection_no")
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|row| {
                let generation = row.try_get::<i64, _>("generation")?.unsigned_abs();
                Ok((id(row, "id", CollectionId::from_slice)?, generation))
            })
            .collect()
    }

    /// All complete items of a collection in short, by the moment of their change.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn axon_lines(&self, collection: &CollectionId) -> Result<Vec<ItemLine>, IndexError> {
        let rows = sqlx::query(
            "SELECT content_hash, kinds, changed_at, came_at, sealed_key IS NOT NULL AS opens, octet_length(manifest) AS bytes,
               (SELECT count(*) FROM axon_item_chunk chunk WHERE chunk.item_no = item.no) AS chunks
             FROM axon_item item JOIN collection ON collection.no = collection_no
             WHERE collection.id = ?1 AND complete ORDER BY changed_at, item.no",
        )
        .bind(collection.as_bytes().to_vec())
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(ItemLine {
                    content_hash: id(row, "content_hash", ContentHash::from_slice)?,
                    kinds: json(row.try_get("kinds")?)?,
                    changed_at: moment(row, "changed_at")?,
                    arrived_at: optional_moment(row, "came_at")?,
                    manifest_bytes: row.try_get::<i64, _>("bytes")?.unsigned_abs(),
                    chunks: u32::try_from(row.try_get::<i64, _>("chunks")?).map_err(|_| IndexError::Damaged(None))?,
                    opens: row.try_get("opens")?,
                })
            })
            .collect()
    }

    /// Says of everything that came since the last time that it came now.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn note_axon_arrivals(&self, now: Timestamp) -> Result<(), IndexError> {
        let any = "SELECT EXISTS (SELECT 1 FROM axon_item WHERE came_at IS NULL)
                   OR EXISTS (SELECT 1 FROM axon_document WHERE came_at IS NULL)";
        if !sqlx::query_scalar::<_, bool>(any).fetch_one(&self.pool).await? {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        for sql in [
            "UPDATE axon_item SET came_at = ?1 WHERE came_at IS NULL",
            "UPDATE axon_document SET came_at = ?1 WHERE came_at IS NULL",
        ] {
            sqlx::query(sql).bind(nanos(now)).execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }

    /// When documents came to this instance as they are, by their paths, of those of which it is known.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn axon_arrivals(&self, collection: &CollectionId) -> Result<HashMap<String, Timestamp>, IndexError> {
        let rows = sqlx::query(
            "SELECT path, came_at FROM axon_document JOIN collection ON no = collection_no
             WHERE id = ?1 AND came_at IS NOT NULL",
        )
        .bind(collection.as_bytes().to_vec())
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| Ok((row.try_get("path")?, moment(row, "came_at")?))).collect()
    }

    /// Some items of a collection, without their lists of chunks, in no order. Those that are not there are left out.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn axon_some_items(
        &self,
        collection: &CollectionId,
        wanted: &[ContentHash],
    ) -> Result<Vec<SealedItem>, IndexError> {
        let mut found = Vec::with_capacity(wanted.len());
        for batch in wanted.chunks(BATCH) {
            let rows = sqlx::query(
                // In this order: each hash is looked up once.
                "SELECT item.* FROM (SELECT unhex(value) AS hash FROM json_each(?2)) wanted CROSS JOIN axon_item item
                 WHERE collection_no = (SELECT no FROM collection WHERE id = ?1) AND content_hash = wanted.hash",
            )
            .bind(collection.as_bytes().to_vec())
            .bind(to_json(&batch))
            .fetch_all(&self.pool)
            .await?;
            found.extend(read_items(&rows)?);
        }
        Ok(found)
    }

    /// The chunks of a complete item in order, with their sizes: all, or the one at a position. None if there is no such item.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn axon_chunks(
        &self,
        collection: &CollectionId,
        content_hash: &ContentHash,
        only: Option<u32>,
    ) -> Result<Vec<(ChunkId, u32)>, IndexError> {
        let rows = sqlx::query(
            "SELECT chunk, size FROM axon_item_chunk JOIN axon_item item ON item.no = item_no
             WHERE collection_no = (SELECT no FROM collection WHERE id = ?1) AND content_hash = ?2 AND complete
               AND (?3 IS NULL OR position = ?3) ORDER BY position",
        )
        .bind(collection.as_bytes().to_vec())
        .bind(content_hash.as_bytes().to_vec())
        .bind(only)
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                let size = u32::try_from(row.try_get::<i64, _>("size")?).map_err(|_| IndexError::Damaged(None))?;
                Ok((id(row, "chunk", ChunkId::from_slice)?, size))
            })
            .collect()
    }
}

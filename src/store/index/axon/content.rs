//! Items and documents.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::super::{BATCH, Index, IndexError, id, json, moment, nanos, to_json};
use crate::domain::axon::manifest::ContentType;
use crate::domain::id::{ChunkId, CollectionId, ContentHash, ManifestId};

/// How far the newest snapshot of a collection holds what is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AxonState {
    /// The newest snapshot whose content this is, or from which it was taken.
    pub snapshot: Option<ManifestId>,
    /// Counts the changes.
    pub generation: u64,
    /// The generation that the snapshot holds.
    pub stored: u64,
}

/// An item: something sealed under a key of its own, in chunks that are named by their SHA-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedItem {
    /// SHA-256 of its plaintext.
    pub content_hash: ContentHash,
    /// What it is: `message`, `file`, `pm`, `applet`, `applet_data`; more than one if the same bytes are.
    pub kinds: BTreeSet<ContentType>,
    /// Its manifest, JSON, as it was received.
    pub manifest: String,
    /// Its key, sealed; `None` if nobody here can open it.
    pub sealed_key: Option<Vec<u8>>,
    /// All its chunks are here; if there is a key, their plaintext is what its name says.
    pub complete: bool,
    /// When it came, or changed.
    pub changed_at: Timestamp,
    /// Its chunks in order, with their sizes in bytes; 0 as long as one is not here.
    pub chunks: Vec<(ChunkId, u32)>,
}

/// A document, sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedDocument {
    /// Its path below the collection's root.
    pub path: String,
    /// Its content, sealed.
    pub sealed: Vec<u8>,
    /// When it changed last.
    pub changed_at: Timestamp,
}

impl Index {
    /// How far the newest snapshot holds what is known.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn axon_state(&self, collection: &CollectionId) -> Result<AxonState, IndexError> {
        let row = sqlx::query(
            "SELECT snapshot, generation, stored FROM axon_state JOIN collection ON no = collection_no WHERE id = ?1",
        )
        .bind(collection.as_bytes().to_vec())
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(AxonState::default()) };
        let snapshot: Option<Vec<u8>> = row.try_get("snapshot")?;
        let snapshot = snapshot.map(|bytes| ManifestId::from_slice(&bytes)).transpose();
        Ok(AxonState {
            snapshot: snapshot.map_err(|_| IndexError::Damaged(None))?,
            generation: row.try_get::<i64, _>("generation")?.unsigned_abs(),
            stored: row.try_get::<i64, _>("stored")?.unsigned_abs(),
        })
    }

    /// Records that a snapshot holds everything up to `generation`.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn axon_stored(
        &self,
        collection: &CollectionId,
        snapshot: &ManifestId,
        generation: u64,
    ) -> Result<(), IndexError> {
        sqlx::query(
            "INSERT INTO axon_state (collection_no, snapshot, generation, stored) SELECT no, ?2, ?3, ?3 FROM collection WHERE id = ?1
             ON CONFLICT (collection_no) DO UPDATE SET snapshot = ?2, stored = ?3",
        )
        .bind(collection.as_bytes().to_vec())
        .bind(snapshot.as_bytes().to_vec())
        .bind(generation as i64)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Adds or replaces items and documents, takes documents and items that are not complete away, and moves the cursor of the
    /// peer that told of them (R11), in one transaction. Afterwards the generation is one higher, if there was anything. All of it counts as come when something is
    /// announced next: it may have taken long from its moment to here.
    ///
    /// # Errors
    /// [`IndexError::NoSuchCollection`]; [`IndexError::NotLoaded`] if there are snapshots that were not taken over: what is put now
    /// would hide what they hold.
    pub async fn axon_put(
        &self,
        collection: &CollectionId,
        items: &[SealedItem],
        documents: &[SealedDocument],
        removed: &[String],
        forgotten: &[ContentHash],
        cursor: Option<(&str, &str)>,
    ) -> Result<(), IndexError> {
        let mut tx = self.begin().await?;
        let no = number(&mut tx, collection).await?;
        let hidden: bool = sqlx::query_scalar(
            "SELECT NOT EXISTS (SELECT 1 FROM axon_state WHERE collection_no = ?1) AND EXISTS (
               SELECT 1 FROM snapshot WHERE collection_no = ?1 AND complete AND has_key AND NOT deleted AND NOT beside)",
        )
        .bind(no)
        .fetch_one(&mut *tx)
        .await?;
        if hidden {
            return Err(IndexError::NotLoaded { id: *collection });
        }
        for item in items {
            put_item(&mut tx, no, item, None).await?;
        }
        for document in documents {
            put_document(&mut tx, no, document, None).await?;
        }
        for path in removed {
            sqlx::query("DELETE FROM axon_document WHERE collection_no = ?1 AND path = ?2")
                .bind(no)
                .bind(path.clone())
                .execute(&mut *tx)
                .await?;
        }
        for batch in forgotten.chunks(BATCH) {
            sqlx::query(
                "DELETE FROM axon_item WHERE collection_no = ?1 AND NOT complete
                 AND content_hash IN (SELECT unhex(value) FROM json_each(?2))",
            )
            .bind(no)
            .bind(to_json(&batch))
            .execute(&mut *tx)
            .await?;
        }
        if !(items.is_empty() && documents.is_empty() && removed.is_empty() && forgotten.is_empty()) {
            sqlx::query(
                "INSERT INTO axon_state (collection_no, generation, stored) VALUES (?1, 1, 0)
                 ON CONFLICT (collection_no) DO UPDATE SET generation = generation + 1",
            )
            .bind(no)
            .execute(&mut *tx)
            .await?;
        }
        if let Some((peer, cursor)) = cursor {
            sqlx::query("UPDATE axon_peer SET cursor = ?2 WHERE name = ?1")
                .bind(peer.to_owned())
                .bind(cursor.to_owned())
                .execute(&mut *tx)
                .await?;
        }
        Ok(tx.commit().await?)
    }

    /// Takes everything from a snapshot, in place of what was known at this generation; false if something came since, which
    /// would be lost: then nothing is changed. What is new here, or other than before, counts as come when it is announced next.
    ///
    /// # Errors
    /// [`IndexError::NoSuchCollection`].
    pub async fn axon_take_over(
        &self,
        collection: &CollectionId,
        snapshot: &ManifestId,
        generation: u64,
        items: &[SealedItem],
        documents: &[SealedDocument],
    ) -> Result<bool, IndexError> {
        let mut tx = self.begin().await?;
        let no = number(&mut tx, collection).await?;
        let now: Option<i64> = sqlx::query_scalar("SELECT generation FROM axon_state WHERE collection_no = ?1")
            .bind(no)
            .fetch_optional(&mut *tx)
            .await?;
        if now.unwrap_or(0).unsigned_abs() != generation {
            return Ok(false);
        }
        let known = Known::read(&mut tx, no).await?;
        for table in ["axon_item", "axon_document"] {
            let sql = sqlx::AssertSqlSafe(format!("DELETE FROM {table} WHERE collection_no = ?1"));
            sqlx::query(sql).bind(no).execute(&mut *tx).await?;
        }
        for item in items {
            put_item(&mut tx, no, item, known.came_at(item)).await?;
        }
        for document in documents {
            let came_at = known.documents.get(&(document.path.clone(), nanos(document.changed_at))).copied().flatten();
            put_document(&mut tx, no, document, came_at).await?;
        }
        sqlx::query(
            "INSERT INTO axon_state (collection_no, snapshot, generation, stored) VALUES (?1, ?2, 1, 1)
             ON CONFLICT (collection_no) DO UPDATE SET snapshot = ?2, generation = generation + 1, stored = generation + 1",
        )
        .bind(no)
        .bind(snapshot.as_bytes().to_vec())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// All items of a collection, by the moment of their change.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn axon_items(&self, collection: &CollectionId) -> Result<Vec<SealedItem>, IndexError> {
        self.items(collection, None).await
    }

    /// How many items of a collection are known, and how many of them are not complete.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn axon_counts(&self, collection: &CollectionId) -> Result<(u64, u64), IndexError> {
        let counts = sqlx::query(
            "SELECT count(*), count(*) FILTER (WHERE complete = 0) FROM axon_item i JOIN collection c ON c.no = i.collection_no
             WHERE c.id = ?1",
        );
        let row = counts.bind(collection.as_bytes().to_vec()).fetch_one(&self.pool).await?;
        Ok((row.try_get::<i64, _>(0)?.unsigned_abs(), row.try_get::<i64, _>(1)?.unsigned_abs()))
    }

    /// One item.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn axon_item(
        &self,
        collection: &CollectionId,
        content_hash: &ContentHash,
    ) -> Result<Option<SealedItem>, IndexError> {
        Ok(self.items(collection, Some(content_hash)).await?.pop())
    }

    async fn items(
        &self,
        collection: &CollectionId,
        only: Option<&ContentHash>,
    ) -> Result<Vec<SealedItem>, IndexError> {
        let mut tx = self.pool.begin().await?;
        let only = only.map(|hash| hash.as_bytes().to_vec());
        let rows = sqlx::query(
            "SELECT item.* FROM axon_item item JOIN collection ON collection.no = collection_no
             WHERE collection.id = ?1 AND (?2 IS NULL OR content_hash = ?2) ORDER BY changed_at, item.no",
        )
        .bind(collection.as_bytes().to_vec())
        .bind(only.clone())
        .fetch_all(&mut *tx)
        .await?;
        let chunks = sqlx::query(
            "SELECT item_no, chunk, size FROM axon_item_chunk JOIN axon_item item ON item.no = item_no
             JOIN collection ON collection.no = item.collection_no
             WHERE collection.id = ?1 AND (?2 IS NULL OR content_hash = ?2) ORDER BY item_no, position",
        )
        .bind(collection.as_bytes().to_vec())
        .bind(only)
        .fetch_all(&mut *tx)
        .await?;
        let mut lists: BTreeMap<i64, Vec<(ChunkId, u32)>> = BTreeMap::new();
        for row in &chunks {
            let size = u32::try_from(row.try_get::<i64, _>("size")?).map_err(|_| IndexError::Damaged(None))?;
            lists.entry(row.try_get("item_no")?).or_default().push((id(row, "chunk", ChunkId::from_slice)?, size));
        }
        rows.iter().map(|row| read_item(row, &mut lists)).collect()
    }

    /// All documents of a collection whose path begins so, by path.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn axon_documents(
        &self,
        collection: &CollectionId,
        prefix: &str,
    ) -> Result<Vec<SealedDocument>, IndexError> {
        let rows = sqlx::query(
            "SELECT path, sealed, changed_at FROM axon_document JOIN collection ON no = collection_no
             WHERE id = ?1 AND substr(path, 1, length(?2)) = ?2 ORDER BY path",
        )
        .bind(collection.as_bytes().to_vec())
        .bind(prefix.to_owned())
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(SealedDocument {
                    path: row.try_get("path")?,
                    sealed: row.try_get("sealed")?,
                    changed_at: moment(row, "changed_at")?,
                })
            })
            .collect()
    }
}

async fn number(connection: &mut SqliteConnection, collection: &CollectionId) -> Result<i64, IndexError> {
    let no: Option<i64> = sqlx::query_scalar("SELECT no FROM collection WHERE id = ?1")
        .bind(collection.as_bytes().to_vec())
        .fetch_optional(connection)
        .await?;
    no.ok_or(IndexError::NoSuchCollection { id: *collection })
}

/// An item's hash, kinds, manifest, whether there is a key, whether it is complete, and the moment of the change.
type ItemState = (Vec<u8>, String, String, bool, bool, i64);

/// When what is known came here.
struct Known {
    /// By what is known of it.
    items: HashMap<ItemState, Option<i64>>,
    /// By path and the moment of the change.
    documents: HashMap<(String, i64), Option<i64>>,
}

impl Known {
    async fn read(connection: &mut SqliteConnection, collection_no: i64) -> Result<Self, IndexError> {
        let items = sqlx::query_as::<_, (Vec<u8>, String, String, bool, bool, i64, Option<i64>)>(
            "SELECT content_hash, kinds, manifest, sealed_key IS NOT NULL, complete, changed_at, came_at FROM axon_item
             WHERE collection_no = ?1",
        );
        let items = items.bind(collection_no).fetch_all(&mut *connection).await?;
        let documents = sqlx::query_as::<_, (String, i64, Option<i64>)>(
            "SELECT path, changed_at, came_at FROM axon_document WHERE collection_no = ?1",
        );
        let documents = documents.bind(collection_no).fetch_all(connection).await?;
        Ok(Self {
            items: items.into_iter().map(|(a, b, c, d, e, f, came_at)| ((a, b, c, d, e, f), came_at)).collect(),
            documents: documents.into_iter().map(|(path, at, came_at)| ((path, at), came_at)).collect(),
        })
    }

    /// When this item came as it is; `None` if it is new.
    fn came_at(&self, item: &SealedItem) -> Option<i64> {
        let SealedItem { content_hash, kinds, manifest, sealed_key, complete, changed_at, .. } = item;
        let hash = content_hash.as_bytes().to_vec();
        let known = (hash, to_json(kinds), manifest.clone(), sealed_key.is_some(), *complete, nanos(*changed_at));
        self.items.get(&known).copied().flatten()
    }
}

async fn put_item(
    connection: &mut SqliteConnection,
    collection_no: i64,
    item: &SealedItem,
    came_at: Option<i64>,
) -> Result<(), IndexError> {
    let no: i64 = sqlx::query_scalar(
        "INSERT INTO axon_item (collection_no, content_hash, kinds, manifest, sealed_key, complete, changed_at, came_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (collection_no, content_hash) DO UPDATE SET kinds = ?3, manifest = ?4, sealed_key = ?5, complete = ?6,
           changed_at = ?7, came_at = ?8 RETURNING no",
    )
    .bind(collection_no)
    .bind(item.content_hash.as_bytes().to_vec())
    .bind(to_json(&item.kinds))
    .bind(item.manifest.clone())
    .bind(item.sealed_key.clone())
    .bind(item.complete)
    .bind(nanos(item.changed_at))
    .bind(came_at)
    .fetch_one(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM axon_item_chunk WHERE item_no = ?1").bind(no).execute(&mut *connection).await?;
    let rows: Vec<(usize, ChunkId, u32)> =
        item.chunks.iter().enumerate().map(|(position, (id, size))| (position, *id, *size)).collect();
    for batch in rows.chunks(BATCH) {
        sqlx::query(
            "INSERT INTO axon_item_chunk (item_no, position, chunk, size)
             SELECT ?1, value ->> 0, unhex(value ->> 1), value ->> 2 FROM json_each(?2)",
        )
        .bind(no)
        .bind(to_json(&batch))
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn put_document(
    connection: &mut SqliteConnection,
    collection_no: i64,
    document: &SealedDocument,
    came_at: Option<i64>,
) -> Result<(), IndexError> {
    sqlx::query(
        "INSERT INTO axon_document (collection_no, path, sealed, changed_at, came_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (collection_no, path) DO UPDATE SET sealed = ?3, changed_at = ?4, came_at = max(came_at, ?5)",
    )
    .bind(collection_no)
    .bind(document.path.clone())
    .bind(document.sealed.clone())
    .bind(nanos(document.changed_at))
    .bind(came_at)
    .execute(connection)
    .await?;
    Ok(())
}

fn read_item(row: &SqliteRow, lists: &mut BTreeMap<i64, Vec<(ChunkId, u32)>>) -> Result<SealedItem, IndexError> {
    let no: i64 = row.try_get("no")?;
    Ok(SealedItem {
        content_hash: id(row, "content_hash", ContentHash::from_slice)?,
        kinds: json(row.try_get("kinds")?)?,
        manifest: row.try_get("manifest")?,
        sealed_key: row.try_get("sealed_key")?,
        complete: row.try_get("complete")?,
        changed_at: moment(row, "changed_at")?,
        chunks: lists.remove(&no).unwrap_or_default(),
    })
}

/// Items without their lists of chunks.
pub(super) fn read_items(rows: &[SqliteRow]) -> Result<Vec<SealedItem>, IndexError> {
    rows.iter().map(|row| read_item(row, &mut BTreeMap::new())).collect()
}

//! Snapshots: those made here, and those that peers told us of.

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::collections::{self, NewCollection};
use super::{Index, IndexError, captures, chunks, feed, id, marks, moment, nanos, peers, succession, to_json};
use crate::domain::feed::Cursor;
use crate::domain::id::{ChunkId, CollectionId, InstanceId, ManifestId};
use crate::domain::manifest::{Capture, Manifest, SignedManifest};
use crate::domain::segment::Segment;

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its manifest.
    pub id: ManifestId,
    /// Which collection.
    pub collection: CollectionId,
    /// Who made it.
    pub instance: InstanceId,
    /// A former leader of the collection made it, not knowing that another one led already: it is kept, beside the line.
    pub beside: bool,
    /// Its number in the collection.
    pub sequence: u64,
    /// When it was begun.
    pub created_at: Timestamp,
    /// Whether the backup was interrupted.
    pub partial: bool,
    /// Number of chunks.
    pub chunks: u64,
    /// Their stored bytes.
    pub chunk_bytes: u64,
    /// The snapshot before it.
    pub parent: Option<ManifestId>,
    /// Whether its key is here.
    pub has_key: bool,
    /// Whether all its chunks are here.
    pub complete: bool,
}

/// A chunk that was made for a snapshot.
#[derive(Debug, Clone)]
pub struct NewChunk {
    /// Which one.
    pub id: ChunkId,
    /// Its stored size.
    pub size_bytes: u32,
    /// Its key and fragment table, sealed by [`crate::store::seal_chunk_secret`].
    pub sealed: Vec<u8>,
}

/// A snapshot that was made here.
#[derive(Debug, Clone, Copy)]
pub struct NewSnapshot<'a> {
    /// Its manifest.
    pub signed: &'a SignedManifest,
    /// Its segments, in the manifest's order.
    pub segments: &'a [Segment],
    /// The chunks that no snapshot named before.
    pub new_chunks: &'a [NewChunk],
    /// The shared chunks, with their sizes: all of them are here.
    pub shared: &'a [(ChunkId, u32)],
    /// An earlier, partial snapshot that this one makes needless.
    pub supersedes: Option<ManifestId>,
    /// How it was taken.
    pub capture: Option<&'a Capture>,
}

impl Index {
    /// Records a snapshot that was made here, whole and with its key, and tells of it, in one transaction.
    ///
    /// If somebody has taken over meanwhile it stands beside the line, which is the answer.
    ///
    /// Before: its chunks, segments and manifest files are durable (R8). Afterwards the caller removes the manifest files
    /// of what it supersedes. Dropped before its end, it changes nothing.
    ///
    /// # Errors
    /// [`IndexError::NoSuchCollection`], [`IndexError::Foreign`], [`IndexError::Fork`], [`IndexError::ChunkNotHere`],
    /// [`IndexError::ChunkElsewhere`], [`IndexError::Contradiction`].
    pub async fn commit_snapshot(&self, new: NewSnapshot<'_>) -> Result<bool, IndexError> {
        let manifest = &new.signed.manifest;
        let named = manifest.segments.iter().map(|summary| summary.id);
        if !named.eq(new.segments.iter().map(|segment| segment.id)) {
            let id = new.segments.first().map_or_else(|| ChunkId::of(b""), |segment| segment.id);
            return Err(IndexError::Contradiction { id });
        }
        let mut tx = self.begin().await?;
        let collection = collections::by_id(&mut tx, &manifest.collection)
            .await?
            .ok_or(IndexError::NoSuchCollection { id: manifest.collection })?;
        let beside = succession::place(&mut tx, &collection, new.signed).await?;
        chunks::insert_own(&mut tx, collection.no, new.new_chunks).await?;
        let Some(no) = insert(&mut tx, collection.no, new.signed, Standing { has_key: true, beside }).await? else {
            return Ok(beside);
        };
        name_segments(&mut tx, no, collection.no, manifest).await?;
        let mut is_flagged = false;
        if let Some(capture) = new.capture {
            captures::insert(&mut tx, no, capture).await?;
            // It stays, and so does the one before it, until somebody has looked; a kill from here on changes nothing of that.
            if let Some(why) = capture.suspicion() {
                let mark = marks::Mark { flagged: Some(why), ..marks::Mark::default() };
                marks::put(&mut tx, &new.signed.id, &mark).await?;
                is_flagged = true;
            }
        }
        for segment in new.segments {
            chunks::fill_segment(&mut tx, segment).await?;
        }
        chunks::insert_shared(&mut tx, collection.no, new.shared).await?;
        settle(&mut tx, &[no]).await?;
        if !is_complete(&mut tx, no).await? {
            return Err(IndexError::ChunkNotHere { id: chunks::first_missing(&mut tx, no).await? });
        }
        if let Some(old) = new.supersedes {
            supersede(&mut tx, &old, &collection.id).await?;
        }
        // The ledger knows of flags, and of the marks of what makes place.
        if is_flagged || new.supersedes.is_some() {
            self.commit_with_ledger(tx).await?
        } else {
            tx.commit().await?
        }
        Ok(beside)
    }

    /// Records a page of a peer's feed together with the cursor behind it, in one transaction (R11); answers those that are new
    /// here. Their files were saved by the caller before.
    ///
    /// A manifest of somebody who has no business in its collection is passed over: it may become clear later that it has.
    ///
    /// A collection that was not known appears under the beginning of its id; a segment that is not here is missing from now on.
    ///
    /// # Errors
    /// [`IndexError::NoSuchPeer`]; and if the peer lied: [`IndexError::Fork`], [`IndexError::ChunkElsewhere`],
    /// [`IndexError::Contradiction`]. Then nothing of the page is recorded.
    pub async fn note_page(
        &self,
        peer: &InstanceId,
        manifests: &[SignedManifest],
        cursor: Cursor,
    ) -> Result<Vec<ManifestId>, IndexError> {
        let mut tx = self.begin().await?;
        peers::set_cursor(&mut tx, peer, cursor).await?;
        let (new, new_collection) = note(&mut tx, manifests).await?;
        if new_collection {
            self.commit_with_ledger(tx).await?
        } else {
            tx.commit().await?
        }
        Ok(new)
    }

    /// Records manifests that came otherwise than by a feed; answers those that are new here. For the rest see
    /// [`note_page`](Self::note_page).
    ///
    /// # Errors
    /// [`IndexError::Fork`], [`IndexError::ChunkElsewhere`], [`IndexError::Contradiction`]: then nothing of it is recorded.
    pub async fn note_manifests(&self, manifests: &[SignedManifest]) -> Result<Vec<ManifestId>, IndexError> {
        let mut tx = self.begin().await?;
        let (new, new_collection) = note(&mut tx, manifests).await?;
        if new_collection {
            self.commit_with_ledger(tx).await?
        } else {
            tx.commit().await?
        }
        Ok(new)
    }

    /// Whether a snapshot was known here and was deleted.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn was_deleted(&self, id: &ManifestId) -> Result<bool, IndexError> {
        let found = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM snapshot WHERE id = ?1 AND deleted = 1)");
        Ok(found.bind(id.as_bytes().to_vec()).fetch_one(&self.pool).await?)
    }

    /// Snapshots by collection and number: all, or those of one collection.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn snapshots(&self, collection: Option<&CollectionId>) -> Result<Vec<Snapshot>, IndexError> {
        let rows = sqlx::query(
            "SELECT s.*, c.id AS collection FROM snapshot s JOIN collection c ON c.no = s.collection_no
             WHERE s.deleted = 0 AND (?1 IS NULL OR c.id = ?1) ORDER BY c.name, s.sequence",
        )
        .bind(collection.map(|id| id.as_bytes().to_vec()))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read).collect()
    }

    /// The snapshot with this id.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn snapshot(&self, id: &ManifestId) -> Result<Option<Snapshot>, IndexError> {
        let row = sqlx::query(
            "SELECT s.*, c.id AS collection FROM snapshot s JOIN collection c ON c.no = s.collection_no
             WHERE s.deleted = 0 AND s.id = ?1",
        )
        .bind(id.as_bytes().to_vec())
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(read).transpose()
    }

    /// The newest snapshot of a collection.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn latest(
        &self,
        collection: &CollectionId,
        include_partial: bool,
    ) -> Result<Option<Snapshot>, IndexError> {
        let row = sqlx::query(
            "SELECT s.*, c.id AS collection FROM snapshot s JOIN collection c ON c.no = s.collection_no
             WHERE c.id = ?1 AND s.deleted = 0 AND s.beside = 0 AND (s.partial = 0 OR ?2) ORDER BY s.sequence DESC LIMIT 1",
        )
        .bind(collection.as_bytes().to_vec())
        .bind(include_partial)
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(read).transpose()
    }

    /// The number for the next snapshot of a collection; numbers of deleted ones are not given again.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn next_sequence(&self, collection: &CollectionId) -> Result<u64, IndexError> {
        let last: i64 = sqlx::query_scalar(
            "SELECT coalesce(max(s.sequence), 0) FROM snapshot s JOIN collection c ON c.no = s.collection_no WHERE c.id = ?1",
        )
        .bind(collection.as_bytes().to_vec())
        .fetch_one(&self.pool)
        .await?;
        Ok(last as u64 + 1)
    }

    /// Snapshots whose id begins with these hex digits.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn find_snapshots(&self, prefix: &str) -> Result<Vec<Snapshot>, IndexError> {
        let mut snapshots = self.snapshots(None).await?;
        snapshots.retain(|snapshot| snapshot.id.to_string().starts_with(prefix));
        Ok(snapshots)
    }

    /// Remembers that the keys of these snapshots are here. The sidecars that hold them were saved before. What is not known, or
    /// was deleted, is passed over.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn keys_arrived(&self, ids: &[ManifestId]) -> Result<(), IndexError> {
        if ids.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "UPDATE snapshot SET has_key = 1
             WHERE deleted = 0 AND id IN (SELECT unhex(value) FROM json_each(?1))",
        )
        .bind(to_json(&ids))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Remembers that the keys of these snapshots are not here any more: their sidecars were lost.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn keys_lost(&self, ids: &[ManifestId]) -> Result<(), IndexError> {
        sqlx::query("UPDATE snapshot SET has_key = 0 WHERE id IN (SELECT unhex(value) FROM json_each(?1))")
            .bind(to_json(&ids))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// All snapshots whose keys are not here, newest first.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn without_key(&self) -> Result<Vec<ManifestId>, IndexError> {
        let rows = sqlx::query(
            "SELECT id FROM snapshot WHERE has_key = 0 AND deleted = 0 ORDER BY created_at DESC, sequence DESC",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| id(row, "id", ManifestId::from_slice)).collect()
    }
}

/// Adds manifests; answers those that are new, and whether a collection is. One of somebody who has no business in its collection
/// is passed over.
async fn note(
    connection: &mut SqliteConnection,
    manifests: &[SignedManifest],
) -> Result<(Vec<ManifestId>, bool), IndexError> {
    let (mut new, mut numbers, mut new_collection) = (Vec::new(), Vec::new(), false);
    for signed in manifests {
        let manifest = &signed.manifest;
        let collection = match collections::by_id(connection, &manifest.collection).await? {
            Some(known) => known,
            None => {
                new_collection = true;
                let name = collections::free_name(connection, &manifest.collection.short()).await?;
                let (id, origin) = (manifest.collection, manifest.instance);
                succession::begin(connection, NewCollection { id, name, origin, settings: None }).await?
            }
        };
        let beside = match succession::place(connection, &collection, signed).await {
            Err(error @ IndexError::Foreign { .. }) => {
                tracing::warn!(%error, "a snapshot was passed over");
                continue;
            }
            placed => placed?,
        };
        let standing = Standing { has_key: false, beside };
        let Some(no) = insert(connection, collection.no, signed, standing).await? else { continue };
        name_segments(connection, no, collection.no, manifest).await?;
        new.push(signed.id);
        numbers.push(no);
    }
    settle(connection, &numbers).await?;
    Ok((new, new_collection))
}

/// What a manifest does not say of its snapshot.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Standing {
    /// Its key is here.
    pub has_key: bool,
    /// It stands beside the line.
    pub beside: bool,
}

/// Adds a row; `None` if the manifest is known, deleted or not.
pub(in crate::store) async fn insert(
    connection: &mut SqliteConnection,
    collection_no: i64,
    signed: &SignedManifest,
    standing: Standing,
) -> Result<Option<i64>, IndexError> {
    let manifest = &signed.manifest;
    let done = sqlx::query(
        "INSERT INTO snapshot (id, collection_no, sequence, created_at, partial, chunks, chunk_bytes, parent, has_key, complete,
         maker, beside) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0, ?10, ?11) ON CONFLICT (id) DO NOTHING",
    )
    .bind(signed.id.as_bytes().to_vec())
    .bind(collection_no)
    .bind(manifest.sequence as i64)
    .bind(nanos(manifest.created_at))
    .bind(manifest.partial)
    .bind(manifest.chunks as i64)
    .bind(manifest.chunk_bytes as i64)
    .bind(manifest.parent.map(|parent| parent.as_bytes().to_vec()))
    .bind(standing.has_key)
    .bind(manifest.instance.as_bytes().to_vec())
    .bind(standing.beside)
    .execute(connection)
    .await;
    match done {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            Err(IndexError::Fork { manifest: signed.id, collection: manifest.collection, sequence: manifest.sequence })
        }
        Err(error) => Err(error.into()),
        Ok(done) if done.rows_affected() == 0 => Ok(None),
        Ok(done) => Ok(Some(done.last_insert_rowid())),
    }
}

/// Links a snapshot with the segments that its manifest names; those that are not known are missing from now on.
pub(in crate::store) async fn name_segments(
    connection: &mut SqliteConnection,
    snapshot_no: i64,
    collection_no: i64,
    manifest: &Manifest,
) -> Result<(), IndexError> {
    for (position, summary) in manifest.segments.iter().enumerate() {
        let segment_no = chunks::segment_row(connection, collection_no, summary).await?;
        sqlx::query("INSERT INTO snapshot_segment (snapshot_no, segment_no, position) VALUES (?1, ?2, ?3)")
            .bind(snapshot_no)
            .bind(segment_no)
            .bind(position as i64)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Marks those of these snapshots complete whose segments are whole, and tells of them.
pub(in crate::store) async fn settle(connection: &mut SqliteConnection, numbers: &[i64]) -> Result<(), IndexError> {
    let rows = sqlx::query(
        "UPDATE snapshot SET complete = 1
         WHERE complete = 0 AND deleted = 0 AND no IN (SELECT value FROM json_each(?1)) AND NOT EXISTS (
             SELECT 1 FROM snapshot_segment link JOIN chunk segment ON segment.no = link.segment_no
             WHERE link.snapshot_no = snapshot.no AND segment.state < 2)
         RETURNING no, collection_no, sequence",
    )
    .bind(to_json(&numbers))
    .fetch_all(&mut *connection)
    .await?;
    let mut completed = Vec::with_capacity(rows.len());
    for row in &rows {
        completed.push((
            row.try_get::<i64, _>("collection_no")?,
            row.try_get::<i64, _>("sequence")?,
            row.try_get("no")?,
        ));
    }
    completed.sort_unstable();
    for (_, _, no) in completed {
        feed::announce(connection, no).await?;
    }
    Ok(())
}

async fn is_complete(connection: &mut SqliteConnection, no: i64) -> Result<bool, IndexError> {
    Ok(sqlx::query_scalar("SELECT complete FROM snapshot WHERE no = ?1").bind(no).fetch_one(connection).await?)
}

/// Marks a partial snapshot deleted and tells of it. Segments that nobody names any more are forgotten; chunks stay, so
/// that their fragments are found again.
async fn supersede(
    connection: &mut SqliteConnection,
    old: &ManifestId,
    collection: &CollectionId,
) -> Result<(), IndexError> {
    let row = sqlx::query(
        "UPDATE snapshot SET deleted = 1, complete = 0 WHERE id = ?1 AND partial = 1 AND deleted = 0
           AND collection_no = (SELECT no FROM collection WHERE id = ?2) RETURNING no, announced",
    )
    .bind(old.as_bytes().to_vec())
    .bind(collection.as_bytes().to_vec())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(()) };
    let no: i64 = row.try_get("no")?;
    if row.try_get("announced")? {
        feed::append_tombstone(connection, no).await?;
    }
    marks::forget(connection, old).await?;
    chunks::unlink_snapshot(connection, no).await
}

pub(super) fn read(row: &SqliteRow) -> Result<Snapshot, IndexError> {
    let parent: Option<Vec<u8>> = row.try_get("parent")?;
    let parent = parent.map(|bytes| ManifestId::from_slice(&bytes)).transpose();
    Ok(Snapshot {
        id: id(row, "id", ManifestId::from_slice)?,
        collection: id(row, "collection", CollectionId::from_slice)?,
        instance: id(row, "maker", InstanceId::from_slice)?,
        beside: row.try_get("beside")?,
        sequence: row.try_get::<i64, _>("sequence")? as u64,
        created_at: moment(row, "created_at")?,
        partial: row.try_get("partial")?,
        chunks: row.try_get::<i64, _>("chunks")? as u64,
        chunk_bytes: row.try_get::<i64, _>("chunk_bytes")? as u64,
        parent: parent.map_err(|_| IndexError::Damaged(None))?,
        has_key: row.try_get("has_key")?,
        complete: row.try_get("complete")?,
    })
}

//! What peers proved to keep, and what we could prove ourselves.

use jiff::Timestamp;
use sqlx::Row;

use super::{Index, IndexError, id, moment, nanos};
use crate::domain::id::{ChunkId, CollectionId, InstanceId, ManifestId};

/// A proof that was heard, right or wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Who gave it.
    pub peer: InstanceId,
    /// Of which collection.
    pub collection: CollectionId,
    /// Of which of its snapshots.
    pub snapshot: ManifestId,
    /// When.
    pub proved_at: Timestamp,
    /// Chunks and segments that were drawn and could be compared.
    pub sampled: u32,
    /// Of those, how many were right.
    pub right: u32,
}

/// A proof, and what is known here of its snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofOf {
    /// The proof.
    pub proof: Proof,
    /// The snapshot's number.
    pub sequence: u64,
    /// How many whole snapshots of the collection are newer.
    pub behind: u64,
}

impl Index {
    /// Since when proofs are recorded: since this index was made, or brought to this version.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn proofs_since(&self) -> Result<Timestamp, IndexError> {
        moment(&sqlx::query("SELECT at FROM proof_since").fetch_one(&self.pool).await?, "at")
    }

    /// Remembers a proof in place of the one before of this peer for this collection.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn note_proof(&self, proof: &Proof) -> Result<(), IndexError> {
        sqlx::query(
            "INSERT INTO proof (peer, collection, snapshot, proved_at, sampled, matched) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (peer, collection) DO UPDATE SET snapshot = ?3, proved_at = ?4, sampled = ?5, matched = ?6",
        )
        .bind(proof.peer.as_bytes().to_vec())
        .bind(proof.collection.as_bytes().to_vec())
        .bind(proof.snapshot.as_bytes().to_vec())
        .bind(nanos(proof.proved_at))
        .bind(i64::from(proof.sampled))
        .bind(i64::from(proof.right))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The newest proof of each peer for a collection, newest first. Those of snapshots that are not known any more are left out.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn proofs(&self, collection: &CollectionId) -> Result<Vec<ProofOf>, IndexError> {
        let rows = sqlx::query(
            "SELECT p.*, s.sequence, (SELECT count(*) FROM snapshot newer WHERE newer.collection_no = s.collection_no
               AND newer.sequence > s.sequence AND newer.deleted = 0 AND newer.partial = 0 AND newer.beside = 0) AS behind
             FROM proof p JOIN snapshot s ON s.id = p.snapshot WHERE p.collection = ?1 ORDER BY p.proved_at DESC",
        )
        .bind(collection.as_bytes().to_vec())
        .fetch_all(&self.pool)
        .await?;
        let read = |row: &sqlx::sqlite::SqliteRow| -> Result<ProofOf, IndexError> {
            let number = |column: &str| -> Result<u32, IndexError> {
                u32::try_from(row.try_get::<i64, _>(column)?).map_err(|_| IndexError::Damaged(None))
            };
            let proof = Proof {
                peer: id(row, "peer", InstanceId::from_slice)?,
                collection: id(row, "collection", CollectionId::from_slice)?,
                snapshot: id(row, "snapshot", ManifestId::from_slice)?,
                proved_at: moment(row, "proved_at")?,
                sampled: number("sampled")?,
                right: number("matched")?,
            };
            let (sequence, behind): (i64, i64) = (row.try_get("sequence")?, row.try_get("behind")?);
            Ok(ProofOf { proof, sequence: sequence as u64, behind: behind as u64 })
        };
        rows.iter().map(read).collect()
    }

    /// The newest snapshot in line that is whole and here, of each collection that `leader` leads.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn newest_kept(&self, leader: &InstanceId) -> Result<Vec<ManifestId>, IndexError> {
        let rows = sqlx::query(
            "SELECT s.id FROM collection c JOIN snapshot s ON s.no = (
                 SELECT no FROM snapshot WHERE collection_no = c.no AND deleted = 0 AND beside = 0 AND partial = 0 AND complete = 1
                 ORDER BY sequence DESC LIMIT 1)
             WHERE c.origin = ?1 ORDER BY c.id",
        )
        .bind(leader.as_bytes().to_vec())
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| id(row, "id", ManifestId::from_slice)).collect()
    }

    /// The chunks and segments of a snapshot that are here.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn objects_of(&self, snapshot: &ManifestId) -> Result<Vec<ChunkId>, IndexError> {
        let rows = sqlx::query(
            "WITH segment AS (SELECT link.segment_no AS no FROM snapshot_segment link
               JOIN snapshot s ON s.no = link.snapshot_no WHERE s.id = ?1)
             SELECT id FROM chunk WHERE state > 0 AND no IN (
               SELECT no FROM segment
               UNION SELECT listed.chunk_no FROM segment_chunk listed JOIN segment ON segment.no = listed.segment_no)",
        )
        .bind(snapshot.as_bytes().to_vec())
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| id(row, "id", ChunkId::from_slice)).collect()
    }
}

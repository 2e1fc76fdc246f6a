//! Filling an empty index in one transaction: the rebuild's way in.

use std::collections::{HashMap, HashSet};

use sqlx::{Sqlite, Transaction};

use super::axon::{self, AxonPeer};
use super::snapshots::Standing;
use super::{
    Collection, Index, IndexError, Marked, NewCollection, Peer, Removed, captures, chunks, collections, marks, peers,
    prune, retention, runs, snapshots, standbys, succession,
};
use crate::domain::id::ChunkId;
use crate::domain::manifest::{Capture, SignedManifest};
use crate::domain::peer::is_plain_name;
use crate::domain::segment::Segment;
use crate::domain::succession::Verified;

/// An index that is being filled. Nothing of it counts before [`finish`](Self::finish).
pub(in crate::store) struct Contents {
    tx: Transaction<'static, Sqlite>,
    filled: HashSet<ChunkId>,
    snapshots: Vec<i64>,
}

impl Index {
    /// Begins to fill an empty index.
    pub(in crate::store) async fn fill(&self) -> Result<Contents, IndexError> {
        Ok(Contents { tx: self.begin().await?, filled: HashSet::new(), snapshots: Vec::new() })
    }
}

impl Contents {
    /// Adds a collection from the ledger.
    pub(in crate::store) async fn add_collection(&mut self, known: Collection) -> Result<(), IndexError> {
        let Collection { id, name, origin, settings, standby, retention, upkeep, .. } = known;
        collections::insert(&mut self.tx, &NewCollection { id, name, origin, settings }).await?;
        standbys::set(&mut self.tx, &id, standby.as_ref()).await?;
        runs::set_upkeep(&mut self.tx, &id, &upkeep).await?;
        retention::set(&mut self.tx, &id, retention.as_ref()).await
    }

    /// Adds what the ledger knows of a snapshot.
    pub(in crate::store) async fn add_mark(&mut self, marked: &Marked) -> Result<(), IndexError> {
        marks::put(&mut self.tx, &marked.snapshot, &marked.mark).await
    }

    /// Adds a snapshot that was removed, from the ledger.
    pub(in crate::store) async fn add_removed(&mut self, removed: &Removed) -> Result<(), IndexError> {
        prune::insert_removed(&mut self.tx, removed).await
    }

    /// Adds a peer from the ledger.
    pub(in crate::store) async fn add_peer(&mut self, peer: &Peer) -> Result<(), IndexError> {
        peers::upsert(&mut self.tx, peer).await
    }

    /// Adds an Axon instance from the ledger.
    pub(in crate::store) async fn add_axon_peer(&mut self, peer: &AxonPeer) -> Result<(), IndexError> {
        axon::put_peer(&mut self.tx, peer).await
    }

    /// Adds statements of succession from the ledger.
    pub(in crate::store) async fn add_statements(&mut self, statements: &[Verified]) -> Result<(), IndexError> {
        succession::add(&mut self.tx, statements).await.map(drop)
    }

    /// Adds a snapshot, its segments missing. `name` tells the collection's name, should the ledger not know it. Answers
    /// whether its collection was new.
    pub(in crate::store) async fn add_snapshot(
        &mut self,
        signed: &SignedManifest,
        has_key: bool,
        name: impl FnOnce() -> Option<String>,
        capture: Option<&Capture>,
    ) -> Result<bool, IndexError> {
        let manifest = &signed.manifest;
        let known = collections::by_id(&mut self.tx, &manifest.collection).await?;
        let new = known.is_none();
        let collection = match known {
            Some(known) => known,
            None => {
                let name = name().filter(|name| is_plain_name(name)).unwrap_or_else(|| manifest.collection.short());
                let name = collections::free_name(&mut self.tx, &name).await?;
                let (id, origin) = (manifest.collection, manifest.instance);
                succession::begin(&mut self.tx, NewCollection { id, name, origin, settings: None }).await?
            }
        };
        let beside = succession::place(&mut self.tx, &collection, signed).await?;
        let standing = Standing { has_key, beside };
        if let Some(no) = snapshots::insert(&mut self.tx, collection.no, signed, standing).await? {
            snapshots::name_segments(&mut self.tx, no, collection.no, manifest).await?;
            if let Some(capture) = capture {
                captures::insert(&mut self.tx, no, capture).await?;
            }
            self.snapshots.push(no);
        }
        Ok(new)
    }

    /// Whether a segment was filled before.
    pub(in crate::store) fn is_filled(&self, segment: &ChunkId) -> bool {
        self.filled.contains(segment)
    }

    /// Fills a segment that is here, and marks those of its chunks present that are here with the size that it says.
    pub(in crate::store) async fn fill_segment(
        &mut self,
        segment: &Segment,
        present: &HashMap<ChunkId, u64>,
    ) -> Result<(), IndexError> {
        chunks::fill_segment(&mut self.tx, segment).await?;
        let here = |id: &ChunkId, size: u32| present.get(id) == Some(&u64::from(size));
        let entries = segment.entries.iter().map(|entry| (entry.id, entry.size_bytes));
        let arrived: Vec<_> = entries.filter(|(id, size)| here(id, *size)).collect();
        chunks::arrive(&mut self.tx, &arrived).await?;
        self.filled.insert(segment.id);
        Ok(())
    }

    /// Keeps the sealed key and fragment table of a chunk.
    pub(in crate::store) async fn set_secret(&mut self, id: &ChunkId, sealed: &[u8]) -> Result<(), IndexError> {
        chunks::set_secret(&mut self.tx, id, sealed).await
    }

    /// Marks complete what is complete, tells of it in the new feed, and makes it all count.
    pub(in crate::store) async fn finish(mut self) -> Result<(), IndexError> {
        snapshots::settle(&mut self.tx, &self.snapshots).await?;
        Ok(self.tx.commit().await?)
    }
}

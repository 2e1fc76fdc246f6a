//! What is known of an Axon BBS, as the rest of the program sees it: open. At rest the keys of items, and all documents, are sealed
//! under the master key, each for its place.
//!
//! The key of the instance, with which it is known to Axon instances, is `keys/axon`: RSA, PKCS#8, sealed like the others. It is
//! made when it is first needed.

use std::collections::BTreeSet;

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::index::axon::{AxonState, SealedDocument, SealedItem};
use super::{IndexError, Store, StoreError, entropy};
use crate::domain::axon::manifest::ContentType;
use crate::domain::crypto::secret::Secret;
use crate::domain::id::{ChunkId, CollectionId, ContentHash, ManifestId};

const KEY_FILE: &str = "axon";

/// An item, with its key.
#[derive(Debug)]
pub struct Item {
    /// SHA-256 of its plaintext.
    pub content_hash: ContentHash,
    /// What it is; more than one if the same bytes are.
    pub kinds: BTreeSet<ContentType>,
    /// Its manifest, JSON, as it was received.
    pub manifest: String,
    /// Its AES key; `None` if nobody here can open it.
    pub key: Option<Secret<32>>,
    /// All its chunks are here; if there is a key, their plaintext is what its name says.
    pub complete: bool,
    /// When it came, or changed.
    pub changed_at: Timestamp,
    /// Its chunks in order, with their sizes in bytes; 0 as long as one is not here.
    pub chunks: Vec<(ChunkId, u32)>,
}

/// A document, open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its path below the collection's root.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
    /// When it changed last.
    pub changed_at: Timestamp,
}

/// What is to be changed, all at once.
#[derive(Debug, Default)]
pub struct Change {
    /// Items that are added or replaced.
    pub items: Vec<Item>,
    /// Documents that are added or replaced.
    pub records: Vec<Record>,
    /// Paths of documents that go.
    pub removed: Vec<String>,
    /// Items that go; one that is complete stays.
    pub forgotten: Vec<ContentHash>,
    /// The peer that told of it, and the cursor behind it.
    pub cursor: Option<(String, String)>,
}

/// What is known of one collection of an Axon BBS.
#[derive(Debug, Clone)]
pub struct AxonShelf {
    store: Store,
    collection: CollectionId,
}

impl Store {
    /// What is known of a collection of an Axon BBS.
    pub fn axon(&self, collection: CollectionId) -> AxonShelf {
        AxonShelf { store: self.clone(), collection }
    }

    /// The key with which this instance is known to Axon instances, as PKCS#8 DER; `None` if it has none yet.
    ///
    /// # Errors
    /// [`StoreError::KeysDamaged`], [`StoreError::KeysReadable`], [`StoreError::Io`].
    pub fn axon_key(&self) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.keys.load_sealed(&self.home, KEY_FILE)
    }

    /// Keeps that key; durable on return.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn save_axon_key(&self, pkcs8_der: &[u8]) -> Result<(), StoreError> {
        self.keys.save_sealed(&self.home, KEY_FILE, pkcs8_der)
    }
}

impl AxonShelf {
    /// Which collection.
    pub fn collection(&self) -> CollectionId {
        self.collection
    }

    /// How far the newest snapshot holds what is known.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn state(&self) -> Result<AxonState, IndexError> {
        self.store.index.axon_state(&self.collection).await
    }

    /// Records that a snapshot holds everything up to `generation`.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn stored(&self, snapshot: &ManifestId, generation: u64) -> Result<(), IndexError> {
        self.store.index.axon_stored(&self.collection, snapshot, generation).await
    }

    /// Changes what is known, in one transaction. The chunks of complete items were made durable before (R8).
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn put(&self, change: &Change) -> Result<(), IndexError> {
        let items: Vec<SealedItem> = change.items.iter().map(|item| self.seal_item(item)).collect();
        let records: Vec<SealedDocument> = change.records.iter().map(|record| self.seal_record(record)).collect();
        let cursor = change.cursor.as_ref().map(|(peer, cursor)| (peer.as_str(), cursor.as_str()));
        self.store.index.axon_put(&self.collection, &items, &records, &change.removed, &change.forgotten, cursor).await
    }

    /// Takes everything from a snapshot, in place of what was known.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn take_over(
        &self,
        snapshot: &ManifestId,
        generation: u64,
        items: &[Item],
        records: &[Record],
    ) -> Result<bool, IndexError> {
        let items: Vec<SealedItem> = items.iter().map(|item| self.seal_item(item)).collect();
        let records: Vec<SealedDocument> = records.iter().map(|record| self.seal_record(record)).collect();
        self.store.index.axon_take_over(&self.collection, snapshot, generation, &items, &records).await
    }

    /// All items, by the moment of their change.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn items(&self) -> Result<Vec<Item>, IndexError> {
        let items = self.store.index.axon_items(&self.collection).await?;
        items.into_iter().map(|item| self.open_item(item)).collect()
    }

    /// One item.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn item(&self, content_hash: &ContentHash) -> Result<Option<Item>, IndexError> {
        let item = self.store.index.axon_item(&self.collection, content_hash).await?;
        item.map(|item| self.open_item(item)).transpose()
    }

    /// Some items, without their lists of chunks, in no order. Those that are not there are left out.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn some_items(&self, wanted: &[ContentHash]) -> Result<Vec<Item>, IndexError> {
        let items = self.store.index.axon_some_items(&self.collection, wanted).await?;
        items.into_iter().map(|item| self.open_item(item)).collect()
    }

    /// All documents whose path begins so, by path.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn records(&self, prefix: &str) -> Result<Vec<Record>, IndexError> {
        let documents = self.store.index.axon_documents(&self.collection, prefix).await?;
        let open = |document: SealedDocument| {
            let place = self.place("document", &document.path);
            let bytes = self.store.keys.master.open(&place, &document.sealed).map_err(|_| IndexError::Damaged(None))?;
            Ok(Record { path: document.path, bytes, changed_at: document.changed_at })
        };
        documents.into_iter().map(open).collect()
    }

    fn place(&self, kind: &str, name: &str) -> Vec<u8> {
        format!("axon/{}/{kind}/{name}", self.collection).into_bytes()
    }

    fn seal_item(&self, item: &Item) -> SealedItem {
        let place = self.place("item", &item.content_hash.to_string());
        let seal = |key: &Secret<32>| self.store.keys.master.seal(&mut entropy(), &place, key.expose());
        SealedItem {
            content_hash: item.content_hash,
            kinds: item.kinds.clone(),
            manifest: item.manifest.clone(),
            sealed_key: item.key.as_ref().map(seal),
            complete: item.complete,
            changed_at: item.changed_at,
            chunks: item.chunks.clone(),
        }
    }

    fn open_item(&self, item: SealedItem) -> Result<Item, IndexError> {
        let place = self.place("item", &item.content_hash.to_string());
        let open = |sealed: Vec<u8>| {
            let plain = self.store.keys.master.open(&place, &sealed).map(Zeroizing::new);
            plain.ok().and_then(|plain| Secret::from_slice(&plain)).ok_or(IndexError::Damaged(None))
        };
        Ok(Item {
            content_hash: item.content_hash,
            kinds: item.kinds,
            manifest: item.manifest,
            key: item.sealed_key.map(open).transpose()?,
            complete: item.complete,
            changed_at: item.changed_at,
            chunks: item.chunks,
        })
    }

    fn seal_record(&self, record: &Record) -> SealedDocument {
        let place = self.place("document", &record.path);
        SealedDocument {
            path: record.path.clone(),
            sealed: self.store.keys.master.seal(&mut entropy(), &place, &record.bytes),
            changed_at: record.changed_at,
        }
    }
}

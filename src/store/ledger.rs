//! The ledger: what the index knows and nothing else in a home does (R7).
//!
//! `keys/ledger`, sealed JSON: collections with their names and settings, pins and tags of snapshots, which ones were removed, peers with their trust, the feed's id. Every
//! change of those rewrites it, inside the index's transaction and before its commit: whatever the index says, the
//! ledger says too. Cursors are not in it: after a rebuild peers are read from the beginning, which costs a list.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::index::axon::AxonPeer;
use super::index::{Collection, Marked, Peer, Removed};
use super::{Home, Keys, StoreError, entropy, files};
use crate::domain::id::FeedId;
use crate::domain::succession::SignedStatement;

const FORMAT: &str = "bulbil-ledger/1";
const PLACE: &[u8] = b"ledger";
/// No ledger is longer, in bytes.
const MAX_BYTES: usize = 64 << 20;
/// More than sealing adds, in bytes.
const SEALED: usize = 1 << 10;

/// What is in the ledger.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Ledger {
    format: String,
    /// The feed at the time; a rebuilt index begins a new one.
    pub feed: FeedId,
    /// All collections, own and foreign.
    pub collections: Vec<Collection>,
    /// All peers.
    pub peers: Vec<Peer>,
    /// Who leads which collection.
    #[serde(default)]
    pub statements: Vec<SignedStatement>,
    /// Instances that speak the protocol of an Axon BBS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub axon_peers: Vec<AxonPeer>,
    /// What is known of snapshots beside their manifests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Marked>,
    /// Snapshots that were removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<Removed>,
}

impl Ledger {
    pub(super) fn new(
        feed: FeedId,
        collections: Vec<Collection>,
        peers: Vec<Peer>,
        statements: Vec<SignedStatement>,
    ) -> Self {
        Self {
            format: FORMAT.to_owned(),
            feed,
            collections,
            peers,
            statements,
            axon_peers: Vec::new(),
            marks: Vec::new(),
            removed: Vec::new(),
        }
    }

    pub(super) fn with_axon_peers(self, axon_peers: Vec<AxonPeer>) -> Self {
        Self { axon_peers, ..self }
    }

    pub(super) fn with_snapshots(self, marks: Vec<Marked>, removed: Vec<Removed>) -> Self {
        Self { marks, removed, ..self }
    }
}

/// Where the ledger is, and what seals it.
#[derive(Debug, Clone)]
pub(super) struct LedgerFile {
    path: PathBuf,
    keys: Arc<Keys>,
}

impl LedgerFile {
    pub(super) fn new(home: &Home, keys: Arc<Keys>) -> Self {
        Self { path: home.keys().join("ledger"), keys }
    }

    /// Replaces the ledger; durable on return.
    pub(super) fn save(&self, ledger: &Ledger) -> std::io::Result<()> {
        let plain = serde_json::to_vec(ledger)?;
        if plain.len() > MAX_BYTES - SEALED {
            return Err(std::io::Error::new(
                ErrorKind::FileTooLarge,
                "there are too many peers, collections and statements",
            ));
        }
        files::write_atomically(&self.path, &self.keys.master.seal(&mut entropy(), PLACE, &plain), 0o600)
    }

    /// Reads the ledger; `None` if there is none.
    pub(super) fn load(&self) -> Result<Option<Ledger>, StoreError> {
        let damaged = || StoreError::KeysDamaged { path: self.path.clone() };
        let sealed = match files::read_bounded(&self.path, MAX_BYTES) {
            Ok(bytes) => bytes.ok_or_else(damaged)?,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(StoreError::io("read", &self.path, cause)),
        };
        let plain = self.keys.master.open(PLACE, &sealed).map_err(|_| damaged())?;
        let ledger: Ledger = serde_json::from_slice(&plain).map_err(|_| damaged())?;
        if ledger.format != FORMAT {
            return Err(StoreError::NewerHome { path: self.path.clone(), found: ledger.format });
        }
        Ok(Some(ledger))
    }
}

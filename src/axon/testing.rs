//! Sealed items and backup folders for tests.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use super::folder::Keys;
use crate::domain::axon::cipher::{Sealed, seal};
use crate::domain::axon::manifest::Manifest;
use crate::domain::axon::private::PrivateKey;
use crate::domain::id::ChunkId;
use crate::store::{ChunkStore, ChunkStoreError, entropy};

/// When everything happens.
pub(super) const NOW: &str = "2026-11-26T10:00:00Z";

/// The key of one of the real instances.
pub(super) fn key(of: &str) -> PrivateKey {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/axon/1/keys/instance_{of}.pem"));
    PrivateKey::from_pem(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Who opens: this instance, `a`, and the maker, `b`.
pub(super) fn keys() -> Keys {
    Keys { private: vec![key("a"), key("b")], own: key("a").public().wrapper().unwrap() }
}

/// A content, sealed, with its manifest; `for_b`: with an envelope for the maker.
pub(super) fn sealed(plain: &[u8], for_b: bool) -> (Sealed, Manifest) {
    let sealed = seal(plain, &mut entropy());
    let mut manifest = Manifest::of(&sealed);
    if for_b {
        manifest.add_envelope(&key("b").public().wrapper().unwrap(), &sealed.key).unwrap();
    }
    (sealed, manifest)
}

/// What an applet keeps for a user.
pub(super) fn applet_data(applet: &str, data: &str) -> Vec<u8> {
    format!("{{\"applet_id\": \"{applet}\", \"data\": \"{data}\", \"owner_pubkey\": \"\", \"type\": \"applet_data\"}}")
        .into_bytes()
}

/// Writes chunks into a folder, as many as there are.
pub(super) fn write_chunks(into: &Path, chunks: &[Vec<u8>]) {
    std::fs::create_dir_all(into).unwrap();
    for (index, bytes) in chunks.iter().enumerate() {
        std::fs::write(into.join(format!("{index}.chunk")), bytes).unwrap();
    }
}

/// Writes a backup folder with one applet, named `Star`, whose chunks are still to come.
pub(super) fn write_backup(into: &Path, id: &str, code: Option<&Manifest>, data: &[(&str, &Manifest)]) {
    std::fs::create_dir_all(into.join("Star")).unwrap();
    let plain =
        |manifest: &Manifest| serde_json::from_str::<serde_json::Value>(&manifest.to_value().to_line()).unwrap();
    let write = |name: &str, value: serde_json::Value| std::fs::write(into.join(name), value.to_string()).unwrap();
    write("backup_manifest.json", json!({"backup_date": "20261121_205042", "applets": ["Star"]}));
    let metadata = json!({
        "id": id, "name": "Star", "description": "", "author_pubkey": "", "parameters": {}, "is_local": false,
        "code_manifest": code.map_or_else(|| json!({}), plain), "created_at": NOW, "category": null,
        "is_debug_mode": false, "event_board": null, "handles_mime_types": "",
    });
    write("Star/metadata.json", metadata);
    let row = |(at, (user, manifest)): (usize, &(&str, &Manifest))| {
        let id = format!("00000000-0000-4000-8000-{at:012}");
        let (user, manifest) = (*user, plain(manifest));
        json!({"id": id, "owner_username": user, "owner_pubkey": "", "data_manifest": manifest, "last_updated": NOW})
    };
    if !data.is_empty() {
        write("Star/applet_data.json", data.iter().enumerate().map(row).collect());
    }
}

/// A chunk store that counts how often it is made durable.
#[derive(Debug)]
pub(super) struct Counting {
    inner: Arc<dyn ChunkStore>,
    syncs: AtomicU64,
}

impl Counting {
    pub(super) fn new(inner: Arc<dyn ChunkStore>) -> Arc<Self> {
        Arc::new(Self { inner, syncs: AtomicU64::new(0) })
    }

    pub(super) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }
}

impl ChunkStore for Counting {
    fn write(&self, id: &ChunkId, bytes: &[u8]) -> Result<(), ChunkStoreError> {
        self.inner.write(id, bytes)
    }

    fn sync(&self) -> Result<(), ChunkStoreError> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.inner.sync()
    }

    fn read(&self, id: &ChunkId) -> Result<Vec<u8>, ChunkStoreError> {
        self.inner.read(id)
    }

    fn size(&self, id: &ChunkId) -> Result<Option<u64>, ChunkStoreError> {
        self.inner.size(id)
    }

    fn quarantine(&self, id: &ChunkId) -> Result<(), ChunkStoreError> {
        self.inner.quarantine(id)
    }

    fn remove(&self, id: &ChunkId) -> Result<(), ChunkStoreError> {
        self.inner.remove(id)
    }

    fn list(&self, each: &mut dyn FnMut(ChunkId, u64)) -> Result<(), ChunkStoreError> {
        self.inner.list(each)
    }
}

//! Which files messages attach.
//!
//! A real instance stores a message only when all of its files are there, and tries it again only when it is announced again. So a
//! message counts as new when one of its files has come; which ones they are stands in its sealed content alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use super::catalogue::Line;
use super::{AxonServeError, UNPOISONED};
use crate::domain::axon::cipher;
use crate::domain::axon::manifest::{ContentType, Manifest};
use crate::domain::axon::payload::Payload;
use crate::domain::id::{CollectionId, ContentHash};
use crate::store::axon::Item;
use crate::store::{ChunkStore, Store, blocking};

/// A longer message is not opened for this, in bytes.
const MAX_BYTES: u64 = 4 << 20;
/// More files than this are not looked for.
const MAX_FILES: usize = 1000;
/// Messages that are loaded at once.
const BATCH: usize = 20;

/// The files of messages, by their hashes.
type Files = HashMap<ContentHash, Arc<[ContentHash]>>;

/// What was found out of the messages on each shelf. It follows from the hash of a message, and stays true.
#[derive(Debug, Default)]
pub(super) struct Attached(Mutex<HashMap<CollectionId, Files>>);

impl Attached {
    /// Moves the moment of each message to that of the last of its files.
    pub(super) async fn follow(
        &self,
        store: &Store,
        collection: &CollectionId,
        lines: &mut HashMap<ContentHash, Line>,
    ) -> Result<(), AxonServeError> {
        let is = |line: &Line, kind: &ContentType| line.kinds.contains(kind);
        let files: HashMap<ContentHash, Timestamp> = lines
            .iter()
            .filter(|(_, line)| is(line, &ContentType::File))
            .map(|(hash, line)| (*hash, line.changed_at))
            .collect();
        let Some(last) = files.values().max().copied() else { return Ok(()) };
        // No file came after the others.
        let waits = |line: &Line| line.opens && is(line, &ContentType::Message) && line.changed_at < last;
        let waiting: Vec<ContentHash> = lines.iter().filter(|(_, line)| waits(line)).map(|(hash, _)| *hash).collect();
        self.find_out(store, collection, &waiting).await?;
        let mut known = self.0.lock().expect(UNPOISONED);
        let known = known.entry(*collection).or_default();
        known.retain(|hash, _| lines.contains_key(hash));
        for hash in &waiting {
            let attached = known.get(hash).map(|attached| attached.as_ref()).unwrap_or_default();
            let came = attached.iter().filter_map(|file| files.get(file)).max();
            if let (Some(line), Some(came)) = (lines.get_mut(hash), came) {
                line.changed_at = line.changed_at.max(*came);
            }
        }
        Ok(())
    }

    async fn find_out(
        &self,
        store: &Store,
        collection: &CollectionId,
        messages: &[ContentHash],
    ) -> Result<(), AxonServeError> {
        let unknown: Vec<ContentHash> = {
            let mut known = self.0.lock().expect(UNPOISONED);
            let known = known.entry(*collection).or_default();
            messages.iter().filter(|hash| !known.contains_key(hash)).copied().collect()
        };
        let shelf = store.axon(*collection);
        for batch in unknown.chunks(BATCH) {
            let items = shelf.some_items(batch).await?;
            let chunks = Arc::clone(&store.chunks);
            let found = blocking(move || {
                let each = |item: &Item| Some((item.content_hash, attached(item, chunks.as_ref())?));
                items.iter().filter_map(each).collect::<Vec<_>>()
            })
            .await;
            self.0.lock().expect(UNPOISONED).entry(*collection).or_default().extend(found);
        }
        Ok(())
    }
}

/// The files of a message; none of what can never say. `None` if it cannot be read now.
fn attached(item: &Item, chunks: &dyn ChunkStore) -> Option<Arc<[ContentHash]>> {
    let none = || Some(Arc::from([]));
    let key = item.key.as_ref()?;
    let Ok(manifest) = Manifest::parse(item.manifest.as_bytes()) else { return none() };
    let (mut sealed, mut bytes) = (Vec::new(), 0);
    for id in manifest.chunk_hashes() {
        bytes += chunks.size(id).ok()??;
        if bytes > MAX_BYTES {
            return none();
        }
        sealed.push(chunks.read(id).ok()?);
    }
    let plaintext = cipher::open(key, &manifest, &sealed).ok()?;
    match Payload::parse(&plaintext) {
        Ok(Payload::Message(message)) => Some(message.attachments.iter().take(MAX_FILES).copied().collect()),
        _ => none(),
    }
}

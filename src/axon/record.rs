//! Items and records as documents of a snapshot, and back.
//!
//! ```text
//! axon/format.json                 {"format":"bulbil-axon/1"}
//! axon/items/ab/<content hash>.json   an item: its manifest (verbatim, as a JSON string), its key, its chunks
//! axon/records/…                   records, byte for byte
//! ```
//!
//! Documents are sealed like any file of a snapshot; the key of an item stands in its document, so that whoever can read the
//! snapshot can open its items.

use std::collections::BTreeSet;

use data_encoding::BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::axon::manifest::ContentType;
use crate::domain::crypto::secret::Secret;
use crate::domain::id::{ChunkId, ContentHash};
use crate::domain::metadata::path::TreePath;
use crate::source::Document;
use crate::store::axon::{Item, Record};

/// The first name of every path.
pub const ROOT: &str = "axon";
const FORMAT: &str = "bulbil-axon/1";
/// The document that says that these are an Axon collection's. In the order of a tree it is the first one.
pub const FORMAT_PATH: &str = "axon/format.json";
const ITEMS: &str = "axon/items/";
const RECORDS: &str = "axon/records/";

/// Why documents are not those of an Axon collection.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Nothing says so.
    #[error("this snapshot holds no Axon BBS: axon/format.json is not in it")]
    NotAxon,
    /// A later program made it.
    #[error("this snapshot of an Axon BBS is of form {0}, which this program does not know: use a newer bulbil")]
    Newer(String),
    /// One cannot be read.
    #[error("the document {path} of the snapshot cannot be read")]
    Malformed {
        /// Which one.
        path: String,
        /// Why.
        #[source]
        cause: Option<serde_json::Error>,
    },
}

#[derive(Serialize, Deserialize)]
struct Format {
    format: String,
}

#[derive(Serialize, Deserialize)]
struct ItemDocument {
    content_hash: ContentHash,
    kinds: BTreeSet<ContentType>,
    manifest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    complete: bool,
    changed_at: Timestamp,
    chunks: Vec<(ChunkId, u32)>,
}

/// The documents of a snapshot that holds these, in no order. Records whose path is none are left out: there are none.
pub fn to_documents(items: &[Item], records: Vec<Record>) -> Vec<Document> {
    let document = |path: String, bytes: Vec<u8>, changed_at: Timestamp| {
        let path = TreePath::new(path.into_bytes()).ok()?;
        Some(Document { path, bytes, changed_at })
    };
    let format = serde_json::to_vec(&Format { format: FORMAT.to_owned() }).expect("a string is JSON");
    let format = document(FORMAT_PATH.to_owned(), format, Timestamp::UNIX_EPOCH);
    let item = |item: &Item| {
        let content = ItemDocument {
            content_hash: item.content_hash,
            kinds: item.kinds.clone(),
            manifest: item.manifest.clone(),
            key: item.key.as_ref().map(|key| BASE64.encode(key.expose())),
            complete: item.complete,
            changed_at: item.changed_at,
            chunks: item.chunks.clone(),
        };
        document(item_path(&item.content_hash), serde_json::to_vec(&content).expect("it is JSON"), item.changed_at)
    };
    let record = |record: Record| document(format!("{RECORDS}{}", record.path), record.bytes, record.changed_at);
    format.into_iter().chain(items.iter().filter_map(item)).chain(records.into_iter().filter_map(record)).collect()
}

/// Items and records of a snapshot's documents.
///
/// # Errors
/// [`RecordError`].
pub fn from_documents(documents: Vec<Document>) -> Result<(Vec<Item>, Vec<Record>), RecordError> {
    let (mut items, mut records, mut format) = (Vec::new(), Vec::new(), None);
    for document in documents {
        let malformed = |cause| RecordError::Malformed { path: document.path.to_string(), cause };
        let path = std::str::from_utf8(document.path.as_bytes()).map_err(|_| malformed(None))?;
        if path == FORMAT_PATH {
            let found: Format = serde_json::from_slice(&document.bytes).map_err(|cause| malformed(Some(cause)))?;
            format = Some(found.format);
        } else if path.starts_with(ITEMS) {
            let found: ItemDocument =
                serde_json::from_slice(&document.bytes).map_err(|cause| malformed(Some(cause)))?;
            if path != item_path(&found.content_hash) {
                return Err(malformed(None));
            }
            let key = |text: String| {
                let bytes = BASE64.decode(text.as_bytes()).ok()?;
                Secret::from_slice(&bytes)
            };
            items.push(Item {
                content_hash: found.content_hash,
                kinds: found.kinds,
                manifest: found.manifest,
                key: found.key.map(|text| key(text).ok_or_else(|| malformed(None))).transpose()?,
                complete: found.complete,
                changed_at: found.changed_at,
                chunks: found.chunks,
            });
        } else if let Some(rest) = path.strip_prefix(RECORDS) {
            let path = rest.to_owned();
            records.push(Record { path, bytes: document.bytes, changed_at: document.changed_at });
        }
        // Anything else is a later program's, and not ours to lose: it stays in the snapshot.
    }
    match format {
        None => Err(RecordError::NotAxon),
        Some(format) if format != FORMAT => Err(RecordError::Newer(format)),
        Some(_) => Ok((items, records)),
    }
}

fn item_path(content_hash: &ContentHash) -> String {
    let name = content_hash.to_string();
    format!("{ITEMS}{}/{name}.json", &name[..2])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(n: u8) -> Item {
        Item {
            content_hash: ContentHash::from_slice(&[n; 32]).unwrap(),
            kinds: [ContentType::File, ContentType::Applet].into(),
            manifest: format!("{{\"n\": {n}, \"lone\": \"\\ud800\"}}"),
            key: (n != 2).then(|| Secret::from_slice(&[n; 32]).unwrap()),
            complete: n != 2,
            changed_at: "2026-11-20T10:00:00.123456789Z".parse().unwrap(),
            chunks: vec![(ChunkId::of(&[n]), 1)],
        }
    }

    #[test]
    fn what_was_written_is_read_again() {
        let record = Record {
            path: "applets/1/metadata.json".to_owned(),
            bytes: b"{\n  \"name\": \"x\"\n}".to_vec(),
            changed_at: "2026-11-20T10:00:00Z".parse().unwrap(),
        };
        let documents = to_documents(&[item(1), item(2)], vec![record.clone()]);
        assert_eq!(documents.len(), 4);
        let (items, records) = from_documents(documents).unwrap();
        assert_eq!(records, [record]);
        assert_eq!(format!("{items:?}"), format!("{:?}", [item(1), item(2)]));
        assert_eq!(items[0].key.as_ref().unwrap().expose(), &[1; 32]);
    }

    #[test]
    fn what_is_no_axon_collection_says_so() {
        assert!(matches!(from_documents(vec![]), Err(RecordError::NotAxon)));
        let mut documents = to_documents(&[item(1)], vec![]);
        documents[0].bytes = b"{\"format\":\"bulbil-axon/2\"}".to_vec();
        assert!(matches!(from_documents(documents), Err(RecordError::Newer(_))));
        let mut documents = to_documents(&[item(1)], vec![]);
        documents[1].path = TreePath::new(b"axon/items/00/other.json".to_vec()).unwrap();
        assert!(matches!(from_documents(documents), Err(RecordError::Malformed { .. })));
    }
}

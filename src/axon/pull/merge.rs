//! What a list of manifests changes here.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::axon::instance::AxonInstance;
use crate::domain::axon::json::Value;
use crate::domain::axon::manifest::{ContentType, EnvelopeError, Manifest, may_become};
use crate::domain::crypto::secret::Secret;
use crate::domain::id::{ChunkId, ContentHash};
use crate::domain::peer::is_plain_name;
use crate::store::axon::{Item, Record};

/// Records of manifests that contradict the one that is kept of an item which is not complete: one of them may be the right one.
pub const CANDIDATES: &str = "candidates/";
/// Most manifests of one item that are kept beside the first.
const MAX_CANDIDATES: usize = 4;

/// Longest manifest, in bytes as it is kept: that of an item of some 15 GB. It is a document of a snapshot, and those are bounded.
const MAX_MANIFEST_BYTES: usize = 4 << 20;
/// And of everything in it but the hashes of chunks: a few hundred envelopes.
const MAX_OTHER_BYTES: usize = 256 << 10;
/// Of one chunk's hash, in JSON.
const HASH_BYTES: usize = 68;
/// Kinds that one item is announced as at most.
const MAX_KINDS: usize = 4;

/// A manifest that was read, with the key from its envelope.
pub(super) struct Announced {
    pub(super) manifest: Manifest,
    pub(super) kinds: BTreeSet<ContentType>,
    pub(super) key: Result<Secret<32>, EnvelopeError>,
}

/// What is wrong with something that was announced.
pub(super) struct Refused {
    pub(super) subject: String,
    pub(super) message: String,
}

/// What changes.
#[derive(Default)]
pub(super) struct Merged {
    pub(super) items: Vec<Item>,
    pub(super) records: Vec<Record>,
    pub(super) new: u64,
    pub(super) changed: u64,
    pub(super) new_applets: bool,
    pub(super) resealed: Vec<ContentHash>,
    pub(super) without_key: Vec<(ContentHash, EnvelopeError)>,
}

/// Reads what was announced: each manifest by itself, each item once.
pub(super) fn read(manifests: Vec<Value>) -> (Vec<(Manifest, BTreeSet<ContentType>)>, Vec<Refused>) {
    let mut items: Vec<(Manifest, BTreeSet<ContentType>)> = Vec::new();
    let mut places: BTreeMap<ContentHash, usize> = BTreeMap::new();
    let mut refused = Vec::new();
    for value in manifests {
        let object = value.into_object();
        let shown = match &object {
            Ok(object) => match object.get("content_hash") {
                Some(Value::Text(text)) => text.to_string_lossy().chars().take(70).collect(),
                _ => String::new(),
            },
            Err(_) => String::new(),
        };
        match object.and_then(Manifest::from_object) {
            Ok(manifest) if is_too_long(&manifest) => refused.push(Refused {
                subject: format!("item {shown:?}"),
                message: "its manifest is longer than 4 MiB, or than 256 KiB beside its chunks, and was refused"
                    .to_owned(),
            }),
            Ok(manifest) => {
                let kind = match manifest.content_type() {
                    // Users' data is never announced.
                    Some(kind) if is_plain_name(kind.as_str()) && *kind != ContentType::AppletData => kind.clone(),
                    _ => ContentType::of("other"),
                };
                match places.get(&manifest.content_hash()).map(|at| &mut items[*at]) {
                    // An applet's code is announced as a file, too.
                    Some((first, kinds)) if first.seals_the_same(&manifest) => {
                        kinds.insert(kind);
                    }
                    _ => {
                        places.entry(manifest.content_hash()).or_insert(items.len());
                        items.push((manifest, [kind].into()));
                    }
                }
            }
            Err(cause) => refused.push(Refused {
                subject: format!("item {shown:?}"),
                message: format!("what was announced is no manifest and was refused: {cause}"),
            }),
        }
    }
    (items, refused)
}

fn is_too_long(manifest: &Manifest) -> bool {
    let len = line(manifest).len();
    len > MAX_MANIFEST_BYTES || len > MAX_OTHER_BYTES + HASH_BYTES * manifest.chunk_hashes().len()
}

/// Kinds that an item is announced as, and that it may become.
fn more_kinds<'a>(item: &Item, announced: &'a BTreeSet<ContentType>) -> Vec<&'a ContentType> {
    let room = MAX_KINDS.saturating_sub(item.kinds.len());
    announced.iter().filter(|told| may_become(&item.kinds, told)).take(room).collect()
}

/// Opens the envelopes for this instance. Private operations: on a thread for work that blocks (R4).
pub(super) fn open(manifests: Vec<(Manifest, BTreeSet<ContentType>)>, instance: &AxonInstance) -> Vec<Announced> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let each = manifests.len().div_ceil(threads).max(8);
    let parts: Vec<&[(Manifest, BTreeSet<ContentType>)]> = manifests.chunks(each).collect();
    let keys: Vec<Result<Secret<32>, EnvelopeError>> = std::thread::scope(|scope| {
        let work = |part: &[(Manifest, BTreeSet<ContentType>)]| {
            part.iter().map(|(manifest, _)| manifest.unwrap_key(&instance.private)).collect::<Vec<_>>()
        };
        let running: Vec<_> = parts.into_iter().map(|part| scope.spawn(move || work(part))).collect();
        running.into_iter().flat_map(|thread| thread.join().expect("unwrapping does not panic")).collect()
    });
    let with_key = |((manifest, kinds), key)| Announced { manifest, kinds, key };
    manifests.into_iter().zip(keys).map(with_key).collect()
}

/// Those of which something is not known yet. The others need no private operation.
pub(super) fn is_news(known: &BTreeMap<ContentHash, Item>, manifest: &Manifest, kinds: &BTreeSet<ContentType>) -> bool {
    let Some(item) = known.get(&manifest.content_hash()) else { return true };
    let Ok(ours) = Manifest::parse(item.manifest.as_bytes()) else { return true };
    !ours.seals_the_same(manifest) || item.key.is_none() || !more_kinds(item, kinds).is_empty()
}

/// Decides about each. `candidates`: paths of records that are there already.
pub(super) fn merge(
    known: &mut BTreeMap<ContentHash, Item>,
    candidates: &BTreeSet<String>,
    announced: Vec<Announced>,
    now: Timestamp,
) -> Merged {
    let mut merged = Merged::default();
    let mut touched = BTreeSet::new();
    let mut candidates = candidates.clone();
    for Announced { manifest, kinds, key } in announced {
        let content_hash = manifest.content_hash();
        if let Err(cause) = &key {
            merged.without_key.push((content_hash, cause.clone()));
        }
        let Some(item) = known.get_mut(&content_hash) else {
            merged.new += 1;
            merged.new_applets |= kinds.contains(&ContentType::Applet);
            known.insert(content_hash, fresh(&manifest, kinds, key.ok(), now));
            touched.insert(content_hash);
            continue;
        };
        let ours = Manifest::parse(item.manifest.as_bytes()).ok();
        let same = ours.as_ref().is_some_and(|ours| ours.seals_the_same(&manifest));
        let more: Vec<ContentType> = more_kinds(item, &kinds).into_iter().cloned().collect();
        let mut changed = !more.is_empty();
        merged.new_applets |= more.contains(&ContentType::Applet);
        item.kinds.extend(more);
        if same {
            if item.key.is_none()
                && let Ok(key) = key
            {
                // Until now nobody could see whether its content is what its name says.
                (item.manifest, item.key, item.complete, changed) = (line(&manifest), Some(key), false, true);
            }
        } else if item.complete && item.key.is_some() {
            // The plaintext is the same by its hash, and it was verified: what is here stays.
            merged.resealed.push(content_hash);
        } else if let Ok(key) = key {
            if item.key.is_none() {
                *item = fresh(&manifest, std::mem::take(&mut item.kinds), Some(key), now);
                changed = true;
            } else {
                let record = candidate(&manifest, now);
                let beside = format!("{CANDIDATES}{content_hash}/");
                let count = candidates.iter().filter(|path| path.starts_with(&beside)).count();
                if count < MAX_CANDIDATES && candidates.insert(record.path.clone()) {
                    merged.records.push(record);
                }
            }
        }
        if changed {
            merged.changed += 1;
            item.changed_at = now;
            touched.insert(content_hash);
        }
    }
    merged.items = touched.iter().filter_map(|hash| known.remove(hash)).collect();
    merged
}

/// An item of which nothing is here yet.
pub(in crate::axon) fn fresh(
    manifest: &Manifest,
    kinds: BTreeSet<ContentType>,
    key: Option<Secret<32>>,
    now: Timestamp,
) -> Item {
    Item {
        content_hash: manifest.content_hash(),
        kinds,
        manifest: line(manifest),
        key,
        complete: false,
        changed_at: now,
        chunks: manifest.chunk_hashes().iter().map(|id| (*id, 0)).collect(),
    }
}

/// A manifest, kept beside the one that an item has.
pub(in crate::axon) fn candidate(manifest: &Manifest, now: Timestamp) -> Record {
    let text = line(manifest);
    let path = format!("{CANDIDATES}{}/{}.json", manifest.content_hash(), ChunkId::of(text.as_bytes()).short());
    Record { path, bytes: text.into_bytes(), changed_at: now }
}

fn line(manifest: &Manifest) -> String {
    manifest.to_value().to_line()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::axon::cipher::seal;
    use crate::store::entropy;

    #[test]
    fn nobodys_word_makes_something_private_public_or_the_other_way_round() {
        let manifest = Manifest::of(&seal(b"x", &mut entropy()));
        let now = "2026-11-26T10:00:00Z".parse().unwrap();
        let key = || Secret::from_slice(&[7; 32]);
        let called = |known: ContentType, word: ContentType| {
            let known = Item { complete: true, ..fresh(&manifest, [known].into(), key(), now) };
            let announced = Announced { manifest: manifest.clone(), kinds: [word].into(), key: Ok(key().unwrap()) };
            let mut known = BTreeMap::from([(manifest.content_hash(), known)]);
            let merged = merge(&mut known, &BTreeSet::new(), vec![announced], now);
            merged.items.into_iter().next().map(|item| item.kinds)
        };
        let [file, applet, pm] = [ContentType::File, ContentType::Applet, ContentType::Pm];
        assert_eq!(called(file.clone(), applet.clone()), Some([file.clone(), applet].into()));
        assert_eq!(called(pm.clone(), file.clone()), None);
        assert_eq!(called(ContentType::AppletData, file.clone()), None);
        assert_eq!(called(file, pm), None);
    }

    #[test]
    fn a_manifest_with_much_beside_its_chunks_and_users_data_are_not_what_a_bbs_announces() {
        let manifest = Manifest::of(&seal(b"x", &mut entropy()));
        let with = |name: &str, value: String| {
            let object = manifest.object().clone().with(name, value);
            read(vec![Value::Object(object)])
        };
        let (items, refused) = with("vendor", "y".repeat(MAX_OTHER_BYTES));
        assert_eq!((items.len(), refused.len()), (0, 1));
        let (items, _) = with("content_type", "applet_data".to_owned());
        assert_eq!(items[0].1, [ContentType::of("other")].into());
    }

    #[test]
    fn what_nobody_could_open_counts_as_here_again_once_its_content_was_looked_at() {
        let manifest = Manifest::of(&seal(b"x", &mut entropy()));
        let kinds: BTreeSet<ContentType> = [ContentType::Applet].into();
        let now = "2026-11-26T10:00:00Z".parse().unwrap();
        let kept = |key| Item { complete: true, ..fresh(&manifest, kinds.clone(), key, now) };
        let key = || Secret::from_slice(&[7; 32]);
        let announce = |manifest: &Manifest, known: Item| {
            let announced = Announced { manifest: manifest.clone(), kinds: kinds.clone(), key: Ok(key().unwrap()) };
            let mut known = BTreeMap::from([(manifest.content_hash(), known)]);
            merge(&mut known, &BTreeSet::new(), vec![announced], now).items.pop()
        };
        let item = announce(&manifest, kept(None)).unwrap();
        assert!(item.key.is_some() && !item.complete);
        // Sealed anew: a key that comes with other chunks is better than chunks that nobody opens.
        let other = Manifest::of(&seal(b"x", &mut entropy()));
        let item = announce(&other, kept(None)).unwrap();
        assert!(item.key.is_some() && !item.complete && item.chunks[0].0 == other.chunk_hashes()[0]);
        // What was verified stays.
        assert!(announce(&other, kept(key())).is_none());
    }
}

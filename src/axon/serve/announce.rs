//! The answer to "what is new": written piece by piece, so that ten thousand items need no more memory than a hundred.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroUsize;
use std::sync::Arc;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures_util::future::try_join_all;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::shelves::Shelves;
use super::{AxonGuest, AxonServe, AxonServeError, warn_of};
use crate::axon::library::ACTIONS;
use crate::domain::axon::action::Action;
use crate::domain::axon::json::Value;
use crate::domain::axon::kept::Kept;
use crate::domain::axon::key::Wrapper;
use crate::domain::axon::manifest::{ContentType, Manifest};
use crate::domain::axon::moment;
use crate::domain::id::{CollectionId, ContentHash};
use crate::store::axon::Item;
use crate::store::blocking;

/// Items that are written at once, on each core.
const BATCH: usize = 100;
/// Bytes of manifests that are loaded at once.
const BATCH_BYTES: u64 = 8 << 20;
/// A guest that asks for everything since before this moment begins anew: real ones ask since the year 1.
const BEGINNING: &str = "1000-01-01T00:00:00Z";

/// One announcement.
#[derive(Debug, Clone)]
struct Told {
    content_hash: ContentHash,
    collection: CollectionId,
    kind: ContentType,
    /// How long its manifest is.
    bytes: u64,
}

impl AxonServe {
    /// What a guest is told that asks what is new `since` a moment, as JSON in the form of a real instance.
    ///
    /// The stream ends with an error if something fails on the way; what it has given by then is no JSON. Say
    /// [`taken`](Self::taken) when the guest took all of it.
    ///
    /// # Errors
    /// [`AxonServeError`].
    pub async fn announcements(
        &self,
        guest: &AxonGuest,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<impl Stream<Item = Result<Bytes, AxonServeError>> + Send + 'static, AxonServeError> {
        let wrapper = Arc::new(guest.key.wrapper()?);
        self.store.index.note_axon_arrivals(now).await?;
        let shelves = self.shelves(guest, true).await?;
        let (told, actions_after) = self.told(guest, &shelves, since, now).await?;
        let actions = match guest.rights.without_actions {
            true => Vec::new(),
            false => self.actions(guest, &shelves, actions_after).await?,
        };
        let tail = format!(
            "], \"federated_actions\": {}, \"server_timestamp\": {}}}",
            Value::List(actions).to_line(),
            Value::from(moment::format(now)).to_line(),
        );
        let cores = std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
        let batches = in_batches(told, BATCH * cores);
        let serve = self.clone();
        let mut any = false;
        let written = stream::iter(batches)
            // One after the other: what is begun ahead, and not read, would keep its connection to the index.
            .then(move |batch| {
                let (serve, wrapper) = (serve.clone(), Arc::clone(&wrapper));
                async move { serve.write(batch, wrapper).await }
            })
            .try_filter(|text| std::future::ready(!text.is_empty()))
            .map_ok(move |text| {
                let text = if any { format!(", {text}") } else { text };
                any = true;
                Bytes::from(text)
            });
        let tail = stream::once(std::future::ready(Ok(Bytes::from(tail))));
        let head = stream::once(std::future::ready(Ok(Bytes::from_static(b"{\"manifests\": ["))));
        Ok(head.chain(written).chain(tail))
    }

    /// A guest took the answer of this moment to its end.
    pub fn taken(&self, guest: &AxonGuest, answered_at: Timestamp) {
        self.courses.taken(guest.key.as_str(), answered_at);
    }

    /// What is announced, in the order: files, so that messages that attach them come after them; messages; the rest. And the
    /// moment after which actions are told.
    async fn told(
        &self,
        guest: &AxonGuest,
        shelves: &Shelves,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<(Vec<Told>, Timestamp), AxonServeError> {
        let index = &self.store.index;
        self.save_fetched(guest).await?;
        if since < BEGINNING.parse().expect("it is a moment") {
            index.forget_axon_fetched(&guest.key).await?;
            self.courses.forget(guest.key.as_str());
        }
        let sight = sight(guest, shelves);
        let settled = index.axon_settled(&guest.key, &sight).await?;
        let telling = self.courses.begin(guest.key.as_str(), &sight, since, settled, now);
        if let Some(until) = telling.settled {
            index.settle_axon(&guest.key, &sight, until).await?;
        }
        let fetched = index.axon_fetched(&guest.key).await?;
        let (mut told, mut chosen) = (BTreeMap::new(), Vec::new());
        for content_hash in shelves.all.iter().flat_map(|shelf| shelf.lines.keys()) {
            let Some(seen) = shelves.choose(&guest.rights, content_hash) else { continue };
            if seen.contested {
                chosen.push((*content_hash, seen.collection));
            }
            let has_it = fetched.get(content_hash).is_some_and(|have| *have >= seen.line.chunks);
            let after = if has_it { telling.fetched_after } else { telling.rest_after };
            if seen.line.changed_at > after {
                for kind in seen.line.kinds {
                    let place = (rank(&kind), seen.line.changed_at, *content_hash, kind.clone());
                    let (collection, bytes) = (seen.collection, seen.line.manifest_bytes);
                    told.insert(place, Told { content_hash: *content_hash, collection, kind, bytes });
                }
            }
        }
        self.choices.keep(&self.store, &chosen).await?;
        Ok((told.into_values().collect(), telling.fetched_after))
    }

    /// Some announcements, separated by `, `.
    async fn write(&self, batch: Vec<Told>, wrapper: Arc<Wrapper>) -> Result<String, AxonServeError> {
        let mut wanted: HashMap<CollectionId, Vec<ContentHash>> = HashMap::new();
        for told in &batch {
            wanted.entry(told.collection).or_default().push(told.content_hash);
        }
        let mut items = HashMap::with_capacity(batch.len());
        for (collection, hashes) in wanted {
            for item in self.store.axon(collection).some_items(&hashes).await? {
                items.insert((collection, item.content_hash), item);
            }
        }
        let items = Arc::new(items);
        let part = |part: &[Told]| {
            let (part, items, wrapper) = (part.to_vec(), Arc::clone(&items), Arc::clone(&wrapper));
            blocking(move || write_part(part, &items, &wrapper))
        };
        let mut texts = try_join_all(batch.chunks(BATCH).map(part)).await?;
        texts.retain(|text| !text.is_empty());
        Ok(texts.join(", "))
    }

    async fn actions(
        &self,
        guest: &AxonGuest,
        shelves: &Shelves,
        after: Timestamp,
    ) -> Result<Vec<Value>, AxonServeError> {
        let mut actions = BTreeMap::new();
        for shelf in &shelves.all {
            let arrivals = self.store.index.axon_arrivals(&shelf.collection).await?;
            for record in self.store.axon(shelf.collection).records(ACTIONS).await? {
                let came_at = arrivals.get(&record.path).copied().unwrap_or(record.changed_at);
                let old = came_at <= after || guest.rights.from.is_some_and(|from| record.changed_at < from);
                if old {
                    continue;
                }
                let action: Kept<Action> = match Kept::parse(&record.bytes) {
                    Ok(action) => action,
                    Err(cause) => {
                        warn_of(&record.path, &cause);
                        continue;
                    }
                };
                actions.entry(action.id.as_str().to_owned()).or_insert((record.changed_at, action.to_value()));
            }
        }
        let mut actions: Vec<(Timestamp, Value)> = actions.into_values().collect();
        actions.sort_by_key(|(at, _)| *at);
        Ok(actions.into_iter().map(|(_, action)| action).collect())
    }
}

/// Cuts a list where so many items, or [`BATCH_BYTES`], are reached.
fn in_batches(told: Vec<Told>, most: usize) -> Vec<Vec<Told>> {
    let mut batches: Vec<Vec<Told>> = Vec::new();
    let mut bytes = 0;
    for it in told {
        match batches.last_mut() {
            Some(last) if last.len() < most && bytes + it.bytes <= BATCH_BYTES => {
                bytes += it.bytes;
                last.push(it);
            }
            _ => {
                bytes = it.bytes;
                batches.push(vec![it]);
            }
        }
    }
    batches
}

fn write_part(
    part: Vec<Told>,
    items: &HashMap<(CollectionId, ContentHash), Item>,
    wrapper: &Wrapper,
) -> Result<String, AxonServeError> {
    let mut text = String::new();
    for told in part {
        // What is gone meanwhile is not told.
        let Some(item) = items.get(&(told.collection, told.content_hash)) else { continue };
        if let Some(manifest) = manifest_for(item, wrapper, told.kind)? {
            if !text.is_empty() {
                text.push_str(", ");
            }
            text.push_str(&manifest.to_value().to_line());
        }
    }
    Ok(text)
}

/// The manifest of an item with the guest's envelope alone: any other name in it makes a real instance save the item anew,
/// and tell everybody of it, each time that it sees it. `None` if there can be no envelope.
pub(super) fn manifest_for(
    item: &Item,
    guest: &Wrapper,
    kind: ContentType,
) -> Result<Option<Manifest>, AxonServeError> {
    let Ok(mut manifest) = Manifest::parse(item.manifest.as_bytes()) else {
        tracing::warn!(content = %item.content_hash, "an item is not announced: its manifest cannot be read");
        return Ok(None);
    };
    match &item.key {
        Some(key) => manifest.add_envelope(guest, key)?,
        // Nobody opens it here, but its maker may have made one for the guest.
        None if !manifest.has_envelope(guest.name()) => return Ok(None),
        None => {}
    }
    manifest.keep_envelopes(&[guest.name()]);
    manifest.set_content_type(kind);
    Ok(Some(manifest))
}

/// What a guest can see, as a digest: its rights, and the shelves that they let it look at. What it was not told of while it saw
/// less is not settled.
fn sight(guest: &AxonGuest, shelves: &Shelves) -> String {
    let collections: BTreeSet<CollectionId> = shelves.all.iter().map(|shelf| shelf.collection).collect();
    let text = serde_json::to_vec(&(&guest.rights, collections)).expect("it is JSON");
    HEXLOWER.encode(&Sha256::digest(text))
}

fn rank(kind: &ContentType) -> u8 {
    match kind {
        ContentType::File => 0,
        ContentType::Message => 1,
        ContentType::Pm => 2,
        ContentType::Applet => 3,
        ContentType::AppletData | ContentType::Other(_) => 4,
    }
}

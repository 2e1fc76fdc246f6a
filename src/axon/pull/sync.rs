//! What is new: manifests and actions of one peer.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::merge::{self, Merged};
use super::narrow::{Cursor, FROM_THE_BEGINNING, narrow};
use super::{AxonPuller, PullError, address, called};
use crate::axon::caller::{CallError, News};
use crate::axon::library::{ACTIONS, action_record};
use crate::domain::axon::action;
use crate::domain::axon::address::AxonAddress;
use crate::domain::axon::signature::MAX_SKEW;
use crate::domain::id::ContentHash;
use crate::store::axon::Change;
use crate::store::index::Collection;
use crate::store::index::axon::AxonPeer;

/// So far behind the peer's own clock it is asked next time: what was being saved while it looked is not missed.
const OVERLAP: SignedDuration = SignedDuration::from_mins(10);

/// What a sync brought.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct SyncReport {
    /// Items that the peer announced.
    pub announced: u64,
    /// Items that were new.
    pub new_items: u64,
    /// Items of which something else became known: another kind, a key.
    pub changed_items: u64,
    /// There are applets among them whose metadata is in the configuration.
    pub new_applets: bool,
    /// Actions that were new; kept, not obeyed.
    pub new_actions: u64,
    /// Manifests and actions that were refused.
    pub refused: u64,
    /// Items that are complete here and were sealed anew there: ours stay.
    pub resealed: Vec<ContentHash>,
    /// Items without an envelope that opens.
    pub without_key: u64,
    /// What changed up to this moment could not be had: the peer fails at an item of its own.
    pub not_before: Option<Timestamp>,
    /// Requests sent.
    pub requests: u64,
}

impl SyncReport {
    /// Whether anything came.
    pub fn is_news(&self) -> bool {
        self.new_items + self.changed_items + self.new_actions > 0
    }
}

impl AxonPuller {
    /// Asks a peer what is new. Everything that it tells, and the moment from which it is asked next, is kept in one transaction.
    ///
    /// # Errors
    /// [`PullError`]; the moment stays where it was, and what went wrong is noted with the peer.
    pub async fn sync(
        &self,
        collection: &Collection,
        peer: &AxonPeer,
        cancel: &CancellationToken,
    ) -> Result<SyncReport, PullError> {
        let result = self.ask_what_is_new(collection, peer, cancel).await;
        let error = match &result {
            Ok(SyncReport { not_before: Some(at), .. }) => Some(narrowed_in_words(*at)),
            Ok(_) => None,
            Err(PullError::Cancelled) => return result,
            Err(error) => Some(error.to_string()),
        };
        self.store.index.note_axon_contact(&peer.name, self.caller.now(), error.as_deref()).await?;
        result
    }

    async fn ask_what_is_new(
        &self,
        collection: &Collection,
        peer: &AxonPeer,
        cancel: &CancellationToken,
    ) -> Result<SyncReport, PullError> {
        let address = address(peer)?;
        let cursor = Cursor::parse(peer.cursor.as_deref());
        let mut report = SyncReport::default();
        if peer.cursor.is_none() {
            // Much will have to be fetched then, and connections take their time.
            self.caller.client().prepare_pieces(&address.peer);
        }
        let asking = self.news(&address, &cursor, &mut report.requests);
        let answer = cancel.run_until_cancelled(asking).await.ok_or(PullError::Cancelled)?;
        let (news, narrowed) = answer.map_err(called(peer))?;
        if let Some(at) = narrowed {
            self.problem(format!("peer {}", peer.name), narrowed_in_words(at));
            report.not_before = Some(at);
        }
        let next = match (narrowed, self.trusted(news.server_timestamp)) {
            (Some(at), _) => cursor.with_narrowed(at),
            (None, Some(at)) => Cursor::from(at.checked_sub(OVERLAP).unwrap_or(*FROM_THE_BEGINNING)),
            (None, None) => {
                self.monitor.notice(&format!(
                    "{} tells no moment that can be believed, so it is asked from the same one again next time",
                    peer.name
                ));
                cursor.without_narrowed()
            }
        };
        self.take(collection, peer, news, next, &mut report).await?;
        Ok(report)
    }

    /// The answer, and the moment before which nothing could be had.
    async fn news(
        &self,
        address: &AxonAddress,
        cursor: &Cursor,
        requests: &mut u64,
    ) -> Result<(News, Option<Timestamp>), CallError> {
        *requests += 1;
        self.asked();
        match self.caller.sync(address, cursor.since).await {
            Ok(news) => Ok((news, None)),
            Err(failed @ CallError::Failed { .. }) => {
                let narrowed = narrow(cursor, self.caller.now(), |since| {
                    *requests += 1;
                    self.asked();
                    let (caller, address) = (self.caller.clone(), address.clone());
                    async move { caller.sync(&address, since).await }
                });
                // If nothing at all can be had, it is not because of an item.
                let (news, at) = narrowed.await?.ok_or(failed)?;
                Ok((news, Some(at)))
            }
            Err(error) => Err(error),
        }
    }

    /// A moment that the peer says, unless it lies in the future.
    fn trusted(&self, server_timestamp: Option<Timestamp>) -> Option<Timestamp> {
        let now = self.caller.now();
        // Its clock may be ahead by as much as it accepts of ours.
        server_timestamp.filter(|at| at.duration_since(now) <= MAX_SKEW)
    }

    /// Keeps what was told.
    async fn take(
        &self,
        collection: &Collection,
        peer: &AxonPeer,
        news: News,
        next: Cursor,
        report: &mut SyncReport,
    ) -> Result<(), PullError> {
        let now = self.caller.now();
        let shelf = self.store.axon(collection.id);
        let (manifests, refused) = merge::read(news.manifests);
        report.announced = manifests.len() as u64;
        let _changing = self.changing.lock().await;
        let mut known: BTreeMap<_, _> =
            shelf.items().await?.into_iter().map(|item| (item.content_hash, item)).collect();
        let candidates = shelf.records(merge::CANDIDATES).await?.into_iter().map(|record| record.path).collect();
        let instance = Arc::clone(self.caller.instance());
        let decide = move || {
            let mut manifests = manifests;
            manifests.retain(|(manifest, kinds)| merge::is_news(&known, manifest, kinds));
            let announced = merge::open(manifests, &instance);
            merge::merge(&mut known, &candidates, announced, now)
        };
        let merged: Merged = tokio::task::spawn_blocking(decide).await.map_err(|_| PullError::Died)?;
        let mut records = merged.records;
        let mut refusals = refused.len() as u64;
        for refused in refused {
            self.problem(refused.subject, format!("{}: {}", peer.name, refused.message));
        }
        let known_actions: std::collections::BTreeSet<String> =
            shelf.records(ACTIONS).await?.into_iter().map(|record| record.path).collect();
        match action::read_all(news.actions) {
            Ok(actions) => {
                for action in actions {
                    match action {
                        Ok(action) => {
                            let record = action_record(&action, now);
                            if !known_actions.contains(&record.path) {
                                report.new_actions += 1;
                                records.push(record);
                            }
                        }
                        Err(cause) => {
                            refusals += 1;
                            self.problem(format!("peer {}", peer.name), format!("an action was refused: {cause}"));
                        }
                    }
                }
            }
            Err(cause) => {
                refusals += 1;
                self.problem(format!("peer {}", peer.name), format!("its list of actions was refused: {cause}"));
            }
        }
        for (content_hash, cause) in &merged.without_key {
            self.problem(format!("item {content_hash}"), format!("{} gives no key for it: {cause}", peer.name));
        }
        for content_hash in &merged.resealed {
            tracing::info!(peer = peer.name, %content_hash, "sealed anew over there; what was verified here stays");
        }
        report.refused = refusals;
        report.new_items = merged.new;
        report.changed_items = merged.changed;
        report.new_applets = merged.new_applets;
        report.without_key = merged.without_key.len() as u64;
        report.resealed = merged.resealed;
        let change = Change {
            items: merged.items,
            records,
            cursor: Some((peer.name.clone(), next.to_text())),
            ..Change::default()
        };
        shelf.put(&change).await?;
        Ok(())
    }
}

fn narrowed_in_words(at: Timestamp) -> String {
    format!(
        "it fails (500) at an item that it cannot open itself, so what changed there up to {at} could not be had; what came later is here. Its admin finds the item in its log, and removes or restores it; until then it is asked again each time"
    )
}

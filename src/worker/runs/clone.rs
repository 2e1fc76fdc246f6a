//! Everything that an instance which was just joined lets us have, brought here and looked at.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::asked::{FetchedReport, SyncedPeer, with_rights};
use super::{Recorder, RunError};
use crate::backup::verify::{VerifyOptions, verify};
use crate::domain::id::CollectionId;
use crate::domain::peer::is_plain_name;
use crate::domain::run::RunKind;
use crate::domain::wire::messages::ConfigAnswer;
use crate::domain::words::{bytes, count};
use crate::monitor::{Monitor, Problem, Relay};
use crate::replicate::pull::{PullError, Puller, Quote};
use crate::store::index::Peer;
use crate::store::{IndexError, Store};

/// What came of a clone: the report of the run, and what the command says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClonedReport {
    /// The name of the instance that was joined.
    pub peer: String,
    /// What it shows of its configuration.
    pub config: ConfigAnswer,
    /// What was new in its list.
    pub synced: SyncedPeer,
    /// What was to be fetched then.
    pub quote: Quote,
    /// What was fetched.
    pub fetched: FetchedReport,
    /// What was looked at when all of it had come; nothing, if there was nothing.
    pub verified: Option<Verified>,
    /// The collections that it lets us have.
    pub collections: Vec<ClonedCollection>,
}

/// What was found to be here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Snapshots.
    pub snapshots: u64,
    /// Chunks of theirs.
    pub chunks: u64,
}

/// A collection that came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClonedCollection {
    /// Which one.
    pub id: CollectionId,
    /// What it is called here.
    pub name: String,
}

/// What the disk cannot hold.
#[derive(Debug, thiserror::Error)]
pub enum RoomError {
    /// There is less than is needed.
    #[error("{} are to be fetched and {} are free at {}: free some, then run the same again", bytes(*needed), bytes(*free), place.display())]
    Full {
        /// Bytes that are to come.
        needed: u64,
        /// Bytes that are free.
        free: u64,
        /// Where.
        place: PathBuf,
    },
    /// The disk cannot be asked.
    #[error("cannot look at the disk of the home")]
    Disk(#[source] std::io::Error),
}

/// Refuses to begin what the disk of the home cannot hold.
///
/// # Errors
/// [`RoomError`].
pub fn enough_room(store: &Store, needed: u64) -> Result<(), RoomError> {
    let place = store.home.root();
    let disk = rustix::fs::statvfs(place).map_err(|cause| RoomError::Disk(cause.into()))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if needed <= free { Ok(()) } else { Err(RoomError::Full { needed, free, place: place.to_owned() }) }
}

/// Calls collections here as the instance that was joined calls them.
///
/// # Errors
/// [`IndexError`].
pub async fn learn_names(store: &Store, config: &ConfigAnswer) -> Result<(), IndexError> {
    for collection in &config.collections {
        if let Some(name) = collection.name.as_deref().filter(|name| is_plain_name(name))
            && store.index.collection(&collection.id).await?.is_some()
        {
            store.index.learn_name(&collection.id, name).await?;
        }
    }
    Ok(())
}

/// The collections that a peer lets us have and that are known here; without its configuration, those that it makes.
///
/// # Errors
/// [`IndexError`].
pub async fn of_peer(
    store: &Store,
    peer: &Peer,
    config: Option<&ConfigAnswer>,
) -> Result<Vec<ClonedCollection>, IndexError> {
    let mut collections = store.index.collections().await?;
    collections.retain(|known| match config {
        Some(config) => config.collections.iter().any(|shown| shown.id == known.id),
        None => known.origin == peer.id,
    });
    Ok(collections.into_iter().map(|one| ClonedCollection { id: one.id, name: one.name }).collect())
}

impl Recorder<'_> {
    /// Fetches everything that an instance lets us have, and looks at what came. Whatever is missing in the end, who follows it fetches
    /// later.
    ///
    /// # Errors
    /// [`RunError`]. What was brought until then stays.
    pub async fn clone_of(
        &self,
        puller: &Puller,
        peer: &Peer,
        monitor: Arc<dyn Monitor>,
    ) -> Result<ClonedReport, RunError> {
        let watch = self.watch(monitor);
        let relay = Arc::clone(&watch.relay);
        let no = self.begin(None, RunKind::Clone, &watch).await?;
        let cloned = self.cloned(&puller.heard_by(relay.clone()), peer, &relay).await;
        let mut ended = self.ended(&cloned, &relay);
        if let Ok(report) = &cloned {
            ended.counts.chunks = report.fetched.chunks;
            ended.counts.new_bytes = report.fetched.bytes;
            ended.report = serde_json::to_value(report).ok();
        }
        self.end(no, None, RunKind::Clone, &ended, &watch).await?;
        cloned
    }

    async fn cloned(&self, puller: &Puller, peer: &Peer, relay: &Arc<Relay>) -> Result<ClonedReport, RunError> {
        let _alone = puller.alone_with(&peer.id);
        puller.ask_again(&peer.id);
        let peer = &with_rights(puller, peer).await;
        let config = puller.config(peer, self.cancel).await?;
        let synced = puller.sync(peer, Duration::ZERO, self.cancel).await?;
        if let Some(closed) = &synced.closed {
            relay.problem(Problem { subject: format!("peer {}", peer.name), message: closed.reason.clone() });
        }
        let synced = SyncedPeer::of(peer.name.clone(), synced);
        learn_names(self.store, &config).await?;
        let quote = puller.quote(None).await?;
        enough_room(self.store, quote.bytes)?;
        let fetched = FetchedReport::from(puller.fetch(None, std::slice::from_ref(peer), self.cancel).await?);
        if fetched.still_missing > 0 {
            let message =
                format!("{} are still missing: they are asked for again", count(fetched.still_missing, "chunk"));
            relay.problem(Problem { subject: format!("peer {}", peer.name), message });
        }
        let collections = of_peer(self.store, peer, Some(&config)).await?;
        let verified = match collections.is_empty() {
            true => None,
            false => {
                let ids = collections.iter().map(|one| one.id).collect();
                let options = VerifyOptions { collections: ids, ..VerifyOptions::default() };
                let found = verify(self.store, &options, relay.clone(), self.cancel).await?;
                Some(Verified { snapshots: found.snapshots, chunks: found.chunks })
            }
        };
        if self.cancel.is_cancelled() {
            return Err(PullError::Cancelled.into());
        }
        Ok(ClonedReport { peer: peer.name.clone(), config, synced, quote, fetched, verified, collections })
    }
}

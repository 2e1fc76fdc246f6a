//! Work that is never scheduled: somebody asks for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Recorder, RunError};
use crate::backup::open::OpenSnapshot;
use crate::backup::prune::usage::{Usage, usage};
use crate::backup::restore::{RestoreOptions, RestoreStats, refuse_homes, refuse_portable, restore};
use crate::domain::id::{ChunkId, CollectionId, InstanceId, ManifestId};
use crate::domain::run::RunKind;
use crate::domain::words::count;
use crate::monitor::{Monitor, Problem, with_causes};
use crate::portable::At;
use crate::portable::export::{ExportOptions, Exported, export};
use crate::portable::import::{ImportOptions, Imported, import_from};
use crate::replicate::call::Callee;
use crate::replicate::pair::knock;
use crate::replicate::pull::{FetchReport, PullError, Puller, SyncReport};
use crate::store::blocking;
use crate::store::index::{Collection, Peer, Snapshot};

/// What came of asking peers: the report of the run, and what the command says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncedReport {
    /// Those that were asked, in order.
    pub peers: Vec<SyncedPeer>,
    /// Snapshots that were not known here, of all of them.
    pub new_snapshots: u64,
}

/// What a peer had that was new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncedPeer {
    /// Its name here.
    pub peer: String,
    /// Snapshots that were not known here.
    pub new_snapshots: Vec<ManifestId>,
    /// Snapshots that can be read from now on.
    pub keys: u64,
    /// Lists of chunks that were fetched.
    pub segments: u64,
    /// Requests that it took.
    pub requests: u64,
    /// Whether the end of the feed was reached.
    pub caught_up: bool,
}

impl SyncedPeer {
    pub(super) fn of(peer: String, synced: SyncReport) -> Self {
        let SyncReport { new_snapshots, keys, segments, requests, caught_up, .. } = synced;
        Self { peer, new_snapshots, keys, segments, requests, caught_up }
    }
}

/// What came of a fetch: the report of the run, and what the command says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedReport {
    /// Chunks that were fetched.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Chunks and lists of chunks that are still not here.
    pub still_missing: u64,
    /// Requests that it took.
    pub requests: u64,
    /// Wrong chunks, and who sent them. They were thrown away.
    pub bad: Vec<(InstanceId, ChunkId)>,
}

impl From<FetchReport> for FetchedReport {
    fn from(report: FetchReport) -> Self {
        let FetchReport { chunks, bytes, still_missing, requests, bad, .. } = report;
        Self { chunks, bytes, still_missing, requests, bad }
    }
}

/// A peer that was added before it let us in: what it lets us have now is asked for.
pub(super) async fn with_rights(puller: &Puller, peer: &Peer) -> Peer {
    let (None, Some(address), Ok(identity)) =
        (&peer.granted, peer.address.clone(), peer.identity.verify(Some(&peer.id)))
    else {
        return peer.clone();
    };
    let callee = Callee { address, key: identity.identity_key };
    match knock(puller.caller(), &callee).await {
        Ok(Some(granted)) => {
            let granted = Peer { granted: Some(granted), ..peer.clone() };
            if let Err(error) = puller.store().index.save_peer(&granted).await {
                tracing::warn!(%error, "what the peer lets us have was not saved");
            }
            granted
        }
        // Whatever is wrong, the sync says it.
        Ok(None) | Err(_) => peer.clone(),
    }
}

impl Recorder<'_> {
    /// Restores a snapshot into a folder.
    ///
    /// # Errors
    /// [`RunError`]. What could not be restored is a problem on `monitor`.
    pub async fn restore(
        &self,
        snapshot: &Snapshot,
        target: &Path,
        options: RestoreOptions,
        monitor: Arc<dyn Monitor>,
    ) -> Result<RestoreStats, RunError> {
        refuse_homes(target, self.store.home.root())?;
        refuse_portable(target)?;
        let open = OpenSnapshot::open(self.store, &snapshot.id)?;
        let collection = self.store.index.collection(&snapshot.collection).await?;
        let watch = self.watch(monitor);
        let relay = Arc::clone(&watch.relay);
        let no = self.begin(collection.as_ref(), RunKind::Restore, &watch).await?;
        if snapshot.partial {
            relay.notice("this snapshot is partial: its backup was interrupted, and files may be missing in it");
        }
        let (chunks, into, cancel) = (self.store.chunks.clone(), target.to_owned(), self.cancel.clone());
        let (dry_run, asked) = (options.dry_run, options.document());
        let listening = relay.clone();
        let restored = blocking(move || restore(&chunks, &open, &into, &options, &*listening, &cancel)).await;
        let restored = restored.map_err(RunError::from);
        let mut ended = self.ended(&restored, &relay);
        ended.snapshot = Some(snapshot.id);
        if let Ok(stats) = &restored {
            ended.counts.files = stats.files;
            ended.counts.bytes = stats.bytes;
            ended.report = Some(json!({
                "target": crate::domain::text::path_text(target), "dry_run": dry_run, "asked": asked, "statistics": stats,
            }));
        }
        self.end(no, collection.as_ref(), RunKind::Restore, &ended, &watch).await?;
        restored
    }

    /// Writes snapshots into a portable backup.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn export(
        &self,
        output: PathBuf,
        options: ExportOptions,
        monitor: Arc<dyn Monitor>,
    ) -> Result<Exported, RunError> {
        let collection = match options.collections.as_slice() {
            [one] => self.store.index.collection(one).await?,
            _ => None,
        };
        let watch = self.watch(monitor);
        let relay = Arc::clone(&watch.relay);
        let no = self.begin(collection.as_ref(), RunKind::Export, &watch).await?;
        let now = self.clock.now();
        let exported = export(self.store, &output, &options, now, relay.clone(), self.cancel).await;
        let exported = exported.map_err(RunError::from);
        let mut ended = self.ended(&exported, &relay);
        if let Ok(exported) = &exported {
            ended.counts.chunks = exported.new_chunks;
            ended.counts.new_bytes = exported.new_bytes;
            ended.report = serde_json::to_value(exported).ok();
        }
        self.end(no, collection.as_ref(), RunKind::Export, &ended, &watch).await?;
        exported
    }

    /// Takes snapshots from a portable backup.
    ///
    /// # Errors
    /// [`RunError`]. What is damaged or missing there is a problem on `monitor`.
    pub async fn import(
        &self,
        at: &At,
        options: &ImportOptions,
        monitor: Arc<dyn Monitor>,
    ) -> Result<Imported, RunError> {
        let watch = self.watch(monitor);
        let relay = Arc::clone(&watch.relay);
        let no = self.begin(None, RunKind::Import, &watch).await?;
        let imported = import_from(self.store, at, options, relay.clone(), self.cancel).await.map_err(RunError::from);
        if let Ok(imported) = &imported
            && options.recovery.is_some()
            && imported.keys == 0
            && imported.without_key > 0
        {
            let message = "it opened nothing: is it that of the instance that made these snapshots?".to_owned();
            relay.problem(Problem { subject: "recovery key".to_owned(), message });
        }
        let mut ended = self.ended(&imported, &relay);
        if let Ok(imported) = &imported {
            ended.counts.chunks = imported.filled.chunks;
            ended.counts.new_bytes = imported.filled.bytes;
            ended.report = serde_json::to_value(imported).ok();
        }
        self.end(no, None, RunKind::Import, &ended, &watch).await?;
        imported
    }

    /// Counts what takes the space of a collection, by snapshot and by folder.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn usage(&self, collection: &Collection, monitor: Arc<dyn Monitor>) -> Result<Usage, RunError> {
        let watch = self.watch(monitor);
        let relay = Arc::clone(&watch.relay);
        let no = self.begin(Some(collection), RunKind::Usage, &watch).await?;
        let counted = usage(self.store, collection, relay.clone(), self.cancel).await.map_err(RunError::from);
        let mut ended = self.ended(&counted, &relay);
        if let Ok(counted) = &counted {
            (ended.counts.chunks, ended.counts.bytes) = (counted.stored.chunks, counted.stored.bytes);
            ended.report = serde_json::to_value(counted).ok();
        }
        self.end(no, Some(collection), RunKind::Usage, &ended, &watch).await?;
        counted
    }

    /// Asks peers what is new: manifests, keys and lists of chunks.
    ///
    /// # Errors
    /// [`RunError`], if none of them could be asked. Of one that could not, a problem on `monitor` says so.
    pub async fn sync(
        &self,
        puller: &Puller,
        peers: &[Peer],
        monitor: Arc<dyn Monitor>,
    ) -> Result<SyncedReport, RunError> {
        let watch = self.watch(monitor);
        let relay = Arc::clone(&watch.relay);
        let no = self.begin(None, RunKind::Sync, &watch).await?;
        let puller = puller.heard_by(relay.clone());
        let (mut report, mut failed) = (SyncedReport::default(), Vec::new());
        for peer in peers {
            puller.ask_again(&peer.id);
            let peer = with_rights(&puller, peer).await;
            match puller.sync(&peer, Duration::ZERO, self.cancel).await {
                Ok(synced) => {
                    if let Some(closed) = &synced.closed {
                        relay.problem(Problem {
                            subject: format!("peer {}", peer.name),
                            message: closed.reason.clone(),
                        });
                    }
                    report.new_snapshots += synced.new_snapshots.len() as u64;
                    report.peers.push(SyncedPeer::of(peer.name, synced));
                }
                Err(error) => failed.push((peer.name, error)),
            }
        }
        // If nobody could be asked it is the run that fails, and says so itself.
        let synced = match failed.pop() {
            Some((name, error)) if report.peers.is_empty() => {
                tracing::debug!(peer = name, "the sync failed");
                Err(RunError::from(error))
            }
            last => {
                failed.extend(last);
                Ok(report)
            }
        };
        for (name, error) in failed {
            relay.problem(Problem { subject: format!("peer {name}"), message: with_causes(&error) });
        }
        let mut ended = self.ended(&synced, &relay);
        ended.report = synced.as_ref().ok().and_then(|report| serde_json::to_value(report).ok());
        self.end(no, None, RunKind::Sync, &ended, &watch).await?;
        synced
    }

    /// Fetches missing chunks from peers.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn fetch(
        &self,
        puller: &Puller,
        collection: Option<&CollectionId>,
        peers: &[Peer],
        monitor: Arc<dyn Monitor>,
    ) -> Result<FetchedReport, RunError> {
        let of = match collection {
            Some(id) => self.store.index.collection(id).await?,
            None => None,
        };
        let watch = self.watch(monitor);
        let relay = Arc::clone(&watch.relay);
        let no = self.begin(of.as_ref(), RunKind::Fetch, &watch).await?;
        let puller = puller.heard_by(relay.clone());
        let fetched: Result<FetchReport, PullError> = puller.fetch(collection, peers, self.cancel).await;
        let fetched = fetched.map(FetchedReport::from).map_err(RunError::from);
        if let Ok(report) = &fetched
            && report.still_missing > 0
        {
            let message = format!(
                "{} are still missing: no peer sent them; later 'bulbil fetch' tries again",
                count(report.still_missing, "chunk")
            );
            relay.problem(Problem { subject: "fetch".to_owned(), message });
        }
        let mut ended = self.ended(&fetched, &relay);
        if let Ok(report) = &fetched {
            ended.counts.chunks = report.chunks;
            ended.counts.new_bytes = report.bytes;
            ended.report = serde_json::to_value(report).ok();
        }
        self.end(no, of.as_ref(), RunKind::Fetch, &ended, &watch).await?;
        fetched
    }
}

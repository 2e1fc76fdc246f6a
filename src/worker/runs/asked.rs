//! Work that is never scheduled: somebody asks for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::{Recorder, RunError};
use crate::backup::open::OpenSnapshot;
use crate::backup::restore::{RestoreOptions, RestoreStats, refuse_homes, refuse_portable, restore};
use crate::domain::id::CollectionId;
use crate::domain::run::RunKind;
use crate::monitor::{Monitor, Problem, with_causes};
use crate::portable::export::{ExportOptions, Exported, export};
use crate::replicate::call::PeerCaller;
use crate::replicate::pull::{FetchReport, PullError, Puller};
use crate::store::blocking;
use crate::store::index::{Peer, Snapshot};

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

    /// Asks peers what is new: manifests, keys and lists of chunks. New snapshots.
    ///
    /// # Errors
    /// [`RunError`], if none of them could be asked. Of one that could not, a problem on `monitor` says so.
    pub async fn sync(&self, caller: PeerCaller, peers: &[Peer], monitor: Arc<dyn Monitor>) -> Result<u64, RunError> {
        let watch = self.watch(monitor);
        let relay = Arc::clone(&watch.relay);
        let no = self.begin(None, RunKind::Sync, &watch).await?;
        let puller = Puller::new(self.store.clone(), caller, relay.clone());
        let (mut new, mut asked, mut failed) = (0, Vec::new(), None);
        for peer in peers {
            match puller.sync(peer, Duration::ZERO, self.cancel).await {
                Ok(report) => {
                    new += report.new_snapshots.len() as u64;
                    asked.push(json!({
                        "peer": peer.name, "new_snapshots": report.new_snapshots.len(), "keys": report.keys, "lists": report.segments,
                    }));
                }
                Err(error) => {
                    // With one peer it is the run that fails, and says so itself.
                    if peers.len() > 1 {
                        relay.problem(Problem { subject: peer.name.clone(), message: with_causes(&error) });
                    }
                    failed = Some(error);
                }
            }
        }
        let synced = match failed {
            Some(error) if asked.is_empty() => Err(RunError::from(error)),
            _ => Ok(new),
        };
        let mut ended = self.ended(&synced, &relay);
        ended.report = synced.is_ok().then(|| json!({ "peers": asked, "new_snapshots": new }));
        self.end(no, None, RunKind::Sync, &ended, &watch).await?;
        synced
    }

    /// Fetches missing chunks from peers.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn fetch(
        &self,
        caller: PeerCaller,
        collection: Option<&CollectionId>,
        peers: &[Peer],
        monitor: Arc<dyn Monitor>,
    ) -> Result<FetchReport, RunError> {
        let of = match collection {
            Some(id) => self.store.index.collection(id).await?,
            None => None,
        };
        let watch = self.watch(monitor);
        let relay = Arc::clone(&watch.relay);
        let no = self.begin(of.as_ref(), RunKind::Fetch, &watch).await?;
        let puller = Puller::new(self.store.clone(), caller, relay.clone());
        let fetched: Result<FetchReport, PullError> = puller.fetch(collection, peers, self.cancel).await;
        let fetched = fetched.map_err(RunError::from);
        if let Ok(report) = &fetched
            && report.still_missing > 0
        {
            let message = format!("{} chunks are still missing: no peer sent them", report.still_missing);
            relay.problem(Problem { subject: String::new(), message });
        }
        let mut ended = self.ended(&fetched, &relay);
        if let Ok(report) = &fetched {
            ended.counts.chunks = report.chunks;
            ended.counts.new_bytes = report.bytes;
            ended.report = Some(json!({
                "chunks": report.chunks, "bytes": report.bytes, "still_missing": report.still_missing, "requests": report.requests,
            }));
        }
        self.end(no, of.as_ref(), RunKind::Fetch, &ended, &watch).await?;
        fetched
    }
}

//! What is stored is read again, and keys that are missing are asked for, because somebody wants it now.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Recorder, RunError};
use crate::domain::run::RunKind;
use crate::domain::scrub::Policy;
use crate::monitor::{Monitor, Problem, with_causes};
use crate::replicate::pull::{PullError, Puller};
use crate::store::StoreError;
use crate::store::index::{Collection, Finding, Peer};
use crate::worker::scrub::Scrubber;

/// What came of asking for keys: the report of the run, and what the command says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RekeyedReport {
    /// Keys that came.
    pub keys: u64,
    /// Snapshots that still cannot be opened here.
    pub without_key: u64,
}

/// Something that was not what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundReport {
    /// When it was found.
    pub found_at: Timestamp,
    /// What: a chunk, a manifest.
    pub subject: String,
    /// What is wrong with it, and what was done.
    pub what: String,
}

impl From<Finding> for FoundReport {
    fn from(finding: Finding) -> Self {
        let Finding { found_at, subject, what } = finding;
        Self { found_at, subject, what }
    }
}

/// What came of reading everything again: the report of the run, and what the command says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubbedReport {
    /// Chunks and lists of chunks that were read.
    pub objects: u64,
    /// The bytes of all that was read.
    pub bytes: u64,
    /// What was not what it was.
    pub findings: Vec<FoundReport>,
    /// Chunks that were brought back from peers.
    pub healed_chunks: u64,
    /// Chunks that are lost still.
    pub lost: u64,
    /// Manifests that were looked at.
    pub manifests: u64,
    /// Manifests that were mended.
    pub healed_manifests: u64,
    /// Manifests that are damaged or lost still.
    pub lost_manifests: u64,
}

impl Recorder<'_> {
    /// Asks peers for the keys of snapshots that have none here; with `all` for those of others that have one, too.
    ///
    /// # Errors
    /// [`RunError`], if none of them could be asked. Of one that could not, a problem on `monitor` says so.
    pub async fn rekey(
        &self,
        puller: &Puller,
        collection: Option<&Collection>,
        peers: &[Peer],
        all: bool,
        monitor: Arc<dyn Monitor>,
    ) -> Result<RekeyedReport, RunError> {
        let of = collection.map(|collection| &collection.id);
        let watch = self.watch(monitor);
        let relay = Arc::clone(&watch.relay);
        let no = self.begin(collection, RunKind::Rekey, &watch).await?;
        let puller = puller.heard_by(relay.clone());
        let (mut keys, mut asked, mut failed) = (0, 0_usize, Vec::new());
        for peer in peers {
            if self.cancel.is_cancelled() {
                break;
            }
            match puller.rekey(peer, of, all).await {
                Ok(got) => (keys, asked) = (keys + got.keys, asked + 1),
                Err(error) => failed.push((peer.name.clone(), error)),
            }
        }
        // If nobody could be asked it is the run that fails, and says so itself.
        let last = if asked == 0 { failed.pop() } else { None };
        for (name, error) in failed {
            relay.problem(Problem { subject: format!("peer {name}"), message: with_causes(&error) });
        }
        let rekeyed = match last {
            Some((_, error)) => Err(RunError::from(error)),
            None if self.cancel.is_cancelled() => Err(PullError::Cancelled.into()),
            None => {
                let snapshots = self.store.index.snapshots(of).await?;
                let without_key = snapshots.iter().filter(|snapshot| !snapshot.has_key).count() as u64;
                Ok(RekeyedReport { keys, without_key })
            }
        };
        let mut ended = self.ended(&rekeyed, &relay);
        ended.report = rekeyed.as_ref().ok().and_then(|report| serde_json::to_value(report).ok());
        self.end(no, collection, RunKind::Rekey, &ended, &watch).await?;
        rekeyed
    }

    /// Reads everything that is stored again, of these collections or of all if there are none, and has brought back what is lost.
    ///
    /// # Errors
    /// [`RunError`]. What is wrong is in the report, and a problem on `monitor`.
    pub async fn scrub(
        &self,
        puller: &Puller,
        policy: Policy,
        collections: &[Collection],
        monitor: Arc<dyn Monitor>,
    ) -> Result<ScrubbedReport, RunError> {
        let collection = if let [one] = collections { Some(one) } else { None };
        let watch = self.watch(monitor);
        let no = self.begin(collection, RunKind::Scrub, &watch).await?;
        let scrubbed = self.scrubbed(puller, policy, collections, watch.relay.clone()).await;
        let mut ended = self.ended(&scrubbed, &watch.relay);
        if let Ok(report) = &scrubbed {
            (ended.counts.chunks, ended.counts.bytes_read) = (report.objects, report.bytes);
            ended.report = serde_json::to_value(report).ok();
        }
        self.end(no, collection, RunKind::Scrub, &ended, &watch).await?;
        scrubbed
    }

    async fn scrubbed(
        &self,
        puller: &Puller,
        policy: Policy,
        collections: &[Collection],
        monitor: Arc<dyn Monitor>,
    ) -> Result<ScrubbedReport, RunError> {
        self.store.check_folders().map_err(StoreError::from)?;
        let of: Vec<_> = collections.iter().map(|collection| collection.id).collect();
        let scrubber = Scrubber::new(puller.heard_by(Arc::clone(&monitor)), policy);
        let scrubbed = scrubber.pass(&of, &*monitor, self.cancel).await?;
        for Finding { subject, what, .. } in &scrubbed.findings {
            monitor.problem(Problem { subject: subject.clone(), message: what.clone() });
        }
        let healed = match scrubber.heal(self.cancel).await {
            Ok(report) => report,
            Err(PullError::Cancelled) => return Err(PullError::Cancelled.into()),
            Err(error) => {
                let message = format!("what is lost was not brought back: {}", with_causes(&error));
                monitor.problem(Problem { subject: String::new(), message });
                Default::default()
            }
        };
        if self.cancel.is_cancelled() {
            return Err(PullError::Cancelled.into());
        }
        // Its disk may have gone meanwhile: then what was read says nothing.
        self.store.check_folders().map_err(StoreError::from)?;
        Ok(ScrubbedReport {
            objects: scrubbed.objects,
            bytes: scrubbed.bytes,
            findings: scrubbed.findings.into_iter().map(FoundReport::from).collect(),
            healed_chunks: healed.chunks,
            lost: self.store.index.count_lost().await?,
            manifests: scrubbed.manifests,
            healed_manifests: healed.manifests,
            lost_manifests: healed.manifests_lost.max(self.store.lost_manifests().await?.len() as u64),
        })
    }
}

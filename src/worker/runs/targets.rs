//! Work at targets: copied to, looked at, pruned.

use std::sync::Arc;

use jiff::SignedDuration;

use super::{Recorder, RunError};
use crate::domain::run::RunKind;
use crate::domain::schedule::Work;
use crate::domain::target::Target;
use crate::monitor::Monitor;
use crate::portable::target::Depth;
use crate::store::index::{Collection, RunResult};
use crate::worker::copies::{self, Copies, Made, TargetChecked, TargetPruneReport};

/// The one of them, if it is one.
fn only<T>(all: &[T]) -> Option<&T> {
    if let [one] = all { Some(one) } else { None }
}

impl Recorder<'_> {
    /// Copies what is new of collections to those of the targets that take them; to all targets, if none is named. What came of each:
    /// that all failed is told by [`copies::any_came`].
    ///
    /// # Errors
    /// [`RunError`], if nothing could be tried. Of a target that failed, a problem on `monitor` says so.
    pub async fn copy(
        &self,
        targets: &[Target],
        collections: &[Collection],
        depth: Depth,
        monitor: Arc<dyn Monitor>,
    ) -> Result<Vec<Made>, RunError> {
        let (collection, watch) = (only(collections), self.watch(monitor).at(only(targets)));
        let monitor = Arc::clone(&watch.relay);
        let no = self.begin(collection, Work::Copy.into(), &watch).await?;
        let made = match copies::pairs(self.store, targets, collections) {
            Ok(pairs) => self.copies().copy(&pairs, depth, monitor.clone()).await,
            Err(error) => Err(error),
        };
        let made = made.map_err(RunError::from);
        let mut ended = self.ended(&made, &monitor);
        if let Ok(made) = &made {
            let exported = |of: fn(&Made) -> u64| made.iter().map(of).sum::<u64>();
            ended.snapshot = made.iter().find_map(Made::newest).filter(|_| collection.is_some());
            ended.counts.chunks = exported(Made::new_chunks);
            ended.counts.new_bytes = exported(Made::new_bytes);
            ended.report = serde_json::to_value(made).ok();
            match copies::any_came(made) {
                _ if self.cancel.is_cancelled() => {
                    (ended.result, ended.message) = (RunResult::Interrupted, Some("it was stopped".to_owned()));
                }
                Err(error) => (ended.result, ended.message) = (RunResult::Failed, Some(error.to_string())),
                Ok(()) => {}
            }
        }
        self.end(no, collection, Work::Copy.into(), &ended, &watch).await?;
        made
    }

    /// Looks at what is in a target. With `repair`, what is damaged there is written anew.
    ///
    /// # Errors
    /// [`RunError`]. If somebody else writes there, there is no record of this one. What is wrong is in the report, and a problem on
    /// `monitor`.
    pub async fn verify_target(
        &self,
        target: &Target,
        depth: Depth,
        repair: bool,
        monitor: Arc<dyn Monitor>,
    ) -> Result<TargetChecked, RunError> {
        if repair {
            drop(self.store.lock_target(&target.name)?);
        }
        let watch = self.watch(monitor).at(Some(target));
        let monitor = Arc::clone(&watch.relay);
        let no = self.begin(None, RunKind::VerifyTarget, &watch).await?;
        let checked = self.copies().verify(target, depth, repair, monitor.clone()).await.map_err(RunError::from);
        let mut ended = self.ended(&checked, &monitor);
        if let Ok(report) = &checked {
            ended.counts.chunks = report.checked.chunks;
            ended.counts.bytes_read = report.checked.read_bytes;
            ended.report = serde_json::to_value(report).ok();
        }
        self.end(no, None, RunKind::VerifyTarget, &ended, &watch).await?;
        checked
    }

    /// Removes from a target what was removed here; chunks, when nobody has leaned on them for `grace`.
    ///
    /// # Errors
    /// [`RunError`]. If somebody else writes there, there is no record of this one.
    pub async fn prune_target(
        &self,
        target: &Target,
        grace: SignedDuration,
        dry_run: bool,
        monitor: Arc<dyn Monitor>,
    ) -> Result<TargetPruneReport, RunError> {
        drop(self.store.lock_target(&target.name)?);
        let watch = self.watch(monitor).at(Some(target));
        let no = self.begin(None, RunKind::PruneTarget, &watch).await?;
        let pruned = self.copies().prune(target, grace, dry_run).await.map_err(RunError::from);
        let mut ended = self.ended(&pruned, &watch.relay);
        if let Ok(report) = &pruned {
            ended.counts.chunks = report.pruned.chunks;
            ended.report = serde_json::to_value(report).ok();
        }
        self.end(no, None, RunKind::PruneTarget, &ended, &watch).await?;
        pruned
    }

    fn copies(&self) -> Copies<'_> {
        Copies { store: self.store, clock: &*self.clock, cancel: self.cancel }
    }
}

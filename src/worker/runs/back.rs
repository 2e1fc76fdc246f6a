//! A collection's folders brought back, and snapshots of others' laid out: work after which an application finds its data.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Recorder, RunError};
use crate::backup::layout::LaidOut;
use crate::backup::recover::{RecoverOptions, Report, recover};
use crate::domain::run::RunKind;
use crate::domain::text::path_text;
use crate::monitor::{Monitor, Problem};
use crate::store::index::{Collection, RunResult};
use crate::worker::standby::{Standbys, Step};

/// How far a recovery came, whatever became of it.
#[derive(Debug)]
pub struct Recovery {
    /// Each step, and what is left to do.
    pub report: Report,
    /// Where the report is kept.
    pub written: Vec<PathBuf>,
    /// Why it did not come to its end.
    pub done: Result<(), RunError>,
}

/// What came of laying a standby out: the report of the run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaidOutReport {
    /// In which folder.
    pub into: Option<String>,
    /// What is there; nothing if there is no snapshot yet that could be.
    pub laid_out: Option<LaidOut>,
    /// It was laid out just now.
    pub new: bool,
}

impl LaidOutReport {
    /// Of what a step came to.
    pub fn of(collection: &Collection, step: &Step) -> Self {
        let (laid_out, new) = match step {
            Step::NothingYet => (None, false),
            Step::Current(here) => (Some(here.clone()), false),
            Step::Done(here, _) => (Some(here.clone()), true),
        };
        Self { into: collection.standby.as_ref().map(|standby| path_text(&standby.into)), laid_out, new }
    }
}

impl Recorder<'_> {
    /// Brings the live folders of a collection back, or only looks what that would do; the report is kept in the home.
    ///
    /// # Errors
    /// [`RunError`] if it could not begin, since a backup or another recovery goes on (there is no record, then), or could not be put on
    /// record. What else went wrong is in the answer.
    pub async fn recover(
        &self,
        collection: &Collection,
        options: &RecoverOptions,
        monitor: Arc<dyn Monitor>,
    ) -> Result<Recovery, RunError> {
        if !options.dry_run {
            drop(self.store.lock_backup()?);
        }
        let watch = self.watch(monitor);
        let relay = Arc::clone(&watch.relay);
        let no = self.begin(Some(collection), RunKind::Recover, &watch).await?;
        let (report, done) = recover(self.store, collection, options, &*self.clock, relay.clone(), self.cancel).await;
        let mut done = match done.map_err(RunError::from) {
            Err(error) if error.is_busy() => {
                self.not_begun(no, Some(collection), RunKind::Recover, &error, &watch).await?;
                return Err(error);
            }
            done => done,
        };
        let mut written = Vec::new();
        if !options.dry_run && !report.steps.is_empty() {
            match report.write(self.store) {
                Ok(places) => written = places,
                Err(error) => done = done.and(Err(error.into())),
            }
        }
        let mut ended = self.ended(&done, &relay);
        ended.snapshot = report.chosen.as_ref().map(|chosen| chosen.snapshot);
        if let Some(staged) = &report.staged {
            (ended.counts.files, ended.counts.bytes) = (staged.restored.files, staged.restored.bytes);
        }
        let problems = report.problems();
        if let (RunResult::Done, Some(first)) = (ended.result, problems.first()) {
            ended.result = RunResult::Partly;
            ended.message = Some(match problems.len() {
                1 => first.clone(),
                n => format!("{n} problems; the first: {first}"),
            });
        }
        let written_as_text: Vec<String> = written.iter().map(path_text).collect();
        ended.report = Some(
            json!({ "report": report, "written": written_as_text, "dry_run": options.dry_run, "asked": options.document() }),
        );
        self.end(no, Some(collection), RunKind::Recover, &ended, &watch).await?;
        Ok(Recovery { report, written, done })
    }

    /// Lays out the newest whole snapshot of a standby's collection, if it is not laid out yet.
    ///
    /// # Errors
    /// [`RunError`]; what was laid out before stays.
    pub async fn lay_out(&self, collection: &Collection, monitor: Arc<dyn Monitor>) -> Result<Step, RunError> {
        drop(self.store.lock_standby()?);
        let watch = self.watch(monitor);
        let relay = Arc::clone(&watch.relay);
        let no = self.begin(Some(collection), RunKind::LayOut, &watch).await?;
        let standbys = Standbys::new(self.store.clone(), Arc::clone(&self.clock), relay.clone());
        let step = standbys.step(collection, self.cancel).await.map_err(RunError::from);
        if let Err(error) = &step
            && error.is_busy()
        {
            self.not_begun(no, Some(collection), RunKind::LayOut, error, &watch).await?;
            return step;
        }
        if let Ok(Step::Done(_, Some(why))) = &step {
            let message = format!("it is laid out; its hook failed: {why}");
            relay.problem(Problem { subject: collection.name.clone(), message });
        }
        let mut ended = self.ended(&step, &relay);
        if let Ok(step) = &step {
            let report = LaidOutReport::of(collection, step);
            ended.snapshot = report.laid_out.as_ref().map(|here| here.snapshot);
            ended.report = serde_json::to_value(&report).ok();
        }
        self.end(no, Some(collection), RunKind::LayOut, &ended, &watch).await?;
        step
    }
}

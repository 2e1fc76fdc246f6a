//! Runs: work that goes on, or that came to an end.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::id::CollectionId;
use crate::domain::run::RunKind;
use crate::http::admin::AdminPlane;
use crate::store::IndexError;
use crate::store::index::{Cause, Run, RunLine};
use crate::worker::live::Progress;
use crate::worker::runs::{close_dead, is_alive};

/// How it stands with a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It goes on.
    Running,
    /// All is well.
    Done,
    /// It was done, and something is wrong.
    Partly,
    /// Nothing came of it.
    Failed,
    /// It was stopped, or its process ended in the middle.
    Interrupted,
}

/// Why it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunCause {
    /// It was due.
    Schedule,
    /// Somebody typed a command.
    Command,
    /// Somebody asked for it here.
    Request,
}

/// A run.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RunView {
    /// Its number.
    pub id: i64,
    /// backup, verify, verify-data, check, prune, drill, copy, restore, recover, lay-out, export, sync, fetch, rekey, scrub,
    /// verify-target or prune-target.
    pub kind: String,
    /// The name of its collection, if it is for one.
    pub collection: Option<String>,
    /// The name of the target that it is at, if it is at one.
    pub target: Option<String>,
    /// How it stands.
    pub state: RunState,
    /// Why it was done.
    pub cause: RunCause,
    /// Who asked for it here.
    pub requested_by: Option<String>,
    /// When it was due.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub due_at: Option<Timestamp>,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// Until when.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// Why it failed, or what is wrong.
    pub message: Option<String>,
    /// The snapshot that it made, or was about.
    pub snapshot: Option<String>,
    /// What it read and stored.
    pub counts: RunCounts,
    /// What else came of it; its shape depends on the kind, and is that of the command's `--json`.
    pub report: Option<serde_json::Value>,
    /// How far it is, if it goes on in this server.
    pub progress: Option<ProgressView>,
}

/// What was read and stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunCounts {
    /// Files in the snapshot, or that were looked at.
    pub files: u64,
    /// Their bytes.
    pub file_bytes: u64,
    /// Bytes that were read.
    pub read_bytes: u64,
    /// Bytes that were stored.
    pub stored_bytes: u64,
    /// Chunks that were stored, looked at, or removed.
    pub chunks: u64,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProgressView {
    /// What it does now.
    pub task: Option<String>,
    /// Whether `done` and `total` are bytes.
    pub in_bytes: bool,
    /// How much of that is done.
    pub done: u64,
    /// Of how much, if that is known.
    pub total: Option<u64>,
    /// Files and other entries so far.
    pub entries: u64,
    /// Bytes of files so far.
    pub file_bytes: u64,
    /// Chunks so far.
    pub chunks: u64,
    /// Their bytes.
    pub chunk_bytes: u64,
    /// Problems so far.
    pub problems: u64,
}

impl From<Progress> for ProgressView {
    fn from(progress: Progress) -> Self {
        let task = progress.task;
        Self {
            in_bytes: task.as_ref().is_some_and(|task| task.in_bytes),
            done: task.as_ref().map_or(0, |task| task.done),
            total: task.as_ref().and_then(|task| task.total),
            task: task.map(|task| task.name),
            entries: progress.entries,
            file_bytes: progress.bytes,
            chunks: progress.chunks,
            chunk_bytes: progress.chunk_bytes,
            problems: progress.problems,
        }
    }
}

/// Something that a run said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LineView {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Whether it is a problem, or only worth knowing.
    pub is_problem: bool,
    /// With what there is a problem: a path, a peer, an id.
    pub subject: Option<String>,
    /// One sentence.
    pub text: String,
}

impl LineView {
    /// All of it, in one line.
    pub fn in_words(&self) -> String {
        match &self.subject {
            Some(subject) => format!("{subject}: {}", self.text),
            None => self.text.clone(),
        }
    }
}

impl From<RunLine> for LineView {
    fn from(line: RunLine) -> Self {
        let subject = Some(line.subject).filter(|subject| !subject.is_empty());
        Self { at: line.at, is_problem: line.is_problem, subject, text: line.text }
    }
}

impl AdminPlane {
    /// The newest runs whose number is smaller than `before`: of a collection, of a kind, and at a target, if they are given.
    pub(crate) async fn runs(
        &self,
        collection: Option<&CollectionId>,
        kind: Option<RunKind>,
        target: Option<&str>,
        before: i64,
        limit: u32,
    ) -> Result<Vec<RunView>, IndexError> {
        let names = self.collection_names().await?;
        let mut runs = self.store.index.runs_before(collection, kind, target, before, limit).await?;
        if runs.iter().any(|run| self.is_elsewhere(run)) {
            self.close_dead().await?;
            runs = self.store.index.runs_before(collection, kind, target, before, limit).await?;
        }
        Ok(runs.into_iter().map(|run| self.shown(run, &names)).collect())
    }

    /// What goes on now, the newest first.
    pub(crate) async fn open_runs(&self) -> Result<Vec<RunView>, IndexError> {
        let names = self.collection_names().await?;
        let mut runs: Vec<RunView> =
            self.store.index.open_runs().await?.into_iter().map(|run| self.shown(run, &names)).collect();
        runs.sort_by_key(|run| std::cmp::Reverse(run.id));
        Ok(runs)
    }

    /// One run.
    pub(crate) async fn run(&self, id: i64) -> Result<Option<RunView>, IndexError> {
        let names = self.collection_names().await?;
        let mut run = self.store.index.run(id).await?;
        if run.as_ref().is_some_and(|run| self.is_elsewhere(run)) {
            self.close_dead().await?;
            run = self.store.index.run(id).await?;
        }
        Ok(run.map(|run| self.shown(run, &names)))
    }

    /// Whether another process is to be at it; it may have been killed.
    fn is_elsewhere(&self, run: &Run) -> bool {
        run.ended.is_none() && run.pid != std::process::id()
    }

    async fn close_dead(&self) -> Result<(), IndexError> {
        close_dead(&self.store, self.now(), |pid| pid == std::process::id() || is_alive(pid)).await
    }

    /// What a run said so far, from a line on.
    pub(crate) async fn run_log(&self, id: i64, from: usize) -> Result<Vec<LineView>, IndexError> {
        let lines = match self.jobs.live().get(id) {
            Some(live) => live.lines(from),
            None => self.store.index.run_lines(id).await?.into_iter().skip(from).collect(),
        };
        Ok(lines.into_iter().map(LineView::from).collect())
    }

    async fn collection_names(&self) -> Result<HashMap<CollectionId, String>, IndexError> {
        Ok(self.store.index.collections().await?.into_iter().map(|one| (one.id, one.name)).collect())
    }

    fn shown(&self, run: Run, names: &HashMap<CollectionId, String>) -> RunView {
        use crate::store::index::RunResult;
        let ended = run.ended;
        let state = match ended.as_ref().map(|ended| ended.result) {
            None => RunState::Running,
            Some(RunResult::Done) => RunState::Done,
            Some(RunResult::Partly) => RunState::Partly,
            Some(RunResult::Failed) => RunState::Failed,
            Some(RunResult::Interrupted) => RunState::Interrupted,
        };
        let (cause, due_at) = match run.cause {
            Cause::Schedule { slot, .. } => (RunCause::Schedule, Some(slot)),
            Cause::Command => (RunCause::Command, None),
            Cause::Request => (RunCause::Request, None),
        };
        let live = self.jobs.live().get(run.no).filter(|_| ended.is_none());
        let counts = ended.as_ref().map(|ended| ended.counts).unwrap_or_default();
        RunView {
            id: run.no,
            kind: run.kind.word().to_owned(),
            collection: run.collection.map(|id| names.get(&id).cloned().unwrap_or_else(|| id.short())),
            target: run.target,
            state,
            cause,
            requested_by: run.by,
            due_at,
            started_at: run.started_at,
            ended_at: ended.as_ref().map(|ended| ended.at),
            message: ended.as_ref().and_then(|ended| ended.message.clone()),
            snapshot: ended.as_ref().and_then(|ended| ended.snapshot).map(|id| id.to_string()),
            counts: RunCounts {
                files: counts.files,
                file_bytes: counts.bytes,
                read_bytes: counts.bytes_read,
                stored_bytes: counts.new_bytes,
                chunks: counts.chunks,
            },
            report: ended.and_then(|ended| ended.report),
            progress: live.map(|live| live.progress().into()),
        }
    }
}

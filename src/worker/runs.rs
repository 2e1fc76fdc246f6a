//! Work that is put on record: since when, how it ended, what it read and stored, and why it failed. Whoever asks for it, the server
//! by its schedule or somebody by a command.
//!
//! A snapshot that was just made is looked at as a whole before the run counts as done: its manifest, its lists, its tree, and
//! whether every chunk that it leans on is here. What is new in it was read back when it was stored (R14).

use std::sync::Arc;
use std::sync::Mutex;

use jiff::Timestamp;
use rustix::process::{Pid, test_kill_process};
use tokio_util::sync::CancellationToken;

use super::axon::{self, AxonError};
use crate::backup::create::{CreateError, Created, Extras, create_with};
use crate::backup::drill::{DrillError, DrillOptions, Drilled, drill};
use crate::backup::prune::{self, PruneError, Pruned};
use crate::backup::verify::{VerifyError, VerifyOptions, VerifyReport, verify};
use crate::clock::Clock;
use crate::domain::audit::{Ending, Event, Who};
use crate::domain::content::Secrets;
use crate::domain::id::ManifestId;
use crate::domain::manifest::Capture;
use crate::domain::schedule::Work;
use crate::monitor::{Counter, Monitor, Problem, with_causes};
use crate::store::index::{Cause, Collection, CollectionKind, Counts, Ended, RunResult};
use crate::store::{IndexError, PresetsError, Store, StoreError, blocking};

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Another one is under way.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No snapshot was made.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// No snapshot of an Axon BBS was made.
    #[error(transparent)]
    Axon(#[from] AxonError),
    /// It could not be verified.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// A restore could not be tried.
    #[error(transparent)]
    Drill(#[from] DrillError),
    /// The rules of an application cannot be used.
    #[error(transparent)]
    Preset(#[from] PresetsError),
    /// Nothing was removed, or not all that was to be.
    #[error(transparent)]
    Prune(#[from] PruneError),
    /// It could not be put on record.
    #[error(transparent)]
    Index(#[from] IndexError),
}

impl RunError {
    /// Whether another one has to end first.
    pub fn is_busy(&self) -> bool {
        matches!(
            self,
            Self::Store(StoreError::Busy { .. })
                | Self::Create(CreateError::Store(StoreError::Busy { .. }))
                | Self::Axon(AxonError::Create(CreateError::Store(StoreError::Busy { .. })))
        )
    }
}

/// Does work and puts it on record.
#[derive(Debug, Clone, Copy)]
pub struct Recorder<'a> {
    /// Where.
    pub store: &'a Store,
    /// Why.
    pub cause: Cause,
    /// When.
    pub clock: &'a dyn Clock,
    /// Stops it.
    pub cancel: &'a CancellationToken,
}

impl Recorder<'_> {
    /// Makes a snapshot of folders, or of what is known of an Axon BBS, and verifies its structure; nothing if all of it is in a
    /// snapshot already.
    ///
    /// # Errors
    /// [`RunError`]. If another backup is under way, there is no record of this one.
    pub async fn back_up(
        &self,
        collection: &Collection,
        extras: Extras,
        monitor: Arc<dyn Monitor>,
    ) -> Result<Option<Created>, RunError> {
        drop(self.store.lock_backup()?);
        let monitor = Arc::new(Listening::new(monitor));
        let no = self.begin(collection, Work::Backup).await?;
        let made = self.made(collection, extras, Arc::clone(&monitor)).await;
        if let Err(error) = &made
            && error.is_busy()
        {
            self.store.index.take_run_back(no).await?;
            return made;
        }
        let mut ended = self.ended(&made, &monitor);
        if let Ok(Some(created)) = &made {
            let s = &created.statistics;
            ended.snapshot = Some(created.id);
            ended.counts = Counts {
                files: s.files,
                bytes: s.bytes,
                bytes_read: s.bytes_read,
                new_bytes: s.new_bytes,
                chunks: s.new_chunks,
            };
            if created.partial {
                ended.result = RunResult::Interrupted;
                ended.message = Some("it was interrupted; the next one goes on from here".to_owned());
            }
        }
        self.end(no, collection, Work::Backup, &ended).await?;
        made
    }

    async fn made(
        &self,
        collection: &Collection,
        extras: Extras,
        monitor: Arc<Listening>,
    ) -> Result<Option<Created>, RunError> {
        let is_axon = collection.settings.as_ref().is_some_and(|settings| settings.kind == CollectionKind::Axon);
        let created = match is_axon {
            true => axon::snapshot(self.store, collection, self.clock, monitor.clone(), self.cancel).await?,
            false => Some(create_with(self.store, collection, extras, self.clock, monitor.clone(), self.cancel).await?),
        };
        if let Some(created) = &created
            && let Some(why) = suspicion(&created.capture)
        {
            // It stays, and so does the one before it, until somebody has looked.
            self.store.index.mark(&created.id, |mark| mark.flagged = Some(why)).await?;
        }
        if let Some(created) = created.as_ref().filter(|created| !created.partial && created.capture.is_sound()) {
            let options = VerifyOptions {
                collections: vec![collection.id],
                snapshot: Some(created.id),
                ..VerifyOptions::default()
            };
            let report = verify(self.store, &options, monitor, self.cancel).await?;
            if report.affected.is_empty() && report.missing.is_empty() {
                let now = self.clock.now();
                self.store.index.mark(&created.id, |mark| mark.whole_at = Some(now)).await?;
            }
        }
        Ok(created)
    }

    /// Verifies the snapshots of a collection: their structure, or every byte.
    ///
    /// # Errors
    /// [`RunError`]. What is wrong is in the report, and a problem on `monitor`.
    pub async fn verify(
        &self,
        collection: &Collection,
        data: bool,
        monitor: Arc<dyn Monitor>,
    ) -> Result<VerifyReport, RunError> {
        let monitor = Arc::new(Listening::new(monitor));
        let no = self.begin(collection, if data { Work::VerifyData } else { Work::Verify }).await?;
        let options = VerifyOptions { collections: vec![collection.id], data, ..VerifyOptions::default() };
        let verified = verify(self.store, &options, monitor.clone(), self.cancel).await.map_err(RunError::from);
        if let Ok(report) = &verified {
            self.store.index.note_damaged(&report.affected).await?;
            self.store.index.note_verified(&report.verified, self.clock.now()).await?;
        }
        let mut ended = self.ended(&verified, &monitor);
        if let Ok(report) = &verified {
            ended.counts.chunks = report.chunks;
            ended.counts.bytes_read = if data { report.chunk_bytes } else { 0 };
        }
        self.end(no, collection, if data { Work::VerifyData } else { Work::Verify }, &ended).await?;
        verified
    }

    /// Removes the snapshots of a collection that are not to be kept, and what nobody names any more.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn prune(&self, collection: &Collection, monitor: Arc<dyn Monitor>) -> Result<Pruned, RunError> {
        let monitor = Listening::new(monitor);
        let no = self.begin(collection, Work::Prune).await?;
        let pruned = self.pruned(collection, &monitor).await;
        let mut ended = self.ended(&pruned, &monitor);
        if let Ok(pruned) = &pruned {
            ended.counts.chunks = pruned.swept.removed.chunks;
        }
        self.end(no, collection, Work::Prune, &ended).await?;
        pruned
    }

    /// Tries a restore of the newest snapshot that can be read here; nothing if there is none yet.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn drill_newest(
        &self,
        collection: &Collection,
        monitor: Arc<dyn Monitor>,
    ) -> Result<Option<Drilled>, RunError> {
        let Some(newest) = self.store.index.newest_readable(&collection.id).await? else { return Ok(None) };
        let application = collection.settings.as_ref().and_then(|settings| settings.application.as_ref());
        let preset = self.store.preset(application.map_or("generic", |application| application.preset.as_str()))?;
        let settings = collection.settings.clone();
        let options = DrillOptions { scratch: None, preset, secrets: Secrets::new(), settings };
        self.drill(collection, &newest.id, options, monitor).await.map(Some)
    }

    /// Tries a restore of a snapshot.
    ///
    /// # Errors
    /// [`RunError`]. What is wrong is in the report, and a problem on `monitor`.
    pub async fn drill(
        &self,
        collection: &Collection,
        snapshot: &ManifestId,
        options: DrillOptions,
        monitor: Arc<dyn Monitor>,
    ) -> Result<Drilled, RunError> {
        let monitor = Arc::new(Listening::new(monitor));
        let no = self.begin(collection, Work::Drill).await?;
        let (store, listening, cancel, id) = (self.store.clone(), monitor.clone(), self.cancel.clone(), *snapshot);
        let drilled = blocking(move || drill(&store, &id, options, &*listening, &cancel)).await.map_err(RunError::from);
        let mut ended = self.ended(&drilled, &monitor);
        if let Ok(drilled) = &drilled {
            ended.snapshot = Some(drilled.snapshot);
            ended.counts.files = drilled.compared;
            ended.counts.bytes = drilled.compared_bytes;
            if drilled.good {
                // Every byte of it was read, and compared.
                self.store.index.note_verified(&[*snapshot], self.clock.now()).await?;
            }
        }
        self.end(no, collection, Work::Drill, &ended).await?;
        drilled
    }

    async fn pruned(&self, collection: &Collection, monitor: &Listening) -> Result<Pruned, RunError> {
        let now = self.clock.now();
        let plan = prune::plan(self.store, std::slice::from_ref(collection), None, now).await?;
        Ok(prune::apply(self.store, &plan, prune::GRACE, now, monitor, self.cancel).await?)
    }

    /// Records how it ended; what nobody typed stands in the audit log, too.
    async fn end(&self, no: i64, collection: &Collection, work: Work, ended: &Ended) -> Result<(), RunError> {
        self.store.index.end_run(no, ended).await?;
        if let Cause::Schedule { .. } = self.cause {
            let snapshot = ended.snapshot.map(|id| format!("snapshot {}", id.short()));
            let event = Event {
                who: Who::Server,
                what: work.word().to_owned(),
                subjects: std::iter::once(collection.name.clone()).chain(snapshot).collect(),
                ending: match ended.result {
                    RunResult::Done => Ending::Done,
                    RunResult::Partly => Ending::Partly,
                    RunResult::Failed | RunResult::Interrupted => Ending::Failed,
                },
                why: ended.message.clone(),
            };
            self.store.record(&event, ended.at).await?;
        }
        Ok(())
    }

    async fn begin(&self, collection: &Collection, work: Work) -> Result<i64, RunError> {
        close_dead(self.store, self.clock.now(), |pid| pid == std::process::id() || is_alive(pid)).await?;
        let (now, pid) = (self.clock.now(), std::process::id());
        Ok(self.store.index.begin_run(&collection.id, work, self.cause, pid, now).await?)
    }

    fn ended<T>(&self, came: &Result<T, RunError>, monitor: &Listening) -> Ended {
        let (result, message) = match came {
            Err(_) if self.cancel.is_cancelled() => (RunResult::Interrupted, Some("it was stopped".to_owned())),
            Err(error) => (RunResult::Failed, Some(with_causes(error))),
            Ok(_) => match monitor.heard() {
                (0, _) => (RunResult::Done, None),
                (1, first) => (RunResult::Partly, first),
                (n, first) => (RunResult::Partly, first.map(|first| format!("{n} problems; the first: {first}"))),
            },
        };
        Ended { at: self.clock.now(), result, message, snapshot: None, counts: Counts::default() }
    }
}

/// Why a snapshot may lack something that the one before has.
fn suspicion(capture: &Capture) -> Option<String> {
    let shrunk = capture.shrunk.first().map(|what| format!("it shrank: {what}"));
    shrunk.or_else(|| capture.inconsistent.first().map(|what| format!("it is inconsistent: {what}")))
}

/// Closes the records of runs whose process ended without doing so: it was killed.
///
/// # Errors
/// [`IndexError`].
pub async fn close_dead(store: &Store, now: Timestamp, is_alive: impl Fn(u32) -> bool) -> Result<(), IndexError> {
    for run in store.index.open_runs().await?.into_iter().filter(|run| !is_alive(run.pid)) {
        let ended = Ended {
            at: now,
            result: RunResult::Interrupted,
            message: Some("its process ended in the middle".to_owned()),
            snapshot: None,
            counts: Counts::default(),
        };
        store.index.end_run(run.no, &ended).await?;
    }
    Ok(())
}

/// Whether a process runs.
pub fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

/// Passes everything on, and remembers what was wrong.
struct Listening {
    to: Arc<dyn Monitor>,
    heard: Mutex<(u64, Option<String>)>,
}

impl Listening {
    fn new(to: Arc<dyn Monitor>) -> Self {
        Self { to, heard: Mutex::default() }
    }

    fn heard(&self) -> (u64, Option<String>) {
        self.heard.lock().expect("no holder of this lock can panic").clone()
    }
}

impl Monitor for Listening {
    fn task(&self, name: &str, counter: Counter, total: Option<u64>) {
        self.to.task(name, counter, total);
    }

    fn resume(&self, name: &str, counter: Counter, done: u64, total: u64) {
        self.to.resume(name, counter, done, total);
    }

    fn add(&self, counter: Counter, n: u64) {
        self.to.add(counter, n);
    }

    fn take_back(&self, counter: Counter, n: u64) {
        self.to.take_back(counter, n);
    }

    fn notice(&self, text: &str) {
        self.to.notice(text);
    }

    fn problem(&self, problem: Problem) {
        {
            let mut heard = self.heard.lock().expect("no holder of this lock can panic");
            heard.0 += 1;
            heard.1.get_or_insert_with(|| match problem.subject.is_empty() {
                true => problem.message.clone(),
                false => format!("{}: {}", problem.subject, problem.message),
            });
        }
        self.to.problem(problem);
    }
}

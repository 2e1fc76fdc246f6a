//! Work that is put on record: since when, how it ended, what it read and stored, and why it failed. Whoever asks for it, the server
//! by its schedule or somebody by a command.
//!
//! A snapshot that was just made is looked at as a whole before the run counts as done: its manifest, its lists, its tree, and
//! whether every chunk that it leans on is here. What is new in it was read back when it was stored (R14).

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rustix::process::{Pid, test_kill_process};
use tokio_util::sync::CancellationToken;

use super::axon::{self, AxonError};
use super::copies::{self, CopiesError, Made};
use crate::backup::check::{CheckError, live};
use crate::backup::create::{CreateError, Created, Extras, create_with};
use crate::backup::drill::{DrillError, DrillOptions, Drilled, drill};
use crate::backup::escrow;
use crate::backup::prune::{self, PruneError, PrunePlan, Pruned};
use crate::backup::verify::{VerifyError, VerifyOptions, VerifyReport, verify};
use crate::clock::Clock;
use crate::domain::audit::{Ending, Event, Who};
use crate::domain::content::{Report, Secrets};
use crate::domain::id::ManifestId;
use crate::domain::preset::Preset;
use crate::domain::schedule::Work;
use crate::monitor::{Heard, Monitor, Relay, with_causes};
use crate::store::index::{Cause, Collection, CollectionKind, CollectionSettings, Counts, Ended, Mark, Run, RunResult};
use crate::store::{IndexError, PresetsError, Store, StoreError, blocking};

/// Two clocks that are compared may differ by so much.
const SLACK: SignedDuration = SignedDuration::from_secs(5);

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
    /// The content could not be checked.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// A restore could not be tried.
    #[error(transparent)]
    Drill(#[from] DrillError),
    /// The rules of an application cannot be used.
    #[error(transparent)]
    Preset(#[from] PresetsError),
    /// Nothing was removed, or not all that was to be.
    #[error(transparent)]
    Prune(#[from] PruneError),
    /// It could not be copied to any target.
    #[error(transparent)]
    Copies(#[from] CopiesError),
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
                | Self::Drill(DrillError::Busy(_))
                | Self::Prune(PruneError::Store(StoreError::Busy { .. }))
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
        let monitor = Arc::new(Relay::new(monitor));
        let no = self.begin(collection, Work::Backup).await?;
        let accepted = extras.accept_shrink;
        let made = self.made(collection, extras, Arc::clone(&monitor)).await;
        if let (Ok(Some(created)), true) = (&made, accepted)
            && created.capture.is_sound()
            && !created.partial
        {
            self.store.index.unflag_shrunk(&collection.id).await?;
        }
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
            if let Some(why) = created.capture.suspicion().filter(|_| ended.result == RunResult::Done) {
                ended.result = RunResult::Partly;
                ended.message = Some(why);
            }
            if created.partial {
                ended.result = RunResult::Interrupted;
                ended.message = Some("it was interrupted; the next one goes on from here".to_owned());
            }
        }
        self.end(no, collection, Work::Backup, &ended).await?;
        made
    }

    /// Makes a snapshot of an old archive. It is no backup of the folders as they are now: what came of those stays on record.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn take_archive(
        &self,
        collection: &Collection,
        extras: Extras,
        monitor: Arc<dyn Monitor>,
    ) -> Result<Option<Created>, RunError> {
        self.made(collection, extras, Arc::new(Relay::new(monitor))).await
    }

    async fn made(
        &self,
        collection: &Collection,
        extras: Extras,
        monitor: Arc<Relay>,
    ) -> Result<Option<Created>, RunError> {
        let is_axon = collection.settings.as_ref().is_some_and(|settings| settings.kind == CollectionKind::Axon);
        let created = match is_axon {
            true => axon::snapshot(self.store, collection, self.clock, monitor.clone(), self.cancel).await?,
            false => Some(create_with(self.store, collection, extras, self.clock, monitor.clone(), self.cancel).await?),
        };
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

    /// Verifies the snapshots of collections, and records it for each of them.
    ///
    /// # Errors
    /// [`RunError`]. What is wrong is in the report, and a problem on `monitor`.
    pub async fn verify(
        &self,
        collections: &[Collection],
        options: VerifyOptions,
        monitor: Arc<dyn Monitor>,
    ) -> Result<VerifyReport, RunError> {
        let work = if options.data { Work::VerifyData } else { Work::Verify };
        let monitor = Arc::new(Relay::new(monitor));
        let mut begun = Vec::with_capacity(collections.len());
        for collection in collections {
            begun.push(self.begin(collection, work).await?);
        }
        let options = VerifyOptions { at: Some(self.clock.now()), ..options };
        let verified = verify(self.store, &options, monitor.clone(), self.cancel).await.map_err(RunError::from);
        if let Ok(report) = &verified {
            self.store.index.note_damaged(&report.affected).await?;
            self.store.index.note_verified(&report.verified, self.clock.now()).await?;
        }
        for (collection, no) in collections.iter().zip(begun) {
            let mut ended = self.ended(&verified, &monitor);
            if let Ok(report) = &verified {
                ended.counts.chunks = report.chunks;
                ended.counts.bytes_read = report.bytes_read;
                // What is wrong with the snapshots of another one is no news of this one.
                if !report.affected.is_empty() && !self.is_any_of(collection, &report.affected).await? {
                    (ended.result, ended.message) = (RunResult::Done, None);
                }
            }
            self.end(no, collection, work, &ended).await?;
        }
        verified
    }

    /// Whether one of these snapshots is of this collection.
    async fn is_any_of(&self, collection: &Collection, snapshots: &[ManifestId]) -> Result<bool, IndexError> {
        let own = self.store.index.snapshots(Some(&collection.id)).await?;
        Ok(own.iter().any(|snapshot| snapshots.contains(&snapshot.id)))
    }

    /// Removes the snapshots of a collection that are not to be kept, and what nobody names any more.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn prune(&self, collection: &Collection, monitor: Arc<dyn Monitor>) -> Result<Pruned, RunError> {
        if let Cause::Schedule { .. } = self.cause {
            // While something is stored nothing can be freed: it waits until that has ended.
            drop(self.store.lock_backup()?);
        }
        let of = std::slice::from_ref(collection);
        let plan = prune::plan(self.store, of, None, self.clock.now()).await?;
        self.prune_by(of, &plan, prune::GRACE, monitor).await
    }

    /// Removes what a plan says, and records it for each collection that it is of.
    ///
    /// # Errors
    /// [`RunError`]. If somebody else is pruning, there is no record of this one.
    pub async fn prune_by(
        &self,
        collections: &[Collection],
        plan: &PrunePlan,
        grace: SignedDuration,
        monitor: Arc<dyn Monitor>,
    ) -> Result<Pruned, RunError> {
        let monitor = Relay::new(monitor);
        let mut begun = Vec::with_capacity(collections.len());
        for collection in collections {
            begun.push(self.begin(collection, Work::Prune).await?);
        }
        let now = self.clock.now();
        let pruned = prune::apply(self.store, plan, grace, now, &monitor, self.cancel).await.map_err(RunError::from);
        for (collection, no) in collections.iter().zip(begun) {
            if pruned.as_ref().is_err_and(RunError::is_busy) {
                self.store.index.take_run_back(no).await?;
                continue;
            }
            let mut ended = self.ended(&pruned, &monitor);
            if let Ok(pruned) = &pruned {
                ended.counts.chunks = pruned.swept.removed.chunks;
            }
            self.end(no, collection, Work::Prune, &ended).await?;
        }
        pruned
    }

    /// Checks the content of the folders as they are now, by the rules of the collection's application; nothing if it has none here.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn check_folders(
        &self,
        collection: &Collection,
        monitor: Arc<dyn Monitor>,
    ) -> Result<Option<Report>, RunError> {
        let Some(settings) = &collection.settings else { return Ok(None) };
        let preset = self.store.preset_of(collection.settings.as_ref())?;
        self.check(collection, settings.clone(), preset, Secrets::new(), monitor).await.map(Some)
    }

    /// Checks the content of folders by the rules of an application.
    ///
    /// # Errors
    /// [`RunError`]. What is wrong is in the report.
    pub async fn check(
        &self,
        collection: &Collection,
        settings: CollectionSettings,
        preset: Preset,
        secrets: Secrets,
        monitor: Arc<dyn Monitor>,
    ) -> Result<Report, RunError> {
        let monitor = Arc::new(Relay::new(monitor));
        let no = self.begin(collection, Work::Check).await?;
        let (store, listening, cancel) = (self.store.clone(), monitor.clone(), self.cancel.clone());
        let id = collection.id;
        let checked = blocking(move || {
            // A server knows what opens sealed fields only if it is stored.
            let secrets =
                if secrets.is_empty() { escrow::stored_or_none(&store, &id, &[], &*listening) } else { secrets };
            live(&store, &settings, &preset, secrets, &*listening, &cancel)
        });
        let checked = checked.await.map_err(RunError::from);
        let mut ended = self.ended(&checked, &monitor);
        if let Ok(report) = &checked {
            ended.counts.files = report.files;
            if report.errors > 0 {
                let first = report.reasons(1).pop().unwrap_or_default();
                ended.result = RunResult::Partly;
                ended.message = Some(match report.errors {
                    1 => first,
                    n => format!("{n} errors in the folders; the first: {first}"),
                });
            }
        }
        self.end(no, collection, Work::Check, &ended).await?;
        checked
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
        let (preset, settings) = (self.store.preset_of(collection.settings.as_ref())?, collection.settings.clone());
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
        let monitor = Arc::new(Relay::new(monitor));
        let no = self.begin(collection, Work::Drill).await?;
        let (store, listening, cancel, id) = (self.store.clone(), monitor.clone(), self.cancel.clone(), *snapshot);
        let drilled = blocking(move || drill(&store, &id, options, &*listening, &cancel)).await.map_err(RunError::from);
        if let Err(error) = &drilled
            && error.is_busy()
        {
            self.store.index.take_run_back(no).await?;
            return drilled;
        }
        let mut ended = self.ended(&drilled, &monitor);
        if let Ok(drilled) = &drilled {
            ended.snapshot = Some(drilled.snapshot);
            ended.counts.files = drilled.compared;
            ended.counts.bytes = drilled.compared_bytes;
            if drilled.good {
                // Every byte of it was read, and compared.
                self.store.index.note_verified(&[*snapshot], self.clock.now()).await?;
            } else if drilled.is_against_snapshot() {
                // It stays, with the one before it, until somebody has looked; a flag that is there says more.
                let why = format!("a drill of it failed: {}", ended.message.as_deref().unwrap_or("see 'bulbil runs'"));
                let flag = |mark: &mut Mark| mark.flagged = mark.flagged.take().or(Some(why));
                self.store.index.mark(snapshot, flag).await?;
            }
        }
        self.end(no, collection, Work::Drill, &ended).await?;
        drilled
    }

    /// Copies what is new of a collection to every target that takes it.
    ///
    /// # Errors
    /// [`RunError`], if no target has it now. Of one that failed, a problem on `monitor` says so.
    pub async fn copy(&self, collection: &Collection, monitor: Arc<dyn Monitor>) -> Result<Vec<Made>, RunError> {
        let monitor = Arc::new(Relay::new(monitor));
        let no = self.begin(collection, Work::Copy).await?;
        let copies = copies::Copies { store: self.store, clock: self.clock, cancel: self.cancel };
        let made = copies.copy(collection, monitor.clone()).await.map_err(RunError::from);
        let mut ended = self.ended(&made, &monitor);
        if let Ok(made) = &made {
            let exported = |of: fn(&Made) -> u64| made.iter().map(of).sum::<u64>();
            ended.snapshot = made.iter().find_map(Made::newest);
            ended.counts.chunks = exported(Made::new_chunks);
            ended.counts.new_bytes = exported(Made::new_bytes);
        }
        self.end(no, collection, Work::Copy, &ended).await?;
        made
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

    fn ended<T>(&self, came: &Result<T, RunError>, monitor: &Relay) -> Ended {
        let (result, message) = match came {
            Err(_) if self.cancel.is_cancelled() => (RunResult::Interrupted, Some("it was stopped".to_owned())),
            Err(error) => (RunResult::Failed, Some(with_causes(error))),
            Ok(_) => match monitor.heard() {
                Heard { problems: 0, .. } => (RunResult::Done, None),
                Heard { problems: 1, told } => (RunResult::Partly, told.first().cloned()),
                Heard { problems: n, told } => {
                    (RunResult::Partly, told.first().map(|first| format!("{n} problems; the first: {first}")))
                }
            },
        };
        Ended { at: self.clock.now(), result, message, snapshot: None, counts: Counts::default() }
    }
}

/// Closes the records of runs whose process ended without doing so: it was killed.
///
/// # Errors
/// [`IndexError`].
pub async fn close_dead(store: &Store, now: Timestamp, is_alive: impl Fn(u32) -> bool) -> Result<(), IndexError> {
    // A process that began after the run is another one with the same number.
    let goes_on =
        |run: &Run| is_alive(run.pid) && begun_at(run.pid, now).is_none_or(|begun| begun <= run.started_at + SLACK);
    for run in store.index.open_runs().await?.into_iter().filter(|run| !goes_on(run)) {
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

/// When a process began, by this clock; unknown where `/proc` does not say.
fn begun_at(pid: u32, now: Timestamp) -> Option<Timestamp> {
    // Behind the name, which may hold anything, in ticks since the machine was started; a tick is a hundredth of a second for programs.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks: i64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    let up: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let age = SignedDuration::try_from_secs_f64(up - ticks as f64 / 100.0).ok()?;
    now.checked_sub(age).ok()
}

/// Whether a process runs.
pub fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

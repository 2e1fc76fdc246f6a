//! Work that is put on record: since when, how it ended, what it read and stored, and why it failed. Whoever asks for it, the server
//! by its schedule or somebody by a command.
//!
//! A snapshot that was just made is looked at as a whole before the run counts as done: its manifest, its lists, its tree, and
//! whether every chunk that it leans on is here. What is new in it was read back when it was stored (R14).

mod asked; // what is never scheduled
mod care; // what is stored is read again, keys are asked for
mod back; // live folders brought back, and snapshots laid out
mod clone; // everything of an instance that was joined
mod dead; // runs whose process ended
mod error; // why nothing came of it
mod made; // what came of a backup
mod targets; // copied to, looked at, pruned
mod watch; // what a run under way is heard through

use std::sync::Arc;

use jiff::SignedDuration;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

pub use asked::{FetchedReport, SyncedPeer, SyncedReport};
pub use back::{LaidOutReport, Recovery};
pub use care::{FoundReport, RekeyedReport, ScrubbedReport};
pub use clone::{ClonedCollection, ClonedReport, RoomError, Verified, enough_room, learn_names, of_peer};
pub use dead::{close_dead, is_alive};
pub use error::RunError;
pub use made::{BackupReport, LISTED, LeftOutMore, LeftOutReport};

use super::axon;
use super::live::LiveRuns;
use crate::backup::check::live;
use crate::backup::create::{Created, Extras, create_with};
use crate::backup::drill::{DrillOptions, Drilled, drill};
use crate::backup::escrow;
use crate::backup::prune::{self, PrunePlan, Pruned};
use crate::backup::verify::{VerifyOptions, VerifyReport, verify};
use crate::clock::Clock;
use crate::domain::audit::{Ending, Event, Who};
use crate::domain::content::{Report, Secrets};
use crate::domain::id::ManifestId;
use crate::domain::preset::Preset;
use crate::domain::run::RunKind;
use crate::domain::schedule::Work;
use crate::monitor::{Heard, Monitor, Relay, with_causes};
use crate::store::index::{
    Begin, Cause, Collection, CollectionKind, CollectionSettings, Counts, Ended, Mark, RunResult,
};
use crate::store::{IndexError, Store, blocking};
use watch::Watch;

/// Does work and puts it on record.
#[derive(Debug, Clone)]
pub struct Recorder<'a> {
    store: &'a Store,
    cause: Cause,
    clock: Arc<dyn Clock>,
    cancel: &'a CancellationToken,
    live: LiveRuns,
    by: Option<Who>,
    begun: Option<UnboundedSender<i64>>,
}

impl<'a> Recorder<'a> {
    /// For work in `store` that is done because of `cause`, and stopped by `cancel`.
    pub fn new(store: &'a Store, cause: Cause, clock: Arc<dyn Clock>, cancel: &'a CancellationToken) -> Self {
        Self { store, cause, clock, cancel, live: LiveRuns::default(), by: None, begun: None }
    }

    /// What goes on can be looked at there.
    #[must_use]
    pub fn shown(self, live: &LiveRuns) -> Self {
        Self { live: live.clone(), ..self }
    }

    /// Somebody asked for it over the admin plane; `begun` is told the numbers under which it is on record.
    #[must_use]
    pub fn asked(self, by: Who, begun: UnboundedSender<i64>) -> Self {
        Self { by: Some(by), begun: Some(begun), ..self }
    }
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
        let watch = self.watch(monitor);
        let monitor = Arc::clone(&watch.relay);
        let no = self.begin(Some(collection), Work::Backup.into(), &watch).await?;
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
            self.not_begun(no, Some(collection), Work::Backup.into(), error, &watch).await?;
            return made;
        }
        let mut ended = self.ended(&made, &monitor);
        if let Ok(Some(created)) = &made {
            let s = &created.statistics;
            // What is scheduled comes again and again: its reports stay small.
            let listed = if let Cause::Schedule { .. } = self.cause { 0 } else { LISTED };
            ended.report = serde_json::to_value(BackupReport::of(&collection.name, created, listed)).ok();
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
        self.end(no, Some(collection), Work::Backup.into(), &ended, &watch).await?;
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
            true => axon::snapshot(self.store, collection, &*self.clock, monitor.clone(), self.cancel).await?,
            false => {
                Some(create_with(self.store, collection, extras, &*self.clock, monitor.clone(), self.cancel).await?)
            }
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
        let watch = self.watch(monitor);
        let monitor = Arc::clone(&watch.relay);
        let mut begun = Vec::with_capacity(collections.len());
        for collection in collections {
            begun.push(self.begin(Some(collection), work.into(), &watch).await?);
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
                ended.report = serde_json::to_value(report).ok();
                ended.counts.chunks = report.chunks;
                ended.counts.bytes_read = report.bytes_read;
                // What is wrong with the snapshots of another one is no news of this one.
                if !report.affected.is_empty() && !self.is_any_of(collection, &report.affected).await? {
                    (ended.result, ended.message) = (RunResult::Done, None);
                }
            }
            self.end(no, Some(collection), work.into(), &ended, &watch).await?;
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
        drop(self.store.lock_prune()?);
        let watch = self.watch(monitor);
        let monitor = Arc::clone(&watch.relay);
        let mut begun = Vec::with_capacity(collections.len());
        for collection in collections {
            begun.push(self.begin(Some(collection), Work::Prune.into(), &watch).await?);
        }
        let now = self.clock.now();
        let pruned = prune::apply(self.store, plan, grace, now, &*monitor, self.cancel).await.map_err(RunError::from);
        for (collection, no) in collections.iter().zip(begun) {
            if let Err(error) = &pruned
                && error.is_busy()
            {
                self.not_begun(no, Some(collection), Work::Prune.into(), error, &watch).await?;
                continue;
            }
            let mut ended = self.ended(&pruned, &monitor);
            if let Ok(pruned) = &pruned {
                ended.report = serde_json::to_value(pruned).ok();
                ended.counts.chunks = pruned.swept.removed.chunks;
            }
            self.end(no, Some(collection), Work::Prune.into(), &ended, &watch).await?;
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
        let watch = self.watch(monitor);
        let monitor = Arc::clone(&watch.relay);
        let no = self.begin(Some(collection), Work::Check.into(), &watch).await?;
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
            ended.report = serde_json::to_value(report).ok();
            if report.errors > 0 {
                let first = report.reasons(1).pop().unwrap_or_default();
                ended.result = RunResult::Partly;
                ended.message = Some(match report.errors {
                    1 => first,
                    n => format!("{n} errors in the folders; the first: {first}"),
                });
            }
        }
        self.end(no, Some(collection), Work::Check.into(), &ended, &watch).await?;
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
        let watch = self.watch(monitor);
        let monitor = Arc::clone(&watch.relay);
        let no = self.begin(Some(collection), Work::Drill.into(), &watch).await?;
        let (store, listening, cancel, id) = (self.store.clone(), monitor.clone(), self.cancel.clone(), *snapshot);
        let drilled = blocking(move || drill(&store, &id, options, &*listening, &cancel)).await.map_err(RunError::from);
        if let Err(error) = &drilled
            && error.is_busy()
        {
            self.not_begun(no, Some(collection), Work::Drill.into(), error, &watch).await?;
            return drilled;
        }
        let mut ended = self.ended(&drilled, &monitor);
        if let Ok(drilled) = &drilled {
            ended.snapshot = Some(drilled.snapshot);
            ended.report = serde_json::to_value(drilled).ok();
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
        self.end(no, Some(collection), Work::Drill.into(), &ended, &watch).await?;
        drilled
    }

    fn watch(&self, monitor: Arc<dyn Monitor>) -> Watch {
        Watch::new(self.store, &self.clock, monitor, &self.live, self.cancel)
    }

    /// Records how it ended, and what it said; what nobody typed, and did not only look, stands in the audit log, too.
    async fn end(
        &self,
        no: i64,
        collection: Option<&Collection>,
        kind: RunKind,
        ended: &Ended,
        watch: &Watch,
    ) -> Result<(), RunError> {
        self.store.index.save_run_lines(no, &watch.live.lines(0)).await?;
        self.store.index.end_run(no, ended).await?;
        let who = match (self.cause, &self.by) {
            (Cause::Schedule { .. }, _) => Who::Server,
            // A command, done here or by the server, is on record itself.
            (_, None | Some(Who::User { .. })) => return Ok(()),
            (_, Some(by)) => by.clone(),
        };
        if ended.report.as_ref().is_some_and(|report| report["dry_run"] == true) {
            return Ok(());
        }
        let snapshot = ended.snapshot.map(|id| format!("snapshot {}", id.short()));
        let target = watch.target.as_ref().map(|name| format!("target {name}"));
        let collection = collection.map(|collection| collection.name.clone());
        let event = Event {
            who,
            what: kind.word().to_owned(),
            subjects: collection.into_iter().chain(target).chain(snapshot).collect(),
            ending: match ended.result {
                RunResult::Done => Ending::Done,
                RunResult::Partly => Ending::Partly,
                RunResult::Failed | RunResult::Interrupted => Ending::Failed,
            },
            why: ended.message.clone(),
        };
        self.store.record(&event, ended.at).await?;
        Ok(())
    }

    async fn begin(&self, collection: Option<&Collection>, kind: RunKind, watch: &Watch) -> Result<i64, RunError> {
        close_dead(self.store, self.clock.now(), |pid| pid == std::process::id() || is_alive(pid)).await?;
        let by = self.by.as_ref().map(ToString::to_string);
        let begin = Begin {
            collection: collection.map(|collection| &collection.id),
            target: watch.target.as_deref(),
            kind,
            cause: self.cause,
            by: by.as_deref(),
            pid: std::process::id(),
            at: self.clock.now(),
        };
        let no = self.store.index.begin_run(begin).await?;
        watch.begun(no);
        if let Some(begun) = &self.begun {
            let _ = begun.send(no);
        }
        Ok(no)
    }

    /// It was put on record, and had to leave it to another one at the last moment. The record goes, unless somebody was told its number:
    /// they would look for it in vain.
    async fn not_begun(
        &self,
        no: i64,
        collection: Option<&Collection>,
        kind: RunKind,
        why: &RunError,
        watch: &Watch,
    ) -> Result<(), RunError> {
        if self.begun.is_none() {
            return Ok(self.store.index.take_run_back(no).await?);
        }
        let ended = Ended {
            at: self.clock.now(),
            result: RunResult::Failed,
            message: Some(with_causes(why)),
            snapshot: None,
            counts: Counts::default(),
            report: None,
        };
        self.end(no, collection, kind, &ended, watch).await
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
        Ended { at: self.clock.now(), result, message, snapshot: None, counts: Counts::default(), report: None }
    }
}

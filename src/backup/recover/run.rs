//! A recovery, one step after another; each is in the report with its time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::candidates::{Candidate, candidates};
use super::ground::{Ground, Mounts, ground, stamp};
use super::journal::{Journal, Number, Phase};
use super::places::{Finder, patterns};
use super::report::{Chosen, Ending, Report, Step};
use super::stage::NEW;
use super::{RecoverError, running, swap};
use crate::clock::Clock;
use crate::domain::content::Secrets;
use crate::domain::id::ManifestId;
use crate::domain::preset::Preset;
use crate::monitor::{Monitor, Tally, with_causes};
use crate::source::{Excludes, command};
use crate::store::index::{Collection, CollectionKind, CollectionSettings};
use crate::store::{Store, blocking};
use crate::transport::health::{Answer, Probe};

/// How long a command may take that stops or starts the application.
const COMMAND_LIMIT: Duration = Duration::from_secs(600);

/// Gives the secrets that open sealed fields, each time that content is checked.
pub type SecretSource = Arc<dyn Fn() -> Secrets + Send + Sync>;

/// What is to be brought back, and how.
#[derive(Clone)]
pub struct RecoverOptions {
    /// This snapshot; else the newest that is sound.
    pub snapshot: Option<ManifestId>,
    /// Only these files and folders, relative to the root (or with its name in front, where there are several).
    pub paths: Vec<PathBuf>,
    /// Go on whatever speaks against it.
    pub force: bool,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Stops the application.
    pub stop: Option<String>,
    /// Starts it.
    pub start: Option<String>,
    /// How long to wait until it is up.
    pub wait: Option<Duration>,
    /// Sessions do not come back.
    pub drop_sessions: bool,
    /// Where it says that it is up, instead of the preset's address.
    pub health: Option<String>,
    /// What opens sealed fields.
    pub secrets: SecretSource,
}

impl RecoverOptions {
    /// The newest snapshot that is sound, whole, and nothing forced; no command is run, and no secret given.
    pub fn plain() -> Self {
        Self {
            snapshot: None,
            paths: Vec::new(),
            force: false,
            dry_run: false,
            stop: None,
            start: None,
            wait: None,
            drop_sessions: false,
            health: None,
            secrets: Arc::new(Secrets::new),
        }
    }

    /// What was asked for, to be put on record: the same for the same. The snapshot stands in the report, whether it was named or found.
    pub fn document(&self) -> serde_json::Value {
        let paths: Vec<String> = self.paths.iter().map(crate::domain::text::path_text).collect();
        serde_json::json!({ "paths": paths, "drop_sessions": self.drop_sessions })
    }
}

impl std::fmt::Debug for RecoverOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { snapshot, paths, force, dry_run, .. } = self;
        let mut shown = f.debug_struct("RecoverOptions");
        shown.field("snapshot", snapshot).field("paths", paths).field("force", force).field("dry_run", dry_run);
        shown.finish_non_exhaustive()
    }
}

/// Brings a collection's folders back. The report says how far it came, whatever the result.
///
/// Dropping the future leaves the step that is under way running to its end; the next recovery finishes the rest.
///
/// # Errors
/// [`RecoverError`]: the live data is as it was, unless the error says otherwise.
pub async fn recover(
    store: &Store,
    collection: &Collection,
    options: &RecoverOptions,
    clock: &dyn Clock,
    monitor: Arc<dyn Monitor>,
    cancel: &CancellationToken,
) -> (Report, Result<(), RecoverError>) {
    let mut report = Report::new(&collection.name, clock.now());
    let done = async {
        let mut work = Work::new(store, collection, options, clock, monitor, cancel, &mut report).await?;
        work.run().await
    }
    .await;
    report.error = done.as_ref().err().map(|error| with_causes(error));
    if let (Some(_), Err(error)) = (&options.stop, &done)
        && !matches!(error, RecoverError::Command { .. } | RecoverError::NotHere(_))
        && !report.steps.is_empty()
    {
        report.next.push("the application was stopped, and was not started again: it is up to you".to_owned());
    }
    report.ended_at = clock.now();
    (report, done)
}

/// Makes sure that such a recovery can begin at all: its folders are here, its paths are of them, its preset knows sessions.
///
/// # Errors
/// [`RecoverError`], as [`recover`] would say it.
pub async fn can_begin(
    store: &Store,
    collection: &Collection,
    options: &RecoverOptions,
    clock: &dyn Clock,
) -> Result<(), RecoverError> {
    let mut report = Report::new(&collection.name, clock.now());
    let (monitor, cancel) = (Arc::new(Tally::default()), CancellationToken::new());
    Work::new(store, collection, options, clock, monitor, &cancel, &mut report).await.map(drop)
}

pub(super) struct Work<'a> {
    pub(super) store: &'a Store,
    pub(super) collection: &'a Collection,
    pub(super) settings: CollectionSettings,
    pub(super) preset: Preset,
    pub(super) options: &'a RecoverOptions,
    pub(super) clock: &'a dyn Clock,
    pub(super) monitor: Arc<dyn Monitor>,
    pub(super) cancel: &'a CancellationToken,
    pub(super) report: &'a mut Report,
    pub(super) probe: Option<(String, Probe)>,
    pub(super) mounts: Mounts,
    pub(super) grounds: Vec<Ground>,
    /// What is wanted of each root; everything if there is nothing.
    pub(super) paths: Vec<(usize, PathBuf)>,
}

impl<'a> Work<'a> {
    async fn new(
        store: &'a Store,
        collection: &'a Collection,
        options: &'a RecoverOptions,
        clock: &'a dyn Clock,
        monitor: Arc<dyn Monitor>,
        cancel: &'a CancellationToken,
        report: &'a mut Report,
    ) -> Result<Self, RecoverError> {
        let here = collection.settings.clone().filter(|settings| settings.kind == CollectionKind::Directory);
        let settings = here.ok_or_else(|| RecoverError::NotHere(collection.name.clone()))?;
        let preset = store.preset_of(Some(&settings))?;
        if options.drop_sessions && preset.sessions.is_empty() {
            return Err(RecoverError::NoSessions(preset.name));
        }
        let address = options.health.clone().or_else(|| preset.health.as_ref().map(|health| health.url.clone()));
        let probe =
            address.map(|address| Ok::<_, RecoverError>((address.clone(), Probe::new(&address)?))).transpose()?;
        let mounts = Mounts::read();
        let folders = store.index.collections().await?.into_iter().filter_map(|one| one.settings);
        let all: Vec<PathBuf> = folders
            .flat_map(|settings| settings.roots)
            .map(|root| root.path.canonicalize().unwrap_or(root.path))
            .collect();
        let find = |stamp: &str| -> Result<Vec<Ground>, RecoverError> {
            settings.roots.iter().map(|root| ground(root, &all, &mounts, stamp)).collect()
        };
        let is_taken = |stamp: &str| {
            let kept = find(stamp).is_ok_and(|grounds| grounds.iter().any(|ground| ground.kept.exists()));
            kept || Report::places(store, &collection.name, stamp).iter().any(|place| place.exists())
        };
        report.stamp = stamp(report.started_at, is_taken);
        let grounds = find(&report.stamp)?;
        let paths = options.paths.iter().map(|path| place(path, &grounds)).collect::<Result<_, _>>()?;
        Ok(Self {
            store,
            collection,
            settings,
            preset,
            options,
            clock,
            monitor,
            cancel,
            report,
            probe,
            mounts,
            grounds,
            paths,
        })
    }

    async fn run(&mut self) -> Result<(), RecoverError> {
        // No backup reads what changes places.
        let _lock = if self.options.dry_run { None } else { Some(self.store.lock_backup()?) };
        let begun = Journal::load(self.store, &self.collection.id)?;
        if self.options.dry_run {
            let unfinished = begun.is_some_and(|journal| journal.phase == Phase::Swapping);
            let text = "a recovery was interrupted while it put things in place: the next one finishes it first";
            self.report.warnings.extend(unfinished.then(|| text.to_owned()));
            return self.show().await;
        }
        match begun {
            Some(journal) if journal.phase == Phase::Swapping => {
                let same = self.options.snapshot.is_none_or(|id| journal.snapshot == Some(id));
                self.finish(journal).await?;
                if same {
                    return self.after().await;
                }
            }
            Some(journal) => {
                swap::clear(&journal)?;
                journal.remove(self.store)?;
            }
            None => {}
        }
        self.report.ending = Ending::Unchanged;
        let choice = self.choose().await?;
        self.stop().await?;
        self.refuse_if_running().await?;
        let mut journal = Journal::new(self.collection.id, self.report.started_at);
        journal.stages = self.grounds.iter().map(|ground| ground.stage.clone()).collect();
        journal.damaged = self.grounds.iter().map(|ground| ground.kept.clone()).collect();
        self.refuse_others(&journal)?;
        journal.save(self.store)?;
        let swapped = match self.prepare(&mut journal, choice).await {
            Ok(()) => self.swap(&mut journal).await,
            Err(error) => Err(error),
        };
        if let Err(error) = swapped {
            if !matches!(error, RecoverError::Stuck { .. })
                && let Err(error) = swap::clear(&journal).and_then(|()| journal.remove(self.store))
            {
                // The next one tries again: the journal names it.
                tracing::warn!(%error, "what was made for a recovery could not be removed");
            }
            return Err(error);
        }
        self.after().await
    }

    /// Lists candidates and, unless nothing but empty files is needed, says in which order they are tried.
    async fn choose(&mut self) -> Result<Vec<Candidate>, RecoverError> {
        let at = self.begin();
        self.report.candidates = candidates(self.store, &self.collection.id).await?;
        if self.is_only_emptied() {
            return Ok(Vec::new());
        }
        let all = &self.report.candidates;
        let choice: Vec<Candidate> = match self.options.snapshot {
            Some(id) => all.iter().filter(|one| one.id == id).cloned().collect(),
            None => all.iter().filter(|one| one.passed_over.is_none()).cloned().collect(),
        };
        let tried = all.len();
        self.end(at, format!("looked at {tried} snapshots; {} can be taken", choice.len()));
        if let (Some(_), [only]) = (self.options.snapshot, choice.as_slice())
            && let Some(why) = &only.passed_over
            && !self.options.force
        {
            return Err(RecoverError::NotSound { sequence: only.sequence, why: why.clone() });
        }
        if choice.is_empty() {
            return Err(self.no_candidate());
        }
        Ok(choice)
    }

    pub(super) fn no_candidate(&self) -> RecoverError {
        let last = self.report.candidates.iter().find_map(|one| one.passed_over.clone());
        let last = last.unwrap_or_else(|| "there is none yet".to_owned());
        RecoverError::NoCandidate { name: self.collection.name.clone(), tried: self.report.candidates.len(), last }
    }

    /// Whether all that is wanted is a valid empty file: no snapshot is needed for that.
    pub(super) fn is_only_emptied(&self) -> bool {
        let is_session =
            |(_, path): &(usize, PathBuf)| self.preset.sessions.iter().any(|file| path == std::path::Path::new(file));
        self.options.drop_sessions
            && self.options.snapshot.is_none()
            && !self.paths.is_empty()
            && self.paths.iter().all(is_session)
    }

    /// What would be done.
    async fn show(&mut self) -> Result<(), RecoverError> {
        let choice = self.choose().await?;
        let signs = self.signs().await?;
        if !signs.is_empty() {
            let text = "the application seems to run, a recovery would refuse";
            self.report.warnings.push(format!("{text}: {}", signs.join("; ")));
        }
        self.report.chosen = choice.first().map(|one| self.chosen(one));
        for (at, ground) in self.grounds.iter().enumerate() {
            let finder = self.finder(ground, &PathBuf::from(NEW))?;
            let places = finder.find(&self.paths_of(at))?;
            self.report.replaced.extend(places.moves.into_iter().map(|one| one.live));
            self.report.damaged.push(ground.kept.clone());
        }
        Ok(())
    }

    pub(super) fn chosen(&self, one: &Candidate) -> Chosen {
        let why = match self.options.snapshot {
            Some(_) => "it was asked for".to_owned(),
            None => "the newest that is complete, sound and not flagged".to_owned(),
        };
        Chosen { snapshot: one.id, sequence: one.sequence, why }
    }

    async fn stop(&mut self) -> Result<(), RecoverError> {
        match self.options.stop.clone() {
            Some(command) => self.command("stops", command).await,
            None => Ok(()),
        }
    }

    pub(super) async fn command(&mut self, what: &'static str, command: String) -> Result<(), RecoverError> {
        let at = self.begin();
        let environment = vec![("BULBIL_COLLECTION", self.collection.name.clone().into())];
        let (line, cancel) = (command.clone(), self.cancel.clone());
        let done = blocking(move || command::run(&line, &environment, COMMAND_LIMIT, &cancel)).await;
        done.map_err(|cause| RecoverError::Command { what, command: command.clone(), cause })?;
        self.end(at, format!("ran the command that {what} the application: {command}"));
        Ok(())
    }

    async fn signs(&mut self) -> Result<Vec<String>, RecoverError> {
        let mut signs = Vec::new();
        if let Some((address, probe)) = &self.probe {
            match probe.ask().await {
                Answer::Nobody => {}
                Answer::Status(status) => signs.push(format!("{address} answers {status}")),
                Answer::Unclear => signs.push(format!("somebody listens at {address}")),
            }
        }
        let folders: Vec<PathBuf> = self.grounds.iter().map(|ground| ground.live.clone()).collect();
        let (home, preset, now) = (self.store.home.root().to_owned(), self.preset.clone(), self.clock.now());
        let seen = blocking(move || running::signs(&folders, &home, &preset, now)).await?;
        signs.extend(seen.signs);
        if seen.unknown > 0 {
            let text = format!(
                "into {} processes of other users nobody but root may look: whether they use the data is not known",
                seen.unknown
            );
            if !self.report.warnings.iter().any(|warning| warning.starts_with("into ")) {
                self.report.warnings.push(text);
            }
        }
        Ok(signs)
    }

    async fn refuse_if_running(&mut self) -> Result<(), RecoverError> {
        let at = self.begin();
        let signs = self.signs().await?;
        if signs.is_empty() {
            self.end(at, "nothing says that the application runs".to_owned());
            return Ok(());
        }
        if !self.options.force {
            return Err(RecoverError::Running(signs));
        }
        let text = format!("the application seems to run ({}); it was forced", signs.join("; "));
        if !self.report.warnings.contains(&text) {
            self.report.warnings.push(text);
        }
        self.end(at, "the application seems to run; it was forced".to_owned());
        Ok(())
    }

    /// Nothing of somebody else may have a name that is needed.
    fn refuse_others(&self, journal: &Journal) -> Result<(), RecoverError> {
        for path in journal.stages.iter().chain(&journal.damaged) {
            if Number::of(path)?.is_some() {
                return Err(RecoverError::InTheWay(path.clone()));
            }
        }
        Ok(())
    }

    pub(super) fn finder<'f>(
        &'f self,
        ground: &'f Ground,
        below: &std::path::Path,
    ) -> Result<Finder<'f>, RecoverError> {
        let excludes = Excludes::new(&patterns(&self.preset, &self.settings.excludes))?;
        let (staged, stamp) = (ground.stage.join(below), self.report.stamp.as_str());
        let (preset, mounts, below_stage) = (&self.preset, &self.mounts, below.to_owned());
        Ok(Finder { ground, staged, preset, excludes, mounts, below_stage, stamp })
    }

    pub(super) fn paths_of(&self, root: usize) -> Vec<PathBuf> {
        self.paths.iter().filter(|(of, _)| *of == root).map(|(_, path)| path.clone()).collect()
    }

    /// Puts what is staged in its place, or everything back.
    async fn swap(&mut self, journal: &mut Journal) -> Result<(), RecoverError> {
        if self.cancel.is_cancelled() {
            return Err(RecoverError::Cancelled);
        }
        // It took a while.
        self.refuse_if_running().await?;
        let at = self.begin();
        journal.phase = Phase::Swapping;
        journal.save(self.store)?;
        if let Err(cause) = swap::go(journal, &mut |_| Ok(())) {
            let cause = Box::new(cause);
            return Err(match swap::take_back(journal) {
                Ok(()) => RecoverError::TakenBack(cause),
                Err(then) => RecoverError::Stuck { cause, then: Box::new(then) },
            });
        }
        self.report.ending = Ending::Recovered;
        self.settle(journal)?;
        self.end(at, "put it in place; what was there before is kept".to_owned());
        Ok(())
    }

    /// Does the rest of what a killed recovery was about to do.
    async fn finish(&mut self, journal: Journal) -> Result<(), RecoverError> {
        self.stop().await?;
        self.refuse_if_running().await?;
        let at = self.begin();
        swap::go(&journal, &mut |_| Ok(()))?;
        self.report.ending = Ending::Finished;
        if let (Some(snapshot), Some(sequence)) = (journal.snapshot, journal.sequence) {
            let why = format!("a recovery that began {} had chosen it", journal.started_at);
            self.report.chosen = Some(Chosen { snapshot, sequence, why });
        }
        self.report.replaced = journal.moves.iter().map(|one| one.live.clone()).collect();
        self.report.carried = journal.carried.iter().map(|carry| carry.to.clone()).collect();
        self.settle(&journal)?;
        self.end(at, "brought a recovery to its end that had been interrupted".to_owned());
        Ok(())
    }

    /// Everything is in place: the stages go.
    fn settle(&mut self, journal: &Journal) -> Result<(), RecoverError> {
        swap::clear(journal)?;
        journal.remove(self.store)?;
        self.report.damaged = journal.damaged.iter().filter(|path| path.exists()).cloned().collect();
        Ok(())
    }

    pub(super) fn begin(&self) -> (Timestamp, Instant) {
        (self.clock.now(), Instant::now())
    }

    pub(super) fn end(&mut self, (at, since): (Timestamp, Instant), what: String) {
        self.report.steps.push(Step { at, seconds: since.elapsed().as_secs_f64(), what });
    }
}

/// Of which root a path is, and where in it.
fn place(path: &std::path::Path, grounds: &[Ground]) -> Result<(usize, PathBuf), RecoverError> {
    let refuse = || RecoverError::BadPath(path.to_owned());
    let mut names = Vec::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::Normal(name) => names.push(name),
            _ => return Err(refuse()),
        }
    }
    let first = names.first().ok_or_else(refuse)?;
    let named = grounds.iter().position(|ground| std::ffi::OsStr::new(&ground.name) == *first);
    let below = |names: &[&std::ffi::OsStr]| names.iter().collect::<PathBuf>();
    match named {
        Some(at) if names.len() > 1 => Ok((at, below(&names[1..]))),
        _ if grounds.len() == 1 => Ok((0, below(&names))),
        _ => Err(refuse()),
    }
}

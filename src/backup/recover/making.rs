//! Making what is to take its place, and finding out where that is.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::candidates::Candidate;
use super::ground::{Ground, inside};
use super::journal::{FolderMode, Journal, Move, Number, Staged};
use super::places::{Places, join};
use super::run::Work;
use super::stage::{self, NEW, Source, Tried};
use super::{RecoverError, sessions, swap};
use crate::backup::escrow;
use crate::backup::open::OpenSnapshot;
use crate::backup::restore::{RestoreError, refuse_homes};
use crate::domain::id::ManifestId;
use crate::monitor::with_causes;
use crate::store::blocking;

/// A snapshot that was made and can be taken; none where nothing but empty files is needed.
type Made = Option<(Arc<Source>, Tried)>;

impl Work<'_> {
    /// Makes the first candidate that holds, and finds out what changes places.
    pub(super) async fn prepare(&mut self, journal: &mut Journal, choice: Vec<Candidate>) -> Result<(), RecoverError> {
        for ground in &self.grounds {
            if !ground.is_beside {
                fs::create_dir_all(&ground.live).map_err(|cause| RecoverError::io("create", &ground.live, cause))?;
            }
            stage::begin(&ground.stage)?;
        }
        let made: Made = match self.is_only_emptied() {
            true => None,
            false => Some(self.make(journal, choice).await?),
        };
        let mut places = self.places(journal, made.as_ref().map(|(source, _)| source)).await?;
        if let Some((source, tried)) = made {
            // Each sentence stops what is not forced.
            let mut against = tried.of_secrets();
            against.extend(self.other_secrets(source).await?);
            self.report.staged = Some(tried);
            if !against.is_empty() && !self.options.force {
                return Err(RecoverError::Secrets(against));
            }
            self.report.warnings.extend(against);
        }
        places.number()?;
        for one in &places.moves {
            refuse_homes(&one.live, self.store.home.root())?;
        }
        stage::sync(&journal.stages)?;
        self.report.left_behind = places.left_behind;
        self.report.untouched = places.untouched;
        self.report.carried = places.carried.iter().map(|carry| carry.to.clone()).collect();
        self.report.replaced = places.moves.iter().map(|one| one.live.clone()).collect();
        (journal.moves, journal.carried, journal.folders) = (places.moves, places.carried, places.folders);
        Ok(())
    }

    /// Secrets beside the live data that are not those which belong to the snapshot, each in a sentence.
    async fn other_secrets(&self, source: Arc<Source>) -> Result<Vec<String>, RecoverError> {
        let (store, preset) = (self.store.clone(), self.preset.clone());
        let folders: Vec<PathBuf> = self.grounds.iter().map(|ground| ground.live.clone()).collect();
        blocking(move || {
            let differing = escrow::compare(&store, &source.open, &escrow::given_beside(&preset, &folders))?;
            Ok(differing.iter().map(|differs| differs.in_words(&source.open.private.name)).collect())
        })
        .await
    }

    /// Makes the candidates, one after another, until one is what it should be.
    async fn make(
        &mut self,
        journal: &mut Journal,
        choice: Vec<Candidate>,
    ) -> Result<(Arc<Source>, Tried), RecoverError> {
        for candidate in choice {
            let at = self.begin();
            let tried = self.attempt(candidate.id).await;
            let why = match &tried {
                Ok((_, tried)) => tried.why_not(),
                // It lies in the snapshot, and not in this machine: an older one may be better.
                Err(error @ (RecoverError::Open(_) | RecoverError::Tree(_))) => Some(with_causes(error)),
                Err(error @ RecoverError::Restore(RestoreError::Tree(_))) => Some(with_causes(error)),
                Err(_) => None,
            };
            let sequence = candidate.sequence;
            match (why, tried) {
                (None, tried) => {
                    let (source, tried) = tried?;
                    let (files, bytes) = (tried.restored.files, tried.restored.bytes);
                    self.end(at, format!("made snapshot {sequence} beside the live data: {files} files, {bytes} bytes, all compared, content checked"));
                    return Ok(self.take(journal, &candidate, source, tried));
                }
                (Some(why), Ok((source, tried))) if self.options.snapshot.is_some() && self.options.force => {
                    self.end(at, format!("made snapshot {sequence}, by force: {why}"));
                    self.report.warnings.push(format!("snapshot {sequence} was taken by force: {why}"));
                    return Ok(self.take(journal, &candidate, source, tried));
                }
                (Some(why), _) if self.options.snapshot.is_some() => {
                    return Err(RecoverError::NotSound { sequence, why });
                }
                (Some(why), _) => {
                    self.end(at, format!("passed over snapshot {sequence}: {why}"));
                    let known = self.report.candidates.iter_mut().find(|one| one.id == candidate.id);
                    known.expect("it was chosen from these").passed_over = Some(why);
                    swap::clear(journal)?;
                    self.grounds.iter().try_for_each(|ground| stage::begin(&ground.stage))?;
                }
            }
        }
        Err(self.no_candidate())
    }

    fn take(
        &mut self,
        journal: &mut Journal,
        candidate: &Candidate,
        source: Arc<Source>,
        tried: Tried,
    ) -> (Arc<Source>, Tried) {
        self.report.chosen = Some(self.chosen(candidate));
        (journal.snapshot, journal.sequence) = (Some(candidate.id), Some(candidate.sequence));
        (source, tried)
    }

    async fn attempt(&self, id: ManifestId) -> Result<(Arc<Source>, Tried), RecoverError> {
        let (store, grounds, paths) = (self.store.clone(), self.grounds.clone(), self.paths.clone());
        let (settings, preset, secrets) = (self.settings.clone(), self.preset.clone(), self.options.secrets.clone());
        let (monitor, cancel) = (self.monitor.clone(), self.cancel.clone());
        blocking(move || {
            let source = Source::new(&store, OpenSnapshot::open(&store, &id)?, paths)?;
            let of = (&settings, &preset, secrets());
            let tried = source.try_all(&store, &grounds, of, &*monitor, &cancel)?;
            Ok((Arc::new(source), tried))
        })
        .await
    }

    /// What changes places in all roots; what lies in other file systems is made there, too.
    async fn places(&mut self, journal: &mut Journal, source: Option<&Arc<Source>>) -> Result<Places, RecoverError> {
        let mut all = Places::default();
        for (at, ground) in self.grounds.clone().iter().enumerate() {
            let paths = self.paths_of(at);
            if paths.is_empty() && !self.paths.is_empty() {
                continue;
            }
            let Some(source) = source else {
                all.moves.extend(self.emptied(ground, &paths)?);
                continue;
            };
            if !source.has(&ground.name) {
                let text = format!("{} is not in the snapshot: it stays as it is", ground.live.display());
                self.report.untouched.push(text.clone());
                all.untouched.push(text);
                continue;
            }
            let below = source.below_stage(&ground.name);
            let was_missing = Number::of(&ground.live)?.is_none();
            let mut places = self.finder(ground, &below)?.find(&paths)?;
            for (mount, path) in places.elsewhere.clone() {
                let (stage, kept) = inside(&mount, &self.report.stamp);
                if !journal.stages.contains(&stage) {
                    journal.stages.push(stage.clone());
                    journal.damaged.push(kept);
                    journal.save(self.store)?;
                    stage::begin(&stage)?;
                }
                let (source, store, name) = (source.clone(), self.store.clone(), ground.name.clone());
                let (monitor, cancel) = (self.monitor.clone(), self.cancel.clone());
                let made = blocking(move || source.make(&store, (&name, &stage), &[path], &*monitor, &cancel)).await?;
                if let Some(why) = made.why_not() {
                    return Err(RecoverError::NotSound { sequence: journal.sequence.unwrap_or_default(), why });
                }
            }
            if was_missing && places.moves.iter().any(|one| one.live != ground.live) {
                places.folders.extend(mode_of(&ground.stage.join(&below), &ground.live)?);
            }
            let (finder, cancel) = (self.finder(ground, &below)?, self.cancel);
            finder.left_out(self.preset.skip_caches, cancel, &mut places)?;
            if self.options.drop_sessions {
                let mut stages = vec![ground.stage.clone()];
                stages.extend(places.elsewhere.iter().map(|(mount, _)| inside(mount, &self.report.stamp).0));
                for stage in stages {
                    let emptied = sessions::empty(&self.preset, &stage.join(&below))?;
                    self.report.emptied.extend(emptied.into_iter().map(|path| ground.live.join(path)));
                }
            }
            all.add(places);
        }
        Ok(all)
    }

    /// Empty files, and where they belong.
    fn emptied(&mut self, ground: &Ground, paths: &[PathBuf]) -> Result<Vec<Move>, RecoverError> {
        let mut moves = Vec::new();
        for path in paths {
            let (staged, live) = (ground.stage.join(NEW).join(path), ground.live.join(path));
            sessions::make_empty(&staged, &live)?;
            let Some(number) = Number::of(&staged)? else { continue };
            let kept = Number::of(&live)?.is_some().then(|| join(&ground.kept, path));
            self.report.emptied.push(live.clone());
            moves.push(Move { live, staged: Some(Staged { path: staged, number }), kept });
        }
        Ok(moves)
    }
}

/// The mode and the owner that a folder gets.
fn mode_of(model: &Path, folder: &Path) -> Result<Option<FolderMode>, RecoverError> {
    let found = fs::symlink_metadata(model).map_err(|cause| RecoverError::io("look at", model, cause))?;
    let (path, mode) = (folder.to_owned(), found.mode() & 0o7777);
    Ok(found.is_dir().then(|| FolderMode { path, mode, uid: found.uid(), gid: found.gid() }))
}

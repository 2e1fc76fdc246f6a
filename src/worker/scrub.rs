//! Reads what is stored again, compares it with its name, and brings back what was lost.
//!
//! What is due stands in the index, so that a restart goes on where it was ([`crate::domain::scrub`] says when, and how
//! fast). A file that is gone, not what it was, or cannot be read is a finding: it is put aside, marked as missing, and fetched
//! again from any trusted peer that has it, blind mirrors too. A disk that cannot be read does not stop the rest.
//! Manifests are few and small: all of them are looked at once a day, and after each start.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::id::{ChunkId, CollectionId, ManifestId};
use crate::domain::scrub::Policy;
use crate::monitor::{Counter, Monitor};
use crate::replicate::pull::{FetchReport, PullError, Puller};
use crate::store::index::{Due, Finding};
use crate::store::manifests::{Fault, Part};
use crate::store::{ChunkStore, ChunkStoreError, IndexError, entropy};

/// Objects that are read in one step.
const STEP: usize = 16;
/// All manifests are looked at again after this time.
const ROUND: SignedDuration = SignedDuration::from_hours(24);
/// Objects whose moment is drawn in one go.
const ENROL: usize = 2000;
/// The pause when nothing is due.
const IDLE: Duration = Duration::from_secs(60);
/// The pause after a first attempt to heal that did not bring everything, and the longest one.
const HEAL_PAUSES: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));
/// What could not be read for another reason than the disk is tried again after this.
const AGAIN: SignedDuration = SignedDuration::from_hours(24);

/// Scrubs and heals a repository. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Scrubber {
    puller: Puller,
    policy: Policy,
    round: Arc<Mutex<Round>>,
}

/// Which manifests are still to be looked at in this round.
#[derive(Debug, Default)]
struct Round {
    left: Vec<ManifestId>,
    next_at: Option<Timestamp>,
}

/// What one step, or a pass, came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Objects that were looked at.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Manifests that were looked at.
    pub manifests: u64,
    /// What was not what it was.
    pub findings: Vec<Finding>,
}

/// What is wrong with an object.
enum Trouble {
    /// It is gone.
    Missing,
    /// It is not what it was.
    Changed,
    /// The disk does not give it any more.
    Unreadable(String),
    /// The folder is not there, which says nothing of any object.
    Away,
    /// It could not be opened now, which says nothing of the object.
    Refused(String),
}

impl Scrubber {
    /// Scrubs the repository of `puller`, which fetches what was lost.
    pub fn new(puller: Puller, policy: Policy) -> Self {
        Self { puller, policy, round: Arc::default() }
    }

    /// Runs until cancelled; the step at hand is done first.
    pub async fn run(self, cancel: CancellationToken) {
        let (mut heal_at, mut heal_pause) = (Instant::now(), HEAL_PAUSES.0);
        while !cancel.is_cancelled() {
            let pause = match self.step().await {
                Ok((scrubbed, total)) if scrubbed.objects + scrubbed.manifests > 0 => {
                    if !scrubbed.findings.is_empty() {
                        (heal_at, heal_pause) = (Instant::now(), HEAL_PAUSES.0);
                    }
                    self.policy.pause(scrubbed.bytes, total)
                }
                Ok(_) => IDLE,
                Err(error) => {
                    tracing::error!(%error, "scrubbing stopped; it tries again");
                    IDLE
                }
            };
            if heal_at <= Instant::now() {
                heal_pause = if self.heal_and_tell(&cancel).await { HEAL_PAUSES.0 } else { heal_pause * 2 };
                heal_pause = heal_pause.min(HEAL_PAUSES.1);
                heal_at = Instant::now() + heal_pause;
            }
            let _ = cancel.run_until_cancelled(tokio::time::sleep(pause)).await;
        }
    }

    /// Brings back what is lost; answers whether nothing is lost any more.
    async fn heal_and_tell(&self, cancel: &CancellationToken) -> bool {
        match self.puller.heal(cancel).await {
            Ok(report) => {
                if report.chunks + report.manifests + report.manifests_lost > 0 || !report.bad.is_empty() {
                    tracing::info!(
                        chunks = report.chunks,
                        still_missing = report.still_missing,
                        manifests = report.manifests,
                        manifests_lost = report.manifests_lost,
                        wrong = report.bad.len(),
                        "brought back what was lost"
                    );
                }
                report.still_missing == 0 && report.manifests_lost == 0
            }
            Err(PullError::Cancelled) => true,
            Err(error) => {
                tracing::warn!(%error, "what was lost could not be brought back; it is tried again");
                false
            }
        }
    }

    /// Reads a few objects that are due; with the bytes of all that is here. May be done again at any point.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn step(&self) -> Result<(Scrubbed, u64), IndexError> {
        let index = &self.puller.store().index;
        let now = self.puller.caller().now();
        if let Err(away) = self.puller.store().check_folders() {
            tracing::error!(%away, "nothing is scrubbed");
            return Ok((Scrubbed::default(), 0));
        }
        self.enrol(now).await?;
        let due = index.due(now, STEP).await?;
        let total = if due.is_empty() { 0 } else { index.stored_bytes().await? };
        let mut scrubbed = self.look(due).await?;
        let manifests = self.next_manifests(now).await?;
        self.look_at_manifests(manifests, Every::New, &mut scrubbed).await?;
        Ok((scrubbed, total))
    }

    /// Reads everything now, of some collections, or of all if there are none.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn pass(
        &self,
        collections: &[CollectionId],
        monitor: &dyn Monitor,
        cancel: &CancellationToken,
    ) -> Result<Scrubbed, IndexError> {
        let objects = self.puller.store().index.objects(collections).await?;
        let bytes = objects.iter().map(|object| u64::from(object.size_bytes)).sum();
        monitor.task("reading chunks", Counter::ChunkBytes, Some(bytes));
        let mut all = Scrubbed::default();
        for some in objects.chunks(STEP) {
            if cancel.is_cancelled() || self.puller.store().check_folders().is_err() {
                break;
            }
            let done = self.look(some.to_vec()).await?;
            monitor.add(Counter::Chunks, done.objects);
            monitor.add(Counter::ChunkBytes, done.bytes);
            all.objects += done.objects;
            all.bytes += done.bytes;
            all.findings.extend(done.findings);
        }
        let snapshots = self.puller.store().index.snapshots(None).await?;
        let wanted = |collection| collections.is_empty() || collections.contains(collection);
        let wanted = snapshots.iter().filter(|snapshot| wanted(&snapshot.collection)).map(|snapshot| snapshot.id);
        for some in wanted.collect::<Vec<_>>().chunks(STEP) {
            if cancel.is_cancelled() {
                break;
            }
            self.look_at_manifests(some.to_vec(), Every::One, &mut all).await?;
        }
        Ok(all)
    }

    /// The manifests that are next in this round, or in a new one when it is time.
    async fn next_manifests(&self, now: Timestamp) -> Result<Vec<ManifestId>, IndexError> {
        let begins = {
            let round = self.round.lock().expect("no holder of this lock can panic");
            round.left.is_empty() && round.next_at.is_none_or(|at| at <= now)
        };
        let new = if begins { Some(self.puller.store().index.snapshots(None).await?) } else { None };
        let mut round = self.round.lock().expect("no holder of this lock can panic");
        if let Some(new) = new {
            round.left = new.iter().map(|snapshot| snapshot.id).collect();
            round.next_at = now.checked_add(ROUND).ok();
        }
        let rest = round.left.len().saturating_sub(STEP);
        Ok(round.left.split_off(rest))
    }

    /// Looks at the files of some manifests, and puts aside what is of no use any more.
    async fn look_at_manifests(
        &self,
        ids: Vec<ManifestId>,
        every: Every,
        scrubbed: &mut Scrubbed,
    ) -> Result<(), IndexError> {
        let store = self.puller.store();
        let now = self.puller.caller().now();
        scrubbed.manifests += ids.len() as u64;
        let (files, quarantine) = (store.manifests.clone(), store.home.quarantine());
        let look = move || -> Vec<_> { ids.into_iter().map(|id| (id, files.look(&id))).collect() };
        let looked = tokio::task::spawn_blocking(look).await.expect("reading manifests does not panic");
        if store.check_folders().is_err() {
            return Ok(());
        }
        for (id, looked) in looked {
            scrubbed.bytes += looked.bytes;
            // One that was removed in between is none that is lost.
            if looked.faults.is_empty() || store.index.snapshot(&id).await?.is_none() {
                continue;
            }
            let new = self.puller.note_damaged(&id);
            for (part, fault) in looked.faults {
                let mut what = in_words(part, &fault).to_owned();
                if let Fault::NotRead(why) = &fault {
                    what = format!("{what}: {why}");
                }
                if fault == Fault::Changed {
                    let (files, quarantine) = (store.manifests.clone(), quarantine.clone());
                    let aside = move || files.put_aside(&id, part, &quarantine);
                    let moved = tokio::task::spawn_blocking(aside).await.expect("moving a file does not panic");
                    what += match &moved {
                        Ok(()) => "; it is in quarantine now",
                        Err(_) => "; it could not be put into quarantine",
                    };
                }
                if new || every == Every::One {
                    tracing::warn!(manifest.id = %id, what, "a manifest is not what it was");
                    let finding = Finding { found_at: now, subject: format!("manifest {}", id.short()), what };
                    store.index.note_finding(&finding).await?;
                    scrubbed.findings.push(finding);
                }
            }
        }
        Ok(())
    }

    /// Brings back what is lost.
    ///
    /// # Errors
    /// [`PullError`].
    pub async fn heal(&self, cancel: &CancellationToken) -> Result<FetchReport, PullError> {
        self.puller.heal(cancel).await
    }

    /// Draws a moment for what has none.
    async fn enrol(&self, now: Timestamp) -> Result<(), IndexError> {
        let index = &self.puller.store().index;
        // The first pass of a large repository is drawn in one go, or the rest would count as new.
        let begun = index.not_enrolled(0).await?.1;
        loop {
            let (new, _) = index.not_enrolled(ENROL).await?;
            if new.is_empty() {
                return Ok(());
            }
            // What comes later was compared with its name when it was stored.
            let moment = |id| (id, if begun { self.policy.next(now, draw()) } else { self.policy.first(now, draw()) });
            let due: Vec<(ChunkId, Timestamp)> = new.into_iter().map(moment).collect();
            index.enrol(&due, None).await?;
        }
    }

    async fn look(&self, objects: Vec<Due>) -> Result<Scrubbed, IndexError> {
        if objects.is_empty() {
            return Ok(Scrubbed::default());
        }
        let store = self.puller.store();
        let now = self.puller.caller().now();
        let mut scrubbed = Scrubbed {
            objects: objects.len() as u64,
            bytes: objects.iter().map(|object| u64::from(object.size_bytes)).sum(),
            ..Scrubbed::default()
        };
        let chunks = Arc::clone(&store.chunks);
        let read = move || -> Vec<(ChunkId, Option<Trouble>)> {
            objects.iter().map(|object| (object.id, look_at(&*chunks, object))).collect()
        };
        let looked = tokio::task::spawn_blocking(read).await.expect("reading chunks does not panic");
        if looked.iter().any(|(_, trouble)| matches!(trouble, Some(Trouble::Away))) {
            // Its disk went while it was read: as if nothing had been looked at.
            return Ok(Scrubbed::default());
        }
        let (mut right, mut lost) = (Vec::new(), Vec::new());
        let mut again = Vec::new();
        for (id, trouble) in looked {
            let Some(trouble) = trouble else {
                right.push((id, self.policy.next(now, draw())));
                continue;
            };
            match trouble {
                Trouble::Refused(_) => again.push((id, now.saturating_add(AGAIN).unwrap_or(now))),
                _ => lost.push(id),
            }
            let what = match trouble {
                Trouble::Missing | Trouble::Away => "it is missing".to_owned(),
                Trouble::Changed => "its bytes are not what they were; it is in quarantine now".to_owned(),
                Trouble::Unreadable(why) => format!("the disk does not give it any more: {why}"),
                Trouble::Refused(why) => format!("it could not be read: {why}"),
            };
            tracing::warn!(chunk.id = %id, what, "a stored chunk is not what it was");
            scrubbed.findings.push(Finding { found_at: now, subject: format!("chunk {}", id.short()), what });
        }
        if !lost.is_empty() {
            store.index.mark_missing(&lost).await?;
        }
        for finding in &scrubbed.findings {
            store.index.note_finding(finding).await?;
        }
        store.index.enrol(&right, Some(now)).await?;
        store.index.enrol(&again, None).await?;
        Ok(scrubbed)
    }
}

/// Which findings are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Every {
    /// Each one.
    One,
    /// Those that were not told before.
    New,
}

fn in_words(part: Part, fault: &Fault) -> &'static str {
    match (part, fault) {
        (Part::Document, Fault::Missing) => "it is missing",
        (Part::Document, Fault::NotRead(_)) => "it could not be read",
        (Part::Document, _) => "its bytes are not what they were",
        (Part::Sidecar, Fault::Missing) => "its sidecar (signature and keys) is missing",
        (Part::Sidecar, Fault::NotRead(_)) => "its sidecar (signature and keys) could not be read",
        (Part::Sidecar, Fault::Changed) => "its sidecar (signature and keys) is not what it was",
        (Part::Sidecar, Fault::PartlyChanged) => "a part of its sidecar (signature and keys) is not what it was",
    }
}

/// Reads one object and puts it aside if it is not what it was.
fn look_at(chunks: &dyn ChunkStore, object: &Due) -> Option<Trouble> {
    let changed = match chunks.read(&object.id) {
        Ok(bytes) if ChunkId::of(&bytes) == object.id => return None,
        Ok(_) | Err(ChunkStoreError::TooLong { .. }) => Trouble::Changed,
        Err(ChunkStoreError::Missing { .. }) => return Some(Trouble::Missing),
        Err(error) if error.is_of_the_disk() => return Some(Trouble::Unreadable(with_cause(&error))),
        Err(ChunkStoreError::Away(_)) => return Some(Trouble::Away),
        Err(error) => return Some(Trouble::Refused(with_cause(&error))),
    };
    match chunks.quarantine(&object.id) {
        Ok(()) => Some(changed),
        Err(error) => Some(Trouble::Refused(with_cause(&error))),
    }
}

fn with_cause(error: &ChunkStoreError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn draw() -> u32 {
    rand_core::Rng::next_u32(&mut entropy())
}

//! Does what is scheduled when it is due.
//!
//! Each step reads the index: which slot is the newest that something was begun for, and how that ended. So a restart, and a clock
//! that jumps, take the same path, and what was missed meanwhile is made up for by one run. What fails, or is interrupted, is tried
//! again a few times, later each time. Backups wait for each other; verifications go on beside them.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::copies;
use super::live::LiveRuns;
use super::runs::{Recorder, RunError, close_dead, is_alive};
use crate::backup::create::Extras;
use crate::backup::prune::{self, PruneError};
use crate::backup::verify::VerifyOptions;
use crate::clock::Clock;
use crate::domain::schedule::{Scheduled, Work};
use crate::monitor::{Monitor, with_causes};
use crate::store::index::{Cause, Collection, SlotState};
use crate::store::{IndexError, Store};

/// How often the index is looked at.
const STEP: Duration = Duration::from_secs(5);
/// How often something is tried for one slot.
const ATTEMPTS: u32 = 4;
/// The pause after a first failure; it doubles.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_mins(15);

/// What one task of the server does: backups wait for each other, and for nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Snapshots are made.
    Backups,
    /// What is stored is looked at, and what is not to be kept is removed.
    Care,
    /// What is new goes to targets: a slow line keeps nothing else from being done.
    Copies,
}

impl Lane {
    fn has(self, work: Work) -> bool {
        match work {
            Work::Backup => self == Self::Backups,
            Work::Verify | Work::VerifyData | Work::Check | Work::Prune | Work::Drill => self == Self::Care,
            Work::Copy => self == Self::Copies,
        }
    }
}

/// Does what is due.
#[derive(Clone)]
pub struct Scheduler {
    store: Store,
    clock: Arc<dyn Clock>,
    monitor: Arc<dyn Monitor>,
    live: LiveRuns,
}

impl std::fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scheduler").field("store", &self.store).finish_non_exhaustive()
    }
}

/// The time zone of this name; that of the system if none is said.
///
/// # Errors
/// [`PruneError::NoZone`].
pub fn zone(name: Option<&str>) -> Result<TimeZone, PruneError> {
    match name {
        None => Ok(TimeZone::try_system().unwrap_or(TimeZone::UTC)),
        Some(name) => prune::zone(name),
    }
}

/// When something is done next for a collection; nothing if it never is, or its time zone is not known.
///
/// # Errors
/// [`IndexError`].
pub async fn next(
    store: &Store,
    collection: &Collection,
    scheduled: &Scheduled,
    now: Timestamp,
) -> Result<Option<Timestamp>, IndexError> {
    let Ok(zone) = zone(scheduled.zone.as_deref()) else { return Ok(None) };
    let state = store.index.newest_slot(&collection.id, scheduled.work, now).await?;
    let seed = collection.id.as_bytes();
    if scheduled.due(state.map(|state| state.slot), now, seed, &zone).is_some() {
        return Ok(Some(now));
    }
    if let Some(again) = state.as_ref().and_then(again_at) {
        return Ok(Some(again));
    }
    let after = scheduled.after(state.map(|state| state.slot), now);
    Ok(scheduled.next(after, seed, &zone))
}

/// When an attempt that came to nothing is made again.
fn again_at(state: &SlotState) -> Option<Timestamp> {
    let failed = !state.settled && state.attempts < ATTEMPTS;
    let pause = FIRST_PAUSE * (1 << state.attempts.clamp(1, ATTEMPTS).saturating_sub(1));
    state.ended_at.filter(|_| failed)?.checked_add(pause).ok()
}

impl Scheduler {
    /// Works in this repository.
    pub fn new(store: Store, clock: Arc<dyn Clock>, monitor: Arc<dyn Monitor>) -> Self {
        Self { store, clock, monitor, live: LiveRuns::default() }
    }

    /// What goes on can be looked at there.
    #[must_use]
    pub fn shown(self, live: &LiveRuns) -> Self {
        Self { live: live.clone(), ..self }
    }

    /// Closes the records of what an earlier server was doing when it ended. Before anything is begun.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn tidy(&self) -> Result<(), IndexError> {
        // In a container every server has the same number.
        close_dead(&self.store, self.clock.now(), |pid| pid != std::process::id() && is_alive(pid)).await
    }

    /// Runs until cancelled; what is under way is stopped in order.
    pub async fn run(self, lane: Lane, cancel: CancellationToken) {
        while !cancel.is_cancelled() {
            match AssertUnwindSafe(self.step(lane, &cancel)).catch_unwind().await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    tracing::error!(%error, "what is scheduled cannot be looked at; it is tried again");
                }
                // That run is on record as failed. Without what comes after it there would be no backups from now on.
                Err(_) => tracing::error!("what was scheduled ended in a fault of Bulbil; the rest goes on"),
            }
            let _ = cancel.run_until_cancelled(tokio::time::sleep(STEP)).await;
        }
    }

    /// Does what is due now, one after the other. How much was begun.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn step(&self, lane: Lane, cancel: &CancellationToken) -> Result<u64, IndexError> {
        let mut begun = 0;
        for collection in self.store.index.collections().await? {
            // Whose leader is another one now gets its snapshots there.
            let led_here = self.store.keys.is_ours(&collection.origin);
            let is_mine = |one: &&Scheduled| lane.has(one.work) && (one.work != Work::Backup || led_here);
            for scheduled in collection.upkeep.scheduled.iter().filter(is_mine) {
                if cancel.is_cancelled() {
                    return Ok(begun);
                }
                let Some(cause) = self.due(&collection, scheduled).await? else { continue };
                begun += u64::from(self.work(&collection, scheduled.work, cause, cancel).await);
            }
        }
        Ok(begun)
    }

    async fn due(&self, collection: &Collection, scheduled: &Scheduled) -> Result<Option<Cause>, IndexError> {
        let zone = match zone(scheduled.zone.as_deref()) {
            Ok(zone) => zone,
            Err(error) => {
                tracing::error!(collection = collection.name, %error, "a schedule cannot be kept as it is; UTC is used");
                TimeZone::UTC
            }
        };
        let now = self.clock.now();
        let state = self.store.index.newest_slot(&collection.id, scheduled.work, now).await?;
        if let Some(due) = scheduled.due(state.map(|state| state.slot), now, collection.id.as_bytes(), &zone) {
            let missed = u32::try_from(due.missed).unwrap_or(u32::MAX);
            return Ok(Some(Cause::Schedule { slot: due.slot, missed }));
        }
        let again = state.filter(|state| again_at(state).is_some_and(|at| at <= now));
        Ok(again.map(|state| Cause::Schedule { slot: state.slot, missed: 0 }))
    }

    /// Does it; false if another backup has to end first.
    async fn work(&self, collection: &Collection, work: Work, cause: Cause, cancel: &CancellationToken) -> bool {
        // Somebody may stop this run alone.
        let cancel = &cancel.child_token();
        let recorder = Recorder::new(&self.store, cause, Arc::clone(&self.clock), cancel).shown(&self.live);
        let (monitor, of) = (Arc::clone(&self.monitor), std::slice::from_ref(collection));
        let came: Result<(), RunError> = match work {
            Work::Backup => recorder.back_up(collection, Extras::default(), monitor).await.map(|created| {
                for missing in created.iter().flat_map(|created| &created.secrets.missing) {
                    tracing::warn!(collection = collection.name, "{}", missing.in_words());
                }
            }),
            Work::Verify => recorder.verify(of, VerifyOptions::of(collection.id), monitor).await.map(drop),
            Work::VerifyData => {
                let options = VerifyOptions { data: true, ..VerifyOptions::of(collection.id) };
                recorder.verify(of, options, monitor).await.map(drop)
            }
            Work::Check => recorder.check_folders(collection, monitor).await.map(drop),
            Work::Drill => recorder.drill_newest(collection, monitor).await.map(drop),
            Work::Copy => {
                let made = recorder.copy(&[], of, copies::sample(copies::SAMPLE), monitor).await;
                made.and_then(|made| Ok(copies::any_came(&made)?))
            }
            Work::Prune => recorder.prune(collection, monitor).await.map(drop),
        };
        match came {
            Ok(()) => tracing::info!(collection = collection.name, %work, "what was scheduled is done"),
            Err(error) if error.is_busy() => {
                tracing::debug!(collection = collection.name, %work, "it waits for another backup to end");
                return false;
            }
            Err(error) => {
                let error = with_causes(&error);
                tracing::error!(collection = collection.name, %work, error, "what was scheduled failed");
            }
        }
        true
    }
}

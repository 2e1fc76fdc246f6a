//! How a collection is, as a resource: what it holds, how old that is, whether it was proved, and who has copies.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::schedule::{ScheduleView, schedules};
use super::snapshot::{SnapshotView, snapshots};
use crate::domain::id::CollectionId;
use crate::domain::schedule::{Work, grace};
use crate::domain::text::path_text;
use crate::domain::words::count;
use crate::http::admin::status::CopyStatus;
use crate::replicate::prove;
use crate::store::index::{Collection, Retention, RunResult};
use crate::store::{IndexError, Store};

/// So many drills are looked at to find one that came to an end.
const DRILLS_LOOKED_AT: u32 = 50;

/// How a collection is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CollectionView {
    /// Which one.
    pub id: String,
    /// What it is called here.
    pub name: String,
    /// Its snapshots are made here.
    pub led_here: bool,
    /// What the peer is called that makes its snapshots, or the beginning of its id.
    pub leader: Option<String>,
    /// What is backed up.
    pub folders: Vec<String>,
    /// The application whose data it is: the name of its preset.
    pub preset: Option<String>,
    /// Snapshots that are known.
    pub snapshots: u64,
    /// The newest whole one.
    pub newest: Option<SnapshotView>,
    /// Bytes of chunks that are not here yet.
    pub missing_bytes: u64,
    /// How much of it may be lost, and how that stands.
    pub recovery_point: RecoveryPoint,
    /// The last restore that was tried.
    pub last_drill: Option<DrillView>,
    /// When a restore that was tried came out right last.
    #[schema(value_type = Option<String>)]
    pub last_proved_restore_at: Option<Timestamp>,
    /// The last proof of each trusted peer that gave one; of a collection that is led from here.
    pub copies: Vec<CopyStatus>,
    /// Copies at targets.
    pub targets: Vec<TargetCopyView>,
    /// What is done by itself.
    pub schedules: Vec<ScheduleView>,
    /// What is kept, in words.
    pub retention: String,
}

/// How much may be lost, and how that stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RecoveryPoint {
    /// The newest verified snapshot is to be no older than so many hours.
    pub allowed_hours: Option<u32>,
    /// When the newest verified snapshot was made.
    #[schema(value_type = Option<String>)]
    pub verified_at: Option<Timestamp>,
    /// How that stands.
    pub state: RecoveryPointState,
}

/// How it stands with how much may be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RecoveryPointState {
    /// The newest verified snapshot is young enough.
    Kept,
    /// It is as old as it may be: the next one should be under way.
    Due,
    /// It is too old, or there is none.
    Late,
    /// Nobody said how much may be lost.
    NotSet,
}

/// A restore that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DrillView {
    /// Its run.
    pub run: String,
    /// When it ended.
    #[schema(value_type = String)]
    pub ended_at: Timestamp,
    /// How: `done`, `partly` (something came back wrong) or `failed` (it could not be tried).
    #[schema(value_type = String)]
    pub result: RunResult,
    /// What is wrong.
    pub message: Option<String>,
}

/// A copy at a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TargetCopyView {
    /// What the target is called.
    pub target: String,
    /// When something was copied last.
    #[schema(value_type = Option<String>)]
    pub copied_at: Option<Timestamp>,
    /// When the copy was last found right.
    #[schema(value_type = Option<String>)]
    pub verified_at: Option<Timestamp>,
    /// What is wrong.
    pub error: Option<String>,
}

impl CollectionView {
    /// Gathers it; with it all its snapshots, the newest first.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn gather(
        store: &Store,
        collection: &Collection,
        now: Timestamp,
    ) -> Result<(Self, Vec<SnapshotView>), IndexError> {
        let known = snapshots(store, &collection.id).await?;
        let led_here = store.keys.is_ours(&collection.origin);
        let (_, missing_bytes) = store.index.count_missing(Some(&collection.id)).await?;
        let copies = if led_here { prove::copies(store, &collection.id).await? } else { Vec::new() };
        let (last_drill, last_proved_restore_at) = drills(store, &collection.id).await?;
        let settings = collection.settings.as_ref();
        let view = Self {
            id: collection.id.to_string(),
            name: collection.name.clone(),
            led_here,
            leader: if led_here { None } else { Some(leader(store, collection).await?) },
            folders: settings.iter().flat_map(|settings| &settings.roots).map(|root| path_text(&root.path)).collect(),
            preset: settings.and_then(|settings| settings.application.as_ref()).map(|known| known.preset.clone()),
            snapshots: known.len() as u64,
            newest: known.iter().find(|one| one.complete && !one.partial && !one.beside).cloned(),
            missing_bytes,
            recovery_point: recovery_point(store, collection, now).await?,
            last_drill,
            last_proved_restore_at,
            copies: copies.into_iter().map(|copy| CopyStatus::of(copy, now)).collect(),
            targets: targets(store, &collection.id).await?,
            schedules: schedules(store, collection, now).await?,
            retention: kept(&collection.kept(&store.keys.instance())),
        };
        Ok((view, known))
    }

    /// Copies elsewhere that count: proved lately by peers, or found right at targets.
    pub fn good_copies(&self) -> u64 {
        let peers = self.copies.iter().filter(|copy| copy.proved).count();
        let targets = self.targets.iter().filter(|copy| copy.verified_at.is_some() && copy.error.is_none()).count();
        (peers + targets) as u64
    }
}

/// What is kept, as a sentence.
fn kept(retention: &Retention) -> String {
    let Some(policy) = &retention.policy else { return "Every snapshot is kept".to_owned() };
    let newest = match policy.keep_last {
        0 | 1 => "The newest snapshot".to_owned(),
        n => format!("The newest {n} snapshots"),
    };
    let rules = [
        (policy.hourly, "an hour", "hour"),
        (policy.daily, "a day", "day"),
        (policy.weekly, "a week", "week"),
        (policy.monthly, "a month", "month"),
        (policy.yearly, "a year", "year"),
    ];
    let rules = rules.into_iter().filter(|(n, ..)| *n > 0);
    let mut words: Vec<String> =
        rules.map(|(n, each, noun)| format!("one {each} for {}", count(n.into(), noun))).collect();
    if policy.within_hours > 0 {
        words.push(format!("all of the last {}", count(policy.within_hours.into(), "hour")));
    }
    words.extend(policy.tags.iter().map(|tag| format!("all tagged {tag}")));
    match words.is_empty() {
        true => newest,
        false => format!("{newest}; {}", words.join(", ")),
    }
}

async fn leader(store: &Store, collection: &Collection) -> Result<String, IndexError> {
    let peers = store.index.peers().await?;
    let named = peers.into_iter().find(|peer| peer.id == collection.origin).map(|peer| peer.name);
    Ok(named.unwrap_or_else(|| collection.origin.short()))
}

async fn recovery_point(store: &Store, collection: &Collection, now: Timestamp) -> Result<RecoveryPoint, IndexError> {
    let verified_at = store.index.last_good(&collection.id, now).await?.map(|(_, at)| at);
    let allowed_hours = collection.upkeep.rpo_hours;
    let state = match (allowed_hours, verified_at) {
        (None, _) => RecoveryPointState::NotSet,
        (Some(_), None) => RecoveryPointState::Late,
        (Some(hours), Some(at)) => {
            let (age, allowed) = (now.duration_since(at), SignedDuration::from_hours(hours.into()));
            match age {
                age if age <= allowed => RecoveryPointState::Kept,
                age if age <= allowed.saturating_add(grace(hours)) => RecoveryPointState::Due,
                _ => RecoveryPointState::Late,
            }
        }
    };
    Ok(RecoveryPoint { allowed_hours, verified_at, state })
}

/// The last drill that came to an end, and when one was all right last.
async fn drills(
    store: &Store,
    collection: &CollectionId,
) -> Result<(Option<DrillView>, Option<Timestamp>), IndexError> {
    let runs = store.index.runs(Some(collection), Some(Work::Drill.into()), DRILLS_LOOKED_AT).await?;
    let mut drills = runs.into_iter().filter_map(|run| {
        let ended = run.ended.filter(|ended| ended.result != RunResult::Interrupted)?;
        Some(DrillView { run: run.no.to_string(), ended_at: ended.at, result: ended.result, message: ended.message })
    });
    let last = drills.next();
    let right = last.iter().cloned().chain(drills).find(|drill| drill.result == RunResult::Done);
    Ok((last, right.map(|drill| drill.ended_at)))
}

async fn targets(store: &Store, collection: &CollectionId) -> Result<Vec<TargetCopyView>, IndexError> {
    let copies = store.index.target_copies().await?.into_iter().filter(|copy| copy.collection == *collection);
    let view = |copy: crate::store::index::TargetCopy| TargetCopyView {
        target: copy.target,
        copied_at: copy.copied.map(|(at, _)| at),
        verified_at: copy.verified.map(|(at, _)| at),
        error: copy.failed.map(|(_, why)| why),
    };
    Ok(copies.map(view).collect())
}

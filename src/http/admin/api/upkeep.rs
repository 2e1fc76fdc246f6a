//! `/admin/v1/collections/{name}/schedule` and `/retention`: what is done by itself, and what is kept.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::HeaderMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::Body;
use super::etag::{tagged, tagged_by, unchanged};
use super::input::{At, Params};
use super::refusals::{BadBody, Missing, Refused, Stale};
use crate::backup::prune::{self, PruneError};
use crate::backup::select;
use crate::domain::retention::{Policy, Tag};
use crate::domain::schedule::{Pattern, Scheduled, Upkeep, Work};
use crate::domain::wire::messages::ProblemDocument;
use crate::http::admin::AdminPlane;
use crate::http::admin::access::{Admin, Caller, May, MayNow, Read};
use crate::http::admin::view::schedule::{ScheduleView, schedules};
use crate::http::problem::Problem;
use crate::store::index::{Collection, Retention};
use crate::worker::schedule::zone;

/// Longest delay of what is scheduled, in seconds: a day.
const MAX_JITTER: u32 = 86_400;

/// What is done by itself for a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpkeepView {
    /// What is done when.
    pub schedules: Vec<ScheduleView>,
    /// The newest verified snapshot is to be no older than so many hours.
    pub rpo_hours: Option<u32>,
    /// Why the schedule cannot keep that.
    pub contradiction: Option<String>,
}

/// What is to be done by itself for a collection: all of it.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetUpkeep {
    /// What is done when; each kind at most once.
    pub schedules: Vec<SetSchedule>,
    /// The newest verified snapshot is to be no older than so many hours.
    #[schema(minimum = 1)]
    pub rpo_hours: Option<u32>,
}

/// Something that is to be done by itself.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetSchedule {
    /// backup, verify, verify-data, check, prune, drill or copy.
    pub kind: String,
    /// Five fields as for cron, or `@daily` and the like.
    pub cron: String,
    /// In which time zone (IANA); in that of the machine, if none is named.
    pub time_zone: Option<String>,
    /// It begins up to so many seconds after its time.
    #[serde(default)]
    #[schema(maximum = 86400)]
    pub jitter_seconds: u32,
}

/// What is kept of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RetentionView {
    /// What is kept; everything, if there is none.
    pub policy: Option<PolicyView>,
    /// Where days begin (IANA).
    pub time_zone: String,
    /// Whether nobody said so: it is what is usual.
    pub is_default: bool,
    /// The same in words.
    pub in_words: String,
}

/// How many snapshots are kept; the newest and the last good one always are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyView {
    /// The newest so many.
    pub last: u32,
    /// One of each of the latest so many hours that have one.
    pub hourly: u32,
    /// The same for days.
    pub daily: u32,
    /// The same for ISO weeks.
    pub weekly: u32,
    /// The same for months.
    pub monthly: u32,
    /// The same for years.
    pub yearly: u32,
    /// All of so many hours before the newest.
    pub within_hours: u32,
    /// All that have one of these tags, with commas between.
    pub tags: String,
}

/// What is to be kept of a collection.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetRetention {
    /// How many; `null` keeps everything, and has to be said.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required = true)]
    pub policy: Option<PolicyView>,
    /// Where days begin (IANA); UTC, if nothing is said.
    pub time_zone: Option<String>,
}

/// What a prune would do.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PreviewView {
    /// The snapshots, oldest first.
    pub snapshots: Vec<PlannedView>,
    /// How many go.
    pub removed: u64,
    /// Bytes that nobody else leans on: freed after the grace period.
    pub freed_bytes: u64,
}

/// What becomes of a snapshot.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PlannedView {
    /// Which one.
    pub id: String,
    /// Its number.
    pub sequence: u64,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Whether it goes.
    pub goes: bool,
    /// Why it stays.
    pub reasons: Vec<String>,
}

/// What is done by itself for a collection
#[utoipa::path(
    get,
    path = "/admin/v1/collections/{name}/schedule",
    params(("name" = String, Path, description = "The collection")),
    responses((status = 200, description = "It, with an `ETag`", body = UpkeepView), Refused, Missing),
    security(("token" = ["read"]))
)]
pub(super) async fn get_schedule(
    _: May<Read>,
    State(plane): State<AdminPlane>,
    At(name): At<String>,
) -> Result<Response, Problem> {
    let collection = select::collection(plane.store(), &name).await?;
    let view = plane.upkeep(&collection).await?;
    Ok(tagged_by(&view, &settled(&view)))
}

/// Says what is done by itself for a collection
#[utoipa::path(
    put,
    path = "/admin/v1/collections/{name}/schedule",
    params(
        ("name" = String, Path, description = "The collection"),
        ("if-match" = Option<String>, Header, description = "The `ETag` of what is to be changed")
    ),
    request_body = SetUpkeep,
    responses((status = 200, description = "It now, with an `ETag`", body = UpkeepView), Refused, Missing, BadBody, Stale),
    security(("token" = ["admin"]))
)]
pub(super) async fn put_schedule(
    May { caller, .. }: May<Admin>,
    State(plane): State<AdminPlane>,
    At(name): At<String>,
    headers: HeaderMap,
    Body(set): Body<SetUpkeep>,
) -> Result<Response, Problem> {
    let _one_at_a_time = plane.changing.lock().await;
    let collection = select::collection(plane.store(), &name).await?;
    unchanged(&headers, &settled(&plane.upkeep(&collection).await?))?;
    let view = plane.set_upkeep(&name, set, &caller).await?;
    Ok(tagged_by(&view, &settled(&view)))
}

/// What is kept of a collection
#[utoipa::path(
    get,
    path = "/admin/v1/collections/{name}/retention",
    params(("name" = String, Path, description = "The collection")),
    responses((status = 200, description = "It, with an `ETag`", body = RetentionView), Refused, Missing),
    security(("token" = ["read"]))
)]
pub(super) async fn get_retention(
    _: May<Read>,
    State(plane): State<AdminPlane>,
    At(name): At<String>,
) -> Result<Response, Problem> {
    Ok(tagged(&plane.retention(&select::collection(plane.store(), &name).await?)))
}

/// Says what is kept of a collection; nothing is removed before the next prune
#[utoipa::path(
    put,
    path = "/admin/v1/collections/{name}/retention",
    params(
        ("name" = String, Path, description = "The collection"),
        ("if-match" = Option<String>, Header, description = "The `ETag` of what is to be changed")
    ),
    request_body = SetRetention,
    responses((status = 200, description = "It now, with an `ETag`", body = RetentionView), Refused, Missing, BadBody, Stale),
    security(("token" = ["admin"]))
)]
pub(super) async fn put_retention(
    MayNow { caller, .. }: MayNow<Admin>,
    State(plane): State<AdminPlane>,
    At(name): At<String>,
    headers: HeaderMap,
    Body(set): Body<SetRetention>,
) -> Result<Response, Problem> {
    let _one_at_a_time = plane.changing.lock().await;
    let collection = select::collection(plane.store(), &name).await?;
    unchanged(&headers, &plane.retention(&collection))?;
    Ok(tagged(&plane.set_retention(&name, set, &caller).await?))
}

/// What a prune would remove: by what is kept now, or by another policy
#[utoipa::path(
    get,
    path = "/admin/v1/collections/{name}/retention/preview",
    params(("name" = String, Path, description = "The collection"), PolicyView),
    responses(
        (status = 200, description = "What becomes of each snapshot", body = PreviewView),
        (status = 422, description = "Nothing would be kept, or a tag is none", body = ProblemDocument),
        Refused, Missing
    ),
    security(("token" = ["read"]))
)]
pub(super) async fn get_preview(
    _: May<Read>,
    State(plane): State<AdminPlane>,
    At(name): At<String>,
    Params(policy): Params<PolicyView>,
    RawQuery(asked): RawQuery,
) -> Result<Json<PreviewView>, Problem> {
    // Who asks for nothing at all is told that nothing would be kept.
    let otherwise = asked.filter(|asked| !asked.is_empty()).map(|_| policy);
    Ok(Json(plane.retention_preview(&name, otherwise).await?))
}

/// What an `If-Match` is compared with: when something is due next changes by itself.
fn settled(view: &UpkeepView) -> UpkeepView {
    let schedules = view.schedules.iter().map(|one| ScheduleView { next_at: None, ..one.clone() });
    UpkeepView { schedules: schedules.collect(), contradiction: None, ..view.clone() }
}

impl PolicyView {
    fn of(policy: &Policy) -> Self {
        Self {
            last: policy.keep_last,
            hourly: policy.hourly,
            daily: policy.daily,
            weekly: policy.weekly,
            monthly: policy.monthly,
            yearly: policy.yearly,
            within_hours: policy.within_hours,
            tags: policy.tags.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        }
    }

    pub(super) fn policy(&self) -> Result<Policy, Problem> {
        let words = self.tags.split(',').map(str::trim).filter(|word| !word.is_empty());
        let tag = |word: &str| word.parse::<Tag>().map_err(|error| Problem::invalid(error.to_string()));
        let policy = Policy {
            keep_last: self.last,
            hourly: self.hourly,
            daily: self.daily,
            weekly: self.weekly,
            monthly: self.monthly,
            yearly: self.yearly,
            within_hours: self.within_hours,
            tags: words.map(tag).collect::<Result<BTreeSet<_>, _>>()?,
        };
        if policy.is_empty() {
            let why = "this policy would keep nothing but the newest snapshot: name at least one number that is not 0";
            return Err(Problem::invalid(why));
        }
        Ok(policy)
    }
}

impl From<PruneError> for Problem {
    fn from(error: PruneError) -> Self {
        match error {
            PruneError::NoZone(_) => Self::invalid(error.to_string()),
            PruneError::Store(error) => Self::from(error),
            error => Self::internal(&error),
        }
    }
}

impl AdminPlane {
    /// What is done by itself for a collection.
    pub(crate) async fn upkeep(&self, collection: &Collection) -> Result<UpkeepView, Problem> {
        Ok(UpkeepView {
            schedules: schedules(self.store(), collection, self.now()).await?,
            rpo_hours: collection.upkeep.rpo_hours,
            contradiction: collection.upkeep.contradiction(self.now()),
        })
    }

    /// Says what is done by itself for a collection.
    pub(crate) async fn set_upkeep(&self, name: &str, set: SetUpkeep, by: &Caller) -> Result<UpkeepView, Problem> {
        let collection = select::collection(self.store(), name).await?;
        let now = self.now();
        let mut upkeep = Upkeep { scheduled: Vec::new(), rpo_hours: set.rpo_hours };
        if set.rpo_hours == Some(0) {
            return Err(Problem::invalid("rpo_hours is at least 1"));
        }
        for one in set.schedules {
            let work: Work = one.kind.parse().map_err(Problem::invalid)?;
            let pattern: Pattern = one.cron.parse().map_err(|error| Problem::invalid(format!("{error}")))?;
            zone(one.time_zone.as_deref()).map_err(|error| Problem::invalid(error.to_string()))?;
            if one.jitter_seconds > MAX_JITTER {
                return Err(Problem::invalid(format!("jitter_seconds is at most {MAX_JITTER}")));
            }
            if upkeep.scheduled.iter().any(|other| other.work == work) {
                return Err(Problem::invalid(format!("{work} stands there twice")));
            }
            if collection.settings.is_none() && matches!(work, Work::Backup | Work::Check) {
                return Err(Problem::invalid(format!("{work} is done where the collection is backed up, not here")));
            }
            let new = Scheduled { work, pattern, zone: one.time_zone, jitter_s: one.jitter_seconds, since: now };
            // What is said again changes nothing: a time that was missed is not forgotten.
            let known =
                collection.upkeep.scheduled.iter().find(|known| Scheduled { since: now, ..(*known).clone() } == new);
            upkeep.scheduled.push(known.cloned().unwrap_or(new));
        }
        upkeep.scheduled.sort_by_key(|one| one.work);
        if upkeep != collection.upkeep {
            self.store().index.set_upkeep(&collection.id, &upkeep).await?;
            let planned = upkeep.scheduled.iter().map(|one| format!("{} {}", one.work, one.pattern));
            let rpo = upkeep.rpo_hours.map(|hours| format!("rpo {hours} h"));
            let subjects = std::iter::once(collection.name.clone()).chain(planned).chain(rpo).collect();
            self.record(by, "schedule", subjects).await?;
        }
        self.upkeep(&Collection { upkeep, ..collection }).await
    }

    /// What is kept of a collection.
    pub(crate) fn retention(&self, collection: &Collection) -> RetentionView {
        let kept = collection.kept(&self.store().keys.instance());
        RetentionView {
            policy: kept.policy.as_ref().map(PolicyView::of),
            in_words: kept.in_words(),
            time_zone: kept.zone,
            is_default: collection.retention.is_none(),
        }
    }

    /// Says what is kept of a collection.
    pub(crate) async fn set_retention(
        &self,
        name: &str,
        set: SetRetention,
        by: &Caller,
    ) -> Result<RetentionView, Problem> {
        let collection = select::collection(self.store(), name).await?;
        let zone = set.time_zone.unwrap_or_else(|| "UTC".to_owned());
        prune::zone(&zone)?;
        let policy = set.policy.as_ref().map(PolicyView::policy).transpose()?;
        let retention = Some(Retention { policy, zone });
        self.store().index.set_retention(&collection.id, retention.as_ref()).await?;
        let view = self.retention(&Collection { retention, ..collection.clone() });
        self.record(by, "retention", vec![format!("{}: {}", collection.name, view.in_words)]).await?;
        Ok(view)
    }

    /// What a prune would remove.
    pub(crate) async fn retention_preview(
        &self,
        name: &str,
        otherwise: Option<PolicyView>,
    ) -> Result<PreviewView, Problem> {
        let collection = select::collection(self.store(), name).await?;
        let policy = otherwise.as_ref().map(PolicyView::policy).transpose()?;
        let plan = prune::plan(self.store(), &[collection], policy.as_ref(), self.now()).await?;
        let removed = plan.removed().count() as u64;
        let planned = plan.collections.into_iter().flat_map(|one| one.snapshots).map(|one| PlannedView {
            id: one.id.to_string(),
            sequence: one.sequence,
            created_at: one.created_at,
            goes: one.goes(),
            reasons: one.stays.iter().map(ToString::to_string).collect(),
        });
        Ok(PreviewView { snapshots: planned.collect(), removed, freed_bytes: plan.freed.bytes })
    }
}

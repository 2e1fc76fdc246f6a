//! `/admin/v1/snapshots`: pinned, tagged, deleted; what is in them stands in `files`.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::Body;
use super::etag::{tagged_by, unchanged};
use super::input::{At, Params};
use super::page::{Page, limit};
use super::refusals::{BadBody, Missing, Refused, Stale};
use crate::backup::prune::PruneError;
use crate::backup::prune::delete::{self, DeleteError};
use crate::backup::select;
use crate::domain::access::Scope;
use crate::domain::audit::Who;
use crate::domain::retention::Tag;
use crate::domain::wire::messages::ProblemDocument;
use crate::http::admin::AdminPlane;
use crate::http::admin::access::{Admin, Caller, May, MayNow, Operate, Read};
use crate::http::admin::typed;
use crate::http::admin::view::snapshot::{SnapshotView, snapshots};
use crate::http::problem::Problem;
use crate::store::index::{Mark, Snapshot};

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SnapshotsQuery {
    /// So many at once, 1 to 500; 50 if nothing is said.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// Where a page before this one said that the next one begins.
    cursor: Option<String>,
}

/// What is to change of what is known of a snapshot. What is not named stays.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeSnapshot {
    /// It stays, whatever the policy says.
    pub pinned: Option<bool>,
    /// Its tags, all of them.
    pub tags: Option<Vec<String>>,
    /// `true` takes away what is held against it: somebody has looked.
    #[serde(default)]
    pub unflag: bool,
}

/// Lists the snapshots of a collection, the newest first
#[utoipa::path(
    get,
    path = "/admin/v1/collections/{name}/snapshots",
    params(("name" = String, Path, description = "The collection"), SnapshotsQuery),
    responses((status = 200, description = "Its snapshots", body = Page<SnapshotView>), Refused, Missing),
    security(("token" = ["read"]))
)]
pub(super) async fn get_snapshots(
    _: May<Read>,
    State(plane): State<AdminPlane>,
    At(name): At<String>,
    Params(query): Params<SnapshotsQuery>,
) -> Result<Json<Page<SnapshotView>>, Problem> {
    let limit = limit(query.limit)?;
    let before = query.cursor.as_deref().map(place).transpose()?;
    let all = snapshots(plane.store(), &select::collection(plane.store(), &name).await?.id).await?;
    let older =
        |view: &SnapshotView| before.as_ref().is_none_or(|(sequence, id)| (view.sequence, &view.id) < (*sequence, id));
    let found = all.into_iter().filter(older).take(limit as usize + 1).collect();
    Ok(Json(Page::of(found, limit, |view: &SnapshotView| format!("{}-{}", view.sequence, view.id))))
}

/// One snapshot
#[utoipa::path(
    get,
    path = "/admin/v1/snapshots/{id}",
    params(("id" = String, Path, description = "Its id, or `tales@3`")),
    responses(
        (status = 200, description = "The snapshot, with an `ETag`", body = SnapshotView),
        (status = 422, description = "The beginning of an id fits several", body = ProblemDocument),
        Refused, Missing
    ),
    security(("token" = ["read"]))
)]
pub(super) async fn get_snapshot(
    _: May<Read>,
    State(plane): State<AdminPlane>,
    At(id): At<String>,
) -> Result<Response, Problem> {
    let view = plane.snapshot(&id).await?.1;
    Ok(tagged_by(&view, &settled(&view)))
}

/// Pins or tags a snapshot; to unpin it, or to take a tag or what is held against it away, the scope `admin` is needed
#[utoipa::path(
    patch,
    path = "/admin/v1/snapshots/{id}",
    params(
        ("id" = String, Path, description = "Its id, or `tales@3`"),
        ("if-match" = Option<String>, Header, description = "The `ETag` of what is to be changed")
    ),
    request_body = ChangeSnapshot,
    responses((status = 200, description = "The snapshot now, with an `ETag`", body = SnapshotView), Refused, Missing, BadBody, Stale),
    security(("token" = ["operate"]))
)]
pub(super) async fn patch_snapshot(
    May { caller, .. }: May<Operate>,
    State(plane): State<AdminPlane>,
    At(id): At<String>,
    headers: HeaderMap,
    Body(change): Body<ChangeSnapshot>,
) -> Result<Response, Problem> {
    let _one_at_a_time = plane.changing.lock().await;
    unchanged(&headers, &settled(&plane.snapshot(&id).await?.1))?;
    let view = plane.change_snapshot(&id, change, &caller).await?;
    Ok(tagged_by(&view, &settled(&view)))
}

/// Deletes a snapshot; what only it leans on is freed by prunes after the grace period
#[utoipa::path(
    delete,
    path = "/admin/v1/snapshots/{id}",
    params(
        ("id" = String, Path, description = "Its id, or `tales@3`"),
        ("bulbil-typed-by" = Option<String>, Header, description = "With the owner's token: who typed the command that asks, as for runs")
    ),
    responses(
        (status = 204, description = "It is deleted here. Peers that have it keep it as long as they want"),
        (status = 409, description = "It is pinned, or the last good one of its collection", body = ProblemDocument),
        (status = 422, description = "The beginning of an id fits several", body = ProblemDocument),
        Refused, Missing
    ),
    security(("token" = ["admin"]))
)]
pub(super) async fn delete_snapshot(
    MayNow { caller, .. }: MayNow<Admin>,
    State(plane): State<AdminPlane>,
    headers: HeaderMap,
    At(id): At<String>,
) -> Result<StatusCode, Problem> {
    plane.delete_snapshot(&id, typed::asker(&caller, &headers)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a cursor says: the snapshot before the page, which may be gone by now.
fn place(cursor: &str) -> Result<(u64, String), Problem> {
    let parts = cursor.split_once('-').and_then(|(sequence, id)| Some((sequence.parse().ok()?, id.to_owned())));
    parts.ok_or_else(|| Problem::malformed("the cursor is none of this list"))
}

/// What can be changed of a snapshot: its entity tag is of that.
fn settled(view: &SnapshotView) -> impl Serialize {
    (&view.id, view.pinned, &view.tags, &view.flagged)
}

impl AdminPlane {
    /// A snapshot, and how it is shown.
    pub(crate) async fn snapshot(&self, text: &str) -> Result<(Snapshot, SnapshotView), Problem> {
        let snapshot = select::snapshot(self.store(), text).await?;
        let id = snapshot.id.to_string();
        let all = snapshots(self.store(), &snapshot.collection).await?;
        let view = all.into_iter().find(|view| view.id == id).ok_or_else(Problem::not_found)?;
        Ok((snapshot, view))
    }

    /// Pins or tags a snapshot.
    pub(crate) async fn change_snapshot(
        &self,
        text: &str,
        change: ChangeSnapshot,
        by: &Caller,
    ) -> Result<SnapshotView, Problem> {
        let (snapshot, view) = self.snapshot(text).await?;
        let untags = change.tags.as_ref().is_some_and(|tags| view.tags.iter().any(|tag| !tags.contains(tag)));
        // With that the next prune removes it.
        let unprotects = change.unflag || untags || (view.pinned && change.pinned == Some(false));
        if unprotects && !by.scopes.allow(Scope::Admin) {
            return Err(Problem::wrong_scope(Scope::Admin));
        }
        let tag = |text: &String| text.parse::<Tag>().map_err(|error| Problem::invalid(error.to_string()));
        let tags = change.tags.map(|tags| tags.iter().map(tag).collect::<Result<_, _>>()).transpose()?;
        let apply = |mark: &mut Mark| {
            mark.pinned = change.pinned.unwrap_or(mark.pinned);
            if let Some(tags) = tags {
                mark.tags = tags;
            }
            if change.unflag {
                mark.flagged = None;
            }
        };
        self.store().index.mark(&snapshot.id, apply).await?;
        self.record(by, "snapshot set", vec![snapshot.id.short()]).await?;
        Ok(self.snapshot(&snapshot.id.to_string()).await?.1)
    }

    /// Deletes a snapshot; never the last good one.
    pub(crate) async fn delete_snapshot(&self, text: &str, by: Who) -> Result<(), Problem> {
        // Whoever comes second here waits, and is not told that somebody else is at it.
        let _one_at_a_time = self.changing.lock().await;
        let snapshot = select::snapshot(self.store(), text).await?;
        delete::delete(self.store(), &snapshot, self.now()).await?;
        self.record_of(by, "snapshot delete", vec![snapshot.id.short()]).await
    }
}

impl From<DeleteError> for Problem {
    fn from(error: DeleteError) -> Self {
        match error {
            DeleteError::Pinned | DeleteError::Meanwhile => Self::conflict("pinned", error.to_string()),
            DeleteError::LastGood | DeleteError::Only => Self::conflict("last-good", error.to_string()),
            DeleteError::Prune(PruneError::Store(error)) => error.into(),
            DeleteError::Prune(PruneError::Index(error)) => error.into(),
            DeleteError::Prune(error) => Self::internal(&error),
        }
    }
}

//! `POST /admin/v1/sync`: asks all peers now instead of when it is time. `POST /admin/v1/feed-changed`: tells them that there is news.

use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::Uri;
use serde::{Deserialize, Serialize};

use super::access::{May, Operate};
use super::api::refusals::{BadBody, Refused};
use super::{AdminPlane, FollowStatus};
use crate::http::problem::Problem;

/// Longest time that a caller is kept waiting.
const MAX_WAIT: Duration = Duration::from_secs(1800);

/// Whether to wait.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct SyncQuery {
    /// Answer when every peer was asked, at most half an hour later.
    #[serde(default)]
    wait: bool,
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SyncAnswer {
    /// Whether every peer was asked; without `wait` it is not known yet.
    pub done: bool,
    /// How it stands with each followed peer.
    pub following: Vec<FollowStatus>,
}

/// Our own feed.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FeedAnswer {
    /// Changes in it.
    pub length: u64,
}

/// Asks all peers now
#[utoipa::path(
    post,
    path = "/admin/v1/sync",
    params(SyncQuery),
    responses(
        (status = 200, description = "They are being asked; with `wait`, they were", body = SyncAnswer),
        Refused, BadBody
    ),
    security(("token" = ["operate"]))
)]
pub(super) async fn post_sync(
    _: May<Operate>,
    State(plane): State<AdminPlane>,
    uri: Uri,
) -> Result<Json<SyncAnswer>, Problem> {
    let query = Query::<SyncQuery>::try_from_uri(&uri).map_err(|error| Problem::malformed(error.body_text()))?;
    let done = if query.wait {
        match tokio::time::timeout(MAX_WAIT, plane.worker.round(&plane.store, &*plane.clock)).await {
            Ok(round) => round.map(|()| true).map_err(|error| Problem::internal(&error))?,
            Err(_) => false,
        }
    } else {
        plane.worker.wake();
        false
    };
    Ok(Json(SyncAnswer { done, following: plane.worker.status() }))
}

/// Tells waiting peers at once that there is a new snapshot, instead of within two seconds
#[utoipa::path(
    post,
    path = "/admin/v1/feed-changed",
    responses(
        (status = 200, description = "They are being told", body = FeedAnswer),
        Refused, BadBody
    ),
    security(("token" = ["operate"]))
)]
pub(super) async fn post_feed_changed(
    _: May<Operate>,
    State(plane): State<AdminPlane>,
) -> Result<Json<FeedAnswer>, Problem> {
    plane.worker.feed_changed();
    let length = plane.store.index.feed_head().await.map_err(|error| Problem::internal(&error))?;
    Ok(Json(FeedAnswer { length }))
}

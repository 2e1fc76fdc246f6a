//! `GET /changes`: the feed, page by page; waits for something new if asked to.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tokio::time::Instant;

use super::extract::PeerQuery;
use super::{PeerPlane, TrustedPeer};
use crate::domain::feed::{Cursor, MAX_CHANGES, Page};
use crate::domain::wire::messages::{MAX_WAIT_SECONDS, ProblemDocument};
use crate::http::problem::Problem;

/// What is asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ChangesQuery {
    /// Where to go on; from the beginning if absent.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor>,
    /// Most changes in the page.
    #[serde(default = "max_changes")]
    #[param(minimum = 1, maximum = 500)]
    limit: usize,
    /// If there is nothing new, wait for it so many seconds. Without a cursor nothing is waited for.
    #[serde(default)]
    #[param(maximum = 60)]
    wait: u64,
}

fn max_changes() -> usize {
    MAX_CHANGES
}

/// The next page of the feed
#[utoipa::path(
    get,
    path = "/peer/v1/changes",
    params(ChangesQuery),
    responses(
        (status = 200, description = "Manifests and tombstones in order, and where to go on", body = Object),
        (status = 400, description = "Malformed query", body = ProblemDocument),
        (status = 401, description = "Anything wrong with the caller", body = ProblemDocument)
    )
)]
pub(super) async fn get_changes(
    peer: TrustedPeer,
    State(plane): State<PeerPlane>,
    PeerQuery(query): PeerQuery<ChangesQuery>,
) -> Result<Json<Page>, Problem> {
    let internal = |error| Problem::internal(&error);
    let until = Instant::now() + Duration::from_secs(query.wait.min(MAX_WAIT_SECONDS));
    let mut cursor = query.cursor;
    loop {
        let page = plane.serve.changes(&peer.guest, cursor, query.limit).await.map_err(internal)?;
        let nothing_new = page.changes.is_empty() && cursor.is_some_and(|cursor| cursor.feed == page.next.feed);
        let left = until.saturating_duration_since(Instant::now());
        if !nothing_new || left.is_zero() {
            return Ok(Json(page));
        }
        plane.serve.wait_for_change(page.next.position, left).await.map_err(internal)?;
        // Much may have happened meanwhile (R6).
        if !plane.serve.still_welcome(&peer.guest).await.map_err(internal)? {
            return Err(Problem::unauthorized());
        }
        cursor = Some(page.next);
    }
}

//! `GET /charts/…`: pictures of figures, and the figures.

use std::collections::HashMap;

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::header;
use jiff::Timestamp;
use serde::Deserialize;

use super::chart::{self, Look, Step, Theme};
use super::{Amiss, Viewer};
use crate::domain::id::CollectionId;
use crate::http::admin::AdminPlane;
use crate::http::admin::view::snapshot::{SnapshotView, snapshots};
use crate::store::{IndexError, Store, blocking};

/// How a picture is wanted.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    theme: Theme,
}

/// What the newest snapshots of all collections lean on, over the time.
pub(super) async fn growth(
    _: Viewer,
    State(plane): State<AdminPlane>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Amiss> {
    let steps = all_steps(plane.store()).await?;
    Ok(drawn(move |now| chart::growth(&steps, now, wanted.theme), plane.now()).await)
}

/// The same for one collection.
pub(super) async fn growth_of(
    _: Viewer,
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Amiss> {
    let collection = plane.store().index.collection_named(&name).await?.ok_or_else(Amiss::not_found)?;
    let steps = steps(&snapshots(plane.store(), &collection.id).await?);
    Ok(drawn(move |now| chart::growth(&steps, now, wanted.theme), plane.now()).await)
}

/// The snapshots of a collection on a line.
pub(super) async fn timeline(
    _: Viewer,
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Amiss> {
    let collection = plane.store().index.collection_named(&name).await?.ok_or_else(Amiss::not_found)?;
    let snapshots = snapshots(plane.store(), &collection.id).await?;
    let marks: Vec<(Timestamp, Look)> = snapshots.iter().map(|one| (one.created_at, look(one))).collect();
    Ok(drawn(move |now| chart::timeline(&marks, now, wanted.theme), plane.now()).await)
}

/// How a snapshot looks.
pub(super) fn look(snapshot: &SnapshotView) -> Look {
    if snapshot.flagged.is_some() || snapshot.partial || !snapshot.complete {
        Look::Bad
    } else if snapshot.found_good_at().is_some() {
        Look::Good
    } else {
        Look::Unproved
    }
}

/// What the newest snapshot of one collection leaned on, from each snapshot on.
pub(super) fn steps(newest_first: &[SnapshotView]) -> Vec<Step> {
    let whole = newest_first.iter().rev().filter(|one| !one.partial && !one.beside);
    whole.map(|one| Step { at: one.created_at, value: one.stored_bytes }).collect()
}

/// The same for all collections together.
pub(super) async fn all_steps(store: &Store) -> Result<Vec<Step>, IndexError> {
    let mut all = store.index.snapshots(None).await?;
    all.retain(|one| !one.partial && !one.beside);
    all.sort_by_key(|one| one.created_at);
    let mut newest: HashMap<CollectionId, u64> = HashMap::new();
    let step = |one: crate::store::index::Snapshot| {
        newest.insert(one.collection, one.chunk_bytes);
        Step { at: one.created_at, value: newest.values().sum() }
    };
    Ok(all.into_iter().map(step).collect())
}

async fn drawn(draw: impl FnOnce(Timestamp) -> Vec<u8> + Send + 'static, now: Timestamp) -> Response {
    let png = blocking(move || draw(now)).await;
    ([(header::CONTENT_TYPE, "image/png")], png).into_response()
}

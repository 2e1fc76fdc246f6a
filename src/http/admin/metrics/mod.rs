//! `GET /metrics`: how it stands, for Prometheus (text format 0.0.4).

mod catalog; // every name
mod collections; // snapshots, runs, drills, copies
mod instance; // the program, its disks, ways in, requests
mod peers;
mod text; // the format
#[cfg(test)]
mod tests;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use jiff::Timestamp;

use super::AdminPlane;
use super::access::{May, Metrics};
use crate::domain::wire::messages::ProblemDocument;
use crate::http::problem::Problem;
use crate::store::StoreError;
use crate::worker::health::health;

const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How it stands, for Prometheus
#[utoipa::path(
    get,
    path = "/metrics",
    responses(
        (status = 200, description = "Figures in Prometheus' text format 0.0.4, in base units; moments are seconds since 1970", body = String, content_type = "text/plain"),
        (status = 401, description = "No token, or a wrong one", body = ProblemDocument),
        (status = 403, description = "The token is not good for this", body = ProblemDocument)
    ),
    security(("token" = ["metrics"]))
)]
pub(super) async fn get_metrics(
    _: May<Metrics>,
    State(plane): State<AdminPlane>,
) -> Result<impl IntoResponse, Problem> {
    let text = metrics(&plane, plane.clock.now()).await.map_err(|error| Problem::internal(&error))?;
    Ok(([(CONTENT_TYPE, FORMAT)], text))
}

async fn metrics(plane: &AdminPlane, now: Timestamp) -> Result<String, StoreError> {
    let mut page = text::Page::default();
    let health = health(&plane.store, plane.bounds(), now).await?;
    page.add(catalog::DEGRADED, &[], u8::from(!health.is_good()));
    instance::gather(&mut page, plane, now).await?;
    collections::gather(&mut page, &plane.store, now).await?;
    peers::gather(&mut page, plane).await?;
    Ok(page.text(catalog::ALL))
}

fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}

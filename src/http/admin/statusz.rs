//! `GET /statusz`: whether all is well, with the reasons in words. The same judgement as `bulbil status` ends with.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::AdminPlane;
use super::access::{May, Metrics};
use crate::domain::wire::messages::ProblemDocument;
use crate::http::problem::Problem;
use crate::worker::health::{Health, health};

/// Whether all is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Statusz {
    /// `ok` or `degraded`.
    pub status: String,
    /// What is wrong; empty if nothing is.
    pub reasons: Vec<Reason>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Reason {
    /// A kind of alert, as in `bulbil_alerts`, or `unsound`: the newest snapshot of a collection does not hold.
    pub kind: String,
    /// What it is about: a collection, a peer, a target, the home.
    pub subject: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl From<Health> for Statusz {
    fn from(health: Health) -> Self {
        let status = if health.is_good() { "ok" } else { "degraded" };
        let alerts = health.alerts.into_iter().map(|alert| Reason {
            kind: alert.kind.word().to_owned(),
            subject: alert.subject,
            message: alert.message,
        });
        let unsound = health.unsound.into_iter().map(|(subject, message)| {
            let kind = "unsound".to_owned();
            Reason { kind, subject, message }
        });
        Self { status: status.to_owned(), reasons: alerts.chain(unsound).collect() }
    }
}

/// Whether all is well, and what is not
#[utoipa::path(
    get,
    path = "/statusz",
    responses(
        (status = 200, description = "`ok`, or `degraded` with the reasons", body = Statusz),
        (status = 401, description = "No token, or a wrong one", body = ProblemDocument),
        (status = 403, description = "The token is not good for this", body = ProblemDocument)
    ),
    security(("token" = ["metrics"]))
)]
pub(super) async fn get_statusz(_: May<Metrics>, State(plane): State<AdminPlane>) -> Result<Json<Statusz>, Problem> {
    let health = health(&plane.store, plane.bounds(), plane.clock.now()).await;
    Ok(Json(health.map_err(|error| Problem::internal(&error))?.into()))
}

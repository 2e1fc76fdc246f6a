//! Whether the server lives, and whether it can do its work: for a supervisor.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::AdminPlane;
use super::access::{May, Metrics};
use super::network::NetworkStatus;
use crate::domain::wire::messages::ProblemDocument;
use crate::http::problem::Problem;

/// That all is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HealthAnswer {
    /// Always `ok`.
    pub status: String,
}

impl HealthAnswer {
    fn ok() -> Json<Self> {
        Json(Self { status: "ok".to_owned() })
    }
}

/// Whether the server lives; needs no token
#[utoipa::path(get, path = "/healthz", responses((status = 200, description = "It does", body = HealthAnswer)))]
pub(super) async fn get_healthz() -> Json<HealthAnswer> {
    HealthAnswer::ok()
}

/// Whether the server can do its work
#[utoipa::path(
    get,
    path = "/readyz",
    responses(
        (status = 200, description = "The index answers, the disk is there, the worker runs, and peers can come in: over Tor, a test has", body = HealthAnswer),
        (status = 401, description = "No token, or a wrong one", body = ProblemDocument),
        (status = 403, description = "The token is not good for this", body = ProblemDocument),
        (status = 503, description = "Something does not", body = ProblemDocument)
    ),
    security(("token" = ["metrics"]))
)]
pub(super) async fn get_readyz(
    _: May<Metrics>,
    State(plane): State<AdminPlane>,
) -> Result<Json<HealthAnswer>, Problem> {
    if let Err(error) = plane.store.index.feed_head().await {
        tracing::error!(%error, "the index does not answer");
        return Err(Problem::not_ready("the index does not answer"));
    }
    if let Err(away) = plane.store.check_folders() {
        return Err(Problem::no_storage(away.to_string()));
    }
    if plane.worker.has_stopped() {
        return Err(Problem::not_ready("the sync worker has stopped"));
    }
    match plane.network.network() {
        NetworkStatus { open: true, .. } => Ok(HealthAnswer::ok()),
        status => Err(Problem::not_open(status.why_not)),
    }
}

//! `GET /config`: what of the configuration may be cloned.

use axum::Json;
use axum::extract::State;

use super::{PeerPlane, TrustedPeer};
use crate::domain::wire::messages::{ConfigAnswer, ProblemDocument};
use crate::http::problem::Problem;

/// The configuration that the caller may clone
#[utoipa::path(
    get,
    path = "/peer/v1/config",
    responses(
        (status = 200, description = "Collections that the caller may see; no secrets, no paths", body = ConfigAnswer),
        (status = 401, description = "Anything wrong with the caller", body = ProblemDocument)
    )
)]
pub(super) async fn get_config(
    peer: TrustedPeer,
    State(plane): State<PeerPlane>,
) -> Result<Json<ConfigAnswer>, Problem> {
    plane.serve.config(&peer.guest.rights).await.map(Json).map_err(|error| Problem::internal(&error))
}

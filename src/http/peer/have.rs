//! `POST /have`: which of these chunks could be had here.

use axum::Json;
use axum::extract::State;

use super::extract::{PeerJson, bounded};
use super::{PeerPlane, TrustedPeer};
use crate::domain::wire::messages::{ChunksRequest, HaveAnswer, ProblemDocument};
use crate::http::problem::Problem;

/// Which of these chunks and segments could be had
#[utoipa::path(
    post,
    path = "/peer/v1/have",
    request_body = ChunksRequest,
    responses(
        (status = 200, description = "One bit for each id, in order", body = HaveAnswer),
        (status = 400, description = "Malformed, or too many ids", body = ProblemDocument),
        (status = 401, description = "Anything wrong with the caller", body = ProblemDocument)
    )
)]
pub(super) async fn post_have(
    peer: TrustedPeer,
    State(plane): State<PeerPlane>,
    PeerJson(request): PeerJson<ChunksRequest>,
) -> Result<Json<HaveAnswer>, Problem> {
    let ids = bounded(request.ids)?;
    let sizes = plane.serve.sizes(&peer.guest.rights, &ids).await.map_err(|error| Problem::internal(&error))?;
    let bits: Vec<bool> = sizes.iter().map(Option::is_some).collect();
    Ok(Json(HaveAnswer::pack(&bits)))
}

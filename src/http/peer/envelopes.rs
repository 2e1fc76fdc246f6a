//! `POST /envelopes`: snapshot keys, wrapped for the caller's current key (R3).

use axum::Json;
use axum::extract::State;

use super::extract::{PeerJson, bounded};
use super::{PeerPlane, TrustedPeer};
use crate::domain::wire::messages::{EnvelopesAnswer, EnvelopesRequest, ProblemDocument};
use crate::http::problem::Problem;
use crate::replicate::rekey;

/// Envelopes for the caller's current key
#[utoipa::path(
    post,
    path = "/peer/v1/envelopes",
    request_body = EnvelopesRequest,
    responses(
        (status = 200, description = "One answer for each manifest, in order", body = EnvelopesAnswer),
        (status = 400, description = "Malformed, or too many ids", body = ProblemDocument),
        (status = 401, description = "Anything wrong with the caller", body = ProblemDocument)
    )
)]
pub(super) async fn post_envelopes(
    peer: TrustedPeer,
    State(plane): State<PeerPlane>,
    PeerJson(request): PeerJson<EnvelopesRequest>,
) -> Result<Json<EnvelopesAnswer>, Problem> {
    let ids = bounded(request.manifests)?;
    let envelopes = rekey::envelopes(&plane.serve, &peer.guest, &ids).await;
    let envelopes = envelopes.map_err(|error| Problem::internal(&error))?;
    let recorded = plane.serve.record_keys(&peer.guest.id, &envelopes, plane.clock.now()).await;
    recorded.map_err(|error| Problem::internal(&error))?;
    Ok(Json(EnvelopesAnswer { envelopes }))
}

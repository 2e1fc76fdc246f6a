//! `GET /identity`: who this is. The only request that is not signed; the document is signed by itself.

use axum::Json;
use axum::extract::State;

use super::PeerPlane;
use crate::domain::identity::SignedIdentity;

/// Who this is
#[utoipa::path(
    get,
    path = "/peer/v1/identity",
    responses((status = 200, description = "A signed identity document", body = Object))
)]
pub(super) async fn get_identity(State(plane): State<PeerPlane>) -> Json<SignedIdentity> {
    Json(plane.serve.identity())
}

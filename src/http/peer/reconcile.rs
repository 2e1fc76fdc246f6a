//! `POST /reconcile`, `POST /manifests`: what the caller lacks of what it may see, and those manifests.

use axum::Json;
use axum::extract::State;

use super::extract::{PeerJson, bounded};
use super::{PeerPlane, TrustedPeer};
use crate::domain::wire::messages::{
    ManifestsAnswer, ManifestsRequest, ProblemDocument, ReconcileAnswer, ReconcileRequest,
};
use crate::http::problem::Problem;
use crate::replicate::serve::ReconcileFault;

/// One message of a set reconciliation (negentropy, version 1) over all that may be seen
#[utoipa::path(
    post,
    path = "/peer/v1/reconcile",
    request_body = ReconcileRequest,
    responses(
        (status = 200, description = "The answering message", body = ReconcileAnswer),
        (status = 400, description = "No such message", body = ProblemDocument),
        (status = 401, description = "Anything wrong with the caller", body = ProblemDocument)
    )
)]
pub(super) async fn post_reconcile(
    peer: TrustedPeer,
    State(plane): State<PeerPlane>,
    PeerJson(request): PeerJson<ReconcileRequest>,
) -> Result<Json<ReconcileAnswer>, Problem> {
    match plane.serve.reconcile(&peer.guest.rights, request).await {
        Ok(answer) => Ok(Json(answer)),
        Err(ReconcileFault::Malformed(what)) => Err(Problem::malformed(what)),
        Err(ReconcileFault::Serve(error)) => Err(Problem::internal(&error)),
    }
}

/// Manifests that a reconciliation told of
#[utoipa::path(
    post,
    path = "/peer/v1/manifests",
    request_body = ManifestsRequest,
    responses(
        (status = 200, description = "Those that there are, as far as they fit into one answer", body = ManifestsAnswer),
        (status = 400, description = "Malformed, or too many ids", body = ProblemDocument),
        (status = 401, description = "Anything wrong with the caller", body = ProblemDocument)
    )
)]
pub(super) async fn post_manifests(
    peer: TrustedPeer,
    State(plane): State<PeerPlane>,
    PeerJson(request): PeerJson<ManifestsRequest>,
) -> Result<Json<ManifestsAnswer>, Problem> {
    let ids = bounded(request.ids)?;
    let changes = plane.serve.manifests(&peer.guest.rights, request.salt, ids).await;
    Ok(Json(ManifestsAnswer { changes: changes.map_err(|error| Problem::internal(&error))? }))
}

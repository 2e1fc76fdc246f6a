//! `POST /reconcile`, `POST /manifests`: what the caller lacks of what it may see, and those manifests.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header;

use super::extract::{PeerJson, bounded};
use super::{PeerPlane, TrustedPeer};
use crate::domain::wire::messages::{ManifestsAnswer, ManifestsRequest, ProblemDocument, ReconcileRequest};
use crate::http::problem::Problem;
use crate::replicate::serve::ReconcileFault;

/// One message of a set reconciliation (negentropy, version 1) over all that may be seen
#[utoipa::path(
    post,
    path = "/peer/v1/reconcile",
    request_body(content = Vec<u8>, description = "The salt (16 bytes), then the message", content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "The cursor (feed id, 16 bytes; number, 8 bytes, big-endian), then the answering message",
            body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 400, description = "No such message", body = ProblemDocument),
        (status = 401, description = "Anything wrong with the caller", body = ProblemDocument)
    )
)]
pub(super) async fn post_reconcile(
    peer: TrustedPeer,
    State(plane): State<PeerPlane>,
    body: Bytes,
) -> Result<Response, Problem> {
    let request = ReconcileRequest::parse(&body).ok_or_else(|| Problem::malformed("the salt is missing"))?;
    match plane.serve.reconcile(&peer.guest.rights, request).await {
        Ok(answer) => Ok(([(header::CONTENT_TYPE, "application/octet-stream")], answer.encode()).into_response()),
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

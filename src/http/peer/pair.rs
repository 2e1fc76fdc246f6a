//! `POST /pair`: asks to be let in, with an invite or without. Signed with the key that the body shows.

use axum::Json;
use axum::body::Body;
use axum::extract::State;

use super::PeerPlane;
use super::guard::{Stranger, introduced};
use crate::domain::wire::messages::{PairAnswer, PairRequest, ProblemDocument};
use crate::http::problem::Problem;
use crate::replicate::pair::PairError;

/// Asks to be let in
#[utoipa::path(
    post,
    path = "/peer/v1/pair",
    request_body = PairRequest,
    responses(
        (status = 200, description = "Let in, or waiting for an admin's decision", body = PairAnswer),
        (status = 400, description = "Malformed", body = ProblemDocument),
        (status = 401, description = "Not signed with the key that the body shows", body = ProblemDocument),
        (status = 403, description = "The invite is not good, whatever the reason", body = ProblemDocument),
        (status = 503, description = "Too many instances are waiting", body = ProblemDocument)
    )
)]
pub(super) async fn post_pair(
    stranger: Stranger,
    State(plane): State<PeerPlane>,
    body: Body,
) -> Result<Json<PairAnswer>, Problem> {
    let (request, identity) = introduced(&plane, stranger, body, |request: &PairRequest| &request.identity).await?;
    let now = plane.clock.now();
    plane.pairing.pair(&request, &identity, now).await.map(Json).map_err(|error| match error {
        PairError::Refused(_) => Problem::invite_refused(),
        PairError::TooManyPending => Problem::too_many_pending(),
        PairError::Serve(error) => Problem::internal(&error),
    })
}

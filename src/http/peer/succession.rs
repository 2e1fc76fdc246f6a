//! `POST /succession`: who leads which collection. Both sides tell each other what they know.

use axum::Json;
use axum::extract::State;

use super::extract::PeerJson;
use super::{PeerPlane, TrustedPeer};
use crate::domain::succession::MAX_STATEMENTS;
use crate::domain::wire::messages::{ProblemDocument, StatementsMessage};
use crate::http::problem::Problem;

/// Statements of succession, both ways
#[utoipa::path(
    post,
    path = "/peer/v1/succession",
    request_body = StatementsMessage,
    responses(
        (status = 200, description = "What this instance knows of collections that the caller may see or once led",
            body = StatementsMessage),
        (status = 400, description = "Malformed, or too many statements", body = ProblemDocument),
        (status = 401, description = "Anything wrong with the caller", body = ProblemDocument)
    )
)]
pub(super) async fn post_succession(
    peer: TrustedPeer,
    State(plane): State<PeerPlane>,
    PeerJson(request): PeerJson<StatementsMessage>,
) -> Result<Json<StatementsMessage>, Problem> {
    if request.statements.len() > MAX_STATEMENTS {
        return Err(Problem::too_many_ids());
    }
    let exchanged = plane.serve.exchange_statements(&peer.guest, &request.statements).await;
    Ok(Json(StatementsMessage { statements: exchanged.map_err(|error| Problem::internal(&error))? }))
}

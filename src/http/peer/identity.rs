//! `/identity`: who this is, and who the caller is now.
//!
//! `GET` is the only request that is not signed; the document is signed by itself. With `POST` a peer shows its own document, after
//! its keys have changed. It is signed with the key that the document shows.

use axum::Json;
use axum::body::Body;
use axum::extract::State;

use super::PeerPlane;
use super::guard::{Stranger, introduced};
use crate::domain::identity::SignedIdentity;
use crate::domain::wire::messages::{IdentityMessage, ProblemDocument};
use crate::http::problem::Problem;
use crate::replicate::renew::{Renewed, receive};

/// Who this is
#[utoipa::path(
    get,
    path = "/peer/v1/identity",
    responses((status = 200, description = "A signed identity document", body = Object))
)]
pub(super) async fn get_identity(State(plane): State<PeerPlane>) -> Json<SignedIdentity> {
    Json(plane.serve.identity())
}

/// Shows the caller's identity document: it has another envelope key, or goes on under another identity
#[utoipa::path(
    post,
    path = "/peer/v1/identity",
    request_body = IdentityMessage,
    responses(
        (status = 200, description = "This instance's own document", body = IdentityMessage),
        (status = 400, description = "Malformed", body = ProblemDocument),
        (status = 401, description = "Not a trusted peer's document, or not signed with the key that it shows", body = ProblemDocument)
    )
)]
pub(super) async fn post_identity(
    stranger: Stranger,
    State(plane): State<PeerPlane>,
    body: Body,
) -> Result<Json<IdentityMessage>, Problem> {
    let (message, identity) = introduced(&plane, stranger, body, |message: &IdentityMessage| &message.identity).await?;
    let renewed = receive(plane.serve.store(), &message.identity, &identity).await;
    match renewed.map_err(|error| Problem::internal(&error))? {
        Renewed::Stranger => Err(Problem::unauthorized()),
        _ => Ok(Json(IdentityMessage { identity: plane.serve.identity() })),
    }
}

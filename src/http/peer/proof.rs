//! `POST /challenge`, `POST /proof`: whoever keeps a snapshot proves it.

use axum::Json;
use axum::extract::State;

use super::extract::PeerJson;
use super::{PeerPlane, TrustedPeer};
use crate::domain::proof::MAX_CLAIMS;
use crate::domain::wire::messages::{ChallengeAnswer, ChallengeRequest, ProblemDocument, ProofAnswer, ProofRequest};
use crate::http::problem::Problem;
use crate::replicate::prove::ProofFault;

/// A challenge for snapshots that the caller has
#[utoipa::path(
    post,
    path = "/peer/v1/challenge",
    request_body = ChallengeRequest,
    responses(
        (status = 200, description = "What is to be proved within ten minutes, of those snapshots that the caller may see",
            body = ChallengeAnswer),
        (status = 400, description = "Malformed, or too many claims", body = ProblemDocument),
        (status = 401, description = "Anything wrong with the caller", body = ProblemDocument),
        (status = 429, description = "Again after `retry-after` seconds", body = ProblemDocument)
    )
)]
pub(super) async fn post_challenge(
    peer: TrustedPeer,
    State(plane): State<PeerPlane>,
    PeerJson(request): PeerJson<ChallengeRequest>,
) -> Result<Json<ChallengeAnswer>, Problem> {
    if request.claims.len() > MAX_CLAIMS {
        return Err(Problem::malformed(format!("at most {MAX_CLAIMS} claims in one request")));
    }
    let challenge = plane.serve.challenge(&peer.guest, &request.claims, plane.clock.now()).await;
    challenge.map(Json).map_err(problem)
}

/// The proof of a challenge
#[utoipa::path(
    post,
    path = "/peer/v1/proof",
    request_body = ProofRequest,
    responses(
        (status = 200, description = "Heard", body = ProofAnswer),
        (status = 400, description = "It does not fit the challenge, which is used up by it", body = ProblemDocument),
        (status = 401, description = "Anything wrong with the caller", body = ProblemDocument),
        (status = 404, description = "No such challenge, not any more, or not the caller's", body = ProblemDocument)
    )
)]
pub(super) async fn post_proof(
    peer: TrustedPeer,
    State(plane): State<PeerPlane>,
    PeerJson(request): PeerJson<ProofRequest>,
) -> Result<Json<ProofAnswer>, Problem> {
    let heard = plane.serve.hear_proof(&peer.guest, request, plane.clock.now()).await;
    heard.map(|()| Json(ProofAnswer {})).map_err(problem)
}

fn problem(fault: ProofFault) -> Problem {
    match fault {
        ProofFault::TooEarly(wait) => Problem::challenged_already(wait),
        ProofFault::NoSuchChallenge => Problem::not_found(),
        ProofFault::DoesNotFit => Problem::malformed("the digests are not as many as the challenge asks for"),
        ProofFault::Serve(error) => Problem::internal(&error),
    }
}

//! Who may come in: checks every request before anything else looks at it, and signs every answer that is no stream.
//!
//! In this order, so that a stranger costs a look-up and one signature check, and learns nothing (R10, R12): signature, trust,
//! number of requests at once, body, nonce. Whatever is wrong with the caller is one and the same 401.

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, header};
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use std::sync::Arc;

use super::PeerPlane;
use crate::domain::id::InstanceId;
use crate::domain::identity::{Identity, SignedIdentity};
use crate::domain::wire::messages::{BASE_PATH, MAX_ANSWER_BYTES, MAX_REQUEST_BYTES};
use crate::domain::wire::signature::{
    ADDRESSEE, CONTENT_DIGEST, RequestClaim, RequestHeaders, RequestParts, SIGNATURE, SIGNATURE_INPUT, SignatureFault,
    sign_answer,
};
use crate::http::listener::{Leave, Welcome};
use crate::http::places::Place;
use crate::http::problem::Problem;
use crate::replicate::serve::Guest;

/// That a peer is heard of is noted so often.
const HEARD_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// A peer that signed this request, is trusted at this moment, and has not sent it before. Made by the guard only: to ask for
/// one is to ask for permission.
#[derive(Debug, Clone)]
pub struct TrustedPeer {
    /// Who it is and what it may see.
    pub guest: Guest,
    /// Closes its connection; there is none if it comes in on none.
    pub(super) leave: Option<Leave>,
    /// Its place among the peer's requests; a stream keeps it until its end.
    _place: Arc<Place<InstanceId>>,
}

/// What an instance that introduces itself claims, for the handler to check with the key that the body shows.
#[derive(Debug, Clone)]
pub(super) struct Stranger(pub(super) RequestClaim);

/// Marks an answer that is checked by the names of what is in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct SelfChecking;

impl FromRequestParts<PeerPlane> for TrustedPeer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &PeerPlane) -> Result<Self, Problem> {
        parts.extensions.remove().ok_or_else(Problem::unauthorized)
    }
}

impl FromRequestParts<PeerPlane> for Stranger {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &PeerPlane) -> Result<Self, Problem> {
        parts.extensions.remove().ok_or_else(Problem::unauthorized)
    }
}

/// The middleware.
pub(super) async fn guard(State(plane): State<PeerPlane>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let shows_itself = path.strip_prefix(BASE_PATH) == Some("/identity");
    if shows_itself && request.method() != Method::POST {
        return next.run(request).await;
    }
    let introduces = shows_itself || path.strip_prefix(BASE_PATH) == Some("/pair");
    let (mut parts, body) = request.into_parts();
    // Whoever has not heard yet that this instance goes on under another key calls it by a former id.
    let Some(claim) = plane.serve.store().keys.own_ids().find_map(|own| claim(&parts, &own).ok()) else {
        return Problem::unauthorized().into_response();
    };
    let nonce = *claim.nonce();
    let response = if introduces {
        parts.extensions.insert(Stranger(claim));
        next.run(Request::from_parts(parts, body)).await
    } else {
        match admit(&plane, claim, body).await {
            Ok((mut peer, body)) => {
                peer.leave = parts.extensions.remove();
                parts.extensions.insert(peer);
                let mut response = next.run(Request::from_parts(parts, Body::from(body))).await;
                response.extensions_mut().insert(Welcome);
                response
            }
            Err(problem) => problem.into_response(),
        }
    };
    if response.extensions().get::<SelfChecking>().is_some() {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let body = match to_bytes(body, MAX_ANSWER_BYTES).await {
        Ok(body) => body,
        Err(error) => return Problem::internal(&error).into_response(),
    };
    let signed =
        sign_answer(head.status.as_u16(), &body, &plane.serve.store().keys.identity, plane.clock.now(), &nonce);
    for (name, value) in signed.iter() {
        head.headers.insert(name, HeaderValue::try_from(value).expect("signature headers are plain characters"));
    }
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    Response::from_parts(head, Body::from(body))
}

/// Checks everything; gives the peer and the body.
async fn admit(plane: &PeerPlane, claim: RequestClaim, body: Body) -> Result<(TrustedPeer, Bytes), Problem> {
    let internal = |error: crate::replicate::serve::ServeError| Problem::internal(&error);
    let caller = *claim.caller();
    let known = plane.serve.known(&caller).await.map_err(internal)?;
    let now = plane.clock.now();
    let head = claim.verify(known.as_ref().map(|(_, identity)| &identity.identity_key), now);
    let recent = |at: Timestamp| now.duration_since(at) < HEARD_EVERY;
    let is_news = known.as_ref().is_some_and(|(peer, _)| !peer.last_contact_at.is_some_and(recent));
    // Trust comes before the clock: who is not let in learns nothing of it.
    let guest = match (&head, known) {
        (Ok(_) | Err(SignatureFault::ClockSkew { .. }), Some((peer, identity))) => {
            plane.serve.admit(&peer, identity).await.map_err(internal)?
        }
        _ => None,
    };
    let guest = guest.ok_or_else(Problem::unauthorized)?;
    let head = head.map_err(|_| Problem::clock_skew(now))?;
    let place = plane.places.take(&caller).ok_or_else(Problem::too_many_requests)?;
    let body = read_body(plane, body).await?;
    let request = head.check_body(&body).map_err(|_| Problem::unauthorized())?;
    let index = &plane.serve.store().index;
    let fresh = index.remember_nonce(&caller, &request.nonce, request.remember_nonce_until, now).await;
    if !fresh.map_err(|error| internal(error.into()))? {
        tracing::warn!(peer.id = %caller, "a request was replayed");
        return Err(Problem::unauthorized());
    }
    if is_news && let Err(error) = index.note_heard(&caller, now).await {
        tracing::warn!(%error, "it cannot be noted that a peer was heard of");
    }
    Ok((TrustedPeer { guest, leave: None, _place: place }, body))
}

/// Reads a body that shows who sent it, and checks that the request is signed with the key that it shows.
pub(super) async fn introduced<T: DeserializeOwned>(
    plane: &PeerPlane,
    Stranger(claim): Stranger,
    body: Body,
    shown: impl Fn(&T) -> &SignedIdentity,
) -> Result<(T, Identity), Problem> {
    let body = read_body(plane, body).await?;
    let message: T = serde_json::from_slice(&body).map_err(|error| Problem::malformed(error.to_string()))?;
    let identity = shown(&message).verify(Some(claim.caller())).map_err(|_| Problem::unauthorized())?;
    let now = plane.clock.now();
    let head = claim.verify(Some(&identity.identity_key), now).map_err(|fault| match fault {
        SignatureFault::ClockSkew { .. } => Problem::clock_skew(now),
        _ => Problem::unauthorized(),
    })?;
    head.check_body(&body).map_err(|_| Problem::unauthorized())?;
    Ok((message, identity))
}

/// Reads a body within its bounds of size and time (R13).
pub(super) async fn read_body(plane: &PeerPlane, body: Body) -> Result<Bytes, Problem> {
    use axum::body::HttpBody;
    if body.size_hint().lower() > MAX_REQUEST_BYTES as u64 {
        return Err(Problem::too_large());
    }
    let read = tokio::time::timeout(plane.limits.body, to_bytes(body, MAX_REQUEST_BYTES)).await;
    read.map_err(|_| Problem::too_slow())?.map_err(|_| Problem::too_large())
}

fn claim(parts: &Parts, here: &InstanceId) -> Result<RequestClaim, SignatureFault> {
    let one = |name: &str| one_header(&parts.headers, name).ok_or(SignatureFault::Malformed);
    let headers = RequestHeaders {
        content_digest: one(CONTENT_DIGEST)?,
        addressee: one(ADDRESSEE)?,
        signature_input: one(SIGNATURE_INPUT)?,
        signature: one(SIGNATURE)?,
    };
    let request = RequestParts {
        method: parts.method.as_str(),
        authority: one(header::HOST.as_str())?,
        path: parts.uri.path(),
        query: parts.uri.query(),
        addressee: here,
    };
    RequestClaim::parse(&headers, &request)
}

/// The value of a header that is there once.
fn one_header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    if values.next().is_some() { None } else { first.to_str().ok() }
}

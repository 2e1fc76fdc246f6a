//! Who may come in: three headers, which sign nothing but the time.
//!
//! In this order, so that a stranger costs a look-up: the key is one that is trusted now, time and signature hold, and these very
//! headers were not used before: whoever sees them could ask anything with them for five minutes. Whatever is wrong is one and
//! the same 401.

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, Method};
use std::sync::Arc;
use std::time::Duration;

use super::{AxonPlane, answer};
use crate::axon::serve::{AxonGuest, AxonServeError};
use crate::domain::axon::signature::{Claim, PUBKEY, SIGNATURE, TIMESTAMP};
use crate::http::listener::{Leave, Welcome};
use crate::http::places::Place;

/// What the unsigned routes begin with.
const UNSIGNED: &str = "/api/identity/";
/// How long a request waits for one of its guest's places: a real instance gives an item up when a chunk is refused.
const WAIT_FOR_PLACE: Duration = Duration::from_secs(10);
const FAILED: &str = r#"{"error":"Failed to process the request."}"#;

/// An Axon instance that signed this request, is trusted at this moment, and has not sent it before. Made by the guard only.
#[derive(Debug, Clone)]
pub struct TrustedAxon {
    /// Who it is and what it may see.
    pub guest: AxonGuest,
    /// Closes its connection; there is none if it comes in on none.
    pub(super) leave: Option<Leave>,
    /// Its place among the guest's requests; an answer keeps it until its end.
    _place: Arc<Place<String>>,
}

impl TrustedAxon {
    /// What a watch beside its answer needs; the place is left to the answer.
    pub(super) fn watched(&self) -> (AxonGuest, Option<Leave>) {
        (self.guest.clone(), self.leave.clone())
    }
}

impl FromRequestParts<AxonPlane> for TrustedAxon {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &AxonPlane) -> Result<Self, Response> {
        parts.extensions.remove().ok_or_else(answer::unauthorized)
    }
}

/// The middleware.
pub(super) async fn guard(State(plane): State<AxonPlane>, mut request: Request, next: Next) -> Response {
    if request.uri().path().starts_with(UNSIGNED) {
        return next.run(request).await;
    }
    if request.method() != Method::GET {
        return answer::unauthorized();
    }
    match admit(&plane, request.headers()).await {
        Ok(Some(mut peer)) => {
            peer.leave = request.extensions_mut().remove();
            request.extensions_mut().insert(peer);
            let mut response = next.run(request).await.into_response();
            response.extensions_mut().insert(Welcome);
            response
        }
        Ok(None) => answer::unauthorized(),
        Err(Refusal::TooMany) => answer::too_many(),
        Err(Refusal::Failed(error)) => answer::failed(&error, FAILED),
    }
}

enum Refusal {
    TooMany,
    Failed(AxonServeError),
}

impl From<AxonServeError> for Refusal {
    fn from(error: AxonServeError) -> Self {
        Self::Failed(error)
    }
}

async fn admit(plane: &AxonPlane, headers: &HeaderMap) -> Result<Option<TrustedAxon>, Refusal> {
    let Some(claim) = claim(headers) else { return Ok(None) };
    let Some(guest) = plane.serve.admit(claim.key()).await? else { return Ok(None) };
    let now = plane.clock.now();
    if let Err(fault) = claim.verify(now) {
        tracing::info!(peer = guest.name, %fault, "a request in the name of an Axon instance was refused");
        return Ok(None);
    }
    let place = match plane.places.take(&guest.name) {
        Some(place) => place,
        None => {
            let place = plane.places.take_within(&guest.name, WAIT_FOR_PLACE).await.ok_or(Refusal::TooMany)?;
            if !plane.serve.still_welcome(&guest).await? {
                return Ok(None);
            }
            place
        }
    };
    if !plane.serve.take_signature(&claim, now).await? {
        tracing::warn!(peer = guest.name, "a request was replayed");
        return Ok(None);
    }
    Ok(Some(TrustedAxon { guest, leave: None, _place: place }))
}

fn claim(headers: &HeaderMap) -> Option<Claim> {
    let one = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let first = values.next()?;
        if values.next().is_some() { None } else { first.to_str().ok() }
    };
    Claim::parse(one(TIMESTAMP)?, one(PUBKEY)?, one(SIGNATURE)?).ok()
}

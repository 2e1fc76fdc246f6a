//! Who asks on the admin plane, and what they may.
//!
//! [`identify`] looks once at each request and notes the [`Caller`]; a handler says in its arguments what it needs: [`May`].

mod caller; // who asks
mod may; // what a handler needs, as an extractor

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

pub use caller::{Caller, Credential};
pub use may::{Admin, Content, May, Metrics, Needs, Operate, Read};

use super::AdminPlane;
use crate::http::listener::Welcome;
use crate::http::problem::Problem;

/// What is answered to everybody on loopback.
const OPEN: [&str; 1] = ["/healthz"];

/// Notes who asks. Over Tor nobody is answered anything that is not one of `OPEN` there, before they have shown who they are.
pub(super) async fn identify(State(plane): State<AdminPlane>, mut request: Request, next: Next) -> Response {
    let caller = plane.token.is_shown(request.headers()).then(Caller::owner);
    if caller.is_none() && (plane.onion.is_some() || !OPEN.contains(&request.uri().path())) {
        return Problem::no_token().into_response();
    }
    let is_known = caller.is_some();
    if let Some(caller) = caller {
        request.extensions_mut().insert(caller);
    }
    let mut response = next.run(request).await;
    if is_known {
        response.extensions_mut().insert(Welcome);
    }
    response
}

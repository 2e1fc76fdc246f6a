//! Who asks on the admin plane, and what they may.
//!
//! `identify` looks once at each request and notes the [`Caller`], and the [`Session`] of a browser that logged in. A handler says
//! in its arguments what it needs: [`May`] (REST: tokens and sessions), [`Session`] (pages), [`Posted`] (forms), and for what is
//! dangerous [`MayNow`], [`FreshSession`], [`FreshPosted`], for which the password was typed within the last ten minutes.
//!
//! A request that shows a token is judged by the token alone. A cookie goes with a request that any page made the browser send, and
//! therefore whatever is no GET needs what only our own pages know: the session's CSRF token.

mod caller; // who asks
mod cookie; // where a browser keeps its session
mod gate; // who is let in, and by what
pub mod local; // where a browser is sent next
mod may; // what a handler needs, as an extractor
mod pages; // /login, /logout, /confirm, /setup
mod session; // a browser that logged in, as an extractor
mod sessions; // all of them
#[cfg(test)]
mod tests;
mod tokens; // made and revoked

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, header};

pub(super) use caller::Shown;
pub use caller::{Caller, Credential};
pub use gate::{Gate, LoginError, SessionId};
pub use may::{Admin, Content, May, MayNow, Metrics, Needs, Operate, Read};
pub(super) use pages::routes;
pub(super) use session::is_safe;
pub use session::{CSRF_HEADER, FreshPosted, FreshSession, Posted, Session, Turned};
pub use sessions::Way;

use super::AdminPlane;
use crate::http::listener::Welcome;
use crate::http::problem::Problem;
use crate::http::web::assets;

/// What is answered to everybody on loopback.
const OPEN: [&str; 1] = ["/healthz"];
/// What a browser needs before anybody has logged in.
const LOGIN: &str = "/login";
/// What a browser needs while there is no password; on loopback alone.
const SETUP: &str = "/setup";

/// Notes who asks, and turns away whoever has not shown it, whatever they ask for: nobody learns which paths there are.
pub(super) async fn identify(State(plane): State<AdminPlane>, mut request: Request, next: Next) -> Response {
    let caller = match look(&plane.gate, request.method(), request.headers()).await {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    let Some((caller, session)) = caller else {
        return match stranger(&plane.gate, &request) {
            Ok(None) => next.run(request).await,
            Ok(Some(answer)) => answer,
            Err(problem) => problem.into_response(),
        };
    };
    request.extensions_mut().insert(caller);
    if let Some(session) = session {
        request.extensions_mut().insert(session);
    }
    let mut response = next.run(request).await;
    response.extensions_mut().insert(Welcome);
    response
}

async fn look(gate: &Gate, method: &Method, headers: &HeaderMap) -> Result<Option<(Caller, Option<Session>)>, Problem> {
    if headers.contains_key(header::AUTHORIZATION) {
        return Ok(gate.by_token(headers).await?.map(|caller| (caller, None)));
    }
    if !session::is_safe(method) && is_foreign(headers) {
        return Err(Problem::cross_site());
    }
    let Some(id) = cookie::shown(headers) else { return Ok(None) };
    Ok(gate.session(id)?.map(|session| (session.caller(), Some(session))))
}

/// What a stranger is answered; `None`: what the path says.
fn stranger(gate: &Gate, request: &Request) -> Result<Option<Response>, Problem> {
    let (path, here) = (request.uri().path(), gate.way() == Way::Loopback);
    // A token that is not good is not answered with a page.
    let by_token = request.headers().contains_key(header::AUTHORIZATION);
    if here && OPEN.contains(&path) {
        return Ok(None);
    }
    let has_password = gate.has_password()?;
    if !by_token && (here || has_password) {
        if path == LOGIN || path.starts_with(assets::PREFIX) || (here && path == SETUP) {
            return Ok(None);
        }
        if wants_page(request) {
            let next = if has_password {
                Turned::login(request.method(), request.uri()).into_response()
            } else {
                local::see_other(SETUP)
            };
            return Ok(Some(next));
        }
    }
    Err(Problem::no_token())
}

/// Whether a browser asks for a page, and no program for an answer.
fn wants_page(request: &Request) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.contains("text/html") && !request.uri().path().starts_with("/admin/")
}

/// Whether another site's page made a browser send this. Browsers that say neither are judged by the CSRF token alone; with
/// `Referrer-Policy: no-referrer` they say `Origin: null` of our own forms, too.
fn is_foreign(headers: &HeaderMap) -> bool {
    let of = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if of("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return true;
    }
    let host = of("host").unwrap_or_default();
    of("origin").is_some_and(|origin| origin != "null" && origin.strip_prefix("http://") != Some(host))
}

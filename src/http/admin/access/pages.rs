//! `/login`, `/logout`, `/confirm`, `/setup` and `/settings/password`: what they do. How they look: [`crate::http::web::login`].

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde::Deserialize;

use super::gate::LoginError;
use super::local::{local_path, see_other};
use super::session::{form_bytes, parse};
use super::{FreshPosted, FreshSession, Gate, Posted, Session, SessionId, Turned, Way, cookie};
use crate::http::admin::AdminPlane;
use crate::http::problem::Problem;
use crate::http::web::login::{self, Said};

/// The pages for which nobody need have logged in, and those that end or renew it.
pub fn routes() -> Router<AdminPlane> {
    Router::new()
        .route("/login", get(get_login).post(post_login))
        .route("/logout", post(post_logout))
        .route("/confirm", get(get_confirm).post(post_confirm))
        .route("/setup", get(get_setup).post(post_setup))
        .route("/settings/password", get(get_password).post(post_password))
        .route("/settings/logout-everywhere", post(post_logout_everywhere))
}

#[derive(Debug, Default, Deserialize)]
struct Asked {
    next: Option<String>,
    code: Option<String>,
}

/// What a form of these pages has.
#[derive(Deserialize)]
struct Typed {
    #[serde(default)]
    password: String,
    #[serde(default)]
    again: String,
    #[serde(default)]
    code: String,
    next: Option<String>,
}

fn asked(uri: &Uri) -> Asked {
    Query::<Asked>::try_from_uri(uri).map(|Query(asked)| asked).unwrap_or_default()
}

fn next(next: Option<&str>) -> &str {
    next.and_then(local_path).unwrap_or("/")
}

async fn get_login(State(plane): State<AdminPlane>, session: Option<axum::Extension<Session>>, uri: Uri) -> Response {
    let asked = asked(&uri);
    let next = next(asked.next.as_deref());
    let shown = || -> Result<Response, Problem> {
        Ok(match plane.gate.has_password()? {
            _ if session.is_some() => see_other(next),
            true => login::login_page(next, plane.gate.asks_for_code()?, None).into_response(),
            false => see_other("/setup"),
        })
    };
    shown().unwrap_or_else(IntoResponse::into_response)
}

async fn post_login(State(plane): State<AdminPlane>, request: Request) -> Response {
    let headers = request.headers().clone();
    let typed: Result<Typed, Problem> = async { parse(&form_bytes(request, &()).await?) }.await;
    let typed = match typed {
        Ok(typed) => typed,
        Err(problem) => return problem.into_response(),
    };
    let next = next(typed.next.as_deref());
    match plane.gate.login(typed.password, typed.code).await {
        Ok(id) => {
            // A session that the browser had before is over.
            if let Some(Ok(Some(session))) = cookie::shown(&headers).map(|id| plane.gate.session(id)) {
                plane.gate.logout(&session);
            }
            let_in(&headers, &id, next)
        }
        Err(error) => {
            let asks = plane.gate.asks_for_code().unwrap_or(false);
            refused(error, |said| login::login_page(next, asks, Some(said)).into_response())
        }
    }
}

async fn post_logout(State(plane): State<AdminPlane>, headers: HeaderMap, posted: Posted<Typed>) -> Response {
    plane.gate.logout(&posted.session);
    let mut answer = see_other("/login");
    answer.headers_mut().insert(header::SET_COOKIE, cookie::forget(&headers));
    answer
}

async fn post_logout_everywhere(State(plane): State<AdminPlane>, headers: HeaderMap, _: Posted<Typed>) -> Response {
    plane.gate.logout_everywhere().await;
    let mut answer = see_other("/login");
    answer.headers_mut().insert(header::SET_COOKIE, cookie::forget(&headers));
    answer
}

async fn get_password(FreshSession(session): FreshSession) -> Response {
    login::password_page(session.csrf(), None).into_response()
}

async fn post_password(State(plane): State<AdminPlane>, headers: HeaderMap, posted: FreshPosted<Typed>) -> Response {
    let FreshPosted { session, form } = posted;
    let page = |said| login::password_page(session.csrf(), Some(said)).into_response();
    if form.password != form.again {
        return with_status(StatusCode::UNPROCESSABLE_ENTITY, page(Said::NotTheSame));
    }
    match plane.gate.change_password(form.password).await {
        Ok(id) => let_in(&headers, &id, "/settings?done=password"),
        Err(error) => refused(error, page),
    }
}

async fn get_confirm(State(plane): State<AdminPlane>, session: Session, uri: Uri) -> Result<Response, Turned> {
    let asked = asked(&uri);
    let next = next(asked.next.as_deref());
    Ok(login::confirm_page(session.csrf(), next, plane.gate.asks_for_code()?, None).into_response())
}

async fn post_confirm(State(plane): State<AdminPlane>, posted: Posted<Typed>) -> Response {
    let Posted { session, form } = posted;
    let next = next(form.next.as_deref());
    match plane.gate.confirm(&session, form.password, form.code).await {
        Ok(()) => see_other(next),
        Err(error) => {
            let asks = plane.gate.asks_for_code().unwrap_or(false);
            refused(error, |said| login::confirm_page(session.csrf(), next, asks, Some(said)).into_response())
        }
    }
}

async fn get_setup(State(plane): State<AdminPlane>, uri: Uri) -> Response {
    match can_set_up(&plane.gate) {
        Ok(true) => login::setup_page(asked(&uri).code.as_deref().unwrap_or_default(), None).into_response(),
        Ok(false) => see_other("/login"),
        Err(problem) => problem.into_response(),
    }
}

async fn post_setup(State(plane): State<AdminPlane>, request: Request) -> Response {
    let headers = request.headers().clone();
    let typed: Result<Typed, Problem> = async {
        if !can_set_up(&plane.gate)? {
            return Err(Problem::not_found());
        }
        parse(&form_bytes(request, &()).await?)
    }
    .await;
    let typed = match typed {
        Ok(typed) => typed,
        Err(problem) => return problem.into_response(),
    };
    let page = |said| login::setup_page(&typed.code, Some(said)).into_response();
    if typed.password != typed.again {
        return with_status(StatusCode::UNPROCESSABLE_ENTITY, page(Said::NotTheSame));
    }
    match plane.gate.set_up(&typed.code, typed.password.clone()).await {
        Ok(id) => let_in(&headers, &id, "/"),
        Err(error) => refused(error, page),
    }
}

/// Whether there is a first set-up here: not over Tor, and not twice.
fn can_set_up(gate: &Gate) -> Result<bool, Problem> {
    Ok(gate.way() == Way::Loopback && !gate.has_password()?)
}

fn let_in(headers: &HeaderMap, id: &SessionId, next: &str) -> Response {
    let mut answer = see_other(next);
    answer.headers_mut().insert(header::SET_COOKIE, cookie::keep(headers, id));
    answer
}

/// The page again, with what was wrong.
pub(super) fn refused(error: LoginError, page: impl FnOnce(Said) -> Response) -> Response {
    match error {
        LoginError::Wrong => with_status(StatusCode::UNAUTHORIZED, page(Said::Wrong)),
        LoginError::WrongSetup => with_status(StatusCode::UNAUTHORIZED, page(Said::WrongSetup)),
        LoginError::NotTaken(error) => with_status(StatusCode::UNPROCESSABLE_ENTITY, page(Said::NotTaken(error))),
        LoginError::Wait(wait) => {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let mut answer = with_status(StatusCode::TOO_MANY_REQUESTS, page(Said::Wait { seconds }));
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            answer
        }
        LoginError::NoPassword => see_other("/setup"),
        LoginError::PasswordThere => see_other("/login"),
        LoginError::Failed(problem) => problem.into_response(),
    }
}

pub(super) fn with_status(status: StatusCode, mut answer: Response) -> Response {
    *answer.status_mut() = status;
    answer
}

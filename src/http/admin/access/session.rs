//! A browser that logged in, as extractors for pages.
//!
//! A page that shows something takes [`Session`]; one that shows something dangerous, [`FreshSession`]. A form's handler takes
//! [`Posted`] or [`FreshPosted`], which check the hidden field `csrf`. Where the password has to be typed first, the form waits, and
//! goes on as it was filled in.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, Uri, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use subtle::ConstantTimeEq;

use super::Caller;
use super::local::{local_path, query_value, see_other};
use super::pages::{refused, with_status};
use super::sessions::Key;
use crate::http::admin::AdminPlane;
use crate::http::problem::Problem;
use crate::http::web::login::{self, Waiting};

/// The header that shows that a page of ours sent a request.
pub const CSRF_HEADER: &str = "x-csrf-token";

/// A browser that logged in.
#[derive(Debug, Clone)]
pub struct Session {
    key: Key,
    csrf: Arc<str>,
    fresh: bool,
}

impl Session {
    pub(super) fn new(key: Key, csrf: Arc<str>, fresh: bool) -> Self {
        Self { key, csrf, fresh }
    }

    pub(super) fn key(&self) -> Key {
        self.key
    }

    /// What goes into the hidden field `csrf` of each form, and into the header `x-csrf-token` of a script's requests.
    pub fn csrf(&self) -> &str {
        &self.csrf
    }

    /// Who that is, for what is done and recorded.
    pub fn caller(&self) -> Caller {
        Caller::of_session(self.key)
    }

    /// Whether the password was typed within the last ten minutes.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    fn is_shown(&self, shown: &[u8]) -> bool {
        self.csrf.as_bytes().ct_eq(shown).into()
    }

    /// Refuses what may change something and lacks the header.
    pub(in crate::http::admin) fn check_header(&self, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
        let shown = headers.get(CSRF_HEADER).is_some_and(|shown| self.is_shown(shown.as_bytes()));
        if shown || is_safe(method) { Ok(()) } else { Err(Problem::no_csrf()) }
    }
}

/// Whether a request of this method changes nothing.
pub(in crate::http::admin) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Instead of the page: another one that comes first, or why not.
#[derive(Debug)]
pub enum Turned {
    /// Nobody is logged in; afterwards it goes on there.
    Login(String),
    /// The password is to be typed again; afterwards it goes on there.
    Confirm(String),
    /// The password is to be typed again on this page, and the form that was sent waits.
    Asked(Response),
    /// The form does not wait any more: it is filled in once more on that page.
    Gone(String),
    /// It is refused.
    Refused(Problem),
}

impl From<Problem> for Turned {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

impl Turned {
    pub(super) fn login(method: &Method, uri: &Uri) -> Self {
        Self::Login(here(method, uri))
    }
}

impl IntoResponse for Turned {
    fn into_response(self) -> Response {
        match self {
            Self::Login(next) => see_other(&format!("/login?next={}", query_value(&next))),
            Self::Confirm(next) => see_other(&format!("/confirm?next={}", query_value(&next))),
            Self::Asked(page) => page,
            Self::Gone(back) => see_other(&back),
            Self::Refused(problem) => problem.into_response(),
        }
    }
}

/// The page that was asked for; what was sent by a form is lost, so that it goes on at the beginning.
fn here(method: &Method, uri: &Uri) -> String {
    match uri.path_and_query() {
        Some(path) if is_safe(method) => path.as_str().to_owned(),
        _ => "/".to_owned(),
    }
}

impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = Turned;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Turned> {
        let session = parts.extensions.get::<Session>().cloned();
        let session = session.ok_or_else(|| Turned::login(&parts.method, &parts.uri))?;
        session.check_header(&parts.method, &parts.headers)?;
        Ok(session)
    }
}

/// A browser whose user has typed the password within the last ten minutes.
#[derive(Debug, Clone)]
pub struct FreshSession(pub Session);

impl<S: Sync> FromRequestParts<S> for FreshSession {
    type Rejection = Turned;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Turned> {
        let session = Session::from_request_parts(parts, state).await?;
        if session.fresh { Ok(Self(session)) } else { Err(Turned::Confirm(here(&parts.method, &parts.uri))) }
    }
}

/// A form that a page of ours sent: its field `csrf` was right. A list comes as a field that is there several times.
#[derive(Debug)]
pub struct Posted<T> {
    /// Who sent it.
    pub session: Session,
    /// What was in it.
    pub form: T,
}

/// The same, for what is dangerous. When the password has to be typed first, the form waits with the session, and goes on when the page that
/// asks for the password is sent. The field `back` is the path of the form's own page.
#[derive(Debug)]
pub struct FreshPosted<T> {
    /// Who sent it.
    pub session: Session,
    /// What was in it.
    pub form: T,
}

#[derive(Deserialize)]
struct Hidden {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    back: Option<String>,
}

/// What comes from the page that asked for the password.
#[derive(Deserialize)]
struct Again {
    #[serde(rename = "again-ticket")]
    ticket: String,
    #[serde(default, rename = "again-password")]
    password: String,
    #[serde(default, rename = "again-code")]
    code: String,
}

/// Who sent a form, and the form as it came.
async fn posted<S: Send + Sync>(request: Request, state: &S) -> Result<(Session, Bytes, Hidden), Turned> {
    let session = request.extensions().get::<Session>().cloned();
    let session = session.ok_or_else(|| Turned::login(request.method(), request.uri()))?;
    let body = form_bytes(request, state).await?;
    let hidden: Hidden = parse(&body)?;
    if !session.is_shown(hidden.csrf.as_bytes()) {
        return Err(Problem::no_csrf().into());
    }
    Ok((session, body, hidden))
}

/// The bytes of a form.
pub(super) async fn form_bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().map(str::trim) != Some("application/x-www-form-urlencoded") {
        return Err(Problem::malformed("a form is expected (application/x-www-form-urlencoded)"));
    }
    Bytes::from_request(request, state).await.map_err(|_| Problem::too_large())
}

/// Reads a form.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_html_form::from_bytes(body).map_err(|error| Problem::malformed(format!("the form cannot be read: {error}")))
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Posted<T> {
    type Rejection = Turned;

    async fn from_request(request: Request, state: &S) -> Result<Self, Turned> {
        let (session, body, _) = posted(request, state).await?;
        Ok(Self { session, form: parse(&body)? })
    }
}

impl<T: DeserializeOwned> FromRequest<AdminPlane> for FreshPosted<T> {
    type Rejection = Turned;

    async fn from_request(request: Request, plane: &AdminPlane) -> Result<Self, Turned> {
        let action = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let (session, body, hidden) = posted(request, plane).await?;
        let back = hidden.back.as_deref().and_then(local_path).unwrap_or("/");
        let (gate, key) = (plane.gate(), session.key());
        let page = |ticket: &str, said| -> Result<Response, Problem> {
            let waiting = Waiting { action: &action, csrf: session.csrf(), ticket, back };
            Ok(login::again_page(&waiting, gate.asks_for_code()?, said).into_response())
        };
        let Ok(again) = parse::<Again>(&body) else {
            if session.fresh {
                return Ok(Self { session, form: parse(&body)? });
            }
            let Some(ticket) = gate.sessions().keep_waiting(&key, &action, &body) else {
                return Err(Turned::Login(back.to_owned()));
            };
            return Err(Turned::Asked(with_status(StatusCode::FORBIDDEN, page(&ticket, None)?)));
        };
        // The server started again meanwhile, or another form was sent.
        if !gate.sessions().is_waiting(&key, &action, &again.ticket) {
            return Err(Turned::Gone(back.to_owned()));
        }
        if !session.fresh
            && let Err(error) = gate.confirm(&session, again.password, again.code).await
        {
            let shown = page(&again.ticket, None)?;
            return Err(Turned::Asked(refused(error, |said| page(&again.ticket, Some(said)).unwrap_or(shown))));
        }
        let form = gate.sessions().take_waiting(&key, &action, &again.ticket);
        let form = form.ok_or_else(|| Turned::Gone(back.to_owned()))?;
        Ok(Self { form: parse(&form)?, session: Session { fresh: true, ..session } })
    }
}

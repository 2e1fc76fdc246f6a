//! What went wrong, as a problem document (RFC 9457): a stable code for programs, a sentence for people. Nothing of the cause.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;

use crate::domain::access::Scope;
use crate::domain::wire::messages::{MAX_IDS, MAX_REQUEST_BYTES, ProblemDocument};
use crate::monitor::with_causes;
use crate::replicate::allowance::Refusal;

/// The content type of a problem document.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: Option<Box<str>>,
    now: Option<Timestamp>,
    retry_after_seconds: Option<u32>,
    /// The length of what a range lies outside of.
    whole_bytes: Option<u64>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, title: &'static str) -> Self {
        Self { status, code, title, detail: None, now: None, retry_after_seconds: None, whole_bytes: None }
    }

    /// Everything that is wrong with a caller, alike for all (R12): not signed, unknown, not let in, revoked, replayed.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "the request is not signed by a trusted peer")
    }

    /// A caller whose clock is wrong; told to who holds the right key only.
    pub fn clock_skew(now: Timestamp) -> Self {
        let problem = Self::new(StatusCode::UNAUTHORIZED, "clock-skew", "the two clocks are too far apart");
        Self { now: Some(now), ..problem }
    }

    /// What does not exist, or may not be seen (R12).
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "there is no such thing here")
    }

    /// There is something, of which this cannot be asked: the header `Allow` says what can.
    pub fn not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "there is no such method here")
    }

    /// A body or a query that cannot be read.
    pub fn malformed(detail: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::BAD_REQUEST, "malformed", "the request cannot be read");
        Self { detail: Some(detail.into().into()), ..problem }
    }

    /// More ids than one call may have.
    pub fn too_many_ids() -> Self {
        let problem = Self::new(StatusCode::BAD_REQUEST, "too-many-ids", "the request names too many ids");
        Self { detail: Some(format!("at most {MAX_IDS} in one request").into()), ..problem }
    }

    /// A peer that asks for a challenge again too soon.
    pub fn challenged_already(wait: Duration) -> Self {
        let title = "a challenge was given a moment ago, or too many are open";
        let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).max(1);
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "challenged-already", title);
        Self { retry_after_seconds: Some(seconds), ..problem }
    }

    /// A longer body than any request has.
    pub fn too_large() -> Self {
        let problem = Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "the request's body is too long");
        Self { detail: Some(format!("at most {MAX_REQUEST_BYTES} bytes").into()), ..problem }
    }

    /// A longer body than this route takes.
    pub fn too_large_for(most_bytes: usize) -> Self {
        Self { detail: Some(format!("at most {most_bytes} bytes").into()), ..Self::too_large() }
    }

    /// A body that does not come.
    pub fn too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "too-slow", "the request's body did not arrive in time")
    }

    /// A range that lies outside.
    pub fn range_not_satisfiable(size_bytes: u64) -> Self {
        let problem = Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "range", "the range lies outside of the chunk");
        Self { whole_bytes: Some(size_bytes), ..problem }
    }

    /// More requests at once than one peer may have.
    pub fn too_many_requests() -> Self {
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "too many requests at once");
        Self { retry_after_seconds: Some(1), ..problem }
    }

    /// A peer that is sent no chunks now.
    pub fn no_chunks_now(refusal: Refusal) -> Self {
        let (problem, wait) = match refusal {
            Refusal::QuotaUsedUp(wait) => {
                let title = "this month's quota of chunks is used up";
                (Self::new(StatusCode::TOO_MANY_REQUESTS, "quota-used-up", title), wait)
            }
            Refusal::OutsideHours(wait) => {
                let title = "chunks are sent at another time of the day";
                (Self::new(StatusCode::SERVICE_UNAVAILABLE, "outside-hours", title), wait)
            }
        };
        let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).max(1);
        Self { retry_after_seconds: Some(seconds), ..problem }
    }

    /// An invite that is not good, whatever the reason.
    pub fn invite_refused() -> Self {
        let title = "the invite is not good: it was used, it has expired, or there is none. Ask for a new one";
        Self::new(StatusCode::FORBIDDEN, "invite-refused", title)
    }

    /// No more room for instances that wait for a decision.
    pub fn too_many_pending() -> Self {
        let title = "too many instances are waiting to be let in: ask the admin for an invite";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-pending", title)
    }

    /// A request to the admin plane without its token.
    pub fn no_token() -> Self {
        let problem = Self::new(StatusCode::UNAUTHORIZED, "no-token", "the request does not show a token that is good");
        let detail =
            "'bulbil token create' makes one; that of this machine's owner stands in keys/admin-token of the home";
        Self { detail: Some(detail.into()), ..problem }
    }

    /// A request to the admin plane of somebody who may not do this.
    pub fn wrong_scope(needed: Scope) -> Self {
        let problem = Self::new(StatusCode::FORBIDDEN, "wrong-scope", "the token is not good for this");
        Self { detail: Some(format!("it needs the scope {needed}").into()), ..problem }
    }

    /// A request by cookie that changes something, without what shows that our own pages sent it.
    pub fn no_csrf() -> Self {
        let title = "the request does not show that it comes from this server's own pages";
        let problem = Self::new(StatusCode::FORBIDDEN, "no-csrf", title);
        Self { detail: Some("load the page again and send it once more".into()), ..problem }
    }

    /// A request that another site's page made a browser send.
    pub fn cross_site() -> Self {
        Self::new(StatusCode::FORBIDDEN, "cross-site", "the request comes from another site's page")
    }

    /// Something dangerous, by somebody who logged in a while ago.
    pub fn confirm_first() -> Self {
        let problem =
            Self::new(StatusCode::FORBIDDEN, "confirm-first", "this needs a password that was typed just now");
        Self { detail: Some("type it again at /confirm, then send the request once more".into()), ..problem }
    }

    /// A request to the admin plane that was meant for another name.
    pub fn not_loopback() -> Self {
        let title = "the admin plane answers to loopback addresses and 'localhost' only";
        Self::new(StatusCode::FORBIDDEN, "not-loopback", title)
    }

    /// Something that somebody named and that is not there; who asks may know what is.
    pub fn no_such(detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into().into()), ..Self::not_found() }
    }

    /// A body that can be read and makes no sense.
    pub fn invalid(detail: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "the request cannot be carried out");
        Self { detail: Some(detail.into().into()), ..problem }
    }

    /// A body of another kind.
    pub fn not_json() -> Self {
        let title = "the request's body is no JSON: say 'Content-Type: application/json'";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", title)
    }

    /// Something else has to end, or to change, first.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::CONFLICT, code, "not as things are now");
        Self { detail: Some(detail.into().into()), ..problem }
    }

    /// Another instance that does not answer, or not as it should.
    pub fn peer_failed(detail: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::BAD_GATEWAY, "peer-failed", "the other instance could not be talked to");
        Self { detail: Some(detail.into().into()), ..problem }
    }

    /// Settings that somebody else changed meanwhile.
    pub fn stale() -> Self {
        let title = "it was changed meanwhile: get it again, and look";
        Self::new(StatusCode::PRECONDITION_FAILED, "stale", title)
    }

    /// Something that is needed does not work.
    pub fn not_ready(what: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", what)
    }

    /// Chunks or manifests cannot be read or stored, and why not.
    pub fn no_storage(why: String) -> Self {
        Self { detail: Some(why.into_boxed_str()), ..Self::not_ready("the repository's disk is not there") }
    }

    /// Peers cannot come in, and why not.
    pub fn not_open(why: Option<String>) -> Self {
        Self { detail: why.map(String::into_boxed_str), ..Self::not_ready("peers cannot come in") }
    }

    /// Our own fault. The cause goes to the log, here, and nowhere else.
    pub fn internal(cause: &dyn std::error::Error) -> Self {
        tracing::error!(cause = with_causes(cause), "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "something failed here; its admin finds it in the log")
    }

    /// The status code.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What is wrong, in words: the title, and what is known beyond it.
    pub fn sentence(&self) -> String {
        match &self.detail {
            Some(detail) => format!("{}: {detail}", self.title),
            None => self.title.to_owned(),
        }
    }

    /// What is known of this one case; the title, if that is nothing.
    pub fn reason(&self) -> &str {
        self.detail.as_deref().unwrap_or(self.title)
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.code
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (challenges, known) = (self.code == "no-token", self.clone());
        let document = ProblemDocument {
            kind: format!("urn:bulbil:problem:{}", self.code),
            title: self.title.to_owned(),
            status: self.status.as_u16(),
            code: self.code.to_owned(),
            detail: self.detail.map(String::from),
            now: self.now,
            retry_after_seconds: self.retry_after_seconds,
        };
        let body = serde_json::to_vec(&document).expect("a problem has no maps with odd keys");
        let mut response = (self.status, [(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if challenges {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(range) = self.whole_bytes.and_then(|size| HeaderValue::try_from(format!("bytes */{size}")).ok()) {
            headers.insert(header::CONTENT_RANGE, range);
        }
        // Whoever shows it in another form finds it here.
        response.extensions_mut().insert(known);
        response
    }
}

impl From<crate::store::IndexError> for Problem {
    fn from(error: crate::store::IndexError) -> Self {
        Self::internal(&error)
    }
}

impl From<crate::store::StoreError> for Problem {
    fn from(error: crate::store::StoreError) -> Self {
        match &error {
            crate::store::StoreError::Busy { .. } => Self::conflict("busy", error.to_string()),
            _ => Self::internal(&error),
        }
    }
}

impl From<crate::backup::select::SelectError> for Problem {
    fn from(error: crate::backup::select::SelectError) -> Self {
        use crate::backup::select::SelectError;
        match error {
            SelectError::Index(error) => Self::internal(&error),
            SelectError::Ambiguous(_) | SelectError::NoPath(_) | SelectError::OtherCollection { .. } => {
                Self::invalid(error.to_string())
            }
            _ => Self::no_such(error.to_string()),
        }
    }
}

//! Bodies as a real instance writes them.

use crate::monitor::with_causes;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

/// A JSON text with a status.
pub(super) fn json(status: StatusCode, body: impl Into<axum::body::Body>) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.into()).into_response()
}

/// Everything that is wrong with a caller, alike for all.
pub(super) fn unauthorized() -> Response {
    let body = r#"{"detail":"Authentication credentials were not provided."}"#;
    let mut answer = json(StatusCode::UNAUTHORIZED, body);
    answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(r#"Bearer realm="api""#));
    answer
}

/// More requests at once than one guest may have.
pub(super) fn too_many() -> Response {
    let mut answer = json(StatusCode::TOO_MANY_REQUESTS, r#"{"detail":"Request was throttled."}"#);
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

/// Our own fault. The cause goes to the log, here, and nowhere else.
pub(super) fn failed(cause: &dyn std::error::Error, body: &'static str) -> Response {
    tracing::error!(cause = with_causes(cause), "a request of an Axon instance failed");
    json(StatusCode::INTERNAL_SERVER_ERROR, body)
}

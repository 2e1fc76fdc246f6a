//! Each request has an id: it is in the answer (`x-request-id`), and in every line of the log that is written for it.
//!
//! The span holds the route's template, not the path: there is no query, no name and no address in it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use hyper::body::{Frame, SizeHint};
use tracing::{Instrument, Span};

use super::traffic::{Asked, Plane, Traffic};
use crate::store::entropy;

/// The header with the id of a request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A longer id of a caller is not used.
const MAX_ID_BYTES: usize = 64;

/// Gives each request of a plane an id and a span, and counts its answer.
pub fn traced(router: Router, plane: Plane, traffic: Traffic) -> Router {
    router.layer(from_fn(move |request: Request, next: Next| trace(plane, traffic.clone(), request, next)))
}

async fn trace(plane: Plane, traffic: Traffic, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = match plane {
        Plane::Admin => given(request.headers()).unwrap_or_else(drawn),
        // A peer does not say what is written into the log here.
        Plane::Peer => drawn(),
    };
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let asked = Asked::new(plane, request.method(), route);
    // An error's span is there whatever the log is told to show.
    let span = tracing::error_span!(
        "request",
        request.id = id.to_str().unwrap_or_default(),
        plane = plane.word(),
        method = asked.method,
        route = asked.route
    );
    let mut response = next.run(request).instrument(span.clone()).await;
    let (status, took) = (response.status(), started.elapsed());
    span.in_scope(|| tracing::info!(status = status.as_u16(), took_ms = took.as_millis() as u64, "answered"));
    traffic.note(asked, status, took);
    response.headers_mut().insert(REQUEST_ID, id);
    response.map(|body| Body::new(InSpan { body, span }))
}

/// The id that a caller gave, if it is one that can stand in a log.
fn given(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = headers.get(REQUEST_ID)?;
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    ((1..=MAX_ID_BYTES).contains(&id.len()) && id.as_bytes().iter().all(is_plain)).then(|| id.clone())
}

fn drawn() -> HeaderValue {
    let mut bytes = [0u8; 16];
    rand_core::Rng::fill_bytes(&mut entropy(), &mut bytes);
    HeaderValue::from_str(&data_encoding::HEXLOWER.encode(&bytes)).expect("hex digits can stand in a header")
}

/// A body whose lines in the log belong to its request, too.
struct InSpan {
    body: Body,
    span: Span,
}

impl hyper::body::Body for InSpan {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let _entered = this.span.enter();
        Pin::new(&mut this.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tower::ServiceExt;

    async fn id_of(plane: Plane, given: Option<&str>) -> String {
        let router = traced(Router::new().route("/a/{id}", get(async || "well")), plane, Traffic::default());
        let mut request = Request::builder().uri("/a/1?secret=2");
        if let Some(given) = given {
            request = request.header(REQUEST_ID, given);
        }
        let answer = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        answer.headers()[REQUEST_ID].to_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn a_sane_id_of_an_admins_request_is_kept_and_every_other_one_replaced() {
        assert_eq!(id_of(Plane::Admin, Some("deploy-7.a_B")).await, "deploy-7.a_B");
        let long = "a".repeat(65);
        for given in [None, Some(""), Some("two words"), Some("a\"b"), Some(long.as_str())] {
            let id = id_of(Plane::Admin, given).await;
            assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{given:?}: {id}");
        }
        assert_ne!(id_of(Plane::Peer, Some("deploy-7")).await, "deploy-7");
        assert_ne!(id_of(Plane::Peer, None).await, id_of(Plane::Peer, None).await);
    }

    #[tokio::test]
    async fn answers_are_counted_by_route_and_status_and_strangers_make_no_lines() {
        let traffic = Traffic::default();
        let router = traced(Router::new().route("/a/{id}", get(async || "well")), Plane::Peer, traffic.clone());
        for (method, path) in [("GET", "/a/1"), ("GET", "/a/2?x"), ("GET", "/b"), ("GET", "/c"), ("BREW", "/a/1")] {
            let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            let body = router.clone().oneshot(request).await.unwrap().into_body();
            assert!(hyper::body::Body::size_hint(&body).exact().is_some(), "the length is still said");
        }
        let counted = traffic.until_now();
        let lines: Vec<(&str, &str, u16, u64)> = counted
            .iter()
            .flat_map(|(asked, answered)| {
                answered.by_status.iter().map(|(status, n)| (asked.method, asked.route.as_str(), *status, *n))
            })
            .collect();
        assert_eq!(lines, [("GET", "/a/{id}", 200, 2), ("GET", "none", 404, 2), ("other", "/a/{id}", 405, 1)]);
        assert!(counted.values().all(|answered| answered.classes.iter().sum::<u64>() == answered.number));
    }
}

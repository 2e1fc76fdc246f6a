//! A POST that is repeated with the same `Idempotency-Key` is done once: the answer is given again.
//!
//! Keys are known for as long as the server runs, the last thousand of them; each token and each session has its own. What was refused
//! or failed is not remembered: the same request may be right later. Nor is an answer that holds a secret, only that it was given.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use lru::LruCache;

use super::body::MAX_BODY_BYTES;
use crate::domain::crypto::hash::{FileHash, FileHasher};
use crate::http::admin::AdminPlane;
use crate::http::admin::access::{Caller, Session, Shown};
use crate::http::problem::Problem;

/// Keys that are remembered.
const KEYS: NonZeroUsize = NonZeroUsize::new(1000).expect("it is not zero");
/// Longest key, in bytes.
const MAX_KEY: usize = 255;
/// Longest answer that is remembered, in bytes: a thousand of them fit into memory. A longer one is given once.
const MAX_ANSWER: u64 = 64 << 10;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Marks an answer that holds a secret: it is given once.
#[derive(Debug, Clone, Copy)]
pub struct Unrepeatable;

/// Requests that were answered. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Answered(Arc<Mutex<LruCache<(Shown, String), Entry>>>);

#[derive(Debug, Clone)]
struct Entry {
    request: FileHash,
    /// Nothing as long as it goes on.
    answer: Option<(StatusCode, HeaderMap, Bytes)>,
}

impl Default for Answered {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(LruCache::new(KEYS))))
    }
}

/// What is known of a key.
enum Known {
    Fresh,
    Same(Box<(StatusCode, HeaderMap, Bytes)>),
    GoesOn,
    Another,
}

impl Answered {
    fn begin(&self, key: &(Shown, String), request: FileHash) -> Known {
        let mut known = self.0.lock().expect("no holder of this lock can panic");
        match known.get(key) {
            Some(entry) if entry.request != request => Known::Another,
            Some(Entry { answer: Some(answer), .. }) => Known::Same(Box::new(answer.clone())),
            Some(_) => Known::GoesOn,
            None => {
                known.put(key.clone(), Entry { request, answer: None });
                Known::Fresh
            }
        }
    }

    fn end(&self, key: &(Shown, String), answer: Option<(StatusCode, HeaderMap, Bytes)>) {
        let mut known = self.0.lock().expect("no holder of this lock can panic");
        match answer {
            Some(answer) => {
                if let Some(entry) = known.get_mut(key) {
                    entry.answer = Some(answer);
                }
            }
            None => {
                known.pop(key);
            }
        }
    }
}

/// The key is free again if the request is dropped in the middle.
struct Open<'a> {
    answered: &'a Answered,
    key: (Shown, String),
    answer: Option<(StatusCode, HeaderMap, Bytes)>,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.answered.end(&self.key, self.answer.take());
    }
}

/// Does a POST with a key once.
pub async fn once(State(plane): State<AdminPlane>, request: Request, next: Next) -> Response {
    let key = match request.headers().get(&KEY) {
        Some(key) if request.method() == Method::POST => key.to_str().map(str::to_owned),
        _ => return next.run(request).await,
    };
    let Some(key) = key.ok().filter(|key| !key.is_empty() && key.len() <= MAX_KEY) else {
        return Problem::malformed(format!("an Idempotency-Key is text of 1 to {MAX_KEY} characters")).into_response();
    };
    // Without a caller there is no answer that could be repeated.
    let Some(caller) = request.extensions().get::<Caller>().map(|caller| caller.shown) else {
        return next.run(request).await;
    };
    let session = request.extensions().get::<Session>().cloned();
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        return Problem::too_large_for(MAX_BODY_BYTES).into_response();
    };
    let mut hasher = FileHasher::default();
    hasher.update(head.uri.path_and_query().map_or("/", |path| path.as_str()).as_bytes());
    hasher.update(b"\0");
    hasher.update(&body);
    let answered = plane.answered.clone();
    let key = (caller, key);
    match answered.begin(&key, hasher.finish()) {
        Known::Another => {
            return Problem::invalid("this Idempotency-Key was used for another request").into_response();
        }
        Known::GoesOn => {
            return Problem::conflict("in-progress", "the first request with this Idempotency-Key goes on")
                .into_response();
        }
        Known::Same(answer) => {
            // It was allowed then, to this very token or session; of a session more is asked than to be the same.
            if let Some(session) = session {
                if let Err(problem) = session.check_header(&head.method, &head.headers) {
                    return problem.into_response();
                }
                if !session.is_fresh() {
                    return Problem::confirm_first().into_response();
                }
            }
            let (status, headers, body) = *answer;
            let mut response = (status, headers, body).into_response();
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
            return response;
        }
        Known::Fresh => {}
    }
    let mut open = Open { answered: &answered, key, answer: None };
    let response = next.run(Request::from_parts(head, Body::from(body))).await;
    let (parts, body) = response.into_parts();
    let length = body.size_hint().upper().filter(|length| *length <= MAX_ANSWER);
    let Some(length) = length.and_then(|length| usize::try_from(length).ok()) else {
        return Response::from_parts(parts, body);
    };
    let Ok(body) = to_bytes(body, length).await else {
        return Problem::not_ready("the answer broke off").into_response();
    };
    if parts.extensions.get::<Unrepeatable>().is_some() {
        let done =
            Problem::conflict("done-already", "it was done; what came of it was shown then, and is kept nowhere");
        let (head, body) = done.into_response().into_parts();
        let body = to_bytes(body, MAX_BODY_BYTES).await.unwrap_or_default();
        open.answer = Some((head.status, head.headers, body));
    } else if parts.status.is_success() {
        let kept = [header::CONTENT_TYPE, header::LOCATION, header::ETAG];
        let headers = kept.into_iter().filter_map(|name| Some((name.clone(), parts.headers.get(name)?.clone())));
        open.answer = Some((parts.status, headers.collect(), body.clone()));
    }
    Response::from_parts(parts, Body::from(body))
}

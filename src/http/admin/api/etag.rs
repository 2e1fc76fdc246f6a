//! Whether settings were changed meanwhile: `ETag` and `If-Match` (RFC 9110, 8.8.3 and 13.1.1).

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, header};
use serde::Serialize;

use crate::domain::crypto::hash::FileHash;
use crate::http::problem::Problem;

/// The entity tag of a representation: another one if anything in it is another.
fn tag(value: &impl Serialize) -> String {
    let bytes = serde_json::to_vec(value).expect("a representation has no maps with odd keys");
    let hash = FileHash::of(&bytes).to_string();
    format!("\"{}\"", hash.get(..32).unwrap_or(&hash))
}

/// An answer with its entity tag.
pub fn tagged(value: &impl Serialize) -> Response {
    tagged_by(value, value)
}

/// An answer with the entity tag of what can be changed of it: what changes by itself is in the answer alone.
pub fn tagged_by(value: &impl Serialize, settled: &impl Serialize) -> Response {
    let tag = HeaderValue::try_from(tag(settled)).expect("hex digits in quotes");
    ([(header::ETAG, tag)], Json(value)).into_response()
}

/// Refuses a change that was made to another state than the one that is there. Without `If-Match` the last one wins.
///
/// # Errors
/// [`Problem::stale`].
pub fn unchanged(headers: &HeaderMap, now: &impl Serialize) -> Result<(), Problem> {
    if !headers.contains_key(header::IF_MATCH) {
        return Ok(());
    }
    let tag = tag(now);
    let lines = headers.get_all(header::IF_MATCH).iter().map(|line| line.to_str().unwrap_or_default());
    let fits = lines.flat_map(|line| line.split(',')).map(str::trim).any(|one| one == "*" || one == tag);
    if fits { Ok(()) } else { Err(Problem::stale()) }
}

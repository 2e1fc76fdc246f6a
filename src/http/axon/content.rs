//! `GET /api/bitsync/…`: whether an item can be had, and its chunks.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

use super::{AxonPlane, TrustedAxon, answer, sending};
use crate::domain::id::ContentHash;

const FAILED: &str = r#"{"error":"BitSync service not available"}"#;

/// Whether every chunk of an item of an Axon BBS can be had
#[utoipa::path(
    get,
    path = "/api/bitsync/has_content/{content_hash}/",
    params(("content_hash" = String, Path, description = "SHA-256 of the item's plaintext, 64 hex digits")),
    responses(
        (status = 200, description = "It can; no body"),
        (status = 401, description = "Anything wrong with the caller"),
        (status = 404, description = "Not here, not complete, or not for the caller; no body")
    )
)]
pub(super) async fn get_has_content(
    peer: TrustedAxon,
    State(plane): State<AxonPlane>,
    content_hash: Result<Path<String>, PathRejection>,
) -> Response {
    // What is no text is no hash either.
    let Some(content_hash) = content_hash.ok().and_then(|Path(text)| text.parse::<ContentHash>().ok()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match plane.serve.has(&peer.guest, &content_hash).await {
        Ok(true) => StatusCode::OK.into_response(),
        Ok(false) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => answer::failed(&error, FAILED),
    }
}

/// One chunk of an item of an Axon BBS
#[utoipa::path(
    get,
    path = "/api/bitsync/chunk/{content_hash}/{index}/",
    params(
        ("content_hash" = String, Path, description = "SHA-256 of the item's plaintext, 64 hex digits"),
        ("index" = String, Path, description = "Its place, from 0")
    ),
    responses(
        (status = 200, description = "Its bytes, sealed", content_type = "application/octet-stream"),
        (status = 401, description = "Anything wrong with the caller"),
        (status = 404, description = "Not here, or not for the caller", content_type = "application/json")
    )
)]
pub(super) async fn get_chunk(
    peer: TrustedAxon,
    State(plane): State<AxonPlane>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Response {
    let none = || answer::json(StatusCode::NOT_FOUND, r#"{"detail":"Chunk not found."}"#);
    let Ok(Path((content_hash, index))) = path else { return none() };
    let digits = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
    let (Ok(content_hash), Some(Ok(index))) = (content_hash.parse(), digits.then(|| index.parse::<u32>())) else {
        return none();
    };
    let bytes = match plane.serve.chunk(&peer.guest, &content_hash, index).await {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return none(),
        Err(error) => return answer::failed(&error, FAILED),
    };
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, bytes.len().to_string()),
    ];
    let (serve, guest) = (plane.serve.clone(), peer.guest.clone());
    let given = move || serve.note_fetched(&guest, content_hash, index);
    (headers, Body::from_stream(sending::send(&plane, peer, bytes, None, given))).into_response()
}

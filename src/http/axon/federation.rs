//! The key of this instance, what is new here, and the configuration.

use std::io;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt};
use http::{HeaderValue, StatusCode, Uri, header};
use jiff::Timestamp;

use super::{AxonPlane, TrustedAxon, answer, sending};
use crate::domain::axon::json::{Object, Value};
use crate::domain::axon::moment;

/// Answers up to this length are sent with their length, as real ones are.
const WHOLE_BYTES: usize = 512 << 10;
const SYNC_FAILED: &str = r#"{"error":"Failed to process sync request."}"#;
const CONFIG_FAILED: &str = r#"{"error":"Failed to generate configuration export."}"#;
/// The earliest moment that a real instance can write.
const YEAR_ONE: &str = "0001-01-01T00:00:00Z";

/// The key with which this instance is known to Axon instances
#[utoipa::path(
    get,
    path = "/api/identity/public_key/",
    responses((status = 200, description = "{\"public_key\": PEM}", content_type = "application/json"))
)]
pub(super) async fn get_public_key(State(plane): State<AxonPlane>) -> Response {
    let body = Value::Object(Object::new().with("public_key", plane.serve.public_key().as_str()));
    answer::json(StatusCode::OK, body.to_line())
}

/// What is new since a moment, as an Axon instance tells it
#[utoipa::path(
    get,
    path = "/api/sync/",
    params(("since" = String, Query, description = "ISO 8601; a space counts as '+'")),
    responses(
        (status = 200, description = "Manifests, actions, and the moment of the answer", content_type = "application/json"),
        (status = 400, description = "There is no 'since'", content_type = "application/json"),
        (status = 401, description = "Anything wrong with the caller", content_type = "application/json"),
        (status = 429, description = "Two such answers are on their way to the caller", content_type = "application/json"),
        (status = 500, description = "'since' is no moment, or something failed here", content_type = "application/json")
    )
)]
pub(super) async fn get_sync(peer: TrustedAxon, State(plane): State<AxonPlane>, uri: Uri) -> Response {
    let since = match since(&uri) {
        Some(text) if !text.is_empty() => text,
        _ => return answer::json(StatusCode::BAD_REQUEST, r#"{"error":"'since' timestamp is required."}"#),
    };
    let Some(since) = read(&since) else { return answer::json(StatusCode::INTERNAL_SERVER_ERROR, SYNC_FAILED) };
    let Some(place) = plane.syncs.take(&peer.guest.name) else { return answer::too_many() };
    let now = plane.clock.now();
    let told = match plane.serve.announcements(&peer.guest, since, now).await {
        Ok(told) => told,
        Err(error) => return answer::failed(&error, SYNC_FAILED),
    };
    let mut told = told.boxed();
    let mut first = BytesMut::new();
    let whole = loop {
        match told.next().await {
            Some(Ok(piece)) => first.extend_from_slice(&piece),
            Some(Err(error)) => return answer::failed(&error, SYNC_FAILED),
            None => break true,
        }
        if first.len() > WHOLE_BYTES {
            break false;
        }
    };
    let length = first.len();
    let cut = |error| {
        tracing::error!(%error, "an answer to an Axon instance was cut");
        io::Error::other(error)
    };
    let more = (!whole).then(|| told.map_err(cut).boxed());
    let (serve, guest) = (plane.serve.clone(), peer.guest.clone());
    // The answer keeps the place until its end.
    let taken = move || {
        drop(place);
        serve.taken(&guest, now);
    };
    let body = Body::from_stream(sending::send(&plane, peer, first.freeze(), more, taken));
    let mut response = answer::json(StatusCode::OK, body);
    if whole {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    response
}

/// The configuration of an Axon BBS that may be cloned, without superusers and passwords
#[utoipa::path(
    get,
    path = "/api/federation/export_config/",
    responses(
        (status = 200, description = "A list of rows: model, pk, fields", content_type = "application/json"),
        (status = 401, description = "Anything wrong with the caller", content_type = "application/json"),
        (status = 500, description = "Something failed here", content_type = "application/json")
    )
)]
pub(super) async fn get_config(peer: TrustedAxon, State(plane): State<AxonPlane>) -> Response {
    match plane.serve.config(&peer.guest).await {
        Ok(text) => {
            let text = Bytes::from(text);
            let length = HeaderValue::from(text.len());
            let body = Body::from_stream(sending::send(&plane, peer, text, None, || {}));
            let mut response = answer::json(StatusCode::OK, body);
            response.headers_mut().insert(header::CONTENT_LENGTH, length);
            response
        }
        Err(error) => answer::failed(&error, CONFIG_FAILED),
    }
}

/// The last `since` of a query, decoded; each space in it counts as `+`, which real pullers send as it is.
fn since(uri: &Uri) -> Option<String> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).ok()?;
    let (_, value) = pairs.into_iter().rfind(|(name, _)| name == "since")?;
    Some(value.replace(' ', "+"))
}

/// A moment that a real instance can compare with; whatever stands between its date and its time.
fn read(text: &str) -> Option<Timestamp> {
    let at = match text.split_at_checked(10) {
        Some((date, rest)) if rest.starts_with('+') => moment::parse(&format!("{date}T{}", &rest[1..]))?,
        _ => moment::parse(text)?,
    };
    (at >= YEAR_ONE.parse().expect("it is a moment")).then_some(at)
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn the_moment_in_a_query_is_read_as_a_real_instance_reads_it() {
        let uri = |query: &str| format!("/api/sync/?{query}").parse().unwrap();
        let at = |query: &str| since(&uri(query)).as_deref().and_then(read);
        let expected = moment::parse("2026-11-21T20:47:37.062414+00:00");
        for query in [
            "since=2026-11-21T20:47:37.062414+00:00",
            "since=2026-11-21T20:47:37.062414%2B00:00",
            "since=2026-11-21T20%3A47%3A37.062414%2B00%3A00",
            "since=2026-11-21T20:47:37.062414%2000:00",
            "since=2026-11-21%2020:47:37.062414",
            "since=2026-11-21+20:47:37.062414Z",
            "since=x&a=b&since=2026-11-21T22:47:37.062414+02:00",
        ] {
            assert_eq!(at(query), expected, "{query}");
        }
        assert_eq!(at("since=0001-01-01T00:00:00+00:00"), YEAR_ONE.parse().ok());
        assert_eq!(at("since=0001-01-01T00:00:00+01:00"), None);
        assert_eq!(at("since=abc"), None);
        assert_eq!((since(&uri("")), since(&uri("sinc=1"))), (None, None));
    }
}

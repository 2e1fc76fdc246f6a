//! Chunks and segments: one by name, or many in one stream. They are checked by their names, so these answers are not signed.

use std::io;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::extract::{PeerJson, bounded};
use super::guard::SelfChecking;
use super::sending::{self, Piece};
use super::{PeerPlane, TrustedPeer, range};
use crate::domain::id::ChunkId;
use crate::domain::wire::frame::{self, FrameEncoder};
use crate::domain::wire::messages::{ChunksRequest, ProblemDocument};
use crate::http::problem::Problem;

/// Chunks that are read ahead while one is sent.
const READ_AHEAD: usize = 2;

/// One chunk or segment
#[utoipa::path(
    get,
    path = "/peer/v1/chunks/{id}",
    params(("id" = String, Path, description = "SHA-256 of the chunk, 64 hex digits")),
    responses(
        (status = 200, description = "Its bytes", content_type = "application/octet-stream"),
        (status = 206, description = "The range that was asked for", content_type = "application/octet-stream"),
        (status = 304, description = "The caller has it"),
        (status = 401, description = "Anything wrong with the caller", body = ProblemDocument),
        (status = 404, description = "Not here, or not for the caller", body = ProblemDocument),
        (status = 416, description = "The range lies outside", body = ProblemDocument),
        (status = 429, description = "The caller's quota is used up", body = ProblemDocument),
        (status = 503, description = "Not at this time of the day", body = ProblemDocument)
    )
)]
pub(super) async fn get_chunk(
    peer: TrustedPeer,
    State(plane): State<PeerPlane>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (id, size) = find(&plane, &peer, &id).await?;
    if matches(&headers, header::IF_NONE_MATCH, &id) {
        let response = (StatusCode::NOT_MODIFIED, describe(&id)).into_response();
        return Ok(self_checking(response));
    }
    // With If-Range a range is wanted only if the chunk is the one that was seen before; another one has another name.
    let ranged = !headers.contains_key(header::IF_RANGE) || matches(&headers, header::IF_RANGE, &id);
    let asked = headers.get(header::RANGE).filter(|_| ranged).and_then(|value| value.to_str().ok());
    let wanted = asked.and_then(|text| range::parse(text, u64::from(size)));
    if wanted == Some(None) {
        return Err(Problem::range_not_satisfiable(u64::from(size)));
    }
    open(&plane, &peer).await?;
    let read = plane.serve.read_chunk(id, size).await.map_err(|error| Problem::internal(&error))?;
    let bytes = read.ok_or_else(Problem::not_found)?;
    let send = |bytes: Bytes| {
        let length = [(header::CONTENT_LENGTH, bytes.len().to_string())];
        let pieces = stream::iter([Ok(Piece { bytes, of: Some((id, size)) })]);
        (length, Body::from_stream(sending::send(&plane, &peer, pieces)))
    };
    let mut response = match wanted.flatten() {
        None => (describe(&id), send(bytes)).into_response(),
        Some(range) => {
            let content_range = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            let bytes = bytes.slice(range.start as usize..range.end as usize);
            let content_range = [(header::CONTENT_RANGE, content_range)];
            (StatusCode::PARTIAL_CONTENT, describe(&id), content_range, send(bytes)).into_response()
        }
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    Ok(self_checking(response))
}

/// Whether a chunk or segment is here, and its size
#[utoipa::path(
    head,
    path = "/peer/v1/chunks/{id}",
    params(("id" = String, Path, description = "SHA-256 of the chunk, 64 hex digits")),
    responses(
        (status = 200, description = "It is here; Content-Length tells its size"),
        (status = 401, description = "Anything wrong with the caller"),
        (status = 404, description = "Not here, or not for the caller")
    )
)]
pub(super) async fn head_chunk(
    peer: TrustedPeer,
    State(plane): State<PeerPlane>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let (id, size) = find(&plane, &peer, &id).await?;
    let length =
        [(header::CONTENT_LENGTH, size.to_string()), (header::CONTENT_TYPE, "application/octet-stream".into())];
    Ok(self_checking((describe(&id), length).into_response()))
}

/// Many chunks and segments in one stream
#[utoipa::path(
    post,
    path = "/peer/v1/chunks",
    request_body = ChunksRequest,
    responses(
        (status = 200, description = "Frames, one for each id in order, and a trailer; without it the stream was cut off",
            content_type = "application/vnd.bulbil.chunks"),
        (status = 400, description = "Malformed, or too many ids", body = ProblemDocument),
        (status = 401, description = "Anything wrong with the caller", body = ProblemDocument),
        (status = 429, description = "The caller's quota is used up", body = ProblemDocument),
        (status = 503, description = "Not at this time of the day", body = ProblemDocument)
    )
)]
pub(super) async fn post_chunks(
    peer: TrustedPeer,
    State(plane): State<PeerPlane>,
    PeerJson(request): PeerJson<ChunksRequest>,
) -> Result<Response, Problem> {
    let ids = bounded(request.ids)?;
    open(&plane, &peer).await?;
    let sizes = plane.serve.sizes(&peer.guest.rights, &ids).await.map_err(|error| Problem::internal(&error))?;
    let wanted: Vec<_> = ids.into_iter().zip(sizes).collect();
    let pieces = frames(plane.clone(), peer.clone(), wanted);
    let body = Body::from_stream(sending::send(&plane, &peer, pieces));
    let headers = [(header::CONTENT_TYPE, frame::CONTENT_TYPE), (header::CACHE_CONTROL, "no-store")];
    Ok(self_checking((headers, body).into_response()))
}

/// The stream: a few chunks are read ahead, and no further while the peer does not take what is ready. An error, or the
/// end of the peer's rights (R6), cuts it off before its trailer.
fn frames(
    plane: PeerPlane,
    peer: TrustedPeer,
    wanted: Vec<(ChunkId, Option<u32>)>,
) -> impl Stream<Item = io::Result<Piece>> + Send + 'static {
    // On a task of its own: a stream that nobody takes is not polled, and must not hold a connection of the index meanwhile.
    let read = move |(id, size): (ChunkId, Option<u32>)| {
        let (plane, peer) = (plane.clone(), peer.clone());
        let work = async move {
            if !plane.serve.still_welcome(&peer.guest).await.map_err(io::Error::other)? {
                tracing::info!(peer.id = %peer.guest.id, "a stream was cut: the peer's rights have changed");
                return Err(io::Error::from(io::ErrorKind::PermissionDenied));
            }
            let Some(size) = size else { return Ok((id, None)) };
            let bytes = plane.serve.read_chunk(id, size).await;
            let bytes = bytes.inspect_err(|error| tracing::error!(chunk.id = %id, %error, "a stream was cut"));
            Ok((id, bytes.map_err(io::Error::other)?))
        };
        let task = AbortOnDropHandle::new(TaskTracker::new().spawn(work));
        async move { task.await.map_err(io::Error::other)? }
    };
    let magic = stream::iter([Ok(Piece::from(Bytes::from_static(frame::MAGIC)))]);
    let read = stream::iter(wanted).map(read).buffered(READ_AHEAD);
    let encoded = read.map(Some).chain(stream::iter([None])).scan(Some(FrameEncoder::new()), |encoder, item| {
        let pieces = match item {
            None => encoder.take().map(|encoder| vec![Ok(Piece::from(Bytes::copy_from_slice(&encoder.finish())))]),
            Some(Err(error)) => encoder.take().map(|_| vec![Err(error)]),
            Some(Ok((id, None))) => {
                encoder.as_mut().map(|encoder| vec![Ok(Piece::from(Bytes::copy_from_slice(&encoder.missing(&id))))])
            }
            Some(Ok((id, Some(bytes)))) => encoder.as_mut().map(|encoder| {
                let size = bytes.len() as u32;
                let head = Bytes::copy_from_slice(&encoder.chunk(&id, size));
                vec![Ok(Piece::from(head)), Ok(Piece { bytes, of: Some((id, size)) })]
            }),
        };
        // After an error there is no encoder any more: the stream ends.
        std::future::ready(pieces)
    });
    magic.chain(encoded.flat_map(stream::iter))
}

/// Refuses when the peer's hours or its quota say so.
async fn open(plane: &PeerPlane, peer: &TrustedPeer) -> Result<(), Problem> {
    let refusal = plane.serve.may_send(&peer.guest, plane.clock.now()).await;
    refusal.map_err(|error| Problem::internal(&error))?.map_or(Ok(()), |refusal| Err(Problem::no_chunks_now(refusal)))
}

async fn find(plane: &PeerPlane, peer: &TrustedPeer, id: &str) -> Result<(ChunkId, u32), Problem> {
    let id: ChunkId = id.parse().map_err(|_| Problem::not_found())?;
    let sizes = plane.serve.sizes(&peer.guest.rights, &[id]).await.map_err(|error| Problem::internal(&error))?;
    let size = sizes.first().copied().flatten();
    size.map(|size| (id, size)).ok_or_else(Problem::not_found)
}

/// What is true of a chunk for ever.
fn describe(id: &ChunkId) -> [(header::HeaderName, String); 3] {
    [
        (header::ETAG, format!("\"{id}\"")),
        (header::CACHE_CONTROL, "private, max-age=31536000, immutable".to_owned()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
    ]
}

fn matches(headers: &HeaderMap, name: header::HeaderName, id: &ChunkId) -> bool {
    let etag = format!("\"{id}\"");
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|value| value.trim() == etag || value.trim() == "*")
}

fn self_checking(mut response: Response) -> Response {
    response.extensions_mut().insert(SelfChecking);
    response
}

//! Chunks on their way to a peer: in small pieces, as long as it is welcome, and on record (R6).
//!
//! A watch goes with each answer. Every second it asks whether the peer still has its rights, whoever has changed them. If
//! not, the answer ends where it is, in the middle of a chunk too, and the connection is closed: a peer that reads slowly, or not
//! at all, cannot hold it open. What was handed over is recorded every second and at the end.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{PeerPlane, TrustedPeer};
use crate::domain::id::ChunkId;
use crate::domain::limits::piece_bytes;
use crate::http::listener::Leave;
use crate::replicate::serve::Guest;

/// How often is asked whether the peer is welcome.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What is handed over at once.
const PIECE_BYTES: usize = 16 << 10;

/// A part of an answer.
pub(super) struct Piece {
    pub(super) bytes: Bytes,
    /// Of which chunk it is, and how long that is.
    pub(super) of: Option<(ChunkId, u32)>,
}

impl From<Bytes> for Piece {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, of: None }
    }
}

/// An answer that is being sent.
struct Sending<S> {
    plane: PeerPlane,
    peer: TrustedPeer,
    pieces: S,
    rest: Bytes,
    /// The peer is not welcome any more.
    cut: CancellationToken,
    _over: DropGuard,
}

/// Sends pieces. An error, or the end of the peer's rights, cuts the answer off.
pub(super) fn send(
    plane: &PeerPlane,
    peer: &TrustedPeer,
    pieces: impl Stream<Item = io::Result<Piece>> + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (cut, over) = (CancellationToken::new(), CancellationToken::new());
    // The answer alone keeps the peer's place among its requests.
    let (guest, leave) = (peer.guest.clone(), peer.leave.clone());
    plane.watches.spawn(watch(plane.clone(), guest, leave, cut.clone(), over.clone()));
    let (plane, peer, pieces) = (plane.clone(), peer.clone(), Box::pin(pieces));
    let sending = Sending { plane, peer, pieces, rest: Bytes::new(), cut, _over: over.drop_guard() };
    stream::try_unfold(sending, |mut sending| async move {
        let piece = sending.next().await?;
        Ok(piece.map(|piece| (piece, sending)))
    })
}

impl<S: Stream<Item = io::Result<Piece>> + Unpin> Sending<S> {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while self.rest.is_empty() {
            let next = self.cut.run_until_cancelled(self.pieces.next()).await;
            let Some(piece) = next.ok_or(io::ErrorKind::PermissionDenied)?.transpose()? else { return Ok(None) };
            if let Some((id, size)) = piece.of {
                self.plane.serve.note_given(&self.peer.guest.id, id, size, self.plane.clock.now());
            }
            self.rest = piece.bytes;
        }
        if self.cut.is_cancelled() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let (guest, rate) = (&self.peer.guest, self.peer.guest.rights.limits.rate);
        let piece = self.rest.split_to(self.rest.len().min(rate.map_or(PIECE_BYTES, piece_bytes)));
        let now = self.plane.clock.now();
        if let Some(refusal) = self.plane.serve.refusal(guest, now) {
            tracing::info!(peer.id = %guest.id, ?refusal, "a stream was cut");
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let wait = self.plane.serve.take(guest, piece.len(), now);
        let waited = self.cut.run_until_cancelled(tokio::time::sleep(wait)).await;
        waited.ok_or(io::ErrorKind::PermissionDenied)?;
        Ok(Some(piece))
    }
}

/// Goes with an answer until it is over.
async fn watch(plane: PeerPlane, guest: Guest, leave: Option<Leave>, cut: CancellationToken, over: CancellationToken) {
    loop {
        let ended = over.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_none();
        if !ended && !cut.is_cancelled() {
            let welcome = plane.serve.still_welcome(&guest).await;
            let welcome = welcome.inspect_err(|error| tracing::error!(%error, "a stream was cut")).unwrap_or(false);
            if !welcome {
                tracing::info!(peer.id = %guest.id, "a stream was cut: the peer's rights have changed");
                cut.cancel();
                leave.iter().for_each(|Leave(connection)| connection.cancel());
            }
        }
        if let Err(error) = plane.serve.save_given().await {
            tracing::error!(%error, "what was given to peers could not be recorded; it is tried again");
        }
        if ended {
            return;
        }
    }
}

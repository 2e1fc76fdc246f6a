//! Bodies on their way to a guest: in small pieces, as long as it is welcome (R6).
//!
//! A watch goes with each answer. Every second it asks whether the guest still has its rights, whoever has changed them. If not,
//! the answer ends where it is, and the connection is closed, however slowly the guest reads.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, stream};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{AxonPlane, TrustedAxon};
use crate::axon::serve::AxonGuest;
use crate::http::listener::Leave;

/// How often is asked whether the guest is welcome.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What is handed over at once.
const PIECE_BYTES: usize = 16 << 10;

struct Sending {
    /// The answer alone keeps the guest's place among its requests.
    _guest: TrustedAxon,
    rest: Bytes,
    /// What comes behind the rest; `None` if nothing does.
    more: Option<BoxStream<'static, io::Result<Bytes>>>,
    at_end: Option<Box<dyn FnOnce() + Send>>,
    cut: CancellationToken,
    _over: DropGuard,
}

/// Sends bytes, and then what else comes. `at_end` is called when the last of it was handed over. An error, or the end of the
/// guest's rights, cuts the answer off.
pub(super) fn send(
    plane: &AxonPlane,
    guest: TrustedAxon,
    first: Bytes,
    more: Option<BoxStream<'static, io::Result<Bytes>>>,
    at_end: impl FnOnce() + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (cut, over) = (CancellationToken::new(), CancellationToken::new());
    let watching = watch(plane.clone(), guest.watched(), cut.clone(), over.clone());
    plane.watches.spawn(watching);
    let sending =
        Sending { _guest: guest, rest: first, more, at_end: Some(Box::new(at_end)), cut, _over: over.drop_guard() };
    stream::try_unfold(sending, |mut sending| async move {
        let piece = sending.next().await?;
        Ok(piece.map(|piece| (piece, sending)))
    })
}

impl Sending {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while self.rest.is_empty() {
            let Some(more) = &mut self.more else { return Ok(None) };
            let next = self.cut.run_until_cancelled(more.next()).await;
            match next.ok_or(io::ErrorKind::PermissionDenied)?.transpose()? {
                Some(bytes) => self.rest = bytes,
                None => self.more = None,
            }
            self.look_at_end();
        }
        if self.cut.is_cancelled() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        self.look_at_end();
        Ok(Some(piece))
    }

    /// A body of known length is not asked for anything behind its last piece: what follows from its end is done with it.
    fn look_at_end(&mut self) {
        if self.rest.is_empty()
            && self.more.is_none()
            && let Some(at_end) = self.at_end.take()
        {
            at_end();
        }
    }
}

/// Goes with an answer until it is over.
async fn watch(
    plane: AxonPlane,
    (guest, leave): (AxonGuest, Option<Leave>),
    cut: CancellationToken,
    over: CancellationToken,
) {
    while over.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
        let welcome = plane.serve.still_welcome(&guest).await;
        let welcome = welcome.inspect_err(|error| tracing::error!(%error, "an answer was cut")).unwrap_or(false);
        if !welcome && !cut.is_cancelled() {
            tracing::info!(peer = guest.name, "an answer was cut: the rights of the Axon instance have changed");
            cut.cancel();
            leave.iter().for_each(|leave| leave.0.cancel());
        }
    }
    if let Err(error) = plane.serve.save_fetched(&guest).await {
        tracing::error!(%error, "what an Axon instance was given could not be recorded; it is tried again");
    }
}

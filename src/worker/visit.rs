//! One visit to a peer: its feed, then what is missing here.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::peer::Scope;
use crate::replicate::pull::{Closed, FetchReport, PullError, Puller, SyncReport};
use crate::store::index::Peer;

/// Whether the peer gives chunks, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunks {
    /// They are asked for.
    Open,
    /// It said that it gives none for a while: they are not asked for.
    Closed,
}

/// What came of a visit whose feed was read.
#[derive(Debug)]
pub struct Visited {
    /// What the feed told.
    pub synced: SyncReport,
    /// What was fetched.
    pub fetched: FetchReport,
    /// Whether chunks were asked for.
    pub chunks: Chunks,
    /// The peer gives no more chunks for this time, and why.
    pub closed: Option<Closed>,
}

/// Reads the feed, unless the peer has `told` of it already, then fetches what is missing. `is_synced` is set in between.
///
/// # Errors
/// [`PullError`]. That the peer gives no chunks for a while is none.
pub async fn visit(
    puller: &Puller,
    peer: &Peer,
    told: Option<SyncReport>,
    chunks: Chunks,
    is_synced: &AtomicBool,
    cancel: &CancellationToken,
) -> Result<Visited, PullError> {
    let synced = match told {
        Some(told) => told,
        None => read(puller, peer, Duration::ZERO, chunks, cancel).await?,
    };
    is_synced.store(true, Ordering::Relaxed);
    let (fetched, closed) = match (chunks, &synced.closed) {
        (_, Some(closed)) => (FetchReport::default(), Some(closed.clone())),
        (Chunks::Closed, None) => (FetchReport::default(), None),
        (Chunks::Open, None) => match fetch(puller, peer, cancel).await {
            Ok(fetched) => (fetched, None),
            Err(error) => match Closed::from_error(&error) {
                Some(closed) => (FetchReport::default(), Some(closed)),
                None => return Err(error),
            },
        },
    };
    if !synced.new_snapshots.is_empty() || fetched.chunks > 0 {
        tracing::info!(
            peer.id = %peer.id,
            snapshots = synced.new_snapshots.len(),
            keys = synced.keys,
            chunks = fetched.chunks,
            bytes = fetched.bytes,
            missing = fetched.still_missing,
            "pulled from a peer"
        );
    }
    Ok(Visited { synced, fetched, chunks, closed })
}

/// Reads the feed, gets keys, and lists of chunks if there are any to be had. The peer may wait for news for so long.
///
/// # Errors
/// [`PullError`].
pub async fn read(
    puller: &Puller,
    peer: &Peer,
    wait: Duration,
    chunks: Chunks,
    cancel: &CancellationToken,
) -> Result<SyncReport, PullError> {
    match chunks {
        Chunks::Open => puller.sync(peer, wait, cancel).await,
        Chunks::Closed => puller.read_feed(peer, wait, cancel).await,
    }
}

/// Fetches what is missing of the collections that are mirrored from the peer.
async fn fetch(puller: &Puller, peer: &Peer, cancel: &CancellationToken) -> Result<FetchReport, PullError> {
    let Scope::Only(collections) = &peer.mirror else { return puller.fetch_again(None, peer, cancel).await };
    let mut all = FetchReport::default();
    for collection in collections {
        let fetched = puller.fetch_again(Some(collection), peer, cancel).await?;
        all.chunks += fetched.chunks;
        all.bytes += fetched.bytes;
        all.requests += fetched.requests;
        all.bad.extend(fetched.bad);
        // Lists of chunks are fetched for all of them.
        all.still_missing = all.still_missing.max(fetched.still_missing);
    }
    Ok(all)
}

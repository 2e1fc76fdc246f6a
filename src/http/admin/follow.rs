//! The sync worker as the admin plane shows it: what it is at, and how to wake it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::domain::peer::{PeerAddress, Trust};
use crate::store::{IndexError, Store};
use crate::transport::quality::Quality;
use crate::worker::follow::Worker;

/// How often a round that somebody waits for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The worker, and the bell that wakes it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Following {
    worker: Worker,
    bell: Arc<watch::Sender<u64>>,
}

/// How it stands with a followed peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FollowStatus {
    /// Its name here.
    pub name: String,
    /// Which peer.
    pub instance: String,
    /// Whether it is visited now.
    pub busy: bool,
    /// Whether a request is open at it that it answers when it has news.
    #[serde(default)]
    pub listening: bool,
    /// Failures in a row.
    pub failures: u32,
    /// When the last visit ended.
    #[schema(value_type = Option<String>)]
    pub last_at: Option<Timestamp>,
    /// Snapshots that were new in the last visit.
    pub new_snapshots: u64,
    /// Chunks that the last visit brought.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What went wrong in the last visit.
    pub error: Option<String>,
    /// When the next visit is due; absent while one is under way.
    #[schema(value_type = Option<String>)]
    pub next_at: Option<Timestamp>,
}

impl Following {
    /// Shows a worker. The other half goes into [`Worker::run`].
    pub fn new(worker: Worker) -> (Self, watch::Receiver<u64>) {
        let (bell, wake) = watch::channel(0);
        (Self { worker, bell: Arc::new(bell) }, wake)
    }

    /// Visits all peers now.
    pub fn wake(&self) {
        self.bell.send_modify(|rings| *rings += 1);
    }

    /// Tells waiting peers that another process of this home has added to its feed.
    pub fn feed_changed(&self) {
        self.worker.feed_changed();
    }

    /// Whether the worker runs no more.
    pub fn has_stopped(&self) -> bool {
        self.bell.is_closed()
    }

    /// What the line to a peer has been like since the server runs.
    pub fn quality(&self, address: &PeerAddress) -> Quality {
        self.worker.quality(address)
    }

    /// How it stands with each followed peer, by name.
    pub fn status(&self) -> Vec<FollowStatus> {
        let shown = |peer: crate::worker::follow::PeerStatus| {
            let last = peer.last.as_ref();
            FollowStatus {
                name: peer.name,
                instance: peer.id.to_string(),
                busy: peer.busy,
                listening: peer.listening,
                failures: peer.failures,
                last_at: last.map(|visit| visit.ended_at),
                new_snapshots: last.map_or(0, |visit| visit.new_snapshots),
                chunks: last.map_or(0, |visit| visit.chunks),
                bytes: last.map_or(0, |visit| visit.bytes),
                error: last.and_then(|visit| visit.error.clone()),
                next_at: peer.next_at,
            }
        };
        self.worker.status().into_iter().map(shown).collect()
    }

    /// Visits all peers now, and returns when each was visited from beginning to end since. May be dropped at any time.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn round(&self, store: &Store, clock: &dyn Clock) -> Result<(), IndexError> {
        let asked_at = clock.now();
        self.wake();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = clock.now();
            let status = self.worker.status();
            let mut peers = store.index.peers().await?;
            peers.retain(|peer| matches!(peer.trust, Trust::Trusted(_)) && peer.follow && peer.address.is_some());
            let visited = |peer: &crate::store::index::Peer| {
                // A visit that was under way is repeated: until then the next one is due now.
                status.iter().find(|status| status.id == peer.id).is_some_and(|status| {
                    !status.busy
                        && status.last.as_ref().is_some_and(|visit| visit.ended_at >= asked_at)
                        && status.next_at.is_some_and(|next| next > now)
                })
            };
            if peers.iter().all(visited) || self.has_stopped() {
                return Ok(());
            }
        }
    }
}

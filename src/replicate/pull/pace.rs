//! How fast all streams together may be.
//!
//! Whoever has read something waits for its turn before it reads on. Turns are of equal length whatever came in one piece, so
//! that all streams are equally slow and none is taken for slower than the others; and as nobody waits for the peer meanwhile,
//! none is taken for stalled.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::domain::limits::{Bucket, piece_bytes};

/// A limit, if there is one.
#[derive(Debug, Default)]
pub(super) struct Pace {
    limit: Option<Limit>,
}

#[derive(Debug)]
struct Limit {
    rate: u64,
    started_at: Instant,
    bucket: Mutex<Bucket>,
}

impl Pace {
    /// So many bytes a second.
    pub(super) fn new(rate: u64) -> Self {
        Self { limit: Some(Limit { rate, started_at: Instant::now(), bucket: Mutex::default() }) }
    }

    /// The turns of one stream.
    pub(super) fn turns(&self) -> Turns<'_> {
        Turns { limit: self.limit.as_ref(), left: 0 }
    }
}

impl Limit {
    /// How long it is until `bytes` may be taken.
    fn wait(&self, bytes: usize) -> Duration {
        let mut bucket = self.bucket.lock().expect("no holder of this lock can panic");
        bucket.take(bytes, self.rate, self.started_at.elapsed())
    }
}

/// The turns of one stream.
pub(super) struct Turns<'a> {
    limit: Option<&'a Limit>,
    /// What may still be taken in this turn.
    left: usize,
}

impl Turns<'_> {
    /// Takes some of `bytes` that have come, at least one; answers how many. Dropped, its turn is lost.
    pub(super) async fn take(&mut self, bytes: usize) -> usize {
        let Some(limit) = self.limit else { return bytes };
        if self.left == 0 {
            let turn = piece_bytes(limit.rate);
            sleep_until(Instant::now() + limit.wait(turn)).await;
            self.left = turn;
        }
        let taken = bytes.min(self.left);
        self.left -= taken;
        taken
    }
}

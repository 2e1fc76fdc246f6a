//! How much a peer is still sent, how fast, and when: counts what goes out to each peer, all its streams together.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::serve::{Guest, Serve, ServeError};
use crate::domain::id::InstanceId;
use crate::domain::limits::{Bucket, Limits, month};

/// Why no chunks are sent now, and how long that lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The quota of this month is used up.
    QuotaUsedUp(Duration),
    /// It is not the time of day for it.
    OutsideHours(Duration),
}

/// What each peer was sent.
#[derive(Debug)]
pub(super) struct Allowances {
    started_at: Instant,
    peers: Mutex<HashMap<InstanceId, Sent>>,
}

#[derive(Debug, Default)]
struct Sent {
    bucket: Bucket,
    month: i64,
    bytes: u64,
    unsaved: u64,
}

impl Default for Allowances {
    fn default() -> Self {
        Self { started_at: Instant::now(), peers: Mutex::default() }
    }
}

impl Allowances {
    fn lock(&self) -> MutexGuard<'_, HashMap<InstanceId, Sent>> {
        self.peers.lock().expect("no holder of this lock can panic")
    }
}

impl Serve {
    /// Whether a guest may be sent chunks now. Ask before [`take`](Self::take): it reads what was sent this month.
    ///
    /// # Errors
    /// [`ServeError::Index`].
    pub async fn may_send(&self, guest: &Guest, now: Timestamp) -> Result<Option<Refusal>, ServeError> {
        let this_month = month(now).0;
        if !self.allowances.lock().contains_key(&guest.id) {
            let bytes = self.store().index.sent_in_month(&guest.id, this_month).await?;
            let sent = Sent { month: this_month, bytes, ..Sent::default() };
            self.allowances.lock().entry(guest.id).or_insert(sent);
        }
        Ok(self.refusal(guest, now))
    }

    /// Why a guest is sent no more chunks, if so.
    pub fn refusal(&self, guest: &Guest, now: Timestamp) -> Option<Refusal> {
        let Limits { quota, hours, .. } = guest.rights.limits;
        let closed = hours.map(|hours| hours.opens_in(now)).filter(|wait| !wait.is_zero());
        let (this_month, left) = month(now);
        let used_up = quota.is_some_and(|quota| {
            let peers = self.allowances.lock();
            peers.get(&guest.id).is_some_and(|sent| sent.month == this_month && sent.bytes >= quota)
        });
        closed.map(Refusal::OutsideHours).or_else(|| used_up.then_some(Refusal::QuotaUsedUp(left)))
    }

    /// Counts bytes that are about to be sent, and tells how long to wait before.
    pub fn take(&self, guest: &Guest, bytes: usize, now: Timestamp) -> Duration {
        let this_month = month(now).0;
        let mut peers = self.allowances.lock();
        let sent = peers.entry(guest.id).or_default();
        if sent.month != this_month {
            (sent.month, sent.bytes, sent.unsaved) = (this_month, 0, 0);
        }
        sent.bytes += bytes as u64;
        sent.unsaved += bytes as u64;
        let elapsed = self.allowances.started_at.elapsed();
        guest.rights.limits.rate.map_or(Duration::ZERO, |rate| sent.bucket.take(bytes, rate, elapsed))
    }

    /// Records what was sent this month.
    pub(super) async fn save_sent(&self) -> Result<(), ServeError> {
        let unsaved: Vec<(InstanceId, i64, u64)> = {
            let mut peers = self.allowances.lock();
            let unsaved = peers.iter_mut().filter(|(_, sent)| sent.unsaved > 0);
            unsaved.map(|(peer, sent)| (*peer, sent.month, std::mem::take(&mut sent.unsaved))).collect()
        };
        if unsaved.is_empty() { Ok(()) } else { Ok(self.store().index.note_sent(&unsaved).await?) }
    }
}

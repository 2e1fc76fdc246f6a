//! One peer, while work with it goes on: counts requests, names the peer in errors, stops when cancelled.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_util::sync::CancellationToken;

use super::{Lie, PullError, Puller};
use crate::domain::id::InstanceId;
use crate::domain::peer::Trust;
use crate::monitor::{Counter, Monitor, Problem};
use crate::replicate::call::{CallError, Callee};
use crate::store::index::Peer;

pub(super) struct Line {
    pub(super) id: InstanceId,
    pub(super) name: String,
    pub(super) callee: Callee,
    pub(super) cancel: CancellationToken,
    requests: AtomicU64,
    monitor: Arc<dyn Monitor>,
}

impl Line {
    pub(super) fn open(puller: &Puller, peer: &Peer, cancel: &CancellationToken) -> Result<Self, PullError> {
        let name = peer.name.clone();
        if !matches!(peer.trust, Trust::Trusted(_)) {
            return Err(PullError::NotTrusted { peer: name, state: peer.trust.word() });
        }
        let Some(address) = peer.address.clone() else { return Err(PullError::NoAddress { peer: name }) };
        let identity = peer.identity.verify(Some(&peer.id));
        let identity = identity.map_err(|cause| PullError::PeerDamaged { peer: name.clone(), cause })?;
        Ok(Self {
            id: peer.id,
            name,
            callee: Callee { address, key: identity.identity_key },
            cancel: cancel.clone(),
            requests: AtomicU64::new(0),
            monitor: Arc::clone(&puller.monitor),
        })
    }

    /// Waits for a call that was made with [`callee`](Self::callee).
    pub(super) async fn ask<T>(&self, call: impl Future<Output = Result<T, CallError>>) -> Result<T, PullError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.monitor.add(Counter::Requests, 1);
        match self.cancel.run_until_cancelled(call).await {
            None => Err(PullError::Cancelled),
            Some(answer) => answer.map_err(|cause| self.failed(cause)),
        }
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn failed(&self, cause: CallError) -> PullError {
        PullError::Call { peer: self.name.clone(), cause }
    }

    pub(super) fn lied(&self, lie: Lie) -> PullError {
        PullError::Lied { peer: self.name.clone(), lie }
    }

    /// Tells of something that does not stop the work.
    pub(super) fn problem(&self, message: String) {
        tracing::warn!(peer.id = %self.id, message, "trouble with a peer");
        self.monitor.problem(Problem { subject: self.name.clone(), message });
    }
}

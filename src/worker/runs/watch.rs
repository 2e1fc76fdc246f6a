//! What a run under way is heard through.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::domain::target::Target;
use crate::monitor::{Monitor, Relay};
use crate::store::Store;
use crate::store::index::{Counts, Ended, RunResult};
use crate::worker::live::{LiveRun, LiveRuns};

/// A run can be looked at until this is dropped, however the work ends. If it ends in a panic, it is put on record as failed: nobody
/// else is left to do so.
pub(super) struct Watch {
    pub(super) relay: Arc<Relay>,
    pub(super) live: Arc<LiveRun>,
    all: LiveRuns,
    store: Store,
    clock: Arc<dyn Clock>,
    /// Under which numbers it is on record.
    begun: Mutex<Vec<i64>>,
    /// At which target.
    pub(super) target: Option<String>,
}

impl Watch {
    pub(super) fn new(
        store: &Store,
        clock: &Arc<dyn Clock>,
        monitor: Arc<dyn Monitor>,
        all: &LiveRuns,
        cancel: &CancellationToken,
    ) -> Self {
        let live = Arc::new(LiveRun::new(monitor, Arc::clone(clock), cancel.clone()));
        let relay = Arc::new(Relay::new(live.clone()));
        let (store, clock) = (store.clone(), Arc::clone(clock));
        Self { relay, live, all: all.clone(), store, clock, begun: Mutex::default(), target: None }
    }

    /// Something at this target.
    pub(super) fn at(mut self, target: Option<&Target>) -> Self {
        self.target = target.map(|target| target.name.clone());
        self
    }

    /// It is on record under this number.
    pub(super) fn begun(&self, no: i64) {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).push(no);
        self.all.insert(no, &self.live);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let begun = std::mem::take(&mut *self.begun.lock().unwrap_or_else(PoisonError::into_inner));
        // A future is dropped by whoever runs it: there is a runtime, or the process is about to end.
        if !std::thread::panicking() || tokio::runtime::Handle::try_current().is_err() {
            self.all.remove(&self.live);
            return;
        }
        let ended = Ended {
            at: self.clock.now(),
            result: RunResult::Failed,
            message: Some("it ended in a fault of Bulbil: the log says where; please report it".to_owned()),
            snapshot: None,
            counts: Counts::default(),
            report: None,
        };
        let (store, all, live) = (self.store.clone(), self.all.clone(), Arc::clone(&self.live));
        TaskTracker::new().spawn(async move {
            for no in begun {
                let lines = store.index.save_run_lines(no, &live.lines(0)).await;
                if let Err(error) = lines.and(store.index.end_run(no, &ended).await) {
                    tracing::error!(%error, run.no = no, "a run that ended in a fault could not be put on record");
                }
            }
            // Whoever follows it finds its end first.
            all.remove(&live);
        });
    }
}

//! Work that somebody asks the server for: it begins at once, goes on by itself, and is on record like what is scheduled.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::SignedDuration;
use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::copies::any_came;
use super::live::LiveRuns;
use super::runs::{Recorder, RunError};
use crate::backup::create::Extras;
use crate::backup::drill::DrillOptions;
use crate::backup::prune;
use crate::backup::recover::RecoverOptions;
use crate::backup::restore::RestoreOptions;
use crate::backup::verify::VerifyOptions;
use crate::clock::Clock;
use crate::domain::audit::Who;
use crate::domain::content::Secrets;
use crate::domain::peer::Trust;
use crate::domain::retention::Policy as KeptPolicy;
use crate::domain::scrub::{DEFAULT_DAYS, Policy};
use crate::domain::target::Target;
use crate::monitor::{Monitor, with_causes};
use crate::portable::At;
use crate::portable::export::ExportOptions;
use crate::portable::import::ImportOptions;
use crate::portable::target::Depth;
use crate::replicate::call::PeerCaller;
use crate::replicate::pull::Puller;
use crate::store::Store;
use crate::store::index::{Cause, Collection, Peer, Snapshot};

/// What is asked for.
#[derive(Debug, Clone)]
pub enum Order {
    /// Make a snapshot.
    Backup {
        /// Of what.
        collection: Box<Collection>,
        /// That there is less than before is as it should be.
        accept_shrink: bool,
    },
    /// Verify all snapshots of collections.
    Verify {
        /// Of which.
        collections: Vec<Collection>,
        /// How deep; the collections stand in here, too, if it is not all of them.
        options: VerifyOptions,
    },
    /// Check the folders by the rules of their application.
    Check {
        /// Whose.
        collection: Box<Collection>,
    },
    /// Try a restore.
    Drill {
        /// Of what.
        collection: Box<Collection>,
        /// Of which snapshot; the newest that can be read here, if none is named.
        snapshot: Option<Box<Snapshot>>,
    },
    /// Remove what retention does not keep.
    Prune {
        /// Of what.
        collections: Vec<Collection>,
        /// What is kept this time, instead of what was said of each of them.
        otherwise: Option<KeptPolicy>,
        /// How long what nobody names stays.
        grace: SignedDuration,
    },
    /// Copy to targets.
    Copy {
        /// What.
        collections: Vec<Collection>,
        /// To which; to all, if none is named.
        targets: Vec<Target>,
        /// How much of what is there then is read back.
        depth: Depth,
    },
    /// Look at what is in a target.
    VerifyTarget {
        /// In which.
        target: Box<Target>,
        /// How much is read.
        depth: Depth,
        /// Write anew what is damaged there.
        repair: bool,
    },
    /// Remove from a target what was removed here.
    PruneTarget {
        /// From which.
        target: Box<Target>,
        /// So long nobody has leaned on a chunk that goes.
        grace: SignedDuration,
        /// Only say what would go.
        dry_run: bool,
    },
    /// Ask peers what is new.
    Sync {
        /// Whom; all that are followed, if none is named.
        peer: Option<Box<Peer>>,
    },
    /// Fetch missing chunks.
    Fetch {
        /// Of what; of everything, if nothing is named.
        collection: Option<Box<Collection>>,
        /// From whom; from all that are followed, if none is named.
        peer: Option<Box<Peer>>,
    },
    /// Ask peers for keys that are missing.
    Rekey {
        /// Of what; of everything, if nothing is named.
        collection: Option<Box<Collection>>,
        /// Whom; all that are followed, if none is named.
        peer: Option<Box<Peer>>,
        /// For snapshots that have one, too.
        all: bool,
    },
    /// Read again what is stored, and have brought back what is lost.
    Scrub {
        /// Of what; everything, if there is none.
        collections: Vec<Collection>,
    },
    /// Fetch everything that an instance lets us have which was just joined.
    Clone {
        /// Which one.
        peer: Box<Peer>,
    },
    /// Write a portable backup.
    Export {
        /// Into which folder.
        output: PathBuf,
        /// What.
        options: Box<ExportOptions>,
    },
    /// Take snapshots from a portable backup.
    Import {
        /// Where it is.
        at: Box<At>,
        /// What.
        options: ImportOptions,
    },
    /// Count what takes the space.
    Usage {
        /// Of what.
        collection: Box<Collection>,
    },
    /// Bring live folders back.
    Recover {
        /// Of what.
        collection: Box<Collection>,
        /// How.
        options: Box<RecoverOptions>,
    },
    /// Lay out the newest snapshot of a standby.
    LayOut {
        /// Of what.
        collection: Box<Collection>,
    },
    /// Restore a snapshot.
    Restore {
        /// Which.
        snapshot: Box<Snapshot>,
        /// Into which folder.
        target: PathBuf,
        /// How.
        options: RestoreOptions,
    },
}

/// Why nothing began.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is nothing to do it with.
    #[error("{0}")]
    Nothing(&'static str),
    /// It failed before it began.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Its task ended without a word.
    #[error("the work ended unexpectedly")]
    Died,
}

/// Starts work, and knows what goes on. Cheap to clone.
#[derive(Clone)]
pub struct Jobs {
    store: Store,
    clock: Arc<dyn Clock>,
    puller: Puller,
    scrubs: Policy,
    monitor: Arc<dyn Monitor>,
    live: LiveRuns,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jobs").field("live", &self.live).finish_non_exhaustive()
    }
}

impl Jobs {
    /// Works in the store of `puller`, and pulls with it, on tasks of `tasks`, until `stop`.
    pub fn new(
        puller: Puller,
        clock: Arc<dyn Clock>,
        monitor: Arc<dyn Monitor>,
        (tasks, stop): (TaskTracker, CancellationToken),
    ) -> Self {
        let (store, scrubs) = (puller.store().clone(), Policy::days(DEFAULT_DAYS));
        Self { store, clock, puller, scrubs, monitor, live: LiveRuns::default(), tasks, stop }
    }

    /// What is read again is due again after as many days as this says.
    #[must_use]
    pub fn with_scrubs(self, scrubs: Policy) -> Self {
        Self { scrubs, ..self }
    }

    /// Who talks to peers.
    pub fn caller(&self) -> &PeerCaller {
        self.puller.caller()
    }

    /// What is waited for before the server ends.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// What goes on in this process.
    pub fn live(&self) -> &LiveRuns {
        &self.live
    }

    /// Begins. The number under which it is on record; several collections are several runs, of which this is the first. Dropped, it
    /// goes on.
    ///
    /// # Errors
    /// [`StartError`], if nothing began.
    pub async fn start(&self, order: Order, by: Who) -> Result<i64, StartError> {
        let (tell, mut begun) = unbounded_channel();
        let (jobs, cancel) = (self.clone(), self.stop.child_token());
        let mut work = self.tasks.spawn(async move {
            let recorder = Recorder::new(&jobs.store, Cause::Request, Arc::clone(&jobs.clock), &cancel);
            let recorder = recorder.shown(&jobs.live).asked(by, tell);
            let came = jobs.work(&recorder, order).await;
            if let Err(error) = &came {
                tracing::warn!(error = with_causes(error), "what was asked for failed");
            }
            came
        });
        // Whoever sends the number drops the sender at the end.
        match begun.recv().await {
            Some(no) => Ok(no),
            None => match (&mut work).await {
                Ok(Err(error)) => Err(error),
                Ok(Ok(())) | Err(_) => Err(StartError::Died),
            },
        }
    }

    async fn work(&self, recorder: &Recorder<'_>, order: Order) -> Result<(), StartError> {
        let monitor = Arc::clone(&self.monitor);
        match order {
            Order::Backup { collection, accept_shrink } => {
                let extras = Extras { accept_shrink, ..Extras::default() };
                recorder.back_up(&collection, extras, monitor).await?;
            }
            Order::Verify { collections, options } => {
                if collections.is_empty() {
                    return Err(StartError::Nothing("there is no collection yet"));
                }
                recorder.verify(&collections, options, monitor).await?;
            }
            Order::Check { collection } => {
                let checked = recorder.check_folders(&collection, monitor).await?;
                checked.ok_or(StartError::Nothing("the collection has no folders on this machine"))?;
            }
            Order::Drill { collection, snapshot: None } => {
                let drilled = recorder.drill_newest(&collection, monitor).await?;
                drilled.ok_or(StartError::Nothing("the collection has no snapshot yet that can be read here"))?;
            }
            Order::Drill { collection, snapshot: Some(snapshot) } => {
                let (preset, settings) =
                    (self.store.preset_of(collection.settings.as_ref()), collection.settings.clone());
                let preset = preset.map_err(RunError::from)?;
                let options = DrillOptions { scratch: None, preset, secrets: Secrets::new(), settings };
                recorder.drill(&collection, &snapshot.id, options, monitor).await?;
            }
            Order::Prune { collections, otherwise, grace } => {
                if collections.is_empty() {
                    return Err(StartError::Nothing("there is no collection yet"));
                }
                let plan = prune::plan(&self.store, &collections, otherwise.as_ref(), self.clock.now()).await;
                recorder.prune_by(&collections, &plan.map_err(RunError::from)?, grace, monitor).await?;
            }
            Order::Copy { collections, targets, depth } => {
                if collections.is_empty() {
                    return Err(StartError::Nothing("there is no collection yet"));
                }
                let made = recorder.copy(&targets, &collections, depth, monitor).await?;
                any_came(&made).map_err(RunError::from)?;
            }
            Order::VerifyTarget { target, depth, repair } => {
                recorder.verify_target(&target, depth, repair, monitor).await?;
            }
            Order::PruneTarget { target, grace, dry_run } => {
                recorder.prune_target(&target, grace, dry_run, monitor).await?;
            }
            Order::Sync { peer } => {
                let peers = self.peers(peer).await?;
                if peers.is_empty() {
                    return Err(StartError::Nothing("there is no peer to pull from"));
                }
                recorder.sync(&self.puller, &peers, monitor).await?;
            }
            Order::Fetch { collection, peer } => {
                let peers = self.peers(peer).await?;
                if peers.is_empty() {
                    return Err(StartError::Nothing("there is no peer to pull from"));
                }
                let of = collection.map(|collection| collection.id);
                recorder.fetch(&self.puller, of.as_ref(), &peers, monitor).await?;
            }
            Order::Clone { peer } => {
                recorder.clone_of(&self.puller, &peer, monitor).await?;
            }
            Order::Rekey { collection, peer, all } => {
                let peers = self.peers(peer).await?;
                if peers.is_empty() {
                    return Err(StartError::Nothing("there is no peer to pull from"));
                }
                recorder.rekey(&self.puller, collection.as_deref(), &peers, all, monitor).await?;
            }
            Order::Scrub { collections } => {
                recorder.scrub(&self.puller, self.scrubs, &collections, monitor).await?;
            }
            Order::Export { output, options } => {
                recorder.export(output, *options, monitor).await?;
            }
            Order::Import { at, options } => {
                recorder.import(&at, &options, monitor).await?;
            }
            Order::Usage { collection } => {
                recorder.usage(&collection, monitor).await?;
            }
            Order::Recover { collection, options } => {
                recorder.recover(&collection, &options, monitor).await?.done?;
            }
            Order::LayOut { collection } => {
                recorder.lay_out(&collection, monitor).await?;
            }
            Order::Restore { snapshot, target, options } => {
                recorder.restore(&snapshot, &target, options, monitor).await?;
            }
        }
        Ok(())
    }

    /// The one that is named, or all that are pulled from.
    async fn peers(&self, named: Option<Box<Peer>>) -> Result<Vec<Peer>, StartError> {
        if let Some(peer) = named {
            return Ok(vec![*peer]);
        }
        let mut peers = self.store.index.peers().await.map_err(RunError::from)?;
        peers.retain(|peer| matches!(peer.trust, Trust::Trusted(_)) && peer.follow && peer.address.is_some());
        Ok(peers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::monitor::{Counter, Problem};
    use crate::store::index::{Run, RunResult};
    use crate::store::testing::TestStore;
    use crate::transport::client::{ClientLimits, HttpClient};
    use crate::transport::memory::MemoryNet;

    /// Fails in a way that nobody has thought of.
    struct Fault;

    impl Monitor for Fault {
        fn task(&self, _: &str, _: Counter, _: Option<u64>) {
            panic!("a fault of Bulbil");
        }

        fn resume(&self, _: &str, _: Counter, _: u64, _: u64) {}

        fn add(&self, _: Counter, _: u64) {}

        fn take_back(&self, _: Counter, _: u64) {}

        fn notice(&self, _: &str) {}

        fn problem(&self, _: Problem) {}
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_run_that_ends_in_a_fault_is_on_record_as_failed_at_once() {
        let home = TestStore::new().await;
        let (store, clock) = (&home.store, Arc::new(SystemClock));
        let collections = vec![home.collection("notes").await, home.collection("poems").await];
        let client = HttpClient::new(Arc::new(MemoryNet::new()), ClientLimits::default());
        let caller = PeerCaller::new(client, Arc::clone(&store.keys), clock.clone());
        let tasks = TaskTracker::new();
        let at_work = (tasks.clone(), CancellationToken::new());
        let puller = Puller::new(store.clone(), caller, Arc::new(Fault));
        let jobs = Jobs::new(puller, clock, Arc::new(Fault), at_work);
        let order = Order::Prune { collections, otherwise: None, grace: prune::GRACE };
        let no = jobs.start(order, Who::AdminToken).await.unwrap();
        tasks.close();
        tasks.wait().await;
        while !jobs.live().is_empty() {
            tokio::task::yield_now().await;
        }
        let runs: Vec<Run> = store.index.runs(None, None, 10).await.unwrap();
        assert_eq!((runs.len(), runs.last().map(|run| run.no)), (2, Some(no)));
        for run in runs {
            let ended = run.ended.expect("it does not go on");
            assert_eq!(ended.result, RunResult::Failed);
            assert!(ended.message.unwrap().contains("fault"));
        }
        // The next one does.
        assert!(store.lock_prune().is_ok());
    }
}

//! Work that somebody asks the server for: it begins at once, goes on by itself, and is on record like what is scheduled.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::live::LiveRuns;
use super::runs::{Recorder, RunError};
use crate::backup::create::Extras;
use crate::backup::drill::DrillOptions;
use crate::backup::recover::RecoverOptions;
use crate::backup::restore::RestoreOptions;
use crate::backup::verify::VerifyOptions;
use crate::clock::Clock;
use crate::domain::audit::Who;
use crate::domain::content::Secrets;
use crate::domain::peer::Trust;
use crate::monitor::{Monitor, with_causes};
use crate::portable::export::ExportOptions;
use crate::replicate::call::PeerCaller;
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
        collection: Box<Collection>,
    },
    /// Copy to targets.
    Copy {
        /// What.
        collection: Box<Collection>,
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
    },
    /// Write a portable backup.
    Export {
        /// Into which folder.
        output: PathBuf,
        /// What.
        options: Box<ExportOptions>,
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
    caller: PeerCaller,
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
    /// Works in `store`, talks to peers through `caller`, on tasks of `tasks`, until `stop`.
    pub fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        caller: PeerCaller,
        monitor: Arc<dyn Monitor>,
        (tasks, stop): (TaskTracker, CancellationToken),
    ) -> Self {
        Self { store, clock, caller, monitor, live: LiveRuns::default(), tasks, stop }
    }

    /// Who talks to peers.
    pub fn caller(&self) -> &PeerCaller {
        &self.caller
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
            Order::Prune { collection } => {
                recorder.prune(&collection, monitor).await?;
            }
            Order::Copy { collection } => {
                recorder.copy(&collection, monitor).await?;
            }
            Order::Sync { peer } => {
                let peers = match peer {
                    Some(peer) => vec![*peer],
                    None => self.peers().await?,
                };
                if peers.is_empty() {
                    return Err(StartError::Nothing("there is no peer to pull from"));
                }
                recorder.sync(self.caller.clone(), &peers, monitor).await?;
            }
            Order::Fetch { collection } => {
                let peers = self.peers().await?;
                if peers.is_empty() {
                    return Err(StartError::Nothing("there is no peer to pull from"));
                }
                let of = collection.map(|collection| collection.id);
                recorder.fetch(self.caller.clone(), of.as_ref(), &peers, monitor).await?;
            }
            Order::Export { output, options } => {
                recorder.export(output, *options, monitor).await?;
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

    /// Peers that are pulled from.
    async fn peers(&self) -> Result<Vec<Peer>, StartError> {
        let mut peers = self.store.index.peers().await.map_err(RunError::from)?;
        peers.retain(|peer| matches!(peer.trust, Trust::Trusted(_)) && peer.follow && peer.address.is_some());
        Ok(peers)
    }
}

//! One pass over the folders, on its own threads: planner, readers, packer, sealers.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

use crossbeam_channel::{bounded, unbounded};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::bins::{self, Bins, SealerContext};
use super::commit::{Committer, Gathered};
use super::cut::Gear;
use super::dedup::Fragments;
use super::pack::Packer;
use super::plan::{Earlier, Planner};
use super::read::{self, ReaderContext};
use super::stand_in::StandIns;
use super::{CommandSource, CreateError, flow};
use crate::backup::recover::OWN;
use crate::domain::chunk::ChunkRef;
use crate::domain::crypto::hash::FragmentKey;
use crate::domain::id::ChunkId;
use crate::domain::metadata::entry::{Entry, FileEntry};
use crate::domain::metadata::node::Node;
use crate::domain::metadata::path::TreePath;
use crate::domain::preset::Preset;
use crate::monitor::{Counter, Monitor, Problem, Relay};
use crate::source::archive::Archive;
use crate::source::{Document, Excludes, LeftOut, Root, WalkOptions, walk};
use crate::store::index::{Collection, CollectionSettings};
use crate::store::{Store, TreeReader, open_chunk_secret};

/// Batches that the planner may be ahead of the readers.
const BATCHES_AHEAD: usize = 24;

/// A tree of before: what is as it was there is taken over.
pub struct EarlierTree {
    /// Its root.
    pub root: Node,
    /// When that backup, or pass, was begun.
    pub created_at: Timestamp,
}

/// What stands at the top of the tree.
enum Source {
    Root(Root),
    Command(CommandSource),
}

impl Source {
    fn path(&self) -> &TreePath {
        match self {
            Source::Root(root) => &root.tree,
            Source::Command(command) => &command.path,
        }
    }
}

/// One run, on its own threads.
pub struct Run {
    /// Where it goes.
    pub store: Store,
    /// Of which collection.
    pub collection: Collection,
    /// How it is backed up.
    pub settings: CollectionSettings,
    /// Hears of progress.
    pub monitor: Arc<Relay>,
    /// Stops it.
    pub cancel: CancellationToken,
    /// For committing a checkpoint from the packer's thread.
    pub runtime: tokio::runtime::Handle,
    /// Chunks to lean on no more: those that were lost, and those of which little is alive. What is in them is stored anew, so
    /// that the latter die with the last old snapshot.
    pub avoid: HashSet<ChunkId>,
    /// What is known of the application.
    pub preset: Option<Preset>,
    /// Where a hook has put copies, and whether one ran.
    pub hook_folder: Option<(PathBuf, bool)>,
    /// Commands whose output is backed up.
    pub commands: Vec<CommandSource>,
    /// An archive that is taken instead of the folders.
    pub archive: Option<Arc<Archive>>,
    /// What the patterns left out.
    pub left_out: Mutex<Vec<LeftOut>>,
}

impl Run {
    /// Goes through the folders once. Blocks.
    ///
    /// # Errors
    /// [`CreateError`].
    pub fn gather(
        &self,
        earlier: &[EarlierTree],
        secrets: Vec<(ChunkId, Vec<u8>)>,
        documents: Vec<Document>,
        committer: &mut Committer,
    ) -> Result<Gathered, CreateError> {
        let master = &self.store.keys.master;
        let derive = |purpose: &str| master.derive(purpose, self.collection.id.as_bytes());
        let names = FragmentKey::new(derive("fragments"));
        let node_names = FragmentKey::new(derive("nodes"));
        let gear = Gear::new(u64::from_le_bytes(derive("cut").expose()[..8].try_into().expect("eight of 32 bytes")));
        let monitor = &*self.monitor;
        monitor.task(&format!("backing up {}", self.collection.name), Counter::BytesDone, None);

        let cores = thread::available_parallelism().map_or(2, usize::from);
        let (batch_in, batch_out) = bounded(BATCHES_AHEAD);
        let (order_in, order_out) = bounded(BATCHES_AHEAD);
        let (job_in, job_out) = bounded(cores);
        let (done_in, done_out) = unbounded();
        let failed = Mutex::new(None);
        let reading = ReaderContext { names: &names, gear: &gear, monitor, cancel: &self.cancel, failed: &failed };
        let sealing = SealerContext {
            collection: self.collection.id,
            level: self.settings.level,
            padding: self.settings.padding,
            master,
            chunks: &*self.store.chunks,
            monitor,
        };

        let gathered = thread::scope(|scope| {
            for _ in 0..cores {
                let (batches, jobs, done) = (batch_out.clone(), job_out.clone(), done_in.clone());
                let (reading, sealing) = (&reading, &sealing);
                scope.spawn(move || read::run(reading, &batches));
                scope.spawn(move || bins::run_sealer(sealing, &jobs, &done));
            }
            drop((batch_out, job_out, done_in));
            let planner = scope.spawn(|| self.plan(earlier, documents, monitor, batch_in, order_in));
            let packer = scope.spawn(|| {
                let fragments = self.fragments(secrets)?;
                let mut pages: Option<TreeReader<'_>> = None;
                let resolve = Box::new(|file: &FileEntry| self.resolve_pages(earlier, &mut pages, file));
                let mut packer = Packer::new(Bins::new(job_in, done_out), &node_names, fragments, resolve, monitor);
                let mut checkpoint = |packer: &mut Packer<'_>| {
                    let gathered = packer.gathered(monitor.heard().problems)?;
                    self.runtime.block_on(committer.commit(&gathered, true)).map(|_| ())
                };
                packer.run(&order_out, &mut checkpoint)?;
                packer.gathered(monitor.heard().problems)
            });
            // An error in the packer is the cause; the planner then only finds that nobody listens.
            let packed = packer.join().map_err(|_| CreateError::Died)?;
            let planned = planner.join().map_err(|_| CreateError::Died)?;
            let gathered = packed?;
            planned?;
            Ok::<_, CreateError>(gathered)
        })?;
        // Nothing is committed of which a part is not what it should be.
        match failed.into_inner().expect("no holder of this lock can panic") {
            Some(error) if !self.cancel.is_cancelled() => Err(error),
            _ => Ok(gathered),
        }
    }

    fn plan(
        &self,
        earlier: &[EarlierTree],
        documents: Vec<Document>,
        monitor: &dyn Monitor,
        batches: crossbeam_channel::Sender<flow::Batch>,
        order: crossbeam_channel::Sender<crossbeam_channel::Receiver<flow::Block>>,
    ) -> Result<(), CreateError> {
        let options = WalkOptions {
            excludes: Excludes::new(&[self.settings.excludes.clone(), OWN.map(str::to_owned).to_vec()].concat())?,
            never: vec![self.store.home.identity()?],
            skip_caches: self.preset.as_ref().is_some_and(|preset| preset.skip_caches),
            tell_left_out: self.preset.is_some(),
            ..WalkOptions::default()
        };
        let earlier = earlier
            .iter()
            .map(|earlier| {
                let entries = self.tree(earlier).map(|entry| entry.map_err(CreateError::from));
                let entries: Box<dyn Iterator<Item = Result<Entry, CreateError>> + Send> = Box::new(entries);
                Earlier::new(entries, earlier.created_at)
            })
            .collect();
        let stand_ins = match (&self.preset, &self.hook_folder) {
            (Some(preset), Some((folder, hook_ran))) => {
                let roots = self.settings.roots.iter().map(|root| (root.name.clone(), root.path.clone())).collect();
                Some(StandIns::new(&self.runtime, preset, folder, *hook_ran, roots)?)
            }
            _ => None,
        };
        let mut planner = Planner::new(earlier, &self.avoid, stand_ins, monitor, batches, order);
        if let Some(archive) = &self.archive {
            planner.archive(archive);
            *self.left_out.lock().expect("no holder of this lock can panic") = planner.take_left_out();
            planner.finish();
            return Ok(());
        }
        let mut sources = Vec::with_capacity(self.settings.roots.len());
        for root in &self.settings.roots {
            let tree =
                TreePath::new(root.name.clone().into_bytes()).map_err(|_| CreateError::BadRoot(root.name.clone()))?;
            sources.push(Source::Root(Root { name: root.name.clone(), tree, path: root.path.clone() }));
        }
        sources.extend(self.commands.iter().cloned().map(Source::Command));
        sources.sort_by(|a, b| a.path().cmp(b.path()));
        let mut unreachable = None;
        let mut reached = 0;
        for source in &sources {
            let root = match source {
                Source::Root(root) => root,
                Source::Command(command) => {
                    reached += 1;
                    planner.command(command.clone());
                    continue;
                }
            };
            let walk = match walk(root, &options, &self.cancel) {
                Ok(walk) => walk,
                // One root that is gone does not keep the others from being backed up.
                Err(error) => {
                    monitor.problem(Problem { subject: root.name.clone(), message: error.to_string() });
                    unreachable.get_or_insert(error);
                    continue;
                }
            };
            reached += 1;
            if !planner.run(walk) || self.cancel.is_cancelled() {
                break;
            }
        }
        if let (0, Some(error)) = (reached, unreachable) {
            return Err(error.into());
        }
        planner.documents(documents);
        *self.left_out.lock().expect("no holder of this lock can panic") = planner.take_left_out();
        planner.finish();
        Ok(())
    }

    /// What is stored already. Chunks of earlier runs whose secrets do not open are as if they were not there.
    fn fragments(&self, secrets: Vec<(ChunkId, Vec<u8>)>) -> Result<Fragments, CreateError> {
        let mut fragments = Fragments::default();
        for (id, sealed) in secrets.into_iter().filter(|(id, _)| !self.avoid.contains(id)) {
            let Ok(secret) = open_chunk_secret(&self.store.keys.master, &id, &sealed) else { continue };
            fragments.add_known(Arc::new(ChunkRef { id, key: secret.key }), secret.fragments.into_iter());
        }
        Ok(fragments)
    }

    fn resolve_pages<'a>(
        &'a self,
        earlier: &[EarlierTree],
        reader: &mut Option<TreeReader<'a>>,
        file: &FileEntry,
    ) -> Result<Vec<crate::domain::metadata::entry::Extent>, CreateError> {
        let first = earlier.first().expect("pages come from an earlier snapshot");
        Ok(reader.get_or_insert_with(|| self.tree(first)).extents(file)?)
    }

    fn tree(&self, earlier: &EarlierTree) -> TreeReader<'_> {
        TreeReader::new(&*self.store.chunks, self.collection.id, earlier.root.clone())
    }
}

//! Taking a collection over: what it needs is looked at first, as a [`TakeOver`], which then is carried out.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::backup::collections::DEFAULT_LEVEL;
use crate::backup::open::{OpenSnapshot, OpenSnapshotError};
use crate::domain::manifest::PrivatePart;
use crate::domain::metadata::entry::EntryKind;
use crate::domain::words::count;
use crate::replicate::succession::{self, Promotion, SuccessionError};
use crate::store::index::{Application, Collection, CollectionKind, CollectionSettings, Root, Snapshot};
use crate::store::place::Precious;
use crate::store::{ChunkStore, IndexError, StandbyLock, Store, StoreError};

/// Why a collection is not taken over.
#[derive(Debug, thiserror::Error)]
pub enum PromoteError {
    /// There is nothing to go on from.
    #[error("collection {0:?} cannot be taken over: this instance has no complete snapshot of it that it can read")]
    NoSnapshot(String),
    /// Nobody said where the data is.
    #[error("in which folder is the data of collection {0} now? Give it with --data; 'bulbil restore' lays it out")]
    WhereIsIt(String),
    /// The folder is not there.
    #[error("{} is not there: restore the collection into it first, or name the folder where the application has its data now", path.display())]
    NotThere {
        /// What was named.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// It is a file.
    #[error("{} is no folder", .0.display())]
    NoFolder(PathBuf),
    /// Keys would get into a backup.
    #[error("{} belongs to this bulbil home: its keys must not get into a backup", .0.display())]
    Home(PathBuf),
    /// The folder has not all roots.
    #[error("{} is missing: the collection has {}", path.display(), count(*roots, "root"))]
    NoRoot {
        /// Which one.
        path: PathBuf,
        /// How many there are.
        roots: u64,
    },
    /// This instance may not, or need not.
    #[error(transparent)]
    Succession(#[from] SuccessionError),
    /// The newest snapshot does not open.
    #[error(transparent)]
    Open(#[from] OpenSnapshotError),
    /// The home; or somebody lays a standby out at this moment.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// A collection that can be taken over, and with what. As long as it is there no standby is laid out.
#[derive(Debug)]
pub struct TakeOver {
    /// The collection, as its leader of now has it.
    pub collection: Collection,
    /// The newest whole snapshot that is here.
    pub newest: Snapshot,
    /// What is backed up from then on.
    pub settings: CollectionSettings,
    /// How many newer snapshots could not be fetched whole.
    pub not_fetched: u64,
    _standby: StandbyLock,
}

impl TakeOver {
    /// Looks whether a collection can be taken over, with its data in `data`, or where its standby is laid out.
    ///
    /// # Errors
    /// [`PromoteError`].
    pub async fn plan(store: &Store, collection: Collection, data: Option<PathBuf>) -> Result<Self, PromoteError> {
        let snapshots = store.index.snapshots(Some(&collection.id)).await?;
        let newest =
            snapshots.iter().filter(|s| s.complete && s.has_key && !s.partial && !s.beside).max_by_key(|s| s.sequence);
        let newest = newest.cloned().ok_or_else(|| PromoteError::NoSnapshot(collection.name.clone()))?;
        let open = OpenSnapshot::open(store, &newest.id)?;
        // Whoever lays it out at this moment finishes first; afterwards nobody does.
        let _standby = store.lock_standby()?;
        let settings = if open.private.roots.is_empty() {
            // What an Axon BBS told: there is no folder, the snapshots are all of it.
            axon_settings(&open)
        } else {
            let laid_out = collection.standby.as_ref().map(|standby| standby.into.clone());
            let data = data.or(laid_out).ok_or_else(|| PromoteError::WhereIsIt(collection.name.clone()))?;
            settings(store, &open, &data)?
        };
        let not_fetched = snapshots.iter().filter(|s| !s.beside && s.sequence > newest.sequence).count() as u64;
        Ok(Self { collection, newest, settings, not_fetched, _standby })
    }

    /// Takes it over.
    ///
    /// # Errors
    /// [`PromoteError`]; nothing is changed then.
    pub async fn carry_out(&self, store: &Store, now: Timestamp) -> Result<Promotion, PromoteError> {
        Ok(succession::promote(store, &self.collection, &self.settings, now).await?)
    }
}

/// Backs up what 'bulbil restore' lays out: one folder comes directly into the target, several roots get a folder each.
fn settings(store: &Store, open: &OpenSnapshot, data: &Path) -> Result<CollectionSettings, PromoteError> {
    let not_there = |path: &Path| {
        let path = path.to_owned();
        move |cause| PromoteError::NotThere { path, cause }
    };
    let data = std::fs::canonicalize(data).map_err(not_there(data))?;
    if !data.is_dir() {
        return Err(PromoteError::NoFolder(data));
    }
    let home = store.home.root();
    if data.starts_with(home.canonicalize().map_err(not_there(home))?) || Precious::Home.holds(&data) {
        return Err(PromoteError::Home(data));
    }
    let PrivatePart { roots, excludes, padding, .. } = &open.private;
    let single = roots.len() == 1 && !is_file(open, &*store.chunks);
    let root = |name: &String| {
        let path = if single { data.clone() } else { data.join(name) };
        match path.exists() {
            true => Ok(Root { name: name.clone(), path }),
            false => Err(PromoteError::NoRoot { path, roots: roots.len() as u64 }),
        }
    };
    let roots = roots.iter().map(|one| root(&one.name)).collect::<Result<Vec<_>, _>>()?;
    let (application, excludes) = application(store, open, excludes);
    Ok(CollectionSettings {
        application,
        roots,
        excludes,
        level: DEFAULT_LEVEL,
        padding: *padding,
        kind: CollectionKind::Directory,
    })
}

/// The preset by which its snapshots were made, if it is known here, and what was left out beside that.
fn application(store: &Store, open: &OpenSnapshot, excludes: &[String]) -> (Option<Application>, Vec<String>) {
    let label = open.private.capture.as_ref().and_then(|capture| capture.preset.as_deref());
    let name = label.map(|label| label.split_once('/').map_or(label, |(name, _)| name));
    let Some(preset) = name.and_then(|name| store.preset(name).ok()) else { return (None, excludes.to_vec()) };
    let own = excludes.strip_prefix(preset.patterns().as_slice()).unwrap_or(excludes).to_vec();
    (Some(Application { preset: preset.name, hooks: None }), own)
}

/// Goes on with what the snapshots hold.
fn axon_settings(open: &OpenSnapshot) -> CollectionSettings {
    CollectionSettings {
        application: None,
        roots: Vec::new(),
        excludes: Vec::new(),
        level: DEFAULT_LEVEL,
        padding: open.private.padding,
        kind: CollectionKind::Axon,
    }
}

/// Whether the only root is a single file.
fn is_file(open: &OpenSnapshot, chunks: &dyn ChunkStore) -> bool {
    let first = open.tree(chunks).next().and_then(Result::ok);
    first.is_some_and(|entry| !matches!(entry.kind, EntryKind::Directory))
}

//! The repository: keys, chunk files, manifest files, and the index over them.
//!
//! Write order (R8): chunks durable → manifest durable → index commit; deleting goes the other way. The index is derived
//! data: [`Store::rebuild`] makes it anew from keys, manifests and chunks (R7). Only this module says sqlx.

mod alerts; // whom to tell what is wrong
mod access; // what lets somebody in on the admin plane
mod blocking;
mod entropy;
mod escrow; // secrets of applications
mod files;
mod home;
mod keys;
mod ledger;
mod lock;
mod marker;
mod onion;
mod presets;
mod rebuild;
mod rotate; // other keys for this instance
mod secrets;
mod sweep;
pub mod objects; // chunks and manifests in a bucket
mod targets;

pub mod audit; // who did what
pub mod axon; // what is known of an Axon BBS
pub mod live; // a copy of a database that is in use
pub mod foreign; // a database of another program
pub mod incoming; // what comes from elsewhere is checked
pub mod dir; // a folder that others may have made, by its handle
pub mod chunks; // immutable objects named by their hash
pub mod index; // what is where: SQLite
pub mod manifests; // manifest files and their sidecars
pub mod place; // where something may be written
pub mod tree; // walks the metadata tree of a snapshot

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use access::{AccessError, AdmissionStamp};
pub use blocking::blocking;
pub use chunks::{ChunkStore, ChunkStoreError};
pub use entropy::{entropy, fresh_axon_key, fresh_envelope_key};
pub use escrow::{Escrow, EscrowFileError};
pub use files::write_private;
pub use home::Home;
pub use index::{Index, IndexError};
pub use keys::{Keys, Passphrase};
pub use lock::{BackupLock, ChunkHold, PruneLock, ServerInfo, ServerLock, StandbyLock, SweepGate, TorLock};
pub use manifests::{ManifestFileError, ManifestFiles};
pub use marker::Away;
pub use objects::BucketStore;
pub use onion::{OnionImportError, OnionName};
pub use presets::PresetsError;
pub use rebuild::RebuildReport;
pub use rotate::Rotate;
pub use secrets::{ChunkSecret, open_chunk_secret, seal_chunk_secret};
pub use sweep::{SweepError, Swept};
pub use targets::TargetLock;
pub use tree::{TreeError, TreeReader};

use crate::domain::id::InstanceId;
use crate::transport::bucket::Bucket;
use chunks::ChunkFiles;
use ledger::LedgerFile;
use marker::Marker;
use objects::ChunkObjects;

use crate::domain::crypto::keywrap::EnvelopeKey;
use crate::domain::crypto::recovery::RecoveryKey;
use crate::domain::id::ManifestId;
use crate::domain::peer::is_plain_name;

/// Chunks of which one has to be there before a folder without a mark is taken for the right one.
const KNOWN: usize = 256;

/// What went wrong with a home.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no home.
    #[error("{} is not a bulbil home: make one with 'bulbil init', or name another with --home", path.display())]
    NotAHome {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A later program made it.
    #[error("{} was made by a later version of bulbil ({found}): use a newer bulbil to open it", path.display())]
    NewerHome {
        /// Where.
        path: PathBuf,
        /// What it says of itself.
        found: String,
    },
    /// There is one already.
    #[error("{} is a bulbil home already: nothing was changed", path.display())]
    AlreadyAHome {
        /// Where.
        path: PathBuf,
    },
    /// Something else is there.
    #[error("{} is not empty and not a bulbil home: choose an empty or new directory", path.display())]
    NotEmpty {
        /// Where.
        path: PathBuf,
    },
    /// A name that cannot be shown.
    #[error("{name:?} is no name: use 1 to 64 letters, digits, '-', '_' and '.', not beginning with '-' or '.'")]
    BadName {
        /// The name.
        name: String,
    },
    /// The keys are sealed under a passphrase.
    #[error(
        "the keys of this home are protected by a passphrase: give it with --passphrase-file, or type it on a terminal"
    )]
    PassphraseNeeded,
    /// It is not this one.
    #[error("the passphrase is wrong: the keys do not open with it")]
    WrongPassphrase,
    /// A passphrase of no length.
    #[error("the passphrase is empty: give one of some length, or none at all")]
    EmptyPassphrase,
    /// A key is not there.
    #[error("{} is missing: put keys/ back from a copy, or recover with 'bulbil rescue' and the recovery key", path.display())]
    KeysMissing {
        /// Which file.
        path: PathBuf,
    },
    /// A key does not open.
    #[error("{} is damaged or belongs to another home: put keys/ back from a copy, or recover with 'bulbil rescue' and the recovery key", path.display())]
    KeysDamaged {
        /// Which file.
        path: PathBuf,
    },
    /// What lets somebody in on the admin plane does not open.
    #[error("{} is damaged, so that no token and no password lets anybody in: remove it, then set the password ('bulbil password set') and make the tokens anew", path.display())]
    AccessDamaged {
        /// Which file.
        path: PathBuf,
    },
    /// Others can read a key.
    #[error("{} can be reached by others than its owner (mode {mode:03o}): run 'chmod {wanted} {}'", path.display(), path.display())]
    KeysReadable {
        /// Which file or folder.
        path: PathBuf,
        /// Its mode now.
        mode: u32,
        /// The mode it should have.
        wanted: &'static str,
    },
    /// Some home keeps its chunks there.
    #[error("{address} holds the chunks of a home already: name another prefix")]
    BucketTaken {
        /// Where.
        address: String,
    },
    /// Somebody else is at it.
    #[error("another bulbil holds the {what} lock of this home{}: wait until it is done", pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    Busy {
        /// Which lock.
        what: String,
        /// Who.
        pid: Option<u32>,
    },
    /// The disk is full.
    #[error("no space is left at {}: free some, then run the command again; nothing that was stored is lost", path.display())]
    NoSpace {
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// The system said no.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// A folder of the home is not there, as far as can be seen.
    #[error(transparent)]
    Away(#[from] Away),
    /// The index said no.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A chunk could not be read or written.
    #[error(transparent)]
    Chunk(#[from] ChunkStoreError),
    /// A manifest could not be read or written.
    #[error(transparent)]
    Manifest(#[from] ManifestFileError),
}

impl StoreError {
    fn io(what: &'static str, path: &Path, cause: std::io::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        let path = path.to_owned();
        match cause.kind() {
            StorageFull | QuotaExceeded => StoreError::NoSpace { path, cause },
            _ => StoreError::Io { what, path, cause },
        }
    }
}

/// How a home is made.
#[derive(Debug)]
pub struct CreateOptions {
    /// What its admin calls it.
    pub name: String,
    /// Protects its keys, if there is one.
    pub passphrase: Option<Passphrase>,
}

/// An open repository. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    /// Where it is.
    pub home: Home,
    /// Its private keys.
    pub keys: Arc<Keys>,
    /// What is where.
    pub index: Index,
    /// Chunks and segments.
    pub chunks: Arc<dyn ChunkStore>,
    /// Manifests and envelopes.
    pub manifests: ManifestFiles,
}

impl Store {
    /// Makes a home and opens it. The recovery key is shown once and kept nowhere here.
    ///
    /// Killed or dropped in between, it leaves something that the next attempt clears away.
    ///
    /// # Errors
    /// [`StoreError::AlreadyAHome`], [`StoreError::NotEmpty`], [`StoreError::BadName`], [`StoreError::Io`].
    pub async fn create(home: &Path, options: CreateOptions) -> Result<(Self, RecoveryKey), StoreError> {
        Self::create_with(home, options, None).await
    }

    /// Like [`create`](Self::create), with an envelope key that exists already: making one takes a moment.
    ///
    /// # Errors
    /// See [`create`](Self::create).
    pub async fn create_with(
        home: &Path,
        options: CreateOptions,
        envelope: Option<EnvelopeKey>,
    ) -> Result<(Self, RecoveryKey), StoreError> {
        Self::create_at(home, options, envelope, None).await
    }

    /// Like [`create`](Self::create), with chunks and manifests in a bucket.
    ///
    /// # Errors
    /// See [`create`](Self::create); [`StoreError::BucketTaken`], [`ChunkStoreError::Bucket`].
    pub async fn create_in_bucket(
        home: &Path,
        options: CreateOptions,
        bucket: BucketStore,
    ) -> Result<(Self, RecoveryKey), StoreError> {
        Self::create_at(home, options, None, Some(bucket)).await
    }

    async fn create_at(
        home: &Path,
        options: CreateOptions,
        envelope: Option<EnvelopeKey>,
        bucket: Option<BucketStore>,
    ) -> Result<(Self, RecoveryKey), StoreError> {
        if !is_plain_name(&options.name) {
            return Err(StoreError::BadName { name: options.name });
        }
        let home = home.to_owned();
        let made = tokio::task::spawn_blocking(move || {
            let home = Home::begin(&home)?;
            if let Some(store) = &bucket {
                refuse_taken(&store.open().map_err(ChunkStoreError::from)?)?;
            }
            let envelope = envelope.unwrap_or_else(fresh_envelope_key);
            let (keys, recovery) = Keys::create(&home, options.name, options.passphrase.as_ref(), envelope)?;
            if let Some(store) = &bucket {
                let bucket = store.open().map_err(ChunkStoreError::from)?;
                ChunkObjects::mark(&bucket, &keys.instance()).map_err(ChunkStoreError::from)?;
                store.save(&home, &keys)?;
            }
            Ok::<_, StoreError>((home, keys, recovery))
        });
        let (home, keys, recovery) = made.await.expect("making keys does not panic")?;
        let keys = Arc::new(keys);
        let ledger = LedgerFile::new(&home, keys.clone());
        let index = Index::create(&home.index(), Some(ledger)).await?;
        index.save_ledger().await?;
        home.finish()?;
        Ok((Self::assemble(home, keys, index).await?, recovery))
    }

    /// Opens a home.
    ///
    /// # Errors
    /// [`StoreError::NotAHome`], [`StoreError::NewerHome`], [`StoreError::PassphraseNeeded`],
    /// [`StoreError::WrongPassphrase`], [`StoreError::KeysReadable`], [`IndexError::Missing`], [`IndexError::Damaged`].
    pub async fn open(home: &Path, passphrase: Option<Passphrase>) -> Result<Self, StoreError> {
        let home = Home::open(home)?;
        let keys = Arc::new(open_keys(&home, passphrase).await?);
        Self::with_keys(home, keys).await
    }

    async fn with_keys(home: Home, keys: Arc<Keys>) -> Result<Self, StoreError> {
        let ledger = LedgerFile::new(&home, keys.clone());
        let index = Index::open(&home.index(), Some(ledger)).await?;
        // What is known already costs a look; after a kill in a rotation the index does not know it yet.
        if !keys.renewals.is_empty() {
            index.add_own_renewals(&keys.renewals).await?;
        }
        Self::assemble(home, keys, index).await
    }

    /// Whether [`open`](Self::open) takes a passphrase.
    ///
    /// # Errors
    /// [`StoreError::NotAHome`], [`StoreError::KeysReadable`], [`StoreError::KeysMissing`].
    pub fn needs_passphrase(home: &Path) -> Result<bool, StoreError> {
        keys::needs_passphrase(&Home::open(home)?)
    }

    /// Makes the index anew from keys, manifests and chunks (R7). The old index, whatever its state, is replaced
    /// only when the new one is whole. Nobody else may be at work in the home.
    ///
    /// # Errors
    /// [`StoreError::Busy`], and what [`open`](Self::open) says. A damaged manifest or chunk is no error: it stands in the report.
    pub async fn rebuild(home: &Path, passphrase: Option<Passphrase>) -> Result<(Self, RebuildReport), StoreError> {
        let home = Home::open(home)?;
        let keys = Arc::new(open_keys(&home, passphrase).await?);
        let _backup = lock::lock_backup(&home)?;
        let _prune = lock::lock_prune(&home)?;
        let _server = lock::lock_server(&home, None)?;
        let report = rebuild::rebuild(&home, &keys).await?;
        let ledger = LedgerFile::new(&home, keys.clone());
        let index = Index::open(&home.index(), Some(ledger)).await?;
        index.save_ledger().await?;
        Ok((Self::assemble(home, keys, index).await?, report))
    }

    /// Rewrites the ledger. Every change of collections and peers does it by itself.
    ///
    /// # Errors
    /// [`IndexError::Ledger`].
    pub async fn save_ledger(&self) -> Result<(), StoreError> {
        Ok(self.index.save_ledger().await?)
    }

    /// Whether the ledger is what it was.
    ///
    /// # Errors
    /// [`StoreError::KeysDamaged`], [`StoreError::Io`].
    pub fn check_ledger(&self) -> Result<(), StoreError> {
        LedgerFile::new(&self.home, self.keys.clone()).load().map(drop)
    }

    /// Makes this process the only one that backs up here. Let go when dropped, or when the process ends.
    ///
    /// # Errors
    /// [`StoreError::Busy`], [`StoreError::Away`].
    pub fn lock_backup(&self) -> Result<BackupLock, StoreError> {
        self.check_folders()?;
        lock::lock_backup(&self.home)
    }

    /// Keeps what the index does not name from being removed as long as it is held: for whoever stores chunks before the index names
    /// them, and for whoever reads a snapshot. A backup holds it by its own lock.
    ///
    /// # Errors
    /// [`ChunkStoreError::Io`].
    pub fn hold_chunks(&self) -> Result<ChunkHold, ChunkStoreError> {
        lock::hold_chunks(&self.home)
    }

    /// Makes this process the only one that removes snapshots here.
    ///
    /// # Errors
    /// [`StoreError::Busy`], [`StoreError::Away`].
    pub fn lock_prune(&self) -> Result<PruneLock, StoreError> {
        self.check_folders()?;
        lock::lock_prune(&self.home)
    }

    /// Makes this process the server of this home, and tells the command line where it listens.
    ///
    /// # Errors
    /// [`StoreError::Busy`].
    pub fn lock_server(&self, info: &ServerInfo) -> Result<ServerLock, StoreError> {
        lock::lock_server(&self.home, Some(info))
    }

    /// Makes this process the one that writes Tor's state here.
    ///
    /// # Errors
    /// [`StoreError::Busy`].
    pub fn lock_tor(&self) -> Result<TorLock, StoreError> {
        lock::lock_tor(&self.home)
    }

    /// Makes this process the one that lays out snapshots here.
    ///
    /// # Errors
    /// [`StoreError::Busy`].
    pub fn lock_standby(&self) -> Result<StandbyLock, StoreError> {
        lock::lock_standby(&self.home)
    }

    /// The server that runs in this home now.
    pub fn running_server(&self) -> Option<ServerInfo> {
        lock::running_server(&self.home)
    }

    /// Snapshots that the index knows and whose manifest or sidecar is not there. None while the folder is not there: that says
    /// nothing of what is in it.
    ///
    /// # Errors
    /// [`IndexError`], [`ManifestFileError::Io`].
    pub async fn lost_manifests(&self) -> Result<Vec<ManifestId>, StoreError> {
        // The index is read first: what is added meanwhile has its files before it is there.
        if self.manifests.check().is_err() {
            return Ok(Vec::new());
        }
        let known = self.index.snapshots(None).await?;
        let files = self.manifests.clone();
        let whole =
            tokio::task::spawn_blocking(move || files.whole()).await.expect("reading a folder does not panic")?;
        let mut lost = Vec::new();
        for id in known.iter().map(|snapshot| snapshot.id).filter(|id| !whole.contains(id)) {
            // It may have been removed in between.
            if self.index.snapshot(&id).await?.is_some() {
                lost.push(id);
            }
        }
        Ok(lost)
    }

    /// Whether the folders of chunks and of manifests are this home's. If one is not, its disk is not mounted, or it is lost:
    /// then nothing is written there, and nothing that is not found counts as lost.
    ///
    /// # Errors
    /// [`Away`], which says what to do.
    pub fn check_folders(&self) -> Result<(), Away> {
        // What else may be wrong says who reads or writes.
        if let Err(ChunkStoreError::Away(away)) = self.chunks.check() {
            return Err(away);
        }
        Marker::of_manifests(&self.home, &self.keys).check()
    }

    /// Takes the folders of chunks and of manifests as they are now: what is not in them is lost. Answers whether that was to say.
    ///
    /// # Errors
    /// What [`open`](Self::open) says of the keys; [`StoreError::Io`].
    pub async fn accept_loss(home: &Path, passphrase: Option<Passphrase>) -> Result<bool, StoreError> {
        let home = Home::open(home)?;
        let keys = open_keys(&home, passphrase).await?;
        let mut said = false;
        let bucket = BucketStore::load(&home, &keys)?;
        if let Some(store) = &bucket {
            let (bucket, quarantine) = (store.open().map_err(ChunkStoreError::from)?, home.quarantine());
            let owners: Vec<InstanceId> = keys.own_ids().collect();
            let owner = keys.instance();
            said = blocking(move || match ChunkObjects::open(bucket.clone(), quarantine, owners).check() {
                Ok(()) => Ok(false),
                Err(_) => ChunkObjects::mark(&bucket, &owner).map(|()| true),
            })
            .await
            .map_err(ChunkStoreError::from)?;
        }
        let of_chunks = bucket.is_none().then(|| Marker::of_chunks(&home, &keys));
        for marker in of_chunks.into_iter().chain([Marker::of_manifests(&home, &keys)]) {
            if marker.check().is_err() {
                marker.write().map_err(|cause| StoreError::io("mark", marker.dir(), cause))?;
                said = true;
            }
        }
        Ok(said)
    }

    async fn assemble(home: Home, keys: Arc<Keys>, index: Index) -> Result<Self, StoreError> {
        let (of_chunks, of_manifests) = (Marker::of_chunks(&home, &keys), Marker::of_manifests(&home, &keys));
        let bucket = BucketStore::load(&home, &keys)?;
        let bucket = bucket.map(|store| store.open()).transpose().map_err(ChunkStoreError::from)?;
        let files = Arc::new(ChunkFiles::open(of_chunks.clone(), home.quarantine())?);
        let manifests = ManifestFiles::open(of_manifests.clone(), bucket.clone());
        // New folders, and those of an earlier version, have no mark yet. They get one if nothing is known to be in them, or
        // something of that is there.
        if bucket.is_none() && of_chunks.check().is_err_and(|away| away.may_be_marked()) {
            let known = index.some_present(KNOWN).await?;
            if known.is_empty() || known.iter().any(|id| files.path(id).exists()) {
                mark(&of_chunks);
            }
        }
        if of_manifests.check().is_err_and(|away| away.may_be_marked()) {
            let known = index.snapshots(None).await?;
            if known.is_empty() || known.iter().any(|snapshot| manifests.path(&snapshot.id).exists()) {
                mark(&of_manifests);
            }
        }
        let chunks: Arc<dyn ChunkStore> = match bucket {
            Some(bucket) => Arc::new(ChunkObjects::open(bucket, home.quarantine(), keys.own_ids().collect())),
            None => files,
        };
        Ok(Self { home, keys, index, chunks, manifests })
    }
}

/// Refuses a place in a bucket that is some home's.
fn refuse_taken(bucket: &Bucket) -> Result<(), StoreError> {
    match ChunkObjects::owner(bucket).map_err(ChunkStoreError::from)? {
        None => Ok(()),
        Some(_) => Err(StoreError::BucketTaken { address: bucket.address().to_string() }),
    }
}

/// Marks a folder. That it cannot be marked is told by whoever writes into it.
fn mark(marker: &Marker) {
    if let Err(error) = marker.write() {
        tracing::warn!(%error, folder = %marker.dir().display(), "a folder cannot be marked");
    }
}

/// Stretching a passphrase takes a moment, which must not be the executor's.
async fn open_keys(home: &Home, passphrase: Option<Passphrase>) -> Result<Keys, StoreError> {
    let Some(passphrase) = passphrase else { return Keys::open(home, None) };
    let home = home.clone();
    tokio::task::spawn_blocking(move || Keys::open(&home, Some(&passphrase)))
        .await
        .expect("opening keys does not panic")
}

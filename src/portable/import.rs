//! From a folder to here.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::fill::{Filled, Filling};
use super::folder::{CollectionFolder, FileError, Folder, FolderError};
use super::keys;
use super::place::{At, PlaceError};
use crate::domain::crypto::keywrap::KeyError;
use crate::domain::crypto::recovery::{RecoveryError, RecoveryKey};
use crate::domain::envelope::Envelope;
use crate::domain::id::{CollectionId, InstanceId, ManifestId};
use crate::domain::manifest::SignedManifest;
use crate::domain::succession::{SignedStatement, Verified};
use crate::domain::text::shown;
use crate::monitor::{Counter, Monitor, Problem};
use crate::store::incoming::save_new;
use crate::store::{Away, ChunkStoreError, EscrowFileError, IndexError, ManifestFileError, Store, blocking};

/// So many manifests are taken together.
const BATCH: usize = 128;
/// So many statements of a collection are read, and no more.
const MAX_STATEMENTS: usize = 4096;

/// Why nothing, or not all, was imported. What came stays, and is not read again.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is no portable backup.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// It cannot be read.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// A collection is not in it.
    #[error("there is no collection {name:?} in this portable backup; there are: {there}")]
    NoCollection {
        /// What was asked for.
        name: String,
        /// What there is.
        there: String,
    },
    /// The index cannot be used.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Chunks cannot be stored.
    #[error(transparent)]
    Chunks(#[from] ChunkStoreError),
    /// Manifests cannot be stored.
    #[error(transparent)]
    Manifests(#[from] ManifestFileError),
    /// Secrets cannot be kept.
    #[error(transparent)]
    Escrow(#[from] EscrowFileError),
    /// A folder of the home is not there.
    #[error(transparent)]
    Away(#[from] Away),
    /// Our own recovery key is unusable.
    #[error("a snapshot's key cannot be wrapped for this instance's recovery key")]
    Recovery(#[from] RecoveryError),
    /// Our own key is unusable.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It was stopped.
    #[error("stopped: what came stays; run it again to go on")]
    Cancelled,
}

/// What is imported.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// These collections, by name or by the beginning of their id; all, if there are none.
    pub collections: Vec<String>,
    /// Manifests and keys only.
    pub skip_chunks: bool,
    /// Opens what our own key does not open.
    pub recovery: Option<Arc<RecoveryKey>>,
}

/// What came.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Imported {
    /// Collections that were looked at.
    pub collections: Vec<CollectionId>,
    /// Snapshots that were not known here.
    pub new_snapshots: u64,
    /// Snapshots that were known here already.
    pub known_snapshots: u64,
    /// Snapshots that were deleted here, and stay so.
    pub deleted_here: u64,
    /// Snapshots that can be read from now on.
    pub keys: u64,
    /// Snapshots that cannot be read here.
    pub without_key: u64,
    /// Secrets of applications that came with them, sealed under a recovery key.
    pub secrets: u64,
    /// Snapshots of which chunks are missing.
    pub incomplete: u64,
    /// Who made them that is neither this instance nor a peer of it.
    pub strangers: BTreeSet<InstanceId>,
    /// Chunks that came.
    #[serde(flatten)]
    pub filled: Filled,
}

/// Takes snapshots from a portable backup, or from all in `dir`. What is damaged or missing is a problem for `monitor`, and the rest goes
/// on. Killed at any point, the same call goes on.
///
/// # Errors
/// [`ImportError`].
pub async fn import(
    store: &Store,
    dir: &Path,
    options: &ImportOptions,
    monitor: Arc<dyn Monitor>,
    cancel: &CancellationToken,
) -> Result<Imported, ImportError> {
    import_from(store, &At::Folder(dir.to_owned()), options, monitor, cancel).await
}

/// The same from any place.
///
/// # Errors
/// [`ImportError`].
pub async fn import_from(
    store: &Store,
    at: &At,
    options: &ImportOptions,
    monitor: Arc<dyn Monitor>,
    cancel: &CancellationToken,
) -> Result<Imported, ImportError> {
    store.check_folders()?;
    let (at, told) = (at.clone(), Arc::clone(&monitor));
    let folders = blocking(move || {
        let open = |folder: Folder| folder.collections(&*told).map(|collections| (folder, collections));
        Folder::open_all(&at, &*told)?.into_iter().map(open).collect::<Result<Vec<_>, _>>().map_err(ImportError::from)
    });
    let folders = folders.await?;
    let chosen = choose(store, &folders, &options.collections).await?;
    let work = Work { store, options, monitor: &monitor, cancel };
    let (mut imported, mut seen) = (Imported::default(), BTreeSet::new());
    for ((folder, collections), chosen) in folders.into_iter().zip(chosen) {
        let mut snapshots = Vec::new();
        for (collection, chosen) in collections.into_iter().zip(chosen) {
            if chosen {
                snapshots.extend(work.collection(collection, &mut imported).await?);
            }
        }
        if !options.skip_chunks {
            monitor.task("importing", Counter::ChunkBytes, None);
            let filling = Filling::new(store, Arc::new(folder), &monitor, cancel);
            filling.fill(&snapshots).await?;
            let filled = filling.finish();
            imported.filled = Filled {
                chunks: imported.filled.chunks + filled.chunks,
                bytes: imported.filled.bytes + filled.bytes,
                lists: imported.filled.lists + filled.lists,
            };
        }
        seen.extend(snapshots);
    }
    work.look_back(&seen, &mut imported).await?;
    Ok(imported)
}

/// Which collections of each folder are wanted.
async fn choose(
    store: &Store,
    folders: &[(Folder, Vec<CollectionFolder>)],
    names: &[String],
) -> Result<Vec<Vec<bool>>, ImportError> {
    let known = store.index.collections().await?;
    let is_called = |folder: &CollectionFolder, name: &str| {
        let id = folder.id();
        let here = known.iter().any(|known| Some(known.id) == id && known.name == name);
        let said = folder.document.as_ref().and_then(|document| document.name.as_deref()) == Some(name);
        let by_id = name.len() >= 6 && id.is_some_and(|id| id.to_string().starts_with(name));
        here || said || by_id || folder.shown == name
    };
    let all = || folders.iter().flat_map(|(_, collections)| collections);
    for name in names {
        if !all().any(|folder| is_called(folder, name)) {
            let there = |folder: &CollectionFolder| match &folder.document {
                Some(document) => document.name.as_deref().map_or_else(|| document.collection.to_string(), shown),
                None => folder.shown.clone(),
            };
            let there: BTreeSet<String> = all().map(there).collect();
            let there = there.into_iter().collect::<Vec<_>>().join(", ");
            return Err(ImportError::NoCollection { name: name.clone(), there });
        }
    }
    let wanted = |folder: &CollectionFolder| names.is_empty() || names.iter().any(|name| is_called(folder, name));
    Ok(folders.iter().map(|(_, collections)| collections.iter().map(wanted).collect()).collect())
}

struct Work<'a> {
    store: &'a Store,
    options: &'a ImportOptions,
    monitor: &'a Arc<dyn Monitor>,
    cancel: &'a CancellationToken,
}

type Read = (Vec<(SignedManifest, Vec<Envelope>)>, Vec<(ManifestId, FileError)>);

impl Work<'_> {
    /// Takes manifests and keys of a collection; answers its snapshots, as far as they are known here now.
    async fn collection(
        &self,
        folder: CollectionFolder,
        imported: &mut Imported,
    ) -> Result<Vec<ManifestId>, ImportError> {
        let (store, index) = (self.store, &self.store.index);
        let statements = folder.document.iter().flat_map(|document| &document.succession).take(MAX_STATEMENTS);
        let statements = self.verified(statements);
        index.add_statements(&statements).await?;
        let (mut new, mut here) = (Vec::new(), Vec::new());
        for id in &folder.snapshots {
            match index.snapshot(id).await? {
                Some(_) => here.push(*id),
                None if index.was_deleted(id).await? => imported.deleted_here += 1,
                None => new.push(*id),
            }
        }
        imported.known_snapshots += here.len() as u64;
        let folder = Arc::new(folder);
        let mut came = Vec::new();
        for batch in new.chunks(BATCH) {
            if self.cancel.is_cancelled() {
                return Err(ImportError::Cancelled);
            }
            let (folder, batch) = (Arc::clone(&folder), batch.to_vec());
            let (read, bad): Read = blocking(move || read(&folder, &batch)).await;
            for (id, error) in bad {
                self.left_out(&id, &crate::monitor::with_causes(&error));
            }
            came.extend(self.keep(read).await?);
        }
        if !statements.is_empty() && !came.is_empty() {
            // Of a collection that was not known before, some were not kept.
            index.add_statements(&statements).await?;
        }
        imported.new_snapshots += came.len() as u64;
        here.extend(came);
        if let Some(first) = here.first()
            && let Some(snapshot) = index.snapshot(first).await?
        {
            imported.collections.push(snapshot.collection);
        }
        imported.secrets += self.escrows(&folder).await?;
        let mut closed = Vec::new();
        for id in &here {
            if index.snapshot(id).await?.is_some_and(|snapshot| !snapshot.has_key) {
                closed.push(*id);
            }
        }
        for batch in closed.chunks(BATCH) {
            let (store_, folder, batch) = (store.clone(), Arc::clone(&folder), batch.to_vec());
            let recovery = self.options.recovery.clone();
            let opened = blocking(move || keys::open_all(&store_, &folder, &batch, recovery.as_deref())).await?;
            imported.keys += opened.note(store).await?;
        }
        Ok(here)
    }

    /// Keeps the secrets that came; with the recovery key they open here from now on.
    async fn escrows(&self, folder: &Arc<CollectionFolder>) -> Result<u64, ImportError> {
        let (store, folder, recovery) = (self.store.clone(), Arc::clone(folder), self.options.recovery.clone());
        let ours = move || {
            let of_it = folder.escrows.iter().filter(|escrow| Some(escrow.collection) == folder.id());
            of_it.map(|escrow| store.keep_escrow(escrow, recovery.as_deref())).sum::<Result<usize, _>>()
        };
        Ok(blocking(ours).await? as u64)
    }

    fn verified<'a>(&self, told: impl Iterator<Item = &'a SignedStatement>) -> Vec<Verified> {
        let verified = told.filter_map(|signed| {
            let verified = signed.verify();
            verified.inspect_err(|error| tracing::warn!(%error, "a statement in a folder was ignored")).ok()
        });
        verified.filter(|verified| !self.store.keys.disown(verified)).collect()
    }

    /// Saves manifests, then notes them, the older ones first; answers those that are new here.
    async fn keep(&self, mut manifests: Vec<(SignedManifest, Vec<Envelope>)>) -> Result<Vec<ManifestId>, ImportError> {
        manifests.sort_by_key(|(signed, _)| (signed.manifest.sequence, signed.id));
        let files = self.store.manifests.clone();
        let saved = blocking(move || save_new(&files, &manifests).map(|written| (written, manifests)));
        let (written, manifests) = saved.await?;
        let signed: Vec<SignedManifest> = manifests.into_iter().map(|(signed, _)| signed).collect();
        let noted = match self.store.index.note_manifests(&signed).await {
            Err(IndexError::Fork { .. } | IndexError::ChunkElsewhere { .. } | IndexError::Contradiction { .. }) => {
                self.one_by_one(&signed).await
            }
            noted => noted.map(|new| (new, HashSet::new())).map_err(ImportError::from),
        };
        // What the index does not name leaves no file behind.
        let kept: HashSet<ManifestId> = noted.iter().flat_map(|(new, _)| new).copied().collect();
        let mut stray = Vec::new();
        for id in written {
            if !kept.contains(&id) && self.store.index.snapshot(&id).await?.is_none() {
                stray.push(id);
            }
        }
        let files = self.store.manifests.clone();
        blocking(move || stray.iter().try_for_each(|id| files.remove(id))).await?;
        let (noted, told) = noted?;
        for signed in signed.iter().filter(|signed| !kept.contains(&signed.id) && !told.contains(&signed.id)) {
            if self.store.index.snapshot(&signed.id).await?.is_none() {
                self.left_out(&signed.id, "whoever made it has no business in its collection");
            }
        }
        Ok(noted)
    }

    /// What one manifest does is no reason to leave out the others. Answers those that are new, and those of which was told why they are
    /// left out.
    async fn one_by_one(&self, all: &[SignedManifest]) -> Result<(Vec<ManifestId>, HashSet<ManifestId>), ImportError> {
        let (mut noted, mut told) = (Vec::new(), HashSet::new());
        for signed in all {
            match self.store.index.note_manifests(std::slice::from_ref(signed)).await {
                Ok(new) => noted.extend(new),
                Err(
                    error @ (IndexError::Fork { .. }
                    | IndexError::ChunkElsewhere { .. }
                    | IndexError::Contradiction { .. }),
                ) => {
                    self.left_out(&signed.id, &error.to_string());
                    told.insert(signed.id);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok((noted, told))
    }

    fn left_out(&self, id: &ManifestId, why: &str) {
        let message = format!("left out: {why}");
        self.monitor.problem(Problem { subject: format!("snapshot {}", id.short()), message });
    }

    /// Says what is not whole, and who made it.
    async fn look_back(&self, seen: &BTreeSet<ManifestId>, imported: &mut Imported) -> Result<(), ImportError> {
        let index = &self.store.index;
        let peers: BTreeSet<InstanceId> = index.peers().await?.into_iter().map(|peer| peer.id).collect();
        let names = index.collections().await?;
        for id in seen {
            let Some(snapshot) = index.snapshot(id).await? else { continue };
            if !snapshot.has_key {
                imported.without_key += 1;
            }
            if !self.store.keys.is_ours(&snapshot.instance) && !peers.contains(&snapshot.instance) {
                imported.strangers.insert(snapshot.instance);
            }
            if snapshot.complete {
                continue;
            }
            imported.incomplete += 1;
            if !self.options.skip_chunks {
                let name = names.iter().find(|known| known.id == snapshot.collection).map(|known| known.name.as_str());
                let subject = format!("{}@{}", name.unwrap_or("?"), snapshot.sequence);
                let message = "it is not whole: chunks of it are neither here nor in the folder; 'bulbil fetch' or another import completes it";
                self.monitor.problem(Problem { subject, message: message.to_owned() });
            }
        }
        imported.collections.sort_unstable();
        imported.collections.dedup();
        Ok(())
    }
}

/// Reads manifests and checks them.
fn read(folder: &CollectionFolder, ids: &[ManifestId]) -> Read {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for id in ids {
        let read = folder.manifest(id).and_then(|incoming| Ok(incoming.verify()?));
        match read {
            Ok((signed, _)) if folder.id().is_some_and(|said| said != signed.manifest.collection) => {
                bad.push((*id, FileError::Elsewhere));
            }
            Ok(read) => good.push(read),
            Err(error) => bad.push((*id, error)),
        }
    }
    (good, bad)
}

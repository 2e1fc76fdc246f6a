//! From here into a folder.
//!
//! Each chunk is compared with its name before it is written. A snapshot of which something is missing or damaged here is left out, which
//! is said, and the others go on.

pub(super) mod place; // into a place that was named before
mod target; // the folder that is written
mod write; // what is written into it

pub(super) use write::pretty;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::have::Have;
use super::place::PlaceError;
use crate::domain::crypto::keywrap::{EnvelopeRecipient, KeyError};
use crate::domain::id::{CollectionId, ManifestId};
use crate::domain::peer::{Rights, Role};
use crate::domain::succession::{SignedStatement, Succession};
use crate::domain::text::paths;
use crate::monitor::{Monitor, Problem};
use crate::store::dir::DirError;
use crate::store::index::{Collection, Snapshot};
use crate::store::place::Precious;
use crate::store::{Away, ChunkStoreError, IndexError, ManifestFileError, Store, blocking};

/// Why nothing, or not all, was exported. What was written stays, and is not written again.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// There is nothing to export.
    #[error(
        "there is nothing to export: no snapshot is whole here; 'bulbil backup' makes one, 'bulbil fetch' completes those of others"
    )]
    Nothing,
    /// The receiver has all of it.
    #[error("there is nothing new: the receiver has all that is whole here")]
    NothingNew,
    /// The receiver may have nothing of it.
    #[error("there is nothing that peer {0} may have: 'bulbil peer rights {0}' says what it was granted")]
    NotFor(String),
    /// A copy beside the original is none, and would be among its own files.
    #[error("{} lies in a bulbil home: a copy beside the original is none. Name another folder", .0.display())]
    Home(PathBuf),
    /// The folder was begun by somebody else.
    #[error("{} was begun by another instance: name another folder", .0.display())]
    Others(PathBuf),
    /// The folder's first document is damaged.
    #[error("{} in {} is damaged: name another folder, or move that file away", super::document::BACKUP_MANIFEST, .0.display())]
    Damaged(PathBuf),
    /// Somebody is at work in it.
    #[error("another process writes into {}: wait until it is done", .0.display())]
    Busy(PathBuf),
    /// It cannot be written.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// It cannot be written.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The receiver's key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The index cannot be used.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Chunks cannot be read.
    #[error(transparent)]
    Chunks(#[from] ChunkStoreError),
    /// Manifests cannot be read.
    #[error(transparent)]
    Manifests(#[from] ManifestFileError),
    /// A folder of the home is not there.
    #[error(transparent)]
    Away(#[from] Away),
    /// A folder that holds all chunks of its snapshots is to get a delta, or the other way round.
    #[error(
        "{} is {}: name the folder above it, and the one that fits is found or begun", path.display(),
        if *delta { "a delta, which lacks what its receiver had" } else { "a whole backup, which leaves nothing out" }
    )]
    OtherKind {
        /// Which folder.
        path: PathBuf,
        /// What it is.
        delta: bool,
    },
    /// It was stopped.
    #[error("stopped: what was written stays; run it again to go on")]
    Cancelled,
}

/// Who is to read it, besides this instance and whoever has the recovery key.
#[derive(Debug, Clone)]
pub struct Recipient {
    /// What it is called here.
    pub name: String,
    /// The key that it has now.
    pub key: EnvelopeRecipient,
    /// What of this instance's may leave to it.
    pub rights: Rights,
}

/// What is exported.
#[derive(Debug, Clone, Default)]
pub struct ExportOptions {
    /// These collections; all, if there are none.
    pub collections: Vec<CollectionId>,
    /// These snapshots of them; all, if there are none.
    pub snapshots: Vec<ManifestId>,
    /// What the receiver has is left out.
    pub have: Option<Arc<Have>>,
    /// Who is to read it, too.
    pub recipient: Option<Recipient>,
    /// Begin a new folder, though there is one to go on with.
    pub new_folder: bool,
    /// Read what is in the folder already, and write anew what is not what it was.
    pub verify: bool,
}

/// What was exported.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Exported {
    /// The folder.
    #[serde(serialize_with = "paths::one")]
    pub folder: PathBuf,
    /// Whether there was one to go on with.
    pub continued: bool,
    /// Snapshots that were not in it before.
    pub new_snapshots: u64,
    /// Snapshots that are in it now.
    pub snapshots: u64,
    /// Chunks and lists of chunks that were written.
    pub new_chunks: u64,
    /// Their bytes.
    pub new_bytes: u64,
    /// Chunks and lists of chunks that are in it now.
    pub chunks: u64,
    /// Their bytes.
    pub chunk_bytes: u64,
}

/// A collection that is exported.
#[derive(Debug)]
pub(super) struct Part {
    collection: Collection,
    name: Option<String>,
    succession: Vec<SignedStatement>,
    pub(super) snapshots: Vec<Snapshot>,
}

/// Writes whole snapshots into `output`: that folder, if it is a portable backup or is called like one; otherwise the newest portable backup
/// of this instance in it, or a new one.
///
/// What is missing or damaged here, or not whole yet, is a problem for `monitor`. Killed at any point, the same call goes on.
///
/// # Errors
/// [`ExportError`].
pub async fn export(
    store: &Store,
    output: &Path,
    options: &ExportOptions,
    now: Timestamp,
    monitor: Arc<dyn Monitor>,
    cancel: &CancellationToken,
) -> Result<Exported, ExportError> {
    if Precious::Home.holds(output) {
        return Err(ExportError::Home(output.to_owned()));
    }
    store.check_folders()?;
    let parts = plan(store, options, &*monitor).await?;
    if parts.iter().all(|part| part.snapshots.is_empty()) {
        return Err(match (&options.have, &options.recipient) {
            (Some(_), _) if any_whole(store, options).await? => ExportError::NothingNew,
            (_, Some(recipient)) if any_whole(store, options).await? => ExportError::NotFor(recipient.name.clone()),
            _ => ExportError::Nothing,
        });
    }
    let (store, output, options, cancel) = (store.clone(), output.to_owned(), options.clone(), cancel.clone());
    blocking(move || {
        let target = target::Target::open(&output, &store, options.have.is_some(), options.new_folder, now)?;
        let work = write::Work { store: &store, options: &options, monitor: &*monitor, cancel: &cancel };
        work.run(target, parts, now)
    })
    .await
}

/// Whether there is something that could be exported if nobody's rights, and nothing that the receiver has, were in the way.
async fn any_whole(store: &Store, options: &ExportOptions) -> Result<bool, ExportError> {
    let wanted = |id: &CollectionId| options.collections.is_empty() || options.collections.contains(id);
    Ok(store.index.snapshots(None).await?.iter().any(|snapshot| snapshot.complete && wanted(&snapshot.collection)))
}

pub(super) async fn plan(
    store: &Store,
    options: &ExportOptions,
    monitor: &dyn Monitor,
) -> Result<Vec<Part>, ExportError> {
    let (statements, here) = (store.index.statements().await?, store.keys.instance());
    let mut parts = Vec::new();
    for collection in store.index.collections().await? {
        if !options.collections.is_empty() && !options.collections.contains(&collection.id) {
            continue;
        }
        let mut snapshots = store.index.snapshots(Some(&collection.id)).await?;
        if !options.snapshots.is_empty() {
            snapshots.retain(|snapshot| options.snapshots.contains(&snapshot.id));
        }
        if let Some(have) = &options.have {
            snapshots.retain(|snapshot| !have.has_snapshot(&snapshot.id));
        }
        let subject = |snapshot: &Snapshot| format!("{}@{}", collection.name, snapshot.sequence);
        if let Some(recipient) = &options.recipient {
            let ids: Vec<ManifestId> = snapshots.iter().map(|snapshot| snapshot.id).collect();
            let mut visible = store.index.visible_manifests(&recipient.rights, &ids).await?.into_iter();
            snapshots.retain(|snapshot| {
                let visible = visible.next().unwrap_or(false);
                if !visible && snapshot.complete && !options.collections.is_empty() {
                    let message = format!("left out: peer {} may not have it", recipient.name);
                    monitor.problem(Problem { subject: subject(snapshot), message });
                }
                visible
            });
        }
        snapshots.retain(|snapshot| {
            if !snapshot.complete {
                let message = "left out: it is not whole here; 'bulbil fetch' gets what is missing".to_owned();
                monitor.problem(Problem { subject: subject(snapshot), message });
            }
            snapshot.complete
        });
        if snapshots.is_empty() {
            continue;
        }
        let founder = collection.line.first().map_or(collection.origin, |reign| reign.instance);
        let succession = Succession::of(&collection.id, founder, statements.iter());
        let concerns = statements.iter().filter(|verified| succession.concerns(&verified.statement));
        parts.push(Part {
            succession: concerns.map(|verified| verified.signed.clone()).collect(),
            name: collection.is_ours(&here).then(|| collection.name.clone()),
            snapshots,
            collection,
        });
    }
    Ok(parts)
}

/// Whether keys are wrapped for the receiver: a mirror gets none.
fn readers_key(options: &ExportOptions) -> Option<&EnvelopeRecipient> {
    options.recipient.as_ref().filter(|recipient| recipient.rights.role == Role::Reader).map(|recipient| &recipient.key)
}

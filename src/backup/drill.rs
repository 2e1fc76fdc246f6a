//! A restore that is tried: into a scratch folder, compared with the snapshot, checked by the rules of the application, timed, and removed.
//!
//! What restore wrote is read again from the disk: every file must have the hash that stands in the snapshot. The scratch folder goes at
//! the end, however the drill ends; what a killed one left goes with the next.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::check::{CheckError, live};
use super::compare::compare;
use super::escrow;
use super::open::{OpenSnapshot, OpenSnapshotError};
use super::restore::{Overwrite, RestoreError, RestoreOptions, RestoreStats, restore};
use crate::domain::content::{Finding, Level, Report, Secrets};
use crate::domain::id::ManifestId;
use crate::domain::preset::Preset;
use crate::monitor::{Counter, Monitor, Problem};
use crate::store::index::{CollectionSettings, Root};
use crate::store::{Store, TreeError};

/// The folder in the home in which drills are made.
const FOLDER: &str = "drill";
/// What is restored into, in that folder or in another one: nobody else has something of this name.
const CONTENT: &str = ".bulbil-drill";
/// Locked while a drill goes on.
const LOCK: &str = ".bulbil-drill.lock";

/// Why there was no drill, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// The snapshot does not open.
    #[error(transparent)]
    Open(#[from] OpenSnapshotError),
    /// It cannot be restored.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// Its tree cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Its content cannot be checked.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// There is not enough room.
    #[error("the drill needs {needed} bytes in {}, and {free} are free: name another folder with --scratch", at.display())]
    NoRoom {
        /// What it takes.
        needed: u64,
        /// What there is.
        free: u64,
        /// Where.
        at: PathBuf,
    },
    /// The scratch folder cannot be made or removed.
    #[error("the scratch folder {} cannot be used", path.display())]
    Scratch {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// Another drill goes on there.
    #[error("another drill goes on in {}", .0.display())]
    Busy(PathBuf),
}

/// What a drill showed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Drilled {
    /// Of which snapshot.
    pub snapshot: ManifestId,
    /// Its number.
    pub sequence: u64,
    /// What was restored.
    pub restored: RestoreStats,
    /// Files that were read again and had their hash.
    pub compared: u64,
    /// Their bytes.
    pub compared_bytes: u64,
    /// Files that had not.
    pub wrong: u64,
    /// What the rules of the application say.
    pub content: Report,
    /// How long the restore took: what it would take after a disaster, but for fetching. Seconds.
    pub restore_seconds: f64,
    /// How long it took to read everything again. Seconds.
    pub compare_seconds: f64,
    /// How long the rules took. Seconds.
    pub check_seconds: f64,
    /// Everything came back as it was, and holds.
    pub good: bool,
}

impl Drilled {
    /// Whether something is wrong with the snapshot, and not only with the secret that was to open sealed fields.
    pub fn is_against_snapshot(&self) -> bool {
        let in_content = |finding: &Finding| finding.level == Level::Error && finding.code != "sealed";
        self.restored.failed > 0 || self.wrong > 0 || self.content.findings.iter().any(in_content)
    }

    /// How long everything took.
    pub fn total(&self) -> Duration {
        Duration::from_secs_f64(self.restore_seconds + self.compare_seconds + self.check_seconds)
    }
}

/// What a drill is of.
#[derive(Debug)]
pub struct DrillOptions {
    /// Where; in the home if nothing is said.
    pub scratch: Option<PathBuf>,
    /// By whose rules.
    pub preset: Preset,
    /// What opens sealed fields; what is stored, if nothing is given.
    pub secrets: Secrets,
    /// What the collection's settings are, if it has any here.
    pub settings: Option<CollectionSettings>,
}

/// Restores a snapshot into a scratch folder, compares and checks it, and removes the folder. Blocks. Each thing that is wrong is a problem
/// on `monitor`.
///
/// # Errors
/// [`DrillError`]; the scratch folder is removed then, too.
pub fn drill(
    store: &Store,
    snapshot: &ManifestId,
    options: DrillOptions,
    monitor: &dyn Monitor,
    cancel: &CancellationToken,
) -> Result<Drilled, DrillError> {
    let open = OpenSnapshot::open(store, snapshot)?;
    let DrillOptions { scratch, preset, secrets, settings } = options;
    let marks = open.private.capture.as_ref().map(|capture| capture.secrets.as_slice()).unwrap_or_default();
    let secrets = match secrets.is_empty() {
        true => escrow::stored_or_none(store, &open.collection(), marks, monitor),
        false => secrets,
    };
    let scratch = match scratch {
        Some(folder) => Scratch::make(&folder, false)?,
        None => Scratch::make(&store.home.root().join(FOLDER), true)?,
    };
    scratch.has_room(open.private.statistics.bytes)?;

    let everything = RestoreOptions { paths: Vec::new(), overwrite: Overwrite::Never, delete: false, dry_run: false };
    let at = Instant::now();
    let restored = restore(&store.chunks, &open, &scratch.content, &everything, monitor, cancel)?;
    let restore_seconds = at.elapsed().as_secs_f64();

    open_up(&scratch.content);
    let at = Instant::now();
    let stripped = open.has_one_folder(&mut open.tree(&*store.chunks))?;
    let compared = compare(store, &open, (&scratch.content, stripped), None, monitor, cancel)?;
    let compare_seconds = at.elapsed().as_secs_f64();

    let at = Instant::now();
    monitor.task("checking what was restored", Counter::BytesDone, None);
    let roots = open.private.roots.iter().map(|root| {
        let path = if stripped { scratch.content.clone() } else { scratch.content.join(&root.name) };
        Root { name: root.name.clone(), path }
    });
    let there = CollectionSettings { roots: roots.collect(), ..settings.unwrap_or_else(plain) };
    let content = live(store, &there, &preset, secrets, monitor, cancel)?;
    let check_seconds = at.elapsed().as_secs_f64();
    let problem = |message: String| monitor.problem(Problem { subject: "content".to_owned(), message });
    content.reasons(10).into_iter().for_each(problem);
    if content.secret_given && content.opened < content.sealed {
        problem(format!(
            "{} of {} sealed fields open with the secret that was given or stored",
            content.opened, content.sealed
        ));
    }
    if content.sealed > 0 && !content.secret_given {
        monitor.notice(&format!(
            "{} sealed fields were not tried: the secret that opens them is not stored ('bulbil secret add') and was not given (--secrets)",
            content.sealed
        ));
    }
    scratch.remove()?;
    let opens = !content.secret_given || content.opened == content.sealed;
    let good = restored.failed == 0 && compared.wrong == 0 && content.errors == 0 && opens;
    Ok(Drilled {
        snapshot: *snapshot,
        sequence: open.signed.manifest.sequence,
        restored,
        compared: compared.files,
        compared_bytes: compared.bytes,
        wrong: compared.wrong,
        content,
        restore_seconds,
        compare_seconds,
        check_seconds,
        good,
    })
}

fn plain() -> CollectionSettings {
    CollectionSettings {
        roots: Vec::new(),
        excludes: Vec::new(),
        level: 3,
        padding: Default::default(),
        kind: Default::default(),
        application: None,
    }
}

/// A folder that goes with this value.
struct Scratch {
    folder: PathBuf,
    ours: bool,
    private: PathBuf,
    content: PathBuf,
    removed: bool,
    _lock: std::fs::File,
}

impl Scratch {
    /// Makes it, and removes what an earlier drill left there.
    /// `ours`: the folder itself goes, too.
    fn make(folder: &Path, ours: bool) -> Result<Self, DrillError> {
        let fail = |cause| DrillError::Scratch { path: folder.to_owned(), cause };
        std::fs::create_dir_all(folder).map_err(fail)?;
        // A link there leads to something that is not ours.
        let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let mut options = std::fs::File::options();
        options.write(true).create(true).truncate(false).custom_flags(flags).mode(0o600);
        let lock = options.open(folder.join(LOCK)).map_err(fail)?;
        if rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(DrillError::Busy(folder.to_owned()));
        }
        // What is restored gets the modes that it had: others are kept out one folder above.
        let private = folder.join(CONTENT);
        let content = private.join("restored");
        let scratch = Self { folder: folder.to_owned(), ours, private, content, removed: false, _lock: lock };
        scratch.clear()?;
        // What comes is as private as the home.
        std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700)
            .create(&scratch.private)
            .map_err(fail)?;
        Ok(scratch)
    }

    fn has_room(&self, bytes: u64) -> Result<(), DrillError> {
        let Ok(disk) = rustix::fs::statvfs(&self.private) else { return Ok(()) };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let needed = bytes.saturating_add(bytes / 20);
        if free < needed { Err(DrillError::NoRoom { needed, free, at: self.folder.clone() }) } else { Ok(()) }
    }

    fn clear(&self) -> Result<(), DrillError> {
        open_up(&self.private);
        match std::fs::remove_dir_all(&self.private) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                Err(DrillError::Scratch { path: self.private.clone(), cause })
            }
            _ => Ok(()),
        }
    }

    fn remove(mut self) -> Result<(), DrillError> {
        self.removed = true;
        self.clear()?;
        self.tidy();
        Ok(())
    }

    fn tidy(&self) {
        let _ = std::fs::remove_file(self.folder.join(LOCK));
        if self.ours {
            let _ = std::fs::remove_dir(&self.folder);
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.removed {
            if let Err(error) = self.clear() {
                tracing::error!(%error, "what a drill restored is still there");
            }
            self.tidy();
        }
    }
}

/// What was restored with the modes that it had may be closed to its owner: it is opened up, to be read and to be removed.
fn open_up(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let Ok(found) = std::fs::symlink_metadata(folder) else { return };
    if !found.is_dir() {
        return;
    }
    let mode = found.permissions().mode();
    if mode & 0o700 != 0o700 {
        let _ = std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode | 0o700));
    }
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let Ok(found) = entry.metadata() else { continue };
        let mode = found.permissions().mode();
        if found.is_dir() {
            open_up(&entry.path());
        } else if found.is_file() && mode & 0o400 == 0 {
            let _ = std::fs::set_permissions(entry.path(), std::fs::Permissions::from_mode(mode | 0o400));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn nobody_else_reads_what_a_drill_restores_whatever_modes_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = Scratch::make(dir.path(), false).unwrap();
        std::fs::create_dir(&scratch.content).unwrap();
        std::fs::set_permissions(&scratch.content, std::fs::Permissions::from_mode(0o777)).unwrap();
        let above = scratch.content.parent().unwrap().to_owned();
        assert_eq!(std::fs::metadata(&above).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(matches!(Scratch::make(dir.path(), false), Err(DrillError::Busy(_))));
        drop(scratch);
        assert!(!above.exists() && dir.path().exists(), "a folder that somebody named stays");
        let (theirs, content) = (dir.path().join("theirs"), "theirs");
        std::fs::write(&theirs, content).unwrap();
        std::os::unix::fs::symlink(&theirs, dir.path().join(LOCK)).unwrap();
        assert!(matches!(Scratch::make(dir.path(), false), Err(DrillError::Scratch { .. })));
        assert_eq!(std::fs::read_to_string(&theirs).unwrap(), content, "what a link leads to is not ours");
    }
}

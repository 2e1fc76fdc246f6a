//! A snapshot made beside the live tree: restored, every file read again and compared, its content checked.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::RecoverError;
use super::ground::Ground;
use crate::backup::check::live;
use crate::backup::compare::compare;
use crate::backup::open::OpenSnapshot;
use crate::backup::restore::{Overwrite, RestoreOptions, RestoreStats, restore};
use crate::domain::content::{Finding, Level, Report, Secrets};
use crate::domain::metadata::path::TreePath;
use crate::domain::preset::Preset;
use crate::monitor::Monitor;
use crate::store::Store;
use crate::store::index::{CollectionSettings, Root};

/// Under this name a snapshot is made in a stage.
pub const NEW: &str = "new";

/// What is wrong with one file, whatever the others are.
const OF_ONE_FILE: [&str; 7] = ["json", "torn", "empty", "sqlite", "kind", "unreadable", "sealed"];

/// What was made, and whether it is what it should be.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Tried {
    /// What was restored.
    pub restored: RestoreStats,
    /// Files that were read again and had their hash.
    pub compared: u64,
    /// Files that had not.
    pub wrong: u64,
    /// What the rules of the application say.
    pub content: Option<Report>,
}

impl Tried {
    /// Why it cannot be taken; nothing if it can.
    pub fn why_not(&self) -> Option<String> {
        if self.restored.failed > 0 {
            return Some(format!(
                "{} of its entries cannot be restored: 'bulbil verify --data' says why",
                self.restored.failed
            ));
        }
        if self.wrong > 0 {
            return Some(format!("{} of its files came back otherwise than they were: check the disk", self.wrong));
        }
        let content = self.content.as_ref().filter(|content| content.errors > 0)?;
        let first = content.reasons(1).into_iter().next().unwrap_or_default();
        let more = if content.errors > 1 { format!(", and {} more", content.errors - 1) } else { String::new() };
        Some(format!("its content does not fit together: {first}{more}"))
    }

    /// What is known of the secrets that the application needs: each sentence stops a recovery that is not forced.
    pub fn of_secrets(&self) -> Vec<String> {
        let content = self.content.as_ref().filter(|content| content.secret_given && content.opened < content.sealed);
        let say = |content: &Report| {
            format!(
                "{} of {} sealed fields open with the secret that was given: it is another one",
                content.opened, content.sealed
            )
        };
        content.map(say).into_iter().collect()
    }
}

/// A snapshot that can be made.
#[derive(Debug)]
pub struct Source {
    /// The snapshot.
    pub open: OpenSnapshot,
    /// Its only root is a folder, and comes without its name.
    pub stripped: bool,
    /// Only these paths of each root; all of it if there are none.
    pub paths: Vec<(usize, PathBuf)>,
}

impl Source {
    /// Opens it.
    ///
    /// # Errors
    /// [`RecoverError`].
    pub fn new(store: &Store, open: OpenSnapshot, paths: Vec<(usize, PathBuf)>) -> Result<Self, RecoverError> {
        let stripped = open.has_one_folder(&mut open.tree(&*store.chunks))?;
        Ok(Self { open, stripped, paths })
    }

    /// Where a root is below a stage.
    pub fn below_stage(&self, name: &str) -> PathBuf {
        if self.stripped { PathBuf::from(NEW) } else { Path::new(NEW).join(name) }
    }

    /// Whether the snapshot has a root of this name.
    pub fn has(&self, name: &str) -> bool {
        self.open.private.roots.iter().any(|root| root.name == name)
    }

    /// Makes one root of it, or only `paths` of that, in a stage.
    ///
    /// # Errors
    /// [`RecoverError`].
    pub fn make(
        &self,
        store: &Store,
        (name, stage): (&str, &Path),
        paths: &[PathBuf],
        monitor: &dyn Monitor,
        cancel: &CancellationToken,
    ) -> Result<Tried, RecoverError> {
        let tree = |path: &PathBuf| {
            let bytes = [name.as_bytes(), b"/", std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str())].concat();
            TreePath::new(bytes).map_err(|_| RecoverError::BadPath(path.clone()))
        };
        let root = TreePath::new(name.as_bytes().to_vec()).map_err(|_| RecoverError::BadPath(name.into()))?;
        let paths: Vec<TreePath> = match paths {
            [] if self.stripped => Vec::new(),
            [] => vec![root],
            paths => paths.iter().map(tree).collect::<Result<_, _>>()?,
        };
        let into = stage.join(NEW);
        let options = RestoreOptions { paths, overwrite: Overwrite::Always, delete: false, dry_run: false };
        let restored = restore(&store.chunks, &self.open, &into, &options, monitor, cancel)?;
        let mut tried = Tried { restored, ..Tried::default() };
        let all = [None];
        let some: Vec<Option<&TreePath>> = options.paths.iter().map(Some).collect();
        for within in if some.is_empty() { all.to_vec() } else { some } {
            let compared = compare(store, &self.open, (&into, self.stripped), within, monitor, cancel)?;
            tried.compared += compared.files;
            tried.wrong += compared.wrong;
        }
        Ok(tried)
    }

    /// Makes all of it in the stages of these grounds, and checks it as a whole.
    ///
    /// # Errors
    /// [`RecoverError`]; what was made is still there.
    pub fn try_all(
        &self,
        store: &Store,
        grounds: &[Ground],
        (settings, preset, secrets): (&CollectionSettings, &Preset, Secrets),
        monitor: &dyn Monitor,
        cancel: &CancellationToken,
    ) -> Result<Tried, RecoverError> {
        let mut all = Tried::default();
        let mut roots = Vec::new();
        for (at, ground) in grounds.iter().enumerate().filter(|(_, ground)| self.has(&ground.name)) {
            let paths: Vec<PathBuf> =
                self.paths.iter().filter(|(of, _)| *of == at).map(|(_, path)| path.clone()).collect();
            if paths.is_empty() && !self.paths.is_empty() {
                continue;
            }
            has_room(&ground.stage, self.open.private.statistics.bytes)?;
            all.add(&self.make(store, (&ground.name, &ground.stage), &paths, monitor, cancel)?);
            let path = ground.stage.join(self.below_stage(&ground.name));
            roots.push(Root { name: ground.name.clone(), path });
        }
        let there = CollectionSettings { roots, ..settings.clone() };
        let mut content = live(store, &there, preset, secrets, monitor, cancel)?;
        if !self.paths.is_empty() {
            only_of_one_file(&mut content);
        }
        all.content = Some(content);
        Ok(all)
    }
}

impl Tried {
    /// Takes in what became of another root.
    pub fn add(&mut self, other: &Tried) {
        let (all, one) = (&mut self.restored, &other.restored);
        all.files += one.files;
        all.bytes += one.bytes;
        all.directories += one.directories;
        all.others += one.others;
        all.failed += one.failed;
        self.compared += other.compared;
        self.wrong += other.wrong;
    }
}

/// A part of the data says nothing of how all of it fits together.
fn only_of_one_file(report: &mut Report) {
    let holds = |finding: &Finding| OF_ONE_FILE.contains(&&*finding.code);
    report.findings.retain(holds);
    let count = |level: Level| report.findings.iter().filter(|finding| finding.level == level).count() as u64;
    (report.errors, report.warnings) = (count(Level::Error), count(Level::Warning));
}

/// Makes an empty stage, for its owner alone.
///
/// # Errors
/// [`RecoverError::InTheWay`], [`RecoverError::Io`].
pub fn begin(stage: &Path) -> Result<(), RecoverError> {
    match DirBuilder::new().mode(0o700).create(stage) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(RecoverError::InTheWay(stage.to_owned()))
        }
        made => made.map_err(|cause| RecoverError::io("create", stage, cause)),
    }
}

/// Makes what is in the stages durable.
///
/// # Errors
/// [`RecoverError::Io`].
pub fn sync(stages: &[PathBuf]) -> Result<(), RecoverError> {
    for stage in stages {
        let synced = fs::File::open(stage).and_then(|stage| Ok(rustix::fs::syncfs(stage)?));
        synced.map_err(|cause| RecoverError::io("write to disk", stage, cause))?;
    }
    Ok(())
}

fn has_room(stage: &Path, bytes: u64) -> Result<(), RecoverError> {
    let Ok(disk) = rustix::fs::statvfs(stage) else { return Ok(()) };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let needed = bytes.saturating_add(bytes / 20);
    if free < needed { Err(RecoverError::NoRoom { needed, free, at: stage.to_owned() }) } else { Ok(()) }
}

//! Which files and folders take their places: the parts of the application, or all of a root.
//!
//! What can be renamed as a whole is. A folder where something is mounted, or above which nothing may be written, stays, and what is in
//! it takes its place one by one. What the preset leaves out stays with what is kept; what the collection's own patterns leave out, and
//! secrets, stay with the application.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::RecoverError;
use super::ground::{Ground, Mounts, OWN, inside, is_own, may_write};
use super::journal::{Carry, FolderMode, Move, Number, Staged};
use crate::backup::restore::RestoreError;
use crate::domain::metadata::path::TreePath;
use crate::domain::preset::{Preset, globs};
use crate::source::{Excludes, Root, SkipReason, WalkEvent, WalkOptions, walk};

/// Something that is not in the new tree, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftBehind {
    /// Where, relative to the root.
    pub path: String,
    /// Why.
    pub why: String,
}

/// What changes places.
#[derive(Debug, Default)]
pub struct Places {
    /// The moves.
    pub moves: Vec<Move>,
    /// What comes over afterwards.
    pub carried: Vec<Carry>,
    /// Folders that stay.
    pub folders: Vec<FolderMode>,
    /// What is only in what is kept.
    pub left_behind: Vec<LeftBehind>,
    /// What stays as it is although the snapshot does not have it.
    pub untouched: Vec<String>,
    /// What has to be staged in another file system: where that begins, and the paths relative to the root.
    pub elsewhere: Vec<(PathBuf, PathBuf)>,
}

impl Places {
    /// Looks again which files and folders are staged, when all of it is.
    ///
    /// # Errors
    /// [`RecoverError::Io`].
    pub fn number(&mut self) -> Result<(), RecoverError> {
        for staged in self.moves.iter_mut().filter_map(|one| one.staged.as_mut()) {
            let gone = || RecoverError::io("find", &staged.path, std::io::ErrorKind::NotFound.into());
            staged.number = Number::of(&staged.path)?.ok_or_else(gone)?;
        }
        Ok(())
    }

    /// Takes in what was found in another root.
    pub fn add(&mut self, other: Places) {
        self.moves.extend(other.moves);
        self.carried.extend(other.carried);
        self.folders.extend(other.folders);
        self.left_behind.extend(other.left_behind);
        self.untouched.extend(other.untouched);
        self.elsewhere.extend(other.elsewhere);
    }
}

/// Finds out what changes places in one root.
#[derive(Debug)]
pub struct Finder<'a> {
    /// Where things are made and kept.
    pub ground: &'a Ground,
    /// Where the root is staged.
    pub staged: PathBuf,
    /// The application.
    pub preset: &'a Preset,
    /// Its patterns and the collection's own.
    pub excludes: Excludes,
    /// Where file systems begin.
    pub mounts: &'a Mounts,
    /// Where the root is below a stage.
    pub below_stage: PathBuf,
    /// What the names of what is kept end with.
    pub stamp: &'a str,
}

impl Finder<'_> {
    /// What is relevant of a root: only `paths` of it, or all that is the application's.
    ///
    /// # Errors
    /// [`RecoverError`].
    pub fn find(&self, paths: &[PathBuf]) -> Result<Places, RecoverError> {
        let mut places = Places::default();
        let wanted = match (paths, self.preset.parts.is_empty()) {
            ([], true) => vec![PathBuf::new()],
            ([], false) => self.parts(),
            (paths, _) => topmost(paths.iter().cloned().collect()),
        };
        for path in &wanted {
            self.no_link_above(path)?;
            self.unit(path, &mut places)?;
        }
        Ok(places)
    }

    /// The parts that are in the snapshot or in the folder.
    fn parts(&self) -> Vec<PathBuf> {
        let mut found = BTreeSet::new();
        for part in &self.preset.parts {
            for folder in [&self.staged, &self.ground.live] {
                expand(folder, Path::new(""), &part.path, &mut found);
            }
        }
        topmost(found)
    }

    fn no_link_above(&self, path: &Path) -> Result<(), RecoverError> {
        let mut at = self.ground.live.clone();
        let names: Vec<&OsStr> = path.iter().collect();
        for name in names.iter().take(names.len().saturating_sub(1)) {
            at.push(name);
            if fs::symlink_metadata(&at).is_ok_and(|found| !found.is_dir()) {
                return Err(RecoverError::InTheWay(at));
            }
        }
        Ok(())
    }

    fn unit(&self, path: &Path, places: &mut Places) -> Result<(), RecoverError> {
        let (live, staged) = (join(&self.ground.live, path), join(&self.staged, path));
        let look = |path: &Path| match fs::symlink_metadata(path) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(RecoverError::io("look at", path, cause)),
        };
        let (now, then) = (look(&live)?, look(&staged)?);
        if now.is_none() && then.is_none() {
            return Ok(());
        }
        let top = path.as_os_str().is_empty();
        let parent = live.parent().unwrap_or(Path::new("/"));
        let stays = match &now {
            Some(now) if now.is_dir() => {
                let movable = if top { self.ground.is_beside } else { may_write(parent) };
                !movable || self.mounts.is_one(&live) || self.mounts.is_above_one(&live)
            }
            _ => false,
        };
        if stays {
            let Some(then) = then.filter(fs::Metadata::is_dir) else {
                places.untouched.push(format!(
                    "{}: the snapshot does not have it, and it cannot be moved (another file system is mounted there, or the folder above may not be written)",
                    live.display()
                ));
                return Ok(());
            };
            places.folders.push(FolderMode {
                path: live.clone(),
                mode: then.mode() & 0o7777,
                uid: then.uid(),
                gid: then.gid(),
            });
            return self.inside(path, places);
        }
        let mount = self.mounts.of(parent);
        let is_elsewhere = !top && mount != self.mounts.of(self.ground.stage.parent().unwrap_or(Path::new("/")));
        let (staged, kept) = match is_elsewhere {
            true => {
                let (stage, kept) = inside(&mount, self.stamp);
                let below = live.strip_prefix(&mount).unwrap_or(path);
                places.elsewhere.extend(then.is_some().then(|| (mount.clone(), path.to_owned())));
                (stage.join(&self.below_stage).join(path), kept.join(below))
            }
            false => (staged, join(&self.ground.kept, path)),
        };
        // Elsewhere it is another one: see `Places::number`.
        let staged = then.map(|then| Staged { path: staged, number: Number::new(then.dev(), then.ino()) });
        places.moves.push(Move { live, staged, kept: now.is_some().then_some(kept) });
        Ok(())
    }

    /// What is in a folder that stays.
    fn inside(&self, path: &Path, places: &mut Places) -> Result<(), RecoverError> {
        let mut names = BTreeSet::new();
        for folder in [join(&self.ground.live, path), join(&self.staged, path)] {
            let entries = fs::read_dir(&folder).map_err(|cause| RecoverError::io("read", &folder, cause))?;
            for entry in entries {
                names.insert(entry.map_err(|cause| RecoverError::io("read", &folder, cause))?.file_name());
            }
        }
        for name in names.into_iter().filter(|name| !is_own(name)) {
            let path = path.join(&name);
            let live = self.ground.live.join(&path);
            let is_new = fs::symlink_metadata(self.staged.join(&path)).is_ok();
            let is_dir = fs::symlink_metadata(&live).is_ok_and(|found| found.is_dir());
            match self.excludes.left_out_by(path.as_os_str().as_bytes(), is_dir).filter(|_| !is_new) {
                Some(pattern) if !self.goes(&path, pattern) => {}
                Some(pattern) => {
                    places.left_behind.push(self.left_behind(&path, pattern));
                    self.unit(&path, places)?;
                }
                None => self.unit(&path, places)?,
            }
        }
        Ok(())
    }

    /// Whether what a pattern leaves out is not needed by the application: its preset says so, and it is no secret.
    fn goes(&self, path: &Path, pattern: &str) -> bool {
        let is_secret = |path: &Path| {
            let files = self.preset.secrets.iter().flat_map(|secret| &secret.files);
            files.into_iter().any(|file| Path::new(file) == path)
        };
        self.preset.why(pattern).is_some() && !is_secret(path)
    }

    fn left_behind(&self, path: &Path, pattern: &str) -> LeftBehind {
        let why = self.preset.why(pattern).unwrap_or("it is left out of backups").to_owned();
        LeftBehind { path: path.display().to_string(), why }
    }

    /// What is left out of backups inside of what goes away: what of it comes over into the new tree, and what does not.
    ///
    /// # Errors
    /// [`RecoverError`].
    pub fn left_out(
        &self,
        skip_caches: bool,
        cancel: &CancellationToken,
        places: &mut Places,
    ) -> Result<(), RecoverError> {
        if fs::symlink_metadata(&self.ground.live).is_err() {
            return Ok(());
        }
        let tree = TreePath::new(b"root".to_vec()).expect("a name is a path");
        let root = Root { name: "root".to_owned(), tree, path: self.ground.live.clone() };
        let options =
            WalkOptions { excludes: self.excludes.clone(), tell_left_out: true, skip_caches, ..WalkOptions::default() };
        for event in walk(&root, &options, cancel)? {
            let mut is_home = false;
            let (path, pattern) = match event {
                WalkEvent::LeftOut(left_out) => (within(&left_out.path), Some(left_out.pattern)),
                WalkEvent::Skipped(skipped) if matches!(skipped.reason, SkipReason::Cache | SkipReason::Home) => {
                    is_home = skipped.reason == SkipReason::Home;
                    (within(&skipped.path), None)
                }
                _ => continue,
            };
            let live = join(&self.ground.live, &path);
            let moved = places.moves.iter().find(|one| live != one.live && live.starts_with(&one.live));
            let Some(Move { live: top, kept: Some(kept), .. }) = moved else { continue };
            // It would go away with what is kept of before, and whoever runs there with it.
            if is_home {
                return Err(RestoreError::Home(live).into());
            }
            let from = kept.join(live.strip_prefix(top).unwrap_or(Path::new("")));
            let Some(pattern) = pattern else {
                let why = "it says of itself that it is a cache".to_owned();
                places.left_behind.push(LeftBehind { path: path.display().to_string(), why });
                continue;
            };
            let is_new = fs::symlink_metadata(self.staged.join(&path)).is_ok();
            if self.goes(&path, &pattern) || is_new {
                let mut left = self.left_behind(&path, &pattern);
                if is_new {
                    left.why = "it is left out of backups now, and the snapshot has it".to_owned();
                }
                places.left_behind.push(left);
            } else {
                places.carried.push(Carry { from, to: live });
            }
        }
        match cancel.is_cancelled() {
            true => Err(RecoverError::Cancelled),
            false => Ok(()),
        }
    }
}

/// What a preset and a collection leave out, and what a recovery uses itself.
pub fn patterns(preset: &Preset, own: &[String]) -> Vec<String> {
    preset.patterns().into_iter().chain(own.iter().cloned()).chain(OWN.map(str::to_owned)).collect()
}

/// Without the first name, which is the root's.
fn within(path: &TreePath) -> PathBuf {
    let bytes = path.as_bytes();
    let rest = bytes.iter().position(|byte| *byte == b'/').map_or(&b""[..], |slash| &bytes[slash + 1..]);
    PathBuf::from(OsStr::from_bytes(rest))
}

/// Without a `/` at the end where there is nothing to join.
pub fn join(folder: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { folder.to_owned() } else { folder.join(path) }
}

fn expand(folder: &Path, at: &Path, pattern: &str, found: &mut BTreeSet<PathBuf>) {
    let (name, rest) = pattern.split_once('/').map_or((pattern, None), |(name, rest)| (name, Some(rest)));
    let mut take = |path: PathBuf| match rest {
        Some(rest) => expand(folder, &path, rest, found),
        None => drop(found.insert(path)),
    };
    if !name.contains(['*', '?', '[', '{']) {
        let path = at.join(name);
        if fs::symlink_metadata(folder.join(&path)).is_ok() {
            take(path);
        }
        return;
    }
    let Ok(glob) = globs(&[name.to_owned()]) else { return };
    let entries = fs::read_dir(join(folder, at)).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name()).filter(|name| glob.is_match(Path::new(name)));
    names.for_each(|name| take(at.join(name)));
}

/// Without what is below another one.
fn topmost(paths: BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let mut out: Vec<PathBuf> = Vec::new();
    for path in paths {
        if !out.iter().any(|above| path.starts_with(above)) {
            out.push(path);
        }
    }
    out
}

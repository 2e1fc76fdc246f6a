//! Copies that stand in for files which are never still: live SQLite databases, and what a hook has copied.
//!
//! A copy is stored under the path, and with the attributes, of the file for which it stands. What stands beside a database (its log, its
//! journal) is in the copy, and is left out.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use globset::GlobSet;
use rustix::fs::{Mode, OFlags};

use super::CreateError;
use crate::backup::check::within_root;
use crate::domain::preset::{Preset, globs};
use crate::monitor::{Monitor, Problem};
use crate::source::{DirHandle, Found, FoundKind, LeftOut, Stat, read};
use crate::store::foreign::ForeignError;
use crate::store::live;

/// What stands beside a database.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// What to take instead of a file.
pub enum StandIn {
    /// Nothing: the file itself.
    None,
    /// The copy of another file holds it.
    HeldBy(LeftOut),
    /// A copy.
    Copy {
        /// Its name.
        name: Vec<u8>,
        /// What it says about itself.
        stat: Stat,
        /// Where it is.
        dir: Arc<DirHandle>,
    },
}

/// Makes and finds copies.
pub struct StandIns {
    runtime: tokio::runtime::Handle,
    sqlite: GlobSet,
    copies: BTreeMap<String, String>,
    /// Whether a command ran that was to make them.
    hook_ran: bool,
    own: PathBuf,
    own_dir: Arc<DirHandle>,
    hook_dir: Arc<DirHandle>,
    roots: BTreeMap<String, PathBuf>,
    held: HashSet<Vec<u8>>,
    number: usize,
}

impl StandIns {
    /// Copies are made in `folder`, where a hook may have put others. `roots`: where each root is, by its name in the tree.
    ///
    /// # Errors
    /// [`CreateError::HookFolder`].
    pub fn new(
        runtime: &tokio::runtime::Handle,
        preset: &Preset,
        folder: &Path,
        hook_ran: bool,
        roots: BTreeMap<String, PathBuf>,
    ) -> Result<Self, CreateError> {
        let fail = |cause| CreateError::HookFolder { path: folder.to_owned(), cause };
        let own = folder.join("copies");
        // Of an earlier pass.
        match std::fs::remove_dir_all(&own) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fail(error)),
            _ => {}
        }
        std::fs::create_dir(&own).map_err(fail)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = |path: &Path| {
            let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(std::io::Error::from)?;
            DirHandle::first(fd)
        };
        Ok(Self {
            runtime: runtime.clone(),
            sqlite: globs(&preset.sqlite).expect("a preset's patterns were checked"),
            copies: preset.copies.clone(),
            hook_ran,
            hook_dir: open(folder).map_err(fail)?,
            own_dir: open(&own).map_err(fail)?,
            own,
            roots,
            held: HashSet::new(),
            number: 0,
        })
    }

    /// What to take instead of this file. What goes wrong is a problem, and the file itself is taken.
    pub fn for_file(&mut self, found: &Found, monitor: &dyn Monitor) -> StandIn {
        let Some(path) = within_root(&found.path) else { return StandIn::None };
        if let Some(base) = BESIDE.iter().find_map(|end| found.path.as_bytes().strip_suffix(end.as_bytes()))
            && self.held.contains(base)
        {
            let pattern = "(in the copy of the database)".to_owned();
            return StandIn::HeldBy(LeftOut { path: found.path.clone(), pattern, files: 1, bytes: found.stat.size });
        }
        if let Some(name) = self.copies.get(&path) {
            if let Ok((FoundKind::File, stat)) = read::look(&self.hook_dir, name.as_bytes()) {
                self.held.insert(found.path.as_bytes().to_vec());
                return StandIn::Copy { name: name.clone().into_bytes(), stat, dir: self.hook_dir.clone() };
            }
            if self.hook_ran {
                let message = format!(
                    "the command before the backup did not put {name} into $BULBIL_HOOK_DIR: the live file was taken, which may not be whole"
                );
                monitor.problem(Problem { subject: found.path.to_string(), message });
            }
        }
        if !self.sqlite.is_match(&path) {
            return StandIn::None;
        }
        match self.copy(found) {
            Ok(stand_in) => stand_in,
            Err(message) => {
                monitor.problem(Problem { subject: found.path.to_string(), message });
                StandIn::None
            }
        }
    }

    fn copy(&mut self, found: &Found) -> Result<StandIn, String> {
        let root = String::from_utf8_lossy(found.path.names().next().expect("a path has a name")).into_owned();
        let Some(folder) = self.roots.get(&root) else { return Ok(StandIn::None) };
        let below = OsStr::from_bytes(&found.path.as_bytes()[root.len() + 1..]);
        let from = folder.join(below);
        match live::is_database(&from) {
            Ok(true) => {}
            // An encrypted database, or a file that only looks like one by its name.
            Ok(false) => return Ok(StandIn::None),
            Err(ForeignError::Missing(_)) => return Ok(StandIn::None),
            Err(error) => return Err(error.to_string()),
        }
        self.number += 1;
        let name = format!("{}.db", self.number);
        let copied = self.runtime.block_on(live::copy(&from, &self.own.join(&name)));
        copied.map_err(|error| format!("it was copied as a plain file, which may not be whole: {error}"))?;
        let (_, stat) = read::look(&self.own_dir, name.as_bytes()).map_err(|error| error.to_string())?;
        self.held.insert(found.path.as_bytes().to_vec());
        Ok(StandIn::Copy { name: name.into_bytes(), stat, dir: self.own_dir.clone() })
    }
}

//! SQLite databases: each is laid out in a private folder of the home and looked through there.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use globset::GlobSet;

use super::CheckError;
use crate::backup::content::ContentReader;
use crate::domain::content::{Checker, Level};
use crate::domain::metadata::entry::FileEntry;
use crate::domain::preset::{Preset, PresetError, globs};
use crate::monitor::with_causes;
use crate::store::foreign::ForeignError;
use crate::store::{Store, live};

/// Whether there is no room.
fn is_full(cause: &std::io::Error) -> bool {
    matches!(cause.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

/// Looks at databases. Its folder goes with it. Needs a runtime around it.
#[derive(Debug)]
pub struct Databases {
    wanted: GlobSet,
    folder: PathBuf,
    runtime: tokio::runtime::Handle,
}

impl Databases {
    /// Those that the preset wants whole.
    ///
    /// # Errors
    /// [`CheckError`].
    pub fn new(store: &Store, preset: &Preset) -> Result<Self, CheckError> {
        let wrong = |why| PresetError::Wrong { name: preset.name.clone(), why };
        let wanted = globs(&preset.checks.sqlite).map_err(wrong)?;
        // Two checks at a time do not meet.
        let folder = store.home.root().join(format!("check-{}", std::process::id()));
        if !wanted.is_empty() {
            clear(store.home.root());
            let _ = std::fs::remove_dir_all(&folder);
            let made = std::fs::DirBuilder::new().mode(0o700).create(&folder);
            made.map_err(|cause| CheckError::Scratch { path: folder.clone(), cause })?;
        }
        Ok(Self { wanted, folder, runtime: tokio::runtime::Handle::current() })
    }

    /// Whether the file at `path` is to be one.
    pub fn wants(&self, path: &str) -> bool {
        self.wanted.is_match(path)
    }

    /// Looks at one that may be in use.
    ///
    /// # Errors
    /// [`CheckError::Scratch`]: there is no room for a copy of it, which says nothing of it.
    pub fn live(&self, checker: &mut Checker, path: &str, from: &Path) -> Result<(), CheckError> {
        let to = self.folder.join("copy.db");
        match self.runtime.block_on(live::copy(from, &to)) {
            Ok(()) => self.examine(checker, path, &to),
            Err(ForeignError::Io { cause, .. }) if is_full(&cause) => {
                return Err(CheckError::Scratch { path: self.folder.clone(), cause });
            }
            Err(error) => checker.found(Level::Error, "sqlite", path, with_causes(&error)),
        }
        Ok(())
    }

    /// Looks at one of a snapshot.
    ///
    /// # Errors
    /// [`CheckError::Scratch`]: it cannot be laid out, which says nothing of it.
    pub fn stored(
        &self,
        checker: &mut Checker,
        reader: &mut ContentReader<'_>,
        path: &str,
        file: &FileEntry,
    ) -> Result<(), CheckError> {
        let to = self.folder.join("copy.db");
        let scratch = |cause| CheckError::Scratch { path: self.folder.clone(), cause };
        let laid_out = || -> Result<std::io::Result<()>, String> {
            let mut options = std::fs::OpenOptions::new();
            let mut out = match options.write(true).create_new(true).mode(0o600).open(&to) {
                Ok(out) => out,
                Err(cause) => return Ok(Err(cause)),
            };
            let mut written = Ok(());
            let read = reader.read(file, &mut |bytes| {
                if written.is_ok() {
                    written = out.write_all(bytes);
                }
            });
            read.map_err(|error| error.to_string())?;
            Ok(written)
        };
        match { laid_out }() {
            Ok(written) => {
                written.map_err(scratch)?;
                self.examine(checker, path, &to);
            }
            Err(why) => checker.unreadable(path, &why),
        }
        Ok(())
    }

    fn examine(&self, checker: &mut Checker, path: &str, copy: &Path) {
        match self.runtime.block_on(live::examine(copy)) {
            Ok(None) => {}
            Ok(Some(damage)) => {
                checker.found(Level::Error, "sqlite", path, format!("the database is damaged: {damage}"));
            }
            Err(error) => {
                let text = error.to_string().replace(&copy.display().to_string(), "it");
                checker.found(Level::Error, "sqlite", path, text);
            }
        }
        for end in ["", "-wal", "-shm", "-journal"] {
            let _ = std::fs::remove_file(format!("{}{end}", copy.display()));
        }
    }
}

/// Removes what processes left that are no more.
fn clear(home: &Path) {
    let Ok(entries) = std::fs::read_dir(home) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix("check-"));
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

impl Drop for Databases {
    fn drop(&mut self) {
        match std::fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(%error, "the folder in which databases were looked at could not be removed");
            }
            _ => {}
        }
    }
}

//! The layout of a home, and how one is made.
//!
//! ```text
//! HOME/  (0700)
//!   version                "bulbil-home/1"; written last: without it this is no home
//!   bulbil.toml            optional
//!   keys/       (0700)     master, identity, envelope, recovery, ledger, onion … (0600)
//!   index.db               SQLite
//!   chunks/ manifests/ quarantine/ lock/
//!   tor/                   made by Tor; may be lost without harm
//! ```
//!
//! While a home is being made, `.creating` stands in it. A kill in between leaves that mark, and the next attempt clears
//! away what the first one made and starts again.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{ServerInfo, StoreError, files, lock};

const VERSION: &str = "bulbil-home/1";
const MARK: &str = ".creating";
const CONFIG: &str = "bulbil.toml";
const DIRS: [&str; 5] = ["keys", "chunks", "manifests", "quarantine", "lock"];

/// A home directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    /// Checks that `root` is a home of a version that this program knows.
    ///
    /// # Errors
    /// [`StoreError::NotAHome`], [`StoreError::NewerHome`], [`StoreError::Io`].
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let path = root.join("version");
        let bytes = match files::read_bounded(&path, 1024) {
            Ok(bytes) => bytes.unwrap_or_default(),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Err(StoreError::NotAHome { path: root.to_owned() });
            }
            Err(cause) => return Err(StoreError::io("read", &path, cause)),
        };
        let text = String::from_utf8_lossy(&bytes);
        match text.trim().strip_prefix("bulbil-home/") {
            Some("1") => Ok(Self { root: root.to_owned() }),
            Some(version) if version.parse::<u32>().is_ok_and(|version| version > 1) => {
                Err(StoreError::NewerHome { path: root.to_owned(), found: text.trim().to_owned() })
            }
            _ => Err(StoreError::NotAHome { path: root.to_owned() }),
        }
    }

    /// The server that runs in it now.
    pub fn running_server(&self) -> Option<ServerInfo> {
        lock::running_server(self)
    }

    /// Begins a home at `root`, which must not exist, be empty (a `bulbil.toml` may stand in it), or be left over from an
    /// attempt that was cut off. It becomes a home by [`finish`](Self::finish).
    pub(super) fn begin(root: &Path) -> Result<Self, StoreError> {
        let fail = |what, path: &Path, cause| StoreError::io(what, path, cause);
        if let Some(parent) = root.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(|cause| fail("create", parent, cause))?;
        }
        files::create_private_dir(root).map_err(|cause| fail("create", root, cause))?;
        if root.join("version").exists() {
            return Err(StoreError::AlreadyAHome { path: root.to_owned() });
        }
        let mark = root.join(MARK);
        if mark.exists() {
            clear(root)?;
        } else {
            for entry in fs::read_dir(root).map_err(|cause| fail("read", root, cause))? {
                let entry = entry.map_err(|cause| fail("read", root, cause))?;
                if entry.file_name() != CONFIG {
                    return Err(StoreError::NotEmpty { path: root.to_owned() });
                }
            }
            let made = OpenOptions::new().write(true).create_new(true).open(&mark);
            made.and_then(|_| files::sync_dir(root)).map_err(|cause| fail("write", &mark, cause))?;
        }
        restrict(root)?;
        for dir in DIRS {
            let dir = root.join(dir);
            files::create_private_dir(&dir).map_err(|cause| fail("create", &dir, cause))?;
        }
        Ok(Self { root: root.to_owned() })
    }

    /// Makes it a home: the version is written last.
    pub(super) fn finish(&self) -> Result<(), StoreError> {
        let path = self.root.join("version");
        files::write_atomically(&path, format!("{VERSION}\n").as_bytes(), 0o600)
            .map_err(|cause| StoreError::io("write", &path, cause))?;
        let mark = self.root.join(MARK);
        files::remove(&mark).map_err(|cause| StoreError::io("remove", &mark, cause))
    }

    /// Device and inode of the home folder, so that a backup can leave it out.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn identity(&self) -> Result<(u64, u64), StoreError> {
        use std::os::unix::fs::MetadataExt;
        let metadata = std::fs::metadata(&self.root).map_err(|cause| StoreError::io("look at", &self.root, cause))?;
        Ok((metadata.dev(), metadata.ino()))
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Static settings; need not exist.
    pub fn config(&self) -> PathBuf {
        self.root.join(CONFIG)
    }

    /// The folder of private keys.
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// The audit log.
    pub fn audit(&self) -> PathBuf {
        self.root.join("audit.jsonl")
    }

    /// The index.
    pub fn index(&self) -> PathBuf {
        self.root.join("index.db")
    }

    /// The folder of chunks and segments.
    pub fn chunks(&self) -> PathBuf {
        self.root.join("chunks")
    }

    /// The folder of manifests.
    pub fn manifests(&self) -> PathBuf {
        self.root.join("manifests")
    }

    /// The folder of what failed its hash.
    pub fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    /// What Tor keeps: may be lost without harm.
    pub fn tor(&self) -> PathBuf {
        self.root.join("tor")
    }

    /// The socket through which commands use the server's Tor.
    pub fn door(&self) -> PathBuf {
        self.lock("dial")
    }

    /// A file in the folder of locks.
    pub(super) fn lock(&self, name: &str) -> PathBuf {
        self.root.join("lock").join(name)
    }
}

/// Clears away what an attempt that was cut off made, and nothing else.
fn clear(root: &Path) -> Result<(), StoreError> {
    for dir in DIRS {
        let dir = root.join(dir);
        match fs::remove_dir_all(&dir) {
            Err(cause) if cause.kind() != ErrorKind::NotFound => return Err(StoreError::io("remove", &dir, cause)),
            _ => {}
        }
    }
    for file in ["index.db", "index.db-wal", "index.db-shm"] {
        let file = root.join(file);
        files::remove(&file).map_err(|cause| StoreError::io("remove", &file, cause))?;
    }
    Ok(())
}

fn restrict(root: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(root, fs::Permissions::from_mode(0o700))
        .map_err(|cause| StoreError::io("restrict to its owner", root, cause))
}

//! The marker beside a folder: what is laid out in it, and how far the next one is.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::Timestamp;
use rustix::fs::{AtFlags, CWD, FileType, StatxFlags, statx};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::LayoutError;
use crate::domain::id::{CollectionId, ManifestId};

const FORMAT: &str = "bulbil-standby/1";

/// Which folder it is, wherever it is renamed to: a number that is used again has another time of birth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderId {
    inode: u64,
    born_s: i64,
    born_ns: u32,
}

/// A snapshot that is laid out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaidOut {
    /// Which snapshot.
    pub snapshot: ManifestId,
    /// Its number.
    pub sequence: u64,
    /// When it was begun at its source.
    pub created_at: Timestamp,
    /// When it was laid out here.
    pub laid_out_at: Timestamp,
    /// Which folder it is in.
    pub folder: FolderId,
    /// Whether the hook has still to hear of it.
    pub hook_is_due: bool,
}

/// What stands in the marker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marker {
    format: String,
    pub(super) collection: CollectionId,
    /// What is laid out.
    pub(super) current: Option<LaidOut>,
    /// The folder that was laid out before.
    pub(super) previous: Option<FolderId>,
    /// What is being made in the scratch folder.
    pub(super) next: Option<LaidOut>,
    /// Whether that is all there, and durable.
    pub(super) next_is_whole: bool,
}

impl Marker {
    pub(super) fn new(collection: CollectionId) -> Self {
        let format = FORMAT.to_owned();
        Self { format, collection, current: None, previous: None, next: None, next_is_whole: false }
    }

    pub(super) fn load(path: &Path) -> Result<Option<Self>, LayoutError> {
        let damaged = || LayoutError::Marker { path: path.to_owned() };
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(LayoutError::io("read", path, cause)),
        };
        let marker: Self = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
        if marker.format == FORMAT { Ok(Some(marker)) } else { Err(damaged()) }
    }

    /// Replaces the marker; durable on return.
    pub(super) fn save(&self, path: &Path, temporary: &Path) -> Result<(), LayoutError> {
        let bytes = serde_json::to_vec_pretty(self).expect("a marker has no maps");
        let write = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(temporary)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(temporary, path)?;
            sync_parent(path)
        };
        write().map_err(|cause| LayoutError::io("write", path, cause))
    }
}

/// What is at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Folder(FolderId),
    /// A file, a link.
    Other,
}

impl Found {
    pub(super) fn at(path: &Path) -> Result<Self, LayoutError> {
        let wanted = StatxFlags::TYPE | StatxFlags::INO | StatxFlags::BTIME;
        match statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, wanted) {
            Err(Errno::NOENT) => Ok(Found::Nothing),
            Err(errno) => Err(LayoutError::io("look at", path, errno.into())),
            Ok(stat) if FileType::from_raw_mode(stat.stx_mode.into()) != FileType::Directory => Ok(Found::Other),
            Ok(stat) => {
                let born = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME);
                let (born_s, born_ns) = if born { (stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec) } else { (0, 0) };
                Ok(Found::Folder(FolderId { inode: stat.stx_ino, born_s, born_ns }))
            }
        }
    }

    pub(super) fn is(self, folder: Option<FolderId>) -> bool {
        folder.is_some_and(|folder| self == Found::Folder(folder))
    }
}

/// Makes the names beside a path durable.
pub(super) fn sync_parent(path: &Path) -> std::io::Result<()> {
    fs::File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

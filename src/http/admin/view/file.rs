//! What is in a snapshot: folders, files, and what differs between two.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::backup::open::{OpenSnapshot, OpenSnapshotError};
use crate::backup::select::{self, SelectError};
use crate::backup::view;
use crate::domain::metadata::entry::{Entry, EntryKind, FileTime};
use crate::domain::metadata::path::TreePath;
use crate::http::problem::Problem;
use crate::monitor::with_causes;
use crate::store::index::Snapshot;
use crate::store::{Store, TreeError, blocking};

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Another name of a file.
    Hardlink,
    /// A named pipe, a socket or a device.
    Other,
}

/// Something in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileView {
    /// Where it is in the snapshot. What is no UTF-8 in it is escaped, for people.
    pub path: String,
    /// The bytes of the path, base64url, if they are no UTF-8: what takes a `path` takes this as `path_base64`.
    pub path_base64: Option<String>,
    /// The path itself.
    #[serde(skip)]
    raw: Vec<u8>,
    /// Its last name.
    pub name: String,
    /// What it is.
    pub kind: FileKind,
    /// Its size, in bytes; 0 of what is no file.
    pub size_bytes: u64,
    /// Its permissions, octal.
    pub mode: String,
    /// The number of its owner.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
    /// When it was changed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub modified_at: Option<Timestamp>,
    /// BLAKE3 of its content, hex.
    pub blake3: Option<String>,
    /// Where a link leads, or of which file it is another name.
    pub target: Option<String>,
}

impl From<&Entry> for FileView {
    fn from(entry: &Entry) -> Self {
        let at = &entry.attributes;
        let (kind, target) = match &entry.kind {
            EntryKind::File(_) => (FileKind::File, None),
            EntryKind::Directory => (FileKind::Directory, None),
            EntryKind::Symlink { target } => (FileKind::Symlink, Some(String::from_utf8_lossy(target).into_owned())),
            EntryKind::HardLink { to } => (FileKind::Hardlink, Some(to.to_string())),
            _ => (FileKind::Other, None),
        };
        let hash = if let EntryKind::File(file) = &entry.kind { Some(file.hash.to_string()) } else { None };
        let raw = entry.path.as_bytes().to_vec();
        let (path, path_base64) = match String::from_utf8(raw.clone()) {
            Ok(path) => (path, None),
            Err(_) => (entry.path.to_string(), Some(BASE64URL_NOPAD.encode(&raw))),
        };
        let FileTime { secs, nanos } = at.mtime;
        Self {
            name: path.rsplit('/').next().unwrap_or(&path).to_owned(),
            path,
            path_base64,
            raw,
            kind,
            size_bytes: entry.size(),
            mode: format!("{:04o}", at.mode),
            uid: at.uid,
            gid: at.gid,
            modified_at: i32::try_from(nanos).ok().and_then(|nanos| Timestamp::new(secs, nanos).ok()),
            blake3: hash,
            target,
        }
    }
}

impl FileView {
    /// Where a page that ends with this goes on.
    pub(crate) fn cursor(&self) -> String {
        BASE64URL_NOPAD.encode(&self.raw)
    }
}

/// The path that a cursor says.
///
/// # Errors
/// A problem, if it is no cursor of such a list.
pub(crate) fn place(cursor: &str) -> Result<TreePath, Problem> {
    let path = BASE64URL_NOPAD.decode(cursor.as_bytes()).ok().and_then(|raw| TreePath::new(raw).ok());
    path.ok_or_else(|| Problem::malformed("the cursor is none of this list"))
}

/// A path as it was sent: as text, or as bytes.
///
/// # Errors
/// A problem, if it is both, or no path.
pub(crate) fn sent(path: Option<String>, base64: Option<&str>) -> Result<Option<PathBuf>, Problem> {
    match (path, base64) {
        (path, None) => Ok(path.map(PathBuf::from)),
        (None, Some(text)) => {
            let raw = BASE64URL_NOPAD.decode(text.as_bytes());
            let raw = raw.map_err(|_| Problem::malformed("path_base64 is no base64url without padding"))?;
            Ok(Some(PathBuf::from(OsString::from_vec(raw))))
        }
        (Some(_), Some(_)) => Err(Problem::malformed("name path or path_base64, not both")),
    }
}

/// What happened to something between two snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// Its content or kind is another.
    Modified,
    /// Only its permissions, owner, times or extended attributes are others.
    Attributes,
}

/// Something that differs between two snapshots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangeView {
    /// How.
    pub change: ChangeKind,
    /// As it is in the newer one; as it was, if it is gone.
    pub file: FileView,
}

/// A snapshot that was asked for by name, and opened.
pub(crate) struct Opened {
    /// Its row.
    pub snapshot: Snapshot,
    /// Its manifest and key.
    pub open: OpenSnapshot,
}

/// Opens a snapshot: by id, or as `tales@3`.
///
/// # Errors
/// A problem: there is none, or it cannot be read here.
pub(crate) async fn open(store: &Store, text: &str) -> Result<Opened, Problem> {
    let snapshot = select::snapshot(store, text).await?;
    let (at, id) = (store.clone(), snapshot.id);
    let open = blocking(move || OpenSnapshot::open(&at, &id)).await.map_err(|error| unreadable(&error))?;
    Ok(Opened { snapshot, open })
}

fn unreadable(error: &OpenSnapshotError) -> Problem {
    Problem::conflict("not-readable", with_causes(error))
}

pub(super) fn damaged(error: &TreeError) -> Problem {
    Problem::conflict("not-whole", with_causes(error))
}

/// A path in a snapshot, or its single root if none is named.
///
/// # Errors
/// A problem, if it is no path.
pub(crate) fn within(open: &OpenSnapshot, path: Option<&Path>) -> Result<Option<TreePath>, SelectError> {
    match path.filter(|path| !path.as_os_str().is_empty()) {
        Some(path) => select::path(path, &open.private).map(Some),
        None => Ok(select::only_root(&open.private)),
    }
}

/// What is directly in a folder of a snapshot, in order of the names: at most `limit`, after the path `after`.
///
/// # Errors
/// A problem: there is no such folder, or chunks are missing.
pub(crate) async fn list(
    store: &Store,
    opened: Opened,
    path: Option<&Path>,
    after: Option<TreePath>,
    limit: usize,
) -> Result<Vec<FileView>, Problem> {
    let (chunks, within) = (store.chunks.clone(), within(&opened.open, path)?);
    let found = blocking(move || {
        let mut tree = opened.open.tree(&*chunks);
        if let Some(path) = &within
            && tree.find(path)?.is_none()
        {
            return Ok(None);
        }
        let mut found = Vec::new();
        view::list(&mut tree, within.as_ref(), false, |entry| {
            if found.len() < limit && after.as_ref().is_none_or(|after| entry.path > *after) {
                found.push(FileView::from(entry));
            }
        })?;
        Ok(Some(found))
    });
    let found = found.await.map_err(|error: TreeError| damaged(&error))?;
    found.ok_or_else(|| Problem::no_such("there is no such path in this snapshot"))
}

/// What differs between two snapshots, in order of the paths: at most `limit`, after the path `after`.
///
/// # Errors
/// A problem: they are of different collections, or chunks are missing.
pub(crate) async fn changes(
    store: &Store,
    (before, after): (Opened, Opened),
    from: Option<TreePath>,
    limit: usize,
) -> Result<Vec<ChangeView>, Problem> {
    if before.snapshot.collection != after.snapshot.collection {
        return Err(Problem::invalid("the two snapshots are of different collections: they have nothing in common"));
    }
    let chunks = store.chunks.clone();
    let found = blocking(move || {
        let mut found = Vec::new();
        view::diff(before.open.tree(&*chunks), after.open.tree(&*chunks), |difference, entry| {
            let change = match difference {
                view::Difference::Added => ChangeKind::Added,
                view::Difference::Removed => ChangeKind::Removed,
                view::Difference::Modified => ChangeKind::Modified,
                view::Difference::Attributes => ChangeKind::Attributes,
            };
            if found.len() < limit && from.as_ref().is_none_or(|from| entry.path > *from) {
                found.push(ChangeView { change, file: FileView::from(entry) });
            }
        })?;
        Ok(found)
    });
    found.await.map_err(|error: TreeError| damaged(&error))
}

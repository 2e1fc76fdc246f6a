//! One place in a snapshot as a person looks at it: a folder, folders first, or a file and, if it is a short text, what stands in it.

use std::sync::Arc;

use super::file::{FileKind, FileView, Opened, damaged, within};
use crate::backup::content::ContentReader;
use crate::backup::view;
use crate::domain::crypto::hash::FileHasher;
use crate::domain::metadata::entry::{Entry, EntryKind, FileEntry};
use crate::domain::text::is_unseen;
use crate::http::problem::Problem;
use crate::monitor::with_causes;
use crate::store::{ChunkStore, Store, TreeError, blocking};

/// Texts are shown up to this length, in bytes.
pub const MAX_TEXT_BYTES: u64 = 64 << 10;

/// What is at a path.
#[derive(Debug)]
pub(crate) enum Looked {
    /// A folder.
    Folder {
        /// What is directly in it: the part that was asked for, folders first.
        items: Vec<Listed>,
        /// How much is in it.
        total: u64,
    },
    /// A file.
    File {
        /// What is known of it.
        file: Box<FileView>,
        /// What stands in it.
        content: Content,
    },
    /// Something that has no content of its own.
    Other(Box<FileView>),
}

/// Something in a folder.
#[derive(Debug)]
pub(crate) struct Listed {
    /// How it is shown.
    pub view: FileView,
    /// Its path as a link asks for it; none of what is called by bytes that are no text.
    pub path: Option<String>,
}

/// What stands in a file, as far as it can be shown.
#[derive(Debug)]
pub(crate) enum Content {
    /// A text; what is not seen itself and changes how the rest is seen was replaced.
    Text(String),
    /// Too long, or no text.
    NotShown,
    /// It cannot be read, and why.
    Damaged(String),
}

/// Looks at a path; at the single root, or all of them, if none is named. Of a folder `limit` entries after the first `skip`.
///
/// # Errors
/// A problem: it is no path, there is no such thing, or chunks are missing.
pub(crate) async fn look(
    store: &Store,
    opened: Opened,
    path: Option<&str>,
    (skip, limit): (u64, u64),
) -> Result<Looked, Problem> {
    let (chunks, place): (Arc<dyn ChunkStore>, _) =
        (store.chunks.clone(), within(&opened.open, path.map(std::path::Path::new))?);
    let found = blocking(move || {
        let mut tree = opened.open.tree(&*chunks);
        if let Some(path) = &place {
            let Some(entry) = tree.find(path)? else { return Ok(None) };
            let view = Box::new(FileView::from(&entry));
            match entry.kind {
                EntryKind::Directory => {}
                EntryKind::File(file) => {
                    return Ok(Some(Looked::File { file: view, content: text(&chunks, &opened, &file) }));
                }
                _ => return Ok(Some(Looked::Other(view))),
            }
        }
        let (mut folders, mut total) = (0, 0);
        view::list(&mut tree, place.as_ref(), false, |entry| {
            folders += u64::from(is_folder(entry));
            total += 1;
        })?;
        let (mut items, mut folder, mut other) = (Vec::new(), 0, folders);
        view::list(&mut tree, place.as_ref(), false, |entry| {
            let next = if is_folder(entry) { &mut folder } else { &mut other };
            if *next >= skip && *next - skip < limit {
                let path = String::from_utf8(entry.path.as_bytes().to_vec()).ok();
                items.push(Listed { view: FileView::from(entry), path });
            }
            *next += 1;
        })?;
        items.sort_by_key(|item| item.view.kind != FileKind::Directory);
        Ok(Some(Looked::Folder { items, total }))
    });
    let found = found.await.map_err(|error: TreeError| damaged(&error))?;
    found.ok_or_else(|| Problem::no_such("there is no such path in this snapshot"))
}

fn is_folder(entry: &Entry) -> bool {
    matches!(entry.kind, EntryKind::Directory)
}

/// A short text, if the file is one, and what its hash says.
fn text(chunks: &Arc<dyn ChunkStore>, opened: &Opened, file: &FileEntry) -> Content {
    if file.size > MAX_TEXT_BYTES {
        return Content::NotShown;
    }
    let mut reader = ContentReader::new(chunks, opened.open.collection(), &opened.open.root);
    let (mut hasher, mut bytes) = (FileHasher::default(), Vec::new());
    let read = reader.read_while(file, &mut |piece| {
        hasher.update(piece);
        bytes.extend_from_slice(piece);
        bytes.len() as u64 <= MAX_TEXT_BYTES
    });
    match read {
        Err(error) => return Content::Damaged(with_causes(&error)),
        Ok(false) => return Content::NotShown,
        Ok(true) if hasher.finish() != file.hash => {
            return Content::Damaged("the file is not what its hash says".to_owned());
        }
        Ok(true) => {}
    }
    let Ok(text) = String::from_utf8(bytes) else { return Content::NotShown };
    if text.contains('\0') {
        return Content::NotShown;
    }
    let plain =
        |c: char| if is_unseen(c) && !matches!(c, '\n' | '\r' | '\t') { char::REPLACEMENT_CHARACTER } else { c };
    Content::Text(text.chars().map(plain).collect())
}

//! `/admin/v1/snapshots/{id}/files`, `/changes` and `/content`: what is in a snapshot.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use http::{HeaderValue, header};
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use utoipa::IntoParams;

use super::input::{At, Params};
use super::page::{Page, limit};
use super::refusals::{Missing, Refused};
use crate::backup::content::ContentReader;
use crate::domain::crypto::hash::FileHasher;
use crate::domain::metadata::entry::{Entry, EntryKind, FileEntry};
use crate::domain::wire::messages::ProblemDocument;
use crate::http::admin::AdminPlane;
use crate::http::admin::access::{Caller, Content, May, Read};
use crate::http::admin::view::file::{
    ChangeView, FileKind, FileView, Opened, changes, list, open, place, sent, within,
};
use crate::http::problem::Problem;
use crate::monitor::with_causes;
use crate::store::blocking;

/// Pieces of a file that wait to be sent.
const WAITING: usize = 4;
/// How long a piece is at least, in bytes, but the last.
const PIECE: usize = 1 << 18;
/// So many downloads go on at once: each has a thread, and some chunks in memory.
pub(in crate::http::admin) const DOWNLOADS: usize = 8;
/// A download of which nothing is taken for so long ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which folder.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct FilesQuery {
    /// Which folder of the snapshot; its root, if none is named.
    path: Option<String>,
    /// The same as bytes, base64url, if they are no UTF-8.
    path_base64: Option<String>,
    /// So many at once, 1 to 500; 50 if nothing is said.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// Where a page before this one said that the next one begins.
    cursor: Option<String>,
}

/// Compared with what.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ChangesQuery {
    /// The older snapshot: its id, or `tales@3`.
    since: String,
    /// So many at once, 1 to 500; 50 if nothing is said.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// Where a page before this one said that the next one begins.
    cursor: Option<String>,
}

/// Which file.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ContentQuery {
    /// Which file of the snapshot.
    path: Option<String>,
    /// The same as bytes, base64url, if they are no UTF-8.
    path_base64: Option<String>,
}

/// Lists a folder of a snapshot
#[utoipa::path(
    get,
    path = "/admin/v1/snapshots/{id}/files",
    params(("id" = String, Path, description = "Its id, or `tales@3`"), FilesQuery),
    responses(
        (status = 200, description = "What is directly in it, in order of the names", body = Page<FileView>),
        (status = 409, description = "The snapshot cannot be read here", body = ProblemDocument),
        (status = 422, description = "It is no path", body = ProblemDocument),
        Refused, Missing
    ),
    security(("token" = ["read"]))
)]
pub(super) async fn get_files(
    _: May<Read>,
    State(plane): State<AdminPlane>,
    At(id): At<String>,
    Params(query): Params<FilesQuery>,
) -> Result<Json<Page<FileView>>, Problem> {
    let limit = limit(query.limit)?;
    let opened = open(plane.store(), &id).await?;
    let (path, after) =
        (sent(query.path, query.path_base64.as_deref())?, query.cursor.as_deref().map(place).transpose()?);
    let found = list(plane.store(), opened, path.as_deref(), after, limit as usize + 1).await?;
    Ok(Json(Page::of(found, limit, FileView::cursor)))
}

/// Lists what differs from an older snapshot
#[utoipa::path(
    get,
    path = "/admin/v1/snapshots/{id}/changes",
    params(("id" = String, Path, description = "Its id, or `tales@3`"), ChangesQuery),
    responses(
        (status = 200, description = "What differs, in order of the paths", body = Page<ChangeView>),
        (status = 409, description = "One of them cannot be read here", body = ProblemDocument),
        (status = 422, description = "They are of different collections", body = ProblemDocument),
        Refused, Missing
    ),
    security(("token" = ["read"]))
)]
pub(super) async fn get_changes(
    _: May<Read>,
    State(plane): State<AdminPlane>,
    At(id): At<String>,
    Params(query): Params<ChangesQuery>,
) -> Result<Json<Page<ChangeView>>, Problem> {
    let limit = limit(query.limit)?;
    let both = (open(plane.store(), &query.since).await?, open(plane.store(), &id).await?);
    let from = query.cursor.as_deref().map(place).transpose()?;
    let found = changes(plane.store(), both, from, limit as usize + 1).await?;
    Ok(Json(Page::of(found, limit, |change: &ChangeView| change.file.cursor())))
}

/// Downloads one file of a snapshot
#[utoipa::path(
    get,
    path = "/admin/v1/snapshots/{id}/content",
    params(("id" = String, Path, description = "Its id, or `tales@3`"), ContentQuery),
    responses(
        (status = 200, description = "Its bytes. They are compared with their hash; if it is another, the answer breaks off before its end", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 409, description = "The snapshot cannot be read here, or it is no file", body = ProblemDocument),
        (status = 422, description = "It is no path", body = ProblemDocument),
        (status = 503, description = "Too many downloads go on", body = ProblemDocument),
        Refused, Missing
    ),
    security(("token" = ["content"]))
)]
pub(super) async fn get_content(
    May { caller, .. }: May<Content>,
    State(plane): State<AdminPlane>,
    At(id): At<String>,
    Params(query): Params<ContentQuery>,
) -> Result<Response, Problem> {
    let path = sent(query.path, query.path_base64.as_deref())?;
    plane.download(&id, &path.ok_or_else(|| Problem::malformed("name a file: path"))?, caller).await
}

impl AdminPlane {
    /// One file of a snapshot, as an answer for `caller`: it breaks off when that one is let in no more.
    pub(crate) async fn download(&self, snapshot: &str, path: &Path, caller: Caller) -> Result<Response, Problem> {
        let turn = Arc::clone(&self.downloads).try_acquire_owned();
        let turn = turn.map_err(|_| {
            Problem::not_ready("as many downloads go on as there may be at once: try again in a moment")
        })?;
        let opened = open(self.store(), snapshot).await?;
        let path = within(&opened.open, Some(path))?.ok_or_else(|| Problem::no_such("name a file"))?;
        let chunks = self.store().chunks.clone();
        let (opened, found) = blocking(move || {
            let mut tree = opened.open.tree(&*chunks);
            let found = match tree.find(&path) {
                // Another name of a file is that file.
                Ok(Some(Entry { kind: EntryKind::HardLink { to }, attributes, path })) => {
                    tree.find(&to).map(|file| file.map(|file| Entry { path, attributes, kind: file.kind }))
                }
                found => found,
            };
            drop(tree);
            (opened, found)
        })
        .await;
        let found = found.map_err(|error| Problem::conflict("not-whole", with_causes(&error)))?;
        let entry = found.ok_or_else(|| Problem::no_such("there is no such file in this snapshot"))?;
        let view = FileView::from(&entry);
        let EntryKind::File(file) = entry.kind else {
            let what = match view.kind {
                FileKind::Directory => "a folder",
                FileKind::Symlink => "a symbolic link",
                _ => "a pipe, a socket or a device",
            };
            return Err(Problem::conflict("no-file", format!("this is no file, but {what}")));
        };
        let disposition = HeaderValue::try_from(format!("attachment; filename*=UTF-8''{}", encoded(&view.name)));
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
            (header::CONTENT_LENGTH, HeaderValue::from(file.size)),
            (header::CONTENT_DISPOSITION, disposition.expect("only letters, digits and percent signs")),
            // Should a browser show it all the same, it may do nothing.
            (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox")),
        ];
        Ok((headers, self.streamed(opened, file, turn, caller).await?).into_response())
    }

    /// The bytes of a file. The last ones go when all of them are known to be right; if nothing has gone yet, what is wrong is the answer.
    async fn streamed(
        &self,
        opened: Opened,
        file: FileEntry,
        turn: OwnedSemaphorePermit,
        caller: Caller,
    ) -> Result<Body, Problem> {
        let (tell, mut pieces) = mpsc::channel::<Result<Bytes, std::io::Error>>(WAITING);
        let chunks: Arc<dyn crate::store::ChunkStore> = self.store().chunks.clone();
        let runtime = Handle::current();
        // Whoever takes nothing for a while keeps nobody else from it.
        let send = move |piece| {
            let sent = runtime.block_on(async { tokio::time::timeout(PATIENCE, tell.send(piece)).await });
            matches!(sent, Ok(Ok(())))
        };
        let reading = move || {
            let _turn = turn;
            let mut reader = ContentReader::new(&chunks, opened.open.collection(), &opened.open.root);
            let (mut hasher, mut piece) = (FileHasher::default(), Vec::with_capacity(PIECE));
            let read = reader.read_while(&file, &mut |bytes| {
                hasher.update(bytes);
                // One piece is always held back.
                if piece.len() >= PIECE {
                    let full = std::mem::replace(&mut piece, Vec::with_capacity(PIECE));
                    if !send(Ok(full.into())) {
                        return false;
                    }
                }
                piece.extend_from_slice(bytes);
                true
            });
            let wrong = match read {
                Ok(true) if hasher.finish() == file.hash => None,
                Ok(true) => Some("the file is not what its hash says".to_owned()),
                Ok(false) => return,
                Err(error) => Some(with_causes(&error)),
            };
            let last = match wrong {
                None => Ok(piece.into()),
                Some(wrong) => {
                    tracing::error!(wrong, "a download was broken off");
                    Err(std::io::Error::other(wrong))
                }
            };
            send(last);
        };
        // It ends by itself when nobody takes the pieces any more.
        drop(tokio::task::spawn_blocking(reading));
        let first = match pieces.recv().await {
            Some(Err(wrong)) => return Err(Problem::conflict("not-whole", wrong.to_string())),
            first => first,
        };
        let gate = self.gate().clone();
        let rest = stream::unfold((pieces, gate, caller), async |(mut pieces, gate, caller)| {
            let piece = pieces.recv().await?.and_then(|piece| match gate.goes_on(&caller) {
                true => Ok(piece),
                false => Err(std::io::Error::other("whoever asked is let in no more")),
            });
            Some((piece, (pieces, gate, caller)))
        });
        Ok(Body::from_stream(stream::iter(first).chain(rest)))
    }
}

/// A file's name in a header (RFC 8187).
fn encoded(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

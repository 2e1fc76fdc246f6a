//! `GET /snapshots/{id}/files`: folders and files of a snapshot; `GET /snapshots/{id}/content` downloads one.

use std::path::Path as FilePath;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;

use super::parts;
use super::snapshot::{Known, known};
use super::{Amiss, Viewer};
use crate::domain::text::shown;
use crate::domain::words::{count, number};
use crate::http::admin::AdminPlane;
use crate::http::admin::access::Session;
use crate::http::admin::access::local::query_value;
use crate::http::admin::view::file::{self, FileKind, FileView};
use crate::http::admin::view::look::{Content, Listed, Looked, MAX_TEXT_BYTES, look};

/// So many entries stand on a page.
const ENTRIES: u64 = 200;

/// Which place.
#[derive(Debug, Deserialize)]
pub(super) struct Place {
    #[serde(default)]
    path: String,
    #[serde(default)]
    page: u64,
}

/// Which file.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    path: String,
}

/// A folder, or a file.
pub(super) async fn page(
    viewer: Viewer,
    State(plane): State<AdminPlane>,
    Path(id): Path<String>,
    Query(place): Query<Place>,
) -> Result<Markup, Amiss> {
    let now = plane.now();
    let known = known(&plane, &id).await?;
    let opened = file::open(plane.store(), &known.view.id).await?;
    let here = format!("{}/files", known.path());
    let path = place.path.trim_matches('/');
    let part = (place.page.saturating_mul(ENTRIES), ENTRIES);
    let main = match look(plane.store(), opened, Some(path), part).await? {
        Looked::Folder { items, total } => folder(&known, path, &items, total, place.page, now),
        Looked::File { file, content } => one_file(&known, path, &file, &content, now),
        Looked::Other(file) => other(&file, now),
    };
    let name = path.rsplit('/').next().filter(|name| !name.is_empty());
    let mut page = known.page_below(name.unwrap_or("Files"));
    if name.is_some() {
        page = page.below(here.clone(), "Files");
        for (at, _) in path.match_indices('/') {
            let (above, _) = path.split_at(at);
            let title = above.rsplit('/').next().unwrap_or(above);
            page = page.below(format!("{here}?path={}", query_value(above)), title);
        }
    }
    page.show(&plane, &viewer, main).await
}

/// One file, as a download; nothing is ever shown by the browser itself.
pub(super) async fn content(
    session: Session,
    State(plane): State<AdminPlane>,
    Path(id): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Amiss> {
    Ok(plane.download(&id, FilePath::new(&wanted.path), session.caller()).await?)
}

fn folder(known: &Known, path: &str, items: &[Listed], total: u64, page: u64, now: Timestamp) -> Markup {
    let here = format!("{}/files", known.path());
    let rows: Vec<Vec<Markup>> = items.iter().map(|item| row(&here, item, now)).collect();
    let at = |page: u64| format!("{here}?path={}&page={page}", query_value(path));
    let more = (page + 1).saturating_mul(ENTRIES) < total;
    let caption = match total > ENTRIES {
        true => format!("{} of {} entries", number(rows.len() as u64), number(total)),
        false => {
            format!("{} in this folder", if total == 1 { "1 entry".to_owned() } else { format!("{total} entries") })
        }
    };
    html! {
        div.stack {
            @if rows.is_empty() {
                (parts::empty("Nothing is in here", "The folder was empty when the snapshot was made.", &html! {}))
            } @else {
                section.card {
                    (parts::table(&caption, &["Name", "Size", "Changed"], &rows))
                    @if page > 0 || more {
                        nav.pages aria-label="More of the folder" {
                            @if page > 0 { a.button.quiet href=(at(page - 1)) rel="prev" { "Back" } }
                            @if more { a.button.quiet href=(at(page + 1)) rel="next" { "Go on" } }
                        }
                    }
                }
            }
            p { a.button.quiet href=(restore(known, path)) { @if path.is_empty() { "Restore all of it…" } @else { "Restore this folder…" } } }
        }
    }
}

fn restore(known: &Known, path: &str) -> String {
    match path {
        "" => format!("{}/restore", known.path()),
        path => format!("{}/restore?paths={}", known.path(), query_value(path)),
    }
}

fn row(here: &str, item: &Listed, now: Timestamp) -> Vec<Markup> {
    let view = &item.view;
    let is_folder = view.kind == FileKind::Directory;
    let name = html! { (shown(&view.name)) @if is_folder { "/" } };
    vec![
        html! {
            span class=(if is_folder { "path folder" } else { "path" }) {
                @match &item.path {
                    Some(path) => { a href={ (here) "?path=" (query_value(path)) } { (name) } }
                    None => { (name) " " span.small.soft { "its name is no text: restore the folder to get it" } }
                }
            }
            @if let Some(target) = &view.target { " " span.small.soft { "→ " (shown(target)) } }
        },
        html! {
            @match view.kind {
                FileKind::File => { (parts::size(view.size_bytes)) }
                FileKind::Directory => { span.soft { "folder" } }
                FileKind::Symlink => { span.soft { "link" } }
                FileKind::Hardlink => { span.soft { "another name" } }
                FileKind::Other => { span.soft { "device or such" } }
            }
        },
        parts::moment_or(view.modified_at, now, "not known"),
    ]
}

fn one_file(known: &Known, path: &str, file: &FileView, content: &Content, now: Timestamp) -> Markup {
    let get = format!("{}/content?path={}", known.path(), query_value(path));
    html! {
        div.stack {
            div.actions {
                a.button href=(get) download { "Download" }
                a.button.quiet href=(restore(known, path)) { "Restore this file…" }
            }
            @match content {
                Content::Text(text) if text.is_empty() => { p.soft { "The file is empty." } }
                Content::Text(text) => {
                    section.card {
                        h2 { "What stands in it" }
                        pre.text tabindex="0" { code { (text) } }
                    }
                }
                Content::NotShown => {
                    p.soft {
                        "Only texts up to " (crate::domain::words::bytes(MAX_TEXT_BYTES))
                        " are shown here. Download the file to look at it with a program of yours."
                    }
                }
                Content::Damaged(why) => { (parts::trouble(parts::Light::Bad, "The file cannot be read", why, None)) }
            }
            (facts(file, now))
        }
    }
}

fn other(file: &FileView, now: Timestamp) -> Markup {
    html! {
        div.stack {
            p.lead {
                @match (&file.kind, &file.target) {
                    (FileKind::Symlink, Some(to)) => { "A link to " code { (shown(to)) } "." }
                    (FileKind::Hardlink, Some(to)) => { "Another name of " code { (shown(to)) } "." }
                    _ => { "A pipe, a socket or a device: it has no content." }
                }
            }
            (facts(file, now))
        }
    }
}

fn facts(file: &FileView, now: Timestamp) -> Markup {
    let mut facts = vec![("Path", html! { code { (shown(&file.path)) } })];
    if file.kind == FileKind::File {
        facts.push((
            "Size",
            html! { (parts::size(file.size_bytes)) @if file.size_bytes >= 1000 { span.soft { ", " (count(file.size_bytes, "byte")) } } },
        ));
    }
    if let Some(at) = file.modified_at {
        facts.push(("Changed", html! { (parts::moment(at, now)) span.soft { ", " (parts::exact(at)) } }));
    }
    facts.push(("Permissions", html! { code { (file.mode) } " for user " (file.uid) " and group " (file.gid) }));
    if let Some(hash) = &file.blake3 {
        facts.push(("BLAKE3", html! { code { (hash) } }));
    }
    html! { section.card { h2 { "About it" } (parts::facts(&facts)) } }
}

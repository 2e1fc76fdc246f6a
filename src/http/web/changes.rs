//! `GET /snapshots/{id}/changes`: what differs from the snapshot before it.

use axum::extract::{Path, Query, State};
use maud::{Markup, html};
use serde::Deserialize;

use super::parts;
use super::snapshot::known;
use super::{Amiss, Viewer};
use crate::domain::text::shown;
use crate::http::admin::AdminPlane;
use crate::http::admin::access::local::query_value;
use crate::http::admin::view::file::{self, ChangeKind, ChangeView, FileKind};

/// So many stand on a page.
const CHANGES: usize = 200;

/// Which part.
#[derive(Debug, Deserialize)]
pub(super) struct Part {
    /// After this place.
    after: Option<String>,
}

/// What changed.
pub(super) async fn page(
    viewer: Viewer,
    State(plane): State<AdminPlane>,
    Path(id): Path<String>,
    Query(part): Query<Part>,
) -> Result<Markup, Amiss> {
    let store = plane.store();
    let known = known(&plane, &id).await?;
    let before = known.before(&plane).await?.ok_or_else(Amiss::not_found)?;
    let both = (file::open(store, &before.id).await?, file::open(store, &known.view.id).await?);
    let mut found =
        file::changes(store, both, part.after.as_deref().map(file::place).transpose()?, CHANGES + 1).await?;
    let more = found.len() > CHANGES;
    found.truncate(CHANGES);
    let here = format!("{}/changes", known.path());
    let next = found.last().filter(|_| more).map(|last| format!("{here}?after={}", query_value(&last.file.cursor())));
    let rows: Vec<Vec<Markup>> = found.iter().map(|change| row(&known.path(), change)).collect();
    let main = html! {
        div.stack {
            p.lead { "Against " a href={ "/snapshots/" (before.id) } { (known.collection.name) "@" (before.sequence) } ", the one before it." }
            @if rows.is_empty() {
                (parts::empty("Nothing", "Both hold the very same files.", &html! {}))
            } @else {
                section.card {
                    (parts::table_below_heading("Changes, by path", &["Path", "What", "Size"], &rows))
                    @if part.after.is_some() || next.is_some() {
                        nav.pages aria-label="More of the list" {
                            @if part.after.is_some() { a.button.quiet href=(here) { "From the beginning" } }
                            @if let Some(next) = &next { a.button.quiet href=(next) rel="next" { "Go on" } }
                        }
                    }
                }
            }
        }
    };
    known.page_below("What changed").show(&plane, &viewer, main).await
}

fn row(snapshot: &str, change: &ChangeView) -> Vec<Markup> {
    let file = &change.file;
    let is_there = change.change != ChangeKind::Removed;
    let words = match change.change {
        ChangeKind::Added => "new",
        ChangeKind::Removed => "gone",
        ChangeKind::Modified => "changed",
        ChangeKind::Attributes => "only its permissions, owner or times",
    };
    vec![
        html! {
            @if is_there { a.path href={ (snapshot) "/files?path=" (query_value(&file.path)) } { (shown(&file.path)) } }
            @else { span.path { (shown(&file.path)) } }
            @if file.kind == FileKind::Directory { "/" }
        },
        html! { (words) },
        html! { @if file.kind == FileKind::File { (parts::size(file.size_bytes)) } @else { span.soft { "–" } } },
    ]
}

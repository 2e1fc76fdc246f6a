//! `GET /audit`: who did what.

use axum::extract::{Query, State};
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{Here, Page};
use super::parts::{self, Light};
use super::{Amiss, Viewer};
use crate::domain::audit::Ending;
use crate::http::admin::AdminPlane;
use crate::http::admin::view::audit::{AuditView, audit};

/// So many entries stand on a page.
const ENTRIES: usize = 50;

/// Which part of the log.
#[derive(Debug, Deserialize)]
pub(super) struct Part {
    before: Option<u64>,
}

/// The log, the newest entry first.
pub(super) async fn page(
    viewer: Viewer,
    State(plane): State<AdminPlane>,
    Query(part): Query<Part>,
) -> Result<Markup, Amiss> {
    let now = plane.now();
    let (entries, next) = audit(plane.store(), part.before, ENTRIES).await?;
    let rows: Vec<Vec<Markup>> = entries
        .iter()
        .map(|entry| {
            vec![
                html! { (entry.what) },
                html! { (entry.who) },
                html! { @if entry.subjects.is_empty() { span.soft { "–" } } @else { (entry.subjects.join(", ")) } },
                parts::moment(entry.recorded_at, now),
                ending(entry),
            ]
        })
        .collect();
    let (newer, older) = (part.before.map(|_| "/audit"), next.map(|next| format!("/audit?before={next}")));
    let main = html! {
        div.stack {
            p.lead {
                "Each line holds the hash of the line before it: what was changed or taken out later shows. "
                "This looks the whole log through:"
            }
            (parts::command("bulbil audit verify"))
            @if rows.is_empty() {
                (parts::empty("Nothing is recorded here", "What somebody does with a command, or a peer by a request, stands here from \
                    then on.", &html! {}))
            } @else {
                section.card {
                    (parts::table("Who did what", &["What", "Who", "To what", "When", "How it ended"], &rows))
                    (parts::pages(newer, older.as_deref()))
                }
            }
        }
    };
    Page::new("Audit", Here::Audit).show(&plane, &viewer, main).await
}

fn ending(entry: &AuditView) -> Markup {
    let (light, words) = match entry.ending {
        Ending::Begun => (Light::Unknown, "begun"),
        Ending::Done => (Light::Good, "done"),
        Ending::Partly => (Light::Care, "not everything"),
        Ending::Failed => (Light::Bad, "failed"),
    };
    html! {
        (parts::light(light, words))
        @if let Some(why) = &entry.why { br; span.small.soft { (why) } }
    }
}

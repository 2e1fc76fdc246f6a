//! `GET /runs`: what goes on, and what was done.

use axum::extract::{Query, State};
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{Here, Page};
use super::parts::{self, Light};
use super::report::is_only_look;
use super::{Amiss, Viewer};
use crate::backup::select;
use crate::domain::run::RunKind;
use crate::domain::schedule::Work;
use crate::domain::words::took;
use crate::http::admin::AdminPlane;
use crate::http::admin::access::local::query_value;
use crate::http::admin::view::run::{RunCause, RunState, RunView};
use crate::http::problem::Problem;

/// So many stand on a page.
const RUNS: usize = 50;

/// Which of them.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Part {
    #[serde(default)]
    collection: String,
    #[serde(default)]
    kind: String,
    /// At this target.
    #[serde(default)]
    target: String,
    /// Those with a lower number.
    before: Option<i64>,
}

impl Part {
    fn path(&self, before: i64) -> String {
        let (collection, kind) = (query_value(&self.collection), query_value(&self.kind));
        format!("/runs?collection={collection}&kind={kind}&target={}&before={before}", query_value(&self.target))
    }

    fn is_filtered(&self) -> bool {
        !self.collection.is_empty() || !self.kind.is_empty() || !self.target.is_empty()
    }
}

/// What stands above a list of them.
pub(super) const HEADS: [&str; 6] = ["What", "Of", "How it stands", "Begun", "Took", "Why"];

/// The list, the newest first; what goes on stands before all others.
pub(super) async fn page(
    viewer: Viewer,
    State(plane): State<AdminPlane>,
    Query(part): Query<Part>,
) -> Result<Markup, Amiss> {
    let now = plane.now();
    let kind = match part.kind.as_str() {
        "" => None,
        word => Some(word.parse::<RunKind>().map_err(Problem::malformed)?),
    };
    let collection = match part.collection.as_str() {
        "" => None,
        name => Some(select::collection(plane.store(), name).await.map_err(Problem::from)?),
    };
    let id = collection.as_ref().map(|collection| &collection.id);
    let target = Some(part.target.as_str()).filter(|name| !name.is_empty());
    let found = plane.runs(id, kind, target, part.before.unwrap_or(i64::MAX), RUNS as u32 + 1).await?;
    let older = found.get(RUNS).and_then(|_| found.get(RUNS - 1)).map(|last| part.path(last.id));
    let mut going = match part.before {
        None => plane.open_runs().await?,
        Some(_) => Vec::new(),
    };
    going.retain(|run| kind.is_none_or(|kind| kind.word() == run.kind));
    going.retain(|run| {
        collection.as_ref().is_none_or(|collection| run.collection.as_deref() == Some(collection.name.as_str()))
    });
    going.retain(|run| target.is_none() || run.target.as_deref() == target);
    let ended = found.iter().take(RUNS).filter(|run| part.before.is_some() || run.state != RunState::Running);
    let rows: Vec<Vec<Markup>> = going.iter().chain(ended).map(|run| row(run, now)).collect();
    let names: Vec<String> = plane.store().index.collections().await?.into_iter().map(|one| one.name).collect();
    let newer = part.before.map(|_| part.path(i64::MAX));
    let main = html! {
        div.stack {
            (filter(&part, &names))
            @if rows.is_empty() {
                (nothing(&part))
            } @else {
                section.card {
                    (parts::table_below_heading("Runs, what goes on first", &HEADS, &rows))
                    (parts::pages(newer.as_deref(), older.as_deref()))
                }
            }
        }
    };
    Page::new("Runs", Here::Runs).show(&plane, &viewer, main).await
}

fn filter(part: &Part, names: &[String]) -> Markup {
    html! {
        form.filter method="get" action="/runs" {
            div.field {
                label for="collection" { "Collection" }
                select #collection name="collection" {
                    option value="" { "All" }
                    @for name in names { option value=(name) selected[*name == part.collection] { (name) } }
                }
            }
            div.field {
                label for="kind" { "Kind" }
                select #kind name="kind" {
                    option value="" { "All" }
                    @for kind in RunKind::all() {
                        option value=(kind.word()) selected[kind.word() == part.kind] { (named(kind.word())) }
                    }
                }
            }
            @if !part.target.is_empty() { input type="hidden" name="target" value=(part.target); }
            button.button.quiet type="submit" { "Show" }
            @if !part.target.is_empty() { p.small.soft { "Only at target " (part.target) ". " a href="/runs" { "Show all" } } }
        }
    }
}

fn nothing(part: &Part) -> Markup {
    match part.is_filtered() || part.before.is_some() {
        true => parts::empty(
            "None of these",
            "Nothing on record fits what was asked for.",
            &html! { a.button.quiet href="/runs" { "Show all" } },
        ),
        false => parts::empty(
            "Nothing was done yet",
            "Each backup, verification, restore and other longer work stands here, with what came of it.",
            &html! { a.button href="/" { "To the overview" } },
        ),
    }
}

pub(super) fn row(run: &RunView, now: Timestamp) -> Vec<Markup> {
    vec![
        html! { a href={ "/runs/" (run.id) } { (named(&run.kind)) " " (run.id) } @if is_only_look(run) { span.small.soft { " only looked" } } },
        html! { (of(run)) },
        html! {
            (state(run))
            @if let Some(message) = &run.message { br; span.small.soft { (shortened(message)) } }
        },
        parts::moment(run.started_at, now),
        html! { (lasted(run, now)) },
        html! { (why(run)) },
    ]
}

/// Of what it is.
fn of(run: &RunView) -> Markup {
    html! {
        @match (&run.collection, &run.target) {
            (Some(name), Some(target)) => { (name) br; span.small.soft { "target " (target) } }
            (Some(name), None) => { (name) }
            (None, Some(target)) => { "target " (target) }
            (None, None) => { span.soft { "all" } }
        }
    }
}

/// The beginning of a long sentence.
fn shortened(text: &str) -> String {
    const MOST: usize = 140;
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// How it stands, with its light.
pub(super) fn state(run: &RunView) -> Markup {
    match run.state {
        RunState::Running => html! { span.tag.now { "goes on" } },
        RunState::Done => parts::light(Light::Good, "done"),
        RunState::Partly => parts::light(Light::Care, "done, and something is wrong"),
        RunState::Failed => parts::light(Light::Bad, "failed"),
        RunState::Interrupted => parts::light(Light::Care, "stopped before its end"),
    }
}

/// How long it took, or goes on.
pub(super) fn lasted(run: &RunView, now: Timestamp) -> String {
    let span = run.ended_at.unwrap_or(now).duration_since(run.started_at);
    took(span.unsigned_abs())
}

/// Who or what asked for it.
pub(super) fn why(run: &RunView) -> String {
    match (run.cause, &run.requested_by) {
        (RunCause::Schedule, _) => "it was due".to_owned(),
        (RunCause::Command, _) => "by a command".to_owned(),
        (RunCause::Request, Some(by)) if by == "browser" => "asked for here".to_owned(),
        (RunCause::Request, Some(by)) => format!("asked for by {by}"),
        (RunCause::Request, None) => "asked for".to_owned(),
    }
}

/// What a kind is called.
pub(super) fn named(kind: &str) -> &'static str {
    match kind.parse::<RunKind>() {
        Ok(RunKind::Work(Work::Backup)) => "Backup",
        Ok(RunKind::Work(Work::Verify)) => "Verification",
        Ok(RunKind::Work(Work::VerifyData)) => "Verification of every byte",
        Ok(RunKind::Work(Work::Check)) => "Check of the live folders",
        Ok(RunKind::Work(Work::Prune)) => "Prune",
        Ok(RunKind::Work(Work::Drill)) => "Tried restore",
        Ok(RunKind::Work(Work::Copy)) => "Copy to targets",
        Ok(RunKind::Restore) => "Restore",
        Ok(RunKind::Recover) => "Recovery",
        Ok(RunKind::LayOut) => "Laying out",
        Ok(RunKind::Export) => "Export",
        Ok(RunKind::Import) => "Import",
        Ok(RunKind::Usage) => "What takes the space",
        Ok(RunKind::Sync) => "News from peers",
        Ok(RunKind::Fetch) => "Fetching from peers",
        Ok(RunKind::Rekey) => "Keys from peers",
        Ok(RunKind::Scrub) => "Reading everything again",
        Ok(RunKind::Clone) => "Clone of another instance",
        Ok(RunKind::VerifyTarget) => "Verification of a target",
        Ok(RunKind::PruneTarget) => "Prune of a target",
        Err(_) => "Work",
    }
}

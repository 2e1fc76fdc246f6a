//! `GET /runs/{id}`: one run, as it goes on and as it ended; `POST /runs/{id}/cancel` stops it.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;

use super::forms::Nothing;
use super::layout::{Here, Page};
use super::parts::{self, Light, Weight};
use super::runs::{lasted, named, state, why};
use super::{Amiss, Viewer, forms, report, usage};
use crate::domain::words::{bytes, count, number};
use crate::http::admin::AdminPlane;
use crate::http::admin::access::Posted;
use crate::http::admin::access::local::see_other;
use crate::http::admin::view::run::{LineView, ProgressView, RunState, RunView};

/// How the page is wanted.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Wanted {
    /// It does not load itself again.
    still: Option<String>,
}

/// One run.
pub(super) async fn page(
    viewer: Viewer,
    State(plane): State<AdminPlane>,
    Path(id): Path<i64>,
    Query(wanted): Query<Wanted>,
) -> Result<Markup, Amiss> {
    shown(&plane, &viewer, id, wanted.still.is_some(), None).await
}

/// Stops it.
pub(super) async fn cancel(
    State(plane): State<AdminPlane>,
    Path(id): Path<i64>,
    posted: Posted<Nothing>,
) -> Result<Response, Amiss> {
    match plane.cancel_run(id).await {
        Ok(()) => Ok(see_other(&format!("/runs/{id}"))),
        Err(problem) if problem.status() == StatusCode::CONFLICT => {
            let page = shown(&plane, &posted.session.into(), id, true, Some(problem.reason())).await?;
            Ok((StatusCode::CONFLICT, page).into_response())
        }
        Err(problem) => Err(problem.into()),
    }
}

async fn shown(plane: &AdminPlane, viewer: &Viewer, id: i64, still: bool, said: Option<&str>) -> Result<Markup, Amiss> {
    let now = plane.now();
    let run = plane.run(id).await?.ok_or_else(Amiss::not_found)?;
    let log = plane.run_log(id, 0).await?;
    let running = run.state == RunState::Running;
    let main = html! {
        div.stack {
            @if let Some(said) = said { (not_done(said)) }
            @if running {
                (going(&run, &log, viewer, (&format!("/runs/{id}"), still), now))
            } @else {
                p.lead { (state(&run)) }
                @if let Some(message) = &run.message {
                    (parts::trouble(if run.state == RunState::Failed { Light::Bad } else { Light::Care }, "What is wrong", message, None))
                }
                (report::in_words(&run))
                @if let Some(report) = run.report.as_ref().filter(|_| run.kind == "usage") { (usage::tables(report)) }
            }
            (facts(&run, now))
            @if !running { (logged(&log)) }
            @if let Some(report) = run.report.as_ref().and_then(|report| serde_json::to_string_pretty(report).ok()) {
                (parts::more("The report as programs get it", &html! { pre.command tabindex="0" { code { (report) } } }))
            }
        }
    };
    let title = match (&run.collection, &run.target) {
        // Only copies have both.
        (Some(name), Some(target)) => format!("Copy of {name} to {target}"),
        (Some(name), None) => format!("{} of {name}", named(&run.kind)),
        (None, Some(target)) => format!("{}: {target}", named(&run.kind)),
        (None, None) => named(&run.kind).to_owned(),
    };
    let page = Page::new(title, Here::Runs).below("/runs", "Runs");
    let page = match (running, still) {
        (true, false) => page.live().refreshed(),
        (true, true) => page.live(),
        (false, _) => page,
    };
    page.show(plane, viewer, main).await
}

/// Something that was asked for was not begun or not done, and why.
pub(super) fn not_done(why: &str) -> Markup {
    html! { div role="alert" { (parts::trouble(Light::Care, "Not done", &forms::full_stop(why), None)) } }
}

/// How far it is. `here` is the address of the page.
pub(super) fn going(
    run: &RunView,
    log: &[LineView],
    viewer: &Viewer,
    (here, still): (&str, bool),
    now: Timestamp,
) -> Markup {
    let quiet = format!("{here}{}still=yes", if here.contains('?') { "&" } else { "?" });
    let cancel = format!("/runs/{}/cancel", run.id);
    let words = run.progress.as_ref().map(far).filter(|words| !words.is_empty());
    let words = words.unwrap_or_else(|| "It has begun.".to_owned());
    let percent = run.progress.as_ref().and_then(percent);
    html! {
        p.lead { (state(run)) " for " (so_far(run, now)) }
        (parts::progress(&format!("/admin/v1/runs/{}/events", run.id), here, &words, percent))
        @if let Some(progress) = &run.progress { (figures(progress)) }
        div.actions {
            @if run.progress.is_some() {
                (parts::button(viewer, &cancel, &[], "Stop it", Weight::Danger))
            }
        }
        @if run.progress.is_none() { p.soft { "It goes on in another process: stop it there, with Ctrl-C." } }
        noscript {
            @if !log.is_empty() { (logged(log)) }
            p.small.soft {
                @if still { "This page stays as it is. " a href=(here) { "Let it load itself again every 5 seconds" } }
                @else { "This page loads itself again every 5 seconds. " a href=(quiet) { "Let it stay as it is" } }
            }
        }
    }
}

/// How far, as the script says it, too.
fn far(progress: &ProgressView) -> String {
    let amount = |n: u64| if progress.in_bytes { bytes(n) } else { number(n) };
    let far = match (progress.done, progress.total) {
        (done, Some(total)) if total > 0 => format!("{} of {}", amount(done), amount(total)),
        (0, _) => String::new(),
        (done, _) => amount(done),
    };
    let task = match (&progress.task, progress.entries) {
        (Some(task), _) => task.clone(),
        (None, 0) => String::new(),
        (None, entries) => format!("{} files and folders", number(entries)),
    };
    [task, far].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
}

fn percent(progress: &ProgressView) -> Option<u64> {
    let total = progress.total.filter(|total| *total > 0)?;
    Some((u128::from(progress.done) * 100 / u128::from(total)).min(100) as u64)
}

/// How long it goes on; the script goes on counting.
fn so_far(run: &RunView, now: Timestamp) -> Markup {
    let seconds = now.duration_since(run.started_at).unsigned_abs().as_secs();
    html! { span data-live-seconds=(seconds) { (lasted(run, now)) } }
}

/// Numbers that the script keeps up to date, by their names in a [`ProgressView`].
fn figures(progress: &ProgressView) -> Markup {
    html! {
        dl.sums {
            div { dt { "Files and folders" } dd data-live-figure="entries" { (number(progress.entries)) } }
            div { dt { "Read" } dd data-live-figure="file_bytes" data-live-bytes { (bytes(progress.file_bytes)) } }
            div { dt { "Chunks" } dd data-live-figure="chunks" { (number(progress.chunks)) } }
            div { dt { "Problems" } dd data-live-figure="problems" { (number(progress.problems)) } }
        }
    }
}

fn facts(run: &RunView, now: Timestamp) -> Markup {
    let mut facts = vec![
        ("Begun", html! { (parts::moment(run.started_at, now)) span.soft { ", " (parts::exact(run.started_at)) } }),
        ("Took", html! { @if run.ended_at.is_none() { "so far " (so_far(run, now)) } @else { (lasted(run, now)) } }),
        ("Why", html! { (why(run)) }),
    ];
    if let Some(name) = run.collection.as_ref() {
        facts.push(("Collection", html! { a href={ "/collections/" (name) } { (name) } }));
    }
    if let Some(name) = run.target.as_ref() {
        facts.push(("Target", html! { a href={ "/targets/" (name) } { (name) } }));
    }
    if let Some(id) = &run.snapshot {
        facts.push(("Snapshot", html! { a href={ "/snapshots/" (id) } { code { (id.get(..12).unwrap_or(id)) } } }));
    }
    html! { section.card { h2 { "About this run" } (parts::facts(&facts)) } }
}

fn logged(log: &[LineView]) -> Markup {
    let problems = log.iter().filter(|line| line.is_problem).count() as u64;
    html! {
        section.card {
            h2 { "What it said" }
            @if log.is_empty() {
                p.soft { "Nothing: there was nothing worth saying." }
            } @else {
                @if problems > 0 { p.soft { (count(log.len() as u64, "line")) ", of which " (count(problems, "problem")) } }
                ol.log {
                    @for line in log {
                        li {
                            time.soft datetime=(line.at.to_string()) { (line.at.strftime("%H:%M:%S")) " UTC" }
                            span { @if line.is_problem { strong { "Problem: " } } (line.in_words()) }
                        }
                    }
                }
            }
        }
    }
}

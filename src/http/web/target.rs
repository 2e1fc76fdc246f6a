//! `GET /targets/{name}`: a place that copies go to: where it is, how each copy is, what was done there, and what can be done.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;

use super::forms::Nothing;
use super::layout::{Here, Page};
use super::parts::{self, Weight};
use super::run::not_done;
use super::runs::{HEADS, row};
use super::targets::{by_itself, copies, facts, kind, verdict};
use super::typed::done;
use super::{Amiss, Viewer, alerts};
use crate::domain::alert::AlertKind;
use crate::http::admin::access::local::see_other;
use crate::http::admin::access::{FreshPosted, FreshSession, Posted};
use crate::http::admin::view::alert::{self, AlertView};
use crate::http::admin::view::target::{TargetKind, TargetView};
use crate::http::admin::{AdminPlane, ReadBack, StartRun};
use crate::http::problem::Problem;

/// So many runs are shown.
const RUNS: u32 = 8;

/// What was done just now.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    done: Option<String>,
}

/// What is to be done.
#[derive(Debug, Deserialize)]
pub(super) struct Start {
    kind: String,
}

/// One target.
pub(super) async fn page(
    viewer: Viewer,
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Markup, Amiss> {
    let target = plane.target_view(&name).await?;
    let is_new = asked.done.as_deref() == Some("add");
    let said = match is_new && !target.copies.is_empty() {
        true => "The place is named, and begun. Nothing is copied there yet: press \u{201c}Copy now\u{201d}.",
        false => "The place is named, and begun. As soon as there is a collection it can be copied there.",
    };
    shown(&plane, &viewer, &target, html! { @if is_new { (done(said)) } }).await
}

/// Begins something at a target, and leads to its page.
pub(super) async fn start(
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    posted: Posted<Start>,
) -> Result<Response, Amiss> {
    let begun = async {
        let order = plane.order(order(&posted.form.kind, name.clone())?).await?;
        plane.start(order, posted.session.caller().who()).await
    };
    match begun.await {
        Ok(id) => Ok(see_other(&format!("/runs/{id}"))),
        Err(problem) if problem.status() == StatusCode::CONFLICT => {
            let target = plane.target_view(&name).await?;
            let page = shown(&plane, &posted.session.into(), &target, not_done(problem.reason())).await?;
            Ok((StatusCode::CONFLICT, page).into_response())
        }
        Err(problem) => Err(problem.into()),
    }
}

fn order(kind: &str, target: String) -> Result<StartRun, Problem> {
    let (data, repair) = match kind {
        "copy" => return Ok(StartRun::Copy { collection: None, target: Some(target), verify: ReadBack::Sample }),
        "prune" | "prune-look" => {
            return Ok(StartRun::PruneTarget { target, dry_run: kind == "prune-look", at_once: false });
        }
        "verify" => (false, false),
        "verify-data" => (true, false),
        "repair" => (true, true),
        _ => return Err(Problem::invalid(format!("{kind:?} is nothing that can be begun here"))),
    };
    Ok(StartRun::VerifyTarget { target, data, sample_percent: None, repair })
}

/// Asks whether it is to be forgotten.
pub(super) async fn ask_forget(
    FreshSession(session): FreshSession,
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
) -> Result<Response, Amiss> {
    let (viewer, target) = (Viewer::from(session), plane.target_view(&name).await?);
    let to = format!("/targets/{}/forget", target.name);
    let main = html! {
        div.stack {
            p.lead { "Nothing is copied there any more, and nobody looks at what is there. The copies stay where they are: " code { (target.location) } "." }
            @if target.kind == TargetKind::Bucket {
                p { "What lets us into the bucket is forgotten, too. To name it again you need the key once more." }
            }
            form method="post" action=(to) {
                (parts::csrf(&viewer))
                input type="hidden" name="back" value=(to);
                div.actions {
                    button.button.danger type="submit" { "Forget it" }
                    a.button.quiet href={ "/targets/" (target.name) } { "Leave it as it is" }
                }
            }
        }
    };
    let page = Page::new(format!("Forget {}?", target.name), Here::Targets).below("/targets", "Targets");
    let page = page.below(format!("/targets/{}", target.name), target.name.clone());
    Ok(page.show(&plane, &viewer, main).await?.into_response())
}

/// Forgets it.
pub(super) async fn forget(
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    posted: FreshPosted<Nothing>,
) -> Result<Response, Amiss> {
    plane.forget_target(&name, posted.session.caller().who()).await?;
    Ok(see_other("/targets?done=forget"))
}

async fn shown(plane: &AdminPlane, viewer: &Viewer, target: &TargetView, said: Markup) -> Result<Markup, Amiss> {
    let (now, by_itself) = (plane.now(), by_itself(plane).await?);
    let mut wrong = alert::alerts(plane.store(), plane.bounds(), now).await?;
    wrong.retain(|alert| is_of(alert, &target.name));
    let runs = plane.runs(None, None, Some(&target.name), i64::MAX, RUNS).await?;
    let rows: Vec<Vec<Markup>> = runs.iter().map(|run| row(run, now)).collect();
    let main = html! {
        div.stack {
            (said)
            p.lead { (verdict(std::slice::from_ref(target), Some(""))) }
            (alerts::list(&wrong, now))
            section.card {
                div.head { h2 { "Where it is" } span.small.soft { (kind(target)) } }
                (parts::facts(&facts(target)))
                p.small.soft { "What goes there is sealed: whoever holds it can read none of it. What lets us in is shown by nothing." }
            }
            section.card {
                h2 { "What is there" }
                (copies(target, &by_itself, now))
                @if !target.copies.is_empty() { (first_things(target, viewer)) }
            }
            (more_to_do(target, viewer))
            section.card {
                h2 { "What was done there" }
                @if rows.is_empty() {
                    p.soft { "Nothing yet." }
                } @else {
                    (parts::table_below_heading("The last runs", &HEADS, &rows))
                    p { a href={ "/runs?target=" (target.name) } { "All of them" } }
                }
            }
        }
    };
    Page::new(target.name.clone(), Here::Targets).below("/targets", "Targets").show(plane, viewer, main).await
}

/// Whether an alert is of this target.
fn is_of(alert: &AlertView, name: &str) -> bool {
    let subject = alert.subject.strip_prefix("target ").and_then(|rest| rest.strip_prefix(name));
    alert.kind == AlertKind::TargetFailed && subject.is_some_and(|rest| rest.starts_with(": "))
}

fn button(target: &TargetView, viewer: &Viewer, kind: &str, label: &str, weight: Weight) -> Markup {
    parts::button(viewer, &format!("/targets/{}/runs", target.name), &[("kind", kind)], label, weight)
}

/// What most come for.
fn first_things(target: &TargetView, viewer: &Viewer) -> Markup {
    html! {
        div.actions {
            (button(target, viewer, "copy", "Copy now", Weight::First))
            (button(target, viewer, "verify", "Verify", Weight::Quiet))
            (button(target, viewer, "verify-data", "Read every byte", Weight::Quiet))
        }
        p.small.soft {
            "\u{201c}Verify\u{201d} looks whether everything is there, with its length. To read every byte takes long, and some stores charge for it."
        }
    }
}

/// What is done now and then.
fn more_to_do(target: &TargetView, viewer: &Viewer) -> Markup {
    html! {
        section.card {
            h2 { "More to do there" }
            p { "What was removed here stays there until it is removed there, too. The newest snapshot of each collection and the one that was verified last stay in any case." }
            div.actions {
                (button(target, viewer, "prune-look", "Say what would go", Weight::Quiet))
                (button(target, viewer, "prune", "Remove it there", Weight::Danger))
            }
            p { "What is damaged there is written anew from what is here:" }
            div.actions { (button(target, viewer, "repair", "Read every byte, and mend what is damaged", Weight::Quiet)) }
            p { "When the place is not used any more:" }
            div.actions { a.button.quiet href={ "/targets/" (target.name) "/forget" } { "Forget this target" } }
        }
    }
}

//! `GET /targets`: places that copies go to, how they are, and what can be done there.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;

use super::forms::Nothing;
use super::layout::{Here, Page};
use super::parts::{self, Light, Weight};
use super::run::not_done;
use super::schedule::when;
use super::typed::done;
use super::{Amiss, Viewer};
use crate::domain::schedule::Work;
use crate::domain::words::count;
use crate::http::admin::access::local::see_other;
use crate::http::admin::access::{FreshPosted, FreshSession, Posted};
use crate::http::admin::view::schedule::{ScheduleView, schedules};
use crate::http::admin::view::target::{CopiedView, TargetKind, TargetStateView, TargetView};
use crate::http::admin::{AdminPlane, ReadBack, StartRun};
use crate::http::problem::Problem;

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

/// When each collection is copied by itself, by name.
type ByItself = Vec<(String, Option<ScheduleView>)>;

/// All of them.
pub(super) async fn page(
    viewer: Viewer,
    State(plane): State<AdminPlane>,
    Query(asked): Query<Asked>,
) -> Result<Markup, Amiss> {
    let said = asked.done.as_deref().and_then(|what| match what {
        "add" => Some("The place is named, and begun. Nothing is copied there yet: press \u{201c}Copy now\u{201d}."),
        "forget" => Some("Nothing is copied there any more. What is there stays."),
        _ => None,
    });
    shown(&plane, &viewer, said, None).await
}

/// Begins something at a target, and leads to its page.
pub(super) async fn start(
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    posted: Posted<Start>,
) -> Result<Response, Amiss> {
    begin(&plane, order(&posted.form.kind, name), posted).await
}

/// Copies everything to all targets, and leads to its page.
pub(super) async fn copy_all(State(plane): State<AdminPlane>, posted: Posted<Nothing>) -> Result<Response, Amiss> {
    let order = StartRun::Copy { collection: None, target: None, verify: ReadBack::Sample };
    begin(&plane, Ok(order), posted).await
}

async fn begin<T>(plane: &AdminPlane, order: Result<StartRun, Problem>, posted: Posted<T>) -> Result<Response, Amiss> {
    let begun = async { plane.start(plane.order(order?).await?, posted.session.caller().who()).await };
    match begun.await {
        Ok(id) => Ok(see_other(&format!("/runs/{id}"))),
        Err(problem) if problem.status() == StatusCode::CONFLICT => {
            let page = shown(plane, &posted.session.into(), None, Some(problem.reason())).await?;
            Ok((StatusCode::CONFLICT, page).into_response())
        }
        Err(problem) => Err(problem.into()),
    }
}

fn order(kind: &str, target: String) -> Result<StartRun, Problem> {
    let verify = |data, repair| (data, repair);
    let (data, repair) = match kind {
        "copy" => return Ok(StartRun::Copy { collection: None, target: Some(target), verify: ReadBack::Sample }),
        "prune" | "prune-look" => {
            return Ok(StartRun::PruneTarget { target, dry_run: kind == "prune-look", at_once: false });
        }
        "verify" => verify(false, false),
        "verify-data" => verify(true, false),
        "repair" => verify(true, true),
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
                    a.button.quiet href="/targets" { "Leave it as it is" }
                }
            }
        }
    };
    let page = Page::new(format!("Forget {}?", target.name), Here::Targets).below("/targets", "Targets");
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

async fn shown(
    plane: &AdminPlane,
    viewer: &Viewer,
    said: Option<&str>,
    refused: Option<&str>,
) -> Result<Markup, Amiss> {
    let (targets, now) = (plane.targets().await?, plane.now());
    let mut by_itself = ByItself::new();
    for collection in plane.store().index.collections().await? {
        let all = schedules(plane.store(), &collection, now).await?;
        by_itself.push((collection.name.clone(), all.into_iter().find(|one| one.kind == Work::Copy)));
    }
    let main = html! {
        div.stack {
            @if let Some(said) = said { (done(said)) }
            @if let Some(why) = refused { (not_done(why)) }
            @if targets.is_empty() {
                (none_yet())
            } @else {
                p.lead { (verdict(&targets)) }
                div.actions {
                    a.button.quiet href="/targets/new" { "Add a target" }
                    a.button.quiet href="/portable" { "A backup to carry" }
                    @if targets.len() > 1 { (parts::button(viewer, "/targets/runs", &[], "Copy to all of them now", Weight::Quiet)) }
                }
                @for target in &targets { (card(target, &by_itself, viewer, now)) }
            }
        }
    };
    Page::new("Targets", Here::Targets).show(plane, viewer, main).await
}

fn none_yet() -> Markup {
    let next = html! {
        p {
            "The old rule is three copies, on two kinds of storage, one of them elsewhere: this machine, a disk beside it, and a bucket or another instance. "
            "A target is such a place. What goes there is sealed: whoever holds it can read none of it."
        }
        div.actions {
            a.button href="/targets/new" { "Add a target" }
            a.button.quiet href="/portable" { "A backup to carry" }
            a.button.quiet href="/invites/new" { "Or let another instance keep a copy" }
        }
    };
    let text = "Everything that Bulbil keeps is on this machine. If its disk fails, or the house burns, the snapshots are gone with the data.";
    parts::empty("There is no copy in another place yet", text, &next)
}

/// How it is with all of them, in one line.
fn verdict(targets: &[TargetView]) -> Markup {
    let copies = || targets.iter().flat_map(|target| &target.copies);
    let failed = copies().filter(|copy| copy.failed.is_some()).count() as u64;
    let behind = copies().filter(|copy| copy.failed.is_none() && copy.behind > 0).count() as u64;
    let places = count(targets.len() as u64, "place");
    match (failed, behind) {
        (0, 0) if copies().all(|copy| copy.copied.is_none()) => {
            parts::light(Light::Unknown, &format!("{places}: there is nothing to copy yet."))
        }
        (0, 0) => parts::light(Light::Good, &format!("{places}: every copy has the newest snapshot.")),
        (0, n) => parts::light(Light::Care, &format!("{} not up to date.", copies_are(n))),
        (n, _) => parts::light(Light::Bad, &format!("{} not as it should be.", copies_are(n))),
    }
}

fn copies_are(n: u64) -> String {
    let are = if n == 1 { "is" } else { "are" };
    format!("{} {are}", if n == 1 { "1 copy".to_owned() } else { format!("{n} copies") })
}

fn card(target: &TargetView, by_itself: &ByItself, viewer: &Viewer, now: Timestamp) -> Markup {
    let to = format!("/targets/{}/runs", target.name);
    let button = |kind: &str, label: &str, weight| parts::button(viewer, &to, &[("kind", kind)], label, weight);
    let heads = ["Collection", "How it stands", "Copied", "Found right", "Copied by itself"];
    let rows: Vec<Vec<Markup>> = target.copies.iter().map(|copy| row(copy, by_itself, now)).collect();
    let kind = match target.kind {
        TargetKind::Folder => "a folder of this machine",
        TargetKind::Bucket => "a bucket",
    };
    html! {
        section.card id=(target.name) {
            div.head { h2 { (target.name) } span.small.soft { (kind) } }
            (parts::facts(&facts(target)))
            @if rows.is_empty() {
                p { "There is no collection yet that could be copied. " a href="/new/collection" { "Add a collection" } }
            } @else {
                (parts::table_below_heading(&format!("Copies in {}", target.name), &heads, &rows))
                div.actions {
                    (button("copy", "Copy now", Weight::First))
                    (button("verify", "Verify", Weight::Quiet))
                }
            }
            (parts::more("More to do there", &html! { div.stack {
                p { "\u{201c}Verify\u{201d} looks whether everything is there, with its length. To read every byte takes long, and some stores charge for it." }
                div.actions {
                    (button("verify-data", "Read every byte", Weight::Quiet))
                    (button("repair", "Read every byte, and mend what is damaged", Weight::Quiet))
                }
                p { "What was removed here stays there until it is removed there, too. The newest snapshot of each collection and the one that was verified last stay in any case." }
                div.actions {
                    (button("prune-look", "Say what would go", Weight::Quiet))
                    (button("prune", "Remove it there", Weight::Danger))
                }
                p { "When the place is not used any more:" }
                div.actions { a.button.quiet href={ "/targets/" (target.name) "/forget" } { "Forget this target" } }
            } }))
        }
    }
}

fn facts(target: &TargetView) -> Vec<(&'static str, Markup)> {
    let mut facts = vec![("Where", html! { code { (target.location) } })];
    if let Some(endpoint) = &target.endpoint {
        facts.push(("Endpoint", html! { code { (endpoint) } }));
    }
    if let Some(region) = &target.region {
        facts.push(("Region", html! { (region) }));
    }
    let what = match target.collections.as_slice() {
        [] => "all collections, also those that come".to_owned(),
        names => names.join(", "),
    };
    facts.push(("What is copied", html! { (what) }));
    facts
}

fn row(copy: &TargetStateView, by_itself: &ByItself, now: Timestamp) -> Vec<Markup> {
    let schedule = by_itself.iter().find(|(name, _)| *name == copy.collection).and_then(|(_, one)| one.as_ref());
    let moment = |one: &Option<CopiedView>| {
        html! {
            @match one {
                Some(one) => { @if let Some(sequence) = one.sequence { "@" (sequence) ", " } (parts::moment(one.at, now)) }
                None => { span.soft { "never" } }
            }
        }
    };
    vec![
        html! { a href={ "/collections/" (copy.collection) } { (copy.collection) } },
        state(copy, now),
        moment(&copy.copied),
        moment(&copy.verified),
        html! {
            @match schedule {
                Some(one) => { (when(one)) }
                None => { "never. " a href={ "/collections/" (copy.collection) "/schedule" } { "Say when" } }
            }
        },
    ]
}

/// How it stands with a copy.
fn state(copy: &TargetStateView, now: Timestamp) -> Markup {
    let behind = || format!("{} behind", count(copy.behind, "snapshot"));
    if let Some(failed) = &copy.failed {
        return html! {
            (parts::light(Light::Bad, "failed")) " " (parts::moment(failed.since, now))
            br; span.small { (parts::sentence(&failed.message)) }
        };
    }
    match (&copy.copied, copy.behind) {
        (None, 0) => parts::light(Light::Unknown, "there is no whole snapshot yet"),
        (None, _) => parts::light(Light::Care, "nothing was copied yet"),
        (Some(_), 1..) => parts::light(Light::Care, &behind()),
        (Some(_), 0) if copy.verified.is_none() => parts::light(Light::Unknown, "copied, and not looked at yet"),
        (Some(_), 0) => parts::light(Light::Good, "has the newest snapshot"),
    }
}

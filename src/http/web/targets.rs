//! `GET /targets`: places that copies go to, and how they are; what can be done there stands on the page of each.

use axum::extract::{Query, State};
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
use crate::http::admin::access::Posted;
use crate::http::admin::access::local::see_other;
use crate::http::admin::view::schedule::{ScheduleView, schedules};
use crate::http::admin::view::target::{CopiedView, TargetKind, TargetStateView, TargetView};
use crate::http::admin::{AdminPlane, ReadBack, StartRun};

/// What was done just now.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    done: Option<String>,
}

/// When each collection is copied by itself, by name.
pub(super) type ByItself = Vec<(String, Option<ScheduleView>)>;

/// All of them.
pub(super) async fn page(
    viewer: Viewer,
    State(plane): State<AdminPlane>,
    Query(asked): Query<Asked>,
) -> Result<Markup, Amiss> {
    let said = asked.done.as_deref().and_then(|what| match what {
        "forget" => Some("Nothing is copied there any more. What is there stays."),
        _ => None,
    });
    shown(&plane, &viewer, said, None).await
}

/// Copies everything to all targets, and leads to its page.
pub(super) async fn copy_all(State(plane): State<AdminPlane>, posted: Posted<Nothing>) -> Result<Response, Amiss> {
    let order = StartRun::Copy { collection: None, target: None, verify: ReadBack::Sample };
    let begun = async { plane.start(plane.order(order).await?, posted.session.caller().who()).await };
    match begun.await {
        Ok(id) => Ok(see_other(&format!("/runs/{id}"))),
        Err(problem) if problem.status() == StatusCode::CONFLICT => {
            let page = shown(&plane, &posted.session.into(), None, Some(problem.reason())).await?;
            Ok((StatusCode::CONFLICT, page).into_response())
        }
        Err(problem) => Err(problem.into()),
    }
}

/// When each collection is copied by itself.
///
/// # Errors
/// If the index cannot be asked.
pub(super) async fn by_itself(plane: &AdminPlane) -> Result<ByItself, Amiss> {
    let mut by_itself = ByItself::new();
    for collection in plane.store().index.collections().await? {
        let all = schedules(plane.store(), &collection, plane.now()).await?;
        by_itself.push((collection.name.clone(), all.into_iter().find(|one| one.kind == Work::Copy)));
    }
    Ok(by_itself)
}

async fn shown(
    plane: &AdminPlane,
    viewer: &Viewer,
    said: Option<&str>,
    refused: Option<&str>,
) -> Result<Markup, Amiss> {
    let (targets, now) = (plane.targets().await?, plane.now());
    let by_itself = by_itself(plane).await?;
    let main = html! {
        div.stack {
            @if let Some(said) = said { (done(said)) }
            @if let Some(why) = refused { (not_done(why)) }
            @if targets.is_empty() {
                (none_yet())
            } @else {
                p.lead { (verdict(&targets, None)) }
                div.actions {
                    a.button.quiet href="/new/target" { "Add a target" }
                    a.button.quiet href="/portable" { "A backup to carry" }
                    @if targets.len() > 1 { (parts::button(viewer, "/copies", &[], "Copy to all of them now", Weight::Quiet)) }
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
            a.button href="/new/target" { "Add a target" }
            a.button.quiet href="/portable" { "A backup to carry" }
            a.button.quiet href="/invites/new" { "Or let another instance keep a copy" }
        }
    };
    let text = "Everything that Bulbil keeps is on this machine. If its disk fails, or the house burns, the snapshots are gone with the data.";
    parts::empty("There is no copy in another place yet", text, &next)
}

/// How it is with all of them, in one line. On the page of one its name stands above.
pub(super) fn verdict(targets: &[TargetView], of: Option<&str>) -> Markup {
    let copies = || targets.iter().flat_map(|target| &target.copies);
    let failed = copies().filter(|copy| copy.failed.is_some()).count() as u64;
    let behind = copies().filter(|copy| copy.failed.is_none() && copy.behind > 0).count() as u64;
    let of = of.map_or_else(|| format!("{}: ", count(targets.len() as u64, "place")), str::to_owned);
    let said = |words: &str| parts::sentence(&format!("{of}{words}"));
    match (failed, behind) {
        (0, 0) if copies().all(|copy| copy.copied.is_none()) => {
            parts::light(Light::Unknown, &said("there is nothing to copy yet."))
        }
        (0, 0) => parts::light(Light::Good, &said("every copy has the newest snapshot.")),
        (0, n) => parts::light(Light::Care, &format!("{} not up to date.", copies_are(n))),
        (n, _) => parts::light(Light::Bad, &format!("{} not as it should be.", copies_are(n))),
    }
}

fn copies_are(n: u64) -> String {
    let are = if n == 1 { "is" } else { "are" };
    format!("{} {are}", if n == 1 { "1 copy".to_owned() } else { format!("{n} copies") })
}

fn card(target: &TargetView, by_itself: &ByItself, viewer: &Viewer, now: Timestamp) -> Markup {
    let path = format!("/targets/{}", target.name);
    html! {
        section.card id=(target.name) {
            div.head { h2 { a href=(path) { (target.name) } } span.small.soft { (kind(target)) } }
            (parts::facts(&facts(target)))
            (copies(target, by_itself, now))
            div.actions {
                @if !target.copies.is_empty() {
                    (parts::button(viewer, &format!("{path}/runs"), &[("kind", "copy")], "Copy now", Weight::First))
                }
                a.button.quiet href=(path) { "All about it" }
            }
        }
    }
}

/// What kind of place it is, in words.
pub(super) fn kind(target: &TargetView) -> &'static str {
    match target.kind {
        TargetKind::Folder => "a folder of this machine",
        TargetKind::Bucket => "a bucket",
    }
}

/// How it stands with each copy there.
pub(super) fn copies(target: &TargetView, by_itself: &ByItself, now: Timestamp) -> Markup {
    let with_sizes = target.copies.iter().any(|copy| copy.full_bytes.is_some());
    let mut heads = vec!["Collection", "How it stands", "Copied", "Found right", "Copied by itself"];
    heads.extend(with_sizes.then_some("Takes there"));
    let rows: Vec<Vec<Markup>> = target.copies.iter().map(|copy| row(copy, by_itself, now)).collect();
    html! {
        @if rows.is_empty() {
            p { "There is no collection yet that could be copied. " a href="/new/collection" { "Add a collection" } }
        } @else {
            (parts::table_below_heading(&format!("Copies in {}", target.name), &heads, &rows))
        }
    }
}

/// Where it is, and what goes there.
pub(super) fn facts(target: &TargetView) -> Vec<(&'static str, Markup)> {
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
    let mut cells = vec![
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
    ];
    cells.extend(copy.full_bytes.map(parts::size));
    cells
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

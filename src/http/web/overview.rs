//! `GET /`: whether the data is safe, at one glance.

use axum::extract::State;
use jiff::Timestamp;
use maud::{Markup, html};

use super::charts::all_steps;
use super::layout::{Here, Page};
use super::parts::{self, Light, Scale, Weight};
use super::{Amiss, Viewer, alerts};
use crate::domain::schedule::Work;
use crate::domain::words::{bytes, count};
use crate::http::admin::AdminPlane;
use crate::http::admin::view::alert::{self, AlertView};
use crate::http::admin::view::collection::{CollectionView, RecoveryPoint, RecoveryPointState};
use crate::store::index::RunResult;

use super::chart::{self, Step};

/// The overview.
pub(super) async fn page(viewer: Viewer, State(plane): State<AdminPlane>) -> Result<Markup, Amiss> {
    let (store, now) = (plane.store(), plane.now());
    let mut collections = Vec::new();
    for collection in store.index.collections().await? {
        collections.push(CollectionView::gather(store, &collection, now).await?.0);
    }
    let alerts = alert::alerts(store, plane.bounds(), now).await?;
    let steps = all_steps(store).await?;
    let main = match collections.is_empty() {
        true => html! { div.stack { (alerts::list(&alerts, now)) (first()) } },
        false => html! {
            div.stack {
                (verdict(&collections, &alerts))
                (alerts::list(&alerts, now))
                section.cards aria-label="Collections" { @for one in &collections { (card(one, &viewer, now)) } }
                p { a.button.quiet href="/new/collection" { "Add a collection" } }
                (growth(&steps))
            }
        },
    };
    Page::new("Overview", Here::Overview).show(&plane, &viewer, main).await
}

/// Nothing is backed up yet.
fn first() -> Markup {
    let next = html! {
        p { a.button href="/new/collection" { "Add a collection" } }
        p { "Or on this machine, with the folder that you do not want to lose:" }
        (parts::command("bulbil protect /path/to/folder"))
        p.soft {
            "It makes a collection, a first snapshot and a schedule, tries a restore, and says what is left to do."
        }
        p { "Or does the data come from elsewhere?" }
        div.actions {
            a.button.quiet href="/new/clone" { "Join with an invite" }
            a.button.quiet href="/portable" { "Take over a portable backup" }
        }
    };
    let text = "A collection is a set of folders that is backed up together. Once there is one, this page says how old its newest \
                proved snapshot is, who holds copies of it, and what to do if something is wrong.";
    parts::empty("Nothing is backed up yet", text, &next)
}

/// The answer to "is it safe?", in one line: no better than the worst of what stands below.
fn verdict(collections: &[CollectionView], alerts: &[AlertView]) -> Markup {
    let lights = || collections.iter().map(|one| recovery_light(&one.recovery_point).0);
    let of = count(collections.len() as u64, "collection");
    let late = lights().filter(|light| *light == Light::Bad).count();
    let tried_in_vain =
        |one: &&CollectionView| one.last_drill.as_ref().is_some_and(|drill| drill.result != RunResult::Done);
    let bad = alerts.iter().filter(|alert| alerts::light(alert.kind) == Light::Bad).count() as u64;
    let bad = bad + collections.iter().filter(tried_in_vain).count() as u64;
    let open = open_ends(collections);
    let (light, words) = if late > 0 {
        (Light::Bad, format!("{late} of {of} could lose more than you allowed."))
    } else if bad > 0 {
        (
            Light::Bad,
            format!(
                "Not safe: {} below.",
                if bad == 1 { "see what is wrong".to_owned() } else { format!("{bad} things are wrong, see") }
            ),
        )
    } else if !alerts.is_empty() {
        (Light::Care, format!("{} to look at.", count(alerts.len() as u64, "thing")))
    } else if lights().any(|light| light == Light::Care) {
        (Light::Care, "Not everything that should be is backed up and verified: see below.".to_owned())
    } else if !open.is_empty() {
        (Light::Care, format!("Up to date, but {}.", open.join("; ")))
    } else if lights().all(|light| light == Light::Good) {
        (Light::Good, format!("All is well: {of}, none older than you allowed, and nothing is wrong."))
    } else {
        (Light::Unknown, "Nothing is wrong as far as is known. Below stands what nobody has settled yet.".to_owned())
    };
    html! { p.lead { (parts::light(light, &words)) } }
}

/// What a day on which this machine is lost would show.
fn open_ends(collections: &[CollectionView]) -> Vec<String> {
    let ours = || collections.iter().filter(|one| one.led_here);
    let ends = [
        (
            ours().filter(|one| one.good_copies() == 0).count(),
            "has no proved copy elsewhere",
            "have no proved copy elsewhere",
        ),
        (
            ours().filter(|one| one.last_proved_restore_at.is_none()).count(),
            "was never restored on trial",
            "were never restored on trial",
        ),
        (
            ours().filter(|one| !one.schedules.iter().any(|schedule| schedule.kind == Work::Backup)).count(),
            "is backed up only by hand",
            "are backed up only by hand",
        ),
    ];
    let some = ends.into_iter().filter(|(n, ..)| *n > 0);
    some.map(|(n, one, many)| format!("{} {}", count(n as u64, "collection"), if n == 1 { one } else { many }))
        .collect()
}

/// A collection in short.
fn card(one: &CollectionView, viewer: &Viewer, now: Timestamp) -> Markup {
    let (light, words) = recovery_light(&one.recovery_point);
    html! {
        article.card {
            div.head {
                h2 { a href={ "/collections/" (one.name) } { (one.name) } }
                @if let Some(leader) = &one.leader { span.small.soft { "made by " (leader) } }
            }
            p { (parts::light(light, &words)) }
            (parts::facts(&[
                ("Newest snapshot", newest(one, now)),
                ("Proved restore", drill(one, now)),
                ("Copies elsewhere", copies(one)),
                ("Next backup", next_backup(one, now)),
            ]))
            @if one.led_here && light > Light::Unknown { (back_up(one, viewer)) }
        }
    }
}

/// The button that makes a snapshot.
pub(super) fn back_up(one: &CollectionView, viewer: &Viewer) -> Markup {
    let to = format!("/collections/{}/runs", one.name);
    parts::button(viewer, &to, &[("kind", Work::Backup.word())], "Back up now", Weight::First)
}

/// How it stands with what may be lost.
pub(super) fn recovery_light(point: &RecoveryPoint) -> (Light, String) {
    let hours = point.allowed_hours.map(|hours| count(hours.into(), "hour")).unwrap_or_default();
    match (point.state, point.verified_at) {
        (RecoveryPointState::Kept, _) => (Light::Good, format!("Up to date: no more than {hours} could be lost")),
        (RecoveryPointState::Due, _) => {
            (Light::Care, format!("A backup is due: {hours} may be lost, and that is reached"))
        }
        (RecoveryPointState::Late, Some(_)) => (Light::Bad, format!("Late: more than {hours} could be lost")),
        (RecoveryPointState::Late, None) => {
            (Light::Bad, "No verified snapshot yet: all of it could be lost".to_owned())
        }
        (RecoveryPointState::NotSet, Some(_)) => {
            (Light::Unknown, "Backed up; nobody said how much may be lost".to_owned())
        }
        (RecoveryPointState::NotSet, None) => (Light::Care, "No verified snapshot yet".to_owned()),
    }
}

pub(super) fn newest(one: &CollectionView, now: Timestamp) -> Markup {
    html! {
        @match &one.newest {
            Some(newest) => { (parts::moment(newest.created_at, now)) ", " (parts::size(newest.stored_bytes)) " stored" }
            None => { "none yet" }
        }
        @if one.missing_bytes > 0 { br; span.soft { (bytes(one.missing_bytes)) " still to fetch" } }
    }
}

pub(super) fn drill(one: &CollectionView, now: Timestamp) -> Markup {
    let failed = one.last_drill.as_ref().filter(|drill| drill.result != RunResult::Done);
    html! {
        @match (failed, one.last_proved_restore_at) {
            (Some(drill), before) => {
                (parts::light(Light::Bad, "the last try failed")) " " (parts::moment(drill.ended_at, now))
                @if let Some(at) = before { br; span.soft { "proved " (parts::moment(at, now)) } }
            }
            (None, Some(at)) => { (parts::moment(at, now)) }
            (None, None) => { span.soft { "never tried" } }
        }
    }
}

pub(super) fn copies(one: &CollectionView) -> Markup {
    let names = one.copies.iter().filter(|copy| copy.proved).map(|copy| copy.peer.as_str());
    let targets = one.targets.iter().filter(|copy| copy.verified_at.is_some() && copy.error.is_none());
    let names: Vec<&str> = names.chain(targets.map(|copy| copy.target.as_str())).collect();
    html! {
        @match one.good_copies() {
            0 => { span.soft { "none that was proved" } ". " a href="/targets" { "Copy it elsewhere" } }
            n => { a href="/targets" { (proved(n)) } ": " (names.join(", ")) }
        }
    }
}

fn proved(n: u64) -> String {
    if n == 1 { "1 proved copy".to_owned() } else { format!("{n} proved copies") }
}

pub(super) fn next_backup(one: &CollectionView, now: Timestamp) -> Markup {
    let backup = one.schedules.iter().find(|schedule| schedule.kind == Work::Backup);
    html! {
        @match backup.map(|backup| backup.next_at) {
            Some(Some(at)) if at <= now => { "due now" }
            Some(Some(at)) => { (parts::moment(at, now)) }
            Some(None) => { "never: its time zone is not known here" }
            None if one.led_here => { span.soft { "only by hand" } }
            None => { span.soft { "made elsewhere" } }
        }
    }
}

/// How what is stored grew; nothing before there are two snapshots.
fn growth(steps: &[Step]) -> Markup {
    figure("/charts/growth.png", "What is stored for the newest snapshots", steps)
}

/// A picture of steps, with the figures behind it.
pub(super) fn figure(path: &str, caption: &str, steps: &[Step]) -> Markup {
    let (Some(first), Some(last)) = (steps.first(), steps.last()) else { return html! {} };
    if steps.len() < 2 {
        return html! {};
    }
    let highest = steps.iter().map(|step| step.value).max().unwrap_or(0);
    let day = |at: Timestamp| at.strftime("%F").to_string();
    let words = format!(
        "From {} to now it went from {} to {}; at most it was {}.",
        day(first.at),
        bytes(first.value),
        bytes(last.value),
        bytes(highest)
    );
    let rows: Vec<Vec<Markup>> = steps
        .iter()
        .rev()
        .take(30)
        .map(|step| vec![html! { (parts::exact(step.at)) }, parts::size(step.value)])
        .collect();
    let (top, left) = (bytes(highest), day(first.at));
    let scale = Scale { height: chart::GROWTH_HEIGHT, top: Some(&top), left: &left };
    html! {
        section.card {
            (parts::picture(path, &words, caption, &scale))
            (parts::more("The figures", &parts::table("The newest 30 snapshots", &["From", "Stored"], &rows)))
        }
    }
}

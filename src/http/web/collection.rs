//! `GET /collections/{name}`: one collection, its snapshots, and what can be done with it.

use axum::extract::{Path, Query, State};
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;

use super::charts::{look, steps};
use super::layout::{Here, Page};
use super::overview::{back_up, copies, drill, figure, newest, next_backup, recovery_light};
use super::parts::{self, Light, Scale, Weight};
use super::run::not_done;
use super::{Amiss, Viewer, alerts, standby};
use crate::domain::run::RunKind;
use crate::domain::schedule::Work;
use crate::domain::words::{bytes, count};
use crate::http::admin::AdminPlane;
use crate::http::admin::view::alert;
use crate::http::admin::view::collection::CollectionView;
use crate::http::admin::view::schedule::ScheduleView;
use crate::http::admin::view::snapshot::SnapshotView;

use super::chart::{self, Look};

/// So many snapshots stand in the table.
const SNAPSHOTS: usize = 30;

/// Which part of the list of snapshots.
#[derive(Debug, Deserialize)]
pub(super) struct Part {
    /// Those with a lower number.
    before: Option<u64>,
}

/// One collection.
pub(super) async fn page(
    viewer: Viewer,
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    Query(part): Query<Part>,
) -> Result<Markup, Amiss> {
    shown(&plane, &viewer, &name, part.before, None).await
}

/// The page; with why something that was asked for on it was not begun.
pub(super) async fn shown(
    plane: &AdminPlane,
    viewer: &Viewer,
    name: &str,
    before: Option<u64>,
    said: Option<&str>,
) -> Result<Markup, Amiss> {
    let (store, now) = (plane.store(), plane.now());
    let collection = store.index.collection_named(name).await?.ok_or_else(Amiss::not_found)?;
    let (one, snapshots) = CollectionView::gather(store, &collection, now).await?;
    let mut wrong = alert::alerts(store, plane.bounds(), now).await?;
    wrong.retain(|alert| alert.subject.split(": ").any(|part| part == one.name));
    let (light, words) = recovery_light(&one.recovery_point);
    let laid_out = plane.standby(&one.name).await?;
    let main = html! {
        div.stack {
            @if let Some(why) = said { (not_done(why)) }
            p.lead { (parts::light(light, &words)) }
            (alerts::list(&wrong, now))
            (actions(&one, viewer))
            (at_a_glance(&one, now))
            @if snapshots.is_empty() {
                (none_yet(&one))
            } @else {
                (timeline(&one, &snapshots))
                (figure(&format!("/charts/{}/growth.png", one.name), "What is stored for the newest snapshot", &steps(&snapshots)))
                (table(&one, &snapshots, before, now))
            }
            (upkeep(&one, now))
            (held(&one, now))
            @if !one.led_here {
                (standby::section(&one, laid_out.as_ref(), viewer, now))
                (take_over(&one))
            }
        }
    };
    Page::new(one.name.clone(), Here::Overview).below("/", "Overview").show(plane, viewer, main).await
}

/// What can be done with it now.
fn actions(one: &CollectionView, viewer: &Viewer) -> Markup {
    let to = format!("/collections/{}/runs", one.name);
    let button = |work: Work, label: &str, weight| parts::button(viewer, &to, &[("kind", work.word())], label, weight);
    html! {
        div.actions {
            @if one.led_here { (back_up(one, viewer)) }
            @if one.newest.is_some() {
                (button(Work::Verify, "Verify", Weight::Quiet))
                (button(Work::VerifyData, "Verify every byte", Weight::Quiet))
                (button(Work::Drill, "Try a restore", Weight::Quiet))
                (parts::button(viewer, &to, &[("kind", RunKind::Usage.word())], "What takes the space", Weight::Quiet))
            }
            @if one.newest.is_some() && !one.folders.is_empty() {
                a.button.quiet href={ "/collections/" (one.name) "/recover" } { "Bring the live folders back…" }
            }
            a.button.quiet href={ "/runs?collection=" (one.name) } { "What was done" }
        }
    }
}

fn at_a_glance(one: &CollectionView, now: Timestamp) -> Markup {
    html! {
        section.card {
            h2 { "At a glance" }
            (parts::facts(&[
                ("Newest snapshot", newest(one, now)),
                ("Newest verified", parts::moment_or(one.recovery_point.verified_at, now, "none")),
                ("Proved restore", drill(one, now)),
                ("Copies elsewhere", copies(one)),
                ("Next backup", next_backup(one, now)),
                ("Made by", html! { @match &one.leader { None => "this instance", Some(leader) => (leader) } }),
                ("Folders", html! {
                    @if one.folders.is_empty() { span.soft { "none here" } }
                    @else { ul { @for folder in &one.folders { li { code { (folder) } } } } }
                }),
                ("Application", html! {
                    @match &one.preset { Some(preset) => (preset), None => { span.soft { "not said: plain folders" } } }
                }),
            ]))
        }
    }
}

fn none_yet(one: &CollectionView) -> Markup {
    let next = match one.led_here {
        true => {
            html! { p { "Press " strong { "Back up now" } ", or on this machine:" } (parts::command(&format!("bulbil backup {}", one.name))) }
        }
        false => html! { p { "They come from a peer. On this machine:" } (parts::command("bulbil sync")) },
    };
    parts::empty(
        "No snapshot yet",
        "A snapshot is the collection as it was at one moment. The first one takes longest.",
        &next,
    )
}

fn timeline(one: &CollectionView, snapshots: &[SnapshotView]) -> Markup {
    let number = |wanted: Look| snapshots.iter().filter(|one| look(one) == wanted).count() as u64;
    let (good, unproved, bad) = (number(Look::Good), number(Look::Unproved), number(Look::Bad));
    let oldest = snapshots.iter().map(|one| one.created_at).min().unwrap_or(Timestamp::UNIX_EPOCH);
    let day = oldest.strftime("%F").to_string();
    let words = format!(
        "{} since {day}: {good} found good, {unproved} not looked at yet, {bad} with something against them.",
        count(snapshots.len() as u64, "snapshot")
    );
    let path = format!("/charts/{}/timeline.png", one.name);
    let scale = Scale { height: chart::TIMELINE_HEIGHT, top: None, left: &day };
    html! {
        section.card {
            (parts::picture(&path, &words, "Snapshots", &scale))
            p.small.soft { (words) " Full bars were found good, empty ones were not looked at, broken ones have something against them." }
        }
    }
}

fn table(one: &CollectionView, snapshots: &[SnapshotView], before: Option<u64>, now: Timestamp) -> Markup {
    let asked = || snapshots.iter().filter(|one| before.is_none_or(|before| one.sequence < before));
    let rows: Vec<Vec<Markup>> = asked().take(SNAPSHOTS).map(|one| row(one, now)).collect();
    let last = asked().take(SNAPSHOTS).last().map(|one| one.sequence);
    let older = last.filter(|_| asked().nth(SNAPSHOTS).is_some());
    let caption = match snapshots.len() {
        ..=SNAPSHOTS => count(snapshots.len() as u64, "snapshot"),
        all => format!("{} of {}", rows.len(), count(all as u64, "snapshot")),
    };
    let path = format!("/collections/{}", one.name);
    let older = older.map(|last| format!("{path}?before={last}#snapshots"));
    html! {
        section.card #snapshots {
            (parts::table(&caption, &["Number", "Made", "Stored", "State", "Kept as"], &rows))
            (parts::pages(before.map(|_| path.as_str()), older.as_deref()))
        }
    }
}

fn row(one: &SnapshotView, now: Timestamp) -> Vec<Markup> {
    vec![
        html! { a href={ "/snapshots/" (one.id) } { "@" (one.sequence) } },
        parts::moment(one.created_at, now),
        parts::size(one.stored_bytes),
        state(one, now),
        html! {
            @if one.pinned { span.tag { "pinned" } " " }
            @for tag in &one.tags { span.tag { (tag) } " " }
            @if !one.pinned && one.tags.is_empty() { span.soft { "by the policy" } }
        },
    ]
}

fn state(one: &SnapshotView, now: Timestamp) -> Markup {
    let (light, words) = match look(one) {
        _ if one.partial => (Light::Care, "interrupted: not everything is in it"),
        _ if !one.complete => (Light::Care, "not all of it is here yet"),
        Look::Bad => (Light::Bad, "suspect"),
        Look::Good => (Light::Good, "found good"),
        Look::Unproved => (Light::Unknown, "not looked at yet"),
    };
    html! {
        (parts::light(light, words))
        @if let Some(at) = one.found_good_at() { " " (parts::moment(at, now)) }
        @if let Some(why) = &one.flagged { br; span.small { (why) } }
        @for finding in one.findings.iter().take(3).filter(|finding| one.flagged.as_deref() != Some(finding.as_str())) {
            br; span.small.soft { (finding) }
        }
    }
}

fn upkeep(one: &CollectionView, now: Timestamp) -> Markup {
    let row = |schedule: &ScheduleView| {
        vec![
            html! { (in_words(schedule.kind)) },
            html! { code { (schedule.cron) } " " span.small.soft { (schedule.time_zone.as_deref().unwrap_or("time of this machine")) } },
            parts::moment_or(schedule.next_at, now, "never"),
        ]
    };
    let rows: Vec<Vec<Markup>> = one.schedules.iter().map(row).collect();
    html! {
        section.card {
            h2 { "What happens by itself" }
            @if rows.is_empty() && !one.led_here {
                p { "Nothing is scheduled here; backups are made where it is led. A verification of every byte each week and a tried restore each month:" }
                (parts::command(&format!("bulbil schedule {} --verify-data @weekly --drill @monthly", one.name)))
            } @else if rows.is_empty() {
                p { "Nothing is scheduled. A backup each night, a verification each week and a tried restore each month:" }
                (parts::command(&format!("bulbil schedule {} --backup '30 2 * * *' --verify @weekly --drill @monthly --rpo 26h", one.name)))
            } @else {
                (parts::table_below_heading("What is done when", &["What", "When", "Next"], &rows))
            }
            (parts::facts(&[
                ("May be lost", html! {
                    @match one.recovery_point.allowed_hours {
                        Some(hours) => (count(hours.into(), "hour")),
                        None => { span.soft { "nobody said" } }
                    }
                }),
                ("What is kept", html! { (one.retention) }),
            ]))
            div.actions {
                a.button.quiet href={ "/collections/" (one.name) "/schedule" } { "Schedule" }
                a.button.quiet href={ "/collections/" (one.name) "/retention" } { "What is kept" }
                @if one.led_here {
                    a.button.quiet href={ "/collections/" (one.name) "/settings" } { "Folders and settings" }
                    a.button.quiet href={ "/collections/" (one.name) "/secrets" } { "Secrets" }
                }
            }
        }
    }
}

/// The way out when who leads it is gone.
fn take_over(one: &CollectionView) -> Markup {
    let leader = one.leader.as_deref().unwrap_or("another instance");
    html! {
        section.card {
            h2 { "If " (leader) " is gone" }
            p { "This instance can take the collection over, if " (leader) " appointed it while it was well: its snapshots are made here then." }
            div.actions { a.button.quiet href={ "/collections/" (one.name) "/promote" } { "Take it over…" } }
        }
    }
}

/// What is done, as the buttons say it.
fn in_words(work: Work) -> &'static str {
    match work {
        Work::Backup => "Back up",
        Work::Verify => "Verify",
        Work::VerifyData => "Verify every byte",
        Work::Check => "Check the live folders",
        Work::Prune => "Remove what is not to be kept",
        Work::Drill => "Try a restore",
        Work::Copy => "Copy to targets",
    }
}

/// Who has copies, and how good they are.
fn held(one: &CollectionView, now: Timestamp) -> Markup {
    let mut rows: Vec<Vec<Markup>> = Vec::new();
    for copy in &one.copies {
        let (light, words) = match (copy.proved, copy.right == copy.sampled) {
            (true, _) if copy.behind == 0 => (Light::Good, "has the newest snapshot".to_owned()),
            (true, _) => (Light::Good, format!("has a snapshot, {} behind", count(copy.behind, "snapshot"))),
            (false, true) => (Light::Care, "not proved lately".to_owned()),
            (false, false) => {
                (Light::Bad, format!("{} of {} samples were wrong", copy.sampled - copy.right, copy.sampled))
            }
        };
        rows.push(vec![
            html! { (copy.peer) },
            html! { "peer" },
            parts::light(light, &words),
            parts::moment(copy.proved_at, now),
        ]);
    }
    for copy in &one.targets {
        let (light, words) = match (&copy.error, copy.verified_at) {
            (Some(why), _) => (Light::Bad, why.clone()),
            (None, Some(_)) => (Light::Good, "found right".to_owned()),
            (None, None) => (Light::Unknown, "copied, and not looked at yet".to_owned()),
        };
        let at = copy.verified_at.or(copy.copied_at);
        rows.push(vec![
            html! { a href={ "/targets/" (copy.target) } { (copy.target) } },
            html! { "target" },
            parts::light(light, &words),
            parts::moment_or(at, now, "never"),
        ]);
    }
    html! {
        section.card {
            h2 { "Who holds copies" }
            @if rows.is_empty() {
                p {
                    @if one.led_here { "Nobody has proved a copy. If this machine burns, all of it is gone" }
                    @else { "Nobody has proved a copy here. Whoever makes it has it; if that machine is lost, this is the only one" }
                    ": let a trusted instance mirror it, or copy it to another disk or an object store."
                }
                div.actions {
                    a.button.quiet href="/targets" { "Copy it to another place" }
                    a.button.quiet href="/invites/new" { "Invite somebody" }
                }
            } @else {
                (parts::table_below_heading("Copies", &["Who", "What", "How good", "Looked at"], &rows))
            }
            @if one.missing_bytes > 0 { p.soft { (bytes(one.missing_bytes)) " of it are still to be fetched here." } }
        }
    }
}

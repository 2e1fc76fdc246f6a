//! `GET /schedules`: what is done when, of all collections.

use axum::extract::State;
use jiff::Timestamp;
use maud::{Markup, html};

use super::layout::{Here, Page};
use super::parts::{self, Light};
use super::schedule::{contradiction, what, when};
use super::{Amiss, Viewer, care};
use crate::domain::words::count;
use crate::http::admin::{AdminPlane, UpkeepView};

/// All of them.
pub(super) async fn page(viewer: Viewer, State(plane): State<AdminPlane>) -> Result<Markup, Amiss> {
    let now = plane.now();
    let mut all = Vec::new();
    for collection in plane.store().index.collections().await? {
        let upkeep = plane.upkeep(&collection).await?;
        all.push((collection.name.clone(), upkeep, plane.retention(&collection).in_words));
    }
    let scrub = care::scrub(&plane, &viewer, now).await?;
    let main = html! {
        div.stack {
            @if all.is_empty() {
                (parts::empty("Nothing to schedule yet", "A schedule belongs to a collection: what is backed up, verified and tried, and when.", &html! {
                    (parts::command("bulbil protect /path/to/folder"))
                }))
            }
            @for (name, upkeep, kept) in &all { (one(name, upkeep, kept, now)) }
            @if !all.is_empty() { (scrub) }
        }
    };
    Page::new("Schedules", Here::Schedules).show(&plane, &viewer, main).await
}

fn one(name: &str, upkeep: &UpkeepView, kept: &str, now: Timestamp) -> Markup {
    let rows: Vec<Vec<Markup>> = upkeep
        .schedules
        .iter()
        .map(|one| vec![html! { (what(one.kind)) }, when(one), parts::moment_or(one.next_at, now, "never")])
        .collect();
    html! {
        section.card {
            div.head { h2 { a href={ "/collections/" (name) } { (name) } } }
            @if let Some(why) = contradiction(upkeep) { (parts::trouble(Light::Bad, "The schedule cannot keep this", &why, None)) }
            @if rows.is_empty() {
                p { "Nothing happens by itself." }
            } @else {
                (parts::table_below_heading(&format!("What is done when, of {name}"), &["What", "When", "Next"], &rows))
            }
            (parts::facts(&[
                ("May be lost", html! {
                    @match upkeep.rpo_hours { Some(hours) => (count(hours.into(), "hour")), None => { span.soft { "nobody said" } } }
                }),
                ("What is kept", html! { (parts::sentence(kept)) }),
            ]))
            div.actions {
                a.button.quiet href={ "/collections/" (name) "/schedule" } { "Change the schedule" }
                a.button.quiet href={ "/collections/" (name) "/retention" } { "Change what is kept" }
            }
        }
    }
}

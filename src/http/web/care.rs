//! `POST /care`: what is stored is read again, or keys are asked for; the cards with the buttons stand on the pages that they belong to.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{Here, Page};
use super::parts::{self, Light, Weight};
use super::run::not_done;
use super::{Amiss, Viewer};
use crate::domain::words::count;
use crate::http::admin::access::Posted;
use crate::http::admin::access::local::see_other;
use crate::http::admin::{AdminPlane, StartRun};
use crate::http::problem::Problem;

/// Days that are looked back on.
const DAYS: i64 = 30;
/// Findings that are shown.
const FINDINGS: usize = 5;

/// What is to be done.
#[derive(Debug, Deserialize)]
pub(super) struct Start {
    kind: String,
}

/// Begins it, and leads to its page.
pub(super) async fn post(State(plane): State<AdminPlane>, posted: Posted<Start>) -> Result<Response, Amiss> {
    let order = match posted.form.kind.as_str() {
        "scrub" => StartRun::Scrub { collections: Vec::new() },
        "rekey" => StartRun::Rekey { collection: None, peer: None, all: false },
        other => return Err(Problem::invalid(format!("{other:?} is nothing that can be begun here")).into()),
    };
    let begun = async { plane.start(plane.order(order).await?, posted.session.caller().who()).await };
    match begun.await {
        Ok(id) => Ok(see_other(&format!("/runs/{id}"))),
        Err(problem) if problem.status() == StatusCode::CONFLICT => {
            let viewer = Viewer::from(posted.session);
            let main = html! {
                div.stack {
                    (not_done(problem.reason()))
                    div.actions { a.button.quiet href="/schedules" { "To the schedules" } a.button.quiet href="/peers" { "To the peers" } }
                }
            };
            let page = Page::new("Not begun", Here::Runs).below("/runs", "Runs").show(&plane, &viewer, main).await?;
            Ok((StatusCode::CONFLICT, page).into_response())
        }
        Err(problem) => Err(problem.into()),
    }
}

/// How it stands with reading again what is stored.
///
/// # Errors
/// If the index cannot be asked.
pub(super) async fn scrub(plane: &AdminPlane, viewer: &Viewer, now: Timestamp) -> Result<Markup, Amiss> {
    let since = now.checked_sub(SignedDuration::from_hours(24 * DAYS)).unwrap_or(Timestamp::UNIX_EPOCH);
    let state = plane.store().index.scrub_state(since, FINDINGS).await?;
    let manifests = plane.store().lost_manifests().await?.len() as u64;
    let lost = state.lost + manifests;
    Ok(html! {
        section.card #scrub {
            h2 { "What is stored is read again" }
            p { "Disks change what they hold, without a word. What is stored is read again bit by bit, compared with its name, and brought back from a peer if it is not what it was." }
            (parts::facts(&[
                (&format!("Read in the last {DAYS} days"), html! { (state.read_since) " of " (count(state.objects, "chunk")) }),
                ("All of it", html! {
                    @match state.all_read_since {
                        Some(at) => { "since " (parts::moment(at, now)) }
                        None => { (count(state.objects.saturating_sub(state.read), "chunk")) " never yet" }
                    }
                }),
                ("Lost", html! {
                    @if lost == 0 { (parts::light(Light::Good, "nothing")) }
                    @else { (parts::light(Light::Bad, &format!("{} and {}", count(state.lost, "chunk"), count(manifests, "manifest")))) }
                }),
            ]))
            @if !state.findings.is_empty() {
                p { "What was found last:" }
                ul.plain { @for one in &state.findings { li { (one.subject) ": " (one.what) ", " (parts::moment(one.found_at, now)) } } }
            }
            div.actions { (parts::button(viewer, "/care", &[("kind", "scrub")], "Read everything again now", Weight::Quiet)) }
        }
    })
}

/// That snapshots cannot be opened here; nothing if all can.
///
/// # Errors
/// If the index cannot be asked.
pub(super) async fn keys(plane: &AdminPlane, viewer: &Viewer) -> Result<Markup, Amiss> {
    let without = plane.store().index.without_key().await?.len() as u64;
    Ok(html! {
        @if without > 0 {
            section.card #rekey {
                h2 { "Keys of snapshots" }
                p { (parts::light(Light::Care, &format!("{} cannot be opened here: they came without a key.", count(without, "snapshot")))) }
                p { "Peers that may give their keys are asked for them. Of what an instance keeps as a blind mirror it gets none, and that is as it should be." }
                div.actions { (parts::button(viewer, "/care", &[("kind", "rekey")], "Ask peers for the keys", Weight::Quiet)) }
            }
        }
    })
}

//! `GET /alerts`: what is wrong now, what to do, and who is told; `POST /alerts/test` tries that.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use jiff::Timestamp;
use maud::{Markup, html};

use super::forms::Nothing;
use super::layout::{Here, Page};
use super::parts::{self, Light, Weight};
use super::run::not_done;
use super::{Amiss, Viewer};
use crate::domain::alert::AlertKind;
use crate::http::admin::AdminPlane;
use crate::http::admin::access::Posted;
use crate::http::admin::view::alert::{AlertView, alerts};
use crate::http::admin::view::channel::{ChannelTestView, ChannelView, channels};

/// What is wrong.
pub(super) async fn page(viewer: Viewer, State(plane): State<AdminPlane>) -> Result<Markup, Amiss> {
    shown(&plane, &viewer, html! {}).await
}

/// Sends a test by every way, and says what became of it.
pub(super) async fn test(State(plane): State<AdminPlane>, posted: Posted<Nothing>) -> Result<Response, Amiss> {
    let (told, viewer) = (plane.test_alerts(&posted.session.caller()).await, Viewer::from(posted.session));
    match told {
        Ok(told) => Ok(shown(&plane, &viewer, outcome(&told)).await?.into_response()),
        Err(problem) if problem.status() == StatusCode::CONFLICT => {
            Ok((StatusCode::CONFLICT, shown(&plane, &viewer, not_done(problem.reason())).await?).into_response())
        }
        Err(problem) => Err(problem.into()),
    }
}

/// What became of a test.
fn outcome(told: &[ChannelTestView]) -> Markup {
    let light = |one: &ChannelTestView| if one.taken { Light::Good } else { Light::Bad };
    html! {
        section.card #test role="status" {
            h2 { "The test" }
            ul.plain { @for one in told { li { (parts::light(light(one), &format!("{}: {}", way(&one.name), one.in_words))) } } }
            @if told.iter().any(|one| !one.taken) {
                p { "What did not get through is set in " code { "[alerts]" } " of " code { "bulbil.toml" } ", and read when the server starts. More is said in its log." }
            } @else {
                p { "Look whether it arrived, too: it says that it is a test." }
            }
        }
    }
}

async fn shown(plane: &AdminPlane, viewer: &Viewer, test: Markup) -> Result<Markup, Amiss> {
    let now = plane.now();
    let alerts = alerts(plane.store(), plane.bounds(), now).await?;
    let main = html! {
        div.stack {
            (test)
            @if alerts.is_empty() {
                (parts::empty("Nothing is wrong", "What is looked at: the age of each collection's newest verified snapshot, how \
                    backups, checks and drills ended, lost chunks, silent peers, copies at targets, and the disk.", &html! {}))
            } @else {
                (list(&alerts, now))
            }
            (told(plane, viewer))
        }
    };
    Page::new("Alerts", Here::Alerts).show(plane, viewer, main).await
}

/// What goes into `bulbil.toml`.
const EXAMPLE: &str = "[alerts]\nwebhook = \"https://example.org/hook\"";

fn told(plane: &AdminPlane, viewer: &Viewer) -> Markup {
    let channels = channels(plane.ways());
    let row = |one: &ChannelView| {
        vec![
            html! { (way(&one.name)) },
            match one.configured {
                true => parts::light(Light::Good, "set up"),
                false => html! { span.soft { "not set up" } },
            },
            html! { (one.about) },
        ]
    };
    let rows: Vec<Vec<Markup>> = channels.iter().map(row).collect();
    let is_told = !plane.ways().known().is_empty();
    html! {
        section.card #channels {
            h2 { "Who is told" }
            @if !is_told {
                p { (parts::light(Light::Care, "Nobody is told when something is wrong: you see it only if you look here.")) }
                p { "Write where alerts shall go into " code { "bulbil.toml" } " of the home, and start the server again. For example:" }
                pre.text tabindex="0" { code { (EXAMPLE) } }
            }
            (parts::table_below_heading("Ways to tell you", &["Way", "State", "What it does"], &rows))
            @if is_told {
                div.actions { (parts::button(viewer, "/alerts/test", &[], "Send a test alert", Weight::Quiet)) }
            }
        }
    }
}

/// What a way is called.
fn way(name: &str) -> &'static str {
    match name {
        "webhook" => "Webhook",
        "mail" => "Mail",
        "command" => "Command",
        _ => "Sign of life",
    }
}

/// Each alert with what to do.
pub(super) fn list(alerts: &[AlertView], now: Timestamp) -> Markup {
    html! {
        @if !alerts.is_empty() {
            section aria-label="What is wrong" { @for alert in alerts { (one(alert, now)) } }
        }
    }
}

fn one(alert: &AlertView, now: Timestamp) -> Markup {
    let (light, what) = in_words(alert.kind);
    let next = html! {
        span.small.soft {
            @match alert.since_at {
                Some(since) => { "Known since " (parts::moment(since, now)) }
                None => { "Found just now" }
            }
            @if let Some(told) = alert.told_at { ", told " (parts::moment(told, now)) }
        }
    };
    parts::trouble(light, &format!("{what}: {}", alert.subject), &alert.message, Some(&next))
}

/// How bad it is.
pub(super) fn light(kind: AlertKind) -> Light {
    in_words(kind).0
}

/// How bad it is, and what kind of thing it is.
fn in_words(kind: AlertKind) -> (Light, &'static str) {
    match kind {
        AlertKind::Late => (Light::Bad, "Too old"),
        AlertKind::Failed => (Light::Care, "Failed"),
        AlertKind::DrillFailed => (Light::Bad, "A restore came out wrong"),
        AlertKind::Shrunk => (Light::Care, "Much is gone"),
        AlertKind::Suspect => (Light::Care, "Something is known against the newest snapshot"),
        AlertKind::Corrupt => (Light::Bad, "Lost or damaged"),
        AlertKind::Away => (Light::Bad, "The disk is not there"),
        AlertKind::SilentPeer => (Light::Care, "Silent peer"),
        AlertKind::TargetFailed => (Light::Care, "A copy is not right"),
        AlertKind::DiskFull => (Light::Bad, "The disk is nearly full"),
    }
}

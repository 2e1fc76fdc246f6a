//! `GET /alerts`: what is wrong now, and what to do.

use axum::extract::State;
use jiff::Timestamp;
use maud::{Markup, html};

use super::layout::{Here, Page};
use super::parts::{self, Light};
use super::{Amiss, Viewer};
use crate::domain::alert::AlertKind;
use crate::http::admin::AdminPlane;
use crate::http::admin::view::alert::{AlertView, alerts};

/// What is wrong.
pub(super) async fn page(viewer: Viewer, State(plane): State<AdminPlane>) -> Result<Markup, Amiss> {
    let now = plane.now();
    let alerts = alerts(plane.store(), plane.bounds(), now).await?;
    let main = html! {
        div.stack {
            @if alerts.is_empty() {
                (parts::empty("Nothing is wrong", "What is looked at: the age of each collection's newest verified snapshot, how \
                    backups, checks and drills ended, lost chunks, silent peers, copies at targets, and the disk.", &told()))
            } @else {
                (list(&alerts, now))
                section.card { h2 { "Who is told" } (told()) }
            }
        }
    };
    Page::new("Alerts", Here::Alerts).show(&plane, &viewer, main).await
}

fn told() -> Markup {
    html! {
        p {
            "An alert reaches you only if it has a way: a command, a mailbox or an address, in " code { "[alerts]" } " of "
            code { "bulbil.toml" } ". The same, in a terminal:"
        }
        (parts::command("bulbil status"))
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

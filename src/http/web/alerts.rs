//! `GET /alerts`: what is wrong now, what to do, and who is told; `POST /alerts/test` and `…/{name}/test` try that.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;

use super::forms::Nothing;
use super::layout::{Here, Page};
use super::parts::{self, Light};
use super::run::not_done;
use super::typed::done;
use super::{Amiss, Viewer, alert_settings, channels};
use crate::domain::alert::AlertKind;
use crate::http::admin::AdminPlane;
use crate::http::admin::access::Posted;
use crate::http::admin::view::alert::{AlertView, alerts};

/// What was done just now.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    done: Option<String>,
}

/// What is wrong.
pub(super) async fn page(
    viewer: Viewer,
    State(plane): State<AdminPlane>,
    Query(asked): Query<Asked>,
) -> Result<Markup, Amiss> {
    let said = asked.done.as_deref().and_then(|what| match what {
        "add" => Some("It is told from now on. Press \u{201c}Test\u{201d} beside it to see whether that gets through."),
        "remove" => Some("No alert goes there any more."),
        "settings" => Some("Saved: it holds from now on."),
        _ => None,
    });
    shown(&plane, &viewer, html! { @if let Some(said) = said { (done(said)) } }).await
}

/// Sends a test to all, and says what became of it.
pub(super) async fn test(State(plane): State<AdminPlane>, posted: Posted<Nothing>) -> Result<Response, Amiss> {
    tested(&plane, None, posted).await
}

/// Sends a test to one of them.
pub(super) async fn test_one(
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    posted: Posted<Nothing>,
) -> Result<Response, Amiss> {
    tested(&plane, Some(&name), posted).await
}

async fn tested(plane: &AdminPlane, only: Option<&str>, posted: Posted<Nothing>) -> Result<Response, Amiss> {
    let (told, viewer) = (plane.test_alerts(only, &posted.session.caller()).await, Viewer::from(posted.session));
    match told {
        Ok(told) => Ok(shown(plane, &viewer, channels::outcome(&told)).await?.into_response()),
        Err(problem) if problem.status() == StatusCode::CONFLICT => {
            Ok((StatusCode::CONFLICT, shown(plane, &viewer, not_done(problem.reason())).await?).into_response())
        }
        Err(problem) => Err(problem.into()),
    }
}

async fn shown(plane: &AdminPlane, viewer: &Viewer, said: Markup) -> Result<Markup, Amiss> {
    let now = plane.now();
    let alerts = alerts(plane.store(), plane.bounds(), now).await?;
    let settings = plane.alert_settings();
    let main = html! {
        div.stack {
            (said)
            @if alerts.is_empty() {
                (parts::empty("Nothing is wrong", "What is looked at: the age of each collection's newest verified snapshot, how \
                    backups, checks and drills ended, lost chunks, silent peers, copies at targets, and the disk.", &html! {}))
            } @else {
                (list(&alerts, now))
            }
            (channels::list(plane, viewer))
            @match &settings {
                Ok(settings) => { (alert_settings::card(settings)) }
                Err(problem) => { (parts::trouble(Light::Bad, "What was said of alerts", problem.reason(), None)) }
            }
        }
    };
    Page::new("Alerts", Here::Alerts).show(plane, viewer, main).await
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
        @if let Some(href) = &alert.href { a href=(href) { (to_do(alert.kind)) } " " }
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

/// What the page that it leads to is for.
fn to_do(kind: AlertKind) -> &'static str {
    match kind {
        AlertKind::Late => "Back it up, or look at its schedule.",
        AlertKind::Failed | AlertKind::DrillFailed => "See what came of it.",
        AlertKind::Shrunk | AlertKind::Suspect => "Look at its snapshots.",
        AlertKind::Corrupt | AlertKind::Away => "See what can be brought back.",
        AlertKind::SilentPeer => "Look at this peer.",
        AlertKind::TargetFailed => "Look at this target, and try again.",
        AlertKind::DiskFull => "Change what is kept.",
    }
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

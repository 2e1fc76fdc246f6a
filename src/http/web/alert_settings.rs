//! `/alerts/settings`: what counts as wrong; shown on the page of alerts.

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::forms::Field;
use super::layout::{Here, Page};
use super::parts;
use super::typed::{Wrong, wrong_at, wrong_of_all};
use super::{Amiss, Viewer};
use crate::http::admin::access::Posted;
use crate::http::admin::access::local::see_other;
use crate::http::admin::view::channel::{AlertSettingsView, SaidView};
use crate::http::admin::view::configuration::FactSource;
use crate::http::admin::{AdminPlane, SetAlerts};

/// What was typed. What stands in the file has no field.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Typed {
    silent_peer_hours: String,
    free_percent: String,
    ping_minutes: String,
}

impl Typed {
    fn of(view: &AlertSettingsView) -> Self {
        let text = |said: &SaidView| match said.source {
            FactSource::AdminPlane => said.value.to_string(),
            _ => String::new(),
        };
        Self {
            silent_peer_hours: text(&view.silent_peer_hours),
            free_percent: text(&view.free_percent),
            ping_minutes: text(&view.ping_minutes),
        }
    }
}

/// What holds, as a card of the page of alerts.
pub(super) fn card(view: &AlertSettingsView) -> Markup {
    let said = |said: &SaidView, unit: &str| {
        html! { (said.value) " " (unit) " " span.small.soft { "(" (said.source.in_words()) ")" } }
    };
    html! {
        section.card #settings {
            h2 { "What counts as wrong" }
            (parts::facts(&[
                ("A followed peer is silent for", said(&view.silent_peer_hours, "hours")),
                ("Less of a disk is free than", said(&view.free_percent, "percent")),
                ("A sign of life is given every", said(&view.ping_minutes, "minutes")),
            ]))
            p { "How old the newest snapshot of a collection may be is said " a href="/schedules" { "with its schedule" } "." }
            div.actions { a.button.quiet href="/alerts/settings" { "Change it" } }
        }
    }
}

/// The form.
pub(super) async fn page(viewer: Viewer, State(plane): State<AdminPlane>) -> Result<Markup, Amiss> {
    let view = plane.alert_settings()?;
    shown(&plane, &viewer, &view, &Typed::of(&view), None).await
}

/// Says it.
pub(super) async fn save(State(plane): State<AdminPlane>, posted: Posted<Typed>) -> Result<Response, Amiss> {
    let Posted { session, form } = posted;
    let wrong = match wanted(&form) {
        Err(wrong) => wrong,
        Ok(set) => match plane.set_alerts(set, &session.caller()).await {
            Ok(_) => return Ok(see_other("/alerts?done=settings#settings")),
            Err(refused) => {
                let wrong = Wrong::told(refused.problem)?;
                match refused.field {
                    Some(field) => wrong.of(field),
                    None => wrong,
                }
            }
        },
    };
    let view = plane.alert_settings()?;
    Ok(wrong.answer(shown(&plane, &Viewer::from(session), &view, &form, Some(&wrong)).await?))
}

fn wanted(typed: &Typed) -> Result<SetAlerts, Wrong> {
    let number = |field: &'static str, text: &str| match text.trim() {
        "" => Ok(None),
        text => text.parse::<u32>().map(Some).map_err(|_| Wrong::at(field, "write a whole number, or nothing")),
    };
    let percent = number("free_percent", &typed.free_percent)?;
    let too_much = |_| Wrong::at("free_percent", "a number from 0 to 50, or nothing");
    Ok(SetAlerts {
        silent_peer_hours: number("silent_peer_hours", &typed.silent_peer_hours)?,
        free_percent: percent.map(u8::try_from).transpose().map_err(too_much)?,
        ping_minutes: number("ping_minutes", &typed.ping_minutes)?,
    })
}

async fn shown(
    plane: &AdminPlane,
    viewer: &Viewer,
    view: &AlertSettingsView,
    typed: &Typed,
    wrong: Option<&Wrong>,
) -> Result<Markup, Amiss> {
    let field = |said: &SaidView, name: &'static str, label: &'static str, hint: &'static str, value: &str| {
        html! {
            @if said.source == FactSource::File {
                (parts::facts(&[(label, html! { (said.value) " " span.small.soft { "stands in bulbil.toml: it is changed there, and read when the server starts" } })]))
            } @else {
                (Field { name, label, hint, value, wrong: wrong_at(wrong, name) }.line())
            }
        }
    };
    let main = html! {
        div.stack {
            (wrong_of_all(wrong))
            form.card method="post" action="/alerts/settings" {
                (parts::csrf(viewer))
                (field(&view.silent_peer_hours, "silent_peer_hours", "Hours of silence", "A followed peer that was not heard of for longer is an alert. Empty: 72.", &typed.silent_peer_hours))
                (field(&view.free_percent, "free_percent", "Percent that stay free", "Of the disks of the home, of chunks and of manifests; 0 to 50, 0 tells nobody. Empty: 5.", &typed.free_percent))
                (field(&view.ping_minutes, "ping_minutes", "Minutes between signs of life", "How often those are called who watch over this instance, 1 to 1440. Empty: 60.", &typed.ping_minutes))
                div.actions {
                    button.button type="submit" { "Save" }
                    a.button.quiet href="/alerts#settings" { "Back" }
                }
            }
        }
    };
    Page::new("What counts as wrong", Here::Alerts).below("/alerts", "Alerts").show(plane, viewer, main).await
}

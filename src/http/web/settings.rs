//! `GET /settings`: this instance, who may log in, and how it is set up.

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{Here, Page};
use super::parts::{self, Light, Weight};
use super::peers::fingerprint;
use super::typed::done;
use super::{Amiss, Viewer, tokens};
use crate::domain::words::count;
use crate::http::admin::AdminPlane;
use crate::http::admin::access::FreshSession;
use crate::http::admin::view::configuration::{FactSource, FactView};
use crate::replicate::trust::words;

/// What was done just now.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    done: Option<String>,
}

/// All of it.
pub(super) async fn page(
    viewer: Viewer,
    State(plane): State<AdminPlane>,
    Query(asked): Query<Asked>,
) -> Result<Markup, Amiss> {
    let said = asked.done.as_deref().and_then(|what| match what {
        "password" => Some("The password is changed, and every other browser is logged out."),
        "token" => Some("The token is good for nothing any more."),
        _ => None,
    });
    let main = html! {
        div.stack {
            @if let Some(said) = said { (done(said)) }
            (instance(&plane, plane.now()))
            (login(&plane, &viewer)?)
            (tokens::list(&plane, &viewer)?)
            (configuration(&plane))
        }
    };
    Page::new("Settings", Here::Settings).show(&plane, &viewer, main).await
}

fn instance(plane: &AdminPlane, now: Timestamp) -> Markup {
    let (keys, network) = (&plane.store().keys, plane.network().network());
    let light = if network.open { Light::Good } else { Light::Care };
    let state = match &network.why_not {
        Some(why) if !network.open => format!("{}: {why}", network.in_words()),
        _ => network.in_words(),
    };
    html! {
        section.card {
            h2 { "This instance" }
            (parts::facts(&[
                ("Name", html! { (keys.name) }),
                ("Fingerprint", fingerprint(&words(&keys.instance()))),
                ("Version", html! { (env!("CARGO_PKG_VERSION")) }),
                ("Runs since", parts::moment(plane.started_at(), now)),
                ("How peers come in", parts::light(light, &parts::sentence(&state))),
                ("Addresses", html! { a href="/settings/addresses" { "Show them" } span.small.soft { " after the password was typed again" } }),
            ]))
        }
    }
}

fn login(plane: &AdminPlane, viewer: &Viewer) -> Result<Markup, Amiss> {
    let asks = plane.gate().asks_for_code()?;
    let browsers = plane.gate().logged_in() as u64;
    Ok(html! {
        section.card {
            h2 { "Login" }
            (parts::facts(&[
                ("Password", html! { a href="/settings/password" { "Change it" } }),
                ("Second factor", html! {
                    @if asks { "A code of an authenticator app is asked for, too." }
                    @else { "Not switched on: the password alone is enough." }
                }),
                ("Logged in", html! { (count(browsers, "browser")) }),
            ]))
            @if asks { p { "To switch it off, on this machine:" } (parts::command("bulbil password totp off")) }
            @else { p { "To have a code asked for, too, on this machine:" } (parts::command("bulbil password totp on")) }
            (parts::button(viewer, "/settings/logout-everywhere", &[], "Log out everywhere", Weight::Quiet))
        }
    })
}

fn configuration(plane: &AdminPlane) -> Markup {
    let row = |fact: &FactView| {
        vec![
            html! { code { (fact.name) } },
            html! { (fact.value) },
            html! {
                @match fact.source { FactSource::Default => { span.soft { (fact.source.in_words()) } } _ => { (fact.source.in_words()) } }
            },
        ]
    };
    let facts = plane.configuration();
    let rows: Vec<Vec<Markup>> = facts.iter().map(row).collect();
    let said = facts.iter().filter(|fact| fact.source != FactSource::Default).count() as u64;
    html! {
        section.card {
            h2 { "Configuration" }
            p {
                "As the server read it when it started. It is changed in " code { "bulbil.toml" } " of the home, and read again at the next start; who is told of alerts, and when, is " a href="/alerts#channels" { "changed here" } ", too. "
                @match said { 0 => { "Nothing is set there: all of it is as it is by itself." } n => { (count(n, "value")) " of it " @if n == 1 { "is" } @else { "are" } " set by you." } }
            }
            p.small.soft { "Of what may hold a secret, or is an address, only whether it is set is shown." }
            @if !rows.is_empty() {
                (parts::more("Show it", &parts::table_below_heading("What is in force", &["What", "Value", "Said by"], &rows)))
            }
        }
    }
}

/// Where this instance is reached, in full.
pub(super) async fn addresses(
    FreshSession(session): FreshSession,
    State(plane): State<AdminPlane>,
) -> Result<Response, Amiss> {
    let addresses = plane.network().addresses();
    let main = html! {
        div.stack {
            p.lead { "Whoever knows an address can knock. Nothing is given to anybody whom you did not let in." }
            section.card {
                h2 { "For peers" }
                @if addresses.peer.is_empty() { p { "None now: nobody can call this instance." } }
                @for address in &addresses.peer { (parts::command(address)) }
            }
            @if let Some(admin) = &addresses.admin_onion {
                section.card { h2 { "For you, in Tor Browser" } (parts::command(admin)) }
            }
        }
    };
    let page = Page::new("Addresses", Here::Settings).below("/settings", "Settings");
    Ok(page.show(&plane, &Viewer::from(session), main).await?.into_response())
}

//! `/new/clone`: another instance is joined by its invite, and what it lets us have is fetched.

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::forms::Field;
use super::layout::{Here, Page};
use super::parts;
use super::start::begun;
use super::typed::{Wrong, wrong_at, wrong_of_all};
use super::{Amiss, Viewer};
use crate::http::admin::AdminPlane;
use crate::http::admin::access::FreshPosted;
use crate::http::admin::access::local::see_other;

/// What was typed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Typed {
    invite: String,
}

/// Asks for the invite.
pub(super) async fn page(viewer: Viewer, State(plane): State<AdminPlane>) -> Result<Markup, Amiss> {
    asked(&plane, &viewer, &Typed::default(), None).await
}

/// Joins, and begins to fetch.
pub(super) async fn post(State(plane): State<AdminPlane>, posted: FreshPosted<Typed>) -> Result<Response, Amiss> {
    let FreshPosted { session, form } = posted;
    let order = plane.join(&form.invite, session.caller().who()).await;
    let wrong = match begun(&plane, &session, order).await {
        Ok(run) => return Ok(see_other(&format!("/runs/{run}"))),
        Err(problem) => Wrong::told(problem)?.of("invite"),
    };
    Ok(wrong.answer(asked(&plane, &Viewer::from(session), &form, Some(&wrong)).await?))
}

async fn asked(plane: &AdminPlane, viewer: &Viewer, typed: &Typed, wrong: Option<&Wrong>) -> Result<Markup, Amiss> {
    let main = html! {
        div.stack {
            p.lead { "An invite is one line that the other admin made for you. It lets this instance in, once, and says what it may have." }
            (wrong_of_all(wrong))
            form.card method="post" action="/new/clone" {
                (parts::csrf(viewer))
                input type="hidden" name="back" value="/new/clone";
                (Field {
                    name: "invite",
                    label: "Invite",
                    hint: "It begins with bulbil: and is good once. Nobody else should see it.",
                    value: &typed.invite,
                    wrong: wrong_at(wrong, "invite"),
                }.line())
                div.actions {
                    button.button type="submit" { "Join, and fetch everything" }
                    a.button.quiet href="/peers" { "Back" }
                }
            }
            section.card {
                h2 { "What happens then" }
                ul {
                    li { "The other instance is called, and proves that it made the invite. Over Tor that can take a minute." }
                    li { "What it lets this one have is fetched, checked, and kept up to date from then on." }
                    li { "It gets nothing from here: what it may have you say on its page." }
                }
            }
        }
    };
    Page::new("Join with an invite", Here::Peers).below("/peers", "Peers").show(plane, viewer, main).await
}

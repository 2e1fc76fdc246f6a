//! `/collections/{name}/promote`: this instance takes a collection over.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::forms::Field;
use super::layout::{Here, Page};
use super::parts;
use super::typed::{Wrong, wrong_at, wrong_of_all};
use super::{Amiss, Viewer};
use crate::backup::select;
use crate::domain::text::path_text;
use crate::http::admin::access::local::see_other;
use crate::http::admin::access::{FreshPosted, FreshSession};
use crate::http::admin::{AdminPlane, Promote};
use crate::http::problem::Problem;
use crate::replicate::succession::may_take_over;

/// What was typed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Typed {
    data: String,
}

/// Says what it means, and asks.
pub(super) async fn page(
    FreshSession(session): FreshSession,
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
) -> Result<Response, Amiss> {
    let collection = select::collection(plane.store(), &name).await.map_err(Problem::from)?;
    let data = collection.standby.map(|standby| path_text(&standby.into)).unwrap_or_default();
    Ok(show(&plane, &Viewer::from(session), &name, &Typed { data }, None).await?.into_response())
}

/// Takes over.
pub(super) async fn post(
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    posted: FreshPosted<Typed>,
) -> Result<Response, Amiss> {
    let FreshPosted { session, form } = posted;
    let data = Some(form.data.trim().to_owned()).filter(|data| !data.is_empty());
    let wrong = match plane.promote(&name, Promote { data }, session.caller().who()).await {
        Ok(_) => return Ok(see_other(&format!("/collections/{name}"))),
        Err(problem) if problem.code() == "invalid" => Wrong::told(problem)?.of("data"),
        Err(problem) => Wrong::told(problem)?,
    };
    Ok(wrong.answer(show(&plane, &Viewer::from(session), &name, &form, Some(&wrong)).await?))
}

async fn show(
    plane: &AdminPlane,
    viewer: &Viewer,
    name: &str,
    typed: &Typed,
    wrong: Option<&Wrong>,
) -> Result<Markup, Amiss> {
    let store = plane.store();
    let collection = select::collection(store, name).await.map_err(Problem::from)?;
    let view = plane.collection_view(name).await?;
    let to = format!("/collections/{name}");
    let leader = view.leader.as_deref().unwrap_or("this instance");
    let restore = view.newest.as_ref().map(|newest| format!("/snapshots/{}/restore", newest.id));
    let main = if view.led_here {
        parts::empty(
            "It is led from here",
            "Its snapshots are made by this instance: there is nothing to take over.",
            &html! { a.button href=(to) { "To the collection" } },
        )
    } else if !may_take_over(store, &collection).await? {
        parts::empty(
            "This instance is no heir of it",
            &format!(
                "{leader} has not appointed this instance, so other peers would not follow. If {leader} still works: on it, then a sync here."
            ),
            &html! {
                (parts::command(&format!("bulbil peer appoint {} --collections {name}", store.keys.name)))
                p { "If it is gone for good: restore the data into a folder, and add that as a new collection." }
                div.actions {
                    @if let Some(restore) = &restore { a.button href=(restore) { "Restore the newest snapshot" } }
                    a.button.quiet href=(to) { "Back" }
                }
            },
        )
    } else {
        html! {
            div.stack {
                (wrong_of_all(wrong))
                p.lead { "From then on this instance makes the snapshots of " (name) ", in place of " (leader) "." }
                section.card {
                    h2 { "What it means" }
                    ul {
                        li { strong { "The other one must stay off, or stop backing it up." } " What it makes from then on stands beside the line, \
                             and it stops when it hears of this." }
                        li { "Peers that pull from this instance hear of it with their next sync, and follow. Others have to know its address: \
                             invite them." }
                        li { "The next backup here stores everything once anew, under keys of this instance." }
                        li { "It cannot be taken back from here: the other one would have to be appointed, and take over again." }
                    }
                }
                form.card method="post" action={ (to) "/promote" } {
                    (parts::csrf(viewer))
                    input type="hidden" name="back" value={ (to) "/promote" };
                    (Field {
                        name: "data",
                        label: "Where its data is now",
                        hint: "The folder of this machine into which it was restored, or where the application has it: an absolute path. It is \
                               what is backed up from then on.",
                        value: &typed.data,
                        wrong: wrong_at(wrong, "data"),
                    }.line())
                    div.actions {
                        button.button.danger type="submit" { "Take it over" }
                        a.button.quiet href=(to) { "Leave it as it is" }
                    }
                }
                @if let Some(restore) = &restore {
                    p.small.soft { "Not there yet? " a href=(restore) { "Restore the newest snapshot" } " into a folder first." }
                }
            }
        }
    };
    let page = Page::new(format!("Take {name} over?"), Here::Overview);
    page.below("/", "Overview").below(to.clone(), name.to_owned()).show(plane, viewer, main).await
}

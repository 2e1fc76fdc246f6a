//! `/collections/{name}/standby`: the newest snapshot of another's collection, kept laid out in a folder.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;

use super::collection;
use super::forms::Field;
use super::parts::{self, Light, Weight};
use super::typed::Wrong;
use super::{Amiss, Viewer};
use crate::domain::words::count;
use crate::http::admin::AdminPlane;
use crate::http::admin::access::local::see_other;
use crate::http::admin::access::{FreshPosted, Session};
use crate::http::admin::view::collection::CollectionView;
use crate::http::admin::view::standby::StandbyView;
use crate::http::problem::Problem;

/// What is asked for.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum What {
    Add,
    Remove,
    Run,
}

/// A form of the collection's page.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Form {
    what: What,
    #[serde(default)]
    into: String,
}

/// Keeps it laid out, no longer, or lays it out now.
pub(super) async fn post(
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    posted: FreshPosted<Form>,
) -> Result<Response, Amiss> {
    let FreshPosted { session, form } = posted;
    let here = format!("/collections/{name}");
    match done(&plane, &session, &name, &form).await {
        Ok(to) => Ok(see_other(&to.unwrap_or(here))),
        Err(problem) if problem.status() == StatusCode::NOT_FOUND => Err(problem.into()),
        Err(problem) => {
            let wrong = Wrong::told(problem.clone())?;
            let page = collection::shown(&plane, &session.into(), &name, None, Some(problem.reason())).await?;
            Ok(wrong.answer(page).into_response())
        }
    }
}

/// Where that leads, if not to the collection.
async fn done(plane: &AdminPlane, session: &Session, name: &str, form: &Form) -> Result<Option<String>, Problem> {
    let caller = session.caller();
    match form.what {
        What::Add => plane.add_standby(name, form.into.trim(), caller.who()).await.map(|_| None),
        What::Remove => plane.remove_standby(name, caller.who()).await.map(|()| None),
        What::Run => {
            let run = plane.start(plane.lay_out_order(name).await?, caller.who()).await?;
            Ok(Some(format!("/runs/{run}")))
        }
    }
}

/// What stands of it on the page of a collection of another.
pub(super) fn section(one: &CollectionView, standby: Option<&StandbyView>, viewer: &Viewer, now: Timestamp) -> Markup {
    let to = format!("/collections/{}/standby", one.name);
    let back = format!("/collections/{}", one.name);
    html! {
        section.card #standby {
            h2 { "Laid out in a folder" }
            @match standby {
                None => {
                    p { "The newest snapshot can be kept laid out in a folder of this machine: an application can be started on it at once when \
                         the other instance is gone." }
                    form method="post" action=(to) {
                        (parts::csrf(viewer))
                        input type="hidden" name="what" value="add";
                        input type="hidden" name="back" value=(back);
                        (Field {
                            name: "into",
                            label: "In this folder",
                            hint: "An absolute path. The folder is made, and replaced as a whole with each new snapshot: nothing else belongs in it.",
                            value: "",
                            wrong: None,
                        }.line())
                        div.actions { button.button.quiet type="submit" { "Keep it laid out" } }
                    }
                }
                Some(standby) => {
                    p { (light(standby)) }
                    @for why in [&standby.error, &standby.hook_error].into_iter().flatten() {
                        (parts::trouble(Light::Bad, "The last attempt failed", why, None))
                    }
                    (parts::facts(&[
                        ("Folder", html! { code { (standby.into) } }),
                        ("In it", html! {
                            @match &standby.laid_out {
                                Some(here) => {
                                    "snapshot " a href={ "/snapshots/" (here.snapshot) } { "@" (here.sequence) } ", laid out "
                                    (parts::moment(here.laid_out_at, now))
                                }
                                None => "nothing yet",
                            }
                        }),
                        ("Command after each change", html! {
                            @match &standby.hook { Some(hook) => { code { (hook) } } None => { span.soft { "none" } } }
                        }),
                    ]))
                    div.actions {
                        (parts::button(viewer, &to, &[("what", "run"), ("back", &back)], "Lay it out now", Weight::Quiet))
                        (parts::button(viewer, &to, &[("what", "remove"), ("back", &back)], "Lay it out no longer", Weight::Quiet))
                    }
                    p.small.soft { "Whoever ends it keeps the folder as it is." }
                }
            }
        }
    }
}

fn light(standby: &StandbyView) -> Markup {
    match (standby.behind, &standby.laid_out) {
        (Some(0), _) => parts::light(Light::Good, "the newest snapshot is laid out"),
        (Some(n), _) => parts::light(Light::Care, &format!("{} behind the newest", count(n, "snapshot"))),
        (None, Some(_)) => parts::light(Light::Unknown, "laid out; no newer one is known"),
        (None, None) => parts::light(Light::Unknown, "nothing is laid out yet"),
    }
}

//! `/keys/sheet`: the recovery sheet, asked for and shown for printing.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::forms::Field;
use super::layout::{Here, Page};
use super::paper;
use super::parts;
use super::typed::{Wrong, boxes, wrong_at, wrong_of_all};
use super::{Amiss, Viewer};
use crate::http::admin::AdminPlane;
use crate::http::admin::access::{FreshPosted, FreshSession};
use crate::http::hidden::Hidden;
use crate::http::problem::Problem;

/// What was asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Typed {
    collections: Vec<String>,
    recovery_key: Hidden,
}

/// Asks what shall be on it.
pub(super) async fn page(
    FreshSession(session): FreshSession,
    State(plane): State<AdminPlane>,
) -> Result<Response, Amiss> {
    Ok(asked(&plane, &Viewer::from(session), &[], None).await?.into_response())
}

/// Shows it.
pub(super) async fn print(State(plane): State<AdminPlane>, posted: FreshPosted<Typed>) -> Result<Response, Amiss> {
    let FreshPosted { session, form: Typed { collections, recovery_key } } = posted;
    let key = Some(recovery_key).filter(|key| !key.trim().is_empty());
    let wrong = match plane.sheet(&collections, key, &session.caller()).await {
        Ok(sheet) => {
            let document = paper::document(&sheet, Some("/keys")).map_err(|error| Problem::internal(&error))?;
            return Ok(paper::answer(document));
        }
        // What is invalid is the key; a collection may be gone meanwhile.
        Err(problem) if problem.code() == "invalid" => Wrong::told(problem)?.of("recovery_key"),
        Err(problem) => Wrong::told(problem)?.of("collections"),
    };
    Ok(wrong.answer(asked(&plane, &Viewer::from(session), &collections, Some(&wrong)).await?))
}

async fn asked(plane: &AdminPlane, viewer: &Viewer, ticked: &[String], wrong: Option<&Wrong>) -> Result<Markup, Amiss> {
    let all: Vec<(String, String, bool)> = plane
        .store()
        .index
        .collections()
        .await?
        .into_iter()
        .map(|one| (one.name.clone(), one.name.clone(), ticked.contains(&one.name)))
        .collect();
    let main = html! {
        div.stack {
            p.lead {
                "The sheet says what lies where and what to do when this machine is gone. The secrets of applications are on it, sealed: only the \
                 recovery key opens them."
            }
            (wrong_of_all(wrong))
            form.card method="post" action="/keys/sheet" {
                (parts::csrf(viewer))
                input type="hidden" name="back" value="/keys/sheet";
                @if !all.is_empty() {
                    (boxes("collections", "Collections; all, if none is ticked", &all, wrong_at(wrong, "collections")))
                }
                (Field {
                    name: "recovery_key",
                    label: "Recovery key, if it shall be on the sheet",
                    hint: "It begins with BULBIL-RECOVERY-1; small letters and spaces do not matter. It is compared with this instance's, put \
                           on the sheet, and stored nowhere. Whoever has that sheet and a backup can read everything. Left empty, there is \
                           room on the sheet to write it by hand.",
                    value: "",
                    wrong: wrong_at(wrong, "recovery_key"),
                }.secret())
                div.actions { button.button type="submit" { "Show the sheet" } a.button.quiet href="/keys" { "Back" } }
            }
        }
    };
    Page::new("Print the recovery sheet", Here::Keys)
        .below("/keys", "Keys and recovery")
        .show(plane, viewer, main)
        .await
}

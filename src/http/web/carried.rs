//! `/portable`: a folder that is carried: snapshots are written into one, or taken from one.

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::forms::Field;
use super::layout::{Here, Page};
use super::parts;
use super::start::begun;
use super::typed::{Wrong, boxes, wrong_at, wrong_of_all};
use super::{Amiss, Viewer};
use crate::http::admin::access::FreshPosted;
use crate::http::admin::access::local::see_other;
use crate::http::admin::{AdminPlane, ImportRefused, StartExport, StartImport};
use crate::http::hidden::Hidden;
use crate::http::problem::Problem;

/// What was typed.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Typed {
    output: String,
    collections: Vec<String>,
    folder: String,
    /// Never shown again.
    recovery_key: Hidden,
}

/// Both forms.
pub(super) async fn page(viewer: Viewer, State(plane): State<AdminPlane>) -> Result<Markup, Amiss> {
    asked(&plane, &viewer, &Typed::default(), None).await
}

/// Writes snapshots into a folder.
pub(super) async fn export(State(plane): State<AdminPlane>, posted: FreshPosted<Typed>) -> Result<Response, Amiss> {
    let FreshPosted { session, form } = posted;
    let start = StartExport {
        output: form.output.trim().to_owned(),
        collections: form.collections.clone(),
        snapshots: Vec::new(),
    };
    let wrong = match begun(&plane, &session, plane.export_order(start).await).await {
        Ok(run) => return Ok(see_other(&format!("/runs/{run}"))),
        Err(problem) => Wrong::told(problem)?.of("output"),
    };
    Ok(wrong.answer(asked(&plane, &Viewer::from(session), &form, Some(&wrong)).await?))
}

/// Takes snapshots from a folder.
pub(super) async fn import(State(plane): State<AdminPlane>, posted: FreshPosted<Typed>) -> Result<Response, Amiss> {
    let FreshPosted { session, mut form } = posted;
    let key = std::mem::take(&mut form.recovery_key);
    let start = StartImport {
        folder: Some(form.folder.trim().to_owned()),
        recovery_key: Some(key).filter(|key| !key.trim().is_empty()),
        ..StartImport::default()
    };
    let wrong = match plane.import_order(&start) {
        Err(ImportRefused::Key(error)) => Wrong::at("recovery_key", error.to_string()),
        order => match begun(&plane, &session, order.map_err(Problem::from)).await {
            Ok(run) => return Ok(see_other(&format!("/runs/{run}"))),
            Err(problem) => Wrong::told(problem)?.of("folder"),
        },
    };
    Ok(wrong.answer(asked(&plane, &Viewer::from(session), &form, Some(&wrong)).await?))
}

async fn asked(plane: &AdminPlane, viewer: &Viewer, typed: &Typed, wrong: Option<&Wrong>) -> Result<Markup, Amiss> {
    let names = plane.store().index.collections().await?.into_iter().map(|one| one.name);
    let collections: Vec<_> =
        names.map(|name| (name.clone(), name.clone(), typed.collections.contains(&name))).collect();
    let main = html! {
        div.stack {
            p.lead { "A portable backup is a folder that you can carry: on a disk in a drawer, or to a machine without a network." }
            (wrong_of_all(wrong))
            @if !collections.is_empty() {
                section.card #export {
                    h2 { "Write one" }
                    form method="post" action="/portable/export" {
                        (parts::csrf(viewer))
                        input type="hidden" name="back" value="/portable";
                        (Field {
                            name: "output",
                            label: "Into this folder",
                            hint: "On the machine that this server runs on, for example /media/usb. A folder backup_… is made in it; what is sealed here is sealed there.",
                            value: &typed.output,
                            wrong: wrong_at(wrong, "output"),
                        }.line())
                        (boxes("collections", "Collections (none ticked: all)", &collections, None))
                        div.actions { button.button type="submit" { "Write the backup" } }
                    }
                }
            }
            section.card #import {
                h2 { "Take snapshots from one" }
                form method="post" action="/portable/import" {
                    (parts::csrf(viewer))
                    input type="hidden" name="back" value="/portable";
                    (Field {
                        name: "folder",
                        label: "From this folder",
                        hint: "A folder backup_…, or one with several. What is here already stays as it is.",
                        value: &typed.folder,
                        wrong: wrong_at(wrong, "folder"),
                    }.line())
                    (Field {
                        name: "recovery_key",
                        label: "Recovery key",
                        hint: "Only if another instance made it, and is gone: its recovery key opens the snapshots. It is kept nowhere here.",
                        value: "",
                        wrong: wrong_at(wrong, "recovery_key"),
                    }.secret())
                    div.actions { button.button.quiet type="submit" { "Take them over" } }
                }
            }
        }
    };
    Page::new("A backup to carry", Here::Targets).below("/targets", "Targets").show(plane, viewer, main).await
}

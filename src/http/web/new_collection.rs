//! `/new/collection`: a collection of folders of this machine is added.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;

use super::forms::{Field, typed_lines};
use super::layout::{Here, Page};
use super::parts;
use super::run::not_done;
use super::snapshot::reason;
use super::{Amiss, Viewer};
use crate::domain::text::shown;
use crate::http::admin::access::Posted;
use crate::http::admin::access::local::see_other;
use crate::http::admin::{AddCollection, AddField, AdminPlane};
use crate::http::problem::Problem;
use crate::store::blocking;

/// What is typed.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Typed {
    #[serde(default)]
    name: String,
    /// A line each.
    #[serde(default)]
    folders: String,
    #[serde(default)]
    preset: String,
    /// A line each.
    #[serde(default)]
    excludes: String,
}

/// The form.
pub(super) async fn page(viewer: Viewer, State(plane): State<AdminPlane>) -> Result<Markup, Amiss> {
    form(&plane, &viewer, &Typed::default(), None).await
}

/// Adds it; what is wrong is said beside what was typed.
pub(super) async fn post(State(plane): State<AdminPlane>, posted: Posted<Typed>) -> Result<Response, Amiss> {
    let (session, typed) = (posted.session, posted.form);
    let add = AddCollection {
        name: typed.name.trim().to_owned(),
        folders: typed_lines(&typed.folders),
        excludes: typed_lines(&typed.excludes),
        preset: Some(typed.preset.clone()).filter(|preset| !preset.is_empty()),
        compression: None,
        padding: false,
    };
    let error = match plane.add_collection(add, &session.caller()).await {
        Ok(view) => return Ok(see_other(&format!("/collections/{}", view.name))),
        Err(error) => error,
    };
    if error.field.is_none() && error.problem.status().is_server_error() {
        return Err(error.problem.into());
    }
    let page = form(&plane, &session.into(), &typed, Some((error.field, &error.problem))).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

async fn form(
    plane: &AdminPlane,
    viewer: &Viewer,
    typed: &Typed,
    wrong: Option<(Option<AddField>, &Problem)>,
) -> Result<Markup, Amiss> {
    let of = |field: AddField| wrong.filter(|(known, _)| *known == Some(field)).map(|(_, problem)| problem.reason());
    let presets = presets(plane).await?;
    let main = html! {
        div.stack {
            @if let Some((None, problem)) = wrong { (not_done(&reason(problem))) }
            p.lead { "A collection is a set of folders that is backed up together. They stay where they are; Bulbil only reads them." }
            form.card method="post" action="/new/collection" {
                (parts::csrf(viewer))
                (Field {
                    name: "name",
                    label: "Name",
                    hint: "How you call it: letters, digits, '-', '_' and '.', for example notes.",
                    value: &typed.name,
                    wrong: of(AddField::Name),
                }.line())
                (Field {
                    name: "folders",
                    label: "Folders",
                    hint: "Absolute paths on the machine that this server runs on, a line each, for example /home/me/notes.",
                    value: &typed.folders,
                    wrong: of(AddField::Folders),
                }.lines(3))
                (Field {
                    name: "preset",
                    label: "Application",
                    hint: "If the folder is an application's, Bulbil knows which parts of it belong together and how to check them.",
                    value: &typed.preset,
                    wrong: of(AddField::Preset),
                }.choice(&presets))
                (Field {
                    name: "excludes",
                    label: "Leave out",
                    hint: "Patterns as in .gitignore, a line each, for example *.tmp or /cache/. May be empty.",
                    value: &typed.excludes,
                    wrong: of(AddField::Excludes),
                }.lines(3))
                div.actions {
                    button.button type="submit" { "Add the collection" }
                    a.button.quiet href="/" { "Back to the overview" }
                }
            }
            p.small.soft { "Nothing is backed up yet then: the next page has the button for it." }
        }
    };
    Page::new("Add a collection", Here::Overview).below("/", "Overview").show(plane, viewer, main).await
}

/// What can be chosen: the name, and what it is of. One that cannot be read stands there by its name: choosing it says what is wrong.
async fn presets(plane: &AdminPlane) -> Result<Vec<(String, String)>, Amiss> {
    const MOST: usize = 70;
    let store = plane.store().clone();
    let presets = blocking(move || {
        let names = store.preset_names()?;
        let choice = |(name, _): (String, bool)| {
            let about = store.preset(&name).map(|preset| preset.about).unwrap_or_default();
            let about = shown(&about);
            let words = match about.char_indices().nth(MOST) {
                _ if about.is_empty() => name.clone(),
                Some((at, _)) => format!("{name}: {}…", &about[..at]),
                None => format!("{name}: {about}"),
            };
            (name, words)
        };
        Ok(names.into_iter().filter(|(name, _)| name != "generic").map(choice).collect::<Vec<_>>())
    });
    let presets = presets.await.map_err(|error: crate::store::PresetsError| Problem::internal(&error))?;
    Ok(std::iter::once((String::new(), "None: plain folders".to_owned())).chain(presets).collect())
}

//! `/admin/v1/presets`: what is known of applications.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::input::At;
use super::page::Page;
use super::refusals::{Missing, Refused};
use crate::http::admin::AdminPlane;
use crate::http::admin::access::{May, Read};
use crate::http::problem::Problem;
use crate::store::{PresetsError, blocking};

/// A preset, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PresetView {
    /// Its name, as a collection is given it.
    pub name: String,
    /// Whether it is one of this home, and not built in.
    pub own: bool,
    /// Which application it is of; or why it cannot be used.
    pub about: String,
}

/// A preset, as it stands in its document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PresetDocument {
    /// Its name.
    pub name: String,
    /// Which application it is of.
    pub about: String,
    /// The document: TOML, as docs/presets.md describes it.
    pub text: String,
}

/// Lists presets
#[utoipa::path(
    get,
    path = "/admin/v1/presets",
    responses((status = 200, description = "All of them, by name", body = Page<PresetView>), Refused),
    security(("token" = ["read"]))
)]
pub(super) async fn get_presets(
    _: May<Read>,
    State(plane): State<AdminPlane>,
) -> Result<Json<Page<PresetView>>, Problem> {
    let store = plane.store().clone();
    let views = blocking(move || {
        let view = |(name, own): (String, bool)| {
            // One that is wrong does not hide the others.
            let about = store.preset(&name).map_or_else(|error| error.to_string(), |preset| preset.about);
            PresetView { name, own, about }
        };
        Ok::<_, PresetsError>(store.preset_names()?.into_iter().map(view).collect())
    });
    Ok(Json(Page::whole(views.await.map_err(|error| Problem::internal(&error))?)))
}

/// One preset
#[utoipa::path(
    get,
    path = "/admin/v1/presets/{name}",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "Its document", body = PresetDocument), Refused, Missing),
    security(("token" = ["read"]))
)]
pub(super) async fn get_preset(
    _: May<Read>,
    State(plane): State<AdminPlane>,
    At(name): At<String>,
) -> Result<Json<PresetDocument>, Problem> {
    let store = plane.store().clone();
    let document = blocking(move || {
        if !store.preset_names()?.iter().any(|(known, _)| *known == name) {
            return Ok::<_, PresetsError>(None);
        }
        let about = store.preset(&name).map_or_else(|error| error.to_string(), |preset| preset.about);
        let text = store.preset_text(&name)?;
        Ok(Some(PresetDocument { about, text, name }))
    });
    let document = document.await.map_err(|error| Problem::internal(&error))?;
    Ok(Json(document.ok_or_else(|| Problem::no_such("there is no such preset; /admin/v1/presets lists them"))?))
}

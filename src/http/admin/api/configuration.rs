//! `/admin/v1/configuration`: what is in force of `bulbil.toml`, the options of the server, and the environment.

use axum::Json;
use axum::extract::State;

use super::page::Page;
use super::refusals::Refused;
use crate::http::admin::AdminPlane;
use crate::http::admin::access::{May, Read};
use crate::http::admin::view::configuration::FactView;

/// What is in force, and where each value comes from; no secret, and no address
#[utoipa::path(
    get,
    path = "/admin/v1/configuration",
    responses((status = 200, description = "As the server read it when it started", body = Page<FactView>), Refused),
    security(("token" = ["read"]))
)]
pub(super) async fn get_configuration(_: May<Read>, State(plane): State<AdminPlane>) -> Json<Page<FactView>> {
    Json(Page::whole(plane.configuration()))
}

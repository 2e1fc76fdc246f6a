//! `/admin/v1/snapshots/{id}/inspection`: who can open a snapshot, and how much of it is here.

use axum::Json;
use axum::extract::State;

use super::input::At;
use super::refusals::{Missing, Refused};
use crate::backup::inspect::{InspectError, inspect};
use crate::backup::select;
use crate::domain::wire::messages::ProblemDocument;
use crate::http::admin::AdminPlane;
use crate::http::admin::access::{May, Read};
use crate::http::admin::view::inspection::InspectionView;
use crate::http::problem::Problem;
use crate::monitor::with_causes;

/// Who can open a snapshot, and which of its chunks are here: the disk is asked for each
#[utoipa::path(
    get,
    path = "/admin/v1/snapshots/{id}/inspection",
    params(("id" = String, Path, description = "The snapshot: an id, or as `notes@3`")),
    responses(
        (status = 200, description = "It", body = InspectionView),
        (status = 409, description = "Its manifest is damaged", body = ProblemDocument),
        Refused, Missing
    ),
    security(("token" = ["read"]))
)]
pub(super) async fn get_inspection(
    _: May<Read>,
    State(plane): State<AdminPlane>,
    At(id): At<String>,
) -> Result<Json<InspectionView>, Problem> {
    Ok(Json(plane.inspect(&id).await?))
}

impl AdminPlane {
    /// Who can open a snapshot.
    pub(crate) async fn inspect(&self, id: &str) -> Result<InspectionView, Problem> {
        let snapshot = select::snapshot(self.store(), id).await?;
        let seen = inspect(self.store(), &snapshot).await.map_err(|error| match error {
            InspectError::Manifest(error) => Problem::conflict("not-whole", with_causes(&error)),
            error => Problem::internal(&error),
        })?;
        Ok(seen.into())
    }
}

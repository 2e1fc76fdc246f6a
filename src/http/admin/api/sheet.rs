//! `/admin/v1/recovery-sheet`: what to keep on paper.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::body::SecretBody;
use super::idempotency::Unrepeatable;
use super::input::Params;
use super::refusals::{BadBody, Missing, Refused};
use crate::backup::sheet::{self, Sheet, SheetError};
use crate::domain::crypto::recovery::RecoveryKey;
use crate::http::admin::AdminPlane;
use crate::http::admin::access::{Admin, Caller, MayNow};
use crate::http::admin::view::sheet::SheetView;
use crate::http::hidden::Hidden;
use crate::http::problem::Problem;
use crate::http::web::paper;

/// Of what.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SheetQuery {
    /// Names of collections, with commas between them; all, if nothing is said.
    collections: Option<String>,
}

/// A sheet that is to be printed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PrintSheet {
    /// Names of collections; all, if there are none.
    #[serde(default)]
    collections: Vec<String>,
    /// This instance's recovery key, if it shall be on the sheet. It is stored nowhere.
    #[schema(value_type = Option<String>)]
    recovery_key: Option<Hidden>,
}

/// Shows what stands on the recovery sheet; secrets of applications as what the recovery key opens
#[utoipa::path(
    get,
    path = "/admin/v1/recovery-sheet",
    params(SheetQuery),
    responses((status = 200, description = "All of it but the recovery key", body = SheetView), Refused, Missing),
    security(("token" = ["admin"]))
)]
pub(super) async fn get_sheet(
    MayNow { caller, .. }: MayNow<Admin>,
    State(plane): State<AdminPlane>,
    Params(query): Params<SheetQuery>,
) -> Result<Json<SheetView>, Problem> {
    let names = query.collections.as_deref().unwrap_or_default().split(',').filter(|name| !name.is_empty());
    let names: Vec<String> = names.map(str::to_owned).collect();
    Ok(Json(SheetView::from(&plane.sheet(&names, None, &caller).await?)))
}

/// Makes the recovery sheet as a document for printing, on request with the recovery key on it
#[utoipa::path(
    post,
    path = "/admin/v1/recovery-sheet",
    request_body = PrintSheet,
    responses(
        (status = 200, description = "A document that stands alone", body = String, content_type = "text/html"),
        Refused, Missing, BadBody
    ),
    security(("token" = ["admin"]))
)]
pub(super) async fn post_sheet(
    MayNow { caller, .. }: MayNow<Admin>,
    State(plane): State<AdminPlane>,
    SecretBody(print): SecretBody<PrintSheet>,
) -> Result<(Extension<Unrepeatable>, Response), Problem> {
    let sheet = plane.sheet(&print.collections, print.recovery_key, &caller).await?;
    let document = paper::document(&sheet, None).map_err(|error| Problem::internal(&error))?;
    Ok((Extension(Unrepeatable), paper::answer(document).into_response()))
}

impl AdminPlane {
    /// Puts the recovery sheet together, with the recovery key if it is given and is this instance's, and puts that on record.
    pub(crate) async fn sheet(
        &self,
        collections: &[String],
        key: Option<Hidden>,
        by: &Caller,
    ) -> Result<Sheet, Problem> {
        let read = |text: Hidden| sheet::own_key(self.store(), RecoveryKey::parse(&text)?);
        let key = key.map(read).transpose()?;
        let sheet = sheet::gather(self.store(), collections, key.as_ref(), self.now()).await?;
        let with = if key.is_some() { "with the recovery key" } else { "without the recovery key" };
        let subjects = collections.iter().map(String::as_str).chain([with]).map(str::to_owned).collect();
        self.record(by, "recovery sheet", subjects).await?;
        Ok(sheet)
    }
}

impl From<SheetError> for Problem {
    fn from(error: SheetError) -> Self {
        match error {
            SheetError::Select(error) => error.into(),
            SheetError::NoKey(_) | SheetError::AnothersKey => Self::invalid(error.to_string()),
            SheetError::Index(_) | SheetError::Store(_) | SheetError::Escrow(_) => Self::internal(&error),
        }
    }
}

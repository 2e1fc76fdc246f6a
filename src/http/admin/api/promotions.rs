//! `/admin/v1/collections/{name}/promote`: this instance takes a collection over.

use std::path::PathBuf;

use axum::Json;
use axum::extract::State;
use http::HeaderMap;
use serde::Deserialize;
use utoipa::ToSchema;

use super::body::Body;
use super::input::At;
use super::refusals::{BadBody, Missing, Refused};
use crate::backup::select;
use crate::domain::audit::{Ending, Event, Who};
use crate::http::admin::access::{Admin, MayNow};
use crate::http::admin::view::promotion::PromotionView;
use crate::http::admin::{AdminPlane, typed};
use crate::http::problem::Problem;
use crate::monitor::with_causes;
use crate::replicate::succession::SuccessionError;
use crate::worker::promote::{PromoteError, TakeOver};

/// Where the data is now.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Promote {
    /// The folder in which the data is: what a restore laid out, or where the application has it; an absolute path. That of the
    /// standby, if nothing is said.
    pub data: Option<String>,
}

/// Takes a collection over from the instance that leads it: its snapshots are made here from now on
#[utoipa::path(
    post,
    path = "/admin/v1/collections/{name}/promote",
    params(
        ("name" = String, Path, description = "Its name"),
        ("bulbil-typed-by" = Option<String>, Header, description = "As for runs: who typed the command that asks")
    ),
    request_body = Promote,
    responses((status = 200, description = "This instance leads it", body = PromotionView), Refused, Missing, BadBody),
    security(("token" = ["admin"]))
)]
pub(super) async fn post_promotion(
    MayNow { caller, .. }: MayNow<Admin>,
    State(plane): State<AdminPlane>,
    At(name): At<String>,
    headers: HeaderMap,
    Body(promote): Body<Promote>,
) -> Result<Json<PromotionView>, Problem> {
    Ok(Json(plane.promote(&name, promote, typed::asker(&caller, &headers)).await?))
}

impl From<PromoteError> for Problem {
    fn from(error: PromoteError) -> Self {
        match error {
            PromoteError::Store(error) => error.into(),
            PromoteError::Index(error) | PromoteError::Succession(SuccessionError::Index(error)) => error.into(),
            PromoteError::Succession(SuccessionError::LeadsAlready(_)) => {
                Self::conflict("leads-already", error.to_string())
            }
            PromoteError::Succession(SuccessionError::NotAppointed(_)) => {
                Self::conflict("not-appointed", error.to_string())
            }
            PromoteError::NoSnapshot(_) | PromoteError::Succession(_) | PromoteError::Open(_) => {
                Self::conflict("not-as-things-are", with_causes(&error))
            }
            PromoteError::WhereIsIt(_)
            | PromoteError::NotThere { .. }
            | PromoteError::NoFolder(_)
            | PromoteError::Home(_)
            | PromoteError::NoRoot { .. } => Self::invalid(with_causes(&error)),
        }
    }
}

impl AdminPlane {
    /// Takes a collection over.
    pub(crate) async fn promote(&self, name: &str, promote: Promote, by: Who) -> Result<PromotionView, Problem> {
        let store = self.store();
        let collection = select::collection(store, name).await?;
        let data = match promote.data.as_deref() {
            None => None,
            Some(text) if text.starts_with('/') && !text.contains('\0') => Some(PathBuf::from(text)),
            Some(_) => return Err(Problem::invalid("data has to be an absolute path on this machine")),
        };
        let planned = TakeOver::plan(store, collection, data).await?;
        let promotion = planned.carry_out(store, self.now()).await?;
        // A command is on record itself.
        if !matches!(by, Who::User { .. }) {
            let subjects = vec![planned.collection.name.clone(), format!("after snapshot {}", promotion.after)];
            let event = Event { who: by, what: "promote".to_owned(), subjects, ending: Ending::Done, why: None };
            store.record(&event, self.now()).await?;
        }
        Ok(PromotionView::of(&planned, &promotion))
    }
}

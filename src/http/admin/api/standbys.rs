//! `/admin/v1/standbys`: collections of others that are kept laid out in a folder.

use std::path::PathBuf;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

use super::body::Body;
use super::input::At;
use super::page::Page;
use super::refusals::{BadBody, Missing, Refused};
use super::runs::started;
use crate::backup::select;
use crate::domain::audit::Who;
use crate::domain::wire::messages::ProblemDocument;
use crate::http::admin::AdminPlane;
use crate::http::admin::access::{Admin, May, MayNow, Operate, Read};
use crate::http::admin::typed;
use crate::http::admin::view::run::RunView;
use crate::http::admin::view::standby::{StandbyView, standbys};
use crate::http::problem::Problem;
use crate::monitor::with_causes;
use crate::store::index::Collection;
use crate::worker::jobs::Order;
use crate::worker::standby::{self, StandbyError};

/// A collection of another instance that is to be kept laid out.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddStandby {
    /// Which one.
    pub collection: String,
    /// In which folder of this machine: an absolute path, of a folder that is not there yet or that was laid out before.
    pub into: String,
}

/// Lists standbys
#[utoipa::path(
    get,
    path = "/admin/v1/standbys",
    responses((status = 200, description = "All of them, by name", body = Page<StandbyView>), Refused),
    security(("token" = ["read"]))
)]
pub(super) async fn get_standbys(
    _: May<Read>,
    State(plane): State<AdminPlane>,
) -> Result<Json<Page<StandbyView>>, Problem> {
    Ok(Json(Page::whole(standbys(plane.store()).await?)))
}

/// Keeps a collection of another instance laid out in a folder
#[utoipa::path(
    post,
    path = "/admin/v1/standbys",
    params(("bulbil-typed-by" = Option<String>, Header, description = "With the owner's token: who typed the command that asks, as for runs")),
    request_body = AddStandby,
    responses(
        (status = 201, description = "The server lays out the newest snapshot now, and each newer one when it has come", body = StandbyView),
        Refused, Missing, BadBody
    ),
    security(("token" = ["admin"]))
)]
pub(super) async fn post_standby(
    MayNow { caller, .. }: MayNow<Admin>,
    State(plane): State<AdminPlane>,
    headers: HeaderMap,
    Body(add): Body<AddStandby>,
) -> Result<(StatusCode, Json<StandbyView>), Problem> {
    let by = typed::asker(&caller, &headers);
    Ok((StatusCode::CREATED, Json(plane.add_standby(&add.collection, &add.into, by).await?)))
}

/// One standby
#[utoipa::path(
    get,
    path = "/admin/v1/standbys/{collection}",
    params(("collection" = String, Path, description = "The name of its collection")),
    responses((status = 200, description = "The standby", body = StandbyView), Refused, Missing),
    security(("token" = ["read"]))
)]
pub(super) async fn get_standby(
    _: May<Read>,
    State(plane): State<AdminPlane>,
    At(name): At<String>,
) -> Result<Json<StandbyView>, Problem> {
    let found = plane.standby(&name).await?;
    Ok(Json(found.ok_or_else(|| Problem::no_such(format!("{name} is no standby")))?))
}

/// Keeps a collection laid out no longer
#[utoipa::path(
    delete,
    path = "/admin/v1/standbys/{collection}",
    params(
        ("collection" = String, Path, description = "The name of its collection"),
        ("bulbil-typed-by" = Option<String>, Header, description = "With the owner's token: who typed the command that asks, as for runs")
    ),
    responses((status = 204, description = "The folder stays as it is"), Refused, Missing),
    security(("token" = ["admin"]))
)]
pub(super) async fn delete_standby(
    May { caller, .. }: May<Admin>,
    State(plane): State<AdminPlane>,
    headers: HeaderMap,
    At(name): At<String>,
) -> Result<StatusCode, Problem> {
    plane.remove_standby(&name, typed::asker(&caller, &headers)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lays out the newest snapshot now; the server does it by itself, and again after a pause if it failed
#[utoipa::path(
    post,
    path = "/admin/v1/standbys/{collection}/run",
    params(
        ("collection" = String, Path, description = "The name of its collection"),
        ("bulbil-typed-by" = Option<String>, Header, description = "With the owner's token: who typed the command that asks, as for runs")
    ),
    responses(
        (status = 202, description = "It goes on: `Location` says where to look", body = RunView, headers(("location" = String, description = "The run"))),
        (status = 409, description = "Another one is being laid out", body = ProblemDocument),
        Refused, Missing
    ),
    security(("token" = ["operate"]))
)]
pub(super) async fn post_standby_run(
    May { caller, .. }: May<Operate>,
    State(plane): State<AdminPlane>,
    headers: HeaderMap,
    At(name): At<String>,
) -> Result<Response, Problem> {
    let order = plane.lay_out_order(&name).await?;
    started(&plane, order, typed::asker(&caller, &headers)).await
}

impl From<StandbyError> for Problem {
    fn from(error: StandbyError) -> Self {
        match error {
            StandbyError::NotOne(_) => Self::no_such(error.to_string()),
            StandbyError::Own(_) | StandbyError::Blind(_) | StandbyError::Elsewhere { .. } => {
                Self::conflict("not-as-things-are", error.to_string())
            }
            StandbyError::Store(error) => error.into(),
            StandbyError::Index(error) => error.into(),
            StandbyError::Open(error) => Self::conflict("not-readable", with_causes(&error)),
            StandbyError::Overlaps { .. }
            | StandbyError::NoPath(_)
            | StandbyError::Upwards(_)
            | StandbyError::Home(_)
            | StandbyError::Layout(_) => Self::invalid(with_causes(&error)),
        }
    }
}

impl AdminPlane {
    /// How it stands with the standby of a collection; nothing if it has none.
    pub(crate) async fn standby(&self, name: &str) -> Result<Option<StandbyView>, Problem> {
        Ok(standbys(self.store()).await?.into_iter().find(|standby| standby.collection == name))
    }

    /// Keeps a collection laid out.
    pub(crate) async fn add_standby(&self, name: &str, into: &str, by: Who) -> Result<StandbyView, Problem> {
        let collection = select::collection(self.store(), name).await?;
        let path = PathBuf::from(into);
        if !path.is_absolute() || into.contains('\0') {
            return Err(Problem::invalid("into has to be an absolute path on this machine"));
        }
        let known = collection.standby.clone();
        if let Some(known) = &known
            && known.into != path
        {
            return Err(StandbyError::Elsewhere { name: collection.name, into: known.into.clone() }.into());
        }
        // The command stays that somebody set on the machine itself.
        let settings = standby::add(self.store(), &collection, &path, known.and_then(|known| known.hook)).await?;
        let place = settings.into.display().to_string();
        self.record_of(by, "standby add", vec![collection.name.clone(), place]).await?;
        let added = self.standby(&collection.name).await?;
        added.ok_or_else(|| Problem::conflict("gone", "somebody ended it at the same moment"))
    }

    /// Keeps it laid out no longer.
    pub(crate) async fn remove_standby(&self, name: &str, by: Who) -> Result<(), Problem> {
        let collection = select::collection(self.store(), name).await?;
        standby::remove(self.store(), &collection).await?;
        self.record_of(by, "standby remove", vec![collection.name]).await
    }

    /// The newest snapshot of a standby, to be laid out.
    pub(crate) async fn lay_out_order(&self, name: &str) -> Result<Order, Problem> {
        let collection: Collection = select::collection(self.store(), name).await?;
        match collection.standby {
            Some(_) => Ok(Order::LayOut { collection: Box::new(collection) }),
            None => Err(StandbyError::NotOne(collection.name).into()),
        }
    }
}

//! `/admin/v1/collections/{name}/heirs`: who may take a collection over when this instance is gone.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::input::At;
use super::page::Page;
use super::refusals::{Missing, Refused};
use crate::backup::select;
use crate::domain::wire::messages::ProblemDocument;
use crate::http::admin::AdminPlane;
use crate::http::admin::access::{Admin, Caller, May, MayNow, Read};
use crate::http::problem::Problem;
use crate::replicate::succession::{SuccessionError, heirs, set_heir};
use crate::store::index::Collection;

/// Somebody who may take over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeirView {
    /// The instance.
    pub instance: String,
    /// What it is called here, if it is a peer.
    pub name: Option<String>,
}

/// Lists the heirs of a collection
#[utoipa::path(
    get,
    path = "/admin/v1/collections/{name}/heirs",
    params(("name" = String, Path, description = "The collection")),
    responses((status = 200, description = "Those whom the instance that leads it has named", body = Page<HeirView>), Refused, Missing),
    security(("token" = ["read"]))
)]
pub(super) async fn get_heirs(
    _: May<Read>,
    State(plane): State<AdminPlane>,
    At(name): At<String>,
) -> Result<Json<Page<HeirView>>, Problem> {
    let collection = select::collection(plane.store(), &name).await?;
    Ok(Json(Page::whole(plane.heirs(&collection).await?)))
}

/// Names a peer an heir: it may take the collection over when this instance is gone
#[utoipa::path(
    put,
    path = "/admin/v1/collections/{name}/heirs/{peer}",
    params(
        ("name" = String, Path, description = "The collection: one that is led from here"),
        ("peer" = String, Path, description = "The peer: a trusted one that may read the collection")
    ),
    responses(
        (status = 204, description = "It is one; peers hear of it with their next sync"),
        (status = 409, description = "The collection is led elsewhere, or the peer is not trusted or no reader", body = ProblemDocument),
        Refused, Missing
    ),
    security(("token" = ["admin"]))
)]
pub(super) async fn put_heir(
    MayNow { caller, .. }: MayNow<Admin>,
    State(plane): State<AdminPlane>,
    At((name, peer)): At<(String, String)>,
) -> Result<StatusCode, Problem> {
    plane.set_heir(&name, &peer, true, &caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Names a peer an heir no more
#[utoipa::path(
    delete,
    path = "/admin/v1/collections/{name}/heirs/{peer}",
    params(
        ("name" = String, Path, description = "The collection: one that is led from here"),
        ("peer" = String, Path, description = "The peer")
    ),
    responses(
        (status = 204, description = "It is none; peers hear of it with their next sync"),
        (status = 409, description = "The collection is led elsewhere", body = ProblemDocument),
        Refused, Missing
    ),
    security(("token" = ["admin"]))
)]
pub(super) async fn delete_heir(
    MayNow { caller, .. }: MayNow<Admin>,
    State(plane): State<AdminPlane>,
    At((name, peer)): At<(String, String)>,
) -> Result<StatusCode, Problem> {
    plane.set_heir(&name, &peer, false, &caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<SuccessionError> for Problem {
    fn from(error: SuccessionError) -> Self {
        match error {
            SuccessionError::Index(error) => error.into(),
            error => Self::conflict("not-as-things-are", error.to_string()),
        }
    }
}

impl AdminPlane {
    /// Who may take a collection over.
    pub(crate) async fn heirs(&self, collection: &Collection) -> Result<Vec<HeirView>, Problem> {
        let named = heirs(self.store(), collection).await?;
        let peers = self.store().index.peers().await?;
        let name = |id| peers.iter().find(|peer| peer.id == id).map(|peer| peer.name.clone());
        Ok(named.into_iter().map(|id| HeirView { instance: id.to_string(), name: name(id) }).collect())
    }

    /// Says whether a peer is one.
    pub(crate) async fn set_heir(&self, name: &str, peer: &str, is_heir: bool, by: &Caller) -> Result<(), Problem> {
        let _one_at_a_time = self.changing.lock().await;
        let collection = select::collection(self.store(), name).await?;
        let peer = self.peer(peer).await?;
        set_heir(self.store(), &collection, &peer, is_heir, self.now()).await?;
        let what = if is_heir { "peer appoint" } else { "peer appoint --withdraw" };
        self.record(by, what, vec![peer.name, collection.name]).await
    }
}

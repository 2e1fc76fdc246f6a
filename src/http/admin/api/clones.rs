//! `/admin/v1/clones`: an instance is joined by its invite, and everything that it lets us have is fetched.

use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use serde::Deserialize;
use utoipa::ToSchema;

use super::body::SecretBody;
use super::refusals::{BadBody, Refused};
use super::runs::started;
use crate::domain::audit::Who;
use crate::domain::invite::Invite;
use crate::domain::wire::messages::ProblemDocument;
use crate::http::admin::AdminPlane;
use crate::http::admin::access::{Admin, MayNow};
use crate::http::admin::typed;
use crate::http::admin::view::run::RunView;
use crate::http::hidden::Hidden;
use crate::http::problem::Problem;
use crate::monitor::with_causes;
use crate::replicate::join::{JoinError, accept};
use crate::worker::jobs::Order;

/// A clone.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartClone {
    /// The line that the other instance made: it begins with `bulbil:`, and is good once.
    #[schema(value_type = String)]
    pub invite: Hidden,
}

/// Joins another instance by its invite, and fetches everything that it lets this one have; it is followed from then on
#[utoipa::path(
    post,
    path = "/admin/v1/clones",
    params(("bulbil-typed-by" = Option<String>, Header, description = "As for `POST /admin/v1/runs`")),
    request_body = StartClone,
    responses(
        (status = 202, description = "It is joined, and the fetch goes on: `Location` says where to look", body = RunView, headers(("location" = String, description = "The run"))),
        (status = 502, description = "The other instance does not answer, or does not take the invite", body = ProblemDocument),
        Refused, BadBody
    ),
    security(("token" = ["admin"]))
)]
pub(super) async fn post_clone(
    MayNow { caller, .. }: MayNow<Admin>,
    State(plane): State<AdminPlane>,
    headers: HeaderMap,
    SecretBody(start): SecretBody<StartClone>,
) -> Result<Response, Problem> {
    let by = typed::asker(&caller, &headers);
    let order = plane.join(&start.invite, by.clone()).await?;
    started(&plane, order, by).await
}

impl From<JoinError> for Problem {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::Call(_) | JoinError::NotTheHost => Self::peer_failed(with_causes(&error)),
            JoinError::Own | JoinError::Expired(_) => Self::invalid(error.to_string()),
            JoinError::Pending | JoinError::Revoked => Self::conflict("not-joined", error.to_string()),
            JoinError::Index(error) => error.into(),
        }
    }
}

impl AdminPlane {
    /// Redeems an invite; what is to be begun then.
    pub(crate) async fn join(&self, invite: &str, by: Who) -> Result<Order, Problem> {
        let invite = Invite::parse(invite).map_err(|error| Problem::invalid(error.to_string()))?;
        self.may_dial(&invite.address)?;
        let peer = accept(self.store(), self.jobs.caller(), &invite).await?.peer;
        self.record_of(by, "clone", vec![format!("{} {}", peer.name, peer.id.short())]).await?;
        Ok(Order::Clone { peer: Box::new(peer) })
    }
}

//! `/admin/v1/keys`: whose keys these are, and others in their place.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use http::{HeaderMap, HeaderName, StatusCode, header};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::Body;
use super::refusals::{BadBody, Refused};
use crate::domain::audit::Who;
use crate::http::admin::access::{Admin, May, MayNow, Read};
use crate::http::admin::change::Change;
use crate::http::admin::view::keys::{KeysView, keys};
use crate::http::admin::{AdminPlane, typed};
use crate::http::problem::Problem;
use crate::store::Rotate;

/// A key that can be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReplaceableKey {
    /// The RSA key for which peers wrap the keys of snapshots.
    Envelope,
    /// The Ed25519 key that signs; this instance gets another id and other fingerprint words.
    Identity,
}

impl ReplaceableKey {
    /// As it is typed.
    fn word(self) -> &'static str {
        match self {
            Self::Envelope => "envelope",
            Self::Identity => "identity",
        }
    }
}

/// Keys that are to be replaced.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRotation {
    /// Which ones, at least one.
    pub(in crate::http) keys: BTreeSet<ReplaceableKey>,
    /// Stop what goes on now; otherwise nothing is done while something goes on.
    #[serde(default)]
    pub(in crate::http) stop_runs: bool,
}

/// What the server was when it was told to start again.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RestartView {
    /// Since when it ran: `/admin/v1/instance` says another time once it has started again.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
}

/// Shows whose keys these are, and which secrets of applications are kept; never a key or a secret itself
#[utoipa::path(
    get,
    path = "/admin/v1/keys",
    responses((status = 200, description = "What must not be lost", body = KeysView), Refused),
    security(("token" = ["read"]))
)]
pub(super) async fn get_keys(_: May<Read>, State(plane): State<AdminPlane>) -> Result<Json<KeysView>, Problem> {
    Ok(Json(keys(plane.store()).await.map_err(|error| Problem::internal(&error))?))
}

/// Replaces keys of this instance: the server ends in order, does it, and starts again
#[utoipa::path(
    post,
    path = "/admin/v1/keys/rotations",
    request_body = NewRotation,
    responses(
        (status = 202, description = "It is about to. `/admin/v1/keys` shows the new version or instance once it has; the audit log says if it failed", body = RestartView,
         headers(("Location" = String, description = "Where the new keys are to be seen"))),
        Refused, BadBody
    ),
    security(("token" = ["admin"]))
)]
pub(super) async fn post_rotation(
    MayNow { caller, .. }: MayNow<Admin>,
    State(plane): State<AdminPlane>,
    headers: HeaderMap,
    Body(new): Body<NewRotation>,
) -> Result<(StatusCode, [(HeaderName, &'static str); 1], Json<RestartView>), Problem> {
    let view = plane.rotate(&new, typed::asker(&caller, &headers)).await?;
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, "/admin/v1/keys")], Json(view)))
}

impl AdminPlane {
    /// Has the server replace keys, and start again.
    pub(in crate::http) async fn rotate(&self, new: &NewRotation, by: Who) -> Result<RestartView, Problem> {
        if new.keys.is_empty() {
            return Err(Problem::invalid("say which keys: envelope, identity, or both"));
        }
        let has = |key| new.keys.contains(&key);
        let which = Rotate { envelope: has(ReplaceableKey::Envelope), identity: has(ReplaceableKey::Identity) };
        let words: Vec<&str> = new.keys.iter().map(|key| key.word()).collect();
        let by_hand = format!("bulbil rotate-key {}", words.join(" "));
        self.change_at_rest(Change::Rotate(which), by, new.stop_runs, &by_hand).await?;
        Ok(self.restart())
    }

    /// What is answered when the server is about to start again.
    pub(in crate::http) fn restart(&self) -> RestartView {
        RestartView { started_at: self.started_at() }
    }
}

//! `/admin/v1/tokens`: what lets programs in.

use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::Body;
use super::idempotency::Unrepeatable;
use super::input::At;
use super::page::Page;
use super::refusals::{BadBody, Missing, Refused};
use crate::domain::access::{Lifetime, Scopes};
use crate::http::admin::AdminPlane;
use crate::http::admin::access::{Admin, May, MayNow};
use crate::http::admin::view::token::TokenView;
use crate::http::problem::Problem;

/// A token that is to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What it shall be called: 1 to 64 letters, digits, `-`, `_` and `.`.
    name: String,
    /// What it shall be good for, at least one: `metrics`, `read`, `operate`, `content`, `admin`.
    #[schema(value_type = Vec<String>)]
    scopes: Scopes,
    /// How long it is good: `12h`, `90d`, or `never` if it shall not expire. 90 days if nothing is said.
    expires: Option<String>,
}

/// A token that was made.
#[derive(Debug, Serialize, ToSchema)]
pub struct MadeToken {
    /// The token itself. It is shown this once.
    token: String,
    /// What is kept of it.
    #[serde(flatten)]
    kept: TokenView,
}

/// Lists tokens, by name; not what they are
#[utoipa::path(
    get,
    path = "/admin/v1/tokens",
    responses((status = 200, description = "All of them", body = Page<TokenView>), Refused),
    security(("token" = ["admin"]))
)]
pub(super) async fn get_tokens(
    _: May<Admin>,
    State(plane): State<AdminPlane>,
) -> Result<Json<Page<TokenView>>, Problem> {
    let now = plane.now();
    Ok(Json(Page::whole(plane.gate().tokens()?.into_iter().map(|token| TokenView::of(token, now)).collect())))
}

/// Makes a token, which may do no more, and is good no longer, than what asks for it
#[utoipa::path(
    post,
    path = "/admin/v1/tokens",
    request_body = NewToken,
    responses((status = 201, description = "It is good from now on, and shown this once", body = MadeToken), Refused, BadBody),
    security(("token" = ["admin"]))
)]
pub(super) async fn post_token(
    may: MayNow<Admin>,
    State(plane): State<AdminPlane>,
    Body(new): Body<NewToken>,
) -> Result<(StatusCode, Extension<Unrepeatable>, Json<MadeToken>), Problem> {
    let lifetime = new.expires.as_deref().map(str::parse::<Lifetime>).transpose();
    let lifetime = lifetime.map_err(|error| Problem::invalid(error.to_string()))?.unwrap_or_default();
    let (token, kept) = plane.gate().make_token(&may.caller, new.name, new.scopes, lifetime).await?;
    let made = MadeToken { token: token.reveal().to_string(), kept: TokenView::of(kept, plane.now()) };
    Ok((StatusCode::CREATED, Extension(Unrepeatable), Json(made)))
}

/// Revokes a token: it is good for nothing from now on
#[utoipa::path(
    delete,
    path = "/admin/v1/tokens/{name}",
    params(("name" = String, Path, description = "What it is called")),
    responses((status = 204, description = "It is revoked"), Refused, Missing),
    security(("token" = ["admin"]))
)]
pub(super) async fn delete_token(
    may: MayNow<Admin>,
    State(plane): State<AdminPlane>,
    At(name): At<String>,
) -> Result<StatusCode, Problem> {
    plane.gate().revoke_token(&may.caller, name).await?;
    Ok(StatusCode::NO_CONTENT)
}

//! Checked input: JSON bodies and queries, each refused with a problem document.

use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use bytes::Bytes;
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::PeerPlane;
use crate::domain::wire::messages::MAX_IDS;
use crate::http::problem::Problem;

/// A JSON body. Its size was bounded by the guard.
pub(super) struct PeerJson<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<PeerPlane> for PeerJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &PeerPlane) -> Result<Self, Problem> {
        let body = Bytes::from_request(request, state).await.map_err(|_| Problem::too_large())?;
        serde_json::from_slice(&body).map(Self).map_err(|error| Problem::malformed(error.to_string()))
    }
}

/// A query.
pub(super) struct PeerQuery<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<PeerPlane> for PeerQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &PeerPlane) -> Result<Self, Problem> {
        let query = Query::try_from_uri(&parts.uri).map_err(|error| Problem::malformed(error.body_text()))?;
        Ok(Self(query.0))
    }
}

/// Refuses more ids than one call may have.
pub(super) fn bounded<T>(ids: Vec<T>) -> Result<Vec<T>, Problem> {
    if ids.len() > MAX_IDS { Err(Problem::too_many_ids()) } else { Ok(ids) }
}

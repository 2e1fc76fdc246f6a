//! Who looks at a page.

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::error::Amiss;
use crate::http::admin::AdminPlane;
use crate::http::admin::access::{May, Read};

/// Who looks at a page: a handler that takes one runs for nobody else.
#[derive(Debug)]
pub struct Viewer {
    /// The token that each of this viewer's forms carries.
    csrf: String,
}

impl Viewer {
    /// The token that each of this viewer's forms carries.
    pub fn csrf(&self) -> &str {
        &self.csrf
    }
}

impl FromRequestParts<AdminPlane> for Viewer {
    type Rejection = Amiss;

    async fn from_request_parts(parts: &mut Parts, plane: &AdminPlane) -> Result<Self, Self::Rejection> {
        May::<Read>::from_request_parts(parts, plane).await?;
        Ok(Self { csrf: String::new() })
    }
}

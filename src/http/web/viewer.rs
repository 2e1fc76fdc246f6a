//! Who looks at a page.

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::http::admin::access::{Session, Turned};

/// Who looks at a page, logged in with a browser. A handler that takes one runs for nobody else: they are sent to the login first.
///
/// The handler of a form takes `Posted` and makes one of its session.
#[derive(Debug, Clone)]
pub struct Viewer(Session);

impl Viewer {
    /// The token that each of this viewer's forms carries.
    pub fn csrf(&self) -> &str {
        self.0.csrf()
    }
}

impl From<Session> for Viewer {
    fn from(session: Session) -> Self {
        Self(session)
    }
}

impl<S: Sync> FromRequestParts<S> for Viewer {
    type Rejection = Turned;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Turned> {
        Session::from_request_parts(parts, state).await.map(Self)
    }
}

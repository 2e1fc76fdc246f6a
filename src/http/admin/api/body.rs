//! JSON that comes in.

use axum::extract::rejection::{BytesRejection, JsonRejection};
use axum::extract::{FromRequest, Json, Request};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::http::problem::Problem;

/// A request's body: JSON of at most 1 MiB.
#[derive(Debug)]
pub struct Body<T>(pub T);

/// Longest body, in bytes.
pub const MAX_BODY_BYTES: usize = 1 << 20;

impl<T: DeserializeOwned, State: Send + Sync> FromRequest<State> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &State) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = match Bytes::from_request(Request::from_parts(parts.clone(), body), state).await {
            Ok(bytes) => bytes,
            Err(error) => return Err(unread(&error)),
        };
        // Serde would take a list for the fields of an object in their order.
        let is_list = bytes.trim_ascii_start().first() == Some(&b'[');
        match Json::from_request(Request::from_parts(parts, bytes.into()), state).await {
            Ok(Json(_)) if is_list => Err(Problem::invalid("the body is a list, and an object is expected")),
            Ok(Json(value)) => Ok(Self(value)),
            Err(JsonRejection::JsonDataError(error)) => Err(Problem::invalid(cut(&error.body_text()))),
            Err(JsonRejection::JsonSyntaxError(error)) => {
                Err(Problem::malformed(format!("the body is no JSON: {}", cut(&error.body_text()))))
            }
            Err(JsonRejection::MissingJsonContentType(_)) => Err(Problem::not_json()),
            Err(JsonRejection::BytesRejection(error)) => Err(unread(&error)),
            Err(error) => Err(Problem::malformed(error.body_text())),
        }
    }
}

/// The same, with a secret in it: what is wrong is said without what stands there, which the parser would quote.
#[derive(Debug)]
pub struct SecretBody<T>(pub T);

impl<T: DeserializeOwned, State: Send + Sync> FromRequest<State> for SecretBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &State) -> Result<Self, Problem> {
        match Body::from_request(request, state).await {
            Ok(Body(value)) => Ok(Self(value)),
            Err(problem) if problem.status() == http::StatusCode::UNPROCESSABLE_ENTITY => Err(Problem::invalid(
                "the body has other fields than it should, or something else in them: see the description",
            )),
            Err(problem) if problem.status() == http::StatusCode::BAD_REQUEST => {
                Err(Problem::malformed("the body is no JSON"))
            }
            Err(problem) => Err(problem),
        }
    }
}

fn unread(error: &BytesRejection) -> Problem {
    match error.status() {
        http::StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large_for(MAX_BODY_BYTES),
        _ => Problem::malformed(error.body_text()),
    }
}

/// What the parser says, without its own preface.
fn cut(text: &str) -> String {
    text.split_once(": ").map_or(text, |(_, rest)| rest).to_owned()
}

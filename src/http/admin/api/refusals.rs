//! What a route may answer instead of what was asked for.

use utoipa::IntoResponses;

use crate::domain::wire::messages::ProblemDocument;

/// What every route may answer.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "a description, never made")]
pub enum Refused {
    /// What stands in the path, the query or the body cannot be read
    #[response(status = 400)]
    Malformed(ProblemDocument),
    /// No token, or a wrong one
    #[response(status = 401)]
    Unknown(ProblemDocument),
    /// The token is not good for this
    #[response(status = 403)]
    Forbidden(ProblemDocument),
}

/// What a route about one thing may answer.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "a description, never made")]
pub enum Missing {
    /// There is no such thing
    #[response(status = 404)]
    Missing(ProblemDocument),
}

/// What a route that takes a body, or an idempotency key, may answer.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "a description, never made")]
pub enum BadBody {
    /// It is not as things are: what it is about has ended, or something else has to end first; or the same idempotency key is in use at
    /// this moment
    #[response(status = 409)]
    Conflict(ProblemDocument),
    /// The body is too long
    #[response(status = 413)]
    TooLarge(ProblemDocument),
    /// The body is not said to be JSON
    #[response(status = 415)]
    NotJson(ProblemDocument),
    /// The body makes no sense; or the idempotency key was used for another request
    #[response(status = 422)]
    Invalid(ProblemDocument),
}

/// What a route that changes settings may answer.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "a description, never made")]
pub enum Stale {
    /// `If-Match` names another state than the one that is there
    #[response(status = 412)]
    Stale(ProblemDocument),
}

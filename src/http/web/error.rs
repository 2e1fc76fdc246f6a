//! What went wrong, as a page for people. Programs get the same as a problem document.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use maud::{Markup, html};

use super::layout::bare;
use crate::http::problem::Problem;
use crate::store::{IndexError, StoreError};

/// Something that went wrong while a page was made.
#[derive(Debug)]
pub struct Amiss(Problem);

impl Amiss {
    /// There is no such page, or nothing of that name.
    pub fn not_found() -> Self {
        Self(Problem::not_found())
    }
}

impl From<Problem> for Amiss {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<IndexError> for Amiss {
    fn from(error: IndexError) -> Self {
        Self(Problem::internal(&error))
    }
}

impl From<StoreError> for Amiss {
    fn from(error: StoreError) -> Self {
        Self(Problem::internal(&error))
    }
}

impl IntoResponse for Amiss {
    fn into_response(self) -> Response {
        let (title, next) = in_words(&self.0);
        let page = bare(title, &explained(&self.0, next));
        let status = self.0.status();
        // The headers of the problem stay: when to come again, and how to show who one is.
        let mut response = self.0.into_response();
        let mut made = page.into_response();
        *made.status_mut() = status;
        response.headers_mut().remove(header::CONTENT_TYPE);
        response.headers_mut().remove(header::CONTENT_LENGTH);
        made.headers_mut().extend(response.headers().clone());
        made
    }
}

/// A heading, and what to do.
fn in_words(problem: &Problem) -> (&'static str, &'static str) {
    match problem.status() {
        StatusCode::NOT_FOUND => {
            ("Nothing here", "The address may be mistyped, or what it showed was deleted or renamed meanwhile.")
        }
        StatusCode::UNAUTHORIZED => ("Who are you?", "Log in, and open the page again."),
        StatusCode::FORBIDDEN => ("Not allowed", "Who you are logged in as may not do this."),
        StatusCode::TOO_MANY_REQUESTS => ("Too fast", "Wait a moment, and try again."),
        StatusCode::SERVICE_UNAVAILABLE => ("Not now", "Look at what is said above, mend it, and load the page again."),
        status if status.is_server_error() => (
            "Something failed here",
            "The reason stands in the server's log. 'bulbil doctor' on the machine looks for what is wrong and says what to do.",
        ),
        _ => ("That did not work", "Go back, change what is said above, and send it again."),
    }
}

fn explained(problem: &Problem, next: &str) -> Markup {
    html! {
        p.lead { (problem.sentence()) "." }
        p { (next) }
        p { a.button.quiet href="/" { "To the overview" } }
    }
}

/// What is answered where nothing is: a page to a browser, a problem document to a program.
pub(in crate::http) async fn nowhere(request: Request) -> Response {
    answered(Problem::not_found(), &request)
}

/// What is answered where something is that knows no such method.
pub(in crate::http) async fn no_such_method(request: Request) -> Response {
    answered(Problem::not_allowed(), &request)
}

fn answered(problem: Problem, request: &Request) -> Response {
    if request.uri().path().starts_with("/admin/") || !wants_page(request.headers()) {
        return problem.into_response();
    }
    Amiss(problem).into_response()
}

/// A browser is told in a page whatever is refused, also by what knows nothing of pages.
pub(in crate::http) async fn in_a_page(request: Request, next: Next) -> Response {
    let is_page = !request.uri().path().starts_with("/admin/") && wants_page(request.headers());
    let response = next.run(request).await;
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_told = response.status().is_success() || response.status().is_redirection() || kind.starts_with("text/html");
    if !is_page || is_told {
        return response;
    }
    let known = response.extensions().get::<Problem>().cloned();
    let problem = known.unwrap_or_else(|| Problem::malformed("what stands in the address cannot be read"));
    Amiss(problem).into_response()
}

/// Whether somebody looks who reads pages.
fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

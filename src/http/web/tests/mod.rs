//! Pages, as a browser sees them that has logged in and runs no script.

mod back; // the worst day
mod content; // collections, snapshots, files, restores, runs
mod keys; // the recovery sheet, and keys of addresses
mod secrets; // what an application needs and does not keep in its data
mod settings; // peers, invites, schedules, retention, settings

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use http::{HeaderMap, Method, Request, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use tower::ServiceExt;

use crate::clock::{Clock, FixedClock};
use crate::http::admin::tests::{Planes, planes_at};

const PAGE: &str = "text/html,application/xhtml+xml";
const PASSWORD: &str = "correct horse battery";

/// What a page was answered with.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Where the browser is sent, if it is.
    fn to(&self) -> &str {
        self.header("location")
    }

    /// Where the browser goes next.
    fn next(&self) -> &str {
        assert_eq!(self.status, StatusCode::SEE_OTHER, "{}", self.text());
        self.header("location")
    }

    /// By which the form goes on that waits for the password.
    #[track_caller]
    fn ticket(&self) -> String {
        assert_eq!(self.status, StatusCode::FORBIDDEN, "{}", self.text());
        after(&self.text(), r#"name="again-ticket" value=""#).to_owned()
    }

    #[track_caller]
    fn shows(&self, words: &str) {
        assert!(self.text().contains(words), "no {words:?} in: {}", self.text());
    }

    #[track_caller]
    fn hides(&self, words: &str) {
        assert!(!self.text().contains(words), "{words:?} in: {}", self.text());
    }
}

/// What stands after `before`, up to the next quotation mark.
fn after<'a>(text: &'a str, before: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before:?} in: {text}"));
    rest.split('"').next().unwrap()
}

/// A browser that logged in.
struct Visitor {
    planes: Planes,
    clock: Arc<FixedClock>,
    cookie: String,
    csrf: String,
}

impl Visitor {
    async fn at(now: Timestamp) -> Self {
        let clock = Arc::new(FixedClock::new(now));
        let planes = planes_at(Arc::clone(&clock) as Arc<dyn Clock>).await;
        planes.set_password(PASSWORD, now);
        let mut visitor = Self { planes, clock, cookie: String::new(), csrf: String::new() };
        let form = format!("password={}", PASSWORD.replace(' ', "+"));
        let answer = visitor.send(Method::POST, "/login", &form).await;
        visitor.cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
        visitor.csrf = after(&visitor.get("/").await.text(), r#"name="csrf" value=""#).to_owned();
        visitor
    }

    async fn send(&self, method: Method, path: &str, body: &str) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "127.0.0.1:7002")
            .header(header::ACCEPT, PAGE)
            .header(header::COOKIE, &self.cookie)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(body.to_owned()));
        let answer = self.planes.admin.clone().oneshot(request.unwrap()).await.unwrap();
        let (head, body) = answer.into_parts();
        Answer { status: head.status, headers: head.headers, body: to_bytes(body, 1 << 22).await.unwrap().to_vec() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, "").await
    }

    fn later(&self, seconds: i64) {
        self.clock.set(self.clock.now().checked_add(SignedDuration::from_secs(seconds)).unwrap());
    }
}

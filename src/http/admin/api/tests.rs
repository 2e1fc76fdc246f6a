//! Resources, as a program sees them.

mod keys; // what must not be lost, and what must not be given to others
mod secrets; // what an application needs and does not keep in its data

use std::path::PathBuf;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use http::{HeaderMap, Method, Request, StatusCode, header};
use jiff::SignedDuration;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::clock::{Clock, SystemClock};
use crate::domain::access::{Scope, Token};
use crate::http::admin::tests::{Planes, planes_at};
use crate::store::entropy;

const BASE: &str = "/admin/v1";

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    json: Value,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Status and code of a refusal.
    #[track_caller]
    fn refusal(&self) -> (u16, &str) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.json);
        assert!(self.json["title"].as_str().is_some_and(|title| !title.is_empty()), "{}", self.json);
        assert_eq!(self.json["status"], self.status.as_u16());
        (self.status.as_u16(), self.json["code"].as_str().unwrap())
    }
}

/// A program with the owner's token, and a folder that is backed up.
struct Api {
    planes: Planes,
    folder: PathBuf,
}

impl Api {
    async fn new() -> Self {
        let planes = planes_at(std::sync::Arc::new(SystemClock)).await;
        let folder = planes._home.dir.path().join("notes");
        std::fs::create_dir(&folder).unwrap();
        let api = Self { planes, folder };
        let added = api.post("/collections", json!({ "name": "notes", "folders": [api.folder] })).await;
        assert_eq!((added.status, added.header("location")), (StatusCode::CREATED, "/admin/v1/collections/notes"));
        api
    }

    async fn with_snapshots(n: usize) -> Self {
        let api = Self::new().await;
        for n in 1..=n {
            std::fs::write(api.folder.join(format!("file-{n}")), format!("what stands in {n}\n")).unwrap();
            api.back_up().await;
        }
        api
    }

    async fn raw(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Body) -> http::Response<Body> {
        let mut request =
            Request::builder().method(method).uri(format!("{BASE}{path}")).header(header::HOST, "127.0.0.1:7002");
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.header(header::AUTHORIZATION, self.planes.token.header().as_str());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.planes.admin.clone().oneshot(request.body(body).unwrap()).await.unwrap()
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let (head, body) = self.raw(method, path, headers, body.into()).await.into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        let json = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
        Answer { status: head.status, headers: head.headers, json }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Body::empty()).await
    }

    async fn json(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Value) -> Answer {
        let mut all = vec![("content-type", "application/json")];
        all.extend(headers);
        self.send(method, path, &all, body.to_string()).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.json(Method::POST, path, &[], body).await
    }

    /// A run, when it has ended.
    async fn ended(&self, begun: &Answer) -> Value {
        assert_eq!(begun.status, StatusCode::ACCEPTED, "{}", begun.json);
        let path = begun.header("location").strip_prefix(BASE).unwrap().to_owned();
        for _ in 0..2000 {
            let run = self.get(&path).await.json;
            if !run["ended_at"].is_null() {
                return run;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{path} does not end");
    }

    async fn back_up(&self) {
        let run = self.ended(&self.post("/runs", json!({ "kind": "backup", "collection": "notes" })).await).await;
        assert_eq!(run["state"], "done", "{run}");
    }

    /// All pages of a list, and what is done between two of them.
    async fn sequences(&self, limit: u32, between: impl AsyncFn(usize)) -> Vec<u64> {
        let (mut seen, mut cursor, mut page) = (Vec::new(), String::new(), 0);
        loop {
            let answer = self.get(&format!("/collections/notes/snapshots?limit={limit}{cursor}")).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
            seen.extend(answer.json["items"].as_array().unwrap().iter().map(|item| item["sequence"].as_u64().unwrap()));
            let Some(next) = answer.json["next_cursor"].as_str() else { return seen };
            cursor = format!("&cursor={next}");
            page += 1;
            between(page).await;
        }
    }

    /// A token that may this.
    fn token(&self, name: &str, scope: Scope) -> String {
        let (token, now) = (Token::random(&mut entropy()), SystemClock.now());
        let until = Some(now + SignedDuration::from_hours(2));
        let add = |all: &mut crate::domain::access::Admission| {
            all.add_token(name, &token, scope.into(), until, now).map(drop)
        };
        self.planes._home.store.change_admission(add).unwrap();
        format!("Bearer {}", *token.reveal())
    }
}

#[tokio::test]
async fn a_repeated_post_is_done_once_for_whoever_sent_it() {
    let api = Api::with_snapshots(1).await;
    let order = json!({ "kind": "verify", "collection": "notes" });
    let key = ("idempotency-key", "nightly");
    let first = api.json(Method::POST, "/runs", &[key], order.clone()).await;
    api.ended(&first).await;
    let again = api.json(Method::POST, "/runs", &[key], order.clone()).await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (StatusCode::ACCEPTED, "true"));
    assert_eq!((&again.json, again.header("location")), (&first.json, first.header("location")));
    // The same key for something else is a mistake of who sends it, and nothing is done.
    let other = api.json(Method::POST, "/runs", &[key], json!({ "kind": "prune", "collection": "notes" })).await;
    assert_eq!(other.refusal().0, 422);
    let elsewhere = api.json(Method::POST, "/exports", &[key], order.clone()).await;
    assert_eq!(elsewhere.refusal().0, 422);
    // Somebody else's key is another one, whatever it is called.
    let theirs = api.token("theirs", Scope::Operate);
    let other = api.json(Method::POST, "/runs", &[key, ("authorization", &theirs)], order.clone()).await;
    assert_eq!((other.status, other.header("idempotent-replayed")), (StatusCode::ACCEPTED, ""));
    assert_ne!(other.json["id"], first.json["id"]);
    // Who may not is refused, also with the key of one who may.
    let reader = api.token("reader", Scope::Read);
    let refused = api.json(Method::POST, "/runs", &[key, ("authorization", &reader)], order.clone()).await;
    assert_eq!(refused.refusal(), (403, "wrong-scope"));
    let odd = api.json(Method::POST, "/runs", &[("idempotency-key", "")], order).await;
    assert_eq!(odd.refusal().0, 400);
}

#[tokio::test]
async fn a_refusal_is_not_repeated_nor_a_secret_nor_anything_to_another_token_of_the_name() {
    let api = Api::with_snapshots(1).await;
    let key = ("idempotency-key", "k");
    let order = json!({ "kind": "backup", "collection": "later" });
    assert_eq!(api.json(Method::POST, "/runs", &[key], order.clone()).await.refusal().0, 404);
    api.post("/collections", json!({ "name": "later", "folders": [api.folder] })).await;
    api.ended(&api.json(Method::POST, "/runs", &[key], order).await).await;

    let admin = api.token("ci", Scope::Admin);
    let make = json!({ "name": "child", "scopes": ["admin"], "expires": "1h" });
    let headers = [("idempotency-key", "mk"), ("authorization", admin.as_str())];
    let made = api.json(Method::POST, "/tokens", &headers, make.clone()).await;
    let refused = made.json["detail"].as_str().unwrap_or_default().to_owned();
    assert_eq!(made.status, StatusCode::CREATED, "{refused}");
    assert!(made.json["token"].is_string());
    let again = api.json(Method::POST, "/tokens", &headers, make.clone()).await;
    assert_eq!(again.refusal(), (409, "done-already"));
    assert!(!again.json.to_string().contains("bulbil_"), "{}", again.json);
    // Another token that is called the same is another caller.
    let verify = json!({ "kind": "verify", "collection": "notes" });
    let headers = [("idempotency-key", "v"), ("authorization", admin.as_str())];
    api.ended(&api.json(Method::POST, "/runs", &headers, verify.clone()).await).await;
    assert_eq!(api.send(Method::DELETE, "/tokens/ci", &[], "").await.status, StatusCode::NO_CONTENT);
    let reader = api.token("ci", Scope::Read);
    let headers = [("idempotency-key", "v"), ("authorization", reader.as_str())];
    assert_eq!(api.json(Method::POST, "/runs", &headers, verify).await.refusal(), (403, "wrong-scope"));
}

#[tokio::test]
async fn whoever_may_operate_takes_no_protection_away() {
    let api = Api::with_snapshots(2).await;
    let operate = api.token("nightly", Scope::Operate);
    let headers = [("authorization", operate.as_str())];
    let change = async |body: Value| api.json(Method::PATCH, "/snapshots/notes@1", &headers, body).await;
    assert_eq!(change(json!({ "pinned": true, "tags": ["keep"] })).await.status, StatusCode::OK);
    for less in
        [json!({ "pinned": false }), json!({ "tags": [] }), json!({ "tags": ["other"] }), json!({ "unflag": true })]
    {
        assert_eq!(change(less.clone()).await.refusal(), (403, "wrong-scope"), "{less}");
    }
    assert_eq!(change(json!({ "tags": ["keep", "other"] })).await.status, StatusCode::OK);
    assert_eq!(
        api.json(Method::PATCH, "/snapshots/notes@1", &[], json!({ "pinned": false })).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn what_was_begun_is_done_and_on_record_also_if_who_asked_hangs_up() {
    let api = Api::with_snapshots(3).await;
    let mut asked = Box::pin(api.send(Method::DELETE, "/snapshots/notes@1", &[], ""));
    assert!(futures_util::poll!(&mut asked).is_pending());
    drop(asked);
    let order = json!({ "kind": "verify", "collection": "notes" });
    let key = ("idempotency-key", "hung-up");
    let headers = [key];
    let mut asked = Box::pin(api.json(Method::POST, "/runs", &headers, order.clone()));
    assert!(futures_util::poll!(&mut asked).is_pending());
    drop(asked);
    for _ in 0..2000 {
        let audit = api.get("/audit?limit=50").await.json["items"].to_string();
        if audit.contains("snapshot delete") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(api.get("/audit?limit=50").await.json["items"].to_string().contains("snapshot delete"));
    assert_eq!(api.sequences(9, async |_| ()).await, [3, 2]);
    // Done once, whether it has ended by now or not.
    let mut again = api.json(Method::POST, "/runs", &[key], order.clone()).await;
    for _ in 0..2000 {
        if again.status == StatusCode::ACCEPTED {
            break;
        }
        assert_eq!(again.refusal(), (409, "in-progress"));
        tokio::time::sleep(Duration::from_millis(5)).await;
        again = api.json(Method::POST, "/runs", &[key], order.clone()).await;
    }
    assert_eq!(again.header("idempotent-replayed"), "true");
    let runs = api.get("/runs?kind=verify").await.json;
    assert_eq!(runs["items"].as_array().unwrap().len(), 1, "{runs}");
}

#[tokio::test]
async fn what_goes_on_is_told_no_longer_than_the_token_is_good() {
    let api = Api::with_snapshots(1).await;
    let caller = api.token("watcher", Scope::Read);
    let store = &api.planes._home.store;
    // A run that somebody else is at, and that does not end.
    let collection = store.index.collections().await.unwrap().remove(0);
    let begun = crate::store::index::Begin {
        collection: Some(&collection.id),
        kind: crate::domain::run::RunKind::Fetch,
        target: None,
        cause: crate::store::index::Cause::Command,
        by: None,
        pid: std::process::id(),
        at: SystemClock.now(),
    };
    let run = store.index.begin_run(begun).await.unwrap();
    let headers = [("authorization", caller.as_str())];
    let body = api.raw(Method::GET, &format!("/runs/{run}/events"), &headers, Body::empty()).await.into_body();
    assert_eq!(api.send(Method::DELETE, "/tokens/watcher", &[], "").await.status, StatusCode::NO_CONTENT);
    let told = tokio::time::timeout(Duration::from_secs(20), to_bytes(body, 1 << 20)).await;
    assert!(told.is_ok(), "it is told on and on");
}

#[tokio::test]
async fn each_file_of_a_folder_is_listed_once_and_can_be_had_whatever_it_is_called() {
    use std::os::unix::ffi::OsStrExt;
    let api = Api::new().await;
    let names: [&[u8]; 5] = [b"a\nb", b"a\\nb", b"bad\xff", b"plus+ %41", b"zoo"];
    for name in names {
        std::fs::write(api.folder.join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
    }
    std::fs::hard_link(api.folder.join("zoo"), api.folder.join("zoo-too")).unwrap();
    api.back_up().await;
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("/snapshots/notes@1/files?limit=1{cursor}")).await.json;
        found.extend(page["items"].as_array().unwrap().iter().cloned());
        assert!(found.len() <= 6, "it does not end");
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let mut contents = Vec::new();
    for file in &found {
        let query = match file["path_base64"].as_str() {
            Some(raw) => serde_html_form::to_string([("path_base64", raw)]).unwrap(),
            None => serde_html_form::to_string([("path", file["path"].as_str().unwrap())]).unwrap(),
        };
        let (head, body) =
            api.raw(Method::GET, &format!("/snapshots/notes@1/content?{query}"), &[], Body::empty()).await.into_parts();
        assert_eq!(head.status, StatusCode::OK, "{file}");
        contents.push(to_bytes(body, 99).await.unwrap().to_vec());
    }
    let wanted: Vec<&[u8]> = names.into_iter().chain([&b"zoo"[..]]).collect();
    assert_eq!(contents, wanted);
    // A page that begins at what is gone by now goes on behind it.
    let gone = data_encoding::BASE64URL_NOPAD.encode(b"notes/b");
    let rest = api.get(&format!("/snapshots/notes@1/files?cursor={gone}")).await.json;
    assert_eq!(rest["items"].as_array().unwrap().len(), 4);
    for (path, code) in
        [("files?cursor=*", 400), ("content?path=a&path_base64=YQ", 400), ("changes?since=notes@1&cursor=*", 400)]
    {
        assert_eq!(api.get(&format!("/snapshots/notes@1/{path}")).await.refusal().0, code, "{path}");
    }
}

#[tokio::test]
async fn a_list_that_changes_between_its_pages_loses_nothing_and_repeats_nothing() {
    let api = Api::with_snapshots(7).await;
    assert_eq!(api.sequences(3, async |_| ()).await, [7, 6, 5, 4, 3, 2, 1]);
    let between = async |page| {
        // The last one that was shown, and an older one, go; a new one comes.
        if page == 1 {
            for gone in ["notes@6", "notes@2"] {
                assert_eq!(
                    api.send(Method::DELETE, &format!("/snapshots/{gone}"), &[], "").await.status,
                    StatusCode::NO_CONTENT
                );
            }
            std::fs::write(api.folder.join("new"), "new").unwrap();
            api.back_up().await;
        }
    };
    assert_eq!(api.sequences(2, between).await, [7, 6, 5, 4, 3, 1]);
    for garbage in ["limit=0", "limit=501", "limit=many", "cursor=", "cursor=x", "cursor=-1", "cursor=9", "page=2"] {
        let answer = api.get(&format!("/collections/notes/snapshots?{garbage}")).await;
        assert_eq!(answer.refusal().0, 400, "{garbage}");
    }
}

#[tokio::test]
async fn what_somebody_else_changed_meanwhile_is_not_overwritten() {
    let api = Api::with_snapshots(1).await;
    for (path, method, one, other) in [
        ("/collections/notes/settings", Method::PATCH, json!({ "excludes": ["*.a"] }), json!({ "excludes": ["*.b"] })),
        (
            "/collections/notes/retention",
            Method::PUT,
            json!({ "policy": { "daily": 7 } }),
            json!({ "policy": { "last": 1 } }),
        ),
        (
            "/collections/notes/schedule",
            Method::PUT,
            json!({ "schedules": [{ "kind": "backup", "cron": "@daily" }] }),
            json!({ "schedules": [] }),
        ),
        ("/snapshots/notes@1", Method::PATCH, json!({ "pinned": true }), json!({ "tags": ["mine"] })),
    ] {
        let tag = api.get(path).await.header("etag").to_owned();
        assert!(tag.starts_with('"'), "{path}: {tag}");
        let changed = api.json(method.clone(), path, &[("if-match", &tag)], one).await;
        assert_eq!(changed.status, StatusCode::OK, "{path}: {}", changed.json);
        assert_ne!(changed.header("etag"), tag, "{path}");
        let late = api.json(method.clone(), path, &[("if-match", &tag)], other.clone()).await;
        assert_eq!(late.refusal(), (412, "stale"), "{path}");
        let now = api.get(path).await;
        assert_eq!((now.header("etag"), &now.json), (changed.header("etag"), &changed.json), "{path}");
        let right = api.json(method, path, &[("if-match", changed.header("etag"))], other).await;
        assert_eq!(right.status, StatusCode::OK, "{path}");
    }
    // What a verification finds out is no change of what an admin said.
    let tag = api.get("/snapshots/notes@1").await.header("etag").to_owned();
    api.ended(&api.post("/runs", json!({ "kind": "verify-data", "collection": "notes" })).await).await;
    let after = api.get("/snapshots/notes@1").await;
    assert!(after.json["verified_at"].is_string(), "{}", after.json);
    assert_eq!(after.header("etag"), tag);
}

#[tokio::test]
async fn what_is_needed_is_not_deleted() {
    let api = Api::with_snapshots(3).await;
    let delete = async |name: &str| api.send(Method::DELETE, &format!("/snapshots/{name}"), &[], "").await;
    assert_eq!(delete("notes@3").await.refusal(), (409, "last-good"));
    api.json(Method::PATCH, "/snapshots/notes@2", &[], json!({ "pinned": true })).await;
    assert_eq!(delete("notes@2").await.refusal(), (409, "pinned"));
    assert_eq!(delete("notes@1").await.status, StatusCode::NO_CONTENT);
    assert_eq!(delete("notes@1").await.refusal(), (404, "not-found"));
    api.json(Method::PATCH, "/snapshots/notes@2", &[], json!({ "pinned": false })).await;
    // Of the last two, two requests at once delete one at most.
    let (one, other) = tokio::join!(delete("notes@2"), delete("notes@3"));
    let gone = [one.status, other.status].iter().filter(|status| **status == StatusCode::NO_CONTENT).count();
    assert_eq!((gone, api.sequences(9, async |_| ()).await.len()), (1, 1));
}

#[tokio::test]
async fn a_download_of_a_token_that_is_revoked_breaks_off() {
    let api = Api::new().await;
    let bytes: Vec<u8> = (0..8u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(api.folder.join("large"), &bytes).unwrap();
    api.back_up().await;
    let token = api.token("guest", Scope::Content);
    let path = "/snapshots/notes@1/content?path=large";
    let answer = api.raw(Method::GET, path, &[("authorization", &token)], Body::empty()).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let mut body = answer.into_body().into_data_stream();
    assert!(futures_util::StreamExt::next(&mut body).await.unwrap().is_ok());
    let revoked = api.send(Method::DELETE, "/tokens/guest", &[], Body::empty()).await;
    assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    let rest: Vec<_> = futures_util::StreamExt::collect(body).await;
    assert!(rest.iter().any(Result::is_err), "all of it came");
}

#[tokio::test]
async fn a_download_is_whole_or_breaks_off() {
    let api = Api::new().await;
    let bytes: Vec<u8> = (0..3u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(api.folder.join("large \"ü\".bin"), &bytes).unwrap();
    api.back_up().await;
    let path = "/snapshots/notes@1/content?path=large%20%22%C3%BC%22.bin";
    let download = async || {
        let (head, body) = api.raw(Method::GET, path, &[], Body::empty()).await.into_parts();
        assert_eq!((head.status, head.headers["content-length"].to_str().unwrap()), (StatusCode::OK, "3145728"));
        assert_eq!(head.headers["content-disposition"], "attachment; filename*=UTF-8''large%20%22%C3%BC%22.bin");
        assert_eq!(head.headers["content-type"], "application/octet-stream");
        to_bytes(body, 4 << 20).await
    };
    assert!(download().await.unwrap() == bytes, "other bytes came");
    // One byte of the largest chunk is another one.
    let mut chunks: Vec<PathBuf> = Vec::new();
    let mut folders = vec![api.planes._home.home().join("chunks")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() { folders.push(entry) } else { chunks.push(entry) }
        }
    }
    let chunk = chunks.into_iter().max_by_key(|chunk| chunk.metadata().unwrap().len()).unwrap();
    let mut sealed = std::fs::read(&chunk).unwrap();
    let middle = sealed.len() / 2;
    sealed[middle] ^= 1;
    std::fs::remove_file(&chunk).unwrap();
    std::fs::write(&chunk, sealed).unwrap();
    // Before its first byte that is said, after it the answer breaks off.
    let (head, body) = api.raw(Method::GET, path, &[], Body::empty()).await.into_parts();
    let said = head.status == StatusCode::CONFLICT;
    assert!(said || to_bytes(body, 4 << 20).await.is_err(), "a damaged file came to its end");
    for (path, refusal) in [
        ("/snapshots/notes@1/content?path=nothing", (404, "not-found")),
        ("/snapshots/notes@1/content?path=../../keys/identity", (422, "invalid")),
        ("/snapshots/notes@1/content", (400, "malformed")),
        ("/snapshots/notes@9/content?path=a", (404, "not-found")),
    ] {
        assert_eq!(api.get(path).await.refusal(), refusal, "{path}");
    }
}

#[tokio::test]
async fn whatever_is_sent_what_is_wrong_with_it_is_said_in_a_problem_document() {
    let api = Api::with_snapshots(1).await;
    let long = "x".repeat(3 << 20);
    for (path, headers, body, status) in [
        ("/runs", vec![("content-type", "application/json")], "", 400),
        ("/runs", vec![("content-type", "application/json")], "{", 400),
        ("/runs", vec![("content-type", "application/json")], "[]", 422),
        ("/runs", vec![("content-type", "application/json")], r#"{"kind":"explode","collection":"notes"}"#, 422),
        ("/runs", vec![("content-type", "application/json")], r#"{"kind":"backup"}"#, 422),
        ("/runs", vec![("content-type", "application/json")], r#"{"kind":"backup","collection":"notes","x":1}"#, 422),
        ("/runs", vec![("content-type", "application/json")], r#"{"kind":"backup","collection":7}"#, 422),
        ("/runs", vec![("content-type", "application/json")], r#"{"kind":"backup","collection":"nothing"}"#, 404),
        ("/runs", vec![("content-type", "text/plain")], r#"{"kind":"backup","collection":"notes"}"#, 415),
        ("/runs", vec![], r#"{"kind":"backup","collection":"notes"}"#, 415),
        ("/runs", vec![("content-type", "application/json")], &long, 413),
        ("/runs/1/cancel", vec![], "", 409),
        ("/runs/999/cancel", vec![], "", 404),
        ("/runs/one/cancel", vec![], "", 404),
        ("/nothing", vec![], "", 404),
        ("/restores", vec![("content-type", "application/json")], r#"{"snapshot":"notes","target":"relative"}"#, 422),
        ("/restores", vec![("content-type", "application/json")], r#"{"snapshot":"notes","target":""}"#, 422),
    ] {
        let answer = api.send(Method::POST, path, &headers, body.to_owned()).await;
        let shown = &body[..body.len().min(60)];
        assert_eq!(answer.refusal().0, status, "{path} {shown}: {}", answer.json);
    }
    let wrong_method = api.send(Method::DELETE, "/runs", &[], "").await;
    assert_eq!((wrong_method.refusal(), wrong_method.header("allow")), ((405, "method-not-allowed"), "GET,HEAD,POST"));
    // Nothing came of any of it.
    assert_eq!(api.get("/runs").await.json["items"].as_array().unwrap().len(), 1);
    let home = api.planes._home.home();
    for inside in [home.clone(), home.join("new")] {
        let answer = api.post("/restores", json!({ "snapshot": "notes", "target": inside })).await;
        assert_eq!(answer.refusal().0, 409, "{}", answer.json);
        assert_eq!(api.post("/exports", json!({ "output": inside })).await.refusal().0, 422);
    }
    assert!(!home.join("new").exists());
}

#[tokio::test]
async fn live_folders_come_back_by_a_run_that_looks_first() {
    let api = Api::with_snapshots(2).await;
    std::fs::write(api.folder.join("file-1"), "damaged\n").unwrap();
    let order = |more: Value| {
        let mut order = json!({ "collection": "notes" });
        order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        order
    };
    for (wrong, refusal) in [
        (json!({ "snapshot": "77" }), (404, "not-found")),
        (json!({ "paths": ["/etc"] }), (422, "invalid")),
        (json!({ "drop_sessions": true }), (422, "invalid")),
        (json!({ "stop": "true" }), (422, "invalid")),
    ] {
        assert_eq!(api.post("/recoveries", order(wrong.clone())).await.refusal(), refusal, "{wrong}");
    }
    let looked = api.ended(&api.post("/recoveries", order(json!({ "dry_run": true }))).await).await;
    assert_eq!((&looked["kind"], &looked["state"]), (&"recover".into(), &"done".into()), "{looked}");
    assert_eq!(looked["report"]["report"]["chosen"]["sequence"], 2);
    assert_eq!(std::fs::read_to_string(api.folder.join("file-1")).unwrap(), "damaged\n");
    let done = api.ended(&api.post("/recoveries", order(json!({ "snapshot": "1" }))).await).await;
    assert_eq!((&done["state"], &done["report"]["report"]["ending"]), (&"done".into(), &"recovered".into()), "{done}");
    assert_eq!(std::fs::read_to_string(api.folder.join("file-1")).unwrap(), "what stands in 1\n");
    assert!(!api.folder.join("file-2").exists());
    for path in done["report"]["written"].as_array().unwrap() {
        assert!(PathBuf::from(path.as_str().unwrap()).is_file(), "{path}");
    }
}

#[tokio::test]
async fn what_is_kept_of_a_peer_is_changed_one_at_a_time() {
    let api = Api::new().await;
    api.planes._home.peer("beta").await;
    let before = api.get("/peers/beta/mirror").await;
    let tag = before.header("etag").to_owned();
    let only = json!({ "follow": before.json["follow"], "collections": ["notes"] });
    let put = async |body: Value| api.json(Method::PUT, "/peers/beta/mirror", &[("if-match", &tag)], body).await;
    let changed = put(only.clone()).await;
    assert_eq!((changed.status, &changed.json), (StatusCode::OK, &only));
    assert_ne!(changed.header("etag"), tag);
    assert_eq!(put(json!({ "follow": false, "collections": ["all"] })).await.refusal(), (412, "stale"));
    assert_eq!(api.get("/peers/beta/mirror").await.json, only);
    assert_eq!(api.get("/peers/nobody/mirror").await.refusal(), (404, "not-found"));
}

#[tokio::test]
async fn standbys_and_presets_are_resources() {
    let api = Api::new().await;
    assert_eq!(api.get("/standbys").await.json["items"], json!([]));
    assert_eq!(api.get("/standbys/notes").await.refusal(), (404, "not-found"));
    let own = api.post("/standbys", json!({ "collection": "notes", "into": "/srv/laid-out" })).await;
    assert_eq!(own.refusal(), (409, "not-as-things-are"));
    let hook = json!({ "collection": "notes", "into": "/srv/laid-out", "hook": "true" });
    assert_eq!(api.post("/standbys", hook).await.refusal(), (422, "invalid"), "no command comes in from here");
    assert_eq!(api.post("/standbys/notes/run", json!({})).await.refusal(), (404, "not-found"));
    let deleted = api.send(Method::DELETE, "/standbys/notes", &[], Body::empty()).await;
    assert_eq!(deleted.refusal(), (404, "not-found"));
    let presets = api.get("/presets").await.json;
    assert!(presets["items"].as_array().unwrap().iter().any(|one| one["name"] == "quilltap"), "{presets}");
    assert!(api.get("/presets/quilltap").await.json["text"].as_str().unwrap().contains("name = \"quilltap\""));
    assert_eq!(api.get("/presets/none").await.refusal(), (404, "not-found"));
    assert_eq!(api.get("/presets/..%2f..%2fetc").await.refusal(), (404, "not-found"));
    let promote = api.post("/collections/notes/promote", json!({ "data": api.folder })).await;
    assert_eq!(promote.refusal(), (409, "not-as-things-are"), "nothing to go on from");
    let relative = api.post("/collections/notes/promote", json!({ "data": "notes" })).await;
    assert_eq!(relative.refusal(), (422, "invalid"));
}

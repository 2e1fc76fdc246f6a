//! Who is told of alerts, and what counts as wrong: said in the browser, and by REST.

use axum::body::{Body, to_bytes};
use http::{HeaderMap, Request, header};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::worker::alarm::{AlertConfig, Alerting};

const CHANNELS: &str = "/admin/v1/alerts/channels";
const SETTINGS: &str = "/admin/v1/alerts/settings";

impl Bench {
    /// With a file that says something.
    fn restarted_with(&mut self, config: AlertConfig) {
        let alerting = Alerting::new(self.planes.plane.store().clone(), config).unwrap();
        let plane = self.planes.plane.clone().with_alerting(alerting);
        (self.visitor.planes.admin, self.visitor.planes.plane) = (crate::http::admin_router(plane.clone()), plane);
    }

    async fn put_settings(&self, body: Value, tag: Option<&str>) -> (StatusCode, HeaderMap, Value) {
        let method = if body.is_null() { Method::GET } else { Method::PUT };
        let mut request = Request::builder()
            .method(method)
            .uri(SETTINGS)
            .header(header::HOST, "127.0.0.1:7002")
            .header(header::AUTHORIZATION, self.planes.token.header().as_str())
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(tag) = tag {
            request = request.header(header::IF_MATCH, tag);
        }
        let answer = self.planes.admin.clone().oneshot(request.body(Body::from(body.to_string())).unwrap());
        let (head, body) = answer.await.unwrap().into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        (head.status, head.headers, serde_json::from_slice(&body).unwrap())
    }
}

/// Takes posts, and answers each with 204: its address.
async fn hook() -> (String, tokio::sync::mpsc::UnboundedReceiver<String>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/a-secret", listener.local_addr().unwrap());
    let (heard, hears) = tokio::sync::mpsc::unbounded_channel();
    tokio_util::task::TaskTracker::new().spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut text = Vec::new();
            while !String::from_utf8_lossy(&text).contains("\"since\"") {
                let mut part = [0; 4096];
                match stream.read(&mut part).await {
                    Ok(n @ 1..) => text.extend_from_slice(&part[..n]),
                    _ => break,
                }
            }
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
            let _ = heard.send(String::from_utf8_lossy(&text).into_owned());
        }
    });
    (address, hears)
}

#[tokio::test]
async fn somebody_is_told_by_what_was_typed_here_and_nothing_shows_the_address_again() {
    let bench = Bench::new().await;
    let (address, mut heard) = hook().await;
    bench.get("/alerts").await.shows("Nobody is told when something is wrong");
    for (fields, at) in [
        (vec![("kind", "webhook"), ("name", "ops"), ("address", "ftp://example.org/a-secret")], "address-wrong"),
        (vec![("kind", "webhook"), ("name", "ops"), ("address", "http://abc.onion/a-secret")], "address-wrong"),
        (vec![("kind", "webhook"), ("name", "mail"), ("address", &address)], "name-wrong"),
        (vec![("kind", "mail"), ("name", "m"), ("to", "a@b.org"), ("from", "a@b.org")], "server-wrong"),
    ] {
        let wrong = bench.post("/alerts/channels/new", &fields).await;
        assert!(wrong.status.is_client_error(), "{fields:?}");
        wrong.shows(at);
        wrong.hides("a-secret");
    }
    let fields = [("kind", "webhook"), ("name", "ops"), ("address", address.as_str())];
    assert_eq!(bench.post("/alerts/channels/new", &fields).await.next(), "/alerts?done=add#channels");
    let page = bench.get("/alerts?done=add").await;
    page.shows("It is told from now on");
    page.shows("127.0.0.1");
    page.hides("Nobody is told");
    page.hides("a-secret");
    let tested = bench.post("/alerts/channels/ops/test", &[]).await;
    tested.shows("ops: the address took it");
    assert!(heard.recv().await.unwrap().contains("\"state\":\"test\""));
    bench.get("/alerts/channels/ops/remove").await.shows("It is the last one");
    assert_eq!(bench.post("/alerts/channels/ops/remove", &[]).await.next(), "/alerts?done=remove#channels");
    bench.get("/alerts").await.shows("Nobody is told when something is wrong");
    let audit = bench.audit().await;
    for entry in
        ["browser: alert channel add ops", "browser: alert test ops: taken", "browser: alert channel remove ops"]
    {
        assert!(audit.iter().any(|one| one == entry), "{entry}: {audit:?}");
    }
}

#[tokio::test]
async fn channels_by_rest_beside_those_of_the_file() {
    let mut bench = Bench::new().await;
    bench.restarted_with(AlertConfig { command: Some("true".to_owned()), ..AlertConfig::default() });
    let mail = json!({ "kind": "mail", "name": "me", "server": "mail.example.org", "from": "b@example.org", "to": "a@example.org", "user": "b", "password": "pass-word" });
    let (status, made) = bench.api(Method::POST, CHANNELS, mail.clone()).await;
    assert_eq!(
        (status, &made["to"], &made["source"]),
        (StatusCode::CREATED, &json!("a@example.org"), &json!("admin-plane"))
    );
    let ping = json!({ "kind": "ping", "name": "watch", "address": "https://example.org/a-secret" });
    assert_eq!(bench.api(Method::POST, CHANNELS, ping).await.0, StatusCode::CREATED);
    for (body, status, code) in [
        (mail, 409, "name-taken"),
        (json!({ "kind": "webhook", "name": "command", "address": "https://example.org/" }), 409, "name-taken"),
        (json!({ "kind": "webhook", "name": "a b", "address": "https://example.org/" }), 422, "invalid"),
        (json!({ "kind": "webhook", "name": "x", "address": "gopher://example.org/a-secret" }), 422, "invalid"),
        (json!({ "kind": "command", "name": "x", "command": "true" }), 422, "invalid"),
        (
            json!({ "kind": "mail", "name": "x", "server": "mail.example.org", "tls": "none", "from": "a@b.org", "to": "a@b.org" }),
            422,
            "invalid",
        ),
    ] {
        let (answered, problem) = bench.api(Method::POST, CHANNELS, body.clone()).await;
        assert_eq!((answered.as_u16(), problem["code"].as_str()), (status, Some(code)), "{body}: {problem}");
        assert!(!problem.to_string().contains("a-secret"), "{problem}");
    }
    let all = bench.api(Method::GET, CHANNELS, Value::Null).await.1;
    let names: Vec<_> = all["items"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["command", "me", "watch"]);
    assert!(!all.to_string().contains("a-secret") && !all.to_string().contains("pass-word"), "{all}");
    // A sign of life is no test: it says that all is well.
    let (status, problem) = bench.api(Method::POST, &format!("{CHANNELS}/watch/test"), Value::Null).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("ping")));
    let (status, told) = bench.api(Method::POST, &format!("{CHANNELS}/command/test"), Value::Null).await;
    assert_eq!((status, &told["taken"]), (StatusCode::OK, &json!(true)));
    // What the owner of the machine wrote down is not taken away from here.
    let (status, problem) = bench.api(Method::DELETE, &format!("{CHANNELS}/command"), Value::Null).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("in-file")));
    for name in ["webhook", "nobody"] {
        let path = format!("{CHANNELS}/{name}");
        assert_eq!(bench.api(Method::DELETE, &path, Value::Null).await.0, StatusCode::NOT_FOUND);
        assert_eq!(bench.api(Method::GET, &path, Value::Null).await.0, StatusCode::NOT_FOUND);
    }
    assert_eq!(bench.api(Method::DELETE, &format!("{CHANNELS}/me"), Value::Null).await.0, StatusCode::NO_CONTENT);
    // It outlives the index, which is made again from files.
    let names = |bench: &Bench| bench.planes.plane.ways().lines().iter().map(|l| l.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&bench), ["command", "watch"]);
}

#[tokio::test]
async fn what_counts_as_wrong_is_said_by_rest_and_on_a_page_unless_the_file_says_it() {
    let mut bench = Bench::new().await;
    let (_, headers, before) = bench.put_settings(Value::Null, None).await;
    assert_eq!(before["free_percent"], json!({ "value": 5, "source": "default" }));
    let tag = headers["etag"].to_str().unwrap().to_owned();
    let (status, _, after) = bench.put_settings(json!({ "free_percent": 9 }), Some(&tag)).await;
    assert_eq!((status, &after["free_percent"]), (StatusCode::OK, &json!({ "value": 9, "source": "admin-plane" })));
    assert_eq!(bench.planes.plane.bounds().free_percent, 9, "it holds at once");
    let stale = bench.put_settings(json!({ "free_percent": 10 }), Some(&tag)).await;
    assert_eq!(stale.0, StatusCode::PRECONDITION_FAILED);
    for wrong in [json!({ "free_percent": 51 }), json!({ "silent_peer_hours": 0 }), json!({ "ping_minutes": 1441 })] {
        let (status, _, problem) = bench.put_settings(wrong, None).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    }
    let facts = bench.api(Method::GET, "/admin/v1/configuration", Value::Null).await.1;
    assert!(facts["items"].as_array().unwrap().is_empty(), "this plane was made without a configuration");
    // On the page.
    bench.get("/alerts/settings").await.shows("value=\"9\"");
    let wrong = bench.post("/alerts/settings", &[("free_percent", "much")]).await;
    wrong.shows("free_percent-wrong");
    let saved = bench.post("/alerts/settings", &[("silent_peer_hours", "12"), ("free_percent", "")]).await;
    assert_eq!(saved.next(), "/alerts?done=settings#settings");
    let bounds = bench.planes.plane.bounds();
    assert_eq!((bounds.silent_peer_hours, bounds.free_percent), (12, 5));
    // What stands in the file has the last word.
    bench.restarted_with(AlertConfig { silent_peer_hours: Some(48), ..AlertConfig::default() });
    assert_eq!(bench.planes.plane.bounds().silent_peer_hours, 48);
    let (status, _, problem) = bench.put_settings(json!({ "silent_peer_hours": 12 }), None).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("in-file")));
    assert_eq!(bench.put_settings(json!({ "silent_peer_hours": 48 }), None).await.0, StatusCode::OK);
    bench.get("/alerts/settings").await.shows("stands in bulbil.toml");
    let audit = bench.audit().await;
    let entry = "browser: alert settings silent_peer_hours 12, free_percent by itself, ping_minutes by itself";
    assert!(audit.iter().any(|one| one == entry), "{audit:?}");
}

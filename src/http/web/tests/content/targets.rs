//! Targets, alerts and what is in force: in the browser, and by REST.

use axum::body::{Body, to_bytes};
use http::{Request, header};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::worker::alarm::{AlertConfig, Alerting};

const SECRET: &str = "the/secret+of=this";

impl Bench {
    /// An empty folder beside.
    fn disk(&self, name: &str) -> PathBuf {
        let disk = self.folder.with_file_name(name);
        std::fs::create_dir(&disk).unwrap();
        disk.canonicalize().unwrap()
    }

    /// As a program asks, with the owner's token.
    pub(super) async fn api(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "127.0.0.1:7002")
            .header(header::AUTHORIZATION, self.planes.token.header().as_str())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()));
        let answer = self.planes.admin.clone().oneshot(request.unwrap()).await.unwrap();
        let (head, body) = answer.into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        (head.status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// Begins a run, and how it ended.
    async fn done(&self, order: Value) -> Value {
        let (status, run) = self.api(Method::POST, "/admin/v1/runs", order).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{run}");
        self.ended(&format!("/runs/{}", run["id"])).await;
        self.api(Method::GET, &format!("/admin/v1/runs/{}", run["id"]), Value::Null).await.1
    }

    pub(super) async fn audit(&self) -> Vec<String> {
        let entries = self.planes.plane.store().audit(50).await.unwrap();
        entries.iter().map(|entry| format!("{}: {} {}", entry.who, entry.what, entry.subjects.join(", "))).collect()
    }
}

#[tokio::test]
async fn from_no_target_to_a_copy_and_back() {
    let bench = Bench::with_snapshots(1).await;
    let empty = bench.get("/targets").await;
    empty.shows("There is no copy in another place yet");
    empty.shows("three copies, on two kinds of storage");
    bench.get("/").await.shows("href=\"/targets\"");
    // What is wrong is said beside the field, and what was typed stays; not the secret.
    let typed = [("name", "nas"), ("location", "/no/such/disk")];
    let wrong = bench.post("/new/target", &typed).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    wrong.shows("location-wrong");
    wrong.shows("a copy is never put where the disk should be");
    wrong.shows("value=\"nas\"");
    let keyed = [("name", "nas"), ("location", "s3://x"), ("access_key_id", "AKIA7"), ("secret_access_key", SECRET)];
    let wrong = bench.post("/new/target", &keyed).await;
    wrong.shows("location-wrong");
    wrong.shows("value=\"AKIA7\"");
    wrong.hides(SECRET);
    let lacking = bench.post("/new/target", &[("name", "c"), ("location", "s3://bucket")]).await;
    lacking.shows("access_key_id-wrong");
    let disk = bench.disk("nas");
    let fields = [("name", "nas"), ("location", disk.to_str().unwrap())];
    assert_eq!(bench.post("/new/target", &fields).await.next(), "/targets/nas?done=add");
    bench.get("/targets/nas?done=add").await.shows("Nothing is copied there yet: press");
    let page = bench.get("/targets").await;
    page.shows("nothing was copied yet");
    page.shows("/collections/notes/schedule");
    let copied = bench.post("/targets/nas/runs", &[("kind", "copy")]).await;
    assert_eq!(bench.ended(copied.next()).await, RunState::Done);
    let run = bench.get(copied.next()).await;
    run.shows("notes to nas: ");
    run.shows("1 snapshot added");
    bench.get("/targets").await.shows("every copy has the newest snapshot");
    bench.get("/").await.shows("1 proved copy");
    bench.back_up().await;
    bench.get("/targets").await.shows("1 snapshot behind");
    // All about one: where, how each copy is, how much it takes, what was done, and what can be done.
    bench.get("/targets").await.shows("href=\"/targets/nas\"");
    let one = bench.get("/targets/nas").await;
    for words in [
        "1 snapshot behind",
        "Takes there",
        disk.to_str().unwrap(),
        "Copy now",
        "Say what would go",
        "/targets/nas/forget",
        copied.next(),
    ] {
        one.shows(words);
    }
    one.hides("A copy is not right");
    bench.get("/runs?target=nas").await.shows("Only at target nas");
    assert_eq!(bench.get("/targets/nobody").await.status, StatusCode::NOT_FOUND);
    // A chunk is damaged there: it is found, and mended.
    let chunk = biggest(&disk.join("chunks"));
    std::fs::write(&chunk, b"broken").unwrap();
    let looked = bench.post("/targets/nas/runs", &[("kind", "verify-data")]).await;
    assert_eq!(bench.ended(looked.next()).await, RunState::Partly);
    bench.get(looked.next()).await.shows("1 chunk missing or damaged");
    bench.get("/targets").await.shows("1 copy is not as it should be");
    let one = bench.get("/targets/nas").await;
    one.shows("1 copy is not as it should be");
    one.shows("A copy is not right: target nas: notes");
    one.shows("mend what is damaged");
    let mended = bench.post("/targets/nas/runs", &[("kind", "repair")]).await;
    bench.ended(mended.next()).await;
    bench.get(mended.next()).await.shows("1 chunk damaged, and written anew");
    let pruned = bench.post("/targets/nas/runs", &[("kind", "prune-look")]).await;
    assert_eq!(bench.ended(pruned.next()).await, RunState::Done);
    bench.get(pruned.next()).await.shows("Would be removed");
    bench.get("/runs").await.shows("target nas");
    // Not there any more: said in words.
    std::fs::rename(&disk, disk.with_file_name("away")).unwrap();
    let failed = bench.post("/targets/nas/runs", &[("kind", "copy")]).await;
    assert_eq!(bench.ended(failed.next()).await, RunState::Failed);
    bench.get("/targets").await.shows("Is its disk mounted");
    bench.get("/targets/nas/forget").await.shows("The copies stay where they are");
    assert_eq!(bench.post("/targets/nas/forget", &[]).await.next(), "/targets?done=forget");
    bench.get("/targets").await.shows("There is no copy in another place yet");
    let audit = bench.audit().await;
    for entry in ["browser: target add nas", "browser: verify-target target nas", "browser: target remove nas"] {
        assert!(audit.iter().any(|one| one == entry), "{entry}: {audit:?}");
    }
    let refused = bench.post("/copies", &[]).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    refused.shows("There is no target yet");
}

/// The longest file below a folder.
fn biggest(below: &Path) -> PathBuf {
    let mut folders = vec![below.to_owned()];
    let mut found: Option<(u64, PathBuf)> = None;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let about = entry.metadata().unwrap();
            match about.is_dir() {
                true => folders.push(entry.path()),
                false => found = found.max(Some((about.len(), entry.path()))),
            }
        }
    }
    found.unwrap().1
}

#[tokio::test]
async fn targets_by_rest() {
    let bench = Bench::with_snapshots(1).await;
    let disk = bench.disk("usb");
    let targets = "/admin/v1/targets";
    let make = |name: &str, location: &str| json!({ "name": name, "location": location });
    for (body, status, code) in [
        (make("a b", disk.to_str().unwrap()), 422, "invalid"),
        (make("usb", "not/absolute"), 422, "invalid"),
        (make("usb", "s3://bucket"), 422, "invalid"),
        (make("notes", disk.to_str().unwrap()), 409, "name-taken"),
        (make("usb", bench.folder.to_str().unwrap()), 422, "invalid"),
        (json!({ "name": "usb", "location": disk, "collections": ["poems"] }), 404, "not-found"),
        (json!({ "name": "usb", "location": disk, "endpoint": "https://s3.example.org" }), 422, "invalid"),
    ] {
        let (answered, problem) = bench.api(Method::POST, targets, body.clone()).await;
        assert_eq!((answered.as_u16(), problem["code"].as_str()), (status, Some(code)), "{body}: {problem}");
    }
    assert_eq!(bench.api(Method::GET, targets, Value::Null).await.1["items"], json!([]));
    let (status, problem) = bench.api(Method::POST, "/admin/v1/runs", json!({ "kind": "copy" })).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("no-target")));
    let (status, made) = bench.api(Method::POST, targets, make("usb", disk.to_str().unwrap())).await;
    assert_eq!((status, &made["copies"][0]["behind"]), (StatusCode::CREATED, &json!(1)), "{made}");
    assert_eq!(bench.api(Method::POST, targets, make("usb", disk.to_str().unwrap())).await.0, StatusCode::OK);
    let run = bench.done(json!({ "kind": "copy", "verify": "all" })).await;
    assert_eq!((&run["state"], &run["collection"]), (&json!("done"), &json!("notes")), "{run}");
    assert_eq!(run["report"][0]["result"]["exported"]["new_snapshots"], 1);
    let usb = bench.api(Method::GET, "/admin/v1/targets/usb", Value::Null).await.1;
    assert_eq!((&usb["copies"][0]["behind"], &usb["copies"][0]["verified"]["sequence"]), (&json!(0), &json!(1)));
    assert!(usb["copies"][0]["full_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{usb}");
    let runs = bench.api(Method::GET, "/admin/v1/runs?target=usb", Value::Null).await.1;
    assert_eq!(runs["items"].as_array().map(Vec::len), Some(1), "a copy to all is one to each: {runs}");
    assert_eq!(bench.api(Method::GET, "/admin/v1/runs?target=nas", Value::Null).await.0, StatusCode::NOT_FOUND);
    let run = bench.done(json!({ "kind": "verify-target", "target": "usb", "sample_percent": 50 })).await;
    assert_eq!((&run["target"], &run["report"]["repaired"]), (&json!("usb"), &json!(0)));
    let run = bench.done(json!({ "kind": "prune-target", "target": "usb", "at_once": true })).await;
    assert_eq!((&run["state"], &run["report"]["dry_run"]), (&json!("done"), &json!(false)));
    for order in [
        json!({ "kind": "copy", "target": "nas" }),
        json!({ "kind": "verify-target", "target": "nas" }),
        json!({ "kind": "prune-target", "target": "nas" }),
    ] {
        assert_eq!(bench.api(Method::POST, "/admin/v1/runs", order).await.0, StatusCode::NOT_FOUND);
    }
    let order = json!({ "kind": "verify-target", "target": "usb", "sample_percent": 0 });
    assert_eq!(bench.api(Method::POST, "/admin/v1/runs", order).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    // Somebody writes there: it waits for nobody, and is no failure of the target.
    let lock = bench.planes.plane.store().lock_target("usb").unwrap();
    let order = json!({ "kind": "prune-target", "target": "usb" });
    let (status, problem) = bench.api(Method::POST, "/admin/v1/runs", order).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("busy")), "{problem}");
    let run = bench.done(json!({ "kind": "copy", "target": "usb", "collection": "notes" })).await;
    assert_eq!(run["state"], "failed");
    let usb = bench.api(Method::GET, "/admin/v1/targets/usb", Value::Null).await.1;
    assert_eq!(usb["copies"][0]["failed"], Value::Null, "{usb}");
    drop(lock);
    assert_eq!(bench.api(Method::DELETE, "/admin/v1/targets/usb", Value::Null).await.0, StatusCode::NO_CONTENT);
    assert_eq!(bench.api(Method::DELETE, "/admin/v1/targets/usb", Value::Null).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn whether_alerts_get_through_is_tried_and_told_way_by_way() {
    let mut bench = Bench::new().await;
    let nobody = bench.get("/alerts").await;
    nobody.shows("Nobody is told when something is wrong");
    nobody.hides("Send a test alert");
    nobody.shows("Have yourself told");
    let (status, problem) = bench.api(Method::POST, "/admin/v1/alerts/test", Value::Null).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("no-channel")));
    // Nothing listens on port 1.
    let config = AlertConfig {
        webhook: Some("http://127.0.0.1:1/a-secret".to_owned()),
        command: Some("true".to_owned()),
        ..AlertConfig::default()
    };
    let store = bench.planes.plane.store().clone();
    let plane = bench.planes.plane.clone().with_alerting(Alerting::new(store, config).unwrap());
    (bench.visitor.planes.admin, bench.visitor.planes.plane) = (crate::http::admin_router(plane.clone()), plane);
    bench.get("/alerts").await.hides("a-secret");
    let tested = bench.post("/alerts/test", &[]).await;
    assert_eq!(tested.status, StatusCode::OK);
    tested.shows("webhook: it did not get through: the address for alerts was not reached");
    tested.shows("command: the command ran, and ended well");
    tested.hides("a-secret");
    let (status, told) = bench.api(Method::POST, "/admin/v1/alerts/test", Value::Null).await;
    assert_eq!(status, StatusCode::OK);
    let told: Vec<_> = told["items"].as_array().unwrap().iter().map(|one| (&one["name"], &one["taken"])).collect();
    assert_eq!(told, [(&json!("webhook"), &json!(false)), (&json!("command"), &json!(true))]);
    let channels = bench.api(Method::GET, "/admin/v1/alerts/channels", Value::Null).await.1;
    let known = channels["items"].as_array().unwrap().iter().filter(|one| one["source"] == "file").count();
    assert!(known == 2 && !channels.to_string().contains("a-secret"), "{channels}");
    assert!(bench.audit().await.contains(&"browser: alert test webhook: failed, command: taken".to_owned()));
}

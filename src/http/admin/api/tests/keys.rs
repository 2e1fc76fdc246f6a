use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::*;
use crate::domain::audit::Who;
use crate::domain::crypto::onion::OnionKey;
use crate::http::admin::change::{AskedChange, Change, Restarts};
use crate::http::admin::network::DirectOnly;
use crate::store::{OnionName, Rotate};

/// What the audit log says of a deed: to what, the newest first.
async fn recorded(api: &Api, what: &str) -> Vec<Vec<String>> {
    let entries = api.planes._home.store.audit(usize::MAX).await.unwrap();
    entries.into_iter().rev().filter(|entry| entry.what == what).map(|entry| entry.subjects).collect()
}

async fn bytes(answer: http::Response<Body>) -> Vec<u8> {
    to_bytes(answer.into_body(), 1 << 20).await.unwrap().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recovery_sheet_is_for_admins_and_the_key_is_on_it_only_if_it_is_given() {
    let api = Api::with_snapshots(1).await;
    let reader = api.token("reader", Scope::Read);
    let refused = api.send(Method::GET, "/recovery-sheet", &[("authorization", &reader)], Body::empty()).await;
    assert_eq!(refused.refusal(), (403, "wrong-scope"));
    let key = api.planes._home.recovery.to_text();

    let sheet = api.get("/recovery-sheet?collections=notes").await;
    assert_eq!((sheet.status, sheet.header("cache-control")), (StatusCode::OK, "no-store"), "{}", sheet.json);
    assert_eq!(sheet.json["collections"][0]["name"], "notes");
    assert!(sheet.json["collections"][0]["newest"].as_str().unwrap().starts_with("notes@1 of "));
    assert!(sheet.json["steps"][1]["commands"][2].as_str().unwrap().starts_with("bulbil restore notes --target "));
    assert_eq!(sheet.json["recovery_key_id"], api.planes._home.store.keys.recovery.id()[..8]);
    assert!(!sheet.json.to_string().contains(key.as_str()));
    assert_eq!(api.get("/recovery-sheet?collections=poems").await.refusal(), (404, "not-found"));

    let json = [("content-type", "application/json"), ("idempotency-key", "print")];
    let order = json!({ "recovery_key": key.to_lowercase().replace('-', " ") }).to_string();
    let printed = api.raw(Method::POST, "/recovery-sheet", &json, Body::from(order.clone())).await;
    assert!(printed.status() == StatusCode::OK && printed.headers()["cache-control"] == "no-store");
    let policies: Vec<_> = printed.headers().get_all("content-security-policy").iter().collect();
    let policy = policies[0].to_str().unwrap().to_owned();
    assert!(policies.len() == 1 && policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(policy.ends_with("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(String::from_utf8(bytes(printed).await).unwrap().contains(key.as_str()));
    // It is not kept for whoever sends the same again.
    let again = api.send(Method::POST, "/recovery-sheet", &json, order).await;
    assert_eq!(again.refusal(), (409, "done-already"));

    let other = crate::domain::crypto::recovery::RecoveryKey::generate(&mut entropy()).to_text();
    for (wrong, why) in [(other.as_str(), "another instance"), (&key[..40], "typing error"), ("letmein", "begins with")]
    {
        let refused = api.post("/recovery-sheet", json!({ "recovery_key": wrong })).await;
        assert_eq!(refused.refusal(), (422, "invalid"));
        let told = refused.json.to_string();
        assert!(told.contains(why) && !told.contains(wrong), "{told}");
    }
    let wanted = [vec!["with the recovery key"], vec!["notes", "without the recovery key"]];
    assert_eq!(recorded(&api, "recovery sheet").await, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_an_address_is_given_out_once_as_c_tor_has_it() {
    let api = Api::new().await;
    let store = &api.planes._home.store;
    assert_eq!(api.get("/onions/peer").await.json, json!({ "service": "peer", "host": null }));
    assert_eq!(api.get("/onions/nobody").await.refusal(), (404, "not-found"));
    for scope in [Scope::Content, Scope::Operate] {
        let token = api.token(scope.word(), scope);
        let refused = api.send(Method::POST, "/onions/peer/export", &[("authorization", &token)], Body::empty()).await;
        assert_eq!(refused.refusal(), (403, "wrong-scope"));
    }
    assert!(recorded(&api, "onion export").await.is_empty());

    let once = [("idempotency-key", "export")];
    let given = api.raw(Method::POST, "/onions/peer/export", &once, Body::empty()).await;
    assert!(given.status() == StatusCode::OK && given.headers()["cache-control"] == "no-store");
    assert_eq!(given.headers()["content-disposition"], "attachment; filename=\"onion-peer.tar\"");
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("onion-peer.tar");
    fs::write(&archive, bytes(given).await).unwrap();
    let unpacked = Command::new("tar").arg("-xpf").arg(&archive).current_dir(dir.path()).output().unwrap();
    assert!(unpacked.status.success() && unpacked.stderr.is_empty(), "{unpacked:?}");
    let folder = dir.path().join("onion-peer");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() == 3 && files.iter().all(|file| mode(file) == 0o600), "{files:?}");

    // It opens to the address that this instance has.
    let key = OnionKey::from_ctor_secret(&fs::read(folder.join("hs_ed25519_secret_key")).unwrap()).unwrap();
    assert_eq!(key.public(), store.known_onion_key(OnionName::Peer).unwrap().unwrap().public());
    let host = fs::read_to_string(folder.join("hostname")).unwrap();
    assert_eq!(api.get("/onions/peer").await.json["host"], host.trim());
    assert_eq!(api.get("/onions/admin").await.json["host"], Value::Null);

    let again = api.send(Method::POST, "/onions/peer/export", &once, Body::empty()).await;
    assert_eq!(again.refusal(), (409, "done-already"));
    assert_eq!(recorded(&api, "onion export").await, [["peer"]]);
}

/// A server that hears that it is to start again, and is at the address of its key for peers.
async fn restartable() -> (Api, tokio::sync::mpsc::Receiver<AskedChange>) {
    let mut api = Api::new().await;
    let (restarts, heard) = Restarts::new();
    let mut plane = api.planes.plane.clone().with_restarts(Some(restarts));
    let key = api.planes._home.store.onion_key(OnionName::Peer).unwrap();
    plane.network =
        std::sync::Arc::new(DirectOnly { address: format!("http://{}", key.address(80).unwrap().reveal()) });
    api.planes.admin = crate::http::admin_router(plane);
    (api, heard)
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_replaced_while_the_server_rests_or_not_at_all() {
    let (api, mut heard) = restartable().await;
    assert_eq!(api.get("/keys").await.json["key_version"], 1);
    let operator = api.token("operator", Scope::Operate);
    let asked = json!({ "keys": ["envelope", "identity"] });
    let headers = [("authorization", operator.as_str())];
    assert_eq!(
        api.json(Method::POST, "/keys/rotations", &headers, asked.clone()).await.refusal(),
        (403, "wrong-scope")
    );
    for nothing in [json!({ "keys": [] }), json!({ "keys": ["recovery"] }), json!({})] {
        assert_eq!(api.post("/keys/rotations", nothing).await.refusal(), (422, "invalid"));
    }
    // A command that backs up by itself is not disturbed.
    let backup = api.planes._home.store.lock_backup().unwrap();
    assert_eq!(api.post("/keys/rotations", asked.clone()).await.refusal(), (409, "busy"));
    drop(backup);
    assert!(heard.try_recv().is_err(), "nothing was asked for yet");

    let begun = api.post("/keys/rotations", asked.clone()).await;
    assert_eq!((begun.status, begun.header("location")), (StatusCode::ACCEPTED, "/admin/v1/keys"), "{}", begun.json);
    assert_eq!(begun.json["started_at"], api.get("/instance").await.json["started_at"]);
    assert_eq!(api.post("/keys/rotations", asked.clone()).await.refusal(), (409, "in-progress"));
    let AskedChange { change, by } = heard.try_recv().unwrap();
    assert!(matches!(change, Change::Rotate(Rotate { envelope: true, identity: true })), "{change:?}");
    assert_eq!(by, Who::AdminToken);

    // Whoever runs the server does not start it again.
    let refused = Api::new().await.post("/keys/rotations", asked).await;
    assert_eq!(refused.refusal(), (409, "no-restart"));
    assert!(
        refused.json["detail"].as_str().unwrap().contains("'bulbil rotate-key envelope identity'"),
        "{}",
        refused.json
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_taken_over_at_once_or_while_the_server_rests() {
    let (api, mut heard) = restartable().await;
    let store = api.planes._home.store.clone();
    let now = |name| store.known_onion_key(name).unwrap().map(|key| key.public());
    let (known, key) = (now(OnionName::Peer), OnionKey::random(&mut entropy()));
    let text = |key: &OnionKey| data_encoding::BASE64.encode(&key.to_ctor_secret());
    let order = |key: &OnionKey, replace: bool| json!({ "secret_key": text(key), "replace": replace });
    let host = key.address(80).unwrap().reveal();

    for wrong in ["no base64!", "bm8ga2V5"] {
        let refused = api.post("/onions/peer/import", json!({ "secret_key": wrong, "replace": true })).await;
        assert_eq!(refused.refusal(), (422, "invalid"));
        assert!(!refused.json.to_string().contains(wrong), "{}", refused.json);
    }
    assert_eq!(api.post("/onions/peer/import", order(&key, false)).await.refusal(), (409, "has-address"));
    // Nobody is at the admin's address: it has none yet.
    let admin = api.post("/onions/admin/import", order(&key, false)).await;
    assert_eq!((admin.status, &admin.json), (StatusCode::OK, &json!({ "host": host, "restart": null })));
    assert_eq!((now(OnionName::Admin), now(OnionName::Peer)), (Some(key.public()), known));
    assert_eq!(recorded(&api, "onion import").await, [["admin"]]);
    assert_eq!(api.post("/onions/peer/import", order(&key, true)).await.refusal(), (409, "other-service"));

    let other = OnionKey::random(&mut entropy());
    let begun = api.post("/onions/peer/import", order(&other, true)).await;
    assert_eq!(begun.status, StatusCode::ACCEPTED, "{}", begun.json);
    assert_eq!(begun.json["restart"]["started_at"], api.get("/instance").await.json["started_at"]);
    assert_eq!(now(OnionName::Peer), known, "not as long as the server is at it");
    let Change::Onion(OnionName::Peer, asked) = heard.try_recv().unwrap().change else { panic!("another change") };
    assert_eq!(asked.public(), other.public());
    // The same once more is nothing to do.
    store.replace_onion_key(OnionName::Peer, &asked).unwrap();
    let again = api.post("/onions/peer/import", order(&other, false)).await;
    assert_eq!((again.status, &again.json["restart"]), (StatusCode::OK, &Value::Null));
}

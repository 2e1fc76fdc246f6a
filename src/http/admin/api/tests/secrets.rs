//! Secrets of applications: what goes in, what is listed, and who gets what out.

use super::*;
use crate::domain::id::CollectionId;
use crate::store::index::NewCollection;
use crate::store::testing::peer;

const PLACE: &str = "/collections/notes/secrets";
const VALUE: &str = "a pepper that nobody else may see";

/// The items of the list, as someone sees them who may see.
async fn listed(api: &Api) -> Vec<Value> {
    let list = api.get(PLACE).await;
    assert_eq!(list.status, StatusCode::OK, "{}", list.json);
    assert!(!list.json.to_string().contains(VALUE), "{}", list.json);
    list.json["items"].as_array().unwrap().clone()
}

async fn reveal(api: &Api, name: &str, body: Value) -> Answer {
    api.post(&format!("{PLACE}/{name}/reveal"), body).await
}

#[tokio::test]
async fn what_was_stored_comes_out_as_it_was_and_the_list_never_has_it() {
    let api = Api::new().await;
    assert!(listed(&api).await.is_empty());
    let made = api.post(PLACE, json!({ "name": "PEPPER", "value": format!("{VALUE}\n") })).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.json);
    let first = made.json["fingerprint"].as_str().unwrap().to_owned();
    // The same again is known.
    let again = api.post(PLACE, json!({ "name": "PEPPER", "value": VALUE })).await;
    assert_eq!(
        (again.status, &again.json["new"], &again.json["fingerprint"]),
        (StatusCode::OK, &json!(false), &json!(first))
    );
    assert_eq!(api.post(PLACE, json!({ "name": "PEPPER", "value": "another one" })).await.status, StatusCode::CREATED);
    // What is no text, and a text that is a file: to the byte.
    let bytes = data_encoding::BASE64.encode(&[0, 159, 146, 150, 10, 10]);
    api.post(PLACE, json!({ "name": "app.key", "value_base64": bytes })).await;
    let text = data_encoding::BASE64.encode(b"line\r\nline\n");
    api.post(PLACE, json!({ "name": "app.txt", "value_base64": text })).await;

    let items = listed(&api).await;
    let brief = |item: &Value| format!("{} {} {}", item["name"], item["state"], item["form"]).replace('"', "");
    let briefs: Vec<String> = items.iter().map(brief).collect();
    let expected = ["PEPPER in-use variable", "PEPPER earlier variable", "app.key in-use file", "app.txt in-use file"];
    assert_eq!(briefs, expected);
    assert_eq!(items[1]["fingerprint"], first);

    let shown = reveal(&api, "PEPPER", json!({})).await;
    assert_eq!((shown.status, &shown.json["value"]), (StatusCode::OK, &json!("another one")));
    assert_eq!(shown.header("cache-control"), "no-store");
    let earlier = reveal(&api, "PEPPER", json!({ "fingerprint": first[..8] })).await;
    assert_eq!((&earlier.json["value"], &earlier.json["fingerprint"]), (&json!(VALUE), &json!(first)));
    let shown = reveal(&api, "app.key", json!({})).await.json;
    assert_eq!((&shown["value"], &shown["value_base64"]), (&Value::Null, &json!(bytes)));
    assert_eq!(reveal(&api, "app.txt", json!({})).await.json["value"], "line\r\nline\n");
}

#[tokio::test]
async fn a_value_stands_in_no_record_no_error_and_no_answer_that_is_kept() {
    let api = Api::new().await;
    let base64 = data_encoding::BASE64.encode(VALUE.as_bytes());
    // Whatever is wrong with the request, nothing of it is said again.
    for body in [
        json!({ "name": "PEPPER", "valeu": VALUE }),
        json!({ "name": "PEPPER", "value": [VALUE] }),
        json!({ "name": "PEPPER", "form": VALUE, "value": VALUE }),
        json!({ VALUE: "PEPPER" }),
        json!({ "name": "PEPPER", "value": VALUE, "value_base64": base64 }),
        json!({ "name": "PEPPER", "value_base64": VALUE }),
        json!({ "name": "PEPPER" }),
        json!({ "name": "two words", "value": VALUE }),
        json!({ "name": "PEPPER", "value": format!("{VALUE}{}", "x".repeat(64 << 10)) }),
        json!({ "name": "PEPPER", "value": " \n" }),
    ] {
        let refused = api.post(PLACE, body).await;
        assert_eq!(refused.refusal(), (422, "invalid"), "{}", refused.json);
        assert!(!refused.json.to_string().contains(VALUE), "{}", refused.json);
    }
    let broken = [("content-type", "application/json")];
    let refused = api.send(Method::POST, PLACE, &broken, format!("{{\"name\": \"PEPPER\", \"value\": {VALUE}")).await;
    assert_eq!(refused.refusal(), (400, "malformed"));
    assert!(!refused.json.to_string().contains(VALUE), "{}", refused.json);
    let huge = json!({ "name": "PEPPER", "value": VALUE.repeat(40_000) });
    assert_eq!(api.post(PLACE, huge).await.refusal(), (413, "too-large"));
    assert!(listed(&api).await.is_empty(), "nothing was stored");

    let key = [("idempotency-key", "k")];
    let keep = json!({ "name": "PEPPER", "value": VALUE });
    let made = api.json(Method::POST, PLACE, &key, keep.clone()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.json);
    let again = api.json(Method::POST, PLACE, &key, keep).await;
    assert_eq!(
        (again.status, again.header("idempotent-replayed"), &again.json),
        (StatusCode::CREATED, "true", &made.json)
    );
    let show = format!("{PLACE}/PEPPER/reveal");
    let key = [("idempotency-key", "show")];
    let shown = api.json(Method::POST, &show, &key, json!({})).await;
    assert_eq!(shown.json["value"], VALUE);
    let again = api.json(Method::POST, &show, &key, json!({})).await;
    assert_eq!(again.refusal(), (409, "done-already"));
    assert!(!again.json.to_string().contains(VALUE), "{}", again.json);

    let audit = api.get("/audit").await.json;
    let audit: Vec<String> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|entry| format!("{} {}", entry["what"], entry["subjects"]))
        .collect();
    let short = &made.json["fingerprint"].as_str().unwrap()[..8];
    let of = |what: &str| format!("\"secret {what}\" [\"notes\",\"PEPPER {short}\"]");
    assert_eq!(audit[audit.len() - 2..], [of("add"), of("show")]);
    // Nor anywhere in the home: not in the audit log, not in the index.
    let mut folders = vec![api.planes._home.home()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(bytes) = std::fs::read(&path) {
                let has = |needle: &str| bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
                assert!(!has(VALUE) && !has(&base64), "{}", path.display());
            }
        }
    }
}

#[tokio::test]
async fn only_the_admin_gives_sees_and_forgets_secrets() {
    let api = Api::new().await;
    api.post(PLACE, json!({ "name": "PEPPER", "value": VALUE })).await;
    let (one, elsewhere) = (format!("{PLACE}/PEPPER"), format!("{PLACE}/PEPPER/elsewhere"));
    let show = format!("{one}/reveal");
    for scope in [Scope::Read, Scope::Operate, Scope::Content] {
        let token = api.token(scope.word(), scope);
        let by = [("authorization", token.as_str())];
        let list = api.send(Method::GET, PLACE, &by, "").await;
        assert_eq!((list.status, &list.json["items"][0]["name"]), (StatusCode::OK, &json!("PEPPER")), "{scope}");
        for (method, path) in [
            (Method::POST, PLACE),
            (Method::POST, &show),
            (Method::DELETE, &one),
            (Method::PUT, &elsewhere),
            (Method::DELETE, &elsewhere),
        ] {
            let refused = api.json(method, path, &by, json!({ "name": "PEPPER", "value": "x" })).await;
            assert_eq!(refused.refusal(), (403, "wrong-scope"), "{scope} {path}");
        }
    }
    assert_eq!(listed(&api).await[0]["state"], "in-use");
    let admin = api.token("boss", Scope::Admin);
    let shown = api.json(Method::POST, &show, &[("authorization", &admin)], json!({})).await;
    assert_eq!(shown.json["value"], VALUE);
}

#[tokio::test]
async fn what_snapshots_need_is_removed_by_force_alone_and_what_is_not_there_or_not_ours_is_said() {
    let api = Api::new().await;
    api.post(PLACE, json!({ "name": "PEPPER", "value": VALUE })).await;
    std::fs::write(api.folder.join("a"), "a").unwrap();
    api.back_up().await;
    assert_eq!(listed(&api).await[0]["snapshots"], json!([1]));
    let one = format!("{PLACE}/PEPPER");
    let needed = api.send(Method::DELETE, &one, &[], "").await;
    assert_eq!(needed.refusal(), (409, "needed"));
    assert!(needed.json["detail"].as_str().unwrap().contains("snapshots 1 of notes"), "{}", needed.json);
    assert_eq!(api.send(Method::DELETE, &format!("{one}?fingerprint=00&force=true"), &[], "").await.refusal().0, 404);
    assert_eq!(api.send(Method::DELETE, &format!("{one}?force=maybe"), &[], "").await.refusal().0, 400);

    let said = api.send(Method::PUT, &format!("{one}/elsewhere"), &[], "").await;
    assert_eq!((&said.json["elsewhere"], &said.json["stored"]), (&json!(true), &json!(true)), "{}", said.json);
    assert_eq!(listed(&api).await[1]["state"], "elsewhere");
    let said = api.send(Method::DELETE, &format!("{one}/elsewhere"), &[], "").await;
    assert_eq!((said.status, &said.json["elsewhere"]), (StatusCode::OK, &json!(false)));
    assert_eq!(api.send(Method::PUT, &format!("{PLACE}/two%20words/elsewhere"), &[], "").await.refusal().0, 422);

    let removed = api.send(Method::DELETE, &format!("{one}?force=true"), &[], "").await;
    assert_eq!((removed.status, removed.json["removed"].as_array().unwrap().len()), (StatusCode::OK, 1));
    assert!(listed(&api).await.is_empty());
    for (method, path) in [(Method::DELETE, one.clone()), (Method::POST, format!("{one}/reveal"))] {
        let gone = api.json(method, &path, &[], json!({})).await;
        assert_eq!(gone.refusal(), (404, "not-found"));
        assert!(gone.json["detail"].as_str().unwrap().contains("no such secret of notes"), "{}", gone.json);
    }
    assert_eq!(api.get("/collections/poems/secrets").await.refusal().0, 404);
    assert_eq!(api.post("/collections/poems/secrets/PEPPER/reveal", json!({})).await.refusal().0, 404);

    // Of what another instance leads nothing is stored here.
    let origin = peer("beta").id;
    let theirs =
        NewCollection { id: CollectionId::random(&mut entropy()), name: "theirs".to_owned(), origin, settings: None };
    api.planes._home.store.index.add_collection(&theirs).await.unwrap();
    let keep = json!({ "name": "PEPPER", "value": VALUE });
    let place = "/collections/theirs/secrets";
    assert_eq!(api.get(place).await.json["items"], json!([]));
    for (method, path) in [
        (Method::POST, place.to_owned()),
        (Method::DELETE, format!("{place}/PEPPER")),
        (Method::PUT, format!("{place}/PEPPER/elsewhere")),
    ] {
        let refused = api.json(method, &path, &[], keep.clone()).await;
        assert_eq!(refused.refusal(), (409, "not-ours"));
        assert!(refused.json["detail"].as_str().unwrap().contains("belongs to another instance"), "{}", refused.json);
    }
}

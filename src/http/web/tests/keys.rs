//! The recovery sheet, and keys of addresses.

use http::{Method, StatusCode};

use super::{Answer, Visitor};
use crate::domain::audit::Who;
use crate::domain::crypto::onion::OnionKey;
use crate::domain::crypto::recovery::RecoveryKey;
use crate::http::admin::change::{AskedChange, Change, Restarts};
use crate::http::admin_router;
use crate::store::{OnionName, Rotate, entropy};

async fn visitor() -> Visitor {
    Visitor::at("2026-11-27T12:00:00Z".parse().unwrap()).await
}

impl Visitor {
    async fn post(&self, path: &str, form: &str) -> Answer {
        self.send(Method::POST, path, &format!("csrf={}&{form}", self.csrf)).await
    }

    /// Whether the audit log says so.
    async fn recorded(&self, what: &str, subject: &str) -> bool {
        let entries = self.planes._home.store.audit(usize::MAX).await.unwrap();
        entries.iter().any(|entry| entry.what == what && entry.subjects.iter().any(|known| known == subject))
    }
}

#[tokio::test]
async fn the_sheet_is_printed_with_what_was_ticked_and_the_key_that_was_typed() {
    let visitor = visitor().await;
    for name in ["notes", "poems"] {
        visitor.planes._home.collection(name).await;
    }
    visitor.get("/keys").await.shows(r#"href="/keys/sheet""#);
    visitor.get("/keys/sheet").await.shows(r#"name="collections" value="poems""#);
    let plain = visitor.post("/keys/sheet", "recovery_key=+&collections=poems").await;
    assert_eq!((plain.status, plain.header("cache-control")), (StatusCode::OK, "no-store"), "{}", plain.text());
    plain.shows("<h2>Collection poems</h2>");
    plain.shows("cannot be printed");
    plain.hides("Collection notes");
    plain.hides("<script");
    // Pictures and styles of its own are all that a browser may show.
    let policy = plain.header("content-security-policy").to_owned();
    assert!(policy.contains("img-src data:;") && !policy.contains("'self'") && !policy.contains("unsafe"), "{policy}");

    let key = visitor.planes._home.recovery.to_text();
    let with_key = visitor.post("/keys/sheet", &format!("recovery_key={}", key.as_str())).await;
    assert_eq!(with_key.status, StatusCode::OK, "{}", with_key.text());
    with_key.shows(&key);
    with_key.shows("data:image/png;base64,");
    with_key.shows("Collection notes");

    let other = RecoveryKey::generate(&mut entropy()).to_text();
    let wrong = visitor.post("/keys/sheet", &format!("recovery_key={}&collections=poems", other.as_str())).await;
    assert_eq!((wrong.status, wrong.to()), (StatusCode::UNPROCESSABLE_ENTITY, ""));
    wrong.shows("recovery_key-wrong");
    wrong.shows("another instance");
    wrong.shows(r#"value="poems" checked"#);
    wrong.hides(&other);
    for (subject, is_there) in [
        ("with the recovery key", true),
        ("without the recovery key", true),
        ("poems", true),
        (&other, false),
        (&key, false),
    ] {
        assert_eq!(visitor.recorded("recovery sheet", subject).await, is_there, "{subject}");
    }
}

#[tokio::test]
async fn the_key_of_an_address_is_a_download() {
    let visitor = visitor().await;
    visitor.get("/keys").await.shows(r#"href="/keys/onion""#);
    visitor.get("/keys/onion").await.shows(r#"action="/keys/onion/admin/export""#);
    let given = visitor.post("/keys/onion/admin/export", "back=/keys/onion").await;
    assert_eq!((given.status, given.header("content-type")), (StatusCode::OK, "application/x-tar"), "{}", given.text());
    assert!(given.header("content-disposition").starts_with("attachment;"));
    let key = visitor.planes._home.store.known_onion_key(OnionName::Admin).unwrap().unwrap();
    assert!(given.body.windows(64).any(|part| part == key.secret().expose()), "it has the key");
    assert!(visitor.recorded("onion export", "admin").await);
    assert!(!visitor.post("/keys/onion/nobody/export", "").await.status.is_success());
}

#[tokio::test]
async fn keys_and_sheets_need_our_form_and_the_password_once_more() {
    let visitor = visitor().await;
    let key = visitor.planes._home.recovery.to_text();
    let forms = ["/keys/sheet", "/keys/onion/peer/export", "/keys/onion", "/keys/rotate"];
    for path in forms {
        let answer = visitor.send(Method::POST, path, "csrf=wrong").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
    }
    visitor.later(11 * 60);
    for path in ["/keys/sheet", "/keys/onion", "/keys/rotate"] {
        assert_eq!(visitor.get(path).await.next(), format!("/confirm?next={path}"));
    }
    for path in forms {
        let answer = visitor.post(path, &format!("back=/keys&keys=identity&recovery_key={}", key.as_str())).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        answer.shows("Is it you?");
    }
    assert!(visitor.planes._home.store.known_onion_key(OnionName::Peer).unwrap().is_none());
    assert!(visitor.planes._home.store.audit(usize::MAX).await.unwrap().iter().all(|entry| entry.what == "login"));
}

#[tokio::test]
async fn other_keys_are_asked_for_on_a_page_that_says_what_comes_next() {
    let mut visitor = visitor().await;
    visitor.get("/keys/rotate").await.shows("bulbil rotate-key envelope");
    let (restarts, mut heard) = Restarts::new();
    visitor.planes.admin = admin_router(visitor.planes.plane.clone().with_restarts(Some(restarts)));
    visitor.get("/keys").await.shows(r#"href="/keys/rotate""#);
    visitor.get("/keys/rotate").await.shows(r#"name="keys" value="identity""#);
    let none = visitor.post("/keys/rotate", "stop_runs=yes").await;
    assert_eq!(none.status, StatusCode::UNPROCESSABLE_ENTITY);
    none.shows("Tick at least one");
    assert!(heard.try_recv().is_err());

    let begun = visitor.post("/keys/rotate", "keys=envelope").await;
    assert_eq!((begun.status, begun.header("refresh")), (StatusCode::ACCEPTED, "10; url=/keys"), "{}", begun.text());
    begun.shows("starts again at once");
    let AskedChange { change, by } = heard.try_recv().unwrap();
    assert!(matches!(change, Change::Rotate(Rotate { envelope: true, identity: false })), "{change:?}");
    assert_eq!(by, Who::Browser);
}

#[tokio::test]
async fn the_key_of_an_address_is_pasted_and_never_shown_again() {
    let visitor = visitor().await;
    let key = OnionKey::random(&mut entropy());
    let text = data_encoding::BASE64.encode(&key.to_ctor_secret());
    let form = |service: &str| format!("service={service}&secret_key={}", text.replace('+', "%2B"));
    let none = visitor.post("/keys/onion", &form("")).await;
    assert!(!none.status.is_success(), "{}", none.text());
    none.hides(&text);
    let wrong = visitor.post("/keys/onion", "service=peer&secret_key=no-key-at-all&replace=yes").await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    wrong.shows(r#"value="peer" checked"#);
    wrong.hides("no-key-at-all");
    assert_eq!(visitor.post("/keys/onion", &form("peer")).await.next(), "/keys?done=onion");
    assert_eq!(visitor.planes._home.store.known_onion_key(OnionName::Peer).unwrap().unwrap().public(), key.public());
    visitor.get("/keys?done=onion").await.shows("The key of the address is taken over.");
    assert!(visitor.recorded("onion import", "peer").await);
}

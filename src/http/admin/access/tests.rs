use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::routing::get;
use http::{Method, Request, StatusCode, header};
use jiff::SignedDuration;
use tower::ServiceExt;

use super::*;
use crate::clock::{Clock, FixedClock};
use crate::domain::access::totp::{self, TotpSecret};
use crate::domain::access::{Scope, Token};
use crate::http::admin::tests::{Planes, planes_at};
use crate::http::admin::{AdminPlane, assembled};
use crate::store::{Store, entropy};

const HERE: &str = "127.0.0.1:7002";
const PASSWORD: &str = "correct horse battery";
const PAGE: &str = "text/html,application/xhtml+xml";

struct Bench {
    planes: Planes,
    clock: Arc<FixedClock>,
    router: axum::Router,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// What the browser keeps.
    fn cookie(&self) -> String {
        self.header("set-cookie").split(';').next().unwrap_or_default().to_owned()
    }
}

#[derive(serde::Deserialize)]
struct Colours {
    #[serde(default)]
    colour: Vec<String>,
}

/// Pages as others will be: one that shows, one that shows something dangerous, a form each, and a REST handler each.
fn probes() -> axum::Router<AdminPlane> {
    axum::Router::new()
        .route(
            "/probe",
            get(async |session: Session| session.csrf().to_owned())
                .post(async |posted: Posted<Colours>| posted.form.colour.join("+")),
        )
        .route("/danger", get(async |_: FreshSession| "boo").post(async |_: FreshPosted<Colours>| "boom"))
        .route("/admin/v1/probe", get(async |_: May<Read>| "seen").post(async |_: May<Operate>| "done"))
        .route("/admin/v1/danger", get(async |_: MayNow<Admin>| "gone"))
}

impl Bench {
    async fn new() -> Self {
        let clock = Arc::new(FixedClock::new("2026-11-26T12:00:00Z".parse().unwrap()));
        let planes = planes_at(Arc::clone(&clock) as Arc<dyn Clock>).await;
        let router = admin_router_with(planes.plane.clone());
        Self { planes, clock, router }
    }

    async fn with_password() -> Self {
        let bench = Self::new().await;
        bench.set_password(PASSWORD);
        bench
    }

    fn store(&self) -> &Store {
        &self.planes._home.store
    }

    /// As `bulbil password set` does, but with little work.
    fn set_password(&self, password: &str) {
        self.planes.set_password(password, self.clock.now());
    }

    fn later(&self, seconds: i64) {
        self.clock.set(self.clock.now().checked_add(SignedDuration::from_secs(seconds)).unwrap());
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        send(&self.router, method, path, headers, body).await
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, path, headers, "").await
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], form: &str) -> Answer {
        let mut headers = headers.to_vec();
        headers.push(("content-type", "application/x-www-form-urlencoded"));
        self.send(Method::POST, path, &headers, form).await
    }

    /// Logs in; the cookie, and the token for forms.
    async fn log_in(&self) -> (String, String) {
        let answer = self.post("/login", &[], &format!("password={}", PASSWORD.replace(' ', "+"))).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
        let cookie = answer.cookie();
        let csrf = self.get("/probe", &[("cookie", &cookie)]).await.body;
        (cookie, csrf)
    }
}

/// The plane with some more routes.
fn admin_router_with(plane: AdminPlane) -> axum::Router {
    assembled(plane, probes().merge(routes()))
}

async fn send(router: &axum::Router, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header(header::HOST, HERE);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
    let (head, body) = answer.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    Answer { status: head.status, headers: head.headers, body: String::from_utf8(body.to_vec()).unwrap() }
}

#[tokio::test]
async fn who_is_not_logged_in_is_led_to_the_login_and_on_to_where_they_wanted() {
    let bench = Bench::with_password().await;
    let answer = bench.get("/probe?page=2", &[("accept", PAGE)]).await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, "/login?next=/probe%3Fpage%3D2"));
    // A program is not: it asked for no page.
    assert_eq!(bench.get("/probe", &[]).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(bench.get("/admin/v1/probe", &[("accept", PAGE)]).await.status, StatusCode::UNAUTHORIZED);
    let page = bench.get("/login?next=/probe%3Fpage%3D2", &[]).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains(r#"name="next" value="/probe?page=2""#), "{}", page.body);
    let wrong = bench.post("/login", &[], "password=wrong&next=/probe").await;
    assert_eq!((wrong.status, wrong.cookie()), (StatusCode::UNAUTHORIZED, String::new()));
    assert!(wrong.body.contains("That was not right"), "{}", wrong.body);
    let right = bench.post("/login", &[], "password=correct+horse+battery&next=/probe%3Fpage%3D2").await;
    assert_eq!((right.status, right.header("location")), (StatusCode::SEE_OTHER, "/probe?page=2"));
    let set = right.header("set-cookie");
    assert!(set.starts_with("bulbil_session_7002=") && set.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{set}");
    assert_eq!(bench.get("/probe", &[("cookie", &right.cookie())]).await.status, StatusCode::OK);
    let elsewhere = bench.post("/login", &[], "password=correct+horse+battery&next=//evil.example").await;
    assert_eq!(elsewhere.header("location"), "/");
    assert_ne!(elsewhere.cookie(), right.cookie());
    let audit = bench.store().audit(10).await.unwrap();
    assert_eq!(audit.iter().map(|entry| format!("{} {}", entry.who, entry.what)).next().unwrap(), "browser login");
}

#[tokio::test]
async fn a_form_needs_what_only_our_pages_know() {
    let bench = Bench::with_password().await;
    let (cookie, csrf) = bench.log_in().await;
    let (other, _) = bench.log_in().await;
    let cookie = [("cookie", cookie.as_str())];
    for form in ["", "csrf=", "csrf=wrong", "colour=red", &format!("csrf={}", &csrf[..42])] {
        let answer = bench.post("/probe", &cookie, form).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{form}");
        assert!(answer.body.contains("no-csrf"), "{}", answer.body);
    }
    let form = format!("csrf={csrf}&colour=red&colour=blue");
    let answer = bench.post("/probe", &cookie, &form).await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "red+blue"));
    assert_eq!(
        bench.post("/probe", &[("cookie", &other)], &form).await.status,
        StatusCode::FORBIDDEN,
        "another session's"
    );
    for (name, value, good) in [
        ("origin", "http://127.0.0.1:7002", true),
        ("origin", "null", true),
        ("sec-fetch-site", "same-origin", true),
        ("sec-fetch-site", "none", true),
        ("origin", "http://127.0.0.1:7003", false),
        ("origin", "https://127.0.0.1:7002", false),
        ("origin", "https://evil.example", false),
        ("sec-fetch-site", "same-site", false),
        ("sec-fetch-site", "cross-site", false),
    ] {
        let answer = bench.post("/probe", &[cookie[0], (name, value)], &form).await;
        assert_eq!(answer.status == StatusCode::OK, good, "{name}: {value}: {}", answer.body);
        let login = bench.post("/login", &[(name, value)], "password=correct+horse+battery").await;
        assert_eq!(login.status == StatusCode::SEE_OTHER, good, "{name}: {value}: {}", login.body);
    }
    // Without a session a form leads to the login.
    let answer = bench.post("/probe", &[("accept", PAGE)], &form).await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, "/login?next=/"));
}

#[tokio::test]
async fn rest_takes_the_cookie_for_looking_and_the_header_for_more() {
    let bench = Bench::with_password().await;
    let (cookie, csrf) = bench.log_in().await;
    let cookie = ("cookie", cookie.as_str());
    assert_eq!(bench.get("/admin/v1/probe", &[cookie]).await.body, "seen");
    let answer = bench.send(Method::POST, "/admin/v1/probe", &[cookie], "").await;
    assert_eq!((answer.status, answer.body.contains("no-csrf")), (StatusCode::FORBIDDEN, true));
    let wrong = [cookie, (CSRF_HEADER, "wrong")];
    assert_eq!(bench.send(Method::POST, "/admin/v1/probe", &wrong, "").await.status, StatusCode::FORBIDDEN);
    let answer = bench.send(Method::POST, "/admin/v1/probe", &[cookie, (CSRF_HEADER, &csrf)], "").await;
    assert_eq!(answer.body, "done");
    // A token needs no header, whatever page made the browser send it; and one that is not good is not saved by a cookie.
    let owner = bench.planes.token.header();
    let by_token = [("authorization", owner.as_str()), ("origin", "https://evil.example")];
    assert_eq!(bench.send(Method::POST, "/admin/v1/probe", &by_token, "").await.body, "done");
    let both = [cookie, ("authorization", "Bearer wrong")];
    assert_eq!(bench.get("/admin/v1/probe", &both).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn what_is_dangerous_needs_a_password_typed_just_now() {
    let bench = Bench::with_password().await;
    let (cookie, csrf) = bench.log_in().await;
    let cookie = [("cookie", cookie.as_str())];
    let form = format!("csrf={csrf}&back=/danger");
    assert_eq!(bench.get("/danger", &cookie).await.body, "boo");
    assert_eq!(bench.post("/danger", &cookie, &form).await.body, "boom");
    assert_eq!(bench.get("/admin/v1/danger", &cookie).await.body, "gone");
    bench.later(600);
    let answer = bench.get("/danger?x=1", &cookie).await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, "/confirm?next=/danger%3Fx%3D1"));
    let answer = bench.post("/danger", &cookie, &form).await;
    assert!(answer.status == StatusCode::FORBIDDEN && answer.body.contains("action=\"/danger\""), "{}", answer.body);
    let answer = bench.get("/admin/v1/danger", &cookie).await;
    assert_eq!((answer.status, answer.body.contains("confirm-first")), (StatusCode::FORBIDDEN, true));
    assert!(bench.get("/confirm?next=/danger", &cookie).await.body.contains(&csrf));
    let without = bench.post("/confirm", &cookie, "password=correct+horse+battery").await;
    assert_eq!(without.status, StatusCode::FORBIDDEN);
    let wrong = bench.post("/confirm", &cookie, &format!("csrf={csrf}&password=wrong")).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert_eq!(bench.get("/danger", &cookie).await.status, StatusCode::SEE_OTHER);
    let right =
        bench.post("/confirm", &cookie, &format!("csrf={csrf}&password=correct+horse+battery&next=/danger")).await;
    assert_eq!((right.status, right.header("location")), (StatusCode::SEE_OTHER, "/danger"));
    assert_eq!(bench.get("/danger", &cookie).await.body, "boo");
    // A token is as good as it is.
    let owner = bench.planes.token.header();
    assert_eq!(bench.get("/admin/v1/danger", &[("authorization", owner.as_str())]).await.body, "gone");
}

#[tokio::test]
async fn sessions_end_by_logout_by_time_and_by_another_password() {
    let bench = Bench::with_password().await;
    let seen = async |cookie: &str| bench.get("/probe", &[("cookie", cookie)]).await.status == StatusCode::OK;
    let (cookie, csrf) = bench.log_in().await;
    assert_eq!(bench.post("/logout", &[("cookie", &cookie)], "").await.status, StatusCode::FORBIDDEN);
    assert!(seen(&cookie).await, "nobody is logged out by another site");
    let answer = bench.post("/logout", &[("cookie", &cookie)], &format!("csrf={csrf}")).await;
    assert!(answer.header("set-cookie").contains("Max-Age=0"));
    assert!(!seen(&cookie).await);
    let (first, _) = bench.log_in().await;
    bench.later(1799);
    assert!(seen(&first).await);
    bench.later(1800);
    assert!(!seen(&first).await);
    let (second, _) = bench.log_in().await;
    bench.set_password("another horse battery");
    assert!(!seen(&second).await);
    let old = bench.post("/login", &[], "password=correct+horse+battery").await;
    assert_eq!(old.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn guessing_takes_longer_each_time_and_shuts_nobody_out() {
    let bench = Bench::with_password().await;
    let (cookie, csrf) = bench.log_in().await;
    for _ in 0..3 {
        assert_eq!(bench.post("/login", &[], "password=wrong").await.status, StatusCode::UNAUTHORIZED);
    }
    let refused = bench.post("/login", &[], "password=correct+horse+battery").await;
    assert_eq!((refused.status, refused.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, "1"));
    assert!(refused.body.contains("Try again in a second"), "{}", refused.body);
    // Who is in stays in, and may confirm.
    let form = format!("csrf={csrf}&password=correct+horse+battery");
    assert_eq!(bench.post("/confirm", &[("cookie", &cookie)], &form).await.status, StatusCode::SEE_OTHER);
    // Another way in is another matter.
    let onion = "http://vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd.onion".parse().unwrap();
    let over_tor = admin_router_with(bench.planes.plane.clone().over_tor(&onion));
    let form = [
        ("host", "vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd.onion"),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let answer = send(&over_tor, Method::POST, "/login", &form, "password=correct+horse+battery").await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    bench.later(1);
    assert_eq!(bench.post("/login", &[], "password=wrong").await.status, StatusCode::UNAUTHORIZED);
    bench.later(1);
    assert_eq!(bench.post("/login", &[], "password=wrong").await.header("retry-after"), "1");
    bench.later(1);
    bench.log_in().await;
}

#[tokio::test]
async fn a_code_is_asked_for_and_good_once() {
    let bench = Bench::with_password().await;
    let secret = TotpSecret::random(&mut entropy());
    let step = totp::step(bench.clock.now());
    let kept = secret.clone();
    bench.store().change_admission(|admission| admission.set_totp(Some((kept, step - 1)))).unwrap();
    assert!(bench.get("/login", &[]).await.body.contains("one-time-code"));
    let code = secret.code(step);
    let log_in = async |code: &str| {
        bench.post("/login", &[], &format!("password=correct+horse+battery&code={code}")).await.status
    };
    assert_eq!(log_in("").await, StatusCode::UNAUTHORIZED);
    assert_eq!(log_in(&secret.code(step - 1)).await, StatusCode::UNAUTHORIZED, "it was used to switch codes on");
    assert_eq!(log_in(&code).await, StatusCode::SEE_OTHER);
    assert_eq!(log_in(&code).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_first_password_is_set_by_who_sees_the_servers_terminal() {
    let bench = Bench::new().await;
    let code = bench.planes.plane.gate().setup_code().unwrap().unwrap();
    assert_eq!(bench.get("/probe", &[("accept", PAGE)]).await.header("location"), "/setup");
    assert_eq!(bench.get("/login", &[]).await.header("location"), "/setup");
    assert!(bench.get(&format!("/setup?code={}", *code), &[]).await.body.contains(&*code));
    let with = |code: &str, password: &str, again: &str| format!("code={code}&password={password}&again={again}");
    let wrong = bench.post("/setup", &[], &with("wrong", "new+horse+battery", "new+horse+battery")).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    let differ = bench.post("/setup", &[], &with(&code, "new+horse+battery", "new+horse+batterz")).await;
    assert_eq!((differ.status, differ.body.contains("differ")), (StatusCode::UNPROCESSABLE_ENTITY, true));
    let short = bench.post("/setup", &[], &with(&code, "short", "short")).await;
    assert_eq!((short.status, short.body.contains("too short")), (StatusCode::UNPROCESSABLE_ENTITY, true));
    // Over Tor there is none, whatever is known.
    let onion = "http://vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd.onion".parse().unwrap();
    let over_tor = admin_router_with(bench.planes.plane.clone().over_tor(&onion));
    let host = ("host", "vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd.onion");
    for path in ["/setup", "/login", "/"] {
        let answer = send(&over_tor, Method::GET, path, &[host, ("accept", PAGE)], "").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    let right = bench.post("/setup", &[], &with(&code, "new+horse+battery", "new+horse+battery")).await;
    assert_eq!(right.status, StatusCode::SEE_OTHER);
    assert_eq!(bench.get("/probe", &[("cookie", &right.cookie())]).await.status, StatusCode::OK);
    assert!(bench.planes.plane.gate().setup_code().unwrap().is_none());
    let again = bench.post("/setup", &[], &with(&code, "yet+another+battery", "yet+another+battery")).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    assert_eq!(bench.get("/setup", &[]).await.header("location"), "/login");
}

#[tokio::test]
async fn r9_over_tor_a_stranger_sees_the_login_and_nothing_else() {
    let bench = Bench::with_password().await;
    let onion = "http://vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd.onion".parse().unwrap();
    let over_tor = admin_router_with(bench.planes.plane.clone().over_tor(&onion));
    let host = ("host", "vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd.onion");
    let page = ("accept", PAGE);
    assert_eq!(send(&over_tor, Method::GET, "/login", &[host, page], "").await.status, StatusCode::OK);
    // What there is and what there is not look the same, up to the path in the address.
    for path in ["/", "/probe", "/setup", "/nothing", "/healthz", "/metrics"] {
        let answer = send(&over_tor, Method::GET, path, &[host, page], "").await;
        let expected = format!("/login?next={path}");
        assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, expected.as_str()));
        let answer = send(&over_tor, Method::GET, path, &[host], "").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    // A session from here is none there.
    let (cookie, _) = bench.log_in().await;
    let name = cookie.replace("_7002=", "_80=");
    let answer = send(&over_tor, Method::GET, "/probe", &[host, ("cookie", &name)], "").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_token_does_what_its_scope_says_until_it_is_revoked() {
    let bench = Bench::new().await;
    let token = Token::random(&mut entropy());
    let now = bench.clock.now();
    let expires = now.checked_add(SignedDuration::from_hours(1)).unwrap();
    bench
        .store()
        .change_admission(|all| all.add_token("viewer", &token, Scope::Read.into(), Some(expires), now))
        .unwrap();
    let bearer = format!("Bearer {}", *token.reveal());
    let shown = [("authorization", bearer.as_str())];
    assert_eq!(bench.get("/admin/v1/probe", &shown).await.body, "seen");
    let answer = bench.send(Method::POST, "/admin/v1/probe", &shown, "").await;
    assert_eq!((answer.status, answer.body.contains("operate")), (StatusCode::FORBIDDEN, true), "{}", answer.body);
    let used = bench.store().admission().unwrap().tokens[0].last_used_on;
    assert_eq!(used.unwrap().to_string(), "2026-11-26");
    // It is no way to the pages.
    assert_eq!(bench.get("/probe", &shown).await.header("location"), "/login?next=/probe");
    bench.later(3600);
    assert_eq!(bench.get("/admin/v1/probe", &shown).await.status, StatusCode::UNAUTHORIZED);
    bench.clock.set(now);
    bench.store().change_admission(|all| all.revoke_token("viewer")).unwrap();
    assert_eq!(bench.get("/admin/v1/probe", &shown).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_session_is_of_its_password_also_when_what_is_kept_of_that_was_lost() {
    let bench = Bench::with_password().await;
    let (cookie, _) = bench.log_in().await;
    assert_eq!(bench.get("/probe", &[("cookie", &cookie)]).await.status, StatusCode::OK);
    // A damaged one lets nobody in, and the page says what to do.
    let file = bench.store().home.keys().join("access");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let shown = [("cookie", cookie.as_str()), ("accept", PAGE)];
    let answer = bench.get("/probe", &shown).await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (StatusCode::INTERNAL_SERVER_ERROR, "text/html; charset=utf-8")
    );
    assert!(bench.store().admission().unwrap_err().to_string().contains("remove it, then set the password"));
    std::fs::remove_file(file).unwrap();
    assert_eq!(bench.get("/probe", &shown).await.header("location"), "/setup");
    bench.set_password("another horse battery");
    assert_eq!(bench.get("/probe", &shown).await.header("location"), "/login?next=/probe");
}

#[tokio::test]
async fn the_owners_token_is_known_however_bearer_is_spelt() {
    let bench = Bench::new().await;
    let token = bench.planes.token.header().as_str().strip_prefix("Bearer ").unwrap().to_owned();
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let shown = format!("{scheme} {token}");
        assert_eq!(bench.get("/admin/v1/probe", &[("authorization", &shown)]).await.body, "seen", "{scheme}");
    }
    for wrong in [token.clone(), format!("Basic {token}"), format!("Bearer {}", &token[1..]), "Bearer ".to_owned()] {
        let answer = bench.get("/admin/v1/probe", &[("authorization", &wrong)]).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{wrong}");
    }
}

#[tokio::test]
async fn every_answer_is_strict_with_browsers() {
    let bench = Bench::with_password().await;
    for path in ["/login", "/healthz", "/admin/v1/probe", "/nothing"] {
        let answer = bench.get(path, &[]).await;
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'; "), "{path}");
        let told = [
            "cache-control",
            "referrer-policy",
            "x-content-type-options",
            "x-frame-options",
            "cross-origin-resource-policy",
        ];
        let told = told.map(|name| answer.header(name));
        assert_eq!(told, ["no-store", "no-referrer", "nosniff", "DENY", "same-origin"], "{path}");
    }
}

/// What the description says of an operation: method, path, and the scope that it needs.
fn described() -> Vec<(Method, String, Option<Scope>)> {
    let document = serde_json::to_value(crate::http::openapi_admin()).unwrap();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Ok(method) = method.to_uppercase().parse::<Method>() else { continue };
            let scope = operation["security"][0]["token"][0].as_str().map(|scope| scope.parse().unwrap());
            // Something that is not there: nothing is harmed by asking for it.
            let path = path.split('/').map(|part| if part.starts_with('{') { "77777" } else { part });
            all.push((method, path.collect::<Vec<_>>().join("/"), scope));
        }
    }
    all
}

#[tokio::test]
async fn every_described_route_asks_for_the_scope_that_it_names() {
    let bench = Bench::new().await;
    let now = bench.clock.now();
    let mut bearer = std::collections::BTreeMap::new();
    for scope in Scope::ALL {
        let token = Token::random(&mut entropy());
        bench.store().change_admission(|all| all.add_token(scope.word(), &token, scope.into(), None, now)).unwrap();
        bearer.insert(scope, format!("Bearer {}", *token.reveal()));
    }
    let all = described();
    assert!(all.len() > 10, "{all:?}");
    for (method, path, needed) in all {
        let send = async |token: Option<Scope>| {
            let shown = token.map(|scope| ("authorization", bearer[&scope].as_str()));
            bench.send(method.clone(), &path, &Vec::from_iter(shown), "").await.status
        };
        let Some(needed) = needed else {
            assert_eq!(send(None).await, StatusCode::OK, "{method} {path} names no scope, so it is for everybody");
            continue;
        };
        assert_eq!(send(None).await, StatusCode::UNAUTHORIZED, "{method} {path} without a token");
        for scope in Scope::ALL {
            let status = send(Some(scope)).await;
            let told = format!("{method} {path} needs {needed} and was asked with {scope}: {status}");
            if scope.allows(needed) {
                let let_in = !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
                assert!(let_in && status != StatusCode::INTERNAL_SERVER_ERROR, "{told}");
            } else {
                assert_eq!(status, StatusCode::FORBIDDEN, "{told}");
            }
        }
        // To peers it is as if it did not exist (R9).
        let owner = bench.planes.token.header();
        let shown = [("authorization", owner.as_str())];
        let there = send_to_peer(&bench, &method, &path, &shown).await;
        assert_eq!(there, send_to_peer(&bench, &method, "/nowhere", &shown).await, "{method} {path}");
    }
}

async fn send_to_peer(bench: &Bench, method: &Method, path: &str, shown: &[(&str, &str)]) -> (StatusCode, String) {
    let answer = send(&bench.planes.peer, method.clone(), path, shown, "").await;
    (answer.status, answer.body)
}

#[tokio::test]
async fn a_prune_beyond_what_the_settings_say_needs_the_admin() {
    let bench = Bench::new().await;
    let now = bench.clock.now();
    let token = Token::random(&mut entropy());
    bench.store().change_admission(|all| all.add_token("o", &token, Scope::Operate.into(), None, now)).unwrap();
    let (operator, owner) = (format!("Bearer {}", *token.reveal()), bench.planes.token.header());
    let json = ("content-type", "application/json");
    for (more, needs_admin) in [
        ("", false),
        (", \"grace_seconds\": 86400", false),
        (", \"grace_seconds\": 86399", true),
        (", \"grace_seconds\": 18446744073709551615", false),
        (", \"policy\": {\"last\": 1}", true),
    ] {
        let body = format!("{{\"kind\": \"prune\"{more}}}");
        let post = async |bearer: &str| {
            let shown = [("authorization", bearer), json];
            bench.send(Method::POST, "/admin/v1/runs", &shown, &body).await.status
        };
        assert_eq!(post(&operator).await == StatusCode::FORBIDDEN, needs_admin, "{body}");
        // There is no collection yet.
        assert_eq!(post(owner.as_str()).await, StatusCode::CONFLICT, "{body}");
    }
}

#[tokio::test]
async fn tokens_are_made_listed_and_revoked_over_rest_and_none_makes_a_better_one() {
    let bench = Bench::new().await;
    let owner = bench.planes.token.header().to_string();
    let json = ("content-type", "application/json");
    let make = async |by: &str, body: &str| {
        bench.send(Method::POST, "/admin/v1/tokens", &[("authorization", by), json], body).await
    };
    let made = make(&owner, r#"{"name":"boss","scopes":["admin"],"expires":"2d"}"#).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let made: serde_json::Value = serde_json::from_str(&made.body).unwrap();
    assert_eq!(made["expires_at"], "2026-11-28T12:00:00Z");
    let boss = format!("Bearer {}", made["token"].as_str().unwrap());
    let usual: serde_json::Value =
        serde_json::from_str(&make(&owner, r#"{"name":"viewer","scopes":["read"]}"#).await.body).unwrap();
    assert_eq!(usual["expires_at"], "2027-02-24T12:00:00Z");
    for (body, status) in [
        (r#"{"name":"viewer","scopes":["read"]}"#, StatusCode::CONFLICT),
        (r#"{"name":"a b","scopes":["read"]}"#, StatusCode::UNPROCESSABLE_ENTITY),
        (r#"{"name":"a","scopes":[]}"#, StatusCode::UNPROCESSABLE_ENTITY),
        (r#"{"name":"a","scopes":["root"]}"#, StatusCode::UNPROCESSABLE_ENTITY),
        (r#"{"name":"a","scopes":["read"],"expires":"soon"}"#, StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        assert_eq!(make(&owner, body).await.status, status, "{body}");
    }
    // A token that ends makes none that ends later.
    assert_eq!(
        make(&boss, r#"{"name":"a","scopes":["read"],"expires":"3d"}"#).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(
        make(&boss, r#"{"name":"a","scopes":["read"],"expires":"never"}"#).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(make(&boss, r#"{"name":"a","scopes":["read"],"expires":"1d"}"#).await.status, StatusCode::CREATED);
    let list = bench.get("/admin/v1/tokens", &[("authorization", &boss)]).await.body;
    assert!(!list.contains("bulbil_") && !list.contains("digest"), "{list}");
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let names: Vec<_> = list["items"].as_array().unwrap().iter().map(|token| token["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a", "boss", "viewer"]);
    let revoke = async |name: &str| {
        bench.send(Method::DELETE, &format!("/admin/v1/tokens/{name}"), &[("authorization", &owner)], "").await.status
    };
    assert_eq!(revoke("boss").await, StatusCode::NO_CONTENT);
    assert_eq!(revoke("boss").await, StatusCode::NOT_FOUND);
    assert_eq!(bench.get("/admin/v1/tokens", &[("authorization", &boss)]).await.status, StatusCode::UNAUTHORIZED);
    let audit = bench.store().audit(10).await.unwrap();
    let audit: Vec<_> =
        audit.iter().map(|entry| format!("{}: {} {}", entry.who, entry.what, entry.subjects[0])).collect();
    assert_eq!(
        audit,
        [
            "admin token: token create boss",
            "admin token: token create viewer",
            "token boss: token create a",
            "admin token: token revoke boss"
        ]
    );
}

//! Secrets of applications: kept, shown to who typed the password, removed.

use axum::body::{Body, to_bytes};
use http::{Method, Request, StatusCode, header};
use tower::ServiceExt;

use super::content::Bench;
use super::{Answer, after};
use crate::domain::audit::Who;
use crate::http::admin::KeepSecret;
use crate::store::index::Application;

const PLACE: &str = "/collections/notes/secrets";
const VALUE: &str = "a pepper that nobody else may see";

impl Bench {
    async fn keep(&self, name: &str, field: &str, value: &str) -> Answer {
        self.post(&format!("{PLACE}/new"), &[("secret", name), (field, value)]).await
    }

    /// Which one stands first in the list, as its buttons send it.
    async fn first(&self) -> (String, String) {
        let page = self.get(PLACE).await.text();
        let of = |field: &str| after(&page, &format!(r#"name="{field}" value=""#)).to_owned();
        (of("secret"), of("fingerprint"))
    }

    async fn of_first(&self, what: &str, more: &[(&str, &str)]) -> Answer {
        let (secret, fingerprint) = self.first().await;
        let mut fields = vec![("secret", secret.as_str()), ("fingerprint", &fingerprint), ("back", PLACE)];
        fields.extend(more);
        self.post(&format!("{PLACE}/{what}"), &fields).await
    }

    /// As a script of our own pages sends it.
    async fn by_script(&self, method: Method, path: &str, body: &str) -> (StatusCode, String) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "127.0.0.1:7002")
            .header(header::COOKIE, &self.cookie)
            .header("x-csrf-token", &self.csrf)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_owned()));
        let (head, body) = self.planes.admin.clone().oneshot(request.unwrap()).await.unwrap().into_parts();
        (head.status, String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap())
    }
}

#[tokio::test]
async fn a_secret_is_kept_shown_and_removed_and_stands_on_no_other_page() {
    let bench = Bench::with_snapshots(0).await;
    for path in ["/keys", "/collections/notes"] {
        bench.get(path).await.shows(&format!(r#"href="{PLACE}""#));
    }
    bench.get(PLACE).await.shows("No secret is kept");
    bench.get(&format!("{PLACE}/new?secret=PEPPER")).await.shows(r#"name="secret" value="PEPPER""#);
    // What is wrong is said where it was typed; the value alone is typed again.
    for (name, value, text, wrong) in [
        ("two words", VALUE, "", "secret-wrong"),
        ("PEPPER", "", "", "value-wrong"),
        ("PEPPER", VALUE, VALUE, "value-wrong"),
        ("PEPPER", " ", "", "value-wrong"),
    ] {
        let fields = [("secret", name), ("value", value), ("text", text)];
        let refused = bench.post(&format!("{PLACE}/new"), &fields).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.text());
        refused.shows(wrong);
        refused.shows(&format!(r#"name="secret" value="{name}""#));
        refused.hides(VALUE);
    }
    bench.get(PLACE).await.shows("No secret is kept");

    assert_eq!(bench.keep("PEPPER", "value", VALUE).await.next(), format!("{PLACE}?done=add"));
    assert_eq!(bench.keep("PEPPER", "value", VALUE).await.next(), format!("{PLACE}?done=known"));
    std::fs::write(bench.folder.join("a"), "a").unwrap();
    bench.back_up().await;
    for path in [PLACE, "/keys", "/collections/notes", "/audit"] {
        let page = bench.get(path).await;
        page.hides(VALUE);
        assert_eq!(page.text().contains("PEPPER"), path != "/collections/notes", "{path}");
    }
    let page = bench.get(PLACE).await;
    page.shows("in use");
    page.shows(r#"data-label="Belongs to snapshots"><span>1</span>"#);
    let shown = bench.of_first("show", &[]).await;
    assert_eq!((shown.status, shown.header("cache-control")), (StatusCode::OK, "no-store"));
    shown.shows(&format!("<code>{VALUE}</code>"));
    bench.get("/audit").await.shows("secret show");

    // What snapshots need is removed by who says so.
    let (secret, fingerprint) = bench.first().await;
    let ask = bench.get(&format!("{PLACE}/remove?secret={secret}&fingerprint={fingerprint}")).await;
    ask.shows("It belongs to snapshot 1 of notes");
    let refused = bench.of_first("remove", &[]).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    refused.shows("tick the box");
    bench.get(PLACE).await.shows("in use");
    assert_eq!(bench.of_first("remove", &[("force", "yes")]).await.next(), format!("{PLACE}?done=remove"));
    bench.get(PLACE).await.shows("No secret is kept");
    let gone = [("secret", secret.as_str()), ("fingerprint", &fingerprint)];
    assert_eq!(bench.post(&format!("{PLACE}/show"), &gone).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn secrets_are_given_and_shown_to_who_typed_the_password_just_now() {
    let bench = Bench::with_snapshots(0).await;
    bench.keep("PEPPER", "value", VALUE).await;
    let (secret, fingerprint) = bench.first().await;
    bench.later(11 * 60);
    bench.get(PLACE).await.shows("in use");
    for path in [format!("{PLACE}/new"), format!("{PLACE}/remove?secret={secret}&fingerprint={fingerprint}")] {
        assert!(bench.get(&path).await.next().starts_with("/confirm?next="), "{path}");
    }
    for (what, more) in [("show", ("", "")), ("download", ("", "")), ("remove", ("force", "yes"))] {
        let asked = bench.of_first(what, &[more]).await;
        assert_eq!(asked.status, StatusCode::FORBIDDEN, "{what}");
        asked.shows("Is it you?");
        asked.hides(VALUE);
    }
    let rest = format!("/admin/v1{PLACE}");
    for (method, path, body) in [
        (Method::POST, rest.clone(), r#"{"name":"SALT","value":"x"}"#),
        (Method::POST, format!("{rest}/PEPPER/reveal"), "{}"),
        (Method::DELETE, format!("{rest}/PEPPER?force=true"), ""),
    ] {
        let (status, said) = bench.by_script(method, &path, body).await;
        assert!(status == StatusCode::FORBIDDEN && said.contains("confirm-first"), "{path}: {status} {said}");
    }
    let page = bench.get(PLACE).await;
    page.shows("in use");
    page.hides("SALT");
    // What was filled in goes on when the password was typed.
    let ticket = bench.of_first("show", &[]).await.ticket();
    let again = async |password| {
        let fields = [("again-ticket", ticket.as_str()), ("again-password", password)];
        bench.post(&format!("{PLACE}/show"), &fields).await
    };
    again("a wrong one entirely").await.hides(VALUE);
    again(super::PASSWORD).await.shows(VALUE);
    let (status, said) = bench.by_script(Method::POST, &format!("{rest}/PEPPER/reveal"), "{}").await;
    assert!(status == StatusCode::OK && said.contains(VALUE), "{said}");
}

#[tokio::test]
async fn a_whole_file_comes_back_as_a_download() {
    let bench = Bench::with_snapshots(0).await;
    // As browsers send several lines.
    bench.keep("app.key", "text", "<first>\r\nsecond\r\n").await;
    let shown = bench.of_first("show", &[]).await;
    shown.shows("&lt;first&gt;\nsecond\n");
    shown.shows("Download the file");
    let file = bench.of_first("download", &[]).await;
    assert_eq!(file.text(), "<first>\nsecond\n");
    let told = ["content-disposition", "content-type", "cache-control"].map(|name| file.header(name));
    assert_eq!(told, ["attachment; filename*=UTF-8''app.key", "application/octet-stream", "no-store"]);
    let bytes = [0, 159, 146, 150];
    let value_base64 = Some(data_encoding::BASE64.encode(&bytes).into());
    let keep = KeepSecret { name: "a.bin".to_owned(), value_base64, ..KeepSecret::default() };
    bench.planes.plane.keep_secret("notes", keep, Who::AdminToken).await.unwrap();
    let shown = bench.of_first("show", &[]).await;
    shown.shows("It is no text");
    assert_eq!(bench.of_first("download", &[]).await.body, bytes);
}

#[tokio::test]
async fn what_is_missing_says_so_until_it_is_kept_somewhere() {
    let bench = Bench::with_snapshots(0).await;
    let index = &bench.planes._home.store.index;
    let notes = index.collection_named("notes").await.unwrap().unwrap();
    let mut settings = notes.settings.clone().unwrap();
    settings.application = Some(Application { preset: "quilltap".to_owned(), hooks: None });
    index.update_settings(&notes.id, &settings).await.unwrap();
    let name = "ENCRYPTION_MASTER_PEPPER";
    bench.get("/keys").await.shows(name);
    let page = bench.get(PLACE).await;
    page.shows(&format!("{name} is kept nowhere"));
    page.shows(&format!(r#"href="{PLACE}/new?secret={name}""#));
    bench.get(&format!("{PLACE}/new?secret={name}")).await.shows("Its preset knows of ENCRYPTION");

    let to = format!("{PLACE}/elsewhere");
    let wrong = bench.post(&to, &[("secret", "two words")]).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    wrong.shows(r#"value="two words""#);
    assert_eq!(bench.post(&to, &[("secret", name)]).await.next(), format!("{PLACE}?done=elsewhere"));
    let page = bench.get(&format!("{PLACE}?done=elsewhere")).await;
    page.shows("You keep it elsewhere");
    page.shows("kept elsewhere");
    page.hides("is kept nowhere");
    assert_eq!(bench.post(&to, &[("secret", name), ("undo", "yes")]).await.next(), format!("{PLACE}?done=undo"));
    bench.get(PLACE).await.shows("is kept nowhere");

    // Those of another instance's collection are stored there.
    bench.of_another().await;
    let theirs = "/collections/theirs/secrets";
    let page = bench.get(theirs).await;
    page.shows("Another instance leads this collection");
    page.hides("Keep a secret");
    let refused = bench.post(&format!("{theirs}/new"), &[("secret", name), ("value", VALUE)]).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    refused.shows("belongs to another instance");
    refused.hides(VALUE);
    assert_eq!(bench.get("/collections/poems/secrets").await.status, StatusCode::NOT_FOUND);
}

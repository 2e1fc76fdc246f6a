//! Peers, invites, schedules, retention and settings.

use std::ops::Deref;

use http::{Method, StatusCode, header};

use super::{Answer, Visitor, after};
use crate::domain::peer::{Trust, fingerprint_words};
use crate::domain::schedule::Work;
use crate::store::index::Peer;
use crate::store::testing::{MakeSnapshot, TestStore, peer};

/// A browser that logged in.
struct Browser(Visitor);

impl Deref for Browser {
    type Target = Visitor;

    fn deref(&self) -> &Visitor {
        &self.0
    }
}

impl Browser {
    async fn new() -> Self {
        Self(Visitor::at("2026-11-26T12:00:00Z".parse().unwrap()).await)
    }

    fn home(&self) -> &TestStore {
        &self.planes._home
    }

    /// Long after the password was typed.
    fn much_later(&self) {
        self.later(11 * 60);
    }

    async fn page(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {} {}", answer.to(), answer.text());
        answer.text()
    }

    async fn post(&self, path: &str, form: &str) -> Answer {
        self.send(Method::POST, path, &format!("csrf={}&{form}", self.csrf)).await
    }

    async fn known(&self, name: &str) -> Peer {
        self.home().store.index.peer_named(name).await.unwrap().unwrap()
    }
}

const FORMS: [&str; 34] = [
    "/care",
    "/peers/beta/refresh-key",
    "/portable/export",
    "/portable/import",
    "/peers/beta/heir",
    "/new/clone",
    "/alerts/test",
    "/alerts/settings",
    "/alerts/channels/new",
    "/alerts/channels/ops/test",
    "/alerts/channels/ops/remove",
    "/new/target",
    "/copies",
    "/targets/nas/runs",
    "/targets/nas/forget",
    "/new/peer",
    "/peers/beta/trust",
    "/peers/beta/follow",
    "/peers/beta/reset",
    "/peers/beta/revoke",
    "/peers/beta/forget",
    "/invites/new",
    "/collections/notes/schedule",
    "/collections/notes/retention",
    "/collections/notes/settings",
    "/collections/notes/secrets/new",
    "/collections/notes/secrets/elsewhere",
    "/collections/notes/secrets/show",
    "/collections/notes/secrets/download",
    "/collections/notes/secrets/remove",
    "/settings/password",
    "/settings/logout-everywhere",
    "/settings/tokens/new",
    "/settings/tokens/revoke",
];

#[tokio::test]
async fn no_form_does_anything_without_what_only_our_pages_know() {
    let browser = Browser::new().await;
    browser.home().collection("notes").await;
    browser.home().peer("beta").await;
    for path in FORMS {
        for form in ["", "csrf=wrong&name=beta&last=1&rpo=1"] {
            let answer = browser.send(Method::POST, path, form).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}: {}", answer.text());
        }
    }
    assert!(matches!(browser.known("beta").await.trust, Trust::Trusted(_)));
    assert_eq!(browser.get("/settings").await.status, StatusCode::OK, "the session is still there");
}

#[tokio::test]
async fn what_is_dangerous_needs_the_password_once_more() {
    let browser = Browser::new().await;
    browser.home().peer("beta").await;
    browser.much_later();
    for path in [
        "/peers/beta/revoke",
        "/invites/new",
        "/new/target",
        "/alerts/channels/new",
        "/settings/tokens/new",
        "/settings/addresses",
        "/settings/password",
    ] {
        let answer = browser.get(path).await;
        assert_eq!((answer.status, answer.to()), (StatusCode::SEE_OTHER, format!("/confirm?next={path}").as_str()));
    }
    for (path, form) in [
        ("/peers/beta/revoke", "back=/peers/beta/revoke"),
        ("/new/target", "name=nas&location=/tmp"),
        ("/targets/nas/forget", "back=/targets"),
        ("/invites/new", "collections=all&role=reader&expires=1"),
        ("/settings/tokens/new", "name=grafana&scopes=metrics&expires=1d"),
        ("/settings/tokens/revoke", "name=grafana"),
        ("/settings/password", "password=another+one+entirely&again=another+one+entirely"),
    ] {
        let answer = browser.post(path, form).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        answer.ticket();
    }
    assert!(matches!(browser.known("beta").await.trust, Trust::Trusted(_)));
    assert!(browser.home().store.admission().unwrap().tokens.is_empty());
}

#[tokio::test]
async fn what_was_filled_in_waits_until_the_password_was_typed() {
    let browser = Browser::new().await;
    browser.much_later();
    let path = "/settings/tokens/new";
    let send = async || browser.post(path, "name=grafana&scopes=metrics&scopes=read&expires=1d&back=/settings").await;
    let first = send().await.ticket();
    let asked = send().await;
    for part in [r#"action="/settings/tokens/new""#, r#"href="/settings""#] {
        assert!(asked.text().contains(part), "no {part} in: {}", asked.text());
    }
    // What was filled in stays with the server.
    assert!(!asked.text().contains("grafana"), "{}", asked.text());
    let again =
        |ticket: &str, password: &str| format!("back=/settings&again-ticket={ticket}&again-password={password}");
    let (ticket, right) = (asked.ticket(), "correct+horse+battery");
    let wrong = browser.post(path, &again(&ticket, "nonsense")).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(wrong.text().contains("That was not right") && !wrong.text().contains("nonsense"), "{}", wrong.text());
    browser.later(60);
    // One that was sent before does not wait any more, and it waits where it was sent.
    assert_eq!(browser.post(path, &again(&first, right)).await.to(), "/settings");
    assert_eq!(browser.post("/settings/tokens/revoke", &again(&ticket, right)).await.to(), "/settings");
    assert!(browser.home().store.admission().unwrap().tokens.is_empty());
    let made = browser.post(path, &again(&ticket, right)).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text());
    // Once.
    assert_eq!(browser.post(path, &again(&ticket, right)).await.to(), "/settings");
    let tokens = browser.home().store.admission().unwrap().tokens;
    assert_eq!(tokens.len(), 1);
    // It was typed a moment ago: nobody asks once more.
    assert_eq!(browser.post("/settings/tokens/revoke", "name=grafana").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn an_heir_is_named_on_its_page_and_only_one_who_can_read() {
    let browser = Browser::new().await;
    let notes = browser.home().collection("notes").await;
    browser.home().peer("beta").await;
    assert!(browser.page("/peers/beta").await.contains("If this machine is gone for good"));
    let heirs = async || {
        let named = browser.planes.plane.heirs(&notes).await.unwrap();
        named.into_iter().map(|heir| heir.name.unwrap()).collect::<Vec<_>>()
    };
    // A mirror could not go on with what it cannot read.
    browser.post("/peers/beta/trust", "collections=notes&role=mirror").await;
    let refused = browser.post("/peers/beta/heir", "heir=notes").await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.text());
    assert!(refused.text().contains("an heir is a reader of it"), "{}", refused.text());
    assert!(heirs().await.is_empty());
    browser.post("/peers/beta/trust", "collections=notes&role=reader").await;
    assert_eq!(browser.post("/peers/beta/heir", "heir=notes").await.to(), "/peers/beta?done=heir");
    assert_eq!(heirs().await, ["beta"]);
    assert!(browser.page("/peers/beta?done=heir").await.contains("Who may take over is changed"));
    assert_eq!(browser.post("/peers/beta/heir", "").await.to(), "/peers/beta?done=heir");
    assert!(heirs().await.is_empty());
}

#[tokio::test]
async fn an_invite_that_is_none_is_said_to_be_so_and_stays_in_the_form() {
    let browser = Browser::new().await;
    for (line, why) in [("bulbil:nonsense", "invite"), ("", "invite"), ("hello+there", "invite")] {
        let answer = browser.post("/new/clone", &format!("invite={line}")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{line}: {}", answer.text());
        assert!(answer.text().contains("invite-wrong") && answer.text().contains(why), "{line}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_pending_peer_is_let_in_by_its_words_alone_and_what_was_typed_stays() {
    let browser = Browser::new().await;
    browser.home().collection("notes").await;
    let pending = Peer { trust: Trust::Pending, follow: false, ..peer("beta") };
    browser.home().store.index.save_peer(&pending).await.unwrap();
    assert!(browser.page("/peers").await.contains("compare the eight words"));
    assert!(browser.page("/peers/beta").await.contains("The eight words"));
    let form = "collections=notes&role=mirror&rate=2.5&hours=22:00-06:00&words=";
    let wrong = browser.post("/peers/beta/trust", &format!("{form}not+these")).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.text().contains("These are not the words of peer beta"), "{}", wrong.text());
    assert!(
        wrong.text().contains(r#"value="not these""#) && wrong.text().contains(r#"value="2.5""#),
        "{}",
        wrong.text()
    );
    assert_eq!(browser.known("beta").await.trust, Trust::Pending);
    let hours = browser.post("/peers/beta/trust", "collections=notes&role=mirror&hours=late").await;
    assert!(
        hours.status == StatusCode::UNPROCESSABLE_ENTITY && hours.text().contains("hours-wrong"),
        "{}",
        hours.text()
    );
    let words = fingerprint_words(&pending.id).join("+");
    let right = browser.post("/peers/beta/trust", &format!("{form}{words}")).await;
    assert_eq!((right.status, right.to()), (StatusCode::SEE_OTHER, "/peers/beta?done=trust"), "{}", right.text());
    let Trust::Trusted(rights) = browser.known("beta").await.trust else { panic!("it is trusted") };
    assert_eq!(rights.limits.rate, Some(2500));
    // Saved as the page shows it, nothing is another.
    let page = browser.page("/peers/beta").await;
    assert!(page.contains(r#"name="rate" value="2.5""#) && page.contains(r#"value="22:00-06:00""#), "{page}");
}

#[tokio::test]
async fn a_peer_that_is_shut_out_is_so_at_once_and_what_it_has_is_shown() {
    let browser = Browser::new().await;
    browser.home().peer("beta").await;
    assert!(browser.page("/peers/beta/revoke").await.contains("What it has got from here"));
    let answer = browser.post("/peers/beta/revoke", "").await;
    assert_eq!((answer.status, answer.to()), (StatusCode::SEE_OTHER, "/peers/beta?done=revoke"));
    assert_eq!(browser.known("beta").await.trust, Trust::Revoked);
    let page = browser.page(answer.to()).await;
    assert!(page.contains("Shut out") && page.contains("What it has got from here"), "{page}");
    assert_eq!(browser.post("/peers/beta/forget", "").await.to(), "/peers");
    assert!(browser.page("/peers").await.contains("No other instance is known here"));
}

#[tokio::test]
async fn what_others_say_is_text_and_nothing_else() {
    let browser = Browser::new().await;
    let told = "<script>alert(1)</script> & \"more\"".to_owned();
    let hostile = Peer { last_error: Some(told), ..peer("mallory") };
    browser.home().store.index.save_peer(&hostile).await.unwrap();
    for path in ["/peers", "/peers/mallory"] {
        let page = browser.page(path).await;
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; "), "{page}");
        assert!(!page.contains("<script>"), "{page}");
    }
    let typed = browser.post("/new/peer", "url=%22%3E%3Cscript%3E&name=").await;
    assert_eq!(typed.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        typed.text().contains("&quot;&gt;&lt;script&gt;") && !typed.text().contains("<script>"),
        "{}",
        typed.text()
    );
}

#[tokio::test]
async fn an_invite_is_shown_once_with_its_picture() {
    let browser = Browser::new().await;
    browser.home().collection("notes").await;
    let none = browser.post("/invites/new", "role=reader&expires=24").await;
    assert!(none.status == StatusCode::UNPROCESSABLE_ENTITY && none.text().contains("Tick at least one"));
    let made = browser.post("/invites/new", "collections=notes&role=mirror&expires=48").await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text());
    assert!(made.text().contains("<code>bulbil:") && made.text().contains("2026-11-28 12:00 UTC"), "{}", made.text());
    let page = made.text();
    let picture = after(&page, r#"<img src=""#);
    let shown = browser.get(picture).await;
    assert_eq!((shown.status, &shown.headers[header::CONTENT_TYPE]), (StatusCode::OK, &"image/png".parse().unwrap()));
    browser.much_later();
    assert_eq!(browser.get(picture).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_schedule_is_filled_in_saved_and_what_is_wrong_with_it_said_beside_it() {
    let browser = Browser::new().await;
    browser.home().collection("notes").await;
    let path = "/collections/notes/schedule";
    let filled = browser.page(&format!("{path}?preset=nightly")).await;
    assert!(filled.contains(r#"name="backup-cron" value="30 2 * * *""#), "{filled}");
    assert!(browser.page("/schedules").await.contains("Nothing happens by itself"), "a look changes nothing");
    let wrong = browser.post(path, "rpo=26&backup-cron=now+and+then&backup-zone=Mars/Olympus").await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.text().contains("backup-cron-wrong") && wrong.text().contains(r#"value="Mars/Olympus""#));
    let zone = browser.post(path, "backup-cron=@daily&backup-zone=Mars/Olympus").await;
    assert!(zone.status == StatusCode::UNPROCESSABLE_ENTITY && zone.text().contains("backup-zone-wrong"));
    let saved = browser.post(path, "rpo=6&backup-cron=30+2+*+*+*&backup-zone=UTC&backup-jitter=1.5").await;
    assert_eq!((saved.status, saved.to()), (StatusCode::SEE_OTHER, "/collections/notes/schedule?done=yes"));
    let known = browser.home().store.index.collection_named("notes").await.unwrap().unwrap().upkeep;
    assert_eq!((known.scheduled[0].work, known.scheduled[0].jitter_s, known.rpo_hours), (Work::Backup, 90, Some(6)));
    let page = browser.page("/schedules").await;
    assert!(page.contains("every day at 02:30") && page.contains("in 14 hours"), "{page}");
    assert!(page.contains("hours pass between two backups") && !page.contains("--rpo"), "{page}");
}

#[tokio::test]
async fn what_would_go_is_seen_before_it_holds() {
    let browser = Browser::new().await;
    let notes = browser.home().collection("notes").await;
    for (sequence, created_at) in
        [(1, "2026-11-20T00:00:00Z"), (2, "2026-11-21T00:00:00Z"), (3, "2026-11-22T00:00:00Z")]
    {
        let name = format!("{sequence}.txt");
        let files: &[(&str, &[u8])] = &[(&name, name.as_bytes())];
        browser.home().snapshot(MakeSnapshot { created_at, ..MakeSnapshot::new(notes.id, sequence, files) }).await;
    }
    let path = "/collections/notes/retention";
    let before = browser.page(path).await;
    let preview = browser.page(&format!("{path}?last=1&look=yes")).await;
    assert!(preview.contains("2 of 3 snapshots would go") && preview.contains("no rule keeps it"), "{preview}");
    assert_eq!(browser.page(path).await, before, "a look changes nothing");
    let nothing = browser.page(&format!("{path}?look=yes")).await;
    assert!(nothing.contains("last-wrong") && !nothing.contains("Save it so"), "{nothing}");
    let number = browser.post(path, "last=many").await;
    assert!(number.status == StatusCode::UNPROCESSABLE_ENTITY && number.text().contains(r#"value="many""#));
    assert_eq!(
        browser.post(path, "last=1&time_zone=Europe/Berlin").await.to(),
        "/collections/notes/retention?done=yes"
    );
    let kept = browser.home().store.index.collection_named("notes").await.unwrap().unwrap().retention.unwrap();
    assert_eq!((kept.policy.unwrap().keep_last, kept.zone.as_str()), (1, "Europe/Berlin"));
    browser.post(path, "everything=yes&time_zone=UTC").await;
    let kept = browser.home().store.index.collection_named("notes").await.unwrap().unwrap().retention.unwrap();
    assert!(kept.policy.is_none());
}

#[tokio::test]
async fn the_settings_of_a_collection_change_where_they_were_changed() {
    let browser = Browser::new().await;
    browser.home().collection("notes").await;
    let path = "/collections/notes/settings";
    assert!(browser.page(path).await.contains("/srv/100%/d</textarea>"));
    let wrong = browser.post(path, "folders=notes&excludes=*.tmp&preset=none&compression=3").await;
    assert!(
        wrong.status == StatusCode::UNPROCESSABLE_ENTITY && wrong.text().contains("folders-wrong"),
        "{}",
        wrong.text()
    );
    // The folder is not there now: whoever leaves it as it is need not mend that first.
    let form = "folders=/srv/100%25/d&excludes=*.tmp%0D%0A*.log%0D%0A&preset=none&compression=9";
    let saved = browser.post(path, form).await;
    assert_eq!(
        (saved.status, saved.to()),
        (StatusCode::SEE_OTHER, "/collections/notes/settings?done=yes"),
        "{}",
        saved.text()
    );
    let settings = browser.home().store.index.collection_named("notes").await.unwrap().unwrap().settings.unwrap();
    assert_eq!((settings.excludes, settings.level), (vec!["*.tmp".to_owned(), "*.log".to_owned()], 9));
}

#[tokio::test]
async fn a_token_is_shown_once_and_a_password_that_changes_logs_others_out() {
    let browser = Browser::new().await;
    let wrong = browser.post("/settings/tokens/new", "name=grafana&expires=soon&scopes=metrics").await;
    assert!(
        wrong.status == StatusCode::UNPROCESSABLE_ENTITY && wrong.text().contains("expires-wrong"),
        "{}",
        wrong.text()
    );
    let made = browser.post("/settings/tokens/new", "name=grafana&expires=1d&scopes=metrics&scopes=read").await;
    assert!(made.status == StatusCode::OK && made.text().contains("shown this once"), "{}", made.text());
    let page = made.text();
    let (_, shown) = page.split_once("<code>").unwrap();
    let token = shown.split('<').next().unwrap();
    let listed = browser.page("/settings").await;
    assert!(listed.contains("grafana") && listed.contains("metrics,read") && !listed.contains(token), "{listed}");
    assert!(!listed.contains("http://127.0.0.1:7001"), "addresses are shown to who typed the password: {listed}");
    assert!(browser.page("/settings/addresses").await.contains("http://127.0.0.1:7001"));
    assert_eq!(browser.post("/settings/tokens/revoke", "name=grafana").await.status, StatusCode::SEE_OTHER);
    assert!(browser.home().store.admission().unwrap().tokens.is_empty());
    let differ = browser.post("/settings/password", "password=another+one+entirely&again=not").await;
    assert_eq!(differ.status, StatusCode::UNPROCESSABLE_ENTITY);
    let changed = browser.post("/settings/password", "password=another+one+entirely&again=another+one+entirely").await;
    assert_eq!(
        (changed.status, changed.to()),
        (StatusCode::SEE_OTHER, "/settings?done=password"),
        "{}",
        changed.text()
    );
    assert_eq!(browser.get("/settings").await.to(), "/login?next=/settings", "the session of before is over");
}

#[tokio::test]
async fn logging_out_everywhere_ends_this_session_too() {
    let browser = Browser::new().await;
    assert_eq!(browser.post("/settings/logout-everywhere", "").await.to(), "/login");
    assert_eq!(browser.get("/settings").await.to(), "/login?next=/settings");
}

//! Collections, snapshots, files, restores and runs.

mod channels; // who is told of alerts
mod carried; // a backup to carry, and what takes the space
mod targets; // places that copies go to, and who is told

use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{Method, StatusCode};

use super::{Answer, Visitor, after};
use crate::clock::{Clock, SystemClock};
use crate::http::admin::view::run::RunState;

/// A browser that logged in, and a folder that it may back up.
pub(super) struct Bench {
    visitor: Visitor,
    pub(super) folder: PathBuf,
}

impl Deref for Bench {
    type Target = Visitor;

    fn deref(&self) -> &Visitor {
        &self.visitor
    }
}

/// As a browser sends a form.
fn encoded(fields: &[(&str, &str)]) -> String {
    serde_html_form::to_string(fields).unwrap()
}

impl Bench {
    async fn new() -> Self {
        let visitor = Visitor::at(SystemClock.now()).await;
        let folder = visitor.planes._home.dir.path().join("notes");
        std::fs::create_dir(&folder).unwrap();
        Self { visitor, folder }
    }

    /// With a collection of the folder, and so many snapshots.
    pub(super) async fn with_snapshots(n: usize) -> Self {
        let bench = Self::new().await;
        let fields = [("name", "notes"), ("folders", bench.folder.to_str().unwrap()), ("preset", ""), ("excludes", "")];
        assert_eq!(bench.post("/new/collection", &fields).await.next(), "/collections/notes");
        for n in 1..=n {
            std::fs::write(bench.folder.join(format!("file-{n}.txt")), format!("what stands in {n}\n")).unwrap();
            bench.back_up().await;
        }
        bench
    }

    pub(super) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut all = vec![("csrf", self.csrf.as_str())];
        all.extend(fields);
        self.send(Method::POST, path, &encoded(&all)).await
    }

    /// Waits until the run has ended that `next` shows.
    pub(super) async fn ended(&self, next: &str) -> RunState {
        let id = next.rsplit(['/', '=']).next().unwrap().parse().unwrap();
        for _ in 0..2000 {
            let run = self.planes.plane.run(id).await.unwrap().unwrap();
            if run.ended_at.is_some() {
                return run.state;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("run {id} does not end");
    }

    pub(super) async fn back_up(&self) -> String {
        self.later(1);
        let answer = self.post("/collections/notes/runs", &[("kind", "backup")]).await;
        assert_eq!(self.ended(answer.next()).await, RunState::Done);
        answer.next().to_owned()
    }

    async fn snapshot(&self, sequence: u64) -> String {
        self.planes.plane.snapshot(&format!("notes@{sequence}")).await.unwrap().1.id
    }
}

#[tokio::test]
async fn every_form_needs_the_token_of_its_page() {
    let bench = Bench::with_snapshots(2).await;
    let (id, runs) = (bench.snapshot(1).await, bench.planes.plane.runs(None, None, None, i64::MAX, 100).await.unwrap().len());
    let target = bench.folder.with_file_name("restored");
    for (path, form) in [
        ("/new/collection".to_owned(), encoded(&[("name", "more"), ("folders", "/tmp")])),
        ("/collections/notes/runs".to_owned(), encoded(&[("kind", "backup")])),
        ("/runs/1/cancel".to_owned(), String::new()),
        (format!("/snapshots/{id}"), encoded(&[("action", "pin")])),
        (format!("/snapshots/{id}/delete"), String::new()),
        ("/collections/notes/recover".to_owned(), String::new()),
        ("/collections/notes/recover/now".to_owned(), encoded(&[("tried", "1")])),
        ("/collections/notes/promote".to_owned(), encoded(&[("data", "/tmp")])),
        ("/collections/notes/standby".to_owned(), encoded(&[("what", "add"), ("into", "/tmp/x")])),
        (format!("/snapshots/{id}/restore"), encoded(&[("target", target.to_str().unwrap())])),
        (format!("/snapshots/{id}/restore/now"), encoded(&[("target", target.to_str().unwrap()), ("tried", "1")])),
    ] {
        for form in [form.clone(), format!("csrf=wrong&{form}")] {
            let answer = bench.send(Method::POST, &path, &form).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
            answer.shows("load the page again and send it once more");
        }
    }
    let plane = &bench.planes.plane;
    assert_eq!(plane.runs(None, None, None, i64::MAX, 100).await.unwrap().len(), runs);
    assert_eq!(plane.store().index.collections().await.unwrap().len(), 1);
    assert!(!plane.snapshot(&id).await.unwrap().1.pinned);
}

#[tokio::test]
async fn a_collection_is_added_and_what_is_wrong_stands_beside_the_field() {
    let bench = Bench::new().await;
    bench.get("/").await.shows(r#"href="/new/collection""#);
    bench.get("/new/collection").await.shows(r#"<option value="quilltap""#);
    let folder = bench.folder.to_str().unwrap();
    for (name, folders, excludes, field, why) in [
        ("my notes", folder, "", "name", "is no name for a collection"),
        ("all", folder, "", "name", "Choose another"),
        ("notes", "", "", "folders", "at least one folder"),
        ("notes", "notes", "", "folders", "is no absolute path"),
        ("notes", "/no/such <b>folder</b>", "", "folders", "/no/such &lt;b&gt;folder&lt;/b&gt; cannot be backed up"),
        ("notes", folder, "a[", "excludes", "a["),
    ] {
        let fields = [("name", name), ("folders", folders), ("excludes", excludes), ("preset", "")];
        let answer = bench.post("/new/collection", &fields).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", answer.text());
        let text = answer.text();
        let (_, wrong) =
            text.split_once(&format!(r#"id="{field}-wrong">"#)).unwrap_or_else(|| panic!("{field}: {text}"));
        assert!(wrong.split("</p>").next().unwrap().contains(why), "{wrong}");
        // What was typed stays.
        answer.shows(&format!(r#"name="name" value="{name}""#));
    }
    let bad = [("name", "notes"), ("folders", folder), ("preset", "no-such")];
    bench.post("/new/collection", &bad).await.shows(r#"id="preset-wrong""#);
    let good = [("name", "notes"), ("folders", folder), ("excludes", "*.tmp\r\n\r\n/cache/\r\n"), ("preset", "")];
    assert_eq!(bench.post("/new/collection", &good).await.next(), "/collections/notes");
    let settings = bench.planes.plane.settings("notes").await.unwrap();
    assert_eq!(settings.excludes, ["*.tmp", "/cache/"]);
    bench.post("/new/collection", &good).await.shows("name-wrong");
}

#[tokio::test]
async fn a_run_is_begun_followed_and_listed() {
    let bench = Bench::with_snapshots(0).await;
    let nothing = bench.post("/collections/notes/runs", &[("kind", "drill")]).await;
    assert_eq!(nothing.status, StatusCode::CONFLICT);
    nothing.shows("The collection has no snapshot yet");
    nothing.shows("<h1>notes</h1>");
    assert_eq!(
        bench.post("/collections/notes/runs", &[("kind", "dance")]).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    std::fs::write(bench.folder.join("a.txt"), "a").unwrap();
    let run = bench.back_up().await;
    let page = bench.get(&run).await;
    page.shows("<h1>Backup of notes</h1>");
    page.shows("1 file");
    page.hides("http-equiv");
    page.hides("data-live");
    let copy = bench.post("/collections/notes/runs", &[("kind", "copy")]).await;
    assert_eq!(copy.status, StatusCode::CONFLICT);
    copy.shows("There is no target yet");
    for kind in ["verify", "verify-data", "drill", "prune", "check"] {
        let answer = bench.post("/collections/notes/runs", &[("kind", kind)]).await;
        bench.ended(answer.next()).await;
        assert_eq!(bench.get(answer.next()).await.status, StatusCode::OK, "{kind}");
    }
    let list = bench.get("/runs").await;
    list.shows("Tried restore 4");
    list.shows("Backup 1");
    let drills = bench.get("/runs?collection=notes&kind=drill").await;
    assert_eq!(drills.status, StatusCode::OK, "{}", drills.text());
    drills.shows("Tried restore 4");
    drills.hides("Backup 1");
    assert_eq!(bench.get("/runs?kind=dance").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(bench.get("/runs?collection=nobody").await.status, StatusCode::NOT_FOUND);
    let ended = bench.post(&format!("{run}/cancel"), &[]).await;
    assert_eq!(ended.status, StatusCode::CONFLICT);
    ended.shows("It has ended.");
    assert_eq!(bench.get("/runs/4711").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_goes_on_is_followed_with_and_without_scripts() {
    use crate::domain::run::RunKind;
    use crate::domain::schedule::Work;
    use crate::store::index::{Begin, Cause};
    let bench = Bench::with_snapshots(1).await;
    let store = bench.planes.plane.store();
    let collection = store.index.collection_named("notes").await.unwrap().unwrap();
    let begin = Begin {
        collection: Some(&collection.id),
        target: None,
        kind: RunKind::Work(Work::Verify),
        cause: Cause::Command,
        by: None,
        pid: std::process::id(),
        at: bench.clock.now(),
    };
    let id = store.index.begin_run(begin).await.unwrap();
    let done = bench.post("/collections/notes/runs", &[("kind", "check")]).await;
    bench.ended(done.next()).await;
    let page = bench.get(&format!("/runs/{id}")).await;
    page.shows(&format!(r#"data-live="/admin/v1/runs/{id}/events""#));
    page.shows(r#"<noscript><meta http-equiv="refresh" content="5"></noscript>"#);
    page.shows("another process");
    page.hides(&format!("/runs/{id}/cancel"));
    bench.get(&format!("/runs/{id}?still=yes")).await.hides("http-equiv");
    // What goes on stands first, though something newer has ended.
    let list = bench.get("/runs").await.text();
    let (first, second) = (format!("Verification {id}<"), "Check of the live folders");
    let table = list.split_once("<tbody").unwrap().1;
    assert!(table.find(&first).unwrap() < table.find(second).unwrap(), "{table}");
    assert_eq!(table.matches(&first).count(), 1);
    let elsewhere = bench.post(&format!("/runs/{id}/cancel"), &[]).await;
    assert_eq!(elsewhere.status, StatusCode::CONFLICT);
    elsewhere.shows("in another process: stop it there");
}

#[tokio::test]
async fn a_snapshot_is_pinned_tagged_and_compared() {
    let bench = Bench::with_snapshots(2).await;
    let id = bench.snapshot(2).await;
    let path = format!("/snapshots/{id}");
    bench.get("/collections/notes").await.shows(&format!(r#"href="{path}""#));
    bench.get(&path).await.shows("2 files");
    assert_eq!(bench.post(&path, &[("action", "pin")]).await.next(), path);
    bench.get(&path).await.shows("It is pinned");
    assert_eq!(bench.post(&path, &[("action", "tags"), ("tags", "before-move, good")]).await.next(), path);
    bench.get(&path).await.shows(r#"value="before-move good""#);
    let wrong = bench.post(&path, &[("action", "tags"), ("tags", "<b>")]).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    wrong.shows(r#"value="&lt;b&gt;""#);
    wrong.shows("tags-wrong");
    assert_eq!(bench.post(&path, &[("action", "eat")]).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let view = bench.planes.plane.snapshot(&id).await.unwrap().1;
    assert_eq!((view.pinned, view.tags), (true, vec!["before-move".to_owned(), "good".to_owned()]));
    let changes = bench.get(&format!("{path}/changes")).await;
    changes.shows("notes/file-2.txt");
    changes.hides("notes/file-1.txt");
    let first = bench.snapshot(1).await;
    assert_eq!(bench.get(&format!("/snapshots/{first}/changes")).await.status, StatusCode::NOT_FOUND);
    let drill = bench.post("/collections/notes/runs", &[("kind", "drill"), ("snapshot", &first)]).await;
    assert_eq!(bench.ended(drill.next()).await, RunState::Done);
    bench.get(drill.next()).await.shows("everything came back as it was");
}

#[tokio::test]
async fn deleting_says_what_goes_and_needs_a_password_typed_just_now() {
    let bench = Bench::with_snapshots(2).await;
    let (first, last) = (bench.snapshot(1).await, bench.snapshot(2).await);
    let path = format!("/snapshots/{first}/delete");
    bench.later(700);
    assert_eq!(bench.get(&path).await.next(), format!("/confirm?next={path}"));
    let asked = bench.post(&path, &[("back", &path)]).await;
    assert_eq!(asked.status, StatusCode::FORBIDDEN);
    asked.shows("Is it you?");
    assert!(bench.planes.plane.snapshot(&first).await.is_ok());
    bench.post("/confirm", &[("password", "correct horse battery"), ("next", &path)]).await.next();
    bench.get(&path).await.shows("It cannot be taken back");
    let kept = bench.post(&format!("/snapshots/{last}/delete"), &[]).await;
    assert_eq!(kept.status, StatusCode::CONFLICT);
    kept.shows("back up first");
    assert_eq!(bench.post(&path, &[]).await.next(), "/collections/notes");
    assert_eq!(bench.get(&path).await.status, StatusCode::NOT_FOUND);
    bench.get("/collections/notes").await.hides(&first);
}

#[tokio::test]
async fn hostile_names_and_texts_are_no_markup() {
    let bench = Bench::with_snapshots(0).await;
    let hostile = "<script>alert(1)<_script>\" onload=x&amp;\u{202e}txt.exe";
    std::fs::create_dir(bench.folder.join("zz folder?&#%")).unwrap();
    std::fs::write(bench.folder.join("zz folder?&#%").join("in+it"), "deep").unwrap();
    std::fs::write(bench.folder.join(hostile), "<script>alert(2)</script>\u{202e}\n").unwrap();
    std::fs::write(bench.folder.join(Path::new(std::ffi::OsStr::from_bytes(b"b\xff"))), "no text").unwrap();
    std::fs::write(bench.folder.join("two\nlines"), "x").unwrap();
    std::fs::write(bench.folder.join("data.bin"), [0, 1, 2, 0xff]).unwrap();
    std::fs::write(bench.folder.join("long.txt"), "a".repeat((64 << 10) + 1)).unwrap();
    bench.back_up().await;
    let id = bench.snapshot(1).await;
    let folder = bench.get(&format!("/snapshots/{id}/files")).await;
    assert_eq!(folder.status, StatusCode::OK, "{}", folder.text());
    folder.hides("<script>alert");
    folder.hides("\u{202e}");
    folder.shows("&lt;script&gt;alert(1)");
    folder.shows("its name is no text");
    let text = folder.text();
    assert!(text.find("zz folder").unwrap() < text.find("data.bin").unwrap(), "folders first");
    // Each link leads to what it names.
    let links: Vec<&str> = text.split(r#"<a href=""#).skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let links: Vec<&str> = links.into_iter().filter(|link| link.contains("/files?path=")).collect();
    assert_eq!(links.len(), 5, "{links:?}");
    for link in &links {
        assert_eq!(bench.get(link).await.status, StatusCode::OK, "{link}");
    }
    let open = links.iter().find(|link| link.contains("script")).unwrap();
    let page = bench.get(open).await;
    page.shows("&lt;script&gt;alert(2)&lt;/script&gt;\u{fffd}");
    page.hides("<script>alert");
    let get = after(&page.text(), r#"<a class="button" href=""#).replace("&amp;", "&");
    let file = bench.get(&get).await;
    assert_eq!(file.text(), "<script>alert(2)</script>\u{202e}\n");
    assert!(file.header("content-disposition").starts_with("attachment; filename*=UTF-8''"), "{:?}", file.headers);
    let policies: Vec<_> = file.headers.get_all("content-security-policy").iter().collect();
    assert!(policies.iter().any(|policy| *policy == "sandbox"), "{policies:?}");
    assert!(policies.iter().any(|policy| policy.to_str().unwrap().starts_with("default-src 'none'")), "{policies:?}");
    assert_eq!(file.header("content-type"), "application/octet-stream");
    bench.get(&format!("/snapshots/{id}/files?path=notes/data.bin")).await.shows("Only texts up to");
    bench.get(&format!("/snapshots/{id}/files?path=notes/long.txt")).await.shows("Only texts up to");
    let deep = bench.get(links.iter().find(|link| link.contains("zz")).unwrap()).await;
    deep.shows("in+it");
    deep.shows("1 entry in this folder");
    assert_eq!(bench.get(&format!("/snapshots/{id}/files?path=notes/none")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn long_folders_come_in_pages_and_folders_first() {
    let bench = Bench::with_snapshots(0).await;
    for n in 0..250 {
        std::fs::write(bench.folder.join(format!("a{n:03}")), "x").unwrap();
    }
    std::fs::create_dir(bench.folder.join("zebra")).unwrap();
    bench.back_up().await;
    let path = format!("/snapshots/{}/files", bench.snapshot(1).await);
    let first = bench.get(&path).await;
    first.shows("200 of 251 entries");
    first.shows("zebra");
    first.shows(">a198<");
    first.hides(">a199<");
    let second = bench.get(&format!("{path}?path=&page=1")).await;
    second.shows(">a199<");
    second.shows(">a249<");
    second.hides(">a198<");
    second.hides("zebra");
}

#[tokio::test]
async fn a_restore_is_looked_at_first_and_needs_a_password_typed_just_now() {
    let bench = Bench::with_snapshots(2).await;
    let path = format!("/snapshots/{}/restore", bench.snapshot(2).await);
    let form = bench.get(&path).await.text();
    let target = after(&form, r#"name="target" value=""#).to_owned();
    assert!(target.ends_with("/notes-restored-2") && !Path::new(&target).exists(), "{target}");
    std::fs::create_dir(&target).unwrap();
    bench.get(&path).await.shows("/notes-restored-2-2\"");
    std::fs::remove_dir(&target).unwrap();

    for (bad, paths, field) in [("relative", "", "target-wrong"), (target.as_str(), "../../etc", "paths-wrong")] {
        let answer = bench.post(&path, &[("target", bad), ("paths", paths)]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", answer.text());
        answer.shows(field);
        answer.shows(&format!(r#"name="target" value="{bad}""#));
    }
    let home = bench.planes._home.home();
    let answer = bench.post(&path, &[("target", home.to_str().unwrap())]).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    answer.shows("bulbil home");

    let fields = [("target", target.as_str()), ("paths", "notes/file-2.txt\r\n"), ("overwrite", "never")];
    let direct = bench.post(&format!("{path}/now"), &fields).await;
    assert_eq!(direct.status, StatusCode::CONFLICT);
    direct.shows("Look first what would be done");

    let looked = bench.post(&path, &fields).await.next().to_owned();
    assert_eq!(bench.ended(&looked).await, RunState::Done);
    let preview = bench.get(&looked).await;
    preview.shows("1 file");
    preview.shows("Nothing is written yet");
    assert!(!Path::new(&target).exists(), "it only looked");
    let tried = looked.rsplit('=').next().unwrap();

    let mut all = fields.to_vec();
    all.extend([("tried", tried), ("back", &looked)]);
    bench.later(700);
    let confirm = bench.post(&format!("{path}/now"), &all).await;
    assert_eq!(confirm.status, StatusCode::FORBIDDEN);
    confirm.shows("Is it you?");
    assert!(!Path::new(&target).exists());
    let back = bench.post("/confirm", &[("password", "correct horse battery"), ("next", &looked)]).await;
    assert_eq!(back.next(), looked);
    // Another folder, other files, another rule, or something more that goes: none of it was looked at.
    let [at, which, rule] = fields;
    let was = [("tried", tried)];
    for other in [
        &[("target", "/somewhere/else"), which, rule][..],
        &[at, rule],
        &[at, which, ("overwrite", "always")],
        &[at, which, rule, ("delete", "yes")],
    ] {
        let answer = bench.post(&format!("{path}/now"), &[other, &was].concat()).await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{other:?}");
    }
    let done = bench.post(&format!("{path}/now"), &all).await;
    assert_eq!(bench.ended(done.next()).await, RunState::Done);
    assert_eq!(std::fs::read_to_string(Path::new(&target).join("file-2.txt")).unwrap(), "what stands in 2\n");
    assert!(!Path::new(&target).join("file-1.txt").exists());
    bench.get(done.next()).await.shows("Written");
    // In place is possible, and said.
    let live = bench.post(&path, &[("target", bench.folder.to_str().unwrap())]).await.next().to_owned();
    bench.ended(&live).await;
    bench.get(&live).await.shows("This is a folder that is backed up");
}

//! The worst day: live folders brought back, collections of others laid out and taken over.

use http::StatusCode;

use super::content::Bench;
use crate::backup::select;
use crate::domain::id::{CollectionId, InstanceId};
use crate::http::admin::StartRecovery;
use crate::http::admin::view::run::RunState;
use crate::store::entropy;
use crate::store::index::NewCollection;
use crate::store::testing::peer;

impl Bench {
    /// A collection `theirs` that a peer leads.
    pub(super) async fn of_another(&self) -> InstanceId {
        let origin = peer("beta").id;
        let id = CollectionId::random(&mut entropy());
        let new = NewCollection { id, name: "theirs".to_owned(), origin, settings: None };
        self.planes.plane.store().index.add_collection(&new).await.unwrap();
        origin
    }

    async fn confirm(&self, next: &str) {
        let answer = self.post("/confirm", &[("password", super::PASSWORD), ("next", next)]).await;
        assert_eq!(answer.next(), next);
    }

    /// What is kept beside the live folder.
    fn kept(&self) -> Vec<std::path::PathBuf> {
        let beside = std::fs::read_dir(self.folder.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
        beside.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("notes.damaged-")).collect()
    }
}

#[tokio::test]
async fn live_folders_come_back_after_a_look_and_what_was_there_is_kept() {
    let bench = Bench::with_snapshots(1).await;
    let file = bench.folder.join("file-1.txt");
    std::fs::write(&file, "damaged\n").unwrap();
    let path = "/collections/notes/recover";
    bench.get("/collections/notes").await.shows(path);
    bench.get(path).await.shows("Stop the application first");
    let direct = bench.post(&format!("{path}/now"), &[("snapshot", "1")]).await;
    assert_eq!(direct.status, StatusCode::CONFLICT);
    direct.shows("Look first what would be done");
    let bad = bench.post(path, &[("paths", "../etc")]).await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
    bad.shows("paths-wrong");

    let looked = bench.post(path, &[]).await.next().to_owned();
    assert_eq!(bench.ended(&looked).await, RunState::Done);
    let preview = bench.get(&looked).await;
    preview.shows("snapshot @1");
    preview.shows("Nothing is changed yet");
    preview.shows("notes.damaged-");
    assert_eq!((std::fs::read_to_string(&file).unwrap().as_str(), bench.kept().len()), ("damaged\n", 0));

    let tried = looked.rsplit('=').next().unwrap();
    let fields = [("tried", tried), ("back", looked.as_str())];
    bench.later(700);
    let confirm = bench.post(&format!("{path}/now"), &fields).await;
    assert_eq!(confirm.status, StatusCode::FORBIDDEN);
    bench.confirm(&looked).await;
    // Other files, or other sessions, are not what was looked at.
    for other in [("paths", "file-1.txt"), ("drop_sessions", "yes")] {
        let answer = bench.post(&format!("{path}/now"), &[("tried", tried), other]).await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{other:?}");
        answer.shows("Look first what would be done");
    }
    let lock = bench.planes.plane.store().lock_backup().unwrap();
    let busy = bench.post(&format!("{path}/now"), &fields).await;
    assert_eq!(busy.status, StatusCode::CONFLICT, "a backup goes on: {}", busy.text());
    drop(lock);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "damaged\n");

    let done = bench.post(&format!("{path}/now"), &fields).await;
    assert_eq!(bench.ended(done.next()).await, RunState::Done);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "what stands in 1\n");
    let kept = bench.kept();
    assert_eq!(std::fs::read_to_string(kept[0].join("file-1.txt")).unwrap(), "damaged\n");
    let page = bench.get(done.next()).await;
    page.shows("<h1>Recovery of notes</h1>");
    page.shows("What was there before");
    page.shows(kept[0].to_str().unwrap());
    let audit = bench.planes.plane.store().audit(100).await.unwrap();
    let recoveries: Vec<_> = audit.iter().filter(|entry| entry.what == "recover").collect();
    assert_eq!(recoveries.len(), 1, "what only looked is not on record: {recoveries:?}");
}

#[tokio::test]
async fn nothing_is_brought_back_under_an_application_that_runs_unless_it_is_forced() {
    let bench = Bench::with_snapshots(1).await;
    let file = bench.folder.join("file-1.txt");
    std::fs::write(&file, "in use\n").unwrap();
    let mut application = std::process::Command::new("sleep").arg("600").current_dir(&bench.folder).spawn().unwrap();
    let path = "/collections/notes/recover";
    let looked = bench.post(path, &[]).await.next().to_owned();
    bench.ended(&looked).await;
    bench.get(&looked).await.shows("application seems to run, a recovery would refuse");
    let tried = looked.rsplit('=').next().unwrap();
    let refused = bench.post(&format!("{path}/now"), &[("tried", tried)]).await;
    assert_eq!(bench.ended(refused.next()).await, RunState::Failed);
    bench.get(refused.next()).await.shows("works in the folder");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "in use\n");
    bench.later(1);
    let forced = bench.post(&format!("{path}/now"), &[("tried", tried), ("force", "yes")]).await;
    assert_eq!(bench.ended(forced.next()).await, RunState::Done);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "what stands in 1\n");
    application.kill().unwrap();
    application.wait().unwrap();
}

#[tokio::test]
async fn what_is_another_instances_is_not_recovered_but_laid_out() {
    let bench = Bench::with_snapshots(1).await;
    bench.of_another().await;
    bench.get("/collections/theirs/recover").await.shows("Its folders are not on this machine");
    let start = StartRecovery { collection: "theirs".to_owned(), ..StartRecovery::default() };
    assert_eq!(bench.planes.plane.recovery_order(start).await.unwrap_err().code(), "not-here");

    let to = "/collections/theirs/standby";
    let into = bench.folder.with_file_name("laid-out");
    bench.get("/collections/theirs").await.shows("Keep it laid out");
    for (wrong, why) in [("laid-out", "absolute path"), (bench.folder.to_str().unwrap(), "overlap")] {
        let answer = bench.post(to, &[("what", "add"), ("into", wrong)]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        answer.shows(why);
    }
    let own = bench.post("/collections/notes/standby", &[("what", "add"), ("into", into.to_str().unwrap())]).await;
    assert_eq!(own.status, StatusCode::CONFLICT);
    let added = bench.post(to, &[("what", "add"), ("into", into.to_str().unwrap())]).await;
    assert_eq!(added.next(), "/collections/theirs");
    bench.get("/collections/theirs").await.shows("nothing is laid out yet");
    let run = bench.post(to, &[("what", "run")]).await;
    assert_eq!(bench.ended(run.next()).await, RunState::Done);
    bench.get(run.next()).await.shows("nothing yet");
    let elsewhere = bench.post(to, &[("what", "add"), ("into", "/somewhere/else")]).await;
    assert_eq!(elsewhere.status, StatusCode::CONFLICT);
    assert_eq!(bench.post(to, &[("what", "remove")]).await.next(), "/collections/theirs");
    assert_eq!(bench.post(to, &[("what", "remove")]).await.status, StatusCode::NOT_FOUND);
    assert!(bench.planes.plane.standby("theirs").await.unwrap().is_none());
}

#[tokio::test]
async fn only_an_heir_takes_over_and_only_who_typed_the_password_just_now() {
    let bench = Bench::with_snapshots(1).await;
    let leader = bench.of_another().await;
    let path = "/collections/theirs/promote";
    bench.get("/collections/theirs").await.shows(path);
    bench.get("/collections/notes").await.hides("Take it over");
    let page = bench.get(path).await;
    page.shows("no heir of it");
    page.shows("bulbil peer appoint");
    bench.get("/collections/notes/promote").await.shows("It is led from here");
    let refused = bench.post("/collections/notes/promote", &[("data", bench.folder.to_str().unwrap())]).await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.text());
    bench.later(700);
    assert_eq!(bench.get(path).await.next(), format!("/confirm?next={path}"));
    assert_eq!(bench.post(path, &[("back", path)]).await.status, StatusCode::FORBIDDEN);
    let known = select::collection(bench.planes.plane.store(), "theirs").await.unwrap();
    assert_eq!(known.origin, leader);
}

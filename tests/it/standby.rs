//! Standbys: the newest snapshot of another's collection is kept laid out in a folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bulbil::domain::id::ManifestId;
use bulbil::domain::peer::{Role, Scope};
use bulbil::monitor::Tally;
use bulbil::store::index::{Collection, Peer, StandbySettings};
use bulbil::transport::memory::MemoryNet;
use bulbil::worker::follow::Worker;
use bulbil::worker::standby::{StandbyError, Standbys, Step, check, status};

use crate::replicate::{Instance, never, wait_for};
use crate::support::{BULBIL, assert_same_tree, everything, expect, init, run};

/// A source with a collection, and who pulls it and keeps it laid out.
struct Pair {
    source: Instance,
    standby: Instance,
    notes: Collection,
    peer: Peer,
}

impl Pair {
    async fn new(role: Role) -> Self {
        let net = MemoryNet::new();
        let (source, standby) = (Instance::new(&net, "alpha", 1).await, Instance::new(&net, "beta", 2).await);
        let notes = source.collection("notes").await;
        let peer = source.let_in(&standby, role, false).await;
        Self { source, standby, notes, peer }
    }

    /// A snapshot of a file with this content, made and pulled.
    async fn next(&self, seed: u64) -> ManifestId {
        self.source.put("notes/file", seed, 100_000);
        let id = self.source.backup(&self.notes).await;
        self.standby.puller.sync(&self.peer, Duration::ZERO, &never()).await.unwrap();
        self.standby.puller.fetch(None, std::slice::from_ref(&self.peer), &never()).await.unwrap();
        id
    }

    fn folder(&self) -> PathBuf {
        self.standby.dir.path().join("laid/notes")
    }

    async fn collection(&self) -> Collection {
        self.standby.store.index.collection(&self.notes.id).await.unwrap().unwrap()
    }

    async fn is_told(&self, hook: Option<&str>) {
        let settings = StandbySettings { into: self.folder(), hook: hook.map(str::to_owned) };
        check(&self.standby.store, &self.collection().await, &settings.into).await.unwrap();
        self.standby.store.index.set_standby(&self.notes.id, Some(&settings)).await.unwrap();
    }

    fn standbys(&self) -> Standbys {
        Standbys::new(self.standby.store.clone(), self.standby.clock.clone(), Arc::new(Tally::default()))
    }

    async fn step(&self) -> Result<Step, StandbyError> {
        self.standbys().step(&self.collection().await, &never()).await
    }

    fn has(&self, dir: &Path, seed: u64) -> bool {
        fs::read(dir.join("file")).is_ok_and(|bytes| bytes == crate::replicate::noise(seed, 100_000))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_is_laid_out_once_and_those_in_between_are_passed_over_and_the_hook_hears_of_each() {
    let pair = Pair::new(Role::Reader).await;
    pair.next(1).await;
    let heard = pair.standby.dir.path().join("heard");
    let say = "echo $BULBIL_COLLECTION $BULBIL_SNAPSHOT $BULBIL_SEQUENCE $BULBIL_TARGET";
    pair.is_told(Some(&format!("{say} >> {}", heard.display()))).await;
    assert!(matches!(pair.step().await.unwrap(), Step::Done(here, None) if here.sequence == 1));
    // As after a restart.
    assert!(matches!(pair.step().await.unwrap(), Step::Current(here) if here.sequence == 1));
    pair.next(2).await;
    let third = pair.next(3).await;
    assert!(matches!(pair.step().await.unwrap(), Step::Done(here, None) if here.snapshot == third));
    assert!(pair.has(&pair.folder(), 3) && pair.has(&pair.folder().with_file_name("notes.previous"), 1));
    let heard = fs::read_to_string(heard).unwrap();
    let lines: Vec<&str> = heard.lines().collect();
    assert_eq!(lines.len(), 2, "{heard}");
    assert_eq!(lines[1], format!("notes {third} 3 {}", pair.folder().display()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_fails_is_told_of_and_undoes_nothing() {
    let pair = Pair::new(Role::Reader).await;
    pair.next(1).await;
    pair.is_told(Some("echo no; exit 3")).await;
    let Step::Done(_, Some(error)) = pair.step().await.unwrap() else { panic!("the hook fails") };
    assert!(error.contains("exit status: 3"), "{error}");
    assert!(pair.has(&pair.folder(), 1));
    let status = status(&pair.standby.store).await.unwrap().remove(0);
    assert_eq!((status.error, status.hook_error), (None, Some(error)));
    assert!(matches!(pair.step().await.unwrap(), Step::Current(_)), "it is not run again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_restored_whole_leaves_the_old_one_and_a_blind_mirror_is_none() {
    let pair = Pair::new(Role::Reader).await;
    pair.next(1).await;
    pair.is_told(None).await;
    pair.step().await.unwrap();
    // A chunk of the second snapshot rots before it is laid out.
    let before: Vec<_> = pair.standby.written.writes.lock().unwrap().keys().copied().collect();
    pair.next(2).await;
    let store = &pair.standby.store;
    let new: Vec<_> = pair.standby.written.writes.lock().unwrap().keys().copied().collect();
    for id in new.iter().filter(|id| !before.contains(id)) {
        let path = store.home.root().join("chunks").join(&id.to_string()[..2]).join(&id.to_string()[2..4]);
        let mut bytes = fs::read(path.join(id.to_string())).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path.join(id.to_string()), bytes).unwrap();
    }
    let error = pair.step().await.unwrap_err().to_string();
    assert!(pair.has(&pair.folder(), 1), "{error}");
    let told = status(store).await.unwrap().remove(0);
    assert_eq!((told.error, told.laid_out.map(|here| here.sequence)), (Some(error), Some(1)));
    let names = fs::read_dir(pair.folder().parent().unwrap()).unwrap().count();
    assert_eq!(names, 2, "what was begun is removed");

    let pair = Pair::new(Role::Mirror).await;
    pair.next(1).await;
    let blind = check(&pair.standby.store, &pair.collection().await, &pair.folder()).await.unwrap_err();
    assert!(matches!(blind, StandbyError::Blind(_)), "{blind}");
    let own = check(&pair.source.store, &pair.notes, &pair.folder()).await.unwrap_err();
    assert!(matches!(own, StandbyError::Own(_)), "{own}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_of_which_one_collection_is_mirrored_is_not_asked_for_chunks_of_others() {
    let pair = Pair::new(Role::Reader).await;
    let wiki = pair.source.collection("wiki").await;
    pair.source.put("notes/file", 1, 100_000);
    pair.source.put("wiki/file", 2, 100_000);
    let (notes, other) = (pair.source.backup(&pair.notes).await, pair.source.backup(&wiki).await);
    let index = &pair.standby.store.index;
    let only = Peer { mirror: Scope::Only([pair.notes.id].into()), ..pair.peer.clone() };
    index.save_peer(&only).await.unwrap();
    let worker = Worker::new(pair.standby.puller.clone(), pair.standby.serve.clone(), Duration::from_secs(3600));
    let (_wake, woken) = tokio::sync::watch::channel(0);
    let (cancel, tasks) = (never(), tokio_util::task::TaskTracker::new());
    tasks.spawn(worker.clone().run(woken, cancel.clone()));
    wait_for(async || index.snapshot(&notes).await.unwrap().is_some_and(|snapshot| snapshot.complete)).await;
    wait_for(async || worker.status().first().is_some_and(|peer| peer.last.is_some() && !peer.busy)).await;
    assert!(!index.snapshot(&other).await.unwrap().unwrap().complete, "its manifest is known, its chunks are not here");
    assert_eq!(index.missing_segments(10).await.unwrap(), []);
    cancel.cancel();
    tasks.close();
    tasks.wait().await;
}

/// A process that is ended with the test.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(home: &Path) -> Serving {
    fs::write(home.join("bulbil.toml"), "[tor]\nenabled = false\n").unwrap();
    let mut command = Command::new(BULBIL);
    command.arg("--home").arg(home).args(["serve", "--direct", "127.0.0.1:0"]).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let out = child.stdout.take().unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(out));
    assert!(lines.map_while(Result::ok).any(|line| line.starts_with("ready")), "it does not serve");
    Serving(child)
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what} does not happen");
        std::thread::yield_now();
    }
}

#[test]
fn on_the_command_line_a_backup_there_is_laid_out_here_within_moments() {
    let dir = tempfile::tempdir().unwrap();
    let (alpha, beta, source) = (dir.path().join("alpha"), dir.path().join("beta"), dir.path().join("source"));
    let into = dir.path().join("laid");
    init(&alpha, "alpha");
    everything(&source);
    expect(0, &alpha, &["collection", "add", "notes", source.to_str().unwrap()]);
    expect(0, &alpha, &["backup", "-q"]);
    let _alpha = serve(&alpha);
    let invite = expect(0, &alpha, &["invite", "--collections", "all", "-q"]);
    let invite = invite.lines().find(|line| line.starts_with("bulbil:")).unwrap();
    expect(0, &beta, &["clone", invite, "--name", "beta", "--yes", "-q"]);

    let add = ["standby", "add", "notes", "--into", into.to_str().unwrap()];
    fs::create_dir(&into).unwrap();
    fs::write(into.join("theirs"), "x").unwrap();
    assert!(String::from_utf8_lossy(&run(&beta, &add).stderr).contains("nothing in it is touched"));
    fs::remove_file(into.join("theirs")).unwrap();
    expect(0, &beta, &add);
    assert!(expect(0, &beta, &["standby", "run"]).contains("snapshot 1 is laid out now"));
    assert_same_tree(&source, &into);
    assert!(expect(0, &beta, &["standby", "run", "notes"]).contains("already"));
    assert!(expect(0, &beta, &["mirror", "alpha", "--collections", "notes"]).contains("notes"));
    // What an admin has set survives a rebuild (R7).
    expect(0, &beta, &["rebuild"]);
    assert!(expect(0, &beta, &["peer", "list"]).contains("notes"));

    let _beta = serve(&beta);
    let listening = || expect(0, &beta, &["status", "--json"]).contains("\"listening\":true");
    until("listening", listening);
    fs::write(source.join("new"), "new").unwrap();
    expect(0, &alpha, &["backup", "-q"]);
    until("laying out", || into.join("new").exists());
    assert_same_tree(&source, &into);
    let status: serde_json::Value = serde_json::from_str(&expect(0, &beta, &["status", "--json"])).unwrap();
    let (here, live) = (&status["result"]["standbys"][0], &status["result"]["live"]["standbys"][0]);
    assert_eq!((&here["laid_out"]["sequence"], &live["sequence"]), (&2.into(), &2.into()), "{status}");
    assert!(expect(0, &beta, &["standby", "remove", "notes"]).contains("stays"));
    assert!(into.join("new").exists());
}

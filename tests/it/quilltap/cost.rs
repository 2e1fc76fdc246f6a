//! Rows 27 and 28: what days cost, what is left out and how that is seen before, and how a restore goes on.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::sync::Mutex;
use std::thread::ThreadId;

use bulbil::backup::open::OpenSnapshot;
use bulbil::backup::restore::{Overwrite, RestoreOptions, restore};
use bulbil::monitor::{Counter, Monitor, Problem};
use tokio_util::sync::CancellationToken;

use super::World;
use crate::support;

#[test]
fn row_27_thirty_days_cost_far_less_than_thirty_copies_and_a_longer_chat_little_more_than_its_tail() {
    let world = World::new();
    super::generator(&world.app(), &["--layout", "app17", "--plain"]);
    world.good(&["collection", "add", "tales", "--preset", "quilltap", world.app().to_str().unwrap()]);
    let mut stored = Vec::new();
    let mut whole = 0;
    for day in 1..=30 {
        let made = world.json(0, &["backup"]);
        stored.push(made[0]["statistics"]["new_bytes"].as_u64().unwrap());
        whole += made[0]["statistics"]["bytes"].as_u64().unwrap();
        super::generator(&world.app(), &["--mutate", &day.to_string()]);
    }
    let all: u64 = stored.iter().sum();
    // Against thirty copies, and against thirty copies that are compressed as well as the first one.
    assert!(all * 20 < whole, "{all} of {whole}");
    assert!(all * 3 < stored[0] * 30, "{all}, and {} for the first day", stored[0]);
    // 26 lines more in the chat of ten thousand.
    world.good(&["backup"]);
    let chats = fs::read_dir(world.app().join("data/chats")).unwrap().map(|entry| entry.unwrap().path());
    let giant = chats.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let text = fs::read_to_string(&giant).unwrap();
    assert!(text.lines().count() > 10_000);
    let tail: String = text.lines().take(26).map(|line| format!("{line}\n")).collect();
    fs::File::options().append(true).open(&giant).unwrap().write_all(tail.as_bytes()).unwrap();
    let made = world.run(&["backup", "--json"]);
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    let new = made["result"][0]["statistics"]["new_bytes"].as_u64().unwrap();
    let size = fs::metadata(&giant).unwrap().len();
    assert!(new < size / 8 && new < 200_000, "{new} for {} more bytes in a chat of {size}", tail.len());
    // What takes the space, by folder.
    let usage = world.good(&["usage", "tales"]);
    assert!(usage.contains("quilltap/data/chats") || usage.contains("quilltap/data"), "{usage}");
}

#[test]
fn row_27_excludes_are_seen_before_they_are_set_and_a_higher_level_stores_less() {
    let world = World::with("app17");
    super::write(&world.app().join("data/notes/draft.txt"), &"what somebody wrote\n".repeat(500));
    let look = world.json(0, &["backup", "tales", "--dry-run", "--exclude", "/data/notes/"]);
    let left_out = look[0]["left_out"].as_array().unwrap();
    let notes = left_out.iter().find(|one| one["path"] == "quilltap/data/notes").unwrap();
    assert_eq!((notes["files"].as_u64(), notes["bytes"].as_u64()), (Some(1), Some(10_000)));
    assert!(left_out.iter().any(|one| one["path"].as_str().unwrap().ends_with(".lock")), "{look}");
    // It was a look: nothing was made, nothing was set.
    assert!(world.json(0, &["snapshots"]).as_array().unwrap().is_empty());
    assert_eq!(world.json(0, &["collection", "list"])[0]["settings"]["excludes"].as_array().unwrap().len(), 0);
    world.good(&["collection", "set", "tales", "--exclude", "/data/notes/"]);
    let made = world.json(0, &["backup", "tales"]);
    assert_eq!(made[0]["statistics"]["files"], look[0]["files"]);
    assert!(!world.listed().iter().any(|path| path.contains("data/notes")));
    // Each collection has its own level.
    let folder = world.app().join("data");
    for (name, level) in [("fast", "1"), ("small", "19")] {
        world.good(&["collection", "add", name, folder.to_str().unwrap(), "--compression", level]);
    }
    let bytes = |name: &str| world.json(0, &["backup", name])[0]["statistics"]["new_bytes"].as_u64().unwrap();
    let (fast, small) = (bytes("fast"), bytes("small"));
    assert!(small < fast, "{small} and {fast}");
}

/// Writes down who reports what.
#[derive(Default)]
struct Watching {
    state: Mutex<Seen>,
    stop_after: Option<u64>,
    cancel: CancellationToken,
}

#[derive(Default)]
struct Seen {
    writers: HashSet<ThreadId>,
    done: u64,
    files: u64,
    total: Option<u64>,
    problems: Vec<Problem>,
}

impl Monitor for Watching {
    fn task(&self, _: &str, counter: Counter, total: Option<u64>) {
        let mut seen = self.state.lock().unwrap();
        if counter == Counter::BytesDone {
            (seen.total, seen.done) = (total, 0);
        }
    }

    fn add(&self, counter: Counter, n: u64) {
        let mut seen = self.state.lock().unwrap();
        match counter {
            Counter::BytesDone => {
                seen.done += n;
                assert!(seen.total.is_none_or(|total| seen.done <= total), "{} of {:?}", seen.done, seen.total);
                seen.writers.insert(std::thread::current().id());
            }
            Counter::Entries => {
                seen.files += 1;
                if self.stop_after.is_some_and(|files| seen.files >= files) {
                    self.cancel.cancel();
                }
            }
            _ => {}
        }
    }

    fn take_back(&self, counter: Counter, n: u64) {
        panic!("{n} of {counter:?} were taken back: progress goes backwards");
    }

    fn notice(&self, _: &str) {}

    fn problem(&self, problem: Problem) {
        self.state.lock().unwrap().problems.push(problem);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_28_a_restore_of_many_files_has_several_writers_moves_forward_only_and_is_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    for folder in 0..20 {
        let folder = source.join(format!("{folder}"));
        fs::create_dir_all(&folder).unwrap();
        for file in 0..150 {
            fs::write(folder.join(format!("{file}.json")), support::noise(file, 3000)).unwrap();
        }
    }
    let store = support::home(&dir.path().join("home"), "alpha").await;
    let notes = support::collection(&store, "notes", &[&source]).await;
    let tally = std::sync::Arc::new(bulbil::monitor::Tally::default());
    let never = CancellationToken::new();
    let created =
        bulbil::backup::create::create(&store, &notes, &bulbil::clock::SystemClock, tally, &never).await.unwrap();
    let into = |name: &str, watching: &Watching| {
        let open = OpenSnapshot::open(&store, &created.id).unwrap();
        let options =
            RestoreOptions { paths: Vec::new(), overwrite: Overwrite::IfChanged, delete: false, dry_run: false };
        restore(&store.chunks, &open, &dir.path().join(name), &options, watching, &watching.cancel)
    };
    let watching = Watching::default();
    let stats = into("out", &watching).unwrap();
    let seen = watching.state.into_inner().unwrap();
    assert_eq!((stats.files, seen.problems.len()), (3000, 0));
    assert_eq!(Some(seen.done), seen.total);
    if std::thread::available_parallelism().unwrap().get() > 1 {
        assert!(seen.writers.len() > 1, "{:?}", seen.writers);
    }
    support::assert_same_tree(&source, &dir.path().join("out"));
    // Stopped in the middle, in a folder that has something in it: what is there is whole, and is not written again.
    let half = dir.path().join("half");
    fs::create_dir(&half).unwrap();
    fs::write(half.join("mine"), "mine").unwrap();
    let watching = Watching { stop_after: Some(1000), ..Watching::default() };
    assert!(into("half", &watching).is_err());
    let there = support::describe(&half);
    let whole = support::describe(&source);
    let files = there.iter().filter(|(path, _)| path.ends_with(b".json")).count();
    assert!((300..3000).contains(&files), "{files}");
    let is_whole = |(path, what): &(&Vec<u8>, &String)| !path.ends_with(b".json") || whole.get(*path) == Some(*what);
    assert!(there.iter().all(|entry| is_whole(&entry)));
    let watching = Watching::default();
    let stats = into("half", &watching).unwrap();
    assert_eq!((stats.skipped as usize, stats.files as usize), (files, 3000 - files));
    fs::remove_file(half.join("mine")).unwrap();
    let (out, again) = (support::describe(&half), whole);
    let differ: Vec<_> =
        again.iter().filter(|(path, what)| path.ends_with(b".json") && out.get(*path) != Some(what)).collect();
    assert!(differ.is_empty() && out.len() == again.len(), "{differ:?}");
}

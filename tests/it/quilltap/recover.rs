//! Rows 11, 18, 24: the live data comes back, with nothing destroyed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{World, generator, said};
use crate::kill::kill_when;

/// Each way in which the generator damages data.
const KINDS: [&str; 14] = [
    "truncated-json",
    "bad-jsonl",
    "torn-jsonl",
    "invalid-utf8",
    "missing-image",
    "missing-character",
    "missing-chat",
    "zero-length",
    "unreadable",
    "bitflip",
    "bad-authtag",
    "shrunk-chat",
    "fifo",
    "stale-lock",
];

/// What the generator says of a tree, without what is left out of backups: locks, half files, a cache.
fn manifest(folder: &Path) -> Vec<String> {
    let file = folder.with_file_name("manifest");
    generator(folder, &["--manifest", file.to_str().unwrap()]);
    let text = fs::read_to_string(file).unwrap();
    let left_out = |line: &str| line.contains(".lock\"") || line.contains(".tmp.") || line.contains("binaries/cache");
    text.lines().filter(|line| !left_out(line)).map(str::to_owned).collect()
}

/// What lies beside the application: what was there before.
fn damaged(world: &World) -> Vec<PathBuf> {
    let beside = world.app().parent().unwrap().to_owned();
    let entries = fs::read_dir(beside).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("quilltap.damaged-")).collect()
}

#[track_caller]
fn assert_equal(world: &World, before: &[String], what: &str) {
    let now = manifest(&world.app());
    let gone: Vec<_> = before.iter().filter(|line| !now.contains(line)).collect();
    let extra: Vec<_> = now.iter().filter(|line| !before.contains(line)).collect();
    assert!(gone.is_empty() && extra.is_empty(), "{what}: gone {gone:#?}, extra {extra:#?}");
}

/// Nobody has to wait until a lock is stale.
fn age(path: &Path) {
    let old = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000));
    fs::File::options().write(true).open(path).unwrap().set_times(old).unwrap();
}

#[test]
fn row_24_each_kind_of_damage_is_undone_by_one_command_and_the_damaged_tree_is_kept() {
    for kind in KINDS {
        let world = World::with("app17");
        fs::write(world.app().join(".env"), "ENCRYPTION_MASTER_PEPPER=x\n").unwrap();
        let secrets = super::drill::secrets(&world, super::drill::PEPPER);
        let before = manifest(&world.app());
        world.good(&["backup"]);
        let path = world.corrupt(kind);
        let was = fs::symlink_metadata(world.app().join(&path)).ok().map(|found| found.ino());
        if kind == "stale-lock" {
            age(&world.app().join(&path));
        } else {
            assert_ne!(manifest(&world.app()), before, "{kind} changes something");
        }
        // The damage is backed up, too. Where a backup sees it, the snapshot says so; else a recovery does when it has made it.
        match kind {
            // Nothing is wrong with them that a rule knows; the last is left out.
            "unreadable" | "fifo" | "stale-lock" => {}
            "bitflip" | "bad-authtag" => drop(world.good(&["backup"])),
            _ => assert_eq!(world.run(&["backup"]).status.code(), Some(2), "{kind}"),
        }
        let report = world.json(0, &["recover", "tales", "--secrets", &secrets])["report"].clone();
        assert_equal(&world, &before, kind);
        assert_eq!((&report["chosen"]["sequence"], &report["ending"]), (&1.into(), &"recovered".into()), "{kind}");
        assert_eq!(report["live"]["errors"], 0, "{kind}");
        let kept = damaged(&world);
        assert_eq!(kept.len(), 1, "{kind}: {kept:?}");
        let then = fs::symlink_metadata(kept[0].join(&path)).ok().map(|found| found.ino());
        assert_eq!(then, was, "{kind}: what was damaged is kept");
        assert!(!world.app().parent().unwrap().join(".bulbil-recover-quilltap").exists(), "{kind}");
        if kind != "truncated-json" {
            continue;
        }
        // And all is well again.
        world.good(&["backup"]);
        assert!(world.listed().iter().all(|path| !path.contains("damaged")), "{kind}");
    }
}

#[test]
fn row_11_day_one_comes_back_without_what_day_two_brought() {
    let world = World::with("app17");
    fs::create_dir_all(world.app().join("node_modules/x")).unwrap();
    fs::write(world.app().join("node_modules/x/index.js"), "code").unwrap();
    let before = manifest(&world.app());
    world.good(&["backup", "--tag", "before-upgrade"]);
    generator(&world.app(), &["--mutate", "2"]);
    super::write(&world.app().join("data/late/late.txt"), "late");
    world.run(&["backup"]);
    let two = manifest(&world.app());
    assert_ne!(before, two);
    // Only looked at.
    let planned = world.json(0, &["recover", "tales", "--snapshot", "before-upgrade", "--dry-run"])["report"].clone();
    assert_eq!((&planned["ending"], &planned["chosen"]["sequence"]), (&"planned".into(), &1.into()));
    assert_equal(&world, &two, "only looked at");
    let text = world.good(&["recover", "tales", "--snapshot", "before-upgrade"]);
    assert_equal(&world, &before, "day one");
    assert!(text.contains("next: start the application") && text.contains("what was there before"), "{text}");
    // Rolled forward again by the kept tree: it is day two as it was.
    let kept = damaged(&world).pop().unwrap();
    assert!(kept.join("data/late/late.txt").exists());
    assert_eq!(fs::metadata(&kept).unwrap().mode() & 0o777, 0o700);
    // What is named twice, or lies in something else that is named, comes once.
    fs::remove_file(world.app().join("data/tags/tags.json")).unwrap();
    let twice = ["--path", "data/tags", "--path", "data", "--path", "data"];
    world.good(&[&["recover", "tales", "--snapshot", "before-upgrade"], &twice[..]].concat());
    assert_equal(&world, &before, "named twice");
}

#[test]
fn row_11_it_refuses_while_the_application_runs_unless_forced() {
    let world = World::with("app17");
    let before = manifest(&world.app());
    world.good(&["backup"]);
    world.corrupt("zero-length");
    let damaged_now = manifest(&world.app());
    let refused = |world: &World, args: &[&str], why: &str| {
        let said = said(&world.run(&[&["recover", "tales"], args].concat()));
        assert!(said.contains("seems to run") && said.contains(why), "{said}");
        assert_equal(world, &damaged_now, "refused");
        assert_eq!(damaged(world).len(), 0);
    };
    // A file is open.
    let open = fs::File::open(world.app().join("data/chats/index.jsonl")).unwrap();
    let mut app = Command::new("sleep").arg("600").stdin(open).spawn().unwrap();
    refused(&world, &[], &format!("process {} (sleep) has", app.id()));
    // It is stopped first, and then it does not run.
    let stop = format!(
        "kill {}; while kill -0 {0} 2>/dev/null && ! grep -q 'State:.Z' /proc/{0}/status; do :; done",
        app.id()
    );
    world.good(&["recover", "tales", "--stop", &stop]);
    app.wait().unwrap();
    assert_equal(&world, &before, "stopped and recovered");
    fs::remove_dir_all(damaged(&world).pop().unwrap()).unwrap();
    world.corrupt("zero-length");
    // It works in the folder.
    let mut app = Command::new("sleep").arg("600").current_dir(world.app()).spawn().unwrap();
    refused(&world, &[], "works in the folder");
    app.kill().unwrap();
    app.wait().unwrap();
    // It answers, whatever it answers.
    let server = Answering::start(vec![503; 2]);
    refused(&world, &["--health", &server.url], "answers 503");
    drop(server);
    // A lock was taken just now.
    fs::write(world.app().join("data/settings/general.json.lock"), "").unwrap();
    refused(&world, &[], "general.json.lock was locked");
    world.good(&["recover", "tales", "--force"]);
    assert_equal(&world, &before, "forced");
}

/// Something that answers as an application: with these statuses, one after another, and then with the last one.
struct Answering {
    url: String,
    over: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
    address: std::net::SocketAddr,
}

impl Answering {
    fn start(statuses: Vec<u16>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = over.clone();
        let thread = std::thread::spawn(move || {
            use std::io::{Read, Write};
            for n in 0.. {
                let (mut stream, _) = listener.accept().unwrap();
                if seen.load(std::sync::atomic::Ordering::Acquire) {
                    return;
                }
                let _ = stream.read(&mut [0; 4000]);
                let status = statuses.get(n).or(statuses.last()).unwrap();
                let _ = write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            }
        });
        Self { url: format!("http://{address}/api/health"), over, thread: Some(thread), address }
    }
}

impl Drop for Answering {
    #[expect(clippy::disallowed_methods, reason = "to a thread of this test, on loopback")]
    fn drop(&mut self) {
        self.over.store(true, std::sync::atomic::Ordering::Release);
        let _ = std::net::TcpStream::connect(self.address);
        self.thread.take().unwrap().join().unwrap();
    }
}

#[test]
fn row_24_what_the_application_answers_afterwards_is_told_apart_and_the_report_says_all() {
    let world = World::with("app17");
    world.good(&["backup"]);
    for (statuses, code, up, means) in
        [(vec![503, 503, 200], 0, true, "it is up"), (vec![503, 423], 2, false, "documentation")]
    {
        world.corrupt("zero-length");
        let marker = world.path("started");
        let server = Answering::start(statuses);
        // The health address of what is not started yet: nobody answers before it is.
        let start = format!("touch {}", marker.display());
        let args = ["recover", "tales", "--force", "--start", &start, "--wait", "60s", "--health", &server.url];
        let result = world.json(code, &args);
        let (report, health) = (&result["report"], &result["report"]["health"]);
        assert!(marker.exists() && health["up"] == up, "{health}");
        assert!(health["means"].as_str().unwrap().contains(means), "{health}");
        assert_eq!(report["ending"], "recovered", "an answer that means something else is no failed recovery");
        let written: Vec<PathBuf> = serde_json::from_value(result["written"].clone()).unwrap();
        for path in &written {
            assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o600);
        }
        let text = fs::read_to_string(&written[0]).unwrap();
        for part in [
            "Chosen: snapshot 1",
            "What was there before",
            "put it in place",
            "checked the live data",
            "What to do next",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let json: Value = serde_json::from_slice(&fs::read(&written[1]).unwrap()).unwrap();
        assert_eq!(json["format"], "bulbil-recovery/1");
        fs::remove_dir_all(damaged(&world).pop().unwrap()).unwrap();
        written.iter().for_each(|path| fs::remove_file(path).unwrap());
    }
    let log = world.good(&["audit"]);
    assert!(log.contains("recover"), "{log}");
}

#[test]
fn row_11_killed_anywhere_the_live_tree_is_the_old_or_the_new_one_and_the_next_finishes() {
    let world = World::with("app17");
    let one = manifest(&world.app());
    world.good(&["backup"]);
    generator(&world.app(), &["--mutate", "2"]);
    let two = manifest(&world.app());
    let beside = world.app().parent().unwrap().to_owned();
    let (stage, journal) = (beside.join(".bulbil-recover-quilltap"), world.home().join("recover"));
    let mut kills = 0;
    for files in [0, 1, 20, 60] {
        kills += usize::from(kill_when(&world.home(), &["recover", "tales", "--snapshot", "1"], || {
            stage.exists() && crate::kill::files(&stage) >= files
        }));
        let now = manifest(&world.app());
        assert!(now == one || now == two, "it is neither of both");
    }
    // At its very end.
    kills +=
        usize::from(kill_when(&world.home(), &["recover", "tales", "--snapshot", "1"], || damaged(&world).len() == 1));
    assert!(kills >= 3, "only {kills} kills hit");
    world.good(&["recover", "tales", "--snapshot", "1"]);
    assert_equal(&world, &one, "finished");
    assert!(!stage.exists() && fs::read_dir(&journal).unwrap().next().is_none());
    world.good(&["backup"]);
}

#[test]
fn row_18_a_corrupt_list_of_sessions_becomes_a_valid_empty_file_and_nothing_else_changes() {
    let world = World::with("app17");
    world.good(&["backup"]);
    let sessions = world.app().join("data/auth/sessions.jsonl");
    let mode = fs::metadata(&sessions).unwrap().mode();
    fs::write(&sessions, "{\"sessionToken\": \"secr").unwrap();
    let before = manifest(&world.app());
    let file = "data/auth/sessions.jsonl";
    world.good(&["recover", "tales", "--drop-sessions", "--path", file]);
    assert_eq!((fs::read(&sessions).unwrap(), fs::metadata(&sessions).unwrap().mode()), (vec![], mode));
    let others = |lines: &[String]| lines.iter().filter(|line| !line.contains(file)).cloned().collect::<Vec<_>>();
    assert_eq!(others(&manifest(&world.app())), others(&before));
    let kept = damaged(&world).pop().unwrap();
    assert_eq!(fs::read_to_string(kept.join(file)).unwrap(), "{\"sessionToken\": \"secr");
    fs::remove_dir_all(kept).unwrap();
    // One file as it was, in place; and everything, without sessions.
    world.good(&["recover", "tales", "--path", file]);
    assert!(!fs::read(&sessions).unwrap().is_empty());
    fs::remove_dir_all(damaged(&world).pop().unwrap()).unwrap();
    world.good(&["recover", "tales", "--drop-sessions"]);
    assert_eq!(fs::read(&sessions).unwrap(), b"");
    assert!(!fs::read(world.app().join("data/chats/index.jsonl")).unwrap().is_empty());
    let out = world.path("out");
    world.good(&["restore", "tales", "--target", out.to_str().unwrap(), "--drop-sessions"]);
    assert_eq!(fs::read(out.join(file)).unwrap(), b"");
    assert_eq!(world.json(0, &["check", "tales"])["errors"], 0);
}

#[test]
fn row_11_what_the_user_leaves_out_and_secrets_stay_with_the_application() {
    let world = World::new();
    let app = world.app();
    for (path, text) in [
        ("data/quilltap.db", "one"),
        ("data/quilltap.db-wal", "log of one"),
        ("data/quilltap.dbkey", "key"),
        ("data/quilltap.lock", "1"),
        ("files/a.png", "one"),
        ("files/thumbnails/a", "made by hand"),
        ("logs/x", "log"),
    ] {
        super::write(&app.join(path), text);
    }
    age(&app.join("data/quilltap.lock"));
    let add = ["collection", "add", "tales", "--preset", "quilltap-4", app.to_str().unwrap()];
    world.good(&[&add[..], &["--exclude", "/files/thumbnails/"]].concat());
    world.good(&["collection", "set", "tales", "--no-hooks"]);
    world.good(&["backup", "--capture", "stopped"]);
    for path in ["data/quilltap.db", "data/quilltap.db-wal", "files/a.png"] {
        super::write(&app.join(path), "two");
    }
    super::write(&app.join("data/late.db"), "two");
    super::write(&app.join("logs/x"), "more");
    let report = world.json(0, &["recover", "tales"])["report"].clone();
    let read = |path: &str| fs::read_to_string(app.join(path)).ok();
    for (path, text) in [
        ("data/quilltap.db", Some("one")),
        ("data/quilltap.db-wal", Some("log of one")),
        ("data/quilltap.dbkey", Some("key")),
        ("data/quilltap.lock", None),
        ("data/late.db", None),
        ("files/a.png", Some("one")),
        ("files/thumbnails/a", Some("made by hand")),
        ("logs/x", Some("more")),
    ] {
        assert_eq!(read(path).as_deref(), text, "{path}");
    }
    let told: Vec<_> = report["left_behind"].as_array().unwrap().iter().map(|one| one["path"].clone()).collect();
    assert!(told.contains(&"data/quilltap.lock".into()), "{told:?}");
    assert!(damaged(&world)[0].join("data/quilltap.lock").exists());
}

#[test]
fn row_11_a_volume_stays_mounted_and_what_is_in_it_changes_places() {
    let world = World::new();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/quilltap/make_quilltap_data.py");
    // The application's folder is a volume, and the characters are in another one.
    let text = format!(
        r#"set -e
        bulbil() {{ '{bulbil}' --home '{home}' -q "$@"; }}
        make() {{ python3 '{script}' app "$@"; }}
        cd '{dir}'
        mkdir app volume; mount -t tmpfs one app
        make --force --messages 200 --images 5 --chats 5 --layout app17 >/dev/null
        cp -a app/data/characters/. volume/; mount -t tmpfs two app/data/characters; cp -a volume/. app/data/characters/
        chmod 750 app/data/characters
        bulbil collection add tales --preset quilltap '{dir}/app' >/dev/null
        make --manifest one
        bulbil backup >/dev/null
        make --corrupt missing-character >/dev/null
        make --corrupt zero-length >/dev/null
        echo late > app/data/characters/late.json
        chmod 700 app/data/characters
        bulbil recover tales >/dev/null
        find app -name '.bulbil-recover*'
        test -f app/.bulbil-damaged-*/data/settings/general.json
        test -f app/data/characters/.bulbil-damaged-*/late.json
        bulbil backup >/dev/null
        bulbil ls -r tales | grep bulbil- || true
        make --manifest two
        mountpoint -q app/data/characters
        "#,
        bulbil = crate::support::BULBIL,
        home = world.home().display(),
        script = script.display(),
        dir = world.path("").display(),
    );
    let output = Command::new("unshare").args(["--mount", "--map-root-user", "sh", "-c", &text]).output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty(), "{}", said(&output));
    let lines = |name: &str| {
        let text = fs::read_to_string(world.path(name)).unwrap();
        let odd = [".lock\"", ".tmp.", "binaries/cache", "\".bulbil-damaged-", "/.bulbil-damaged-"];
        text.lines().filter(|line| !odd.iter().any(|odd| line.contains(odd))).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(lines("one").len() > 60);
    assert_eq!(lines("one"), lines("two"));
}

#[test]
fn row_24_a_snapshot_that_is_damaged_or_does_not_fit_together_is_passed_over_or_refused() {
    let world = World::with("app17");
    let before = manifest(&world.app());
    world.good(&["backup"]);
    world.corrupt("bad-jsonl");
    let torn = manifest(&world.app());
    world.run(&["backup"]);
    // Asked for by name it is refused, and comes by force alone.
    let refused = world.run(&["recover", "tales", "--snapshot", "2"]);
    assert!(refused.status.code() == Some(1) && said(&refused).contains("--force"), "{}", said(&refused));
    assert_equal(&world, &torn, "refused");
    // Somebody has looked at it, wrongly: then the content itself says it.
    world.good(&["snapshot", "unflag", "tales@2"]);
    super::write(&world.app().join("data/late"), "late");
    world.run(&["recover", "tales", "--snapshot", "2", "--force"]);
    assert_equal(&world, &torn, "by force");
    world.good(&["recover", "tales"]);
    assert_equal(&world, &before, "the newest that is sound");
    assert_eq!(damaged(&world).len(), 2, "each has a name of its own");
    // A snapshot whose bytes are gone bad is passed over for an older one.
    fs::write(world.app().join("data/imports/noise"), crate::support::noise(9, 3_000_000)).unwrap();
    world.good(&["backup"]);
    let newest = world.json(0, &["snapshots"]).as_array().unwrap().last().unwrap()["sequence"].clone();
    let mut chunks: Vec<PathBuf> = Vec::new();
    let mut folders = vec![world.home().join("chunks")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() { folders.push(path) } else { chunks.push(path) }
        }
    }
    let largest = chunks.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(largest, bytes).unwrap();
    let report = world.json(2, &["recover", "tales"])["report"].clone();
    let one = report["candidates"].as_array().unwrap().iter().find(|one| one["sequence"] == newest).unwrap();
    assert!(one["passed_over"].as_str().unwrap().contains("cannot be restored"), "{one}");
    assert_eq!(report["chosen"]["sequence"], 1);
    assert_equal(&world, &before, "an older one");
}

#[test]
fn row_11_one_that_was_cut_in_the_middle_is_finished_by_the_next_and_no_backup_comes_before() {
    let world = World::with("app17");
    world.good(&["backup"]);
    let id = world.json(0, &["collection", "list"])[0]["id"].as_str().unwrap().to_owned();
    let (stage, kept) = (world.path(".bulbil-recover-quilltap"), world.path("quilltap.damaged-20261126T170000Z"));
    let (live, staged) = (world.app().join("data/tags/tags.json"), stage.join("new/data/tags/tags.json"));
    super::write(&staged, "{\"version\": 1, \"tags\": []}");
    let found = fs::metadata(&staged).unwrap();
    let journal = serde_json::json!({
        "format": "bulbil-recovery-journal/1", "collection": id, "snapshot": null, "sequence": null,
        "started_at": "2026-11-26T17:00:00Z", "phase": "swapping", "stages": [stage], "damaged": [kept],
        "moves": [{
            "live": live, "kept": kept.join("data/tags/tags.json"),
            "staged": { "path": staged, "number": { "dev": found.dev(), "inode": found.ino() } },
        }],
        "carried": [], "folders": [],
    });
    super::write(&world.home().join("recover").join(format!("{id}.json")), &journal.to_string());
    let refused = world.run(&["backup"]);
    assert!(
        refused.status.code() == Some(1) && said(&refused).contains("'bulbil recover tales'"),
        "{}",
        said(&refused)
    );
    let result = world.json(0, &["recover", "tales"]);
    assert_eq!(result["report"]["ending"], "finished");
    assert!(fs::read_to_string(&live).unwrap().contains("\"tags\": []"));
    assert!(kept.join("data/tags/tags.json").exists() && !stage.exists());
    world.run(&["backup"]);
    assert_eq!(world.json(0, &["snapshots"]).as_array().unwrap().len(), 2);
    // One that cannot be read is not guessed at.
    super::write(&world.home().join("recover").join(format!("{id}.json")), "{\"format\":");
    let refused = world.run(&["recover", "tales"]);
    assert!(refused.status.code() == Some(1) && said(&refused).contains("is damaged"), "{}", said(&refused));
}

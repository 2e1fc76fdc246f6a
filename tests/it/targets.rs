//! Targets: folders and buckets that copies go to, and what comes back from them.

use std::fs;
use std::path::{Path, PathBuf};

use std::sync::Arc;

use bulbil::clock::FixedClock;
use bulbil::domain::schedule::Work;
use bulbil::monitor::Tally;
use bulbil::store::Store;
use bulbil::store::index::RunResult;
use bulbil::worker::schedule::{Lane, Scheduler};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::kill::{files, kill_when};
use crate::portable::whole;
use crate::support::bucket::{BucketServer, SECRET};
use crate::support::{assert_same_tree, everything, expect, init, noise, run};

/// A home with a collection `notes` of one snapshot.
struct Place {
    dir: tempfile::TempDir,
    recovery: String,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("notes")).unwrap();
        let recovery = init(&dir.path().join("home"), "alpha");
        let place = Self { dir, recovery };
        everything(&place.path("notes"));
        place.good(&["collection", "add", "notes", place.path("notes").to_str().unwrap()]);
        place.good(&["backup", "-q"]);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn home(&self) -> PathBuf {
        self.path("home")
    }

    fn good(&self, args: &[&str]) -> String {
        expect(0, &self.home(), args)
    }

    /// A new snapshot with something new in it.
    fn more(&self, seed: u64) {
        fs::write(self.path("notes").join(format!("more-{seed}")), noise(seed, 900_000)).unwrap();
        self.good(&["backup", "-q"]);
    }

    /// An empty folder as a target.
    fn folder(&self, name: &str) -> PathBuf {
        fs::create_dir(self.path(name)).unwrap();
        self.good(&["target", "add", name, self.path(name).to_str().unwrap()]);
        self.path(name)
    }

    fn key_file(&self) -> PathBuf {
        let file = self.path("recovery.txt");
        fs::write(&file, &self.recovery).unwrap();
        file
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text.lines().find(|line| line.starts_with('{')).unwrap()).unwrap()
}

fn restored(home: &Path, args: &[&str], into: &Path) {
    let args: Vec<&str> = [&["restore", "notes", "--target", into.to_str().unwrap()], args].concat();
    expect(0, home, &args);
}

#[test]
fn row_8_one_target_that_is_not_reached_hides_behind_no_other() {
    let place = Place::new();
    let (nas, usb) = (place.folder("nas"), place.folder("usb"));
    place.good(&["copy"]);
    assert_eq!((whole(&nas), whole(&usb)), (1, 1));
    // The disk is not mounted any more: an empty folder shows in its place.
    place.more(1);
    fs::rename(&nas, place.path("unmounted")).unwrap();
    fs::create_dir(&nas).unwrap();
    let output = run(&place.home(), &["copy", "--json"]);
    assert_eq!(output.status.code(), Some(2), "done, but not everything");
    let document = json(&String::from_utf8_lossy(&output.stdout));
    let problem = &document["problems"][0];
    assert_eq!(problem["subject"], "target nas: notes");
    assert!(problem["message"].as_str().unwrap().contains("Is its disk mounted"), "{problem}");
    assert_eq!(files(&nas), 0, "nothing is written where the disk should be");
    assert_eq!(whole(&usb), 2, "the other one has its copy");
    let status = json(&String::from_utf8_lossy(&run(&place.home(), &["status", "--json"]).stdout));
    let alerts = status["result"]["alerts"].as_array().unwrap();
    let of_target: Vec<&Value> = alerts.iter().filter(|alert| alert["kind"] == "target-failed").collect();
    assert_eq!(of_target.len(), 1, "{alerts:?}");
    assert_eq!(of_target[0]["subject"], "target nas: notes");
    // Not there at all is the same.
    fs::remove_dir(&nas).unwrap();
    let again = run(&place.home(), &["copy"]);
    assert_eq!(again.status.code(), Some(2));
    assert!(!nas.exists());
    // It is mounted again: the copy catches up, and the alert is over.
    fs::rename(place.path("unmounted"), &nas).unwrap();
    place.good(&["copy"]);
    assert_eq!(whole(&nas), 2);
    assert!(!place.good(&["status"]).contains("target-failed"));
    let list = place.good(&["target", "list"]);
    assert_eq!(list.matches("@2 copied").count(), 2, "{list}");
    // All of them gone is a failure.
    fs::rename(&nas, place.path("a")).unwrap();
    fs::rename(&usb, place.path("b")).unwrap();
    expect(1, &place.home(), &["copy"]);
}

#[test]
fn row_8_a_look_at_a_target_ends_no_alarm_while_the_newest_snapshot_is_not_there() {
    let place = Place::new();
    let nas = place.folder("nas");
    place.good(&["copy"]);
    place.more(1);
    fs::rename(&nas, place.path("unmounted")).unwrap();
    expect(1, &place.home(), &["copy"]);
    fs::rename(place.path("unmounted"), &nas).unwrap();
    // What is there is right; what should be there is not.
    place.good(&["target", "verify", "nas"]);
    expect(2, &place.home(), &["status"]);
    place.good(&["copy"]);
    place.good(&["status"]);
    let out = std::process::Command::new("find").arg(&nas).args(["-path", "*/manifests/*"]).output().unwrap();
    for file in String::from_utf8(out.stdout).unwrap().lines() {
        fs::remove_file(file).unwrap();
    }
    expect(2, &place.home(), &["target", "verify", "nas"]);
    expect(2, &place.home(), &["status"]);
    place.good(&["copy"]);
    place.good(&["status"]);
    // A place has one name, and is not in what is backed up; the same one again is no harm.
    place.good(&["target", "add", "nas", nas.to_str().unwrap()]);
    expect(1, &place.home(), &["target", "add", "other", nas.join("../nas").to_str().unwrap()]);
    let within = place.path("notes/copies");
    fs::create_dir(&within).unwrap();
    expect(1, &place.home(), &["target", "add", "within", within.to_str().unwrap()]);
    expect(1, &place.home(), &["target", "add", "gone", place.path("gone").to_str().unwrap()]);
    assert!(place.good(&["status"]).contains("target nas: @2 is there"));
    // Nor is it a folder to restore into.
    let nas = nas.to_str().unwrap();
    expect(1, &place.home(), &["restore", "notes", "--target", nas, "--delete", "--overwrite", "always"]);
    place.good(&["target", "verify", "nas", "--data"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_8_what_is_scheduled_is_copied_once_and_the_target_that_failed_is_on_record() {
    let place = Place::new();
    let (nas, usb) = (place.folder("nas"), place.folder("usb"));
    place.good(&["schedule", "notes", "--copy", "30 3 * * *", "--time-zone", "UTC"]);
    fs::rename(&nas, place.path("unmounted")).unwrap();
    let store = Store::open(&place.home(), None).await.unwrap();
    let collection = store.index.collections().await.unwrap().remove(0);
    let since: Timestamp = collection.upkeep.scheduled[0].since;
    let clock = Arc::new(FixedClock::new(since + SignedDuration::from_hours(25)));
    let scheduler = Scheduler::new(store.clone(), clock, Arc::new(Tally::default()));
    let never = CancellationToken::new();
    assert_eq!(scheduler.step(Lane::Care, &never).await.unwrap(), 0, "another lane does it");
    assert_eq!(scheduler.step(Lane::Copies, &never).await.unwrap(), 1);
    assert_eq!(scheduler.step(Lane::Copies, &never).await.unwrap(), 0, "once");
    assert_eq!(whole(&usb), 1);
    let run =
        store.index.runs(Some(&collection.id), Some(Work::Copy.into()), 1).await.unwrap().remove(0).ended.unwrap();
    assert_eq!(run.result, RunResult::Partly);
    assert!(run.message.unwrap().contains("target nas: notes"));
    assert!(run.counts.new_bytes > 0 && run.snapshot.is_some());
}

#[test]
fn a_copy_is_a_portable_backup_and_a_flipped_bit_in_it_is_found_named_and_mended() {
    let place = Place::new();
    let nas = place.folder("nas");
    place.good(&["copy", "nas", "notes", "--verify", "all"]);
    let chunk = PathBuf::from(
        String::from_utf8(
            std::process::Command::new("find")
                .arg(nas.join("chunks"))
                .args(["-type", "f", "-size", "+200k"])
                .output()
                .unwrap()
                .stdout,
        )
        .unwrap()
        .lines()
        .next()
        .unwrap(),
    );
    let good = fs::read(&chunk).unwrap();
    let mut bad = good.clone();
    bad[1000] ^= 1;
    fs::write(&chunk, &bad).unwrap();
    place.good(&["target", "verify", "nas"]);
    let output = run(&place.home(), &["target", "verify", "nas", "--data"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let name = chunk.file_name().unwrap().to_str().unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(&name[..8]), "the damaged chunk is named: {said}");
    expect(2, &place.home(), &["status"]);
    expect(2, &place.home(), &["target", "verify", "nas", "--data", "--repair"]);
    assert_eq!(fs::read(&chunk).unwrap(), good);
    place.good(&["target", "verify", "nas", "--data"]);
    place.good(&["status"]);
    // It is what 'import' reads.
    init(&place.path("other"), "beta");
    let key = place.key_file();
    expect(
        0,
        &place.path("other"),
        &["import", nas.to_str().unwrap(), "--rekey", "--recovery-key-file", key.to_str().unwrap()],
    );
    restored(&place.path("other"), &[], &place.path("out"));
    assert_same_tree(&place.path("notes"), &place.path("out"));
}

#[test]
fn garbage_is_refused_in_words() {
    let place = Place::new();
    let full = place.path("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("something"), b"x").unwrap();
    let home = place.home();
    for (args, said) in [
        (vec!["target", "add", "a", full.to_str().unwrap()], "is not empty"),
        (vec!["target", "add", "a", "/nowhere/at/all"], "is not there"),
        (vec!["target", "add", "a", "ftp://host/x"], "is no place for copies"),
        (vec!["target", "add", "../a", full.to_str().unwrap()], "cannot be a target's name"),
        (vec!["target", "add", "notes", full.to_str().unwrap()], "another name"),
        (vec!["target", "add", "a", home.to_str().unwrap()], "cannot be there"),
        (vec!["target", "add", "a", "s3://backups"], "no credentials"),
        (vec!["target", "verify", "a"], "no target yet"),
        (vec!["copy"], "no target yet"),
        (vec!["restore", "notes", "--from", "nas", "--target", "/tmp/x"], "no target yet"),
    ] {
        let output = std::process::Command::new(crate::support::BULBIL)
            .arg("--home")
            .arg(&home)
            .args(&args)
            .env_remove("AWS_ACCESS_KEY_ID")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {text}");
        assert!(text.contains(said), "{args:?}: {text}");
    }
}

#[test]
fn r8_killed_anywhere_in_a_copy_nothing_is_named_that_is_not_there_and_the_next_one_goes_on() {
    let place = Place::new();
    let nas = place.folder("nas");
    let mut kills = 0;
    for round in 0..4 {
        place.more(10 + round);
        place.more(100 + round);
        for after in [1, 3, 6] {
            let before = files(&nas);
            kills += usize::from(kill_when(&place.home(), &["copy", "-q"], || files(&nas) >= before + after));
            whole(&nas);
        }
    }
    assert!(kills >= 4, "only {kills} kills hit");
    place.good(&["copy", "--verify", "all"]);
    assert_eq!(whole(&nas), 9);
    place.good(&["target", "verify", "nas", "--data"]);
}

#[test]
fn row_8_a_bucket_is_a_target_like_a_folder() {
    let place = Place::new();
    let server = BucketServer::start(&place.path("s3"));
    let (home, usb) = (place.home(), place.folder("usb"));
    let url = ["target", "add", "cloud", "s3://backups/alpha", "--endpoint", &server.endpoint];
    server.expect(0, &home, &url);
    // From here on the credentials are in the home, sealed.
    place.good(&["copy"]);
    assert_eq!(whole(&server.object("alpha")), 1, "what is in the bucket is a portable backup");
    place.more(1);
    server.requests("");
    place.good(&["copy", "cloud"]);
    assert!(server.requests("PUT /backups/alpha/chunks/") < 20, "only what is new is sent");
    assert_eq!((whole(&server.object("alpha")), whole(&usb)), (2, 1));
    place.good(&["target", "verify", "cloud", "--data"]);
    // A bit that flips in the bucket is found and named.
    let chunk = fs::read_dir(server.object("alpha/chunks"))
        .unwrap()
        .flatten()
        .flat_map(|d| fs::read_dir(d.path()).unwrap().flatten())
        .map(|e| e.path());
    let chunk = chunk.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(&chunk).unwrap();
    bytes[100] ^= 1;
    fs::write(&chunk, bytes).unwrap();
    let said = server.expect(2, &home, &["target", "verify", "cloud", "--sample", "100%"]);
    assert!(said.contains(&chunk.file_name().unwrap().to_str().unwrap()[..8]), "{said}");
    // A copy that reads it back mends it.
    server.expect(2, &home, &["copy", "cloud", "--verify", "all"]);
    place.good(&["target", "verify", "cloud", "--data"]);
    // Nobody answers: the folder has its copy, and the bucket is named.
    place.more(2);
    server.cut_after(0);
    let said = server.expect(2, &home, &["copy"]);
    assert!(said.contains("target cloud: notes") && said.contains("the store is not reached"), "{said}");
    assert_eq!(whole(&usb), 3);
    server.mend();
    // The bucket is gone.
    fs::rename(server.object(""), place.path("s3/other")).unwrap();
    let said = server.expect(2, &home, &["copy"]);
    assert!(said.contains("target cloud: notes") && said.contains("there is no such bucket"), "{said}");
    assert!(!server.object("").exists(), "nothing was written there");
    fs::rename(place.path("s3/other"), server.object("")).unwrap();
    place.good(&["copy"]);
    assert_eq!(whole(&server.object("alpha")), 3);
}

#[test]
fn wrong_credentials_are_said_to_be_wrong_and_shown_nowhere() {
    let place = Place::new();
    let server = BucketServer::start(&place.path("s3"));
    let file = place.path("s3.txt");
    let write = |secret: &str, mode: u32| {
        use std::os::unix::fs::PermissionsExt;
        let text = format!(
            "[default]\naws_access_key_id = {}\naws_secret_access_key = {secret}\n",
            crate::support::bucket::ID
        );
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    };
    let file_name = file.to_str().unwrap().to_owned();
    let add = [
        "target",
        "add",
        "cloud",
        "s3://backups/alpha",
        "--endpoint",
        &server.endpoint,
        "--credentials-file",
        &file_name,
    ];
    write(SECRET, 0o644);
    assert!(server.expect(1, &place.home(), &add).contains("chmod 600"));
    write("another secret", 0o600);
    let said = server.expect(1, &place.home(), &add);
    assert!(said.contains("check the credentials") && !said.contains("another secret"), "{said}");
    assert!(place.good(&["target", "list"]).contains("no target"));
    write(SECRET, 0o600);
    server.expect(0, &place.home(), &add);
    let nothing = std::process::Command::new("grep").args(["-rl", SECRET]).arg(place.home()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&nothing.stdout), "", "the secret is in the home, and not sealed");
}

#[test]
fn row_14_straight_from_the_bucket_cut_half_way_and_resumed() {
    let place = Place::new();
    place.more(1);
    place.more(2);
    let server = BucketServer::start(&place.path("s3"));
    server.expect(0, &place.home(), &["target", "add", "cloud", "s3://backups/alpha", "--endpoint", &server.endpoint]);
    place.good(&["copy"]);
    // A new machine, with the recovery key and the bucket.
    server.requests("");
    let (fresh, out, key) = (place.path("fresh"), place.path("out"), place.key_file());
    init(&fresh, "beta");
    let from = ["--endpoint", &server.endpoint];
    let import = [
        &["import", "s3://backups/alpha", "--skip-chunks", "--rekey", "--recovery-key-file", key.to_str().unwrap()],
        &from[..],
    ]
    .concat();
    server.expect(0, &fresh, &import);
    assert_eq!(server.requests("GET /backups/alpha/chunks/"), 0);
    // What is there is not touched before all of it is here.
    fs::create_dir(&out).unwrap();
    fs::write(out.join("a-b"), b"the original").unwrap();
    let restore =
        [&["restore", "notes", "--from", "s3://backups/alpha", "--target", out.to_str().unwrap()], &from[..]].concat();
    server.cut_after(3_000_000);
    let said = server.expect(1, &fresh, &restore);
    assert!(said.contains("not reached"), "{said}");
    assert_eq!(fs::read(out.join("a-b")).unwrap(), b"the original");
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1, "and nothing else is there");
    let first = server.requests("GET /backups/alpha/chunks/");
    server.mend();
    server.expect(0, &fresh, &restore);
    let second = server.requests("GET /backups/alpha/chunks/");
    assert_same_tree(&place.path("notes"), &out);
    let there = files(&server.object("alpha/chunks"));
    assert!(first > 0 && second < there, "it goes on where it was: {first}, then {second} of {there}");
    // A part needs a part.
    let part = place.path("part");
    let third = place.path("third");
    init(&third, "gamma");
    server.expect(0, &third, &import);
    server.requests("");
    let of_part = [
        &[
            "restore",
            "notes",
            "--from",
            "s3://backups/alpha",
            "--path",
            "notes/more-1",
            "--target",
            part.to_str().unwrap(),
        ],
        &from[..],
    ]
    .concat();
    server.expect(0, &third, &of_part);
    let some = server.requests("GET /backups/alpha/chunks/");
    assert!(some < there / 2, "{some} of {there} were read for one file");
    let found = std::process::Command::new("find").arg(&part).args(["-name", "more-1"]).output().unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    assert_eq!(fs::read(found.trim()).unwrap(), noise(1, 900_000));
}

#[test]
fn a_home_whose_chunks_are_in_a_bucket_is_all_there_without_its_index_and_without_itself() {
    let place = Place::new();
    let server = BucketServer::start(&place.path("s3"));
    let (home, notes) = (place.path("far"), place.path("notes"));
    let from = ["--endpoint", &server.endpoint];
    let out = server.expect(
        0,
        &home,
        &[&["init", "--name", "far", "--json", "--store", "s3://backups/far"], &from[..]].concat(),
    );
    let recovery = json(&out)["result"]["recovery_key"].as_str().unwrap().to_owned();
    expect(0, &home, &["collection", "add", "notes", notes.to_str().unwrap()]);
    expect(0, &home, &["backup", "-q"]);
    fs::write(notes.join("later"), noise(7, 500_000)).unwrap();
    expect(0, &home, &["backup", "-q"]);
    let local = files(&home.join("chunks"));
    assert!(local <= 1, "{local} files are in the folder of chunks");
    assert!(files(&server.object("far/chunks")) > 5);
    expect(0, &home, &["verify", "--data"]);
    // Another home does not take the place.
    let taken = server.expect(
        1,
        &place.path("no"),
        &[&["init", "--name", "no", "--store", "s3://backups/far"], &from[..]].concat(),
    );
    assert!(taken.contains("holds the chunks of a home already"), "{taken}");
    // A part of a restore is read once.
    server.requests("");
    restored(&home, &[], &place.path("out"));
    let read = server.requests("GET /backups/far/chunks/");
    assert_same_tree(&notes, &place.path("out"));
    assert!(read <= files(&server.object("far/chunks")), "{read} reads");
    // Index and manifests are lost.
    for file in ["index.db", "index.db-wal", "index.db-shm"] {
        let _ = fs::remove_file(home.join(file));
    }
    fs::remove_dir_all(home.join("manifests")).unwrap();
    expect(0, &home, &["rebuild"]);
    restored(&home, &[], &place.path("again"));
    assert_same_tree(&notes, &place.path("again"));
    expect(0, &home, &["verify", "--data"]);
    // A bit that flips is found and named, and kept for a look; the next backup stores the chunk anew.
    let chunks = fs::read_dir(server.object("far/chunks")).unwrap().flatten();
    let chunks = chunks.flat_map(|dir| fs::read_dir(dir.path()).unwrap().flatten()).map(|entry| entry.path());
    let chunk = chunks.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(&chunk).unwrap();
    bytes[500] ^= 4;
    fs::write(&chunk, bytes).unwrap();
    let said = server.expect(2, &home, &["verify", "--data"]);
    let name = chunk.file_name().unwrap().to_str().unwrap().to_owned();
    assert!(said.contains(&name[..8]), "{said}");
    assert!(home.join("quarantine").join(&name).exists() && !chunk.exists());
    expect(0, &home, &["backup", "-q"]);
    restored(&home, &[], &place.path("third"));
    assert_same_tree(&notes, &place.path("third"));
    // While nobody answers, nothing counts as lost, and nothing is done.
    let lacking = |home: &Path| {
        json(&String::from_utf8_lossy(&run(home, &["status", "--json"]).stdout))["result"]["collections"][0]["missing_bytes"].clone()
    };
    let before = lacking(&home);
    server.cut_after(0);
    let said = server.expect(1, &home, &["backup"]);
    assert!(said.contains("not reached"), "{said}");
    server.expect(1, &home, &["verify", "--data"]);
    server.mend();
    assert_eq!(lacking(&home), before);
    restored(&home, &[], &place.path("fourth"));
    // The home is gone: the recovery key and the bucket are enough.
    fs::remove_dir_all(&home).unwrap();
    let key = place.path("far.txt");
    fs::write(&key, recovery).unwrap();
    let saved = place.path("saved");
    let rescue = [
        "rescue",
        "s3://backups/far",
        "notes",
        "--recovery-key-file",
        key.to_str().unwrap(),
        "--target",
        saved.to_str().unwrap(),
    ];
    server.expect(0, &place.path("none"), &[&rescue, &from[..]].concat());
    assert_same_tree(&notes, &saved);
}

#[test]
fn r8_killed_anywhere_in_a_backup_into_a_bucket_it_still_opens() {
    let place = Place::new();
    let server = BucketServer::start(&place.path("s3"));
    let (home, notes) = (place.path("far"), place.path("notes"));
    server.expect(0, &home, &["init", "--name", "far", "--store", "s3://backups/far", "--endpoint", &server.endpoint]);
    expect(0, &home, &["collection", "add", "notes", notes.to_str().unwrap()]);
    let objects = server.object("far");
    let mut kills = 0;
    for round in 0..6 {
        for n in 0..12 {
            fs::write(notes.join(format!("{round}-{n}")), noise(1000 * round + n, 300_000)).unwrap();
        }
        let before = files(&objects);
        kills += usize::from(kill_when(&home, &["backup", "-q"], || files(&objects) > before + round as usize));
        let snapshots = json(&expect(0, &home, &["snapshots", "--json"]));
        if !snapshots["result"].as_array().unwrap().is_empty() {
            expect(0, &home, &["verify", "--data"]);
        }
    }
    assert!(kills >= 2, "only {kills} kills hit");
    expect(0, &home, &["backup", "-q"]);
    restored(&home, &[], &place.path("out"));
    assert_same_tree(&notes, &place.path("out"));
}

#[test]
fn what_was_removed_here_goes_from_a_target_in_two_steps_and_the_newest_never() {
    let place = Place::new();
    let nas = place.folder("nas");
    for seed in 1..4 {
        fs::remove_file(place.path("notes").join(format!("more-{}", seed - 1))).ok();
        place.more(seed);
    }
    place.good(&["copy"]);
    assert_eq!(whole(&nas), 4);
    // Nothing was removed here: nothing goes.
    let pruned = json(&place.good(&["target", "prune", "nas", "--json"]));
    assert_eq!(pruned["result"]["pruned"]["snapshots"].as_array().unwrap().len(), 0);
    place.good(&["retention", "notes", "--keep-last", "1"]);
    place.good(&["prune"]);
    let before = files(&nas.join("chunks"));
    let dry = json(&place.good(&["target", "prune", "nas", "--dry-run", "--json"]));
    assert_eq!(dry["result"]["pruned"]["snapshots"].as_array().unwrap().len(), 3, "{dry}");
    assert_eq!((whole(&nas), files(&nas.join("chunks"))), (4, before), "a dry run changes nothing");
    let pruned = json(&place.good(&["target", "prune", "nas", "--json"]));
    assert!(pruned["result"]["pruned"]["later"].as_u64().unwrap() > 0, "{pruned}");
    assert_eq!((whole(&nas), files(&nas.join("chunks"))), (1, before), "chunks wait");
    place.good(&["target", "verify", "nas", "--data"]);
    let last = json(&place.good(&["target", "prune", "nas", "--now", "--json"]));
    assert!(last["result"]["pruned"]["chunks"].as_u64().unwrap() > 0, "{last}");
    assert!(files(&nas.join("chunks")) < before);
    place.good(&["target", "verify", "nas", "--data"]);
    // A later copy goes on, and what is there still comes back.
    place.more(9);
    place.good(&["copy", "--verify", "all"]);
    init(&place.path("other"), "beta");
    let key = place.key_file();
    expect(
        0,
        &place.path("other"),
        &["import", nas.to_str().unwrap(), "--rekey", "--recovery-key-file", key.to_str().unwrap()],
    );
    restored(&place.path("other"), &[], &place.path("out"));
    assert_same_tree(&place.path("notes"), &place.path("out"));
    // Where a manifest cannot be read, nobody knows what it leans on: no chunk goes.
    let manifests = fs::read_dir(nas.join("collections")).unwrap().next().unwrap().unwrap().path().join("manifests");
    let sidecar = fs::read_dir(&manifests)
        .unwrap()
        .flatten()
        .map(|e| e.path())
        .find(|path| path.to_str().unwrap().ends_with("sidecar.json"));
    fs::write(sidecar.unwrap(), b"{}").unwrap();
    let there = files(&nas.join("chunks"));
    expect(1, &place.home(), &["target", "prune", "nas", "--now"]);
    assert_eq!(files(&nas.join("chunks")), there);
}

/// `cargo it -- --ignored figures_of_a_far_bucket --nocapture`: what 50 ms to the store cost.
#[test]
#[ignore = "it takes a while, and says figures"]
fn figures_of_a_far_bucket() {
    let place = Place::new();
    let server = BucketServer::start(&place.path("s3"));
    let (home, big, usb) = (place.path("far"), place.path("big"), place.folder("usb"));
    fs::create_dir(&big).unwrap();
    for n in 0..20 {
        fs::write(big.join(format!("{n}")), noise(n, 10_000_000)).unwrap();
    }
    server.expect(0, &home, &["init", "--name", "far", "--store", "s3://backups/far", "--endpoint", &server.endpoint]);
    server.expect(0, &place.home(), &["target", "add", "cloud", "s3://backups/copy", "--endpoint", &server.endpoint]);
    for home in [&home, &place.home()] {
        expect(0, home, &["collection", "add", "big", big.to_str().unwrap()]);
    }
    let timed = |what: &str, work: &dyn Fn()| {
        let started = std::time::Instant::now();
        work();
        println!("{what}: {:.1} s", started.elapsed().as_secs_f64());
    };
    timed("backup of 200 MB into the home", &|| drop(place.good(&["backup", "-q", "big"])));
    timed("copy of it to a folder", &|| drop(place.good(&["copy", "usb", "big"])));
    assert!(whole(&usb) == 1);
    server.faults.wait_ms.store(50, std::sync::atomic::Ordering::SeqCst);
    timed("backup of it into a bucket, 50 ms away", &|| drop(expect(0, &home, &["backup", "-q"])));
    timed("copy of it to a bucket, 50 ms away", &|| drop(place.good(&["copy", "cloud", "big"])));
    timed("copy again, nothing new", &|| drop(place.good(&["copy", "cloud", "big"])));
    timed("restore from the bucket, 50 ms away", &|| {
        expect(0, &home, &["restore", "big", "--target", place.path("out").to_str().unwrap()]);
    });
    assert_same_tree(&big, &place.path("out"));
}

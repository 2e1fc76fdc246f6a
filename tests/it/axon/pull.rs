//! Pulling from a live Axon BBS.

use serde_json::Value;

use super::World;
use crate::support::expect;

const CHUNKS: u64 = 69;
const ITEMS: u64 = 20;

/// How many requests were for chunks.
fn chunks(asked: &[(String, u64)]) -> usize {
    asked.iter().filter(|(path, _)| path.contains("/chunk/")).count()
}

fn clone(world: &World, code: i32) -> Value {
    world.bulbil(code, &["axon", "clone", &world.url, "--yes"])
}

/// The content of every item as the Axon instance has it, and as a native restore shows it.
fn everything_is_here(world: &World, items: u64) {
    let verified = world.bulbil(0, &["verify", "--data"]);
    assert_eq!(verified["result"]["missing"].as_array().unwrap().len(), 0, "{verified}");
    let dump: Value = serde_json::from_str(&world.axon(&["dump"], &[])).unwrap();
    let text = dump.to_string();
    let into = world.path("laid-out");
    let _ = std::fs::remove_dir_all(&into);
    expect(0, &world.home(), &["restore", "axon", "--target", into.to_str().unwrap()]);
    let mut found = 0;
    for folder in std::fs::read_dir(into.join("axon/items")).unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let item: Value = serde_json::from_slice(&std::fs::read(file.unwrap().path()).unwrap()).unwrap();
            assert_eq!(item["complete"], true, "{item}");
            assert!(text.contains(item["content_hash"].as_str().unwrap()));
            found += 1;
        }
    }
    assert_eq!(found, items);
}

#[test]
fn a_bbs_is_cloned_with_one_command_and_asked_once_when_nothing_is_new() {
    let mut world = World::new(&["--actions", "2"]);
    world.serves(&["admin-in-export"]);
    clone(&world, 0);
    let asked = world.asked();
    assert_eq!(chunks(&asked), CHUNKS as usize, "each chunk once");
    assert!(asked.iter().all(|(_, status)| *status == 200), "{asked:?}");
    everything_is_here(&world, ITEMS);
    // The configuration is here, without its admins, who would be ours otherwise.
    let users = std::fs::read_to_string(world.path("laid-out/axon/records/config/core.user.json")).unwrap();
    assert!(users.contains("\"username\"") && !users.contains("\"is_superuser\": true"), "{users}");
    // Actions of others are kept, and nothing is done about them.
    assert_eq!(std::fs::read_dir(world.path("laid-out/axon/records/actions")).unwrap().count(), 2);

    let status = world.bulbil(0, &["status"]);
    let axon = &status["result"]["collections"][0]["axon"];
    assert_eq!((axon["items"].as_u64(), axon["incomplete"].as_u64()), (Some(ITEMS), Some(0)), "{status}");
    assert_eq!(status["result"]["axon_peers"][0]["state"], "trusted", "{status}");

    world.bulbil(0, &["axon", "sync"]);
    world.bulbil(0, &["axon", "download"]);
    let asked = world.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(world.bulbil(0, &["snapshots", "axon"])["result"].as_array().unwrap().len(), 1);
}

#[test]
fn a_strangers_key_is_refused_with_a_sentence() {
    let mut world = World::new(&["--messages", "1", "--files", "1", "--applets", "1", "--pms", "0"]);
    world.axon(
        &["trust"],
        &["--pem", world.path("bulbil.pem").to_str().unwrap(), "--url", "http://bulbil", "--distrust"],
    );
    world.serves(&[]);
    let said = world.fails(&["axon", "clone", &world.url, "--yes"]);
    assert!(said.contains("bulbil axon key"), "{said}");
    // A key that is another one today is not taken over without a question.
    world.axon(&["trust"], &["--pem", world.path("bulbil.pem").to_str().unwrap(), "--url", "http://bulbil"]);
    let name = clone(&world, 0)["result"]["peer"].as_str().unwrap().to_owned();
    world.serves(&["other-key"]);
    let said = world.fails(&["axon", "update-peer-key", &name]);
    assert!(said.contains("--yes"), "{said}");
    world.bulbil(0, &["axon", "sync"]);
}

#[test]
fn what_is_damaged_or_missing_there_is_said_and_comes_later_and_nothing_comes_twice() {
    for defect in ["corrupt-chunk", "missing-chunk", "short-chunk", "drop-once=1000"] {
        let mut world = World::new(&[]);
        world.serves(&[defect]);
        let code = if defect.starts_with("drop-once") { 0 } else { 2 };
        clone(&world, code);
        let first = world.asked();
        world.serves(&[]);
        world.bulbil(0, &["axon", "download"]);
        let second = world.asked();
        everything_is_here(&world, ITEMS);
        let good = CHUNKS as usize + 4;
        assert!(chunks(&first) + chunks(&second) <= good, "{defect}: {} + {}", chunks(&first), chunks(&second));
    }
}

#[test]
fn an_item_that_does_not_open_there_hides_nothing_else_that_came_after_it() {
    let mut world = World::new(&["--at", "2026-11-01T10:00:00+00:00"]);
    world.serves(&["no-envelope"]);
    let output = crate::support::run(&world.home(), &["--json", "axon", "clone", &world.url, "--yes"]);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    // When it is mended over there, everything comes: nothing was passed over.
    world.serves(&[]);
    world.bulbil(0, &["axon", "sync"]);
    world.bulbil(0, &["axon", "download"]);
    everything_is_here(&world, ITEMS);
}

#[test]
fn moments_that_cannot_be_true_hide_nothing() {
    for defect in ["timestamp-null", "timestamp-bad", "timestamp-past", "timestamp-future", "foreign-envelope"] {
        let mut world = World::new(&["--messages", "2", "--files", "1", "--applets", "1", "--pms", "0"]);
        world.serves(&[defect]);
        let output = crate::support::run(&world.home(), &["axon", "clone", &world.url, "--yes"]);
        assert!(output.status.code() != Some(1), "{defect}: {}", String::from_utf8_lossy(&output.stderr));
        world.serves(&[]);
        world.axon(&["fill"], &["--messages", "2", "--files", "1", "--applets", "0", "--pms", "0"]);
        let synced = world.bulbil(0, &["axon", "sync"]);
        assert_eq!(synced["result"]["peers"][0]["new_items"], 3, "{defect}: {synced}");
        world.bulbil(0, &["axon", "download"]);
    }
}

#[test]
fn hostile_names_touch_nothing_and_wrong_content_is_not_taken() {
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("victim");
    let absolute = format!("absolute-hash={}", target.display());
    for defect in [absolute.as_str(), "dots-hash", "wrong-hash", "flipped-iv", "upper-hash", "html-sync", "bad-json"] {
        let mut world = World::new(&["--messages", "2", "--files", "1", "--applets", "1", "--pms", "0"]);
        world.serves(&[defect]);
        let output = crate::support::run(&world.home(), &["axon", "clone", &world.url, "--yes"]);
        assert!(output.status.code() != Some(0), "{defect}: {}", String::from_utf8_lossy(&output.stdout));
        assert!(!target.exists() && !world.path("escape").exists() && !world.path("home/escape").exists(), "{defect}");
    }
}

#[test]
fn what_was_verified_stays_when_it_is_sealed_anew_over_there() {
    let mut world = World::new(&["--messages", "1", "--files", "1", "--applets", "1", "--pms", "0"]);
    world.serves(&[]);
    clone(&world, 0);
    let dump: Value = serde_json::from_str(&world.axon(&["dump"], &[])).unwrap();
    let hash = dump["files"][0]["manifest"]["content_hash"].as_str().unwrap().to_owned();
    world.asked();
    world.axon(&["reseal"], &[&hash]);
    world.bulbil(0, &["axon", "sync"]);
    world.bulbil(0, &["axon", "download"]);
    assert_eq!(chunks(&world.asked()), 0, "the same plaintext is here already");
    world.bulbil(0, &["verify", "--data"]);
}

#[test]
fn killed_in_the_middle_it_goes_on_and_fetches_nothing_twice() {
    let mut world = World::new(&[]);
    world.serves(&["slow=20"]);
    let home = world.home();
    let mut child = std::process::Command::new(crate::support::BULBIL)
        .arg("--home")
        .arg(&home)
        .args(["--quiet", "axon", "clone", &world.url, "--yes"])
        .spawn()
        .unwrap();
    let log = world.path("bbs/requests.jsonl");
    let some = || std::fs::read_to_string(&log).unwrap_or_default().matches("/chunk/").count() >= 25;
    let started = std::time::Instant::now();
    while !some() && started.elapsed().as_secs() < 60 {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let first = chunks(&world.asked());
    clone(&world, 0);
    let second = chunks(&world.asked());
    everything_is_here(&world, ITEMS);
    assert!(first >= 25 && first + second <= CHUNKS as usize + 20, "{first} + {second}");
}

#[test]
fn what_nobody_brings_is_forgotten_when_that_is_said_and_nothing_else_is() {
    let mut world = World::new(&["--messages", "3", "--files", "2", "--applets", "1", "--pms", "0"]);
    world.serves(&["missing-chunk"]);
    clone(&world, 2);
    let listed = |args: &[&str]| world.bulbil(0, args)["result"]["items"].as_array().unwrap().len();
    // What lacks a chunk is either named by an applet, and waited for, or it can go.
    let incomplete = world.bulbil(2, &["axon", "download"])["result"]["incomplete"].as_array().unwrap().len();
    let can_go = listed(&["axon", "forget", "--dry-run"]);
    assert_eq!((incomplete, can_go), (1, 1));
    assert_eq!((listed(&["axon", "forget"]), listed(&["axon", "forget"])), (1, 0));
    world.bulbil(0, &["axon", "download"]);
    world.serves(&[]);
    world.bulbil(0, &["axon", "reset-sync"]);
    world.bulbil(0, &["axon", "sync"]);
    assert_eq!(world.bulbil(0, &["axon", "download"])["result"]["items"], 1, "what is announced still comes again");
    everything_is_here(&world, 9);
    let refused = world.fails(&["axon", "forget", "zz"]);
    assert!(refused.contains("hex"), "{refused}");
}

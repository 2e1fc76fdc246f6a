//! The commands that an Axon admin knows, one after the other, as the guide tells it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::World;
use crate::support::{expect, run};

const CONTENT: &[&str] = &["--messages", "2", "--files", "2", "--applets", "2", "--pms", "1"];

impl World {
    /// What `axon check` says of an item, and with which exit code.
    fn check(&self, hash: &str) -> (i32, Value) {
        let output = run(&self.home(), &["--json", "axon", "check", &hash[..12]]);
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code().unwrap(), document["result"][0].clone())
    }

    /// How many items are known, and how many are not whole.
    fn items_and_incomplete(&self) -> (u64, u64) {
        let status = self.bulbil(0, &["status"]);
        let axon = &status["result"]["collections"][0]["axon"];
        (axon["items"].as_u64().unwrap(), axon["incomplete"].as_u64().unwrap())
    }
}

fn hash(row: &Value) -> &str {
    let manifest = row.get("manifest").or_else(|| row.get("code_manifest")).unwrap();
    manifest["content_hash"].as_str().unwrap()
}

#[test]
fn the_steps_of_the_guide_end_with_everything() {
    let mut world = World::new(CONTENT);
    world.serves(&[]);
    let added = world.bulbil(0, &["peer", "add", "--kind", "axon", &world.url, "--name", "bbs", "--yes"]);
    assert_eq!(added["result"]["state"], "trusted", "{added}");
    world.bulbil(0, &["axon", "update-peer-key", "bbs", "--yes"]);

    world.bulbil(0, &["axon", "sync", "--peer", "bbs"]);
    let (items, incomplete) = world.items_and_incomplete();
    assert!(items > 0 && items == incomplete, "{incomplete} of {items}: nothing but manifests came");
    assert!(!world.asked().iter().any(|(path, _)| path.contains("/chunk/")));

    let dump = world.dump();
    let applet = &dump["applets"][0];
    world.bulbil(0, &["axon", "download", "--applet", applet["name"].as_str().unwrap()]);
    assert_eq!(world.items_and_incomplete().1, incomplete - 1);
    let (code, checked) = world.check(hash(applet));
    assert_eq!(
        (code, &checked["verified"], &checked["opens"]),
        (0, &Value::Bool(true), &Value::Bool(true)),
        "{checked}"
    );
    assert!(checked["envelopes"].as_array().unwrap().iter().any(|envelope| envelope["whose"] == "this instance"));
    let (code, checked) = world.check(hash(&dump["messages"][0]));
    assert_eq!((code, &checked["verified"], &checked["chunks_here"]), (2, &Value::Bool(false), &0.into()), "{checked}");
    world.fails(&["axon", "check", "0123456789ab"]);

    world.bulbil(0, &["axon", "download"]);
    assert_eq!(world.items_and_incomplete(), (items, 0));

    // Envelopes for whoever is trusted now, and for nobody else.
    world.bulbil(0, &["axon", "rekey"]);
    let (_, checked) = world.check(hash(&dump["messages"][0]));
    let mut whose: Vec<&str> =
        checked["envelopes"].as_array().unwrap().iter().map(|envelope| envelope["whose"].as_str().unwrap()).collect();
    whose.sort_unstable();
    assert_eq!(whose, ["bbs (trusted)", "this instance"]);

    world.asked();
    world.bulbil(0, &["axon", "reset-sync", "--peer", "bbs"]);
    let synced = world.bulbil(0, &["axon", "sync"]);
    assert_eq!(synced["result"]["peers"][0]["new_items"], 0, "{synced}");
    let asked = world.asked();
    assert!(asked.iter().any(|(path, _)| path.contains("since=0001-01-01")), "{asked:?}");
    assert_eq!(world.items_and_incomplete(), (items, 0));
}

#[test]
fn configuration_and_applets_are_left_out_when_that_is_said() {
    for (option, config, applets) in [("--skip-config", false, true), ("--skip-applets", true, false)] {
        let mut world = World::new(CONTENT);
        world.serves(&[]);
        world.bulbil(0, &["axon", "clone", &world.url, "--yes", option]);
        let into = world.path("out");
        expect(0, &world.home(), &["restore", "axon", "--target", into.to_str().unwrap()]);
        let records = into.join("axon/records");
        assert_eq!(records.join("config/core.user.json").exists(), config, "{option}");
        assert_eq!(records.join("applets").exists(), applets, "{option}");
        if option == "--skip-config" {
            // By later visits, too.
            world.bulbil(0, &["axon", "reset-sync"]);
            world.bulbil(0, &["axon", "sync"]);
            let into = world.path("later");
            expect(0, &world.home(), &["restore", "axon", "--target", into.to_str().unwrap()]);
            assert!(!into.join("axon/records/config/core.user.json").exists());
        }
    }
}

/// A chunk in a home that is as long as a piece of an item is.
fn a_piece(dir: &Path) -> Option<PathBuf> {
    std::fs::read_dir(dir).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => a_piece(&path),
            false => (path.metadata().unwrap().len() == 262_144).then_some(path),
        }
    })
}

#[test]
fn a_chunk_that_rots_here_is_found_and_fetched_again() {
    let mut world = World::new(CONTENT);
    world.serves(&[]);
    world.bulbil(0, &["axon", "clone", &world.url, "--yes"]);
    let rotten = a_piece(&world.home().join("chunks")).unwrap();
    let mut bytes = std::fs::read(&rotten).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&rotten, &bytes).unwrap();
    let dump = world.dump();
    let rows = ["files", "applets"].iter().flat_map(|table| dump[table].as_array().unwrap());
    let hashes: Vec<&str> = rows.map(hash).collect();
    let damaged: Vec<&str> = hashes.iter().copied().filter(|hash| world.check(hash).0 == 2).collect();
    assert!(!damaged.is_empty() && damaged.iter().all(|hash| *hash == damaged[0]), "one item is not what it was");

    run(&world.home(), &["scrub", "--now"]);
    world.asked();
    world.bulbil(0, &["axon", "download"]);
    let asked = world.asked();
    assert_eq!(asked.iter().filter(|(path, _)| path.contains("/chunk/")).count(), 1, "{asked:?}");
    assert_eq!(world.check(damaged[0]).0, 0);
    world.bulbil(0, &["verify", "--data"]);
}

/// Each test that the page for admins names is one.
#[test]
fn what_the_page_for_admins_says_is_held_by_a_test_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/axon-bbs.md")).unwrap();
    let is_name = |word: &&str| {
        word.len() > 25 && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    let named: Vec<&str> = page.split('`').skip(1).step_by(2).filter(is_name).collect();
    assert!(named.len() > 20, "{named:?}");
    let (mut sources, mut left) = (String::new(), vec![root.join("tests"), root.join("src")]);
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let lost: Vec<&str> = named.into_iter().filter(|name| !sources.contains(&format!("fn {name}("))).collect();
    assert_eq!(lost, Vec::<&str>::new());
    // Each row of a table names one.
    let bare: Vec<&str> = page.lines().filter(|line| line.starts_with('|') && line.ends_with("| |")).collect();
    assert_eq!(bare, Vec::<&str>::new());
}

//! What becomes at home of what came from a BBS: backups, a rebuilt index, a server that follows.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::World;
use crate::support::running::{Running, until};
use crate::support::{BULBIL, expect};

impl World {
    /// Content hashes of the items in the newest snapshot, all of which are complete.
    fn items(&self) -> BTreeSet<String> {
        self.items_at(&self.home())
    }

    fn items_at(&self, home: &Path) -> BTreeSet<String> {
        let into = tempfile::tempdir().unwrap();
        let target = into.path().join("out");
        expect(0, home, &["restore", "axon", "--target", target.to_str().unwrap()]);
        let mut all = BTreeSet::new();
        for folder in std::fs::read_dir(target.join("axon/items")).unwrap() {
            for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
                let item: Value = serde_json::from_slice(&std::fs::read(file.unwrap().path()).unwrap()).unwrap();
                assert_eq!(item["complete"], true, "{item}");
                all.insert(item["content_hash"].as_str().unwrap().to_owned());
            }
        }
        all
    }

    /// Takes all messages away at the BBS, as its admin might.
    fn forgets_its_messages(&self) {
        let path = self.path("bbs/state.json");
        let mut state: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert!(!state["messages"].as_array().unwrap().is_empty());
        state["messages"] = Value::Array(vec![]);
        std::fs::write(path, serde_json::to_vec(&state).unwrap()).unwrap();
    }

    fn snapshots(&self) -> usize {
        self.bulbil(0, &["snapshots", "axon"])["result"].as_array().unwrap().len()
    }
}

const SMALL: &[&str] = &["--messages", "2", "--files", "1", "--applets", "1", "--pms", "0"];

#[test]
fn a_backup_of_everything_takes_what_is_known_of_a_bbs_and_never_an_empty_folder() {
    let mut world = World::new(SMALL);
    world.serves(&[]);
    world.bulbil(0, &["axon", "clone", &world.url, "--yes"]);
    let items = world.items();
    std::fs::create_dir(world.path("notes")).unwrap();
    std::fs::write(world.path("notes/one"), "one").unwrap();
    world.bulbil(0, &["collection", "add", "notes", world.path("notes").to_str().unwrap()]);
    let made = world.bulbil(0, &["backup"]);
    assert_eq!(made["result"].as_array().unwrap().len(), 1, "only of the notes: {made}");
    world.bulbil(0, &["backup", "axon"]);
    assert_eq!((world.snapshots(), world.items()), (1, items.clone()));
    // What came, and is in no snapshot yet, is what a backup is for.
    world.axon(&["fill"], &["--messages", "1", "--files", "0", "--applets", "0", "--pms", "0"]);
    world.bulbil(0, &["axon", "sync"]);
    world.bulbil(0, &["axon", "download"]);
    world.bulbil(0, &["backup"]);
    let after = world.items();
    assert!(after.is_superset(&items) && after.len() == items.len() + 1, "{after:?}");
}

#[test]
fn r7_after_a_rebuild_a_server_follows_on_top_of_what_the_snapshots_hold() {
    let mut world = World::new(SMALL);
    world.serves(&[]);
    world.bulbil(0, &["axon", "clone", &world.url, "--yes"]);
    let (items, peers) = (world.items(), world.bulbil(0, &["peer", "list"]));
    for file in ["index.db", "index.db-wal", "index.db-shm"] {
        let _ = std::fs::remove_file(world.home().join(file));
    }
    world.bulbil(0, &["rebuild"]);
    assert_eq!(world.bulbil(0, &["peer", "list"])["result"][0]["address"], peers["result"][0]["address"]);
    world.forgets_its_messages();
    world.axon(&["fill"], &["--messages", "0", "--files", "1", "--applets", "0", "--pms", "0"]);

    let deadline = Instant::now() + Duration::from_secs(60);
    let mut command = Command::new(BULBIL);
    command.arg("--home").arg(world.home()).args(["serve", "--direct", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let mut server = Running::start(command, &world.path("server"));
    until(deadline, "a snapshot of what the server found", || {
        world.snapshots() == 2 && !world.items().is_subset(&items)
    });
    server.kill();
    let after = world.items();
    assert!(after.is_superset(&items), "lost: {:?}", items.difference(&after));
    assert_eq!(after.len(), items.len() + 1);
}

#[test]
fn an_heir_goes_on_with_a_bbs_on_top_of_the_newest_snapshot() {
    let mut world = World::new(SMALL);
    world.serves(&[]);
    world.bulbil(0, &["axon", "clone", &world.url, "--yes"]);
    let (a, b) = (world.home(), world.path("beta"));
    let mut command = Command::new(BULBIL);
    command.arg("--home").arg(&a).args(["serve", "--direct", "127.0.0.78:0", "--admin", "127.0.0.1:0"]);
    let mut server = Running::start(command, &world.path("server"));
    until(Instant::now() + Duration::from_secs(60), "the server", || server.out().contains("ready;"));
    let line = expect(0, &a, &["invite", "--collections", "axon", "--onward"]).trim().to_owned();
    expect(0, &b, &["clone", &line, "--name", "beta"]);
    world.axon(&["fill"], &["--messages", "1", "--files", "0", "--applets", "0", "--pms", "0"]);
    world.bulbil(0, &["axon", "sync"]);
    world.bulbil(0, &["axon", "download"]);
    world.bulbil(0, &["peer", "appoint", "beta"]);
    expect(0, &b, &["sync"]);
    expect(0, &b, &["fetch"]);
    let items = world.items();
    server.kill();
    // The mirror alone gives a BBS what it needs, and everybody plain files.
    let (out, plain) = (world.path("out"), world.path("plain"));
    expect(0, &b, &["axon", "backup", "--collection", "axon", "--output", out.to_str().unwrap()]);
    expect(0, &b, &["axon", "extract", "--collection", "axon", "--target", plain.to_str().unwrap()]);
    assert_eq!(std::fs::read_dir(plain.join("applets")).unwrap().count(), 1);

    expect(0, &b, &["promote", "axon", "--yes"]);
    std::fs::write(world.path("beta.pem"), expect(0, &b, &["axon", "key"])).unwrap();
    world.axon(&["trust"], &["--pem", world.path("beta.pem").to_str().unwrap(), "--url", "http://beta"]);
    world.forgets_its_messages();
    world.axon(&["fill"], &["--messages", "0", "--files", "1", "--applets", "0", "--pms", "0"]);
    expect(0, &b, &["axon", "clone", &world.url, "--yes"]);
    let after = world.items_at(&b);
    assert!(after.is_superset(&items), "lost: {:?}", items.difference(&after));
    assert_eq!(after.len(), items.len() + 1);
}

//! Row 25a: a chat that is well-formed and has lost most of its lines.

use super::{World, said};
use crate::support;

#[test]
fn row_25a_a_chat_that_lost_most_of_its_lines_is_an_alarm_and_stays_one() {
    let world = World::with("app17");
    world.good(&["backup"]);
    assert_eq!(world.run(&["status"]).status.code(), Some(0));
    let path = world.corrupt("shrunk-chat");
    // It is valid: only the comparison shows it.
    assert_eq!(world.json(0, &["check", "tales"])["errors"], 0);
    for number in 2..4 {
        let made = world.run(&["backup"]);
        assert_eq!(made.status.code(), Some(2), "{}", said(&made));
        assert!(said(&made).contains(&format!("shrunk: {path}: 100 lines, and ")), "{}", said(&made));
        assert!(said(&made).contains("in snapshot 1"), "backup {number} compares with the last that was whole");
    }
    let status = world.run(&["status"]);
    assert_eq!(status.status.code(), Some(2));
    assert!(said(&status).contains(&format!("shrunk: {path}")), "{}", said(&status));
    // The index can be lost.
    world.good(&["rebuild"]);
    assert_eq!(world.run(&["status"]).status.code(), Some(2));
    assert!(String::from_utf8_lossy(&world.run(&["snapshots"]).stdout).contains("shrunk"));
    world.good(&["backup", "--accept-shrink"]);
    world.good(&["backup"]);
    assert_eq!(world.run(&["status"]).status.code(), Some(0));
}

#[test]
fn row_25a_fewer_files_are_an_alarm_and_growth_is_none() {
    let world = World::with("app17");
    world.good(&["backup"]);
    super::generator(&world.app(), &["--mutate", "2"]);
    world.good(&["backup"]);
    // Pictures and their index are gone together; nothing refers to them any more.
    for folder in ["data/imports", "data/memories", "data/vector-indices", "data/personas"] {
        let _ = std::fs::remove_dir_all(world.app().join(folder));
    }
    let made = world.run(&["backup"]);
    assert_eq!(made.status.code(), Some(2), "{}", said(&made));
    assert!(said(&made).contains("shrunk: ") && said(&made).contains(" files, and "), "{}", said(&made));
    support::expect(2, &world.home(), &["status"]);
}

#[test]
fn row_25a_an_emptied_folder_is_an_alarm_without_any_preset_and_the_full_snapshot_stays() {
    let world = World::new();
    let folder = world.path("notes");
    super::write(&folder.join("a"), "alpha");
    super::write(&folder.join("b"), "beta");
    world.good(&["collection", "add", "notes", folder.to_str().unwrap()]);
    world.good(&["retention", "notes", "--keep-last", "1"]);
    world.good(&["backup"]);
    // A disk that is not mounted looks like this.
    std::fs::remove_file(folder.join("a")).unwrap();
    std::fs::remove_file(folder.join("b")).unwrap();
    for _ in 0..4 {
        let made = world.run(&["backup"]);
        assert!(made.status.code() == Some(2) && said(&made).contains("shrunk: 0 files, and 2"), "{}", said(&made));
        // What `verify --data` finds whole is whole, and empty.
        world.good(&["verify", "--data"]);
        world.good(&["prune", "--grace", "0s"]);
    }
    let left: Vec<u64> =
        world.json(0, &["snapshots"]).as_array().unwrap().iter().map(|s| s["sequence"].as_u64().unwrap()).collect();
    assert_eq!(left, [1, 2, 5], "the full one, and the first and the last that are suspicious");
    let status = world.json(2, &["status"]);
    assert!(status["alerts"].as_array().unwrap().iter().any(|alert| alert["kind"] == "shrunk"), "{status}");
    // Somebody says that it is meant so.
    world.good(&["backup", "--accept-shrink"]);
    assert_eq!(world.run(&["status"]).status.code(), Some(0));
    world.good(&["prune", "--grace", "0s"]);
    let left: Vec<u64> =
        world.json(0, &["snapshots"]).as_array().unwrap().iter().map(|s| s["sequence"].as_u64().unwrap()).collect();
    assert_eq!(left, [5, 6], "the last one of which every byte was read, and the newest");
}

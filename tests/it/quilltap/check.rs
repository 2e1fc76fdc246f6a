//! Rows 1, 15, 19 and 20: which parts are data, and what must hold of the content.

use std::fs;

use super::{World, findings, said};
use crate::support;

#[test]
fn row_1_each_layout_is_known_and_its_pictures_are_in_the_backup() {
    for (layout, payload) in [
        ("app17", "quilltap/public/data/files/storage/"),
        ("app13", "quilltap/public/uploads/images/"),
        ("guide", "quilltap/data/binaries/"),
    ] {
        let world = World::new();
        world.make(layout);
        super::write(&world.app().join("node_modules/x/index.js"), "no data");
        super::write(&world.app().join(".env"), "ENCRYPTION_MASTER_PEPPER=x\n");
        let added = world.run(&["collection", "add", "tales", "--preset", "quilltap", world.app().to_str().unwrap()]);
        assert!(added.status.success() && said(&added).contains(&format!("layout {layout}")), "{}", said(&added));
        assert!(said(&added).contains("ENCRYPTION_MASTER_PEPPER"), "{}", said(&added));
        let made = world.json(0, &["backup"]);
        assert_eq!(made[0]["capture"]["mode"], "stable-read", "{made}");
        assert_eq!(made[0]["capture"]["preset"], "quilltap/1");
        let listed = world.listed();
        assert!(listed.iter().any(|path| path.starts_with(payload)), "{layout}: {listed:?}");
        assert!(listed.iter().any(|path| path == "quilltap/data/chats/index.jsonl"));
        assert!(!listed.iter().any(|path| path.contains("node_modules") || path.ends_with(".env")), "{listed:?}");
        // A folder that the application does not know is data, too.
        assert!(listed.iter().any(|path| path.starts_with("quilltap/data/imports/")), "{listed:?}");
    }
}

#[test]
fn row_1_data_alone_is_no_backup_and_what_is_missing_is_named() {
    let world = World::new();
    world.make("app13");
    let data = world.app().join("data");
    let added = world.run(&["collection", "add", "tales", "--preset", "quilltap", data.to_str().unwrap()]);
    assert_eq!(added.status.code(), Some(1));
    assert!(
        said(&added).contains("public/uploads") && said(&added).contains(world.app().to_str().unwrap()),
        "{}",
        said(&added)
    );
    fs::rename(world.app().join("public"), world.path("elsewhere")).unwrap();
    let added = world.run(&["collection", "add", "tales", "--preset", "quilltap", world.app().to_str().unwrap()]);
    assert!(
        added.status.success() && said(&added).contains("warning:") && said(&added).contains("public/uploads"),
        "{}",
        said(&added)
    );
    // The index in data/ names pictures that are not there: each backup says so.
    let made = world.run(&["backup"]);
    assert_eq!(made.status.code(), Some(2));
    assert!(said(&made).contains("inconsistent: public/uploads/images/"), "{}", said(&made));
    support::expect(
        1,
        &world.home(),
        &["collection", "add", "x", "--preset", "quilltap", world.path("elsewhere").to_str().unwrap()],
    );
}

#[test]
fn row_15_what_is_sound_gives_no_error_in_its_folder_or_in_a_snapshot() {
    for layout in ["guide", "app17", "app13"] {
        let world = World::with(layout);
        world.good(&["backup"]);
        for args in [&["check", "tales"][..], &["check", "tales", "--snapshot", "latest"]] {
            let report = world.json(0, args);
            assert_eq!(report["errors"], 0, "{layout} {args:?}: {report}");
            assert!(
                report["records"].as_u64().unwrap() > 900 && report["references"].as_u64().unwrap() > 20,
                "{report}"
            );
            assert!(report["hashed"].as_u64().unwrap() > if layout == "app13" { 2 } else { 9 }, "{layout}: {report}");
        }
        super::generator(&world.app(), &["--mutate", "2"]);
        let report = world.json(0, &["check", "tales"]);
        // What the application leaves dangling is a warning.
        assert!(report["errors"] == 0 && report["warnings"].as_u64().unwrap() > 0, "{report}");
    }
}

/// A kind of damage, how the path of its finding may be told, and whether it has a line.
const KINDS: [(&str, bool); 9] = [
    ("truncated-json", true),
    ("bad-jsonl", true),
    ("torn-jsonl", true),
    ("invalid-utf8", true),
    ("zero-length", false),
    ("missing-image", false),
    ("missing-chat", false),
    ("missing-character", true),
    ("bitflip", false),
];

#[test]
fn row_15_each_kind_of_damage_is_found_in_a_snapshot_with_its_path() {
    for (kind, has_line) in KINDS {
        let world = World::with("app17");
        let path = world.corrupt(kind);
        let made = world.run(&["backup"]);
        // It is backed up all the same, and marked; the lengths of files are looked at, their hashes when it is checked.
        assert_eq!(made.status.code(), Some(if kind == "bitflip" { 0 } else { 2 }), "{kind}: {}", said(&made));
        let report = world.json(2, &["check", "tales", "--snapshot", "latest"]);
        assert_finding(kind, &path, has_line, &report);
        assert_eq!(world.json(2, &["check", "tales"])["errors"], report["errors"], "{kind}: the folder says the same");
        let snapshots = world.json(0, &["snapshots"]);
        let marked = snapshots[0]["capture"]["inconsistent"].as_array().is_some_and(|reasons| !reasons.is_empty());
        assert_eq!(marked, kind != "bitflip", "{kind}: {snapshots}");
    }
}

#[track_caller]
fn assert_finding(kind: &str, path: &str, has_line: bool, report: &serde_json::Value) {
    let errors: Vec<_> = findings(report).into_iter().filter(|finding| finding.0 == "error").collect();
    let found =
        errors.iter().find(|(_, at, line, message)| (at == path || message.contains(path)) && (!has_line || *line > 0));
    assert!(found.is_some(), "{kind}: no error names {path}: {errors:?}");
}

#[test]
fn row_19_damage_in_the_folder_is_told_with_file_and_line_and_nothing_private() {
    for (kind, line) in [("bad-jsonl", Some(5)), ("invalid-utf8", Some(1)), ("truncated-json", None)] {
        let world = World::with("guide");
        let path = world.corrupt(kind);
        let output = world.run(&["check", "tales"]);
        assert_eq!(output.status.code(), Some(2));
        let said = said(&output);
        let wanted = line.map_or(format!("error: {path}:"), |line| format!("error: {path}:{line}: "));
        assert!(said.contains(&wanted), "{kind}: {said}");
        assert!(!said.contains("ciphertext") && !said.contains("\"content\""), "{said}");
    }
}

#[test]
fn row_1_a_part_that_is_a_link_is_said_and_its_absence_in_the_snapshot_too() {
    let world = World::new();
    world.make("app17");
    fs::rename(world.app().join("data"), world.path("data")).unwrap();
    std::os::unix::fs::symlink(world.path("data"), world.app().join("data")).unwrap();
    let added = world.run(&["collection", "add", "tales", "--preset", "quilltap", world.app().to_str().unwrap()]);
    assert!(said(&added).contains("warning: data in ") && said(&added).contains("is a link"), "{}", said(&added));
    assert_eq!(world.run(&["backup"]).status.code(), Some(2));
    // Also where nothing names what is behind it.
    let world = World::new();
    world.make("app17");
    let pictures = world.app().join("public/data/files");
    fs::rename(&pictures, world.path("files")).unwrap();
    std::os::unix::fs::symlink(world.path("files"), &pictures).unwrap();
    world.run(&["collection", "add", "tales", "--preset", "quilltap", world.app().to_str().unwrap()]);
    let made = world.run(&["backup"]);
    assert!(
        made.status.code() == Some(2) && said(&made).contains("public/data/files: it is a link"),
        "{}",
        said(&made)
    );
}

#[test]
fn row_19_what_only_the_secret_shows_is_found_with_the_secret() {
    let world = World::with("app17");
    let secrets = world.path("env");
    super::write(&secrets, "ENCRYPTION_MASTER_PEPPER='fixture-pepper-not-a-secret-0123456789abcdefghij='\n");
    let args = ["check", "tales", "--secrets", secrets.to_str().unwrap()];
    let report = world.json(0, &args);
    assert_eq!((report["sealed"].as_u64(), report["opened"].as_u64()), (Some(5), Some(5)), "{report}");
    let path = world.corrupt("bad-authtag");
    assert_eq!(world.json(0, &["check", "tales"])["errors"], 0);
    let report = world.json(2, &args);
    assert_eq!(report["opened"], 4);
    assert_finding("bad-authtag", &path, true, &report);
    super::write(&secrets, "ENCRYPTION_MASTER_PEPPER=another\n");
    let output = world.run(&args);
    assert!(said(&output).contains("0 of 5 sealed fields open"), "{}", said(&output));
}

#[test]
fn row_20_an_empty_or_half_snapshot_is_no_success() {
    let world = World::with("app17");
    world.good(&["backup"]);
    fs::remove_dir_all(world.app().join("data/characters")).unwrap();
    fs::remove_file(world.app().join("data/tags/tags.json")).unwrap();
    let made = world.run(&["backup"]);
    assert_eq!(made.status.code(), Some(2), "{}", said(&made));
    assert!(said(&made).contains("data/characters: it is missing"), "{}", said(&made));
    let report = world.json(2, &["check", "tales", "--snapshot", "2"]);
    let missing: Vec<String> =
        findings(&report).into_iter().filter(|f| f.3 == "it is missing").map(|finding| finding.1).collect();
    assert_eq!(missing, ["data/characters", "data/tags/tags.json"]);
    assert_eq!(world.json(0, &["check", "tales", "--snapshot", "1"])["errors"], 0);
    for part in ["data", "public"] {
        fs::remove_dir_all(world.app().join(part)).unwrap();
    }
    let made = world.run(&["backup"]);
    assert_eq!(made.status.code(), Some(2), "{}", said(&made));
    assert!(said(&made).contains("data/settings/general.json: it is missing"), "{}", said(&made));
    assert_eq!(world.run(&["status"]).status.code(), Some(2));
}

#[test]
fn row_15_locks_and_pipes_are_no_damage() {
    for kind in ["stale-lock", "fifo"] {
        let world = World::with("app17");
        let path = world.corrupt(kind);
        assert_eq!(world.json(0, &["check", "tales"])["errors"], 0, "{kind}");
        world.good(&["backup"]);
        let inside = world.listed().contains(&format!("quilltap/{path}"));
        assert_eq!(inside, kind == "fifo", "{kind}: {path}");
    }
}

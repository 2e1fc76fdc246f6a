//! Applets put back into an installation that is not as it should be, or from a backup that somebody wrote who means harm.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::World;
use super::install::{SMALL, hashes};
use crate::support::run;

const APPLETS: &[&str] = &["--messages", "0", "--files", "0", "--pms", "0"];

impl World {
    /// A backup folder of everything that the installation has.
    fn backup_of_all(&self) -> PathBuf {
        let made =
            self.bulbil(0, &["axon", "backup", "--install", &self.text("install"), "--output", &self.text("out")]);
        PathBuf::from(made["result"]["folder"].as_str().unwrap())
    }
}

/// The folders of applets in a backup that have this file.
fn with_file(backup: &Path, file: &str) -> Vec<PathBuf> {
    let folders = fs::read_dir(backup).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = folders.filter(|path| path.join(file).exists()).collect();
    found.sort();
    found
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, serde_json::to_vec(&value).unwrap()).unwrap();
}

fn len(said: &Value, list: &str) -> usize {
    said["result"][list].as_array().unwrap().len()
}

#[test]
fn which_of_several_bbses_goes_back_is_said_and_never_guessed() {
    let world = World::installed(SMALL);
    let install = world.text("install");
    for name in ["second", "first"] {
        world.bulbil(0, &["axon", "backup", "--install", &install, "--collection", name]);
    }
    let all = world.holds("install");
    world.drops_its_applets("install", &all);
    let said = world.fails(&["axon", "restore", "--into", &install]);
    assert!(said.contains("first, second") && said.contains("--collection"), "{said}");
    let said = world.put_back(0, &["--collection", "second"]);
    assert_eq!(len(&said, "restored"), 3, "{said}");
    // A folder goes into the collection that is named.
    let made = world.bulbil(0, &["axon", "backup", "--output", &world.text("out"), "--collection", "first"]);
    let folder = made["result"]["folder"].as_str().unwrap();
    let said = world.bulbil(0, &["axon", "restore", folder, "--collection", "third"]);
    assert_eq!((&said["result"]["collection"], len(&said, "restored")), (&"third".into(), 3), "{said}");
}

#[test]
fn an_applet_with_a_row_that_the_database_does_not_take_is_refused_and_the_others_go_back() {
    let world = World::installed(APPLETS);
    let backup = world.backup_of_all();
    let all = world.holds("install");
    world.drops_its_applets("install", &all);
    // No JSON, and no positive number.
    let state = &with_file(&backup, "shared_state.json")[0];
    edit(&state.join("shared_state.json"), |state| state["version"] = json!(-1));
    let scores = with_file(&backup, "high_scores.json").into_iter().find(|folder| folder != state).unwrap();
    edit(&scores.join("metadata.json"), |metadata| metadata["parameters"] = json!("HERE"));
    let text = fs::read_to_string(scores.join("metadata.json")).unwrap();
    fs::write(scores.join("metadata.json"), text.replace("\"HERE\"", "{\"x\": NaN}")).unwrap();

    let said = world.put_back(2, &[backup.to_str().unwrap()]);
    assert_eq!((len(&said, "restored"), len(&said, "refused")), (4, 2), "{said}");
    assert!(said["problems"].to_string().contains("does not take"), "{said}");
    let there = world.holds("install");
    let count = |kind: &str| there[kind].as_array().unwrap().len();
    assert_eq!((count("applets"), count("shared_states")), (4, 0));
    for (kind, counted) in [("high_scores", "scores"), ("applet_data", "data"), ("shared_states", "shared_states")] {
        assert_eq!(said["result"][counted], count(kind), "{kind}");
    }
    // Put right, they come.
    edit(&state.join("shared_state.json"), |state| state["version"] = json!(1));
    fs::write(scores.join("metadata.json"), text.replace("\"HERE\"", "{}")).unwrap();
    let said = world.put_back(0, &[backup.to_str().unwrap()]);
    assert_eq!((len(&said, "restored"), len(&said, "skipped")), (2, 4), "{said}");
}

#[test]
fn what_is_no_chunk_under_the_name_of_one_refuses_that_applet_alone() {
    let world = World::installed(APPLETS);
    world.take_over(0);
    let all = world.holds("install");
    world.drops_its_applets("install", &all);
    let chunks = world.path("install/data/bitsync_chunks");
    let items: Vec<PathBuf> = hashes(&all, "applets").iter().map(|hash| chunks.join(hash)).collect();
    // What is a file of a message, too, is still there.
    items.iter().filter(|item| item.exists()).for_each(|item| fs::remove_dir_all(item).unwrap());
    fs::create_dir(world.path("elsewhere")).unwrap();
    symlink(world.path("elsewhere"), &items[0]).unwrap();
    fs::write(&items[1], "a file").unwrap();
    items[2..].iter().for_each(|item| fs::create_dir(item).unwrap());
    symlink(world.path("elsewhere/0.chunk"), items[2].join("0.chunk")).unwrap();
    fs::create_dir(items[3].join("0.chunk")).unwrap();
    assert!(Command::new("mkfifo").arg(items[4].join("0.chunk")).status().unwrap().success());

    let said = world.put_back(2, &[]);
    assert_eq!((len(&said, "refused"), len(&said, "restored")), (5, 1), "{said}");
    assert!(said["problems"].to_string().contains("move it away, and try again"), "{said}");
    assert_eq!(fs::read_dir(world.path("elsewhere")).unwrap().count(), 0);
    assert_eq!(world.holds_applets(), 1);
}

impl World {
    fn holds_applets(&self) -> usize {
        let script = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM applets_applet').fetchone()[0])";
        let done = Command::new(*super::PYTHON).args(["-c", script, &self.database("install")]).output().unwrap();
        String::from_utf8(done.stdout).unwrap().trim().parse().unwrap()
    }
}

#[test]
fn data_that_the_bbs_has_for_one_applet_is_not_given_to_another() {
    let world = World::installed(APPLETS);
    let backup = world.backup_of_all();
    let of_data = with_file(&backup, "applet_data.json").swap_remove(0);
    let other = with_file(&backup, "metadata.json").into_iter().find(|it| !it.join("applet_data.json").exists());
    let other = other.unwrap();
    // The same content sealed anew, as the backup of another applet has it.
    let mut rows: Value = serde_json::from_slice(&fs::read(of_data.join("applet_data.json")).unwrap()).unwrap();
    rows.as_array_mut().unwrap().truncate(1);
    rows[0]["id"] = json!("11111111-2222-4333-8444-555555555555");
    rows[0]["data_manifest"]["encryption_iv"] = json!("AAAAAAAAAAAAAAAAAAAAAA==");
    fs::write(other.join("applet_data.json"), rows.to_string()).unwrap();
    let copied = Command::new("cp").arg("-r").args([of_data.join("data_chunks"), other.clone()]).status();
    assert!(copied.unwrap().success());
    let metadata: Value = serde_json::from_slice(&fs::read(other.join("metadata.json")).unwrap()).unwrap();
    let id = metadata["id"].as_str().unwrap().replace('-', "");
    world.sql(
        "install",
        &format!(
            "DELETE FROM applets_highscore WHERE applet_id = '{id}'; DELETE FROM applets_applet WHERE id = '{id}';"
        ),
    );
    let said = world.put_back(2, &[backup.to_str().unwrap()]);
    assert_eq!((len(&said, "restored"), &said["result"]["data"]), (1, &0.into()), "{said}");
    assert!(said["problems"].to_string().contains("not the data of this applet"), "{said}");
}

#[test]
fn a_name_that_goes_into_a_bbs_moves_no_cursor_either() {
    let world = World::installed(APPLETS);
    let backup = world.backup_of_all();
    let all = world.holds("install");
    world.drops_its_applets("install", &all);
    for applet in with_file(&backup, "metadata.json") {
        edit(&applet.join("metadata.json"), |metadata| {
            metadata["name"] = json!(format!("\u{1b}[2J\u{202e}{}", metadata["name"].as_str().unwrap()));
        });
    }
    // Users' data without its user, and a state for which there is no place.
    world.sql(
        "install",
        "UPDATE core_user SET pubkey = NULL; DROP TABLE applets_appletsharedstate; DROP TABLE applets_appletcategory;",
    );
    fs::remove_dir_all(with_file(&backup, "chunks")[0].join("chunks")).unwrap();
    for words in ["\nrestored: ", "there already"] {
        let args = ["axon", "restore", "--into", &world.text("install"), backup.to_str().unwrap()];
        let output = run(&world.home(), &args);
        let text = String::from_utf8([b"\n".to_vec(), output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(words) && text.contains("1 refused"), "{text}");
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
    }
}

#[test]
fn options_that_would_do_nothing_are_refused() {
    let world = World::installed(SMALL);
    let (install, out) = (world.text("install"), world.text("out"));
    let database = world.database("install");
    let backup = world.backup_of_all();
    for (args, needs) in [
        (vec!["backup", "--install", &install, "--applet", "Star Miner"], "--output"),
        (vec!["backup", "--install", &install, "--for", "bbs"], "--output"),
        (vec!["backup", "--output", &out, "--database", &database], "--install"),
        (vec!["backup", "--output", &out, "--chunks", &install], "--install"),
        (vec!["restore", backup.to_str().unwrap(), "--secret-key-file", &database], "--into"),
    ] {
        let all = [vec!["axon"], args].concat();
        let said = world.fails(&all);
        assert!(said.contains("does nothing without") && said.contains(needs), "{all:?}: {said}");
    }
}

#[test]
fn chunks_that_cannot_be_looked_at_are_not_taken_for_missing_ones() {
    let world = World::installed(SMALL);
    let chunks = world.path("install/data/bitsync_chunks");
    fs::rename(&chunks, world.path("chunks")).unwrap();
    fs::write(&chunks, "a file").unwrap();
    let said = world.fails(&["axon", "backup", "--install", &world.text("install")]);
    assert!(said.contains("bitsync_chunks is no folder"), "{said}");
    fs::remove_file(&chunks).unwrap();
    let said = world.take_over(2);
    assert!(said["problems"].to_string().contains("are missing"), "{said}");
}

#[test]
fn a_manifest_beside_the_chunks_stays_only_if_it_is_that_of_the_applet() {
    let world = World::installed(APPLETS);
    world.take_over(0);
    let all = world.holds("install");
    world.drops_its_applets("install", &all);
    let manifests: Vec<&Value> = all["applets"].as_array().unwrap().iter().map(|it| &it["code_manifest"]).collect();
    let manifests: Vec<&Value> = manifests.into_iter().filter(|it| it["content_hash"].is_string()).collect();
    let path = |manifest: &Value| {
        let hash = manifest["content_hash"].as_str().unwrap();
        world.path("install/data/bitsync_chunks").join(hash).join(".manifest")
    };
    let mut of_another = manifests[2].clone();
    of_another["encryption_iv"] = json!("AAAAAAAAAAAAAAAAAAAAAA==");
    for (manifest, text) in [
        (manifests[0], "{\"encryption_iv\": \"cut o".to_owned()),
        (manifests[1], manifests[1].to_string()),
        (manifests[2], of_another.to_string()),
    ] {
        fs::create_dir_all(path(manifest).parent().unwrap()).unwrap();
        fs::write(path(manifest), text).unwrap();
    }
    symlink(world.path("nowhere"), path(manifests[3])).unwrap_or_else(|_| {
        fs::create_dir_all(path(manifests[3]).parent().unwrap()).unwrap();
        symlink(world.path("nowhere"), path(manifests[3])).unwrap();
    });
    world.put_back(0, &[]);
    let there = |manifest: &Value| fs::symlink_metadata(path(manifest)).is_ok();
    assert_eq!(manifests.iter().take(4).map(|it| there(it)).collect::<Vec<_>>(), [false, true, false, false]);
}

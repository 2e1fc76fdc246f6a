//! Everything of a BBS as plain files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bulbil::domain::id::ChunkId;
use serde_json::{Value, json};

use super::{PYTHON, World};
use crate::support::expect;

/// A BBS of which everything is here, users' data opened with its key.
fn cloned(fill: &[&str], more: &str) -> World {
    let mut world = World::new(fill);
    if !more.is_empty() {
        let script = format!(
            "import sys\nsys.path.insert(0, sys.argv[1])\nfrom instance import Instance\nfrom content import Filler\n\
             instance = Instance.load(sys.argv[2])\nfiller = Filler(instance)\n{more}\ninstance.save()\n"
        );
        let mut python = Command::new(*PYTHON);
        python
            .args(["-c", &script])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/axon"))
            .arg(world.path("bbs"));
        assert!(python.status().unwrap().success());
    }
    let made = world.axon(&["backup"], &["--output", world.path("theirs").to_str().unwrap()]);
    let made: Value = serde_json::from_str(&made).unwrap();
    fs::write(world.path("maker.pem"), world.axon(&["key"], &["--private"])).unwrap();
    world.serves(&[]);
    let (folder, key) = (made["folder"].as_str().unwrap(), world.path("maker.pem"));
    world.bulbil(0, &["axon", "clone", &world.url, "--yes", "--backup-dir", folder, "--key", key.to_str().unwrap()]);
    world
}

fn lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn sha256(path: &Path) -> String {
    ChunkId::of(&fs::read(path).unwrap()).to_string()
}

/// Every file below, by its path.
fn all(root: &Path) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => dirs.push(entry.path()),
                false => drop(found.insert(entry.path(), entry.metadata().unwrap().len())),
            }
        }
    }
    found
}

#[test]
fn code_files_messages_scores_states_and_data_are_plain_files_that_need_no_bulbil() {
    let world = cloned(&["--actions", "1"], "");
    let target = world.path("plain");
    let done = world.bulbil(0, &["axon", "extract", "--target", target.to_str().unwrap()]);
    let dump: Value = serde_json::from_str(&world.axon(&["dump"], &[])).unwrap();
    for applet in dump["applets"].as_array().unwrap() {
        let dir = target.join("applets").join(applet["name"].as_str().unwrap());
        assert_eq!(json_of(&dir.join("applet.json"))["id"], applet["id"]);
        let code: Vec<PathBuf> = fs::read_dir(dir.join("code")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(code.len(), 1);
        assert!(code[0].extension().is_some_and(|ending| ending == "js"));
        assert_eq!(sha256(&code[0]), applet["content"]["file_sha256"], "byte for byte");
        let of_it = |table: &str| -> Vec<&Value> {
            dump[table].as_array().unwrap().iter().filter(|row| row["applet"] == applet["id"]).collect()
        };
        let scores = if of_it("high_scores").is_empty() { json!([]) } else { json_of(&dir.join("high_scores.json")) };
        assert_eq!(scores.as_array().unwrap().len(), of_it("high_scores").len());
        if let Some(state) = of_it("shared_states").first() {
            assert_eq!(json_of(&dir.join("shared_state.json"))["state_data"], state["state_data"]);
        }
        let data = fs::read_dir(dir.join("data")).map_or(0, Iterator::count);
        assert_eq!(data, of_it("applet_data").len(), "{}", applet["name"]);
    }
    let bob = json_of(&target.join("applets/Star Miner/data/bob.json"));
    assert_eq!(bob["data"]["name"], "café");
    let files = lines(&target.join("files.jsonl"));
    for file in dump["files"].as_array().unwrap() {
        let line = files.iter().find(|line| line["content_hash"] == file["content"]["content_hash"]).unwrap();
        assert_eq!(sha256(&target.join(line["path"].as_str().unwrap())), file["content"]["file_sha256"]);
    }
    let mut messages = BTreeSet::new();
    for board in fs::read_dir(target.join("boards")).unwrap().map(|entry| entry.unwrap().path()) {
        for line in lines(&board) {
            assert_eq!(board.file_stem().unwrap().to_str(), line["board"].as_str());
            for attached in line["attachments"].as_array().unwrap() {
                assert!(target.join(attached["path"].as_str().unwrap()).is_file(), "{line}");
            }
            messages.insert((line["subject"].to_string(), line["content_hash"].to_string()));
        }
    }
    let wanted: BTreeSet<_> = dump["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["subject"].to_string(), row["content"]["content_hash"].to_string()))
        .collect();
    assert_eq!(messages, wanted);
    assert_eq!(lines(&target.join("private_messages.jsonl")).len(), dump["pms"].as_array().unwrap().len());
    assert!(lines(&target.join("private_messages.jsonl"))[0]["e2e_encrypted_content_b64"].is_string());
    assert_eq!(lines(&target.join("actions.jsonl")).len(), 1);
    assert!(json_of(&target.join("config/core.user.json")).as_array().unwrap().len() >= 3);
    let report = json_of(&target.join("report.json"));
    assert_eq!((&report["not_opened"], &report["messages"]), (&json!([]), &done["result"]["messages"]));
    // What is there stays: a second time wants another folder.
    let said = world.fails(&["axon", "extract", "--target", target.to_str().unwrap()]);
    assert!(said.contains("is no empty folder"), "{said}");
    // One applet alone is one applet, and an empty folder may be there.
    let one = world.path("one");
    fs::create_dir(&one).unwrap();
    world.bulbil(0, &["axon", "extract", "--target", one.to_str().unwrap(), "--applet", "Star_Miner"]);
    assert_eq!(fs::read_dir(&one).unwrap().count(), 2, "applets and report.json");
    assert_eq!(fs::read_dir(one.join("applets")).unwrap().count(), 1);
}

#[test]
fn names_lead_nowhere_and_what_does_not_open_is_said_and_hides_nothing() {
    let more = "for name in ('../../evil', '/etc/evil', 'same', 'SAME', '.hidden', ''):\n \
                filler.store_file(name, 'text/plain', name.encode() + b'!', None)\n\
                instance['messages'][0]['manifest'] = instance.seal({'type': 'message', 'subject': 's', 'body': 'b', 'board': '../../board', 'pubkey': None})\n";
    let world = cloned(&["--messages", "2", "--files", "1", "--applets", "2", "--pms", "0"], more);
    let before: BTreeSet<_> = fs::read_dir(world.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let target = world.path("plain");
    world.bulbil(0, &["axon", "extract", "--target", target.to_str().unwrap()]);
    let mut after: BTreeSet<_> =
        fs::read_dir(world.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(after.remove(target.file_name().unwrap()));
    assert_eq!(before, after, "something is outside");
    let found = all(&target);
    for path in found.keys() {
        let inside = path.strip_prefix(&target).unwrap().to_str().unwrap();
        assert!(!inside.split('/').any(|name| name.starts_with('.')), "{inside}");
    }
    let contents: BTreeSet<Vec<u8>> = found.keys().map(|path| fs::read(path).unwrap()).collect();
    for name in ["../../evil", "/etc/evil", "same", "SAME", ".hidden", ""] {
        assert!(contents.contains(format!("{name}!").as_bytes()), "{name} is not there");
    }
    assert_eq!(lines(&target.join("boards").join("_._.._board.jsonl"))[0]["board"], "../../board");

    // A chunk is lost: everything else is laid out, and it is said what is not.
    let files = lines(&target.join("files.jsonl"));
    let lost = files.iter().find(|line| line["filename"] == "/etc/evil").unwrap();
    let hash = lost["content_hash"].as_str().unwrap().to_owned();
    let laid_out = world.path("items");
    expect(0, &world.home(), &["restore", "axon", "--target", laid_out.to_str().unwrap()]);
    let item = json_of(&laid_out.join(format!("axon/items/{}/{hash}.json", &hash[..2])));
    let chunk = item["chunks"][0][0].as_str().unwrap();
    fs::remove_file(world.home().join(format!("chunks/{}/{}/{chunk}", &chunk[..2], &chunk[2..4]))).unwrap();
    let less = world.path("less");
    let done = world.bulbil(2, &["axon", "extract", "--target", less.to_str().unwrap()]);
    let not_opened = json_of(&less.join("report.json"))["not_opened"].clone();
    assert_eq!(not_opened.as_array().unwrap().len(), 1, "{not_opened}");
    assert!(not_opened[0]["what"].as_str().unwrap().contains(&hash[..8]), "{not_opened}");
    assert!(done["problems"].to_string().contains("bulbil axon download"));
    assert_eq!(all(&less).len(), found.len() - 1);
}

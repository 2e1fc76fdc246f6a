//! Row 19: a part of a snapshot, by path and by what it is in the application.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{World, said};
use crate::support;

/// Every file below a folder, with its content.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else if entry.file_type().unwrap().is_file() {
                found.insert(entry.path().strip_prefix(folder).unwrap().to_owned(), fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

fn lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A chat with attachments, and their ids.
fn chat_with_attachments(app: &Path) -> (String, Vec<String>) {
    for line in lines(&app.join("data/chats/index.jsonl")) {
        let id = line["id"].as_str().unwrap().to_owned();
        let file = app.join(format!("data/chats/{id}.jsonl"));
        let attached = lines(&file).into_iter().filter_map(|line| line["attachments"].as_array().cloned()).flatten();
        let mut attached: Vec<String> = attached.map(|id| id.as_str().unwrap().to_owned()).collect();
        attached.sort();
        attached.dedup();
        if !attached.is_empty() {
            return (id, attached);
        }
    }
    panic!("no chat has attachments")
}

#[test]
fn row_19_a_chat_comes_with_its_line_and_its_pictures_into_a_separate_folder() {
    let world = World::with("app17");
    world.good(&["backup"]);
    let (id, attached) = chat_with_attachments(&world.app());
    let before = files(&world.app());
    let (out, entity) = (world.path("out"), format!("chat:{id}"));
    let restored = world.json(0, &["restore", "tales", "--entity", &entity, "--target", out.to_str().unwrap()]);
    assert_eq!(restored["statistics"]["files"].as_u64(), Some(1 + attached.len() as u64), "{restored}");
    let found = files(&out);
    let chat = PathBuf::from(format!("data/chats/{id}.jsonl"));
    assert_eq!(found[&chat], before[&chat]);
    let index = lines(&out.join("data/chats/index.jsonl"));
    assert!(index.len() == 1 && index[0]["id"] == id.as_str(), "{index:?}");
    let mut listed: Vec<String> = lines(&out.join("public/data/files/files.jsonl"))
        .iter()
        .map(|line| line["id"].as_str().unwrap().to_owned())
        .collect();
    listed.sort();
    assert_eq!(listed, attached);
    // Nothing else: two lists, the chat, the pictures, each as it is in the application.
    assert_eq!(found.len(), 3 + attached.len(), "{:?}", found.keys());
    let pictures = found.iter().filter(|(path, _)| path.starts_with("public/data/files/storage"));
    assert_eq!(pictures.filter(|(path, bytes)| before[*path] == **bytes).count(), attached.len());
    assert_eq!(files(&world.app()), before, "the live tree is untouched");

    // A second thing into the same folder: both are listed.
    let other = lines(&world.app().join("data/chats/index.jsonl"))
        .into_iter()
        .map(|line| line["id"].as_str().unwrap().to_owned());
    let other = other.into_iter().find(|other| *other != id).unwrap();
    world.run(&["restore", "tales", "--entity", &format!("chat:{other}"), "--target", out.to_str().unwrap()]);
    assert_eq!(lines(&out.join("data/chats/index.jsonl")).len(), 2);
}

#[test]
fn row_19_in_place_only_the_chat_changes_and_what_was_there_is_kept() {
    let world = World::with("app17");
    world.good(&["backup"]);
    let (id, _) = chat_with_attachments(&world.app());
    let app = world.app();
    let sound = files(&app);
    let (chat, index) = (PathBuf::from(format!("data/chats/{id}.jsonl")), PathBuf::from("data/chats/index.jsonl"));
    // The chat is gone from file and list, and another chat went on.
    fs::write(app.join(&chat), "{\"torn").unwrap();
    let text = fs::read_to_string(app.join(&index)).unwrap();
    let without: String = text
        .lines()
        .filter(|line| !line.contains(&format!("\"id\":\"{id}\"")))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_ne!(without, text);
    fs::write(app.join(&index), &without).unwrap();
    let before = files(&app);
    let entity = format!("chat:{id}");

    // Not by accident.
    for target in [app.clone(), app.join("data"), app.parent().unwrap().to_owned()] {
        support::expect(
            1,
            &world.home(),
            &["restore", "tales", "--entity", &entity, "--target", target.to_str().unwrap()],
        );
    }
    support::expect(1, &world.home(), &["restore", "tales", "--entity", &entity]);
    world.good(&["restore", "tales", "--entity", &entity, "--in-place", "--dry-run"]);
    assert_eq!(files(&app), before);

    let restored = world.json(0, &["restore", "tales", "--entity", &entity, "--in-place"]);
    let after = files(&app);
    assert_eq!(after[&chat], sound[&chat]);
    let put: Vec<Value> = lines(&app.join(&index));
    assert!(after[&index].starts_with(without.as_bytes()) && put.last().unwrap()["id"] == id.as_str());
    let changed: Vec<_> =
        after.iter().filter(|(path, bytes)| before.get(*path) != Some(*bytes)).map(|(path, _)| path).collect();
    assert_eq!(changed, [&chat, &index]);
    let kept = files(Path::new(restored["statistics"]["kept"].as_str().unwrap()));
    assert_eq!((kept.len(), &kept[&chat], &kept[&index]), (2, &before[&chat], &before[&index]));
    assert_eq!(world.json(0, &["check", "tales"])["errors"], 0);
    // Again: nothing to do, nothing to keep.
    let again = world.json(0, &["restore", "tales", "--entity", &entity, "--in-place"]);
    let done = &again["statistics"];
    assert!(done["files"] == 0 && done["lines"] == 0 && done["kept"].is_null(), "{again}");
    assert_eq!(files(&app), after);
}

#[test]
fn row_19_a_character_comes_with_its_memories_its_vectors_and_its_picture() {
    let world = World::with("app17");
    world.good(&["backup"]);
    let listed = world.json(0, &["restore", "tales", "--entity", "character:?"]);
    let characters = listed.as_array().unwrap();
    assert!(characters.iter().all(|one| one["title"].is_string()) && characters.len() > 1, "{listed}");
    let with_image = characters.iter().map(|one| one["id"].as_str().unwrap()).find(|id| {
        let text = fs::read_to_string(world.app().join(format!("data/characters/{id}.json"))).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["defaultImageId"].is_string()
    });
    let id = with_image.unwrap();
    let out = world.path("out");
    world.good(&["restore", "tales", "--entity", &format!("character:{id}"), "--target", out.to_str().unwrap()]);
    let (found, live) = (files(&out), files(&world.app()));
    for path in ["data/characters", "data/memories/by-character", "data/vector-indices"] {
        let path = PathBuf::from(format!("{path}/{id}.json"));
        assert_eq!(found.get(&path), live.get(&path), "{}", path.display());
    }
    assert_eq!(lines(&out.join("public/data/files/files.jsonl")).len(), 1);
    assert_eq!(found.keys().filter(|path| path.starts_with("public/data/files/storage")).count(), 1);
}

#[test]
fn row_19_what_is_not_there_is_said_with_what_may_be_meant() {
    let world = World::with("app17");
    world.good(&["backup"]);
    let listed = world.json(0, &["restore", "tales", "--entity", "chat:?"]);
    let id = listed[0]["id"].as_str().unwrap();
    let mistyped = format!("{}{}", &id[..id.len() - 1], if id.ends_with('0') { '1' } else { '0' });
    let out = world.path("out");
    let refused = |entity: &str| {
        let output = world.run(&["restore", "tales", "--entity", entity, "--target", out.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{entity}: {}", said(&output));
        said(&output)
    };
    let text = refused(&format!("chat:{mistyped}"));
    assert!(text.contains("did you mean") && text.contains(id), "{text}");
    assert!(refused("diary:1").contains("it knows: chat, character"));
    for wrong in ["chat", "chat:../../etc/passwd", "chat:index", ":", "chat:"] {
        refused(wrong);
    }
    assert!(!out.exists());
    // A snapshot without a preset knows of no chats.
    world.good(&["collection", "add", "plain", world.app().join("data").to_str().unwrap()]);
    world.run(&["backup", "plain"]);
    let output = world.run(&["restore", "plain", "--entity", &format!("chat:{id}"), "--target", out.to_str().unwrap()]);
    assert!(output.status.code() == Some(1) && said(&output).contains("--path"), "{}", said(&output));
}

#[test]
fn row_19_what_is_damaged_in_the_snapshot_replaces_nothing() {
    let world = World::with("app17");
    world.good(&["backup"]);
    let (id, _) = chat_with_attachments(&world.app());
    let before = files(&world.app());
    world.rot();
    fs::remove_file(world.app().join(format!("data/chats/{id}.jsonl"))).unwrap();
    let output = world.run(&["restore", "tales", "--entity", &format!("chat:{id}"), "--in-place"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let mut expected = before;
    expected.remove(Path::new(&format!("data/chats/{id}.jsonl")));
    assert_eq!(files(&world.app()), expected);
}

#[test]
fn row_19_a_part_by_its_path_goes_to_a_separate_folder_and_the_live_one_stays() {
    let world = World::with("guide");
    world.good(&["backup"]);
    let before = files(&world.app());
    let out = world.path("out");
    world.good(&["restore", "tales", "--path", "data/characters", "--target", out.to_str().unwrap()]);
    let found = files(&out);
    assert!(
        !found.is_empty()
            && found.iter().all(|(path, bytes)| path.starts_with("data/characters") && before[path] == *bytes)
    );
    assert_eq!(files(&world.app()), before);
    // It does not go into the live one by itself.
    support::expect(1, &world.home(), &["restore", "tales", "--path", "data/characters"]);
}

#[test]
fn row_19_killed_in_place_each_file_is_the_old_or_the_new_one_and_nothing_is_listed_that_is_not_there() {
    let world = World::with("app17");
    world.good(&["backup"]);
    let (id, _) = chat_with_attachments(&world.app());
    let app = world.app();
    let sound = files(&app);
    let (chat, index) = (app.join(format!("data/chats/{id}.jsonl")), app.join("data/chats/index.jsonl"));
    let text = fs::read_to_string(&index).unwrap();
    let line = format!("\"id\":\"{id}\"");
    let without: String = text.lines().filter(|at| !at.contains(&line)).map(|line| format!("{line}\n")).collect();
    let kept = || {
        let beside = fs::read_dir(app.parent().unwrap()).unwrap();
        beside.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains(".replaced-")).count()
    };
    let scratch =
        || fs::read_dir(&app).unwrap().any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with(".bulbil"));
    let args = ["restore", "tales", "--entity", &format!("chat:{id}"), "--in-place", "-q"];
    let mut kills = 0;
    for moment in 0..6 {
        fs::write(&chat, "old\n").unwrap();
        fs::write(&index, &without).unwrap();
        let before = kept();
        let reached = || match moment {
            0 => true,
            1 | 2 => kept() > before,
            3 => scratch(),
            _ => fs::metadata(&chat).is_ok_and(|found| found.len() > 4),
        };
        kills += usize::from(crate::kill::kill_when(&world.home(), &args, reached));
        let (has, lists) = (fs::read(&chat).unwrap(), fs::read_to_string(&index).unwrap());
        let is_new = has == sound[chat.strip_prefix(&app).unwrap()];
        assert!(is_new || has == b"old\n", "{moment}");
        assert!(
            lists == without || (lists.starts_with(&without) && lists.contains(&line) && is_new),
            "{moment}: {lists}"
        );
        world.good(&args);
        assert_eq!(fs::read(&chat).unwrap(), sound[chat.strip_prefix(&app).unwrap()]);
        assert!(!scratch(), "what was begun is cleared away");
    }
    assert!(kills >= 2, "only {kills} kills hit");
}

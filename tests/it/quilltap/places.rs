//! Rows 6, 12, 13 and 29: volumes, any place to restore to, nothing replaced by half, and who may read secrets.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{World, said};
use crate::support;

/// A program that answers as `docker` does, with one volume and one container.
fn docker(world: &World, volume: &Path, changed: &str) -> PathBuf {
    let folder = world.path("bin");
    let text = format!(
        r#"#!/bin/sh
case "$1 $2 $4" in
"volume inspect tales") cat <<'END'
[{{"CreatedAt": "2025-11-26T02:00:00Z", "Driver": "local", "Labels": null, "Mountpoint": "{volume}", "Name": "tales", "Options": null, "Scope": "local"}}]
END
;;
"container inspect quilltap") cat <<'END'
[{{"Id": "0a", "Name": "/quilltap", "Config": {{"User": "nextjs", "WorkingDir": "/app"}}, "Mounts": [
  {{"Type": "volume", "Name": "tales", "Source": "{volume}", "Destination": "/app/data", "Driver": "local", "Mode": "z", "RW": true, "Propagation": ""}},
  {{"Type": "tmpfs", "Source": "", "Destination": "/app/cache", "Mode": "", "RW": true, "Propagation": ""}}]}}]
END
;;
"container diff quilltap") printf '{changed}' ;;
*) echo "Error response from daemon: get $4: no such volume" >&2; exit 1 ;;
esac
"#,
        volume = volume.display()
    );
    super::write(&folder.join("docker"), &text);
    fs::set_permissions(folder.join("docker"), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn with_docker(world: &World, bin: &Path, args: &[&str]) -> Output {
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    Command::new(support::BULBIL).env("PATH", path).arg("--home").arg(world.home()).args(args).output().unwrap()
}

#[test]
fn row_6_a_named_volume_is_backed_up_and_comes_back_into_an_empty_one_with_its_owner() {
    let world = World::new();
    world.make("app17");
    let volume = world.path("volumes/tales/_data");
    fs::create_dir_all(volume.parent().unwrap()).unwrap();
    fs::rename(world.app(), &volume).unwrap();
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        let chown = Command::new("chown").args(["-hR", "1001:1001"]).arg(&volume).status().unwrap();
        assert!(chown.success());
    }
    let bin = docker(&world, &volume, "");
    let added = with_docker(&world, &bin, &["collection", "add", "tales", "--preset", "quilltap", "--volume", "tales"]);
    assert_eq!(added.status.code(), Some(0), "{}", said(&added));
    assert!(said(&added).contains(volume.to_str().unwrap()), "{}", said(&added));
    world.good(&["backup", "tales"]);
    // It is called as the volume is, and not '_data'.
    assert!(world.listed().iter().any(|path| path == "tales/data/chats/index.jsonl"));
    let empty = world.path("volumes/fresh/_data");
    fs::create_dir_all(&empty).unwrap();
    world.good(&["restore", "tales", "--target", empty.to_str().unwrap()]);
    let (before, after) = (support::describe(&volume), support::describe(&empty));
    assert!(after.len() > 80, "{}", after.len());
    for (path, what) in &after {
        let path_text = String::from_utf8_lossy(path).into_owned();
        // A folder in which something is left out changed its time with it, and a cache is recorded empty.
        assert_eq!(Some(what), before.get(path), "{path_text}");
        assert!(!is_root || what.contains("owner 1001:1001"), "{path_text}: {what}");
    }
    let missing = with_docker(&world, &bin, &["collection", "add", "none", "--volume", "nothing"]);
    assert!(missing.status.code() == Some(1) && said(&missing).contains("no such volume"), "{}", said(&missing));
}

#[test]
fn row_6_what_is_on_no_volume_is_told() {
    let world = World::new();
    let volume = world.path("volumes/tales/_data");
    super::write(&volume.join("settings/general.json"), "{}");
    let changed = "C /app\\nC /app/public\\nC /app/public/data\\nA /app/public/data/files\\nA /app/public/data/files/files.jsonl\\n\
                   C /tmp\\nA /tmp/x\\nA /app/cache/y\\nA /app/notes.txt\\nD /app/gone\\n";
    let bin = docker(&world, &volume, changed);
    let told = with_docker(&world, &bin, &["volumes", "quilltap", "--preset", "quilltap"]);
    let text = said(&told);
    assert_eq!(told.status.code(), Some(2), "{text}");
    assert!(text.contains("/app/public/data/files is not on a volume: pictures"), "{text}");
    assert!(text.contains("/app/notes.txt is not on a volume"), "{text}");
    assert!(text.contains("in no collection"), "{text}");
    for fine in ["/app/data is not", "/tmp is not", "/tmp/x", "/app/cache/y", "/app/gone"] {
        assert!(!text.contains(fine), "{fine}: {text}");
    }
    assert_eq!(with_docker(&world, &bin, &["collection", "add", "t", "--volume", "tales"]).status.code(), Some(0));
    let bin = docker(&world, &volume, "C /tmp\\nA /tmp/x\\n");
    let told = with_docker(&world, &bin, &["volumes", "quilltap", "--preset", "quilltap"]);
    assert!(told.status.code() == Some(0) && said(&told).contains("in the collection t"), "{}", said(&told));
    let none = with_docker(&world, &bin, &["volumes", "other"]);
    assert_eq!(none.status.code(), Some(1), "{}", said(&none));
}

#[test]
fn row_12_the_same_snapshot_comes_back_the_same_at_any_place() {
    let world = World::with("app17");
    world.good(&["backup"]);
    let first = world.path("first");
    world.good(&["restore", "tales", "--target", first.to_str().unwrap()]);
    let whole = support::describe(&first);
    assert!(whole.contains_key(b"data/chats/index.jsonl".as_slice()));
    // A folder that is called otherwise, one deep in others, and one that has something else in it.
    let (other, full) = (world.path("a/b/another root"), world.path("full"));
    world.good(&["restore", "tales", "--target", other.to_str().unwrap()]);
    assert_eq!(support::describe(&other), whole);
    super::write(&full.join("data/chats/stale.jsonl"), "{}\n");
    super::write(&full.join("data/chats/index.jsonl"), "old\n");
    world.good(&["restore", "tales", "--target", full.to_str().unwrap(), "--delete"]);
    assert_eq!(support::describe(&full), whole);
    // A file system of its own, as a volume is.
    let mount = world.path("volume");
    fs::create_dir(&mount).unwrap();
    let script = format!(
        "mount -t tmpfs none {mount} && {bulbil} --home {home} restore tales --target {mount} >&2 && diff -r --no-dereference {first} {mount} \
         && cd {mount} && find . -type f -printf '%p %m %T@ %s\\n' | sort > {listed} && cd {first} && \
         find . -type f -printf '%p %m %T@ %s\\n' | sort | diff - {listed} && echo same",
        mount = mount.display(),
        bulbil = support::BULBIL,
        home = world.home().display(),
        first = first.display(),
        listed = world.path("listed").display(),
    );
    let may = Command::new("unshare").args(["-rm", "true"]).output().is_ok_and(|done| done.status.success());
    if may {
        let done = Command::new("unshare").args(["-rm", "sh", "-c", &script]).output().unwrap();
        assert!(String::from_utf8_lossy(&done.stdout).ends_with("same\n"), "{}", said(&done));
    } else {
        eprintln!("a restore into a mount was not tried: this user may not mount anything");
    }
}

#[test]
fn row_13_an_object_that_is_cut_off_replaces_nothing_in_the_target() {
    let world = World::with("app17");
    world.good(&["backup"]);
    let target = world.path("target");
    world.good(&["restore", "tales", "--target", target.to_str().unwrap()]);
    super::generator(&world.app(), &["--mutate", "1"]);
    super::write(&world.app().join("data/chats/large.jsonl"), &"{\"type\":\"note\"}\n".repeat(200_000));
    world.good(&["backup"]);
    let before = support::describe(&target);
    let args = |more: &[&'static str]| {
        let target = target.to_str().unwrap().to_owned();
        let mut all = vec!["restore".to_owned(), "tales".to_owned(), "--target".to_owned(), target];
        all.extend(more.iter().map(|text| (*text).to_owned()));
        all
    };
    let run = |home: &Path, more: &[&'static str]| {
        support::run(home, &args(more).iter().map(String::as_str).collect::<Vec<_>>())
    };
    let copied = world.path("copied");
    let mut refused = 0;
    for chunk in chunks(&world.home()) {
        let _ = fs::remove_dir_all(&copied);
        assert!(Command::new("cp").arg("-a").arg(world.home()).arg(&copied).status().unwrap().success());
        let path = copied.join(chunk.strip_prefix(world.home()).unwrap());
        let half = fs::metadata(&path).unwrap().len() / 2;
        fs::File::options().write(true).open(&path).unwrap().set_len(half).unwrap();
        // What the second snapshot does not need anew is no reason to refuse; then all of it comes back, and is put away again.
        let done = run(&copied, &["--delete"]);
        if done.status.code() == Some(0) {
            fs::remove_dir_all(&target).unwrap();
            world.good(&["restore", "tales@1", "--target", target.to_str().unwrap()]);
            continue;
        }
        refused += 1;
        assert_eq!(done.status.code(), Some(1), "{}", said(&done));
        let after = support::describe(&target);
        let differ: Vec<_> = before.iter().filter(|(path, what)| after.get(*path) != Some(what)).collect();
        assert!(differ.is_empty() && after.len() == before.len(), "{differ:?} {}", said(&done));
    }
    assert!(refused > 0);
    // Whole, it does it.
    let done = run(&world.home(), &["--delete"]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    assert_ne!(support::describe(&target), before);
}

fn chunks(home: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![home.join("chunks")];
    while let Some(folder) = left.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            match path.is_dir() {
                true => left.push(path),
                false if !path.ends_with(".bulbil-home") => found.push(path),
                false => {}
            }
        }
    }
    found.sort();
    found
}

fn modes(folder: &Path, below: &str) -> Vec<(String, u32)> {
    let mut modes: Vec<(String, u32)> = fs::read_dir(folder.join(below))
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            (
                entry.file_name().to_string_lossy().into_owned(),
                fs::symlink_metadata(entry.path()).unwrap().mode() & 0o7777,
            )
        })
        .collect();
    modes.sort();
    modes
}

#[test]
fn row_29_secrets_that_everybody_may_read_are_told_and_tightened_and_nothing_becomes_executable() {
    let world = World::with("app17");
    let app = world.app();
    // As the application leaves them, and one with an execute bit.
    for below in ["data/auth", "data/settings"] {
        for (name, _) in modes(&app, below) {
            fs::set_permissions(app.join(below).join(name), fs::Permissions::from_mode(0o644)).unwrap();
        }
    }
    fs::set_permissions(app.join("data/settings/general.json"), fs::Permissions::from_mode(0o755)).unwrap();
    let character = fs::read_dir(app.join("data/characters")).unwrap().next().unwrap().unwrap().path();
    let elsewhere = fs::symlink_metadata(&character).unwrap().mode();
    let report = world.json(0, &["check", "tales"]);
    let found = super::findings(&report);
    let told = |path: &str| {
        found.iter().any(|(level, at, _, text)| level == "warning" && at == path && text.contains("everybody"))
    };
    for path in [
        "data/auth/accounts.json",
        "data/auth/sessions.jsonl",
        "data/settings/general.json",
        "data/settings/connection-profiles.json",
    ] {
        assert!(told(path), "{path}: {report}");
    }
    assert!(!found.iter().any(|(_, path, ..)| path.starts_with("data/characters")), "{report}");
    world.good(&["backup"]);
    // What is restored comes with the modes it had, unless somebody wants it otherwise.
    let (as_was, tight) = (world.path("as-was"), world.path("tight"));
    world.good(&["restore", "tales", "--target", as_was.to_str().unwrap()]);
    assert_eq!(modes(&as_was, "data/auth"), modes(&app, "data/auth"));
    world.good(&["restore", "tales", "--target", tight.to_str().unwrap(), "--tighten"]);
    world.good(&["check", "tales", "--tighten"]);
    for folder in [&app, &tight] {
        for below in ["data/auth", "data/settings"] {
            for (name, mode) in modes(folder, below) {
                let wanted = if name == "general.json" { 0o700 } else { 0o600 };
                assert_eq!(mode, wanted, "{below}/{name} in {}", folder.display());
            }
            assert_eq!(fs::metadata(folder.join(below)).unwrap().mode() & 0o7777, 0o700, "{below}");
        }
    }
    assert_eq!(fs::symlink_metadata(&character).unwrap().mode(), elsewhere);
    let report = world.json(0, &["check", "tales"]);
    assert!(!super::findings(&report).iter().any(|(.., text)| text.contains("has rights on it")), "{report}");
}

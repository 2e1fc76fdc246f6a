//! What is damaged at a BBS on this machine after the first backup, what is no file there, and a key of somebody else.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::World;
use super::install::{SMALL, hashes};
use crate::support::BULBIL;
use crate::support::running::until;

fn listed(said: &Value, list: &str) -> BTreeSet<String> {
    said["result"][list].as_array().unwrap().iter().map(|hash| hash.as_str().unwrap().to_owned()).collect()
}

impl World {
    /// What a command says that must fail, and must not wait for anybody.
    fn fails_soon(&self, args: &[&str]) -> String {
        let mut command = Command::new(BULBIL);
        command.arg("--home").arg(self.home()).args(args).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until(deadline, "the end of the command", || child.try_wait().unwrap().is_some());
        }));
        if ended.is_err() {
            child.kill().unwrap();
        }
        let output = child.wait_with_output().unwrap();
        assert!(ended.is_ok(), "it hangs: {args:?}");
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

#[test]
fn what_rots_in_the_store_of_a_bbs_after_its_first_backup_is_told_until_it_is_put_right() {
    let world = World::installed(SMALL);
    world.take_over(0);
    let dump: Value = serde_json::from_str(&world.axon(&["dump"], &[])).unwrap();
    let of = |kind: &str| hashes(&dump, kind).into_iter().next().unwrap();
    let chunk = |hash: &str| world.path("install/data/bitsync_chunks").join(hash).join("0.chunk");
    let (lost, flipped, cut) = (of("messages"), of("pms"), of("files"));
    let whole: Vec<(String, Vec<u8>)> =
        [&lost, &flipped, &cut].map(|hash| (hash.clone(), fs::read(chunk(hash)).unwrap())).into();
    fs::remove_dir_all(chunk(&lost).parent().unwrap()).unwrap();
    let mut bytes = whole[1].1.clone();
    bytes[3] ^= 1;
    fs::write(chunk(&flipped), bytes).unwrap();
    fs::write(chunk(&cut), &whole[2].1[1..]).unwrap();
    for _ in 0..2 {
        let said = world.take_over(2);
        assert_eq!(listed(&said, "amiss_there"), [lost.clone(), flipped.clone(), cut.clone()].into(), "{said}");
        assert_eq!((&said["result"]["snapshot"], &said["result"]["new_items"]), (&Value::Null, &0.into()), "{said}");
        let problems = said["problems"].to_string();
        assert!(problems.contains("missing") && problems.contains("not what its hash says"), "{problems}");
    }
    // What is here is whole, and can be given back.
    let verified = world.bulbil(0, &["verify", "--data"]);
    assert_eq!(verified["result"]["missing"], serde_json::json!([]), "{verified}");
    for (hash, bytes) in whole {
        fs::create_dir_all(chunk(&hash).parent().unwrap()).unwrap();
        fs::write(chunk(&hash), bytes).unwrap();
    }
    world.take_over(0);
    // All of them at once.
    fs::remove_dir_all(world.path("install/data/bitsync_chunks")).unwrap();
    let said = world.take_over(2);
    assert!(said["problems"].to_string().contains("missing"), "{said}");
    assert_eq!(said["result"]["incomplete"], serde_json::json!([]), "{said}");
}

#[test]
fn what_is_no_file_in_an_installation_is_refused_and_never_waited_for() {
    let world = World::installed(SMALL);
    let install = world.text("install");
    let data = "install/data/axon_bbs.sqlite3";
    for name in [data, "install/data/axon_bbs.sqlite3-wal", "install/.env"] {
        let (path, aside) = (world.path(name), world.path("aside"));
        let was = path.exists();
        if was {
            fs::rename(&path, &aside).unwrap();
        }
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        for args in [["backup", "--install"], ["restore", "--into"]] {
            let said = world.fails_soon(&["axon", args[0], args[1], &install]);
            assert!(said.contains("is no regular file"), "{name}: {said}");
        }
        let named = ["axon", "backup", "--install", &install, "--database", &world.text(name)];
        if name == data {
            assert!(world.fails_soon(&named).contains("is no regular file"), "{name}");
        }
        fs::remove_file(&path).unwrap();
        if was {
            fs::rename(&aside, &path).unwrap();
        }
    }
    world.take_over(0);
}

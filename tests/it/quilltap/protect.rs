//! The one command that replaces the guide.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use serde_json::{Value, json};

use super::{World, generator};
use crate::support::BULBIL;

#[test]
fn row_2_one_command_takes_schedules_and_proves_and_a_second_time_adds_nothing() {
    let world = World::new();
    world.make("app17");
    let home = world.path("new");
    let protect = |more: &[&str]| -> (i32, Value) {
        let mut command = Command::new(BULBIL);
        command.arg("--home").arg(&home).args(["--json", "protect"]).arg(world.app()).args(more);
        let out = command.output().unwrap();
        (out.status.code().unwrap(), serde_json::from_slice(&out.stdout).unwrap_or_default())
    };
    let (code, refused) = protect(&["--webhook", "not an address"]);
    assert!(code == 1 && !home.exists(), "an address that is none is refused before anything is made: {refused}");

    let (code, first) = protect(&["--webhook", "https://alerts.example/1", "--rpo", "24h"]);
    let result = &first["result"];
    assert_eq!(code, 0, "{first}");
    assert!(result["home"]["recovery_key"].as_str().unwrap().starts_with("BULBIL-RECOVERY-1-"));
    assert_eq!(result["collection"], "quilltap");
    assert_eq!(result["capture"]["preset"], "quilltap/1", "it found out by itself whose data it is");
    assert_eq!(result["scheduled"], json!(["backup", "prune", "drill", "verify-data"]));
    assert_eq!(result["drill"]["good"], true);
    let config = home.join("bulbil.toml");
    assert_eq!(fs::read_to_string(&config).unwrap(), "[alerts]\nwebhook = \"https://alerts.example/1\"\n");
    assert_eq!(fs::metadata(&config).unwrap().permissions().mode() & 0o777, 0o600, "addresses are secrets");

    let (code, again) = protect(&["--webhook", "https://alerts.example/1"]);
    let result = &again["result"];
    assert_eq!((code, &result["added"], &result["scheduled"]), (0, &json!(false), &json!([])), "{again}");
    assert_eq!(result["sequence"], 2);
    assert!(result["home"]["recovery_key"].is_null());
    let (code, other) = protect(&["--webhook", "https://alerts.example/2"]);
    assert_eq!(code, 2, "what the file says is not overwritten: {other}");
    assert!(!fs::read_to_string(&config).unwrap().contains("/2"));

    // Damage that is in the data is heard of at once.
    generator(&world.app(), &["--corrupt", "truncated-json"]);
    let (code, damaged) = protect(&[]);
    assert_eq!((code, &damaged["result"]["drill"]["good"]), (2, &json!(false)), "{damaged}");
}

#[test]
fn a_folder_that_only_looks_like_an_application_is_taken_as_it_is() {
    let world = World::new();
    fs::create_dir_all(world.app().join("data")).unwrap();
    fs::write(world.app().join("data/a"), "a").unwrap();
    fs::write(world.app().join("b"), "b").unwrap();
    let out = world.good(&["--json", "protect", world.app().to_str().unwrap(), "--rpo", "none"]);
    let result: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(result["result"]["capture"]["preset"], "generic/2");
    assert!(world.good(&["ls", "-r", "quilltap"]).contains("quilltap/b"));
}

#[test]
fn row_1_what_is_only_a_part_or_lacks_something_is_asked_for_and_not_guessed() {
    let world = World::new();
    world.make("app17");
    let refused = |folder: &std::path::Path, words: &str| {
        let out = world.run(&["protect", folder.to_str().unwrap()]);
        assert!(out.status.code() == Some(1) && super::said(&out).contains(words), "{}", super::said(&out));
    };
    refused(&world.app().join("data"), "is a part of the folder of quilltap");
    fs::remove_file(world.app().join("data/tags/tags.json")).unwrap();
    refused(&world.app(), "data/tags/tags.json is not there");
    assert!(world.json(0, &["collection", "list"]).as_array().unwrap().is_empty());
}

#[test]
fn a_service_is_written_enabled_and_not_overwritten() {
    let world = World::new();
    fs::create_dir_all(world.app()).unwrap();
    fs::write(world.app().join("a"), "a").unwrap();
    let (bin, config) = (world.path("bin"), world.path("config"));
    fs::create_dir(&bin).unwrap();
    for program in ["systemctl", "loginctl"] {
        fs::write(
            bin.join(program),
            format!("#!/bin/sh\necho {program} \"$@\" >>\"{}\"\n", world.path("calls").display()),
        )
        .unwrap();
        fs::set_permissions(bin.join(program), fs::Permissions::from_mode(0o755)).unwrap();
    }
    // Not as root: that is for the whole system.
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        let chowned = Command::new("chown").args(["-R", "12345:12345"]).arg(world.path("")).status().unwrap();
        assert!(chowned.success());
        chown(world.path(""), Some(12345), Some(12345)).unwrap();
    }
    let protect = || {
        let mut command = match is_root {
            true => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid=12345", "--regid=12345", "--clear-groups", "--"]).arg(BULBIL);
                command
            }
            false => Command::new(BULBIL),
        };
        command.env("PATH", format!("{}:/usr/bin:/bin", bin.display())).env("XDG_CONFIG_HOME", &config);
        command.arg("--home").arg(world.home()).args(["--json", "protect"]).arg(world.app()).arg("--service");
        let out = command.output().unwrap();
        (out.status.code().unwrap(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let (code, said) = protect();
    assert_eq!(code, 0, "{said}");
    let unit = config.join("systemd/user/bulbil.service");
    let text = fs::read_to_string(&unit).unwrap();
    assert!(text.contains(&format!("--home \"{}\" serve", world.home().canonicalize().unwrap().display())), "{text}");
    let calls = fs::read_to_string(world.path("calls")).unwrap();
    assert_eq!(
        calls,
        "systemctl --user daemon-reload\nsystemctl --user enable --now bulbil.service\nloginctl enable-linger\n"
    );
    assert_eq!(protect().0, 0, "again, without harm");
    fs::remove_file(&unit).unwrap();
    fs::write(&unit, "[Unit]\n").unwrap();
    assert_eq!(protect().0, 2, "somebody's own unit stays");
    assert_eq!(fs::read_to_string(&unit).unwrap(), "[Unit]\n");
}

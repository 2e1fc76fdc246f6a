//! The admin API as `docs/api.md` shows it: its commands are run, in their order, beside a real server.

use super::*;

/// The commands of the page.
fn commands() -> String {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/api.md")).unwrap();
    let blocks: Vec<&str> = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() > 6, "the page has its commands");
    blocks.concat()
}

#[test]
fn every_command_of_the_guide_works() {
    let place = Place::new();
    let home = place.home();
    let folder = place.path("live");
    fs::create_dir_all(folder.join("sub")).unwrap();
    fs::write(folder.join("hello.txt"), "hello, bulbil\n").unwrap();
    fs::write(folder.join("sub/big"), crate::support::noise(7, 3 << 20)).unwrap();
    let elsewhere = place.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let served = Served::start(&home);
    let info: Value = serde_json::from_slice(&fs::read(home.join("lock/server.json")).unwrap()).unwrap();
    let admin = info["admin_address"].as_str().unwrap();
    let token = good(&home, &["token", "create", "guide", "--scope", "admin"]);
    let token = token.trim().to_owned();
    let script = format!("set -euo pipefail\nset -x\n{}", commands());
    let done = Command::new("bash")
        .args(["-c", &script])
        .env("TOKEN", &token)
        .env("ADMIN", format!("http://{admin}"))
        .env("FOLDER", &folder)
        .env("RESTORED", place.path("restored"))
        .env("ELSEWHERE", &elsewhere)
        .output()
        .unwrap();
    let told = format!("{}\n{}", stdout(&done), stderr(&done).replace(&token, "…"));
    assert_eq!(done.status.code(), Some(0), "{told}");
    assert_eq!(fs::read(place.path("restored/sub/big")).unwrap(), fs::read(folder.join("sub/big")).unwrap());
    assert!(elsewhere.join("backup_manifest.json").is_file(), "what is in a forgotten target stays");
    // Not into the home itself, by whatever name.
    std::os::unix::fs::symlink(&home, place.path("link")).unwrap();
    for output in [home.join("keys"), place.path("link/new/folder")] {
        let done = Command::new("curl")
            .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--json"])
            .arg(serde_json::json!({ "output": output }).to_string())
            .args(["-H", &format!("Authorization: Bearer {token}"), &format!("http://{admin}/admin/v1/exports")])
            .output()
            .unwrap();
        assert_eq!(stdout(&done), "422", "{}", output.display());
    }
    let log = good(&home, &["audit", "--limit", "20"]);
    assert!(log.contains("guide") && log.contains("restore"), "who asked is on record: {log}");
    assert_eq!(served.stop(), Some(0));
}

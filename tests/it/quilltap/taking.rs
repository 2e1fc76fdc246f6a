//! Rows 2 and 5: how it is taken, and what is left out.

use super::{World, said};

#[test]
fn row_2_what_is_left_out_is_told_with_its_size_and_is_not_in_the_snapshot() {
    let world = World::with("guide");
    let made = world.json(0, &["backup"]);
    let listed = world.listed();
    let odd = |path: &&String| path.contains("binaries/cache") || path.ends_with(".lock") || path.contains(".tmp.");
    assert_eq!(listed.iter().find(odd), None);
    let left_out = made[0]["left_out"].as_array().unwrap();
    let told = |end: &str| left_out.iter().find(|one| one["path"].as_str().unwrap().ends_with(end)).cloned();
    let cache = told("data/binaries/cache").unwrap();
    assert!(cache["files"].as_u64().unwrap() >= 41 && cache["bytes"].as_u64().unwrap() > 30_000, "{cache}");
    assert_eq!(told("data/chats/index.jsonl.lock").unwrap()["files"], 1);
    assert!(left_out.iter().any(|one| one["path"].as_str().unwrap().contains(".json.tmp.")), "{left_out:?}");
    let text = said(&world.run(&["backup"]));
    assert!(text.contains("left out: quilltap/data/binaries/cache ("), "{text}");
}

#[test]
fn row_2_what_somebody_says_of_the_capture_is_written_down() {
    let world = World::with("app17");
    let made = world.json(0, &["backup", "--capture", "stopped"]);
    assert_eq!(made[0]["capture"]["mode"], "stopped");
    assert_eq!(world.json(0, &["snapshots"])[0]["capture"]["mode"], "stopped");
}

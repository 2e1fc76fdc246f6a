//! Row 16: a restore that is tried.

use std::fs;

use super::World;

/// That of the generator.
pub const PEPPER: &str = "fixture-pepper-not-a-secret-0123456789abcdefghij=";

pub fn secrets(world: &World, pepper: &str) -> String {
    let path = world.path("secrets.env");
    fs::write(&path, format!("ENCRYPTION_MASTER_PEPPER={pepper}\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn row_16_a_drill_restores_compares_opens_times_and_leaves_nothing_behind() {
    let world = World::with("app17");
    world.good(&["backup"]);
    let right = secrets(&world, PEPPER);
    let drilled = world.json(0, &["drill", "tales", "--secrets", &right, "--rto", "30m"]);
    assert_eq!(drilled["good"], true, "{drilled}");
    assert_eq!(drilled["compared"], drilled["restored"]["files"]);
    let (sealed, opened) = (&drilled["content"]["sealed"], &drilled["content"]["opened"]);
    assert!(sealed.as_u64() > Some(0) && sealed == opened, "{sealed} {opened}");
    for phase in ["restore_seconds", "compare_seconds", "check_seconds"] {
        assert!(drilled[phase].as_f64() > Some(0.0), "{phase}");
    }
    assert!(!world.home().join("drill").exists());
    let runs = world.json(0, &["runs", "--work", "drill"]);
    assert_eq!(runs[0]["result"], "done");

    let wrong = secrets(&world, "another pepper, of more than thirty-two letters");
    let drilled = world.json(2, &["drill", "tales", "--secrets", &wrong]);
    assert_eq!((&drilled["good"], &drilled["content"]["opened"]), (&false.into(), &0.into()));
    assert!(!world.home().join("drill").exists());
}

#[test]
fn row_16_a_drill_of_what_was_lost_fails_and_leaves_nothing_behind() {
    let world = World::with("app17");
    world.good(&["backup"]);
    world.rot();
    let (elsewhere, precious) = (world.path("elsewhere"), world.path("elsewhere/restored"));
    fs::create_dir_all(&precious).unwrap();
    let drilled = world.run(&["drill", "tales", "--scratch", elsewhere.to_str().unwrap()]);
    assert!(matches!(drilled.status.code(), Some(1 | 2)), "{}", super::said(&drilled));
    let left: Vec<_> = fs::read_dir(&elsewhere).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["restored"], "what others have there is not touched, and nothing else is left");
    assert_ne!(world.json(0, &["runs", "--work", "drill"])[0]["result"], "done");
    // And an admin hears of it.
    let status = world.json(2, &["status"]);
    let kinds: Vec<_> = status["alerts"].as_array().unwrap().iter().map(|alert| alert["kind"].clone()).collect();
    assert!(kinds.contains(&"drill-failed".into()), "{status}");
}

#[test]
fn row_16_what_a_drill_finds_counts_against_the_snapshot_whatever_verify_says() {
    let world = World::with("app17");
    let right = secrets(&world, PEPPER);
    world.good(&["backup"]);
    world.good(&["drill", "tales", "--secrets", &right]);
    // A wrong secret says nothing of the snapshot.
    let wrong = secrets(&world, "another pepper, of more than thirty-two letters");
    world.json(2, &["drill", "tales", "--secrets", &wrong]);
    assert!(world.json(0, &["snapshots"])[0]["flagged"].is_null());
    // A file without the secret would open nothing, and pass each time.
    let other = world.path("other.env");
    fs::write(&other, "NEXTAUTH_SECRET=x\n").unwrap();
    let drilled = world.run(&["drill", "tales", "--secrets", other.to_str().unwrap()]);
    assert!(drilled.status.code() == Some(1) && super::said(&drilled).contains("ENCRYPTION_MASTER_PEPPER"));

    world.corrupt("bitflip");
    world.good(&["backup"]);
    let right = secrets(&world, PEPPER);
    world.json(2, &["drill", "tales", "--secrets", &right]);
    assert!(world.json(0, &["snapshots"])[1]["flagged"].as_str().unwrap().contains("drill"));
    // All bytes are as they were stored; the picture in them is broken.
    world.good(&["verify", "--data"]);
    world.good(&["prune", "--keep-last", "1", "--grace", "0s"]);
    assert_eq!(world.json(0, &["snapshots"])[0]["sequence"], 1, "the good one stays");
}

#[test]
fn row_22_each_phase_is_timed_and_compared_with_what_it_may_take() {
    let world = World::new();
    super::generator(&world.app(), &["--size", "40M"]);
    world.good(&["collection", "add", "tales", "--preset", "quilltap", world.app().to_str().unwrap()]);
    world.good(&["backup"]);
    let told = world.good(&["drill", "tales", "--rto", "30m"]);
    for phase in ["restored ", "read again ", "checked "] {
        assert!(told.lines().any(|line| line.trim_start().starts_with(phase) && line.contains(" in ")), "{told}");
    }
    // What it took is what it is judged by.
    let drilled = world.run(&["drill", "tales", "--rto", "1s", "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&drilled.stdout).unwrap();
    let seconds = |phase: &str| document["result"][phase].as_f64().unwrap();
    let total = seconds("restore_seconds") + seconds("compare_seconds") + seconds("check_seconds");
    assert_eq!(drilled.status.code(), Some(if total > 1.0 { 2 } else { 0 }), "it took {total} s");
    assert_eq!(document["problems"].as_array().unwrap().is_empty(), total <= 1.0);
}

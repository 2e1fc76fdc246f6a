//! Two BBSes on one machine, backed up from one home: each keeps what is its own.

use std::collections::BTreeSet;

use serde_json::Value;

use super::World;
use super::install::{SMALL, run_peer};

/// A home with an installation in `install`, and another BBS in `second` whose applets have the same names.
fn two() -> World {
    let world = World::installed(SMALL);
    run_peer(&["new", &world.text("other"), "--seed", "9"]);
    run_peer(&[&["fill", &world.text("other")], SMALL].concat());
    world.install("other", "second");
    world
}

/// Ids and names of the applets that an installation has.
fn applets(world: &World, install: &str) -> BTreeSet<(String, String)> {
    let dump = world.holds(install);
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    dump["applets"].as_array().unwrap().iter().map(|row| (text(row, "id"), text(row, "name"))).collect()
}

fn names(applets: &BTreeSet<(String, String)>) -> BTreeSet<&str> {
    applets.iter().map(|(_, name)| name.as_str()).collect()
}

#[test]
fn two_bbses_that_are_backed_up_from_one_home_are_not_mixed() {
    let world = two();
    world.take_over(0);
    let (first, second) = (applets(&world, "install"), applets(&world, "second"));
    assert!(first.is_disjoint(&second) && names(&first) == names(&second), "they would not be taken for each other");
    let (a, b) = (world.text("install"), world.text("second"));
    let said = world.fails(&["axon", "backup", "--install", &b]);
    assert!(said.contains("--collection OTHER") && said.contains("--take-over"), "{said}");
    let again = world.take_over(0);
    assert_eq!((&again["result"]["changed_records"], &again["result"]["snapshot"]), (&0.into(), &Value::Null));
    world.bulbil(0, &["axon", "backup", "--install", &b, "--collection", "second"]);

    for (install, dir) in [("install", &a), ("second", &b)] {
        let all = world.holds(install);
        world.drops_its_applets(install, &all);
        assert!(applets(&world, install).is_empty(), "{dir}");
    }
    let said = world.put_back(0, &[]);
    assert_eq!(applets(&world, "install"), first, "{said}");
    // That collection is not the second one's, and nothing of it goes there by mistake.
    let said = world.fails(&["axon", "restore", "--into", &b]);
    assert!(said.contains("--collection"), "{said}");
    assert!(applets(&world, "second").is_empty());
    world.bulbil(0, &["axon", "restore", "--into", &b, "--collection", "second"]);
    assert_eq!(applets(&world, "second"), second);
}

#[test]
fn a_bbs_that_takes_over_a_collection_gets_its_own_of_applets_with_one_name() {
    let world = two();
    world.take_over(0);
    let (first, second) = (applets(&world, "install"), applets(&world, "second"));
    let (a, b) = (world.text("install"), world.text("second"));
    world.bulbil(0, &["axon", "backup", "--install", &b, "--take-over"]);
    world.bulbil(0, &["axon", "backup", "--install", &b]);
    assert!(world.fails(&["axon", "backup", "--install", &a]).contains("--take-over"));
    // Both are in the collection now.
    let all = world.holds("second");
    world.drops_its_applets("second", &all);
    let said = world.bulbil(0, &["axon", "restore", "--into", &b]);
    assert_eq!(applets(&world, "second"), second, "{said}");
    assert_eq!(said["result"]["skipped"], serde_json::json!([]), "nothing was there before");
    // Into the first one, whose they are not known to be, none of two goes, unless it is named.
    let all = world.holds("install");
    world.drops_its_applets("install", &all);
    let said = world.bulbil(2, &["axon", "restore", "--into", &a, "--collection", "axon"]);
    assert!(applets(&world, "install").is_empty(), "{said}");
    assert!(said["problems"].to_string().contains("several applets of this name"), "{said}");
    let id = &first.first().unwrap().0;
    world.bulbil(0, &["axon", "restore", "--into", &a, "--collection", "axon", "--applet", id]);
    assert_eq!(applets(&world, "install").first(), first.first());
}

//! What a user does in the first hour.

use std::fs;
use std::path::Path;

use crate::support::world::{Instance, World};
use crate::support::{assert_same_tree, everything};

/// A snapshot that is here with all that it needs.
pub fn complete_snapshots(instance: &Instance<'_>) -> usize {
    let snapshots = instance.json(&["snapshots"]);
    snapshots.as_array().unwrap().iter().filter(|snapshot| snapshot["complete"] == true).count()
}

#[test]
#[ignore = "needs the private Tor network: script/test tor"]
fn the_whole_way_ends_with_an_identical_tree_and_news_come_through_the_servers_door() {
    let world = World::new();
    let alpha = world.instance("alpha");
    let source = alpha.source();
    everything(&source);
    alpha.does(&["collection", "add", "notes", source.to_str().unwrap()]);
    alpha.does(&["backup", "-q"]);
    let _serving = alpha.serves_reachably();
    let said = alpha.does(&["status"]);
    assert!(said.contains("reachable: a test through Tor came through"), "{said}");
    alpha.does(&["doctor", "--ready"]);

    let beta = world.future("beta");
    beta.does(&["clone", &alpha.invite(&[]), "--name", "beta", "--yes"]);
    let out = world.path("out");
    beta.does(&["restore", "notes", "--target", out.to_str().unwrap(), "-q"]);
    assert_same_tree(&source, &out);

    // A command of a home with a server needs no Tor of its own: it gets a configuration with which it could not have one.
    let _following = beta.serves_reachably();
    beta.address();
    fs::write(source.join("later"), "news").unwrap();
    alpha.does(&["backup", "-q"]);
    for command in [&["sync", "--peer", "alpha"][..], &["fetch", "--peer", "alpha"], &["sync"]] {
        beta.does(&[command, &["--tor-config", "/nowhere"]].concat());
    }
    assert_eq!(complete_snapshots(&beta), 2);
    let again = world.path("again");
    beta.does(&["restore", "notes", "--target", again.to_str().unwrap(), "-q"]);
    assert_same_tree(&source, &again);
}

#[test]
#[ignore = "needs the private Tor network: script/test tor"]
fn an_instance_that_lost_all_of_tors_state_is_found_at_the_same_address() {
    let world = World::new();
    let alpha = world.with_notes("alpha", 4, 300_000);
    let before = alpha.address();
    let mut serving = alpha.serves_reachably();
    let beta = world.future("beta");
    beta.does(&["clone", &alpha.invite(&[]), "--name", "beta", "--yes", "-q"]);
    serving.kill();
    fs::remove_dir_all(alpha.home.join("tor")).unwrap();
    fs::write(alpha.source().join("later"), "news").unwrap();
    alpha.does(&["backup", "-q"]);
    let _serving = alpha.serves_reachably();
    assert_eq!(alpha.address(), before);
    beta.does(&["sync"]);
    beta.does(&["fetch"]);
    beta.has_the_same_as(&alpha);
    assert!(!Path::new(&beta.home.join("lock/dial")).exists());
}

//! An heir takes over, and keys are replaced: as an admin does it, with real processes.

use bulbil::domain::succession::Statement;
use bulbil::store::{Rotate, Store};

use super::*;

#[test]
fn the_heir_takes_over_the_former_leader_goes_read_only_and_keys_are_replaced() {
    let place = Place::with_snapshot();
    let (a, b, out) = (place.home(), place.path("b"), place.path("out"));
    // An address of its own: nobody else takes the port while the server is down.
    let at_a = Served::start_at(&a, "127.0.0.77:0");
    let line = good(&a, &["invite", "--collections", "notes", "--onward"]).trim().to_owned();
    good(&b, &["clone", &line, "--name", "beta"]);
    good(&b, &["restore", "notes", "--target", out.to_str().unwrap()]);
    let data = out.to_str().unwrap();
    fails(&b, &["promote", "notes", "--data", data, "--yes"], &["has not appointed", "peer appoint"]);
    fails(&b, &["peer", "appoint", "alpha", "--collections", "notes"], &["only who leads"]);
    fails(&a, &["promote", "notes", "--data", data, "--yes"], &["leads collection"]);
    assert_eq!(json(&a, &["peer", "appoint", "beta"])["collections"][0], "notes");
    good(&b, &["sync"]);
    assert_eq!(at_a.stop(), Some(0));

    fails(&b, &["promote", "notes", "--data", "/no/such/folder", "--yes"], &["/no/such/folder"]);
    fails(&b, &["promote", "notes", "--data", data], &["--yes"]);
    // A server that runs there takes over, and the command says the same.
    let at_b = Served::start_at(&b, "127.0.0.78:0");
    let promoted = json(&b, &["promote", "notes", "--data", data, "--yes"]);
    assert_eq!((&promoted["after"], &promoted["newest"]["sequence"]), (&1.into(), &1.into()));
    let audit = json(&b, &["audit"]);
    let entries = audit.as_array().unwrap().iter().filter(|e| e["what"] == "promote" && e["ending"] == "done");
    assert_eq!(entries.map(|e| e["who"]["kind"].clone()).collect::<Vec<_>>(), ["user"], "one deed, one entry: {audit}");
    fails(&b, &["promote", "notes", "--data", data, "--yes"], &["leads collection"]);
    assert_eq!(at_b.stop(), Some(0));
    fs::write(out.join("four.md"), "the fourth note\n").unwrap();
    assert_eq!(json(&b, &["backup"])[0]["sequence"], 2);

    // The former leader comes back, and knows nothing yet.
    fs::write(place.data().join("three.md"), "the third note\n").unwrap();
    good(&a, &["backup"]);
    // At the port of before, so that beta finds it.
    let address = Invite::parse(&line).unwrap().address.authority();
    let at_a = Served::start_at(&a, &address);
    good(&b, &["sync"]);
    fails(&a, &["backup"], &["has taken it over", "stays"]);
    assert!(good(&a, &["collection", "list"]).contains("led by beta"));
    let beside = |home: &Path| {
        let snapshots = json(home, &["snapshots"]);
        let snapshots = snapshots.as_array().unwrap().clone();
        snapshots.iter().filter(|s| s["beside"] == true).map(|s| s["sequence"].clone()).collect::<Vec<_>>()
    };
    assert_eq!((beside(&a), beside(&b)), (vec![2.into()], vec![2.into()]));

    assert_eq!(at_a.stop(), Some(0));
    let before = json(&a, &["status"])["instance"].clone();
    let rotated = json(&a, &["rotate-key", "identity", "envelope", "--yes"]);
    assert_eq!((&rotated["former"], &rotated["envelope_key"]["version"]), (&before, &2.into()));
    assert_eq!(json(&a, &["status"])["instance"], rotated["instance"]);
    good(&a, &["verify", "--data"]);
    let _at_a = Served::start_at(&a, &address);
    good(&b, &["sync"]);
    assert_eq!(json(&b, &["peer", "show", "alpha"])["instance"], rotated["instance"]);
}

/// Killed between the new key and what it says of the heirs: whatever is run next says it.
#[tokio::test]
async fn a_rotation_that_was_killed_in_the_middle_is_finished_by_the_next_command() {
    let place = Place::with_snapshot();
    let home = place.home();
    let which = Rotate { envelope: false, identity: true };
    let now = "2026-11-22T10:00:00Z".parse().unwrap();
    let store = Store::rotate_keys(&home, None, which, now).await.unwrap();
    let here = store.keys.instance();
    store.index.close().await;
    drop(store);
    good(&home, &["status"]);
    let store = Store::open(&home, None).await.unwrap();
    let statements = store.index.statements().await.unwrap();
    let says = |statement: &Statement| matches!(statement, Statement::Appointment { by, former: Some(_), .. } if by.instance() == here);
    assert!(statements.iter().any(|kept| says(&kept.statement)));
}

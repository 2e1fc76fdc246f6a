//! Other keys for an instance whose server runs: it ends in order, and starts again with them, in the same process.

use std::net::TcpStream;

use super::by_server::{soon, waiting};
use super::*;
use crate::support::running::{until, until_seen};

/// What a running server says of itself to commands.
fn info(home: &Path) -> Value {
    serde_json::from_slice(&fs::read(home.join("lock/server.json")).unwrap()).unwrap()
}

/// Whether somebody listens there.
#[expect(clippy::disallowed_methods, reason = "a test on this machine")]
fn answers(address: &str) -> bool {
    TcpStream::connect(address).is_ok()
}

/// Whether a moment has come: of the home, where its admin comes in, and the key file of before.
type Reached = fn(&Path, &str, &[u8]) -> bool;

/// Asks the server for other keys, as a program does; the status.
fn ask(home: &Path, order: &str) -> String {
    let token = fs::read_to_string(home.join("keys/admin-token")).unwrap();
    let url = format!("http://{}/admin/v1/keys/rotations", info(home)["admin_address"].as_str().unwrap());
    let header = format!("authorization: Bearer {}", token.trim());
    let asked =
        Command::new("curl").args(["-s", "-w", "\n%{http_code}", "--json", order, "-H", &header, &url]).output();
    stdout(&asked.unwrap())
}

fn whats(home: &Path, with: &[&str]) -> Vec<String> {
    let audit = json(home, &[&["audit"], with].concat());
    audit.as_array().unwrap().iter().map(|entry| entry["what"].as_str().unwrap().to_owned()).collect()
}

/// alpha with a snapshot, and beta that has cloned it.
fn two() -> (Place, PathBuf, PathBuf, Served) {
    let place = Place::with_snapshot();
    let (a, b) = (place.home(), place.path("b"));
    let served = Served::start(&a);
    let line = good(&a, &["invite", "--collections", "notes"]).trim().to_owned();
    good(&b, &["clone", &line, "--name", "beta"]);
    (place, a, b, served)
}

/// A new snapshot of alpha gets to beta, which knows alpha by the id that it has now.
#[track_caller]
fn beta_follows(place: &Place, a: &Path, b: &Path, note: &str) {
    fs::write(place.data().join(note), note).unwrap();
    good(a, &["backup"]);
    let synced = json(b, &["sync"]);
    assert_eq!(synced["peers"][0]["new_snapshots"].as_array().map(Vec::len), Some(1), "{synced}");
    assert_eq!(json(b, &["fetch"])["still_missing"], 0);
    assert_eq!(json(b, &["peer", "show", "alpha"])["instance"], json(a, &["status"])["instance"]);
}

#[test]
fn a_running_server_goes_on_with_other_keys_and_its_peers_follow() {
    let (place, a, b, served) = two();
    let before = (info(&a), json(&a, &["status"])["instance"].clone());
    let rotated = json(&a, &["rotate-key", "envelope", "identity", "--yes"]);
    assert_eq!((&rotated["former"], &rotated["envelope_key"]["version"]), (&before.1, &2.into()), "{rotated}");
    assert_eq!(json(&a, &["status"])["instance"], rotated["instance"]);
    // The same process, at the same places.
    assert_eq!(info(&a), before.0);
    assert_eq!(json(&a, &["status", "--show-address"])["addresses"]["peer"][0], served.peers);
    beta_follows(&place, &a, &b, "three.md");
    // Once more, and by a program.
    assert!(ask(&a, r#"{"keys": ["envelope"]}"#).ends_with("202"));
    let log = || fs::read_to_string(a.join("audit.jsonl")).unwrap();
    until(soon(), "the third key", || log().matches("\"rotate-key\"").count() == 2);
    let whats = whats(&a, &[]);
    assert_eq!(whats.iter().filter(|what| *what == "rotate-key").count(), 2, "one deed, one entry: {whats:?}");
    until(soon(), "the server to be back", || answers(served.peers.trim_start_matches("http://")));
    beta_follows(&place, &a, &b, "four.md");
    good(&a, &["verify", "--data"]);
    assert_eq!(served.stop(), Some(0));
}

#[test]
fn a_passphrase_that_was_given_once_is_enough_for_the_server_to_start_again() {
    let place = Place::new();
    let (home, once, mine) = (place.path("sealed"), place.path("once"), place.path("mine"));
    for file in [&once, &mine] {
        fs::write(file, "open sesame \r\r\n").unwrap();
    }
    let mine = mine.to_str().unwrap();
    good(&home, &["init", "--name", "sealed", "--passphrase-file", mine]);
    let served = Served::start_with(&home, &["--passphrase-file", once.to_str().unwrap()]);
    fs::remove_file(&once).unwrap();
    for version in [2, 3] {
        let rotated = json(&home, &["rotate-key", "envelope", "--passphrase-file", mine]);
        assert_eq!(rotated["envelope_key"]["version"], version);
    }
    let arguments = fs::read(format!("/proc/{}/cmdline", served.child.id())).unwrap();
    assert!(!String::from_utf8(arguments).unwrap().contains("sesame"));
    assert_eq!(served.stop(), Some(0));
    assert_eq!(whats(&home, &["--passphrase-file", mine]).iter().filter(|what| *what == "serve").count(), 3);
}

#[test]
fn what_goes_on_is_not_stopped_unless_that_is_said() {
    let (place, begun, go) = waiting("--hook-before");
    let home = place.home();
    let served = Served::start(&home);
    let mut backup = command(&home, &["backup"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until(soon(), "the backup to begin", || begun.exists());
    let refused = ask(&home, r#"{"keys": ["envelope"]}"#);
    assert!(refused.contains("runs-go-on") && refused.contains("backup (run 2)"), "{refused}");
    fails(&home, &["rotate-key", "envelope"], &["backup (run 2)"]);
    let rotated = json(&home, &["rotate-key", "envelope", "--stop-runs"]);
    assert_eq!(rotated["envelope_key"]["version"], 2);
    let _ = backup.wait();
    fs::write(&go, "").unwrap();
    let runs = json(&home, &["runs"]);
    assert_eq!(runs[0]["result"], "interrupted", "{runs}");
    good(&home, &["backup"]);
    assert_eq!(served.stop(), Some(0));
}

/// Killed when it was told to, when it has ended, and between the two keys.
#[test]
fn killed_at_any_moment_it_has_the_old_keys_or_the_new_ones_and_its_peers_follow() {
    let (place, a, b, served) = two();
    let mut peers = served.peers.clone();
    let mut served = Some(served);
    let stages: [(&str, Reached); 3] = [
        ("at once", |_, _, _| true),
        ("when it has ended", |_, admin, _| !answers(admin)),
        ("when one key is new", |home, _, envelope| fs::read(home.join("keys/envelope")).unwrap() != envelope),
    ];
    for (at, (stage, reached)) in stages.into_iter().enumerate() {
        let mut running = served.take().unwrap_or_else(|| Served::start_at(&a, peers.trim_start_matches("http://")));
        peers.clone_from(&running.peers);
        let (admin, envelope) =
            (info(&a)["admin_address"].as_str().unwrap().to_owned(), fs::read(a.join("keys/envelope")).unwrap());
        assert!(ask(&a, r#"{"keys": ["envelope", "identity"]}"#).ends_with("202"), "{stage}");
        // The moment may be too short to be seen; once a key is new it is over.
        let is_over = || fs::read(a.join("keys/envelope")).unwrap() != envelope;
        until_seen(soon(), stage, || reached(&a, &admin, &envelope) || is_over());
        running.child.kill().unwrap();
        running.child.wait().unwrap();
        let back = Served::start_at(&a, peers.trim_start_matches("http://"));
        beta_follows(&place, &a, &b, &format!("{at}.md"));
        assert_eq!(back.stop(), Some(0), "{stage}");
        good(&a, &["verify", "--data"]);
    }
}

#[test]
fn an_address_is_taken_over_beside_a_server_that_is_not_at_it() {
    let place = Place::with_snapshot();
    let (home, other, folder) = (place.home(), place.path("other"), place.path("service"));
    good(&other, &["init", "--name", "other"]);
    good(&other, &["onion", "export", folder.to_str().unwrap()]);
    let served = Served::start(&home);
    let before = info(&home);
    let imported = json(&home, &["onion", "import", folder.to_str().unwrap()]);
    assert_eq!(imported["address"], json(&other, &["onion", "address"])["address"]);
    assert_eq!(json(&home, &["onion", "address"])["address"], imported["address"]);
    assert_eq!(info(&home), before);
    assert_eq!(whats(&home, &[]).iter().filter(|what| *what == "onion import").count(), 1);
    assert_eq!(served.stop(), Some(0));
}

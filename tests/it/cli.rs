//! The program as it is typed: exit codes, sentences, JSON, and two homes with a server in between.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;

mod access; // who may use the admin plane
mod api; // the admin API, as its guide shows it
mod audit; // who did what
mod by_server; // what a running server does for a command
mod portable; // folders that are carried
mod monitoring; // doctor, logs, completions, manual pages
mod names; // paths that are no text
mod proofs; // copies elsewhere
mod rotation; // other keys beside a running server
mod secrets; // what an application needs and does not keep in its data
mod storage; // a disk that is not there
mod succession; // heirs and keys

use bulbil::domain::invite::Invite;
use serde_json::Value;
use tempfile::TempDir;

/// A home that was made once; each test has a copy of its own.
static HOME: LazyLock<TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    good(&dir.path().join("home"), &["init", "--name", "alpha"]);
    dir
});

/// A folder with a copy of the home, and some data.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        let copied = Command::new("cp").arg("-a").arg(HOME.path().join("home")).arg(place.home()).status().unwrap();
        assert!(copied.success());
        fs::create_dir_all(place.data().join("sub")).unwrap();
        fs::write(place.data().join("one.md"), "the first note\n").unwrap();
        fs::write(place.data().join("sub/two.md"), "the second note\n".repeat(1000)).unwrap();
        std::os::unix::fs::symlink("one.md", place.data().join("latest")).unwrap();
        place
    }

    /// With a collection of the data and a snapshot of it.
    fn with_snapshot() -> Self {
        let place = Self::new();
        good(&place.home(), &["collection", "add", "notes", place.data().to_str().unwrap()]);
        good(&place.home(), &["backup"]);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn home(&self) -> PathBuf {
        self.path("home")
    }

    fn data(&self) -> PathBuf {
        self.path("data")
    }
}

fn command(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bulbil"));
    command.env_remove("BULBIL_HOME").env_remove("BULBIL_PASSPHRASE_FILE").stdin(Stdio::null());
    command.arg("--home").arg(home).args(args);
    command
}

fn run(home: &Path, args: &[&str]) -> Output {
    command(home, args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Runs something that ends well; what it printed.
#[track_caller]
fn good(home: &Path, args: &[&str]) -> String {
    let output = run(home, args);
    assert!(output.status.success(), "{args:?} ended with {}: {}", output.status, stderr(&output));
    stdout(&output)
}

/// The result of a command's JSON document.
#[track_caller]
fn json(home: &Path, args: &[&str]) -> Value {
    let text = good(home, &[args, &["--json"]].concat());
    let document: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"));
    assert_eq!(document["version"], 1);
    document["result"].clone()
}

/// Runs something that fails with exit code 1 and one sentence in which these words stand.
#[track_caller]
fn fails(home: &Path, args: &[&str], words: &[&str]) {
    let output = run(home, args);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{args:?} does not say {word:?}: {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

/// A server that runs until it is dropped.
struct Served {
    child: Child,
    peers: String,
}

impl Served {
    fn start(home: &Path) -> Self {
        Self::start_at(home, "127.0.0.1:0")
    }

    fn start_at(home: &Path, address: &str) -> Self {
        Self::start_by(home, address, &[])
    }

    fn start_with(home: &Path, args: &[&str]) -> Self {
        Self::start_by(home, "127.0.0.1:0", args)
    }

    fn start_by(home: &Path, address: &str, args: &[&str]) -> Self {
        let mut command = command(home, &[&["serve", "--direct", address], args].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut peers = None;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some(address) = line.strip_prefix("peers ") {
                peers = Some(address.trim().to_owned());
            }
            if line.starts_with("ready") {
                return Self { child, peers: peers.expect("the address comes before") };
            }
        }
        panic!("the server ended without being ready: {:?}", child.wait());
    }

    /// Stops it as a supervisor does; its exit code.
    fn stop(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Names, kinds and contents below a folder.
fn tree(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_owned();
            if path.is_symlink() {
                found.push((name, fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()));
            } else if path.is_dir() {
                dirs.push(path);
            } else {
                found.push((name, fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn what_is_backed_up_comes_back() {
    let place = Place::new();
    let home = place.home();
    good(&home, &["collection", "add", "notes", place.data().to_str().unwrap()]);
    let made = json(&home, &["backup"]);
    assert_eq!(made[0]["sequence"], 1);
    let out = place.path("out");
    good(&home, &["restore", "notes", "--target", out.to_str().unwrap()]);
    assert_eq!(tree(&out), tree(&place.data()));
    assert_eq!(json(&home, &["snapshots"]).as_array().unwrap().len(), 1);
    assert_eq!(json(&home, &["status"])["server"], false);
    let inspected = json(&home, &["inspect", "notes@1"]);
    assert_eq!(
        (inspected["opens"].clone(), inspected["chunks_here"].clone()),
        (true.into(), inspected["chunks"].clone())
    );
    assert_eq!(json(&home, &["inspect", &inspected["id"].as_str().unwrap()[..8]])["id"], inspected["id"]);
}

#[test]
fn a_damaged_chunk_is_exit_code_2() {
    let place = Place::with_snapshot();
    let mut dirs = vec![place.home().join("chunks")];
    let mut largest = (0, PathBuf::new());
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let size = fs::metadata(&path).unwrap().len();
            match path.is_dir() {
                true => dirs.push(path),
                false if size > largest.0 => largest = (size, path),
                false => {}
            }
        }
    }
    let mut bytes = fs::read(&largest.1).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::remove_file(&largest.1).unwrap();
    fs::write(&largest.1, bytes).unwrap();
    let output = run(&place.home(), &["verify", "--data"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("quarantine"), "{}", stderr(&output));
    let id = largest.1.file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(json(&place.home(), &["inspect", &id])["here"], false);
}

#[test]
fn each_mistake_is_a_sentence_and_exit_code_1() {
    let place = Place::new();
    let home = place.home();
    fails(&place.path("nothing"), &["status"], &["not a bulbil home", "bulbil init"]);
    fails(&home, &["init", "--name", "again"], &["already"]);
    fails(&home, &["collection", "add", "notes", "/no/such/folder"], &["/no/such/folder"]);
    fails(&home, &["backup", "notes"], &["no collection \"notes\""]);
    fails(&home, &["backup"], &["collection add"]);
    fails(&home, &["restore", "notes", "--target", "out"], &["no collection"]);
    fails(&home, &["inspect", "abcdef12"], &["no snapshot and no chunk"]);
    fails(&home, &["serve", "--direct", "127.0.0.1:0", "--admin", "0.0.0.0:0"], &["loopback"]);
    fails(&home, &["invite"], &["--collections"]);
    fails(&home, &["invite", "--collections", "all", "--expires", "soon"], &["24h"]);
    fails(&home, &["invite", "--collections", "all", "--address", "http://0.0.0.0:1"], &["nobody can call"]);
    fails(&home, &["invite", "--collections", "all", "--address", "http://nas.local:1"], &["an IP address"]);
    fails(&home, &["sync"], &["no peer to pull from"]);
    fails(&home, &["fetch", "--peer", "nas"], &["no peer \"nas\""]);
    fails(&home, &["peer", "add", "http://127.0.0.1:1"], &["nobody answers"]);
    fails(&home, &["peer", "add", "http://192.0.2.7:7001"], &["--yes"]);
    fails(&home, &["no-such-command"], &["unrecognized"]);
    fails(&home, &["peer", "add", "http://expyuzz4wqqyqhjn.onion"], &["version 2"]);
    if cfg!(feature = "tor") {
        fails(&home, &["serve", "--tor-config", "/no/such/file"], &["/no/such/file"]);
    }
    fails(&home, &["onion", "import", "/no/such/file"], &["/no/such/file"]);
    fs::write(home.join("bulbil.toml"), "[tor]\nenabled = false\n").unwrap();
    fails(&home, &["serve"], &["--direct"]);
    fails(&home, &["invite", "--collections", "all"], &["--address"]);
    let onion = "http://pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion";
    fails(&home, &["peer", "add", onion], &["Tor is switched off", "--direct"]);
    fs::write(home.join("bulbil.toml"), "[tor]\nsocks = \"127.0.0.1:9\"\n").unwrap();
    fails(&home, &["serve"], &["[peer] listen", "docs/tor.md"]);
    fails(&home, &["peer", "add", onion], &["nobody answers at the SOCKS port"]);
    fs::write(home.join("bulbil.toml"), "[peer]\nlissten = 1\n").unwrap();
    fails(&home, &["serve", "--direct", "127.0.0.1:0"], &["lissten"]);
    fs::write(home.join("version"), "bulbil-home/9\n").unwrap();
    fails(&home, &["status"], &["newer bulbil"]);
}

#[test]
fn a_passphrase_is_needed_and_must_be_right() {
    let place = Place::new();
    let (right, wrong) = (place.path("right"), place.path("wrong"));
    fs::write(&right, "correct horse\n").unwrap();
    fs::write(&wrong, "wrong horse\n").unwrap();
    let home = place.path("sealed");
    good(&home, &["init", "--name", "sealed", "--passphrase-file", right.to_str().unwrap()]);
    good(&home, &["status", "--passphrase-file", right.to_str().unwrap()]);
    fails(&home, &["status"], &["--passphrase-file"]);
    fails(&home, &["status", "--passphrase-file", wrong.to_str().unwrap()], &["passphrase is wrong"]);
    let output = run(&home, &["status", "--json"]);
    let document: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((output.status.code(), document["version"].clone()), (Some(1), 1.into()));
    assert!(document["error"]["message"].as_str().unwrap().contains("passphrase"));
}

#[test]
fn two_homes_and_a_server_in_between() {
    let place = Place::with_snapshot();
    let (a, b, c) = (place.home(), place.path("b"), place.path("c"));
    let served = Served::start(&a);
    fails(&a, &["serve", "--direct", "127.0.0.1:0"], &["server lock"]);
    assert_eq!(json(&a, &["status", "--show-address"])["addresses"]["peer"][0], served.peers);
    assert_eq!(json(&a, &["status"])["live"]["network"]["open"], true);

    // Bad invites leave no home behind.
    let line = good(&a, &["invite", "--collections", "notes"]).trim().to_owned();
    fails(&b, &["clone", &line[..line.len() - 9]], &["damaged"]);
    fails(&b, &["clone", "hello"], &["begins with bulbil:"]);
    let expired = Invite { expires_at: jiff::Timestamp::UNIX_EPOCH, ..Invite::parse(&line).unwrap() };
    fails(&b, &["clone", &expired.to_text()], &["expired"]);
    assert!(!b.exists());
    fails(&a, &["clone", &line], &["this very instance"]);

    let cloned = json(&b, &["clone", &line, "--name", "beta"]);
    assert_eq!(cloned["fetched"]["still_missing"], 0);
    assert!(cloned["init"]["recovery_key"].as_str().unwrap().starts_with("BULBIL-RECOVERY"));
    let again = json(&b, &["clone", &line]);
    assert_eq!(again["fetched"]["chunks"], 0);
    fails(&c, &["clone", &line, "--name", "gamma"], &["it was used"]);
    let out = place.path("out");
    good(&b, &["restore", "notes", "--target", out.to_str().unwrap()]);
    assert_eq!(tree(&out), tree(&place.data()));
    assert_eq!(json(&b, &["sync"])["missing"]["chunks"], 0);

    // A backup beside the running server is noticed, here and over there.
    fs::write(place.data().join("three.md"), "the third note\n").unwrap();
    good(&a, &["backup"]);
    assert_eq!(json(&b, &["sync"])["peers"][0]["new_snapshots"].as_array().unwrap().len(), 1);
    let fetched = json(&b, &["fetch"]);
    assert!(fetched["chunks"].as_u64().unwrap() > 0 && fetched["still_missing"] == 0, "{fetched}");
    assert!(good(&b, &["fetch"]).contains("everything is here"));
    fs::write(place.data().join("four.md"), "the fourth note\n").unwrap();
    good(&a, &["backup"]);
    let following = Served::start(&b);
    assert_eq!(json(&b, &["sync"])["by_server"], true);
    let snapshots = json(&b, &["snapshots"]);
    assert!(snapshots.as_array().unwrap().iter().filter(|snapshot| snapshot["complete"] == true).count() == 3);
    assert_eq!(following.stop(), Some(0));

    let revoked = json(&a, &["peer", "revoke", "beta"]);
    assert_eq!(revoked["had"][0]["snapshots"].as_array().unwrap().len(), 3);
    fails(&b, &["sync"], &["refuses"]);
    assert_eq!(served.stop(), Some(0));
    fails(&b, &["sync"], &["nobody answers"]);
}

#[test]
fn the_step_by_step_way_without_an_invite() {
    let place = Place::with_snapshot();
    let (a, b) = (place.home(), place.path("b"));
    good(&b, &["init", "--name", "beta"]);
    let served = Served::start(&a);
    let added = json(&b, &["peer", "add", &served.peers]);
    assert_eq!(added["state"], "pending");
    fails(&b, &["sync", "--peer", "alpha"], &["pending", "peer trust"]);
    fails(&b, &["peer", "trust", "alpha"], &["--words"]);
    fails(&b, &["peer", "trust", "alpha", "--words", "one two three"], &["not the words"]);
    good(&b, &["peer", "trust", "alpha", "--words", added["fingerprint"].as_str().unwrap()]);
    fails(&b, &["sync"], &["refuses"]);
    let pending = json(&a, &["peer", "show", "beta"]);
    assert_eq!(
        (pending["state"].clone(), pending["fingerprint"].clone()),
        ("pending".into(), added["own_fingerprint"].clone())
    );
    good(&a, &["peer", "trust", "beta", "--yes", "--role", "mirror", "--collections", "notes"]);
    good(&b, &["sync"]);
    good(&b, &["fetch"]);
    good(&b, &["verify", "--data"]);
    assert_eq!(json(&b, &["peer", "show", "alpha"])["granted"]["role"], "mirror");
    let name = json(&b, &["snapshots"])[0]["collection"].as_str().unwrap().to_owned();
    fails(&b, &["restore", &name, "--target", place.path("out").to_str().unwrap()], &["no key"]);

    // From now on it may read.
    good(&a, &["peer", "trust", "beta", "--collections", "notes"]);
    assert_eq!(json(&b, &["rekey"])["keys"], 1);
    let out = place.path("out");
    good(&b, &["restore", "notes", "--target", out.to_str().unwrap()]);
    assert_eq!(tree(&out), tree(&place.data()));
    assert_eq!(json(&b, &["peer", "refresh-key", "alpha"])["changed"], false);
    good(&b, &["peer", "reset-sync", "alpha"]);
    good(&b, &["peer", "remove", "alpha"]);
    assert_eq!(json(&b, &["peer", "list"]).as_array().unwrap().len(), 0);
}

#[test]
fn the_demo_holds() {
    let home = tempfile::tempdir().unwrap();
    let document = json(&home.path().join("none"), &["demo"]);
    assert_eq!(document["steps"].as_array().unwrap().len(), 9);
}

#[test]
fn the_descriptions_in_the_repository_are_those_of_the_program() {
    let home = tempfile::tempdir().unwrap();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi");
    good(home.path(), &["openapi", "--check", dir.to_str().unwrap()]);
}

#[test]
fn an_onion_address_comes_from_c_tor_and_goes_there_again() {
    let place = Place::new();
    let home = place.home();
    let first = json(&home, &["onion", "address"])["address"].as_str().unwrap().to_owned();
    assert!(first.starts_with("http://") && first.ends_with(".onion"), "{first}");
    let folder = place.path("service");
    json(&home, &["onion", "export", folder.to_str().unwrap()]);
    let host = fs::read_to_string(folder.join("hostname")).unwrap();
    assert_eq!(format!("http://{}", host.trim()), first);
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    let secret = folder.join("hs_ed25519_secret_key");
    assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
    fails(&home, &["onion", "export", folder.to_str().unwrap()], &["cannot make"]);

    // Another home takes the address over, unless it has one already.
    let other = place.path("other");
    good(&other, &["init", "--name", "other"]);
    let second = json(&other, &["onion", "address"])["address"].clone();
    assert_ne!(second, first.as_str());
    fails(&other, &["onion", "import", folder.to_str().unwrap()], &["--replace"]);
    assert_eq!(json(&other, &["onion", "address"])["address"], second);
    assert_eq!(json(&other, &["onion", "import", secret.to_str().unwrap(), "--replace"])["address"], first.as_str());
    fs::write(&secret, "no key at all").unwrap();
    fails(&other, &["onion", "import", folder.to_str().unwrap(), "--replace"], &["hs_ed25519_secret_key"]);
    assert_eq!(json(&other, &["onion", "address"])["address"], first.as_str());
}

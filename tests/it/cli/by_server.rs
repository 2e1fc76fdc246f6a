//! A command beside a running server: the server does the work, and the command says what it always says.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use bulbil::store::{ServerInfo, Store};
use rustix::process::{Pid, Signal, kill_process};

use super::*;
use crate::support::running::until;

/// What was said, without what differs from one time to the next: ids, numbers, times.
fn shape(text: &str) -> String {
    let masked = |word: &str| match word.len() == 8 && word.chars().all(|c| c.is_ascii_hexdigit()) {
        true => "ID".to_owned(),
        false => word.split(|c: char| c.is_ascii_digit()).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("0"),
    };
    // A file that was written a moment before is read once more.
    let masked = |word: &str| if word == "files" { "file".to_owned() } else { masked(word) };
    let line = |line: &str| line.split(' ').map(masked).collect::<Vec<String>>().join(" ");
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The newest run.
fn newest(home: &Path) -> Value {
    json(home, &["runs"])[0].clone()
}

pub(super) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// A home whose backups of `notes` wait in a hook; the file that says that one has begun, and the one that lets it go on.
pub(super) fn waiting(hook: &str) -> (Place, PathBuf, PathBuf) {
    let place = Place::with_snapshot();
    let (begun, go) = (place.path("begun"), place.path("go"));
    let wait = format!("touch {}; while [ ! -e {} ]; do sleep 0.1; done", begun.display(), go.display());
    good(&place.home(), &["collection", "set", "notes", "--preset", "generic", hook, &wait]);
    (place, begun, go)
}

/// Starts a command whose output is kept.
fn begin(home: &Path, args: &[&str]) -> Child {
    command(home, args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

#[test]
fn the_server_makes_the_backup_and_the_command_says_the_same() {
    let place = Place::with_snapshot();
    let home = place.home();
    let write = |name: &str| fs::write(place.data().join(name), format!("the note {name}\n")).unwrap();
    write("a.md");
    let alone = good(&home, &["backup", "--tag", "first"]);
    write("b.md");
    let (alone_json, alone_verified) = (json(&home, &["backup"]), good(&home, &["verify", "--data"]));
    assert_eq!(newest(&home)["cause"], "command");
    let tried: [&[&str]; 2] = [&["check", "notes"], &["drill", "notes", "--snapshot", "2"]];
    let alone_tried = tried.map(|args| (shape(&good(&home, args)), args));

    let served = Served::start(&home);
    let entries = json(&home, &["audit"]).as_array().unwrap().len();
    write("c.md");
    assert_eq!(shape(&good(&home, &["backup", "--tag", "second"])), shape(&alone));
    let run = newest(&home);
    assert_eq!((&run["work"], &run["cause"], &run["result"]), (&"backup".into(), &"request".into(), &"done".into()));
    let made = json(&home, &["snapshots"]);
    let made = made.as_array().unwrap().iter().find(|snapshot| snapshot["id"] == run["snapshot"]).unwrap();
    assert_eq!(made["tags"], serde_json::json!(["second"]));
    let audit = json(&home, &["audit"]);
    assert_eq!(audit.as_array().unwrap().len(), entries + 1, "one deed, one entry: {audit}");
    let entry = audit.as_array().unwrap().last().unwrap();
    assert_eq!((&entry["what"], &entry["who"]["kind"]), (&"backup".into(), &"user".into()));
    assert!(entry["subjects"][0].as_str().unwrap().starts_with("notes@4 "), "{entry}");

    write("d.md");
    let by_server = json(&home, &["backup"]);
    let fields = |document: &Value| document[0].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(&by_server), fields(&alone_json));
    assert_eq!(by_server[0]["sequence"], 5);
    // What was written a moment before is read once more: one file, or two.
    assert!((1..=2).contains(&by_server[0]["statistics"]["files_read"].as_u64().unwrap()), "{by_server}");

    let before = json(&home, &["audit"]).as_array().unwrap().len();
    assert_eq!(shape(&good(&home, &["verify", "--data"])), shape(&alone_verified));
    let run = newest(&home);
    assert_eq!((&run["work"], &run["cause"]), (&"verify-data".into(), &"request".into()));
    assert_eq!(json(&home, &["verify"])["snapshots"], 5);
    assert_eq!(json(&home, &["audit"]).as_array().unwrap().len(), before, "what only looks is not recorded");
    for (said, args) in alone_tried {
        assert_eq!(shape(&good(&home, args)), said, "{args:?}");
        assert_eq!((&newest(&home)["work"], &newest(&home)["cause"]), (&args[0].into(), &"request".into()));
    }
    // What only the command itself can do goes on beside it.
    let out = place.path("usb");
    good(&home, &["backup", "--output", out.to_str().unwrap()]);
    assert_eq!(json(&home, &["runs", "--work", "backup"])[0]["cause"], "command");
    fails(&home, &["backup", "poems"], &["no collection \"poems\""]);
    assert_eq!(served.stop(), Some(0));
}

/// The keys of a document, all the way down, of lists those of their first entry.
fn keys(document: &Value) -> Vec<String> {
    match document {
        Value::Object(fields) => {
            let below = |(key, value): (&String, &Value)| {
                let below = keys(value).into_iter().map(move |below| format!("{key}.{below}"));
                std::iter::once(key.clone()).chain(below).collect::<Vec<_>>()
            };
            fields.iter().flat_map(below).collect()
        }
        Value::Array(entries) => entries.first().map(keys).unwrap_or_default(),
        _ => Vec::new(),
    }
}

#[test]
fn the_server_prunes_and_the_command_says_the_same() {
    let place = Place::with_snapshot();
    let (home, twin) = (place.home(), place.path("twin"));
    for name in ["a", "b", "c"] {
        fs::write(place.data().join("large"), name.repeat(200_000)).unwrap();
        good(&home, &["backup", "-q", "--tag", name]);
    }
    assert!(Command::new("cp").arg("-a").arg(&home).arg(&twin).status().unwrap().success());
    let _served = Served::start(&twin);
    // What is kept this time, and what is freed at once, is as it was typed there, too.
    for args in [
        &["prune", "notes", "--keep-last", "1", "--keep-tag", "a", "--explain"][..],
        &["prune", "--keep-last", "1", "--grace", "0s"],
        &["prune", "--dry-run"],
        &["prune", "notes", "notes"],
    ] {
        assert_eq!(shape(&good(&twin, args)), shape(&good(&home, args)), "{args:?}");
    }
    for home in [&home, &twin] {
        let left = json(home, &["snapshots"]);
        assert_eq!(left.as_array().unwrap().len(), 1, "{left}");
    }
    let causes = |home: &Path| {
        let runs = json(home, &["runs", "--work", "prune"]);
        runs.as_array().unwrap().iter().map(|run| run["cause"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(causes(&twin)[2..], ["request", "request"]);
    assert!(causes(&home).iter().all(|cause| cause == "command"));
    let (alone, by_server) = (json(&home, &["prune"]), json(&twin, &["prune"]));
    assert_eq!(keys(&by_server), keys(&alone));
    good(&twin, &["verify", "--data"]);
    fails(&twin, &["prune", "--keep-last", "0"], &["keep"]);
}

#[test]
fn the_server_asks_peers_and_fetches_and_the_command_says_the_same() {
    let place = Place::with_snapshot();
    let (a, b, twin) = (place.home(), place.path("b"), place.path("twin"));
    let served = Served::start(&a);
    let line = good(&a, &["invite", "--collections", "notes"]).trim().to_owned();
    good(&b, &["clone", &line, "--name", "beta"]);
    good(&b, &["mirror", "alpha", "--off"]);
    fs::write(place.data().join("three.md"), "the third note\n").unwrap();
    good(&a, &["backup"]);
    assert!(Command::new("cp").arg("-a").arg(&b).arg(&twin).status().unwrap().success());
    let _following = Served::start(&twin);
    let tried: [&[&str]; 4] = [
        &["sync", "--peer", "alpha"],
        &["fetch", "notes", "--peer", "alpha"],
        &["rekey", "notes", "--peer", "alpha", "--all"],
        &["scrub", "notes", "--now"],
    ];
    for args in tried {
        let (alone, by_server) = (json(&b, args), json(&twin, args));
        assert_eq!(keys(&by_server), keys(&alone), "{args:?}: {by_server} {alone}");
        let run = newest(&twin);
        assert_eq!((&run["work"], &run["cause"], &run["result"]), (&args[0].into(), &"request".into(), &"done".into()));
        assert_eq!(newest(&b)["cause"], "command");
    }
    assert_eq!(json(&b, &["snapshots"]), json(&twin, &["snapshots"]));
    let alone = |args: &[&str]| shape(&good(&b, args));
    assert_eq!(shape(&good(&twin, &["sync", "--peer", "alpha"])), alone(&["sync", "--peer", "alpha"]));
    assert_eq!(shape(&good(&twin, &["fetch", "--peer", "alpha"])), alone(&["fetch", "--peer", "alpha"]));
    // A limit is the command's own.
    good(&twin, &["fetch", "--peer", "alpha", "--limit-rate", "1M"]);
    assert_eq!(newest(&twin)["cause"], "command");
    assert_eq!(served.stop(), Some(0));
    for home in [&b, &twin] {
        fails(home, &["sync", "--peer", "alpha"], &["nobody answers"]);
    }
}

#[test]
fn standbys_are_the_servers_work_too() {
    let place = Place::with_snapshot();
    let (a, b) = (place.home(), place.path("b"));
    let _served = Served::start(&a);
    let line = good(&a, &["invite", "--collections", "notes"]).trim().to_owned();
    good(&b, &["clone", &line, "--name", "beta"]);
    let _following = Served::start(&b);
    let into = place.path("laid-out");
    let entries = json(&b, &["audit"]).as_array().unwrap().len();
    let added = json(&b, &["standby", "add", "notes", "--into", into.to_str().unwrap()]);
    assert_eq!((&added["collection"], &added["hook"]), (&"notes".into(), &Value::Null));
    // The server may be at it by itself at this moment.
    let run_now = || run(&b, &["standby", "run", "notes", "--json"]);
    until(soon(), "it is laid out", || run_now().status.success());
    let document: Value = serde_json::from_slice(&run_now().stdout).unwrap();
    assert_eq!(document["result"][0]["laid_out"]["sequence"], 1, "{document}");
    assert_eq!((&newest(&b)["work"], &newest(&b)["cause"]), (&"lay-out".into(), &"request".into()));
    assert_eq!(fs::read(into.join("one.md")).unwrap(), fs::read(place.data().join("one.md")).unwrap());
    good(&b, &["standby", "remove", "notes"]);
    assert_eq!(json(&b, &["standby", "list"]), serde_json::json!([]));
    fails(&b, &["standby", "remove", "notes"], &["no standby"]);
    let audit = json(&b, &["audit"]);
    let new: Vec<_> =
        audit.as_array().unwrap()[entries..].iter().map(|entry| entry["what"].as_str().unwrap()).collect();
    let of = |what: &str| new.iter().filter(|one| **one == what).count();
    assert_eq!((of("standby add"), of("standby remove")), (1, 2), "one deed, one entry: {new:?}");
}

#[test]
fn a_snapshot_is_deleted_after_a_look_with_and_without_a_server() {
    let place = Place::with_snapshot();
    let home = place.home();
    for name in ["two.md", "three.md"] {
        fs::write(place.data().join(name), format!("the note {name}\n")).unwrap();
        good(&home, &["backup"]);
    }
    let left = || json(&home, &["snapshots"]).as_array().unwrap().len();
    // A look changes nothing.
    let look = json(&home, &["snapshot", "delete", "notes@1"]);
    assert_eq!((&look["snapshot"], &look["deleted"], left()), (&"notes@1".into(), &false.into(), 3));
    assert!(look["frees"]["bytes"].as_u64().is_some(), "{look}");
    good(&home, &["snapshot", "pin", "notes@1"]);
    fails(&home, &["snapshot", "delete", "notes@1", "--yes"], &["pinned", "unpin it first"]);
    good(&home, &["snapshot", "unpin", "notes@1"]);
    assert_eq!(json(&home, &["snapshot", "delete", "notes@1", "--yes"])["deleted"], true);
    assert_eq!(left(), 2);
    let served = Served::start(&home);
    let entries = json(&home, &["audit"]).as_array().unwrap().len();
    fails(&home, &["snapshot", "delete", "notes@3", "--yes"], &["last good one"]);
    assert_eq!(json(&home, &["snapshot", "delete", "notes@2", "--yes"])["deleted"], true);
    assert_eq!(left(), 1);
    let audit = json(&home, &["audit"]);
    let new: Vec<_> = audit.as_array().unwrap()[entries..].iter().map(|entry| &entry["ending"]).collect();
    assert_eq!(new, ["failed", "done"], "one deed, one entry: {audit}");
    assert!(
        audit.as_array().unwrap().last().unwrap()["subjects"][0].as_str().unwrap().starts_with("notes@2 "),
        "{audit}"
    );
    assert_eq!(served.stop(), Some(0));
}

#[test]
fn the_server_joins_and_fetches_everything_and_follows_from_then_on() {
    let place = Place::with_snapshot();
    let (a, b, twin) = (place.home(), place.path("b"), place.path("twin"));
    let served = Served::start(&a);
    let invite = || good(&a, &["invite", "--collections", "notes"]).trim().to_owned();
    for home in [&b, &twin] {
        good(home, &["init", "--name", "beta"]);
    }
    let alone = json(&b, &["clone", &invite(), "--yes"]);
    let _following = Served::start(&twin);
    let line = invite();
    let by_server = json(&twin, &["clone", &line]);
    assert_eq!(keys(&by_server), keys(&alone), "{by_server} {alone}");
    assert_eq!((&by_server["by_server"], &by_server["fetched"]["still_missing"]), (&true.into(), &0.into()));
    assert_eq!((&by_server["collections"], &by_server["config"]), (&alone["collections"], &alone["config"]));
    assert_eq!(by_server["fetched"]["chunks"], alone["fetched"]["chunks"], "nobody fetched beside it");
    let run = newest(&twin);
    assert_eq!((&run["work"], &run["cause"], &run["result"]), (&"clone".into(), &"request".into(), &"done".into()));
    let out = place.path("out");
    good(&twin, &["restore", "notes", "--target", out.to_str().unwrap()]);
    assert_eq!(fs::read(out.join("one.md")).unwrap(), fs::read(place.data().join("one.md")).unwrap());
    // What is new comes by itself.
    fs::write(place.data().join("three.md"), "the third note\n").unwrap();
    good(&a, &["backup"]);
    good(&a, &["backup"]);
    until(soon(), "the new snapshot", || {
        let known = json(&twin, &["snapshots"]);
        known.as_array().unwrap().iter().any(|one| one["sequence"] == 2 && one["complete"] == true)
    });
    // The same line once more goes on; one that is none says so.
    good(&twin, &["clone", &line]);
    fails(&twin, &["clone", "bulbil:nonsense"], &["invite"]);
    let own = good(&twin, &["invite", "--collections", "notes"]);
    fails(&twin, &["clone", own.trim()], &["this very instance"]);
    assert_eq!(served.stop(), Some(0));
    fails(&twin, &["clone", &line], &["nobody answers"]);
}

/// A home whose server listens on a socket, too.
fn with_socket() -> (Place, PathBuf) {
    let place = Place::with_snapshot();
    fs::write(place.home().join("bulbil.toml"), "[admin]\nsocket = \"admin.sock\"\n").unwrap();
    let socket = place.home().join("admin.sock");
    (place, socket)
}

/// What is answered there: the line with the status, and the body.
fn ask(socket: &Path, path: &str, token: &str) -> (String, String) {
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n");
    write!(stream, "{head}connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

fn owner(home: &Path) -> String {
    fs::read_to_string(home.join("keys/admin-token")).unwrap().trim().to_owned()
}

#[test]
fn settings_that_a_command_changes_hold_in_the_server_at_once() {
    let (place, socket) = with_socket();
    let home = place.home();
    let _served = Served::start(&home);
    let token = owner(&home);
    let now = |path: &str| ask(&socket, path, &token).1;
    let poems = place.path("poems");
    fs::create_dir(&poems).unwrap();
    for (command, path, shown) in [
        (&["collection", "add", "poems", poems.to_str().unwrap()][..], "/admin/v1/collections/poems", "\"poems\""),
        (&["collection", "set", "poems", "--exclude", "*.draft"], "/admin/v1/collections/poems/settings", "*.draft"),
        (&["retention", "notes", "--keep-last", "41"], "/admin/v1/collections/notes/retention", ":41"),
        (&["schedule", "notes", "--verify", "17 3 * * *"], "/admin/v1/collections/notes/schedule", "17 3 * * *"),
        (&["snapshot", "tag", "notes", "kept"], "/admin/v1/snapshots/notes@1", "\"kept\""),
        (&["snapshot", "pin", "notes"], "/admin/v1/snapshots/notes@kept", "\"pinned\":true"),
    ] {
        let before = now(path);
        assert!(!before.contains(shown), "{path} before {command:?}: {before}");
        good(&home, command);
        let after = now(path);
        assert!(after.contains(shown), "{path} after {command:?}: {after}");
    }
}

#[test]
fn commands_use_the_socket_and_nobody_else_may_open_it() {
    use std::os::unix::fs::PermissionsExt;
    let (place, socket) = with_socket();
    let home = place.home();
    let served = Served::start(&home);
    assert_eq!(fs::symlink_metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let token = owner(&home);
    let ask = |token: &str| ask(&socket, "/admin/v1/instance", token).0;
    assert_eq!(ask(&token), "HTTP/1.1 200 OK");
    // Whoever may open it still has to show who they are.
    assert_eq!(ask("something"), "HTTP/1.1 401 Unauthorized");
    // Another home's server does not take it away, and this one's commands need nothing else: where it listens on loopback is wrong.
    let other = Place::new();
    let config = format!("[admin]\nsocket = {:?}\n", socket.to_str().unwrap());
    fs::write(other.home().join("bulbil.toml"), config).unwrap();
    fails(&other.home(), &["serve", "--direct", "127.0.0.1:0"], &["admin.sock", "another server"]);
    let info = home.join("lock/server.json");
    let mut told: Value = serde_json::from_slice(&fs::read(&info).unwrap()).unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    told["admin_address"] = closed.to_string().into();
    fs::write(&info, told.to_string()).unwrap();
    good(&home, &["verify"]);
    assert_eq!(newest(&home)["cause"], "request");
    // Killed, it leaves the socket, and the next one takes it over.
    drop(served);
    assert!(socket.exists());
    let served = Served::start(&home);
    assert_eq!(ask(&token), "HTTP/1.1 200 OK");
    assert_eq!(served.stop(), Some(0));
    assert!(!socket.exists());
}

#[test]
fn what_is_wrong_is_said_with_exit_code_2_in_both_ways() {
    let place = Place::with_snapshot();
    let (home, twin) = (place.home(), place.path("twin"));
    let chunk = tree(&home.join("chunks")).into_iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    fs::write(home.join("chunks").join(&chunk.0), vec![0; chunk.1.len()]).unwrap();
    assert!(Command::new("cp").arg("-a").arg(&home).arg(&twin).status().unwrap().success());
    let alone = run(&home, &["verify", "--data"]);
    let _served = Served::start(&twin);
    let by_server = run(&twin, &["verify", "--data"]);
    assert_eq!((alone.status.code(), by_server.status.code()), (Some(2), Some(2)), "{}", stderr(&by_server));
    assert_eq!(newest(&twin)["cause"], "request");
    assert!(stderr(&alone).contains("problem: "), "{}", stderr(&alone));
    assert_eq!(stderr(&by_server), stderr(&alone));
    assert_eq!(shape(&stdout(&by_server)), shape(&stdout(&alone)));
}

#[test]
fn copies_and_targets_are_the_servers_work_too() {
    let place = Place::with_snapshot();
    let (home, twin) = (place.home(), place.path("twin"));
    assert!(Command::new("cp").arg("-a").arg(&home).arg(&twin).status().unwrap().success());
    let disk = |home: &Path, name: &str| {
        let disk = place.path(&format!("{}-{name}", home.file_name().unwrap().to_str().unwrap()));
        fs::create_dir(&disk).unwrap();
        disk.canonicalize().unwrap()
    };
    let _served = Served::start(&twin);
    let disks: Vec<[PathBuf; 2]> = [&home, &twin].map(|home| ["nas", "usb"].map(|name| disk(home, name))).into();
    // In a home without a server and in one with it the same is typed, and the same is said.
    let both = |code: i32, args: &[&str]| {
        let typed = |disks: &[PathBuf; 2], args: &[&str]| -> Vec<String> {
            let place = |arg: &&str| match *arg {
                "NAS" => disks[0].display().to_string(),
                "USB" => disks[1].display().to_string(),
                arg => arg.to_owned(),
            };
            args.iter().map(place).collect()
        };
        let [alone, served] = [(&home, &disks[0]), (&twin, &disks[1])].map(|(home, disks)| {
            let args = typed(disks, args);
            let output = run(home, &args.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(output.status.code(), Some(code), "{args:?}: {}{}", stdout(&output), stderr(&output));
            let plain = |text: String| text.replace("/twin-", "/home-");
            (plain(stdout(&output)), plain(stderr(&output)))
        });
        assert_eq!(shape(&served.0), shape(&alone.0), "{args:?}");
        assert_eq!(shape(&served.1), shape(&alone.1), "{args:?}");
        served.0
    };
    both(1, &["copy"]);
    both(0, &["target", "add", "nas", "NAS"]);
    both(1, &["target", "add", "notes", "USB"]);
    both(0, &["target", "add", "usb", "USB", "--collections", "notes"]);
    both(0, &["copy", "nas", "--verify", "all"]);
    let run = newest(&twin);
    assert_eq!((&run["work"], &run["cause"], &run["target"]), (&"copy".into(), &"request".into(), &"nas".into()));
    both(0, &["copy", "nas", "usb", "notes"]);
    both(1, &["copy", "nowhere"]);
    let list = both(0, &["target", "list"]);
    assert_eq!(list.matches("@1 copied").count(), 2, "{list}");
    both(0, &["target", "verify", "usb", "--sample", "50%"]);
    assert_eq!((&newest(&twin)["work"], &newest(&twin)["cause"]), (&"verify-target".into(), &"request".into()));
    both(0, &["target", "prune", "usb", "--dry-run"]);
    // As programs read it.
    for args in
        [&["copy"][..], &["target", "list"], &["target", "verify", "nas", "--data"], &["target", "prune", "nas"]]
    {
        let [alone, served] = [&home, &twin].map(|home| json(home, args));
        let keys = |document: &Value| -> Vec<String> {
            let one = document.get(0).unwrap_or(document);
            one.as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(keys(&served), keys(&alone), "{args:?}");
    }
    let [alone, served] = [&home, &twin].map(|home| json(home, &["target", "list"])[1]["collections"].clone());
    assert!(served == alone && served[0].as_str().unwrap().len() > 8, "{served}");
    // What fails is told in the same way, with the same exit code: one of two, then both.
    for disks in &disks {
        fs::rename(&disks[0], disks[0].with_extension("away")).unwrap();
    }
    both(2, &["copy"]);
    both(1, &["target", "verify", "nas"]);
    for disks in &disks {
        fs::rename(&disks[1], disks[1].with_extension("away")).unwrap();
    }
    both(1, &["copy"]);
    both(0, &["target", "remove", "nas"]);
    both(1, &["target", "remove", "nas"]);
    let audit = |home: &Path| {
        let entries = json(home, &["audit", "--limit", "100"]);
        let entries = entries.as_array().unwrap().iter();
        let of = |entry: &Value| format!("{} {} {}", entry["what"], entry["subjects"], entry["who"]["kind"]);
        entries.map(of).filter(|entry| entry.contains("target") || entry.contains("copy")).collect::<Vec<_>>()
    };
    assert_eq!(audit(&twin), audit(&home), "one deed, one entry");
}

#[test]
fn ctrl_c_stops_what_the_server_does() {
    let (place, begun, _) = waiting("--hook-before");
    let home = place.home();
    let served = Served::start(&home);
    let child = begin(&home, &["backup"]);
    until(soon(), "the backup to begin", || begun.exists());
    // Nobody else writes meanwhile.
    fails(&home, &["backup"], &["another"]);
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("it was stopped"), "{}", stderr(&output));
    assert_eq!(newest(&home)["result"], "interrupted");
    assert_eq!(json(&home, &["snapshots"]).as_array().unwrap().len(), 1);
    assert_eq!(served.stop(), Some(0));
}

#[test]
fn a_second_ctrl_c_leaves_it_to_the_server() {
    // The hook after a backup puts things right again: it is not stopped.
    let (place, begun, go) = waiting("--hook-after");
    let home = place.home();
    let _served = Served::start(&home);
    let mut child = begin(&home, &["backup"]);
    until(soon(), "the backup to be nearly done", || begun.exists());
    interrupt(&child);
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("again to leave it to the server"), "{line}");
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    said.read_to_string(&mut line).unwrap();
    assert!(line.contains("ends in the server") && line.contains("bulbil runs"), "{line}");
    assert!(newest(&home)["ended_at"].is_null());
    fs::write(&go, "").unwrap();
    until(soon(), "the server to end it", || !newest(&home)["ended_at"].is_null());
}

#[test]
fn a_server_that_is_killed_in_the_middle_is_named() {
    let (place, begun, go) = waiting("--hook-before");
    let home = place.home();
    let served = Served::start(&home);
    let child = begin(&home, &["backup"]);
    until(soon(), "the backup to begin", || begun.exists());
    drop(served);
    let output = child.wait_with_output().unwrap();
    fs::write(&go, "").unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("server") && said.contains("before the backup was done") && said.contains("bulbil runs"),
        "{said}"
    );
    good(&home, &["backup"]);
    assert_eq!(json(&home, &["snapshots"]).as_array().unwrap().len(), 2);
}

/// Answers everything with this JSON.
fn answering(listener: TcpListener, body: &'static str) {
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.read(&mut [0; 4096]);
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
            let _ = write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len());
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_another_version_or_one_that_is_silent_is_no_reason_to_write_beside_it() {
    let place = Place::with_snapshot();
    let home = place.home();
    // It makes the token.
    assert_eq!(Served::start(&home).stop(), Some(0));
    let store = Store::open(&home, None).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Some(listener.local_addr().unwrap().to_string());
    let info =
        |admin_address| ServerInfo { pid: std::process::id(), admin_address, admin_socket: None, peer_address: None };
    let lock = store.lock_server(&info(address)).unwrap();
    answering(listener, "{\"version\":\"0.0.1\"}");
    for args in [&["backup"][..], &["verify"]] {
        fails(&home, args, &["version 0.0.1", "restart the server"]);
    }
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    lock.tell(&store.home, &info(Some(closed.to_string()))).unwrap();
    fails(&home, &["backup"], &["the server that runs in this home does not answer"]);
    assert_eq!(store.index.snapshots(None).await.unwrap().len(), 1);
}

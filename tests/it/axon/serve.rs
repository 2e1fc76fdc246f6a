//! Serving live Axon BBSes: peers that pull as a real one does, with what a real one forgets.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use bulbil::clock::{Clock, SystemClock};
use bulbil::domain::axon::private::PrivateKey;
use bulbil::domain::axon::signature::Headers;
use serde_json::Value;

use super::{World, peer};
use crate::support::running::{Running, until};
use crate::support::{BULBIL, expect};

/// Older than what a puller asks for a second time.
const LONG_AGO: &str = "2026-01-02T03:04:05+00:00";

/// A Bulbil that has everything of a BBS, and serves it.
struct Served {
    world: World,
    server: Option<Running>,
    url: String,
}

impl Served {
    /// Of a BBS with this content, which is asked once and then gone.
    fn new(fill: &[&str]) -> Self {
        let mut world = World::new(fill);
        world.serves(&[]);
        world.bulbil(0, &["peer", "add", "--kind", "axon", &world.url, "--name", "source", "--yes"]);
        world.bulbil(0, &["axon", "clone", &world.url, "--yes"]);
        world.stops();
        let mut served = Self { world, server: None, url: String::new() };
        served.starts();
        served
    }

    /// Serves, at the same address as before.
    fn starts(&mut self) {
        let at = self.url.strip_prefix("http://").unwrap_or("127.0.0.1:0").to_owned();
        let _ = std::fs::remove_file(self.world.path("server.out"));
        let mut command = Command::new(BULBIL);
        command.arg("--home").arg(self.world.home());
        command.args(["serve", "--axon", "--direct", &at, "--admin", "127.0.0.1:0"]);
        let server = Running::start(command, &self.world.path("server"));
        until(Instant::now() + Duration::from_secs(60), "the server", || server.out().contains("ready;"));
        let out = server.out();
        let line = out.lines().find_map(|line| line.strip_prefix("axon ")).expect("it says where a BBS finds it");
        self.url = line.split_whitespace().next().unwrap().trim_end_matches([',', '/']).to_owned();
        self.server = Some(server);
    }

    fn stops(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill();
        }
    }

    /// A new BBS that trusts this Bulbil, and is trusted by it with these rights.
    fn bbs(&self, name: &str, rights: &[&str]) -> Bbs<'_> {
        let bbs = Bbs { served: self, name: name.to_owned() };
        let seed = name.bytes().map(u64::from).sum::<u64>().to_string();
        bbs.run(&["new"], &["--seed", &seed]);
        bbs.trusts();
        bbs.is_trusted(rights);
        bbs
    }
}

/// An Axon BBS in a folder.
struct Bbs<'a> {
    served: &'a Served,
    name: String,
}

impl Bbs<'_> {
    fn run(&self, command: &[&str], args: &[&str]) -> String {
        let mut peer = peer();
        peer.args(command).arg(self.served.world.path(&self.name)).args(args);
        let output = peer.output().unwrap();
        assert!(output.status.success(), "{command:?} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn trusts(&self) {
        let pem = self.served.world.path("bulbil.pem");
        self.run(&["trust"], &["--pem", pem.to_str().unwrap(), "--url", &self.served.url]);
    }

    fn is_trusted(&self, rights: &[&str]) {
        let world = &self.served.world;
        let serving = Serving::of(world, &self.name);
        world.bulbil(0, &["peer", "add", "--kind", "axon", &serving.url, "--name", &self.name, "--yes"]);
        drop(serving);
        world.bulbil(0, &[&["peer", "rights", &self.name], rights].concat());
    }

    /// One pass of its puller; what happened.
    fn pulls(&self) -> Vec<Value> {
        let events: Vec<Value> = serde_json::from_str(&self.run(&["pull"], &[])).unwrap();
        assert!(events.iter().any(|event| event["event"] == "polled"), "{events:?}");
        events
    }

    fn clones(&self, args: &[&str]) {
        self.run(&["clone"], &[&[self.served.url.as_str()], args].concat());
    }

    fn dump(&self) -> Value {
        serde_json::from_str(&self.run(&["dump"], &[])).unwrap()
    }

    /// Hashes of what it has, each checked to be what it should be.
    fn has(&self, tables: &[&str]) -> BTreeSet<String> {
        hashes(&self.dump(), tables)
    }

    fn private_key(&self) -> PrivateKey {
        PrivateKey::from_pem(&self.run(&["key"], &["--private"])).unwrap()
    }
}

/// A BBS that answers.
struct Serving {
    child: std::process::Child,
    url: String,
}

impl Serving {
    fn of(world: &World, name: &str) -> Self {
        use std::io::BufRead;
        let mut peer = peer();
        peer.arg("serve").arg(world.path(name)).stdout(std::process::Stdio::piped());
        let mut child = peer.spawn().unwrap();
        let mut line = String::new();
        std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        Self { child, url: said["url"].as_str().unwrap().to_owned() }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn hashes(dump: &Value, tables: &[&str]) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for row in tables.iter().flat_map(|table| dump[table].as_array().unwrap()) {
        let content = &row["content"];
        assert_eq!(content["plaintext_is_content_hash"], true, "{row}");
        all.insert(content["content_hash"].as_str().unwrap().to_owned());
    }
    all
}

/// Of these events.
fn count(events: &[Value], kind: &str) -> usize {
    events.iter().filter(|event| event["event"] == kind).count()
}

/// A clone has the code of applets as applets alone: a file whose hash is known already is not stored again.
const CONTENT: &[&str] = &["messages", "files", "pms", "applets"];

/// A request by hand; status, head and body.
#[expect(clippy::disallowed_methods, reason = "to a server of this test, on loopback")]
fn ask(url: &str, target: &str, headers: &[(&str, &str)]) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    let mut text = format!("GET {target} HTTP/1.1\r\nHost: anything.onion\r\nConnection: close\r\n");
    headers.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
    stream.write_all(format!("{text}\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase();
    let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
    (status, head, answer[end + 4..].to_vec())
}

/// Headers signed now.
fn signed(key: &PrivateKey) -> [(&'static str, String); 3] {
    let Headers { timestamp, pubkey, signature } = Headers::sign(key, SystemClock.now());
    [("X-Timestamp", timestamp), ("X-Pubkey", pubkey), ("X-Signature", signature)]
}

fn ask_as(key: &PrivateKey, url: &str, target: &str) -> (u16, String, Vec<u8>) {
    let headers = signed(key);
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    ask(url, target, &headers)
}

const EVERYTHING: &str = "/api/sync/?since=0001-01-01T00:00:00+00:00";
const NOTHING_NEW: &str = "/api/sync/?since=2099-01-01T00:00:00+00:00";
const UNAUTHORIZED: &[u8] = br#"{"detail":"Authentication credentials were not provided."}"#;

#[test]
fn a_bbs_that_clones_and_pulls_gets_everything_however_old_it_is_and_is_left_in_peace_then() {
    let mut served = Served::new(&["--at", LONG_AGO, "--actions", "2"]);
    let source: Value = serde_json::from_str(&served.world.axon(&["dump"], &[])).unwrap();
    let all = hashes(&source, CONTENT);
    {
        let b = served.bbs("b", &["--all"]);
        b.clones(&[]);
        let first = b.pulls();
        assert_eq!(count(&first, "aborted") + count(&first, "no seeder") + count(&first, "dropped"), 0, "{first:?}");
    }
    // Its mark is now, and what it was told is old: a real server would never speak of it again. Nor does it matter who is
    // restarted in between.
    served.stops();
    served.starts();
    let b = Bbs { served: &served, name: "b".to_owned() };
    b.pulls();
    b.pulls();
    assert_eq!(b.has(CONTENT), all);
    let (dump, names) = (b.dump(), |dump: &Value, table: &str| -> BTreeSet<String> {
        dump[table].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    });
    for table in ["boards", "categories", "applets"] {
        assert_eq!(names(&dump, table), names(&source, table), "{table}");
    }
    assert_eq!(hashes(&dump, &["applets"]), hashes(&source, &["applets"]));
    assert_eq!(dump["actions"].as_array().unwrap().len(), 2);
    // Superusers and password hashes stay where they are.
    let users = dump["users"].as_array().unwrap();
    assert!(users.iter().all(|user| user["is_superuser"] != true), "{users:?}");
    assert!(!users.is_empty() && !serde_json::to_string(users).unwrap().contains("pbkdf2"), "{users:?}");

    for _ in 0..3 {
        let idle = b.pulls();
        let kinds: BTreeSet<&str> = idle.iter().map(|event| event["event"].as_str().unwrap()).collect();
        assert!(kinds.is_subset(&["polled", "not stored"].into()), "{idle:?}");
    }
}

#[test]
fn a_bbs_that_lost_everything_gets_it_back_from_its_standby_and_a_second_one_has_it_from_there() {
    let served = Served::new(&["--at", LONG_AGO]);
    let source: Value = serde_json::from_str(&served.world.axon(&["dump"], &[])).unwrap();
    let all = hashes(&source, CONTENT);
    // As long as it has its users, a clone writes nothing over: it fails as a whole, and passwords stay.
    let back = Bbs { served: &served, name: "bbs".to_owned() };
    back.trusts();
    served.world.bulbil(0, &["peer", "rights", "source", "--all"]);
    let mut clone = peer();
    clone.arg("clone").arg(served.world.path("bbs")).arg(&served.url);
    assert!(!clone.output().unwrap().status.success());
    assert_eq!(back.dump()["users"], source["users"]);

    std::fs::write(served.world.path("source.pem"), served.world.axon(&["key"], &["--private"])).unwrap();
    std::fs::remove_dir_all(served.world.path("bbs")).unwrap();
    // The same instance with its key, and nothing else.
    back.run(&["new"], &["--seed", "99", "--key", served.world.path("source.pem").to_str().unwrap()]);
    back.trusts();
    back.clones(&[]);
    for _ in 0..3 {
        back.pulls();
    }
    assert_eq!(back.has(CONTENT), all);
    // One that does not clone, but pulls: it has all of the 20 items but the private messages, whose readers it does not know.
    let third = served.bbs("third", &["--all"]);
    for _ in 0..3 {
        third.pulls();
    }
    let (without, pms) = (hashes(&source, &["messages", "files"]), hashes(&source, &["pms"]));
    assert_eq!((third.has(&["messages", "files", "pms"]), without.len() + pms.len()), (without, 20));

    // It numbers its rows as it did.
    let numbers = |dump: &Value| -> BTreeSet<(i64, String)> {
        let rows = dump["boards"].as_array().unwrap();
        rows.iter().map(|row| (row["pk"].as_i64().unwrap(), row["name"].as_str().unwrap().to_owned())).collect()
    };
    assert_eq!(numbers(&back.dump()), numbers(&source));

    let second = served.bbs("second", &["--all"]);
    second.clones(&[]);
    for _ in 0..3 {
        second.pulls();
    }
    assert_eq!(second.has(CONTENT), all);
    // Here rows of its own must not be overwritten.
    assert!(numbers(&second.dump()).iter().all(|(pk, _)| *pk > 1_000_000));
}

#[test]
fn a_bbs_that_was_asked_while_it_was_empty_gets_its_users_back_and_their_numbers_stay_for_everybody() {
    let mut served = Served::new(&["--messages", "1", "--files", "0", "--applets", "1", "--pms", "0"]);
    let rows = |dump: &Value, table: &str, name: &str| -> BTreeSet<(i64, String)> {
        let known = dump[table].as_array().unwrap().iter().filter(|row| row["is_superuser"] != true);
        known.map(|row| (row["pk"].as_i64().unwrap(), row[name].as_str().unwrap().to_owned())).collect()
    };
    let source = served.world.dump();
    let key = served.world.path("source.pem");
    std::fs::write(&key, served.world.axon(&["key"], &["--private"])).unwrap();
    served.bbs("guest", &["--all"]).clones(&[]);

    std::fs::remove_dir_all(served.world.path("bbs")).unwrap();
    served.world.axon(&["new"], &["--seed", "99", "--key", key.to_str().unwrap()]);
    Bbs { served: &served, name: "bbs".to_owned() }.trusts();
    let asks = |served: &mut Served| {
        served.world.serves(&[]);
        let url = served.world.url.clone();
        served.world.bulbil(0, &["axon", "clone", &url, "--yes"]);
        served.world.stops();
    };
    asks(&mut served);
    served.world.bulbil(0, &["peer", "rights", "source", "--all"]);
    Bbs { served: &served, name: "bbs".to_owned() }.clones(&[]);
    let back = served.world.dump();
    assert_eq!(rows(&back, "boards", "name"), rows(&source, "boards", "name"));
    let names =
        |dump: &Value| -> BTreeSet<String> { rows(dump, "users", "username").into_iter().map(|(_, n)| n).collect() };
    assert!(!names(&source).is_empty());
    assert_eq!(names(&back), names(&source));

    // It lists them under the numbers that they have now; who cloned before does so again.
    asks(&mut served);
    let guest = Bbs { served: &served, name: "guest".to_owned() };
    let before = rows(&guest.dump(), "users", "username");
    guest.clones(&[]);
    assert_eq!(rows(&guest.dump(), "users", "username"), before);
    assert_eq!(rows(&back, "users", "username"), before);
}

#[test]
fn r12_who_has_no_rights_sees_nothing_and_headers_count_once() {
    let served = Served::new(&["--messages", "2", "--files", "1", "--applets", "1", "--pms", "1"]);
    let (world, url) = (&served.world, &served.url);
    let b = served.bbs("b", &["--none"]);
    let key = b.private_key();
    let manifests = |answer: &[u8]| -> Vec<Value> {
        let answer: Value = serde_json::from_slice(answer).unwrap();
        answer["manifests"].as_array().unwrap().clone()
    };
    let (status, head, body) = ask_as(&key, url, EVERYTHING);
    assert_eq!((status, manifests(&body).len()), (200, 0));
    assert!(head.contains("content-type: application/json") && head.contains("content-length:"), "{head}");
    assert_eq!(ask_as(&key, url, "/api/federation/export_config/").2, b"[]");

    // A date limits content; that the configuration comes whole is said.
    let late = ["peer", "rights", "b", "--all", "--from", "2100-01-01"];
    assert!(expect(0, &world.home(), &late).contains("users, boards and categories whole"));
    assert_eq!(manifests(&ask_as(&key, url, EVERYTHING).2).len(), 0);
    assert_ne!(ask_as(&key, url, "/api/federation/export_config/").2, b"[]");
    let neither = [&late[..], &["--without-config"]].concat();
    assert!(!expect(0, &world.home(), &neither).contains("whole"));
    assert_eq!(ask_as(&key, url, "/api/federation/export_config/").2, b"[]");

    world.bulbil(0, &["peer", "rights", "b", "--collections", "axon", "--without-pms", "--without-config"]);
    let (_, _, body) = ask_as(&key, url, EVERYTHING);
    let told = manifests(&body);
    let kinds: BTreeSet<&str> = told.iter().map(|manifest| manifest["content_type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["message", "file", "applet"].into());
    let own = served.world.bulbil(0, &["peer", "show", "b"])["result"]["checksum"].as_str().unwrap().to_owned();
    for manifest in &told {
        let envelopes: Vec<&String> = manifest["encrypted_aes_keys"].as_object().unwrap().keys().collect();
        assert_eq!(envelopes, [&own], "any other name makes a real BBS tell everybody of the item again");
    }
    assert_eq!(ask_as(&key, url, "/api/federation/export_config/").2, b"[]");
    let dump: Value = serde_json::from_str(&world.axon(&["dump"], &[])).unwrap();
    let data = hashes(&dump, &["applet_data"]);
    // Users' data is here, too, and can be opened.
    let made: Value =
        serde_json::from_str(&world.axon(&["backup"], &["--output", world.path("out").to_str().unwrap()])).unwrap();
    std::fs::write(world.path("source.pem"), world.axon(&["key"], &["--private"])).unwrap();
    let key_file = world.path("source.pem");
    let restore =
        ["axon", "restore", made["folder"].as_str().unwrap(), "--replace", "--key", key_file.to_str().unwrap()];
    assert_eq!(world.bulbil(0, &restore)["result"]["data"], data.len());
    assert!(!data.is_empty());
    assert_eq!(manifests(&ask_as(&key, url, EVERYTHING).2).len(), told.len());
    for hidden in hashes(&dump, &["pms"]).iter().chain(&data) {
        assert_eq!(ask_as(&key, url, &format!("/api/bitsync/has_content/{hidden}/")).0, 404);
        let (status, _, body) = ask_as(&key, url, &format!("/api/bitsync/chunk/{hidden}/0/"));
        assert_eq!((status, body.as_slice()), (404, br#"{"detail":"Chunk not found."}"#.as_slice()));
    }
    let seen = told[0]["content_hash"].as_str().unwrap();
    assert_eq!(ask_as(&key, url, &format!("/api/bitsync/has_content/{seen}/")).0, 200);
    assert_eq!(ask_as(&key, url, &format!("/api/bitsync/has_content/{}/", seen.to_uppercase())).0, 404);
    assert_eq!(ask_as(&key, url, &format!("/api/bitsync/chunk/{seen}/00/")).0, 200);
    assert_eq!(ask_as(&key, url, &format!("/api/bitsync/chunk/{seen}/999/")).0, 404);

    // The same headers once more, on whatever path: refused.
    let headers = signed(&key);
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(ask(url, NOTHING_NEW, &headers).0, 200);
    for target in [NOTHING_NEW, "/api/federation/export_config/"] {
        let (status, head, body) = ask(url, target, &headers);
        assert_eq!((status, body.as_slice()), (401, UNAUTHORIZED));
        assert!(head.contains("www-authenticate: bearer realm=\"api\""), "{head}");
    }
    assert_eq!(ask(url, NOTHING_NEW, &[]).2, UNAUTHORIZED);
    assert_eq!(ask_as(&key, url, "/api/sync/").2, br#"{"error":"'since' timestamp is required."}"#);
    assert_eq!(ask_as(&key, url, "/api/sync/?since=abc").2, br#"{"error":"Failed to process sync request."}"#);
    let pem = expect(0, &world.home(), &["axon", "key"]);
    let shown: Value = serde_json::from_slice(&ask(url, "/api/identity/public_key/", &[]).2).unwrap();
    assert!(pem.contains(shown["public_key"].as_str().unwrap()));

    // A chunk that is lost: an item of which a part cannot be had cannot be had.
    let chunk = told[0]["chunk_hashes"][0].as_str().unwrap();
    std::fs::remove_file(world.home().join("chunks").join(&chunk[..2]).join(&chunk[2..4]).join(chunk)).unwrap();
    assert_eq!(ask_as(&key, url, &format!("/api/bitsync/has_content/{seen}/")).0, 404);

    let revoked = world.bulbil(0, &["peer", "revoke", "b"]);
    assert_eq!(revoked["result"]["fetched_items"], 1, "{revoked}");
    assert_eq!(ask_as(&key, url, EVERYTHING).2, UNAUTHORIZED);
}

#[test]
fn without_being_told_to_nothing_of_an_axon_bbs_is_served() {
    let mut served = Served::new(&["--messages", "1", "--files", "0", "--applets", "0", "--pms", "0"]);
    served.stops();
    let mut command = Command::new(BULBIL);
    command.arg("--home").arg(served.world.home()).args(["serve", "--direct", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let mut server = Running::start(command, &served.world.path("plain"));
    until(Instant::now() + Duration::from_secs(60), "the server", || server.out().contains("ready;"));
    let out = server.out();
    assert!(!out.contains("axon "), "{out}");
    let url = out.lines().find_map(|line| line.strip_prefix("peers")).unwrap().trim().trim_end_matches('/').to_owned();
    let (known, unknown) = (ask(&url, "/api/identity/public_key/", &[]), ask(&url, "/api/identity/no_such/", &[]));
    assert_eq!((known.0, known.2), (unknown.0, unknown.2));
    server.kill();
}

#[test]
fn r12_a_mirror_serves_on_what_it_has_from_another_if_that_one_lets_it() {
    let served = Served::new(&["--messages", "2", "--files", "1", "--applets", "1", "--pms", "0"]);
    let (alpha, beta) = (served.world.home(), served.world.path("beta"));
    let line = expect(0, &alpha, &["invite", "--collections", "axon"]).trim().to_owned();
    expect(0, &beta, &["clone", &line, "--name", "beta"]);
    let serving = Serving::of(&served.world, {
        let b = Bbs { served: &served, name: "b".to_owned() };
        b.run(&["new"], &["--seed", "8"]);
        "b"
    });
    expect(0, &beta, &["peer", "add", "--kind", "axon", &serving.url, "--name", "b", "--yes"]);
    drop(serving);
    expect(0, &beta, &["peer", "rights", "b", "--collections", "axon"]);
    let mut command = Command::new(BULBIL);
    command.arg("--home").arg(&beta).args(["serve", "--axon", "--direct", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let mut server = Running::start(command, &served.world.path("beta-server"));
    let deadline = Instant::now() + Duration::from_secs(60);
    until(deadline, "the mirror", || server.out().contains("ready;"));
    let out = server.out();
    let line = out.lines().find_map(|line| line.strip_prefix("axon ")).unwrap();
    let url = line.split_whitespace().next().unwrap().trim_end_matches([',', '/']).to_owned();
    let b = Bbs { served: &served, name: "b".to_owned() };
    let key = b.private_key();
    let told = || -> usize {
        let answer: Value = serde_json::from_slice(&ask_as(&key, &url, EVERYTHING).2).unwrap();
        answer["manifests"].as_array().unwrap().len()
    };
    assert_eq!(told(), 0);
    expect(0, &alpha, &["peer", "trust", "beta", "--collections", "axon", "--onward"]);
    // It asks what it may have now.
    expect(0, &beta, &["peer", "add", &served.url]);
    until(deadline, "what may be served on now", || told() > 0);
    std::fs::write(served.world.path("beta.pem"), expect(0, &beta, &["axon", "key"])).unwrap();
    b.run(&["trust"], &["--pem", served.world.path("beta.pem").to_str().unwrap(), "--url", &url]);
    for _ in 0..3 {
        b.pulls();
    }
    let source: Value = serde_json::from_str(&served.world.axon(&["dump"], &[])).unwrap();
    assert_eq!(b.has(&["messages", "files"]), hashes(&source, &["messages", "files"]));
    server.kill();
}

#[test]
fn two_bbses_have_each_others_content_through_a_bulbil_that_both_trust() {
    let served = Served::new(&["--messages", "2", "--files", "1", "--applets", "1", "--pms", "0"]);
    let (a, b) = (Bbs { served: &served, name: "bbs".to_owned() }, served.bbs("b", &["--collections", "axon"]));
    a.trusts();
    served.world.bulbil(0, &["peer", "rights", "source", "--collections", "axon"]);
    b.run(&["fill"], &["--messages", "3", "--files", "1", "--applets", "0", "--pms", "0", "--users", "1"]);
    let serving = Serving::of(&served.world, "b");
    // Where it is now.
    served.world.bulbil(0, &["peer", "remove", "b"]);
    served.world.bulbil(0, &["peer", "add", "--kind", "axon", &serving.url, "--name", "b", "--yes"]);
    served.world.bulbil(0, &["peer", "rights", "b", "--collections", "axon"]);
    served.world.bulbil(0, &["axon", "sync", "--peer", "b"]);
    // The first one does not answer at this moment, which is said.
    let left = served.world.bulbil(2, &["axon", "download"]);
    assert!(left["result"]["incomplete"].as_array().unwrap().is_empty(), "{left}");
    drop(serving);
    let public = &["messages", "files"];
    let all: BTreeSet<String> = a.has(public).union(&b.has(public)).cloned().collect();
    assert!(all.len() > a.has(public).len());
    let mut happened = Vec::new();
    for _ in 0..4 {
        happened.extend(a.pulls());
        happened.extend(b.pulls());
    }
    assert_eq!((a.has(public), b.has(public)), (all.clone(), all));
    for kind in ["deleted, the IV changed", "manifest replaced", "aborted", "dropped"] {
        assert_eq!(count(&happened, kind), 0, "{happened:?}");
    }
}

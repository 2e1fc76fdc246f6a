//! Beside an Axon BBS on the same machine: its database and chunks are taken over, and applets put back into it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{PYTHON, World, peer};
use crate::support::running::until_seen;
use crate::support::{BULBIL, expect};

pub(super) const SMALL: &[&str] =
    &["--messages", "2", "--files", "1", "--applets", "3", "--pms", "1", "--actions", "1"];

impl World {
    /// A home and an installation, with everything.
    pub(super) fn installed(fill: &[&str]) -> Self {
        let world = Self::new(fill);
        world.install("bbs", "install");
        world
    }

    pub(super) fn install(&self, bbs: &str, out: &str) {
        run_peer(&["install", self.text(bbs).as_str(), self.text(out).as_str()]);
    }

    pub(super) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub(super) fn take_over(&self, code: i32) -> Value {
        self.bulbil(code, &["axon", "backup", "--install", &self.text("install")])
    }

    pub(super) fn database(&self, install: &str) -> String {
        self.text(&format!("{install}/data/axon_bbs.sqlite3"))
    }

    /// Changes a database.
    pub(super) fn sql(&self, install: &str, statements: &str) {
        let script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.executescript(sys.argv[2]); c.commit(); c.close()";
        let done = Command::new(*PYTHON).args(["-c", script, &self.database(install), statements]).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// What an installation holds, read by Python.
    pub(super) fn holds(&self, install: &str) -> Value {
        let into = tempfile::tempdir().unwrap();
        let bbs = into.path().join("bbs");
        run_peer(&["adopt", bbs.to_str().unwrap(), &self.text(install)]);
        serde_json::from_str(&run_peer(&["dump", bbs.to_str().unwrap()])).unwrap()
    }

    /// The documents of the newest snapshot, by path.
    fn documents(&self) -> BTreeMap<String, String> {
        let into = tempfile::tempdir().unwrap();
        let target = into.path().join("out");
        expect(0, &self.home(), &["restore", "axon", "--target", target.to_str().unwrap()]);
        let root = target.join("axon");
        let read = |path: PathBuf| {
            (path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap())
        };
        files(&root).into_iter().map(read).collect()
    }

    /// A table as the newest snapshot has it: a row as an object.
    fn table(&self, name: &str) -> Vec<Value> {
        let page: Value = serde_json::from_str(&self.documents()[&format!("records/tables/{name}/0.json")]).unwrap();
        let columns: Vec<&str> =
            page["columns"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap()).collect();
        let row = |row: &Value| {
            columns
                .iter()
                .zip(row.as_array().unwrap())
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect()
        };
        page["rows"].as_array().unwrap().iter().map(row).map(Value::Object).collect()
    }

    /// Lets a process have the database open, in the journal mode that is named.
    fn runs(&self, mode: &str) -> Running {
        let script = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
            c.execute('PRAGMA wal_autocheckpoint = 0')\nc.execute('PRAGMA journal_mode = ' + sys.argv[2])\n\
            c.execute(\"UPDATE messaging_messageboard SET description = 'only in the log'\")\n\
            print('ready', flush=True)\nsys.stdin.read()";
        self.process(script, mode)
    }

    /// Lets a process do something with the database, and keep it open.
    fn process(&self, script: &str, mode: &str) -> Running {
        let mut child = Command::new(*PYTHON)
            .args(["-c", script, &self.database("install"), mode])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready");
        Running(child)
    }

    /// Takes applets and what belongs to them away from an installation, chunks included.
    pub(super) fn drops_its_applets(&self, install: &str, all: &Value) {
        self.sql(
            install,
            "DELETE FROM applets_appletdata; DELETE FROM applets_highscore; DELETE FROM applets_appletsharedstate; \
             DELETE FROM applets_applet; DELETE FROM applets_appletcategory;",
        );
        let kept: BTreeSet<String> = ["messages", "files", "pms"].iter().flat_map(|kind| hashes(all, kind)).collect();
        for hash in ["applets", "applet_data"].iter().flat_map(|kind| hashes(all, kind)) {
            if !kept.contains(&hash) {
                let folder = self.path(install).join("data/bitsync_chunks").join(hash);
                if folder.exists() {
                    fs::remove_dir_all(folder).unwrap();
                }
            }
        }
    }

    pub(super) fn put_back(&self, code: i32, args: &[&str]) -> Value {
        let into = self.text("install");
        let mut all = vec!["axon", "restore", "--into", &into];
        all.extend_from_slice(args);
        self.bulbil(code, &all)
    }
}

/// A process that dies with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

pub(super) fn run_peer(args: &[&str]) -> String {
    let output = peer().args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() { folders.push(entry) } else { found.push(entry) }
        }
    }
    found.sort();
    found
}

/// All files with their bytes; what SQLite's readers mark in its shared memory is nobody's data.
fn contents(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    files(root)
        .into_iter()
        .map(|path| {
            let is_memory = path.to_str().unwrap().ends_with("-shm");
            let bytes = if is_memory { Vec::new() } else { fs::read(&path).unwrap() };
            (path, bytes)
        })
        .collect()
}

pub(super) fn hashes(dump: &Value, kind: &str) -> BTreeSet<String> {
    let hash = |row: &Value| row["content"]["content_hash"].as_str().map(str::to_owned);
    dump[kind].as_array().unwrap().iter().filter_map(hash).collect()
}

/// What a dump says of applets, without what a restore makes anew.
fn of_applets(dump: &Value) -> Value {
    let mut all = serde_json::Map::new();
    for kind in ["applets", "applet_data", "high_scores", "shared_states"] {
        let mut rows = dump[kind].as_array().unwrap().clone();
        for row in &mut rows {
            let row = row.as_object_mut().unwrap();
            if kind == "high_scores" || kind == "shared_states" {
                row.remove("id");
            }
            for anew in ["category", "code_manifest", "data_manifest"] {
                row.remove(anew);
            }
            if let Some(content) = row.get_mut("content").and_then(Value::as_object_mut) {
                content.remove("envelopes");
            }
        }
        rows.sort_by_key(Value::to_string);
        all.insert(kind.to_owned(), rows.into());
    }
    Value::Object(all)
}

#[test]
fn everything_that_an_installation_holds_is_taken_over_and_nothing_in_it_is_touched() {
    let world = World::installed(&["--actions", "2"]);
    let before = contents(&world.path("install"));
    let dump: Value = serde_json::from_str(&world.axon(&["dump"], &[])).unwrap();
    let said = world.take_over(0);
    assert_eq!(contents(&world.path("install")), before, "a file of the installation was touched");

    let documents = world.documents();
    let mut expected = BTreeSet::new();
    for (kind, name) in [
        ("messages", "message"),
        ("files", "file"),
        ("pms", "pm"),
        ("applets", "applet"),
        ("applet_data", "applet_data"),
    ] {
        let found = hashes(&dump, kind);
        assert_eq!(said["result"]["items"][name], found.len(), "{kind}");
        for row in dump[kind].as_array().unwrap() {
            let Some(hash) = row["content"]["content_hash"].as_str() else { continue };
            let item: Value = serde_json::from_str(&documents[&format!("items/{}/{hash}.json", &hash[..2])]).unwrap();
            let bytes: u64 = item["chunks"].as_array().unwrap().iter().map(|chunk| chunk[1].as_u64().unwrap()).sum();
            assert_eq!(item["complete"], true, "{row}");
            assert_eq!(bytes, row["content"]["ciphertext_length"].as_u64().unwrap(), "{row}");
            assert!(item["kinds"].as_array().unwrap().contains(&name.into()), "{item}");
        }
        expected.extend(found);
    }
    assert_eq!(documents.keys().filter(|path| path.starts_with("items/")).count(), expected.len());

    // Rows: all of them, as they stand there.
    for (table, kind) in [
        ("core_user", "users"),
        ("core_validfiletype", "filetypes"),
        ("core_fileattachment", "files"),
        ("messaging_messageboard", "boards"),
        ("messaging_message", "messages"),
        ("messaging_privatemessage", "pms"),
        ("applets_appletcategory", "categories"),
        ("applets_applet", "applets"),
        ("applets_appletdata", "applet_data"),
        ("applets_highscore", "high_scores"),
        ("applets_appletsharedstate", "shared_states"),
        ("federation_federatedaction", "actions"),
    ] {
        assert_eq!(world.table(table).len(), dump[kind].as_array().unwrap().len(), "{table}");
    }
    let users = world.table("core_user");
    assert!(users.iter().any(|user| user["is_superuser"] == 1 && user["password"].as_str().unwrap().contains('$')));
    let message = &world.table("messaging_message")[0];
    assert!(message["created_at"].is_string() && !message["author_id"].is_null(), "{message}");
    let state = &world.table("applets_appletsharedstate")[0];
    assert_eq!(state["room_id"], "star-room");

    // What an Axon instance may be given has no superuser; private keys and logins are nowhere.
    assert!(!documents["records/config/core.user.json"].contains("\"is_superuser\": true"));
    assert!(documents.values().all(|text| !text.contains("gAAAAA") && !text.contains("PRIVATE KEY")));
    assert!(!documents.keys().any(|path| path.contains("django_session")));
    let actions = documents.keys().filter(|path| path.starts_with("records/actions/")).count();
    assert_eq!(actions, dump["actions"].as_array().unwrap().len());

    // Nothing new, nothing made; a new row is.
    let again = world.take_over(0);
    assert_eq!((&again["result"]["snapshot"], &again["result"]["new_items"]), (&Value::Null, &0.into()), "{again}");
    world.sql("install", "UPDATE core_user SET karma = 77 WHERE id = 2");
    let more = world.take_over(0);
    assert_eq!((&more["result"]["snapshot"], &more["result"]["changed_records"]), (&2.into(), &2.into()), "{more}");
}

#[test]
fn a_running_bbs_is_read_with_what_stands_only_in_its_log() {
    let world = World::installed(SMALL);
    let running = world.runs("WAL");
    let before = contents(&world.path("install"));
    world.take_over(0);
    assert_eq!(contents(&world.path("install")), before);
    assert_eq!(world.table("messaging_messageboard")[0]["description"], "only in the log");
    drop(running);

    // Killed, it left its log; somebody copied the folder without the shared memory.
    fs::remove_file(world.database("install") + "-shm").unwrap();
    let before = contents(&world.path("install"));
    assert!(before.keys().any(|path| path.to_str().unwrap().ends_with("-wal")));
    world.take_over(0);
    assert_eq!(contents(&world.path("install")), before);
    assert_eq!(world.table("messaging_messageboard")[0]["description"], "only in the log");
    assert_eq!(fs::read_dir(world.home().join("foreign")).unwrap().count(), 0, "a copy of the database was left");
}

#[test]
fn a_bbs_in_the_middle_of_a_change_or_killed_in_it_is_read_as_it_was_before() {
    let world = World::installed(SMALL);
    // A small cache is written into the database before the end of the change; then only the journal knows what was.
    let script = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
        c.execute('PRAGMA cache_size = ' + sys.argv[2])\nc.execute('BEGIN IMMEDIATE')\n\
        c.execute(\"UPDATE core_user SET karma = 99\")\n\
        c.execute(\"UPDATE messaging_message SET body = body || body\")\n\
        c.execute(\"UPDATE messaging_messageboard SET description = 'half done'\")\nprint('ready', flush=True)\nsys.stdin.read()";
    let running = world.process(script, "1000");
    world.take_over(0);
    assert_ne!(world.table("messaging_messageboard")[0]["description"], "half done");
    drop(running);
    drop(world.process(script, "1"));
    let before = contents(&world.path("install"));
    assert!(before.keys().any(|path| path.to_str().unwrap().ends_with("-journal")), "nothing was left to roll back");
    let again = world.take_over(0);
    assert_eq!(again["result"]["changed_records"], 0, "{again}");
    assert_eq!(contents(&world.path("install")), before);
}

#[test]
fn things_in_other_places_are_found_where_they_are_named() {
    let world = World::installed(SMALL);
    let (install, elsewhere) = (world.path("install"), world.path("elsewhere"));
    fs::create_dir(&elsewhere).unwrap();
    fs::rename(install.join(".env"), elsewhere.join("env")).unwrap();
    fs::rename(install.join("data/axon_bbs.sqlite3"), elsewhere.join("bbs.db")).unwrap();
    fs::rename(install.join("data/bitsync_chunks"), elsewhere.join("chunks")).unwrap();
    let place = |name: &str| elsewhere.join(name).to_str().unwrap().to_owned();
    let (env, database, chunks) = (place("env"), place("bbs.db"), place("chunks"));
    let mut args = vec!["axon", "backup", "--install", install.to_str().unwrap()];
    assert!(world.fails(&args).contains("--database"));
    args.extend(["--database", &database]);
    assert!(world.fails(&args).contains("--secret-key-file"));
    args.extend(["--secret-key-file", &env, "--collection", "mine"]);
    let said = world.bulbil(2, &args);
    assert_eq!((&said["result"]["chunks"], &said["result"]["collection"]), (&0.into(), &"mine".into()));
    args.extend(["--chunks", &chunks]);
    let said = world.bulbil(0, &args);
    assert!(said["result"]["chunks"].as_u64().unwrap() > 0, "{said}");
    assert_eq!(said["result"]["database"], database.as_str());
    // What the settings name counts, also when something else lies where it usually is.
    fs::copy(&database, install.join("data/axon_bbs.sqlite3")).unwrap();
    for (url, is_said) in
        [("postgres://u:secret@h/axon", true), ("sqlite:////nowhere/x.db?timeout=20", true), ("", false)]
    {
        let url = if url.is_empty() { format!("sqlite:///{database}?timeout=20") } else { url.to_owned() };
        let secret = fs::read_to_string(elsewhere.join("env")).unwrap();
        fs::write(install.join(".env"), format!("{secret}\nDATABASE_URL={url}\n")).unwrap();
        let args =
            ["axon", "backup", "--install", install.to_str().unwrap(), "--chunks", &chunks, "--collection", "mine"];
        match is_said {
            true => {
                let said = world.fails(&args);
                assert!(said.contains("DATABASE_URL") && !said.contains("secret"), "{said}");
            }
            false => assert_eq!(world.bulbil(0, &args)["result"]["database"], database.as_str()),
        }
    }
    // A collection of something else is not mixed with it.
    world.bulbil(0, &["collection", "add", "notes", elsewhere.to_str().unwrap()]);
    args[9] = "notes";
    assert!(world.fails(&args).contains("give another name"));
}

#[test]
fn another_secret_key_or_another_file_is_said_in_words() {
    let world = World::installed(SMALL);
    let install = world.text("install");
    let args = ["axon", "backup", "--install", &install];
    fs::write(world.path("install/.env"), format!("SECRET_KEY='{}'\n", "x".repeat(50))).unwrap();
    let said = world.fails(&args);
    assert!(said.contains("does not open this Axon BBS's private key") && said.contains(".env"), "{said}");
    fs::remove_file(world.path("install/.env")).unwrap();
    let said = world.fails(&args);
    assert!(said.contains("--secret-key-file"), "{said}");
    fs::write(world.database("install"), "this is no database, or it is encrypted".repeat(100)).unwrap();
    fs::write(world.path("install/.env"), format!("SECRET_KEY={}\n", "x".repeat(50))).unwrap();
    let said = world.fails(&args);
    assert!(said.contains("is no SQLite database"), "{said}");
    fs::remove_file(world.database("install")).unwrap();
    world.sql("install", "CREATE TABLE blog_post (id integer)");
    let said = world.fails(&args);
    assert!(said.contains("is not that of an Axon BBS"), "{said}");
}

#[test]
fn missing_and_damaged_chunks_are_told_and_the_rest_is_taken() {
    let world = World::installed(SMALL);
    let dump: Value = serde_json::from_str(&world.axon(&["dump"], &[])).unwrap();
    let of = |kind: &str| hashes(&dump, kind).into_iter().next().unwrap();
    let (lost, flipped) = (of("messages"), of("pms"));
    let chunk = |hash: &str| world.path("install/data/bitsync_chunks").join(hash).join("0.chunk");
    fs::remove_file(chunk(&lost)).unwrap();
    let mut bytes = fs::read(chunk(&flipped)).unwrap();
    bytes[3] ^= 1;
    fs::write(chunk(&flipped), bytes).unwrap();
    let said = world.take_over(2);
    let told: BTreeSet<String> =
        said["result"]["incomplete"].as_array().unwrap().iter().map(|hash| hash.as_str().unwrap().to_owned()).collect();
    assert_eq!(told, [lost.clone(), flipped.clone()].into());
    let problems = said["problems"].to_string();
    assert!(problems.contains("missing") && problems.contains("not what its hash says"), "{problems}");
    for (path, text) in world.documents().iter().filter(|(path, _)| path.starts_with("items/")) {
        let is_told = path.contains(&lost) || path.contains(&flipped);
        let item: Value = serde_json::from_str(text).unwrap();
        assert_eq!(item["complete"], !is_told, "{path}");
    }
    // Put right there, it comes.
    fs::remove_dir_all(world.path("install/data/bitsync_chunks")).unwrap();
    let copied = Command::new("cp")
        .arg("-r")
        .arg(world.path("bbs/data/bitsync_chunks"))
        .arg(world.path("install/data"))
        .status();
    assert!(copied.unwrap().success());
    let said = world.take_over(0);
    assert_eq!((&said["result"]["new_items"], &said["result"]["chunks"]), (&2.into(), &2.into()), "{said}");
}

#[test]
fn columns_that_nobody_knows_are_kept_and_tables_that_are_missing_do_no_harm() {
    let world = World::installed(SMALL);
    world.sql(
        "install",
        "ALTER TABLE messaging_message ADD COLUMN mood varchar(20); UPDATE messaging_message SET mood = 'merry'; \
         ALTER TABLE core_user DROP COLUMN timezone; DROP TABLE applets_highscore; DROP TABLE accounts_bannedpubkey; \
         ALTER TABLE messaging_messageboard RENAME TO core_messageboard; CREATE TABLE plugin_thing (a, b blob); \
         INSERT INTO plugin_thing VALUES (1.5, x'00ff');",
    );
    let said = world.take_over(0);
    assert_eq!(said["result"]["scores"], 0);
    assert!(world.table("messaging_message").iter().all(|row| row["mood"] == "merry"));
    let thing = &world.table("plugin_thing")[0];
    assert_eq!((&thing["a"], &thing["b"]["base64"]), (&1.5.into(), &"AP8=".into()));
    assert!(world.documents()["records/config/messaging.messageboard.json"].contains("\"name\""));
}

#[test]
fn applets_go_back_into_a_stopped_bbs_with_all_that_belongs_to_them() {
    let world = World::installed(&["--messages", "1", "--files", "1", "--pms", "0"]);
    world.take_over(0);
    let all = world.holds("install");
    world.drops_its_applets("install", &all);
    let without = fs::read(world.database("install")).unwrap();
    let said = world.put_back(0, &[]);
    assert_eq!(said["result"]["restored"].as_array().unwrap().len(), 6, "{said}");
    let back = world.holds("install");
    assert_eq!(of_applets(&back), of_applets(&all));
    assert_eq!(back["shared_states"][0]["room_id"], "star-room");
    assert!(!of_applets(&back).to_string().contains("\"problem\""));
    let names = |dump: &Value| {
        let names = dump["categories"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned());
        names.collect::<BTreeSet<_>>()
    };
    assert_eq!(names(&back), names(&all));
    // The database as it was stands beside it, as good as it was.
    let copy = PathBuf::from(said["result"]["copy"].as_str().unwrap());
    assert!(copy.starts_with(world.path("install/data")));
    let kept = World::table_count(&copy);
    fs::write(world.path("before"), without).unwrap();
    assert_eq!(kept, World::table_count(&world.path("before")));

    // What is there is left alone, and nothing is changed or copied for nothing.
    let before = contents(&world.path("install"));
    let said = world.put_back(0, &[]);
    assert_eq!(said["result"]["skipped"].as_array().unwrap().len(), 6, "{said}");
    assert_eq!(contents(&world.path("install")), before);
}

impl World {
    /// Rows of a database, by table.
    fn table_count(database: &Path) -> String {
        let script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); assert c.execute('PRAGMA integrity_check').fetchone()[0] == 'ok'; \
            print({n: c.execute(f'SELECT count(*) FROM \"{n}\"').fetchone()[0] for (n,) in c.execute(\"SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name\").fetchall()})";
        let done = Command::new(*PYTHON).args(["-c", script, database.to_str().unwrap()]).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }
}

#[test]
fn a_backup_folder_goes_into_another_bbs_which_can_open_it() {
    let world = World::installed(&["--messages", "0", "--files", "0", "--pms", "0"]);
    let made =
        world.bulbil(0, &["axon", "backup", "--install", &world.text("install"), "--output", &world.text("out")]);
    let folder = made["result"]["folder"].as_str().unwrap().to_owned();
    let all = world.holds("install");
    // Another BBS on new hardware: none of its users is one of theirs.
    run_peer(&["new", &world.text("other"), "--seed", "9"]);
    fs::remove_dir_all(world.path("install")).unwrap();
    world.install("other", "install");
    let said = world.put_back(2, &[&folder, "--applet", "Star Miner"]);
    assert_eq!(said["result"]["restored"], serde_json::json!(["Star Miner"]), "{said}");
    assert_eq!(said["result"]["data"], 0);
    assert!(said["problems"].to_string().contains("no user with that key"), "{said}");
    let said = world.put_back(2, &[&folder]);
    assert_eq!(
        (said["result"]["restored"].as_array().unwrap().len(), said["result"]["skipped"].as_array().unwrap().len()),
        (5, 1)
    );
    let there = world.holds("install");
    let same = |dump: &Value| {
        of_applets(dump)["applets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| {
                let mut row = row.clone();
                ["owner", "event_board"].iter().for_each(|link| {
                    row.as_object_mut().unwrap().remove(*link);
                });
                row
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(same(&there), same(&all));
    let own = there["checksum"].as_str().unwrap();
    for applet in there["applets"].as_array().unwrap().iter().filter(|applet| !applet["content"].is_null()) {
        assert_eq!(applet["content"]["envelopes"], serde_json::json!([own]), "{applet}");
    }
}

#[test]
fn a_bbs_that_runs_is_not_written_to_and_other_bytes_are_never_written_over() {
    let world = World::installed(SMALL);
    world.take_over(0);
    let all = world.holds("install");
    world.drops_its_applets("install", &all);
    let install = world.text("install");
    for mode in ["DELETE", "WAL"] {
        let running = world.runs(mode);
        let before = contents(&world.path("install"));
        let said = world.fails(&["axon", "restore", "--into", &install]);
        assert!(said.contains("is running") && said.contains(&running.0.id().to_string()), "{said}");
        assert_eq!(contents(&world.path("install")), before);
    }
    // A log without its owner is taken in; other bytes under an applet's name are somebody's.
    let code = hashes(&all, "applets").difference(&hashes(&all, "files")).next().cloned();
    let code = code.unwrap_or_else(|| hashes(&all, "applets").into_iter().next().unwrap());
    let folder = world.path("install/data/bitsync_chunks").join(&code);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("0.chunk"), "other bytes").unwrap();
    let said = world.put_back(2, &[]);
    assert!(said["problems"].to_string().contains("other bytes"), "{said}");
    assert_eq!(said["result"]["refused"].as_array().unwrap().len(), 1);
    assert_eq!(fs::read_to_string(folder.join("0.chunk")).unwrap(), "other bytes");
}

#[test]
fn killed_anywhere_the_bbs_has_all_applets_or_none() {
    let world = World::installed(SMALL);
    world.take_over(0);
    let all = world.holds("install");
    world.drops_its_applets("install", &all);
    let count = |dump: &Value| dump["applets"].as_array().unwrap().len();
    let data = world.path("install/data");
    let chunks = || files(&data.join("bitsync_chunks")).len();
    let copies = || {
        let names = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_str().unwrap().contains("before_restore")).count()
    };
    // Those that hit it before it was done. On a machine that is busy, a moment may be over before it is seen.
    let mut kills = BTreeSet::new();
    let left = data.join("axon_bbs.sqlite3.before_restore_unfinished");
    for moment in (0..4).cycle().take(16) {
        if moment == 0 && left.exists() {
            fs::remove_file(&left).unwrap();
        }
        let (had, start) = (copies(), chunks());
        let mut command = Command::new(BULBIL);
        command.arg("--home").arg(world.home()).args(["axon", "restore", "--into", &world.text("install")]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        until_seen(Instant::now() + Duration::from_secs(60), "the moment to kill it", || {
            let is_now = match moment {
                0 => copies() > had,
                1 => chunks() > start,
                2 => data.join("axon_bbs.sqlite3-journal").exists(),
                _ => chunks() > start + 1,
            };
            is_now || child.try_wait().unwrap().is_some()
        });
        let lived = child.try_wait().unwrap().is_none();
        child.kill().unwrap();
        child.wait().unwrap();
        // The next one who opens it for writing puts it right.
        world.sql("install", "PRAGMA user_version");
        let found = count(&world.holds("install"));
        assert!(found == 0 || found == count(&all), "{found} applets after moment {moment}");
        if lived && found == 0 {
            kills.insert(moment);
        }
        if kills.len() >= 3 {
            break;
        }
        // As it was, so that there is something to do again.
        world.drops_its_applets("install", &all);
    }
    assert!(kills.len() >= 3, "killed at the moments {kills:?} only");
    world.put_back(0, &[]);
    assert_eq!(of_applets(&world.holds("install")), of_applets(&all));
    assert!(!left.exists(), "what a killed run copied is still there");
}

#[test]
fn a_database_behind_a_link_is_read_with_what_stands_only_in_its_log() {
    let world = World::installed(SMALL);
    let (link, real) = (world.path("install/data/axon_bbs.sqlite3"), world.path("real.sqlite3"));
    fs::rename(&link, &real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let _running = world.runs("WAL");
    world.take_over(0);
    assert_eq!(world.table("messaging_messageboard")[0]["description"], "only in the log");
}

#[test]
fn every_room_of_an_applet_comes_back_with_its_own_state() {
    let world = World::installed(SMALL);
    world.sql(
        "install",
        "INSERT INTO applets_appletsharedstate (id, applet_id, room_id, state_data, version, last_updated) \
         SELECT '000000000000000000000000000000a1', applet_id, 'arena', '{\"i am\": \"arena\"}', 700, last_updated \
         FROM applets_appletsharedstate LIMIT 1;",
    );
    world.take_over(0);
    let all = world.holds("install");
    assert_eq!(all["shared_states"].as_array().unwrap().len(), 2, "{all}");
    world.drops_its_applets("install", &all);
    world.put_back(0, &[]);
    let states = |dump: &Value| {
        let rows = dump["shared_states"].as_array().unwrap().iter();
        rows.map(|row| (row["room_id"].to_string(), row["version"].to_string())).collect::<BTreeSet<_>>()
    };
    assert_eq!(states(&world.holds("install")), states(&all));
}

/// Everything below a folder belongs to whom it belongs to.
fn is_of_one_owner(root: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let owner = |path: &Path| fs::symlink_metadata(path).unwrap().uid();
    let mut left = vec![root.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            if owner(&entry) != owner(root) {
                return false;
            }
            left.extend(entry.is_dir().then_some(entry));
        }
    }
    true
}

#[test]
fn what_stands_twice_or_has_no_place_in_the_bbs_is_left_out_and_said_and_the_rest_goes_back() {
    let world = World::installed(&["--messages", "0", "--files", "0", "--pms", "0"]);
    let made =
        world.bulbil(0, &["axon", "backup", "--install", &world.text("install"), "--output", &world.text("out")]);
    let folder = PathBuf::from(made["result"]["folder"].as_str().unwrap());
    let all = world.holds("install");
    world.drops_its_applets("install", &all);
    let read = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let write = |path: &Path, value: &Value| fs::write(path, serde_json::to_vec(value).unwrap()).unwrap();
    let of = |file: &str| {
        let folders = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let mut found: Vec<PathBuf> = folders.filter(|path| path.join(file).exists()).collect();
        found.sort();
        found.swap_remove(0)
    };
    // A lower score of the same user stands first.
    let scores = of("high_scores.json").join("high_scores.json");
    let mut rows = read(&scores);
    let mut lower = rows[0].clone();
    let highest = lower["score"].as_i64().unwrap();
    lower["score"] = 1.into();
    rows.as_array_mut().unwrap().insert(0, lower);
    write(&scores, &rows);
    // Another user's name with the same key.
    let of_data = of("applet_data.json");
    let mut rows = read(&of_data.join("applet_data.json"));
    let mut copy = rows[0].clone();
    let (from, to) = (copy["owner_username"].as_str().unwrap().to_owned(), "somebody");
    copy["owner_username"] = to.into();
    copy["id"] = "11111111-2222-4333-8444-555555555555".into();
    rows.as_array_mut().unwrap().push(copy);
    write(&of_data.join("applet_data.json"), &rows);
    fs::create_dir(of_data.join("data_chunks").join(to)).unwrap();
    for chunk in fs::read_dir(of_data.join("data_chunks").join(from)).unwrap().map(|entry| entry.unwrap()) {
        fs::copy(chunk.path(), of_data.join("data_chunks").join(to).join(chunk.file_name())).unwrap();
    }
    // One that cannot be read, and one that is gone.
    let bare = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let bare = bare.filter(|path| path.is_dir() && !path.join("applet_data.json").exists());
    let mut bare: Vec<PathBuf> = bare.filter(|path| !path.join("high_scores.json").exists()).collect();
    bare.sort();
    fs::write(bare[0].join("metadata.json"), "{").unwrap();
    fs::remove_dir_all(&bare[1]).unwrap();
    if rustix::process::geteuid().is_root() {
        let done = Command::new("chown").args(["-R", "65534:65534", &world.text("install")]).status().unwrap();
        assert!(done.success());
    }

    let said = world.put_back(2, &[folder.to_str().unwrap()]);
    let result = &said["result"];
    assert_eq!((result["restored"].as_array().unwrap().len(), result["refused"].as_array().unwrap().len()), (4, 1));
    let problems = said["problems"].to_string();
    for word in ["has a higher one", "the same user's key", "metadata.json cannot be read", "it is not in the backup"] {
        assert!(problems.contains(word), "{word}: {said}");
    }
    let there = world.holds("install");
    let scores: Vec<i64> =
        there["high_scores"].as_array().unwrap().iter().map(|row| row["score"].as_i64().unwrap()).collect();
    assert!(scores.contains(&highest) && !scores.contains(&1), "{scores:?}");
    assert!(is_of_one_owner(&world.path("install/data")));
    assert!(is_of_one_owner(&world.path("install/data/bitsync_chunks")));

    // A version of the BBS that has no such tables.
    let there = world.holds("install");
    world.drops_its_applets("install", &there);
    world.sql("install", "DROP TABLE applets_highscore; DROP TABLE applets_appletcategory");
    let said = world.put_back(2, &[folder.to_str().unwrap()]);
    assert_eq!(said["result"]["restored"].as_array().unwrap().len(), 4, "{said}");
    assert!(said["problems"].to_string().contains("no table of that"), "{said}");
    // What went from the BBS is said, and kept.
    let said = world.take_over(2);
    assert_eq!(said["result"]["not_there"].as_array().unwrap().len(), 2, "{said}");
    assert!(said["problems"].to_string().contains("table applets_highscore"), "{said}");
}

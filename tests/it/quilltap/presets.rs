//! Presets of one's own: another application by a document alone, a live database, hooks.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{World, findings, said, write};

#[test]
fn presets_are_listed_and_shown_and_a_wrong_one_is_a_sentence() {
    let world = World::new();
    let listed = world.good(&["preset", "list"]);
    for name in ["quilltap", "quilltap-4", "axon-bbs", "generic"] {
        assert!(listed.contains(name), "{listed}");
    }
    assert!(world.good(&["preset", "show", "quilltap"]).contains("public/data/files"));
    let none = world.run(&["preset", "show", "nothing"]);
    assert!(none.status.code() == Some(1) && said(&none).contains("no preset \"nothing\""), "{}", said(&none));
    write(&world.home().join("presets/mine.toml"), "name = \"mine\"\nversion = 1\nabout = \"x\"\nnonsense = 1\n");
    let wrong = world.run(&["preset", "show", "mine"]);
    assert!(wrong.status.code() == Some(1) && said(&wrong).contains("nonsense"), "{}", said(&wrong));
    // One that is wrong does not hide the others.
    assert!(world.good(&["preset", "list"]).contains("quilltap-4"));
}

/// A program that keeps a database open and writes to it until it is told to stop: each transaction adds two rows that cancel out.
struct Writer {
    child: Child,
}

const WRITER: &str = r#"
import sqlite3, sys, threading
db = sqlite3.connect(sys.argv[1], isolation_level=None, check_same_thread=False)
db.execute("PRAGMA journal_mode=%s" % sys.argv[2])
db.execute("PRAGMA wal_autocheckpoint=50")
db.execute("CREATE TABLE entry (n INTEGER, filler BLOB)")
stop = []
threading.Thread(target=lambda: (sys.stdin.read(), stop.append(1))).start()
n = 0
while not stop:
    n += 1
    db.execute("BEGIN")
    db.execute("INSERT INTO entry VALUES (?, randomblob(3000))", (n,))
    db.execute("INSERT INTO entry VALUES (?, randomblob(3000))", (-n,))
    db.execute("UPDATE entry SET filler = randomblob(3000) WHERE rowid = ?", (n // 2 + 1,))
    db.execute("COMMIT")
    if n == 40:
        print("ready", flush=True)
"#;

impl Writer {
    fn start(database: &Path, mode: &str) -> Self {
        let mut command = Command::new("python3");
        command.arg("-c").arg(WRITER).arg(database).arg(mode).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("these tests need Python: apt-get install python3");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self { child }
    }

    fn stop(mut self) {
        self.child.stdin.take().unwrap().flush().unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

/// What a database says.
fn sql(database: &Path, statement: &str) -> String {
    let program = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchone()[0])";
    let output = Command::new("python3").args(["-c", program]).arg(database).arg(statement).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The folder of the application of `docs/presets/photolog.toml`, as the collection `photos`.
fn photolog(world: &World) {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/presets/photolog.toml");
    write(&world.home().join("presets/photolog.toml"), &fs::read_to_string(document).unwrap());
    let app = world.path("photolog");
    write(&app.join("media/a.jpg"), "picture");
    write(&app.join("media/thumbs/a.webp"), "thumb");
    write(&app.join("venv/lib.py"), "no data");
    write(&app.join("media.jsonl"), "{\"name\":\"a.jpg\",\"bytes\":7}\n");
}

#[test]
fn another_application_needs_no_code_and_its_live_database_is_whole() {
    for mode in ["wal", "delete"] {
        let world = World::new();
        photolog(&world);
        let database = world.path("photolog/photolog.db");
        let writer = Writer::start(&database, mode);
        let app = world.path("photolog");
        world.good(&["collection", "add", "photos", "--preset", "photolog", app.to_str().unwrap()]);
        for number in 1..4 {
            let made = world.run(&["backup"]);
            assert!(made.status.success(), "{mode}: {}", said(&made));
            assert_eq!(world.json(0, &["check", "photos", "--snapshot", &number.to_string()])["errors"], 0);
        }
        // In the folder, too, beside the writer.
        assert_eq!(world.json(0, &["check", "photos"])["errors"], 0, "{mode}");
        writer.stop();
        let out = world.path("out");
        for number in 1..4 {
            let snapshot = format!("photos@{number}");
            world.good(&["restore", &snapshot, "--target", out.to_str().unwrap(), "--delete"]);
            let restored = out.join("photolog.db");
            assert_eq!(sql(&restored, "PRAGMA integrity_check"), "ok", "{mode}");
            assert_eq!(sql(&restored, "SELECT sum(n) FROM entry"), "0", "a transaction is in it as a whole or not");
            // What was only in the log is in it.
            assert!(sql(&restored, "SELECT count(*) FROM entry").parse::<u32>().unwrap() >= 80, "{mode}");
            let names: Vec<String> = fs::read_dir(&out)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter(|name| name != "photolog.db-wal" && name != "photolog.db-shm")
                .collect();
            let mut names = names;
            names.sort();
            assert_eq!(names, ["media", "media.jsonl", "photolog.db"]);
            assert!(out.join("media/a.jpg").exists() && !out.join("media/thumbs").exists());
        }
        let listed = world.json(0, &["ls", "-r", "photos"]).to_string();
        assert!(!listed.contains("-wal") && !listed.contains("-shm"), "{listed}");
    }
}

#[test]
fn a_damaged_database_and_a_lost_picture_are_found() {
    let world = World::new();
    photolog(&world);
    let (app, database) = (world.path("photolog"), world.path("photolog/photolog.db"));
    Writer::start(&database, "delete").stop();
    world.good(&["collection", "add", "photos", "--preset", "photolog", app.to_str().unwrap()]);
    world.good(&["backup"]);
    let mut bytes = fs::read(&database).unwrap();
    let len = bytes.len();
    bytes[8192..len / 2].fill(0xa5);
    fs::write(&database, bytes).unwrap();
    fs::remove_file(app.join("media/a.jpg")).unwrap();
    write(&app.join("media/b.jpg"), "new");
    let made = world.run(&["backup"]);
    assert_eq!(made.status.code(), Some(2), "{}", said(&made));
    for args in [&["check", "photos"][..], &["check", "photos", "--snapshot", "latest"]] {
        let found: Vec<(String, String)> =
            findings(&world.json(2, args)).into_iter().map(|finding| (finding.0, finding.1)).collect();
        for (level, path) in [("error", "photolog.db"), ("error", "media/a.jpg"), ("warning", "media/b.jpg")] {
            assert!(found.contains(&(level.to_owned(), path.to_owned())), "{args:?}: no {path}: {found:?}");
        }
    }
    assert_eq!(world.json(0, &["check", "photos", "--snapshot", "1"])["errors"], 0);
    // What was laid out to be looked at is gone.
    let left: Vec<_> = fs::read_dir(world.home()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("check") || name == "hook"), "{left:?}");
}

//! `kill -9` at many moments: what was reported as done is there, and everything verifies.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::{BULBIL, assert_same_tree, expect, init, noise};

/// Starts a command and kills it as soon as `reached` says so; false if it ended before.
pub fn kill_when(home: &Path, args: &[&str], mut reached: impl FnMut() -> bool) -> bool {
    let mut child: Child = Command::new(BULBIL)
        .arg("--home")
        .arg(home)
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    loop {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if reached() {
            child.kill().unwrap();
            child.wait().unwrap();
            return true;
        }
        std::thread::yield_now();
    }
}

/// Files below a folder, temporary ones included.
pub fn files(dir: &Path) -> usize {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries.flatten().map(|e| if e.file_type().is_ok_and(|t| t.is_dir()) { files(&e.path()) } else { 1 }).sum()
}

fn snapshots(home: &Path) -> usize {
    let out = expect(0, home, &["snapshots", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    document["result"].as_array().unwrap().len()
}

#[test]
fn r8_killed_anywhere_in_a_backup_it_still_opens() {
    let dir = tempfile::tempdir().unwrap();
    let (home, source) = (dir.path().join("home"), dir.path().join("source"));
    fs::create_dir(&source).unwrap();
    for n in 0..120 {
        fs::write(source.join(format!("{n:03}")), noise(n, 200_000)).unwrap();
    }
    init(&home, "alpha");
    expect(0, &home, &["collection", "add", "notes", source.to_str().unwrap()]);
    let mut done = 0;
    let mut kills = 0;
    for (round, after) in [0, 1, 3, 6, 9, 12, 13, 14, 15, 20].into_iter().enumerate() {
        // Something new each time, so that there is something to store.
        for n in 0..60 {
            fs::write(source.join(format!("{:03}", n * 2)), noise(1000 * (round as u64 + 1) + n, 200_000)).unwrap();
        }
        let before = files(&home.join("chunks"));
        if kill_when(&home, &["backup", "-q"], || files(&home.join("chunks")) >= before + after) {
            kills += 1;
        } else {
            done += 1;
        }
        assert!(snapshots(&home) >= done, "a snapshot that was reported as done is gone");
        expect(0, &home, &["verify", "--data"]);
        if round % 3 == 2 {
            expect(0, &home, &["backup", "-q"]);
            done += 1;
            assert!(snapshots(&home) >= done);
        }
    }
    assert!(kills >= 4, "only {kills} kills hit");
    expect(0, &home, &["backup", "-q"]);
    let out = dir.path().join("out");
    expect(0, &home, &["restore", "notes", "--target", out.to_str().unwrap()]);
    assert_same_tree(&source, &out);
    // The index that lived through this is the one that can be made anew.
    expect(0, &home, &["rebuild"]);
    expect(0, &home, &["verify", "--data"]);
}

#[test]
fn a_killed_restore_leaves_no_half_file_and_can_be_run_again() {
    let dir = tempfile::tempdir().unwrap();
    let (home, source, out) = (dir.path().join("home"), dir.path().join("source"), dir.path().join("out"));
    fs::create_dir(&source).unwrap();
    for n in 0..150 {
        fs::write(source.join(format!("{n:03}")), noise(n, 300_000)).unwrap();
    }
    init(&home, "alpha");
    expect(0, &home, &["collection", "add", "notes", source.to_str().unwrap()]);
    expect(0, &home, &["backup", "-q"]);
    let restore = ["restore", "notes", "--target", out.to_str().unwrap(), "-q"];
    let mut kills = 0;
    for after in [1, 10, 60, 120] {
        kills += usize::from(kill_when(&home, &restore, || files(&out) >= after));
        for entry in fs::read_dir(&out).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if !name.starts_with(".bulbil-restore-") {
                assert_eq!(entry.metadata().unwrap().len(), 300_000, "{name} is half a file");
            }
        }
    }
    assert!(kills >= 2, "only {kills} kills hit");
    // Into a folder that has content already, file by file.
    fs::create_dir_all(&out).unwrap();
    fs::write(out.join("mine"), "stays").unwrap();
    kill_when(&home, &restore, || files(&out) >= 50);
    expect(0, &home, &restore);
    fs::remove_file(out.join("mine")).unwrap();
    expect(0, &home, &["restore", "notes", "--target", out.to_str().unwrap(), "-q", "--overwrite", "always"]);
    assert_same_tree(&source, &out);
}

#[test]
fn a_full_disk_is_said_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, source) = (dir.path().join("disk"), dir.path().join("source"));
    fs::create_dir(&disk).unwrap();
    fs::create_dir(&source).unwrap();
    // A disk of its own needs root; without root, the test asks for a namespace in which it is.
    let script = format!(
        r#"set -e
        mount -t tmpfs -o size=12m tmpfs '{disk}'
        '{BULBIL}' --home '{disk}/home' init --name alpha >/dev/null
        '{BULBIL}' --home '{disk}/home' collection add notes '{source}' >/dev/null
        '{BULBIL}' --home '{disk}/home' backup -q
        head -c 30000000 /dev/urandom > '{source}/large'
        code=0; '{BULBIL}' --home '{disk}/home' backup -q 2> '{dir}/said' || code=$?
        echo "code $code"
        rm '{source}/large'
        '{BULBIL}' --home '{disk}/home' verify --data
        '{BULBIL}' --home '{disk}/home' restore notes --target '{dir}/out'
        "#,
        disk = disk.display(),
        source = source.display(),
        dir = dir.path().display(),
    );
    fs::write(source.join("small"), noise(5, 100_000)).unwrap();
    let output = Command::new("unshare").args(["--mount", "--map-root-user", "sh", "-c", &script]).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    let said = fs::read_to_string(dir.path().join("said")).unwrap();
    assert!(out.contains("code 1"), "{out}");
    assert!(said.contains("no space") && said.contains("free some"), "{said}");
    assert_eq!(fs::read(dir.path().join("out/small")).unwrap(), noise(5, 100_000));
}

/// A server on loopback that is stopped when it is dropped.
struct Server {
    child: Child,
    _lines: std::io::Lines<std::io::BufReader<std::process::ChildStdout>>,
}

impl Server {
    /// Starts and waits for the line that says it is ready.
    fn start(home: &Path) -> Self {
        use std::io::BufRead;
        let mut child = Command::new(BULBIL)
            .arg("--home")
            .arg(home)
            .args(["serve", "--direct", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        while let Some(line) = lines.next() {
            if line.unwrap().starts_with("ready") {
                return Self { child, _lines: lines };
            }
        }
        panic!("it ended before it was ready: {:?}", child.wait());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn r13_a_clone_that_is_killed_again_and_again_ends_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (alpha, beta, source) = (dir.path().join("alpha"), dir.path().join("beta"), dir.path().join("source"));
    fs::create_dir(&source).unwrap();
    for n in 0..150 {
        fs::write(source.join(format!("{n:03}")), noise(n, 300_000)).unwrap();
    }
    init(&alpha, "alpha");
    expect(0, &alpha, &["collection", "add", "notes", source.to_str().unwrap()]);
    expect(0, &alpha, &["backup", "-q"]);
    let server = Server::start(&alpha);
    let invite = expect(0, &alpha, &["invite", "--role", "reader", "--collections", "notes", "-q"]);
    let invite = invite.lines().find(|line| line.starts_with("bulbil:")).unwrap().to_owned();
    let clone = ["clone", &invite, "--name", "beta", "--yes", "-q"];
    let mut kills = 0;
    for after in [1, 2, 4, 7, 11, 16, 20] {
        // The first files are the list of chunks and those that are being written.
        kills += usize::from(kill_when(&beta, &clone, || files(&beta.join("chunks")) >= after));
    }
    assert!(kills >= 4, "only {kills} kills hit");
    expect(0, &beta, &clone);
    expect(0, &beta, &["verify", "--data"]);
    let out = dir.path().join("out");
    expect(0, &beta, &["restore", "notes", "--target", out.to_str().unwrap()]);
    assert_same_tree(&source, &out);

    // Following: a sync and a fetch that are killed.
    for n in 0..150 {
        fs::write(source.join(format!("{n:03}")), noise(5000 + n, 300_000)).unwrap();
    }
    expect(0, &alpha, &["backup", "-q"]);
    let manifests = files(&beta.join("manifests"));
    kill_when(&beta, &["sync", "-q"], || files(&beta.join("manifests")) > manifests);
    expect(0, &beta, &["verify", "--data"]);
    expect(0, &beta, &["sync", "-q"]);
    let before = files(&beta.join("chunks"));
    for after in [1, 5, 12] {
        kill_when(&beta, &["fetch", "-q"], || files(&beta.join("chunks")) >= before + after);
        expect(0, &beta, &["verify", "--data"]);
    }
    expect(0, &beta, &["fetch", "-q"]);
    drop(server);
    let again = dir.path().join("again");
    expect(0, &beta, &["restore", "notes", "--target", again.to_str().unwrap()]);
    assert_same_tree(&source, &again);
}

//! `kill -9` at many moments: what was reported as done is there, and everything verifies.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::{BULBIL, assert_same_tree, expect, init, noise};

/// Starts a command and kills it as soon as `reached` says so; false if it ended before.
fn kill_when(home: &Path, args: &[&str], mut reached: impl FnMut() -> bool) -> bool {
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
fn files(dir: &Path) -> usize {
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

//! `kill -9` in a prune, at many moments: what stays is whole, and the next prune frees what there is to free.

use std::fs;
use std::path::Path;

use crate::kill::{files, kill_when};
use crate::support::{assert_same_tree, expect, init, noise};

fn snapshots(home: &Path) -> usize {
    let out = expect(0, home, &["snapshots", "--json"]);
    serde_json::from_str::<serde_json::Value>(&out).unwrap()["result"].as_array().unwrap().len()
}

#[test]
fn r8_killed_anywhere_in_a_prune_what_stays_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (home, source) = (dir.path().join("home"), dir.path().join("source"));
    fs::create_dir(&source).unwrap();
    init(&home, "alpha");
    expect(0, &home, &["collection", "add", "notes", source.to_str().unwrap()]);
    let mut seed = 0;
    let mut backup = |times: usize| {
        for _ in 0..times {
            for n in 0..30 {
                seed += 1;
                fs::write(source.join(format!("{n:02}")), noise(seed, 400_000)).unwrap();
            }
            expect(0, &home, &["backup", "-q"]);
        }
    };
    backup(1);
    let one = files(&home.join("chunks"));
    let prune = ["prune", "-q", "--keep-last", "1", "--grace", "0s"];
    let mut kills = 0;
    // The manifests go, a file at a time, then the chunks.
    for (what, after) in
        [("manifests", 1), ("manifests", 2), ("manifests", 4), ("chunks", 1), ("chunks", 5), ("chunks", 12)]
    {
        backup(3);
        let before = files(&home.join(what));
        kills += usize::from(kill_when(&home, &prune, || files(&home.join(what)) + after <= before));
        // What is left of a removed snapshot does not come back to life.
        if after == 1 || after == 5 {
            let there = snapshots(&home);
            expect(0, &home, &["rebuild"]);
            assert_eq!(snapshots(&home), there);
        }
        // From now on the newest one is the last that was verified.
        expect(0, &home, &["verify", "--data"]);
        if after == 2 || after == 5 {
            expect(0, &home, &["prune", "-q", "--keep-last", "1"]);
            assert_eq!(snapshots(&home), 1);
        }
    }
    assert!(kills >= 3, "only {kills} kills hit");
    expect(0, &home, &prune);
    assert_eq!(snapshots(&home), 1);
    let left = files(&home.join("chunks"));
    assert!(left <= one + 3, "{left} files are left, {one} there were with one snapshot");
    let out = dir.path().join("out");
    expect(0, &home, &["restore", "notes", "--target", out.to_str().unwrap()]);
    assert_same_tree(&source, &out);
    expect(0, &home, &["rebuild"]);
    expect(0, &home, &["verify", "--data"]);
}

#[test]
fn backups_and_prunes_side_by_side_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (home, source) = (dir.path().join("home"), dir.path().join("source"));
    fs::create_dir(&source).unwrap();
    init(&home, "alpha");
    expect(0, &home, &["collection", "add", "notes", source.to_str().unwrap()]);
    let backups = std::thread::scope(|scope| {
        let pruning = scope.spawn(|| {
            let mut freed = 0;
            for _ in 0..30 {
                // Another prune may just be at it.
                let out = crate::support::run(&home, &["prune", "--json", "--keep-last", "1", "--grace", "0s"]);
                let document: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
                assert!(document["error"].is_null() || out.status.code() == Some(1), "{document}");
                freed += document["result"]["done"]["freed"]["chunks"].as_u64().unwrap_or(0);
            }
            freed
        });
        let second = scope.spawn(|| {
            for _ in 0..15 {
                crate::support::run(&home, &["prune", "-q", "--keep-last", "2", "--grace", "0s"]);
            }
        });
        let mut backups = 0;
        // The same contents come and go: what was just unnamed is needed again.
        while !pruning.is_finished() || backups < 5 {
            for n in 0..20u64 {
                fs::write(source.join(format!("{n:02}")), noise((backups + n) % 7, 300_000)).unwrap();
            }
            expect(0, &home, &["backup", "-q"]);
            backups += 1;
        }
        second.join().unwrap();
        assert!(pruning.join().unwrap() > 0, "nothing was freed meanwhile");
        backups
    });
    assert!(backups >= 5);
    expect(0, &home, &["verify", "--data"]);
    let out = dir.path().join("out");
    expect(0, &home, &["restore", "notes", "--target", out.to_str().unwrap()]);
    assert_same_tree(&source, &out);
}

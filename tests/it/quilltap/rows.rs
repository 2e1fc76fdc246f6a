//! Rows 9 and 10: what is stored is sealed, and whoever changes it is found out; and a sample that finds it bit by bit.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{World, said};
use crate::support;

/// A small tree: a handful of chunks.
fn small(world: &World) {
    super::generator(&world.app(), &["--messages", "100", "--images", "2", "--chats", "3", "--layout", "app17"]);
    world.good(&["collection", "add", "tales", "--preset", "quilltap", world.app().to_str().unwrap()]);
    world.good(&["backup"]);
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() { left.push(entry) } else { found.push(entry) }
        }
    }
    found.sort();
    found
}

fn flip(path: &Path, at: u64) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

#[test]
fn row_9_one_flipped_byte_anywhere_is_found_and_named() {
    let world = World::new();
    small(&world);
    let (home, copied) = (world.home(), world.path("copied"));
    let all = files(&home);
    let mut kinds = BTreeSet::new();
    for file in all {
        let relative = file.strip_prefix(&home).unwrap();
        let first = relative.components().next().unwrap().as_os_str().to_str().unwrap().to_owned();
        // The index is made from the rest ('rebuild'); locks and marks hold nothing.
        if first.starts_with("index.db") || first == "lock" || relative.ends_with(".bulbil-home") {
            continue;
        }
        let name = relative.file_name().unwrap().to_str().unwrap();
        let len = fs::metadata(&file).unwrap().len();
        // One of the first bytes, and the last one but a few.
        for at in [len / 3, len - 3] {
            copy(&home, &copied);
            flip(&copied.join(relative), at);
            let output = support::run(&copied, &["verify", "--data"]);
            let code = output.status.code();
            assert!(matches!(code, Some(1 | 2)), "byte {at} of {}: {code:?} {}", relative.display(), said(&output));
            let text = said(&output);
            let told = match first.as_str() {
                "audit.jsonl" => "audit log",
                "version" => "is not a bulbil home",
                // Without the key that opens it, a key file is what does not open.
                "keys" => "keys/",
                // Eight digits of a chunk's or manifest's name.
                _ => &name[..8],
            };
            assert!(text.contains(told), "byte {at} of {}: {text}", relative.display());
        }
        kinds.insert(first);
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["audit.jsonl", "chunks", "keys", "manifests", "version"]);
    // What was copied from is sound all the while.
    world.good(&["verify", "--data"]);
}

#[test]
fn row_9_no_name_and_no_content_is_visible_in_the_repository() {
    let world = World::new();
    small(&world);
    let app = world.app();
    let mut words: Vec<Vec<u8>> = Vec::new();
    for path in files(&app.join("data/characters")).into_iter().filter(|path| path.extension() == Some("json".as_ref()))
    {
        words.push(path.file_stem().unwrap().as_encoded_bytes().to_vec());
        let character: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        words.push(character["name"].as_str().unwrap().as_bytes().to_vec());
    }
    words.extend([b"connection-profiles".to_vec(), b"messageCount".to_vec(), b"ciphertext".to_vec()]);
    assert!(words.len() > 20 && words.iter().all(|word| word.len() >= 3), "{}", words.len());
    for place in ["chunks", "manifests", "keys"] {
        for file in files(&world.home().join(place)) {
            let bytes = fs::read(&file).unwrap();
            let seen = words.iter().find(|word| bytes.windows(word.len()).any(|window| window == word.as_slice()));
            assert_eq!(seen.map(|word| String::from_utf8_lossy(word)), None, "{}", file.display());
        }
    }
    // It would be seen.
    let index = fs::read(app.join("data/chats/index.jsonl")).unwrap();
    assert!(index.windows(12).any(|window| window == b"messageCount"));
}

#[test]
fn row_9_a_wrong_passphrase_and_what_was_tampered_with_are_told_apart() {
    let world = World::new();
    let (good, wrong) = (world.path("good"), world.path("wrong"));
    super::write(&good, "a long passphrase\n");
    super::write(&wrong, "another passphrase\n");
    let home = world.path("sealed");
    let run = |passphrase: &Path, args: &[&str]| {
        support::run(&home, &[&["--passphrase-file", passphrase.to_str().unwrap()], args].concat())
    };
    assert!(run(&good, &["init", "--name", "alpha"]).status.success());
    super::write(&world.path("tree/a.txt"), "something");
    assert!(run(&good, &["collection", "add", "tree", world.path("tree").to_str().unwrap()]).status.success());
    assert!(run(&good, &["backup"]).status.success());
    let refused = run(&wrong, &["verify", "--data"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("passphrase") && !said(&refused).contains("damaged"), "{}", said(&refused));
    let chunk = files(&home.join("chunks")).into_iter().find(|path| !path.ends_with(".bulbil-home")).unwrap();
    flip(&chunk, 20);
    let found = run(&good, &["verify", "--data"]);
    assert_eq!(found.status.code(), Some(2));
    assert!(!said(&found).contains("passphrase") && said(&found).contains("not what they were"), "{}", said(&found));
}

#[test]
fn row_10_an_object_that_is_replaced_with_everything_beside_it_is_found() {
    let world = World::new();
    small(&world);
    let (home, forged) = (world.home(), world.path("forged"));
    // Somebody who can write everywhere but has no key makes a chunk of the same length, and puts it under its own, right name, too.
    let names = |place: &str| {
        let all = files(&home.join(place)).into_iter().filter(|path| !path.ends_with(".bulbil-home"));
        all.map(|path| path.strip_prefix(&home).unwrap().to_owned()).collect::<Vec<_>>()
    };
    let good = |home: &Path| support::run(home, &["verify", "--data"]);
    let whole = world.path("whole");
    world.good(&["restore", "tales", "--target", whole.to_str().unwrap()]);
    for chunk in names("chunks") {
        copy(&home, &forged);
        let path = forged.join(&chunk);
        fs::write(&path, support::noise(7, fs::metadata(&path).unwrap().len() as usize)).unwrap();
        let found = good(&forged);
        assert_eq!(found.status.code(), Some(2), "{}", said(&found));
        assert!(said(&found).contains(&chunk.file_name().unwrap().to_str().unwrap()[..8]), "{}", said(&found));
        // Nothing of it is restored; a list of chunks is not needed for that.
        let out = world.path("forged-out");
        let restored = support::run(&forged, &["restore", "tales", "--target", out.to_str().unwrap()]);
        if restored.status.code() == Some(0) {
            assert_eq!(support::describe(&out), support::describe(&whole));
        }
        let _ = fs::remove_dir_all(&out);
    }
    // The manifest with another sidecar: one that another instance signed rightly.
    let other = world.path("other");
    support::init(&other, "beta");
    support::expect(0, &other, &["collection", "add", "tales", world.app().to_str().unwrap()]);
    support::expect(0, &other, &["backup"]);
    let foreign: Vec<PathBuf> =
        files(&other.join("manifests")).into_iter().filter(|path| !path.ends_with(".bulbil-home")).collect();
    let sidecar = |path: &&PathBuf| path.extension().is_some();
    let (theirs, their_sidecar) =
        (foreign.iter().find(|path| path.extension().is_none()).unwrap(), foreign.iter().find(sidecar).unwrap());
    let ours = names("manifests");
    let (manifest, beside) =
        (ours.iter().find(|path| path.extension().is_none()).unwrap(), ours.iter().find(sidecar).unwrap());
    for (with_manifest, with_sidecar) in [(true, true), (false, true), (true, false)] {
        copy(&home, &forged);
        if with_manifest {
            fs::copy(theirs, forged.join(manifest)).unwrap();
        }
        if with_sidecar {
            fs::copy(their_sidecar, forged.join(beside)).unwrap();
        }
        let found = good(&forged);
        assert_eq!(found.status.code(), Some(2), "{with_manifest} {with_sidecar}: {}", said(&found));
        assert!(said(&found).contains(&manifest.file_name().unwrap().to_str().unwrap()[..8]), "{}", said(&found));
    }
}

#[test]
fn a_sample_reads_a_share_and_a_few_runs_read_all_of_it() {
    let world = World::new();
    for n in 0..12 {
        super::write(&world.path(&format!("tree/{n}")), "");
        fs::write(world.path(&format!("tree/{n}")), support::noise(n, 2_000_000)).unwrap();
    }
    world.good(&["collection", "add", "tree", world.path("tree").to_str().unwrap()]);
    world.good(&["backup"]);
    let verified = |world: &World| world.json(0, &["snapshots"])[0]["verified_at"].clone();
    let mut left = u64::MAX;
    let mut runs = 0;
    while left > 0 {
        let report = world.json(0, &["verify", "--sample", "25%"]);
        let (all, read) = (report["chunks"].as_u64().unwrap(), report["chunks_read"].as_u64().unwrap());
        assert_eq!(read, all.div_ceil(4), "{report}");
        let never = report["never_read"].as_u64().unwrap();
        assert!(never < left, "{report}");
        assert_eq!(never, all.saturating_sub(read * (runs + 1)), "{report}");
        left = never;
        runs += 1;
        // A part of the bytes says nothing of the snapshot.
        assert_eq!(report["verified"].as_array().unwrap().len(), 0);
        assert!(verified(&world).is_null(), "{}", verified(&world));
    }
    assert_eq!(runs, 4);
    // Wherever the damage is, one of four runs finds it.
    let chunk = files(&world.home().join("chunks")).into_iter().max_by_key(|path| fs::metadata(path).unwrap().len());
    let chunk = chunk.unwrap();
    flip(&chunk, 1000);
    let found = (0..4).map(|_| world.run(&["verify", "--sample", "25%"])).find(|run| run.status.code() != Some(0));
    let found = said(&found.expect("it is found"));
    assert!(found.contains(&chunk.file_name().unwrap().to_str().unwrap()[..8]), "{found}");
    for bad in ["0%", "101%", "ten", "10"] {
        let refused = world.run(&["verify", "--sample", bad]);
        assert!(refused.status.code() == Some(1) && said(&refused).contains("no share"), "{}", said(&refused));
    }
    let all = world.json(2, &["verify", "--sample", "100%"]);
    assert_eq!(all["chunks_read"], all["chunks"]);
}

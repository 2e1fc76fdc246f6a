//! Portable backups: killed, hostile, for a peer, and beside the network.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bulbil::clock::Clock;
use bulbil::domain::id::{ChunkId, ManifestId};
use bulbil::domain::manifest::{Sidecar, SignedManifest};
use bulbil::domain::peer::{Rights, Role, Scope};
use bulbil::domain::segment::Segment;
use bulbil::monitor::{Problem, Tally};
use bulbil::portable::export::{ExportOptions, Exported, Recipient, export};
use bulbil::portable::fill_from;
use bulbil::portable::import::{ImportError, ImportOptions, Imported, import};
use bulbil::transport::memory::MemoryNet;
use serde_json::Value;

use crate::kill::{files, kill_when};
use crate::replicate::{Instance, never, small_source};
use crate::support::{expect, init, noise};

/// Asserts that every manifest in a portable backup leans on nothing that is not there, byte for byte; how many manifests there are.
pub fn whole(folder: &Path) -> usize {
    let chunk = |id: &ChunkId| {
        let name = id.to_string();
        let bytes = fs::read(folder.join("chunks").join(&name[..2]).join(&name));
        let bytes = bytes.unwrap_or_else(|error| panic!("chunk {name} is named and not there: {error}"));
        assert_eq!(ChunkId::of(&bytes), *id, "a chunk has other bytes than its name says");
        bytes
    };
    let mut number = 0;
    let Ok(collections) = fs::read_dir(folder.join("collections")) else { return 0 };
    for collection in collections.flatten() {
        let Ok(manifests) = fs::read_dir(collection.path().join("manifests")) else { continue };
        for file in manifests.flatten().map(|entry| entry.file_name().into_string().unwrap()) {
            let Some(id) = file.strip_suffix(".json").and_then(|id| id.parse::<ManifestId>().ok()) else { continue };
            let dir = collection.path().join("manifests");
            let sidecar = fs::read(dir.join(format!("{id}.sidecar.json"))).expect("the sidecar is there first");
            let sidecar: Sidecar = serde_json::from_slice(&sidecar).unwrap();
            let signed = SignedManifest::verify(id, fs::read(dir.join(&file)).unwrap(), sidecar.signature).unwrap();
            for summary in &signed.manifest.segments {
                for entry in Segment::parse(&chunk(&summary.id)).unwrap().entries {
                    assert_eq!(chunk(&entry.id).len(), entry.size_bytes as usize);
                }
            }
            number += 1;
        }
    }
    number
}

/// Whether a file is called like this, `?` standing for any character and a leading `*` for any beginning.
fn has(dir: &Path, pattern: &str) -> bool {
    let fits = |name: &str| match pattern.strip_prefix('*') {
        Some(end) => name.ends_with(end),
        None => name.len() == pattern.len() && name.chars().zip(pattern.chars()).all(|(a, b)| b == '?' || a == b),
    };
    fs::read_dir(dir).into_iter().flatten().flatten().any(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => entry.file_name() != "chunks" && has(&entry.path(), pattern),
        _ => fits(&entry.file_name().to_string_lossy()),
    })
}

#[test]
fn r8_killed_anywhere_in_an_export_nothing_is_named_that_is_not_there_and_the_next_one_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (home, source, usb) = (dir.path().join("home"), dir.path().join("source"), dir.path().join("usb"));
    fs::create_dir(&source).unwrap();
    init(&home, "alpha");
    expect(0, &home, &["collection", "add", "notes", source.to_str().unwrap()]);
    for round in 0..3 {
        for n in 0..40 {
            fs::write(source.join(format!("{n}")), noise(100 * round + n, 400_000)).unwrap();
        }
        expect(0, &home, &["backup", "-q"]);
    }
    let mut kills = 0;
    let mut last = 0;
    for after in [1, 3, 8, 14, 15, 18, 20, 23, 26, 29, 30, 31] {
        let args = ["export", "-q", "--output", usb.to_str().unwrap()];
        kills += usize::from(kill_when(&home, &args, || files(&usb) >= after.max(last + 1)));
        last = files(&usb);
        let folders: Vec<PathBuf> = fs::read_dir(&usb).into_iter().flatten().flatten().map(|e| e.path()).collect();
        assert!(folders.len() <= 1, "a killed export is gone on with: {folders:?}");
        for folder in &folders {
            whole(folder);
        }
    }
    assert!(kills >= 4, "only {kills} kills hit");
    // As soon as something has the name of a manifest, or a document names it, all of it is there.
    for (n, named) in
        ["*.sidecar.json", "????????????????????????????????????????????????????????????????.json", "metadata.json"]
            .into_iter()
            .cycle()
            .take(9)
            .enumerate()
    {
        let fresh = dir.path().join(format!("fresh-{n}"));
        kill_when(&home, &["export", "-q", "--output", fresh.to_str().unwrap()], || has(&fresh, named));
        fs::read_dir(&fresh).unwrap().flatten().for_each(|folder| assert!(whole(&folder.path()) <= 3));
    }
    expect(0, &home, &["export", "--output", usb.to_str().unwrap()]);
    let folder = fs::read_dir(&usb).unwrap().next().unwrap().unwrap().path();
    assert_eq!(whole(&folder), 3);
    let left = std::process::Command::new("find").arg(&usb).args(["-name", "*.part"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "", "what a kill left is written over");
    let again: Value =
        serde_json::from_str(&expect(0, &home, &["export", "--json", "--output", usb.to_str().unwrap()])).unwrap();
    assert_eq!((&again["result"]["new_chunks"], &again["result"]["snapshots"]), (&0.into(), &3.into()));
}

#[test]
fn r8_a_folder_that_a_killed_export_made_and_never_began_is_begun_by_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let (home, source, usb) = (dir.path().join("home"), dir.path().join("source"), dir.path().join("usb"));
    fs::create_dir(&source).unwrap();
    fs::write(source.join("a"), "a").unwrap();
    init(&home, "alpha");
    expect(0, &home, &["collection", "add", "notes", source.to_str().unwrap()]);
    expect(0, &home, &["backup", "-q"]);
    let args = ["export", "--json", "--output", usb.to_str().unwrap()];
    let (made, half) =
        (usb.join("backup_20260101T000000Z"), usb.join("backup_20260101T000000Z/backup_manifest.json.part"));
    for begun in [false, true] {
        fs::create_dir_all(&made).unwrap();
        if begun {
            fs::write(&half, "{").unwrap();
        }
        expect(0, &home, &args);
        assert_eq!((whole(&made), fs::read_dir(&usb).unwrap().count()), (1, 1), "half a document: {begun}");
        fs::remove_dir_all(&made).unwrap();
    }
    // Somebody's folder of that name, with something in it, is not ours to begin.
    fs::create_dir_all(&made).unwrap();
    fs::write(made.join("letter"), "to somebody").unwrap();
    expect(0, &home, &args);
    assert_eq!((whole(&made), fs::read_dir(&made).unwrap().count(), fs::read_dir(&usb).unwrap().count()), (0, 1, 2));
}

#[test]
fn what_rotted_in_a_folder_is_written_anew_where_it_is_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (home, source, usb) = (dir.path().join("home"), dir.path().join("source"), dir.path().join("usb"));
    fs::create_dir(&source).unwrap();
    fs::write(source.join("a"), noise(1, 100_000)).unwrap();
    init(&home, "alpha");
    expect(0, &home, &["collection", "add", "notes", source.to_str().unwrap()]);
    expect(0, &home, &["backup", "-q"]);
    let export = |more: &[&str]| -> Value {
        let args = [&["export", "--json", "--output", usb.to_str().unwrap()], more].concat();
        serde_json::from_str(&expect(0, &home, &args)).unwrap()
    };
    export(&[]);
    let chunk = find(&usb, "????????????????????????????????????????????????????????????????").remove(0);
    let good = fs::read(&chunk).unwrap();
    let mut bytes = good.clone();
    bytes[50_000] ^= 1;
    fs::write(&chunk, &bytes).unwrap();
    assert_eq!(export(&["--verify"])["result"]["new_chunks"], 1);
    assert_eq!(fs::read(&chunk).unwrap(), good);
    assert_eq!(export(&["--verify"])["result"]["new_chunks"], 0);
    // A receiver that has it all is no failure.
    let have = dir.path().join("alpha.have");
    expect(0, &home, &["have", "--output", have.to_str().unwrap()]);
    export(&["--since-have", have.to_str().unwrap()]);
    // Nor is anybody's letter written over.
    fs::write(&have, "dear").unwrap();
    expect(1, &home, &["have", "--output", have.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&have).unwrap(), "dear");
}

async fn export_all(from: &Instance, to: &Path) -> Exported {
    let tally = Arc::new(Tally::default());
    let exported = export(&from.store, to, &ExportOptions::default(), from.clock.now(), tally.clone(), &never()).await;
    assert_eq!(tally.problems(), []);
    exported.unwrap()
}

async fn import_all(into: &Instance, from: &Path) -> (Result<Imported, ImportError>, Vec<Problem>) {
    let tally = Arc::new(Tally::default());
    let imported = import(&into.store, from, &ImportOptions::default(), tally.clone(), &never()).await;
    (imported, tally.problems())
}

fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

/// Files of a kind in a portable backup, the largest first.
fn find(folder: &Path, suffix: &str) -> Vec<PathBuf> {
    let found = std::process::Command::new("find").arg(folder).args(["-type", "f", "-name", suffix]).output().unwrap();
    let mut all: Vec<PathBuf> = String::from_utf8(found.stdout).unwrap().lines().map(PathBuf::from).collect();
    all.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).unwrap().len()));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn r13_of_a_hostile_folder_comes_what_is_right_and_nothing_else() {
    let net = MemoryNet::new();
    let (a, id) = small_source(&net).await;
    let dir = tempfile::tempdir().unwrap();
    let good = export_all(&a, &dir.path().join("good")).await.folder;
    let secret = dir.path().join("secret");
    fs::write(&secret, "nobody is to read this").unwrap();
    let chunk = find(&good.join("chunks"), "*")[0].strip_prefix(&good).unwrap().to_owned();
    let list = find(&good.join("chunks"), "*").pop().unwrap().strip_prefix(&good).unwrap().to_owned();
    let manifest = find(&good, &format!("{id}.json"))[0].strip_prefix(&good).unwrap().to_owned();
    let sidecar = find(&good, "*.sidecar.json")[0].strip_prefix(&good).unwrap().to_owned();
    let metadata = find(&good, "metadata.json")[0].strip_prefix(&good).unwrap().to_owned();
    let edit = |path: &Path, edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = fs::read(path).unwrap();
        edit(&mut bytes);
        fs::write(path, bytes).unwrap();
    };
    let flip = |path: &Path| {
        edit(path, &|bytes| {
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
        })
    };
    let replace = |path: &Path, with: &dyn Fn(&Path)| {
        fs::remove_file(path).unwrap();
        with(path);
    };
    // What is done to it, and whether the snapshot is known afterwards, whether it is whole.
    type Harm<'a> = (&'a str, Box<dyn Fn(&Path) + 'a>, bool, bool);
    let harms: Vec<Harm> = vec![
        ("a chunk was changed", Box::new(|f| flip(&f.join(&chunk))), true, false),
        ("a chunk was cut", Box::new(|f| edit(&f.join(&chunk), &|b| b.truncate(10))), true, false),
        (
            "a chunk is a terabyte",
            Box::new(|f| fs::File::options().write(true).open(f.join(&chunk)).unwrap().set_len(1 << 40).unwrap()),
            true,
            false,
        ),
        (
            "a chunk is a link",
            Box::new(|f| replace(&f.join(&chunk), &|p| symlink(good.join(&chunk), p).unwrap())),
            true,
            false,
        ),
        (
            "a chunk never ends",
            Box::new(|f| replace(&f.join(&chunk), &|p| symlink("/dev/zero", p).unwrap())),
            true,
            false,
        ),
        (
            "a chunk is a pipe",
            Box::new(|f| {
                replace(&f.join(&chunk), &|p| {
                    assert!(std::process::Command::new("mkfifo").arg(p).status().unwrap().success())
                })
            }),
            true,
            false,
        ),
        ("a chunk is a folder", Box::new(|f| replace(&f.join(&chunk), &|p| fs::create_dir(p).unwrap())), true, false),
        ("a chunk is gone", Box::new(|f| replace(&f.join(&chunk), &|_| ())), true, false),
        (
            "all chunks are elsewhere",
            Box::new(|f| {
                fs::rename(f.join("chunks"), f.join("moved")).unwrap();
                symlink(f.join("moved"), f.join("chunks")).unwrap()
            }),
            false,
            false,
        ),
        (
            "the list is another one",
            Box::new(|f| edit(&f.join(&list), &|b| *b = Segment::new(vec![]).encode())),
            true,
            false,
        ),
        ("the list is gone", Box::new(|f| replace(&f.join(&list), &|_| ())), true, false),
        ("the manifest was changed", Box::new(|f| flip(&f.join(&manifest))), false, false),
        ("the manifest is gone", Box::new(|f| replace(&f.join(&manifest), &|_| ())), false, false),
        (
            "the manifest is a link",
            Box::new(|f| replace(&f.join(&manifest), &|p| symlink(&secret, p).unwrap())),
            false,
            false,
        ),
        ("the sidecar is none", Box::new(|f| fs::write(f.join(&sidecar), "{}").unwrap()), false, false),
        ("the metadata is none", Box::new(|f| fs::write(f.join(&metadata), "[").unwrap()), true, true),
        (
            "the metadata leads elsewhere",
            Box::new(|f| {
                edit(&f.join(&metadata), &|b| {
                    let mut document: Value = serde_json::from_slice(b).unwrap();
                    document["collection"] = "00000000000000000000000000000000".into();
                    *b = serde_json::to_vec(&document).unwrap();
                })
            }),
            false,
            false,
        ),
        (
            "the first document is none",
            Box::new(|f| fs::write(f.join("backup_manifest.json"), "").unwrap()),
            true,
            true,
        ),
        (
            "the first document leads out",
            Box::new(|f| {
                edit(&f.join("backup_manifest.json"), &|b| {
                    let mut document: Value = serde_json::from_slice(b).unwrap();
                    document["collections"][0]["folder"] = "../../../etc".into();
                    *b = serde_json::to_vec(&document).unwrap();
                })
            }),
            true,
            true,
        ),
    ];
    let dir_b = dir.path().join("b");
    for (n, (name, harm, known, complete)) in harms.iter().enumerate() {
        let b = Instance::new(&net, "beta", 10 + n as u16).await;
        fs::remove_dir_all(&dir_b).ok();
        copy(&good, &dir_b);
        harm(&dir_b);
        let (result, problems) = import_all(&b, &dir_b).await;
        // A folder whose own folders are links is refused as a whole.
        assert!(!problems.is_empty() || result.is_err(), "{name}: nothing was said");
        let snapshot = b.store.index.snapshot(&id).await.unwrap();
        assert_eq!(
            (snapshot.is_some(), snapshot.is_some_and(|s| s.complete)),
            (*known, *complete),
            "{name}: {problems:?}"
        );
        assert_eq!(b.store.manifests.list().unwrap().len(), usize::from(*known), "{name}: a file is left");
        // Every chunk that came is what its name says (the counting store looks); with the whole folder it becomes whole.
        let (result, problems) = import_all(&b, &good).await;
        assert_eq!((result.unwrap().incomplete, problems), (0, vec![]), "{name}");
        assert!(b.store.index.snapshot(&id).await.unwrap().unwrap().complete, "{name}");
        b.nothing_twice();
        b.ended().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_folder_and_a_peer_nothing_is_fetched_twice_and_one_goes_on_where_the_other_stopped() {
    let net = MemoryNet::new();
    let (a, first) = small_source(&net).await;
    let dir = tempfile::tempdir().unwrap();
    let carried = export_all(&a, dir.path()).await;
    let notes = a.store.index.collections().await.unwrap().remove(0);
    a.put("notes/later", 77, 1_400_000);
    let second = a.backup(&notes).await;
    let b = Instance::new(&net, "beta", 2).await;
    let peer = a.let_in(&b, Role::Reader, false).await;
    // As 'clone --backup-dir' does it.
    b.puller.read_feed(&peer, Duration::ZERO, &never()).await.unwrap();
    let tally = Arc::new(Tally::default());
    let filled = fill_from(&b.store, dir.path(), tally.clone(), &never()).await.unwrap();
    assert_eq!((filled.chunks + filled.lists, tally.problems()), (carried.new_chunks, vec![]));
    b.sync(&peer).await.unwrap();
    let quote = b.puller.quote(None).await.unwrap();
    let fetched = b.puller.fetch(None, std::slice::from_ref(&peer), &never()).await.unwrap();
    assert_eq!((fetched.chunks, fetched.still_missing), (quote.chunks, 0));
    assert!(fetched.bytes < 2_000_000, "{fetched:?}");
    let all = export_all(&a, dir.path()).await;
    assert_eq!(filled.chunks + fetched.chunks + filled.lists + 1, all.chunks);
    b.nothing_twice();
    b.restores(&second, &a.dir.path().join("notes")).await;

    // The other way round: what the network began the folder completes. The peer is not asked for anything.
    let c = Instance::new(&net, "gamma", 3).await;
    let peer = a.let_in(&c, Role::Reader, false).await;
    c.sync(&peer).await.unwrap();
    let before = c.puller.caller().client().counts().requests;
    let (imported, problems) = import_all(&c, dir.path()).await;
    assert_eq!((imported.unwrap().incomplete, problems), (0, vec![]));
    assert_eq!(c.puller.caller().client().counts().requests, before);
    c.nothing_twice();
    c.restores(&second, &a.dir.path().join("notes")).await;
    assert!(c.store.index.snapshot(&first).await.unwrap().unwrap().complete);
    b.rebuilds_alike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r12_for_a_peer_goes_what_it_may_see_and_a_mirror_gets_no_key() {
    let net = MemoryNet::new();
    let (a, notes) = small_source(&net).await;
    let wiki = a.collection("wiki").await;
    a.put("wiki/page", 9, 10_000);
    a.backup(&wiki).await;
    let b = Instance::with_key(&net, "beta", 2, 1).await;
    a.let_in(&b, Role::Reader, false).await;
    let known = a.store.index.peers().await.unwrap().remove(0);
    let only = a.store.index.collection_named("notes").await.unwrap().unwrap().id;
    let key = known.identity.verify(Some(&known.id)).unwrap().envelope_key;
    let rights = |role| Rights {
        scope: Scope::Only([only].into()),
        role,
        onward: false,
        from: None,
        limits: Default::default(),
    };
    let dir = tempfile::tempdir().unwrap();
    for (role, keys) in [(Role::Mirror, 0), (Role::Reader, 1)] {
        let recipient = Recipient { name: "beta".into(), key: key.clone(), rights: rights(role) };
        let options = ExportOptions { recipient: Some(recipient), ..ExportOptions::default() };
        let tally = Arc::new(Tally::default());
        let exported = export(&a.store, dir.path(), &options, a.clock.now(), tally.clone(), &never()).await.unwrap();
        assert_eq!((exported.snapshots, tally.problems()), (1, vec![]));
        let (imported, problems) = import_all(&b, dir.path()).await;
        assert_eq!((imported.unwrap().keys, problems), (keys, vec![]), "{role:?}");
    }
    b.restores(&notes, &a.dir.path().join("notes")).await;
    // Asked for by name, it is said.
    let recipient = Recipient { name: "beta".into(), key, rights: rights(Role::Reader) };
    let options = ExportOptions { collections: vec![wiki.id], recipient: Some(recipient), ..ExportOptions::default() };
    let tally = Arc::new(Tally::default());
    assert!(export(&a.store, dir.path(), &options, a.clock.now(), tally.clone(), &never()).await.is_err());
    assert!(tally.problems()[0].message.contains("peer beta may not have it"), "{:?}", tally.problems());
}

#[test]
fn r8_killed_anywhere_in_an_import_what_the_index_names_is_there_and_the_next_one_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    let (a, b, source, usb, key) = (place("a"), place("b"), place("source"), place("usb"), place("key"));
    fs::create_dir(&source).unwrap();
    fs::write(&key, init(&a, "alpha")).unwrap();
    expect(0, &a, &["collection", "add", "notes", source.to_str().unwrap()]);
    for round in 0..2 {
        for n in 0..60 {
            fs::write(source.join(format!("{n}")), noise(100 * round + n, 400_000)).unwrap();
        }
        expect(0, &a, &["backup", "-q"]);
    }
    expect(0, &a, &["export", "-q", "--output", usb.to_str().unwrap()]);
    init(&b, "beta");
    let args = ["import", "-q", usb.to_str().unwrap(), "--rekey", "--recovery-key-file", key.to_str().unwrap()];
    let (mut kills, mut last) = (0, 0);
    for after in [0, 1, 2, 4, 9, 14, 18, 22] {
        kills += usize::from(kill_when(&b, &args, || files(&b.join("chunks")) >= after.max(last + 1)));
        last = files(&b.join("chunks"));
        // What is missing is no fault; what is said to be here has to be.
        expect(0, &b, &["verify", "--data"]);
    }
    assert!(kills >= 3, "only {kills} kills hit");
    expect(0, &b, &args);
    expect(0, &b, &["verify", "--data"]);
    expect(0, &b, &["restore", "notes", "--target", dir.path().join("out").to_str().unwrap()]);
    crate::support::assert_same_tree(&source, &dir.path().join("out"));
}

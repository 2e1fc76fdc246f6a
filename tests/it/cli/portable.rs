//! Portable backups as they are typed.

use super::*;

/// The recovery key of a new home.
fn init(home: &Path, name: &str) -> String {
    json(home, &["init", "--name", name])["recovery_key"].as_str().unwrap().to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Every file below a folder.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() { all.extend(files(&entry.path())) } else { all.push(entry.path()) }
    }
    all
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn what_is_exported_is_imported_into_a_fresh_home_and_restored_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    let (a, b, data, usb, key) = (place("a"), place("b"), place("data"), place("usb"), place("key.txt"));
    crate::support::everything(&data);
    fs::write(&key, init(&a, "alpha")).unwrap();
    good(&a, &["collection", "add", "notes", text(&data)]);
    // Backup and export in one.
    good(&a, &["backup", "--output", text(&usb)]);
    let first = json(&a, &["export", "--output", text(&usb)]);
    assert_eq!(
        (&first["new_chunks"], &first["new_snapshots"], &first["continued"]),
        (&0.into(), &0.into(), &true.into())
    );
    let folder = PathBuf::from(first["folder"].as_str().unwrap());
    assert!(folder.file_name().unwrap().to_str().unwrap().starts_with("backup_2"));

    // It can be looked at: with jq and sha256sum; and shows no names of files.
    let manifest = read_json(&folder.join("backup_manifest.json"));
    assert_eq!(
        (&manifest["format"], &manifest["collections"][0]["name"]),
        (&"bulbil-portable/1".into(), &"notes".into())
    );
    let inner = folder.join("collections").join(manifest["collections"][0]["folder"].as_str().unwrap());
    let metadata = read_json(&inner.join("metadata.json"));
    let id = metadata["snapshots"][0]["id"].as_str().unwrap();
    assert_eq!(metadata["snapshots"][0]["sequence"], 1);
    let all = files(&folder);
    let chunks: Vec<&PathBuf> = all.iter().filter(|path| path.starts_with(folder.join("chunks"))).collect();
    assert_eq!(manifest["chunks"], chunks.len());
    for path in &chunks {
        let bytes = fs::read(path).unwrap();
        assert_eq!(path.file_name().unwrap().to_str().unwrap(), bulbil::domain::id::ChunkId::of(&bytes).to_string());
    }
    for path in &all {
        let bytes = fs::read(path).unwrap();
        for secret in ["text.txt", "BULBIL-VAULT", text(&data)] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret} in {path:?}");
        }
    }
    // The manifest is the one of the home, byte for byte.
    let sealed = fs::read(inner.join("manifests").join(format!("{id}.json"))).unwrap();
    assert_eq!(sealed, fs::read(a.join("manifests").join(id)).unwrap());

    // Nobody reads it without a key; with the recovery key everything is there.
    init(&b, "beta");
    let imported = json(&b, &["import", text(&usb)]);
    assert_eq!(
        (&imported["new_snapshots"], &imported["without_key"], &imported["keys"]),
        (&1.into(), &1.into(), &0.into())
    );
    let imported = json(&b, &["import", text(&usb), "--rekey", "--recovery-key-file", text(&key)]);
    assert_eq!((&imported["new_snapshots"], &imported["keys"], &imported["chunks"]), (&0.into(), &1.into(), &0.into()));
    good(&b, &["verify", "--data"]);
    good(&b, &["restore", "notes", "--target", text(&place("out"))]);
    crate::support::assert_same_tree(&data, &place("out"));

    // A second export adds only what is new, and so does a second import.
    fs::write(data.join("new.bin"), crate::support::noise(7, 500_000)).unwrap();
    good(&a, &["backup"]);
    let second = json(&a, &["export", "--output", text(&usb), "notes"]);
    assert_eq!((&second["folder"], &second["new_snapshots"]), (&first["folder"], &1.into()));
    let (new, there) = (second["new_chunks"].as_u64().unwrap(), second["chunks"].as_u64().unwrap());
    assert_eq!(there, chunks.len() as u64 + new);
    assert!((500_000..700_000).contains(&second["new_bytes"].as_u64().unwrap()), "{second}");
    let imported = json(&b, &["import", text(&folder), "notes", "--rekey", "--recovery-key-file", text(&key)]);
    // The list of chunks is counted apart.
    assert_eq!(
        (&imported["new_snapshots"], imported["chunks"].as_u64()),
        (&1.into(), Some(new - imported["lists"].as_u64().unwrap()))
    );
    good(&b, &["restore", "notes", "--target", text(&place("out")), "--delete"]);
    crate::support::assert_same_tree(&data, &place("out"));
    assert!(json(&b, &["import", text(&usb)])["known_snapshots"] == 2);

    // Another folder where it is asked for.
    let other = json(&a, &["export", "--output", text(&usb), "--new", "--snapshot", "notes@2"]);
    assert!(other["folder"] != first["folder"] && other["snapshots"] == 1);
    fails(&b, &["import", text(&data)], &["is no portable backup"]);
    fails(&b, &["import", text(&usb), "wiki"], &["there is no collection \"wiki\"", "notes"]);
    fails(&b, &["export", "--output", text(&folder)], &["begun by another instance"]);
}

#[test]
fn a_delta_has_only_what_the_receiver_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    let (a, b, data, usb, key) = (place("a"), place("b"), place("data"), place("usb"), place("key.txt"));
    let (have, delta) = (place("b.have"), place("delta"));
    fs::create_dir(&data).unwrap();
    fs::write(data.join("old"), crate::support::noise(1, 2_000_000)).unwrap();
    fs::write(&key, init(&a, "alpha")).unwrap();
    good(&a, &["collection", "add", "notes", text(&data)]);
    good(&a, &["backup", "--output", text(&usb)]);
    init(&b, "beta");
    good(&b, &["import", text(&usb), "--rekey", "--recovery-key-file", text(&key)]);
    good(&b, &["have", "--output", text(&have)]);

    fs::write(data.join("new"), crate::support::noise(2, 300_000)).unwrap();
    good(&a, &["backup"]);
    let exported = json(&a, &["export", "--output", text(&delta), "--since-have", text(&have)]);
    assert_eq!(exported["snapshots"], 1);
    assert!(exported["chunk_bytes"].as_u64().unwrap() < 400_000, "{exported}");
    // The snapshot is read with what is there already.
    good(&b, &["import", text(&delta), "--rekey", "--recovery-key-file", text(&key)]);
    good(&b, &["verify", "--data"]);
    good(&b, &["restore", "notes", "--target", text(&place("out"))]);
    assert_eq!(tree(&place("out")), tree(&data));

    // Alone it is not everything, which is said; a whole one completes it.
    let c = place("c");
    init(&c, "gamma");
    let output = run(&c, &["import", text(&delta), "--rekey", "--recovery-key-file", text(&key)]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("notes@2: it is not whole"), "{}", stderr(&output));
    good(&c, &["import", text(&usb), "--rekey", "--recovery-key-file", text(&key)]);
    good(&c, &["restore", "notes@2", "--target", text(&place("out-c"))]);
    assert_eq!(tree(&place("out-c")), tree(&data));
    fails(&a, &["export", "--output", text(&delta), "--since-have", text(&key)], &["no whole have-file"]);
}

#[test]
fn a_clone_takes_chunks_from_a_folder_and_the_rest_over_the_network() {
    let place = Place::with_snapshot();
    let (a, b, usb) = (place.home(), place.path("b"), place.path("usb"));
    good(&a, &["export", "--output", text(&usb)]);
    fs::write(place.data().join("later.md"), "written after the export\n").unwrap();
    good(&a, &["backup"]);
    let served = Served::start(&a);
    let line = good(&a, &["invite", "--collections", "notes"]).trim().to_owned();
    let cloned = json(&b, &["clone", &line, "--name", "beta", "--backup-dir", text(&usb), "--yes"]);
    let (carried, fetched) = (&cloned["backup_dir"]["chunks"], &cloned["fetched"]["chunks"]);
    assert!(carried.as_u64().unwrap() > 0 && fetched.as_u64().unwrap() > 0, "{cloned}");
    assert_eq!(cloned["fetched"]["still_missing"], 0);
    assert_eq!(cloned["synced"]["new_snapshots"].as_array().unwrap().len(), 2);
    let whole = json(&a, &["export", "--output", text(&place.path("all"))]);
    let lists = 2;
    assert_eq!(carried.as_u64().unwrap() + fetched.as_u64().unwrap() + lists, whole["chunks"].as_u64().unwrap());
    good(&b, &["restore", "notes", "--target", text(&place.path("out"))]);
    assert_eq!(tree(&place.path("out")), tree(&place.data()));
    drop(served);
}

#[test]
fn a_portable_backup_of_every_version_is_read() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/portable");
    let versions: Vec<_> = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(versions, ["1"]);
    let (dir, golden) = (tempfile::tempdir().unwrap(), data.join("1"));
    let (home, out) = (dir.path().join("home"), dir.path().join("out"));
    init(&home, "reader");
    let key = golden.join("recovery-key.txt");
    let imported = json(&home, &["import", text(&golden), "--rekey", "--recovery-key-file", text(&key)]);
    assert_eq!(
        (&imported["new_snapshots"], &imported["keys"], &imported["incomplete"]),
        (&2.into(), &2.into(), &0.into())
    );
    good(&home, &["restore", "notes", "--target", text(&out)]);
    assert_eq!(tree(&out), tree(&golden.join("content")));
    // With the have-file of the instance that holds it all, nothing is left to export.
    let (none, have) = (dir.path().join("none"), golden.join("have.bin"));
    let args = ["export", "--output", text(&none), "--since-have", text(&have)];
    assert!(good(&home, &args).contains("nothing new"));
    assert!(!none.exists());
}

#[test]
fn what_the_disk_has_lost_comes_back_from_a_folder() {
    let place = Place::with_snapshot();
    let (home, usb) = (place.home(), place.path("usb"));
    fs::write(place.data().join("three.md"), "the third note\n").unwrap();
    good(&home, &["backup"]);
    good(&home, &["export", "--output", text(&usb)]);
    let begins = |path: &PathBuf, with: &[u8]| fs::read(path).unwrap().starts_with(with);
    let stored = files(&home.join("chunks"));
    let chunks: Vec<&PathBuf> = stored.iter().filter(|path| begins(path, b"BLBC")).collect();
    let lists: Vec<&PathBuf> = stored.iter().filter(|path| begins(path, b"BLBS")).collect();
    assert!(chunks.len() >= 2, "{chunks:?}");
    for lost in [[chunks[0], chunks[1]], [lists[0], chunks[0]]] {
        fs::remove_file(lost[0]).unwrap();
        fs::write(lost[1], b"rot").unwrap();
        // Behind a lost list nothing is looked at; then it takes a second look.
        for _ in 0..2 {
            run(&home, &["verify", "--data"]);
            good(&home, &["import", text(&usb)]);
        }
        good(&home, &["verify", "--data"]);
    }
    good(&home, &["restore", "notes", "--target", text(&place.path("out"))]);
    assert_eq!(tree(&place.path("out")), tree(&place.data()));
    // What is damaged here is not exported: the snapshot is left out, and it is said.
    fs::write(chunks[0], b"rot").unwrap();
    let output = run(&home, &["export", "--new", "--output", text(&usb)]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("left out: chunk"), "{}", stderr(&output));
}

//! From a folder into a snapshot and back.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bulbil::backup::create::{Created, create};
use bulbil::backup::open::OpenSnapshot;
use bulbil::backup::restore::{Overwrite, RestoreOptions, RestoreStats, restore};
use bulbil::backup::verify::{VerifyOptions, verify};
use bulbil::clock::SystemClock;
use bulbil::domain::metadata::path::TreePath;
use bulbil::monitor::Tally;
use bulbil::store::Store;
use bulbil::store::index::Collection;
use tokio_util::sync::CancellationToken;

use crate::support::{assert_same_tree, collection, everything, expect, home, init, noise};

const ALL: RestoreOptions =
    RestoreOptions { paths: Vec::new(), overwrite: Overwrite::IfChanged, delete: false, dry_run: false };

async fn backup(store: &Store, collection: &Collection) -> Created {
    let tally = Arc::new(Tally::default());
    let created = create(store, collection, &SystemClock, tally.clone(), &CancellationToken::new()).await.unwrap();
    assert_eq!(tally.problems(), []);
    created
}

fn restore_into(store: &Store, created: &Created, target: &Path, options: &RestoreOptions) -> RestoreStats {
    let open = OpenSnapshot::open(store, &created.id).unwrap();
    let tally = Tally::default();
    let stats = restore(&store.chunks, &open, target, options, &tally, &CancellationToken::new()).unwrap();
    assert_eq!(tally.problems(), []);
    stats
}

async fn verified(store: &Store) {
    let tally = Arc::new(Tally::default());
    let options = VerifyOptions { data: true, ..VerifyOptions::default() };
    let report = verify(store, &options, tally.clone(), &CancellationToken::new()).await.unwrap();
    assert_eq!(tally.problems(), []);
    assert_eq!((report.missing.len(), report.damaged.len()), (0, 0));
    assert_eq!(report.read, report.snapshots);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    everything(&source);
    let store = home(&dir.path().join("home"), "alpha").await;
    let notes = collection(&store, "notes", &[&source]).await;
    let first = backup(&store, &notes).await;
    restore_into(&store, &first, &dir.path().join("out"), &ALL);
    assert_same_tree(&source, &dir.path().join("out"));
    verified(&store).await;
    // Sparse files stay sparse.
    use std::os::unix::fs::MetadataExt;
    let sparse = fs::metadata(dir.path().join("out/sparse")).unwrap();
    assert!(sparse.blocks() * 512 < 2 << 20, "{} bytes on disk", sparse.blocks() * 512);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_change_is_not_read_again_and_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    everything(&source);
    let store = home(&dir.path().join("home"), "alpha").await;
    let notes = collection(&store, "notes", &[&source]).await;
    // Files that changed in the very tick of a backup are read once more: the first backup only waits that tick out.
    let first = backup(&store, &notes).await;
    let second = backup(&store, &notes).await;
    let third = backup(&store, &notes).await;
    assert_eq!((third.statistics.files_read, third.statistics.bytes_read, third.statistics.new_chunks), (0, 0, 0));
    assert_eq!(second.statistics.files, first.statistics.files);

    fs::write(source.join("a/text.txt"), "changed").unwrap();
    fs::remove_file(source.join("a-b")).unwrap();
    fs::write(source.join("a/b/c/zzz"), "new").unwrap();
    let fourth = backup(&store, &notes).await;
    assert_eq!(fourth.statistics.files_read, 2);
    assert!(fourth.statistics.new_bytes < 60_000, "{} bytes for two small files", fourth.statistics.new_bytes);
    restore_into(&store, &fourth, &dir.path().join("out"), &ALL);
    assert_same_tree(&source, &dir.path().join("out"));
    verified(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_with_an_edit_costs_the_edit() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    let mut content = noise(7, 30 << 20);
    fs::write(source.join("big"), &content).unwrap();
    let store = home(&dir.path().join("home"), "alpha").await;
    let notes = collection(&store, "notes", &[&source]).await;
    backup(&store, &notes).await;
    content.splice(9_000_000..9_000_100, noise(8, 777));
    fs::write(source.join("big"), &content).unwrap();
    let second = backup(&store, &notes).await;
    assert!(second.statistics.new_bytes < 600_000, "{}", second.statistics.new_bytes);
    restore_into(&store, &second, &dir.path().join("out"), &ALL);
    assert_eq!(blake3::hash(&fs::read(dir.path().join("out/big")).unwrap()), blake3::hash(&content));
    verified(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_roots_get_a_folder_each_and_a_part_can_be_restored() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    everything(&one);
    fs::create_dir_all(two.join("x/y")).unwrap();
    fs::write(two.join("x/y/z"), "z").unwrap();
    let store = home(&dir.path().join("home"), "alpha").await;
    let both = collection(&store, "both", &[&two, &one]).await;
    let created = backup(&store, &both).await;
    restore_into(&store, &created, &dir.path().join("out"), &ALL);
    assert_same_tree(&one, &dir.path().join("out/one"));
    assert_same_tree(&two, &dir.path().join("out/two"));

    let part = RestoreOptions { paths: vec![TreePath::new(b"one/linked.txt".to_vec()).unwrap()], ..ALL };
    let stats = restore_into(&store, &created, &dir.path().join("part"), &part);
    assert_eq!(stats.files, 1, "a hard link to a file outside the selection becomes that file");
    assert_eq!(fs::read(dir.path().join("part/one/linked.txt")).unwrap(), fs::read(one.join("linked.txt")).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn into_an_existing_folder_as_the_options_say() {
    let dir = tempfile::tempdir().unwrap();
    let (source, out) = (dir.path().join("source"), dir.path().join("out"));
    everything(&source);
    let store = home(&dir.path().join("home"), "alpha").await;
    let notes = collection(&store, "notes", &[&source]).await;
    let created = backup(&store, &notes).await;
    restore_into(&store, &created, &out, &ALL);
    fs::write(out.join("a/text.txt"), "mine").unwrap();
    fs::write(out.join("stranger"), "who?").unwrap();
    fs::remove_file(out.join("a-b")).unwrap();

    restore_into(&store, &created, &out, &RestoreOptions { overwrite: Overwrite::Never, ..ALL });
    assert_eq!(fs::read(out.join("a/text.txt")).unwrap(), b"mine");
    assert!(out.join("a-b").exists());

    let dry = RestoreOptions { dry_run: true, delete: true, ..ALL };
    let stats = restore_into(&store, &created, &out, &dry);
    assert_eq!(stats.deleted, 1);
    assert!(out.join("stranger").exists());

    restore_into(&store, &created, &out, &RestoreOptions { overwrite: Overwrite::Always, delete: true, ..ALL });
    assert_same_tree(&source, &out);
}

#[tokio::test(flavor = "multi_thread")]
async fn r14_a_flipped_bit_is_found_put_aside_and_never_restored() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    everything(&source);
    let store = home(&dir.path().join("home"), "alpha").await;
    let notes = collection(&store, "notes", &[&source]).await;
    let created = backup(&store, &notes).await;
    let victim = largest_chunk(&dir.path().join("home/chunks"));
    let mut bytes = fs::read(&victim).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&victim, bytes).unwrap();

    let open = OpenSnapshot::open(&store, &created.id).unwrap();
    let tally = Tally::default();
    restore(&store.chunks, &open, &dir.path().join("out"), &ALL, &tally, &CancellationToken::new()).unwrap();
    assert!(!tally.problems().is_empty());
    assert!(!dir.path().join("out/a/b/noise.bin").exists(), "a damaged file must not get its name");
    assert_eq!(fs::read(dir.path().join("out/a-b")).unwrap(), b"sorts after a/b");

    let tally = Arc::new(Tally::default());
    let options = VerifyOptions { data: true, ..VerifyOptions::default() };
    let report = verify(&store, &options, tally.clone(), &CancellationToken::new()).await.unwrap();
    assert_eq!((report.damaged.len(), report.affected.as_slice()), (1, [created.id].as_slice()));
    assert!(!victim.exists() && dir.path().join("home/quarantine").join(victim.file_name().unwrap()).exists());
    // The next backup does not lean on what is gone.
    let again = backup(&store, &notes).await;
    restore_into(&store, &again, &dir.path().join("again"), &ALL);
    assert_same_tree(&source, &dir.path().join("again"));
}

#[tokio::test(flavor = "multi_thread")]
async fn r7_the_index_can_be_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (source, at) = (dir.path().join("source"), dir.path().join("home"));
    everything(&source);
    let store = home(&at, "alpha").await;
    let notes = collection(&store, "notes", &[&source]).await;
    backup(&store, &notes).await;
    fs::write(source.join("a/new"), noise(3, 100_000)).unwrap();
    let second = backup(&store, &notes).await;
    let before = store.index.dump().await.unwrap();
    store.index.close().await;
    drop(store);
    for name in ["index.db", "index.db-wal", "index.db-shm"] {
        let _ = fs::remove_file(at.join(name));
    }
    let (store, report) = Store::rebuild(&at, None).await.unwrap();
    assert_eq!(report.problems, [] as [String; 0]);
    assert_eq!(store.index.dump().await.unwrap(), before);
    restore_into(&store, &second, &dir.path().join("out"), &ALL);
    assert_same_tree(&source, &dir.path().join("out"));
    let notes = store.index.collection_named("notes").await.unwrap().unwrap();
    fs::write(source.join("a/newer"), "x").unwrap();
    let third = backup(&store, &notes).await;
    assert_eq!(third.sequence, 3);
    assert!(third.statistics.new_bytes < 60_000, "what is stored is known again: {}", third.statistics.new_bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_backup_leaves_a_partial_snapshot_and_the_next_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    for n in 0..200 {
        fs::write(source.join(format!("{n:03}")), noise(n, 200_000)).unwrap();
    }
    let store = home(&dir.path().join("home"), "alpha").await;
    let notes = collection(&store, "notes", &[&source]).await;
    let cancel = CancellationToken::new();
    let monitor = Arc::new(CancelAt { bytes: 10_000_000, seen: Default::default(), cancel: cancel.clone() });
    let first = create(&store, &notes, &SystemClock, monitor, &cancel).await.unwrap();
    assert!(first.partial && first.statistics.files > 0 && first.statistics.files < 200);
    verified(&store).await;
    let second = backup(&store, &notes).await;
    assert!(!second.partial);
    assert!(second.statistics.new_bytes < 35_000_000, "{}", second.statistics.new_bytes);
    let left = store.index.snapshots(None).await.unwrap();
    assert_eq!(left.iter().map(|s| s.partial).collect::<Vec<_>>(), [false], "the partial one is replaced");
    restore_into(&store, &second, &dir.path().join("out"), &ALL);
    assert_same_tree(&source, &dir.path().join("out"));
    verified(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_stopped_reads_no_large_file_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    let large = fs::File::create(source.join("large")).unwrap();
    (0..64).for_each(|n| std::io::Write::write_all(&mut &large, &noise(n, 1 << 20)).unwrap());
    let store = home(&dir.path().join("home"), "alpha").await;
    let notes = collection(&store, "notes", &[&source]).await;
    let cancel = CancellationToken::new();
    let monitor = Arc::new(CancelAt { bytes: 2 << 20, seen: Default::default(), cancel: cancel.clone() });
    let stopped = create(&store, &notes, &SystemClock, monitor.clone(), &cancel).await;
    let seen = monitor.seen.load(std::sync::atomic::Ordering::Relaxed);
    assert!(seen < 40 << 20, "{seen} bytes were read");
    assert!(stopped.map_or(true, |made| made.partial), "what lacks a file is not whole");
    let whole = backup(&store, &notes).await;
    restore_into(&store, &whole, &dir.path().join("out"), &ALL);
    assert_same_tree(&source, &dir.path().join("out"));
}

/// Cancels when so many bytes were read.
struct CancelAt {
    bytes: u64,
    seen: std::sync::atomic::AtomicU64,
    cancel: CancellationToken,
}

impl bulbil::monitor::Monitor for CancelAt {
    fn task(&self, _name: &str, _counter: bulbil::monitor::Counter, _total: Option<u64>) {}
    fn take_back(&self, _counter: bulbil::monitor::Counter, _n: u64) {}
    fn notice(&self, _text: &str) {}
    fn problem(&self, _problem: bulbil::monitor::Problem) {}
    fn add(&self, counter: bulbil::monitor::Counter, n: u64) {
        use std::sync::atomic::Ordering;
        if counter == bulbil::monitor::Counter::BytesDone && self.seen.fetch_add(n, Ordering::Relaxed) + n >= self.bytes
        {
            self.cancel.cancel();
        }
    }
}

#[test]
fn the_recovery_key_alone_brings_everything_back_from_what_a_dead_disk_held() {
    let dir = tempfile::tempdir().unwrap();
    let (at, source) = (dir.path().join("home"), dir.path().join("source"));
    everything(&source);
    let key = init(&at, "alpha");
    expect(0, &at, &["collection", "add", "notes", source.to_str().unwrap()]);
    expect(0, &at, &["backup"]);
    // Only these two folders are left.
    let left = dir.path().join("left");
    fs::create_dir(&left).unwrap();
    fs::rename(at.join("chunks"), left.join("chunks")).unwrap();
    fs::rename(at.join("manifests"), left.join("manifests")).unwrap();
    fs::remove_dir_all(&at).unwrap();
    let file = dir.path().join("key.txt");
    fs::write(&file, format!("{}\n", key.to_lowercase().replace('-', " "))).unwrap();
    let (left, file, out) = (left.to_str().unwrap(), file.to_str().unwrap(), dir.path().join("out"));
    let listed = expect(0, &at, &["rescue", left, "--recovery-key-file", file]);
    assert!(listed.contains("notes@1"), "{listed}");
    expect(0, &at, &["rescue", left, "notes", "--recovery-key-file", file, "--target", out.to_str().unwrap()]);
    assert_same_tree(&source, &out);

    fs::write(dir.path().join("wrong.txt"), "BULBIL-RECOVERY-1-AAAAAA").unwrap();
    let wrong = dir.path().join("wrong.txt");
    expect(1, &at, &["rescue", left, "--recovery-key-file", wrong.to_str().unwrap()]);
}

fn largest_chunk(root: &Path) -> std::path::PathBuf {
    let mut files: Vec<(u64, std::path::PathBuf)> = Vec::new();
    let mut left = vec![root.to_path_buf()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let meta = entry.metadata().unwrap();
            if meta.is_dir() { left.push(entry.path()) } else { files.push((meta.len(), entry.path())) }
        }
    }
    files.sort();
    files.pop().unwrap().1
}

#[test]
fn a_restore_never_touches_a_home() {
    let dir = tempfile::tempdir().unwrap();
    let (at, source) = (dir.path().join("in/home"), dir.path().join("source"));
    fs::create_dir(&source).unwrap();
    fs::write(source.join("a"), "a").unwrap();
    init(&at, "alpha");
    expect(0, &at, &["collection", "add", "notes", source.to_str().unwrap()]);
    expect(0, &at, &["backup", "-q"]);
    let detour = dir.path().join("missing/deep/../../in/home");
    for target in [at.clone(), at.join("keys"), at.join("new/deep"), dir.path().join("in"), detour.clone()] {
        expect(1, &at, &["restore", "notes", "--target", target.to_str().unwrap(), "--delete"]);
    }
    for output in [at.join("copy"), detour] {
        expect(1, &at, &["export", "--output", output.to_str().unwrap()]);
    }
    expect(1, &at, &["collection", "add", "keys", at.join("keys").to_str().unwrap()]);
    expect(0, &at, &["verify", "--data"]);
    // Nor one that would be removed as too much; and then nothing is changed at all.
    let out = dir.path().join("out");
    fs::create_dir_all(out.join("deep")).unwrap();
    fs::write(out.join("mine"), "mine").unwrap();
    init(&out.join("deep/other"), "beta");
    let restore = ["restore", "notes", "--target", out.to_str().unwrap(), "--delete"];
    expect(1, &at, &restore);
    expect(1, &at, &[&restore[..], &["--dry-run"]].concat());
    assert!(out.join("mine").exists() && !out.join("a").exists());
    fs::remove_dir_all(out.join("deep/other")).unwrap();
    expect(0, &at, &["export", "--output", out.join("deep").to_str().unwrap()]);
    expect(1, &at, &restore);
    fs::remove_dir_all(out.join("deep")).unwrap();
    // Nor into one that stands where the snapshot has a folder.
    fs::create_dir(source.join("deep")).unwrap();
    fs::write(source.join("deep/b"), "b").unwrap();
    expect(0, &at, &["backup", "-q"]);
    init(&out.join("deep"), "gamma");
    expect(1, &at, &restore);
    expect(1, &at, &restore[..4]);
    assert!(out.join("deep/index.db").exists() && !out.join("deep/b").exists());
    fs::remove_dir_all(out.join("deep")).unwrap();
    fs::create_dir_all(out.join("deep")).unwrap();
    expect(0, &at, &["target", "add", "disk", out.join("deep").to_str().unwrap()]);
    expect(1, &at, &restore);
    assert!(out.join("deep/backup_manifest.json").exists());
    // What holds a target is not backed up, and what belongs to a home, of whomever, is not.
    expect(1, &at, &["collection", "add", "out", out.to_str().unwrap()]);
    init(&dir.path().join("another"), "delta");
    expect(1, &at, &["collection", "add", "theirs", dir.path().join("another/keys").to_str().unwrap()]);
    fs::remove_dir_all(out.join("deep")).unwrap();
    expect(0, &at, &restore);
    assert!(!out.join("mine").exists() && out.join("a").exists());
}

#[test]
fn what_is_beside_what_was_selected_is_not_too_much() {
    let dir = tempfile::tempdir().unwrap();
    let (at, source, out) = (dir.path().join("home"), dir.path().join("source"), dir.path().join("out"));
    fs::create_dir_all(source.join("deep/deeper")).unwrap();
    for file in ["one", "two", "deep/three", "deep/deeper/four"] {
        fs::write(source.join(file), file).unwrap();
    }
    init(&at, "alpha");
    expect(0, &at, &["collection", "add", "notes", source.to_str().unwrap()]);
    expect(0, &at, &["backup", "-q"]);
    let restore = |more: &[&str]| {
        expect(0, &at, &[&["restore", "notes", "--target", out.to_str().unwrap(), "--delete"], more].concat());
    };
    restore(&[]);
    for file in ["mine", "deep/mine", "deep/deeper/mine"] {
        fs::write(out.join(file), "mine").unwrap();
    }
    restore(&["--path", "one"]);
    restore(&["--path", "deep/three"]);
    for file in ["one", "two", "mine", "deep/three", "deep/mine", "deep/deeper/four", "deep/deeper/mine"] {
        assert!(out.join(file).exists(), "{file}");
    }
    restore(&["--path", "deep/deeper"]);
    assert!(out.join("deep/mine").exists() && !out.join("deep/deeper/mine").exists());
    restore(&[]);
    assert_same_tree(&source, &out);
}

#[test]
fn a_chunk_that_is_gone_is_said_each_time_and_stored_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (at, source) = (dir.path().join("home"), dir.path().join("source"));
    everything(&source);
    init(&at, "alpha");
    expect(0, &at, &["collection", "add", "notes", source.to_str().unwrap()]);
    expect(0, &at, &["backup", "-q"]);
    fs::remove_file(largest_chunk(&at.join("chunks"))).unwrap();
    // A backup looks before it leans on what is stored.
    expect(0, &at, &["backup", "-q"]);
    let out = dir.path().join("out");
    expect(0, &at, &["restore", "notes@2", "--target", out.to_str().unwrap()]);
    assert_same_tree(&source, &out);
    // The first snapshot stays broken, and that is said as often as it is asked.
    for _ in 0..2 {
        let said = expect(2, &at, &["verify"]);
        assert!(!said.contains("as it was"), "{said}");
    }
}

#[test]
fn a_root_that_is_gone_does_not_keep_the_others_from_being_backed_up() {
    let dir = tempfile::tempdir().unwrap();
    let (at, one, two) = (dir.path().join("home"), dir.path().join("one"), dir.path().join("two"));
    for root in [&one, &two] {
        fs::create_dir(root).unwrap();
        fs::write(root.join("file"), "content").unwrap();
    }
    init(&at, "alpha");
    expect(0, &at, &["collection", "add", "both", one.to_str().unwrap(), two.to_str().unwrap()]);
    expect(0, &at, &["collection", "add", "first", one.to_str().unwrap()]);
    expect(0, &at, &["collection", "add", "second", two.to_str().unwrap()]);
    fs::remove_dir_all(&one).unwrap();
    let said = expect(2, &at, &["backup"]);
    assert!(said.contains("both@1") && said.contains("second@1") && !said.contains("first@1"), "{said}");
    expect(1, &at, &["backup", "first"]);
}

#[test]
fn a_rotten_recovery_envelope_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (at, source) = (dir.path().join("home"), dir.path().join("source"));
    fs::create_dir(&source).unwrap();
    fs::write(source.join("a"), "a").unwrap();
    init(&at, "alpha");
    expect(0, &at, &["collection", "add", "notes", source.to_str().unwrap()]);
    expect(0, &at, &["backup", "-q"]);
    expect(0, &at, &["verify"]);
    let entries = fs::read_dir(at.join("manifests")).unwrap().map(|entry| entry.unwrap().path());
    let sidecar = entries.into_iter().find(|path| path.to_str().unwrap().ends_with(".sidecar")).unwrap();
    let mut document: serde_json::Value = serde_json::from_slice(&fs::read(&sidecar).unwrap()).unwrap();
    let envelopes = document["envelopes"].as_array_mut().unwrap();
    let recovery = envelopes.iter_mut().find(|e| e["algorithm"].as_str().unwrap().starts_with("HPKE")).unwrap();
    let wrapped = recovery["wrapped"].as_str().unwrap().to_owned();
    let other = if wrapped.starts_with('A') { "B" } else { "A" };
    recovery["wrapped"] = format!("{other}{}", &wrapped[1..]).into();
    fs::write(&sidecar, serde_json::to_vec(&document).unwrap()).unwrap();
    expect(2, &at, &["verify"]);
    // What this instance opens by itself still opens.
    expect(0, &at, &["restore", "notes", "--target", dir.path().join("out").to_str().unwrap()]);
}

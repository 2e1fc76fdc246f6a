//! What is kept, what goes, and the space that it frees.

mod killed; // at many moments
mod mirror; // of what others made

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use bulbil::backup::create::{Created, create};
use bulbil::backup::open::OpenSnapshot;
use bulbil::backup::prune::{PrunePlan, Pruned, apply, plan};
use bulbil::backup::restore::{Overwrite, RestoreOptions, restore};
use bulbil::backup::verify::{VerifyOptions, verify};
use bulbil::clock::{Clock, FixedClock};
use bulbil::domain::retention::Policy;
use bulbil::monitor::Tally;
use bulbil::store::Store;
use bulbil::store::index::Collection;
use jiff::SignedDuration;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::support::{assert_same_tree, collection, expect, home, init, noise, run};

/// A home whose clock stands still until it is moved.
pub struct Aged {
    pub dir: tempfile::TempDir,
    pub store: Store,
    pub clock: FixedClock,
}

const GRACE: SignedDuration = SignedDuration::from_hours(24);
const NONE: SignedDuration = SignedDuration::ZERO;

impl Aged {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = home(&dir.path().join("home"), "alpha").await;
        Self { dir, store, clock: FixedClock::new("2026-01-01T02:00:00Z".parse().unwrap()) }
    }

    pub async fn collection(&self, name: &str) -> Collection {
        let source = self.dir.path().join(name);
        fs::create_dir(&source).unwrap();
        collection(&self.store, name, &[&source]).await
    }

    pub fn pass(&self, hours: i64) {
        self.clock.set(self.clock.now() + SignedDuration::from_hours(hours));
    }

    pub async fn backup(&self, collection: &Collection) -> Created {
        let monitor = Arc::new(Tally::default());
        create(&self.store, collection, &self.clock, monitor, &CancellationToken::new()).await.unwrap()
    }

    pub async fn plan(&self, otherwise: Option<&Policy>) -> PrunePlan {
        let collections = self.store.index.collections().await.unwrap();
        plan(&self.store, &collections, otherwise, self.clock.now()).await.unwrap()
    }

    pub async fn prune(&self, otherwise: Option<&Policy>, grace: SignedDuration) -> Pruned {
        let plan = self.plan(otherwise).await;
        let (tally, cancel) = (Tally::default(), CancellationToken::new());
        apply(&self.store, &plan, grace, self.clock.now(), &tally, &cancel).await.unwrap()
    }

    pub async fn sequences(&self, collection: &Collection) -> Vec<u64> {
        let snapshots = self.store.index.snapshots(Some(&collection.id)).await.unwrap();
        snapshots.iter().map(|snapshot| snapshot.sequence).collect()
    }
}

pub async fn verified(store: &Store) {
    let tally = Arc::new(Tally::default());
    let options = VerifyOptions { data: true, ..VerifyOptions::default() };
    let report = verify(store, &options, tally.clone(), &CancellationToken::new()).await.unwrap();
    assert_eq!(tally.problems(), []);
    assert_eq!((report.missing.len(), report.damaged.len()), (0, 0));
}

pub fn last(n: u32) -> Policy {
    Policy { keep_last: n, ..Policy::none() }
}

/// Bytes and names of chunk files.
pub fn stored(home: &Path) -> (u64, BTreeSet<String>) {
    fn walk(dir: &Path, bytes: &mut u64, names: &mut BTreeSet<String>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let metadata = entry.metadata().unwrap();
            let name = entry.file_name().into_string().unwrap();
            if metadata.is_dir() {
                walk(&entry.path(), bytes, names);
            } else if name.len() == 64 {
                *bytes += metadata.len();
                names.insert(name);
            }
        }
    }
    let (mut bytes, mut names) = (0, BTreeSet::new());
    walk(&home.join("chunks"), &mut bytes, &mut names);
    (bytes, names)
}

fn json(home: &Path, args: &[&str]) -> Value {
    let out = expect(0, home, &[args, &["--json"]].concat());
    serde_json::from_str::<Value>(&out).unwrap()["result"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn row_25_space_is_freed_by_what_the_plan_said_after_the_grace_period() {
    let aged = Aged::new().await;
    let notes = aged.collection("notes").await;
    let source = aged.dir.path().join("notes");
    for n in 0..6 {
        fs::write(source.join("large"), noise(n, 1_500_000)).unwrap();
        fs::write(source.join(format!("{n}")), noise(100 + n, 50_000)).unwrap();
        aged.backup(&notes).await;
        aged.pass(1);
    }
    let home = aged.dir.path().join("home");
    let (before, _) = stored(&home);
    let planned = aged.plan(Some(&last(2))).await;
    assert_eq!(planned.removed().map(|snapshot| snapshot.sequence).collect::<Vec<_>>(), [1, 2, 3, 4]);
    // The chunks of the first three, although the last snapshot has a small file of each: little of them was alive, so that the
    // small files were stored anew. Number 5 still leans on the fourth.
    assert!((4_500_000..4_800_000).contains(&planned.freed.bytes), "{:?}", planned.freed);

    let first = aged.prune(Some(&last(2)), GRACE).await;
    assert_eq!((first.snapshots, first.swept.removed.chunks), (4, 0));
    assert_eq!(first.waiting, planned.freed, "what is promised is what is found");
    assert_eq!(aged.sequences(&notes).await, [5, 6]);
    assert_eq!(stored(&home).0, before, "nothing is freed before its time");

    aged.pass(23);
    assert_eq!(aged.prune(None, GRACE).await.swept.removed.chunks, 0);
    aged.pass(1);
    let freed = aged.prune(None, GRACE).await;
    assert_eq!((freed.swept.removed, freed.waiting.chunks), (planned.freed, 0));
    assert_eq!(before - stored(&home).0, planned.freed.bytes);
    verified(&aged.store).await;

    // The index that lived through this is the one that can be made anew, and nothing comes back.
    let live = aged.store.index.dump().await.unwrap();
    aged.store.index.close().await;
    let (store, report) = Store::rebuild(&home, None).await.unwrap();
    assert_eq!((report.problems, store.index.dump().await.unwrap()), (vec![], live));
}

#[tokio::test(flavor = "multi_thread")]
async fn row_25_each_collection_has_its_own_policy_and_the_last_one_always_stays() {
    let aged = Aged::new().await;
    let (one, two) = (aged.collection("one").await, aged.collection("two").await);
    for day in 0..40 {
        fs::write(aged.dir.path().join("one/file"), noise(day, 1000)).unwrap();
        aged.backup(&one).await;
        if day < 3 {
            aged.backup(&two).await;
        }
        aged.pass(24);
    }
    aged.prune(None, NONE).await;
    // 1 January to 9 February: the last, 7 days, 4 weeks (their Mondays: 19 January to 9 February), 2 months.
    assert_eq!(aged.sequences(&one).await, [1, 19, 26, 32, 33, 34, 35, 36, 37, 38, 39, 40]);
    assert_eq!(aged.sequences(&two).await, [1, 2, 3]);
    // A year without a backup.
    for _ in 0..52 {
        aged.pass(7 * 24);
        aged.prune(None, NONE).await;
    }
    assert_eq!(aged.sequences(&one).await, [1, 19, 26, 32, 33, 34, 35, 36, 37, 38, 39, 40]);
    assert_eq!(aged.sequences(&two).await, [1, 2, 3]);
    verified(&aged.store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_25_the_last_verified_snapshot_is_never_removed() {
    let aged = Aged::new().await;
    let notes = aged.collection("notes").await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(aged.backup(&notes).await);
        aged.pass(1);
    }
    aged.store.index.note_verified(&[made[1].id], aged.clock.now()).await.unwrap();
    aged.prune(Some(&last(1)), NONE).await;
    assert_eq!(aged.sequences(&notes).await, [2, 5]);
}

#[test]
fn row_25_what_verify_found_whole_stays_although_what_came_after_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let (home, source) = (dir.path().join("home"), dir.path().join("source"));
    fs::create_dir(&source).unwrap();
    init(&home, "alpha");
    expect(0, &home, &["collection", "add", "notes", source.to_str().unwrap()]);
    let mut names = BTreeSet::new();
    for n in 0..3 {
        fs::write(source.join("a"), noise(n, 300_000)).unwrap();
        expect(0, &home, &["backup", "-q"]);
        let now = stored(&home).1;
        if n == 1 {
            expect(0, &home, &["verify", "--data"]);
            assert!(json(&home, &["snapshots"])[1]["verified_at"].is_string());
        }
        if n == 2 {
            for new in now.difference(&names) {
                let path = home.join("chunks").join(&new[..2]).join(&new[2..4]).join(new);
                let mut bytes = fs::read(&path).unwrap();
                bytes[10] ^= 1;
                fs::write(&path, bytes).unwrap();
            }
        }
        names = now;
    }
    expect(0, &home, &["prune", "-q", "--keep-last", "1", "--grace", "0s"]);
    let found = run(&home, &["verify", "--data"]);
    assert_eq!(found.status.code(), Some(2));
    let left = json(&home, &["snapshots"]);
    let left: Vec<_> =
        left.as_array().unwrap().iter().map(|s| (s["sequence"].as_u64(), s["complete"].as_bool())).collect();
    assert_eq!(left, [(Some(2), Some(true)), (Some(3), Some(false))]);
    let out = dir.path().join("out");
    expect(0, &home, &["restore", "notes@2", "--target", out.to_str().unwrap()]);
    assert_eq!(fs::read(out.join("a")).unwrap(), noise(1, 300_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn row_25a_the_one_before_a_flagged_snapshot_survives_a_prune_until_the_flag_is_taken_away() {
    let aged = Aged::new().await;
    let notes = aged.collection("notes").await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(aged.backup(&notes).await);
        aged.pass(1);
    }
    aged.store.index.mark(&made[2].id, |mark| mark.flagged = Some("half of it is gone".into())).await.unwrap();
    aged.prune(Some(&last(1)), NONE).await;
    assert_eq!(aged.sequences(&notes).await, [2, 3, 5]);
    aged.store.index.mark(&made[2].id, |mark| mark.flagged = None).await.unwrap();
    aged.prune(Some(&last(1)), NONE).await;
    assert_eq!(aged.sequences(&notes).await, [5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_pinned_after_the_plan_was_shown_stays() {
    let aged = Aged::new().await;
    let notes = aged.collection("notes").await;
    let first = aged.backup(&notes).await;
    aged.backup(&notes).await;
    let plan = aged.plan(Some(&last(1))).await;
    assert_eq!(plan.removed().count(), 1);
    aged.store.index.mark(&first.id, |mark| mark.pinned = true).await.unwrap();
    let (tally, cancel) = (Tally::default(), CancellationToken::new());
    let pruned = apply(&aged.store, &plan, NONE, aged.clock.now(), &tally, &cancel).await.unwrap();
    assert_eq!((pruned.snapshots, aged.sequences(&notes).await), (0, vec![1, 2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_back_during_the_grace_period_is_used_again() {
    let aged = Aged::new().await;
    let notes = aged.collection("notes").await;
    let file = aged.dir.path().join("notes/file");
    fs::write(&file, noise(1, 2_000_000)).unwrap();
    aged.backup(&notes).await;
    // As much, and something else.
    fs::rename(&file, aged.dir.path().join("first")).unwrap();
    fs::write(&file, noise(2, 2_000_000)).unwrap();
    aged.pass(1);
    aged.backup(&notes).await;
    let waiting = aged.prune(Some(&last(1)), GRACE).await.waiting;
    assert!(waiting.bytes > 2_000_000, "{waiting:?}");
    fs::write(&file, noise(1, 2_000_000)).unwrap();
    aged.pass(48);
    let again = aged.backup(&notes).await;
    assert!(again.statistics.new_bytes < 100_000, "{:?}", again.statistics);
    // Long overdue, and needed again.
    aged.prune(Some(&last(1)), GRACE).await;
    verified(&aged.store).await;
    assert_eq!(aged.sequences(&notes).await, [3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_freed_beside_a_backup_or_while_somebody_holds_chunks() {
    let aged = Aged::new().await;
    let notes = aged.collection("notes").await;
    let file = aged.dir.path().join("notes/file");
    fs::write(&file, noise(1, 1_000_000)).unwrap();
    aged.backup(&notes).await;
    fs::write(&file, noise(2, 1_000_000)).unwrap();
    aged.backup(&notes).await;
    let holds = aged.store.hold_chunks().unwrap();
    let backup = aged.store.lock_backup().unwrap();
    let pruned = aged.prune(Some(&last(1)), NONE).await;
    assert_eq!((pruned.snapshots, pruned.swept.removed.chunks, pruned.swept.postponed), (1, 0, true));
    drop(backup);
    assert!(aged.prune(None, NONE).await.swept.postponed);
    drop(holds);
    let pruned = aged.prune(None, NONE).await;
    assert!(!pruned.swept.postponed && pruned.swept.removed.bytes > 1_000_000, "{pruned:?}");
    verified(&aged.store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_without_grace_takes_nothing_away_from_a_restore_under_way() {
    let aged = Aged::new().await;
    let notes = aged.collection("notes").await;
    let source = aged.dir.path().join("notes");
    fs::write(source.join("file"), noise(1, 1_000_000)).unwrap();
    let first = aged.backup(&notes).await;
    fs::write(source.join("file"), noise(2, 1_000_000)).unwrap();
    aged.pass(1);
    aged.backup(&notes).await;
    let open = OpenSnapshot::open(&aged.store, &first.id).unwrap();
    let pruned = aged.prune(Some(&last(1)), NONE).await;
    assert_eq!((pruned.snapshots, pruned.swept.removed.chunks, pruned.swept.postponed), (1, 0, true));
    let (out, tally) = (aged.dir.path().join("out"), Tally::default());
    let options = RestoreOptions { paths: Vec::new(), overwrite: Overwrite::Never, delete: false, dry_run: false };
    restore(&aged.store.chunks, &open, &out, &options, &tally, &CancellationToken::new()).unwrap();
    assert_eq!((tally.problems(), fs::read(out.join("file")).unwrap() == noise(1, 1_000_000)), (vec![], true));
    drop(open);
    assert!(aged.prune(None, NONE).await.swept.removed.bytes > 1_000_000);
    verified(&aged.store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_prune_is_refused_and_says_so() {
    let aged = Aged::new().await;
    aged.collection("notes").await;
    let _lock = aged.store.lock_prune().unwrap();
    let plan = aged.plan(None).await;
    let (tally, cancel) = (Tally::default(), CancellationToken::new());
    let refused = apply(&aged.store, &plan, NONE, aged.clock.now(), &tally, &cancel).await.unwrap_err();
    assert!(refused.to_string().contains("another bulbil holds the prune lock"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_a_killed_backup_left_go_too() {
    let aged = Aged::new().await;
    let notes = aged.collection("notes").await;
    fs::write(aged.dir.path().join("notes/file"), noise(1, 1000)).unwrap();
    aged.backup(&notes).await;
    let bytes = noise(7, 5000);
    let left = bulbil::domain::id::ChunkId::of(&bytes);
    aged.store.chunks.write(&left, &bytes).unwrap();
    assert_eq!(aged.prune(None, GRACE).await.waiting.bytes, 5000);
    aged.pass(24);
    assert_eq!(aged.prune(None, GRACE).await.swept.removed.bytes, 5000);
    assert_eq!(aged.store.chunks.size(&left).unwrap(), None);
    verified(&aged.store).await;
}

#[test]
fn row_4_two_backups_within_a_second_are_two_snapshots_found_by_their_tags() {
    let dir = tempfile::tempdir().unwrap();
    let (home, source) = (dir.path().join("home"), dir.path().join("source"));
    fs::create_dir(&source).unwrap();
    fs::write(source.join("a"), "one").unwrap();
    init(&home, "alpha");
    expect(0, &home, &["collection", "add", "notes", source.to_str().unwrap()]);
    let first = json(&home, &["backup", "--tag", "before-upgrade"]);
    fs::write(source.join("a"), "two!").unwrap();
    let second = json(&home, &["backup", "--tag", "after-upgrade"]);
    assert_ne!(first[0]["id"], second[0]["id"]);
    let out = expect(0, &home, &["snapshots"]);
    assert!(out.contains("tagged before-upgrade") && out.contains("tagged after-upgrade"), "{out}");
    for (tag, content) in [("before-upgrade", "one"), ("after-upgrade", "two!"), ("tag:before-upgrade", "one")] {
        let into = dir.path().join(tag);
        expect(0, &home, &["restore", &format!("notes@{tag}"), "--target", into.to_str().unwrap()]);
        assert_eq!(fs::read_to_string(into.join("a")).unwrap(), content);
        let listed: Vec<_> = fs::read_dir(&into).unwrap().collect();
        assert_eq!(listed.len(), 1, "one is not in the other");
    }
}

#[test]
fn row_7_a_pinned_snapshot_survives_a_prune_that_would_remove_it() {
    let dir = tempfile::tempdir().unwrap();
    let (home, source) = (dir.path().join("home"), dir.path().join("source"));
    fs::create_dir(&source).unwrap();
    init(&home, "alpha");
    expect(0, &home, &["collection", "add", "notes", source.to_str().unwrap()]);
    // As in a script that stops where this one fails.
    let missing = run(&home, &["backup", "nothing", "--tag", "before-upgrade", "--pin"]);
    assert_eq!(missing.status.code(), Some(1));
    for n in 0..4 {
        fs::write(source.join("a"), noise(n, 300_000)).unwrap();
        let pin: &[&str] = if n == 1 { &["--tag", "before-upgrade", "--pin"] } else { &[] };
        expect(0, &home, &[&["backup", "-q"], pin].concat());
    }
    expect(0, &home, &["retention", "notes", "--keep-last", "1"]);
    let dry = expect(0, &home, &["prune", "--dry-run"]);
    assert!(dry.contains("keep    notes@2") && dry.contains("pinned"), "{dry}");
    assert!(dry.contains("remove  notes@1") && dry.contains("2 snapshots would be removed"), "{dry}");
    let numbers = || {
        let snapshots = json(&home, &["snapshots"]);
        snapshots.as_array().unwrap().iter().map(|s| s["sequence"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(numbers(), [1, 2, 3, 4], "a dry run removes nothing");
    let done = json(&home, &["prune", "--grace", "0s"]);
    assert_eq!(done["done"]["snapshots"], 2);
    assert!(done["done"]["freed"]["bytes"].as_u64().unwrap() > 600_000, "{done}");
    assert_eq!(numbers(), [2, 4]);
    // The pin and the policy are not only in the index.
    fs::remove_file(home.join("index.db")).unwrap();
    expect(0, &home, &["rebuild"]);
    expect(0, &home, &["prune", "-q", "--grace", "0s"]);
    assert_eq!(numbers(), [2, 4]);
    let out = dir.path().join("out");
    expect(0, &home, &["restore", "notes@before-upgrade", "--target", out.to_str().unwrap()]);
    assert_eq!(fs::read(out.join("a")).unwrap(), noise(1, 300_000));
    expect(0, &home, &["snapshot", "unpin", "notes@before-upgrade"]);
    expect(0, &home, &["prune", "-q", "--grace", "0s"]);
    assert_eq!(numbers(), [4]);
    expect(0, &home, &["verify", "--data"]);
}

#[test]
fn row_30_a_tag_made_before_an_update_rolls_it_back_in_one_step() {
    let dir = tempfile::tempdir().unwrap();
    let (home, data, before) = (dir.path().join("home"), dir.path().join("data"), dir.path().join("before"));
    crate::support::everything(&data);
    init(&home, "alpha");
    expect(0, &home, &["collection", "add", "app", data.to_str().unwrap()]);
    expect(0, &home, &["backup", "-q", "--tag", "before-update", "--pin"]);
    expect(0, &home, &["restore", "app@before-update", "--target", before.to_str().unwrap()]);
    // The update: files that change, go, and come.
    fs::write(data.join("a/text.txt"), "something else").unwrap();
    fs::remove_dir_all(data.join("a/b/c")).unwrap();
    fs::create_dir(data.join("new")).unwrap();
    fs::write(data.join("new/file"), "new").unwrap();
    expect(0, &home, &["backup", "-q", "--accept-shrink"]);
    let target = data.to_str().unwrap();
    expect(0, &home, &["restore", "app@before-update", "--target", target, "--delete", "--overwrite", "always"]);
    assert_same_tree(&before, &data);
}

#[test]
fn usage_says_which_snapshot_and_which_folder_takes_the_space() {
    let dir = tempfile::tempdir().unwrap();
    let (home, source) = (dir.path().join("home"), dir.path().join("source"));
    for folder in ["logs", "photos"] {
        fs::create_dir_all(source.join(folder)).unwrap();
    }
    init(&home, "alpha");
    expect(0, &home, &["collection", "add", "notes", source.to_str().unwrap()]);
    fs::write(source.join("photos/one"), noise(1, 3_000_000)).unwrap();
    fs::write(source.join("logs/old"), noise(2, 9_000_000)).unwrap();
    expect(0, &home, &["backup", "-q"]);
    fs::remove_file(source.join("logs/old")).unwrap();
    expect(0, &home, &["backup", "-q", "--accept-shrink"]);
    let usage = json(&home, &["usage", "notes"]);
    let notes = &usage["collections"][0];
    let alone = |n: usize| notes["snapshots"][n]["alone"]["bytes"].as_u64().unwrap();
    // At its edges a chunk may hold something of both.
    assert!((6_000_000..9_050_000).contains(&alone(0)) && alone(1) < 50_000, "{notes}");
    let folder = |path: &str| {
        let folders = notes["folders"].as_array().unwrap();
        folders.iter().find(|folder| folder["path"] == path).unwrap_or_else(|| panic!("no {path} in {folders:?}"))
    };
    // What is only in an old snapshot is counted, too.
    let logs = folder("source/logs");
    assert_eq!((logs["files"].as_u64(), logs["bytes"].as_u64()), (Some(0), Some(0)));
    assert!((9_000_000..9_050_000).contains(&logs["stored_bytes"].as_u64().unwrap()), "{logs}");
    assert_eq!(folder("source/photos")["bytes"], 3_000_000);
    let sum: u64 = notes["folders"].as_array().unwrap().iter().map(|f| f["stored_bytes"].as_u64().unwrap()).sum();
    assert_eq!(sum + notes["other_bytes"].as_u64().unwrap(), notes["stored"]["bytes"].as_u64().unwrap());
    // What it says of the first one is what a prune frees.
    let dry = json(&home, &["prune", "--keep-last", "1", "--dry-run"]);
    assert_eq!(dry["would_free"]["bytes"].as_u64().unwrap(), alone(0));
}

#[test]
fn policies_are_shown_set_and_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (home, source) = (dir.path().join("home"), dir.path().join("source"));
    fs::create_dir(&source).unwrap();
    init(&home, "alpha");
    expect(0, &home, &["collection", "add", "notes", source.to_str().unwrap()]);
    assert_eq!(expect(0, &home, &["retention"]), "notes: the last 1, 7 daily, 4 weekly, 12 monthly\n");
    let set = ["retention", "notes", "--keep-daily", "30", "--keep-within", "3d", "--time-zone", "Europe/Berlin"];
    let said = expect(0, &home, &set);
    assert_eq!(said, "notes: 30 daily, all of the last 72 hours (days of Europe/Berlin)\n");
    assert_eq!(expect(0, &home, &["retention", "notes"]), said);
    let kept = json(&home, &["retention", "notes"]);
    assert_eq!((&kept[0]["policy"]["daily"], &kept[0]["time_zone"]), (&30.into(), &"Europe/Berlin".into()));
    expect(1, &home, &["retention", "notes", "--keep-daily", "0"]);
    expect(1, &home, &["retention", "notes", "--keep-daily", "7", "--time-zone", "Nowhere/Atlantis"]);
    expect(1, &home, &["retention", "--keep-daily", "7"]);
    expect(1, &home, &["retention", "notes", "--keep-all", "--keep-daily", "7"]);
    assert_eq!(expect(0, &home, &["retention", "notes"]), said);
    let all = expect(0, &home, &["retention", "notes", "--keep-all"]);
    assert_eq!(all, "notes: everything is kept\n");
    expect(0, &home, &["retention", "notes", "--default"]);
    assert_eq!(expect(0, &home, &["retention"]), "notes: the last 1, 7 daily, 4 weekly, 12 monthly\n");
}

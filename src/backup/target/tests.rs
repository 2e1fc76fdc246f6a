use super::*;
use crate::domain::metadata::entry::FileTime;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};

fn path(text: &str) -> TreePath {
    TreePath::new(text.as_bytes().to_vec()).unwrap()
}

fn attributes(mode: u32) -> Attributes {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Attributes { mode, uid, gid, mtime: FileTime { secs: 1_000_000_000, nanos: 7 }, ..Attributes::default() }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn write(target: &Target, at: &str, content: &[u8], attributes: &Attributes) -> Vec<Problem> {
    let file = target.create_file(&path(at)).unwrap();
    file.write_at(content, 0).unwrap();
    file.finish(attributes).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_planted_link_is_never_followed() {
    let temp = tempfile::tempdir().unwrap();
    let (elsewhere, inside) = (temp.path().join("elsewhere"), temp.path().join("target"));
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("b"), b"mine").unwrap();
    let target = Target::open(&inside, true).unwrap();
    symlink(&elsewhere, inside.join("a")).unwrap();
    symlink(elsewhere.join("b"), inside.join("file")).unwrap();
    fs::write(inside.join("plain"), b"").unwrap();

    for at in ["a/b", "a/new", "a/deep/er", "plain/x"] {
        let errors = [
            target.create_file(&path(at)).map(drop).unwrap_err(),
            target.create_dir_all(&path(at)).map(drop).unwrap_err(),
            target.symlink(&path(at), b"x", &attributes(0o777)).map(drop).unwrap_err(),
            target.hard_link(&path(at), &path("plain")).unwrap_err(),
            target.hard_link(&path("x"), &path(at)).unwrap_err(),
            target.remove(&path(at)).unwrap_err(),
            target.existing(&path(at)).map(drop).unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error, TargetError::InTheWay { .. }), "{at}: {error}");
            assert!(error.to_string().contains("remove it or restore elsewhere"), "{error}");
        }
    }
    for error in [
        target.create_dir(&path("a")).map(drop).unwrap_err(),
        target.set_directory_attributes(Some(&path("a")), &attributes(0o777)).map(drop).unwrap_err(),
        target.list(Some(&path("a"))).map(drop).unwrap_err(),
    ] {
        assert_eq!(
            error.to_string(),
            "a is a link in the target, where the snapshot has something else: remove it or restore elsewhere"
        );
    }
    // A file replaces a link; what the link led to stays.
    assert_eq!(write(&target, "file", b"new", &attributes(0o644)), []);
    assert!(fs::symlink_metadata(inside.join("file")).unwrap().is_file());
    target.remove(&path("a")).unwrap();
    assert_eq!(fs::read(elsewhere.join("b")).unwrap(), b"mine");
    assert_eq!(names(&elsewhere), ["b"]);
}

#[test]
fn a_link_planted_while_the_restore_runs_is_not_followed() {
    let temp = tempfile::tempdir().unwrap();
    let target = Target::open(&temp.path().join("t"), true).unwrap();
    target.create_dir(&path("a")).unwrap();
    target.remove(&path("a")).unwrap();
    symlink("/tmp", temp.path().join("t/a")).unwrap();
    assert!(matches!(target.create_file(&path("a/x")), Err(TargetError::InTheWay { .. })));
}

/// Everything that a snapshot can hold, into `target`.
fn restore(target: &Target) {
    let set_id = if is_root() { Attributes { uid: 12, gid: 34, ..attributes(0o6755) } } else { attributes(0o6755) };
    target.create_dir(&path("dir")).unwrap();
    target.create_dir_all(&path("dir/sub/deep")).unwrap();
    assert_eq!(write(target, "dir/file", b"content", &attributes(0o440)), []);
    assert_eq!(write(target, "dir/set-id", b"", &set_id), []);
    target.hard_link(&path("dir/sub/again"), &path("dir/file")).unwrap();
    assert_eq!(target.symlink(&path("dir/link"), b"../../nowhere", &attributes(0o777)).unwrap(), []);
    assert_eq!(target.fifo(&path("dir/pipe"), &attributes(0o622)).unwrap(), []);
    assert_eq!(target.socket(&path("dir/socket"), &attributes(0o700)).unwrap(), []);
    let sparse = target.create_file(&path("sparse")).unwrap();
    sparse.write_at(b"x", 1 << 20).unwrap();
    sparse.set_len(4 << 20).unwrap();
    assert_eq!(sparse.finish(&attributes(0o600)).unwrap(), []);
    let device = target.char_device(&path("null"), rustix::fs::makedev(1, 3), &attributes(0o666));
    match device {
        Err(TargetError::NeedsRoot { .. }) => assert!(!is_root()),
        // Some containers do not let root make devices.
        Err(error) => assert!(matches!(error, TargetError::Io { .. }), "{error}"),
        Ok(problems) => assert_eq!(problems, []),
    }
    for at in ["dir/sub/deep", "dir/sub", "dir"] {
        assert_eq!(target.set_directory_attributes(Some(&path(at)), &attributes(0o555)).unwrap(), []);
    }
    assert_eq!(target.set_directory_attributes(None, &attributes(0o750)).unwrap(), []);
}

fn check(folder: &Path) {
    let look = |at: &str| fs::symlink_metadata(folder.join(at)).unwrap();
    let modes = [
        ("dir/file", 0o440),
        ("dir/set-id", 0o6755),
        ("dir/pipe", 0o622),
        ("dir/socket", 0o700),
        ("dir", 0o555),
        ("dir/sub", 0o555),
        ("dir/sub/deep", 0o555),
        ("sparse", 0o600),
        ("", 0o750),
    ];
    for (at, mode) in modes {
        assert_eq!(look(at).mode() & 0o7777, mode, "{at}");
        assert_eq!((look(at).mtime(), look(at).mtime_nsec()), (1_000_000_000, 7), "{at}");
    }
    assert_eq!(look("dir/link").mtime(), 1_000_000_000);
    assert_eq!(fs::read_link(folder.join("dir/link")).unwrap(), Path::new("../../nowhere"));
    assert!(look("dir/pipe").file_type().is_fifo() && look("dir/socket").file_type().is_socket());
    assert_eq!(look("dir/file").ino(), look("dir/sub/again").ino());
    assert_eq!(fs::read(folder.join("dir/file")).unwrap(), b"content");
    if is_root() {
        assert_eq!((look("dir/set-id").uid(), look("dir/set-id").gid()), (12, 34));
    }
    assert_eq!(look("sparse").len(), 4 << 20);
    assert!(names(folder).iter().all(|name| !name.starts_with(".bulbil")), "{:?}", names(folder));
    // So that a user who is not root can clean up.
    for at in ["dir", "dir/sub", "dir/sub/deep"] {
        fs::set_permissions(folder.join(at), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn everything_is_restored_into_a_folder_in_use() {
    let temp = tempfile::tempdir().unwrap();
    let inside = temp.path().join("t");
    for _ in 0..2 {
        // The second time everything is there already.
        let target = Target::open(&inside, true).unwrap();
        restore(&target);
        drop(target);
        check(&inside);
    }
}

#[test]
fn everything_is_restored_into_an_empty_folder() {
    let temp = tempfile::tempdir().unwrap();
    let inside = temp.path().join("t");
    let target = Target::open(&inside, true).unwrap();
    assert!(target.is_empty().unwrap());
    let staged = target.staged().unwrap();
    restore(&staged);
    assert!(target.is_empty().unwrap(), "nothing is seen before the commit");
    staged.sync().unwrap();
    assert_eq!(staged.commit().unwrap(), []);
    check(&inside);
}

#[test]
fn nothing_unfinished_stays() {
    let temp = tempfile::tempdir().unwrap();
    let target = Target::open(temp.path(), false).unwrap();
    write(&target, "f", b"old", &attributes(0o600));
    let file = target.create_file(&path("f")).unwrap();
    file.write_at(b"half", 0).unwrap();
    drop(file);
    assert_eq!(fs::read(temp.path().join("f")).unwrap(), b"old");
    let staged = target.staged().unwrap();
    write(&staged, "g", b"new", &attributes(0o600));
    drop(staged.create_file(&path("h")).unwrap());
    assert!(staged.existing(&path("h")).unwrap().is_none());
    drop(staged);
    drop(target);
    assert_eq!(names(temp.path()), ["f"]);
}

#[test]
fn a_commit_replaces_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let target = Target::open(temp.path(), false).unwrap();
    let staged = target.staged().unwrap();
    write(&staged, "f", b"new", &attributes(0o600));
    fs::write(temp.path().join("f"), b"old").unwrap();
    assert!(matches!(staged.commit(), Err(TargetError::InTheWay { .. })));
    drop(target);
    assert_eq!(fs::read(temp.path().join("f")).unwrap(), b"old");
    assert_eq!(names(temp.path()), ["f"]);
}

#[test]
fn what_a_killed_restore_left_is_removed_unless_it_is_at_work() {
    let temp = tempfile::tempdir().unwrap();
    let left = temp.path().join(".bulbil-restore-0123456789abcdef");
    fs::create_dir_all(left.join("deep/er")).unwrap();
    symlink("/etc", left.join("deep/link")).unwrap();
    fs::create_dir(temp.path().join(".bulbil-restore-mine")).unwrap();
    let at_work = Target::open(temp.path(), false).unwrap();
    let file = at_work.create_file(&path("f")).unwrap();
    let _second = Target::open(temp.path(), false).unwrap();
    assert!(!left.exists());
    assert_eq!(file.finish(&attributes(0o600)).unwrap(), []);
    drop(at_work);
    assert_eq!(names(temp.path()), [".bulbil-restore-mine", "f"]);
}

#[test]
fn attributes_that_the_snapshot_does_not_have_go() {
    let temp = tempfile::tempdir().unwrap();
    let target = Target::open(temp.path(), false).unwrap();
    target.create_dir(&path("d")).unwrap();
    let set = rustix::fs::setxattr(temp.path().join("d"), "user.old", b"1", rustix::fs::XattrFlags::empty());
    if set == Err(Errno::NOTSUP) {
        return; // no such thing on this file system
    }
    set.unwrap();
    let wanted = Attributes { xattrs: vec![(b"user.new".to_vec(), b"\x002".to_vec())], ..attributes(0o444) };
    assert_eq!(target.set_directory_attributes(Some(&path("d")), &wanted).unwrap(), []);
    assert_eq!(write(&target, "f", b"", &wanted), []);
    for name in ["d", "f"] {
        let mut list = [0; 200];
        let len = rustix::fs::listxattr(temp.path().join(name), &mut list).unwrap();
        let user: Vec<_> = list[..len].split(|b| *b == 0).filter(|name| name.starts_with(b"user.")).collect();
        assert_eq!(user, [b"user.new"]);
    }
    fs::set_permissions(temp.path().join("d"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn trees_deeper_than_any_path_are_made_and_removed() {
    let temp = tempfile::tempdir().unwrap();
    let target = Target::open(temp.path(), false).unwrap();
    let deep = path(&vec!["n"; 4000].join("/"));
    assert!(target.create_dir_all(&deep).unwrap());
    assert!(!target.create_dir_all(&deep).unwrap());
    write(&target, &format!("{deep}/f"), b"x", &attributes(0o600));
    assert_eq!(target.list(Some(&deep)).unwrap().len(), 1);
    target.remove(&path("n")).unwrap();
    assert!(target.existing(&deep).unwrap().is_none());
    drop(target);
    assert!(names(temp.path()).is_empty());
}

#[test]
fn several_threads_write_at_once() {
    let temp = tempfile::tempdir().unwrap();
    let target = Target::open(temp.path(), false).unwrap();
    for target in [&target, &target.staged().unwrap()] {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    for i in 0..150 {
                        let at = format!("{}/{thread}-{i}", i % 120);
                        target.create_dir_all(&path(&at).parent().unwrap()).unwrap();
                        assert_eq!(write(target, &at, at.as_bytes(), &attributes(0o600)), []);
                    }
                });
            }
        });
        assert_eq!(target.list(None).unwrap().iter().filter(|e| !scratch::is_scratch(&e.name)).count(), 120);
    }
}

#[test]
fn a_folder_in_the_way_of_a_file_is_told() {
    let temp = tempfile::tempdir().unwrap();
    let target = Target::open(temp.path(), false).unwrap();
    target.create_dir(&path("f")).unwrap();
    let error = target.create_file(&path("f")).unwrap().finish(&attributes(0o600)).unwrap_err();
    assert!(matches!(error, TargetError::InTheWay { noun: "a folder", .. }), "{error}");
    assert!(matches!(target.create_file(&path("none/f")), Err(TargetError::NoFolder { .. })));
    assert!(matches!(Target::open(&temp.path().join("none"), false), Err(TargetError::Open { .. })));
}

#[test]
fn the_roots_name_is_stripped() {
    assert_eq!(without_root(&path("r")), None);
    assert_eq!(without_root(&path("r/a/b")), Some(path("a/b")));
}

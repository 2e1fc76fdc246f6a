//! Old archives become snapshots: `bulbil import-tar`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{World, said};
use crate::support;

#[track_caller]
fn sh(command: &str, folder: &Path) {
    let done = Command::new("sh").arg("-ec").arg(command).current_dir(folder).output().unwrap();
    assert!(done.status.success(), "{command}: {}", said(&done));
}

/// Packs the application's folder as people do, and gives the archive's path.
fn pack(world: &World, name: &str, options: &str, members: &str) -> PathBuf {
    let archive = world.path(name);
    sh(
        &format!("tar --format=posix {options} -cf {} {members}", archive.display()),
        world.path("quilltap").parent().unwrap(),
    );
    archive
}

fn import(world: &World, archives: &[&PathBuf], more: &[&str]) -> std::process::Output {
    let files: Vec<&str> = archives.iter().map(|path| path.to_str().unwrap()).collect();
    world.run(&[&["import-tar"], more, &files].concat())
}

fn snapshots(world: &World, collection: &str) -> Vec<serde_json::Value> {
    world.json(0, &["snapshots", collection]).as_array().unwrap().clone()
}

fn restored(world: &World, snapshot: &str) -> std::collections::BTreeMap<Vec<u8>, String> {
    let out = world.path("restored");
    let _ = fs::remove_dir_all(&out);
    world.good(&["restore", snapshot, "--target", out.to_str().unwrap()]);
    support::describe(&out)
}

const TALES: &[&str] = &["--collection", "tales", "--preset", "quilltap"];

#[test]
fn archives_become_snapshots_with_their_dates_oldest_first_and_only_once() {
    let world = World::new();
    world.make("app17");
    // What a backup of the folder itself would have: one collection beside it.
    world.good(&["collection", "add", "live", "--preset", "quilltap", world.app().to_str().unwrap()]);
    let mut archives = Vec::new();
    for (day, name, options, members) in [
        ("1", "quilltap_20251124_020000.tar.gz", "-z -C quilltap", "data public"),
        ("2", "quilltap_20251125_020000.tar", "-C quilltap", "./data ./public"),
        ("3", "quilltap_20251126_020000.tar.gz", "-z", "quilltap/data quilltap/public"),
    ] {
        world.good(&["backup", "live"]);
        archives.push(pack(&world, name, options, members));
        super::generator(&world.app(), &["--mutate", day]);
    }
    let made = import(&world, &[&archives[2], &archives[0], &archives[1]], TALES);
    assert_eq!(made.status.code(), Some(0), "{}", said(&made));
    let tales = snapshots(&world, "tales");
    let zone = "2025-11-2";
    let times: Vec<&str> = tales.iter().map(|one| one["created_at"].as_str().unwrap()).collect();
    assert!(times.len() == 3 && times.is_sorted() && times.iter().all(|at| at.starts_with(zone)), "{times:?}");
    assert_eq!(tales[0]["capture"]["mode"], "archive");
    assert_eq!(tales[2]["capture"]["archive"]["name"], "quilltap_20251126_020000.tar.gz");
    for n in 1..=3 {
        let (old, live) = (restored(&world, &format!("tales@{n}")), restored(&world, &format!("live@{n}")));
        let folder = |path: &&Vec<u8>| !["", "public", "public/data"].contains(&String::from_utf8_lossy(path).as_ref());
        let differ: Vec<_> = live.iter().filter(|(path, what)| folder(path) && old.get(*path) != Some(what)).collect();
        assert!(differ.is_empty() && old.len() == live.len(), "{n}: {} {} {differ:?}", old.len(), live.len());
    }
    // Days are stored once.
    let again = import(&world, &archives.iter().collect::<Vec<_>>(), TALES);
    assert!(
        again.status.code() == Some(0) && said(&again).matches("it is here already").count() == 3,
        "{}",
        said(&again)
    );
    assert_eq!(snapshots(&world, "tales").len(), 3);
    // The index is made anew from what is in the snapshots.
    world.good(&["rebuild"]);
    let again = import(&world, &archives.iter().collect::<Vec<_>>(), TALES);
    assert!(said(&again).matches("it is here already").count() == 3, "{}", said(&again));
    // It stands in the audit log.
    assert!(world.good(&["audit", "--limit", "20"]).contains("import-tar"));
}

#[test]
fn a_damaged_archive_makes_no_snapshot_is_named_and_the_others_go_on() {
    let world = World::new();
    world.make("app17");
    let good = pack(&world, "q-20251101.tar.gz", "-z -C quilltap", "data public");
    let bytes = fs::read(&good).unwrap();
    let (cut, flipped, empty) =
        (world.path("q-20251102.tar.gz"), world.path("q-20251103.tar.gz"), world.path("q-20251104.tar.gz"));
    fs::write(&cut, &bytes[..bytes.len() * 6 / 10]).unwrap();
    let mut wrong = bytes.clone();
    let at = wrong.len() - 6;
    wrong[at] ^= 4;
    fs::write(&flipped, wrong).unwrap();
    sh("tar -czf q-20251104.tar.gz -T /dev/null", world.path("quilltap").parent().unwrap());
    let text = world.path("q-20251105.tar.gz");
    fs::write(&text, "tar: command not found\n").unwrap();
    let plain_cut = pack(&world, "q-20251106.tar", "-C quilltap", "data public");
    let len = fs::metadata(&plain_cut).unwrap().len();
    fs::File::options().write(true).open(&plain_cut).unwrap().set_len(len / 2 / 512 * 512).unwrap();
    let last = world.path("q-20251107.tar.gz");
    fs::copy(&good, &last).unwrap();
    sh(
        "gzip -dc q-20251107.tar.gz > x.tar && mkdir x && cd x && tar xf ../x.tar && rm -r data/memories && tar -czf ../q-20251107.tar.gz data public",
        world.path("quilltap").parent().unwrap(),
    );
    let made = import(&world, &[&last, &plain_cut, &text, &empty, &flipped, &cut, &good], TALES);
    assert_eq!(made.status.code(), Some(2), "{}", said(&made));
    for bad in ["q-20251102.tar.gz", "q-20251103.tar.gz", "q-20251104.tar.gz", "q-20251105.tar.gz", "q-20251106.tar"] {
        let told = said(&made).lines().any(|line| line.contains(bad) && line.contains("no snapshot was made"));
        assert!(told, "{bad}: {}", said(&made));
    }
    let tales = snapshots(&world, "tales");
    let names: Vec<&str> = tales.iter().map(|one| one["capture"]["archive"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["q-20251101.tar.gz", "q-20251107.tar.gz"]);
    world.good(&["verify", "--data"]);
}

#[test]
fn what_is_wrong_in_an_old_archive_is_flagged_and_not_refused() {
    let world = World::new();
    world.make("app17");
    let damaged = world.corrupt("truncated-json");
    let archive = pack(&world, "quilltap_20251124_020000.tar.gz", "-z -C quilltap", "data public");
    let made = import(&world, &[&archive], TALES);
    assert_eq!(made.status.code(), Some(2), "{}", said(&made));
    let file = Path::new(&damaged).file_name().unwrap().to_str().unwrap();
    assert!(said(&made).contains("inconsistent: ") && said(&made).contains(file), "{damaged}: {}", said(&made));
    assert_eq!(snapshots(&world, "tales").len(), 1);
    let checked = world.run(&["check", "tales", "--snapshot", "latest"]);
    assert!(checked.status.code() == Some(2) && said(&checked).contains(file), "{}", said(&checked));
}

#[test]
fn an_archive_is_not_todays_backup_and_none_comes_before_what_is_there() {
    let world = World::new();
    world.make("app17");
    let archive = pack(&world, "quilltap_20251124_020000.tar.gz", "-z -C quilltap", "data public");
    let older = pack(&world, "quilltap_20251120_020000.tar.gz", "-z -C quilltap", "data");
    // Into a collection with its folder: the root is the same.
    world.good(&["collection", "add", "tales", "--preset", "quilltap", world.app().to_str().unwrap()]);
    // A hook is for the application as it is now.
    let hooked = world.path("hooked");
    world.good(&["collection", "set", "tales", "--hook-before", &format!("touch {}", hooked.display())]);
    let made = import(&world, &[&archive], &["--collection", "tales"]);
    assert_eq!(made.status.code(), Some(0), "{}", said(&made));
    assert!(!hooked.exists());
    world.good(&["schedule", "tales", "--rpo", "24h"]);
    let status = world.run(&["status"]);
    assert_eq!(status.status.code(), Some(2), "{}", said(&status));
    assert!(said(&status).contains("verified snapshot is"), "{}", said(&status));
    let refused = import(&world, &[&older], &["--collection", "tales"]);
    assert!(
        refused.status.code() == Some(2) && said(&refused).contains("older than what is there"),
        "{}",
        said(&refused)
    );
    // Today's takes over what the archive brought, and is the newest.
    let made = world.json(0, &["backup", "tales"]);
    assert_eq!(made[0]["sequence"], 2);
    assert!(made[0]["statistics"]["new_bytes"].as_u64().unwrap() < 100_000, "{made}");
    assert_eq!(world.run(&["status"]).status.code(), Some(0), "{}", said(&world.run(&["status"])));
    let refused = import(&world, &[&older], &["--collection", "tales"]);
    assert!(refused.status.code() == Some(2) && snapshots(&world, "tales").len() == 2, "{}", said(&refused));
    // In a collection of its own there is room for it, and no backup makes an empty snapshot of that.
    let made = import(&world, &[&older], &["--collection", "old"]);
    assert_eq!(made.status.code(), Some(0), "{}", said(&made));
    world.good(&["backup"]);
    assert_eq!(snapshots(&world, "old").len(), 1);
    let refused = world.run(&["backup", "old"]);
    assert!(refused.status.code() == Some(1) && said(&refused).contains("has no folders"), "{}", said(&refused));
    world.good(&["collection", "set", "old", "--folder", world.app().to_str().unwrap()]);
    world.good(&["backup", "old"]);
    assert!(world.good(&["ls", "old"]).contains("data"));
}

#[test]
fn a_hostile_archive_touches_nothing_and_what_it_holds_is_told() {
    let world = World::new();
    let victim = world.path("victim");
    super::write(&victim, "untouched");
    let archive = world.path("evil-20251124.tar");
    let script = format!(
        r#"
import tarfile, io
out = tarfile.open({archive:?}, "w", format=tarfile.GNU_FORMAT)
def add(name, data=b"evil", kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name); info.type = kind; info.linkname = link; info.mode = 0o644; info.mtime = 1763949600
    info.size = len(data) if kind == tarfile.REGTYPE else 0
    info.devmajor, info.devminor = 1, 3
    out.addfile(info, io.BytesIO(data) if kind == tarfile.REGTYPE else None)
add("notes/good.txt", b"good")
add("../victim"); add("notes/../../victim"); add({victim:?})
add("notes/link", kind=tarfile.SYMTYPE, link={victim:?}); add("notes/link", b"replaced the link")
add("notes/dir", kind=tarfile.SYMTYPE, link="/"); add("notes/dir/etc/passwd")
add("notes/hard", kind=tarfile.LNKTYPE, link="/etc/shadow")
add("notes/fifo", kind=tarfile.FIFOTYPE)
add("notes/" + "n" * 250 + "/" + "m" * 250, b"long")
add(b"notes/\xff\xfe".decode("utf-8", "surrogateescape"), b"odd")
out.close()
"#,
        archive = archive.to_str().unwrap(),
        victim = victim.to_str().unwrap(),
    );
    let made = Command::new("python3").arg("-c").arg(script).output().unwrap();
    assert!(made.status.success(), "{}", said(&made));
    let made = import(&world, &[&archive], &["--collection", "notes"]);
    assert_eq!(made.status.code(), Some(2), "{}", said(&made));
    for told in ["../victim is not taken", "notes/dir/etc/passwd is not taken", "notes/hard is not taken"] {
        assert!(said(&made).contains(told), "{told}: {}", said(&made));
    }
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    let out = world.path("out");
    world.good(&["restore", "notes", "--target", out.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    assert_eq!(fs::read_to_string(out.join("notes/link")).unwrap(), "replaced the link");
    assert_eq!(fs::read_to_string(out.join("notes/good.txt")).unwrap(), "good");
    assert!(out.join("notes/dir").is_symlink());
    assert!(
        !world.home().read_dir().unwrap().any(|entry| entry.unwrap().file_name().to_string_lossy().contains("archive"))
    );
}

#[test]
fn encrypted_archives_open_with_their_passphrase_and_a_wrong_one_or_a_flipped_byte_makes_no_snapshot() {
    let world = World::new();
    let parent = world.path("quilltap").parent().unwrap().to_owned();
    super::write(&world.path("notes/a.txt"), "something that is not seen");
    super::write(&world.path("pass"), "a passphrase\n");
    super::write(&world.path("wrong"), "another one\n");
    let gpg = "gpg --homedir gnupg --batch --pinentry-mode loopback --passphrase-file pass";
    sh(
        &format!(
            "mkdir -m 700 gnupg; tar -czf n.tgz notes
            {gpg} --symmetric -o notes-20251101.tar.gz.gpg n.tgz
            openssl enc -aes-256-cbc -pbkdf2 -salt -pass file:pass -in n.tgz -out notes-20251102.tar.gz.enc
            tar -cf n.tar notes && bzip2 -c n.tar > notes-20251103.tar.bz2 && xz -c n.tar > notes-20251104.tar.xz"
        ),
        &parent,
    );
    let paths: Vec<PathBuf> =
        ["notes-20251101.tar.gz.gpg", "notes-20251102.tar.gz.enc", "notes-20251103.tar.bz2", "notes-20251104.tar.xz"]
            .iter()
            .map(|name| world.path(name))
            .collect();
    let all: Vec<&PathBuf> = paths.iter().collect();
    let with = |pass: &str| {
        let pass = world.path(pass);
        let mut args = vec!["import-tar", "--archive-passphrase-file", pass.to_str().unwrap()];
        args.extend(all.iter().map(|path| path.to_str().unwrap()));
        let mut command = Command::new(support::BULBIL);
        command.env("GNUPGHOME", world.path("gnupg")).arg("--home").arg(world.home()).args(args).output().unwrap()
    };
    let wrong = with("wrong");
    assert_eq!(wrong.status.code(), Some(2), "{}", said(&wrong));
    assert_eq!(said(&wrong).matches("no snapshot was made").count(), 2, "{}", said(&wrong));
    let world2 = World::new();
    let with2 = |pass: &str, files: &[&PathBuf]| {
        let pass = world.path(pass);
        let mut args = vec!["import-tar", "--archive-passphrase-file", pass.to_str().unwrap()];
        args.extend(files.iter().map(|path| path.to_str().unwrap()));
        let mut command = Command::new(support::BULBIL);
        command.env("GNUPGHOME", world.path("gnupg")).arg("--home").arg(world2.home()).args(args).output().unwrap()
    };
    let good = with2("pass", &all);
    assert_eq!(good.status.code(), Some(0), "{}", said(&good));
    // All four are of the collection that their names begin with.
    assert_eq!(snapshots(&world2, "notes").len(), 4);
    let out = world2.path("out");
    world2.good(&["restore", "notes@1", "--target", out.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(out.join("a.txt")).unwrap(), "something that is not seen");
    let flipped = world.path("notes-20251105.tar.gz.gpg");
    let mut bytes = fs::read(&paths[0]).unwrap();
    let at = bytes.len() - 30;
    bytes[at] ^= 1;
    fs::write(&flipped, bytes).unwrap();
    let refused = with2("pass", &[&flipped]);
    assert!(refused.status.code() == Some(2) && snapshots(&world2, "notes").len() == 4, "{}", said(&refused));
}

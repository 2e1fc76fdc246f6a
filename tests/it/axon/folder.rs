//! Backup folders: a real one, those of the peer in Python, and those of somebody who means harm.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::World;
use crate::support::{BULBIL, expect, run};

const REAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/axon/1/backup/backup_20261121_205042");
const MAKERS_KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/axon/1/keys/instance_a.pem");

/// A home with a key for Axon instances; making one takes a while.
static NEW_HOME: LazyLock<TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    expect(0, &dir.path().join("home"), &["init", "--name", "alpha"]);
    expect(0, &dir.path().join("home"), &["axon", "key"]);
    dir
});

/// A home, and a folder with a backup beside it.
struct Place {
    dir: TempDir,
}

impl Place {
    /// With a copy of the applets of the real backup that have all their chunks.
    fn new() -> Self {
        let place = Self::with(&["Notes", "Tiny_Clock", "Wave_Player"]);
        fs::write(place.dir.path().join("secret"), "secret").unwrap();
        place
    }

    fn with(applets: &[&str]) -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        copy(&NEW_HOME.path().join("home"), &place.home());
        fs::create_dir(place.backup()).unwrap();
        for applet in applets {
            copy(&Path::new(REAL).join(applet), &place.backup().join(applet));
        }
        fs::copy(Path::new(REAL).join("backup_manifest.json"), place.backup().join("backup_manifest.json")).unwrap();
        place.lists(applets.iter().map(|name| name.replace('_', " ")).collect());
        place
    }

    /// Its `backup_manifest.json` says that these applets were written, with the data and scores that are there.
    fn lists(&self, applets: Vec<String>) {
        let rows = |file: &str| -> usize {
            let of = |name: &String| fs::read(self.backup().join(name.replace([' ', '/'], "_")).join(file)).ok();
            let len = |bytes: Vec<u8>| serde_json::from_slice::<Vec<Value>>(&bytes).unwrap().len();
            applets.iter().filter_map(of).map(len).sum()
        };
        let (data, scores) = (rows("applet_data.json"), rows("high_scores.json"));
        self.edit("backup_manifest.json", |manifest| {
            manifest["total_data_instances"] = json!(data);
            manifest["total_high_scores"] = json!(scores);
            manifest["applets"] = json!(applets);
        });
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn home(&self) -> PathBuf {
        self.path("home")
    }

    fn backup(&self) -> PathBuf {
        self.path("backup_20261121_205042")
    }

    fn bulbil(&self, code: i32, args: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend_from_slice(args);
        serde_json::from_str(&expect(code, &self.home(), &all)).unwrap()
    }

    /// Restores with the maker's key.
    fn restore(&self, code: i32) -> Value {
        self.bulbil(code, &["axon", "restore", self.backup().to_str().unwrap(), "--key", MAKERS_KEY])
    }

    /// Writes a backup; its folder.
    fn back_up(&self, code: i32) -> PathBuf {
        let made = self.bulbil(code, &["axon", "backup", "--output", self.path("out").to_str().unwrap()]);
        PathBuf::from(made["result"]["folder"].as_str().unwrap())
    }

    fn edit(&self, file: &str, change: impl FnOnce(&mut Value)) {
        let path = self.backup().join(file);
        let mut value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut value);
        fs::write(path, serde_json::to_vec(&value).unwrap()).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => {
                fs::copy(entry.path(), target).unwrap();
            }
        }
    }
}

/// All files below a folder, with their content.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    fn below(root: &Path, dir: &Path, all: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => below(root, &entry.path(), all),
                false => {
                    let name = entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                    // What a command is at work on may go meanwhile.
                    if let Ok(bytes) = fs::read(entry.path()) {
                        all.insert(name, bytes);
                    }
                }
            }
        }
    }
    let mut all = BTreeMap::new();
    below(root, root, &mut all);
    all
}

fn names(value: &Value) -> BTreeSet<String> {
    value.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

fn said(document: &Value) -> String {
    document["problems"].to_string()
}

#[test]
fn a_real_backup_that_nobody_here_can_open_is_written_again_byte_for_byte() {
    let place = Place::with(&[]);
    let restored = place.bulbil(2, &["axon", "restore", REAL]);
    assert_eq!(restored["result"]["restored"].as_array().unwrap().len(), 6);
    assert!(said(&restored).contains("--key") && said(&restored).contains("Notes"), "{restored}");
    let made = place.back_up(2);
    let mut real = files(Path::new(REAL));
    real.retain(|name, _| !name.ends_with(".manifest"));
    let mut ours = files(&made);
    let real_manifest: Value = serde_json::from_slice(&real.remove("backup_manifest.json").unwrap()).unwrap();
    let our_text = String::from_utf8(ours.remove("backup_manifest.json").unwrap()).unwrap();
    let our_manifest: Value = serde_json::from_str(&our_text).unwrap();
    assert_eq!(ours.keys().collect::<Vec<_>>(), real.keys().collect::<Vec<_>>());
    for (name, bytes) in &real {
        assert!(ours[name] == *bytes, "{name} differs");
    }
    for field in ["total_applets", "total_data_instances", "total_high_scores", "applets"] {
        assert_eq!(our_manifest[field], real_manifest[field], "{field}");
    }
    assert_eq!(our_manifest["total_chunks"], ours.keys().filter(|name| name.contains("/chunks/")).count());
    let date = our_manifest["backup_date"].as_str().unwrap();
    assert_eq!(made.file_name().unwrap().to_str().unwrap(), format!("backup_{date}"));
    assert!(our_text.starts_with(&format!("{{\n  \"backup_date\": \"{date}\",\n  \"total_applets\": 6,\n")));
}

#[test]
fn a_real_backup_opens_with_its_makers_key_and_a_second_restore_leaves_everything_as_it_is() {
    let place = Place::with(&[]);
    let restored = place.bulbil(2, &["axon", "restore", REAL, "--key", MAKERS_KEY]);
    // The other three have no chunks of their code in this copy of the real backup.
    let lacking: BTreeSet<&str> =
        restored["result"]["left"].as_array().unwrap().iter().map(|left| left["applet"].as_str().unwrap()).collect();
    assert_eq!(lacking, ["Board Viewer", "Pixel Garden", "Star Miner"].into());
    assert_eq!(
        (&restored["result"]["data"], &restored["result"]["scores"], &restored["result"]["shared_states"]),
        (&json!(6), &json!(4), &json!(1))
    );
    let expected: Value = serde_json::from_slice(
        &fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/axon/1/expected.json")).unwrap(),
    )
    .unwrap();
    for folder in ["Notes", "Tiny_Clock", "Wave_Player"] {
        let hash = expected["applets"][folder]["code"]["content_hash"].as_str().unwrap();
        let checked = place.bulbil(0, &["axon", "check", hash]);
        assert_eq!(checked["result"][0]["verified"], true, "{checked}");
        assert_eq!(checked["result"][0]["applets"], json!([folder.replace('_', " ")]));
        let envelopes = checked["result"][0]["envelopes"].as_array().unwrap();
        assert!(envelopes.iter().any(|envelope| envelope["whose"] == "this instance"), "{envelopes:?}");
    }
    // What is still lacking is said again, and the exit code says so.
    let again = place.bulbil(2, &["axon", "restore", REAL, "--key", MAKERS_KEY]);
    assert_eq!(again["result"]["left"], restored["result"]["left"]);
    assert_eq!((again["result"]["skipped"].as_array().unwrap().len(), &again["result"]["chunks"]), (6, &json!(0)));
    assert_eq!(again["result"]["snapshot"], Value::Null);
    assert_eq!(place.bulbil(0, &["verify", "--data"])["result"]["missing"], json!([]));
    // What was not re-keyed is as it was; what was has one envelope more.
    let made = place.back_up(2);
    for name in ["Star_Miner/high_scores.json", "Star_Miner/shared_state.json", "Pixel_Garden/high_scores.json"] {
        assert!(fs::read(made.join(name)).unwrap() == fs::read(Path::new(REAL).join(name)).unwrap(), "{name}");
    }
    let read = |root: &Path| -> Value {
        serde_json::from_slice(&fs::read(root.join("Notes/metadata.json")).unwrap()).unwrap()
    };
    let (mut ours, real) = (read(&made), read(Path::new(REAL)));
    let envelopes = ours["code_manifest"]["encrypted_aes_keys"].as_object_mut().unwrap();
    assert_eq!(envelopes.len(), 3);
    envelopes.retain(|name, _| real["code_manifest"]["encrypted_aes_keys"].get(name).is_some());
    assert_eq!(ours, real);
}

#[test]
fn an_applet_is_named_as_an_admin_of_a_bbs_names_it() {
    for name in ["Tiny_Clock", "Tiny Clock"] {
        let place = Place::new();
        let backup = place.backup();
        let restore = ["axon", "restore", backup.to_str().unwrap(), "--key", MAKERS_KEY, "--applet"];
        let restored = place.bulbil(0, &[&restore[..], &[name]].concat());
        assert_eq!(names(&restored["result"]["restored"]), ["Tiny Clock".to_owned()].into());
        let refused = run(&place.home(), &[&restore[..], &["tiny clock"]].concat());
        assert_eq!(refused.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&refused.stderr).contains("Notes"));
        let out = place.path("out");
        let made = place.bulbil(0, &["axon", "backup", "--output", out.to_str().unwrap(), "--applet", name]);
        assert_eq!(names(&made["result"]["applets"]), ["Tiny Clock".to_owned()].into());
    }
}

#[test]
fn without_chunks_everything_else_is_restored_and_chunks_come_from_the_folder_later() {
    let place = Place::new();
    let backup = place.backup();
    let restore = ["axon", "restore", backup.to_str().unwrap(), "--key", MAKERS_KEY];
    let restored = place.bulbil(0, &[&restore[..], &["--skip-chunks"]].concat());
    assert_eq!(
        (&restored["result"]["chunks"], restored["result"]["restored"].as_array().unwrap().len()),
        (&json!(0), 3)
    );
    let again = place.restore(0);
    assert_eq!(again["result"]["skipped"].as_array().unwrap().len(), 3);
    assert!(again["result"]["chunks"].as_u64().unwrap() >= 5, "{again}");
    let made = files(&place.back_up(0));
    let count = |all: &BTreeMap<String, Vec<u8>>| all.keys().filter(|name| name.ends_with(".chunk")).count();
    assert_eq!(count(&made), count(&files(&place.backup())));
}

/// One way to harm a backup: what is done to the folder, applets that are refused for it, and a word of what is said.
struct Harm(&'static str, fn(&Place), &'static [&'static str], &'static str);

const HARM: &[Harm] = &[
    Harm("a flipped bit", |p| flip(&p.backup().join("Notes/chunks/0.chunk")), &[], "is not what its hash says"),
    Harm("a flipped bit of a user", |p| flip(&p.backup().join("Notes/data_chunks/bob/0.chunk")), &[], "bob"),
    Harm("no chunk", |p| fs::remove_file(p.backup().join("Notes/chunks/0.chunk")).unwrap(), &[], "chunks are missing"),
    Harm("no chunks", |p| fs::remove_dir_all(p.backup().join("Notes/chunks")).unwrap(), &[], "chunks are missing"),
    Harm("half a metadata.json", |p| cut(&p.backup().join("Notes/metadata.json")), &["Notes"], "metadata.json"),
    Harm("half an applet_data.json", |p| cut(&p.backup().join("Notes/applet_data.json")), &[], "applet_data.json"),
    Harm(
        "no backup_manifest.json",
        |p| fs::remove_file(p.backup().join("backup_manifest.json")).unwrap(),
        &[],
        "not finished",
    ),
    Harm(
        "a hash that climbs",
        |p| p.edit("Notes/metadata.json", |m| m["code_manifest"]["content_hash"] = json!("../../x")),
        &["Notes"],
        "content_hash",
    ),
    Harm(
        "a hash that is a path",
        |p| {
            let outside = p.path("outside");
            p.edit("Notes/metadata.json", |m| m["code_manifest"]["content_hash"] = json!(outside));
        },
        &["Notes"],
        "content_hash",
    ),
    Harm(
        "a user's hash that climbs",
        |p| p.edit("Notes/applet_data.json", |m| m[0]["data_manifest"]["content_hash"] = json!("../../x")),
        &[],
        "row 1",
    ),
    Harm("an id that climbs", |p| p.edit("Notes/metadata.json", |m| m["id"] = json!("../../../x")), &["Notes"], "id"),
    Harm(
        "a user that climbs",
        |p| p.edit("Notes/applet_data.json", |m| m[0]["owner_username"] = json!("../../x")),
        &[],
        "../../x",
    ),
    Harm(
        "another's hash",
        |p| {
            let other: Value =
                serde_json::from_slice(&fs::read(p.backup().join("Tiny_Clock/metadata.json")).unwrap()).unwrap();
            p.edit("Notes/metadata.json", |m| {
                m["code_manifest"]["content_hash"] = other["code_manifest"]["content_hash"].clone()
            });
        },
        &["Notes"],
        "is not what its name says",
    ),
    Harm(
        "a flipped bit of the IV",
        |p| p.edit("Notes/metadata.json", |m| m["code_manifest"]["encryption_iv"] = json!("AAAAAAAAAAAAAAAAAAAAAA==")),
        &["Notes"],
        "is not what its name says",
    ),
    Harm(
        "a link for a chunk",
        |p| {
            fs::remove_file(p.backup().join("Notes/chunks/0.chunk")).unwrap();
            link(&p.path("secret"), &p.backup().join("Notes/chunks/0.chunk"));
        },
        &[],
        "symbolic link",
    ),
    Harm(
        "a link for chunks",
        |p| {
            fs::rename(p.backup().join("Notes/chunks"), p.path("chunks")).unwrap();
            link(&p.path("chunks"), &p.backup().join("Notes/chunks"));
        },
        &[],
        "symbolic link",
    ),
    Harm(
        "a link for users",
        |p| {
            fs::rename(p.backup().join("Notes/data_chunks"), p.path("users")).unwrap();
            link(&p.path("users"), &p.backup().join("Notes/data_chunks"));
        },
        &[],
        "symbolic link",
    ),
    Harm(
        "a link for an applet",
        |p| {
            fs::rename(p.backup().join("Notes"), p.path("Notes")).unwrap();
            link(&p.path("Notes"), &p.backup().join("Notes"));
        },
        &["Notes"],
        "symbolic link",
    ),
    Harm(
        "a link for a file",
        |p| {
            fs::rename(p.backup().join("Notes/metadata.json"), p.path("metadata.json")).unwrap();
            link(&p.path("metadata.json"), &p.backup().join("Notes/metadata.json"));
        },
        &["Notes"],
        "symbolic link",
    ),
    Harm(
        "one name twice",
        |p| {
            copy(&p.backup().join("Notes"), &p.backup().join("Notes-2"));
            p.edit("Notes-2/metadata.json", |m| m["id"] = json!("11111111-2222-4333-8444-555555555555"));
        },
        &["Notes-2"],
        "has the name of",
    ),
    Harm(
        "one id twice",
        |p| {
            copy(&p.backup().join("Notes"), &p.backup().join("Notes-2"));
            p.edit("Notes-2/metadata.json", |m| m["name"] = json!("Other"));
        },
        &["Notes-2"],
        "has the id of",
    ),
    Harm(
        "two applets in one folder",
        |p| {
            fs::copy(p.backup().join("Wave_Player/chunks/1.chunk"), p.backup().join("Notes/chunks/1.chunk")).unwrap();
        },
        &[],
        "another applet",
    ),
    Harm(
        "users of another applet",
        |p| {
            fs::rename(p.backup().join("Notes/applet_data.json"), p.backup().join("Tiny_Clock/applet_data.json"))
                .unwrap();
            fs::rename(p.backup().join("Notes/data_chunks"), p.backup().join("Tiny_Clock/data_chunks")).unwrap();
        },
        &[],
        "belongs to another applet",
    ),
    Harm("a huge file", |p| huge(&p.backup().join("Notes/metadata.json")), &["Notes"], "longer than"),
    Harm("a huge chunk", |p| huge(&p.backup().join("Notes/chunks/0.chunk")), &[], "is not what its hash says"),
    Harm(
        "a file that grows when it is written",
        |p| {
            let deep = format!("{}{}{}", "[".repeat(200), vec!["1"; 3_000_000].join(","), "]".repeat(200));
            let state = format!(
                "{{\"state_data\": {{\"x\": {deep}}}, \"version\": 1, \"last_updated\": \"2026-11-21T20:44:52+00:00\"}}"
            );
            fs::write(p.backup().join("Notes/shared_state.json"), state).unwrap();
        },
        &[],
        "shared_state.json",
    ),
    Harm(
        "a pipe",
        |p| {
            fs::remove_file(p.backup().join("Notes/metadata.json")).unwrap();
            assert!(Command::new("mkfifo").arg(p.backup().join("Notes/metadata.json")).status().unwrap().success());
        },
        &["Notes"],
        "is no file",
    ),
];

/// How many users' data are restored where it is not that of both.
const LESS_DATA: &[(&str, u64)] = &[
    ("half an applet_data.json", 0),
    ("a user's hash that climbs", 1),
    ("a user that climbs", 1),
    ("users of another applet", 0),
];

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[7] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn cut(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

fn huge(path: &Path) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(20 << 30).unwrap();
}

fn link(to: &Path, at: &Path) {
    std::os::unix::fs::symlink(to, at).unwrap();
}

#[test]
fn what_is_damaged_or_hostile_is_said_of_its_applet_and_the_others_are_restored() {
    let place = Place::new();
    assert_eq!(place.restore(0)["result"]["restored"].as_array().unwrap().len(), 3, "the whole one");
    for Harm(what, harm, refused, word) in HARM {
        let place = Place::new();
        harm(&place);
        let before: BTreeSet<_> =
            fs::read_dir(place.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        let document = place.restore(2);
        assert!(said(&document).contains(word), "{what}: {document}");
        assert_eq!(
            names(&document["result"]["refused"]),
            refused.iter().map(|name| (*name).to_owned()).collect(),
            "{what}"
        );
        let mut wanted: BTreeSet<String> = ["Notes", "Tiny Clock", "Wave Player"].map(str::to_owned).into();
        wanted.retain(|name| !refused.contains(&name.as_str()));
        assert_eq!(names(&document["result"]["restored"]), wanted, "{what}");
        let after: BTreeSet<_> =
            fs::read_dir(place.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(before, after, "{what}: something is outside");
        let data = LESS_DATA.iter().find(|(which, _)| which == what).map_or(2, |(_, data)| *data);
        if !refused.contains(&"Notes") {
            assert_eq!(document["result"]["data"], data, "{what}");
        }
        // The snapshot of it opens, and nothing of what was refused is in it.
        assert_eq!(place.bulbil(0, &["verify", "--data"])["result"]["missing"], json!([]), "{what}");
        let secret = files(&place.home()).into_iter().any(|(_, bytes)| bytes == b"secret");
        assert!(!secret, "{what}: what a link leads to was taken");
    }
}

#[test]
fn what_the_backup_says_it_has_and_has_not_is_said() {
    let place = || {
        let place = Place::with(&["Notes", "Pixel_Garden", "Star_Miner"]);
        // Their code has no chunks in this copy, and that is said, too.
        let lacking = place.restore(2);
        assert_eq!(lacking["problems"].as_array().unwrap().len(), 2, "{lacking}");
        Place::with(&["Notes", "Pixel_Garden", "Star_Miner"])
    };
    let star = |place: &Place| place.backup().join("Star_Miner");
    let gone = place();
    fs::remove_dir_all(star(&gone)).unwrap();
    assert!(said(&gone.restore(2)).contains("backup_manifest.json names it"), "{}", gone.restore(2));
    let nameless = place();
    fs::remove_file(star(&nameless).join("metadata.json")).unwrap();
    assert_eq!(names(&nameless.restore(2)["result"]["refused"]), ["Star_Miner".to_owned()].into());
    let short = place();
    fs::remove_file(star(&short).join("high_scores.json")).unwrap();
    fs::remove_file(short.backup().join("Notes/applet_data.json")).unwrap();
    let document = short.restore(2);
    let text = said(&document);
    assert!(text.contains("scores are") && text.contains("users' data are"), "{text}");
    // The whole backup has more than what came of this one, and that is said.
    let whole = place();
    let again = short.bulbil(2, &["axon", "restore", whole.backup().to_str().unwrap(), "--key", MAKERS_KEY]);
    let more = again["result"]["not_taken"].to_string();
    assert!(more.contains("Notes") && more.contains("data of users") && more.contains("scores"), "{again}");
}

#[test]
fn what_is_here_is_replaced_only_when_that_is_said() {
    let place = Place::new();
    place.restore(0);
    place.edit("Notes/metadata.json", |m| m["description"] = json!("newer"));
    // The same name under another id.
    place.edit("Tiny_Clock/metadata.json", |m| m["id"] = json!("11111111-2222-4333-8444-555555555555"));
    flip(&place.backup().join("Wave_Player/chunks/0.chunk"));
    let description = |name: &str| {
        let read = |file: PathBuf| -> Value { serde_json::from_slice(&fs::read(file).unwrap()).unwrap() };
        read(place.back_up(0).join(name).join("metadata.json"))
    };
    // That a chunk is damaged there is said, although what is here does not need it.
    let kept = place.restore(2);
    assert!(said(&kept).contains("Wave Player") && said(&kept).contains("not what its hash says"), "{kept}");
    assert_eq!(kept["result"]["skipped"].as_array().unwrap().len(), 3);
    assert_ne!(description("Notes")["description"], "newer");
    let backup = place.backup();
    let replace = ["axon", "restore", backup.to_str().unwrap(), "--key", MAKERS_KEY, "--replace"];
    let replaced = place.bulbil(2, &replace);
    assert!(
        said(&replaced).contains("Wave Player") && said(&replaced).contains("not what its hash says"),
        "{replaced}"
    );
    assert_eq!(replaced["result"]["replaced"].as_array().unwrap().len(), 3, "{replaced}");
    assert_eq!(description("Notes")["description"], "newer");
    assert_eq!(description("Tiny_Clock")["id"], "11111111-2222-4333-8444-555555555555");
    let all = place.bulbil(0, &["axon", "backup", "--output", place.path("out").to_str().unwrap()]);
    assert_eq!(all["result"]["applets"].as_array().unwrap().len(), 3, "none twice");
    assert_eq!(
        place.bulbil(0, &["snapshots", "axon"])["result"].as_array().unwrap().len(),
        2,
        "what was is in the first"
    );
    // One whose code is not whole takes the place of none.
    place.edit("Wave_Player/metadata.json", |m| {
        m["code_manifest"]["content_hash"] = json!("cd".repeat(32));
        m["code_manifest"]["chunk_hashes"][0] = json!("ab".repeat(32));
    });
    let refused = place.bulbil(2, &replace);
    assert_eq!(names(&refused["result"]["refused"]), ["Wave Player".to_owned()].into());
}

#[test]
fn a_folder_is_checked_against_itself_and_nothing_is_taken() {
    let place = Place::new();
    let backup = place.backup();
    let check = ["axon", "restore", backup.to_str().unwrap(), "--dry-run"];
    let checked = place.bulbil(0, &check);
    assert_eq!(checked["result"]["whole"].as_array().unwrap().len(), 3, "{checked}");
    assert_eq!(place.bulbil(0, &["collection", "list"])["result"], json!([]), "something was made");
    place.restore(0);
    // What is here already hides nothing.
    flip(&place.backup().join("Notes/data_chunks/bob/0.chunk"));
    fs::remove_file(place.backup().join("Tiny_Clock/chunks/0.chunk")).unwrap();
    let checked = place.bulbil(2, &check);
    assert_eq!(names(&checked["result"]["damaged"]), ["Notes".to_owned(), "Tiny Clock".to_owned()].into());
    assert!(said(&checked).contains("bob") && said(&checked).contains("chunks are missing"), "{checked}");
    let again = place.restore(2);
    assert!(said(&again).contains("bob") && said(&again).contains("chunks are missing"), "{again}");
}

#[test]
fn a_key_of_somebody_else_is_said_to_open_nothing() {
    let place = Place::new();
    let backup = place.backup();
    let others = MAKERS_KEY.replace("instance_a", "instance_b");
    let args = ["axon", "restore", backup.to_str().unwrap(), "--key", &others];
    for _ in 0..2 {
        let text = said(&place.bulbil(2, &args));
        assert!(text.contains("is not that of the instance that made it"), "{text}");
        assert!(!text.contains("the private key of the instance that made the backup does"), "{text}");
    }
}

#[test]
fn of_an_incomplete_item_it_is_said_how_much_is_here() {
    let place = Place::new();
    flip(&place.backup().join("Wave_Player/chunks/0.chunk"));
    let restored = place.restore(2);
    let hash = restored["result"]["left"][0]["content_hash"].as_str().unwrap();
    let item = place.bulbil(2, &["axon", "check", hash])["result"][0].clone();
    let lens = fs::read_dir(place.backup().join("Wave_Player/chunks")).unwrap().map(|entry| entry.unwrap());
    let lens = lens.filter(|entry| entry.file_name() != "0.chunk").map(|entry| entry.metadata().unwrap().len());
    let lens: Vec<u64> = lens.collect();
    assert!(!lens.is_empty());
    assert_eq!(
        (&item["chunks_here"], &item["bytes"]),
        (&json!(lens.len()), &json!(lens.iter().sum::<u64>())),
        "{item}"
    );
}

#[test]
fn a_key_that_is_found_later_opens_what_is_here() {
    let place = Place::new();
    let backup = place.backup();
    place.bulbil(2, &["axon", "restore", backup.to_str().unwrap()]);
    place.bulbil(2, &["axon", "extract", "--target", place.path("sealed").to_str().unwrap()]);
    let opened = place.bulbil(0, &["axon", "restore", backup.to_str().unwrap(), "--key", MAKERS_KEY, "--skip-chunks"]);
    assert_eq!((&opened["result"]["opened"], &opened["result"]["chunks"]), (&json!(5), &json!(0)), "{opened}");
    assert_eq!(opened["result"]["skipped"].as_array().unwrap().len(), 3);
    let plain = place.bulbil(0, &["axon", "extract", "--target", place.path("plain").to_str().unwrap()]);
    assert_eq!((&plain["result"]["code"], &plain["result"]["data"]), (&json!(3), &json!(2)));
}

#[test]
fn an_applet_of_many_users_needs_few_open_files() {
    let place = Place::new();
    let mut owner = String::new();
    place.edit("Notes/applet_data.json", |rows| {
        let row = rows[0].clone();
        owner = row["owner_username"].as_str().unwrap().to_owned();
        let many = (0..300).map(|n| {
            let mut row = row.clone();
            row["id"] = json!(format!("11111111-2222-4333-8444-{n:012}"));
            row["owner_username"] = json!(format!("user{n}"));
            row
        });
        *rows = many.collect();
    });
    for n in 0..300 {
        copy(
            &place.backup().join("Notes/data_chunks").join(&owner),
            &place.backup().join(format!("Notes/data_chunks/user{n}")),
        );
    }
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 100; exec \"$@\"", "sh", BULBIL, "--json", "--home"]).arg(place.home());
    let done = command.args(["axon", "restore"]).arg(place.backup()).args(["--key", MAKERS_KEY]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let done: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(done["result"]["data"], 300);
}

#[test]
fn a_name_moves_no_cursor() {
    let place = Place::new();
    place.edit("Notes/metadata.json", |m| m["name"] = json!("\u{1b}[2JNotes"));
    fs::remove_file(place.backup().join("Notes/chunks/0.chunk")).unwrap();
    link(&place.path("secret"), &place.backup().join("Notes/chunks/0.chunk"));
    fs::rename(place.backup().join("Notes"), place.backup().join("\u{1b}[2JNotes")).unwrap();
    let output = run(&place.home(), &["axon", "restore", place.backup().to_str().unwrap(), "--key", MAKERS_KEY]);
    let said = [output.stdout, output.stderr].concat();
    assert!(String::from_utf8_lossy(&said).contains("symbolic link") && !said.contains(&0x1b));
}

#[test]
fn what_is_no_backup_says_so() {
    let place = Place::new();
    fs::create_dir(place.path("empty")).unwrap();
    let fails = |path: PathBuf| {
        let output = run(&place.home(), &["axon", "restore", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(fails(place.path("empty")).contains("is no backup"));
    assert!(fails(place.path("nowhere")).contains("is not there"));
    assert!(fails(place.dir.path().to_owned()).contains("backup_20261121_205042"), "the one that is meant is named");
}

#[test]
fn applets_whose_folders_would_be_one_are_both_written_and_it_is_said() {
    let place = Place::new();
    place.edit("Notes/metadata.json", |m| m["name"] = json!("A/B C"));
    place.edit("Tiny_Clock/metadata.json", |m| m["name"] = json!("A B C"));
    place.edit("Wave_Player/metadata.json", |m| m["name"] = json!(".."));
    place.lists(["A/B C", "A B C", ".."].map(str::to_owned).into());
    place.restore(0);
    let made = place.bulbil(2, &["axon", "backup", "--output", place.path("out").to_str().unwrap()]);
    assert!(said(&made).contains("A_B_C"), "{made}");
    let folder = PathBuf::from(made["result"]["folder"].as_str().unwrap());
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        let metadata: Value = serde_json::from_slice(&fs::read(entry.join("metadata.json")).unwrap()).unwrap();
        found.insert(metadata["name"].as_str().unwrap().to_owned());
        let chunks = metadata["code_manifest"]["chunk_hashes"].as_array().unwrap().len();
        assert_eq!(fs::read_dir(entry.join("chunks")).unwrap().count(), chunks);
    }
    assert_eq!(found, ["A/B C", "A B C", ".."].map(str::to_owned).into());
    assert_eq!(fs::read_dir(place.path("out")).unwrap().count(), 1);
    // And all of them come back.
    let other = Place::new();
    let restored = other.bulbil(0, &["axon", "restore", folder.to_str().unwrap(), "--key", MAKERS_KEY]);
    assert_eq!(restored["result"]["restored"].as_array().unwrap().len(), 3);
}

impl World {
    /// A backup made by the peer in Python; its folder.
    fn peers_backup(&self) -> PathBuf {
        let made: Value =
            serde_json::from_str(&self.axon(&["backup"], &["--output", self.path("theirs").to_str().unwrap()]))
                .unwrap();
        PathBuf::from(made["folder"].as_str().unwrap())
    }

    /// Takes all applets away at the BBS, with their chunks: its disk was lost, its users and its key were not.
    fn loses_its_applets(&self) {
        let path = self.path("bbs/state.json");
        let mut state: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for table in ["applets", "applet_data", "high_scores", "shared_states"] {
            assert!(!state[table].as_array().unwrap().is_empty(), "{table}");
            state[table] = json!([]);
        }
        fs::write(path, serde_json::to_vec(&state).unwrap()).unwrap();
        let chunks =
            files(&self.path("bbs")).keys().filter(|name| name.ends_with(".chunk")).cloned().collect::<Vec<_>>();
        assert!(!chunks.is_empty());
        chunks.iter().for_each(|chunk| fs::remove_file(self.path("bbs").join(chunk)).unwrap());
    }
}

/// What applets, users' data, scores and states are, without what a restore may change.
fn essence(dump: &Value) -> Value {
    let mut all = serde_json::Map::new();
    for (table, fields) in [
        (
            "applets",
            &["id", "name", "description", "author_pubkey", "parameters", "is_local", "handles_mime_types"][..],
        ),
        ("applet_data", &["id", "applet"][..]),
        ("high_scores", &["applet", "owner_pubkey", "score", "wins", "last_updated"][..]),
        ("shared_states", &["applet", "state_data", "version", "last_updated"][..]),
    ] {
        let mut rows: Vec<Value> = dump[table]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| {
                let mut kept: serde_json::Map<String, Value> =
                    fields.iter().map(|field| ((*field).to_owned(), row[field].clone())).collect();
                if let Some(content) = row.get("content").filter(|content| !content.is_null()) {
                    assert_eq!(content["plaintext_is_content_hash"], true, "{row}");
                    kept.insert("content".to_owned(), content["plaintext_sha256"].clone());
                }
                Value::Object(kept)
            })
            .collect();
        rows.sort_by_key(Value::to_string);
        all.insert(table.to_owned(), Value::Array(rows));
    }
    Value::Object(all)
}

#[test]
fn a_bbs_that_lost_its_applets_gets_them_back_from_what_was_restored_and_written_here() {
    let mut world = World::new(&["--messages", "1", "--files", "1", "--pms", "0"]);
    let before = world.dump();
    let theirs = world.peers_backup();
    world.serves(&[]);
    world.bulbil(0, &["peer", "add", "--kind", "axon", &world.url, "--yes"]);
    // Nobody here can open it, since it was made before this instance was trusted there; it is kept all the same.
    let restored = world.bulbil(2, &["axon", "restore", theirs.to_str().unwrap()]);
    assert_eq!(restored["result"]["restored"].as_array().unwrap().len(), before["applets"].as_array().unwrap().len());
    let out = world.path("out");
    let made = world.bulbil(0, &["axon", "backup", "--output", out.to_str().unwrap()]);
    let folder = made["result"]["folder"].as_str().unwrap().to_owned();
    // The same files, but for what a read item leaves at the BBS.
    let mut wanted = files(&theirs);
    wanted.retain(|name, _| !name.ends_with(".manifest"));
    let ours = files(Path::new(&folder));
    assert_eq!(ours.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
    world.stops();
    world.loses_its_applets();
    let report = world.axon(&["restore"], &[&folder, "--rekey"]);
    assert!(!report.contains("Failed") && !report.contains("skipped"), "{report}");
    assert_eq!(essence(&world.dump()), essence(&before));
}

#[test]
fn a_backup_moves_applets_to_another_bbs_when_its_makers_key_is_at_hand() {
    let mut world = World::new(&["--messages", "1", "--files", "1", "--pms", "0"]);
    let (theirs, before) = (world.peers_backup(), world.dump());
    fs::write(world.path("maker.pem"), world.axon(&["key"], &["--private"])).unwrap();
    let state =
        |world: &World| -> Value { serde_json::from_slice(&fs::read(world.path("bbs/state.json")).unwrap()).unwrap() };
    let users = state(&world)["users"].clone();
    // The old BBS is gone; a new one, under a key of its own and with the same users, is known here.
    fs::remove_dir_all(world.path("bbs")).unwrap();
    world.axon(&["new"], &["--seed", "8"]);
    let mut new = state(&world);
    new["users"] = users;
    fs::write(world.path("bbs/state.json"), serde_json::to_vec(&new).unwrap()).unwrap();
    world.serves(&[]);
    let added = world.bulbil(0, &["peer", "add", "--kind", "axon", &world.url, "--yes", "--name", "heir"]);
    let maker = world.path("maker.pem");
    let restore = ["axon", "restore", theirs.to_str().unwrap(), "--rekey", "--key", maker.to_str().unwrap()];
    let restored = world.bulbil(0, &restore);
    assert_eq!(restored["result"]["left"], json!([]), "{added}");
    let out = world.path("out");
    let made = world.bulbil(0, &["axon", "backup", "--output", out.to_str().unwrap(), "--for", "heir"]);
    let folder = made["result"]["folder"].as_str().unwrap();
    let code = fs::read(Path::new(folder).join("Notes/metadata.json")).unwrap();
    let code: Value = serde_json::from_slice(&code).unwrap();
    let envelopes = code["code_manifest"]["encrypted_aes_keys"].as_object().unwrap();
    assert_eq!(envelopes.len(), 2, "re-keyed for this instance and the new one: {envelopes:?}");
    world.stops();
    let report = world.axon(&["restore"], &[folder, "--rekey"]);
    assert!(!report.contains("Failed"), "{report}");
    assert_eq!(essence(&world.dump()), essence(&before));
}

#[test]
fn a_clone_with_a_backup_fetches_only_what_the_backup_has_not() {
    let mut world = World::new(&[]);
    let theirs = world.peers_backup();
    // One chunk is damaged there, one is missing.
    let chunks: Vec<String> =
        files(&theirs).into_keys().filter(|name| name.contains("/chunks/") && name.ends_with(".chunk")).collect();
    flip(&theirs.join(&chunks[0]));
    fs::remove_file(theirs.join(&chunks[1])).unwrap();
    let applets: BTreeSet<String> = world.dump()["applets"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|applet| applet["content"]["content_hash"].as_str().map(str::to_owned))
        .collect();
    world.serves(&[]);
    world.bulbil(0, &["peer", "add", "--kind", "axon", &world.url, "--yes"]);
    // While the BBS is away, what the folder has is taken all the same.
    world.stops();
    world.fails(&["axon", "clone", &world.url, "--yes", "--backup-dir", theirs.to_str().unwrap()]);
    assert_eq!(world.bulbil(0, &["snapshots", "axon"])["result"].as_array().unwrap().len(), 1);
    world.serves(&[]);
    world.asked();
    // That the folder is damaged is said, although the BBS has what it lacks; that a chunk is missing there is what a clone is for.
    let cloned = world.bulbil(2, &["axon", "clone", &world.url, "--yes", "--backup-dir", theirs.to_str().unwrap()]);
    assert_eq!(cloned["problems"].as_array().unwrap().len(), 1, "{cloned}");
    assert!(said(&cloned).contains("not what its hash says"), "{cloned}");
    assert_eq!(cloned["result"]["restored"]["skipped"].as_array().unwrap().len(), 6, "{cloned}");
    let asked = world.asked();
    let of_applets = asked
        .iter()
        .filter(|(path, _)| path.contains("/chunk/") && applets.iter().any(|hash| path.contains(hash.as_str())));
    assert_eq!(of_applets.count(), 2, "{asked:?}");
    let made = world.bulbil(0, &["axon", "backup", "--output", world.path("out").to_str().unwrap()]);
    assert_eq!(made["result"]["chunks"], chunks.len());
    // Nothing is asked for again, and the folder adds nothing.
    world.bulbil(2, &["axon", "clone", &world.url, "--yes", "--backup-dir", theirs.to_str().unwrap()]);
    assert_eq!(world.asked().iter().filter(|(path, _)| path.contains("/chunk/")).count(), 0);
}

#[test]
fn what_is_sealed_anew_over_there_is_backed_up_as_it_is_here() {
    let mut world = World::new(&["--messages", "0", "--files", "0", "--pms", "0", "--applets", "1"]);
    world.serves(&[]);
    world.bulbil(0, &["axon", "clone", &world.url, "--yes"]);
    let hash = world.dump()["applets"][0]["content"]["content_hash"].as_str().unwrap().to_owned();
    world.stops();
    world.axon(&["reseal"], &[&hash]);
    // It was sealed anew as the file that it is, too: the applet follows.
    let path = world.path("bbs/state.json");
    let mut state: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let files = state["files"].as_array().unwrap();
    let anew = files.iter().find(|row| row["manifest"]["content_hash"] == hash.as_str()).unwrap()["manifest"].clone();
    assert_ne!(state["applets"][0]["code_manifest"]["encryption_iv"], anew["encryption_iv"]);
    state["applets"][0]["code_manifest"] = anew;
    fs::write(path, serde_json::to_vec(&state).unwrap()).unwrap();
    world.serves(&[]);
    world.bulbil(0, &["axon", "clone", &world.url, "--yes"]);
    let made = world.bulbil(0, &["axon", "backup", "--output", world.path("out").to_str().unwrap()]);
    assert!(made["result"]["chunks"].as_u64().unwrap() > 0, "{made}");
}

/// Starts a command and kills it as soon as `reached` says so; false if it ended before.
fn kill_when(home: &Path, args: &[&str], mut reached: impl FnMut() -> bool) -> bool {
    let mut command = Command::new(BULBIL);
    command.arg("--home").arg(home).args(args).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    loop {
        if reached() {
            let ended = child.try_wait().unwrap().is_some();
            child.kill().unwrap();
            child.wait().unwrap();
            return !ended;
        }
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::yield_now();
    }
}

#[test]
fn r8_killed_anywhere_in_a_restore_or_a_backup_the_same_command_goes_on() {
    let world = World::new(&["--messages", "0", "--files", "0", "--pms", "0", "--applets", "12"]);
    let theirs = world.peers_backup();
    fs::write(world.path("maker.pem"), world.axon(&["key"], &["--private"])).unwrap();
    let maker = world.path("maker.pem");
    let restore = ["axon", "restore", theirs.to_str().unwrap(), "--key", maker.to_str().unwrap()];
    let total = files(&theirs).keys().filter(|name| name.ends_with(".chunk")).count();
    let chunks = |home: &Path| walk(&home.join("chunks"));
    let mut kills = 0;
    for after in [1, total / 3, total / 2, total - 1] {
        let home = world.path(&format!("home-{after}"));
        copy(&world.home(), &home);
        kills += usize::from(kill_when(&home, &restore, || chunks(&home) >= after));
        let again: Value = serde_json::from_str(&expect(0, &home, &[&["--json"][..], &restore].concat())).unwrap();
        let (new, old) = (&again["result"]["restored"], &again["result"]["skipped"]);
        assert_eq!(new.as_array().unwrap().len() + old.as_array().unwrap().len(), 12, "{again}");
        let out = world.path(&format!("out-{after}"));
        let backup = ["axon", "backup", "--output", out.to_str().unwrap()];
        let written = || walk(&out) >= after;
        kills += usize::from(kill_when(&home, &backup, written));
        let whole = |entry: &Path| entry.join("backup_manifest.json").exists();
        let backups = || -> Vec<PathBuf> {
            let all = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path());
            all.filter(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('.')).collect()
        };
        assert!(backups().iter().all(|path| whole(path)), "half a backup looks like one");
        expect(0, &home, &backup);
        let newest = backups().into_iter().max().unwrap();
        let ours = files(&newest);
        for (name, bytes) in files(&theirs).iter().filter(|(name, _)| name.ends_with(".chunk")) {
            assert!(ours[name] == *bytes, "{name} after {after}");
        }
        let left = fs::read_dir(&out)
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with('.'));
        assert_eq!(left.count(), 0, "what the kill left goes with the next backup");
    }
    assert!(kills >= 4, "only {kills} kills hit");
}

/// How many files are below a folder that is being written.
fn walk(dir: &Path) -> usize {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries.flatten().map(|entry| if entry.path().is_dir() { walk(&entry.path()) } else { 1 }).sum()
}

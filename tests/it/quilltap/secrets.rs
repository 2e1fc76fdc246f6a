//! Rows 16 and 17: secrets that are not in the data.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{World, said, write};
use crate::support;

/// That of the generator.
const PEPPER: &str = "fixture-pepper-not-a-secret-0123456789abcdefghij=";
const OTHER: &str = "another pepper, of more than thirty-two letters";
const NAME: &str = "ENCRYPTION_MASTER_PEPPER";

/// A world whose application has this pepper, with the recovery key of its home in a file.
fn world(pepper: &str) -> (World, String) {
    let world = World::new();
    let key = new_home(&world, "home");
    world.make("app17");
    write(&world.app().join(".env"), &format!("# made by hand\nexport {NAME}=\"{pepper}\"\r\nNEXTAUTH_SECRET=short\n"));
    let added = world.good(&["collection", "add", "tales", "--preset", "quilltap", world.app().to_str().unwrap()]);
    assert!(added.contains(NAME) && added.contains("found in"), "{added}");
    (world, key)
}

/// Makes a home of this name; the file with its recovery key.
fn new_home(world: &World, name: &str) -> String {
    let home = world.path(name);
    let _ = fs::remove_dir_all(&home);
    let made: serde_json::Value =
        serde_json::from_str(&support::expect(0, &home, &["init", "--name", "alpha", "--json"])).unwrap();
    let file = world.path(&format!("{name}.key"));
    fs::write(&file, made["result"]["recovery_key"].as_str().unwrap()).unwrap();
    file.to_str().unwrap().to_owned()
}

fn documents(home: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(home.join("escrow")) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Whether these bytes stand in a file below this folder.
fn stands_in(folder: &Path, needle: &[u8]) -> Option<PathBuf> {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if let Some(found) = stands_in(&path, needle) {
                return Some(found);
            }
        } else if path.is_file() && fs::read(&path).unwrap().windows(needle.len()).any(|window| window == needle) {
            return Some(path);
        }
    }
    None
}

#[test]
fn row_17_the_pepper_is_kept_apart_from_the_data_and_only_its_keepers_open_it() {
    let (world, key) = world(PEPPER);
    let made = world.run(&["backup"]);
    assert!(made.status.success() && said(&made).contains(&format!("stored {NAME}")), "{}", said(&made));
    assert!(!said(&made).contains(PEPPER));
    // Once: the next backup has nothing to store.
    assert!(!said(&world.run(&["backup"])).contains("stored ENC"));

    let [document] = documents(&world.home()).try_into().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&document), mode(document.parent().unwrap())), (0o600, 0o700));
    for needle in [PEPPER.as_bytes(), data_encoding::BASE64.encode(PEPPER.as_bytes()).as_bytes()] {
        assert_eq!(stands_in(&world.home(), needle), None);
    }
    // Each snapshot says which one belongs to it.
    let listed = world.json(0, &["secret", "list"]);
    let pepper = listed.as_array().unwrap().iter().find(|secret| secret["name"] == NAME).unwrap();
    assert_eq!(pepper["snapshots"], serde_json::json!([1, 2]), "{listed}");
    let inspected = world.json(0, &["inspect", "tales@1"]);
    let marks = inspected["secrets"].as_array().unwrap();
    assert!(
        marks.iter().any(|mark| mark["name"] == NAME && mark["fingerprint"] == pepper["fingerprint"]),
        "{inspected}"
    );
    let snapshots = world.json(0, &["snapshots"]);
    assert!(snapshots[0]["capture"]["secrets"].to_string().contains(NAME), "{snapshots}");

    // This instance, whoever has the recovery key, and nobody else.
    assert_eq!(world.good(&["secret", "show", "tales", NAME]).trim_end(), PEPPER);
    assert_eq!(world.good(&["secret", "show", "tales", NAME, "--recovery-key-file", &key]).trim_end(), PEPPER);
    let (document, nowhere) = (document.to_str().unwrap(), world.path("no-home"));
    let with = |key: &str, code| {
        support::expect(code, &nowhere, &["secret", "show", NAME, "--document", document, "--recovery-key-file", key])
    };
    assert_eq!(with(&key, 0).trim_end(), PEPPER);
    let other = new_home(&world, "other");
    assert!(!with(&other, 1).contains(PEPPER));
    let output = world.path("out/pepper");
    fs::create_dir(output.parent().unwrap()).unwrap();
    let args = ["secret", "show", "tales", NAME, "--output", output.to_str().unwrap()];
    world.good(&args);
    assert_eq!((fs::read_to_string(&output).unwrap().as_str(), mode(&output)), (PEPPER, 0o600));
    support::expect(1, &world.home(), &args);
    let audit = world.good(&["audit", "--limit", "100"]);
    assert!(audit.contains("secret show") && audit.contains("recovery-key") && !audit.contains(PEPPER), "{audit}");
}

#[test]
fn row_17_what_is_unset_or_empty_is_an_error_and_makes_no_file() {
    let world = World::with("app17");
    for args in [
        &["secret", "add", "tales", NAME, "--from-env", "BULBIL_TEST_IS_NOT_SET"][..],
        &["secret", "add", "tales", NAME, "--from-env-file", "/dev/null"],
        &["secret", "add", "tales", NAME, "--from-file", "/dev/null"],
        &["secret", "add", "tales", NAME],
    ] {
        support::expect(1, &world.home(), args);
        assert_eq!(documents(&world.home()), [""; 0].map(PathBuf::from), "{args:?}");
    }
    write(&world.app().join(".env"), &format!("{NAME}=\n"));
    // A required one that is nowhere is said with each backup, until somebody says that it is kept elsewhere.
    for _ in 0..2 {
        let made = world.run(&["backup", "--quiet"]);
        assert!(
            said(&made).contains(&format!("warning: {NAME}")) && said(&made).contains("is empty in"),
            "{}",
            said(&made)
        );
    }
    assert_eq!(world.json(0, &["backup"])[0]["secrets"]["missing"][0]["name"], NAME);
    assert!(documents(&world.home()).is_empty());
    world.good(&["secret", "elsewhere", "tales", NAME]);
    let made = world.run(&["backup"]);
    assert!(made.status.success() && !said(&made).contains(NAME), "{}", said(&made));
    // Kept elsewhere means not here, also when it is found; which one it was is known all the same.
    write(&world.app().join(".env"), &format!("{NAME}={PEPPER}\n"));
    let made = world.run(&["backup"]);
    assert!(!said(&made).contains(&format!("stored {NAME}")), "{}", said(&made));
    assert!(world.good(&["inspect", "tales"]).contains(NAME));
    support::expect(1, &world.home(), &["secret", "show", "tales", NAME]);
    world.good(&["secret", "elsewhere", "tales", NAME, "--undo"]);
    assert!(said(&world.run(&["backup"])).contains(&format!("stored {NAME}")));
}

#[test]
fn row_17_a_restore_with_another_pepper_warns_before_anything_is_put_in_place() {
    let (world, _) = world(PEPPER);
    world.good(&["backup"]);
    let target = world.path("target");
    write(&target.join(".env"), &format!("{NAME}='{OTHER}'\n"));
    let args = ["restore", "tales", "--target", target.to_str().unwrap()];
    let restored = world.run(&[&args[..], &["--dry-run"]].concat());
    assert!(restored.status.code() == Some(2) && said(&restored).contains("another one"), "{}", said(&restored));
    assert!(!target.join("data").exists());
    let restored = world.run(&args);
    let said = said(&restored);
    assert_eq!(restored.status.code(), Some(2), "{said}");
    assert!(said.contains(&format!("warning: {NAME} in {}", target.join(".env").display())), "{said}");
    assert!(!said.contains(PEPPER) && !said.contains(OTHER));
    assert!(target.join("data/settings/general.json").exists());
    // The right one, in the target and as a file that is named: nothing to say.
    write(&target.join(".env"), &format!("{NAME}='{PEPPER}'\n"));
    world.good(&args);
    let file = world.path("given.env");
    write(&file, &format!("{NAME}={OTHER}\n"));
    let args = ["restore", "tales", "--target", target.to_str().unwrap(), "--secrets", file.to_str().unwrap()];
    assert_eq!(world.run(&args).status.code(), Some(2));
}

#[test]
fn row_17_of_several_each_snapshot_keeps_its_own_until_it_is_removed() {
    let (world, _) = world(PEPPER);
    world.good(&["backup"]);
    write(&world.app().join(".env"), &format!("{NAME}={OTHER}\n"));
    world.good(&["backup"]);
    let listed = world.json(0, &["secret", "list", "tales"]);
    let peppers: Vec<_> = listed.as_array().unwrap().iter().filter(|secret| secret["name"] == NAME).collect();
    assert_eq!(
        (peppers.len(), &peppers[0]["snapshots"], &peppers[1]["snapshots"]),
        (2, &serde_json::json!([2]), &serde_json::json!([1]))
    );
    let first = peppers[1]["fingerprint"].as_str().unwrap();
    assert_eq!(world.good(&["secret", "show", "tales", NAME]).trim_end(), OTHER);
    let args = ["secret", "show", "tales", NAME, "--fingerprint", &first[..8]];
    assert_eq!(world.good(&args).trim_end(), PEPPER);
    // A drill takes the one that belongs to its snapshot.
    assert_eq!(world.json(0, &["drill", "tales", "--snapshot", "1"])["content"]["opened"], 5);
    assert_eq!(world.json(2, &["drill", "tales", "--snapshot", "2"])["content"]["opened"], 0);
    let args = ["secret", "remove", "tales", NAME, "--fingerprint", &first[..8]];
    let refused = support::expect(1, &world.home(), &args);
    assert!(refused.is_empty());
    world.good(&[&args[..], &["--force"]].concat());
    assert_eq!(world.good(&["secret", "show", "tales", NAME]).trim_end(), OTHER);
    support::expect(1, &world.home(), &["secret", "show", "tales", NAME, "--fingerprint", &first[..8]]);
}

#[test]
fn row_17_a_whole_file_is_kept_as_it_is() {
    let world = World::new();
    let app = world.app();
    write(&app.join("data/quilltap.db"), "not SQLite: it is encrypted");
    let key = "{\n  \"version\": 1,\r\n  \"wrapped\": \"0123\"\n}\n";
    write(&app.join("data/quilltap.dbkey"), key);
    world.good(&["collection", "add", "tales", "--preset", "quilltap", app.to_str().unwrap()]);
    world.good(&["collection", "set", "tales", "--no-hooks"]);
    let made = world.run(&["backup", "--capture", "stopped"]);
    assert!(said(&made).contains("stored quilltap.dbkey"), "{}", said(&made));
    assert!(!world.listed().iter().any(|path| path.contains("dbkey")));
    assert_eq!(world.good(&["secret", "show", "tales", "quilltap.dbkey"]), key);
}

#[test]
fn row_17_it_comes_through_a_portable_backup_and_a_rebuild_to_whoever_has_the_recovery_key() {
    let (world, key) = world(PEPPER);
    let (usb, away) = (world.path("usb"), world.path("away"));
    world.good(&["backup", "--output", usb.to_str().unwrap()]);
    world.good(&["rebuild"]);
    assert_eq!(world.good(&["secret", "show", "tales", NAME]).trim_end(), PEPPER);
    let exported = fs::read_dir(&usb).unwrap().next().unwrap().unwrap().path();
    assert_eq!(stands_in(&exported, b"BULBIL-VAULT"), None);
    assert_eq!(stands_in(&exported, PEPPER.as_bytes()), None);
    fs::rename(world.home(), &away).unwrap();
    // The file of the new home's key has the name of this one.
    let old = world.path("old.key");
    fs::rename(&key, &old).unwrap();
    let key = old.to_str().unwrap().to_owned();

    new_home(&world, "home");
    let args = ["import", usb.to_str().unwrap(), "--rekey", "--recovery-key-file", &key];
    world.good(&args);
    world.good(&args);
    assert_eq!(world.good(&["secret", "show", "tales", NAME]).trim_end(), PEPPER);
    assert_eq!(world.json(0, &["drill", "tales", "--preset", "quilltap"])["content"]["opened"], 5);
    let target = world.path("target");
    write(&target.join(".env"), &format!("{NAME}='{OTHER}'\n"));
    let restored = world.run(&["restore", "tales", "--target", target.to_str().unwrap()]);
    assert!(restored.status.code() == Some(2) && said(&restored).contains("another one"), "{}", said(&restored));

    // Without the recovery key it is kept for whoever has it.
    new_home(&world, "home");
    world.good(&["import", usb.to_str().unwrap()]);
    let listed = world.json(0, &["secret", "list"]);
    assert_eq!((&listed[0]["opens_here"], listed.as_array().unwrap().len()), (&false.into(), 2), "{listed}");
    // Its name stands in the snapshots, which do not open here.
    let tales = listed[0]["collection"].as_str().unwrap();
    support::expect(1, &world.home(), &["secret", "show", tales, NAME]);
    let shown = world.good(&["secret", "show", tales, NAME, "--recovery-key-file", &key]);
    assert_eq!(shown.trim_end(), PEPPER);
}

#[test]
fn row_17_what_somebody_wrote_into_a_portable_backup_does_not_take_the_place_of_what_is_in_use() {
    let (world, _) = world(PEPPER);
    let usb = world.path("usb");
    world.good(&["backup", "--output", usb.to_str().unwrap()]);
    let exported = fs::read_dir(&usb).unwrap().next().unwrap().unwrap().path();
    let folder = fs::read_dir(exported.join("collections")).unwrap().next().unwrap().unwrap().path();
    let mut files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let file = files.find(|path| path.file_name().unwrap().to_string_lossy().starts_with("escrow-")).unwrap();
    let mut document: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let mut forged = document["secrets"][0].clone();
    forged["since"] = "2199-01-01T00:00:00Z".into();
    forged["fingerprint"] = format!("{}{}", "0".repeat(32), document["fingerprint_key_id"].as_str().unwrap()).into();
    document["secrets"].as_array_mut().unwrap().push(forged);
    document["elsewhere"] = serde_json::json!([NAME]);
    fs::write(&file, document.to_string()).unwrap();
    world.good(&["import", usb.to_str().unwrap()]);
    assert_eq!(world.good(&["secret", "show", "tales", NAME]).trim_end(), PEPPER);
    assert_eq!(world.json(0, &["secret", "list"]).as_array().unwrap().len(), 2);
    assert_eq!(world.json(0, &["drill", "tales"])["content"]["opened"], 5);
    // One that is no document is said, and the rest comes in.
    fs::write(&file, "{}").unwrap();
    let imported = world.run(&["import", usb.to_str().unwrap()]);
    assert!(imported.status.code() == Some(2) && said(&imported).contains("escrow"), "{}", said(&imported));
}

#[test]
fn row_16_a_drill_opens_sealed_fields_with_the_stored_pepper() {
    let (world, _) = world(PEPPER);
    world.good(&["backup"]);
    let drilled = world.json(0, &["drill", "tales"]);
    assert_eq!(
        (&drilled["good"], &drilled["content"]["opened"]),
        (&true.into(), &drilled["content"]["sealed"]),
        "{drilled}"
    );
    assert_eq!(world.json(0, &["check", "tales"])["opened"], 5);
    assert_eq!(world.json(0, &["check", "tales", "--snapshot", "latest"])["opened"], 5);
}

#[test]
fn row_16_with_the_wrong_pepper_stored_a_drill_fails_and_without_one_it_says_so() {
    let (wrong, _) = world(OTHER);
    wrong.good(&["backup"]);
    let drilled = wrong.run(&["drill", "tales"]);
    assert!(
        drilled.status.code() == Some(2) && said(&drilled).contains("0 of 5 sealed fields open"),
        "{}",
        said(&drilled)
    );
    let without = World::with("app17");
    without.run(&["backup"]);
    let drilled = without.run(&["drill", "tales"]);
    assert!(
        drilled.status.success() && said(&drilled).contains("5 sealed fields were not opened"),
        "{}",
        said(&drilled)
    );
}

#[test]
fn row_17_the_sheet_has_codes_that_the_recovery_key_opens_and_nothing_in_the_clear() {
    let (world, key) = world(PEPPER);
    write(&world.app().join("long.key"), &"0123456789abcdef".repeat(60));
    world.good(&["secret", "add", "tales", "long.key", "--from-file", world.app().join("long.key").to_str().unwrap()]);
    world.good(&["backup"]);
    let page = world.path("sheet.html");
    world.good(&["recovery", "sheet", "tales", "--output", page.to_str().unwrap()]);
    assert_eq!(fs::metadata(&page).unwrap().permissions().mode() & 0o777, 0o600);
    let html = fs::read_to_string(&page).unwrap();
    let recovery = fs::read_to_string(&key).unwrap();
    assert!(!html.contains(PEPPER) && !html.contains(&recovery) && !html.contains("0123456789abcdef0123"));
    // Nothing runs, and nothing is loaded.
    for foreign in ["<script", "<svg", "http://", "https://", "url(", "@import", "<link"] {
        assert!(!html.contains(foreign), "{foreign}");
    }
    assert_eq!(html.matches("src=").count(), html.matches(PICTURE).count());
    let codes = decoded(&html);
    assert!(codes.len() > 3 && codes.iter().all(|code| code.starts_with("BULBIL-SECRET-1:")), "{codes:?}");
    let scanned = world.path("scanned.txt");
    fs::write(&scanned, codes.join("\n")).unwrap();
    let nowhere = world.path("no-home");
    let show = |name: &str, key: &str, code: i32| {
        let scanned = scanned.to_str().unwrap();
        support::expect(code, &nowhere, &["secret", "show", name, "--document", scanned, "--recovery-key-file", key])
    };
    assert_eq!(show(NAME, &key, 0).trim_end(), PEPPER);
    assert_eq!(show("long.key", &key, 0), "0123456789abcdef".repeat(60));
    show(NAME, &new_home(&world, "other"), 1);
    // The text beside the codes says the same, and so does the sheet on a terminal.
    let typed = world.good(&["recovery", "sheet"]);
    for text in [&html, &typed] {
        fs::write(&scanned, text).unwrap();
        assert_eq!(show(NAME, &key, 0).trim_end(), PEPPER);
    }
    assert!(typed.contains("cannot be printed") && typed.contains("bulbil import /media/DISK --rekey"), "{typed}");

    // With the recovery key; not with another one's.
    let with_key = world.path("with-key.html");
    let args = ["recovery", "sheet", "--output", with_key.to_str().unwrap(), "--recovery-key-file", &key];
    world.good(&args);
    assert_eq!(decoded(&fs::read_to_string(&with_key).unwrap())[0], recovery.trim());
    let args =
        ["recovery", "sheet", "--recovery-key-file", world.path("other.key").to_str().unwrap()].map(str::to_owned);
    support::expect(1, &world.home(), &args.iter().map(String::as_str).collect::<Vec<_>>());
}

const PICTURE: &str = "src=\"data:image/png;base64,";

/// What a camera reads from the codes of a page.
fn decoded(html: &str) -> Vec<String> {
    let pictures = html.split(PICTURE).skip(1).map(|picture| {
        let png = data_encoding::BASE64.decode(picture.split('"').next().unwrap().as_bytes()).unwrap();
        let pixels = tiny_skia::Pixmap::decode_png(&png).unwrap();
        let (width, height) = (pixels.width() as usize, pixels.height() as usize);
        let grey = |x: usize, y: usize| pixels.pixels()[y * width + x].red();
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, grey);
        let [grid] = image.detect_grids().try_into().ok().expect("one code in each picture");
        grid.decode().unwrap().1
    });
    pictures.collect()
}

#[test]
fn row_17_a_secret_from_standard_input_and_from_the_environment() {
    let world = World::with("app17");
    let bulbil = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bulbil"));
        command.arg("--home").arg(world.home()).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let mut child = bulbil(&["secret", "add", "tales", NAME]).stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), format!("{PEPPER}\n").as_bytes()).unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(world.good(&["secret", "show", "tales", NAME]).trim_end(), PEPPER);
    let added = bulbil(&["secret", "add", "tales", NAME, "--from-env", "X"]).env("X", OTHER).output().unwrap();
    assert!(added.status.success() && !said(&added).contains(OTHER), "{}", said(&added));
    assert_eq!(world.good(&["secret", "show", "tales", NAME]).trim_end(), OTHER);
}

#[test]
fn row_17_a_pepper_that_changed_or_went_is_heard_of() {
    let (world, _) = world(PEPPER);
    world.good(&["backup"]);
    let env = world.app().join(".env");
    write(&env, &format!("{NAME}=another pepper, of more than thirty-two letters\n"));
    let made = world.run(&["backup"]);
    assert!(made.status.success() && said(&made).contains("is another one than before"), "{}", said(&made));
    write(&env, &format!("{NAME}=\n"));
    let made = world.run(&["backup"]);
    assert!(said(&made).contains(&format!("{NAME} is empty in")), "{}", said(&made));
    // After a recovery it is said that the application lacks it.
    fs::remove_file(&env).unwrap();
    let next = world.json(0, &["recover", "tales"])["report"]["next"].to_string();
    assert!(next.contains(&format!("secret show tales {NAME}")), "{next}");
}

//! Rows 2 and 5: how it is taken, and what is left out.

use super::{World, said};

#[test]
fn row_2_what_is_left_out_is_told_with_its_size_and_is_not_in_the_snapshot() {
    let world = World::with("guide");
    let made = world.json(0, &["backup"]);
    let listed = world.listed();
    let odd = |path: &&String| path.contains("binaries/cache") || path.ends_with(".lock") || path.contains(".tmp.");
    assert_eq!(listed.iter().find(odd), None);
    let left_out = made[0]["left_out"].as_array().unwrap();
    let told = |end: &str| left_out.iter().find(|one| one["path"].as_str().unwrap().ends_with(end)).cloned();
    let cache = told("data/binaries/cache").unwrap();
    assert!(cache["files"].as_u64().unwrap() >= 41 && cache["bytes"].as_u64().unwrap() > 30_000, "{cache}");
    assert_eq!(told("data/chats/index.jsonl.lock").unwrap()["files"], 1);
    assert!(left_out.iter().any(|one| one["path"].as_str().unwrap().contains(".json.tmp.")), "{left_out:?}");
    let text = said(&world.run(&["backup"]));
    assert!(text.contains("left out: quilltap/data/binaries/cache ("), "{text}");
}

#[test]
fn row_2_what_somebody_says_of_the_capture_is_written_down() {
    let world = World::with("app17");
    let made = world.json(0, &["backup", "--capture", "stopped"]);
    assert_eq!(made[0]["capture"]["mode"], "stopped");
    assert_eq!(world.json(0, &["snapshots"])[0]["capture"]["mode"], "stopped");
}

#[test]
fn row_2_a_hook_that_fails_or_takes_too_long_fails_the_backup_and_the_one_after_runs() {
    let world = World::with("app17");
    let after = world.path("after");
    let run_after = format!("touch {}", after.display());
    world.good(&["collection", "set", "tales", "--hook-before", "echo no room; exit 4", "--hook-after", &run_after]);
    let made = world.run(&["backup"]);
    assert_eq!(made.status.code(), Some(1), "{}", said(&made));
    assert!(said(&made).contains("exit code 4 and said: no room"), "{}", said(&made));
    assert!(after.exists() && world.json(0, &["snapshots"]).as_array().unwrap().is_empty());
    world.good(&["collection", "set", "tales", "--hook-before", "sleep 600", "--hook-timeout", "1"]);
    let made = world.run(&["backup"]);
    assert!(made.status.code() == Some(1) && said(&made).contains("longer than 1 s"), "{}", said(&made));
    // The one before sees the folder; what the one after does not manage is a problem, and the snapshot is there.
    let before = "test -d \"$BULBIL_HOOK_DIR\" && test -f \"$BULBIL_FOLDER/data/chats/index.jsonl\"";
    world.good(&["collection", "set", "tales", "--hook-before", before, "--hook-after", "exit 5"]);
    let made = world.run(&["backup"]);
    assert!(made.status.code() == Some(2) && said(&made).contains("exit code 5"), "{}", said(&made));
    assert_eq!(world.json(0, &["snapshots"]).as_array().unwrap().len(), 1);
    world.good(&["collection", "set", "tales", "--no-hooks"]);
    world.good(&["backup"]);
}

#[test]
fn row_2_what_a_hook_copied_is_taken_instead_of_the_live_database() {
    let world = World::new();
    let app = world.path("quilltap");
    super::write(&app.join("data/quilltap.db"), "live, encrypted, changing");
    super::write(&app.join("data/quilltap.db-wal"), "log");
    super::write(&app.join("data/quilltap.dbkey"), "{}");
    super::write(&app.join("files/a.png"), "picture");
    super::write(&app.join("logs/x.log"), "log");
    let added = world.run(&["collection", "add", "tales", "--preset", "quilltap", app.to_str().unwrap()]);
    assert!(said(&added).contains("quilltap-4"), "{}", said(&added));
    // Without Quilltap's own command there is no backup.
    assert_eq!(world.run(&["backup"]).status.code(), Some(1));
    let hook = "printf 'a consistent copy' > \"$BULBIL_HOOK_DIR/quilltap.db\"";
    world.good(&["collection", "set", "tales", "--hook-before", hook]);
    world.good(&["backup"]);
    let out = world.path("out");
    world.good(&["restore", "tales", "--target", out.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(out.join("data/quilltap.db")).unwrap(), "a consistent copy");
    assert!(out.join("files/a.png").exists());
    for gone in ["data/quilltap.db-wal", "data/quilltap.dbkey", "logs"] {
        assert!(!out.join(gone).exists(), "{gone}");
    }
    // One that ends well and leaves nothing is heard of: the live file may not be whole.
    world.good(&["collection", "set", "tales", "--hook-before", "true"]);
    let made = world.run(&["backup"]);
    assert!(made.status.code() == Some(2) && said(&made).contains("did not put quilltap.db"), "{}", said(&made));
    assert!(world.json(0, &["snapshots"])[1]["flagged"].as_str().unwrap().contains("could be read"));
    // One event is one alert.
    let status = world.json(2, &["status"]);
    let kinds: Vec<_> = status["alerts"].as_array().unwrap().iter().map(|alert| alert["kind"].clone()).collect();
    assert_eq!(kinds, ["suspect"], "{status}");
}

#[test]
fn row_5_output_of_a_command_is_backed_up_and_a_cut_one_makes_no_snapshot() {
    let world = World::with("app17");
    let dump = "i=0; while [ $i -lt 20000 ]; do echo \"INSERT INTO t VALUES ($i);\"; i=$((i+1)); done";
    world.good(&["backup", "tales", "--from-command", dump, "--name", "dump.sql"]);
    let out = world.path("out");
    world.good(&["restore", "tales", "--target", out.to_str().unwrap()]);
    let restored = std::fs::read_to_string(out.join("dump.sql")).unwrap();
    assert!(restored.lines().count() == 20_000 && restored.ends_with("(19999);\n"));
    assert!(out.join("quilltap/data/chats/index.jsonl").exists());
    for cut in ["echo half; exit 1", "echo half; kill -9 $$", "/no/such/program"] {
        let made = world.run(&["backup", "tales", "--from-command", cut, "--name", "dump.sql"]);
        assert_eq!(made.status.code(), Some(1), "{cut}: {}", said(&made));
        assert!(said(&made).contains("no snapshot was made"), "{}", said(&made));
    }
    assert_eq!(world.json(0, &["snapshots"]).as_array().unwrap().len(), 1);
    let made = world.run(&["backup", "tales", "--from-command", "true", "--name", "dump.sql"]);
    assert!(made.status.code() == Some(1) && said(&made).contains("wrote nothing"), "{}", said(&made));
    let made = world.run(&["backup", "tales", "--from-command", "true", "--name", "a/b"]);
    assert!(made.status.code() == Some(1) && said(&made).contains("one name"), "{}", said(&made));
}

#[test]
fn row_2_beside_a_writer_a_snapshot_fits_together_or_says_that_it_does_not() {
    let world = World::with("guide");
    let app = world.app();
    let churn = std::thread::spawn(move || super::generator(&app, &["--churn", "8", "--rate", "20"]));
    let mut settled = 0;
    let mut made = 0;
    while !churn.is_finished() {
        let output = world.run(&["backup"]);
        made += 1;
        let report = world.run(&["check", "tales", "--snapshot", "latest"]);
        match output.status.code() {
            // Nothing wrong that was not said.
            Some(0) => {
                settled += 1;
                assert_eq!(report.status.code(), Some(0), "{}\n{}", said(&output), said(&report));
            }
            Some(2) => assert!(
                said(&output).contains("inconsistent: ") || said(&output).contains("problem"),
                "{}",
                said(&output)
            ),
            other => panic!("{other:?}: {}", said(&output)),
        }
    }
    churn.join().unwrap();
    assert!(made > 0 && settled > 0, "{settled} of {made} snapshots fitted together");
    // It stands still now.
    world.good(&["backup"]);
}

#[test]
fn row_2_a_line_that_is_being_written_is_read_again_until_it_is_whole() {
    let world = World::with("app17");
    let made = super::generator(&world.app(), &["--check"]);
    assert_eq!(made["layout"], "app17");
    let chats = std::fs::read_dir(world.app().join("data/chats")).unwrap().map(|entry| entry.unwrap().path());
    let chat = chats
        .filter(|path| path.extension().is_some_and(|end| end == "jsonl"))
        .max_by_key(|path| (path.file_name() != Some("index.jsonl".as_ref()), std::fs::metadata(path).unwrap().len()));
    let (chat, flag) = (chat.unwrap(), world.path("flag"));
    // It runs before the folder in each pass: the first time it leaves half a line, the second time it ends it.
    let command = format!(
        "if test -e {flag}; then printf '\"}}\\n' >> {chat}; else printf '{{\"type\":\"' >> {chat}; touch {flag}; fi; echo done",
        flag = flag.display(),
        chat = chat.display()
    );
    let made = world.json(0, &["backup", "tales", "--from-command", &command, "--name", "dump"]);
    assert_eq!(made[0]["capture"]["passes"], 2, "{made}");
    assert_eq!(made[0]["capture"]["mode"], "stable-read");
    assert_eq!(made[0]["sequence"], 1);
    let out = world.path("out");
    world.good(&["restore", "tales", "--target", out.to_str().unwrap()]);
    let restored = out.join("quilltap").join(chat.strip_prefix(world.app()).unwrap());
    assert!(std::fs::read_to_string(restored).unwrap().ends_with("{\"type\":\"\"}\n"));
    world.good(&["verify", "--data"]);
}

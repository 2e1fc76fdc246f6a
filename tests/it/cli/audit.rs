//! Who did what, as it is recorded.

use super::*;

/// What stands in the log: what, ending, of what.
fn entries(home: &Path) -> Vec<(String, String, String)> {
    let entries = json(home, &["audit", "--limit", "1000"]);
    let entry = |entry: &Value| {
        let subjects: Vec<&str> =
            entry["subjects"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        (text("what"), text("ending"), format!("{} {}", subjects.join(", "), text("why")))
    };
    entries.as_array().unwrap().iter().map(entry).collect()
}

fn has(entries: &[(String, String, String)], what: &str, ending: &str, of: &str) -> bool {
    entries.iter().any(|(w, e, o)| w == what && e == ending && o.contains(of))
}

#[test]
fn row_26_every_run_is_recorded_with_who_and_what_and_failed_ones_as_failed() {
    let place = Place::with_snapshot();
    let (a, usb, out) = (place.home(), place.path("usb"), place.path("out"));
    good(&a, &["restore", "notes", "--target", out.to_str().unwrap()]);
    good(&a, &["export", "--output", usb.to_str().unwrap()]);
    good(&a, &["import", usb.to_str().unwrap()]);
    good(&a, &["rotate-key", "envelope"]);
    let key = place.path("key.txt");
    fs::write(&key, "BULBIL-RECOVERY-1-NONSENSE").unwrap();
    fails(&a, &["rescue", a.to_str().unwrap(), "--recovery-key-file", key.to_str().unwrap()], &["recovery key"]);
    fs::rename(place.data(), place.path("away")).unwrap();
    assert_ne!(run(&a, &["backup"]).status.code(), Some(0));
    fs::rename(place.path("away"), place.data()).unwrap();
    // What only looks is not recorded.
    crate::support::expect(2, &a, &["status"]);
    good(&a, &["verify"]);

    let served = Served::start(&a);
    let line = good(&a, &["invite", "--collections", "notes"]).trim().to_owned();
    let b = place.path("b");
    good(&b, &["clone", &line, "--name", "beta", "--yes"]);
    drop(served);
    good(&a, &["peer", "revoke", "beta"]);

    let there = entries(&a);
    for (what, ending, of) in [
        ("init", "done", "alpha"),
        ("collection add", "done", "notes"),
        ("backup", "done", "notes@1"),
        ("restore", "done", "notes@1"),
        ("export", "done", "usb"),
        ("import", "done", "usb"),
        ("rotate-key", "done", "envelope"),
        ("recovery-key", "failed", "rescue"),
        ("rescue", "failed", ""),
        ("backup", "failed", "data"),
        ("serve", "begun", ""),
        ("invite", "done", ""),
        ("pair", "done", "beta"),
        ("peer revoke", "done", "beta"),
    ] {
        assert!(has(&there, what, ending, of), "no {what} {ending} {of:?} in {there:#?}");
    }
    assert!(!there.iter().any(|(what, ..)| what == "status" || what == "verify"), "{there:?}");
    assert!(has(&entries(&b), "clone", "done", "alpha"));
    let raw = json(&a, &["audit"]);
    let uid = rustix::process::getuid().as_raw();
    assert_eq!((&raw[0]["who"]["kind"], &raw[0]["who"]["uid"]), (&"user".into(), &uid.into()));
    let pair = raw.as_array().unwrap().iter().find(|entry| entry["what"] == "pair").unwrap();
    assert_eq!((&pair["who"]["kind"], &pair["who"]["instance"]), (&"peer".into(), &json(&b, &["status"])["instance"]));
    // The invite is a secret.
    assert!(!fs::read_to_string(a.join("audit.jsonl")).unwrap().contains(&line[..40]));
    assert_eq!(json(&a, &["audit", "verify"])["entries"], there.len());
}

#[test]
fn a_line_that_was_changed_or_cut_out_is_named_and_the_log_goes_on() {
    let place = Place::with_snapshot();
    let (home, log) = (place.home(), place.home().join("audit.jsonl"));
    for _ in 0..3 {
        good(&home, &["backup"]);
    }
    let whole = fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let number = lines.len();
    assert!(good(&home, &["audit", "verify"]).contains(&format!("all {number} entries")));
    let broken = |text: String, words: &str| {
        fs::write(&log, text).unwrap();
        let output = run(&home, &["audit", "verify"]);
        assert_eq!(output.status.code(), Some(2), "{words}: {}", stdout(&output));
        assert!(stderr(&output).contains(words), "no {words:?} in {}", stderr(&output));
    };
    let without = |at: usize| {
        let kept = lines.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, line)| format!("{line}\n"));
        kept.collect::<String>()
    };
    broken(whole.replacen("\"backup\"", "\"status\"", 1), "line 3 was changed");
    broken(without(1), "entry 2 was cut out before line 2");
    broken(without(number - 1), &format!("entry {number} was cut off the end"));
    broken(String::new(), &format!("entries 1 to {number} were cut off the end"));
    // What is recorded now does not hide that.
    good(&home, &["backup"]);
    let output = run(&home, &["audit", "verify"]);
    assert!(
        stderr(&output).contains(&format!("entries 1 to {number} were cut out before line 1")),
        "{}",
        stderr(&output)
    );

    // Put back, with what a kill leaves of a line: that was never recorded.
    let newest = fs::read_to_string(&log).unwrap();
    fs::write(&log, format!("{whole}{newest}{{\"v\":1,\"n\":")).unwrap();
    good(&home, &["backup"]);
    assert_eq!(json(&home, &["audit", "verify"])["entries"], number + 2);
    // An index that is made anew has its copy from the file.
    good(&home, &["rebuild"]);
    assert_eq!(json(&home, &["audit", "verify"])["entries"], number + 3);
    fs::write(&log, fs::read_to_string(&log).unwrap().replacen("\"backup\"", "\"status\"", 1)).unwrap();
    let output = run(&home, &["audit", "verify"]);
    assert!(stderr(&output).contains("line 3 was changed"), "{}", stderr(&output));
}

#[test]
fn a_passphrase_that_is_wrong_is_recorded_too() {
    let dir = tempfile::tempdir().unwrap();
    let (home, right, wrong) = (dir.path().join("home"), dir.path().join("right"), dir.path().join("wrong"));
    fs::write(&right, "right").unwrap();
    fs::write(&wrong, "wrong").unwrap();
    good(&home, &["init", "--name", "alpha", "--passphrase-file", right.to_str().unwrap()]);
    fails(&home, &["collection", "list", "--passphrase-file", wrong.to_str().unwrap()], &["passphrase is wrong"]);
    good(&home, &["collection", "list", "--passphrase-file", right.to_str().unwrap()]);
    let entries = json(&home, &["audit", "--passphrase-file", right.to_str().unwrap()]);
    let unlocks: Vec<&Value> = entries
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["what"] == "unlock")
        .map(|entry| &entry["ending"])
        .collect();
    assert_eq!(unlocks[..2], [&Value::from("failed"), &Value::from("done")]);
}

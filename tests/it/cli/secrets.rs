//! Secrets of applications beside a running server: the server keeps them, and the command says what it always says.

use std::io::Write;

use super::*;

const VALUE: &str = "a pepper that nobody else may see";

/// Runs something that reads this.
fn given(home: &Path, args: &[&str], input: &[u8]) -> Output {
    let mut command = command(home, args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // What fails before it reads has closed it.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// A server that writes everything into its log.
fn talkative(home: &Path, log: &Path) -> Served {
    let mut server = command(home, &["-vvv", "serve", "--direct", "127.0.0.1:0"]);
    let mut child = server.stdout(Stdio::piped()).stderr(fs::File::create(log).unwrap()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("ready")), "{:?}", child.wait());
    Served { child, peers: String::new() }
}

fn without_times(mut document: Value) -> Value {
    let entries =
        if document.is_array() { document.as_array_mut().unwrap().iter_mut().collect() } else { vec![&mut document] };
    entries.into_iter().filter_map(Value::as_object_mut).for_each(|entry| drop(entry.remove("since")));
    document
}

#[test]
fn the_server_keeps_shows_and_forgets_secrets_and_the_command_says_the_same() {
    let place = Place::new();
    let (home, twin, log) = (place.path("alpha"), place.path("twin"), place.path("log"));
    let key = place.path("key.txt");
    fs::write(&key, json(&home, &["init", "--name", "alpha"])["recovery_key"].as_str().unwrap()).unwrap();
    good(&home, &["collection", "add", "notes", place.data().to_str().unwrap()]);
    // With the key of the fingerprints, so that both homes have the same ones.
    good(&home, &["secret", "elsewhere", "notes", "SALT"]);
    assert!(Command::new("cp").arg("-a").arg(&home).arg(&twin).status().unwrap().success());
    let served = talkative(&twin, &log);
    let file = place.path("app.key");
    fs::write(&file, [0, 159, 146, 150, b'\n']).unwrap();
    let file = file.to_str().unwrap();

    let both = |code: i32, args: &[&str], input: &str| {
        let [alone, by_server] = [&home, &twin].map(|home| {
            let output = given(home, args, input.as_bytes());
            assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
            (output.stdout.clone(), stderr(&output))
        });
        assert_eq!(by_server, alone, "{args:?}");
        by_server.0
    };
    let add = ["secret", "add", "notes", "PEPPER"];
    both(0, &add, &format!("{VALUE}\n"));
    both(0, &add, &format!("{VALUE}\n"));
    both(1, &add, " \n");
    both(1, &add, &"x".repeat((64 << 10) + 1));
    both(1, &["secret", "add", "notes", "two words"], VALUE);
    both(1, &["secret", "add", "poems", "PEPPER"], VALUE);
    both(0, &["secret", "add", "notes", "app.key", "--from-file", file], "");
    // The values of one and the same snapshot, made here by the command and there by the server.
    for home in [&home, &twin] {
        good(home, &["backup"]);
    }
    both(0, &add, "another one\n");
    let listed = [&home, &twin].map(|home| without_times(json(home, &["secret", "list", "notes"])));
    assert_eq!(listed[0], listed[1]);
    let first = listed[0][1]["fingerprint"].as_str().unwrap();
    assert_eq!(
        (&listed[0][1]["name"], &listed[0][1]["in_use"], &listed[0][1]["snapshots"]),
        (&"PEPPER".into(), &false.into(), &serde_json::json!([1]))
    );

    let show = ["secret", "show", "notes", "PEPPER"];
    assert_eq!(both(0, &show, ""), b"another one\n");
    assert_eq!(both(0, &[&show[..], &["--fingerprint", &first[..8]]].concat(), ""), format!("{VALUE}\n").into_bytes());
    assert_eq!(both(0, &["secret", "show", "notes", "app.key"], ""), [0, 159, 146, 150, b'\n']);
    for name in ["PEPPER", "app.key"] {
        let [alone, by_server] =
            [&home, &twin].map(|home| without_times(json(home, &["secret", "show", "notes", name])));
        assert_eq!(by_server, alone);
    }
    both(1, &["secret", "show", "notes", "SUGAR"], "");
    both(1, &["secret", "show", "notes", "two words"], "");
    both(1, &[&show[..], &["--fingerprint", "00"]].concat(), "");
    // The recovery key goes to no other process.
    let revealed = || fs::read_to_string(&log).unwrap().matches("{secret}/reveal").count();
    let before = revealed();
    assert!(before > 0, "the server shows them");
    let with_key = [&show[..], &["--recovery-key-file", key.to_str().unwrap()]].concat();
    assert_eq!(both(0, &with_key, ""), b"another one\n");
    assert_eq!(revealed(), before);

    both(0, &["secret", "elsewhere", "notes", "PEPPER"], "");
    both(1, &["secret", "elsewhere", "notes", "two words"], "");
    both(0, &["secret", "elsewhere", "notes", "SALT", "--undo"], "");
    let remove = ["secret", "remove", "notes", "PEPPER", "--fingerprint", &first[..8]];
    both(1, &remove, "");
    both(0, &[&remove[..], &["--force"]].concat(), "");
    both(1, &[&remove[..], &["--force"]].concat(), "");
    both(1, &["secret", "remove", "notes", "two words"], "");
    both(0, &["secret", "remove", "notes", "PEPPER"], "");
    let listed = [&home, &twin].map(|home| without_times(json(home, &["secret", "list"])));
    assert_eq!((&listed[0], listed[0].as_array().unwrap().len()), (&listed[1], 2), "{listed:?}");

    let audit = |home: &Path| {
        let entries = json(home, &["audit", "--limit", "100"]);
        let of = |entry: &Value| {
            format!("{} {} {} {}", entry["what"], entry["subjects"], entry["who"]["kind"], entry["ending"])
        };
        entries.as_array().unwrap().iter().map(of).filter(|entry| entry.contains("secret")).collect::<Vec<_>>()
    };
    assert_eq!(audit(&twin), audit(&home), "one deed, one entry");
    assert_eq!(served.stop(), Some(0));
    let log = fs::read_to_string(&log).unwrap();
    for route in ["{name}/secrets", "{secret}/elsewhere", "{name}/secrets/{secret}"] {
        assert!(log.contains(route), "the server does it: {route}");
    }
    let base64 = data_encoding::BASE64.encode(VALUE.as_bytes());
    for hidden in [VALUE, &base64] {
        assert!(!log.contains(hidden), "{log}");
        let has = |bytes: &[u8]| bytes.windows(hidden.len()).any(|window| window == hidden.as_bytes());
        let holding: Vec<_> = tree(&twin).into_iter().filter(|(_, bytes)| has(bytes)).map(|(path, _)| path).collect();
        assert!(holding.is_empty(), "{holding:?}");
    }
}

//! What an admin watches with: doctor, logs, figures, and what shells and `man` are given.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn doctor(home: &Path, args: &[&str]) -> (Option<i32>, Vec<Value>) {
    let output = run(home, &[&["doctor", "--json"], args].concat());
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    (output.status.code(), document["result"].as_array().unwrap().clone())
}

#[test]
fn the_doctor_says_what_is_wrong_and_what_helps() {
    let place = Place::new();
    let home = place.home();
    let output = run(&home, &["doctor", "--offline"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("server") && text.contains("bulbil serve"), "{text}");
    let served = Served::start(&home);
    let output = run(&home, &["doctor"]);
    assert_eq!(output.status.code(), Some(0), "notes are no reason to worry: {}", stdout(&output));
    assert_eq!(run(&home, &["doctor", "--ready", "--quiet"]).stdout, b"");

    // A collection that nobody looks after, then a home that others can look into.
    good(&home, &["collection", "add", "notes", place.data().to_str().unwrap()]);
    let (code, findings) = doctor(&home, &[]);
    assert_eq!(code, Some(2), "{findings:#?}");
    let backup = findings.iter().find(|one| one["what"] == "there is no whole snapshot of it yet").unwrap();
    let next = backup["next"].as_str().unwrap();
    assert_eq!((backup["severity"].as_str(), next), (Some("warning"), "bulbil backup notes"));
    good(&home, &next.split(' ').skip(1).collect::<Vec<_>>());
    let (_, findings) = doctor(&home, &[]);
    assert!(!findings.iter().any(|one| one["next"] == "bulbil backup notes"), "that was the way: {findings:#?}");
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).unwrap();
    let (code, findings) = doctor(&home, &[]);
    let bad = findings.iter().find(|one| one["severity"] == "error").expect("an error");
    assert_eq!((code, bad["about"].as_str()), (Some(1), Some("permissions")));
    assert_eq!(served.stop(), Some(0));
}

/// What a plane answers; the head is in it.
#[expect(clippy::disallowed_methods, reason = "a server on this machine, without Tor")]
fn ask(address: &str, home: &Path, path: &str, more: &str) -> String {
    let token = fs::read_to_string(home.join("keys/admin-token")).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nauthorization: Bearer {}\r\n{more}\r\n",
        token.trim()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_servers_log_has_the_ids_of_requests_and_no_secrets() {
    let place = Place::new();
    let home = place.home();
    let log = place.path("log");
    let mut server = command(&home, &["-v", "serve", "--direct", "127.0.0.1:0", "--log-format", "json"]);
    let mut child = server.stdout(Stdio::piped()).stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
    let (mut admin, mut peers) = (String::new(), String::new());
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if let Some(address) = line.strip_prefix("admin ") {
            address.trim().trim_start_matches("http://").clone_into(&mut admin);
        }
        if let Some(address) = line.strip_prefix("peers ") {
            address.trim().trim_start_matches("http://").clone_into(&mut peers);
        }
        if line.starts_with("ready") {
            break;
        }
    }
    let served = Served { child, peers };
    let answer = ask(&admin, &home, "/metrics?hidden=query", "x-request-id: deploy-7\r\n");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("x-request-id: deploy-7"), "{answer}");
    let statusz = ask(&admin, &home, "/statusz", "");
    assert!(statusz.contains(r#"{"status":"ok","reasons":[]}"#), "{statusz}");
    let strange = ask(&admin, &home, "/wp-admin/secretpath", "x-request-id: two words\r\n");
    assert!(strange.starts_with("HTTP/1.1 404") && !strange.contains("two words"), "{strange}");
    let peer = ask(&served.peers.clone(), &home, "/peer/v1/identity?hidden=query", "x-request-id: from-a-peer\r\n");
    assert!(peer.contains("x-request-id: ") && !peer.contains("from-a-peer"), "{peer}");
    let counted = ask(&admin, &home, "/metrics", "");
    let line = "bulbil_http_requests_total{plane=\"admin\",method=\"GET\",route=\"/metrics\",status=\"200\"} 1\n";
    assert!(counted.contains(line), "{counted}");
    assert!(counted.contains("plane=\"peer\",method=\"GET\",route=\"/peer/v1/identity\""), "{counted}");
    assert_eq!(served.stop(), Some(0));

    let text = fs::read_to_string(&log).unwrap();
    let token = fs::read_to_string(home.join("keys/admin-token")).unwrap();
    for secret in [token.trim(), "hidden", "secretpath", "from-a-peer", ".onion", "Bearer"] {
        assert!(!text.contains(secret), "{secret} is in the log: {text}");
    }
    let lines: Vec<Value> = text
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let answered: Vec<&Value> = lines.iter().filter(|line| line["message"] == "answered").collect();
    assert_eq!(answered.len(), 5, "{text}");
    let first = answered[0];
    let span = &first["spans"][0];
    assert_eq!((span["request.id"].as_str(), span["route"].as_str()), (Some("deploy-7"), Some("/metrics")), "{first}");
    assert_eq!((first["status"].as_u64(), first["level"].as_str()), (Some(200), Some("INFO")));
    let ids: BTreeSet<&str> = answered.iter().map(|line| line["spans"][0]["request.id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 5, "each request has its own");
}

#[test]
fn the_file_says_how_the_log_is_written() {
    let place = Place::new();
    let home = place.home();
    fs::write(home.join("bulbil.toml"), "[log]\nformat = \"jsonl\"\n").unwrap();
    fails(&home, &["serve", "--direct", "127.0.0.1:0"], &["format", "json"]);
    fs::write(home.join("bulbil.toml"), "[log]\nformat = \"json\"\n").unwrap();
    let mut server = command(&home, &["-v", "serve", "--direct", "127.0.0.1:0"]);
    let log = place.path("log");
    let mut child = server.stdout(Stdio::piped()).stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let admin = lines.take_while(|line| !line.starts_with("ready")).find(|line| line.starts_with("admin "));
    let admin = admin.unwrap().split("http://").nth(1).unwrap().to_owned();
    let served = Served { child, peers: String::new() };
    ask(&admin, &home, "/healthz", "");
    served.stop();
    let text = fs::read_to_string(&log).unwrap();
    let is_json = |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|line| line["message"] == "answered");
    assert!(text.lines().any(is_json), "{text}");
}

/// All commands that `--help` shows, as they are typed.
fn commands(above: &[&str]) -> Vec<String> {
    let help = Command::new(env!("CARGO_BIN_EXE_bulbil")).args(above).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let Some((_, list)) = help.split_once("\nCommands:\n") else { return Vec::new() };
    let names = list.lines().take_while(|line| !line.is_empty()).filter_map(|line| {
        let indented = line.strip_prefix("  ").filter(|line| !line.starts_with(' '))?;
        indented.split_whitespace().next()
    });
    names
        .flat_map(|name| {
            let whole = [above, &[name]].concat();
            let mut found = vec![whole.join(" ")];
            found.extend(commands(&whole));
            found
        })
        .collect()
}

#[test]
fn every_command_has_a_manual_page_with_its_sections() {
    let place = tempfile::tempdir().unwrap();
    let nowhere = place.path().join("no-home");
    let pages = place.path().join("man1");
    good(&nowhere, &["man", "--output", pages.to_str().unwrap()]);
    assert!(!nowhere.exists(), "no home is needed, nor made");
    let all = commands(&[]);
    assert!(all.len() > 80 && all.contains(&"peer trust".to_owned()), "{all:?}");
    for command in &all {
        let file = pages.join(format!("bulbil-{}.1", command.replace(' ', "-")));
        let page = fs::read_to_string(&file).unwrap_or_else(|_| panic!("no page for {command}"));
        for section in [".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH OPTIONS", ".SH \"EXIT STATUS\""] {
            assert!(page.lines().any(|line| line == section), "{section} in that of {command}:\n{page}");
        }
        assert!(page.contains(".TH bulbil") && !page.contains(".SH EXTRA"), "{page}");
    }
    let written = fs::read_dir(&pages).unwrap().count();
    assert_eq!(written, all.len() + 1, "one for each command, and one for the program");
    let backup = fs::read_to_string(pages.join("bulbil-backup.1")).unwrap();
    assert!(backup.contains(".SH EXAMPLES") && backup.contains("\n  bulbil backup"), "{backup}");
}

#[test]
fn a_shell_completes_commands_and_options() {
    let place = tempfile::tempdir().unwrap();
    let nowhere = place.path().join("no-home");
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(good(&nowhere, &["completions", shell]).contains("doctor"), "{shell}");
    }
    let script = place.path().join("bulbil.bash");
    fs::write(&script, good(&nowhere, &["completions", "bash"])).unwrap();
    if Command::new("bash").arg("--version").output().is_err() {
        return;
    }
    let completed = |words: &[&str]| {
        let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let typed = format!(
            "source '{}'; COMP_WORDS=({}); COMP_CWORD={}; _bulbil bulbil '{}' '{}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            script.display(),
            quoted.join(" "),
            words.len() - 1,
            words[words.len() - 1],
            words[words.len() - 2],
        );
        let output = Command::new("bash").args(["--norc", "-c", &typed]).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(completed(&["bulbil", "doct"]), ["doctor"]);
    assert_eq!(completed(&["bulbil", "peer", "tr"]), ["trust"]);
    assert_eq!(completed(&["bulbil", "doctor", "--off"]), ["--offline"]);
}

/// What a finding says, and what is to be done.
fn finding<'a>(findings: &'a [Value], about: &str) -> Vec<(&'a str, &'a str)> {
    let of = findings.iter().filter(|finding| finding["about"] == about && finding["severity"] == "error");
    of.map(|finding| (finding["what"].as_str().unwrap(), finding["next"].as_str().unwrap())).collect()
}

#[test]
fn the_doctor_looks_at_the_rest_whatever_is_broken() {
    let place = Place::with_snapshot();
    let home = place.home();
    let about = |findings: &[Value], about: &str| findings.iter().any(|finding| finding["about"] == about);
    // A configuration that is none: which line, which key; everything else is looked at.
    fs::write(home.join("bulbil.toml"), "[scrub]\ndays = 7\n\n[sync]\nintervall_s = 60\n").unwrap();
    let (code, findings) = doctor(&home, &["--offline"]);
    assert_eq!(code, Some(1));
    let said = finding(&findings, "bulbil.toml");
    assert!(said.len() == 1 && said[0].0.starts_with("line 5, intervall_s: unknown field"), "{said:?}");
    assert!(about(&findings, "notes") && about(&findings, "permissions"), "{findings:?}");
    // Keys that others can read: all of them, each with the line that helps.
    let open = ["master", "identity", "envelope"].map(|name| home.join("keys").join(name));
    open.iter().for_each(|path| fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap());
    let (code, findings) = doctor(&home, &["--offline"]);
    assert_eq!(code, Some(1));
    let said = finding(&findings, "permissions");
    assert_eq!(said.len(), 3, "{said:?}");
    for path in &open {
        assert!(said.iter().any(|(_, next)| *next == format!("chmod go= '{}'", path.display())), "{said:?}");
    }
    for other in ["bulbil.toml", "server", "disk", "keys"] {
        assert!(about(&findings, other), "{other}: {findings:?}");
    }
    open.iter().for_each(|path| fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap());
    fs::remove_file(home.join("bulbil.toml")).unwrap();
    // An index that is not whole in the middle: the rest is looked at, and what helps does help.
    let bytes = fs::read(home.join("index.db")).unwrap();
    let mut broken = bytes.clone();
    broken[4096..].iter_mut().for_each(|byte| *byte = 0xA5);
    for damaged in [&broken[..], b"no database at all"] {
        let _ = fs::remove_file(home.join("index.db-wal"));
        fs::write(home.join("index.db"), damaged).unwrap();
        let (code, findings) = doctor(&home, &["--offline"]);
        assert_eq!(code, Some(1), "{findings:?}");
        let said = finding(&findings, "index");
        assert!(said.len() == 1 && said[0].1.contains("bulbil rebuild"), "{findings:?}");
        assert!(about(&findings, "permissions") && about(&findings, "disk"), "{findings:?}");
    }
    good(&home, &["rebuild"]);
    let (_, findings) = doctor(&home, &["--offline"]);
    assert!(finding(&findings, "index").is_empty() && about(&findings, "notes"), "{findings:?}");
}

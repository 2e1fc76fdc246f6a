//! Who may use the admin plane of a server that runs.

use std::io::{Read, Write};
use std::net::TcpStream;

use bulbil::clock::{Clock, SystemClock};
use bulbil::domain::access::totp::{TotpSecret, step};

use super::*;

/// Runs a command with something on its standard input.
fn with_input(home: &Path, args: &[&str], input: &str) -> Output {
    let mut child = command(home, args);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Status line, head and body of the admin plane's answer.
#[expect(clippy::disallowed_methods, reason = "a server on this machine, without Tor")]
fn ask(home: &Path, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let info: Value = serde_json::from_slice(&fs::read(home.join("lock/server.json")).unwrap()).unwrap();
    let address = info["admin_address"].as_str().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[test]
fn a_token_opens_the_running_server_until_it_is_revoked() {
    let place = Place::new();
    let home = place.home();
    let _served = Served::start(&home);
    let status =
        |token: &str| ask(&home, "GET", "/admin/v1/status", &[("authorization", &format!("Bearer {token}"))], "").0;
    let token = good(&home, &["token", "create", "viewer", "--scope", "read"]).trim().to_owned();
    assert!(token.starts_with("bulbil_") && !token.contains('\n'), "the token alone is printed");
    let figures = json(&home, &["token", "create", "figures", "--scope", "metrics", "--expires", "never"]);
    assert_eq!((&figures["scopes"], &figures["expires_at"]), (&serde_json::json!(["metrics"]), &Value::Null));
    assert_eq!((status(&token), status(figures["token"].as_str().unwrap())), (200, 403));
    let list = json(&home, &["token", "list"]);
    assert_eq!((&list[0]["name"], &list[1]["name"]), (&"figures".into(), &"viewer".into()));
    assert!(list[1]["last_used_on"].is_string() && !list.to_string().contains(&token));
    let kept = fs::read(home.join("keys/access")).unwrap();
    assert!(!kept.windows(6).any(|bytes| bytes == b"viewer"), "it is sealed");
    fails(&home, &["token", "create", "viewer", "--scope", "read"], &["viewer", "already"]);
    assert_ne!(run(&home, &["token", "create", "x", "--scope", "root"]).status.code(), Some(0));
    good(&home, &["token", "revoke", "viewer"]);
    assert_eq!(status(&token), 401);
    fails(&home, &["token", "revoke", "viewer"], &["no token", "token list"]);
    let log = good(&home, &["audit", "--json"]);
    assert!(log.contains("token create") && log.contains("token revoke") && !log.contains(&token));
}

#[test]
fn a_password_and_a_code_open_a_browser_and_the_machine_is_the_way_back() {
    let place = Place::new();
    let home = place.home();
    fails(&home, &["password", "totp", "on"], &["password set"]);
    let weak = with_input(&home, &["password", "set"], "123456789012\n");
    assert!(stderr(&weak).contains("only digits"), "{}", stderr(&weak));
    let file = place.path("password");
    fs::write(&file, "correct horse battery\n").unwrap();
    good(&home, &["password", "set", "--from-file", file.to_str().unwrap()]);
    let _served = Served::start(&home);
    let log_in = |form: &str| ask(&home, "POST", "/login", &[FORM], form);
    assert_eq!(log_in("password=wrong").0, 401);
    let (status, answer) = log_in("password=correct+horse+battery");
    assert_eq!(status, 303, "{answer}");
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    let cookie = [("cookie", cookie.split(';').next().unwrap())];
    assert_eq!(ask(&home, "GET", "/admin/v1/status", &cookie, "").0, 200);

    // What the app would show: the secret is told before the code is asked for.
    let mut child = command(&home, &["password", "totp", "on"]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let told = BufReader::new(child.stderr.take().unwrap()).lines();
    let told = told.map_while(Result::ok).find_map(|line| line.strip_prefix("secret  ").map(str::to_owned)).unwrap();
    let secret = TotpSecret::try_from(told).unwrap();
    let here = step(SystemClock.now());
    child.stdin.take().unwrap().write_all(secret.code(here).as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(ask(&home, "GET", "/admin/v1/status", &cookie, "").0, 401, "whoever was logged in is logged out");
    assert_eq!(log_in("password=correct+horse+battery").0, 401);
    let next = secret.code(here + 1).to_string();
    assert_eq!(log_in(&format!("password=correct+horse+battery&code={next}")).0, 303);
    good(&home, &["password", "totp", "off"]);
    assert_eq!(log_in("password=correct+horse+battery").0, 303);
}

//! Bulbil beside a peer that plays a live Axon BBS (`tests/axon/`, Python, code of its own).

mod apart;
mod extract;
mod folder;
mod home;
mod install;
mod into;
mod pull;
mod rot;
mod serve;
mod steps;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{expect, run};

/// A Python that can run the peer.
static PYTHON: LazyLock<&str> = LazyLock::new(|| {
    let works = |python: &&str| {
        let tried = Command::new(python).args(["-c", "import cryptography"]).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    };
    let found = ["python3", "/usr/bin/python3"].into_iter().find(works);
    found.expect("no Python with the package 'cryptography' is here: apt-get install python3 python3-cryptography")
});

/// A home of Bulbil and an instance of Axon BBS that trust each other.
struct World {
    dir: TempDir,
    serving: Option<Child>,
    url: String,
}

impl World {
    /// An Axon instance with the standard set: 20 items, 69 chunks, 14 MB.
    fn new(fill: &[&str]) -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap(), serving: None, url: String::new() };
        expect(0, &world.home(), &["init", "--name", "alpha"]);
        let pem = expect(0, &world.home(), &["axon", "key"]);
        std::fs::write(world.path("bulbil.pem"), pem.split_inclusive("-----END PUBLIC KEY-----").next().unwrap())
            .unwrap();
        world.axon(&["new"], &["--seed", "7"]);
        world.axon(&["fill"], fill);
        world.axon(&["trust"], &["--pem", world.path("bulbil.pem").to_str().unwrap(), "--url", "http://bulbil"]);
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn home(&self) -> PathBuf {
        self.path("home")
    }

    /// Runs a command of the Axon instance.
    fn axon(&self, command: &[&str], args: &[&str]) -> String {
        let mut peer = peer();
        peer.args(command).arg(self.path("bbs")).args(args);
        let output = peer.output().unwrap();
        assert!(output.status.success(), "{command:?} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Everything that the Axon instance has.
    fn dump(&self) -> Value {
        serde_json::from_str(&self.axon(&["dump"], &[])).unwrap()
    }

    /// Lets the Axon instance serve, with defects if any are named; at the same address as before.
    fn serves(&mut self, defects: &[&str]) {
        self.stops();
        let port = self.url.rsplit(':').next().filter(|port| !port.is_empty()).unwrap_or("0").to_owned();
        let mut peer = peer();
        peer.arg("serve").arg(self.path("bbs")).args(["--port", &port]);
        defects.iter().for_each(|defect| {
            peer.args(["--defect", defect]);
        });
        let mut child = peer.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        self.url = said["url"].as_str().unwrap().to_owned();
        self.serving = Some(child);
    }

    fn stops(&mut self) {
        if let Some(mut child) = self.serving.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Paths and statuses of what was asked since the last call.
    fn asked(&self) -> Vec<(String, u64)> {
        let log = self.path("bbs/requests.jsonl");
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        std::fs::write(&log, "").unwrap();
        let read = |line: &str| {
            let request: Value = serde_json::from_str(line).unwrap();
            (request["path"].as_str().unwrap().to_owned(), request["status"].as_u64().unwrap_or(0))
        };
        text.lines().map(read).collect()
    }

    /// Runs a command of Bulbil and expects this exit code; its JSON document.
    fn bulbil(&self, code: i32, args: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend_from_slice(args);
        serde_json::from_str(&expect(code, &self.home(), &all)).unwrap()
    }

    /// Says what a command that fails says.
    fn fails(&self, args: &[&str]) -> String {
        let output = run(&self.home(), args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stops();
    }
}

/// The peer, to be told what to do.
pub fn peer() -> Command {
    let mut command = Command::new(*PYTHON);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/axon/peer.py"));
    command
}

//! Quilltap's data, as `tests/quilltap/make_quilltap_data.py` makes and damages it. Tests are named after the rows of the guide's operations
//! (`docs/quilltap.md`).

mod archives; // old archives become snapshots
mod check; // rows 1, 15, 19, 20: content
mod cost; // rows 27, 28: space and time
mod drill; // row 16: a restore that is tried
mod entity; // row 19: a part of a snapshot
mod places; // rows 6, 12, 13, 29: volumes, targets, who may read
mod presets; // another application, by a document alone
mod protect; // all of it in one command
mod recover; // rows 11, 18, 24: the live data comes back
mod rows; // rows 9, 10: sealed, and whole
mod secrets; // rows 16, 17: secrets that are not in the data
mod shrink; // row 25a: much less than before
mod taking; // rows 2, 5: how it is taken

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use serde_json::Value;
use tempfile::TempDir;

use crate::support;

/// A home and an application's folder.
pub struct World {
    dir: TempDir,
}

impl World {
    /// With a home of its own, a copy of one that was made once, and no folder yet.
    pub fn new() -> Self {
        static HOME: LazyLock<TempDir> = LazyLock::new(|| {
            let dir = tempfile::tempdir().unwrap();
            support::init(&dir.path().join("home"), "alpha");
            dir
        });
        let world = Self { dir: tempfile::tempdir().unwrap() };
        let copied = Command::new("cp").arg("-a").arg(HOME.path().join("home")).arg(world.home()).status().unwrap();
        assert!(copied.success());
        world
    }

    /// With data of this layout, which is the collection `tales`.
    pub fn with(layout: &str) -> Self {
        let world = Self::new();
        world.make(layout);
        world.good(&["collection", "add", "tales", "--preset", "quilltap", world.app().to_str().unwrap()]);
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn home(&self) -> PathBuf {
        self.path("home")
    }

    pub fn app(&self) -> PathBuf {
        self.path("quilltap")
    }

    /// Makes the application's data: small, with everything odd in it.
    pub fn make(&self, layout: &str) {
        let small = ["--messages", "900", "--images", "9", "--chats", "8", "--layout", layout];
        generator(&self.app(), &small);
    }

    /// Damages it; the path that was damaged.
    pub fn corrupt(&self, kind: &str) -> String {
        generator(&self.app(), &["--corrupt", kind])["path"].as_str().unwrap().to_owned()
    }

    /// Flips a bit in the largest chunk of the home.
    pub fn rot(&self) {
        let mut chunks = Vec::new();
        let mut folders = vec![self.home().join("chunks")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path)
                } else if path.file_name().unwrap().len() == 64 {
                    chunks.push(path)
                }
            }
        }
        let largest = chunks.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
        let mut bytes = fs::read(largest).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(largest, bytes).unwrap();
    }

    pub fn run(&self, args: &[&str]) -> Output {
        support::run(&self.home(), args)
    }

    #[track_caller]
    pub fn good(&self, args: &[&str]) -> String {
        support::expect(0, &self.home(), args)
    }

    /// Runs something with `--json` that ends with this exit code; its result.
    #[track_caller]
    pub fn json(&self, code: i32, args: &[&str]) -> Value {
        let text = support::expect(code, &self.home(), &[args, &["--json"]].concat());
        serde_json::from_str::<Value>(&text).unwrap()["result"].clone()
    }

    /// The paths in the newest snapshot.
    pub fn listed(&self) -> Vec<String> {
        let listed = self.json(0, &["ls", "-r", "tales"]);
        let entries = listed.as_array().cloned().or_else(|| listed["entries"].as_array().cloned()).unwrap();
        entries.iter().map(|entry| entry["path"].as_str().unwrap().to_owned()).collect()
    }
}

/// Runs the generator; what it printed.
#[track_caller]
pub fn generator(folder: &Path, args: &[&str]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/quilltap/make_quilltap_data.py");
    let made = Command::new("python3").arg(script).arg(folder).args(args).output();
    let made = made.expect("these tests need Python: apt-get install python3");
    assert!(made.status.success(), "{args:?}: {}", String::from_utf8_lossy(&made.stderr));
    serde_json::from_slice(&made.stdout).unwrap_or_default()
}

pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Everything that is wrong, as `path:line`, with how bad it is.
pub fn findings(report: &Value) -> Vec<(String, String, u64, String)> {
    let text = |finding: &Value, field: &str| finding[field].as_str().unwrap_or_default().to_owned();
    let all = report["findings"].as_array().unwrap().iter();
    all.map(|f| (text(f, "level"), text(f, "path"), f["line"].as_u64().unwrap_or(0), text(f, "message"))).collect()
}

pub fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

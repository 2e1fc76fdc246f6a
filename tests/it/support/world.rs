//! Instances that know each other over a private Tor network (`script/tornet`), each with a home of its own.
//!
//! Everything that they say is kept. At the end of a test that went well it is searched for onion names (R9); of one that
//! failed, it is shown.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::running::{Running, until};
use super::{BULBIL, noise};

/// How long a test may take.
const BOUND: Duration = Duration::from_secs(180);

/// A variable that `script/tornet` sets.
pub fn tornet(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run this by 'script/test tor'"))
}

/// Some instances, and what they have said.
pub struct World {
    dir: tempfile::TempDir,
    arti: PathBuf,
    deadline: Instant,
    logs: AtomicUsize,
    names: RefCell<Vec<String>>,
}

impl World {
    /// In the network that the test runs in.
    pub fn new() -> Self {
        Self::with(Path::new(&tornet("TORNET_ARTI_TOML")), BOUND)
    }

    /// In another network.
    pub fn with(arti: &Path, bound: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("said")).unwrap();
        let (deadline, logs) = (Instant::now() + bound, AtomicUsize::new(0));
        Self { dir, arti: arti.to_owned(), deadline, logs, names: RefCell::default() }
    }

    /// A path in the test's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// When the test must be done.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Waits.
    pub fn until(&self, what: &str, reached: impl FnMut() -> bool) {
        until(self.deadline, what, reached);
    }

    /// Any command whose output is kept.
    pub fn start(&self, command: Command) -> Running {
        let number = self.logs.fetch_add(1, Ordering::Relaxed);
        Running::start(command, &self.path("said").join(format!("{number:03}")))
    }

    /// An instance that has a home.
    pub fn instance(&self, name: &str) -> Instance<'_> {
        let instance = self.future(name);
        instance.does(&["init", "--name", name]);
        instance.address();
        instance
    }

    /// An instance that will have a home.
    pub fn future(&self, name: &str) -> Instance<'_> {
        Instance { world: self, name: name.to_owned(), home: self.path(name) }
    }

    /// An instance with a collection `notes` of files of noise, backed up.
    pub fn with_notes(&self, name: &str, files: u64, bytes: usize) -> Instance<'_> {
        let instance = self.instance(name);
        let source = instance.source();
        fs::create_dir(&source).unwrap();
        for n in 0..files {
            fs::write(source.join(format!("{n:03}")), noise(n, bytes)).unwrap();
        }
        instance.does(&["collection", "add", "notes", source.to_str().unwrap()]);
        instance.does(&["backup", "-q"]);
        instance
    }

    /// Everything that was said so far, by file.
    fn said(&self) -> Vec<(PathBuf, String)> {
        let mut files: Vec<PathBuf> =
            fs::read_dir(self.path("said")).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.into_iter().map(|path| (path.clone(), String::from_utf8_lossy(&fs::read(path).unwrap()).into())).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let said = self.said();
        if std::thread::panicking() {
            for (path, text) in said.iter().filter(|(_, text)| !text.is_empty()) {
                let tail = text.char_indices().rev().nth(40_000).map_or(0, |(at, _)| at);
                #[expect(clippy::print_stdout, reason = "a test that fails shows what its processes said")]
                {
                    println!("--- {}\n{}", path.display(), &text[tail..]);
                }
            }
            return;
        }
        for (path, text) in &said {
            for name in self.names.borrow().iter() {
                assert!(!text.contains(&name[..20]), "an onion name was told: {}\n{text}", path.display());
            }
            for (at, _) in text.match_indices(".onion") {
                // With -vvv arti speaks, too: "[…]abc.onion" is how it hides names.
                let before = &text[..at];
                let hidden = before.ends_with("[hidden]") || before[..at.saturating_sub(3)].ends_with("[…]");
                assert!(hidden, "an onion name was told: {}\n{text}", path.display());
            }
        }
    }
}

/// One instance.
pub struct Instance<'a> {
    world: &'a World,
    name: String,
    /// Its home.
    pub home: PathBuf,
}

impl Instance<'_> {
    /// The folder that it backs up.
    pub fn source(&self) -> PathBuf {
        self.world.path(&format!("{}-source", self.name))
    }

    /// What it is told in `bulbil.toml`.
    pub fn is_told(&self, toml: &str) -> &Self {
        fs::create_dir_all(&self.home).unwrap();
        fs::write(self.home.join("bulbil.toml"), toml).unwrap();
        self
    }

    /// A command in its home.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(BULBIL);
        command.env("BULBIL_TOR_CONFIG", &self.world.arti).arg("--home").arg(&self.home).args(args);
        command
    }

    /// Starts a command.
    pub fn starts(&self, args: &[&str]) -> Running {
        self.world.start(self.command(args))
    }

    /// Runs a command to its end: its exit code, what it said, and what it complained of.
    pub fn tries(&self, args: &[&str]) -> (i32, String, String) {
        let mut running = self.starts(args);
        let code = running.code(self.world.deadline);
        (code, running.out(), running.err())
    }

    /// Runs a command that must succeed; what it said.
    pub fn does(&self, args: &[&str]) -> String {
        let (code, out, err) = self.tries(args);
        assert_eq!(code, 0, "{} {args:?}\n{out}\n{err}", self.name);
        out
    }

    /// Runs a command until it succeeds.
    pub fn does_at_last(&self, args: &[&str]) -> String {
        loop {
            let (code, out, err) = self.tries(args);
            if code == 0 {
                return out;
            }
            assert!(Instant::now() < self.world.deadline, "{} {args:?}\n{out}\n{err}", self.name);
        }
    }

    /// Runs a command with `--json` that must succeed; its result.
    pub fn json(&self, args: &[&str]) -> Value {
        let out = self.does(&[args, &["--json"]].concat());
        let mut document: Value = serde_json::from_str(&out).unwrap();
        document["result"].take()
    }

    /// Its onion address, as `http://….onion`. From now on it is a secret that nothing may tell.
    pub fn address(&self) -> String {
        let output = self.command(&["onion", "address"]).output().unwrap();
        let address = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        let name = address.strip_prefix("http://").unwrap().to_owned();
        assert!(name.ends_with(".onion") && name.len() == 62, "{name:?}");
        let mut names = self.world.names.borrow_mut();
        if !names.contains(&name) {
            names.push(name);
        }
        address
    }

    /// Starts the server, with much to say, and waits until it listens.
    pub fn serves(&self) -> Running {
        let mut server = self.starts(&["serve", "-vvv"]);
        self.world.until("the server to listen", || {
            assert!(server.ended().is_none(), "{}", server.err());
            server.out().contains("ready;")
        });
        server
    }

    /// Starts the server and waits until a test has come in through Tor.
    pub fn serves_reachably(&self) -> Running {
        let server = self.serves();
        self.world.until("the onion service to be reachable", || self.is_reachable());
        server
    }

    /// Whether `status` says that a test has come in through Tor.
    pub fn is_reachable(&self) -> bool {
        // Asked again and again: one log for all, of which the last line counts.
        let log = self.world.path("said").join(format!("status-{}", self.name));
        let mut status = Running::start(self.command(&["status", "--json"]), &log);
        assert_eq!(status.code(self.world.deadline), 0, "{}", status.err());
        let document: Value = serde_json::from_str(status.out().lines().last().unwrap()).unwrap();
        document["result"]["live"]["network"]["onion"]["reachable"] == true
    }

    /// An invite to read everything.
    pub fn invite(&self, more: &[&str]) -> String {
        let out = self.does(&[&["invite", "--collections", "all", "-q"], more].concat());
        out.lines().find(|line| line.starts_with("bulbil:")).unwrap().to_owned()
    }

    /// Complete files of chunks in its home, and their bytes.
    pub fn chunks(&self) -> (usize, u64) {
        fn look(dir: &Path, found: &mut (usize, u64)) {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                let Ok(stat) = entry.metadata() else { continue };
                // The names of chunks are 64 hex digits; others are being written.
                if stat.is_dir() {
                    look(&entry.path(), found);
                } else if entry.file_name().len() == 64 {
                    *found = (found.0 + 1, found.1 + stat.len());
                }
            }
        }
        let mut found = (0, 0);
        look(&self.home.join("chunks"), &mut found);
        found
    }

    /// Restores `notes` and compares it with what another instance backs up.
    pub fn has_the_same_as(&self, other: &Instance<'_>) {
        let target = self.world.path(&format!("{}-restored-{}", self.name, self.chunks().0));
        self.does(&["restore", "notes", "--target", target.to_str().unwrap(), "-q"]);
        super::assert_same_tree(&other.source(), &target);
    }
}

//! The row about kills: real processes on loopback, between which somebody counts.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::Row;
use crate::support::running::{Running, until};
use crate::support::{BULBIL, assert_same_tree, expect, init, noise};

const MIB: u64 = 1 << 20;
/// A figure that does not hold can be done again as it was.
const SEED: u64 = 0x00c0_ffee;

/// How long starting may take.
const BOUND: Duration = Duration::from_secs(60);

/// Stands between two instances and counts.
struct Counter {
    seen: Arc<(Mutex<Seen>, Condvar)>,
    port: u16,
}

#[derive(Default)]
struct Seen {
    /// Bytes that the source has sent.
    sent: u64,
    /// What it was asked.
    asked: Vec<u8>,
}

impl Counter {
    /// Listens on loopback and passes on to `source`. Its threads end with the connections.
    #[expect(clippy::disallowed_methods, reason = "between two processes of this test, on loopback")]
    fn before(source: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::<(Mutex<Seen>, Condvar)>::default();
        let (shared, source) = (Arc::clone(&seen), source.to_owned());
        thread::spawn(move || {
            for near in listener.incoming() {
                let Ok(near) = near else { continue };
                let Ok(far) = TcpStream::connect(&source) else { continue };
                let (from, to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let note = Arc::clone(&shared);
                thread::spawn(move || pass(from, to, |piece| note.0.lock().unwrap().asked.extend_from_slice(piece)));
                let note = Arc::clone(&shared);
                thread::spawn(move || {
                    pass(far, near, |piece| {
                        note.0.lock().unwrap().sent += piece.len() as u64;
                        note.1.notify_all();
                    });
                });
            }
        });
        Self { seen, port }
    }

    fn sent(&self) -> u64 {
        self.seen.0.lock().unwrap().sent
    }

    /// Waits until the source has sent so much, or `process` has ended; whether the first came first.
    fn wait_for(&self, sent: u64, process: &mut Running) -> bool {
        let mut seen = self.seen.0.lock().unwrap();
        while seen.sent < sent {
            if process.ended().is_some() {
                return false;
            }
            // Woken by every piece; looks now and then whether the process is still there.
            seen = self.seen.1.wait_timeout(seen, Duration::from_millis(20)).unwrap().0;
        }
        true
    }

    /// The ids in what was asked since the last time.
    fn asked(&self) -> BTreeSet<String> {
        let asked = std::mem::take(&mut self.seen.0.lock().unwrap().asked);
        let words = asked.split(|byte| !byte.is_ascii_hexdigit()).filter(|word| word.len() == 64);
        words.map(|word| String::from_utf8(word.to_vec()).unwrap()).collect()
    }
}

/// Passes on what comes, until one side ends.
fn pass(mut from: TcpStream, mut to: TcpStream, mut each: impl FnMut(&[u8])) {
    let mut buffer = [0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        each(&buffer[..read]);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// Whole chunks in a home, and their bytes.
fn chunks(home: &Path) -> (BTreeSet<String>, u64) {
    let (mut names, mut bytes, mut left) = (BTreeSet::new(), 0, vec![home.join("chunks")]);
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let (name, stat) = (entry.file_name().into_string().unwrap(), entry.metadata().unwrap());
            if stat.is_dir() {
                left.push(entry.path());
            } else if name.len() == 64 {
                names.insert(name);
                bytes += stat.len();
            }
        }
    }
    (names, bytes)
}

pub(super) fn again_and_again(wanted_kills: u64) -> Row {
    let dir = tempfile::tempdir().unwrap();
    let (alpha, beta, source) = (dir.path().join("alpha"), dir.path().join("beta"), dir.path().join("source"));
    std::fs::create_dir(&source).unwrap();
    // What a round brings on average, with something to spare.
    let files = wanted_kills * 5 + 20;
    for n in 0..files {
        std::fs::write(source.join(format!("{n:03}")), noise(n, MIB as usize)).unwrap();
    }
    init(&alpha, "alpha");
    expect(0, &alpha, &["collection", "add", "notes", source.to_str().unwrap()]);
    expect(0, &alpha, &["backup", "-q"]);
    let mut serve = Command::new(BULBIL);
    serve.arg("--home").arg(&alpha).args(["serve", "--direct", "127.0.0.1:0"]);
    let server = Running::start(serve, &dir.path().join("server"));
    until(Instant::now() + BOUND, "the server", || server.out().contains("ready;"));
    let listens = |line: &str| Some(line.strip_prefix("peers ")?.trim().trim_start_matches("http://").to_owned());
    let counter = Counter::before(&server.out().lines().find_map(listens).unwrap());
    let address = format!("http://127.0.0.1:{}", counter.port);
    let invite = ["invite", "--role", "reader", "--collections", "notes", "--address", &address, "-q"];
    let invite = expect(0, &alpha, &invite);
    let invite = invite.lines().find(|line| line.starts_with("bulbil:")).unwrap().to_owned();
    let clone = ["clone", &invite, "--name", "beta", "--yes", "-q"];

    let (mut random, mut kills, mut again) = (SEED, 0, 0);
    while kills < wanted_kills {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let (here, _) = chunks(&beta);
        counter.asked();
        let at = counter.sent() + random % (8 * MIB);
        let mut command = Command::new(BULBIL);
        command.arg("--home").arg(&beta).args(clone);
        let mut process = Running::start(command, &dir.path().join("clone"));
        let hit = counter.wait_for(at, &mut process);
        process.kill();
        again += counter.asked().intersection(&here).count();
        if !hit {
            break;
        }
        kills += 1;
    }
    expect(0, &beta, &clone);
    expect(0, &beta, &["verify", "--data"]);
    let out = dir.path().join("out");
    expect(0, &beta, &["restore", "notes", "--target", out.to_str().unwrap(), "-q"]);
    assert_same_tree(&source, &out);
    let (_, bytes) = chunks(&beta);
    let repeated = counter.sent().saturating_sub(bytes) as f64 / kills.max(1) as f64 / MIB as f64;
    Row {
        case: "kill -9 at random moments of a clone",
        ours: format!(
            "{kills} kills (seed {SEED:#x}) in {} MiB: ended whole; {again} verified chunks asked for again; {repeated:.2} MiB a kill were sent in vain, heads and lists included",
            bytes / MIB
        ),
        original: "-".into(),
        limit: "ends, 0 chunks again, <= 4 MiB a kill",
        holds: kills == wanted_kills && again == 0 && repeated <= 4.0,
    }
}

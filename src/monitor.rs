//! Progress of long work: counters, the task at hand, and problems that do not stop it.
//!
//! Work reports into a [`Monitor`]; who shows it (a terminal, a test, later a page) is not its concern. Calls are
//! cheap enough for every file, and come from many threads.

mod relay; // in front of another one: counts, and may hold back

pub use relay::{Heard, Relay};

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// An error with its causes, in one line; what one of them says is not said twice.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = next.source();
    }
    text
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Counter {
    /// Entries of any kind looked at or written.
    Entries,
    /// Bytes of file content read from a source or written to a target.
    BytesDone,
    /// Chunks stored, fetched or checked.
    Chunks,
    /// Bytes of those chunks.
    ChunkBytes,
    /// Requests sent to peers.
    Requests,
}

/// How many counters there are.
const COUNTERS: usize = 5;

/// Something that went wrong without stopping the work. Work that reported one ends with exit code 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What it happened to: a path, a peer, an id; empty if nothing in particular.
    pub subject: String,
    /// A sentence: what is wrong.
    pub message: String,
}

/// Where work reports to.
pub trait Monitor: Send + Sync {
    /// A new task begins, e.g. "reading notes". `total` is the expected end value of `counter`, if known.
    fn task(&self, name: &str, counter: Counter, total: Option<u64>);
    /// A task of which `done` of `total` was done before: only what comes from now on is added to `counter`.
    fn resume(&self, name: &str, counter: Counter, done: u64, total: u64) {
        self.task(name, counter, Some(total.saturating_sub(done)));
    }
    /// Adds to a counter.
    fn add(&self, counter: Counter, n: u64);
    /// Takes back some of what was added: it turned out to be of no use.
    fn take_back(&self, counter: Counter, n: u64);
    /// Something worth knowing that is no problem.
    fn notice(&self, text: &str);
    /// Reports a problem that does not stop the work.
    fn problem(&self, problem: Problem);
}

/// A monitor that counts and collects, and shows nothing.
#[derive(Debug, Default)]
pub struct Tally {
    counters: [AtomicU64; COUNTERS],
    problems: Mutex<Vec<Problem>>,
}

impl Tally {
    /// The value of a counter.
    pub fn get(&self, counter: Counter) -> u64 {
        self.counters[counter as usize].load(Ordering::Relaxed)
    }

    /// The problems so far.
    pub fn problems(&self) -> Vec<Problem> {
        self.problems.lock().expect("no holder of this lock can panic").clone()
    }
}

impl Monitor for Tally {
    fn task(&self, _name: &str, _counter: Counter, _total: Option<u64>) {}

    fn add(&self, counter: Counter, n: u64) {
        self.counters[counter as usize].fetch_add(n, Ordering::Relaxed);
    }

    fn take_back(&self, counter: Counter, n: u64) {
        self.counters[counter as usize].fetch_sub(n, Ordering::Relaxed);
    }

    fn notice(&self, _text: &str) {}

    fn problem(&self, problem: Problem) {
        self.problems.lock().expect("no holder of this lock can panic").push(problem);
    }
}

//! Problems, counted; and held back while the folders may be gone through again: what was wrong then may be right now.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::monitor::{Counter, Monitor, Problem};

/// Passes everything on and counts the problems.
pub struct CountingMonitor<'a> {
    inner: &'a dyn Monitor,
    problems: AtomicU64,
}

impl<'a> CountingMonitor<'a> {
    /// Nothing yet.
    pub fn new(inner: &'a dyn Monitor) -> Self {
        Self { inner, problems: AtomicU64::new(0) }
    }

    /// How many so far.
    pub fn problems(&self) -> u64 {
        self.problems.load(Ordering::Relaxed)
    }
}

impl Monitor for CountingMonitor<'_> {
    fn task(&self, name: &str, counter: Counter, total: Option<u64>) {
        self.inner.task(name, counter, total);
    }

    fn add(&self, counter: Counter, n: u64) {
        self.inner.add(counter, n);
    }

    fn take_back(&self, counter: Counter, n: u64) {
        self.inner.take_back(counter, n);
    }

    fn notice(&self, text: &str) {
        self.inner.notice(text);
    }

    fn problem(&self, problem: Problem) {
        self.problems.fetch_add(1, Ordering::Relaxed);
        self.inner.problem(problem);
    }
}

/// Passes everything on, but holds problems and notices back until they count.
pub struct Holding {
    inner: Arc<dyn Monitor>,
    held: Option<Mutex<Vec<Said>>>,
}

enum Said {
    Notice(String),
    Problem(Problem),
}

impl Holding {
    /// Holds back, if `hold`.
    pub fn new(inner: Arc<dyn Monitor>, hold: bool) -> Self {
        Self { inner, held: hold.then(Mutex::default) }
    }

    /// They count.
    pub fn release(&self) {
        let Some(held) = &self.held else { return };
        for said in held.lock().expect("no holder of this lock can panic").drain(..) {
            match said {
                Said::Notice(text) => self.inner.notice(&text),
                Said::Problem(problem) => self.inner.problem(problem),
            }
        }
    }
}

impl Monitor for Holding {
    fn task(&self, name: &str, counter: Counter, total: Option<u64>) {
        self.inner.task(name, counter, total);
    }

    fn add(&self, counter: Counter, n: u64) {
        self.inner.add(counter, n);
    }

    fn take_back(&self, counter: Counter, n: u64) {
        self.inner.take_back(counter, n);
    }

    fn notice(&self, text: &str) {
        match &self.held {
            Some(held) => {
                held.lock().expect("no holder of this lock can panic").push(Said::Notice(text.to_owned()));
            }
            None => self.inner.notice(text),
        }
    }

    fn problem(&self, problem: Problem) {
        match &self.held {
            Some(held) => held.lock().expect("no holder of this lock can panic").push(Said::Problem(problem)),
            None => self.inner.problem(problem),
        }
    }
}

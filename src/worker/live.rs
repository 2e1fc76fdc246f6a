//! Work that goes on in this process, to be looked at: how far it is, what it said so far, and how to stop it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::monitor::{Counter, Monitor, Problem};
use crate::store::index::RunLine;

/// Of one run so many lines are kept; further problems are counted.
const LINES: usize = 500;
/// How many counters there are.
const COUNTERS: [Counter; 5] =
    [Counter::Entries, Counter::BytesDone, Counter::Chunks, Counter::ChunkBytes, Counter::Requests];

/// All runs that go on in this process, by number. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct LiveRuns(Arc<Mutex<BTreeMap<i64, Arc<LiveRun>>>>);

impl LiveRuns {
    /// A run, if it goes on here.
    pub fn get(&self, no: i64) -> Option<Arc<LiveRun>> {
        self.lock().get(&no).cloned()
    }

    /// The numbers of those that go on here.
    pub fn numbers(&self) -> Vec<i64> {
        self.lock().keys().copied().collect()
    }

    /// How many go on here.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether nothing goes on here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn insert(&self, no: i64, run: &Arc<LiveRun>) {
        self.lock().insert(no, Arc::clone(run));
    }

    /// It is over, under whatever numbers it is on record.
    pub(super) fn remove(&self, run: &Arc<LiveRun>) {
        self.lock().retain(|_, other| !Arc::ptr_eq(other, run));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<i64, Arc<LiveRun>>> {
        self.0.lock().expect("no holder of this lock can panic")
    }
}

/// How far it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// What is done now, as "reading notes".
    pub task: Option<Task>,
    /// Files and other entries that were looked at or written.
    pub entries: u64,
    /// Bytes of file content that were read or written.
    pub bytes: u64,
    /// Chunks that were stored, fetched or checked.
    pub chunks: u64,
    /// Bytes of those chunks.
    pub chunk_bytes: u64,
    /// Problems so far.
    pub problems: u64,
}

/// What is done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// What.
    pub name: String,
    /// Whether it is bytes that are counted.
    pub in_bytes: bool,
    /// How much of it is done.
    pub done: u64,
    /// Of how much, if that is known.
    pub total: Option<u64>,
}

/// One run. It is the monitor of its work, and passes everything on.
pub struct LiveRun {
    to: Arc<dyn Monitor>,
    clock: Arc<dyn Clock>,
    cancel: CancellationToken,
    counters: [AtomicU64; COUNTERS.len()],
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    task: Option<Begun>,
    lines: Vec<RunLine>,
    problems: u64,
}

/// A task, and where its counter stood when it began.
#[derive(Debug)]
struct Begun {
    name: String,
    counter: Counter,
    from: u64,
    done_before: u64,
    total: Option<u64>,
}

impl std::fmt::Debug for LiveRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveRun").field("state", &self.state).finish_non_exhaustive()
    }
}

impl LiveRun {
    /// In front of `to`; `cancel` is what stops the work.
    pub(super) fn new(to: Arc<dyn Monitor>, clock: Arc<dyn Clock>, cancel: CancellationToken) -> Self {
        Self { to, clock, cancel, counters: Default::default(), state: Mutex::default() }
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        let state = self.lock();
        let task = state.task.as_ref().map(|task| Task {
            name: task.name.clone(),
            in_bytes: matches!(task.counter, Counter::BytesDone | Counter::ChunkBytes),
            done: task.done_before + self.get(task.counter).saturating_sub(task.from),
            total: task.total,
        });
        Progress {
            task,
            entries: self.get(Counter::Entries),
            bytes: self.get(Counter::BytesDone),
            chunks: self.get(Counter::Chunks),
            chunk_bytes: self.get(Counter::ChunkBytes),
            problems: state.problems,
        }
    }

    /// What it said, from a line on.
    pub fn lines(&self, from: usize) -> Vec<RunLine> {
        self.lock().lines.get(from..).unwrap_or_default().to_vec()
    }

    /// Stops it: it ends in order, soon.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    fn get(&self, counter: Counter) -> u64 {
        self.counters[counter as usize].load(Ordering::Relaxed)
    }

    fn begin(&self, name: &str, counter: Counter, done_before: u64, total: Option<u64>) {
        let from = self.get(counter);
        self.lock().task = Some(Begun { name: name.to_owned(), counter, from, done_before, total });
    }

    fn say(&self, line: RunLine) {
        let mut state = self.lock();
        state.problems += u64::from(line.is_problem);
        if state.lines.len() < LINES {
            state.lines.push(line);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock can panic")
    }
}

impl Monitor for LiveRun {
    fn task(&self, name: &str, counter: Counter, total: Option<u64>) {
        self.begin(name, counter, 0, total);
        self.to.task(name, counter, total);
    }

    fn resume(&self, name: &str, counter: Counter, done: u64, total: u64) {
        self.begin(name, counter, done, Some(total));
        self.to.resume(name, counter, done, total);
    }

    fn add(&self, counter: Counter, n: u64) {
        self.counters[counter as usize].fetch_add(n, Ordering::Relaxed);
        self.to.add(counter, n);
    }

    fn take_back(&self, counter: Counter, n: u64) {
        let less = |value: u64| Some(value.saturating_sub(n));
        let _ = self.counters[counter as usize].fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        self.to.take_back(counter, n);
    }

    fn notice(&self, text: &str) {
        let (at, said) = (self.clock.now(), text.to_owned());
        self.say(RunLine { at, is_problem: false, subject: String::new(), text: said });
        self.to.notice(text);
    }

    fn problem(&self, problem: Problem) {
        let Problem { subject, message } = problem.clone();
        self.say(RunLine { at: self.clock.now(), is_problem: true, subject, text: message });
        self.to.problem(problem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::monitor::Tally;

    #[test]
    fn each_task_is_counted_from_its_own_beginning_and_lines_are_bounded() {
        let tally = Arc::new(Tally::default());
        let run = LiveRun::new(tally.clone(), Arc::new(SystemClock), CancellationToken::new());
        run.add(Counter::ChunkBytes, 100);
        run.resume("getting chunks", Counter::ChunkBytes, 50, 80);
        run.add(Counter::ChunkBytes, 20);
        let task = run.progress().task.unwrap();
        assert_eq!((task.done, task.total, task.in_bytes), (70, Some(80), true));
        run.take_back(Counter::ChunkBytes, 1000);
        assert_eq!(run.progress().task.unwrap().done, 50);
        for n in 0..600 {
            run.problem(Problem { subject: "a".to_owned(), message: n.to_string() });
        }
        assert_eq!((run.progress().problems, run.lines(0).len(), run.lines(499).len()), (600, 500, 1));
        assert_eq!((run.lines(0)[7].text.as_str(), tally.problems().len()), ("7", 600));
    }
}

//! Progress: a bar on a terminal; on anything else a line once in a while, of what is counted in bytes and has a known end.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::monitor::{Counter, Monitor, Problem, Tally};

use super::output::{about, bytes};

/// Where there is no terminal, a line is written so often.
const LINE_EVERY: Duration = Duration::from_secs(30);
/// A rate says little before so much time.
const SETTLED: Duration = Duration::from_secs(3);

/// Shows the task at hand, and keeps counts and problems.
#[derive(Debug)]
pub struct Progress {
    tally: Tally,
    bar: Option<ProgressBar>,
    /// Writes lines.
    plain: bool,
    going: Mutex<Option<Going>>,
    shown: AtomicU64,
    notices: Mutex<Vec<String>>,
    elsewhere: Mutex<Option<Elsewhere>>,
}

/// A task of work that another process does.
#[derive(Debug)]
struct Elsewhere {
    name: String,
    in_bytes: bool,
    total: Option<u64>,
}

/// A task of which lines are written.
#[derive(Debug)]
struct Going {
    name: String,
    counter: Counter,
    before: u64,
    now: u64,
    total: u64,
    began_at: Instant,
    said_at: Instant,
}

impl Going {
    /// `fetching: 1.2 GB of 1.9 GB, 410 kB/s, about 28 minutes left`.
    fn in_words(&self, now: Instant) -> String {
        let seconds = now.duration_since(self.began_at).as_secs_f64().max(0.001);
        let rate = (self.now.saturating_sub(self.before) as f64 / seconds) as u64;
        let left = match self.total.saturating_sub(self.now).checked_div(rate) {
            Some(seconds) => format!("{} left", about(seconds)),
            None => "nothing comes".to_owned(),
        };
        format!("{}: {} of {}, {}/s, {left}", self.name, bytes(self.now), bytes(self.total), bytes(rate))
    }
}

impl Progress {
    /// A bar on standard error, if that is a terminal and `wanted`.
    pub fn new(wanted: bool) -> Self {
        let bar = (wanted && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::no_length();
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        let plain = wanted && bar.is_none();
        let (tally, shown) = (Tally::default(), AtomicU64::new(0));
        Self {
            tally,
            bar,
            plain,
            going: Mutex::default(),
            shown,
            notices: Mutex::default(),
            elsewhere: Mutex::default(),
        }
    }

    /// Takes the bar away; call it before printing a result.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Prints something while the bar is out of the way.
    pub fn suspend(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Moves the task at hand of which lines are written, and writes one when it is time.
    fn go(&self, counter: Counter, change: impl FnOnce(&mut u64)) {
        if !self.plain {
            return;
        }
        let mut going = self.going.lock().expect("no holder of this lock can panic");
        let Some(going) = going.as_mut().filter(|going| going.counter == counter) else { return };
        change(&mut going.now);
        let now = Instant::now();
        if now.duration_since(going.said_at) >= LINE_EVERY {
            going.said_at = now;
            let _ = writeln!(std::io::stderr().lock(), "{}", going.in_words(now));
        }
    }

    fn begin(&self, name: &str, counter: Counter, done: u64, total: Option<u64>) {
        let (name, now) = (name.to_owned(), Instant::now());
        let is_bytes = matches!(counter, Counter::BytesDone | Counter::ChunkBytes);
        let going = total.filter(|_| is_bytes).map(|total| Going {
            name: name.clone(),
            counter,
            before: done,
            now: done,
            total,
            began_at: now,
            said_at: now,
        });
        *self.going.lock().expect("no holder of this lock can panic") = going;
        let Some(bar) = &self.bar else { return };
        self.shown.store(counter as u64, Ordering::Relaxed);
        let template = match total {
            Some(total) => {
                bar.set_length(total);
                let figures = if is_bytes {
                    "{decimal_bytes} of {decimal_total_bytes}  {decimal_bytes_per_sec}"
                } else {
                    "{human_pos} {percent} %"
                };
                format!("{{spinner}} {{msg}}  [{{wide_bar}}] {figures}  {{left}}")
            }
            None => {
                bar.unset_length();
                let figures = if is_bytes { "{decimal_bytes}" } else { "{human_pos}" };
                format!("{{spinner}} {{msg}}  {figures}  {{elapsed}}")
            }
        };
        let style = ProgressStyle::with_template(&template).expect("the template is ours").progress_chars("=> ");
        bar.set_style(style.with_key("left", left));
        bar.set_position(done);
        bar.reset_elapsed();
        bar.reset_eta();
        bar.set_message(name);
    }

    /// Shows how far work is that another process does.
    pub fn show(&self, task: &str, in_bytes: bool, done: u64, total: Option<u64>) {
        let counter = if in_bytes { Counter::BytesDone } else { Counter::Entries };
        let now = Some(Elsewhere { name: task.to_owned(), in_bytes, total });
        let before = {
            let mut elsewhere = self.elsewhere.lock().expect("no holder of this lock can panic");
            std::mem::replace(&mut *elsewhere, now)
        };
        let is_new = before.is_none_or(|b| b.name != task || b.in_bytes != in_bytes || b.total != total);
        if is_new {
            return self.begin(task, counter, done, total);
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
        self.go(counter, |now| *now = done);
    }

    /// The problems so far.
    pub fn problems(&self) -> Vec<Problem> {
        self.tally.problems()
    }

    /// What was worth knowing.
    pub fn notices(&self) -> Vec<String> {
        self.notices.lock().expect("no holder of this lock can panic").clone()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Monitor for Progress {
    fn task(&self, name: &str, counter: Counter, total: Option<u64>) {
        self.begin(name, counter, 0, total);
    }

    fn resume(&self, name: &str, counter: Counter, done: u64, total: u64) {
        self.begin(name, counter, done, Some(total));
    }

    fn add(&self, counter: Counter, n: u64) {
        self.tally.add(counter, n);
        if let Some(bar) = &self.bar
            && self.shown.load(Ordering::Relaxed) == counter as u64
        {
            bar.inc(n);
        }
        self.go(counter, |now| *now += n);
    }

    fn take_back(&self, counter: Counter, n: u64) {
        self.tally.take_back(counter, n);
        if let Some(bar) = &self.bar
            && self.shown.load(Ordering::Relaxed) == counter as u64
        {
            bar.dec(n);
        }
        self.go(counter, |now| *now = now.saturating_sub(n));
    }

    fn notice(&self, text: &str) {
        self.notices.lock().expect("no holder of this lock can panic").push(text.to_owned());
    }

    fn problem(&self, problem: Problem) {
        if let Some(bar) = &self.bar {
            bar.println(format!("problem: {}: {}", problem.subject, problem.message));
        }
        self.tally.problem(problem);
    }
}

/// How long it still takes, once that can be said.
fn left(state: &ProgressState, out: &mut dyn std::fmt::Write) {
    let known = state.elapsed() >= SETTLED && state.per_sec() >= 1.0;
    let _ = match known {
        true => write!(out, "{} left", about(state.eta().as_secs())),
        false => write!(out, "how long is not known yet"),
    };
}

/// Work that runs by itself inside a server: what is worth knowing goes to the log.
#[derive(Debug, Clone, Copy)]
pub struct Log;

impl Monitor for Log {
    fn task(&self, name: &str, _counter: Counter, _total: Option<u64>) {
        tracing::debug!(task = name, "begun");
    }

    fn add(&self, _counter: Counter, _n: u64) {}

    fn take_back(&self, _counter: Counter, _n: u64) {}

    fn notice(&self, text: &str) {
        tracing::info!("{text}");
    }

    fn problem(&self, problem: Problem) {
        tracing::warn!(subject = problem.subject, "{}", problem.message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_here_before_counts_for_the_total_and_not_for_the_rate() {
        let began_at = Instant::now();
        let name = "fetching".to_owned();
        let counter = Counter::ChunkBytes;
        let (before, total) = (1_000_000_000, 1_900_000_000);
        let mut going = Going { name, counter, before, now: before, total, began_at, said_at: began_at };
        let later = began_at + Duration::from_secs(100);
        assert_eq!(going.in_words(later), "fetching: 1.0 GB of 1.9 GB, 0 B/s, nothing comes");
        going.now = 1_100_000_000;
        assert_eq!(going.in_words(later), "fetching: 1.1 GB of 1.9 GB, 1.0 MB/s, about 13 minutes left");
    }
}

//! Progress on a terminal; on anything else, only the problems are kept.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::monitor::{Counter, Monitor, Problem, Tally};

/// Shows the task at hand, and keeps counts and problems.
#[derive(Debug)]
pub struct Progress {
    tally: Tally,
    bar: Option<ProgressBar>,
    shown: AtomicU64,
    notices: Mutex<Vec<String>>,
}

impl Progress {
    /// A bar on standard error, if that is a terminal and `wanted`.
    pub fn new(wanted: bool) -> Self {
        let bar = (wanted && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::no_length();
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { tally: Tally::default(), bar, shown: AtomicU64::new(0), notices: Mutex::default() }
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
        let Some(bar) = &self.bar else { return };
        self.shown.store(counter as u64, Ordering::Relaxed);
        let figures = match counter {
            Counter::BytesDone | Counter::ChunkBytes => "{decimal_bytes}",
            _ => "{human_pos}",
        };
        let template = match total {
            Some(total) => {
                bar.set_length(total);
                format!("{{spinner}} {{msg}}  [{{wide_bar}}] {figures} {{percent}} %  {{eta}} left")
            }
            None => {
                bar.unset_length();
                format!("{{spinner}} {{msg}}  {figures}  {{elapsed}}")
            }
        };
        bar.set_style(ProgressStyle::with_template(&template).expect("the template is ours").progress_chars("=> "));
        bar.set_position(0);
        bar.set_message(name.to_owned());
    }

    fn add(&self, counter: Counter, n: u64) {
        self.tally.add(counter, n);
        if let Some(bar) = &self.bar
            && self.shown.load(Ordering::Relaxed) == counter as u64
        {
            bar.inc(n);
        }
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

/// Work that runs by itself inside a server: what is worth knowing goes to the log.
#[derive(Debug, Clone, Copy)]
pub struct Log;

impl Monitor for Log {
    fn task(&self, name: &str, _counter: Counter, _total: Option<u64>) {
        tracing::debug!(task = name, "begun");
    }

    fn add(&self, _counter: Counter, _n: u64) {}

    fn notice(&self, text: &str) {
        tracing::info!("{text}");
    }

    fn problem(&self, problem: Problem) {
        tracing::warn!(subject = problem.subject, "{}", problem.message);
    }
}

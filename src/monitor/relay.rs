//! A monitor in front of another one: it counts problems, and can hold back what is said until it counts.

use std::sync::{Arc, Mutex};

use super::{Counter, Monitor, Problem};

/// So many problems are remembered.
const TOLD: usize = 20;

/// Passes everything on, remembers the first problems and counts all of them.
///
/// One that holds back passes counters on at once, and problems and notices when it is told to: what is wrong in the first try may be
/// right in the next. Problems are counted as soon as they are heard.
pub struct Relay {
    to: Arc<dyn Monitor>,
    heard: Mutex<Heard>,
    held: Option<Mutex<Vec<Said>>>,
}

/// The problems that a [`Relay`] heard of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// How many.
    pub problems: u64,
    /// The first ones, each in one line.
    pub told: Vec<String>,
}

enum Said {
    Notice(String),
    Problem(Problem),
}

impl Relay {
    /// In front of `to`.
    pub fn new(to: Arc<dyn Monitor>) -> Self {
        Self { to, heard: Mutex::default(), held: None }
    }

    /// In front of `to`, which hears of problems and notices with [`release`](Self::release).
    pub fn holding_back(to: Arc<dyn Monitor>) -> Self {
        Self { held: Some(Mutex::default()), ..Self::new(to) }
    }

    /// What was held back counts.
    pub fn release(&self) {
        let Some(held) = &self.held else { return };
        for said in held.lock().expect("no holder of this lock can panic").drain(..) {
            match said {
                Said::Notice(text) => self.to.notice(&text),
                Said::Problem(problem) => self.to.problem(problem),
            }
        }
    }

    /// The problems so far.
    pub fn heard(&self) -> Heard {
        self.heard.lock().expect("no holder of this lock can panic").clone()
    }

    /// Keeps what is said, or gives it back to be passed on.
    fn hold(&self, said: Said) -> Option<Said> {
        let Some(held) = &self.held else { return Some(said) };
        held.lock().expect("no holder of this lock can panic").push(said);
        None
    }
}

impl Monitor for Relay {
    fn task(&self, name: &str, counter: Counter, total: Option<u64>) {
        self.to.task(name, counter, total);
    }

    fn resume(&self, name: &str, counter: Counter, done: u64, total: u64) {
        self.to.resume(name, counter, done, total);
    }

    fn add(&self, counter: Counter, n: u64) {
        self.to.add(counter, n);
    }

    fn take_back(&self, counter: Counter, n: u64) {
        self.to.take_back(counter, n);
    }

    fn notice(&self, text: &str) {
        if let Some(Said::Notice(text)) = self.hold(Said::Notice(text.to_owned())) {
            self.to.notice(&text);
        }
    }

    fn problem(&self, problem: Problem) {
        {
            let mut heard = self.heard.lock().expect("no holder of this lock can panic");
            heard.problems += 1;
            if heard.told.len() < TOLD {
                heard.told.push(match problem.subject.is_empty() {
                    true => problem.message.clone(),
                    false => format!("{}: {}", problem.subject, problem.message),
                });
            }
        }
        if let Some(Said::Problem(problem)) = self.hold(Said::Problem(problem)) {
            self.to.problem(problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::Tally;

    fn problem(subject: &str) -> Problem {
        Problem { subject: subject.to_owned(), message: "it is wet".to_owned() }
    }

    #[test]
    fn what_is_held_back_is_passed_on_once_and_only_when_it_counts() {
        let tally = Arc::new(Tally::default());
        let relay = Relay::holding_back(tally.clone());
        relay.problem(problem("a"));
        relay.problem(problem(""));
        relay.add(Counter::Entries, 3);
        assert_eq!((tally.problems(), tally.get(Counter::Entries)), (vec![], 3));
        assert_eq!(relay.heard(), Heard { problems: 2, told: vec!["a: it is wet".to_owned(), "it is wet".to_owned()] });
        relay.release();
        relay.release();
        assert_eq!(tally.problems(), [problem("a"), problem("")]);
    }
}

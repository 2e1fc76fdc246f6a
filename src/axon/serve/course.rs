//! How far each guest is with what was announced to it.
//!
//! An Axon instance asks for what is new since its last question and forgets everything else: a message whose attachments were not
//! stored yet is dropped, a download that broke off is not tried again, unless both are announced once more; and its mark moves on
//! even when the answer did not arrive. So what it asks for counts little here. What it has fetched is announced until the guest
//! was told of it twice in a row, took both answers to their end, and asked for nothing behind them. What it never fetched is
//! announced until [`PATIENCE`] answers in a row were taken so: by then it has it from elsewhere, or has deleted it. All of this
//! goes for what it could see: a guest that can see something else begins anew.
//!
//! The second mark is kept in the index. The first one is in memory: after a restart a guest is told again of what it has, which
//! costs it nothing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use jiff::Timestamp;

/// So many answers in a row that nothing came of are enough for what was never fetched. A real instance asks every two minutes.
const PATIENCE: u32 = 10;
/// And so many for what was fetched.
const CERTAINTY: u32 = 2;

#[derive(Debug, Default)]
pub(super) struct Courses(Mutex<HashMap<String, Course>>);

#[derive(Debug, Default)]
struct Course {
    /// When the last answers began, the latest first.
    begun: [Option<Timestamp>; 2],
    /// The last answer was taken to its end.
    taken: bool,
    /// Something was asked for since the last answer began.
    asked: bool,
    /// So many answers in a row were taken, and nothing was asked for behind them.
    quiet: u32,
    /// What came until then, and was fetched, is settled.
    fetched_until: Option<Timestamp>,
    /// What it can see.
    sight: String,
    /// Everything until then is settled.
    settled: Option<Timestamp>,
}

/// What is told this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Telling {
    /// Of what the guest has fetched: what changed after this moment.
    pub(super) fetched_after: Timestamp,
    /// Of the rest: what changed after this one.
    pub(super) rest_after: Timestamp,
    /// Everything until then is settled from now on.
    pub(super) settled: Option<Timestamp>,
}

impl Courses {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Course>> {
        self.0.lock().expect("no holder of this lock can panic")
    }

    /// A guest begins at the beginning.
    pub(super) fn forget(&self, key: &str) {
        self.lock().remove(key);
    }

    /// A guest that can see this asks what is new since some moment; everything until `settled` is settled already. If it can see
    /// something else than before, or what was settled is not any more (its trust has changed meanwhile), it begins anew.
    pub(super) fn begin(
        &self,
        key: &str,
        sight: &str,
        since: Timestamp,
        settled: Option<Timestamp>,
        now: Timestamp,
    ) -> Telling {
        let mut courses = self.lock();
        let course = courses.entry(key.to_owned()).or_default();
        if course.sight != sight || settled < course.settled {
            *course = Course { sight: sight.to_owned(), ..Course::default() };
        }
        course.begin(since, settled, now)
    }

    /// A guest asks for content that is here.
    pub(super) fn asked(&self, key: &str) {
        self.lock().entry(key.to_owned()).or_default().asked = true;
    }

    /// A guest took the answer that began at this moment to its end.
    pub(super) fn taken(&self, key: &str, begun_at: Timestamp) {
        if let Some(course) = self.lock().get_mut(key)
            && course.begun[0] == Some(begun_at)
        {
            course.taken = true;
        }
    }
}

impl Course {
    fn begin(&mut self, since: Timestamp, settled: Option<Timestamp>, now: Timestamp) -> Telling {
        self.quiet = if self.taken && !self.asked { self.quiet + 1 } else { 0 };
        if self.quiet >= CERTAINTY {
            self.fetched_until = self.fetched_until.max(self.begun[1]);
        }
        let newly = self.begun[1].filter(|until| self.quiet >= PATIENCE && settled < Some(*until));
        self.begun = [Some(now), self.begun[0]];
        (self.taken, self.asked) = (false, false);
        let settled = newly.or(settled);
        self.settled = settled;
        let after = |mark: Option<Timestamp>| since.min(mark.unwrap_or(Timestamp::MIN));
        Telling { fetched_after: after(self.fetched_until.max(settled)), rest_after: after(settled), settled: newly }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + 60 * minute).unwrap()
    }

    #[test]
    fn everything_is_told_until_two_answers_in_a_row_were_enough() {
        let courses = Courses::default();
        let ask = |minute: i64| {
            let telling = courses.begin("a", "all", at(minute - 10), None, at(minute));
            courses.taken("a", at(minute));
            assert_eq!(telling.rest_after, Timestamp::MIN, "what it never fetched is told all the time");
            telling.fetched_after
        };
        assert_eq!(ask(0), Timestamp::MIN);
        courses.asked("a");
        assert_eq!(ask(2), Timestamp::MIN, "it has fetched since");
        assert_eq!(ask(4), Timestamp::MIN, "once is not enough");
        assert_eq!(ask(16), at(2), "told at 2 and at 4, and nothing came of it");
        courses.asked("a");
        assert_eq!(ask(18), at(2), "what came since is not settled");
        courses.forget("a");
        assert_eq!(ask(20), Timestamp::MIN);
    }

    #[test]
    fn an_answer_that_broke_off_settles_nothing() {
        let courses = Courses::default();
        for minute in 0..20 {
            let telling = courses.begin("a", "all", at(minute), None, at(minute));
            assert_eq!((telling.fetched_after, telling.settled), (Timestamp::MIN, None), "{minute}");
        }
    }

    #[test]
    fn what_is_never_fetched_is_settled_in_the_end_and_only_what_came_since_is_told() {
        let courses = Courses::default();
        let mut settled = None;
        for n in 0..20 {
            let telling = courses.begin("a", "all", at(2 * n), settled, at(2 * n));
            courses.taken("a", at(2 * n));
            settled = telling.settled.or(settled);
            let patience = i64::from(PATIENCE);
            assert_eq!(settled, (n >= patience).then(|| at(2 * (n - 2))), "{n}");
        }
        // After a restart the mark of what was settled counts, and a guest that went back in time is told what it lacks.
        let courses = Courses::default();
        assert_eq!(courses.begin("a", "all", at(90), settled, at(100)).rest_after, settled.unwrap());
        assert_eq!(courses.begin("a", "all", at(3), settled, at(102)).rest_after, at(3));
    }
}

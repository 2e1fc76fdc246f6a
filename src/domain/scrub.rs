//! When what is stored is read again and compared with its name, and how fast.
//!
//! Each object has a moment of its own, drawn anew after each reading, so that the load of a pass is spread over its weeks.
//! Drawn are five sixths to eleven tenths of the period; with the usual 30 days, 25 to 33. What is due is read at a bounded
//! rate, of which the average takes a quarter at most: after a time of downtime the rest catches up without a burst. So an
//! object is read again no earlier than 25 and no later than 35 days after it was read, unless the program is down for more
//! than a day and a half at a stretch.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Days of a pass, unless the configuration says otherwise.
pub const DEFAULT_DAYS: u32 = 30;
/// Bytes in a second, at least: a small repository is not read more slowly than this once something is due.
pub const SLOWEST: u64 = 4 << 20;
/// How much faster than the average it may go to catch up.
const HEADROOM: u64 = 4;

/// How often everything is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    period: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self::days(DEFAULT_DAYS)
    }
}

impl Policy {
    /// Reads everything once in so many days, give or take a sixth; 1 to 365.
    pub fn days(days: u32) -> Self {
        Self { period: Duration::from_secs(u64::from(days.clamp(1, 365)) * 86_400) }
    }

    /// The shortest time between two readings.
    pub fn shortest(&self) -> Duration {
        self.period * 5 / 6
    }

    /// The longest time until it is due again; what is left until the end of the window is for catching up.
    pub fn longest(&self) -> Duration {
        self.period * 11 / 10
    }

    /// When something that was read at `at` is due again. `draw` is random.
    pub fn next(&self, at: Timestamp, draw: u32) -> Timestamp {
        let spread = self.longest() - self.shortest();
        later(at, self.shortest() + spread.mul_f64(f64::from(draw) / f64::from(u32::MAX)))
    }

    /// When something is due of which nobody knows when it was read: within one period, so that a first pass is spread, too.
    /// `draw` is random.
    pub fn first(&self, now: Timestamp, draw: u32) -> Timestamp {
        later(now, self.period.mul_f64(f64::from(draw) / f64::from(u32::MAX)))
    }

    /// Bytes in a second, at most, of a repository of so many bytes.
    pub fn rate(&self, total_bytes: u64) -> u64 {
        (total_bytes.saturating_mul(HEADROOM) / self.shortest().as_secs().max(1)).max(SLOWEST)
    }

    /// How long to pause after so many bytes.
    pub fn pause(&self, bytes: u64, total_bytes: u64) -> Duration {
        Duration::from_secs_f64(bytes as f64 / self.rate(total_bytes) as f64)
    }
}

/// How much of what is stored is read in one go, when not everything is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// So many of a hundred chunks, rounded up; 1 to 100.
    Percent(u8),
    /// Chunks until so many bytes were read; one at least.
    Bytes(u64),
}

/// Why a text says no share.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no share: write 1% to 100%, or a size like 500M")]
pub struct BadSample(String);

impl std::str::FromStr for Sample {
    type Err = BadSample;

    fn from_str(text: &str) -> Result<Self, BadSample> {
        let bad = || BadSample(text.to_owned());
        if let Some(percent) = text.strip_suffix('%') {
            let percent = percent.trim().parse().ok().filter(|percent| (1..=100).contains(percent));
            return percent.map(Self::Percent).ok_or_else(bad);
        }
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit: u64 = match text[digits.len()..].to_ascii_uppercase().trim_end_matches('B').trim_end_matches('I') {
            "K" => 1 << 10,
            "M" => 1 << 20,
            "G" => 1 << 30,
            "T" => 1 << 40,
            _ => return Err(bad()),
        };
        let bytes = digits.trim().parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).filter(|bytes| *bytes > 0);
        bytes.map(Self::Bytes).ok_or_else(bad)
    }
}

impl Sample {
    /// Whether it leaves nothing out.
    pub fn is_everything(self) -> bool {
        self == Self::Percent(100)
    }

    /// How many of chunks with these sizes are read, from the first one on.
    pub fn of(self, sizes: &[u64]) -> usize {
        match self {
            Self::Percent(percent) => (sizes.len() * usize::from(percent)).div_ceil(100),
            Self::Bytes(bytes) => {
                let before = sizes.iter().scan(0u64, |sum, size| {
                    let before = *sum;
                    *sum = sum.saturating_add(*size);
                    Some(before)
                });
                before.take_while(|before| *before < bytes).count()
            }
        }
    }
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.saturating_add(SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: i64 = 86_400;

    #[test]
    fn a_share_is_percent_or_a_size() {
        let parse = |text: &str| text.parse::<Sample>().ok();
        assert_eq!(parse("10%"), Some(Sample::Percent(10)));
        assert_eq!(parse("500M"), Some(Sample::Bytes(500 << 20)));
        assert_eq!(parse("2 GiB"), Some(Sample::Bytes(2 << 30)));
        for bad in ["", "%", "0%", "101%", "-1%", "10", "M", "0K", "1e9G", "99999999999T", "5X"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(Sample::Percent(10).of(&[1; 11]), 2);
        assert_eq!(Sample::Percent(100).of(&[1; 11]), 11);
        assert_eq!(Sample::Bytes(25).of(&[10; 11]), 3);
        assert_eq!(Sample::Bytes(1).of(&[10; 11]), 1);
        assert_eq!(Sample::Bytes(1).of(&[]), 0);
    }

    /// Reads what is due as the worker does, object by object; answers when each was read, and its bytes.
    fn simulate(policy: &Policy, sizes: &[u64], down: &[(i64, i64)], draws: &mut dyn FnMut() -> u32) -> Vec<Vec<i64>> {
        let total = sizes.iter().sum();
        let mut now = Timestamp::UNIX_EPOCH;
        let mut due: Vec<Timestamp> = sizes.iter().map(|_| policy.first(now, draws())).collect();
        let mut read = vec![Vec::new(); sizes.len()];
        loop {
            let (at, next) = due.iter().copied().enumerate().min_by_key(|(_, due)| *due).unwrap();
            now = now.max(next);
            // A restart keeps nothing but what is due.
            while let Some((_, end)) = down.iter().find(|(from, end)| (*from..*end).contains(&now.as_second())) {
                now = Timestamp::from_second(*end).unwrap();
            }
            if now.as_second() > 200 * DAY {
                return read;
            }
            read[at].push(now.as_second());
            due[at] = policy.next(now, draws());
            now = later(now, policy.pause(sizes[at], total));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn each_object_is_read_once_in_25_to_35_days_whatever_the_restarts_and_never_above_the_rate(
            sizes in prop::collection::vec(1u64..200_000_000_000, 1..60),
            gaps in prop::collection::vec((2 * DAY..20 * DAY, 1..DAY * 3 / 2), 0..30),
            seed in any::<u32>(),
        ) {
            let policy = Policy::default();
            let mut down = Vec::new();
            let mut at = 0;
            for (up, length) in gaps {
                down.push((at + up, at + up + length));
                at += up + length;
            }
            let mut state = seed;
            let mut draws = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state
            };
            // An object of a fixture is a heap of chunks that are due together: worse than anything that is drawn.
            let read = simulate(&policy, &sizes, &down, &mut draws);
            let mut all = Vec::new();
            for (moments, size) in read.iter().zip(&sizes) {
                prop_assert!(moments[0] <= 35 * DAY && *moments.last().unwrap() >= 165 * DAY);
                for pair in moments.windows(2) {
                    prop_assert!((25 * DAY..=35 * DAY).contains(&(pair[1] - pair[0])), "{} days", (pair[1] - pair[0]) / DAY);
                }
                all.extend(moments.iter().map(|at| (*at, *size)));
            }
            all.sort_unstable();
            let rate = policy.rate(sizes.iter().sum());
            for pair in all.windows(2) {
                prop_assert!(pair[1].0 - pair[0].0 + 1 >= (pair[0].1 / rate) as i64);
            }
        }

        #[test]
        fn whatever_the_period_the_window_is_around_it(days in any::<u32>(), draw in any::<u32>(), total in any::<u64>()) {
            let policy = Policy::days(days);
            let at = Timestamp::UNIX_EPOCH;
            let next = policy.next(at, draw);
            prop_assert!(next >= later(at, policy.shortest()) && next <= later(at, policy.longest()));
            prop_assert!(policy.first(at, draw) <= later(at, policy.period));
            prop_assert!(policy.rate(total) >= SLOWEST);
        }
    }
}

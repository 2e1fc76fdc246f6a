//! How much, how fast and when a peer is sent chunks. Pure: `now` is an argument.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// What of the rate may be sent at once after a pause.
const BURST: Duration = Duration::from_millis(250);
/// Slower than this nobody is served: whole streams would be taken for stalled.
pub const MIN_RATE: u64 = 1000;
const DAY_MINUTES: u16 = 24 * 60;

/// Limits of a peer. What is empty is not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes a second, all its streams together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
    /// Bytes in a calendar month, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<u64>,
    /// When chunks are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<Hours>,
}

impl Limits {
    /// Whether nothing is limited.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// A daily window in UTC; it may reach over midnight. Text form: `22:00-06:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hours {
    from: u16,
    to: u16,
}

impl Hours {
    /// How long from `now` until it opens; nothing while it is open.
    pub fn opens_in(&self, now: Timestamp) -> Duration {
        let second = now.as_second().rem_euclid(86_400) as u32;
        let (from, to) = (u32::from(self.from) * 60, u32::from(self.to) * 60);
        let open = if from < to { (from..to).contains(&second) } else { second >= from || second < to };
        let wait = if open { 0 } else { (from + 86_400 - second) % 86_400 };
        Duration::from_secs(wait.into())
    }
}

impl FromStr for Hours {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let moment = |text: &str| {
            let (hours, minutes) = text.split_once(':')?;
            let digits = |text: &str| text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
            let (hours, minutes) = (digits(hours).then_some(hours)?, digits(minutes).then_some(minutes)?);
            let at = hours.parse::<u16>().ok()? * 60 + minutes.parse::<u16>().ok().filter(|minutes| *minutes < 60)?;
            (at < DAY_MINUTES).then_some(at)
        };
        let both = text.split_once('-').and_then(|(from, to)| Some((moment(from)?, moment(to)?)));
        match both {
            Some((from, to)) if from != to => Ok(Self { from, to }),
            _ => Err(format!("{text:?} is no window of a day: write it like 22:00-06:00, in UTC")),
        }
    }
}

impl TryFrom<String> for Hours {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Hours> for String {
    fn from(hours: Hours) -> String {
        hours.to_string()
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

/// The month of a moment, UTC, as a number that rises by one a month; and how long until the next one.
pub fn month(now: Timestamp) -> (i64, Duration) {
    let zoned = now.to_zoned(TimeZone::UTC);
    let month = i64::from(zoned.year()) * 12 + i64::from(zoned.month()) - 1;
    let next = zoned.date().last_of_month().tomorrow().and_then(|day| day.to_zoned(TimeZone::UTC));
    // The calendar ends in the year 9999.
    let left = next.map_or(0, |next| next.timestamp().as_second() - now.as_second());
    (month, Duration::from_secs(left.unsigned_abs()))
}

/// Number of bytes that are handed over at once at this rate: so few that many streams in turn all keep moving.
pub fn piece_bytes(rate: u64) -> usize {
    (rate / 8).clamp(64, 16 << 10) as usize
}

/// Deals out a rate. Who wants to send is told how long to wait, and those who came before have been told of theirs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    free_at: Duration,
}

impl Bucket {
    /// How long to wait before `bytes` may be sent at `rate` bytes a second. `now`: since any fixed moment.
    pub fn take(&mut self, bytes: usize, rate: u64, now: Duration) -> Duration {
        let wait = self.free_at.saturating_sub(now);
        let cost = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        self.free_at = self.free_at.max(now.saturating_sub(BURST)) + cost;
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn windows_reach_over_midnight() {
        let opens = |hours: &str, now: &str| hours.parse::<Hours>().unwrap().opens_in(at(now)).as_secs();
        assert_eq!(opens("22:00-06:00", "2026-11-22T23:00:00Z"), 0);
        assert_eq!(opens("22:00-06:00", "2026-11-22T05:59:59Z"), 0);
        assert_eq!(opens("22:00-06:00", "2026-11-22T06:00:00Z"), 16 * 3600);
        assert_eq!(opens("08:30-09:00", "2026-11-22T08:30:00Z"), 0);
        assert_eq!(opens("08:30-09:00", "2026-11-22T09:00:00Z"), 23 * 3600 + 1800);
        for wrong in ["", "22-6", "22:00", "24:00-01:00", "22:60-23:00", "22:00-22:00", "+2:00-03:00", "22:00-06:00-"] {
            assert!(wrong.parse::<Hours>().is_err(), "{wrong}");
        }
        assert_eq!("22:00-06:05".parse::<Hours>().unwrap().to_string(), "22:00-06:05");
    }

    #[test]
    fn months_end_in_utc() {
        let (november, left) = month(at("2026-11-30T23:59:00Z"));
        assert_eq!(left, Duration::from_secs(60));
        assert_eq!(month(at("2026-12-01T00:00:00Z")).0, november + 1);
        assert_eq!(month(at("2027-01-01T00:00:00Z")), (november + 2, Duration::from_secs(31 * 86_400)));
    }

    proptest! {
        /// However many streams ask, and whenever: over any time no more goes out than the rate and one burst.
        #[test]
        fn the_rate_holds_over_all_streams(rate in MIN_RATE..10_000_000, pauses in prop::collection::vec(0u64..400, 1..200)) {
            let (mut bucket, mut now, mut sent) = (Bucket::default(), Duration::from_secs(100), 0u64);
            let started = now;
            for pause in pauses {
                now += Duration::from_millis(pause);
                let bytes = piece_bytes(rate);
                let goes_at = now + bucket.take(bytes, rate, now);
                let bound = rate as f64 * ((goes_at - started) + BURST).as_secs_f64() + 1.0;
                prop_assert!(sent as f64 <= bound, "{} bytes of {}", sent, bound);
                sent += bytes as u64;
            }
        }

        #[test]
        fn no_text_makes_hours_panic(text in "\\PC{0,12}") {
            let _ = text.parse::<Hours>();
        }
    }
}

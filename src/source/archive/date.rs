//! When an archive was made, as its name says.

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

/// A day, and a time of it if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameDate {
    /// Which day.
    pub day: Date,
    /// When on that day.
    pub time: Option<Time>,
    /// It is UTC; the machine's own time zone otherwise.
    pub is_utc: bool,
}

impl NameDate {
    /// The moment; at the beginning of the day if no time is said.
    pub fn moment(&self, zone: &TimeZone) -> Option<Timestamp> {
        let zone = if self.is_utc { &TimeZone::UTC } else { zone };
        let at = self.day.to_datetime(self.time.unwrap_or(Time::midnight()));
        at.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp())
    }

    /// Whether a moment is on that day.
    pub fn is_day_of(&self, at: Timestamp, zone: &TimeZone) -> bool {
        at.to_zoned(zone.clone()).date() == self.day
    }
}

/// The first date in a file's name: `20261126`, `2026-11-26`, `2026_11_26`, with `020000`, `02-00`, `02:00:00` or the like behind it.
pub fn from_name(name: &str) -> Option<NameDate> {
    let bytes = name.as_bytes();
    let begins = |at: &usize| bytes[*at].is_ascii_digit() && (*at == 0 || !bytes[*at - 1].is_ascii_digit());
    (0..bytes.len()).filter(begins).find_map(|at| date_at(&bytes[at..]))
}

fn date_at(bytes: &[u8]) -> Option<NameDate> {
    let (year, rest) = digits(bytes, 4)?;
    let (between, rest) = separator(rest, b"-_.");
    let (month, rest) = digits(rest, 2)?;
    let (second, rest) = separator(rest, b"-_.");
    let (day, rest) = digits(rest, 2)?;
    let is_year = (1980..2100).contains(&year);
    let day = Date::new(year, month as i8, day as i8).ok().filter(|_| is_year && between == second)?;
    let time = time_at(rest);
    // A longer number is none of ours.
    if time.is_none() && rest.first().is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let (time, rest) = time.unzip();
    Some(NameDate { day, time, is_utc: rest.is_some_and(|rest: &[u8]| rest.first() == Some(&b'Z')) })
}

fn time_at(bytes: &[u8]) -> Option<(Time, &[u8])> {
    let (_, rest) = separator(bytes, b"-_T. ");
    let (hour, rest) = digits(rest, 2)?;
    let (between, rest) = separator(rest, b"-_.:h");
    let (minute, rest) = digits(rest, 2)?;
    let seconds = || {
        let (second, rest) = separator(rest, b"-_.:m");
        let (seconds, rest) = digits(rest, 2)?;
        (second.is_some() == between.is_some()).then_some((seconds, rest))
    };
    let (second, rest) = seconds().unwrap_or((0, rest));
    let time = Time::new(hour as i8, minute as i8, second as i8, 0).ok()?;
    (!rest.first().is_some_and(u8::is_ascii_digit)).then_some((time, rest))
}

fn digits(bytes: &[u8], n: usize) -> Option<(i16, &[u8])> {
    let (number, rest) = bytes.split_at_checked(n)?;
    let number = number.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(number).ok()?.parse().ok());
    Some((number??, rest))
}

fn separator<'a>(bytes: &'a [u8], which: &[u8]) -> (Option<u8>, &'a [u8]) {
    match bytes.split_first() {
        Some((first, rest)) if which.contains(first) => (Some(*first), rest),
        _ => (None, bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_when() {
        let said = |name: &str| from_name(name).and_then(|date| date.moment(&TimeZone::UTC)).map(|at| at.to_string());
        for (name, at) in [
            ("quilltap_20251126_020000.tar.gz", "2025-11-26T02:00:00Z"),
            ("quilltap-backup-20251126.tar.gz.gpg", "2025-11-26T00:00:00Z"),
            ("2026-11-26_020000.tar", "2026-11-26T02:00:00Z"),
            ("2026-11-26T02:03:04Z.tgz", "2026-11-26T02:03:04Z"),
            ("b 2026_11_26 02-03.tar", "2026-11-26T02:03:00Z"),
            ("20261126020304.tar", "2026-11-26T02:03:04Z"),
            ("v2-20261126.tar", "2026-11-26T00:00:00Z"),
            ("backup-1764122400-20261126.tar", "2026-11-26T00:00:00Z"),
        ] {
            assert_eq!(said(name).as_deref(), Some(at), "{name}");
        }
        for name in ["backup.tar", "20261326.tar", "2026-1126.tar", "19700101.tar", "202611261.tar", "1764122400.tar"] {
            assert_eq!(said(name), None, "{name}");
        }
        assert!(from_name("x-2026-11-26T02:03Z.tar").unwrap().is_utc);
    }
}

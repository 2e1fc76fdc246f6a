//! When work is done by itself: cron patterns in a time zone.
//!
//! A pattern stands for *slots*: moments at which a run is due. What was missed is made up for by one run, not by as many as there
//! were slots. With a jitter a run begins some time after its slot, always as long after it for the same collection and slot, so that
//! many instances do not begin at once and a restart changes nothing.

use std::fmt;
use std::str::FromStr;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::crypto::hash::FileHash;

/// Longest pattern, in bytes.
const MAX_PATTERN: usize = 200;
/// Slots that are looked at to find the longest pause between two.
const SLOTS_LOOKED_AT: usize = 1500;
/// How far is looked, in hours.
const YEARS_LOOKED_AT: i64 = 3 * 366 * 24;

/// Why a pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// It is none.
    #[error(
        "{pattern:?} is no schedule: give five fields as for cron, minute hour day month weekday, like '30 2 * * *', or @hourly, @daily, @weekly, @monthly ({cause})"
    )]
    Pattern {
        /// What was given.
        pattern: String,
        /// What is wrong with it.
        cause: String,
    },
    /// It never comes.
    #[error("the schedule {0:?} never comes: there is no such day")]
    Never(String),
}

/// What is done by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// A snapshot is made, and its structure verified.
    Backup,
    /// Every snapshot's structure is verified.
    Verify,
    /// Every stored byte, too.
    VerifyData,
    /// The content of the folders as they are now is checked by the rules of the application.
    Check,
    /// Snapshots that are not to be kept are removed.
    Prune,
    /// The newest snapshot is restored into a scratch folder, compared and checked.
    Drill,
    /// What is new is copied to targets.
    Copy,
}

impl Work {
    /// All kinds.
    pub const ALL: [Self; 7] =
        [Self::Backup, Self::Verify, Self::VerifyData, Self::Check, Self::Prune, Self::Drill, Self::Copy];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Verify => "verify",
            Self::VerifyData => "verify-data",
            Self::Check => "check",
            Self::Prune => "prune",
            Self::Drill => "drill",
            Self::Copy => "copy",
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Work {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = Self::ALL.iter().map(|work| work.word()).collect();
        let found = Self::ALL.into_iter().find(|work| work.word() == text);
        found.ok_or_else(|| format!("{text:?} is nothing that is scheduled; there are: {}", words.join(", ")))
    }
}

/// A cron pattern of five fields, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`, as for Vixie cron: with a day of the month
/// and a weekday either will do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    text: String,
    cron: Box<Cron>,
}

impl FromStr for Pattern {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let wrong = |cause: String| ScheduleError::Pattern { pattern: text.clone(), cause };
        if text.len() > MAX_PATTERN {
            return Err(wrong("it is too long".to_owned()));
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(&text).map_err(|cause| wrong(cause.to_string()))?;
        let pattern = Self { text: text.clone(), cron: Box::new(cron) };
        let anywhen = Timestamp::UNIX_EPOCH;
        pattern.next(anywhen, &TimeZone::UTC).map(|_| pattern).ok_or(ScheduleError::Never(text))
    }
}

impl TryFrom<String> for Pattern {
    type Error = ScheduleError;

    fn try_from(text: String) -> Result<Self, ScheduleError> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Pattern {
    /// The first slot after a moment.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let next = self.cron.find_next_occurrence(&after.to_zoned(zone.clone()), false);
        // A clock that is set back has an hour twice; what comes must be later all the same.
        next.ok().map(|zoned| zoned.timestamp()).filter(|slot| *slot > after)
    }

    /// The last slot at a moment, or before it.
    pub fn last(&self, at: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let last = self.cron.find_previous_occurrence(&at.to_zoned(zone.clone()), true);
        last.ok().map(|zoned| zoned.timestamp()).filter(|slot| *slot <= at)
    }

    /// The longest pause between two slots, clocks that are set forward or back not counted.
    pub fn longest_pause(&self, from: Timestamp) -> SignedDuration {
        let until = from.saturating_add(SignedDuration::from_hours(YEARS_LOOKED_AT)).unwrap_or(Timestamp::MAX);
        let next = |slot: &Timestamp| self.next(*slot, &TimeZone::UTC);
        let slots: Vec<Timestamp> =
            std::iter::successors(next(&from), next).take(SLOTS_LOOKED_AT).take_while(|slot| *slot < until).collect();
        slots
            .windows(2)
            .map(|two| two[1].duration_since(two[0]))
            .max()
            .unwrap_or(SignedDuration::from_hours(YEARS_LOOKED_AT))
    }
}

/// What is done by itself for a collection, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduled {
    /// What.
    pub work: Work,
    /// When.
    pub pattern: Pattern,
    /// In which time zone, by its IANA name; in that of the system if none is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// A run begins up to so many seconds after its slot.
    #[serde(default)]
    pub jitter_s: u32,
    /// Slots before this moment are none: it was not scheduled then.
    pub since: Timestamp,
}

impl Scheduled {
    /// The newest slot that is due at a moment and that `last`, the newest slot that was dealt with, is older than; with it how many
    /// slots were missed before it. However many there are, one run makes up for them.
    pub fn due(&self, last: Option<Timestamp>, now: Timestamp, seed: &[u8], zone: &TimeZone) -> Option<Due> {
        let after = self.after(last, now);
        let mut slot = self.pattern.last(now, zone)?;
        if slot.saturating_add(self.jitter(slot, seed)).unwrap_or(Timestamp::MAX) > now {
            // Its time has not come, but that of the one before may have been missed.
            slot = self.pattern.last(slot.saturating_sub(SignedDuration::from_nanos(1)).ok()?, zone)?;
        }
        (slot > after).then(|| {
            let missed = |slot: &Timestamp| self.pattern.next(*slot, zone);
            let before = std::iter::successors(missed(&after), missed).take_while(|other| *other < slot);
            Due { slot, missed: before.take(SLOTS_LOOKED_AT).count() }
        })
    }

    /// The moment up to which everything was dealt with. Moments that have not come are of a clock that was ahead: they settle nothing.
    pub fn after(&self, last: Option<Timestamp>, now: Timestamp) -> Timestamp {
        let past = |moment: &Timestamp| *moment <= now;
        let since = Some(self.since).filter(past).unwrap_or(Timestamp::UNIX_EPOCH);
        last.filter(past).map_or(since, |last| last.max(since))
    }

    /// When the next run begins, if everything before a moment was dealt with.
    pub fn next(&self, after: Timestamp, seed: &[u8], zone: &TimeZone) -> Option<Timestamp> {
        let slot = self.pattern.next(after, zone)?;
        slot.checked_add(self.jitter(slot, seed)).ok()
    }

    /// How long after a slot its run begins.
    fn jitter(&self, slot: Timestamp, seed: &[u8]) -> SignedDuration {
        let mut input = seed.to_vec();
        input.extend_from_slice(self.work.word().as_bytes());
        input.extend_from_slice(&slot.as_second().to_be_bytes());
        let drawn = FileHash::of(&input).as_bytes().iter().take(8).fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        SignedDuration::from_secs(i64::try_from(drawn % (u64::from(self.jitter_s) + 1)).unwrap_or(0))
    }
}

/// A run that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The slot that it is for.
    pub slot: Timestamp,
    /// Slots before it that were missed, and that it makes up for.
    pub missed: usize,
}

/// What is done by itself for a collection, and how much of it may be lost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upkeep {
    /// What is done when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scheduled: Vec<Scheduled>,
    /// The newest verified snapshot is to be no older than so many hours: what is younger may be lost (recovery point objective).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpo_hours: Option<u32>,
}

impl Upkeep {
    /// Nothing is done, and nothing is asked.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Why what is scheduled cannot keep to what may be lost.
    pub fn contradiction(&self, now: Timestamp) -> Option<String> {
        let rpo = i64::from(self.rpo_hours?);
        let backups: Vec<&Scheduled> = self.scheduled.iter().filter(|one| one.work == Work::Backup).collect();
        let pause = |one: &&Scheduled| {
            one.pattern.longest_pause(now).saturating_add(SignedDuration::from_secs(one.jitter_s.into()))
        };
        let shortest = backups.iter().map(pause).min()?;
        // What a jitter and a run take is not counted twice: an alert leaves as much room.
        let room = SignedDuration::from_secs(rpo * 3600).saturating_add(grace(self.rpo_hours?));
        (shortest > room).then(|| {
            let hours = shortest.as_hours();
            format!("up to {hours} hours pass between two backups, and what may be lost is {rpo} hours: make backups more often, or allow more with --rpo")
        })
    }
}

/// So much older than it may be a snapshot gets before it counts as late: its successor takes some time.
pub fn grace(rpo_hours: u32) -> SignedDuration {
    SignedDuration::from_secs(i64::from(rpo_hours) * 3600 / 48)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn scheduled(pattern: &str, since: &str) -> Scheduled {
        Scheduled { work: Work::Backup, pattern: pattern.parse().unwrap(), zone: None, jitter_s: 0, since: at(since) }
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_the_reason() {
        for bad in ["", "every day", "61 * * * *", "* * * *", "0 0 2 * * *", "@reboot", "0 0 30 2 *", &"1,".repeat(200)]
        {
            assert!(bad.parse::<Pattern>().is_err(), "{bad}");
        }
        for good in ["30 2 * * *", "@daily", "*/15 8-18 * * mon-fri", "0 3 1 * *", "0 0 29 2 *", "0 0 * * sun"] {
            let pattern: Pattern = good.parse().unwrap();
            assert_eq!(String::from(pattern.clone()).parse::<Pattern>().unwrap(), pattern, "{good}");
        }
    }

    #[test]
    fn row_3_however_many_slots_were_missed_one_run_makes_up_for_them() {
        let daily = scheduled("0 2 * * *", "2026-11-20T12:00:00Z");
        let due = |last: Option<&str>, now: &str| daily.due(last.map(at), at(now), b"", &TimeZone::UTC);
        assert_eq!(due(None, "2026-11-20T13:00:00Z"), None, "slots from before it was scheduled are none");
        assert_eq!(due(None, "2026-11-21T02:00:00Z"), Some(Due { slot: at("2026-11-21T02:00:00Z"), missed: 0 }));
        let caught_up = due(Some("2026-11-21T02:00:00Z"), "2026-11-24T09:00:00Z");
        assert_eq!(caught_up, Some(Due { slot: at("2026-11-24T02:00:00Z"), missed: 2 }));
        assert_eq!(due(Some("2026-11-24T02:00:00Z"), "2026-11-24T09:00:00Z"), None);
        let ahead = due(Some("2027-11-24T02:00:00Z"), "2026-11-24T09:00:00Z");
        assert_eq!(
            ahead.map(|due| due.slot),
            Some(at("2026-11-24T02:00:00Z")),
            "what a wrong clock did settles nothing"
        );
    }

    #[test]
    fn a_jitter_is_the_same_at_every_look_and_no_slot_is_lost_to_it() {
        let mut hourly = scheduled("0 * * * *", "2026-11-20T00:00:00Z");
        hourly.jitter_s = 3600 * 2;
        let mut last = None;
        let mut begun = Vec::new();
        for minute in 0..(48 * 60) {
            let now = at("2026-11-20T00:00:00Z") + SignedDuration::from_mins(minute);
            if let Some(due) = hourly.due(last, now, b"seed", &TimeZone::UTC) {
                assert!(last.is_none_or(|last| due.slot > last));
                begun.push(now.duration_since(due.slot).as_secs());
                last = Some(due.slot);
            }
        }
        assert!(begun.len() >= 20 && begun.iter().all(|after| *after <= 2 * 3600), "{begun:?}");
        assert!(begun.iter().any(|after| *after != begun[0]));
    }

    #[test]
    fn the_night_in_which_clocks_change_has_one_run() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let daily = scheduled("30 2 * * *", "2026-01-01T00:00:00Z");
        // In spring 02:30 is missing, in autumn it comes twice.
        for (from, until) in
            [("2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z"), ("2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z")]
        {
            let (mut last, mut runs) = (Some(at(from)), 0);
            let mut now = at(from);
            while now < at(until) {
                if let Some(due) = daily.due(last, now, b"", &zone) {
                    (last, runs) = (Some(due.slot), runs + 1);
                }
                now += SignedDuration::from_mins(5);
            }
            assert_eq!(runs, 1, "{from}");
        }
    }

    #[test]
    fn row_23_a_schedule_that_cannot_keep_to_the_rpo_is_said() {
        let with = |pattern: &str, rpo_hours| Upkeep {
            scheduled: vec![scheduled(pattern, "2026-01-01T00:00:00Z")],
            rpo_hours,
        };
        let now = at("2026-11-26T00:00:00Z");
        assert_eq!(with("0 2 * * *", Some(24)).contradiction(now), None);
        assert_eq!(with("0 2 * * *", None).contradiction(now), None);
        for (pattern, hours) in [("0 2 * * *", 12), ("0 2 * * mon-fri", 24), ("@weekly", 100), ("0 0 29 2 *", 1000)] {
            assert!(with(pattern, Some(hours)).contradiction(now).is_some(), "{pattern}");
        }
        assert_eq!(with("0 */6 * * *", Some(6)).contradiction(now), None);
    }
}

//! Which snapshots stay and which go.
//!
//! Each rule sorts the snapshots of a collection into buckets (hours, days, weeks, months, years), takes the latest so many buckets
//! that have one, and keeps the *oldest* snapshot of each. The oldest of a day is also the one that its week and month can keep: with
//! the newest, what a rule holds would move on each day, and nothing would ever grow old enough for the next one. Time that passes
//! without a backup removes nothing.
//!
//! Whatever a policy says, these stay: the newest whole snapshot, the newest one that was verified and is not flagged, what is pinned,
//! a flagged one and the one before it until somebody takes the flag away (of several in a row the first and the last one), and what
//! stands beside the line.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};
use serde::{Deserialize, Serialize};

use super::id::ManifestId;

#[cfg(test)]
mod tests;

/// What is kept of a collection. A rule of 0 keeps nothing by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The newest so many.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub keep_last: u32,
    /// One of each of the latest so many hours that have one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hourly: u32,
    /// The same for days.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub daily: u32,
    /// The same for ISO weeks, which begin on Monday.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub weekly: u32,
    /// The same for months.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub monthly: u32,
    /// The same for years.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub yearly: u32,
    /// All that were made within so many hours before the newest.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub within_hours: u32,
    /// All that have one of these tags.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<Tag>,
}

impl Default for Policy {
    /// The last one, 7 daily, 4 weekly and 12 monthly ones.
    fn default() -> Self {
        Self { keep_last: 1, daily: 7, weekly: 4, monthly: 12, ..Self::none() }
    }
}

impl Policy {
    /// No rule at all.
    pub fn none() -> Self {
        let tags = BTreeSet::new();
        Self { keep_last: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0, within_hours: 0, tags }
    }

    /// Whether it has no rule: then only what always stays would stay.
    pub fn is_empty(&self) -> bool {
        *self == Self::none()
    }
}

/// A word that somebody gave a snapshot: 1 to 64 letters, digits, `-`, `_` and `.`, not only digits, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(String);

/// Why a text is no tag.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is no tag: use 1 to 64 letters, digits, '-', '_' and '.', beginning with a letter or digit, and not 'latest' or digits alone"
)]
pub struct BadTag(String);

impl TryFrom<String> for Tag {
    type Error = BadTag;

    fn try_from(text: String) -> Result<Self, BadTag> {
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        let good = (1..=64).contains(&text.len())
            && text.starts_with(char::is_alphanumeric)
            && text.chars().all(plain)
            && text != "latest"
            && !text.bytes().all(|b| b.is_ascii_digit());
        if good { Ok(Self(text)) } else { Err(BadTag(text)) }
    }
}

impl std::str::FromStr for Tag {
    type Err = BadTag;

    fn from_str(text: &str) -> Result<Self, BadTag> {
        Self::try_from(text.to_owned())
    }
}

impl From<Tag> for String {
    fn from(tag: Tag) -> Self {
        tag.0
    }
}

impl std::fmt::Display for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// How much of a snapshot is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Everything.
    Whole,
    /// Everything was backed up, but not all of it is here (now), or its key is not.
    Incomplete,
    /// Its backup was interrupted.
    Partial,
}

/// What has to be known of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which one.
    pub id: ManifestId,
    /// Its number: a higher one came later, whatever the clocks said.
    pub sequence: u64,
    /// When it was begun.
    pub made_at: Timestamp,
    /// How much of it is here.
    pub extent: Extent,
    /// When it was last found to be whole and readable.
    pub verified_at: Option<Timestamp>,
    /// Somebody wants it to stay.
    pub pinned: bool,
    /// Something is known against it: it lacks much of what the one before had, does not fit together, or does not come back.
    pub flagged: bool,
    /// A former leader of the collection made it.
    pub beside: bool,
    /// What it is called.
    pub tags: BTreeSet<Tag>,
}

/// Why a snapshot stays.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "because", rename_all = "snake_case")]
pub enum Reason {
    /// Nothing of this collection is removed.
    NoPolicy,
    /// Somebody pinned it.
    Pinned,
    /// It is the newest one that is whole.
    Newest,
    /// It is the newest one that was verified.
    LastVerified,
    /// It is flagged: somebody has to look at it.
    Flagged,
    /// The one after it was flagged.
    BeforeFlagged {
        /// The flagged one.
        sequence: u64,
    },
    /// It stands beside the line.
    Beside,
    /// A partial one, after which no whole one came.
    Unfinished,
    /// It is among the last so many.
    Last,
    /// The first of an hour.
    Hourly {
        /// Which hour.
        bucket: String,
    },
    /// The first of a day.
    Daily {
        /// Which day.
        bucket: String,
    },
    /// The first of a week.
    Weekly {
        /// Which week.
        bucket: String,
    },
    /// The first of a month.
    Monthly {
        /// Which month.
        bucket: String,
    },
    /// The first of a year.
    Yearly {
        /// Which year.
        bucket: String,
    },
    /// It is not older than what is kept whole.
    Within,
    /// By the clock it comes from the future: it was ahead then, or is behind now.
    Future,
    /// It has a tag that is kept.
    Tagged {
        /// Which one.
        tag: Tag,
    },
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reason::NoPolicy => f.write_str("everything is kept"),
            Reason::Pinned => f.write_str("pinned"),
            Reason::Newest => f.write_str("newest"),
            Reason::LastVerified => f.write_str("last verified"),
            Reason::Flagged => f.write_str("flagged"),
            Reason::BeforeFlagged { sequence } => write!(f, "before @{sequence}, which was flagged"),
            Reason::Beside => f.write_str("beside the line"),
            Reason::Unfinished => f.write_str("partial, to be gone on from"),
            Reason::Last => f.write_str("among the last"),
            Reason::Hourly { bucket } => write!(f, "hour {bucket}"),
            Reason::Daily { bucket } => write!(f, "day {bucket}"),
            Reason::Weekly { bucket } => write!(f, "week {bucket}"),
            Reason::Monthly { bucket } => write!(f, "month {bucket}"),
            Reason::Yearly { bucket } => write!(f, "year {bucket}"),
            Reason::Within => f.write_str("recent"),
            Reason::Future => f.write_str("from the future, as this clock has it"),
            Reason::Tagged { tag } => write!(f, "tag {tag}"),
        }
    }
}

/// What becomes of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It stays, for these reasons: never none.
    Keep(Vec<Reason>),
    /// It goes.
    Remove,
}

/// Clocks of peers may differ by so much.
const AHEAD: SignedDuration = SignedDuration::from_hours(1);

/// How many buckets, which one a moment falls into, and what to say of it.
type Rule = (u32, fn(&Zoned) -> String, fn(String) -> Reason);

/// Decides about all snapshots of one collection, in their order. Without a policy nothing goes.
///
/// `zone` says when days begin, `now` what counts as the future: what a wrong clock put there does not make others old.
pub fn decide(snapshots: &[Candidate], policy: Option<&Policy>, zone: &TimeZone, now: Timestamp) -> Vec<Verdict> {
    let mut reasons: Vec<BTreeSet<Reason>> = vec![BTreeSet::new(); snapshots.len()];
    let Some(policy) = policy else {
        return snapshots.iter().map(|_| Verdict::Keep(vec![Reason::NoPolicy])).collect();
    };
    always(snapshots, &mut reasons);
    // Newest first.
    let mut line: Vec<usize> = (0..snapshots.len()).filter(|at| is_in_line(&snapshots[*at])).collect();
    line.sort_by_key(|at| std::cmp::Reverse(snapshots[*at].sequence));
    for at in line.iter().take(policy.keep_last as usize) {
        reasons[*at].insert(Reason::Last);
    }
    // What a wrong clock put into the future holds no place of those that are of today; and if it is today's clock that is wrong, nothing goes.
    let is_ahead = |at: &usize| snapshots[*at].made_at > now.saturating_add(AHEAD).unwrap_or(Timestamp::MAX);
    for at in line.extract_if(.., |at| is_ahead(at)) {
        reasons[at].insert(Reason::Future);
    }
    let newest = line.iter().map(|at| snapshots[*at].made_at).max().unwrap_or(now);
    let within = SignedDuration::from_hours(policy.within_hours.into());
    let from = newest.saturating_sub(within).unwrap_or(Timestamp::MIN);
    for at in &line {
        let snapshot = &snapshots[*at];
        if policy.within_hours > 0 && snapshot.made_at >= from {
            reasons[*at].insert(Reason::Within);
        }
        let kept = snapshot.tags.intersection(&policy.tags);
        reasons[*at].extend(kept.map(|tag| Reason::Tagged { tag: tag.clone() }));
    }
    let rules: [Rule; 5] = [
        (policy.hourly, hour, |bucket| Reason::Hourly { bucket }),
        (policy.daily, day, |bucket| Reason::Daily { bucket }),
        (policy.weekly, week, |bucket| Reason::Weekly { bucket }),
        (policy.monthly, month, |bucket| Reason::Monthly { bucket }),
        (policy.yearly, year, |bucket| Reason::Yearly { bucket }),
    ];
    for (wanted, bucket_of, reason) in rules.into_iter().filter(|(wanted, ..)| *wanted > 0) {
        // By bucket, whose order is that of its first moment.
        let mut buckets: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for at in &line {
            buckets.entry(bucket_of(&snapshots[*at].made_at.to_zoned(zone.clone()))).or_default().push(*at);
        }
        for (bucket, inside) in buckets.into_iter().rev().take(wanted as usize) {
            let age = |at: &&usize| (snapshots[**at].made_at, snapshots[**at].sequence);
            let oldest = inside.iter().min_by_key(age);
            // One of which chunks are missing may be whole again one day; until then another one stands in.
            let whole = inside.iter().filter(|at| snapshots[**at].extent == Extent::Whole).min_by_key(age);
            for at in oldest.into_iter().chain(whole) {
                reasons[*at].insert(reason(bucket.clone()));
            }
        }
    }
    let verdict = |reasons: BTreeSet<Reason>| match reasons.is_empty() {
        true => Verdict::Remove,
        false => Verdict::Keep(reasons.into_iter().collect()),
    };
    reasons.into_iter().map(verdict).collect()
}

/// What stays whatever the policy says.
fn always(snapshots: &[Candidate], reasons: &mut [BTreeSet<Reason>]) {
    let newest = |fits: &dyn Fn(&Candidate) -> bool| {
        let fitting = snapshots.iter().enumerate().filter(|(_, snapshot)| is_in_line(snapshot) && fits(snapshot));
        fitting.max_by_key(|(_, snapshot)| snapshot.sequence).map(|(at, _)| at)
    };
    let whole = newest(&|snapshot| snapshot.extent == Extent::Whole);
    // Of a collection that is still being fetched there is no whole one yet: then the newest that there will be.
    if let Some(at) = whole.or_else(|| newest(&|_| true)) {
        reasons[at].insert(Reason::Newest);
    }
    if let Some(at) = newest(&|snapshot| is_good(snapshot) && snapshot.verified_at.is_some()) {
        reasons[at].insert(Reason::LastVerified);
    }
    let last_whole = whole.map_or(0, |at| snapshots[at].sequence);
    for (at, snapshot) in snapshots.iter().enumerate() {
        if snapshot.pinned {
            reasons[at].insert(Reason::Pinned);
        }
        if snapshot.beside {
            reasons[at].insert(Reason::Beside);
        }
        if snapshot.extent == Extent::Partial && snapshot.sequence > last_whole {
            reasons[at].insert(Reason::Unfinished);
        }
        if snapshot.flagged {
            // With it the suspicion would be forgotten, and the one before would go next.
            if !is_amid_flagged(snapshots, snapshot) {
                reasons[at].insert(Reason::Flagged);
            }
            let earlier = |other: &Candidate| !other.flagged && other.sequence < snapshot.sequence;
            let whole = newest(&|other| earlier(other) && other.extent == Extent::Whole);
            if let Some(before) = whole.or_else(|| newest(&earlier)) {
                reasons[before].insert(Reason::BeforeFlagged { sequence: snapshot.sequence });
            }
        }
    }
}

/// Whether it is all there, and nothing is known against it.
fn is_good(snapshot: &Candidate) -> bool {
    snapshot.extent == Extent::Whole && !snapshot.flagged
}

/// Whether both neighbours of it in the line are flagged, too: what is wrong for months does not fill the disk. One that is not whole
/// is no neighbour: it may go by itself, and then those beside it would be neighbours.
fn is_amid_flagged(snapshots: &[Candidate], of: &Candidate) -> bool {
    let counts = |other: &&Candidate| is_in_line(other) && (other.flagged || other.extent == Extent::Whole);
    let others = || snapshots.iter().filter(counts);
    let before = others().filter(|other| other.sequence < of.sequence).max_by_key(|other| other.sequence);
    let after = others().filter(|other| other.sequence > of.sequence).min_by_key(|other| other.sequence);
    is_in_line(of) && before.is_some_and(|before| before.flagged) && after.is_some_and(|after| after.flagged)
}

/// Whether a policy's rules are about it.
fn is_in_line(snapshot: &Candidate) -> bool {
    snapshot.extent != Extent::Partial && !snapshot.beside
}

// Buckets sort as text in the order of time. An hour that a clock shows twice in autumn is two: the offset tells them apart, and
// stands for their order, because the first one is that of summer time. It is left out elsewhere.

fn hour(at: &Zoned) -> String {
    let first = at.timestamp().saturating_sub(SignedDuration::from_hours(1));
    let again = first.is_ok_and(|before| before.to_zoned(at.time_zone().clone()).hour() == at.hour());
    format!("{}{}", at.strftime("%Y-%m-%d %H"), if again { " (again)" } else { "" })
}

fn day(at: &Zoned) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

fn week(at: &Zoned) -> String {
    let week = at.date().iso_week_date();
    format!("{:04}-W{:02}", week.year(), week.week())
}

fn month(at: &Zoned) -> String {
    at.strftime("%Y-%m").to_string()
}

fn year(at: &Zoned) -> String {
    at.strftime("%Y").to_string()
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

//! What may be typed that has to do with what is kept.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::network::parse_duration;
use crate::domain::retention::{Policy, Tag};

/// `bulbil retention`
#[derive(Debug, Args)]
pub struct RetentionArgs {
    /// Which collection [default: show all]
    #[arg(required_if_eq_any = [("all", "true"), ("usual", "true")])]
    pub collection: Option<String>,
    /// What is kept from now on; replaces all that was said before
    #[command(flatten)]
    pub keep: KeepArgs,
    /// Keep everything
    #[arg(long = "keep-all")]
    pub all: bool,
    /// Go back to the usual: for own collections the last, 7 daily, 4 weekly and 12 monthly ones, for others everything
    #[arg(long = "default", conflicts_with = "all")]
    pub usual: bool,
    /// Where days begin: the name of a time zone, as Europe/Berlin [default: as before, UTC at first]
    #[arg(long, value_name = "ZONE", requires = "collection", conflicts_with = "usual")]
    pub time_zone: Option<String>,
}

impl RetentionArgs {
    /// Whether it changes something; otherwise it only shows.
    pub fn changes(&self) -> bool {
        self.all || self.usual || self.time_zone.is_some() || self.keep.policy().is_some()
    }
}

/// What is kept. Of each hour, day, week, month or year that has any it is the first snapshot.
#[derive(Debug, Args)]
pub struct KeepArgs {
    /// The newest so many
    #[arg(long, value_name = "N")]
    pub keep_last: Option<u32>,
    /// One of each of the latest N hours that have one
    #[arg(long, value_name = "N")]
    pub keep_hourly: Option<u32>,
    /// One of each of the latest N days that have one
    #[arg(long, value_name = "N")]
    pub keep_daily: Option<u32>,
    /// One of each of the latest N weeks that have one
    #[arg(long, value_name = "N")]
    pub keep_weekly: Option<u32>,
    /// One of each of the latest N months that have one
    #[arg(long, value_name = "N")]
    pub keep_monthly: Option<u32>,
    /// One of each of the latest N years that have one
    #[arg(long, value_name = "N")]
    pub keep_yearly: Option<u32>,
    /// All that were made within this time before the newest one: a number and h or d
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub keep_within: Option<Duration>,
    /// All that have this tag; may be given several times
    #[arg(long, value_name = "TAG")]
    pub keep_tag: Vec<Tag>,
}

impl KeepArgs {
    /// The policy that was typed; none if nothing was.
    pub fn policy(&self) -> Option<Policy> {
        let numbers =
            [self.keep_last, self.keep_hourly, self.keep_daily, self.keep_weekly, self.keep_monthly, self.keep_yearly];
        if numbers.iter().all(Option::is_none) && self.keep_within.is_none() && self.keep_tag.is_empty() {
            return None;
        }
        let [keep_last, hourly, daily, weekly, monthly, yearly] = numbers.map(Option::unwrap_or_default);
        // Begun hours count: nothing that was meant to stay goes.
        let hours = self.keep_within.map_or(0, |within| within.as_secs().div_ceil(3600));
        let within_hours = u32::try_from(hours).unwrap_or(u32::MAX);
        let tags = self.keep_tag.iter().cloned().collect();
        Some(Policy { keep_last, hourly, daily, weekly, monthly, yearly, within_hours, tags })
    }
}

/// `bulbil prune`
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Which collections [default: all]
    pub collections: Vec<String>,
    /// Say what would be removed and what stays, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// What is kept this time, instead of what was said with 'bulbil retention'
    #[command(flatten)]
    pub keep: KeepArgs,
    /// How long what nobody needs any more stays on disk: a number and s, m, h or d; 0s frees it at once
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_grace)]
    pub grace: Duration,
    /// Show also what stays, and why; a dry run does it anyway
    #[arg(long)]
    pub explain: bool,
}

/// `bulbil usage`
#[derive(Debug, Args)]
pub struct UsageArgs {
    /// Which collections [default: all]
    pub collections: Vec<String>,
}

/// `bulbil snapshot …`
#[derive(Debug, Subcommand)]
pub enum SnapshotCommand {
    /// Keep a snapshot whatever the policy says
    #[command(after_help = "Example:\n  bulbil snapshot pin notes@3")]
    Pin(SnapshotArg),
    /// Leave it to the policy again
    #[command(after_help = "Example:\n  bulbil snapshot unpin notes@3")]
    Unpin(SnapshotArg),
    /// Give a snapshot names, by which it is found again
    #[command(after_help = "Example:\n  bulbil snapshot tag notes before-upgrade\n  bulbil ls notes@before-upgrade")]
    Tag(SnapshotTagArgs),
    /// Take names away
    #[command(after_help = "Example:\n  bulbil snapshot untag notes@3 before-upgrade")]
    Untag(SnapshotTagArgs),
    /// It is in order: it and the one before need not be kept for a look any more
    #[command(after_help = "Example:\n  bulbil snapshot unflag notes@3")]
    Unflag(SnapshotArg),
    /// Delete a snapshot, whatever the policy says; never a pinned one, and never the last good one. Without --yes only look
    #[command(after_help = "Example:\n  bulbil snapshot delete notes@3\n  bulbil snapshot delete notes@3 --yes")]
    Delete(SnapshotDeleteArgs),
}

impl SnapshotCommand {
    /// How it is called.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Pin(_) => "snapshot pin",
            Self::Unpin(_) => "snapshot unpin",
            Self::Tag(_) => "snapshot tag",
            Self::Untag(_) => "snapshot untag",
            Self::Unflag(_) => "snapshot unflag",
            Self::Delete(_) => "snapshot delete",
        }
    }
}

/// `bulbil snapshot delete`
#[derive(Debug, Args)]
pub struct SnapshotDeleteArgs {
    /// Which snapshot: NAME@NUMBER, NAME@TAG or an id
    pub snapshot: String,
    /// Delete it; without this it is only said what would go
    #[arg(long)]
    pub yes: bool,
}

/// `bulbil snapshot pin`
#[derive(Debug, Args)]
pub struct SnapshotArg {
    /// Which snapshot: NAME, NAME@latest, NAME@NUMBER, NAME@TAG or an id
    pub snapshot: String,
}

/// `bulbil snapshot tag`
#[derive(Debug, Args)]
pub struct SnapshotTagArgs {
    /// Which snapshot: NAME, NAME@latest, NAME@NUMBER, NAME@TAG or an id
    pub snapshot: String,
    /// The tags: letters, digits, '-', '_' and '.'
    #[arg(required = true)]
    pub tags: Vec<Tag>,
}

/// A time that may be none.
fn parse_grace(text: &str) -> Result<Duration, String> {
    if matches!(text, "0" | "0s") { Ok(Duration::ZERO) } else { parse_duration(text) }
}

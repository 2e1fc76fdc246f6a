//! What may be typed that has to do with what is done by itself.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::collection::RulesArgs;
use super::network::parse_duration;
use crate::domain::run::RunKind;
use crate::domain::schedule::{Pattern, Work};

/// `bulbil schedule`
#[derive(Debug, Args)]
pub struct ScheduleArgs {
    /// Which collection [default: show all]
    pub collection: Option<String>,
    /// Make a snapshot, and verify its structure
    #[arg(long, value_name = "CRON", requires = "collection")]
    pub backup: Option<Pattern>,
    /// Verify the structure of every snapshot
    #[arg(long, value_name = "CRON", requires = "collection")]
    pub verify: Option<Pattern>,
    /// Verify every stored byte, too
    #[arg(long, value_name = "CRON", requires = "collection")]
    pub verify_data: Option<Pattern>,
    /// Check the content of the folders as they are now, by the rules of the application
    #[arg(long, value_name = "CRON", requires = "collection")]
    pub check: Option<Pattern>,
    /// Remove snapshots that are not to be kept
    #[arg(long, value_name = "CRON", requires = "collection")]
    pub prune: Option<Pattern>,
    /// Try a restore of the newest snapshot
    #[arg(long, value_name = "CRON", requires = "collection")]
    pub drill: Option<Pattern>,
    /// Copy what is new to targets
    #[arg(long, value_name = "CRON", requires = "collection")]
    pub copy: Option<Pattern>,
    /// Do this by itself no longer: backup, verify, verify-data, check, prune, drill, copy, or all
    #[arg(long, value_name = "WORK", requires = "collection", value_delimiter = ',')]
    pub off: Vec<Off>,
    /// The time zone of what is scheduled now, as Europe/Berlin [default: that of the system]
    #[arg(long, value_name = "ZONE", requires = "collection")]
    pub time_zone: Option<String>,
    /// What is scheduled now begins up to this long after its time: so many instances do not begin at once
    #[arg(long, value_name = "TIME", value_parser = parse_duration, requires = "collection")]
    pub jitter: Option<Duration>,
    /// The newest verified snapshot is to be no older than this: a number and h or d, or none
    #[arg(long, value_name = "TIME", value_parser = parse_rpo, requires = "collection")]
    pub rpo: Option<Rpo>,
}

impl ScheduleArgs {
    /// Whether it changes something; otherwise it only shows.
    pub fn changes(&self) -> bool {
        let planned = [&self.backup, &self.verify, &self.verify_data, &self.check, &self.prune, &self.drill];
        planned.into_iter().any(Option::is_some) || !self.off.is_empty() || self.rpo.is_some()
    }
}

/// How much may be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rpo {
    /// Nothing is asked.
    None,
    /// So many hours.
    Hours(u32),
}

/// What is done no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Off {
    /// Everything.
    All,
    /// This.
    One(Work),
}

impl std::str::FromStr for Off {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" { Ok(Self::All) } else { text.parse().map(Self::One) }
    }
}

/// Hours, at least one, or none.
pub(super) fn parse_rpo(text: &str) -> Result<Rpo, String> {
    if text == "none" {
        return Ok(Rpo::None);
    }
    let hours = parse_duration(text)?.as_secs() / 3600;
    let hours = u32::try_from(hours).ok().filter(|hours| *hours > 0);
    hours.map(Rpo::Hours).ok_or_else(|| format!("{text:?} is less than an hour: write 1h at least, or none"))
}

/// `bulbil drill`
#[derive(Debug, Args)]
pub struct DrillArgs {
    /// Which collection
    pub collection: String,
    /// Which snapshot, as a number, an id, a tag or 'latest' [default: latest]
    #[arg(long, value_name = "SNAPSHOT")]
    pub snapshot: Option<String>,
    /// By whose rules
    #[command(flatten)]
    pub rules: RulesArgs,
    /// How long it may take: longer is a problem, and exit code 2
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub rto: Option<Duration>,
    /// Where to restore to meanwhile: a folder with enough room; nothing of it is touched but '.bulbil-drill' [default: in the home]
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
}

/// `bulbil runs`
#[derive(Debug, Args)]
pub struct RunsArgs {
    /// Of which collection [default: all]
    pub collection: Option<String>,
    /// Of which kind: backup, verify, verify-data, check, prune, drill, copy, restore, export, sync, fetch, verify-target, prune-target
    #[arg(long, value_name = "KIND")]
    pub work: Option<RunKind>,
    /// The newest so many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

//! What may be typed that has to do with targets: other places that hold copies.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `bulbil target`
#[derive(Debug, Subcommand)]
pub enum TargetCommand {
    /// Name a place that copies go to: a folder, a mounted share, a bucket
    #[command(
        after_help = "A folder must be there, and be empty: where a disk is not mounted none is made.\n\nExample:\n  bulbil target add nas /mnt/nas/bulbil\n  bulbil target add cloud s3://backups/alpha --endpoint https://s3.example.org --credentials-file s3.txt"
    )]
    Add(TargetAddArgs),
    /// Show the targets, and what is there
    List,
    /// Forget a target; what is there stays
    Remove(TargetNameArgs),
    /// Look whether what is in a target is what it should be
    #[command(
        after_help = "Exit code 2: something is wrong there.\n\nExample:\n  bulbil target verify nas\n  bulbil target verify cloud --sample 10%\n  bulbil target verify nas --data --repair"
    )]
    Verify(TargetVerifyArgs),
    /// Remove from a target what was removed here: snapshots at once, chunks when nobody leans on them for a day
    #[command(after_help = "Example:\n  bulbil target prune nas --dry-run\n  bulbil target prune nas")]
    Prune(TargetPruneArgs),
}

/// Where an object store is, and what lets us in.
#[derive(Debug, Clone, Default, Args)]
pub struct BucketArgs {
    /// Where the object store answers, as https://s3.example.org [default: that of AWS]
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// The region of the bucket [default: us-east-1]
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
    /// A file with the credentials, as ~/.aws/credentials, for nobody but its owner [default: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN]
    #[arg(long, value_name = "FILE")]
    pub credentials_file: Option<PathBuf>,
}

/// `bulbil target add`
#[derive(Debug, Args)]
pub struct TargetAddArgs {
    /// What it is called here
    pub name: String,
    /// Where it is: a folder, file:///a/folder, or s3://bucket/prefix
    pub url: String,
    /// Which collections are copied [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub collections: Vec<String>,
    /// How it is reached
    #[command(flatten)]
    pub bucket: BucketArgs,
}

/// `bulbil target remove`
#[derive(Debug, Args)]
pub struct TargetNameArgs {
    /// Which one
    pub name: String,
}

/// `bulbil target prune`
#[derive(Debug, Args)]
pub struct TargetPruneArgs {
    /// Which one
    pub name: String,
    /// Say what would go, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Remove chunks at once that nobody leans on: only if nobody reads there meanwhile
    #[arg(long)]
    pub now: bool,
}

/// `bulbil target verify`
#[derive(Debug, Args)]
pub struct TargetVerifyArgs {
    /// Which one
    pub name: String,
    /// Read every byte that is there
    #[arg(long)]
    pub data: bool,
    /// Read some of it, as 10%: others each time
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent, conflicts_with = "data")]
    pub sample: Option<u8>,
    /// Write chunks anew that are damaged or missing there
    #[arg(long)]
    pub repair: bool,
}

/// `bulbil copy`
#[derive(Debug, Args)]
pub struct CopyArgs {
    /// To which targets, and of which collections: names of either [default: all]
    pub names: Vec<String>,
    /// How much of what is there then is read back: none (names and lengths only), sample, all
    #[arg(long, value_name = "HOW", default_value = "sample")]
    pub verify: ReadBack,
}

/// How much is read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ReadBack {
    /// Names and lengths.
    None,
    /// A few of a hundred chunks.
    Sample,
    /// Every byte.
    All,
}

fn parse_percent(text: &str) -> Result<u8, String> {
    let percent = text.trim_end_matches('%').parse::<u8>().ok().filter(|percent| (1..=100).contains(percent));
    percent.ok_or_else(|| format!("{text:?} is no share: write 1% to 100%"))
}

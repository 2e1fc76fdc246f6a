//! What may be typed that has to do with mirrors and standbys.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `bulbil mirror`
#[derive(Debug, Args)]
pub struct MirrorArgs {
    /// Which peer: its name, or the beginning of its id
    pub peer: String,
    /// Only these collections, by the names that they have here, with commas in between
    #[arg(long, value_name = "NAMES", value_delimiter = ',', conflicts_with_all = ["all", "off"])]
    pub collections: Vec<String>,
    /// All collections, and those that come later
    #[arg(long, conflicts_with = "off")]
    pub all: bool,
    /// Do not pull from it any more; what is here stays
    #[arg(long)]
    pub off: bool,
}

/// `bulbil standby …`
#[derive(Debug, Subcommand)]
pub enum StandbyCommand {
    /// Keep a collection's newest snapshot laid out in a folder
    #[command(after_help = "Example:\n  bulbil standby add notes --into /srv/notes --hook 'systemctl restart notes'")]
    Add(StandbyAddArgs),
    /// List standbys, and what is laid out
    #[command(after_help = "Example:\n  bulbil standby list")]
    List,
    /// Keep it laid out no longer; the folder stays
    #[command(after_help = "Example:\n  bulbil standby remove notes")]
    Remove(StandbyArg),
    /// Lay out now what is newest, without a server
    #[command(after_help = "Example:\n  bulbil standby run\n  bulbil standby run notes")]
    Run(StandbyRunArgs),
}

/// `bulbil standby add`
#[derive(Debug, Args)]
pub struct StandbyAddArgs {
    /// Which collection
    pub collection: String,
    /// The folder: one that does not exist yet, or is empty
    #[arg(long, value_name = "DIR")]
    pub into: PathBuf,
    /// A command line for sh, run after each change
    #[arg(long, value_name = "CMD")]
    pub hook: Option<String>,
}

/// `bulbil standby remove`
#[derive(Debug, Args)]
pub struct StandbyArg {
    /// Which collection
    pub collection: String,
}

/// `bulbil standby run`
#[derive(Debug, Args)]
pub struct StandbyRunArgs {
    /// Which collection [default: all that are standbys]
    pub collection: Option<String>,
}

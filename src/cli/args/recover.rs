//! What may be typed to bring an application back.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::network::parse_duration;

/// `bulbil recover`
#[derive(Debug, Args)]
pub struct RecoverArgs {
    /// Which collection
    #[arg(value_name = "COLLECTION")]
    pub collection: String,
    /// Which snapshot: latest, NUMBER, TAG or an id [default: the newest that is complete, sound and not flagged]
    #[arg(long, value_name = "WHICH")]
    pub snapshot: Option<String>,
    /// Only this file or folder; may be given several times
    #[arg(long, value_name = "PATH")]
    pub path: Vec<PathBuf>,
    /// Go on although the application runs, or the snapshot that was asked for has faults
    #[arg(long)]
    pub force: bool,
    /// Show the snapshots and what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Stops the application; runs with 'sh -c'
    #[arg(long, value_name = "COMMAND")]
    pub stop: Option<String>,
    /// Starts it afterwards; what it leaves running must not need this terminal (systemctl, docker compose start)
    #[arg(long, value_name = "COMMAND")]
    pub start: Option<String>,
    /// How long to wait until the application says that it is up [default with --start: 5m]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub wait: Option<Duration>,
    /// Where the application says that it is up, on this machine [default: the preset's]
    #[arg(long, value_name = "URL")]
    pub health: Option<String>,
    /// Sessions do not come back: what the preset names as such becomes an empty file
    #[arg(long)]
    pub drop_sessions: bool,
    /// A file with NAME=value lines: the secrets that open sealed fields (an '.env' file)
    #[arg(long, value_name = "FILE")]
    pub secrets: Option<PathBuf>,
}

//! What may be typed to have all of it at once.

use std::path::PathBuf;

use clap::Args;

use super::schedule::Rpo;
use crate::domain::schedule::Pattern;

/// `bulbil protect`
#[derive(Debug, Args)]
pub struct ProtectArgs {
    /// The application's folder
    pub folder: PathBuf,
    /// What the collection is called [default: like the folder]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Which application's data it is: 'bulbil preset list' [default: the one that fits, or 'generic']
    #[arg(long, value_name = "NAME")]
    pub preset: Option<String>,
    /// What is left out, as in .gitignore; may be given several times
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// When a snapshot is made
    #[arg(long, value_name = "CRON", default_value = "0 2 * * *")]
    pub backup: Pattern,
    /// The newest verified snapshot is to be no older than this: a number and h or d, or none
    #[arg(long, value_name = "TIME", value_parser = super::schedule::parse_rpo, default_value = "24h")]
    pub rpo: Rpo,
    /// The time zone of all that is scheduled, as Europe/Berlin [default: that of the system]
    #[arg(long, value_name = "ZONE")]
    pub time_zone: Option<String>,
    /// An address that alerts are posted to
    #[arg(long, value_name = "URL")]
    pub webhook: Option<String>,
    /// A command that is run with each alert
    #[arg(long, value_name = "COMMAND")]
    pub alert_command: Option<String>,
    /// An address that is called as long as nothing is wrong: who watches it notices when this machine is gone
    #[arg(long, value_name = "URL")]
    pub ping: Option<String>,
    /// Have systemd keep the server running: for this user, or for the system if you are root
    #[arg(long)]
    pub service: bool,
}

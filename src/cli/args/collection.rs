//! What may be typed of what is backed up: collections, presets, checks.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `bulbil collection …`
#[derive(Debug, Subcommand)]
pub enum CollectionCommand {
    /// Add a collection: a name and the folders that belong to it
    #[command(after_help = "Example:\n  bulbil collection add notes ~/notes ~/notes-media --exclude '*.tmp'")]
    Add(CollectionAddArgs),
    /// List collections
    List,
    /// Change what is left out, compressed or padded
    #[command(after_help = "Example:\n  bulbil collection set notes --exclude '*.tmp' --exclude cache/")]
    Set(CollectionSetArgs),
}

/// `bulbil collection add`
#[derive(Debug, Args)]
pub struct CollectionAddArgs {
    /// What it is called
    pub name: String,
    /// The folders, or single files
    #[arg(required_unless_present = "volume")]
    pub roots: Vec<PathBuf>,
    /// A named volume of docker or podman; may be given several times
    #[arg(long, value_name = "NAME")]
    pub volume: Vec<String>,
    /// Which application's data it is: 'bulbil preset list'. Then one folder is named, the application's
    #[arg(long, value_name = "NAME")]
    pub preset: Option<String>,
    /// What is left out, as in .gitignore; may be given several times
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// How hard to compress: zstd level 1 to 19
    #[arg(long, value_name = "LEVEL", default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=19))]
    pub compression: i32,
    /// Hide the lengths of chunks (at most 12 % larger)
    #[arg(long)]
    pub padding: bool,
}

/// `bulbil preset …`
#[derive(Debug, Subcommand)]
pub enum PresetCommand {
    /// List presets
    List,
    /// Show a preset as it is written; copy it to HOME/presets/NAME.toml to change it
    Show(PresetShowArgs),
}

/// `bulbil preset show`
#[derive(Debug, Args)]
pub struct PresetShowArgs {
    /// Which one
    pub name: String,
}

/// By whose rules content is judged.
#[derive(Debug, Args)]
pub struct RulesArgs {
    /// By the rules of this preset [default: the collection's, or 'generic']
    #[arg(long, value_name = "NAME")]
    pub preset: Option<String>,
    /// A file with NAME=value lines that hold the secrets for sealed fields: every one of these must open then
    #[arg(long, value_name = "FILE")]
    pub secrets: Option<PathBuf>,
}

/// `bulbil check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Which collection
    pub collection: String,
    /// Which snapshot, as a number, an id or 'latest' [default: the folders as they are now]
    #[arg(long, value_name = "SNAPSHOT")]
    pub snapshot: Option<String>,
    /// By whose rules
    #[command(flatten)]
    pub rules: RulesArgs,
    /// Take the rights of everybody but the owner away from what the preset calls private
    #[arg(long, conflicts_with = "snapshot")]
    pub tighten: bool,
}

/// `bulbil collection set`
#[derive(Debug, Args)]
pub struct CollectionSetArgs {
    /// Which collection
    pub name: String,
    /// Which application's data it is: 'bulbil preset list', or 'none'
    #[arg(long, value_name = "NAME")]
    pub preset: Option<String>,
    /// A command to run before each backup, instead of the preset's; if it fails, there is no backup
    #[arg(long, value_name = "COMMAND", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub hook_before: Option<String>,
    /// A command to run after each backup, also if it failed
    #[arg(long, value_name = "COMMAND", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub hook_after: Option<String>,
    /// How long each may take [default: 600]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub hook_timeout: Option<u64>,
    /// Run nothing before and after backups
    #[arg(long, conflicts_with_all = ["hook_before", "hook_after", "hook_timeout"])]
    pub no_hooks: bool,
    /// Back to the preset's commands
    #[arg(long, conflicts_with_all = ["hook_before", "hook_after", "hook_timeout", "no_hooks"])]
    pub preset_hooks: bool,
    /// The folders that are backed up from now on; of one alone the name in the snapshots stays
    #[arg(long, value_name = "DIR")]
    pub folder: Vec<PathBuf>,
    /// What is left out from now on; replaces all earlier patterns
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Option<Vec<String>>,
    /// How hard to compress: zstd level 1 to 19
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(i32).range(1..=19))]
    pub compression: Option<i32>,
}

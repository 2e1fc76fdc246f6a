//! What may be typed that has to do with secrets of applications, and with the recovery sheet.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `bulbil secret …`
#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Store a secret under the recovery key, apart from the data
    #[command(
        after_help = "A backup by a preset stores by itself what it finds beside the data. The value is never an argument: others could see it.\n\nExample:\n  bulbil secret add tales ENCRYPTION_MASTER_PEPPER --from-env-file /srv/quilltap/.env\n  pass show pepper | bulbil secret add tales ENCRYPTION_MASTER_PEPPER"
    )]
    Add(SecretAddArgs),
    /// List what is stored, and which snapshots it belongs to. Values are not shown
    List(SecretListArgs),
    /// Show a secret
    #[command(
        after_help = "Example:\n  bulbil secret show tales ENCRYPTION_MASTER_PEPPER\n  bulbil secret show --document backup_20261126T020000Z/collections/tales-1f2e3d4c/escrow-5a0c9e11.json --recovery-key-file key.txt\n  bulbil secret show --document - --recovery-key-file key.txt < scanned.txt    # the codes of a recovery sheet"
    )]
    Show(SecretShowArgs),
    /// Forget a secret, or one that is not in use any more
    Remove(SecretRemoveArgs),
    /// Say that you keep a secret elsewhere: it is not stored, and nobody is reminded of it
    Elsewhere(SecretElsewhereArgs),
}

/// `bulbil secret add`
#[derive(Debug, Args)]
pub struct SecretAddArgs {
    /// Of which collection
    pub collection: String,
    /// What it is called: the variable, or the file
    pub name: String,
    /// Take it from this variable of the environment
    #[arg(long, value_name = "VARIABLE", group = "from")]
    pub from_env: Option<String>,
    /// Take the whole content of this file
    #[arg(long, value_name = "FILE", group = "from")]
    pub from_file: Option<PathBuf>,
    /// Take it from a file with NAME=value lines [default: it is typed, or read from standard input]
    #[arg(long, value_name = "FILE", group = "from")]
    pub from_env_file: Option<PathBuf>,
}

/// `bulbil secret list`
#[derive(Debug, Args)]
pub struct SecretListArgs {
    /// Of which collection [default: all]
    pub collection: Option<String>,
}

/// `bulbil secret show`
#[derive(Debug, Args)]
pub struct SecretShowArgs {
    /// COLLECTION NAME; with --document only NAME, if there are several in it
    #[arg(value_name = "COLLECTION NAME", num_args = 0..=2)]
    pub what: Vec<String>,
    /// Open it with the recovery key in this file instead of this instance's keys
    #[arg(long, value_name = "FILE")]
    pub recovery_key_file: Option<PathBuf>,
    /// An escrow document, or the text of a recovery sheet's codes; '-' reads standard input. Needs no home
    #[arg(long, value_name = "FILE")]
    pub document: Option<PathBuf>,
    /// Which one, if there were several: how its fingerprint begins [default: the one in use]
    #[arg(long, value_name = "DIGITS")]
    pub fingerprint: Option<String>,
    /// Write it into this file, which must not be there yet, readable by its owner alone
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `bulbil secret remove`
#[derive(Debug, Args)]
pub struct SecretRemoveArgs {
    /// Of which collection
    pub collection: String,
    /// Which one
    pub name: String,
    /// Only the one whose fingerprint begins so [default: all of this name]
    #[arg(long, value_name = "DIGITS")]
    pub fingerprint: Option<String>,
    /// Also if snapshots are of little use without it
    #[arg(long)]
    pub force: bool,
}

/// `bulbil secret elsewhere`
#[derive(Debug, Args)]
pub struct SecretElsewhereArgs {
    /// Of which collection
    pub collection: String,
    /// Which one
    pub name: String,
    /// It is not kept elsewhere any more: store it with the next backup
    #[arg(long)]
    pub undo: bool,
}

/// `bulbil recovery …`
#[derive(Debug, Subcommand)]
pub enum RecoveryCommand {
    /// Print what to keep on paper: what lies where, what to do, and the applications' secrets, sealed under the recovery key
    #[command(
        after_help = "Example:\n  bulbil recovery sheet --output sheet.html      # open it in a browser and print it\n  bulbil recovery sheet tales --recovery-key-file key.txt"
    )]
    Sheet(SheetArgs),
}

/// `bulbil recovery sheet`
#[derive(Debug, Args)]
pub struct SheetArgs {
    /// Which collections [default: all]
    pub collections: Vec<String>,
    /// A file with the recovery key, to print it, too [default: a line to write it on]
    #[arg(long, value_name = "FILE")]
    pub recovery_key_file: Option<PathBuf>,
    /// Write a page for printing (HTML) into this file, which must not be there yet
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

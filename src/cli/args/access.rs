//! Who may use the admin plane: tokens for programs, a password for people.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::domain::access::{Lifetime, Scopes};

/// `bulbil token`
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token for a program; it is shown once
    #[command(
        after_help = "Scopes: metrics (figures, health), read (and everything but content and keys), operate (and start work), content (read, and download), admin (everything).\n\nExample:\n  bulbil token create grafana --scope metrics --expires 365d\n  bulbil token create nightly --scope operate,content"
    )]
    Create(TokenCreateArgs),
    /// Show which tokens there are, what they are good for, and when they were last used
    List,
    /// Take a token back: it is good for nothing from now on
    #[command(after_help = "Example:\n  bulbil token revoke grafana")]
    Revoke(TokenNameArgs),
}

/// `bulbil token create`
#[derive(Debug, Args)]
pub struct TokenCreateArgs {
    /// What it is called here
    pub name: String,
    /// What it is good for, with commas in between: metrics, read, operate, content, admin
    #[arg(long, value_name = "SCOPES")]
    pub scope: Scopes,
    /// How long it is good: 12h, 90d, or never if it shall not expire
    #[arg(long, value_name = "TIME", default_value_t = Lifetime::USUAL)]
    pub expires: Lifetime,
}

/// A command that takes nothing but a token's name.
#[derive(Debug, Args)]
pub struct TokenNameArgs {
    /// What it is called
    pub name: String,
}

/// `bulbil password`
#[derive(Debug, Subcommand)]
pub enum PasswordCommand {
    /// Set the password for the browser; whoever is logged in is logged out
    #[command(
        after_help = "It is asked for twice on a terminal; elsewhere it is the first line of standard input.\n\nExample:\n  bulbil password set\n  bulbil password set --from-file password.txt"
    )]
    Set(PasswordSetArgs),
    /// Ask for a code of an authenticator app, too, or no more
    #[command(
        after_help = "It counts once a code of the app was typed. Without the phone, 'off' on this machine helps.\n\nExample:\n  bulbil password totp on"
    )]
    Totp(PasswordTotpArgs),
}

/// `bulbil password set`
#[derive(Debug, Args)]
pub struct PasswordSetArgs {
    /// A file whose first line is the password
    #[arg(long, value_name = "FILE")]
    pub from_file: Option<PathBuf>,
}

/// `bulbil password totp`
#[derive(Debug, Args)]
pub struct PasswordTotpArgs {
    /// Whether codes are asked for
    #[arg(value_enum)]
    pub state: OnOff,
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnOff {
    /// From now on.
    On,
    /// No more.
    Off,
}

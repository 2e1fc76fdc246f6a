//! The audit log.

use clap::{Args, Subcommand};

/// `bulbil audit`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct AuditArgs {
    /// So many entries, the newest ones
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    pub limit: usize,
    /// What else
    #[command(subcommand)]
    pub command: Option<AuditCommand>,
}

/// `bulbil audit …`
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Look whether an entry was changed or cut out
    Verify,
}

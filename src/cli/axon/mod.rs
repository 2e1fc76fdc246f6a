//! `bulbil axon …`: an Axon BBS as peer, under the names that its admins know.

mod backup; // a backup folder as a BBS writes them
mod check; // one item
mod clone; // everything of one peer
mod common; // what several commands need
mod download; // missing chunks
mod extract; // plain files of everything
mod forget; // what nobody brings
mod install; // an Axon BBS on this machine
mod into; // applets back into one
pub(super) mod peer; // Axon instances among the peers
mod rekey; // envelopes for those who are trusted now
mod restore; // a backup folder, back
pub(super) mod rights; // what they may have here
mod sync; // what is new

use clap::Subcommand;

use super::context::Context;
use super::output::Outcome;

/// `bulbil axon …`
#[derive(Debug, Subcommand)]
pub enum AxonCommand {
    /// Take over an Axon BBS: its configuration, its applets, everything that it announces
    #[command(
        after_help = "Example:\n  bulbil axon clone http://NAME.onion\n  bulbil axon clone http://NAME.onion --skip-config\n  bulbil axon clone http://NAME.onion --backup-dir applet_backups/backup_20261121_205042"
    )]
    Clone(clone::CloneArgs),
    /// Ask an Axon BBS for the key that it has now, and take it over if you say so
    #[command(after_help = "Example:\n  bulbil axon update-peer-key bbs")]
    UpdatePeerKey(peer::UpdateKeyArgs),
    /// Ask Axon BBSes what is new: items and actions, without their chunks
    #[command(after_help = "Example:\n  bulbil axon sync\n  bulbil axon sync --peer bbs")]
    Sync(sync::SyncArgs),
    /// Fetch the chunks that are missing, and check that each item is what its name says
    #[command(after_help = "Example:\n  bulbil axon download\n  bulbil axon download --applet 'Star Miner'")]
    Download(download::DownloadArgs),
    /// Write applets with all that belongs to them into a backup folder that an Axon BBS can restore; or take the Axon BBS on this machine over
    #[command(
        after_help = "Example:\n  bulbil axon backup --output /backups\n  bulbil axon backup --output /backups --applet 'Star Miner'\n  bulbil axon backup --install /srv/axon_bbs"
    )]
    Backup(backup::BackupArgs),
    /// Take applets over from a backup folder of an Axon BBS, or put them into a stopped one; what is there already stays as it is
    #[command(
        after_help = "Example:\n  bulbil axon restore applet_backups/backup_20261121_205042\n  bulbil axon restore backup_20261121_205042 --applet Star_Miner --key maker.pem\n  bulbil axon restore backup_20261121_205042 --into /srv/axon_bbs"
    )]
    Restore(restore::RestoreArgs),
    /// Lay everything out as plain files: code, files, messages as JSON, scores, states, users' data
    #[command(
        after_help = "Example:\n  bulbil axon extract --target /tmp/bbs\n  jq -r .subject /tmp/bbs/boards/general.jsonl"
    )]
    Extract(extract::ExtractArgs),
    /// Show who can open an item, which of its chunks are here, and whether it is what its name says
    #[command(after_help = "Example:\n  bulbil axon check 138f6a3c")]
    Check(check::CheckArgs),
    /// Make envelopes for this instance and for all trusted Axon BBSes, and drop all others
    #[command(after_help = "Example:\n  bulbil axon rekey")]
    Rekey,
    /// Ask Axon BBSes from the beginning the next time
    #[command(after_help = "Example:\n  bulbil axon reset-sync\n  bulbil axon reset-sync --peer bbs")]
    ResetSync(sync::SyncArgs),
    /// Forget items that were announced and never brought; what is complete, and what an applet names, stays
    #[command(
        after_help = "Example:\n  bulbil axon forget --dry-run\n  bulbil axon forget\n  bulbil axon forget 138f6a3c"
    )]
    Forget(forget::ForgetArgs),
    /// Print the key of this instance, to be entered at an Axon BBS
    #[command(after_help = "Example:\n  bulbil axon key")]
    Key,
}

/// Runs one of them.
pub async fn run(command: AxonCommand, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    match command {
        AxonCommand::Clone(args) => clone::run(args, &store, context).await,
        AxonCommand::UpdatePeerKey(args) => peer::update_key(args, &store, context).await,
        AxonCommand::Sync(args) => sync::run(args, &store, context).await,
        AxonCommand::Download(args) => download::run(args, &store, context).await,
        AxonCommand::Backup(args) => backup::run(args, &store, context).await,
        AxonCommand::Restore(args) => restore::run(args, &store, context).await,
        AxonCommand::Extract(args) => extract::run(args, &store, context).await,
        AxonCommand::Check(args) => check::run(args, &store, context).await,
        AxonCommand::Rekey => rekey::run(&store, context).await,
        AxonCommand::ResetSync(args) => peer::reset_sync(args.peer.as_deref(), &store, context).await,
        AxonCommand::Forget(args) => forget::run(args, &store, context).await,
        AxonCommand::Key => peer::key(&store, context).await,
    }
}

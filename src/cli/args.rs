//! What may be typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::domain::entity::EntityId;
use crate::domain::retention::Tag;
use crate::domain::scrub::Sample;

mod access; // who may use the admin plane
mod audit; // the audit log
mod collection; // what is backed up, and by whose rules
mod network; // other instances: serve, invite, clone, peer, sync, fetch
mod portable; // export, import, have
mod protect; // all of it at once
mod recover; // recover
mod schedule; // schedule, runs
mod retention; // retention, prune, usage, snapshot
mod secret; // secrets of applications, the recovery sheet
mod standby; // mirror, standby
mod target; // target, copy

pub use access::*;
pub use audit::*;
pub use collection::*;
pub use network::*;
pub use portable::*;
pub use protect::*;
pub use recover::*;
pub use retention::*;
pub use schedule::*;
pub use secret::*;
pub use standby::*;
pub use target::*;

/// Back up an application's data, serve it to the instances you trust, clone it, mirror it, take over.
#[derive(Debug, Parser)]
#[command(name = "bulbil", version, about, propagate_version = true, disable_help_subcommand = true)]
#[command(
    after_help = "All at once:\n  bulbil protect ~/notes\n\nStep by step:\n  bulbil init --name alpha\n  bulbil collection add notes ~/notes\n  bulbil backup\n\n\
See it all work on throw-away data:\n  bulbil demo"
)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// Which command.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub struct Global {
    /// The folder with keys, index and chunks [default: $BULBIL_HOME, or ~/.local/share/bulbil]
    #[arg(long, global = true, value_name = "DIR", env = "BULBIL_HOME", hide_env = true)]
    pub home: Option<PathBuf>,
    /// A file whose first line is the passphrase of the keys
    // The last one holds: a server that starts again names another one.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "BULBIL_PASSPHRASE_FILE",
        hide_env = true,
        overrides_with = "passphrase_file"
    )]
    pub passphrase_file: Option<PathBuf>,
    /// An arti configuration (TOML) laid over ours: another Tor network, for instance
    #[arg(long, global = true, value_name = "FILE", env = "BULBIL_TOR_CONFIG", hide_env = true)]
    pub tor_config: Option<PathBuf>,
    /// Dial through a tor that runs already, at this SOCKS address
    #[arg(long, global = true, value_name = "ADDRESS", env = "BULBIL_SOCKS", hide_env = true)]
    pub socks: Option<SocketAddr>,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Print results and errors only
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more; twice: say everything
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a home: keys, index, and the recovery key, which is shown once
    #[command(after_help = "Example:\n  bulbil init --name alpha")]
    Init(InitArgs),
    /// Have a folder backed up from now on: home, collection, schedule, first snapshot, tried restore; again: what is missing of it
    #[command(
        after_help = "Exit code 2: the snapshot, or its restore, is not as it should be.\n\nExample:\n  bulbil protect /srv/quilltap --webhook https://example.org/hook --service\n  bulbil protect ~/notes --backup '0 */6 * * *' --rpo 6h"
    )]
    Protect(ProtectArgs),
    /// Say what is backed up
    #[command(subcommand)]
    Collection(CollectionCommand),
    /// Show what of a container is on a volume, and what would be gone with it
    #[command(
        after_help = "Exit code 2: something is on no volume. Asks docker, or podman.\n\nExample:\n  bulbil volumes quilltap --preset quilltap"
    )]
    Volumes(VolumesArgs),
    /// Show what is known of applications: which of their files are data, and what must hold of them
    #[command(subcommand)]
    Preset(PresetCommand),
    /// Keep an application's secrets that are not in its data, under the recovery key
    #[command(subcommand)]
    Secret(SecretCommand),
    /// Print what to keep on paper
    #[command(subcommand)]
    Recovery(RecoveryCommand),
    /// Check the content of a collection by its preset's rules: in its folders, or in a snapshot
    #[command(
        after_help = "Exit code 2: something is wrong, with path and line.\n\nExample:\n  bulbil check tales\n  bulbil check tales --snapshot latest\n  bulbil check tales --secrets /srv/quilltap/.env"
    )]
    Check(CheckArgs),
    /// Make a snapshot of every collection, or of those named
    #[command(
        after_help = "Example:\n  bulbil backup\n  bulbil backup notes\n  bulbil backup notes --tag before-upgrade --pin\n  bulbil backup --output /media/usb"
    )]
    Backup(BackupArgs),
    /// List snapshots
    #[command(after_help = "Example:\n  bulbil snapshots notes")]
    Snapshots(SnapshotsArgs),
    /// Pin snapshots, give them names
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Say which snapshots of a collection are kept, or show it
    #[command(
        after_help = "Example:\n  bulbil retention notes --keep-last 1 --keep-daily 7 --keep-weekly 4 --keep-monthly 12\n  bulbil retention notes --keep-all"
    )]
    Retention(RetentionArgs),
    /// Try a restore: into a scratch folder, every file compared, the content checked, each phase timed; the folder is removed
    #[command(after_help = "Example:\n  bulbil drill notes\n  bulbil drill tales --secrets .env --rto 30m")]
    Drill(DrillArgs),
    /// Say or show what the server does by itself for a collection, and how much of it may be lost
    #[command(
        after_help = "Cron fields: minute hour day month weekday. Only a running server keeps to it ('bulbil serve').\n\nExample:\n  bulbil schedule\n  bulbil schedule notes --backup '30 2 * * *' --rpo 24h\n  bulbil schedule notes --prune @daily --verify-data '0 4 1 * *' --time-zone Europe/Berlin\n  bulbil schedule notes --off prune"
    )]
    Schedule(ScheduleArgs),
    /// Show what was done, when, and what came of it
    #[command(after_help = "Example:\n  bulbil runs\n  bulbil runs notes --work backup --limit 50")]
    Runs(RunsArgs),
    /// Remove snapshots that are not to be kept, and free their space
    #[command(after_help = "Example:\n  bulbil prune --dry-run\n  bulbil prune notes")]
    Prune(PruneArgs),
    /// Show what takes the space, by snapshot and by folder
    #[command(after_help = "Example:\n  bulbil usage notes")]
    Usage(UsageArgs),
    /// List what is in a snapshot
    #[command(after_help = "Example:\n  bulbil ls notes\n  bulbil ls notes@latest some/dir\n  bulbil ls -r notes@3")]
    Ls(LsArgs),
    /// Show what differs between two snapshots
    #[command(after_help = "Example:\n  bulbil diff notes@1 notes@2")]
    Diff(DiffArgs),
    /// Restore a snapshot, or a part of it, into a folder
    #[command(
        after_help = "Example:\n  bulbil restore notes --target ./out\n  bulbil restore notes@2 --path 2026/may --target ./out\n  bulbil restore tales --entity chat:? \n  bulbil restore tales@3 --entity chat:5f3c0a9e-… --target ./out\n  bulbil restore tales@3 --entity chat:5f3c0a9e-… --in-place"
    )]
    Restore(RestoreArgs),
    /// Bring an application's live folders back from a snapshot, in one command; what is there now is kept beside them
    #[command(
        after_help = "It takes the newest snapshot that is complete, sound and not flagged, makes it beside the live data, compares every byte, checks the content, and puts it in place by renaming. It refuses while the application runs.\n\nExample:\n  bulbil recover tales --dry-run\n  bulbil recover tales --stop 'systemctl stop quilltap' --start 'systemctl start quilltap'\n  bulbil recover tales --snapshot before-upgrade --stop 'docker compose stop app' --start 'docker compose start app'\n  bulbil recover tales --path data/characters\n  bulbil recover tales --drop-sessions --path data/auth/sessions.jsonl"
    )]
    Recover(Box<RecoverArgs>),
    /// Restore with the recovery key alone, from what is left of a dead instance or from a mirror
    #[command(
        after_help = "Example:\n  bulbil rescue /mnt/old-disk/bulbil --recovery-key-file key.txt\n  bulbil rescue /mnt/old-disk/bulbil notes --recovery-key-file key.txt --target ./out"
    )]
    Rescue(RescueArgs),
    /// Write snapshots into a folder that can be carried: a portable backup
    #[command(
        after_help = "What is sealed stays sealed. A second export into the same folder adds only what is new.\n\nExample:\n  bulbil export --output /media/usb\n  bulbil export --output /media/usb notes --for nas\n  bulbil export --output /media/usb --since-have nas.have"
    )]
    Export(ExportArgs),
    /// Take snapshots from a portable backup
    #[command(
        after_help = "Example:\n  bulbil import /media/usb\n  bulbil import /media/usb notes --rekey --recovery-key-file key.txt"
    )]
    Import(ImportArgs),
    /// Turn old tar archives into snapshots with their dates, oldest first
    #[command(
        after_help = "Takes .tar, compressed with gzip, zstd, bzip2 or xz, encrypted with gpg or openssl. One that is damaged makes no snapshot.\n\nExample:\n  bulbil import-tar --collection tales --preset quilltap backup-*.tar.gz\n  bulbil import-tar --collection tales backup-*.tar.gz.gpg --archive-passphrase-file pass.txt"
    )]
    ImportTar(ImportTarArgs),
    /// Say where copies go: folders, mounted shares, buckets
    #[command(subcommand)]
    Target(TargetCommand),
    /// Copy what is new to all targets, or to those named, and look whether it is right there
    #[command(
        after_help = "Exit code 2: some target failed, and is named; the others have their copies.\n\nExample:\n  bulbil copy\n  bulbil copy nas notes --verify all"
    )]
    Copy(CopyArgs),
    /// Write down what this instance holds, so that an export for it can leave that out
    #[command(after_help = "Example:\n  bulbil have --output nas.have")]
    Have(HaveArgs),
    /// Show who did what here, and how it ended
    #[command(
        after_help = "Example:\n  bulbil audit --limit 20\n  bulbil audit verify    # was an entry changed or cut out?"
    )]
    Audit(AuditArgs),
    /// Let programs use the admin plane: tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Let a browser use the admin plane: the password, and codes of an authenticator app
    #[command(subcommand)]
    Password(PasswordCommand),
    /// Check that everything is there and is what it was
    #[command(
        after_help = "Example:\n  bulbil verify\n  bulbil verify --data\n  bulbil verify --sample 10%     # a tenth now, another one the next time\n  bulbil verify --sample 500M"
    )]
    Verify(VerifyArgs),
    /// Read every stored chunk, and bring back from peers what the disk has lost
    #[command(
        after_help = "A server does this by itself, everything once in 25 to 35 days.\n\nExample:\n  bulbil scrub            # how it stands\n  bulbil scrub --now      # all of it at once\n  bulbil scrub --now notes\n  bulbil scrub --accept-loss   # the disk is gone for good: fetch what peers have"
    )]
    Scrub(ScrubArgs),
    /// Show what is here, and how old it is
    #[command(after_help = "Example:\n  bulbil status")]
    Status(StatusArgs),
    /// Make the index again from keys, manifests and chunks
    #[command(after_help = "Example:\n  bulbil rebuild")]
    Rebuild(RebuildArgs),
    /// Be an onion service that peers pull from, and follow those that are trusted
    #[command(
        after_help = "Example:\n  bulbil serve\n  bulbil serve --direct 127.0.0.1:7001     # on a LAN, without Tor"
    )]
    Serve(ServeArgs),
    /// Make a line that lets another instance in, once
    #[command(
        after_help = "Example:\n  bulbil invite --collections notes\n  bulbil invite --role mirror --collections all --expires 7d"
    )]
    Invite(InviteArgs),
    /// Join the instance that made an invite, and fetch what it lets this one have
    #[command(after_help = "Example:\n  bulbil clone 'bulbil:pnrgc…'")]
    Clone(CloneArgs),
    /// Take a collection over whose leader is gone: back it up here from now on
    #[command(
        after_help = "Example:\n  bulbil restore notes --target /srv/notes\n  bulbil promote notes --data /srv/notes"
    )]
    Promote(PromoteArgs),
    /// Replace keys of this instance; trusted peers follow by themselves
    #[command(after_help = "Example:\n  bulbil rotate-key envelope\n  bulbil rotate-key identity envelope")]
    RotateKey(RotateKeyArgs),
    /// Add, trust, revoke and look at peers
    #[command(subcommand)]
    Peer(PeerCommand),
    /// Pull from an Axon BBS: clone it, follow it, check what came
    #[command(subcommand)]
    Axon(super::axon::AxonCommand),
    /// Say which collections of a peer are kept following, or show it
    #[command(
        after_help = "Example:\n  bulbil mirror alpha --all\n  bulbil mirror alpha --collections notes,wiki\n  bulbil mirror alpha --off"
    )]
    Mirror(MirrorArgs),
    /// Keep the newest snapshot of another's collection laid out in a folder
    #[command(subcommand)]
    Standby(StandbyCommand),
    /// Ask peers what is new: manifests, keys and lists of chunks
    #[command(after_help = "Example:\n  bulbil sync\n  bulbil sync --peer nas")]
    Sync(SyncArgs),
    /// Fetch the chunks that are missing here
    #[command(after_help = "Example:\n  bulbil fetch\n  bulbil fetch notes --peer nas")]
    Fetch(FetchArgs),
    /// Ask peers for the keys of snapshots that cannot be opened here
    #[command(after_help = "Example:\n  bulbil rekey\n  bulbil rekey notes --all")]
    Rekey(RekeyArgs),
    /// Prove to peers that their snapshots are kept here
    #[command(
        after_help = "A server does this by itself once a day; the peer's 'bulbil status' shows it.\n\nExample:\n  bulbil prove\n  bulbil prove --peer alpha"
    )]
    Prove(ProveArgs),
    /// Show who can open a snapshot and which of its chunks are here, or who leans on a chunk
    #[command(after_help = "Example:\n  bulbil inspect notes@3\n  bulbil inspect 1f2e3d4c")]
    Inspect(InspectArgs),
    /// Show, import or export the onion address of this instance
    #[command(subcommand)]
    Onion(OnionCommand),
    /// Look whether everything is as it should be: clock, disk, keys, Tor, schedules, drills, copies, peers, alerts
    #[command(
        after_help = "Exit code 0: nothing but notes; 2: warnings; 1: something is wrong that has to be mended.\n\nExample:\n  bulbil doctor"
    )]
    Doctor(DoctorArgs),
    /// See it all work on throw-away data
    #[command(after_help = "Example:\n  bulbil demo")]
    Demo(DemoArgs),
    /// Print what a shell needs to complete commands and options
    #[command(after_help = "Example:\n  bulbil completions bash > ~/.local/share/bash-completion/completions/bulbil")]
    Completions(CompletionsArgs),
    /// Write the manual pages of all commands into a folder
    #[command(after_help = "Example:\n  bulbil man --output ~/.local/share/man/man1")]
    Man(ManArgs),
    /// Write or check the descriptions of the two planes
    #[command(hide = true, after_help = "Example:\n  bulbil openapi --output openapi")]
    Openapi(OpenapiArgs),
}

/// `bulbil init`
#[derive(Debug, Args)]
pub struct InitArgs {
    /// What this instance is called: letters, digits, '-', '_' and '.'
    #[arg(long)]
    pub name: String,
    /// Ask for a passphrase that protects the keys
    #[arg(long, conflicts_with = "passphrase_file")]
    pub passphrase: bool,
    /// Keep chunks and manifests in a bucket, s3://bucket/prefix; index and keys stay here
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// How it is reached
    #[command(flatten)]
    pub bucket: BucketArgs,
}

/// `bulbil doctor`
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Without a running server: do not try Tor
    #[arg(long)]
    pub offline: bool,
    /// Look only whether the server runs and peers can come in: for a supervisor
    #[arg(long, conflicts_with = "offline")]
    pub ready: bool,
}

/// `bulbil completions`
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// `bulbil man`
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The folder; it is made if it is not there
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
}

/// `bulbil backup`
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// Which collections [default: all]
    pub collections: Vec<String>,
    /// Say what would be taken and what would be left out, and do nothing
    #[arg(long, conflicts_with_all = ["tag", "pin", "output", "from_command", "capture"])]
    pub dry_run: bool,
    /// With --dry-run: as if these patterns were left out, too
    #[arg(long, value_name = "PATTERN", requires = "dry_run")]
    pub exclude: Vec<String>,
    /// Say what keeps the data still meanwhile; it is written into the snapshot
    #[arg(long, value_enum, value_name = "HOW")]
    pub capture: Option<CaptureArg>,
    /// That there is much less than before is as it should be
    #[arg(long)]
    pub accept_shrink: bool,
    /// Back up what this command writes to its standard output, too; if it fails, no snapshot is made
    #[arg(long, value_name = "COMMAND", requires = "name")]
    pub from_command: Option<String>,
    /// What the file with the command's output is called in the snapshot
    #[arg(long, value_name = "FILE", requires = "from_command")]
    pub name: Option<String>,
    /// A name for the snapshot, by which it is found again; may be given several times
    #[arg(long, value_name = "TAG")]
    pub tag: Vec<Tag>,
    /// Keep the snapshot whatever the policy says
    #[arg(long)]
    pub pin: bool,
    /// Then export them into this folder, as 'bulbil export --output' does
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

/// What keeps the data still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CaptureArg {
    /// The application does not run.
    Stopped,
    /// It runs and writes nothing.
    Paused,
    /// The folder is a snapshot of the file system.
    FilesystemSnapshot,
}

/// `bulbil snapshots`
#[derive(Debug, Args)]
pub struct SnapshotsArgs {
    /// Which collections [default: all]
    pub collections: Vec<String>,
}

/// `bulbil ls`
#[derive(Debug, Args)]
pub struct LsArgs {
    /// Which snapshot: NAME, NAME@latest, NAME@NUMBER, NAME@TAG or an id
    pub snapshot: String,
    /// Which folder in it
    pub path: Option<PathBuf>,
    /// Everything below, too
    #[arg(short, long)]
    pub recursive: bool,
    /// Mode, owner, size and time, too
    #[arg(short, long)]
    pub long: bool,
}

/// `bulbil diff`
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The older snapshot
    pub before: String,
    /// The newer snapshot
    pub after: String,
}

/// `bulbil restore`
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Which snapshot: NAME, NAME@latest, NAME@NUMBER, NAME@TAG or an id
    pub snapshot: String,
    /// Where to: a folder, made if it is missing
    #[arg(long, value_name = "DIR", required_unless_present_any = ["in_place", "entity"])]
    pub target: Option<PathBuf>,
    /// Only this thing of the application, with what belongs to it, as the preset says: KIND:ID; KIND:? lists what there is
    #[arg(long, value_name = "KIND:ID", conflicts_with_all = ["path", "delete", "overwrite"])]
    pub entity: Option<EntityId>,
    /// Into the application's own folder. What is replaced is kept beside it
    #[arg(long, requires = "entity", conflicts_with = "target")]
    pub in_place: bool,
    /// Only this file or folder of the snapshot; may be given several times
    #[arg(long, value_name = "PATH")]
    pub path: Vec<PathBuf>,
    /// What to do with files that are there already
    #[arg(long, value_enum, default_value_t = OverwriteArg::IfChanged)]
    pub overwrite: OverwriteArg,
    /// Remove from the target what is not in the snapshot
    #[arg(long)]
    pub delete: bool,
    /// Sessions do not come back: what the collection's preset names as such becomes an empty file
    #[arg(long)]
    pub drop_sessions: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// A file with NAME=value lines: say whether the application's secrets in it are those that belong to the snapshot
    #[arg(long, value_name = "FILE")]
    pub secrets: Option<PathBuf>,
    /// Take the rights of everybody but the owner away from what the preset calls private, or from everything if it calls nothing so
    #[arg(long, conflicts_with = "dry_run")]
    pub tighten: bool,
    /// Read what is not here from a target, a folder with a portable backup, or s3://bucket/prefix
    #[arg(long, value_name = "TARGET")]
    pub from: Option<String>,
    /// How it is reached
    #[command(flatten)]
    pub bucket: BucketArgs,
}

/// `bulbil volumes`
#[derive(Debug, Args)]
pub struct VolumesArgs {
    /// Which container
    pub container: String,
    /// Which application's: then what has to be on a volume is known
    #[arg(long, value_name = "NAME")]
    pub preset: Option<String>,
    /// The application's folder in the container [default: the one that its program runs in]
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

/// `bulbil rescue`
#[derive(Debug, Args)]
pub struct RescueArgs {
    /// A folder with 'chunks' and 'manifests': the home of the dead instance, or of a mirror; or the s3://bucket/prefix of its chunks
    pub dir: PathBuf,
    /// Which snapshot: NAME or NAME@NUMBER [default: list them]
    #[arg(requires = "target")]
    pub snapshot: Option<String>,
    /// A file with the recovery key [default: ask for it]
    #[arg(long, value_name = "FILE")]
    pub recovery_key_file: Option<PathBuf>,
    /// Where to: a folder, made if it is missing
    #[arg(long, value_name = "DIR", requires = "snapshot")]
    pub target: Option<PathBuf>,
    /// Only this file or folder of the snapshot; may be given several times
    #[arg(long, value_name = "PATH")]
    pub path: Vec<PathBuf>,
    /// How a bucket is reached
    #[command(flatten)]
    pub bucket: BucketArgs,
}

/// What to do with files that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OverwriteArg {
    /// Leave them.
    Never,
    /// Replace those whose size or time differs.
    IfChanged,
    /// Replace them.
    Always,
}

/// `bulbil verify`
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Which collections [default: all]
    pub collections: Vec<String>,
    /// Read every chunk and compare it with its name, and open those we have keys for
    #[arg(long)]
    pub data: bool,
    /// Read so much: those chunks that were not read for the longest time, so that a few runs read all of them
    #[arg(long, value_name = "SHARE", conflicts_with = "data")]
    pub sample: Option<Sample>,
}

/// `bulbil scrub`
#[derive(Debug, Args)]
pub struct ScrubArgs {
    /// Which collections [default: all]
    #[arg(requires = "now")]
    pub collections: Vec<String>,
    /// Read everything at once, and ask peers for what is lost
    #[arg(long)]
    pub now: bool,
    /// Take chunks/ and manifests/ as they are: what is not in them is gone for good. Then as --now
    #[arg(long)]
    pub accept_loss: bool,
}

/// `bulbil status`
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Show onion addresses
    #[arg(long)]
    pub show_address: bool,
}

/// `bulbil rebuild`
#[derive(Debug, Args)]
pub struct RebuildArgs {}

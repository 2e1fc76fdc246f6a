//! What may be typed that has to do with other instances.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Subcommand, ValueEnum};
use jiff::Timestamp;

use crate::domain::limits::{Hours, MIN_RATE};
use crate::domain::peer::{PeerAddress, Role};

/// `bulbil serve`
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Listen here for peers, without Tor: an IP address and a port
    #[arg(long, value_name = "ADDRESS", overrides_with = "direct")]
    pub direct: Option<SocketAddr>,
    /// Show the onion address
    #[arg(long)]
    pub show_address: bool,
    /// Serve Axon BBSes, too: those that 'bulbil peer rights' gave something
    #[arg(long)]
    pub axon: bool,
    /// Listen here for the admin; loopback only [default: any free port of 127.0.0.1]
    #[arg(long, value_name = "ADDRESS", overrides_with = "admin")]
    pub admin: Option<SocketAddr>,
    /// How the log on standard error is written [default: what bulbil.toml says, else text]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormatArg>,
}

/// How a log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormatArg {
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
}

/// `bulbil onion …`
#[derive(Debug, Subcommand)]
pub enum OnionCommand {
    /// Print the address
    #[command(after_help = "Example:\n  bulbil onion address")]
    Address(OnionAddressArgs),
    /// Take over the address of an onion service of C tor
    #[command(after_help = "Example:\n  bulbil onion import /var/lib/tor/my-service")]
    Import(OnionImportArgs),
    /// Write the address's key as C tor keeps it
    #[command(after_help = "Example:\n  bulbil onion export ./my-service")]
    Export(OnionExportArgs),
}

/// `bulbil onion address`
#[derive(Debug, Args)]
pub struct OnionAddressArgs {
    /// That of the admin plane
    #[arg(long)]
    pub admin: bool,
}

/// `bulbil onion import`
#[derive(Debug, Args)]
pub struct OnionImportArgs {
    /// C tor's HiddenServiceDir, or the hs_ed25519_secret_key in it
    pub from: PathBuf,
    /// That of the admin plane
    #[arg(long)]
    pub admin: bool,
    /// Give up the address that this instance has now
    #[arg(long)]
    pub replace: bool,
    /// Where a server runs: stop what goes on there
    #[arg(long)]
    pub stop_runs: bool,
}

/// `bulbil onion export`
#[derive(Debug, Args)]
pub struct OnionExportArgs {
    /// A folder that does not exist yet; it becomes a HiddenServiceDir
    pub to: PathBuf,
    /// That of the admin plane
    #[arg(long)]
    pub admin: bool,
}

/// `bulbil invite`
#[derive(Debug, Args)]
pub struct InviteArgs {
    /// What the guest may do
    #[command(flatten)]
    pub rights: RightsArgs,
    /// How long the invite is good: a number and s, m, h or d
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_duration)]
    pub expires: Duration,
    /// Where this instance is reached [default: its onion address, or where its server listens]
    #[arg(long, value_name = "URL")]
    pub address: Option<PeerAddress>,
}

/// What a peer may have.
#[derive(Debug, Args)]
pub struct RightsArgs {
    /// reader (gets the keys and can read) or mirror (stores, checks and serves what it cannot read)
    #[arg(long, default_value = "reader")]
    pub role: Role,
    /// Which collections, with commas in between, or "all"
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub collections: Vec<String>,
    /// It may serve them to its own peers
    #[arg(long)]
    pub onward: bool,
    /// Only snapshots made from this day or moment on: 2026-11-22 or 2026-11-22T10:00:00Z
    #[arg(long, value_name = "DATE", value_parser = parse_moment)]
    pub from: Option<Timestamp>,
    /// Send it at most so many bytes a second, all its streams together: 500k, 2M
    #[arg(long, value_name = "BYTES", value_parser = parse_rate)]
    pub rate: Option<u64>,
    /// Send it at most so many bytes of chunks in a calendar month: 50G
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub quota: Option<u64>,
    /// Send chunks in this part of the day only, in UTC: 22:00-06:00
    #[arg(long, value_name = "HOURS")]
    pub hours: Option<Hours>,
}

/// How much of the line a command may take.
#[derive(Debug, Args)]
pub struct LineArgs {
    /// Fetch at most so many bytes a second, all streams together: 500k, 2M
    #[arg(long, value_name = "BYTES", value_parser = parse_rate)]
    pub limit_rate: Option<u64>,
    /// Use at most so many circuits to a peer, two streams each: 1 to 8 [default: as [tor] circuits in bulbil.toml]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..=8))]
    pub max_circuits: Option<u8>,
}

impl LineArgs {
    /// Whether anything was said.
    pub fn is_given(&self) -> bool {
        self.limit_rate.is_some() || self.max_circuits.is_some()
    }
}

/// A number of bytes: 500, 500k, 2M, 50G, 1T.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.char_indices().last() {
        Some((at, 'k')) => (&text[..at], 1_000),
        Some((at, 'M')) => (&text[..at], 1_000_000),
        Some((at, 'G')) => (&text[..at], 1_000_000_000),
        Some((at, 'T')) => (&text[..at], 1_000_000_000_000),
        _ => (text, 1),
    };
    let number = number.parse::<u64>().ok().filter(|_| !number.starts_with('+'));
    let bytes = number.and_then(|number| number.checked_mul(unit)).filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| format!("{text:?} is no number of bytes: write it like 500k, 2M or 50G"))
}

/// A rate, not so small that everything would seem to stand still.
fn parse_rate(text: &str) -> Result<u64, String> {
    let rate = parse_bytes(text)?;
    if rate < MIN_RATE { Err(format!("{text:?} is too slow: at least 1k a second")) } else { Ok(rate) }
}

/// `bulbil clone`
#[derive(Debug, Args)]
pub struct CloneArgs {
    /// The line that 'bulbil invite' printed on the other machine; '-' reads it from standard input, where no other user of this
    /// machine sees it
    pub invite: String,
    /// What this instance shall be called, if it is new [default: the name of this machine]
    #[arg(long)]
    pub name: Option<String>,
    /// Do not take over the configuration
    #[arg(long)]
    pub skip_config: bool,
    /// Join only; fetch nothing
    #[arg(long)]
    pub skip_collections: bool,
    /// Take chunks from this portable backup, and only the rest over the network
    #[arg(long, value_name = "DIR", conflicts_with = "skip_collections")]
    pub backup_dir: Option<PathBuf>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// How much of the line it may take
    #[command(flatten)]
    pub line: LineArgs,
}

/// `bulbil promote`
#[derive(Debug, Args)]
pub struct PromoteArgs {
    /// Which collection
    pub collection: String,
    /// The folder in which its data is now: what 'bulbil restore' laid out, or where the application has it [default: that of the
    /// standby]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// `bulbil rotate-key`
#[derive(Debug, Args)]
pub struct RotateKeyArgs {
    /// Which keys
    #[arg(value_enum, required = true)]
    pub keys: Vec<RotateArg>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Where a server runs: stop what goes on there
    #[arg(long)]
    pub stop_runs: bool,
}

/// A key that can be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum RotateArg {
    /// The RSA key for which peers wrap the keys of snapshots.
    Envelope,
    /// The Ed25519 key that signs; this instance gets another id.
    Identity,
}

/// `bulbil peer …`
#[derive(Debug, Subcommand)]
pub enum PeerCommand {
    /// Note an instance by its address; nothing is trusted before the fingerprint words were compared
    #[command(
        after_help = "Example:\n  bulbil peer add http://192.0.2.7:7001 --name nas\n  bulbil peer add --kind axon http://NAME.onion --name bbs"
    )]
    Add(PeerAddArgs),
    /// List peers
    #[command(after_help = "Example:\n  bulbil peer list")]
    List,
    /// Show what is known of a peer and what it may have here
    #[command(after_help = "Example:\n  bulbil peer show nas")]
    Show(PeerArg),
    /// Let a peer in after its fingerprint words were compared, or change what it may have
    #[command(after_help = "Example:\n  bulbil peer trust nas --words \"one two three four five six seven eight\"\n  \
bulbil peer trust nas --yes --role mirror --collections notes")]
    Trust(PeerTrustArgs),
    /// Say what an Axon BBS may have here
    #[command(
        after_help = "Example:\n  bulbil peer rights bbs --collections axon\n  bulbil peer rights bbs --all --without-pms\n  bulbil peer rights bbs --none"
    )]
    Rights(super::super::axon::rights::RightsArgs),
    /// Name a peer an heir: it may take over with 'bulbil promote' when this instance is gone
    #[command(
        after_help = "Example:\n  bulbil peer appoint nas --collections notes\n  bulbil peer appoint nas --withdraw"
    )]
    Appoint(PeerAppointArgs),
    /// Shut a peer out, and show what it has already
    #[command(after_help = "Example:\n  bulbil peer revoke nas")]
    Revoke(PeerArg),
    /// Show what a peer was given: keys and chunks, by snapshot and date
    #[command(after_help = "Example:\n  bulbil peer exposure nas")]
    Exposure(PeerArg),
    /// Forget a peer; what was pulled from it stays
    #[command(after_help = "Example:\n  bulbil peer remove nas")]
    Remove(PeerArg),
    /// Ask a peer for the key that it has now
    #[command(after_help = "Example:\n  bulbil peer refresh-key nas")]
    RefreshKey(PeerArg),
    /// Read a peer's list of snapshots from its beginning the next time
    #[command(after_help = "Example:\n  bulbil peer reset-sync nas")]
    ResetSync(PeerArg),
}

/// A command that takes nothing but a peer.
#[derive(Debug, Args)]
pub struct PeerArg {
    /// Its name, or the beginning of its id
    pub peer: String,
}

/// `bulbil peer add`
#[derive(Debug, Args)]
pub struct PeerAddArgs {
    /// Where it is: http://NAME.onion or http://IP:PORT; an Axon BBS may have a path behind it
    pub url: String,
    /// What it is
    #[arg(long, value_enum, default_value_t = PeerKind::Bulbil)]
    pub kind: PeerKind,
    /// What it shall be called here [default: what it calls itself]
    #[arg(long)]
    pub name: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// What a peer is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum PeerKind {
    /// An instance of this program.
    #[default]
    Bulbil,
    /// An Axon BBS.
    Axon,
}

/// `bulbil peer trust`
#[derive(Debug, Args)]
pub struct PeerTrustArgs {
    /// Its name, or the beginning of its id
    pub peer: String,
    /// The eight fingerprint words, as the peer's admin reads them out
    #[arg(long)]
    pub words: Option<String>,
    /// The words were compared
    #[arg(short, long, conflicts_with = "words")]
    pub yes: bool,
    /// What it may have here; nothing if no collections are named
    #[command(flatten)]
    pub rights: RightsArgs,
    /// Keep pulling from it; what is the default if its address is known
    #[arg(long, overrides_with = "no_follow", action = ArgAction::SetTrue)]
    pub follow: bool,
    /// Do not pull from it
    #[arg(long, overrides_with = "follow", action = ArgAction::SetTrue)]
    pub no_follow: bool,
}

/// `bulbil peer appoint`
#[derive(Debug, Args)]
pub struct PeerAppointArgs {
    /// Its name, or the beginning of its id
    pub peer: String,
    /// Which collections, with commas in between [default: all that are led from here]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub collections: Vec<String>,
    /// It may not take over any more
    #[arg(long)]
    pub withdraw: bool,
}

/// `bulbil sync`
#[derive(Debug, Args)]
pub struct SyncArgs {
    /// From this peer only [default: all that are trusted and followed]
    #[arg(long)]
    pub peer: Option<String>,
    /// How much of the line it may take
    #[command(flatten)]
    pub line: LineArgs,
}

/// `bulbil fetch`
#[derive(Debug, Args)]
pub struct FetchArgs {
    /// Of this collection only
    pub collection: Option<String>,
    /// From this peer only
    #[arg(long)]
    pub peer: Option<String>,
    /// How much of the line it may take
    #[command(flatten)]
    pub line: LineArgs,
}

/// `bulbil prove`
#[derive(Debug, Args)]
pub struct ProveArgs {
    /// To this peer only
    #[arg(long)]
    pub peer: Option<String>,
}

/// `bulbil rekey`
#[derive(Debug, Args)]
pub struct RekeyArgs {
    /// Of this collection only
    pub collection: Option<String>,
    /// From this peer only
    #[arg(long)]
    pub peer: Option<String>,
    /// For snapshots that have a key, too
    #[arg(long)]
    pub all: bool,
}

/// `bulbil inspect`
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A snapshot (NAME, NAME@NUMBER, id) or the id of a chunk; the first six digits of an id are enough
    pub hash: String,
}

/// `bulbil openapi`
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct OpenapiArgs {
    /// Write the two descriptions into this folder
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Fail if the descriptions in this folder are not the program's
    #[arg(long, value_name = "DIR")]
    pub check: Option<PathBuf>,
}

/// `bulbil demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Leave the folder with the two instances behind, for a look
    #[arg(long)]
    pub keep: bool,
}

/// `30m`, `24h`, `7d`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time: write a number and s, m, h or d, as in 30m, 24h or 7d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let seconds = number.checked_mul(seconds).filter(|seconds| (1..=10 * 365 * 86_400).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| format!("{text:?} is out of bounds: 1s to 3650d"))
}

/// A day (its beginning, UTC) or a moment.
pub(in crate::cli) fn parse_moment(text: &str) -> Result<Timestamp, String> {
    let day = text.parse::<jiff::civil::Date>().ok().filter(|_| !text.contains('T'));
    let moment = match day {
        Some(day) => day.at(0, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC).map(|zoned| zoned.timestamp()),
        None => text.parse(),
    };
    moment.map_err(|_| format!("{text:?} is no date: write 2026-11-22 or 2026-11-22T10:00:00Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_dates() {
        assert_eq!(parse_duration("30m"), Ok(Duration::from_secs(1800)));
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(7 * 86_400)));
        for bad in ["", "7", "d", "-1h", "0s", "1.5h", "7 d", "99999999999999999999d", "4000d", "1ä"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_moment("2026-11-22").unwrap().to_string(), "2026-11-22T00:00:00Z");
        assert_eq!(parse_moment("2026-11-22T10:00:00Z").unwrap().to_string(), "2026-11-22T10:00:00Z");
        assert!(parse_moment("yesterday").is_err());
    }
}

//! `bulbil.toml` and the environment, parsed once.
//!
//! What an admin changes in daily use is in the database; here stands what belongs to the machine: addresses, intervals.

mod facts; // what is in force, to be shown

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::domain::limits::MIN_RATE;
use crate::domain::peer::PeerAddress;
use crate::domain::scrub::{DEFAULT_DAYS, Policy};
use crate::http::admin::view::configuration::FactSource;
use crate::worker::alarm::AlertConfig;

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// The file is no configuration.
    #[error("{} is not a configuration: {cause}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1, if it is in one.
        line: Option<usize>,
        /// What stands there before the equals sign, or the head of a part.
        key: Option<String>,
        /// What is wrong, and where.
        cause: Box<toml::de::Error>,
    },
}

impl ConfigError {
    fn malformed(path: &Path, text: &str, cause: toml::de::Error) -> Self {
        let before = cause.span().and_then(|span| text.get(..span.start));
        let line = before.map(|before| before.matches('\n').count() + 1);
        let words = line.and_then(|line| text.lines().nth(line - 1)).map(str::trim);
        let key = words.map(|words| words.split('=').next().unwrap_or(words).trim().to_owned());
        Self::Malformed { path: path.to_owned(), line, key: key.filter(|key| !key.is_empty()), cause: Box::new(cause) }
    }

    /// What is wrong, and where, in one line and without what stands there, which may be a secret.
    pub fn in_a_line(&self) -> String {
        match self {
            Self::Read { cause, .. } => format!("{self}: {cause}"),
            Self::Malformed { line, key, cause, .. } => {
                let place = match (line, key) {
                    (Some(line), Some(key)) => format!("line {line}, {key}: "),
                    (Some(line), None) => format!("line {line}: "),
                    (None, _) => String::new(),
                };
                format!("{place}{}", cause.message().replace('\n', " "))
            }
        }
    }
}

/// What stands in `bulbil.toml`. Every field may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where peers come in.
    pub peer: PeerConfig,
    /// Where the admin comes in.
    pub admin: AdminConfig,
    /// How Tor is used.
    pub tor: TorConfig,
    /// How the mirror follows.
    pub sync: SyncConfig,
    /// How what is stored is read again.
    pub scrub: ScrubConfig,
    /// What there is for Axon BBSes.
    pub axon: AxonConfig,
    /// Who is told what is wrong.
    pub alerts: AlertConfig,
    /// How a server's log is written.
    pub log: LogConfig,
    /// Where values come from that are not there by themselves, by name: `tor.port`.
    #[serde(skip)]
    pub sources: BTreeMap<String, FactSource>,
}

/// `[log]`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// For people or for programs.
    pub format: LogFormat,
}

/// How a log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// `[peer]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PeerConfig {
    /// Plain HTTP, without Tor: who watches the network sees who talks to whom.
    pub dangerously_direct: bool,
    /// Where to listen with `dangerously_direct`, e.g. `127.0.0.1:7001`.
    pub listen: Option<SocketAddr>,
    /// What invites say, if it is not the address listened on.
    pub address: Option<PeerAddress>,
}

/// `[admin]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminConfig {
    /// Where to listen; loopback only.
    pub listen: SocketAddr,
    /// A Unix socket on which to listen, too, that its owner alone may open; relative to the home.
    pub socket: Option<PathBuf>,
}

impl Default for AdminConfig {
    fn default() -> Self {
        // Port 0: any that is free. The command line finds it by itself.
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 0)), socket: None }
    }
}

/// `[tor]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TorConfig {
    /// Whether to be an onion service, and to dial them.
    pub enabled: bool,
    /// An arti configuration (TOML) that is laid over ours; relative to the home.
    pub config: Option<PathBuf>,
    /// The SOCKS port of a tor that runs already: it is dialled through, and no Tor runs in this process.
    pub socks: Option<SocketAddr>,
    /// The port of the onion service for peers.
    pub port: NonZeroU16,
    /// Circuits to one peer at once while much is fetched from it; 1 to 8.
    pub circuits: usize,
    /// Whether the onion service for peers is found only with the key that each invite carries.
    pub restricted_discovery: bool,
    /// Whether the admin plane answers on an onion address of its own, too.
    pub admin_onion: bool,
}

impl Default for TorConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            config: None,
            socks: None,
            port: NonZeroU16::new(80).expect("80 is not 0"),
            circuits: 6,
            restricted_discovery: false,
            admin_onion: false,
        }
    }
}

impl TorConfig {
    /// The number of circuits within its bounds.
    pub fn circuits(&self) -> usize {
        self.circuits.clamp(1, 8)
    }
}

/// `[sync]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SyncConfig {
    /// Seconds between two questions for news, give or take a tenth; 5 to 86,400.
    pub interval_s: u64,
    /// Whether a request stays open at each peer in between, which it answers when it has news.
    pub push: bool,
    /// Bytes of chunks a second that are fetched from peers, from all of them together; 1,000 at least. No limit if it is not set.
    pub limit_rate: Option<u64>,
}

impl Default for SyncConfig {
    fn default() -> Self {
        Self { interval_s: 300, push: true, limit_rate: None }
    }
}

impl SyncConfig {
    /// The interval within its bounds.
    pub fn interval(&self) -> Duration {
        Duration::from_secs(self.interval_s.clamp(5, 86_400))
    }

    /// The limit within its bounds.
    pub fn limit_rate(&self) -> Option<u64> {
        self.limit_rate.map(|rate| rate.max(MIN_RATE))
    }
}

/// `[scrub]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScrubConfig {
    /// Whether the server reads what is stored again, to find what the disk has changed.
    pub enabled: bool,
    /// Days in which everything is read once, give or take a sixth; 1 to 365.
    pub days: u32,
}

impl Default for ScrubConfig {
    fn default() -> Self {
        Self { enabled: true, days: DEFAULT_DAYS }
    }
}

impl ScrubConfig {
    /// How often, and how fast.
    pub fn policy(&self) -> Policy {
        Policy::days(self.days)
    }
}

/// `[axon]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AxonConfig {
    /// Whether the paths of an Axon BBS are served to Axon instances that have rights, where peers come in.
    pub serve: bool,
}

impl Config {
    /// Reads the file; one that is not there is an empty one.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let mut config: Self =
                    toml::from_str(&text).map_err(|cause| ConfigError::malformed(path, &text, cause))?;
                config.sources = facts::said(&text);
                // What is named there is looked for beside it.
                let beside = |file: PathBuf| path.parent().unwrap_or(Path::new("")).join(file);
                config.tor.config = config.tor.config.map(beside);
                config.admin.socket = config.admin.socket.map(beside);
                if let Some(mail) = &mut config.alerts.mail {
                    mail.password_file = mail.password_file.take().map(beside);
                }
                config.alerts.certificates = config.alerts.certificates.map(beside);
                Ok(config)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(cause) => Err(ConfigError::Read { path: path.to_owned(), cause }),
        }
    }
}

/// Where the service manager wants to be told how it stands (`NOTIFY_SOCKET`), if one runs this program.
pub fn notify_socket() -> Option<PathBuf> {
    std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Where the home is, if nobody says: `$XDG_DATA_HOME/bulbil`, or `~/.local/share/bulbil`.
pub fn default_home() -> PathBuf {
    let data = std::env::var_os("XDG_DATA_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let data = data.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share")));
    data.unwrap_or_else(|| PathBuf::from(".")).join("bulbil")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_is_not_known_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bulbil.toml");
        assert_eq!(Config::load(&path).unwrap(), Config::default());
        std::fs::write(&path, "[peer]\nlissten = \"127.0.0.1:1\"\n").unwrap();
        let error = Config::load(&path).unwrap_err().to_string();
        assert!(error.contains("lissten") && error.contains("line 2"), "{error}");
        let line = Config::load(&path).unwrap_err().in_a_line();
        assert!(line.starts_with("line 2, lissten: unknown field") && !line.contains('\n'), "{line}");
        std::fs::write(&path, "[alerts]\nwebhook = \"https://example.org/a-secret\nping = 1\n").unwrap();
        let line = Config::load(&path).unwrap_err().in_a_line();
        assert!(line.starts_with("line 2, webhook: ") && !line.contains("a-secret"), "{line}");
    }
}

//! What every command needs: the home, the store, the clock, and where results go.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, SystemClock};
use crate::config::{self, Config, LogFormat};
use crate::domain::peer::is_plain_name;
use crate::replicate::succession::renew_appointments;
use crate::store::{Passphrase, Store};

use super::again::Again;
use super::args::{Global, LogFormatArg, ServeArgs};
use super::audit::UsedKey;
use super::output::Output;
use super::progress::Progress;

/// What every command needs.
#[derive(Debug)]
pub struct Context {
    /// The folder with keys, index and chunks.
    pub home: PathBuf,
    /// Where results go.
    pub output: Output,
    /// What time it is.
    pub clock: Arc<SystemClock>,
    passphrase_file: Option<PathBuf>,
    tor_config: Option<PathBuf>,
    socks: Option<SocketAddr>,
    verbose: u8,
    used_keys: Mutex<Vec<UsedKey>>,
    noted: Mutex<Vec<String>>,
    again: Mutex<Option<Again>>,
}

impl Context {
    /// From what was typed.
    pub fn new(global: &Global) -> Self {
        Self {
            home: global.home.clone().unwrap_or_else(config::default_home),
            output: Output { json: global.json, quiet: global.quiet },
            clock: Arc::new(SystemClock),
            passphrase_file: global.passphrase_file.clone(),
            tor_config: global.tor_config.clone(),
            socks: global.socks,
            verbose: global.verbose,
            used_keys: Mutex::default(),
            noted: Mutex::default(),
            again: Mutex::default(),
        }
    }

    /// Starts the log on standard error. A server's begins with warnings; a command says by itself what went wrong, so its log
    /// begins with errors. More with `-v`; with three of them what Tor does, too.
    pub fn start_log(&self, server: Option<&ServeArgs>) {
        let level = match self.verbose {
            0 if server.is_some() => "warn",
            0 => "error",
            1 => "info",
            2 => "debug",
            _ => "trace",
        };
        // arti hides addresses by itself, as long as nobody switches that off.
        let tor = if self.verbose > 2 { ",arti_client=debug,tor_=debug" } else { "" };
        let filter = tracing_subscriber::EnvFilter::new(format!("error,bulbil={level}{tor}"));
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
        // A second start in one process (a test) changes nothing.
        let _ = match server.is_some_and(|server| self.logs_json(server)) {
            true => log.json().flatten_event(true).with_current_span(false).with_span_list(true).try_init(),
            false => log.with_ansi(std::io::stderr().is_terminal()).try_init(),
        };
    }

    /// Whether a server's log is JSON. What is wrong with `bulbil.toml` says whoever needs it.
    fn logs_json(&self, server: &ServeArgs) -> bool {
        match server.log_format {
            Some(format) => format == LogFormatArg::Json,
            None => self.config().is_ok_and(|config| config.log.format == LogFormat::Json),
        }
    }

    /// What `bulbil.toml` says, and what the command line says otherwise.
    ///
    /// # Errors
    /// If the file cannot be used.
    pub fn config(&self) -> anyhow::Result<Config> {
        let mut config = Config::load(&self.home.join("bulbil.toml"))?;
        if let Some(file) = &self.tor_config {
            config.tor.config = Some(file.clone());
            config.given("tor.config");
        }
        if let Some(socks) = self.socks {
            config.tor.socks = Some(socks);
            config.given("tor.socks");
        }
        Ok(config)
    }

    /// Opens the home.
    ///
    /// # Errors
    /// If there is none, it is of a later version, or its keys do not open.
    pub async fn store(&self) -> anyhow::Result<Store> {
        self.store_with(self.passphrase()?).await
    }

    /// Opens the home with what opens its keys.
    ///
    /// # Errors
    /// See [`store`](Self::store).
    pub async fn store_with(&self, passphrase: Option<Passphrase>) -> anyhow::Result<Store> {
        let store = Store::open(&self.home, passphrase).await?;
        // After a kill while its key was replaced.
        renew_appointments(&store, self.clock.now()).await?;
        Ok(store)
    }

    /// Says with what the program is to be started again.
    pub fn start_again(&self, again: Again) {
        *self.again.lock().expect("no holder of this lock can panic") = Some(again);
    }

    /// With what the program is to be started again.
    pub fn again(&self) -> Option<Again> {
        self.again.lock().expect("no holder of this lock can panic").take()
    }

    /// Remembers that a key was used, for the audit log; once for each.
    pub fn use_key(&self, key: UsedKey) {
        let mut used = self.used_keys.lock().expect("no holder of this lock can panic");
        if !used.contains(&key) {
            used.push(key);
        }
    }

    /// Keys that were used.
    pub fn used_keys(&self) -> Vec<UsedKey> {
        self.used_keys.lock().expect("no holder of this lock can panic").clone()
    }

    /// Remembers to what something was done, for the audit log.
    pub fn note(&self, subject: String) {
        self.noted.lock().expect("no holder of this lock can panic").push(subject);
    }

    /// To what something was done.
    pub fn noted(&self) -> Vec<String> {
        self.noted.lock().expect("no holder of this lock can panic").clone()
    }

    /// The passphrase, if the home needs one: from the file, or typed on a terminal.
    ///
    /// # Errors
    /// If the file cannot be read, or there is no terminal to ask on.
    pub fn passphrase(&self) -> anyhow::Result<Option<Passphrase>> {
        let needed = Store::needs_passphrase(&self.home).unwrap_or(false);
        let given = match self.passphrase_from_file()? {
            None if needed && std::io::stdin().is_terminal() => Some(ask("passphrase: ")?),
            given => given,
        };
        if needed && given.is_some() {
            self.use_key(UsedKey::Passphrase);
        }
        Ok(given)
    }

    /// The passphrase from `--passphrase-file`.
    ///
    /// # Errors
    /// If the file cannot be read or is empty.
    pub fn passphrase_from_file(&self) -> anyhow::Result<Option<Passphrase>> {
        let Some(file) = &self.passphrase_file else { return Ok(None) };
        let text =
            std::fs::read(file).with_context(|| format!("cannot read the passphrase file {}", file.display()))?;
        let text = zeroize::Zeroizing::new(text);
        let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        anyhow::ensure!(!line.is_empty(), "the passphrase file {} has an empty first line", file.display());
        Ok(Some(Passphrase::new(line.to_vec())))
    }

    /// A progress bar, unless it is to be quiet.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::new(Progress::new(!self.output.quiet && !self.output.json))
    }

    /// What the first and the second Ctrl-C, or SIGTERM, cancel: for work that goes on elsewhere.
    pub fn signals(&self) -> Signals {
        let signals = Signals { first: CancellationToken::new(), second: CancellationToken::new() };
        let (first, second) = (signals.first.clone(), signals.second.clone());
        #[expect(clippy::disallowed_methods, reason = "it lives as long as the program and owns nothing")]
        tokio::spawn(async move {
            wait_for_signal().await;
            first.cancel();
            wait_for_signal().await;
            second.cancel();
        });
        signals
    }

    /// A token that Ctrl-C and SIGTERM cancel; a second Ctrl-C ends the program at once.
    pub fn cancellation(&self) -> CancellationToken {
        let token = CancellationToken::new();
        let (cancelled, output) = (token.clone(), self.output);
        #[expect(clippy::disallowed_methods, reason = "it lives as long as the program and owns nothing")]
        tokio::spawn(async move {
            wait_for_signal().await;
            output.remark("stopping; what was reached is kept (again to stop at once)");
            cancelled.cancel();
            wait_for_signal().await;
            std::process::exit(1);
        });
        token
    }
}

/// That Ctrl-C was typed, or SIGTERM came.
#[derive(Debug)]
pub struct Signals {
    /// Once.
    pub first: CancellationToken,
    /// Twice.
    pub second: CancellationToken,
}

/// Waits for Ctrl-C or SIGTERM.
pub async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        // Without signals there is nothing to wait for.
        _ => std::future::pending().await,
    }
}

/// Asks for a passphrase on the terminal, without showing it.
///
/// # Errors
/// If there is no terminal.
pub fn ask(prompt: &str) -> anyhow::Result<Passphrase> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    use std::io::{BufRead, Write};
    let stdin = std::io::stdin();
    let before =
        tcgetattr(&stdin).context("there is no terminal to ask for the passphrase on; use --passphrase-file")?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    let _ = write!(std::io::stderr(), "{prompt}");
    tcsetattr(&stdin, OptionalActions::Flush, &silent)?;
    let mut line = zeroize::Zeroizing::new(String::new());
    let read = stdin.lock().read_line(&mut line);
    tcsetattr(&stdin, OptionalActions::Flush, &before)?;
    let _ = writeln!(std::io::stderr());
    read?;
    let typed = line.trim_end_matches(['\r', '\n']);
    anyhow::ensure!(!typed.is_empty(), "no passphrase was typed");
    Ok(Passphrase::new(typed.as_bytes().to_vec()))
}

/// What this machine calls itself, as far as it can be the name of an instance; `otherwise`, if it cannot.
pub fn host_name(otherwise: &str) -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
    let plain: String = plain.trim_start_matches(['-', '.']).chars().take(64).collect();
    if is_plain_name(&plain) { plain } else { otherwise.to_owned() }
}

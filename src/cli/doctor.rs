//! `bulbil doctor`: everything that is worth a look, one line each, with what to do about it.
//!
//! Exit code 0 if nothing is worse than a note, 2 with warnings, 1 if something has to be mended. It changes nothing but what Tor
//! keeps for itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Clock;
use crate::config::{Config, ConfigError};
use crate::monitor::Problem;
use crate::server::{socks_dial, tor_options};
use crate::store::{Home, Store, StoreError};
use crate::transport::tor::Tor;
use crate::worker::doctor::{Closed, Examination, Finding, ServerState, Severity, worst};

use super::admin::AdminClient;
use super::args::DoctorArgs;
use super::context::Context;
use super::dialling::show_bootstrap;
use super::output::{Outcome, one_line};
use super::protect::user_folder;

/// How long Tor may take to come up while somebody looks on.
const TOR_PATIENCE: Duration = Duration::from_secs(60);

/// Looks, and says what it finds.
pub async fn run(args: DoctorArgs, context: &Context) -> anyhow::Result<Outcome> {
    // What is wrong with one thing keeps nobody from looking at the others.
    let mut findings = Vec::new();
    let config = context.config().unwrap_or_else(|error| {
        findings.push(broken(&error));
        Config::default()
    });
    let home = Home::open(&context.home)?;
    // Opened as it is: nothing is changed.
    match Store::open(&context.home, context.passphrase()?).await {
        Ok(store) => {
            let examination = Examination {
                store: &store,
                now: context.clock.now(),
                alerts: &config.alerts,
                scrubs: config.scrub.enabled,
                server: server(&home).await,
                units: unit_folders(),
            };
            match args.ready {
                true => findings.extend(examination.of_server()),
                false => {
                    findings.extend(examination.of_everything().await);
                    let is_tried = examination.server == ServerState::Down && config.tor.enabled && !args.offline;
                    if is_tried {
                        findings.extend(tor(&store, &config, context).await);
                    }
                }
            }
        }
        // Who cannot show the passphrase is told so, and nothing else.
        Err(why) if is_about_the_asker(&why) => return Err(why.into()),
        Err(why) => {
            let closed = Closed { home: &home, why: &why, server: server(&home).await, units: unit_folders() };
            findings.extend(if args.ready { closed.of_server() } else { closed.of_everything() });
        }
    }
    let out = &context.output;
    for finding in findings.iter().filter(|finding| !out.quiet || finding.severity > Severity::Note) {
        out.line(format!("{:<8} {:<14} {}", finding.severity.word(), finding.about, finding.what));
        if let Some(next) = &finding.next {
            out.line(format!("{:24}→ {next}", ""));
        }
    }
    let bad: Vec<Problem> = findings
        .iter()
        .filter(|finding| finding.severity > Severity::Note)
        .map(|finding| Problem { subject: finding.about.clone(), message: finding.what.clone() })
        .collect();
    out.document("doctor", &findings, &bad);
    Ok(match worst(&findings) {
        Severity::Ok | Severity::Note => {
            out.remark("Everything that was looked at is as it should be.");
            Outcome::Done
        }
        Severity::Warning => Outcome::NotEverything,
        Severity::Error => Outcome::Wrong,
    })
}

/// What is wrong with `bulbil.toml`: the rest is looked at as if it were not there.
fn broken(error: &anyhow::Error) -> Finding {
    let what = match error.downcast_ref::<ConfigError>() {
        Some(error) => error.in_a_line(),
        None => one_line(error),
    };
    let next = "mend that line: docs/configuration.md has every field; until then no command and no server starts";
    Finding::error("bulbil.toml", what, next)
}

/// Whether it is no fault of the home that it does not open.
fn is_about_the_asker(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::NotAHome { .. }
            | StoreError::NewerHome { .. }
            | StoreError::PassphraseNeeded
            | StoreError::WrongPassphrase
            | StoreError::EmptyPassphrase
    )
}

/// What the server says, if one runs.
async fn server(home: &Home) -> ServerState {
    let server = match AdminClient::of_home(home) {
        Ok(Some(server)) => server,
        Ok(None) if home.running_server().is_some() => return ServerState::Starting,
        Ok(None) => return ServerState::Down,
        Err(error) => return ServerState::Unasked(one_line(&error)),
    };
    match server.status().await {
        Ok(status) => ServerState::Running {
            version: status.version,
            open: status.network.open,
            network: status.network.in_words(),
            clock: status.network.tor.map(|tor| tor.clock),
        },
        Err(error) => ServerState::Silent(error.to_string()),
    }
}

/// Where units of systemd stand; none on a machine without it.
fn unit_folders() -> Vec<PathBuf> {
    if !Path::new("/run/systemd/system").exists() {
        return Vec::new();
    }
    [PathBuf::from("/etc/systemd/system"), PathBuf::from("/usr/lib/systemd/system")]
        .into_iter()
        .chain(user_folder())
        .collect()
}

/// Without a server: whether Tor would come up.
async fn tor(store: &Store, config: &Config, context: &Context) -> Vec<Finding> {
    const ABOUT: &str = "Tor";
    if let Some(proxy) = config.tor.socks {
        return vec![match socks_dial(proxy, config).probe().await {
            Ok(()) => Finding::ok(ABOUT, format!("a SOCKS proxy answers at {proxy}")),
            Err(error) => Finding::warning(ABOUT, error.to_string(), "docs/tor.md says what [tor] socks needs"),
        }];
    }
    let _lock = match store.lock_tor() {
        Ok(lock) => lock,
        Err(StoreError::Busy { .. }) => {
            return vec![Finding::ok(ABOUT, "in use by another command of this home; not tried")];
        }
        Err(error) => return vec![Finding::error(ABOUT, error.to_string(), "is the home writable?")],
    };
    let started = Instant::now();
    let tor = match Tor::start(&tor_options(store, config)).await {
        Ok(tor) => tor,
        Err(error) => return vec![Finding::error(ABOUT, error.to_string(), "docs/tor.md says more")],
    };
    let _ = tokio::time::timeout(TOR_PATIENCE, show_bootstrap(&tor, context.output)).await;
    let state = tor.bootstrap();
    let mut findings = vec![match state.ready {
        true => Finding::ok(ABOUT, format!("comes up in {:.1} s", started.elapsed().as_secs_f64())),
        false => {
            let next = "is this machine online, and may it connect to the Tor network?";
            Finding::warning(ABOUT, state.in_words(), next)
        }
    }];
    if let Some(clock) = &state.clock {
        findings.push(Finding::error("clock", clock.as_str(), "set it right (NTP): Tor needs it within minutes"));
    }
    findings
}

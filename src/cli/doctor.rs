//! `bulbil doctor`: everything that is worth a look, one line each, with what to do about it.
//!
//! Exit code 2 if something is not as it should be. It changes nothing but what Tor keeps for itself.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::config::Config;
use crate::domain::peer::Trust;
use crate::http::admin::network::NetworkStatus;
use crate::monitor::Problem;
use crate::server::{socks_dial, tor_options};
use crate::store::{Store, StoreError};
use crate::transport::tor::Tor;

use super::admin::AdminClient;
use super::args::DoctorArgs;
use super::context::Context;
use super::dialling::show_bootstrap;
use super::output::{Outcome, age, bytes, count};

/// Less free disk than this is a problem.
const LITTLE_ROOM: u64 = 1 << 30;
/// A collection whose newest snapshot is older is late: the recovery point objective of one day.
const LATE: Duration = Duration::from_secs(24 * 3600);
/// A followed peer that was not reached for so long is silent.
const SILENT: Duration = Duration::from_secs(24 * 3600);
/// How long Tor may take to come up while somebody looks on.
const TOR_PATIENCE: Duration = Duration::from_secs(60);

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    about: String,
    good: bool,
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

/// Looks, and says what it finds.
pub async fn run(args: DoctorArgs, context: &Context) -> anyhow::Result<Outcome> {
    let config = context.config()?;
    let store = context.store().await?;
    let mut findings = Vec::new();
    let server = server(&store, &mut findings).await?;
    if !args.ready {
        findings.insert(0, room(context));
        match &server {
            Some(network) => clock(network, &mut findings),
            None if config.tor.enabled && !args.offline => match config.tor.socks {
                Some(proxy) => findings.push(match socks_dial(proxy, &config).probe().await {
                    Ok(()) => good("Tor", format!("a SOCKS proxy answers at {proxy}")),
                    Err(error) => bad("Tor", error.to_string(), "docs/tor.md says what [tor] socks needs"),
                }),
                None => tor(&store, &config, context, &mut findings).await,
            },
            None => {}
        }
        let now = context.clock.now();
        collections(&store, now, &mut findings).await?;
        peers(&store, now, &mut findings).await?;
    }
    let out = &context.output;
    for finding in findings.iter().filter(|finding| !out.quiet || !finding.good) {
        out.line(format!("{}  {:<14} {}", if finding.good { "ok " } else { "!! " }, finding.about, finding.what));
        if let Some(advice) = &finding.advice {
            out.line(format!("{:20}{advice}", ""));
        }
    }
    let bad: Vec<Problem> = findings
        .iter()
        .filter(|finding| !finding.good)
        .map(|finding| Problem { subject: finding.about.clone(), message: finding.what.clone() })
        .collect();
    out.document("doctor", &findings, &bad);
    if bad.is_empty() {
        out.remark("Everything that was looked at is as it should be.");
        return Ok(Outcome::Done);
    }
    Ok(Outcome::NotEverything)
}

fn good(about: impl Into<String>, what: impl Into<String>) -> Finding {
    Finding { about: about.into(), good: true, what: what.into(), advice: None }
}

fn bad(about: impl Into<String>, what: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { about: about.into(), good: false, what: what.into(), advice: Some(advice.into()) }
}

fn room(context: &Context) -> Finding {
    match rustix::fs::statvfs(&context.home) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let what = format!("{} free at {}", bytes(free), context.home.display());
            if free >= LITTLE_ROOM {
                good("disk", what)
            } else {
                bad("disk", what, "free some: backups and mirrors need room")
            }
        }
        Err(error) => bad("disk", format!("cannot be looked at: {error}"), "is the disk there?"),
    }
}

/// The server, and whether peers can come in.
async fn server(store: &Store, findings: &mut Vec<Finding>) -> anyhow::Result<Option<NetworkStatus>> {
    let Some(server) = AdminClient::of_running(store)? else {
        if store.running_server().is_some() {
            findings.push(bad(
                "server",
                "is starting",
                "it may be waiting for another command that uses this home's Tor",
            ));
            return Ok(None);
        }
        findings.push(bad("server", "does not run", "'bulbil serve' lets peers in and follows those that are trusted"));
        return Ok(None);
    };
    let network = match server.status().await {
        Ok(status) => status.network,
        Err(error) => {
            findings.push(bad("server", format!("runs, and does not answer: {error}"), "stop it, and start it again"));
            return Ok(None);
        }
    };
    findings.push(good("server", "runs"));
    let words = network.in_words();
    findings.push(match network.open {
        true => good("peers come in", words),
        false => {
            bad("peers come in", words, "a minute after the start this is normal; docs/tor.md says what it may be")
        }
    });
    Ok(Some(network))
}

fn clock(network: &NetworkStatus, findings: &mut Vec<Finding>) {
    let Some(tor) = &network.tor else { return };
    findings.push(match &tor.clock {
        Some(clock) => bad("clock", clock.as_str(), "set it right (NTP): Tor needs it within minutes"),
        None => good("clock", "right, as far as Tor can tell"),
    });
}

/// Without a server: whether Tor would come up.
async fn tor(store: &Store, config: &Config, context: &Context, findings: &mut Vec<Finding>) {
    let _lock = match store.lock_tor() {
        Ok(lock) => lock,
        Err(StoreError::Busy { .. }) => {
            findings.push(good("Tor", "in use by another command of this home; not tried"));
            return;
        }
        Err(error) => {
            findings.push(bad("Tor", error.to_string(), "is the home writable?"));
            return;
        }
    };
    let started = Instant::now();
    let tor = match Tor::start(&tor_options(store, config)).await {
        Ok(tor) => tor,
        Err(error) => {
            findings.push(bad("Tor", error.to_string(), "docs/tor.md says more"));
            return;
        }
    };
    let _ = tokio::time::timeout(TOR_PATIENCE, show_bootstrap(&tor, context.output)).await;
    let state = tor.bootstrap();
    findings.push(match state.ready {
        true => good("Tor", format!("comes up in {:.1} s", started.elapsed().as_secs_f64())),
        false => bad("Tor", state.in_words(), "is this machine online, and may it connect to the Tor network?"),
    });
    findings.push(match &state.clock {
        Some(clock) => bad("clock", clock.as_str(), "set it right (NTP): Tor needs it within minutes"),
        None => good("clock", "right, as far as Tor can tell"),
    });
}

async fn collections(store: &Store, now: Timestamp, findings: &mut Vec<Finding>) -> anyhow::Result<()> {
    for collection in store.index.collections().await? {
        let about = collection.name.clone();
        let snapshots = store.index.snapshots(Some(&collection.id)).await?;
        let newest = snapshots.iter().filter(|s| s.complete && !s.partial).map(|s| s.created_at).max();
        let (chunks, missing) = store.index.count_missing(Some(&collection.id)).await?;
        let own = collection.settings.is_some();
        findings.push(match newest {
            _ if chunks > 0 => {
                let what = format!("{} in {} are not here", bytes(missing), count(chunks, "chunk"));
                bad(about, what, "'bulbil fetch' gets them, if a peer has them")
            }
            None => bad(
                about,
                "no whole snapshot yet",
                if own { "'bulbil backup' makes one" } else { "'bulbil sync' asks for it" },
            ),
            Some(at) if now.duration_since(at) > jiff::SignedDuration::from_secs(LATE.as_secs() as i64) => {
                let advice =
                    if own { "'bulbil backup' makes another" } else { "its instance makes none, or is not reached" };
                bad(about, format!("newest snapshot {}", age(now.duration_since(at).as_secs())), advice)
            }
            Some(at) => good(about, format!("newest snapshot {}", age(now.duration_since(at).as_secs()))),
        });
    }
    Ok(())
}

async fn peers(store: &Store, now: Timestamp, findings: &mut Vec<Finding>) -> anyhow::Result<()> {
    for peer in store.index.peers().await? {
        let about = format!("peer {}", peer.name);
        if peer.trust == Trust::Pending {
            findings.push(bad(
                about,
                "waits for a decision",
                "compare the fingerprint words, then 'bulbil peer trust'",
            ));
            continue;
        }
        if !peer.follow {
            continue;
        }
        let since = peer.last_contact_at.map(|at| now.duration_since(at));
        let silent = since.is_none_or(|since| since > jiff::SignedDuration::from_secs(SILENT.as_secs() as i64));
        let seen = since.map_or_else(|| "never".to_owned(), |since| age(since.as_secs()));
        findings.push(match peer.last_error {
            Some(error) => bad(about, format!("last reached {seen}; then: {error}"), "'bulbil sync' tries again"),
            None if silent => bad(about, format!("last reached {seen}"), "'bulbil sync' tries again"),
            None => good(about, format!("last reached {seen}")),
        });
    }
    Ok(())
}

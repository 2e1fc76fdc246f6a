//! What is known to be wrong, and whether anybody would be told.

use super::{Examination, Finding, Severity};
use crate::domain::alert::AlertKind;
use crate::domain::channel::{AlertSettings, Channel, How};
use crate::store::StoreError;
use crate::worker::watch;

pub(super) async fn look(of: &Examination<'_>) -> Result<Vec<Finding>, StoreError> {
    let mut findings = Vec::new();
    let said = of.store.alert_settings().unwrap_or_else(|error| {
        let next = "remove keys/alerts, then say again on the page Alerts who is told";
        findings.push(Finding::error("alerts", crate::monitor::with_causes(&error), next));
        AlertSettings::default()
    });
    for alert in watch::look(of.store, of.alerts.bounds(&said), of.now).await? {
        // The disk that is away is told with its room.
        if alert.kind == AlertKind::Away {
            continue;
        }
        let (severity, next) = meaning(alert.kind);
        findings.push(Finding { about: alert.subject, severity, what: alert.message, next: Some(next.to_owned()) });
    }
    let is_told = |channel: &Channel| !matches!(channel.how, How::Ping { .. });
    let told = of.alerts.command.is_some()
        || of.alerts.webhook.is_some()
        || of.alerts.mail.is_some()
        || said.channels.iter().any(is_told);
    let next = "name a webhook or a mailbox on the page Alerts, or in [alerts] of bulbil.toml: docs/upkeep.md";
    findings.push(match told {
        true => Finding::ok("alerts", "somebody is told when something is wrong"),
        false if of.store.index.collections().await?.is_empty() => {
            Finding::note("alerts", "nobody is told when something is wrong", next)
        }
        false => Finding::warning("alerts", "nobody is told when something is wrong", next),
    });
    if !of.scrubs {
        let next = "set [scrub] enabled = true in bulbil.toml, or schedule --verify-data";
        findings.push(Finding::note(
            "scrub",
            "is switched off: what the disk changes is found when it is needed",
            next,
        ));
    }
    Ok(findings)
}

/// How bad an alert is, and what shows more of it.
fn meaning(kind: AlertKind) -> (Severity, &'static str) {
    match kind {
        AlertKind::Late => {
            (Severity::Error, "'bulbil runs' shows what came of its backups, 'bulbil backup' makes one now")
        }
        AlertKind::Failed => (Severity::Warning, "'bulbil runs' shows what came of it"),
        AlertKind::DrillFailed => (Severity::Error, "'bulbil drill' tries it again and names what is wrong"),
        AlertKind::Shrunk => {
            (Severity::Warning, "'bulbil diff' shows what is gone; '--accept-shrink' if that was meant")
        }
        AlertKind::Suspect => {
            (Severity::Warning, "'bulbil status' says what; 'bulbil snapshot unflag' if it is all right")
        }
        AlertKind::Corrupt => (Severity::Error, "'bulbil scrub --now' gets back what a peer has"),
        AlertKind::Away => (Severity::Error, "mount the disk"),
        AlertKind::SilentPeer => (Severity::Warning, "'bulbil sync' tries again; ask there for 'bulbil doctor'"),
        AlertKind::TargetFailed => (Severity::Error, "'bulbil copy' tries again, 'bulbil target list' shows them all"),
        AlertKind::DiskFull => {
            (Severity::Error, "'bulbil usage' shows what takes the space, 'bulbil prune' frees some")
        }
    }
}

use std::fs;
use std::os::unix::fs::PermissionsExt;

use jiff::SignedDuration;

use super::*;
use crate::domain::peer::Trust;
use crate::domain::schedule::{Scheduled, Upkeep, Work};
use crate::store::index::{Begin, Cause, Collection, Counts, Ended, Peer, RunResult};
use crate::store::testing::{MakeSnapshot, TestStore, peer};

const NOW: &str = "2026-11-22T06:00:00Z";

fn running() -> ServerState {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    ServerState::Running { version, open: true, network: "reachable".to_owned(), clock: Some(None) }
}

async fn examined(host: &TestStore, now: &str, alerts: &AlertConfig, server: ServerState) -> Vec<Finding> {
    let now = now.parse().unwrap();
    let of = Examination { store: &host.store, now, alerts, scrubs: true, server, units: Vec::new() };
    let findings = of.of_everything().await;
    for finding in &findings {
        assert_eq!(
            finding.next.is_none(),
            finding.severity == Severity::Ok,
            "each finding has a next step: {finding:?}"
        );
    }
    findings
}

/// Whether something of this severity says these words.
fn says(findings: &[Finding], severity: Severity, about: &str, words: &str) -> bool {
    findings.iter().any(|one| one.severity == severity && one.about == about && one.what.contains(words))
}

fn told() -> AlertConfig {
    AlertConfig { command: Some("true".to_owned()), ..AlertConfig::default() }
}

fn begun(collection: &Collection, work: Work, at: Timestamp) -> Begin<'_> {
    Begin {
        collection: Some(&collection.id),
        target: None,
        kind: work.into(),
        cause: Cause::Command,
        by: None,
        pid: 1,
        at,
    }
}

#[tokio::test]
async fn what_nobody_looks_after_is_said_with_what_to_do() {
    let host = TestStore::new().await;
    let empty = examined(&host, NOW, &AlertConfig::default(), running()).await;
    assert_eq!(worst(&empty), Severity::Note, "a new home has notes only: {empty:#?}");
    let collection = host.collection("notes").await;
    let findings = examined(&host, NOW, &AlertConfig::default(), running()).await;
    assert!(says(&findings, Severity::Warning, "notes", "no whole snapshot"), "{findings:#?}");
    host.snapshot(MakeSnapshot::new(collection.id, 1, &[("a", b"one")])).await;
    let pending = Peer { trust: Trust::Pending, ..peer("gamma") };
    host.store.index.save_peer(&pending).await.unwrap();
    let findings = examined(&host, NOW, &AlertConfig::default(), ServerState::Down).await;
    for (about, words) in [
        ("server", "does not run"),
        ("notes", "none was verified"),
        ("notes", "nothing backs it up by itself"),
        ("notes", "never restored"),
        ("notes", "no copy elsewhere"),
        ("alerts", "nobody is told"),
        ("peer gamma", "waits for a decision"),
    ] {
        assert!(says(&findings, Severity::Warning, about, words), "{about}: {words} in {findings:#?}");
    }
}

#[tokio::test]
async fn what_is_looked_after_has_no_warnings() {
    let host = TestStore::new().await;
    let index = &host.store.index;
    let collection = host.collection("notes").await;
    let now: Timestamp = NOW.parse().unwrap();
    let at = |hours: i64| now - SignedDuration::from_hours(hours);
    let scheduled =
        Scheduled { work: Work::Backup, pattern: "@daily".parse().unwrap(), zone: None, jitter_s: 0, since: at(99) };
    let upkeep = Upkeep { scheduled: vec![scheduled], rpo_hours: Some(24) };
    index.set_upkeep(&collection.id, &upkeep).await.unwrap();
    let made = host.snapshot(MakeSnapshot::new(collection.id, 1, &[("a", b"one")])).await;
    index.note_verified(&[made.signed.id], at(1)).await.unwrap();
    index.note_copied("nas", &collection.id, &made.signed.id, at(1)).await.unwrap();
    index.note_copy_verified("nas", &collection.id, &made.signed.id, at(1), true).await.unwrap();
    let no = index.begin_run(begun(&collection, Work::Drill, at(2))).await.unwrap();
    let ended = Ended {
        at: at(1),
        result: RunResult::Done,
        message: None,
        snapshot: None,
        counts: Counts::default(),
        report: None,
    };
    index.end_run(no, &ended).await.unwrap();
    let findings = examined(&host, NOW, &told(), running()).await;
    assert!(worst(&findings) <= Severity::Note, "{findings:#?}");

    // Days later the backup is late, and later still the drill is old.
    let findings = examined(&host, "2026-11-25T06:00:00Z", &told(), running()).await;
    assert!(says(&findings, Severity::Error, "notes", "hours old"), "{findings:#?}");
    let findings = examined(&host, "2027-01-25T06:00:00Z", &told(), running()).await;
    assert!(says(&findings, Severity::Warning, "notes", "the last good drill was 64 days ago"), "{findings:#?}");

    // A schedule that cannot do what is wanted of it.
    let upkeep = Upkeep { rpo_hours: Some(6), ..upkeep };
    index.set_upkeep(&collection.id, &upkeep).await.unwrap();
    let findings = examined(&host, NOW, &told(), running()).await;
    assert!(says(&findings, Severity::Warning, "notes", "cannot keep to what may be lost"), "{findings:#?}");
}

#[tokio::test]
async fn a_clock_that_is_behind_and_keys_that_others_reach_are_seen() {
    let host = TestStore::new().await;
    let collection = host.collection("notes").await;
    host.snapshot(MakeSnapshot::new(collection.id, 1, &[("a", b"one")])).await;
    let findings = examined(&host, "2026-11-21T00:00:00Z", &told(), running()).await;
    assert!(says(&findings, Severity::Warning, "clock", "from the future, the newest by 24 hours"), "{findings:#?}");
    let findings = examined(&host, "1970-01-02T00:00:00Z", &told(), running()).await;
    assert!(says(&findings, Severity::Error, "clock", "cannot be"), "{findings:#?}");
    assert!(says(&findings, Severity::Ok, "permissions", "nobody else"), "{findings:#?}");
    let key = host.store.home.keys().join("identity");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let findings = examined(&host, NOW, &told(), running()).await;
    assert!(says(&findings, Severity::Error, "permissions", "(mode 640)"), "{findings:#?}");
}

#[tokio::test]
async fn a_server_of_another_version_or_one_that_nobody_starts_is_seen() {
    let host = TestStore::new().await;
    let old = ServerState::Running {
        version: "0.0.1".to_owned(),
        open: false,
        network: "connecting to Tor".to_owned(),
        clock: Some(Some("2 hours behind".to_owned())),
    };
    let findings = examined(&host, NOW, &told(), old).await;
    assert!(says(&findings, Severity::Warning, "server", "version 0.0.1"), "{findings:#?}");
    assert!(says(&findings, Severity::Warning, "peers come in", "connecting"), "{findings:#?}");
    assert!(says(&findings, Severity::Error, "clock", "2 hours behind"), "{findings:#?}");

    let units = tempfile::tempdir().unwrap();
    let (now, alerts) = (NOW.parse().unwrap(), told());
    let mut of =
        Examination { store: &host.store, now, alerts: &alerts, scrubs: true, server: running(), units: vec![] };
    assert_eq!(server::starts_by_itself(&of.units), None, "without a service manager nothing is said");
    of.units.push(units.path().to_owned());
    assert_eq!(server::starts_by_itself(&of.units).unwrap().severity, Severity::Note);
    fs::create_dir(units.path().join("multi-user.target.wants")).unwrap();
    fs::write(units.path().join("multi-user.target.wants/bulbil.service"), "").unwrap();
    assert_eq!(server::starts_by_itself(&of.units).unwrap().severity, Severity::Ok);
}

#[tokio::test]
async fn a_disk_that_is_away_is_one_error() {
    let host = TestStore::new().await;
    fs::rename(host.store.home.chunks(), host.home().join("mounted")).unwrap();
    fs::create_dir(host.store.home.chunks()).unwrap();
    let findings = examined(&host, NOW, &told(), running()).await;
    let errors: Vec<_> = findings.iter().filter(|one| one.severity == Severity::Error).collect();
    assert!(matches!(errors.as_slice(), [one] if one.what.contains("mounted?")), "{errors:#?}");
}

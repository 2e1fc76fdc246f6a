//! What the server does by itself, what is on record of it, and who is told when something is wrong.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use bulbil::clock::{Clock, FixedClock};
use bulbil::domain::alert::AlertKind;
use bulbil::domain::audit::Ending;
use bulbil::domain::channel::{Channel, How, Secret};
use bulbil::domain::schedule::{Scheduled, Upkeep, Work};
use bulbil::monitor::Tally;
use bulbil::store::index::{Application, Begin, Cause, Collection, Run, RunResult};
use bulbil::store::{Store, StoreError};
use bulbil::transport::mail::{MailConfig, MailTls};
use bulbil::worker::alarm::{Alarm, AlertConfig};
use bulbil::worker::schedule::{Lane, Scheduler};
use bulbil::worker::watch::{Bounds, look};
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::support;

/// A home with a folder that is backed up each night at two, UTC.
struct Place {
    dir: tempfile::TempDir,
    store: Store,
    collection: Collection,
    clock: Arc<FixedClock>,
    never: CancellationToken,
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

impl Place {
    async fn new(rpo_hours: Option<u32>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = support::home(&dir.path().join("home"), "alpha").await;
        fs::create_dir(dir.path().join("notes")).unwrap();
        fs::write(dir.path().join("notes/one"), b"one").unwrap();
        let collection = support::collection(&store, "notes", &[&dir.path().join("notes")]).await;
        let since = at("2026-11-20T12:00:00Z");
        let nightly = Scheduled {
            work: Work::Backup,
            pattern: "0 2 * * *".parse().unwrap(),
            zone: Some("UTC".to_owned()),
            jitter_s: 0,
            since,
        };
        let upkeep = Upkeep { scheduled: vec![nightly], rpo_hours };
        store.index.set_upkeep(&collection.id, &upkeep).await.unwrap();
        Self { dir, store, collection, clock: Arc::new(FixedClock::new(since)), never: CancellationToken::new() }
    }

    async fn step(&self) -> u64 {
        let monitor = Arc::new(Tally::default());
        let scheduler = Scheduler::new(self.store.clone(), self.clock.clone(), monitor);
        scheduler.step(Lane::Backups, &self.never).await.unwrap()
    }

    async fn step_at(&self, moment: &str) -> u64 {
        self.clock.set(at(moment));
        self.step().await
    }

    async fn runs(&self) -> Vec<Run> {
        let mut runs = self.store.index.runs(Some(&self.collection.id), None, 100).await.unwrap();
        runs.reverse();
        runs
    }

    async fn wrong(&self) -> Vec<AlertKind> {
        let bounds = Bounds { free_percent: 0, ..Bounds::default() };
        let alerts = look(&self.store, bounds, self.clock.now()).await.unwrap();
        alerts.into_iter().map(|alert| alert.kind).collect()
    }

    fn alarm(&self, webhook: Option<String>, ping: Option<String>) -> Alarm {
        let config = AlertConfig { webhook, ping, free_percent: Some(0), ..AlertConfig::default() };
        Alarm::new(self.store.clone(), self.clock.clone(), config).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_3_two_missed_slots_are_made_up_for_by_one_run_and_it_is_on_record() {
    let place = Place::new(None).await;
    assert_eq!(place.step().await, 0, "nothing was due when it was scheduled");
    assert_eq!(place.step_at("2026-11-21T02:00:10Z").await, 1);
    assert_eq!(place.step_at("2026-11-21T02:00:20Z").await, 0);
    // It was switched off over two nights.
    assert_eq!(place.step_at("2026-11-24T01:00:00Z").await, 1);
    assert_eq!(place.step().await, 0);
    let runs = place.runs().await;
    let causes: Vec<Cause> = runs.iter().map(|run| run.cause).collect();
    let slot = |text, missed| Cause::Schedule { slot: at(text), missed };
    assert_eq!(causes, [slot("2026-11-21T02:00:00Z", 0), slot("2026-11-23T02:00:00Z", 1)]);
    let ended = runs[0].ended.as_ref().unwrap();
    assert_eq!((ended.result, ended.counts.files, ended.counts.bytes), (RunResult::Done, 1, 3));
    assert_eq!(
        place.store.index.last_good(&place.collection.id, place.clock.now()).await.unwrap().unwrap().0,
        runs[1].ended.as_ref().unwrap().snapshot.unwrap()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn row_3_a_backup_waits_for_the_one_that_goes_on_and_its_slot_is_not_lost() {
    let place = Place::new(None).await;
    let lock = place.store.lock_backup().unwrap();
    assert_eq!(place.step_at("2026-11-21T02:00:10Z").await, 0);
    assert!(place.runs().await.is_empty());
    drop(lock);
    assert_eq!(place.step_at("2026-11-21T02:07:00Z").await, 1);
    assert_eq!(place.runs().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_21_what_a_clock_did_that_was_ahead_settles_nothing() {
    let place = Place::new(Some(24)).await;
    assert_eq!(place.step_at("2031-06-01T02:00:10Z").await, 1);
    // It is set right: the snapshot from the future says nothing of today, and tonight's run is made.
    place.clock.set(at("2026-11-22T12:00:00Z"));
    assert_eq!(place.wrong().await, [AlertKind::Late]);
    assert_eq!(place.step().await, 1, "what was missed is made up for");
    assert_eq!(place.wrong().await, []);
    assert_eq!(place.step().await, 0);
    assert_eq!(place.step_at("2026-11-23T02:00:10Z").await, 1);
    let now = at("2026-11-23T03:00:00Z");
    let policy = bulbil::domain::retention::Policy::default();
    let of = std::slice::from_ref(&place.collection);
    let plan = bulbil::backup::prune::plan(&place.store, of, Some(&policy), now).await.unwrap();
    let kept: Vec<bool> = plan.collections[0].snapshots.iter().map(|snapshot| !snapshot.goes()).collect();
    assert_eq!(kept, [true, true, true], "it holds no day's place, and is not thrown away either");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_26_what_fails_is_on_record_as_failed_and_is_tried_again_later() {
    let place = Place::new(None).await;
    let (folder, aside) = (place.dir.path().join("notes"), place.dir.path().join("aside"));
    fs::rename(&folder, &aside).unwrap();
    assert_eq!(place.step_at("2026-11-21T02:00:10Z").await, 1);
    assert_eq!(place.step_at("2026-11-21T02:10:00Z").await, 0, "not at once");
    assert_eq!(place.wrong().await, [AlertKind::Failed]);
    assert_eq!(place.step_at("2026-11-21T02:15:20Z").await, 1);
    fs::rename(&aside, &folder).unwrap();
    assert_eq!(place.step_at("2026-11-21T02:40:00Z").await, 0);
    assert_eq!(place.step_at("2026-11-21T02:46:00Z").await, 1);
    assert_eq!(place.step_at("2026-11-21T05:00:00Z").await, 0);
    let results: Vec<RunResult> = place.runs().await.iter().map(|run| run.ended.as_ref().unwrap().result).collect();
    assert_eq!(results, [RunResult::Failed, RunResult::Failed, RunResult::Done]);
    let first = place.runs().await[0].ended.clone().unwrap();
    assert!(first.message.unwrap().contains("notes") && first.snapshot.is_none());
    let audited = place.store.audit(10).await.unwrap();
    let endings: Vec<_> = audited.iter().map(|entry| (entry.what.as_str(), entry.ending)).collect();
    assert_eq!(endings, [("backup", Ending::Failed), ("backup", Ending::Failed), ("backup", Ending::Done)]);
    assert!(place.store.verify_audit().await.unwrap().broken.is_none());
    assert!(place.wrong().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn row_19_what_is_wrong_in_the_folders_is_heard_of_without_being_asked_for() {
    let place = Place::new(None).await;
    let presets = place.store.home.root().join("presets");
    fs::create_dir(&presets).unwrap();
    fs::write(presets.join("letters.toml"), "name = \"letters\"\nversion = 1\n[checks]\njson = [\"*.json\"]\n")
        .unwrap();
    let mut settings = place.collection.settings.clone().unwrap();
    settings.application = Some(Application { preset: "letters".to_owned(), hooks: None });
    place.store.index.update_settings(&place.collection.id, &settings).await.unwrap();
    let hourly = Scheduled {
        work: Work::Check,
        pattern: "@hourly".parse().unwrap(),
        zone: Some("UTC".to_owned()),
        jitter_s: 0,
        since: at("2026-11-20T12:00:00Z"),
    };
    let upkeep = Upkeep { scheduled: vec![hourly], rpo_hours: None };
    place.store.index.set_upkeep(&place.collection.id, &upkeep).await.unwrap();
    let letter = place.dir.path().join("notes/a.json");
    for (now, content, wrong) in [
        ("2026-11-20T13:00:05Z", "{}", vec![]),
        ("2026-11-20T14:00:05Z", "{\"dear", vec![AlertKind::Failed]),
        ("2026-11-20T15:00:05Z", "{\"dear\": 1}", vec![]),
    ] {
        fs::write(&letter, content).unwrap();
        place.clock.set(at(now));
        let scheduler = Scheduler::new(place.store.clone(), place.clock.clone(), Arc::new(Tally::default()));
        assert_eq!(scheduler.step(Lane::Care, &place.never).await.unwrap(), 1);
        assert_eq!(place.wrong().await, wrong, "{content}");
    }
    let runs = place.runs().await;
    let message = runs[1].ended.as_ref().unwrap().message.clone().unwrap();
    assert!(message.starts_with("a.json:1: "), "{message}");
    assert_eq!(runs[0].ended.as_ref().unwrap().counts.files, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_process_was_killed_is_closed_and_made_again() {
    let place = Place::new(None).await;
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let gone = child.id();
    child.wait().unwrap();
    place.clock.set(at("2026-11-21T02:00:10Z"));
    let slot = Cause::Schedule { slot: at("2026-11-21T02:00:00Z"), missed: 0 };
    let (id, now) = (place.collection.id, place.clock.now());
    let begin = Begin {
        collection: Some(&id),
        target: None,
        kind: Work::Backup.into(),
        cause: slot,
        by: None,
        pid: gone,
        at: now,
    };
    place.store.index.begin_run(begin).await.unwrap();
    assert_eq!(place.step().await, 0, "as far as is known it goes on");
    Scheduler::new(place.store.clone(), place.clock.clone(), Arc::new(Tally::default())).tidy().await.unwrap();
    assert_eq!(place.runs().await[0].ended.as_ref().unwrap().result, RunResult::Interrupted);
    assert_eq!(place.step_at("2026-11-21T02:16:00Z").await, 1);
    assert_eq!(place.runs().await[1].ended.as_ref().unwrap().result, RunResult::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_21_the_age_is_that_of_the_last_good_snapshot_in_hours() {
    let place = Place::new(Some(24)).await;
    assert!(place.wrong().await.is_empty(), "it was scheduled just now");
    place.clock.set(at("2026-11-21T13:30:00Z"));
    assert_eq!(place.wrong().await, [AlertKind::Late], "there is none at all");
    assert_eq!(place.step_at("2026-11-22T02:00:00Z").await, 1);
    place.clock.set(at("2026-11-23T02:20:00Z"));
    assert!(place.wrong().await.is_empty(), "its successor is being made");
    place.clock.set(at("2026-11-23T03:00:00Z"));
    assert_eq!(place.wrong().await, [AlertKind::Late], "25 hours, and 24 may be lost");
    // A newer one of which something was lost does not count.
    fs::write(place.dir.path().join("notes/two"), support::noise(1, 100_000)).unwrap();
    assert_eq!(place.step_at("2026-11-24T02:00:00Z").await, 1);
    assert!(place.wrong().await.is_empty());
    let newest = place.store.index.last_good(&place.collection.id, place.clock.now()).await.unwrap().unwrap().0;
    place.store.index.note_damaged(&[newest]).await.unwrap();
    assert_eq!(place.wrong().await, [AlertKind::Late]);
}

#[test]
fn row_21_status_says_it_and_so_does_its_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let (home, notes) = (dir.path().join("home"), dir.path().join("notes"));
    fs::create_dir(&notes).unwrap();
    support::expect(0, &home, &["init", "--name", "alpha"]);
    support::expect(0, &home, &["collection", "add", "notes", notes.to_str().unwrap()]);
    support::expect(0, &home, &["schedule", "notes", "--rpo", "24h"]);
    let said = support::expect(2, &home, &["--json", "status"]);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["result"]["alerts"][0]["kind"], "late", "{said}");
    support::expect(0, &home, &["backup"]);
    support::expect(0, &home, &["status"]);
    let runs = support::expect(0, &home, &["--json", "runs"]);
    let runs: serde_json::Value = serde_json::from_str(&runs).unwrap();
    assert_eq!((&runs["result"][0]["result"], &runs["result"][0]["cause"]), (&"done".into(), &"command".into()));
    let weekly = support::run(&home, &["schedule", "notes", "--backup", "@weekly"]);
    assert!(String::from_utf8_lossy(&weekly.stderr).contains("168 hours"), "row 23");
}

/// A server on loopback that answers these in turn, then 200, and passes on what it was sent.
fn listener(answers: &'static [&'static str]) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/hook/secret", listener.local_addr().unwrap());
    let (tell, heard) = channel();
    std::thread::spawn(move || {
        for n in 0.. {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            loop {
                let text = String::from_utf8_lossy(&request).into_owned();
                let length = text.lines().find_map(|line| {
                    line.to_lowercase().strip_prefix("content-length: ").and_then(|n| n.parse::<usize>().ok())
                });
                if text.split_once("\r\n\r\n").is_some_and(|(_, body)| body.len() >= length.unwrap_or(0)) {
                    break;
                }
                match stream.read(&mut buffer) {
                    Ok(0) | Err(_) => break,
                    Ok(n) => request.extend_from_slice(&buffer[..n]),
                }
            }
            let status = answers.get(n).unwrap_or(&"200 OK");
            // Before the answer: whoever has it finds here what was said.
            if tell.send(String::from_utf8_lossy(&request).into_owned()).is_err() {
                return;
            }
            let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    (address, heard)
}

fn body(request: &str) -> serde_json::Value {
    serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn row_21_an_alert_is_posted_until_it_was_taken_once_a_day_and_when_it_is_over() {
    let place = Place::new(Some(24)).await;
    let (address, heard) = listener(&["500 Internal Server Error"]);
    let mut alarm = place.alarm(Some(address), None);
    assert_eq!(alarm.step(&place.never).await.unwrap(), 0);
    place.clock.set(at("2026-11-21T13:30:00Z"));
    for _ in 0..4 {
        assert_eq!(alarm.step(&place.never).await.unwrap(), 1);
    }
    let all: Vec<String> = heard.try_iter().collect();
    assert_eq!(all.len(), 2, "refused once, then taken, then not again");
    let told = body(&all[1]);
    assert_eq!((&told["kind"], &told["state"], &told["subject"]), (&"late".into(), &"open".into(), &"notes".into()));
    assert!(all[1].starts_with("POST /hook/secret HTTP/1.1"));
    place.clock.set(place.clock.now() + SignedDuration::from_hours(24));
    alarm.step(&place.never).await.unwrap();
    assert_eq!(heard.try_iter().count(), 1, "it goes on");
    assert_eq!(place.step_at("2026-11-23T02:00:00Z").await, 1);
    for _ in 0..2 {
        assert_eq!(alarm.step(&place.never).await.unwrap(), 0);
    }
    let over: Vec<String> = heard.try_iter().collect();
    assert_eq!((over.len(), &body(&over[0])["state"]), (1, &"over".into()));
    assert!(place.store.index.alerts().await.unwrap().is_empty());
}

/// An SMTP server on loopback that takes what comes; the mails, as they came.
fn mailbox() -> (u16, Receiver<String>) {
    use std::io::{BufRead, BufReader};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, heard) = channel();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let (mut out, mut mail, mut in_mail) = (stream.try_clone().unwrap(), String::new(), false);
            let _ = out.write_all(b"220 here\r\n");
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let answer: &[u8] = match line.as_str() {
                    "." if in_mail => {
                        in_mail = false;
                        let _ = tell.send(std::mem::take(&mut mail));
                        b"250 taken\r\n"
                    }
                    _ if in_mail => {
                        mail.push_str(&line);
                        mail.push('\n');
                        continue;
                    }
                    "DATA" => {
                        in_mail = true;
                        b"354 go on\r\n"
                    }
                    "QUIT" => b"221 bye\r\n",
                    _ => b"250 good\r\n",
                };
                let _ = out.write_all(answer);
            }
        }
    });
    (port, heard)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_mailed_once_and_no_way_holds_another_up() {
    let place = Place::new(Some(24)).await;
    let (port, heard) = mailbox();
    let mail = MailConfig {
        server: "127.0.0.1".to_owned(),
        port: Some(port),
        tls: MailTls::None,
        from: "bulbil@example.org".to_owned(),
        to: "admin@example.org".to_owned(),
        user: None,
        password_file: None,
    };
    // Nobody answers there.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let webhook = Some(format!("http://{closed}/"));
    let command = Some("exit 1".to_owned());
    let config = AlertConfig { mail: Some(mail), webhook, command, free_percent: Some(0), ..AlertConfig::default() };
    let mut alarm = Alarm::new(place.store.clone(), place.clock.clone(), config).unwrap();
    place.clock.set(at("2026-11-21T13:30:00Z"));
    for _ in 0..3 {
        assert_eq!(alarm.step(&place.never).await.unwrap(), 1);
    }
    let mails: Vec<String> = heard.try_iter().collect();
    assert_eq!(mails.len(), 1, "{mails:?}");
    assert!(
        mails[0].contains("Subject: [alpha] notes: late") && mails[0].contains("no verified snapshot"),
        "{}",
        mails[0]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_watches_is_called_while_nothing_is_wrong_and_hears_nothing_otherwise() {
    let place = Place::new(Some(24)).await;
    let (address, heard) = listener(&[]);
    let mut alarm = place.alarm(None, Some(address));
    alarm.step(&place.never).await.unwrap();
    alarm.step(&place.never).await.unwrap();
    assert_eq!(heard.try_iter().count(), 1, "once an hour");
    place.clock.set(at("2026-11-21T13:30:00Z"));
    alarm.step(&place.never).await.unwrap();
    assert_eq!(heard.try_iter().count(), 0, "something is wrong");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_named_while_the_server_runs_hears_what_is_open_and_when_it_is_over() {
    let place = Place::new(Some(24)).await;
    let mut alarm = place.alarm(None, None);
    place.clock.set(at("2026-11-21T13:30:00Z"));
    assert_eq!(alarm.step(&place.never).await.unwrap(), 1);
    let (address, heard) = listener(&[]);
    let how = How::Webhook { address: Secret::new(address), proxy: None };
    let named = place.store.change_alert_settings(|said| {
        said.add(Channel { name: "ops".to_owned(), how }).unwrap();
        Ok::<_, StoreError>(())
    });
    named.unwrap();
    for _ in 0..2 {
        assert_eq!(alarm.step(&place.never).await.unwrap(), 1);
    }
    let told: Vec<String> = heard.try_iter().collect();
    assert!(told.len() == 1 && told[0].contains("\"state\":\"open\""), "{told:?}");
    assert_eq!(place.step().await, 1);
    assert_eq!(alarm.step(&place.never).await.unwrap(), 0);
    let told: Vec<String> = heard.try_iter().collect();
    assert!(told.len() == 1 && told[0].contains("\"state\":\"over\""), "{told:?}");
}
